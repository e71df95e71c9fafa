//! The other story of the process that is killed: a flood, and in it words that are no dangers. They wait for lists, which
//! stand in memory alone.
//!
//! ```text
//! phase 0        twelve dangers on one feeder: five messages each, then lists; the desk is offered to have it switched off
//! phase 1  0:20  withdrawn by two people, another crew's, handed back, help, there without a proof; two feeders made dead
//! phase 2  0:30  voltage where one of them was made dead: a reading
//! phase 3  0:40  the other is repaired and gets its power back
//! phase 4  6 min the shift changes, and the desk is asked to call who has not shown that he is there
//! then           minutes pass, until everybody has had all his lists
//! ```
//! Everything that people do is sent again after a kill; the reading comes until it is in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lampguard_alerting::life::{Actor, Extent, Method, Move, MoveBody, Outcome, Verb};
use lampguard_alerting::notice::{HANDOVER, HELP, ISOLATION_OFFERED, OPENED};
use lampguard_alerting::rota::{Duty, Shift, Weekly, time_of_day};
use lampguard_alerting::{Alerting, Crew, Filter, Person, Rota, StateFilter, ZoneDuty};
use lampguard_journal::FrameBuf;
use lampguard_model::record::{self, StoredReading, encode_reading, encode_weather};
use lampguard_model::{Field, Fields, Millis, Timestamp};

use super::child::{CHANNELS, T};

/// Moments of the phases, seconds: what is done is done in the first five.
pub(super) const PHASES_S: [i64; 13] = [0, 20, 30, 40, 360, 430, 500, 570, 660, 780, 960, 1200, 1320];
/// The last of them in which something is done or heard.
const ACTS: usize = 3;
/// Dangers on the one feeder; two more posts hang on feeders of their own.
const DANGERS: usize = 12;
/// A tick that does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has to come besides the dangers, whoever dies: each of these to somebody.
pub(super) const WORDS: [&str; 9] = [
    HELP,
    HANDOVER,
    ISOLATION_OFFERED,
    OPENED,
    "incident.voided",
    "incident.reassigned",
    "incident.returned",
    "incident.restored",
    "incident.confirm_arrival",
];

/// Posts P1 to P14, one period a minute.
pub(super) fn register() -> String {
    let mut text = lampguard_model::register::header();
    for n in 1..=DANGERS + 2 {
        let feeder = n.saturating_sub(DANGERS).max(1);
        let feeder = if n > DANGERS { feeder + 1 } else { feeder };
        text +=
            &format!("\nP{n},,z1,road,{n},,F{feeder},C{feeder},113.2,35.2,1,100,false,,,post,all,true,M,60");
    }
    text
}

/// Crew A goes home six minutes behind [`T`], B comes.
pub(super) fn rota() -> Result<Rota> {
    let person = |name: &str| {
        Arc::new(Person { name: Arc::from(name), phone: None, channels: CHANNELS.map(Arc::from).to_vec() })
    };
    let crew = |id: &str, member: &str| {
        let id: Arc<str> = Arc::from(id);
        (id.clone(), Arc::new(Crew { id, members: vec![person(member)], ..Crew::default() }))
    };
    let shift = |id: &str, from: &str, to: &str| {
        let time = |text| time_of_day(text).map_err(|fault| anyhow!("shifts of the flood: {fault}"));
        anyhow::Ok(Shift { id: Arc::from(id), from: time(from)?, to: time(to)? })
    };
    let duty = |place, crew: &str| Duty {
        shift: Some(place),
        zone: Arc::from("z1"),
        crew: Some(Arc::from(crew)),
        ..Duty::default()
    };
    let zone = ZoneDuty {
        crew: Arc::from("A"),
        backup_crew: Some(Arc::from("C")),
        leader: Some(person("Lee")),
        neighbour: None,
    };
    Ok(Rota {
        crews: [crew("A", "Ann"), crew("B", "Bo"), crew("C", "Cy")].into(),
        zones: [(Arc::from("z1"), zone)].into(),
        desk: Some(person("Desk")),
        weekly: Weekly {
            shifts: vec![shift("day", "00:00", "12:06")?, shift("night", "12:06", "00:00")?],
            duty: vec![duty(0, "A"), duty(1, "B")],
            ..Weekly::default()
        },
        ..Rota::default()
    })
}

/// Dry weather, and two critical samples of each post.
pub(super) fn dangers() -> FrameBuf {
    let mut batch = FrameBuf::default();
    batch.closed_at = T.0;
    let dry = br#"{"rain_mm_h":0}"#;
    batch.push(record::WEATHER, |out| encode_weather(T - Millis::minutes(6), "all", dry, out));
    for (round, at) in [T - Millis::minutes(5), T].into_iter().enumerate() {
        for n in 1..=DANGERS + 2 {
            let post = format!("P{n}");
            let mut fields = Fields::default();
            fields.set(Field::LeakageMa, 40_000 + n as i64);
            let identity = 100 * (round as u64 + 1) + n as u64;
            let reading =
                StoredReading { identity, zone: "z1", feeder: "F1", fields, ..StoredReading::at(&post, at) };
            batch.push(record::READING, |out| encode_reading(&reading, out));
        }
    }
    batch
}

