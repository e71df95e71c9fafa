//! The test of people on duty, of a running instance: told, confirmed by link and by account, kept over a restart.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use base64::Engine as _;
use common::http::{try_get, try_post};
use common::process::texts;
use common::{Lampguard, Site, WebhookStub, now_ms, seconds, wait_until};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The minute of now in Shanghai: its slot has just begun.
fn this_minute() -> String {
    let minute = (now_ms() / 60_000 + 480).rem_euclid(1440);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn site_with(stub: &WebhookStub) -> Site {
    let site = Site::new()
        .with(&stub.channel("secret.txt"))
        .with(&format!("[test_dispatch]\nat = [\"{}\"]\n", this_minute()))
        .with("[desk]\nname = \"night desk\"\nphone = \"13800000000\"\nchannels = [\"stub\"]\n");
    site.write("secret.txt", "a secret of this test\n");
    site
}

fn tests(lampguard: &Lampguard) -> Vec<Value> {
    lampguard.items("/api/v1/test-dispatch")
}

/// The link that the person got, made again from the key of the data directory.
fn link_of(site: &Site, test: &Value) -> String {
    let key = std::fs::read(site.data().join("test_dispatch.key")).unwrap();
    let due = test["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let id = test["id"].as_str().unwrap().strip_prefix("TD-").unwrap();
    let until = (((due + 12 * 3_600_000) / 1000) as u32).to_be_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(b"lampguard test dispatch 2|");
    mac.update(&until);
    mac.update(id.as_bytes());
    let signed = [&until[..], &mac.finalize().into_bytes()[..16]].concat();
    format!("{id}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signed))
}

#[test]
fn a_test_is_told_once_and_confirmed_by_its_link_alone_and_kept_over_a_restart() {
    let stub = WebhookStub::start();
    let site = site_with(&stub);
    let mut lampguard = site.start();
    // The desk hears of hours without a crew, too.
    let told = || {
        let hooks = stub.hooks().into_iter().map(|hook| hook.json());
        hooks.filter(|hook| hook["event"] != "rota.gap").collect::<Vec<_>>()
    };
    wait_until("the test", seconds(10), || tests(&lampguard).len() == 1 && !told().is_empty());
    let hook = told()[0].clone();
    assert_eq!(
        (&hook["event"], &hook["drill"], &hook["notice"]["to"]),
        (&json!("test_dispatch.sent"), &json!(true), &json!("night desk"))
    );
    let test = tests(&lampguard)[0].clone();
    assert_eq!(
        (&test["state"], &test["person"], &test["confirmed_at"]),
        (&json!("waiting"), &json!("night desk"), &Value::Null)
    );
    assert!(!test.to_string().contains("13800000000"), "no telephone numbers in lists");
    lampguard.process.kill();
    let lampguard = site.start();
    let url = format!("{}/t/{}", lampguard.url, link_of(&site, &test));
    for _ in 0..50 {
        let page = try_get(&url, None).unwrap();
        assert!(
            page.status == 200 && page.text.contains("演练") && page.text.contains("<form"),
            "{}",
            page.text
        );
    }
    assert_eq!(
        tests(&lampguard),
        std::slice::from_ref(&test),
        "GET changes nothing, and the kill nothing either"
    );
    for wrong in [format!("{url}0"), url.replace("/t/", "/t/A"), format!("{}/t/x", lampguard.url)] {
        assert_eq!(try_post(&wrong, None, b"").unwrap().status, 404, "{wrong}");
    }
    assert_eq!(try_post(&url, None, b"").unwrap().status, 200);
    let confirmed = tests(&lampguard)[0].clone();
    assert_eq!(
        (&confirmed["state"], &confirmed["via"], &confirmed["due_at"]),
        (&json!("confirmed"), &json!("link"), &test["due_at"])
    );
    assert!(!try_get(&url, None).unwrap().text.contains("<form"), "nothing is left to do");
    std::thread::sleep(seconds(2));
    assert_eq!(told().len(), 1, "nobody is told a second time");
    assert!(lampguard.items("/api/v1/incidents?state=all").is_empty());
    lampguard.stop();
    let record = texts(&site.run(&["audit", "verify"])).0;
    assert!(record.contains("test_dispatch") && record.contains("test_confirmed"), "{record}");
}

#[test]
fn the_desk_confirms_for_whoever_calls_in_and_a_crew_only_in_its_own_zone() {
    let stub = WebhookStub::start();
    let site = site_with(&stub);
    let lampguard = site.start();
    wait_until("the test", seconds(10), || tests(&lampguard).len() == 1);
    let id = tests(&lampguard)[0]["id"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v1/test-dispatch/{id}/confirm", lampguard.url);
    let as_role = |role: &str, more: &[&str]| {
        let token = site.token_named(role, role, more);
        try_post(&url, Some(&token), b"{}").unwrap().status
    };
    assert_eq!(as_role("crew", &["--zone", "z1"]), 403, "the desk's test is in no crew's zone");
    assert_eq!(as_role("viewer", &[]), 403);
    assert_eq!(as_role("duty", &[]), 200);
    assert_eq!(as_role("admin", &[]), 200, "a repeat gets the same answer");
    let test = tests(&lampguard)[0].clone();
    assert_eq!((&test["confirmed_by"], &test["via"]), (&json!("duty"), &json!("api")));
    assert_eq!(lampguard.metric("lampguard_alerting_test_dispatch_total{outcome=\"confirmed\"}"), 1.0);
}
