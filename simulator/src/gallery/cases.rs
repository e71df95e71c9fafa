//! What happens in each picture.

use super::{Panel, Probe, Series};
use crate::event::{EventKind, EventSpec, Target};
use crate::quirks::Quirks;
use crate::scenario::{Scenario, Water};
use crate::sensor::Model;
use crate::weather::front;

const EVER: f64 = f64::INFINITY;

fn panel(id: &'static str, title: &'static str, unit: &'static str, series: Vec<Series>) -> Panel {
    Panel { id, title, unit, series }
}

fn nothing_else(_: &mut Scenario) {}

fn storm(rain_mm_h: f64) -> impl FnOnce(&mut Scenario) {
    move |scenario| scenario.storm.push(crate::scenario::Storm { rain_mm_h, hours: 12.0, ..front(60.0) })
}

/// WF1 to WF13 of the domain reference.
pub fn waveforms() -> Vec<Panel> {
    vec![
        intermittent(),
        night_only(),
        supply_side(),
        cable_joint(),
        broken_neutral(),
        lightning(),
        phase_loss(),
        drift(),
        frozen(),
        drowned(),
        welded(),
        brown_out(),
        cabinet_flood(),
    ]
}

fn intermittent() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Leak, Target::Post(place), 30.0, EVER, 60.0);
    probe.happens(EventKind::Intermittent, Target::Post(place), 30.0, EVER, 0.0);
    let probe = probe.run(3.0);
    panel("WF1", "intermittent contact", "mA", vec![probe.field(place, "leakage_ma", "leakage")])
}

fn night_only() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Leak, Target::Post(place), 0.0, EVER, 60.0);
    probe.happens(EventKind::NightOnly, Target::Post(place), 0.0, EVER, 0.0);
    let probe = probe.run(6.0);
    let lamp = Series { name: "lamp W".to_owned(), ..probe.field(place, "lamp_w", "") };
    panel(
        "WF2",
        "fault behind the lamp's switch",
        "mA",
        vec![probe.field(place, "leakage_ma", "leakage"), lamp],
    )
}

fn supply_side() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Leak, Target::Post(place), 60.0, EVER, 60.0);
    probe.happens(EventKind::SupplySide, Target::Post(place), 60.0, EVER, 0.0);
    let probe = probe.run(6.0);
    let lamp = Series { name: "lamp W".to_owned(), ..probe.field(place, "lamp_w", "") };
    panel(
        "WF3",
        "fault in the supply, by day too",
        "mA",
        vec![probe.field(place, "leakage_ma", "leakage"), lamp],
    )
}

fn cable_joint() -> Panel {
    let mut probe = Probe::new(storm(12.0));
    let feeder = probe.feeder();
    probe.happens(EventKind::CableJoint, Target::Feeder(feeder), 0.0, EVER, 60.0);
    let post = probe.posts_of(feeder)[0];
    let probe = probe.run(12.0);
    let series = vec![
        probe.field(probe.cabinet(feeder), "leakage_ma", "cabinet"),
        probe.field(post, "leakage_ma", "a post"),
    ];
    panel("WF4", "wet cable joint, seen at the cabinet", "mA", series)
}

fn broken_neutral() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let feeder = probe.feeder();
    probe.happens(EventKind::BrokenNeutral, Target::Feeder(feeder), 60.0, 240.0, 45.0);
    let posts = probe.posts_of(feeder);
    let probe = probe.run(5.0);
    let phase = |wanted| {
        let posts = posts.iter().find(|place| probe.city().posts()[**place as usize].phase() == wanted);
        posts.copied().unwrap_or(posts.map_or(0, |place| *place))
    };
    let series = vec![
        probe.field(phase(0), "supply_v", "supply, phase 1"),
        probe.field(phase(1), "supply_v", "supply, phase 2"),
        probe.field(phase(0), "shell_v", "shell"),
        probe.field(phase(1), "shell_v", "shell beside"),
    ];
    panel("WF5", "broken neutral", "V", series)
}

