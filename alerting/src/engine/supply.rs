//! Supply by the timetable of lighting: where no sample says it.

use std::sync::Arc;

use lampguard_model::{Cause, Field, Marks, StoredReading, Timestamp};

use super::{Engine, Owner};
use crate::lighting::{Expected, LampClock, Lighting};
use crate::slot;

impl Engine {
    /// From now on timetables are known.
    pub fn set_lighting(&mut self, lighting: Arc<Lighting>) {
        self.lamps = Some(LampClock::new(lighting));
    }

    /// What the timetable of a post's feeder says at `now`; `None` when nobody knows one.
    pub(super) fn timetable_of(&self, slot: usize, now: Timestamp) -> Option<Expected> {
        let Owner::Registered(post) = &self.owners[slot] else { return None };
        self.lamps.as_ref()?.supply_expected(&post.feeder, now)
    }

    /// Taken with supply (policy.md 1, Powered): measured supply, else the field `supply`, else the timetable of
    /// the feeder at the time of measuring, else yes. A reading that leaves out what did not change says by its silence
    /// what was told last: a post behind an open breaker that tells 0 V, and then its leakage apart, has no supply.
    pub(super) fn is_powered(
        &self,
        slot: usize,
        reading: &StoredReading<'_>,
        measured_at: Timestamp,
    ) -> bool {
        let says_it = reading.fields.get(Field::SupplyV).is_some()
            || reading.fields.flag(Field::Supply).is_some()
            || reading.cause == Cause::Manual;
        if !says_it
            && reading.marks.has(Marks::PARTIAL)
            && let Some(powered) = self.slots[slot].supply_told(measured_at)
        {
            return powered;
        }
        let expected = if says_it { None } else { self.timetable_of(slot, measured_at) };
        let above = self.policy.samples.powered_above;
        expected.map_or_else(|| slot::is_powered(reading, above), |expected| expected.on)
    }
}
