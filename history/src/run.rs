//! The follower: reads the journal on its own thread and feeds history.
//!
//! Ask what is durable → read it → flush when due → let the journal go up to the durable cursor.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lampguard_journal::{Follower, JournalError, Reader};
use lampguard_model::{Millis, Timestamp};
use tracing::{error, info, warn};

use crate::history::History;

/// The clock that everything here asks.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often a failed flush or read is tried again, and how often the closing of the journal is looked for.
const RETRY: Duration = Duration::from_secs(1);
/// Records gather for this long before the next look, so that each small commit does not wake this thread.
const GATHER: Duration = Duration::from_millis(250);
/// How often old files are looked for.
const RETAIN_EVERY: Millis = Millis::minutes(60);

/// Follows the journal until it is closed, then flushes and returns.
///
/// While flushes fail, rows gather in memory up to `rows_max`; then nothing is read and the journal keeps the
/// rest. Start and end of the trouble are logged once. At closing at most `flush_rows` further records are
/// taken in; the rest is read at the next start.
pub fn run(history: History, journal_dir: PathBuf, follower: Follower, clock: Clock) {
    let mut run =
        Run { history, journal_dir, follower, clock, reader: None, trouble: [false; 2], retained_at: None };
    run.begin();
    loop {
        let tail = run.follower.tail().clone();
        let end = tail.wait_past(run.history.next_seq(), RETRY);
        let closed = tail.is_closed();
        let caught_up = run.read(end);
        run.flush(closed);
        if closed {
            break;
        }
        run.retain();
        if run.history.is_full() || run.trouble != [false; 2] {
            tail.wait_past(u64::MAX, RETRY);
        } else if caught_up {
            tail.wait_past(u64::MAX, GATHER);
        }
    }
    let (cursor, waiting) = (run.history.cursor(), run.history.pending_rows());
    info!(cursor, waiting, "history stopped; what waits is read again from the journal");
}

const READING: usize = 0;
const WRITING: usize = 1;
const PARTS: [&str; 2] = ["reading the journal", "writing"];

struct Run {
    history: History,
    journal_dir: PathBuf,
    follower: Follower,
    clock: Clock,
    reader: Option<Reader>,
    /// Reading, writing: it failed and was logged; the next success logs the end.
    trouble: [bool; 2],
    retained_at: Option<Timestamp>,
}

impl Run {
    /// Settles where to begin: at our cursor, at the journal's start, or behind what is not there any more.
    fn begin(&mut self) {
        let (first, end) = (self.follower.tail().first(), self.follower.tail().end());
        let next = self.history.next_seq();
        if !self.history.is_new() && end < next {
            warn!(
                cursor = next,
                end, "the journal ends before the cursor: another journal, read from its start"
            );
            let rewound = self.history.rewind(first, (self.clock)());
            match rewound {
                // A hold on the journal never moves back by itself.
                Ok(()) => self.follower = self.follower.tail().follow(self.follower.name(), first),
                Err(e) => error!(error = %e, "history could not begin with the new journal"),
            }
        } else if next < first {
            if !self.history.is_new() {
                warn!(
                    from_seq = next,
                    to_seq = first,
                    "the journal begins behind the cursor: gap in history"
                );
            }
            self.history.skip_to(first);
        }
        self.follower.keep_from(self.history.cursor());
        info!(cursor = self.history.cursor(), end, "history follows the journal");
    }

    /// Takes in what is durable before `end`; true when nothing is left.
    fn read(&mut self, end: u64) -> bool {
        match self.try_read(end) {
            Ok(caught_up) => {
                self.recovered(READING);
                caught_up
            }
            Err(e) => {
                self.failed(READING, &e);
                self.reader = None;
                true
            }
        }
    }

    fn try_read(&mut self, end: u64) -> Result<bool, JournalError> {
        let history = &mut self.history;
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.journal_dir, history.next_seq())?,
        };
        let most = history.options().flush_rows.min(history.options().rows_max);
        let mut taken = 0;
        let caught_up = loop {
            if history.is_full() || taken >= most {
                break false;
            }
            let Some(frame) = reader.next(end)? else {
                break true;
            };
            // The first frame may begin before the record we asked for.
            let next = history.next_seq();
            for (seq, kind, bytes) in frame.records().filter(|(seq, _, _)| *seq >= next) {
                history.apply(seq, kind, bytes);
                taken += 1;
            }
        };
        let lost = reader.take_lost();
        if lost.records > 0 {
            let (records, bytes) = (lost.records, lost.bytes);
            warn!(records, bytes, "records of the journal are damaged or gone: gap in history");
        }
        if caught_up {
            // Behind the last whole frame there may be lost records too.
            history.skip_to(reader.position());
        }
        self.follower.report(self.history.next_seq());
        self.reader = Some(reader);
        Ok(caught_up)
    }

    fn flush(&mut self, must: bool) {
        let now = (self.clock)();
        let due = self.history.flush_due(now);
        if must || due || self.trouble[WRITING] || self.history.is_full() {
            match self.history.flush(now) {
                Ok(()) => self.recovered(WRITING),
                Err(e) => self.failed(WRITING, &e),
            }
            let took = (self.clock)().since(now);
            self.history.metrics().flush_seconds.observe(took.0.max(0) as f64 / 1000.0);
            if !self.history.is_new() {
                self.follower.keep_from(self.history.cursor());
            }
        }
        self.history.metrics().pending_rows.set(self.history.pending_rows() as i64);
    }

    fn retain(&mut self) {
        let now = (self.clock)();
        // A clock that was set back begins a new hour.
        let since = self.retained_at.map(|at| now.since(at));
        if since.is_none_or(|since| since >= RETAIN_EVERY || since < Millis(0)) {
            self.retained_at = Some(now);
            if let Err(e) = self.history.retain(now) {
                warn!(error = %e, "old history could not be deleted; tried again in an hour");
            }
        }
    }

    fn failed(&mut self, what: usize, error: &dyn std::error::Error) {
        if !self.trouble[what] {
            let (part, waiting) = (PARTS[what], self.history.pending_rows());
            error!(error = %error, part, waiting, "history has stopped; the journal keeps the readings");
        }
        self.trouble[what] = true;
    }

    fn recovered(&mut self, what: usize) {
        if self.trouble[what] {
            info!(part = PARTS[what], cursor = self.history.cursor(), "history goes on");
        }
        self.trouble[what] = false;
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
