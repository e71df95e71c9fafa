//! Truth against what was put into the city.

use std::sync::Arc;

use lampguard_model::Millis;

use super::*;
use crate::event::EventSpec;
use crate::scenario::Scenario;
use crate::simulation::Run;

const START: Timestamp = Timestamp(1_760_710_920_000);

fn simulation(scenario: Scenario, posts: u32, seed: u64) -> Simulation {
    let city = Arc::new(City::new(posts, seed, &scenario).unwrap());
    Simulation::new(city, scenario, Run { seed, speed: None, boot: 1, start: START }).unwrap()
}

fn shipped(name: &str, posts: u32, seed: u64, hours: i64) -> Vec<Truth> {
    let scenario = Scenario::shipped(name).unwrap();
    let start = scenario.starts().unwrap();
    let city = Arc::new(City::new(posts, seed, &scenario).unwrap());
    let run = Run { seed, speed: None, boot: 1, start };
    Simulation::new(city, scenario, run).unwrap().truth(start + Millis::hours(hours))
}

#[test]
fn in_the_demo_the_first_hazard_is_dangerous_after_some_22_seconds_and_all_within_six_minutes() {
    for seed in 0..20 {
        let simulation = simulation(Scenario::shipped("demo").unwrap(), 3200, seed);
        let hazards: Vec<String> =
            simulation.city().hazards_in_order().iter().map(|place| City::post_id(*place as usize)).collect();
        let truth = simulation.truth(START + Millis::minutes(9));
        let mut after: Vec<i64> = truth
            .iter()
            .filter(|hazard| hazards.contains(hazard.post_id.as_ref().unwrap()))
            .filter_map(|hazard| hazard.dangerous_at)
            .map(|at| at.since(START).as_seconds())
            .collect();
        after.sort_unstable();
        assert_eq!(after.len(), 9);
        assert!((19..=26).contains(&after[0]) && after[8] <= 360, "seed {seed}: {after:?}");
        assert!(after[8] > 120, "they come one after the other");
        assert!(truth.len() > 9, "marginal posts are listed too");
    }
}

#[test]
fn the_autumn_rain_makes_its_seven_hazards_dangerous_and_a_few_aged_posts() {
    for seed in [1, 2, 3] {
        let truth = shipped("autumn_rain", 3200, seed, 144);
        let dangerous = truth.iter().filter(|hazard| hazard.class == Danger::Dangerous);
        let causes: Vec<&str> = dangerous.map(|hazard| hazard.cause).collect();
        let joints = causes.iter().filter(|cause| cause.starts_with("wet_joint")).count();
        assert!((5..=7).contains(&joints), "seed {seed}: {causes:?}");
        assert!(causes.len() < 40, "seed {seed}: {causes:?}");
    }
}

#[test]
fn a_truth_line_has_the_fields_of_the_contract() {
    let truth = simulation(Scenario::shipped("demo").unwrap(), 3200, 1).truth(START + Millis::minutes(9));
    let hazard = truth.iter().find(|hazard| hazard.class == Danger::Dangerous).unwrap();
    let line = serde_json::to_value(hazard).unwrap();
    assert_eq!(line["class"], "dangerous");
    assert_eq!(line["sensor"], "ok");
    assert_eq!(line["observable"], true);
    assert!(line["ends_at"].is_null() && line["starts_at"].is_i64() && line["feeder"].is_null());
    assert!(line["dangerous_at"].as_i64() >= line["starts_at"].as_i64());
}

fn event(kind: EventKind, after_min: f64) -> EventSpec {
    EventSpec { kind, after_min, minutes: None, count: 1, spread_min: 0.0, value: None, on: None, skip: 0 }
}

fn dangerous(events: Vec<EventSpec>) -> Vec<Truth> {
    let mut scenario = Scenario::empty("truth");
    scenario.always_energised = true;
    scenario.event = events;
    let mut truth = simulation(scenario, 400, 3).truth(START + Millis::hours(4));
    truth.retain(|hazard| hazard.class == Danger::Dangerous);
    truth
}

