//! `lampguard demo`: everything in one process, and an incident within a minute.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Instant;

use common::process::{Program, program};
use common::{http, seconds, wait_until};
use serde_json::Value;

/// The word behind a label at the beginning of a line of the demo's introduction.
fn labelled(out: &str, label: &str) -> Option<String> {
    let line = out.lines().find(|line| line.trim_start().starts_with(label))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

#[test]
fn the_demo_shows_its_first_incident_within_a_minute_and_ends_by_itself() {
    let started = Instant::now();
    let mut command = program();
    command.args(["demo", "--posts", "400", "--port", "0", "--duration", "45"]);
    let mut demo = Program::start("lampguard demo", command);
    wait_until("address and token", seconds(30), || {
        labelled(&demo.stdout(), "token").is_some() && labelled(&demo.stdout(), "address").is_some()
    });
    let out = demo.stdout();
    let address = labelled(&out, "address").unwrap();
    let token = labelled(&out, "token").unwrap();
    let root = address.trim_end_matches('/').to_owned();
    let login = out.lines().find(|line| line.starts_with("login ")).unwrap();
    let password = login.split_whitespace().nth(3).unwrap();
    assert_eq!(http::Browser::new(&root).sign_in("admin", password).status, 303, "{login}");
    let items = |path: &str| {
        let answer = http::try_get(&format!("{root}{path}"), Some(&token)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["items"].as_array().unwrap().clone()
    };
    assert_eq!(items("/api/v1/posts?limit=1000").len(), 400);
    wait_until("the first incident", seconds(60).saturating_sub(started.elapsed()), || {
        !items("/api/v1/incidents").is_empty()
    });
    let incident: Value = items("/api/v1/incidents").remove(0);
    assert_eq!(incident["severity"], "P1", "{incident}");
    wait_until("the incident on the console", seconds(5), || {
        demo.stdout().contains(incident["post_id"].as_str().unwrap())
    });
    let status = demo.wait(seconds(60)).expect("the demo goes on after its duration");
    assert!(status.success(), "{status}");
    let out = demo.stdout();
    let closing = out.lines().rev().find(|line| line.contains("balanced")).unwrap_or("");
    assert!(closing.contains("balanced: true"), "{out}");
}

#[test]
fn a_leak_that_is_asked_for_becomes_an_incident_marked_as_simulated_and_stands_in_the_truth() {
    let home = tempfile::tempdir().unwrap();
    let calm = home.path().join("calm.toml");
    let scenario = "name = \"calm\"\nspeed = 60.0\nperiod_s = 5\nhazards_per_1000 = 0.0\nalways_energised = true\nfeed = \"good\"\n";
    std::fs::write(&calm, scenario).unwrap();
    let mut command = program();
    command.args(["demo", "--posts", "200", "--port", "0", "--control-port", "0", "--duration", "120"]);
    command.arg("--scenario").arg(&calm);
    let demo = Program::start("lampguard demo", command);
    let address = |out: &str| {
        let at = out.find("something to it:")?;
        let rest = &out[at + out[at..].find("http://")?..];
        Some(rest.split_whitespace().next()?.trim_end_matches('/').to_owned())
    };
    wait_until("the address of live control", seconds(60), || address(&demo.stdout()).is_some());
    let root = address(&demo.stdout()).unwrap();
    let ask =
        |path: &str, body: &str| http::try_post(&format!("{root}{path}"), None, body.as_bytes()).unwrap();
    // Some posts have no sensor: the first measured one is found by asking for several.
    for post in ["P00011", "P00012", "P00013"] {
        let answer = ask("/leak", &format!(r#"{{"post_id":"{post}","leakage_ma":45}}"#));
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json()["done"].as_str().unwrap().contains("45 mA"));
    }
    let refused = ask("/leak", r#"{"post_id":"P99999","leakage_ma":45}"#);
    assert!(refused.status == 404 && refused.text.contains("P99999"), "{}", refused.text);
    let refused = ask("/rain", r#"{"rain_mm_h":500,"minutes":5}"#);
    assert!(refused.status == 400 && refused.text.contains("the range is 0 to 200"), "{}", refused.text);
    wait_until("the incident on the console", seconds(60), || {
        let out = demo.stdout();
        ["P00011", "P00012", "P00013"].iter().any(|post| {
            out.lines()
                .any(|line| line.contains(post) && line.contains("灯杆漏电") && line.contains("模拟数据"))
        })
    });
    let truth = http::try_get(&format!("{root}/truth"), None).unwrap();
    assert_eq!(
        truth.text.lines().filter(|line| line.contains("\"cause\":\"leak\"")).count(),
        3,
        "{}",
        truth.text
    );
}

#[test]
fn a_demo_on_a_port_in_use_says_so() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let home = tempfile::tempdir().unwrap();
    let output = common::process::run(home.path(), &["demo", "--posts", "20", "--port", &port], seconds(30));
    let (_, err) = common::process::texts(&output);
    assert!(!output.status.success());
    assert!(err.contains(&port), "{err}");
}