fn lightning() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let posts: Vec<u32> = (0..3).map(|nth| probe.post(Model::H2, nth)).collect();
    for post in &posts {
        probe.happens(EventKind::Lightning, Target::Post(*post), 60.0, 61.0, 0.0);
    }
    let probe = probe.run(2.0);
    let series = posts.iter().map(|post| probe.field(*post, "leakage_ma", "leakage")).collect();
    panel("WF6", "lightning: one false sample on many posts", "mA", series)
}

fn phase_loss() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let feeder = probe.feeder();
    probe.happens(EventKind::PhaseLoss, Target::Feeder(feeder), 60.0, 180.0, 0.0);
    let posts = probe.posts_of(feeder);
    let lost = posts.iter().find(|place| probe.city().posts()[**place as usize].phase() == 1);
    let lost = lost.copied().unwrap_or_default();
    let probe = probe.run(4.0);
    let series = vec![
        probe.field(probe.cabinet(feeder), "leakage_ma", "cabinet"),
        probe.field(lost, "leakage_ma", "a post of that phase"),
    ];
    panel("WF7", "lost phase raises the residual", "mA", series)
}

fn drift() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Drift, Target::Post(place), 60.0, EVER, 0.5);
    let probe = probe.run(12.0);
    panel("WF8", "slow drift of the transformer", "mA", vec![probe.field(place, "leakage_ma", "leakage")])
}

fn frozen() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Frozen, Target::Post(place), 60.0, 180.0, 0.0);
    let probe = probe.run(4.0);
    panel("WF9", "stuck to the last digit", "V", vec![probe.field(place, "supply_v", "supply")])
}

fn drowned() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Drown, Target::Post(place), 60.0, EVER, 0.0);
    let probe = probe.run(3.0);
    panel("WF10", "drowned: immersed, then silent", "0/1", vec![probe.field(place, "immersed", "immersed")])
}

fn welded() -> Panel {
    let mut probe = Probe::new(|scenario| scenario.starts = "2025-10-12T04:00:00+08:00".to_owned());
    let place = probe.post(Model::H2, 0);
    let other = probe.post(Model::H2, 8);
    let feeder = probe.city().posts()[place as usize].feeder;
    probe.happens(EventKind::Welded, Target::Feeder(feeder), 0.0, EVER, 0.0);
    let probe = probe.run(8.0);
    let series = vec![probe.field(place, "lamp_w", "welded"), probe.field(other, "lamp_w", "another feeder")];
    panel("WF11", "welded contactor: lit by day", "W", series)
}

fn brown_out() -> Panel {
    let mut probe = Probe::new(|scenario| {
        scenario.starts = "2025-10-12T04:00:00+08:00".to_owned();
        scenario.always_energised = false;
    });
    let posts = (0..20).map(|nth| probe.post(Model::H2, nth));
    let dead_by_day = |place: &u32| {
        let feeder = &probe.city().feeders()[probe.city().posts()[*place as usize].feeder as usize];
        feeder.contactor
    };
    let place = posts.into_iter().find(dead_by_day).unwrap_or(0);
    let feeder = probe.city().posts()[place as usize].feeder;
    probe.happens(EventKind::BrownOut, Target::Feeder(feeder), 80.0, EVER, 0.7);
    let probe = probe.run(5.0);
    panel("WF12", "brown-out before the lamps go off", "V", vec![probe.field(place, "supply_v", "supply")])
}

fn cabinet_flood() -> Panel {
    let mut probe = Probe::new(storm(35.0));
    let feeder = probe.feeder();
    probe.happens(EventKind::CabinetFlood, Target::Feeder(feeder), 120.0, EVER, 0.0);
    let (mut own, others) = (probe.posts_of(feeder), probe.posts_of((feeder + 1) % 10));
    own.push(probe.cabinet(feeder));
    let probe = probe.run(4.0);
    let series = vec![probe.rate(&own, "its feeder", 4.0), probe.rate(&others, "the next one", 4.0)];
    panel("WF13", "flooded cabinet: a feeder falls silent", "messages/min", series)
}

