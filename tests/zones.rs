//! `GET /api/v1/zones` of a running instance: lamps that are due and burn, who reports, worst values.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Site, lit_now};
use serde_json::{Value, json};

fn zone<'a>(answer: &'a Value, id: &str) -> &'a Value {
    answer["items"].as_array().unwrap().iter().find(|zone| zone["zone"] == id).unwrap()
}

#[test]
fn which_supply_is_none_is_told_by_the_policy_in_force() {
    let site = Site::new().with(&lit_now()).with("[policy]\nfile = \"policy.toml\"\n");
    site.write("policy.toml", "[samples]\npowered_above = \"100 V\"\n");
    let lampguard = site.start();
    let body = json!([{"post_id": "P001", "supply_v": 90}, {"post_id": "P002", "supply_v": 110}]);
    assert_eq!(lampguard.post("/api/v1/readings", &body.to_string()).status, 200);
    common::wait_until("the readings", common::seconds(10), || {
        zone(&lampguard.json("/api/v1/zones"), "z1")["reporting"] == 2
    });
    let lamps = zone(&lampguard.json("/api/v1/zones"), "z1")["lamps"].clone();
    assert_eq!((&lamps["dark"], &lamps["lit"]), (&json!(1), &json!(0)), "{lamps:#}");
    lampguard.stop();
}

#[test]
fn a_zone_tells_its_lamps_its_worst_values_and_who_reports() {
    let site = Site::new().with(&lit_now());
    let lampguard = site.start();
    let before = lampguard.json("/api/v1/zones");
    let silent = zone(&before, "z1");
    assert_eq!((&silent["reporting"], &silent["blind_since"]), (&json!(0), &Value::Null), "never heard");
    assert_eq!(silent["lamps"]["unknown"], silent["lamps"]["due"]);
    assert_eq!(
        (&silent["lighting_rate"]["lower"], &silent["lighting_rate"]["upper"]),
        (&json!(0.0), &json!(1.0))
    );
    let body = json!([
        {"post_id": "P001", "leakage_ma": 0.8, "supply_v": 229, "lamp_w": 148},
        {"post_id": "P002", "leakage_ma": 7.5, "shell_v": 0.4, "supply_v": 229, "lamp_w": 3},
        {"post_id": "P003", "leakage_ma": 1.5, "supply_v": 0},
    ]);
    assert_eq!(lampguard.post("/api/v1/readings", &body.to_string()).status, 200);
    common::wait_until("the readings", common::seconds(10), || {
        lampguard.json("/api/v1/zones")["items"].as_array().unwrap().iter().any(|zone| zone["reporting"] == 3)
    });
    let after = lampguard.json("/api/v1/zones?roads=true");
    let told = zone(&after, "z1");
    let lamps = &told["lamps"];
    assert_eq!((&lamps["lit"], &lamps["dark"]), (&json!(1), &json!(2)), "{told:#}");
    assert_eq!(lamps["due"], json!(lamps["lit"].as_u64().unwrap() + 2 + lamps["unknown"].as_u64().unwrap()));
    assert_eq!(told["worst"]["leakage_ma"], json!({"value": 7.5, "post_id": "P002"}));
    assert_eq!(told["crew"]["id"], "c1");
    assert_eq!((&silent["simulated"], &told["simulated"]), (&json!(false), &json!(false)));
    let marked = json!([{"post_id": "P001", "leakage_ma": 0.8, "flags": ["simulated"]}]);
    assert_eq!(lampguard.post("/api/v1/readings", &marked.to_string()).status, 200);
    common::wait_until("the mark", common::seconds(10), || {
        zone(&lampguard.json("/api/v1/zones"), "z1")["simulated"] == true
    });
    assert!(told["roads"].as_array().is_some_and(|roads| !roads.is_empty()), "{told:#}");
    assert!(after["city"]["lamps"]["due"].as_u64().unwrap() >= lamps["due"].as_u64().unwrap());
    let work = json!({"key": "k", "scope": {"post_id": "P001"}, "crew": "c1", "reason": "new lamp"});
    let desk = site.token_named("duty", "desk", &[]);
    let url = format!("{}/api/v1/maintenance", lampguard.url);
    let answer = common::http::try_post(&url, Some(&desk), work.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    let during = lampguard.json("/api/v1/zones");
    let left_out = &zone(&during, "z1")["lamps"];
    assert_eq!((&left_out["excluded"], &left_out["lit"]), (&json!(1), &json!(0)), "{left_out:#}");
    let count = |answer: &Value| {
        let zone = zone(answer, "z1");
        (zone["open_incidents"].clone(), zone["open_p1"].clone())
    };
    let drill = json!({"key": "d", "what": "shock", "post_id": "P001", "drill": true});
    let url = format!("{}/api/v1/incidents", lampguard.url);
    let answer = common::http::try_post(&url, Some(&desk), drill.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(
        lampguard.json("/api/v1/incidents")["items"].as_array().unwrap().iter().any(|i| i["drill"] == true)
    );
    assert_eq!(count(&lampguard.json("/api/v1/zones")), count(&during), "a drill counts nowhere");
    let why = lampguard.json("/api/v1/posts/P001/explain");
    assert_eq!(why["supply"]["expected"], true, "{why:#}");
}

#[test]
fn faults_of_lighting_end_with_wrong_configuration_and_name_their_keys() {
    let site = Site::new().with("[lighting]\nalways_on = [\"F-GONE\"]\n[[lighting.timetable]]\nplans = [\"all\"]\non = \"dusk\"\noff = \"06:00\"\n");
    site.configure();
    let output = site.run(&["config", "check", "lampguard.toml"]);
    let (_, err) = common::process::texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("lighting.always_on") && err.contains("lighting.timetable[0].on"), "{err}");
}
