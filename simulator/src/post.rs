//! What one sensor reports at one instant: true values, noise, and the resolution of its model.

use lampguard_model::{Cause, Field, Flags, Reading, Timestamp};

use crate::chance::Chance;
use crate::city::Post;
use crate::physics::{Electrical, VendorAlarm};
use crate::weather::Sky;

/// A model of sensor: which fields it sends and how fine it measures. Invented, after domain reference
/// section 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorModel {
    /// Whole milliamperes and volts; leakage, shell, supply, lamp power.
    Integer,
    /// Tenths; also lamp current, temperature, humidity, signal.
    Tenth,
    /// Hundredths; also earth, power factor, energy, water, tilt.
    Fine,
}

impl SensorModel {
    /// Every model.
    pub const ALL: [Self; 3] = [Self::Integer, Self::Tenth, Self::Fine];

    /// Its name in the register.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "LG-I1",
            Self::Tenth => "LG-T1",
            Self::Fine => "LG-H2",
        }
    }

    /// Smallest step of leakage and voltages, thousandths of the unit.
    pub fn step(self) -> i64 {
        match self {
            Self::Integer => 1000,
            Self::Tenth => 100,
            Self::Fine => 10,
        }
    }
}

/// What surrounds a post when it measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// When it measures.
    pub(crate) at: Timestamp,
    /// True leakage and shell voltage.
    pub(crate) truth: Electrical,
    /// The sky above it.
    pub(crate) sky: Sky,
    /// Moisture, 0 to 1.
    pub(crate) moisture: f64,
}

/// One reading with everything but `seq` and `boot`. `noise` is the post's chance at this instant.
pub(crate) fn measure(post: &Post, around: &Surroundings, noise: Chance) -> Reading {
    let mut reading = Reading { ts: Some(around.at), flags: Flags::SIMULATED, ..Reading::default() };
    let step = post.sensor.step();
    let truth = around.truth;
    // Current transformers and taps: 2 % of the value, and a little around nothing.
    let leakage_ma = truth.leakage_ma * (1.0 + 0.02 * noise.noise(0)) + 0.03 * noise.noise(1);
    let shell_v = truth.shell_v * (1.0 + 0.02 * noise.noise(2)) + 0.15 * noise.noise(3);
    let day = day_share(around.at, post.lon);
    let supply_v = 228.0 + 3.0 * wave(day, 0.17) - 0.05 * f64::from(post.number % 40) + 0.6 * noise.noise(4);
    put(&mut reading, Field::LeakageMa, leakage_ma.max(0.0), step);
    put(&mut reading, Field::ShellV, shell_v.max(0.0), step);
    put(&mut reading, Field::SupplyV, supply_v, step.max(100));
    let lit = lit(around.at, post.lon, post.lat);
    let rated_w = f64::from(post.lamp_w) * f64::from(post.lamps);
    let lamp_w = if lit { rated_w * (0.985 + 0.008 * noise.noise(5)) } else { 0.0 };
    put(&mut reading, Field::LampW, lamp_w, step.max(100));
    if post.sensor == SensorModel::Integer {
        return reading;
    }
    put(&mut reading, Field::LampA, lamp_w / (supply_v * POWER_FACTOR), 10);
    let rainy = around.sky.rain_mm_h > 0.0;
    let temperature_c = 14.0 + 5.0 * wave(day, 0.58) - if rainy { 2.0 } else { 0.0 } + 0.2 * noise.noise(6);
    put(&mut reading, Field::TemperatureC, temperature_c, 100);
    let humidity_pct = if rainy { 95.0 } else { 60.0 + 32.0 * around.moisture };
    put(&mut reading, Field::HumidityPct, (humidity_pct + noise.noise(7)).clamp(0.0, 100.0), 1000);
    put(&mut reading, Field::RssiDbm, -84.0 - f64::from(post.number % 17) + 2.0 * noise.noise(8), 1000);
    if post.sensor == SensorModel::Fine {
        measure_fine(post, around, noise, lit, &mut reading);
    }
    reading
}

