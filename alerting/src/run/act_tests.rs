//! What people do on the running part: threads, a store that is full, restarts.

use std::time::Instant;

use super::*;
use crate::ask::{Filter, StateFilter};
use crate::engine::JobScope;
use crate::engine::tests::minutes;
use crate::life::tests::{crew, desk};
use crate::life::{Actor, Channel, Verb, What};
use crate::run::tests::{Station, danger, open_ids};
use crate::testkit::{Server, wait_for};

/// P1 is critical since T.
fn raised(station: &Station) -> (Alerting, String) {
    let alerting = station.start(Vec::new()).unwrap();
    alerting.judge(Arc::new(danger()));
    wait_for("the incident", || open_ids(&alerting).len() == 1);
    let id = open_ids(&alerting)[0].0.clone();
    (alerting, id)
}

fn named(mut m: Move, name: &str) -> Move {
    name.clone_into(&mut m.actor.name);
    m
}

fn call(key: &str) -> TellRequest {
    TellRequest {
        actor: Actor { name: "Desk".to_owned(), desk: true },
        key: key.to_owned(),
        what: What::Other,
        post_id: Some("P1".to_owned()),
        place: None,
        caller: None,
        at: None,
        channel: Channel::Phone,
        severity: None,
        drill: false,
        stored: None,
    }
}

#[test]
fn fault_h1_two_crews_that_act_at_once_a_thousand_times_give_one_owner_each_and_a_full_record() {
    let station = Station::new();
    let alerting = Arc::new(station.start(Vec::new()).unwrap());
    let ids: Vec<String> =
        (0..1000).map(|n| alerting.report(call(&format!("c{n}"))).unwrap().now.id).collect();
    let gate = Arc::new(std::sync::Barrier::new(2));
    let run = |name: &'static str| {
        let (alerting, ids, gate) = (alerting.clone(), ids.clone(), gate.clone());
        std::thread::spawn(move || {
            let one = |id: &String| {
                gate.wait();
                alerting.act(id, named(crew(Verb::Acknowledge, "k"), name)).map(|acted| acted.now.crew)
            };
            ids.iter().map(one).collect::<Vec<_>>()
        })
    };
    let (first, second) = (run("Crew 1"), run("Crew 2"));
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    let mut wins = [0, 0];
    for ((id, first), second) in ids.iter().zip(&first).zip(&second) {
        let (winner, loser) = match (first, second) {
            (Ok(crew), Err(refused)) => (crew, refused),
            (Err(refused), Ok(crew)) => (crew, refused),
            other => panic!("{id}: {other:?}"),
        };
        let winner = winner.as_deref().unwrap();
        assert!(loser.to_string().contains(winner), "the second is told who has it: {loser}");
        wins[usize::from(winner == "Crew 2")] += 1;
    }
    println!("Crew 1 was first {} times, Crew 2 {} times", wins[0], wins[1]);
    drop(alerting);
    let store = crate::store::Store::open(&station.dir.path().join("alerting")).unwrap();
    for id in &ids {
        let timeline = store.reads().timeline(id).unwrap();
        let words: Vec<&str> = timeline.iter().map(|(_, event)| &*event.event).collect();
        assert_eq!(words, ["opened", "acknowledge", "refused"], "{id}: both tries are recorded");
    }
    assert_eq!(store.reads().verify().unwrap(), 3002, "and the policy, and that a flood began");
}

#[test]
fn peer_p16_an_answer_carries_the_state_that_the_move_led_to_and_people_are_told() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    assert_eq!(server.next().json()["event"], "incident.opened");
    let id = open_ids(&alerting)[0].0.clone();
    let acted = alerting.act(&id, crew(Verb::Arrive, "k")).unwrap();
    assert_eq!((acted.now.state, acted.outcome, acted.durable), ("arrived", Outcome::Done, true));
    assert_eq!((acted.now.arrival, acted.now.breached), (Some("unproven"), false));
    let told = server.next().json();
    assert_eq!((&told["event"], &told["incident"]["state"]), (&"incident.arrived".into(), &"arrived".into()));
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("已到场") && text.contains("未核实") && text.contains("未确认断电，视为带电"),
        "{text}"
    );
    let again = alerting.act(&id, crew(Verb::Arrive, "k")).unwrap();
    assert_eq!((again.now.state, again.outcome), ("arrived", Outcome::Again));
    assert!(server.within(Duration::from_millis(200)).is_none(), "told once");
}

