//! Fields of a form as the body of a move: what works without JavaScript.

use lampguard_alerting::life::MoveBody;
use serde_json::{Map, Value, json};

use super::ApiError;

/// Numbers among the fields; a dot leads into an object.
const NUMBERS: [&str; 6] = [
    "position.lon",
    "position.lat",
    "position.accuracy_m",
    "reading.leakage_ma",
    "reading.shell_v",
    "reading.pen_band_v",
];
/// Times: RFC 3339, milliseconds UTC, or what an input of type `datetime-local` gives, in the zone of the site.
const TIMES: [&str; 5] = ["at", "sent_at", "until", "follow_up_at", "review_at"];
/// What belongs to the form and not to the move.
const OF_THE_FORM: [&str; 3] = ["csrf", "incident", "lang"];

/// Empty fields are as good as absent ones.
pub(super) fn move_body(fields: &[(String, String)], time_zone: &str) -> Result<MoveBody, ApiError> {
    let mut body = Map::new();
    for (name, value) in fields {
        let (name, value) = (name.as_str(), value.trim());
        if value.is_empty() || OF_THE_FORM.contains(&name) {
            continue;
        }
        let value = if NUMBERS.contains(&name) {
            number(name, value)?
        } else if TIMES.contains(&name) {
            time(name, value, time_zone)?
        } else if name == "clear" {
            json!(matches!(value, "true" | "on" | "1"))
        } else {
            json!(value)
        };
        match name.split_once('.') {
            Some((outer, inner)) => {
                let object = body.entry(outer).or_insert_with(|| json!({}));
                object[inner] = value;
            }
            None => drop(body.insert(name.to_owned(), value)),
        }
    }
    serde_json::from_value(Value::Object(body)).map_err(|e| ApiError::bad(format!("the form: {e}")))
}

fn number(name: &str, text: &str) -> Result<Value, ApiError> {
    let number = text.replace(',', ".").parse::<f64>().ok().filter(|number| number.is_finite());
    number.map(|number| json!(number)).ok_or_else(|| ApiError::bad(format!("{name}: {text:?} is no number")))
}

fn time(name: &str, text: &str, time_zone: &str) -> Result<Value, ApiError> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(json!(millis));
    }
    if lampguard_model::Timestamp::from_rfc3339(text).is_some() {
        return Ok(json!(text));
    }
    let zone = jiff::tz::TimeZone::get(time_zone).ok();
    let local = text.parse::<jiff::civil::DateTime>().ok();
    let at = zone.zip(local).and_then(|(zone, local)| zone.to_timestamp(local).ok());
    let wrong = || ApiError::bad(format!("{name}: {text:?} is no date with time"));
    at.map(|at| json!(at.as_millisecond())).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<MoveBody, ApiError> {
        let fields: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        move_body(&fields, "Asia/Shanghai")
    }

    #[test]
    fn a_form_becomes_the_body_that_json_would_be() {
        let body = read(&[
            ("key", "k1"),
            ("csrf", "x"),
            ("incident", "LG-A"),
            ("note", " 已到 "),
            ("position.lon", "113.62"),
            ("position.lat", "34.75"),
            ("position.accuracy_m", ""),
            ("reading.shell_v", "0,4"),
            ("reading.check", "ok"),
            ("clear", "on"),
            ("method", "isolated"),
            ("breaker", ""),
            ("sent_at", "1795435200000"),
            ("follow_up_at", "2026-11-26T08:00"),
            ("review_at", "2026-11-26T08:00:00+08:00"),
        ]);
        let body = serde_json::to_value(body.unwrap()).unwrap();
        let expected = json!({
            "key": "k1", "note": "已到", "position": {"lon": 113.62, "lat": 34.75}, "clear": true,
            "reading": {"shell_v": 0.4, "check": "ok"}, "method": "isolated", "channel": "web",
            "sent_at": "2026-11-23T12:00:00.000Z", "follow_up_at": "2026-11-26T00:00:00.000Z",
            "review_at": "2026-11-26T00:00:00.000Z",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (name, value, word) in [
            ("reading.shell_v", "viel", "no number"),
            ("reading.shell_v", "NaN", "no number"),
            ("until", "tomorrow", "no date"),
            ("colour", "red", "colour"),
            ("method", "prayed", "prayed"),
        ] {
            let fault = read(&[("key", "k"), (name, value)]).unwrap_err();
            assert!(fault.message().contains(word), "{name}: {}", fault.message());
        }
    }
}
