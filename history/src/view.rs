//! The reading side: one post's rows and a zone's roll-ups, from memory, parts and chunks together.
//!
//! Order of looking matters, because rows move from memory to parts to chunks while somebody reads: memory
//! first, then parts, then chunks. So a row can be met twice, and equal rows are dropped; it cannot be missed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lampguard_model::record::{self, Record};
use lampguard_model::{Millis, Timestamp};
use rusqlite::params;

use crate::chunk;
use crate::error::HistoryError;
use crate::history::{SharedWaiting, lock};
use crate::metrics::Metrics;
use crate::month::Month;
use crate::months;
use crate::part::{self, bucket_of};
use crate::rollup::Rollup;
use crate::row::Row;
use crate::store::{Db, MAIN_FILE, StoredPart, cursor_in, parts_in};

/// Most rows of one answer.
pub const LIMIT_MAX: usize = 100_000;
/// Sets of connections kept for the next query; more are opened while more threads ask at once.
const POOL_MAX: usize = 4;
/// Month files one set keeps open.
const MONTHS_MAX: usize = 3;

/// Rows of one post.
#[derive(Debug, Default)]
pub struct Answer {
    /// The rows, ascending by `stored_ts`.
    pub rows: Vec<Row>,
    /// When there may be more: what to pass as `after` for the next page.
    pub next: Option<Timestamp>,
    /// What could not be read; everything else is in `rows`.
    pub damaged: Vec<HistoryError>,
}

/// Journal records that never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First sequence that is missing.
    pub from_seq: u64,
    /// First sequence behind the gap.
    pub to_seq: u64,
    /// When it was written down; by the clock of the follower.
    pub noted_at: Timestamp,
}

/// Reads history from any thread while it is being written; clones share everything.
#[derive(Clone, Debug)]
pub struct HistoryView {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    waiting: SharedWaiting,
    pool: Mutex<Vec<Connections>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Connections {
    main: Db,
    months: BTreeMap<Month, Db>,
    deleted: u64,
}

impl HistoryView {
    pub(crate) fn new(dir: &Path, waiting: SharedWaiting, metrics: Metrics) -> Self {
        let inner = Inner { dir: dir.to_owned(), waiting, pool: Mutex::default(), metrics };
        Self { inner: Arc::new(inner) }
    }

    /// Rows of `post` with `from <= stored_ts < to` and, for further pages, `stored_ts > after`, ascending; at
    /// most `limit` (1 to [`LIMIT_MAX`]; a few more when several rows share the last millisecond). Rows that are
    /// not flushed yet are among them. An unknown post has none.
    ///
    /// # Errors
    /// [`HistoryError`] when the main database cannot be read: *retry*. Damaged chunks, parts and month files
    /// stand in [`Answer::damaged`] instead, beside what the others gave.
    pub fn rows(
        &self,
        post: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        after: Option<Timestamp>,
    ) -> Result<Answer, HistoryError> {
        let first = after.map_or(from, |after| from.max(after + Millis(1)));
        let mut gather =
            Gather { first, to, limit: limit.clamp(1, LIMIT_MAX), border: None, answer: Answer::default() };
        self.gather_waiting(post, &mut gather);
        let mut connections = self.connect()?;
        gather_parts(&connections.main, post, &mut gather)?;
        gather.tidy();
        for month in months::list(&self.inner.dir)? {
            if month.end() <= first || month.start() >= to || gather.is_done(month.start()) {
                continue;
            }
            if let Err(e) = gather_month(&self.inner.dir, &mut connections, month, post, &mut gather) {
                connections.months.remove(&month);
                gather.answer.damaged.push(e);
            }
        }
        self.give_back(connections);
        self.inner.metrics.damaged.inc_by(gather.answer.damaged.len() as u64);
        gather.tidy();
        gather.answer.next = gather.border;
        Ok(gather.answer)
    }

