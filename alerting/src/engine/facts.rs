//! What a reading says of its post whatever its values: supply, lamp, water, sign of life, period.

use lampguard_model::{Cause, Field, Flags, Marks, Millis, StoredReading};

use super::{Effect, Engine, Memory, Moment};
use crate::slot::{Fact, is_lit};

impl Engine {
    /// Supply, water, sign of life, period.
    pub(super) fn note_facts(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        powered: bool,
        key: u64,
        effects: &mut Vec<Effect>,
    ) {
        let mains = tells_supply(reading);
        let (s, at) = (&mut self.slots[moment.slot], moment.measured_at);
        let newest = at >= s.newest_at();
        let mut changed = false;
        let lit = is_lit(reading, powered);
        if reading.cause == Cause::Periodic {
            changed = s.learn(at, lit, (key ^ key >> 32) as u32, &self.policy);
        }
        let went_out = newest && s.is(Fact::Lit) && !lit && reading.cause != Cause::Manual;
        let data = !reading.fields.is_empty() || reading.marks.has(Marks::SATURATED);
        let heard = data && reading.cause != Cause::Manual;
        let first = heard && s.heard_at().is_none();
        if heard {
            changed |= s.hear(moment.now) && !s.is(Fact::Unregistered);
            s.set_source(reading.source as u8);
        }
        let was_wet = s.own_wet(moment.now, &self.policy.wet).is_some();
        match reading.fields.flag(Field::Immersed) {
            Some(true) => {
                changed |= s.immersed_at().is_none_or(|last| at.since(last) > Millis::minutes(30));
                s.immerse(at);
                s.set(Fact::Immersed, newest || s.is(Fact::Immersed));
            }
            Some(false) if newest => s.set(Fact::Immersed, false),
            _ => {}
        }
        if newest {
            s.set_newest_at(at);
            s.set(Fact::Simulated, reading.flags.has(Flags::SIMULATED));
            if reading.cause != Cause::Manual {
                changed |= mains && s.is(Fact::Powered) != powered;
                if mains {
                    s.tell_supply(at);
                }
                s.set(Fact::Powered, powered);
                s.set(Fact::Lit, lit);
                if let Some(volts) = reading.fields.get(Field::SupplyV) {
                    s.set_supply(volts);
                }
            }
        }
        let wetter = !was_wet && s.own_wet(moment.now, &self.policy.wet).is_some();
        if wetter {
            self.judge_again(moment.slot, moment.now, effects);
        }
        if went_out {
            self.note_lamp_out(moment.slot, moment.now);
        }
        if heard {
            self.note_life(moment, reading, powered, first, effects);
        }
        if changed {
            self.keep_in_mind(moment.slot, effects);
        }
    }

    pub(super) fn keep_in_mind(&self, slot: usize, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        effects.push(Effect::Remember(Memory {
            post: self.owners[slot].name().clone(),
            period_s: s.learned_s,
            immersed_at: s.immersed_at(),
            habits: s.habits(),
        }));
    }

    /// A sign of life: who counts, whose supply is on, who is no longer silent, when to look again.
    fn note_life(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        powered: bool,
        first: bool,
        effects: &mut Vec<Effect>,
    ) {
        let slot = moment.slot;
        let mains = tells_supply(reading);
        if first {
            let s = &mut self.slots[slot];
            s.set(Fact::Battery, !mains && reading.fields.get(Field::BatteryV).is_some());
            if reading.fields.get(Field::LeakageMa).is_none() {
                self.heard_first.insert(slot, moment.now);
            }
            if let Some(feeder) = self.slots[slot].feeder().filter(|_| self.is_counted(slot)) {
                self.feeders[feeder].members.push(slot as u32);
            }
        }
        let s = &self.slots[slot];
        if let Some(feeder) = s.feeder().filter(|_| mains && !moment.late && !s.is(Fact::Cabinet)) {
            self.note_supply(feeder, powered, moment);
        }
        self.note_heard(moment, effects);
        let (silent, drowned) = (&self.policy.offline, &self.policy.sensor_drowned);
        let periods = silent.dry_periods.min(silent.wet_periods).min(drowned.silent_periods);
        let bound = self.slots[slot].silent_bound(periods, silent.silent_min.min(drowned.silent_min));
        self.wake(slot, moment.now + bound);
    }
}

/// A word on the supply.
fn tells_supply(reading: &StoredReading<'_>) -> bool {
    reading.fields.get(Field::SupplyV).is_some() || reading.fields.get(Field::Supply).is_some()
}
