//! Tables: columns in their order with their titles, units, words and links.

use serde_json::{Map, Value, json};

use crate::grafana::{Matcher, Override, Property, Transformation};
use crate::make::{Set, mappings, thresholds};
use crate::spec::{Column, Source};

fn name(column: &Column, set: &Set) -> &'static str {
    match set.source {
        Source::Prometheus => column.prom,
        Source::Influxql => column.influx,
    }
}

/// Several questions become one table by their tags; then columns are put in order and the time is left out.
pub(crate) fn transformations(columns: &[Column], several: bool, set: &Set) -> Vec<Transformation> {
    let one = |id: &str, options: Value| Transformation { id: id.to_owned(), options };
    let mut found = Vec::new();
    if several {
        found.push(one("merge", json!({})));
    }
    let order: Map<String, Value> = columns
        .iter()
        .enumerate()
        .map(|(place, column)| (name(column, set).to_owned(), json!(place)))
        .collect();
    let shows_time = columns.iter().any(|column| name(column, set) == "Time");
    let mut hidden = Map::new();
    if !shows_time {
        hidden.insert("Time".to_owned(), json!(true));
    }
    let options = json!({ "excludeByName": hidden, "indexByName": order, "renameByName": {} });
    found.push(one("organize", options));
    found
}

/// Titles, units, words, links. Titles are no new names, so that links find columns by the name of the tag.
pub(crate) fn overrides(columns: &[Column], set: &Set) -> Vec<Override> {
    columns
        .iter()
        .map(|column| {
            let mut properties = vec![property("displayName", json!(set.text(column.title)))];
            if let Some(unit) = column.unit {
                properties.push(property("unit", json!(unit)));
            }
            if !column.words.is_empty() {
                properties.push(property("mappings", json!(mappings(&column.words, set))));
            }
            if !column.steps.is_empty() {
                properties.push(property("thresholds", json!(thresholds(column.steps))));
            }
            if !column.words.is_empty() || !column.steps.is_empty() {
                properties.push(property("custom.cellOptions", json!({ "type": "color-text" })));
            }
            if !column.to.is_empty() {
                let links: Vec<_> = column.to.iter().map(|to| set.link(*to)).collect();
                properties.push(property("links", json!(links)));
            }
            let matcher = Matcher { id: "byName".to_owned(), options: name(column, set).to_owned() };
            Override { matcher, properties }
        })
        .collect()
}

fn property(id: &str, value: Value) -> Property {
    Property { id: id.to_owned(), value }
}
