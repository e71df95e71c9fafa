//! The register of posts (台账): which device hangs on which post, feeder, road and zone.
//!
//! The register decides; a topic or payload is only a hint.
//!
//! [`import`] reads the lists of other people; [`difference`] tells what another register changes.

pub mod difference;
pub mod import;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// What a line of the register stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostKind {
    /// A lamp post.
    #[default]
    Post,
    /// A sensor in a cabinet that measures a whole feeder.
    Feeder,
}

/// One line of the register.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Identity of the post; stays when its sensor is swapped.
    pub post_id: Arc<str>,
    /// Identity of its sensor; the post's own when the column is empty.
    pub device_id: Arc<str>,
    /// Responsibility zone (责任区).
    pub zone: Arc<str>,
    /// Road.
    pub road: Arc<str>,
    /// Number on the post, as painted.
    pub number: String,
    /// Landmark a crew can find.
    pub landmark: String,
    /// Feeder (回路) that powers it.
    pub feeder: Arc<str>,
    /// Cabinet (控制箱) of the feeder.
    pub cabinet: String,
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// Lamps on the post.
    pub lamps: u8,
    /// Rated power of one lamp, watts.
    pub lamp_w: f64,
    /// Stands in a low-lying stretch where water stays.
    pub low_lying: bool,
    /// Date of installation, as written.
    pub installed: String,
    /// City part code (部件编码).
    pub external_code: String,
    /// Post or cabinet.
    pub kind: PostKind,
    /// Lighting plan: all, half_night, …
    pub plan: String,
    /// False for posts without a sensor.
    pub monitored: bool,
    /// Sensor model.
    pub model: String,
    /// Reporting period of the sensor in seconds, if the register knows it.
    pub period_s: Option<u32>,
}

/// One fault of a register file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RegisterFault {
    /// Line of the file, the header being line 1.
    pub line: u64,
    /// What is wrong, with the value.
    pub reason: String,
}

/// Longest identifier: a device or post name of more characters is refused.
pub const ID_LENGTH_MAX: usize = 64;

/// True for 1 to 64 of `A-Z a-z 0-9 . _ : -`.
pub fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    !text.is_empty() && text.len() <= ID_LENGTH_MAX && text.bytes().all(allowed)
}

/// Every post the office knows, found by device or by post.
#[derive(Debug, Default)]
pub struct Register {
    posts: Vec<Arc<Post>>,
    by_device: HashMap<Arc<str>, usize, RandomState>,
    by_post: HashMap<Arc<str>, usize, RandomState>,
    zones: Vec<Arc<str>>,
    /// Zones that the office has besides, without a post in them yet.
    others: Vec<Arc<str>>,
}

const REQUIRED: [&str; 15] = [
    "post_id",
    "device_id",
    "zone",
    "road",
    "number",
    "landmark",
    "feeder",
    "cabinet",
    "lon",
    "lat",
    "lamps",
    "lamp_w",
    "low_lying",
    "installed",
    "external_code",
];
const OPTIONAL: [&str; 5] = ["kind", "plan", "monitored", "model", "period_s"];

/// Every column, in the order of the file.
pub fn columns() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().chain(OPTIONAL)
}

/// The header line of a register file with every column.
pub fn header() -> String {
    columns().collect::<Vec<_>>().join(",")
}

/// What stands in a column of a post's line.
pub fn cell(post: &Post, column: &str) -> String {
    let text = |text: &str| text.to_owned();
    match column {
        "post_id" => text(&post.post_id),
        "device_id" if post.device_id != post.post_id => text(&post.device_id),
        "zone" => text(&post.zone),
        "road" => text(&post.road),
        "number" => text(&post.number),
        "landmark" => text(&post.landmark),
        "feeder" => text(&post.feeder),
        "cabinet" => text(&post.cabinet),
        "lon" => post.lon.to_string(),
        "lat" => post.lat.to_string(),
        "lamps" => post.lamps.to_string(),
        "lamp_w" => post.lamp_w.to_string(),
        "low_lying" => post.low_lying.to_string(),
        "installed" => text(&post.installed),
        "external_code" => text(&post.external_code),
        "kind" if post.kind == PostKind::Feeder => text("feeder"),
        "kind" => text("post"),
        "plan" => text(&post.plan),
        "monitored" => post.monitored.to_string(),
        "model" => text(&post.model),
        "period_s" => post.period_s.map_or_else(String::new, |period| period.to_string()),
        _ => String::new(),
    }
}

