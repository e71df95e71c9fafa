//! `lampguard score` on small files written by hand, beside a running instance, and used wrongly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::path::Path;

use common::process::{run, texts};
use common::site::HEADER;
use common::{Mqtt, Site, WebhookStub, reading, seconds, wait_until};
use serde_json::{Value, json};

/// 2026-11-23 20:00 in Shanghai: the moment of danger.
const T: i64 = 1_795_435_200_000;
const MINUTE: i64 = 60_000;

/// Exit code, standard output and standard error.
fn score(dir: &Path, arguments: &str) -> (Option<i32>, String, String) {
    let mut all = vec!["score"];
    all.extend(arguments.split_whitespace());
    let output = run(dir, &all, seconds(60));
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn write(dir: &Path, name: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join(name), text).unwrap();
}

fn truth(post: &str, class: &str, dangerous_at: Option<i64>, sensor: &str) -> Value {
    json!({"post_id": post, "kind": "electric", "cause": "wet_joint", "class": class, "starts_at": T - 10 * MINUTE,
           "dangerous_at": dangerous_at, "ends_at": T + 300 * MINUTE, "period_s": 300, "sensor": sensor,
           "observable": sensor == "ok"})
}

/// A line of `backtest --json`.
fn told(id: &str, post: &str, at: i64) -> Value {
    json!({"id": id, "kind": "leak_critical", "severity": "P1", "scope": "post", "post_id": post, "feeder": "F1",
           "zone": "z1", "opened_at": at, "due_at": at + 30 * MINUTE, "state": "open", "members": [],
           "p1_at": at, "first_notice_at": at})
}

/// Five hazards: found, late, voided, unseen and missed; a marginal post; a false alarm.
fn storm() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let hazards = [
        truth("P1", "dangerous", Some(T), "ok"),
        truth("P2", "dangerous", Some(T), "ok"),
        truth("P3", "dangerous", Some(T), "ok"),
        truth("P4", "dangerous", Some(T), "failed:silent"),
        truth("P5", "marginal", None, "ok"),
    ];
    write(home.path(), "truth.jsonl", &hazards);
    let mut void = told("LG-3", "P3", T);
    void["state"] = json!("void");
    let told = [
        told("LG-1", "P1", T + 30_500),
        told("LG-2", "P2", T + 10 * MINUTE + 1),
        void,
        told("LG-5", "P5", T),
        told("LG-9", "P9", T),
    ];
    write(home.path(), "told.jsonl", &told);
    home
}

