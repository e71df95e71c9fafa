//! A running rota is changed at once, kept, and told in the record.

use super::*;
use crate::rota::{Stretch, Whom};
use crate::run::tests::{Station, rota, weather};

fn id(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn stretch(now: Timestamp, crew: &str) -> Stretch {
    Stretch {
        from: now,
        to: now + Millis::hours(8),
        zone: id("z1"),
        crew: Some(id(crew)),
        backup_crew: None,
        leader: None,
        reason: Some("sick".to_owned()),
        at: Timestamp(0),
        by: id("a lie"),
    }
}

fn request(overrides: Vec<Stretch>, version: Option<u64>) -> RotaRequest {
    RotaRequest { by: id("王"), version, changes: Changes { overrides, ..Changes::default() } }
}

fn crew_now(alerting: &Alerting, now: Timestamp) -> String {
    alerting.rota().on_duty("z1", now).crew.unwrap().id.to_string()
}

#[test]
fn a_change_holds_at_once_and_after_a_restart_and_stands_in_the_record_with_who() {
    let station = Station::new();
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    let now = station.clock.clock()();
    assert_eq!(crew_now(&alerting, now), "c1");
    assert!(alerting.set_rota(request(vec![stretch(now, "c2")], Some(0))).unwrap(), "durable");
    assert_eq!(crew_now(&alerting, now), "c2");
    drop(alerting);
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    assert_eq!(crew_now(&alerting, now), "c2");
    let rota = alerting.rota();
    let kept = &rota.changes.overrides[0];
    assert_eq!((&*kept.by, kept.at, rota.changes.version), ("王", now, 1), "stamps are ours");
    drop(alerting);
    let database = station.database();
    let sql = "SELECT body FROM event WHERE kind = 'rota'";
    let body: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["by"], &body["added"]["overrides"][0]["crew"]), (&"王".into(), &"c2".into()));
    crate::store::Reads::new(&database).verify().unwrap();
}

#[test]
fn what_cannot_be_and_what_is_based_on_an_older_version_changes_nothing() {
    let station = Station::new();
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    let now = station.clock.clock()();
    let wrong = alerting.set_rota(request(vec![stretch(now, "c9")], None)).unwrap_err();
    assert!(matches!(&wrong, RotaError::Wrong(faults) if faults[0].contains("overrides[0].crew")), "{wrong}");
    alerting.set_rota(request(vec![stretch(now, "c2")], None)).unwrap();
    let late = alerting.set_rota(request(Vec::new(), Some(0))).unwrap_err();
    assert!(matches!(late, RotaError::Version { sent: 0, now: 1 }), "{late}");
    assert_eq!(crew_now(&alerting, now), "c2");
}

#[test]
fn an_override_of_a_crew_that_left_the_configuration_says_nothing() {
    let station = Station::new();
    let now = station.clock.clock()();
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    alerting.set_rota(request(vec![stretch(now, "c2")], None)).unwrap();
    drop(alerting);
    let mut rota = rota();
    rota.crews.remove("c2");
    let alerting = station.start_with(rota, Vec::new()).unwrap();
    assert_eq!(crew_now(&alerting, now), "c1");
}