    /// Minutes of `zone` whose start lies in `from..to`, ascending, with their start. Minutes without readings
    /// are missing, which is not zero. Rows that are not flushed yet are counted.
    ///
    /// # Errors
    /// [`HistoryError`] when the main database cannot be read: *retry*.
    pub fn rollups(
        &self,
        zone: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Rollup)>, HistoryError> {
        // What waits, with the cursor on which it builds: if the database is further by now, it holds it already.
        let mut waiting = Vec::with_capacity(2);
        {
            let shared = lock(&self.inner.waiting);
            for batch in shared.flushing.as_deref().into_iter().chain([&shared.current]) {
                let mut minutes = BTreeMap::new();
                batch.rollups.merge_into(zone, from.0, to.0, &mut minutes);
                waiting.push((batch.base, minutes));
            }
        }
        let mut connections = self.connect()?;
        let read = read_rollups(&mut connections.main, zone, from, to);
        let (cursor, mut all) =
            read.map_err(|source| connections.main.failed("reading roll-ups of", source))?;
        self.give_back(connections);
        for (_, minutes) in waiting.into_iter().filter(|(base, _)| *base >= cursor) {
            for (minute, rollup) in minutes {
                all.entry(minute).or_default().merge(&rollup);
            }
        }
        Ok(all.into_iter().map(|(minute, rollup)| (Timestamp(minute), rollup)).collect())
    }

    /// The last 1,000 gaps that are durable, oldest first.
    ///
    /// # Errors
    /// [`HistoryError`] when the main database cannot be read: *retry*.
    pub fn gaps(&self) -> Result<Vec<Gap>, HistoryError> {
        let connections = self.connect()?;
        let read = || -> rusqlite::Result<Vec<Gap>> {
            let sql = &connections.main.sql;
            let mut select = sql.prepare("SELECT from_seq, to_seq, noted_at FROM gap ORDER BY rowid")?;
            let gaps = select.query_map([], |row| {
                let (from, to): (i64, i64) = (row.get(0)?, row.get(1)?);
                let noted_at = Timestamp(row.get(2)?);
                Ok(Gap { from_seq: from.cast_unsigned(), to_seq: to.cast_unsigned(), noted_at })
            })?;
            gaps.collect()
        };
        let gaps = read().map_err(|source| connections.main.failed("reading gaps of", source))?;
        self.give_back(connections);
        Ok(gaps)
    }

    fn gather_waiting(&self, post: &str, gather: &mut Gather) {
        let shared = lock(&self.inner.waiting);
        let batches = shared.flushing.as_deref().into_iter().chain([&shared.current]);
        for run in batches.filter_map(|batch| batch.posts.get(post)) {
            gather.add_entries(&run.entries);
        }
    }

