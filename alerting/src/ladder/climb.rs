//! How far the ladder of an incident was climbed, and what is due next.

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::config::RUNGS_MAX;
use super::{Ladder, Rung, Since, Until};
use crate::incident::{Family, Incident, Severity, Signal};
use crate::life::{Stage, is_over, takes_evidence};
use crate::policy::Policy;
use crate::rota::Whom;

/// A rung was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which, by its place in the table that was in force.
    pub step: u32,
    /// When it was last told.
    pub at: Timestamp,
    /// Which, whatever table is in force; none: its place says it in every table (the opening, ladders of the system), or
    /// an older version told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Which>,
}

/// A rung by what it says, for the office may change its table while an incident climbs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    since: Since,
    after_ms: i64,
    until: Until,
    /// Whom it told.
    pub to: Vec<Whom>,
}

impl Which {
    /// That of a rung.
    pub fn of(rung: &Rung) -> Self {
        Self { since: rung.since, after_ms: rung.after.0, until: rung.until, to: rung.to.clone() }
    }

    /// True when whoever `rung` is for was told then.
    fn covers(&self, rung: &Rung) -> bool {
        (self.since, self.after_ms, self.until) == (rung.since, rung.after.0, rung.until)
            && rung.to.iter().all(|whom| self.to.contains(whom))
    }
}

impl Said {
    fn is(&self, step: usize, rung: &Rung) -> bool {
        self.rung.as_ref().map_or(self.step as usize == step, |which| which.covers(rung))
    }
}

/// Rungs that one incident remembers as told, of all tables that it saw; then the oldest is forgotten and told again.
const TOLD_MAX: usize = 4 * RUNGS_MAX;

/// The shift has changed, and the incident stays with its crew until the next one takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The crew that has it.
    pub from: Arc<str>,
    /// The crew that comes on duty.
    pub to: Arc<str>,
    /// When both were told.
    pub at: Timestamp,
    /// The desk was told that nobody has taken it.
    #[serde(default)]
    pub desk_told: bool,
    /// It was taken. Where nobody had it there is nothing to take: the moment of the telling.
    #[serde(default)]
    pub accepted_at: Option<Timestamp>,
}

impl Handover {
    /// When a crew took it from another; none while it waits, and where nobody had it.
    pub fn taken_at(&self) -> Option<Timestamp> {
        self.accepted_at.filter(|at| *at != self.at)
    }
}

/// How far the ladder of an incident was climbed. Part of its life, so the transaction that stores a telling
/// stores this too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Climb {
    /// Rungs that were told, at most one entry each.
    pub told: Vec<Said>,
    /// Rungs of which a delivery failed: the next one went at once.
    pub jumped: Vec<u32>,
    /// Somebody else was asked then, and has all the time to acknowledge.
    pub called_at: Option<Timestamp>,
    /// A crew arrived after the first was called away, or was found not to be there: the rungs of who stands there count from
    /// then.
    pub there_at: Option<Timestamp>,
    /// Nobody had the board open: the desk was rung, once.
    pub board_closed: bool,
    /// The desk was asked to call a crew whose arrival is not proven.
    pub desk_calls: bool,
    /// The desk was offered to ask for the feeder to be switched off.
    pub isolation_offered: bool,
    /// Who wanted to hand it back before the place was safe: the back-up was told.
    pub refused_by: Option<String>,
    /// Those above were called, because a call for help did not reach everybody.
    pub help_passed_at: Option<Timestamp>,
    /// The last change of shift.
    pub handover: Option<Handover>,
    /// Its opening went into lists: who was not named there yet will be.
    pub listed: bool,
}

impl Climb {
    /// When a rung was last told. Where somebody else was called since, that counts for nothing on the way to him, and
    /// where he came, nothing of what the one before was told there.
    pub fn told_at(&self, step: usize, rung: &Rung) -> Option<Timestamp> {
        let since = match rung.until {
            Until::Acknowledged | Until::Departed => self.called_at,
            Until::Arrived => None,
            Until::MadeSafe => self.there_at,
        };
        let said = self.told.iter().filter(|said| said.is(step, rung)).map(|said| said.at).max();
        said.filter(|at| since.is_none_or(|since| *at >= since))
    }

    /// The rung on which it stands: the last one that was told; the opening before any was.
    pub fn present(&self) -> u32 {
        self.told.iter().max_by_key(|said| (said.at, said.step)).map_or(0, |said| said.step)
    }

    /// It was not told at its opening after all: that rung is due with the others.
    pub(crate) fn forget_opening(&mut self) {
        self.told.retain(|said| said.step != 0);
        self.listed = false;
    }

    /// Notes that a rung was told; `which` where another table may come.
    pub fn tell(&mut self, step: usize, which: Option<Which>, now: Timestamp) {
        // A clock that went back must not make it untold.
        let at = self.called_at.max(self.there_at).map_or(now, |since| since.max(now));
        let which = which.filter(|_| step > 0);
        let step = step as u32;
        match self.told.iter_mut().find(|said| said.step == step && said.rung == which) {
            Some(said) => said.at = at,
            None => self.told.push(Said { step, at, rung: which }),
        }
        if self.told.len() > TOLD_MAX
            && let Some(oldest) = self.told.iter().position(|said| said.step > 0)
        {
            self.told.remove(oldest);
        }
    }
}

/// What has happened to an incident, as far as its ladder asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestones {
    /// The opening, or the moment it became a P1.
    pub opened: Timestamp,
    /// Since when somebody is asked to acknowledge.
    pub called: Timestamp,
    /// A crew has it.
    pub acknowledged: Option<Timestamp>,
    /// It is on its way.
    pub departed: Option<Timestamp>,
    /// It stands there now. The first arrival, which decides about the deadline, may be that of a crew called away.
    pub arrived: Option<Timestamp>,
    /// The deadline.
    pub due_at: Timestamp,
    /// It is a P1: its breach calls people again and again.
    pub is_p1: bool,
}

