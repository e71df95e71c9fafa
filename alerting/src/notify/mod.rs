//! Telling people: one thread and one bounded queue per channel, so that a hanging channel delays no other.
//!
//! Limits: [`QUEUE_MAX`] notices wait per channel, and as many between retries. What does not fit stays in
//! the outbox and is picked up when the channel has room. A notice is tried for a day, then given up, marked
//! failed and counted. Sending twice is possible after a crash (same id, higher attempt); never sending is
//! not.
#![expect(clippy::disallowed_methods, reason = "waiting for channels and retries needs a running clock")]

mod console;
mod webhook;

pub use webhook::is_private;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use lampguard_model::{Millis, Timestamp};
use rusqlite::Connection;
use tracing::{error, info, warn};

use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::store::{Delivery, Outcome, Reads, Write};
use crate::writer::{Ticket, Writes, until};

/// Notices that wait for one channel in memory.
pub const QUEUE_MAX: usize = 1024;
/// Telling waits for the incident's commit at most this long after it was handed over.
pub const COMMIT_WAIT: Duration = Duration::from_millis(150);
/// First pause between attempts; each is twice the one before.
const RETRY_FIRST: Millis = Millis::seconds(1);
/// Longest pause between attempts.
const RETRY_MAX: Millis = Millis::seconds(60);
/// Given up after this long.
const GIVE_UP_AFTER: Millis = Millis::hours(24);
/// The outbox is looked through this often while something was left there.
const PICK_UP_EVERY: Duration = Duration::from_secs(5);
/// Ids of notices that were accepted and may not be in the outbox as sent yet.
const RECENT_MAX: usize = 4096;

/// Hears what became of a notice; must not wait.
pub type Delivered = Arc<dyn Fn(Delivery) + Send + Sync>;
/// The shared clock: wall time in UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A secret: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes of a secret file.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a channel tells.
#[derive(Clone, Debug)]
pub enum ChannelKind {
    /// One line to standard output.
    Console,
    /// A signed POST.
    Webhook {
        /// Where to; redirects are never followed.
        url: String,
        /// Key of the signature; empty: unsigned.
        secret: Secret,
        /// Host names may resolve to private and loopback addresses. Literal ones always may.
        allow_private: bool,
    },
    /// Nobody: what comes out there shows that telling works (`proof.rs`).
    Sink(Sink),
}

/// Where proofs come out: called with each notice, may not wait.
#[derive(Clone)]
pub struct Sink(pub Arc<dyn Fn(&Notice) + Send + Sync>);

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sink")
    }
}

/// One configured channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Id: label of the metrics, key in the outbox.
    pub id: String,
    /// Whom it reaches: `desk`, `crew`. The rota comes with a later issue.
    pub to: String,
    /// How it tells.
    pub kind: ChannelKind,
}

/// An attempt failed: try again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The other side answered, but not with 2xx.
    #[error("answered {0}")]
    Status(u16),
    /// No answer, or none in time.
    #[error("{0}")]
    Http(#[from] ureq::Error),
    /// Standard output is gone or full.
    #[error("console: {0}")]
    Console(#[from] std::io::Error),
    /// The host name leads into the own network and the channel does not allow it.
    #[error("{host} resolves to the private address {address}: set allow_private = true if that is meant")]
    Private {
        /// Host of the URL.
        host: String,
        /// What it resolved to.
        address: std::net::IpAddr,
    },
    /// The URL has no host.
    #[error("{0:?} is not a URL with a host")]
    Url(String),
}

/// Measures receipt → first channel, once per incident.
#[derive(Debug)]
pub struct AlarmWatch {
    received_at: Timestamp,
    told: AtomicBool,
}

impl AlarmWatch {
    /// Starts at receipt of the confirming reading.
    pub fn new(received_at: Timestamp) -> Arc<Self> {
        Arc::new(Self { received_at, told: AtomicBool::new(false) })
    }
}

/// One notice on its way.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to tell.
    pub notice: Arc<Notice>,
    /// Number of the next attempt, from 1.
    pub attempt: u32,
    /// Done when incident and notice are durable.
    pub ticket: Ticket,
    /// Present for alarms that have just come up.
    pub watch: Option<Arc<AlarmWatch>>,
    /// When it was handed over.
    pub handed_at: Instant,
}

/// The running side of one channel.
#[derive(Debug)]
pub struct Desk {
    channel: Channel,
    queue: Option<SyncSender<Job>>,
    /// Something of this channel waits in the outbox only.
    left_behind: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    metrics: Metrics,
    thread: Option<JoinHandle<()>>,
}

/// What every channel's thread needs of the rest.
#[derive(Clone)]
pub struct Surroundings {
    /// Wall clock.
    pub clock: Clock,
    /// Where outcomes go.
    pub writes: Writes,
    /// Where the outbox is read.
    pub reads: Arc<Mutex<Connection>>,
    /// Counters.
    pub metrics: Metrics,
    /// Hears of every attempt that was accepted, given up, or failed for the first time.
    pub delivered: Delivered,
}

