//! The rules: `step(now, input) → effects`. Pure: no clock, no socket, no file, no thread.
//!
//! State is one flat slot per post in one `Vec`, found by post id. What a reading does is read from top
//! to bottom in [`Engine::step`] → `reading` → `judge` → `raise` (in `raise.rs`).
//!
//! | file | what it holds |
//! |---|---|
//! | `electric.rs` | what may kill at one post: limits, water, saturation, flags |
//! | `watch.rs` | danger that nothing confirmed, and then silence |
//! | `feeder.rs` | a broken neutral; a step of the residual current in a cabinet |
//! | `column.rs`, `lamp.rs` | leaning, hit, open; dark, lit by day, supply out of bounds |
//! | `blind.rs` | why a zone is blind |
//! | `comms.rs` | silence of posts, feeders and zones; sensors that tell nothing |
//! | `trend.rs` | medians while dry, heights of storms, units |
//! | `isolation.rs`, `exempt.rs` | voltage where there must be none; how lamps there count |
//! | `system.rs` | what we stand on |
//! | `moves.rs`, `people.rs`, `recheck.rs` | what people do and tell; planned work; looks in the next rain |
//! | `named.rs` | whom the names in a move mean |
//! | `ladder.rs`, `duty.rs`, `flood.rs` | who is told next when nobody comes; who goes; more than people can take in |
//! | `raise.rs`, `signal.rs` | a finding becomes an incident; whether its danger still shows |
//! | `facts.rs` | what a reading says of its post whatever its values: supply, lamp, water, sign of life |
//! | `late.rs`, `weather.rs` | backlogs and wrong clocks; wet and dry |
//! | `sweep.rs`, `ending.rs` | what happens because time passes; the end in a back-test |
//! | `effect.rs` | what happens to the engine, and what is to be done about it |
//! | `place.rs`, `state.rs` | posts, feeders, zones; how a post looks |
//! | `supply.rs`, `explain.rs` | supply by the timetable; why a post did or did not raise |
//! | `law.rs`, `enrol.rs` | another policy, other timetables; another register |

mod blind;
mod column;
mod comms;
mod duty;
mod effect;
mod electric;
mod ending;
mod enrol;
mod exempt;
mod explain;
mod facts;
mod feeder;
mod flood;
mod isolation;
mod ladder;
mod lamp;
mod late;
mod law;
mod moves;
mod named;
mod people;
mod place;
mod raise;
mod recheck;
mod signal;
mod state;
mod strangers;
mod supply;
mod sweep;
mod system;
mod trend;
mod watch;
mod weather;

pub use effect::{Effect, Habits, Heard, Input, Memory};
pub use ending::Ended;
pub use exempt::Exemptions;
pub use explain::{Checked, Explanation, Quantified, Raised, Seen, Supply, Wetness};
pub(crate) use moves::REPEATED;
pub use moves::{Answer, MoveRequest};
pub use people::{Job, JobRequest, JobScope, TellRequest};
pub use recheck::{Asking, Recheck};
pub use state::{PostState, State};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::record::StoredReading;
use lampguard_model::{Cause, Field, Flags, Marks, Millis, Quantity, Register, Timestamp, Volts};

use crate::incident::{Family, Incident, Kind, Signal};
use crate::kind::{SAMPLED, Sampled};
use crate::life::Calm;
use crate::lighting::LampClock;
use crate::policy::Policy;
use crate::sample::{Bits, Inserted, Sample};
use crate::slot::{Fact, Slot};
use crate::wet::{Because, Sky};
use place::{Feeder, Owner, Subject, Zone};

/// Unregistered devices that get a slot or an incident of their own; beyond, they fall together into one.
pub const UNREGISTERED_MAX: usize = 10_000;
/// Zones, weather and silence are looked at this often.
const ADVANCE_EVERY: Millis = Millis::seconds(1);
/// Time going back by more than this is a clock step, not disorder.
const STEP_BACK: Millis = Millis::minutes(1);
/// No step for longer means that we were not running.
const PAUSE: Millis = Millis::minutes(5);
/// The value of the field `check` that means live, thousandths.
const CHECK_LIVE: i64 = 2_000;

