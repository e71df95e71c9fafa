//! Who is on duty: seen by everybody, changed by the desk.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use lampguard_alerting::rota::{Changes, Stretch};
use lampguard_alerting::{RotaError, RotaRequest};
use lampguard_model::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::moves::{moment, parsed};
use super::{Answer, ApiError, Shared, time_of};
use crate::plan::{self, Sees};
use crate::serve::Instance;
use crate::tokens::{Identity, Role};

impl From<RotaError> for ApiError {
    fn from(e: RotaError) -> Self {
        let (status, code) = match &e {
            RotaError::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            RotaError::Version { .. } => (StatusCode::CONFLICT, "conflict"),
            RotaError::Ended => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, e.to_string())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    at: Option<String>,
}

pub(super) async fn show(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Query(asked): Query<Asked>,
) -> Answer {
    let at = time_of("at", asked.at.as_deref())?.unwrap_or_else(|| (instance.clock)());
    Ok(Json(shown(&instance, &who, at)))
}

fn shown(instance: &Instance, who: &Identity, at: Timestamp) -> Value {
    let zone = |zone: &str| who.sees_phones_of(zone);
    // Who may call a crew may call the desk.
    let sees = Sees { zone: &zone, city: who.role != Role::Viewer };
    plan::describe(&instance.config, &instance.ladders.get(), &instance.alerting.rota(), at, &sees)
}

/// One stretch as it is sent. Stamps that an answer gave are taken back and not believed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StretchBody {
    from: Value,
    to: Value,
    zone: Arc<str>,
    crew: Option<Arc<str>>,
    backup_crew: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    reason: Option<String>,
    #[serde(rename = "at")]
    _at: Option<IgnoredAny>,
    #[serde(rename = "by")]
    _by: Option<IgnoredAny>,
}

/// A list that is left out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotaBody {
    duty: Option<Vec<StretchBody>>,
    overrides: Option<Vec<StretchBody>>,
    version: Option<u64>,
}

fn stretches(name: &str, list: Vec<StretchBody>) -> Result<Vec<Stretch>, ApiError> {
    let one = |(place, body): (usize, StretchBody)| {
        let time = |key: &str, value: &Value| {
            let key = format!("{name}[{place}].{key}");
            let missing =
                || ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{key}: is missing"));
            moment(&key, Some(value))?.ok_or_else(missing)
        };
        Ok(Stretch {
            from: time("from", &body.from)?,
            to: time("to", &body.to)?,
            zone: body.zone,
            crew: body.crew,
            backup_crew: body.backup_crew,
            leader: body.leader,
            reason: body.reason,
            at: Timestamp(0),
            by: Arc::from(""),
        })
    };
    list.into_iter().enumerate().map(one).collect()
}

/// Whoever has a zone changes its stretches alone. What belongs to others has to stay, in its order: of two the order
/// says which holds.
fn check_scope(who: &Identity, known: &Changes, sent: &Changes) -> Result<(), ApiError> {
    let others = |list: &[Stretch]| -> Vec<Stretch> {
        list.iter().filter(|stretch| !who.acts_in(&stretch.zone)).cloned().collect()
    };
    for (known, sent) in [(&known.duty, &sent.duty), (&known.overrides, &sent.overrides)] {
        let (known, sent) = (others(known), others(sent));
        let stays = known.len() == sent.len() && known.iter().zip(&sent).all(|(a, b)| a.says_what(b));
        if !stays {
            let zone = who.zone.as_deref().unwrap_or_default();
            let text = format!(
                "this account changes the rota of zone {zone} alone: send the stretches of other zones and of all \
                 as GET /api/v1/rota shows them"
            );
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
        }
    }
    Ok(())
}

pub(super) async fn change(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Answer {
    let body: RotaBody = parsed(&body)?;
    let known = instance.alerting.rota();
    // What is left out, or belongs to others, was looked at here, so the rest has to fit to that.
    let partial = body.duty.is_none() || body.overrides.is_none();
    let looked = partial || who.zone.is_some();
    let version = body.version.or(looked.then_some(known.changes.version));
    let list = |name, sent: Option<Vec<StretchBody>>, known: &[Stretch]| match sent {
        Some(sent) => stretches(name, sent),
        None => Ok(known.to_vec()),
    };
    let changes = Changes {
        duty: list("duty", body.duty, &known.changes.duty)?,
        overrides: list("overrides", body.overrides, &known.changes.overrides)?,
        ..Changes::default()
    };
    check_scope(&who, &known.changes, &changes)?;
    let request = RotaRequest { by: Arc::from(&*who.name), version, changes };
    let its = instance.clone();
    let changing = tokio::task::spawn_blocking(move || its.alerting.set_rota(request));
    let durable = changing.await.map_err(ApiError::unavailable)??;
    let mut answer = shown(&instance, &who, (instance.clock)());
    if !durable {
        answer["durable"] = json!(false);
    }
    Ok(Json(answer))
}
