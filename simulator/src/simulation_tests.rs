//! The timetable, the messages, the quirks and the past.

use std::collections::HashMap;

use lampguard_model::{Field, Flags, Marks, Millis, Register, WeatherReport, wire};

use super::*;
use crate::city::Class;
use crate::quirks::Quirks;

const START: Timestamp = Timestamp(1_760_710_920_000);

fn scenario() -> Scenario {
    Scenario::shipped("demo").unwrap()
}

fn simulation(posts: u32, seed: u64, scenario: Scenario) -> Simulation {
    let city = Arc::new(City::new(posts, seed, &scenario).unwrap());
    Simulation::new(city, scenario, Run { seed, speed: None, boot: 5, start: START }).unwrap()
}

fn decoded(message: &Message) -> Reading {
    let mut out = Vec::new();
    wire::decode(&message.payload, &mut out).unwrap();
    assert_eq!(out.len(), 1);
    out.pop().unwrap().unwrap()
}

fn readings(messages: &[Message]) -> Vec<(u32, Reading)> {
    let of = |message: &Message| match message.source {
        Source::Post(place) => Some((place, decoded(message))),
        Source::Weather(_) => None,
    };
    messages.iter().filter_map(of).collect()
}

#[test]
fn the_same_seed_gives_the_same_messages_whatever_the_steps() {
    let (mut fine, mut coarse) = (simulation(500, 4, scenario()), simulation(500, 4, scenario()));
    let mut stepped = Vec::new();
    for ms in (0..60_000).step_by(37) {
        stepped.extend(fine.advance(START + Millis(ms)));
    }
    let whole = coarse.advance(START + Millis(59_977));
    assert_eq!(stepped, whole);
    assert_eq!(fine.counts(), coarse.counts());
    assert_ne!(simulation(500, 5, scenario()).advance(START + Millis(59_977)), whole);
}

#[test]
fn every_post_reports_once_in_a_period_and_evenly_spread() {
    let mut quiet = scenario();
    quiet.quirks = Quirks::NONE;
    quiet.storm.clear();
    let mut simulation = simulation(1000, 1, quiet);
    let sensors = simulation.statuses().count();
    assert!((900..1020).contains(&sensors), "{sensors}");
    let first = readings(&simulation.advance(START + Millis(14_999)));
    assert_eq!(first.len(), sensors);
    let second = readings(&simulation.advance(START + Millis(29_999)));
    let at =
        |list: &[(u32, Reading)]| list.iter().map(|(p, r)| (*p, r.ts.unwrap().0)).collect::<HashMap<_, _>>();
    let (first_at, second_at) = (at(&first), at(&second));
    assert!(first_at.iter().all(|(post, ts)| second_at[post] - ts == 15_000));
    for slice in 0..10 {
        let from = START.0 + slice * 1500;
        let part = first_at.values().filter(|ts| (from..from + 1500).contains(*ts)).count();
        assert!(part.abs_diff(sensors / 10) <= 1, "{part} of {sensors}");
    }
    assert!(first.iter().all(|(_, reading)| reading.seq == Some(1) && reading.boot == Some(5)));
}

#[test]
fn every_payload_decodes_to_what_was_meant_and_is_marked_as_simulated() {
    let mut simulation = simulation(800, 2, Scenario { quirks: Quirks::NONE, ..scenario() });
    let register = Register::parse(simulation.city().register_csv().as_bytes()).unwrap();
    let messages = simulation.advance(START + Millis::seconds(120));
    for message in &messages {
        match wire::parse_topic(&message.topic).unwrap() {
            wire::Topic::Reading { zone, device } => {
                assert_eq!(&*register.by_device(device).unwrap().zone, zone);
                let reading = decoded(message);
                assert!(reading.flags.has(Flags::SIMULATED));
                assert_eq!(reading.unknown_keys, 0);
                assert!(!reading.marks.has(Marks::OUT_OF_RANGE) && !reading.marks.has(Marks::MENDED));
                let known = register.by_device(device).unwrap();
                let lamp_meter = ["TASMOTA", "SHELLY"].contains(&&*known.model);
                assert_eq!(reading.leakage().is_some(), !lamp_meter, "{}", known.model);
            }
            wire::Topic::Weather { .. } => drop(WeatherReport::decode(&message.payload).unwrap()),
            wire::Topic::Status { .. } => panic!("no status was asked for"),
        }
    }
}

