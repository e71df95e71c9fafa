//! What panels, variables and annotations ask.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, Rule, influxql, names, promql as language};
use crate::grafana::{Dashboard, Panel, Target, VariableKind};
use crate::query::{self, Range};

/// Variables of Grafana's own.
const GRAFANA: &str = "__";
/// A step as wide as that of a month.
const WIDE_STEP_S: u32 = 7200;
/// Any time will do: a question is read, not run.
const RANGE: Range = Range { from_ms: 1_700_000_000_000, to_ms: 1_700_043_200_000, step_s: 30 };

fn filled(text: &str) -> String {
    query::substitute(text, RANGE, &BTreeMap::from([("post", "P1")]))
}

pub(super) fn look(dashboard: &Dashboard, value: &Value, findings: &mut Findings) {
    variables(dashboard, value, findings);
    let plugin = if dashboard.tags.iter().any(|tag| tag == "influxql") { "influxdb" } else { "prometheus" };
    for variable in dashboard.templating.list.iter().filter(|one| one.kind == VariableKind::Query) {
        let of = format!("variable {}", variable.name);
        source(&of, variable.datasource.as_ref(), plugin, findings);
        if plugin == "influxdb" {
            influx(&of, &variable.query, findings);
        } else {
            match query::label_values(&variable.query) {
                Some((selector, label)) => label_values(&of, selector, label, findings),
                None => findings.add(Rule::Query, format!("{of}: no label_values(selector, label)")),
            }
        }
    }
    for annotation in &dashboard.annotations.list {
        let of = format!("annotation {:?}", annotation.name);
        source(&of, Some(&annotation.datasource), plugin, findings);
        target(&of, &annotation.target, plugin, findings);
    }
    for one in &dashboard.panels {
        panel(one, plugin, findings);
    }
}

fn panel(panel: &Panel, plugin: &str, findings: &mut Findings) {
    if matches!(panel.kind.as_str(), "row" | "text") {
        return;
    }
    let of = format!("panel {:?}", panel.title);
    source(&of, panel.datasource.as_ref(), plugin, findings);
    let targets = panel.targets.as_deref().unwrap_or_default();
    if targets.is_empty() {
        findings.add(Rule::Query, format!("{of}: asks nothing"));
    }
    let mut letters = BTreeSet::new();
    for one in targets {
        let of = format!("{of} {}", one.ref_id);
        if !letters.insert(&one.ref_id) {
            findings.add(Rule::Query, format!("{of}: the letter stands twice"));
        }
        target(&of, one, plugin, findings);
    }
    gaps(&of, panel, targets, findings);
}

/// Over time an empty step is a gap: by `fill(null)`, or by `insertNulls` where `fill(none)` leaves steps out.
fn gaps(of: &str, panel: &Panel, targets: &[Target], findings: &mut Findings) {
    if !matches!(panel.kind.as_str(), "timeseries" | "state-timeline") {
        return;
    }
    let custom = panel.field_config.as_ref().and_then(|config| config.defaults.custom.as_ref());
    let breaks = custom.is_some_and(|custom| custom.get("insertNulls").is_some_and(Value::is_number));
    let leaves_out = |one: &&Target| one.query.as_deref().is_some_and(ends_open);
    for one in targets.iter().filter(leaves_out).filter(|_| !breaks) {
        let letter = &one.ref_id;
        findings.add(
            Rule::Gap,
            format!(
                "{of} {letter}: fill(none) without insertNulls: a line is drawn over the time without data"
            ),
        );
    }
}

/// The outermost question leaves empty steps out.
fn ends_open(text: &str) -> bool {
    let Some((_, rest)) = text.rsplit_once("fill(none)") else { return false };
    rest.trim().is_empty() || rest.trim().starts_with("tz(")
}

