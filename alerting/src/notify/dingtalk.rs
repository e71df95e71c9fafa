//! DingTalk's group robot: signed address, text or Markdown, people called by their number, and a block of 10 minutes for
//! more than 20 messages in one.

use lampguard_model::{Millis, Timestamp};
use serde_json::json;

use super::fault::{Fault, SendError};
use super::http::{Client, Web};
use super::letter::{Letter, Sent};
use super::sign;

/// Longest text in bytes; theirs is 20,000 for the whole body.
const TEXT_MAX: usize = 16_000;
/// The robot is blocked this long.
const BLOCKED: Millis = Millis::minutes(10);

/// One robot.
pub(super) struct DingTalk {
    client: Client,
    markdown: bool,
}

impl DingTalk {
    pub(super) fn new(web: &Web, markdown: bool) -> Self {
        Self { client: Client::new(web), markdown }
    }

    pub(super) fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let phones = letter.phones();
        // A number that is only in `atMobiles` rings nobody: it has to stand in the text too.
        let called: String = phones.iter().map(|phone| format!(" @{phone}")).collect();
        let (text, named) = letter.chat(TEXT_MAX - called.len(), now);
        let at = json!({"atMobiles": phones, "isAtAll": false});
        let body = if self.markdown {
            let text = format!("{}{called}", escape_markdown(&text));
            json!({"msgtype": "markdown", "markdown": {"title": letter.title(), "text": text}, "at": at})
        } else {
            json!({"msgtype": "text", "text": {"content": format!("{text}{called}")}, "at": at})
        };
        let answer = self.client.post_json(&self.address(now), &body)?;
        let answer = self.client.accepted(answer, now)?;
        let said = self.client.json(&answer)?;
        let code = said.get("errcode").and_then(serde_json::Value::as_i64);
        let text = format!("dingtalk answered{}", self.client.quote(&answer.body));
        let words = said.get("errmsg").and_then(serde_json::Value::as_str).unwrap_or_default();
        match code {
            Some(0) => Ok(Sent::named(named)),
            Some(410_100 | 130_101 | 90_018 | 90_030 | 302_033) => Err(SendError::busy(text, BLOCKED)),
            Some(310_000) if words.contains("timestamp") => {
                let text = format!("{text}; is this machine's clock right? cure: timedatectl set-ntp true");
                Err(SendError::new(Fault::Code, text))
            }
            Some(310_000 | 300_001 | 300_005 | 400_013 | 400_101 | 400_102 | 400_105 | 400_106 | 40_035) => {
                Err(SendError::permanent(Fault::Code, text))
            }
            Some(_) => Err(SendError::new(Fault::Code, text)),
            None => Err(SendError::new(Fault::Answer, text)),
        }
    }

    fn address(&self, now: Timestamp) -> String {
        let url = self.client.url.reveal();
        if self.client.secret.bytes().is_empty() {
            return url.to_owned();
        }
        let sign = sign::escape_url(&sign::dingtalk(&self.client.secret, now.0));
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}timestamp={}&sign={sign}", now.0)
    }
}

/// Names of posts, roads and callers make no links and no bold text.
fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '>' | '<' | '!' | '|' => {
                out.push('\\');
                out.push(c);
            }
            // One line break is none in Markdown.
            '\n' => out.push_str("  \n"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_no_link_in_markdown() {
        assert_eq!(escape_markdown("](http://x)\n<b>"), "\\]\\(http://x\\)  \n\\<b\\>");
    }
}
