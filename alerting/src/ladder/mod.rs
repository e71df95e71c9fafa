//! Who is told when nobody comes (`policy.md` 5). Pure: times go in, rungs come out.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | rungs and ladders, the default of the rules, which ladder an incident has |
//! | `climb.rs` | how far an incident's ladder was climbed, and what is due next |
//! | `config.rs` | `[[escalation]]` of the configuration |
//! | `floor.rs` | what such a ladder may not leave out without a reason |
//! | `telling.rs` | whom one telling goes to |
//! | `crowd.rs` | lists for people who would get too many messages in a flood |
//!
//! A rung has no timer: its moment follows from what is stored of the incident (when it became a P1, when a crew
//! acknowledged, departed, arrived), so a restart or a clock step moves none. The number of a rung is its place in
//! its ladder; rung 0 is the opening notice.

mod climb;
mod config;
mod crowd;
mod floor;
mod telling;

pub use climb::{Climb, Handover, Milestones, Said, Which, to_come};
pub(crate) use climb::{desk_call, not_accepted};
pub use config::{EscalationConfig, LadderFault, WeakLadder};
pub use crowd::{Crowd, Limits, List, Wording, danger};
pub use telling::{Telling, crew_named};

use std::sync::Arc;

use lampguard_model::{Millis, Register};
use serde::{Deserialize, Serialize};

use crate::incident::{Family, Incident, Severity};
use crate::policy;
use crate::rota::Whom;

/// From which moment a rung counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// The opening, or the moment it became a P1.
    Opened,
    /// A crew said that it has it.
    Acknowledged,
    /// It is on its way.
    Departed,
    /// It stands there.
    Arrived,
}

/// What makes a rung needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// A crew said that it has it.
    Acknowledged,
    /// It is on its way.
    Departed,
    /// It stands there.
    Arrived,
    /// The place is safe.
    MadeSafe,
}

/// One step of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// From when it counts.
    pub since: Since,
    /// So long after that.
    pub after: Millis,
    /// And again so often.
    pub every: Option<Millis>,
    /// As long as this has not happened.
    pub until: Until,
    /// Whom it tells.
    pub to: Vec<Whom>,
}

/// Who is told, one rung after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// The first is the opening notice.
    pub rungs: Vec<Rung>,
}

fn rung(since: Since, minutes: i64, every: Option<i64>, until: Until, to: &[Whom]) -> Rung {
    let every = every.map(Millis::minutes);
    Rung { since, after: Millis::minutes(minutes), every, until, to: to.to_vec() }
}

impl Ladder {
    /// The ladder of a P1 (the table of `policy.md` 5, row by row).
    pub fn p1() -> Self {
        use Since::{Acknowledged, Arrived, Opened};
        use Whom::{BackupCrew, Crew, Desk, Head, Leader, Neighbour, Second, Supervisor};
        let rungs = vec![
            rung(Opened, 0, None, Until::Acknowledged, &[Crew, Desk, Leader]),
            rung(Opened, 3, None, Until::Acknowledged, &[Crew, Second]),
            rung(Opened, 6, None, Until::Acknowledged, &[BackupCrew, Leader]),
            rung(Opened, 10, None, Until::Acknowledged, &[Supervisor, Neighbour]),
            rung(Acknowledged, 5, None, Until::Departed, &[Crew]),
            rung(Acknowledged, 10, None, Until::Departed, &[BackupCrew]),
            rung(Opened, 15, None, Until::Arrived, &[BackupCrew]),
            // The desk and the crew too: they are the ones who can still change something.
            rung(Opened, 30, Some(10), Until::Arrived, &[Head, Desk, Crew]),
            rung(Arrived, 10, None, Until::MadeSafe, &[Crew]),
            rung(Arrived, 15, Some(10), Until::MadeSafe, &[Desk, Leader]),
        ];
        Self { rungs }
    }

    /// The ladder of a P2: told once.
    pub fn p2() -> Self {
        let to = [Whom::Crew, Whom::Desk];
        Self { rungs: vec![rung(Since::Opened, 0, None, Until::Acknowledged, &to)] }
    }

    /// The ladder of what we stand on: no crew, no deadline.
    pub fn system(policy: &policy::System) -> Self {
        let of =
            |after, to| Rung { since: Since::Opened, after, every: None, until: Until::Acknowledged, to };
        Self {
            rungs: vec![
                of(Millis(0), vec![Whom::Desk]),
                of(policy.leader_after, vec![Whom::Leader]),
                of(policy.head_after, vec![Whom::Head]),
            ],
        }
    }

    /// The rung of the deadline: the last that waits for somebody to arrive.
    pub fn breach(&self) -> Option<usize> {
        self.rungs.iter().rposition(|rung| rung.until == Until::Arrived && rung.since == Since::Opened)
    }
}

/// Every ladder there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladders {
    /// Those of the configuration: severity, zones (empty: all), ladder. The first that fits counts.
    own: Vec<(Severity, Vec<Arc<str>>, Arc<Ladder>)>,
    /// Those of them that are weaker than the rules.
    weak: Vec<WeakLadder>,
    p1: Arc<Ladder>,
    p2: Arc<Ladder>,
    system: Arc<Ladder>,
}

impl Default for Ladders {
    fn default() -> Self {
        let system = Arc::new(Ladder::system(&policy::Policy::default().system));
        Self {
            own: Vec::new(),
            weak: Vec::new(),
            p1: Arc::new(Ladder::p1()),
            p2: Arc::new(Ladder::p2()),
            system,
        }
    }
}

impl Ladders {
    /// The ladder that an incident has; none: it stands in lists, and nobody is called.
    pub fn of(&self, incident: &Incident, register: &Register) -> Option<&Arc<Ladder>> {
        if incident.family == Family::System {
            return Some(&self.system);
        }
        self.in_zone(incident.severity, incident.zone_in(register))
    }

    /// The ladder of what is about posts of that severity in a zone.
    pub fn in_zone(&self, severity: Severity, zone: &str) -> Option<&Arc<Ladder>> {
        let fits = |zones: &[Arc<str>]| zones.is_empty() || zones.iter().any(|known| **known == *zone);
        let own = self.own.iter().find(|(known, zones, _)| *known == severity && fits(zones));
        match (own, severity) {
            (Some((_, _, ladder)), _) => Some(ladder),
            (None, Severity::P1) => Some(&self.p1),
            (None, Severity::P2) => Some(&self.p2),
            (None, _) => None,
        }
    }

    /// Ladders that tell fewer people than the rules, or later, each with its reason.
    pub fn weak(&self) -> &[WeakLadder] {
        &self.weak
    }

    /// Takes the times of the system's ladder from the policy in force.
    pub fn set_policy(&mut self, policy: &policy::System) {
        self.system = Arc::new(Ladder::system(policy));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