/// Changes of a signal that are told apart when they have the same moment.
const SIGNALS_KEPT: usize = 16;

/// An open incident with what is needed to follow its signal.
#[derive(Debug)]
struct Open {
    incident: Incident,
    subject: Subject,
    /// Since when the samples have been calm by each limit that is followed: see `signal.rs`.
    calm_since: [Option<Timestamp>; signal::FOLLOWED],
    /// Since when the state that raised it is gone, for what is no limit.
    clear_since: Option<Timestamp>,
    /// Since when its danger has not shown: its signal became normal then, and no sample was above since.
    calm_from: Option<Timestamp>,
    /// When its signal last changed.
    signal_at: Timestamp,
    /// The newest changes of its signal and because of when, at most [`SIGNALS_KEPT`]: samples of one millisecond may
    /// change it to the same again, and each change is an event of its own.
    signals: VecDeque<(Signal, Timestamp)>,
    /// Powered calm readings since the repair.
    shown: Calm,
    /// It has ended (`ending.rs`); its place waits for the next one.
    over: bool,
    /// When its ladder is looked at next (`ladder.rs`).
    look_at: Option<Timestamp>,
    /// It is counted among the dangers of its feeder.
    on_feeder: bool,
}

impl Open {
    fn new(incident: Incident, subject: Subject) -> Self {
        let signal_at = incident.opened_at;
        let calm_since = [None; signal::FOLLOWED];
        Self {
            incident,
            subject,
            calm_since,
            clear_since: None,
            calm_from: None,
            signal_at,
            signals: VecDeque::new(),
            shown: Calm::default(),
            over: false,
            look_at: None,
            on_feeder: false,
        }
    }
}

/// Whether a post should burn at a moment; `None` when that is not known.
#[cfg(test)]
type Timetable = Box<dyn Fn(&lampguard_model::Post, Timestamp) -> Option<bool> + Send>;

/// Who is on duty for a zone at a moment, for tests that need no plan of shifts.
#[cfg(test)]
type Shifts = Box<dyn Fn(&str, Timestamp) -> crate::rota::OnDuty + Send>;

/// A map that is small: what only few posts have at a time.
type Aside<K, V> = HashMap<K, V, RandomState>;

/// The rules and everything they know.
pub struct Engine {
    policy: Policy,
    policy_hash: Arc<str>,
    register: Arc<Register>,
    slots: Vec<Slot>,
    owners: Vec<Owner>,
    places: HashMap<Arc<str>, u32, RandomState>,
    zones: Vec<Zone>,
    feeders: Vec<Feeder>,
    feeder_places: HashMap<Arc<str>, usize, RandomState>,
    sky: Sky,
    #[cfg(test)]
    timetable: Option<Timetable>,
    /// Timetables of lighting, if somebody knows some.
    lamps: Option<LampClock>,
    open: Vec<Open>,
    /// Places in `open` of incidents that are over.
    free: Vec<usize>,
    /// Places of those that are not, by id.
    ids: Aside<Arc<str>, usize>,
    /// Who is told when.
    calling: ladder::Calling,
    /// Incidents that take evidence; the electric ones of posts stand in their slots.
    taking: Aside<(Subject, Family), usize>,
    /// How many of them are broken neutrals, dark feeders, blind zones: nothing need be looked up without one.
    neutrals: usize,
    feeders_dark: usize,
    zones_blind: usize,
    strangers: usize,
    strangers_open: usize,
    /// Late criticals, by slot and place of the quantity.
    held: BTreeMap<(usize, usize), late::Held>,
    /// Seconds since 2020 at which each slot is looked at again, and the first of them.
    wakes: Vec<u32>,
    next_wake: u32,
    watches: Aside<usize, watch::Watch>,
    /// Keys and numbers of saturated samples in a row.
    saturated: Aside<usize, (u64, u32)>,
    /// Since when a device's flag is up through normal values.
    flags_up: Aside<(usize, Sampled), Timestamp>,
    /// Since when leakage is at its warning limit.
    above: Aside<usize, Timestamp>,
    doors: Aside<usize, Timestamp>,
    /// Since when a state lasts.
    states: Aside<(usize, Kind), Timestamp>,
    /// First data of posts that have not told a leakage.
    heard_first: Aside<usize, Timestamp>,
    cabinets: Aside<usize, feeder::Cabinet>,
    roads_told: Aside<Arc<str>, Timestamp>,
    isolations: Vec<isolation::Isolation>,
    parts: Vec<system::Part>,
    units_at: Timestamp,
    suspects: Vec<usize>,
    /// What is left of incidents that are over, and planned work.
    people: people::People,
    /// What is dark or blind and was raised while dry is looked at again then: does it rain?
    worse_at: Timestamp,
    /// What comes in comes a second time, out of the journal.
    replaying: bool,
    /// Posts are remembered from before the restart; when they spoke was not held against the clock yet.
    remembered: bool,
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
    /// A replay brings what its post is remembered to have said before it fell silent.
    again: bool,
}