#[test]
fn what_a_sensor_reports_is_the_truth_within_its_noise_and_resolution() {
    let mut plain = scenario();
    plain.quirks = Quirks::NONE;
    let mut simulation = simulation(3200, 6, plain);
    for (place, reading) in readings(&simulation.advance(START + Millis::seconds(60))) {
        let Some(post) = simulation.city().posts().get(place as usize) else { continue };
        if reading.leakage().is_none() {
            continue;
        }
        let soaked = post.insulation.at(1.0);
        let leakage_ma = reading.fields.get(Field::LeakageMa).unwrap_or(5_000_000) as f64 / 1000.0;
        let step = post.model.unwrap().spec().step as f64 / 1000.0;
        assert!(leakage_ma <= soaked.leakage_ma * 1.08 + 0.11 + step, "{place}: {leakage_ma}");
        if post.class == Class::Healthy {
            assert!(leakage_ma < 6.0, "healthy {place}: {leakage_ma}");
        }
    }
}

#[test]
fn in_the_demo_readings_pass_the_wet_limits_within_40_seconds() {
    for seed in 0..10 {
        let mut plain = scenario();
        plain.quirks = Quirks::NONE;
        let mut simulation = simulation(3200, seed, plain);
        let hazards = simulation.city().hazards_in_order().to_vec();
        let messages = simulation.advance(START + Millis::seconds(40));
        let over = |reading: &Reading| {
            reading.fields.get(Field::LeakageMa).is_some_and(|ma| ma >= 15_000)
                || reading.fields.get(Field::ShellV).is_some_and(|v| v >= 12_000)
        };
        let above: Vec<_> = readings(&messages).into_iter().filter(|(_, reading)| over(reading)).collect();
        let told = readings(&messages).iter().filter(|(_, reading)| reading.cause == Cause::Alarm).count();
        assert!(told > 0, "seed {seed}: a device tells at once");
        assert!(!above.is_empty(), "seed {seed}");
        let posts = simulation.city().posts().len();
        let of_posts = above.iter().filter(|(place, _)| (*place as usize) < posts);
        assert!(of_posts.clone().count() > 0 && of_posts.clone().all(|(place, _)| hazards.contains(place)));
    }
}

#[test]
fn a_device_that_passes_its_own_limit_reports_at_once_with_its_flag() {
    let mut plain = scenario();
    plain.quirks = Quirks::NONE;
    plain.period_s = Some(300);
    let mut simulation = simulation(3200, 1, plain);
    let mut alarms: HashMap<u32, Vec<Reading>> = HashMap::new();
    for (place, reading) in readings(&simulation.advance(START + Millis::seconds(540))) {
        if reading.cause == Cause::Alarm {
            let flags = reading.flags;
            assert!(flags.has(Flags::LEAK_ALARM) || flags.has(Flags::SHELL_ALARM));
            alarms.entry(place).or_default().push(reading);
        }
    }
    assert!((3..=5).contains(&alarms.len()), "about half of the nine hazards have flags");
    for (place, readings) in alarms {
        assert!(simulation.city().posts()[place as usize].has_flags);
        assert!(readings.len() > 1, "repeated while it lasts");
        let gaps = readings.windows(2).map(|pair| pair[1].ts.unwrap().since(pair[0].ts.unwrap()));
        // Leakage and shell may pass their limits at different moments: only then sooner.
        assert!(gaps.filter(|gap| *gap < Millis::minutes(1)).count() <= 1);
    }
}

#[test]
fn quirks_are_played_out_and_counted() {
    let mut odd = scenario();
    odd.quirks = Quirks { glitch: 0.01, spike: 0.01, duplicate: 0.02, out_of_order: 0.02, ..Quirks::NONE };
    let mut simulation = simulation(1000, 3, odd);
    let mut all = Vec::new();
    for second in 0..240 {
        all.extend(simulation.advance(START + Millis::seconds(second)));
    }
    let got = readings(&all);
    let counts = simulation.counts();
    let saturated = got.iter().filter(|(_, reading)| reading.marks.has(Marks::SATURATED)).count() as u64;
    assert!(saturated > 50 && saturated < counts.false_values);
    let mut seen: HashMap<(u32, u64), u64> = HashMap::new();
    let mut backwards = 0;
    let mut last: HashMap<u32, u64> = HashMap::new();
    for (place, reading) in &got {
        let seq = reading.seq.unwrap();
        *seen.entry((*place, seq)).or_default() += 1;
        backwards += u64::from(last.insert(*place, seq).is_some_and(|before| before > seq));
    }
    assert_eq!(seen.values().filter(|times| **times == 2).count() as u64, counts.duplicates);
    assert!(counts.duplicates > 100 && counts.out_of_order > 100);
    assert!(backwards * 10 >= counts.out_of_order * 8, "{backwards} of {}", counts.out_of_order);
}

#[test]
fn weather_comes_every_minute_of_weather_for_every_zone() {
    let mut simulation = simulation(10, 1, scenario());
    let messages = simulation.advance(START + Millis(9_999));
    let weather: Vec<_> = messages.iter().filter(|m| matches!(m.source, Source::Weather(_))).collect();
    assert_eq!(weather.len(), 40);
    assert_eq!((weather[0].at, &*weather[0].topic), (START, "weather/z1/rain"));
}

