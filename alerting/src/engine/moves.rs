//! What people do to incidents: the engine's side of `life`.
//!
//! [`Engine::act`] gathers the facts, asks [`apply`], and turns the answer into effects. The rules ask
//! [`Engine::belongs`] where a confirmed signal goes, and say [`Engine::on_evidence`] when it attached.

use std::sync::Arc;

use lampguard_model::{Millis, Quantity, Timestamp, UNREGISTERED};
use serde_json::json;

use super::ladder::{awaits_somebody, event_of};
use super::people::LAST_KEPT;
use super::place::Subject;
use super::{Effect, Engine, signal};
use crate::incident::{Event, Family, Incident, Kind, Severity, Signal, short_hash};
use crate::kind::{SAMPLED, Sampled};
use crate::life::{
    Facts, HandLimits, Life, Move, Outcome, Refused, Stage, Verb, apply, is_over, least_advanced,
    takes_evidence,
};
use crate::sample::Bits;
use crate::slot::Fact;

/// The event by which people are told that a danger shows on.
pub(crate) const REPEATED: &str = "incident.repeated";

/// A move on an incident.
#[derive(Clone, Debug)]
pub struct MoveRequest {
    /// Which incident.
    pub id: Arc<str>,
    /// The incident as the store has it, when it is over and no longer in memory.
    pub stored: Option<Box<Incident>>,
    /// First accepted telling of it, if there was one.
    pub told_at: Option<Timestamp>,
    /// What is done.
    pub m: Move,
}

/// What became of a move or a told hazard.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The incident as it is now.
    pub incident: Incident,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where a confirmed signal of a post goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// Attaches to the incident at this place.
    To(usize),
    /// Becomes a new incident that follows these.
    New(Vec<Arc<str>>),
    /// It came before an incident ended, and was part of it: a replay brings it again.
    Ended,
}

/// The id of an incident that follows others: never that of one of them, though the same samples open it.
pub(super) fn after(id: Arc<str>, follows: &[Arc<str>]) -> Arc<str> {
    if follows.is_empty() {
        return id;
    }
    let mut parts = vec!["follows", &*id];
    parts.extend(follows.iter().map(|id| &**id));
    Arc::from(format!("LG-{}", short_hash(&parts, 12)))
}

impl Engine {
    /// Where a P1 of that family about `subject`, measured now, goes.
    pub(super) fn belongs(&self, subject: &Subject, family: Family, now: Timestamp) -> Belongs {
        self.goes_to(subject, family, Severity::P1, now, now)
    }

    /// Where a finding of that family about `subject` goes.
    pub(super) fn goes_to(
        &self,
        subject: &Subject,
        family: Family,
        severity: Severity,
        measured_at: Timestamp,
        now: Timestamp,
    ) -> Belongs {
        let last = self.people.last.get(&*self.last_key(subject, family));
        let open = self.taking(subject, family).map(|place| (place, &self.open[place].incident));
        if let Some((place, incident)) = open
            && !self.is_back(incident, severity, measured_at, now)
        {
            return Belongs::To(place);
        }
        if last.is_some_and(|last| self.was_before(last.at, now)) {
            return Belongs::Ended;
        }
        let repeat =
            last.filter(|last| now.since(last.at) <= self.policy.repeat.within).map(|last| last.id.clone());
        let older = open.map(|(_, incident)| incident.id.clone());
        // Both: two that follow the same older one, opened by the same samples, must not have one id.
        let mut follows: Vec<Arc<str>> = older.into_iter().chain(repeat).collect();
        follows.dedup();
        Belongs::New(follows)
    }

    /// Only in a replay does anything come a second time. Live, no time is compared: a clock that went back must
    /// not hide a danger.
    pub(super) fn was_before(&self, at: Timestamp, now: Timestamp) -> bool {
        self.replaying && now <= at
    }

