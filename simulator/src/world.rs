//! The city at one instant: weather, feeders, faults. What a perfect observer would know.
//!
//! `World::advance` moves it forward; everything else only looks. Whether a sensor tells any of it is the
//! affair of `simulation.rs`; what of it is a hazard, of `truth.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_model::Timestamp;

use crate::chance::Chance;
use crate::city::{City, Class, Post};
use crate::event::{Event, EventKind, Target};
use crate::fault::{Affected, place_sensor_faults};
use crate::lighting::is_dark;
use crate::moisture::Moisture;
use crate::physics::{Danger, Electrical, Insulation, REPAIRED, Residual};
use crate::scenario::Scenario;
use crate::street::MIDDLE;
use crate::weather::{Sky, Weather};

/// A supply below this is none, V (policy: powered).
const POWERED_V: f64 = 50.0;
/// Water of a flood rises for this long, minutes.
const RISING_MIN: f64 = 30.0;
/// A broken cable energises its surroundings from this moisture on.
const CONDUCTS: f64 = 0.3;
/// Shares of nominal voltage on the three phases of a feeder without neutral: 170 V and 300 V is a quoted
/// example (domain reference 17.4, WF5).
const UNBALANCED: [f64; 3] = [0.74, 1.30, 1.05];

/// One feeder at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Voltage at its posts.
    pub energised: bool,
    /// Lamps are meant to burn, or burn because a contactor is welded.
    pub on: bool,
    cut: bool,
    welded: bool,
    /// Cabinet under water.
    pub flooded: bool,
    /// Share of nominal supply.
    supply: f64,
    lost_phase: Option<u8>,
    /// Shell voltage that a broken neutral puts on every post, V; 0 while it is whole.
    pub neutral_v: f64,
    /// Current of a wet cable joint when soaked, mA; 0 when there is none.
    pub joint_ma: f64,
    /// No message comes through.
    pub link_dead: bool,
    /// Messages wait in its concentrator.
    pub link_held: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            energised: false,
            on: false,
            cut: false,
            welded: false,
            flooded: false,
            supply: 1.0,
            lost_phase: None,
            neutral_v: 0.0,
            joint_ma: 0.0,
            link_dead: false,
            link_held: false,
        }
    }
}

/// What the timetable has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A feeder has voltage again: its sensors start together.
    Energised(u32),
    /// A feeder lost its voltage.
    Dead(u32),
    /// A feeder's sensors start anew.
    Reboot(u32),
    /// A post's next sample is false.
    Surge(u32),
    /// An old critical reading comes again.
    Retained(u32),
    /// A concentrator sends what it kept.
    LinkBack(u32),
    /// The broker is there again.
    BrokerBack,
    /// A post may pass a device's own limits from now on.
    Watch(u32),
}

/// The city at one instant.
#[derive(Clone, Debug)]
pub struct World {
    city: Arc<City>,
    start: Timestamp,
    speed: f64,
    weather: Weather,
    moisture: Moisture,
    /// In order of their beginnings.
    events: Vec<Event>,
    begun: usize,
    /// Places in `events` of what goes on, by target, in the order in which it began.
    active: BTreeMap<Target, Vec<usize>>,
    affected: BTreeMap<u32, Affected>,
    is_affected: Vec<bool>,
    lines: Vec<Line>,
    /// Since which minute posts with a sensor that fails then are dangerous.
    critical_min: BTreeMap<u32, f64>,
    minute: f64,
    at: Timestamp,
    broker_away: bool,
    told_wet: bool,
    news: Vec<News>,
    chance: Chance,
    scenario_storms: usize,
}

impl World {
    pub(crate) fn new(city: Arc<City>, scenario: &Scenario, speed: f64, start: Timestamp, seed: u64) -> Self {
        let weather = Weather::new(scenario, seed);
        let chance = Chance::new(seed).of(0x776f_726c);
        let (mut events, mut places) = (Vec::new(), Vec::new());
        for (nth, spec) in scenario.event.iter().enumerate() {
            places = spec.place(&city, chance.of(nth as u64 + 100), &places, &mut events);
        }
        place_sensor_faults(&city, scenario, chance.of(2), &mut events);
        events.sort_by(|a, b| a.from_min.total_cmp(&b.from_min));
        let mut world = Self {
            moisture: Moisture::new(&weather, &city),
            scenario_storms: weather.storms(),
            weather,
            events,
            begun: 0,
            active: BTreeMap::new(),
            affected: BTreeMap::new(),
            is_affected: Vec::new(),
            lines: Vec::new(),
            critical_min: BTreeMap::new(),
            minute: 0.0,
            at: start,
            broker_away: false,
            told_wet: false,
            news: Vec::new(),
            chance,
            city,
            start,
            speed,
        }
        .again();
        // Nobody starts anew because the simulation starts.
        world.news.retain(|news| !matches!(news, News::Energised(_) | News::Dead(_)));
        world
    }

