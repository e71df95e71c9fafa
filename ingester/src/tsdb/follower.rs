//! The way of a record from the journal into the database.
//!
//! ```text
//!  1 probe   every 5 s, and at once after a failed request: alive? the same process as before?
//!            another process: everything from the safe cursor on is read and sent again
//!  2 read    frames of the journal into rows, until a batch is full
//!  3 save    the safe cursor, at most once a second; only then may the journal be trimmed
//!  4 show    lag and state
//!  5 send    when the batch is full, or its first row has waited long enough
//!              accepted            the window begins to run for these records
//!              refused, too large  halve it until the bad rows stand alone; those go to a file
//!              anything else       keep the rows, wait, try again
//! ```
//! One thread, one request at a time. While the database is down the thread holds one batch and reads no
//! further; the rest waits in the journal. A monotonic clock measures waiting here and decides nothing else.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lampguard_journal::{Follower, JournalError, Reader};
use lampguard_model::{Millis, Timestamp};

use super::line::{Limits, Rows};
use super::refused::{Refused, RefusedRows};
use super::send::{Answer, Sink, pack};
use super::window::{Seen, Window};
use super::{Shared, cursor_path, read_cursor};
use crate::config::TsdbConfig;
use crate::loss::replace_file;
use crate::metrics::TsdbMetrics;
use crate::run::Clock;

/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often an idle follower looks for records, and a busy one for `stop`.
const TICK: Duration = Duration::from_millis(50);
/// First and longest wait after a failure.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// The cursor is written no more often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Rows refused one by one by a database that has never taken any: then it is not the rows.
const REFUSALS_WITHOUT_PROOF: usize = 8;

/// What the thread needs.
pub(super) struct Setup {
    pub(super) config: TsdbConfig,
    pub(super) data_dir: PathBuf,
    pub(super) journal_dir: PathBuf,
    pub(super) follower: Follower,
    pub(super) replay_window: Duration,
    pub(super) metrics: TsdbMetrics,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
}

/// The thread `tsdb:ID`.
pub(super) fn run(setup: Setup) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(tsdb = setup.config.id, error = %error, "follower could not start");
            *setup.shared.last_error() = Some(format!("starting: {error}"));
            return;
        }
    };
    runtime.block_on(async {
        if let Some(sink) = open_sink(&setup).await {
            let mut worker = Worker::new(setup, sink);
            worker.work().await;
            worker.save_at = Instant::now();
            worker.save();
        }
    });
    // A request under way on another thread is left alone; its answer interests nobody any more.
    runtime.shutdown_background();
}

/// The configuration was checked before; what is wrong now is a token file, and that may be mended.
async fn open_sink(setup: &Setup) -> Option<Sink> {
    let mut told = false;
    while !setup.shared.stopped() {
        match Sink::new(setup.config.clone()) {
            Ok(sink) => return Some(sink),
            Err(faults) => {
                let faults = faults.join("; ");
                if !told {
                    tracing::error!(tsdb = setup.config.id, error = faults, "database is not usable");
                    told = true;
                }
                *setup.shared.last_error() = Some(faults);
            }
        }
        tokio::time::sleep(BACKOFF[0]).await;
    }
    None
}

struct Outage {
    since: Timestamp,
    /// It began with a refused or failed write, so only an accepted one ends it.
    by_write: bool,
}

struct Worker {
    setup: Setup,
    sink: Sink,
    window: Window,
    refused: RefusedRows,
    reader: Option<Reader>,
    /// Number of the next record to read.
    next: u64,
    /// Everything before it was read, and counted, once.
    furthest: u64,
    /// Everything before it was accepted once.
    best: u64,
    rows: Rows,
    first_row_at: Instant,
    last_read_at: Instant,
    /// Rows in one request: what is configured, less after a 413.
    most_lines: usize,
    /// It has accepted something since we started: a refusal is about the rows.
    proven: bool,
    reachable: bool,
    outage: Option<Outage>,
    tries: u32,
    retry_at: Instant,
    probe_at: Instant,
    saved: Option<u64>,
    save_at: Instant,
}