impl Desk {
    /// Starts the channel's thread. It first picks up what an earlier run left unsent.
    ///
    /// # Errors
    /// The system has no thread to give: stop.
    pub fn start(channel: Channel, around: Surroundings) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (left_behind, stopping) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let metrics = around.metrics.clone();
        let work = Work {
            sender: Sender::new(&channel),
            channel: channel.clone(),
            around,
            jobs,
            left_behind: left_behind.clone(),
            stopping: stopping.clone(),
            waiting: Vec::new(),
            fresh: VecDeque::new(),
            accepted: VecDeque::new(),
            picked_up_at: None,
            failing: false,
        };
        let name = format!("tell-{}", channel.id);
        let thread = std::thread::Builder::new().name(name).spawn(move || work.run())?;
        Ok(Self { channel, queue: Some(queue), left_behind, stopping, metrics, thread: Some(thread) })
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Hands a notice over without waiting; when the queue is full it stays in the outbox.
    pub fn tell(&self, job: Job) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(job) {
            self.left_behind.store(true, Ordering::Release);
            self.metrics.queue_full.with_label_values(&[&self.channel.id]).inc();
        }
    }

    /// Takes no more notices; what is not sent by then stays in the outbox.
    pub fn begin_stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.queue = None;
    }

    /// Waits for the thread until `deadline`. A channel that hangs longer is left to end with the process;
    /// its notice goes out again after the restart.
    pub fn end_stop(&mut self, deadline: Instant) {
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            warn!(channel = %self.channel.id, "channel hangs at shutdown, its notices stay in the outbox");
        } else if thread.join().is_err() {
            error!(channel = %self.channel.id, "the channel's thread ended badly");
        }
    }
}

enum Sender {
    Console,
    Webhook(webhook::Webhook),
    Sink(Sink),
}

impl Sender {
    fn new(channel: &Channel) -> Self {
        match &channel.kind {
            ChannelKind::Console => Self::Console,
            ChannelKind::Sink(sink) => Self::Sink(sink.clone()),
            ChannelKind::Webhook { url, secret, allow_private } => {
                Self::Webhook(webhook::Webhook::new(url, secret.clone(), *allow_private))
            }
        }
    }

    fn send(&self, notice: &Notice, attempt: u32, now: Timestamp) -> Result<(), SendError> {
        match self {
            Self::Console => console::print(&mut std::io::stdout().lock(), notice, attempt),
            Self::Webhook(webhook) => webhook.post(&notice.body_at(attempt, now)),
            Self::Sink(sink) => {
                (sink.0)(notice);
                Ok(())
            }
        }
    }
}

