//! No data: posts, feeders, zones, and sensors that tell nothing any more.

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};

use super::place::Subject;
use super::sweep::LOOK_AGAIN;
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind, Severity, Signal};
use crate::kind::Sampled;
use crate::slot::Fact;

const NOTE_STUCK: &str = "读数不变, 传感器故障 (stuck)";
const NOTE_OPEN_CT: &str = "漏电读数恒为 0.0, 互感器可能开路 (open CT)";
const NOTE_PATROL: &str = "该回路失明, 请巡查 (blind: patrol)";
const NOTE_UNIT: &str = "单位可疑, 未换算 (unit suspect)";
/// After lamps went out posts may report by their period of the day for the first time within …
const GO_OVER: Millis = Millis::minutes(40);
/// … when so many of a feeder did.
const GO_OVER_LAMPS: u32 = 3;
/// Posts of a walking list.
const WALK_MAX: usize = 20;

impl Engine {
    /// Since when supply is expected at a post: by the timetable of its feeder, or because the feeder's own
    /// readings say that it is energised; without a timetable by these alone. `None` while it is not. A battery
    /// node needs none.
    pub(super) fn supply_expected(&self, slot: usize, now: Timestamp) -> Option<Timestamp> {
        let s = &self.slots[slot];
        let feeder = s.feeder().filter(|_| !s.is(Fact::Battery) && !s.is(Fact::Cabinet));
        let Some(feeder) = feeder.map(|feeder| &self.feeders[feeder]) else {
            return Some(Timestamp(i64::MIN));
        };
        let said = feeder.off_from.is_none().then_some(feeder.on_since);
        match self.timetable_of(slot, now) {
            None => said,
            Some(due) if due.on => Some(due.since),
            // It burns on by day as long as something measured since the switch-off says so.
            Some(due) => said.filter(|_| feeder.word_at > due.since).map(|since| since.max(due.since)),
        }
    }

    /// What a reading says about the supply of its feeder. One that was measured before the newest word and
    /// came behind it says nothing.
    pub(super) fn note_supply(&mut self, feeder: usize, powered: bool, moment: &Moment) {
        /// A feeder that was dead, or said nothing, for longer was switched on anew.
        const NEW_AFTER: Millis = Millis::minutes(10);
        let (feeder, now) = (&mut self.feeders[feeder], moment.now);
        let measured_at = moment.measured_at.min(now);
        if measured_at < feeder.word_at {
            return;
        }
        feeder.word_at = measured_at;
        if powered {
            let off_for = feeder.off_from.map(|from| now.since(from));
            let mute = now.since(feeder.heard_at) > Millis::minutes(30);
            if off_for.is_some_and(|off| off >= NEW_AFTER) || mute {
                feeder.on_since = now;
            }
            feeder.off_from = None;
        } else if feeder.off_from.is_none() {
            feeder.off_from = Some(now);
        }
        feeder.heard_at = now;
    }

    /// A lamp of a feeder has gone out.
    pub(super) fn note_lamp_out(&mut self, slot: usize, now: Timestamp) {
        let Some(feeder) = self.slots[slot].feeder() else { return };
        let feeder = &mut self.feeders[feeder];
        if now.since(feeder.out_from) > GO_OVER {
            (feeder.out_from, feeder.out) = (now, 0);
        }
        feeder.out += 1;
    }

    /// Several lamps of its feeder have gone out lately: a post may have gone over to the period of the day.
    pub(super) fn may_have_gone_over(&self, slot: usize, now: Timestamp) -> bool {
        self.slots[slot]
            .feeder()
            .map(|feeder| &self.feeders[feeder])
            .is_some_and(|feeder| feeder.out >= GO_OVER_LAMPS && now.since(feeder.out_from) <= GO_OVER)
    }

    /// No data for longer is silence.
    pub(super) fn silent_bound(&self, slot: usize, periods: u32, at_least: Millis, now: Timestamp) -> Millis {
        let s = &self.slots[slot];
        let bound = s.silent_bound(periods, at_least);
        match self.may_have_gone_over(slot, now) {
            true => bound.max(Millis(s.longer_period().0 * i64::from(periods))),
            false => bound,
        }
    }

    /// A post has spoken: it is no longer silent, nor are its feeder and zone.
    pub(super) fn note_heard(&mut self, moment: &Moment, effects: &mut Vec<Effect>) {
        let (slot, now) = (moment.slot, moment.now);
        let zone = usize::from(self.slots[slot].zone);
        let counted = self.is_counted(slot);
        if counted {
            self.note_zone_heard(zone, now, effects);
        }
        if !self.slots[slot].is(Fact::Silent) {
            if counted
                && self.feeders_dark > 0
                && let Some(feeder) = self.slots[slot].feeder()
            {
                self.follow_dark(feeder, now, effects);
            }
            return;
        }
        if moment.again {
            return;
        }
        self.slots[slot].set(Fact::Silent, false);
        self.keep_in_mind(slot, effects);
        if let Some(feeder) = self.slots[slot].feeder().filter(|_| counted) {
            self.feeders[feeder].silent = self.feeders[feeder].silent.saturating_sub(1);
            self.follow_dark(feeder, now, effects);
        }
        self.follow_comms(slot, now, effects);
    }

