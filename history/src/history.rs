//! The writing side: takes records in, flushes them, deletes what is too old.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lampguard_model::record::{self, Record};
use lampguard_model::{Marks, Millis, Timestamp};
use tracing::{error, info, warn};

use crate::error::HistoryError;
use crate::latest::Latest;
use crate::metrics::Metrics;
use crate::months::{self, Months};
use crate::part::Batch;
use crate::plan::{self, OpenRows, Plan};
use crate::store::Main;
use crate::view::HistoryView;

/// How history works; the defaults are the city's.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Days that rows and roll-ups are kept at least, 1 to 3,650; a month file goes when its last day is older.
    /// Default 30.
    pub keep_days: u32,
    /// A flush is due this long after the first row that waits. Default and maximum 60 s.
    pub flush_every: Millis,
    /// A flush is due at this many waiting rows. Default 10,000 (some 1.4 MB).
    pub flush_rows: usize,
    /// Most rows in memory while flushes fail; then nothing more is read and the journal keeps the rest.
    /// Default 65,536 (some 9 MB).
    pub rows_max: usize,
    /// Most posts with a latest reading: the registered ones and 10,000 unregistered devices. Default 110,000.
    pub posts_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_days: 30,
            flush_every: Millis::seconds(60),
            flush_rows: 10_000,
            rows_max: 65_536,
            posts_max: 110_000,
        }
    }
}

/// Rows in memory, shared with the readers.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// What is being written right now; stays after a failure, to be written again.
    pub(crate) flushing: Option<Arc<Batch>>,
    /// What came after it.
    pub(crate) current: Batch,
    /// How many month files were deleted; readers then drop the connections they keep.
    pub(crate) deleted: u64,
}

pub(crate) type SharedWaiting = Arc<Mutex<Waiting>>;

pub(crate) fn lock(waiting: &SharedWaiting) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The embedded time series, writing side; one owner, one thread.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    options: Options,
    main: Main,
    months: Months,
    open_rows: OpenRows,
    waiting: SharedWaiting,
    latest: Latest,
    metrics: Metrics,
    /// Durable cursor; `None` in a new database.
    cursor: Option<u64>,
    /// Next journal sequence to take in; `None` before the first.
    next: Option<u64>,
    /// Rows in memory.
    pending: usize,
    /// When the rows that wait began to wait, by the first call of `flush_due` that saw them.
    waiting_since: Option<Timestamp>,
    /// The last flush failed: look at the files anew before the next.
    broken: bool,
}

impl History {
    /// Opens or makes the databases in `dir` and loads the latest readings. Options outside their range are
    /// taken at its border.
    ///
    /// # Errors
    /// [`HistoryError`]: *stop* and show it; a newer format, a folder that cannot be written, a damaged file.
    pub fn open(dir: &Path, options: Options, metrics: Metrics) -> Result<Self, HistoryError> {
        std::fs::create_dir_all(dir).map_err(|source| HistoryError::Io {
            doing: "making",
            path: dir.to_owned(),
            source,
        })?;
        let options = Options {
            keep_days: options.keep_days.clamp(1, 3650),
            flush_every: options.flush_every.min(Millis::seconds(60)),
            ..options
        };
        let main = Main::open(dir)?;
        months::sync_dir(dir)?;
        let mut history = Self {
            dir: dir.to_owned(),
            options,
            main,
            months: Months::new(dir),
            open_rows: OpenRows::default(),
            waiting: SharedWaiting::default(),
            latest: Latest::new(options.posts_max),
            metrics,
            cursor: None,
            next: None,
            pending: 0,
            waiting_since: None,
            broken: false,
        };
        history.load()?;
        Ok(history)
    }

    /// Reads cursor, counts and latest readings as the database has them.
    fn load(&mut self) -> Result<(), HistoryError> {
        self.cursor = self.main.cursor()?;
        self.next = self.cursor;
        let (mut open_rows, mut unreadable) = (OpenRows::default(), 0u64);
        let latest = &self.latest;
        self.main.posts(|post, rows, saved| {
            open_rows.set(post, rows);
            unreadable += u64::from(saved.is_some_and(|(record, aged)| !latest.load(record, aged)));
        })?;
        if unreadable > 0 {
            self.metrics.damaged.inc_by(unreadable);
            warn!(posts = unreadable, "saved latest readings could not be read; the next reading mends them");
        }
        self.open_rows = open_rows;
        lock(&self.waiting).current = Batch::starting_at(self.cursor);
        Ok(())
    }

