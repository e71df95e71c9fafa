//! Totals of incidents by zone since the store was made, and looks at what is open that hold up nobody.
//!
//! ```text
//! total = what the store held when this run began  (read once, beside everything else)
//!       + what the board has seen since
//! ```
//! A total only grows, also over a restart: nothing that people do takes a milestone of an incident back. Drills count
//! nowhere. How incidents were handled stands in `totals/handling.rs`.

mod handling;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use lampguard_model::series::RESPONSE_BUCKETS;
use lampguard_model::{Millis, Register, Timestamp};
use rusqlite::Connection;
use tracing::{info, warn};

use crate::engine::State;
use crate::incident::{Incident, Scope, Severity, TOLD_WITHIN};
use crate::life::{Life, Stage};
use crate::run::{Alerting, lock};
use crate::store::{Reads, StoreError, open_for_reading};

pub use handling::{Handling, OfCrew, Taken};

/// Open incidents that one look at the board takes at once: the alerting thread waits for no more.
const WALK: usize = 256;

/// How many incidents of a zone came how far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Opened.
    pub opened: u64,
    /// Arrivals that count for a deadline, also for that of the P2 that it was, and those that the desk denied. One of a
    /// further crew counts once it becomes one of these.
    pub arrived: u64,
    /// Deadlines that passed with nobody there.
    pub breached: u64,
    /// Closed; void and merged ones are not.
    pub closed: u64,
    /// Of the arrivals those where somebody had to be there soon, as the reports count them (`report/mod.rs`).
    pub responses: u64,
    /// Of these from the moment at which the danger was known as what it is to the arrival, summed.
    pub response: Millis,
    /// And those within each of [`RESPONSE_BUCKETS`].
    pub within: [u64; RESPONSE_BUCKETS.len()],
    /// How long stages took, repeats, false alarms, crews: of those where somebody had to be there soon.
    pub handling: Handling,
}

impl Totals {
    /// How far one incident came; `urgent` when somebody had to be there soon. One that is urgent stays so.
    pub(crate) fn of(urgent: bool, opened_at: Timestamp, p1_at: Option<Timestamp>, life: &Life) -> Self {
        let mut totals = Self::default();
        if life.drill {
            return totals;
        }
        totals.opened = 1;
        totals.closed = u64::from(life.state == Stage::Closed);
        totals.breached = u64::from(life.breached_at.is_some());
        if urgent {
            totals.handling = Handling::of(life);
        }
        for arrival in life.arrived.iter().chain(&life.earlier).chain(&life.denied) {
            let at = arrival.mark.at;
            // An arrival at the P2 that it was is measured from there.
            let known_at = p1_at.filter(|p1_at| *p1_at <= at).unwrap_or(opened_at);
            let took = at.since(known_at).max(Millis(0));
            totals.arrived += 1;
            if !urgent {
                continue;
            }
            totals.responses += 1;
            totals.response = Millis(totals.response.0 + took.0);
            for ((minutes, _), within) in RESPONSE_BUCKETS.iter().zip(&mut totals.within) {
                *within += u64::from(took <= Millis::minutes(i64::from(*minutes)));
            }
        }
        totals
    }

    fn of_incident(incident: &Incident) -> Self {
        let Incident { severity, scope, opened_at, p1_at, due_at, ref life, .. } = *incident;
        Self::of(
            is_urgent((severity == Severity::P1, scope == Scope::System), opened_at, p1_at, due_at),
            opened_at,
            p1_at,
            life,
        )
    }

    /// Adds what an incident came further; never less.
    pub(crate) fn further(&mut self, before: Option<&Incident>, after: &Incident) {
        let (before, after) = (before.map(Self::of_incident).unwrap_or_default(), Self::of_incident(after));
        self.opened += after.opened.saturating_sub(before.opened);
        self.arrived += after.arrived.saturating_sub(before.arrived);
        self.breached += after.breached.saturating_sub(before.breached);
        self.closed += after.closed.saturating_sub(before.closed);
        self.responses += after.responses.saturating_sub(before.responses);
        self.response.0 += (after.response.0 - before.response.0).max(0);
        for (within, (after, before)) in self.within.iter_mut().zip(after.within.iter().zip(before.within)) {
            *within += after.saturating_sub(before);
        }
        self.handling.further(&before.handling, &after.handling);
    }
}

/// Somebody had to stand there soon: every P1, and a P2 that is due within two hours. A deadline only comes nearer.
fn is_urgent(
    (p1, system): (bool, bool),
    opened_at: Timestamp,
    p1_at: Option<Timestamp>,
    due_at: Timestamp,
) -> bool {
    !system && (p1 || due_at.since(p1_at.unwrap_or(opened_at)) <= TOLD_WITHIN)
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.opened += other.opened;
        self.arrived += other.arrived;
        self.breached += other.breached;
        self.closed += other.closed;
        self.responses += other.responses;
        self.response.0 += other.response.0;
        for (within, more) in self.within.iter_mut().zip(other.within) {
            *within += more;
        }
        self.handling += &other.handling;
    }
}

/// By zone in which they opened.
pub(crate) type ByZone = BTreeMap<Arc<str>, Totals>;

/// What the store held when this run began; nothing until it is read.
pub(crate) type Base = Arc<OnceLock<ByZone>>;

