//! Grafana's files by the built program: exported, looked at, and what they name is there in a running instance.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use common::process::{run, texts};
use common::{Site, seconds};
use lampguard_dashboards::alerts::ALERTS;
use lampguard_dashboards::lint::SCRAPED;

fn told(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(dir, arguments, seconds(60));
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn names(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

#[test]
fn export_writes_one_set_or_all_four_and_leaves_other_files_alone() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("one")).unwrap();
    std::fs::write(at("one/own.json"), "{}").unwrap();
    std::fs::write(at("one/lg-duty.json"), "old").unwrap();
    let url = "https://lamp.example:8443/";
    let one = [
        "dashboards",
        "export",
        "--datasource",
        "influxql",
        "--lang",
        "zh",
        "--public-url",
        url,
        "--out",
        "one",
    ];
    let (code, out, err) = told(home.path(), &one);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("one: 7 dashboards (influxql, zh)"), "{out}");
    let made = ["lg-duty", "lg-lit", "lg-post", "lg-rain", "lg-sla", "lg-system", "lg-zone"]
        .map(|n| format!("{n}.json"));
    assert_eq!(names(&at("one")), [&made[..], &["own.json".to_owned()]].concat());
    assert_eq!(std::fs::read_to_string(at("one/own.json")).unwrap(), "{}");
    let duty = std::fs::read_to_string(at("one/lg-duty.json")).unwrap();
    assert!(duty.contains("https://lamp.example:8443/tiles/{z}/{x}/{y}.png") && duty.contains("值班总览"));
    let (code, out, _) = told(home.path(), &["dashboards", "export", "--out", "all"]);
    assert_eq!((code, out.lines().count()), (Some(0), 4));
    assert_eq!(names(&at("all")), ["influxql-en", "influxql-zh", "prometheus-en", "prometheus-zh"]);
    for set in names(&at("all")) {
        assert_eq!(names(&at("all").join(set)), made);
    }
    let (code, _, err) = told(home.path(), &["dashboards", "export", "--out", "one/own.json"]);
    assert!(code == Some(2) && err.contains("is a file, give a directory"), "{err}");
    for wrong in [
        &["dashboards", "export"][..],
        &["dashboards", "export", "--out", "x", "--lang", "zh"],
        &["dashboards", "export", "--out", "x", "--datasource", "flux", "--lang", "zh"],
        &["dashboards", "export", "--out", "x", "--public-url", "lamp.example"],
    ] {
        let (code, _, err) = told(home.path(), wrong);
        assert!(code == Some(2) && !err.is_empty(), "{wrong:?}: {err}");
    }
    let (code, out, err) = told(home.path(), &["dashboards", "alerts", "--lang", "en", "--out", "deploy"]);
    assert!(code == Some(0) && out.contains(&format!("{} rules", ALERTS.len())), "{out}{err}");
    assert!(at("deploy/grafana/alerting/lampguard.yaml").exists() && at("deploy/alerts.rules.yaml").exists());
}

#[test]
fn lint_finds_nothing_in_what_was_exported_and_names_rule_and_file_in_what_was_broken() {
    let home = tempfile::tempdir().unwrap();
    let export = ["dashboards", "export", "--datasource", "prometheus", "--lang", "en", "--out", "set"];
    assert_eq!(told(home.path(), &export).0, Some(0));
    let (code, out, err) = told(home.path(), &["dashboards", "lint", "set"]);
    assert_eq!((code, out.as_str()), (Some(0), "7 file(s): nothing found\n"), "{err}");
    let path = home.path().join("set/lg-lit.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("zone_lamps_due", "zone_lamps_dew")).unwrap();
    let (code, out, err) = told(home.path(), &["dashboards", "lint", "set"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("lg-lit.json: [name]") && out.contains("zone_lamps_dew"), "{out}");
    std::fs::create_dir(home.path().join("empty")).unwrap();
    let (code, _, err) = told(home.path(), &["dashboards", "lint", "empty"]);
    assert!(code == Some(1) && err.contains("no *.json"), "{err}");
}

/// Status line and headers in small letters, and body.
fn raw(url: &str, method: &str, path: &str) -> (String, Vec<u8>) {
    let address = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(seconds(20))).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), bytes[end + 4..].to_vec())
}

#[test]
fn the_map_has_its_tiles_and_outlines_without_a_login_and_nothing_of_posts() {
    let lampguard = Site::new().start();
    let url = &lampguard.url;
    for method in ["GET", "HEAD"] {
        let (head, body) = raw(url, method, "/tiles/15/26712/13021.png");
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for header in ["content-type: image/png", "access-control-allow-origin: *", "cache-control: public"] {
            assert!(head.contains(header), "{method}: {header} in {head}");
        }
        assert_eq!(body.is_empty(), method == "HEAD");
        assert!(method == "HEAD" || body.starts_with(b"\x89PNG"));
    }
    for wrong in [
        "/tiles/23/0/0.png",
        "/tiles/2/4/0.png",
        "/tiles/2/0/4.png",
        "/tiles/2/0/0",
        "/tiles/2/-1/0.png",
        "/tiles/99999999999/0/0.png",
    ] {
        let (head, _) = raw(url, "GET", wrong);
        assert!(head.starts_with("http/1.1 404"), "{wrong}: {head}");
    }
    let (head, body) = raw(url, "GET", "/zones.geojson");
    assert!(head.starts_with("http/1.1 200") && head.contains("application/geo+json"), "{head}");
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let features = json["features"].as_array().unwrap();
    assert!(!features.is_empty());
    for feature in features {
        let ring = feature["geometry"]["coordinates"][0].as_array().unwrap();
        assert!(ring.len() >= 4 && ring.first() == ring.last(), "{ring:?}");
        let keys: Vec<&String> = feature["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["id", "name"]);
    }
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains("P001"), "{text}");
}

#[test]
fn what_alert_rules_ask_of_metrics_is_told_by_a_running_instance() {
    let source =
        |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let lampguard = Site::new().start();
    let text = lampguard.get("/metrics").text;
    // Parts that are not configured here tell nothing; their names stand in the sources.
    let sources =
        ["src/metrics.rs", "ingester/src/metrics.rs", "alerting/src/metrics.rs"].map(source).concat();
    let mut there = 0;
    for (name, labels) in SCRAPED.iter().filter(|(name, _)| name.starts_with("lampguard_")) {
        let plain = name.trim_end_matches("_bucket");
        there += usize::from(text.contains(&format!("# TYPE {plain} ")));
        assert!(sources.contains(&format!("\"{plain}\"")), "nobody makes {plain}");
        let series: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect();
        for label in labels.iter().filter(|_| !series.is_empty()) {
            assert!(series[0].contains(&format!("{label}=\"")), "{label} in {}", series[0]);
        }
    }
    assert!(there >= 10, "only {there} of {} were told", SCRAPED.len());
    for alert in &ALERTS {
        let asked = SCRAPED.iter().any(|(name, _)| alert.expr.contains(name));
        assert!(asked || alert.expr.contains("zone_"), "{} asks for nothing that is known", alert.name);
    }
}
