//! Options by kind of panel.

use serde::Serialize;
use serde_json::{Value, json};

use crate::grafana::{Matcher, Override, Property};
use crate::make::Set;
use crate::options::{
    BarGauge, Calc, ColorMode, Controls, GeoMap, Layer, Legend, Location, MapTooltip, Reduce, Sort, Stat,
    StateTimeline, Table, TimeSeries, Tooltip, View, Words,
};
use crate::spec::{Look, Panel, Source, t};

/// Rows of one page of a state timeline.
const PER_PAGE: u32 = 20;

/// Grafana's name of a kind.
pub(crate) fn kind(look: &Look) -> &'static str {
    match look {
        Look::Stat => "stat",
        Look::Gauge => "bargauge",
        Look::Lines(_) => "timeseries",
        Look::Table(..) => "table",
        Look::Timeline => "state-timeline",
        Look::Map => "geomap",
        Look::Words(_) => "text",
        Look::Row => "row",
    }
}

/// Structures without maps or floats that are no numbers always become JSON.
fn value(options: impl Serialize) -> Value {
    serde_json::to_value(options).unwrap_or(Value::Null)
}

fn reduce() -> Reduce {
    Reduce { calcs: vec![Calc::LastNotNull], fields: String::new(), values: false }
}

fn legend(show: bool) -> Legend {
    Legend {
        display_mode: "list".to_owned(),
        placement: "bottom".to_owned(),
        show_legend: show,
        calcs: Vec::new(),
    }
}

fn tooltip() -> Tooltip {
    Tooltip { mode: "multi".to_owned(), sort: "desc".to_owned() }
}

/// The options of a panel.
pub(crate) fn options(panel: &Panel, set: &Set) -> Value {
    match &panel.look {
        Look::Stat => value(Stat {
            reduce_options: reduce(),
            orientation: "auto".to_owned(),
            text_mode: if panel.asks.len() > 1 { "value_and_name" } else { "value" }.to_owned(),
            color_mode: ColorMode::Background,
            graph_mode: "none".to_owned(),
            justify_mode: "center".to_owned(),
        }),
        Look::Gauge => value(BarGauge {
            reduce_options: reduce(),
            orientation: "horizontal".to_owned(),
            display_mode: "basic".to_owned(),
            value_mode: "color".to_owned(),
            show_unfilled: true,
        }),
        Look::Lines(_) => value(TimeSeries { legend: legend(true), tooltip: tooltip() }),
        Look::Timeline => value(StateTimeline {
            merge_values: true,
            show_value: "auto".to_owned(),
            align_value: "left".to_owned(),
            row_height: 0.9,
            per_page: PER_PAGE,
            legend: legend(false),
            tooltip: Tooltip { mode: "single".to_owned(), sort: "none".to_owned() },
        }),
        Look::Table(_, sort) => value(Table {
            show_header: true,
            cell_height: "sm".to_owned(),
            sort_by: sort
                .iter()
                .map(|(title, desc)| Sort { display_name: set.text(*title), desc: *desc })
                .collect(),
        }),
        Look::Words(words) => value(Words { mode: "markdown".to_owned(), content: set.text(*words) }),
        Look::Map => value(map(set)),
        Look::Row => Value::Null,
    }
}

/// Base layer and outlines come from us: without the internet Grafana's own base layer is a black hole. Grafana fills in
/// no variables there, so the address stands as it is.
fn map(set: &Set) -> GeoMap {
    let url = &set.public_url;
    let state = if set.source == Source::Prometheus { "Value" } else { "state" };
    let layer = |kind: &str, name: String, config: Value, location, tooltip| Layer {
        kind: kind.to_owned(),
        name,
        config,
        location,
        tooltip,
    };
    let tiles = json!({ "url": format!("{url}/tiles/{{z}}/{{x}}/{{y}}.png"), "attribution": "", "minZoom": 2, "maxZoom": 19 });
    let grey = json!({ "fixed": "#8494a8" });
    let outlines = json!({
        "src": format!("{url}/zones.geojson"), "rules": [],
        "style": { "color": grey, "opacity": 0.3, "lineWidth": 1, "size": { "fixed": 5, "min": 2, "max": 15 } },
    });
    let posts = json!({
        "showLegend": false,
        "style": {
            "color": { "field": state, "fixed": "text" }, "opacity": 0.9,
            "size": { "fixed": 8, "min": 4, "max": 15 },
            "symbol": { "mode": "fixed", "fixed": "img/icons/marker/triangle.svg" },
        },
    });
    let geohash = Location { mode: "geohash".to_owned(), geohash: "geohash".to_owned() };
    GeoMap {
        view: View { id: "fit".to_owned(), all_layers: true, lat: 34.75, lon: 113.65, zoom: 15 },
        basemap: layer("xyz", "lampguard".to_owned(), tiles, None, None),
        layers: vec![
            layer("geojson", set.text(t("片区边界", "Zones")), outlines, None, Some(false)),
            layer("markers", set.text(t("异常灯杆", "Abnormal posts")), posts, Some(geohash), Some(true)),
        ],
        tooltip: MapTooltip { mode: "details".to_owned() },
        controls: Controls {
            show_zoom: true,
            mouse_wheel_zoom: true,
            show_attribution: false,
            show_scale: true,
            show_debug: false,
        },
    }
}

/// Lines of the second question on the right, as bars that do not hide the first.
pub(crate) fn right(unit: &str) -> Override {
    let property = |id: &str, value: Value| Property { id: id.to_owned(), value };
    Override {
        matcher: Matcher { id: "byFrameRefID".to_owned(), options: "B".to_owned() },
        properties: vec![
            property("unit", json!(unit)),
            property("custom.axisPlacement", json!("right")),
            property("custom.drawStyle", json!("bars")),
            property("custom.fillOpacity", json!(30)),
            property("custom.thresholdsStyle", json!({ "mode": "off" })),
        ],
    }
}
