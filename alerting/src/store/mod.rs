//! The incident store: one SQLite file, one writer, every group of effects one transaction.
//!
//! `format_1.sql` draws the tables, each later `format_N.sql` what was added; a file of an older format is brought
//! up in one transaction. `PRAGMA user_version` is the format version; a newer file is refused and left as it is. `synchronous=FULL`: what was committed survives a power cut.

mod chain;
mod read;
mod report;

pub use chain::{Audit, AuditError, verify_file};
pub use read::{LastEnded, NoticeView, Reads};
pub(crate) use read::{Listed, Message, Named};
pub use report::NoticeFilter;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lampguard_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::engine::{Job, Memory, Recheck};
use crate::incident::{Event, Incident};
use crate::notice::{Notice, PROOF};
use crate::rota::Changes;
use crate::test_dispatch::Test;
use crate::wet::Weather;

/// Name of the file in the data directory.
pub const FILE: &str = "incidents.db";
/// What makes each format out of the one before.
const FORMATS: [&str; 3] =
    [include_str!("format_1.sql"), include_str!("format_2.sql"), include_str!("format_3.sql")];
/// Format this version writes.
const FORMAT: i64 = FORMATS.len() as i64;
/// Letters of an error that stay in the record for good.
const ERROR_KEPT: usize = 300;
/// How long a statement waits for another process's lock. Telling does not wait for it.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);

/// The incident store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer lampguard wrote it. Stop: use that version, or another data directory.
    #[error("incident store has format {found}, this version knows {FORMAT}: use a newer lampguard")]
    Newer {
        /// Format found.
        found: i64,
    },
    /// Reading or writing failed. While running: kept in memory and tried again.
    #[error("incident store: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The directory cannot be made. Stop.
    #[error("incident store: making {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row holds what no version wrote. Stop: run `audit verify`.
    #[error("incident store: {what} of {id} is not readable")]
    Unreadable {
        /// Which column.
        what: &'static str,
        /// Of which row.
        id: String,
    },
}

impl StoreError {
    /// True when the write itself is at fault and trying again cannot help.
    pub fn is_final(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TypeMismatch};
        match self {
            Self::Sql(error) => matches!(error.sqlite_error_code(), Some(ConstraintViolation | TypeMismatch)),
            _ => true,
        }
    }
}

/// One attempt to tell.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Notice.
    pub notice: Arc<Notice>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// When it was made.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Sent,
    /// Not accepted; tried again at this time.
    Retry(Timestamp, String),
    /// Not accepted, and no retry can mend it, or none did within a day; given up.
    Failed(String),
    /// Accepted before; now the provider says that it arrived.
    Delivered,
    /// Accepted before; now the provider says that it did not arrive.
    Undelivered(String),
}

impl Outcome {
    /// The word in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retry(..) => "retry",
            Self::Failed(_) => "failed",
            Self::Delivered => "delivered",
            Self::Undelivered(_) => "undelivered",
        }
    }
}

/// The words of all outcomes.
pub const OUTCOME_WORDS: [&str; 5] = ["sent", "retry", "failed", "delivered", "undelivered"];

/// One group of changes that belong together.
#[derive(Clone, Debug)]
pub enum Write {
    /// An incident opened, with its event and its notices.
    Open(Box<Incident>, Event, Vec<Arc<Notice>>),
    /// An open incident changed.
    Change(Box<Incident>, Event),
    /// An open incident became graver, with the notices that say so.
    Escalate(Box<Incident>, Event, Vec<Arc<Notice>>),
    /// People did something to an incident, with its notices.
    Moved(Box<Incident>, Event, Vec<Arc<Notice>>),
    /// Rungs of many incidents were told in lists; without incidents, that a flood began or ended.
    Many(Vec<Incident>, Event),
    /// Planned work began, changed, or (true) is over; with its notices.
    Job(Box<Job>, bool, Event, Vec<Arc<Notice>>),
    /// Tasks for the next rain, with their notices.
    Recheck(Vec<Recheck>, Event, Vec<Arc<Notice>>),
    /// Duty by date and overrides, as they are from now on.
    Rota(Box<Changes>, Event),
    /// What happened to no incident.
    Events(Vec<Event>),
    /// Notices without an incident.
    Notices(Vec<Arc<Notice>>),
    /// A notice was tried.
    Delivery(Delivery),
    /// Tests of people as they are now, what happened to them, and their notices.
    Tests(Vec<Test>, Event, Vec<Arc<Notice>>),
    /// We live at this moment: shows that the store takes writes, and after a restart how long nobody watched.
    Alive(Timestamp),
    /// The weather of a zone.
    Weather(Arc<str>, Box<Weather>),
    /// What must outlive a restart about a post.
    Remember(Memory),
    /// Replay starts here next time, with the weather as it was.
    Cursor {
        /// Journal sequence.
        seq: u64,
        /// JSON of the sky.
        sky: String,
    },
}

