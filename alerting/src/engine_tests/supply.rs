//! Supply by the timetable, where no sample says it.

use jiff::tz::TimeZone;

use super::*;
use crate::engine::State;
use crate::incident::Kind;
use crate::life::tests::{crew, desk};
use crate::life::{self, Method, Verb};
use crate::lighting::{Lighting, LightingConfig};

/// `T` is 20:00 in Xinxiang: F1 is on from 18:00 to 20:30.
fn city() -> City {
    let text = "[[timetable]]\nfeeders = [\"F1\"]\non = \"18:00\"\noff = \"20:30\"\n";
    let config: LightingConfig = toml::from_str(text).unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let mut city = City::new();
    city.engine.set_lighting(Arc::new(Lighting::build(Some(&config), zone, &register()).unwrap()));
    city
}

#[test]
fn a_reading_that_says_nothing_of_its_supply_is_judged_by_the_timetable_of_its_feeder() {
    let mut city = city();
    city.read(&leak(minutes(10), 1.0));
    assert_eq!(city.engine.post_state("P1", minutes(11)).state, State::Normal);
    city.read(&leak(minutes(40), 1.0));
    assert_eq!(city.engine.post_state("P1", minutes(41)).state, State::Unpowered);
    let why = city.engine.explain("P1", minutes(41)).supply;
    assert_eq!((why.powered, why.expected), (false, Some(false)));
    assert!(why.timetable.starts_with("since 2026-11-23T12:30:00"), "{why:?}");
}

/// P1 is dangerous, and since minute 25 its crew stands behind an isolation of that extent.
fn isolated(extent: life::Extent) -> City {
    let mut city = city();
    for minute in [0, 5] {
        city.read(&with(leak(minutes(minute), 40.0), Field::SupplyV, 230.0));
    }
    let id = city.the_incident().id.to_string();
    city.moved(minutes(20), &id, crew(Verb::Arrive, "1"));
    let mut m = crew(Verb::MakeSafe, "1");
    (m.body.method, m.body.breaker) = (Some(Method::Isolated), Some("QF3".to_owned()));
    m.body.extent = Some(extent);
    city.moved(minutes(25), &id, m);
    city
}

#[test]
fn a_crew_behind_an_isolation_is_warned_once_a_quarter_of_an_hour_before_the_timetable_switches_on() {
    let mut city = isolated(life::Extent::Feeder);
    let warned = |city: &City| city.told().iter().filter(|word| **word == "incident.switch_on_soon").count();
    // 20:29, on already; 17:44 of the next day, off for another 16 minutes; then 14.
    for (minute, expected) in
        [(29, 0), (21 * 60 + 44, 0), (21 * 60 + 46, 1), (21 * 60 + 55, 1), (22 * 60 + 5, 1)]
    {
        city.tick(minutes(minute));
        assert_eq!(warned(&city), expected, "minute {minute}");
    }
    city.tick(minutes(45 * 60 + 50));
    assert_eq!(warned(&city), 2, "and the day after");
}

#[test]
fn a_crew_whose_post_the_register_moved_is_warned_by_the_timetable_of_today() {
    let mut city = isolated(life::Extent::Post);
    // F1 is F9 from now on, and F9 comes on at 21:00.
    let register = enrol::with_p1(&[&enrol::OF_P1.replace(",F1,", ",F9,")]);
    city.enrol(minutes(26), &register);
    let text = "[[timetable]]\nfeeders = [\"F9\"]\non = \"21:00\"\noff = \"23:00\"\n";
    let config: LightingConfig = toml::from_str(text).unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    city.engine.set_lighting(Arc::new(Lighting::build(Some(&config), zone, &register).unwrap()));
    city.tick(minutes(44));
    assert!(!city.told().contains(&"incident.switch_on_soon"));
    city.tick(minutes(46));
    assert!(city.told().contains(&"incident.switch_on_soon"), "{:?}", city.told());
}

