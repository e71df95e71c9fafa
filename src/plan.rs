//! Who would be told: what `lampguard plan` prints and `GET /api/v1/rota` answers.
//!
//! ```text
//! running instance   its own rota, with warnings and changes of the moment     GET /api/v1/rota?at=
//! none runs          the configuration, with the changes kept in incidents.db  no warning is known then
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lampguard_alerting::rota::{Crew, Gap, Person, Stretch};
use lampguard_alerting::{GAP_DAYS, Ladders, Rota, Severity, Whom};
use lampguard_model::{Millis, Timestamp};
use serde_json::{Value, json};

use crate::cli::{Lang, Plan};
use crate::config::{self, Config};
use crate::data_dir::Local;
use crate::tools::{self, Asker};
use crate::{UsageError, clock};

mod table;

pub(crate) use table::local;

/// Whose telephones may be shown.
pub(crate) struct Sees<'s> {
    /// Those of a zone.
    pub(crate) zone: &'s dyn Fn(&str) -> bool,
    /// Those of desk, supervisor and head.
    pub(crate) city: bool,
}

/// The rota at `at`, as JSON.
pub(crate) fn describe(
    config: &Config,
    ladders: &Ladders,
    rota: &Rota,
    at: Timestamp,
    sees: &Sees<'_>,
) -> Value {
    let zones: Vec<Value> = config
        .zones
        .iter()
        .map(|zone| {
            let duty = rota.on_duty(&zone.id, at);
            let phones = (sees.zone)(&zone.id);
            let crew = |crew: &Option<Arc<Crew>>| crew.as_ref().map(|crew| crew_json(crew, phones));
            let (crews, leaders) = rota.reinforcement(&zone.id, at);
            json!({
                "zone": zone.id, "name": zone.name, "shift": duty.shift,
                "until": duty.until.map(Timestamp::to_rfc3339), "warning": rota.is_warned(&zone.id),
                "crew": crew(&duty.crew), "backup_crew": crew(&duty.backup), "neighbour": crew(&duty.neighbour),
                "leader": duty.leader.as_ref().map(|leader| person_json(leader, phones)),
                "in_warning": {
                    "crews": crews.iter().map(|crew| crew_json(crew, phones)).collect::<Vec<_>>(),
                    "leaders": leaders.iter().map(|leader| person_json(leader, phones)).collect::<Vec<_>>(),
                },
                "rungs": rungs((config, ladders), rota, &zone.id, at, phones),
            })
        })
        .collect();
    let person = |person: &Option<Arc<Person>>| person.as_ref().map(|person| person_json(person, sees.city));
    let stretches = |list: &[Stretch]| list.iter().map(stretch_json).collect::<Vec<_>>();
    json!({
        "at": at.to_rfc3339(), "zones": zones,
        "desk": person(&rota.desk), "supervisor": person(&rota.supervisor), "head": person(&rota.head),
        "version": rota.changes.version, "changed_at": rota.changes.at.map(Timestamp::to_rfc3339),
        "changed_by": rota.changes.by,
        "duty": stretches(&rota.changes.duty), "overrides": stretches(&rota.changes.overrides),
        "gaps": rota.gaps(at, GAP_DAYS).iter().map(gap_json).collect::<Vec<_>>(),
    })
}

fn person_json(person: &Person, phones: bool) -> Value {
    let mut shown = json!({ "name": person.name, "channels": person.channels });
    if phones {
        shown["phone"] = json!(person.phone);
    }
    shown
}

fn crew_json(crew: &Crew, phones: bool) -> Value {
    let members: Vec<Value> = crew.members.iter().map(|member| person_json(member, phones)).collect();
    json!({ "id": crew.id, "name": crew.name, "vehicle": crew.vehicle, "members": members })
}

/// The ladders of a zone, rung by rung: one entry for each whom a rung tells.
fn rungs(
    (config, ladders): (&Config, &Ladders),
    rota: &Rota,
    zone: &str,
    at: Timestamp,
    phones: bool,
) -> Vec<Value> {
    let mut entries = Vec::new();
    for severity in [Severity::P1, Severity::P2] {
        let ladder = ladders.in_zone(severity, zone);
        for (step, rung) in ladder.iter().flat_map(|ladder| &ladder.rungs).enumerate() {
            for to in &rung.to {
                let mut entry = told(config, rota, zone, at, *to, phones);
                entry["severity"] = json!(severity.name());
                entry["step"] = json!(step);
                entry["from"] = json!(rung.since);
                entry["after_min"] = json!(minutes(rung.after));
                entry["every_min"] = json!(rung.every.map(minutes));
                entry["until"] = json!(rung.until);
                entries.push(entry);
            }
        }
    }
    entries
}

fn minutes(time: Millis) -> i64 {
    time.as_seconds() / 60
}

