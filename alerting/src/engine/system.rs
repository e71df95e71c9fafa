//! What we stand on: broker, database, disk, clock, channels; and what people tell.

use std::sync::Arc;

use lampguard_model::record::SOURCES;
use lampguard_model::{Millis, Timestamp};

use super::place::Subject;
use super::{Effect, Engine};
use crate::incident::{Family, Incident, Kind, Severity, Signal};
use crate::policy::Policy;

/// Parts that are remembered; beyond, a new name is taken for `other`.
const PARTS_MAX: usize = 256;

/// A part of the system, as the last word on it was.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    good: bool,
    /// Since when it is good or bad.
    since: Timestamp,
    /// Its incident is open and active.
    raised: bool,
}

impl Part {
    pub(super) fn is_bad(&self) -> bool {
        !self.good
    }

    /// Readings come in by it: its name begins with that of a source.
    pub(super) fn is_source(&self) -> bool {
        SOURCES.iter().any(|source| self.is_of(source.name()))
    }

    fn is_of(&self, source: &str) -> bool {
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

/// What a person reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody felt a shock.
    Shock,
    /// A pen or a neighbour says that it is live.
    Live,
    /// Something else.
    Other,
}

impl What {
    /// The word in requests and in the evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shock => "shock",
            Self::Live => "live",
            Self::Other => "other",
        }
    }
}

/// A hazard told by a person.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What was told.
    pub what: What,
    /// The post, if it is known …
    pub post_id: Option<&'a str>,
    /// … else the place, in words, and its zone.
    pub place: Option<(&'a str, &'a str)>,
    /// Who told it.
    pub caller: &'a str,
    /// For `other`: what the desk chose.
    pub severity: Severity,
    /// When it was told.
    pub at: Timestamp,
}

impl Engine {
    /// A part works, or does not.
    pub(super) fn system(&mut self, now: Timestamp, part: &str, good: bool, effects: &mut Vec<Effect>) {
        let known = self.parts.iter().position(|known| *known.name == *part);
        let place = known.unwrap_or_else(|| {
            let full = self.parts.len() >= PARTS_MAX;
            let name: Arc<str> = Arc::from(if full { "other" } else { part });
            let subject = Subject::System(name.clone());
            let raised = self.taking(&subject, Family::System).is_some();
            self.parts.push(Part { name, good: true, since: now, raised });
            self.parts.len() - 1
        });
        let part = &mut self.parts[place];
        if part.good != good {
            (part.good, part.since) = (good, now);
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
            let finding = self.finding(subject.clone(), Kind::System, now);
            let limit = self.policy.system.failing_for.0;
            let at = self.put(finding.value("", Some(seconds), limit).at(since), now, effects);
            self.set_signal(at, Signal::Active, now, now, effects);
        }
    }

    /// Since when the source of that number is connected; `None` while it is down.
    pub(super) fn connected_since(&self, source: u8) -> Option<Timestamp> {
        let mut since = Timestamp(i64::MIN);
        let Some(source) = SOURCES.get(usize::from(source)).filter(|_| !self.parts.is_empty()) else {
            return Some(since);
        };
        for part in self.parts.iter().filter(|part| part.is_of(source.name())) {
            if part.is_bad() {
                return None;
            }
            since = since.max(part.since);
        }
        Some(since)
    }

    /// A person tells of a hazard: an incident at once, or evidence of the one that is open. Returns it.
    pub fn raise_reported(
        &mut self,
        now: Timestamp,
        report: &Report<'_>,
        effects: &mut Vec<Effect>,
    ) -> Incident {
        let policy = self.policy.clone();
        let zone = report.place.map_or("", |(_, zone)| zone);
        let subject = match (report.post_id, report.place) {
            (Some(post), _) => {
                let zone = self.register.by_post(post).map(|post| post.zone.clone());
                let zone = zone.unwrap_or_else(|| Arc::from(lampguard_model::UNREGISTERED));
                self.slot(post, &zone).map_or_else(|| Subject::Untracked(Arc::from(post)), Subject::Post)
            }
            (None, Some((text, _))) => Subject::Place(Arc::from(text), Arc::from(zone)),
            (None, None) => Subject::Place(Arc::from("?"), Arc::from(zone)),
        };
        let finding = self.finding(subject, Kind::Reported, now).at(report.at);
        let mut finding = match report.what {
            What::Other => finding.with(report.severity, &policy),
            What::Shock | What::Live => finding,
        };
        if report.what == What::Other {
            finding.family = Family::Other;
        }
        report.what.name().clone_into(&mut finding.evidence.rule);
        finding = finding.note(format!("报告人 {}", report.caller));
        let place = self.put(finding, now, effects);
        self.open[place].incident.clone()
    }
}
