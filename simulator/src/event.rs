//! What happens to posts, feeders, sensors and links besides the rain: as a scenario tells it, and as it was
//! placed in one city.

use serde::Deserialize;

use crate::chance::Chance;
use crate::city::{City, Class, neighbours, stretch};
use crate::scenario::{ScenarioError, within};

/// What can happen. `value` in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A post leaks, wet or dry [mA, default 60].
    Leak,
    /// A post loses its protective earth.
    LostEarth,
    /// The fault of a post opens and closes with the wind (WF1).
    Intermittent,
    /// The fault of a post lies behind the lamp's switch (WF2).
    NightOnly,
    /// The fault of a post is there whenever its feeder is energised, also by day (WF3).
    SupplySide,
    /// A broken cable at a post energises its neighbours while the ground is wet [shell V at the post, default 80].
    Neighbours,
    /// A crew repairs a post; `minutes` is how long the repair holds.
    Repair,
    /// Water stands around the posts of a low stretch [mm, default 400].
    Flood,
    /// A lamp is dark.
    LampOut,
    /// A post is hit [tilt in degrees, default 20].
    Knock,
    /// A hand-hole door stands open.
    DoorOpen,
    /// A cable joint of a feeder gets wet: seen at the cabinet only (WF4) [mA when soaked, default 60].
    CableJoint,
    /// A feeder loses its neutral (WF5) [shell V, default 45].
    BrokenNeutral,
    /// A feeder loses one of its phases (WF7).
    PhaseLoss,
    /// The supply of a feeder is low (WF12) [share of nominal, default 0.7].
    BrownOut,
    /// A feeder loses its supply.
    Cut,
    /// The breaker of a cut feeder is closed again.
    Reclose,
    /// A feeder's contactor is welded: lit by day (WF11).
    Welded,
    /// A cabinet is flooded: its feeder and its sensor are dead (WF13).
    CabinetFlood,
    /// Lightning: `count` posts around one place have one false sample each (WF6) [share of sensors killed, default 0.1].
    Lightning,
    /// A sensor repeats its last values to the last digit (WF9).
    Frozen,
    /// A sensor's leakage reads all ones.
    Saturated,
    /// A sensor's leakage is NaN until the sensor starts anew.
    NotANumber,
    /// A current transformer came loose: leakage reads exactly 0.
    OpenCt,
    /// Water reaches a sensor: it tells immersion, then falls silent (WF10).
    Drown,
    /// A sensor falls silent.
    Silent,
    /// A sensor falls silent one period after its post became dangerous.
    SilentAfterCritical,
    /// Leakage reads ten times too high, for as long as it lasts.
    Tenfold,
    /// Leakage is sent in amperes.
    Amperes,
    /// A sensor's clock is wrong [seconds, default -28,800: a zone error].
    ClockOffset,
    /// A sensor's clock counts from 1970.
    Clock1970,
    /// A sensor's clock runs away [seconds a day, default 120].
    ClockDrift,
    /// Leakage drifts (WF8) [mA an hour, default 0.05].
    Drift,
    /// A sensor publishes under another zone.
    WrongZone,
    /// A sensor's leakage flag is stuck.
    StuckFlag,
    /// The concentrator of a feeder is dead: no message, the lamps burn on.
    ConcentratorDead,
    /// The uplink of a feeder is down; afterwards everything comes, thirty messages every five seconds.
    StoreAndForward,
    /// The broker is away from everybody; afterwards everything comes at once.
    BrokerOutage,
    /// The sensors of a feeder start anew together.
    Reboot,
    /// The broker still holds an old critical reading of a post and hands it out again.
    Retained,
    /// An officer tells the system that it is wet (snow-melt, street washing).
    ToldWet,
}

/// Faults that `sensor_faults` of a scenario spreads over the fleet.
pub const SENSOR_FAULTS: [EventKind; 12] = [
    EventKind::Frozen,
    EventKind::Saturated,
    EventKind::OpenCt,
    EventKind::Silent,
    EventKind::SilentAfterCritical,
    EventKind::Tenfold,
    EventKind::Amperes,
    EventKind::ClockOffset,
    EventKind::Clock1970,
    EventKind::ClockDrift,
    EventKind::WrongZone,
    EventKind::StuckFlag,
];

/// What an event happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A post, by its place in the city.
    Post(u32),
    /// A feeder, by its place in the city.
    Feeder(u32),
    /// Everything.
    City,
}

/// Which posts or feeders may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Posts that become live when wet; in the order from the quickest to the slowest.
    Hazard,
    /// Sound posts that measure leakage, on an earth below 50 Ω: the same as without `on`.
    Healthy,
    /// Posts in low stretches.
    LowLying,
    /// Posts with a battery sensor.
    Battery,
    /// Feeders with a sensor in their cabinet.
    Cabinet,
    /// The feeders of the hazards.
    HazardFeeder,
    /// Those of the event before this one: its posts, its feeders, the feeders of its posts.
    Same,
}