/// Rows of cells as CSV, the header line first.
fn csv_of<'r>(rows: impl Iterator<Item = Vec<std::borrow::Cow<'r, str>>>) -> String {
    let mut text = header();
    text.push('\n');
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            match cell.contains([',', '"', '\n', '\r']) {
                true => text.extend(["\"", &cell.replace('"', "\"\""), "\""]),
                false => text.push_str(cell),
            }
        }
        text.push('\n');
    }
    text
}

/// What is wrong with a cell of several lines: a quotation mark that is not closed takes every line up to the next one, and
/// with them their posts.
fn line_break(cell: &str) -> Option<String> {
    let lines = cell.lines().count();
    (lines > 1).then(|| {
        format!("a cell goes over {lines} lines ({cell:.40?} …): is a quotation mark not closed? Write it in one line")
    })
}

impl Register {
    /// Reads `posts.csv` (UTF-8, with or without byte-order mark).
    ///
    /// # Errors
    /// Every fault of the file at once, with its line: stop, and show them all.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<RegisterFault>> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
        let columns = Columns::read(&mut reader)?;
        let (mut register, mut faults) = (Self::default(), Vec::new());
        for row in reader.records() {
            let fault = |line, reason| RegisterFault { line, reason };
            match row {
                Err(e) => faults.push(fault(e.position().map_or(0, csv::Position::line), e.to_string())),
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    let mut reasons: Vec<String> = row.iter().filter_map(line_break).collect();
                    let post = columns.post(&row, &mut register, &mut reasons);
                    if reasons.is_empty() {
                        register.add(post, &mut reasons);
                    }
                    faults.extend(reasons.into_iter().map(|reason| fault(line, reason)));
                }
            }
        }
        if faults.is_empty() { Ok(register) } else { Err(faults) }
    }

    /// A register of these posts.
    ///
    /// # Errors
    /// The reasons why posts could not be added (an identifier that is there twice).
    pub fn from_posts(posts: impl IntoIterator<Item = Post>) -> Result<Self, Vec<String>> {
        let (mut register, mut reasons) = (Self::default(), Vec::new());
        for post in posts {
            register.add(post, &mut reasons);
        }
        if reasons.is_empty() { Ok(register) } else { Err(reasons) }
    }

    /// The register as a file, with every column. Read again it is the same.
    pub fn to_csv(&self) -> String {
        let row = |post: &Arc<Post>| columns().map(|column| cell(post, column).into()).collect();
        csv_of(self.posts.iter().map(row))
    }

    fn add(&mut self, post: Post, reasons: &mut Vec<String>) {
        let place = self.posts.len();
        if self.by_post.contains_key(&post.post_id) {
            reasons.push(format!("post_id {} is already there", post.post_id));
        } else if self.by_device.contains_key(&post.device_id) {
            reasons.push(format!("device_id {} is already there", post.device_id));
        } else {
            self.by_post.insert(post.post_id.clone(), place);
            self.by_device.insert(post.device_id.clone(), place);
            if !self.has_zone(&post.zone) {
                self.zones.push(post.zone.clone());
            }
            self.posts.push(Arc::new(post));
        }
    }

    /// The post that carries this device.
    pub fn by_device(&self, device: &str) -> Option<&Arc<Post>> {
        self.by_device.get(device).map(|place| &self.posts[*place])
    }

    /// The post of that id.
    pub fn by_post(&self, post: &str) -> Option<&Arc<Post>> {
        self.by_post.get(post).map(|place| &self.posts[*place])
    }

    /// The post that a device or a payload means by a name: that of its device, else its own.
    pub fn named(&self, name: &str) -> Option<&Arc<Post>> {
        self.by_device(name).or_else(|| self.by_post(name))
    }

    /// Every post, in the order of the file.
    pub fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }

    /// Every zone that posts name, each once, in order of first mention.
    pub fn zones(&self) -> &[Arc<str>] {
        &self.zones
    }

    /// True when a post names this zone.
    pub fn has_zone(&self, zone: &str) -> bool {
        self.zones.iter().any(|known| **known == *zone)
    }

    /// Zones of the configuration count too, before the first of their posts is registered.
    #[must_use]
    pub fn with_zones<'z>(mut self, zones: impl IntoIterator<Item = &'z str>) -> Self {
        self.others = zones.into_iter().filter(|zone| !self.has_zone(zone)).map(Arc::from).collect();
        self
    }

    /// True for a zone of a post, and for one that the office has without posts ([`Register::with_zones`]).
    pub fn knows_zone(&self, zone: &str) -> bool {
        self.has_zone(zone) || self.others.iter().any(|known| **known == *zone)
    }

    /// The same zones of the office without posts as in another register.
    #[must_use]
    pub fn with_zones_of(self, other: &Self) -> Self {
        self.with_zones(other.zones.iter().chain(&other.others).map(|zone| &**zone))
    }

    /// An `Arc` shared by every post that names the same zone, road or feeder.
    fn shared(&self, text: &str, of: impl Fn(&Post) -> &Arc<str>) -> Arc<str> {
        match self.posts.last().map(|post| of(post)) {
            Some(same) if **same == *text => same.clone(),
            _ => Arc::from(text),
        }
    }
}

