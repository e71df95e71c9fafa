//! More dangers than people can take in, and changes of shift.

use super::ladder::{rungs, watch};
use super::*;
use crate::engine::TellRequest;
use crate::ladder::Telling;
use crate::life::Verb;
use crate::life::tests::crew;
use crate::rota::{self, Rota, Whom, ZoneDuty};

/// A street with so many posts, ten on a feeder.
pub(super) fn long_street(posts: usize) -> (City, Vec<String>) {
    let names: Vec<String> = (0..posts).map(|n| format!("L{n}")).collect();
    let mut text = lampguard_model::register::header();
    for (n, name) in names.iter().enumerate() {
        let (feeder, road) = (n / 10, n / 40);
        text +=
            &format!("\n{name},,z1,R{road},{n},,G{feeder},C1,113.2,35.2,1,100,false,,,post,all,true,M1,300");
    }
    let register = Arc::new(Register::parse(text.as_bytes()).unwrap());
    let mut city =
        City { engine: Engine::new(Policy::default(), register, Sky::default()), effects: Vec::new() };
    city.keep_dry(T - Millis::minutes(5));
    (city, names)
}

/// Two samples of a post that is live.
pub(super) fn live(city: &mut City, name: &str, n: usize, at: Timestamp) {
    for k in 0..2 {
        let mut r = shell(at + Millis(k), 60.0);
        let feeder = format!("G{}", n / 10);
        (r.post, r.device, r.feeder) = (name, name, &feeder);
        r.identity = mix(r.identity ^ (n as u64) << 20);
        city.engine.step(r.received_at, Input::Reading(&r), &mut city.effects);
    }
}

