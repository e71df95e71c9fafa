//! What each panel has to show of a simulated storm, worked out from what is true of it and from its own readings.

use std::collections::{BTreeMap, BTreeSet};

use lampguard_dashboards::Source;
use lampguard_dashboards::query::Query;
use serde_json::Value;

use super::handled::Between;
use super::panels::{Frame, SPAN_MS};
use super::storm::{Heard, PERIOD_S, Row, Storm};

/// So soon after a danger is known somebody has to be there, by the policy of the test.
pub const DUE_S: i64 = 15;

/// A number of a panel, and what it has to lie between.
#[derive(Debug)]
pub struct Check {
    pub what: String,
    pub shown: Option<f64>,
    pub low: f64,
    pub high: f64,
}

impl Check {
    pub fn fault(&self) -> Option<String> {
        let near = 1e-6 * self.low.abs().max(self.high.abs()).max(1.0);
        let holds = |shown: f64| (self.low - near..=self.high + near).contains(&shown);
        let Self { what, shown, low, high } = self;
        (!shown.is_some_and(holds)).then(|| format!("{what} shows {shown:?}, true is {low} to {high}"))
    }
}

/// Least and most that is true.
pub(super) type Bounds = (f64, f64);

pub(super) fn exactly(value: f64) -> Bounds {
    (value, value)
}

/// What is known of a storm at its end.
pub struct Known {
    pub storm: Storm,
    pub truth: BTreeMap<String, Value>,
    pub heard: Heard,
    /// The post whose fault was repaired, and its incident closed.
    pub cured: String,
    /// The post to which somebody came late.
    pub late: String,
    /// When people came to them, milliseconds.
    pub arrived: BTreeMap<String, i64>,
    /// When the first of these was acknowledged, departed to, reached, made safe, repaired and verified.
    pub moves: Vec<Between>,
}

impl Known {
    /// Posts of which somebody has to be told. Of others that truth has a line for somebody may be told, so that there are
    /// none of them here is checked before anything is counted.
    pub fn dangerous(&self) -> BTreeSet<String> {
        let has_to = |line: &Value| line["class"] == "dangerous" && line["observable"] == true;
        self.truth.iter().filter(|(_, line)| has_to(line)).map(|(post, _)| post.clone()).collect()
    }

    /// Dark lamps that a sensor measures.
    pub(super) fn seen_dark(&self) -> BTreeSet<String> {
        let seen = |post: &&String| self.heard.newest(post, "lamp_w").is_some();
        self.storm.dark.iter().filter(seen).cloned().collect()
    }

    /// Between these moments the danger of a post was known.
    pub(super) fn known_ms(&self, post: &str) -> (i64, i64) {
        let at = |key: &str| self.truth[post][key].as_i64().unwrap();
        (at("starts_at"), at("dangerous_at") + (2 * PERIOD_S + 2) * 1000)
    }
}

/// Panels over time of what posts measured: board, title, reference, field, how posts are put together.
const CURVES: [(&str, &str, &str, &str, How); 17] = [
    ("lg-post", "Leakage, and rain", "A", "leakage_ma", How::Max),
    ("lg-post", "Shell voltage", "A", "shell_v", How::Max),
    ("lg-post", "Supply voltage", "A", "supply_v", How::Max),
    ("lg-post", "Lamp power and current", "A", "lamp_w", How::Max),
    ("lg-post", "Lamp power and current", "B", "lamp_a", How::Max),
    ("lg-post", "Temperature and humidity", "A", "temperature_c", How::Max),
    ("lg-post", "Temperature and humidity", "B", "humidity_pct", How::Max),
    ("lg-post", "Signal and battery", "A", "rssi_dbm", How::Max),
    ("lg-post", "Signal and battery", "B", "battery_v", How::Max),
    ("lg-post", "Water, door, supply", "A", "immersed", How::Max),
    ("lg-post", "Water, door, supply", "B", "door_open", How::Max),
    ("lg-post", "Water, door, supply", "C", "supply", How::Max),
    ("lg-lit", "Mean power of a post", "A", "lamp_w", How::Mean),
    ("lg-lit", "Mean supply of a post", "A", "supply_v", How::Mean),
    ("lg-zone", "How leakage is spread", "A", "leakage_ma", How::Share(0.5)),
    ("lg-zone", "How leakage is spread", "B", "leakage_ma", How::Share(0.95)),
    ("lg-zone", "How leakage is spread", "C", "leakage_ma", How::Share(1.0)),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Max,
    Mean,
    /// The value that so large a share is not above.
    Share(f64),
}

