//! Readings in the words of their makers. Written here and not by the shared codec, so that an error in that one
//! cannot cancel itself; and by hand, because a recording is mostly this.

use lampguard_model::{Cause, Field, Flags, Reading, Timestamp};

use crate::lighting::LOCAL_MS;
use crate::quirks::Quirk;
use crate::sensor::Shape;

/// What an all-ones register reads in tenths of a milliampere, and an energy counter that rolled over.
const GLITCH: &str = "6553.5";
const ROLLOVER: &str = "4294967295";
/// Spikes that were seen in other makers' meters (domain reference section 14.4).
const HUGE: &str = "2000000000";
const NEGATIVE: &str = "-65509";

/// What a payload is made of besides the reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) shape: Shape,
    pub(crate) device: &'a str,
    pub(crate) quirk: Option<Quirk>,
    /// The leakage register reads all ones.
    pub(crate) saturated: bool,
}

/// The payload of a reading. `last` is what the sensor sent before, for those that leave out what did not change.
pub(crate) fn write(reading: &Reading, frame: &Frame<'_>, last: Option<&Reading>) -> Vec<u8> {
    let mut out = Vec::with_capacity(240);
    match frame.shape {
        Shape::Canonical => canonical(reading, frame, &mut out),
        Shape::CnTenths => cn_tenths(reading, frame, &mut out),
        Shape::LeakageBox => leakage_box(reading, frame, &mut out),
        Shape::Tasmota => tasmota(reading, &mut out),
        Shape::Shelly => shelly(reading, frame, last, &mut out),
    }
    if frame.quirk == Some(Quirk::Truncated) {
        out.truncate(out.len() * 2 / 3);
    }
    out
}