/// Quirks of sensors and links, domain reference 14.4 and the issue's own list.
pub fn quirks() -> Vec<Panel> {
    let mut panels = readings();
    panels.extend(sensors());
    panels.extend(clocks());
    panels.extend(links());
    panels
}

/// A post under one rate of quirks, a reading a minute for four hours.
fn struck(quirks: Quirks) -> (Probe, u32) {
    let probe = Probe::new(|scenario| scenario.quirks = quirks);
    let place = probe.post(Model::H2, 0);
    (probe.run(8.0), place)
}

fn readings() -> Vec<Panel> {
    let leakage = |quirks, id, title| {
        let (probe, place) = struck(quirks);
        panel(id, title, "mA", vec![probe.field(place, "leakage_ma", "leakage")])
    };
    let none = Quirks::NONE;
    let (rolled, place) = struck(Quirks { rollover: 0.02, ..none });
    let energy = rolled.field(place, "energy_kwh", "energy");
    let broken = |quirks, id, title| {
        let (probe, place) = struck(quirks);
        let of_post = probe.of(place).map(|(hours, message)| {
            let parses = serde_json::from_slice::<serde_json::Value>(&message.payload).is_ok();
            (hours, f64::from(u8::from(!parses)))
        });
        let points = of_post.collect();
        panel(id, title, "0/1", vec![Series { name: "payload is no JSON".to_owned(), points }])
    };
    let order = |quirks, id, title| {
        let (probe, place) = struck(quirks);
        let seq = probe.field(place, "seq", "seq");
        let steps = seq.points.windows(2).map(|pair| (pair[1].0, pair[1].1 - pair[0].1));
        panel(id, title, "seq", vec![Series { name: "step of seq".to_owned(), points: steps.collect() }])
    };
    vec![
        leakage(Quirks { glitch: 0.02, ..none }, "glitch", "all ones in one sample"),
        leakage(Quirks { spike: 0.02, ..none }, "spike", "one sample ten times too high"),
        panel("rollover", "energy counter rolls over", "kWh", vec![energy]),
        leakage(Quirks { huge: 0.02, ..none }, "huge", "two billion in one sample"),
        leakage(Quirks { negative: 0.02, ..none }, "negative", "-65509 in one sample"),
        broken(Quirks { not_a_number: 0.03, ..none }, "nan", "a bare NaN"),
        nan_until_reboot(),
        lightning_kills(),
        broken(Quirks { truncated: 0.03, ..none }, "truncated", "payload cut in the middle"),
        order(Quirks { duplicate: 0.03, ..none }, "duplicate", "delivered twice"),
        order(Quirks { out_of_order: 0.03, ..none }, "out_of_order", "delivered after the next one"),
    ]
}

/// NaN from the first hour on, a reboot in the second.
fn nan_until_reboot() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    let feeder = probe.city().posts()[place as usize].feeder;
    probe.happens(EventKind::NotANumber, Target::Post(place), 60.0, EVER, 0.0);
    probe.happens(EventKind::Reboot, Target::Feeder(feeder), 120.0, 121.0, 0.0);
    let probe = probe.run(4.0);
    let points = probe.of(place).map(|(hours, message)| {
        let broken = serde_json::from_slice::<serde_json::Value>(&message.payload).is_err();
        (hours, f64::from(u8::from(broken)))
    });
    let series = vec![Series { name: "payload is no JSON".to_owned(), points: points.collect() }];
    panel("nan_until_reboot", "NaN until the sensor starts anew", "0/1", series)
}