    /// Whether a finding is a danger that came back (policy.md 4, New evidence): no more a matter of the incident
    /// that was made safe, but of a new one that follows it. What is below P1 attaches.
    pub(super) fn is_back(
        &self,
        incident: &Incident,
        severity: Severity,
        measured_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        let life = &incident.life;
        if takes_evidence(life.state) || severity < Severity::P1 {
            return false;
        }
        let quiet = life.quiet_at.is_some_and(|at| !self.was_before(at, now));
        if incident.severity < Severity::P1 {
            // Of a P2 that was made safe nobody stands there any more: the P1 has a clock of its own.
            return quiet
                || !life.safe.as_ref().is_some_and(|safe| self.was_before(safe.mark.through(), now));
        }
        let after = |at: Timestamp| measured_at > at || now < at;
        quiet
            || life
                .gone_by(incident.family)
                .is_some_and(|mark| !self.was_before(mark.through(), now) && after(mark.at))
    }

    /// A danger that was not to be seen shows again where a crew stands: it and the desk are told (policy.md 4).
    pub(super) fn shows_again(&self, place: usize, now: Timestamp) -> bool {
        let life = &self.open[place].incident.life;
        life.state == Stage::Arrived && life.quiet_at.is_some_and(|at| !self.was_before(at, now))
    }

    /// What the last incident of a family about a subject is remembered by; the store says it the same way.
    fn last_key(&self, subject: &Subject, family: Family) -> String {
        format!("{}|{}", family.name(), self.about(subject))
    }

    /// The life of an incident that opens at a post.
    pub(super) fn new_life(&self, post: &str, follows: Vec<Arc<str>>, now: Timestamp) -> Life {
        let slot = self.places.get(post).map(|place| *place as usize);
        let device = slot.and_then(|slot| self.sensor_of(slot));
        let hint = slot.and_then(|slot| self.hint_of(&Subject::Post(slot)));
        let post = self.register.by_post(post);
        let job = post.and_then(|post| self.job_at(post, now)).map(|job| job.crew.clone());
        Life { follows, job, device, hint, ..Life::default() }
    }

    /// Says whether what comes in comes a second time, out of the journal.
    pub fn replaying(&mut self, yes: bool) {
        self.replaying = yes;
    }

    /// Evidence attached to an incident: ends shelving, begins verification anew, and where a crew stands
    /// already, it and the desk are told again.
    pub(super) fn on_evidence(
        &mut self,
        place: usize,
        now: Timestamp,
        (kind, severity): (Kind, Severity),
        effects: &mut Vec<Effect>,
    ) {
        // People hear of it below.
        self.verify_anew(place, now, now, None, effects);
        let open = &mut self.open[place];
        open.incident.life.on_evidence();
        if open.incident.life.state == Stage::Arrived || !takes_evidence(open.incident.life.state) {
            // A warning leaves the danger itself still to be told. What a finding is counts, not what its kind usually
            // is: a column that leans far is a P1, and would be told at each reading.
            if open.incident.life.state == Stage::Arrived && severity == Severity::P1 {
                open.incident.life.quiet_at = None;
            }
            let body = json!({ "kind": kind.name() });
            self.say(
                place,
                now,
                &format!("again:{}:{}", kind.name(), now.0),
                "repeated",
                &body,
                Some(REPEATED),
                effects,
            );
        }
    }

    /// Evidence after a repair begins the half hour of the verification anew. One that was made already stands no
    /// longer: back to *repaired*, until somebody verifies again.
    pub(super) fn verify_anew(
        &mut self,
        place: usize,
        because_of: Timestamp,
        now: Timestamp,
        told: Option<&'static str>,
        effects: &mut Vec<Effect>,
    ) {
        let verified = self.open[place].incident.life.verified.as_ref().map(|verified| &verified.mark);
        // A replay brings what was there before somebody verified.
        let old = verified.is_some_and(|mark| self.was_before(mark.through(), now));
        let open = &mut self.open[place];
        open.shown = crate::life::Calm::default();
        if !old && open.incident.life.verify_anew() {
            let body = json!({ "measured_at": because_of.to_rfc3339() });
            let key = format!("verify_again:{}", because_of.0);
            self.say(place, now, &key, "verify_again", &body, told, effects);
        }
    }

