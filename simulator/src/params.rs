//! What a city is made of, as a TOML file: shares and ranges, each with its source.
//!
//! The shipped file, `params/jiaozuo.toml`, is one example. A file names only what it changes.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::scenario::{ScenarioError, within};

/// The shipped example, and the default.
pub const SHIPPED: &str = include_str!("../params/jiaozuo.toml");

/// Lowest and highest of an even (or evenly logarithmic) choice.
pub type Span = [f64; 2];

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }
    };
}

section! {
    /// Which sensors hang on the posts. Shares, 0 to 1.
    Fleet {
        /// Posts without any sensor.
        no_sensor: f64,
        /// Sensors that raise flags by their own limits.
        own_flags: f64,
        /// Feeders whose cabinet has a sensor.
        cabinet_sensors: f64,
        /// Model LG-I1.
        #[serde(rename = "LG-I1")]
        lg_i1: f64,
        /// Model LG-H2.
        #[serde(rename = "LG-H2")]
        lg_h2: f64,
        /// Model CN-T.
        #[serde(rename = "CN-T")]
        cn_t: f64,
        /// Model BOX-3.
        #[serde(rename = "BOX-3")]
        box_3: f64,
        /// Model NB-1H.
        #[serde(rename = "NB-1H")]
        nb_1h: f64,
        /// Model NB-6H.
        #[serde(rename = "NB-6H")]
        nb_6h: f64,
        /// Model TASMOTA.
        #[serde(rename = "TASMOTA")]
        tasmota: f64,
        /// Model SHELLY.
        #[serde(rename = "SHELLY")]
        shelly: f64,
    }
}

section! {
    /// How posts are insulated. Ohms, mA, shares.
    InsulationParams {
        /// Healthy posts, dry.
        healthy_ohm: Span,
        /// How fast it falls with moisture.
        healthy_k: Span,
        /// Share of aged posts.
        aged: f64,
        /// Aged posts, dry.
        aged_ohm: Span,
        /// How fast it falls with moisture.
        aged_k: Span,
        /// An aged post never falls below this.
        aged_soaked_ohm_min: f64,
        /// Hazards, dry.
        hazard_ohm: Span,
        /// How fast it falls with moisture.
        hazard_k: Span,
        /// Standing capacitive leakage, mA.
        capacitive_ma: Span,
        /// Share of its insulation that a bad or aged joint loses in a day of weather.
        worsens_per_day: f64,
        /// Share of its insulation that every post has lost for each year since it was put up.
        ages_per_year: f64,
        /// Share of hazards behind the lamp's switch.
        lamp_side: f64,
        /// Share of hazards with a loose contact.
        intermittent: f64,
    }
}

section! {
    /// Earths of the posts. Ohms, shares.
    Earth {
        /// Good ones.
        good_ohm: Span,
        /// Share of poor ones.
        poor: f64,
        /// Poor ones.
        poor_ohm: Span,
        /// Share of hazards on a poor one.
        poor_hazard: f64,
    }
}

section! {
    /// How the ground takes water and gives it back.
    Ground {
        /// Share of stretches that lie low.
        low_stretch: f64,
        /// Rain that counts once, mm.
        wetting_mm: f64,
        /// Time of wetting, hours.
        wetting_h: f64,
        /// Time of drying, hours.
        drying_h: f64,
    }
}

section! {
    /// How feeders are switched.
    Supply {
        /// Share of feeders that are dead by day.
        contactor: f64,
        /// Share of feeders that follow a timetable.
        timetable: f64,
        /// Share of posts that are dark from midnight on.
        half_night: f64,
        /// Share of posts at half power from 23:00 on.
        dimmed: f64,
        /// Phase to neutral, V.
        nominal_v: f64,
    }
}

section! {
    /// What the office is told of the weather.
    FeedParams {
        /// A message every so many minutes of weather.
        every_min: f64,
        /// It tells of the weather this many minutes ago.
        delay_min: Span,
        /// Share of cities whose feed says nothing.
        dead: f64,
        /// Share of cities with two zones mixed up.
        wrong_zone: f64,
        /// Share of cities whose feed ends in the middle.
        dies: f64,
    }
}

section! {
    /// How well sensors measure.
    SensorParams {
        /// Deviation as a share of the value.
        gain_error: f64,
        /// Noise around nothing, mA.
        leakage_noise_ma: f64,
        /// Noise around nothing, V.
        shell_noise_v: f64,
        /// A device looks at its own limits this often, s.
        scan_s: f64,
        /// It repeats a lasting alarm this often, s.
        alarm_repeat_s: f64,
    }
}

section! {
    /// Everything a city is made of.
    Params {
        /// Which sensors hang on the posts.
        fleet: Fleet,
        /// How posts are insulated.
        insulation: InsulationParams,
        /// Earths of the posts.
        earth: Earth,
        /// The ground.
        ground: Ground,
        /// How feeders are switched.
        supply: Supply,
        /// The weather feed.
        feed: FeedParams,
        /// How well sensors measure.
        sensor: SensorParams,
    }
}

