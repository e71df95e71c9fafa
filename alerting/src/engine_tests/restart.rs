//! What a restart may not forget of posts that have spoken.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::*;
use crate::engine::Memory;
use crate::incident::{Kind, Severity, Signal};
use crate::lighting::{Lighting, LightingConfig};

fn unlit(at: Timestamp) -> StoredReading<'static> {
    with(leak(at, 0.0), Field::SupplyV, 0.0)
}

/// Ten posts that have reported until `T`.
fn street() -> City {
    let mut city = City::street(10);
    for round in 0..4 {
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round)), n)));
    }
    city
}

/// What the store gives back: memories by post, the newest of each; open incidents.
pub(super) fn restarted(city: &City, mut after: City) -> City {
    let of = |effect: &Effect| match effect {
        Effect::Remember(memory) => Some((memory.post.to_string(), memory.clone())),
        _ => None,
    };
    let memories: BTreeMap<String, Memory> = city.effects.iter().filter_map(of).collect();
    memories.values().for_each(|memory| after.engine.remember(memory));
    city.engine.open_incidents().for_each(|incident| after.engine.seed(incident.clone()));
    after
}

/// Minutes pass, dry, while the posts from `from` on talk.
fn go_on(city: &mut City, from: usize, minutes_between: (i64, i64)) {
    for minute in minutes_between.0..=minutes_between.1 {
        if minute % 30 == 0 {
            city.keep_dry(minutes(minute));
        }
        city.tick(minutes(minute));
        if minute % 5 == 0 {
            (from..10).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        }
    }
}

/// `T` is 20:00 in Xinxiang: FS is on until 21:00 and from 09:00 on, which is dusk in a test.
fn with_timetable(mut city: City) -> City {
    let text = "[[timetable]]\nfeeders = [\"FS\"]\non = \"09:00\"\noff = \"21:00\"\n";
    let config: LightingConfig = toml::from_str(text).unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let register = city.engine.register.clone();
    city.engine.set_lighting(Arc::new(Lighting::build(Some(&config), zone, &register).unwrap()));
    city
}

#[test]
fn after_a_restart_by_day_a_feeder_that_does_not_come_at_dusk_is_dark_and_its_zone_blind() {
    let mut city = with_timetable(street());
    (0..10).for_each(|n| city.read(&at_post(unlit(minutes(61)), n)));
    let mut after = restarted(&city, with_timetable(City::street(10)));
    go_on(&mut after, 10, (300, 13 * 60));
    assert!(
        after.opened_of(Family::Comms).is_empty(),
        "the supply is off: {:#?}",
        after.opened_of(Family::Comms)
    );
    after.weather(minutes(13 * 60), "z1", &WeatherReport { rain_mm_h: Some(5.0), ..dry() });
    after.pass(minutes(13 * 60), 30);
    for kind in [Kind::FeederDark, Kind::Blind] {
        let found = after.of_kind(kind);
        assert_eq!(found.len(), 1, "{kind:?}");
        assert_eq!(found[0].severity, Severity::P1, "{kind:?}");
    }
    assert_eq!(after.of_kind(Kind::FeederDark)[0].members.len(), 10);
}

#[test]
fn a_restart_by_day_without_a_timetable_calls_no_post_silent_whose_feeder_said_that_it_is_off() {
    let mut city = street();
    (0..10).for_each(|n| city.read(&at_post(unlit(minutes(1)), n)));
    let mut after = restarted(&city, City::street(10));
    go_on(&mut after, 10, (300, 900));
    assert!(after.opened_of(Family::Comms).is_empty(), "{:#?}", after.opened_of(Family::Comms));
    // One of them says that it is on again: then the others have to speak too.
    after.read(&at_post(lit(minutes(901)), 3));
    go_on(&mut after, 10, (902, 950));
    assert_eq!(after.of_kind(Kind::FeederDark).len(), 1);
}

#[test]
fn a_dark_feeder_does_not_become_normal_by_a_restart() {
    let mut city = street();
    go_on(&mut city, 8, (1, 60));
    assert_eq!(city.of_kind(Kind::FeederDark).len(), 1, "eight of ten");
    let mut after = restarted(&city, City::street(10));
    go_on(&mut after, 8, (61, 120));
    let dark = after.of_kind(Kind::FeederDark);
    assert_eq!((dark.len(), dark[0].signal), (1, Signal::Active));
    assert!(after.opened_of(Family::Comms).is_empty(), "and none is raised twice");
    go_on(&mut after, 0, (121, 130));
    assert_eq!(after.of_kind(Kind::FeederDark)[0].signal, Signal::Normal, "data does it");
}