/// The data source is an object, and the one that the variable chooses.
fn source(of: &str, given: Option<&Value>, plugin: &str, findings: &mut Findings) {
    let wanted = serde_json::json!({ "type": plugin, "uid": "${ds}" });
    if given != Some(&wanted) {
        let given = given.map_or_else(|| "none".to_owned(), ToString::to_string);
        findings.add(Rule::Datasource, format!("{of}: data source {given} is not {wanted}"));
    }
}

fn target(of: &str, target: &Target, plugin: &str, findings: &mut Findings) {
    source(of, target.datasource.as_ref(), plugin, findings);
    match (plugin, &target.expr, &target.query) {
        ("prometheus", Some(expr), None) => {
            let instant = target.instant == Some(true);
            promql_of(of, expr, instant, findings);
            if !instant {
                windows(of, expr, findings);
            }
        }
        ("influxdb", None, Some(text)) => influx(of, text, findings),
        _ => findings.add(Rule::Query, format!("{of}: no question in the language of {plugin}")),
    }
}

/// Every `$name` is declared, every declared one is used.
fn variables(dashboard: &Dashboard, value: &Value, findings: &mut Findings) {
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    strings(value, &mut |text| {
        for name in query::variables(text) {
            *used.entry(name.to_owned()).or_default() += 1;
        }
    });
    let declared: BTreeSet<&str> =
        dashboard.templating.list.iter().map(|variable| variable.name.as_str()).collect();
    if declared.len() != dashboard.templating.list.len() {
        findings.add(Rule::VariableUnknown, "a variable is declared twice");
    }
    let known = |name: &str| {
        declared.contains(name)
            || name.starts_with(GRAFANA)
            || name == "timeFilter"
            || name.starts_with("tag_")
    };
    for name in used.keys().filter(|name| !known(name)) {
        findings.add(Rule::VariableUnknown, format!("${name} is not declared"));
    }
    let repeats = |name: &str| dashboard.panels.iter().any(|panel| panel.repeat.as_deref() == Some(name));
    for name in declared.iter().filter(|name| !used.contains_key(**name) && !repeats(name)) {
        findings.add(Rule::VariableUnused, format!("${name} is declared and not used"));
    }
}

fn strings(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|value| strings(value, found)),
        Value::Object(map) => map.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

fn label_values(of: &str, selector: &str, label: &str, findings: &mut Findings) {
    match language::read(&filled(selector)) {
        Err(fault) => findings.add(Rule::Query, format!("{of}: {fault}")),
        Ok(touched) => {
            unknown(of, &touched, findings);
            let metric = touched.selectors.first().map_or("", |one| one.name.as_str());
            if names::labels(metric).is_some_and(|labels| !labels.contains(&label)) {
                findings.add(Rule::Name, format!("{of}: {metric} has no label {label}"));
            }
        }
    }
}

/// Metrics and labels that do not exist. Of a metric that does not exist nothing more is said.
fn unknown(of: &str, touched: &language::Touched, findings: &mut Findings) {
    let have: Vec<Option<Vec<&str>>> =
        touched.selectors.iter().map(|selector| names::labels(&selector.name)).collect();
    for (selector, labels) in touched.selectors.iter().zip(&have) {
        let Some(labels) = labels else {
            findings.add(Rule::Name, format!("{of}: nobody makes {}", selector.name));
            continue;
        };
        for (label, _) in selector.labels.iter().filter(|(label, _)| !labels.contains(&label.as_str())) {
            findings.add(Rule::Name, format!("{of}: {} has no label {label}", selector.name));
        }
    }
    for (label, from, to) in &touched.grouped {
        let inside = have.get(*from..(*to).min(have.len())).unwrap_or_default();
        let has = |labels: &Option<Vec<&str>>| {
            labels.as_ref().is_none_or(|labels| labels.contains(&label.as_str()))
        };
        if !inside.iter().any(has) {
            findings.add(Rule::Name, format!("{of}: nothing inside has a label {label}"));
        }
    }
}

