//! What happens because time passes: a sweep over one number a post instead of timers.
//!
//! `wakes` holds for each slot the second at which time alone may change something about it, or an earlier one.
//! A tick looks at those that are due and writes the next. A reading writes only what comes nearer: when a post
//! talks on time its wake is moved once in a silent bound, not at each reading.

use lampguard_model::{Millis, Timestamp};

use super::{Effect, Engine, PAUSE};
use crate::engine::weather::WEATHER_GRACE;
use crate::slot::{Fact, from_seconds, to_seconds};

/// A post whose supply is off is looked at again after this.
pub(super) const LOOK_AGAIN: Millis = Millis::minutes(5);

impl Engine {
    /// The post is looked at at `at`, or before.
    pub(super) fn wake(&mut self, slot: usize, at: Timestamp) {
        let at = to_seconds(at + Millis(999));
        let known = &mut self.wakes[slot];
        *known = (*known).min(at);
        self.next_wake = self.next_wake.min(at);
    }

    /// Looks at every post that is due.
    pub(super) fn sweep(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let second = to_seconds(now);
        if self.next_wake > second {
            return;
        }
        for slot in 0..self.wakes.len() {
            if self.wakes[slot] <= second {
                self.wakes[slot] = u32::MAX;
                self.look(slot, now, effects);
            }
        }
        self.next_wake = self.wakes.iter().copied().min().unwrap_or(u32::MAX);
    }

    /// Everything about one post that time alone may change; writes when it is to be looked at again.
    fn look(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.slots[slot].is(Fact::Aside) {
            self.end_watch(slot, now, effects);
            if let Some(watch) = self.watches.get(&slot) {
                let until = watch.until;
                self.wake(slot, until);
            }
            self.look_at_door(slot, now, effects);
        }
        self.look_at_silence(slot, now, effects);
        self.look_at_leak_value(slot, now, effects);
    }

    /// The next moment at which a tick may do something, if nothing arrives before. Between now and then ticks
    /// do nothing: a clock that ticks at the first whole second from there on, and again at the second of
    /// each thing that arrives, gives what a tick each second gives.
    pub fn next_due(&self) -> Timestamp {
        let now = self.advanced_at;
        // A longer pause would count as time in which we did not run.
        let mut due = now + PAUSE;
        for (_, weather) in self.sky.iter() {
            due = due.min(weather.next_change(now).unwrap_or(due));
        }
        let graced = self.running_since + WEATHER_GRACE;
        if graced > now {
            due = due.min(graced);
        }
        due = self.held.values().fold(due, |due, held| due.min(held.until));
        due = self.zones.iter().fold(due, |due, zone| due.min(zone.look_at));
        due = due.min(self.worse_at);
        due = self.parts.iter().filter_map(|part| part.due(&self.policy)).fold(due, Timestamp::min);
        if let Some(wake) = from_seconds(self.next_wake).filter(|_| self.next_wake < u32::MAX) {
            due = due.min(wake);
        }
        if self.units_at.0 != i64::MIN {
            due = due.min(self.units_at + self.policy.unit_suspect.median_over);
        }
        for open in &self.open {
            if let Some((_, after)) = self.silent_after(open) {
                due = due.min(after);
            }
        }
        if let Some(call) = self.next_call() {
            due = due.min(call);
        }
        // Work that had ended before a start ends at the next tick.
        due = self.people.jobs.iter().fold(due, |due, job| due.min(job.until));
        for task in &self.people.rechecks {
            if let (Some(asked), None) = (task.asked_at, task.overdue_at) {
                due = due.min(asked + self.policy.verify.recheck_within);
            }
        }
        due.max(now)
    }
}