/// Where each known column stands in the file.
struct Columns(Vec<(&'static str, usize)>);

impl Columns {
    fn read(reader: &mut csv::Reader<&[u8]>) -> Result<Self, Vec<RegisterFault>> {
        let fault = |reason: String| vec![RegisterFault { line: 1, reason }];
        let header = reader.headers().map_err(|e| fault(e.to_string()))?.clone();
        let place = |name: &str| header.iter().position(|column| column == name);
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|name| place(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(fault(format!("columns missing: {}", missing.join(", "))));
        }
        let known = |name: &str| REQUIRED.contains(&name) || OPTIONAL.contains(&name);
        let unknown: Vec<&str> = header.iter().filter(|name| !known(name)).collect();
        if !unknown.is_empty() {
            return Err(fault(format!("columns nobody knows: {}", unknown.join(", "))));
        }
        Ok(Self(REQUIRED.into_iter().chain(OPTIONAL).filter_map(|n| place(n).map(|at| (n, at))).collect()))
    }

    fn text<'r>(&self, row: &'r csv::StringRecord, name: &str) -> &'r str {
        let place = self.0.iter().find(|(known, _)| *known == name);
        place.and_then(|(_, at)| row.get(*at)).unwrap_or("")
    }

    /// Checks the identifiers of a row and returns the device's.
    fn names<'r>(&self, row: &'r csv::StringRecord, reasons: &mut Vec<String>) -> &'r str {
        let get = |name| self.text(row, name);
        let device = if get("device_id").is_empty() { get("post_id") } else { get("device_id") };
        let names = [
            ("post_id", get("post_id")),
            ("zone", get("zone")),
            ("feeder", get("feeder")),
            ("device_id", device),
        ];
        for (name, value) in names {
            if !is_identifier(value) {
                reasons.push(format!("{name} {value:?} is not 1 to 64 of A-Z a-z 0-9 . _ : -"));
            }
        }
        if get("zone") == crate::UNREGISTERED {
            reasons
                .push(format!("zone {} is kept for devices the register does not know", crate::UNREGISTERED));
        }
        device
    }

    fn post(&self, row: &csv::StringRecord, register: &mut Register, reasons: &mut Vec<String>) -> Post {
        let get = |name| self.text(row, name);
        let device = self.names(row, reasons);
        let mut number = |name: &str, min: f64, max: f64, absent: f64| {
            let text = self.text(row, name);
            let value = if text.is_empty() { Some(absent) } else { text.parse::<f64>().ok() };
            value.filter(|v| (min..=max).contains(v)).unwrap_or_else(|| {
                reasons.push(format!("{name} {text:?} is not a number from {min} to {max}"));
                absent
            })
        };
        let (lon, lat) = (number("lon", -180.0, 180.0, 0.0), number("lat", -90.0, 90.0, 0.0));
        let (lamps, lamp_w) = (number("lamps", 0.0, 20.0, 1.0), number("lamp_w", 0.0, 2000.0, 0.0));
        let period = number("period_s", 0.0, 604_800.0, 0.0);
        let mut yes = |name: &str, absent: bool| match self.text(row, name) {
            "" => absent,
            "1" | "true" | "yes" => true,
            "0" | "false" | "no" => false,
            other => {
                reasons.push(format!("{name} {other:?} is not true or false"));
                absent
            }
        };
        let (low_lying, monitored) = (yes("low_lying", false), yes("monitored", true));
        let kind = match get("kind") {
            "" | "post" => PostKind::Post,
            "feeder" => PostKind::Feeder,
            other => {
                reasons.push(format!("kind {other:?} is not post or feeder"));
                PostKind::Post
            }
        };
        Post {
            post_id: Arc::from(get("post_id")),
            device_id: Arc::from(device),
            zone: register.shared(get("zone"), |post| &post.zone),
            road: register.shared(get("road"), |post| &post.road),
            number: get("number").to_owned(),
            landmark: get("landmark").to_owned(),
            feeder: register.shared(get("feeder"), |post| &post.feeder),
            cabinet: get("cabinet").to_owned(),
            lon,
            lat,
            lamps: lamps as u8,
            lamp_w,
            low_lying,
            installed: get("installed").to_owned(),
            external_code: get("external_code").to_owned(),
            kind,
            plan: get("plan").to_owned(),
            monitored,
            model: get("model").to_owned(),
            period_s: (period >= 1.0).then_some(period as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: &[&str]) -> String {
        format!("{}\n{}\n", header(), rows.join("\n"))
    }

    const GOOD: &str =
        "P1,D1,z1,人民路,3,塔南路口,F1,C1,113.2,35.2,2,150,true,2019-05,BJ-1,post,all,true,M1,60";

    #[test]
    fn a_register_finds_posts_by_device_and_by_post() {
        let text = format!("\u{feff}{}", file(&[GOOD, "P2,,z1,人民路,4,,F1,C1,113.2,35.2,1,150,false,,"]));
        let register = Register::parse(text.as_bytes()).unwrap();
        let post = register.by_device("D1").unwrap();
        assert_eq!(
            (&*post.post_id, &*post.road, post.low_lying, post.period_s),
            ("P1", "人民路", true, Some(60))
        );
        assert_eq!(&*register.by_device("P2").unwrap().post_id, "P2");
        assert!(Arc::ptr_eq(&register.posts()[0].feeder, &register.posts()[1].feeder));
        assert_eq!(register.zones().len(), 1);
    }

    #[test]
    fn a_zone_that_is_configured_and_has_no_post_is_known_and_no_zone_of_a_post() {
        let register = Register::parse(file(&[GOOD]).as_bytes()).unwrap().with_zones(["z1", "z2"]);
        let copy = Register::default().with_zones_of(&register);
        for known in [&register, &copy] {
            assert!(known.knows_zone("z1") && known.knows_zone("z2") && !known.knows_zone("z9"));
            assert!(!known.has_zone("z2"));
        }
        assert_eq!((register.zones().len(), copy.zones().len()), (1, 0));
    }

    #[test]
    fn a_quotation_mark_that_is_not_closed_takes_no_posts_away_in_silence() {
        let open = "P1,,z1,r,1,,F1,C1,113.2,35.2,1,100,false,\"2019,";
        let rest =
            ["P2,,z1,r,2,,F1,C1,113.2,35.2,1,100,false,,", "P3,,z1,r,3,,F1,C1,113.2,35.2,1,100,false,,"];
        let faults = Register::parse(file(&[open, rest[0], rest[1]]).as_bytes()).unwrap_err();
        assert!(faults[0].to_string().starts_with("line 2: a cell goes over 3 lines"), "{faults:?}");
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_line() {
        let rows = [GOOD, GOOD, "P 3,,,r,1,,F1,C1,999,35,1,x,maybe,,,lamp,,,,"];
        let faults = Register::parse(file(&rows).as_bytes()).unwrap_err();
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(text[0], "line 3: post_id P1 is already there");
        for part in [
            "post_id \"P 3\"",
            "zone \"\"",
            "lon \"999\"",
            "lamp_w \"x\"",
            "low_lying \"maybe\"",
            "kind \"lamp\"",
        ] {
            assert!(text.iter().any(|t| t.starts_with("line 4") && t.contains(part)), "{part}: {text:?}");
        }
    }

    #[test]
    fn a_register_that_is_written_and_read_again_is_the_same() {
        let odd = "P2,,z1,\"a,\"\"b\"\"\",4,,F1,C1,113.123456789,-35.2,0,0.5,yes,,,feeder,half_night,0,,";
        let register = Register::parse(file(&[GOOD, odd]).as_bytes()).unwrap();
        let text = register.to_csv();
        assert_eq!(Register::parse(text.as_bytes()).unwrap().posts(), register.posts(), "{text}");
        assert_eq!(register.posts()[1].road, Arc::from("a,\"b\""));
        assert_eq!(Register::default().to_csv(), format!("{}\n", header()));
    }

    #[test]
    fn missing_and_unknown_columns_are_faults() {
        let faults = Register::parse(b"post_id,zone\nP1,z1\n").unwrap_err();
        assert!(faults[0].reason.contains("device_id"));
        let faults = Register::parse(format!("{},colour\n", header()).as_bytes()).unwrap_err();
        assert!(faults[0].reason.contains("colour"));
    }
}
