//! What a form sends, read as the body of a move, a hazard or a hand test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::StatusCode;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ZonedDateTime};
use lampguard_alerting::life::MoveBody;
use lampguard_model::{Millis, Timestamp};
use serde_json::{Map, Value, json};

use super::look::Look;
use crate::api::ApiError;

/// Fields of a form at most; a browser sends no more of ours.
const FIELDS_MAX: usize = 64;

/// The fields that were filled in, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Empty fields are those that nobody filled in. `reading.shell_v` and `position.lon` are the names of the JSON.
    pub(super) fn of(form: &[u8]) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(form).take(FIELDS_MAX + 1).collect();
        if pairs.len() > FIELDS_MAX {
            return Err(wrong(format!("more than {FIELDS_MAX} fields")));
        }
        let read = |(name, value): &(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
            (name.rsplit('.').next().unwrap_or(name).to_owned(), value.trim().to_owned())
        };
        Ok(Self(pairs.iter().map(read).filter(|(_, value)| !value.is_empty()).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| wrong(format!("{name} {text:?} is no number")))
    }

    /// Numbers of a hand test under the names that `reading` has in a move; none when nothing was measured.
    fn reading(&self) -> Result<Option<Value>, ApiError> {
        let mut reading = Map::new();
        for name in ["leakage_ma", "shell_v", "pen_band_v"] {
            if let Some(number) = self.number(name)? {
                reading.insert(name.to_owned(), json!(number));
            }
        }
        if let Some(check) = self.get("check") {
            reading.insert("check".to_owned(), json!(check));
        }
        // Whether there was supply says nothing alone.
        if let Some(supply) = self.get("supply").filter(|_| !reading.is_empty()) {
            reading.insert("supply".to_owned(), json!(supply));
        }
        Ok(if reading.is_empty() { None } else { Some(Value::Object(reading)) })
    }

    /// The body of a move.
    pub(super) fn body(&self, look: &Look) -> Result<MoveBody, ApiError> {
        const TEXTS: [&str; 17] = [
            "key",
            "note",
            "on_behalf_of",
            "channel",
            "post",
            "method",
            "breaker",
            "extent",
            "cause",
            "parts",
            "reason",
            "owner",
            "contact",
            "to",
            "answer",
            "second",
            "sent_at",
        ];
        let mut body = Map::new();
        for name in TEXTS {
            if let Some(text) = self.get(name) {
                body.insert(name.to_owned(), json!(text));
            }
        }
        let mut put =
            |name: &str, value: Option<Value>| value.map(|value| body.insert(name.to_owned(), value));
        put("reading", self.reading()?);
        put("clear", self.get("clear").map(|_| json!(true)));
        if let (Some(lon), Some(lat)) = (self.number("lon")?, self.number("lat")?) {
            let mut position = json!({ "lon": lon, "lat": lat });
            if let Some(accuracy) = self.number("accuracy_m")? {
                position["accuracy_m"] = json!(accuracy);
            }
            put("position", Some(position));
        }
        for name in ["follow_up_at", "review_at"] {
            put(name, self.get(name).map(|text| moment(look, name, text)).transpose()?.map(|at| json!(at.0)));
        }
        if let Some(hours) = self.number("for_hours")? {
            put("until", Some(json!((look.now + Millis((hours * 3_600_000.0) as i64)).0)));
        }
        // What the desk writes down was told some other way.
        if self.get("on_behalf_of").is_some() && matches!(self.get("channel"), None | Some("web")) {
            put("channel", Some(json!("phone")));
        }
        if let Some(text) = self.get("at") {
            put("at", Some(json!(moment(look, "at", text)?.0)));
            // It was typed beside the office's own clock, which stands on the page.
            if look.is_desk() {
                put("sent_at", Some(json!(look.now.0)));
            }
        }
        serde_json::from_value(Value::Object(body)).map_err(|e| wrong(e.to_string()))
    }

    /// The body of a told hazard, as the API takes it.
    pub(super) fn hazard(&self, look: &Look) -> Result<Value, ApiError> {
        let mut body = Map::new();
        for name in ["key", "what", "post_id", "caller", "severity"] {
            if let Some(text) = self.get(name) {
                body.insert(name.to_owned(), json!(text));
            }
        }
        if body.get("what").is_none_or(|what| what != "other") {
            body.remove("severity");
        }
        if let (Some(lon), Some(lat)) = (self.number("lon")?, self.number("lat")?) {
            let text = self.get("place").unwrap_or("").to_owned();
            body.insert("place".to_owned(), json!({ "lon": lon, "lat": lat, "text": text }));
        }
        if let Some(text) = self.get("at") {
            body.insert("at".to_owned(), json!(moment(look, "at", text)?.0));
        }
        body.insert("channel".to_owned(), json!(self.get("channel").unwrap_or("phone")));
        body.insert("drill".to_owned(), json!(self.get("drill").is_some()));
        Ok(Value::Object(body))
    }

    /// Where it is in words, when that is no place of its own: without both coordinates, `hazard` has none.
    pub(super) fn place_in_words(&self) -> Option<String> {
        let has_both = self.get("lon").is_some() && self.get("lat").is_some();
        self.get("place").filter(|_| !has_both).map(ToOwned::to_owned)
    }

    /// A reading by hand, as the wire has it. The time is that of receipt: a form that lay open is no late reading.
    pub(super) fn hand_test(&self, by: &str) -> Result<Value, ApiError> {
        let post = self.get("post").ok_or_else(|| wrong("post is missing".to_owned()))?;
        let mut reading =
            self.reading()?.ok_or_else(|| wrong("check, pen band or a value is missing".to_owned()))?;
        let by = self
            .get("by")
            .filter(|name| *name != by)
            .map_or_else(|| by.to_owned(), |name| format!("{name} ({by})"));
        reading["post_id"] = json!(post);
        reading["by"] = json!(by);
        reading["cause"] = json!("manual");
        Ok(reading)
    }
}

