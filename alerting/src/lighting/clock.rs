//! [`Lighting`] that remembers its answers until they change: readings ask a thousand times a second, feeders are
//! switched twice a day.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Millis, Post, Timestamp};

use super::{Expected, Lighting, plan_of};

/// An answer is asked for again after this long, whatever it says.
const KEPT: Millis = Millis::hours(1);
/// Answers kept; beyond, all are forgotten and asked for again.
const ANSWERS_MAX: usize = 100_000;

/// Posts of one place: the sun needs 2.4 s for a hundredth of a degree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    feeder: Arc<str>,
    plan: u32,
    lon: i32,
    lat: i32,
}

#[derive(Clone, Copy, Debug)]
struct Kept<T> {
    asked_at: Timestamp,
    until: Timestamp,
    answer: T,
}

/// Answers by what was asked.
#[derive(Debug)]
struct Answers<K, T>(RefCell<HashMap<K, Kept<T>, RandomState>>);

impl<K: Eq + Hash, T: Copy> Answers<K, T> {
    fn new() -> Self {
        Self(RefCell::new(HashMap::default()))
    }

    /// The kept answer, else the one that `ask` gives with the moment until which it holds.
    fn get(&self, key: K, now: Timestamp, ask: impl FnOnce() -> (T, Option<Timestamp>)) -> T {
        let mut kept = self.0.borrow_mut();
        if let Some(known) = kept.get(&key).filter(|known| (known.asked_at..known.until).contains(&now)) {
            return known.answer;
        }
        let (answer, until) = ask();
        let until = until.map_or(now + KEPT, |until| until.min(now + KEPT));
        if kept.len() >= ANSWERS_MAX {
            kept.clear();
        }
        kept.insert(key, Kept { asked_at: now, until, answer });
        answer
    }
}

/// Lighting with a memory. One thread's: behind the lock of whoever shares it.
#[derive(Debug)]
pub struct LampClock {
    lighting: Arc<Lighting>,
    supply: Answers<Arc<str>, Option<Expected>>,
    lamps: Answers<Spot, Option<u32>>,
}

impl LampClock {
    /// Asks this lighting.
    pub fn new(lighting: Arc<Lighting>) -> Self {
        Self { lighting, supply: Answers::new(), lamps: Answers::new() }
    }

    /// What it asks.
    pub fn lighting(&self) -> &Arc<Lighting> {
        &self.lighting
    }

    /// [`Lighting::supply_expected`].
    pub fn supply_expected(&self, feeder: &Arc<str>, now: Timestamp) -> Option<Expected> {
        if !self.lighting.configured {
            return None;
        }
        self.supply.get(feeder.clone(), now, || {
            let answer = self.lighting.supply_expected(feeder, now);
            (answer, answer.and_then(|expected| expected.until))
        })
    }

    /// [`Lighting::lamp_power`]; posts within a hundredth of a degree are switched by the same sun.
    pub fn lamp_power(&self, post: &Post, now: Timestamp) -> Option<u32> {
        let hundredth = |degrees: f64| (degrees * 100.0).round() as i32;
        let known = self.lighting.plans.iter().position(|plan| plan.name == plan_of(post));
        let by_timetable = || {
            let names = self.lighting.timetables.iter().flat_map(|timetable| &timetable.plans);
            names
                .into_iter()
                .position(|name| name == plan_of(post))
                .map(|place| place + self.lighting.plans.len())
        };
        let plan = known.or_else(by_timetable).map_or(u32::MAX, |place| place as u32);
        let (lon, lat) = (hundredth(post.lon), hundredth(post.lat));
        let spot = Spot { feeder: post.feeder.clone(), plan, lon, lat };
        self.lamps.get(spot, now, || {
            let answer = self.lighting.lamps_expected(post, now);
            (answer.map(|expected| expected.power), answer.and_then(|expected| expected.until))
        })
    }

    /// [`Lighting::lamp_due`], as exact as [`LampClock::lamp_power`].
    pub fn lamp_due(&self, post: &Post, now: Timestamp) -> Option<bool> {
        self.lamp_power(post, now).map(|power| power > 0)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use lampguard_model::Register;

    use super::*;

    #[test]
    fn what_is_remembered_is_what_would_be_answered() {
        let text = format!(
            "{},plan\nP1,,z1,r,1,,F1,C1,113.2,35.2,1,100,false,,,half_night\nP2,,z1,r,2,,F1,C1,113.9,35.2,1,100,false,,,dimmed",
            "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code"
        );
        let register = Register::parse(text.as_bytes()).unwrap();
        // The second night has an hour twice, in the third zone one is left out.
        for (zone, evening) in [
            ("Asia/Shanghai", "2026-11-23T12:00:00+08:00"),
            ("Europe/Berlin", "2026-10-24T12:00:00+02:00"),
            ("America/New_York", "2026-03-07T12:00:00-05:00"),
        ] {
            let start = Timestamp::from_rfc3339(evening).unwrap();
            remembers(zone, start, &register);
        }
    }

    fn remembers(zone: &str, start: Timestamp, register: &Register) {
        let config = super::super::LightingConfig::default();
        let zone = TimeZone::get(zone).unwrap();
        let lighting = Arc::new(Lighting::build(Some(&config), zone, register).unwrap());
        let clock = LampClock::new(lighting.clone());
        for second in (0..172_800).step_by(60) {
            let now = start + Millis::seconds(second);
            assert_eq!(clock.supply_expected(&Arc::from("F1"), now), lighting.supply_expected("F1", now));
            for post in register.posts() {
                assert_eq!(
                    clock.lamp_power(post, now),
                    lighting.lamp_power(post, now),
                    "{} {second}",
                    post.post_id
                );
            }
        }
        let back = start - Millis::hours(3);
        assert_eq!(
            clock.supply_expected(&Arc::from("F1"), back),
            lighting.supply_expected("F1", back),
            "a clock step"
        );
    }
}
