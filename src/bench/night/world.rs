//! One night on one clock: rules, messages, channels, people.
//!
//! ```text
//! record of the city ─► pass time up to it ─► engine.step ─► effects ─► dispatcher ─► channels ─► people ─► moves
//! ```
//! Nothing waits for real time: what comes next is the earliest of the next tick at which the rules may do something,
//! the next end of an attempt to send, the next act of a person.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use anyhow::Result;

use lampguard_alerting::lighting::Lighting;
use lampguard_alerting::links::Links;
use lampguard_alerting::notice::Notice;
use lampguard_alerting::policy::Flood;
use lampguard_alerting::wet::Sky;
use lampguard_alerting::{
    Dispatcher, Effect, Engine, Incident, Input, Ladders, Policy, Scene, Severity, SiteText,
};
use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Millis, Register, Timestamp, WeatherReport};

use super::breakers::Order;
use super::channels::{Channel, Try, pause};
use super::crews::{Crew, Step};
use super::log::Log;
use super::office::{Office, VOICE, routes};
use super::people::Spot;
use crate::bench::random::Random;

/// Somebody at the board is seen this often.
const SEEN_EVERY: Millis = Millis::seconds(30);
/// Each P1 is in an accepted message or red after so long (`policy.md` 5).
const RED_AFTER: Millis = Millis::minutes(10);

/// A night that has to fail: what is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nothing.
    #[default]
    Nothing,
    /// Nobody climbs.
    #[cfg(test)]
    Ladder,
    /// No robot: one channel for a crew.
    #[cfg(test)]
    Chat,
    /// A message has no limit in a flood.
    #[cfg(test)]
    Limit,
    /// What was accepted is sent once more, unmarked.
    #[cfg(test)]
    Twice,
    /// The rules know of one shift alone.
    #[cfg(test)]
    Shifts,
    /// Power that is back is told to the desk alone.
    #[cfg(test)]
    Extent,
}

/// What comes at a moment.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A channel may send again.
    Pump(usize),
    /// An attempt ends.
    Ended(usize, Try),
    /// A notice is tried again.
    Again(usize, Try),
    /// Somebody takes notice of incidents.
    Heard { person: Arc<str>, incidents: Vec<Arc<str>>, word: String },
    /// Somebody does something.
    Act(Step),
    /// Somebody is at the board.
    Seen,
    /// Somebody closes the breaker of an isolation.
    Closes(Arc<str>),
    /// Ten minutes after a P1.
    Red(Arc<str>),
}

/// Everything that goes on.
pub(super) struct Night {
    pub(super) engine: Engine,
    dispatcher: Dispatcher,
    pub(super) office: Office,
    pub(super) register: Arc<Register>,
    site: SiteText,
    pub(super) limits: Flood,
    channels: Vec<Channel>,
    pub(super) random: Random,
    pub(super) seed: u64,
    pub(super) now: Timestamp,
    ticked: Option<Timestamp>,
    listed_at: Option<Timestamp>,
    pumping: Vec<Option<Timestamp>>,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: HashMap<u64, Event>,
    numbers: u64,
    effects: Vec<Effect>,
    /// Incidents as they were last, over or not.
    pub(super) board: BTreeMap<Arc<str>, Incident>,
    pub(super) crews: BTreeMap<Arc<str>, Crew>,
    /// When somebody last did something.
    pub(super) active: HashMap<Arc<str>, Timestamp>,
    /// Rain by zone, mm/h.
    pub(super) rain: HashMap<String, f64>,
    pub(super) log: Log,
    pub(super) readings: u64,
    /// What people did to the city since this was last asked.
    pub(super) orders: Vec<Order>,
    /// Who took an incident over from the shift before, and has to get there yet.
    pub(super) reliefs: HashMap<Arc<str>, Arc<str>>,
    pub(super) started: Timestamp,
    /// First accepted notice of each incident: what a claimed time may not lie before.
    pub(super) told_at: HashMap<Arc<str>, Timestamp>,
    /// What became of the last move.
    pub(super) answer: Option<Result<bool, String>>,
    broken: Broken,
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(1000) * 1000)
}

