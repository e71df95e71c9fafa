//! `backtest` with the built program: a simulated recording, a journal beside its running instance, other
//! people's payloads, and wrong input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use common::process::{Program, program, run, texts};
use common::site::{HEADER, register};
use common::{Mqtt, Site, reading, seconds, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const T: i64 = 1_795_435_200_000;

/// What every incident line carries: *Incident* of the contract, and what a score needs.
const KEYS: [&str; 27] = [
    "id",
    "kind",
    "severity",
    "scope",
    "post_id",
    "feeder",
    "zone",
    "road",
    "place",
    "opened_at",
    "due_at",
    "state",
    "signal",
    "notes",
    "evidence",
    "crew",
    "arrived_at",
    "arrival",
    "breached",
    "remaining_s",
    "members",
    "links",
    "p1_at",
    "first_notice_at",
    "p1_notice_at",
    "members_told_at",
    "ended_at",
];

fn told(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(dir, arguments, seconds(120));
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn backtest(dir: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let mut arguments = vec!["backtest", "--posts", "posts.csv", "--readings", "rec.jsonl"];
    arguments.extend(more);
    told(dir, &arguments)
}

fn lines_of(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A folder with a register of 40 posts and this recording.
fn folder(recording: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("posts.csv"), register()).unwrap();
    std::fs::write(home.path().join("rec.jsonl"), recording).unwrap();
    home
}

/// A line of `post`, so many seconds after the start.
fn line(after_s: i64, post: &str, leakage_ma: f64) -> String {
    let at = T + after_s * 1000;
    let payload = json!({ "ts": at, "leakage_ma": leakage_ma });
    format!(
        "{}\n",
        json!({ "received_at": at, "topic": format!("lamp/z1/{post}/reading"), "payload": payload })
    )
}

#[test]
fn a_simulated_recording_gives_incident_lines_with_every_field_and_a_summary() {
    let home = tempfile::tempdir().unwrap();
    let simulate = [
        "simulate",
        "--scenario",
        "demo",
        "--posts",
        "400",
        "--seed",
        "7",
        "--duration",
        "360",
        "--out",
        "rec.jsonl",
        "--posts-out",
        "posts.csv",
        "--truth",
        "truth.jsonl",
    ];
    let (code, _, err) = told(home.path(), &simulate);
    assert_eq!(code, Some(0), "{err}");
    let (code, out, err) = backtest(home.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.starts_with("模拟数据 SIM\n"), "{err}");
    let incidents = lines_of(&out);
    assert!(incidents.iter().all(|incident| incident["simulated"] == true));
    let truth = lines_of(&std::fs::read_to_string(home.path().join("truth.jsonl")).unwrap());
    assert!(!incidents.is_empty());
    for incident in &incidents {
        for key in KEYS {
            assert!(incident.get(key).is_some(), "{key} is missing: {incident}");
        }
        assert_eq!(incident["first_notice_at"], incident["opened_at"]);
        let hazard = truth.iter().any(|hazard| hazard["post_id"] == incident["post_id"]);
        assert!(hazard, "nothing was wrong with that post: {incident}");
    }

    let (code, out, _) = backtest(home.path(), &[]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("模拟数据 SIM\n"), "{out}");
    // Posts without a sensor say nothing; cabinets are lines of the register too.
    let csv = std::fs::read_to_string(home.path().join("posts.csv")).unwrap();
    let (posts, sensors) =
        (csv.lines().count() - 1, csv.lines().filter(|line| line.contains(",true,")).count());
    let reported = format!("{sensors} of {posts} reported");
    for words in [&*reported, "weather", "duplicate", "incidents", "leak_critical", "Asia/Shanghai"] {
        assert!(out.contains(words), "{words}:\n{out}");
    }
    for incident in &incidents {
        assert!(out.contains(incident["post_id"].as_str().unwrap()), "{out}");
    }
    let (_, out, _) = backtest(home.path(), &["--lang", "zh"]);
    assert!(
        out.contains("险情") && out.contains(&format!("{sensors} 根上报")) && !out.contains("incidents"),
        "{out}"
    );
}

#[test]
fn the_journal_of_a_running_instance_gives_the_incidents_that_the_instance_has() {
    let site = Site::new();
    let lampguard = site.start();
    let mut mqtt = Mqtt::connect(site.listener, "P001");
    for (seq, value) in [(1, 80.0), (2, 81.0), (2, 81.0), (3, 82.0)] {
        mqtt.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, value).as_bytes());
    }
    mqtt.publish_and_wait("lamp/z1/stranger/reading", reading(1, 1, 70.0).as_bytes());
    mqtt.publish_and_wait("lamp/z1/stranger/reading", reading(1, 2, 70.0).as_bytes());
    wait_until("both incidents", seconds(10), || lampguard.items("/api/v1/incidents").len() == 2);
    let mut live = lampguard.items("/api/v1/incidents");
    let journal = site.data().join("journal");
    let before = lampguard.balanced();
    let arguments = ["backtest", "--posts", "posts.csv", "--readings", journal.to_str().unwrap(), "--json"];
    let (code, out, err) = told(site.dir(), &arguments);
    assert_eq!(code, Some(0), "{err}");
    let mut old = lines_of(&out);
    let by_id = |incident: &Value| incident["id"].as_str().unwrap().to_owned();
    live.sort_by_key(by_id);
    old.sort_by_key(by_id);
    assert_eq!(old.len(), live.len());
    for (old, live) in old.iter().zip(&live) {
        for key in ["id", "kind", "severity", "post_id", "zone", "opened_at", "due_at", "evidence", "notes"] {
            assert_eq!(old[key], live[key], "{key}");
        }
    }
    assert_eq!(lampguard.balanced(), before, "looking changes nothing");
    lampguard.stop();
}

