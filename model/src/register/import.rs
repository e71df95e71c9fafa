//! Lists of posts as other programs export them: other headings, other words, other coordinates; CSV or GeoJSON.
//!
//! ```text
//!  1 table     rows with headings                                             table.rs
//!  2 columns   which heading is which column: as told, by our names, by those that offices use
//!  3 cells     words of ours, names of zones as their ids, coordinates as WGS-84; what a file has no column for,
//!              a known post keeps
//!  4 check     the rows as a register: by the one reader that the running instance has
//!  5 doubt     places that are swapped, far from all others, or those of another system of coordinates
//! ```
//! A fault at 1 to 4 refuses the file; a doubt is for people to look at.

use std::borrow::Cow;
use std::fmt;

use super::table::{self, Row, Table};
use super::{Post, Register, cell, columns, csv_of};
use crate::coordinates::{Crs, is_shifted, metres};

/// Most rows of one file.
pub const ROWS_MAX: usize = 1_000_000;
/// Longest cell, in characters: it stands on phones and in messages.
pub const TEXT_MAX: usize = 200;
/// A post that is farther from the middle of all is looked at by people.
const FAR_M: f64 = 100_000.0;
/// Columns of which an empty cell says nothing about a post that is known: taking a sensor away, or a hollow, or a plan,
/// is written out.
const KEPT_WHEN_EMPTY: [&str; 6] = ["device_id", "low_lying", "kind", "plan", "monitored", "period_s"];
/// Posts that stand where they stood, when the right system of coordinates is named.
const SAME_M: f64 = 30.0;

/// How a list is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Heading and column; the column `-` leaves the heading out.
    pub map: Vec<(String, String)>,
    /// What its coordinates mean.
    pub crs: Crs,
    /// Ids of zones with the names that a list may call them by.
    pub zones: Vec<(String, String)>,
}

/// What a list holds.
#[derive(Debug)]
pub struct Import {
    /// As a register.
    pub register: Register,
    /// Columns that it has, with their headings.
    pub columns: Vec<(&'static str, String)>,
    /// Headings that are no column.
    pub left_out: Vec<String>,
    /// Columns that it does not have: known posts keep theirs.
    pub kept: Vec<&'static str>,
    /// What is odd about it, though it can be read.
    pub doubts: Vec<Doubt>,
    /// Posts without coordinates.
    pub nowhere: usize,
}

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unit} {at}: {reason}")]
pub struct ImportFault {
    /// line, feature, file.
    pub unit: &'static str,
    /// Which one; the headings are line 1.
    pub at: u64,
    /// What is wrong, with the value.
    pub reason: String,
}

/// Something that people have to look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// Longitude and latitude of a post seem to be in one another's place.
    Swapped {
        /// line, feature.
        unit: &'static str,
        /// Which one.
        at: u64,
        /// Its id.
        post: String,
        /// Longitude as it is written.
        lon: f64,
        /// Latitude as it is written.
        lat: f64,
    },
    /// A post is far from the middle of all.
    Far {
        /// line, feature.
        unit: &'static str,
        /// Which one.
        at: u64,
        /// Its id.
        post: String,
        /// How far, kilometres.
        km: f64,
    },
    /// Most known posts would stand where they stand if the coordinates were of another system.
    Crs {
        /// Those that would.
        posts: usize,
        /// Known posts of which both sides have a place.
        of: usize,
        /// That system.
        crs: Crs,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { unit, at, post, lon, lat } => {
                write!(f, "{unit} {at}: {post} at lon {lon}, lat {lat}: are the two swapped?")
            }
            Self::Far { unit, at, post, km } => {
                write!(
                    f,
                    "{unit} {at}: {post} is {km:.0} km from the middle of all posts (limit {:.0})",
                    FAR_M / 1000.0
                )
            }
            Self::Crs { posts, of, crs } => write!(
                f,
                "{posts} of {of} known posts would stand where they stand if the coordinates were {0}: is --crs {0} meant?",
                crs.name()
            ),
        }
    }
}

