//! Refused payloads: kept with their reason, listed, and read again when the reason is gone.
//!
//! A follower of the journal with its own small database `quarantine.db`; its cursor moves in the same
//! transaction as its rows. Bounded by bytes: the oldest payloads go first, counted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lampguard_journal::{Follower, Frame, Reader};
use lampguard_model::Timestamp;
use lampguard_model::record::{self, Record};
use lampguard_model::wire::{REFUSALS, Refusal};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use tracing::{info, warn};

use crate::intake::Tally;

/// Payloads that one `list` or `retry` handles.
pub const PAGE_MAX: usize = 1000;
/// Bytes of payloads that one page holds; the last one may reach beyond.
const PAGE_BYTES: usize = 8 << 20;
const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (cursor INTEGER NOT NULL, dropped INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (0, 0);
CREATE TABLE payload (
    id INTEGER PRIMARY KEY,            -- number in the journal
    received_at INTEGER NOT NULL,      -- ms UTC
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    topic TEXT NOT NULL,
    full_length INTEGER NOT NULL,      -- bytes of the whole payload
    hash BLOB NOT NULL,                -- first 8 bytes of its SHA-256
    payload BLOB NOT NULL,             -- whole, or the first 64 KiB of one over the packet limit
    released_at INTEGER                -- ms UTC; read after all
) STRICT;
PRAGMA user_version = 1;
";

/// The quarantine could not be used.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The database said no.
    #[error("quarantine {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A newer version made the file.
    #[error("quarantine {}: format {found}, this version reads up to {FORMAT}; use the newer lampguard", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
}

/// One refused payload.
#[derive(Clone, Debug, Serialize)]
pub struct Payload {
    /// Number in the journal.
    pub id: u64,
    /// When we got it.
    pub received_at: Timestamp,
    /// Where it came in.
    pub source: String,
    /// Why it was refused.
    pub reason: String,
    /// Topic it came on.
    pub topic: String,
    /// Bytes of the whole payload.
    pub full_length: u32,
    /// Its beginning as text, for people: at most 200 characters, unreadable bytes as `�`.
    pub preview: String,
    /// The payload; of one over the packet limit its first 64 KiB.
    #[serde(skip)]
    pub payload: Vec<u8>,
}

impl Payload {
    /// The refusal behind the reason word.
    pub fn refusal(&self) -> Refusal {
        REFUSALS.into_iter().find(|refusal| refusal.word() == self.reason).unwrap_or(Refusal::Json)
    }

    /// True when all of it was kept, so that it can be read again.
    pub fn is_whole(&self) -> bool {
        self.payload.len() as u64 == u64::from(self.full_length)
    }
}

/// The quarantine of one data directory.
pub struct Quarantine {
    connection: Connection,
    path: PathBuf,
    max_bytes: u64,
}

