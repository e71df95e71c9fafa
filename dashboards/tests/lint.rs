//! The lint: nothing in what we make, and one thing in each broken dashboard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{PAGES, files, made, top};
use lampguard_dashboards::lint::{Finding, Rule, lint, lint_all};
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

/// Each broken dashboard: one of the two good ones with one defect, the rule that it breaks, and what the finding says.
const BROKEN: [(&str, Rule, &str); 40] = [
    ("unknown_top_key", Rule::Model, "pannels"),
    ("panels_not_list", Rule::Model, "expected a sequence"),
    ("no_type", Rule::Model, "missing field `type`"),
    ("options_typo", Rule::Options, "backgroundd"),
    ("gridpos_string", Rule::Model, "expected u32"),
    ("too_wide", Rule::Grid, "width 30"),
    ("thr_mode", Rule::Model, "abs"),
    ("threshold_str", Rule::Model, "expected f64"),
    ("ds_string", Rule::Datasource, r#""${ds}" is not"#),
    ("var_type", Rule::Model, "qery"),
    ("refresh_enum", Rule::Model, "refresh 9"),
    ("link_type", Rule::Model, "lnk"),
    ("bad_promql", Rule::Query, ") is missing"),
    ("unknown_var", Rule::VariableUnknown, "$zonne"),
    ("metric_typo", Rule::Name, "nobody makes zone_openp1"),
    ("dup_id", Rule::PanelId, "id 1 stands twice"),
    ("overlap", Rule::Grid, "lies over"),
    ("no_title", Rule::Title, "no title"),
    ("panel_type_typo", Rule::PanelType, "statt"),
    ("unit_typo", Rule::Unit, "milliampere"),
    ("not_json", Rule::Json, "EOF"),
    ("schema_43", Rule::SchemaVersion, "43"),
    ("uid_long", Rule::Uid, "lg-good-"),
    ("green_base", Rule::Neutral, "green"),
    ("link_nowhere", Rule::Link, "/board"),
    ("page_of_50", Rule::PageSize, "50 rows"),
    ("reassuring", Rule::Nothing, "no open incident"),
    ("no_description", Rule::Texts, "description"),
    ("other_language", Rule::Texts, "not in English"),
    ("bare_selector", Rule::BareSelector, "lamp_leakage_ma"),
    ("narrow_window", Rule::Window, "weather_rain_mm_h"),
    ("line_over_gap", Rule::Gap, "drawn over"),
    ("every_post", Rule::PerPost, "every post"),
    ("metricsql_only", Rule::Query, "median_over_time"),
    ("label_typo", Rule::Name, "label road"),
    ("unused_variable", Rule::VariableUnused, "$post"),
    ("influx_field_typo", Rule::Name, "open_pl"),
    ("influx_bare_name", Rule::Query, "double quotes"),
    ("influx_all_times", Rule::Unbounded, "all times"),
    ("influx_group_typo", Rule::Name, "roadd"),
];

fn look(name: &str, text: &str) -> Vec<Finding> {
    let uids = ["lg-good", "lg-good-influx", "lg-post"];
    let findings = lint(text, &PAGES, &uids);
    for finding in &findings {
        println!("{name}: {finding}");
    }
    findings
}

#[test]
fn each_broken_dashboard_breaks_the_one_rule_that_it_was_broken_for() {
    let there = files(&top().join("dashboards/tests/broken"), ".json");
    let mut looked = 0;
    for (file, text) in &there {
        let name = file.trim_end_matches(".json");
        let findings = look(name, text);
        if name.starts_with("good") {
            assert_eq!(findings, [], "{name}");
            continue;
        }
        let expected = BROKEN.iter().find(|(known, ..)| *known == name);
        let (_, rule, says) = expected.unwrap_or_else(|| panic!("{file} stands in no line of BROKEN"));
        let rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
        assert!(
            !rules.is_empty() && rules.iter().all(|one| one == rule),
            "{name}: {rules:?} is not {rule:?} alone"
        );
        assert!(findings.iter().any(|finding| finding.text.contains(says)), "{name}: {findings:?}");
        looked += 1;
    }
    println!("{looked} broken dashboards");
    assert_eq!(looked, BROKEN.len());
}

#[test]
fn two_dashboards_of_one_uid_are_found() {
    let good = std::fs::read_to_string(top().join("dashboards/tests/broken/good.json")).unwrap();
    let both = [("a".to_owned(), good.clone()), ("b".to_owned(), good)];
    for findings in lint_all(&both, &PAGES).values() {
        assert!(findings.iter().any(|finding| finding.rule == Rule::Uid), "{findings:?}");
    }
}

#[test]
fn in_every_list_of_open_incidents_the_gravest_stand_on_top_and_of_these_the_ones_that_nobody_has() {
    let mut lists = 0;
    for source in SOURCES {
        for (name, text) in made(source, lampguard_dashboards::Lang::En) {
            let dashboard: lampguard_dashboards::grafana::Dashboard = serde_json::from_str(&text).unwrap();
            for panel in dashboard.panels.iter().filter(|panel| panel.kind == "table") {
                let options = panel.options.clone().unwrap();
                let by = options["sortBy"].as_array().unwrap();
                let by: Vec<_> = by
                    .iter()
                    .map(|one| (one["displayName"].as_str().unwrap(), one["desc"].as_bool()))
                    .collect();
                if by.iter().any(|(title, _)| *title == "Time left") {
                    let up = Some(false);
                    assert_eq!(by, [("Severity", up), ("State", up), ("Time left", up)], "{name}");
                    lists += 1;
                }
            }
        }
    }
    assert!(lists >= 8, "{lists} lists");
}
