//! What a post is used to: medians while dry, heights of storms, digits, units; and sensors that repeat themselves.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Cause, Field, Millis, Quantity, StoredReading, Timestamp};

use super::place::Subject;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind};
use crate::kind::{SAMPLED, Sampled};
use crate::slot::{Fact, Fineness, PEAKS, from_seconds, to_seconds};
use crate::wet::Because;

/// Posts of a model that a comparison needs.
const MODEL_MIN: usize = 10;
/// A median below this tells nothing of a unit, thousandths of a milliampere.
const UNIT_LEAST: i64 = 20;

impl Engine {
    /// Medians, storms, and standing values. The newest reading of a post, never a late one or a hand test.
    pub(super) fn note_habits(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let slot = moment.slot;
        if moment.late || reading.cause == Cause::Manual || self.slots[slot].newest_at() > moment.measured_at
        {
            return;
        }
        let because = self.wet_because(slot, moment.now);
        let s = &mut self.slots[slot];
        let powered = s.is(Fact::Powered);
        let values = SAMPLED.map(|sampled| reading.fields.get(sampled.field()));
        if powered && because.is_none() {
            for sampled in SAMPLED {
                if let Some(value) = values[sampled.place()] {
                    s.learn_baseline(sampled, value);
                }
            }
        }
        let leak = values[Sampled::Leak.place()];
        if let Some(leak) = leak {
            s.note_fineness(Fineness::Leak, leak);
        }
        if let Some(volts) = reading.fields.get(Field::SupplyV) {
            s.note_fineness(Fineness::Supply, volts);
        }
        if powered {
            self.note_standing(moment, reading, effects);
        } else {
            (s.same, s.same_s, s.zero_s) = (0, 0, 0);
        }
        self.note_storm(moment, because, effects);
    }