impl Night {
    /// Nothing has happened yet.
    pub(super) fn new(
        register: Arc<Register>,
        start: Timestamp,
        days: f64,
        seed: u64,
        broken: Broken,
    ) -> Result<Self> {
        let policy = Policy::default();
        let limits = policy.flood;
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap_or(jiff::tz::TimeZone::UTC);
        let mut engine = Engine::new(policy, register.clone(), Sky::default());
        engine.set_lighting(Arc::new(Lighting::by_sun(zone, &register)));
        engine.set_ladders(Ladders::default());
        let (mut chat, mut limits, mut shifts) = (true, limits, true);
        #[cfg(test)]
        match broken {
            Broken::Ladder => engine.leave_ladders(),
            Broken::Chat => chat = false,
            Broken::Limit => limits.messages_max = 1000,
            Broken::Shifts => shifts = false,
            Broken::Nothing | Broken::Twice | Broken::Extent => {}
        }
        let _ = (&mut chat, &mut limits, &mut shifts);
        let office = Office::of(register.zones(), shifts)?;
        engine.set_rota(office.rota.clone());
        let mut random = Random(seed);
        let routes = routes(chat);
        let nights = days.ceil() as i64;
        let channel = |route: &lampguard_alerting::Route| Channel::new(&route.id, start, nights, &mut random);
        let channels: Vec<Channel> = routes.iter().map(channel).collect();
        let crews = Crew::all(&office, &register);
        let mut night = Self {
            engine,
            dispatcher: Dispatcher::new(routes),
            office,
            register,
            site: SiteText {
                name: "SIM".to_owned(),
                language: "en".to_owned(),
                public_url: None,
                time_zone: "Asia/Shanghai".to_owned(),
                links: Links::default(),
                safety: Arc::default(),
            },
            limits,
            pumping: vec![None; channels.len()],
            channels,
            random,
            seed,
            now: start,
            ticked: None,
            listed_at: None,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            numbers: 0,
            effects: Vec::new(),
            board: BTreeMap::new(),
            crews,
            active: HashMap::new(),
            rain: HashMap::new(),
            log: Log::default(),
            readings: 0,
            orders: Vec::new(),
            reliefs: HashMap::new(),
            started: start,
            told_at: HashMap::new(),
            answer: None,
            broken,
        };
        night.at(start, Event::Seen);
        Ok(night)
    }

