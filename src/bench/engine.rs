//! `bench engine`: the rules alone, on one thread: what a reading, a sweep and a storm cost.
//!
//! ```text
//!  steady  every post reports each five minutes; the clock ticks each second      readings/s, ns each
//!  sweep   one tick that looks at every post                                      ms
//!  storm   every post becomes dangerous within ten seconds                        incidents, s
//! ```
//! Readings are made before they are judged and reused, so that only the rules are timed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Args;
use lampguard_alerting::wet::Sky;
use lampguard_alerting::{Effect, Engine, Input, Policy};
use lampguard_model::record::StoredReading;
use lampguard_model::{Field, Fields, Millis, Register, Timestamp, WeatherReport};

use super::machine;
use super::process::{Cpu, memory_mib};
use super::row::{Report, Row, median};

/// 2026-11-23 12:00 UTC.
const T: Timestamp = Timestamp(1_795_435_200_000);
/// Posts on a feeder.
const ON_FEEDER: usize = 40;
const ZONES: usize = 4;
/// How often a post reports, seconds.
const PERIOD_S: i64 = 300;

/// Options of `bench engine`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Posts, 100 to 1,000,000.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    posts: u32,
    /// Rounds of five minutes; the median of them is printed.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A city of names, and the rules over it.
struct City {
    engine: Engine,
    effects: Vec<Effect>,
    /// Post, zone, feeder.
    names: Vec<[String; 3]>,
    now: Timestamp,
    ticked: Timestamp,
}

impl City {
    fn new(posts: u32) -> Result<Self> {
        let name = |n: usize| [format!("P{n:06}"), format!("z{}", n % ZONES), format!("F{}", n / ON_FEEDER)];
        let names: Vec<[String; 3]> = (0..posts as usize).map(name).collect();
        let mut csv = lampguard_model::register::header();
        for (n, [post, zone, feeder]) in names.iter().enumerate() {
            let low = n.is_multiple_of(20);
            csv += &format!(
                "\n{post},,{zone},r{},{n},,{feeder},C,113.2,35.2,2,150,{low},,,post,all,true,M,{PERIOD_S}",
                n / 100
            );
        }
        let register =
            Register::parse(csv.as_bytes()).map_err(|faults| anyhow!("{} fault(s)", faults.len()))?;
        let engine = Engine::new(Policy::default(), Arc::new(register), Sky::default());
        Ok(Self { engine, effects: Vec::new(), names, now: T, ticked: T })
    }

    fn dry(&mut self) {
        let report = WeatherReport { rain_mm_h: Some(0.0), ..WeatherReport::default() };
        let input = Input::Weather { zone: "all", report: &report };
        self.engine.step(self.now, input, &mut self.effects);
    }

    /// Every post reports once within `span`; returns the seconds that it took.
    fn round(&mut self, span: Millis, leakage: impl Fn(usize) -> i64) -> f64 {
        let start = self.now;
        let posts = self.names.len() as i64;
        let mut fields = Fields::default();
        fields.set(Field::ShellV, 300);
        let began = Instant::now();
        for (n, [post, zone, feeder]) in self.names.iter().enumerate() {
            let now = start + Millis(span.0 * n as i64 / posts);
            if now.since(self.ticked) >= Millis::seconds(1) {
                self.ticked = now;
                self.engine.step(now, Input::Tick, &mut self.effects);
            }
            fields.set(Field::LeakageMa, leakage(n));
            fields.set(Field::SupplyV, 229_000 + (now.0 % 7) * 100);
            let identity = (now.0 as u64 ^ (n as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let reading = StoredReading {
                identity,
                zone,
                feeder,
                fields: fields.clone(),
                ..StoredReading::at(post, now)
            };
            self.engine.step(now, Input::Reading(&reading), &mut self.effects);
        }
        self.now = start + span;
        began.elapsed().as_secs_f64()
    }
}

/// Prints a row for each part.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let before = machine::Moment::now()?;
    let (memory_before, _) = memory_mib(std::process::id())?;
    let mut city = City::new(options.posts)?;
    city.dry();
    let head = |row| Row::of("engine").text("row", row).number("posts", f64::from(options.posts));
    let posts = f64::from(options.posts);

    // The first rounds fill the rings.
    let span = Millis::seconds(PERIOD_S);
    let mut seconds: Vec<f64> = Vec::new();
    for round in 0..options.rounds + 6 {
        city.dry();
        let took = city.round(span, |n| 700 + (n as i64 * 7 + i64::from(round)) % 200);
        if round >= 6 {
            seconds.push(took);
        }
    }
    let incidents = city.engine.open_incidents().count();
    let (memory, _) = memory_mib(std::process::id())?;
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let middle = median(&mut seconds);
    let row = head("steady").number("rounds", f64::from(options.rounds));
    let row = row.number("readings_per_s", posts / middle).number("ns_each", middle * 1e9 / posts);
    let row = row.number("best_ns_each", best * 1e9 / posts).number("incidents", incidents as f64);
    let row = row.number("bytes_per_post", Engine::BYTES_PER_POST as f64);
    report.row(&row.number("rss_bytes_per_post", (memory - memory_before) * 1_048_576.0 / posts))?;

    let mut sweeps: Vec<f64> = Vec::new();
    for _ in 0..options.rounds {
        // Everybody reports in one second; eleven minutes later all are looked at, and none is silent yet.
        city.dry();
        city.round(Millis::seconds(1), |n| 700 + (n as i64 * 11) % 200);
        let at = city.now + Millis::seconds(660);
        let began = Instant::now();
        city.engine.step(at, Input::Tick, &mut city.effects);
        sweeps.push(began.elapsed().as_secs_f64() * 1000.0);
        (city.now, city.ticked) = (at, at);
    }
    let worst = sweeps.iter().copied().fold(0.0, f64::max);
    report.row(&head("sweep").number("ms", median(&mut sweeps)).number("longest_ms", worst))?;

    city.effects.clear();
    let opened = city.engine.open_incidents().count();
    let mut took = 0.0;
    for _ in 0..2 {
        took += city.round(Millis::seconds(5), |_| 45_000);
    }
    let new = city.engine.open_incidents().count() - opened;
    let row = head("storm").number("incidents", new as f64).number("s", took);
    let row = row.number("us_each_incident", took * 1e6 / new.max(1) as f64);
    report.row(&row.number("effects", city.effects.len() as f64))?;
    let ours = Cpu::of(std::process::id())?.total_s;
    report.row(&Row::of("engine").text("row", "machine").with(before.row_since(ours)?))
}
