//! Payloads as their makers document them (`ingester/tests/data/README.md` names each source): what they turn into,
//! to the digit, and what becomes of the faults that such devices are known for.

use lampguard_model::units::Thousandths;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Time of receipt of every message here.
pub(super) const RECEIVED: Timestamp = Timestamp(1_795_435_260_000);

/// Family, profile, file, topic, and what its readings say.
type Case = (&'static str, &'static str, &'static str, &'static [u8], &'static str, &'static [&'static str]);

macro_rules! case {
    ($family:literal, $profile:literal, $file:literal, $topic:literal, [$($said:literal),* $(,)?]) => {
        ($family, $profile, $file, include_bytes!(concat!("../../tests/data/", $file)).as_slice(), $topic, &[$($said),*])
    };
}

const CHIRPSTACK: &str = "application/1/device/24e124136c501234/event/up";

/// `DEVICE @TIME values | flags | marks | cause | #seq`; in this order, because Sparkplug remembers.
#[rustfmt::skip]
const CASES: &[Case] = &[
    case!("canonical", "lampguard", "canonical_single.json", "lamp/z1/Z1-000001/reading",
        ["? @1795435200123 leakage_ma 0.82 mA, shell_v 0.4 V, supply_v 228.4 V, supply 1, lamp_a 0.52 A, lamp_w 118 W #18231"]),
    case!("canonical", "lampguard", "canonical_batch.json", "lamp/z1/gateway/reading",
        ["Z1-000001 @1795435200123 leakage_ma 0.82 mA", "Z1-000002 @1795435200125 leakage_ma 1.1 mA"]),
    case!("tasmota", "tasmota", "tasmota_sensor.json", "tele/lamp-17/SENSOR",
        ["lamp-17 @1795431590000 supply_v 231 V, lamp_a 0.089 A, lamp_w 20 W, power_factor 0.97, energy_kwh 3.185 kWh"]),
    case!("shelly", "shelly-em1", "shelly_em1_full.json", "shelly-1/events/rpc",
        ["shelly-1 @1795435200420 supply_v 229.8 V, lamp_a 0.521 A, lamp_w 118.4 W, power_factor 0.97 ?partial"]),
    case!("shelly", "shelly-em1", "shelly_em1_partial.json", "shelly-1/events/rpc",
        ["shelly-1 @1795435260100 lamp_a 0.523 A ?partial"]),
    case!("cn-tenths", "cn-tenths", "cn_tenths.json", "cn/up",
        ["CN-0007 @1795435200000 leakage_ma 30.1 mA, shell_v 12.4 V, supply_v 228 V !leak_alarm"]),
    case!("leakage-box", "leakage-box", "leakage_box.json", "device_report",
        ["LB-0042 @1795435200000 leakage_ma 18.7 mA, shell_v 3.2 V, earth_ohm 3.9 Ω"]),
    // A unit beside the value: A into mA exactly; a percentage is no voltage. Chinese text is no device name.
    case!("edge-logger", "edge-logger", "edge_logger.json", "device/power/up/E1",
        ["E1 @1795435200881 leakage_ma 6.5 mA, supply_v 229.7 V", "quarantined bad_device",
         "E1 @1795435260881 leakage_ma 7.25 mA ?bad_field"]),
    case!("senml", "senml", "senml_multiple.json", "senml/up",
        ["urn:dev:ow:10e2073a01080063 @receipt supply_v 120.1 V, lamp_a 1.2 A"]),
    // Base time and own time, base unit and own unit. Five seconds before are another reading.
    case!("senml", "senml", "senml_times.json", "senml/up",
        ["urn:dev:ow:10e2073a0108006 @1276020076001 supply_v 120.1 V, lamp_a 1.7 A",
         "urn:dev:ow:10e2073a0108006 @1276020071001 lamp_a 1.2 A",
         "urn:dev:ow:10e2073a0108006 @1276020072001 lamp_a 1.3 A"]),
    // Relative time, unit A into mA, a base value to which the last one is added, a slash in the base name.
    case!("senml", "senml", "senml_relative.json", "senml/up",
        ["Z1-000007 @1795435200000 leakage_ma 35 mA ?no_identity", "Z1-000007 @receipt immersed 1, temperature_c 21.5 °C"]),
    case!("senml", "senml", "senml_multiple.cbor", "senml/up",
        ["urn:dev:ow:10e2073a0108006 @1276020076001 supply_v 120.1 V, lamp_a 1.7 A",
         "urn:dev:ow:10e2073a0108006 @1276020071001 lamp_a 1.2 A",
         "urn:dev:ow:10e2073a0108006 @1276020072001 lamp_a 1.3 A"]),
    // No length told, a half-precision float, a decimal fraction (301 × 10⁻¹ is 30.1), a flag.
    case!("senml", "senml", "senml_short.cbor", "senml/up",
        ["Z1-000008 @1795435200000 leakage_ma 30.1 mA, shell_v 3.25 V !leak_alarm"]),
    // Before any birth the numbers mean nothing.
    case!("sparkplug", "sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N1/P17", ["quarantined unknown_alias"]),
    case!("sparkplug", "sparkplug", "sparkplug_nbirth.bin", "spBv1.0/G/NBIRTH/N1",
        ["N1 @1795435200000 supply_v 228.4 V"]),
    case!("sparkplug", "sparkplug", "sparkplug_dbirth.bin", "spBv1.0/G/DBIRTH/N1/P17",
        ["P17 @1795435200000 leakage_ma 0.8 mA, shell_v 0.4 V, energy_kwh 812 kWh, immersed 0, temperature_c -5 °C"]),
    case!("sparkplug", "sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N1/P17",
        ["P17 @1795435260000 leakage_ma 30.1 mA, temperature_c -6 °C !leak_alarm ?partial"]),
    // What was kept goes to its own time; a null is not measured, which is not zero.
    case!("sparkplug", "sparkplug", "sparkplug_historical.bin", "spBv1.0/G/DDATA/N1/P17",
        ["P17 @1795431600000 leakage_ma 12.5 mA ?partial ^backfill", "P17 @1795431660000 leakage_ma 13.5 mA ?partial ^backfill",
         "P17 @1795435320000 leakage_ma 0.9 mA ?partial"]),
    // A will that overtakes a rebirth says nothing of the session that is alive.
    case!("sparkplug", "sparkplug", "sparkplug_ndeath_old.bin", "spBv1.0/G/NDEATH/N1", []),
    case!("sparkplug", "sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N1/P17",
        ["P17 @1795435260000 leakage_ma 30.1 mA, temperature_c -6 °C !leak_alarm ?partial"]),
    // The same aliases of another node are others.
    case!("sparkplug", "sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N2/P17", ["quarantined unknown_alias"]),
    case!("sparkplug", "sparkplug", "sparkplug_ndeath.bin", "spBv1.0/G/NDEATH/N1", []),
    case!("sparkplug", "sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N1/P17", ["quarantined unknown_alias"]),
    // A birth that a Sparkplug-aware broker keeps for late subscribers.
    case!("sparkplug", "sparkplug", "sparkplug_dbirth.bin", "$sparkplug/certificates/spBv1.0/G/DBIRTH/N1/P17",
        ["P17 @1795435200000 leakage_ma 0.8 mA, shell_v 0.4 V, energy_kwh 812 kWh, immersed 0, temperature_c -5 °C"]),
    case!("sparkplug", "sparkplug", "sparkplug_nbirth.bin", "spBv1.0/G/NCMD/N1", []),
    case!("chirpstack", "chirpstack-v4", "chirpstack_v4.json", "CHIRPSTACK_TOPIC",
        ["24e124136c501234 @1795435200250 leakage_ma 6.4 mA, shell_v 0.3 V, supply_v 229 V, rssi_dbm -87 dBm #42"]),
    case!("chirpstack", "chirpstack-v4", "chirpstack_v4_broken_sensor.json", "CHIRPSTACK_TOPIC",
        ["24e124136c501234 @1795435200250 rssi_dbm -87 dBm !sensor_lost ?saturated #0"]),
    case!("ttn", "ttn-v3", "ttn_v3.json", "v3/lamps@t/devices/eui-a84041ffff123456/up",
        ["eui-a84041ffff123456 @1795435200920 leakage_ma 0.7 mA, immersed 0, battery_v 3.6 V, rssi_dbm -112 dBm !tamper #7"]),
    case!("milesight", "milesight", "milesight_em300.json", "CHIRPSTACK_TOPIC",
        ["24e124136c501234 @1795435200250 immersed 1, temperature_c 30.8 °C, humidity_pct 50.5 %, rssi_dbm -87 dBm #42"]),
    // Readings kept in the sensor: at their own time, or not at all.
    case!("milesight", "milesight", "milesight_history.json", "CHIRPSTACK_TOPIC",
        ["24e124136c501234 @1795427600000 immersed 1, temperature_c 27.2 °C, humidity_pct 46.5 % ^backfill", "quarantined undated"]),
    case!("milesight", "milesight", "milesight_ct101_failed.json", "v3/lamps@t/devices/eui-a84041ffff123456/up",
        ["eui-a84041ffff123456 @1795435200920 rssi_dbm -112 dBm !sensor_lost #7"]),
    case!("dragino", "dragino", "dragino_lwl03a.json", "v3/lamps@t/devices/eui-a84041ffff123456/up",
        ["eui-a84041ffff123456 @1795435200920 immersed 1, rssi_dbm -112 dBm #7"]),
    case!("dragino", "dragino", "dragino_lht65.json", "CHIRPSTACK_TOPIC",
        ["24e124136c501234 @1795435200250 temperature_c -4.25 °C, humidity_pct 91.3 %, battery_v 3.05 V, rssi_dbm -87 dBm #42"]),
    case!("tuya", "tuya", "tuya_breaker.json", "tuya/status",
        ["6c95a93fd9 @1795435200123 leakage_ma 31 mA, supply_v 228 V ?partial"]),
    case!("tuya", "tuya", "tuya_plug.json", "tuya/status",
        ["002dj00118 @1795435200123 supply_v 230.1 V, lamp_a 0.523 A, lamp_w 118.2 W ?partial"]),
    case!("esphome", "esphome", "esphome_voltage.txt", "lamp-17/sensor/voltage/state", ["lamp-17 @receipt supply_v 228.4 V ?partial"]),
    case!("esphome", "esphome", "esphome_on.txt", "lamp-17/binary_sensor/water/state", ["lamp-17 @receipt immersed 1 ?partial"]),
    // "NaN until it is started anew" is not measured, which is not zero.
    case!("esphome", "esphome", "esphome_nan.txt", "lamp-17/sensor/leakage/state", ["quarantined no_measurement"]),
    case!("esphome", "esphome", "esphome_voltage.txt", "lamp-17/sensor/uptime/state", ["quarantined no_measurement"]),
    case!("pzem", "pzem-004t", "pzem_answer.bin", "box-3/up",
        ["box-3 @receipt supply_v 220 V, lamp_a 1 A, lamp_w 220 W, power_factor 1, energy_kwh 0 kWh"]),
    case!("pzem", "pzem-004t", "pzem_broken.bin", "box-3/up", ["quarantined checksum"]),
    // All ones with a right check sum: the box could not read its meter. Nothing was measured.
    case!("pzem", "pzem-004t", "pzem_all_ones.bin", "box-3/up", ["quarantined no_measurement"]),
];

pub(super) fn said(reading: &Result<Reading, Refusal>) -> String {
    let reading = match reading {
        Ok(reading) => reading,
        Err(refusal) => return format!("quarantined {}", refusal.word()),
    };
    let field = |(field, value): (lampguard_model::Field, i64)| {
        format!("{} {} {}", field.name(), Thousandths(value), field.info().unit).trim_end().to_owned()
    };
    let fields: Vec<String> = reading.fields.iter().map(field).collect();
    let time = reading.ts.map_or_else(|| "receipt".to_owned(), |ts| ts.0.to_string());
    let mut text = format!("{} @{time} {}", reading.device.as_deref().unwrap_or("?"), fields.join(", "));
    let listed = |sign: &str, words: Vec<&str>| {
        if words.is_empty() { String::new() } else { format!(" {sign}{}", words.join(",")) }
    };
    text = text.trim_end().to_owned();
    text += &listed("!", reading.flags.names().collect());
    text += &listed("?", reading.marks.names().collect());
    if reading.cause != lampguard_model::Cause::Periodic {
        text += &format!(" ^{}", reading.cause.name());
    }
    text + &reading.seq.map_or_else(String::new, |seq| format!(" #{seq}"))
}

fn topic_of(topic: &'static str) -> &'static str {
    if topic == "CHIRPSTACK_TOPIC" { CHIRPSTACK } else { topic }
}

/// What a message turns into; a message refused as a whole is one line.
pub(super) fn read(
    profiles: &Profiles,
    profile: &str,
    message: &Arrived<'_>,
    memory: &mut Memory,
) -> Vec<String> {
    let mut out = Vec::new();
    match decode(profiles.get(profile), message, memory, &mut out) {
        Ok(_) => out.iter().map(said).collect(),
        Err(refusal) => vec![said(&Err(refusal))],
    }
}

#[test]
fn payloads_of_every_family_turn_into_the_stated_values_and_units() {
    let profiles = Profiles::load(&[]).unwrap();
    let mut memory = Memory::default();
    let (mut families, mut wrong) = (BTreeMap::<&str, (usize, usize)>::new(), Vec::new());
    for (family, profile, file, payload, topic, expected) in CASES {
        let message =
            Arrived { topic: topic_of(topic), payload, received_at: RECEIVED, again: false, origin: 0 };
        let found = read(&profiles, profile, &message, &mut memory);
        if found != *expected {
            wrong.push(format!("{file} on {topic}:\n  expected {expected:#?}\n  found {found:#?}"));
        }
        let counts = families.entry(family).or_default();
        (counts.0, counts.1) = (counts.0 + 1, counts.1 + found.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (family, (payloads, outcomes)) in &families {
        println!("{family}: {payloads} payload(s), {outcomes} reading(s) or refusal(s)");
    }
    // Every shipped profile has its payloads.
    for name in profiles.names() {
        assert!(CASES.iter().any(|case| case.1 == name), "profile {name} has no payload here");
    }
    assert_eq!((families.len(), CASES.len()), (15, 42), "a family or payload went missing: {families:?}");
}

/// The list of `docs/wire.md`, "Faults that devices are known for": each is mended, marked or quarantined.
#[test]
fn known_faults_of_devices_are_mended_marked_or_quarantined() {
    let profiles = Profiles::load(&[]).unwrap();
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, &str)] = &[
        // 65535 and -65509 out of 16-bit words, and the same of 32 bits.
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":65535,"input_voltage":228}"#, "A @receipt supply_v 228 V ?saturated"),
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":4294967295,"input_voltage":228}"#, "A @receipt supply_v 228 V ?saturated"),
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":-65509,"input_voltage":228}"#, "A @receipt supply_v 228 V ?out_of_range"),
        ("cn-tenths", "x", r#"{"device_id":"A","pole_leakage_vol":65535,"input_voltage":228}"#, "A @receipt supply_v 228 V ?out_of_range"),
        // A counter that went below zero and round: near the top of its word.
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":65533,"input_voltage":228}"#, "A @receipt supply_v 228 V ?saturated"),
        // 2e9 out of nowhere, and a number that no float holds.
        ("cn-tenths", "x", r#"{"device_id":"A","input_voltage":2000000000,"leak_current":8}"#, "A @receipt leakage_ma 0.8 mA ?out_of_range"),
        ("cn-tenths", "x", r#"{"device_id":"A","input_voltage":1e300,"leak_current":8}"#, "A @receipt leakage_ma 0.8 mA ?out_of_range"),
        // NaN until it is started anew; and the words for nothing.
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":NaN,"input_voltage":228}"#, "A @receipt supply_v 228 V ?mended"),
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":"--","input_voltage":"228"}"#, "A @receipt supply_v 228 V"),
        // A decimal slip of ten is in range and cannot be seen here: it is kept, the rules compare it with its past.
        ("cn-tenths", "x", r#"{"device_id":"A","leak_current":1252.71}"#, "A @receipt leakage_ma 125.271 mA"),
        // mA in one build, per cent in the other: where the payload names the unit it is looked at.
        ("senml", "x", r#"[{"n":"A:leakage","u":"%","v":40},{"n":"A:voltage","u":"V","v":228}]"#, "A @receipt supply_v 228 V ?bad_field"),
        // Amperes without a word of it.
        ("senml", "x", r#"[{"n":"A:leakage","v":0.165},{"n":"A:voltage","u":"V","v":228}]"#, "A @receipt supply_v 228 V ?bad_field"),
        ("senml", "x", r#"[{"n":"A:leakage","u":"A","v":0.165}]"#, "A @receipt leakage_ma 165 mA"),
        ("senml", "x", r#"[{"n":"A:voltage","u":"V","v":228,"bver":11}]"#, "quarantined unsupported"),
        ("senml", "x", r#"[{"n":"A:voltage","u":"V","v":228,"secret_":1}]"#, "quarantined unsupported"),
        ("senml", "x", r#"{"n":"A:voltage","u":"V","v":228}"#, "quarantined not_object"),
        ("senml", "x", r#"[{"n":"voltage","u":"V","v":228}]"#, "quarantined bad_device"),
        ("senml", "x", "\u{2}\u{3}", "quarantined format"),
        // The larger of two stays: the worse must not hide.
        ("senml", "x", r#"[{"n":"A:leakage","u":"mA","v":40},{"n":"A:leakage","u":"mA","v":1}]"#, "A @receipt leakage_ma 40 mA ?bad_field"),
        // Confirmed uplinks that come again carry the same number and time; after a new join numbers begin anew.
        ("chirpstack-v4", "x", r#"{"deviceInfo":{"devEui":"A"},"time":"2026-11-23T12:00:00Z","fCnt":0,"object":{"leakage_ma":1}}"#, "A @1795435200000 leakage_ma 1 mA #0"),
        // A server without a codec: all that there is is the network's word.
        ("chirpstack-v4", "x", r#"{"deviceInfo":{"devEui":"A"},"data":"AXVc","rxInfo":[{"rssi":-80}]}"#, "quarantined no_measurement"),
        // Two codecs wrote two words for the same.
        ("milesight", "x", r#"{"deviceInfo":{"devEui":"A"},"object":{"leakage_status":"LEAK","magnet_status":"ajar"}}"#, "A @receipt immersed 1 ?bad_field"),
        // What may be A or mA is not guessed; a name that holds its unit is.
        ("esphome", "A/sensor/leakage/state", "0.031", "quarantined no_measurement"),
        ("esphome", "A/sensor/leakage_current/state", "0.031", "quarantined no_measurement"),
        ("esphome", "A/sensor/leakage_ma/state", "31", "A @receipt leakage_ma 31 mA ?partial"),
        ("edge-logger", "x", r#"{"batch":[{"device_id":"E1","metrics":{"leakage":{"value":0.031},"voltage":{"value":{"phase_a":228}}}}]}"#,
            "E1 @receipt supply_v 228 V ?bad_field"),
        // Letters of another size; MW may be milliwatts or megawatts.
        ("senml", "x", r#"[{"n":"A:leakage","u":"ma","v":31}]"#, "A @receipt leakage_ma 31 mA"),
        ("senml", "x", r#"[{"n":"A:leakage","u":"MA","v":31},{"n":"A:power","u":"MW","v":3}]"#, "A @receipt leakage_ma 31 mA ?bad_field"),
        // The network's word alone is no word of the sensor.
        ("chirpstack-v4", "x", r#"{"deviceInfo":{"devEui":"A"},"object":{},"rxInfo":[{"rssi":-80}]}"#, "quarantined no_measurement"),
        ("chirpstack-v4", "x", r#"{"deviceInfo":{"devEui":"A"},"object":{"leak":31,"leakage_ma":null},"rxInfo":[{"rssi":-80}]}"#, "quarantined no_measurement"),
        ("chirpstack-v4", "x", r#"{"deviceInfo":{"devEui":"A"},"object":{"leak_alarm":false},"rxInfo":[{"rssi":-80}]}"#, "A @receipt rssi_dbm -80 dBm"),
        // Null at the first path hides nothing at the second; of one code told twice the larger counts.
        ("milesight", "x", r#"{"deviceInfo":{"devEui":"A"},"object":{"leakage_status":null,"water_leak":"leak"}}"#, "A @receipt immersed 1"),
        ("tuya", "x", r#"{"devId":"A","status":[{"code":"leakage_current","value":3},{"code":"leakage_current","value":31}]}"#, "A @receipt leakage_ma 31 mA ?partial,bad_field"),
        // JSON where a plain value belongs, a unit behind the number, a device that is gone.
        ("esphome", "A/sensor/leakage/state", r#"{"value":3}"#, "quarantined format"),
        ("esphome", "A/sensor/leakage/state", "0.031 A", "A @receipt leakage_ma 31 mA ?partial"),
        ("esphome", "A/sensor/leakage/state", "3 bar", "quarantined no_measurement"),
        ("esphome", "A/sensor/leakage/state", "unavailable", "quarantined no_measurement"),
        ("esphome", "A/sensor/leakage/state", " ", "quarantined empty"),
        ("sparkplug", "spBv1.0/G/DDATA/N/D", "{\"no\":1}", "quarantined format"),
        ("pzem-004t", "A/up", "010414", "quarantined format"),
    ];
    for (profile, topic, payload, expected) in cases {
        let message =
            Arrived { topic, payload: payload.as_bytes(), received_at: RECEIVED, again: false, origin: 0 };
        assert_eq!(
            read(&profiles, profile, &message, &mut Memory::default()),
            [*expected],
            "{profile}: {payload}"
        );
    }
}

#[test]
fn a_hex_frame_inside_json_is_read_with_the_device_and_time_beside_it() {
    let toml = r#"
        [[profile]]
        name = "dtu"
        decoder = "frame"
        frame = { path = "/frame", encoding = "hex", crc = "modbus", starts = "010414" }
        device = { path = "/sn" }
        time = { path = "/ts", format = "number" }
        fields = [{ at = 3, as = "u16", to = "supply_v", scale = 0.1 }]
        flags = [{ at = 21, as = "u16", bit = 0, to = "leak_alarm" }]
        [[profile]]
        name = "words"
        decoder = "frame"
        frame = { encoding = "base64" }
        device = { at = 0, length = 4 }
        fields = [{ at = 4, as = "i16", order = "little", to = "temperature_c", scale = 0.01 },
                  { at = 6, as = "f32", to = "leakage_ma", unit = "A" }, { at = 10, as = "u8", to = "humidity_pct" },
                  { at = 11, as = "u32", to = "energy_kwh", scale = 0.001 }, { at = 15, as = "i16", to = "tilt_deg" }]
    "#;
    let file: ProfileFile = toml::from_str(toml).unwrap();
    let profiles = Profiles::load(&file.profile).unwrap();
    let look = |profile, payload: &[u8]| {
        let message = Arrived { topic: "x", payload, received_at: RECEIVED, again: false, origin: 0 };
        read(&profiles, profile, &message, &mut Memory::default())
    };
    assert_eq!(
        look("dtu", include_bytes!("../../tests/data/frame_in_json.json")),
        ["dtu-3 @1795435200000 supply_v 220 V"]
    );
    assert_eq!(look("dtu", br#"{"sn":"dtu-3","frame":"0104zz"}"#), ["quarantined format"]);
    assert_eq!(look("dtu", br#"{"sn":"dtu-3"}"#), ["quarantined no_measurement"]);
    // 00 ff 12 34 | -150 | 0.035 A | 91 % | 65,535 Wh, which is no all ones of four bytes | the lowest of a word: not read
    assert_eq!(
        look("words", b"AP8SNGr/PQ9cKVsAAP//gAA="),
        [
            "00ff1234 @receipt leakage_ma 35 mA, energy_kwh 65.535 kWh, temperature_c -1.5 °C, humidity_pct 91 % ?out_of_range"
        ]
    );
    // A shorter frame holds fewer values.
    assert_eq!(look("words", b"AP8SNGr/"), ["00ff1234 @receipt temperature_c -1.5 °C"]);
}

#[test]
fn what_lay_in_quarantine_changes_nothing_that_is_known_of_a_node() {
    let profiles = Profiles::load(&[]).unwrap();
    let mut memory = Memory::default();
    let mut send = |topic, payload: &[u8], again| {
        let message = Arrived { topic, payload, received_at: RECEIVED, again, origin: 0 };
        let said = read(&profiles, "sparkplug", &message, &mut memory);
        (said, memory.take_gap().map(|gap| gap.missing), memory.size().1)
    };
    let birth = include_bytes!("../../tests/data/sparkplug_dbirth.bin");
    let data = include_bytes!("../../tests/data/sparkplug_ddata.bin");
    let topic = "spBv1.0/G/DDATA/N1/P17";
    assert_eq!(send("spBv1.0/G/DBIRTH/N1/P17", birth, true).2, 0, "an old birth teaches nothing");
    assert_eq!(send(topic, data, true).0, ["quarantined unknown_alias"]);
    send("spBv1.0/G/NBIRTH/N1", include_bytes!("../../tests/data/sparkplug_nbirth.bin"), false);
    assert_eq!(send("spBv1.0/G/DBIRTH/N1/P17", birth, false).2, 8);
    // Now its aliases are known: `quarantine retry` reads what waited.
    let (again, gap, _) = send(topic, data, true);
    assert_eq!(again, ["P17 @1795435260000 leakage_ma 30.1 mA, temperature_c -6 °C !leak_alarm ?partial"]);
    assert_eq!(gap, None);
    // Number 3 behind number 1: one message is missing.
    let historical = include_bytes!("../../tests/data/sparkplug_historical.bin");
    assert_eq!(send(topic, historical, false).1, Some(1));
    send("spBv1.0/G/NDEATH/N1", include_bytes!("../../tests/data/sparkplug_ndeath.bin"), true);
    assert_eq!(send(topic, historical, false).0.len(), 3, "an old death ends nothing");
}

#[test]
fn limits_of_packs_hold_and_say_so() {
    let profiles = Profiles::load(&[]).unwrap();
    let look = |profile, topic, payload: &[u8]| {
        let message = Arrived { topic, payload, received_at: RECEIVED, again: false, origin: 0 };
        read(&profiles, profile, &message, &mut Memory::default())
    };
    let record = |n: usize| format!(r#"{{"n":"D{n}:voltage","u":"V","v":1}}"#);
    let pack: Vec<String> = (0..=RECORDS_MAX).map(record).collect();
    let said = look("senml", "x", format!("[{}]", pack.join(",")).as_bytes());
    assert_eq!((said.len(), said.last().unwrap().as_str()), (RECORDS_MAX + 1, "quarantined batch_too_long"));
    // Two bytes a metric: a payload that claims very many of them takes no more memory than it is long.
    let metrics = [0x12, 0x00].repeat(METRICS_MAX + 7);
    assert_eq!(look("sparkplug", "spBv1.0/G/NDATA/N", &metrics), ["quarantined batch_too_long"]);
    let deep: Vec<u8> = std::iter::repeat_n(0x81, 1000).collect();
    assert_eq!(look("senml", "x", &deep), ["quarantined nesting"]);
    let deep = [[0x81, 0xa1, 0x02].as_slice(), &deep].concat();
    assert_eq!(look("senml", "x", &deep), ["quarantined nesting"]);
    // Lengths that nothing follows.
    for lie in [
        &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255][..],
        &[0x81, 0xbb, 255, 255, 255, 255, 255, 255, 255, 255],
        &[0x81, 0xa1, 0x00, 0x7b, 255, 255, 255, 255, 255, 255, 255, 255],
    ] {
        assert_eq!(look("senml", "x", lie), ["quarantined format"], "{lie:?}");
    }
    assert_eq!(
        look("sparkplug", "spBv1.0/G/NDATA/N", &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ["quarantined format"]
    );
    let long = format!(r#"[{{"n":"{}:voltage","u":"V","v":1}}]"#, "x".repeat(NAME_MAX));
    assert_eq!(look("senml", "x", long.as_bytes()), ["quarantined no_measurement"]);
    let frame = vec![0u8; FRAME_MAX + 1];
    assert_eq!(look("pzem-004t", "x", &frame), ["quarantined format"]);
    let value = "1".repeat(65);
    assert_eq!(look("esphome", "a/sensor/voltage/state", value.as_bytes()), ["quarantined format"]);
}

/// Every profile over a payload, live and told path by path: nothing panics, and readings stay within the limit.
fn survive(profiles: &Profiles, topic: &str, payload: &[u8], memory: &mut Memory) {
    for name in profiles.names() {
        let message = Arrived { topic, payload, received_at: RECEIVED, again: false, origin: 0 };
        let (mut out, mut trace) = (Vec::new(), Explained::default());
        let plain = decode(profiles.get(name), &message, memory, &mut out);
        assert!(out.len() <= payload.len() + 1, "{name}: {} outcomes of {} bytes", out.len(), payload.len());
        let count = out.len();
        assert!(plain.is_ok() || count == 0, "{name}: a refused payload left {count} reading(s)");
        let _ = explain(profiles.get(name), &message, memory, &mut out, &mut trace);
        assert!(trace.lines.len() <= LINES_MAX);
    }
    assert!(memory.size().1 <= ALIASES_MAX);
}

#[test]
fn no_bytes_and_no_flipped_bit_of_any_payload_make_a_decoder_panic() {
    let profiles = Profiles::load(&[]).unwrap();
    let mut memory = Memory::default();
    let mut tried = 0u32;
    for (_, _, _, payload, topic, _) in CASES {
        let mut payload = payload.to_vec();
        for at in 0..payload.len() {
            let was = payload[at];
            for flip in [0x01, 0x80, 0xff] {
                payload[at] = was ^ flip;
                let own = CASES.iter().find(|case| case.4 == *topic).map_or("lampguard", |case| case.1);
                let message = Arrived {
                    topic: topic_of(topic),
                    payload: &payload,
                    received_at: RECEIVED,
                    again: false,
                    origin: 0,
                };
                let mut out = Vec::new();
                let _ = decode(profiles.get(own), &message, &mut memory, &mut out);
                tried += 1;
            }
            payload[at] = was;
            survive(&profiles, topic_of(topic), &payload[..at], &mut memory);
        }
    }
    assert!(tried > 10_000, "{tried}");
    let topics =
        ["spBv1.0/G/NBIRTH/N", "spBv1.0/G/DDATA/N/D", "a/sensor/voltage/state", "lamp/z/p/reading", ""];
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    // What looks like a head of CBOR or protobuf goes deeper than mere noise.
    let headed = (
        proptest::sample::select(vec![
            vec![],
            vec![0x81, 0xa2, 0x00],
            vec![0x9f, 0xbf],
            vec![0x12, 0x20],
            vec![b'[', b'{'],
        ]),
        bytes,
    )
        .prop_map(|(head, tail)| [head, tail].concat());
    let mut runner = TestRunner::new(Config { cases: 2_000, ..Config::default() });
    let memory = std::cell::RefCell::new(memory);
    let random = (headed, proptest::sample::select(topics.to_vec()));
    runner
        .run(&random, |(payload, topic)| {
            survive(&profiles, topic, &payload, &mut memory.borrow_mut());
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_explanation_names_every_value_and_what_became_of_it() {
    let profiles = Profiles::load(&[]).unwrap();
    let look = |name: &str, topic: &str, payload: &[u8]| {
        let message = Arrived { topic, payload, received_at: RECEIVED, again: false, origin: 0 };
        let (mut out, mut trace) = (Vec::new(), Explained::default());
        let _ = explain(profiles.get(name), &message, &mut Memory::default(), &mut out, &mut trace);
        let line = |line: &Line| {
            format!("{}{}: {} -> {}", if line.taken { "+" } else { "-" }, line.place, line.raw, line.what)
        };
        trace.lines.iter().map(line).collect::<Vec<_>>()
    };
    let lines = look(
        "cn-tenths",
        "x",
        br#"{"device_id":"A","leak_current":301,"alarm_state":3,"pole_leakage_vol":"x","more":{"deep":1}}"#,
    );
    assert_eq!(
        lines,
        [
            "+/device_id: \"A\" -> device A",
            "+/leak_current: 301 × 0.1 -> leakage_ma 30.1 mA",
            "-/pole_leakage_vol: \"x\" × 0.1 -> shell_v: dropped, not a value of it (mark bad_field)",
            "+/alarm_state: 3 bit 0 -> flag leak_alarm set",
            "+/alarm_state: 3 bit 1 -> flag shell_alarm set",
            "-/more/deep: 1 -> left: the profile names no field for it",
        ]
    );
    let lines = look("tuya", "x", include_bytes!("../../tests/data/tuya_breaker.json"));
    assert!(lines.contains(&"+/leakage_current: 31 mA -> leakage_ma 31 mA".to_owned()), "{lines:#?}");
    assert!(
        lines.contains(&"-/status/2/value: true -> left: the profile names no field for it".to_owned()),
        "{lines:#?}"
    );
    let lines = look("pzem-004t", "box/up", include_bytes!("../../tests/data/pzem_answer.bin"));
    assert!(lines.contains(&"+bytes 3..5: 2200 × 0.1 -> supply_v 220 V".to_owned()), "{lines:#?}");
    assert!(
        lines.contains(&"-bytes 17..19: 01f4 -> left: the profile names no field for it".to_owned()),
        "{lines:#?}"
    );
    let lines =
        look("senml", "x", br#"[{"n":"A:leakage","u":"A","v":0.035},{"n":"A:wind","u":"m/s","v":3}]"#);
    assert!(lines.contains(&"+A:leakage: 0.035 A -> leakage_ma 35 mA".to_owned()), "{lines:#?}");
    assert!(lines[1].starts_with("-A:wind: 3 -> left"), "{lines:#?}");
    let lines =
        look("sparkplug", "spBv1.0/G/DDATA/N/D", include_bytes!("../../tests/data/sparkplug_ddata.bin"));
    assert!(lines[0].starts_with("-alias 10: 30.1 -> left: no birth"), "{lines:#?}");
    let lines = look(
        "lampguard",
        "lamp/z/p/reading",
        br#"{"leakage_ma":9999,"shell_v":0.4,"x":1,"supply_v":"--","seq":1}"#,
    );
    assert_eq!(
        lines,
        [
            "+/leakage_ma: 9999 -> leakage_ma: dropped (mark saturated)",
            "+/seq: 1 -> seq",
            "+/shell_v: 0.4 -> shell_v 0.4 V",
            "-/supply_v: \"--\" -> supply_v: not measured",
            "-/x: 1 -> left: no key of a reading",
        ]
    );
}