    fn connect(&self) -> Result<Connections, HistoryError> {
        let deleted = lock(&self.inner.waiting).deleted;
        let kept = self.inner.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connections) = kept {
            if connections.deleted != deleted {
                connections.months.clear();
                connections.deleted = deleted;
            }
            return Ok(connections);
        }
        let path = self.inner.dir.join(MAIN_FILE);
        let missing = || HistoryError::Io {
            doing: "opening",
            path: path.clone(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let main = Db::open_to_read(path.clone())?.ok_or_else(missing)?;
        Ok(Connections { main, months: BTreeMap::new(), deleted })
    }

    fn give_back(&self, mut connections: Connections) {
        while connections.months.len() > MONTHS_MAX {
            connections.months.pop_first();
        }
        let mut pool = self.inner.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOL_MAX {
            pool.push(connections);
        }
    }
}

fn read_rollups(
    main: &mut Db,
    zone: &str,
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<(Option<u64>, BTreeMap<i64, Rollup>)> {
    let transaction = main.sql.transaction()?;
    let cursor = cursor_in(&transaction)?;
    let mut select = transaction.prepare_cached(
        "SELECT minute, readings, alarms, immersed, leakage_ma_max, leakage_ma_sum, leakage_count, shell_v_max,
            supply_v_min, supply_v_max FROM rollup WHERE zone = ?1 AND minute >= ?2 AND minute < ?3",
    )?;
    let minutes = select.query_map(params![zone, from.0, to.0], |row| {
        let count = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let rollup = Rollup {
            readings: count(1)?,
            alarms: count(2)?,
            immersed: count(3)?,
            leakage_ma_max: row.get(4)?,
            leakage_ma_sum: row.get(5)?,
            leakage_count: count(6)?,
            shell_v_max: row.get(7)?,
            supply_v_min: row.get(8)?,
            supply_v_max: row.get(9)?,
        };
        Ok((row.get(0)?, rollup))
    })?;
    let minutes = minutes.collect::<rusqlite::Result<_>>()?;
    Ok((cursor, minutes))
}

fn gather_parts(main: &Db, post: &str, gather: &mut Gather) -> Result<(), HistoryError> {
    let bucket = bucket_of(post);
    let parts = parts_in(&main.sql, bucket).map_err(|source| main.failed("reading open parts of", source))?;
    for StoredPart { first_seq, rows, data } in parts {
        match part::runs(&data) {
            Some(runs) => {
                let own = runs.into_iter().filter(|(run, _, _)| *run == post);
                own.for_each(|(_, _, entries)| gather.add_entries(entries));
            }
            None => gather.answer.damaged.push(HistoryError::DamagedPart { bucket, first_seq, rows }),
        }
    }
    Ok(())
}

fn gather_month(
    dir: &Path,
    connections: &mut Connections,
    month: Month,
    post: &str,
    gather: &mut Gather,
) -> Result<(), HistoryError> {
    let db = match connections.months.entry(month) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(place) => match Db::open_to_read(dir.join(month.file_name()))? {
            Some(db) => place.insert(db),
            None => return Ok(()),
        },
    };
    let mut read = || -> rusqlite::Result<()> {
        let mut select = db.sql.prepare_cached(
            "SELECT t_min, rows, first_seq, data FROM chunk
                WHERE post = ?1 AND t_min < ?2 AND t_max >= ?3 ORDER BY t_min",
        )?;
        let mut chunks = select.query(params![post, gather.to.0, gather.first.0])?;
        while let Some(found) = chunks.next()? {
            if gather.is_done(Timestamp(found.get(0)?)) {
                break;
            }
            match chunk::decode(found.get_ref(3)?.as_blob()?) {
                Ok(rows) => gather.add(rows),
                Err(source) => gather.answer.damaged.push(HistoryError::DamagedChunk {
                    post: post.into(),
                    month,
                    first_seq: found.get::<_, i64>(2)?.cast_unsigned(),
                    rows: found.get(1)?,
                    source,
                }),
            }
        }
        Ok(())
    };
    read().map_err(|source| db.failed("reading chunks of", source))
}

/// Collects rows and knows when it has enough.
struct Gather {
    first: Timestamp,
    to: Timestamp,
    limit: usize,
    /// Time of the last row of the answer once the limit is reached: later rows need not be looked at.
    border: Option<Timestamp>,
    answer: Answer,
}

impl Gather {
    fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        let wanted = self.first..self.to;
        self.answer.rows.extend(rows.into_iter().filter(|row| wanted.contains(&row.stored_ts)));
        if self.answer.rows.len() > self.limit {
            self.tidy();
        }
    }

    fn add_entries(&mut self, entries: &[u8]) {
        self.add(part::entries(entries).filter_map(|(_, bytes)| {
            match record::decode(record::READING, bytes) {
                Ok(Record::Reading(reading)) => Some(Row::from(&reading)),
                _ => None,
            }
        }));
    }

    /// True when everything from `time` on lies behind the answer.
    fn is_done(&self, time: Timestamp) -> bool {
        self.border.is_some_and(|border| time > border)
    }

    /// Sorts, drops what was met twice, and cuts at the limit, but not between rows of the same millisecond.
    fn tidy(&mut self) {
        let mut rows = std::mem::take(&mut self.answer.rows);
        rows.sort_by_key(|row| (row.stored_ts, row.received_at, row.boot, row.seq));
        let kept = &mut self.answer.rows;
        for row in rows {
            let same = kept.iter().rev().take(64).take_while(|before| before.stored_ts == row.stored_ts);
            if !same.into_iter().any(|before| *before == row) {
                kept.push(row);
            }
        }
        if kept.len() > self.limit {
            let border = kept[self.limit - 1].stored_ts;
            kept.truncate(kept.partition_point(|row| row.stored_ts <= border));
            self.border = Some(border);
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
