//! Another crew gets it: who is called then; and whose word counts as that of a crew, of the next shift, of somebody
//! other than the repairer.

use super::flood::{handovers, shifts};
use super::ladder::{UP, at, raised_until, rungs, two_crews, watch};
use super::*;
use crate::ladder::Ladders;
use crate::life::Verb;
use crate::life::tests::{crew, desk};
use crate::rota::Whom::{BackupCrew, Crew, Desk, Leader};
use crate::rota::{self, Rota};

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

fn calls_of_the_desk(city: &City) -> usize {
    let is_call =
        |effect: &&Effect| matches!(effect, Effect::Moved { event, .. } if event.kind == "call_wanted");
    city.effects.iter().filter(is_call).count()
}

#[test]
fn an_arrival_of_a_second_crew_that_is_not_proven_is_called_about_whatever_was_of_the_first() {
    for proven in [true, false] {
        let (mut city, id) = raised_until(6, 0);
        let mut first = crew(Verb::Arrive, "1");
        first.body.post = proven.then(|| "P1".to_owned());
        city.moved(minutes(6), &id, first);
        watch(&mut city, minutes(6), 301);
        assert_eq!(calls_of_the_desk(&city), usize::from(!proven));
        city.moved(minutes(12), &id, desk(Verb::Reassign, "1"));
        city.moved(minutes(20), &id, other(Verb::Arrive, "2"));
        city.effects.clear();
        watch(&mut city, minutes(20), 301);
        assert_eq!(calls_of_the_desk(&city), 1, "of the first: proven {proven}");
    }
}

#[test]
fn who_arrives_behind_an_arrival_that_was_none_has_the_rungs_of_who_stands_there_anew() {
    let (mut city, id) = raised_until(6, 0);
    city.moved(minutes(6), &id, crew(Verb::Arrive, "1"));
    watch(&mut city, minutes(6), 16 * 60);
    let mut no = desk(Verb::ConfirmArrival, "n");
    no.body.answer = Some("no".to_owned());
    city.moved(minutes(23), &id, no);
    city.moved(minutes(25), &id, crew(Verb::Arrive, "2"));
    city.effects.clear();
    watch(&mut city, minutes(25), 960);
    let told: Vec<(i64, u32)> = rungs(&city, minutes(25)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(600, 8), (900, 9)]);
}

#[test]
fn a_crew_that_was_clear_and_says_again_that_it_arrived_moves_no_rung_of_who_stands_there() {
    let back = |city: &mut City, id: &str, minute: i64| {
        let mut clear = crew(Verb::Note, "clear");
        clear.body.clear = true;
        city.moved(minutes(minute), id, clear);
        let again = city.moved(minutes(minute + 1), id, crew(Verb::Arrive, "back"));
        assert_eq!(again.life.present_arrival().map(|arrival| arrival.mark.at), Some(minutes(minute + 1)));
    };
    // Of the first crew that came, of one that came in its place, and of one behind an arrival that was none.
    for case in 0..3 {
        let (mut city, id) = raised_until(6, 0);
        if case > 0 {
            city.moved(minutes(6), &id, other(Verb::Arrive, "1"));
            let mut next =
                if case == 1 { desk(Verb::Reassign, "2") } else { desk(Verb::ConfirmArrival, "2") };
            next.body.answer = (case == 2).then(|| "no".to_owned());
            city.moved(minutes(7), &id, next);
        }
        city.moved(minutes(8), &id, crew(Verb::Arrive, "3"));
        back(&mut city, &id, 12);
        city.effects.clear();
        watch(&mut city, minutes(13), 11 * 60);
        let told: Vec<(i64, u32)> =
            rungs(&city, minutes(8)).iter().map(|(s, step, ..)| (*s, *step)).collect();
        assert_eq!(told, [(600, 8), (900, 9)], "case {case}");
    }
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

/// Crew A (一班) of Ann and Al, crew B (二班) of Bob, and people who drive nowhere: desk, leader, head.
fn with_people() -> Rota {
    let person = |name: &str| {
        let (name, channels) = (Arc::from(name), vec![Arc::from("console")]);
        Arc::new(rota::Person { name, phone: None, channels })
    };
    let mut rota = two_crews();
    for (id, name, members) in [("A", "一班", &["Ann", "Al"][..]), ("B", "二班", &["Bob"])] {
        let members = members.iter().map(|name| person(name)).collect();
        let crew = rota::Crew { id: Arc::from(id), name: name.to_owned(), vehicle: None, members };
        rota.crews.insert(Arc::from(id), Arc::new(crew));
    }
    rota.zones.values_mut().for_each(|zone| zone.leader = Some(person("Leader")));
    (rota.desk, rota.head) = (Some(person("Desk man")), Some(person("Head")));
    rota
}

fn on_behalf_of(name: &str, verb: Verb, key: &str) -> Move {
    let mut m = desk(verb, key);
    m.body.on_behalf_of = Some(name.to_owned());
    m
}

fn by(name: &str, verb: Verb, key: &str) -> Move {
    let mut m = crew(verb, key);
    (m.actor.name, m.body.reason) = (name.to_owned(), None);
    m
}

#[test]
fn the_desk_departs_and_arrives_for_a_member_that_it_names_and_nobody_invented_stops_a_rung() {
    let (mut city, id) = raised_until(6, 0);
    city.engine.set_rota(Arc::new(with_people()));
    for (verb, of, allowed) in [
        (Verb::Depart, None, false),
        (Verb::Arrive, None, false),
        (Verb::Acknowledge, Some("Nobody"), false),
        (Verb::Depart, Some("nobody"), false),
        // People of the rota who drive nowhere.
        (Verb::Acknowledge, Some("Head"), false),
        (Verb::Acknowledge, Some("Desk man"), false),
        (Verb::Acknowledge, Some("Leader"), false),
        (Verb::Depart, Some("Head"), false),
        (Verb::Arrive, Some("Leader"), false),
        (Verb::Accept, Some("Desk man"), false),
        (Verb::Acknowledge, None, true),
        (Verb::Accept, None, false),
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
            let expected = if of.is_some() { "say one of Ann, Al" } else { "on_behalf_of is missing" };
            assert!(says.contains(expected), "{says}");
        }
    }
    let mut late = desk(Verb::Depart, "late");
    late.body.on_behalf_of = None;
    let refused = city.act(minutes(7), &id, late).unwrap_err();
    assert!(matches!(refused, Refused::State { .. }), "what cannot be is said first: {refused}");
}