/// Reads a list beside the register that holds.
///
/// # Errors
/// Every fault at once, with its place: show them all.
pub fn read(text: &str, options: &Options, held: &Register) -> Result<Import, Vec<ImportFault>> {
    let table = table::read(text)?;
    let chosen = Chosen::of(&table, options)?;
    let mut rows = Vec::with_capacity(table.rows.len());
    let (mut faults, mut raw) = (Vec::new(), Vec::with_capacity(table.rows.len()));
    for row in &table.rows {
        let (cells, at) = chosen.cells(row, options, held, |reason| {
            faults.push(ImportFault { unit: table.unit, at: row.at, reason });
        });
        rows.push(cells);
        raw.push(at);
    }
    let register = checked(&table, rows, &mut faults);
    let Some(register) = register.filter(|_| faults.is_empty()) else {
        faults.sort_by_key(|fault| fault.at);
        return Err(faults);
    };
    let nowhere = register.posts().iter().filter(|post| place_of(post).is_none()).count();
    let doubts = doubts(&table, &register, &raw, options.crs, held);
    Ok(Import {
        register,
        columns: chosen.named(&table),
        left_out: chosen.left_out,
        kept: chosen.kept,
        doubts,
        nowhere,
    })
}

/// The rows by the reader of registers; its faults with the places of the list.
fn checked(table: &Table, rows: Vec<Vec<Cow<'_, str>>>, faults: &mut Vec<ImportFault>) -> Option<Register> {
    match Register::parse(csv_of(rows.into_iter()).as_bytes()) {
        Ok(register) => Some(register),
        Err(found) => {
            // Our rows begin at line 2, and none holds a line break.
            let place =
                |line: u64| table.rows.get((line as usize).wrapping_sub(2)).map_or(line, |row| row.at);
            faults.extend(found.into_iter().map(|fault| ImportFault {
                unit: table.unit,
                at: place(fault.line),
                reason: fault.reason,
            }));
            None
        }
    }
}

