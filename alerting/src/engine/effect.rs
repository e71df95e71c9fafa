//! What happens to the engine, what is to be done about it, and what a restart may not forget.

use std::sync::Arc;

use lampguard_model::record::StoredReading;
use lampguard_model::{Register, Timestamp, WeatherReport};

use super::moves::{Answer, MoveRequest};
use super::people::{Job, JobRequest, TellRequest};
use super::recheck::{Asking, Recheck};
use crate::incident::{Event, Incident};
use crate::ladder::Telling;
use crate::life::Refused;
use crate::lighting::Lighting;
use crate::policy::Policy;
use crate::wet::Weather;

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
    /// A part of the system works, or does not. A source of readings is named by its kind, with a name of its
    /// own behind a colon: `broker:main`, `listener`, `http`.
    System {
        /// Which part.
        part: &'a str,
        /// It works.
        good: bool,
        /// Why it does not, in words for people; may be empty.
        because: &'a str,
    },
    /// Another policy is in force from now on.
    Policy(&'a Policy),
    /// From now on this is the register.
    Register(&'a Arc<Register>),
    /// From now on lamps are switched by these timetables, made for the register that holds or comes next.
    Lighting(&'a Arc<Lighting>),
    /// Somebody does something to an incident; `now` is receipt. Ends in one [`Effect::Answered`].
    Move(&'a MoveRequest),
    /// A hazard told by a person. Ends in one [`Effect::Answered`].
    Told(&'a TellRequest),
    /// Planned work begins, goes on, or ends. Ends in one [`Effect::JobAnswered`].
    Maintenance(&'a JobRequest),
    /// What became of a message that named an incident.
    Delivery {
        /// Which incident.
        incident: &'a str,
        /// Rung of the message.
        step: u32,
        /// It was accepted; else it did not go out at this attempt.
        accepted: bool,
    },
    /// A call for help did not go out to one of those whom it was for.
    HelpRefused {
        /// Which incident.
        incident: &'a str,
        /// When they called.
        called_at: Timestamp,
    },
    /// A duty session has the board open.
    Presence,
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
        /// People are told at once; otherwise it is for the lists alone.
        told: bool,
        /// Whom.
        to: Telling,
    },
    /// An open incident became graver: store it, and tell people again where it calls for it.
    Escalated {
        /// The incident as it is now.
        incident: Box<Incident>,
        /// What happened.
        event: Event,
        /// People are told.
        told: bool,
        /// Whom.
        to: Telling,
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
        /// Whom.
        to: Telling,
    },
    /// Rungs of several incidents in a flood: store them, and put them on people's lists.
    Many {
        /// Their zone.
        zone: Arc<str>,
        /// Event word.
        word: &'static str,
        /// Whom.
        to: Telling,
        /// The most dangerous of them, as they are now.
        incidents: Vec<Incident>,
        /// How many there are.
        count: usize,
        /// What happened.
        event: Event,
    },
    /// A flood began or ended: store it.
    Flood {
        /// It goes on.
        on: bool,
        /// What happened.
        event: Event,
    },
    /// An incident is to be shown as it is now; the store has what it needs.
    Shown(Box<Incident>),
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
    /// What it is used to.
    pub habits: Habits,
}

/// What a post is used to, and how it was when it last spoke. Kept at the end of each storm, when its supply comes
/// or goes, when it falls silent or speaks again, and once a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Habits {
    /// Medians of shell voltage and leakage while dry and lit, hundredths of the unit.
    pub baselines: [Option<u16>; 2],
    /// Leakage at the height of the last storms, the newest last, hundredths of a milliampere; 0 = none.
    pub peaks: [u16; 3],
    /// Usual tilt, hundredths of a degree.
    pub tilt: Option<u16>,
    /// Its column was repaired, and no tilt was measured since.
    pub tilt_anew: bool,
    /// When shell voltage and leakage were last below their critical limits with supply, as far as that is known.
    pub calm: [Option<Timestamp>; 2],
    /// What is kept of its last words; none while it was never heard.
    pub heard: Option<Heard>,
}

/// A post that has spoken: its silence counts from then on, whenever we began to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Heard {
    /// When; it may have spoken up to a day later.
    pub at: Timestamp,
    /// By which source, by its number.
    pub source: u8,
    /// With supply; none when it says nothing of it.
    pub powered: Option<bool>,
    /// It runs without mains.
    pub battery: bool,
    /// It had been silent for too long.
    pub silent: bool,
    /// Its sensor was simulated.
    pub simulated: bool,
    /// How often it is taken to report by register or profile, seconds; 0 = not known.
    #[serde(default)]
    pub base_period_s: u16,
}
