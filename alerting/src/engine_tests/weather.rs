use lampguard_model::Warning;

use super::*;
use crate::engine::State;
use crate::incident::Kind;

fn warning() -> WeatherReport {
    WeatherReport { warning: Some(Warning::Yellow), ..WeatherReport::default() }
}

#[test]
fn situation_s22_rain_makes_a_dry_good_post_critical_without_a_new_sample() {
    let mut city = City::new();
    city.read(&leak(T, 17.0));
    city.read(&leak(minutes(5), 17.0));
    assert!(city.opened().is_empty());
    city.weather(minutes(9), "z1", &warning());
    let incident = city.the_incident();
    assert_eq!(incident.opened_at, minutes(9), "at the switch");
    let e = &incident.evidence;
    assert_eq!((e.limit, e.wet, &*e.wet_because), (15_000, true, "warning"));
    assert_eq!((e.measured_at, e.received_at), (minutes(5), minutes(5)));
}

#[test]
fn a_simulated_post_that_rain_makes_critical_says_that_it_is_simulated() {
    let mut city = City::new();
    for at in [T, minutes(5)] {
        let mut reading = leak(at, 17.0);
        reading.flags.add(Flags::SIMULATED);
        city.read(&reading);
    }
    city.weather(minutes(9), "z1", &warning());
    assert_eq!(city.the_incident().notes, ["模拟数据"]);
}

#[test]
fn a_change_of_wet_does_not_judge_a_stale_sample_or_another_zone() {
    let mut city = City::new();
    city.read(&leak(T, 17.0));
    city.read(&leak(minutes(5), 17.0));
    city.weather(minutes(6), "z2", &warning());
    assert!(city.opened().is_empty(), "another zone");
    city.weather(minutes(16), "z1", &warning());
    assert!(city.opened().is_empty(), "older than two periods");
}

#[test]
fn situation_s23_the_end_of_rain_relaxes_after_six_hours_and_closes_nothing() {
    let mut city = City::new();
    city.weather(T, "z1", &warning());
    city.read(&leak(minutes(1), 16.0));
    city.read(&leak(minutes(6), 16.0));
    assert_eq!(city.opened().len(), 1);
    let lifted = WeatherReport { warning: Some(Warning::None), ..WeatherReport::default() };
    city.weather(minutes(10), "z1", &lifted);
    for minute in (10..10 + 6 * 60).step_by(30) {
        city.keep_dry(minutes(minute));
    }
    let wet = |city: &City, minute| city.engine.post_state("P1", minutes(minute)).wet;
    city.tick(minutes(10 + 360));
    assert!(wet(&city, 370));
    city.tick(minutes(10 + 361));
    assert!(!wet(&city, 371));
    assert!(city.engine.post_state("P2", minutes(371)).wet, "low-lying posts dry for a day");
    assert_eq!(city.engine.open_incidents().count(), 1);
}

#[test]
fn situation_s24_a_dead_weather_feed_makes_all_posts_wet_and_tells_the_desk_once() {
    let mut city = City::new();
    city.pass(T - Millis::minutes(5), 54);
    city.read(&leak(minutes(50), 17.0));
    city.read(&leak(minutes(54), 17.0));
    city.tick(minutes(55));
    assert!(city.opened().is_empty());
    city.pass(minutes(55), 30);
    let incident = city.the_incident();
    assert_eq!(&*incident.evidence.wet_because, "unknown");
    assert!(incident.notes.iter().any(|note| note.contains("天气未知")));
    let told: Vec<_> = city
        .effects
        .iter()
        .filter_map(|e| match e {
            Effect::WeatherUnknown { since, zones } => Some((*since, zones.join(","))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(minutes(-5), "z1,z2".to_owned())]);
    city.keep_dry(minutes(90));
    city.pass(minutes(90), 70);
    let again = city.effects.iter().filter(|e| matches!(e, Effect::WeatherUnknown { .. }));
    assert_eq!(again.count(), 2, "known in between, so it is told again");
}

#[test]
fn before_the_first_weather_message_wet_limits_hold_and_the_desk_is_told_after_a_minute() {
    let mut city = City::without_weather();
    city.tick(T);
    city.read(&leak(T + Millis::seconds(10), 15.0));
    city.read(&leak(T + Millis::seconds(40), 15.0));
    assert_eq!(city.opened().len(), 1);
    let told =
        |city: &City| city.effects.iter().filter(|e| matches!(e, Effect::WeatherUnknown { .. })).count();
    assert_eq!(told(&city), 0, "the first message may be on its way");
    city.pass(T, 5);
    assert_eq!(told(&city), 1);
}

#[test]
fn an_immersed_post_is_wet_by_itself_and_dries_for_six_hours() {
    let mut city = City::new();
    city.read(&leak(T, 16.0));
    city.read(&with(leak(minutes(5), 16.0), Field::Immersed, 1.0));
    let incident = city.the_incident();
    assert_eq!(&*incident.evidence.wet_because, "immersed");
    city.read(&with(leak(minutes(10), 1.0), Field::Immersed, 0.0));
    for minute in (10..400).step_by(30) {
        city.keep_dry(minutes(minute));
    }
    let wet = |minute| city.engine.post_state("P1", minutes(minute)).wet_because.clone();
    assert_eq!(wet(364), "drying");
    assert_eq!(wet(366), "");
    assert!(!city.engine.post_state("P2", minutes(11)).wet);
}

#[test]
fn water_in_a_reading_without_leakage_judges_the_last_fresh_samples_again() {
    let mut city = City::new();
    city.read(&leak(T, 17.0));
    city.read(&leak(minutes(5), 17.0));
    city.read(&with(reading(minutes(6)), Field::Immersed, 1.0));
    assert_eq!(city.the_incident().evidence.kind, Kind::LeakCritical);
}

#[test]
fn weather_for_a_zone_that_nobody_registered_is_left_aside() {
    let mut city = City::new();
    city.weather(T, "z999", &warning());
    assert!(city.engine.sky().get("z999").is_none());
}

#[test]
fn the_water_of_a_post_survives_a_restart() {
    let mut city = City::new();
    city.read(&with(leak(T, 1.0), Field::Immersed, 1.0));
    let memory = city.effects.iter().find_map(|e| match e {
        Effect::Remember(memory) => Some(memory.clone()),
        _ => None,
    });
    let mut restarted = City::new();
    restarted.engine.remember(&memory.unwrap());
    let post = restarted.engine.post_state("P1", minutes(60));
    assert_eq!((post.wet, &*post.wet_because), (true, "drying"));
    assert_eq!(post.state, State::Silent, "it has spoken, and does not any more");
}