impl Write {
    /// True for what may be dropped when memory is full: the next one of its kind says it again, or the
    /// journal does. Incidents and what people did are never dropped.
    pub fn is_expendable(&self) -> bool {
        !matches!(
            self,
            Self::Open(..)
                | Self::Escalate(..)
                | Self::Moved(..)
                | Self::Many(..)
                | Self::Job(..)
                | Self::Recheck(..)
                | Self::Rota(..)
                | Self::Events(..)
                | Self::Tests(..)
        )
    }
}

/// The one writing connection.
#[derive(Debug)]
pub struct Store {
    conn: Connection,
}

/// Refuses a file of a newer format; returns the format found, 0 for a new file.
pub(crate) fn check_format(conn: &Connection) -> Result<i64, StoreError> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > FORMAT { Err(StoreError::Newer { found }) } else { Ok(found) }
}

impl Store {
    /// Opens or makes `incidents.db` in `dir`.
    ///
    /// # Errors
    /// [`StoreError`]: stop and show it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|source| StoreError::Directory { path: dir.to_owned(), source })?;
        let mut conn = Connection::open(dir.join(FILE))?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        let found = check_format(&conn)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        if found < FORMAT {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = usize::try_from(check_format(&tx)?).unwrap_or(0);
            for sql in &FORMATS[found..] {
                tx.execute_batch(sql)?;
            }
            tx.pragma_update(None, "user_version", FORMAT)?;
            tx.commit()?;
        }
        Ok(Self { conn })
    }

    /// Writes all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Sql`]: nothing was written; try again unless [`StoreError::is_final`].
    pub fn commit<'w>(&mut self, writes: impl IntoIterator<Item = &'w Write>) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for write in writes {
            apply(&tx, write)?;
        }
        Ok(tx.commit()?)
    }

    /// Reads what a start needs.
    pub fn reads(&self) -> Reads<'_> {
        Reads::new(&self.conn)
    }

    /// Lets the file grow by at most `pages` more pages: a full disk, for tests.
    #[cfg(test)]
    pub(crate) fn limit_growth(&self, pages: i64) {
        let now: i64 = self.conn.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        let sql = format!("PRAGMA max_page_count = {}", now + pages);
        self.conn.query_row(&sql, [], |_| Ok(())).unwrap();
    }
}

/// A second connection to the file in `dir`, for reading only.
///
/// # Errors
/// [`StoreError`]: try again later; open incidents are in memory.
pub(crate) fn open_for_reading(dir: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(dir.join(FILE))?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

fn apply(tx: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Open(incident, event, notices) => {
            insert_incident(tx, incident)?;
            append(tx, event)?;
            insert_notices(tx, notices)?;
        }
        Write::Change(incident, event) => change(tx, incident, event)?,
        Write::Moved(incident, event, notices) => {
            change(tx, incident, event)?;
            insert_notices(tx, notices)?;
        }
        Write::Many(incidents, event) => {
            append(tx, event)?;
            for incident in incidents {
                update(tx, incident)?;
            }
        }
        Write::Job(job, over, event, notices) => {
            append(tx, event)?;
            let sql = "INSERT INTO maintenance (id, until, ended, job) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (id) DO UPDATE SET until = excluded.until, ended = excluded.ended,
                       job = excluded.job";
            tx.prepare_cached(sql)?.execute(params![job.id, job.until.0, over, json(job)])?;
            insert_notices(tx, notices)?;
        }
        Write::Recheck(tasks, event, notices) => {
            append(tx, event)?;
            let sql = "INSERT INTO recheck (post_id, done, task) VALUES (?1, ?2, ?3)
                       ON CONFLICT (post_id) DO UPDATE SET done = excluded.done, task = excluded.task";
            for task in tasks {
                let row = params![task.post, task.done_at.is_some(), json(task)];
                tx.prepare_cached(sql)?.execute(row)?;
            }
            insert_notices(tx, notices)?;
        }
        Write::Escalate(incident, event, notices) => {
            change(tx, incident, event)?;
            insert_notices(tx, notices)?;
        }
        Write::Rota(changes, event) => {
            append(tx, event)?;
            let sql = "INSERT INTO rota (id, changes) VALUES (1, ?1)
                       ON CONFLICT (id) DO UPDATE SET changes = excluded.changes";
            tx.prepare_cached(sql)?.execute([json(changes)])?;
        }
        Write::Events(events) => events.iter().try_for_each(|event| append(tx, event))?,
        Write::Notices(notices) => insert_notices(tx, notices)?,
        Write::Delivery(delivery) => deliver(tx, delivery)?,
        Write::Tests(tests, event, notices) => keep_tests(tx, tests, event, notices)?,
        Write::Alive(at) => set_meta(tx, "alive_at", &at.0.to_string())?,
        Write::Weather(zone, weather) => {
            let sql = "INSERT INTO weather (zone, state) VALUES (?1, ?2)
                       ON CONFLICT (zone) DO UPDATE SET state = excluded.state";
            tx.prepare_cached(sql)?.execute(params![zone, json(weather)])?;
        }
        Write::Remember(m) => {
            let sql = "INSERT INTO memory (post_id, unlit_s, lit_s, immersed_at, habits) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (post_id) DO UPDATE SET unlit_s = excluded.unlit_s,
                       lit_s = excluded.lit_s, immersed_at = excluded.immersed_at, habits = excluded.habits";
            let row =
                params![m.post, m.period_s[0], m.period_s[1], m.immersed_at.map(|t| t.0), json(&m.habits)];
            tx.prepare_cached(sql)?.execute(row)?;
        }
        Write::Cursor { seq, sky } => {
            set_meta(tx, "cursor", &seq.to_string())?;
            set_meta(tx, "cursor_sky", sky)?;
        }
    }
    Ok(())
}

