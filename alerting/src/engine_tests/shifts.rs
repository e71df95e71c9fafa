//! Changes of shift by a real rota: one hand-over for each turn, whatever the crew's name.

use super::flood::{live, long_street};
use super::*;
use crate::dispatcher::{Dispatcher, Route, Scene};
use crate::ladder::Telling;
use crate::life::Verb;
use crate::life::tests::crew;
use crate::rota::{self, Rota, Stretch, ZoneDuty};

/// Crews of z1, an hour each, from `T` on.
fn turns(crews: &[&str]) -> Rota {
    let one = |id: &str| {
        let id: Arc<str> = Arc::from(id);
        let member = rota::Person {
            name: Arc::from(format!("{id}1")),
            phone: None,
            channels: vec![Arc::from("chat"), Arc::from("voice")],
        };
        let crew = rota::Crew { id: id.clone(), members: vec![Arc::new(member)], ..rota::Crew::default() };
        (id, Arc::new(crew))
    };
    let stretch = |(n, crew): (usize, &&str)| Stretch {
        from: minutes(60 * n as i64),
        to: minutes(60 * (n as i64 + 1)),
        zone: Arc::from("z1"),
        crew: Some(Arc::from(*crew)),
        backup_crew: None,
        leader: None,
        reason: None,
        at: T,
        by: Arc::from("Desk"),
    };
    Rota {
        crews: crews.iter().map(|id| one(id)).collect(),
        zones: [(Arc::from("z1"), ZoneDuty { crew: Arc::from(crews[0]), ..ZoneDuty::default() })]
            .into_iter()
            .collect(),
        changes: rota::Changes {
            duty: crews.iter().enumerate().map(stretch).collect(),
            ..Default::default()
        },
        ..Rota::default()
    }
}

fn by(name: &str, verb: Verb, key: &str) -> Move {
    let mut m = crew(verb, key);
    m.actor.name = name.to_owned();
    m
}

/// Minutes, and the crews that were told of a hand-over then; the dangers alone, not the silence of the city.
fn told(city: &City) -> Vec<(i64, String)> {
    of_kind(city, "shift_changed")
        .map(|(at, to)| (at.since(T).as_seconds() / 60, to.crews.join(" > ")))
        .collect()
}

fn of_kind<'c>(city: &'c City, kind: &'static str) -> impl Iterator<Item = (Timestamp, &'c Telling)> {
    city.effects.iter().filter_map(move |effect| match effect {
        Effect::Moved { incident, event, told: Some(_), to }
            if event.kind == kind && incident.family == Family::Electric =>
        {
            Some((event.at, to))
        }
        _ => None,
    })
}

fn expected(of: &[(i64, &str)]) -> Vec<(i64, String)> {
    of.iter().map(|(minute, crews)| (*minute, (*crews).to_owned())).collect()
}

