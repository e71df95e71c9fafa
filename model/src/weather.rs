//! Rain and official warnings for one zone.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Official rain warning, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Warning {
    /// None in force.
    #[default]
    None,
    /// 50 mm in 12 h expected.
    Blue,
    /// 50 mm in 6 h expected.
    Yellow,
    /// 50 mm in 3 h expected.
    Orange,
    /// 100 mm in 3 h expected.
    Red,
}

/// One weather message. What a message leaves out stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WeatherReport {
    /// When it was measured or issued; absent means at receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// Zone id, or `all`. On the wire the topic names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Rain rate, mm per hour, 0 to 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rain_mm_h: Option<f64>,
    /// Official warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Warning>,
    /// The office's own switch: snow-melt, street washing, burst main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wet: Option<bool>,
}

/// Highest rain rate that is believed, mm/h; the strongest hour ever recorded on earth is near 400.
pub const RAIN_MM_H_MAX: f64 = 500.0;

/// Why a weather message was refused.
#[derive(Debug, thiserror::Error)]
pub enum WeatherError {
    /// Not the JSON object of the contract.
    #[error("weather message is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A rain rate nobody can believe.
    #[error("rain of {0} mm/h is outside 0 to {RAIN_MM_H_MAX} mm/h")]
    Rain(f64),
    /// Nothing in it.
    #[error("weather message has none of rain_mm_h, warning, wet")]
    Empty,
}

impl WeatherReport {
    /// Reads and checks one message.
    ///
    /// # Errors
    /// [`WeatherError`]: quarantine the message, the weather stays as it was.
    pub fn decode(payload: &[u8]) -> Result<Self, WeatherError> {
        let report: Self = serde_json::from_slice(payload)?;
        match report.rain_mm_h {
            Some(rate) if !(0.0..=RAIN_MM_H_MAX).contains(&rate) => Err(WeatherError::Rain(rate)),
            None if report.warning.is_none() && report.wet.is_none() => Err(WeatherError::Empty),
            _ => Ok(report),
        }
    }

    /// When it holds from: its own time if that is plausible, else receipt.
    pub fn at(&self, received_at: Timestamp) -> Timestamp {
        self.claimed(received_at).unwrap_or(received_at)
    }

    /// True when it says itself, and plausibly, from when it is.
    pub fn is_dated(&self, received_at: Timestamp) -> bool {
        self.claimed(received_at).is_some()
    }

    fn claimed(&self, received_at: Timestamp) -> Option<Timestamp> {
        self.ts.map(Timestamp::from_number).filter(|ts| ts.plausible(received_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weather_message_is_checked() {
        let report = WeatherReport::decode(br#"{"rain_mm_h":12.5,"warning":"yellow","wet":true}"#).unwrap();
        assert_eq!(report.warning, Some(Warning::Yellow));
        assert!(WeatherReport::decode(br#"{"rain_mm_h":-1}"#).is_err());
        assert!(WeatherReport::decode(br#"{"rain_mm_h":9999}"#).is_err());
        assert!(WeatherReport::decode(br#"{"warning":"purple"}"#).is_err());
        assert!(WeatherReport::decode(b"{}").is_err());
    }
}
