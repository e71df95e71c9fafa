//! What we stand on: broker, database, disk, clock, channels; and what people tell.

use std::sync::Arc;

use lampguard_model::record::SOURCES;
use lampguard_model::{Millis, Timestamp};

use super::place::Subject;
use super::{Effect, Engine};
use crate::incident::{Family, Kind, Signal};
use crate::policy::Policy;

/// Parts that are remembered; beyond, a new name is taken for `other`.
const PARTS_MAX: usize = 256;

/// A part of the system, as the last word on it was.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    good: bool,
    /// Why it is bad, in words for people.
    pub(super) because: String,
    /// Since when it is good or bad.
    since: Timestamp,
    /// Its incident is open and active.
    raised: bool,
}

impl Part {
    pub(super) fn is_bad(&self) -> bool {
        !self.good
    }

    /// Readings of that source come in by it: its name begins with that of the source.
    pub(super) fn is_of(&self, source: &str) -> bool {
        self.name.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// When time alone changes something.
    pub(super) fn due(&self, policy: &Policy) -> Option<Timestamp> {
        match (self.good, self.raised) {
            (false, false) => Some(self.since + policy.system.failing_for),
            (true, true) => Some(self.since + policy.system.good_for),
            _ => None,
        }
    }
}

impl Engine {
    /// A part works, or does not.
    pub(super) fn system(
        &mut self,
        now: Timestamp,
        part: &str,
        (good, because): (bool, &str),
        effects: &mut Vec<Effect>,
    ) {
        let known = self.parts.iter().position(|known| *known.name == *part);
        let place = known.unwrap_or_else(|| {
            let full = self.parts.len() >= PARTS_MAX;
            let name: Arc<str> = Arc::from(if full { "other" } else { part });
            let subject = Subject::System(name.clone());
            let raised = self.taking(&subject, Family::System).is_some();
            self.parts.push(Part { name, good: true, because: String::new(), since: now, raised });
            self.parts.len() - 1
        });
        let part = &mut self.parts[place];
        if part.good != good {
            (part.good, part.since) = (good, now);
        }
        if part.because != because {
            because.clone_into(&mut part.because);
        }
        self.look_at_parts(now, effects);
    }

    pub(super) fn look_at_parts(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.parts.len() {
            let part = &self.parts[place];
            if part.due(&self.policy).is_none_or(|due| due > now) {
                continue;
            }
            let (since, good, subject) = (part.since, part.good, Subject::System(part.name.clone()));
            self.parts[place].raised = !good;
            if good {
                self.follow_state(&subject, Family::System, true, Millis(0), now, effects);
                continue;
            }
            let seconds = now.since(since).0;
            let mut finding = self.finding(subject.clone(), Kind::System, now);
            let because = &self.parts[place].because;
            if !because.is_empty() {
                finding = finding.note(because.clone());
            }
            let limit = self.policy.system.failing_for.0;
            let at = self.put(finding.value("", Some(seconds), limit).at(since), now, effects);
            if let Some(at) = at {
                self.set_signal(at, Signal::Active, now, now, effects);
            }
        }
    }

    /// People have ended what was raised about a part that is bad still.
    pub(crate) fn is_dismissed(&self, part: &str) -> bool {
        let known = self.parts.iter().find(|known| *known.name == *part);
        known.is_some_and(|part| {
            let subject = Subject::System(part.name.clone());
            part.raised && !part.good && self.taking(&subject, Family::System).is_none()
        })
    }

    /// Since when the source of that number is connected; `None` while it is down. A source of several parts is
    /// down only when all of them are: with one broker of two away, the posts of the other may not go unwatched.
    pub(super) fn connected_since(&self, source: u8) -> Option<Timestamp> {
        let always = Some(Timestamp(i64::MIN));
        let Some(source) = SOURCES.get(usize::from(source)).filter(|_| !self.parts.is_empty()) else {
            return always;
        };
        let mut parts = self.parts.iter().filter(|part| part.is_of(source.name())).peekable();
        if parts.peek().is_none() {
            return always;
        }
        parts.filter(|part| !part.is_bad()).map(|part| part.since).min()
    }
}