    fn follow_comms(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        let blind = [Fact::Silent, Fact::Stuck, Fact::OpenCt].into_iter().any(|fact| s.is(fact));
        self.follow_state(&Subject::Post(slot), Family::Comms, !blind, Millis(0), now, effects);
    }

    fn follow_dark(&mut self, feeder: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let gone = !self.is_dark(feeder);
        let time = self.policy.feeder_dark.normal_for;
        self.follow_state(&Subject::Feeder(feeder), Family::Comms, gone, time, now, effects);
    }

    /// A monitored post of the register, not a cabinet: counted for feeders and zones.
    pub(super) fn is_counted(&self, slot: usize) -> bool {
        let s = &self.slots[slot];
        !s.is(Fact::Unmonitored) && !s.is(Fact::Cabinet) && !s.is(Fact::Unregistered)
    }

    /// From when on silence of a post counts: not before it was heard, we ran, its source was connected and its
    /// supply was expected. `None`: it does not count now.
    fn silent_since(&self, slot: usize, now: Timestamp) -> Option<Timestamp> {
        let s = &self.slots[slot];
        let heard = s.heard_at()?;
        if s.is(Fact::Unmonitored) || s.is(Fact::Unregistered) || self.is_isolated(slot) {
            return None;
        }
        let connected = self.connected_since(s.source())?;
        let expected = self.supply_expected(slot, now)?;
        let slack = Millis(s.period().0 * i64::from(self.policy.silence.slack_periods));
        let resumed = self.running_since.max(connected).max(expected);
        let resumed = if resumed.0 == i64::MIN { resumed } else { resumed + slack };
        Some(heard.max(resumed))
    }

    fn offline_bound(&self, slot: usize, now: Timestamp) -> Millis {
        let p = &self.policy.offline;
        let wet = self.wet_because(slot, now).is_some();
        let periods = if wet { p.wet_periods } else { p.dry_periods };
        self.silent_bound(slot, periods, p.silent_min, now)
    }

    /// Silence of one post: drowned, offline, or one more of a dark feeder.
    pub(super) fn look_at_silence(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        if s.is(Fact::Silent) || s.heard_at().is_none() || s.is(Fact::Unmonitored) {
            return;
        }
        let Some(since) = self.silent_since(slot, now) else {
            if !s.is(Fact::Unregistered) {
                self.wake(slot, now + LOOK_AGAIN);
            }
            return;
        };
        let bound = self.offline_bound(slot, now);
        let drowned = self.slots[slot].is(Fact::Immersed).then(|| self.drowned_bound(slot, now));
        let first = drowned.map_or(bound, |drowned| drowned.min(bound));
        if now.since(since) <= first {
            return self.wake(slot, since + first + Millis(1));
        }
        if drowned.is_some_and(|drowned| now.since(since) > drowned) {
            self.raise_drowned(slot, now, effects);
        }
        if now.since(since) <= bound {
            return self.wake(slot, since + bound + Millis(1));
        }
        self.slots[slot].set(Fact::Silent, true);
        self.keep_in_mind(slot, effects);
        self.raise_silent(slot, since, bound, now, effects);
    }

    fn raise_silent(
        &mut self,
        slot: usize,
        since: Timestamp,
        bound: Millis,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        // It may have been normal in between.
        self.follow_comms(slot, now, effects);
        if let Some(feeder) = self.slots[slot].feeder().filter(|_| self.is_counted(slot)) {
            self.feeders[feeder].silent += 1;
            if self.is_dark(feeder) {
                return self.raise_dark(feeder, now, effects);
            }
        }
        let heard = self.slots[slot].heard_at().unwrap_or(since);
        let finding = self.finding(Subject::Post(slot), Kind::Offline, now);
        let finding = finding.value("", Some(now.since(heard).0 / 60), bound.0 / 60).at(heard);
        self.put(finding, now, effects);
    }

    pub(super) fn is_dark(&self, feeder: usize) -> bool {
        let (p, feeder) = (&self.policy.feeder_dark, &self.feeders[feeder]);
        let share = feeder.silent as i64 * 100_000;
        feeder.silent >= p.posts as usize && share >= p.share.0 * feeder.members.len() as i64
    }

