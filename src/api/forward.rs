//! What another node received for us.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use lampguard_ingester::intake::{Fate, Inlet, Tally};
use lampguard_ingester::run::forwarded;
use lampguard_ingester::source::http::{SubmitError, submit};
use lampguard_model::Timestamp;
use lampguard_model::record::{self, Source};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, ApiError, Instance, Shared};
use crate::nodes;
use crate::tokens::Identity;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    /// What is wrong over there, by part.
    faults: String,
    /// Somebody over there only asks; the node itself may be down.
    ask: bool,
}

/// Takes records of another node's journal; the answer comes after our disk has them. An empty body is a sign of life.
/// Every answer says which run of this node gives it.
pub(super) async fn forward(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Query(head): Query<Head>,
    body: Bytes,
) -> Response {
    let mut response = answer(&instance, &who, &head, body).await.into_response();
    let run = instance.nodes.as_ref().and_then(|nodes| HeaderValue::from_str(&nodes.run).ok());
    run.map(|run| response.headers_mut().insert(nodes::RUN, run));
    response
}

async fn answer(instance: &Instance, who: &Identity, head: &Head, body: Bytes) -> Answer {
    let forbidden = |text: String| ApiError::new(StatusCode::FORBIDDEN, "forbidden", text);
    let Some(among) = &instance.nodes else {
        return Err(forbidden("this instance has no [nodes]: nothing is forwarded to it".to_owned()));
    };
    let from = among.owners.place(&who.name).filter(|node| *node != among.owners.own());
    let Some(from) = from else {
        let text =
            format!("{:?} is no other node of [nodes]: a node's token bears its id as --name", who.name);
        return Err(forbidden(text));
    };
    if !among.owners.judges_here() {
        return Err(forbidden("this node owns nothing and stands by for nobody".to_owned()));
    }
    if forwarded::records(&body).any(|record| record.is_none()) {
        return Err(ApiError::bad("the body ends in the middle of a record"));
    }
    let Some(handles) = instance.ingester.get() else {
        return Err(ApiError::unavailable("starting"));
    };
    if !head.ask {
        among.heard(from, &head.faults);
    }
    if forwarded::records(&body).flatten().any(|(kind, _)| kind == record::READING) {
        among.heard_readings(from);
    }
    let tally = match body.is_empty() {
        // Whoever stands in for us goes on until our disk takes something again.
        true if !head.ask && handles.inlet.gate.is_stopped() => return Err(SubmitError::Stopped.into()),
        true => Tally::default(),
        false => take(&handles.inlet, body, (instance.clock)()).await?,
    };
    if !tally.quarantined.is_empty() {
        // What this version does not know has to wait there until it does; the rest is a duplicate when it comes again.
        let text = "a record is of a kind that this version does not know: bring this node up to the sender's version";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_record", text));
    }
    let register = among.register_hash(&instance.register.get());
    Ok(Json(json!({
        "stored": tally.stored, "duplicate": tally.duplicate, "node": among.owners.id(among.owners.own()),
        "now": (instance.clock)().0, "register": register, "owners": nodes::owners_hash(&among.config),
    })))
}

/// Hands it over. A journal that stops on the way is answered at once: it is judged all the same, and the sender goes on
/// to what came behind it.
async fn take(inlet: &Inlet, body: Bytes, now: Timestamp) -> Result<Tally, SubmitError> {
    let (its, mut stopped) = (inlet.clone(), inlet.gate.watch());
    let submitted =
        async move { submit(&its, Source::Node, Vec::new(), "", body, Fate::Forwarded, now).await };
    if inlet.gate.is_stopped() {
        return submitted.await;
    }
    // A task of its own: it is not taken back when the answer goes out before.
    let submitted = tokio::spawn(submitted);
    tokio::select! {
        biased;
        taken = submitted => taken.unwrap_or(Err(SubmitError::Ending)),
        _ = stopped.wait_for(|stopped| *stopped) => Err(SubmitError::Stopped),
    }
}
