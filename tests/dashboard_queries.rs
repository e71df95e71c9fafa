//! Every question of every dashboard asks a real database that the built program filled: none is empty, and where a number
//! can be compared it is the program's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "dashboard_queries/handled.rs"]
mod handled;

use std::collections::BTreeMap;

use common::office::CABINET;
use common::panels::{Counts, Frame, boards};
use common::{Mqtt, Office, now_ms, seconds, wait_until};
use lampguard_dashboards::Source;
use lampguard_dashboards::query::{Form, Query, queries};
use lampguard_model::Timestamp;
use serde_json::{Value, json};

/// Stricter than by rule, so that a deadline passes, a lamp counts as out and a leak is warned of (due in a day) while the
/// test waits.
const POLICY: &str = "[due]\np1 = \"20 s\"\n[lamp_out]\ndark_for = \"5 s\"\n[leak_warning]\nover = \"5 s\"\n";

/// What the sensor in the cabinet measures now and measured before: more than any post, and of a whole feeder.
const CABINET_MA: f64 = 92.5;
const CABINET_MA_MAX: f64 = 120.0;
/// Rounds of readings; the meter of the cabinet counts 1 kWh from each to the next, those of posts stand still.
const ROUNDS: u64 = 9;

impl Office {
    /// One round of readings with every field, measured so long ago.
    fn send(&self, round: u64, ago_s: i64, rising: bool) {
        let mut client = Mqtt::connect(self.site.listener, "gateway");
        for post in 1..=41u64 {
            let leakage_ma = match post {
                41 => {
                    if ago_s == 0 {
                        CABINET_MA
                    } else {
                        CABINET_MA_MAX
                    }
                }
                3 | 22 if ago_s == 0 => 60.5,
                30 if ago_s == 0 => 8.0,
                _ => 0.5 + post as f64 / 100.0 + if rising { round as f64 / 10.0 } else { 0.0 },
            };
            let reading = json!({
                "ts": now_ms() - ago_s * 1000, "seq": round, "boot": 7, "leakage_ma": leakage_ma, "shell_v": 0.4,
                "supply_v": 228.4, "neutral_v": 1.2, "supply": "on", "lamp_a": 0.52,
                "lamp_w": if post == 9 { 1.0 } else { 98.0 }, "power_factor": 0.97, "earth_ohm": 3.1,
                "energy_kwh": if post == 41 { 4000.5 + round as f64 } else { 812.4 },
                "immersed": false, "water_mm": 0, "tilt_deg": 0.3, "impact": false, "door_open": false,
                "temperature_c": 14.2, "humidity_pct": 91, "battery_v": 3.6, "rssi_dbm": -87,
            });
            let device = if post == 41 { CABINET.to_owned() } else { format!("P{post:03}") };
            client.publish(&format!("lamp/z1/{device}/reading"), reading.to_string().as_bytes(), post);
            client.note_acks(100, seconds(10)).unwrap();
        }
        assert!(client.wait_for_acks(seconds(10)));
    }