#[test]
fn the_figures_of_a_storm_are_printed_as_a_table_and_as_json() {
    let home = storm();
    let files = "--truth truth.jsonl --notices told.jsonl";
    let (code, out, err) = score(home.path(), &format!("{files} --details"));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let row = |name: &str| -> Vec<&str> {
        let line = out.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{out}")).split_whitespace().collect()
    };
    assert_eq!(row("to be found"), ["to", "be", "found", "4", "3", "1"]);
    assert_eq!(row("found"), ["found", "1", "1", "0"]);
    assert_eq!(row("late  "), ["late", "1", "1", "0"]);
    assert_eq!(row("missed"), ["missed", "2", "1", "1"]);
    assert_eq!(row("recall"), ["recall", "25.0", "%", "33.3", "%", "0.0", "%"]);
    assert_eq!(row("median")[1], "315.2");
    assert_eq!(row("false"), ["false", "1", "not", "known"]);
    assert!(out.contains("--posts posts.csv --nights N"), "how to get the rate is told:\n{out}");
    assert!(row("P1    wet_joint").ends_with(&["30.5", "found", "ok"]), "{out}");
    assert!(row("P3").join(" ").contains("missed (voided"), "{out}");
    assert_eq!(row("P4").last(), Some(&"failed:silent"));

    let (code, out, _) = score(home.path(), &format!("{files} --json"));
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out.lines().count()), (Some(0), 1));
    assert_eq!((&all["all"]["found"], &all["all"]["recall"]), (&json!(1), &json!(0.25)));
    assert_eq!((&all["p1"]["false"], &all["p1"]["marginal"]), (&json!(1), &json!(1)));
    assert_eq!(all["p1"]["false_per_1000_post_nights"], json!(null));
    let verdicts: Vec<&str> =
        all["hazards"].as_array().unwrap().iter().map(|hazard| hazard["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["found", "late", "missed", "missed"]);
    assert_eq!(all["hazards"][0]["delay_s"], json!(30.5));
}

#[test]
fn simulated_readings_are_marked_wherever_people_look_and_others_are_not() {
    let home = storm();
    let looks = |more: &str| {
        let files = format!("--truth truth.jsonl --notices told.jsonl {more}");
        let (code, text, err) = score(home.path(), &format!("{files} --svg storm.svg"));
        assert_eq!(code, Some(0), "{err}");
        let (_, json, _) = score(home.path(), &format!("{files} --json"));
        let json: Value = serde_json::from_str(&json).unwrap();
        let svg = std::fs::read_to_string(home.path().join("storm.svg")).unwrap();
        let title = svg.split("</title>").next().unwrap().to_owned();
        (text.starts_with("模拟数据 SIM\n"), title.ends_with("模拟数据 SIM"), json["simulated"].clone())
    };
    let reading = |flags: Value| json!({"received_at": T, "topic": "lamp/z1/P1/reading", "payload": {"leakage_ma": 1, "flags": flags}});
    write(home.path(), "real.jsonl", &[reading(json!(["leak_alarm"]))]);
    write(home.path(), "sim.jsonl", &[reading(json!(["simulated"]))]);
    let (plain, marked) = ((false, false, json!(false)), (true, true, json!(true)));
    assert_eq!(looks(""), plain);
    assert_eq!(looks("--readings real.jsonl"), plain);
    assert_eq!(looks("--readings sim.jsonl"), marked);
    let mut incident = told("LG-1", "P1", T);
    incident["notes"] = json!(["模拟数据"]);
    write(home.path(), "told.jsonl", &[incident]);
    assert_eq!(looks(""), marked);
}

#[test]
fn a_recording_that_lacks_frames_is_read_and_said_not_to_be_whole() {
    let home = storm();
    let reading = json!({"received_at": T, "topic": "lamp/z1/P1/reading", "payload": {"leakage_ma": 1}});
    write(home.path(), "readings.jsonl", &[reading, json!({"missed_frames": 12})]);
    let files = "--truth truth.jsonl --notices told.jsonl --readings readings.jsonl";
    let (code, _, err) = score(home.path(), files);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("12 frame(s)") && err.contains("not whole"), "{err}");
}

#[test]
fn patrols_that_nobody_can_judge_are_counted_beside_the_false_ones_and_judged_with_a_recording() {
    let home = storm();
    let mut patrol = told("LG-1", "", T);
    (patrol["kind"], patrol["post_id"], patrol["members"]) =
        (json!("feeder_dark"), json!(null), json!(["P4"]));
    write(home.path(), "told.jsonl", &[patrol]);
    let register: String = (1..=4).map(|n| format!("P{n},,z1,r,{n},,F1,C1,113,35,1,100,false,,\n")).collect();
    std::fs::write(home.path().join("posts.csv"), format!("{HEADER}\n{register}")).unwrap();
    let reading = |n: i64, at: i64| json!({"received_at": at, "topic": format!("lamp/z1/P{n}/reading"), "payload": {"leakage_ma": 1}});
    // P4 is silent, the others report.
    let lines: Vec<Value> =
        (-20..20).flat_map(|minute| (1..4).map(move |n| reading(n, T + minute * MINUTE))).collect();
    write(home.path(), "readings.jsonl", &lines);
    let files = "--truth truth.jsonl --notices told.jsonl --json";
    for (more, figures, said) in
        [("", [1, 0, 1], true), ("--readings readings.jsonl --posts posts.csv", [0, 1, 0], false)]
    {
        let (code, out, err) = score(home.path(), &format!("{files} {more}"));
        assert_eq!((code, err.contains("1 patrol(s) were not judged")), (Some(0), said), "{err}");
        let all: Value = serde_json::from_str(&out).unwrap();
        let told = [&all["unobservable"]["found"], &all["p1"]["false"], &all["p1"]["unjudged"]];
        assert_eq!(told, figures.map(|figure| json!(figure)).each_ref(), "{more}");
    }
}

