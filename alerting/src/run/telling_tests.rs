//! From a telling to people and channels, and what became of the message.

use std::time::Duration;

use lampguard_journal::FrameBuf;
use lampguard_model::record::{self, encode_reading};
use lampguard_model::{Marks, Millis, StoredReading, UNREGISTERED};

use super::*;
use crate::ask::Filter;
use crate::dispatcher::{Reached, reach};
use crate::engine::tests::{leak, minutes, stranger};
use crate::ladder::Telling;
use crate::life::tests::{crew, desk};
use crate::life::{Outcome as MoveOutcome, Verb};
use crate::rota::{Crew, Person, Rota, Whom, ZoneDuty};
use crate::run::Alerting;
use crate::run::tests::{Station, danger, open_ids, strangers, weather};
use crate::testkit::{Answer, Server, T, wait_for};

fn person(name: &str) -> Arc<Person> {
    Arc::new(Person {
        name: Arc::from(name),
        phone: Some(Arc::from("138")),
        channels: ["a", "b"].map(Arc::from).to_vec(),
    })
}

fn crew_of(id: &str, members: &[&str]) -> (Arc<str>, Arc<Crew>) {
    let members = members.iter().map(|name| person(name)).collect();
    let id: Arc<str> = Arc::from(id);
    (id.clone(), Arc::new(Crew { id, name: String::new(), vehicle: None, members }))
}

/// z1 has a crew of two, a back-up and a leader; z2 a crew alone.
fn office() -> Rota {
    let z1 = ZoneDuty {
        crew: Arc::from("A"),
        backup_crew: Some(Arc::from("B")),
        leader: Some(person("Leader")),
        neighbour: Some(Arc::from("z2")),
    };
    Rota {
        crews: [crew_of("A", &["Ann", "Al"]), crew_of("B", &["Bo"]), crew_of("C", &["Cy"])]
            .into_iter()
            .collect(),
        zones: [
            (Arc::from("z1"), z1),
            (Arc::from("z2"), ZoneDuty { crew: Arc::from("C"), ..ZoneDuty::default() }),
        ]
        .into_iter()
        .collect(),
        desk: Some(person("Desk")),
        supervisor: None,
        head: Some(person("Head")),
        ..Rota::default()
    }
}

fn names(reached: &Reached) -> Vec<&str> {
    reached.people.iter().map(|person| &*person.name).collect()
}

#[test]
fn each_duty_reaches_its_person_once_and_one_that_nobody_has_goes_to_the_desk_with_a_line() {
    let rota = office();
    let reached = |to: &Telling, zone: &str, crew: Option<&str>| reach(&rota, to, zone, crew, T);
    use Whom::{BackupCrew, Crew, Desk, Head, Leader, Neighbour, Second, Supervisor};
    let all = reached(&Telling::to(&[Crew, Second, BackupCrew, Leader, Neighbour, Desk, Head]), "z1", None);
    assert_eq!(names(&all), ["Ann", "Al", "Bo", "Leader", "Cy", "Desk", "Head"]);
    assert!(all.missing.is_empty());
    // The crew that has it, named as its token, as its id, or by one of its people.
    for name in ["B", "Bo"] {
        assert_eq!(
            names(&reached(&Telling::to(&[Crew, BackupCrew]), "z1", Some(name))),
            ["Bo", "Ann"],
            "the back-up has it: the crew on duty is its back-up"
        );
    }
    assert_eq!(names(&reached(&Telling::to(&[Crew, Neighbour]), "z1", Some("C"))), ["Cy", "Ann"]);
    assert_eq!(names(&reached(&Telling::to(&[Crew]), "z1", Some("somebody"))), ["Ann"], "the one on duty");
    let nobody = reached(&Telling::to(&[Supervisor, BackupCrew]), "z2", None);
    assert_eq!(
        (names(&nobody), nobody.missing.clone()),
        (vec!["Desk"], vec!["supervisor".to_owned(), "backup_crew".to_owned()])
    );
    let work = Telling { crews: vec![Arc::from("C"), Arc::from("Meter crew")], ..Telling::to(&[Desk]) };
    let at_work = reached(&work, "z1", None);
    assert_eq!(
        (names(&at_work), at_work.missing.clone()),
        (vec!["Desk", "Cy"], vec!["Meter crew".to_owned()])
    );
    let live = Telling { crews: vec![Arc::from("A")], urgent: true, ..Telling::to(&[Desk]) };
    assert_eq!(names(&reached(&live, "z2", None)), ["Desk", "Ann", "Al"], "each of a crew that stands there");
    let help = Telling { everybody: true, ..Telling::to(&[Desk]) };
    assert_eq!(names(&reached(&help, "z1", Some("A"))), ["Desk", "Ann", "Al", "Bo", "Leader"]);
    assert_eq!(
        names(&reached(&Telling::to(&[Leader]), "", None)),
        ["Leader"],
        "of the system every leader hears"
    );
    // Where nobody is named, the desk is every channel.
    let empty = reach(&Rota::default(), &Telling::to(&[Crew, Head]), "z1", None, T);
    assert_eq!((names(&empty), empty.missing.len()), (vec!["desk"], 0));
}

