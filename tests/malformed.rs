//! What cheap firmware and strangers send, over a real Mosquitto without `max_packet_size`: each payload is
//! counted with its reason, its bytes are kept, and ingest goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;

use common::process::texts;
use common::{Lampguard, Mosquitto, Mqtt, Site, now_ms, reading, seconds, wait_until};
use serde_json::Value;

const TOPIC: &str = "lamp/z1/P001/reading";
const MALFORMED: usize = 2000;

/// Payloads that hold no reading, each with the reason it is to be counted under.
fn specimens() -> Vec<(Vec<u8>, &'static str)> {
    let nested = format!("{{\"flags\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let texts: [(&str, &'static str); 10] = [
        ("{\"leakage_ma\":1", "json"),
        ("leakage=1;shell=2", "json"),
        ("{\"leakage_ma\":1}}", "json"),
        ("", "empty"),
        (" \r\n ", "empty"),
        ("\"text\"", "not_object"),
        ("[1]", "not_object"),
        ("{}", "no_measurement"),
        ("{\"leakage_ma\":\"--\",\"shell_v\":null}", "no_measurement"),
        ("{\"device\":\"no such name!\",\"leakage_ma\":1}", "bad_device"),
    ];
    let mut all: Vec<(Vec<u8>, &'static str)> =
        texts.map(|(text, reason)| (text.as_bytes().to_vec(), reason)).to_vec();
    all.push((b"{\"leakage_ma\":\"\xff\xfe\"}".to_vec(), "utf8"));
    all.push((b"\x00\x01\xc3\x28".to_vec(), "utf8"));
    all.push((nested.into_bytes(), "nesting"));
    all.push((vec![b'['; 5000], "json"));
    all
}

#[test]
fn situation_s32_peer_p3_two_thousand_malformed_payloads_in_a_row_are_counted_and_ingest_goes_on() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = Site::new().with_broker(mosquitto.port, "");
    let lampguard = site.start();
    lampguard.wait_for_broker();
    flood(&site, &lampguard, mosquitto.port);
    assert_eq!(lampguard.metric("lampguard_broker_reconnect_total"), 0.0, "a payload cost the connection");
}

#[test]
fn two_thousand_malformed_payloads_over_the_listener_are_counted_by_reason_too() {
    let site = Site::new();
    let lampguard = site.start();
    flood(&site, &lampguard, site.listener);
}

/// Sends them between two good readings, on one connection.
fn flood(site: &Site, lampguard: &Lampguard, port: u16) {
    let mut sender = Mqtt::connect(port, "sender");
    sender.publish(TOPIC, reading(1, 1, 1.0).as_bytes(), 0);
    let (specimens, mut expected) = (specimens(), BTreeMap::<String, u64>::new());
    for n in 0..MALFORMED {
        let (payload, reason) = &specimens[n % specimens.len()];
        *expected.entry((*reason).to_owned()).or_default() += 1;
        sender.publish(TOPIC, payload, n as u64);
        sender.note_acks(100, seconds(10)).unwrap();
    }
    sender.publish(TOPIC, reading(1, 2, 1.0).as_bytes(), 0);
    assert!(sender.wait_for_acks(seconds(10)), "not everything was acknowledged");

    wait_until("the last good reading", seconds(20), || lampguard.stored() == 2);
    let books = lampguard.balanced();
    let counted: BTreeMap<String, u64> = serde_json::from_value(books["quarantined"].clone()).unwrap();
    assert_eq!(counted, expected, "{books}");
    for (reason, count) in &expected {
        let name = format!("lampguard_ingester_quarantined_total{{reason=\"{reason}\"}}");
        assert_eq!(lampguard.metric(&name), *count as f64, "{name}");
    }
    wait_until("the quarantine to hold them all", seconds(10), || quarantined(site, "").len() == MALFORMED);
    for (reason, count) in expected {
        assert_eq!(quarantined(site, &reason).len() as u64, count, "{reason}");
    }
}

