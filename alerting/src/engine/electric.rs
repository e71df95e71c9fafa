//! What may kill at one post: limits, water, saturation, flags. Silence after danger stands in `watch.rs`.

use std::sync::Arc;

use lampguard_model::{Field, Flags, Marks, Millis, Quantity, StoredReading, Timestamp};

use super::place::Subject;
use super::raise;
use super::signal::immersed_values;
use super::{Effect, Engine, Moment, admission_key, sample_of};
use crate::confirm::{Confirmed, Question, Rule, confirm};
use crate::incident::{Kind, Severity};
use crate::kind::{SAMPLED, Sampled};
use crate::sample::{Bits, Sample};
use crate::slot::{Fact, is_powered};
use crate::wet::Because;

const NOTE_UNKNOWN: &str = "数值未知, 超出量程 (value unknown)";
const NOTE_FLAG_NEAR: &str = "设备报警, 接近限值 (flag, near limit)";
const NOTE_FLAG_ALONE: &str = "设备报警, 无读数 (flag without value)";
const NOTE_FLAG_AGAINST: &str = "设备报警与读数不符 (flag contradicts value)";
const NOTE_FLAG_STUCK: &str = "设备报警位卡住 (stuck flag)";
const NOTE_DROWNED: &str = "浸水后失联 (immersed, then silent)";
const NOTE_SUSPECT: &str = "手测可疑 (hand test: suspect)";
/// The value of the field `check` that means suspect, thousandths.
const CHECK_SUSPECT: i64 = 1_000;

impl Engine {
    /// One new sample of one quantity: confirmed or not.
    pub(super) fn judge(
        &mut self,
        moment: &Moment,
        sampled: Sampled,
        place: usize,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (limit, _) = self.limit(moment.slot, sampled, false, moment.now);
        let confirmed = self.ask(moment.slot, sampled, limit, Some(place));
        if moment.late && confirmed.is_none_or(|confirmed| confirmed.rule != Rule::Manual) {
            let came = self.slots[moment.slot].ring(sampled).samples().get(place).copied();
            let above = came.filter(|sample| sample.is_above(limit));
            if let Some(sample) = above.or(confirmed.map(|confirmed| confirmed.shown)) {
                self.hold(moment.slot, sampled, sample, moment.now);
            }
            return;
        }
        let Some(confirmed) = confirmed else { return };
        let mut notes = raise::notes_of_reading(reading);
        if moment.clock_back || reading.marks.has(Marks::CLOCK) {
            notes.push(raise::NOTE_CLOCK.to_owned());
        }
        self.raise_critical(moment.slot, sampled, &confirmed, moment.now, notes, effects);
    }

    pub(super) fn ask(
        &self,
        slot: usize,
        sampled: Sampled,
        limit: i64,
        came: Option<usize>,
    ) -> Option<Confirmed> {
        let s = &self.slots[slot];
        confirm(&Question {
            rules: &self.policy.confirm,
            samples: s.ring(sampled).samples(),
            limit,
            period: s.period(),
            came,
        })
    }

    /// The limit in force at a post, thousandths, and why it is the wet one.
    pub(super) fn limit(
        &self,
        slot: usize,
        sampled: Sampled,
        warning: bool,
        now: Timestamp,
    ) -> (i64, Option<Because>) {
        let because = self.wet_because(slot, now);
        (self.limit_when(sampled, warning, because.is_some()), because)
    }

    pub(super) fn limit_when(&self, sampled: Sampled, warning: bool, wet: bool) -> i64 {
        let p = &self.policy;
        let [dry, humid] = match (sampled, warning) {
            (Sampled::Shell, false) => [p.shell_critical.dry, p.shell_critical.wet].map(|v| v.thousandths()),
            (Sampled::Leak, false) => [p.leak_critical.dry, p.leak_critical.wet].map(|v| v.thousandths()),
            (Sampled::Shell, true) => [p.shell_warning.dry, p.shell_warning.wet].map(|v| v.thousandths()),
            (Sampled::Leak, true) => [p.leak_warning.dry, p.leak_warning.wet].map(|v| v.thousandths()),
        };
        if wet { humid } else { dry }
    }