#[test]
fn an_event_is_a_hazard_from_its_minute_to_its_end_with_its_cause() {
    let truth = dangerous(vec![EventSpec { minutes: Some(60.0), ..event(EventKind::Leak, 30.0) }]);
    assert_eq!(truth.len(), 1);
    assert_eq!((truth[0].cause, truth[0].kind, truth[0].observable), ("leak", "electric", true));
    assert_eq!(truth[0].dangerous_at, Some(START + Millis::minutes(30)));
    assert_eq!(truth[0].ends_at, Some(START + Millis::minutes(90)));
    let truth = dangerous(vec![event(EventKind::LostEarth, 10.0)]);
    assert_eq!((truth.len(), truth[0].cause), (1, "lost_earth"));
}

#[test]
fn a_broken_neutral_is_a_hazard_at_every_post_of_the_feeder() {
    let truth = dangerous(vec![event(EventKind::BrokenNeutral, 10.0)]);
    let city = City::new(400, 3, &Scenario::empty("truth")).unwrap();
    let feeder = city.feeders().iter().find(|feeder| Some(feeder.id()) == truth[0].feeder).unwrap();
    assert_eq!(truth.len(), feeder.count as usize);
    assert!(truth.iter().all(|hazard| (hazard.kind, hazard.cause) == ("neutral", "broken_neutral")));
    assert!(truth.iter().all(|hazard| hazard.feeder == truth[0].feeder && hazard.post_id.is_some()));
}

#[test]
fn a_hazard_that_no_working_sensor_saw_is_not_observable() {
    for kind in [EventKind::Silent, EventKind::Frozen, EventKind::OpenCt, EventKind::Drown] {
        // The same seed and the same kind of place: both events fall on one post.
        let truth = dangerous(vec![event(EventKind::Leak, 60.0)]);
        let place: u32 = truth[0].post_id.as_ref().unwrap()[1..].parse::<u32>().unwrap() - 1;
        let mut scenario = Scenario::empty("truth");
        scenario.always_energised = true;
        scenario.event = vec![event(EventKind::Leak, 60.0)];
        let mut simulation = simulation(scenario, 400, 3);
        simulation.world_mut().add(crate::event::Event {
            kind,
            target: Target::Post(place),
            from_min: 10.0,
            until_min: f64::INFINITY,
            value: 0.0,
            source: None,
        });
        let truth = simulation.truth(START + Millis::hours(4));
        let hazard = truth.iter().find(|hazard| hazard.cause == "leak").unwrap();
        assert!(!hazard.observable && hazard.sensor.starts_with("failed:"), "{kind:?}: {hazard:?}");
    }
}

#[test]
fn a_sensor_that_falls_silent_after_its_first_dangerous_reading_has_told_of_it() {
    let truth = shipped("critical_then_silent", 3200, 1, 40);
    let failed: Vec<_> =
        truth.iter().filter(|hazard| hazard.sensor == "failed:silent_after_critical").collect();
    assert!(failed.len() >= 4 && failed.iter().all(|hazard| hazard.observable), "{failed:?}");
}

#[test]
fn a_wet_cable_joint_is_marginal_and_named_by_its_feeder() {
    let truth = shipped("one_bad_joint", 400, 1, 60);
    let joint = truth.iter().find(|hazard| hazard.kind == "feeder_leak").unwrap();
    assert!(joint.post_id.is_none() && joint.feeder.is_some() && joint.observable);
    assert_eq!(joint.class, Danger::Marginal);
}

#[test]
fn danger_that_comes_back_days_after_a_repair_is_a_line_of_its_own() {
    let truth = shipped("crew_recloses", 3200, 1, 90);
    let mut lines = std::collections::HashMap::new();
    for hazard in truth.iter().filter(|hazard| hazard.class == Danger::Dangerous) {
        *lines.entry(hazard.post_id.clone()).or_insert(0) += 1;
    }
    assert!(lines.values().filter(|count| **count == 2).count() >= 2, "{truth:#?}");
}