/// Begins to read what the store holds now. What is written from here on does not show in it.
pub(crate) fn read_base(dir: &Path) -> Result<Base, StoreError> {
    let conn = open_for_reading(dir)?;
    // A look fixes what this connection sees until it ends.
    conn.execute_batch("BEGIN; SELECT count(*) FROM meta;")?;
    let base = Base::default();
    let into = base.clone();
    let read = move || match Reads::new(&conn).totals() {
        Ok(totals) => {
            let incidents: u64 = totals.values().map(|totals| totals.opened).sum();
            info!(incidents, "totals of zones counted");
            let _ = into.set(totals);
        }
        Err(error) => warn!(%error, "totals of zones cannot be counted, they are left out"),
    };
    let thread = std::thread::Builder::new().name("totals".to_owned()).spawn(read);
    if let Err(error) = thread {
        warn!(%error, "totals of zones are not counted, they are left out");
    }
    Ok(base)
}

impl Reads<'_> {
    /// How far every stored incident came, by zone. Reads the whole table.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn totals(&self) -> Result<ByZone, StoreError> {
        let conn: &Connection = self.connection();
        let mut totals = ByZone::new();
        let mut query =
            conn.prepare("SELECT id, zone, opened_at, p1_at, life, severity, scope, due_at FROM incident")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let life: String = row.get(4)?;
            let life: Life = serde_json::from_str(&life)
                .map_err(|_| StoreError::Unreadable { what: "life", id: row.get(0).unwrap_or_default() })?;
            let p1_at = row.get::<_, Option<i64>>(3)?.map(Timestamp);
            let (severity, scope): (String, String) = (row.get(5)?, row.get(6)?);
            let is = (severity == Severity::P1.name(), scope == Scope::System.name());
            let (opened_at, due_at) = (Timestamp(row.get(2)?), Timestamp(row.get(7)?));
            let mut of = Totals::of(is_urgent(is, opened_at, p1_at, due_at), opened_at, p1_at, &life);
            // Told by the record below: one that became a P1 may have been breached twice, and its life says the last.
            of.breached = 0;
            *totals.entry(row.get(1)?).or_default() += &of;
        }
        let mut query = conn.prepare(
            "SELECT incident.zone, count(*) FROM event JOIN incident ON incident.id = event.incident
             WHERE event.kind = 'breached' AND coalesce(json_extract(incident.life, '$.drill'), 0) = 0
             GROUP BY incident.zone",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            totals.entry(row.get(0)?).or_default().breached = row.get::<_, i64>(1)?.unsigned_abs();
        }
        Ok(totals)
    }
}

/// Incidents that ended since a look, and how many more did of which nothing is in memory any more.
#[derive(Clone, Debug, Default)]
pub struct EndedSince {
    /// To ask for what ends from here on.
    pub next: u64,
    /// As they ended, oldest first; at most 1,024.
    pub incidents: Vec<Incident>,
    /// Further ones.
    pub missed: u64,
}

impl Alerting {
    /// Totals by zone; none until the store has been read, some moments after the start.
    pub fn totals(&self) -> Option<BTreeMap<Arc<str>, Totals>> {
        let mut totals = self.base.get()?.clone();
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        for (zone, since) in board.totals() {
            *totals.entry(zone.clone()).or_default() += since;
        }
        Some(totals)
    }

    /// Shows every open incident, with the zone whose crew acts on it, by deadline. The alerting thread waits for a few
    /// hundred at most; what opens or ends meanwhile may be missing.
    pub fn each_open(&self, mut show: impl FnMut(&Incident, &Arc<str>)) {
        let register: Arc<Register> = lock(&self.engine).register().clone();
        let mut after = (i64::MIN, Arc::<str>::from(""));
        loop {
            let mut seen = 0;
            let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
            let mut last = None;
            for incident in board.from((after.0, &after.1)).take(WALK) {
                show(incident, incident.zone_in(&register));
                last = Some((incident.due_at.0, incident.id.clone()));
                seen += 1;
            }
            drop(board);
            match last {
                Some(last) if seen == WALK => after = last,
                _ => return,
            }
            std::thread::yield_now();
        }
    }

    /// What ended since the look whose [`EndedSince::next`] is `after`; 0 asks for what is still in memory.
    pub fn ended_since(&self, after: u64) -> EndedSince {
        self.board.read().unwrap_or_else(PoisonError::into_inner).ended_since(after)
    }

    /// One incident as it is now, over or not.
    ///
    /// # Errors
    /// [`StoreError`] when it is not in memory and the store cannot be read.
    pub fn look_up(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        let shown = self.board.read().unwrap_or_else(PoisonError::into_inner).look(id).cloned();
        match shown {
            Some(incident) => Ok(Some(incident)),
            None => Reads::new(&lock(&self.reads)).incident(id),
        }
    }

    /// The colours of some posts at once; the alerting thread waits for all of them.
    pub fn post_states<'p>(&self, posts: impl Iterator<Item = &'p str>, into: &mut Vec<State>) {
        let now = (self.clock)();
        let engine = lock(&self.engine);
        into.extend(posts.map(|post| engine.post_state(post, now).state));
    }
}

#[cfg(test)]
#[path = "totals_tests.rs"]
mod tests;
