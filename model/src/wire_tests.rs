//! The canonical payload: what is read, what is mended, what is refused.

use proptest::prelude::*;

use super::*;
use crate::units::{Milliamps, Volts};

fn one(payload: &str) -> Reading {
    let mut out = Vec::new();
    decode(payload.as_bytes(), &mut out).unwrap();
    assert_eq!(out.len(), 1, "{payload}");
    out.pop().unwrap().unwrap()
}

fn refused(payload: &[u8]) -> Refusal {
    let mut out = Vec::new();
    match decode(payload, &mut out) {
        Err(refusal) => refusal,
        Ok(_) => out.pop().unwrap().unwrap_err(),
    }
}

const FULL: &str = r#"{"ts":1760710920123,"seq":18231,"boot":7,"cause":"periodic",
 "leakage_ma":0.82,"shell_v":0.4,"supply_v":228.4,"neutral_v":1.2,"supply":"on",
 "lamp_a":0.52,"lamp_w":118.0,"power_factor":0.97,"energy_kwh":812.4,"earth_ohm":3.1,
 "immersed":false,"water_mm":0,"tilt_deg":0.3,"impact":false,"door_open":false,
 "temperature_c":14.2,"humidity_pct":91,"battery_v":3.6,"rssi_dbm":-87,"flags":["leak_alarm"]}"#;

#[test]
fn the_payload_of_the_contract_is_read_whole() {
    let reading = one(FULL);
    assert_eq!(reading.ts, Some(Timestamp(1_760_710_920_123)));
    assert_eq!((reading.seq, reading.boot), (Some(18_231), Some(7)));
    assert_eq!(reading.leakage(), Some(Milliamps::milli(820)));
    assert_eq!(reading.shell(), Some(Volts::milli(400)));
    assert_eq!(reading.fields.get(Field::RssiDbm), Some(-87_000));
    assert_eq!(reading.fields.flag(Field::Supply), Some(true));
    assert_eq!(reading.fields.flag(Field::Immersed), Some(false));
    assert_eq!(reading.fields.iter().count(), 19);
    assert_eq!((reading.unknown_keys, reading.marks), (0, Marks::default()));
    assert!(reading.flags.has(Flags::LEAK_ALARM));
}

#[test]
fn what_the_canonical_writer_prints_reads_back_the_same() {
    let reading = one(FULL);
    assert_eq!(one(&to_json(&reading).to_string()), reading);
}

