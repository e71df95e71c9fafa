//! Who reports when: the open-loop timetable of a city, and its messages.
//!
//! `advance(now)` returns what became due since the last call, in order of time. Each post keeps its own place
//! in the period; a slow reader gets its messages later, never others: `ts` is the instant of the timetable.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use lampguard_model::{Field, Reading, Timestamp, wire};
use serde_json::json;

use crate::chance::Chance;
use crate::city::{City, Class, Post, ZONES};
use crate::fault::{GLITCH_MA, Quirk, Quirks};
use crate::physics::VendorAlarm;
use crate::post::{Surroundings, measure, raise_flags};
use crate::scenario::{Scenario, ScenarioError, Storm};
use crate::weather::{Moisture, Weather};

/// Messages of one call of [`Simulation::advance`]; the rest comes with the next call.
pub const MESSAGES_MAX: usize = 20_000;

/// Messages held back to arrive out of order; beyond it they arrive in order.
const HELD_MAX: usize = 10_000;

/// Devices look at their own limits this often, ms.
const SCAN_MS: i64 = 1000;

/// A device repeats a lasting alarm this often, ms (domain reference section 14.3), if its period is longer.
const ALARM_REPEAT_MS: i64 = 60_000;

/// One run of a city.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Seed of noise, gusts and quirks.
    pub seed: u64,
    /// Minutes of weather and ageing in one real minute, 0.1 to 3,600; `None`: as the scenario says.
    pub speed: Option<f64>,
    /// Number of the devices' restart, new in every run, 1 or more: (device, boot, seq) is an identity.
    pub boot: u32,
    /// When it starts.
    pub start: Timestamp,
}

/// Why a simulation could not begin. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is out of range.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// `boot` 0: its past could not have a boot of its own.
    #[error("boot is 0, the range is 1 to 4294967295")]
    Boot,
    /// The stretch of past that was asked for.
    #[error("a past of {days} days by steps of {step_s} s: up to 366 days, steps of 1 s to 86400 s")]
    Past {
        /// Days asked for.
        days: i64,
        /// Step asked for, seconds.
        step_s: i64,
    },
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A post, by its place in the city.
    Post(u32),
    /// The weather of a zone, by its place in [`ZONES`].
    Weather(u8),
}

/// One MQTT message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// When it is sent.
    pub at: Timestamp,
    /// Topic.
    pub topic: String,
    /// Payload: JSON, or `online`.
    pub payload: Vec<u8>,
    /// Kept by the broker for those who come later.
    pub retain: bool,
    /// Whose it is.
    pub source: Source,
}

/// What a simulation has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings, each once.
    pub readings: u64,
    /// Those of them sent at once because of a device's own limit.
    pub alarms: u64,
    /// Second deliveries.
    pub duplicates: u64,
    /// Readings delivered after the next one of their post.
    pub out_of_order: u64,
    /// Readings with a false leakage value.
    pub false_values: u64,
    /// Weather messages.
    pub weather: u64,
}

/// A city in motion.
#[derive(Clone, Debug)]
pub struct Simulation {
    city: Arc<City>,
    scenario: Scenario,
    run: Run,
    speed: f64,
    weather: Weather,
    moisture: Moisture,
    noise: Chance,
    /// Posts in the order of their places in the period.
    order: Vec<u32>,
    seq: Vec<u32>,
    watches: Vec<Watch>,
    watch_of: HashMap<u32, usize>,
    held: BTreeMap<(Timestamp, u64), Message>,
    next_post: u64,
    next_scan_ms: i64,
    next_weather_ms: i64,
    weather_every_ms: i64,
    counts: Counts,
}

/// A device that watches its own limits, on a post that can pass them.
#[derive(Clone, Debug)]
struct Watch {
    post: u32,
    alarm: VendorAlarm,
    told_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Weather,
    Scan,
    Post,
    Held,
}

impl Simulation {
    /// A city under a scenario, from `run.start` on.
    ///
    /// # Errors
    /// [`SimulationError`] when the scenario, the speed or the boot is out of range.
    pub fn new(city: Arc<City>, mut scenario: Scenario, run: Run) -> Result<Self, SimulationError> {
        scenario.speed = run.speed.unwrap_or(scenario.speed);
        scenario.check()?;
        if run.boot == 0 {
            return Err(SimulationError::Boot);
        }
        let weather = Weather::new(&scenario, run.seed);
        let chance = Chance::new(run.seed).of(0x706f_7374);
        let mut order: Vec<u32> = (0..city.posts().len() as u32).collect();
        order.sort_by_cached_key(|post| (chance.bits(u64::from(*post)), *post));
        let watches: Vec<Watch> = city
            .candidates()
            .filter(|place| city.posts()[*place].has_flags)
            .filter(|place| {
                city.posts()[*place].insulation.at(1.0).vendor_alarm(VendorAlarm::default()).any()
            })
            .map(|place| Watch { post: place as u32, alarm: VendorAlarm::default(), told_ms: 0 })
            .collect();
        Ok(Self {
            speed: scenario.speed,
            moisture: Moisture::new(&weather),
            weather,
            noise: chance,
            order,
            seq: vec![0; city.posts().len()],
            watch_of: watches.iter().enumerate().map(|(nth, watch)| (watch.post, nth)).collect(),
            watches,
            held: BTreeMap::new(),
            next_post: 0,
            next_scan_ms: 0,
            next_weather_ms: 0,
            // Every minute of weather, but at most once a second.
            weather_every_ms: ((60_000.0 / scenario.speed) as i64).max(1000),
            counts: Counts::default(),
            city,
            scenario,
            run,
        })
    }

