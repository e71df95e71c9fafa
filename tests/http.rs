//! Every route of the HTTP interface on a running instance: who may, what it answers, where its limits are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write as _;

use common::http::{Browser, try_get, try_post};
use common::process::{Program, program, texts};
use common::{Mqtt, Site, now_ms, reading, seconds, wait_until};
use serde_json::{Value, json};

const READ: [&str; 13] = [
    "/api/v1/posts",
    "/api/v1/posts/P001",
    "/api/v1/posts/P001/history",
    "/api/v1/devices",
    "/api/v1/incidents",
    "/api/v1/incidents?state=all",
    "/api/v1/notices",
    "/api/v1/accounting",
    "/api/v1/devices?registered=false",
    "/api/v1/zones",
    "/api/v1/zones?roads=true",
    "/api/v1/policy",
    "/api/v1/posts/P001/explain",
];

#[test]
fn routes_without_login_answer_and_all_others_ask_for_a_token() {
    let site = Site::new();
    let lampguard = site.start();
    for path in ["/healthz", "/readyz", "/metrics", "/signin"] {
        let answer = try_get(&format!("{}{path}", lampguard.url), None).unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in READ.iter().chain(&["/api/v1/recording", "/api/v1/incidents/LG-X"]) {
        for token in [None, Some("0000"), Some("")] {
            let answer = try_get(&format!("{}{path}", lampguard.url), token).unwrap();
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path} {token:?}");
        }
    }
    for path in ["/api/v1/readings", "/api/v1/weather", "/api/v1/quarantine/retry"] {
        let answer = try_post(&format!("{}{path}", lampguard.url), None, b"{}").unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}");
    }
    let answer = lampguard.get("/api/v1/no-such-route");
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let answer = lampguard.post("/api/v1/posts", "{}");
    assert_eq!((answer.status, answer.code().as_str()), (405, "method"));
    assert_eq!(lampguard.accounting()["received"], 0);
}

#[test]
fn each_role_may_do_its_own_and_nothing_more() {
    let site = Site::new();
    let lampguard = site.start();
    let body = json!([{"post_id": "P001", "leakage_ma": 0.5}]).to_string();
    let weather = json!({"zone": "z1", "rain_mm_h": 0.0}).to_string();
    let posts = [
        ("/api/v1/readings", body.as_str()),
        ("/api/v1/weather", weather.as_str()),
        ("/api/v1/quarantine/retry", "{}"),
    ];
    let roles = [
        ("viewer", [403, 403, 403]),
        ("crew", [200, 403, 403]),
        ("duty", [200, 200, 403]),
        ("engineer", [200, 200, 200]),
        ("admin", [200, 200, 200]),
    ];
    for (role, expected) in roles {
        let zone: &[&str] = if role == "crew" { &["--zone", "z1"] } else { &[] };
        // Made beside the running instance, and valid at once.
        let token = site.token(role, zone);
        for path in READ {
            let answer = try_get(&format!("{}{path}", lampguard.url), Some(&token)).unwrap();
            assert_eq!(answer.status, 200, "{role} {path}: {}", answer.text);
        }
        for ((path, body), expected) in posts.iter().zip(expected) {
            let answer =
                try_post(&format!("{}{path}", lampguard.url), Some(&token), body.as_bytes()).unwrap();
            assert_eq!(answer.status, expected, "{role} {path}: {}", answer.text);
            assert!(answer.status != 403 || answer.code() == "forbidden", "{}", answer.text);
        }
    }
    assert_eq!(lampguard.balanced()["stored"], 4);
}

