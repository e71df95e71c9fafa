//! Whether the danger of an open incident still shows. A fact beside its state: it closes nothing.

use lampguard_model::{Millis, Quantity, Timestamp};

use super::moves::REPEATED;
use super::place::Subject;
use super::{Effect, Engine, Moment, Open, raise};
use crate::confirm::Rule;
use crate::incident::{Family, Kind, Signal};
use crate::kind::{SAMPLED, Sampled};
use crate::life::{Calm, Stage};
use crate::policy::Policy;
use crate::sample::{Bits, Sample};
use crate::slot::{Fact, Slot};

/// Crossings of the limit within the five samples kept that are noted as chattering.
const CROSSINGS: usize = 3;
/// Limits that an electric incident follows: two critical ones, two warning ones, by [`place`].
pub(super) const FOLLOWED: usize = 4;

/// The place of a limit among those that are followed.
fn place(sampled: Sampled, warning: bool) -> usize {
    sampled.place() + if warning { SAMPLED.len() } else { 0 }
}

/// How a kind of limit becomes normal again: share of the limit, samples, time.
pub(super) fn normal(policy: &Policy, sampled: Sampled, warning: bool) -> (i64, usize, Millis) {
    let (share, samples, time) = match (sampled, warning) {
        (Sampled::Shell, false) => {
            let p = &policy.shell_critical;
            (p.normal_share, p.normal_samples, p.normal_for)
        }
        (Sampled::Leak, false) => {
            let p = &policy.leak_critical;
            (p.normal_share, p.normal_samples, p.normal_for)
        }
        (Sampled::Shell, true) => (policy.shell_warning.normal_share, 1, policy.shell_warning.normal_for),
        (Sampled::Leak, true) => (policy.leak_warning.normal_share, 1, policy.leak_warning.normal_for),
    };
    (share.0, samples as usize, time)
}

/// At or below a share of the limit, taken with supply.
pub(super) fn is_calm(sample: &Sample, share: i64, limit: i64) -> bool {
    sample.has(Bits::POWERED) && !sample.has(Bits::LIVE) && sample.value() * 100_000 <= limit * share
}

/// What the newest samples say.
#[derive(Clone, Copy, Default)]
struct Said {
    hot: bool,
    dark: bool,
    calm: bool,
    chattering: bool,
}

impl Engine {
    /// What the newest samples say about the electric incident of a post.
    pub(super) fn follow_signal(
        &mut self,
        moment: &Moment,
        saturated: bool,
        flagged: bool,
        effects: &mut Vec<Effect>,
    ) {
        let (slot, now) = (moment.slot, moment.now);
        let mine = |place: &usize| self.open[*place].subject == Subject::Post(slot);
        let Some(at) = self.slots[slot].incident().filter(mine) else {
            return;
        };
        let mut said = Said { hot: saturated, calm: true, ..Said::default() };
        self.follow_limits(at, moment, saturated, &mut said);
        self.follow_water_and_flag(at, moment, flagged, &mut said);
        let s = &self.slots[slot];
        let open = &mut self.open[at];
        let blind = s.is(Fact::Stuck) || s.is(Fact::OpenCt);
        let for_people = open.incident.kinds.iter().any(|kind| kind.is_for_people_only());
        let signal = match open.incident.signal {
            _ if said.hot => Signal::Active,
            _ if said.dark => Signal::Unpowered,
            _ if said.calm && !blind && !for_people => Signal::Normal,
            Signal::Normal => Signal::Normal,
            _ => Signal::Active,
        };
        match signal {
            _ if said.hot => open.calm_from = None,
            Signal::Normal => _ = open.calm_from.get_or_insert(now),
            _ => {}
        }
        let newest_at = s.newest_at();
        self.set_signal(at, signal, now, newest_at, effects);
        if said.chattering {
            self.note(at, raise::NOTE_CHATTERING, now, effects);
        }
    }

    fn follow_limits(&mut self, at: usize, moment: &Moment, saturated: bool, said: &mut Said) {
        for sampled in SAMPLED {
            for warning in [false, true] {
                let limit = self.limit(moment.slot, sampled, warning, moment.now).0;
                let (share, count, time) = normal(&self.policy, sampled, warning);
                let open = &mut self.open[at];
                let samples = told(self.slots[moment.slot].ring(sampled).samples(), limit);
                let samples = samples.as_slice();
                let calm = &mut open.calm_since[place(sampled, warning)];
                *calm = calm_since(samples, |s| is_calm(s, share, limit), *calm);
                if saturated && calm.is_some() {
                    *calm = Some(moment.now);
                }
                let kinds = &open.incident.kinds;
                let own = if warning { sampled.warning() } else { sampled.critical() };
                let has = kinds.contains(&own);
                let Some(newest) = samples.last() else {
                    said.calm &= !has;
                    continue;
                };
                said.hot |= newest.is_above(limit) && (has || !warning);
                if has {
                    said.dark |= !newest.has(Bits::POWERED);
                    said.calm &= is_normal(samples, *calm, count, time);
                    let crossings =
                        samples.windows(2).filter(|w| w[0].is_above(limit) != w[1].is_above(limit));
                    said.chattering |= crossings.count() >= CROSSINGS;
                }
            }
        }
    }