impl Worker {
    fn new(setup: Setup, sink: Sink) -> Self {
        let saved = read_cursor(&setup.data_dir, &setup.config.id);
        // A database that is new here begins with what the journal still has; that is no gap.
        let from = saved.unwrap_or_else(|| setup.follower.tail().first());
        let hold = Millis(i64::try_from(setup.replay_window.as_millis()).unwrap_or(i64::MAX / 2));
        let now = Instant::now();
        Self {
            window: Window::new(hold, from),
            refused: RefusedRows::new(&setup.data_dir, &setup.config.id),
            reader: None,
            next: from,
            furthest: from,
            best: from,
            rows: Rows::default(),
            first_row_at: now,
            last_read_at: now,
            most_lines: setup.config.batch_lines,
            proven: false,
            reachable: false,
            outage: None,
            tries: 0,
            retry_at: now,
            probe_at: now,
            saved,
            save_at: now,
            setup,
            sink,
        }
    }

    /// The story above; `None` when it is told to stop.
    async fn work(&mut self) -> Option<()> {
        while !self.setup.shared.stopped() {
            if Instant::now() >= self.probe_at {
                self.probe().await?;
            }
            self.read();
            self.save();
            self.show();
            if self.is_due() {
                self.send().await?;
            } else {
                tokio::time::sleep(TICK).await;
            }
        }
        None
    }

    fn now(&self) -> Timestamp {
        (self.setup.clock)()
    }

