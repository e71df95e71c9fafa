//! The open incidents in memory: readable while the disk is full, the database locked, or the store slow.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::incident::{Event, EventView, Incident, Severity};
use crate::life::is_over;

/// Incidents that are over and still answered from memory: the store may not have them yet.
const RECENT_MAX: usize = 1024;
/// Events kept in memory per incident, the newest ones; the store has all of them.
const EVENTS_MAX: usize = 64;

#[derive(Debug)]
struct Shown {
    incident: Incident,
    events: Vec<(String, EventView)>,
}

/// Every open incident with its newest events.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// By deadline, then id: the order of lists.
    order: BTreeMap<(i64, Arc<str>), ()>,
    shown: HashMap<Arc<str>, Shown, RandomState>,
    /// Over, the newest last.
    recent: VecDeque<Arc<str>>,
}

impl Board {
    /// Puts an incident on, or renews it; with the event that did it, if there is one.
    pub(crate) fn put(&mut self, incident: Incident, event: Option<&Event>) {
        let id = incident.id.clone();
        let over = is_over(incident.life.state);
        if over {
            self.take_off(&incident);
        } else if self.recent.contains(&id) {
            return;
        }
        let shown = self.shown.entry(id.clone()).or_insert_with(|| {
            if !over {
                self.order.insert((incident.due_at.0, id.clone()), ());
            }
            Shown { incident: incident.clone(), events: Vec::new() }
        });
        assert!(shown.incident.due_at >= incident.due_at, "a deadline moved later by itself");
        if shown.incident.due_at > incident.due_at {
            self.order.remove(&(shown.incident.due_at.0, id.clone()));
            if !over {
                self.order.insert((incident.due_at.0, id), ());
            }
        }
        shown.incident = incident;
        let known = |event: &&Event| !shown.events.iter().any(|(key, _)| *key == event.key);
        if let Some(event) = event.filter(known) {
            if shown.events.len() >= EVENTS_MAX {
                shown.events.remove(0);
            }
            shown.events.push(event.keyed_view());
        }
    }

    /// An incident is over: it leaves the list, and stays to be asked for a while.
    fn take_off(&mut self, incident: &Incident) {
        if self.recent.contains(&incident.id) {
            return;
        }
        self.order.remove(&(incident.due_at.0, incident.id.clone()));
        self.recent.push_back(incident.id.clone());
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.shown.remove(&oldest);
        }
    }

    /// One incident with its newest events.
    pub(crate) fn get(&self, id: &str) -> Option<(Incident, Vec<(String, EventView)>)> {
        let shown = self.shown.get(id)?;
        Some((shown.incident.clone(), shown.events.clone()))
    }

    /// One incident.
    pub(crate) fn look(&self, id: &str) -> Option<&Incident> {
        self.shown.get(id).map(|shown| &shown.incident)
    }

    /// Incidents behind `after`, by deadline.
    pub(crate) fn from(&self, after: (i64, &str)) -> impl Iterator<Item = &Incident> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = (after.0, Arc::from(after.1));
        self.order
            .range((Excluded(start), Unbounded))
            .filter_map(|((_, id), ())| Some(&self.shown.get(id)?.incident))
    }

    /// Open incidents by zone and severity, of every zone that has some. Drills count nowhere.
    pub(crate) fn count_by_zone(&self) -> BTreeMap<(Arc<str>, Severity), i64> {
        let mut counts = BTreeMap::new();
        let open = self.order.keys().filter_map(|(_, id)| self.shown.get(id));
        for shown in open.filter(|shown| !shown.incident.life.drill) {
            let of = (shown.incident.zone.clone(), shown.incident.severity);
            *counts.entry(of).or_insert(0) += 1;
        }
        counts
    }
}
