//! When it is dark, and when lamps are meant to burn.

use lampguard_model::Timestamp;

/// Local time of the city, ms ahead of UTC: China keeps +08:00 all year.
pub(crate) const LOCAL_MS: i64 = 8 * 3_600_000;
const DAY_MIN: i64 = 1440;

/// How a feeder is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// By the sun.
    Sun,
    /// On and off at minutes of the local day.
    Timetable {
        /// On.
        on_min: u16,
        /// Off.
        off_min: u16,
    },
}

/// What the lamp of a post does while its feeder is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Burns all night.
    All,
    /// Dark from midnight on.
    HalfNight,
    /// At half power from 23:00 on.
    Dimmed,
}

impl Plan {
    /// Its word in the register.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::HalfNight => "half_night",
            Self::Dimmed => "dimmed",
        }
    }

    /// Share of rated power, 0 to 1, at an instant at which the feeder is meant to be lit.
    pub fn power(self, at: Timestamp) -> f64 {
        let minute = local_minute(at);
        let after_midnight = minute < 12 * 60;
        match self {
            Self::HalfNight if after_midnight => 0.0,
            Self::Dimmed if after_midnight || minute >= 23 * 60 => 0.5,
            _ => 1.0,
        }
    }
}

impl Control {
    /// True when lamps are meant to burn. `dark` is the sun's word.
    pub fn is_on(self, at: Timestamp, dark: bool) -> bool {
        match self {
            Self::Sun => dark,
            Self::Timetable { on_min, off_min } => {
                let minute = local_minute(at);
                minute >= i64::from(on_min) || minute < i64::from(off_min)
            }
        }
    }
}

/// Minute of the local day, 0 to 1,439.
pub fn local_minute(at: Timestamp) -> i64 {
    ((at.0 + LOCAL_MS) / 60_000).rem_euclid(DAY_MIN)
}

/// True between sunset and sunrise at a place.
pub fn is_dark(at: Timestamp, lon: f64, lat: f64) -> bool {
    // Declination to half a degree, the equation of time left out: some minutes off at worst.
    let day_of_year = (at.0 as f64 / 86.4e6).rem_euclid(365.25);
    let turn = std::f64::consts::TAU;
    let declination = -23.44f64.to_radians() * ((day_of_year + 10.0) / 365.25 * turn).cos();
    let hour_angle = (day_share(at, lon) - 0.5) * turn;
    let lat = lat.to_radians();
    let height = lat.sin() * declination.sin() + lat.cos() * declination.cos() * hour_angle.cos();
    height < (-0.833f64).to_radians().sin()
}

/// Share of the solar day at a longitude: 0 midnight, 0.5 noon.
pub(crate) fn day_share(at: Timestamp, lon: f64) -> f64 {
    (at.0 as f64 / 86.4e6 + lon / 360.0).rem_euclid(1.0)
}

/// -1 to 1 once a day, highest at `peak` of the day.
pub(crate) fn wave(day: f64, peak: f64) -> f64 {
    ((day - peak) * std::f64::consts::TAU).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    #[test]
    fn it_is_dark_from_sunset_to_sunrise() {
        let dark = |text| is_dark(at(text), 113.24, 35.22);
        assert!(!dark("2026-06-21T19:20:00+08:00"));
        assert!(dark("2026-06-21T19:55:00+08:00"));
        assert!(dark("2026-12-21T17:35:00+08:00"));
        assert!(!dark("2026-12-21T16:50:00+08:00"));
        assert!(dark("2026-11-23T03:00:00+08:00"));
        assert!(!dark("2026-11-23T12:00:00+08:00"));
    }

    #[test]
    fn plans_and_timetables_hold_at_their_minutes() {
        let plan = |plan: Plan, time: &str| plan.power(at(&format!("2026-11-23T{time}:00+08:00")));
        assert_eq!((plan(Plan::HalfNight, "23:59"), plan(Plan::HalfNight, "00:00")), (1.0, 0.0));
        assert_eq!((plan(Plan::Dimmed, "22:59"), plan(Plan::Dimmed, "23:00")), (1.0, 0.5));
        assert_eq!(plan(Plan::Dimmed, "04:00"), 0.5);
        assert_eq!(plan(Plan::All, "04:00"), 1.0);
        let control = Control::Timetable { on_min: 18 * 60, off_min: 6 * 60 };
        let on = |time: &str| control.is_on(at(&format!("2026-11-23T{time}:00+08:00")), false);
        assert!(!on("17:59") && on("18:00") && on("05:59") && !on("06:00"));
    }
}