#[test]
fn the_word_of_a_desk_a_leader_or_the_head_stops_no_rung_of_a_p1() {
    for (name, stops) in [("Desk man", false), ("Leader", false), ("Head", false), ("Ann", true)] {
        let (mut city, id) = raised_until(6, 0);
        city.engine.set_rota(Arc::new(with_people()));
        let said = city.act(minutes(6), &id, on_behalf_of(name, Verb::Acknowledge, "1"));
        assert_eq!(said.is_ok(), stops, "{name}");
        watch(&mut city, minutes(6), 600);
        let steps: Vec<u32> = rungs(&city, minutes(5)).iter().map(|(_, step, ..)| *step).collect();
        assert_eq!(steps, if stops { vec![4, 5] } else { vec![1, 2, 3] }, "{name}");
    }
}

#[test]
fn a_slip_in_the_name_of_another_crew_is_refused_with_the_names_that_there_are() {
    let (mut city, id) = raised_until(6, 0);
    city.engine.set_rota(Arc::new(with_people()));
    city.moved(minutes(6), &id, by("A", Verb::Acknowledge, "1"));
    let to = |name: &str, key: &str| {
        let mut m = desk(Verb::Reassign, key);
        m.body.to = Some(name.to_owned());
        m
    };
    for slip in ["C9", "Head"] {
        let refused = city.act(minutes(7), &id, to(slip, "1")).unwrap_err();
        assert!(matches!(refused, Refused::Body { .. }), "422: {refused}");
        assert!(refused.to_string().contains("say one of A (一班), B (二班)"), "{refused}");
        let life = &city.engine.open_incidents().next().unwrap().life;
        assert_eq!(life.crew.as_deref(), Some("A"), "it stays with whoever has it");
    }
    for (n, name) in [" B ", "二班", "Bob"].into_iter().enumerate() {
        let after = city.moved(minutes(8), &id, to(name, &format!("b{n}")));
        assert_eq!(after.life.crew.as_deref(), Some(name.trim()));
    }
}