    /// The same city from its start, with everything that happened to it since.
    pub(crate) fn again(&self) -> Self {
        let mut world = Self {
            moisture: Moisture::new(&self.weather, &self.city),
            begun: 0,
            active: BTreeMap::new(),
            affected: BTreeMap::new(),
            is_affected: vec![false; self.city.posts().len()],
            lines: vec![Line::default(); self.city.feeders().len()],
            critical_min: BTreeMap::new(),
            minute: 0.0,
            at: self.start,
            broker_away: false,
            told_wet: false,
            news: Vec::new(),
            ..self.clone()
        };
        world.advance(self.start);
        world
    }

    /// Minutes of weather from the start to an instant.
    pub(crate) fn minutes(&self, at: Timestamp) -> f64 {
        at.since(self.start).0 as f64 / 60_000.0 * self.speed
    }

    /// The weather.
    pub(crate) fn weather(&self) -> &Weather {
        &self.weather
    }

    pub(crate) fn weather_mut(&mut self) -> (&mut Weather, usize) {
        (&mut self.weather, self.scenario_storms)
    }

    /// Everything that was placed, in order of beginnings.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds something that begins now or later.
    pub(crate) fn add(&mut self, event: Event) {
        let place = self.events.partition_point(|other| other.from_min <= event.from_min).max(self.begun);
        self.events.insert(place, event);
    }

    /// What happened since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Forgets what happened: for those who only look.
    pub(crate) fn drop_news(&mut self) {
        self.news.clear();
    }

    /// Moves weather, events and feeders to an instant; an earlier one leaves everything as it is.
    pub(crate) fn advance(&mut self, at: Timestamp) {
        if at < self.at {
            return;
        }
        self.at = at;
        self.minute = self.minutes(at);
        self.moisture.advance(&self.weather, &self.city, self.minute);
        self.end_events();
        while let Some(event) = self.events.get(self.begun).filter(|event| event.from_min <= self.minute) {
            let (event, nth) = (*event, self.begun);
            self.begun += 1;
            if event.until_min > self.minute {
                self.active.entry(event.target).or_default().push(nth);
            }
            self.announce(&event);
            self.fold(event.target);
        }
        self.switch_feeders();
        self.watch_for_critical();
    }

    /// Moves the weather alone: between two looks at feeders and events.
    pub(crate) fn soak(&mut self, at: Timestamp) {
        self.moisture.advance(&self.weather, &self.city, self.minutes(at));
    }

    fn end_events(&mut self) {
        let (events, minute) = (&self.events, self.minute);
        let mut touched = Vec::new();
        self.active.retain(|target, places| {
            let before = places.len();
            places.retain(|nth| events[*nth].until_min > minute);
            if places.len() < before {
                touched.push(*target);
            }
            !places.is_empty()
        });
        for target in touched {
            let held = self.is_held(target);
            self.fold(target);
            match target {
                Target::Feeder(feeder) if held && !self.lines[feeder as usize].link_held => {
                    self.news.push(News::LinkBack(feeder));
                }
                Target::City if held && !self.broker_away => self.news.push(News::BrokerBack),
                _ => {}
            }
        }
    }

    fn is_held(&self, target: Target) -> bool {
        match target {
            Target::Feeder(feeder) => self.lines[feeder as usize].link_held,
            Target::City => self.broker_away,
            Target::Post(_) => false,
        }
    }

    fn announce(&mut self, event: &Event) {
        match (event.kind, event.target) {
            (EventKind::Lightning, Target::Post(post)) => self.news.push(News::Surge(post)),
            (EventKind::Retained, Target::Post(post)) => self.news.push(News::Retained(post)),
            (EventKind::Reboot, Target::Feeder(feeder)) => {
                self.news.push(News::Reboot(feeder));
                self.start_anew(feeder, false);
            }
            (EventKind::BrokenNeutral, Target::Feeder(feeder)) => {
                let posts = self.city.feeders()[feeder as usize].posts();
                self.news.extend(posts.map(News::Watch));
            }
            (_, Target::Post(post)) => self.news.push(News::Watch(post)),
            _ => {}
        }
    }

