//! Puts the parts together: recovery, the two threads of the way, and the quarantine's follower.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lampguard_journal::{Disk, JournalError, Options, Reader, RealDisk, Recovery, Tail, Writer};
use lampguard_model::record::{self, Record};
use lampguard_model::{Current, Millis, Register, Timestamp};
use prometheus::Registry;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::accounts::{Accounts, Totals};
use crate::admit::{Admission, Place, WINDOW};
use crate::commit::{Committer, Shared};
use crate::config::{JournalConfig, QuarantineConfig};
use crate::intake::{Gate, Inlet, Input, QUEUE_CHUNKS};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::proof::Proofs;
use crate::quarantine::{self, Quarantine, QuarantineError};
use crate::run::{Clock, Foreign, Intake, Judge, Setup};

/// The ingester could not start. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum IngesterError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The quarantine.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// A thread.
    #[error("starting thread {name}: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A recovered ingester that takes nothing yet: followers are registered on [`Opened::tail`] first, so that
/// nothing they need is trimmed.
pub struct Opened {
    writer: Writer,
    recovery: Recovery,
    quarantine: Quarantine,
    journal_dir: PathBuf,
    data_dir: PathBuf,
    proofs: Option<Proofs>,
    foreign: Option<Foreign>,
}

impl Opened {
    /// Recovers the journal. `cursors` are the durable cursors of all followers.
    ///
    /// # Errors
    /// [`IngesterError`] names the file.
    pub fn open(
        data_dir: &Path,
        journal: &JournalConfig,
        quarantine: &QuarantineConfig,
        cursors: &[u64],
    ) -> Result<Self, IngesterError> {
        let journal_dir = data_dir.join("journal");
        let quarantine = Quarantine::open(data_dir, quarantine.max_bytes)?;
        let at_least = cursors.iter().copied().chain([quarantine.cursor()?]).max().unwrap_or(0);
        let options = Options {
            max_bytes: journal.max_bytes,
            min_free_bytes: journal.min_free_bytes,
            segment_bytes: (journal.max_bytes / 16).clamp(1 << 20, 32 << 20),
            keep_ms: WINDOW.0,
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (writer, recovery) = Writer::open(disk, &journal_dir, options, at_least)?;
        if recovery.torn_bytes > 0 {
            warn!(
                bytes = recovery.torn_bytes,
                "the journal's last segment has bytes of no whole frame: not acknowledged, sent again"
            );
        }
        let data_dir = data_dir.to_owned();
        Ok(Self { writer, recovery, quarantine, journal_dir, data_dir, proofs: None, foreign: None })
    }

    /// Knows proofs, and tells of those that come in.
    pub fn with_proofs(mut self, proofs: Option<Proofs>) -> Self {
        self.proofs = proofs;
        self
    }

    /// Knows which posts other nodes own.
    pub fn with_nodes(mut self, foreign: Option<Foreign>) -> Self {
        self.foreign = foreign;
        self
    }

    /// The end of the journal.
    pub fn tail(&self) -> &Tail {
        self.writer.tail()
    }

    /// Where the segments are.
    pub fn journal_dir(&self) -> &Path {
        &self.journal_dir
    }

    /// Learns the last day from the journal and begins to take readings.
    ///
    /// # Errors
    /// [`IngesterError`] names the file or thread.
    pub fn start(
        self,
        register: Current<Register>,
        judge: Judge,
        clock: Clock,
        registry: &Registry,
    ) -> Result<Ingester, IngesterError> {
        let metrics = Metrics::register(registry);
        let accounts =
            Arc::new(Accounts::carried_on(Totals::decode(&self.recovery.meta).unwrap_or_default()));
        let losses = Arc::new(LossBook::open(&self.data_dir.join("possible_loss.json")));
        let gate = Gate::new(metrics.clone());
        let tail = self.writer.tail().clone();
        let admission = learn(&self.journal_dir, &tail, &register.get(), clock())?;
        let follower = tail.follow("quarantine", self.quarantine.cursor()?);
        let (sender, inlet) = mpsc::channel(QUEUE_CHUNKS);
        let (units, waiting) = std::sync::mpsc::channel();
        let give_up = Arc::new(AtomicBool::new(false));
        let setup = Setup {
            register,
            judge,
            clock: clock.clone(),
            metrics: metrics.clone(),
            accounts: accounts.clone(),
            losses: losses.clone(),
            gate: gate.clone(),
            proofs: self.proofs,
            foreign: self.foreign,
        };
        let shared = Shared {
            accounts: accounts.clone(),
            gate: gate.clone(),
            losses: losses.clone(),
            metrics: metrics.clone(),
            clock,
            give_up: give_up.clone(),
        };
        let intake = Intake::new(setup, admission, &self.recovery);
        let committer = Committer::new(self.writer, shared);
        let (quarantine, journal_dir) = (self.quarantine, self.journal_dir.clone());
        let watched = (gate.clone(), tail.clone());
        let threads = vec![
            thread("intake", move || intake.run(inlet, &units))?,
            thread("commit", move || committer.run(&waiting))?,
            thread("disk-watch", move || watch_disk(&watched.0, &watched.1))?,
            thread("quarantine", move || quarantine::follow(quarantine, &journal_dir, &follower))?,
        ];
        let inlet = Inlet { sender, gate };
        Ok(Ingester {
            inlet,
            accounts,
            losses,
            metrics,
            tail,
            journal_dir: self.journal_dir,
            threads,
            give_up,
        })
    }
}

fn thread(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, IngesterError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|source| IngesterError::Thread { name, source })
}