    /// Believed: opens the post's incident, or attaches to the one that is open.
    pub(super) fn raise_critical(
        &mut self,
        slot: usize,
        sampled: Sampled,
        confirmed: &Confirmed,
        now: Timestamp,
        mut notes: Vec<String>,
        effects: &mut Vec<Effect>,
    ) {
        let kind = sampled.critical();
        self.watches.remove(&slot);
        if let Some(place) = self.slots[slot].incident()
            && (self.is_collapsed(place) || self.is_known(place, slot, sampled, confirmed, now))
        {
            return;
        }
        let (limit, because) = self.limit(slot, sampled, false, now);
        self.notes_of_critical(slot, sampled, confirmed, because, &mut notes);
        let s = &self.slots[slot];
        // Receipt is kept to the second; what was confirmed by the reading at hand came now.
        let earlier = |at: &Timestamp| now.since(*at) >= Millis::seconds(1) && confirmed.rule != Rule::Manual;
        let heard = s.heard_at().filter(earlier);
        let shown = confirmed.shown;
        let number = !shown.has(Bits::LIVE) || shown.value() > 0;
        let mut finding = self.finding(Subject::Post(slot), kind, now);
        finding = finding.value(sampled.field().name(), number.then(|| shown.value()), limit);
        finding.evidence.measured_at = shown.at();
        finding.evidence.received_at = heard.unwrap_or(now);
        confirmed.rule.name().clone_into(&mut finding.evidence.rule);
        if notes.iter().any(|note| note == raise::NOTE_LATE) {
            finding.due = Some(self.policy.samples.historic_due);
        }
        finding.notes = notes;
        finding.key = confirmed.opening.key();
        finding.key_at = (!confirmed.opening.has(Bits::RECEIPT)).then(|| confirmed.opening.at());
        if let Some(place) = self.put(finding, now, effects) {
            self.join_neutral(slot, place, now, effects);
        }
    }

    /// Whether a confirmed critical is what its incident says already. After an isolation or a repair only what was
    /// measured since confirms that the danger came back.
    fn is_known(
        &self,
        place: usize,
        slot: usize,
        sampled: Sampled,
        confirmed: &Confirmed,
        now: Timestamp,
    ) -> bool {
        let incident = &self.open[place].incident;
        let life = &incident.life;
        let known = incident.kinds.contains(&sampled.critical()) && incident.severity == Severity::P1;
        if !known || self.shows_again(place, now) {
            return false;
        }
        if !self.is_back(incident, Severity::P1, confirmed.shown.at(), now) {
            return true;
        }
        let quiet = life.quiet_at.is_some_and(|at| !self.was_before(at, now));
        let Some(gone) = life.gone_by(incident.family).filter(|mark| !quiet && mark.at <= now) else {
            return false;
        };
        let s = &self.slots[slot];
        let samples = s.ring(sampled).samples();
        let samples = &samples[samples.partition_point(|sample| sample.at() <= gone.at)..];
        let (limit, _) = self.limit(slot, sampled, false, now);
        // The newest one above is what came: all rules count, also that of two in 30 min.
        let came = samples.iter().rposition(|sample| sample.is_above(limit));
        let (rules, period) = (&self.policy.confirm, s.period());
        came.is_none() || confirm(&Question { rules, samples, limit, period, came }).is_none()
    }

    fn notes_of_critical(
        &self,
        slot: usize,
        sampled: Sampled,
        confirmed: &Confirmed,
        because: Option<Because>,
        notes: &mut Vec<String>,
    ) {
        let s = &self.slots[slot];
        let pe = &self.policy.pe_suspected;
        let near = |leak: &Sample| leak.at().since(confirmed.shown.at()).0.abs() <= s.period().0 + 60_000;
        let leak = s.ring(Sampled::Leak).newest().filter(near);
        let no_current = leak.is_some_and(|leak| leak.value() < pe.leak_below.thousandths());
        let high = confirmed.shown.value() >= pe.shell.thousandths();
        for (said, note) in [
            (confirmed.rule == Rule::SingleSample, raise::NOTE_SINGLE),
            (confirmed.rule == Rule::Manual, raise::NOTE_MANUAL),
            (sampled == Sampled::Shell && high && no_current, raise::NOTE_PE),
        ] {
            if said {
                notes.push(note.to_owned());
            }
        }
        self.usual_notes(slot, because, notes);
    }