fn told(config: &Config, rota: &Rota, zone: &str, at: Timestamp, to: Whom, phones: bool) -> Value {
    let mut people = rota.people(to, zone, None, at);
    let instead = people.is_empty() && to != Whom::Desk;
    if instead {
        people = rota.people(Whom::Desk, zone, None, at);
    }
    if people.is_empty() {
        people.push(Arc::new(desk_of_channels(config)));
    }
    let people: Vec<Value> = people.iter().map(|person| person_json(person, phones)).collect();
    json!({ "to": to.name(), "people": people, "desk_instead": instead })
}

/// Where no desk can be reached everything goes to "desk" by every channel.
fn desk_of_channels(config: &Config) -> Person {
    let mut channels: Vec<Arc<str>> = config.channels.iter().map(|channel| Arc::from(&*channel.id)).collect();
    if channels.is_empty() {
        channels.push(Arc::from("console"));
    }
    Person { name: Arc::from("desk"), phone: None, channels }
}

fn stretch_json(stretch: &Stretch) -> Value {
    json!({
        "from": stretch.from.to_rfc3339(), "to": stretch.to.to_rfc3339(), "zone": stretch.zone,
        "crew": stretch.crew, "backup_crew": stretch.backup_crew, "leader": stretch.leader,
        "reason": stretch.reason, "at": stretch.at.to_rfc3339(), "by": stretch.by,
    })
}

fn gap_json(gap: &Gap) -> Value {
    json!({
        "zone": gap.zone, "from": gap.from.to_rfc3339(), "to": gap.to.to_rfc3339(), "why": gap.why, "crew": gap.crew,
    })
}

/// The rota without an instance: the configuration, with what was changed while one ran.
pub(crate) fn offline(config: &Config) -> Result<Rota> {
    let dir = &config.site.data_dir;
    let changes = lampguard_alerting::stored_changes(dir)
        .with_context(|| format!("reading changes of the rota in {}", dir.display()))?;
    Ok(Rota { changes, ..config::people::rota(config) })
}

/// The command.
pub(crate) fn run(file: Option<&Path>, asked: &Plan) -> Result<()> {
    let at = asked.at.as_deref().map(time).transpose()?;
    let config = match config::find(file) {
        Ok(found) => Some(config::load(&found)?),
        Err(e) if file.is_some() || asked.target.url.is_none() => return Err(e),
        Err(_) => None,
    };
    let of_site = config.as_ref().map_or("Asia/Shanghai", |config| &config.site.time_zone);
    let zone = asked.time_zone.as_deref().unwrap_or(of_site);
    let zone = jiff::tz::TimeZone::get(zone)
        .map_err(|_| UsageError(format!("--time-zone {zone:?} is not known")))?;
    let running = match (&asked.target.url, &config) {
        (None, Some(config)) if Local::read(&config.site.data_dir).is_err() => None,
        (url, _) => from_instance(file, asked, at, url.is_some())?,
    };
    let mut told = match (running, &config) {
        (Some(told), _) => told,
        (None, Some(config)) => {
            let all = Sees { zone: &|_| true, city: true };
            let mut told =
                describe(config, &config.ladders, &offline(config)?, at.unwrap_or_else(clock::now), &all);
            told["source"] = json!("configuration");
            told
        }
        (None, None) => bail!("no instance answered, and there is no configuration"),
    };
    if told["source"].is_null() {
        told["source"] = json!("instance");
    }
    if asked.json {
        return tools::print(&format!("{told}\n"));
    }
    tools::print(&table::text(&told, asked.lang == Lang::Zh, &zone))
}

fn time(text: &str) -> Result<Timestamp> {
    let time = text.parse().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text));
    Ok(time.ok_or_else(|| {
        UsageError(format!("--at {text:?} is not RFC 3339 with offset, nor milliseconds UTC"))
    })?)
}

/// What the instance says; `None` when none answers and none was named.
fn from_instance(
    file: Option<&Path>,
    asked: &Plan,
    at: Option<Timestamp>,
    named: bool,
) -> Result<Option<Value>> {
    let asker = Asker::new(file, &asked.target, Some(Duration::from_secs(10)))?;
    let at = at.map_or_else(String::new, |at| format!("?at={}", at.0));
    let (status, mut body) = match asker.get(&format!("/api/v1/rota{at}")) {
        Ok(answer) => answer,
        Err(_) if !named => return Ok(None),
        Err(e) => return Err(e),
    };
    let text = body.read_to_string().context("reading the answer")?;
    if status == 401 && !named {
        // Ours ended without taking its address back, and somebody else answers there now.
        return Ok(None);
    }
    if status != 200 {
        bail!("the instance answered {status}: {text}");
    }
    Ok(Some(serde_json::from_str(&text).context("reading the answer")?))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