fn events(server: &Server, wanted: usize) -> Vec<serde_json::Value> {
    (0..wanted).map(|_| server.next().json()).collect()
}

#[test]
fn a_p1_goes_to_crew_desk_and_leader_at_once_each_by_every_channel_of_theirs() {
    let (station, server, other) = (Station::new(), Server::start(Vec::new()), Server::start(Vec::new()));
    let alerting = station.start_with(office(), vec![server.channel("a"), other.channel("b")]).unwrap();
    alerting.judge(Arc::new(danger()));
    for server in [&server, &other] {
        let told = events(server, 3);
        let mut to: Vec<&str> = told.iter().map(|told| told["notice"]["to"].as_str().unwrap()).collect();
        to.sort_unstable();
        assert_eq!(to, ["Ann", "Desk", "Leader"]);
        assert!(told.iter().all(|told| told["event"] == "incident.opened" && told["notice"]["step"] == 0));
        assert!(told.iter().all(|told| !told.to_string().contains("138")), "no telephone in a body");
        for told in &told {
            let link = told["notice"]["link"].as_str().unwrap();
            let is_crews = told["notice"]["to"] == "Ann";
            assert_eq!(link == "http://desk.example/c/A", is_crews, "{link}");
            assert_eq!(link.contains("/incidents/"), !is_crews, "{link}");
        }
    }
    // Nobody is supervisor: the desk hears it, and why.
    station.clock.set(minutes(10));
    let told = std::iter::from_fn(|| server.within(Duration::from_secs(3))).map(|request| request.json());
    let rung: Vec<serde_json::Value> = told.filter(|told| told["event"] == "incident.escalated").collect();
    let to_desk = rung.iter().find(|told| told["notice"]["to"] == "Desk").unwrap();
    assert!(to_desk["text"].as_str().unwrap().contains("无人可通知：supervisor"), "{to_desk}");
    assert!(rung.iter().all(|told| told["notice"]["step"] == 3), "what became due together is one telling");
    let to: Vec<&str> = rung.iter().map(|told| told["notice"]["to"].as_str().unwrap()).collect();
    let once: std::collections::BTreeSet<&&str> = to.iter().collect();
    assert_eq!(once.len(), to.len(), "each person once: {to:?}");
}

