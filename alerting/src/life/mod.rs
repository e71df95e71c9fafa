//! The life of an incident: what people do to it, and what may follow from it. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `table.rs` | **the matrix**: every state and every move, allowed or refused with its reason |
//! | `apply.rs` | one move on one life: `apply(life, facts, now, move)` |
//! | `order.rs` | a move as people send it: who, when, with which words |
//! | `arrival.rs` | claimed times, and whether an arrival is proven |
//! | `passed.rs` | the way until it was first made safe, for the counts |
//! | `check.rs` | what a verification needs |
//! | `taken.rs` | whose word stops the ladder |
//!
//! Invariants:
//! 1. A move changes the life or is refused with its reason and the present state; nothing in between.
//! 2. The same move of the same actor with the same key changes nothing a second time.
//! 3. Nothing here changes a deadline: it is not part of a life.
//! 4. Truth is only added to: who arrived first stays, whatever comes later.

mod apply;
mod arrival;
mod check;
mod order;
mod passed;
mod safety;
mod table;
mod taken;

pub(crate) use apply::is_same_person;
pub use apply::{Applied, Facts, Outcome, Refused, apply};
pub use arrival::{Proof, Times};
pub use check::{Calm, HandLimits};
pub use order::{
    Actor, Channel, Extent, HandReading, Method, Move, MoveBody, Position, VERBS, Verb, is_crew_move,
    is_crews_word, is_said_for_a_crew,
};
pub use passed::Passed;
pub use safety::{DEAD, GUARDED, TREAT_AS_LIVE};
pub use table::{Cell, cell};

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::incident::Family;
use crate::ladder::Climb;

/// Keys remembered per incident; beyond, the oldest one is forgotten.
pub const KEYS_MAX: usize = 1000;
/// Cause of a repair where nothing was wrong: a false alarm found on the spot.
pub(crate) const FALSE: &str = "false";

/// Where an incident stands. `state` in tables and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has it.
    #[default]
    Open,
    /// A crew has it.
    Acknowledged,
    /// A crew is on its way.
    Departed,
    /// A crew stands there.
    Arrived,
    /// Isolated, guarded or behind a barrier.
    MadeSafe,
    /// Repaired, not verified.
    Repaired,
    /// Verified by somebody else than the repairer; waits to be closed.
    Verifying,
    /// Over.
    Closed,
    /// Withdrawn before anybody arrived.
    Void,
    /// Belongs to another owner; the duty to guard stays.
    Returned,
    /// Made safe, repaired later (挂账).
    Pending,
    /// Goes on under another incident.
    Merged,
}

/// Every state, in the order of the matrix (`table.rs`).
pub const STAGES: [Stage; 12] = [
    Stage::Open,
    Stage::Acknowledged,
    Stage::Departed,
    Stage::Arrived,
    Stage::MadeSafe,
    Stage::Repaired,
    Stage::Verifying,
    Stage::Closed,
    Stage::Void,
    Stage::Returned,
    Stage::Pending,
    Stage::Merged,
];

impl Stage {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Departed => "departed",
            Self::Arrived => "arrived",
            Self::MadeSafe => "made_safe",
            Self::Repaired => "repaired",
            Self::Verifying => "verifying",
            Self::Closed => "closed",
            Self::Void => "void",
            Self::Returned => "returned",
            Self::Pending => "pending",
            Self::Merged => "merged",
        }
    }

    /// The state of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        STAGES.into_iter().find(|stage| stage.name() == name)
    }

    /// How far it is: a parent never passes its least advanced live member.
    pub fn rank(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Acknowledged => 1,
            Self::Departed => 2,
            Self::Arrived => 3,
            Self::MadeSafe | Self::Returned | Self::Pending => 4,
            Self::Repaired => 5,
            Self::Verifying => 6,
            Self::Closed | Self::Void | Self::Merged => 7,
        }
    }
}

/// True while new evidence of the family attaches to the incident: until it is made safe.
pub fn takes_evidence(stage: Stage) -> bool {
    matches!(stage, Stage::Open | Stage::Acknowledged | Stage::Departed | Stage::Arrived)
}

