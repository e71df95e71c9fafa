//! Metric names: what papers and dashboards use has to be made by a `metrics.rs`, and fixed names stay.

use std::collections::{BTreeMap, BTreeSet};

use super::{ARROWS, Faults, File, clean, tree, with_end};

/// Names that other people's dashboards and alert rules use: they never change.
const FIXED_METRICS: [&str; 14] = [
    "lampguard_ingester_received_total",
    "lampguard_ingester_stored_total",
    "lampguard_ingester_duplicate_total",
    "lampguard_ingester_quarantined_total",
    "lampguard_ingester_refused_total",
    "lampguard_ingester_mended_total",
    "lampguard_ingester_gap_total",
    "lampguard_journal_pending_readings",
    "lampguard_tsdb_written_total",
    "lampguard_tsdb_rejected_total",
    "lampguard_tsdb_lag_seconds",
    "lampguard_alerting_open_incidents",
    "lampguard_alerting_notice_total",
    "lampguard_alerting_alarm_seconds",
];

/// Words of `a-z0-9_` that begin with our prefix.
fn metric_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("lampguard_").filter_map(move |(at, _)| {
        let fresh = !text[..at].ends_with(part);
        let rest = &text[at..];
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        fresh.then_some((at, &rest[..end]))
    })
}

/// Names that a `metrics.rs` makes: whole in a literal, or as the rest of a `format!` with a fixed beginning.
fn made_metrics(source: &str) -> BTreeSet<String> {
    let (mut names, mut beginnings) = (BTreeSet::new(), Vec::new());
    for (at, word) in metric_words(source).filter(|(at, _)| source[..*at].ends_with('"')) {
        let rest = &source[at + word.len()..];
        if rest.starts_with('"') {
            names.insert(word.to_owned());
        } else if rest.starts_with("{name}") {
            beginnings.push(word);
        }
    }
    for call in ["counter(", "gauge("] {
        let literals = source
            .split(call)
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'));
        for (literal, _) in literals.filter(|(literal, _)| !literal.starts_with("lampguard_")) {
            names.extend(beginnings.iter().map(|beginning| format!("{beginning}{literal}")));
        }
    }
    names
}

/// Words that look like metrics and are none: our own libraries as Rust names them.
fn is_crate(word: &str) -> bool {
    ARROWS.iter().any(|(name, _)| name.replace('-', "_") == word)
}

fn unknown_metrics(files: &[&File], made: &BTreeSet<String>) -> (usize, Faults) {
    let (mut looked, mut faults) = (0, Faults::new());
    for (path, text) in files {
        for (_, word) in metric_words(text).filter(|(_, word)| !is_crate(word)) {
            looked += 1;
            let known = if word.ends_with('_') {
                // A pattern such as `lampguard_tsdb_*`.
                made.iter().any(|name| name.starts_with(word))
            } else {
                let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
                made.contains(word) || plain.is_some_and(|plain| made.contains(plain))
            };
            if !known {
                faults.push(format!("{path}: {word} is in no metrics.rs"));
            }
        }
    }
    (looked, faults)
}

#[test]
fn papers_and_dashboards_use_only_metrics_that_exist() {
    let files = tree();
    let mut made = BTreeMap::new();
    for (path, source) in with_end(&files, "/metrics.rs") {
        for name in made_metrics(source) {
            let other = made.insert(name.clone(), path.clone());
            assert_eq!(other, None, "{name} is made twice");
        }
    }
    let mut names: BTreeSet<String> = made.into_keys().collect();
    assert!(names.len() > 40, "only {} metrics were found", names.len());
    let missing: Faults = FIXED_METRICS
        .iter()
        .filter(|name| !names.contains(**name))
        .map(|name| format!("{name} is fixed and gone"))
        .collect();
    clean(&missing);
    // The measurement `lampguard`, which a time-series database is given: VictoriaMetrics names its fields like metrics.
    names.extend(lampguard_model::series::metric_names().map(|(name, ..)| name));
    let folders = ["docs/", "deploy/", "dashboards/", "README", "ARCHITECTURE", "STYLE", "CHANGELOG"];
    // Broken dashboards are broken on purpose.
    let broken = |path: &str| path.starts_with("dashboards/tests/broken/");
    let papers: Vec<&File> = files
        .iter()
        .filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)) && !broken(path))
        .collect();
    let (looked, faults) = unknown_metrics(&papers, &names);
    assert!(looked > 10, "only {looked} names were looked at");
    clean(&faults);
}

#[test]
fn a_metric_that_nobody_makes_is_found() {
    let source = r#"format!("lampguard_history_{name}") counter("rows_total", "Rows.") gauge(
        "disk_bytes", "Bytes.") counter("lampguard_tsdb_up", "1 while it answers")"#;
    let made = made_metrics(source);
    let names: Vec<&str> = made.iter().map(String::as_str).collect();
    assert_eq!(names, ["lampguard_history_disk_bytes", "lampguard_history_rows_total", "lampguard_tsdb_up"]);
    let paper = |text: &str| ("docs/a.md".to_owned(), text.to_owned());
    let good = paper(
        "`lampguard_history_rows_total`, lampguard_tsdb_*, lampguard_model::wire, lampguard_tsdb_up_sum",
    );
    assert_eq!(unknown_metrics(&[&good], &made), (3, Faults::new()));
    let bad = paper("sum(lampguard_history_row_total) lampguard_nothing_*");
    assert_eq!(unknown_metrics(&[&bad], &made).1.len(), 2);
}
