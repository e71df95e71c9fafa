//! `bench alarms`: how many hazards of simulated cities are told in time, and how many alarms are false, beside
//! the rule that people write first.
//!
//! ```text
//! for each seed
//!  1 story    = a city in memory, its weather, its hazards                  city.rs
//!  2 frame    = offline.take(message)                                       the ingester's own steps
//!  3 judge.judge(frame), naive.reading(reading)                             the engine on the city's clock
//!  4 scores   = score(hazards, told)                                        the rule of the contract
//!  5 a row for the engine and one for the naive rule, with seed and commit
//! at the end: the rows of each rule added up, and a table of both
//! ```
//! No file, no socket, no clock but for the speed: a row is repeated by its seed and commit.

mod table;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lampguard_alerting::Policies;
use lampguard_ingester::Offline;
use lampguard_journal::FrameBuf;
use lampguard_model::{Millis, Register};
use lampguard_simulator::Scenario;

use super::city::Story;
use super::row::{Report, Row};
use crate::UsageError;
use crate::backtest::{self, Judge, Naive, Pace};
use crate::score::{self, Family, Going, Reporting, Scores, Told, score};
use table::{Seed, Sum};

/// Options of `bench alarms`.
#[derive(Debug, Args)]
pub(super) struct Alarms {
    /// Scenario: a file, or the name of a shipped one.
    #[arg(long, default_value = "autumn_rain")]
    scenario: String,
    /// Cities to judge.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Seed of the first one; the others follow.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Posts of each, 1 to 1,000,000.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    posts: u32,
    /// Days of each, above 0 to 366; without it as long as the scenario.
    #[arg(long)]
    days: Option<f64>,
    /// What the cities are made of (TOML), instead of the shipped example.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Move every physical parameter by up to this share of itself, by each seed: 0.5 is ± 50 %.
    #[arg(long, value_name = "SHARE", value_parser = crate::cli::share)]
    redraw: Option<f64>,
    /// Cities judged side by side, 1 to 64; without it as many as there are cores. The rows do not depend on it, but
    /// for the speed.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: Option<u64>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Who judged.
const RULES: [&str; 2] = ["lampguard", "naive"];

/// Judges city after city.
pub(super) fn run(options: &Alarms) -> Result<()> {
    let scenario = crate::simulate::scenario(&options.scenario)?;
    let days = options.days.unwrap_or(scenario.hours / 24.0);
    if !(days > 0.0 && days <= 366.0) {
        bail!(UsageError(format!("--days is {days}, the range is above 0 to 366")));
    }
    let mut report = Report::open(options.json.as_deref())?;
    let commit = table::commit();
    let head = |rule| {
        let row = Row::of("alarms").text("rule", rule).text("city", &options.scenario).text("mark", "SIM");
        row.number("posts", f64::from(options.posts)).number("days", days).text("commit", &commit)
    };
    let mut sums = RULES.map(|rule| Sum::of(rule, head(rule)));
    let last = options.first_seed.saturating_add(options.seeds - 1);
    let judge = |seed| judge_city(options, &scenario, days, seed);
    side_by_side(options.first_seed..=last, jobs(options), judge, |seed, judged| {
        report.progress(format_args!("seed {seed} of {}..={last}", options.first_seed));
        for (sum, one) in sums.iter_mut().zip(judged?) {
            report.row(&sum.add(&one))?;
        }
        Ok(())
    })?;
    for sum in &sums {
        report.row(&sum.total())?;
    }
    crate::tools::print(&table::beside(&sums))
}

fn jobs(options: &Alarms) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    options.jobs.map_or_else(cores, |jobs| jobs as usize)
}