    /// Works out the state of a target from everything that goes on there.
    fn fold(&mut self, target: Target) {
        let places = self.active.get(&target);
        let going_on = places.into_iter().flatten().map(|nth| &self.events[*nth]);
        match target {
            Target::Post(post) => {
                let affected = going_on.fold(Affected::default(), Affected::with);
                self.is_affected[post as usize] = affected != Affected::default();
                if self.is_affected[post as usize] {
                    self.affected.insert(post, affected);
                } else {
                    self.affected.remove(&post);
                }
            }
            Target::Feeder(feeder) => {
                let before = self.lines[feeder as usize];
                let line = Line { energised: before.energised, on: before.on, ..Line::default() };
                self.lines[feeder as usize] = going_on.fold(line, Line::with);
            }
            Target::City => {
                let kinds: Vec<EventKind> = going_on.map(|event| event.kind).collect();
                self.broker_away = kinds.contains(&EventKind::BrokerOutage);
                self.told_wet = kinds.contains(&EventKind::ToldWet);
            }
        }
    }

    fn switch_feeders(&mut self) {
        let dark = is_dark(self.at, MIDDLE.0, MIDDLE.1);
        let mut started = Vec::new();
        for (place, (line, feeder)) in self.lines.iter_mut().zip(self.city.feeders()).enumerate() {
            line.on = line.welded || feeder.control.is_on(self.at, dark);
            let energised = !line.cut && !line.flooded && (line.on || !feeder.contactor);
            if energised != line.energised {
                line.energised = energised;
                let place = place as u32;
                self.news.push(if energised { News::Energised(place) } else { News::Dead(place) });
                if energised {
                    started.push(place);
                }
            }
        }
        started.into_iter().for_each(|feeder| self.start_anew(feeder, true));
    }

    /// The sensors of a feeder start anew, by the supply only those that live on it: what lasts until then ends.
    fn start_anew(&mut self, feeder: u32, by_supply: bool) {
        for place in self.city.feeders()[feeder as usize].posts() {
            let battery = self.city.posts()[place as usize].model.is_some_and(|model| model.spec().battery);
            let target = Target::Post(place);
            if by_supply && battery || !self.affected(place).is_some_and(|it| it.sensor.not_a_number) {
                continue;
            }
            let Some(places) = self.active.get_mut(&target) else { continue };
            places.retain(|nth| self.events[*nth].kind != EventKind::NotANumber);
            self.fold(target);
        }
    }

    /// Notes when posts whose sensor fails then become dangerous.
    fn watch_for_critical(&mut self) {
        let mut found = Vec::new();
        for (post, affected) in &self.affected {
            if affected.sensor.after_critical && !self.critical_min.contains_key(post) {
                let values = self.electrical(*post, true);
                if values.danger(self.is_wet(*post)) == Danger::Dangerous {
                    found.push((*post, self.minute));
                }
            }
        }
        self.critical_min.extend(found);
    }

    /// Every feeder, by its place in the city.
    pub(crate) fn line(&self, feeder: u32) -> &Line {
        &self.lines[feeder as usize]
    }

    /// True while the broker is away from everybody.
    pub(crate) fn is_broker_away(&self) -> bool {
        self.broker_away
    }

    /// True while an officer has told the system that it is wet.
    pub(crate) fn is_told_wet(&self) -> bool {
        self.told_wet
    }

    pub(crate) fn affected(&self, post: u32) -> Option<&Affected> {
        if self.is_affected[post as usize] { self.affected.get(&post) } else { None }
    }

    /// The sky over a post.
    pub(crate) fn sky(&self, post: &Post) -> &Sky {
        self.moisture.sky(post.patch)
    }

    /// Moisture at a post, 0 to 1; soaked in a flood.
    pub(crate) fn moisture(&self, place: u32) -> f64 {
        let post = &self.city.posts()[place as usize];
        if self.water_mm(place) > 0.0 { 1.0 } else { self.moisture.at(post.patch, post.soak) }
    }

    /// The simulator's own word on whether the ground at a post is wet.
    pub(crate) fn is_wet(&self, place: u32) -> bool {
        let post = &self.city.posts()[place as usize];
        self.water_mm(place) > 0.0 || self.moisture.wet(post.patch, post.soak)
    }

