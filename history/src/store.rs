//! The main database: cursor, latest readings, waiting rows, roll-ups, gaps.
//!
//! ```text
//! history.db             user_version 1, WAL, synchronous = FULL
//!   meta(id = 1, cursor)                       first journal sequence that is not in here
//!   post(post, open_rows, record, aged)        rows that wait in open parts; latest reading, see latest.rs
//!   open_part(id, bucket, first_seq, rows, t_min, t_max, data)      see part.rs
//!   damaged_part(bucket, first_seq, rows, data)                     kept for whoever wants to look
//!   rollup(zone, minute, …)                    minute: its start, ms UTC; values in thousandths
//!   gap(from_seq, to_seq, noted_at)            sequences the journal could not deliver any more, end open
//! history-YYYY-MM.db     see months.rs
//! ```
//!
//! Invariants
//! - Cursor, latest, parts, roll-ups and gaps move in one transaction: after any crash each record counts once.
//! - A chunk is durable in its month file before the transaction that removes its rows from the parts.
//!   Between the two it stands in both; readers drop equal rows.
//! - The commit is synced (`FULL`) in both files, because the journal trims by this cursor. Once a minute
//!   that costs nothing; `NORMAL` would do for the data alone, the journal being the durable copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lampguard_model::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use crate::error::HistoryError;
use crate::latest::Latest;
use crate::part::Batch;
use crate::plan::Plan;
use crate::rollup::Rollup;

/// Format number of both kinds of files.
pub(crate) const FORMAT: i64 = 1;
/// How long a connection waits for another one.
const BUSY: Duration = Duration::from_secs(5);
/// Most gaps that are remembered; the oldest go first.
const GAPS_MAX: u32 = 1000;

const SCHEMA: &str = "
    CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK (id = 1), cursor INTEGER NOT NULL) STRICT;
    CREATE TABLE post(post TEXT PRIMARY KEY, open_rows INTEGER NOT NULL, record BLOB, aged BLOB)
        STRICT, WITHOUT ROWID;
    CREATE TABLE open_part(id INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, first_seq INTEGER NOT NULL,
        rows INTEGER NOT NULL, t_min INTEGER NOT NULL, t_max INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE INDEX open_part_bucket ON open_part(bucket);
    CREATE TABLE damaged_part(bucket INTEGER NOT NULL, first_seq INTEGER NOT NULL, rows INTEGER NOT NULL,
        data BLOB NOT NULL) STRICT;
    CREATE TABLE rollup(zone TEXT NOT NULL, minute INTEGER NOT NULL, readings INTEGER NOT NULL,
        alarms INTEGER NOT NULL, immersed INTEGER NOT NULL, leakage_ma_max INTEGER,
        leakage_ma_sum INTEGER NOT NULL, leakage_count INTEGER NOT NULL, shell_v_max INTEGER,
        supply_v_min INTEGER, supply_v_max INTEGER, PRIMARY KEY (zone, minute)) STRICT, WITHOUT ROWID;
    CREATE TABLE gap(from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, noted_at INTEGER NOT NULL) STRICT;
    PRAGMA user_version = 1;";

/// A database with the path that its errors name.
#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) path: PathBuf,
    pub(crate) sql: Connection,
}

impl Db {
    /// Opens for writing, makes the tables if they are not there, and checks the format.
    pub(crate) fn open(
        path: PathBuf,
        page_size: u32,
        cache_kib: u32,
        schema: &str,
    ) -> Result<Self, HistoryError> {
        let sql = Connection::open(&path).map_err(|source| failed("opening", &path, source))?;
        let mut db = Self { path, sql };
        db.prepare(page_size, cache_kib, schema).map_err(|source| failed("preparing", &db.path, source))?;
        db.check_format()?;
        db.make_durable()?;
        Ok(db)
    }

    /// Carries the write-ahead log over into the database and syncs it. After a failed sync this makes sure
    /// that what can be read is also durable, before anything is built on it.
    fn make_durable(&self) -> Result<(), HistoryError> {
        let checkpoint = self.sql.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get::<_, i64>(0));
        match checkpoint.map_err(|source| self.failed("syncing", source))? {
            0 => Ok(()),
            _ => Err(HistoryError::Busy { path: self.path.clone() }),
        }
    }

    fn prepare(&mut self, page_size: u32, cache_kib: u32, schema: &str) -> rusqlite::Result<()> {
        self.sql.busy_timeout(BUSY)?;
        self.sql.execute_batch(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA cache_size = -{cache_kib}; PRAGMA journal_size_limit = 4194304; PRAGMA wal_autocheckpoint = {};",
            4_194_304 / page_size
        ))?;
        self.sql.set_prepared_statement_cache_capacity(16);
        if self.format()? == 0 {
            let transaction = self.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute_batch(schema)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Opens for reading; `None` while the file has no tables yet.
    pub(crate) fn open_to_read(path: PathBuf) -> Result<Option<Self>, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql =
            Connection::open_with_flags(&path, flags).map_err(|source| failed("opening", &path, source))?;
        let db = Self { path, sql };
        let ready =
            db.sql.busy_timeout(BUSY).and_then(|()| db.sql.execute_batch("PRAGMA cache_size = -256;"));
        let format = ready.and_then(|()| db.format()).map_err(|source| db.failed("opening", source))?;
        db.check_format()?;
        Ok((format != 0).then_some(db))
    }

    fn format(&self) -> rusqlite::Result<i64> {
        self.sql.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    fn check_format(&self) -> Result<(), HistoryError> {
        let found = self.format().map_err(|source| self.failed("reading the format of", source))?;
        if found > FORMAT {
            return Err(HistoryError::Newer { path: self.path.clone(), found, known: FORMAT });
        }
        Ok(())
    }

    pub(crate) fn failed(&self, doing: &'static str, source: rusqlite::Error) -> HistoryError {
        failed(doing, &self.path, source)
    }
}

