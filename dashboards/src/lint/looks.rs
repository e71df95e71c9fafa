//! How panels look: kinds, options, units, colours, texts, links.

use serde_json::Value;

use super::{Findings, Rule};
use crate::grafana::{Dashboard, DataLink, Mapping, Panel, Thresholds};
use crate::make::OURS;
use crate::options::{self, StateTimeline};

/// Units that we use, by Grafana's names.
const UNITS: [&str; 17] = [
    "none",
    "short",
    "s",
    "ms",
    "percent",
    "mamp",
    "amp",
    "volt",
    "watt",
    "kwatth",
    "celsius",
    "humidity",
    "dBm",
    "bytes",
    "lengthmm",
    "dateTimeFromNow",
    "suffix: mm/h",
];
/// Colours that say nothing.
const NEUTRAL: [&str; 4] = ["text", "transparent", "#8494a8", "super-light-grey"];
/// Words of which one stands wherever an answer is empty.
const NO_DATA: [&str; 2] = ["无数据", "no data"];
/// Rows of one page of a state timeline.
const PER_PAGE_MAX: u32 = 20;

pub(super) fn look(
    dashboard: &Dashboard,
    value: &Value,
    pages: &[&str],
    uids: &[&str],
    findings: &mut Findings,
) {
    for panel in &dashboard.panels {
        kind(panel, findings);
        fields(panel, findings);
    }
    texts(dashboard, findings);
    let mut urls = Vec::new();
    addresses(value, &mut urls);
    for url in urls {
        if let Some(fault) = bad_link(&url, pages, uids) {
            findings.add(Rule::Link, fault);
        }
    }
}

fn kind(panel: &Panel, findings: &mut Findings) {
    let title = &panel.title;
    if !options::KINDS.contains(&panel.kind.as_str()) {
        findings.add(Rule::PanelType, format!("panel {title:?}: no panel of Grafana is a {:?}", panel.kind));
        return;
    }
    if panel.kind == "row" {
        return;
    }
    let Some(given) = &panel.options else {
        findings.add(Rule::Options, format!("panel {title:?}: a {} has options", panel.kind));
        return;
    };
    if let Err(fault) = options::check(&panel.kind, given) {
        findings.add(Rule::Options, format!("panel {title:?}: {fault}"));
    }
    let timeline = serde_json::from_value::<StateTimeline>(given.clone()).ok();
    if let Some(timeline) = timeline.filter(|one| one.per_page == 0 || one.per_page > PER_PAGE_MAX) {
        findings.add(
            Rule::PageSize,
            format!("panel {title:?}: {} rows a page, 1 to {PER_PAGE_MAX} can be read", timeline.per_page),
        );
    }
}

fn unit(title: &str, unit: &str, findings: &mut Findings) {
    if !UNITS.contains(&unit) {
        findings.add(Rule::Unit, format!("panel {title:?}: {unit:?} is no unit that we use"));
    }
}

fn neutral(title: &str, thresholds: &Thresholds, findings: &mut Findings) {
    let base = thresholds.steps.first();
    let is_base = base.is_some_and(|step| step.value.is_none() && NEUTRAL.contains(&step.color.as_str()));
    if !is_base {
        let color = base.map_or("none", |step| step.color.as_str());
        findings.add(
            Rule::Neutral,
            format!("panel {title:?}: what is normal is {color}; colour is for the abnormal"),
        );
    }
}

/// An empty answer may be a quiet night, and may be a database that hears nothing: the words have to hold for both.
fn nothing(title: &str, words: &str, findings: &mut Findings) {
    if !NO_DATA.iter().any(|no_data| words.to_lowercase().contains(no_data)) {
        findings.add(
            Rule::Nothing,
            format!(
                "panel {title:?}: noValue {words:?} reassures where there may be no data: it has to say so"
            ),
        );
    }
}