fn openings(city: &City) -> Vec<Telling> {
    let of = |effect: &Effect| match effect {
        Effect::Open { to, told: true, .. } => Some(to.clone()),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

/// Zone, rung, how many, how many of them named.
fn lists(city: &City) -> Vec<(u32, usize, usize)> {
    let of = |effect: &Effect| match effect {
        Effect::Many { to, count, incidents, .. } => Some((to.step, *count, incidents.len())),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn situation_s21_the_eleventh_danger_in_ten_minutes_begins_a_flood_and_less_than_five_end_it() {
    let (mut city, names) = long_street(30);
    for (n, name) in names[..13].iter().enumerate() {
        live(&mut city, name, n, T + Millis::seconds(30 * n as i64));
    }
    let grouped: Vec<bool> = openings(&city).iter().map(|to| to.grouped).collect();
    assert_eq!(grouped, [vec![false; 10], vec![true; 3]].concat(), "each P1 stays an incident of its own");
    assert!(city.engine.is_flood());
    let mut ended = None;
    for second in 370..1300 {
        city.tick(T + Millis::seconds(second));
        if !city.engine.is_flood() {
            ended.get_or_insert(second);
        }
    }
    // Four are left within ten minutes when the ninth leaves: it was raised at second 240.
    assert_eq!(ended, Some(841), "and a millisecond");
    let said: Vec<bool> = city
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Flood { on, .. } = effect { Some(*on) } else { None })
        .collect();
    assert_eq!(said, [true, false], "recorded once each");
    live(&mut city, &names[20], 20, T + Millis::seconds(1400));
    assert!(!openings(&city).last().unwrap().grouped);
}

#[test]
fn in_a_flood_rungs_are_one_telling_for_each_zone_and_rung_and_their_times_stay_exact() {
    let (mut city, names) = long_street(300);
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    let opened = T + Millis(1);
    city.effects.clear();
    watch(&mut city, opened, 1805);
    // 200 are named, as many as ten lists hold; the most dangerous. Ten minutes after the last was raised the flood is
    // over, and ten in ten minutes are told one by one again.
    let expected = [(1, 300, 200), (2, 300, 200), (3, 290, 200), (6, 300, 200), (7, 290, 200)];
    assert_eq!(lists(&city), expected);
    assert_eq!(rungs(&city, T).len(), 20, "nobody's telephone rings 300 times");
    let times: Vec<i64> = city
        .effects
        .iter()
        .filter_map(|effect| {
            if let Effect::Many { event, .. } = effect {
                Some(event.at.since(opened).as_seconds())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(times, [180, 360, 600, 900, 1801]);
    let breached = |effect: &&Effect| matches!(effect, Effect::Moved { event, told: None, .. } if event.kind == "breached");
    assert_eq!(city.effects.iter().filter(breached).count(), 290, "each is recorded, once");
    let first = city.engine.open_incidents().next().unwrap();
    assert_eq!(first.life.climb.told.len(), 6);
}

#[test]
fn five_thousand_dangers_at_once_are_few_effects_and_no_tick_looks_at_what_is_not_due() {
    let (mut city, names) = long_street(5000);
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    city.tick(T + Millis::seconds(1));
    city.effects.clear();
    for minute in 0..30 {
        city.keep_dry(T + Millis::minutes(minute));
        city.engine.step(T + Millis::minutes(minute), Input::Presence, &mut city.effects);
        for second in [1, 2, 3, 59] {
            city.tick(T + Millis::minutes(minute) + Millis::seconds(second));
        }
    }
    let told = city.effects.iter().filter(|effect| {
        matches!(effect, Effect::Many { .. })
            || matches!(effect, Effect::Moved { event, told: Some(_), .. } if event.kind == "rung")
    });
    // Rungs of 3, 6, 10 and 15 minutes; behind the flood ten in ten minutes are told one by one.
    let (told, named) = (told.count(), lists(&city).iter().map(|(.., named)| *named).sum::<usize>());
    assert!(told <= 30 && named <= 1000, "{told} tellings, {named} named");
    let dangers = city.engine.open_incidents().filter(|incident| incident.family == Family::Electric);
    assert_eq!(dangers.count(), 5000);
}

#[test]
fn help_and_what_is_live_again_are_told_at_once_in_a_flood_and_daily_moves_are_not() {
    let (mut city, names) = long_street(12);
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    let id = city.engine.open_incidents().next().unwrap().id.to_string();
    city.effects.clear();
    city.moved(minutes(1), &id, crew(Verb::Acknowledge, "1"));
    city.moved(minutes(1), &id, crew(Verb::Depart, "1"));
    city.moved(minutes(1), &id, crew(Verb::Help, "1"));
    let told = city.effects.iter().filter_map(|effect| match effect {
        Effect::Moved { told: Some(word), to, .. } if !to.grouped => Some(*word),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["incident.help"]);
    city.moved(minutes(2), &id, crew(Verb::Arrive, "1"));
    let mut safe = crew(Verb::MakeSafe, "1");
    (safe.body.method, safe.body.extent) =
        (Some(crate::life::Method::Isolated), Some(crate::life::Extent::Post));
    city.moved(minutes(3), &id, safe);
    city.effects.clear();
    live(&mut city, &names[0], 0, minutes(4));
    let back = openings(&city);
    assert!(back.iter().any(|to| to.urgent && !to.grouped && to.crews == [Arc::from("Crew 1")]), "{back:?}");
}

#[test]
fn power_that_is_back_reaches_crews_of_planned_work_on_that_feeder_and_none_of_its_rungs_waits_for_a_list() {
    let (mut city, names) = long_street(13);
    let request = crate::engine::JobRequest {
        crew: "Meter crew".to_owned(),
        ..planned::job(crate::engine::JobScope::PostId(names[9].clone()), "1")
    };
    city.engine.step(T, Input::Maintenance(&request), &mut city.effects);
    live(&mut city, &names[0], 0, T);
    let id = city.the_incident().id.to_string();
    city.moved(minutes(1), &id, crew(Verb::Arrive, "1"));
    let mut safe = crew(Verb::MakeSafe, "1");
    (safe.body.method, safe.body.extent) =
        (Some(crate::life::Method::Isolated), Some(crate::life::Extent::Feeder));
    city.moved(minutes(2), &id, safe);
    live(&mut city, &names[1], 1, minutes(3));
    let back = city.the(Family::Reenergised);
    let opened = back.opened_at;
    let to = city.effects.iter().find_map(|effect| match effect {
        Effect::Open { incident, to, .. } if incident.family == Family::Reenergised => Some(to.clone()),
        _ => None,
    });
    let to = to.unwrap();
    assert_eq!(to.crews, ["Crew 1", "Meter crew"].map(Arc::from), "{to:?}");
    for (n, name) in names.iter().enumerate() {
        let request = TellRequest { key: format!("t{n}"), post_id: Some(name.clone()), ..planned::shock() };
        city.engine.step(minutes(4), Input::Told(&request), &mut city.effects);
    }
    assert!(city.engine.is_flood());
    watch(&mut city, opened, 200);
    let alone = city.effects.iter().find_map(|effect| match effect {
        Effect::Moved { incident, told: Some(_), to, event }
            if incident.family == Family::Reenergised && event.kind == "rung" =>
        {
            Some(to.clone())
        }
        _ => None,
    });
    assert!(
        alone.is_some_and(|to| to.urgent && !to.grouped && to.step == 1),
        "three minutes later, by itself"
    );
}

#[test]
fn drills_make_no_flood_and_a_restart_in_one_goes_on_with_it() {
    let (mut city, names) = long_street(12);
    for (n, name) in names.iter().enumerate() {
        let mut request = planned::drill();
        (request.key, request.post_id) = (format!("d{n}"), Some(name.clone()));
        city.engine.step(minutes(1), Input::Told(&request), &mut city.effects);
    }
    assert!(!city.engine.is_flood());
    let (mut city, names) = long_street(12);
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    let (mut after, _) = long_street(12);
    city.engine.open_incidents().for_each(|incident| after.engine.seed(incident.clone()));
    after.tick(minutes(2));
    assert!(after.engine.is_flood());
    let listed = after.engine.open_incidents().filter(|incident| incident.life.climb.listed).count();
    assert_eq!(listed, 2, "whose opening went into lists is known");
}

#[test]
fn in_a_flood_rungs_of_planned_work_keep_their_crew_and_drills_stay_out_of_lists() {
    let (mut city, names) = long_street(30);
    let scope = crate::engine::JobScope::Feeder("G0".to_owned());
    city.engine.step(T, Input::Maintenance(&planned::job(scope, "1")), &mut city.effects);
    let drill = TellRequest { post_id: Some(names[29].clone()), ..planned::drill() };
    city.engine.step(T, Input::Told(&drill), &mut city.effects);
    for (n, name) in names.iter().enumerate().take(20) {
        // Later than what is on the feeder of the work: the flood goes on when its ten minutes are over.
        live(&mut city, name, n, if n < 10 { T } else { T + Millis::seconds(30) });
    }
    let drill = TellRequest { key: "d2".to_owned(), post_id: Some(names[28].clone()), ..planned::drill() };
    city.engine.step(T + Millis::seconds(30), Input::Told(&drill), &mut city.effects);
    assert!(!openings(&city).last().unwrap().grouped, "a drill within a flood");
    city.effects.clear();
    watch(&mut city, T + Millis::seconds(30), 575);
    let of_work = city.effects.iter().filter_map(|effect| match effect {
        Effect::Many { to, incidents, .. } if !to.crews.is_empty() => {
            Some((to.crews.clone(), incidents.len()))
        }
        _ => None,
    });
    // On that feeder they are told after ten minutes without an answer.
    assert_eq!(of_work.collect::<Vec<_>>(), [(vec![Arc::from("Meter crew")], 10)]);
    let real = |effect: &Effect| match effect {
        Effect::Many { incidents, .. } => incidents.iter().all(|incident| !incident.life.drill),
        _ => true,
    };
    assert!(city.effects.iter().all(real));
    let drills = city.effects.iter().filter(|effect| {
        matches!(effect, Effect::Moved { incident, event, told: Some(_), to }
            if incident.life.drill && event.kind == "rung" && !to.grouped)
    });
    assert_eq!(
        drills.count(),
        4,
        "rungs of 3 and 6 minutes of two drills; of 10 minutes there is nobody to tell"
    );
}

#[test]
fn drills_count_for_no_crowd_of_rungs() {
    let (mut city, names) = long_street(14);
    for (n, name) in names.iter().enumerate().take(12) {
        let mut request = planned::drill();
        (request.key, request.post_id) = (format!("d{n}"), Some(name.clone()));
        city.engine.step(T, Input::Told(&request), &mut city.effects);
    }
    live(&mut city, &names[13], 13, T + Millis::seconds(1));
    watch(&mut city, T, 200);
    let real = city.effects.iter().any(|effect| {
        matches!(effect, Effect::Moved { incident, event, told: Some(_), to }
            if !incident.life.drill && event.kind == "rung" && !to.grouped)
    });
    assert!(real && lists(&city).is_empty(), "the one that is real is told by itself");
}

#[test]
fn a_p1_is_told_when_a_message_that_names_it_was_accepted_and_only_as_the_p1_that_it_is() {
    let mut city = City::new();
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    let id = city.the_incident().id.to_string();
    let accepted = |city: &mut City, at: Timestamp| {
        let input = Input::Delivery { incident: &id, step: 0, accepted: true };
        city.engine.step(at, input, &mut city.effects);
    };
    accepted(&mut city, minutes(3));
    assert_eq!(city.the_incident().life.told_at, Some(minutes(3)));
    (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
    assert!(city.the_incident().view(minutes(6)).untold, "nobody has heard that it is a P1");
    accepted(&mut city, minutes(7));
    accepted(&mut city, minutes(8));
    let view = city.the_incident().view(minutes(9));
    assert_eq!((view.untold, view.told_at), (false, Some(minutes(7).to_rfc3339())));
}

/// Two crews of z1: `day` until `T` + 30 min, then `night`.
pub(super) fn shifts(city: &mut City) {
    let one = |id: &str| {
        let id: Arc<str> = Arc::from(id);
        (id.clone(), Arc::new(rota::Crew { id, name: String::new(), ..rota::Crew::default() }))
    };
    let rota = Rota {
        crews: ["day", "night"].map(one).into_iter().collect(),
        zones: [(Arc::from("z1"), ZoneDuty { crew: Arc::from("day"), ..ZoneDuty::default() })]
            .into_iter()
            .collect(),
        ..Rota::default()
    };
    let crews = rota.crews.clone();
    city.engine.set_rota(Arc::new(rota));
    city.engine.set_shifts(Box::new(move |_, at| {
        let day = at < minutes(30);
        let crew = crews.get(if day { "day" } else { "night" }).cloned();
        rota::OnDuty { crew, until: Some(minutes(if day { 30 } else { 12 * 60 })), ..rota::OnDuty::default() }
    }));
}

pub(super) fn handovers(city: &City) -> Vec<(i64, &'static str, Vec<String>, Vec<Whom>)> {
    let of = |effect: &Effect| match effect {
        Effect::Moved { event, told: Some("incident.handover"), to, .. } => {
            let crews = to.crews.iter().map(ToString::to_string).collect();
            Some((event.at.since(T).as_seconds(), event.kind, crews, to.whom.clone()))
        }
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn at_a_change_of_shift_both_crews_are_told_and_the_desk_when_nobody_takes_over_in_ten_minutes() {
    for taken in [false, true] {
        let mut city = City::new();
        shifts(&mut city);
        (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
        let id = city.the_incident().id.to_string();
        let as_day = |verb, key: &str| {
            let mut m = crew(verb, key);
            m.actor.name = "day".to_owned();
            m
        };
        city.moved(minutes(6), &id, as_day(Verb::Acknowledge, "1"));
        city.moved(minutes(7), &id, as_day(Verb::Depart, "1"));
        city.tick(minutes(8));
        assert!(handovers(&city).is_empty());
        for minute in 9..=45 {
            city.tick(minutes(minute));
            if taken && minute == 35 {
                let mut accept = as_day(Verb::Accept, "1");
                accept.actor.name = "night".to_owned();
                assert_eq!(city.moved(minutes(35), &id, accept).life.crew.as_deref(), Some("night"));
            }
        }
        let both = vec!["day".to_owned(), "night".to_owned()];
        let mut expected = vec![(1800, "shift_changed", both, vec![])];
        if !taken {
            expected.push((2400, "not_accepted", vec![], vec![Whom::Desk]));
            assert_eq!(city.the_incident().life.crew.as_deref(), Some("day"), "it stays with them");
        }
        assert_eq!(handovers(&city), expected, "taken: {taken}");
    }
}
