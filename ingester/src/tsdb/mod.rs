//! The follower that writes readings and weather into a time-series database.
//!
//! The database is history and pictures, never the alarm path: whatever happens to it, the only thing that
//! grows is this follower's lag. One thread for each database, `tsdb:ID`; its story stands in `follower.rs`.
//!
//! | file | what it holds |
//! |---|---|
//! | `follower.rs` | the thread: read, batch, send, bisect, wait, move the cursor |
//! | `line.rs` | the strict encoder, and the rows that wait |
//! | `send.rs` | one request and what its answer means |
//! | `probe.rs` | is it alive, and is it the same process as before |
//! | `window.rs` | which records the database may still lose |
//! | `refused.rs` | the file of rows that the database refused |
//! | `points.rs`, `point_writer.rs` | all other rows: what waits of them, and the thread that writes them |
//!
//! Files in the data directory: `tsdb-ID.cursor` (text, one number: everything before it is safe in the
//! database; replaced as a whole, at most once a second) and `tsdb-ID-rejected.jsonl`.
//!
//! Invariants:
//! 1. The journal is kept from the durable cursor on; the cursor never passes a row that was neither accepted,
//!    nor refused alone and written to the file, nor counted by reason.
//! 2. Sending again is harmless: same tags, same `stored_ts`, same values. (VictoriaMetrics needs
//!    `-dedup.minScrapeInterval=1ms` for that.)
//! 3. Memory is bounded: the rows of one batch and one journal frame, and 10,000 numbers of refused rows.

mod follower;
mod line;
mod point_writer;
mod points;
mod probe;
mod refused;
mod send;
mod window;

#[cfg(test)]
mod road_tests;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod victoria_tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lampguard_journal::{Follower, Tail};

pub use point_writer::PointWriter;
pub use points::{POINTS_BYTES_MAX, Points, whole};
pub use send::Sink;

use crate::config::TsdbConfig;
use crate::metrics::TsdbMetrics;
use crate::run::Clock;

/// Longest wait in [`Running::stop`].
const STOP_MAX: Duration = Duration::from_millis(1900);

/// How one database is doing, for `readyz` and `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// It answers, and the last thing sent to it was taken.
    pub up: bool,
    /// Records that it has still to take, or take again.
    pub lag_records: u64,
    /// The last fault, also after it was over.
    pub last_error: Option<String>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    up: AtomicBool,
    /// Everything before it has been accepted, safe or not.
    position: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn last_error(&self) -> MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Several databases share one gauge each: it shows the worst of them.
#[derive(Clone, Debug, Default)]
pub struct Worst(Arc<Mutex<BTreeMap<String, (i64, bool)>>>);

impl Worst {
    /// Puts in how one database does; returns the longest lag in seconds, and whether all are up.
    fn with(&self, id: &str, lag_s: i64, up: bool) -> (i64, bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), (lag_s, up));
        let lag_s = all.values().map(|(lag_s, _)| *lag_s).max().unwrap_or(0);
        (lag_s, all.values().all(|(_, up)| *up))
    }
}

/// A running follower.
#[derive(Debug)]
pub struct Running {
    id: String,
    tail: Tail,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// How it is doing now.
    pub fn status(&self) -> Status {
        let position = self.shared.position.load(Ordering::Acquire);
        Status {
            up: self.shared.up.load(Ordering::Acquire),
            lag_records: self.tail.end().saturating_sub(position),
            last_error: self.shared.last_error().clone(),
        }
    }

    /// The configured id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Ends it in under two seconds. A request under way is broken off; what it carried is sent again at the
    /// next start. On a disk that hangs the thread is left behind; it sends nothing any more.
    pub fn stop(mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        end(thread, &self.id, "follower");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// Waits [`STOP_MAX`] for a thread of database `id` that was told to stop.
fn end(thread: JoinHandle<()>, id: &str, what: &str) {
    let until = Instant::now() + STOP_MAX;
    while !thread.is_finished() {
        if Instant::now() > until {
            tracing::warn!(tsdb = id, "{what} hangs and is left behind");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if thread.join().is_err() {
        tracing::error!(tsdb = id, "{what} had panicked");
    }
}

fn cursor_path(data_dir: &Path, id: &str) -> PathBuf {
    data_dir.join(format!("tsdb-{id}.cursor"))
}

/// The durable cursor, if there is one that can be read.
fn read_cursor(data_dir: &Path, id: &str) -> Option<u64> {
    let path = cursor_path(data_dir, id);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "cursor is not readable, everything is sent again");
            return None;
        }
    };
    let cursor = text.trim().parse().ok();
    if cursor.is_none() {
        tracing::warn!(path = %path.display(), "cursor is damaged, everything is sent again");
    }
    cursor
}

/// The durable cursor of a database; 0, the start of the journal, when there is none that can be read. For
/// `follow_bounded`, before [`start`].
pub fn stored_cursor(data_dir: &Path, id: &str) -> u64 {
    read_cursor(data_dir, id).unwrap_or(0)
}

/// Starts the follower. `follower` was made by `follow_bounded` with [`stored_cursor`] and the configured
/// `max_lag_bytes`. A configuration that [`Sink::check`] refuses sends nothing; it is tried again, because a
/// missing token file may come.
///
/// # Panics
/// When the system cannot start a thread.
pub fn start(
    config: TsdbConfig,
    data_dir: &Path,
    journal_dir: &Path,
    follower: Follower,
    replay_window: Duration,
    metrics: TsdbMetrics,
    clock: Clock,
) -> Running {
    // A counter that was never raised is absent from /metrics, and an alert on it can never fire.
    for reason in line::Skipped::ALL.map(line::Skipped::word).iter().chain(&["refused"]) {
        metrics.rejected.with_label_values(&[reason]);
    }
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        up: AtomicBool::new(false),
        position: AtomicU64::new(stored_cursor(data_dir, &config.id)),
        last_error: Mutex::new(None),
    });
    let (id, tail) = (config.id.clone(), follower.tail().clone());
    let setup = follower::Setup {
        config,
        data_dir: data_dir.to_owned(),
        journal_dir: journal_dir.to_owned(),
        follower,
        replay_window,
        metrics,
        clock,
        shared: shared.clone(),
    };
    let thread = std::thread::Builder::new()
        .name(format!("tsdb:{id}"))
        .spawn(move || follower::run(setup))
        .expect("the system can start a thread at start-up");
    Running { id, tail, shared, thread: Some(thread) }
}
