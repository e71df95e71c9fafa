//! The open incidents in memory: readable while the disk is full, the database locked, or the store slow.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::incident::{Event, EventView, Incident, Severity};
use crate::life::is_over;
use crate::totals::{ByZone, EndedSince};

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
    /// Open ones without drills, by zone and severity: counted as they come and go, because the alerting thread asks
    /// behind every frame.
    counts: BTreeMap<(Arc<str>, Severity), i64>,
    /// How far incidents came since [`Board::begin_totals`], by zone.
    totals: ByZone,
    /// How many have ended.
    ended: u64,
}

/// What an incident counts as.
fn counted(incident: &Incident) -> Option<(Arc<str>, Severity)> {
    let counts = !incident.life.drill && !is_over(incident.life.state);
    counts.then(|| (incident.zone.clone(), incident.severity))
}

impl Board {
    /// Puts an incident on, or renews it; with the event that did it, if there is one.
    pub(crate) fn put(&mut self, incident: Incident, event: Option<&Event>) {
        let id = incident.id.clone();
        let over = is_over(incident.life.state);
        let before = self.shown.get(&id).map(|shown| &shown.incident);
        if over {
            self.take_off(&incident);
        } else if before.is_some_and(|before| is_over(before.life.state)) {
            return;
        }
        let of = [self.shown.get(&id).and_then(|shown| counted(&shown.incident)), counted(&incident)];
        self.recount(of);
        self.count_further(&incident);
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

    fn count_further(&mut self, incident: &Incident) {
        let before = self.shown.get(&incident.id).map(|shown| &shown.incident);
        if before.is_none() && is_over(incident.life.state) {
            // Old, and only annotated: the store has it, and it was counted there.
            return;
        }
        match self.totals.get_mut(&incident.zone) {
            Some(totals) => totals.further(before, incident),
            None => self.totals.entry(incident.zone.clone()).or_default().further(before, incident),
        }
    }

    fn recount(&mut self, [before, after]: [Option<(Arc<str>, Severity)>; 2]) {
        if before == after {
            return;
        }
        if let Some(count) = before.and_then(|of| self.counts.get_mut(&of)) {
            *count -= 1;
        }
        if let Some(of) = after {
            *self.counts.entry(of).or_insert(0) += 1;
        }
    }

    /// An incident is over: it leaves the list, and stays to be asked for a while.
    fn take_off(&mut self, incident: &Incident) {
        if self.recent.contains(&incident.id) {
            return;
        }
        self.order.remove(&(incident.due_at.0, incident.id.clone()));
        self.recent.push_back(incident.id.clone());
        self.ended += 1;
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.shown.remove(&oldest);
        }
    }

    /// What is on the board by now was counted elsewhere.
    pub(crate) fn begin_totals(&mut self) {
        self.totals.clear();
    }

    /// How far incidents came since then, by zone.
    pub(crate) fn totals(&self) -> &ByZone {
        &self.totals
    }

    /// What ended after the first `after` ones.
    pub(crate) fn ended_since(&self, after: u64) -> EndedSince {
        let wanted = self.ended.saturating_sub(after);
        let kept = self.recent.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let newest = self.recent.iter().skip(self.recent.len() - kept);
        let incidents: Vec<_> = newest.filter_map(|id| self.look(id).cloned()).collect();
        EndedSince { next: self.ended, missed: wanted - incidents.len() as u64, incidents }
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

    /// Open incidents by zone and severity, of every zone that has or had some. Drills count nowhere.
    pub(crate) fn count_by_zone(&self) -> &BTreeMap<(Arc<str>, Severity), i64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::mix;
    use crate::life::Stage;
    use crate::testkit::incident;

    #[test]
    fn counts_are_those_of_a_look_at_every_open_incident_after_any_moves() {
        let seed = 26u64;
        let mut board = Board::default();
        let mut gone = HashMap::<usize, bool>::new();
        for step in 0..20_000 {
            let dice = mix(seed << 32 | step);
            let n = (dice % 3000) as usize;
            let mut of = incident(n);
            of.zone = Arc::from(["z1", "z2"][n % 2]);
            of.severity = [Severity::P1, Severity::P2][(dice >> 20) as usize % 2];
            of.life.drill = n.is_multiple_of(7);
            let over = gone.entry(n).or_insert(false);
            *over |= (dice >> 40).is_multiple_of(10);
            of.life.state = if *over { Stage::Closed } else { Stage::Open };
            board.put(of, None);
            if step % 500 != 0 {
                continue;
            }
            let mut looked = BTreeMap::new();
            for open in board.from((i64::MIN, "")).filter(|open| !open.life.drill) {
                *looked.entry((open.zone.clone(), open.severity)).or_insert(0) += 1;
            }
            let counts: BTreeMap<_, _> = board
                .count_by_zone()
                .iter()
                .filter(|(_, count)| **count != 0)
                .map(|(of, n)| (of.clone(), *n))
                .collect();
            assert_eq!(counts, looked, "seed {seed}, step {step}");
        }
    }
}
