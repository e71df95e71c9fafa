//! A city in motion: who reports when, and what goes over the wire.
//!
//! `advance(now)` returns what became due since the last call, in order of time. Open loop: a slow reader gets
//! its messages later, never others; `ts` is the instant of the timetable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lampguard_model::{Cause, Reading, Timestamp};
use serde_json::json;

use crate::chance::Chance;
use crate::city::{CABINET_PERIOD_S, City};
use crate::delivery::Delivery;
use crate::feed::Feed;
use crate::measure::can_flag;
use crate::physics::VendorAlarm;
use crate::quirks::Quirk;
use crate::scenario::{Scenario, ScenarioError};
use crate::sensor::Model;
use crate::street::ZONES;
use crate::timetable::Timetable;
use crate::weather::Weather;
use crate::world::{News, World};

/// Messages of one call of [`Simulation::advance`]; the rest comes with the next call.
pub const MESSAGES_MAX: usize = 20_000;

/// Sensors that got their supply together report within this time, ms: NB-IoT lamps boot as a herd (domain
/// reference 14.3).
const HERD_MS: f64 = 20_000.0;

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
    /// A post, by its place in the city; from `posts().len()` on the sensor in a feeder's cabinet.
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
    /// Payload: JSON (now and then broken), or `online`.
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
    /// Readings with a false value.
    pub false_values: u64,
    /// Readings with a payload that is no JSON.
    pub broken: u64,
    /// Messages that waited in a concentrator or for the broker.
    pub held_back: u64,
    /// Messages that never arrived: their concentrator was dead, or too many waited.
    pub lost: u64,
    /// Retained leftovers.
    pub leftovers: u64,
    /// Weather messages.
    pub weather: u64,
}

/// A city in motion.
#[derive(Clone, Debug)]
pub struct Simulation {
    pub(crate) city: Arc<City>,
    pub(crate) scenario: Scenario,
    pub(crate) run: Run,
    pub(crate) world: World,
    pub(crate) feed: Feed,
    pub(crate) noise: Chance,
    pub(crate) timetable: Timetable,
    /// Running numbers and restarts of every sensor, cabinets at the end.
    pub(crate) seq: Vec<u32>,
    pub(crate) restarts: Vec<u16>,
    /// Reports besides the timetable, by instant.
    pub(crate) extra: BTreeMap<(Timestamp, u64), (u32, Cause)>,
    pub(crate) extras: u64,
    pub(crate) watches: BTreeMap<u32, Watch>,
    /// When lightning struck a post whose next sample it spoils.
    pub(crate) surges: HashMap<u32, Timestamp>,
    pub(crate) frozen: HashMap<u32, Reading>,
    pub(crate) last: HashMap<u32, Reading>,
    /// Topics on which a broker holds a leftover of ours.
    pub(crate) leftovers: BTreeMap<String, Source>,
    pub(crate) delivery: Delivery,
    pub(crate) next_world_ms: i64,
    pub(crate) next_scan_ms: i64,
    pub(crate) next_weather_ms: i64,
    pub(crate) weather_every_ms: i64,
    pub(crate) says_wet: bool,
    pub(crate) counts: Counts,
}

