//! A reading that came on the topic of another registered post (mark `other_topic`). Behind a broker whoever may use one topic
//! may name any post in his payload: it may be a gateway that tells of danger, and it may be anybody.
//!
//! | it says | what becomes of it |
//! |---|---|
//! | a value at or above a limit | a sample like others, without supply: it raises and confirms, and breaks what was calm |
//! | a flag, saturation, current or voltage in water, supply in an isolated extent, a column that leans or was hit | raised as from the post |
//! | anything else | kept in journal, history and database, and heard by no rule |
//!
//! So nothing that it says makes a signal normal, ends silence or blindness, or counts after a repair; nor does it move the
//! time, the period, the supply or the habits of the post. Of a cabinet nothing is heard: one value there is no danger yet.

use lampguard_model::{Cause, Field, Flags, Marks, Quantity, StoredReading, Timestamp};

use super::place::Subject;
use super::{Effect, Engine, Moment, admission_key, raise, sample_of};
use crate::incident::{Kind, Signal};
use crate::kind::{SAMPLED, Sampled};
use crate::life::Calm;
use crate::sample::Inserted;
use crate::slot::Fact;

impl Engine {
    /// Hears what such a reading tells of danger.
    pub(super) fn hear_of_danger(
        &mut self,
        slot: usize,
        now: Timestamp,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        // No time that has not come: what the post itself says would stand behind it.
        let measured_at = reading.measured_at().min(now);
        let late = now.since(measured_at) > self.slots[slot].late_bound(&self.policy.samples);
        let moment = Moment { slot, now, measured_at, late, clock_back: false, again: false };
        if !self.isolations.is_empty() {
            self.judge_isolated(&moment, reading, effects);
        }
        if self.slots[slot].is(Fact::Cabinet) {
            return;
        }
        let (came, hot) = self.take_dangerous(&moment, reading);
        self.judge_samples(&moment, reading, false, came, effects);
        if hot {
            self.shows_by_hearsay(slot, measured_at, now, effects);
        }
        if !late {
            self.judge_dangerous_signs(&moment, reading, effects);
            self.look_at_neutral(&moment, effects);
        }
    }

    /// Puts in the samples that are dangerous, and no other: nothing calm pushes danger out. Below the critical limit only
    /// while nothing is open there, or a warning would stand for calm. True when one is critical.
    fn take_dangerous(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
    ) -> ([Option<usize>; SAMPLED.len()], bool) {
        let slot = moment.slot;
        let (key, live_band) = (admission_key(reading), self.policy.hand_test.live_band);
        let mut hot = false;
        let came = SAMPLED.map(|sampled| {
            let sample = sample_of(reading, sampled, moment.measured_at, (false, live_band), key)?;
            let limits = [false, true].map(|warning| self.limit(slot, sampled, warning, moment.now).0);
            let critical = sample.is_above(limits[0]);
            if !critical && (self.slots[slot].incident().is_some() || !sample.is_above(limits[1])) {
                return None;
            }
            hot |= critical;
            let sample = self.without_stuck_flag(slot, sampled, sample);
            match self.slots[slot].rings[sampled.place()].insert(sample) {
                Inserted::At(place) => Some(place),
                Inserted::Duplicate | Inserted::TooOld => None,
            }
        });
        (came, hot)
    }

    /// The danger of what is open there shows: what was calm until now begins anew.
    fn shows_by_hearsay(
        &mut self,
        slot: usize,
        measured_at: Timestamp,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let mine = |place: &usize| self.open[*place].subject == Subject::Post(slot);
        let Some(place) = self.slots[slot].incident().filter(mine) else { return };
        let open = &mut self.open[place];
        (open.clear_since, open.calm_from, open.shown) = (None, None, Calm::default());
        self.set_signal(place, Signal::Active, now, measured_at, effects);
    }

    /// Flags that are up, saturation, water, a column that leans or was hit.
    fn judge_dangerous_signs(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let slot = moment.slot;
        if reading.marks.has(Marks::SATURATED) {
            self.judge_saturation(moment, reading, effects);
        }
        for (sampled, flag) in [(Sampled::Shell, Flags::SHELL_ALARM), (Sampled::Leak, Flags::LEAK_ALARM)] {
            if reading.flags.has(flag) {
                self.judge_flag(moment, sampled, true, reading, effects);
            }
        }
        let p = &self.policy.immersed_leak;
        let limits = [(Field::LeakageMa, p.leak.thousandths()), (Field::ShellV, p.shell.thousandths())];
        let value = |(field, limit): (Field, i64)| {
            reading.fields.get(field).filter(|value| *value >= limit).map(|value| (field, value, limit))
        };
        if reading.fields.flag(Field::Immersed) == Some(true)
            && let Some((field, value, limit)) = limits.into_iter().find_map(value)
        {
            let mut finding = self.finding(Subject::Post(slot), Kind::ImmersedLeak, moment.now);
            finding = finding.value(field.name(), Some(value), limit).at(moment.measured_at);
            finding.notes.extend(raise::notes_of_reading(reading));
            self.put(finding, moment.now, effects);
        }
        let s = &self.slots[slot];
        let hit = reading.fields.flag(Field::Impact) == Some(true);
        let leans = reading.fields.get(Field::TiltDeg).zip(s.usual_tilt());
        let leans = leans.is_some_and(|(tilt, usual)| (tilt - usual).abs() >= self.policy.column.tilt_p2.0);
        let calms = reading.fields.flag(Field::DoorOpen) == Some(false) || s.is(Fact::TiltAnew);
        if (hit || leans) && !calms && reading.cause != Cause::Manual {
            let was_powered = s.is(Fact::Powered);
            self.judge_column(moment, reading, was_powered, effects);
        }
    }
}