    /// Standing water at a post, mm: a flood, or what long rain leaves in a low stretch.
    pub(crate) fn water_mm(&self, place: u32) -> f64 {
        let post = &self.city.posts()[place as usize];
        let flood = self.affected(place).and_then(|affected| affected.flood);
        let flood = flood.map_or(0.0, |(mm, from)| mm * ((self.minute - from) / RISING_MIN).clamp(0.01, 1.0));
        if !post.low_lying {
            return flood;
        }
        flood.max((self.moisture.at(post.patch, post.soak) - 0.8) * 200.0).max(0.0)
    }

    /// Supply at a post, V.
    pub(crate) fn supply_v(&self, place: u32) -> f64 {
        let post = &self.city.posts()[place as usize];
        let line = self.line(post.feeder);
        if !line.energised || line.lost_phase == Some(post.phase()) {
            return 0.0;
        }
        let balance = if line.neutral_v > 0.0 { UNBALANCED[usize::from(post.phase())] } else { 1.0 };
        self.city.params().supply.nominal_v * line.supply * balance
    }

    /// True when a mains sensor at a post runs.
    pub(crate) fn is_powered(&self, place: u32) -> bool {
        self.supply_v(place) > POWERED_V
    }

    /// Share of rated power at which the lamp of a post burns.
    pub(crate) fn lamp_share(&self, place: u32) -> f64 {
        let post = &self.city.posts()[place as usize];
        let line = self.line(post.feeder);
        let supply = self.supply_v(place) / self.city.params().supply.nominal_v;
        if !line.on || supply < 0.2 || self.affected(place).is_some_and(|affected| affected.lamp_out) {
            return 0.0;
        }
        let plan = if line.welded { 1.0 } else { post.plan.power(self.at) };
        plan * if (supply - 1.0).abs() > 0.1 { supply * supply } else { 1.0 }
    }

    /// True values at a post. `closed`: a loose contact counts as closed; else the wind decides.
    pub(crate) fn electrical(&self, place: u32, closed: bool) -> Electrical {
        let post = &self.city.posts()[place as usize];
        let affected = self.affected(place).copied().unwrap_or_default();
        let (supply_v, water_mm) = (self.supply_v(place), self.water_mm(place));
        let stray_v = self.stray_v(place);
        if supply_v == 0.0 {
            // Back-feed: a dead post is live all the same through the cable of another feeder.
            return Electrical { shell_v: stray_v, water_mm, ..Electrical::default() };
        }
        let nominal_v = self.city.params().supply.nominal_v;
        let insulation = if affected.repaired { REPAIRED } else { post.insulation };
        let fault_ohm = self.fault_ohm(place, &insulation, &affected, closed);
        let mut values = if affected.lost_earth {
            insulation.without_earth(supply_v, fault_ohm)
        } else {
            insulation.under(supply_v, fault_ohm, nominal_v)
        };
        let line = self.line(post.feeder);
        if line.neutral_v > 0.0 {
            let share = self.chance.of(u64::from(place)).between(1, 0.8, 1.2);
            values.neutral_v = line.neutral_v * 1.1;
            values.shell_v += line.neutral_v * share;
        }
        values.shell_v = values.shell_v.max(stray_v);
        Electrical { water_mm, ..values }
    }

    /// Shell voltage from broken cables through wet ground: each as strong as the supply of the post where the cable is
    /// broken, whatever feeds this one, and for as long as that post is not repaired.
    pub(crate) fn stray_v(&self, place: u32) -> f64 {
        let reached = self.affected(place).is_some_and(|affected| affected.stray_v > 0.0);
        if !reached || self.moisture(place) < CONDUCTS {
            return 0.0;
        }
        let mut stray_v = 0.0_f64;
        let nominal_v = self.city.params().supply.nominal_v;
        let going_on = self.active.get(&Target::Post(place)).into_iter().flatten();
        for event in going_on.map(|nth| &self.events[*nth]) {
            match event.kind {
                EventKind::Repair => stray_v = 0.0,
                EventKind::Neighbours => {
                    let source = event.source.unwrap_or(place);
                    if self.affected(source).is_some_and(|affected| affected.stray_v > 0.0) {
                        stray_v = stray_v.max(event.value * self.supply_v(source) / nominal_v);
                    }
                }
                _ => {}
            }
        }
        stray_v
    }