struct Work {
    channel: Channel,
    sender: Sender,
    around: Surroundings,
    jobs: Receiver<Job>,
    left_behind: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    /// Jobs between two attempts, with the time of the next.
    waiting: Vec<(Instant, Job)>,
    /// Jobs taken from the queue while looking through the outbox.
    fresh: VecDeque<Job>,
    /// Ids accepted lately, newest last.
    accepted: VecDeque<Arc<str>>,
    picked_up_at: Option<Instant>,
    failing: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            let now = Instant::now();
            if let Some(job) = self.fresh.pop_front() {
                self.attempt(job);
                continue;
            }
            match self.jobs.recv_timeout(self.patience(now)) {
                Ok(job) => self.attempt(job),
                Err(RecvTimeoutError::Timeout) => self.between(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long to wait for a new notice before looking at the old ones.
    fn patience(&self, now: Instant) -> Duration {
        let retry = self.waiting.iter().map(|(due, _)| until(*due, now)).min();
        let picked = self.picked_up_at.map_or(Duration::ZERO, |at| until(at + PICK_UP_EVERY, now));
        let pick_up = self.left_behind.load(Ordering::Acquire).then_some(picked);
        retry.into_iter().chain(pick_up).min().unwrap_or(Duration::from_secs(60))
    }

    /// Nothing new came: one retry that is due, or the outbox.
    fn between(&mut self) {
        let now = Instant::now();
        let due = self.waiting.iter().position(|(due, _)| *due <= now);
        if let Some(place) = due {
            let (_, job) = self.waiting.swap_remove(place);
            self.attempt(job);
            return;
        }
        let due = |at: Instant| at + PICK_UP_EVERY <= now;
        if self.left_behind.load(Ordering::Acquire) && self.picked_up_at.is_none_or(due) {
            self.pick_up(now);
        }
    }

    /// Takes from the outbox what memory does not hold. Notices are handed over before they are committed,
    /// so whatever the outbox shows and the queue does not was left behind, sent already, or waits here.
    fn pick_up(&mut self, now: Instant) {
        self.picked_up_at = Some(now);
        self.left_behind.store(false, Ordering::Release);
        let room = QUEUE_MAX - self.waiting.len().min(QUEUE_MAX);
        let rows = {
            let conn = self.around.reads.lock().unwrap_or_else(PoisonError::into_inner);
            Reads::new(&conn).unsent(&self.channel.id, room + 1 + self.waiting.len())
        };
        while let Ok(job) = self.jobs.try_recv() {
            self.fresh.push_back(job);
        }
        let rows = rows.unwrap_or_else(|error| {
            warn!(channel = %self.channel.id, %error, "the outbox cannot be read, trying again");
            self.left_behind.store(true, Ordering::Release);
            Vec::new()
        });
        let held = self.fresh.iter().chain(self.waiting.iter().map(|(_, job)| job));
        let mut known: HashSet<Arc<str>> = held.map(|job| job.notice.id.clone()).collect();
        known.extend(self.accepted.iter().cloned());
        let wall = (self.around.clock)();
        for (notice, attempts, next_at) in rows {
            if self.waiting.len() >= QUEUE_MAX {
                self.left_behind.store(true, Ordering::Release);
                break;
            }
            if known.insert(notice.id.clone()) {
                let pause = next_at.since(wall).0.clamp(0, RETRY_MAX.0).unsigned_abs();
                let job = Job {
                    notice: Arc::new(notice),
                    // It may have gone out just before the end of the last run.
                    attempt: attempts.max(1) + 1,
                    ticket: Ticket::done(),
                    watch: None,
                    handed_at: now,
                };
                self.waiting.push((now + Duration::from_millis(pause), job));
            }
        }
    }

    /// One attempt, and what follows from it.
    fn attempt(&mut self, job: Job) {
        if self.accepted.contains(&job.notice.id) {
            return;
        }
        let deadline = job.handed_at + COMMIT_WAIT;
        if !job.ticket.wait(until(deadline, Instant::now())) {
            info!(notice = %job.notice.id, "telling before the incident store has it");
        }
        let now = (self.around.clock)();
        if let Some(watch) = &job.watch
            && !watch.told.swap(true, Ordering::Relaxed)
        {
            let waited = now.since(watch.received_at).0.max(0) as f64 / 1000.0;
            self.around.metrics.alarm_seconds.observe(waited);
        }
        let result = self.sender.send(&job.notice, job.attempt, now);
        let at = (self.around.clock)();
        let outcome = match result {
            Ok(()) => Outcome::Sent,
            Err(e) if at.since(job.notice.created_at) > GIVE_UP_AFTER => Outcome::Failed(e.to_string()),
            Err(e) => Outcome::Retry(at + pause(&job.notice.id, job.attempt), e.to_string()),
        };
        self.settle(job, at, &outcome);
    }

    fn settle(&mut self, job: Job, at: Timestamp, outcome: &Outcome) {
        let id = &self.channel.id;
        let word = match outcome {
            Outcome::Sent => "sent",
            Outcome::Retry(..) => "retry",
            Outcome::Failed(_) => "failed",
        };
        self.around.metrics.notices.with_label_values(&[&**id, word]).inc();
        match outcome {
            Outcome::Sent if self.failing => info!(channel = %id, "channel takes notices again"),
            Outcome::Retry(_, error) if !self.failing => {
                warn!(channel = %id, error, "channel fails, trying again");
            }
            Outcome::Failed(error) => {
                error!(channel = %id, notice = %job.notice.id, error, "notice given up after a day");
            }
            _ => {}
        }
        self.failing = *outcome != Outcome::Sent;
        self.around.metrics.channel_up.with_label_values(&[&**id]).set(i64::from(!self.failing));
        let delivery =
            Delivery { notice: job.notice.clone(), attempt: job.attempt, at, outcome: outcome.clone() };
        // Of what is tried again the first failure says enough; what was picked up after a restart begins with two.
        if !matches!(outcome, Outcome::Retry(..)) || job.attempt <= 2 {
            (self.around.delivered)(delivery.clone());
        }
        self.around.writes.push(Write::Delivery(delivery), Ticket::default());
        match outcome {
            Outcome::Retry(next_at, _) => {
                let pause = Duration::from_millis(next_at.since(at).0.unsigned_abs());
                let next = Job { attempt: job.attempt + 1, ..job };
                if self.waiting.len() < QUEUE_MAX && !self.stopping.load(Ordering::Acquire) {
                    self.waiting.push((Instant::now() + pause, next));
                } else {
                    self.left_behind.store(true, Ordering::Release);
                }
            }
            Outcome::Sent | Outcome::Failed(_) => {
                if self.accepted.len() >= RECENT_MAX {
                    self.accepted.pop_front();
                }
                self.accepted.push_back(job.notice.id.clone());
            }
        }
    }
}

/// Pause before the attempt after `attempt`: 1, 2, 4 … 60 s, a fifth more or less. The fraction comes from
/// the notice, so that notices of one storm do not all come back at once.
fn pause(notice: &str, attempt: u32) -> Millis {
    let doubled = RETRY_FIRST.0 << attempt.saturating_sub(1).min(16);
    let base = doubled.min(RETRY_MAX.0);
    let hash = std::hash::BuildHasher::hash_one(&FixedState::default(), (notice, attempt));
    let fifth = base / 5;
    Millis(base - fifth + (hash % (2 * fifth.unsigned_abs() + 1)) as i64)
}

#[cfg(test)]
#[path = "../notify_tests.rs"]
mod tests;
