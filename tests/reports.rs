//! What the head of the office and the next shift read, of a running instance and beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::try_post;
use common::process::texts;
use common::{Lampguard, Site, now_ms, seconds, wait_until};
use serde_json::{Value, json};

/// The month of now in Shanghai, as the reports name it.
fn this_month() -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms()).unwrap();
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    now.to_zoned_datetime(zone).strftime("%Y-%m").to_string()
}

struct Desk<'l> {
    lampguard: &'l Lampguard,
    token: String,
}

impl Desk<'_> {
    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.lampguard.url);
        let answer = try_post(&url, Some(&self.token), body.to_string().as_bytes()).unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.text);
        answer.json()
    }

    fn told(&self, key: &str, post: &str, drill: bool) -> String {
        let body = json!({"key": key, "what": "live", "post_id": post, "drill": drill});
        self.post("/api/v1/incidents", &body)["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_month_and_a_shift_tell_what_was_done_also_after_a_restart_and_beside_the_instance() {
    let site = Site::new();
    let lampguard = site.start();
    let desk = Desk { lampguard: &lampguard, token: site.token_named("duty", "desk", &[]) };
    let (done, open) = (desk.told("1", "P001", false), desk.told("2", "P030", false));
    desk.told("3", "P002", true);
    for (verb, body) in [
        ("acknowledge", json!({"key": "1", "on_behalf_of": "c1", "channel": "radio"})),
        ("arrive", json!({"key": "1", "on_behalf_of": "c1", "post": "P001"})),
        ("make_safe", json!({"key": "1", "on_behalf_of": "c1", "method": "guarded"})),
    ] {
        desk.post(&format!("/api/v1/incidents/{done}/{verb}"), &body);
    }
    let month = this_month();
    let path = format!("/api/v1/reports/monthly?month={month}");
    wait_until("the notices to be told", seconds(10), || lampguard.json(&path)["total"]["told"] == 2);
    let before = lampguard.json(&path);
    let total = &before["total"];
    let counts: Vec<&Value> = ["raised", "acknowledged", "arrived", "arrived_in_time", "breached", "open"]
        .map(|key| &total[key])
        .into();
    assert_eq!(json!(counts), json!([2, 1, 1, 1, 0, 2]), "{before:#}");
    let of_z1 =
        before["rows"].as_array().unwrap().iter().find(|row| row["zone"] == "z1" && row["raised"] == 1);
    assert_eq!(of_z1.unwrap()["zone_name"], "Zone 1", "{before:#}");

    let shift = lampguard.json("/api/v1/reports/shift");
    let ids: Vec<&str> =
        shift["open"]["items"].as_array().unwrap().iter().filter_map(|brief| brief["id"].as_str()).collect();
    assert!(ids.contains(&&*open) && ids.contains(&&*done) && ids.len() == 2, "no drill: {shift:#}");
    assert!(shift["from"].as_str().unwrap().ends_with("+08:00"), "{shift:#}");
    assert!(shift["notices"]["sent"].as_u64() >= Some(2), "{shift:#}");

    let csv = lampguard.get(&format!("/api/v1/reports/monthly.csv?month={month}&lang=zh"));
    assert!(csv.text.starts_with("\u{feff}责任区,"), "{}", csv.text);
    assert_eq!(lampguard.get(&format!("{path}&format=csv&lang=zh")).text, csv.text);
    for wrong in ["", "?month=2026-13", "?month=2026-11&format=xlsx", "?month=2026-11&lang=fr", "?moon=1"] {
        assert_eq!(lampguard.get(&format!("/api/v1/reports/monthly{wrong}")).status, 400, "{wrong}");
    }
    assert_eq!(
        lampguard.get("/api/v1/reports/shift?from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z").status,
        400
    );

    // Beside the running instance, and after it has ended.
    let shown = texts(&site.run(&["report", "--month", &month, "--lang", "zh"])).0;
    assert_eq!(shown, csv.text);
    lampguard.stop();
    let output = site.run(&["report", "--month", &month, "--json"]);
    let kept: Value = serde_json::from_str(&texts(&output).0).unwrap();
    assert_eq!((&kept["rows"], &kept["total"]), (&before["rows"], &before["total"]));
    assert_eq!(site.run(&["report", "--month", "november"]).status.code(), Some(2));
    let again = site.start();
    assert_eq!(again.json(&path)["total"], before["total"], "a restart changes no figure");
}

#[test]
fn notices_are_filtered_paged_and_the_record_names_counts_and_its_head() {
    let site = Site::new();
    let lampguard = site.start();
    let desk = Desk { lampguard: &lampguard, token: site.token_named("duty", "desk", &[]) };
    let (first, second) = (desk.told("1", "P001", false), desk.told("2", "P030", false));
    wait_until("both to be told", seconds(10), || lampguard.items("/api/v1/notices?outcome=sent").len() >= 2);
    let of = |query: &str| -> Vec<String> {
        let items = lampguard.items(&format!("/api/v1/notices?{query}"));
        items.iter().map(|notice| notice["incident_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&format!("incident={second}")), [second.as_str()]);
    assert_eq!(of("zone=z1"), [first.as_str()]);
    assert_eq!(of("channel=console").len(), 2);
    assert!(of("channel=nobody").is_empty() && of("to=2020-01-01T00:00:00Z").is_empty());
    let page = lampguard.json("/api/v1/notices?limit=1");
    let next = page["next"].as_str().unwrap();
    assert_eq!(of(&format!("limit=1&cursor={next}")), [second.as_str()]);
    let notice = &page["items"][0];
    for key in ["id", "incident_id", "event", "step", "to", "channel", "outcome", "attempt", "at"] {
        assert!(notice.get(key).is_some(), "{key} in {notice}");
    }
    for wrong in ["outcome=lost", "cursor=x", "limit=0", "from=yesterday"] {
        assert_eq!(lampguard.get(&format!("/api/v1/notices?{wrong}")).status, 400, "{wrong}");
    }
    let shown = texts(&site.run(&["audit", "verify"])).0;
    for word in ["the chain is whole", "told", "opened", "policy", "head "] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
}
