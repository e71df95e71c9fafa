//! One incident as a back-test tells it: the fields of *Incident* and what a score needs.

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_alerting::{Incident, IncidentView, Severity};
use lampguard_model::Timestamp;
use serde::Serialize;

/// The notices that an incident would have had: nothing holds one up here, so each is accepted when it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// The first; `None` for what stands in lists alone.
    pub(crate) first_at: Option<Timestamp>,
    /// The first that told it as a P1.
    pub(crate) p1_at: Option<Timestamp>,
    /// The first that named each member. A member that came without a notice is not here: nobody was told of it.
    named: HashMap<Arc<str>, Timestamp>,
}

impl Notices {
    /// People are told of it now, as it is.
    pub(crate) fn tell(&mut self, incident: &Incident, now: Timestamp) {
        self.first_at.get_or_insert(now);
        if incident.severity == Severity::P1 {
            self.p1_at.get_or_insert(now);
        }
        for member in &incident.members {
            self.named.entry(member.clone()).or_insert(now);
        }
    }
}

/// One incident, at its end or at the end of the readings.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The incident as it was last.
    pub(crate) incident: Incident,
    /// When it ended by itself; `None` when it was open at the last reading.
    pub(crate) ended_at: Option<Timestamp>,
    /// Moment for which it is shown.
    pub(crate) seen_at: Timestamp,
    /// What people were told of it.
    pub(crate) notices: Notices,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    incident: IncidentView,
    p1_at: Option<String>,
    first_notice_at: Option<String>,
    p1_notice_at: Option<String>,
    members_told_at: Vec<Option<String>>,
    ended_at: Option<String>,
}

impl Told {
    /// When a notice first named each member, in their order; `None` when none did.
    pub(crate) fn members_told_at(&self) -> impl Iterator<Item = Option<Timestamp>> + '_ {
        self.incident.members.iter().map(|member| self.notices.named.get(member).copied())
    }

    /// Its line, without the end of the line.
    pub(crate) fn to_json(&self) -> String {
        let mut incident = self.incident.view(self.seen_at);
        // Nothing holds a message up here.
        let told_at =
            if self.incident.severity == Severity::P1 { self.notices.p1_at } else { self.notices.first_at };
        (incident.told_at, incident.untold) =
            (told_at.map(Timestamp::to_rfc3339), incident.untold && told_at.is_none());
        let line = Line {
            incident,
            p1_at: self.incident.p1_at().map(Timestamp::to_rfc3339),
            first_notice_at: self.notices.first_at.map(Timestamp::to_rfc3339),
            p1_notice_at: self.notices.p1_at.map(Timestamp::to_rfc3339),
            members_told_at: self.members_told_at().map(|at| at.map(Timestamp::to_rfc3339)).collect(),
            ended_at: self.ended_at.map(Timestamp::to_rfc3339),
        };
        serde_json::to_string(&line).expect("texts and numbers always become JSON")
    }
}
