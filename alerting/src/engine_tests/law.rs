//! Another policy comes into force.

use lampguard_model::Milliamps;

use super::*;

fn stricter() -> Policy {
    let mut policy = Policy::default();
    policy.leak_critical.dry = Milliamps::whole(20);
    policy
}

#[test]
fn a_stricter_policy_judges_fresh_samples_again_and_its_fingerprint_stands_on_what_it_opens() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 25.0));
    city.read(&leak(minutes(5), 25.0));
    assert!(city.opened().is_empty(), "below 30 mA");
    city.enact(minutes(6), &stricter());
    let incident = city.the_incident();
    assert_eq!((incident.opened_at, incident.evidence.limit), (minutes(6), 20_000));
    assert_eq!(*incident.evidence.policy_hash, stricter().hash());
}

#[test]
fn a_policy_that_comes_into_force_finds_nothing_in_samples_that_are_old() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 25.0));
    city.read(&leak(minutes(5), 25.0));
    city.enact(minutes(20), &stricter());
    assert!(city.opened().is_empty(), "15 min old at a period of 5 min");
}

#[test]
fn an_open_incident_keeps_the_fingerprint_and_the_deadline_it_opened_with() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 35.0));
    city.read(&leak(minutes(5), 35.0));
    let (hash, due_at) = (city.the_incident().evidence.policy_hash.clone(), city.the_incident().due_at);
    let mut other = stricter();
    other.due.p1 = Millis::minutes(10);
    city.enact(minutes(6), &other);
    let incident = city.engine.open_incidents().next().unwrap();
    assert_eq!((&incident.evidence.policy_hash, incident.due_at), (&hash, due_at));
}

#[test]
fn other_numbers_of_wet_hold_from_their_moment_on() {
    let mut city = City::new();
    let rain = WeatherReport { rain_mm_h: Some(6.0), ..WeatherReport::default() };
    city.weather(minutes(0), "all", &rain);
    city.tick(minutes(2));
    city.weather(minutes(2), "all", &dry());
    assert!(city.engine.post_state("P1", minutes(3)).wet);
    let mut other = Policy::default();
    other.wet.rain = crate::policy::Millimetres::whole(5);
    other.wet.drying = Millis::seconds(1);
    city.enact(minutes(4), &other);
    city.tick(minutes(5));
    assert!(!city.engine.post_state("P1", minutes(5)).wet, "0.2 mm are no rain any more");
}
