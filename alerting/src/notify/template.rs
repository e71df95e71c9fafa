//! SMS and voice over HTTP: the provider's request as a template, its answer by status and one value in it, and later the
//! question what became of the message.
//!
//! Placeholders: `{{phone}} {{to}} {{text}} {{id}} {{incident}} {{event}} {{severity}} {{title}} {{place}} {{danger}} {{safety}} {{left}}
//! {{link}} {{site}} {{secret}} {{message_id}}`. Each is escaped for the place where it stands: a URL, a form, a JSON
//! string; in a header control characters are taken out.

use lampguard_model::Timestamp;
use serde_json::Value;

use super::fault::{Fault, SendError};
use super::http::{Client, Request, Web};
use super::letter::{Letter, Sent};
use super::secret::HiddenUrl;
use super::sign::escape_url;

/// What a placeholder may name.
pub const PLACEHOLDERS: [&str; 16] = [
    "phone",
    "to",
    "text",
    "id",
    "incident",
    "event",
    "severity",
    "title",
    "place",
    "danger",
    "safety",
    "left",
    "link",
    "site",
    "secret",
    "message_id",
];

/// How values are written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Inside a JSON string.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// A value in an answer that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// JSON pointer.
    pub path: String,
    /// The value there, numbers and truth values as text.
    pub value: String,
}

/// A provider of SMS or calls.
#[derive(Clone, Debug)]
pub struct Template {
    /// Where to, with placeholders behind the host; and the secret.
    pub web: Web,
    /// POST, GET, PUT.
    pub method: String,
    /// Headers, with placeholders.
    pub headers: Vec<(String, String)>,
    /// Body, with placeholders.
    pub body: String,
    /// How the body is escaped.
    pub escape: Escape,
    /// What an answer must say to be a success, besides 2xx.
    pub success: Option<Expect>,
    /// Values at the pointer of `success` that no retry can mend: unknown number, bad signature.
    pub permanent: Vec<String>,
    /// JSON pointer to the provider's id of the message.
    pub message_id: Option<String>,
    /// Asked what became of it, with `{{message_id}}`.
    pub status_url: Option<HiddenUrl>,
    /// It arrived.
    pub delivered: Option<Expect>,
    /// It did not, and will not.
    pub undelivered: Option<Expect>,
}

impl Template {
    /// True where the whole text goes out, which alone can tell of several incidents.
    pub(super) fn says_text(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let mut places = [self.web.url.reveal(), &self.body].into_iter().chain(headers);
        places.any(|place| placeholders(place).any(|name| name == "text"))
    }
}

/// What became of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Unknown,
    Delivered,
    Undelivered,
}

/// What the placeholders stand for.
struct Values<'v> {
    pairs: Vec<(&'static str, &'v str)>,
}

impl Values<'_> {
    fn fill(&self, template: &str, escape: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(template.len() + 128);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, behind)) = after.split_once("}}") else {
                out.push_str("{{");
                rest = after;
                continue;
            };
            let value = self.pairs.iter().find(|(known, _)| *known == name.trim());
            out.push_str(&escape(value.map_or("", |(_, value)| value)));
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}

/// The inside of a JSON string.
fn escape_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn escape_header(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Names of placeholders in `template` that nobody knows.
pub fn unknown_placeholders(template: &str) -> Vec<String> {
    placeholders(template).filter(|name| !PLACEHOLDERS.contains(name)).map(str::to_owned).collect()
}

/// Names of the placeholders in `template`.
pub fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest).trim())
}

fn says(answer: &Value, expect: &Expect) -> bool {
    value_at(answer, &expect.path).as_deref() == Some(&*expect.value)
}