    /// Waits for something slow, showing the lag; `None` as soon as it is told to stop.
    async fn attend<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(TICK, &mut work).await {
                Ok(result) => return Some(result),
                Err(_) if self.setup.shared.stopped() => return None,
                Err(_) => self.show(),
            }
        }
    }

    /// Step 1.
    async fn probe(&mut self) -> Option<()> {
        let prober = self.sink.prober().clone();
        let asked = self.attend(tokio::task::spawn_blocking(move || prober.ask())).await?;
        let now = self.now();
        match asked.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(life) => {
                self.probe_at = Instant::now() + PROBE_EVERY;
                if !self.reachable {
                    (self.reachable, self.tries, self.retry_at) = (true, 0, Instant::now());
                }
                if self.outage.as_ref().is_none_or(|outage| !outage.by_write) {
                    self.end_outage();
                }
                if self.window.seen(life, now) == Seen::Restarted {
                    self.rewind();
                }
            }
            Err(error) => {
                self.window.down();
                self.reachable = false;
                self.probe_at = Instant::now() + self.backoff().min(PROBE_EVERY);
                self.begin_outage(error, false);
            }
        }
        Some(())
    }

    /// The database may have lost what it had accepted: from the safe cursor on, everything again.
    fn rewind(&mut self) {
        let lost = self.window.cut(self.setup.follower.tail().first());
        self.count_gap(lost);
        let (from, to) = (self.window.safe(), self.next);
        tracing::info!(tsdb = self.setup.config.id, from, to, "database was restarted, sending again");
        self.rows.clear();
        self.reader = None;
        self.next = from;
    }

    /// Step 2. What cannot be read now is read later; what cannot become a row is counted, once.
    fn read(&mut self) {
        if self.rows.len() < self.most_lines && self.next < self.setup.follower.tail().end() {
            let before = self.rows.len();
            if let Err(error) = self.read_frames() {
                self.reader = None;
                let error = error.to_string();
                let mut last_error = self.setup.shared.last_error();
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(tsdb = self.setup.config.id, error, "journal is not readable now");
                    *last_error = Some(error);
                }
            }
            self.last_read_at = Instant::now();
            if before == 0 {
                self.first_row_at = self.last_read_at;
            }
        }
        if self.rows.len() == 0 {
            // Records without a row hold nothing up.
            self.window.accepted(self.next, self.now());
        }
    }

    fn read_frames(&mut self) -> Result<(), JournalError> {
        let end = self.setup.follower.tail().end();
        let limits = Limits::at(self.now(), self.setup.config.retention_days);
        while self.rows.len() < self.most_lines {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => Reader::open(&self.setup.journal_dir, self.next)?,
            };
            let more = match reader.next(end)? {
                None => false,
                Some(frame) => {
                    for (seq, kind, bytes) in frame.records() {
                        if seq < self.next || self.refused.knows(seq) {
                            continue;
                        }
                        if let Err(skipped) = self.rows.push(seq, kind, bytes, limits)
                            && seq >= self.furthest
                        {
                            let rejected = &self.setup.metrics.rejected;
                            rejected.with_label_values(&[skipped.word()]).inc();
                        }
                    }
                    true
                }
            };
            self.next = self.next.max(reader.position());
            let lost = reader.take_lost().records;
            if lost > 0 {
                self.count_gap(lost.min(self.next.saturating_sub(self.furthest)));
                self.window.cut(self.setup.follower.tail().first());
            }
            self.furthest = self.furthest.max(self.next);
            self.reader = Some(reader);
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn count_gap(&self, records: u64) {
        if records > 0 {
            self.setup.metrics.gap.inc_by(records);
            tracing::warn!(
                tsdb = self.setup.config.id,
                records,
                "journal no longer holds records that the database has not got"
            );
        }
    }

    /// Step 3.
    fn save(&mut self) {
        let safe = self.window.safe();
        if self.saved == Some(safe) || Instant::now() < self.save_at {
            return;
        }
        self.save_at = Instant::now() + SAVE_EVERY;
        let path = cursor_path(&self.setup.data_dir, &self.setup.config.id);
        if let Err(error) = replace_file(&path, format!("{safe}\n").as_bytes()) {
            let error = format!("writing {}: {error}", path.display());
            let mut last_error = self.setup.shared.last_error();
            if last_error.as_ref() != Some(&error) {
                tracing::warn!(tsdb = self.setup.config.id, error, "cursor is not written");
                *last_error = Some(error);
            }
            return;
        }
        self.saved = Some(safe);
        self.setup.follower.keep_from(safe);
        self.refused.forget_before(safe);
    }

    /// Number of the first record that is neither accepted nor counted.
    fn position(&self) -> u64 {
        self.rows.get(0).map_or(self.next, |row| row.seq)
    }

    /// Step 4.
    fn show(&self) {
        let position = self.position();
        self.setup.follower.report(position);
        self.setup.shared.position.store(position, Ordering::Release);
        let lag_s = match self.rows.get(0) {
            // Rounded up: 0 means that nothing waits.
            Some(row) => ((self.now().since(row.received_at).0 + 999) / 1000).max(1),
            None => i64::from(self.next < self.setup.follower.tail().end()),
        };
        let up = self.reachable && self.outage.is_none();
        self.setup.shared.up.store(up, Ordering::Release);
        let metrics = &self.setup.metrics;
        let (lag_s, up) = metrics.worst.with(&self.setup.config.id, lag_s, up);
        metrics.lag.set(lag_s);
        metrics.up.set(i64::from(up));
    }

    fn is_due(&self) -> bool {
        // The row may have waited one tick before it was read.
        let waited = self.first_row_at.elapsed() + TICK >= Duration::from_millis(self.setup.config.batch_ms);
        let full = self.rows.len() >= self.most_lines;
        self.rows.len() > 0 && (full || waited) && self.reachable && Instant::now() >= self.retry_at
    }

    /// Step 5: sends the first rows, and halves what the database refuses until the bad rows stand alone.
    async fn send(&mut self) -> Option<()> {
        let mut parts = vec![(0, self.rows.len().min(self.most_lines))];
        let mut refused = Vec::new();
        let mut settled = 0;
        let mut failure = None;
        while let Some((from, to)) = parts.pop() {
            let body = pack(self.rows.text(from, to));
            match self.attend(self.sink.write(body)).await? {
                Answer::Accepted => {
                    self.count_accepted(from, to);
                    settled = to;
                }
                answer @ (Answer::Refused(_) | Answer::TooLarge(_)) if to - from > 1 => {
                    let middle = from + (to - from) / 2;
                    if matches!(answer, Answer::TooLarge(_)) {
                        self.most_lines = self.most_lines.min(middle - from);
                    }
                    parts.extend([(middle, to), (from, middle)]);
                }
                Answer::Refused(text) | Answer::TooLarge(text) => {
                    refused.push((from, text));
                    settled = to;
                    if !self.proven && refused.len() >= REFUSALS_WITHOUT_PROOF {
                        break;
                    }
                }
                other => {
                    failure = Some(other);
                    break;
                }
            }
        }
        if let (false, Some((_, text))) = (self.proven, refused.first()) {
            // Every row refused, and never one taken: a wrong address looks like this. Nothing is given up.
            settled = 0;
            failure.get_or_insert(Answer::Denied(format!("every row is refused: {text}")));
        } else {
            self.keep_refused(&refused);
        }
        self.settle(settled);
        match failure {
            Some(failure) => self.wait_after(failure),
            None => self.end_outage(),
        }
        Some(())
    }

    fn count_accepted(&mut self, from: usize, to: usize) {
        self.proven = true;
        let again = self.rows.before(from, to, self.best);
        self.setup.metrics.written.inc_by((to - from) as u64);
        self.setup.metrics.resent.inc_by(again as u64);
        if let Some(last) = self.rows.get(to - 1) {
            self.best = self.best.max(last.seq + 1);
        }
    }

    fn keep_refused(&mut self, refused: &[(usize, String)]) {
        if refused.is_empty() {
            return;
        }
        let at = self.now();
        let rows = refused.iter().filter_map(|(index, answer)| {
            let row = std::str::from_utf8(self.rows.text(*index, index + 1)).ok()?;
            Some(Refused { at, seq: self.rows.get(*index)?.seq, row: row.trim_end(), answer })
        });
        let rows: Vec<_> = rows.collect();
        let rejected = self.setup.metrics.rejected.with_label_values(&["refused"]);
        rejected.inc_by(rows.len() as u64);
        let answer = refused.first().map_or("", |(_, answer)| answer.as_str());
        tracing::warn!(
            tsdb = self.setup.config.id,
            rows = rows.len(),
            answer,
            "database refuses rows, they are kept"
        );
        if let Err(error) = self.refused.keep(&rows) {
            tracing::error!(tsdb = self.setup.config.id, error = %error, "refused rows could not be kept");
        }
    }

    /// The first `count` rows need nothing more but time.
    fn settle(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.rows.drop_front(count);
        self.first_row_at = self.last_read_at;
        let now = self.now();
        self.window.accepted(self.position(), now);
        (self.tries, self.retry_at) = (0, Instant::now());
    }

    /// Keeps the rows and says when to try again.
    fn wait_after(&mut self, failure: Answer) {
        let (wait, text) = match failure {
            Answer::Busy(after, text) => (after, text),
            Answer::Denied(text) if self.sink.reread_token() => (Some(Duration::ZERO), text),
            Answer::Failed(text) => {
                self.sink.prober().doubt();
                self.probe_at = Instant::now();
                (None, text)
            }
            Answer::Denied(text) | Answer::Refused(text) | Answer::TooLarge(text) => (None, text),
            Answer::Accepted => return,
        };
        let wait = wait.unwrap_or_else(|| self.backoff());
        self.retry_at = Instant::now() + wait;
        self.begin_outage(text, true);
    }

    /// The next wait: doubled with every try, and spread so that many do not come back at once.
    fn backoff(&mut self) -> Duration {
        let [first, longest] = BACKOFF;
        let wait = first.saturating_mul(1 << self.tries.min(8)).min(longest);
        self.tries += 1;
        wait.mul_f64(rand::random_range(0.5..1.0)).max(first)
    }

    fn begin_outage(&mut self, error: String, by_write: bool) {
        match &mut self.outage {
            Some(outage) => outage.by_write |= by_write,
            None => {
                tracing::warn!(tsdb = self.setup.config.id, error, "database does not take rows");
                let since = self.now();
                self.outage = Some(Outage { since, by_write });
            }
        }
        *self.setup.shared.last_error() = Some(error);
    }

    fn end_outage(&mut self) {
        if let Some(outage) = self.outage.take() {
            let lasted_s = self.now().since(outage.since).as_seconds();
            tracing::info!(tsdb = self.setup.config.id, lasted_s, "database takes rows again");
        }
    }
}