#[test]
fn a_replay_of_a_posts_last_words_does_not_end_its_silence() {
    let mut city = street();
    go_on(&mut city, 8, (1, 30));
    let mut after = restarted(&city, City::street(10));
    after.engine.replaying(true);
    (0..10).for_each(|n| after.read(&at_post(lit(T), n)));
    after.engine.replaying(false);
    go_on(&mut after, 8, (31, 45));
    let signals: Vec<Signal> = after.of_kind(Kind::FeederDark).iter().map(|i| i.signal).collect();
    assert_eq!(signals, [Signal::Active]);
    let normal = |effect: &&Effect| matches!(effect, Effect::Changed { event, .. } if event.kind == "signal");
    assert_eq!(after.effects.iter().filter(normal).count(), 0);
}

#[test]
fn a_clock_that_was_ahead_before_the_restart_keeps_no_post_from_falling_silent() {
    let mut city = City::street(10);
    let ahead = Millis::hours(24);
    for round in 0..4 {
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round) + ahead), n)));
    }
    let mut after = restarted(&city, City::street(10));
    go_on(&mut after, 10, (1, 40));
    assert_eq!(after.of_kind(Kind::FeederDark).len(), 1);
}

#[test]
fn a_leaning_column_does_not_learn_by_a_restart_that_it_stands_straight() {
    let tilted = |minute: i64, degrees: f64| with(lit(minutes(minute)), Field::TiltDeg, degrees);
    let mut city = City::street(10);
    city.read(&at_post(tilted(0, 2.0), 0));
    city.read(&at_post(tilted(5, 22.0), 0));
    assert_eq!(city.the(Family::Column).severity, Severity::P1);
    let mut after = restarted(&city, City::street(10));
    for n in 0..6 {
        after.read(&at_post(tilted(60 + 5 * n, 22.0), 0));
    }
    let column = after.of_kind(Kind::Column);
    assert_eq!((column.len(), column[0].signal), (1, Signal::Active));
}

#[test]
fn what_is_remembered_of_a_post_is_kept_once_a_day_and_not_at_each_reading() {
    let mut city = street();
    let kept = |city: &City| city.effects.iter().filter(|e| matches!(e, Effect::Remember(_))).count();
    let before = kept(&city);
    for n in 1..=(24 * 12) {
        (0..10).for_each(|post| city.read(&at_post(lit(minutes(5 * n)), post)));
    }
    // Learning the period may be one more.
    assert!((10..=20).contains(&(kept(&city) - before)), "{}", kept(&city) - before);
}

/// Ten posts whose period stands in the profile alone: an hour.
fn hourly() -> City {
    let mut text = lampguard_model::register::header();
    for n in 0..10 {
        text += &format!("\nS{n},,z1,人民路,{n},,FS,C1,113.2,35.2,1,100,false,,,post,all,true,M1,");
    }
    let register = Arc::new(Register::parse(text.as_bytes()).unwrap());
    let engine = Engine::new(Policy::default(), register, Sky::default());
    let mut city = City { engine, effects: Vec::new() };
    city.keep_dry(T - Millis::minutes(5));
    city
}

#[test]
fn a_restart_does_not_forget_that_posts_report_once_an_hour() {
    let read = |city: &mut City, minute: i64| {
        for n in 0..10 {
            let mut r = at_post(lit(minutes(minute)), n);
            r.period_s = Some(3600);
            city.read(&r);
        }
    };
    let mut city = hourly();
    read(&mut city, 0);
    let mut after = restarted(&city, hourly());
    go_on(&mut after, 10, (5, 59));
    assert!(after.opened_of(Family::Comms).is_empty(), "{:#?}", after.opened_of(Family::Comms));
    read(&mut after, 60);
    go_on(&mut after, 10, (61, 119));
    assert!(after.opened_of(Family::Comms).is_empty());
    go_on(&mut after, 10, (120, 400));
    assert_eq!(after.of_kind(Kind::FeederDark).len(), 1, "and they fall silent after their own time");
}

#[test]
fn a_replay_makes_no_silence_graver_before_it_had_begun() {
    let mut city = street();
    go_on(&mut city, 8, (1, 30));
    let opened_at = city.of_kind(Kind::FeederDark)[0].opened_at;
    assert!(opened_at > minutes(2), "{opened_at}");
    let mut after = restarted(&city, City::street(10));
    // The journal of the time before: it rained then.
    after.engine.replaying(true);
    after.weather(minutes(0), "z1", &WeatherReport { rain_mm_h: Some(5.0), ..dry() });
    after.pass(minutes(0), 2);
    assert!(after.escalated().is_empty(), "{:#?}", after.escalated());
    // It is still wet when the silence begins: now it is a P1.
    after.pass(minutes(2), 28);
    after.engine.replaying(false);
    assert_eq!(after.of_kind(Kind::FeederDark)[0].severity, Severity::P1);
}
