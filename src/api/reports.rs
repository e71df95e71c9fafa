//! What the head of the office and the next shift read. The counting stands in `alerting/src/report/`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lampguard_alerting::Rota;
use lampguard_alerting::report::{Month, Names, ReportError, month_csv};
use lampguard_model::Millis;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, ApiError, Shared, time_of};
use crate::config::Config;

/// A shift without `from` begins so long before its end.
const SHIFT: Millis = Millis::hours(12);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MonthQuery {
    month: Option<String>,
    format: Option<String>,
    lang: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShiftQuery {
    from: Option<String>,
    to: Option<String>,
}

/// What zones are called in the configuration, and who is in which crew by the rota in force.
pub(crate) fn names(config: &Config, rota: Arc<Rota>) -> Names {
    Names {
        zones: config.zones.iter().map(|zone| (zone.id.clone(), zone.name.clone())).collect(),
        rota,
        time_zone: config.site.time_zone.clone(),
    }
}

fn fault(error: ReportError) -> ApiError {
    match error {
        ReportError::Store(error) => ApiError::unavailable(error),
        wrong => ApiError::bad(wrong.to_string()),
    }
}

pub(super) async fn monthly(
    State(instance): Shared,
    Query(query): Query<MonthQuery>,
) -> Result<Response, ApiError> {
    let csv = match query.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(ApiError::bad(format!("format {other:?} is not json or csv"))),
    };
    answer(instance, query, csv).await
}

pub(super) async fn monthly_csv(
    State(instance): Shared,
    Query(query): Query<MonthQuery>,
) -> Result<Response, ApiError> {
    answer(instance, query, true).await
}

async fn answer(
    instance: Arc<crate::serve::Instance>,
    query: MonthQuery,
    csv: bool,
) -> Result<Response, ApiError> {
    let month = query.month.ok_or_else(|| ApiError::bad("say which month: ?month=2026-11"))?;
    let chinese = match query.lang.as_deref().unwrap_or(&instance.config.site.language) {
        "zh" | "zh-CN" => true,
        "en" => false,
        other => return Err(ApiError::bad(format!("lang {other:?} is not zh or en"))),
    };
    let counted = move || instance.alerting.month(&month, &names(&instance.config, instance.alerting.rota()));
    let month = tokio::task::spawn_blocking(counted).await.map_err(ApiError::unavailable)?.map_err(fault)?;
    if csv { Ok(file(&month, chinese)) } else { Ok(Json(json!(month)).into_response()) }
}

fn file(month: &Month, chinese: bool) -> Response {
    // The month was read as a month: nothing in it can leave the header.
    let name = format!("attachment; filename=\"lampguard-{}.csv\"", month.month);
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, month_csv(month, chinese)).into_response()
}

pub(super) async fn shift(State(instance): Shared, Query(query): Query<ShiftQuery>) -> Answer {
    let to = time_of("to", query.to.as_deref())?.unwrap_or_else(|| (instance.clock)());
    let from = time_of("from", query.from.as_deref())?.unwrap_or(to - SHIFT);
    let counted =
        move || instance.alerting.shift(from, to, &names(&instance.config, instance.alerting.rota()));
    let shift = tokio::task::spawn_blocking(counted).await.map_err(ApiError::unavailable)?.map_err(fault)?;
    Ok(Json(json!(shift)))
}
