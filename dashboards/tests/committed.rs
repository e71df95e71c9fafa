//! The files of the project are those that the specification makes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{files, made, top};
use lampguard_dashboards::{LANGS, Lang, SOURCES, alerts, folder};

const MEND: &str = "run `cargo run -- dashboards export --out dashboards/grafana && cargo run -- dashboards alerts --out deploy`";

#[test]
fn the_committed_dashboards_are_those_of_the_specification() {
    for source in SOURCES {
        for lang in LANGS {
            let there = files(&top().join("dashboards/grafana").join(folder(source, lang)), ".json");
            let made = made(source, lang);
            let names = |files: &[(String, String)]| {
                let mut names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
                names.sort();
                names
            };
            assert_eq!(names(&there), names(&made), "{MEND}");
            for (name, text) in &made {
                let same = there.iter().any(|(known, old)| known == name && old == text);
                assert!(same, "{}/{name} differs from the specification: {MEND}", folder(source, lang));
            }
        }
    }
}

#[test]
fn the_committed_alert_rules_are_those_of_the_specification() {
    for (path, text) in [
        ("deploy/alerts.rules.yaml", alerts::prometheus()),
        ("deploy/grafana/alerting/lampguard.yaml", alerts::grafana(Lang::Zh)),
    ] {
        let there = std::fs::read_to_string(top().join(path)).unwrap();
        assert!(there == text, "{path} differs from the specification: {MEND}");
    }
}
