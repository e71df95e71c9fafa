//! Danger beside a fault: what a broken neighbour, a glitch, an odd name or a lost birth must not hide.

use super::fixture_tests::{RECEIVED, read};
use super::*;

fn profiles_of(toml: &str) -> Profiles {
    let file: ProfileFile = toml::from_str(toml).unwrap();
    Profiles::load(&file.profile).unwrap()
}

/// What a payload turns into by a shipped profile, with nothing remembered.
fn look(profile: &str, topic: &str, payload: &[u8]) -> Vec<String> {
    let message = Arrived { topic, payload, received_at: RECEIVED, again: false, origin: 0 };
    read(&Profiles::load(&[]).unwrap(), profile, &message, &mut Memory::default())
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(value, &mut out);
    out
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 2, &mut out);
    varint(value.len() as u64, &mut out);
    [out, value.to_vec()].concat()
}

fn double(value: f64) -> Vec<u8> {
    [vec![13 << 3 | 1], value.to_le_bytes().to_vec()].concat()
}

/// A Sparkplug payload of these metrics.
fn payload(timestamp: i64, seq: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let metrics: Vec<u8> = metrics.iter().flat_map(|metric| bytes(2, metric)).collect();
    [number(1, timestamp as u64), metrics, number(3, seq)].concat()
}

