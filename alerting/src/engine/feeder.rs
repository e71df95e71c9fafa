//! What a whole feeder says: a broken neutral, and a step of the residual current in its cabinet.

use std::collections::VecDeque;
use std::sync::Arc;

use lampguard_model::{Field, Millis, Quantity, StoredReading, Timestamp};

use super::place::Subject;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind, Severity};
use crate::kind::Sampled;
use crate::slot::Fact;

const NOTE_APART: &str = "相电压偏移 (phase voltages apart)";
const NOTE_FIRST: &str = "首现 (first out)";
const NOTE_FLOOR: &str = "多数接头 < 50 mA, 箱内看不见 (most joints below 50 mA stay unseen)";

/// Two samples of one post that are nearer than this are one event.
const AGAIN_AFTER: Millis = Millis::seconds(30);
/// So many posts of a broken neutral have to say it twice in a row.
const AGAIN: usize = 2;
/// A baseline value is taken this often.
const TAKEN_EVERY: Millis = Millis::hours(1);
/// After a change of state the residual current has this long to settle.
const SETTLES: Millis = Millis::minutes(10);
/// Values of a state that a baseline needs.
const NEEDED: usize = 6;
/// A phase counts as lost when at least this share of the posts has no supply and as many have it, per cent.
const LOST_SHARE: usize = 20;

/// What is known of a feeder by the sensor in its cabinet.
#[derive(Debug, Default)]
pub(super) struct Cabinet {
    /// Residual current while dead and while energised: when taken, thousandths.
    taken: [VecDeque<(Timestamp, i64)>; 2],
    /// Their medians.
    medians: [Option<i64>; 2],
    lit: bool,
    changed_at: Option<Timestamp>,
    /// Samples in a row at or above the P2 step, and at or above the P1 step.
    rows: [u32; 2],
    /// What rose above the baseline in the newest sample, thousandths.
    risen: Option<i64>,
}

impl Cabinet {
    fn take(&mut self, now: Timestamp, value: i64, over: Millis) {
        let lit = usize::from(self.lit);
        let settled = self.changed_at.is_none_or(|at| now.since(at) >= SETTLES);
        let taken = &mut self.taken[lit];
        if !settled || taken.back().is_some_and(|(at, _)| now.since(*at) < TAKEN_EVERY) {
            return;
        }
        while taken.front().is_some_and(|(at, _)| now.since(*at) > over) {
            taken.pop_front();
        }
        taken.push_back((now, value));
        let mut values: Vec<i64> = taken.iter().map(|(_, value)| *value).collect();
        let middle = values.len() / 2;
        self.medians[lit] = (values.len() >= NEEDED).then(|| *values.select_nth_unstable(middle).1);
    }
}

/// √(I² − I0²): residual currents of standing leakage and of a fault stand at right angles.
fn risen(value: i64, median: i64) -> i64 {
    (value * value - median * median).max(0).isqrt()
}

