//! One incident as a back-test tells it: the fields of *Incident* and what a score needs.

use lampguard_alerting::{Incident, IncidentView};
use lampguard_model::Timestamp;
use serde::Serialize;

/// One incident, at its end or at the end of the readings.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The incident as it was last.
    pub(crate) incident: Incident,
    /// When it ended by itself; `None` when it was open at the last reading.
    pub(crate) ended_at: Option<Timestamp>,
    /// Moment for which it is shown.
    pub(crate) seen_at: Timestamp,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    incident: IncidentView,
    p1_at: Option<String>,
    first_notice_at: Option<String>,
    ended_at: Option<String>,
}

impl Told {
    /// When people were told of it: nothing holds a notice up here, so it is accepted at the opening, or when
    /// it became a P1. `None` for what stands in lists alone.
    pub(crate) fn first_notice_at(&self) -> Option<Timestamp> {
        let incident = &self.incident;
        let at_once = incident.p1_at.is_none_or(|at| at == incident.opened_at);
        incident
            .is_told()
            .then(|| if at_once { incident.opened_at } else { incident.p1_at.unwrap_or(incident.opened_at) })
    }

    /// Its line, without the end of the line.
    pub(crate) fn to_json(&self) -> String {
        let line = Line {
            incident: self.incident.view(self.seen_at),
            p1_at: self.incident.p1_at().map(Timestamp::to_rfc3339),
            first_notice_at: self.first_notice_at().map(Timestamp::to_rfc3339),
            ended_at: self.ended_at.map(Timestamp::to_rfc3339),
        };
        serde_json::to_string(&line).expect("texts and numbers always become JSON")
    }
}
