//! Every question of a dashboard, and its macros filled in: for tests that ask real databases, and for whoever wants to
//! paste one into a shell.

use std::collections::BTreeMap;

use crate::grafana::{Dashboard, VariableKind};

/// The language and the form of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// PromQL at one moment: `/api/v1/query`.
    Instant,
    /// PromQL over time: `/api/v1/query_range`.
    Range,
    /// Grafana's `label_values(selector, label)`: see [`label_values`].
    LabelValues,
    /// InfluxQL: `/query`.
    Influxql,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Title of the panel or annotation, or `$name` of the variable.
    pub of: String,
    /// Kind of panel, `variable` or `annotation`.
    pub kind: String,
    /// `A`, `B`, …
    pub ref_id: String,
    /// Language and form.
    pub form: Form,
    /// With its macros.
    pub text: String,
    /// Least width of a step over time, `30s` or `$interval`; empty where Grafana has none.
    pub every: String,
}

/// Every question of a dashboard: of variables, annotations, panels.
pub fn queries(dashboard: &Dashboard) -> Vec<Query> {
    let influx = dashboard.tags.iter().any(|tag| tag == "influxql");
    let mut found = Vec::new();
    for variable in dashboard.templating.list.iter().filter(|one| one.kind == VariableKind::Query) {
        found.push(Query {
            of: format!("${}", variable.name),
            kind: "variable".to_owned(),
            ref_id: String::new(),
            form: if influx { Form::Influxql } else { Form::LabelValues },
            text: variable.query.clone(),
            every: String::new(),
        });
    }
    let form = |target: &crate::grafana::Target| match (influx, target.instant) {
        (true, _) => Form::Influxql,
        (false, Some(true)) => Form::Instant,
        (false, _) => Form::Range,
    };
    for annotation in &dashboard.annotations.list {
        if let Some(text) = annotation.target.text() {
            found.push(Query {
                of: annotation.name.clone(),
                kind: "annotation".to_owned(),
                ref_id: annotation.target.ref_id.clone(),
                form: form(&annotation.target),
                text: text.to_owned(),
                every: annotation.target.interval.clone().unwrap_or_default(),
            });
        }
    }
    for panel in &dashboard.panels {
        for target in panel.targets.iter().flatten() {
            if let Some(text) = target.text() {
                found.push(Query {
                    of: panel.title.clone(),
                    kind: panel.kind.clone(),
                    ref_id: target.ref_id.clone(),
                    form: form(target),
                    text: text.to_owned(),
                    every: target.interval.clone().or_else(|| panel.interval.clone()).unwrap_or_default(),
                });
            }
        }
    }
    found
}

/// The time that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Begin, milliseconds UTC.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
    /// Width of a step, seconds.
    pub step_s: u32,
}

/// Seconds of a width: `30s`, `5m`, `1h`, `1d`.
pub fn width_s(text: &str) -> Option<u32> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u32>().ok()?.checked_mul(unit)
}

/// Seconds between two scrapes that Grafana assumes when nobody says otherwise.
const SCRAPE_S: u32 = 15;

/// A question with its macros and variables filled in, as Grafana does it. `variables` go by name without `$`; those that are
/// not named are: `zone` and `road` all, `interval` 10 minutes. `post` has no default.
pub fn substitute(text: &str, range: Range, variables: &BTreeMap<&str, &str>) -> String {
    let (from, to, step) = (range.from_ms, range.to_ms, range.step_s);
    let span_s = ((to - from) / 1000).max(1);
    let rate_s = (4 * SCRAPE_S).max(step + SCRAPE_S);
    let mut values: BTreeMap<String, String> =
        [("zone", ".*"), ("road", ".*"), ("interval", "10m")].map(own).into_iter().collect();
    values.extend(variables.iter().map(|(name, value)| own((name, value))));
    values.extend([
        ("timeFilter".to_owned(), format!("time >= {from}ms AND time <= {to}ms")),
        ("__interval".to_owned(), format!("{step}s")),
        ("__rate_interval".to_owned(), format!("{rate_s}s")),
        ("__range".to_owned(), format!("{span_s}s")),
        ("__from".to_owned(), from.to_string()),
        ("__to".to_owned(), to.to_string()),
    ]);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let (name, behind) = variable_at(&rest[at..]);
        match values.get(name) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[at..rest.len() - behind.len()]),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The name of a variable at a `$`, and what follows it: `$name`, `${name}`, `${name:format}`. Empty where there is none.
pub(crate) fn variable_at(text: &str) -> (&str, &str) {
    let after = &text[1..];
    if let Some((inner, rest)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (inner.split([':', '.']).next().unwrap_or(""), rest);
    }
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    (&after[..end], &after[end..])
}

/// Names of the variables in a text, each as often as it stands there.
pub fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (name, behind) = variable_at(&rest[at..]);
        if !name.is_empty() {
            found.push(name);
        }
        rest = behind;
    }
    found
}

/// Selector and label of `label_values(selector, label)`.
pub fn label_values(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim().strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inner.rsplit_once(',')?;
    Some((selector.trim(), label.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_and_variables_are_filled_in_as_grafana_does() {
        let range = Range { from_ms: 1_000_000, to_ms: 4_600_000, step_s: 30 };
        let given = BTreeMap::from([("post", "P7"), ("zone", "z1|z2")]);
        let filled = substitute(
            r#"x{zone=~"$zone",post="${post:raw}"}[$__range] $__interval $__rate_interval $interval $timeFilter ${__to}ms $other"#,
            range,
            &given,
        );
        let expected = r#"x{zone=~"z1|z2",post="P7"}[3600s] 30s 60s 10m time >= 1000000ms AND time <= 4600000ms 4600000ms $other"#;
        assert_eq!(filled, expected);
        assert_eq!(variables("a ${__data.fields.id} $zone$"), ["__data", "zone"]);
    }

    #[test]
    fn a_width_is_a_number_of_seconds_minutes_hours_or_days() {
        let widths = ["30s", "5m", "1h", "1d"].map(width_s);
        assert_eq!(widths, [Some(30), Some(300), Some(3600), Some(86_400)]);
        assert_eq!(["", "m", "5", "$interval", "5 µ", "99999999d"].map(width_s), [None; 6]);
    }

    #[test]
    fn the_selector_of_label_values_may_have_commas() {
        let text = r#"label_values(abnormal_state{zone=~"$zone",road="x"}, road)"#;
        assert_eq!(label_values(text), Some((r#"abnormal_state{zone=~"$zone",road="x"}"#, "road")));
        assert_eq!(label_values("zone_posts"), None);
    }
}