    fn fault_ohm(&self, place: u32, insulation: &Insulation, affected: &Affected, closed: bool) -> f64 {
        let post = &self.city.posts()[place as usize];
        let sound = f64::from(REPAIRED.dry_ohm);
        let lamp_side = affected.lamp_side.unwrap_or(post.lamp_side && !affected.repaired);
        let loose = affected.intermittent.unwrap_or(post.intermittent && !affected.repaired);
        let joined =
            (!lamp_side || self.lamp_share(place) > 0.0) && (!loose || closed || self.contact(place));
        if !joined {
            return sound;
        }
        // A joint that is bad already gets worse with the weather.
        let worsens = if post.class == Class::Healthy || affected.repaired {
            0.0
        } else {
            self.city.params().insulation.worsens_per_day * self.minute / 1440.0
        };
        let own = insulation.fault_ohm(self.moisture(place)) * (-worsens).exp();
        if affected.leak_ma <= 0.0 {
            return own;
        }
        let nominal_v = self.city.params().supply.nominal_v;
        let leak = (nominal_v * 1000.0 / affected.leak_ma - f64::from(insulation.earth_ohm)).max(0.1);
        1.0 / (1.0 / own + 1.0 / leak)
    }

    /// A loose contact in the wind: open or closed for 10 to 120 s at a time.
    fn contact(&self, place: u32) -> bool {
        let chance = self.chance.of(u64::from(place)).of(3);
        let length_ms = (chance.between(0, 10.0, 120.0) * 1000.0) as i64;
        chance.unit((self.at.0 / length_ms) as u64 + 1) < 0.5
    }

    /// Puts the instant at which loose contacts are looked at.
    pub(crate) fn look_at(&mut self, at: Timestamp) {
        self.at = self.at.max(at);
    }

    /// What the transformer in a feeder's cabinet sees, mA.
    pub(crate) fn residual_ma(&self, feeder: u32) -> f64 {
        let mut residual = Residual::default();
        for place in self.city.feeders()[feeder as usize].posts() {
            let values = self.electrical(place, false);
            let phase = self.city.posts()[place as usize].phase();
            residual.add(phase, values.resistive_ma, values.capacitive_ma);
        }
        residual.add(0, self.joint_ma(feeder), 0.0);
        residual.ma()
    }

    /// True current of a feeder's wet cable joint, mA.
    pub(crate) fn joint_ma(&self, feeder: u32) -> f64 {
        let line = self.line(feeder);
        if line.joint_ma == 0.0 || !line.energised {
            return 0.0;
        }
        // A joint lies in the ground: it soaks as the slowest posts do, and leaks little while dry.
        let first = &self.city.posts()[self.city.feeders()[feeder as usize].first as usize];
        let moisture = self.moisture.at(first.patch, crate::weather::SOAK_SLOWEST);
        line.joint_ma * (5.0 * (moisture - 0.7).min(0.0)).exp()
    }

    /// How often the sensor of a post reports now, seconds: by lamp light oftener than in standby.
    pub(crate) fn period_s(&self, place: u32) -> u32 {
        let post = &self.city.posts()[place as usize];
        let (lit_s, standby_s) = self.city.periods_s(post);
        if self.line(post.feeder).on { lit_s } else { standby_s }
    }

    /// True when the sensor of a post says nothing any more, or not while it is away.
    pub(crate) fn is_mute(&self, place: u32, period_s: u32) -> bool {
        let Some(affected) = self.affected(place) else { return false };
        let periods = f64::from(period_s) / 60.0 * self.speed;
        let sensor = &affected.sensor;
        let drowned = sensor.drowned_min.is_some_and(|since| self.minute >= since + 2.0 * periods);
        let failed = sensor.after_critical
            && self.critical_min.get(&place).is_some_and(|since| self.minute >= since + periods);
        sensor.silent || drowned || failed
    }

    /// Minutes of weather now.
    pub(crate) fn minute(&self) -> f64 {
        self.minute
    }
}

impl Line {
    fn with(mut self, event: &Event) -> Self {
        match event.kind {
            EventKind::CableJoint => self.joint_ma = event.value,
            EventKind::BrokenNeutral => self.neutral_v = event.value,
            EventKind::PhaseLoss => self.lost_phase = Some(1),
            EventKind::BrownOut => self.supply = event.value,
            EventKind::Cut => self.cut = true,
            EventKind::Reclose => self.cut = false,
            EventKind::Welded => self.welded = true,
            EventKind::CabinetFlood => self.flooded = true,
            EventKind::ConcentratorDead => self.link_dead = true,
            EventKind::StoreAndForward => self.link_held = true,
            _ => {}
        }
        self
    }
}