/// One line `[[event]]` of a scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// What happens.
    #[serde(rename = "do")]
    pub kind: EventKind,
    /// Minutes of weather after the start, 0 to 1,000,000.
    pub after_min: f64,
    /// How long it lasts, minutes of weather, above 0 to 1,000,000; absent: to the end.
    #[serde(default)]
    pub minutes: Option<f64>,
    /// How many posts or feeders, 1 to 10,000.
    #[serde(default = "one")]
    pub count: u32,
    /// Each further one comes this much later, minutes, 0 to 100,000.
    #[serde(default)]
    pub spread_min: f64,
    /// A number whose meaning depends on `do`.
    #[serde(default)]
    pub value: Option<f64>,
    /// Which ones; absent: sound posts that measure leakage, any feeder.
    #[serde(default)]
    pub on: Option<On>,
    /// Leaves out the first so many of those that fit, 0 to 10,000.
    #[serde(default)]
    pub skip: u32,
}

fn one() -> u32 {
    1
}

/// One thing that happens to one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// To what.
    pub target: Target,
    /// From, minutes of weather after the start.
    pub from_min: f64,
    /// Until, infinite when it lasts.
    pub until_min: f64,
    /// As `do` means it.
    pub value: f64,
    /// Post with the broken cable, when it reaches the target through wet ground.
    pub source: Option<u32>,
}

impl EventKind {
    fn default_value(self) -> f64 {
        match self {
            Self::Leak | Self::CableJoint => 60.0,
            Self::Neighbours => 80.0,
            Self::Flood => 400.0,
            Self::Knock => 20.0,
            Self::BrokenNeutral => 45.0,
            Self::BrownOut => 0.7,
            Self::Lightning => 0.1,
            Self::ClockOffset => -28_800.0,
            Self::ClockDrift => 120.0,
            Self::Drift => 0.05,
            _ => 0.0,
        }
    }

    fn value_range(self) -> std::ops::RangeInclusive<f64> {
        match self {
            Self::Leak | Self::CableJoint => 0.1..=5000.0,
            Self::Neighbours | Self::BrokenNeutral => 0.0..=230.0,
            Self::Flood => 0.0..=3000.0,
            Self::Knock => 0.0..=90.0,
            Self::BrownOut => 0.0..=1.3,
            Self::Lightning => 0.0..=1.0,
            Self::ClockOffset => -1e9..=1e9,
            Self::ClockDrift => -86_400.0..=86_400.0,
            Self::Drift => -100.0..=100.0,
            _ => 0.0..=0.0,
        }
    }

    fn is_of_feeder(self) -> bool {
        matches!(
            self,
            Self::CableJoint
                | Self::BrokenNeutral
                | Self::PhaseLoss
                | Self::BrownOut
                | Self::Cut
                | Self::Reclose
                | Self::Welded
                | Self::CabinetFlood
                | Self::ConcentratorDead
                | Self::StoreAndForward
                | Self::Reboot
        )
    }

    fn is_of_city(self) -> bool {
        matches!(self, Self::BrokerOutage | Self::ToldWet)
    }
}

impl EventSpec {
    pub(crate) fn check(&self) -> Result<(), ScenarioError> {
        within("event.after_min", self.after_min, 0.0..=1e6)?;
        within("event.minutes", self.minutes.unwrap_or(1.0), 0.001..=1e6)?;
        within("event.count", f64::from(self.count), 1.0..=10_000.0)?;
        within("event.spread_min", self.spread_min, 0.0..=1e5)?;
        within("event.skip", f64::from(self.skip), 0.0..=10_000.0)?;
        self.check_places()?;
        let value = self.value.unwrap_or(self.kind.default_value());
        within(&format!("event.value of {:?}", self.kind), value, self.kind.value_range())
    }

    fn check_places(&self) -> Result<(), ScenarioError> {
        let Some(on) = self.on else { return Ok(()) };
        let (suits, names) = if self.kind.is_of_city() {
            (false, "it happens to everybody: leave `on` out")
        } else if self.kind.is_of_feeder() {
            let fits = matches!(on, On::Cabinet | On::HazardFeeder | On::Same);
            (fits, "a feeder is chosen by cabinet, hazard_feeder or same")
        } else {
            let fits = matches!(on, On::Hazard | On::Healthy | On::LowLying | On::Battery | On::Same);
            (fits, "a post is chosen by hazard, healthy, low_lying, battery or same")
        };
        if suits {
            return Ok(());
        }
        let (what, on) = (format!("{:?}", self.kind), format!("{on:?}"));
        Err(ScenarioError::On { what, on, suits: names })
    }