    /// The same to the last digit, or exactly zero, for too long.
    fn note_standing(&mut self, moment: &Moment, reading: &StoredReading<'_>, effects: &mut Vec<Effect>) {
        let (p, ct) = (&self.policy.stuck, &self.policy.open_ct);
        let s = &mut self.slots[moment.slot];
        let get = |field| reading.fields.get(field);
        let (leak, supply) = (get(Field::LeakageMa), get(Field::SupplyV));
        if supply.is_some() {
            let mix = |sum: u64, value: Option<i64>| {
                (sum ^ value.map_or(u64::MAX, |value| value as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            };
            let sum = [leak, get(Field::ShellV), supply].into_iter().fold(7, mix);
            let key = (sum >> 48) as u16;
            if s.same > 0 && s.same_key == key {
                s.same = s.same.saturating_add(1);
            } else {
                (s.same, s.same_key, s.same_s) = (1, key, to_seconds(moment.now));
            }
        }
        match leak {
            Some(0) if s.zero_s == 0 => s.zero_s = to_seconds(moment.now),
            Some(0) | None => {}
            Some(_) => s.zero_s = 0,
        }
        let lasted = |since: u32| from_seconds(since).map_or(Millis(0), |since| moment.now.since(since));
        let fine = s.finest(Fineness::Supply) <= p.supply_step.thousandths();
        let stuck = u32::from(s.same) >= p.samples && lasted(s.same_s) > p.lit && fine;
        let open = lasted(s.zero_s) >= ct.lit && s.finest(Fineness::Leak) <= ct.leak_step.thousandths();
        let was = [Fact::Stuck, Fact::OpenCt].map(|fact| s.is(fact));
        s.set(Fact::Stuck, stuck);
        s.set(Fact::OpenCt, open);
        if stuck && !was[0] || open && !was[1] {
            self.raise_deaf(moment.slot, moment.now, effects);
        } else if was != [stuck, open] {
            self.hear_again(moment.slot, moment.now, effects);
        }
    }

    /// The height of a storm: the greatest leakage that two samples in a row reached while it was wet.
    fn note_storm(&mut self, moment: &Moment, because: Option<Because>, effects: &mut Vec<Effect>) {
        let s = &mut self.slots[moment.slot];
        match because {
            Some(Because::Unknown) => {}
            Some(_) => {
                s.set(Fact::InStorm, true);
                if let [.., before, newest] = s.ring(Sampled::Leak).samples() {
                    let both = before.value().min(newest.value()) / 10;
                    s.peak = s.peak.max(u16::try_from(both).unwrap_or(u16::MAX));
                }
            }
            None if s.is(Fact::InStorm) => {
                s.set(Fact::InStorm, false);
                s.peaks.rotate_left(1);
                s.peaks[PEAKS - 1] = s.peak.max(1);
                s.peak = 0;
                self.keep_in_mind(moment.slot, effects);
                self.judge_trend(moment.slot, moment.now, effects);
            }
            None => {}
        }
    }

    /// A storm is over: does leakage grow from one to the next?
    fn judge_trend(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let (p, s) = (&self.policy.trend, &self.slots[slot]);
        let peaks = s.peaks.map(|peak| i64::from(peak) * 10);
        let last = peaks[PEAKS - 1];
        let usual = s.baseline(Sampled::Leak);
        let in_row = &peaks[PEAKS - (p.peaks as usize).clamp(2, PEAKS)..];
        let grows = in_row.windows(2).all(|pair| pair[0] > 0 && pair[1] >= p.growth.of(pair[0]))
            && last >= p.last_peak.thousandths();
        let high = p.peak_above.thousandths().max(p.over_baseline.of(usual.unwrap_or(0)));
        let found = grows || (usual.is_some() && last > high);
        let subject = Subject::Post(slot);
        if !found {
            return self.follow_state(&subject, Family::Trend, true, Millis(0), now, effects);
        }
        let limit = if grows { p.last_peak.thousandths() } else { high };
        let list: Vec<String> = peaks
            .iter()
            .filter(|peak| **peak > 0)
            .map(|peak| lampguard_model::units::Thousandths(*peak).to_string())
            .collect();
        let note = format!("历次雨中峰值 (wet peaks) {} mA, 下次降雨前处理", list.join(" → "));
        let finding = self.finding(subject.clone(), Kind::Trend, now).note(note);
        self.put(finding.value(Field::LeakageMa.name(), Some(last), limit), now, effects);
        self.follow_state(&subject, Family::Trend, false, Millis(0), now, effects);
    }

    /// Once in `median_over`: whose medians are 10, 100 or 1000 times those of their model, or as many times less.
    pub(super) fn compare_units(&mut self, now: Timestamp) {
        if self.units_at.0 == i64::MIN {
            self.units_at = now;
        }
        if now.since(self.units_at) < self.policy.unit_suspect.median_over {
            return;
        }
        self.units_at = now;
        let mut models: HashMap<Arc<str>, Vec<i64>, RandomState> = HashMap::default();
        let of = |owner: &super::place::Owner| owner.post().map(|post| post.model.clone());
        for (slot, owner) in self.owners.iter().enumerate() {
            let usual =
                self.slots[slot].baseline(Sampled::Leak).filter(|_| !self.slots[slot].is(Fact::Cabinet));
            if let Some((model, usual)) = of(owner).zip(usual) {
                models.entry(Arc::from(model)).or_default().push(usual);
            }
        }
        let tolerance = self.policy.unit_suspect.tolerance;
        for slot in 0..self.slots.len() {
            let Some(values) = of(&self.owners[slot]).and_then(|model| models.get_mut(&*model)) else {
                continue;
            };
            if values.len() < MODEL_MIN {
                continue;
            }
            let middle = values.len() / 2;
            let median = *values.select_nth_unstable(middle).1;
            let usual = self.slots[slot].baseline(Sampled::Leak).unwrap_or(median);
            let (less, more) = (usual.min(median), usual.max(median));
            let near = |times: i64| {
                let exact = less * times;
                (more - exact).abs() <= tolerance.of(exact)
            };
            let suspect = less >= UNIT_LEAST && [10, 100, 1000].into_iter().any(near);
            self.slots[slot].set(Fact::UnitSuspect, suspect);
            if suspect {
                self.suspects.push(slot);
            }
        }
    }

    /// Tells of posts whose unit is suspect, as of posts that nobody watches.
    pub(super) fn tell_units(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for slot in std::mem::take(&mut self.suspects) {
            let known = self.taking(&Subject::Post(slot), Family::Comms);
            let has = |place: usize| self.open[place].incident.kinds.contains(&Kind::Unmonitored);
            if !known.is_some_and(has) {
                let usual = self.slots[slot].baseline(Sampled::Leak);
                let finding = self.finding(Subject::Post(slot), Kind::Unmonitored, now);
                self.put(finding.value(Field::LeakageMa.name(), usual, 0), now, effects);
            }
        }
    }
}
