//! `explain` with the built program: out of a recording, of a running instance now, and of its journal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use common::process::{run, texts};
use common::site::register;
use common::{Site, now_ms, seconds, wait_until};
use serde_json::{Value, json};

const T: i64 = 1_795_435_200_000;

fn explain(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(dir, &[&["explain"], arguments].concat(), seconds(60));
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn line(after_s: i64, post: &str, leakage_ma: f64) -> String {
    let at = T + after_s * 1000;
    let payload = json!({ "ts": at, "leakage_ma": leakage_ma });
    let topic = format!("lamp/z1/{post}/reading");
    format!("{}\n", json!({ "received_at": at, "topic": topic, "payload": payload }))
}

#[test]
fn a_recording_is_replayed_up_to_the_moment_and_what_is_missing_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dry = json!({"received_at": T, "topic": "weather/all/rain", "payload": {"rain_mm_h": 0.0, "warning": "none"}});
    let text =
        format!("{dry}\n{}{}{}", line(0, "P001", 1.0), line(300, "P001", 41.5), line(600, "P001", 42.5));
    std::fs::write(home.path().join("posts.csv"), register()).unwrap();
    std::fs::write(home.path().join("rec.jsonl"), text).unwrap();
    let files = ["--posts", "posts.csv", "--readings", "rec.jsonl"];
    let at = |time: &'static str, more: &[&'static str]| {
        explain(home.path(), &[&["P001", "--at", time], &files[..], more].concat())
    };
    let (code, out, err) = at("2026-11-23T20:06:00+08:00", &["--lang", "en"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("not confirmed: 1 of the last 2 samples of leakage_ma reach the limit 30 mA (dry)"),
        "{out}"
    );
    assert!(out.contains("2 needed, 1 missing"), "{out}");
    let (_, out, _) = at("2026-11-23T20:10:30+08:00", &[]);
    assert!(out.contains("→ 已生成险情") && out.contains("two_of_three"), "{out}");
    let (_, out, _) = at("2026-11-23T20:10:30+08:00", &["--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["post_id"], &told["incident"]["kinds"]), (&json!("P001"), &json!(["leak_critical"])));
    assert_eq!(told["policy_hash"].as_str().unwrap().len(), 64);
    let (code, _, err) = at("2026-11-23T11:00:00Z", &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing before --at"), "{err}");
    let (code, _, err) = at("yesterday", &[]);
    assert!(code == Some(2) && err.contains("RFC 3339"), "{err}");
}

#[test]
fn a_running_instance_explains_now_and_a_past_moment_out_of_its_journal() {
    let site = Site::new();
    let lampguard = site.start();
    let send = |leakage_ma: f64, ts: i64| {
        let body = json!([{"post_id": "P001", "ts": ts, "leakage_ma": leakage_ma, "supply_v": 229}]);
        assert_eq!(lampguard.post("/api/v1/readings", &body.to_string()).status, 200);
    };
    let start = now_ms();
    send(41.5, start - 120_000);
    let between = now_ms();
    std::thread::sleep(std::time::Duration::from_millis(50));
    send(42.5, start - 30_000);
    wait_until("the incident", seconds(10), || !lampguard.items("/api/v1/incidents").is_empty());
    let now = lampguard.json("/api/v1/posts/P001/explain");
    let id = lampguard.items("/api/v1/incidents")[0]["id"].clone();
    assert_eq!((&now["source"], &now["incident"]["id"]), (&json!("live"), &id));
    assert_eq!(now["wet"]["because"], "unknown", "nobody told the weather");
    let past = lampguard.json(&format!("/api/v1/posts/P001/explain?at={between}"));
    assert!(
        past["incident"].is_null() && past["source"].as_str().unwrap().starts_with("journal"),
        "{past:#}"
    );
    assert_eq!(past["quantities"][1]["samples"].as_array().unwrap().len(), 1, "{past:#}");
    let later = lampguard.json(&format!("/api/v1/posts/P001/explain?at={}", now_ms() - 1));
    assert_eq!(later["incident"]["id"], id, "a replay opens the same incident");
    assert_eq!(lampguard.get("/api/v1/posts/nobody/explain").status, 404);
    let ahead = lampguard.get(&format!("/api/v1/posts/P001/explain?at={}", now_ms() + 60_000));
    assert_eq!(ahead.status, 400);
    let early = lampguard.get("/api/v1/posts/P001/explain?at=2021-01-01T00:00:00Z");
    assert_eq!(early.status, 404);
    let (code, out, err) = explain(site.dir(), &["P001", "--lang", "en"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("raised: incident LG-") && out.contains("wet: unknown"), "{out}");
}