/// Voltage at the post that was made dead: measured and received at the moment of its phase, so that its incident has the
/// same id in every round.
pub(super) fn voltage() -> FrameBuf {
    let at = T + Millis::seconds(PHASES_S[2]);
    let mut batch = FrameBuf::default();
    batch.closed_at = at.0;
    let post = format!("P{}", DANGERS + 1);
    let mut fields = Fields::default();
    fields.set(Field::SupplyV, 230_000);
    let reading =
        StoredReading { identity: 999, zone: "z1", feeder: "F2", fields, ..StoredReading::at(&post, at) };
    batch.push(record::READING, |out| encode_reading(&reading, out));
    batch
}

/// What people do in a phase, each with the keys of the first time.
pub(super) fn people(alerting: &Alerting, phase: usize) -> Result<()> {
    let ids = ids(alerting)?;
    let act = |post: usize, who: &str, verb: Verb, body: MoveBody| -> Result<Outcome> {
        let id = ids.get(&format!("P{post}")).with_context(|| format!("P{post} has no incident"))?;
        let key = format!("{}-{who}", verb.name());
        let actor = Actor { name: who.to_owned(), desk: matches!(who, "Desk" | "Lee") };
        let m = Move { verb, actor, body: MoveBody { key, ..body } };
        let acted = alerting.act(id, m).with_context(|| format!("{} of P{post} by {who}", verb.name()))?;
        Ok(acted.outcome)
    };
    let text = |text: &str| Some(text.to_owned());
    let none = MoveBody::default;
    let there =
        |post: usize| act(post, "Ann", Verb::Arrive, MoveBody { post: Some(format!("P{post}")), ..none() });
    let dead = |post: usize| {
        let (breaker, extent) = (text("QF1"), Some(Extent::Feeder));
        let body = MoveBody { method: Some(Method::Isolated), breaker, extent, ..none() };
        act(post, "Ann", Verb::MakeSafe, body)
    };
    match phase {
        1 => {
            let withdrawn = alerting.incidents(&Filter { state: StateFilter::Ended, ..Filter::default() })?;
            if withdrawn.items.is_empty() {
                let reason = text("tested by hand: nothing");
                let Outcome::Second(id) = act(1, "Desk", Verb::Void, MoveBody { reason, ..none() })? else {
                    bail!("one person alone withdrew a danger");
                };
                act(1, "Lee", Verb::Void, MoveBody { second: Some(id), ..none() })?;
            }
            act(2, "Desk", Verb::Reassign, MoveBody { to: text("C"), ..none() })?;
            act(3, "Ann", Verb::Arrive, none())?;
            act(3, "Ann", Verb::Help, none())?;
            there(4)?;
            act(4, "Ann", Verb::MakeSafe, MoveBody { method: Some(Method::Guarded), ..none() })?;
            let follow_up_at = Some(T + Millis::hours(48));
            let (owner, contact) = (text("power company"), text("95598"));
            act(
                4,
                "Desk",
                Verb::Return,
                MoveBody { owner, contact, follow_up_at, reason: text("theirs"), ..none() },
            )?;
            for post in [DANGERS + 1, DANGERS + 2] {
                there(post)?;
                dead(post)?;
            }
        }
        3 => {
            let post = DANGERS + 2;
            act(
                post,
                "Ann",
                Verb::Repair,
                MoveBody { cause: text("wet"), parts: text("terminal"), ..none() },
            )?;
            act(post, "Ann", Verb::Restore, none())?;
        }
        _ => {}
    }
    if phase <= ACTS {
        keep(alerting)?;
    }
    Ok(())
}

/// Incidents by post: the danger that opened first.
fn ids(alerting: &Alerting) -> Result<BTreeMap<String, String>> {
    let began = Instant::now();
    loop {
        let page = alerting.incidents(&Filter { state: StateFilter::All, ..Filter::default() })?;
        let mut ids = BTreeMap::new();
        for incident in page.items.into_iter().filter(|incident| incident.kind != "reenergised") {
            ids.insert(incident.post_id.unwrap_or_default(), incident.id);
        }
        if ids.len() >= DANGERS + 2 {
            return Ok(ids);
        }
        if began.elapsed() > PATIENCE {
            bail!("{} of {} dangers have opened", ids.len(), DANGERS + 2);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A telephone that has no answer sends again: nothing goes on before the store has it.
fn keep(alerting: &Alerting) -> Result<()> {
    let began = Instant::now();
    while !alerting.keeps(Duration::from_secs(1)) {
        if began.elapsed() > PATIENCE {
            bail!("the store takes nothing for {} s", PATIENCE.as_secs());
        }
    }
    Ok(())
}

/// Waits until a tick has begun and ended, for lists are sent behind it.
pub(super) fn tick(ticks: impl Fn() -> Result<u64>) -> Result<()> {
    let (began, first) = (Instant::now(), ticks()?);
    while ticks()? < first + 1 {
        if began.elapsed() > PATIENCE {
            bail!("no tick came in {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// At the end: no message waits for its channel.
pub(super) fn all_sent(alerting: &Alerting) -> Result<()> {
    let began = Instant::now();
    loop {
        let page = alerting.notices(None, None, 1000)?;
        let waiting = page.items.iter().filter(|notice| notice.outcome == "queued").count();
        if waiting == 0 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("{waiting} messages wait for {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The moment of a phase.
pub(super) fn moment(phase: usize) -> Timestamp {
    T + Millis::seconds(PHASES_S.get(phase).copied().unwrap_or(0)) + Millis(500)
}
