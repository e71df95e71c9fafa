use super::*;
use crate::board::Board;
use crate::engine::tests::mix;
use crate::incident::Event;
use crate::life::{Arrival, Channel, Mark, Proof};
use crate::store::{Store, Write};
use crate::testkit::{T, incident};

fn mark(at: Timestamp) -> Mark {
    Mark {
        by: "张三".to_owned(),
        recorded_by: None,
        channel: Channel::Web,
        at,
        claimed_at: None,
        received_at: at,
        heard_through: None,
    }
}

fn arrival(at: Timestamp) -> Arrival {
    Arrival { mark: mark(at), proof: Proof::Unproven, distance_m: None, confirmed: None }
}

fn event(of: &Incident, step: u64, kind: &'static str) -> Event {
    let (incident, at) = (of.id.clone(), of.opened_at);
    Event { key: format!("{incident}:{step}"), incident, at, kind, body: "{}".to_owned() }
}

/// What may happen to an incident next; the word of its record.
fn happen(of: &mut Incident, dice: u64, now: Timestamp) -> &'static str {
    match dice % 8 {
        0 if of.life.arrived.is_none() => {
            of.life.arrived = Some(arrival(now));
            of.life.state = Stage::Arrived;
            "arrive"
        }
        1 if of.life.breached_at.is_none() => {
            of.life.breached_at = Some(now);
            "breached"
        }
        2 if of.severity == Severity::P2 => {
            (of.severity, of.p1_at) = (Severity::P1, Some(now));
            of.life.on_p1(false);
            "escalated"
        }
        3 if of.life.arrived.is_some() => {
            of.life.denied.extend(of.life.arrived.take());
            of.life.state = Stage::Departed;
            "confirm_arrival"
        }
        4 if dice >> 8 & 3 == 0 => {
            let void = dice >> 10 & 3 == 0 && of.life.passed.is_none();
            of.life.state = if void { Stage::Void } else { Stage::Closed };
            of.life.ended = Some(mark(now));
            "closed"
        }
        5 if of.life.arrived.is_some() => {
            let mut safe = crate::testkit::isolated(now).safe;
            std::mem::swap(&mut of.life.safe, &mut safe);
            of.life.passed = of.life.passed.take().or_else(|| of.life.way());
            let crew = Arc::from(["c1", "c2"][(dice >> 12) as usize % 2]);
            if let Some(passed) = of.life.passed.as_mut().filter(|_| safe.is_none()) {
                (passed.crew, passed.breached) = (Some(crew), dice >> 13 & 1 == 1);
            }
            of.life.state = Stage::MadeSafe;
            "make_safe"
        }
        6 => {
            of.life.told_at = Some(now);
            of.life.acknowledged = Some(mark(now + Millis::seconds(5)));
            "acknowledge"
        }
        7 if of.life.safe.is_some() => {
            let cause = if dice >> 14 & 1 == 0 { "false" } else { "wet joint" }.to_owned();
            of.life.repaired =
                Some(crate::life::Repair { mark: mark(now), cause, parts: String::new(), reading: None });
            "repair"
        }
        _ => "note",
    }
}

