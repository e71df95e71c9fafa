//! Every waveform and every quirk as a small picture, each made by a small city in which just that happens.
//!
//! `simulator/tests/gallery.rs` holds each to its signature; `cargo run -p lampguard-simulator --example gallery`
//! writes all of them as one SVG (`docs/waveforms.svg`). Waveforms: domain reference 17.4; quirks: 14.4.

mod cases;
mod svg;

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde_json::Value;

use crate::city::{City, Post};
use crate::event::{Event, EventKind, Target};
use crate::scenario::Scenario;
use crate::sensor::Model;
use crate::simulation::{Message, Run, Simulation, Source};

pub use cases::{quirks, waveforms};
pub use svg::draw;

/// 15:00 on an October afternoon at +08:00; dusk is near 18:00.
const START: &str = "2025-10-11T15:00:00+08:00";

/// Values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Whose, of what.
    pub name: String,
    /// Hours after the start (receipt), value.
    pub points: Vec<(f64, f64)>,
}

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// `WF1` and so on; quirks by their word.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// One to four lines.
    pub series: Vec<Series>,
}

/// A small city in which something happens, and what it sent.
pub(crate) struct Probe {
    simulation: Simulation,
    start: Timestamp,
    messages: Vec<Message>,
}

impl Probe {
    /// A city of 400 posts under a scenario.
    pub(crate) fn new(change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::empty("gallery");
        scenario.starts = START.to_owned();
        scenario.period_s = Some(60);
        scenario.always_energised = true;
        change(&mut scenario);
        // The start is a constant that a test parses; 0 would show in every picture.
        let start = scenario.starts().unwrap_or(Timestamp(0));
        let city = City::new(400, 3, &scenario).map(Arc::new);
        let run = Run { seed: 3, speed: None, boot: 1, start };
        let simulation = city.map(|city| Simulation::new(city, scenario, run));
        let Ok(Ok(simulation)) = simulation else {
            unreachable!("the gallery's scenarios are in range: its tests make every one of them");
        };
        Self { simulation, start, messages: Vec::new() }
    }

    pub(crate) fn city(&self) -> &City {
        self.simulation.city()
    }

    /// The nth post of a model; the first post where there is none.
    pub(crate) fn post(&self, model: Model, nth: usize) -> u32 {
        let suits = |post: &&Post| post.model == Some(model) && post.insulation.earth_ohm < 50.0;
        let found = self.city().posts().iter().enumerate().filter(|(_, post)| suits(post)).nth(nth);
        found.map_or(0, |(place, _)| place as u32)
    }

    /// A feeder with a sensor in its cabinet.
    pub(crate) fn feeder(&self) -> u32 {
        self.city().feeders().iter().position(|feeder| feeder.cabinet_sensor).unwrap_or(0) as u32
    }

    /// The sensor in the cabinet of a feeder.
    pub(crate) fn cabinet(&self, feeder: u32) -> u32 {
        self.city().posts().len() as u32 + feeder
    }

    /// Posts of a feeder that measure leakage.
    pub(crate) fn posts_of(&self, feeder: u32) -> Vec<u32> {
        let posts = self.city().feeders()[feeder as usize].posts();
        let measures = |place: &u32| {
            let model = self.city().posts()[*place as usize].model;
            model.is_some_and(|model| model.spec().leakage && !model.spec().battery)
        };
        posts.filter(measures).collect()
    }

    /// Posts that lightning struck and that measure leakage by the supply: those it killed, and the others.
    pub(crate) fn struck(&self) -> (Vec<u32>, Vec<u32>) {
        let of = |kind| {
            let events = self.simulation.world().events().iter();
            let posts =
                events.filter(move |event| event.kind == kind).filter_map(|event| match event.target {
                    Target::Post(place) => Some(place),
                    _ => None,
                });
            posts.collect::<Vec<u32>>()
        };
        let killed = of(EventKind::Silent);
        let measures = |place: &u32| {
            let model = self.city().posts()[*place as usize].model;
            model.is_some_and(|model| model.spec().leakage && !model.spec().battery)
        };
        let struck = of(EventKind::Lightning).into_iter().filter(measures);
        struck.partition(|place| killed.contains(place))
    }

    pub(crate) fn happens(&mut self, kind: EventKind, target: Target, from: f64, until: f64, value: f64) {
        let event = Event { kind, target, from_min: from, until_min: until, value, source: None };
        self.simulation.world_mut().add(event);
    }

    /// Runs it for so many hours.
    pub(crate) fn run(mut self, hours: f64) -> Self {
        let until = self.start + Millis((hours * 3.6e6) as i64);
        loop {
            let messages = self.simulation.advance(until);
            if messages.is_empty() {
                return self;
            }
            self.messages.extend(messages);
        }
    }

    pub(crate) fn hours(&self, at: Timestamp) -> f64 {
        at.since(self.start).0 as f64 / 3.6e6
    }

    /// Messages of one sensor with the instant of their receipt, hours.
    pub(crate) fn of(&self, place: u32) -> impl Iterator<Item = (f64, &Message)> {
        let own = self.messages.iter().filter(move |message| message.source == Source::Post(place));
        own.map(|message| (self.hours(message.at), message))
    }

    /// What a function finds in the payloads of a sensor.
    pub(crate) fn look(&self, place: u32, name: &str, find: impl Fn(&Value) -> Option<f64>) -> Series {
        let points = self.of(place).filter_map(|(hours, message)| {
            let json: Value = serde_json::from_slice(&message.payload).ok()?;
            Some((hours, find(&json)?))
        });
        Series { name: name.to_owned(), points: points.collect() }
    }

    /// A canonical field of a sensor.
    pub(crate) fn field(&self, place: u32, field: &'static str, name: &str) -> Series {
        self.look(place, name, |json| match &json[field] {
            Value::Bool(is_so) => Some(f64::from(u8::from(*is_so))),
            value => value.as_f64(),
        })
    }

    /// Messages a minute from some sensors.
    pub(crate) fn rate(&self, places: &[u32], name: &str, hours: f64) -> Series {
        let mut counts = vec![0.0; (hours * 60.0) as usize];
        for message in &self.messages {
            if let Source::Post(place) = message.source
                && places.contains(&place)
                && let Some(count) = counts.get_mut((self.hours(message.at) * 60.0) as usize)
            {
                *count += 1.0;
            }
        }
        let points = counts.into_iter().enumerate().map(|(minute, count)| (minute as f64 / 60.0, count));
        Series { name: name.to_owned(), points: points.collect() }
    }
}