fn watch_disk(gate: &Gate, tail: &Tail) {
    while !tail.is_closed() {
        std::thread::sleep(Duration::from_millis(250));
        gate.look_for_hanging_disk();
    }
}

/// What admission has to know of the last day, read back from the journal.
fn learn(dir: &Path, tail: &Tail, register: &Register, now: Timestamp) -> Result<Admission, JournalError> {
    let started = Instant::now();
    let mut admission = Admission::default();
    let (mut reader, mut readings) = (Reader::open(dir, tail.first())?, 0u64);
    let oldest = now - WINDOW - Millis::hours(1);
    while let Some(frame) = reader.next(tail.end())? {
        if frame.closed_at < oldest.0 {
            continue;
        }
        for (_, kind, bytes) in frame.records() {
            let Ok(Record::Reading(stored)) = record::decode(kind, bytes) else {
                continue;
            };
            let post = register.named(stored.device).cloned();
            let device = match &post {
                Some(post) => Some(post.device_id.clone()),
                None => admission.track(stored.device),
            };
            admission.learn(&Place { post, device }, &stored);
            readings += 1;
        }
    }
    let lost = reader.take_lost();
    if lost.records > 0 {
        warn!(records = lost.records, bytes = lost.bytes, "damaged frames in the journal were stepped over");
    }
    info!(
        readings,
        took_ms = started.elapsed().as_millis() as u64,
        "journal read, duplicates of the last day are known"
    );
    Ok(admission)
}

/// A running ingester.
pub struct Ingester {
    inlet: Inlet,
    accounts: Arc<Accounts>,
    losses: Arc<LossBook>,
    metrics: Metrics,
    tail: Tail,
    journal_dir: PathBuf,
    threads: Vec<JoinHandle<()>>,
    give_up: Arc<AtomicBool>,
}

impl Ingester {
    /// The way in, for sources.
    pub fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }

    /// The books.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.accounts.clone()
    }

    /// Known possible losses.
    pub fn losses(&self) -> Arc<LossBook> {
        self.losses.clone()
    }

    /// Metrics, for the sources.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The end of the journal.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Where the segments are.
    pub fn journal_dir(&self) -> &Path {
        &self.journal_dir
    }

    /// Makes durable what was handed over and ends. Sources have stopped reading before. When the journal
    /// takes nothing, what waits is given up after `patience`: it was not acknowledged.
    pub fn stop(self, patience: Duration) {
        // The queue may be full of chunks; the intake empties it.
        let _ = self.inlet.sender.blocking_send(Input::Close);
        let until = Instant::now() + patience;
        while Instant::now() < until && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.give_up.store(true, Ordering::Release);
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        for thread in self.threads {
            // A thread that hangs on a dead disk is left behind: the process is about to end.
            if !thread.is_finished() {
                warn!(
                    thread = thread.thread().name(),
                    "did not end in time; nothing it held was acknowledged"
                );
            } else if thread.join().is_err() {
                warn!("a thread of the ingester ended in panic");
            }
        }
    }
}