/// A strike on forty posts that kills half of the sensors: two that died, two that live.
fn lightning_kills() -> Panel {
    let probe = Probe::new(|scenario| {
        scenario.event = vec![EventSpec {
            kind: EventKind::Lightning,
            after_min: 60.0,
            minutes: Some(1.0),
            count: 40,
            spread_min: 0.0,
            value: Some(0.5),
            on: None,
            skip: 0,
        }];
    })
    .run(2.0);
    let (killed, spared) = probe.struck();
    let of = |places: &[u32], name: &str| {
        let two = places.iter().take(2);
        two.map(|place| probe.field(*place, "leakage_ma", name)).collect::<Vec<Series>>()
    };
    let series = [of(&killed, "killed"), of(&spared, "spared")].concat();
    panel("lightning_kills", "lightning kills some for good", "mA", series)
}

/// A post that leaks 45 mA from the first hour on, whose sensor has a fault from the second.
fn faulty(kind: EventKind, value: f64) -> (Probe, u32) {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::H2, 0);
    probe.happens(EventKind::Leak, Target::Post(place), 60.0, EVER, 45.0);
    probe.happens(kind, Target::Post(place), 120.0, EVER, value);
    (probe.run(4.0), place)
}

fn sensors() -> Vec<Panel> {
    let leakage = |kind, id, title| {
        let (probe, place) = faulty(kind, 0.0);
        panel(id, title, "mA", vec![probe.field(place, "leakage_ma", "leakage")])
    };
    let mut stuck = Probe::new(nothing_else);
    let place = stuck.post(Model::H2, 0);
    stuck.happens(EventKind::StuckFlag, Target::Post(place), 60.0, EVER, 0.0);
    let stuck = stuck.run(2.0);
    let flag = stuck.look(place, "leak_alarm", |json| {
        let flags = json["flags"].as_array()?;
        Some(f64::from(u8::from(flags.iter().any(|flag| flag == "leak_alarm"))))
    });
    let models = Probe::new(nothing_else).run(2.0);
    let shell = |model| models.field(models.post(model, 1), "shell_v", model.spec().name);
    let partial = Probe::new(|scenario| scenario.vendor_payloads = true).run(2.0);
    let keys = partial.look(partial.post(Model::Shelly, 0), "keys sent", |json| {
        Some(json["params"]["em1:0"].as_object()?.len() as f64)
    });
    vec![
        leakage(EventKind::Saturated, "saturated", "driven over its range"),
        leakage(EventKind::OpenCt, "open_ct", "open transformer: exactly 0"),
        leakage(EventKind::Tenfold, "tenfold", "ten times too high"),
        leakage(EventKind::Amperes, "amperes", "sent in amperes"),
        leakage(EventKind::Silent, "silent", "silent for good"),
        critical_then_silent(),
        panel("stuck_flag", "own flag stuck", "0/1", vec![flag]),
        panel(
            "resolution",
            "whole volts, tenths, hundredths",
            "V",
            vec![shell(Model::I1), shell(Model::T1), shell(Model::H2)],
        ),
        panel("partial", "unchanged keys are left out", "keys", vec![keys]),
    ]
}

fn critical_then_silent() -> Panel {
    let mut probe = Probe::new(nothing_else);
    let place = probe.post(Model::I1, 0);
    probe.happens(EventKind::SilentAfterCritical, Target::Post(place), 0.0, EVER, 0.0);
    probe.happens(EventKind::Leak, Target::Post(place), 90.0, EVER, 45.0);
    let probe = probe.run(4.0);
    let series = vec![probe.field(place, "leakage_ma", "leakage")];
    panel("critical_then_silent", "dangerous once, then silent", "mA", series)
}

fn clocks() -> Vec<Panel> {
    let ahead = |kind, value, id, title| {
        let (probe, place) = faulty(kind, value);
        let start = probe.start;
        let ages = probe.of(place).filter_map(|(hours, message)| {
            let json: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
            let ts = json["ts"].as_f64()?;
            Some((hours, (ts - start.0 as f64) / 3.6e6 - hours))
        });
        let points = ages.collect();
        panel(id, title, "h", vec![Series { name: "ts less receipt".to_owned(), points }])
    };
    vec![
        ahead(EventKind::ClockOffset, -28_800.0, "clock_zone", "clock in the wrong zone"),
        ahead(EventKind::ClockOffset, 86_400.0, "clock_ahead", "clock steps a day ahead"),
        ahead(EventKind::Clock1970, 0.0, "clock_1970", "clock counts from 1970"),
        ahead(EventKind::ClockDrift, 7200.0, "clock_drift", "clock runs away, two hours a day"),
    ]
}

