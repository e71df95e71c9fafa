//! `bench tellings`: a process dies between any two steps of a telling, and each message arrives: once, or again and
//! marked as a repeat; never not at all.
//!
//! ```text
//! reference  one process goes through all phases: these messages have to come          child.rs
//! round      a process dies: at the n-th call of its clock (and some microseconds later), or by kill -9 when the
//!            receiver has a message and has not answered, or has answered
//!            perhaps the next one dies too; the last one goes on to the end
//! judge      every message of the reference came; of those that came again each further one says attempt > 1
//! ```
//! Every fourth round is a flood (flood.rs): there each word of the reference has to come to each person by each channel, in
//! a message of its own or on a line of a list (heard.rs).
//!
//! The clock is asked before a message is made, before it is sent, behind its answer, at each tick and each move, and the
//! microseconds spread over queue, commit and outcome in between. A round is named by its seed; what the machine's threads
//! do in it is theirs.
//!
//! One repeat is not marked and cannot be: what the disk had nothing of when the process died, while its sender (sensor,
//! telephone) has no answer and sends again. It has the same id, and is counted apart.

mod child;
mod flood;
mod heard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use child::Story;
pub(super) use child::{TellingsChild, run as run_child};

use super::process::Family;
use super::random::Random;
use super::row::{Report, Row};
use super::stub;

/// Rounds side by side: most of the time they wait for a tick.
const SIDE_BY_SIDE: usize = 12;
/// A round that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(180);
/// Longest wait behind a call of the clock, microseconds: a commit takes less.
const AFTER_US: u64 = 4000;

/// Options of `bench tellings`.
#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Rounds, each with one kill or two.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rounds: u64,
    /// The same seed draws the same kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// At that call of its clock, and so many microseconds later.
    Clock { at_call: u64, after_us: u64 },
    /// By kill -9 when the receiver has so many messages; answered or not.
    Received { count: usize, answered: bool },
    /// Not at all.
    Never,
}

impl Kill {
    fn name(self) -> &'static str {
        match self {
            Self::Clock { .. } => "clock",
            Self::Received { answered: false, .. } => "before_answer",
            Self::Received { answered: true, .. } => "after_answer",
            Self::Never => "never",
        }
    }
}

/// One message as it came.
#[derive(Clone, Debug)]
struct Came {
    id: String,
    attempt: u64,
    /// Of which process of the round.
    start: u64,
    /// What it tells.
    what: String,
}

/// What the receiver of a round has, and whom it kills.
#[derive(Debug, Default)]
struct Received {
    came: Vec<Came>,
    heard: heard::Heard,
    start: u64,
    /// To kill, and at which message.
    victim: Option<(Child, usize, bool)>,
}

#[derive(Debug, Default)]
struct Round {
    came: Vec<Came>,
    heard: heard::Heard,
    /// What the stores of processes that died had events of.
    left: Vec<BTreeSet<(String, String)>>,
    /// Processes that really died.
    died: u64,
    /// How often the last process asked its clock.
    calls: u64,
    /// Phases whose senders had no answer when a process died.
    unanswered: BTreeSet<String>,
}

/// Rounds until all are done; an error, and exit code 1, when a message is missing or comes again unmarked.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let family = Family::new()?;
    let folder = Folder::make(&family)?;
    let reference = |story: Story| {
        let dir = folder.0.join(format!("reference-{}", story.name()));
        round(&dir, story, &[Kill::Never]).with_context(|| format!("the {} without a kill", story.name()))
    };
    let (ladder, flood) = (reference(Story::Ladder)?, reference(Story::Flood)?);
    let wanted: BTreeMap<String, String> =
        ladder.came.iter().map(|came| (came.id.clone(), came.what.clone())).collect();
    if wanted.len() != child::MESSAGES {
        bail!("the round without a kill told {} messages, {} were to come", wanted.len(), child::MESSAGES);
    }
    let missing = heard::missing(&flood.heard);
    if !missing.is_empty() {
        bail!("the flood without a kill told nobody: {}", missing.join(", "));
    }
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let done = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(options.rounds as usize) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.rounds {
                        return;
                    }
                    let story = story_of(number);
                    let reference = if story == Story::Flood { &flood } else { &ladder };
                    let kills = draw(options.seed, number, reference.calls, reference.came.len() as u64);
                    let round = round(&folder.0.join(number.to_string()), story, &kills);
                    let judged = round.map(|round| match story {
                        Story::Ladder => judge(&wanted, &round),
                        Story::Flood => judge_flood(&flood.heard, &round),
                    });
                    let mut sum = done.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.wanted += if story == Story::Flood { flood.heard.len() } else { wanted.len() } as u64;
                    sum.add(number, &kills, judged);
                    report.progress(format_args!("round {} of {}", sum.rounds, options.rounds));
                }
            });
        }
    });
    let sum = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.row(&sum.row(options, began.elapsed()))?;
    if sum.faults.is_empty() {
        return Ok(());
    }
    bail!("bench tellings: seed {}: {}", options.seed, sum.faults.join("; "))
}