impl Engine {
    /// Something at this post looks like a broken neutral: looks at all of its feeder.
    pub(super) fn judge_neutral(&mut self, feeder: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let p = self.policy.neutral_break;
        let (mut lifted, mut high, mut low) = (Vec::new(), None, None);
        // Lightning lifts many shells for one sample each, and a sensor may have frozen on its own: two of them
        // have to say it again.
        let mut again = 0;
        for slot in self.feeders[feeder].members.iter().map(|slot| *slot as usize) {
            let s = &self.slots[slot];
            let fresh = s.period() + p.fresh_extra;
            if let Some(shell) = s.ring(Sampled::Shell).newest()
                && now.since(shell.at()) <= fresh
                && shell.value() >= p.shell.thousandths()
                && shell.value() - s.baseline(Sampled::Shell).unwrap_or(0) >= p.above_own.thousandths()
                && !s.is(Fact::Stuck)
            {
                lifted.push((shell.at(), shell.value(), slot));
                if let [.., before, newest] = s.ring(Sampled::Shell).samples() {
                    let apart = newest.at().since(before.at()) >= AGAIN_AFTER;
                    again += usize::from(apart && before.value() >= p.shell.thousandths());
                }
            }
            let supply = s.supply().filter(|_| now.since(s.newest_at()) <= fresh && s.is(Fact::Powered));
            match supply {
                Some(volts) if volts > p.supply_above.thousandths() => high = high.max(Some((volts, slot))),
                Some(volts) if volts < p.supply_below.thousandths() => {
                    low = Some(low.map_or((volts, slot), |known: (i64, usize)| known.min((volts, slot))));
                }
                _ => {}
            }
        }
        let apart = high.zip(low);
        let followed = self.taking(&Subject::Feeder(feeder), Family::Neutral).is_some();
        let many = lifted.len() >= p.posts as usize && (again >= AGAIN || followed);
        let subject = Subject::Feeder(feeder);
        if !many && apart.is_none() {
            return self.follow_state(&subject, Family::Neutral, true, p.normal_for, now, effects);
        }
        lifted.sort_unstable();
        let mut finding = self.finding(subject.clone(), Kind::NeutralBreak, now);
        let first = lifted.first().filter(|_| many).copied();
        let names = |slot: usize| self.owners[slot].name().clone();
        finding = match (first, apart) {
            (Some((at, ..)), _) => {
                let worst = lifted.iter().map(|(_, value, _)| *value).max();
                finding.value(Field::ShellV.name(), worst, p.shell.thousandths()).at(at)
            }
            (None, Some(((volts, _), _))) => {
                let mut finding =
                    finding.value(Field::SupplyV.name(), Some(volts), p.supply_above.thousandths());
                // The older of the two words: after a repair both have to come anew.
                if let Some(((_, up), (_, down))) = apart {
                    finding.evidence.measured_at =
                        self.slots[up].newest_at().min(self.slots[down].newest_at());
                }
                finding
            }
            (None, None) => finding,
        };
        if let Some((.., slot)) = first {
            finding = finding.note(format!("{NOTE_FIRST}: {}", names(slot)));
            finding.members = lifted.iter().map(|(.., slot)| names(*slot)).collect();
        }
        if let Some(((up, at), (down, under))) = apart {
            let volts = lampguard_model::units::Thousandths;
            finding = finding.note(format!("{NOTE_APART}: {} V / {} V", volts(up), volts(down)));
            finding.members.extend([names(at), names(under)]);
        }
        let Some(parent) = self.put(finding, now, effects) else { return };
        self.follow_state(&subject, Family::Neutral, false, p.normal_for, now, effects);
        for (.., slot) in lifted {
            if let Some(member) = self.slots[slot].incident().filter(|member| !self.is_collapsed(*member)) {
                self.link(parent, member, now, effects);
            }
        }
    }

    /// A P1 of a post whose feeder has lost its neutral belongs to the feeder's incident.
    pub(super) fn join_neutral(
        &mut self,
        slot: usize,
        member: usize,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(feeder) = self.slots[slot].feeder() else { return };
        if let Some(parent) = self.taking(&Subject::Feeder(feeder), Family::Neutral) {
            let name: Arc<str> = self.owners[slot].name().clone();
            self.add_members(parent, &[name], now, effects);
            self.link(parent, member, now, effects);
        }
    }

    /// A reading says something that a broken neutral would, or its feeder has an incident that is followed.
    pub(super) fn look_at_neutral(&mut self, moment: &Moment, effects: &mut Vec<Effect>) {
        let s = &self.slots[moment.slot];
        let Some(feeder) = s.feeder().filter(|_| !moment.late) else {
            return;
        };
        let p = &self.policy.neutral_break;
        let lifted =
            s.ring(Sampled::Shell).newest().is_some_and(|shell| shell.value() >= p.shell.thousandths());
        let odd = s.supply().is_some_and(|volts| {
            s.is(Fact::Powered)
                && (volts > p.supply_above.thousandths() || volts < p.supply_below.thousandths())
        });
        let followed = self.neutrals > 0 && self.taking(&Subject::Feeder(feeder), Family::Neutral).is_some();
        if lifted || odd || followed {
            self.judge_neutral(feeder, moment.now, effects);
        }
    }

