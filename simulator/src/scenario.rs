//! Scenarios: what happens to a city, as commented TOML files. The shipped ones stand in `scenarios/`.

use std::ops::RangeInclusive;

use lampguard_model::time::EARLIEST;
use lampguard_model::{Timestamp, Warning};
use serde::Deserialize;

use crate::event::EventSpec;
use crate::params::Params;
use crate::quirks::Quirks;

/// Why a scenario or a parameter file was refused. Stop and show it: the file or the command has to be changed.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown key, or a wrong type.
    #[error("scenario is not readable: {0}")]
    Toml(#[from] toml::de::Error),
    /// The same of a parameter file.
    #[error("parameters are not readable: {0}")]
    Params(toml::de::Error),
    /// Parameters that cannot be written as TOML, such as an infinite number.
    #[error("parameters cannot be written: {0}")]
    Written(toml::ser::Error),
    /// An event and a choice of places that do not go together.
    #[error("event {what}: on = {on} does not suit it, {suits}")]
    On {
        /// What it does.
        what: String,
        /// What was chosen.
        on: String,
        /// What can be chosen.
        suits: &'static str,
    },
    /// A number outside its range.
    #[error("{name} is {value}, the range is {min} to {max}")]
    Range {
        /// The key.
        name: String,
        /// Its value.
        value: f64,
        /// Lowest accepted.
        min: f64,
        /// Highest accepted.
        max: f64,
    },
    /// Two numbers in the wrong order.
    #[error("{name}: lowest {low} is above highest {high}; swap them")]
    Swapped {
        /// The key.
        name: &'static str,
        /// Its first number.
        low: f64,
        /// Its second one.
        high: f64,
    },
    /// An instant that cannot be read, or lies where no recording is read.
    #[error(
        "starts is {0:?}, it has to be RFC 3339 with an offset, from 2020 to 2088: 2025-10-11T12:00:00+08:00"
    )]
    Starts(String),
    /// No scenario of that name comes with the program.
    #[error("no scenario {0:?} comes with lampguard, there are: {names}; or name a TOML file", names = shipped_names())]
    Unknown(String),
}

/// Storms, spells of cells and events that one scenario may have, each.
pub const LIST_MAX: usize = 200;

/// Where water on the posts comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Water {
    /// From the sky: rain gauges and the official feed see it.
    #[default]
    Rain,
    /// Melting snow, thawing frost: no gauge sees it.
    Melt,
    /// Street washing, a burst main: no gauge sees it.
    Washing,
}

/// One rain that crosses the city zone after zone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Begins in the first zone this many minutes of weather after the start, 0 to 1,000,000.
    pub after_min: f64,
    /// Minutes until full strength, and again at the end until dry, 0 to 1,440.
    pub ramp_min: f64,
    /// Length at each place, hours, above 0 to 240.
    pub hours: f64,
    /// Full strength, mm per hour, 0 to 200.
    pub rain_mm_h: f64,
    /// Official warning while it lasts.
    #[serde(default = "no_warning")]
    pub warning: Warning,
    /// The warning comes this many minutes earlier, 0 to 1,440.
    #[serde(default)]
    pub warning_lead_min: f64,
    /// Where the water comes from.
    #[serde(default)]
    pub water: Water,
    /// Place of the only zone it reaches, counted from 1; absent: all.
    #[serde(default)]
    pub zone: Option<u8>,
}

fn no_warning() -> Warning {
    Warning::None
}

/// Local storm cells that wander over the city.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// From here on they come, minutes of weather after the start, 0 to 1,000,000.
    pub after_min: f64,
    /// For so long, hours, above 0 to 240.
    pub hours: f64,
    /// How many, 1 to 200.
    pub count: u32,
    /// Strongest rain in the middle, mm per hour, 0 to 200; each cell has half of it to all of it.
    pub rain_mm_h: f64,
    /// Radius, km, 0.2 to 20.
    pub radius_km: f64,
    /// Speed, km per hour, 0 to 100.
    pub speed_km_h: f64,
    /// Official warning for every zone while they come.
    #[serde(default = "no_warning")]
    pub warning: Warning,
}

/// Weather drawn by chance, for any number of days.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Climate {
    /// Chance that half a day has a wet spell, 0 to 1. Half of them are drizzle, a third fronts, the rest cells.
    pub wet: f64,
    /// Strongest front, mm per hour, 0 to 200.
    pub front_mm_h: f64,
    /// Days that are drawn, above 0 to 400.
    pub days: f64,
}

/// What the office is told of the weather.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedKind {
    /// Drawn from the parameters: late, at times of the wrong zone, dead in a share of cities.
    #[default]
    Drawn,
    /// At once and right.
    Good,
    /// Never a message.
    Dead,
}

