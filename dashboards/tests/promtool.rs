//! Prometheus' and Alertmanager's own programs read what we write: every question of every dashboard, the alert rules, the
//! scrape, the example of Alertmanager. Debian packages `prometheus` and `prometheus-alertmanager`; nothing is started.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use common::{made, top};
use lampguard_dashboards::grafana::Dashboard;
use lampguard_dashboards::query::{Form, Range, label_values, queries, substitute};
use lampguard_dashboards::{Lang, Source};

/// Runs a check, or says that it was left out.
fn check(program: &str, arguments: &[&str], file: &Path) -> Option<(bool, String)> {
    let output = match Command::new(program).args(arguments).arg(file).output() {
        Ok(output) => output,
        Err(e) => {
            let needed = std::env::var("LAMPGUARD_TESTS").is_ok_and(|which| which == "all");
            assert!(!needed, "{program}: {e}; apt-get install prometheus prometheus-alertmanager");
            println!("left out: {program} is not installed");
            return None;
        }
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn good(program: &str, arguments: &[&str], file: &Path) {
    if let Some((passed, text)) = check(program, arguments, file) {
        assert!(passed, "{program} {arguments:?} {}:\n{text}", file.display());
    }
}

/// Every question as a recording rule, which is what promtool reads.
fn as_rules(questions: &[String]) -> String {
    let mut text = "groups:\n  - name: questions\n    rules:\n".to_owned();
    for (number, question) in questions.iter().enumerate() {
        let quoted = serde_json::Value::from(question.as_str());
        writeln!(text, "      - record: question:{number}\n        expr: {quoted}").unwrap();
    }
    text
}

#[test]
fn prometheus_itself_reads_every_question_of_every_dashboard() {
    let range = Range { from_ms: 1_700_000_000_000, to_ms: 1_700_043_200_000, step_s: 30 };
    let filled = |text: &str| substitute(text, range, &BTreeMap::from([("post", "P1")]));
    let mut questions = Vec::new();
    for (_, text) in made(Source::Prometheus, Lang::En) {
        let dashboard: Dashboard = serde_json::from_str(&text).unwrap();
        for query in queries(&dashboard) {
            let text = match query.form {
                Form::LabelValues => label_values(&query.text).unwrap().0,
                _ => &query.text,
            };
            questions.push(filled(text));
        }
    }
    assert!(questions.len() > 100, "only {} questions", questions.len());
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("questions.yaml");
    std::fs::write(&file, as_rules(&questions)).unwrap();
    good("promtool", &["check", "rules", "--lint=none"], &file);
    // It has to have looked: what only MetricsQL has is refused.
    std::fs::write(&file, as_rules(&["median_over_time(zone_posts[5m])".to_owned()])).unwrap();
    if let Some((passed, text)) = check("promtool", &["check", "rules", "--lint=none"], &file) {
        assert!(!passed && text.contains("median_over_time"), "{text}");
    }
}

#[test]
fn prometheus_and_alertmanager_take_our_rules_and_files() {
    let file = |path: &str| top().join(path);
    good("promtool", &["check", "rules"], &file("deploy/alerts.rules.yaml"));
    good("promtool", &["check", "config"], &file("deploy/scrape.yml"));
    good("amtool", &["check-config"], &file("deploy/alertmanager.example.yml"));
}
