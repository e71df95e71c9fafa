//! Steps 7 and 8 of the way of one reading: one fdatasync for all that waits, then the acknowledgements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lampguard_journal::{FrameBuf, Writer};
use tracing::{error, info, warn};

use crate::accounts::{Accounts, Totals};
use crate::intake::{Gate, Held, Origin, Settled};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::run::Clock;

/// Bytes that one commit carries at most; what waits beyond goes with the next.
const COMMIT_BYTES: usize = 1 << 20;
/// Pause between tries while the journal takes nothing.
const RETRY: Duration = Duration::from_millis(500);
/// Pause between looks at followers and the book of losses.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Whom to tell once everything before is durable.
pub(crate) struct Settlement {
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) settled: Settled,
    pub(crate) _held: Held,
}

/// Frames with the settlements that depend on them.
pub(crate) struct Unit {
    pub(crate) frames: Vec<Arc<FrameBuf>>,
    pub(crate) settlements: Vec<Settlement>,
    pub(crate) totals: Totals,
    pub(crate) readings: u64,
}

impl Unit {
    pub(crate) fn new(totals: Totals) -> Self {
        Self { frames: Vec::new(), settlements: Vec::new(), totals, readings: 0 }
    }
}

/// What the committer shares with the rest.
pub(crate) struct Shared {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) losses: Arc<LossBook>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// Set when the process has to end though the journal takes nothing.
    pub(crate) give_up: Arc<AtomicBool>,
}

/// The thread `commit`.
pub(crate) struct Committer {
    writer: Writer,
    shared: Shared,
    stored: u64,
    housekept: Instant,
    losses_failed: bool,
}

impl Committer {
    pub(crate) fn new(writer: Writer, shared: Shared) -> Self {
        let stored = shared.accounts.statement().settled.stored;
        Self { writer, shared, stored, housekept: Instant::now(), losses_failed: false }
    }

    /// Works until the intake has ended and everything is durable.
    pub(crate) fn run(mut self, units: &Receiver<Unit>) {
        loop {
            match units.recv_timeout(HOUSEKEEPING) {
                Ok(unit) => {
                    let waiting = gather(unit, units);
                    if !self.commit(waiting) {
                        break;
                    }
                }
                // A commit that ended just when it was called hanging has nobody else to say that it goes on.
                Err(RecvTimeoutError::Timeout) if self.shared.gate.is_stopped() => {
                    if !self.commit(Vec::new()) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_house();
        }
        if let Err(e) = self.shared.losses.save_all() {
            warn!(error = %e, "book of losses was not written");
        }
        self.writer.tail().close();
    }

    /// Tries until the frames are durable; false when the process has to end before.
    fn commit(&mut self, waiting: Vec<Unit>) -> bool {
        let frames: Vec<Arc<FrameBuf>> =
            waiting.iter().flat_map(|unit| unit.frames.iter().cloned()).collect();
        let mut told = false;
        loop {
            if self.shared.give_up.load(Ordering::Acquire) {
                let frames = frames.len();
                warn!(frames, "ending without the journal: unacknowledged messages stay with their senders");
                return false;
            }
            let started = Instant::now();
            self.shared.gate.set_committing(true);
            let committed = self.writer.commit(&frames, (self.shared.clock)().0);
            self.shared.gate.set_committing(false);
            match committed {
                Ok(()) => {
                    if !frames.is_empty() {
                        self.shared.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                    }
                    break;
                }
                Err(e) if !told => {
                    error!(error = %e, "journal takes nothing: acknowledgements stop, alarms go on");
                    told = true;
                    self.shared.gate.set_stopped(true);
                }
                Err(_) => {}
            }
            std::thread::sleep(RETRY);
            self.keep_house();
        }
        if self.shared.gate.is_stopped() {
            info!("journal takes readings again");
            self.shared.gate.set_stopped(false);
        }
        for unit in waiting {
            self.shared.accounts.settle(unit.readings, &unit.totals);
            self.shared.metrics.stored.inc_by(unit.totals.stored.saturating_sub(self.stored));
            self.stored = unit.totals.stored;
            for Settlement { origin, settled, _held } in unit.settlements {
                origin.settle(settled);
            }
        }
        true
    }

    fn keep_house(&mut self) {
        if self.housekept.elapsed() < HOUSEKEEPING {
            return;
        }
        self.housekept = Instant::now();
        self.writer.trim((self.shared.clock)().0);
        self.shared.metrics.journal_bytes.set(self.writer.bytes() as i64);
        for (follower, pending) in self.writer.tail().pending() {
            self.shared.metrics.pending_readings.with_label_values(&[&follower]).set(pending as i64);
        }
        let saved = self.shared.losses.save();
        if let Err(e) = &saved
            && !self.losses_failed
        {
            warn!(error = %e, "book of losses was not written; it stays in memory and is tried again");
        }
        self.losses_failed = saved.is_err();
    }
}

/// Everything that waits, up to the size of one commit.
fn gather(first: Unit, units: &Receiver<Unit>) -> Vec<Unit> {
    let size = |unit: &Unit| unit.frames.iter().map(|frame| frame.len()).sum::<usize>();
    let mut bytes = size(&first);
    let mut waiting = vec![first];
    while bytes < COMMIT_BYTES {
        let Ok(unit) = units.try_recv() else { break };
        bytes += size(&unit);
        waiting.push(unit);
    }
    waiting
}
