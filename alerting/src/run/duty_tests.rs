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
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
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
