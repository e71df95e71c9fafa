//! WeCom's group robot: the key stands in the address, people are called by their number, at most 2,048 bytes and 20
//! messages a minute.

use lampguard_model::Timestamp;
use serde_json::json;

use super::fault::{Fault, SendError};
use super::http::{BUSY, Client, Web};
use super::letter::{Letter, Sent};

/// Longest text in bytes.
const TEXT_MAX: usize = 2048;

/// One robot.
pub(super) struct WeCom(Client);

impl WeCom {
    pub(super) fn new(web: &Web) -> Self {
        Self(Client::new(web))
    }

    pub(super) fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let phones = letter.phones();
        let (content, named) = letter.chat(TEXT_MAX, now);
        let body = json!({"msgtype": "text", "text": {"content": content, "mentioned_mobile_list": phones}});
        let answer = self.0.post_json(self.0.url.reveal(), &body)?;
        let answer = self.0.accepted(answer, now)?;
        let said = self.0.json(&answer)?;
        let text = format!("wecom answered{}", self.0.quote(&answer.body));
        match said.get("errcode").and_then(serde_json::Value::as_i64) {
            Some(0) => Ok(Sent::named(named)),
            Some(45_009 | 45_033) => Err(SendError::busy(text, BUSY)),
            // No such key; no such kind of message; text wrong or too long.
            Some(93_000 | 93_004 | 40_008 | 40_058 | 44_004 | 45_002) => {
                Err(SendError::permanent(Fault::Code, text))
            }
            Some(_) => Err(SendError::new(Fault::Code, text)),
            None => Err(SendError::new(Fault::Answer, text)),
        }
    }
}