    /// Writes an event on an incident and tells it.
    #[expect(
        clippy::too_many_arguments,
        reason = "an event is this much; a struct of them would say no more"
    )]
    pub(super) fn say(
        &mut self,
        place: usize,
        now: Timestamp,
        key: &str,
        kind: &'static str,
        body: &serde_json::Value,
        told: Option<&'static str>,
        effects: &mut Vec<Effect>,
    ) {
        let incident = &self.open[place].incident;
        let to = told.map(|word| self.addressed(incident, word)).unwrap_or_default();
        let event = event_of(incident, now, key, kind, body);
        effects.push(Effect::Moved { incident: Box::new(incident.clone()), event, told, to });
    }

    /// Behind a guard or a barrier the danger goes on: crew and desk hear of it every 30 min.
    pub(super) fn remind(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.replaying {
            return;
        }
        for place in 0..self.open.len() {
            let open = &mut self.open[place];
            let shows = !open.over && open.incident.signal == Signal::Active && !open.incident.life.drill;
            if shows && open.incident.life.is_reminder_due(self.policy.isolation.persists_every, now) {
                open.incident.life.reminded_at = Some(now);
                let body = json!({ "persists": true });
                self.say(
                    place,
                    now,
                    &format!("persists:{}", now.0),
                    "repeated",
                    &body,
                    Some(REPEATED),
                    effects,
                );
            }
        }
    }

    /// After a repair: counts powered calm readings, and notes one at or above the limit.
    pub(super) fn follow_repair(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let own = |at: &usize| self.open[*at].subject == Subject::Post(slot);
        let Some(place) = self.slots[slot].incident().filter(own) else {
            return;
        };
        let (open, at) = (&self.open[place], self.slots[slot].newest_at());
        let Some(repair) = open.incident.life.repaired.as_ref() else { return };
        let counted = open.shown.count > 0 && at <= open.shown.last;
        let last = open.incident.life.verified.as_ref().map_or(&repair.mark, |verified| &verified.mark);
        let old = self.was_before(last.through(), now);
        let stage = open.incident.life.state;
        if !matches!(stage, Stage::Repaired | Stage::Verifying) || at <= repair.mark.at || counted || old {
            return;
        }
        let (mut hot, mut warm, mut calm, mut seen) = (false, false, true, false);
        for sampled in SAMPLED {
            let newest = self.slots[slot].ring(sampled).newest().filter(|sample| sample.at() == at);
            let Some(sample) = newest.filter(|_| concerns(&open.incident, sampled)) else {
                continue;
            };
            let [limit, warning] = [false, true].map(|warning| self.limit(slot, sampled, warning, now).0);
            let kinds = &open.incident.kinds;
            let only_warned = kinds.contains(&sampled.warning()) && !kinds.contains(&sampled.critical());
            let share = self.policy.verify.share.0;
            seen |= sample.has(Bits::POWERED);
            hot |= sample.is_above(limit);
            warm |= sample.is_above(warning);
            calm &= signal::is_calm(&sample, share, if only_warned { warning } else { limit });
        }
        let open = &mut self.open[place];
        if hot {
            open.shown = crate::life::Calm::default();
            if open.incident.life.above_at.is_none() {
                open.incident.life.above_at = Some(at);
                let body = json!({ "measured_at": at.to_rfc3339() });
                let key = format!("above_after_repair:{}", at.0);
                self.say(place, now, &key, "above_after_repair", &body, Some(REPEATED), effects);
            }
        } else if warm {
            // Warning evidence begins the half hour anew (policy.md 4). The desk that overrode it knew of that.
            if open.incident.life.is_overridden() {
                open.shown = crate::life::Calm::default();
            } else {
                self.verify_anew(place, at, now, Some(REPEATED), effects);
            }
        } else if calm && seen {
            open.shown.add(at);
        }
    }

    /// Makes a move, or records that it was tried.
    pub(super) fn act(&mut self, now: Timestamp, request: &MoveRequest, effects: &mut Vec<Effect>) {
        let place = self.ids.get(&request.id).copied();
        let ended = || {
            let recent = self.people.recent.iter().find(|incident| *incident.id == *request.id);
            recent.or(request.stored.as_deref())
        };
        let known = place.map(|place| &self.open[place].incident).or_else(ended);
        let Some(mut incident) = known.cloned() else {
            effects.push(Effect::Answered(Box::new(Err(Refused::Unknown(request.id.to_string())))));
            return;
        };
        let had = incident.life.crew.as_deref().map(Arc::from);
        let mut facts = self.facts(&incident, place, request.told_at, now);
        self.know_names(&mut facts, &incident, &request.m, now);
        if let Some(place) = place.filter(|place| self.is_late(*place, &facts, &request.m, now)) {
            self.look_now(place, now, effects);
            incident = self.open[place].incident.clone();
        }
        let (event, told, answer) = match apply(&incident.life, &facts, now, &request.m) {
            Ok(applied) if applied.outcome == Outcome::Again => {
                let answer = Answer { incident, outcome: Outcome::Again };
                effects.push(Effect::Answered(Box::new(Ok(answer))));
                return;
            }
            Ok(applied) => {
                let known = incident.life.waiting.clone();
                let was_safe = incident.life.passed.is_some();
                incident.life = applied.life;
                if !was_safe {
                    self.name_way(&mut incident, now);
                }
                let covers = self.covered(&incident);
                if let Some(safe) = incident.life.safe.as_mut().filter(|_| !covers.is_empty()) {
                    safe.covers = covers;
                }
                if is_over(incident.life.state) && incident.life.over_through.is_none() {
                    incident.life.over_through = Some(self.heard_through(&incident, now));
                }
                let done = applied.outcome == Outcome::Done && self.is_worth_telling(request.m.verb);
                let told = done.then(|| request.m.verb.told_as()).flatten();
                let outcome = applied.outcome;
                let event = (outcome == Outcome::Done || known != incident.life.waiting)
                    .then(|| moved(&incident, &request.m, applied.times.at, now, &outcome));
                (event, told, Ok(Answer { incident: incident.clone(), outcome }))
            }
            Err(refused) => (tried(&incident, &request.m, &refused, now), None, Err(refused)),
        };
        if answer.is_ok() {
            self.renew(place, &incident, request.m.verb, now);
            self.renew_isolations();
        }
        if let Some(event) = event {
            let mut to = told.map(|word| self.addressed(&incident, word)).unwrap_or_default();
            if request.m.verb == Verb::Reassign {
                to.crews.extend(had.filter(|had| Some(&**had) != incident.life.crew.as_deref()));
            }
            effects.push(Effect::Moved { incident: Box::new(incident), event, told, to });
        }
        if let (Err(Refused::State { verb: Verb::Return, .. }), Some(place)) = (&answer, place) {
            self.back_up(place, request.m.by(), now, effects);
        }
        if let Ok(Answer { incident, outcome: Outcome::Done }) = &answer {
            match request.m.verb {
                Verb::Close => self.leave_recheck(incident, now, effects),
                Verb::Repair => self.ask_tilt_anew(incident, effects),
                _ => {}
            }
        }
        effects.push(Effect::Answered(Box::new(answer)));
    }

    /// The newest receipt that may have been evidence of an incident: after a clock step that is not `now`.
    fn heard_through(&self, incident: &Incident, now: Timestamp) -> Timestamp {
        let slot = self.slot_of_incident(incident);
        // Receipt is kept to the second.
        let heard = slot.and_then(|slot| self.slots[slot].heard_at()).map(|at| at + Millis::seconds(1));
        heard.map_or(now, |heard| heard.max(now)).max(incident.opened_at)
    }

    /// Puts the incident back as it is after a move; takes it off when it is over.
    fn renew(&mut self, place: Option<usize>, incident: &Incident, verb: Verb, now: Timestamp) {
        let Some(place) = place else {
            // Over already: an annotation.
            self.people.recent.retain(|known| known.id != incident.id);
            self.people.keep_ended(incident.clone());
            return;
        };
        self.open[place].incident = incident.clone();
        if verb == Verb::Repair {
            self.open[place].shown = crate::life::Calm::default();
        }
        if is_over(incident.life.state) {
            self.end(place);
        }
        self.schedule(place, now);
    }

    /// The incident at a place is over: what its post does next is another one.
    pub(super) fn end(&mut self, place: usize) {
        let open = &mut self.open[place];
        open.over = true;
        let (subject, incident) = (open.subject.clone(), open.incident.clone());
        self.free.push(place);
        self.ids.remove(&incident.id);
        if subject == Subject::Collapsed {
            let behind = self.slots.iter_mut().filter(|slot| slot.incident() == Some(place));
            behind.for_each(crate::slot::Slot::clear_incident);
        }
        if self.taking(&subject, incident.family) == Some(place) {
            self.release(&subject, incident.family);
            let same = |open: &super::Open| {
                let real = !open.over && !open.incident.life.drill;
                real && open.subject == subject && open.incident.family == incident.family
            };
            if let Some(older) = self.open.iter().position(same) {
                self.take(&subject, incident.family, older);
            }
        }
        if *incident.zone == *UNREGISTERED && !incident.life.drill && incident.told_place().is_none() {
            self.strangers_open = self.strangers_open.saturating_sub(1);
        }
        self.seed_ended(&incident);
        self.people.keep_ended(incident);
    }

    /// The deadline passed since the last tick, and with this move somebody comes or ends it: its breach is recorded before
    /// the move. A time that is taken for the deadline (`policy.md` 4) and lies before it is no breach.
    fn is_late(&self, place: usize, facts: &Facts, m: &Move, now: Timestamp) -> bool {
        let open = &self.open[place];
        let due_at = open.incident.due_at;
        let late = |life: Life| {
            let ended = is_over(life.state) || life.arrived.is_some();
            ended && life.is_breached(due_at, now)
        };
        due_at < now
            && awaits_somebody(open)
            && apply(&open.incident.life, facts, now, m).is_ok_and(|applied| late(applied.life))
    }

    /// A replay does not open it again, and what happens there within 30 days is linked to it.
    fn seed_ended(&mut self, incident: &Incident) {
        if let Some(at) = incident.life.over_through
            && !incident.life.drill
        {
            let key = Arc::from(format!("{}|{}", incident.family.name(), incident.about()));
            self.seed_last(&key, &incident.id, at);
        }
    }

    /// Remembers the last incident of a family and subject (`Reads::last_ended`) that is over, and when it ended. There are as many as the register
    /// holds, and invented devices: beyond `LAST_KEPT` posts no more are remembered.
    pub fn seed_last(&mut self, about: &Arc<str>, id: &Arc<str>, at: Timestamp) {
        let about = self.about_now(about);
        let last = &mut self.people.last;
        let newer = last.get(&about).is_some_and(|last| last.at > at);
        if !newer && (last.len() < LAST_KEPT || last.contains_key(&about)) {
            last.insert(about, super::people::Last { id: id.clone(), at });
        }
    }

    fn facts(
        &self,
        incident: &Incident,
        place: Option<usize>,
        told_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Facts {
        let post = incident.post_in(&self.register);
        let open = place.map(|place| &self.open[place]);
        let slot = self.slot_of_incident(incident);
        let slow = |slot: usize| {
            self.slots[slot].is(Fact::Unmonitored)
                || self.slots[slot].period() > self.policy.verify.manual_above
        };
        let heard = |slot: usize| self.slots[slot].heard_at().is_some();
        let live = || self.open.iter().filter(|open| !open.over && !open.incident.life.drill);
        let follows = |other: &&super::Open| other.incident.life.follows.contains(&incident.id);
        let of_parent = |other: &&super::Open| other.incident.life.parent.as_ref() == Some(&incident.id);
        Facts {
            id: incident.id.to_string(),
            p1: incident.severity == Severity::P1,
            signal: incident.signal,
            told_at: told_at.unwrap_or(incident.opened_at),
            heard_through: self.heard_through(incident, now),
            place: incident
                .told_place()
                .map(|place| (place.lon, place.lat))
                .or(post.map(|post| (post.lon, post.lat))),
            names: post.map_or_else(Vec::new, |post| {
                let names = [&*post.post_id, &*post.device_id, &*post.external_code, &*post.number];
                names.iter().filter(|name| !name.is_empty()).map(ToString::to_string).collect()
            }),
            calm: open.map(|open| open.shown).unwrap_or_default(),
            needs_hand_test: slot.is_none_or(|slot| slow(slot) || !heard(slot))
                || (incident.family != Family::Electric
                    && incident.kinds.iter().any(|kind| kind.is_for_people_only())),
            gone_for: (incident.family != Family::Electric)
                .then(|| incident.kinds.iter().map(|kind| kind.gone_for(&self.policy)).max())
                .flatten(),
            limits: self.hand_limits(slot, now),
            extent_open: self.extent_open(incident, slot),
            linked_open: live().filter(follows).map(|other| other.incident.id.to_string()).collect(),
            stranger: None,
            no_crew: None,
            is_next: false,
            own_repair: false,
            members: least_advanced(live().filter(of_parent).map(|other| &other.incident.life)),
            arrival: self.policy.arrival,
            verify: self.policy.verify,
            two_people: self.policy.two_people,
        }
    }

    /// Limits for a reading by hand: those in force at the post, the wet ones where there is none.
    fn hand_limits(&self, slot: Option<usize>, now: Timestamp) -> HandLimits {
        let of = |sampled| {
            let wet = || self.limit_when(sampled, false, true);
            slot.map_or_else(wet, |slot| self.limit(slot, sampled, false, now).0) as f64 / 1000.0
        };
        let live_band_v = self.policy.hand_test.live_band.thousandths() as f64 / 1000.0;
        HandLimits { shell_v: of(Sampled::Shell), leakage_ma: of(Sampled::Leak), live_band_v }
    }
}

