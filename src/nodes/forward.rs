//! The way of another node's readings: from our journal to their owner.
//!
//! ```text
//!  1 read   frames of the journal into a batch: readings marked `foreign` whose owner it is, and weather
//!  2 ask    turn.rs: to the owner, to its standby, or wait; a sign of life when there is nothing
//!  3 send   one request; its 200 means that they are on the other disk
//!  4 move   the cursor, at most once a second; only then may the journal be trimmed
//! ```
//! A node that judges and keeps nothing (its disk is full) is sent what came behind the batch, to be judged alone; the batch
//! waits, and with it the cursor.
//!
//! One thread for each node that judges, one request at a time. What it cannot send waits in the journal; in memory is one
//! batch. A kill sends again what the cursor had not passed yet: the owner counts it as duplicate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use lampguard_ingester::intake::{Fate, Inlet};
use lampguard_ingester::loss::{LossBook, replace_file};
use lampguard_ingester::source::http::submit;
use lampguard_journal::{Follower, JournalError, Reader};
use lampguard_model::record::Source;
use lampguard_model::{Current, Register, Timestamp};
use tracing::{error, info, warn};

use super::batch::{Batch, Weather};
use super::owners::Owners;
use super::turn::{Step, To, Turn};
use super::way::{Cause, Way};
use super::{Nodes, owners_hash, way, way_to};
use crate::clock::Clock;

/// A batch is closed when its records reach this size; the other node takes bodies of 4 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// The longest look at the journal for one batch, so that a long stretch of foreign-less frames ends in a sign of life.
const LOOK_MAX: u64 = 200_000;
/// The cursor is written no more often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(100);
/// Longest wait for a request that is under way at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nodes that this one sends to: all others that judge. Each gets the readings of its posts, and all weather.
pub(super) fn targets(owners: &Owners) -> impl Iterator<Item = usize> + '_ {
    owners.others().filter(|node| owners.judges(*node))
}

fn cursor_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("forward-{id}.cursor"))
}

/// Weather before the cursor that the owner has still to hear.
fn weather_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("forward-{id}.weather"))
}

/// The durable cursor; 0, the start of the journal, when there is none that can be read.
pub(super) fn stored_cursor(dir: &Path, id: &str) -> u64 {
    let text = std::fs::read_to_string(cursor_path(dir, id)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// What the threads need.
pub(crate) struct Setup {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) dir: PathBuf,
    pub(crate) journal_dir: PathBuf,
    pub(crate) register: Current<Register>,
    pub(crate) losses: Arc<LossBook>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) inlet: Inlet,
    pub(crate) clock: Clock,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Running threads.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends them; what was not sent goes at the next start.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let until = Instant::now() + PATIENCE;
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                // Its cursor stays where it was: what is under way goes again.
                warn!(thread = thread.thread().name(), "waits for another node and is left behind");
            } else if thread.join().is_err() {
                error!("a thread that forwards ended in panic");
            }
        }
    }
}

/// Starts a thread for each node that is sent to.
///
/// # Errors
/// A file of `[[nodes.peer]]` is not readable, or the system starts no thread.
pub(crate) fn start(setup: Setup) -> Result<Running> {
    let stop = Arc::new(AtomicBool::new(false));
    let targets: Vec<usize> = targets(&setup.nodes.owners).collect();
    let mut threads = Vec::new();
    for (target, follower) in targets.into_iter().zip(setup.followers) {
        let nodes = setup.nodes.clone();
        let id = nodes.owners.id(target).to_owned();
        let config = &nodes.config;
        let standby = config.peer.get(target).and_then(|peer| peer.standby.as_deref());
        let own = Standby::Here(setup.inlet.clone(), setup.clock.clone(), setup.runtime.clone());
        let standby = match standby {
            Some(standby) if standby == config.name => Some(own),
            Some(standby) => Some(Standby::There(way_to(config, standby)?)),
            None => None,
        };
        let takeover = standby.is_some().then(|| Duration::from_secs(config.takeover_after_s()));
        let cursor = stored_cursor(&setup.dir, &id).max(follower.tail().first());
        let worker = Worker {
            turn: Turn::new(takeover, nodes.now()),
            owner: way_to(config, &id)?,
            standby,
            target,
            missed: Weather::read(&std::fs::read(weather_path(&setup.dir, &id)).unwrap_or_default()),
            weather_file: weather_path(&setup.dir, &id),
            weather_saved: true,
            cursor_file: cursor_path(&setup.dir, &id),
            journal_dir: setup.journal_dir.clone(),
            register: setup.register.clone(),
            owners: owners_hash(&setup.nodes.config),
            losses: setup.losses.clone(),
            unreadable_since: None,
            follower,
            reader: None,
            batch: Batch::at(cursor),
            ahead: None,
            cursor,
            saved: cursor,
            save_at: Instant::now(),
            told: false,
            taken_over: false,
            clock: setup.clock.clone(),
            stop: stop.clone(),
            nodes,
        };
        let name = format!("forward:{id}");
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.run());
        threads.push(thread.context("starting a thread that forwards")?);
    }
    Ok(Running { stop, threads })
}

