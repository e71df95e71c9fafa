//! Supply by the timetable, where no sample says it.

use jiff::tz::TimeZone;

use super::*;
use crate::engine::State;
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

/// Kinds of what is open.
fn kinds(city: &City) -> Vec<&'static str> {
    city.engine.open_incidents().map(|incident| incident.evidence.kind.name()).collect()
}

/// P1 and P2 report with supply every five minutes until 20:25, then nothing comes any more.
fn silent_from_half_past(city: &mut City) {
    for minute in (0..=25).step_by(5) {
        for post in ["P1", "P2"] {
            let mut sample = with(leak(minutes(minute), 1.0), Field::SupplyV, 229.0);
            (sample.post, sample.device) = (post, post);
            sample.identity = mix(sample.identity ^ u64::from(post == "P2"));
            city.read(&sample);
        }
    }
    for minute in 26..=150 {
        if minute % 30 == 0 {
            city.keep_dry(minutes(minute));
        }
        city.tick(minutes(minute));
    }
}

#[test]
fn silence_after_a_scheduled_switch_off_is_no_fault_and_without_a_timetable_it_is() {
    let mut by_timetable = city();
    silent_from_half_past(&mut by_timetable);
    assert!(!kinds(&by_timetable).contains(&"offline"), "{:?}", kinds(&by_timetable));
    let mut unknown = City::new();
    silent_from_half_past(&mut unknown);
    assert!(kinds(&unknown).contains(&"offline"), "{:?}", kinds(&unknown));
}

#[test]
fn a_dark_lamp_is_told_by_the_timetable_and_not_after_its_switch_off() {
    let dark = |minute: i64| {
        let sample = with(leak(minutes(minute), 1.0), Field::SupplyV, 229.0);
        with(sample, Field::LampW, 2.0)
    };
    let mut lit = city();
    (0..=25).step_by(5).for_each(|minute| lit.read(&dark(minute)));
    assert!(kinds(&lit).contains(&"lamp_out"), "{:?}", kinds(&lit));
    let mut off = city();
    (35..=60).step_by(5).for_each(|minute| off.read(&dark(minute)));
    assert!(!kinds(&off).contains(&"lamp_out"), "{:?}", kinds(&off));
    let mut sun = City::new();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    sun.engine.set_lighting(Arc::new(Lighting::by_sun(zone, &register())));
    (0..=25).step_by(5).for_each(|minute| sun.read(&dark(minute)));
    assert!(!kinds(&sun).contains(&"lamp_out"), "the sun alone switches no city: {:?}", kinds(&sun));
}
