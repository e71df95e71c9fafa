//! Rows with headings out of CSV or GeoJSON, whatever the headings are.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::import::{ImportFault, ROWS_MAX};
use super::line_break;

/// Headings of one file: an office's list has some dozens.
const HEADINGS_MAX: usize = 200;
/// Places of a file that are named when its rows cannot be read.
const FAULTS_MAX: usize = 1_000;
/// Systems of coordinates of an older GeoJSON that are WGS-84, or the same to a decimetre.
const LIKE_WGS84: [&str; 3] = ["CRS84", "4326", "4490"];

/// A file as rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// What a row is called: line, feature.
    pub(super) unit: &'static str,
    /// The first headings are those of a point that belongs to no heading of the file: none, or longitude and latitude.
    pub(super) points: bool,
    pub(super) headings: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One row; a cell that the row does not have is none, which is not empty.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) at: u64,
    pub(super) cells: Vec<Option<String>>,
}

/// Reads CSV (comma, semicolon, tab) or a GeoJSON FeatureCollection of points.
pub(super) fn read(text: &str) -> Result<Table, Vec<ImportFault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table = match text.trim_start().starts_with('{') {
        true => geojson(text),
        false => csv(text),
    }?;
    let unit = table.unit;
    if table.headings.len() > HEADINGS_MAX {
        let reason =
            format!("{} headings, limit {HEADINGS_MAX}: leave out what is not needed", table.headings.len());
        return Err(vec![ImportFault { unit, at: 1, reason }]);
    }
    if table.rows.len() > ROWS_MAX {
        let reason = format!("{} rows, limit {ROWS_MAX}: is it a list of posts?", table.rows.len());
        return Err(vec![ImportFault { unit, at: 1, reason }]);
    }
    Ok(table)
}

/// What stands between the cells of this first line.
fn delimiter(line: &str) -> u8 {
    let count = |mark: u8| line.bytes().filter(|byte| *byte == mark).count();
    [b'\t', b';'].into_iter().fold(b',', |best, mark| if count(mark) > count(best) { mark } else { best })
}

fn csv(text: &str) -> Result<Table, Vec<ImportFault>> {
    let unit = "line";
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text.lines().next().unwrap_or("")))
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(text.as_bytes());
    let headings = reader.headers().map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>());
    let headings = headings.map_err(|e| vec![ImportFault { unit, at: 1, reason: e.to_string() }])?;
    let broken = headings.iter().filter_map(|heading| line_break(heading));
    let mut faults: Vec<ImportFault> = broken.map(|reason| ImportFault { unit, at: 1, reason }).collect();
    let mut table = Table { unit, headings, ..Table::default() };
    for row in reader.records() {
        let fault = |at, reason| ImportFault { unit, at, reason };
        match row {
            Err(e) => faults.push(fault(e.position().map_or(0, csv::Position::line), e.to_string())),
            // What an office's spreadsheet leaves at the end.
            Ok(row) if row.iter().all(str::is_empty) => {}
            Ok(row) => {
                let at = row.position().map_or(0, csv::Position::line);
                faults.extend(row.iter().filter_map(line_break).map(|reason| fault(at, reason)));
                if row.len() == table.headings.len() {
                    let cells = row.iter().map(|cell| Some(cell.to_owned())).collect();
                    table.rows.push(Row { at, cells });
                } else {
                    let (cells, all) = (row.len(), table.headings.len());
                    faults.push(fault(
                        at,
                        format!("{cells} cells under {all} headings: is a comma in a text not quoted?"),
                    ));
                }
            }
        }
        if faults.len() >= FAULTS_MAX || table.rows.len() > ROWS_MAX {
            break;
        }
    }
    if faults.is_empty() { Ok(table) } else { Err(faults) }
}

#[derive(Deserialize)]
struct Collection {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    crs: Option<Value>,
    #[serde(default)]
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    geometry: Option<Geometry>,
    #[serde(default)]
    properties: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Geometry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    coordinates: Value,
}

/// Heading of a feature's own id, beside its properties.
const ID: &str = "id";

fn geojson(text: &str) -> Result<Table, Vec<ImportFault>> {
    let unit = "feature";
    let whole = |reason: String| vec![ImportFault { unit: "file", at: 1, reason }];
    let read: Collection = serde_json::from_str(text)
        .map_err(|e| whole(format!("it begins like GeoJSON and cannot be read: {e}")))?;
    if read.kind != "FeatureCollection" {
        return Err(whole(format!("type {:?} is not FeatureCollection", read.kind)));
    }
    if let Some(crs) = read.crs.as_ref().filter(|crs| !crs.is_null()).map(Value::to_string)
        && !LIKE_WGS84.iter().any(|name| crs.contains(name))
    {
        return Err(whole(format!(
            "crs {crs:.200} is not WGS-84 degrees: export it as EPSG:4326 or EPSG:4490"
        )));
    }
    let mut table =
        Table { unit, points: true, headings: vec!["lon".to_owned(), "lat".to_owned()], rows: Vec::new() };
    let mut places = std::collections::HashMap::<String, usize>::new();
    let mut faults = Vec::new();
    for (at, feature) in (1..).zip(read.features) {
        let mut cells = Vec::new();
        let mut reasons = Vec::new();
        match point(feature.geometry.as_ref()) {
            Ok((lon, lat)) => cells.extend([Some(lon), Some(lat)]),
            Err(reason) => reasons.push(reason),
        }
        let mut properties = feature.properties.unwrap_or_default();
        if let Some(id) = feature.id.filter(|_| !properties.contains_key(ID)) {
            properties.insert(ID.to_owned(), id);
        }
        for (name, value) in properties {
            let place = *places.entry(name).or_insert_with_key(|name| {
                table.headings.push(name.clone());
                table.headings.len() - 1
            });
            cells.resize(cells.len().max(place + 1), None);
            cells[place] = Some(text_of(&value));
        }
        faults.extend(reasons.into_iter().map(|reason| ImportFault { unit, at, reason }));
        table.rows.push(Row { at, cells });
        if faults.len() >= FAULTS_MAX || table.headings.len() > HEADINGS_MAX {
            break;
        }
    }
    let all = table.headings.len();
    table.rows.iter_mut().for_each(|row| row.cells.resize(all, None));
    if faults.is_empty() { Ok(table) } else { Err(faults) }
}

fn point(geometry: Option<&Geometry>) -> Result<(String, String), String> {
    let geometry = geometry.ok_or("no geometry: a post is a Point")?;
    if geometry.kind != "Point" {
        return Err(format!("geometry {:?} is not Point", geometry.kind));
    }
    let part =
        |place: usize| geometry.coordinates.get(place).and_then(Value::as_number).map(ToString::to_string);
    part(0)
        .zip(part(1))
        .ok_or_else(|| format!("coordinates {:.60} are not [lon, lat]", geometry.coordinates.to_string()))
}

/// What a property says. Lists and objects stay JSON; where a column takes them, its check refuses them.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}