    /// The durable cursor: every record below it is on disk here. 0 in a new database.
    pub fn cursor(&self) -> u64 {
        self.cursor.unwrap_or(0)
    }

    /// The next record to take in: the cursor and what is in memory. 0 in a new database.
    pub fn next_seq(&self) -> u64 {
        self.next.unwrap_or(0)
    }

    /// True until the first record was taken in, ever.
    pub fn is_new(&self) -> bool {
        self.next.is_none()
    }

    /// The shared table of latest readings.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// How it was opened.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A reading side; clone it as often as needed.
    pub fn view(&self) -> HistoryView {
        HistoryView::new(&self.dir, self.waiting.clone(), self.metrics.clone())
    }

    /// Rows in memory.
    pub fn pending_rows(&self) -> usize {
        self.pending
    }

    /// True when memory holds as many rows as it may: flush before taking more in.
    pub fn is_full(&self) -> bool {
        self.pending >= self.options.rows_max
    }

    /// Takes one journal record in, in memory. Records below [`History::next_seq`] are ignored, so a replay
    /// counts nothing twice; a leap forward is remembered as a gap. Kinds other than readings only move the
    /// cursor, readings marked untracked are counted.
    pub fn apply(&mut self, seq: u64, kind: u8, bytes: &[u8]) {
        if self.next.is_some_and(|next| seq < next) {
            self.metrics.replayed.inc();
            return;
        }
        self.skip_to(seq);
        self.next = Some(seq + 1);
        let mut waiting = lock(&self.waiting);
        waiting.current.end = seq + 1;
        if kind != record::READING {
            return;
        }
        match record::decode(kind, bytes) {
            Ok(Record::Reading(reading)) if reading.marks.has(Marks::UNTRACKED) => {
                self.metrics.untracked.inc();
            }
            // Its owner keeps it.
            Ok(Record::Reading(reading)) if reading.marks.has(Marks::FOREIGN) => {}
            Ok(Record::Reading(reading)) => {
                waiting.current.push(seq, &reading, bytes);
                drop(waiting);
                self.latest.observe(&reading);
                self.pending += 1;
                self.metrics.rows.inc();
            }
            _ => self.metrics.unreadable.inc(),
        }
    }

    /// Says that records below `seq` will never come: what is missing up to there is remembered as a gap.
    /// In a new database it only sets where to begin.
    pub fn skip_to(&mut self, seq: u64) {
        let mut waiting = lock(&self.waiting);
        match self.next {
            Some(next) if next < seq => {
                waiting.current.gaps.push((next, seq));
                self.metrics.gap.inc_by(seq - next);
            }
            Some(_) => return,
            None => {}
        }
        waiting.current.end = seq;
        self.next = Some(seq);
    }

    /// Begins anew at `seq` of another journal, one that ends before our cursor. What is kept stays.
    ///
    /// # Errors
    /// [`HistoryError`]: *retry*.
    pub fn rewind(&mut self, seq: u64, now: Timestamp) -> Result<(), HistoryError> {
        self.flush(now)?;
        self.main.set_cursor(seq)?;
        self.cursor = Some(seq);
        self.next = Some(seq);
        lock(&self.waiting).current = Batch::starting_at(Some(seq));
        Ok(())
    }

    /// True when rows wait for longer than `flush_every`, or more than `flush_rows` of them wait.
    pub fn flush_due(&mut self, now: Timestamp) -> bool {
        if self.next == self.cursor {
            self.waiting_since = None;
            return false;
        }
        // A clock that was set back must not stop the flushes.
        let since = self.waiting_since.filter(|since| *since <= now).unwrap_or(now);
        self.waiting_since = Some(since);
        self.pending >= self.options.flush_rows || now.since(since) >= self.options.flush_every
    }

    /// Makes everything taken in durable and moves the cursor. `now` is only noted beside gaps.
    ///
    /// # Errors
    /// [`HistoryError`]: *retry* later; everything stays in memory and readable.
    pub fn flush(&mut self, now: Timestamp) -> Result<(), HistoryError> {
        if self.broken {
            self.look_again()?;
        }
        while let Some(batch) = self.take_batch() {
            let result = self.write_batch(&batch, now);
            if result.is_err() {
                self.broken = true;
                self.metrics.flush_failed.inc();
                return result;
            }
        }
        self.waiting_since = None;
        self.metrics.latest_posts.set(self.latest.len() as i64);
        self.metrics.latest_refused.set(self.latest.refused().cast_signed());
        Ok(())
    }

