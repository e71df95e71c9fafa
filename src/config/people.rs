//! Who can be told: zones, crews, shifts, duty, calendar, desk, supervisor, head. Types, checks, and the rota they make.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use lampguard_alerting::rota::{
    self, Calendar, Dates, Days, Duty, EVERY_ZONE, Shift, Weekly, When, time_of_day,
};
use lampguard_alerting::{Person, Rota, ZoneDuty};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Config;
use super::check::Faults;

/// Members of a crew at most.
const MEMBERS_MAX: usize = 20;
/// Channels of a person at most.
const CHANNELS_MAX: usize = 8;
/// Shifts at most.
const SHIFTS_MAX: usize = 24;
/// Lines of duty at most.
const DUTY_MAX: usize = 500;
/// Words for days of one line, dates of a calendar at most.
const DAYS_MAX: usize = 400;
/// Letters of names of people and vehicles at most.
const LETTERS_MAX: usize = 64;
/// Digits of a telephone number.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=20;
/// Kinds of channels that dial.
const DIAL: [&str; 2] = ["sms_http", "voice_http"];

/// One `[[zone]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zone {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) crew: String,
    pub(crate) backup_crew: Option<String>,
    pub(crate) leader: Option<Someone>,
    pub(crate) neighbour: Option<String>,
}

/// One `[[crew]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crew {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) vehicle: Option<String>,
    #[serde(default)]
    pub(crate) members: Vec<Someone>,
}

/// One `[[shift]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShiftSection {
    id: String,
    from: String,
    to: String,
}

/// One `[[duty]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DutySection {
    shift: Option<String>,
    zone: String,
    crew: Option<String>,
    backup_crew: Option<String>,
    leader: Option<Someone>,
    #[serde(default)]
    days: Vec<String>,
    when: Option<String>,
}

/// `[calendar]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CalendarSection {
    holidays: Vec<String>,
    workdays: Vec<String>,
}

/// A person: written out once, and everywhere else by the name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Someone {
    pub(crate) name: String,
    pub(crate) phone: Option<String>,
    pub(crate) channels: Vec<String>,
}

impl Someone {
    fn is_written_out(&self) -> bool {
        self.phone.is_some() || !self.channels.is_empty()
    }
}

