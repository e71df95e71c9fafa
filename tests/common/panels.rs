//! Questions of the dashboards to the databases behind an office, and their answers.

use std::collections::{BTreeMap, BTreeSet};

use lampguard_dashboards::grafana::Dashboard;
use lampguard_dashboards::query::{Form, Query, Range, label_values, substitute, variables, width_s};
use lampguard_dashboards::{Lang, PUBLIC_URL, Set, Source, TIME_ZONE, export};
use serde_json::Value;

use super::{Office, http};

/// How far back is asked.
pub const SPAN_MS: i64 = 3_600_000;
/// Width of a step where a dashboard says nothing, seconds.
const STEP_S: u32 = 30;

/// One line of an answer: its labels, and its values by time.
#[derive(Debug)]
pub struct Frame {
    pub labels: BTreeMap<String, String>,
    /// By column, newest last: milliseconds, value. PromQL has one column, `value`.
    pub columns: BTreeMap<String, Vec<(i64, f64)>>,
}

impl Frame {
    /// The newest value of the first column.
    pub fn last(&self) -> Option<f64> {
        self.newest("")
    }

    /// The newest value of a column; without a name of the first.
    pub fn newest(&self, column: &str) -> Option<f64> {
        let points = if column.is_empty() { self.points() } else { self.columns.get(column)? };
        points.last().map(|(_, value)| *value)
    }

    /// Every value of the first column.
    pub fn points(&self) -> &[(i64, f64)] {
        self.columns.values().next().map_or(&[], Vec::as_slice)
    }

    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// What was asked, found and compared.
#[derive(Debug, Default)]
pub struct Counts {
    pub panels: BTreeSet<(String, String)>,
    pub queries: u64,
    pub frames: u64,
    pub compared: u64,
    /// Questions of which something was compared, where they are counted.
    pub held: u64,
}

impl Counts {
    pub fn tell(&self, source: Source) {
        eprintln!(
            "dashboards, {source:?}: {} panels and variables, {} queries, {} frames, {} numbers compared{}",
            self.panels.len(),
            self.queries,
            self.frames,
            self.compared,
            if self.held > 0 { format!(" of {} queries", self.held) } else { String::new() }
        );
    }
}

/// The dashboards of a source in English, by their uids.
pub fn boards(source: Source) -> Vec<(String, Dashboard)> {
    let set =
        Set { source, lang: Lang::En, public_url: PUBLIC_URL.to_owned(), time_zone: TIME_ZONE.to_owned() };
    let read = |file: lampguard_dashboards::File| {
        (file.name.trim_end_matches(".json").to_owned(), serde_json::from_str(&file.text).unwrap())
    };
    export(&set).unwrap().into_iter().map(read).collect()
}

/// Width of a step that Grafana takes for a question about an hour: the narrowest that it may.
pub fn step_s(query: &Query, values: &BTreeMap<&str, &str>) -> u32 {
    let range = Range { from_ms: 0, to_ms: SPAN_MS, step_s: STEP_S };
    width_s(&substitute(&query.every, range, values)).unwrap_or(STEP_S)
}

impl Office {
    /// The answer to a question about the hour up to `to`, milliseconds.
    pub fn ask(&self, query: &Query, values: &BTreeMap<&str, &str>, to: i64) -> Result<Vec<Frame>, String> {
        let step_s = step_s(query, values);
        let text = substitute(&query.text, Range { from_ms: to - SPAN_MS, to_ms: to, step_s }, values);
        if !variables(&text).is_empty() {
            return Err(format!("a macro is left: {text}"));
        }
        let (from_s, to_s) = (((to - SPAN_MS) / 1000).to_string(), (to / 1000).to_string());
        match query.form {
            Form::Influxql => Ok(self.influx.series(&text).iter().flat_map(influx_frames).collect()),
            Form::LabelValues => {
                let (selector, label) = label_values(&text).ok_or_else(|| format!("not read: {text}"))?;
                let answer = self.prometheus("series", &[("match[]", selector)])?;
                let with = answer.as_array().unwrap().iter().filter(|labels| labels.get(label).is_some());
                Ok(with
                    .map(|labels| Frame {
                        labels: serde_json::from_value(labels.clone()).unwrap(),
                        columns: BTreeMap::from([("value".to_owned(), vec![(to, 1.0)])]),
                    })
                    .collect())
            }
            Form::Instant => {
                let answer = self.prometheus("query", &[("query", &text), ("time", &to_s)])?;
                Ok(answer["result"].as_array().unwrap().iter().map(prometheus_frame).collect())
            }
            Form::Range => {
                let step = step_s.to_string();
                let asked = [("query", &*text), ("start", &from_s), ("end", &to_s), ("step", &step)];
                let answer = self.prometheus("query_range", &asked)?;
                Ok(answer["result"].as_array().unwrap().iter().map(prometheus_frame).collect())
            }
        }
    }

    fn prometheus(&self, path: &str, asked: &[(&str, &str)]) -> Result<Value, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(asked).append_pair("nocache", "1");
        let url = format!("http://127.0.0.1:{}/api/v1/{path}?{}", self.victoria.port, query.finish());
        let answer = http::try_get(&url, None).unwrap();
        if answer.status != 200 {
            return Err(format!("{asked:?}: {} {}", answer.status, answer.text));
        }
        Ok(answer.json()["data"].clone())
    }
}

fn prometheus_frame(series: &Value) -> Frame {
    let point = |pair: &Value| {
        let at = (pair[0].as_f64().unwrap() * 1000.0) as i64;
        (at, pair[1].as_str().unwrap().parse::<f64>().unwrap())
    };
    let points = match series.get("values") {
        Some(values) => values.as_array().unwrap().iter().map(point).collect(),
        None => vec![point(&series["value"])],
    };
    Frame {
        labels: serde_json::from_value(series["metric"].clone()).unwrap(),
        columns: BTreeMap::from([("value".to_owned(), points)]),
    }
}

/// A series with words in its rows (`top`, `SHOW TAG VALUES`) is a frame for each row, the words being labels.
fn influx_frames(series: &Value) -> Vec<Frame> {
    let names: Vec<&str> =
        series["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let tags = series.get("tags").map(|tags| serde_json::from_value(tags.clone()).unwrap());
    let tags: BTreeMap<String, String> = tags.unwrap_or_default();
    let rows: Vec<&Vec<Value>> =
        series["values"].as_array().unwrap().iter().map(|row| row.as_array().unwrap()).collect();
    let frame = |rows: &[&Vec<Value>]| {
        let mut frame = Frame { labels: tags.clone(), columns: BTreeMap::new() };
        for row in rows {
            let cells: BTreeMap<&str, &Value> = names.iter().copied().zip(row.iter()).collect();
            let at = cells.get("time").and_then(|at| at.as_i64()).unwrap_or_default();
            for (name, cell) in cells.into_iter().filter(|(name, _)| *name != "time") {
                if let Some(word) = cell.as_str() {
                    frame.labels.insert(name.to_owned(), word.to_owned());
                } else if let Some(value) = cell.as_f64() {
                    frame.columns.entry(name.to_owned()).or_default().push((at, value));
                }
            }
        }
        if frame.columns.is_empty() && rows.iter().any(|row| row.iter().any(Value::is_string)) {
            frame.columns.insert("value".to_owned(), vec![(0, 1.0)]);
        }
        frame
    };
    if rows.iter().any(|row| row.iter().any(Value::is_string)) {
        return rows.iter().map(|row| frame(&[row])).collect();
    }
    vec![frame(&rows)]
}