#[test]
fn lists_have_limits_and_cursors_and_refuse_wrong_questions() {
    let site = Site::new();
    let lampguard = site.start();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lampguard.json(&format!("/api/v1/posts?limit=7{cursor}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 7);
        seen.extend(items.iter().map(|item| item["post_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (1..=40).map(|n| format!("P{n:03}")).collect();
    assert_eq!(seen, expected, "every post once, in the order of the register");
    assert_eq!(lampguard.items("/api/v1/posts?zone=z2").len(), 20);
    assert_eq!(lampguard.items("/api/v1/posts?q=P01").len(), 10);
    assert_eq!(lampguard.items("/api/v1/posts?state=danger").len(), 0);
    let wrong = [
        "/api/v1/posts?limit=0",
        "/api/v1/posts?limit=1001",
        "/api/v1/posts?limit=many",
        "/api/v1/posts?cursor=none-of-yours",
        "/api/v1/posts?colour=red",
        "/api/v1/incidents?state=half-open",
        "/api/v1/incidents?kind=flood",
        "/api/v1/incidents?from=yesterday",
        "/api/v1/posts/P001/history?fields=leakage_ma,colour",
        "/api/v1/posts/P001/history?limit=10001",
        "/api/v1/posts/P001/history?from=2026-11-23",
        "/api/v1/notices?limit=0",
        "/api/v1/devices?registered=perhaps",
    ];
    for path in wrong {
        let answer = lampguard.get(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        let fault: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let message = fault["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{path} answers a fault that is not the contract's: {}", answer.text);
    }
    for path in ["/api/v1/posts/P999", "/api/v1/posts/P999/history", "/api/v1/incidents/LG-NONE"] {
        let answer = lampguard.get(path);
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[test]
fn posted_readings_are_stored_doubled_or_quarantined_each_by_its_index() {
    let site = Site::new();
    let lampguard = site.start();
    let ts = now_ms();
    let batch = json!([
        {"post_id": "P001", "ts": ts, "boot": 1, "seq": 1, "leakage_ma": 0.5},
        {"post_id": "P001", "ts": ts, "boot": 1, "seq": 1, "leakage_ma": 0.5},
        {"post_id": "P002", "ts": ts},
        {"leakage_ma": 0.5},
        7,
        {"device": "P003", "ts": ts, "leakage_ma": "1.25"},
    ]);
    let answer = lampguard.post("/api/v1/readings", &batch.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let expected = json!({"stored": 2, "duplicate": 1, "quarantined": [
        {"index": 2, "reason": "no_measurement"},
        {"index": 3, "reason": "bad_device"},
        {"index": 4, "reason": "not_object"},
    ]});
    let mut got = answer.json();
    got["quarantined"].as_array_mut().unwrap().sort_by_key(|item| item["index"].as_u64());
    assert_eq!(got, expected);

    let not_json = lampguard.post("/api/v1/readings", "{\"leakage_ma\":");
    assert_eq!((not_json.status, not_json.code().as_str()), (400, "json"));
    let too_long = lampguard.post("/api/v1/readings", &format!("[{}]", " ".repeat(4 << 20)));
    assert_eq!(too_long.status, 413, "{}", too_long.text);
    assert!(!too_long.code().is_empty(), "{}", too_long.text);
    let books = lampguard.balanced();
    let quarantined = json!({"no_measurement": 1, "bad_device": 1, "not_object": 1, "json": 1});
    assert_eq!(books["quarantined"], quarantined, "{books}");
    assert_eq!((&books["stored"], &books["duplicate"]), (&json!(2), &json!(1)));
}

#[test]
fn ten_thousand_readings_go_in_one_request_and_the_next_one_is_refused() {
    let site = Site::new();
    let lampguard = site.start();
    let (start, one) = (
        now_ms() - 20_000,
        |n: i64, start: i64| json!({"post_id": "P001", "ts": start + n, "leakage_ma": 1}),
    );
    let batch: Vec<Value> = (0..10_001).map(|n| one(n, start)).collect();
    let answer = lampguard.post("/api/v1/readings", &Value::Array(batch).to_string());
    let expected = json!({"stored": 10_000, "duplicate": 0, "quarantined": [{"index": 10_000, "reason": "batch_too_long"}]});
    assert_eq!(answer.json(), expected);
    wait_until("the rows", seconds(10), || {
        let history = lampguard.json("/api/v1/posts/P001/history?fields=leakage_ma&limit=9000");
        history["next"].is_string() && history["rows"].as_array().unwrap().len() == 9000
    });
    let first = lampguard.json("/api/v1/posts/P001/history?fields=leakage_ma&limit=9000");
    let next = first["next"].as_str().unwrap();
    let second =
        lampguard.json(&format!("/api/v1/posts/P001/history?fields=leakage_ma&limit=9000&cursor={next}"));
    assert_eq!(second["rows"].as_array().unwrap().len(), 1000, "no row twice, none left out");
    assert!(second["next"].is_null());
}

#[test]
fn two_readings_of_one_post_with_the_same_time_and_different_values_are_both_stored() {
    let site = Site::new();
    let lampguard = site.start();
    let ts = now_ms() - 5000;
    let batch = json!([
        {"post_id": "P001", "ts": ts, "leakage_ma": 1.0},
        {"post_id": "P001", "ts": ts, "leakage_ma": 2.0},
        {"post_id": "P001", "ts": ts, "leakage_ma": 2.0},
    ]);
    let answer = lampguard.post("/api/v1/readings", &batch.to_string()).json();
    assert_eq!((&answer["stored"], &answer["duplicate"]), (&json!(2), &json!(1)), "{answer}");
    wait_until("both rows", seconds(5), || lampguard.history("P001", "leakage_ma").len() == 2);
    let rows = lampguard.history("P001", "leakage_ma");
    let millis = |row: &Value| row[0].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!((millis(&rows[0]), millis(&rows[1])), (ts, ts + 1));
    assert_eq!((rows[0][1].as_f64(), rows[1][1].as_f64()), (Some(1.0), Some(2.0)));
    let marks = lampguard.json("/api/v1/posts/P001")["last"]["marks"].clone();
    assert!(
        ["ts_moved", "seq_reused"].iter().all(|mark| marks.as_array().unwrap().contains(&json!(mark))),
        "{marks}"
    );
}

#[test]
fn weather_makes_a_post_wet_and_dry_and_wrong_weather_is_refused() {
    let site = Site::new();
    let lampguard = site.start();
    for (body, status) in [
        ("{\"zone\":\"z1\",\"rain_mm_h\":12.5,\"warning\":\"yellow\"}", 200),
        ("{\"zone\":\"z2\",\"rain_mm_h\":0}", 200),
        ("{\"rain_mm_h\":0,\"zone\":\"z9\"}", 400),
        ("{\"zone\":\"z1\"", 400),
        ("[]", 400),
    ] {
        let answer = lampguard.post("/api/v1/weather", body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    wait_until("the posts of z1 to be wet", seconds(5), || {
        let of = |post: &str| lampguard.json(&format!("/api/v1/posts/{post}"))["wet"].clone();
        of("P001") == json!(true) && of("P030") == json!(false)
    });
    assert_eq!(lampguard.accounting()["received"], 0, "weather is no reading");
}

#[test]
fn devices_that_nobody_registered_are_listed_for_enrolment() {
    let site = Site::new();
    let lampguard = site.start();
    let mut gateway = Mqtt::connect(site.listener, "gateway");
    for device in ["stranger-1", "stranger-2", "P001"] {
        gateway.publish_and_wait(&format!("lamp/z1/{device}/reading"), reading(1, 1, 0.5).as_bytes());
    }
    wait_until("the devices", seconds(5), || lampguard.items("/api/v1/devices").len() == 3);
    let strangers = lampguard.items("/api/v1/devices?registered=false");
    let names: Vec<&str> = strangers.iter().map(|item| item["device"].as_str().unwrap()).collect();
    assert_eq!(names, ["stranger-1", "stranger-2"]);
    let first = lampguard.json("/api/v1/devices?limit=1");
    let next = first["next"].as_str().unwrap();
    let second = lampguard.json(&format!("/api/v1/devices?limit=2&cursor={next}"));
    assert_eq!(second["items"].as_array().unwrap().len(), 2, "{second}");
    let stranger = lampguard.json("/api/v1/posts/stranger-1");
    assert_eq!((&stranger["zone"], &stranger["state"]), (&json!("unregistered"), &json!("unregistered")));
    assert_eq!(lampguard.items("/api/v1/posts?zone=unregistered").len(), 2);
}

/// `record` beside the running instance.
fn record(site: &Site, duration: &str) -> Program {
    let mut command = program();
    command.arg("--config").arg(site.path("lampguard.toml"));
    command.args(["record", "--duration", duration, "--out"]).arg(site.path("recording.jsonl"));
    Program::start("lampguard record", command)
}

#[test]
fn record_writes_lines_of_the_contract_and_ends_after_its_duration() {
    let site = Site::new();
    let lampguard = site.start();
    let mut recording = record(&site, "4");
    // Sends until the recording is known to be open and has something.
    let mut sensor = Mqtt::connect(site.listener, "P001");
    let mut seq = 0;
    let status = loop {
        seq += 1;
        sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, 0.5).as_bytes());
        if seq % 10 == 0 {
            lampguard.post("/api/v1/weather", "{\"zone\":\"z1\",\"rain_mm_h\":1.5}");
        }
        if let Some(status) = recording.wait(std::time::Duration::from_millis(50)) {
            break status;
        }
        assert!(seq < 400, "record goes on after its duration");
    };
    assert!(status.success(), "{}", recording.stderr());
    let text = std::fs::read_to_string(site.path("recording.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |topic: &str| lines.iter().filter(|line| line["topic"] == topic).count();
    assert!(of("lamp/z1/P001/reading") > 10 && of("weather/z1/rain") > 0, "{} lines", lines.len());
    for line in &lines {
        assert!(line["received_at"].is_i64() && line["payload"].is_object(), "{line}");
    }
    let reading = lines.iter().find(|line| line["topic"] == "lamp/z1/P001/reading").unwrap();
    assert_eq!(reading["payload"]["boot"], 1, "{reading}");
}

#[test]
fn record_writes_what_is_said_besides_of_a_hazard_too() {
    let site = Site::new();
    let lampguard = site.start();
    let token = site.token("duty", &[]);
    let mut desk = Browser::new(&lampguard.url).saying("Authorization", &format!("Bearer {token}"));
    let mut recording = record(&site, "4");
    // Until the recording is known to be open.
    let mut n = 0;
    let status = loop {
        n += 1;
        let told =
            desk.form("/report", &format!("key=k{n}&what=live&post_id=P001&place=behind+the+bus+stop"));
        assert_eq!(told.status, 303, "{}", told.text);
        if let Some(status) = recording.wait(std::time::Duration::from_millis(200)) {
            break status;
        }
        assert!(n < 100, "record goes on after its duration");
    };
    assert!(status.success(), "{}", recording.stderr());
    let text = std::fs::read_to_string(site.path("recording.jsonl")).unwrap();
    let note = text.lines().find(|line| line.contains("\"note\"")).unwrap_or_else(|| panic!("{text}"));
    assert!(note.contains("behind the bus stop"), "{note}");
}

#[test]
fn record_with_nobody_to_ask_fails_and_says_what_to_do() {
    let site = Site::new();
    let output = site.run(&["record", "--out", "x.jsonl", "--duration", "1"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("local.json") && err.contains("--url"), "{err}");
}

#[test]
fn a_record_without_traffic_ends_after_its_duration_too() {
    let site = Site::new();
    let lampguard = site.start();
    let mut recording = record(&site, "2");
    let status = recording.wait(seconds(8));
    assert!(status.is_some(), "record waits for a line that never comes");
    assert!(lampguard.is_ready());
}

#[test]
fn a_slow_and_a_broken_http_client_hold_up_nobody() {
    let site = Site::new();
    let lampguard = site.start();
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", site.web)).unwrap();
        stream.write_all(b"POST /api/v1/readings HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
        held.push(stream);
    }
    assert_eq!(lampguard.post("/api/v1/readings", "[{\"post_id\":\"P001\",\"leakage_ma\":1}]").status, 200);
    // Nor do they hold up the end.
    lampguard.stop();
}
