//! How incidents were handled: how long each stage took, what came again, what was nothing, and whose it was. Counted are
//! those that the reports count (`report/mod.rs`), each once it can no longer change: withdrawn ones and arrivals that were
//! none are in none of the counts of stages.
//!
//! | counted | when |
//! |---|---|
//! | told to acknowledged, to departed, to arrived, to made safe; repeats; crews | once it was first made safe, by [`Passed`](crate::life::Passed) |
//! | made safe to repaired, to verified; false alarms found on the spot | once it is closed |
//! | voided | once it is void |

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use lampguard_model::series::STAGE_FIELDS;
use lampguard_model::{Millis, Timestamp};

use crate::life::{FALSE, Life, Stage};

/// One stage: how often it was gone through, and how long that took altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many.
    pub count: u64,
    /// Their times, summed.
    pub time: Millis,
}

/// What a crew did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfCrew {
    /// Incidents that it had when they were first made safe: somebody had arrived.
    pub arrived: u64,
    /// Of these those where nobody was there by the deadline.
    pub breached: u64,
}

/// How the incidents of a zone were handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// Each of [`STAGE_FIELDS`].
    pub stages: [Taken; STAGE_FIELDS.len()],
    /// Made safe, and the same danger had been at the same place within `repeat.within` (30 days) before.
    pub repeats: u64,
    /// Withdrawn before anybody arrived.
    pub voided: u64,
    /// Closed with cause `false`: nothing was found on the spot.
    pub false_alarms: u64,
    /// By id of the crew that had it.
    pub crews: BTreeMap<Arc<str>, OfCrew>,
}

impl Handling {
    /// What one incident adds where somebody had to be there soon; drills are left out by whoever asks.
    pub(super) fn of(life: &Life) -> Self {
        let mut handling = Self { voided: u64::from(life.state == Stage::Void), ..Self::default() };
        let Some(way) = life.way().filter(|_| !matches!(life.state, Stage::Void | Stage::Merged)) else {
            return handling;
        };
        let closed = life.state == Stage::Closed;
        let repair = life.repaired.as_ref().filter(|_| closed);
        let verified = life.verified.as_ref().filter(|_| closed).map(|verified| verified.mark.at);
        let times = [
            way.told_at,
            way.acknowledged_at,
            way.departed_at,
            way.arrived_at,
            Some(way.made_safe_at),
            repair.map(|repair| repair.mark.at),
            verified,
        ];
        for (stage, between) in handling.stages.iter_mut().zip(times.windows(2)) {
            *stage = taken(between[0], between[1]);
        }
        handling.repeats = u64::from(!life.follows.is_empty());
        handling.false_alarms = u64::from(repair.is_some_and(|repair| repair.cause == FALSE));
        if let Some(crew) = way.crew {
            handling.crews.insert(crew, OfCrew { arrived: 1, breached: u64::from(way.breached) });
        }
        handling
    }

    /// Adds what an incident came further; never less.
    pub(super) fn further(&mut self, before: &Self, after: &Self) {
        let pairs = before.stages.iter().zip(&after.stages);
        for (stage, (before, after)) in self.stages.iter_mut().zip(pairs) {
            stage.count += after.count.saturating_sub(before.count);
            stage.time.0 += (after.time.0 - before.time.0).max(0);
        }
        self.repeats += after.repeats.saturating_sub(before.repeats);
        self.voided += after.voided.saturating_sub(before.voided);
        self.false_alarms += after.false_alarms.saturating_sub(before.false_alarms);
        for (crew, after) in &after.crews {
            let before = before.crews.get(crew).copied().unwrap_or_default();
            let own = self.crews.entry(crew.clone()).or_default();
            own.arrived += after.arrived.saturating_sub(before.arrived);
            own.breached += after.breached.saturating_sub(before.breached);
        }
    }
}

/// A stage that was left out, or told in another order than it happened, was not gone through.
fn taken(from: Option<Timestamp>, to: Option<Timestamp>) -> Taken {
    match from.zip(to).map(|(from, to)| to.since(from)).filter(|time| *time >= Millis(0)) {
        Some(time) => Taken { count: 1, time },
        None => Taken::default(),
    }
}

impl AddAssign<&Self> for Handling {
    fn add_assign(&mut self, other: &Self) {
        self.further(&Self::default(), other);
    }
}

#[cfg(test)]
#[path = "handling_tests.rs"]
mod tests;
