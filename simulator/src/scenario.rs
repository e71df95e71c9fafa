//! Scenarios: rain, hazards, period and speed, as commented TOML files.

use std::ops::RangeInclusive;

use lampguard_model::Warning;
use serde::Deserialize;

use crate::fault::Quirks;

/// Why a scenario was refused. Stop and show it: the file or the command has to be changed.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown key, or a wrong type.
    #[error("scenario is not readable: {0}")]
    Toml(#[from] toml::de::Error),
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
    /// No scenario of that name comes with the program.
    #[error("no scenario {0:?} comes with lampguard, there are: {names}; or name a TOML file", names = SHIPPED_NAMES)]
    Unknown(String),
}

/// Storms that one scenario may have.
pub const STORMS_MAX: usize = 200;

/// One rain.
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
    pub warning: Warning,
    /// The warning comes this many minutes earlier, 0 to 1,440.
    pub warning_lead_min: f64,
}

/// What happens to a city.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for people.
    pub name: String,
    /// Reporting period of every sensor, seconds, 1 to 86,400. Never compressed.
    pub period_s: u32,
    /// Minutes of weather and ageing in one real minute, 0.1 to 3,600.
    pub speed: f64,
    /// Hazards in 1,000 posts, 0 to 20; any rate above 0 gives at least one hazard. The sources say 2 to 3.5
    /// (domain reference section 13.1).
    pub hazards_per_1000: f64,
    /// Rain reaches each next zone this much later, minutes of weather, 0 to 1,440.
    pub zone_delay_min: f64,
    /// The rains, at most [`STORMS_MAX`]; where two meet the stronger one counts.
    #[serde(default)]
    pub storm: Vec<Storm>,
    /// How often sensors and links misbehave.
    #[serde(default)]
    pub quirks: Quirks,
}

const DEMO: &str = include_str!("../scenarios/demo.toml");
const AUTUMN_RAIN: &str = include_str!("../scenarios/autumn_rain.toml");

/// The scenarios that come with the program: name and TOML text.
pub const SHIPPED: [(&str, &str); 2] = [("demo", DEMO), ("autumn_rain", AUTUMN_RAIN)];
const SHIPPED_NAMES: &str = "demo, autumn_rain";

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

    /// Checks every number; also for scenarios that were changed in the program.
    ///
    /// # Errors
    /// [`ScenarioError::Range`] for the first number outside its range.
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("period_s", f64::from(self.period_s), 1.0..=86_400.0)?;
        within("speed", self.speed, 0.1..=3600.0)?;
        within("hazards_per_1000", self.hazards_per_1000, 0.0..=20.0)?;
        within("zone_delay_min", self.zone_delay_min, 0.0..=1440.0)?;
        within("number of storms", self.storm.len() as f64, 0.0..=STORMS_MAX as f64)?;
        for storm in &self.storm {
            within("storm.after_min", storm.after_min, 0.0..=1e6)?;
            within("storm.ramp_min", storm.ramp_min, 0.0..=1440.0)?;
            within("storm.hours", storm.hours, 0.01..=240.0)?;
            within("storm.rain_mm_h", storm.rain_mm_h, 0.0..=200.0)?;
            within("storm.warning_lead_min", storm.warning_lead_min, 0.0..=1440.0)?;
        }
        for (name, rate) in self.quirks.rates() {
            within(name, rate, 0.0..=0.1)?;
        }
        Ok(())
    }

    /// Hazards among this many posts.
    pub fn hazards(&self, posts: u32) -> u32 {
        let count = (f64::from(posts) * self.hazards_per_1000 / 1000.0).round() as u32;
        let least = u32::from(self.hazards_per_1000 > 0.0);
        count.max(least).min(posts)
    }
}

fn within(name: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), ScenarioError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ScenarioError::Range { name: name.to_owned(), value, min: *range.start(), max: *range.end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_loads_under_its_own_name() {
        for (name, _) in SHIPPED {
            assert_eq!(Scenario::shipped(name).unwrap().name, name);
            assert!(SHIPPED_NAMES.contains(name));
        }
        assert_eq!(Scenario::shipped("demo").unwrap().hazards(3200), 9);
        assert_eq!(Scenario::shipped("autumn_rain").unwrap().hazards(3200), 7);
        assert_eq!(Scenario::shipped("autumn_rain").unwrap().hazards(10), 1);
    }

    #[test]
    fn a_wrong_scenario_is_refused_with_its_key_and_range() {
        let refused =
            |from: &str, to: &str| Scenario::parse(&DEMO.replace(from, to)).unwrap_err().to_string();
        assert_eq!(refused("period_s = 15", "period_s = 0"), "period_s is 0, the range is 1 to 86400");
        assert!(refused("speed = 60.0", "speed = nan").starts_with("speed is NaN"));
        assert!(refused("speed = 60.0", "speeed = 60.0").contains("speeed"));
        assert!(Scenario::shipped("none").unwrap_err().to_string().contains("autumn_rain"));
    }
}