impl<'de> Deserialize<'de> for Someone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            phone: Option<String>,
            #[serde(default)]
            channels: Vec<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Someone;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("{ name, phone, channels }, or the name of somebody who stands elsewhere")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Someone, E> {
                Ok(Someone { name: name.to_owned(), ..Someone::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Someone, A::Error> {
                let Table { name, phone, channels } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Someone { name, phone, channels })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Everybody who is named, with the key of the place.
fn everybody(config: &Config) -> Vec<(String, &Someone)> {
    let mut found = Vec::new();
    for (place, crew) in config.crews.iter().enumerate() {
        let members = crew.members.iter().enumerate();
        found.extend(members.map(|(n, member)| (format!("crew[{place}].members[{n}]"), member)));
    }
    let leader = |list: &str, place: usize, leader: &'_ Option<Someone>| {
        leader.is_some().then(|| format!("{list}[{place}].leader"))
    };
    for (place, zone) in config.zones.iter().enumerate() {
        found.extend(leader("zone", place, &zone.leader).zip(zone.leader.as_ref()));
    }
    for (place, duty) in config.duty.iter().enumerate() {
        found.extend(leader("duty", place, &duty.leader).zip(duty.leader.as_ref()));
    }
    let city = [("desk", &config.desk), ("supervisor", &config.supervisor), ("head", &config.head)];
    found.extend(city.into_iter().filter_map(|(key, someone)| Some((key.to_owned(), someone.as_ref()?))));
    found
}

/// The rota that the configuration makes. What [`check`] refuses is left out.
pub(crate) fn rota(config: &Config) -> Rota {
    let arc = |text: &String| Arc::<str>::from(&**text);
    let mut people: BTreeMap<&str, Arc<Person>> = BTreeMap::new();
    for (_, someone) in everybody(config).iter().filter(|(_, someone)| someone.is_written_out()) {
        people.entry(&someone.name).or_insert_with(|| {
            let channels = someone.channels.iter().map(arc).collect();
            Arc::new(Person { name: arc(&someone.name), phone: someone.phone.as_ref().map(arc), channels })
        });
    }
    let person = |someone: &Option<Someone>| people.get(&*someone.as_ref()?.name).cloned();
    let crew = |crew: &Crew| {
        let members = crew.members.iter().filter_map(|member| people.get(&*member.name).cloned()).collect();
        let (id, name, vehicle) = (arc(&crew.id), crew.name.clone(), crew.vehicle.clone());
        (id.clone(), Arc::new(rota::Crew { id, name, vehicle, members }))
    };
    let zone = |zone: &Zone| {
        let duty = ZoneDuty {
            crew: arc(&zone.crew),
            backup_crew: zone.backup_crew.as_ref().map(arc),
            leader: person(&zone.leader),
            neighbour: zone.neighbour.as_ref().map(arc),
        };
        (arc(&zone.id), duty)
    };
    let shift = |shift: &ShiftSection| {
        let (from, to) = (time_of_day(&shift.from).ok()?, time_of_day(&shift.to).ok()?);
        Some(Shift { id: arc(&shift.id), from, to })
    };
    let shifts: Vec<Shift> = config.shifts.iter().filter_map(shift).collect();
    let duty = |duty: &DutySection| Duty {
        shift: duty.shift.as_ref().and_then(|id| shifts.iter().position(|shift| *shift.id == **id)),
        zone: arc(&duty.zone),
        crew: duty.crew.as_ref().map(arc),
        backup_crew: duty.backup_crew.as_ref().map(arc),
        leader: person(&duty.leader),
        days: duty.days.iter().filter_map(|days| days.parse().ok()).collect(),
        when: if duty.when.is_some() { When::Warning } else { When::Always },
    };
    let dates = |list: &[String]| list.iter().filter_map(|dates| dates.parse().ok()).collect();
    Rota {
        crews: config.crews.iter().map(crew).collect(),
        zones: config.zones.iter().map(zone).collect(),
        desk: person(&config.desk),
        supervisor: person(&config.supervisor),
        head: person(&config.head),
        weekly: Weekly {
            calendar: Calendar {
                time_zone: jiff::tz::TimeZone::get(&config.site.time_zone).unwrap_or(jiff::tz::TimeZone::UTC),
                holidays: dates(&config.calendar.holidays),
                workdays: dates(&config.calendar.workdays),
            },
            duty: config.duty.iter().map(duty).collect(),
            shifts,
        },
        ..Rota::default()
    }
}

/// What is possible and hardly meant.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    if everybody(config).is_empty() {
        let text = "nobody is named: everything is told to the desk by every channel; name [[crew]] members and [desk]";
        return vec![text.to_owned()];
    }
    for crew in config.crews.iter().filter(|crew| crew.members.is_empty()) {
        told.push(format!("crew {} has no members: what is meant for it goes to the desk", crew.id));
    }
    if config.desk.is_none() {
        told.push(
            "there is no [desk]: what nobody else can be told goes to \"desk\" by every channel".to_owned(),
        );
    }
    let by_calendar =
        |duty: &DutySection| duty.days.iter().any(|days| matches!(&**days, "workday" | "holiday"));
    if config.duty.iter().any(by_calendar) && config.calendar.holidays.is_empty() {
        let text = "[[duty]] goes by workday and holiday, and [calendar] holidays is empty: only weekends are holidays";
        told.push(text.to_owned());
    }
    told
}

/// Ids of channels that people name and that are not there.
pub(crate) fn unknown_channels(config: &Config) -> Vec<String> {
    let named = everybody(config).into_iter().flat_map(|(_, someone)| someone.channels.iter().cloned());
    let mut unknown: Vec<String> = named.filter(|id| !is_channel(config, id)).collect();
    unknown.sort();
    unknown.dedup();
    unknown
}