    pub(super) fn raise_dark(&mut self, feeder: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let wet = self.zone_wet(self.feeders[feeder].zone).is_some();
        let policy = self.policy.clone();
        let mut finding = self.finding(Subject::Feeder(feeder), Kind::FeederDark, now);
        if wet {
            finding = finding.with(Severity::P1, &policy).note(NOTE_PATROL);
        }
        let of = &self.feeders[feeder];
        let share = of.silent as i64 * 100_000 / of.members.len().max(1) as i64;
        let silent = |slot: &&u32| self.slots[**slot as usize].is(Fact::Silent);
        let slots: Vec<usize> = of.members.iter().filter(silent).map(|slot| *slot as usize).collect();
        finding = finding.value("", Some(share), policy.feeder_dark.share.0);
        finding.members = self.walking_list(&slots);
        if let Some(list) = self.walking_note(&slots) {
            finding.notes.push(list);
        }
        let Some(parent) = self.put(finding, now, effects) else { return };
        self.follow_dark(feeder, now, effects);
        for slot in slots {
            if let Some(member) = self.taking(&Subject::Post(slot), Family::Comms) {
                self.link(parent, member, now, effects);
            }
        }
    }

    /// Low-lying posts first, then by the worst wet peak.
    fn walking_list(&self, slots: &[usize]) -> Vec<Arc<str>> {
        let mut sorted = slots.to_vec();
        sorted.sort_by_key(|slot| {
            let s = &self.slots[*slot];
            let worst = s.peaks.iter().chain([&s.peak]).max().copied().unwrap_or(0);
            (!s.is(Fact::LowLying), std::cmp::Reverse(worst), *slot)
        });
        sorted.into_iter().map(|slot| self.owners[slot].name().clone()).collect()
    }

    fn walking_note(&self, slots: &[usize]) -> Option<String> {
        let list = self.walking_list(slots);
        let risky = |name: &&Arc<str>| {
            let s = &self.slots[self.places[*name] as usize];
            s.is(Fact::LowLying) || s.peaks.iter().any(|peak| *peak > 0) || s.peak > 0
        };
        let names: Vec<&str> = list.iter().filter(risky).take(WALK_MAX).map(|name| &**name).collect();
        (!names.is_empty()).then(|| format!("先查 (walk first): {}", names.join(", ")))
    }

    fn note_zone_heard(&mut self, zone: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let min = self.policy.blind.silent_min;
        let z = &mut self.zones[zone];
        z.heard_at = z.heard_at.max(Some(now));
        if z.look_at.0 == i64::MAX {
            z.look_at = now + min;
        }
        if self.zones_blind > 0 {
            self.follow_state(&Subject::Zone(zone), Family::Comms, true, Millis(0), now, effects);
        }
    }

    /// Zones that have said nothing for too long.
    pub(super) fn look_at_zones(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for zone in 0..self.zones.len() {
            let z = &self.zones[zone];
            if z.look_at > now {
                continue;
            }
            let Some(heard) = z.heard_at else { continue };
            let min = self.policy.blind.silent_min;
            let since = heard.max(self.running_since);
            if now.since(since) < min {
                self.zones[zone].look_at = since + min;
                continue;
            }
            let Some((period, resumed)) = self.period_of_zone(zone, now) else {
                self.zones[zone].look_at = now + LOOK_AGAIN;
                continue;
            };
            let bound = self.blind_bound(period);
            let since = since.max(resumed);
            if now.since(since) < bound {
                self.zones[zone].look_at = since + bound;
                continue;
            }
            self.zones[zone].look_at = Timestamp(i64::MAX);
            self.raise_blind(zone, heard, bound, now, effects);
        }
    }

    /// The median period of the posts of a zone whose silence would count now, and since when it would.
    fn period_of_zone(&self, zone: usize, now: Timestamp) -> Option<(Millis, Timestamp)> {
        let mut periods = Vec::new();
        let mut resumed = Timestamp(i64::MAX);
        for (slot, s) in self.slots.iter().enumerate() {
            if usize::from(s.zone) != zone || !self.is_counted(slot) || s.heard_at().is_none() {
                continue;
            }
            let Some(since) = self.supply_expected(slot, now).filter(|_| !self.is_isolated(slot)) else {
                continue;
            };
            periods.push(s.period());
            resumed = resumed.min(since);
        }
        let middle = periods.len() / 2;
        let (_, median, _) = (!periods.is_empty()).then(|| periods.select_nth_unstable(middle))?;
        Some((*median, resumed))
    }

    fn blind_bound(&self, period: Millis) -> Millis {
        let p = &self.policy.blind;
        Millis(period.0 * i64::from(p.silent_periods)).max(p.silent_min)
    }

