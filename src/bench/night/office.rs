//! The office of the night: for each zone a crew of three, a back-up of two, a leader; above them desk, supervisor and
//! head. Whom a duty means is written down here a second time, so that the checks do not ask the code that they check.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_alerting::{Crew, Person, Rota, Route, Whom, ZoneDuty};

/// By telephone.
pub(super) const VOICE: &str = "voice";
/// By short message.
pub(super) const SMS: &str = "sms";
/// By the robot of the group.
pub(super) const CHAT: &str = "chat";
/// Name of the night-duty staff.
pub(super) const DESK: &str = "Desk";

/// What somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Goes; the id of the crew.
    Crew(Arc<str>),
    /// Calls others.
    Above,
    /// Sits at the board.
    Desk,
}

/// Who is there.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) rota: Arc<Rota>,
    pub(super) roles: BTreeMap<Arc<str>, Role>,
    zones: Vec<Arc<str>>,
}

/// The channels of the office. Without `chat` only the telephone is left: a night that has to fail.
pub(super) fn routes(chat: bool) -> Vec<Route> {
    let route = |id: &str, rings| Route { id: id.to_owned(), to: "desk".to_owned(), rings };
    let all = [route(VOICE, true), route(SMS, true), route(CHAT, false)];
    all.into_iter().filter(|route| chat || route.id != CHAT).collect()
}

fn name(text: String) -> Arc<str> {
    Arc::from(text)
}

impl Office {
    /// For these zones.
    pub(super) fn of(zones: &[Arc<str>]) -> Self {
        let mut roles = BTreeMap::new();
        let mut person = |named: String, role: Role, channels: [&str; 2]| {
            let named = name(named);
            roles.insert(named.clone(), role);
            let phone = Some(Arc::from("13800000000"));
            Arc::new(Person { name: named, phone, channels: channels.map(Arc::from).to_vec() })
        };
        let mut rota = Rota::default();
        for (place, zone) in zones.iter().enumerate() {
            for (kind, count) in [("A", 3), ("B", 2)] {
                let id = name(format!("{zone}-{kind}"));
                let member = |n| person(format!("{id}{n}"), Role::Crew(id.clone()), [VOICE, CHAT]);
                let members = (1..=count).map(member).collect();
                let crew = Crew { id: id.clone(), name: id.to_string(), vehicle: None, members };
                rota.crews.insert(id, Arc::new(crew));
            }
            let next = zones[(place + 1) % zones.len()].clone();
            let duty = ZoneDuty {
                crew: name(format!("{zone}-A")),
                backup_crew: Some(name(format!("{zone}-B"))),
                leader: Some(person(format!("{zone}-L"), Role::Above, [SMS, CHAT])),
                neighbour: (zones.len() > 1).then_some(next),
            };
            rota.zones.insert(zone.clone(), duty);
        }
        rota.desk = Some(person(DESK.to_owned(), Role::Desk, [VOICE, CHAT]));
        rota.supervisor = Some(person("Supervisor".to_owned(), Role::Above, [VOICE, CHAT]));
        rota.head = Some(person("Head".to_owned(), Role::Above, [SMS, CHAT]));
        Self { rota: Arc::new(rota), roles, zones: zones.to_vec() }
    }

    /// Name of the person that a duty means; `owner` is the crew that has the incident.
    pub(super) fn expected(&self, whom: Whom, zone: &str, owner: Option<&str>) -> String {
        let on_duty = format!("{zone}-A");
        let own = owner.map_or_else(|| on_duty.clone(), str::to_owned);
        // The crew that has it is nobody's back-up or neighbour: then the one on duty is called.
        let other = |crew: String| format!("{}1", if crew == own { &on_duty } else { &crew });
        match whom {
            Whom::Crew => format!("{own}1"),
            Whom::Second => format!("{own}2"),
            Whom::BackupCrew => other(format!("{zone}-B")),
            Whom::Leader => format!("{zone}-L"),
            Whom::Desk => DESK.to_owned(),
            Whom::Supervisor => "Supervisor".to_owned(),
            Whom::Head => "Head".to_owned(),
            Whom::Neighbour => {
                let place = self.zones.iter().position(|known| **known == *zone).unwrap_or(0);
                other(format!("{}-A", self.zones[(place + 1) % self.zones.len()]))
            }
        }
    }

    /// The crew of somebody.
    pub(super) fn crew_of(&self, person: &str) -> Option<&Arc<str>> {
        match self.roles.get(person) {
            Some(Role::Crew(crew)) => Some(crew),
            _ => None,
        }
    }
}
