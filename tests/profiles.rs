//! Other people's payloads over a real Mosquitto, by `[[broker.mapping]]`, and `lampguard profile test`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::process::{run, texts};
use common::site::{HEADER, register};
use common::{Lampguard, Mosquitto, Mqtt, Site, now_ms, seconds, wait_until};
use serde_json::{Value, json};

const MAPPINGS: &str = "\
    [[broker.mapping]]\nfilter = \"lamp/+/+/reading\"\nprofile = \"lampguard\"\n\
    [[broker.mapping]]\nfilter = \"tele/+/SENSOR\"\nprofile = \"tasmota\"\n\
    [[broker.mapping]]\nfilter = \"+/events/rpc\"\nprofile = \"shelly-em1\"\n\
    [[broker.mapping]]\nfilter = \"cn/up\"\nprofile = \"cn-tenths\"\n\
    [[broker.mapping]]\nfilter = \"device_report\"\nprofile = \"leakage-box\"\n\
    [[broker.mapping]]\nfilter = \"spBv1.0/G/#\"\nprofile = \"sparkplug\"\n\
    [[broker.mapping]]\nfilter = \"+/up\"\nprofile = \"pzem-004t\"\n";

fn payload(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/ingester/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn last(lampguard: &Lampguard, post: &str) -> Value {
    wait_until(&format!("a reading of {post}"), seconds(10), || {
        lampguard.json(&format!("/api/v1/posts/{post}"))["last"].is_object()
    });
    lampguard.json(&format!("/api/v1/posts/{post}"))["last"].clone()
}

fn site(broker: u16) -> Site {
    let site = Site::new().with_broker(broker, MAPPINGS);
    // Devices with their makers' own names on posts of ours.
    let more =
        [("T1", "tasmota_4B"), ("S1", "shellyem-08f9"), ("C1", "860016"), ("B1", "box-7"), ("K1", "P17")];
    let lines: String = more
        .iter()
        .map(|(post, device)| format!("{post},{device},z1,解放路,1,,F9,C1,113.62,34.75,1,100,false,,\n"))
        .collect();
    assert!(register().starts_with(HEADER));
    site.write("posts.csv", &(register() + &lines));
    site
}

fn tasmota_now() -> String {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let local = zone.to_datetime(jiff::Timestamp::now()).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    format!(
        r#"{{"Time":"{local}","ENERGY":{{"TotalStartTime":"2025-01-01T00:00:00","Total":812.431,"Yesterday":1.2,
        "Today":0.41,"Power":118,"ApparentPower":121,"ReactivePower":27,"Factor":0.97,"Voltage":228,"Current":0.523}}}}"#
    )
}

#[test]
fn tasmota_shelly_chinese_tenths_and_the_leakage_box_arrive_as_readings_of_their_posts() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = site(mosquitto.port);
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sender = Mqtt::connect(mosquitto.port, "sender");
    let seconds_now = now_ms() / 1000;
    sender.publish_and_wait("tele/tasmota_4B/SENSOR", tasmota_now().as_bytes());
    let tenths = format!(
        r#"{{"device_id":"860016","ts":{},"leak_current":"31","pole_leakage_vol":5,"input_voltage":226.5,"alarm_state":0}}"#,
        now_ms()
    );
    sender.publish_and_wait("cn/up", tenths.as_bytes());
    let boxed = format!(
        r#"{{"leakage":{{"id":"box-7","param":{{"time_utc":{seconds_now},"V":0.8,"I":2.25,"R":3.1}}}}}}"#
    );
    sender.publish_and_wait("device_report", boxed.as_bytes());
    sender.publish_and_wait("lamp/z1/P001/reading", common::reading(1, 1, 0.5).as_bytes());

    let fields = last(&lampguard, "T1")["fields"].clone();
    assert_eq!(
        fields,
        json!({"supply_v": 228, "lamp_a": 0.523, "lamp_w": 118, "power_factor": 0.97, "energy_kwh": 812.431})
            .as_object()
            .map(|expected| same_numbers(expected, &fields))
            .unwrap(),
        "tasmota"
    );
    let fields = last(&lampguard, "C1")["fields"].clone();
    assert_eq!(
        (number(&fields, "leakage_ma"), number(&fields, "shell_v")),
        (3.1, 0.5),
        "tenths are exact: {fields}"
    );
    let fields = last(&lampguard, "B1")["fields"].clone();
    assert_eq!((number(&fields, "leakage_ma"), number(&fields, "earth_ohm")), (2.25, 3.1), "{fields}");
    assert_eq!(number(&last(&lampguard, "P001")["fields"], "leakage_ma"), 0.5);
    for post in ["T1", "C1", "B1"] {
        assert_eq!(last(&lampguard, post)["marks"], json!([]), "{post}");
    }
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["quarantined"]), (&json!(4), &json!({})), "{books}");
}

