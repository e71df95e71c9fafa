//! The hazards as they really are, whatever the sensors say of them.
//!
//! Dangerous is what the fixed table of `physics.rs` says over true values, with the simulator's own word on
//! wet ground; no rule of the alert engine is known here.

use lampguard_model::Timestamp;
use serde::{Serialize, Serializer};

use crate::city::{City, Class};
use crate::physics::Danger;
use crate::simulation::Simulation;
use crate::weather::Moisture;

/// One hazard. Serialises as a truth line of the wire contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truth {
    /// The post.
    pub post_id: String,
    /// What it is: always `electric` here.
    pub kind: &'static str,
    /// Why: `wet_joint`, `wet_joint_poor_earth`, `aged_insulation`, `poor_earth`.
    pub cause: &'static str,
    /// Dangerous or marginal, at its worst.
    #[serde(serialize_with = "class")]
    pub class: Danger,
    /// First moment at which it was marginal or dangerous, ms UTC.
    pub starts_at: Timestamp,
    /// First moment at which it was dangerous; `None` when it never was.
    pub dangerous_at: Option<Timestamp>,
    /// First moment from which it was neither any more; `None` when it lasts.
    pub ends_at: Option<Timestamp>,
    /// Reporting period of its sensor, seconds.
    pub period_s: u32,
    /// Its sensor: `ok`, or `failed:silent` when it fell silent before the end.
    pub sensor: &'static str,
    /// True when the sensor could tell.
    pub observable: bool,
}

fn class<S: Serializer>(danger: &Danger, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match danger {
        Danger::Dangerous => "dangerous",
        Danger::Marginal | Danger::None => "marginal",
    })
}

/// Minutes of weather that are looked at; more are left out (about 11 years).
const MINUTES_MAX: i64 = 6_000_000;

impl Simulation {
    /// Every post that is marginal or dangerous between the start and `until`, looked at once a minute of
    /// weather, in the order of the posts.
    pub fn truth(&self, until: Timestamp) -> Vec<Truth> {
        let city = self.city();
        let mut found: Vec<(usize, Option<Truth>)> = city.candidates().map(|place| (place, None)).collect();
        let mut moisture = Moisture::new(self.weather());
        let minutes = (self.weather_minutes(until).floor() as i64).min(MINUTES_MAX);
        for minute in 0..=minutes {
            moisture.advance(self.weather(), minute as f64);
            let after_ms = (minute as f64 * 60_000.0 / self.scenario().speed).ceil() as i64;
            let at = Timestamp(self.run().start.0 + after_ms);
            for (place, truth) in &mut found {
                let post = &city.posts()[*place];
                let zone = usize::from(post.zone);
                let values = post.insulation.at(moisture.at(zone, post.soak));
                let danger = values.danger(moisture.wet(zone, post.soak));
                if danger > Danger::None {
                    let truth = truth.get_or_insert_with(|| self.begin(*place, at));
                    truth.class = truth.class.max(danger);
                    truth.ends_at = None;
                    if danger == Danger::Dangerous {
                        truth.dangerous_at.get_or_insert(at);
                    }
                } else if let Some(truth) = truth {
                    truth.ends_at.get_or_insert(at);
                }
            }
        }
        let found = found.into_iter().filter_map(|(place, truth)| Some((place, truth?)));
        found.map(|(place, truth)| self.observe(place, truth, until)).collect()
    }

    fn begin(&self, place: usize, at: Timestamp) -> Truth {
        let post = &self.city().posts()[place];
        let poor_earth = post.insulation.earth_ohm > 10.0;
        Truth {
            post_id: City::post_id(place),
            kind: "electric",
            cause: match (post.class, poor_earth) {
                (Class::Hazard, true) => "wet_joint_poor_earth",
                (Class::Hazard, false) => "wet_joint",
                (_, true) => "poor_earth",
                (_, false) => "aged_insulation",
            },
            class: Danger::Marginal,
            starts_at: at,
            dangerous_at: None,
            ends_at: None,
            period_s: self.scenario().period_s,
            sensor: "ok",
            observable: true,
        }
    }

    /// Adds whether the sensor could tell.
    fn observe(&self, place: usize, mut truth: Truth, until: Timestamp) -> Truth {
        if let Some(silent_at) = self.silent_at(place)
            && silent_at < truth.ends_at.unwrap_or(until)
        {
            truth.sensor = "failed:silent";
            truth.observable = silent_at > truth.starts_at;
        }
        truth
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lampguard_model::Millis;

    use super::*;
    use crate::scenario::Scenario;
    use crate::simulation::Run;

    const START: Timestamp = Timestamp(1_760_710_920_000);

    fn truth(scenario: &str, seed: u64, length: Millis) -> Vec<Truth> {
        let scenario = Scenario::shipped(scenario).unwrap();
        let city = Arc::new(City::new(3200, seed, &scenario).unwrap());
        let run = Run { seed, speed: None, boot: 1, start: START };
        Simulation::new(city, scenario, run).unwrap().truth(START + length)
    }

    #[test]
    fn in_the_demo_the_first_hazard_is_dangerous_after_some_22_seconds_and_all_within_six_minutes() {
        for seed in 0..20 {
            let truth = truth("demo", seed, Millis::minutes(9));
            let mut after: Vec<i64> = truth
                .iter()
                .filter_map(|hazard| hazard.dangerous_at)
                .map(|at| at.since(START).as_seconds())
                .collect();
            after.sort_unstable();
            assert_eq!(after.len(), 9);
            assert!((19..=25).contains(&after[0]) && after[8] <= 360, "seed {seed}: {after:?}");
            assert!(after[8] > 120, "they come one after the other");
            assert!(truth.len() > 9, "marginal posts are listed too");
        }
    }

    #[test]
    fn the_autumn_rain_makes_its_seven_hazards_dangerous() {
        for seed in [1, 2, 3] {
            let truth = truth("autumn_rain", seed, Millis::hours(24 * 6));
            let dangerous = truth.iter().filter(|hazard| hazard.class == Danger::Dangerous).count();
            assert_eq!(dangerous, 7);
        }
    }

    #[test]
    fn a_truth_line_has_the_fields_of_the_contract() {
        let truth = truth("demo", 1, Millis::minutes(9));
        let hazard = truth.iter().find(|hazard| hazard.class == Danger::Dangerous).unwrap();
        let line = serde_json::to_value(hazard).unwrap();
        assert_eq!(line["class"], "dangerous");
        assert_eq!(line["sensor"], "ok");
        assert_eq!(line["observable"], true);
        assert!(line["ends_at"].is_null() && line["starts_at"].as_i64() >= Some(START.0));
        assert!(line["dangerous_at"].as_i64() >= line["starts_at"].as_i64());
    }
}
