//! What one sensor measures at one instant: true values, noise, the resolution of its model, its own faults.

use lampguard_model::{Cause, Field, Flags, Reading, Timestamp};

use crate::chance::Chance;
use crate::city::Post;
use crate::fault::Affected;
use crate::lighting::{day_share, wave};
use crate::params::SensorParams;
use crate::physics::{Electrical, IMMERSED_MM, VendorAlarm};
use crate::sensor::{Model, Shape, Spec};
use crate::weather::Sky;

/// What surrounds a sensor when it measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// When it measures.
    pub(crate) at: Timestamp,
    /// Minutes of weather then.
    pub(crate) minute: f64,
    /// True values.
    pub(crate) truth: Electrical,
    /// Share of rated power at which the lamp burns.
    pub(crate) lamp_share: f64,
    /// The sky above it.
    pub(crate) sky: &'a Sky,
    /// Moisture, 0 to 1.
    pub(crate) moisture: f64,
    /// Mean temperature of these days, °C.
    pub(crate) temperature_c: f64,
    /// What is wrong with the post and the sensor.
    pub(crate) affected: Option<&'a Affected>,
    /// Lightning has struck: this one sample is false.
    pub(crate) surge: bool,
}

/// Power factor of a lamp with its driver.
const POWER_FACTOR: f64 = 0.96;
/// What lightning leaves in one sample: leakage, mA, and shell, V (a choice; WF6 names the shape only).
const SURGE: (f64, f64) = (480.0, 90.0);

/// One reading of a post with everything but `seq` and `boot`. `noise` is the post's chance at this instant.
pub(crate) fn measure(
    post: &Post,
    model: Model,
    params: &SensorParams,
    around: &Surroundings<'_>,
    noise: Chance,
) -> Reading {
    let spec = model.spec();
    let mut reading = Reading { ts: Some(around.at), flags: Flags::SIMULATED, ..Reading::default() };
    if spec.leakage {
        measure_leakage(spec, params, around, noise, &mut reading);
    }
    let supply_v = supply(post, around, noise);
    if spec.battery {
        put(&mut reading, Field::BatteryV, 3.6 - 0.004 * f64::from(post.number % 100), 10);
    } else {
        put(&mut reading, Field::SupplyV, supply_v, spec.step.max(100));
        let rated_w = f64::from(post.lamp_w) * f64::from(post.lamps);
        let lamp_w = rated_w * around.lamp_share * (0.985 + 0.008 * noise.noise(5));
        if model != Model::Box3 {
            put(&mut reading, Field::LampW, lamp_w, spec.step.max(100));
        }
        if !matches!(model, Model::I1 | Model::CnT | Model::Box3) {
            put(&mut reading, Field::LampA, lamp_w / (supply_v.max(1.0) * POWER_FACTOR), 10);
        }
    }
    match model {
        Model::T1 | Model::H2 | Model::Nb1h | Model::Nb6h => measure_air(post, around, noise, &mut reading),
        _ => {}
    }
    match model {
        Model::H2 => measure_fine(post, around, noise, &mut reading),
        Model::Box3 => put_earth(post, noise, &mut reading),
        Model::Tasmota | Model::Shelly => put_energy(post, around, &mut reading),
        _ => {}
    }
    if spec.immersion {
        let drowned = around.affected.is_some_and(|affected| affected.sensor.drowned_min.is_some());
        let immersed = drowned || around.truth.water_mm >= IMMERSED_MM;
        put(&mut reading, Field::Immersed, f64::from(u8::from(immersed)), 1000);
    }
    reading
}

fn measure_leakage(
    spec: &Spec,
    params: &SensorParams,
    around: &Surroundings<'_>,
    noise: Chance,
    reading: &mut Reading,
) {
    let truth =
        if around.surge { (SURGE.0, SURGE.1) } else { (around.truth.leakage_ma, around.truth.shell_v) };
    let gain = |stream| 1.0 + params.gain_error * noise.noise(stream);
    let mut leakage_ma = (truth.0 * gain(0) + params.leakage_noise_ma * noise.noise(1)).max(0.0);
    let shell_v = (truth.1 * gain(2) + params.shell_noise_v * noise.noise(3)).max(0.0);
    let fault = around.affected.map(|affected| affected.sensor).unwrap_or_default();
    if let Some((ma_per_h, since_min)) = fault.drift {
        leakage_ma = (leakage_ma + ma_per_h * (around.minute - since_min) / 60.0).max(0.0);
    }
    if fault.open_ct {
        leakage_ma = 0.0;
    }
    if fault.tenfold {
        leakage_ma *= 10.0;
    }
    put(reading, Field::LeakageMa, leakage_ma, spec.step);
    put(reading, Field::ShellV, shell_v, spec.step);
    if fault.amperes
        && let Some(thousandths) = reading.fields.get(Field::LeakageMa)
    {
        // 35 mA are sent as 0.035, and taken for 0.035 mA.
        reading.put(Field::LeakageMa, thousandths / 1000);
    }
    if fault.stuck_flag {
        reading.flags.add(Flags::LEAK_ALARM);
    }
}