fn number(fields: &Value, name: &str) -> f64 {
    fields[name].as_f64().unwrap_or_else(|| panic!("no {name} in {fields}"))
}

/// The fields as they came, after every expected number was found equal, and no further one.
fn same_numbers(expected: &serde_json::Map<String, Value>, fields: &Value) -> Value {
    for (name, value) in expected {
        assert_eq!(Some(number(fields, name)), value.as_f64(), "{name}");
    }
    assert_eq!(fields.as_object().unwrap().len(), expected.len(), "{fields}");
    fields.clone()
}

#[test]
fn a_partial_shelly_frame_keeps_older_values_and_says_from_when_they_are() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = site(mosquitto.port);
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sender = Mqtt::connect(mosquitto.port, "sender");
    let start = now_ms() as f64 / 1000.0 - 20.0;
    let frame = |ts: f64, em1: &str| {
        format!(
            r#"{{"src":"shellyem-08f9","dst":"x/events","method":"NotifyStatus","params":{{"ts":{ts:.2},"em1:0":{{"id":0,{em1}}}}}}}"#
        )
    };
    let topic = "shellyem-08f9/events/rpc";
    let whole = frame(
        start,
        r#""act_power":118.2,"aprt_power":121.0,"current":0.523,"freq":50.0,"pf":0.97,"voltage":228.4"#,
    );
    sender.publish_and_wait(topic, whole.as_bytes());
    wait_until("the whole frame", seconds(10), || {
        last(&lampguard, "S1")["fields"]["supply_v"] == json!(228.4)
    });
    assert_eq!(last(&lampguard, "S1")["measured_earlier"], json!({}));

    sender.publish_and_wait(topic, frame(start + 10.0, r#""current":0.611"#).as_bytes());
    wait_until("the partial frame", seconds(10), || {
        last(&lampguard, "S1")["fields"]["lamp_a"] == json!(0.611)
    });
    let now = last(&lampguard, "S1");
    assert_eq!(number(&now["fields"], "supply_v"), 228.4, "an unchanged value is left out, not gone: {now}");
    let earlier = now["measured_earlier"].as_object().unwrap();
    let names: Vec<&String> = earlier.keys().collect();
    assert_eq!(names, ["lamp_w", "power_factor", "supply_v"], "{now}");
    let at: jiff::Timestamp = earlier["supply_v"].as_str().unwrap().parse().unwrap();
    let apart = at.as_millisecond() as f64 / 1000.0 - start;
    assert!(apart.abs() < 0.02, "supply_v is said to be from {apart} s after its frame");
    // The history holds what was measured, no more.
    wait_until("two rows", seconds(10), || lampguard.history("S1", "supply_v").len() == 2);
    assert_eq!(lampguard.history("S1", "supply_v")[1][1], Value::Null);
}

#[test]
fn sparkplug_data_waits_for_its_birth_in_quarantine_and_binary_frames_come_through() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = site(mosquitto.port);
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sender = Mqtt::connect(mosquitto.port, "edge");
    sender.publish_and_wait("spBv1.0/G/DDATA/N1/P17", &payload("sparkplug_ddata.bin"));
    sender.publish_and_wait("box-7/up", &payload("pzem_answer.bin"));
    sender.publish_and_wait("box-7/up", &payload("pzem_broken.bin"));
    assert_eq!(number(&last(&lampguard, "B1")["fields"], "supply_v"), 220.0);
    let books = lampguard.balanced();
    let quarantined = json!({"unknown_alias": 1, "checksum": 1});
    assert_eq!((&books["stored"], &books["quarantined"]), (&json!(1), &quarantined), "{books}");
    let doctor = texts(&site.run(&["doctor"])).0;
    let told = doctor.lines().find(|line| line.contains("sparkplug")).unwrap_or_default();
    assert!(told.contains("WARN") && told.contains("1 payload(s)"), "{doctor}");
    for (kind, file) in [("NBIRTH/N1", "sparkplug_nbirth.bin"), ("DBIRTH/N1/P17", "sparkplug_dbirth.bin")] {
        sender.publish_and_wait(&format!("spBv1.0/G/{kind}"), &payload(file));
    }
    wait_until("the births", seconds(10), || lampguard.balanced()["stored"] == json!(3));
    let kept = || texts(&site.run(&["quarantine", "list"])).0.lines().count() == 2;
    wait_until("both payloads in quarantine", seconds(10), kept);
    let retried = texts(&site.run(&["quarantine", "retry", "--reason", "unknown_alias"]));
    assert!(retried.0.contains("read after all: 1  still refused: 0"), "{retried:?}");
    let fields = last(&lampguard, "K1")["fields"].clone();
    assert_eq!((number(&fields, "leakage_ma"), number(&fields, "temperature_c")), (30.1, -6.0), "{fields}");
    // Number 3 of the node came, 2 only out of quarantine: one message may be lost, and is told.
    sender.publish_and_wait("spBv1.0/G/DDATA/N1/P17", &payload("sparkplug_historical.bin"));
    wait_until("what was kept", seconds(10), || lampguard.balanced()["stored"] == json!(7));
    let books = lampguard.balanced();
    assert_eq!(books["quarantined"], json!({"checksum": 1}), "{books}");
    assert_eq!(books["possible_loss"][0]["count"], json!(1), "{books}");
    // The history follows the journal; the newest value, not the one that came last, is what is now.
    let newest = || number(&last(&lampguard, "K1")["fields"], "leakage_ma") == 0.9;
    wait_until("the newest value", seconds(10), newest);
}

