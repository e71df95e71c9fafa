//! What can be asked of alerting while it runs. Open incidents are answered from memory, so a full disk or a
//! locked store hides none of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use foldhash::fast::RandomState;
use lampguard_model::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

use crate::engine::{Explanation, PostState};
use crate::incident::{EventView, Incident, IncidentView, Kind};
use crate::life::is_over;
use crate::rota::Changes;
use crate::run::{Alerting, lock};
use crate::store::{FILE, NoticeFilter, NoticeView, Reads, StoreError, open_for_reading};
use crate::wet::Weather;

/// Which incidents to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Which states.
    pub state: StateFilter,
    /// Only those on which the crew of this zone acts.
    pub zone: Option<String>,
    /// Only those that have this kind.
    pub kind: Option<Kind>,
    /// Only those opened at or after.
    pub from: Option<Timestamp>,
    /// [`Page::next`] of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { state: StateFilter::Open, zone: None, kind: None, from: None, after: None, limit: 200 }
    }
}

/// States of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    /// Not closed, void or merged. Read from memory.
    Open,
    /// The others. Read from the store.
    Ended,
    /// All: the open ones first.
    All,
}

/// Where an incident stands, as far as a link has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The zone whose crew acts on it; empty for the system.
    pub zone: Arc<str>,
    /// Since when it is over; none: it is not.
    pub over_since: Option<Timestamp>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Cursor of the next page; none at the end.
    pub next: Option<String>,
}

impl Alerting {
    /// A connection for one long look: channels and moves do not wait for it.
    pub(crate) fn own_reads(&self) -> Result<Connection, StoreError> {
        open_for_reading(&self.dir)
    }

    /// Incidents by deadline, earliest first.
    ///
    /// # Errors
    /// [`StoreError`] for ended ones when the store cannot be read; open ones come from memory.
    pub fn incidents(&self, filter: &Filter) -> Result<Page<IncidentView>, StoreError> {
        // One lock after the other: the alerting thread writes the board while it holds the engine.
        let register = lock(&self.engine).register().clone();
        let wanted = |i: &Incident| {
            filter.zone.as_ref().is_none_or(|zone| **zone == **i.zone_in(&register))
                && filter.kind.is_none_or(|kind| i.kinds.contains(&kind))
                && filter.from.is_none_or(|from| i.opened_at >= from)
        };
        let limit = filter.limit.max(1);
        let (ended, after) = position(filter);
        let mut found: Vec<(bool, Incident)> = Vec::new();
        if filter.state != StateFilter::Ended && !ended {
            let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
            let open = board.from((after.0, &after.1)).filter(|i| wanted(i));
            found.extend(open.take(limit + 1).map(|i| (false, i.clone())));
        }
        if filter.state != StateFilter::Open && found.len() <= limit {
            let conn = self.own_reads()?;
            let mut at = if ended { after.clone() } else { (i64::MIN, String::new()) };
            loop {
                let rows = Reads::new(&conn).ended_incidents((at.0, &at.1), limit + 1)?;
                let Some(last) = rows.last() else { break };
                at = (last.due_at.0, last.id.to_string());
                found.extend(rows.into_iter().filter(|i| wanted(i)).map(|i| (true, i)));
                if found.len() > limit {
                    break;
                }
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let cursor = |(ended, i): &(bool, Incident)| {
            let list = if *ended { "e" } else { "o" };
            format!("{list}.{}.{}", i.due_at.0, i.id)
        };
        let next = found.last().filter(|_| more).map(cursor);
        let now = (self.clock)();
        let items = found.iter().map(|(_, i)| i.view(now)).collect();
        Ok(Page { items, next })
    }

    /// One incident with its timeline. An open one is answered from memory when the store cannot be read.
    ///
    /// # Errors
    /// [`StoreError`] when it is not open and the store cannot be read.
    pub fn incident(&self, id: &str) -> Result<Option<IncidentView>, StoreError> {
        let conn = lock(&self.reads);
        let Some((incident, timeline)) = self.with_timeline(&Reads::new(&conn), id)? else {
            return Ok(None);
        };
        let mut view = incident.view((self.clock)());
        view.life = Some(readable(serde_json::to_value(&incident.life).unwrap_or_default()));
        view.timeline = Some(timeline);
        Ok(Some(view))
    }

    /// One incident, over or not, with its timeline, oldest first: first from memory, then what the store adds, so that nothing
    /// falls between the two.
    pub(crate) fn with_timeline(
        &self,
        reads: &Reads<'_>,
        id: &str,
    ) -> Result<Option<(Incident, Vec<EventView>)>, StoreError> {
        let shown = self.board.read().unwrap_or_else(PoisonError::into_inner).get(id);
        let (incident, newest) = match shown {
            Some(shown) => shown,
            None => match reads.incident(id)? {
                Some(incident) => (incident, Vec::new()),
                None => return Ok(None),
            },
        };
        let mut timeline = reads.timeline(id).unwrap_or_default();
        for (key, event) in newest {
            if !timeline.iter().any(|(known, _)| *known == key) {
                timeline.push((key, event));
            }
        }
        Ok(Some((incident, timeline.into_iter().map(|(_, event)| event).collect())))
    }

    /// Zone whose crew acts on an incident, over or not: the one that it opened in, or of an unregistered device that of
    /// its post, once it has one. `None`: there is no such incident.
    ///
    /// # Errors
    /// [`StoreError`] when it is not in memory and the store cannot be read.
    pub fn zone_of(&self, id: &str) -> Result<Option<Arc<str>>, StoreError> {
        Ok(self.standing(id)?.map(|standing| standing.zone))
    }

    /// The same from memory alone; `None`: it is not there, the store may know it.
    pub fn zone_shown(&self, id: &str) -> Option<Arc<str>> {
        let shown = self.board.read().unwrap_or_else(PoisonError::into_inner).get(id);
        let register = lock(&self.engine).register().clone();
        shown.map(|(incident, _)| incident.zone_in(&register).clone())
    }

    /// Where an incident stands, over or not; `None`: there is no such incident.
    ///
    /// # Errors
    /// [`StoreError`] when it is not in memory and the store cannot be read.
    pub fn standing(&self, id: &str) -> Result<Option<Standing>, StoreError> {
        let shown = self.board.read().unwrap_or_else(PoisonError::into_inner).get(id);
        let incident = match shown {
            Some((incident, _)) => Some(incident),
            None => Reads::new(&lock(&self.reads)).incident(id)?,
        };
        let register = lock(&self.engine).register().clone();
        Ok(incident.map(|incident| {
            let ended = incident.life.ended.as_ref().map_or(incident.opened_at, |mark| mark.received_at);
            let over_since = is_over(incident.life.state).then_some(ended);
            Standing { zone: incident.zone_in(&register).clone(), over_since }
        }))
    }

    /// Notices made at or after `from`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn notices(
        &self,
        from: Option<Timestamp>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<NoticeView>, StoreError> {
        let from = from.unwrap_or(Timestamp(i64::MIN));
        let after = after.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.notices_by(NoticeFilter { from, after, limit, ..NoticeFilter::default() })
    }

    /// Notices that a filter wants, oldest first; the cursor is the running number of the last.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn notices_by(&self, mut filter: NoticeFilter) -> Result<Page<NoticeView>, StoreError> {
        let limit = filter.limit.max(1);
        filter.limit = limit + 1;
        let mut items = Reads::new(&self.own_reads()?).notices_by(&filter)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|notice| notice.n.to_string());
        Ok(Page { items, next })
    }