#[test]
fn a_full_disk_stops_neither_a_move_nor_its_telling_and_the_disk_gets_it_later() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    let other = station.database();
    alerting.judge(Arc::new(danger()));
    server.next();
    let id = open_ids(&alerting)[0].0.clone();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let acted = alerting.act(&id, crew(Verb::Help, "k")).unwrap();
    assert!(!acted.durable && started.elapsed() < Duration::from_secs(3));
    let told = server.within(Duration::from_secs(2)).expect("told within 2 s").json();
    assert_eq!(told["event"], "incident.help");
    let safe = alerting.act(&id, crew(Verb::Arrive, "k")).unwrap();
    assert_eq!(safe.now.state, "arrived");
    other.execute_batch("ROLLBACK").unwrap();
    wait_for("the commit follows", || {
        let single = alerting.incident(&id).unwrap().unwrap();
        single.timeline.unwrap().iter().filter(|event| event.event == "told").count() == 3
    });
    drop(alerting);
    let again = station.start(Vec::new()).unwrap();
    assert_eq!(again.incident(&id).unwrap().unwrap().state, "arrived");
}

#[test]
fn situation_s41_down_across_the_deadline_the_breach_is_told_by_true_times() {
    let station = Station::new();
    let (alerting, id) = raised(&station);
    alerting.act(&id, crew(Verb::Acknowledge, "k")).unwrap();
    station.clock.set(minutes(24));
    drop(alerting);
    station.clock.set(minutes(36));
    let alerting = station.start(Vec::new()).unwrap();
    let found = alerting.incident(&id).unwrap().unwrap();
    assert_eq!(
        (found.breached, found.remaining_s, found.crew.as_deref()),
        (true, Some(-360), Some("Crew 1"))
    );
    // It came in late, and the phone says since when they stand there.
    let mut m = crew(Verb::Arrive, "a");
    (m.body.at, m.body.sent_at) = (Some(minutes(29)), Some(minutes(36)));
    let arrived = alerting.act(&id, m).unwrap().now;
    assert_eq!((arrived.breached, arrived.remaining_s), (false, Some(60)));
    let life = alerting.incident(&id).unwrap().unwrap().life.unwrap();
    assert_eq!(life["arrived"]["received_at"], "2026-11-23T12:36:00.000Z", "both times are kept: {life}");
}

#[test]
fn what_is_over_leaves_the_open_list_at_once_and_answers_notes_and_repeats() {
    let station = Station::new();
    let (alerting, id) = raised(&station);
    for (n, m) in [
        crew(Verb::Arrive, "k"),
        crew(Verb::MakeSafe, "k"),
        crew(Verb::Repair, "k"),
        desk(Verb::Verify, "k"),
        desk(Verb::Close, "k"),
    ]
    .into_iter()
    .enumerate()
    {
        station.clock.set(minutes(n as i64 + 1));
        alerting.act(&id, m).unwrap();
    }
    assert!(open_ids(&alerting).is_empty());
    assert!(alerting.open_incidents_by_post().is_empty());
    let ended = || {
        let filter = Filter { state: StateFilter::Ended, ..Filter::default() };
        alerting.incidents(&filter).unwrap().items.into_iter().map(|i| i.state).collect::<Vec<_>>()
    };
    assert_eq!(ended(), ["closed"]);
    assert_eq!(alerting.act(&id, desk(Verb::Note, "after")).unwrap().now.state, "closed");
    assert_eq!(alerting.act(&id, desk(Verb::Close, "k")).unwrap().outcome, Outcome::Again);
    drop(alerting);
    let alerting = station.start(Vec::new()).unwrap();
    assert_eq!(alerting.act(&id, desk(Verb::Close, "k")).unwrap().outcome, Outcome::Again);
    assert!(matches!(alerting.act(&id, crew(Verb::Repair, "x")), Err(ActError::Refused(_))));
    assert_eq!(alerting.act(&id, desk(Verb::Note, "much later")).unwrap().now.state, "closed");
    assert_eq!(alerting.act(&id, desk(Verb::Note, "much later")).unwrap().outcome, Outcome::Again);
    assert!(matches!(alerting.act("LG-NONE", crew(Verb::Help, "x")), Err(ActError::Refused(_))));
}

#[test]
fn planned_work_is_kept_over_a_restart_and_ends_by_itself_with_a_word_to_the_desk() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let request = JobRequest {
        actor: Actor { name: "Desk".to_owned(), desk: true },
        key: "1".to_owned(),
        scope: JobScope::Road("人民路".to_owned()),
        crew: "Crew 1".to_owned(),
        reason: "meter test".to_owned(),
        until: None,
    };
    let alerting = station.start(Vec::new()).unwrap();
    let begun = alerting.maintain(request.clone()).unwrap();
    assert_eq!((begun.outcome, begun.durable), (Outcome::Done, true));
    drop(alerting);
    station.clock.set(minutes(119));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    assert_eq!(alerting.jobs(), [begun.now]);
    assert_eq!(alerting.maintain(request).unwrap().outcome, Outcome::Again);
    station.clock.set(minutes(120));
    let told = std::iter::from_fn(|| server.within(Duration::from_secs(5)))
        .map(|request| request.json())
        .find(|told| told["event"] == "maintenance.ended");
    assert!(told.unwrap()["text"].as_str().unwrap().contains("人民路"));
    assert!(alerting.jobs().is_empty());
}