#[test]
fn an_official_warning_brings_reinforcement_and_is_taken_back_after_a_restart() {
    let mut station = Station::new();
    let now = station.clock.clock()();
    let back_up = |alerting: &Alerting| {
        let told = alerting.rota().people(Whom::BackupCrew, "z1", None, now);
        told.iter().map(|person| person.name.to_string()).collect::<Vec<_>>()
    };
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    assert!(back_up(&alerting).is_empty());
    let warned = || weather(now, r#"{"rain_mm_h":0,"warning":"orange"}"#);
    alerting.judge(Arc::new(warned()));
    station.keep(warned());
    crate::testkit::wait_for("reinforcement", || back_up(&alerting) == ["m2"]);
    drop(alerting);
    let alerting = station.start_with(rota(), Vec::new()).unwrap();
    assert_eq!(back_up(&alerting), ["m2"]);
    alerting.judge(Arc::new(weather(now, r#"{"rain_mm_h":0,"warning":"none"}"#)));
    crate::testkit::wait_for("their going home", || back_up(&alerting).is_empty());
}

#[test]
fn gaps_of_the_next_week_are_a_metric_that_a_change_renews() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut rota = rota();
    rota.zones.get_mut("z1").unwrap().crew = id("c3");
    let mut duty = Duty::take_back(rota.clone(), &store, &Sky::default()).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let hours = || metrics.rota_gap_hours.with_label_values(&["z1"]).get();
    let now = crate::testkit::T;
    duty.look(now, &metrics);
    assert_eq!(hours(), 168.0, "c3 has no members");
    rota.changes.overrides = vec![Stretch { to: now + Millis::hours(24), ..stretch(now, "c2") }];
    duty.put(rota);
    duty.look(now + Millis::minutes(4), &metrics);
    assert_eq!(hours(), 168.0, "it is looked at every 5 min");
    duty.look(now + Millis::minutes(5), &metrics);
    assert!((hours() - (168.0 - 24.0 + 5.0 / 60.0)).abs() < 1e-9, "{}", hours());
}

#[test]
fn another_configuration_keeps_what_the_office_changed_and_the_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut duty = Duty::take_back(rota(), &store, &Sky::default()).unwrap();
    let now = crate::testkit::T;
    duty.heed("z1", Warning::Red);
    let changes = Changes { overrides: vec![stretch(now, "c3")], ..Changes::default() };
    duty.put(Rota { changes, ..Rota::clone(&duty.now()) });
    let mut other = rota();
    other.zones.get_mut("z1").unwrap().crew = id("c2");
    duty.replace(other);
    let crew = |at| duty.now().on_duty("z1", at).crew.unwrap().id.to_string();
    assert_eq!((crew(now), crew(now + Millis::hours(9))), ("c3".to_owned(), "c2".to_owned()));
    assert!(duty.now().is_warned("z1"));
}

#[test]
fn the_desk_is_told_of_gaps_once_a_day_at_the_first_shift_and_at_once_of_a_new_one_that_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    // 2026-11-23 12:00 UTC; days begin at 08:00.
    let now = crate::testkit::T;
    let mut rota = rota();
    rota.zones.get_mut("z1").unwrap().crew = id("c3");
    rota.zones.insert(id("z2"), crate::rota::ZoneDuty { crew: id("c1"), ..Default::default() });
    let mut duty = Duty::take_back(rota.clone(), &store, &Sky::default()).unwrap();
    let told = |duty: &mut Duty, hours: i64, minutes: i64| -> Vec<String> {
        let gaps = duty.look(now + Millis::hours(hours) + Millis::minutes(minutes), &metrics);
        gaps.iter().map(|gap| gap.zone.to_string()).collect()
    };
    assert_eq!(told(&mut duty, 0, 0), ["z1"], "the desk has not heard of it at all");
    assert!((1..240).all(|step| told(&mut duty, 0, 5 * step).is_empty()));
    assert_eq!(told(&mut duty, 19, 59), Vec::<String>::new());
    assert_eq!(told(&mut duty, 20, 0), ["z1"], "08:00, to the second");
    assert_eq!(told(&mut duty, 21, 0), Vec::<String>::new());
    // In z2 somebody falls ill tomorrow: both are told at once. The day after tomorrow can wait for the morning.
    let ill = |from: i64| Stretch { zone: id("z2"), ..stretch(now + Millis::hours(from), "c3") };
    rota.changes.overrides = vec![ill(60)];
    duty.put(rota.clone());
    assert_eq!(told(&mut duty, 22, 0), Vec::<String>::new());
    rota.changes.overrides = vec![ill(30)];
    duty.put(rota.clone());
    assert_eq!(told(&mut duty, 22, 5), ["z1", "z2"]);
    assert_eq!(told(&mut duty, 22, 10), Vec::<String>::new());
    rota.zones.get_mut("z1").unwrap().crew = id("c1");
    rota.changes.overrides.clear();
    duty.put(rota);
    assert_eq!(told(&mut duty, 44, 0), Vec::<String>::new(), "no gap, no word");
}

#[test]
fn a_new_gap_of_tonight_is_told_at_once_though_the_zone_had_another_one_today() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let (now, mut rota) = (crate::testkit::T, rota());
    let mut duty = Duty::take_back(rota.clone(), &store, &Sky::default()).unwrap();
    let ill =
        |from: i64| Stretch { to: now + Millis::hours(from + 2), ..stretch(now + Millis::hours(from), "c3") };
    let looked = |duty: &mut Duty, minute: i64| duty.look(now + Millis::minutes(minute), &metrics).len();
    rota.changes.overrides = vec![ill(120)];
    duty.put(rota.clone());
    assert_eq!(looked(&mut duty, 0), 1, "in five days, with the gaps of the day");
    rota.changes.overrides.push(ill(4));
    duty.put(rota.clone());
    assert_eq!(looked(&mut duty, 5), 2, "tonight: at once");
    // While it goes on it is no news, and an earlier beginning is.
    assert!((2..60).all(|step| looked(&mut duty, 5 * step) == 0));
    rota.changes.overrides[0] = ill(20);
    duty.put(rota);
    assert_eq!(looked(&mut duty, 305), 2);
}

#[test]
fn a_gap_is_told_to_the_desk_by_a_notice_and_no_second_time_by_a_restart_on_that_day() {
    let (station, server) = (Station::new(), crate::testkit::Server::start(Vec::new()));
    let with_gap = || {
        let mut rota = rota();
        rota.zones.get_mut("z1").unwrap().crew = id("c3");
        rota
    };
    let alerting = station.start_with(with_gap(), vec![server.channel("console")]).unwrap();
    let told = server.next().json();
    assert_eq!((&told["event"], &told["incident"]), (&"rota.gap".into(), &Value::Null));
    let text = told["text"].as_str().unwrap();
    assert!(
        text.starts_with("【缺岗】") && text.contains("z1 现在 至 11-30 20:00 班组 c3 无人有通道"),
        "{text}"
    );
    crate::testkit::wait_for("the record", || {
        let sql = "SELECT count(*) FROM event WHERE kind = 'rota_gap'";
        station.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 1
    });
    alerting.shutdown();
    let again = station.start_with(with_gap(), vec![server.channel("console")]).unwrap();
    assert!(server.within(std::time::Duration::from_secs(2)).is_none(), "told already today");
    again.shutdown();
}
