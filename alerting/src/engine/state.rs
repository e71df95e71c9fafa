//! How a post looks on the board.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Millis, Timestamp};
use serde::Serialize;

use super::Engine;
use super::place::Subject;
use crate::incident::{Family, Severity, Signal};
use crate::kind::{SAMPLED, Sampled};
use crate::sample::Sample;
use crate::slot::{Fact, Slot};

/// Without a valid leakage value for longer a post counts as unmonitored (`policy.md` 2).
const LEAK_VALUE_MAX_AGE: Millis = Millis::hours(24);

/// The colour of a post. Never green by silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Fresh powered data below every limit.
    Normal,
    /// At or above a warning limit.
    Warning,
    /// An open incident, or the newest sample at or above a critical limit.
    Danger,
    /// It has reported and does not any more.
    Silent,
    /// Its supply is off: nothing can be said.
    Unpowered,
    /// No sensor, never heard, or no leakage value for a day.
    Unmonitored,
    /// The register does not know it.
    Unregistered,
}

/// What is known of a post right now.
#[derive(Clone, Debug, Serialize)]
pub struct PostState {
    /// The colour.
    pub state: State,
    /// Why, in words.
    pub why: String,
    /// Wet limits are in force.
    pub wet: bool,
    /// Why: a word of [`crate::wet::Because`]; empty when dry.
    pub wet_because: String,
}

impl Engine {
    /// The state of a post or unregistered device at `now`.
    pub fn post_state(&self, post: &str, now: Timestamp) -> PostState {
        let Some(slot) = self.places.get(post).map(|place| *place as usize) else {
            return self.state_without_data(post, now);
        };
        let because = self.wet_because(slot, now);
        let (state, why) = self.colour(slot, now, because.is_some());
        PostState {
            state,
            why,
            wet: because.is_some(),
            wet_because: because.map_or("", |b| b.name()).to_owned(),
        }
    }

    /// Ids of the open incidents of every post that has some, by the name that it has today.
    pub(crate) fn open_by_post(&self) -> HashMap<Arc<str>, Vec<Arc<str>>, RandomState> {
        let mut by_post: HashMap<Arc<str>, Vec<Arc<str>>, RandomState> = HashMap::default();
        for open in self.open.iter().filter(|open| !open.over && !open.incident.post_id.is_empty()) {
            let post = match open.subject {
                Subject::Post(slot) => self.owners[slot].name(),
                _ => &open.incident.post_id,
            };
            by_post.entry(post.clone()).or_default().push(open.incident.id.clone());
        }
        by_post
    }

    fn state_without_data(&self, post: &str, now: Timestamp) -> PostState {
        let known = self.register.by_post(post);
        let (zone, low) = known.map_or((lampguard_model::UNREGISTERED, false), |p| (&*p.zone, p.low_lying));
        let because = self.sky.because(zone, now, low);
        let untracked = self.taking(&Subject::Untracked(post.into()), Family::Electric);
        let (state, why) = match (known, untracked) {
            (_, Some(place)) => (State::Danger, format!("incident {}", self.open[place].incident.id)),
            (None, None) => (State::Unregistered, "not in the register".to_owned()),
            (Some(p), None) if !p.monitored => (State::Unmonitored, "no sensor".to_owned()),
            (Some(_), None) => (State::Unmonitored, "no data since start".to_owned()),
        };
        PostState {
            state,
            why,
            wet: because.is_some(),
            wet_because: because.map_or("", |b| b.name()).to_owned(),
        }
    }

    /// The worst true thing comes first.
    fn colour(&self, slot: usize, now: Timestamp, wet: bool) -> (State, String) {
        let s = &self.slots[slot];
        if let Some(danger) = self.danger(slot, wet) {
            return (State::Danger, danger);
        }
        if s.is(Fact::Unregistered) {
            return (State::Unregistered, "not in the register".to_owned());
        }
        if s.is(Fact::Unmonitored) {
            return (State::Unmonitored, "no sensor".to_owned());
        }
        let Some(heard) = s.heard_at() else {
            return (State::Unmonitored, "no data since start".to_owned());
        };
        if !s.is(Fact::Powered) {
            return (State::Unpowered, "no supply, not verified".to_owned());
        }
        let silent = now.since(heard);
        if silent > s.silent_bound(self.policy.offline.dry_periods, self.policy.offline.silent_min) {
            return (State::Silent, format!("no data for {} min", silent.as_seconds() / 60));
        }
        if let Some(warning) = self.warning(slot, wet) {
            return (State::Warning, warning);
        }
        if s.is(Fact::Cabinet) || has_leak_value(s, now) {
            return (State::Normal, String::new());
        }
        (State::Unmonitored, "no leakage value for 24 h".to_owned())
    }

    fn danger(&self, slot: usize, wet: bool) -> Option<String> {
        if let Some(place) = self.slots[slot].incident() {
            let incident = &self.open[place].incident;
            if incident.severity >= Severity::P2 {
                let signal = match incident.signal {
                    Signal::Active => String::new(),
                    other => format!(", signal {}", other.name()),
                };
                return Some(format!("incident {}{signal}", incident.id));
            }
        }
        self.above(slot, false, wet)
    }

    fn warning(&self, slot: usize, wet: bool) -> Option<String> {
        let s = &self.slots[slot];
        for (fact, why) in [(Fact::Stuck, "values stand still"), (Fact::OpenCt, "leakage is exactly 0.0")] {
            if s.is(fact) {
                return Some(why.to_owned());
            }
        }
        self.above(slot, true, wet)
    }

    /// What of the newest samples is at or above a limit.
    fn above(&self, slot: usize, warning: bool, wet: bool) -> Option<String> {
        SAMPLED.into_iter().find_map(|sampled| {
            let newest = self.slots[slot].ring(sampled).newest()?;
            let limit = self.limit_when(sampled, warning, wet);
            newest.is_above(limit).then(|| above_text(sampled, newest, limit))
        })
    }
}

/// "leakage_ma 35 at or above 30".
fn above_text(sampled: Sampled, sample: Sample, limit: i64) -> String {
    let number = lampguard_model::units::Thousandths;
    format!("{} {} at or above {}", sampled.field().name(), number(sample.value()), number(limit))
}

fn has_leak_value(s: &Slot, now: Timestamp) -> bool {
    let newest = s.ring(Sampled::Leak).newest();
    newest.is_some_and(|leak| now.since(leak.at()) <= LEAK_VALUE_MAX_AGE)
}