    /// A rainy hour: old readings, then danger; one case is closed, the others are not kept.
    fn live(&self) {
        // What a counter does before its first row nobody can see in a difference.
        wait_until("the first row of a zone", seconds(40), || {
            std::thread::sleep(seconds(1));
            !self.victoria.export("zone_opened_total").is_empty()
        });
        let weather = json!({"zone": "all", "rain_mm_h": 12.5, "warning": "yellow", "wet": true});
        self.post(0, "/api/v1/weather", &weather);
        for round in 0..6u64 {
            self.send(round, 3000 - 500 * round as i64, true);
        }
        self.send(6, 0, false);
        self.send(7, 0, false);
        let hand = json!([{"post_id": "P005", "cause": "manual", "check": "ok", "pen_band_v": 0, "supply": "on", "by": "李四"}]);
        self.post(0, "/api/v1/readings", &hand);
        let here = json!({"key": "1", "position": {"lon": 113.62, "lat": 34.75, "accuracy_m": 12.0}});
        self.handle("call", "wet junction", &here);
        // It comes again, and there is nothing.
        self.handle("again", "false", &here);
        let void = format!("{}/void", self.tell("prank", "P012"));
        let first = self.post(0, &void, &json!({"key": "1", "reason": "prank"}));
        let second = json!({"key": "2", "reason": "prank", "second": first["pending_id"]});
        assert_eq!(self.post(2, &void, &second)["state"], "void");
        // The next round shows the lamp dark for longer than it may be.
        std::thread::sleep(seconds(7));
        self.send(ROUNDS - 1, 0, false);
        // Somebody comes to a post whose deadline is over.
        let late = || {
            let open = self.lampguard.items("/api/v1/incidents?limit=1000");
            open.into_iter().find(|incident| incident["post_id"] == "P003" && incident["breached"] == true)
        };
        wait_until("a deadline to pass", seconds(40), || late().is_some());
        let at = format!("/api/v1/incidents/{}", late().unwrap()["id"].as_str().unwrap());
        self.post(1, &format!("{at}/arrive"), &here);
        self.post(1, &format!("{at}/make_safe"), &json!({"key": "1", "method": "barrier"}));
    }

    fn truth(&self) -> Truth {
        let zones = self.lampguard.json("/api/v1/zones")["items"].as_array().unwrap().clone();
        let mut incidents = self.lampguard.items("/api/v1/incidents?state=all&limit=1000");
        incidents.retain(|incident| incident["drill"] == false);
        // The single view tells what people did.
        let lives = incidents.iter().map(|incident| {
            let id = incident["id"].as_str().unwrap();
            (id.to_owned(), self.lampguard.json(&format!("/api/v1/incidents/{id}"))["life"].clone())
        });
        let lives = lives.collect();
        let posts = |state| self.lampguard.items(&format!("/api/v1/posts?state={state}&limit=1000")).len();
        let abnormal = ["danger", "warning", "silent"].map(posts).iter().sum::<usize>() as f64;
        Truth { zones, incidents, lives, abnormal }
    }
}

/// What the interface says.
struct Truth {
    zones: Vec<Value>,
    incidents: Vec<Value>,
    /// What people did, by incident.
    lives: BTreeMap<String, Value>,
    /// Posts that are dangerous, near it, or silent.
    abnormal: f64,
}

/// Seconds that a P1 or P2 had when it opened.
fn given_s(incident: &Value) -> Option<i64> {
    let at = |key: &str| incident[key].as_str().map(|text| Timestamp::from_rfc3339(text).unwrap());
    Some(at("due_at")?.since(at("opened_at")?).as_seconds())
}

/// People are told of it at once.
fn is_told(incident: &Value) -> bool {
    incident["severity"] == "P1" || given_s(incident).is_some_and(|given_s| given_s <= 7200)
}

/// A P2 of the worklist.
fn is_listed(incident: &Value) -> bool {
    incident["severity"] == "P2" && !is_told(incident)
}

const OVER: [&str; 3] = ["closed", "void", "merged"];

impl Truth {
    fn sum(&self, of: impl Fn(&Value) -> &Value) -> f64 {
        self.zones.iter().map(|zone| of(zone).as_f64().unwrap()).sum()
    }

    fn count(&self, is: impl Fn(&Value) -> bool) -> f64 {
        self.incidents.iter().filter(|incident| is(incident)).count() as f64
    }

    fn open(&self, is: impl Fn(&Value) -> bool) -> f64 {
        self.count(|incident| !OVER.contains(&incident["state"].as_str().unwrap()) && is(incident))
    }

