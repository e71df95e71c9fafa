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