/// True unless a payload of [`write`] was cut or holds a bare NaN: nothing else can be wrong with one. Cheaper than
/// parsing, which would take a third of the time of a recording.
pub(crate) fn is_json(payload: &[u8]) -> bool {
    let count = |byte: u8| payload.iter().filter(|found| **found == byte).count();
    payload.ends_with(b"}")
        && count(b'{') == count(b'}')
        && count(b'[') == count(b']')
        && !payload.windows(4).any(|part| part == b":NaN")
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn whole(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut place = digits.len();
    let mut left = value.unsigned_abs();
    loop {
        place -= 1;
        digits[place] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[place..]);
}

/// A number of thousandths as a decimal without trailing zeros.
fn decimal(out: &mut Vec<u8>, thousandths: i64) {
    if thousandths < 0 && thousandths > -1000 {
        out.push(b'-');
    }
    whole(out, thousandths / 1000);
    let mut part = thousandths.unsigned_abs() % 1000;
    if part == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 100;
    while part > 0 {
        out.push(b'0' + (part / unit) as u8);
        part %= unit;
        unit /= 10;
    }
}

fn canonical(reading: &Reading, frame: &Frame<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (key, value) in [
        ("ts", reading.ts.map(|ts| ts.0)),
        ("seq", reading.seq.map(|seq| seq as i64)),
        ("boot", reading.boot.map(i64::from)),
    ] {
        if let Some(value) = value {
            key_of(out, key);
            whole(out, value);
        }
    }
    if reading.cause != Cause::Periodic {
        key_of(out, "cause");
        out.push(b'"');
        text(out, reading.cause.name());
        out.push(b'"');
    }
    for (field, value) in reading.fields.iter() {
        if field == Field::LeakageMa && (frame.saturated || frame.quirk == Some(Quirk::Glitch)) {
            continue;
        }
        key_of(out, field.name());
        match (field, frame.quirk) {
            (Field::LeakageMa, Some(Quirk::NotANumber)) => text(out, "NaN"),
            (Field::EnergyKwh, Some(Quirk::Rollover)) => text(out, ROLLOVER),
            (Field::LeakageMa, Some(Quirk::Spike)) => decimal(out, value * 10),
            (Field::LeakageMa, Some(Quirk::Huge)) => text(out, HUGE),
            (Field::LeakageMa, Some(Quirk::Negative)) => text(out, NEGATIVE),
            _ if field.info().boolean => text(out, if value == 0 { "false" } else { "true" }),
            _ => decimal(out, value),
        }
    }
    if frame.saturated || frame.quirk == Some(Quirk::Glitch) {
        key_of(out, Field::LeakageMa.name());
        text(out, GLITCH);
    }
    if reading.flags != Flags::default() {
        key_of(out, "flags");
        out.push(b'[');
        for (nth, name) in reading.flags.names().enumerate() {
            text(out, if nth == 0 { "\"" } else { ",\"" });
            text(out, name);
            out.push(b'"');
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// `"key":`, with a comma before it where one is needed.
fn key_of(out: &mut Vec<u8>, key: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    text(out, key);
    text(out, "\":");
}

fn cn_tenths(reading: &Reading, frame: &Frame<'_>, out: &mut Vec<u8>) {
    let tenths = |field| reading.fields.get(field).map(|value| (value + 50) / 100);
    let leak = tenths(Field::LeakageMa).map(|leak| match frame.quirk {
        Some(Quirk::Glitch) => 65_535,
        Some(Quirk::Spike) => leak * 10,
        Some(Quirk::Huge) => 2_000_000_000,
        Some(Quirk::Negative) => -65_509,
        _ if frame.saturated => 65_535,
        _ => leak,
    });
    out.push(b'{');
    key_of(out, "device_id");
    out.push(b'"');
    text(out, frame.device);
    out.push(b'"');
    let alarms = i64::from(reading.flags.has(Flags::LEAK_ALARM))
        | i64::from(reading.flags.has(Flags::SHELL_ALARM)) << 1;
    for (key, value) in [
        ("ts", reading.ts.map(|ts| ts.0)),
        ("leak_current", leak),
        ("pole_leakage_vol", tenths(Field::ShellV)),
        ("input_voltage", reading.fields.get(Field::SupplyV).map(|volts| volts / 1000)),
        ("alarm_state", Some(alarms)),
    ] {
        if let Some(value) = value {
            key_of(out, key);
            whole(out, value);
        }
    }
    text(out, ",\"simulated\":true}");
}

fn leakage_box(reading: &Reading, frame: &Frame<'_>, out: &mut Vec<u8>) {
    text(out, "{\"leakage\":{\"id\":\"");
    text(out, frame.device);
    text(out, "\",\"msg_id\":");
    whole(out, reading.seq.unwrap_or(0) as i64);
    text(out, ",\"param\":{");
    key_of(out, "time_utc");
    whole(out, reading.ts.map_or(0, |ts| ts.0.div_euclid(1000)));
    for (key, field) in [("V", Field::ShellV), ("I", Field::LeakageMa), ("R", Field::EarthOhm)] {
        let Some(value) = reading.fields.get(field) else { continue };
        key_of(out, key);
        match (field, frame.quirk) {
            (Field::LeakageMa, Some(Quirk::Glitch)) => text(out, GLITCH),
            (Field::LeakageMa, _) if frame.saturated => text(out, GLITCH),
            (Field::LeakageMa, Some(Quirk::Spike)) => decimal(out, value * 10),
            (Field::LeakageMa, Some(Quirk::Huge)) => text(out, HUGE),
            (Field::LeakageMa, Some(Quirk::Negative)) => text(out, NEGATIVE),
            _ => decimal(out, value),
        }
    }
    text(out, "}},\"simulated\":true}");
}

fn tasmota(reading: &Reading, out: &mut Vec<u8>) {
    let local = reading.ts.map(|ts| Timestamp(ts.0 + LOCAL_MS).to_rfc3339()).unwrap_or_default();
    text(out, "{\"Time\":\"");
    text(out, local.get(..19).unwrap_or_default());
    text(out, "\",\"ENERGY\":{");
    for (key, field) in [
        ("Total", Field::EnergyKwh),
        ("Power", Field::LampW),
        ("Voltage", Field::SupplyV),
        ("Current", Field::LampA),
    ] {
        if let Some(value) = reading.fields.get(field) {
            key_of(out, key);
            decimal(out, value);
        }
    }
    text(out, "},\"simulated\":true}");
}

fn shelly(reading: &Reading, frame: &Frame<'_>, last: Option<&Reading>, out: &mut Vec<u8>) {
    text(out, "{\"src\":\"");
    text(out, frame.device);
    text(out, "\",\"method\":\"NotifyStatus\",\"params\":{\"ts\":");
    decimal(out, reading.ts.map_or(0, |ts| ts.0));
    text(out, ",\"em1:0\":{\"id\":0");
    for (key, field) in [("current", Field::LampA), ("voltage", Field::SupplyV), ("act_power", Field::LampW)]
    {
        let Some(value) = reading.fields.get(field) else { continue };
        if last.is_some_and(|last| last.fields.get(field) == Some(value)) {
            continue;
        }
        key_of(out, key);
        decimal(out, value);
    }
    text(out, "}},\"simulated\":true}");
}

#[cfg(test)]
mod tests {
    use lampguard_model::wire;

    use super::*;

    fn reading() -> Reading {
        let mut reading = Reading {
            ts: Some(Timestamp(1_760_710_920_123)),
            seq: Some(7),
            boot: Some(3),
            flags: Flags::SIMULATED,
            ..Reading::default()
        };
        for (field, value) in [
            (Field::LeakageMa, 820),
            (Field::ShellV, 400),
            (Field::SupplyV, 228_400),
            (Field::LampA, 520),
            (Field::LampW, 118_000),
            (Field::EnergyKwh, 812_400),
            (Field::Immersed, 1000),
            (Field::TemperatureC, -3_500),
        ] {
            reading.put(field, value);
        }
        reading
    }

    fn written(shape: Shape, quirk: Option<Quirk>) -> String {
        let frame = Frame { shape, device: "D1", quirk, saturated: false };
        String::from_utf8(write(&reading(), &frame, None)).unwrap()
    }

    #[test]
    fn the_canonical_payload_is_what_the_shared_codec_reads() {
        let mut decoded = Vec::new();
        wire::decode(written(Shape::Canonical, None).as_bytes(), &mut decoded).unwrap();
        assert_eq!(decoded.pop().unwrap().unwrap(), reading());
    }

    #[test]
    fn a_quirk_of_a_value_shows_in_the_payload() {
        assert!(written(Shape::Canonical, Some(Quirk::Glitch)).contains("\"leakage_ma\":6553.5"));
        assert!(written(Shape::Canonical, Some(Quirk::Spike)).contains("\"leakage_ma\":8.2"));
        assert!(written(Shape::Canonical, Some(Quirk::NotANumber)).contains("\"leakage_ma\":NaN"));
        assert!(written(Shape::Canonical, Some(Quirk::Huge)).contains("\"leakage_ma\":2000000000"));
        assert!(written(Shape::CnTenths, Some(Quirk::Negative)).contains("\"leak_current\":-65509"));
        assert!(written(Shape::Canonical, Some(Quirk::Rollover)).contains("\"energy_kwh\":4294967295"));
        assert!(written(Shape::CnTenths, Some(Quirk::Glitch)).contains("\"leak_current\":65535"));
        assert!(
            serde_json::from_str::<serde_json::Value>(&written(Shape::Canonical, Some(Quirk::Truncated)))
                .is_err()
        );
    }

    #[test]
    fn foreign_payloads_have_the_keys_and_units_of_their_makers_and_are_marked() {
        let json = |shape| serde_json::from_str::<serde_json::Value>(&written(shape, None)).unwrap();
        let tenths = json(Shape::CnTenths);
        assert_eq!((&tenths["leak_current"], &tenths["pole_leakage_vol"]), (&8.into(), &4.into()));
        let leakage_box = json(Shape::LeakageBox);
        assert_eq!(leakage_box["leakage"]["param"]["time_utc"], 1_760_710_920);
        assert_eq!(leakage_box["leakage"]["param"]["I"], 0.82);
        assert_eq!(json(Shape::Tasmota)["Time"], "2025-10-17T22:22:00");
        assert_eq!(json(Shape::Shelly)["params"]["em1:0"]["voltage"], 228.4);
        for shape in [Shape::CnTenths, Shape::LeakageBox, Shape::Tasmota, Shape::Shelly] {
            assert_eq!(json(shape)["simulated"], true, "{shape:?}");
        }
    }

    #[test]
    fn a_sensor_that_tells_changes_leaves_out_what_stayed() {
        let frame = Frame { shape: Shape::Shelly, device: "D1", quirk: None, saturated: false };
        let mut next = reading();
        next.put(Field::LampW, 117_000);
        let json: serde_json::Value =
            serde_json::from_slice(&write(&next, &frame, Some(&reading()))).unwrap();
        assert_eq!(json["params"]["em1:0"], serde_json::json!({"id": 0, "act_power": 117}));
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let as_text = |value| {
            let mut out = Vec::new();
            decimal(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        for (value, text) in
            [(0, "0"), (820, "0.82"), (-3_500, "-3.5"), (-50, "-0.05"), (30_000, "30"), (1_001, "1.001")]
        {
            assert_eq!(as_text(value), text);
        }
    }
}
