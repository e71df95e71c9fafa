//! A connection per post, by the built program: against our own listener and a real Mosquitto; live control.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::mqtt::packet;
use common::process::{Program, program, run, texts};
use common::{Mosquitto, Mqtt, Site, free_port, http, seconds, wait_until};
use serde_json::{Value, json};

/// A simulated city with live control.
struct City {
    process: Program,
    control: String,
}

impl City {
    fn start(broker: u16, more: &[&str]) -> Self {
        let port = free_port();
        // Every post has a sensor, no cabinet has one: as many connections as posts.
        let home = tempfile::tempdir().unwrap();
        let params = home.path().join("params.toml");
        std::fs::write(&params, "[fleet]\nno_sensor = 0.0\ncabinet_sensors = 0.0\n").unwrap();
        let mut command = program();
        command.args(["simulate", "--clients", "posts", "--broker", &format!("mqtt://127.0.0.1:{broker}")]);
        command.args(["--control", &format!("127.0.0.1:{port}")]).args(more).arg("--params").arg(&params);
        let mut process = Program::start("lampguard simulate", command);
        let control = format!("http://127.0.0.1:{port}");
        wait_until("live control", seconds(20), || {
            assert!(process.is_alive(), "{}", process.stderr());
            http::try_get(&control, None).is_ok()
        });
        Self { process, control }
    }

    fn state(&self) -> Value {
        http::try_get(&format!("{}/state", self.control), None).unwrap().json()
    }

    fn number(&self, part: &str, key: &str) -> u64 {
        self.state()[part][key].as_u64().unwrap()
    }

    fn wait_for(&self, part: &str, key: &str, number: u64) {
        wait_until(&format!("{number} {part}.{key}"), seconds(30), || self.number(part, key) == number);
    }
}

/// Status topics by their payload, as a subscriber gets them until there are so many.
fn statuses(subscriber: &mut Mqtt, payload: &[u8], count: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    wait_until(&format!("{count} statuses"), seconds(15), || {
        while let Ok(packet) = subscriber.next(Duration::from_millis(50)) {
            let length = usize::from(packet.body[1]);
            if packet.first >> 4 == 3 && packet.body[2 + length..] == *payload {
                found.insert(String::from_utf8(packet.body[2..2 + length].to_vec()).unwrap());
            }
        }
        found.len() >= count
    });
    found
}

fn subscriber(port: u16, client_id: &str) -> Mqtt {
    let mut subscriber = Mqtt::connect(port, client_id);
    let filter = b"lamp/+/+/status";
    subscriber.send(&packet(0x82, &[&[0, 1, 0, filter.len() as u8], &filter[..], &[0]].concat()));
    assert_eq!(subscriber.next(seconds(10)).unwrap().first, 0x90);
    subscriber
}

#[test]
fn mosquitto_keeps_the_status_of_every_post_and_says_offline_for_those_that_vanish() {
    let Some(broker) = Mosquitto::start_bare() else { return };
    let mut city = City::start(broker.port, &["--posts", "30", "--start-in", "600"]);
    city.wait_for("connections", "up", 30);
    let online = statuses(&mut subscriber(broker.port, "early"), b"online", 30);
    assert!(online.iter().all(|topic| topic.starts_with("lamp/z")), "{online:?}");
    let mut watching = subscriber(broker.port, "watching");
    city.process.kill();
    assert_eq!(statuses(&mut watching, b"offline", 30), online);
    let retained = statuses(&mut subscriber(broker.port, "late"), b"offline", 30);
    assert_eq!(retained, online, "who comes later sees them offline too");
}

#[test]
fn a_killed_listener_gets_all_its_sensors_back_and_has_every_reading_once() {
    kill_and_come_back(&[]);
}

#[test]
fn a_killed_listener_gets_all_its_sensors_of_mqtt_5_back_and_has_every_reading_once() {
    kill_and_come_back(&["--mqtt5"]);
}

