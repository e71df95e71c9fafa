//! What reports and audits ask of the store.

use std::sync::Arc;

use lampguard_model::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::StoreError;
use super::read::{INCIDENT, NOTICE, NoticeView, Reads, incident, notice};
use crate::notice::PROOF;
use crate::report::{Case, Noted, TOLD_MAX, Tellings};
use crate::test_dispatch::Test;

/// Which notices to list. Proofs are in no list.
#[derive(Clone, Debug)]
pub struct NoticeFilter {
    /// Made at or after.
    pub from: Timestamp,
    /// Made before.
    pub to: Timestamp,
    /// Of this incident.
    pub incident: Option<String>,
    /// Of incidents of this zone.
    pub zone: Option<String>,
    /// By this channel.
    pub channel: Option<String>,
    /// queued, sent, failed.
    pub outcome: Option<String>,
    /// Behind this running number.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

impl Default for NoticeFilter {
    fn default() -> Self {
        Self {
            from: Timestamp(i64::MIN),
            to: Timestamp(i64::MAX),
            incident: None,
            zone: None,
            channel: None,
            outcome: None,
            after: 0,
            limit: 200,
        }
    }
}

impl Reads<'_> {
    /// Notices made at or after `from`, behind running number `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn notices(&self, from: Timestamp, after: i64, limit: usize) -> Result<Vec<NoticeView>, StoreError> {
        self.notices_by(&NoticeFilter { from, after, limit, ..NoticeFilter::default() })
    }

    /// Notices that a filter wants, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn notices_by(&self, filter: &NoticeFilter) -> Result<Vec<NoticeView>, StoreError> {
        let sql = format!(
            "{NOTICE} WHERE created_at >= ?1 AND created_at < ?2 AND n > ?3 AND event <> ?4
               AND (?5 IS NULL OR incident = ?5) AND (?6 IS NULL OR channel = ?6)
               AND (?7 IS NULL OR state = ?7)
               AND (?8 IS NULL OR incident IN (SELECT id FROM incident WHERE zone = ?8))
             ORDER BY n LIMIT ?9"
        );
        let mut query = self.conn.prepare_cached(&sql)?;
        let asked = params![
            filter.from.0,
            filter.to.0,
            filter.after,
            PROOF,
            filter.incident,
            filter.channel,
            filter.outcome,
            filter.zone,
            filter.limit as i64
        ];
        let rows = query.query_map(asked, notice)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Shows each incident that opened from `from` until `to` with its tellings, until `see` says no.
    pub(crate) fn each_opened(
        &self,
        from: Timestamp,
        to: Timestamp,
        see: impl FnMut(Case) -> bool,
    ) -> Result<(), StoreError> {
        self.each("WHERE opened_at >= ?1 AND opened_at < ?2", from, to, true, see)
    }

    /// Shows each incident that opened before `to` and was not over at `from`, without tellings, until `see` says no.
    pub(crate) fn each_alive(
        &self,
        from: Timestamp,
        to: Timestamp,
        see: impl FnMut(Case) -> bool,
    ) -> Result<(), StoreError> {
        let which = "WHERE opened_at < ?2 AND (ended_at IS NULL OR ended_at >= ?1)";
        self.each(which, from, to, false, see)
    }

    fn each(
        &self,
        which: &str,
        from: Timestamp,
        to: Timestamp,
        with_tellings: bool,
        mut see: impl FnMut(Case) -> bool,
    ) -> Result<(), StoreError> {
        let mut query = self.conn.prepare_cached(&format!("{INCIDENT} {which} ORDER BY opened_at, id"))?;
        // Also by a list: what it named stands in the record of each incident.
        let told = "SELECT at, coalesce(json_extract(body, '$.to'), '') FROM event
                    WHERE incident = ?1 AND kind = 'told' AND at >= ?2 ORDER BY at, seq LIMIT ?3";
        let mut told = self.conn.prepare_cached(told)?;
        let mut rows = query.query(params![from.0, to.0])?;
        while let Some(row) = rows.next()? {
            let mut case = Case { incident: incident(row)?, told: Vec::new() };
            if with_tellings {
                let since = case.incident.p1_at.unwrap_or(Timestamp(i64::MIN));
                let of = params![case.incident.id, since.0, TOLD_MAX as i64];
                let found = told.query_map(of, |row| Ok((Timestamp(row.get(0)?), row.get(1)?)))?;
                case.told = found.collect::<Result<_, _>>()?;
            }
            if !see(case) {
                break;
            }
        }
        Ok(())
    }

    /// Events of one kind from `from` until `to`.
    pub(crate) fn events_of(
        &self,
        kind: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Noted>, StoreError> {
        let sql = "SELECT incident, at, body FROM event WHERE kind = ?1 AND at >= ?2 AND at < ?3
                   ORDER BY at, seq LIMIT ?4";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![kind, from.0, to.0, limit as i64], |row| {
            let body: String = row.get(2)?;
            let incident: Arc<str> = row.get(0)?;
            Ok((incident, Timestamp(row.get(1)?), serde_json::from_str(&body).unwrap_or_default()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Body of the newest event of a kind.
    pub(crate) fn newest_of(&self, kind: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let sql = "SELECT body FROM event WHERE kind = ?1 ORDER BY seq DESC LIMIT 1";
        let body: Option<String> =
            self.conn.prepare_cached(sql)?.query_row([kind], |row| row.get(0)).optional()?;
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// Tests of slots at or after `from`, behind (slot, id). A row that cannot be read is left out: a test is no danger.
    pub(crate) fn tests(
        &self,
        from: Timestamp,
        after: (i64, &str),
        limit: usize,
    ) -> Result<Vec<Test>, StoreError> {
        let sql = "SELECT test FROM test_dispatch WHERE slot_at >= ?1 AND (slot_at, id) > (?2, ?3)
                   ORDER BY slot_at, id LIMIT ?4";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query
            .query_map(params![from.0, after.0, after.1, limit as i64], |row| row.get::<_, String>(0))?;
        let mut tests = Vec::new();
        for text in rows {
            tests.extend(serde_json::from_str::<Test>(&text?).ok());
        }
        Ok(tests)
    }

    /// What became of the notices made from `from` until `to`.
    pub(crate) fn tellings(&self, from: Timestamp, to: Timestamp) -> Result<Tellings, StoreError> {
        let sql = "SELECT coalesce(sum(state = 'sent'), 0), coalesce(sum(state = 'failed'), 0),
                   coalesce(sum(state = 'queued'), 0) FROM outbox
                   WHERE created_at >= ?1 AND created_at < ?2 AND event <> ?3";
        Ok(self.conn.prepare_cached(sql)?.query_row(params![from.0, to.0, PROOF], |row| {
            let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Tellings { sent: count(0)?, failed: count(1)?, queued: count(2)? })
        })?)
    }
}