#[test]
fn profile_test_shows_what_a_payload_turns_into_and_says_by_its_exit_code_whether_it_did() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("good.json"), tasmota_now()).unwrap();
    std::fs::write(home.path().join("bad.json"), "{\"ENERGY\":").unwrap();
    std::fs::write(home.path().join("empty.json"), "{\"Time\":\"2026-11-23T10:00:00\"}").unwrap();
    let test = |arguments: &[&str]| {
        let output = run(home.path(), &[&["profile", "test"], arguments].concat(), seconds(20));
        let (out, err) = texts(&output);
        (output.status.code(), out, err)
    };
    let (code, out, err) = test(&["tasmota", "good.json", "--topic", "tele/tasmota_4B/SENSOR"]);
    assert_eq!(code, Some(0), "{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(number(&line["reading"], "supply_v"), 228.0, "{line}");
    assert_eq!(line["reading"]["device"], "tasmota_4B", "{line}");
    let (code, out, err) = test(&["tasmota", "bad.json", "--topic", "tele/tasmota_4B/SENSOR"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("quarantined, reason json"), "{err}");
    let (code, _, err) = test(&["tasmota", "empty.json", "--topic", "tele/tasmota_4B/SENSOR"]);
    assert_eq!(code, Some(1), "{err}");
    let (code, out, err) = test(&["tasmota", "good.json", "--topic", "tele/tasmota_4B/SENSOR", "--explain"]);
    assert_eq!(code, Some(0), "{err}");
    let words: Vec<&str> =
        out.lines().find(|line| line.contains("/ENERGY/Voltage")).unwrap().split_whitespace().collect();
    assert_eq!(words, ["/ENERGY/Voltage", "228", "supply_v", "228", "V"], "{out}");
    assert!(
        out.contains("/ENERGY/Today") && out.contains("left: the profile names no field for it"),
        "{out}"
    );
    assert!(out.contains("reading 0: device tasmota_4B, time "), "{out}");
    std::fs::write(home.path().join("data.bin"), payload("sparkplug_ddata.bin")).unwrap();
    std::fs::write(home.path().join("birth.bin"), payload("sparkplug_dbirth.bin")).unwrap();
    let sparkplug = ["sparkplug", "data.bin", "--topic", "spBv1.0/G/DDATA/N1/P17", "--explain"];
    let (code, out, _) = test(&sparkplug);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("alias 10") && out.contains("reason unknown_alias"), "{out}");
    let (code, out, err) = test(&[&sparkplug[..], &["--birth", "birth.bin"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("leakage_ma 30.1 mA") && out.contains("flags leak_alarm, marks partial"), "{out}");
    let (code, _, err) = test(&["sparkplug", "data.bin", "--birth", "birth.bin"]);
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = test(&["no-such", "good.json"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("known are") && err.contains("tasmota"), "{err}");
    let (code, _, err) = test(&["tasmota", "missing.json"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("missing.json"), "{err}");
}
