//! What arrives, as it arrives, as a recording (JSON lines).

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lampguard_journal::FrameBuf;
use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Marks, Reading, wire};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::wrappers::ReceiverStream;

use super::Shared;
use crate::serve::Live;

/// Parts that may wait for a slow reader; then frames are missed, and the line `missed` says how many.
const PARTS: usize = 64;

pub(super) async fn recording(State(instance): Shared) -> Response {
    let mut frames = instance.live.subscribe();
    let (sender, parts) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(PARTS);
    tokio::spawn(async move {
        loop {
            let part = match frames.recv().await {
                Ok(Live::Frame(frame)) => lines(&frame),
                Ok(Live::Move(line)) => format!("{line}\n"),
                Err(RecvError::Lagged(missed)) => format!("{}\n", json!({ "missed_frames": missed })),
                Err(RecvError::Closed) => return,
            };
            if sender.send(Ok(Bytes::from(part))).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(parts));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn lines(frame: &FrameBuf) -> String {
    let mut text = String::new();
    for (_, kind, bytes) in frame.records() {
        if let Some(line) = record::decode(kind, bytes).ok().and_then(|record| line(&record)) {
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    text
}

/// One line of a recording: readings and weather in the canonical form.
fn line(record: &Record<'_>) -> Option<Value> {
    match record {
        Record::Reading(stored) => Some(json!({
            "received_at": stored.received_at.0,
            "topic": format!("lamp/{}/{}/reading", stored.zone, stored.device),
            "payload": wire::to_json(&reading(stored)),
        })),
        Record::Weather(received_at, zone, report) => Some(json!({
            "received_at": received_at.0,
            "topic": format!("weather/{zone}/rain"),
            "payload": serde_json::from_slice::<Value>(report).ok()?,
        })),
        _ => None,
    }
}

fn reading(stored: &StoredReading<'_>) -> Reading {
    Reading {
        ts: stored.ts,
        seq: stored.seq,
        boot: stored.boot,
        cause: stored.cause,
        flags: stored.flags,
        marks: if stored.marks.has(Marks::SATURATED) { Marks::SATURATED } else { Marks::default() },
        by: stored.by.map(Into::into),
        fields: stored.fields.clone(),
        ..Reading::default()
    }
}
