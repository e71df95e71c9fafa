//! The options of each kind of panel that we use, typed like the rest: `backgroundd` is a fault here and nothing at all in
//! Grafana.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kinds of panels that we use: all of Grafana's own, so that no plugin has to be installed.
pub const KINDS: [&str; 8] =
    ["stat", "bargauge", "timeseries", "table", "state-timeline", "geomap", "text", "row"];

/// Which value of a line stands for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reduce {
    /// `lastNotNull`.
    pub calcs: Vec<Calc>,
    /// Which fields; empty: numbers.
    pub fields: String,
    /// Every row by itself.
    pub values: bool,
}

/// One value out of many.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Calc {
    /// The newest.
    LastNotNull,
    /// The greatest.
    Max,
    /// All together.
    Sum,
    /// The middle.
    Mean,
}

/// Where a `stat` shows its colour.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorMode {
    /// Nowhere.
    None,
    /// In the number.
    Value,
    /// Behind it.
    Background,
}

/// `stat`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stat {
    /// Which value.
    pub reduce_options: Reduce,
    /// `auto`.
    pub orientation: String,
    /// `auto`, `value`, `value_and_name`.
    pub text_mode: String,
    /// Where the colour is.
    pub color_mode: ColorMode,
    /// `none`, `area`.
    pub graph_mode: String,
    /// `auto`, `center`.
    pub justify_mode: String,
}

/// `bargauge`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BarGauge {
    /// Which value.
    pub reduce_options: Reduce,
    /// `horizontal`.
    pub orientation: String,
    /// `basic`: no shining.
    pub display_mode: String,
    /// `color`.
    pub value_mode: String,
    /// The rest of the bar.
    pub show_unfilled: bool,
}

/// The list under a picture.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Legend {
    /// `list`, `table`.
    pub display_mode: String,
    /// `bottom`, `right`.
    pub placement: String,
    /// There at all.
    pub show_legend: bool,
    /// Values beside the names.
    pub calcs: Vec<Calc>,
}

/// What the mouse shows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tooltip {
    /// `multi`, `single`.
    pub mode: String,
    /// `desc`, `none`.
    pub sort: String,
}

/// `timeseries`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSeries {
    /// Under it.
    pub legend: Legend,
    /// At the mouse.
    pub tooltip: Tooltip,
}

/// `table`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Table {
    /// With titles.
    pub show_header: bool,
    /// `sm`, `md`.
    pub cell_height: String,
    /// By which columns.
    pub sort_by: Vec<Sort>,
}

/// By which column.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sort {
    /// Its title.
    pub display_name: String,
    /// Greatest first.
    pub desc: bool,
}

/// `state-timeline`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StateTimeline {
    /// Equal neighbours are one.
    pub merge_values: bool,
    /// `auto`, `never`.
    pub show_value: String,
    /// `left`.
    pub align_value: String,
    /// Share of the row.
    pub row_height: f64,
    /// Rows of one page: more than 20 nobody can read.
    pub per_page: u32,
    /// Under it.
    pub legend: Legend,
    /// At the mouse.
    pub tooltip: Tooltip,
}

/// `text`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// `markdown`.
    pub mode: String,
    /// The words.
    pub content: String,
}

/// `geomap`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GeoMap {
    /// What is shown at first.
    pub view: View,
    /// Under everything.
    pub basemap: Layer,
    /// On it.
    pub layers: Vec<Layer>,
    /// At the mouse.
    pub tooltip: MapTooltip,
    /// Buttons.
    pub controls: Controls,
}

/// What is shown at first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct View {
    /// `fit`.
    pub id: String,
    /// All layers count.
    pub all_layers: bool,
    /// Middle.
    pub lat: f64,
    /// Middle.
    pub lon: f64,
    /// Nearest.
    pub zoom: u32,
}

/// One layer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Layer {
    /// `xyz`, `geojson`, `markers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// By kind.
    pub config: Value,
    /// Where things are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Answers to the mouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tooltip: Option<bool>,
}

/// Where things are.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// `geohash`.
    pub mode: String,
    /// Column of the geohash.
    pub geohash: String,
}

/// At the mouse.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MapTooltip {
    /// `details`.
    pub mode: String,
}

/// Buttons of a map.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Controls {
    /// Nearer, farther.
    pub show_zoom: bool,
    /// The wheel too.
    pub mouse_wheel_zoom: bool,
    /// Names of the owners of tiles.
    pub show_attribution: bool,
    /// A scale.
    pub show_scale: bool,
    /// Debugging.
    pub show_debug: bool,
}

fn reads<T: DeserializeOwned>(options: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(options.clone()).map(|_| ()).map_err(|e| e.to_string())
}

/// Reads the options of a panel of that kind.
///
/// # Errors
/// What is wrong with them.
pub fn check(kind: &str, options: &Value) -> Result<(), String> {
    match kind {
        "stat" => reads::<Stat>(options),
        "bargauge" => reads::<BarGauge>(options),
        "timeseries" => reads::<TimeSeries>(options),
        "table" => reads::<Table>(options),
        "state-timeline" => reads::<StateTimeline>(options),
        "geomap" => reads::<GeoMap>(options),
        "text" => reads::<Words>(options),
        _ => Err(format!("panels of kind {kind} have no options here")),
    }
}
