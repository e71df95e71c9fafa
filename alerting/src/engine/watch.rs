//! Danger that nothing confirmed, and then silence: *critical_then_silent*.

use lampguard_model::{Field, Millis, Timestamp};
use serde_json::json;

use super::moves::{Belongs, REPEATED};
use super::place::Subject;
use super::raise::{self, Finding, NAMED_MAX};
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Kind, Severity};
use crate::kind::{SAMPLED, Sampled};
use crate::life::takes_evidence;
use crate::sample::{Bits, Sample};
use crate::slot::Fact;

const NOTE_SWITCH_OFF: &str = "关灯前单次超限 (single critical before switch-off)";
const NOTE_MORE: &str = "又有灯杆超限后失联 (more posts, critical, then silent)";
const NOTE_SILENT: &str = "超限后失联 (critical, then silent)";

/// A dangerous sample that nothing confirmed yet: see *critical_then_silent*.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// What it was: a sample above a limit, saturation, a flag.
    kind: Kind,
    value: Option<i64>,
    limit: i64,
    measured_at: Timestamp,
    since: Timestamp,
    /// Unless something valid and powered comes until then.
    pub(super) until: Timestamp,
}

impl Engine {
    /// Danger that nothing has confirmed: something powered has to come soon, or it is raised.
    pub(super) fn watch(&mut self, moment: &Moment, kind: Kind, value: Option<i64>, limit: i64) {
        let slot = moment.slot;
        let p1 = |place: usize| self.open[place].incident.severity == Severity::P1;
        // A replay brings what an incident that is over had seen: its silence since then is nothing new.
        let ended = self.belongs(&Subject::Post(slot), Family::Electric, moment.now) == Belongs::Ended;
        if moment.late || ended || self.attached(slot).is_some_and(p1) {
            return;
        }
        let until = moment.now + self.watched_for(slot);
        let (measured_at, since) = (moment.measured_at, moment.now);
        if self.is_contradicted(slot, measured_at) {
            return;
        }
        let watch = Watch { kind, value, limit, measured_at, since, until };
        self.watches.insert(slot, watch);
        self.slots[slot].set(Fact::Aside, true);
        self.wake(slot, until);
    }

    /// So long something valid and powered may take to come after danger.
    pub(super) fn watched_for(&self, slot: usize) -> Millis {
        let p = &self.policy.critical_then_silent;
        p.silent_periods.times(self.slots[slot].period()).max(p.silent_min)
    }

    /// Something valid and powered has come, measured after what is watched: no silence followed it.
    pub(super) fn end_watch_by_sample(&mut self, moment: &Moment) {
        let after = |watch: &Watch| moment.measured_at > watch.measured_at;
        if self.watches.get(&moment.slot).is_some_and(after) {
            self.watches.remove(&moment.slot);
        }
    }

    /// A valid powered sample that was measured after `at` is known.
    fn is_contradicted(&self, slot: usize, at: Timestamp) -> bool {
        let newer = |sample: &Sample| sample.at() > at && sample.has(Bits::POWERED);
        SAMPLED.into_iter().any(|sampled| self.slots[slot].ring(sampled).samples().iter().any(newer))
    }

    /// Our own clock went back: what is watched began now at the latest.
    pub(super) fn watches_went_back(&mut self, now: Timestamp) {
        for watch in self.watches.values_mut() {
            let lasts = watch.until.since(watch.since);
            (watch.measured_at, watch.since) = (watch.measured_at.min(now), watch.since.min(now));
            watch.until = watch.until.min(now + lasts);
        }
    }

    /// A watch has run out at `slot`: nothing powered came.
    pub(super) fn end_watch(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(watch) = self.watches.get(&slot).copied().filter(|watch| watch.until <= now) else {
            return;
        };
        let p = &self.policy.critical_then_silent;
        let later = watch.since + p.silent_periods.times(self.slots[slot].longer_period());
        if self.may_have_gone_over(slot, now) && later > now {
            self.watches.insert(slot, Watch { until: later, ..watch });
            return;
        }
        let feeder = self.slots[slot].feeder();
        let expected = self.supply_expected(slot, now).is_some();
        let mates: Vec<usize> = match feeder {
            Some(feeder) if expected => {
                let mut mates: Vec<usize> = self
                    .watches
                    .keys()
                    .copied()
                    .filter(|other| self.slots[*other].feeder() == Some(feeder))
                    .collect();
                mates.sort_unstable();
                mates
            }
            _ => Vec::new(),
        };
        let group_from = self.policy.critical_then_silent.group_from as usize;
        let grouped = feeder.filter(|feeder| {
            expected && (mates.len() >= group_from || self.takes_silent_posts(*feeder, now).is_some())
        });
        if let Some(feeder) = grouped {
            return self.raise_silent_posts(feeder, &mates, &watch, now, effects);
        }
        self.watches.remove(&slot);
        let mut finding = self.silent_finding(Subject::Post(slot), &watch, now);
        if !expected {
            let policy = self.policy.clone();
            finding = finding.with(Severity::P2, &policy).note(NOTE_SWITCH_OFF);
        }
        self.put(finding, now, effects);
    }

