//! `bench crash`: nothing that was acknowledged is lost, and nothing is there twice.
//!
//! ```text
//!  start      Mosquitto (or none), VictoriaMetrics, lampguard
//!  publish    oracle.py sends at a fixed rate and keeps a file of what was acknowledged to it
//!  meanwhile  lampguard: kill -9, restarted at once, many times at random moments
//!             broker: SIGTERM and start   database: down for a while, later kill -9 and start
//!  settle     until the followers are through and the books have nothing pending
//!  check      oracle.py compares its file with the database, by (post, boot, seq)
//! ```
//! The moments are places in the stream of readings, drawn from `--seed`, so each falls under load; what the
//! processes do in that moment is the machine's.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Path;
use super::publisher::{Publisher, Sum};
use super::process::Family;
use super::row::{Report, Row, quantile};
use super::services::{
    Accounting, Database, LOOK, Lampguard, Mosquitto, find_mosquitto, find_victoria_metrics, metric,
};
use super::site::{Place, Plan, Site, find, free_ports};

/// The other program.
const ORACLE: &str = include_str!("oracle.py");
/// A restarted database is noticed by the next probe, 5 s apart, at the latest; before that nobody knows that
/// rows have to be sent again, and a lag of 0 means nothing.
const NOTICED: Duration = Duration::from_secs(8);
/// Rows are counted as sent when the database has been up at least so long before it is killed.
const UP_BEFORE_KILL: Duration = Duration::from_secs(1);
/// How long a clean end may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Options of `bench crash`.
#[derive(Debug, Args)]
pub(super) struct Crash {
    /// Which way in.
    #[arg(long, value_enum, default_value = "broker")]
    path: Path,
    /// Readings, the refusable ones included.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    readings: u64,
    /// Posts they come from.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    posts: u64,
    /// Readings a second.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    rate: u64,
    /// How often lampguard is killed with -9.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// How often the broker is ended with SIGTERM and started again.
    #[arg(long, default_value_t = 2)]
    broker_restarts: u64,
    /// Seconds for which the database is down; 0: never.
    #[arg(long, default_value_t = 60)]
    db_down: u64,
    /// Also kill the database with -9, once.
    #[arg(long)]
    db_kill: bool,
    /// The same seed draws the same moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest wait, once everything is sent, until it is in the database, seconds.
    #[arg(long, default_value_t = 600)]
    settle: u64,
    /// Keep logs, lists and data in a new folder below this one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs each path that is asked for; an error, and exit code 1, when anything was lost or is there twice.
pub(super) fn run(options: &Crash) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let family = Family::new()?;
    let paths = [Path::Broker, Path::Listener].into_iter().filter(|path| options.path.has(*path));
    let mut failed = Vec::new();
    for path in paths {
        let place = options.keep.as_deref().map_or(Place::Disk, Place::Kept);
        let mut site = Site::make(&family, place)?;
        let outcome = endure(options, path, &site, &mut report);
        let faults = outcome.unwrap_or_else(|e| vec![format!("{e:#}")]);
        let result = if faults.is_empty() { "PASS" } else { "FAIL" };
        let mut row = row("result", path).text("result", result);
        if !faults.is_empty() {
            site.keep();
            row = row.text("why", faults.join("; ")).text("kept", site.dir.display());
            failed.push(format!("{}: {}", word(path), faults.join("; ")));
        }
        report.row(&row)?;
    }
    if failed.is_empty() { Ok(()) } else { bail!("bench crash failed: {}", failed.join("; ")) }
}

fn word(path: Path) -> &'static str {
    if path == Path::Broker { "broker" } else { "listener" }
}

fn row(name: &str, path: Path) -> Row {
    Row::of("crash").text("row", name).text("path", word(path))
}

/// The whole story of one path; returns what is wrong.
fn endure(options: &Crash, path: Path, site: &Site, report: &mut Report) -> Result<Vec<String>> {
    let programs = Programs::find(path)?;
    let oracle = site.dir.join("oracle.py");
    std::fs::write(&oracle, ORACLE).with_context(|| format!("writing {}", oracle.display()))?;
    let mut story = Story::begin(options, path, site, &programs, report)?;
    story.publish()?;
    let settled_after = story.settle()?;
    let books = story.lampguard.accounting()?;
    let compared: Compared = story.ask_oracle("check", &["--database", &story.database_url()])?;
    let ended_after = story.lampguard.process.terminate(GOODBYE)?;
    let sum = story.publisher.sum()?;
    let mut ready = std::mem::take(&mut story.ready_ms);
    ready.sort_by(f64::total_cmp);
    let row = |name| row(name, path);
    report.row(
        &row("load")
            .number("readings", options.readings as f64)
            .number("posts", options.posts as f64)
            .number("rate", options.rate as f64)
            .number("seed", options.seed as f64)
            .with(sum.row()),
    )?;
    report.row(&row("restarts").with(story.done.row()).number("ready_p50_ms", quantile(&ready, 0.5)).number(
        "ready_max_ms",
        ready.last().copied().unwrap_or(f64::NAN),
    ))?;
    report.row(
        &row("settled")
            .number("after_s", settled_after.as_secs_f64())
            .number("sigterm_s", ended_after.as_secs_f64())
            .number("tsdb_rejected", story.rejected),
    )?;
    report.row(&row("accounting").with(books_row(&books)))?;
    report.row(&row("database").with(compared.row()))?;
    Ok(faults(options, &sum, &books, &compared, &story.done))
}
