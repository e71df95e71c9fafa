//! The lint: nothing in what we make, and one thing in each broken dashboard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{PAGES, made};
use lampguard_dashboards::lint::lint_all;
use lampguard_dashboards::query::queries;
use lampguard_dashboards::{LANGS, SOURCES};

#[test]
fn what_we_make_breaks_no_rule() {
    let (mut panels, mut questions) = (0, 0);
    for source in SOURCES {
        for lang in LANGS {
            let files = made(source, lang);
            assert_eq!(files.len(), 7);
            for (name, findings) in lint_all(&files, &PAGES) {
                let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
                assert!(told.is_empty(), "{}-{} {name}:\n{}", source.word(), lang.word(), told.join("\n"));
            }
            for (_, text) in &files {
                let dashboard: lampguard_dashboards::grafana::Dashboard = serde_json::from_str(text).unwrap();
                questions += queries(&dashboard).len();
                panels += dashboard.panels.len();
            }
        }
    }
    println!("{panels} panels, {questions} questions in 28 dashboards");
    assert!(panels > 4 * 60 && questions > 4 * 100, "{panels} panels, {questions} questions were looked at");
}
