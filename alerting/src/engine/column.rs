//! The column itself: it leans, was hit, or its door stands open.

use lampguard_model::{Field, StoredReading, Timestamp};

use super::moves::Belongs;
use super::place::Subject;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Incident, Kind, Severity};
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
        let anew = tilt.is_some() && self.slots[slot].is(Fact::TiltAnew) && !self.is_before_repair(moment);
        let leans_on = anew && tilt.is_some_and(|tilt| self.leans_on(slot, tilt));
        let s = &mut self.slots[slot];
        if anew {
            s.set(Fact::TiltAnew, false);
            if !leans_on {
                s.forget_tilt();
            }
        }
        let changed = tilt.map(|tilt| (tilt - s.usual_tilt().unwrap_or(tilt)).abs());
        let hit = impact.is_some_and(|impact| impact > 0);
        let leans = changed.filter(|changed| *changed >= p.tilt_p2.0);
        let first = tilt.is_some() && (anew || s.usual_tilt().is_none());
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

    /// A column was repaired, perhaps replaced: how it stands then is not known yet, also after a restart.
    pub(super) fn ask_tilt_anew(&mut self, incident: &Incident, effects: &mut Vec<Effect>) {
        if incident.family != Family::Column || incident.life.drill {
            return;
        }
        if let Some(slot) = self.slot_of_incident(incident) {
            self.slots[slot].set(Fact::TiltAnew, true);
            self.keep_in_mind(slot, effects);
        }
    }

    /// The first tilt after a repair is no better than the one that raised it: no new usual one, but a column that
    /// leans on. When people have repaired it a second time they are believed.
    fn leans_on(&self, slot: usize, tilt: i64) -> bool {
        let place = self.taking(&Subject::Post(slot), Family::Column);
        let (Some(place), Some(usual)) = (place, self.slots[slot].usual_tilt()) else {
            return false;
        };
        let incident = &self.open[place].incident;
        // Where a door or an impact raised it, nobody knows how it leant: as far as is dangerous.
        let p = &self.policy.column;
        let leant =
            incident.evidence.thousandths.filter(|_| incident.evidence.field == Field::TiltDeg.name());
        let no_better = (tilt - usual).abs() > leant.unwrap_or(p.tilt_p1.0) - p.tilt_p2.0;
        let repaired_before = self.open.iter().any(|open| {
            let before = &open.incident;
            !open.over && before.life.repaired.is_some() && incident.life.follows.contains(&before.id)
        });
        no_better && !repaired_before
    }

    /// The reading is from before the repair of the column, or a replay brings it again.
    fn is_before_repair(&self, moment: &Moment) -> bool {
        let subject = Subject::Post(moment.slot);
        let Some(place) = self.taking(&subject, Family::Column) else {
            return self.belongs(&subject, Family::Column, moment.now) == Belongs::Ended;
        };
        let repaired = self.open[place].incident.life.repaired.as_ref();
        repaired.map(|repair| &repair.mark).is_some_and(|mark| {
            // A clock that went back must not make it wait for ever.
            let earlier = moment.measured_at <= mark.at && moment.now >= mark.at;
            earlier || self.was_before(mark.through(), moment.now)
        })
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