#[test]
fn lamps_under_planned_work_are_left_out_and_those_isolated_for_a_fault_are_dark() {
    use crate::lighting::Exempt;
    let mut city = city();
    let of = |city: &City, post: &str, minute| {
        city.engine.exemptions(minutes(minute)).of(register().by_post(post).unwrap())
    };
    let request = crate::engine::JobRequest {
        actor: desk(Verb::Note, "m").actor,
        key: "m".to_owned(),
        scope: crate::engine::JobScope::PostId("P1".to_owned()),
        crew: "Crew 1".to_owned(),
        reason: "new lamp".to_owned(),
        until: Some(minutes(60)),
    };
    city.engine.step(T, Input::Maintenance(&request), &mut city.effects);
    assert_eq!((of(&city, "P1", 1), of(&city, "P1", 61)), (Exempt::Planned, Exempt::No));
    city.engine.isolate(crate::engine::isolation::Extent::Post(Arc::from("P1")), minutes(2));
    assert_eq!(of(&city, "P1", 3), Exempt::Isolated, "a fault goes before planned work");
}

#[test]
fn measured_supply_counts_more_than_any_timetable() {
    let mut city = city();
    city.read(&with(leak(minutes(40), 1.0), Field::SupplyV, 229.0));
    assert_eq!(city.engine.post_state("P1", minutes(41)).state, State::Normal);
}

#[test]
fn a_value_at_or_above_a_limit_counts_whatever_the_timetable_says() {
    let mut city = city();
    city.read(&leak(minutes(40), 41.0));
    city.read(&leak(minutes(45), 42.0));
    assert_eq!(city.opened().len(), 1);
}

#[test]
fn without_timetables_a_reading_that_says_nothing_is_taken_as_powered() {
    let mut city = City::new();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    city.engine.set_lighting(Arc::new(Lighting::by_sun(zone, &register())));
    let noon = T + Millis::hours(16);
    city.keep_dry(noon);
    city.read(&leak(noon, 1.0));
    assert_eq!(city.engine.post_state("P1", noon).state, State::Normal);
}

/// A reading that leaves out what did not change.
fn part(mut r: StoredReading<'static>) -> StoredReading<'static> {
    r.marks.add(Marks::PARTIAL);
    r
}

#[test]
fn behind_an_open_breaker_a_partial_reading_without_supply_is_no_powered_calm_sample() {
    let run = |partial: fn(StoredReading<'static>) -> StoredReading<'static>| {
        let mut city = City::new();
        city.read(&partial(with(reading(minutes(0)), Field::SupplyV, 230.0)));
        city.read(&partial(leak(minutes(0) + Millis::seconds(1), 120.0)));
        // The breaker opens: each quantity comes apart.
        city.read(&partial(with(reading(minutes(5)), Field::SupplyV, 0.0)));
        city.read(&partial(leak(minutes(5) + Millis::seconds(1), 0.0)));
        let powered = city.engine.explain("P1", minutes(6)).supply.powered;
        city.tick(minutes(9));
        (powered, city.opened().iter().any(|incident| incident.evidence.kind == Kind::CriticalThenSilent))
    };
    assert_eq!(run(part), (false, true), "critical, then nothing powered: raised");
    assert_eq!(run(|r| r), (true, false), "whole readings without a supply are taken as powered");
}

#[test]
fn a_supply_that_was_told_long_ago_says_nothing_of_a_partial_reading() {
    let mut city = City::new();
    city.read(&part(with(reading(minutes(0)), Field::SupplyV, 0.0)));
    city.read(&part(leak(minutes(9), 1.0)));
    assert!(!city.engine.explain("P1", minutes(9)).supply.powered);
    city.read(&part(leak(minutes(11), 1.0)));
    assert!(city.engine.explain("P1", minutes(11)).supply.powered, "two periods of 5 min are over");
    // What the reading says by itself wins.
    city.read(&part(with(leak(minutes(12), 1.0), Field::SupplyV, 0.0)));
    city.read(&part(with(leak(minutes(13), 1.0), Field::Supply, 1.0)));
    assert!(city.engine.explain("P1", minutes(13)).supply.powered);
}