/// True when nothing is expected of anybody any more.
pub fn is_over(stage: Stage) -> bool {
    matches!(stage, Stage::Closed | Stage::Void | Stage::Merged)
}

/// True for an incident whose place has been repaired and not been opened again.
pub fn is_repaired(stage: Stage) -> bool {
    matches!(stage, Stage::Repaired | Stage::Verifying) || is_over(stage)
}

/// Somebody did something: who, when by his word, when we had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Who did it.
    pub by: String,
    /// Who told us, when it was somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_by: Option<String>,
    /// By which way it was told.
    pub channel: Channel,
    /// When, as far as the claim is believed; else receipt.
    pub at: Timestamp,
    /// When they say it was, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// When we had it.
    pub received_at: Timestamp,
    /// Newest receipt of what was heard of the place before it, where our clock had gone back in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_through: Option<Timestamp>,
}

impl Mark {
    /// What a replay brings from up to here had been heard before it was done.
    pub fn through(&self) -> Timestamp {
        self.heard_through.unwrap_or(self.received_at)
    }
}

/// The first arrival: it decides about the deadline and is never edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// Why it is believed.
    pub proof: Proof,
    /// Distance of the position from the post, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<u32>,
    /// The desk has called, and so it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Mark>,
}

/// How it was made safe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Safe {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// How.
    pub method: Method,
    /// Which breaker, when isolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// How far the isolation reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
    /// Posts and their sensors that were in it when it was made, sorted: another register takes none of them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<Arc<str>>,
    /// Power was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Mark>,
    /// Voltage was seen in the isolated extent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reenergised_at: Option<Timestamp>,
    /// Nobody knows any more whether it still holds: it comes from a backup, and what followed the backup's moment is
    /// lost. Another `make_safe` confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubted_at: Option<Timestamp>,
}

impl Safe {
    /// An isolation that has not been ended.
    pub fn isolates(&self) -> bool {
        self.method == Method::Isolated && self.restored.is_none()
    }

    /// What was said up to `moment` comes from a backup: whether it still holds has to be asked. True when it was not
    /// doubted before.
    pub fn doubt(&mut self, moment: Timestamp, now: Timestamp) -> bool {
        let doubtful =
            self.restored.is_none() && self.mark.received_at <= moment && self.doubted_at.is_none();
        if doubtful {
            self.doubted_at = Some(now);
        }
        doubtful
    }
}

/// What was repaired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repair {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// What was wrong; `false` for a false alarm found on the spot.
    pub cause: String,
    /// What was used.
    pub parts: String,
    /// Measured afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<HandReading>,
}

/// On what the verification stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// `readings`, `by_hand` or `override`.
    pub on: String,
    /// Why the desk overrode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The verifier's own reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<HandReading>,
}

/// To whom it was returned, or why it waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handed {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// Other owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How the other owner is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When somebody looks at it again.
    pub again_at: Timestamp,
}

/// Hidden from the desk's list for a while; everything else goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    /// Who and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// The second person, where two were needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// Why.
    pub reason: String,
    /// It ends by itself then.
    pub until: Timestamp,
}

/// A move that waits for a second person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// `pending_id`.
    pub id: String,
    /// Which move.
    pub verb: Verb,
    /// Who asked first.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Key of the first call: a repeat of it gets the same answer.
    pub key: String,
    /// Why.
    pub reason: String,
    /// Until when, for shelving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Somebody was asked to open a breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asked and when.
    #[serde(flatten)]
    pub mark: Mark,
    /// Who was asked.
    pub to: String,
    /// Which breaker.
    pub breaker: String,
    /// What they answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
}

/// What a person reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Somebody felt a shock.
    Shock,
    /// A post found live by pen.
    Live,
    /// Anything else; the desk chooses how urgent.
    Other,
}

impl What {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shock => "shock",
            Self::Live => "live",
            Self::Other => "other",
        }
    }
}

/// A spot without a post of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// In words.
    pub text: String,
}

/// A hazard as a person told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What.
    pub what: What,
    /// P1 to P4.
    pub severity: String,
    /// Who called, as written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Where, when it is no post of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Who wrote it down, and when it was told.
    #[serde(flatten)]
    pub mark: Mark,
}