    /// The number that a panel with one number shows.
    fn number(&self, board: &str, panel: &str) -> Option<f64> {
        Some(match (board, panel) {
            ("lg-duty", "Open P1") => self.sum(|zone| &zone["open_p1"]),
            ("lg-duty", "Open P2") => self.open(|incident| incident["severity"] == "P2"),
            ("lg-duty", "Not acknowledged") => {
                self.open(|incident| incident["state"] == "open" && is_told(incident))
            }
            ("lg-sla", "Arrived within 30 minutes") => 100.0,
            ("lg-duty", "Breached") => self.open(|incident| incident["breached"] == true),
            ("lg-lit", "Due") => self.sum(|zone| &zone["lamps"]["due"]),
            ("lg-lit", "Burning") => self.sum(|zone| &zone["lamps"]["lit"]),
            ("lg-lit", "Unknown") => self.sum(|zone| &zone["lamps"]["unknown"]),
            ("lg-lit", "Left out") => self.sum(|zone| &zone["lamps"]["excluded"]),
            ("lg-sla", "Opened") => self.count(|_| true),
            ("lg-sla", "Arrived") => self.count(|incident| !incident["arrived_at"].is_null()),
            ("lg-sla", "Breached") => self.count(|incident| incident["breached"] == true),
            ("lg-sla", "Closed") => self.count(|incident| incident["state"] == "closed"),
            ("lg-system", "Open incidents") => self.open(|_| true),
            ("lg-system", "Books") => 1.0,
            ("lg-system", "Readings pending" | "Journal stopped" | "Brokers down" | "Incidents left out") => {
                0.0
            }
            _ => return None,
        })
    }

    /// The number of each zone that a panel by zone shows last. `asked` is the question: one panel has several.
    fn by_zone(&self, board: &str, panel: &str, asked: &str, zone: &Value) -> Option<f64> {
        let of = |incident: &Value| incident["zone"] == zone["zone"];
        let arrived = |incident: &Value| of(incident) && !incident["arrived_at"].is_null();
        match (board, panel) {
            ("lg-duty" | "lg-rain", "Highest leakage by zone") => {
                zone["worst"]["leakage_ma"]["value"].as_f64()
            }
            // In z1 the one is heard; in z2 one of two.
            ("lg-rain", "Low-lying posts that report") => {
                Some(if zone["zone"] == "z1" { 100.0 } else { 50.0 })
            }
            ("lg-zone", "Highest shell voltage") => zone["worst"]["shell_v"]["value"].as_f64(),
            ("lg-duty", "Open incidents by zone") if asked.contains("open_p1") => zone["open_p1"].as_f64(),
            // InfluxQL asks for four columns at once; the first by name is arrived.
            ("lg-sla", "By zone") if asked.contains("arrived_total") => Some(self.count(arrived)),
            ("lg-sla", "By zone") if asked.contains("opened_total") => Some(self.count(of)),
            ("lg-sla", "By zone") if asked.contains("breached_total") => {
                Some(self.count(|incident| of(incident) && incident["breached"] == true))
            }
            ("lg-sla", "By zone") if asked.contains("closed_total") => {
                Some(self.count(|incident| of(incident) && incident["state"] == "closed"))
            }
            _ => None,
        }
    }

    /// How many rows a list has.
    fn rows(&self, board: &str, panel: &str) -> Option<f64> {
        match (board, panel) {
            ("lg-duty", "Open incidents") => Some(self.open(|_| true)),
            ("lg-duty", "Abnormal posts") => Some(self.abnormal),
            ("lg-lit", "Lamps out, and burning by day") => {
                Some(self.open(|incident| incident["kind"] == "lamp_out" || incident["kind"] == "day_burn"))
            }
            _ => None,
        }
    }
}