    /// The city.
    pub fn city(&self) -> &Arc<City> {
        &self.city
    }

    /// The scenario, with the speed that is in force.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The weather.
    pub fn weather(&self) -> &Weather {
        &self.weather
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When the next message or look at limits is due.
    pub fn next_due(&self) -> Timestamp {
        self.next().0
    }

    /// Minutes of weather from the start to an instant.
    pub fn weather_minutes(&self, at: Timestamp) -> f64 {
        at.since(self.run.start).0 as f64 / 60_000.0 * self.speed
    }

    /// Everything due up to `now`, in order of time, at most [`MESSAGES_MAX`] and one alarm round more.
    ///
    /// A `now` before the start or before an earlier call returns nothing.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Message> {
        let mut out = Vec::new();
        while out.len() < MESSAGES_MAX {
            let (at, due) = self.next();
            if at > now {
                break;
            }
            self.moisture.advance(&self.weather, self.weather_minutes(at));
            match due {
                Due::Weather => self.report_weather(at, &mut out),
                Due::Scan => self.scan(at, &mut out),
                Due::Post => {
                    let post = self.order[(self.next_post % self.order.len() as u64) as usize];
                    self.next_post += 1;
                    self.report(post, at, false, &mut out);
                }
                Due::Held => out.extend(self.held.pop_first().map(|(_, message)| message)),
            }
        }
        out
    }

    fn next(&self) -> (Timestamp, Due) {
        let period_ms = u128::from(self.scenario.period_s) * 1000;
        let post_ms = u128::from(self.next_post) * period_ms / self.order.len() as u128;
        let at = |ms: i64| Timestamp(self.run.start.0.saturating_add(ms));
        let mut next = (at(self.next_weather_ms), Due::Weather);
        next = next.min((at(post_ms as i64), Due::Post));
        if !self.watches.is_empty() {
            next = next.min((at(self.next_scan_ms), Due::Scan));
        }
        match self.held.first_key_value() {
            Some(((due, _), _)) => next.min((*due, Due::Held)),
            None => next,
        }
    }

    fn report_weather(&mut self, at: Timestamp, out: &mut Vec<Message>) {
        self.next_weather_ms += self.weather_every_ms;
        for (place, zone) in ZONES.iter().enumerate() {
            let sky = self.moisture.sky(place);
            let payload = json!({ "ts": at.0, "rain_mm_h": sky.rain_mm_h, "warning": sky.warning });
            self.counts.weather += 1;
            out.push(Message {
                at,
                topic: format!("weather/{}/rain", zone.id),
                payload: payload.to_string().into_bytes(),
                retain: false,
                source: Source::Weather(place as u8),
            });
        }
    }

    /// Devices that pass their own limit report at once, and again every minute while it lasts.
    fn scan(&mut self, at: Timestamp, out: &mut Vec<Message>) {
        let now_ms = self.next_scan_ms;
        self.next_scan_ms += SCAN_MS;
        for nth in 0..self.watches.len() {
            let Watch { post, alarm: before, told_ms } = self.watches[nth];
            let truth = self.around(post, at).truth;
            let alarm = truth.vendor_alarm(before);
            self.watches[nth].alarm = alarm;
            let risen = (alarm.leak && !before.leak) || (alarm.shell && !before.shell);
            if risen || (alarm.any() && now_ms - told_ms >= ALARM_REPEAT_MS) {
                self.report(post, at, true, out);
            }
        }
    }

    fn around(&self, place: u32, at: Timestamp) -> Surroundings {
        let post = &self.city.posts()[place as usize];
        let zone = usize::from(post.zone);
        let moisture = self.moisture.at(zone, post.soak);
        Surroundings { at, truth: post.insulation.at(moisture), sky: self.moisture.sky(zone), moisture }
    }

    /// One reading of one post, as its quirks let it through.
    fn report(&mut self, place: u32, at: Timestamp, at_once: bool, out: &mut Vec<Message>) {
        let of_post = self.noise.of(u64::from(place));
        if self.silent_at(place as usize).is_some_and(|silent| at >= silent) {
            return;
        }
        // An alarm that falls on the instant of a periodic reading has noise of its own.
        let noise = of_post.of(at.0 as u64 * 2 + u64::from(at_once));
        let around = self.around(place, at);
        let mut reading = measure(&self.city.posts()[place as usize], &around, noise);
        self.seq[place as usize] = self.seq[place as usize].wrapping_add(1);
        reading.seq = Some(u64::from(self.seq[place as usize]));
        reading.boot = Some(self.run.boot);
        if let Some(nth) = self.watch_of.get(&place) {
            raise_flags(&mut reading, self.watches[*nth].alarm, at_once);
            self.watches[*nth].told_ms = at.since(self.run.start).0;
        }
        let quirk = self.scenario.quirks.draw(noise);
        self.counts.readings += 1;
        self.counts.alarms += u64::from(at_once);
        let message = Message {
            at,
            topic: topic(&self.city.posts()[place as usize], place, "reading"),
            payload: payload(reading, quirk),
            retain: false,
            source: Source::Post(place),
        };
        self.deliver(message, quirk, out);
    }

