//! What the head of the office reads: a month by zone and crew, and a shift. Pure: from what the store holds, at a moment.
//!
//! | file | what it holds |
//! |---|---|
//! | `month.rs` | told, acknowledged, arrived, breached, why late, usual times |
//! | `shift.rs` | opened, worklist, open, handed over, done |
//! | `csv.rs` | a table that Excel opens in Chinese |
//!
//! Nothing here changes anything: a report is counted anew from the incidents each time. Drills count nowhere
//! (`policy.md` 5), nor what belongs to the system alone.

mod csv;
mod month;
mod shift;

pub use csv::{Cell, table};
pub use month::{Month, Row, month_csv, month_window};
pub use shift::{Brief, HandOver, LISTED_MAX, Shift, Tellings};

use std::path::Path;
use std::sync::Arc;

use lampguard_model::Timestamp;
use rusqlite::Connection;

use month::Counting;
use shift::Gathering;

use crate::incident::{Incident, Scope};
use crate::ladder::crew_named;
use crate::life::Stage;
use crate::rota::Rota;
use crate::run::Alerting;
use crate::store::{Reads, StoreError, open_for_reading};

/// Incidents of one report at most; beyond, it is refused: a table with a part missing would be a lie.
pub const CASES_MAX: usize = 200_000;
/// Tellings of one incident that a report looks at: the first ones decide.
pub(crate) const TOLD_MAX: usize = 1000;

/// What zones and crews are called, and who belongs to whom.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Id and name of each zone.
    pub zones: Vec<(String, String)>,
    /// Crews and their people, and whose a zone is where an incident names nobody.
    pub rota: Arc<Rota>,
    /// IANA name; months begin and times are told by it.
    pub time_zone: String,
}

impl Names {
    fn zone(&self, id: &str) -> String {
        let known = self.zones.iter().find(|(known, _)| known == id);
        known.map_or_else(|| id.to_owned(), |(_, name)| name.clone())
    }

    fn crew(&self, id: &str) -> String {
        self.rota.crews.get(id).map_or_else(|| id.to_owned(), |crew| crew.name.clone())
    }

    /// The crew that a name means, by its id, however it was written down: its id, its name, or one of its people. A name
    /// that nobody knows stands for itself.
    fn crew_id<'n>(&'n self, name: &'n str) -> &'n str {
        crew_named(&self.rota, name).map_or(name, |crew| &crew.id)
    }

    /// Id of the crew whose a zone is.
    fn crew_of_zone(&self, zone: &str) -> &str {
        self.rota.zones.get(zone).map_or("", |duty| &duty.crew)
    }

    /// The crew that an incident counts for: the one that has it, else that of its zone.
    fn crew_of<'n>(&'n self, incident: &'n Incident) -> &'n str {
        let own = incident.life.crew.as_deref().map(|crew| self.crew_id(crew));
        own.unwrap_or_else(|| self.crew_of_zone(&incident.zone))
    }

    /// Whether somebody belongs to a crew, whatever it is named by; none: nobody is named there.
    fn is_of(&self, person: &str, crew: &str) -> Option<bool> {
        let id = self.crew_id(crew);
        let members = &self.rota.crews.get(id)?.members;
        let is_member = || members.iter().any(|member| *member.name == *person);
        (!members.is_empty()).then(|| self.crew_id(person) == id || is_member())
    }

    fn zone_of_time(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.time_zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }

    /// `2026-11-24 01:10:00+08:00`.
    fn local(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_millisecond(at.0) {
            Ok(t) => t.to_zoned_datetime(self.zone_of_time()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string(),
            Err(_) => at.to_rfc3339(),
        }
    }
}

/// An incident, and who was told of it as it is, and when: since it is a P1, where it is one.
#[derive(Clone, Debug)]
pub struct Case {
    /// As the store has it.
    pub incident: Incident,
    /// Accepted notices and lists that named it, the first first; at most `TOLD_MAX`.
    pub told: Vec<(Timestamp, String)>,
}

impl Case {
    /// When the first of them was accepted.
    fn told_at(&self) -> Option<Timestamp> {
        self.told.first().map(|(at, _)| *at)
    }

    /// Since when the crew that has it knew: the first acceptance to one of its people, else its own word. Where nobody is
    /// named, to anybody.
    fn crew_told_at(&self, crew: &str, names: &Names) -> Option<Timestamp> {
        let its = |to: &str| names.is_of(to, crew).unwrap_or(true);
        let said = self.incident.life.acknowledged.as_ref().map(|mark| mark.at);
        self.told.iter().find(|(_, to)| its(to)).map(|(at, _)| *at).or(said)
    }