    /// How a post looks now.
    pub fn post_state(&self, post: &str) -> PostState {
        lock(&self.engine).post_state(post, (self.clock)())
    }

    /// Why a post did or did not raise, as it is now.
    pub fn explain(&self, post: &str) -> Explanation {
        lock(&self.engine).explain(post, (self.clock)())
    }

    /// The weather of a zone, or of `all`.
    pub fn weather(&self, zone: &str) -> Option<Weather> {
        lock(&self.engine).sky().get(zone).cloned()
    }

    /// Why nothing is heard of a zone, in Chinese and English.
    pub fn why_blind(&self, zone: &str) -> String {
        lock(&self.engine).why_blind(zone, (self.clock)())
    }

    /// Ids of open incidents for every post that has some, by the name that it has today.
    pub fn open_incidents_by_post(&self) -> HashMap<Arc<str>, Vec<Arc<str>>, RandomState> {
        lock(&self.engine).open_by_post()
    }
}

/// A life as people read it: times as RFC 3339 instead of milliseconds, and without the keys of repeats.
fn readable(value: Value) -> Value {
    const TIMES: [&str; 3] = ["at", "until", "from"];
    let time = |name: &str| TIMES.contains(&name) || name.ends_with("_at") || name.ends_with("_through");
    match value {
        Value::Object(map) => {
            let of = |(name, value): (String, Value)| match value.as_i64() {
                Some(ms) if time(&name) => (name, Value::String(Timestamp(ms).to_rfc3339())),
                _ => (name, readable(value)),
            };
            Value::Object(map.into_iter().filter(|(name, _)| name != "keys").map(of).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        other => other,
    }
}

/// Where a list goes on: whether among the ended ones, and behind which deadline and id.
fn position(filter: &Filter) -> (bool, (i64, String)) {
    let parse = |text: &String| {
        let mut parts = text.splitn(3, '.');
        let ended = parts.next()? == "e";
        Some((ended, (parts.next()?.parse().ok()?, parts.next()?.to_owned())))
    };
    let start = (false, (i64::MIN, String::new()));
    filter.after.as_ref().and_then(parse).unwrap_or(start)
}

/// The cursor stored in the data directory `dir`: how far the journal was needed. For whoever opens the
/// journal before alerting starts; `None` before the first run.
///
/// # Errors
/// [`StoreError`]: stop and show it.
pub fn stored_cursor(dir: &Path) -> Result<Option<u64>, StoreError> {
    if !dir.join(FILE).exists() {
        return Ok(None);
    }
    let conn = open_for_reading(dir)?;
    Ok(Reads::new(&conn).cursor()?.map(|(seq, _)| seq))
}

/// What the office changed of the rota, as the data directory `dir` keeps it; nothing before the first change. Also
/// beside a running instance.
///
/// # Errors
/// [`StoreError`]: show it.
pub fn stored_changes(dir: &Path) -> Result<Changes, StoreError> {
    if !dir.join(FILE).exists() {
        return Ok(Changes::default());
    }
    let conn = open_for_reading(dir)?;
    let reads = Reads::new(&conn);
    // Formats before know no rota.
    if reads.has_table("rota")? { reads.rota() } else { Ok(Changes::default()) }
}

/// True when the data directory `dir` keeps this incident. Also beside a running instance.
///
/// # Errors
/// [`StoreError`]: show it.
pub fn stores_incident(dir: &Path, id: &str) -> Result<bool, StoreError> {
    if !dir.join(FILE).exists() {
        return Ok(false);
    }
    let conn = open_for_reading(dir)?;
    Ok(Reads::new(&conn).incident(id)?.is_some())
}
