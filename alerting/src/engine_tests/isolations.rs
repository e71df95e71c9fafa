//! What an isolation covers, and who hears that its voltage is back.

use super::*;
use crate::incident::Kind;
use crate::life::tests::crew;
use crate::life::{Extent, Method, Verb};

fn volts(at: Timestamp, volts: f64, supply: f64) -> StoredReading<'static> {
    with(shell(at, volts), Field::SupplyV, supply)
}

fn isolated(key: &str, extent: Extent) -> Move {
    let mut m = crew(Verb::MakeSafe, key);
    (m.body.method, m.body.extent) = (Some(Method::Isolated), Some(extent));
    m
}

/// Events of that kind, as they were told.
fn told_of(city: &City, word: &str) -> Vec<(String, bool)> {
    let moves = city.effects.iter().filter_map(|effect| match effect {
        Effect::Moved { event, told, .. } if event.kind == word => Some((event.key.clone(), told.is_some())),
        _ => None,
    });
    moves.collect()
}

#[test]
fn voltage_that_comes_back_a_second_time_is_told_a_second_time() {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&volts(minutes(minute), 40.0, 230.0));
    }
    let id = city.the_incident().id.to_string();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(11), &id, isolated("1", Extent::Post));
    for minute in [15, 20] {
        city.read(&volts(minutes(minute), 0.1, 230.0));
    }
    assert_eq!(told_of(&city, "reenergised").len(), 1, "once for one time");
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
    city.moved(minutes(25), &id, isolated("2", Extent::Post));
    assert_eq!(city.the_incident().life.safety(), crate::life::DEAD);
    city.read(&volts(minutes(30), 0.1, 230.0));
    let told = told_of(&city, "reenergised");
    assert!(told.len() == 2 && told[0].0 != told[1].0 && told.iter().all(|(_, told)| *told), "{told:?}");
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
}

#[test]
fn an_isolation_for_what_a_whole_feeder_says_covers_the_feeder_whatever_extent_was_ticked() {
    let mut city = City::street(4);
    for minute in [-20, -15, -10] {
        (0..4).for_each(|n| city.read(&at_post(volts(minutes(minute), 0.4, 229.0), n)));
    }
    (0..4).for_each(|n| city.read(&at_post(volts(T, 0.4, 160.0), n)));
    city.read(&at_post(volts(minutes(1), 0.4, 251.0), 3));
    let id = city.the(Family::Neutral).id.to_string();
    city.moved(minutes(5), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(6), &id, isolated("1", Extent::Post));
    for post in ["S0", "S3"] {
        let slot = city.engine.slot(post).unwrap();
        assert!(city.engine.is_isolated(slot), "{post}");
    }
    // And the power comes back when everybody on the feeder is done, not only at one post.
    for minute in [7, 8] {
        city.read(&at_post(with(leak(minutes(minute), 40.0), Field::SupplyV, 0.0), 1));
    }
    let other = city.the_incident().id.to_string();
    let mut clear = crew(Verb::Note, "clear");
    clear.body.clear = true;
    city.moved(minutes(9), &id, clear);
    let refused = city.act(minutes(10), &id, crew(Verb::Restore, "1")).unwrap_err().to_string();
    assert!(refused.contains(&other), "{refused}");
}

#[test]
fn an_isolation_out_of_a_backup_prints_dead_only_when_it_is_made_again_and_voltage_in_it_is_told_meanwhile() {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&volts(minutes(minute), 40.0, 230.0));
    }
    let id = city.the_incident().id.to_string();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(11), &id, isolated("1", Extent::Post));
    let slot = city.engine.slot(&city.the_incident().post_id.clone()).unwrap();
    let state = |city: &City| (city.the_incident().life.safety(), city.engine.is_isolated(slot));
    let doubt = |city: &mut City, moment| {
        city.engine.doubt_isolations(minutes(moment), minutes(60), &mut city.effects);
    };
    doubt(&mut city, 10);
    assert_eq!(state(&city), (crate::life::DEAD, true), "it was made after the backup's moment");
    for start in 0..2 {
        doubt(&mut city, 30);
        assert_eq!(state(&city), (crate::life::TREAT_AS_LIVE, false), "start {start}: its silence counts");
        assert_eq!(told_of(&city, "isolation_doubted").len(), 1, "told once, start {start}");
    }
    assert!(told_of(&city, "isolation_doubted")[0].1, "crew and desk hear it");
    let kept = serde_json::to_string(&city.the_incident().life).unwrap();
    let kept: crate::life::Life = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept.safety(), crate::life::TREAT_AS_LIVE, "the next start knows it");
    city.read(&volts(minutes(61), 0.1, 230.0));
    assert_eq!(told_of(&city, "reenergised").len(), 1);
    city.moved(minutes(62), &id, isolated("2", Extent::Post));
    doubt(&mut city, 30);
    assert_eq!(state(&city), (crate::life::DEAD, true), "somebody confirmed it");
}

#[test]
fn a_guard_out_of_a_backup_is_not_confirmed_either() {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&volts(minutes(minute), 40.0, 230.0));
    }
    let id = city.the_incident().id.to_string();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    let mut guarded = crew(Verb::MakeSafe, "1");
    guarded.body.method = Some(Method::Guarded);
    city.moved(minutes(11), &id, guarded);
    assert_eq!(city.the_incident().life.safety(), crate::life::GUARDED);
    city.engine.doubt_isolations(minutes(30), minutes(60), &mut city.effects);
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
}

