//! Another crew gets it: who is called then; and whose word counts as that of a crew.

use super::ladder::{UP, at, raised_until, rungs, two_crews, watch};
use super::*;
use crate::ladder::Ladders;
use crate::life::Verb;
use crate::life::tests::{crew, desk};
use crate::rota;
use crate::rota::Whom::{BackupCrew, Crew, Desk, Leader};

#[test]
fn another_crew_that_gets_what_a_crew_had_arrived_at_is_called_from_the_first_rung_and_stands_there_anew() {
    let (mut city, id) = raised_until(6, 0);
    let mut there = crew(Verb::Arrive, "1");
    there.body.post = Some("P1".to_owned());
    city.moved(minutes(6), &id, there.clone());
    watch(&mut city, minutes(6), 16 * 60);
    let steps: Vec<u32> = rungs(&city, minutes(6)).iter().map(|(_, step, ..)| *step).collect();
    assert_eq!(steps, [8, 9], "the one that stands there");
    city.effects.clear();
    city.moved(minutes(23), &id, desk(Verb::Reassign, "1"));
    watch(&mut city, minutes(23), 239);
    let told: Vec<(i64, u32)> = rungs(&city, minutes(23)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(0, 6), (180, 1)], "the first rungs, and that nobody stands there after 15 minutes");
    let first = rungs(&city, minutes(23)).remove(0).3;
    assert!([Crew, Desk, Leader, BackupCrew].iter().all(|whom| first.contains(whom)), "{first:?}");
    // The first arrival stays the one that counts for the deadline; the rungs of who stands there begin anew.
    (there.actor.name, there.body.key) = ("Crew 2".to_owned(), "2".to_owned());
    let arrived = city.moved(minutes(28), &id, there);
    assert_eq!(arrived.life.arrived_at(), Some(minutes(6)));
    city.effects.clear();
    watch(&mut city, minutes(28), 960);
    let told: Vec<(i64, u32)> = rungs(&city, minutes(28)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(600, 8), (900, 9)]);
}

#[test]
fn another_crew_that_gets_what_a_crew_had_arrived_at_is_awaited_at_the_board() {
    let (mut city, id) = raised_until(6, 0);
    city.moved(minutes(6), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(7), &id, desk(Verb::Reassign, "1"));
    (0..90).for_each(|second| city.tick(at(7, second)));
    let rung = city
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Moved { event, .. } if event.body.contains("board_closed")));
    assert!(rung);
}

#[test]
fn another_crew_that_gets_a_p2_is_told() {
    let mut city = City::new();
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    let id = city.the_incident().id.to_string();
    watch(&mut city, minutes(2), 60);
    city.moved(minutes(3), &id, crew(Verb::Acknowledge, "1"));
    watch(&mut city, minutes(3), 60);
    city.moved(minutes(4), &id, desk(Verb::Reassign, "1"));
    watch(&mut city, minutes(4), 600);
    assert_eq!(rungs(&city, minutes(4)), [(0, 0, UP, vec![Crew, Desk])], "once");
}

#[test]
fn a_rung_of_a_p2_that_falls_on_its_deadline_is_told() {
    let text = "severity = \"P2\"\nsteps = [\n{ after_min = 0, to = \"crew\" },\n\
        { after_min = 0, to = \"desk\" },\n{ after_min = 30, until = \"arrived\", to = \"leader\" }]\n";
    let mut city = City::new();
    city.engine.set_ladders(Ladders::build(&[toml::from_str(text).unwrap()], &["z1"]).unwrap());
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    let opened = city.the_incident().opened_at;
    watch(&mut city, opened, 1900);
    assert_eq!(rungs(&city, opened), [(1801, 1, UP, vec![Leader])]);
    assert!(city.the_incident().life.breached_at.is_some(), "its breach is counted");
}

#[test]
fn where_planned_work_goes_on_a_crew_that_the_desk_calls_is_called_at_once() {
    let mut city = planned::at_work();
    (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
    let id = city.the_incident().id.to_string();
    city.moved(minutes(6), &id, desk(Verb::Reassign, "1"));
    watch(&mut city, minutes(6), 181);
    let told: Vec<(i64, u32)> = rungs(&city, minutes(6)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(0, 0), (180, 1)]);
}

#[test]
fn the_desk_departs_and_arrives_for_a_member_that_it_names_and_nobody_invented_stops_a_rung() {
    let person = |name: &str| {
        let (name, channels) = (Arc::from(name), vec![Arc::from("console")]);
        Arc::new(rota::Person { name, phone: None, channels })
    };
    let mut rota = two_crews();
    let crew_a = rota::Crew {
        id: Arc::from("A"),
        name: "一班".to_owned(),
        members: ["Ann", "Al"].map(person).to_vec(),
        ..rota::Crew::default()
    };
    rota.crews.insert(Arc::from("A"), Arc::new(crew_a));
    rota.head = Some(person("Head"));
    let (mut city, id) = raised_until(6, 0);
    city.engine.set_rota(Arc::new(rota));
    for (verb, of, allowed) in [
        (Verb::Depart, None, false),
        (Verb::Arrive, None, false),
        (Verb::Acknowledge, Some("Nobody"), false),
        (Verb::Depart, Some("nobody"), false),
        (Verb::Acknowledge, None, true),
        (Verb::Acknowledge, Some(" Ann "), true),
        (Verb::Depart, Some("一班"), true),
        (Verb::Arrive, Some("A"), true),
        (Verb::Note, Some("Head"), true),
    ] {
        let mut m = desk(verb, &format!("{verb:?}{of:?}"));
        m.body.on_behalf_of = of.map(ToOwned::to_owned);
        let answer = city.act(minutes(6), &id, m);
        assert_eq!(answer.is_ok(), allowed, "{verb:?} {of:?}");
        if let Err(refused) = answer {
            assert!(matches!(refused, Refused::Body { .. }), "{refused}");
            let says = refused.to_string();
            let expected = if of.is_some() { "its crew has Ann, Al" } else { "on_behalf_of is missing" };
            assert!(says.contains(expected), "{says}");
        }
    }
    let mut late = desk(Verb::Depart, "late");
    late.body.on_behalf_of = None;
    let refused = city.act(minutes(7), &id, late).unwrap_err();
    assert!(matches!(refused, Refused::State { .. }), "what cannot be is said first: {refused}");
}
