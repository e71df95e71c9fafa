//! The measured fields of a reading: names, units, ranges.

use serde::Serialize;

/// One measured field. The number is its place on disk: never renumber, only append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// Residual (leakage) current to earth.
    LeakageMa = 0,
    /// Voltage of the post's shell against remote earth.
    ShellV = 1,
    /// Supply voltage, phase to neutral.
    SupplyV = 2,
    /// Neutral against earth.
    NeutralV = 3,
    /// Supply on (1) or off (0).
    Supply = 4,
    /// Lamp current.
    LampA = 5,
    /// Lamp power.
    LampW = 6,
    /// Power factor of the lamp.
    PowerFactor = 7,
    /// Energy meter.
    EnergyKwh = 8,
    /// Resistance of the post's own earth.
    EarthOhm = 9,
    /// Water at the hand-hole sensor (1) or dry (0).
    Immersed = 10,
    /// Water level.
    WaterMm = 11,
    /// Tilt of the column.
    TiltDeg = 12,
    /// Knocked (1).
    Impact = 13,
    /// Hand-hole door open (1).
    DoorOpen = 14,
    /// Temperature inside the post.
    TemperatureC = 15,
    /// Relative humidity inside the post.
    HumidityPct = 16,
    /// Battery of the sensor.
    BatteryV = 17,
    /// Strength of the radio signal.
    RssiDbm = 18,
    /// Result of a hand test: 0 ok, 1 suspect, 2 live.
    Check = 19,
    /// Band shown by a test pen.
    PenBandV = 20,
}

/// What a field is called and what it may hold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FieldInfo {
    /// Name on the wire, in tables and as line-protocol field.
    pub name: &'static str,
    /// Unit as printed; empty for plain numbers and yes/no fields.
    pub unit: &'static str,
    /// Lowest accepted value, thousandths of the unit.
    pub min: i64,
    /// Highest accepted value, thousandths of the unit.
    pub max: i64,
    /// A yes/no field: `true`, `false`, 1, 0, `"on"`, `"off"`.
    pub boolean: bool,
}

const fn number(name: &'static str, unit: &'static str, min: i64, max: i64) -> FieldInfo {
    FieldInfo { name, unit, min: min * 1000, max: max * 1000, boolean: false }
}

const fn yes_no(name: &'static str) -> FieldInfo {
    FieldInfo { name, unit: "", min: 0, max: 1000, boolean: true }
}

/// Number of fields.
pub const FIELD_COUNT: usize = 21;

/// Ranges: the office's domain reference, section 2.1. Water, tilt and signal limits are sensor limits.
const INFO: [FieldInfo; FIELD_COUNT] = [
    number("leakage_ma", "mA", 0, 5000),
    number("shell_v", "V", 0, 300),
    number("supply_v", "V", 0, 500),
    number("neutral_v", "V", 0, 300),
    yes_no("supply"),
    number("lamp_a", "A", 0, 20),
    number("lamp_w", "W", 0, 2000),
    number("power_factor", "", 0, 1),
    number("energy_kwh", "kWh", 0, 1_000_000_000),
    number("earth_ohm", "Ω", 0, 10_000),
    yes_no("immersed"),
    number("water_mm", "mm", 0, 3000),
    number("tilt_deg", "°", 0, 90),
    yes_no("impact"),
    yes_no("door_open"),
    number("temperature_c", "°C", -50, 120),
    number("humidity_pct", "%", 0, 100),
    number("battery_v", "V", 0, 60),
    number("rssi_dbm", "dBm", -200, 50),
    number("check", "", 0, 2),
    number("pen_band_v", "V", 0, 400),
];

/// Every field in the order of its number.
pub const ALL: [Field; FIELD_COUNT] = [
    Field::LeakageMa,
    Field::ShellV,
    Field::SupplyV,
    Field::NeutralV,
    Field::Supply,
    Field::LampA,
    Field::LampW,
    Field::PowerFactor,
    Field::EnergyKwh,
    Field::EarthOhm,
    Field::Immersed,
    Field::WaterMm,
    Field::TiltDeg,
    Field::Impact,
    Field::DoorOpen,
    Field::TemperatureC,
    Field::HumidityPct,
    Field::BatteryV,
    Field::RssiDbm,
    Field::Check,
    Field::PenBandV,
];

impl Field {
    /// Name, unit and range.
    pub fn info(self) -> &'static FieldInfo {
        &INFO[self as usize]
    }

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The field of that number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).copied()
    }

    /// The field of that wire name, if there is one. Written out, because every key of every payload passes
    /// here: a search through the table costs a fifth of the whole decoding (`lampguard bench floor`).
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "leakage_ma" => Self::LeakageMa,
            "shell_v" => Self::ShellV,
            "supply_v" => Self::SupplyV,
            "neutral_v" => Self::NeutralV,
            "supply" => Self::Supply,
            "lamp_a" => Self::LampA,
            "lamp_w" => Self::LampW,
            "power_factor" => Self::PowerFactor,
            "energy_kwh" => Self::EnergyKwh,
            "earth_ohm" => Self::EarthOhm,
            "immersed" => Self::Immersed,
            "water_mm" => Self::WaterMm,
            "tilt_deg" => Self::TiltDeg,
            "impact" => Self::Impact,
            "door_open" => Self::DoorOpen,
            "temperature_c" => Self::TemperatureC,
            "humidity_pct" => Self::HumidityPct,
            "battery_v" => Self::BatteryV,
            "rssi_dbm" => Self::RssiDbm,
            "check" => Self::Check,
            "pen_band_v" => Self::PenBandV,
            _ => return None,
        })
    }
}

/// Measured values by field, each in whole thousandths of its unit. What is not there was not measured,
/// which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    present: u32,
    values: [i64; FIELD_COUNT],
}

impl Fields {
    /// Sets a value; the caller has checked its range.
    pub fn set(&mut self, field: Field, thousandths: i64) {
        self.present |= 1 << field as u8;
        self.values[field as usize] = thousandths;
    }

    /// Forgets a value.
    pub fn clear(&mut self, field: Field) {
        self.present &= !(1 << field as u8);
        self.values[field as usize] = 0;
    }

    /// The value in thousandths, if it was measured.
    pub fn get(&self, field: Field) -> Option<i64> {
        (self.present & (1 << field as u8) != 0).then(|| self.values[field as usize])
    }

    /// A yes/no field, if it was measured.
    pub fn flag(&self, field: Field) -> Option<bool> {
        self.get(field).map(|value| value != 0)
    }

    /// True when nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// One bit per field, lowest first.
    pub fn mask(&self) -> u32 {
        self.present
    }

    /// What was measured, in the order of the field numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Field, i64)> + '_ {
        let mut left = self.present;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let number = left.trailing_zeros() as usize;
            left &= left - 1;
            Some((ALL[number], self.values[number]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_numbers_names_and_places_agree() {
        for (number, field) in ALL.into_iter().enumerate() {
            assert_eq!(field as usize, number);
            assert_eq!(Field::from_name(field.name()), Some(field));
            assert_eq!(Field::from_number(u8::try_from(number).unwrap()), Some(field));
            assert!(field.info().min <= field.info().max);
        }
        assert_eq!(Field::from_number(99), None);
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let mut fields = Fields::default();
        assert!(fields.is_empty());
        fields.set(Field::ShellV, 0);
        assert_eq!(fields.get(Field::ShellV), Some(0));
        assert_eq!(fields.get(Field::LeakageMa), None);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(Field::ShellV, 0)]);
    }
}