fn promql_of(of: &str, text: &str, instant: bool, findings: &mut Findings) {
    let touched = match language::read(&filled(text)) {
        Ok(touched) => touched,
        Err(fault) => return findings.add(Rule::Query, format!("{of}: {fault}: {text}")),
    };
    unknown(of, &touched, findings);
    let mut posts = false;
    for selector in &touched.selectors {
        let measurement = names::measurement_of(&selector.name);
        if matches!(measurement, Some("lamp" | "cabinet")) && selector.window_ms.is_none() {
            findings.add(
                Rule::BareSelector,
                format!(
                    "{of}: {} without last_over_time(…[20m]) shows posts for minutes only",
                    selector.name
                ),
            );
        }
        let about_posts = measurement == Some("lamp");
        let bounded = selector.labels.iter().any(|(label, _)| matches!(label.as_str(), "zone" | "post"));
        posts |= about_posts && !bounded;
    }
    // Lines by post over time are thousands: only of one post, or the first few at one moment.
    let by_post = touched.by.last().is_none_or(|by| by.iter().any(|label| label == "post"));
    let one_post = touched.selectors.iter().all(|one| one.labels.iter().any(|(label, _)| label == "post"));
    let lamp = touched.selectors.iter().any(|one| names::measurement_of(&one.name) == Some("lamp"));
    let many = lamp && by_post && !one_post && !(touched.top && instant);
    if posts || many {
        findings.add(
            Rule::PerPost,
            format!(
                "{of}: asks every post; give it a zone, and one post or the first few (topk at one moment)"
            ),
        );
    }
}

/// Over time every value is shown in some step: a window that is shorter than the step loses what lies between. Steps grow
/// with the time that is shown, so a window of a fixed width is good only beside one of the step's.
fn windows(of: &str, text: &str, findings: &mut Findings) {
    let range = Range { step_s: WIDE_STEP_S, ..RANGE };
    let wide = query::substitute(text, range, &BTreeMap::from([("post", "P1")]));
    let Ok(touched) = language::read(&wide) else { return };
    let mut widest: BTreeMap<&str, u64> = BTreeMap::new();
    for one in &touched.selectors {
        if let Some(window_ms) = one.window_ms {
            let of_name = widest.entry(&one.name).or_default();
            *of_name = (*of_name).max(window_ms);
        }
    }
    let step_ms = u64::from(WIDE_STEP_S) * 1000;
    for (name, _) in widest.into_iter().filter(|(_, window_ms)| *window_ms < step_ms) {
        findings.add(
            Rule::Window,
            format!("{of}: the window of {name} is shorter than a wide step and loses what lies between: [$__interval]"),
        );
    }
}

/// What is wrong with a question in PromQL of an alert rule: it cannot be read, or names what does not exist.
pub fn promql(text: &str) -> Vec<String> {
    let mut findings = Findings::default();
    match language::read(&filled(text)) {
        Ok(touched) => unknown("expr", &touched, &mut findings),
        Err(fault) => findings.add(Rule::Query, format!("{fault}: {text}")),
    }
    findings.0.into_iter().map(|finding| finding.to_string()).collect()
}

fn influx(of: &str, text: &str, findings: &mut Findings) {
    let touched = match influxql::read(&filled(text)) {
        Ok(touched) => touched,
        Err(influxql::Fault::Syntax(fault)) => {
            return findings.add(Rule::Query, format!("{of}: {fault}: {text}"));
        }
        Err(influxql::Fault::Name(fault)) => {
            return findings.add(Rule::Name, format!("{of}: {fault}: {text}"));
        }
    };
    if !touched.bounded {
        findings.add(Rule::Unbounded, format!("{of}: asks for all times: $timeFilter is missing"));
    }
    let bounded = touched.conditions.contains("zone") || touched.conditions.contains("post");
    let lamp = touched.measurements.contains("lamp");
    let many = touched.groups.contains("post") && !touched.top && !touched.conditions.contains("post");
    if lamp && (!bounded || many) {
        findings.add(
            Rule::PerPost,
            format!("{of}: asks every post; give it a zone, and one post or the first few (top)"),
        );
    }
}