/// What happens to a city.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for people.
    pub name: String,
    /// What happens, in one sentence.
    #[serde(default)]
    pub about: String,
    /// When a recording starts, RFC 3339; live runs start now.
    #[serde(default = "starts")]
    pub starts: String,
    /// Length of a recording, hours of simulated time, above 0 to 9,600.
    #[serde(default = "hours")]
    pub hours: f64,
    /// Reporting period of every sensor, seconds, 1 to 86,400; absent: each model's own. Never compressed.
    #[serde(default)]
    pub period_s: Option<u32>,
    /// Minutes of weather and ageing in one real minute, 0.1 to 3,600.
    #[serde(default = "one")]
    pub speed: f64,
    /// Hazards in 1,000 posts, 0 to 20; any rate above 0 gives at least one hazard. The sources say 2 to 3.5
    /// (domain reference section 13.1).
    pub hazards_per_1000: f64,
    /// Rain reaches each next zone this much later, minutes of weather, 0 to 1,440.
    #[serde(default)]
    pub zone_delay_min: f64,
    /// True: no feeder is dead by day, whatever the parameters say.
    #[serde(default)]
    pub always_energised: bool,
    /// True: hazards are neither behind the lamp's switch nor intermittent, from quick to slow.
    #[serde(default)]
    pub plain_hazards: bool,
    /// True: sensors of foreign makers speak their own payloads on their own topics.
    #[serde(default)]
    pub vendor_payloads: bool,
    /// What the office is told of the weather.
    #[serde(default)]
    pub feed: FeedKind,
    /// Mean temperature, °C, -40 to 50.
    #[serde(default = "mild")]
    pub temperature_c: f64,
    /// Share of sensors with a lasting fault of their own, each kind of [`crate::event::SENSOR_FAULTS`] as often;
    /// a third of them have it from the start, the others get it on the way. 0 to 1.
    #[serde(default)]
    pub sensor_faults: f64,
    /// What its city is made of, where it differs from the parameters: sections and keys of the parameter file.
    #[serde(default)]
    pub params: toml::Table,
    /// The rains, at most [`LIST_MAX`]; where two meet the stronger one counts.
    #[serde(default)]
    pub storm: Vec<Storm>,
    /// Spells of storm cells.
    #[serde(default)]
    pub cells: Vec<Cells>,
    /// Weather by chance, on top.
    #[serde(default)]
    pub climate: Option<Climate>,
    /// What else happens, and when.
    #[serde(default)]
    pub event: Vec<EventSpec>,
    /// Odd readings and deliveries, by rate.
    #[serde(default)]
    pub quirks: Quirks,
}

fn starts() -> String {
    "2025-10-11T12:00:00+08:00".to_owned()
}
fn hours() -> f64 {
    24.0
}
fn one() -> f64 {
    1.0
}
fn mild() -> f64 {
    14.0
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// The scenarios that come with the program: name and TOML text.
        pub const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),+];
    };
}

shipped!(
    "demo",
    "autumn_rain",
    "quiet_month",
    "first_frost",
    "snow_melt",
    "flooded_underpass",
    "one_bad_joint",
    "broken_neutral",
    "lightning",
    "half_night",
    "broker_outage",
    "dead_concentrator",
    "critical_then_silent",
    "crew_recloses",
    "battery_nodes",
    "random_city",
    "everything_at_once",
);

