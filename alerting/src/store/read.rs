//! Questions to the incident store.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::StoreError;
use crate::desk::Telling;
use crate::engine::{Job, Memory, Recheck};
use crate::incident::{Event, EventView, Family, Incident, Kind, Scope, Severity, Signal};
use crate::notice::Notice;
use crate::notice_words::Words;
use crate::rota::Changes;
use crate::wet::{Sky, Weather};

/// A notice as `GET /api/v1/notices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoticeView {
    /// Running number, for the cursor.
    #[serde(skip)]
    pub n: i64,
    /// Id, the same on every retry.
    pub id: String,
    /// Incident; null for notices without one.
    pub incident_id: Option<String>,
    /// `incident.opened`, `weather.unknown`.
    pub event: String,
    /// Rung of the ladder.
    pub step: u32,
    /// Whom.
    pub to: String,
    /// By which channel.
    pub channel: String,
    /// queued, sent, delivered (where the provider can say so), failed.
    pub outcome: String,
    /// Attempts so far.
    pub attempt: u32,
    /// First acceptance, or the time of the next or last attempt; RFC 3339 UTC.
    pub at: String,
    /// Incidents that a list names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<String>,
}

/// Post, its last incident that is over, and when that ended.
pub type LastEnded = (Arc<str>, Arc<str>, Timestamp);

/// Reading side of a connection.
#[derive(Debug)]
pub struct Reads<'c> {
    pub(super) conn: &'c Connection,
}

pub(super) const INCIDENT: &str =
    "SELECT id, post_id, feeder, zone, road, opened_at, due_at, signal, notes, evidence, kinds, family,
                        severity, scope, place, p1_at, members, links, life FROM incident";

pub(super) const NOTICE: &str = "SELECT n, id, incident, event, step, told, channel,
                      CASE WHEN state = 'sent' AND delivered_at IS NOT NULL THEN 'delivered' ELSE state END,
                      attempts, coalesce(first_accepted_at, next_at),
                      CASE event WHEN 'digest' THEN json_extract(body, '$.incidents') END FROM outbox";

/// Somebody got a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whom it named.
    pub(crate) to: String,
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Event word and incident.
    pub(crate) about: String,
}

/// A message or a list named an incident to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which.
    pub(crate) incident: String,
    /// Event word of the message, or that on the line of a list.
    pub(crate) word: String,
    /// Whom.
    pub(crate) to: String,
    /// When the last such was made.
    pub(crate) at: Timestamp,
}

/// Words on an incident went into people's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Which.
    pub(crate) incident: String,
    /// When.
    pub(crate) at: Timestamp,
    /// For each word whose lists they were.
    pub(crate) words: BTreeMap<String, Vec<String>>,
}

/// Events that a start looks through for what waits in lists.
const LISTED_LOOK: i64 = 20_000;