/// Who stands in for the owner.
enum Standby {
    There(Way),
    /// This node itself: its own intake.
    Here(Inlet, Clock, tokio::runtime::Handle),
}

impl Standby {
    fn send(&self, faults: &str, body: &[u8]) -> Result<way::Answer> {
        match self {
            Self::There(way) => way.send(faults, body),
            Self::Here(inlet, clock, runtime) => {
                let body = Bytes::copy_from_slice(body);
                let taken = submit(inlet, Source::Node, Vec::new(), "", body, Fate::Forwarded, clock());
                let tally = runtime.block_on(taken)?;
                Ok(way::Answer { stored: tally.stored, duplicate: tally.duplicate, ..way::Answer::default() })
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::There(way) => way.id(),
            Self::Here(..) => "this node",
        }
    }
}

/// The way ahead of the batch. It holds one batch as well, which goes again when its request failed, and begins anew when
/// somebody else is sent to or the disk is back.
struct Ahead {
    to: To,
    batch: Batch,
    reader: Option<Reader>,
    /// The run of that node which judged what is before it; none while nothing was. Another run has forgotten it.
    judged_by: Option<Run>,
}

/// A run of a node, as far as it says which one.
type Run = Option<String>;

/// Which run refused so.
fn run_of(error: &anyhow::Error) -> Run {
    way::run_of(error).map(str::to_owned)
}

struct Worker {
    nodes: Arc<Nodes>,
    target: usize,
    turn: Turn,
    owner: Way,
    standby: Option<Standby>,
    /// Weather that came while the standby stood in: the owner hears it before anything else.
    missed: Weather,
    weather_file: PathBuf,
    weather_saved: bool,
    cursor_file: PathBuf,
    journal_dir: PathBuf,
    register: Current<Register>,
    /// Hash of our list of owners.
    owners: String,
    losses: Arc<LossBook>,
    /// Our own journal cannot be read since then.
    unreadable_since: Option<Timestamp>,
    follower: Follower,
    reader: Option<Reader>,
    batch: Batch,
    /// While a node judges and keeps nothing: what it is sent next, to be judged alone.
    ahead: Option<Ahead>,
    /// Everything before it was taken over there, or is not for them.
    cursor: u64,
    saved: u64,
    save_at: Instant,
    /// The outage was logged.
    told: bool,
    taken_over: bool,
    clock: Clock,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            if self.batch.is_empty() {
                self.read();
            }
            self.show();
            match self.turn.next(self.nodes.now(), self.has_something()) {
                Step::Send(to) => self.send(to),
                Step::Ahead(to, pause) => self.go_ahead(to, pause.min(TICK)),
                Step::Beat => self.beat(),
                Step::Wait(pause) if self.batch.is_empty() => {
                    self.follower.tail().wait_past(self.cursor, pause.min(TICK));
                    if self.follower.tail().is_closed() {
                        std::thread::sleep(TICK.min(pause));
                    }
                }
                Step::Wait(pause) => std::thread::sleep(pause.min(TICK)),
            }
            self.save(false);
        }
        self.save(true);
    }

    /// Something waits for whom it would be sent to now.
    fn has_something(&self) -> bool {
        let for_the_owner = || !self.missed.is_empty() && !self.turn.is_taken_over(self.nodes.now());
        !self.batch.is_empty() || for_the_owner()
    }

    /// Step 1.
    fn read(&mut self) {
        let read = self.try_read();
        self.note(read.err());
        if self.batch.is_empty() {
            // Nothing of it was for them.
            self.cursor = self.batch.next;
        }
    }

    /// Our own journal can be read, or not.
    fn note(&mut self, fault: Option<JournalError>) {
        match fault {
            None => {
                if self.unreadable_since.take().is_some() {
                    info!(node = self.owner.id(), "the journal is readable again");
                }
            }
            Some(error) => {
                if self.unreadable_since.is_none() {
                    error!(node = self.owner.id(), %error, "the journal is not readable: nothing is forwarded");
                    self.unreadable_since = Some((self.clock)());
                }
                std::thread::sleep(TICK);
            }
        }
        self.nodes.links.set_unreadable(self.target, self.unreadable_since.is_some());
    }

    fn try_read(&mut self) -> Result<(), JournalError> {
        self.batch.from = self.batch.next;
        let reader = self.reader.take();
        let mut batch = std::mem::take(&mut self.batch);
        let filled = self.fill(&mut batch, reader);
        self.batch = batch;
        let mut reader = filled?;
        let lost = reader.take_lost();
        if lost.records > 0 {
            let id = self.owner.id();
            error!(node = id, records = lost.records, "damaged frames of the journal were not forwarded");
            self.nodes.metrics.lost.with_label_values(&[id]).inc_by(lost.records);
            self.losses.not_forwarded(id, lost.records, (self.clock)());
        }
        self.reader = Some(reader);
        Ok(())
    }

    /// Frames into a batch, up to its limits.
    fn fill(&self, batch: &mut Batch, reader: Option<Reader>) -> Result<Reader, JournalError> {
        let end = self.follower.tail().end();
        let mut reader = match reader {
            Some(reader) => reader,
            None => Reader::open(&self.journal_dir, batch.next)?,
        };
        while batch.size() < BATCH_BYTES && batch.next - batch.from < LOOK_MAX {
            let Some(frame) = reader.next(end)? else { break };
            let next = batch.next;
            for (_, kind, bytes) in frame.records().filter(|(seq, ..)| *seq >= next) {
                batch.put(&self.nodes.owners, self.target, (kind, bytes));
            }
            batch.next = next.max(frame.end_seq());
        }
        batch.next = batch.next.max(reader.position());
        Ok(reader)
    }

    /// Step 3.
    fn send(&mut self, to: To) {
        let sent = self.hand_over(to, &self.batch);
        let now = self.nodes.now();
        match sent {
            Ok(answer) => {
                self.turn.took(to, now);
                self.compare(to, &answer);
                self.pass(to);
                self.answered(to);
            }
            Err(error) => {
                self.failed(to, &error, now);
                if Cause::of(&error) == Cause::Stopped {
                    self.begin_ahead(to, self.batch.next, Some(run_of(&error)));
                }
            }
        }
    }

    fn hand_over(&self, to: To, batch: &Batch) -> Result<way::Answer> {
        let (faults, mut body) = (self.nodes.faults(), batch.body(to));
        if to == To::Owner {
            body.splice(0..0, self.missed.body());
        }
        match (to, &self.standby) {
            (To::Standby, Some(_)) if body.is_empty() => Ok(way::Answer::default()),
            (To::Standby, Some(standby)) => standby.send(&faults, &body),
            _ => self.owner.send(&faults, &body),
        }
    }

    /// The batch is durable over there, but for its weather, if that is the standby: the owner comes back to wet posts.
    fn pass(&mut self, to: To) {
        match to {
            To::Owner if self.missed.is_empty() => {}
            To::Owner => (self.missed, self.weather_saved) = (Weather::default(), false),
            To::Standby if self.batch.weather.is_empty() => {}
            To::Standby => {
                self.missed.add(&self.batch.weather);
                self.weather_saved = false;
            }
        }
        let id = self.nodes.owners.id(self.target);
        self.nodes.metrics.forwarded.with_label_values(&[id]).inc_by(self.batch.count);
        self.cursor = self.batch.next;
        self.batch = Batch::at(self.cursor);
    }

    /// What comes from this number on is sent ahead; what is before it was judged there.
    fn begin_ahead(&mut self, to: To, number: u64, judged_by: Option<Run>) {
        if self.ahead.as_ref().is_none_or(|ahead| ahead.to != to) {
            self.ahead = Some(Ahead { to, batch: Batch::at(number), reader: None, judged_by });
        }
    }

    /// It was started anew with its disk still full: it knows nothing of what went ahead, which begins with the batch that
    /// waits.
    fn forget_other_run(&mut self, to: To, run: &Run) {
        let is_other = |ahead: &Ahead| ahead.to == to && ahead.judged_by.as_ref().is_some_and(|by| by != run);
        if self.ahead.as_ref().is_some_and(is_other) {
            info!(node = self.owner.id(), "the node was restarted: what went ahead goes once more");
            self.ahead = None;
        }
    }

    /// It judges and keeps nothing: one batch more to be judged alone. The cursor stays where it is.
    fn go_ahead(&mut self, to: To, pause: Duration) {
        // A sign of life was answered so: the batch that waits was not judged yet.
        self.begin_ahead(to, self.batch.from, None);
        let Some(mut ahead) = self.ahead.take() else { return };
        if ahead.batch.is_empty() {
            let reader = ahead.reader.take();
            let filled = self.fill(&mut ahead.batch, reader);
            self.note(filled.map(|reader| ahead.reader = Some(reader)).err());
        }
        if ahead.batch.body(to).is_empty() {
            ahead.batch = Batch::at(ahead.batch.next);
            self.follower.tail().wait_past(ahead.batch.next, pause);
            if self.follower.tail().is_closed() {
                std::thread::sleep(pause);
            }
            self.ahead = Some(ahead);
            return;
        }
        let sent = self.hand_over(to, &ahead.batch);
        match sent {
            // Its disk is back: what waits goes the ordinary way, and this once more, as a duplicate.
            Ok(_) => {
                self.turn.took(to, self.nodes.now());
                self.answered(to);
            }
            Err(error) if Cause::of(&error) == Cause::Stopped => {
                let run = run_of(&error);
                let next = ahead.batch.next;
                self.ahead = Some(ahead);
                self.forget_other_run(to, &run);
                if let Some(ahead) = &mut self.ahead {
                    (ahead.batch, ahead.judged_by) = (Batch::at(next), Some(run));
                }
            }
            Err(error) => {
                // Nobody knows what it judged of it. What is before it was judged there: a day of an outage goes once.
                self.ahead = Some(ahead);
                self.failed(to, &error, self.nodes.now());
            }
        }
    }

    /// Whether the owner has the same lists as we have.
    fn compare(&self, to: To, answer: &way::Answer) {
        if to == To::Owner {
            let register = self.nodes.register_hash(&self.register.get());
            self.nodes.links.answered(self.target, answer, &register, &self.owners);
        }
    }

    fn beat(&mut self) {
        let sent = self.owner.send(&self.nodes.faults(), &[]);
        let now = self.nodes.now();
        match sent {
            Ok(answer) => {
                self.turn.took(To::Owner, now);
                self.compare(To::Owner, &answer);
                self.answered(To::Owner);
            }
            Err(error) => self.failed(To::Owner, &error, now),
        }
    }

    fn answered(&mut self, to: To) {
        self.ahead = None;
        if to == To::Owner && std::mem::take(&mut self.told) {
            info!(node = self.owner.id(), "the node answers again");
        }
        if to == To::Owner && std::mem::take(&mut self.taken_over) {
            info!(node = self.owner.id(), "its readings go to it again, not to its standby");
        }
    }

    fn failed(&mut self, to: To, error: &anyhow::Error, now: Duration) {
        let cause = Cause::of(error);
        self.turn.failed(to, now, cause == Cause::Stopped);
        if cause == Cause::Stopped {
            self.forget_other_run(to, &run_of(error));
        }
        if to == To::Owner {
            self.nodes.links.failed(self.target, cause);
        }
        if !self.told {
            let (error, judged) = (format!("{error:#}"), cause == Cause::Stopped);
            warn!(
                node = self.owner.id(),
                error, judged, "a node takes nothing; its readings wait in the journal"
            );
            self.told = true;
        }
        if !self.taken_over && self.turn.is_taken_over(now) {
            self.taken_over = true;
            let standby = self.standby.as_ref().map_or("", Standby::name);
            error!(node = self.owner.id(), standby, "a node is silent: its readings go to its standby");
        }
    }

    fn lag_s(&self) -> i64 {
        let now = (self.clock)();
        // Of what cannot be read nobody knows the age: it is at least that of the fault.
        let oldest = self.batch.oldest.into_iter().chain(self.unreadable_since).min();
        oldest.map_or(0, |oldest| (now.since(oldest).0 + 999) / 1000).max(0)
    }

    fn show(&self) {
        let (now, id) = (self.nodes.now(), self.nodes.owners.id(self.target));
        self.follower.report(self.cursor);
        let metrics = &self.nodes.metrics;
        let set = |gauge: &prometheus::IntGaugeVec, value: i64| gauge.with_label_values(&[id]).set(value);
        set(&metrics.lag, self.lag_s());
        set(&metrics.up, i64::from(self.turn.is_up() && self.unreadable_since.is_none()));
        set(&metrics.taken_over, i64::from(self.turn.is_taken_over(now)));
    }

    /// Step 4.
    fn save(&mut self, at_once: bool) {
        let is_saved = self.saved == self.cursor && self.weather_saved;
        if is_saved || (!at_once && Instant::now() < self.save_at) {
            return;
        }
        self.save_at = Instant::now() + SAVE_EVERY;
        // Weather first: the cursor may not pass what is nowhere else.
        if !self.weather_saved {
            if let Err(error) = replace_file(&self.weather_file, &self.missed.body()) {
                warn!(file = %self.weather_file.display(), %error, "weather that a node missed is not written");
                return;
            }
            self.weather_saved = true;
        }
        match replace_file(&self.cursor_file, format!("{}\n", self.cursor).as_bytes()) {
            Ok(()) => {
                self.saved = self.cursor;
                self.follower.keep_from(self.cursor);
            }
            // What was sent goes again after a restart; the disk is told of by the journal.
            Err(error) => warn!(file = %self.cursor_file.display(), %error, "cursor is not written"),
        }
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
