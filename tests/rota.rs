//! The rota of a running instance by HTTP, and `lampguard plan` with and without one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::{Answer, try_get, try_put};
use common::process::texts;
use common::{Lampguard, Site, now_ms, seconds, wait_until};
use serde_json::{Value, json};

/// People of a third crew; those of the zones have none.
const PEOPLE: &str = r#"
[[crew]]
id = "c3"
name = "Crew 3"
members = [{ name = "张三", phone = "13811112222", channels = ["console"] }, { name = "李四", phone = "13811113333", channels = ["console"] }]
[[duty]]
zone = "z2"
crew = "c3"
when = "warning"
[desk]
name = "值班台"
phone = "037355555"
channels = ["console"]
"#;

const HOUR: i64 = 3_600_000;

struct Office {
    site: Site,
    lampguard: Lampguard,
    desk: String,
    viewer: String,
}

impl Office {
    fn open() -> Self {
        let site = Site::new().with(PEOPLE);
        let lampguard = site.start();
        let (desk, viewer) = (site.token_named("duty", "desk", &[]), site.token_named("viewer", "wall", &[]));
        Self { site, lampguard, desk, viewer }
    }

    fn put(&self, body: &Value) -> Answer {
        let url = format!("{}/api/v1/rota", self.lampguard.url);
        try_put(&url, Some(&self.desk), body.to_string().as_bytes()).unwrap()
    }

    fn get(&self, token: &str) -> Answer {
        try_get(&format!("{}/api/v1/rota", self.lampguard.url), Some(token)).unwrap()
    }

    fn plan(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let output = self.site.run(&[&["plan"], more].concat());
        let (out, err) = texts(&output);
        (output.status.code(), out, err)
    }
}

fn c3_in_z1() -> Value {
    let now = now_ms();
    json!({ "from": now - HOUR, "to": now + 24 * 10 * HOUR, "zone": "z1", "crew": "c3", "reason": "sick" })
}

fn gap_zones(rota: &Value) -> Vec<&str> {
    rota["gaps"].as_array().unwrap().iter().map(|gap| gap["zone"].as_str().unwrap()).collect()
}

#[test]
fn a_change_by_the_desk_holds_at_once_outlives_a_kill_and_stands_in_the_record() {
    let mut office = Office::open();
    let before = office.get(&office.desk).json();
    assert_eq!((&before["version"], gap_zones(&before)), (&json!(0), vec!["z1", "z2"]));
    let gap_hours = |lampguard: &Lampguard| lampguard.metric("lampguard_alerting_rota_gap_hours");
    wait_until("the gaps as a metric", seconds(10), || gap_hours(&office.lampguard) == 336.0);

    let changed = office.put(&json!({ "overrides": [c3_in_z1()], "version": 0 }));
    assert_eq!(changed.status, 200, "{}", changed.text);
    let rota = changed.json();
    assert_eq!((&rota["zones"][0]["crew"]["id"], gap_zones(&rota)), (&json!("c3"), vec!["z2"]));
    assert_eq!((&rota["overrides"][0]["by"], &rota["changed_by"]), (&json!("desk"), &json!("desk")));
    assert_eq!(office.lampguard.json("/api/v1/zones")["items"][0]["crew"]["id"], "c3");
    wait_until("the metric anew", seconds(10), || gap_hours(&office.lampguard) == 168.0);

    // An answer can be sent back as it came; what is left out stays.
    let kept = office.put(&json!({ "overrides": rota["overrides"] })).json();
    assert_eq!((&kept["overrides"], &kept["version"]), (&rota["overrides"], &json!(2)));
    assert_eq!(office.put(&json!({ "duty": [] })).json()["overrides"], rota["overrides"]);
    let late = office.put(&json!({ "overrides": [], "version": 1 }));
    assert_eq!((late.status, late.code().as_str()), (409, "conflict"), "{}", late.text);
    let wrong = json!({ "duty": [{ "from": 2, "to": 1, "zone": "z9", "crew": "c9" }], "overrides": [] });
    let wrong = office.put(&wrong);
    assert_eq!(wrong.status, 422);
    for part in ["duty[0].to", "z9", "c9"] {
        assert!(wrong.text.contains(part), "{part}: {}", wrong.text);
    }
    assert_eq!(office.put(&json!({ "overides": [] })).status, 400);

    office.lampguard.process.kill();
    office.lampguard = office.site.start();
    assert_eq!(office.get(&office.desk).json()["zones"][0]["crew"]["id"], "c3");
    let verified = office.site.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{:?}", texts(&verified));
}