impl Engine {
    /// What is kept of each post, its place in the sweep included.
    pub const BYTES_PER_POST: usize = size_of::<Slot>() + size_of::<u32>();

    /// An engine that knows the register and the weather, and no reading yet.
    pub fn new(policy: Policy, register: Arc<Register>, mut sky: Sky) -> Self {
        sky.set_rules(policy.wet);
        let policy_hash = Arc::from(policy.hash());
        let posts = register.posts().len();
        let calling = ladder::Calling::new(&policy);
        let mut engine = Self {
            policy,
            policy_hash,
            slots: Vec::with_capacity(posts),
            owners: Vec::with_capacity(posts),
            places: HashMap::default(),
            zones: Vec::new(),
            feeders: Vec::new(),
            feeder_places: HashMap::default(),
            sky,
            #[cfg(test)]
            timetable: None,
            lamps: None,
            open: Vec::new(),
            free: Vec::new(),
            ids: Aside::default(),
            calling,
            taking: Aside::default(),
            neutrals: 0,
            feeders_dark: 0,
            zones_blind: 0,
            strangers: 0,
            strangers_open: 0,
            held: BTreeMap::new(),
            wakes: Vec::with_capacity(posts),
            next_wake: u32::MAX,
            watches: Aside::default(),
            saturated: Aside::default(),
            flags_up: Aside::default(),
            above: Aside::default(),
            doors: Aside::default(),
            states: Aside::default(),
            heard_first: Aside::default(),
            cabinets: Aside::default(),
            roads_told: Aside::default(),
            isolations: Vec::new(),
            parts: Vec::new(),
            units_at: Timestamp(i64::MIN),
            suspects: Vec::new(),
            people: people::People::default(),
            replaying: false,
            remembered: false,
            worse_at: Timestamp(i64::MIN),
            running_since: Timestamp(i64::MIN),
            advanced_at: Timestamp(i64::MIN),
            register,
        };
        for zone in engine.register.clone().zones() {
            engine.zone(zone);
        }
        engine
    }