fn failed(doing: &'static str, path: &Path, source: rusqlite::Error) -> HistoryError {
    HistoryError::Database { doing, path: path.to_owned(), source }
}

/// The main database, open for writing.
#[derive(Debug)]
pub(crate) struct Main {
    db: Db,
}

/// Name of the main database's file.
pub(crate) const MAIN_FILE: &str = "history.db";

impl Main {
    pub(crate) fn open(dir: &Path) -> Result<Self, HistoryError> {
        Ok(Self { db: Db::open(dir.join(MAIN_FILE), 4096, 2048, SCHEMA)? })
    }

    pub(crate) fn cursor(&self) -> Result<Option<u64>, HistoryError> {
        cursor_in(&self.db.sql).map_err(|source| self.db.failed("reading the cursor of", source))
    }

    /// Calls `each` with post, waiting rows, saved record and old fields.
    pub(crate) fn posts(
        &self,
        mut each: impl FnMut(&str, u32, Option<(&[u8], &[u8])>),
    ) -> Result<(), HistoryError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut select = self.db.sql.prepare("SELECT post, open_rows, record, aged FROM post")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let record = row.get_ref(2)?.as_blob_or_null()?;
                let saved =
                    record.map(|record| Ok::<_, rusqlite::Error>((record, row.get_ref(3)?.as_blob()?)));
                each(row.get_ref(0)?.as_str()?, row.get(1)?, saved.transpose()?);
            }
            Ok(())
        };
        read().map_err(|source| self.db.failed("reading posts of", source))
    }

    /// The parts of a bucket in the order in which they came.
    pub(crate) fn parts(&self, bucket: u8) -> Result<Vec<StoredPart>, HistoryError> {
        parts_in(&self.db.sql, bucket).map_err(|source| self.db.failed("reading open parts of", source))
    }

    /// Writes a batch, its plan and the latest readings of its posts in one synced transaction.
    pub(crate) fn commit(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        latest: &Latest,
        now: Timestamp,
    ) -> Result<(), HistoryError> {
        let mut write = || -> rusqlite::Result<()> {
            let transaction =
                self.db.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            write_parts(&transaction, plan)?;
            write_posts(&transaction, plan, latest)?;
            let mut merge = transaction.prepare_cached(MERGE_ROLLUP)?;
            for (zone, minute, rollup) in batch.rollups.iter() {
                merge_rollup(&mut merge, zone, minute, rollup)?;
            }
            drop(merge);
            write_gaps(&transaction, batch, now)?;
            transaction.execute("INSERT OR REPLACE INTO meta VALUES (1, ?1)", [batch.end.cast_signed()])?;
            transaction.commit()
        };
        write().map_err(|source| self.db.failed("writing", source))
    }

    /// Sets the cursor back or forth, when the journal is another one than before.
    pub(crate) fn set_cursor(&mut self, cursor: u64) -> Result<(), HistoryError> {
        let set = self.db.sql.execute("INSERT OR REPLACE INTO meta VALUES (1, ?1)", [cursor.cast_signed()]);
        set.map(drop).map_err(|source| self.db.failed("writing", source))
    }

    /// Deletes up to 10,000 roll-ups from before `cutoff`, and the posts named.
    pub(crate) fn forget(&mut self, cutoff: Timestamp, posts: &[Box<str>]) -> Result<(), HistoryError> {
        let mut write = || -> rusqlite::Result<()> {
            let transaction =
                self.db.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute(
                "DELETE FROM rollup WHERE (zone, minute) IN
                    (SELECT zone, minute FROM rollup WHERE minute < ?1 LIMIT 10000)",
                [cutoff.0],
            )?;
            for post in posts {
                transaction.execute("UPDATE post SET record = NULL, aged = NULL WHERE post = ?1", [post])?;
                transaction.execute("DELETE FROM post WHERE post = ?1 AND open_rows = 0", [post])?;
            }
            transaction.commit()
        };
        write().map_err(|source| self.db.failed("forgetting old roll-ups of", source))
    }
}