    /// Something comes later.
    pub(super) fn at(&mut self, at: Timestamp, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse((at.max(self.now), self.numbers)));
        self.events.insert(self.numbers, event);
    }

    /// One frame of the intake.
    pub(super) fn judge(
        &mut self,
        records: lampguard_journal::Records<'_>,
        mut look: impl FnMut(&StoredReading<'_>),
    ) {
        for (_, kind, bytes) in records {
            match record::decode(kind, bytes) {
                Ok(Record::Reading(reading)) => {
                    self.pass(reading.received_at);
                    look(&reading);
                    self.readings += 1;
                    self.look_for_voltage(&reading);
                    self.step(Input::Reading(&reading));
                }
                Ok(Record::Weather(received_at, zone, json)) => {
                    self.pass(received_at);
                    if let Ok(report) = WeatherReport::decode(json) {
                        if let Some(rain) = report.rain_mm_h {
                            self.rain.insert(zone.to_owned(), rain);
                        }
                        self.step(Input::Weather { zone, report: &report });
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets time pass up to `to`; a message that is older than what has passed is judged now, as live.
    pub(super) fn pass(&mut self, to: Timestamp) {
        let Some(mut ticked) = self.ticked else {
            self.now = to;
            self.tick(second(to));
            return;
        };
        loop {
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let tick = self.next_tick(ticked);
            let next = event.map_or(tick, |at| at.min(tick));
            if next > to {
                break;
            }
            if tick <= next {
                self.now = self.now.max(tick);
                self.tick(tick);
                ticked = tick;
                continue;
            }
            if let Some(Reverse((at, number))) = self.queue.pop() {
                self.now = self.now.max(at);
                if let Some(event) = self.events.remove(&number) {
                    self.happen(event);
                }
            }
        }
        self.now = self.now.max(to);
        if second(to) > ticked {
            self.tick(second(to));
        }
    }

    /// The first whole second behind the last tick at which one may do something; a running instance ticks each second.
    fn next_tick(&self, ticked: Timestamp) -> Timestamp {
        let next = ticked + Millis::seconds(1);
        if self.dispatcher.is_waiting() {
            return next;
        }
        second(self.engine.next_due() + Millis(999)).max(next)
    }

    fn tick(&mut self, at: Timestamp) {
        self.ticked = Some(at);
        self.step(Input::Tick);
        if self.listed_at != Some(at) {
            self.listed_at = Some(at);
            self.send_lists();
        }
    }

    pub(super) fn step(&mut self, input: Input<'_>) {
        self.engine.step(self.now, input, &mut self.effects);
        self.follow_all();
    }

    fn follow_all(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            self.follow(&effect);
        }
    }

    fn scene<T>(
        &mut self,
        work: impl FnOnce(&mut Dispatcher, &Scene<'_>, &BTreeMap<Arc<str>, Incident>) -> T,
    ) -> T {
        let scene = Scene {
            rota: &self.office.rota,
            register: &self.register,
            site: &self.site,
            limits: &self.limits,
            now: self.now,
        };
        work(&mut self.dispatcher, &scene, &self.board)
    }

    /// What an instance does about an effect: remember, tell, show.
    fn follow(&mut self, effect: &Effect) {
        let notices = self.scene(|dispatcher, scene, _| dispatcher.of(scene, effect));
        match effect {
            Effect::Open { incident, event, .. }
            | Effect::Escalated { incident, event, .. }
            | Effect::Moved { incident, event, .. }
            | Effect::Changed { incident, event } => {
                self.log.event(self.now, event, incident);
                self.show(incident);
            }
            Effect::Shown(incident) => self.show(incident),
            Effect::Many { incidents, to, .. } => {
                for incident in incidents {
                    self.log.listed(self.now, incident, to.step);
                    self.show(incident);
                }
            }
            Effect::Flood { on, .. } => self.log.floods.push((self.now, *on)),
            Effect::Answered(answer) => {
                let done = |answer: &lampguard_alerting::engine::Answer| {
                    answer.outcome == lampguard_alerting::life::Outcome::Done
                };
                self.answer = Some(answer.as_ref().as_ref().map(done).map_err(ToString::to_string));
            }
            _ => {}
        }
        self.send(&notices);
    }

    fn show(&mut self, incident: &Incident) {
        let known = self.board.insert(incident.id.clone(), incident.clone());
        let was_p1 = known.is_some_and(|known| known.p1_at.is_some());
        if let (Some(p1_at), false) = (incident.p1_at, was_p1) {
            self.at(p1_at + RED_AFTER, Event::Red(incident.id.clone()));
        }
    }

    fn send_lists(&mut self) {
        let lists = self.scene(|dispatcher, scene, board| dispatcher.lists(scene, |id| board.get(id)));
        for (_, notices) in lists {
            self.send(&notices);
        }
    }

    /// Hands notices to their channels.
    fn send(&mut self, notices: &[Arc<Notice>]) {
        for notice in notices {
            let named: Vec<Arc<str>> = self.dispatcher.named(notice).into_iter().map(Arc::from).collect();
            #[cfg(test)]
            if self.broken == Broken::Extent
                && *notice.to != *super::office::DESK
                && notice.body.pointer("/incident/kind").is_some_and(|kind| kind == "reenergised")
            {
                continue;
            }
            self.log.sent(self.now, notice, &named);
            let Some(place) = self.channels.iter().position(|channel| *channel.id == *notice.channel) else {
                continue;
            };
            self.put(place, notice.clone(), 1);
            #[cfg(test)]
            if self.broken == Broken::Twice {
                self.put(place, notice.clone(), 1);
            }
        }
        let _ = self.broken;
    }

    fn put(&mut self, place: usize, notice: Arc<Notice>, attempt: u32) {
        let board = &self.board;
        let graver = notice.incident.as_ref().and_then(|id| board.get(id));
        let urgent = &*notice.event == "digest" || graver.is_some_and(|one| one.severity == Severity::P1);
        if !self.channels[place].put(notice, attempt, urgent) {
            self.log.lost += 1;
        }
        self.pump(place);
    }

    fn pump(&mut self, place: usize) {
        let next = self.channels[place].pump(self.now, &mut self.random);
        for (at, attempt) in next.ends {
            self.at(at, Event::Ended(place, attempt));
        }
        if let Some(at) =
            next.look_at.filter(|at| self.pumping[place].is_none_or(|known| known <= self.now || *at < known))
        {
            self.pumping[place] = Some(at);
            self.at(at, Event::Pump(place));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pump(place) => self.pump(place),
            Event::Again(place, attempt) => self.put(place, attempt.notice, attempt.attempt),
            Event::Ended(place, attempt) => self.ended(place, attempt),
            Event::Heard { person, incidents, word } => self.heard(&person, &incidents, &word),
            Event::Act(step) => self.act(step),
            Event::Closes(incident) => self.closes(&incident),
            Event::Seen => {
                if !self.desk_is_away() {
                    self.step(Input::Presence);
                }
                self.at(self.now + SEEN_EVERY, Event::Seen);
            }
            Event::Red(id) => {
                let view = self.board.get(&id).map(|incident| incident.view(self.now));
                let red = view.is_some_and(|view| view.untold);
                self.log.red.insert(id, red);
            }
        }
    }

    /// What became of an attempt: the rules hear it, and so does the person.
    fn ended(&mut self, place: usize, attempt: Try) {
        let notice = attempt.notice.clone();
        let named: Vec<Arc<str>> = self.dispatcher.named(&notice).into_iter().map(Arc::from).collect();
        self.log.tried(self.now, &notice, &named, attempt.attempt, attempt.accepted);
        if attempt.accepted {
            named.iter().for_each(|id| _ = self.told_at.entry(id.clone()).or_insert(self.now));
        }
        if attempt.accepted || attempt.attempt == 1 {
            for input in self.dispatcher.heard(&notice, attempt.accepted) {
                self.engine.step(self.now, input, &mut self.effects);
            }
            self.follow_all();
        }
        if attempt.accepted {
            let rings = self.channels[place].id == VOICE;
            self.reaches(&notice, rings, named);
        } else {
            let at = self.now + pause(attempt.attempt);
            self.at(at, Event::Again(place, Try { attempt: attempt.attempt + 1, ..attempt }));
        }
    }

    /// Where an incident is.
    pub(super) fn spot(&self, incident: &Incident) -> Option<Spot> {
        let own = incident.post_in(&self.register);
        let near = || {
            let posts = self.register.posts().iter();
            let here = |post: &&Arc<lampguard_model::Post>| match incident.feeder.is_empty() {
                true => post.zone == incident.zone,
                false => post.feeder == incident.feeder,
            };
            posts.clone().find(here)
        };
        own.or_else(near).map(|post| (post.lon, post.lat))
    }

    /// Rain where an incident is, mm/h.
    pub(super) fn rain_at(&self, zone: &str) -> f64 {
        self.rain.get(zone).or_else(|| self.rain.get("all")).copied().unwrap_or(0.0)
    }
}