#[test]
fn telephones_are_for_those_who_call_and_another_time_can_be_asked() {
    let office = Office::open();
    office.put(&json!({ "overrides": [c3_in_z1()] }));
    let (desk, wall) = (office.get(&office.desk), office.get(&office.viewer));
    assert!(desk.text.contains("13811112222") && desk.text.contains("037355555"));
    assert!(
        wall.status == 200 && wall.text.contains("张三") && !wall.text.contains("phone"),
        "{}",
        wall.text
    );
    let crew = office.site.token_named("crew", "c", &["--zone", "z2"]);
    let of_z2 = office.get(&crew).json();
    assert_eq!(of_z2["zones"][0]["crew"]["members"][0].get("phone"), None, "not its zone");
    assert_eq!(of_z2["desk"]["phone"], "037355555");
    let then = now_ms() + 24 * 11 * HOUR;
    let later = office.lampguard.json(&format!("/api/v1/rota?at={then}"));
    assert_eq!(later["zones"][0]["crew"]["id"], "c1");
    assert_eq!(office.lampguard.get("/api/v1/rota?at=soon").status, 400);
}

#[test]
fn a_warning_brings_reinforcement_while_it_is_in_force() {
    let office = Office::open();
    let rung = || {
        let rota = office.get(&office.desk).json();
        let rungs = rota["zones"][1]["rungs"].as_array().unwrap().clone();
        let rung = rungs.into_iter().find(|rung| rung["to"] == "backup_crew").unwrap();
        (rota["zones"][1]["warning"].clone(), rung["people"][0]["name"].clone())
    };
    let weather = |warning: &str| {
        let body = json!({ "zone": "all", "rain_mm_h": 0, "warning": warning });
        assert_eq!(office.lampguard.post("/api/v1/weather", &body.to_string()).status, 200);
    };
    assert_eq!(rung(), (json!(false), json!("值班台")));
    weather("orange");
    wait_until("reinforcement", seconds(10), || rung() == (json!(true), json!("张三")));
    weather("none");
    wait_until("their going home", seconds(10), || rung() == (json!(false), json!("值班台")));
}

#[test]
fn plan_asks_the_running_instance_and_goes_by_configuration_and_kept_changes_without_one() {
    let mut office = Office::open();
    office.put(&json!({ "overrides": [c3_in_z1()] }));
    let (code, out, err) = office.plan(&["--lang", "en"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("by the running instance"), "{out}");
    assert!(out.contains("crew: c3 Crew 3  张三 13811112222 [console]"), "{out}");
    assert!(out.contains("gaps in the next 7 days:\n  z2  "), "{out}");
    let (url, token) = (office.lampguard.url.clone(), office.viewer.clone());
    let (_, out, err) = office.plan(&["--url", &url, "--token", &token, "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    assert_eq!((&told["source"], &told["zones"][0]["crew"]["id"]), (&json!("instance"), &json!("c3")));
    assert!(!out.contains("13811112222"), "a viewer's token shows no telephone");

    office.lampguard.process.kill();
    let (code, out, err) = office.plan(&[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("没有运行中的实例") && out.contains("c3 Crew 3  张三"), "{out}");
    let later = (now_ms() + 24 * 11 * HOUR).to_string();
    let (_, out, _) = office.plan(&["--at", &later, "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["source"], &told["zones"][0]["crew"]["id"]), (&json!("configuration"), &json!("c1")));
    let (code, _, err) = office.plan(&["--at", "tonight"]);
    assert!(code == Some(2) && err.contains("RFC 3339"), "{err}");
    let (code, _, err) = office.plan(&["--url", &url, "--token", &token]);
    assert_eq!(code, Some(1), "an instance that was named and does not answer is an error: {err}");
    let (doctor, _) = texts(&office.site.run(&["doctor"]));
    let line = doctor.lines().find(|line| line.contains("rota")).unwrap_or_else(|| panic!("{doctor}"));
    assert!(line.starts_with("BAD ") && line.contains("zone z2: nobody of crew c2 has a channel"), "{line}");
    assert!(doctor.contains("crew c1 has no members"), "{doctor}");

    // Without any instance ever.
    let fresh = Site::new().with(PEOPLE);
    let (out, _) = texts(&fresh.run(&["plan", "--lang", "en"]));
    assert!(out.contains("no instance runs") && out.contains("z1 Zone 1"), "{out}");
    assert!(out.contains("in a warning, too: c3 Crew 3  张三"), "{out}");
}