/// A flood takes a quarter of a minute, so it is every fourth round alone.
fn story_of(number: u64) -> Story {
    if number % 4 == 3 { Story::Flood } else { Story::Ladder }
}

/// The kills of a round whose story takes so many calls of the clock and messages; the last process lives.
fn draw(seed: u64, number: u64, calls: u64, messages: u64) -> Vec<Kill> {
    let mut random = Random(seed.rotate_left(32) ^ number);
    random.next();
    let kills = if random.share() < 0.25 { 2 } else { 1 };
    let one = |random: &mut Random| match random.below(4) {
        0 => Kill::Received { count: 1 + random.below(messages.max(1)) as usize, answered: false },
        1 => Kill::Received { count: 1 + random.below(messages.max(1)) as usize, answered: true },
        _ => {
            let after_us = if random.share() < 0.4 { 0 } else { 1 + random.below(AFTER_US) };
            Kill::Clock { at_call: 1 + random.below(calls.max(1)), after_us }
        }
    };
    let mut all: Vec<Kill> = (0..kills).map(|_| one(&mut random)).collect();
    all.push(Kill::Never);
    all
}

/// A folder for all rounds, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn make(family: &Family) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("lampguard-tellings-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        family.owns(&dir);
        Ok(Self(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A temporary folder that stays is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn take(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round: a folder, a receiver, and one process after the other.
fn round(dir: &Path, story: Story, kills: &[Kill]) -> Result<Round> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let received = Arc::new(Mutex::new(Received::default()));
    let receiver = received.clone();
    let port = stub::start(move |request| {
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        // "POST /a HTTP/1.1"
        let channel = request.line.split_whitespace().nth(1).unwrap_or_default();
        receive(&receiver, channel.trim_start_matches('/'), &body);
        ("200 OK", "")
    })?;
    let mut out = Round::default();
    for (start, kill) in kills.iter().enumerate() {
        take(&received).start = start as u64;
        let (finished, calls) = one_process((dir, story), port, start, *kill, &received)?;
        if *kill == Kill::Never && !finished {
            bail!("the last process did not come to its end");
        }
        if finished {
            out.calls = calls;
            break;
        }
        out.died += 1;
        out.unanswered.extend(unanswered(dir));
        out.left.push(heard::events(dir));
    }
    let got = std::mem::take(&mut *take(&received));
    (out.came, out.heard) = (got.came, got.heard);
    std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    Ok(out)
}

/// A message came: it is noted, and its sender dies when that was to be. One that is killed here has no answer yet.
fn receive(received: &Mutex<Received>, channel: &str, body: &Value) {
    let mut received = take(received);
    let start = received.start;
    heard::note(&mut received.heard, channel, body, start);
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let step = body.pointer("/notice/step").and_then(Value::as_u64).unwrap_or_default();
    let came = Came {
        id: text("/notice/id"),
        attempt: body.pointer("/notice/attempt").and_then(Value::as_u64).unwrap_or_default(),
        start: received.start,
        what: format!("{} step {step}", text("/event")),
    };
    received.came.push(came);
    let count = received.came.len();
    let Some((mut victim, at, answered)) = received.victim.take_if(|(_, at, _)| count >= *at) else { return };
    let _ = at;
    if answered {
        drop(received);
        // The answer is on its way when this returns; how far the sender comes is the machine's.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300));
            end(&mut victim);
        });
    } else {
        end(&mut victim);
    }
}

/// kill -9.
fn end(victim: &mut Child) {
    // It may have come to its end by itself.
    let _ = victim.kill();
    let _ = victim.wait();
}