/// What only the finest model sends.
fn measure_fine(post: &Post, around: &Surroundings, noise: Chance, lit: bool, reading: &mut Reading) {
    put(reading, Field::Supply, 1.0, 1000);
    if lit {
        put(reading, Field::PowerFactor, POWER_FACTOR + 0.005 * noise.noise(9), 10);
    }
    let hours = around.at.0 as f64 / 3.6e6 - (f64::from(post.installed) - 1970.0) * 8766.0;
    let rated_kw = f64::from(post.lamp_w) * f64::from(post.lamps) / 1000.0;
    put(reading, Field::EnergyKwh, (hours * 0.48 * rated_kw).max(0.0), 100);
    let earth_ohm = f64::from(post.insulation.earth_ohm) * (1.0 + 0.02 * noise.noise(10));
    put(reading, Field::EarthOhm, earth_ohm, 100);
    // Standing water where the road lies low and the ground is soaked.
    let water_mm = if post.low_lying { ((around.moisture - 0.8) * 200.0).max(0.0) } else { 0.0 };
    put(reading, Field::WaterMm, water_mm, 1000);
    put(reading, Field::Immersed, 0.0, 1000);
    put(reading, Field::TiltDeg, f64::from(post.number % 7) * 0.1, 100);
}

/// Power factor of a lamp with its driver.
const POWER_FACTOR: f64 = 0.96;

/// Puts a value rounded to whole steps; [`Reading::put`] holds it to the range of its field.
fn put(reading: &mut Reading, field: Field, value: f64, step: i64) {
    reading.put(field, (value * 1000.0 / step as f64).round() as i64 * step);
}

/// Raises the device's flags; `at_once` when the reading is sent because of them.
pub(crate) fn raise_flags(reading: &mut Reading, alarm: VendorAlarm, at_once: bool) {
    if alarm.leak {
        reading.flags.add(Flags::LEAK_ALARM);
    }
    if alarm.shell {
        reading.flags.add(Flags::SHELL_ALARM);
    }
    if at_once {
        reading.cause = Cause::Alarm;
    }
}

/// True between sunset and sunrise at a place. Feeders stay energised by day; the lamp is switched in the post.
pub fn lit(at: Timestamp, lon: f64, lat: f64) -> bool {
    // Declination to half a degree, the equation of time left out: some minutes off at worst.
    let day_of_year = (at.0 as f64 / 86.4e6).rem_euclid(365.25);
    let turn = std::f64::consts::TAU;
    let declination = -23.44f64.to_radians() * ((day_of_year + 10.0) / 365.25 * turn).cos();
    let hour_angle = (day_share(at, lon) - 0.5) * turn;
    let lat = lat.to_radians();
    let height = lat.sin() * declination.sin() + lat.cos() * declination.cos() * hour_angle.cos();
    height < (-0.833f64).to_radians().sin()
}

/// Share of the solar day at a longitude: 0 midnight, 0.5 noon.
fn day_share(at: Timestamp, lon: f64) -> f64 {
    (at.0 as f64 / 86.4e6 + lon / 360.0).rem_euclid(1.0)
}

/// -1 to 1 once a day, highest at `peak` of the day.
fn wave(day: f64, peak: f64) -> f64 {
    ((day - peak) * std::f64::consts::TAU).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lamps_are_lit_from_sunset_to_sunrise() {
        let lit = |text| lit(Timestamp::from_rfc3339(text).unwrap(), 113.24, 35.22);
        assert!(!lit("2026-06-21T19:20:00+08:00"));
        assert!(lit("2026-06-21T19:55:00+08:00"));
        assert!(lit("2026-12-21T17:35:00+08:00"));
        assert!(!lit("2026-12-21T16:50:00+08:00"));
        assert!(lit("2026-11-23T03:00:00+08:00"));
        assert!(!lit("2026-11-23T12:00:00+08:00"));
    }

    #[test]
    fn a_coarse_sensor_prints_whole_numbers() {
        let mut reading = Reading::default();
        put(&mut reading, Field::LeakageMa, 14.6, SensorModel::Integer.step());
        assert_eq!(reading.fields.get(Field::LeakageMa), Some(15_000));
        put(&mut reading, Field::LeakageMa, 14.64, SensorModel::Tenth.step());
        assert_eq!(reading.fields.get(Field::LeakageMa), Some(14_600));
    }
}