/// Two critical samples of a device that nobody registered, on the topic of such a zone.
fn of_stranger(device: &'static str, zone: Option<&'static str>, more: Marks) -> FrameBuf {
    let mut frame = weather(T - Millis::minutes(6), r#"{"rain_mm_h":0}"#);
    frame.closed_at = T.0;
    for at in [T - Millis::minutes(5), T] {
        let mut r = StoredReading { hint: zone, ..stranger(leak(at, 90.0), device) };
        r.marks.add(more);
        frame.push(record::READING, |out| encode_reading(&r, out));
    }
    frame
}

#[test]
fn a_device_that_nobody_registered_is_told_to_the_crew_of_the_zone_in_its_topic_also_after_a_kill() {
    let none = Marks::default();
    for (zone, more, expected) in [
        (Some("z1"), none, vec!["Ann", "Desk", "Leader"]),
        (Some("z1"), Marks::UNTRACKED, vec!["Ann", "Desk", "Leader"]),
        // No such zone, and no word of one: the desk alone, and every leader.
        (Some("z9"), none, vec!["Desk"]),
        (None, none, vec!["Desk"]),
    ] {
        let (station, server) = (Station::new(), Server::start(Vec::new()));
        let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
        alerting.judge(Arc::new(of_stranger("D-9", zone, more)));
        let told = events(&server, expected.len());
        let mut to: Vec<&str> = told.iter().map(|told| told["notice"]["to"].as_str().unwrap()).collect();
        to.sort_unstable();
        assert_eq!(to, expected, "{zone:?} {more:?}");
        let incident = &told[0]["incident"];
        assert_eq!(incident["zone"], UNREGISTERED, "a hint is no place");
        assert_eq!(incident["zone_hint"].as_str(), zone);
        let named = told[0]["text"].as_str().unwrap().contains("主题所示责任区");
        assert_eq!(named, zone.is_some(), "{}", told[0]["text"]);
        wait_for("the words of it", || view(&alerting).1.is_some());
        drop(alerting);
        station.clock.set(minutes(3));
        let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
        let rung =
            std::iter::from_fn(|| server.within(Duration::from_secs(10))).map(|request| request.json());
        let mut rung = rung.filter(|told| told["event"] == "incident.escalated");
        let to = rung.next().map(|told| told["notice"]["to"].as_str().unwrap().to_owned()).unwrap();
        assert_eq!(to == "Desk", expected == ["Desk"], "{zone:?} {more:?}: {to}");
        drop(alerting);
    }
}

fn view(alerting: &Alerting) -> (bool, Option<String>) {
    let incident = &alerting.incidents(&Filter::default()).unwrap().items[0];
    (incident.untold, incident.told_at.clone())
}

#[test]
fn situation_s55_a_message_that_is_refused_sends_the_next_rung_at_once_and_its_incident_stays_red() {
    let refused = std::iter::repeat_n(Answer::Status(500), 3).collect();
    let (station, server) = (Station::new(), Server::start(refused));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    assert_eq!(server.next().json()["event"], "incident.opened");
    assert_eq!(view(&alerting), (true, None), "red: no accepted message has named it");
    // What was refused goes before the rung that it brought about: the order is kept.
    let rung = |step: u64| {
        let told = std::iter::from_fn(|| server.within(Duration::from_secs(3))).map(|request| request.json());
        told.take(6).find(|told| told["notice"]["step"] == step).unwrap()
    };
    let next = rung(1);
    assert_eq!(next["event"], "incident.escalated");
    assert!(next["text"].as_str().unwrap().contains("上一级未送达"), "{next}");
    // That one fails too, and the next goes.
    rung(2);
    wait_for("it is told", || !view(&alerting).0);
    let before = view(&alerting);
    drop(alerting);
    let alerting = station.start(Vec::new()).unwrap();
    assert_eq!(view(&alerting), before, "also after a restart");
}

#[test]
fn situation_s21_peer_p13_in_a_flood_messages_are_few_and_each_p1_is_named_or_red_within_ten_minutes() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    for batch in strangers(140) {
        alerting.judge(Arc::new(batch));
    }
    wait_for("140 incidents", || open_ids(&alerting).len() == 140);
    let first = events(&server, 5);
    assert!(first.iter().all(|told| told["event"] == "incident.opened"));
    assert!(alerting.is_flood());
    // Five of their own, and five lists: the eleventh danger is named within a minute or so.
    let id = |id: &serde_json::Value| id.as_str().unwrap().to_owned();
    let mut named: std::collections::BTreeSet<String> =
        first.iter().map(|told| id(&told["incident"]["id"])).collect();
    for minute in 0..5 {
        station.clock.set(T + Millis::seconds(61 * minute));
        alerting.presence();
        let list = server.next().json();
        assert_eq!(list["event"], "digest", "minute {minute}: {list}");
        assert!(list["notice"]["link"].as_str().unwrap().ends_with('/'), "{list}");
        let incidents = list["incidents"].as_array().unwrap();
        assert!(incidents.len() <= 20, "{list}");
        named.extend(incidents.iter().map(id));
        assert_eq!(list["text"].as_str().unwrap().contains("另有"), minute < 5, "{list}");
    }
    let red = || alerting.incidents(&Filter::default()).unwrap().items.iter().filter(|i| i.untold).count();
    wait_for("who was named is told", || red() == 140 - named.len());
    assert!(named.len() >= 100, "{}", named.len());
    station.clock.set(T + Millis::seconds(599));
    alerting.presence();
    assert!(server.within(Duration::from_millis(1500)).is_none(), "ten in ten minutes, and no eleventh");
    assert_eq!(open_ids(&alerting).len(), 140, "each stays an incident of its own");
}

