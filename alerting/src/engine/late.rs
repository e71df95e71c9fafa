//! Readings that come late: backlogs, and clocks that went back.

use lampguard_model::{Cause, Millis, StoredReading, Timestamp};

use super::{Effect, Engine, Moment, raise, sample_of};
use crate::kind::{SAMPLED, Sampled};
use crate::sample::Bits;
use crate::slot::Fact;

/// A late critical waits this long for the rest of its backlog before it is decided.
const LATE_HOLD: Millis = Millis::seconds(10);
/// Posts that may wait so at once; beyond, a late critical is decided at the next look.
const HELD_MAX: usize = 10_000;

/// A late critical that waits for the rest of its backlog.
#[derive(Debug)]
pub(super) struct Held {
    slot: usize,
    sampled: Sampled,
    pub(super) until: Timestamp,
}

fn moment(slot: usize, now: Timestamp, measured_at: Timestamp, late: bool, clock_back: bool) -> Moment {
    Moment { slot, now, measured_at, late, clock_back }
}

impl Engine {
    /// When the reading was measured, as far as this post's clock is believed; `None` when it must not touch
    /// the live state.
    pub(super) fn place_in_time(
        &mut self,
        slot: usize,
        now: Timestamp,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) -> Option<Moment> {
        let s = &mut self.slots[slot];
        let bound = s.late_bound();
        let mut measured_at = reading.measured_at();
        let late = now.since(measured_at) > bound;
        if !late {
            s.set(Fact::ClockBack, false);
        }
        let mut clock_back = false;
        if s.newest_at.since(measured_at) > bound {
            // Either a backlog behind newer samples, or a clock that went back. A device that says nothing
            // recent for longer than the bound, and sends old times all the while, has a wrong clock: it
            // is judged at receipt, or it would be deaf until its clock has caught up.
            // A person's finding is never too old: it stands at receipt.
            if reading.cause == Cause::Manual {
                return Some(moment(slot, now, now, false, false));
            }
            let quiet = s.heard_at().is_none_or(|at| now.since(at) > bound);
            if reading.cause == Cause::Backfill || !(quiet || s.is(Fact::ClockBack)) {
                self.review(slot, reading, measured_at, effects);
                return None;
            }
            s.set(Fact::ClockBack, true);
            (measured_at, clock_back) = (now, true);
        }
        Some(moment(slot, now, measured_at, late && !clock_back, clock_back))
    }

    pub(super) fn hold(&mut self, slot: usize, sampled: Sampled, now: Timestamp) {
        let until = now + LATE_HOLD;
        let known = self.held.iter_mut().find(|held| held.slot == slot && held.sampled == sampled);
        match known {
            Some(held) => held.until = held.until.max(until),
            None => self.held.push(Held { slot, sampled, until }),
        }
    }

    /// A late critical with nothing newer and powered against it opens; contradicted it is only reviewed.
    pub(super) fn decide_late(
        &mut self,
        slot: usize,
        sampled: Sampled,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (limit, _) = self.limit(slot, sampled, false, now);
        let samples = self.slots[slot].ring(sampled).samples();
        let Some(last) = samples.iter().rposition(|s| s.is_above(limit)) else {
            return;
        };
        let contradicted = samples[last + 1..].iter().any(|s| s.has(Bits::POWERED));
        let measured_at = samples[last].at();
        match self.ask(slot, sampled, limit, Some(last)) {
            Some(confirmed) if !contradicted => {
                let notes = vec![raise::NOTE_LATE.to_owned()];
                self.raise_critical(slot, sampled, &confirmed, now, notes, effects);
            }
            _ => effects.push(Effect::Review { post: self.owners[slot].name().clone(), measured_at }),
        }
    }

    pub(super) fn review(
        &self,
        slot: usize,
        reading: &StoredReading<'_>,
        measured_at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let above = |sampled| {
            let limit = self.limit(slot, sampled, false, measured_at).0;
            sample_of(reading, sampled, measured_at, true, 0).is_some_and(|s| s.is_above(limit))
        };
        if SAMPLED.into_iter().any(above) {
            let post = self.owners[slot].name().clone();
            effects.push(Effect::Review { post, measured_at });
        }
    }

    /// Our own clock went back. What was heard in a time that has not come yet says nothing about what is new:
    /// it would make every reading look older than the newest one, and every post deaf until the clock has
    /// caught up.
    pub(super) fn clock_went_back(&mut self, now: Timestamp) {
        for slot in &mut self.slots {
            slot.forget_future(now);
        }
        for open in &mut self.open {
            open.calm_from = open.calm_from.filter(|at| *at <= now);
            open.calm_since = open.calm_since.map(|since| since.filter(|at| *at <= now));
        }
        for held in &mut self.held {
            held.until = held.until.min(now + LATE_HOLD);
        }
    }

    /// Decides late criticals whose backlog has had time to arrive.
    pub(super) fn decide_held(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut place = 0;
        while let Some(held) = self.held.get(place) {
            if now < held.until && self.held.len() < HELD_MAX {
                place += 1;
                continue;
            }
            let held = self.held.swap_remove(place);
            self.decide_late(held.slot, held.sampled, now, effects);
        }
    }
}
