//! `bench crash`: nothing that was acknowledged is lost, and nothing is there twice.
//!
//! ```text
//!  start      Mosquitto (or none), VictoriaMetrics, lampguard
//!  publish    oracle.py sends at a fixed rate and keeps a file of what was acknowledged to it
//!  meanwhile  lampguard: kill -9, restarted at once, many times at random moments
//!             broker: SIGTERM and start   database: down for a while, later kill -9 and start
//!  settle     until the followers are through and the books have nothing pending
//!  compare    oracle.py compares its file with the database, by (post, boot, seq)
//!  judge      every condition below holds, else it failed
//! ```
//! The moments are places in the stream of readings, drawn from `--seed`, so each falls under load; what the
//! processes do in that moment is the machine's.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Deserialize;

use super::Path;
use super::process::Family;
use super::publisher::Sum;
use super::row::{Report, Row, quantile};
use super::services::Accounting;
use super::site::{Place, Site};
use super::story::{Done, Programs, Story};

/// How long a clean end of lampguard may take (`design.md`: under 5 s).
const GOODBYE: Duration = Duration::from_secs(5);

/// Options of `bench crash`.
#[derive(Debug, Args)]
pub(super) struct Crash {
    /// Which way in.
    #[arg(long, value_enum, default_value = "broker")]
    path: Path,
    /// Readings, the refusable ones included.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    pub(super) readings: u64,
    /// Posts they come from.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    pub(super) posts: u64,
    /// Readings a second.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(super) rate: u64,
    /// How often lampguard is killed with -9.
    #[arg(long, default_value_t = 20)]
    pub(super) kills: u64,
    /// How often the broker is ended with SIGTERM and started again.
    #[arg(long, default_value_t = 2)]
    pub(super) broker_restarts: u64,
    /// Seconds for which the database is down; 0: never.
    #[arg(long, default_value_t = 60)]
    pub(super) db_down: u64,
    /// Also kill the database with -9, once.
    #[arg(long)]
    pub(super) db_kill: bool,
    /// The same seed draws the same moments.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Longest wait, once everything is sent, until it is in the database, seconds.
    #[arg(long, default_value_t = 600)]
    pub(super) settle: u64,
    /// Keep logs, lists and data in a new folder below this one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs each path that is asked for; an error, and exit code 1, when anything is lost or there twice.
pub(super) fn run(options: &Crash) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let family = Family::new()?;
    let mut failed = Vec::new();
    for path in [Path::Broker, Path::Listener].into_iter().filter(|path| options.path.has(*path)) {
        let programs = Programs::find(path)?;
        let place = options.keep.as_deref().map_or(Place::Disk, Place::Kept);
        let mut site = Site::make(&family, place)?;
        let faults =
            endure(options, path, &programs, &site, &mut report).unwrap_or_else(|e| vec![format!("{e:#}")]);
        let mut end = row("result", path).text("result", if faults.is_empty() { "PASS" } else { "FAIL" });
        if !faults.is_empty() {
            site.keep();
            end = end.text("why", faults.join("; "));
            failed.extend(faults);
        }
        if site.is_kept() {
            end = end.text("kept", site.dir.display());
        }
        report.row(&end)?;
    }
    if failed.is_empty() { Ok(()) } else { bail!("bench crash failed: {}", failed.join("; ")) }
}

/// A row of this scenario.
pub(super) fn row(name: &str, path: Path) -> Row {
    let word = if path == Path::Broker { "broker" } else { "listener" };
    Row::of("crash").text("row", name).text("path", word)
}

/// The whole story of one path; returns every fault found.
fn endure(
    options: &Crash,
    path: Path,
    programs: &Programs,
    site: &Site,
    report: &mut Report,
) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    let mut story = Story::begin(options, path, site, programs, report)?;
    story.publish()?;
    let sum = story.publisher.sum()?;
    rows.push(
        row("load", path)
            .number("posts", options.posts as f64)
            .number("seed", options.seed as f64)
            .with(sum.row()),
    );
    let settled = story.settle()?;
    let books = story.lampguard.accounting()?;
    let compared: Compared = story.compare()?;
    let ended = story.end(GOODBYE)?;
    let mut ready = std::mem::take(&mut story.ready_ms);
    ready.sort_by(f64::total_cmp);
    let longest = ready.last().copied().unwrap_or(f64::NAN);
    let restarts = row("restarts", path).with(story.done.row());
    rows.push(restarts.number("ready_p50_ms", quantile(&ready, 0.5)).number("ready_max_ms", longest));
    let times = row("settled", path).number("after_s", settled.as_secs_f64());
    rows.push(times.number("sigterm_s", ended.as_secs_f64()));
    rows.push(row("accounting", path).with(books_row(&books)));
    rows.push(row("database", path).with(compared.row()));
    let done = story.done.clone();
    drop(story);
    rows.iter().try_for_each(|row| report.row(row))?;
    Ok(faults(options, path, &sum, &books, &compared, &done))
}

/// What the oracle found in the database.
#[derive(Clone, Debug, Deserialize)]
struct Compared {
    ok: bool,
    acknowledged: u64,
    sent: u64,
    in_database: u64,
    rows: u64,
    missing: u64,
    more_than_once: u64,
    unexpected: u64,
    visible_after_s: f64,
    examples: serde_json::Value,
}

impl Compared {
    fn row(&self) -> Row {
        Row::default()
            .number("acknowledged", self.acknowledged as f64)
            .number("sent", self.sent as f64)
            .number("in_database", self.in_database as f64)
            .number("rows", self.rows as f64)
            .number("missing", self.missing as f64)
            .number("more_than_once", self.more_than_once as f64)
            .number("unexpected", self.unexpected as f64)
            .number("visible_after_s", self.visible_after_s)
    }
}

fn books_row(books: &Accounting) -> Row {
    Row::default()
        .number("received", books.received as f64)
        .number("stored", books.stored as f64)
        .number("duplicate", books.duplicate as f64)
        .number("quarantined", books.quarantined.values().sum::<u64>() as f64)
        .number("refused", books.refused.values().sum::<u64>() as f64)
        .number("pending", books.pending as f64)
        .text("balanced", books.balanced)
        .number("possible_loss", books.possible_loss.len() as f64)
}

/// Every condition of a pass that does not hold.
fn faults(
    options: &Crash,
    path: Path,
    sum: &Sum,
    books: &Accounting,
    compared: &Compared,
    done: &Done,
) -> Vec<String> {
    let quarantined: u64 = books.quarantined.values().sum();
    let restarts = if path == Path::Broker { options.broker_restarts } else { 0 };
    let wanted = (options.kills, restarts, u64::from(options.db_kill));
    let conditions = [
        (sum.is_whole(), format!("not every reading was sent and acknowledged: {sum:?}")),
        (compared.ok, format!("the sets differ, for example {}", compared.examples)),
        (compared.acknowledged == sum.good, "the oracle's list is not whole".to_owned()),
        (books.balanced, format!("the accounting does not balance: {books:?}")),
        (books.pending == 0, format!("{} readings are pending", books.pending)),
        // A reading that was stored twice under one time would show here alone.
        (books.stored == sum.good, format!("{} readings were sent, {} are stored", sum.good, books.stored)),
        (
            // Sent again after a crash, a refused payload is quarantined again: it has no identity.
            quarantined >= sum.refusable,
            format!("{} payloads were refusable, {quarantined} are quarantined", sum.refusable),
        ),
        (
            (done.kills, done.broker_restarts, done.database_kills) == wanted,
            format!("not all happened: {done:?}"),
        ),
    ];
    conditions.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| words).collect()
}
