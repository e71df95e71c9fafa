//! Nobody at the board, deadlines that were there before the P1, lists that did not go out.

use super::ladder::{UP, at, rungs, watch};
use super::*;
use crate::dispatcher::{Dispatcher, Route, Scene};
use crate::incident::Severity;
use crate::ladder::{Ladders, Telling};
use crate::life::Verb;
use crate::life::tests::crew;
use crate::notice::Notice;
use crate::rota::{Rota, Whom};
use Whom::{Crew, Desk, Head, Leader, Second};

const LATE: &str = "incident.breached";

/// A shell warning at P1 since minute 2, due half an hour later.
fn warned() -> City {
    let mut city = City::new();
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    assert_eq!(city.the_incident().severity, Severity::P2);
    city
}

/// Minutes pass with nobody at the board.
fn alone(city: &mut City, from: Timestamp, seconds: i64) {
    (0..=seconds).for_each(|second| city.tick(from + Millis::seconds(second)));
}

/// Whether tellings of ladders ring by all channels.
fn loud(city: &City) -> Vec<bool> {
    let of = |effect: &Effect| match effect {
        Effect::Moved { event, told: Some(_), to, .. } if event.kind == "rung" => Some(to.loud),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn a_p2_that_was_told_with_nobody_at_the_board_rings_the_desk_and_its_leader_by_all_channels_once() {
    let mut city = warned();
    watch(&mut city, minutes(2), 100);
    assert!(rungs(&city, T).is_empty());
    // Somebody was there at second 100.
    alone(&mut city, at(3, 41), 3000);
    assert_eq!(rungs(&city, minutes(2)), [(160, 0, UP, vec![Desk, Leader])]);
    assert_eq!(loud(&city), [true]);
    let body = city.effects.iter().find_map(|effect| match effect {
        Effect::Moved { event, told: Some(_), .. } if event.kind == "rung" => Some(event.body.clone()),
        _ => None,
    });
    assert!(body.unwrap().contains("board_closed"));
    // As a P1 it is rung for anew.
    (0..2).for_each(|n| city.read(&shell(at(60, 0) + Millis(n), 60.0)));
    city.effects.clear();
    alone(&mut city, at(60, 1), 70);
    let at_p1 = rungs(&city, minutes(60));
    assert!(at_p1.contains(&(61, 1, UP, vec![Desk, Crew, Second])), "{at_p1:?}");
}

#[test]
fn a_p2_with_a_rung_of_its_own_goes_on_to_that_and_one_on_which_a_crew_stands_rings_nobody() {
    let text = "severity = \"P2\"\nsteps = [{ after_min = 0, to = \"crew\" }, { after_min = 0, to = \"desk\" },\n\
        { after_min = 20, to = \"supervisor\" }]";
    let mut city = warned();
    city.engine.set_ladders(Ladders::build(&[toml::from_str(text).unwrap()], &["z1"]).unwrap());
    alone(&mut city, at(2, 1), 300);
    let closed = rungs(&city, minutes(2));
    assert_eq!(closed, [(60, 1, UP, vec![Desk, Whom::Supervisor])]);
    let mut city = warned();
    let id = city.the_incident().id.to_string();
    city.moved(at(2, 10), &id, crew(Verb::Arrive, "1"));
    alone(&mut city, at(2, 11), 200);
    assert!(rungs(&city, T).is_empty());
}

#[test]
fn what_stands_in_lists_alone_rings_nobody() {
    // A leak above its warning is due in a day: worklist.
    let mut city = City::new();
    (0..4).for_each(|n| city.read(&leak(minutes(6 * n), 12.0)));
    assert_eq!(city.the_incident().severity, Severity::P2);
    city.keep_dry(minutes(20));
    alone(&mut city, minutes(20), 600);
    assert!(rungs(&city, T).is_empty());
}

#[test]
fn the_breach_of_what_became_a_p1_late_is_told_at_the_earlier_deadline_and_every_ten_minutes_from_there() {
    let mut city = warned();
    watch(&mut city, minutes(2), 1080);
    (0..2).for_each(|n| city.read(&shell(minutes(20) + Millis(n), 60.0)));
    assert_eq!(city.the_incident().due_at, minutes(32), "the deadline of the P2");
    city.effects.clear();
    watch(&mut city, at(20, 1), 2400);
    let late = |city: &City, from: Timestamp| -> Vec<(i64, &'static str)> {
        let breach = rungs(city, from).into_iter().filter(|(_, step, ..)| *step == 7);
        breach
            .inspect(|(.., whom)| assert_eq!(whom[..3], [Head, Desk, Crew]))
            .map(|(s, _, word, _)| (s, word))
            .collect()
    };
    let expected = [(1, LATE), (601, UP), (1201, UP)];
    assert_eq!(late(&city, minutes(32)), expected);
    // It was over before the P1: the head hears at once, and again ten minutes behind that.
    let mut city = warned();
    watch(&mut city, minutes(2), 2279);
    (0..2).for_each(|n| city.read(&shell(minutes(40) + Millis(n), 60.0)));
    city.effects.clear();
    watch(&mut city, at(40, 1), 1300);
    assert_eq!(late(&city, minutes(40)), expected);
}

/// Everything that is open in one list to the desk, by chat and by telephone.
fn one_list(city: &City, now: Timestamp) -> (Dispatcher, Vec<Arc<Notice>>) {
    let route = |id: &str, rings| Route { id: id.to_owned(), to: "desk".to_owned(), rings };
    let mut dispatcher = Dispatcher::new(vec![route("chat", false), route("voice", true)]);
    let open: Vec<Incident> = city.engine.open_incidents().cloned().collect();
    let (rota, site, limits) = (Rota::default(), crate::testkit::site(), Policy::default().flood);
    let register = &city.engine.register;
    let scene = Scene { rota: &rota, register, site: &site, limits: &limits, now };
    let event = crate::testkit::event(&open[0], "rungs");
    let (zone, to, count) = (open[0].zone.clone(), Telling::to(&[Desk]), open.len());
    dispatcher.of(&scene, &Effect::Many { zone, word: UP, to, incidents: open.clone(), count, event });
    let mut lists = dispatcher.lists(&scene, |id| open.iter().find(|one| *one.id == *id));
    assert_eq!(lists.len(), 1);
    let notices = lists.remove(0).1;
    (dispatcher, notices)
}

/// Steps and keys of what is told because a notice was refused.
fn refused(city: &mut City, dispatcher: &Dispatcher, notice: &Notice, now: Timestamp) -> Vec<(u32, String)> {
    city.effects.clear();
    for input in dispatcher.heard(notice, false) {
        city.engine.step(now, input, &mut city.effects);
    }
    let of = |effect: &Effect| match effect {
        Effect::Many { to, event, .. } | Effect::Moved { to, event, told: Some(_), .. } => {
            Some((to.step, event.key.clone()))
        }
        _ => None,
    };
    let mut told: Vec<(u32, String)> = city.effects.iter().filter_map(of).collect();
    told.sort();
    told
}

#[test]
fn a_list_that_did_not_go_out_sends_on_each_incident_from_its_own_rung_by_whatever_copy_it_failed() {
    for failed in ["chat", "voice"] {
        let (mut city, names) = flood::long_street(12);
        for (n, name) in names.iter().enumerate() {
            // Half of them three minutes later: they stand a rung lower.
            if n == 6 {
                watch(&mut city, T, 185);
            }
            flood::live(&mut city, name, n, if n < 6 { T } else { at(3, 10) });
        }
        watch(&mut city, at(3, 11), 40);
        let (dispatcher, notices) = one_list(&city, at(4, 0));
        let notice = notices.iter().find(|notice| *notice.channel == *failed).unwrap();
        assert_eq!(dispatcher.named(notice).is_empty(), failed == "voice", "a call names nobody");
        let mut told = refused(&mut city, &dispatcher, notice, at(4, 2));
        let steps: Vec<u32> = told.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [[1; 6], [2; 6]].concat(), "{failed}");
        told.dedup();
        assert_eq!(told.len(), 12, "each is an event of its own in the store");
        // The other copy of the same list fails too: they have gone on from there already.
        for notice in &notices {
            assert_eq!(refused(&mut city, &dispatcher, notice, at(4, 3)), []);
        }
        watch(&mut city, at(4, 4), 50);
        // The next list finds them a rung further on.
        let (dispatcher, notices) = one_list(&city, at(5, 0));
        let told = refused(&mut city, &dispatcher, &notices[0], at(5, 1));
        let steps: Vec<u32> = told.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [[2; 6], [3; 6]].concat(), "{failed}");
    }
}