    /// A warning limit reached by the last three samples (one when the period is long).
    pub(super) fn warn(&mut self, slot: usize, sampled: Sampled, now: Timestamp, effects: &mut Vec<Effect>) {
        let kind = sampled.warning();
        if let Some(place) = self.slots[slot].incident() {
            let kinds = &self.open[place].incident.kinds;
            if kinds.contains(&kind) || kinds.contains(&sampled.critical()) {
                return;
            }
        }
        let (limit, _) = self.limit(slot, sampled, true, now);
        let s = &self.slots[slot];
        let samples = s.ring(sampled).samples();
        let row = if s.is_slow(&self.policy.confirm) { 1 } else { self.policy.confirm.row as usize };
        let Some(row) = samples.len().checked_sub(row).map(|from| &samples[from..]) else {
            return;
        };
        let (Some(first), Some(last)) = (row.first().copied(), row.last().copied()) else {
            return;
        };
        let over = self.policy.leak_warning.over;
        let since = self.above.get(&slot).copied().unwrap_or(first.at()).min(first.at());
        let long =
            s.is_slow(&self.policy.confirm) || sampled == Sampled::Shell || last.at().since(since) >= over;
        if !long || !row.iter().all(|sample| sample.is_above(limit)) {
            return;
        }
        let mut finding = self.finding(Subject::Post(slot), kind, now);
        finding = finding.value(sampled.field().name(), Some(last.value()), limit);
        finding.evidence.measured_at = last.at();
        (finding.key, finding.key_at) = (first.key(), (!first.has(Bits::RECEIPT)).then(|| first.at()));
        if row.len() == 1 {
            finding = finding.note(raise::NOTE_SINGLE);
        }
        self.put(finding, now, effects);
    }

    /// Since when leakage has been at its warning limit: the five samples kept may cover less than the time that
    /// the warning asks for.
    pub(super) fn note_above(&mut self, slot: usize, now: Timestamp) {
        let limit = self.limit(slot, Sampled::Leak, true, now).0;
        let Some(newest) = self.slots[slot].ring(Sampled::Leak).newest() else {
            return;
        };
        if newest.is_above(limit) {
            self.above.entry(slot).or_insert(newest.at());
            self.slots[slot].set(Fact::Aside, true);
        } else if self.slots[slot].is(Fact::Aside) {
            self.above.remove(&slot);
        }
    }

    /// What a reading says besides its two values: water, saturation, flags, a doubtful hand test.
    pub(super) fn judge_signs(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if moment.late {
            return;
        }
        let s = &self.slots[moment.slot];
        if s.is(Fact::Immersed) {
            self.judge_water(moment, effects);
        }
        if reading.marks.has(Marks::SATURATED) || self.slots[moment.slot].is(Fact::Aside) {
            self.judge_saturation(moment, reading, effects);
        }
        let flags = [(Sampled::Shell, Flags::SHELL_ALARM), (Sampled::Leak, Flags::LEAK_ALARM)];
        for (sampled, flag) in flags {
            let up = reading.flags.has(flag);
            if up || self.slots[moment.slot].is(Fact::Aside) {
                self.judge_flag(moment, sampled, up, reading, effects);
            }
        }
        if reading.fields.get(Field::Check) == Some(CHECK_SUSPECT) {
            let policy = self.policy.clone();
            let mut finding = self.finding(Subject::Post(moment.slot), Kind::ShellWarning, moment.now);
            finding = finding.with(Severity::P2, &policy).value("", None, 0).note(NOTE_SUSPECT);
            finding.due = Some(policy.hand_test.suspect_due);
            Rule::Manual.name().clone_into(&mut finding.evidence.rule);
            finding.notes.extend(raise::notes_of_reading(reading));
            self.put(finding, moment.now, effects);
        }
    }

