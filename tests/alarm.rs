//! From a dangerous reading to a signed message, and what a crash does to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::process::texts;
use common::{Mqtt, Site, WebhookStub, reading, seconds, wait_until};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "one secret for all tests";

fn publish(site: &Site, post: &str, seq: u64, leakage_ma: f64) {
    let topic = format!("lamp/z1/{post}/reading");
    Mqtt::connect(site.listener, post).publish_and_wait(&topic, reading(1, seq, leakage_ma).as_bytes());
}

fn site_with(stub: &WebhookStub) -> Site {
    let site = Site::new().with(&stub.channel("secret.txt"));
    site.write("secret.txt", &format!("{SECRET}\n"));
    site
}

fn milliseconds(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn two_critical_readings_open_one_incident_that_is_due_in_30_minutes_and_told_with_a_signature() {
    let stub = WebhookStub::start();
    let site = site_with(&stub);
    let lampguard = site.start();
    publish(&site, "P001", 1, 80.0);
    assert_eq!(lampguard.items("/api/v1/incidents").len(), 0, "one sample is not confirmed");
    publish(&site, "P001", 2, 81.0);
    publish(&site, "P001", 3, 82.0);
    wait_until("the webhook", seconds(5), || !stub.opened().is_empty());
    let incidents = lampguard.items("/api/v1/incidents");
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = &incidents[0];
    let (opened, due) = (milliseconds(&incident["opened_at"]), milliseconds(&incident["due_at"]));
    assert_eq!(due - opened, 30 * 60 * 1000);
    let named =
        ["kind", "severity", "post_id", "zone", "state", "signal"].map(|key| incident[key].as_str().unwrap());
    assert_eq!(named, ["leak_critical", "P1", "P001", "z1", "open", "active"]);

    let hook = &stub.opened()[0];
    assert_eq!(hook.signature, signature(&hook.body));
    let told = hook.json();
    assert_eq!((&told["incident"]["id"], &told["drill"]), (&incident["id"], &json!(false)));
    assert_eq!(told["incident"]["due_at"], incident["due_at"]);
    let one = lampguard.json(&format!("/api/v1/incidents/{}", incident["id"].as_str().unwrap()));
    assert!(!one["timeline"].as_array().unwrap().is_empty(), "{one}");
    wait_until("the notice to be noted as sent", seconds(5), || {
        let notices = lampguard.items("/api/v1/notices");
        notices.iter().any(|n| n["incident_id"] == incident["id"] && n["outcome"] == "sent")
    });
    assert_eq!(lampguard.metric("lampguard_alerting_open_incidents"), 1.0);
    assert_eq!(lampguard.metric("lampguard_alerting_alarm_seconds_count"), 1.0);
    let post = lampguard.json("/api/v1/posts/P001");
    assert_eq!((&post["state"], &post["incidents"][0]), (&json!("danger"), &incident["id"]), "{post}");
}

#[test]
fn fault_kill_9_moves_no_deadline_and_opens_no_incident_a_second_time() {
    let stub = WebhookStub::start();
    let site = site_with(&stub);
    let mut lampguard = site.start();
    publish(&site, "P001", 1, 80.0);
    publish(&site, "P001", 2, 81.0);
    // Killed between the opening and its commit, or right after it: a replay has to give the same.
    wait_until("the webhook", seconds(5), || !stub.opened().is_empty());
    let first = stub.opened()[0].json();
    lampguard.process.kill();
    for round in 0..3u64 {
        let mut lampguard = site.start();
        wait_until("the incident after the restart", seconds(10), || {
            lampguard.items("/api/v1/incidents").len() == 1
        });
        publish(&site, "P001", 3 + round, 80.0);
        let incidents = lampguard.items("/api/v1/incidents?state=all");
        assert_eq!(incidents.len(), 1, "{incidents:?}");
        for key in ["id", "opened_at", "due_at"] {
            assert_eq!(incidents[0][key], first["incident"][key], "{key} after restart {round}");
        }
        lampguard.process.kill();
    }
    let lampguard = site.start();
    let ids: std::collections::BTreeSet<String> =
        stub.opened().iter().map(|hook| hook.json()["notice"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "an incident was told as a new one: {ids:?}");
    let opened: Vec<Value> = timeline_of(&lampguard.items("/api/v1/incidents"), &lampguard);
    assert_eq!(opened.iter().filter(|event| event["event"] == "opened").count(), 1, "{opened:?}");
    lampguard.stop();
    let output = site.run(&["audit", "verify"]);
    assert!(output.status.success(), "{}", texts(&output).1);
}

fn timeline_of(incidents: &[Value], lampguard: &common::Lampguard) -> Vec<Value> {
    let id = incidents[0]["id"].as_str().unwrap();
    let one = lampguard.json(&format!("/api/v1/incidents/{id}"));
    one["timeline"].as_array().unwrap().clone()
}

#[test]
fn a_webhook_that_was_down_is_told_later_under_the_same_notice_id() {
    // A port on which nobody listens yet.
    let port = common::free_port();
    let channel = format!(
        "[[channel]]\nid = \"late\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret_file = \"secret.txt\"\n"
    );
    let site = Site::new().with(&channel);
    site.write("secret.txt", SECRET);
    let lampguard = site.start();
    publish(&site, "P001", 1, 80.0);
    publish(&site, "P001", 2, 81.0);
    wait_until("a first failed attempt", seconds(10), || {
        let notices = lampguard.items("/api/v1/notices");
        notices.iter().any(|n| n["event"] == "incident.opened" && n["attempt"].as_u64() >= Some(1))
    });
    let id = lampguard.items("/api/v1/notices")[0]["id"].clone();
    let up = || lampguard.metric("lampguard_alerting_channel_up{channel=\"late\"}");
    assert_eq!(up(), 0.0, "what the rule `system` hears of it");
    let stub = WebhookStub::start_on(port);
    wait_until("the retry", seconds(60), || !stub.opened().is_empty());
    wait_until("the channel to be good again", seconds(5), || up() == 1.0);
    assert_eq!(stub.opened()[0].json()["notice"]["id"], id);
    assert_eq!(lampguard.items("/api/v1/incidents").len(), 1);
}

#[test]
fn retry_moves_a_payload_from_quarantined_to_stored_once_its_profile_is_there() {
    let site = Site::new();
    let lampguard = site.start();
    let mut vendor = Mqtt::connect(site.listener, "vendor");
    let payload = json!({"leak": 301, "at": common::now_ms()}).to_string();
    vendor.publish_and_wait("vendor/P001/up", payload.as_bytes());
    vendor.publish_and_wait("vendor/P001/up", b"{\"leak\":");
    let books = lampguard.balanced();
    assert_eq!(books["quarantined"], json!({"topic": 2}), "{books}");
    // The quarantine follows the journal; what was acknowledged a moment ago may not be in it yet.
    let listed = || texts(&site.run(&["quarantine", "list"])).0.lines().count();
    wait_until("the quarantine to hold both", seconds(5), || listed() == 2);
    let nothing = site.run(&["quarantine", "retry"]);
    assert!(texts(&nothing).0.contains("read after all: 0  still refused: 2"), "{:?}", texts(&nothing));
    lampguard.stop();

    let site =
        site.with_listener("[[listener.mapping]]\nfilter = \"vendor/+/up\"\nprofile = \"vendor\"").with(
            "[[profile]]\nname = \"vendor\"\ndecoder = \"json\"\ndevice = { from = \"topic:1\" }\n\
             fields = [{ path = \"/leak\", to = \"leakage_ma\", scale = 0.1 }]\n\
             time = { path = \"/at\", format = \"number\" }",
        );
    let lampguard = site.start();
    let retried = site.run(&["quarantine", "retry", "--reason", "topic"]);
    assert!(texts(&retried).0.contains("read after all: 1  still refused: 1"), "{:?}", texts(&retried));
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["quarantined"]), (&json!(1), &json!({"topic": 1})), "{books}");
    wait_until("the post to show it", seconds(5), || {
        lampguard.json("/api/v1/posts/P001")["last"]["fields"]["leakage_ma"] == json!(30.1)
    });
    let listed = site.run(&["quarantine", "list"]);
    assert_eq!(texts(&listed).0.lines().count(), 1, "{:?}", texts(&listed));
    // A second retry counts nothing twice, nor does a restart.
    site.run(&["quarantine", "retry"]);
    lampguard.stop();
    let lampguard = site.start();
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["quarantined"]), (&json!(1), &json!({"topic": 1})), "{books}");
}
