//! The rules: `step(now, input) → effects`. Pure: no clock, no socket, no file, no thread.
//!
//! State is one flat slot per post in one `Vec`, found by post id. What a reading does is read from top
//! to bottom in [`Engine::step`] → `reading` → `judge` → `raise` (in `raise.rs`).
//!
//! What people do stands in `moves.rs` (moves) and `people.rs` (hazards they tell, planned work).
//! Not here yet, and where it will attach: the other kinds of `policy.md` 2 (beside `judge`), timetables (`slot::is_powered`).

mod due;
mod ending;
mod late;
mod moves;
mod people;
mod raise;
mod recheck;
mod state;
mod weather;

pub use ending::Ended;
pub use moves::{Answer, MoveRequest};
pub use people::{JOB_MAX, Job, JobRequest, JobScope, TellRequest};
pub use recheck::{Asking, RECHECK_MAX, Recheck};
pub use state::{PostState, State};

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::record::StoredReading;
use lampguard_model::{
    Cause, Field, Flags, Marks, Millis, Post, PostKind, Register, Timestamp, UNREGISTERED, WeatherReport,
};

use crate::confirm::{Confirmed, Question, confirm};
use crate::incident::{COLLAPSED, Event, Incident, KINDS, Kind};
use crate::life::{Calm, Refused};
use crate::period::PERIOD_S_DEFAULT;
use crate::policy::Policy;
use crate::sample::{Bits, Inserted, Sample};
use crate::slot::{Fact, Slot, is_powered};
use crate::wet::{Because, Sky, Weather};

/// Unregistered devices that get a slot or an incident of their own; beyond, they fall together into one.
pub const UNREGISTERED_MAX: usize = 10_000;
/// Zones, weather and silence are looked at this often.
const ADVANCE_EVERY: Millis = Millis::seconds(1);
/// Time going back by more than this is a clock step, not disorder.
const STEP_BACK: Millis = Millis::minutes(1);
/// No step for longer means that we were not running.
const PAUSE: Millis = Millis::minutes(5);
/// A pen band from here on is a live post, thousandths of a volt (`policy.md` 3).
const BAND_LIVE: i64 = 12_000;
/// The value of the field `check` that means live, thousandths.
const CHECK_LIVE: i64 = 2_000;

/// What happens to the engine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A reading; `now` is its time of receipt.
    Reading(&'a StoredReading<'a>),
    /// A weather message for a zone or `all`; `now` is its time of receipt.
    Weather {
        /// Zone id or `all`.
        zone: &'a str,
        /// The message.
        report: &'a WeatherReport,
    },
    /// Somebody does something to an incident; `now` is receipt. Ends in one [`Effect::Answered`].
    Move(&'a MoveRequest),
    /// A hazard told by a person. Ends in one [`Effect::Answered`].
    Told(&'a TellRequest),
    /// Planned work begins, goes on, or ends. Ends in one [`Effect::JobAnswered`].
    Maintenance(&'a JobRequest),
    /// Time has passed.
    Tick,
}

/// What is to be done about it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An incident opened: store it, tell people.
    Open {
        /// The incident.
        incident: Box<Incident>,
        /// Its first event.
        event: Event,
    },
    /// An open incident changed (evidence, signal, note): store it.
    Changed {
        /// The incident as it is now.
        incident: Box<Incident>,
        /// What happened.
        event: Event,
    },
    /// People did something: store it; tell it when there is a word for it.
    Moved {
        /// The incident as it is now, perhaps over.
        incident: Box<Incident>,
        /// What happened.
        event: Event,
        /// Event word of the notices; none: nobody is told.
        told: Option<&'static str>,
    },
    /// What becomes of a move or a told hazard.
    Answered(Box<Result<Answer, Refused>>),
    /// Planned work began, changed or ended: store it.
    Job {
        /// As it is now.
        job: Box<Job>,
        /// What happened.
        event: Event,
        /// It ended by itself: tell the desk.
        ended: bool,
    },
    /// Tasks of one zone are new, due, overdue or done: store them, tell them when it is time.
    Recheck {
        /// The tasks as they are now.
        tasks: Vec<Recheck>,
        /// Whether somebody is told.
        asking: Asking,
        /// What happened.
        event: Event,
    },
    /// What becomes of a maintenance request.
    JobAnswered(Box<Result<(Job, bool), Refused>>),
    /// The weather of these zones became unknown: tell the desk, once.
    WeatherUnknown {
        /// Since when: the last message, or the start.
        since: Timestamp,
        /// The zones.
        zones: Vec<Arc<str>>,
    },
    /// The weather of a zone changed: store it.
    Weather {
        /// Zone or `all`.
        zone: Arc<str>,
        /// What is known.
        weather: Box<Weather>,
    },
    /// Something about a post that must outlive a restart: store it.
    Remember(Memory),
    /// An old critical sample, contradicted by newer ones: for review, nobody is told.
    Review {
        /// The post.
        post: Arc<str>,
        /// When it was measured.
        measured_at: Timestamp,
    },
}

/// What a restart may not forget of a post and the journal's last 40 min cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The post.
    pub post: Arc<str>,
    /// Learned period while unlit and lit, seconds; 0 = not known.
    pub period_s: [u16; 2],
    /// Last moment with water.
    pub immersed_at: Option<Timestamp>,
}

