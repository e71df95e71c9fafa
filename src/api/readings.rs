//! Readings and weather by HTTP, and the second look at quarantined payloads.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use lampguard_ingester::intake::{Fate, Mapping, Tally};
use lampguard_ingester::profile::Profiles;
use lampguard_ingester::quarantine::{PAGE_MAX, Payload, Quarantine};
use lampguard_ingester::source::http::{SubmitError, submit};
use lampguard_model::record::Source;
use lampguard_model::{WeatherReport, wire};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ApiError, Shared};
use crate::serve::Instance;
use crate::tokens::Identity;

impl From<SubmitError> for ApiError {
    fn from(e: SubmitError) -> Self {
        match e {
            SubmitError::Stopped => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, JOURNAL_STOPPED, e.to_string())
            }
            SubmitError::Ending => Self::unavailable(e),
        }
    }
}

/// The code of an answer: what was sent is judged and not kept.
pub(crate) const JOURNAL_STOPPED: &str = "journal_stopped";

/// Every topic, read by the canonical decoder: the readings name their devices themselves.
fn any_topic() -> Vec<Mapping> {
    vec![Mapping { filter: "#".to_owned(), profile: None }]
}

async fn hand_over(instance: &Instance, topic: &str, body: Bytes) -> Result<Tally, ApiError> {
    let Some(handles) = instance.ingester.get() else {
        return Err(ApiError::unavailable("starting"));
    };
    let now = (instance.clock)();
    Ok(submit(&handles.inlet, Source::Http, any_topic(), topic, body, Fate::Read, now).await?)
}

/// Whoever has a zone reports from it. Devices that nobody registered have none.
fn check_zone(instance: &Instance, who: &Identity, body: &[u8]) -> Result<(), ApiError> {
    if who.zone.is_none() {
        return Ok(());
    }
    let mut readings = Vec::new();
    if wire::decode(body, &mut readings).is_err() {
        // What cannot be read as a whole is quarantined like anybody's.
        return Ok(());
    }
    let register = instance.register.get();
    // As the decoder names the devices, and no second way of reading them.
    for name in readings.iter().flatten().filter_map(|reading| reading.device.as_deref()) {
        if let Some(post) = register.named(name).filter(|post| !who.acts_in(&post.zone)) {
            let text = format!("{name} is in zone {}, this account is for another one", post.zone);
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
        }
    }
    Ok(())
}

/// Takes readings from whoever sends them, by program or by page; the answer comes after the disk has them.
pub(crate) async fn take(instance: &Instance, who: &Identity, body: Bytes) -> Result<Tally, ApiError> {
    check_zone(instance, who, &body)?;
    hand_over(instance, "", body).await
}

pub(super) async fn readings(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Answer {
    let tally = take(&instance, &who, body).await?;
    let whole = tally.stored + tally.duplicate == 0 && tally.quarantined.len() == 1;
    if let Some((_, reason @ ("json" | "utf8" | "empty" | "nesting"))) =
        tally.quarantined.first().filter(|_| whole)
    {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            reason,
            "the body is not JSON; its bytes are in quarantine",
        ));
    }
    let quarantined: Vec<Value> =
        tally.quarantined.iter().map(|(index, reason)| json!({ "index": index, "reason": reason })).collect();
    Ok(Json(json!({ "stored": tally.stored, "duplicate": tally.duplicate, "quarantined": quarantined })))
}

pub(super) async fn weather(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Answer {
    let report = WeatherReport::decode(&body).map_err(|e| ApiError::bad(e.to_string()))?;
    let zone = report.zone.as_deref().unwrap_or("all");
    if zone != "all" && !instance.register.get().has_zone(zone) {
        return Err(ApiError::bad(format!("zone {zone:?} has no posts; name one of the register, or all")));
    }
    // Also `all` is more than one zone.
    if !who.acts_in(zone) {
        let text = format!("this account reports the weather of its own zone, not of {zone}");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let tally = hand_over(&instance, &format!("weather/{zone}/rain"), body).await?;
    if let Some((_, reason)) = tally.quarantined.first() {
        return Err(ApiError::bad(format!(
            "the message is in quarantine: {reason}; at most 4096 bytes are read"
        )));
    }
    Ok(Json(json!({ "zone": zone, "accepted": true })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetryBody {
    reason: Option<String>,
}

/// Reads quarantined payloads again, oldest first, by today's profiles and register.
pub(super) async fn retry(State(instance): Shared, body: Bytes) -> Answer {
    let asked: RetryBody = if body.is_empty() {
        RetryBody::default()
    } else {
        serde_json::from_slice(&body).map_err(|e| ApiError::bad(e.to_string()))?
    };
    let Some(handles) = instance.ingester.get() else {
        return Err(ApiError::unavailable("starting"));
    };
    let (mut from, mut released, mut left) = (0, 0u64, 0u64);
    loop {
        let payloads =
            open(&instance)?.list(from, PAGE_MAX, asked.reason.as_deref()).map_err(ApiError::unavailable)?;
        let Some(last) = payloads.last() else { break };
        from = last.id + 1;
        for payload in payloads {
            let now = (instance.clock)();
            let fate = Fate::Again { reason: payload.refusal(), came_at: payload.received_at };
            let mappings = mappings_for(&instance, &payload);
            let (id, whole) = (payload.id, payload.is_whole());
            let body = Bytes::from(payload.payload);
            let tally = if whole {
                submit(&handles.inlet, Source::Retry, mappings, &payload.topic, body, fate, now).await?
            } else {
                Tally::default()
            };
            if open(&instance)?.conclude(id, &tally, now).map_err(ApiError::unavailable)? {
                released += 1;
            } else {
                left += 1;
            }
        }
    }
    Ok(Json(json!({ "released": released, "left": left })))
}

fn open(instance: &Instance) -> Result<Quarantine, ApiError> {
    let max_bytes = instance.config.quarantine.max_bytes;
    Quarantine::open(&instance.config.site.data_dir, max_bytes).map_err(ApiError::unavailable)
}

/// The mappings of the sources, whichever of them the payload came by.
fn mappings_for(instance: &Instance, payload: &Payload) -> Vec<Mapping> {
    if payload.source == Source::Http.name() {
        return any_topic();
    }
    let profiles = Profiles::load(&instance.config.profiles).unwrap_or_default();
    let listener = instance.config.listener.iter().map(|listener| &listener.mapping);
    let brokers = instance.config.brokers.iter().map(|broker| &broker.mapping);
    listener.chain(brokers).flat_map(|mapping| crate::serve::mappings(mapping, &profiles)).collect()
}
