//! Sunrise and sunset at a place: the equations of NOAA's solar calculator (after Meeus, *Astronomical
//! Algorithms*), good to about a minute between the polar circles. Pure.

use lampguard_model::{Millis, Timestamp};

/// 2000-01-01 12:00 UTC, where the equations begin.
const J2000: Timestamp = Timestamp(946_728_000_000);
/// Height of the sun's middle when its edge touches the horizon: refraction and half its size.
const HORIZON: f64 = -0.833;

/// The sun on one day at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// It rises and sets.
    Usual {
        /// Sunrise.
        rise: Timestamp,
        /// Sunset.
        set: Timestamp,
    },
    /// It does not set.
    AlwaysUp,
    /// It does not rise.
    AlwaysDown,
}

/// Declination in degrees, and the equation of time in minutes.
fn sun(at: Timestamp) -> (f64, f64) {
    let century = at.since(J2000).0 as f64 / 86.4e6 / 36_525.0;
    let long = (280.46646 + century * (36000.76983 + century * 0.0003032)).rem_euclid(360.0);
    let anomaly = 357.52911 + century * (35999.05029 - 0.0001537 * century);
    let eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century);
    let m = anomaly.to_radians();
    let centre = m.sin() * (1.914602 - century * (0.004817 + 0.000014 * century))
        + (2.0 * m).sin() * (0.019993 - 0.000101 * century)
        + (3.0 * m).sin() * 0.000289;
    let node = (125.04 - 1934.136 * century).to_radians();
    let apparent = (long + centre - 0.00569 - 0.00478 * node.sin()).to_radians();
    let arc_seconds = 21.448 - century * (46.815 + century * (0.00059 - century * 0.001813));
    let tilt = (23.0 + (26.0 + arc_seconds / 60.0) / 60.0 + 0.00256 * node.cos()).to_radians();
    let declination = (tilt.sin() * apparent.sin()).asin();
    let y = (tilt / 2.0).tan().powi(2);
    let l = long.to_radians();
    let equation = y * (2.0 * l).sin() - 2.0 * eccentricity * m.sin()
        + 4.0 * eccentricity * y * m.sin() * (2.0 * l).cos()
        - 0.5 * y * y * (4.0 * l).sin()
        - 1.25 * eccentricity * eccentricity * (2.0 * m).sin();
    (declination.to_degrees(), 4.0 * equation.to_degrees())
}

/// Solar noon nearest to a moment.
pub fn noon_near(at: Timestamp, lon: f64) -> Timestamp {
    let (_, equation) = sun(at);
    // Noon of the mean sun on the UTC day of the moment, in minutes.
    let minute = 720.0 - 4.0 * lon - equation;
    let day = at.0.div_euclid(86_400_000) * 86_400_000;
    let noon = Timestamp(day) + Millis((minute * 60_000.0) as i64);
    let days = (at.since(noon).0 as f64 / 86.4e6).round() as i64;
    noon + Millis(days * 86_400_000)
}

/// The sun on the day whose solar noon is nearest to a moment.
pub fn day_near(at: Timestamp, lon: f64, lat: f64) -> Day {
    let noon = noon_near(at, lon);
    let event = |side: f64| {
        let mut guess = noon;
        // The sun moves while the day goes by: asked again where it was found.
        for _ in 0..3 {
            let (declination, equation) = sun(guess);
            let angle = hour_angle(declination, lat)?;
            let (_, noon_equation) = sun(noon);
            let shift = side * angle * 4.0 - (equation - noon_equation);
            guess = noon + Millis((shift * 60_000.0) as i64);
        }
        Ok(guess)
    };
    match (event(-1.0), event(1.0)) {
        (Ok(rise), Ok(set)) => Day::Usual { rise, set },
        (Err(day), _) | (_, Err(day)) => day,
    }
}