pub(super) fn wrong(message: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
}

/// Local time of the office: `20:30` is the last time that it was so late; `2026-11-23T20:30`; `2026-11-23` means
/// nine in the morning.
fn moment(look: &Look, name: &str, text: &str) -> Result<Timestamp, ApiError> {
    let bad = || wrong(format!("{name} {text:?} is no time: 20:30, or 2026-11-23T20:30"));
    if let Some(at) = text.parse().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text)) {
        return Ok(at);
    }
    let zoned = |at: DateTime| at.to_zoned_datetime(look.zone.clone()).map_err(|_| bad());
    let stamp = |at: &ZonedDateTime| Timestamp(at.timestamp().as_millisecond());
    if let Ok(time) = text.parse::<Time>() {
        let now = jiff::Timestamp::from_millisecond(look.now.0).map_err(|_| bad())?;
        let today = now.to_zoned_datetime(look.zone.clone()).date();
        let at = stamp(&zoned(today.to_datetime(time))?);
        // A minute ahead is the same minute by another clock.
        if at.since(look.now) <= Millis::minutes(1) {
            return Ok(at.min(look.now));
        }
        let before = today.checked_sub(Span::new().days(1)).map_err(|_| bad())?;
        return Ok(stamp(&zoned(before.to_datetime(time))?));
    }
    if text.len() > 10 {
        return Ok(stamp(&zoned(text.parse().map_err(|_| bad())?)?));
    }
    let date: Date = text.parse().map_err(|_| bad())?;
    Ok(stamp(&zoned(date.at(9, 0, 0, 0))?))
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing into a String cannot fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lampguard_alerting::life::{Channel, Extent, Method};

    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;
    use crate::tokens::Role;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut form = form_urlencoded::Serializer::new(String::new());
        Fields::of(form.extend_pairs(pairs).finish().as_bytes()).unwrap()
    }

    #[test]
    fn a_form_is_read_as_the_body_of_a_move_and_empty_fields_are_not_there() {
        let look = test_look(Lang::Zh, Some(Role::Duty));
        let form = fields(&[
            ("key", "k1"),
            ("method", "isolated"),
            ("breaker", " QF3 "),
            ("extent", "feeder"),
            ("note", " "),
            ("reading.shell_v", "0.4"),
            ("supply", "on"),
            ("csrf", "ignored"),
        ]);
        let body = form.body(&look).unwrap();
        assert_eq!((body.method, body.extent), (Some(Method::Isolated), Some(Extent::Feeder)));
        assert_eq!((body.breaker.as_deref(), body.note), (Some("QF3"), None));
        assert_eq!(body.reading.unwrap().shell_v, Some(0.4));
        assert!(fields(&[("supply", "on")]).body(&look).unwrap().reading.is_none(), "nothing was measured");
        assert!(fields(&[("method", "magic")]).body(&look).is_err());
        assert!(fields(&[("shell_v", "NaN")]).body(&look).is_err());
    }

    #[test]
    fn what_the_desk_writes_down_for_a_crew_was_told_by_phone_unless_it_says_otherwise() {
        let look = test_look(Lang::Zh, Some(Role::Duty));
        let channel = |pairs: &[(&str, &str)]| fields(pairs).body(&look).unwrap().channel;
        assert_eq!(channel(&[("on_behalf_of", "王五"), ("channel", "web")]), Channel::Phone);
        assert_eq!(channel(&[("on_behalf_of", "王五"), ("channel", "radio")]), Channel::Radio);
        assert_eq!(channel(&[("channel", "web")]), Channel::Web);
    }

    #[test]
    fn a_time_of_day_is_the_last_one_and_only_the_desk_vouches_for_the_clock() {
        // 20:00:00 in Shanghai.
        let look = test_look(Lang::Zh, Some(Role::Duty));
        let body = fields(&[("key", "k"), ("at", "19:50")]).body(&look).unwrap();
        assert_eq!(body.at, Some(look.now - Millis::minutes(10)));
        assert_eq!(body.sent_at, Some(look.now));
        let late = fields(&[("at", "23:50")]).body(&look).unwrap();
        assert_eq!(late.at, Some(look.now - Millis::minutes(20 * 60 + 10)));
        let crew = test_look(Lang::Zh, Some(Role::Crew));
        assert_eq!(fields(&[("at", "19:50")]).body(&crew).unwrap().sent_at, None);
        let review = fields(&[("review_at", "2026-12-01"), ("for_hours", "2")]).body(&look).unwrap();
        assert_eq!(review.review_at.unwrap().to_rfc3339(), "2026-12-01T01:00:00.000Z");
        assert_eq!(review.until, Some(look.now + Millis::hours(2)));
        assert!(fields(&[("at", "soon")]).body(&look).is_err());
    }

    #[test]
    fn a_hazard_and_a_hand_test_are_read_as_the_interface_takes_them() {
        let look = test_look(Lang::Zh, Some(Role::Duty));
        let hazard = fields(&[
            ("key", "k"),
            ("what", "shock"),
            ("severity", "P3"),
            ("lon", "113.6"),
            ("lat", "34.7"),
            ("place", "桥下"),
        ]);
        let hazard = hazard.hazard(&look).unwrap();
        assert_eq!(hazard["place"]["text"], "桥下");
        let at_a_post = fields(&[("what", "live"), ("post_id", "P1"), ("lon", "113.6"), ("place", "桥下")]);
        assert_eq!(at_a_post.hazard(&look).unwrap().get("place"), None);
        assert_eq!(at_a_post.place_in_words().as_deref(), Some("桥下"), "not lost: a note");
        assert_eq!((hazard.get("severity"), &hazard["channel"]), (None, &json!("phone")), "a shock is a P1");
        let test = fields(&[
            ("post", "P1"),
            ("check", "live"),
            ("pen_band_v", "220"),
            ("supply", "on"),
            ("by", "李四"),
        ]);
        let test = test.hand_test("desk").unwrap();
        assert_eq!(
            (&test["check"], &test["by"], test.get("ts")),
            (&json!("live"), &json!("李四 (desk)"), None)
        );
        assert!(fields(&[("post", "P1"), ("supply", "on")]).hand_test("desk").is_err(), "nothing was found");
    }

    #[test]
    fn names_in_addresses_are_encoded() {
        assert_eq!(encoded("解放路 1/&?"), "%E8%A7%A3%E6%94%BE%E8%B7%AF%201%2F%26%3F");
    }
}