fn fields(panel: &Panel, findings: &mut Findings) {
    let (title, Some(config)) = (&panel.title, &panel.field_config) else { return };
    let defaults = &config.defaults;
    defaults.no_value.iter().for_each(|words| nothing(title, words, findings));
    defaults.unit.iter().for_each(|one| unit(title, one, findings));
    match &defaults.thresholds {
        Some(thresholds) => neutral(title, thresholds, findings),
        None => findings.add(
            Rule::Neutral,
            format!("panel {title:?}: without thresholds Grafana colours what is normal green"),
        ),
    }
    for property in config.overrides.iter().flat_map(|one| &one.properties) {
        match property.id.as_str() {
            "unit" => unit(title, property.value.as_str().unwrap_or(""), findings),
            "thresholds" => match serde_json::from_value::<Thresholds>(property.value.clone()) {
                Ok(thresholds) => neutral(title, &thresholds, findings),
                Err(e) => findings.add(Rule::Model, format!("panel {title:?}: thresholds: {e}")),
            },
            "mappings" => {
                if let Err(e) = serde_json::from_value::<Vec<Mapping>>(property.value.clone()) {
                    findings.add(Rule::Model, format!("panel {title:?}: mappings: {e}"));
                }
            }
            "links" => {
                if let Err(e) = serde_json::from_value::<Vec<DataLink>>(property.value.clone()) {
                    findings.add(Rule::Model, format!("panel {title:?}: links: {e}"));
                }
            }
            "noValue" => nothing(title, property.value.as_str().unwrap_or(""), findings),
            "displayName"
            | "custom.cellOptions"
            | "custom.axisPlacement"
            | "custom.drawStyle"
            | "custom.fillOpacity"
            | "custom.thresholdsStyle"
            | "custom.width"
            | "decimals" => {}
            other => {
                findings.add(Rule::Model, format!("panel {title:?}: {other} is no property that we use"))
            }
        }
    }
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// Titles that are the same in both languages.
fn is_sign(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || " $+-".contains(c))
}

fn texts(dashboard: &Dashboard, findings: &mut Findings) {
    let has = |tag: &str| dashboard.tags.iter().any(|known| known == tag);
    let chinese = has("zh");
    if chinese == has("en") {
        findings.add(Rule::Texts, "the tags name neither zh nor en, or both");
        return;
    }
    let mut check = |what: &str, text: &str| {
        if text.trim().is_empty() {
            findings.add(Rule::Texts, format!("{what} is empty"));
        } else if is_chinese(text) != chinese && !is_sign(text) {
            let language = if chinese { "Chinese" } else { "English" };
            findings.add(Rule::Texts, format!("{what} is not in {language}: {text}"));
        }
    };
    check("the description of the dashboard", &dashboard.description);
    for panel in &dashboard.panels {
        check(&format!("the title of panel {}", panel.id), &panel.title);
        if panel.kind != "row" {
            let text = panel.description.as_deref().unwrap_or("");
            check(&format!("the description of panel {:?}", panel.title), text);
        }
    }
}

/// Everything that stands under `url`, and the addresses of links in Markdown.
fn addresses(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("url" | "src", Value::String(url)) if !url.is_empty() => found.push(url.clone()),
                    ("content", Value::String(text)) => {
                        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
                        found.extend(targets.map(ToOwned::to_owned));
                    }
                    _ => addresses(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|value| addresses(value, found)),
        _ => {}
    }
}

/// A path matches a page part by part; what stands in `{…}` matches what stands in `{…}` or is any word.
fn matches(path: &str, page: &str) -> bool {
    let (parts, wanted): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), page.split('/').collect());
    parts.len() == wanted.len()
        && parts
            .iter()
            .zip(wanted)
            .all(|(part, wanted)| if wanted.starts_with('{') { !part.is_empty() } else { *part == wanted })
}

fn bad_link(url: &str, pages: &[&str], uids: &[&str]) -> Option<String> {
    if let Some(rest) = url.strip_prefix("/d/") {
        let uid = rest.split(['?', '/']).next().unwrap_or("");
        return (!uids.contains(&uid)).then(|| format!("{url}: there is no dashboard {uid}"));
    }
    // Addresses that Grafana fills in nothing of stand whole: tiles and outlines.
    let after_host = |url: &str| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
        Some(rest.find('/').map_or("", |at| &rest[at..]).to_owned())
    };
    let path = url.strip_prefix(OURS).map(ToOwned::to_owned).or_else(|| {
        let path = after_host(url)?;
        (path.starts_with("/tiles/") || path == "/zones.geojson").then_some(path)
    });
    let Some(path) = path else {
        return Some(format!("{url}: links lead to pages of ours ({OURS}/…) or to dashboards (/d/…)"));
    };
    let path = path.split('?').next().unwrap_or("").to_owned();
    let known = pages.iter().any(|page| matches(&path, page));
    (!known).then(|| format!("{url}: we have no page {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_page_or_a_dashboard_that_exists() {
        let pages = ["/", "/posts/{id}", "/tiles/{z}/{x}/{y}"];
        let bad = |url: &str| bad_link(url, &pages, &["lg-post"]).is_some();
        for good in [
            "${lampguard:raw}/",
            "${lampguard:raw}/posts/${__data.fields.post}",
            "/d/lg-post?var-post=${__data.fields.post}",
            "https://lamp.example:8443/tiles/{z}/{x}/{y}.png",
        ] {
            assert!(!bad(good), "{good}");
        }
        for wrong in [
            "${lampguard:raw}/board",
            "${lampguard:raw}/posts/",
            "/d/lg-pole",
            "https://elsewhere.example/tile.png",
            "/posts/P1",
        ] {
            assert!(bad(wrong), "{wrong}");
        }
    }
}
