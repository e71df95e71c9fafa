//! What is wrong with a post and its sensor at an instant, worked out from everything that goes on there.

use crate::chance::Chance;
use crate::city::City;
use crate::event::{Event, EventKind, SENSOR_FAULTS, Target};
use crate::physics::Electrical;
use crate::scenario::Scenario;

/// What is wrong with one post and its sensor at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Affected {
    pub(crate) leak_ma: f64,
    pub(crate) lost_earth: bool,
    pub(crate) intermittent: Option<bool>,
    pub(crate) lamp_side: Option<bool>,
    pub(crate) repaired: bool,
    /// The most that a broken cable, its own or a neighbour's, can put on it, V.
    pub(crate) stray_v: f64,
    pub(crate) flood: Option<(f64, f64)>,
    pub(crate) lamp_out: bool,
    pub(crate) tilt_deg: f64,
    pub(crate) door_open: bool,
    pub(crate) sensor: SensorFault,
}

/// What is wrong with a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SensorFault {
    pub(crate) frozen: bool,
    pub(crate) saturated: bool,
    pub(crate) not_a_number: bool,
    pub(crate) open_ct: bool,
    /// Since when it is under water, minutes.
    pub(crate) drowned_min: Option<f64>,
    pub(crate) silent: bool,
    pub(crate) after_critical: bool,
    pub(crate) tenfold: bool,
    pub(crate) amperes: bool,
    pub(crate) clock_ms: i64,
    pub(crate) clock_1970: bool,
    /// Seconds a day, since a minute.
    pub(crate) clock_drift: Option<(f64, f64)>,
    /// mA an hour, since a minute.
    pub(crate) drift: Option<(f64, f64)>,
    pub(crate) wrong_zone: bool,
    pub(crate) stuck_flag: bool,
}

impl Affected {
    pub(crate) fn with(mut self, event: &Event) -> Self {
        match event.kind {
            EventKind::Leak => self.leak_ma = event.value,
            EventKind::LostEarth => self.lost_earth = true,
            EventKind::Intermittent => self.intermittent = Some(true),
            EventKind::NightOnly => self.lamp_side = Some(true),
            EventKind::SupplySide => self.lamp_side = Some(false),
            EventKind::Neighbours => self.stray_v = self.stray_v.max(event.value),
            // What was wrong before is as new; what comes later counts again.
            EventKind::Repair => {
                let (sensor, flood) = (self.sensor, self.flood);
                self = Self { repaired: true, sensor, flood, ..Self::default() };
            }
            EventKind::Flood => self.flood = Some((event.value, event.from_min)),
            EventKind::LampOut => self.lamp_out = true,
            EventKind::Knock => self.tilt_deg = event.value,
            EventKind::DoorOpen => self.door_open = true,
            _ => self.sensor.note(event),
        }
        self
    }
}

/// What a device takes for leakage that drives its transformer over the range, mA.
const SATURATED_MA: f64 = 6553.5;

impl SensorFault {
    fn note(&mut self, event: &Event) {
        match event.kind {
            EventKind::Frozen => self.frozen = true,
            EventKind::Saturated => self.saturated = true,
            EventKind::NotANumber => self.not_a_number = true,
            EventKind::OpenCt => self.open_ct = true,
            EventKind::Drown => self.drowned_min = Some(event.from_min),
            EventKind::Silent => self.silent = true,
            EventKind::SilentAfterCritical => self.after_critical = true,
            EventKind::Tenfold => self.tenfold = true,
            EventKind::Amperes => self.amperes = true,
            EventKind::ClockOffset => self.clock_ms = (event.value * 1000.0) as i64,
            EventKind::Clock1970 => self.clock_1970 = true,
            EventKind::ClockDrift => self.clock_drift = Some((event.value, event.from_min)),
            EventKind::Drift => self.drift = Some((event.value, event.from_min)),
            EventKind::WrongZone => self.wrong_zone = true,
            EventKind::StuckFlag => self.stuck_flag = true,
            _ => {}
        }
    }

    /// What the device itself takes the true values for when it looks at its own limits. Amperes are an error of the
    /// payload alone.
    pub(crate) fn takes_for(&self, truth: Electrical) -> Electrical {
        let leakage_ma = match self {
            Self { open_ct: true, .. } | Self { not_a_number: true, .. } => 0.0,
            Self { saturated: true, .. } => SATURATED_MA,
            Self { tenfold: true, .. } => truth.leakage_ma * 10.0,
            _ => truth.leakage_ma,
        };
        Electrical { leakage_ma, ..truth }
    }

    /// How it fails a rule that looks at leakage and shell, if it does; in the words of the truth file.
    pub(crate) fn fails(&self) -> Option<&'static str> {
        let ways = [
            (self.silent, "failed:silent"),
            (self.drowned_min.is_some(), "failed:drowned"),
            (self.after_critical, "failed:silent_after_critical"),
            (self.frozen, "failed:frozen"),
            (self.open_ct, "failed:open_ct"),
            (self.amperes, "failed:amperes"),
            (self.not_a_number, "failed:not_a_number"),
        ];
        ways.iter().find(|(is_so, _)| *is_so).map(|(_, way)| *way)
    }
}

/// Spreads the lasting faults of a scenario's `sensor_faults` over the posts that measure.
pub(crate) fn place_sensor_faults(city: &City, scenario: &Scenario, chance: Chance, out: &mut Vec<Event>) {
    if scenario.sensor_faults == 0.0 {
        return;
    }
    for place in 0..city.posts().len() as u32 {
        let chance = chance.of(u64::from(place));
        let measures = city.posts()[place as usize].model.is_some_and(|model| model.spec().leakage);
        if !measures || chance.unit(0) >= scenario.sensor_faults {
            continue;
        }
        let kind = SENSOR_FAULTS[chance.below(1, SENSOR_FAULTS.len())];
        // Some are there from the start, the others come somewhere in the run.
        let length = scenario.hours * 60.0 * scenario.speed;
        let from_min = (chance.between(2, -0.5, 0.9) * length).max(0.0);
        let value = match kind {
            EventKind::ClockOffset => chance.between(3, -90_000.0, 90_000.0),
            EventKind::ClockDrift => chance.between(3, -300.0, 300.0),
            _ => 0.0,
        };
        let target = Target::Post(place);
        out.push(Event { kind, target, from_min, until_min: f64::INFINITY, value, source: None });
    }
}