/// Without any `[[channel]]` there is the console.
fn is_channel(config: &Config, id: &str) -> bool {
    config.channels.iter().any(|channel| channel.id == id) || config.channels.is_empty() && id == "console"
}

/// Collects every fault about people.
pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    faults.unique("zone", config.zones.iter().map(|zone| zone.id.as_str()));
    faults.unique("crew", config.crews.iter().map(|crew| crew.id.as_str()));
    faults.unique("shift", config.shifts.iter().map(|shift| shift.id.as_str()));
    if config.zones.is_empty() {
        faults
            .add("zone", "there is none; each zone of the register needs a [[zone]] with id, name and crew");
    }
    check_zones(config, faults);
    check_crews(config, faults);
    check_everybody(config, faults);
    check_shifts(config, faults);
    check_duty(config, faults);
    for (key, list) in [("holidays", &config.calendar.holidays), ("workdays", &config.calendar.workdays)] {
        let key = format!("calendar.{key}");
        count(&key, list.len(), DAYS_MAX, faults);
        for reason in list.iter().filter_map(|dates| dates.parse::<Dates>().err()).take(DAYS_MAX) {
            faults.add(&key, reason);
        }
    }
}

fn count(key: &str, found: usize, limit: usize, faults: &mut Faults<'_>) {
    if found > limit {
        faults.add(key, format!("{found} are more than {limit}"));
    }
}

fn known_crew(config: &Config, key: String, id: &str, faults: &mut Faults<'_>) {
    if !config.crews.iter().any(|crew| crew.id == id) {
        faults.add(key, format!("there is no [[crew]] with id {id:?}"));
    }
}

fn check_zones(config: &Config, faults: &mut Faults<'_>) {
    for (place, zone) in config.zones.iter().enumerate() {
        let key = |name: &str| format!("zone[{place}].{name}");
        known_crew(config, key("crew"), &zone.crew, faults);
        if zone.name.trim().is_empty() {
            faults.add(key("name"), "is empty; people read it");
        }
        if let Some(backup) = &zone.backup_crew {
            known_crew(config, key("backup_crew"), backup, faults);
            if *backup == zone.crew {
                faults.add(
                    key("backup_crew"),
                    format!("{backup} is the crew of the zone itself; name another one"),
                );
            }
        }
        let Some(neighbour) = &zone.neighbour else { continue };
        if *neighbour == zone.id {
            faults.add(key("neighbour"), format!("{neighbour} is the zone itself; name another one"));
        } else if !config.zones.iter().any(|other| other.id == *neighbour) {
            faults.add(key("neighbour"), format!("there is no [[zone]] with id {neighbour:?}"));
        }
    }
}

fn check_crews(config: &Config, faults: &mut Faults<'_>) {
    for (place, crew) in config.crews.iter().enumerate() {
        let key = |name: &str| format!("crew[{place}].{name}");
        if crew.name.trim().is_empty() {
            faults.add(key("name"), format!("of crew {} is empty; people read it", crew.id));
        }
        if let Some(vehicle) = &crew.vehicle {
            words(key("vehicle"), vehicle, faults);
        }
        count(&key("members"), crew.members.len(), MEMBERS_MAX, faults);
        let mut names = HashSet::new();
        for member in crew.members.iter().filter(|member| !names.insert(&*member.name)) {
            faults.add(key("members"), format!("{} is there twice", member.name));
        }
    }
}

fn words(key: String, text: &str, faults: &mut Faults<'_>) {
    let letters = text.chars().count();
    if text.trim().is_empty() || letters > LETTERS_MAX || text.chars().any(char::is_control) {
        faults.add(key, format!("{text:?} is not 1 to {LETTERS_MAX} letters in one line"));
    }
}