#[test]
fn one_call_returns_a_limited_number_of_messages_and_the_next_ones_the_rest() {
    let mut simulation = simulation(3200, 1, scenario());
    let late = START + Millis::minutes(10);
    let mut total = 0;
    loop {
        let messages = simulation.advance(late);
        assert!(messages.len() <= MESSAGES_MAX + 20);
        if messages.is_empty() {
            break;
        }
        total += messages.len();
    }
    assert!(total > 3000 * 40);
    assert!(simulation.advance(START).is_empty(), "a clock that steps back sends nothing twice");
}

#[test]
fn the_past_is_calm_ordered_and_of_another_boot() {
    let simulation = simulation(100, 1, scenario());
    let from = START - Millis::hours(24 * 5);
    let past: Vec<Message> = simulation.past(from, START, 1800).unwrap().collect();
    assert!(past.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert!(past.iter().all(|message| message.at >= from && message.at < START));
    let got = readings(&past);
    assert_eq!(got.len(), simulation.statuses().count() * 48 * 5);
    for (place, reading) in &got {
        assert_eq!(reading.boot, Some(u32::MAX - 10_000));
        if *place as usize >= simulation.city().posts().len() {
            continue;
        }
        assert!(reading.leakage() < Some(lampguard_model::Milliamps::whole(15)));
        assert!(reading.shell() < Some(lampguard_model::Volts::whole(12)));
    }
    assert!(simulation.past(from - Millis::hours(24 * 400), START, 60).is_err());
    assert!(simulation.past(from, START, 0).is_err());
}

#[test]
fn a_run_out_of_range_is_refused() {
    let city = Arc::new(City::new(10, 1, &scenario()).unwrap());
    let run = Run { seed: 1, speed: Some(0.0), boot: 1, start: START };
    assert!(Simulation::new(city.clone(), scenario(), run).is_err());
    let run = Run { speed: None, boot: 0, ..run };
    assert!(Simulation::new(city, scenario(), run).is_err());
}

#[test]
fn in_every_scenario_messages_come_in_order_of_time_whatever_happens() {
    for (name, _) in crate::scenario::SHIPPED {
        let scenario = Scenario::shipped(name).unwrap();
        let hours = scenario.hours.min(if *name == "everything_at_once" { 20.0 } else { 6.0 });
        let start = scenario.starts().unwrap();
        let city = Arc::new(City::new(400, 2, &scenario).unwrap());
        let run = Run { seed: 2, speed: None, boot: 1, start };
        let mut simulation = Simulation::new(city, scenario, run).unwrap();
        let (mut last, mut count) = (start, 0);
        loop {
            let messages = simulation.advance(start + Millis((hours * 3.6e6) as i64));
            if messages.is_empty() {
                break;
            }
            for message in messages {
                assert!(message.at >= last, "{name}: {} after {last}", message.at);
                last = message.at;
                count += 1;
            }
        }
        assert!(count > 1000, "{name}: {count}");
    }
}

fn shipped(name: &str, posts: u32) -> Simulation {
    let scenario = Scenario::shipped(name).unwrap();
    let start = scenario.starts().unwrap();
    let city = Arc::new(City::new(posts, 1, &scenario).unwrap());
    Simulation::new(city, scenario, Run { seed: 1, speed: None, boot: 5, start }).unwrap()
}

/// Places of the events of a kind.
fn places(simulation: &Simulation, kind: crate::event::EventKind) -> Vec<crate::event::Target> {
    simulation.world().events().iter().filter(|event| event.kind == kind).map(|event| event.target).collect()
}

#[test]
fn scenarios_do_what_their_comments_say_to_the_posts_they_say() {
    use crate::event::{EventKind, Target};
    let city = shipped("half_night", 3200);
    assert_eq!(places(&city, EventKind::Leak), places(&city, EventKind::NightOnly));
    let city = shipped("flooded_underpass", 3200);
    let water = places(&city, EventKind::Flood);
    assert!((2..=12).contains(&water.len()));
    let drowned = places(&city, EventKind::Drown);
    assert!(!drowned.is_empty() && drowned.iter().all(|target| water.contains(target)));
    for target in &water {
        let Target::Post(place) = target else { panic!("a flood is of posts") };
        assert!(city.city().posts()[*place as usize].low_lying);
    }
    let city = shipped("crew_recloses", 3200);
    assert_eq!(places(&city, EventKind::Cut), places(&city, EventKind::Reclose));
    let Target::Feeder(cut) = places(&city, EventKind::Cut)[0] else { panic!("a feeder is cut") };
    let first = city.city().hazards_in_order()[0];
    assert_eq!(city.city().posts()[first as usize].feeder, cut);
    assert!(!places(&city, EventKind::Repair).contains(&Target::Post(first)));
    let city = shipped("battery_nodes", 3200);
    let battery = city.city().posts().iter().filter(|post| post.model.is_some_and(|m| m.spec().battery));
    assert!(battery.count() > 2700, "nine of ten");
}

#[test]
fn an_event_that_cannot_happen_where_it_is_asked_for_is_refused() {
    let refused = |text: &str| {
        let file = format!("name = \"x\"\nhazards_per_1000 = 0.0\n[[event]]\nafter_min = 1.0\n{text}");
        Scenario::parse(&file).unwrap_err().to_string()
    };
    assert!(refused("do = \"cabinet_flood\"\non = \"low_lying\"").contains("cabinet, hazard_feeder or same"));
    assert!(
        refused("do = \"leak\"\non = \"cabinet\"").contains("hazard, healthy, low_lying, battery or same")
    );
    assert!(refused("do = \"told_wet\"\non = \"hazard\"").contains("leave `on` out"));
}

#[test]
fn a_device_looks_at_its_own_limits_with_the_sensor_it_has() {
    use crate::event::{Event, EventKind, Target};
    let mut scenario = Scenario::empty("flags");
    (scenario.always_energised, scenario.period_s) = (true, Some(60));
    let flags_with = |fault: Option<EventKind>| {
        let mut simulation = simulation(400, 3, scenario.clone());
        let posts = simulation.city().posts();
        let can = |post: &crate::city::Post| {
            post.has_flags && post.model == Some(Model::H2) && post.insulation.earth_ohm < 50.0
        };
        let place = posts.iter().position(can).unwrap() as u32;
        for (kind, value) in [(Some(EventKind::Leak), 60.0), (fault, 0.0)] {
            let Some(kind) = kind else { continue };
            let target = Target::Post(place);
            simulation.world_mut().add(Event {
                kind,
                target,
                from_min: 5.0,
                until_min: f64::INFINITY,
                value,
                source: None,
            });
        }
        let messages = simulation.advance(START + Millis::minutes(30));
        let own = readings(&messages).into_iter().filter(|(of, _)| *of == place);
        own.filter(|(_, reading)| reading.flags.has(Flags::LEAK_ALARM)).count()
    };
    assert!(flags_with(None) > 20);
    assert_eq!(flags_with(Some(EventKind::OpenCt)), 0, "a transformer that came loose raises nothing");
    assert!(flags_with(Some(EventKind::Saturated)) > 20);
}

#[test]
fn lightning_spoils_one_sample_soon_after_it_and_none_of_a_sensor_without_supply() {
    let mut city = shipped("lightning", 800);
    let mut spoilt = 0;
    let start = city.run().start;
    let strikes = [270.0, 300.0, 310.0, 390.0];
    loop {
        let messages = city.advance(start + Millis::hours(12));
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            let text = String::from_utf8_lossy(&message.payload);
            let Some(ma) = text.split("\"leakage_ma\":").nth(1) else { continue };
            let ma: f64 = ma.split(&[',', '}'][..]).next().unwrap().parse().unwrap_or(0.0);
            if (400.0..600.0).contains(&ma) && (message.source != Source::Weather(0)) {
                let minute = message.at.since(start).0 as f64 / 60_000.0;
                assert!(strikes.iter().any(|strike| (0.0..361.0).contains(&(minute - strike))), "{minute}");
                spoilt += 1;
            }
        }
    }
    assert!(spoilt > 40, "{spoilt}");
}