    fn judge_water(&mut self, moment: &Moment, effects: &mut Vec<Effect>) {
        let s = &self.slots[moment.slot];
        let fresh = |sample: &Sample| s.newest_at().since(sample.at()).0 <= 2 * s.period().0;
        let found = immersed_values(&self.policy, s).filter(|(_, sample, _)| fresh(sample));
        let Some((sampled, sample, limit)) = found else {
            return;
        };
        let mut finding = self.finding(Subject::Post(moment.slot), Kind::ImmersedLeak, moment.now);
        finding = finding.value(sampled.field().name(), Some(sample.value()), limit);
        finding.evidence.measured_at = sample.at();
        (finding.key, finding.key_at) = (sample.key(), (!sample.has(Bits::RECEIPT)).then(|| sample.at()));
        self.watches.remove(&moment.slot);
        self.put(finding, moment.now, effects);
    }

    /// Two in a row, or one with the shell at its limit or with the flag: P1, value unknown.
    fn judge_saturation(&mut self, moment: &Moment, reading: &StoredReading<'_>, effects: &mut Vec<Effect>) {
        let slot = moment.slot;
        if !reading.marks.has(Marks::SATURATED) {
            if reading.fields.get(Field::LeakageMa).is_some() {
                self.saturated.remove(&slot);
            }
            return;
        }
        let key = admission_key(reading);
        self.slots[slot].set(Fact::Aside, true);
        let row = match self.saturated.get(&slot) {
            Some((known, row)) if *known == key => *row,
            Some((_, row)) => row + 1,
            None => 1,
        };
        self.saturated.insert(slot, (key, row));
        let limit = self.limit(slot, Sampled::Shell, false, moment.now).0;
        let shell = reading.fields.get(Field::ShellV).is_some_and(|value| value >= limit);
        let flag = reading.flags.has(Flags::LEAK_ALARM) && !self.slots[slot].is(Fact::LeakFlagStuck);
        if row < self.policy.sat_leak.row && !shell && !flag {
            return self.watch(moment, Kind::SatLeak, None, 0);
        }
        let limit = self.limit(slot, Sampled::Leak, false, moment.now).0;
        let mut finding = self.finding(Subject::Post(slot), Kind::SatLeak, moment.now);
        finding = finding.value(Field::LeakageMa.name(), None, limit).at(moment.measured_at);
        finding = finding.note(NOTE_UNKNOWN);
        self.watches.remove(&slot);
        self.put(finding, moment.now, effects);
    }

    /// The device's own flag: P1 without a value or near the limit, P2 against a lower value, P3 when it
    /// never goes down.
    fn judge_flag(
        &mut self,
        moment: &Moment,
        sampled: Sampled,
        up: bool,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (slot, now) = (moment.slot, moment.now);
        let stuck = if sampled == Sampled::Leak { Fact::LeakFlagStuck } else { Fact::ShellFlagStuck };
        if !up {
            self.flags_up.remove(&(slot, sampled));
            self.slots[slot].set(stuck, false);
            return;
        }
        let limit = self.limit(slot, sampled, false, now).0;
        let value = reading.fields.get(sampled.field());
        let near = value.is_none_or(|value| value >= self.policy.flag_only.near_share.of(limit));
        if reading.marks.has(Marks::SATURATED) && sampled == Sampled::Leak {
            return;
        }
        self.slots[slot].set(Fact::Aside, true);
        let up_since = self.flags_up.entry((slot, sampled)).or_insert(now);
        if near && value.is_some() {
            *up_since = now;
        }
        let long = now.since(*up_since) > self.policy.flag_only.stuck_after;
        if long {
            self.slots[slot].set(stuck, true);
        }
        if value.is_some_and(|value| value >= limit) {
            return;
        }
        let (severity, note) = match (value, near) {
            _ if self.slots[slot].is(stuck) => (Severity::P3, NOTE_FLAG_STUCK),
            (None, _) => (Severity::P1, NOTE_FLAG_ALONE),
            (_, true) => (Severity::P1, NOTE_FLAG_NEAR),
            (_, false) => (Severity::P2, NOTE_FLAG_AGAINST),
        };
        let policy = self.policy.clone();
        if severity == Severity::P3
            && let Some(place) = self.slots[slot].incident()
        {
            return self.note(place, note, now, effects);
        }
        let finding = self.finding(Subject::Post(slot), Kind::FlagOnly, now);
        let mut finding = finding.with(severity, &policy).value(sampled.field().name(), value, limit);
        finding = finding.at(moment.measured_at).note(note);
        self.put(finding, now, effects);
    }

