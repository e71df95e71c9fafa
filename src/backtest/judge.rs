//! The engine on a simulated clock.
//!
//! Live, the rules are ticked each second. Here the clock stands on the whole seconds of the readings' own
//! time: it ticks at the second of each thing that arrives, before it, and in between at the seconds at which
//! the engine says that time alone may change something. A tick each second gives the same, byte by byte;
//! a test shows it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use lampguard_alerting::life::is_over;
use lampguard_alerting::lighting::Lighting;
use lampguard_alerting::wet::Sky;
use lampguard_alerting::{Effect, Ended, Engine, Explanation, InForce, Input, MoveRequest, Policies};
use lampguard_journal::Records;
use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Flags, Millis, Register, Timestamp, WeatherReport};

use super::moves::MoveLine;
use super::told::{Notices, Told};

/// Without moves an incident ends when its signal has been normal for this long (`design.md` 6).
const CALM: Millis = Millis::hours(24);
/// Time that passes after the last reading: a late critical waits 10 s for its backlog.
const SETTLE: Millis = Millis::seconds(15);
/// Receipt that goes back by more than this is another clock, not disorder; the engine's own border.
const STEP_BACK: Millis = Millis::minutes(1);

/// Moves that could not be made and are named one by one.
const REFUSED_NAMED: u64 = 20;

/// How the clock moves between readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// From one moment that matters to the next.
    AsNeeded,
    /// Each second, as live. Slow; proves the other one.
    #[cfg(test)]
    EachSecond,
}

/// What was judged so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Readings.
    pub(crate) readings: u64,
    /// Weather messages.
    pub(crate) weather: u64,
    /// Status messages; no rule looks at them.
    pub(crate) statuses: u64,
    /// Payloads in quarantine, of a journal.
    pub(crate) quarantined: u64,
    /// Records that cannot be read: of a newer version.
    pub(crate) unreadable: u64,
    /// Receipt of the first and the last of them.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// Receipts that went back by more than a minute.
    pub(crate) steps_back: u64,
    /// Times the desk would have been told that the weather is unknown.
    pub(crate) weather_unknown: u64,
    /// Old critical samples, contradicted by newer ones: for review.
    pub(crate) reviews: u64,
    /// Moves of people that were made again.
    pub(crate) moves: u64,
    /// Moves that could not be made: no such incident here, or refused by its state. Named on standard error.
    pub(crate) moves_refused: u64,
    /// Some reading was simulated; no rule looks at it.
    pub(crate) simulated: bool,
    /// Ticks of the clock.
    pub(crate) ticks: u64,
}

/// Rules, clock, and incidents that have ended and were not fetched yet.
pub(crate) struct Judge {
    engine: Engine,
    policy: InForce,
    pace: Pace,
    /// The last whole second at which the clock ticked.
    ticked: Option<Timestamp>,
    effects: Vec<Effect>,
    over: Vec<Ended>,
    /// Incidents that people ended: what is said of them later ends them no second time.
    closed: HashSet<Arc<str>>,
    /// What became of the last move.
    answer: Option<Result<(), String>>,
    /// What people were told of incidents that are open, by id.
    notices: HashMap<Arc<str>, Notices>,
    /// What was judged so far.
    pub(crate) judged: Judged,
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(1000) * 1000)
}

