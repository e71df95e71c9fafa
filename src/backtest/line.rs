//! One line of a recording. Pure.
//!
//! Keys are found by walking over the line once; the payload stays the bytes it is, so that the decoder sees
//! what a broker would have handed it: `1.10` stays `1.10`, and a bare `NaN` is its business.

use std::borrow::Cow;

use lampguard_model::Timestamp;
use lampguard_model::time::EARLIEST;

use super::moves::MoveLine;

/// The latest time of receipt: 2089-01-01 UTC, where the packed times of the rules end.
const LATEST: Timestamp = Timestamp(3_755_289_600_000);

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A message as it came.
    Message {
        /// When.
        received_at: Timestamp,
        /// Topic.
        topic: Cow<'a, str>,
        /// Payload.
        payload: Cow<'a, [u8]>,
        /// It came retained.
        retain: bool,
    },
    /// A move of a person: when it came in, and what it is.
    Move(Timestamp, Box<MoveLine>),
    /// `record` could not keep up: so many frames were not written.
    Missed(u64),
    /// Nothing but blanks.
    Empty,
}

/// Why a line is not one of a recording. Name it, count it, go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// Not an object.
    #[error("not a JSON object (at byte {0})")]
    NotObject(usize),
    /// A key is missing.
    #[error("has no {0}; a line is {{\"received_at\":ms,\"topic\":\"…\",\"payload\":…}}")]
    Missing(&'static str),
    /// A key holds something else.
    #[error("{0} is {1}, it must be {2}")]
    Wrong(&'static str, String, &'static str),
    /// A move that nobody can make.
    #[error("move: {0}")]
    Move(String),
}

/// Reads one line.
///
/// # Errors
/// [`BadLine`]: name it, count it, go on.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, BadLine> {
    let mut walk = Walk { bytes: line, at: 0 };
    walk.blanks();
    if walk.at == line.len() {
        return Ok(Line::Empty);
    }
    let (mut received_at, mut topic, mut payload, mut retain, mut moved, mut missed) =
        (None, None, None, None, None, None);
    let not_object = |walk: &Walk<'_>| BadLine::NotObject(walk.at);
    walk.eat(b'{').ok_or_else(|| not_object(&walk))?;
    while let Some((key, value)) = walk.member().ok_or_else(|| not_object(&walk))? {
        match key {
            b"received_at" => received_at = Some(value),
            b"topic" => topic = Some(value),
            b"payload" => payload = Some(value),
            b"retain" => retain = Some(value),
            b"move" => moved = Some(value),
            b"missed_frames" => missed = Some(value),
            _ => {}
        }
    }
    if let Some(value) = missed {
        return number(value).map(Line::Missed).ok_or_else(|| wrong("missed_frames", value, "a count"));
    }
    let received_at = time(received_at.ok_or(BadLine::Missing("received_at"))?)?;
    if let Some(moved) = moved {
        return MoveLine::parse(moved)
            .map(|moved| Line::Move(received_at, Box::new(moved)))
            .map_err(BadLine::Move);
    }
    let topic = topic.ok_or(BadLine::Missing("topic"))?;
    let topic = text(topic).ok_or_else(|| wrong("topic", topic, "a text"))?;
    let payload = payload.ok_or(BadLine::Missing("payload"))?;
    let payload = match payload.first() {
        Some(b'"') => match text(payload) {
            Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            None => return Err(wrong("payload", payload, "a text in UTF-8")),
        },
        _ => Cow::Borrowed(payload),
    };
    let retain = match retain {
        None | Some(b"false") => false,
        Some(b"true") => true,
        Some(other) => return Err(wrong("retain", other, "true or false")),
    };
    Ok(Line::Message { received_at, topic, payload, retain })
}