/// Degrees from noon to the horizon.
fn hour_angle(declination: f64, lat: f64) -> Result<f64, Day> {
    let (declination, lat) = (declination.to_radians(), lat.clamp(-89.9, 89.9).to_radians());
    let cos = HORIZON.to_radians().sin() / (lat.cos() * declination.cos()) - lat.tan() * declination.tan();
    match cos {
        ..-1.0 => Err(Day::AlwaysUp),
        -1.0..=1.0 => Ok(cos.acos().to_degrees()),
        _ => Err(Day::AlwaysDown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    /// A moment of the day, place, sunrise and sunset: US Naval Observatory, "Sun and Moon Data for One Day"
    /// (N 39° 0', W 94° 0', 2019-05-03; Hilo, sunrise alone); Beijing at the solstices as printed in Chinese
    /// almanacs (冬至 7:33 – 16:53, 夏至 4:46 – 19:47).
    type Case = (&'static str, f64, f64, &'static str, &'static str);

    #[test]
    fn published_sunrises_and_sunsets_are_met_within_two_minutes() {
        let cases: [Case; 4] = [
            (
                "2019-05-03T12:00:00-05:00",
                -94.0,
                39.0,
                "2019-05-03T06:16:00-05:00",
                "2019-05-03T20:11:00-05:00",
            ),
            ("2004-10-13T22:00:00Z", -155.08, 19.72, "2004-10-13T16:15:00Z", ""),
            (
                "2025-12-21T12:00:00+08:00",
                116.4,
                39.9,
                "2025-12-21T07:33:00+08:00",
                "2025-12-21T16:53:00+08:00",
            ),
            (
                "2025-06-21T12:00:00+08:00",
                116.4,
                39.9,
                "2025-06-21T04:46:00+08:00",
                "2025-06-21T19:47:00+08:00",
            ),
        ];
        for (noon, lon, lat, rise_text, set_text) in cases {
            let Day::Usual { rise, set } = day_near(at(noon), lon, lat) else { panic!("{noon}") };
            for (found, text) in [(rise, rise_text), (set, set_text)] {
                if text.is_empty() {
                    continue;
                }
                let off = found.since(at(text)).0.abs();
                assert!(off <= 120_000, "{noon}: {} instead of {text}", found.to_rfc3339());
            }
        }
    }

    #[test]
    fn the_equation_of_time_is_that_of_the_solar_calculator() {
        // NOAA's solar calculator for longitude 98.583° W at 06:26:14 of mean solar time, hundredths of a minute.
        for (day, hundredths) in
            [("2017-02-25", -1301), ("2017-04-25", 208), ("2017-11-25", 1295), ("2017-12-25", -19)]
        {
            let moment = at(&format!("{day}T06:26:14Z")) + Millis((98.583 * 240_000.0) as i64);
            let found = (sun(moment).1 * 100.0).round() as i32;
            assert!((found - hundredths).abs() <= 2, "{day}: {found} instead of {hundredths}");
        }
    }

    #[test]
    fn beyond_the_polar_circles_and_at_the_poles_nothing_panics() {
        assert_eq!(day_near(at("2026-06-21T12:00:00+02:00"), 18.96, 69.65), Day::AlwaysUp);
        assert_eq!(day_near(at("2026-12-21T12:00:00+01:00"), 18.96, 69.65), Day::AlwaysDown);
        for lat in [-90.0, -67.0, 0.0, 67.0, 90.0] {
            for lon in [-180.0, 0.0, 179.99] {
                for day in 0..366 {
                    let noon = at("2026-01-01T12:00:00Z") + Millis::hours(24 * day);
                    if let Day::Usual { rise, set } = day_near(noon, lon, lat) {
                        assert!(rise <= set, "{lat} {lon} {day}");
                    }
                }
            }
        }
    }

    #[test]
    fn noon_is_the_nearest_one_at_every_longitude() {
        for lon in [-180.0, -90.0, 0.0, 113.0, 180.0] {
            for hour in 0..48 {
                let moment = at("2026-11-23T00:00:00Z") + Millis::hours(hour);
                let away = noon_near(moment, lon).since(moment).0.abs();
                assert!(away <= 12 * 3_600_000 + 60_000, "{lon} {hour}: {away} ms");
            }
        }
    }
}