    /// Finds `count` places for it, and tells them. A city that has fewer fitting ones gets fewer. `before` are
    /// the places of the event before.
    pub(crate) fn place(
        &self,
        city: &City,
        chance: Chance,
        before: &[Target],
        out: &mut Vec<Event>,
    ) -> Vec<Target> {
        let targets: Vec<Target> = if self.kind.is_of_city() {
            vec![Target::City]
        } else if self.on == Some(On::Same) {
            self.same(city, before)
        } else if self.kind.is_of_feeder() {
            self.feeders(city, chance)
        } else if matches!(self.kind, EventKind::Flood | EventKind::Lightning) {
            // One place: a stretch under water, a strike and what stands around it.
            let middle = self.posts(city, chance).first().copied().unwrap_or(0);
            let around = match self.kind {
                EventKind::Flood => stretch(city, middle),
                _ => middle..(middle + self.count).min(city.posts().len() as u32),
            };
            around.map(Target::Post).collect()
        } else {
            let posts = self.posts(city, chance).into_iter().map(Target::Post);
            posts.skip(self.skip as usize).take(self.count as usize).collect()
        };
        for (nth, target) in targets.iter().copied().enumerate() {
            let from_min = self.after_min + self.spread_min * nth as f64;
            let event = Event {
                kind: self.kind,
                target,
                from_min,
                until_min: self.minutes.map_or(f64::INFINITY, |minutes| from_min + minutes),
                value: self.value.unwrap_or(self.kind.default_value()),
                source: None,
            };
            event.spread(city, chance.of(nth as u64), out);
        }
        targets
    }

    /// The places of the event before, as posts or as feeders.
    fn same(&self, city: &City, before: &[Target]) -> Vec<Target> {
        let measures =
            |place: u32| city.posts()[place as usize].model.is_some_and(|model| model.spec().leakage);
        let mut found = Vec::new();
        for target in before {
            match (*target, self.kind.is_of_feeder()) {
                (Target::Post(place), true) => {
                    found.push(Target::Feeder(city.posts()[place as usize].feeder));
                }
                (Target::Post(place), false) if measures(place) => found.push(Target::Post(place)),
                (Target::Feeder(feeder), true) => found.push(Target::Feeder(feeder)),
                (Target::Feeder(feeder), false) => {
                    let posts = city.feeders()[feeder as usize].posts().filter(|place| measures(*place));
                    found.extend(posts.map(Target::Post));
                }
                _ => {}
            }
        }
        found.dedup();
        found.into_iter().skip(self.skip as usize).take(self.count as usize).collect()
    }

    fn posts(&self, city: &City, chance: Chance) -> Vec<u32> {
        let hazards: Vec<u32> = city.hazards_in_order().to_vec();
        if self.on == Some(On::Hazard) {
            return hazards;
        }
        let fits = |place: u32| {
            let post = &city.posts()[place as usize];
            let measures = post.model.is_some_and(|model| model.spec().leakage);
            match self.on {
                Some(On::LowLying) => post.low_lying && measures,
                Some(On::Battery) => post.model.is_some_and(|model| model.spec().battery),
                _ => measures && post.class == Class::Healthy && post.insulation.earth_ohm < 50.0,
            }
        };
        chosen(city.posts().len() as u32, self.count + self.skip, chance, fits)
    }

    fn feeders(&self, city: &City, chance: Chance) -> Vec<Target> {
        let feeder_of = |place: &u32| city.posts()[*place as usize].feeder;
        let places = match self.on {
            Some(On::HazardFeeder | On::Hazard) => {
                let mut feeders: Vec<u32> = city.hazards_in_order().iter().map(feeder_of).collect();
                let mut seen = std::collections::HashSet::new();
                feeders.retain(|feeder| seen.insert(*feeder));
                feeders
            }
            on => chosen(city.feeders().len() as u32, self.count + self.skip, chance, |place| {
                let feeder = &city.feeders()[place as usize];
                on != Some(On::Cabinet) || feeder.cabinet_sensor
            }),
        };
        let places = places.into_iter().skip(self.skip as usize).take(self.count as usize);
        places.map(Target::Feeder).collect()
    }
}

impl Event {
    /// Adds it, and what it does besides: a broken cable reaches the neighbours, lightning kills some sensors.
    pub(crate) fn spread(self, city: &City, chance: Chance, out: &mut Vec<Self>) {
        out.push(self);
        let Target::Post(place) = self.target else { return };
        match self.kind {
            EventKind::Neighbours => {
                for (beside, away) in neighbours(city, place, NEIGHBOURS) {
                    let value = self.value * FADES.powi(away as i32);
                    out.push(Self { target: Target::Post(beside), value, source: Some(place), ..self });
                }
            }
            EventKind::Lightning if chance.unit(0) < self.value => {
                out.push(Self { kind: EventKind::Silent, until_min: f64::INFINITY, value: 0.0, ..self });
            }
            _ => {}
        }
    }
}

/// A broken cable is felt at this many posts on either side, and weaker by this with each (a guess; the sources
/// only say that several objects are energised through water).
const NEIGHBOURS: u32 = 3;
const FADES: f64 = 0.6;

/// Up to `count` fitting places of `all`, from a chosen one on, spread over all of them.
fn chosen(all: u32, count: u32, chance: Chance, fits: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut found = Vec::new();
    let mut taken = std::collections::HashSet::new();
    for nth in 0..u64::from(count) {
        let start = chance.below(nth, all as usize) as u32;
        let free = (0..all).map(|step| (start + step) % all);
        if let Some(place) = free.into_iter().find(|place| fits(*place) && !taken.contains(place)) {
            taken.insert(place);
            found.push(place);
        }
    }
    found
}
