//! The office of the night: for each zone three crews of three that follow one another, a back-up of two, a leader; above
//! them desk, supervisor and head. Whom a duty means is written down here a second time, so that the checks do not ask the code that they check.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use lampguard_alerting::rota::{Calendar, Duty, Shift, Weekly, time_of_day};
use lampguard_alerting::{Crew, Person, Rota, Route, Whom, ZoneDuty};
use lampguard_model::{Millis, Timestamp};

/// By telephone.
pub(super) const VOICE: &str = "voice";
/// By short message.
pub(super) const SMS: &str = "sms";
/// By the robot of the group.
pub(super) const CHAT: &str = "chat";
/// Name of the night-duty staff.
pub(super) const DESK: &str = "Desk";

/// The crew of each shift of a zone, and its hours in a city eight hours east.
const SHIFTS: [(&str, &str, &str); 3] =
    [("D", "00:00", "08:00"), ("A", "08:00", "16:00"), ("C", "16:00", "00:00")];
/// So long is one of them.
const SHIFT: Millis = Millis::hours(8);
/// The city's clock before UTC.
const EAST: Millis = Millis::hours(8);

/// Which of [`SHIFTS`] a moment is in.
fn shift_at(at: Timestamp) -> &'static str {
    let of_day = (at.0 + EAST.0).rem_euclid(Millis::hours(24).0);
    SHIFTS[usize::try_from(of_day / SHIFT.0).unwrap_or(0)].0
}

/// Every change of shift between two moments.
pub(super) fn changes(from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let first = (from.0 + EAST.0).div_euclid(SHIFT.0) + 1;
    let at = |n: i64| Timestamp(n * SHIFT.0 - EAST.0);
    (first..).map(at).take_while(|change| *change <= to).collect()
}

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

fn weekly() -> Result<Weekly> {
    let shift = |(crew, from, to): &(&str, &str, &str)| {
        let time =
            |text: &str| time_of_day(text).map_err(|fault| anyhow!("the office of the night: {fault}"));
        anyhow::Ok(Shift { id: Arc::from(*crew), from: time(from)?, to: time(to)? })
    };
    let shifts = SHIFTS.iter().map(shift).collect::<Result<_>>()?;
    let time_zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    Ok(Weekly { calendar: Calendar { time_zone, ..Calendar::default() }, shifts, ..Weekly::default() })
}

fn name(text: String) -> Arc<str> {
    Arc::from(text)
}

impl Office {
    /// For these zones. Without `shifts` the first crew is always on duty for the rules: a night that has to fail.
    pub(super) fn of(zones: &[Arc<str>], shifts: bool) -> Result<Self> {
        let mut roles = BTreeMap::new();
        let mut person = |named: String, role: Role, channels: [&str; 2]| {
            let named = name(named);
            roles.insert(named.clone(), role);
            let phone = Some(Arc::from("13800000000"));
            Arc::new(Person { name: named, phone, channels: channels.map(Arc::from).to_vec() })
        };
        let mut rota = Rota { weekly: weekly()?, ..Rota::default() };
        for (place, zone) in zones.iter().enumerate() {
            for (kind, count) in [("A", 3), ("C", 3), ("D", 3), ("B", 2)] {
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
            let lines = SHIFTS.iter().enumerate().filter(|_| shifts).map(|(place, (crew, ..))| Duty {
                shift: Some(place),
                zone: zone.clone(),
                crew: Some(name(format!("{zone}-{crew}"))),
                ..Duty::default()
            });
            rota.weekly.duty.extend(lines);
        }
        rota.desk = Some(person(DESK.to_owned(), Role::Desk, [VOICE, CHAT]));
        rota.supervisor = Some(person("Supervisor".to_owned(), Role::Above, [VOICE, CHAT]));
        rota.head = Some(person("Head".to_owned(), Role::Above, [SMS, CHAT]));
        Ok(Self { rota: Arc::new(rota), roles, zones: zones.to_vec() })
    }

    /// Id of the crew on duty in a zone.
    pub(super) fn on_duty(&self, zone: &str, at: Timestamp) -> String {
        format!("{zone}-{}", shift_at(at))
    }

    /// It is that crew's shift, or it is a back-up, which is always there.
    pub(super) fn works(&self, crew: &str, at: Timestamp) -> bool {
        crew.rsplit_once('-').is_some_and(|(_, kind)| kind == "B" || kind == shift_at(at))
    }

    /// It takes its turn in that zone.
    pub(super) fn is_of(&self, crew: &str, zone: &str) -> bool {
        crew.rsplit_once('-').is_some_and(|(of, kind)| of == zone && kind != "B")
    }

    /// Name of the person that a duty means then; `owner` is the crew that has the incident.
    pub(super) fn expected(&self, whom: Whom, zone: &str, owner: Option<&str>, at: Timestamp) -> String {
        let on_duty = self.on_duty(zone, at);
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
                other(self.on_duty(&self.zones[(place + 1) % self.zones.len()], at))
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