/// A device that watches its own limits, on a post that can pass them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) alarm: VendorAlarm,
    pub(crate) told_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    World,
    Weather,
    Scan,
    Extra,
    Turn(usize),
    Delivery,
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
        let noise = Chance::new(run.seed).of(0x706f_7374);
        let feed = Feed::new(&scenario, &city.params().feed, Chance::new(run.seed).of(0x6665_6564));
        let sensors = city.posts().len() + city.feeders().len();
        let world = World::new(city.clone(), &scenario, scenario.speed, run.start, run.seed);
        let mut simulation = Self {
            timetable: timetable(&city, &scenario, noise),
            world,
            noise,
            seq: vec![0; sensors],
            restarts: vec![0; sensors],
            extra: BTreeMap::new(),
            extras: 0,
            watches: BTreeMap::new(),
            surges: HashMap::new(),
            frozen: HashMap::new(),
            last: HashMap::new(),
            leftovers: BTreeMap::new(),
            delivery: Delivery::default(),
            next_world_ms: 0,
            next_scan_ms: 0,
            next_weather_ms: 0,
            // At most once a second.
            weather_every_ms: ((feed.every_min * 60_000.0 / scenario.speed) as i64).max(1000),
            says_wet: scenario.event.iter().any(|e| e.kind == crate::event::EventKind::ToldWet),
            counts: Counts::default(),
            feed,
            city,
            scenario,
            run,
        };
        let passes = |place: &usize| {
            let post = &simulation.city.posts()[*place];
            simulation.city.worst(post).vendor_alarm(VendorAlarm::default()).any()
        };
        let candidates: Vec<usize> = simulation.city.candidates().filter(passes).collect();
        candidates.into_iter().for_each(|place| simulation.watch(place as u32));
        Ok(simulation)
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

    /// The city as it really is.
    pub fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// The weather.
    pub fn weather(&self) -> &Weather {
        self.world.weather()
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When the next message or look at the world is due.
    pub fn next_due(&self) -> Timestamp {
        self.next().0
    }

    /// Minutes of weather from the start to an instant.
    pub fn weather_minutes(&self, at: Timestamp) -> f64 {
        self.world.minutes(at)
    }

    /// Everything due up to `now`, in order of time, at most [`MESSAGES_MAX`] and one round more.
    ///
    /// A `now` before the start or before an earlier call returns nothing.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Message> {
        let mut out = Vec::new();
        while out.len() < MESSAGES_MAX {
            let (at, due) = self.next();
            if at > now {
                break;
            }
            self.act(at, due, &mut out);
        }
        out
    }

    fn act(&mut self, at: Timestamp, due: Due, out: &mut Vec<Message>) {
        match due {
            Due::World => self.move_world(at, out),
            Due::Weather => {
                self.world.soak(at);
                self.report_weather(at, out);
            }
            Due::Scan => {
                self.world.soak(at);
                self.world.look_at(at);
                self.scan(at, out);
            }
            Due::Extra => {
                if let Some((_, (place, cause))) = self.extra.pop_first() {
                    self.world.soak(at);
                    self.world.look_at(at);
                    self.report(place, at, cause, out);
                }
            }
            Due::Turn(group) => {
                let turn = self.timetable.take(group);
                if turn.in_standby || self.is_lit(turn.place) {
                    self.world.soak(at);
                    self.world.look_at(at);
                    self.report(turn.place, at, Cause::Periodic, out);
                }
            }
            Due::Delivery => {
                if let Some(message) = self.delivery.take() {
                    self.send(message, out);
                }
            }
        }
    }

    fn next(&self) -> (Timestamp, Due) {
        let at = |ms: i64| Timestamp(self.run.start.0.saturating_add(ms));
        let mut next = (at(self.next_world_ms), Due::World).min((at(self.next_weather_ms), Due::Weather));
        if let Some((ms, group)) = self.timetable.next() {
            next = next.min((at(ms), Due::Turn(group)));
        }
        if !self.watches.is_empty() {
            next = next.min((at(self.next_scan_ms), Due::Scan));
        }
        if let Some(((due, _), _)) = self.extra.first_key_value() {
            next = next.min((*due, Due::Extra));
        }
        match self.delivery.next() {
            Some(due) => next.min((due, Due::Delivery)),
            None => next,
        }
    }

    /// True while a sensor reports by its shorter period.
    fn is_lit(&self, place: u32) -> bool {
        self.city.posts().get(place as usize).is_none_or(|post| self.world.line(post.feeder).on)
    }

    /// Moves weather, feeders and events, and does what follows for sensors and links.
    fn move_world(&mut self, at: Timestamp, out: &mut Vec<Message>) {
        // Ten seconds, or a minute of weather where that is shorter.
        self.next_world_ms += ((60_000.0 / self.scenario.speed) as i64).clamp(100, 10_000);
        self.world.advance(at);
        for news in self.world.take_news() {
            match news {
                News::Energised(feeder) => self.herd(feeder, at, true),
                News::Reboot(feeder) => self.herd(feeder, at, false),
                News::Dead(feeder) => self.last_gasps(feeder, at, out),
                News::Surge(post) => _ = self.surges.insert(post, at),
                News::Retained(post) => self.hand_out_leftover(post, at, out),
                News::LinkBack(feeder) => self.delivery.release(feeder, at, &mut self.counts),
                News::BrokerBack => self.delivery.release_broker(at, &mut self.counts),
                News::Watch(post) => self.watch(post),
            }
        }
    }

    /// The sensors of a feeder start anew together: by the supply only those that live on it.
    fn herd(&mut self, feeder: u32, at: Timestamp, by_supply: bool) {
        for place in self.city.feeders()[feeder as usize].posts() {
            let Some(model) = self.city.posts()[place as usize].model else { continue };
            if by_supply && model.spec().battery {
                continue;
            }
            self.restarts[place as usize] = self.restarts[place as usize].wrapping_add(1);
            self.seq[place as usize] = 0;
            self.last.remove(&place);
            let after = self.noise.of(u64::from(place)).of(at.0 as u64).between(7, 1000.0, HERD_MS);
            self.also(place, Timestamp(at.0 + after as i64), Cause::Change);
        }
    }

    fn also(&mut self, place: u32, at: Timestamp, cause: Cause) {
        self.extras += 1;
        self.extra.insert((at, self.extras), (place, cause));
    }

    /// The finest model has a capacitor that lasts for one more message.
    fn last_gasps(&mut self, feeder: u32, at: Timestamp, out: &mut Vec<Message>) {
        for place in self.city.feeders()[feeder as usize].posts() {
            if self.city.posts()[place as usize].model == Some(Model::H2) {
                self.report(place, at, Cause::LastGasp, out);
            }
        }
    }

    fn report_weather(&mut self, at: Timestamp, out: &mut Vec<Message>) {
        self.next_weather_ms += self.weather_every_ms;
        let minute = self.world.minutes(at);
        for (place, zone) in ZONES.iter().enumerate() {
            let Some(told) = self.feed.tells(self.world.weather(), place, minute) else { continue };
            let mut payload = json!({ "ts": at.0, "rain_mm_h": told.rain_mm_h, "warning": told.warning });
            if self.says_wet {
                payload["wet"] = json!(self.world.is_told_wet());
            }
            self.counts.weather += 1;
            let message = Message {
                at,
                topic: format!("weather/{}/rain", zone.id),
                payload: payload.to_string().into_bytes(),
                retain: false,
                source: Source::Weather(place as u8),
            };
            self.send(message, out);
        }
    }

    /// Watches the own limits of a post's device, if it has any.
    fn watch(&mut self, place: u32) {
        let post = &self.city.posts()[place as usize];
        if post.has_flags && post.model.is_some_and(can_flag) {
            if self.watches.is_empty() {
                // Nobody looked so far: the looks that were left out do not come now.
                self.next_scan_ms = self.next_scan_ms.max(self.next_world_ms);
            }
            self.watches.entry(place).or_default();
        }
    }

    /// Devices that pass their own limit report at once, and again every minute while it lasts.
    fn scan(&mut self, at: Timestamp, out: &mut Vec<Message>) {
        let now_ms = self.next_scan_ms;
        let params = &self.city.params().sensor;
        let repeat_ms = (params.alarm_repeat_s * 1000.0) as i64;
        // In fast motion a second is long.
        let scan_s = if self.scenario.speed > 2.0 { 1.0 } else { params.scan_s };
        self.next_scan_ms += (scan_s * 1000.0) as i64;
        let places: Vec<u32> = self.watches.keys().copied().collect();
        for place in places {
            let before = self.watches[&place];
            let fault = self.affected_sensor(place);
            if fault.frozen {
                continue;
            }
            let taken = fault.takes_for(self.world.electrical(place, false));
            let alarm = taken.vendor_alarm(before.alarm);
            self.watches.insert(place, Watch { alarm, ..before });
            let risen = (alarm.leak && !before.alarm.leak) || (alarm.shell && !before.alarm.shell);
            if risen || (alarm.any() && now_ms - before.told_ms >= repeat_ms) {
                self.report(place, at, Cause::Alarm, out);
            }
        }
    }

    pub(crate) fn deliver(&mut self, message: Message, quirk: Option<Quirk>, out: &mut Vec<Message>) {
        match quirk {
            Some(Quirk::Duplicate) => {
                self.counts.duplicates += 1;
                self.send(message.clone(), out);
            }
            Some(Quirk::OutOfOrder) => {
                self.counts.out_of_order += 1;
                let periods = self.period_s(&message.source);
                let until = Timestamp(message.at.0 + i64::from(periods) * 1200);
                return self.delivery.delay(message, until, &mut self.counts);
            }
            // Counted where the payload is written: not every payload has the value that is struck.
            Some(_) | None => {}
        }
        self.send(message, out);
    }

    fn period_s(&self, source: &Source) -> u32 {
        match source {
            Source::Post(place) => self
                .city
                .posts()
                .get(*place as usize)
                .map_or(CABINET_PERIOD_S, |post| self.city.periods_s(post).0),
            Source::Weather(_) => 60,
        }
    }

    /// Over concentrator and broker, as far as they let it.
    pub(crate) fn send(&mut self, message: Message, out: &mut Vec<Message>) {
        if let Source::Post(place) = message.source {
            let feeder = self.feeder_of(place);
            let line = self.world.line(feeder);
            if line.link_dead {
                self.counts.lost += 1;
                return;
            }
            if line.link_held {
                return self.delivery.keep(feeder, message, &mut self.counts);
            }
        }
        if self.world.is_broker_away() {
            return self.delivery.keep_for_broker(message, &mut self.counts);
        }
        out.push(message);
    }

    /// One retained `online` for everything that has a sensor.
    pub fn statuses(&self) -> impl Iterator<Item = Message> + '_ {
        let posts = self.city.posts().len();
        let has_sensor = move |place: &usize| match self.city.posts().get(*place) {
            Some(post) => post.model.is_some(),
            None => self.city.feeders()[*place - posts].cabinet_sensor,
        };
        (0..posts + self.city.feeders().len()).filter(has_sensor).map(move |place| Message {
            at: self.run.start,
            topic: format!(
                "lamp/{}/{}/status",
                ZONES[usize::from(self.zone_of(place as u32))].id,
                self.city.device_id(place)
            ),
            payload: b"online".to_vec(),
            retain: true,
            source: Source::Post(place as u32),
        })
    }
}

/// Every sensor with its periods: the scenario's, else its model's.
fn timetable(city: &City, scenario: &Scenario, chance: Chance) -> Timetable {
    let of_scenario = scenario.period_s.map(|period| (period, period));
    let posts = city.posts().iter().enumerate().filter(|(_, post)| post.model.is_some());
    let posts = posts.map(|(place, post)| (place as u32, of_scenario.unwrap_or(city.periods_s(post))));
    let cabinets = city.feeders().iter().enumerate().filter(|(_, feeder)| feeder.cabinet_sensor);
    let cabinet_s = scenario.period_s.unwrap_or(CABINET_PERIOD_S);
    let cabinets = cabinets.map(|(nth, _)| ((city.posts().len() + nth) as u32, (cabinet_s, cabinet_s)));
    Timetable::new(posts.chain(cabinets), chance)
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
