//! The device's time, as its profile says that it is written.

use jiff::civil;
use jiff::tz::TimeZone;
use lampguard_model::Timestamp;
use serde_json::Value as Json;

#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    Number,
    Rfc3339,
    /// A number or RFC 3339.
    Any,
    Pattern(String, TimeZone),
}

impl TimeFormat {
    pub(super) fn read(&self, value: &Json) -> Option<Timestamp> {
        match (self, value) {
            (Self::Number | Self::Any, Json::Number(number)) => number_time(number.as_f64()?),
            (Self::Number, Json::String(text)) => number_time(text.trim().parse().ok()?),
            (Self::Rfc3339, Json::String(text)) => Timestamp::from_rfc3339(text),
            (Self::Any, Json::String(text)) => {
                Timestamp::from_rfc3339(text).or_else(|| number_time(text.trim().parse().ok()?))
            }
            (Self::Pattern(pattern, zone), Json::String(text)) => {
                if let Ok(time) = jiff::Timestamp::strptime(pattern, text) {
                    return Some(Timestamp(time.as_millisecond()));
                }
                let local = civil::DateTime::strptime(pattern, text).ok()?;
                let time = zone.to_timestamp(local).ok()?;
                Some(Timestamp(time.as_millisecond()))
            }
            _ => None,
        }
    }
}

/// A number of seconds may carry decimals (Shelly's `ts`); larger units come whole.
pub(super) fn number_time(number: f64) -> Option<Timestamp> {
    if !number.is_finite() || number.abs() > 9.0e18 {
        return None;
    }
    Some(if number.abs() < 1.0e11 {
        Timestamp((number * 1000.0).round() as i64)
    } else {
        Timestamp::from_number(number as i64)
    })
}
