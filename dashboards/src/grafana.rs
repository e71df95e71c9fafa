//! What we write of Grafana's Classic dashboard format, typed. Whatever is not named here we do not write, and the lint
//! refuses it: a misspelt key is otherwise ignored by Grafana without a word.
//!
//! Classic is the one format that file provisioning takes from Grafana 10 to 13 (a bare v2 file is refused there).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The number we write. Grafana lifts older numbers up by itself and takes no care of newer ones; 39 is what 10.1 to 11
/// write themselves, so that no Grafana from 10.1 on meets a number that it does not know. 42 is the newest there is.
pub const SCHEMA_VERSION: u32 = 39;
/// The greatest number that may be written.
pub const SCHEMA_VERSION_MAX: u32 = 42;

/// A dashboard.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dashboard {
    /// Grafana's own number: null in a file.
    pub id: Option<u64>,
    /// Name in addresses.
    pub uid: String,
    /// Title.
    #[serde(default)]
    pub title: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// `lampguard`, data source, language.
    pub tags: Vec<String>,
    /// `browser`: the office's own.
    pub timezone: String,
    /// Files are made, not edited in the browser.
    pub editable: bool,
    /// 1: one cross-hair through all panels.
    pub graph_tooltip: u8,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Looked at again after.
    pub refresh: String,
    /// Shown at first.
    pub time: Span,
    /// Links at the top.
    pub links: Vec<DashboardLink>,
    /// Variables.
    pub templating: List<Variable>,
    /// Marks in time.
    pub annotations: List<Annotation>,
    /// Panels.
    pub panels: Vec<Panel>,
}

/// From, to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// `now-12h`.
    pub from: String,
    /// `now`.
    pub to: String,
}

/// A list in a wrapper, as Grafana has it twice.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct List<T> {
    /// Its items.
    pub list: Vec<T>,
}

/// Of a link at the top.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// To an address.
    Link,
    /// To the dashboards of a tag.
    Dashboards,
}

/// A link at the top.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DashboardLink {
    /// Text.
    pub title: String,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: LinkKind,
    /// A name of Grafana's.
    pub icon: String,
    /// Text when the mouse rests.
    pub tooltip: String,
    /// Address, of a [`LinkKind::Link`].
    pub url: String,
    /// Tags, of a [`LinkKind::Dashboards`].
    pub tags: Vec<String>,
    /// In a menu.
    pub as_dropdown: bool,
    /// With the variables.
    pub include_vars: bool,
    /// With the time.
    pub keep_time: bool,
    /// In another tab.
    pub target_blank: bool,
}

/// Kind of a variable.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableKind {
    /// Which data source.
    Datasource,
    /// Asked of the data source.
    Query,
    /// A width of time.
    Interval,
    /// Fixed.
    Constant,
}

/// What a variable holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// As shown.
    pub text: Value,
    /// As used.
    pub value: Value,
    /// Chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<bool>,
}

/// A variable.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Variable {
    /// `$name`.
    pub name: String,
    /// Text before the box.
    pub label: String,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: VariableKind,
    /// What is asked, chosen from, or fixed.
    pub query: String,
    /// 0 shown, 2 not.
    pub hide: u8,
    /// Whom it is asked of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Value>,
    /// The same as `query`: Grafana wants it twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// 1 when the dashboard opens, 2 when the time changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// 1: by the alphabet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<u8>,
    /// Which of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Several at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi: Option<bool>,
    /// "All" is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_all: Option<bool>,
    /// What "all" stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_value: Option<String>,
    /// Widths that are offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<Choice>>,
    /// Chosen at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Choice>,
}

/// When a variable is asked again.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Refresh {
    /// When the dashboard opens.
    Load,
    /// When the time changes.
    Time,
}

impl From<Refresh> for u8 {
    fn from(refresh: Refresh) -> Self {
        match refresh {
            Refresh::Load => 1,
            Refresh::Time => 2,
        }
    }
}

impl TryFrom<u8> for Refresh {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::Load),
            2 => Ok(Self::Time),
            _ => Err(format!("refresh {number} is neither 1 (on load) nor 2 (on a change of time)")),
        }
    }
}

