//! What is done to a running city shows in its messages and in its truth.

use std::sync::Arc;

use lampguard_model::{Millis, Reading, wire};

use super::*;
use crate::city::City;
use crate::scenario::Scenario;
use crate::simulation::{Message, Run, Source};

const START: Timestamp = Timestamp(1_760_710_920_000);

fn city() -> Simulation {
    let mut scenario = Scenario::empty("control");
    scenario.always_energised = true;
    scenario.period_s = Some(10);
    scenario.speed = 60.0;
    let city = Arc::new(City::new(400, 1, &scenario).unwrap());
    Simulation::new(city, scenario, Run { seed: 1, speed: None, boot: 1, start: START }).unwrap()
}

fn measured(simulation: &Simulation, nth: usize) -> u32 {
    let posts = simulation.city().posts().iter().enumerate();
    let measured =
        posts.filter(|(_, post)| post.model.is_some_and(|m| m.spec().leakage && !m.spec().battery));
    measured.map(|(place, _)| place as u32).nth(nth).unwrap()
}

fn of_post(messages: &[Message], place: u32) -> Vec<Reading> {
    let own = messages.iter().filter(|message| message.source == Source::Post(place));
    let decode = |message: &Message| {
        let mut out = Vec::new();
        wire::decode(&message.payload, &mut out).unwrap();
        out.pop().unwrap().unwrap()
    };
    own.map(decode).collect()
}

fn at(seconds: i64) -> Timestamp {
    START + Millis::seconds(seconds)
}

#[test]
fn a_leak_is_measured_and_true_until_it_is_repaired() {
    let mut simulation = city();
    let place = measured(&simulation, 3);
    let post_id = City::post_id(place as usize);
    simulation.advance(at(30));
    let leak = Command::Leak { post_id: post_id.clone(), leakage_ma: 45.0 };
    assert!(simulation.command(at(30), &leak).unwrap().contains("45 mA"));
    let during = simulation.advance(at(60));
    assert!(
        of_post(&during, place).last().unwrap().leakage().unwrap() > lampguard_model::Milliamps::whole(38)
    );
    simulation.command(at(60), &Command::Repair { post_id: post_id.clone() }).unwrap();
    let after = simulation.advance(at(90));
    assert!(of_post(&after, place).last().unwrap().leakage().unwrap() < lampguard_model::Milliamps::whole(3));
    let truth = simulation.truth(at(90));
    let hazard = truth.iter().find(|hazard| hazard.post_id.as_ref() == Some(&post_id)).unwrap();
    assert_eq!(hazard.cause, "leak");
    assert!((30..=31).contains(&hazard.dangerous_at.unwrap().since(START).as_seconds()));
    assert!((60..=61).contains(&hazard.ends_at.unwrap().since(START).as_seconds()));
}

#[test]
fn a_cut_feeder_is_silent_and_comes_back_as_a_herd_with_a_new_boot() {
    let mut simulation = city();
    let place = measured(&simulation, 0);
    let feeder = simulation.city().feeders()[simulation.city().posts()[place as usize].feeder as usize].id();
    let before = of_post(&simulation.advance(at(30)), place);
    simulation.command(at(30), &Command::Cut { feeder: feeder.clone() }).unwrap();
    simulation.advance(at(32));
    assert!(of_post(&simulation.advance(at(60)), place).is_empty());
    simulation.command(at(60), &Command::Reclose { feeder }).unwrap();
    let after = of_post(&simulation.advance(at(120)), place);
    assert!(after[0].boot > before[0].boot && after[0].seq == Some(1));
}

#[test]
fn rain_falls_where_it_is_asked_for_and_ends_when_asked() {
    let mut simulation = city();
    let rain =
        Command::Rain { zone: Some("z2".to_owned()), rain_mm_h: 20.0, minutes: 600.0, warning: Warning::Red };
    simulation.advance(at(5));
    simulation.command(at(5), &rain).unwrap();
    let told = |messages: &[Message], zone: u8| {
        let of_zone = messages.iter().rev().find(|message| message.source == Source::Weather(zone));
        let json: serde_json::Value = serde_json::from_slice(&of_zone.unwrap().payload).unwrap();
        (json["rain_mm_h"].as_f64().unwrap(), json["warning"].as_str().unwrap().to_owned())
    };
    let messages = simulation.advance(at(15));
    assert!(told(&messages, 1).0 > 15.0 && told(&messages, 1).1 == "red");
    assert_eq!(told(&messages, 0), (0.0, "none".to_owned()));
    let end = Command::Rain { zone: None, rain_mm_h: 0.0, minutes: 1.0, warning: Warning::None };
    simulation.command(at(15), &end).unwrap();
    assert_eq!(told(&simulation.advance(at(25)), 1), (0.0, "none".to_owned()));
}

#[test]
fn a_storm_of_leaks_strikes_its_number_of_posts_within_ten_seconds() {
    let mut simulation = city();
    simulation.advance(at(20));
    simulation.command(at(20), &Command::Storm { posts: 50 }).unwrap();
    let truth = simulation.truth(at(40));
    let leaks: Vec<_> = truth.iter().filter(|hazard| hazard.cause == "leak").collect();
    assert_eq!(leaks.len(), 50);
    for hazard in leaks {
        assert!((20..=31).contains(&hazard.dangerous_at.unwrap().since(START).as_seconds()));
    }
}

#[test]
fn a_drowned_sensor_tells_of_water_if_it_can_and_is_silent_then() {
    let mut simulation = city();
    let posts = simulation.city().posts();
    let place = posts.iter().position(|post| post.model == Some(crate::sensor::Model::H2)).unwrap() as u32;
    simulation.advance(at(20));
    simulation.command(at(20), &Command::Drown { post_id: City::post_id(place as usize) }).unwrap();
    let told = of_post(&simulation.advance(at(200)), place);
    assert!(told.last().unwrap().fields.flag(lampguard_model::Field::Immersed) == Some(true));
    assert!(of_post(&simulation.advance(at(300)), place).is_empty());
}

#[test]
fn a_command_out_of_range_or_for_nobody_is_refused_and_changes_nothing() {
    let mut simulation = city();
    let before = simulation.world().events().len();
    let json = |text: &str| serde_json::from_str::<Command>(text).unwrap();
    for (command, reason) in [
        (r#"{"do":"leak","post_id":"P99999","leakage_ma":40}"#, "no post \"P99999\""),
        (r#"{"do":"leak","post_id":"P00001","leakage_ma":0}"#, "leakage_ma is 0, the range is 0.1 to 5000"),
        (r#"{"do":"cut","feeder":"F9-001"}"#, "no feeder \"F9-001\""),
        (r#"{"do":"rain","zone":"z9","rain_mm_h":5,"minutes":10}"#, "no zone \"z9\""),
        (r#"{"do":"rain","rain_mm_h":500,"minutes":10}"#, "rain_mm_h is 500, the range is 0 to 200"),
        (r#"{"do":"storm","posts":401}"#, "posts is 401, the range is 1 to 400"),
    ] {
        let refused = simulation.command(at(1), &json(command)).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    assert_eq!(simulation.world().events().len(), before);
    assert!(serde_json::from_str::<Command>(r#"{"do":"leak","post_id":"P1","leakage_mA":4}"#).is_err());
}
