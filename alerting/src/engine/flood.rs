//! More dangers than people can take in: from here on they get lists (`policy.md` 5, Flood).
//!
//! Limits: [`RAISED_MAX`] moments of raising are kept; [`NAMED_MAX`] incidents stand in one list, the most dangerous
//! ones, and the rest is a count.

use std::collections::VecDeque;
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde_json::json;

use super::ladder::Gathered;
use super::{Effect, Engine, STEP_BACK};
use crate::incident::{Event, Incident, Kind, Severity};
use crate::ladder::{Handover, Milestones, Telling, danger};

/// Moments that are kept: no policy can ask for more.
const RAISED_MAX: usize = 100_000;
/// Incidents that one list holds: as many as one person can be told of in the window, ten times twenty.
const NAMED_MAX: usize = 200;

/// Whether there is a flood.
#[derive(Debug, Default)]
pub(super) struct Flooded {
    on: bool,
    /// What was last said of it.
    told: bool,
    /// When the last P1 and P2 were raised, the oldest first.
    raised: VecDeque<Timestamp>,
    /// When the last rungs were told by messages of their own.
    rungs: VecDeque<Timestamp>,
}

/// Within the window; a clock that goes back a little makes nothing less recent.
fn is_recent(at: Timestamp, now: Timestamp, window: Millis) -> bool {
    let age = now.since(at);
    Millis(-STEP_BACK.0) <= age && age < window
}

impl Engine {
    /// Messages are grouped.
    pub fn is_flood(&self) -> bool {
        self.calling.flood.on
    }

    /// Our clock went back: nothing was raised or told in a time that has not come.
    pub(super) fn forget_future_floods(&mut self, now: Timestamp) {
        let flood = &mut self.calling.flood;
        for kept in [&mut flood.raised, &mut flood.rungs] {
            kept.retain(|at| *at <= now + STEP_BACK);
        }
    }

    /// A P1 or P2 was raised.
    pub(super) fn note_raised(&mut self, incident: &Incident, at: Timestamp) {
        if incident.severity < Severity::P2 || incident.life.drill {
            return;
        }
        let flood = &mut self.calling.flood;
        let kept = (self.policy.flood.begin_above as usize).saturating_add(1).min(RAISED_MAX);
        if flood.raised.back().is_some_and(|last| *last > at) {
            // A start takes them back in the order of their deadlines.
            let place = flood.raised.partition_point(|known| *known <= at);
            flood.raised.insert(place, at);
        } else {
            flood.raised.push_back(at);
        }
        while flood.raised.len() > kept {
            flood.raised.pop_front();
        }
        if !flood.on && flood.raised.len() >= kept && self.raised_lately(at) >= kept {
            // At once: the one that makes it a flood is the first of the lists.
            self.calling.flood.on = true;
        }
    }

    /// A rung is to be told: true when it goes into a list. That is so in a flood, and behind one, when the ladders of
    /// all that is still open come to their next rungs together.
    pub(super) fn crowds(&mut self, now: Timestamp) -> bool {
        let (most, window) = (self.policy.flood.begin_above as usize, self.policy.flood.window);
        let flood = &mut self.calling.flood;
        flood.rungs.retain(|at| is_recent(*at, now, window));
        if flood.on || flood.rungs.len() >= most.min(RAISED_MAX) {
            return true;
        }
        flood.rungs.push_back(now);
        false
    }

    fn raised_lately(&self, now: Timestamp) -> usize {
        let window = self.policy.flood.window;
        self.calling.flood.raised.iter().filter(|at| is_recent(**at, now, window)).count()
    }

    /// When a flood that goes on ends if nothing more is raised.
    pub(super) fn flood_ends(&self) -> Option<Timestamp> {
        let flood = &self.calling.flood;
        let below = self.policy.flood.end_below as usize;
        let leaves = flood.raised.iter().rev().nth(below.checked_sub(1)?);
        flood.on.then(|| leaves.map_or(self.advanced_at, |at| *at + self.policy.flood.window))
    }

    pub(super) fn look_at_flood(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let count = self.raised_lately(now);
        let was = self.calling.flood.told;
        if self.calling.flood.on && count < self.policy.flood.end_below as usize {
            self.calling.flood.on = false;
        }
        if was == self.calling.flood.on {
            return;
        }
        self.calling.flood.told = self.calling.flood.on;
        let kind = if self.calling.flood.on { "flood_began" } else { "flood_ended" };
        let event = Event {
            key: format!("{kind}:{}", now.0),
            incident: Arc::from(""),
            at: now,
            kind,
            body: json!({ "raised": count }).to_string(),
        };
        effects.push(Effect::Flood { on: self.calling.flood.on, event });
    }

    /// What an incident that is not safe yet was told since `from` by its ladder and at a change of shift, and when: after
    /// a restart it is held against what went out.
    pub fn told_since(
        &self,
        incident: &Incident,
        from: Timestamp,
        now: Timestamp,
    ) -> Vec<(Timestamp, Telling)> {
        let (climb, ladder) = (&incident.life.climb, self.calling.ladders.of(incident, &self.register));
        let goes_on = Milestones::of(incident, &self.policy).is_some();
        // Of many dark lamps of a road one is told.
        let opening = climb.listed || (incident.is_told() && incident.evidence.kind != Kind::LampOut);
        let told = climb.told.iter().filter(|said| goes_on && said.at > from);
        let rungs = told.filter(|said| said.step > 0 || opening).filter_map(|said| {
            let to = match (said.step, &said.rung) {
                (0, _) => self.opening(incident, now),
                (_, Some(which)) => self.made_for(incident, Telling::to(&which.to)),
                (step, None) => self.made_for(incident, Telling::to(&ladder?.rungs.get(step as usize)?.to)),
            };
            Some((said.at, to))
        });
        let crews = |known: &Handover| Telling {
            crews: vec![known.from.clone(), known.to.clone()],
            handover: true,
            ..Telling::default()
        };
        let shift = climb.handover.iter().filter(|known| known.at > from);
        rungs.chain(shift.map(|known| (known.at, self.made_for(incident, crews(known))))).collect()
    }

    /// What was gathered becomes one telling for each zone and rung. `one`: the incident that all of it is of, where
    /// others are told of in the same moment.
    pub(super) fn tell_gathered(
        &mut self,
        gathered: Gathered,
        one: Option<&str>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        for ((zone, step, word, crews), (to, mut places)) in gathered {
            let count = places.len();
            let rank = |place: &usize| std::cmp::Reverse(danger(&self.open[*place].incident));
            if places.len() > NAMED_MAX {
                places.select_nth_unstable_by_key(NAMED_MAX, rank);
                places.truncate(NAMED_MAX);
            }
            places.sort_by_key(rank);
            let incidents: Vec<Incident> =
                places.iter().map(|place| self.open[*place].incident.clone()).collect();
            let ids: Vec<&str> = incidents.iter().map(|incident| &*incident.id).collect();
            let of = crews.iter().map(|crew| &**crew).chain(one);
            let of = of.fold(String::new(), |of, name| format!("{of}:{name}"));
            let event = Event {
                key: format!("rungs:{zone}:{step}:{word}:{}{of}", now.0),
                incident: Arc::from(""),
                at: now,
                kind: "rungs",
                body: json!({ "zone": zone, "step": step, "word": word, "whom": to.whom, "crews": to.crews, "count": count,
                    "incidents": ids })
                .to_string(),
            };
            effects.push(Effect::Many { zone, word, to, incidents, count, event });
        }
    }
}