fn value_at(answer: &Value, path: &str) -> Option<String> {
    match answer.pointer(path)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A provider at work.
pub(super) struct Provider {
    client: Client,
    template: Template,
    voice: bool,
}

impl Provider {
    pub(super) fn new(template: &Template, voice: bool) -> Self {
        Self { client: Client::new(&template.web), template: template.clone(), voice }
    }

    pub(super) fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let Some(phone) = letter.phones().into_iter().next() else {
            let to = &letter.first().0.to;
            let text = format!("{to:?} has no telephone; cure: give them one, or the channel a `phone`");
            return Err(SendError::permanent(Fault::Address, text));
        };
        let (text, named) = if self.voice { letter.spoken(now) } else { letter.sms(now) };
        let notice = letter.first().0;
        let words = &notice.words;
        let left = words.left(now).unwrap_or_default();
        let site = notice.body.get("site").and_then(Value::as_str).unwrap_or_default();
        let values = Values {
            pairs: vec![
                ("phone", &phone),
                ("to", &notice.to),
                ("text", &text),
                ("id", &notice.id),
                ("incident", notice.incident.as_deref().unwrap_or_default()),
                ("event", &notice.event),
                ("severity", &words.severity),
                ("title", &words.title),
                ("place", &words.place),
                ("danger", &words.danger),
                ("safety", &words.safety),
                ("left", &left),
                ("link", words.link.as_deref().unwrap_or_default()),
                ("site", site),
                ("secret", self.client.secret.text()),
            ],
        };
        let headers: Vec<(String, String)> = self.headers(&values);
        let body = match self.template.escape {
            Escape::Json => values.fill(&self.template.body, escape_json),
            Escape::Form => values.fill(&self.template.body, escape_url),
        };
        let url = values.fill(self.client.url.reveal(), escape_url);
        let method = &self.template.method;
        let request = Request { method, url: &url, headers: &headers, body: body.as_bytes() };
        let answer = self.client.exchange(&request)?;
        let answer = self.client.accepted(answer, now)?;
        let said = match (&self.template.success, &self.template.message_id) {
            (None, None) => return Ok(Sent::named(named)),
            (Some(_), _) => self.client.json(&answer)?,
            (None, Some(_)) => self.client.json(&answer).unwrap_or_default(),
        };
        if let Some(expect) = &self.template.success
            && !says(&said, expect)
        {
            let text = format!("{} answered{}", self.client.url, self.client.quote(&answer.body));
            let code = value_at(&said, &expect.path);
            return Err(match code {
                Some(code) if self.template.permanent.contains(&code) => {
                    SendError::permanent(Fault::Code, text)
                }
                _ => SendError::new(Fault::Code, text),
            });
        }
        let message = self.template.message_id.as_ref().and_then(|path| value_at(&said, path));
        let asked = self.template.status_url.is_some();
        Ok(Sent { named, message: message.filter(|_| asked) })
    }

    fn headers(&self, values: &Values<'_>) -> Vec<(String, String)> {
        let fill = |(name, value): &(String, String)| (name.clone(), values.fill(value, escape_header));
        self.template.headers.iter().map(fill).collect()
    }

    /// Asks what became of a message. A question that fails is asked again later.
    pub(super) fn fate(&self, message: &str, now: Timestamp) -> Result<Fate, SendError> {
        let Some(url) = &self.template.status_url else { return Ok(Fate::Unknown) };
        let values = Values { pairs: vec![("message_id", message), ("secret", self.client.secret.text())] };
        let url = values.fill(url.reveal(), escape_url);
        let headers = self.headers(&values);
        let answer =
            self.client.exchange(&Request { method: "GET", url: &url, headers: &headers, body: b"" })?;
        let answer = self.client.accepted(answer, now)?;
        let said = self.client.json(&answer)?;
        let is = |expect: &Option<Expect>| expect.as_ref().is_some_and(|expect| says(&said, expect));
        Ok(match (is(&self.template.delivered), is(&self.template.undelivered)) {
            (true, _) => Fate::Delivered,
            (_, true) => Fate::Undelivered,
            _ => Fate::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_escaped_for_the_place_where_it_stands() {
        let values = Values { pairs: vec![("text", "a\"b&c=路\n{{phone}}"), ("phone", "138")] };
        assert_eq!(values.fill(r#"{"t":"{{text}}"}"#, escape_json), r#"{"t":"a\"b&c=路\n{{phone}}"}"#);
        assert_eq!(
            values.fill("t={{text}}&p={{ phone }}", escape_url),
            "t=a%22b%26c%3D%E8%B7%AF%0A%7B%7Bphone%7D%7D&p=138"
        );
        assert_eq!(values.fill("X {{text}}", escape_header), "X a\"b&c=路{{phone}}");
        assert_eq!(values.fill("{{gone}}{{open", escape_header), "{{open");
        assert_eq!(unknown_placeholders("{{text}}{{fone}}"), ["fone"]);
    }

    #[test]
    fn numbers_and_words_in_an_answer_are_compared_as_text() {
        let answer = serde_json::json!({"code": 0, "list": [{"ok": true}], "status": "OK"});
        for (path, value) in [("/code", "0"), ("/list/0/ok", "true"), ("/status", "OK")] {
            assert!(says(&answer, &Expect { path: path.to_owned(), value: value.to_owned() }), "{path}");
        }
        assert!(!says(&answer, &Expect { path: "/list".to_owned(), value: String::new() }));
    }
}