    /// A post that told of water and has been silent since.
    pub(super) fn raise_drowned(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let s = &self.slots[slot];
        let (heard, limit) = (s.heard_at().unwrap_or(now), self.drowned_bound(slot, now));
        let silent = now.since(heard).0 / 60;
        let finding = self.finding(Subject::Post(slot), Kind::SensorDrowned, now);
        let finding = finding.value("", Some(silent), limit.0 / 60).at(heard).note(NOTE_DROWNED);
        self.watches.remove(&slot);
        self.put(finding, now, effects);
    }

    /// Immersed and silent for longer is *drowned*.
    pub(super) fn drowned_bound(&self, slot: usize, now: Timestamp) -> Millis {
        let p = &self.policy.sensor_drowned;
        self.silent_bound(slot, p.silent_periods, p.silent_min, now)
    }

    /// The limits went down: the last fresh sample is judged again, over its last three.
    pub(super) fn judge_again(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.slots[slot].is(Fact::Cabinet) {
            return;
        }
        for sampled in SAMPLED {
            let s = &self.slots[slot];
            let periods = i64::from(self.policy.samples.fresh_periods);
            let newest = s.ring(sampled).newest();
            if newest.is_none_or(|last| now.since(last.at()).0 > periods * s.period().0) {
                continue;
            }
            let (limit, _) = self.limit(slot, sampled, false, now);
            if let Some(confirmed) = self.ask(slot, sampled, limit, None) {
                self.raise_critical(slot, sampled, &confirmed, now, Vec::new(), effects);
            }
            self.warn(slot, sampled, now, effects);
        }
    }

    /// A reading of a device without a slot: believed on one sample.
    pub(super) fn judge_untracked(
        &mut self,
        now: Timestamp,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let zone = self.zone(reading.zone);
        let because = self.zones[usize::from(zone)].wet[0];
        for sampled in SAMPLED {
            let limit = self.limit_when(sampled, false, because.is_some());
            let key = admission_key(reading);
            let powered = is_powered(reading, self.policy.samples.powered_above);
            let with = (powered, self.policy.hand_test.live_band);
            let sample = sample_of(reading, sampled, reading.measured_at(), with, key);
            let Some(shown) = sample.filter(|s| s.is_above(limit)) else {
                continue;
            };
            let subject = Subject::Untracked(reading.post.into());
            let mut finding = self.finding(subject, sampled.critical(), now);
            let value = (!shown.has(Bits::LIVE) || shown.value() > 0).then(|| shown.value());
            finding = finding.value(sampled.field().name(), value, limit);
            finding.evidence.measured_at = shown.at();
            finding.evidence.wet = because.is_some();
            because.map_or("", Because::name).clone_into(&mut finding.evidence.wet_because);
            Rule::SingleSample.name().clone_into(&mut finding.evidence.rule);
            finding.notes = raise::notes_of_reading(reading);
            finding.notes.extend([raise::NOTE_SINGLE.to_owned(), raise::NOTE_UNREGISTERED.to_owned()]);
            finding.hint = reading.hint.map(Arc::from);
            finding.key = shown.key();
            finding.key_at = (!shown.has(Bits::RECEIPT)).then(|| shown.at());
            self.put(finding, now, effects);
        }
    }
}
