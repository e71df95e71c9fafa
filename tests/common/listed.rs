//! What tables, maps and variables have to show of a simulated storm. See `shown.rs`.

use std::collections::{BTreeMap, BTreeSet};

use lampguard_dashboards::Source;

use super::panels::Frame;
use super::shown::{Bounds, Look, Shown, exactly};
use super::storm::{PERIOD_S, Row};

/// Which end of a ranking is asked for.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Highest,
    Lowest,
}

impl Look<'_> {
    /// Tables, maps and variables.
    pub(super) fn listed(&self, board: &str, title: &str, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let heard = &self.known.heard;
        match (board, title) {
            (_, "$zone") => {
                let all = ["z1", "z2", "z3", "z4"].map(str::to_owned);
                self.offered(frames, "zone", &BTreeSet::from(all))
            }
            ("lg-post", "$post") => {
                let rows = self.rows().chain(self.cabinet_rows());
                let posts = rows.map(|row| &row.post).filter(|post| heard.posts.contains_key(*post));
                self.offered(frames, "post", &posts.cloned().collect())
            }
            (_, "$road") => {
                let roads = self.abnormal().into_keys().map(|post| self.known.storm.row(&post).road.clone());
                self.offered(frames, "road", &roads.collect())
            }
            (_, "Open incidents" | "Lamps out, and burning by day") => {
                self.incidents(title != "Open incidents", ref_id, frames)
            }
            (_, "Abnormal posts") => {
                let on_road =
                    |post: &String| self.road.is_none_or(|road| self.known.storm.row(post).road == road);
                let abnormal = self.abnormal().into_iter().filter(|(post, _)| on_road(post)).collect();
                self.places(frames, &abnormal)
            }
            (_, "Abnormal and silent posts") => self.places(frames, &self.abnormal()),
            ("lg-post", "Incidents of this post") => {
                let shown = (frames.len() == 1).then(|| frames[0].last()).flatten();
                vec![("severity".to_owned(), shown, exactly(1.0))]
            }
            ("lg-post", "Newest reading") => self.newest_reading(ref_id, frames),
            ("lg-zone", "Ten posts with the highest leakage") => {
                self.ranked(frames, 10, End::Highest, |row| self.peak(row))
            }
            ("lg-zone", "Residual current by feeder") => self.cabinets(ref_id, frames),
            ("lg-rain", "Twenty highest peaks") => {
                self.ranked(frames, 20, End::Highest, |row| self.peak(row))
            }
            ("lg-rain", "Twenty steepest posts") => {
                self.ranked(frames, 20, End::Highest, |row| self.rise(row))
            }
            ("lg-lit", "Twenty darkest posts") => {
                self.ranked(frames, 20, End::Lowest, |row| heard.newest(&row.post, "lamp_w"))
            }
            _ => Vec::new(),
        }
    }

    /// Values that a variable offers; there are no others.
    fn offered(&self, frames: &[Frame], label: &str, wanted: &BTreeSet<String>) -> Vec<Shown> {
        let label = if self.source == Source::Influxql { "value" } else { label };
        let shown: BTreeSet<String> = frames.iter().map(|frame| frame.label(label).to_owned()).collect();
        let one = |name: &String| {
            (
                name.clone(),
                shown.contains(name).then_some(1.0),
                exactly(f64::from(u8::from(wanted.contains(name)))),
            )
        };
        wanted.union(&shown).map(one).collect()
    }

    /// Red posts by what they have to show: an open P1 or P2 of a current.
    fn abnormal(&self) -> BTreeMap<String, Bounds> {
        let red = self.known.dangerous().into_iter().chain(self.known.storm.damp.iter().cloned());
        let open = red.filter(|post| *post != self.known.cured && self.is_here(post));
        open.map(|post| (post, exactly(2.0))).collect()
    }

    /// A value for each post that is wanted, and no other post.
    fn by_post(&self, frames: &[Frame], column: &str, wanted: &BTreeMap<String, Bounds>) -> Vec<Shown> {
        let of = |post: &str| frames.iter().find(|frame| frame.label("post") == post);
        let value = |(post, bounds): (&String, &Bounds)| {
            let shown = of(post).and_then(|frame| frame.newest(self.column(column)));
            (format!("{post} {column}"), shown, *bounds)
        };
        let others = frames.iter().filter(|frame| frame.newest(self.column(column)).is_some());
        let others = others.map(|frame| frame.label("post")).filter(|post| !wanted.contains_key(*post));
        let foreign = others.map(|post| (format!("{post} which is not expected"), Some(1.0), exactly(0.0)));
        wanted.iter().map(value).chain(foreign).collect()
    }

    /// Posts on the map: their state, their road, and where they stand by the register.
    fn places(&self, frames: &[Frame], wanted: &BTreeMap<String, Bounds>) -> Vec<Shown> {
        let mut shown = self.by_post(frames, "state", wanted);
        for frame in frames {
            let row = self.known.storm.row(frame.label("post"));
            let is_there = frame.label("road") == row.road && frame.label("zone") == row.zone;
            shown.push((format!("{} road", row.post), is_there.then_some(1.0), exactly(1.0)));
            let (lon, lat) = decoded(frame.label("geohash"));
            // Eight characters are a field of 38 m by 19 m.
            for (what, value, true_value) in [("lon", lon, row.lon), ("lat", lat, row.lat)] {
                let bounds = (true_value - 0.0002, true_value + 0.0002);
                shown.push((format!("{} {what}", row.post), Some(value), bounds));
            }
        }
        shown
    }

    /// Columns of a list of incidents, by reference in PromQL and by name in InfluxQL.
    fn incidents(&self, lamps_alone: bool, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let columns = ["severity", "state", "remaining_s", "value"];
        let asked = if self.source == Source::Influxql {
            &columns[..]
        } else {
            let nth = (ref_id.as_bytes()[0] - b'A') as usize;
            &columns[nth..=nth]
        };
        let dark = self.known.seen_dark();
        let currents = self.known.dangerous().into_iter().chain(self.known.storm.damp.iter().cloned());
        let currents = currents.filter(|post| !lamps_alone && *post != self.known.cured);
        let posts: Vec<String> = currents.chain(dark).filter(|post| self.is_here(post)).collect();
        let mut shown = Vec::new();
        for column in asked {
            let wanted =
                posts.iter().filter_map(|post| Some((post.clone(), self.of_incident(column, post, frames)?)));
            shown.extend(self.by_post(frames, column, &wanted.collect()));
        }
        shown
    }

    /// What a column of the incident of a post has to hold; none where it has nothing.
    fn of_incident(&self, column: &str, post: &String, frames: &[Frame]) -> Option<Bounds> {
        let is_dark = self.known.storm.dark.contains(post);
        let is_damp = self.known.storm.damp.contains(post);
        Some(match column {
            "severity" => exactly(if is_dark || is_damp { 2.0 } else { 1.0 }),
            // Arrived, or open.
            "state" => exactly(if *post == self.known.late { 3.0 } else { 0.0 }),
            // Rows leave it out while somebody is there; a list shows what it was for two minutes more.
            "remaining_s" if *post == self.known.late => {
                let frame = frames.iter().find(|frame| frame.label("post") == post)?;
                frame.newest(self.column(column))?;
                self.left_s(post, self.known.arrived[post])
            }
            "remaining_s" if is_dark => (1500.0, 1800.0),
            "remaining_s" if is_damp => (86_100.0, 86_400.0),
            "remaining_s" => self.left_s(post, self.to),
            // A value that its sensor sent.
            _ => {
                let frame = frames.iter().find(|frame| frame.label("post") == post)?;
                let field = match frame.label("kind").split('_').next() {
                    Some("lamp") => "lamp_w",
                    Some("shell") => "shell_v",
                    _ => "leakage_ma",
                };
                let shown = frame.newest(self.column("value")).unwrap_or(f64::NAN);
                let sent = self.values(post, field).into_iter().map(|(_, value)| value);
                let near = |value: &f64| (value - shown).abs();
                exactly(sent.min_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or(f64::NAN))
            }
        })
    }

    fn newest_reading(&self, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let of = |column: &str, field: &str| {
            let shown = frames.first().and_then(|frame| frame.newest(self.column(column)));
            let sent = self.known.heard.newest(self.post, field).unwrap_or(f64::NAN);
            (field.to_owned(), shown, exactly(sent))
        };
        let columns =
            [("leakage", "leakage_ma"), ("shell", "shell_v"), ("volts", "supply_v"), ("on", "supply")];
        if self.source == Source::Influxql {
            return columns.map(|(column, field)| of(column, field)).to_vec();
        }
        if ref_id != "A" {
            let (column, field) = columns[(ref_id.as_bytes()[0] - b'B') as usize];
            return vec![of(column, field)];
        }
        // When it was, to half a minute.
        let newest = *self.known.heard.posts[self.post].keys().last().unwrap() as f64;
        let shown = frames.first().and_then(Frame::last);
        vec![("when".to_owned(), shown, (newest - 30_000.0 - PERIOD_S as f64 * 1000.0, newest + 1000.0))]
    }

    /// A ranking: its values one after the other, and each post's own. Posts of equal values may stand for one another.
    fn ranked(
        &self,
        frames: &[Frame],
        count: usize,
        end: End,
        of: impl Fn(&Row) -> Option<f64>,
    ) -> Vec<Shown> {
        let in_order = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            if end == End::Highest {
                values.reverse();
            }
            values
        };
        let wanted = in_order(self.rows().filter_map(&of).collect());
        let shown = in_order(frames.iter().filter_map(Frame::last).collect());
        let nth = |(nth, value): (usize, &f64)| {
            (format!("place {}", nth + 1), shown.get(nth).copied(), exactly(*value))
        };
        let own = |frame: &Frame| {
            let row = self.rows().find(|row| row.post == frame.label("post"));
            let bounds = exactly(row.and_then(&of).unwrap_or(f64::NAN));
            (frame.label("post").to_owned(), frame.last(), bounds)
        };
        wanted.iter().take(count).enumerate().map(nth).chain(frames.iter().map(own)).collect()
    }

    fn cabinet_rows(&self) -> impl Iterator<Item = &Row> {
        self.known.storm.cabinets.iter().filter(|row| self.zone.is_none_or(|zone| row.zone == zone))
    }

    /// What the sensor in each cabinet sent last, and at most; there are no other rows.
    fn cabinets(&self, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let cabinets: Vec<&Row> = self.cabinet_rows().collect();
        let mut shown = vec![("rows".to_owned(), Some(frames.len() as f64), exactly(cabinets.len() as f64))];
        for row in cabinets {
            let is_it = |frame: &&Frame| {
                (frame.label("post"), frame.label("zone"), frame.label("feeder"))
                    == (&*row.post, &*row.zone, &*row.feeder)
            };
            let frame = frames.iter().find(is_it);
            let newest = self.known.heard.newest(&row.post, "leakage_ma");
            for (column, letter, sent) in [("newest", "A", newest), ("highest", "B", self.peak(row))] {
                if self.is_influx() || ref_id == letter {
                    let value = frame.and_then(|frame| frame.newest(self.column(column)));
                    shown.push((format!("{} {column}", row.post), value, exactly(sent.unwrap_or(f64::NAN))));
                }
            }
        }
        shown
    }

    fn peak(&self, row: &Row) -> Option<f64> {
        self.values(&row.post, "leakage_ma").into_iter().map(|(_, value)| value).reduce(f64::max)
    }

    /// How leakage rose in the hour: by InfluxQL from its first to its last value, by PromQL the straight line through all of
    /// them, an hour's worth.
    fn rise(&self, row: &Row) -> Option<f64> {
        let points = self.values(&row.post, "leakage_ma");
        let ((first_at, first), (_, last)) = (points.first().copied()?, points.last().copied()?);
        if self.source == Source::Influxql {
            return Some(last - first);
        }
        let points: Vec<(f64, f64)> =
            points.into_iter().map(|(at, value)| ((at - first_at) as f64 / 3.6e6, value)).collect();
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        let (at, value) = (mean(&|point| point.0), mean(&|point| point.1));
        let along = mean(&|point| (point.0 - at) * (point.1 - value));
        Some(along / mean(&|point| (point.0 - at).powi(2)))
    }
}

/// The middle of a field of a geohash: longitude, latitude.
fn decoded(geohash: &str) -> (f64, f64) {
    let mut bounds = [(-180.0, 180.0), (-90.0, 90.0)];
    let mut turn = 0;
    for letter in geohash.chars() {
        let five = "0123456789bcdefghjkmnpqrstuvwxyz".find(letter).unwrap();
        for bit in (0..5).rev() {
            let (low, high): &mut (f64, f64) = &mut bounds[turn];
            let middle = (*low + *high) / 2.0;
            if five >> bit & 1 == 1 {
                *low = middle;
            } else {
                *high = middle;
            }
            turn = 1 - turn;
        }
    }
    let [lon, lat] = bounds.map(|(low, high)| (low + high) / 2.0);
    (lon, lat)
}
