//! When time alone will change something: for a clock that does not tick each second.

use lampguard_model::Timestamp;

use super::weather::WEATHER_GRACE;
use super::{Engine, PAUSE};

impl Engine {
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
        for held in &self.held {
            due = due.min(held.until);
        }
        for task in &self.people.rechecks {
            if let (Some(asked), None) = (task.asked_at, task.overdue_at) {
                due = due.min(asked + super::RECHECK_MAX);
            }
        }
        for open in &self.open {
            if let Some((_, after)) = self.silent_after(open) {
                due = due.min(after);
            }
        }
        due.max(now)
    }
}