fn keep_tests(
    tx: &Transaction<'_>,
    tests: &[Test],
    event: &Event,
    notices: &[Arc<Notice>],
) -> Result<(), StoreError> {
    append(tx, event)?;
    let sql = "INSERT INTO test_dispatch (id, slot_at, test) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET test = excluded.test";
    for test in tests {
        tx.prepare_cached(sql)?.execute(params![test.id, test.slot_at.0, json(test)])?;
    }
    insert_notices(tx, notices)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn notes(incident: &Incident) -> String {
    json(&incident.notes)
}

fn kinds(incident: &Incident) -> String {
    let names: Vec<&str> = incident.kinds.iter().map(|kind| kind.name()).collect();
    names.join(",")
}

fn set_meta(tx: &Transaction<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.prepare_cached(sql)?.execute(params![key, value])?;
    Ok(())
}

/// What may change by itself. A deadline only becomes earlier.
fn change(tx: &Transaction<'_>, incident: &Incident, event: &Event) -> Result<(), StoreError> {
    append(tx, event)?;
    update(tx, incident)
}

fn update(tx: &Transaction<'_>, incident: &Incident) -> Result<(), StoreError> {
    let sql = "UPDATE incident SET signal = ?2, notes = ?3, kinds = ?4, severity = ?5,
               due_at = min(due_at, ?6), p1_at = ?7, members = ?8, links = ?9, evidence = ?10, state = ?11,
               life = ?12, ended_at = ?13 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![
        incident.id,
        incident.signal.name(),
        notes(incident),
        kinds(incident),
        incident.severity.name(),
        incident.due_at.0,
        incident.p1_at.map(|at| at.0),
        json(&incident.members),
        json(&incident.links),
        json(&incident.evidence),
        incident.life.state.name(),
        json(&incident.life),
        incident.life.over_through.map(|at| at.0),
    ])?;
    Ok(())
}

fn insert_incident(tx: &Transaction<'_>, incident: &Incident) -> Result<(), StoreError> {
    let sql = "INSERT INTO incident (id, family, kind, kinds, severity, scope, post_id, feeder, zone,
               road, opened_at, due_at, state, signal, notes, evidence, p1_at, place, members, links, life)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
               ON CONFLICT (id) DO NOTHING";
    tx.prepare_cached(sql)?.execute(params![
        incident.id,
        incident.family.name(),
        incident.evidence.kind.name(),
        kinds(incident),
        incident.severity.name(),
        incident.scope.name(),
        incident.post_id,
        incident.feeder,
        incident.zone,
        incident.road,
        incident.opened_at.0,
        incident.due_at.0,
        incident.life.state.name(),
        incident.signal.name(),
        notes(incident),
        json(&incident.evidence),
        incident.p1_at.map(|at| at.0),
        incident.place,
        json(&incident.members),
        json(&incident.links),
        json(&incident.life),
    ])?;
    Ok(())
}