#[test]
fn a_kill_loses_nothing_that_waited_for_a_list_also_of_what_was_told_before() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    for batch in strangers(14) {
        alerting.judge(Arc::new(batch));
    }
    let mut told: Vec<String> =
        events(&server, 5).iter().map(|told| told["incident"]["id"].as_str().unwrap().to_owned()).collect();
    let list = server.next().json();
    told.extend(list["incidents"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    assert_eq!(told.len(), 14, "{list}");
    let untold = |alerting: &Alerting| {
        alerting.incidents(&Filter::default()).unwrap().items.iter().filter(|i| i.untold).count()
    };
    wait_for("all are told", || untold(&alerting) == 0);
    // The next rung of all of them goes into a list, and somebody takes five of them: no rung of theirs comes again.
    // No channel works meanwhile: the list is gone with the process.
    drop(alerting);
    let alerting = station.start(Vec::new()).unwrap();
    station.clock.set(T + Millis::seconds(190));
    wait_for("the rung is stored", || {
        let sql = "SELECT count(*) FROM event WHERE kind = 'rungs'";
        station.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() > 0
    });
    for id in &told {
        alerting.act(id, crew(Verb::Acknowledge, "1")).unwrap();
        alerting.act(id, crew(Verb::Depart, "1")).unwrap();
    }
    drop(alerting);
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    let list = server.next().json();
    assert_eq!((&list["event"], &list["notice"]["attempt"]), (&"digest".into(), &2.into()), "{list}");
    let mut again: Vec<&str> =
        list["incidents"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    again.sort_unstable();
    told.sort_unstable();
    assert_eq!(again, told);
    // What went out is not listed a third time.
    wait_for("it is stored", || {
        let sql = "SELECT count(*) FROM outbox WHERE event = 'digest' AND state = 'sent'";
        station.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 2
    });
    drop(alerting);
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    station.clock.set(T + Millis::seconds(240));
    alerting.presence();
    alerting.act(&told[0], crew(Verb::Note, "1")).unwrap();
    station.clock.set(T + Millis::seconds(255));
    let told =
        std::iter::from_fn(|| server.within(Duration::from_millis(1500))).map(|request| request.json());
    // Of the weather no message was kept.
    let more: Vec<serde_json::Value> = told.filter(|told| told["event"] != "weather.unknown").collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn behind_a_standstill_each_person_hears_once_of_a_danger_that_the_journal_held_by_the_highest_rung() {
    for (minute, step, event, wanted) in [
        (1, 0, "incident.opened", vec!["Ann", "Desk", "Leader"]),
        (4, 1, "incident.escalated", vec!["Al", "Ann", "Desk", "Leader"]),
        (7, 2, "incident.escalated", vec!["Al", "Ann", "Bo", "Desk", "Leader"]),
        (31, 7, "incident.breached", vec!["Al", "Ann", "Bo", "Cy", "Desk", "Head", "Leader"]),
    ] {
        let (mut station, server) = (Station::new(), Server::start(Vec::new()));
        station.keep(danger());
        station.clock.set(minutes(minute));
        let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
        let told = std::iter::from_fn(|| server.within(Duration::from_millis(1500)))
            .map(|request| request.json())
            .filter(|told| !told["incident"]["id"].is_null());
        let told: Vec<_> = told.collect();
        let mut to: Vec<&str> = told.iter().map(|told| told["notice"]["to"].as_str().unwrap()).collect();
        to.sort_unstable();
        assert_eq!(to, wanted, "{minute}: {told:?}");
        for told in &told {
            assert_eq!((&told["event"], &told["notice"]["step"]), (&event.into(), &step.into()), "{minute}");
            assert_eq!(told["notice"]["attempt"], 2, "it may have been told before: {told}");
        }
        drop(alerting);
    }
}

#[test]
fn words_that_wait_for_a_list_stand_in_the_next_one_after_a_kill_marked_and_once() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
    for batch in strangers(14) {
        alerting.judge(Arc::new(batch));
    }
    let lists = |server: &Server, of: &str| -> Vec<serde_json::Value> {
        let told =
            std::iter::from_fn(|| server.within(Duration::from_millis(1500))).map(|request| request.json());
        let list = |told: &serde_json::Value| told["event"] == "digest" && told["notice"]["to"] == *of;
        told.filter(list).collect()
    };
    assert_eq!(lists(&server, "Desk").len(), 1, "of what is no crew's the desk hears");
    let ids = open_ids(&alerting);
    station.clock.set(T + Millis::seconds(20));
    // One is withdrawn by two people, one goes to another crew, of one nobody shows that he is there.
    let mut second = desk(Verb::Void, "2");
    second.actor.name = "Chief".to_owned();
    let first = alerting.act(&ids[0].0, desk(Verb::Void, "1")).unwrap();
    let MoveOutcome::Second(pending) = first.outcome else { panic!("{first:?}") };
    second.body.second = Some(pending);
    assert_eq!(alerting.act(&ids[0].0, second).unwrap().now.state, "void");
    let mut reassign = desk(Verb::Reassign, "1");
    reassign.body.to = Some("B".to_owned());
    alerting.act(&ids[1].0, reassign).unwrap();
    assert!(lists(&server, "Desk").is_empty(), "a list comes a minute behind the last one");
    drop(alerting);
    // It was down for longer than a flood looks back.
    station.clock.set(minutes(15));
    let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
    let told = lists(&server, "Desk");
    let words = |told: &[serde_json::Value], id: &str| -> Vec<String> {
        let words = told.iter().filter_map(|list| list["words"][id].as_array());
        words.flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    assert!(words(&told, &ids[0].0).contains(&"incident.voided".to_owned()), "{told:?}");
    assert!(words(&told, &ids[1].0).contains(&"incident.reassigned".to_owned()), "{told:?}");
    let first = told.iter().find(|list| !list["words"][&ids[0].0].is_null()).unwrap();
    assert_eq!(first["notice"]["attempt"], 2, "it may have been told before: {first}");
    assert!(first["text"].as_str().unwrap().contains("已撤销"), "{first}");
    // What went out is not told a third time.
    wait_for("it is stored", || {
        let sql = "SELECT count(*) FROM outbox WHERE event = 'digest' AND state = 'queued'";
        station.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 0
    });
    drop(alerting);
    station.clock.set(minutes(17));
    let alerting = station.start_with(office(), vec![server.channel("a")]).unwrap();
    let more = lists(&server, "Desk");
    assert!(words(&more, &ids[0].0).is_empty() && words(&more, &ids[1].0).is_empty(), "{more:?}");
    drop(alerting);
}

#[test]
fn a_word_on_a_message_waits_beside_a_queue_that_is_full() {
    let (queue, _batches) = std::sync::mpsc::sync_channel(1);
    let heard = crate::run::heard::Heard::default();
    let hears = heard.hears(queue);
    let notice = crate::testkit::notice(&crate::testkit::incident(1), "a");
    for attempt in 1..=3 {
        hears(Delivery { notice: notice.clone(), attempt, at: T, outcome: Outcome::Sent });
    }
    assert_eq!(heard.take().iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn somebody_at_the_board_keeps_the_desk_from_being_rung() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    server.next();
    let second = |n: i64| station.clock.set(T + Millis::seconds(n));
    second(50);
    alerting.presence();
    // Behind it in the queue.
    alerting.act(&open_ids(&alerting)[0].0, crew(Verb::Note, "1")).unwrap();
    second(100);
    assert!(server.within(Duration::from_millis(1500)).is_none());
    second(111);
    let rung = server.next().json();
    assert!(rung["text"].as_str().unwrap().contains("值班台无人应答"), "{rung}");
}

#[test]
fn help_on_a_p2_rings_every_phone_and_one_that_is_refused_goes_to_those_above() {
    let (station, server, phones) =
        (Station::new(), Server::start(Vec::new()), Server::start(vec![Answer::Status(400)]));
    let mut office = office();
    office.supervisor = Some(person("Chief"));
    let alerting = station.start_with(office, vec![server.channel("a"), phones.sms("b")]).unwrap();
    let warning = |n: i64| leak(minutes(-n), 12.0);
    let mut dry = weather(minutes(-21), r#"{"rain_mm_h":0}"#);
    for reading in [warning(20), warning(10), warning(0)] {
        dry.push(record::READING, |out| encode_reading(&reading, out));
    }
    dry.closed_at = T.0;
    alerting.judge(Arc::new(dry));
    wait_for("the incident", || !open_ids(&alerting).is_empty());
    let id = open_ids(&alerting)[0].0.clone();
    assert_eq!(alerting.incident(&id).unwrap().unwrap().severity, "P2");
    alerting.act(&id, crew(Verb::Arrive, "1")).unwrap();
    assert!(phones.within(Duration::from_secs(1)).is_none(), "a P2 rings nobody");
    alerting.act(&id, crew(Verb::Help, "2")).unwrap();
    let mut to: Vec<String> = std::iter::from_fn(|| phones.within(Duration::from_secs(2)))
        .map(|request| request.json()["to"].as_str().unwrap().to_owned())
        .collect();
    to.sort();
    // Whoever is in both is called twice: it did not go out to all of them the first time.
    assert_eq!(to, ["Al", "Ann", "Bo", "Chief", "Cy", "Desk", "Desk", "Leader", "Leader"]);
    let told = std::iter::from_fn(|| server.within(Duration::from_millis(200))).map(|request| request.json());
    let chief: Vec<_> = told.filter(|told| told["notice"]["to"] == "Chief").collect();
    assert!(chief.len() == 1 && chief[0]["text"].as_str().unwrap().contains("求助"), "{chief:?}");
}

#[test]
fn a_restart_in_a_flood_gives_nobody_more_than_ten_messages_in_ten_minutes() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let batches = strangers(80);
    let messages = |server: &Server| {
        let told =
            std::iter::from_fn(|| server.within(Duration::from_millis(800))).map(|request| request.json());
        told.filter(|told| told["event"] != "weather.unknown").count()
    };
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    for batch in &batches[..41] {
        alerting.judge(Arc::new(batch.clone()));
    }
    let mut told = messages(&server);
    for minute in 1..3 {
        station.clock.set(T + Millis::seconds(61 * minute));
        alerting.presence();
        told += messages(&server);
    }
    assert!((7..10).contains(&told), "{told}: five of their own, and lists");
    drop(alerting);
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    for batch in &batches[41..] {
        alerting.judge(Arc::new(batch.clone()));
    }
    for minute in 3..10 {
        station.clock.set(T + Millis::seconds(61 * minute).min(Millis::seconds(595)));
        alerting.presence();
        told += messages(&server);
    }
    assert!(told <= 10, "{told} in ten minutes, whoever was killed in them");
    station.clock.set(T + Millis::seconds(700));
    wait_for("what waited for room", || server.within(Duration::from_millis(200)).is_some());
}