/// Whose slot it is.
#[derive(Clone, Debug)]
enum Owner {
    Registered(Arc<Post>),
    Stranger(Arc<str>),
}

impl Owner {
    fn name(&self) -> &Arc<str> {
        match self {
            Self::Registered(post) => &post.post_id,
            Self::Stranger(name) => name,
        }
    }
}

/// An open incident with what is needed to follow its signal.
#[derive(Debug)]
struct Open {
    incident: Incident,
    /// Since when each kind's samples have been calm, by [`Kind::place`].
    calm_since: [Option<Timestamp>; KINDS.len()],
    /// Slot whose samples move its signal; none for untracked and collapsed ones.
    slot: Option<usize>,
    /// Since when its danger has not shown: its signal became normal then, and no sample was above since.
    calm_from: Option<Timestamp>,
    /// When its signal last changed.
    signal_at: Timestamp,
    /// Powered calm readings since the repair.
    shown: Calm,
    /// It has ended (`ending.rs`); its place waits for the next one.
    over: bool,
}

impl Open {
    fn new(incident: Incident, slot: Option<usize>) -> Self {
        let signal_at = incident.opened_at;
        Self {
            incident,
            calm_since: [None; KINDS.len()],
            slot,
            calm_from: None,
            signal_at,
            shown: Calm::default(),
            over: false,
        }
    }
}

#[derive(Debug)]
struct Zone {
    name: Arc<str>,
    /// Why posts are wet: ordinary ones, low-lying ones.
    wet: [Option<Because>; 2],
}

/// The rules and everything they know.
pub struct Engine {
    policy: Policy,
    policy_hash: Arc<str>,
    register: Arc<Register>,
    slots: Vec<Slot>,
    owners: Vec<Owner>,
    places: HashMap<Arc<str>, u32, RandomState>,
    zones: Vec<Zone>,
    sky: Sky,
    open: Vec<Open>,
    /// Places in `open` of incidents that are over.
    free: Vec<usize>,
    strangers: usize,
    strangers_open: usize,
    /// Open incidents of devices without a slot.
    untracked: HashMap<Arc<str>, usize, RandomState>,
    collapsed: Option<usize>,
    held: Vec<late::Held>,
    /// What is left of incidents that are over, and planned work.
    people: people::People,
    /// What comes in comes a second time, out of the journal.
    replaying: bool,
    /// Since when time has passed without a pause: silence before it is ours, not theirs.
    running_since: Timestamp,
    advanced_at: Timestamp,
}

/// What decides about one sample, put together once per reading.
#[derive(Clone, Copy)]
struct Moment {
    slot: usize,
    /// Receipt.
    now: Timestamp,
    measured_at: Timestamp,
    late: bool,
    clock_back: bool,
}