#[test]
fn a_senml_name_is_not_cut_inside_a_quantity() {
    let cases = [
        // The leakage of Z1-7, not the lamp current of a stranger called Z1-7:leakage.
        (r#"[{"bn":"Z1-7:","n":"leakage_current","u":"mA","v":120}]"#, "Z1-7 @receipt leakage_ma 120 mA"),
        (r#"[{"bn":"Z1-7:","n":"touch_voltage","u":"V","v":48}]"#, "Z1-7 @receipt shell_v 48 V"),
        (r#"[{"bn":"Z1-7/","n":"contact_voltage","u":"V","v":48}]"#, "Z1-7 @receipt shell_v 48 V"),
        (r#"[{"bn":"Z1-7:","n":"body_voltage","u":"V","v":48}]"#, "quarantined no_measurement"),
        (r#"[{"n":"Z1-7_voltage","u":"V","v":228}]"#, "quarantined no_measurement"),
        (r#"[{"bn":"Z1_leakage_","n":"current","u":"A","v":0.12}]"#, "quarantined no_measurement"),
        // Between base name and name everything parts, also nothing.
        (r#"[{"bn":"Z1-7_","n":"voltage","u":"V","v":228}]"#, "Z1-7 @receipt supply_v 228 V"),
        (r#"[{"bn":"Z1-7","n":"-voltage","u":"V","v":228}]"#, "Z1-7 @receipt supply_v 228 V"),
        (r#"[{"bn":"Z1-7","n":"voltage","u":"V","v":228}]"#, "Z1-7 @receipt supply_v 228 V"),
        (r#"[{"bn":"Z1-7.voltage","u":"V","v":228}]"#, "Z1-7 @receipt supply_v 228 V"),
        (r#"[{"n":"Z1-7:a.voltage","u":"V","v":228}]"#, "Z1-7:a @receipt supply_v 228 V"),
    ];
    for (payload, expected) in cases {
        assert_eq!(look("senml", "x", payload.as_bytes()), [expected], "{payload}");
    }
}

#[test]
fn of_two_values_a_glitch_out_of_range_does_not_erase_the_danger() {
    let pack = |values: [&str; 2]| {
        let records = values.map(|v| format!(r#"{{"n":"A:shell","u":"V","v":{v}}}"#)).join(",");
        look("senml", "x", format!("[{records}]").as_bytes())
    };
    assert_eq!(pack(["48", "9999"]), ["A @receipt shell_v 48 V ?out_of_range,bad_field"]);
    assert_eq!(pack(["9999", "48"]), ["A @receipt shell_v 48 V ?out_of_range"]);
    let leakage = br#"[{"n":"A:leakage","u":"mA","v":9999},{"n":"A:leakage","u":"mA","v":1}]"#;
    assert_eq!(look("senml", "x", leakage), ["A @receipt ?saturated"]);
}

#[test]
fn all_ones_of_a_shell_voltage_that_may_be_so_are_kept_and_marked() {
    let profiles = profiles_of(
        r#"
        [[profile]]
        name = "millivolts"
        decoder = "frame"
        frame = { encoding = "raw" }
        device = { from = "topic:0" }
        fields = [{ at = 0, as = "u16", to = "shell_v", scale = 0.001 }, { at = 2, as = "i16", to = "supply_v", scale = 0.01 }]
        [[profile]]
        name = "signed"
        decoder = "frame"
        frame = { encoding = "raw" }
        device = { from = "topic:0" }
        fields = [{ at = 0, as = "i16", to = "shell_v", unit = "mV" }, { at = 2, as = "u16", to = "leakage_ma" }]
        [[profile]]
        name = "json"
        decoder = "json"
        device = { from = "topic:0" }
        fields = [{ path = "/v", to = "shell_v", scale = 0.001 }]
    "#,
    );
    let look = |profile, payload: &[u8]| {
        let message = Arrived { topic: "A", payload, received_at: RECEIVED, again: false, origin: 0 };
        read(&profiles, profile, &message, &mut Memory::default())
    };
    assert_eq!(
        look("millivolts", &[0xff, 0xff, 0x7f, 0xff]),
        ["A @receipt shell_v 65.535 V ?out_of_range,bad_field"]
    );
    assert_eq!(
        look("signed", &[0x7f, 0xff, 0, 5]),
        ["A @receipt leakage_ma 5 mA, shell_v 32.767 V ?bad_field"]
    );
    assert_eq!(look("signed", &[0x80, 0x00, 0xff, 0xff]), ["A @receipt ?out_of_range,saturated"]);
    assert_eq!(look("json", br#"{"v":65535}"#), ["A @receipt shell_v 65.535 V ?bad_field"]);
    assert_eq!(look("json", br#"{"v":4294967295}"#), ["quarantined no_measurement"]);
}

#[test]
fn leakage_beyond_all_numbers_is_saturated() {
    let metric = |value| vec![[bytes(1, b"leakage_ma"), number(4, 10), double(value)].concat()];
    let sparkplug =
        |value| look("sparkplug", "spBv1.0/G/DDATA/N/D", &payload(1_795_435_200_000, 0, &metric(value)));
    assert_eq!(sparkplug(f64::INFINITY), ["D @1795435200000 ?saturated,partial"]);
    assert_eq!(sparkplug(1e300), ["D @1795435200000 ?saturated,partial"]);
    assert_eq!(sparkplug(f64::NEG_INFINITY), ["quarantined no_measurement"]);
    assert_eq!(sparkplug(f64::NAN), ["quarantined no_measurement"]);
    // n = "A:leakage_ma", v = +Inf in half precision.
    let cbor = [&[0x81, 0xa2, 0x00, 0x6c], b"A:leakage_ma".as_slice(), &[0x02, 0xf9, 0x7c, 0x00]].concat();
    assert_eq!(look("senml", "x", &cbor), ["A @receipt ?saturated"]);
    let tenths = |value: &str| {
        let payload = format!(r#"{{"device_id":"A","leak_current":{value},"input_voltage":228}}"#);
        look("cn-tenths", "x", payload.as_bytes())
    };
    for over in ["1e300", "\"1e300\"", "\"inf\"", "99999999999999999999999999999999999999.5"] {
        assert_eq!(tenths(over), ["A @receipt supply_v 228 V ?saturated"], "{over}");
    }
    assert_eq!(tenths("-1e300"), ["A @receipt supply_v 228 V ?out_of_range"]);
    assert_eq!(tenths("0e300"), ["A @receipt leakage_ma 0 mA, supply_v 228 V"]);
    let base = br#"[{"bn":"A:","bv":1,"n":"leakage_ma","v":1e300}]"#;
    assert_eq!(look("senml", "x", base), ["A @receipt ?saturated"]);
    let profiles = profiles_of(
        "[[profile]]\nname = \"f\"\ndecoder = \"frame\"\nframe = { encoding = \"raw\" }\ndevice = { from = \"topic:0\" }\n\
         fields = [{ at = 0, as = \"f32\", to = \"leakage_ma\" }]",
    );
    let infinite = f32::INFINITY.to_be_bytes();
    let message = Arrived { topic: "A", payload: &infinite, received_at: RECEIVED, again: false, origin: 0 };
    assert_eq!(read(&profiles, "f", &message, &mut Memory::default()), ["A @receipt ?saturated"]);
}

#[test]
fn bits_of_a_flag_are_read_in_quotes_and_with_a_sign() {
    let tenths = |state: &str| {
        let payload = format!(r#"{{"device_id":"A","input_voltage":228,"alarm_state":{state}}}"#);
        look("cn-tenths", "x", payload.as_bytes()).concat()
    };
    assert!(tenths(r#""3""#).ends_with("!leak_alarm,shell_alarm"));
    assert!(tenths("-32767").ends_with("!leak_alarm"), "bit 15 as a sign, and bit 0");
    for nothing in ["-1", "\"--\"", "\"x\"", "null", "2.5", "0", "4"] {
        assert!(tenths(nothing).ends_with("supply_v 228 V"), "{nothing}: {}", tenths(nothing));
    }
    let profiles = profiles_of(
        r#"
        [[profile]]
        name = "words"
        decoder = "frame"
        frame = { encoding = "raw" }
        device = { from = "topic:0" }
        fields = [{ at = 0, as = "u8", to = "supply_v" }]
        flags = [{ at = 1, as = "i16", bit = 15, to = "leak_alarm" }, { at = 1, as = "i16", bit = 0, to = "shell_alarm" }]
        [[profile]]
        name = "plain"
        decoder = "json"
        device = { from = "topic:0" }
        fields = [{ path = "/v", to = "supply_v" }]
        flags = [{ path = "/f", to = "leak_alarm" }]
    "#,
    );
    let look = |profile, payload: &[u8]| {
        let message = Arrived { topic: "A", payload, received_at: RECEIVED, again: false, origin: 0 };
        read(&profiles, profile, &message, &mut Memory::default()).concat()
    };
    assert_eq!(look("words", &[228, 0x80, 0x01]), "A @receipt supply_v 228 V !leak_alarm,shell_alarm");
    assert_eq!(look("words", &[228, 0x80, 0x00]), "A @receipt supply_v 228 V !leak_alarm");
    assert_eq!(look("words", &[228, 0xff, 0xff]), "A @receipt supply_v 228 V", "every bit: not read");
    for (word, set) in [
        ("ok", false),
        ("Clear", false),
        ("unknown", false),
        ("--", false),
        ("0.0", false),
        ("n/a", false),
        ("alarm", true),
        ("1", true),
        ("leak", true),
    ] {
        let said = look("plain", format!(r#"{{"v":228,"f":"{word}"}}"#).as_bytes());
        assert_eq!(said.ends_with("!leak_alarm"), set, "{word}");
    }
}

#[test]
fn a_base_label_that_cannot_be_read_gives_its_values_to_nobody_else() {
    let first = r#"{"bn":"Z1-1:","n":"leakage_ma","v":40}"#;
    for broken in [r#""bn":17"#, r#""bv":"20""#, r#""bt":"2026-11-23""#, r#""bu":[]"#, r#""bver":"10""#] {
        let pack = format!(r#"[{first},{{{broken},"n":"leakage_ma","v":1}},{{"n":"shell_v","v":3}}]"#);
        assert_eq!(
            look("senml", "x", pack.as_bytes()),
            ["Z1-1 @receipt leakage_ma 40 mA", "quarantined format"],
            "{broken}"
        );
        let alone = format!(r#"[{{{broken},"n":"Z1-2:leakage_ma","v":1}}]"#);
        assert_eq!(look("senml", "x", alone.as_bytes()), ["quarantined format"], "{broken}");
    }
    let null = format!(r#"[{first},{{"bn":null,"bt":null,"n":"shell_v","v":3}}]"#);
    assert_eq!(look("senml", "x", null.as_bytes()), ["Z1-1 @receipt leakage_ma 40 mA, shell_v 3 V"]);
    // bn as a text in pieces: not the device before.
    let text = |text: &str| [vec![0x60 | text.len() as u8], text.as_bytes().to_vec()].concat();
    let one = [vec![0xa3, 0x21], text("A:"), vec![0x00], text("leakage_ma"), vec![0x02, 0x18, 40]].concat();
    let two = [vec![0xa3, 0x21, 0x7f], text("B:"), vec![0xff, 0x00], text("shell_v"), vec![0x02, 1]].concat();
    let pack = [vec![0xd9, 0xd9, 0xf7, 0x82], one, two].concat();
    assert_eq!(look("senml", "x", &pack), ["A @receipt leakage_ma 40 mA", "quarantined format"]);
}

#[test]
fn a_broken_neighbour_costs_a_dangerous_value_nothing() {
    let leakage = [bytes(1, b"leakage_ma"), number(4, 10), double(120.0)].concat();
    let bad_name = [bytes(1, &[0xff, 0xfe]), number(4, 10), double(1.0)].concat();
    let cut = vec![0x0a, 0x7f, b'b', b'd', b'S', b'e', b'q'];
    let both = payload(1_795_435_200_000, 0, &[bad_name.clone(), leakage, cut.clone()]);
    let said = ["D @1795435200000 leakage_ma 120 mA ?partial", "quarantined format", "quarantined format"];
    assert_eq!(look("sparkplug", "spBv1.0/G/DDATA/N/D", &both), said);
    let alone = payload(1_795_435_200_000, 0, &[bad_name]);
    assert_eq!(look("sparkplug", "spBv1.0/G/DDATA/N/D", &alone), ["quarantined format"]);
    // Whole numbers below zero in the field of the long ones.
    let cold = [bytes(1, b"temperature_c"), number(4, 2), number(11, 0xffff_ffff_ffff_fffb)].concat();
    let cold = payload(1_795_435_200_000, 0, &[cold]);
    assert_eq!(
        look("sparkplug", "spBv1.0/G/DDATA/N/D", &cold),
        ["D @1795435200000 temperature_c -5 °C ?partial"]
    );
    // An outer frame that is broken refuses the birth before anything of it is learned.
    let mut memory = Memory::default();
    let named = [bytes(1, b"leakage_ma"), number(2, 7), number(4, 10), double(1.0)].concat();
    let birth = [payload(1_795_435_200_000, 0, &[named]), vec![0x12, 0x7f]].concat();
    let message = Arrived {
        topic: "spBv1.0/G/NBIRTH/N",
        payload: &birth,
        received_at: RECEIVED,
        again: false,
        origin: 0,
    };
    assert_eq!(
        read(&Profiles::load(&[]).unwrap(), "sparkplug", &message, &mut memory),
        ["quarantined format"]
    );
    assert_eq!(memory.size(), (0, 0, 0));

    let json = br#"[{"n":"A:leakage_ma","v":120},7,{"n":3,"v":1},{"n":"A:shell_v","v":30}]"#;
    let said = ["A @receipt leakage_ma 120 mA, shell_v 30 V", "quarantined not_object", "quarantined format"];
    assert_eq!(look("senml", "x", json), said);
    assert_eq!(look("senml", "x", b"[7,8]"), ["quarantined not_object"]);
    // n = "A:leakage_ma", v = 120, a number for a record, and a name that is not UTF-8.
    let good = [&[0xa2, 0x00, 0x6c], b"A:leakage_ma".as_slice(), &[0x02, 0x18, 120]].concat();
    let cbor = [vec![0x83], good, vec![0x07], vec![0xa2, 0x00, 0x62, 0xff, 0xfe, 0x02, 0x01]].concat();
    let said = ["A @receipt leakage_ma 120 mA", "quarantined not_object", "quarantined format"];
    assert_eq!(look("senml", "x", &cbor), said);
}

#[test]
fn kept_data_with_a_broken_clock_is_no_value_of_this_moment() {
    let history = |time: &str| {
        let kept = format!(r#"[{{"timestamp":{time},"leakage_status":"normal"}}]"#);
        let payload = format!(r#"{{"deviceInfo":{{"devEui":"A"}},"object":{{"history":{kept}}}}}"#);
        look("milesight", "x", payload.as_bytes())
    };
    assert_eq!(history("1795427600"), ["A @1795427600000 immersed 0 ^backfill"]);
    for broken in ["0", "86400", "1795440000", "null"] {
        assert_eq!(history(broken), ["quarantined undated"], "{broken}");
    }
    let stored = |at: u64| {
        let metric =
            [bytes(1, b"leakage_ma"), number(3, at), number(4, 10), number(5, 1), double(0.1)].concat();
        look("sparkplug", "spBv1.0/G/DDATA/N/D", &payload(1_795_435_200_000, 0, &[metric]))
    };
    assert_eq!(stored(1_795_431_600_000), ["D @1795431600000 leakage_ma 0.1 mA ?partial ^backfill"]);
    assert_eq!(stored(0), ["quarantined undated"]);
    assert_eq!(stored(1_795_440_000_000), ["quarantined undated"]);
}

#[test]
fn births_told_again_and_deaths_of_nobody_knows_which_session_make_no_node_deaf() {
    let profiles = Profiles::load(&[]).unwrap();
    let mut memory = Memory::default();
    let mut send = |topic: &str, payload: &[u8]| {
        let message = Arrived { topic, payload, received_at: RECEIVED, again: false, origin: 0 };
        let said = read(&profiles, "sparkplug", &message, &mut memory);
        (said.concat(), memory.take_gap().map(|gap| gap.missing))
    };
    let born = 1_795_435_200_000;
    let bd_seq = |n| [bytes(1, b"bdSeq"), number(2, 1), number(4, 8), number(11, n)].concat();
    let told = [bytes(1, b"leakage_ma"), number(2, 7), number(4, 10), double(0.5)].concat();
    let data = |seq| payload(born + 9_000, seq, &[[number(2, 7), double(120.0)].concat()]);
    let (nbirth, dbirth) = (payload(born, 0, &[bd_seq(4)]), payload(born + 1, 1, &[told]));
    let read_well = |said: (String, Option<u64>)| {
        assert_eq!(said, ("D @1795435209000 leakage_ma 120 mA ?partial".to_owned(), None));
    };
    // The device's birth overtakes the node's, as it may where a broker keeps both.
    let kept = "$sparkplug/certificates/spBv1.0/G";
    send(&format!("{kept}/DBIRTH/N/D"), &dbirth);
    send(&format!("{kept}/NBIRTH/N"), &nbirth);
    read_well(send("spBv1.0/G/DDATA/N/D", &data(200)));
    // Told again by the broker: number 0 behind 200 is no gap.
    send(&format!("{kept}/NBIRTH/N"), &nbirth);
    send("spBv1.0/G/NBIRTH/N", &nbirth);
    read_well(send("spBv1.0/G/DDATA/N/D", &data(201)));
    send(&format!("{kept}/NBIRTH/N"), &payload(born - 60_000, 0, &[bd_seq(3)]));
    read_well(send("spBv1.0/G/DDATA/N/D", &data(202)));
    // Wills: of another session, by alias; of nobody knows which; then the right one.
    let will = |n| payload(born, 0, &[[number(2, 1), number(11, n)].concat()]);
    send("spBv1.0/G/NDEATH/N", &will(3));
    send("spBv1.0/G/NDEATH/N", &payload(born, 0, &[]));
    read_well(send("spBv1.0/G/DDATA/N/D", &data(203)));
    send("spBv1.0/G/NDEATH/N", &will(4));
    assert_eq!(send("spBv1.0/G/DDATA/N/D", &data(204)).0, "quarantined unknown_alias");
}

#[test]
fn a_meter_answers_from_any_address() {
    let mut answer = include_bytes!("../../tests/data/pzem_answer.bin").to_vec();
    for address in [0x02, 0xf7, 0xf8] {
        answer[0] = address;
        let body = answer.len() - 2;
        let sum = frame::crc16(&answer[..body]);
        answer[body..].copy_from_slice(&sum.to_le_bytes());
        let said = look("pzem-004t", "box-3/up", &answer).concat();
        assert!(said.starts_with("box-3 @receipt supply_v 220 V"), "{address:#04x}: {said}");
    }
    answer[1] = 0x03;
    let body = answer.len() - 2;
    let sum = frame::crc16(&answer[..body]);
    answer[body..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(look("pzem-004t", "box-3/up", &answer), ["quarantined format"]);
}