/// Does `work` for every seed on `jobs` threads, and hands over what came out in the order of the seeds. Ends at the
/// first fault.
fn side_by_side<T: Send>(
    seeds: RangeInclusive<u64>,
    jobs: usize,
    work: impl Fn(u64) -> T + Sync,
    mut done: impl FnMut(u64, T) -> Result<()>,
) -> Result<()> {
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(0);
        for _ in 0..jobs {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last || sender.send((seed, work(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        for seed in seeds {
            while !early.contains_key(&seed) {
                let Ok((came, result)) = results.recv() else {
                    bail!("a thread that judged cities ended early")
                };
                early.insert(came, result);
            }
            if let Some(result) = early.remove(&seed) {
                done(seed, result)?;
            }
        }
        Ok(())
    })
}

/// One city, judged by both rules.
fn judge_city(options: &Alarms, scenario: &Scenario, days: f64, seed: u64) -> Result<[Seed; 2]> {
    let length = Millis((days * 86_400_000.0) as i64);
    let params = crate::simulate::params(options.params.as_deref(), options.redraw, seed)?;
    let mut story = Story::begin(scenario, &params, seed, options.posts, length)?;
    let register = Register::parse(story.register_csv().as_bytes())
        .map_err(|faults| anyhow!("the city's own register has {} fault(s)", faults.len()))?;
    let register = Arc::new(register);
    let mut offline = Offline::new(register.clone(), Offline::mappings());
    let mut judge = Judge::new(Policies::default(), register.clone(), Pace::AsNeeded);
    let mut naive = Naive::new(register.clone());
    let mut reporting = Reporting::of(&register);
    let mut told: [Vec<backtest::Told>; 2] = Default::default();
    let mut judging_s = 0.0;
    loop {
        let messages = story.messages();
        if messages.is_empty() {
            break;
        }
        let began = Instant::now();
        for message in &messages {
            offline.take(message.at, &message.topic, &message.payload, message.retain, &mut |frame| {
                look(&mut judge, &mut naive, &mut reporting, frame);
            });
        }
        judging_s += began.elapsed().as_secs_f64();
        told[0].extend(judge.ended());
        told[1].extend(naive.cleared());
    }
    offline.flush(&mut |frame| look(&mut judge, &mut naive, &mut reporting, frame));
    told[0].extend(judge.finish());
    told[1].extend(naive.finish(story.until));
    let hazards = story.hazards();
    let exposure = score::watched(&register, days);
    let speed = judge.judged.readings as f64 / judging_s;
    Ok(told.map(|told| {
        let told: Vec<Told> = told.iter().flat_map(as_scored).collect();
        let mut scores: Scores = score(&hazards, &told, None, Some(exposure), Some(&reporting));
        scores.simulated = true;
        Seed { seed, readings: judge.judged.readings, speed, scores }
    }))
}

fn look(judge: &mut Judge, naive: &mut Naive, reporting: &mut Reporting, frame: &FrameBuf) {
    judge.judge(frame.records(), |reading| {
        naive.reading(reading);
        reporting.saw(reading.post, reading.received_at);
    });
}

/// An incident as the score takes it: once for its own post and what the first notice named, and once for each
/// member that a later one named. Nobody moves or voids here.
fn as_scored(told: &backtest::Told) -> Vec<Told> {
    let (incident, first_at) = (&told.incident, told.notices.first_at);
    let kind = incident.evidence.kind.name();
    let own = Told {
        id: incident.id.to_string(),
        kind: kind.to_owned(),
        family: Family::of(kind),
        posts: given(&incident.post_id).into_iter().collect(),
        feeder: given(&incident.feeder),
        zone: given(&incident.zone),
        place: None,
        p1_at: incident.p1_at(),
        first_notice_at: first_at,
        p1_notice_at: told.notices.p1_at,
        voided: false,
        going: Going::default(),
    };
    let mut all = vec![own];
    for (member, named_at) in incident.members.iter().zip(told.members_told_at()) {
        let Some(named_at) = named_at else { continue };
        if Some(named_at) == first_at {
            all[0].posts.push(member.to_string());
            continue;
        }
        let p1_notice_at = told.notices.p1_at.map(|at| at.max(named_at));
        let posts = vec![member.to_string()];
        all.push(Told { posts, first_notice_at: Some(named_at), p1_notice_at, ..all[0].clone() });
    }
    all
}

fn given(name: &str) -> Option<String> {
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_judged_side_by_side_are_handed_over_in_order_and_end_at_the_first_fault() {
        let mut seen = Vec::new();
        let slow_first = |seed: u64| std::thread::sleep(std::time::Duration::from_millis(40 / seed));
        side_by_side(1..=20, 4, slow_first, |seed, ()| {
            seen.push(seed);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (1..=20).collect::<Vec<_>>());
        let fails =
            side_by_side(1..=1000, 4, |seed| seed, |seed, _| if seed < 3 { Ok(()) } else { bail!("{seed}") });
        assert_eq!(fails.unwrap_err().to_string(), "3");
    }

    #[test]
    fn the_rate_is_over_the_posts_that_are_watched_and_the_table_says_that_they_are_simulated() {
        let options = Alarms {
            scenario: "quiet_month".to_owned(),
            seeds: 1,
            first_seed: 3,
            posts: 200,
            days: Some(0.02),
            params: None,
            redraw: None,
            jobs: None,
            json: None,
        };
        let scenario = crate::simulate::scenario(&options.scenario).unwrap();
        let [ours, naive] = judge_city(&options, &scenario, 0.02, 3).unwrap();
        let watched = ours.scores.exposure.unwrap().posts;
        assert!((150..200).contains(&watched), "{watched}: one post in 25 has no sensor");
        assert_eq!(naive.scores.exposure.unwrap().posts, watched);
        let mut sums = RULES.map(|rule| Sum::of(rule, Row::of("alarms")));
        sums[0].add(&ours);
        sums[1].add(&naive);
        let table = table::beside(&sums);
        assert!(table.starts_with("\n模拟数据  SIM ") && table.contains("not judged"), "{table}");
    }
}