    fn deliver(&mut self, mut message: Message, quirk: Option<Quirk>, out: &mut Vec<Message>) {
        match quirk {
            Some(Quirk::Duplicate) => {
                self.counts.duplicates += 1;
                out.push(message.clone());
            }
            Some(Quirk::OutOfOrder) if self.held.len() < HELD_MAX => {
                self.counts.out_of_order += 1;
                message.at.0 += i64::from(self.scenario.period_s) * 1200;
                self.held.insert((message.at, self.counts.readings), message);
                return;
            }
            Some(Quirk::Glitch | Quirk::Spike) => self.counts.false_values += 1,
            Some(Quirk::OutOfOrder) | None => {}
        }
        out.push(message);
    }

    /// When a post falls silent for good, if it ever does.
    pub(crate) fn silent_at(&self, place: usize) -> Option<Timestamp> {
        if self.city.posts()[place].class == Class::Hazard {
            return None;
        }
        let after = self.scenario.quirks.silent_after_ms(self.noise.of(place as u64))?;
        Some(Timestamp(self.run.start.0 + after))
    }

    /// One retained `online` for every post.
    pub fn statuses(&self) -> impl Iterator<Item = Message> + '_ {
        self.city.posts().iter().enumerate().map(|(place, post)| Message {
            at: self.run.start,
            topic: topic(post, place as u32, "status"),
            payload: b"online".to_vec(),
            retain: true,
            source: Source::Post(place as u32),
        })
    }

    /// What the same city sent before this run, for filling a history: from `from` to `to` (not included),
    /// one reading of each post every `step`. Dry but for a drizzle every third day, without quirks, with the
    /// boot before this run's; nothing in it is dangerous.
    ///
    /// # Errors
    /// [`SimulationError::Past`] for more than 366 days or a step outside 1 s to a day.
    pub fn past(&self, from: Timestamp, to: Timestamp, step_s: u32) -> Result<Past, SimulationError> {
        let days = to.since(from).0.max(0) / 86_400_000;
        if days > 366 || !(1..=86_400).contains(&step_s) {
            return Err(SimulationError::Past { days, step_s: i64::from(step_s) });
        }
        // 0.3 mm/h for three hours: a moisture of 0.1 at most, where the quickest hazard reads 9 mA. The last
        // one ends a day and more before `to`.
        let drizzle = |nth: i64| Storm {
            after_min: (nth * 4320 + 720) as f64,
            ramp_min: 30.0,
            hours: 3.0,
            rain_mm_h: 0.3,
            warning: lampguard_model::Warning::None,
            warning_lead_min: 0.0,
        };
        let scenario = Scenario {
            name: "past".to_owned(),
            period_s: step_s,
            speed: 1.0,
            storm: (0..days / 3 + 1).filter(|nth| nth * 3 + 2 <= days).map(drizzle).collect(),
            quirks: Quirks::NONE,
            ..self.scenario.clone()
        };
        // Boot 1 has no boot before it: then the past carries the highest one.
        let boot = if self.run.boot == 1 { u32::MAX } else { self.run.boot - 1 };
        let run = Run { seed: self.run.seed, speed: None, boot, start: from };
        let mut simulation = Self::new(self.city.clone(), scenario, run)?;
        simulation.weather_every_ms = simulation.weather_every_ms.max(i64::from(step_s) * 1000);
        Ok(Past { simulation, to, ready: VecDeque::new() })
    }
}

fn topic(post: &Post, place: u32, leaf: &str) -> String {
    format!("lamp/{}/{}/{leaf}", ZONES[usize::from(post.zone)].id, City::post_id(place as usize))
}

/// The JSON of a reading, with what its quirk does to the leakage value.
fn payload(mut reading: Reading, quirk: Option<Quirk>) -> Vec<u8> {
    if let (Some(Quirk::Spike), Some(leakage)) = (quirk, reading.fields.get(Field::LeakageMa)) {
        reading.put(Field::LeakageMa, leakage * 10);
    }
    let mut json = wire::to_json(&reading);
    if quirk == Some(Quirk::Glitch) {
        json[Field::LeakageMa.name()] = json!(GLITCH_MA);
    }
    json.to_string().into_bytes()
}

/// Past messages, in order of time. See [`Simulation::past`].
#[derive(Debug)]
pub struct Past {
    simulation: Simulation,
    to: Timestamp,
    ready: VecDeque<Message>,
}

impl Iterator for Past {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        while self.ready.is_empty() {
            let due = self.simulation.next_due();
            if due >= self.to {
                return None;
            }
            self.ready.extend(self.simulation.advance(due));
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