impl How {
    fn of(self, mut values: Vec<f64>, source: Source) -> Option<f64> {
        values.sort_by(f64::total_cmp);
        let (count, highest) = (values.len(), values.last().copied()?);
        Some(match self {
            Self::Max => highest,
            Self::Mean => values.iter().sum::<f64>() / count as f64,
            // InfluxDB takes a value that is there, PromQL goes between two.
            Self::Share(share) if source == Source::Influxql => {
                values[((count as f64 * share + 0.5).floor() as usize).clamp(1, count) - 1]
            }
            Self::Share(share) => {
                let place = share * (count - 1) as f64;
                let (below, part) = (place.floor() as usize, place.fract());
                values[below] + part * (values[(below + 1).min(count - 1)] - values[below])
            }
        })
    }
}

/// One look at the panels: what is chosen in their variables, and the moment.
pub struct Look<'a> {
    pub known: &'a Known,
    pub source: Source,
    pub to: i64,
    /// Width of a step over time.
    pub step_ms: i64,
    /// None: all of them.
    pub zone: Option<&'a str>,
    pub road: Option<&'a str>,
    pub post: &'a str,
}

impl Look<'_> {
    /// Everything of one answer that can be compared.
    pub fn checks(&self, board: &str, query: &Query, frames: &[Frame]) -> Vec<Check> {
        let (title, ref_id) = (&*query.of, &*query.ref_id);
        let at = |what: &str| format!("{board}, {title} {ref_id}, zone {:?}, {what}", self.zone);
        let check = |what: &str, shown, (low, high): Bounds| Check { what: at(what), shown, low, high };
        if let Some(bounds) = self.number(board, title, ref_id) {
            let shown = (frames.len() == 1).then(|| frames[0].last()).flatten();
            return vec![check("", shown, bounds)];
        }
        if let Some(value) = self.sum(board, title, ref_id) {
            let sum = frames.iter().flat_map(Frame::points).map(|(_, value)| value).sum();
            return vec![check("its sum", Some(sum), exactly(value))];
        }
        let mut checks = Vec::new();
        for zone in self.zones() {
            let of_zone = || frames.iter().find(|frame| frame.label("zone") == zone);
            for (column, value) in self.at_zone(zone).of_zone(board, title, ref_id) {
                let shown = of_zone().and_then(|frame| frame.newest(self.column(column)));
                checks.push(check(zone, shown, exactly(value)));
            }
            if (board, title, ref_id) == ("lg-lit", "Energy", "A") {
                let sum = of_zone().map(|frame| frame.points().iter().map(|(_, value)| value).sum());
                checks.push(check(zone, sum, exactly(self.energy_kwh(zone))));
            }
        }
        let curves = self.curves(board, title, ref_id, frames);
        checks.extend(curves.into_iter().map(|(what, shown, bounds)| check(&what, shown, bounds)));
        let listed = self.listed(board, title, ref_id, frames);
        let crews = self.crews(board, title, ref_id, frames);
        let rows = listed.into_iter().chain(crews);
        checks.extend(rows.map(|(what, shown, bounds)| check(&what, shown, bounds)));
        checks
    }

    /// A column of InfluxQL by its name; PromQL has one alone.
    pub(super) fn column<'a>(&self, name: &'a str) -> &'a str {
        if self.is_influx() { name } else { "" }
    }

    pub(super) fn is_influx(&self) -> bool {
        self.source == Source::Influxql
    }

    pub(super) fn zones(&self) -> Vec<&str> {
        ["z1", "z2", "z3", "z4"].into_iter().filter(|zone| self.zone.is_none_or(|one| one == *zone)).collect()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.known.storm.rows.iter().filter(|row| self.zone.is_none_or(|zone| row.zone == zone))
    }

    pub(super) fn is_here(&self, post: &str) -> bool {
        self.zone.is_none_or(|zone| self.known.storm.row(post).zone == zone)
    }

    fn count(&self, posts: &BTreeSet<String>) -> f64 {
        posts.iter().filter(|post| self.is_here(post)).count() as f64
    }

    /// The same look at one zone.
    fn at_zone<'a>(&'a self, zone: &'a str) -> Look<'a> {
        Look { zone: Some(zone), ..*self }
    }

    fn one(&self, post: &str) -> f64 {
        f64::from(u8::from(self.is_here(post)))
    }

    /// P1 that are open: not the one that was repaired and closed.
    fn open(&self) -> f64 {
        self.count(&self.known.dangerous()) - self.one(&self.known.cured)
    }

    /// Everything that was told of.
    fn opened(&self) -> f64 {
        self.count(&self.known.dangerous()) + self.minor()
    }

    /// Dark lamps and damp posts.
    fn minor(&self) -> f64 {
        self.count(&self.known.seen_dark()) + self.count(&self.known.storm.damp)
    }

    fn came(&self) -> f64 {
        self.known.arrived.keys().map(|post| self.one(post)).sum()
    }

    /// The number that a panel with one number shows.
    fn number(&self, board: &str, title: &str, ref_id: &str) -> Option<Bounds> {
        const IN_THIS_TIME: &str = "In this time: opened, arrived, breached, closed";
        let lamps = self.lamps();
        let heard = || self.rows().filter(|row| self.known.heard.posts.contains_key(&row.post));
        Some(exactly(match (board, title, ref_id) {
            (_, "Data age", _) => return Some(self.age_s()),
            ("lg-duty", "Least time left", _) => return Some(self.least_s()),
            ("lg-sla", "Mean response", _) => return Some(self.mean_response_s()),
            ("lg-sla" | "lg-zone", "Mean time of each stage", _) => return Some(self.stage_s(ref_id)),
            // Both people came within the first bucket, and what lies in a bucket is not known.
            ("lg-sla", "Response, median and 90th percentile", _) => return Some((0.0, 300.0)),
            ("lg-sla", "Arrived within 30 minutes" | "Response times", _) => 100.0,
            ("lg-duty", "Open P1", _) | ("lg-zone", "Open and breached", "A") => self.open(),
            ("lg-duty", "Open P2", _) | ("lg-zone", "Open and breached", "B") => self.minor(),
            // All that are open were reached by nobody in time.
            ("lg-duty" | "lg-sla", "Breached", _)
            | ("lg-zone", "Open and breached", "C")
            | ("lg-zone", IN_THIS_TIME, "C") => self.open(),
            // A leak of the worklist is told in the morning.
            ("lg-duty", "Not acknowledged", _) => {
                self.open() + self.count(&self.known.seen_dark()) - self.one(&self.known.late)
            }
            ("lg-sla", "Opened", _) | ("lg-zone", IN_THIS_TIME, "A") => self.opened(),
            ("lg-sla", "Arrived", _) | ("lg-zone", IN_THIS_TIME, "B") => self.came(),
            ("lg-sla", "Closed", _) | ("lg-zone", IN_THIS_TIME, "D") => self.one(&self.known.cured),
            ("lg-duty" | "lg-lit", "Lighting rate, lower bound", _) => 100.0 * lamps.lit / lamps.due,
            ("lg-lit", "Lighting rate, upper bound", _) => 100.0 * (lamps.lit + lamps.unknown) / lamps.due,
            ("lg-lit", "Due", _) => lamps.due,
            ("lg-lit", "Burning", _) => lamps.lit,
            ("lg-lit", "Unknown", _) => lamps.unknown,
            ("lg-zone", "Posts", "A") => self.rows().count() as f64,
            ("lg-zone", "Posts", "B") => heard().count() as f64,
            ("lg-system", "Open incidents", _) => {
                let city = Look { zone: None, ..*self };
                city.open() + city.minor()
            }
            ("lg-system", "Books", _) => 1.0,
            // No sensor fails, no payload is broken, nobody plans work; and two minutes have not passed.
            ("lg-duty", "Silent posts", _)
            | ("lg-lit", "Left out", _)
            | (
                "lg-system",
                "Readings pending" | "Brokers down" | "Sensor connections" | "Incidents left out",
                _,
            )
            | ("lg-system", "Journal stopped" | "Incident store failing" | "Channels failing", _)
            | ("lg-system", "Readings with faults, a second", _)
            | ("lg-system", "Written to databases, a second", "B" | "C")
            | ("lg-system", "Connections of pages", "B") => 0.0,
            // Every danger came once, none was a false alarm or withdrawn.
            ("lg-sla", "Repeats and false alarms", _) => 0.0,
            _ => return None,
        }))
    }

    /// The sum of what a panel over time shows.
    fn sum(&self, board: &str, title: &str, ref_id: &str) -> Option<f64> {
        Some(match (board, title, ref_id) {
            // Marks stand for the whole city.
            (_, "Incidents opened", "Anno") => Look { zone: None, ..*self }.opened(),
            ("lg-duty", "Rain, and incidents opened", "B")
            | ("lg-rain", "Hazards: found and closed", "A")
            | ("lg-sla", "Opened, arrived, closed", "A") => self.opened(),
            ("lg-sla", "Opened, arrived, closed", "B") => self.came(),
            ("lg-rain", "Hazards: found and closed", "B") | ("lg-sla", "Opened, arrived, closed", "C") => {
                self.one(&self.known.cured)
            }
            _ => return None,
        })
    }

    /// What a panel by zone shows of this zone last, by column.
    fn of_zone(&self, board: &str, title: &str, ref_id: &str) -> Vec<(&'static str, f64)> {
        let highest = |field: &str| {
            let newest = self.rows().filter_map(|row| self.known.heard.newest(&row.post, field));
            newest.fold(0.0, f64::max)
        };
        let lamps = self.lamps();
        let value = match (board, title, ref_id) {
            ("lg-duty", "Open incidents by zone" | "P1 and blindness by zone", "A")
            | ("lg-sla", "Open and breached", _) => self.open(),
            ("lg-duty", "Open incidents by zone", "B") => self.minor(),
            // No zone is blind, and what is above a limit is above those of danger.
            ("lg-duty", "P1 and blindness by zone", "B") | ("lg-rain", "Posts whose leakage rose", "B") => {
                0.0
            }
            ("lg-duty" | "lg-rain", "Highest leakage by zone", _) => highest("leakage_ma"),
            ("lg-zone", "Highest shell voltage", _) => highest("shell_v"),
            // Red is what has an open P1 or P2 of its current.
            ("lg-rain", "Posts whose leakage rose", "A") => self.open() + self.count(&self.known.storm.damp),
            ("lg-lit", "Rate by zone, lower bound", _) | ("lg-zone", "Lighting rate, lower bound", _) => {
                100.0 * lamps.lit / lamps.due
            }
            ("lg-lit", "Due and burning", "A") => lamps.due,
            ("lg-lit", "Due and burning", "B") => lamps.lit,
            ("lg-rain", "Low-lying posts that report", _) => return self.low_lying(),
            ("lg-sla", "By zone", _) => {
                let all = [
                    ("opened", self.opened()),
                    ("arrived", self.came()),
                    ("breached", self.open()),
                    ("closed", self.one(&self.known.cured)),
                ];
                // PromQL asks for one after the other.
                let nth = (ref_id.as_bytes()[0] - b'A') as usize;
                return if self.source == Source::Influxql { all.to_vec() } else { vec![all[nth]] };
            }
            _ => return Vec::new(),
        };
        vec![("", value)]
    }
}

