//! Alertmanager's second interface: an incident is an alert that starts when it opens, is said again while it is open, and
//! ends when people close it.
//!
//! Alertmanager forgets what is not said again, so the channel's thread says every [`RENEW_EVERY`] what is open. An
//! alert that nobody renews ends [`KEPT`] later: if lampguard is gone, its own alarm is the heartbeat, not this.

use std::time::Duration;

use lampguard_model::{Millis, Timestamp};
use serde_json::{Value, json};

use super::fault::SendError;
use super::http::{Client, Web};
use crate::notice::Notice;

/// Open incidents are said again this often.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(60);
/// Alerts in one request.
const BATCH: usize = 500;
/// Open incidents that are said again.
pub(super) const RENEWED_MAX: usize = 10_000;
/// An alert that is not renewed ends so much later.
const KEPT: Millis = Millis::hours(1);
/// States after which nothing is open.
const OVER: [&str; 3] = ["closed", "void", "merged"];

/// One Alertmanager.
pub(super) struct Alertmanager {
    client: Client,
    address: String,
}

impl Alertmanager {
    pub(super) fn new(web: &Web) -> Self {
        let root = web.url.reveal().trim_end_matches('/');
        let address = format!("{}/api/v2/alerts", root.trim_end_matches("/api/v2/alerts"));
        Self { client: Client::new(web), address }
    }

    /// Tells one notice.
    pub(super) fn tell(&self, notice: &Notice, now: Timestamp) -> Result<(), SendError> {
        self.post(&[alert(&notice.body, now)], now)
    }

    /// Says again what is open.
    pub(super) fn renew(&self, bodies: &[Value], now: Timestamp) -> Result<(), SendError> {
        for batch in bodies.chunks(BATCH) {
            let alerts: Vec<Value> = batch.iter().map(|body| alert(body, now)).collect();
            self.post(&alerts, now)?;
        }
        Ok(())
    }

    fn post(&self, alerts: &[Value], now: Timestamp) -> Result<(), SendError> {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if !self.client.secret.bytes().is_empty() {
            headers.push(("Authorization".to_owned(), format!("Bearer {}", self.client.secret.text())));
        }
        let body = json!(alerts).to_string();
        let request = super::http::Request {
            method: "POST",
            url: &self.address,
            headers: &headers,
            body: body.as_bytes(),
        };
        let answer = self.client.exchange(&request)?;
        self.client.accepted(answer, now).map(|_| ())
    }
}

/// A notice's body as an alert. The labels of an incident never change while it is open, its severity aside: a P2 that
/// becomes a P1 is another alert for those who route by severity, and the old one ends with [`KEPT`].
fn alert(body: &Value, now: Timestamp) -> Value {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let event = text("/event");
    let kind = match text("/incident/kind") {
        "" => event.replace('.', "_"),
        kind => kind.to_owned(),
    };
    let mut labels = serde_json::Map::new();
    labels.insert("alertname".to_owned(), json!(format!("lampguard_{kind}")));
    let drill = body.get("drill").and_then(Value::as_bool).unwrap_or(false);
    let drill = if drill { "true" } else { "" };
    for (label, value) in [
        ("incident", text("/incident/id")),
        ("severity", text("/incident/severity")),
        ("zone", text("/incident/zone")),
        ("feeder", text("/incident/feeder")),
        ("post", text("/incident/post_id")),
        ("road", text("/incident/road")),
        ("site", text("/site")),
        ("drill", drill),
    ] {
        // Alertmanager takes no empty label.
        if !value.is_empty() {
            labels.insert(label.to_owned(), json!(value));
        }
    }
    if text("/incident/id").is_empty() {
        // Equal labels are one alert: a second list would take the place of the first, and nobody would be told of it.
        labels.insert("notice".to_owned(), json!(text("/notice/id")));
    }
    let over = OVER.contains(&text("/incident/state"));
    let starts = match text("/incident/opened_at") {
        "" => now.to_rfc3339(),
        opened => opened.to_owned(),
    };
    let ends = if over { now } else { now + KEPT };
    json!({
        "labels": labels,
        "annotations": {
            "summary": text("/text"),
            "event": event,
            "state": text("/incident/state"),
            "safety": text("/incident/safety"),
            "due_at": text("/incident/due_at"),
        },
        "startsAt": starts,
        "endsAt": ends.to_rfc3339(),
        "generatorURL": text("/notice/link"),
    })
}
