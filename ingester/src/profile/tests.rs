//! The shipped profiles against payloads as their makers document them.

use lampguard_model::{Field, Flags, Milliamps, Volts};

use super::*;

fn arrived<'m>(topic: &'m str, payload: &'m [u8]) -> Arrived<'m> {
    Arrived { topic, payload, received_at: Timestamp(1_795_435_260_000), again: false, origin: 0 }
}

fn one(profile: &str, topic: &str, payload: &str) -> Result<Reading, Refusal> {
    let profiles = Profiles::load(&[]).unwrap();
    let mut out = Vec::new();
    decode(profiles.get(profile), &arrived(topic, payload.as_bytes()), &mut Memory::default(), &mut out)?;
    assert_eq!(out.len(), 1);
    out.pop().unwrap()
}

#[test]
fn a_tasmota_sensor_message_is_read_with_its_zoneless_time() {
    let payload = include_str!("../../tests/data/tasmota_sensor.json");
    let reading = one("tasmota", "tele/lamp-17/SENSOR", payload).unwrap();
    assert_eq!(reading.device.as_deref(), Some("lamp-17"));
    assert_eq!(reading.ts, Timestamp::from_rfc3339("2026-11-23T18:59:50+08:00"));
    assert_eq!(reading.fields.get(Field::SupplyV), Some(231_000));
    assert_eq!(reading.fields.get(Field::LampA), Some(89));
    assert_eq!(reading.fields.get(Field::EnergyKwh), Some(3_185));
}

#[test]
fn situation_s30_a_partial_shelly_frame_does_not_refresh_what_it_leaves_out() {
    let whole =
        one("shelly-em1", "shelly-1/events/rpc", include_str!("../../tests/data/shelly_em1_full.json"))
            .unwrap();
    assert_eq!(whole.fields.iter().count(), 4);
    assert_eq!(whole.ts, Some(Timestamp(1_795_435_200_420)));
    let part =
        one("shelly-em1", "shelly-1/events/rpc", include_str!("../../tests/data/shelly_em1_partial.json"))
            .unwrap();
    assert_eq!(part.fields.iter().collect::<Vec<_>>(), [(Field::LampA, 523)]);
    assert!(part.marks.has(Marks::PARTIAL));
}