#[test]
fn totals_counted_as_incidents_go_on_are_those_of_the_store_and_never_fall() {
    let seed = 7u64;
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut board = Board::default();
    let mut incidents: Vec<Incident> = Vec::new();
    let mut before = ByZone::new();
    for step in 0..3000 {
        let dice = mix(seed << 32 | step);
        let now = T + Millis::seconds(30 * step as i64);
        if step.is_multiple_of(14) {
            let mut new = incident(incidents.len());
            let due = if dice >> 24 & 1 == 0 { Millis::minutes(30) } else { Millis::hours(24) };
            (new.opened_at, new.due_at) = (now, now + due);
            (new.severity, new.p1_at) = (Severity::P2, None);
            new.zone = Arc::from(["z1", "z2"][(dice >> 4) as usize % 2]);
            new.life.drill = (dice >> 16).is_multiple_of(9);
            if dice >> 40 & 3 == 0 {
                new.life.follows = vec![Arc::from("LG-OLD")];
            }
            let opened = event(&new, step, "opened");
            store.commit(&[Write::Open(Box::new(new.clone()), opened, Vec::new())]).unwrap();
            board.put(new.clone(), None);
            incidents.push(new);
            continue;
        }
        let place = (dice >> 20) as usize % incidents.len();
        let of = &mut incidents[place];
        if crate::life::is_over(of.life.state) {
            continue;
        }
        let kind = happen(of, dice, now);
        store.commit(&[Write::Change(Box::new(of.clone()), event(of, step, kind))]).unwrap();
        board.put(of.clone(), None);
        if step % 100 == 1 {
            let (counted, stored) = (board.totals().clone(), store.reads().totals().unwrap());
            assert_eq!(counted, stored, "seed {seed}, step {step}");
            for (zone, was) in &before {
                let mut grown = was.clone();
                grown += &Totals::default();
                let now = &counted[zone];
                assert!(now.opened >= grown.opened && now.arrived >= grown.arrived, "{zone} {step}");
                assert!(now.breached >= was.breached && now.closed >= was.closed, "{zone} {step}");
                assert!(now.responses >= was.responses && now.response >= was.response, "{zone} {step}");
                assert!(now.within.iter().zip(was.within).all(|(now, was)| *now >= was), "{zone} {step}");
                let (now, was) = (&now.handling, &was.handling);
                let stages = || now.stages.iter().zip(&was.stages);
                assert!(
                    stages().all(|(now, was)| now.count >= was.count && now.time >= was.time),
                    "{zone} {step}"
                );
                assert!(now.repeats >= was.repeats && now.voided >= was.voided, "{zone} {step}");
                assert!(now.false_alarms >= was.false_alarms, "{zone} {step}");
                let grew = |(crew, was): (&Arc<str>, &OfCrew)| {
                    let now = now.crews.get(crew).copied().unwrap_or_default();
                    now.arrived >= was.arrived && now.breached >= was.breached
                };
                assert!(was.crews.iter().all(grew), "{zone} {step}");
            }
            before = counted;
        }
    }
    let all = store.reads().totals().unwrap();
    let sum = |of: fn(&Totals) -> u64| all.values().map(of).sum::<u64>();
    assert!(sum(|t| t.opened) > 80 && sum(|t| t.arrived) > 40 && sum(|t| t.breached) > 40, "{all:?}");
    assert!(sum(|t| t.responses) > 10 && sum(|t| t.responses) < sum(|t| t.arrived), "{all:?}");
    assert!(sum(|t| t.closed) > 20 && sum(|t| t.within[4]) > 0, "{all:?}");
    assert!(sum(|t| t.handling.stages[3].count) > 10 && sum(|t| t.handling.stages[4].count) > 2, "{all:?}");
    assert!(sum(|t| t.handling.repeats) > 2 && sum(|t| t.handling.voided) > 0, "{all:?}");
    assert!(sum(|t| t.handling.false_alarms) > 0, "{all:?}");
    assert!(all.values().all(|totals| totals.handling.crews.len() == 2), "{all:?}");
}

#[test]
fn an_arrival_is_measured_from_when_the_danger_was_known_as_what_it_is() {
    let minutes = |minutes: i64| T + Millis::minutes(minutes);
    let mut life = Life { arrived: Some(arrival(minutes(40))), ..Life::default() };
    let of = |p1_at, life: &Life| Totals::of(true, T, p1_at, life);
    assert_eq!(of(None, &life).response, Millis::minutes(40));
    let p1 = of(Some(minutes(30)), &life);
    assert_eq!((p1.response, p1.within), (Millis::minutes(10), [0, 1, 1, 1, 1, 1]));
    // It came before there was a P1.
    assert_eq!(of(Some(minutes(50)), &life).response, Millis::minutes(40));
    // A claimed time before the opening is no negative time.
    life.arrived = Some(arrival(minutes(-1)));
    assert_eq!(of(None, &life).within, [1; 6]);
    life.drill = true;
    assert_eq!(of(None, &life), Totals::default());
}