impl Look<'_> {
    /// The share of low-lying posts that were heard; a zone without such posts has no line.
    fn low_lying(&self) -> Vec<(&'static str, f64)> {
        let low: Vec<_> = self.rows().filter(|row| row.low_lying).collect();
        let heard = low.iter().filter(|row| self.known.heard.posts.contains_key(&row.post)).count();
        if low.is_empty() { Vec::new() } else { vec![("", 100.0 * heard as f64 / low.len() as f64)] }
    }
}

struct Lamps {
    due: f64,
    lit: f64,
    unknown: f64,
}

/// A name of something shown, what is shown, and what is true.
pub(super) type Shown = (String, Option<f64>, Bounds);

impl Look<'_> {
    /// Every lamp is due and burns, but the dark ones; nobody knows of those whose power is not measured.
    fn lamps(&self) -> Lamps {
        let mut lamps = Lamps { due: 0.0, lit: 0.0, unknown: 0.0 };
        for row in self.rows() {
            lamps.due += row.lamps;
            if self.known.heard.newest(&row.post, "lamp_w").is_none() {
                lamps.unknown += row.lamps;
            } else if !self.known.storm.dark.contains(&row.post) {
                lamps.lit += row.lamps;
            }
        }
        lamps
    }

    /// Age of the newest reading of the zone that was heard longest ago. InfluxQL says how it was at the last row.
    fn age_s(&self) -> Bounds {
        let zones = if self.zone.is_some() { self.zones() } else { vec!["z1", "z2", "z3", "z4"] };
        let newest = |zone: &str| {
            let of_zone = self.known.storm.rows.iter().filter(|row| row.zone == zone);
            of_zone.filter_map(|row| self.known.heard.posts.get(&row.post)?.keys().last()).max().copied()
        };
        let oldest = zones.into_iter().filter_map(newest).min().unwrap();
        let age_s = (self.to - oldest) as f64 / 1000.0;
        (age_s - 32.0, age_s + 1.0)
    }

    fn least_s(&self) -> Bounds {
        let open = self
            .known
            .dangerous()
            .into_iter()
            .filter(|post| self.is_here(post) && !self.known.arrived.contains_key(post));
        let left = open.map(|post| self.left_s(&post, self.to));
        left.fold((f64::MAX, f64::MAX), |least, one| (least.0.min(one.0), least.1.min(one.1)))
    }

    /// Seconds to the deadline in a row that is at most half a minute older.
    pub(super) fn left_s(&self, post: &str, at: i64) -> Bounds {
        let (from, until) = self.known.known_ms(post);
        let left = |known: i64, row: i64| (known + DUE_S * 1000 - row) as f64 / 1000.0;
        (left(from, at) - 1.0, left(until, at - 32_000))
    }

    fn mean_response_s(&self) -> Bounds {
        let took = self.known.arrived.iter().filter(|(post, _)| self.is_here(post)).map(|(post, at)| {
            let (from, until) = self.known.known_ms(post);
            ((at - until) as f64 / 1000.0, (at - from) as f64 / 1000.0 + 1.0)
        });
        let (mut low, mut high) = (0.0, 0.0);
        took.for_each(|one| (low, high) = (low + one.0, high + one.1));
        (f64::max(low / self.came(), 0.0), high / self.came())
    }

    /// What the meters of a zone counted in the hour.
    fn energy_kwh(&self, zone: &str) -> f64 {
        let grown = |row: &Row| {
            let energy: Vec<f64> =
                self.values(&row.post, "energy_kwh").into_iter().map(|(_, kwh)| kwh).collect();
            Some(energy.last()? - energy.first()?)
        };
        self.at_zone(zone).rows().filter_map(grown).sum()
    }

    /// Every value of a field of a post with its time.
    pub(super) fn values(&self, post: &str, field: &str) -> Vec<(i64, f64)> {
        let Some(frames) = self.known.heard.posts.get(post) else { return Vec::new() };
        frames.iter().filter_map(|(at, fields)| Some((*at, *fields.get(field)?))).collect()
    }

    /// What series of values look like at one step. PromQL looks back a step, and takes the newest if that has none; InfluxQL
    /// looks at what is in the step.
    fn at_step(&self, series: &[Vec<(i64, f64)>], step: i64, how: How) -> Option<f64> {
        let mut values = Vec::new();
        for points in series {
            let within = |from: i64, to: i64| {
                let inside = points.iter().filter(|(at, _)| (from..to).contains(at));
                inside.map(|(_, value)| *value).collect::<Vec<f64>>()
            };
            if self.source == Source::Influxql {
                values.extend(within(step.max(self.to - SPAN_MS), (step + self.step_ms).min(self.to + 1)));
                continue;
            }
            let newest = within(i64::MIN, step + 1).last().copied();
            let highest = within(step - self.step_ms + 1, step + 1).into_iter().reduce(f64::max);
            values.extend(if how == How::Mean { newest } else { highest.or(newest) });
        }
        how.of(values, self.source)
    }

    /// Every point of a line is compared; a point that nothing was measured for is a fault.
    fn points(&self, name: &str, frame: Option<&Frame>, series: &[Vec<(i64, f64)>], how: How) -> Vec<Shown> {
        let points = frame.map_or(&[][..], Frame::points);
        if points.is_empty() {
            return vec![(format!("{name} no line"), None, exactly(0.0))];
        }
        let point = |(at, value): &(i64, f64)| {
            let wanted = self.at_step(series, *at, how).unwrap_or(f64::NAN);
            (format!("{name} {} s before the end", (self.to - at) / 1000), Some(*value), exactly(wanted))
        };
        points.iter().map(point).collect()
    }

    /// Lines over time of what posts and rain gauges measured.
    fn curves(&self, board: &str, title: &str, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let rain = match (board, title, ref_id) {
            ("lg-duty", "Rain, and incidents opened", "A")
            | ("lg-post", "Leakage, and rain", "B")
            | ("lg-rain", "Rain", "A") => Some("rain_mm_h"),
            (_, "Weather warnings", _) => Some("warning"),
            _ => None,
        };
        let of_zone = |zone: &str| frames.iter().find(|frame| frame.label("zone") == zone);
        let told = |zone: &str, field: &str| -> Vec<(i64, f64)> {
            self.known.heard.weather[zone].iter().map(|(at, fields)| (*at, fields[field])).collect()
        };
        if (rain, self.source, ref_id) == (Some("warning"), Source::Influxql, "Anno") {
            let warnings = |zone: &&str| told(zone, "warning").iter().filter(|(_, code)| *code > 0.0).count();
            let all: usize = ["z1", "z2", "z3", "z4"].iter().map(warnings).sum();
            let shown = frames.iter().map(|frame| frame.points().len()).sum::<usize>();
            return vec![("marks".to_owned(), Some(shown as f64), exactly(all as f64))];
        }
        if let Some(field) = rain {
            let line = |zone: &str| self.points(zone, of_zone(zone), &[told(zone, field)], How::Max);
            return ["z1", "z2", "z3", "z4"].into_iter().flat_map(line).collect();
        }
        let known = CURVES.iter().find(|(b, t, r, _, _)| (*b, *t, *r) == (board, title, ref_id));
        let Some((.., field, how)) = known else { return Vec::new() };
        if board == "lg-post" {
            return self.points("", frames.first(), &[self.values(self.post, field)], *how);
        }
        let series =
            |look: &Look<'_>| -> Vec<_> { look.rows().map(|row| self.values(&row.post, field)).collect() };
        if board == "lg-zone" {
            return self.points("", frames.first(), &series(self), *how);
        }
        let line = |zone: &str| self.points(zone, of_zone(zone), &series(&self.at_zone(zone)), *how);
        self.zones().into_iter().flat_map(line).collect()
    }
}