/// Everything people did to one incident, and what follows from it. Kept as JSON in the store: a field that
/// is missing there has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Where it stands.
    pub state: Stage,
    /// Crew or person that has it.
    pub crew: Option<String>,
    /// First acknowledge, or what implied it.
    pub acknowledged: Option<Mark>,
    /// The word of a crew, or of the desk for one, that it goes to what this is now: it stops rungs.
    pub taken: Option<Mark>,
    /// Crew that had it as a P2, with another one on duty when it became a P1: hears that too, for it may be on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relieved: Option<String>,
    /// How far its ladder was climbed.
    pub climb: Climb,
    /// A message that named it was accepted, first at this moment.
    pub told_at: Option<Timestamp>,
    /// First depart.
    pub departed: Option<Mark>,
    /// First arrival: it counts for the deadline.
    pub arrived: Option<Arrival>,
    /// Newest arrival of a crew that came after the first one had gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<Arrival>,
    /// Arrivals between the first and `there`, the oldest first: a denied `there` gives way to the newest of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<Arrival>,
    /// Arrivals that the desk found not to be so.
    pub denied: Vec<Arrival>,
    /// Arrivals at the P2 that it was, by crews that had gone when it became a P1.
    pub earlier: Vec<Arrival>,
    /// How it was last made safe.
    pub safe: Option<Safe>,
    /// When it was where until it was first made safe: what is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
    /// Last repair.
    pub repaired: Option<Repair>,
    /// The verification.
    pub verified: Option<Verified>,
    /// Returned or pending.
    pub handed: Option<Handed>,
    /// The crew is clear of what it isolated.
    pub clear: Option<Mark>,
    /// Hidden from the desk's list.
    pub shelved: Option<Shelf>,
    /// Moves that wait for a second person.
    pub waiting: Vec<Waiting>,
    /// Breakers that somebody was asked to open.
    pub isolation: Vec<Asked>,
    /// Closed, void or merged: who and when.
    pub ended: Option<Mark>,
    /// Receipt of the newest thing that belonged to it: what a replay brings from before then opens nothing.
    pub over_through: Option<Timestamp>,
    /// Why it was voided.
    pub void_reason: Option<String>,
    /// Older incidents that it follows: the danger came back.
    pub follows: Vec<Arc<str>>,
    /// Incident of the whole feeder that it belongs to.
    pub parent: Option<Arc<str>>,
    /// A person told it.
    pub told: Option<Told>,
    /// Sensor of its post, where that has another name: finds the post when the register names it otherwise, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Arc<str>>,
    /// Zone that the topic of an unregistered device named: its crew is told, until the register says better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Arc<str>>,
    /// Not real: marked 演练 everywhere, counted nowhere.
    pub drill: bool,
    /// Crew of the planned work at that place, when there was one as it opened, until that work has ended.
    pub job: Option<String>,
    /// The danger was not to be seen at this moment with a crew there, or after it had been made safe.
    pub quiet_at: Option<Timestamp>,
    /// A sample was at or above the limit since the last repair, and since the last verification.
    pub above_at: Option<Timestamp>,
    /// Crew and desk were last told that the danger persists.
    pub reminded_at: Option<Timestamp>,
    /// The switching on of which the crew behind the isolation was warned.
    pub warned_of: Option<Timestamp>,
    /// The deadline passed with nobody there: recorded once, at this moment.
    pub breached_at: Option<Timestamp>,
    /// `move|actor|key` of what was done.
    pub keys: Vec<String>,
}

impl Life {
    /// When the first crew arrived.
    pub fn arrived_at(&self) -> Option<Timestamp> {
        self.arrived.as_ref().map(|arrival| arrival.mark.at)
    }

    /// True when nobody stood there by `due_at`, as far as `now` can tell. A life that ended before its
    /// deadline without arrival is no breach.
    pub fn is_breached(&self, due_at: Timestamp, now: Timestamp) -> bool {
        let ended = self.ended.as_ref().map(|mark| mark.received_at);
        self.arrived_at().or(ended).unwrap_or(now) > due_at
    }