/// A danger at P1 since minute 5, with these turns.
fn raised_under(crews: &[&str]) -> (City, String) {
    let mut city = City::new();
    city.engine.set_rota(Arc::new(turns(crews)));
    (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
    let id = city.the_incident().id.to_string();
    (city, id)
}

#[test]
fn a_hand_over_that_nobody_took_is_told_again_when_the_same_crew_comes_for_another_turn() {
    let (mut city, id) = raised_under(&["A", "B", "A", "B", "C"]);
    city.moved(minutes(6), &id, by("A", Verb::Acknowledge, "1"));
    city.pass(minutes(6), 239);
    let at_each = expected(&[(60, "A > B"), (180, "A > B"), (240, "A > C")]);
    assert_eq!(told(&city), at_each, "and none when their own turn begins");
    let desk = of_kind(&city, "not_accepted").count();
    assert_eq!(desk, 2, "of each turn, after ten minutes; of the last one they have not passed");
}

#[test]
fn a_restart_behind_a_turn_of_the_own_crew_tells_of_the_next_one_and_within_a_turn_of_none() {
    for (start, again) in [(100, false), (200, true)] {
        let (mut city, id) = raised_under(&["A", "B", "A", "B"]);
        city.moved(minutes(6), &id, by("A", Verb::Acknowledge, "1"));
        city.pass(minutes(6), 60);
        assert_eq!(told(&city), expected(&[(60, "A > B")]));
        let mut after = City::without_weather();
        after.engine.set_rota(Arc::new(turns(&["A", "B", "A", "B"])));
        city.engine.open_incidents().for_each(|one| after.engine.seed(one.clone()));
        after.pass(minutes(start), 5);
        assert_eq!(told(&after).len(), usize::from(again), "start at minute {start}: {:?}", told(&after));
    }
}

#[test]
fn a_p1_that_nobody_took_is_handed_on_at_each_change_and_who_takes_it_then_hands_it_on_too() {
    let (mut city, id) = raised_under(&["A", "B", "A", "C", "D", "E"]);
    city.pass(minutes(6), 185);
    let at_each = [(60, "A > B"), (120, "B > A"), (180, "A > C")];
    assert_eq!(told(&city), expected(&at_each));
    let waits = of_kind(&city, "not_accepted").count();
    assert_eq!(waits, 0, "nobody had it: there is nothing to accept");
    city.moved(minutes(192), &id, by("C", Verb::Acknowledge, "1"));
    city.pass(minutes(192), 60);
    city.moved(minutes(253), &id, by("D", Verb::Accept, "2"));
    city.pass(minutes(253), 60);
    assert_eq!(told(&city)[3..], expected(&[(240, "C > D"), (300, "D > E")]));
}

#[test]
fn the_back_up_keeps_what_it_has_over_changes_of_shift() {
    let mut with = turns(&["A", "B", "A", "B"]);
    let id: Arc<str> = Arc::from("X");
    with.crews.insert(id.clone(), Arc::new(rota::Crew { id, ..rota::Crew::default() }));
    let (mut city, id) = raised_under(&["A", "B", "A", "B"]);
    city.engine.set_rota(Arc::new(with));
    city.moved(minutes(6), &id, by("X", Verb::Acknowledge, "1"));
    city.pass(minutes(6), 200);
    assert!(told(&city).is_empty(), "{:?}", told(&city));
}

#[test]
fn more_than_three_hand_overs_are_one_list_that_says_so_in_every_form() {
    let (mut city, names) = long_street(5);
    let rota = turns(&["A", "B"]);
    city.engine.set_rota(Arc::new(rota.clone()));
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    let ids: Vec<String> = city.opened().iter().map(|one| one.id.to_string()).collect();
    ids.iter().for_each(|id| _ = city.moved(minutes(6), id, by("A", Verb::Acknowledge, "1")));
    city.pass(minutes(6), 53);
    city.effects.clear();
    city.tick(minutes(60));
    let route = |id: &str, rings| Route { id: id.to_owned(), to: "desk".to_owned(), rings };
    let mut dispatcher = Dispatcher::new(vec![route("chat", false), route("voice", true)]);
    let (register, site, limits) =
        (city.engine.register.clone(), crate::testkit::site(), Policy::default().flood);
    let scene = Scene { rota: &rota, register: &register, site: &site, limits: &limits, now: minutes(60) };
    city.effects.retain(|effect| {
        matches!(effect, Effect::Moved { incident, event, .. }
            if event.kind == "shift_changed" && incident.family == Family::Electric)
    });
    assert_eq!(city.effects.len(), 5);
    city.effects
        .iter()
        .for_each(|effect| assert!(dispatcher.of(&scene, effect).is_empty(), "not five messages"));
    let open: Vec<Incident> = city.engine.open_incidents().cloned().collect();
    let lists = dispatcher.lists(&scene, |id| open.iter().find(|one| *one.id == *id));
    assert_eq!(lists.len(), 2, "to both crews");
    for notice in lists.iter().flat_map(|(_, notices)| notices) {
        assert!(notice.text(1).starts_with("【交接班 5 起, 请接班班组确认】"), "{}", notice.text(1));
        assert!(
            notice.words.spoken(1, minutes(60)).contains("交接班"),
            "{}",
            notice.words.spoken(1, minutes(60))
        );
        assert!(notice.words.sms(1, minutes(60)).contains("交接班"));
    }
    // Among dangers of other reasons each line says it for itself.
    let effects = std::mem::take(&mut city.effects);
    effects.iter().for_each(|effect| _ = dispatcher.of(&scene, effect));
    let ann = rota.person("B1").unwrap().clone();
    let more = crate::testkit::incident(7);
    let many = Effect::Many {
        zone: more.zone.clone(),
        word: "incident.escalated",
        to: Telling { crews: vec![Arc::from("B")], ..Default::default() },
        incidents: vec![more.clone()],
        count: 1,
        event: crate::testkit::event(&more, "rungs"),
    };
    dispatcher.of(&scene, &many);
    let later = Scene { now: minutes(62), ..scene };
    let look = |id: &str| open.iter().chain(std::iter::once(&more)).find(|one| *one.id == *id);
    let lists = dispatcher.lists(&later, look);
    let mixed = lists.iter().find(|(list, _)| list.person.name == ann.name).unwrap().1[0].text(1);
    assert!(mixed.starts_with("【险情汇总 6 起，其中交接班 5 起】"), "{mixed}");
    assert_eq!(mixed.matches(" 交接班\n").count(), 5, "{mixed}");
}

#[test]
fn a_p2_that_becomes_a_p1_in_the_next_shift_calls_the_crew_on_duty_tells_who_had_it_and_its_hand_over_waits_on()
 {
    let mut city = City::new();
    city.engine.set_rota(Arc::new(turns(&["A", "B", "C"])));
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    let id = city.the_incident().id.to_string();
    city.moved(minutes(3), &id, by("A", Verb::Depart, "1"));
    city.pass(minutes(3), 62);
    assert_eq!(told(&city), expected(&[(60, "A > B")]));
    (0..2).for_each(|n| city.read(&shell(minutes(66) + Millis(n), 60.0)));
    let names = |city: &City, to: &Telling, at: Timestamp| -> Vec<Arc<str>> {
        let crew = city.the_incident().life.crew.as_deref();
        let reached = crate::dispatcher::reach(city.engine.rota(), to, "z1", crew, at);
        reached.people.iter().map(|person| person.name.clone()).collect()
    };
    let opening = city.effects.iter().find_map(|effect| match effect {
        Effect::Escalated { incident, to, .. } if incident.family == Family::Electric => Some(to.clone()),
        _ => None,
    });
    let first = names(&city, &opening.unwrap(), minutes(66));
    assert!(["A1", "B1"].iter().all(|name| first.iter().any(|known| **known == **name)), "{first:?}");
    let life = &city.the_incident().life;
    assert_eq!((life.crew.as_deref(), life.state.name()), (None, "acknowledged"));
    let handover = life.climb.handover.as_ref().unwrap();
    assert_eq!((&*handover.to, handover.accepted_at), ("B", None));
    city.pass(minutes(66), 4);
    let rungs: Vec<Telling> =
        of_kind(&city, "rung").filter(|(at, _)| *at > minutes(66)).map(|(_, to)| to.clone()).collect();
    assert!(!rungs.is_empty());
    for to in rungs {
        let people = names(&city, &to, minutes(69));
        assert!(
            people.iter().any(|name| **name == *"B1") && !people.iter().any(|name| **name == *"A1"),
            "{people:?}"
        );
    }
    city.moved(minutes(71), &id, by("B", Verb::Accept, "2"));
    city.moved(minutes(71), &id, by("B", Verb::Acknowledge, "3"));
    city.pass(minutes(71), 50);
    assert_eq!(told(&city), expected(&[(60, "A > B"), (120, "B > C")]));
    assert_eq!(of_kind(&city, "not_accepted").count(), 1, "ten minutes behind the change, as a P1 too");
}

#[test]
fn a_p1_that_nobody_took_since_it_was_a_p2_is_handed_on_at_the_next_change() {
    let mut city = City::new();
    city.engine.set_rota(Arc::new(turns(&["A", "B", "C"])));
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    let id = city.the_incident().id.to_string();
    city.moved(minutes(3), &id, by("A", Verb::Acknowledge, "1"));
    city.pass(minutes(3), 57);
    city.moved(minutes(61), &id, by("B", Verb::Accept, "2"));
    city.pass(minutes(61), 60);
    (0..2).for_each(|n| city.read(&shell(minutes(122) + Millis(n), 60.0)));
    city.engine.set_rota(Arc::new(turns(&["A", "B", "C", "D"])));
    city.pass(minutes(122), 59);
    assert_eq!(told(&city), expected(&[(60, "A > B"), (120, "B > C"), (180, "C > D")]));
}
