use std::sync::Arc;

use lampguard_alerting::incident::Evidence;
use lampguard_alerting::life::{Arrival, Mark, Method, Proof, Safe, Stage};
use lampguard_alerting::{Family, Scope, Signal};
use lampguard_model::{Millis, Timestamp};

use super::*;
use crate::pages::look::test_look;
use crate::tokens::Role;

const NOW: Timestamp = Timestamp(1_795_435_200_000);

fn mark(at: Timestamp) -> Mark {
    let channel = lampguard_alerting::life::Channel::Web;
    let by = "一班".to_owned();
    Mark { by, recorded_by: None, channel, at, claimed_at: None, received_at: at, heard_through: None }
}

fn incident(due_in: Millis) -> Incident {
    let evidence = Evidence {
        kind: Kind::LeakCritical,
        field: "leakage_ma".to_owned(),
        thousandths: Some(41_000),
        limit: 15_000,
        wet: true,
        wet_because: "rain".to_owned(),
        policy_hash: Arc::from("0123"),
        measured_at: NOW,
        received_at: NOW,
        rule: "two_of_three".to_owned(),
    };
    let none: Arc<str> = Arc::from("");
    Incident {
        id: Arc::from("LG-TEST"),
        family: Family::Electric,
        severity: Severity::P1,
        scope: Scope::Post,
        post_id: Arc::from("P1"),
        feeder: none.clone(),
        zone: Arc::from("z1"),
        road: none.clone(),
        place: none,
        opened_at: NOW + due_in - Millis::minutes(30),
        due_at: NOW + due_in,
        p1_at: Some(NOW),
        members: Vec::new(),
        links: Vec::new(),
        signal: Signal::Active,
        notes: Vec::new(),
        evidence,
        kinds: vec![Kind::LeakCritical],
        life: Life::default(),
    }
}

fn shown(role: Role, incident: &Incident, telling: Option<Telling>) -> String {
    let look = test_look(Lang::Zh, Some(role));
    row(&look, &Row { incident, post: None, telling: telling.as_ref() }).0
}

#[test]
fn time_left_counts_down_turns_over_and_stops_at_the_arrival() {
    let left = |seconds, arrived: Option<i64>| {
        let mut incident = incident(Millis::seconds(seconds));
        incident.life.arrived = arrived.map(|ago| {
            let mark = mark(NOW - Millis::seconds(ago));
            Arrival { mark, proof: Proof::Post, distance_m: None, confirmed: None }
        });
        time_left(&test_look(Lang::Zh, None), &incident).0
    };
    assert!(left(1795, None).contains("<b>29:55</b>") && left(1795, None).contains("calm"));
    assert!(left(120, None).contains("near"));
    assert!(left(-75, None).contains("超时 +01:15"));
    assert!(left(60, Some(600)).contains("按时到场") && left(60, Some(600)).contains("剩余 11:00"));
    assert!(left(-600, Some(30)).contains("超时到场") && left(-600, Some(30)).contains("超时 +09:30"));
    let mut never = incident(Millis(1));
    never.due_at = lampguard_alerting::incident::NO_DUE;
    assert!(time_left(&test_look(Lang::En, None), &never).0.contains("no deadline"));
}

#[test]
fn only_an_isolation_in_force_is_shown_as_dead() {
    let of = |method: Option<Method>, restored: bool, again: bool| {
        let mut incident = incident(Millis::minutes(9));
        incident.life.safe = method.map(|method| Safe {
            mark: mark(NOW),
            method,
            breaker: None,
            extent: None,
            covers: Vec::new(),
            restored: restored.then(|| mark(NOW)),
            reenergised_at: again.then_some(NOW),
            doubted_at: None,
        });
        safety(&test_look(Lang::Zh, None), &incident).0
    };
    let live = "⚡ 未确认断电，视为带电";
    assert!(of(None, false, false).contains(live));
    assert!(of(Some(Method::Isolated), false, false).contains("safety dead\">✓ 已断电"));
    assert!(of(Some(Method::Isolated), true, false).contains(live), "power was given back");
    assert!(of(Some(Method::Isolated), false, true).contains(live), "voltage was seen again");
    for method in [Method::Guarded, Method::Barrier] {
        assert!(of(Some(method), false, false).contains("⚡ 已围护, 未断电, 视为带电"));
    }
}

#[test]
fn a_p1_that_nobody_was_told_is_loud_and_a_list_entry_is_not() {
    let telling = |first_at, queued, failed| Some(Telling { first_at, sent: 0, queued, failed });
    let text =
        |severity, telling| shown(Role::Viewer, &Incident { severity, ..incident(Millis(1000)) }, telling);
    assert!(text(Severity::P1, telling(None, 2, 1)).contains("chip bad\">⚠ 未通知到任何人 · 失败 1"));
    assert!(text(Severity::P1, telling(None, 0, 0)).contains("⚠ 未通知到任何人"));
    assert!(text(Severity::P2, telling(None, 1, 0)).contains("通知中"));
    assert!(text(Severity::P3, telling(None, 0, 0)).contains("仅列入清单"));
    assert!(text(Severity::P1, telling(Some(NOW), 0, 0)).contains("已通知 20:00:00"));
    assert!(text(Severity::P1, None).contains("? 通知情况不明"), "what cannot be read is not good news");
}

#[test]
fn page_w12_severities_differ_by_shape_and_letter_and_not_by_colour_alone() {
    let all = [Severity::P1, Severity::P2, Severity::P3, Severity::P4];
    let shapes: std::collections::BTreeSet<&str> = all.map(shape).into_iter().collect();
    assert_eq!(shapes.len(), 4);
    assert!(all.iter().all(|severity| badge(*severity).0.contains(severity.name())));
}

#[test]
fn page_w35_buttons_are_for_those_who_may() {
    let open = incident(Millis::minutes(9));
    let of = |role, incident: &Incident| shown(role, incident, None);
    assert!(of(Role::Duty, &open).contains("/incidents/LG-TEST/acknowledge"));
    assert!(of(Role::Crew, &open).contains("/incidents/LG-TEST/acknowledge"), "in its own zone");
    let other = Incident { zone: Arc::from("z2"), ..open.clone() };
    for (role, incident) in [(Role::Crew, &other), (Role::Viewer, &open), (Role::Engineer, &open)] {
        let text = of(role, incident);
        assert!(!text.contains("<form") && !text.contains("#moves"), "{role:?}: {text}");
    }
    let mut had = open;
    had.life.state = Stage::Acknowledged;
    assert!(!of(Role::Duty, &had).contains("<form"), "the desk writes departures down with a name");
    assert!(of(Role::Crew, &had).contains("/incidents/LG-TEST/depart"));
}
