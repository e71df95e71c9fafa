//! A shift: what the next one has to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_model::Timestamp;
use serde::Serialize;

use super::{Names, Noted};
use crate::incident::{Incident, Severity};
use crate::kind::TOLD_WITHIN;
use crate::life::{Stage, is_over};

/// Incidents of one list; the count beside it is whole.
pub const LISTED_MAX: usize = 1000;

/// One incident in a list. Times are local, with their offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Brief {
    /// Incident.
    pub id: String,
    /// What it is.
    pub kind: &'static str,
    /// P1 to P4.
    pub severity: &'static str,
    /// Zone.
    pub zone: String,
    /// Road.
    pub road: String,
    /// Post, where it is about one.
    pub post_id: Option<String>,
    /// Where it stands.
    pub state: &'static str,
    /// Crew that has it.
    pub crew: Option<String>,
    /// Whether it may be touched.
    pub safety: &'static str,
    /// When it opened.
    pub opened_at: String,
    /// By when somebody has to be there, or it has to be done; null without a time.
    pub due_at: Option<String>,
    /// When the first crew arrived.
    pub arrived_at: Option<String>,
    /// The deadline passed with nobody there.
    pub breached: bool,
}

/// A list, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// All of them.
    pub count: usize,
    /// At most [`LISTED_MAX`], by deadline.
    pub items: Vec<Brief>,
}

/// An incident that another crew took over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandOver {
    /// Incident.
    pub incident_id: String,
    /// When, local time.
    pub at: String,
    /// By whom.
    pub by: Option<String>,
}

/// How telling went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tellings {
    /// Accepted by their channel.
    pub sent: u64,
    /// Given up.
    pub failed: u64,
    /// Not accepted yet.
    pub queued: u64,
}

/// The report of a shift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// Local time.
    pub from: String,
    /// Local time.
    pub to: String,
    /// Whose time that is.
    pub time_zone: String,
    /// When it was made.
    pub made_at: String,
    /// Opened in this time.
    pub opened: Listed,
    /// P2 that are due in a day, and not over: the work of the next days.
    pub worklist: Listed,
    /// P1, and P2 due soon, that are not over: somebody has to see to them now.
    pub open: Listed,
    /// P3 and P4 that are not over.
    pub lists: Listed,
    /// Taken over by another crew in this time.
    pub handed_over: Vec<HandOver>,
    /// Repaired, verified and closed, or withdrawn, in this time.
    pub done: Listed,
    /// The deadline passed in this time with nobody there.
    pub breached: Listed,
    /// Notices made in this time.
    pub notices: Tellings,
}

/// Order of a list: deadline, opening, id.
type Place = (Timestamp, Timestamp, Arc<str>);

/// A list in the making: the count is whole, of the rest [`LISTED_MAX`] are kept.
#[derive(Default)]
struct Listing {
    count: usize,
    items: BTreeMap<Place, Brief>,
}

impl Listing {
    fn add(&mut self, i: &Incident, names: &Names, now: Timestamp) {
        self.count += 1;
        let place = (i.due_at, i.opened_at, i.id.clone());
        let is_full = self.items.len() >= LISTED_MAX;
        if is_full && self.items.last_key_value().is_some_and(|(last, _)| *last < place) {
            return;
        }
        self.items.insert(place, brief(i, names, now));
        if self.items.len() > LISTED_MAX {
            self.items.pop_last();
        }
    }

    fn done(self) -> Listed {
        Listed { count: self.count, items: self.items.into_values().collect() }
    }
}

/// A shift in the making, as it is known at `now`: whatever lived from `from` until `to` goes by.
pub(super) struct Gathering<'n> {
    window: (Timestamp, Timestamp),
    names: &'n Names,
    now: Timestamp,
    /// In the order of [`Shift`]: opened, worklist, open, lists, done, breached.
    lists: [Listing; 6],
}

impl<'n> Gathering<'n> {
    pub(super) fn new(window: (Timestamp, Timestamp), names: &'n Names, now: Timestamp) -> Self {
        Self { window, names, now, lists: Default::default() }
    }

    /// Puts it into its lists.
    pub(super) fn see(&mut self, i: &Incident) {
        if i.life.drill {
            return;
        }
        let (from, to) = self.window;
        let within = |at: Timestamp| from <= at && at < to;
        let (lives, ended) = (!is_over(i.life.state), i.life.ended.as_ref().map(|mark| mark.received_at));
        let since = i.p1_at.unwrap_or(i.opened_at);
        let soon = i.severity == Severity::P1 || i.due().is_some_and(|due| due.since(since) <= TOLD_WITHIN);
        let passed = |due| within(due) && i.life.is_breached(due, self.now.min(to));
        let wanted = [
            within(i.opened_at),
            lives && i.severity == Severity::P2 && !soon,
            lives && soon,
            lives && i.severity < Severity::P2,
            i.life.state != Stage::Merged && ended.is_some_and(within),
            i.due().is_some_and(passed),
        ];
        for (list, _) in self.lists.iter_mut().zip(wanted).filter(|(_, wanted)| *wanted) {
            list.add(i, self.names, self.now);
        }
    }

    pub(super) fn finish(self, accepted: &[Noted], notices: Tellings) -> Shift {
        let ((from, to), names) = (self.window, self.names);
        let over = |(incident, at, body): &Noted| HandOver {
            incident_id: incident.to_string(),
            at: names.local(*at),
            by: body.get("by").and_then(serde_json::Value::as_str).map(ToOwned::to_owned),
        };
        let [opened, worklist, open, lists, done, breached] = self.lists.map(Listing::done);
        Shift {
            from: names.local(from),
            to: names.local(to),
            time_zone: names.time_zone.clone(),
            made_at: names.local(self.now),
            opened,
            worklist,
            open,
            lists,
            handed_over: accepted.iter().map(over).collect(),
            done,
            breached,
            notices,
        }
    }
}

fn brief(i: &Incident, names: &Names, now: Timestamp) -> Brief {
    Brief {
        id: i.id.to_string(),
        kind: i.evidence.kind.name(),
        severity: i.severity.name(),
        zone: i.zone.to_string(),
        road: i.road.to_string(),
        post_id: (!i.post_id.is_empty()).then(|| i.post_id.to_string()),
        state: i.life.state.name(),
        crew: i.life.crew.clone(),
        safety: i.life.safety(),
        opened_at: names.local(i.opened_at),
        due_at: i.due().map(|due| names.local(due)),
        arrived_at: i.life.arrived_at().map(|at| names.local(at)),
        breached: i.due().is_some_and(|due| i.life.is_breached(due, now)),
    }
}
