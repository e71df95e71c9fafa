//! Points in time and lengths of time, both in whole milliseconds.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A length of time in milliseconds; negative when it points backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// `n` seconds.
    pub const fn seconds(n: i64) -> Self {
        Self(n * 1000)
    }

    /// `n` minutes.
    pub const fn minutes(n: i64) -> Self {
        Self(n * 60_000)
    }

    /// `n` hours.
    pub const fn hours(n: i64) -> Self {
        Self(n * 3_600_000)
    }

    /// Whole seconds, cut towards zero.
    pub const fn as_seconds(self) -> i64 {
        self.0 / 1000
    }
}

impl Add for Millis {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The earliest time a sensor clock may claim: 2020-01-01 UTC (`reading` rule of the wire contract).
pub const EARLIEST: Timestamp = Timestamp(1_577_836_800_000);

/// How far ahead of receipt a sensor clock may be before it counts as broken: 5 minutes.
pub const CLOCK_AHEAD_MAX: Millis = Millis::minutes(5);

impl Timestamp {
    /// Reads a number whose unit is told by its size: seconds, milliseconds, microseconds or nanoseconds.
    ///
    /// The borders stand at 10^11, 10^14 and 10^17: a second count passes 10^11 in the year 5138, and
    /// 10^11 milliseconds were over in 1973.
    pub fn from_number(value: i64) -> Self {
        let size = value.unsigned_abs();
        if size < 100_000_000_000 {
            Self(value.saturating_mul(1000))
        } else if size < 100_000_000_000_000 {
            Self(value)
        } else if size < 100_000_000_000_000_000 {
            Self(value / 1000)
        } else {
            Self(value / 1_000_000)
        }
    }

    /// Reads RFC 3339 with an offset or `Z`; `None` for anything else, a time without offset included.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }

    /// RFC 3339 in UTC with milliseconds, as every HTTP answer prints it.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => format!("{t:.3}"),
            Err(_) => format!("{} ms", self.0),
        }
    }

    /// True when a sensor may honestly claim this time for something received at `received_at`.
    pub fn plausible(self, received_at: Self) -> bool {
        self >= EARLIEST && self <= received_at + CLOCK_AHEAD_MAX
    }

    /// The length of time from `earlier` to `self`; negative when `earlier` is later.
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Self;

    fn sub(self, length: Millis) -> Self {
        Self(self.0.saturating_sub(length.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_number_tells_its_unit() {
        let ms = 1_760_710_920_123;
        assert_eq!(Timestamp::from_number(1_760_710_920), Timestamp(1_760_710_920_000));
        assert_eq!(Timestamp::from_number(ms), Timestamp(ms));
        assert_eq!(Timestamp::from_number(ms * 1000 + 7), Timestamp(ms));
        assert_eq!(Timestamp::from_number(ms * 1_000_000 + 7), Timestamp(ms));
        assert_eq!(Timestamp::from_number(0), Timestamp(0));
    }

    #[test]
    fn a_time_without_an_offset_is_not_a_point_in_time() {
        assert_eq!(Timestamp::from_rfc3339("2026-11-23T20:00:00+08:00"), Some(Timestamp(1_795_435_200_000)));
        assert_eq!(Timestamp::from_rfc3339("2026-11-23T20:00:00"), None);
        assert_eq!(Timestamp(1_795_435_200_123).to_rfc3339(), "2026-11-23T12:00:00.123Z");
    }
}