/// The cabinet stands in its own panel, with its feeder, and in no list of posts; what differs.
fn cabinets_differ(board: &str, query: &Query, frames: &[Frame], compared: &mut u64) -> Vec<String> {
    let is_it = |frame: &&Frame| frame.labels.values().any(|label| label == CABINET);
    let found: Vec<_> = frames.iter().filter(is_it).collect();
    let at = format!("{board}, {}, {}", query.of, query.ref_id);
    if (board, &*query.of) == ("lg-post", "$post") {
        let is_offered = !found.is_empty();
        return (!is_offered).then(|| format!("{at}: no cabinet among {frames:?}")).into_iter().collect();
    }
    if (board, &*query.of) == ("lg-lit", "Energy") {
        *compared += 1;
        let of_zone = frames.iter().filter(|frame| frame.label("zone") == "z1");
        let sum: f64 = of_zone.flat_map(Frame::points).map(|(_, kwh)| kwh).sum();
        let wanted = if query.ref_id == "B" { (ROUNDS - 1) as f64 } else { 0.0 };
        let differs = (sum - wanted).abs() > 1e-6;
        return differs.then(|| format!("{at}: {sum} kWh in z1, sent was {wanted}")).into_iter().collect();
    }
    if (board, &*query.of) != ("lg-zone", "Residual current by feeder") {
        return found.iter().map(|frame| format!("{at}: a cabinet among posts: {frame:?}")).collect();
    }
    *compared += 1;
    let wanted = match (query.form, &*query.ref_id) {
        (Form::Influxql, _) => vec![("newest", CABINET_MA), ("highest", CABINET_MA_MAX)],
        (_, "A") => vec![("", CABINET_MA)],
        _ => vec![("", CABINET_MA_MAX)],
    };
    let is_shown = |frame: &Frame| {
        let holds = |(column, value): &(&str, f64)| frame.newest(column) == Some(*value);
        frame.label("feeder") == "F1" && wanted.iter().all(holds)
    };
    if found.len() == 1 && frames.len() == 1 && is_shown(found[0]) {
        return Vec::new();
    }
    vec![format!("{at}: shows {frames:?}, sent was {wanted:?}")]
}

/// LG-03 shows a sensor in a cabinet like a post, but for incidents, of which it has none; what differs.
fn cabinet_on_its_own(city: &Office, source: Source, counts: &mut Counts) -> Vec<String> {
    let (_, dashboard) = boards(source).into_iter().find(|(board, _)| board == "lg-post").unwrap();
    let variables = BTreeMap::from([("post", CABINET)]);
    let mut faults = Vec::new();
    for query in queries(&dashboard).iter().filter(|query| query.of != "Incidents of this post") {
        let at = format!("lg-post of a cabinet, {}, {}: {}", query.of, query.ref_id, query.text);
        let frames = city.ask(query, &variables, now_ms()).unwrap();
        let one = (frames.len() == 1).then(|| &frames[0]);
        let is_good = match (&*query.of, &*query.ref_id) {
            ("Leakage, and rain", "A") => one.is_some_and(|frame| {
                let highest = frame.points().iter().map(|(_, value)| *value).fold(0.0, f64::max);
                (frame.last(), highest) == (Some(CABINET_MA), CABINET_MA_MAX)
            }),
            ("Newest reading", "A") if source == Source::Influxql => {
                one.is_some_and(|frame| frame.newest("leakage") == Some(CABINET_MA))
            }
            ("Newest reading", "B") => one.is_some_and(|frame| frame.last() == Some(CABINET_MA)),
            _ => frames.iter().any(|frame| frame.last().is_some_and(f64::is_finite)),
        };
        counts.compared += 1;
        if !is_good {
            faults.push(format!("{at}: shows {frames:?}"));
        }
    }
    faults
}