    /// A reading of the sensor in a cabinet.
    pub(super) fn judge_cabinet(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (slot, now) = (moment.slot, moment.now);
        let (Some(feeder), Some(value)) = (self.slots[slot].feeder(), reading.fields.get(Field::LeakageMa))
        else {
            return;
        };
        if moment.late || self.slots[slot].newest_at() > moment.measured_at {
            return;
        }
        let p = self.policy.feeder_step;
        let lit = self.feeders[feeder].off_from.is_none();
        let lost = self.has_lost_a_phase(feeder, now);
        let cabinet = self.cabinets.entry(slot).or_default();
        if cabinet.lit != lit {
            (cabinet.lit, cabinet.changed_at, cabinet.rows) = (lit, Some(now), [0; 2]);
        }
        let median = cabinet.medians[usize::from(lit)];
        let rise = median.map(|median| risen(value, median));
        cabinet.risen = rise;
        cabinet.take(now, value, p.baseline);
        let Some(rise) = rise.filter(|_| !lost) else {
            if let Some(cabinet) = self.cabinets.get_mut(&slot) {
                cabinet.rows = [0; 2];
            }
            return;
        };
        let zone = usize::from(self.slots[slot].zone);
        let ratio = p.p1_ratio.of(self.median_rise(zone));
        let wet = self.zone_wet(zone).is_some();
        let above = [rise >= p.step.thousandths(), wet && rise >= p.p1_step.thousandths().max(ratio)];
        let Some(cabinet) = self.cabinets.get_mut(&slot) else { return };
        for (row, above) in cabinet.rows.iter_mut().zip(above) {
            *row = if above { *row + 1 } else { 0 };
        }
        let [p2, p1] = cabinet.rows.map(|row| row >= p.samples);
        let subject = Subject::Feeder(feeder);
        if p1 || p2 {
            let policy = self.policy.clone();
            let severity = if p1 { Severity::P1 } else { Severity::P2 };
            let limit = if p1 { p.p1_step } else { p.step }.thousandths();
            let finding = self.finding(subject.clone(), Kind::FeederStep, now).with(severity, &policy);
            let finding = finding.value(Field::LeakageMa.name(), Some(rise), limit);
            self.put(finding.at(moment.measured_at).note(NOTE_FLOOR), now, effects);
        }
        let gone = rise <= p.normal_share.of(p.step.thousandths());
        self.follow_state(&subject, Family::FeederLeak, gone, p.normal_for, now, effects);
    }

    /// The median of what rose in the cabinets of a zone: rain lifts all of them.
    fn median_rise(&self, zone: usize) -> i64 {
        let of_zone = self.cabinets.iter().filter(|(slot, _)| usize::from(self.slots[**slot].zone) == zone);
        let mut rises: Vec<i64> = of_zone.filter_map(|(_, cabinet)| cabinet.risen).collect();
        let middle = rises.len() / 2;
        if rises.is_empty() { 0 } else { *rises.select_nth_unstable(middle).1 }
    }

    /// Some of its posts have no supply and others have: the currents of the phases no longer cancel.
    fn has_lost_a_phase(&self, feeder: usize, now: Timestamp) -> bool {
        let members = &self.feeders[feeder].members;
        let mut dead = 0;
        let mut live = 0;
        for s in members.iter().map(|slot| &self.slots[*slot as usize]).filter(|s| !s.is(Fact::Battery)) {
            let heard = s.heard_at().unwrap_or(Timestamp(i64::MIN));
            let fresh = now.since(heard) <= Millis(s.period().0 * 2).max(Millis::minutes(5));
            match s.is(Fact::Powered) && fresh {
                true => live += 1,
                false => dead += 1,
            }
        }
        let enough = |count: usize| count * 100 >= members.len() * LOST_SHARE && count > 0;
        enough(dead) && enough(live)
    }
}
