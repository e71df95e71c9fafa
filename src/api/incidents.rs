//! Incidents and who was told: looking. What people do stands in `moves.rs`.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use lampguard_alerting::{Filter, Kind, NoticeFilter, StateFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ApiError, Shared, limit_of, page, reading, time_of};
use crate::tokens::{By, Identity, Role};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IncidentsQuery {
    state: Option<String>,
    zone: Option<String>,
    kind: Option<String>,
    from: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Query(query): Query<IncidentsQuery>,
) -> Answer {
    // A script with a token watches no board.
    if who.by == By::Session && matches!(who.role, Role::Duty | Role::Admin) {
        instance.alerting.presence();
    }
    let state = match query.state.as_deref() {
        None | Some("open") => StateFilter::Open,
        Some("closed") => StateFilter::Ended,
        Some("all") => StateFilter::All,
        Some(other) => {
            return Err(ApiError::bad(format!("state {other:?} is not open, closed or all")));
        }
    };
    let kind = query.kind.as_deref().map(|word| {
        Kind::from_name(word)
            .ok_or_else(|| ApiError::bad(format!("kind {word:?} is not known in this version")))
    });
    let filter = Filter {
        state,
        zone: query.zone,
        kind: kind.transpose()?,
        from: time_of("from", query.from.as_deref())?,
        after: query.cursor,
        limit: limit_of(query.limit)?,
    };
    let found = reading(move || instance.alerting.incidents(&filter)).await?;
    let items = found.items.iter().map(|incident| json!(incident)).collect();
    Ok(page(items, found.next))
}

pub(super) async fn one(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Path(id): Path<String>,
) -> Answer {
    let asked = id.clone();
    let look = move || {
        Ok::<_, anyhow::Error>((instance.alerting.zone_of(&asked)?, instance.alerting.incident(&asked)?))
    };
    let (zone, incident) = reading(look).await?;
    let seen = zone.is_some_and(|zone| who.sees_phones_of(&zone));
    match incident {
        Some(incident) if seen => Ok(Json(json!(incident))),
        Some(incident) => Ok(Json(without_phones(json!(incident)))),
        None => Err(ApiError::not_found(format!("no incident {id:?} is known"))),
    }
}

/// How callers and other owners are reached is for those who have to reach them.
fn without_phones(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let of = |(name, value)| match name {
                name if name == "caller" || name == "contact" => (name, json!("***")),
                name => (name, without_phones(value)),
            };
            Value::Object(map.into_iter().map(of).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_phones).collect()),
        other => other,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticesQuery {
    from: Option<String>,
    to: Option<String>,
    incident: Option<String>,
    zone: Option<String>,
    channel: Option<String>,
    outcome: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn notices(State(instance): Shared, Query(query): Query<NoticesQuery>) -> Answer {
    let all = NoticeFilter::default();
    if let Some(outcome) = query.outcome.as_deref()
        && !["queued", "sent", "failed"].contains(&outcome)
    {
        return Err(ApiError::bad(format!("outcome {outcome:?} is not queued, sent or failed")));
    }
    let after = match query.cursor.as_deref().map(str::parse) {
        None => all.after,
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(ApiError::bad("the cursor is not one of ours; take it from `next`")),
    };
    let filter = NoticeFilter {
        from: time_of("from", query.from.as_deref())?.unwrap_or(all.from),
        to: time_of("to", query.to.as_deref())?.unwrap_or(all.to),
        incident: query.incident,
        zone: query.zone,
        channel: query.channel,
        outcome: query.outcome,
        after,
        limit: limit_of(query.limit)?,
    };
    let found = reading(move || instance.alerting.notices_by(filter)).await?;
    let items: Vec<Value> = found.items.iter().map(|notice| json!(notice)).collect();
    Ok(page(items, found.next))
}
