//! What must not matter to the rules does not: marks of simulation, the names of posts, devices, feeders and
//! cabinets. One simulated recording is judged by the built program, changed, and judged again; all but the
//! changed names has to be the same: times, values, limits, reasons, order.
//!
//! The seed of a run is printed; `LAMPGUARD_SEED=N` takes it back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::HashMap;

use common::process::{run, texts};
use common::{now_ms, seconds};
use serde_json::Value;
use tempfile::TempDir;

/// What the program adds to the notes of an incident of simulated readings.
const SIMULATED_NOTE: &str = "模拟数据";
/// Columns of a register, by their place.
const POST: usize = 0;
const DEVICE: usize = 1;
const FEEDER: usize = 6;
const CABINET: usize = 7;

/// A stream of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.next() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

fn seed() -> u64 {
    let asked = std::env::var("LAMPGUARD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = asked.unwrap_or_else(|| now_ms() as u64 % 1_000_000);
    println!("LAMPGUARD_SEED={seed}");
    seed
}

/// A city's register and recording, as files and in memory.
struct City {
    home: TempDir,
    register: Vec<Vec<String>>,
    lines: Vec<Value>,
    seed: u64,
}

impl City {
    /// Six minutes of the demo's storm over 400 posts, with all its quirks.
    fn simulated(seed: u64) -> Self {
        Self::of(seed, false)
    }

    /// The same; with `foreign` sensors of foreign makers speak their own payloads.
    fn of(seed: u64, foreign: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let number = seed.to_string();
        let shown = run(home.path(), &["simulate", "--print", "demo"], seconds(120));
        let scenario = format!("vendor_payloads = {foreign}\n{}", texts(&shown).0);
        std::fs::write(home.path().join("storm.toml"), scenario).unwrap();
        let output = run(
            home.path(),
            &[
                "simulate",
                "--scenario",
                "storm.toml",
                "--posts",
                "400",
                "--seed",
                &number,
                "--duration",
                "360",
                "--out",
                "rec.jsonl",
                "--posts-out",
                "posts.csv",
            ],
            seconds(120),
        );
        assert!(output.status.success(), "{}", texts(&output).1);
        let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
        let cells = |line: &str| line.split(',').map(str::to_owned).collect();
        let register = read("posts.csv").lines().map(cells).collect();
        let lines = read("rec.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { home, register, lines: stirred(lines, &mut Dice(seed)), seed }
    }

    /// Standard output of the back-test of a register and a recording.
    fn judge(&self, register: &[Vec<String>], lines: &[Value]) -> String {
        let csv: String = register.iter().map(|row| row.join(",") + "\n").collect();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.home.path().join("changed.csv"), csv).unwrap();
        std::fs::write(self.home.path().join("changed.jsonl"), text).unwrap();
        let arguments = ["backtest", "--posts", "changed.csv", "--readings", "changed.jsonl", "--json"];
        let output = run(self.home.path(), &arguments, seconds(120));
        let (out, err) = texts(&output);
        assert!(output.status.success(), "seed {}: {err}", self.seed);
        out
    }

    fn incidents(&self, register: &[Vec<String>], lines: &[Value]) -> Vec<Value> {
        let out = self.judge(register, lines);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Incidents of the city as it is; enough of them to mean something.
    fn as_it_is(&self) -> Vec<Value> {
        let incidents = self.incidents(&self.register, &self.lines);
        let chattering = |incident: &&Value| incident["notes"].to_string().contains("chattering");
        let count = incidents.iter().filter(chattering).count();
        assert!(incidents.len() > 20 && count > 5, "seed {}: little to compare", self.seed);
        incidents
    }

    /// New names for all that stands in these columns, each name for one old one.
    fn renamed(&self, columns: &[usize], dice: &mut Dice) -> HashMap<String, String> {
        let rows = self.register.iter().skip(1);
        let mut old: Vec<String> = rows.flat_map(|row| columns.iter().map(|c| row[*c].clone())).collect();
        old.retain(|name| !name.is_empty());
        old.sort();
        old.dedup();
        let mut new = old.clone();
        dice.shuffle(&mut new);
        old.into_iter().zip(new).collect()
    }
}

/// One post in nine measures around the limits, up and down, some of it twice in the same millisecond: a storm
/// alone would open one incident of a kind.
fn stirred(lines: Vec<Value>, dice: &mut Dice) -> Vec<Value> {
    let mut out = Vec::with_capacity(lines.len());
    for mut line in lines {
        stir_foreign(&mut line["payload"], dice);
        let number =
            line["topic"].as_str().and_then(|topic| topic.split('/').nth(2)?.get(1..)?.parse::<u32>().ok());
        // A payload that is broken on the way is a text, and stays as it is.
        if number.is_none_or(|number| number % 9 != 0) || !line["payload"].is_object() {
            out.push(line);
            continue;
        }
        for copy in 0..1 + u64::from(dice.next().is_multiple_of(8)) {
            let seq = line["payload"]["seq"].as_u64().unwrap();
            line["payload"]["seq"] = Value::from(seq + copy * 1_000_000);
            line["payload"]["leakage_ma"] =
                Value::from([0.8, 9.0, 14.99, 15.0, 31.0, 80.0][dice.next() as usize % 6]);
            line["payload"]["shell_v"] =
                Value::from([0.4, 1.0, 7.0, 8.4, 12.0, 55.5][dice.next() as usize % 6]);
            out.push(line.clone());
        }
    }
    out
}

/// The same for one foreign payload in three, in its own words.
fn stir_foreign(payload: &mut Value, dice: &mut Dice) {
    let tenths = payload.get("leak_current").is_some();
    let is_box = payload.pointer("/leakage/param/I").is_some();
    if !(tenths || is_box) || !dice.next().is_multiple_of(3) {
        return;
    }
    let leakage_ma = [0.8, 9.0, 15.0, 31.0, 80.0][dice.next() as usize % 5];
    if tenths {
        payload["leak_current"] = Value::from((leakage_ma * 10.0) as i64);
    } else {
        payload["leakage"]["param"]["I"] = Value::from(leakage_ma);
    }
}

/// The same names back.
fn inverse(names: &HashMap<String, String>) -> HashMap<String, String> {
    names.iter().map(|(old, new)| (new.clone(), old.clone())).collect()
}

fn rename(value: &mut Value, names: &HashMap<String, String>) {
    if let Some(new) = value.as_str().and_then(|old| names.get(old)) {
        *value = Value::from(new.clone());
    }
}

/// All that two lists of incidents do not have in common, but for ids: they are hashes of what opened them.
fn differences(one: &[Value], other: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    if one.len() != other.len() {
        found.push(format!("{} incidents and {}", one.len(), other.len()));
    }
    for (place, (a, b)) in one.iter().zip(other).enumerate() {
        let (a, b) = (a.as_object().unwrap(), b.as_object().unwrap());
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        for key in keys.filter(|key| *key != "id") {
            if a.get(key) != b.get(key) {
                found.push(format!("incident {place}, {key}: {:?} and {:?}", a.get(key), b.get(key)));
            }
        }
    }
    found
}

fn same(one: &[Value], other: &[Value], seed: u64) {
    let found = differences(one, other);
    assert!(found.is_empty(), "seed {seed}:\n{}", found.join("\n"));
}

#[test]
fn the_same_recording_twice_gives_the_same_bytes() {
    let city = City::simulated(7);
    let first = city.judge(&city.register, &city.lines);
    assert!(first.lines().count() >= 1);
    assert_eq!(first, city.judge(&city.register, &city.lines));
}

#[test]
fn marks_of_simulation_decide_nothing() {
    for (seed, foreign) in [(7, false), (7, true), (seed(), true)] {
        let city = City::of(seed, foreign);
        let mut lines = city.lines.clone();
        let (mut stripped, mut of_makers) = (0, 0);
        // A payload with a bare NaN stands there as a text.
        for line in &mut lines {
            if let Value::String(text) = &mut line["payload"] {
                let marks = [r#","simulated":true"#, r#","simulated""#, r#""simulated""#];
                *text = marks.iter().fold(text.clone(), |text, mark| text.replace(mark, ""));
            }
        }
        for payload in lines.iter_mut().filter_map(|line| line["payload"].as_object_mut()) {
            of_makers += usize::from(payload.remove("simulated").is_some());
        }
        assert_eq!(of_makers > 1000, foreign, "{of_makers} marks of makers' payloads were stripped");
        for flags in lines.iter_mut().filter_map(|line| line["payload"].get_mut("flags")?.as_array_mut()) {
            let before = flags.len();
            flags.retain(|flag| flag != "simulated");
            stripped += before - flags.len();
        }
        assert!(stripped > 3000, "{stripped} marks were stripped");
        let text: String = lines.iter().map(Value::to_string).collect();
        assert!(!text.contains("simulated"), "a mark is left");
        let mut as_it_is = city.as_it_is();
        for incident in &mut as_it_is {
            let notes = incident["notes"].as_array_mut().unwrap();
            let marked = notes.len();
            notes.retain(|note| note != SIMULATED_NOTE);
            assert_eq!(notes.len() + 1, marked, "a simulated incident says so");
            assert_eq!(std::mem::replace(&mut incident["simulated"], Value::from(false)), true);
        }
        same(&as_it_is, &city.incidents(&city.register, &lines), seed);
    }
}

#[test]
fn names_of_posts_and_devices_decide_nothing() {
    for seed in [7, seed()] {
        let city = City::simulated(seed);
        let mut dice = Dice(seed);
        let posts = city.renamed(&[POST], &mut dice);
        // Each post gets another's name, and a sensor whose name is neither.
        let device_of = |post: &str| format!("sensor-{}", posts[post].trim_start_matches('P'));
        let mut register = city.register.clone();
        for row in register.iter_mut().skip(1) {
            row[DEVICE] = device_of(&row[POST]);
            row[POST] = posts[&row[POST]].clone();
        }
        dice.shuffle(&mut register[1..]);
        let mut lines = city.lines.clone();
        for line in &mut lines {
            let topic = line["topic"].as_str().unwrap().to_owned();
            if let Some(rest) = topic.strip_prefix("lamp/") {
                let levels: Vec<&str> = rest.split('/').collect();
                line["topic"] =
                    Value::from(format!("lamp/{}/{}/{}", levels[0], device_of(levels[1]), levels[2]));
            }
        }
        let back = inverse(&posts);
        let mut incidents = city.incidents(&register, &lines);
        incidents.iter_mut().for_each(|incident| rename(&mut incident["post_id"], &back));
        same(&city.as_it_is(), &incidents, seed);
    }
}

#[test]
fn names_of_feeders_and_cabinets_decide_nothing() {
    for seed in [7, seed()] {
        let city = City::simulated(seed);
        let mut dice = Dice(seed);
        let (feeders, cabinets) = (city.renamed(&[FEEDER], &mut dice), city.renamed(&[CABINET], &mut dice));
        assert!(feeders.len() > 5 && cabinets.len() > 1, "nothing to renumber");
        let mut register = city.register.clone();
        for row in register.iter_mut().skip(1) {
            row[FEEDER] = feeders[&row[FEEDER]].clone();
            row[CABINET] = cabinets[&row[CABINET]].clone();
        }
        let back = inverse(&feeders);
        let mut incidents = city.incidents(&register, &city.lines);
        incidents.iter_mut().for_each(|incident| rename(&mut incident["feeder"], &back));
        same(&city.as_it_is(), &incidents, seed);
    }
}

#[test]
fn a_planted_difference_is_found() {
    let city = City::simulated(7);
    let as_it_is = city.as_it_is();
    assert_eq!(differences(&as_it_is, &as_it_is), Vec::<String>::new());
    // In each key of a line, in the number of lines, and in the readings.
    for key in as_it_is[0].as_object().unwrap().keys().filter(|key| *key != "id") {
        let mut other = as_it_is.clone();
        other[0][key] = Value::from("something else");
        assert_eq!(differences(&as_it_is, &other).len(), 1, "{key}");
    }
    assert!(!differences(&as_it_is, &as_it_is[1..]).is_empty());
    let post = as_it_is[0]["post_id"].as_str().unwrap();
    let measured = as_it_is[0]["evidence"]["measured_at"].as_str().unwrap();
    let measured: jiff::Timestamp = measured.parse().unwrap();
    let mut lines = city.lines.clone();
    let mut planted = 0;
    for line in &mut lines {
        let of_post = line["topic"].as_str().unwrap().contains(post);
        if of_post && line["payload"]["ts"] == measured.as_millisecond() {
            for field in ["leakage_ma", "shell_v"] {
                let value = line["payload"][field].as_f64().unwrap_or(0.0);
                line["payload"][field] = Value::from(value + 0.5);
            }
            planted += 1;
        }
    }
    assert!(planted > 0, "the opening sample is in the recording");
    let found = differences(&as_it_is, &city.incidents(&city.register, &lines));
    assert!(found.iter().any(|told| told.contains("evidence")), "{found:?}");
}