/// Runs a process until it dies or is done. True when it came to its end; with the calls of its clock.
fn one_process(
    (dir, story): (&Path, Story),
    port: u16,
    start: usize,
    kill: Kill,
    received: &Mutex<Received>,
) -> Result<(bool, u64)> {
    let (at_call, after_us) = match kill {
        Kill::Clock { at_call, after_us } => (at_call, after_us),
        _ => (0, 0),
    };
    let mut command = Command::new(std::env::current_exe().context("finding our own program")?);
    command.args(["bench", "tellings-child", "--story", story.name(), "--dir"]).arg(dir);
    command.args(["--url", &format!("http://127.0.0.1:{port}"), "--starts", &start.to_string()]);
    command.args(["--at-call", &at_call.to_string(), "--after-us", &after_us.to_string()]);
    let said = dir.join(format!("said-{start}"));
    let out = std::fs::File::create(&said).context("making a file for what a process says")?;
    let err = std::fs::File::create(dir.join(format!("log-{start}"))).context("making a log")?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let child = command.spawn().context("starting a process")?;
    let pid = child.id();
    let began = Instant::now();
    let mut own = Some(child);
    if let Kill::Received { count, answered } = kill {
        let mut received = take(received);
        let at = received.came.len() + count.saturating_sub(received.came.len()).max(1);
        received.victim = own.take().map(|child| (child, at, answered));
    }
    loop {
        let ended = match &mut own {
            Some(child) => child.try_wait().context("waiting for a process")?.is_some(),
            None => !Path::new(&format!("/proc/{pid}")).exists() || victim_ended(received),
        };
        if ended {
            break;
        }
        if began.elapsed() > PATIENCE {
            if let Some(mut child) =
                own.take().or_else(|| take(received).victim.take().map(|(child, ..)| child))
            {
                end(&mut child);
            }
            bail!("a process of the round did not end in {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    take(received).victim = None;
    let said = std::fs::read_to_string(&said).unwrap_or_default();
    let calls = said.trim().parse().ok();
    if calls.is_none() && kill == Kill::Never {
        let log = std::fs::read_to_string(dir.join(format!("log-{start}"))).unwrap_or_default();
        bail!("a process that nobody killed failed: {}", log.lines().last().unwrap_or("no word"));
    }
    Ok((calls.is_some(), calls.unwrap_or(0)))
}

/// A victim that came to its end before its message.
fn victim_ended(received: &Mutex<Received>) -> bool {
    let mut received = take(received);
    received.victim.as_mut().is_some_and(|(child, ..)| matches!(child.try_wait(), Ok(Some(_))))
}

/// What its sender sends again: the disk of the dead process has nothing of it.
fn unanswered(dir: &Path) -> Vec<String> {
    let database = dir.join("alerting").join(lampguard_alerting::store::FILE);
    let has = |kind: &str| {
        let conn = rusqlite::Connection::open(&database).ok()?;
        let sql = "SELECT count(*) FROM event WHERE kind = ?1";
        conn.query_row(sql, [kind], |row| row.get::<_, i64>(0)).ok()
    };
    let none = |kind: &str| has(kind).is_none_or(|count| count == 0);
    let mut all = Vec::new();
    let journal = std::fs::read_dir(dir.join("journal")).into_iter().flatten().flatten();
    // An empty segment has its head alone.
    let bytes: u64 = journal.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    if none("opened") && bytes < 128 {
        all.push("incident.opened".to_owned());
    }
    if none("acknowledged") {
        all.push("incident.acknowledged".to_owned());
    }
    all
}

/// What one round shows.
#[derive(Debug, Default)]
struct Judged {
    faults: Vec<String>,
    repeats: usize,
    resent: usize,
    died: u64,
}

fn judge(wanted: &BTreeMap<String, String>, round: &Round) -> Judged {
    let mut judged = Judged { died: round.died, ..Judged::default() };
    for (id, what) in wanted {
        let came: Vec<&Came> = round.came.iter().filter(|came| came.id == *id).collect();
        if came.is_empty() {
            judged.faults.push(format!("{what} ({id}) never came"));
        }
        for again in came.iter().skip(1) {
            let sender = round.unanswered.iter().any(|event| what.starts_with(event.as_str()));
            match again.attempt {
                2.. => judged.repeats += 1,
                _ if sender => judged.resent += 1,
                _ => judged.faults.push(format!(
                    "{what} ({id}) came again from process {} as attempt {}",
                    again.start, again.attempt
                )),
            }
        }
    }
    for came in round.came.iter().filter(|came| !wanted.contains_key(&came.id)) {
        judged.faults.push(format!("{} ({}) was not to come", came.what, came.id));
    }
    judged
}

fn judge_flood(wanted: &heard::Heard, round: &Round) -> Judged {
    let (faults, repeats, resent) = heard::judge(wanted, &round.heard, &round.left);
    Judged { faults, repeats, resent, died: round.died }
}

/// All rounds.
#[derive(Debug, Default)]
struct Sum {
    rounds: u64,
    /// Messages of the ladder, words of the flood.
    wanted: u64,
    kills: BTreeMap<&'static str, u64>,
    died: u64,
    repeats: usize,
    resent: usize,
    faults: Vec<String>,
    more_faults: u64,
}

impl Sum {
    fn add(&mut self, number: u64, kills: &[Kill], judged: Result<Judged>) {
        self.rounds += 1;
        for kill in kills.iter().filter(|kill| **kill != Kill::Never) {
            *self.kills.entry(kill.name()).or_default() += 1;
        }
        let judged =
            judged.unwrap_or_else(|error| Judged { faults: vec![format!("{error:#}")], ..Judged::default() });
        self.died += judged.died;
        self.repeats += judged.repeats;
        self.resent += judged.resent;
        for fault in judged.faults {
            if self.faults.len() < 20 {
                self.faults.push(format!("round {number} {kills:?}: {fault}"));
            } else {
                self.more_faults += 1;
            }
        }
    }

    fn row(&self, options: &Options, took: Duration) -> Row {
        let mut row =
            Row::of("tellings").number("seed", options.seed as f64).number("rounds", self.rounds as f64);
        for (name, count) in &self.kills {
            row = row.number(&format!("kills_{name}"), *count as f64);
        }
        row.number("died", self.died as f64)
            .number("messages_wanted", self.wanted as f64)
            .number("repeats_marked", self.repeats as f64)
            .number("repeats_of_senders", self.resent as f64)
            .number("faults", (self.faults.len() as u64 + self.more_faults) as f64)
            .number("took_s", took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(id: &str, attempt: u64) -> Came {
        Came { id: id.to_owned(), attempt, start: 1, what: String::new() }
    }

    #[test]
    fn a_message_that_is_missing_unmarked_or_unknown_is_a_fault_and_a_marked_repeat_is_none() {
        let wanted: BTreeMap<String, String> =
            [("A", "incident.opened step 0"), ("B", "incident.escalated step 1")]
                .map(|(id, what)| (id.to_owned(), what.to_owned()))
                .into();
        let faults = |came: &[Came], unanswered: &[&str]| {
            let unanswered = unanswered.iter().map(|event| (*event).to_owned()).collect();
            judge(&wanted, &Round { came: came.to_vec(), unanswered, ..Round::default() })
        };
        let good = faults(&[came("A", 1), came("A", 2), came("B", 2)], &[]);
        assert!(good.faults.is_empty() && good.repeats == 1, "{good:?}");
        for (came, words) in [
            (vec![came("A", 1)], "never came"),
            (vec![came("A", 1), came("B", 1), came("B", 1)], "came again"),
            (vec![came("A", 1), came("B", 1), came("C", 1)], "was not to come"),
        ] {
            let judged = faults(&came, &["incident.opened"]);
            assert!(judged.faults.len() == 1 && judged.faults[0].contains(words), "{judged:?}");
        }
        let sender = faults(&[came("A", 1), came("A", 1), came("B", 1)], &["incident.opened"]);
        assert!(sender.faults.is_empty() && sender.resent == 1, "{sender:?}");
    }

    #[test]
    fn the_same_seed_draws_the_same_kills_and_every_kind_of_them() {
        let all: Vec<Vec<Kill>> = (0..100).map(|number| draw(1, number, 50, 10)).collect();
        assert_eq!(all, (0..100).map(|number| draw(1, number, 50, 10)).collect::<Vec<_>>());
        let names: BTreeSet<&str> = all.iter().flatten().map(|kill| kill.name()).collect();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["after_answer", "before_answer", "clock", "never"]
        );
        assert!(all.iter().all(|kills| kills.last() == Some(&Kill::Never)));
    }
}