fn supply(post: &Post, around: &Surroundings<'_>, noise: Chance) -> f64 {
    if around.truth.supply_v == 0.0 {
        return 0.0;
    }
    // The mains breathe with the day and sag along the feeder.
    let breath = 3.0 * wave(day_share(around.at, post.lon), 0.17) - 0.05 * f64::from(post.number % 40);
    (around.truth.supply_v - 2.0 + breath + 0.6 * noise.noise(4)).max(0.0)
}

/// Temperature, humidity, signal.
fn measure_air(post: &Post, around: &Surroundings<'_>, noise: Chance, reading: &mut Reading) {
    let rainy = around.sky.rain_mm_h > 0.0;
    let day = day_share(around.at, post.lon);
    let cooler = if rainy { 2.0 } else { 0.0 };
    put(
        reading,
        Field::TemperatureC,
        around.temperature_c + 5.0 * wave(day, 0.58) - cooler + 0.2 * noise.noise(6),
        100,
    );
    let humidity_pct = if rainy { 95.0 } else { 60.0 + 32.0 * around.moisture };
    put(reading, Field::HumidityPct, (humidity_pct + noise.noise(7)).clamp(0.0, 100.0), 1000);
    put(reading, Field::RssiDbm, -84.0 - f64::from(post.number % 17) + 2.0 * noise.noise(8), 1000);
}

/// What only the finest model sends.
fn measure_fine(post: &Post, around: &Surroundings<'_>, noise: Chance, reading: &mut Reading) {
    let powered = around.truth.supply_v > 50.0;
    put(reading, Field::Supply, f64::from(u8::from(powered)), 1000);
    if around.lamp_share > 0.0 {
        put(reading, Field::PowerFactor, POWER_FACTOR + 0.005 * noise.noise(9), 10);
    }
    put(reading, Field::NeutralV, around.truth.neutral_v + 0.3 * noise.unit(12), 100);
    put_energy(post, around, reading);
    put_earth(post, noise, reading);
    put(reading, Field::WaterMm, around.truth.water_mm, 1000);
    let affected = around.affected.copied().unwrap_or_default();
    put(reading, Field::TiltDeg, f64::from(post.number % 7) * 0.1 + affected.tilt_deg, 100);
    put(reading, Field::DoorOpen, f64::from(u8::from(affected.door_open)), 1000);
}

fn put_energy(post: &Post, around: &Surroundings<'_>, reading: &mut Reading) {
    let hours = around.at.0 as f64 / 3.6e6 - (f64::from(post.installed) - 1970.0) * 8766.0;
    let rated_kw = f64::from(post.lamp_w) * f64::from(post.lamps) / 1000.0;
    put(reading, Field::EnergyKwh, (hours * 0.48 * rated_kw).max(0.0), 100);
}

fn put_earth(post: &Post, noise: Chance, reading: &mut Reading) {
    let earth_ohm = f64::from(post.insulation.earth_ohm) * (1.0 + 0.02 * noise.noise(10));
    put(reading, Field::EarthOhm, earth_ohm, 100);
}

/// What the sensor in a cabinet measures: the residual of the whole feeder, and the supply before the contactor.
pub(crate) fn measure_cabinet(
    at: Timestamp,
    residual_ma: f64,
    supply_v: f64,
    params: &SensorParams,
    noise: Chance,
) -> Reading {
    let mut reading = Reading { ts: Some(at), flags: Flags::SIMULATED, ..Reading::default() };
    let leakage_ma = residual_ma * (1.0 + params.gain_error / 2.0 * noise.noise(0)) + 0.1 * noise.noise(1);
    put(&mut reading, Field::LeakageMa, leakage_ma.max(0.0), 100);
    put(&mut reading, Field::SupplyV, supply_v + 0.6 * noise.noise(4), 100);
    reading
}

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

/// True when a model can raise flags of its own: lamp meters have none, the leakage box has no bits for them.
pub(crate) fn can_flag(model: Model) -> bool {
    model.spec().leakage && model.spec().shape != Shape::LeakageBox
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_sensor_prints_whole_numbers() {
        let mut reading = Reading::default();
        put(&mut reading, Field::LeakageMa, 14.6, Model::I1.spec().step);
        assert_eq!(reading.fields.get(Field::LeakageMa), Some(15_000));
        put(&mut reading, Field::LeakageMa, 14.64, Model::T1.spec().step);
        assert_eq!(reading.fields.get(Field::LeakageMa), Some(14_600));
    }
}
