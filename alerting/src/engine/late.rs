//! Readings that come late: backlogs, and clocks that went back.

use lampguard_model::{Cause, Millis, StoredReading, Timestamp};

use super::moves::Belongs;
use super::place::Subject;
use super::sweep::LOOK_AGAIN;
use super::{Effect, Engine, Moment, admission_key, raise, sample_of};
use crate::confirm::{Confirmed, Question, confirm};
use crate::incident::Family;
use crate::kind::{SAMPLED, Sampled};
use crate::sample::{Bits, Ring, Sample};
use crate::slot::Fact;

/// A late critical waits this long for the rest of its backlog before it is decided.
const LATE_HOLD: Millis = Millis::seconds(10);
/// Posts that may wait so at once; beyond, a late critical is decided at the next look.
const HELD_MAX: usize = 10_000;

/// Late criticals of one quantity of a post, which wait for the rest of their backlog.
#[derive(Debug)]
pub(super) struct Held {
    /// What speaks for and against danger: samples above the limit, and powered ones. An unpowered value below
    /// the limit says neither, and a long dead day behind the danger may not push it out.
    ring: Ring,
    /// The newest critical among them.
    last: Timestamp,
    pub(super) until: Timestamp,
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
        let again = self.replaying && s.heard_at().is_some_and(|known| now < known + Millis::seconds(1));
        let bound = s.late_bound(&self.policy.samples);
        let mut measured_at = reading.measured_at();
        let late = now.since(measured_at) > bound;
        if !late {
            s.set(Fact::ClockBack, false);
        }
        // No backlog, which comes faster than it was measured: its clock is behind. It is judged at receipt, or its
        // water, flags and warnings would be late for ever.
        let in_step = || s.heard_at().is_some_and(|heard| is_in_step(heard, now, s.newest_at(), measured_at));
        let machine = !matches!(reading.cause, Cause::Backfill | Cause::Manual);
        if late && machine && (s.is(Fact::ClockBack) || in_step()) {
            s.set(Fact::ClockBack, true);
            let (measured_at, late) = (now, false);
            return Some(Moment { slot, now, measured_at, late, clock_back: true, again });
        }
        let mut clock_back = false;
        if s.newest_at().since(measured_at) > bound {
            // Either a backlog behind newer samples, or a clock that went back. A device that says nothing
            // recent for longer than the bound, and sends old times all the while, has a wrong clock: it
            // is judged at receipt, or it would be deaf until its clock has caught up.
            // A person's finding is never too old: it stands at receipt.
            if reading.cause == Cause::Manual {
                let (measured_at, late) = (now, false);
                return Some(Moment { slot, now, measured_at, late, clock_back, again });
            }
            let quiet = s.heard_at().is_none_or(|at| now.since(at) > bound);
            if reading.cause == Cause::Backfill || !(quiet || s.is(Fact::ClockBack)) {
                self.take_behind(slot, now, reading, measured_at, effects);
                return None;
            }
            s.set(Fact::ClockBack, true);
            (measured_at, clock_back) = (now, true);
        }
        let late = late && !clock_back;
        Some(Moment { slot, now, measured_at, late, clock_back, again })
    }

    /// A late critical waits for the rest of its backlog; while nothing has confirmed it, for as long as a live one
    /// is watched.
    pub(super) fn hold(&mut self, slot: usize, sampled: Sampled, sample: Sample, now: Timestamp) {
        // A replay brings what an incident that is over had seen.
        if self.belongs(&Subject::Post(slot), Family::Electric, now) == Belongs::Ended {
            return;
        }
        let (limit, _) = self.limit(slot, sampled, false, now);
        let known = self.slots[slot].ring(sampled);
        let held = self.held.entry((slot, sampled.place())).or_insert_with(|| {
            let mut ring = Ring::default();
            for sample in known.samples().iter().filter(|sample| speaks(sample, limit)) {
                ring.insert(*sample);
            }
            Held { ring, last: sample.at(), until: now }
        });
        held.ring.insert(sample);
        held.last = held.last.max(sample.at());
        let ring = held.ring;
        let wait = match self.ask_held(slot, &ring, limit) {
            Some(_) => LATE_HOLD,
            None => self.watched_for(slot),
        };
        if let Some(held) = self.held.get_mut(&(slot, sampled.place())) {
            held.until = now + wait;
        }
    }

    fn ask_held(&self, slot: usize, ring: &Ring, limit: i64) -> Option<Confirmed> {
        let samples = ring.samples();
        confirm(&Question {
            rules: &self.policy.confirm,
            samples,
            limit,
            period: self.slots[slot].period(),
            came: Some(samples.iter().rposition(|sample| sample.is_above(limit))?),
        })
    }

    /// A sample of a post whose late criticals are held.
    pub(super) fn note_held(&mut self, slot: usize, sampled: Sampled, sample: Sample, now: Timestamp) {
        let (limit, _) = self.limit(slot, sampled, false, now);
        if let Some(held) = self.held.get_mut(&(slot, sampled.place()))
            && speaks(&sample, limit)
        {
            held.ring.insert(sample);
        }
    }

    /// A late critical with nothing newer and powered against it opens; contradicted it is only reviewed. One that
    /// nothing confirmed was followed by silence, or by a switch-off.
    fn decide_late(
        &mut self,
        (slot, sampled): (usize, Sampled),
        held: &Held,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (limit, _) = self.limit(slot, sampled, false, now);
        let newer =
            |sample: &Sample| sample.at() > held.last && sample.has(Bits::POWERED) && !sample.is_above(limit);
        let known = self.slots[slot].ring(sampled).samples();
        let calm = self.slots[slot].calm_at(sampled).is_some_and(|at| at > held.last);
        let contradicted = calm || held.ring.samples().iter().chain(known).any(newer);
        let last = held.ring.samples().iter().rfind(|sample| sample.is_above(limit)).copied();
        let (Some(last), false) = (last, contradicted) else {
            let post = self.owners[slot].name().clone();
            return effects.push(Effect::Review { post, measured_at: held.last });
        };
        match self.ask_held(slot, &held.ring, limit) {
            Some(confirmed) => {
                let notes = vec![raise::NOTE_LATE.to_owned()];
                self.raise_critical(slot, sampled, &confirmed, now, notes, effects);
            }
            None => self.raise_late_silence(slot, sampled, last, now, effects),
        }
    }

    /// A reading from before the newest one changes nothing of what is known now. Its criticals open when nothing
    /// newer and powered speaks against them: a dead post in daylight does not call the night harmless.
    fn take_behind(
        &mut self,
        slot: usize,
        now: Timestamp,
        reading: &StoredReading<'_>,
        measured_at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let powered = self.is_powered(slot, reading, measured_at);
        let mut review = false;
        for sampled in SAMPLED {
            let key = admission_key(reading);
            let live_band = self.policy.hand_test.live_band;
            let Some(sample) = sample_of(reading, sampled, measured_at, (powered, live_band), key) else {
                continue;
            };
            let (limit, _) = self.limit(slot, sampled, false, now);
            self.note_held(slot, sampled, sample, now);
            let s = &mut self.slots[slot];
            if !sample.is_above(limit) {
                if powered {
                    s.note_calm(sampled, measured_at);
                }
                continue;
            }
            let newer = |known: &Sample| known.at() > measured_at && known.has(Bits::POWERED);
            let calm = s.calm_at(sampled).is_some_and(|at| at > measured_at);
            if calm || s.ring(sampled).samples().iter().any(newer) {
                review = true;
            } else {
                self.hold(slot, sampled, sample, now);
            }
        }
        if review {
            effects.push(Effect::Review { post: self.owners[slot].name().clone(), measured_at });
        }
    }

    /// Our own clock went back. What was heard in a time that has not come yet says nothing about what is new:
    /// it would make every reading look older than the newest one, and every post deaf until the clock has
    /// caught up.
    pub(super) fn clock_went_back(&mut self, now: Timestamp) {
        self.slots.iter_mut().for_each(|slot| slot.forget_future(now));
        self.forget_future_words(now);
        for open in &mut self.open {
            open.calm_from = open.calm_from.filter(|at| *at <= now);
            open.calm_since = open.calm_since.map(|since| since.filter(|at| *at <= now));
        }
        for held in self.held.values_mut() {
            held.until = held.until.min(now + LATE_HOLD);
        }
        self.watches_went_back(now);
        // What a post was to be looked at for may be nearer now.
        (0..self.slots.len()).for_each(|slot| self.wake(slot, now));
        self.worse_at = self.worse_at.min(now);
        self.advanced_at = now;
        self.forget_future_floods(now);
        self.schedule_all();
    }

    /// Nobody can have spoken in a time that has not come: of posts, zones and feeders.
    pub(super) fn forget_future_words(&mut self, now: Timestamp) {
        self.slots.iter_mut().for_each(|slot| slot.forget_future_words(now));
        for zone in &mut self.zones {
            zone.heard_at = zone.heard_at.map(|at| at.min(now));
            // Later than that nothing is due, unless nothing is.
            if zone.look_at < Timestamp(i64::MAX) {
                zone.look_at = zone.look_at.min(now + LOOK_AGAIN);
            }
        }
        for feeder in &mut self.feeders {
            (feeder.word_at, feeder.heard_at) = (feeder.word_at.min(now), feeder.heard_at.min(now));
            (feeder.off_from, feeder.on_since) =
                (feeder.off_from.map(|at| at.min(now)), feeder.on_since.min(now));
        }
    }

    /// Decides late criticals whose backlog has had time to arrive.
    pub(super) fn decide_held(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_due = |(_, held): &(_, &Held)| now >= held.until;
        let mut due: Vec<(usize, usize)> = self.held.iter().filter(is_due).map(|(key, _)| *key).collect();
        if due.is_empty() && self.held.len() >= HELD_MAX {
            due.extend(self.held.keys());
        }
        for key in due {
            if let Some(held) = self.held.remove(&key) {
                self.decide_late((key.0, SAMPLED[key.1]), &held, now, effects);
            }
        }
    }
}

/// Two readings came as far apart as they were measured: as a clock that is behind sends them, live.
fn is_in_step(heard: Timestamp, now: Timestamp, before: Timestamp, measured_at: Timestamp) -> bool {
    /// Nearer ones may be of one backlog.
    const LEAST: Millis = Millis::minutes(1);
    /// Receipt is kept to the second, and ways differ by some.
    const TOLERANCE: Millis = Millis::seconds(20);
    let (ours, its) = (now.since(heard), measured_at.since(before));
    ours >= LEAST && (ours.0 - its.0).abs() <= TOLERANCE.0
}

/// Says something for or against danger.
fn speaks(sample: &Sample, limit: i64) -> bool {
    sample.has(Bits::POWERED) || sample.is_above(limit)
}
