//! Who is on duty, and how people are reached. Pure: asked about a moment, it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody who can be told. Within a configuration a name is one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name, as people call each other; whom a notice names.
    pub name: Arc<str>,
    /// Telephone, as it is dialled; none for an address that is a channel of its own (a robot, a wall).
    pub phone: Option<Arc<str>>,
    /// Ids of the channels by which this person is reached, the surest first.
    pub channels: Vec<Arc<str>>,
}

/// Who goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// Id: what incidents, tokens and the rota name.
    pub id: Arc<str>,
    /// Name for people.
    pub name: String,
    /// What they drive.
    pub vehicle: Option<String>,
    /// The first is called first.
    pub members: Vec<Arc<Person>>,
}

/// Whom a step of a ladder tells (`design.md` 5, `[[escalation]]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// The crew of the incident, else the one on duty: its first member.
    Crew,
    /// The second member of that crew.
    Second,
    /// The back-up crew.
    BackupCrew,
    /// The leader of the zone.
    Leader,
    /// The crew of the neighbouring zone.
    Neighbour,
    /// The duty desk.
    Desk,
    /// The duty supervisor.
    Supervisor,
    /// The head of the office.
    Head,
}

/// Who is on duty for a zone at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDuty {
    /// Shift; none where there is no plan of shifts and a zone's crew is always on duty.
    pub shift: Option<Arc<str>>,
    /// The crew; none is a gap.
    pub crew: Option<Arc<Crew>>,
    /// Who goes when the crew does not.
    pub backup: Option<Arc<Crew>>,
    /// Crew of the neighbouring zone.
    pub neighbour: Option<Arc<Crew>>,
    /// Leader of the zone.
    pub leader: Option<Arc<Person>>,
    /// When somebody else comes on duty; none: not within the days that are planned.
    pub until: Option<Timestamp>,
}

/// What stands in a `[[zone]]` about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneDuty {
    /// Id of the crew that is on duty where no plan says otherwise.
    pub crew: Arc<str>,
    /// Id of the back-up crew.
    pub backup_crew: Option<Arc<str>>,
    /// Leader, where no plan says otherwise.
    pub leader: Option<Arc<Person>>,
    /// Id of the neighbouring zone.
    pub neighbour: Option<Arc<str>>,
}

/// Everybody who can be told, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rota {
    /// By id.
    pub crews: BTreeMap<Arc<str>, Arc<Crew>>,
    /// By id of the zone.
    pub zones: BTreeMap<Arc<str>, ZoneDuty>,
    /// Night-duty staff.
    pub desk: Option<Arc<Person>>,
    /// Duty supervisor.
    pub supervisor: Option<Arc<Person>>,
    /// Head of the office.
    pub head: Option<Arc<Person>>,
}

impl Rota {
    /// Who is on duty for `zone` at `at`. A zone that nobody knows has nobody.
    pub fn on_duty(&self, zone: &str, _at: Timestamp) -> OnDuty {
        let Some(duty) = self.zones.get(zone) else { return OnDuty::default() };
        let neighbour = duty.neighbour.as_ref().and_then(|zone| self.zones.get(zone));
        OnDuty {
            shift: None,
            crew: self.crews.get(&duty.crew).cloned(),
            backup: duty.backup_crew.as_ref().and_then(|id| self.crews.get(id)).cloned(),
            neighbour: neighbour.and_then(|zone| self.crews.get(&zone.crew)).cloned(),
            leader: duty.leader.clone(),
            until: None,
        }
    }

    /// The people that `whom` means for `zone` at `at`; `crew` is the crew that has the incident, if one has.
    /// Empty: nobody is named there, and the desk has to tell them.
    pub fn people(&self, whom: Whom, zone: &str, crew: Option<&str>, at: Timestamp) -> Vec<Arc<Person>> {
        let duty = self.on_duty(zone, at);
        let own = crew.and_then(|id| self.crews.get(id)).cloned().or(duty.crew);
        let member = |crew: Option<Arc<Crew>>, place: usize| crew.and_then(|c| c.members.get(place).cloned());
        let found = match whom {
            Whom::Crew => member(own, 0),
            Whom::Second => member(own, 1),
            Whom::BackupCrew => member(duty.backup, 0),
            Whom::Neighbour => member(duty.neighbour, 0),
            Whom::Leader => duty.leader,
            Whom::Desk => self.desk.clone(),
            Whom::Supervisor => self.supervisor.clone(),
            Whom::Head => self.head.clone(),
        };
        found.into_iter().collect()
    }
}