#[test]
fn a_recording_holds_what_people_did_and_a_back_test_makes_the_same_moves() {
    let site = Site::new();
    let mut lampguard = site.start();
    let file = site.path("rec.jsonl");
    site.configure();
    let mut command = program();
    command.arg("--config").arg(site.path("lampguard.toml")).current_dir(site.dir());
    command.args(["record", "--duration", "8", "--out"]).arg(&file);
    let mut recording = Program::start("lampguard record", command);
    let mut sensor = Mqtt::connect(site.listener, "P001");
    let mut seq = 0;
    let mut send = |leakage_ma: f64| {
        seq += 1;
        sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, leakage_ma).as_bytes());
    };
    wait_until("the recording to be open", seconds(5), || {
        send(0.5);
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("P001"))
    });
    send(80.0);
    send(81.0);
    wait_until("the incident", seconds(5), || lampguard.items("/api/v1/incidents").len() == 1);
    let id = lampguard.items("/api/v1/incidents")[0]["id"].as_str().unwrap().to_owned();
    lampguard.token = site.token("duty", &[]);
    let crews = ",\"on_behalf_of\":\"王五\"";
    for (verb, more) in [("acknowledge", ""), ("arrive", crews), ("make_safe", ",\"method\":\"guarded\"")] {
        let answer = lampguard
            .post(&format!("/api/v1/incidents/{id}/{verb}"), &format!("{{\"key\":\"{verb}\"{more}}}"));
        assert_eq!(answer.status, 200, "{verb}: {}", answer.text);
    }
    let live = lampguard.json(&format!("/api/v1/incidents/{id}"));
    assert!(recording.wait(seconds(20)).unwrap().success(), "{}", recording.stderr());
    lampguard.stop();

    let arguments = ["backtest", "--posts", "posts.csv", "--readings", "rec.jsonl", "--json"];
    let (code, out, err) = told(site.dir(), &arguments);
    assert_eq!(code, Some(0), "{err}");
    let replayed = &lines_of(&out)[0];
    for key in ["id", "state", "crew", "arrival", "breached"] {
        assert_eq!(replayed[key], live[key], "{key}: {replayed}");
    }
    assert_eq!(replayed["state"], "made_safe");
    assert!(!err.contains("left out"), "{err}");

    // Without the people it is open: what they did is in the recording, and in nothing else.
    let text = std::fs::read_to_string(&file).unwrap();
    let alone: String =
        text.lines().filter(|line| !line.contains("\"move\"")).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&file, alone).unwrap();
    let (_, out, _) = told(site.dir(), &arguments);
    assert_eq!((&lines_of(&out)[0]["id"], &lines_of(&out)[0]["state"]), (&live["id"], &json!("open")));
}