/// Names of the shipped scenarios, for people.
pub fn shipped_names() -> String {
    SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Scenario {
    /// Reads and checks a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError`], which names the key and the range.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// A scenario that comes with the program.
    ///
    /// # Errors
    /// [`ScenarioError::Unknown`] for a name that is not in [`SHIPPED`].
    pub fn shipped(name: &str) -> Result<Self, ScenarioError> {
        let found = SHIPPED.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| ScenarioError::Unknown(name.to_owned()))?;
        Self::parse(text)
    }

    /// Nothing but a city: no rain, no hazards, no quirks, every period the model's own.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: String::new(),
            starts: starts(),
            hours: hours(),
            period_s: None,
            speed: 1.0,
            hazards_per_1000: 0.0,
            zone_delay_min: 0.0,
            always_energised: false,
            plain_hazards: false,
            vendor_payloads: false,
            feed: FeedKind::Good,
            temperature_c: mild(),
            sensor_faults: 0.0,
            params: toml::Table::new(),
            storm: Vec::new(),
            cells: Vec::new(),
            climate: None,
            event: Vec::new(),
            quirks: Quirks::NONE,
        }
    }

    /// When a recording starts.
    ///
    /// # Errors
    /// [`ScenarioError::Starts`].
    pub fn starts(&self) -> Result<Timestamp, ScenarioError> {
        start_of(&self.starts).ok_or_else(|| ScenarioError::Starts(self.starts.clone()))
    }

    /// Checks every number; also for scenarios that were changed in the program.
    ///
    /// # Errors
    /// [`ScenarioError::Range`] for the first number outside its range.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.starts()?;
        within("hours", self.hours, 0.001..=9600.0)?;
        within("period_s", self.period_s.map_or(1.0, f64::from), 1.0..=86_400.0)?;
        within("speed", self.speed, 0.1..=3600.0)?;
        within("hazards_per_1000", self.hazards_per_1000, 0.0..=20.0)?;
        within("zone_delay_min", self.zone_delay_min, 0.0..=1440.0)?;
        within("temperature_c", self.temperature_c, -40.0..=50.0)?;
        within("sensor_faults", self.sensor_faults, 0.0..=1.0)?;
        let lists = [("storm", self.storm.len()), ("cells", self.cells.len()), ("event", self.event.len())];
        for (name, length) in lists {
            within(&format!("number of [[{name}]]"), length as f64, 0.0..=LIST_MAX as f64)?;
        }
        self.storm.iter().try_for_each(Storm::check)?;
        for cells in &self.cells {
            within("cells.after_min", cells.after_min, 0.0..=1e6)?;
            within("cells.hours", cells.hours, 0.01..=240.0)?;
            within("cells.count", f64::from(cells.count), 1.0..=200.0)?;
            within("cells.rain_mm_h", cells.rain_mm_h, 0.0..=200.0)?;
            within("cells.radius_km", cells.radius_km, 0.2..=20.0)?;
            within("cells.speed_km_h", cells.speed_km_h, 0.0..=100.0)?;
        }
        if let Some(climate) = &self.climate {
            within("climate.wet", climate.wet, 0.0..=1.0)?;
            within("climate.front_mm_h", climate.front_mm_h, 0.0..=200.0)?;
            within("climate.days", climate.days, 0.01..=400.0)?;
        }
        self.event.iter().try_for_each(EventSpec::check)?;
        self.quirks.rates().into_iter().try_for_each(|(name, rate)| within(name, rate, 0.0..=0.1))
    }

    /// The parameters of its city: given ones with its own changes.
    ///
    /// # Errors
    /// [`ScenarioError`], which names the key and the range.
    pub fn made_of(&self, params: &Params) -> Result<Params, ScenarioError> {
        params.changed(&self.params)
    }

    /// Hazards among this many posts.
    pub fn hazards(&self, posts: u32) -> u32 {
        let count = (f64::from(posts) * self.hazards_per_1000 / 1000.0).round() as u32;
        let least = u32::from(self.hazards_per_1000 > 0.0);
        count.max(least).min(posts)
    }
}

impl Storm {
    fn check(&self) -> Result<(), ScenarioError> {
        within("storm.after_min", self.after_min, 0.0..=1e6)?;
        within("storm.ramp_min", self.ramp_min, 0.0..=1440.0)?;
        within("storm.hours", self.hours, 0.01..=240.0)?;
        within("storm.rain_mm_h", self.rain_mm_h, 0.0..=200.0)?;
        within("storm.warning_lead_min", self.warning_lead_min, 0.0..=1440.0)?;
        within("storm.zone", f64::from(self.zone.unwrap_or(1)), 1.0..=4.0)
    }
}

/// The latest start: 2089-01-01 UTC, where a back-test stops reading.
const LATEST: Timestamp = Timestamp(3_755_289_600_000);

/// An instant at which a recording may start: RFC 3339 with an offset, from 2020 to 2088.
pub fn start_of(text: &str) -> Option<Timestamp> {
    Timestamp::from_rfc3339(text).filter(|at| (EARLIEST..LATEST).contains(at))
}

pub(crate) fn within(name: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), ScenarioError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ScenarioError::Range { name: name.to_owned(), value, min: *range.start(), max: *range.end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_loads_under_its_own_name_and_says_what_it_is() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::shipped(name).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(scenario.name, *name);
            assert!(scenario.about.len() > 20 && text.starts_with('#'), "{name}");
        }
        assert_eq!(SHIPPED.len(), 17);
        assert_eq!(Scenario::shipped("demo").unwrap().hazards(3200), 9);
        assert_eq!(Scenario::shipped("autumn_rain").unwrap().hazards(3200), 7);
        assert_eq!(Scenario::shipped("autumn_rain").unwrap().hazards(10), 1);
    }

    #[test]
    fn a_wrong_scenario_is_refused_with_its_key_and_range() {
        let (_, demo) = SHIPPED[0];
        let refused =
            |from: &str, to: &str| Scenario::parse(&demo.replace(from, to)).unwrap_err().to_string();
        assert_eq!(refused("period_s = 15", "period_s = 0"), "period_s is 0, the range is 1 to 86400");
        assert!(refused("speed = 60.0", "speed = nan").starts_with("speed is NaN"));
        assert!(refused("speed = 60.0", "speeed = 60.0").contains("speeed"));
        for starts in ["yesterday", "0001-01-01T00:00:00Z", "2089-01-01T00:00:00Z", "9999-12-31T23:00:00Z"] {
            let told = refused("speed = 60.0", &format!("starts = \"{starts}\""));
            assert!(told.contains("RFC 3339") && told.contains("2020 to 2088"), "{told}");
        }
        assert!(Scenario::shipped("none").unwrap_err().to_string().contains("autumn_rain"));
    }
}