impl Engine {
    /// An engine that knows the register and the weather, and no reading yet.
    pub fn new(policy: Policy, register: Arc<Register>, sky: Sky) -> Self {
        let policy_hash = Arc::from(policy.hash());
        let mut engine = Self {
            policy,
            policy_hash,
            slots: Vec::with_capacity(register.posts().len()),
            owners: Vec::with_capacity(register.posts().len()),
            places: HashMap::default(),
            zones: Vec::new(),
            sky,
            open: Vec::new(),
            free: Vec::new(),
            strangers: 0,
            strangers_open: 0,
            untracked: HashMap::default(),
            collapsed: None,
            held: Vec::new(),
            people: people::People::default(),
            replaying: false,
            running_since: Timestamp(i64::MIN),
            advanced_at: Timestamp(i64::MIN),
            register,
        };
        for zone in engine.register.zones() {
            engine.zone(&zone);
        }
        engine
    }

    /// Takes back an incident that was open before the restart. Later evidence attaches to it.
    pub fn seed(&mut self, incident: Incident) {
        let (post, zone) = (incident.post_id.clone(), incident.zone.clone());
        let place = self.open.len();
        let collapsed = *post == *COLLAPSED;
        let of_a_post = !collapsed && !post.is_empty();
        let slot = of_a_post.then(|| self.slot(&post, &zone)).flatten();
        let has_post = incident.place().is_none() && !incident.life.drill;
        let slot = slot.filter(|_| has_post);
        self.open.push(Open::new(incident, slot));
        match slot {
            Some(slot) => self.give_slot(slot, place),
            None if collapsed => self.collapsed = Some(place),
            None if has_post => _ = self.untracked.insert(post, place),
            None => {}
        }
        if *zone == *UNREGISTERED && has_post {
            self.strangers_open += 1;
        }
    }

    /// Takes back what was remembered of a post.
    pub fn remember(&mut self, memory: &Memory) {
        let zone = self.register.by_post(&memory.post).map(|post| post.zone.clone());
        let zone = zone.unwrap_or_else(|| Arc::from(UNREGISTERED));
        if let Some(slot) = self.slot(&memory.post, &zone) {
            self.slots[slot].learned_s = memory.period_s;
            if let Some(at) = memory.immersed_at {
                self.slots[slot].immerse(at);
            }
        }
    }

    /// One thing happened at `now`: judges it, appends what is to be done to `effects`.
    pub fn step(&mut self, now: Timestamp, input: Input<'_>, effects: &mut Vec<Effect>) {
        let passed = now.since(self.advanced_at);
        if passed < Millis(-STEP_BACK.0) && self.advanced_at > Timestamp(i64::MIN) {
            self.clock_went_back(now);
        }
        if matches!(input, Input::Tick) || passed >= ADVANCE_EVERY || passed < Millis(-STEP_BACK.0) {
            self.advance(now, effects);
        }
        match input {
            Input::Reading(reading) => self.reading(now, reading, effects),
            Input::Weather { zone, report } => self.weather(now, zone, report, effects),
            Input::Move(request) => self.act(now, request, effects),
            Input::Told(request) => self.tell(now, request, effects),
            Input::Maintenance(request) => self.maintain(now, request, effects),
            Input::Tick => {}
        }
    }