    /// The incident of a feeder to which one more post that was critical and fell silent belongs: one that still
    /// takes evidence. What people have made safe says nothing of a post that goes silent after it; only a replay
    /// brings what was silent before.
    fn takes_silent_posts(&self, feeder: usize, now: Timestamp) -> Option<usize> {
        let place = self.taking(&Subject::Feeder(feeder), Family::Electric)?;
        let life = &self.open[place].incident.life;
        let before = life.safe.as_ref().is_some_and(|safe| self.replaying && now <= safe.mark.received_at);
        (takes_evidence(life.state) || before).then_some(place)
    }

    /// Posts of one feeder that were critical and fell silent: one incident that names them. Those who go there
    /// are told of each that comes behind.
    fn raise_silent_posts(
        &mut self,
        feeder: usize,
        mates: &[usize],
        watch: &Watch,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let subject = Subject::Feeder(feeder);
        for mate in mates {
            self.watches.remove(mate);
        }
        let mut finding = self.silent_finding(subject.clone(), watch, now);
        finding.members = mates.iter().map(|mate| self.owners[*mate].name().clone()).collect();
        self.mark_simulated(&mut finding);
        let Some(place) = self.takes_silent_posts(feeder, now) else {
            let older = self.taking(&subject, Family::Electric);
            match older.map(|place| self.open[place].incident.id.clone()) {
                Some(older) => _ = self.open(finding, vec![older], now, effects),
                None => _ = self.put(finding, now, effects),
            }
            return;
        };
        let known = &self.open[place].incident.members;
        let new: Vec<_> = finding.members.iter().filter(|name| !known.contains(name)).cloned().collect();
        self.attach(place, finding, now, effects);
        if !new.is_empty() {
            let key = format!("again:members:{}", self.open[place].incident.members.len());
            let names: Vec<&str> = new.iter().take(NAMED_MAX).map(|name| &**name).collect();
            let note = format!("{NOTE_MORE}: {}", names.join(", "));
            let kind = Kind::CriticalThenSilent.name();
            let body = json!({ "kind": kind, "members": new, "body": { "note": note } });
            self.say(place, now, &key, "repeated", &body, Some(REPEATED), effects);
        }
    }

    /// A late critical that nothing confirmed, and nothing powered was measured behind it.
    pub(super) fn raise_late_silence(
        &mut self,
        slot: usize,
        sampled: Sampled,
        critical: Sample,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let p1 = |place: usize| self.open[place].incident.severity == Severity::P1;
        if self.attached(slot).is_some_and(p1) {
            return;
        }
        let (value, measured_at) = (Some(critical.value()), critical.at());
        let (limit, _) = self.limit(slot, sampled, false, now);
        let kind = sampled.critical();
        let watch = Watch { kind, value, limit, measured_at, since: now, until: now };
        let s = &self.slots[slot];
        let said_off = s.newest_at() > measured_at && !s.is(Fact::Powered) && !s.is(Fact::Battery);
        let due = self.timetable_of(slot, measured_at + self.watched_for(slot));
        let finding = self.silent_finding(Subject::Post(slot), &watch, now);
        let mut finding = finding.note(raise::NOTE_LATE);
        finding.due = Some(self.policy.samples.historic_due);
        if due.map_or(said_off, |due| !due.on) {
            let policy = self.policy.clone();
            finding = finding.with(Severity::P2, &policy).note(NOTE_SWITCH_OFF);
        }
        self.put(finding, now, effects);
    }

    fn silent_finding(&self, subject: Subject, watch: &Watch, now: Timestamp) -> Finding {
        let finding = self.finding(subject, Kind::CriticalThenSilent, now).note(NOTE_SILENT);
        let field = match watch.kind {
            Kind::ShellCritical => Field::ShellV,
            _ => Field::LeakageMa,
        };
        finding.value(field.name(), watch.value, watch.limit).at(watch.measured_at)
    }
}
