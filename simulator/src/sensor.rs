//! Models of sensors: what they measure, how fine, how often, and in which words. Invented, after domain
//! reference section 14.

use crate::chance::Chance;
use crate::params::Fleet;

/// The words a sensor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The canonical payload on `lamp/<zone>/<post>/reading`.
    Canonical,
    /// Tenths in whole numbers on `street/<zone>/report`, as the profile `cn-tenths` reads.
    CnTenths,
    /// `{"leakage":{"param":…}}` on `device_report`, as the profile `leakage-box` reads.
    LeakageBox,
    /// A lamp meter on `tele/<device>/SENSOR`, as the profile `tasmota` reads.
    Tasmota,
    /// A lamp meter on `<device>/events/rpc` that leaves out what did not change, as `shelly-em1` reads.
    Shelly,
}

impl Shape {
    /// Topic filter and payload profile for everything that is not canonical.
    pub const MAPPINGS: [(&'static str, &'static str); 4] = [
        ("street/+/report", "cn-tenths"),
        ("device_report", "leakage-box"),
        ("tele/+/SENSOR", "tasmota"),
        ("+/events/rpc", "shelly-em1"),
    ];
}

/// One model of sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Model {
    /// Whole milliamperes and volts; leakage, shell, supply, lamp power.
    I1,
    /// Tenths; also lamp current, temperature, humidity, signal.
    T1,
    /// Hundredths; also earth, power factor, energy, water, tilt, door; a last gasp.
    H2,
    /// A Chinese platform's tenths.
    CnT,
    /// A Chinese leakage box.
    Box3,
    /// Battery, every hour.
    Nb1h,
    /// Battery, every six hours.
    Nb6h,
    /// A lamp meter: no leakage, no shell.
    Tasmota,
    /// A lamp meter that leaves out what did not change.
    Shelly,
}

/// What a model is.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in the register.
    pub name: &'static str,
    /// Period while the lamp burns, seconds.
    pub lit_s: u32,
    /// Period while it does not, seconds; a multiple of the other.
    pub standby_s: u32,
    /// Smallest step of leakage and voltages, thousandths of the unit.
    pub step: i64,
    /// Runs without mains.
    pub battery: bool,
    /// Measures leakage and shell voltage.
    pub leakage: bool,
    /// Has an immersion contact.
    pub immersion: bool,
    /// Its words.
    pub shape: Shape,
}

const fn mains(name: &'static str, lit_s: u32, standby_s: u32, step: i64, shape: Shape) -> Spec {
    Spec { name, lit_s, standby_s, step, battery: false, leakage: true, immersion: false, shape }
}

/// In the order of [`Model`].
const SPECS: [Spec; 9] = [
    mains("LG-I1", 300, 900, 1000, Shape::Canonical),
    mains("LG-T1", 300, 900, 100, Shape::Canonical),
    Spec { immersion: true, ..mains("LG-H2", 60, 300, 10, Shape::Canonical) },
    mains("CN-T", 300, 300, 100, Shape::CnTenths),
    mains("BOX-3", 300, 300, 100, Shape::LeakageBox),
    Spec { battery: true, immersion: true, ..mains("NB-1H", 3600, 3600, 100, Shape::Canonical) },
    Spec { battery: true, immersion: true, ..mains("NB-6H", 21_600, 21_600, 100, Shape::Canonical) },
    Spec { leakage: false, ..mains("TASMOTA", 300, 300, 100, Shape::Tasmota) },
    Spec { leakage: false, ..mains("SHELLY", 60, 60, 100, Shape::Shelly) },
];

impl Model {
    /// Every model.
    pub const ALL: [Self; 9] = [
        Self::I1,
        Self::T1,
        Self::H2,
        Self::CnT,
        Self::Box3,
        Self::Nb1h,
        Self::Nb6h,
        Self::Tasmota,
        Self::Shelly,
    ];

    /// What it is.
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }

    /// One model by chance; `None`: the post has no sensor.
    pub(crate) fn draw(fleet: &Fleet, chance: Chance) -> Option<Self> {
        if chance.unit(0) < fleet.no_sensor {
            return None;
        }
        let mut left = chance.unit(1);
        let shares = [
            (fleet.lg_i1, Self::I1),
            (fleet.lg_h2, Self::H2),
            (fleet.cn_t, Self::CnT),
            (fleet.box_3, Self::Box3),
            (fleet.nb_1h, Self::Nb1h),
            (fleet.nb_6h, Self::Nb6h),
            (fleet.tasmota, Self::Tasmota),
            (fleet.shelly, Self::Shelly),
        ];
        for (share, model) in shares {
            if left < share {
                return Some(model);
            }
            left -= share;
        }
        Some(Self::T1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn models_come_as_often_as_the_parameters_say() {
        let fleet = Params::default().fleet;
        let draws: Vec<_> = (0..100_000).map(|n| Model::draw(&fleet, Chance::new(n))).collect();
        let share = |model| draws.iter().filter(|draw| **draw == model).count() as f64 / 1e5;
        assert!((share(None) - 0.04).abs() < 0.005);
        assert!((share(Some(Model::I1)) - 0.96 * 0.30).abs() < 0.01);
        assert!((share(Some(Model::Shelly)) - 0.96 * 0.02).abs() < 0.005);
        assert!(share(Some(Model::T1)) > 0.25);
    }

    #[test]
    fn every_standby_period_is_a_multiple_of_the_lit_one() {
        for model in Model::ALL {
            let spec = model.spec();
            assert_eq!(spec.standby_s % spec.lit_s, 0, "{}", spec.name);
        }
    }
}