impl<'c> Reads<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// The connection, for whoever asks something of his own.
    pub(crate) fn connection(&self) -> &'c Connection {
        self.conn
    }

    /// Every incident that is not over, by deadline.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn open_incidents(&self) -> Result<Vec<Incident>, StoreError> {
        let mut query =
            self.conn.prepare_cached(&format!("{INCIDENT} WHERE ended_at IS NULL ORDER BY due_at, id"))?;
        let mut rows = query.query([])?;
        let mut incidents = Vec::new();
        while let Some(row) = rows.next()? {
            incidents.push(incident(row)?);
        }
        Ok(incidents)
    }

    /// Incidents that are over, by deadline, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn ended_incidents(&self, after: (i64, &str), limit: usize) -> Result<Vec<Incident>, StoreError> {
        let sql = format!(
            "{INCIDENT} WHERE ended_at IS NOT NULL AND (due_at, id) > (?1, ?2) ORDER BY due_at, id LIMIT ?3"
        );
        let mut query = self.conn.prepare_cached(&sql)?;
        let mut rows = query.query(params![after.0, after.1, limit as i64])?;
        let mut incidents = Vec::new();
        while let Some(row) = rows.next()? {
            incidents.push(incident(row)?);
        }
        Ok(incidents)
    }

    /// The last incident of each family and subject that ended at or after `from`: what it was about (as
    /// `Incident::about` says it), incident, end. Drills count nowhere.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn last_ended(&self, from: Timestamp) -> Result<Vec<LastEnded>, StoreError> {
        let sql = "SELECT family || '|' || CASE scope WHEN 'post' THEN post_id
                          ELSE scope || ':' || feeder || ':' || zone || ':' || place END AS about,
                          id, max(ended_at) FROM incident
                   WHERE ended_at >= ?1 AND coalesce(json_extract(life, '$.drill'), 0) = 0
                   GROUP BY about";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map([from.0], |row| Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// First acceptance at or after `since` of a notice or a list that named an incident.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn first_told_since(
        &self,
        incident: &str,
        since: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT min(at) FROM event WHERE incident = ?1 AND kind = 'told' AND at >= ?2";
        let at: Option<i64> = self
            .conn
            .prepare_cached(sql)?
            .query_row(rusqlite::params![incident, since.0], |row| row.get(0))?;
        Ok(at.map(Timestamp))
    }

    /// Whom messages and lists made since `from` named an incident to, with which word, and when last. A list says no word
    /// of what is no more than a danger.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn named_since(&self, from: Timestamp) -> Result<Vec<Named>, StoreError> {
        let sql = "SELECT about, told, max(created_at), word FROM (
                     SELECT incident AS about, told, created_at, event AS word FROM outbox
                       WHERE created_at >= ?1 AND incident IS NOT NULL
                     UNION ALL
                     SELECT named.value, told, created_at, coalesce(word.value, event)
                       FROM outbox JOIN json_each(body, '$.incidents') AS named
                       LEFT JOIN json_each(body, '$.words') AS words ON words.key = named.value
                       LEFT JOIN json_each(coalesce(words.value, '[]')) AS word
                       WHERE created_at >= ?1 AND event = 'digest')
                   GROUP BY about, told, word";
        let mut query = self.conn.prepare_cached(sql)?;
        let named = |row: &Row<'_>| {
            let at = Timestamp(row.get(2)?);
            Ok(Named { incident: row.get(0)?, to: row.get(1)?, at, word: row.get(3)? })
        };
        let rows = query.query_map([from.0], named)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// When the newest event happened.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn newest_event_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT at FROM event ORDER BY seq DESC LIMIT 1")?;
        let at: Option<i64> = query.query_row([], |row| row.get(0)).optional()?;
        Ok(at.map(Timestamp))
    }

    /// Words on incidents that went into people's lists since `from`, in their order; the newest [`LISTED_LOOK`] events
    /// are looked at.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn listed_since(&self, from: Timestamp) -> Result<Vec<Listed>, StoreError> {
        let sql = "SELECT incident, at, json_extract(body, '$.listed') FROM (
                     SELECT seq, incident, at, body FROM event ORDER BY seq DESC LIMIT ?2)
                   WHERE at >= ?1 AND body LIKE '%\"listed\":%' AND json_type(body, '$.listed') = 'object' ORDER BY seq";
        let mut query = self.conn.prepare_cached(sql)?;
        let mut rows = query.query(params![from.0, LISTED_LOOK])?;
        let mut listed = Vec::new();
        while let Some(row) = rows.next()? {
            let (incident, words): (String, String) = (row.get(0)?, row.get(2)?);
            let Ok(words) = serde_json::from_str(&words) else {
                return Err(StoreError::Unreadable { what: "listed", id: incident });
            };
            listed.push(Listed { incident, at: Timestamp(row.get(1)?), words });
        }
        Ok(listed)
    }

    /// Whom messages that count for the limit of a flood went to since `from`, the oldest first: voice and chat of one
    /// telling are one, and help, power that is or will be back, tests, proofs and drills are none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn messages_to_since(&self, from: Timestamp) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT DISTINCT told, created_at, event || ':' || coalesce(incident, '') FROM outbox
                   WHERE created_at >= ?1
                     AND event NOT IN ('incident.help', 'incident.restored', 'incident.switch_on_soon', 'proof',
                                       'test_dispatch.sent')
                     AND NOT coalesce(json_extract(body, '$.drill'), 0)
                     AND coalesce(json_extract(body, '$.incident.kind'), '') <> 'reenergised'
                   ORDER BY created_at";
        let mut query = self.conn.prepare_cached(sql)?;
        let message =
            |row: &Row<'_>| Ok(Message { to: row.get(0)?, at: Timestamp(row.get(1)?), about: row.get(2)? });
        let rows = query.query_map([from.0], message)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Planned work that is not over.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or a row is not what was written.
    pub fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let mut query =
            self.conn.prepare_cached("SELECT id, job FROM maintenance WHERE ended = 0 ORDER BY id")?;
        let mut rows = query.query([])?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, job): (String, String) = (row.get(0)?, row.get(1)?);
            jobs.push(serde_json::from_str(&job).map_err(|_| StoreError::Unreadable { what: "job", id })?);
        }
        Ok(jobs)
    }

    /// Tasks for the next rain that are not done.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or a row is not what was written.
    pub fn rechecks(&self) -> Result<Vec<Recheck>, StoreError> {
        let sql = "SELECT post_id, task FROM recheck WHERE done = 0 ORDER BY post_id";
        let mut query = self.conn.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        let mut tasks = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, task): (String, String) = (row.get(0)?, row.get(1)?);
            tasks.push(serde_json::from_str(&task).map_err(|_| StoreError::Unreadable { what: "task", id })?);
        }
        Ok(tasks)
    }

    /// What the office changed of the rota; nothing before the first change.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or the row is not what was written.
    pub fn rota(&self) -> Result<Changes, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT changes FROM rota WHERE id = 1")?;
        let row: Option<String> = query.query_row([], |row| row.get(0)).optional()?;
        let unreadable = |_| StoreError::Unreadable { what: "changes", id: "rota".to_owned() };
        row.map_or_else(|| Ok(Changes::default()), |text| serde_json::from_str(&text).map_err(unreadable))
    }

    /// True when the file has a table of that name.
    pub(crate) fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        Ok(self.conn.prepare_cached(sql)?.query_row([name], |row| row.get::<_, i64>(0))? > 0)
    }

    /// One incident.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        let mut query = self.conn.prepare_cached(&format!("{INCIDENT} WHERE id = ?1"))?;
        let mut rows = query.query([id])?;
        rows.next()?.map(incident).transpose()
    }

    /// The life of one incident, oldest first, with each event's key.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn timeline(&self, incident: &str) -> Result<Vec<(String, EventView)>, StoreError> {
        let sql = "SELECT key, at, kind, body FROM event WHERE incident = ?1 ORDER BY seq";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map([incident], |row| {
            let body: String = row.get(3)?;
            Ok((
                row.get(0)?,
                EventView {
                    at: Timestamp(row.get(1)?).to_rfc3339(),
                    event: row.get(2)?,
                    body: serde_json::from_str(&body).unwrap_or_default(),
                },
            ))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest events of one kind, newest first: when, and what they say.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn events_of_kind(
        &self,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(Timestamp, serde_json::Value)>, StoreError> {
        let sql = "SELECT at, body FROM event WHERE kind = ?1 ORDER BY at DESC, seq DESC LIMIT ?2";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![kind, limit as i64], |row| {
            let body: String = row.get(1)?;
            Ok((Timestamp(row.get(0)?), serde_json::from_str(&body).unwrap_or_default()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest notices of one incident, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn notices_of(&self, incident: &str, limit: usize) -> Result<Vec<NoticeView>, StoreError> {
        let sql = format!("{NOTICE} WHERE incident = ?1 ORDER BY n DESC LIMIT ?2");
        let mut query = self.conn.prepare_cached(&sql)?;
        let rows = query.query_map(params![incident, limit as i64], notice)?;
        let mut notices: Vec<NoticeView> = rows.collect::<Result<_, _>>()?;
        notices.reverse();
        Ok(notices)
    }

    /// How far one incident was told; by a list too, and as a P1 since it is one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn telling(&self, incident: &str) -> Result<Telling, StoreError> {
        let sql = "SELECT (SELECT min(at) FROM event WHERE incident = ?1 AND kind = 'told' AND at >=
                           coalesce((SELECT p1_at FROM incident WHERE id = ?1), -9223372036854775808)),
                   coalesce(sum(state = 'sent'), 0), coalesce(sum(state = 'queued'), 0),
                   coalesce(sum(state = 'failed'), 0) FROM outbox WHERE incident = ?1";
        let telling = self.conn.prepare_cached(sql)?.query_row([incident], |row| {
            let first_at = row.get::<_, Option<i64>>(0)?.map(Timestamp);
            Ok(Telling { first_at, sent: row.get(1)?, queued: row.get(2)?, failed: row.get(3)? })
        })?;
        Ok(telling)
    }

    /// Notices of a channel that were never accepted, those due first, with the attempts made and the time of
    /// the next. What its reader has newer word of is marked so; `shared`: all of the channel read everything.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn unsent(
        &self,
        channel: &str,
        limit: usize,
        shared: bool,
    ) -> Result<Vec<(Notice, u32, Timestamp)>, StoreError> {
        let sql =
            "SELECT id, incident, event, step, told, body, created_at, attempts, next_at, phone, words,
                    EXISTS (SELECT 1 FROM outbox newer WHERE newer.incident = outbox.incident
                            AND newer.channel = outbox.channel AND newer.state = 'sent'
                            AND newer.created_at > outbox.created_at
                            AND (?3 OR coalesce(newer.phone, newer.told) = coalesce(outbox.phone, outbox.told)))
                   FROM outbox WHERE channel = ?1 AND state = 'queued' ORDER BY next_at, n LIMIT ?2";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![channel, limit as i64, shared], |row| {
            let body: String = row.get(5)?;
            let words: Option<String> = row.get(10)?;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let text = body.get("text").and_then(serde_json::Value::as_str).unwrap_or_default();
            let words = words.and_then(|words| serde_json::from_str(&words).ok());
            let notice = Notice {
                // An older version kept no pieces.
                words: words.unwrap_or_else(|| Words::plain(text, true, None, None)),
                id: row.get(0)?,
                incident: row.get(1)?,
                event: row.get(2)?,
                step: row.get(3)?,
                to: row.get(4)?,
                channel: Arc::from(channel),
                body,
                created_at: Timestamp(row.get(6)?),
                phone: row.get(9)?,
            };
            let overtaken: bool = row.get(11)?;
            let notice = if overtaken { notice.overtaken() } else { notice };
            Ok((notice, row.get(7)?, Timestamp(row.get(8)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Messages that a channel accepted at or after `from`; several notices in one are one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn messages_since(&self, channel: &str, from: Timestamp) -> Result<usize, StoreError> {
        let sql = "SELECT count(DISTINCT first_accepted_at) FROM outbox
                   WHERE channel = ?1 AND first_accepted_at >= ?2";
        let count: i64 =
            self.conn.prepare_cached(sql)?.query_row(params![channel, from.0], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The newest body that a channel had of every incident that is not over.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn open_bodies(&self, channel: &str, limit: usize) -> Result<Vec<serde_json::Value>, StoreError> {
        let sql = "SELECT o.body FROM incident i JOIN outbox o ON o.n =
                     (SELECT max(n) FROM outbox WHERE incident = i.id AND channel = ?1)
                   WHERE i.ended_at IS NULL ORDER BY i.due_at, i.id LIMIT ?2";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![channel, limit as i64], |row| row.get::<_, String>(0))?;
        let bodies = rows.map(|row| Ok(serde_json::from_str(&row?).unwrap_or_default()));
        bodies.collect()
    }

    /// Where replay starts and the weather there; `None` before the first run.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn cursor(&self) -> Result<Option<(u64, Sky)>, StoreError> {
        let Some(seq) = self.meta("cursor")? else {
            return Ok(None);
        };
        let unreadable = |what| StoreError::Unreadable { what, id: "meta".to_owned() };
        let seq = seq.parse().map_err(|_| unreadable("cursor"))?;
        let sky = self.meta("cursor_sky")?.unwrap_or_else(|| "[]".to_owned());
        let sky = serde_json::from_str(&sky).map_err(|_| unreadable("cursor_sky"))?;
        Ok(Some((seq, sky)))
    }

    fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        Ok(query.query_row([key], |row| row.get(0)).optional()?)
    }

    /// The newest weather of every zone. A row that cannot be read is left out: unknown weather is wet.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn weather(&self) -> Result<Sky, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT zone, state FROM weather")?;
        let mut rows = query.query([])?;
        let mut sky = Sky::default();
        while let Some(row) = rows.next()? {
            let (zone, state): (String, String) = (row.get(0)?, row.get(1)?);
            if let Ok(weather) = serde_json::from_str::<Weather>(&state) {
                *sky.entry(&zone) = weather;
            }
        }
        Ok(sky)
    }

    /// What is remembered of posts.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn memories(&self) -> Result<Vec<Memory>, StoreError> {
        let sql = "SELECT post_id, unlit_s, lit_s, immersed_at, habits FROM memory ORDER BY post_id";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map([], |row| {
            let habits: String = row.get(4)?;
            Ok(Memory {
                // What cannot be read is learned anew.
                habits: serde_json::from_str(&habits).unwrap_or_default(),
                post: row.get(0)?,
                period_s: [row.get(1)?, row.get(2)?],
                immersed_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Checks the hash chain. Returns the number of events.
    ///
    /// # Errors
    /// [`super::AuditError`] names the first bad row.
    pub fn verify(&self) -> Result<u64, super::AuditError> {
        super::chain::verify(self.conn).map(|audit| audit.events)
    }
}

pub(super) fn notice(row: &Row<'_>) -> rusqlite::Result<NoticeView> {
    Ok(NoticeView {
        n: row.get(0)?,
        id: row.get(1)?,
        incident_id: row.get(2)?,
        event: row.get(3)?,
        step: row.get(4)?,
        to: row.get(5)?,
        channel: row.get(6)?,
        outcome: row.get(7)?,
        attempt: row.get(8)?,
        at: Timestamp(row.get(9)?).to_rfc3339(),
        incidents: row
            .get::<_, Option<String>>(10)?
            .and_then(|ids| serde_json::from_str(&ids).ok())
            .unwrap_or_default(),
    })
}

pub(super) fn incident(row: &Row<'_>) -> Result<Incident, StoreError> {
    let id: Arc<str> = row.get(0)?;
    let unreadable = |what| StoreError::Unreadable { what, id: id.to_string() };
    let (signal, notes, evidence, kinds): (String, String, String, String) =
        (row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?);
    let (family, severity, scope): (String, String, String) = (row.get(11)?, row.get(12)?, row.get(13)?);
    let list = |column: usize, what| {
        let text: String = row.get(column)?;
        serde_json::from_str::<Vec<Arc<str>>>(&text).map_err(|_| unreadable(what))
    };
    let life: String = row.get(18)?;
    Ok(Incident {
        family: Family::from_name(&family).ok_or_else(|| unreadable("family"))?,
        severity: Severity::from_name(&severity).ok_or_else(|| unreadable("severity"))?,
        scope: Scope::from_name(&scope),
        place: row.get(14)?,
        p1_at: row.get::<_, Option<i64>>(15)?.map(Timestamp),
        members: list(16, "members")?,
        links: list(17, "links")?,
        post_id: row.get(1)?,
        feeder: row.get(2)?,
        zone: row.get(3)?,
        road: row.get(4)?,
        opened_at: Timestamp(row.get(5)?),
        due_at: Timestamp(row.get(6)?),
        signal: Signal::from_name(&signal),
        notes: serde_json::from_str(&notes).map_err(|_| unreadable("notes"))?,
        evidence: serde_json::from_str(&evidence).map_err(|_| unreadable("evidence"))?,
        kinds: kinds.split(',').filter_map(Kind::from_name).collect(),
        life: serde_json::from_str(&life).map_err(|_| unreadable("life"))?,
        id,
    })
}

impl Event {
    /// The event with its key, as the timeline has it.
    pub(crate) fn keyed_view(&self) -> (String, EventView) {
        (self.key.clone(), self.view())
    }
}