#[test]
fn situation_s29_tenths_in_whole_numbers_are_exact() {
    let reading = one("cn-tenths", "x", include_str!("../../tests/data/cn_tenths.json")).unwrap();
    assert_eq!(reading.leakage(), Some(Milliamps::milli(30_100)));
    assert_eq!(reading.shell(), Some(Volts::milli(12_400)));
    assert_eq!(reading.flags, Flags::LEAK_ALARM);
    let slip = one("cn-tenths", "x", r#"{"device_id":"A1","leak_current":65535}"#).unwrap();
    assert!(slip.marks.has(Marks::SATURATED) && slip.leakage().is_none());
}

#[test]
fn a_leakage_box_is_read_with_its_seconds() {
    let reading =
        one("leakage-box", "device_report", include_str!("../../tests/data/leakage_box.json")).unwrap();
    assert_eq!(reading.device.as_deref(), Some("LB-0042"));
    assert_eq!(reading.ts, Some(Timestamp(1_795_435_200_000)));
    assert_eq!(
        (reading.shell(), reading.leakage()),
        (Some(Volts::milli(3_200)), Some(Milliamps::milli(18_700)))
    );
    assert_eq!(reading.fields.get(Field::EarthOhm), Some(3_900));
}

#[test]
fn the_canonical_payload_comes_single_and_in_batches() {
    let single = one(CANONICAL, "", include_str!("../../tests/data/canonical_single.json")).unwrap();
    assert_eq!(single.leakage(), Some(Milliamps::milli(820)));
    let mut out = Vec::new();
    let batch = include_bytes!("../../tests/data/canonical_batch.json");
    decode(None, &arrived("", batch), &mut Memory::default(), &mut out).unwrap();
    let devices: Vec<_> = out.iter().flatten().filter_map(|reading| reading.device.as_deref()).collect();
    assert_eq!(devices, ["Z1-000001", "Z1-000002"]);
}

#[test]
fn a_payload_without_a_mapped_value_or_device_is_refused() {
    assert_eq!(
        one("tasmota", "tele/lamp-17/SENSOR", r#"{"Time":"2026-11-23T18:59:50"}"#),
        Err(Refusal::NoMeasurement)
    );
    assert_eq!(one("cn-tenths", "x", r#"{"leak_current":1}"#), Err(Refusal::BadDevice));
    assert_eq!(one("cn-tenths", "x", "[1]"), Err(Refusal::NotObject));
    assert_eq!(one("cn-tenths", "x", "{"), Err(Refusal::Json));
}

#[test]
fn a_new_shape_needs_no_code() {
    let toml = r#"
        [[profile]]
        name = "edge-logger"
        decoder = "json"
        each = "/batch"
        device = { path = "/device_id" }
        time = { path = "/timestamp", format = "%Y%m%d%H%M%S%3f", zone = "Asia/Shanghai" }
        period_s = 3600
        fields = [{ path = "/metrics/voltage/value/phase_a", to = "supply_v" },
                  { path = "/metrics/temp_f", to = "temperature_c", scale = 0.5, offset = -16 }]
    "#;
    let file: ProfileFile = toml::from_str(toml).unwrap();
    let profiles = Profiles::load(&file.profile).unwrap();
    let payload = br#"{"msgId":"u","batch":[{"timestamp":"20261123200000881","device_id":"E1",
        "metrics":{"voltage":{"unit":"V","value":{"phase_a":229.7}},"temp_f":60}},{"device_id":"E2"}]}"#;
    let mut out = Vec::new();
    decode(profiles.get("edge-logger"), &arrived("up/1", payload), &mut Memory::default(), &mut out).unwrap();
    let first = out[0].as_ref().unwrap();
    assert_eq!(first.ts, Some(Timestamp(1_795_435_200_881)));
    assert_eq!(first.period_s, Some(3600), "which rules and admission go by until the gaps tell");
    assert_eq!(first.fields.get(Field::SupplyV), Some(229_700));
    assert_eq!(first.fields.get(Field::TemperatureC), Some(14_000));
    assert_eq!(out[1], Err(Refusal::NoMeasurement));
}

#[test]
fn every_fault_of_a_profile_is_told_at_once() {
    let toml = r#"
        [[profile]]
        name = "bad"
        decoder = "xml"
        device = { from = "topic:x" }
        time = { path = "Time", format = "%Y", zone = "Mars/Base" }
        period_s = 0
        fields = [{ path = "a", to = "volts" }, { path = "/b", to = "shell_v", scale = 0 }]
        flags = [{ path = "/c", to = "fire" }]
    "#;
    let file: ProfileFile = toml::from_str(toml).unwrap();
    let faults = Profiles::load(&file.profile).unwrap_err();
    let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in
        ["xml", "topic:x", "\"Time\"", "Mars/Base", "period_s is 0", "\"volts\"", "scale not 0", "\"fire\""]
    {
        assert!(text.contains(part), "{part} is not told:\n{text}");
    }
}

#[test]
fn keys_that_a_decoder_does_not_read_are_told() {
    let fault = |body: &str| {
        let toml = format!("[[profile]]\nname = \"bad\"\n{body}");
        let file: ProfileFile = toml::from_str(&toml).unwrap();
        let faults = Profiles::load(&file.profile).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let field = "fields = [{ path = \"a\", to = \"shell_v\" }]\n";
    let cases = [
        (
            "decoder = \"frame\"\ndevice = { from = \"topic:0\" }\nfields = [{ path = \"/a\", to = \"shell_v\" }]",
            "needs frame =",
        ),
        (
            "decoder = \"frame\"\nframe = { encoding = \"hex\", crc = \"xor\", starts = \"0g\", length = 0 }\ndevice = { from = \"topic:0\" }\nfields = [{ at = 1, as = \"u64\", to = \"shell_v\" }]",
            "crc \"xor\" is not known",
        ),
        (
            "decoder = \"frame\"\nframe = { encoding = \"raw\" }\ndevice = { from = \"topic:0\" }\nfields = [{ at = 1023, as = \"u16\", to = \"shell_v\" }]",
            "behind the longest frame of 1024 bytes",
        ),
        (
            &format!("decoder = \"value\"\ndevice = {{ from = \"topic:0\" }}\n{field}"),
            "quantity \"\" is not topic:N",
        ),
        (
            &format!("decoder = \"senml\"\ndevice = {{ path = \"/id\" }}\n{field}"),
            "cannot take the device from there",
        ),
        (
            &format!("decoder = \"senml\"\ndevice = {{ from = \"name\" }}\neach = \"/a\"\n{field}"),
            "does not look at each",
        ),
        (
            "decoder = \"senml\"\ndevice = { from = \"name\" }\nfields = [{ path = \"a\", to = \"shell_v\", unit = \"mA\" }]",
            "unit \"mA\" is not one of V",
        ),
        (
            "decoder = \"json\"\ndevice = { path = \"/id\" }\neach = \"/a\"\nhistory = \"/h\"\nfields = [{ path = \"/a\", to = \"shell_v\" }]",
            "each stands beside neither",
        ),
        (
            "decoder = \"json\"\ndevice = { from = \"topic:99\" }\nfields = [{ at = 1, as = \"u8\", to = \"shell_v\" }]",
            "at, as and order are for the decoder frame",
        ),
    ];
    for (body, expected) in cases {
        let told = fault(body);
        assert!(told.contains(expected), "{expected} is not told of:\n{body}\n{told}");
    }
    let many: Vec<String> =
        (0..=SLOTS_MAX).map(|n| format!("{{ path = \"/f{n}\", to = \"shell_v\" }}")).collect();
    let told =
        fault(&format!("decoder = \"json\"\ndevice = {{ path = \"/id\" }}\nfields = [{}]", many.join(",")));
    assert!(told.contains("257 fields and flags are over 256"), "{told}");
}