#[test]
fn the_rate_of_false_alarms_comes_from_a_recording_or_from_a_register_and_nights() {
    let home = storm();
    let register: String =
        (0..250).map(|n| format!("P{n},,z1,r,{n},,F1,C1,113,35,1,100,false,,\n")).collect();
    std::fs::write(home.path().join("posts.csv"), format!("{HEADER}\n{register}")).unwrap();
    let reading = |n: i64, at: i64| json!({"received_at": at, "topic": format!("lamp/z1/P{n}/reading"), "payload": {"leakage_ma": 1}});
    let mut lines: Vec<Value> = (0..100).map(|n| reading(n, T)).collect();
    lines.push(json!({"received_at": T + MINUTE, "topic": "weather/z1/rain", "payload": {"rain_mm_h": 7.5}}));
    lines.push(reading(7, T + 12 * 60 * MINUTE));
    write(home.path(), "readings.jsonl", &lines);
    for (arguments, posts, rate) in [
        ("--readings readings.jsonl", 100, 20.0),
        ("--readings readings.jsonl --nights 1", 100, 10.0),
        ("--posts posts.csv --nights 4", 250, 1.0),
        ("--posts posts.csv --from 1795424400000 --until 1795597200000", 250, 2.0),
    ] {
        let arguments = format!("--truth truth.jsonl --notices told.jsonl --json {arguments}");
        let (code, out, err) = score(home.path(), &arguments);
        assert_eq!(code, Some(0), "{err}");
        let all: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(all["exposure"]["posts"], json!(posts), "{arguments}");
        assert_eq!(all["p1"]["false_per_1000_post_nights"], json!(rate), "{arguments}");
    }
}

#[test]
fn the_picture_of_the_storm_is_one_file_in_chinese_or_english() {
    let home = storm();
    let arguments = "--truth truth.jsonl --notices told.jsonl --svg storm.svg";
    for (more, words) in [("", "漏报"), ("--lang en", "missed (voided)")] {
        let (code, _, err) = score(home.path(), &format!("{arguments} {more}"));
        assert_eq!(code, Some(0), "{err}");
        let svg = std::fs::read_to_string(home.path().join("storm.svg")).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(words), "{more}");
    }
    let (code, _, err) = score(home.path(), &arguments.replace("storm.svg", "no/such/folder.svg"));
    assert!(code == Some(1) && err.contains("writing picture no/such/folder.svg"), "{err}");
}

#[test]
fn what_was_told_at_other_times_can_be_left_out() {
    let home = storm();
    let arguments = "--truth truth.jsonl --notices told.jsonl --json";
    let (_, out, _) = score(home.path(), &format!("{arguments} --from 2026-11-23T20:00:01+08:00"));
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&all["p1"]["false"], &all["all"]["found"]), (&json!(0), &json!(1)));
    let (_, out, _) = score(home.path(), &format!("{arguments} --until {T}"));
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&all["p1"]["judged"], &all["all"]["missed"]), (&json!(0), &json!(4)));
}