fn write_parts(transaction: &Transaction<'_>, plan: &Plan) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM open_part WHERE bucket = ?1")?;
    for bucket in &plan.emptied {
        delete.execute([bucket])?;
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO open_part(bucket, first_seq, rows, t_min, t_max, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for part in &plan.parts {
        let (first_seq, times) = (part.first_seq.cast_signed(), (part.t_min.0, part.t_max.0));
        insert.execute(params![part.bucket, first_seq, part.rows, times.0, times.1, part.data])?;
    }
    let mut keep = transaction.prepare_cached("INSERT INTO damaged_part VALUES (?1, ?2, ?3, ?4)")?;
    for (bucket, part) in &plan.damaged {
        keep.execute(params![bucket, part.first_seq.cast_signed(), part.rows, part.data])?;
    }
    Ok(())
}

fn write_posts(transaction: &Transaction<'_>, plan: &Plan, latest: &Latest) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO post VALUES (?1, ?2, ?3, ?4) ON CONFLICT(post) DO UPDATE
            SET open_rows = ?2, record = coalesce(?3, record), aged = coalesce(?4, aged)",
    )?;
    for (post, open_rows) in &plan.open_rows {
        let (record, aged) = latest.saved(post).unzip();
        upsert.execute(params![post, open_rows, record, aged])?;
    }
    Ok(())
}

const MERGE_ROLLUP: &str = "INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT(zone, minute) DO UPDATE SET
        readings = readings + excluded.readings,
        alarms = alarms + excluded.alarms,
        immersed = immersed + excluded.immersed,
        leakage_ma_max = coalesce(max(leakage_ma_max, excluded.leakage_ma_max), leakage_ma_max,
            excluded.leakage_ma_max),
        leakage_ma_sum = leakage_ma_sum + excluded.leakage_ma_sum,
        leakage_count = leakage_count + excluded.leakage_count,
        shell_v_max = coalesce(max(shell_v_max, excluded.shell_v_max), shell_v_max, excluded.shell_v_max),
        supply_v_min = coalesce(min(supply_v_min, excluded.supply_v_min), supply_v_min, excluded.supply_v_min),
        supply_v_max = coalesce(max(supply_v_max, excluded.supply_v_max), supply_v_max, excluded.supply_v_max)";

fn merge_rollup(
    merge: &mut rusqlite::Statement<'_>,
    zone: &str,
    minute: i64,
    rollup: &Rollup,
) -> rusqlite::Result<()> {
    merge.execute(params![
        zone,
        minute,
        rollup.readings.cast_signed(),
        rollup.alarms.cast_signed(),
        rollup.immersed.cast_signed(),
        rollup.leakage_ma_max,
        rollup.leakage_ma_sum,
        rollup.leakage_count.cast_signed(),
        rollup.shell_v_max,
        rollup.supply_v_min,
        rollup.supply_v_max,
    ])?;
    Ok(())
}

fn write_gaps(transaction: &Transaction<'_>, batch: &Batch, now: Timestamp) -> rusqlite::Result<()> {
    for (from, to) in &batch.gaps {
        transaction.execute(
            "INSERT INTO gap VALUES (?1, ?2, ?3)",
            params![from.cast_signed(), to.cast_signed(), now.0],
        )?;
    }
    if !batch.gaps.is_empty() {
        let newest = "DELETE FROM gap WHERE rowid <= (SELECT max(rowid) FROM gap) - ?1";
        transaction.execute(newest, [GAPS_MAX])?;
    }
    Ok(())
}

/// The cursor; `None` in a new database.
pub(crate) fn cursor_in(sql: &Connection) -> rusqlite::Result<Option<u64>> {
    let cursor = sql.query_row("SELECT cursor FROM meta", [], |row| row.get::<_, i64>(0));
    Ok(cursor.optional()?.map(i64::cast_unsigned))
}

/// A part as it stands in the database.
#[derive(Clone, Debug)]
pub(crate) struct StoredPart {
    pub(crate) first_seq: u64,
    pub(crate) rows: u32,
    pub(crate) data: Vec<u8>,
}

/// The parts of a bucket in the order in which they came.
pub(crate) fn parts_in(sql: &Connection, bucket: u8) -> rusqlite::Result<Vec<StoredPart>> {
    let mut select =
        sql.prepare_cached("SELECT first_seq, rows, data FROM open_part WHERE bucket = ?1 ORDER BY id")?;
    let parts = select.query_map([bucket], |row| {
        let first_seq = row.get::<_, i64>(0)?.cast_unsigned();
        Ok(StoredPart { first_seq, rows: row.get(1)?, data: row.get(2)? })
    })?;
    parts.collect()
}