#[test]
fn a_response_is_that_of_the_reports_a_worklist_and_a_fault_of_the_system_have_none() {
    let mut one = incident(1);
    one.life.arrived = Some(arrival(T + Millis::minutes(20)));
    let of = |incident: &Incident| {
        let totals = Totals::of_incident(incident);
        (totals.arrived, totals.responses, totals.within[4], totals.response)
    };
    (one.severity, one.p1_at, one.opened_at, one.due_at) = (Severity::P2, None, T, T + Millis::hours(24));
    assert_eq!(of(&one), (1, 0, 0, Millis(0)), "due in a day");
    one.due_at = T + Millis::hours(2);
    assert_eq!(of(&one), (1, 1, 1, Millis::minutes(20)));
    one.scope = Scope::System;
    assert_eq!(of(&one), (1, 0, 0, Millis(0)), "the system's own");
}

#[test]
fn an_old_incident_that_is_only_annotated_counts_nothing_and_ends_are_shown_once() {
    let mut board = Board::default();
    let mut old = incident(1);
    (old.life.state, old.life.ended) = (Stage::Closed, Some(mark(T)));
    board.put(old, None);
    assert!(board.totals().is_empty(), "{:?}", board.totals());
    let next = board.ended_since(0).next;
    for n in 10..1500 {
        let mut one = incident(n);
        board.put(one.clone(), None);
        (one.life.state, one.life.ended) = (Stage::Closed, Some(mark(T)));
        board.put(one, None);
        if n == 12 {
            let ended = board.ended_since(next);
            let ids: Vec<_> = ended.incidents.iter().map(|incident| &*incident.id).collect();
            assert_eq!((ids, ended.missed), (vec!["LG-TEST10", "LG-TEST11", "LG-TEST12"], 0));
            assert!(board.ended_since(ended.next).incidents.is_empty());
        }
    }
    let ended = board.ended_since(next);
    assert_eq!((ended.incidents.len(), ended.missed), (1024, 1490 - 1024));
    assert_eq!(board.totals()["z1"].closed, 1490);
}

#[test]
fn numbers_that_stand_for_words_in_databases_are_those_of_every_state_severity_and_signal() {
    use crate::incident::Signal;
    use crate::life::STAGES;
    use lampguard_model::series::{INCIDENT_STATES, SEVERITIES, SIGNALS};
    let words =
        |codes: &[lampguard_model::series::Code]| codes.iter().map(|code| code.word).collect::<Vec<_>>();
    assert_eq!(words(&INCIDENT_STATES), STAGES.map(Stage::name));
    let severities = [Severity::P1, Severity::P2, Severity::P3, Severity::P4];
    assert_eq!(words(&SEVERITIES), severities.map(Severity::name));
    let signals = [Signal::Active, Signal::Normal, Signal::Unpowered, Signal::Silent];
    assert_eq!(words(&SIGNALS), signals.map(Signal::name));
}

#[test]
fn a_notice_and_a_report_call_a_state_by_the_word_that_pages_and_dashboards_have_for_it() {
    use crate::report::{Month, Row, month_csv};
    use lampguard_model::series::INCIDENT_STATES;
    let zh = |word: &str| INCIDENT_STATES.iter().find(|state| state.word == word).unwrap().zh;
    let events =
        ["acknowledged", "departed", "arrived", "made_safe", "repaired", "closed", "returned", "pending"];
    for (event, state) in
        events.map(|word| (word, word)).into_iter().chain([("verified", "verifying"), ("voided", "void")])
    {
        let event = format!("incident.{event}");
        assert_eq!(crate::notice_text::moved_title(&event, true), zh(state), "{event}");
    }
    let [month, from, to, time_zone, made_at] = Default::default();
    let month = Month { month, from, to, time_zone, made_at, rows: Vec::new(), total: Row::default() };
    let csv = month_csv(&month, true);
    for word in ["arrived", "closed", "void"] {
        assert!(csv.lines().next().unwrap().contains(zh(word)), "{word}: {csv}");
    }
}