fn kill_and_come_back(more: &[&str]) {
    let site = Site::new();
    let mut lampguard = site.start();
    let posts = ["--posts", "200", "--herd", "--scenario", "demo"];
    let mut city = City::start(site.listener, &[&posts[..], more].concat());
    city.wait_for("connections", "up", 200);
    wait_until("some readings", seconds(30), || city.number("counts", "readings") > 50);
    lampguard.process.kill();
    wait_until("the links to break", seconds(10), || city.number("connections", "failures") >= 200);
    let lampguard = site.start();
    city.wait_for("connections", "up", 200);
    let before = city.number("counts", "readings");
    wait_until("more readings", seconds(30), || city.number("counts", "readings") > before + 20);
    let state = city.state();
    let (status, _) = city.process.terminate(seconds(10));
    let told = city.process.stderr();
    assert!(status.success() && told.contains("unacknowledged 0  dropped 0"), "{told}");
    let books = lampguard.balanced();
    let count = |key: &str| state["counts"][key].as_u64().unwrap();
    let stored = books["stored"].as_u64().unwrap();
    assert!(stored >= count("readings") - count("out_of_order"), "{books}, but the city says {state}");
    lampguard.stop();
}

#[test]
fn the_bench_of_connections_reaches_all_of_a_few_hundred_and_says_what_one_costs() {
    let home = tempfile::tempdir().unwrap();
    let rows = home.path().join("rows.jsonl");
    let rows = rows.to_str().unwrap();
    let more = ["--against", "listener", "--seconds", "2", "--json", rows];
    let arguments = [&["bench", "connections", "--count", "300"][..], &more[..]].concat();
    let output = run(home.path(), &arguments, seconds(120));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert!(out.starts_with("scenario=connections row=lampguard-listener"), "{out}");
    let row: Value = serde_json::from_str(&std::fs::read_to_string(rows).unwrap()).unwrap();
    assert_eq!((&row["connections"], &row["link_failures"]), (&json!(300.0), &json!(0.0)), "{row}");
    assert!(row.get("limited_by").is_none(), "{row}");
    for side in ["server_kb_per_connection", "client_kb_per_connection"] {
        // A few hundred may fit into memory that the start has left free.
        assert!(row[side].as_f64().is_some_and(|kb| (0.0..200.0).contains(&kb)), "{side}: {row}");
    }
    assert!(row["acknowledged"].as_f64() > Some(0.0) && row["unacknowledged"] == 0.0, "{row}");
    // A reading may come between the last look at the city and its end, twice or late by a quirk.
    let apart = row["received"].as_f64().unwrap() - row["readings"].as_f64().unwrap();
    assert!(apart.abs() <= 2.0, "{row}");
}

#[test]
fn live_control_answers_by_the_built_program_and_takes_loopback_only() {
    let city = City::start(free_port(), &["--posts", "50"]);
    let state = city.state();
    assert_eq!((&state["posts"], &state["connections"]["wanted"]), (&json!(50), &json!(50)), "{state}");
    assert_eq!(state["connections"]["up"], 0, "nobody listens there");
    let drown = format!("{}/drown", city.control);
    let answer = http::try_post(&drown, None, br#"{"post_id":"nowhere"}"#).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{}", answer.text);
    assert!(answer.text.contains("nowhere"), "{}", answer.text);
    assert_eq!(http::try_get(&format!("{}/truth", city.control), None).unwrap().status, 200);

    let home = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 5] = [
        &["--broker", "mqtt://127.0.0.1:1", "--control", "0.0.0.0:0"],
        &["--broker", "mqtt://127.0.0.1:1", "--herd"],
        &["--broker", "mqtt://127.0.0.1:1", "--clients", "posts", "--gateways", "4"],
        &["--out", "x", "--duration", "1", "--clients", "posts"],
        &["--broker", "mqtt://127.0.0.1:1", "--start", "now"],
    ];
    for more in wrong {
        let output = run(home.path(), &[&["simulate"], more].concat(), seconds(20));
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", texts(&output).1);
    }
}

#[test]
fn the_demo_takes_commands_where_it_says() {
    let mut command = program();
    command.args(["demo", "--posts", "20", "--port", "0", "--control-port", "0", "--duration", "20"]);
    let demo = Program::start("lampguard demo", command);
    let mut address = None;
    wait_until("the address of live control", seconds(30), || {
        let out = demo.stdout();
        let line = out.lines().find(|line| line.contains("do something to it:"));
        address =
            line.and_then(|line| Some(line[line.find("http://")?..].split_whitespace().next()?.to_owned()));
        address.is_some()
    });
    let address = address.unwrap();
    let help = http::try_get(&address, None).unwrap();
    assert!(help.status == 200 && help.text.contains("curl"), "{}", help.text);
    let state = http::try_get(&format!("{address}state"), None).unwrap().json();
    assert!(
        (15..=21).contains(&state["posts"].as_u64().unwrap()),
        "posts with a sensor, and a cabinet: {state}"
    );
}