#[test]
fn an_incident_that_people_close_has_ended_then_and_a_strange_move_is_named() {
    let at = |minute: i64| T + minute * 60_000;
    let moved = |minute: i64, post: &str, verb: &str, more: Value| {
        let mut said = json!({ "post_id": post, "kind": "leak_critical", "move": verb, "key": verb });
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{}\n", json!({ "received_at": at(minute), "move": said }))
    };
    let danger: String = (0..3).map(|minute| line(minute * 60, "P001", 45.0)).collect();
    let calm =
        |from: i64, to: i64| (from..to).map(|minute| line(minute * 60, "P001", 1.0)).collect::<String>();
    let crew = json!({ "by": "crew 1" });
    let text = danger
        + &moved(3, "P001", "acknowledge", crew.clone())
        + &moved(4, "P001", "arrive", crew.clone())
        + &moved(
            5,
            "P001",
            "make_safe",
            json!({ "by": "crew 1", "method": "isolated", "extent": "post", "breaker": "3" }),
        )
        + &moved(6, "P001", "repair", json!({ "by": "crew 1", "cause": "joint", "parts": "joint" }))
        + &moved(7, "P002", "arrive", crew)
        + &moved(8, "P001", "restore", json!({ "by": "crew 1" }))
        + &calm(9, 60)
        + &moved(60, "P001", "verify", json!({ "by": "desk 1", "desk": true }))
        + &moved(61, "P001", "close", json!({ "by": "desk 1", "desk": true }))
        + &calm(62, 70);
    let home = folder(&text);
    let (code, out, err) = backtest(home.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let incidents = lines_of(&out);
    assert_eq!(incidents.len(), 1, "{out}\n{err}");
    assert_eq!(incidents[0]["state"], "closed", "{err}");
    assert_eq!(incidents[0]["ended_at"], json!("2026-11-23T13:01:00.000Z"), "{}", incidents[0]["ended_at"]);
    assert!(
        err.contains("arrive at P002: no such incident is open here") && err.contains("left out: 1 move(s)"),
        "{err}"
    );
}

#[test]
fn what_is_not_judged_is_said() {
    let mut text = line(0, "P001", 1.0) + &line(0, "P001", 1.0);
    text += "rubbish\n";
    text += &format!("{}\n", json!({ "received_at": T, "move": { "post_id": "P001", "move": "arrive" } }));
    text += "{\"missed_frames\":3}\n";
    text +=
        &format!("{}\n", json!({ "received_at": T, "topic": "lamp/z1/P002/status", "payload": "online" }));
    text +=
        &format!("{}\n", json!({ "received_at": T, "topic": "lamp/z1/P002/reading", "payload": "no JSON" }));
    let old = json!({ "ts": T - 86_400_000, "leakage_ma": 90.0 });
    text += &format!(
        "{}\n",
        json!({ "received_at": T, "topic": "lamp/z1/P002/reading", "payload": old, "retain": true })
    );
    text += &format!(
        "{}\n",
        json!({ "received_at": T, "topic": "tele/P003/SENSOR", "payload": { "ENERGY": { "Voltage": 229 } } })
    );
    let home = folder(&text);
    let (code, out, err) = backtest(home.path(), &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("rec.jsonl:3: not a JSON object"), "{err}");
    for words in [
        "readings   2 ",
        "stored 2",
        "duplicate 1",
        "quarantined json 1",
        "refused retained_stale 1",
        "left out: 1 move(s)",
        "left out: 1 bad line(s)",
        "3 frame(s)",
        "incidents  0",
        "2 of 40 reported",
    ] {
        assert!(out.contains(words), "{words}:\n{out}");
    }
    let (code, out, err) = backtest(home.path(), &["--json"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert!(err.contains("left out: 1 move(s)"), "{err}");
}

#[test]
fn an_incident_that_was_calm_for_a_day_has_its_end_and_the_next_one_is_another() {
    let mut text = String::new();
    for hour in 0..30 {
        for minute in 0..60 {
            let danger = matches!((hour, minute), (0 | 28, 0..3));
            text += &line(hour * 3600 + minute * 60, "P001", if danger { 45.0 } else { 1.0 });
        }
    }
    let home = folder(&text);
    let (code, out, err) = backtest(home.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let incidents = lines_of(&out);
    assert_eq!(incidents.len(), 2, "{out}");
    assert!(incidents[0]["ended_at"].is_string() && incidents[1]["ended_at"].is_null(), "{out}");
    assert_ne!(incidents[0]["id"], incidents[1]["id"]);
    let (_, out, _) = backtest(home.path(), &[]);
    assert!(out.contains("1 open, 1 ended"), "{out}");
}

#[test]
fn wrong_input_is_named_with_its_way_out() {
    let home = folder(&line(0, "P001", 1.0));
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("bad.csv", &format!("{HEADER}\nP1,,z1,r,1,,F1,C1,here,34.7,1,100,false,2020,\n"));
    write("rubbish.jsonl", &"rubbish\n".repeat(2000));
    write("empty.jsonl", "");
    std::fs::create_dir(home.path().join("data")).unwrap();
    let of =
        |posts: &'static str, readings: &'static str| ["backtest", "--posts", posts, "--readings", readings];
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["backtest"], 2, &["--posts", "--readings"]),
        (&of("gone.csv", "rec.jsonl"), 1, &["reading register gone.csv"]),
        (&of("bad.csv", "rec.jsonl"), 2, &["bad.csv has 1 fault", "line 2"]),
        (&of("posts.csv", "gone.jsonl"), 1, &["reading recording gone.jsonl"]),
        (&of("posts.csv", "data"), 1, &["data holds no journal segment", "DATA_DIR/journal"]),
        (&of("posts.csv", "empty.jsonl"), 1, &["empty.jsonl: no reading in it"]),
        (&of("posts.csv", "rubbish.jsonl"), 1, &["rubbish.jsonl:1000:", "more than 1000 bad lines"]),
        (
            &["backtest", "--posts", "posts.csv", "--readings", "rec.jsonl", "--policy", "p.toml"],
            2,
            &["p.toml", "not readable", "config print --policy"],
        ),
        (&["backtest", "--posts", "posts.csv", "--readings", "rec.jsonl", "--lang", "fr"], 2, &["zh", "en"]),
    ];
    for (arguments, wanted, words) in cases {
        let (code, out, err) = told(home.path(), arguments);
        assert_eq!((code, out.as_str()), (Some(wanted), ""), "{arguments:?}: {err}");
        for word in words {
            assert!(err.contains(word), "{arguments:?}: {word}:\n{err}");
        }
    }
}

/// 18 mA for ten minutes, then 36 mA; dry, for weather is told.
fn rising() -> String {
    let mut text = format!(
        "{}\n",
        json!({"received_at": T, "topic": "weather/all/rain", "payload": {"rain_mm_h": 0.0, "warning": "none"}})
    );
    for minute in 0..20 {
        text += &line(minute * 60 + 1, "P001", if minute < 10 { 18.0 } else { 36.0 });
        text += &line(minute * 60 + 2, "P002", if minute < 10 { 1.0 } else { 17.0 });
    }
    text
}

#[test]
fn two_policies_over_the_same_readings_tell_what_is_gained_and_what_comes_earlier() {
    let home = folder(&rising());
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("strict.toml", "[leak_critical]\ndry = \"16 mA\"\n");
    let hazard = json!({
        "post_id": "P002", "kind": "electric", "cause": "cable", "class": "dangerous", "starts_at": T + 600_000,
        "dangerous_at": T + 600_000, "ends_at": null, "period_s": 60, "sensor": "ok", "observable": true,
    });
    write("truth.jsonl", &format!("{hazard}\n"));
    let (code, out, err) =
        backtest(home.path(), &["--against", "strict.toml", "--truth", "truth.jsonl", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&all["policy"]["incidents"], &all["against"]["incidents"]),
        (&json!(1), &json!(2)),
        "{all:#}"
    );
    assert_eq!(all["gained"][0]["post_id"], "P002");
    assert_eq!(all["call_outs_gained"][0]["post_id"], "P002");
    assert_eq!(
        (&all["earlier"][0]["policy"]["post_id"], &all["earlier"][0]["seconds"]),
        (&json!("P001"), &json!(600))
    );
    assert_eq!((&all["lost"], &all["found_only_by_policy"]), (&json!([]), &json!([])));
    assert_eq!(all["found_only_by_against"][0]["spot"], "P002");
    assert_ne!(all["policy"]["hashes"], all["against"]["hashes"]);
    let arguments = ["--policy", "strict.toml", "--against", "strict.toml", "--lang", "zh"];
    let (_, out, err) = backtest(home.path(), &arguments);
    assert!(out.contains("不变  2") && out.contains("减少的出动  0"), "{out}{err}");
    let (_, out, _) = backtest(home.path(), &["--against", "strict.toml", "--truth", "truth.jsonl"]);
    for words in ["incidents gained  1", "told earlier  1", "found in time by strict.toml alone  1"] {
        assert!(out.contains(words), "{words}:\n{out}");
    }
    let (_, out, _) = backtest(home.path(), &["--policy", "strict.toml"]);
    assert!(out.contains("P1 2"), "one policy alone: {out}");
}

#[test]
fn a_version_of_the_policy_comes_into_force_at_its_moment_of_the_readings_own_time() {
    let home = folder(&rising());
    let from = "2026-11-23T12:05:30Z";
    let text = format!("[[version]]\nfrom = \"{from}\"\nleak_critical.dry = \"16 mA\"\n");
    std::fs::write(home.path().join("dated.toml"), text).unwrap();
    let (code, out, err) = backtest(home.path(), &["--policy", "dated.toml", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let first = &lines_of(&out)[0];
    assert_eq!(
        (&first["post_id"], &first["opened_at"]),
        (&json!("P001"), &json!("2026-11-23T12:05:30.000Z"))
    );
}

#[test]
fn a_city_scored_twice_gives_the_same_rows_beside_the_naive_rule() {
    let home = tempfile::tempdir().unwrap();
    let bench = |file: &str| {
        let arguments = [
            "bench",
            "alarms",
            "--scenario",
            "demo",
            "--seeds",
            "2",
            "--first-seed",
            "7",
            "--posts",
            "300",
            "--days",
            "0.004",
            "--json",
            file,
        ];
        let (code, out, err) = told(home.path(), &arguments);
        assert_eq!(code, Some(0), "{err}");
        let mut rows = lines_of(&std::fs::read_to_string(home.path().join(file)).unwrap());
        rows.iter_mut().for_each(|row| _ = row.as_object_mut().unwrap().remove("readings_per_s"));
        (out, rows)
    };
    let (out, rows) = bench("one.jsonl");
    assert_eq!(rows.len(), 6, "two seeds and their sum, by two rules");
    assert_eq!(rows, bench("two.jsonl").1);
    for row in &rows {
        for key in ["rule", "seed", "commit", "posts", "days", "hazards", "found", "late", "missed", "recall"]
        {
            assert!(row.get(key).is_some(), "{key}: {row}");
        }
        assert_eq!(
            row["hazards"],
            json!(
                row["found"].as_f64().unwrap()
                    + row["late"].as_f64().unwrap()
                    + row["missed"].as_f64().unwrap()
            )
        );
    }
    assert!(out.contains("lampguard              naive") && out.contains("recall, observable"), "{out}");
    let (code, _, err) = told(home.path(), &["bench", "alarms", "--days", "0"]);
    assert_eq!(code, Some(2), "{err}");
}
