//! Feishu's group robot: signature and time in seconds stand in the body. It cannot call people by their number; the number
//! stands in the text.

use lampguard_model::Timestamp;
use serde_json::json;

use super::fault::{Fault, SendError};
use super::http::{BUSY, Client, Web};
use super::letter::{Letter, Sent};
use super::sign;

/// Longest text in bytes; theirs is 20 KiB for the whole body.
const TEXT_MAX: usize = 16_000;

/// One robot.
pub(super) struct Feishu(Client);

impl Feishu {
    pub(super) fn new(web: &Web) -> Self {
        Self(Client::new(web))
    }

    pub(super) fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let called: String = letter.phones().iter().map(|phone| format!(" ☎{phone}")).collect();
        let (text, named) = letter.chat(TEXT_MAX - called.len(), now);
        // `<at …>` in a name would call somebody.
        let text = format!("{}{called}", text.replace('<', "＜"));
        let mut body = json!({"msg_type": "text", "content": {"text": text}});
        if !self.0.secret.bytes().is_empty() {
            let seconds = now.0.div_euclid(1000);
            body["timestamp"] = json!(seconds.to_string());
            body["sign"] = json!(sign::feishu(&self.0.secret, seconds));
        }
        let answer = self.0.post_json(self.0.url.reveal(), &body)?;
        // It explains a 400 in its body, in the same words.
        let said = match answer.status {
            400 => self.0.json(&answer).ok(),
            _ => None,
        };
        let (answer, said) = match said {
            Some(said) if said.get("code").is_some() => (answer, said),
            _ => {
                let answer = self.0.accepted(answer, now)?;
                let said = self.0.json(&answer)?;
                (answer, said)
            }
        };
        let text = format!("feishu answered{}", self.0.quote(&answer.body));
        let code = said.get("code").or_else(|| said.get("StatusCode")).and_then(serde_json::Value::as_i64);
        match code {
            Some(0) => Ok(Sent::named(named)),
            Some(9_499 | 11_232 | 99_991_400) => Err(SendError::busy(text, BUSY)),
            Some(19_021) => {
                let text = format!("{text}; is the secret right, and this machine's clock within an hour?");
                Err(SendError::permanent(Fault::Code, text))
            }
            Some(19_001 | 19_002 | 19_022 | 19_024) => Err(SendError::permanent(Fault::Code, text)),
            Some(_) => Err(SendError::new(Fault::Code, text)),
            None => Err(SendError::new(Fault::Answer, text)),
        }
    }
}