    fn raise_blind(
        &mut self,
        zone: usize,
        heard: Timestamp,
        bound: Millis,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let policy = self.policy.clone();
        let mut finding = self.finding(Subject::Zone(zone), Kind::Blind, now);
        if self.zone_wet(zone).is_some() {
            finding = finding.with(Severity::P1, &policy);
        }
        finding = finding.value("", Some(now.since(heard).0 / 60), bound.0 / 60).at(heard);
        finding = finding.note(self.cause_of_blindness(zone, now));
        self.put(finding, now, effects);
        // It may have been normal in between.
        self.follow_state(&Subject::Zone(zone), Family::Comms, false, Millis(0), now, effects);
    }

    /// Feeders that are dark and zones that are blind since it was dry: in the rain they are a P1. While their
    /// supply is not expected they wait until it is.
    pub(super) fn worsen_silence(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.worse_at {
            return;
        }
        self.worse_at = Timestamp(i64::MAX);
        for place in 0..self.open.len() {
            let open = &self.open[place];
            let grave = open.incident.severity >= Severity::P1 || open.incident.signal != Signal::Active;
            if open.over || grave || open.incident.family != Family::Comms {
                continue;
            }
            // A replay comes to times before it opened, with the weather that was then.
            if self.replaying && open.incident.opened_at > now {
                self.worse_at = self.worse_at.min(open.incident.opened_at);
                continue;
            }
            let subject = open.subject.clone();
            let zone = match subject {
                Subject::Feeder(feeder) => self.feeders[feeder].zone,
                Subject::Zone(zone) => zone,
                _ => continue,
            };
            if self.taking(&subject, Family::Comms) != Some(place) || self.zone_wet(zone).is_none() {
                continue;
            }
            match subject {
                Subject::Feeder(feeder) if self.is_dark(feeder) && self.counts_as_silent(feeder, now) => {
                    self.raise_dark(feeder, now, effects);
                }
                Subject::Zone(zone) if let Some((period, _)) = self.period_of_zone(zone, now) => {
                    let heard = self.zones[zone].heard_at.unwrap_or(now);
                    self.raise_blind(zone, heard, self.blind_bound(period), now, effects);
                }
                _ => self.worse_at = now + LOOK_AGAIN,
            }
        }
    }

    /// Silence of one of its silent posts counts now.
    pub(super) fn counts_as_silent(&self, feeder: usize, now: Timestamp) -> bool {
        let slots = self.feeders[feeder].members.iter().map(|slot| *slot as usize);
        slots
            .into_iter()
            .any(|slot| self.slots[slot].is(Fact::Silent) && self.silent_since(slot, now).is_some())
    }

    /// A sensor that repeats itself, or whose transformer is open, tells nothing.
    pub(super) fn raise_deaf(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        let note = if s.is(Fact::Stuck) { NOTE_STUCK } else { NOTE_OPEN_CT };
        let since = if s.is(Fact::Stuck) { s.same_s } else { s.zero_s };
        let since = crate::slot::from_seconds(since).unwrap_or(now);
        let place = self.taking(&Subject::Post(slot), Family::Comms);
        if let Some(place) = place.filter(|place| self.open[*place].incident.kinds.contains(&Kind::Offline)) {
            self.note(place, note, now, effects);
            return self.follow_comms(slot, now, effects);
        }
        let finding = self.finding(Subject::Post(slot), Kind::Offline, now).note(note);
        let finding = finding.value("", Some(now.since(since).0 / 60), 0).at(since);
        self.put(finding, now, effects);
    }

    /// Its values have begun to move again.
    pub(super) fn hear_again(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        self.follow_comms(slot, now, effects);
    }

    /// A post that has not told a leakage for a day: nobody watches it.
    pub(super) fn look_at_leak_value(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        let after = self.policy.unmonitored.after;
        if !self.is_counted(slot) || s.heard_at().is_none() {
            return;
        }
        let newest = s.ring(Sampled::Leak).newest().map(|sample| sample.at());
        let since = newest.unwrap_or(self.first_heard(slot)).max(self.running_since);
        if now.since(since) < after {
            return self.wake(slot, since + after);
        }
        let open = self.taking(&Subject::Post(slot), Family::Comms);
        let known = |place: &usize| self.open[*place].incident.kinds.contains(&Kind::Unmonitored);
        if open.filter(known).is_none() {
            let hours = |time: Millis| time.0 / 3600;
            let finding = self.finding(Subject::Post(slot), Kind::Unmonitored, now);
            let mut finding = finding.value("", Some(hours(now.since(since))), hours(after)).at(since);
            if self.slots[slot].is(Fact::UnitSuspect) {
                finding = finding.note(NOTE_UNIT);
            }
            self.put(finding, now, effects);
        }
        self.wake(slot, now + after);
    }

    fn first_heard(&self, slot: usize) -> Timestamp {
        self.heard_first.get(&slot).copied().unwrap_or(self.running_since)
    }
}