#[test]
fn wrong_use_and_wrong_files_are_named_with_the_way_out() {
    let home = storm();
    let dir = home.path();
    std::fs::write(dir.join("torn.jsonl"), "\n{\"post_id\":\"P1\"\n").unwrap();
    std::fs::write(dir.join("long.jsonl"), "x".repeat((1 << 20) + 1)).unwrap();
    write(dir, "lonely.jsonl", &[json!({"incident_id": "LG-1", "outcome": "sent", "at": T, "to": "desk"})]);
    let good = "--truth truth.jsonl --notices told.jsonl";
    for (arguments, code, words) in [
        ("--truth truth.jsonl", 2, "--notices"),
        ("--truth torn.jsonl --notices told.jsonl", 2, "torn.jsonl: line 2: "),
        ("--truth truth.jsonl --notices torn.jsonl", 2, "jq -c ."),
        ("--truth long.jsonl --notices told.jsonl", 2, "line 1: longer than 1048576 bytes"),
        ("--truth told.jsonl --notices told.jsonl", 2, "line 1: missing field `class`"),
        ("--truth truth.jsonl --notices truth.jsonl", 2, "docs/score.md"),
        ("--truth truth.jsonl --notices lonely.jsonl", 2, "/api/v1/incidents?state=all"),
        ("--truth gone.jsonl --notices told.jsonl", 1, "reading truth gone.jsonl"),
        ("--truth truth.jsonl --notices gone.jsonl", 1, "reading notices gone.jsonl"),
        ("--truth truth.jsonl --notices http://127.0.0.1:1", 2, "--token"),
        ("--truth truth.jsonl --notices http://127.0.0.1:1 --token t", 1, "is the instance running?"),
        ("--truth - --notices -", 2, "standard input"),
        (&format!("{good} --nights 0"), 2, "--nights"),
        (&format!("{good} --lang fr"), 2, "zh"),
        (&format!("{good} --from yesterday"), 2, "\"yesterday\" is not RFC 3339"),
        (&format!("{good} --from 2000 --until 1000"), 2, "--until is not after --from"),
        (&format!("{good} --readings told.jsonl"), 2, "told.jsonl: line 1: missing field `received_at`"),
        (&format!("{good} --posts truth.jsonl"), 2, "truth.jsonl"),
        (&format!("{good} --posts gone.csv"), 1, "reading register gone.csv"),
    ] {
        let (ended, out, err) = score(dir, arguments);
        assert_eq!(ended, Some(code), "{arguments}: {err}");
        assert!(out.is_empty() && err.contains(words), "{arguments}: {words} is missing in {err}");
    }
}

#[test]
fn a_running_instance_is_asked_what_it_told_and_whatever_a_webhook_got_gives_the_same() {
    let stub = WebhookStub::start();
    let site = Site::new().with(&stub.channel("secret.txt"));
    site.write("secret.txt", "one secret\n");
    let lampguard = site.start();
    let dangerous_at = common::now_ms();
    for (seq, leakage) in [(1, 80.0), (2, 81.0)] {
        Mqtt::connect(site.listener, "P001")
            .publish_and_wait("lamp/z1/P001/reading", reading(1, seq, leakage).as_bytes());
    }
    wait_until("the webhook", seconds(5), || !stub.opened().is_empty());
    wait_until("the outbox", seconds(5), || {
        let sent = |notice: &Value| notice["outcome"] == "sent";
        lampguard.items("/api/v1/notices").iter().any(sent)
    });
    let line = |post: &str| {
        json!({"post_id": post, "class": "dangerous", "starts_at": dangerous_at, "dangerous_at": dangerous_at,
               "period_s": 15})
    };
    write(site.dir(), "truth.jsonl", &[line("P001"), line("P002")]);
    let bodies: Vec<Value> = stub.opened().iter().map(|hook| hook.json()).collect();
    write(site.dir(), "bodies.jsonl", &bodies);
    let by_url = format!("{} --token {}", lampguard.url, lampguard.token);
    let config = site.path("lampguard.toml");
    for notices in ["local", &by_url, "bodies.jsonl"] {
        let config = config.to_str().unwrap();
        let arguments = format!("--config {config} --truth truth.jsonl --json --notices {notices}");
        let (code, out, err) = score(site.dir(), &arguments);
        assert_eq!(code, Some(0), "{notices}: {err}");
        let all: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&all["all"]["found"], &all["all"]["missed"]), (&json!(1), &json!(1)), "{notices}: {out}");
        assert_eq!((&all["p1"]["false"], &all["p1"]["judged"]), (&json!(0), &json!(1)), "{notices}");
        let delay = all["hazards"][0]["delay_s"].as_f64().unwrap();
        assert!((-1.0..10.0).contains(&delay), "{notices}: told after {delay} s");
        assert!(all["messages"]["count"].as_u64() >= Some(1), "{notices}: {}", all["messages"]);
        assert_eq!(all["arrivals"], json!(null));
    }
    let (code, _, err) =
        score(site.dir(), &format!("--truth truth.jsonl --notices {} --token bad", lampguard.url));
    assert!(code == Some(1) && err.contains("answered 401"), "{err}");
}

