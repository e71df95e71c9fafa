//! The hazards as they really are, whatever the sensors say of them.
//!
//! Dangerous is what the fixed table of `physics.rs` says over true values, with the simulator's own word on
//! wet ground; no rule of the alert engine is known here. The city is run again from its start with everything
//! that happened to it, minute by minute, without a single message.

use std::collections::BTreeMap;

use lampguard_model::{Millis, Timestamp};
use serde::{Serialize, Serializer};

use crate::city::{City, Class};
use crate::event::{EventKind, Target};
use crate::physics::{Danger, Electrical};
use crate::simulation::Simulation;
use crate::world::World;

/// One hazard. Serialises as a truth line of the wire contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truth {
    /// The post; absent for what only a whole feeder has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_id: Option<String>,
    /// The feeder, where it is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feeder: Option<String>,
    /// `electric`, `neutral` (a broken neutral reaches this post), `feeder_leak` (a wet cable joint).
    pub kind: &'static str,
    /// Why: `wet_joint`, `wet_joint_poor_earth`, `aged_insulation`, `poor_earth`, `leak`, `lost_earth`,
    /// `energised_by_neighbour`, `flooded`, `broken_neutral`, `cable_joint`.
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
    /// Its sensor: `ok`, or `failed:` and how while it was dangerous; `failed:none` where there is none.
    pub sensor: &'static str,
    /// True when a working sensor was looking long enough for two samples while it was dangerous.
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
/// A wet joint that leaks less is not worth a line, mA.
const JOINT_MA_MIN: f64 = 10.0;

/// Danger that returns to a post within this time is the same hazard: nobody has closed its case yet (a back-test
/// ends an incident 24 h after its signal became normal). Later it is a new one.
const RETURNS: Millis = Millis::hours(36);

/// A hazard while the city is run again.
struct Found {
    truth: Truth,
    /// Why nobody could tell while it was marginal.
    marginal: Option<&'static str>,
    /// How long a working sensor saw it dangerous, ms.
    seen_ms: i64,
    /// The sensor failed after it had told once.
    told_then_silent: bool,
}

impl Simulation {
    /// Every hazard between the start and `until`, looked at once a minute of weather, in the order of the
    /// posts, a line for each spell of danger; wet cable joints at the end.
    pub fn truth(&self, until: Timestamp) -> Vec<Truth> {
        let mut world = self.world().again();
        let (posts, joints) = self.suspects();
        let mut found: BTreeMap<u32, Vec<Found>> = BTreeMap::new();
        let mut leaks: BTreeMap<u32, Truth> = BTreeMap::new();
        let minutes = (self.weather_minutes(until).floor() as i64).min(MINUTES_MAX);
        let minute_ms = 60_000.0 / self.scenario().speed;
        for minute in 0..=minutes {
            let at = Timestamp(self.run().start.0 + (minute as f64 * minute_ms).ceil() as i64);
            world.advance(at);
            world.drop_news();
            for place in &posts {
                self.look(&world, *place, at, minute_ms as i64, &mut found);
            }
            for feeder in &joints {
                self.look_at_joint(&world, *feeder, at, &mut leaks);
            }
        }
        found.into_values().flatten().map(Found::decide).chain(leaks.into_values()).collect()
    }

    /// Posts that may become dangerous, and feeders with a joint that may get wet.
    fn suspects(&self) -> (Vec<u32>, Vec<u32>) {
        let mut posts: std::collections::BTreeSet<u32> =
            self.city().candidates().map(|place| place as u32).collect();
        let mut joints = std::collections::BTreeSet::new();
        for event in self.world().events() {
            match (event.kind, event.target) {
                (
                    EventKind::Leak | EventKind::LostEarth | EventKind::Neighbours | EventKind::Flood,
                    Target::Post(place),
                ) => _ = posts.insert(place),
                (EventKind::BrokenNeutral, Target::Feeder(feeder)) => {
                    posts.extend(self.city().feeders()[feeder as usize].posts());
                }
                (EventKind::CableJoint, Target::Feeder(feeder)) => _ = joints.insert(feeder),
                _ => {}
            }
        }
        (posts.into_iter().collect(), joints.into_iter().collect())
    }

    fn look(
        &self,
        world: &World,
        place: u32,
        at: Timestamp,
        step_ms: i64,
        found: &mut BTreeMap<u32, Vec<Found>>,
    ) {
        let values = world.electrical(place, true);
        let danger = values.danger(world.is_wet(place));
        let last = found.get_mut(&place).and_then(|spells| spells.last_mut());
        if danger == Danger::None {
            if let Some(found) = last {
                found.truth.ends_at.get_or_insert(at);
            }
            return;
        }
        let over = |found: &Found| found.truth.ends_at.is_some_and(|ended| at.since(ended) > RETURNS);
        if last.is_none_or(|found| over(found)) {
            found.entry(place).or_default().push(self.begin(world, place, at));
        }
        let Some(found) = found.get_mut(&place).and_then(|spells| spells.last_mut()) else { return };
        found.truth.class = found.truth.class.max(danger);
        found.truth.ends_at = None;
        let shell_alone = Electrical { leakage_ma: 0.0, ..values };
        let by_shell = shell_alone.danger(world.is_wet(place)) >= danger;
        let failure = self.failure(world, place, by_shell);
        if danger < Danger::Dangerous {
            found.marginal = found.marginal.or(failure);
            return;
        }
        if found.truth.dangerous_at.is_none() {
            found.truth.dangerous_at = Some(at);
            found.truth.period_s = world.period_s(place);
            (found.truth.kind, found.truth.cause) = self.why(world, place);
            found.truth.feeder = self.feeder_named(found.truth.kind, place);
        }
        match failure {
            None => found.seen_ms += step_ms,
            Some(how) => {
                found.told_then_silent |= how == "failed:silent_after_critical" && found.seen_ms > 0;
                if found.truth.sensor == "ok" {
                    found.truth.sensor = how;
                }
            }
        }
    }

