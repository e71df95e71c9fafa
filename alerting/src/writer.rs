//! The store's one writer: a thread that commits groups of writes, and keeps what the disk does not take.
//!
//! Limits: at most [`PENDING_MAX`] writes wait in memory. At the limit, writes that the next one of their
//! kind or the journal repeats are dropped and counted; incidents are always kept (there are at most as many
//! as posts, plus 10,001 for unregistered devices). What is remembered of posts waits aside, once a post, at most
//! [`MEMORIES_MAX`] of them: see `pending.rs`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lampguard_journal::Follower;
use tracing::{error, info};

use crate::metrics::Metrics;
pub use crate::pending::{MEMORIES_MAX, PENDING_MAX};
use crate::pending::{Pending, Waiting};
use crate::store::{Store, StoreError, Write};

/// A full disk is tried again this often.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Says when a write is durable.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<(Mutex<bool>, Condvar)>);

impl Ticket {
    /// A ticket for something that is durable already.
    pub fn done() -> Self {
        let ticket = Self::default();
        ticket.complete();
        ticket
    }

    fn complete(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is durable, at most this long. True when it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        let done = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(done, at_most, |done| !*done);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, State> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hand over writes here; never blocks on the disk.
#[derive(Clone, Debug)]
pub struct Writes {
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl Writes {
    /// Queues one write. The ticket is completed when it is durable; of what is remembered of a post, that of the
    /// newest alone.
    pub fn push(&self, write: Write, ticket: Ticket) {
        let pending = &mut self.shared.pending().pending;
        if !pending.push(write, ticket) {
            self.metrics.store_dropped.inc();
            return;
        }
        self.metrics.store_pending.set(pending.len() as i64);
        self.shared.wake.notify_one();
    }
}

/// The writer's thread.
#[derive(Debug)]
pub struct Writer {
    writes: Writes,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. Committed cursors go to `follower`.
    ///
    /// # Errors
    /// The system has no thread to give: stop.
    pub fn start(store: Store, follower: Follower, metrics: &Metrics) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writes = Writes { shared: shared.clone(), metrics: metrics.clone() };
        let work = Work { store, follower, shared, metrics: metrics.clone() };
        let thread =
            std::thread::Builder::new().name("incident-store".to_owned()).spawn(move || work.run())?;
        Ok(Self { writes, thread: Some(thread) })
    }

    /// Where writes are handed over.
    pub fn writes(&self) -> Writes {
        self.writes.clone()
    }

    /// Commits what waits and closes the file. A disk that refuses gets one more try; what it does not take
    /// is found again by the next start's replay.
    pub fn stop(&mut self) {
        self.writes.shared.pending().stopping = true;
        self.writes.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the incident store's thread ended badly");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    store: Store,
    follower: Follower,
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl Work {
    fn run(mut self) {
        let mut failing = false;
        while let Some(group) = self.next_group(failing) {
            match self.commit(&group) {
                Ok(()) => {
                    if failing {
                        info!("the incident store takes writes again");
                    }
                    failing = false;
                    self.metrics.store_failing.set(0);
                }
                Err(error) => {
                    if !failing {
                        error!(%error, "the incident store refuses writes, they are kept in memory");
                    }
                    failing = true;
                    self.metrics.store_failing.set(1);
                    let mut state = self.shared.pending();
                    state.pending.put_back(group);
                    if state.stopping {
                        let lost = state.pending.len();
                        error!(lost, "stopping with writes the disk does not take; replay will find them");
                        return;
                    }
                }
            }
            let waiting = self.shared.pending().pending.len();
            self.metrics.store_pending.set(waiting as i64);
        }
    }

    /// Waits for writes; `None` when stopping and nothing is left.
    fn next_group(&self, failing: bool) -> Option<Vec<Waiting>> {
        let mut state = self.shared.pending();
        if failing {
            let waited = self.shared.wake.wait_timeout_while(state, RETRY_EVERY, |state| !state.stopping);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let idle = |state: &mut State| state.pending.is_empty() && !state.stopping;
        let waited = self.shared.wake.wait_while(state, idle);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        let group = state.pending.take();
        (!group.is_empty()).then_some(group)
    }

    /// One transaction; when a write itself is at fault, each alone, so that one bad write stops no other.
    fn commit(&mut self, group: &[Waiting]) -> Result<(), StoreError> {
        match self.store.commit(group.iter().map(|waiting| &waiting.write)) {
            Ok(()) => {
                self.committed(group);
                Ok(())
            }
            Err(error) if !error.is_final() => Err(error),
            Err(_) => {
                for one in group.chunks(1) {
                    match self.store.commit(one.iter().map(|waiting| &waiting.write)) {
                        Ok(()) => self.committed(one),
                        Err(error) if error.is_final() => {
                            error!(%error, write = ?one[0].write, "the incident store cannot take this write");
                            self.metrics.store_dropped.inc();
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }

    fn committed(&self, group: &[Waiting]) {
        for waiting in group {
            waiting.ticket.complete();
            if let Write::Cursor { seq, .. } = &waiting.write {
                self.follower.keep_from(*seq);
            }
        }
    }
}

/// Time left until `deadline`, none when it is over.
pub(crate) fn until(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