    /// Everything that happens because time passes.
    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now.since(self.advanced_at) > PAUSE {
            self.running_since = now;
        }
        self.advanced_at = now;
        self.sky.advance(now);
        self.refresh_wet(now, effects);
        self.tell_unknown_weather(now, effects);
        self.decide_held(now, effects);
        self.notice_silence(now, effects);
        self.remind(now, effects);
        self.end_jobs(now, effects);
        self.remind_rechecks(now, effects);
    }

    fn reading(&mut self, now: Timestamp, reading: &StoredReading<'_>, effects: &mut Vec<Effect>) {
        if reading.marks.has(Marks::RETAINED) {
            return;
        }
        let tracked = !reading.marks.has(Marks::UNTRACKED);
        let slot = if tracked { self.slot(reading.post, reading.zone) } else { None };
        let Some(slot) = slot else {
            self.judge_untracked(now, reading, effects);
            return;
        };
        if self.slots[slot].is(Fact::Cabinet) {
            return;
        }
        let Some(moment) = self.place_in_time(slot, now, reading, effects) else {
            return;
        };
        let powered = is_powered(reading);
        let key = admission_key(reading);
        if reading.cause == Cause::Manual {
            self.finish_recheck(slot, now, effects);
        }
        self.note_facts(&moment, reading, powered, key, effects);
        let came = KINDS.map(|kind| {
            let sample = sample_of(reading, kind, moment.measured_at, powered, key)?;
            match self.slots[slot].rings[kind.place()].insert(sample) {
                Inserted::At(place) => Some(place),
                Inserted::Duplicate | Inserted::TooOld => None,
            }
        });
        for kind in KINDS {
            if let Some(place) = came[kind.place()] {
                self.judge(&moment, kind, place, reading, effects);
            }
        }
        if came.iter().any(Option::is_some) || reading.marks.has(Marks::SATURATED) {
            self.follow_signal(slot, now, reading.marks.has(Marks::SATURATED), effects);
            self.follow_repair(slot, now, effects);
        }
    }

    /// Supply, water, sign of life, period.
    fn note_facts(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        powered: bool,
        key: u64,
        effects: &mut Vec<Effect>,
    ) {
        let (s, at) = (&mut self.slots[moment.slot], moment.measured_at);
        let newest = at >= s.newest_at;
        let mut changed = false;
        if reading.cause == Cause::Periodic {
            changed = s.learn(at, powered, (key ^ key >> 32) as u32);
        }
        let data = !reading.fields.is_empty() || reading.marks.has(Marks::SATURATED);
        if data && reading.cause != Cause::Manual {
            s.hear(moment.now);
        }
        let was_wet = s.own_wet(moment.now).is_some();
        match reading.fields.flag(Field::Immersed) {
            Some(true) => {
                changed |= s.immersed_at().is_none_or(|last| at.since(last) > Millis::minutes(30));
                s.immerse(at);
                s.set(Fact::Immersed, newest || s.is(Fact::Immersed));
            }
            Some(false) if newest => s.set(Fact::Immersed, false),
            _ => {}
        }
        if newest {
            s.newest_at = at;
            s.set(Fact::Simulated, reading.flags.has(Flags::SIMULATED));
            if reading.cause != Cause::Manual {
                s.set(Fact::Powered, powered);
            }
        }
        let wetter = !was_wet && s.own_wet(moment.now).is_some();
        if changed {
            effects.push(Effect::Remember(Memory {
                post: self.owners[moment.slot].name().clone(),
                period_s: s.learned_s,
                immersed_at: s.immersed_at(),
            }));
        }
        if wetter {
            self.judge_again(moment.slot, moment.now, effects);
        }
    }

    /// One new sample of one quantity: confirmed or not.
    fn judge(
        &mut self,
        moment: &Moment,
        kind: Kind,
        place: usize,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (limit, _) = self.limit(moment.slot, kind, moment.now);
        let Some(confirmed) = self.ask(moment.slot, kind, limit, Some(place)) else {
            return;
        };
        if moment.late && confirmed.rule != crate::confirm::Rule::Manual {
            self.hold(moment.slot, kind, moment.now);
            return;
        }
        let mut notes = raise::notes_of_reading(reading);
        if moment.clock_back || reading.marks.has(Marks::CLOCK) {
            notes.push(raise::NOTE_CLOCK.to_owned());
        }
        self.raise(moment.slot, kind, &confirmed, moment.now, notes, effects);
    }

    fn ask(&self, slot: usize, kind: Kind, limit: i64, came: Option<usize>) -> Option<Confirmed> {
        let s = &self.slots[slot];
        confirm(&Question { samples: s.ring(kind).samples(), limit, period: s.period(), came })
    }

    /// The limit in force at a post, thousandths, and why it is the wet one.
    fn limit(&self, slot: usize, kind: Kind, now: Timestamp) -> (i64, Option<Because>) {
        let because = self.wet_because(slot, now);
        (raise::critical(&self.policy, kind, because.is_some()), because)
    }

    fn wet_because(&self, slot: usize, now: Timestamp) -> Option<Because> {
        let s = &self.slots[slot];
        let zone = self.zones[usize::from(s.zone)].wet[usize::from(s.is(Fact::LowLying))];
        let own = s.own_wet(now);
        own.filter(|b| *b == Because::Immersed).or(zone).or(own)
    }

    /// The place of a zone, made when it is new.
    fn zone(&mut self, name: &str) -> u16 {
        let known = self.zones.iter().position(|zone| *zone.name == *name);
        let place = known.unwrap_or_else(|| {
            let now = self.advanced_at;
            let wet = [false, true].map(|low| self.sky.because(name, now, low));
            self.zones.push(Zone { name: Arc::from(name), wet });
            self.zones.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// The slot of a post, made when it is new; `None` for an unregistered device beyond the bound.
    fn slot(&mut self, post: &str, zone: &str) -> Option<usize> {
        if let Some(place) = self.places.get(post) {
            return Some(*place as usize);
        }
        let known = self.register.by_post(post).cloned();
        if known.is_none() && self.strangers >= UNREGISTERED_MAX {
            return None;
        }
        let zone = self.zone(known.as_ref().map_or(zone, |post| &post.zone));
        let default = u32::from(PERIOD_S_DEFAULT);
        let period = known.as_ref().and_then(|post| post.period_s).unwrap_or(default);
        let mut slot = Slot::new(zone, period);
        let owner = match known {
            Some(post) => {
                slot.set(Fact::LowLying, post.low_lying);
                slot.set(Fact::Cabinet, post.kind == PostKind::Feeder);
                slot.set(Fact::Unmonitored, !post.monitored);
                Owner::Registered(post)
            }
            None => {
                self.strangers += 1;
                slot.set(Fact::Unregistered, true);
                Owner::Stranger(Arc::from(post))
            }
        };
        let place = self.slots.len();
        self.places.insert(owner.name().clone(), place as u32);
        self.slots.push(slot);
        self.owners.push(owner);
        Some(place)
    }

    /// Every open incident.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.open.iter().filter(|open| !open.over).map(|open| &open.incident)
    }

    /// The weather of every zone.
    pub fn sky(&self) -> &Sky {
        &self.sky
    }

    /// Number of posts and devices with a slot.
    pub fn posts(&self) -> usize {
        self.slots.len()
    }

    /// How many of them the register does not know.
    pub fn strangers(&self) -> usize {
        self.strangers
    }
}

/// What makes a delivery count once. Without time, boot and seq the identity is the same for every reading
/// of the same values, so receipt has to tell them apart.
fn admission_key(reading: &StoredReading<'_>) -> u64 {
    if reading.marks.has(Marks::NO_IDENTITY) {
        reading.identity ^ (reading.received_at.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    } else {
        reading.identity
    }
}

/// The sample of one quantity in a reading, if there is a valid one.
fn sample_of(
    reading: &StoredReading<'_>,
    kind: Kind,
    measured_at: Timestamp,
    powered: bool,
    key: u64,
) -> Option<Sample> {
    let (field, flag) = match kind {
        Kind::ShellCritical => (Field::ShellV, Flags::SHELL_ALARM),
        Kind::LeakCritical => (Field::LeakageMa, Flags::LEAK_ALARM),
        Kind::Reported => return None,
    };
    let manual = reading.cause == Cause::Manual;
    let band = reading.fields.get(Field::PenBandV).filter(|v| *v >= BAND_LIVE);
    let by_hand = reading.fields.get(Field::Check) == Some(CHECK_LIVE) || band.is_some();
    let live = manual && kind == Kind::ShellCritical && by_hand;
    let value = reading.fields.get(field).max(band.filter(|_| live));
    let value = value.or(live.then_some(0))?;
    let own_time = reading.ts.is_some() && reading.measured_at() == measured_at;
    let bits = Bits::default()
        .with(Bits::POWERED, powered)
        .with(Bits::FLAGGED, reading.flags.has(flag))
        .with(Bits::MANUAL, manual)
        .with(Bits::LIVE, live)
        .with(Bits::RECEIPT, !own_time || reading.marks.has(Marks::CLOCK));
    Some(Sample::new(measured_at, value, key, bits))
}

#[cfg(test)]
#[path = "../engine_tests/mod.rs"]
pub(crate) mod tests;