#[test]
fn a_marginal_post_without_a_sensor_says_so() {
    let scenario = Scenario::shipped("demo").unwrap();
    let mut scenario = scenario;
    scenario.params = "[fleet]\nno_sensor = 1.0".parse().unwrap();
    let truth = simulation(scenario, 3200, 1).truth(START + Millis::minutes(9));
    assert!(!truth.is_empty());
    assert!(truth.iter().all(|hazard| hazard.sensor == "failed:none" && !hazard.observable));
}

/// A cable that breaks in the rain at a post, after an hour, whose neighbours hang in part on another feeder; the place of
/// the post, and of those neighbours.
fn broken_cable() -> (Simulation, u32, Vec<u32>) {
    let mut scenario = Scenario::empty("truth");
    scenario.always_energised = true;
    scenario.storm =
        vec![crate::scenario::Storm { rain_mm_h: 12.0, hours: 6.0, ..crate::weather::front(0.0) }];
    let mut simulation = simulation(scenario, 400, 3);
    let city = simulation.city().clone();
    let feeder = |place: u32| city.posts()[place as usize].feeder;
    let beside = |place: u32| {
        let others = crate::city::neighbours(&city, place, 1).into_iter().map(|(other, _)| other);
        others.filter(|other| feeder(*other) != feeder(place)).collect::<Vec<u32>>()
    };
    let source = (0..400).find(|place| !beside(*place).is_empty()).unwrap();
    let mut events = Vec::new();
    let cable = happening(EventKind::Neighbours, Target::Post(source), 60.0, 80.0);
    cable.spread(&city, crate::chance::Chance::new(1), &mut events);
    events.into_iter().for_each(|event| simulation.world_mut().add(event));
    (simulation, source, beside(source))
}

fn happening(kind: EventKind, target: Target, from_min: f64, value: f64) -> crate::event::Event {
    crate::event::Event { kind, target, from_min, until_min: f64::INFINITY, value, source: None }
}

fn by_the_cable(simulation: &Simulation) -> Vec<Truth> {
    let mut truth = simulation.truth(START + Millis::hours(4));
    truth.retain(|hazard| hazard.cause == "energised_by_neighbour" && hazard.class == Danger::Dangerous);
    truth
}

#[test]
fn a_dead_post_is_live_through_the_cable_of_another_feeder_and_not_through_a_dead_one() {
    let (mut simulation, source, beside) = broken_cable();
    let feeder_of = |simulation: &Simulation, place: u32| simulation.city().posts()[place as usize].feeder;
    let (own, other) = (feeder_of(&simulation, source), feeder_of(&simulation, beside[0]));
    let post = City::post_id(beside[0] as usize);
    let mut dead = simulation.clone();
    simulation.world_mut().add(happening(EventKind::Cut, Target::Feeder(other), 30.0, 0.0));
    let truth = by_the_cable(&simulation);
    let back_fed = truth.iter().find(|hazard| hazard.post_id.as_deref() == Some(&post)).expect("back-feed");
    assert_eq!(back_fed.dangerous_at, Some(START + Millis::minutes(60)));
    assert!(
        !back_fed.observable || simulation.city().posts()[beside[0] as usize].model.unwrap().spec().battery
    );
    // The cable's own feeder is cut: nothing drives any of them.
    dead.world_mut().add(happening(EventKind::Cut, Target::Feeder(own), 30.0, 0.0));
    assert_eq!(by_the_cable(&dead), []);
}

#[test]
fn the_repair_of_a_broken_cable_ends_the_danger_at_all_its_neighbours() {
    let (mut simulation, source, _) = broken_cable();
    let lasting = by_the_cable(&simulation);
    assert!(lasting.len() > 2 && lasting.iter().all(|hazard| hazard.ends_at.is_none()), "{lasting:#?}");
    simulation.world_mut().add(happening(EventKind::Repair, Target::Post(source), 120.0, 0.0));
    let repaired = by_the_cable(&simulation);
    assert_eq!(repaired.len(), lasting.len());
    for hazard in repaired {
        assert_eq!(hazard.ends_at, Some(START + Millis::minutes(120)), "{hazard:?}");
    }
}
