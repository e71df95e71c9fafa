//! Alertmanager's second interface: what `POST /api/v2/alerts` takes, and what is firing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Answer, Emulator};

/// Alerts by their labels.
#[derive(Clone)]
pub struct Alerts {
    pub emulator: Emulator,
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Alerts {
    pub fn start() -> Self {
        let kept = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
        let book = kept.clone();
        let emulator = Emulator::start(move |request| {
            if (request.method.as_str(), request.path()) != ("POST", "/api/v2/alerts") {
                return Answer::status(404);
            }
            let body = request.json();
            let Some(alerts) = body.as_array() else { return Answer::status(400) };
            for alert in alerts {
                let labels = alert["labels"].as_object();
                let good = labels.is_some_and(|labels| {
                    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
                    labels.contains_key("alertname") && labels.values().all(text)
                });
                let time = |key: &str| alert[key].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
                let (Some(starts), Some(ends), true) = (time("startsAt"), time("endsAt"), good) else {
                    return Answer::Say(400, String::new(), b"\"bad alert\"".to_vec());
                };
                if ends < starts {
                    return Answer::Say(
                        400,
                        String::new(),
                        b"\"start time must be before end time\"".to_vec(),
                    );
                }
                book.lock().unwrap().insert(alert["labels"].to_string(), alert.clone());
            }
            Answer::status(200)
        });
        Self { emulator, kept }
    }

    /// Every alert, the newest of each set of labels.
    pub fn all(&self) -> Vec<Value> {
        self.kept.lock().unwrap().values().cloned().collect()
    }
}