    /// The batch to write: the one that failed before, or what came since the last flush.
    fn take_batch(&self) -> Option<Arc<Batch>> {
        let mut waiting = lock(&self.waiting);
        if waiting.flushing.is_none() && !waiting.current.is_empty() {
            let next = Batch::starting_at(Some(waiting.current.end));
            waiting.flushing = Some(Arc::new(std::mem::replace(&mut waiting.current, next)));
        }
        waiting.flushing.clone()
    }

    fn write_batch(&mut self, batch: &Batch, now: Timestamp) -> Result<(), HistoryError> {
        let plan = self.close_chunks(batch)?;
        self.main.commit(batch, &plan, &self.latest, now)?;
        self.settle(batch, &plan);
        Ok(())
    }

    /// First step of a flush: chunks become durable in their month files. Repeating it changes nothing.
    pub(crate) fn close_chunks(&mut self, batch: &Batch) -> Result<Plan, HistoryError> {
        let plan = plan::plan(batch, &self.open_rows, &self.main)?;
        self.months.write(&plan.chunks)?;
        Ok(plan)
    }

    /// Last step of a flush, after the main database has committed.
    fn settle(&mut self, batch: &Batch, plan: &Plan) {
        for (post, rows) in &plan.open_rows {
            self.open_rows.set(post, *rows);
        }
        for (bucket, part) in &plan.damaged {
            self.metrics.damaged.inc();
            let (first_seq, rows) = (part.first_seq, part.rows);
            error!(bucket, first_seq, rows, "waiting rows are damaged, moved to table damaged_part");
        }
        for chunk in plan.chunks.values().flatten() {
            self.metrics.chunks.inc();
            self.metrics.chunk_rows.inc_by(u64::from(chunk.rows));
            self.metrics.chunk_bytes.inc_by(chunk.data.len() as u64);
        }
        self.settled(batch);
    }

    fn settled(&mut self, batch: &Batch) {
        lock(&self.waiting).flushing = None;
        self.pending -= batch.rows;
        self.cursor = Some(batch.end);
    }

    /// After a failure: opens the files anew, makes what they show durable, and finds out whether the failed
    /// commit went through after all. A failed sync must not be repeated on the same descriptor: the system
    /// may have dropped the pages and would report success.
    fn look_again(&mut self) -> Result<(), HistoryError> {
        self.months.close();
        self.main = Main::open(&self.dir)?;
        let failed = lock(&self.waiting).flushing.clone();
        let cursor = self.main.cursor()?;
        if let Some(batch) = failed.filter(|batch| batch.base != cursor && Some(batch.end) == cursor) {
            let mut open_rows = OpenRows::default();
            self.main.posts(|post, rows, _| open_rows.set(post, rows))?;
            self.open_rows = open_rows;
            self.settled(&batch);
        }
        self.broken = false;
        Ok(())
    }

    /// Deletes the oldest month file if all of its days are older than `keep_days`, old roll-ups (10,000 at
    /// a time), and latest readings of unregistered devices that were not heard for that long. Call it hourly.
    ///
    /// Rows that still wait for their chunk (a post's last 359 at most) are not deleted.
    ///
    /// # Errors
    /// [`HistoryError`]: *retry* at the next hour.
    pub fn retain(&mut self, now: Timestamp) -> Result<(), HistoryError> {
        let cutoff = now - Millis(i64::from(self.options.keep_days) * 86_400_000);
        if let Some(month) = self.months.retain(cutoff)? {
            lock(&self.waiting).deleted += 1;
            info!(%month, keep_days = self.options.keep_days, "month file deleted");
        }
        let gone = self.latest.forget_unregistered(cutoff);
        self.main.forget(cutoff, &gone)?;
        self.metrics.disk_bytes.set(self.months.disk_bytes()?.cast_signed());
        Ok(())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// For tests of a crash between the two steps of a flush.
    #[cfg(test)]
    pub(crate) fn flush_first_step_only(&mut self) {
        let batch = self.take_batch().unwrap();
        self.close_chunks(&batch).unwrap();
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