/// `quarantine list` beside the running instance.
fn quarantined(site: &Site, reason: &str) -> Vec<Value> {
    let mut arguments = vec!["quarantine", "list", "--json", "--limit", "10000"];
    if !reason.is_empty() {
        arguments.extend(["--reason", reason]);
    }
    let output = site.run(&arguments);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn payloads_of_11_kib_and_of_2_mib_cost_nobody_else_a_reading() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = Site::new().with_broker(mosquitto.port, "");
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sender = Mqtt::connect(mosquitto.port, "sender");
    let padded = |seq: u64, length: usize| {
        let text = reading(1, seq, 1.0);
        let pad = "x".repeat(length - text.len() - 9);
        text.replacen('{', &format!("{{\"pad\":\"{pad}\","), 1)
    };
    // A good reading with a long unknown key, and 11 KiB of nothing.
    let good = padded(1, 11 << 10);
    assert_eq!(good.len(), 11 << 10);
    sender.publish_and_wait(TOPIC, good.as_bytes());
    sender.publish_and_wait(TOPIC, &vec![b'x'; 11 << 10]);
    wait_until("the 11 KiB ones", seconds(10), || {
        let books = lampguard.accounting();
        books["stored"] == 1 && books["quarantined"]["json"] == 1
    });

    let large = padded(2, 2 << 20);
    sender.publish_and_wait(TOPIC, large.as_bytes());
    for seq in 3..103 {
        sender.publish_and_wait(TOPIC, reading(1, seq, 1.0).as_bytes());
    }
    wait_until("the readings behind the 2 MiB one", seconds(30), || lampguard.stored() == 101);
    let books = lampguard.balanced();
    assert_eq!(books["quarantined"], serde_json::json!({"json": 1, "too_large": 1}), "{books}");
    wait_until("the quarantine to hold it", seconds(5), || quarantined(&site, "too_large").len() == 1);
    let kept = &quarantined(&site, "too_large")[0];
    assert_eq!(kept["full_length"], 2 << 20, "{kept}");
    assert_eq!(kept["topic"], TOPIC);
    assert_eq!(
        lampguard.metric("lampguard_broker_reconnect_total"),
        1.0,
        "one reconnect, and no endless round"
    );
}

#[test]
fn leading_zeros_and_nan_are_mended_counted_and_judged() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = Site::new().with_broker(mosquitto.port, "");
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sender = Mqtt::connect(mosquitto.port, "sender");
    let mut send = |post: &str, fields: &str| {
        let payload = format!("{{\"ts\":{},\"boot\":1,{fields}}}", now_ms());
        sender.publish_and_wait(&format!("lamp/z1/{post}/reading"), payload.as_bytes());
    };
    // Twice dangerous with NaN beside it: confirmed by two samples.
    send("P002", "\"seq\":1,\"leakage_ma\":80,\"shell_v\":NaN,\"temperature_c\":-Infinity");
    send("P002", "\"seq\":2,\"leakage_ma\":80,\"shell_v\":NaN");
    // Once dangerous with the device's own flag.
    send("P003", "\"seq\":1,\"leakage_ma\":80,\"shell_v\":NaN,\"flags\":[\"leak_alarm\"]");
    send("P004", "\"seq\":1,\"leakage_ma\":00000123,\"supply_v\":00000228");
    send("P004", "\"seq\":2,\"leakage_ma\":00000123,\"supply_v\":00000228");
    // Nothing dangerous.
    send("P005", "\"seq\":1,\"leakage_ma\":NaN,\"shell_v\":0.4");

    wait_until("three incidents", seconds(10), || lampguard.items("/api/v1/incidents").len() == 3);
    let incidents = lampguard.items("/api/v1/incidents");
    let of = |post: &str| {
        let found = incidents.iter().find(|incident| incident["post_id"] == post);
        found.unwrap_or_else(|| panic!("no incident at {post}: {incidents:?}"))["evidence"]["value"].clone()
    };
    assert_eq!((of("P002"), of("P003"), of("P004")), (80.0.into(), 80.0.into(), 123.0.into()));
    lampguard.wait_for_stored(6, seconds(10));
    let mended =
        |reason: &str| lampguard.metric(&format!("lampguard_ingester_mended_total{{reason=\"{reason}\"}}"));
    assert_eq!((mended("not_a_number"), mended("leading_zero")), (4.0, 2.0));
    let books = lampguard.balanced();
    assert_eq!(books["quarantined"], serde_json::json!({}), "{books}");
}