    /// Kinds that look at water and at the device's own flag.
    fn follow_water_and_flag(&mut self, at: usize, moment: &Moment, flagged: bool, said: &mut Said) {
        let s = &self.slots[moment.slot];
        let open = &mut self.open[at];
        let has = |kind| open.incident.kinds.contains(&kind);
        let (wet, flag) = (has(Kind::ImmersedLeak), has(Kind::FlagOnly));
        if !wet && !flag {
            return;
        }
        let water = wet && (s.is(Fact::Immersed) || immersed_values(&self.policy, s).is_some());
        let clear = !(water || flag && flagged);
        let since = if clear { *open.clear_since.get_or_insert(moment.now) } else { moment.now };
        if !clear {
            open.clear_since = None;
        }
        let p = &self.policy;
        let time = match wet {
            true => p.immersed_leak.normal_for,
            false => p.flag_only.normal_for,
        };
        said.hot |= !clear;
        said.dark |= clear && !s.is(Fact::Powered);
        said.calm &= clear && moment.now.since(since) >= time;
    }

    /// A state of another family is there, or has gone: normal after `time` of being gone.
    pub(super) fn follow_state(
        &mut self,
        subject: &Subject,
        family: Family,
        gone: bool,
        time: Millis,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.taking(subject, family).filter(|at| !self.is_collapsed(*at)) else {
            return;
        };
        let open = &mut self.open[at];
        if open.incident.kinds.iter().any(|kind| kind.is_for_people_only()) {
            return;
        }
        let life = &open.incident.life;
        let repaired = life.repaired.as_ref().filter(|_| life.state == Stage::Repaired);
        let before = |at: Timestamp| self.replaying && now <= at;
        if repaired.is_some_and(|repair| gone && !before(repair.mark.through())) {
            open.shown.add(now);
        }
        if !gone {
            open.shown = Calm::default();
            (open.clear_since, open.calm_from) = (None, None);
            // The desk that overrode a state that lasts knew of it.
            if !open.incident.life.is_overridden() {
                self.verify_anew(at, now, now, Some(REPEATED), effects);
            }
            self.set_signal(at, Signal::Active, now, now, effects);
            return;
        }
        let since = *open.clear_since.get_or_insert(now);
        if now.since(since) >= time {
            open.calm_from.get_or_insert(now);
            self.set_signal(at, Signal::Normal, now, now, effects);
        }
    }

    /// Open electric incidents whose post has stopped talking while we were listening.
    pub(super) fn notice_silence(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.open.len() {
            if let Some((heard, after)) = self.silent_after(&self.open[place])
                && now > after
            {
                self.set_signal(place, Signal::Silent, now, heard, effects);
            }
        }
    }

    /// When the post of an incident was heard, and the last moment at which it is not silent yet; `None` when
    /// it cannot become silent.
    pub(super) fn silent_after(&self, open: &Open) -> Option<(Timestamp, Timestamp)> {
        let showing = !open.over && matches!(open.incident.signal, Signal::Active | Signal::Normal);
        let Subject::Post(slot) = open.subject else {
            return None;
        };
        if !showing || open.incident.family != Family::Electric {
            return None;
        }
        let s = &self.slots[slot];
        // A post without a sensor cannot fall silent. One that opened by its sensor before a restart can.
        let by_hand = open.incident.evidence.rule == Rule::Manual.name();
        if s.is(Fact::Unmonitored) || (s.heard_at().is_none() && by_hand) {
            return None;
        }
        let heard = s.heard_at().unwrap_or(self.running_since);
        let since = heard.max(self.running_since + s.period());
        let offline = &self.policy.offline;
        Some((heard, since + s.silent_bound(offline.dry_periods, offline.silent_min)))
    }
}

/// The value that makes an immersed post dangerous: field, value, limit.
pub(super) fn immersed_values(policy: &Policy, s: &Slot) -> Option<(Sampled, Sample, i64)> {
    let limits = [policy.immersed_leak.shell.thousandths(), policy.immersed_leak.leak.thousandths()];
    SAMPLED.into_iter().rev().find_map(|sampled| {
        let (newest, limit) = (s.ring(sampled).newest()?, limits[sampled.place()]);
        newest.is_above(limit).then_some((sampled, newest, limit))
    })
}

/// What says something of supply and danger: not a hand test below the limit without `supply: on` (policy.md 3).
/// It makes no post unpowered, or one person could withdraw what shows danger.
fn told(samples: &[Sample], limit: i64) -> Vec<Sample> {
    samples.iter().filter(|sample| !is_mute(sample, limit)).copied().collect()
}

/// A hand test without supply that found nothing.
pub(super) fn is_mute(sample: &Sample, limit: i64) -> bool {
    sample.has(Bits::MANUAL) && !sample.has(Bits::POWERED) && !sample.is_above(limit)
}

/// Since when samples have been calm without a break, as far as is known.
fn calm_since(
    samples: &[Sample],
    is_calm: impl Fn(&Sample) -> bool,
    known: Option<Timestamp>,
) -> Option<Timestamp> {
    match samples.iter().rposition(|s| !is_calm(s)) {
        Some(last) => samples.get(last + 1).map(|s| s.at()).max(known.filter(|_| last + 1 < samples.len())),
        None => known.or_else(|| samples.first().map(|s| s.at())),
    }
}

fn is_normal(samples: &[Sample], calm_since: Option<Timestamp>, count: usize, time: Millis) -> bool {
    let (Some(since), Some(newest)) = (calm_since, samples.last()) else {
        return false;
    };
    let counted = samples.iter().filter(|s| s.at() >= since).count();
    counted >= count && newest.at().since(since) >= time
}