/// True when samples of a quantity say something about an incident: a hazard told by a person concerns all.
fn concerns(incident: &Incident, sampled: Sampled) -> bool {
    let of = |kind: &Kind| {
        [sampled.critical(), sampled.warning(), Kind::Reported].contains(kind)
            || matches!(kind, Kind::ImmersedLeak | Kind::SatLeak | Kind::FlagOnly | Kind::SensorDrowned)
            || matches!(kind, Kind::CriticalThenSilent)
    };
    incident.kinds.iter().any(of)
}

/// The event of a move that was made, or that waits for a second person.
fn moved(incident: &Incident, m: &Move, at: Timestamp, now: Timestamp, outcome: &Outcome) -> Event {
    let (word, kind) = match outcome {
        Outcome::Second(_) => ("asked", "second_wanted"),
        _ => ("move", m.verb.name()),
    };
    let body = json!({
        "move": m.verb.name(), "by": m.by(), "actor": m.actor.name, "state": incident.life.state.name(),
        "at": at.to_rfc3339(), "received_at": now.to_rfc3339(), "body": m.body, "safety": incident.life.safety(),
    });
    Event {
        key: format!("{}:{word}:{}", incident.id, m.once()),
        incident: incident.id.clone(),
        at: now,
        kind,
        body: body.to_string(),
    }
}

/// The event of a move that was refused. A body that was wrong is the sender's to mend, and no event.
fn tried(incident: &Incident, m: &Move, refused: &Refused, now: Timestamp) -> Option<Event> {
    if matches!(refused, Refused::Body { .. }) {
        return None;
    }
    let body = json!({
        "move": m.verb.name(), "by": m.by(), "actor": m.actor.name, "state": incident.life.state.name(),
        "reason": refused.to_string(),
    });
    Some(Event {
        key: format!("{}:refused:{}:{}", incident.id, m.once(), now.0),
        incident: incident.id.clone(),
        at: now,
        kind: "refused",
        body: body.to_string(),
    })
}