#[test]
fn no_name_of_the_crew_that_repaired_it_verifies_it_where_one_of_the_names_is_no_persons() {
    for (repairer, verifier, allowed) in [
        (on_behalf_of("Ann", Verb::Repair, "1"), by("A", Verb::Verify, "1"), false),
        (on_behalf_of("Ann", Verb::Repair, "1"), by("一班", Verb::Verify, "1"), false),
        (by("ann", Verb::Repair, "1"), by("A", Verb::Verify, "1"), false),
        (by("A", Verb::Repair, "1"), on_behalf_of("Ann", Verb::Verify, "1"), false),
        (by("A", Verb::Repair, "1"), on_behalf_of("一班", Verb::Verify, "1"), false),
        (by("Ann", Verb::Repair, "1"), by("Al", Verb::Verify, "1"), true),
        (by("A", Verb::Repair, "1"), by("B", Verb::Verify, "1"), true),
        (by("A", Verb::Repair, "1"), on_behalf_of("Bob", Verb::Verify, "1"), true),
        (by("A", Verb::Repair, "1"), desk(Verb::Verify, "1"), true),
    ] {
        let (mut city, id) = raised_until(6, 0);
        city.engine.set_rota(Arc::new(with_people()));
        city.moved(minutes(6), &id, by("A", Verb::Arrive, "1"));
        city.moved(minutes(7), &id, by("A", Verb::MakeSafe, "1"));
        city.moved(minutes(10), &id, repairer.clone());
        for minute in [20, 50, 60] {
            city.read(&moves::lit(minutes(minute), 1.0));
        }
        let verified = city.act(minutes(61), &id, verifier.clone());
        let names = (repairer.by(), verifier.by());
        assert_eq!(verified.is_ok(), allowed, "{names:?}: {:?}", verified.as_ref().err());
        if let Err(refused) = verified {
            assert!(matches!(refused, Refused::Person { .. }), "{names:?}: {refused}");
        }
    }
}

#[test]
fn a_change_of_shift_is_answered_by_the_crew_that_comes_and_by_nobody_else() {
    for (accept, allowed, answers) in [
        (desk(Verb::Accept, "a"), false, false),
        (by("day", Verb::Accept, "a"), true, false),
        (on_behalf_of("night", Verb::Accept, "a"), true, true),
        (by("night", Verb::Accept, "a"), true, true),
    ] {
        let mut city = City::new();
        shifts(&mut city);
        (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
        let id = city.the_incident().id.to_string();
        city.moved(minutes(6), &id, by("day", Verb::Acknowledge, "1"));
        (7..=31).for_each(|minute| city.tick(minutes(minute)));
        let said = city.act(minutes(32), &id, accept.clone());
        assert_eq!(said.is_ok(), allowed, "{accept:?}");
        if let Err(refused) = said {
            assert!(refused.to_string().contains("on_behalf_of is missing"), "{refused}");
        }
        let crew = if answers { "night" } else { "day" };
        assert_eq!(city.the_incident().life.crew.as_deref(), Some(crew), "{accept:?}");
        (33..=45).for_each(|minute| city.tick(minutes(minute)));
        let warned = handovers(&city).iter().any(|(_, kind, ..)| *kind == "not_accepted");
        assert_eq!(warned, !answers, "{accept:?}");
    }
}

#[test]
fn an_incident_counts_for_the_crew_that_has_it_when_it_is_first_made_safe_whatever_comes_later() {
    let passed = |rota: Rota, who: &str, arrives: i64| {
        let (mut city, id) = raised_until(6, 0);
        city.engine.set_rota(Arc::new(rota));
        city.moved(minutes(arrives), &id, by(who, Verb::Arrive, "1"));
        let first = city.moved(minutes(arrives + 3), &id, by(who, Verb::MakeSafe, "1")).life.passed;
        let mut other = desk(Verb::Reassign, "1");
        other.body.to = Some("B".to_owned());
        city.moved(minutes(arrives + 4), &id, other);
        let again = city.moved(minutes(arrives + 5), &id, by("Bob", Verb::MakeSafe, "2")).life.passed;
        assert_eq!(first, again, "{who}");
        let passed = first.unwrap();
        assert_eq!((passed.arrived_at, passed.made_safe_at), (Some(minutes(arrives)), minutes(arrives + 3)));
        (passed.crew.as_deref().map(ToOwned::to_owned), passed.breached)
    };
    assert_eq!(passed(with_people(), "Ann", 8), (Some("A".to_owned()), false));
    assert_eq!(passed(with_people(), "二班", 50), (Some("B".to_owned()), true));
    assert_eq!(passed(with_people(), "Stranger", 8), (None, false));
    let mut nameless = two_crews();
    for crew in nameless.crews.values_mut() {
        Arc::make_mut(crew).members.clear();
    }
    assert_eq!(passed(nameless, "Stranger", 8), (Some("A".to_owned()), false));
}