#[test]
fn a_clock_runs_away_in_real_time_however_fast_the_weather_is() {
    use crate::event::{Event, EventKind, Target};
    let drift_after_an_hour = |speed: f64| {
        let mut fast = Scenario::empty("clock");
        (fast.speed, fast.always_energised, fast.period_s) = (speed, true, Some(60));
        let mut simulation = simulation(400, 1, fast);
        let fits = |post: &crate::city::Post| post.model == Some(Model::H2);
        let place = simulation.city().posts().iter().position(fits).unwrap() as u32;
        simulation.world_mut().add(Event {
            kind: EventKind::ClockDrift,
            target: Target::Post(place),
            from_min: 0.0,
            until_min: f64::INFINITY,
            value: 2400.0,
            source: None,
        });
        let until = START + Millis::minutes(61);
        let mut messages = Vec::new();
        while simulation.next_due() <= until {
            messages.extend(simulation.advance(until));
        }
        let own = messages.iter().filter(|message| message.source == Source::Post(place));
        let late = own.filter(|message| message.at.since(START) >= Millis::minutes(60));
        late.map(|message| decoded(message).ts.unwrap().since(message.at).0).next().unwrap()
    };
    for speed in [1.0, 60.0] {
        let ms = drift_after_an_hour(speed);
        assert!((100_000..103_000).contains(&ms), "{speed}: {ms}");
    }
}
