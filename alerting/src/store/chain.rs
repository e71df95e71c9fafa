//! The hash chain over the event table.
//!
//! `hash = sha256(prev ‖ row)`, the row being its fields as `length:bytes` one after the other, so that no
//! two rows read alike. `prev` of row 1 is 32 zero bytes. `meta.chain_head` names the newest row, so that a
//! cut tail is noticed too. Whoever can write the file can forge all of it: the chain proves accidents and
//! careless edits; against a forger keep the head elsewhere (every notice could carry it; not done yet).

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::incident::hex;

/// `prev` of the first row.
pub(super) const START: [u8; 32] = [0; 32];

/// Fields of a row in the order they are hashed.
pub(super) struct Row<'a> {
    pub(super) seq: i64,
    pub(super) key: &'a str,
    pub(super) incident: &'a str,
    pub(super) at: i64,
    pub(super) kind: &'a str,
    pub(super) body: &'a str,
}

/// Hash of a row behind `prev`.
pub(super) fn hash(prev: &[u8], row: &Row<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    let (seq, at) = (row.seq.to_string(), row.at.to_string());
    for field in [&*seq, row.key, row.incident, &*at, row.kind, row.body] {
        hash.update(format!("{}:", field.len()));
        hash.update(field);
    }
    hash.finalize().into()
}

/// Text of `meta.chain_head`.
pub(super) fn head(seq: i64, hash: &[u8]) -> String {
    format!("{seq}:{}", hex(hash))
}

/// A chain that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Event rows.
    pub events: u64,
    /// Of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// `number:hash` of the newest row: written down elsewhere, it shows a forgery of the whole file.
    pub head: String,
}

/// The chain is broken, or could not be read. Stop trusting rows from there on; show it to people.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A row is not what was written, or its predecessor is not.
    #[error("event row {seq}: {what}")]
    BadRow {
        /// Number of the first bad row.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file cannot be read as an incident store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AuditError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::Sql(error))
    }
}

/// Checks every event row of a store file; works beside a running instance.
///
/// # Errors
/// [`AuditError::BadRow`] names the first row that is not as it was written.
pub fn verify_file(path: &Path) -> Result<Audit, AuditError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.pragma_update(None, "query_only", true)?;
    super::check_format(&conn)?;
    verify(&conn)
}

/// Checks every event row.
///
/// # Errors
/// [`AuditError`], see [`verify_file`].
pub(super) fn verify(conn: &Connection) -> Result<Audit, AuditError> {
    let bad = |seq, what| Err(AuditError::BadRow { seq, what });
    let read = conn.unchecked_transaction()?;
    let sql = "SELECT seq, key, incident, at, kind, body, prev, hash FROM event ORDER BY seq";
    let mut query = read.prepare(sql)?;
    let mut rows = query.query([])?;
    let (mut expected, mut last) = (1i64, START.to_vec());
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let text = |n: usize| row.get_ref(n).map(|v| v.as_str().unwrap_or_default().to_owned());
        let (key, incident, kind, body) = (text(1)?, text(2)?, text(4)?, text(5)?);
        let (prev, stored): (Vec<u8>, Vec<u8>) = (row.get(6)?, row.get(7)?);
        if seq != expected {
            return bad(expected, "is missing");
        }
        if prev != last {
            return bad(seq, "does not follow the row before it");
        }
        let fields = Row { seq, key: &key, incident: &incident, at: row.get(3)?, kind: &kind, body: &body };
        if hash(&prev, &fields)[..] != stored[..] {
            return bad(seq, "is not what was written");
        }
        *kinds.entry(kind).or_default() += 1;
        (expected, last) = (seq + 1, stored);
    }
    let sql = "SELECT value FROM meta WHERE key = 'chain_head'";
    let noted: Option<String> = read.query_row(sql, [], |row| row.get(0)).optional()?;
    let head_now = head(expected - 1, &last);
    if noted.unwrap_or_else(|| head(0, &START)) != head_now {
        return bad(expected, "the newest rows are missing");
    }
    Ok(Audit { events: expected.unsigned_abs() - 1, kinds, head: head_now })
}