#[test]
fn what_people_ended_about_a_part_that_is_bad_still_is_known_and_not_told_again() {
    let mut city = City::new();
    let bad = |city: &mut City, minute| {
        let input = Input::System { part: "restored", good: false, because: "数据恢复" };
        city.engine.step(minutes(minute), input, &mut city.effects);
    };
    bad(&mut city, 0);
    city.tick(minutes(2));
    let incident = city.the(Family::System).clone();
    assert!(incident.notes.iter().any(|note| note.contains("数据恢复")), "{:?}", incident.notes);
    assert!(!city.engine.is_dismissed("restored"));
    let ways = [Verb::Arrive, Verb::MakeSafe, Verb::Repair];
    for (minute, verb) in (3..).zip(ways) {
        let mut m = crew(verb, "1");
        m.body.method = (verb == Verb::MakeSafe).then_some(Method::Guarded);
        (m.body.cause, m.body.parts) = (Some("restored".to_owned()), Some("-".to_owned()));
        city.moved(minutes(minute), &incident.id, m);
    }
    let desk = |verb| {
        let mut m = crew(verb, "2");
        m.actor = crate::life::Actor { name: "desk".to_owned(), desk: true };
        m.body.reason = Some("called everybody".to_owned());
        m
    };
    city.moved(minutes(8), &incident.id, desk(Verb::Verify));
    city.moved(minutes(9), &incident.id, desk(Verb::Close));
    assert!(city.engine.is_dismissed("restored"));
    bad(&mut city, 10);
    city.tick(minutes(20));
    assert_eq!(city.opened_of(Family::System).len(), 1);
}

#[test]
fn entries_of_lists_are_nobodys_work_and_hold_up_no_parent() {
    let mut city = City::street(10);
    for minute in [-15, -10, -5, 0] {
        (0..10).for_each(|n| city.read(&at_post(volts(minutes(minute), 0.1, 229.0), n)));
    }
    for minute in 1..=30 {
        city.tick(minutes(minute));
        if minute % 5 == 0 {
            (7..10).for_each(|n| city.read(&at_post(volts(minutes(minute), 0.1, 229.0), n)));
        }
    }
    let of = |kind: Kind| city.engine.open_incidents().filter(move |incident| incident.evidence.kind == kind);
    let dark = of(Kind::FeederDark).next().unwrap().id.clone();
    let entries: Vec<&Incident> = of(Kind::Offline).filter(|entry| entry.links.contains(&dark)).collect();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry.life.parent.is_none()), "{entries:#?}");
    city.moved(minutes(31), &dark, crew(Verb::Arrive, "1"));
}

#[test]
fn a_register_that_moves_or_renames_posts_or_feeders_takes_nothing_out_of_an_isolation_in_force() {
    let line = |name: &str, device: &str, feeder: &str| {
        format!("{name},{device},z1,人民路,1,,{feeder},C1,113.2,35.2,1,100,false,,,post,all,true,M1,300")
    };
    // S2 hangs on another feeder, S3 has another name: its sensor stands in another line. Then all of the feeder is F9.
    let moved = [("S0", "S0", "FS"), ("S1", "S1", "FS"), ("S2", "S2", "F2"), ("Q3", "S3", "FS")];
    let renamed = ["S0", "S1", "S2", "S3"].map(|name| (name, name, "F9"));
    let registers = [moved, renamed].map(|posts| enrol::lines(&posts.map(|(n, d, f)| line(n, d, f))));
    for (case, register) in registers.iter().enumerate() {
        let mut city = City::street(4);
        for minute in [-20, -15, -10] {
            (0..4).for_each(|n| city.read(&at_post(volts(minutes(minute), 0.4, 229.0), n)));
        }
        for minute in [0, 5] {
            city.read(&at_post(volts(minutes(minute), 40.0, 230.0), 0));
        }
        let id = city.the_incident().id.clone();
        city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
        city.moved(minutes(11), &id, isolated("1", Extent::Feeder));
        let mut city = if case == 0 { city } else { restart::restarted(&city, City::street(4)) };
        city.enrol(minutes(12), register);
        let names = ["S0", "S1", "S2", if case == 0 { "Q3" } else { "S3" }];
        for name in names {
            let slot = city.engine.slot(name).unwrap();
            assert!(city.engine.is_isolated(slot), "case {case}: {name}");
        }
        assert_eq!(city.engine.open_incidents().next().unwrap().life.safety(), crate::life::DEAD);
        city.read(&at_post(volts(minutes(15), 0.1, 230.0), 2));
        let back = city.the(Family::Reenergised);
        let of_work = city.engine.open_incidents().find(|incident| incident.id == id).unwrap();
        assert_eq!(of_work.life.safety(), crate::life::TREAT_AS_LIVE, "case {case}");
        let opened = city.effects.iter().find_map(|effect| match effect {
            Effect::Open { incident, to, .. } if incident.id == back.id => Some(to.clone()),
            _ => None,
        });
        assert_eq!(opened.unwrap().crews, [Arc::from(of_work.life.crew.as_deref().unwrap())], "case {case}");
    }
}
