//! Lamps and supply: dark when they should burn, burning by day, supply out of its bounds.

use lampguard_model::{Field, Millis, Quantity, StoredReading, Timestamp};

use super::place::Subject;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind};
use crate::slot::Fact;

/// Kinds that are a state of a post.
const STATES: [Kind; 3] = [Kind::SupplyVoltage, Kind::LampOut, Kind::DayBurn];

impl Engine {
    /// Whether a post should burn now by the timetable of its feeder and plan; `None` while nobody knows one.
    pub(super) fn lit_expected(&self, slot: usize, now: Timestamp) -> Option<bool> {
        let post = self.owners[slot].post()?;
        #[cfg(test)]
        if let Some(timetable) = &self.timetable {
            return timetable(post, now);
        }
        self.lamps.as_ref()?.lamp_due(post, now)
    }

    /// Supply voltage and lamp power of a reading.
    pub(super) fn judge_supply_and_lamp(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if moment.late {
            return;
        }
        if let Some(volts) = reading.fields.get(Field::SupplyV) {
            let p = &self.policy.supply_voltage;
            let (low, high) = (p.low.thousandths(), p.high.thousandths());
            let odd = volts > high || (volts < low && self.slots[moment.slot].is(Fact::Powered));
            if odd || self.slots[moment.slot].is(Fact::Aside) {
                let limit = if volts > high { high } else { low };
                let times = (p.held_for, p.normal_for);
                self.judge_state(
                    moment,
                    Kind::SupplyVoltage,
                    odd,
                    (Field::SupplyV, volts, limit),
                    times,
                    effects,
                );
            }
        }
        let Some(watts) = reading.fields.get(Field::LampW) else {
            return;
        };
        let Some(due) = self.lit_expected(moment.slot, moment.now) else {
            return;
        };
        let Some(rated) = self.owners[moment.slot].post().map(|post| post.lamp_w * f64::from(post.lamps))
        else {
            return;
        };
        let limit = self.policy.lamp_out.power_share.of((rated * 1000.0) as i64);
        let value = (Field::LampW, watts, limit);
        let (out, burn) = (&self.policy.lamp_out, &self.policy.day_burn);
        let (of_out, of_burn) = ((out.dark_for, out.normal_for), (burn.lit_for, burn.normal_for));
        let aside = self.slots[moment.slot].is(Fact::Aside);
        let (dark, by_day) = (due && watts < limit, !due && watts >= limit);
        if dark || aside {
            self.judge_state(moment, Kind::LampOut, dark, value, of_out, effects);
        }
        if by_day || aside {
            self.judge_state(moment, Kind::DayBurn, by_day, value, of_burn, effects);
        }
    }

    /// A state that counts when it has lasted, and is normal when it has been gone for as long.
    fn judge_state(
        &mut self,
        moment: &Moment,
        kind: Kind,
        there: bool,
        (field, value, limit): (Field, i64, i64),
        (hold, normal_for): (Millis, Millis),
        effects: &mut Vec<Effect>,
    ) {
        let (slot, now, subject) = (moment.slot, moment.now, Subject::Post(moment.slot));
        if !there {
            self.states.remove(&(slot, kind));
            // By key: with 100,000 dark lamps a look through all of them, a reading each, would hold up every alarm.
            let mut others = STATES.into_iter().filter(|other| other.family() == kind.family());
            let other = others.any(|other| self.states.contains_key(&(slot, other)));
            // A lamp that is off by day shows nothing of one that was dark by night, nor the other way round.
            let known = self.taking(&subject, kind.family());
            let own = known.is_some_and(|place| self.open[place].incident.kinds.contains(&kind));
            let due = self.lit_expected(slot, now) == Some(kind == Kind::LampOut);
            return match kind.family() {
                Family::Lamp if other || !own || !due => {}
                family => self.follow_state(&subject, family, true, normal_for, now, effects),
            };
        }
        debug_assert!(STATES.contains(&kind), "{kind:?} is looked for by this list");
        self.slots[slot].set(Fact::Aside, true);
        let since = *self.states.entry((slot, kind)).or_insert(now);
        if now.since(since) < hold {
            return;
        }
        let known = self.taking(&subject, kind.family());
        if known.is_some_and(|place| self.open[place].incident.kinds.contains(&kind)) {
            return self.follow_state(&subject, kind.family(), false, normal_for, now, effects);
        }
        let mut finding = self.finding(subject, kind, now).value(field.name(), Some(value), limit);
        finding.evidence.measured_at = moment.measured_at;
        finding.key_at = Some(since);
        if kind == Kind::LampOut {
            finding.told = self.may_tell_road(slot, now);
        }
        self.put(finding, now, effects);
    }

    /// Dark lamps are told once per road in ten minutes.
    pub(super) fn may_tell_road(&mut self, slot: usize, now: Timestamp) -> bool {
        let Some(post) = self.owners[slot].post() else {
            return true;
        };
        if self.job_at(post, now).is_some() {
            // Only recorded, and the road still has its telling.
            return false;
        }
        let road = post.road.clone();
        let told = self.roads_told.get(&road).copied();
        let may = told.is_none_or(|at| now.since(at) >= self.policy.lamp_out.told_every);
        if may {
            self.roads_told.insert(road, now);
        }
        may
    }
}
