//! How the instance itself is doing.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Shared};
use crate::serve::Instance;

/// Ready means: recovered, and the journal takes readings. Brokers and databases stand only in the body.
pub(super) async fn readyz(State(instance): Shared) -> Response {
    let stopped = instance.ingester.get().is_none_or(|handles| handles.inlet.gate.is_stopped());
    let status = if stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut body = json!({
        "ready": !stopped,
        "journal": if stopped { "takes nothing: acknowledgements are held back, alarms go on" } else { "writable" },
        "brokers": gauges(&instance, "lampguard_broker_up"),
        "databases": if instance.config.tsdbs.is_empty() { json!({}) } else { gauges(&instance, "lampguard_tsdb_up") },
    });
    if let Some(nodes) = &instance.nodes {
        body["nodes"] = nodes.state();
    }
    (status, Json(body)).into_response()
}

fn gauges(instance: &Instance, name: &str) -> Value {
    let values = crate::watch::gauges(&instance.registry, name);
    values.into_iter().map(|(label, value)| (label, json!(value > 0.0))).collect()
}

pub(super) async fn metrics(State(instance): Shared) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&instance.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(e) => ApiError::unavailable(e).into_response(),
    }
}

pub(super) async fn accounting(State(instance): Shared) -> Answer {
    let Some(handles) = instance.ingester.get() else {
        return Err(ApiError::unavailable("starting"));
    };
    let books = handles.accounts.statement();
    let map = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
        Value::Object(counts.map(|(reason, count)| (reason.to_owned(), json!(count))).collect())
    };
    let losses: Vec<Value> = handles
        .losses
        .list()
        .into_iter()
        .map(|loss| {
            let (from, to) = (loss.from.to_rfc3339(), loss.to.to_rfc3339());
            json!({ "from": from, "to": to, "source": loss.source, "count": loss.count })
        })
        .collect();
    Ok(Json(json!({
        "received": books.received,
        "stored": books.settled.stored,
        "duplicate": books.settled.duplicate,
        "quarantined": map(&mut books.settled.quarantined_by_reason()),
        "refused": map(&mut books.settled.refused_by_reason()),
        "pending": books.pending,
        "balanced": books.balanced(),
        "possible_loss": losses,
    })))
}

/// The policies by date: which is in force, its numbers, and what was accepted below a floor.
pub(super) async fn policy(State(instance): Shared) -> Answer {
    let policies = instance.policies.get();
    let in_force = policies.at((instance.clock)());
    let versions: Vec<Value> = policies.versions().iter().map(version_json).collect();
    let mut numbers = Map::new();
    in_force.policy.clone().each(&mut |rule, number| {
        let text = number.to_text().trim_matches('"').to_owned();
        numbers.insert(rule.key(), json!(text));
    });
    Ok(Json(json!({ "in_force": in_force.hash, "versions": versions, "numbers": numbers })))
}

fn version_json(version: &lampguard_alerting::policy::Version) -> Value {
    json!({
        "from": version.from.map(lampguard_model::Timestamp::to_rfc3339), "reason": version.reason,
        "hash": version.hash, "accepted": version.accepted,
    })
}