impl Quarantine {
    /// Opens or makes it; also beside a running instance.
    ///
    /// # Errors
    /// [`QuarantineError`]: stop and show it.
    pub fn open(data_dir: &Path, max_bytes: u64) -> Result<Self, QuarantineError> {
        let path = data_dir.join("quarantine.db");
        let failed = |source| QuarantineError::Database { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        match found {
            0 => connection.execute_batch(&format!("BEGIN;{SCHEMA}COMMIT;")).map_err(failed)?,
            FORMAT => {}
            found => return Err(QuarantineError::Newer { path, found }),
        }
        Ok(Self { connection, path, max_bytes })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> QuarantineError + use<> {
        let path = self.path.clone();
        move |source| QuarantineError::Database { path: path.clone(), source }
    }

    /// How far it has taken the journal.
    ///
    /// # Errors
    /// What the database said.
    pub fn cursor(&self) -> Result<u64, QuarantineError> {
        let cursor: i64 = self
            .connection
            .query_row("SELECT cursor FROM meta", [], |row| row.get(0))
            .map_err(self.failed())?;
        Ok(cursor.cast_unsigned())
    }

    /// Payloads not read after all, oldest first, from this number on; `reason` picks one kind. Fewer than `limit`
    /// when they are long: only an empty answer is the end.
    ///
    /// # Errors
    /// What the database said.
    pub fn list(
        &self,
        from: u64,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Vec<Payload>, QuarantineError> {
        let sql = "SELECT id, received_at, source, reason, topic, full_length, payload FROM payload
                   WHERE released_at IS NULL AND id >= ?1 AND (?2 IS NULL OR reason = ?2) ORDER BY id LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(self.failed())?;
        let rows =
            statement.query_map(params![from.cast_signed(), reason, limit.min(PAGE_MAX) as i64], |row| {
                let payload: Vec<u8> = row.get(6)?;
                let preview = String::from_utf8_lossy(&payload[..payload.len().min(800)]);
                Ok(Payload {
                    id: row.get::<_, i64>(0)?.cast_unsigned(),
                    received_at: Timestamp(row.get(1)?),
                    source: row.get(2)?,
                    reason: row.get(3)?,
                    topic: row.get(4)?,
                    full_length: row.get(5)?,
                    preview: preview
                        .chars()
                        .map(|c| if c.is_control() { ' ' } else { c })
                        .take(200)
                        .collect(),
                    payload,
                })
            });
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        for payload in rows.map_err(self.failed())? {
            let payload: Payload = payload.map_err(self.failed())?;
            bytes += payload.payload.len();
            payloads.push(payload);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(payloads)
    }

    /// Notes what reading a payload again gave. True when all of it was read: it is released. What was read in part
    /// stays, under the reason by which its rest is counted from now on.
    ///
    /// # Errors
    /// What the database said.
    pub fn conclude(&self, id: u64, tally: &Tally, now: Timestamp) -> Result<bool, QuarantineError> {
        let id = id.cast_signed();
        if tally.stored + tally.duplicate == 0 {
            return Ok(false);
        }
        let rest = tally.quarantined.first();
        let noted = match rest {
            None => {
                let sql = "UPDATE payload SET released_at = ?2, payload = x'' WHERE id = ?1";
                self.connection.execute(sql, params![id, now.0])
            }
            Some((_, reason)) => {
                self.connection.execute("UPDATE payload SET reason = ?2 WHERE id = ?1", params![id, reason])
            }
        };
        noted.map_err(self.failed())?;
        Ok(rest.is_none())
    }

    /// Takes refused payloads and moves the cursor, in one transaction.
    fn take(
        &mut self,
        refused: &[(u64, record::Quarantined<'_>)],
        cursor: u64,
    ) -> Result<(), QuarantineError> {
        let failed = self.failed();
        let transaction = self.connection.transaction().map_err(&failed)?;
        for (id, refused) in refused {
            let sql = "INSERT OR IGNORE INTO payload VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)";
            let values = params![
                id.cast_signed(),
                refused.received_at.0,
                refused.source.name(),
                refused.reason,
                refused.topic,
                refused.full_length,
                refused.hash,
                refused.payload
            ];
            transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(&failed)?;
        }
        transaction.execute("UPDATE meta SET cursor = ?1", [cursor.cast_signed()]).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    /// Removes the oldest payloads while there are too many bytes. Returns how many went.
    fn shrink(&self) -> Result<usize, QuarantineError> {
        let bytes: i64 = self
            .connection
            .query_row(
                "SELECT coalesce(sum(length(payload) + length(topic) + 100), 0) FROM payload",
                [],
                |r| r.get(0),
            )
            .map_err(self.failed())?;
        let over = u64::try_from(bytes).unwrap_or(0).saturating_sub(self.max_bytes);
        if over == 0 {
            return Ok(0);
        }
        let sql = "SELECT id FROM (SELECT id, sum(length(payload) + length(topic) + 100) OVER (ORDER BY id) AS total
                   FROM payload) WHERE total >= ?1 ORDER BY id LIMIT 1";
        let last: Option<i64> = self
            .connection
            .query_row(sql, [over as i64], |row| row.get(0))
            .optional()
            .map_err(self.failed())?;
        let gone =
            self.connection.execute("DELETE FROM payload WHERE id <= ?1", [last]).map_err(self.failed())?;
        self.connection
            .execute("UPDATE meta SET dropped = dropped + ?1", [gone as i64])
            .map_err(self.failed())?;
        Ok(gone)
    }
}

/// Rows of one transaction.
const ROWS: usize = 500;

/// A commit is a sync, so frames without refused payloads move the cursor only every so many records.
const CURSOR_EVERY: u64 = 100_000;

/// The follower's loop, on its own thread, until the journal is closed.
pub fn follow(quarantine: Quarantine, journal_dir: &Path, follower: &Follower) {
    let cursor = quarantine.cursor().unwrap_or(0);
    let mut work = Work { quarantine, journal_dir, follower, cursor, reader: None };
    let mut told = false;
    loop {
        match work.catch_up() {
            Ok(()) if told => {
                info!("quarantine is written again");
                told = false;
            }
            Ok(()) => {}
            Err(e) => {
                // The next try reads from the cursor again; rows that are there already are left alone.
                work.reader = None;
                if !told {
                    warn!(error = %e, "quarantine cannot be written; the journal keeps the payloads");
                    told = true;
                }
            }
        }
        if follower.tail().is_closed() {
            return;
        }
        let position = work.reader.as_ref().map_or(work.cursor, Reader::position);
        follower.tail().wait_past(position, Duration::from_secs(1));
        // A little more may have come in the meantime; refused payloads are in no hurry.
        std::thread::sleep(Duration::from_millis(if told { 1000 } else { 100 }));
    }
}

struct Work<'a> {
    quarantine: Quarantine,
    journal_dir: &'a Path,
    follower: &'a Follower,
    cursor: u64,
    reader: Option<Reader>,
}

impl Work<'_> {
    fn catch_up(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let (end, closing) = (self.follower.tail().end(), self.follower.tail().is_closed());
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(Reader::open(self.journal_dir, self.cursor)?),
        };
        let (mut taken, mut position) = (0, reader.position());
        while let Some(frame) = reader.next(end)? {
            let refused = refused_in(&frame, self.cursor);
            taken += refused.len();
            for part in refused.chunks(ROWS) {
                self.quarantine.take(part, part.last().map_or(self.cursor, |(seq, _)| seq + 1))?;
            }
            position = frame.end_seq();
            self.follower.report(position);
        }
        if taken > 0 || position >= self.cursor + CURSOR_EVERY || (closing && position > self.cursor) {
            self.quarantine.take(&[], position)?;
            self.cursor = position;
            self.follower.keep_from(position);
        }
        if taken > 0 {
            let gone = self.quarantine.shrink()?;
            if gone > 0 {
                let max_bytes = self.quarantine.max_bytes;
                warn!(gone, max_bytes, "quarantine is full: the oldest payloads went");
            }
        }
        Ok(())
    }
}

fn refused_in<'f>(frame: &Frame<'f>, cursor: u64) -> Vec<(u64, record::Quarantined<'f>)> {
    let records = frame.records().filter(|(seq, kind, _)| *seq >= cursor && *kind == record::QUARANTINED);
    let refused = records.filter_map(|(seq, kind, bytes)| match record::decode(kind, bytes) {
        Ok(Record::Quarantined(refused)) => Some((seq, refused)),
        _ => None,
    });
    refused.collect()
}
