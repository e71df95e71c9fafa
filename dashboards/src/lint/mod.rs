//! What is wrong with a dashboard: each finding names its rule. Grafana itself says nothing of most of it; it shows an empty
//! panel, and an empty panel looks like a quiet night.

mod influxql;
mod layout;
mod looks;
mod names;
mod promql;
mod questions;
mod tokens;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::grafana::{Dashboard, SCHEMA_VERSION_MAX};

pub use names::SCRAPED;
pub use questions::promql as check_promql;

/// Longest name of a dashboard.
const UID_MAX: usize = 40;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It is JSON.
    Json,
    /// It has the keys and types of the Classic format, and none that we do not know.
    Model,
    /// It has a title.
    Title,
    /// Its number of the format is one that Grafana loads.
    SchemaVersion,
    /// Its name is short, plain, and no other dashboard's.
    Uid,
    /// Panels have numbers of their own.
    PanelId,
    /// Panels lie within 24 columns and over no other.
    Grid,
    /// Panels are of kinds that come with Grafana.
    PanelType,
    /// Options are those of the kind.
    Options,
    /// Units are Grafana's.
    Unit,
    /// A variable that is used is declared.
    VariableUnknown,
    /// A variable that is declared is used.
    VariableUnused,
    /// The data source is the one that `ds` chooses.
    Datasource,
    /// Title and description stand in the language of the dashboard.
    Texts,
    /// A question can be read.
    Query,
    /// A question names what exists.
    Name,
    /// A question about posts looks back, so that it shows posts between two readings.
    BareSelector,
    /// A question over time looks at every value: its windows are as wide as its steps.
    Window,
    /// A line is not drawn over the time without data.
    Gap,
    /// A question about posts is bounded by zone or post.
    PerPost,
    /// A question is bounded in time.
    Unbounded,
    /// What is normal has no colour.
    Neutral,
    /// A link leads to a page that exists.
    Link,
    /// A page of a state timeline can be read.
    PageSize,
    /// What stands where nothing was found says that there may be no data: it never reassures.
    Nothing,
}

impl Rule {
    /// The word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Model => "model",
            Self::Title => "title",
            Self::SchemaVersion => "schema-version",
            Self::Uid => "uid",
            Self::PanelId => "panel-id",
            Self::Grid => "grid",
            Self::PanelType => "panel-type",
            Self::Options => "options",
            Self::Unit => "unit",
            Self::VariableUnknown => "variable-unknown",
            Self::VariableUnused => "variable-unused",
            Self::Datasource => "datasource",
            Self::Texts => "texts",
            Self::Query => "query",
            Self::Name => "name",
            Self::BareSelector => "bare-selector",
            Self::Window => "window",
            Self::Gap => "gap",
            Self::PerPost => "per-post",
            Self::Unbounded => "unbounded",
            Self::Neutral => "neutral",
            Self::Link => "link",
            Self::PageSize => "page-size",
            Self::Nothing => "nothing",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Where, and what.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {}", self.rule.name(), self.text)
    }
}

/// Gathers findings.
#[derive(Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, text: impl Into<String>) {
        self.0.push(Finding { rule, text: text.into() });
    }
}

/// Looks at a dashboard. `pages` are the paths of our own pages that links may lead to, with `{…}` for what varies; `uids` the
/// dashboards that links may lead to.
pub fn lint(json: &str, pages: &[&str], uids: &[&str]) -> Vec<Finding> {
    let mut findings = Findings::default();
    match serde_json::from_str::<Value>(json) {
        Err(e) => findings.add(Rule::Json, e.to_string()),
        // Read from the text and not from the value: its faults have a line.
        Ok(value) => match serde_json::from_str::<Dashboard>(json) {
            Err(e) => findings.add(Rule::Model, e.to_string()),
            Ok(dashboard) => look(&dashboard, &value, pages, uids, &mut findings),
        },
    }
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

fn look(dashboard: &Dashboard, value: &Value, pages: &[&str], uids: &[&str], findings: &mut Findings) {
    if dashboard.title.trim().is_empty() {
        findings.add(Rule::Title, "the dashboard has no title");
    }
    if dashboard.schema_version > SCHEMA_VERSION_MAX {
        findings.add(
            Rule::SchemaVersion,
            format!("schemaVersion {} is above {SCHEMA_VERSION_MAX}", dashboard.schema_version),
        );
    }
    let uid = &dashboard.uid;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if uid.is_empty() || uid.len() > UID_MAX || !uid.chars().all(plain) {
        findings.add(Rule::Uid, format!("uid {uid:?} is not 1 to {UID_MAX} letters, digits, - and _"));
    }
    layout::look(dashboard, findings);
    looks::look(dashboard, value, pages, uids, findings);
    questions::look(dashboard, value, findings);
}

/// Looks at several dashboards that are loaded together, each with its name. Adds to the findings of each that two share a uid.
pub fn lint_all(files: &[(String, String)], pages: &[&str]) -> BTreeMap<String, Vec<Finding>> {
    let uid_of = |text: &str| {
        let value: Option<Value> = serde_json::from_str(text).ok();
        value.and_then(|value| Some(value.get("uid")?.as_str()?.to_owned()))
    };
    let uids: Vec<String> = files.iter().filter_map(|(_, text)| uid_of(text)).collect();
    let known: Vec<&str> = uids.iter().map(String::as_str).collect();
    let mut found = BTreeMap::new();
    for (name, text) in files {
        let mut findings = lint(text, pages, &known);
        let shared = |uid: &String| uids.iter().filter(|one| *one == uid).count() > 1;
        if let Some(uid) = uid_of(text).filter(shared) {
            let text = format!("uid {uid} is another dashboard's too: Grafana keeps one of them");
            findings.push(Finding { rule: Rule::Uid, text });
        }
        found.insert(name.clone(), findings);
    }
    found
}