fn check_everybody(config: &Config, faults: &mut Faults<'_>) {
    let everybody = everybody(config);
    let mut first: BTreeMap<&str, (&str, &Someone)> = BTreeMap::new();
    for (key, someone) in everybody.iter().filter(|(_, someone)| someone.is_written_out()) {
        match first.get(&*someone.name) {
            None => {
                first.insert(&someone.name, (key, someone));
                check_person(config, key, someone, faults);
            }
            Some((other, known)) if known != someone => faults.add(
                key,
                format!(
                    "{} has another phone or other channels than at {other}; a name is one person: \
                     write them out once and give the name alone elsewhere",
                    someone.name
                ),
            ),
            Some(_) => {}
        }
    }
    for (key, someone) in &everybody {
        words(format!("{key}.name"), &someone.name, faults);
        if !first.contains_key(&*someone.name) {
            faults.add(key, format!("{:?} has neither phone nor channels, here or elsewhere", someone.name));
        }
    }
}

fn check_person(config: &Config, key: &str, person: &Someone, faults: &mut Faults<'_>) {
    if let Some(phone) = &person.phone {
        let digits = phone.strip_prefix('+').unwrap_or(phone);
        if !DIGITS.contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let (least, most) = (DIGITS.start(), DIGITS.end());
            let text = format!("{phone:?} is not {least} to {most} digits, with or without a + in front");
            faults.add(format!("{key}.phone"), text);
        }
    }
    let key = format!("{key}.channels");
    count(&key, person.channels.len(), CHANNELS_MAX, faults);
    let mut seen = HashSet::new();
    for id in &person.channels {
        let channel = config.channels.iter().find(|channel| channel.id == *id);
        if !is_channel(config, id) {
            faults.add(&key, format!("of {}: there is no [[channel]] with id {id:?}", person.name));
        }
        if !seen.insert(id) {
            faults.add(&key, format!("of {}: {id} is there twice", person.name));
        }
        if person.phone.is_none() && channel.is_some_and(|channel| DIAL.contains(&&*channel.kind)) {
            faults.add(&key, format!("of {}: {id} dials, and there is no phone", person.name));
        }
    }
}

fn check_shifts(config: &Config, faults: &mut Faults<'_>) {
    count("shift", config.shifts.len(), SHIFTS_MAX, faults);
    for (place, shift) in config.shifts.iter().enumerate() {
        for (name, text) in [("from", &shift.from), ("to", &shift.to)] {
            if let Err(reason) = time_of_day(text) {
                faults.add(format!("shift[{place}].{name}"), reason);
            }
        }
    }
}

fn check_duty(config: &Config, faults: &mut Faults<'_>) {
    count("duty", config.duty.len(), DUTY_MAX, faults);
    for (place, duty) in config.duty.iter().enumerate() {
        let key = |name: &str| format!("duty[{place}].{name}");
        if let Some(id) = duty.shift.as_ref().filter(|id| !config.shifts.iter().any(|shift| shift.id == **id))
        {
            faults.add(key("shift"), format!("there is no [[shift]] with id {id:?}"));
        }
        if duty.zone != EVERY_ZONE && !config.zones.iter().any(|zone| zone.id == duty.zone) {
            faults.add(
                key("zone"),
                format!("there is no [[zone]] with id {:?}; {EVERY_ZONE} is all of them", duty.zone),
            );
        }
        for (name, crew) in [("crew", &duty.crew), ("backup_crew", &duty.backup_crew)] {
            if let Some(crew) = crew {
                known_crew(config, key(name), crew, faults);
            }
        }
        if duty.crew.is_none() && duty.backup_crew.is_none() && duty.leader.is_none() {
            faults.add(
                key("crew"),
                "is missing, and so are backup_crew and leader: nobody would be on duty by it",
            );
        }
        count(&key("days"), duty.days.len(), DAYS_MAX, faults);
        for reason in duty.days.iter().filter_map(|days| days.parse::<Days>().err()).take(DAYS_MAX) {
            faults.add(key("days"), reason);
        }
        if let Some(when) = duty.when.as_ref().filter(|when| *when != "warning") {
            faults.add(key("when"), format!("{when:?} is not warning; leave it out for always"));
        }
    }
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