fn wrong(key: &'static str, value: &[u8], wanted: &'static str) -> BadLine {
    let shown: String = String::from_utf8_lossy(value).chars().take(60).collect();
    BadLine::Wrong(key, shown, wanted)
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn time(value: &[u8]) -> Result<Timestamp, BadLine> {
    let ms = number(value).and_then(|ms| i64::try_from(ms).ok()).map(Timestamp);
    ms.filter(|at| (EARLIEST..LATEST).contains(at))
        .ok_or_else(|| wrong("received_at", value, "milliseconds UTC from 2020 to 2088"))
}

/// The text of a JSON string, quotes included in `raw`.
fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// A walk over the members of one object. Finds where values end; what is in them is not its business.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// The next key, without quotes, and its value; `Some(None)` behind the last one, `None` when it is no object.
    fn member(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        self.blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            self.blanks();
            return (self.at == self.bytes.len()).then_some(None);
        }
        let start = self.at;
        self.string()?;
        let key = &self.bytes[start + 1..self.at - 1];
        self.eat(b':')?;
        self.blanks();
        let start = self.at;
        self.value()?;
        let value = &self.bytes[start..self.at];
        self.blanks();
        if self.peek()? == b',' {
            self.at += 1;
        }
        Some(Some((key, value)))
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => {
                let rest = &self.bytes[self.at..];
                let ends = |byte: &u8| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace();
                let length = rest.iter().position(ends)?;
                self.at += length;
                (length > 0).then_some(())
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b'"')?;
        loop {
            let rest = &self.bytes[self.at..];
            let stop = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            self.at += stop + 1;
            if rest[stop] == b'"' {
                return Some(());
            }
            self.at += 1;
            if self.at > self.bytes.len() {
                return None;
            }
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lampguard_alerting::life::Verb;

    use super::*;

    const T: i64 = 1_795_435_200_000;

    fn message(line: &str) -> (i64, String, String, bool) {
        match parse(line.as_bytes()) {
            Ok(Line::Message { received_at, topic, payload, retain }) => {
                let payload = String::from_utf8(payload.into_owned()).unwrap();
                (received_at.0, topic.into_owned(), payload, retain)
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn keys_come_in_any_order_and_payloads_stay_as_they_are() {
        let payload = r#"{"a":"x}\"{","b":[1.10,NaN,{"c":null}], "seq":007}"#;
        for line in [
            format!(r#"{{"received_at":{T},"topic":"lamp/z/p/reading","payload":{payload}}}"#),
            format!(
                " {{ \"payload\" : {payload} , \"x\":[1], \"topic\":\"lamp/z/p/reading\",\"received_at\": {T} }}\r\n"
            ),
            format!(r#"{{"received_at":{T},"topic":"lamp/z/p/reading","payload":{payload},"retain":false}}"#),
        ] {
            let told = message(&line);
            assert_eq!(told, (T, "lamp/z/p/reading".to_owned(), payload.to_owned(), false), "{line}");
        }
    }

    #[test]
    fn a_text_is_the_payload_itself_and_retain_is_told() {
        let line =
            format!(r#"{{"received_at":{T},"topic":"lamp/z/p/status","payload":"online","retain":true}}"#);
        assert_eq!(message(&line), (T, "lamp/z/p/status".to_owned(), "online".to_owned(), true));
        let line = format!(r#"{{"received_at":{T},"topic":"t\/x","payload":"{{\"a\":\u0031}}"}}"#);
        assert_eq!(message(&line), (T, "t/x".to_owned(), "{\"a\":1}".to_owned(), false));
    }

    #[test]
    fn moves_and_missed_frames_are_known_and_an_empty_line_is_nothing() {
        let line = format!(r#"{{"received_at":{T},"move":{{"post_id":"P1","move":"arrive","key":"k"}}}}"#);
        let Ok(Line::Move(at, moved)) = parse(line.as_bytes()) else {
            panic!("{:?}", parse(line.as_bytes()))
        };
        assert_eq!(
            (at.0, moved.m.verb, &*moved.m.body.key, moved.m.actor.desk),
            (T, Verb::Arrive, "k", false),
            "the desk goes nowhere"
        );
        assert_eq!(parse(br#"{"missed_frames":12}"#), Ok(Line::Missed(12)));
        assert_eq!(parse(b" \r\n"), Ok(Line::Empty));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        let said = |line: &str| parse(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(said("nonsense"), "not a JSON object (at byte 0)");
        assert!(said(r#"{"received_at":1795435200000"#).starts_with("not a JSON object"));
        assert!(said(r#"{"received_at":1795435200000,"topic":"a","payload":{"#).starts_with("not a JSON"));
        assert!(said(r#"{"a":"\"#).starts_with("not a JSON object"));
        assert!(said(r#"{"a":1}"#).starts_with("has no received_at"));
        assert!(said(&format!(r#"{{"received_at":{T}}}"#)).starts_with("has no topic"));
        assert!(said(&format!(r#"{{"received_at":{T},"topic":"a"}}"#)).starts_with("has no payload"));
        let told = said(r#"{"received_at":12,"topic":"a","payload":{}}"#);
        assert_eq!(told, "received_at is 12, it must be milliseconds UTC from 2020 to 2088");
        assert!(said(r#"{"received_at":"2026-01-01T00:00:00Z"}"#).starts_with("received_at is \"2026"));
        assert!(said(&format!(r#"{{"received_at":{T},"topic":7,"payload":1}}"#)).starts_with("topic is 7"));
        assert!(
            said(&format!(r#"{{"received_at":{T},"topic":"a","payload":1,"retain":2}}"#))
                .contains("retain is 2")
        );
    }

    #[test]
    fn any_cut_or_flipped_line_is_read_or_refused_and_never_ends_the_program() {
        let line = format!(r#"{{"received_at":{T},"topic":"lamp/z/p/reading","payload":{{"a":[1,"\\"]}}}}"#);
        for at in 0..line.len() {
            let _ = parse(&line.as_bytes()[..at]);
            for byte in [b'"', b'\\', b'{', b'}', b'[', b']', b',', b':', 0, 0xff] {
                let mut other = line.clone().into_bytes();
                other[at] = byte;
                let _ = parse(&other);
            }
        }
    }
}