impl Milestones {
    /// Those of an incident; none while nothing of a ladder goes on: it is safe, or over, or the part works again.
    pub fn of(incident: &Incident, policy: &Policy) -> Option<Self> {
        let life = &incident.life;
        let system = incident.family == Family::System;
        if is_over(life.state) || !takes_evidence(life.state) || (system && incident.signal == Signal::Normal)
        {
            return None;
        }
        let opened = incident.p1_at.unwrap_or(incident.opened_at);
        let called = life.climb.called_at.unwrap_or(opened);
        // Where planned work goes on its own crew is asked first; a crew that the desk calls is asked at once.
        let first = life.job.is_some() && life.climb.called_at.is_none();
        let grace = if first { policy.maintenance.acknowledge_within } else { Millis(0) };
        // The system has no crew: whoever says that he looks after it does.
        // Who was clear of it and is back stands there since he first came; whoever begins anew has `there_at`.
        let arrived = life.arrived.as_ref().filter(|_| life.state == Stage::Arrived);
        let taken = if system { life.acknowledged.as_ref() } else { life.taken.as_ref() };
        Some(Self {
            opened,
            called: called + grace,
            acknowledged: taken.map(|mark| mark.at),
            departed: life.departed.as_ref().map(|mark| mark.at),
            arrived: arrived.map(|arrival| life.climb.there_at.unwrap_or(arrival.mark.at)),
            due_at: incident.due_at,
            is_p1: incident.severity == Severity::P1,
        })
    }

    fn reached(&self, until: Until) -> bool {
        match until {
            Until::Acknowledged => self.acknowledged.is_some() || self.arrived.is_some(),
            Until::Departed => self.departed.is_some() || self.arrived.is_some(),
            Until::Arrived => self.arrived.is_some(),
            // What was made safe has no milestones.
            Until::MadeSafe => false,
        }
    }

    /// When a rung is first due; none when it counts from what has not happened, or nobody needs it any more.
    pub fn first(&self, ladder: &Ladder, step: usize) -> Option<Timestamp> {
        let rung = ladder.rungs.get(step)?;
        if self.reached(rung.until) {
            return None;
        }
        let since = match (rung.since, rung.until) {
            (Since::Opened, Until::Acknowledged) => Some(self.called),
            (Since::Opened, _) => Some(self.opened),
            (Since::Acknowledged, _) => self.acknowledged,
            (Since::Departed, _) => self.departed,
            (Since::Arrived, _) => self.arrived,
        };
        // The ladder begins at the P1 decision, whatever was done before.
        let at = since?.max(self.opened) + rung.after;
        // What became a P1 late keeps the deadline that it had: its breach, and all that repeats it, counts from there.
        let breach = self.is_p1 && ladder.breach() == Some(step);
        let at = if breach { at.min(self.due_at.max(self.opened)) } else { at };
        // Who arrives in the very millisecond of the deadline is in time.
        let deadline = at == self.due_at && rung.until == Until::Arrived;
        Some(if deadline { at + Millis(1) } else { at })
    }

    /// When a rung is due next, given when it was last told. A clock that went back behind that moment counts from
    /// `now`, or the rung would be silent until the clock has caught up.
    pub fn next(
        &self,
        ladder: &Ladder,
        step: usize,
        told_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let first = self.first(ladder, step)?;
        let Some(told_at) = told_at else { return Some(first) };
        let every = ladder.rungs.get(step)?.every?;
        let last = told_at.min(now);
        let passed = last.since(first).0.div_euclid(every.0).max(-1) + 1;
        Some(first + Millis(every.0 * passed))
    }
}

/// Rungs that are still to come, with the moment at which each is due; what is due already stands first in time.
pub fn to_come(
    ladder: &Ladder,
    incident: &Incident,
    policy: &Policy,
    now: Timestamp,
) -> Vec<(usize, Timestamp)> {
    let Some(milestones) = Milestones::of(incident, policy) else { return Vec::new() };
    let climb = &incident.life.climb;
    let due = |(step, rung): (usize, &Rung)| {
        // Whether a P2 is told at its opening says the finding: twenty dark lamps of one road are one telling.
        // A crew that gets it later has heard nothing.
        if step == 0 && incident.severity != Severity::P1 && climb.called_at.is_none() {
            return None;
        }
        Some((step, milestones.next(ladder, step, climb.told_at(step, rung), now)?))
    };
    ladder.rungs.iter().enumerate().filter_map(due).collect()
}

/// When the desk calls a crew whose arrival is not proven.
pub(crate) fn desk_call(incident: &Incident, policy: &Policy) -> Option<Timestamp> {
    let life = &incident.life;
    let standing = life.state == Stage::Arrived && !life.climb.desk_calls;
    let arrival = life.present_arrival().filter(|_| standing)?;
    let unproven = arrival.proof == crate::life::Proof::Unproven && arrival.confirmed.is_none();
    unproven.then(|| arrival.mark.received_at + policy.arrival.unproven_call)
}

/// When the desk hears that nobody has taken over.
pub(crate) fn not_accepted(incident: &Incident, policy: &Policy) -> Option<Timestamp> {
    let handover = incident.life.climb.handover.as_ref().filter(|_| !is_over(incident.life.state))?;
    let waits = !handover.desk_told && handover.accepted_at.is_none();
    waits.then(|| handover.at + policy.watch.accept_within)
}
