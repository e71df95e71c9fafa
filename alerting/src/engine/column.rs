//! The column itself: it leans, was hit, or its door stands open.

use lampguard_model::{Field, StoredReading, Timestamp};

use super::place::Subject;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind, Severity};
use crate::slot::Fact;

const NOTE_TILT: &str = "倾斜变化 (tilt changed)";
const NOTE_IMPACT: &str = "撞击 (impact)";
const NOTE_IMPACT_DEAD: &str = "撞击且断电 (impact and supply loss)";
const NOTE_DOOR: &str = "检修门开 (door open)";

impl Engine {
    /// Tilt against the usual tilt, an impact, a door.
    pub(super) fn judge_column(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        was_powered: bool,
        effects: &mut Vec<Effect>,
    ) {
        let [tilt, impact, door] =
            [Field::TiltDeg, Field::Impact, Field::DoorOpen].map(|f| reading.fields.get(f));
        if moment.late || (tilt.is_none() && impact.is_none() && door.is_none()) {
            return;
        }
        let (slot, now) = (moment.slot, moment.now);
        let p = self.policy.column;
        let s = &mut self.slots[slot];
        let changed = tilt.map(|tilt| (tilt - s.usual_tilt().unwrap_or(tilt)).abs());
        let hit = impact.is_some_and(|impact| impact > 0);
        let leans = changed.filter(|changed| *changed >= p.tilt_p2.0);
        let first = tilt.is_some() && s.usual_tilt().is_none();
        if let Some(tilt) = tilt.filter(|_| leans.is_none()) {
            s.learn_tilt(tilt);
        }
        let dead = was_powered && !s.is(Fact::Powered);
        if first {
            // Or a column that leans when we start anew would seem to have stood so for ever.
            self.keep_in_mind(slot, effects);
        }
        let far = changed.unwrap_or(0);
        let found = if far >= p.tilt_p1.0 {
            Some((Severity::P1, p.tilt_p1.0, NOTE_TILT))
        } else if hit && far >= p.tilt_with_impact.0 {
            Some((Severity::P1, p.tilt_with_impact.0, NOTE_IMPACT))
        } else if hit && dead {
            Some((Severity::P1, p.tilt_with_impact.0, NOTE_IMPACT_DEAD))
        } else if leans.is_some() {
            Some((Severity::P2, p.tilt_p2.0, NOTE_TILT))
        } else {
            hit.then_some((Severity::P2, p.tilt_p2.0, NOTE_IMPACT))
        };
        if let Some((severity, limit, note)) = found {
            let policy = self.policy.clone();
            let finding = self.finding(Subject::Post(slot), Kind::Column, now).with(severity, &policy);
            let finding = finding.value(Field::TiltDeg.name(), changed, limit);
            self.put(finding.at(moment.measured_at).note(note), now, effects);
        }
        match door {
            Some(0) => _ = self.doors.remove(&slot),
            Some(_) => {
                let since = *self.doors.entry(slot).or_insert(now);
                self.slots[slot].set(Fact::Aside, true);
                self.wake(slot, since + p.door_open);
            }
            None => {}
        }
        let gone = found.is_none() && !self.doors.contains_key(&slot);
        self.follow_state(&Subject::Post(slot), Family::Column, gone, p.normal_for, now, effects);
    }

    /// A door that has stood open for long enough while its post was energised.
    pub(super) fn look_at_door(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(since) = self.doors.get(&slot).copied() else { return };
        let open = self.policy.column.door_open;
        if now.since(since) < open {
            return self.wake(slot, since + open);
        }
        let s = &self.slots[slot];
        let known = self.taking(&Subject::Post(slot), Family::Column).map(|place| &self.open[place].incident);
        let risky = self.wet_because(slot, now).is_some() || s.is(Fact::LowLying);
        let severity = if risky { Severity::P1 } else { Severity::P2 };
        if !s.is(Fact::Powered) || known.is_some_and(|incident| incident.severity >= severity) {
            return;
        }
        let policy = self.policy.clone();
        let minutes = |time: lampguard_model::Millis| time.0 / 60;
        let finding = self.finding(Subject::Post(slot), Kind::Column, now).with(severity, &policy);
        let mut finding =
            finding.value(Field::DoorOpen.name(), Some(minutes(now.since(since))), minutes(open));
        finding.evidence.measured_at = since;
        finding.key_at = Some(since);
        self.put(finding.note(NOTE_DOOR), now, effects);
    }
}
