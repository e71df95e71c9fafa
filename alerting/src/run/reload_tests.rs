use std::time::Duration;

use serde_json::json;

use super::*;
use crate::engine::tests::{minutes, register};
use crate::run::tests::{Station, danger, open_ids, rota};
use crate::store::FILE;
use crate::testkit::{Server, T};

use jiff::tz::TimeZone;
use lampguard_model::{Millis, Register};

fn reload(register: &Arc<Register>, changes: Vec<(&'static str, Value)>) -> Reload {
    let lighting = Arc::new(Lighting::by_sun(TimeZone::UTC, register));
    let (policy, ladders) = (Policies::default(), Ladders::default());
    Reload { register: register.clone(), lighting, policy, rota: rota(), ladders, changes }
}

fn without_p1() -> Arc<Register> {
    let all = register();
    let others = all.posts().iter().filter(|post| &*post.post_id != "P1").map(|post| (**post).clone());
    Arc::new(Register::from_posts(others.collect::<Vec<_>>()).unwrap())
}

#[test]
fn another_register_and_policy_hold_when_reload_returns_and_stand_in_the_hash_chain() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    server.next();
    let known = open_ids(&alerting);
    assert_eq!(alerting.post_state("P1").state, crate::State::Danger);
    let mut policy = crate::Policy::default();
    policy.due.p1 = Millis::minutes(20);
    let changes =
        vec![("register_changed", json!({"by": "SIGHUP", "removed": 1})), ("policy_changed", json!({}))];
    let asked = Reload { policy: policy.clone().into(), ..reload(&without_p1(), changes) };
    assert!(alerting.reload(asked).unwrap(), "durable");
    assert_eq!(open_ids(&alerting), known, "what is open stays open, with its deadline");
    let why = alerting.explain("P1");
    assert_eq!((why.what.as_str(), why.policy_hash), ("unregistered", policy.hash()));
    // Nothing changed, nothing is written.
    assert!(alerting.reload(reload(&without_p1(), Vec::new())).unwrap());
    alerting.shutdown();
    let database = station.database();
    let mut query =
        database.prepare("SELECT kind, body, incident, at FROM event WHERE kind LIKE '%_changed'").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, i64>(3)?,
        ))
    };
    let rows: Vec<_> = query.query_map([], row).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((rows[0].0.as_str(), rows[0].2.as_str(), rows[0].3), ("register_changed", "", T.0));
    assert!(rows[0].1.contains("SIGHUP"), "{rows:?}");
    crate::verify_file(&station.dir.path().join("alerting").join(FILE)).unwrap();
}

#[test]
fn a_restart_by_the_new_register_keeps_what_was_open_before_it() {
    let station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    alerting.judge(Arc::new(danger()));
    crate::testkit::wait_for("the incident", || open_ids(&alerting).len() == 1);
    alerting.reload(reload(&without_p1(), Vec::new())).unwrap();
    let known = open_ids(&alerting);
    alerting.shutdown();
    station.clock.set(minutes(10));
    let again = station.start(Vec::new()).unwrap();
    assert_eq!(open_ids(&again), known);
}

#[test]
fn when_alerting_has_ended_reload_says_so() {
    let station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    alerting.shutdown();
    let refused = alerting.reload(reload(&register(), Vec::new())).unwrap_err();
    assert!(matches!(refused, ActError::Ended), "{refused}");
}

#[test]
fn other_ladders_hold_when_reload_returns_and_the_next_rung_is_theirs() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    let opened = server.next().json();
    while server.within(Duration::from_millis(300)).is_some() {}
    let ladders = Ladders::build(&[early()], &["z1"]).unwrap();
    let changes = vec![("ladders_changed", json!({ "by": "SIGHUP" }))];
    assert!(alerting.reload(Reload { ladders, ..reload(&register(), changes) }).unwrap(), "durable");
    station.clock.set(T + Millis::seconds(70));
    let rung = server.next().json();
    assert_eq!((&rung["event"], &rung["notice"]["step"]), (&"incident.escalated".into(), &1.into()));
    assert_eq!(rung["incident"]["due_at"], opened["incident"]["due_at"], "no deadline moves");
    alerting.shutdown();
}

/// The rules' table with its second rung after one minute.
fn early() -> crate::EscalationConfig {
    let text = "severity = \"P1\"\nsteps = [{ after_min = 0, to = \"crew\" }, { after_min = 0, to = \"desk\" },\n\
        { after_min = 0, to = \"leader\" }, { after_min = 1, to = \"crew\" }, { after_min = 1, to = \"second\" },\n\
        { after_min = 6, to = \"backup_crew\" }, { after_min = 6, to = \"leader\" },\n\
        { after_min = 10, to = \"supervisor\" }, { after_min = 10, to = \"neighbour\" },\n\
        { after_min = 5, from = \"acknowledged\", to = \"crew\" },\n\
        { after_min = 10, from = \"acknowledged\", to = \"backup_crew\" },\n\
        { after_min = 15, until = \"arrived\", to = \"backup_crew\" },\n\
        { after_min = 30, every_min = 10, until = \"arrived\", to = \"head\" },\n\
        { after_min = 30, every_min = 10, until = \"arrived\", to = \"desk\" },\n\
        { after_min = 30, every_min = 10, until = \"arrived\", to = \"crew\" },\n\
        { after_min = 10, from = \"arrived\", to = \"crew\" },\n\
        { after_min = 15, every_min = 10, from = \"arrived\", to = \"desk\" },\n\
        { after_min = 15, every_min = 10, from = \"arrived\", to = \"leader\" }]\n";
    toml::from_str(text).unwrap()
}