/// Each number by its name, with what it may be.
struct Bound<'a> {
    name: &'static str,
    value: &'a mut f64,
    range: RangeInclusive<f64>,
    /// Redrawn for the question "and if the city is another one?".
    redrawn: bool,
}

impl Default for Params {
    fn default() -> Self {
        toml::from_str(SHIPPED).expect("the shipped parameters are read by a test")
    }
}

impl Params {
    /// Reads a file that names what it changes against the shipped one.
    ///
    /// # Errors
    /// [`ScenarioError`], which names the key and the range.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Self::default().changed(&toml::from_str(text).map_err(ScenarioError::Params)?)
    }

    /// These parameters with some of them changed.
    ///
    /// # Errors
    /// [`ScenarioError`], which names the key and the range.
    pub fn changed(&self, changes: &toml::Table) -> Result<Self, ScenarioError> {
        let mut whole = toml::Table::try_from(self).map_err(ScenarioError::Written)?;
        for (section, values) in changes {
            match (whole.get_mut(section).and_then(toml::Value::as_table_mut), values) {
                (Some(known), toml::Value::Table(values)) => known.extend(values.clone()),
                // An unknown section is named by the reader below.
                (_, values) => _ = whole.insert(section.clone(), values.clone()),
            }
        }
        let params: Self = whole.try_into().map_err(ScenarioError::Params)?;
        params.check()?;
        Ok(params)
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`ScenarioError::Range`] for the first number outside its range.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let mut looked_at = self.clone();
        for bound in looked_at.bounds() {
            within(bound.name, *bound.value, bound.range)?;
        }
        let fleet = &self.fleet;
        let models = fleet.lg_i1
            + fleet.lg_h2
            + fleet.cn_t
            + fleet.box_3
            + fleet.nb_1h
            + fleet.nb_6h
            + fleet.tasmota
            + fleet.shelly;
        within("sum of the models' shares in [fleet]", models, 0.0..=1.0)?;
        for (name, [low, high]) in self.spans() {
            if low > high {
                return Err(ScenarioError::Swapped { name, low, high });
            }
        }
        Ok(())
    }

    /// Another city of the same kind: every physical number moved by up to ± `share` of itself, each by its own
    /// chance, and held to its range.
    pub fn redrawn(&self, seed: u64, share: f64) -> Self {
        let (mut params, chance) = (self.clone(), Chance::new(seed).of(0x7265_6472));
        for (nth, bound) in params.bounds().into_iter().enumerate() {
            if bound.redrawn {
                let moved = *bound.value * chance.between(nth as u64, 1.0 - share, 1.0 + share);
                *bound.value = moved.clamp(*bound.range.start(), *bound.range.end());
            }
        }
        for [low, high] in params.spans_mut() {
            if low > high {
                std::mem::swap(low, high);
            }
        }
        params
    }

    fn spans(&self) -> [(&'static str, Span); 10] {
        let (i, e) = (&self.insulation, &self.earth);
        [
            ("insulation.healthy_ohm", i.healthy_ohm),
            ("insulation.healthy_k", i.healthy_k),
            ("insulation.aged_ohm", i.aged_ohm),
            ("insulation.aged_k", i.aged_k),
            ("insulation.hazard_ohm", i.hazard_ohm),
            ("insulation.hazard_k", i.hazard_k),
            ("insulation.capacitive_ma", i.capacitive_ma),
            ("earth.good_ohm", e.good_ohm),
            ("earth.poor_ohm", e.poor_ohm),
            ("feed.delay_min", self.feed.delay_min),
        ]
    }

    fn spans_mut(&mut self) -> [&mut Span; 10] {
        let (i, e) = (&mut self.insulation, &mut self.earth);
        [
            &mut i.healthy_ohm,
            &mut i.healthy_k,
            &mut i.aged_ohm,
            &mut i.aged_k,
            &mut i.hazard_ohm,
            &mut i.hazard_k,
            &mut i.capacitive_ma,
            &mut e.good_ohm,
            &mut e.poor_ohm,
            &mut self.feed.delay_min,
        ]
    }

    fn bounds(&mut self) -> Vec<Bound<'_>> {
        let mut all = Vec::with_capacity(64);
        let mut one = |name, value, range, redrawn| all.push(Bound { name, value, range, redrawn });
        let Self { fleet, insulation, earth, ground, supply, feed, sensor } = self;
        for (name, value) in [
            ("fleet.no_sensor", &mut fleet.no_sensor),
            ("fleet.own_flags", &mut fleet.own_flags),
            ("fleet.cabinet_sensors", &mut fleet.cabinet_sensors),
            ("fleet.LG-I1", &mut fleet.lg_i1),
            ("fleet.LG-H2", &mut fleet.lg_h2),
            ("fleet.CN-T", &mut fleet.cn_t),
            ("fleet.BOX-3", &mut fleet.box_3),
            ("fleet.NB-1H", &mut fleet.nb_1h),
            ("fleet.NB-6H", &mut fleet.nb_6h),
            ("fleet.TASMOTA", &mut fleet.tasmota),
            ("fleet.SHELLY", &mut fleet.shelly),
            ("supply.contactor", &mut supply.contactor),
            ("supply.timetable", &mut supply.timetable),
            ("supply.half_night", &mut supply.half_night),
            ("supply.dimmed", &mut supply.dimmed),
            ("feed.dead", &mut feed.dead),
            ("feed.wrong_zone", &mut feed.wrong_zone),
            ("feed.dies", &mut feed.dies),
        ] {
            one(name, value, 0.0..=1.0, false);
        }
        for (name, value) in [
            ("insulation.aged", &mut insulation.aged),
            ("insulation.lamp_side", &mut insulation.lamp_side),
            ("insulation.intermittent", &mut insulation.intermittent),
            ("insulation.worsens_per_day", &mut insulation.worsens_per_day),
            ("insulation.ages_per_year", &mut insulation.ages_per_year),
            ("earth.poor", &mut earth.poor),
            ("earth.poor_hazard", &mut earth.poor_hazard),
            ("ground.low_stretch", &mut ground.low_stretch),
        ] {
            one(name, value, 0.0..=1.0, true);
        }
        let (ohms, falls) = (1.0..=1e12, 0.0..=12.0);
        for (name, span, range) in [
            ("insulation.healthy_ohm", &mut insulation.healthy_ohm, ohms.clone()),
            ("insulation.aged_ohm", &mut insulation.aged_ohm, ohms.clone()),
            ("insulation.hazard_ohm", &mut insulation.hazard_ohm, ohms.clone()),
            ("insulation.healthy_k", &mut insulation.healthy_k, falls.clone()),
            ("insulation.aged_k", &mut insulation.aged_k, falls.clone()),
            ("insulation.hazard_k", &mut insulation.hazard_k, falls),
            ("insulation.capacitive_ma", &mut insulation.capacitive_ma, 0.0..=100.0),
            ("earth.good_ohm", &mut earth.good_ohm, 0.1..=1e6),
            ("earth.poor_ohm", &mut earth.poor_ohm, 0.1..=1e6),
            ("feed.delay_min", &mut feed.delay_min, 0.0..=1440.0),
        ] {
            span.iter_mut().for_each(|value| one(name, value, range.clone(), true));
        }
        one("insulation.aged_soaked_ohm_min", &mut insulation.aged_soaked_ohm_min, ohms, false);
        one("ground.wetting_mm", &mut ground.wetting_mm, 0.1..=1000.0, true);
        one("ground.wetting_h", &mut ground.wetting_h, 0.01..=1000.0, true);
        one("ground.drying_h", &mut ground.drying_h, 0.01..=1000.0, true);
        one("supply.nominal_v", &mut supply.nominal_v, 100.0..=260.0, false);
        one("feed.every_min", &mut feed.every_min, 0.1..=1440.0, false);
        one("sensor.gain_error", &mut sensor.gain_error, 0.0..=0.5, true);
        one("sensor.leakage_noise_ma", &mut sensor.leakage_noise_ma, 0.0..=100.0, true);
        one("sensor.shell_noise_v", &mut sensor.shell_noise_v, 0.0..=100.0, true);
        one("sensor.scan_s", &mut sensor.scan_s, 1.0..=3600.0, false);
        one("sensor.alarm_repeat_s", &mut sensor.alarm_repeat_s, 1.0..=86_400.0, false);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_parameters_load_and_are_the_default() {
        assert_eq!(Params::parse("").unwrap(), Params::default());
        Params::default().check().unwrap();
    }

    #[test]
    fn a_file_names_only_what_it_changes() {
        let params = Params::parse("[earth]\npoor = 0.5\n").unwrap();
        assert_eq!(params.earth.poor, 0.5);
        assert_eq!(params.insulation, Params::default().insulation);
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_key_and_range() {
        let refused = |text: &str| Params::parse(text).unwrap_err().to_string();
        assert_eq!(refused("[earth]\npoor = 2.0"), "earth.poor is 2, the range is 0 to 1");
        assert!(refused("[earth]\npor = 0.1").contains("por"));
        assert!(refused("[mars]\npoor = 0.1").contains("mars"));
        let swapped = "earth.good_ohm: lowest 10 is above highest 2; swap them";
        assert_eq!(refused("[earth]\ngood_ohm = [10.0, 2.0]"), swapped);
        assert!(refused("[fleet]\nCN-T = 0.9").contains("sum of the models' shares"));
        assert!(refused("[sensor]\ngain_error = nan").contains("gain_error is NaN"));
    }

    #[test]
    fn redrawn_parameters_differ_stay_in_range_and_depend_on_the_seed_alone() {
        let params = Params::default();
        assert_eq!(params.redrawn(1, 0.0), params);
        assert_eq!(params.redrawn(3, 0.5), params.redrawn(3, 0.5));
        for seed in 0..200 {
            let redrawn = params.redrawn(seed, 0.5);
            redrawn.check().unwrap();
            assert_ne!(redrawn, params);
            let share = redrawn.ground.drying_h / params.ground.drying_h;
            assert!((0.5..=1.5).contains(&share), "seed {seed}: {share}");
        }
    }
}