/// Answers each request with what `answer` gives for its path; ends with the test.
fn pages(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let (status, body) = answer(head.split(' ').nth(1).unwrap_or_default());
            let (body, kind) = (body.to_string(), "Content-Type: application/json\r\nConnection: close");
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status} X\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn every_page_of_an_instance_is_read_and_an_answer_that_is_none_ends_it() {
    let home = storm();
    let notice = |id: &str, at: i64| {
        json!({"id": format!("N-{id}"), "incident_id": id, "event": "incident.opened", "step": 0, "to": "desk",
               "channel": "c", "outcome": "sent", "attempt": 1, "at": at})
    };
    let incident = |id: &str, post: &str| {
        let mut line = told(id, post, T);
        line.as_object_mut().unwrap().remove("first_notice_at");
        line
    };
    // LG-2 got P3 after its only notice: nobody was told of that post.
    let grown = move |line: Value| {
        let mut line = line;
        line["members"] = json!(["P3"]);
        line
    };
    let single = move |line: Value| {
        let mut line = grown(line);
        line["timeline"] = json!([{"at": T + 7_000, "event": "members", "body": {"members": ["P3"]}}]);
        line
    };
    let url = pages(move |path| match path {
        "/api/v1/notices?limit=1000" => (200, json!({"items": [notice("LG-1", T + 5_000)], "next": "7 &x"})),
        "/api/v1/notices?limit=1000&cursor=7%20%26x" => {
            (200, json!({"items": [notice("LG-2", T + 6_000)], "next": null}))
        }
        "/api/v1/incidents?state=all&limit=1000" => {
            (200, json!({"items": [incident("LG-1", "P1")], "next": "o.1.LG-1"}))
        }
        "/api/v1/incidents?state=all&limit=1000&cursor=o.1.LG-1" => {
            (200, json!({"items": [grown(incident("LG-2", "P2"))], "next": null}))
        }
        "/api/v1/incidents/LG-2" => (200, single(incident("LG-2", "P2"))),
        other => (404, json!({"error": {"code": "not_found", "message": other}})),
    });
    let (code, out, err) =
        score(home.path(), &format!("--truth truth.jsonl --json --notices {url} --token t"));
    assert_eq!(code, Some(0), "{err}");
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&all["all"]["found"], &all["messages"]["count"]), (&json!(2), &json!(2)), "{out}");

    let circle = pages(|_| (200, json!({"items": [], "next": "same"})));
    let broken = pages(|_| (503, json!({"error": {"code": "unavailable", "message": "later"}})));
    let other = pages(|_| (200, json!(7)));
    for (url, code, words) in
        [(circle, 1, "names itself as the next one"), (broken, 1, "answered 503"), (other, 2, "no incident")]
    {
        let (ended, out, err) = score(home.path(), &format!("--truth truth.jsonl --notices {url} --token t"));
        assert_eq!((ended, out.as_str()), (Some(code), ""), "{err}");
        assert!(err.contains(words), "{words} is missing in {err}");
    }
}
