//! Providers of SMS and calls: a JSON interface and a form interface, and the question what became of a message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Answer, Emulator, pairs};

/// One message on somebody's phone.
#[derive(Clone, Debug)]
pub struct Sms {
    pub phone: String,
    pub text: String,
    /// Parts that the provider bills: 70 characters, or 67 each.
    pub parts: usize,
}

/// A provider.
#[derive(Clone)]
pub struct Provider {
    pub emulator: Emulator,
    sent: Arc<Mutex<Vec<Sms>>>,
    /// What becomes of messages to a number: `delivered`, `failed`; else `sending`.
    fates: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Provider {
    pub fn sent(&self) -> Vec<Sms> {
        self.sent.lock().unwrap().clone()
    }

    pub fn fate(&self, phone: &str, fate: &str) {
        self.fates.lock().unwrap().insert(phone.to_owned(), fate.to_owned());
    }

    /// `POST /send`, JSON or form, `Authorization: Bearer KEY`; `GET /status?id=`.
    pub fn start(key: &str) -> Self {
        let (sent, fates) = (Arc::new(Mutex::new(Vec::<Sms>::new())), Arc::new(Mutex::new(BTreeMap::new())));
        let (book, ends, bearer) = (sent.clone(), fates.clone(), format!("Bearer {key}"));
        let emulator = Emulator::start(move |request| {
            if request.header("authorization") != Some(&*bearer) {
                return Answer::json(
                    &json!({"code": "isv.SIGNATURE", "message": "signature does not match"}),
                );
            }
            let mut sent: std::sync::MutexGuard<'_, Vec<Sms>> = book.lock().unwrap();
            if request.path() == "/status" {
                let id = request.query("id").and_then(|id| id.strip_prefix("sms-")?.parse::<usize>().ok());
                let phone = id.and_then(|id| sent.get(id)).map(|sms| sms.phone.clone());
                let ends: std::sync::MutexGuard<'_, BTreeMap<String, String>> = ends.lock().unwrap();
                let fate = phone.and_then(|phone| ends.get(&phone).cloned());
                return Answer::json(&json!({"status": fate.unwrap_or_else(|| "sending".to_owned())}));
            }
            let form = request.header("content-type").is_some_and(|kind| kind.contains("urlencoded"));
            let (phone, text) = if form {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let value = |name: &str| {
                    let found = pairs(&body).into_iter().find(|(key, _)| key == name);
                    found.map(|(_, value)| value).unwrap_or_default()
                };
                (value("mobile"), value("content"))
            } else {
                let body = request.json();
                let value = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                (value("mobile"), value("content"))
            };
            if phone.len() != 11 || !phone.bytes().all(|c| c.is_ascii_digit()) {
                return Answer::json(
                    &json!({"code": "isv.MOBILE_NUMBER_ILLEGAL", "message": format!("no such number: {phone}")}),
                );
            }
            if text.is_empty() {
                return Answer::json(&json!({"code": "isv.EMPTY", "message": "no text"}));
            }
            let units = text.encode_utf16().count();
            let parts = if units <= 70 { 1 } else { units.div_ceil(67) };
            sent.push(Sms { phone, text, parts });
            Answer::json(&json!({"code": "OK", "data": {"id": format!("sms-{}", sent.len() - 1)}}))
        });
        Self { emulator, sent, fates }
    }
}