fn links() -> Vec<Panel> {
    let mut held = Probe::new(nothing_else);
    let feeder = held.feeder();
    let posts = held.posts_of(feeder);
    held.happens(EventKind::StoreAndForward, Target::Feeder(feeder), 60.0, 180.0, 0.0);
    let held = held.run(4.0);

    let mut dead = Probe::new(nothing_else);
    dead.happens(EventKind::ConcentratorDead, Target::Feeder(feeder), 60.0, 180.0, 0.0);
    let dead = dead.run(4.0);

    let mut away = Probe::new(nothing_else);
    away.happens(EventKind::BrokerOutage, Target::City, 60.0, 80.0, 0.0);
    let everybody: Vec<u32> = (0..away.city().posts().len() as u32).collect();
    let away = away.run(3.0);

    let herd = Probe::new(|scenario| {
        scenario.always_energised = false;
        scenario.period_s = Some(300);
    })
    .run(5.0);

    let mut leftover = Probe::new(nothing_else);
    let place = leftover.post(Model::H2, 0);
    leftover.happens(EventKind::Retained, Target::Post(place), 60.0, 61.0, 0.0);
    let leftover = leftover.run(2.0);

    let (elsewhere, moved) = faulty(EventKind::WrongZone, 0.0);
    let zones = elsewhere.of(moved).filter_map(|(hours, message)| {
        let zone = message.topic.strip_prefix("lamp/z")?.get(..1)?.parse::<f64>().ok()?;
        Some((hours, zone))
    });
    let zones = Series { name: "zone in the topic".to_owned(), points: zones.collect() };
    vec![
        panel(
            "store_and_forward",
            "kept, then sent in parcels",
            "messages/min",
            vec![held.rate(&posts, "its feeder", 4.0)],
        ),
        panel(
            "dead_concentrator",
            "no message, the lamps burn on",
            "messages/min",
            vec![dead.rate(&posts, "its feeder", 4.0)],
        ),
        panel(
            "broker_outage",
            "broker away, then a rush",
            "messages/min",
            vec![away.rate(&everybody, "city", 3.0)],
        ),
        panel(
            "herd",
            "switch-on: sensors start together",
            "messages/min",
            vec![herd.rate(&everybody, "city", 5.0)],
        ),
        panel(
            "retained",
            "an old critical reading comes again",
            "mA",
            vec![leftover.field(place, "leakage_ma", "leakage")],
        ),
        panel("wrong_zone", "publishes under another zone", "zone", vec![zones]),
        melt(),
    ]
}

/// Not a quirk of a sensor: water that no gauge sees.
fn melt() -> Panel {
    let probe = Probe::new(|scenario| {
        scenario.hazards_per_1000 = 5.0;
        scenario.plain_hazards = true;
        scenario.storm.push(crate::scenario::Storm {
            rain_mm_h: 6.0,
            hours: 6.0,
            water: Water::Melt,
            ..front(60.0)
        });
    })
    .run(8.0);
    let hazard = probe.city().hazards_in_order()[0];
    let told = probe.messages.iter().filter_map(|message| {
        if message.topic != "weather/z1/rain" {
            return None;
        }
        let json: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
        Some((probe.hours(message.at), json["rain_mm_h"].as_f64()?))
    });
    let told = Series { name: "rain as told, mm/h".to_owned(), points: told.collect() };
    panel(
        "melt",
        "melting snow: no gauge sees it",
        "mA",
        vec![probe.field(hazard, "leakage_ma", "a hazard"), told],
    )
}