/// Asks everything of one source once; what is wrong.
fn ask_all(city: &Office, source: Source, counts: &mut Counts) -> Vec<String> {
    let mut faults = Vec::new();
    let variables = BTreeMap::from([("post", "P003")]);
    // What came last is in memory and hidden until then.
    city.victoria.export("zone_posts");
    for (board, dashboard) in boards(source) {
        let truth = city.truth();
        for query in queries(&dashboard) {
            counts.queries += 1;
            counts.panels.insert((board.clone(), query.of.clone()));
            let at = format!("{board}, {}, {}: {}", query.of, query.ref_id, query.text);
            let frames = match city.ask(&query, &variables, now_ms()) {
                Ok(frames) => frames,
                Err(error) => {
                    faults.push(format!("{at}: {error}"));
                    continue;
                }
            };
            let full = frames.iter().filter(|frame| frame.last().is_some_and(f64::is_finite)).count();
            counts.frames += full as u64;
            if full == 0 {
                faults.push(format!("{at}: empty"));
                continue;
            }
            if let Some(wanted) = truth.number(&board, &query.of) {
                counts.compared += 1;
                let shown: Vec<_> = frames.iter().map(Frame::last).collect();
                if shown != [Some(wanted)] {
                    faults.push(format!("{at}: shows {shown:?}, the interface says {wanted}"));
                }
            }
            if let Some(wanted) = truth.of_question(&board, &query.of, &query.text) {
                counts.compared += 1;
                let shown: Vec<_> = frames.iter().filter_map(Frame::last).collect();
                if shown.len() != 1 || (shown[0] - wanted).abs() > 1e-3 * wanted.max(1.0) {
                    faults.push(format!("{at}: shows {shown:?}, the interface says {wanted}"));
                }
            }
            faults.extend(cabinets_differ(&board, &query, &frames, &mut counts.compared));
            faults.extend(truth.crews_differ(&board, &query, &frames, &mut counts.compared));
            // The value of an incident may be unknown, and then it has no row in that column.
            let of_value =
                query.text.contains("incident_value") || query.text.contains("incident_remaining_s");
            if let Some(wanted) = truth.rows(&board, &query.of).filter(|_| !of_value) {
                counts.compared += 1;
                if full as f64 != wanted {
                    faults.push(format!("{at}: {full} rows, the interface says {wanted}"));
                }
            }
            for zone in &truth.zones {
                let Some(wanted) = truth.by_zone(&board, &query.of, &query.text, zone) else { continue };
                counts.compared += 1;
                let of_zone =
                    |frame: &&Frame| frame.labels.get("zone").map(String::as_str) == zone["zone"].as_str();
                let shown = frames.iter().find(of_zone).and_then(Frame::last);
                if shown != Some(wanted) {
                    faults
                        .push(format!("{at}: {} shows {shown:?}, the interface says {wanted}", zone["zone"]));
                }
            }
        }
    }
    faults
}

#[test]
fn every_question_of_every_dashboard_is_answered_by_real_databases_and_numbers_are_the_programs_own() {
    let Some(city) = Office::open(POLICY) else { return };
    city.live();
    for source in [Source::Prometheus, Source::Influxql] {
        let (mut faults, mut counts) = (Vec::new(), Counts::default());
        let began = std::time::Instant::now();
        // Rows are written every 30 s; what was told a moment ago is in the next ones.
        while began.elapsed() < seconds(120) {
            counts = Counts::default();
            faults = ask_all(&city, source, &mut counts);
            faults.extend(cabinet_on_its_own(&city, source, &mut counts));
            if faults.is_empty() {
                break;
            }
            std::thread::sleep(seconds(4));
        }
        assert!(faults.is_empty(), "{source:?}, {} faults:\n{}", faults.len(), faults.join("\n"));
        counts.tell(source);
        assert!(counts.compared >= 30, "{counts:?}");
    }
    // What was told apart was there: a warning that is due in a day and nobody has, and somebody who came late.
    let truth = city.truth();
    assert!(truth.open(|incident| incident["state"] == "open" && is_listed(incident)) >= 1.0);
    let late = |incident: &Value| incident["breached"] == true && !incident["arrived_at"].is_null();
    assert!(truth.open(late) >= 1.0);
    city.lampguard.balanced();
    city.lampguard.stop();
}