#[test]
fn null_empty_dashes_and_nan_texts_mean_not_measured_which_is_not_zero() {
    for word in ["null", "\"\"", "\"--\"", "\"NaN\"", "\"nan\""] {
        let reading = one(&format!(r#"{{"leakage_ma":{word},"shell_v":"12.5"}}"#));
        assert_eq!(reading.leakage(), None, "{word}");
        assert_eq!(reading.shell(), Some(Volts::milli(12_500)));
        assert_eq!(reading.marks, Marks::default(), "{word}");
    }
}

#[test]
fn a_dangerous_value_beside_a_bare_nan_is_read() {
    let mut out = Vec::new();
    let payload = br#"{"lamp_w":NaN,"seq":00000123,"boot":1,"leakage_ma":045.5,"device":"a\"NaN 007"}"#;
    assert_eq!(decode(payload, &mut out), Ok(Mended { not_a_number: true, leading_zero: true }));
    assert_eq!(out, [Err(Refusal::BadDevice)], "texts are left as they are");
    let reading = one(r#"{"lamp_w":-Infinity,"seq":00000123,"boot":1,"leakage_ma":045.5,"water_mm":0}"#);
    assert_eq!((reading.leakage(), reading.seq), (Some(Milliamps::milli(45_500)), Some(123)));
    assert!(reading.marks.has(Marks::MENDED));
}

#[test]
fn a_bad_field_costs_itself_alone() {
    let reading = one(r#"{"leakage_ma":{"v":1},"shell_v":[3],"supply_v":"abc","lamp_w":60,"colour":"red"}"#);
    assert_eq!(reading.fields.iter().collect::<Vec<_>>(), [(Field::LampW, 60_000)]);
    assert!(reading.marks.has(Marks::BAD_FIELD));
    assert_eq!(reading.unknown_keys, 1);
}

#[test]
fn of_a_key_that_comes_twice_the_worse_value_stays() {
    assert_eq!(one(r#"{"leakage_ma":80,"leakage_ma":0.1}"#).leakage(), Some(Milliamps::whole(80)));
    assert_eq!(one(r#"{"leakage_ma":0.1,"leakage_ma":80}"#).leakage(), Some(Milliamps::whole(80)));
    let glitch = one(r#"{"shell_v":48,"shell_v":9999}"#);
    assert_eq!(glitch.shell(), Some(Volts::whole(48)), "a glitch out of range erases no danger");
    assert!(glitch.marks.has(Marks::OUT_OF_RANGE));
    let over = one(r#"{"leakage_ma":9999,"leakage_ma":1}"#);
    assert!(over.leakage().is_none() && over.marks.has(Marks::SATURATED));
}

#[test]
fn a_leakage_beyond_all_numbers_is_saturated_and_one_below_them_is_not() {
    for value in
        ["1e300", "\"1e300\"", "9223372036854775807", "\"Infinity\"", "Infinity", "18446744073709551615"]
    {
        let reading = one(&format!(r#"{{"leakage_ma":{value},"supply_v":228}}"#));
        assert!(reading.leakage().is_none() && reading.marks.has(Marks::SATURATED), "{value}");
    }
    for value in ["-1e300", "\"-1e300\"", "-Infinity", "NaN", "\"-inf\""] {
        let reading = one(&format!(r#"{{"leakage_ma":{value},"supply_v":228}}"#));
        assert!(reading.leakage().is_none() && !reading.marks.has(Marks::SATURATED), "{value}");
    }
}

#[test]
fn times_come_as_numbers_of_any_size_as_rfc_3339_or_not_at_all() {
    let ms = Some(Timestamp(1_760_710_920_000));
    for text in
        ["1760710920", "1760710920000", "\"1760710920\"", "\"2025-10-17T14:22:00Z\"", "1760710920000000"]
    {
        assert_eq!(one(&format!(r#"{{"ts":{text},"shell_v":1}}"#)).ts, ms, "{text}");
    }
    assert_eq!(one(r#"{"ts":null,"shell_v":1}"#).ts, None);
    let broken = one(r#"{"ts":"yesterday","shell_v":1}"#);
    assert!(broken.ts.is_none() && broken.marks.has(Marks::CLOCK));
}

#[test]
fn a_batch_keeps_its_good_readings_beside_the_refused_ones() {
    let mut out = Vec::new();
    let payload =
        br#"[{"device":"a","shell_v":1},7,{"device":"a b","shell_v":1},{"x":1},{"device":"b","shell_v":2}]"#;
    decode(payload, &mut out).unwrap();
    let words: Vec<&str> = out.iter().map(|r| r.as_ref().map_or_else(|e| e.word(), |_| "ok")).collect();
    assert_eq!(words, ["ok", "not_object", "bad_device", "no_measurement", "ok"]);
}

#[test]
fn a_payload_that_is_refused_leaves_nothing_behind() {
    for payload in ["[{\"leakage_ma\":1},{\"leak", "[{\"leakage_ma\":1}}", "[{\"leakage_ma\":NaN},x"] {
        let mut out = vec![Err(Refusal::Empty)];
        assert_eq!(decode(payload.as_bytes(), &mut out), Err(Refusal::Json), "{payload}");
        assert_eq!(out, [Err(Refusal::Empty)], "{payload}");
    }
}

#[test]
fn a_batch_beyond_its_limit_is_refused_from_there_on() {
    let payload = format!("[{}]", vec![r#"{"shell_v":1}"#; BATCH_MAX + 2].join(","));
    let mut out = Vec::new();
    decode(payload.as_bytes(), &mut out).unwrap();
    assert_eq!(out.iter().filter(|r| r.is_ok()).count(), BATCH_MAX);
    assert_eq!(out.iter().filter(|r| **r == Err(Refusal::BatchTooLong)).count(), 1);
}

#[test]
fn every_refusal_has_its_reason() {
    assert_eq!(refused(b""), Refusal::Empty);
    assert_eq!(refused(b"  \n"), Refusal::Empty);
    assert_eq!(refused(b"{\"shell_v\":1"), Refusal::Json);
    assert_eq!(refused(b"{\"a\":\"\xff\xfe\"}"), Refusal::Utf8);
    assert_eq!(refused(b"\"hello\""), Refusal::NotObject);
    assert_eq!(refused(b"12"), Refusal::NotObject);
    assert_eq!(refused(b"{}"), Refusal::NoMeasurement);
    assert_eq!(refused(&[b'['; 10_000]), Refusal::Json);
    assert_eq!(refused(format!("{}{}", "[".repeat(9000), "]".repeat(9000)).as_bytes()), Refusal::NotObject);
    assert_eq!(
        refused(format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)).as_bytes()),
        Refusal::Nesting
    );
    let words: std::collections::HashSet<&str> = REFUSALS.iter().map(|r| r.word()).collect();
    assert_eq!(words.len(), REFUSALS.len());
}

#[test]
fn topics_are_read_by_their_grammar() {
    assert_eq!(parse_topic("lamp/z1/P1/reading"), Some(Topic::Reading { zone: "z1", device: "P1" }));
    assert_eq!(parse_topic("lamp/z1/P1/status"), Some(Topic::Status { zone: "z1", device: "P1" }));
    assert_eq!(parse_topic("weather/all/rain"), Some(Topic::Weather { zone: "all" }));
    for other in ["lamp/z1/P1", "lamp/z1/P1/reading/x", "weather/z1/rain/x", "tele/x/SENSOR", ""] {
        assert_eq!(parse_topic(other), None, "{other}");
    }
}

#[test]
fn filters_match_as_mqtt_says() {
    let cases = [
        ("lamp/+/+/reading", "lamp/z1/P1/reading", true),
        ("lamp/#", "lamp", true),
        ("lamp/#", "lamp/a/b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("lamp/+", "lamp/a/b", false),
        ("lamp/a", "lamp/a/", false),
    ];
    for (filter, topic, fits) in cases {
        assert_eq!(filter_matches(filter, topic), fits, "{filter} {topic}");
    }
    assert!(is_filter("a/+/#") && !is_filter("a/#/b") && !is_filter("a/b+") && !is_filter(""));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, &mut Vec::new());
    }

    #[test]
    fn no_text_that_looks_like_json_makes_the_decoder_panic(text in r#"[\[\]{}",:0-9.eE+\-NaInfty_lshv ]{0,80}"#) {
        let _ = decode(text.as_bytes(), &mut Vec::new());
    }

    #[test]
    fn every_thousandth_reads_exactly(value in 0i64..5_000_000) {
        let text = crate::units::Thousandths(value).to_string();
        let number = one(&format!(r#"{{"leakage_ma":{text}}}"#)).leakage();
        let quoted = one(&format!(r#"{{"leakage_ma":"{text}"}}"#)).leakage();
        prop_assert_eq!(number, Some(Milliamps::milli(value)));
        prop_assert_eq!(quoted, Some(Milliamps::milli(value)));
    }
}