/// Appends an event behind the newest one, unless its key is there already.
fn append(tx: &Transaction<'_>, event: &Event) -> Result<(), StoreError> {
    let known: Option<i64> = tx
        .prepare_cached("SELECT seq FROM event WHERE key = ?1")?
        .query_row([&event.key], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(());
    }
    let last: Option<(i64, Vec<u8>)> = tx
        .prepare_cached("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (seq, prev) = last.map_or((1, chain::START.to_vec()), |(seq, hash)| (seq + 1, hash));
    let row = chain::Row {
        seq,
        key: &event.key,
        incident: &event.incident,
        at: event.at.0,
        kind: event.kind,
        body: &event.body,
    };
    let hash = chain::hash(&prev, &row);
    let sql = "INSERT INTO event (seq, key, incident, at, kind, body, prev, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.prepare_cached(sql)?.execute(params![
        seq,
        event.key,
        event.incident,
        event.at.0,
        event.kind,
        event.body,
        prev,
        hash
    ])?;
    set_meta(tx, "chain_head", &chain::head(seq, &hash))
}

fn insert_notices(tx: &Transaction<'_>, notices: &[Arc<Notice>]) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (id, incident, event, step, told, channel, body, created_at, state,
               attempts, next_at, phone, words) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'queued', 0, ?8, ?9, ?10)
               ON CONFLICT (id) DO NOTHING";
    for n in notices {
        tx.prepare_cached(sql)?.execute(params![
            n.id,
            n.incident,
            n.event,
            n.step,
            n.to,
            n.channel,
            n.body.to_string(),
            n.created_at.0,
            n.phone,
            json(&n.words)
        ])?;
    }
    Ok(())
}

/// Notes an attempt. The first accepted one is also an event of the incident, and so are the first that failed and the
/// end of all tries. A proof that came out leaves nothing behind.
fn deliver(tx: &Transaction<'_>, d: &Delivery) -> Result<(), StoreError> {
    if d.notice.event == PROOF && d.outcome == Outcome::Sent {
        tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([&d.notice.id])?;
        return Ok(());
    }
    let (state, next_at, error, accepted) = match &d.outcome {
        Outcome::Sent => ("sent", d.at, None, Some(d.at.0)),
        Outcome::Retry(next_at, error) => ("queued", *next_at, Some(error), None),
        Outcome::Failed(error) => ("failed", d.at, Some(error), None),
        Outcome::Delivered => {
            let sql = "UPDATE outbox SET delivered_at = ?2 WHERE id = ?1 AND delivered_at IS NULL";
            tx.prepare_cached(sql)?.execute(params![d.notice.id, d.at.0])?;
            return note_delivery(tx, d, "delivered", None);
        }
        Outcome::Undelivered(error) => {
            let sql = "UPDATE outbox SET state = 'failed', last_error = ?2 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![d.notice.id, error])?;
            return note_delivery(tx, d, "not_told", Some(error));
        }
    };
    let sql = "UPDATE outbox SET state = ?2, attempts = max(attempts, ?3), next_at = ?4, last_error = ?5,
               first_accepted_at = coalesce(first_accepted_at, ?6) WHERE id = ?1 AND state <> 'sent'";
    let row = params![d.notice.id, state, d.attempt, next_at.0, error, accepted];
    tx.prepare_cached(sql)?.execute(row)?;
    match &d.outcome {
        Outcome::Sent => note_delivery(tx, d, "told", None),
        Outcome::Failed(error) => note_delivery(tx, d, "not_told", Some(error)),
        Outcome::Retry(_, error) if d.attempt <= 1 => note_delivery(tx, d, "tell_failed", Some(error)),
        _ => Ok(()),
    }
}

/// What became of a notice is part of the incident's record: told, delivered, failed at first, not told.
fn note_delivery(
    tx: &Transaction<'_>,
    d: &Delivery,
    kind: &'static str,
    error: Option<&String>,
) -> Result<(), StoreError> {
    let n = &d.notice;
    let mut body = serde_json::json!({"notice": n.id, "channel": n.channel, "to": n.to, "step": n.step, "attempt": d.attempt});
    if let Some(error) = error {
        body["error"] = error.chars().take(ERROR_KEPT).collect::<String>().into();
    }
    let event = Event {
        key: format!("{}:{kind}", n.id),
        incident: n.incident.clone().unwrap_or_else(|| Arc::from("")),
        at: d.at,
        kind,
        body: body.to_string(),
    };
    append(tx, &event)?;
    // What became of a list became of each incident that it names.
    for id in n.listed() {
        let (key, incident) = (format!("{}:{kind}:{id}", n.id), Arc::from(id));
        append(tx, &Event { key, incident, ..event.clone() })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "../life_tests/kept.rs"]
mod kept;
#[cfg(test)]
#[path = "../store_tests.rs"]
mod tests;