    /// Since when people have to hurry.
    fn since(&self) -> Timestamp {
        self.incident.p1_at.unwrap_or(self.incident.opened_at)
    }

    /// It is no drill, not the system's own, and was neither withdrawn nor put together with another.
    fn counts(&self) -> bool {
        let i = &self.incident;
        !i.life.drill && i.scope != Scope::System && !matches!(i.life.state, Stage::Void | Stage::Merged)
    }

    /// Somebody had to stand there soon: every P1, and a P2 that is due within two hours.
    fn is_urgent(&self) -> bool {
        let i = &self.incident;
        i.due().is_some_and(|due| due.since(self.since()) <= crate::kind::TOLD_WITHIN)
    }
}

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The store cannot be read. Try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not a month.
    #[error("month {0:?} is not like 2026-11")]
    Month(String),
    /// The end is not behind the beginning.
    #[error("from {from} is not before to {to}")]
    Order {
        /// Beginning.
        from: Timestamp,
        /// End.
        to: Timestamp,
    },
    /// More than [`CASES_MAX`].
    #[error("more than {CASES_MAX} incidents: ask for a shorter time")]
    TooMany,
}

/// Two passes over one state of the store; what is kept of an incident is a few numbers.
fn month_from(conn: &Connection, text: &str, names: &Names, now: Timestamp) -> Result<Month, ReportError> {
    let (from, to) = month_window(text, &names.zone_of_time())?;
    let state = conn.unchecked_transaction().map_err(StoreError::from)?;
    let reads = Reads::new(&state);
    let (mut counting, mut room) = (Counting::new(names, now), Room::default());
    reads.each_alive(from, to, |case| {
        counting.bind(&case);
        room.takes()
    })?;
    room.check()?;
    reads.each_opened(from, to, |case| {
        counting.count(&case);
        true
    })?;
    Ok(counting.finish(text, (from, to)))
}

/// Counts up to [`CASES_MAX`].
#[derive(Default)]
struct Room(usize);

impl Room {
    fn takes(&mut self) -> bool {
        self.0 += 1;
        self.0 <= CASES_MAX
    }

    fn check(&self) -> Result<(), ReportError> {
        if self.0 > CASES_MAX { Err(ReportError::TooMany) } else { Ok(()) }
    }
}

/// The month `2026-11` from the store in the data directory `dir`, also beside a running instance.
///
/// # Errors
/// [`ReportError`]
pub fn month_of_dir(dir: &Path, text: &str, names: &Names, now: Timestamp) -> Result<Month, ReportError> {
    let conn = open_for_reading(dir)?;
    crate::store::check_format(&conn)?;
    month_from(&conn, text, names, now)
}

impl Alerting {
    /// The month `2026-11`.
    ///
    /// # Errors
    /// [`ReportError`]
    pub fn month(&self, text: &str, names: &Names) -> Result<Month, ReportError> {
        month_from(&self.own_reads()?, text, names, (self.clock)())
    }

    /// What happened from `from` until `to`.
    ///
    /// # Errors
    /// [`ReportError`]
    pub fn shift(&self, from: Timestamp, to: Timestamp, names: &Names) -> Result<Shift, ReportError> {
        if from >= to {
            return Err(ReportError::Order { from, to });
        }
        let conn = self.own_reads()?;
        let state = conn.unchecked_transaction().map_err(StoreError::from)?;
        let reads = Reads::new(&state);
        let (mut shift, mut room) = (Gathering::new((from, to), names, (self.clock)()), Room::default());
        reads.each_alive(from, to, |case| {
            shift.see(&case.incident);
            room.takes()
        })?;
        room.check()?;
        Ok(shift.finish(&reads.events_of("accept", from, to, LISTED_MAX)?, reads.tellings(from, to)?))
    }
}

/// The middle of some spans, seconds; none without any.
fn median(mut spans: Vec<i64>) -> Option<i64> {
    let middle = spans.len() / 2;
    (!spans.is_empty()).then(|| *spans.select_nth_unstable(middle).1)
}

/// An event of the store: incident, when, body.
pub type Noted = (Arc<str>, Timestamp, serde_json::Value);

#[cfg(test)]
mod tests;
