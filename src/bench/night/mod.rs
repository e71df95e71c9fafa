//! `bench night`: whole nights on a simulated clock. Are people told when the rules say so, and who comes late?
//!
//! ```text
//! for each seed
//!  1 story     = a city in memory, its weather, its hazards               ../city.rs
//!  2 frame     = offline.take(message)                                    the ingester's own steps
//!  3 night     the rules, the dispatcher, channels and people on one clock world.rs, channels.rs, people.rs,
//!                                                                         crews.rs, relief.rs, breakers.rs
//!  4 verdict   = check(night): what has to hold                           check.rs, check_duty.rs, by log.rs and office.rs
//!  5 scores    = score(hazards, told): late arrivals, messages            the rule of `score`
//!  6 a row
//! at the end: a table over all with the worst seed, and exit code 1 when something did not hold
//! ```
//! No file, no socket, no thread, no waiting. A crew's repair mends the post in the city, its breaker is the city's.

mod breakers;
mod channels;
mod check;
mod check_duty;
mod crews;
mod figures;
mod log;
mod office;
mod people;
mod relief;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lampguard_ingester::Offline;
use lampguard_model::{Millis, Register, Timestamp};
use lampguard_simulator::{Params, Scenario};

use super::city::Story;
use super::row::Report;
use crate::UsageError;
use crate::score::Reporting;
use breakers::Order;
use check::{NAMED_MAX, Verdict, check};
use figures::{Figures, Sum};
use world::{Broken, Night};

/// Options of `bench night`.
#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Scenario: a file, or the name of a shipped one.
    #[arg(long, default_value = "autumn_rain")]
    scenario: String,
    /// Seed of the first night.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nights; each has the next seed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Posts, 1 to 1,000,000.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    posts: u32,
    /// Days of each, above 0 to 366; without it as long as the scenario.
    #[arg(long)]
    days: Option<f64>,
    /// So many posts begin to leak dangerously within ten seconds, in the middle of it: a flood.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    storm: u32,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Makes night after night; an error, and exit code 1, when something does not hold.
pub(super) fn run(options: &Options) -> Result<()> {
    let scenario = crate::simulate::scenario(&options.scenario)?;
    let days = options.days.unwrap_or(scenario.hours / 24.0);
    if !(days > 0.0 && days <= 366.0) {
        bail!(UsageError(format!("--days is {days}, the range is above 0 to 366")));
    }
    let mut report = Report::open(options.json.as_deref())?;
    let mut sum = Sum::of(options, days);
    for seed in options.seed..=options.seed.saturating_add(options.seeds - 1) {
        report.progress(format_args!("night of seed {seed}"));
        let (figures, verdict) = one(options, &scenario, days, seed, Broken::Nothing)?;
        for line in verdict.faults.iter().chain(&figures.late_named) {
            eprintln!("lampguard: seed {seed}: {line}");
        }
        report.row(&sum.add(seed, figures, verdict))?;
    }
    report.row(&sum.total())?;
    crate::tools::print(&sum.table())?;
    sum.judge()
}

/// One night.
fn one(
    options: &Options,
    scenario: &Scenario,
    days: f64,
    seed: u64,
    broken: Broken,
) -> Result<(Figures, Verdict)> {
    let began = Instant::now();
    let length = Millis((days * 86_400_000.0) as i64);
    let mut story = Story::begin(scenario, &Params::default(), seed, options.posts, length)?;
    let start = Timestamp(story.until.0 - length.0);
    let register = Register::parse(story.register_csv().as_bytes())
        .map_err(|faults| anyhow!("the city's own register has {} fault(s)", faults.len()))?;
    let register = Arc::new(register);
    let mut offline = Offline::new(register.clone(), Offline::mappings());
    let mut reporting = Reporting::of(&register);
    let mut night = Night::new(register.clone(), start, days, seed, broken)?;
    let storm_at = start + Millis(length.0 / 2);
    let mut storm = options.storm;
    // Minute by minute, so that what people do to the city comes at its time.
    let mut minute = start;
    while minute < story.until {
        minute = minute + Millis::minutes(1);
        loop {
            let messages = story.messages_by(minute);
            if messages.is_empty() {
                break;
            }
            for message in &messages {
                offline.take(message.at, &message.topic, &message.payload, message.retain, &mut |frame| {
                    night.judge(frame.records(), |reading| reporting.saw(reading.post, reading.received_at));
                });
            }
        }
        for order in std::mem::take(&mut night.orders) {
            match order {
                Order::Repair(post) => story.repair(minute, &post),
                Order::Open(feeder) => story.switch(minute, &feeder, false),
                Order::Close(feeder) => story.switch(minute, &feeder, true),
            }
        }
        if storm > 0 && minute >= storm_at {
            story.storm(minute, std::mem::take(&mut storm))?;
        }
    }
    offline.flush(&mut |frame| {
        night.judge(frame.records(), |reading| reporting.saw(reading.post, reading.received_at));
    });
    night.pass(story.until);
    let verdict = check(&night);
    let figures = Figures::of(&night, &story.hazards(), &reporting, days, began.elapsed());
    Ok((figures, verdict))
}

/// Faults in one line.
fn first_faults(verdict: &Verdict) -> String {
    let more = verdict.more_faults + verdict.faults.len().saturating_sub(3);
    let named = verdict.faults.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
    debug_assert!(verdict.faults.len() <= NAMED_MAX);
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

#[cfg(test)]
mod tests;