    fn begin(&self, world: &World, place: u32, at: Timestamp) -> Found {
        let (kind, cause) = self.why(world, place);
        let truth = Truth {
            post_id: Some(City::post_id(place as usize)),
            feeder: self.feeder_named(kind, place),
            kind,
            cause,
            class: Danger::Marginal,
            starts_at: at,
            dangerous_at: None,
            ends_at: None,
            period_s: world.period_s(place),
            sensor: "ok",
            observable: false,
        };
        Found { truth, marginal: None, seen_ms: 0, told_then_silent: false }
    }

    fn feeder_named(&self, kind: &str, place: u32) -> Option<String> {
        let feeder = self.city().posts()[place as usize].feeder;
        (kind == "neutral").then(|| self.city().feeders()[feeder as usize].id())
    }

    fn why(&self, world: &World, place: u32) -> (&'static str, &'static str) {
        let post = &self.city().posts()[place as usize];
        let affected = world.affected(place).copied().unwrap_or_default();
        let poor_earth = post.insulation.earth_ohm > 10.0;
        if world.line(post.feeder).neutral_v > 0.0 {
            return ("neutral", "broken_neutral");
        }
        let cause = match (post.class, poor_earth) {
            _ if affected.leak_ma > 0.0 => "leak",
            _ if affected.lost_earth => "lost_earth",
            _ if world.stray_v(place) > 0.0 => "energised_by_neighbour",
            (Class::Hazard, true) => "wet_joint_poor_earth",
            (Class::Hazard, false) => "wet_joint",
            _ if affected.flood.is_some() => "flooded",
            (_, true) => "poor_earth",
            (_, false) => "aged_insulation",
        };
        ("electric", cause)
    }

    /// Why nobody is told by the sensor of a post now; `None` when it works.
    fn failure(&self, world: &World, place: u32, by_shell: bool) -> Option<&'static str> {
        let post = &self.city().posts()[place as usize];
        let Some(model) = post.model.filter(|model| model.spec().leakage) else {
            return Some("failed:none");
        };
        let line = world.line(post.feeder);
        if line.link_dead {
            return Some("failed:concentrator");
        }
        if line.link_held || world.is_broker_away() {
            return Some("failed:uplink");
        }
        if !model.spec().battery && !world.is_powered(place) {
            return Some("failed:unpowered");
        }
        let sensor = world.affected(place).map(|affected| affected.sensor).unwrap_or_default();
        match sensor.fails() {
            // These spoil the leakage alone.
            Some("failed:open_ct" | "failed:amperes" | "failed:not_a_number") if by_shell => None,
            Some("failed:silent_after_critical" | "failed:drowned") => {
                let mute = world.is_mute(place, world.period_s(place));
                sensor.fails().filter(|_| mute)
            }
            other => other,
        }
    }

    fn look_at_joint(&self, world: &World, feeder: u32, at: Timestamp, leaks: &mut BTreeMap<u32, Truth>) {
        let of_city = &self.city().feeders()[feeder as usize];
        if world.joint_ma(feeder) < JOINT_MA_MIN {
            if let Some(truth) = leaks.get_mut(&feeder) {
                truth.ends_at.get_or_insert(at);
            }
            return;
        }
        let truth = leaks.entry(feeder).or_insert_with(|| Truth {
            post_id: None,
            feeder: Some(of_city.id()),
            kind: "feeder_leak",
            cause: "cable_joint",
            class: Danger::Marginal,
            starts_at: at,
            dangerous_at: None,
            ends_at: None,
            period_s: self.scenario().period_s.unwrap_or(crate::city::CABINET_PERIOD_S),
            sensor: if of_city.cabinet_sensor { "ok" } else { "failed:none" },
            observable: of_city.cabinet_sensor,
        });
        truth.ends_at = None;
        let line = world.line(feeder);
        if line.flooded || line.link_dead {
            (truth.sensor, truth.observable) = ("failed:cabinet", false);
        }
    }
}

impl Found {
    fn decide(mut self) -> Truth {
        let period_ms = i64::from(self.truth.period_s) * 1000;
        self.truth.observable = self.seen_ms >= 2 * period_ms || self.told_then_silent;
        if self.truth.dangerous_at.is_none() {
            self.truth.sensor = self.marginal.unwrap_or("ok");
            self.truth.observable = self.marginal.is_none();
        }
        self.truth
    }
}

#[cfg(test)]
#[path = "truth_tests.rs"]
mod tests;