impl Judge {
    /// Rules that know the register and nothing else.
    pub(crate) fn new(policies: Policies, register: Arc<Register>, pace: Pace) -> Self {
        let policy = InForce::new(policies);
        // A back-test has no configuration: lighting is the sun's (design.md 6).
        let zone = TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC);
        let lighting = Arc::new(Lighting::by_sun(zone, &register));
        let mut engine = Engine::new(policy.version().policy.clone(), register, Sky::default());
        engine.set_lighting(lighting);
        // Nobody is there to answer: what would be told after an hour says nothing of the rules.
        engine.leave_ladders();
        Self {
            engine,
            policy,
            pace,
            ticked: None,
            effects: Vec::new(),
            over: Vec::new(),
            closed: HashSet::new(),
            answer: None,
            notices: HashMap::new(),
            judged: Judged::default(),
        }
    }

    /// Judges records in their order. `look` sees every reading, before it is judged.
    pub(crate) fn judge(&mut self, records: Records<'_>, mut look: impl FnMut(&StoredReading<'_>)) {
        for (_, kind, bytes) in records {
            self.one(record::decode(kind, bytes), &mut look);
        }
    }

    /// Judges what came until then: readings that are wanted, and everything else.
    pub(crate) fn replay(
        &mut self,
        records: Records<'_>,
        until: Timestamp,
        wanted: impl Fn(&StoredReading<'_>) -> bool,
    ) {
        for (_, kind, bytes) in records {
            let record = record::decode(kind, bytes);
            let goes_in = match &record {
                Ok(Record::Reading(reading)) => reading.received_at <= until && wanted(reading),
                Ok(Record::Weather(received_at, ..)) => *received_at <= until,
                _ => false,
            };
            if goes_in {
                self.one(record, &mut |_| {});
            }
        }
    }

    /// Makes a move of a person again, on the incident that it was made on.
    pub(crate) fn moved(&mut self, at: Timestamp, moved: &MoveLine) {
        self.arrive(at);
        let told_at = |id: &Arc<str>| self.notices.get(id).and_then(|notices| notices.first_at);
        let request = moved.find(self.engine.open_incidents()).map(|id| {
            let told_at = told_at(&id);
            MoveRequest { id, stored: None, told_at, m: moved.m.clone() }
        });
        let outcome = match request {
            None => Err("no such incident is open here".to_owned()),
            Some(request) => {
                self.step(at, Input::Move(&request));
                self.answer.take().unwrap_or(Ok(()))
            }
        };
        self.judged.moves += u64::from(outcome.is_ok());
        if let Err(why) = outcome {
            self.judged.moves_refused += 1;
            if self.judged.moves_refused <= REFUSED_NAMED {
                eprintln!("lampguard: move at {}: {}: {why}", at.to_rfc3339(), moved.name());
            }
        }
    }

    /// Why a post did or did not raise; lets time pass up to that moment.
    pub(crate) fn explain(&mut self, post: &str, at: Timestamp) -> Explanation {
        if let Some(ticked) = self.ticked {
            self.pass(ticked, second(at));
        }
        self.engine.explain(post, at)
    }

    fn one<E>(&mut self, record: Result<Record<'_>, E>, look: &mut impl FnMut(&StoredReading<'_>)) {
        match record {
            Ok(Record::Reading(reading)) => {
                self.arrive(reading.received_at);
                look(&reading);
                self.judged.readings += 1;
                self.judged.simulated |= reading.flags.has(Flags::SIMULATED);
                self.step(reading.received_at, Input::Reading(&reading));
            }
            Ok(Record::Weather(received_at, zone, json)) => {
                self.arrive(received_at);
                match WeatherReport::decode(json) {
                    Ok(report) => {
                        self.judged.weather += 1;
                        self.step(received_at, Input::Weather { zone, report: &report });
                    }
                    Err(_) => self.judged.unreadable += 1,
                }
            }
            Ok(Record::Status(status)) => {
                self.arrive(status.received_at);
                self.judged.statuses += 1;
            }
            Ok(Record::Quarantined(_)) => self.judged.quarantined += 1,
            // Ours: nothing that a post said.
            Ok(Record::Proof(_)) => {}
            Err(_) => self.judged.unreadable += 1,
        }
    }

    /// Lets time pass up to the second of something that arrives now.
    fn arrive(&mut self, at: Timestamp) {
        let (first, last) = self.judged.span.unwrap_or((at, at));
        self.judged.span = Some((first, last.max(at)));
        let to = second(at);
        match self.ticked {
            None => self.tick(to),
            Some(ticked) if at < ticked - STEP_BACK => {
                self.judged.steps_back += 1;
                self.tick(to);
            }
            Some(ticked) if to > ticked => self.pass(ticked, to),
            Some(_) => {}
        }
    }

    fn pass(&mut self, mut from: Timestamp, to: Timestamp) {
        while from < to {
            let next = from + Millis::seconds(1);
            from = if next < to { self.next_tick().clamp(next, to) } else { to };
            self.tick(from);
        }
    }

    /// The first whole second at which a tick may do something.
    fn next_tick(&self) -> Timestamp {
        match self.pace {
            Pace::AsNeeded => {
                let due = self.engine.next_due();
                let due = self.policy.next().map_or(due, |from| from.min(due));
                let due = self.engine.next_end(CALM).map_or(due, |end| end.min(due));
                second(due + Millis(999))
            }
            #[cfg(test)]
            Pace::EachSecond => Timestamp(i64::MIN),
        }
    }

    fn tick(&mut self, at: Timestamp) {
        self.ticked = Some(at);
        self.judged.ticks += 1;
        if let Some(version) = self.policy.change(at) {
            let input = Input::Policy(&version.policy);
            self.engine.step(at, input, &mut self.effects);
        }
        self.step(at, Input::Tick);
        self.engine.end_calm(at, CALM, &mut self.over);
    }

    fn step(&mut self, now: Timestamp, input: Input<'_>) {
        self.engine.step(now, input, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::WeatherUnknown { .. } => self.judged.weather_unknown += 1,
                Effect::Review { .. } => self.judged.reviews += 1,
                Effect::Open { incident, told: true, .. }
                | Effect::Escalated { incident, told: true, .. } => {
                    self.notices.entry(incident.id.clone()).or_default().tell(&incident, now);
                }
                Effect::Moved { incident, told, .. } => {
                    if told.is_some() {
                        self.notices.entry(incident.id.clone()).or_default().tell(&incident, now);
                    }
                    if is_over(incident.life.state) && self.closed.insert(incident.id.clone()) {
                        self.over.push(Ended { incident: *incident, at: now });
                    }
                }
                Effect::Answered(answer) => {
                    self.answer = Some(answer.map(|_| ()).map_err(|refused| refused.to_string()));
                }
                // The engine holds its incidents; they are fetched when they end.
                _ => {}
            }
        }
    }

    /// Incidents that have ended since the last call, in the order of their ends.
    pub(crate) fn ended(&mut self) -> impl Iterator<Item = Told> + '_ {
        let notices = &mut self.notices;
        self.over.drain(..).map(|Ended { incident, at }| {
            let notices = notices.remove(&incident.id).unwrap_or_default();
            Told { incident, ended_at: Some(at), seen_at: at, notices }
        })
    }

    /// The last reading was judged: those that are still open, in the order of their openings.
    pub(crate) fn finish(&mut self) -> Vec<Told> {
        let Some((_, last)) = self.judged.span else { return Vec::new() };
        if let Some(ticked) = self.ticked {
            self.pass(ticked, second(last + SETTLE));
        }
        let mut told: Vec<Told> = self.ended().collect();
        let open = self.engine.open_incidents().cloned();
        let mut open: Vec<Told> = open
            .map(|incident| {
                let notices = self.notices.remove(&incident.id).unwrap_or_default();
                Told { incident, ended_at: None, seen_at: last, notices }
            })
            .collect();
        // Stable: those of one moment stay in the order in which the engine opened them, and no name decides.
        open.sort_by_key(|told| told.incident.opened_at);
        told.append(&mut open);
        told
    }

    /// Posts of the register that were heard, and devices that it does not know.
    pub(crate) fn heard(&self) -> (usize, usize) {
        let strangers = self.engine.strangers();
        (self.engine.posts() - strangers, strangers)
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
