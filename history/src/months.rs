//! Month files: the closed chunks, one database file per UTC month.
//!
//! ```text
//! history-YYYY-MM.db     user_version 1, WAL, synchronous = FULL, pages of 8 KiB (some seven chunks on a page)
//!   chunk(post, t_min, t_max, rows, first_seq, data)       data: see chunk.rs; times are stored_ts, ms UTC
//! ```
//!
//! Invariants
//! - A month file holds rows of its month alone: a chunk's rows are split by month before they are encoded, so
//!   that deleting a file takes no row of another month with it, and a late row stands where it is looked for.
//! - Chunk borders depend on the order of the journal alone (see plan.rs), so writing again after a crash
//!   replaces each chunk by itself. Key: post, t_min, t_max, first_seq; the times come first so that a query
//!   finds its chunks in the index without touching the others.
//! - A file goes whole when its month ended more than `keep_days` ago, the oldest first and one per call: a
//!   clock that is wrong for an hour costs one month at most.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lampguard_model::Timestamp;
use rusqlite::params;

use crate::error::HistoryError;
use crate::month::Month;
use crate::store::Db;

const SCHEMA: &str = "
    CREATE TABLE chunk(post TEXT NOT NULL, t_min INTEGER NOT NULL, t_max INTEGER NOT NULL,
        rows INTEGER NOT NULL, first_seq INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (post, t_min, t_max, first_seq)) STRICT;
    PRAGMA user_version = 1;";

/// Month files kept open for writing: this month, the one before, and one for stragglers.
const OPEN_MAX: usize = 3;

/// A chunk to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk {
    pub(crate) post: Box<str>,
    pub(crate) t_min: Timestamp,
    pub(crate) t_max: Timestamp,
    pub(crate) rows: u32,
    pub(crate) first_seq: u64,
    pub(crate) data: Vec<u8>,
}

/// The month files, for writing.
#[derive(Debug)]
pub(crate) struct Months {
    dir: PathBuf,
    open: BTreeMap<Month, Db>,
}

impl Months {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: BTreeMap::new() }
    }

    /// Writes chunks, one synced transaction per month. Doing it again changes nothing.
    pub(crate) fn write(&mut self, chunks: &BTreeMap<Month, Vec<NewChunk>>) -> Result<(), HistoryError> {
        for (month, chunks) in chunks {
            let db = self.month(*month)?;
            let mut write = || -> rusqlite::Result<()> {
                let transaction =
                    db.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                let mut insert = transaction
                    .prepare_cached("INSERT OR REPLACE INTO chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
                for chunk in chunks {
                    let (first_seq, times) = (chunk.first_seq.cast_signed(), (chunk.t_min.0, chunk.t_max.0));
                    insert
                        .execute(params![chunk.post, times.0, times.1, chunk.rows, first_seq, chunk.data])?;
                }
                drop(insert);
                transaction.commit()
            };
            write().map_err(|source| db.failed("writing chunks to", source))?;
        }
        Ok(())
    }

    /// Closes every file, so that the next write begins with a fresh look; for after an error.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    fn month(&mut self, month: Month) -> Result<&mut Db, HistoryError> {
        if !self.open.contains_key(&month) {
            if self.open.len() >= OPEN_MAX {
                self.open.pop_first();
            }
            let path = self.dir.join(month.file_name());
            let is_new = !path.exists();
            let db = Db::open(path, 8192, 1024, SCHEMA)?;
            if is_new {
                sync_dir(&self.dir)?;
            }
            self.open.insert(month, db);
        }
        Ok(self.open.get_mut(&month).expect("the month was opened above"))
    }

    /// Deletes the oldest file whose month ended before `cutoff`, if there is one, and says which.
    pub(crate) fn retain(&mut self, cutoff: Timestamp) -> Result<Option<Month>, HistoryError> {
        let oldest = list(&self.dir)?.into_iter().next().filter(|month| month.end() <= cutoff);
        if let Some(month) = oldest {
            self.open.remove(&month);
            let path = self.dir.join(month.file_name());
            // The log goes first: without its database it is nothing, the other way round it could be taken
            // for the log of a new file of that name.
            for name in ["-wal", "-shm", ""] {
                let mut file = path.clone().into_os_string();
                file.push(name);
                match fs::remove_file(&file) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(HistoryError::Io { doing: "deleting", path: file.into(), source: e });
                    }
                    _ => {}
                }
            }
            sync_dir(&self.dir)?;
        }
        Ok(oldest)
    }

    /// Bytes of all history files.
    pub(crate) fn disk_bytes(&self) -> Result<u64, HistoryError> {
        let failed = |source| HistoryError::Io { doing: "listing", path: self.dir.clone(), source };
        let mut bytes = 0;
        for file in fs::read_dir(&self.dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            if file.file_name().to_string_lossy().starts_with("history") {
                // A file may go between the listing and the look at it.
                bytes += file.metadata().map_or(0, |data| data.len());
            }
        }
        Ok(bytes)
    }
}

/// The months that have a file, oldest first.
pub(crate) fn list(dir: &Path) -> Result<Vec<Month>, HistoryError> {
    let failed = |source| HistoryError::Io { doing: "listing", path: dir.to_owned(), source };
    let mut months = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        let name = file.map_err(failed)?.file_name();
        months.extend(name.to_str().and_then(Month::from_file_name));
    }
    months.sort_unstable();
    Ok(months)
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), HistoryError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| HistoryError::Io { doing: "syncing", path: dir.to_owned(), source })
}