/// Which heading is which column.
struct Chosen {
    /// Columns in the order of the register, with the place of their heading.
    places: Vec<(&'static str, Option<usize>)>,
    left_out: Vec<String>,
    kept: Vec<&'static str>,
}

impl Chosen {
    fn of(table: &Table, options: &Options) -> Result<Self, Vec<ImportFault>> {
        let fault = |reason: String| ImportFault { unit: table.unit, at: 1, reason };
        let mut faults = Vec::new();
        let mut told: Vec<(usize, Option<&'static str>)> = Vec::new();
        for (heading, column) in &options.map {
            let Some(place) = table.headings.iter().position(|known| known == heading) else {
                faults.push(fault(format!(
                    "--map names {heading:?}, which is no heading: {}",
                    table.headings.join(", ")
                )));
                continue;
            };
            match columns().find(|known| known == column) {
                Some(known) => told.push((place, Some(known))),
                None if column == "-" => told.push((place, None)),
                None => {
                    let all = columns().collect::<Vec<_>>().join(", ");
                    faults.push(fault(format!(
                        "--map {heading}={column}: {column:?} is no column; they are {all}"
                    )));
                }
            }
        }
        let mut chosen = Self { places: Vec::new(), left_out: Vec::new(), kept: Vec::new() };
        let is_told = |place: usize| told.iter().any(|(at, _)| *at == place);
        let points = if table.points { 2 } else { 0 };
        for column in columns() {
            let by_map: Vec<usize> =
                told.iter().filter(|(_, to)| *to == Some(column)).map(|(place, _)| *place).collect();
            let by_name = || {
                let named = table.headings.iter().enumerate();
                named
                    .filter(|(place, heading)| !is_told(*place) && column_of(heading) == Some(column))
                    .map(|(place, _)| place)
            };
            let found: Vec<usize> = match by_map.is_empty() {
                false => by_map,
                // The geometry of a feature wins over its properties.
                true if points > 0 && ["lon", "lat"].contains(&column) => vec![usize::from(column == "lat")],
                true => by_name().collect(),
            };
            if let [one, other, ..] = found[..] {
                let [one, other] = [one, other].map(|place| &table.headings[place]);
                faults.push(fault(format!(
                    "{one:?} and {other:?} are both {column}: say which by --map \"{one}={column}\""
                )));
            }
            chosen.places.push((column, found.first().copied()));
        }
        let used = |place: usize| chosen.places.iter().any(|(_, at)| *at == Some(place));
        let left = table.headings.iter().enumerate().skip(points).filter(|(place, _)| !used(*place));
        chosen.left_out = left.map(|(_, heading)| heading.clone()).collect();
        chosen.kept =
            chosen.places.iter().filter(|(_, at)| at.is_none()).map(|(column, _)| *column).collect();
        if chosen.kept.contains(&"post_id") {
            faults.push(fault(format!(
                "no heading is the post's id: say which by --map \"HEADING=post_id\"; there are {}",
                table.headings.join(", ")
            )));
        }
        if faults.is_empty() { Ok(chosen) } else { Err(faults) }
    }

    fn named(&self, table: &Table) -> Vec<(&'static str, String)> {
        let named =
            self.places.iter().filter_map(|(column, at)| Some((*column, table.headings[(*at)?].clone())));
        named.collect()
    }

    /// A row in our columns and words, and where it says that it stands, as it says it.
    fn cells<'r>(
        &self,
        row: &'r Row,
        options: &Options,
        held: &Register,
        mut fault: impl FnMut(String),
    ) -> (Vec<Cow<'r, str>>, Option<(f64, f64)>) {
        let said = |column: &str| {
            let place = self.places.iter().find(|(known, _)| *known == column)?.1?;
            row.cells.get(place)?.as_deref()
        };
        let known = said("post_id").and_then(|post| held.by_post(post));
        let kept = |column: &str| known.map_or_else(String::new, |post| cell(post, column));
        let mut cells: Vec<Cow<'r, str>> = Vec::with_capacity(self.places.len());
        for (column, _) in &self.places {
            let is_said = |text: &&str| !text.is_empty() || !KEPT_WHEN_EMPTY.contains(column);
            let Some(text) = said(column).filter(is_said) else {
                cells.push(Cow::Owned(kept(column)));
                continue;
            };
            if text.chars().count() > TEXT_MAX {
                fault(format!(
                    "{column} has {} characters, limit {TEXT_MAX}: {text:.40} …",
                    text.chars().count()
                ));
            } else if text.contains(char::is_control) {
                fault(format!("{column} {text:?} holds a line break or another control character"));
                // The places of the rows behind it stay right.
                cells.push(Cow::Owned(text.replace(char::is_control, " ")));
                continue;
            }
            cells.push(word(column, text, &options.zones));
        }
        let lon_at = columns().position(|column| column == "lon").unwrap_or(0);
        // A place that is known is not lost by an empty cell.
        let [lon, lat] = ["lon", "lat"].map(|column| said(column).filter(|text| !text.is_empty()));
        // What programs write where they know no place; nobody's lamp stands in the sea at 0, 0.
        let is_zero = |text: &str| text.parse::<f64>().is_ok_and(|value| value == 0.0);
        let is_nowhere = lon.is_some_and(is_zero) && lat.is_some_and(is_zero);
        let [lon, lat] = [lon, lat].map(|text| text.filter(|_| !is_nowhere));
        let (Some(lon), Some(lat)) = (lon, lat) else {
            if lon.is_some() != lat.is_some() {
                fault(format!(
                    "lon {:?} and lat {:?}: one of them is missing",
                    lon.unwrap_or(""),
                    lat.unwrap_or("")
                ));
            }
            cells[lon_at] = Cow::Owned(kept("lon"));
            cells[lon_at + 1] = Cow::Owned(kept("lat"));
            return (cells, None);
        };
        let raw = lon
            .parse::<f64>()
            .ok()
            .zip(lat.parse::<f64>().ok())
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        let Some((x, y)) = raw else { return (cells, None) };
        if y.abs() > 90.0 && x.abs() <= 90.0 {
            fault(format!(
                "lon {x}, lat {y}: the two are swapped; say so by --map, the headings the other way round"
            ));
        } else if options.crs != Crs::Wgs84 {
            let (x, y) = options.crs.to_wgs84((x, y));
            cells[lon_at] = Cow::Owned(format!("{x:.7}"));
            cells[lon_at + 1] = Cow::Owned(format!("{y:.7}"));
        }
        (cells, Some((x, y)))
    }
}

/// Our word for what people write in a column.
fn word<'t>(column: &str, text: &'t str, zones: &[(String, String)]) -> Cow<'t, str> {
    let ours = match (column, text.to_lowercase().as_str()) {
        ("low_lying" | "monitored", "是" | "有" | "y" | "t") => "true",
        ("low_lying" | "monitored", "否" | "无" | "没有" | "n" | "f") => "false",
        ("low_lying" | "monitored", flag @ ("true" | "false" | "yes" | "no")) => {
            return Cow::Owned(flag.to_owned());
        }
        ("kind", "灯杆" | "路灯") => "post",
        ("kind", "回路" | "控制箱" | "配电箱" | "控制柜") => "feeder",
        ("zone", _) => {
            let is_id = zones.iter().any(|(id, _)| id == text);
            let named = zones.iter().find(|(_, name)| !is_id && name == text);
            return named.map_or(Cow::Borrowed(text), |(id, _)| Cow::Owned(id.clone()));
        }
        _ => text,
    };
    // Borrowed where it is ours already, and where it is a word of the program.
    if ours == text { Cow::Borrowed(text) } else { Cow::Owned(ours.to_owned()) }
}