    /// When posts should burn, for tests that need no timetable of lighting.
    #[cfg(test)]
    pub(crate) fn set_timetable(&mut self, timetable: Timetable) {
        self.timetable = Some(timetable);
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
            Input::System { part, good, because } => self.system(now, part, (good, because), effects),
            Input::Policy(policy) => self.enact(now, policy, effects),
            Input::Register(register) => self.enrol(now, register, effects),
            Input::Lighting(lighting) => self.light_by(now, lighting),
            Input::Move(request) => self.act(now, request, effects),
            Input::Told(request) => self.tell(now, request, effects),
            Input::Maintenance(request) => self.maintain(now, request, effects),
            Input::Delivery { incident, step, accepted } => {
                self.delivered(now, incident, step, accepted, effects);
            }
            Input::HelpRefused { incident, called_at } => {
                self.help_refused(now, incident, called_at, effects);
            }
            Input::Presence => self.present(now),
            Input::Tick => {}
        }
    }

    /// Everything that happens because time passes.
    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now.since(self.advanced_at) > PAUSE {
            self.running_since = now;
        }
        self.advanced_at = now;
        if self.remembered && !self.replaying {
            // A clock that was ahead before the restart must not keep a post from falling silent.
            self.remembered = false;
            self.forget_future_words(now);
        }
        self.sky.advance(now);
        self.refresh_wet(now, effects);
        self.tell_unknown_weather(now, effects);
        self.decide_held(now, effects);
        self.look_at_parts(now, effects);
        self.sweep(now, effects);
        self.look_at_zones(now, effects);
        self.worsen_silence(now, effects);
        self.compare_units(now);
        self.tell_units(now, effects);
        self.notice_silence(now, effects);
        self.remind(now, effects);
        self.warn_of_switching_on(now, effects);
        self.end_jobs(now, effects);
        self.remind_rechecks(now, effects);
        self.climb(now, effects);
    }

    fn reading(&mut self, now: Timestamp, reading: &StoredReading<'_>, effects: &mut Vec<Effect>) {
        if reading.marks.has(Marks::RETAINED) {
            return;
        }
        let tracked = !reading.marks.has(Marks::UNTRACKED);
        let slot = if tracked { self.slot_of(reading) } else { None };
        let Some(slot) = slot else {
            self.judge_untracked(now, reading, effects);
            return;
        };
        if let Some(period_s) = reading.period_s
            && self.owners[slot].post().is_none_or(|post| post.period_s.is_none())
        {
            self.slots[slot].set_base_period(period_s, &self.policy.period);
        }
        let Some(moment) = self.place_in_time(slot, now, reading, effects) else {
            return;
        };
        let powered = self.is_powered(slot, reading, moment.measured_at);
        let key = admission_key(reading);
        let was_powered = self.slots[slot].is(Fact::Powered);
        if reading.cause == Cause::Manual {
            self.finish_recheck(slot, now, effects);
        }
        self.note_facts(&moment, reading, powered, key, effects);
        if !self.isolations.is_empty() {
            self.judge_isolated(&moment, reading, effects);
        }
        self.judge_supply_and_lamp(&moment, reading, effects);
        if self.slots[slot].is(Fact::Cabinet) {
            self.judge_cabinet(&moment, reading, effects);
            return;
        }
        let live_band = self.policy.hand_test.live_band;
        let came = SAMPLED.map(|sampled| {
            let mut sample = sample_of(reading, sampled, moment.measured_at, (powered, live_band), key)?;
            sample = self.without_stuck_flag(slot, sampled, sample);
            match self.slots[slot].rings[sampled.place()].insert(sample) {
                Inserted::At(place) => Some(place),
                Inserted::Duplicate | Inserted::TooOld => None,
            }
        });
        self.judge_samples(&moment, reading, powered, came, effects);
        let saturated = reading.marks.has(Marks::SATURATED);
        let by_hand = reading.cause == Cause::Manual;
        if came.iter().any(Option::is_some) || saturated || by_hand || reading.flags.0 != 0 {
            self.judge_signs(&moment, reading, effects);
        }
        self.judge_column(&moment, reading, was_powered, effects);
        self.look_at_neutral(&moment, effects);
        self.note_habits(&moment, reading, effects);
        if self.says_something(slot, came, moment.now) || saturated {
            let flagged = reading.flags.has(Flags::LEAK_ALARM) || reading.flags.has(Flags::SHELL_ALARM);
            self.follow_signal(&moment, saturated, flagged, effects);
            self.follow_repair(slot, now, effects);
        }
    }

    /// One of the new samples is more than a hand test without supply that found nothing.
    fn says_something(&self, slot: usize, came: [Option<usize>; SAMPLED.len()], now: Timestamp) -> bool {
        SAMPLED.into_iter().any(|sampled| {
            let came = came[sampled.place()].and_then(|at| self.slots[slot].ring(sampled).samples().get(at));
            came.is_some_and(|sample| !signal::is_mute(sample, self.limit(slot, sampled, false, now).0))
        })
    }

    /// The new samples against their limits; danger that is not confirmed is watched.
    fn judge_samples(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        powered: bool,
        came: [Option<usize>; SAMPLED.len()],
        effects: &mut Vec<Effect>,
    ) {
        let slot = moment.slot;
        if came.iter().any(Option::is_some) && powered && self.slots[slot].is(Fact::Aside) {
            self.end_watch_by_sample(moment);
        }
        for sampled in SAMPLED {
            let Some(place) = came[sampled.place()] else { continue };
            let Some(sample) = self.slots[slot].ring(sampled).samples().get(place).copied() else { continue };
            if !self.held.is_empty() {
                self.note_held(slot, sampled, sample, moment.now);
            }
            let because = self.wet_because(slot, moment.now);
            let limits = [false, true].map(|warning| self.limit_when(sampled, warning, because.is_some()));
            if !sample.is_above(limits[0]) && powered {
                self.slots[slot].note_calm(sampled, sample.at());
            }
            if sample.is_above(limits[0]) {
                self.judge(moment, sampled, place, reading, effects);
                let kind = sampled.critical();
                self.watch(moment, kind, Some(sample.value()), limits[0]);
            } else if self.slots[slot].incident().is_none() {
                // Its insertion may have brought two others within the last three.
                self.judge(moment, sampled, place, reading, effects);
            }
            if !moment.late {
                if sampled == Sampled::Leak
                    && (sample.is_above(limits[1]) || self.slots[slot].is(Fact::Aside))
                {
                    self.note_above(slot, moment.now);
                }
                if sample.is_above(limits[1]) {
                    self.warn(slot, sampled, moment.now, effects);
                }
            }
        }
    }

    /// A flag that never goes down confirms nothing.
    fn without_stuck_flag(&self, slot: usize, sampled: Sampled, sample: Sample) -> Sample {
        let stuck = if sampled == Sampled::Leak { Fact::LeakFlagStuck } else { Fact::ShellFlagStuck };
        if self.slots[slot].is(stuck) { sample.without(Bits::FLAGGED) } else { sample }
    }

    fn wet_because(&self, slot: usize, now: Timestamp) -> Option<Because> {
        let s = &self.slots[slot];
        let zone = self.zones[usize::from(s.zone)].wet[usize::from(s.is(Fact::LowLying))];
        let own = s.own_wet(now, &self.policy.wet);
        own.filter(|b| *b == Because::Immersed).or(zone).or(own)
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

/// What makes a delivery count once. A reading without time, boot and seq is told from others of the same values by when it
/// counts as measured. That stays with it when another node passes it on, which `received_at` does not.
fn admission_key(reading: &StoredReading<'_>) -> u64 {
    if reading.marks.has(Marks::NO_IDENTITY) {
        reading.identity ^ (reading.measured_at().0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    } else {
        reading.identity
    }
}

/// The sample of one quantity in a reading, if there is a valid one. A pen band from `live_band` on is a live post
/// (`policy.md` 3).
fn sample_of(
    reading: &StoredReading<'_>,
    sampled: Sampled,
    measured_at: Timestamp,
    (powered, live_band): (bool, Volts),
    key: u64,
) -> Option<Sample> {
    let flag = match sampled {
        Sampled::Shell => Flags::SHELL_ALARM,
        Sampled::Leak => Flags::LEAK_ALARM,
    };
    let manual = reading.cause == Cause::Manual;
    let band = reading.fields.get(Field::PenBandV).filter(|v| *v >= live_band.thousandths());
    let by_hand = reading.fields.get(Field::Check) == Some(CHECK_LIVE) || band.is_some();
    let live = manual && sampled == Sampled::Shell && by_hand;
    let value = reading.fields.get(sampled.field()).max(band.filter(|_| live));
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