    /// Seconds to the deadline: they stop at the first arrival, or at the end.
    pub fn remaining_s(&self, due_at: Timestamp, now: Timestamp) -> i64 {
        let ended = self.ended.as_ref().map(|mark| mark.received_at);
        due_at.since(self.arrived_at().or(ended).unwrap_or(now)).as_seconds()
    }

    /// The isolation in force, if there is one.
    pub fn isolation_in_force(&self) -> Option<&Safe> {
        self.safe.as_ref().filter(|safe| safe.isolates())
    }

    /// Hidden from the desk's list at `now`.
    pub fn is_shelved(&self, now: Timestamp) -> bool {
        self.shelved.as_ref().is_some_and(|shelf| now < shelf.until && now >= shelf.mark.received_at)
    }

    /// New evidence: ends shelving.
    pub fn on_evidence(&mut self) {
        self.shelved = None;
    }

    /// The danger was not to be seen. After made_safe this is what makes the next signal a new incident; with a
    /// crew on the spot, what makes it worth telling again.
    pub fn on_quiet(&mut self, now: Timestamp) {
        let stands = self.state == Stage::Arrived || !takes_evidence(self.state);
        if stands && !is_over(self.state) && self.quiet_at.is_none() {
            self.quiet_at = Some(now);
        }
    }

    /// Since when, by receipt in a replay, quiet says something: the crew came, or it was made safe.
    pub fn stands_since(&self) -> Option<Timestamp> {
        match self.state {
            Stage::Arrived => self.present_arrival().map(|arrival| arrival.mark.through()),
            _ => self.safe.as_ref().map(|safe| safe.mark.through()),
        }
    }

    /// A confirmed critical on a post whose incident this is: true when it has to become a new one, linked to
    /// this. No time is compared: a clock that went back must not hide a danger that came back.
    pub fn needs_new(&self) -> bool {
        !takes_evidence(self.state) && self.quiet_at.is_some()
    }

    /// What took the danger away, as far as people know: an isolation, or the repair. What is measured after it is
    /// a danger that came back, though nothing was heard in between (mains-fed posts fall silent in an isolation).
    ///
    /// A column leans with and without supply: only where current is the danger does an isolation count. Voltage
    /// seen in it stands for what shows there (*reenergised*).
    pub fn gone_by(&self, family: Family) -> Option<&Mark> {
        use Family::{Electric, FeederLeak, Neutral, Reenergised};
        if takes_evidence(self.state) {
            return None;
        }
        let safe = self.safe.as_ref().filter(|safe| safe.method == Method::Isolated);
        let of_current = matches!(family, Electric | FeederLeak | Neutral | Reenergised);
        let dead = safe
            .filter(|safe| family == Electric && safe.restored.is_none() && safe.reenergised_at.is_none());
        let given_back = safe.and_then(|safe| safe.restored.as_ref()).filter(|_| of_current);
        // Of silence and lamps a repair says nothing that the next look does not.
        let repaired = self.repaired.as_ref().map(|repair| &repair.mark);
        let repaired = repaired.filter(|_| of_current || family == Family::Column);
        let marks = [dead.map(|safe| &safe.mark), given_back, repaired];
        marks.into_iter().flatten().min_by_key(|mark| mark.received_at)
    }

    /// The danger still shows behind a guard or a barrier, and it is time to say so again.
    pub fn is_reminder_due(&self, every: Millis, now: Timestamp) -> bool {
        let behind = self.safe.as_ref().filter(|safe| safe.method != Method::Isolated);
        let live = !takes_evidence(self.state) && !is_over(self.state) && !is_repaired(self.state);
        let since = behind.map(|safe| self.reminded_at.unwrap_or(safe.mark.received_at));
        // Also when the clock went back behind the last time.
        live && since.is_some_and(|since| now < since || now.since(since) >= every)
    }
}

/// The least advanced of several lives: a parent does not pass it.
pub fn least_advanced<'l>(members: impl IntoIterator<Item = &'l Life>) -> Option<Stage> {
    let live = members.into_iter().map(|life| life.state).filter(|state| !is_over(*state));
    live.min_by_key(|state| state.rank())
}

#[cfg(test)]
#[path = "../life_tests/mod.rs"]
pub(crate) mod tests;