/// Headings that offices use, beside the names of our columns.
const HEADINGS: [(&str, &[&str]); 20] = [
    ("post_id", &["灯杆编号", "灯杆id", "杆件编号", "路灯编号", "设施编号", "编号", "id", "postid"]),
    ("device_id", &["传感器编号", "设备编号", "设备id", "终端编号", "监测终端编号", "device", "deviceid"]),
    ("zone", &["责任区", "责任区编号", "责任片区", "片区", "区域"]),
    ("road", &["道路", "道路名称", "路名", "所在道路", "路段", "街道"]),
    ("number", &["杆号", "灯杆号", "杆牌号", "顺序号"]),
    ("landmark", &["地标", "参照物", "位置", "位置描述", "地址", "详细地址"]),
    ("feeder", &["回路", "回路编号", "供电回路", "线路", "线路编号"]),
    ("cabinet", &["控制箱", "控制箱编号", "配电箱", "配电箱编号", "控制柜", "箱变", "箱变编号"]),
    ("lon", &["经度", "longitude", "lng", "long", "x"]),
    ("lat", &["纬度", "latitude", "y"]),
    ("lamps", &["灯数", "灯具数", "灯具数量", "灯头数", "光源数"]),
    ("lamp_w", &["功率", "灯具功率", "单灯功率", "光源功率", "功率(w)", "灯具功率(w)", "单灯功率(w)"]),
    ("low_lying", &["低洼", "是否低洼", "低洼易涝", "易涝点", "是否易涝"]),
    ("installed", &["安装日期", "安装时间", "投运日期", "建成时间"]),
    ("external_code", &["部件编码", "城市部件编码", "外部编码", "国标编码"]),
    ("kind", &["类型", "设施类型"]),
    ("plan", &["亮灯方案", "开灯方案"]),
    ("monitored", &["是否监测", "有无传感器", "是否安装传感器"]),
    ("model", &["传感器型号", "设备型号", "终端型号"]),
    ("period_s", &["上报周期", "上报周期(s)", "上报周期(秒)"]),
];

/// The column that a heading means.
fn column_of(heading: &str) -> Option<&'static str> {
    let plain: String = heading
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '（' => '(',
            '）' => ')',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    columns().find(|column| *column == plain).or_else(|| {
        HEADINGS.iter().find(|(_, others)| others.contains(&plain.as_str())).map(|(column, _)| *column)
    })
}

/// Where a post stands; none where the register says nothing.
fn place_of(post: &Post) -> Option<(f64, f64)> {
    (post.lon != 0.0 || post.lat != 0.0).then_some((post.lon, post.lat))
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    let half = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(half, f64::total_cmp).1)
}

fn doubts(
    table: &Table,
    register: &Register,
    raw: &[Option<(f64, f64)>],
    crs: Crs,
    held: &Register,
) -> Vec<Doubt> {
    let mut doubts: Vec<Doubt> = other_crs(register, raw, crs, held).into_iter().collect();
    let places = || register.posts().iter().filter_map(|post| place_of(post));
    let middle =
        middle(places().map(|(lon, _)| lon).collect()).zip(middle(places().map(|(_, lat)| lat).collect()));
    for (post, row) in register.posts().iter().zip(&table.rows) {
        let (unit, at, name) = (table.unit, row.at, || post.post_id.to_string());
        let (Some((lon, lat)), Some(middle)) = (place_of(post), middle) else { continue };
        let off = metres((lon, lat), middle);
        if is_shifted(lat, lon) && !is_shifted(lon, lat) {
            doubts.push(Doubt::Swapped { unit, at, post: name(), lon, lat });
        } else if off > FAR_M {
            doubts.push(Doubt::Far { unit, at, post: name(), km: off / 1000.0 });
        }
    }
    doubts
}

/// Another system of coordinates by which most known posts stand where they stood, when by the named one they do not.
fn other_crs(register: &Register, raw: &[Option<(f64, f64)>], crs: Crs, held: &Register) -> Option<Doubt> {
    let stood = register.posts().iter().zip(raw).filter_map(|(post, raw)| {
        let raw = (*raw)?;
        Some((raw, place_of(held.by_post(&post.post_id)?)?))
    });
    let stood: Vec<_> = stood.collect();
    let same =
        |crs: Crs| stood.iter().filter(|(raw, held)| metres(crs.to_wgs84(*raw), *held) < SAME_M).count();
    let (named, of) = (same(crs), stood.len());
    let others = Crs::ALL.into_iter().filter(|other| *other != crs).map(|other| (same(other), other));
    let (posts, other) = others.max_by_key(|(posts, _)| *posts)?;
    (posts > named && posts * 2 > of).then_some(Doubt::Crs { posts, of, crs: other })
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