/// Marks in time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Annotation {
    /// Text at the top.
    pub name: String,
    /// Whom it is asked of.
    pub datasource: Value,
    /// Shown.
    pub enable: bool,
    /// Its switch is hidden.
    pub hide: bool,
    /// Colour.
    pub icon_color: String,
    /// What is asked.
    pub target: Target,
    /// Text of a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title_format: Option<String>,
    /// Tags of a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_keys: Option<String>,
}

/// Place on the grid of 24 columns.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GridPos {
    /// Height.
    pub h: u32,
    /// Width.
    pub w: u32,
    /// Column.
    pub x: u32,
    /// Row.
    pub y: u32,
}

/// A panel.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Panel {
    /// Number within the dashboard.
    pub id: u32,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Title.
    pub title: String,
    /// What it says, and what to do then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Place.
    pub grid_pos: GridPos,
    /// Whom it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Value>,
    /// What it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
    /// Least width of `$__interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Most points of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_data_points: Option<u32>,
    /// How values look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_config: Option<FieldConfig>,
    /// By kind: see [`crate::options`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Value>,
    /// What is made of the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformations: Option<Vec<Transformation>>,
    /// Once for each value of this variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<String>,
    /// Of a row: closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<bool>,
    /// Of a closed row: its panels. Ours are open, so none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panels: Option<Vec<Value>>,
}

/// One question.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// `A`, `B`, …
    pub ref_id: String,
    /// Whom it is asked of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Value>,
    /// PromQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// PromQL: text of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legend_format: Option<String>,
    /// PromQL: over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<bool>,
    /// PromQL: at the end of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instant: Option<bool>,
    /// PromQL: `time_series` or `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// PromQL: shown as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editor_mode: Option<String>,
    /// Least width of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// InfluxQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// InfluxQL: as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_query: Option<bool>,
    /// InfluxQL: `time_series` or `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_format: Option<String>,
    /// InfluxQL: text of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// InfluxQL annotation: as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_editor: Option<bool>,
    /// InfluxQL annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_annotations: Option<bool>,
    /// InfluxQL annotation: tags of a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_column: Option<String>,
}

impl Target {
    /// PromQL or InfluxQL.
    pub fn text(&self) -> Option<&str> {
        self.expr.as_deref().or(self.query.as_deref())
    }
}

/// How values look.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// All.
    pub defaults: Defaults,
    /// Some.
    pub overrides: Vec<Override>,
}

/// How all values of a panel look.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Defaults {
    /// Unit, by Grafana's names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Digits behind the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Least of the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest of the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How colours are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// Colours from values on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// Words for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mappings: Option<Vec<Mapping>>,
    /// Shown where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_value: Option<String>,
    /// By kind of panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<DataLink>>,
}

/// How colours are found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Color {
    /// `thresholds`, `fixed`, `palette-classic`.
    pub mode: String,
    /// Of `fixed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_color: Option<String>,
}

/// Of thresholds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdsMode {
    /// In the unit.
    Absolute,
}

/// Colours from values on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// In which scale.
    pub mode: ThresholdsMode,
    /// Rising; the first has no value.
    pub steps: Vec<Step>,
}

/// One colour.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// By Grafana's names.
    pub color: String,
    /// From here on; null: from the beginning.
    pub value: Option<f64>,
}

/// Words for numbers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, tag = "type", content = "options", rename_all = "lowercase")]
pub enum Mapping {
    /// Of single values.
    Value(BTreeMap<String, Shown>),
    /// Of a range.
    Range(Range),
}

/// How a mapped value is shown.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// In this colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Place in the list.
    pub index: u32,
    /// As this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// From, to, and how that is shown.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Least; null: no bound.
    pub from: Option<f64>,
    /// Greatest; null: no bound.
    pub to: Option<f64>,
    /// How it is shown.
    pub result: Shown,
}

/// Where a click leads.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataLink {
    /// Text.
    pub title: String,
    /// Address.
    pub url: String,
    /// In another tab.
    pub target_blank: bool,
}

/// How some values look.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Which.
    pub matcher: Matcher,
    /// How.
    pub properties: Vec<Property>,
}

/// Which values.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// `byName`, `byFrameRefID`.
    pub id: String,
    /// Of what name.
    pub options: String,
}

/// One property.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its name.
    pub id: String,
    /// Its value.
    pub value: Value,
}

/// What is made of the answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Transformation {
    /// By Grafana's names.
    pub id: String,
    /// By kind.
    pub options: Value,
}
