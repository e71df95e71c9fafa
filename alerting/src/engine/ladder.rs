//! The ladder of each open incident: who is told next when nobody comes (`policy.md` 5).
//!
//! `due` holds one moment for each incident at which time alone changes something about its telling. A tick looks at
//! those that are due and at no other; whatever changes an incident plans it anew ([`Engine::schedule`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde_json::json;

use super::duty::OnFeeder;
use super::flood::Flooded;
use super::{Aside, Effect, Engine, Open};
use crate::incident::{Event, Family, Incident, Kind, Severity};
use crate::ladder::{
    Ladder, Ladders, Milestones, Rung, Telling, Until, Which, desk_call, not_accepted, to_come,
};
use crate::life::{Stage, takes_evidence};
use crate::notice::{ESCALATED, HANDOVER};
use crate::rota::{Rota, Whom};

/// The event by which people are told that nobody stood there in time.
pub(super) const BREACHED: &str = "incident.breached";
/// The event by which the desk is asked to call a crew.
const CONFIRM_ARRIVAL: &str = "incident.confirm_arrival";

/// Everything about who is told when.
pub(super) struct Calling {
    /// Rungs are told; in a back-test nobody is there to climb.
    pub(super) on: bool,
    pub(super) ladders: Ladders,
    pub(super) rota: Arc<Rota>,
    /// When each incident is looked at, and its place.
    due: BTreeSet<(Timestamp, usize)>,
    /// A duty session had the board open.
    present_at: Timestamp,
    /// The first tick behind the replay of a start.
    live_since: Timestamp,
    /// Incidents whose crew is busy with them.
    pub(super) busy: BTreeSet<usize>,
    pub(super) feeders: Aside<Arc<str>, OnFeeder>,
    /// Feeders whose switching off is offered at the next tick.
    pub(super) offers: Vec<usize>,
    pub(super) flood: Flooded,
    /// When somebody else comes on duty somewhere; the past: not looked at yet.
    pub(super) shift_at: Timestamp,
    #[cfg(test)]
    pub(super) shifts: Option<super::Shifts>,
}

impl Calling {
    pub(super) fn new(policy: &crate::policy::Policy) -> Self {
        let mut ladders = Ladders::default();
        ladders.set_policy(&policy.system);
        Self {
            on: true,
            ladders,
            rota: Arc::new(Rota::default()),
            due: BTreeSet::new(),
            present_at: Timestamp(i64::MIN),
            live_since: Timestamp(i64::MIN),
            busy: BTreeSet::new(),
            feeders: Aside::default(),
            offers: Vec::new(),
            flood: Flooded::default(),
            shift_at: Timestamp(i64::MIN),
            #[cfg(test)]
            shifts: None,
        }
    }
}

/// What is told in one list: of one zone, rung, event word and crews of planned work that hear it too.
type Together = (Arc<str>, u32, &'static str, Vec<Arc<str>>);
/// What is to be told in lists.
pub(super) type Gathered = BTreeMap<Together, (Telling, Vec<usize>)>;

/// Why rungs are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Their time has come.
    Due,
    /// A message of the rung before did not go out.
    DeliveryFailed,
    /// Nobody has the board open.
    BoardClosed,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::DeliveryFailed => "delivery_failed",
            Self::BoardClosed => "board_closed",
        }
    }
}

impl Engine {
    /// Takes the ladders of a configuration, also while it runs: no deadline moves; a rung that the table has as one before
    /// had it stays told, the others are told at their times, those whose time is past at once.
    pub fn set_ladders(&mut self, mut ladders: Ladders) {
        ladders.set_policy(&self.policy.system);
        self.calling.ladders = ladders;
        self.schedule_all();
    }

    /// Nobody climbs: what would be told after the opening is left out. For back-tests, where nobody acts either.
    pub fn leave_ladders(&mut self) {
        self.calling.on = false;
    }

    /// Plans every open incident anew.
    pub(super) fn schedule_all(&mut self) {
        (0..self.open.len()).for_each(|place| self.schedule(place, self.advanced_at));
    }

    /// The ladder of an incident; none: nobody is called, it stands in lists.
    fn ladder(&self, incident: &Incident) -> Option<&Arc<Ladder>> {
        let called = incident.severity == Severity::P1 || incident.is_told();
        self.calling.ladders.of(incident, &self.register).filter(|_| self.calling.on && called)
    }

    /// A ladder begins: its first rung is the opening notice. Where planned work goes on it comes later, when the crew
    /// there has not answered. `told`: people hear of it.
    pub(super) fn begin_ladder(&self, incident: &mut Incident, told: bool, now: Timestamp) -> Telling {
        let to = self.opening(incident, now);
        let told = match incident.severity {
            Severity::P1 => incident.life.job.is_none() || to.urgent,
            // Of many dark lamps of a road one is told; what is due in a day stands in lists.
            _ => told,
        };
        if told {
            incident.life.climb.tell(0, None, now);
        }
        incident.life.climb.listed = to.grouped;
        to
    }

    /// What was raised before a restart counts for a flood.
    pub(super) fn seed_raised(&mut self, place: usize) {
        let incident = self.open[place].incident.clone();
        self.note_raised(&incident, incident.opened_at);
        self.schedule(place, self.advanced_at);
    }

    /// When the incident at a place is looked at next, after it has changed.
    pub(super) fn schedule(&mut self, place: usize, now: Timestamp) {
        let open = &self.open[place];
        // Before the first tick of a start nobody has said what time it is.
        let now = if now == Timestamp(i64::MIN) { open.incident.opened_at } else { now };
        let at = if open.over { None } else { self.next_look(open, now) };
        let known = std::mem::replace(&mut self.open[place].look_at, at);
        if known != at {
            known.map(|known| self.calling.due.remove(&(known, place)));
            at.map(|at| self.calling.due.insert((at, place)));
        }
        self.note_busy(place);
        self.note_feeder(place);
    }

    fn next_look(&self, open: &Open, now: Timestamp) -> Option<Timestamp> {
        let incident = &open.incident;
        let breach = awaits_somebody(open).then(|| incident.due_at + Millis(1));
        if !self.calling.on {
            return breach;
        }
        let ladder = self.ladder(incident);
        let rungs = ladder.map(|ladder| to_come(ladder, incident, &self.policy, now)).unwrap_or_default();
        let others = [
            breach,
            desk_call(incident, &self.policy),
            not_accepted(incident, &self.policy),
            self.closed(incident),
        ];
        rungs.into_iter().map(|(_, at)| at).chain(others.into_iter().flatten()).min()
    }

    /// When an incident has been there for too long with nobody at the board: a P1, or what people were told of.
    fn closed(&self, incident: &Incident) -> Option<Timestamp> {
        let life = &incident.life;
        let told = || life.climb.told.iter().find(|said| said.step == 0).map(|said| said.at);
        let called_at = if incident.severity == Severity::P1 { incident.p1_at } else { told() }?;
        let waits = takes_evidence(life.state) && life.state != Stage::Arrived;
        let system = incident.family == Family::System && Milestones::of(incident, &self.policy).is_none();
        let watched = self.calling.present_at.max(self.running_since).max(self.calling.live_since);
        // Nobody watched in a time that has not come.
        let watched = watched.min(self.advanced_at);
        let since = called_at.max(watched);
        (waits && !system && !life.climb.board_closed && !life.drill)
            .then(|| since + self.policy.watch.board_closed)
    }

    /// The next moment at which a tick tells somebody something.
    pub(super) fn next_call(&self) -> Option<Timestamp> {
        let offers = (!self.calling.offers.is_empty()).then_some(self.advanced_at);
        let due = self.calling.due.first().map(|(at, _)| *at);
        offers.into_iter().chain(due).chain(self.flood_ends()).min()
    }

    /// A duty session has the board open.
    pub(super) fn present(&mut self, at: Timestamp) {
        self.calling.present_at = at;
    }

    /// Tells what is due.
    pub(super) fn climb(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.replaying {
            return;
        }
        let at_start = self.calling.live_since == Timestamp(i64::MIN);
        if at_start {
            self.calling.live_since = now;
            self.schedule_all();
        }
        self.look_at_flood(now, effects);
        self.change_shifts(now, effects);
        self.offer_isolation(at_start, now, effects);
        if self.calling.due.first().is_none_or(|(at, _)| *at > now) {
            return;
        }
        // A clock that went back behind a word of the desk.
        self.calling.present_at = self.calling.present_at.min(now);
        let due: Vec<usize> = self.calling.due.range(..=(now, usize::MAX)).map(|(_, place)| *place).collect();
        let mut gathered = Gathered::new();
        for place in due {
            self.look_at_ladder(place, now, &mut gathered, effects);
            self.schedule(place, now);
        }
        self.tell_gathered(gathered, None, now, effects);
    }

    /// Behind a standstill: what a replay opens, and whose further rungs are due by `now`, is not told as an opening. The
    /// first tick tells it with them, so that each person gets one message, and the highest rung is what it says. Power that
    /// is back waits for no tick.
    pub fn join_rungs(&mut self, now: Timestamp, effects: &mut [Effect]) {
        let mut joined: Vec<Arc<str>> = Vec::new();
        for effect in effects {
            if let Effect::Open { incident, told, .. } | Effect::Escalated { incident, told, .. } = effect
                && *told
                && incident.severity == Severity::P1
                && incident.family != Family::Reenergised
                && let Some(place) = self.ids.get(&incident.id).copied()
                && self.goes_with_rungs(place, now)
            {
                *told = false;
                joined.push(incident.id.clone());
                self.open[place].incident.life.climb.forget_opening();
                self.schedule(place, now);
            }
            if let Effect::Open { incident, .. }
            | Effect::Escalated { incident, .. }
            | Effect::Changed { incident, .. }
            | Effect::Moved { incident, .. } = effect
                && joined.contains(&incident.id)
            {
                incident.life.climb.forget_opening();
            }
        }
    }

    /// An opening that was not told comes with further rungs by `now`. Where a crew stands there it would not come.
    fn goes_with_rungs(&self, place: usize, now: Timestamp) -> bool {
        let mut incident = self.open[place].incident.clone();
        incident.life.climb.forget_opening();
        let Some(ladder) = self.ladder(&incident) else { return false };
        let rungs = to_come(ladder, &incident, &self.policy, now);
        let due = |wanted: fn(usize) -> bool| rungs.iter().any(|(step, at)| wanted(*step) && *at <= now);
        due(|step| step == 0) && due(|step| step > 0)
    }

    /// Tells what is due of one incident before the next tick comes.
    pub(super) fn look_now(&mut self, place: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut gathered = Gathered::new();
        self.look_at_ladder(place, now, &mut gathered, effects);
        self.schedule(place, now);
        let id = self.open[place].incident.id.clone();
        self.tell_gathered(gathered, Some(&id), now, effects);
    }

    fn look_at_ladder(
        &mut self,
        place: usize,
        now: Timestamp,
        gathered: &mut Gathered,
        effects: &mut Vec<Effect>,
    ) {
        let open = &mut self.open[place];
        // Downtime across a deadline records it at the first tick, by the true times.
        let breached = awaits_somebody(open) && open.incident.due_at < now;
        if breached {
            open.incident.life.breached_at = Some(now);
        }
        let incident = &self.open[place].incident;
        let is_due = |at: Option<Timestamp>| self.calling.on && at.is_some_and(|at| at <= now);
        let (call, untaken, closed) = (
            is_due(desk_call(incident, &self.policy)),
            is_due(not_accepted(incident, &self.policy)),
            is_due(self.closed(incident)),
        );
        let ladder = self.ladder(incident);
        let rungs = ladder.map(|ladder| to_come(ladder, incident, &self.policy, now)).unwrap_or_default();
        let steps: Vec<(usize, Timestamp)> = rungs.into_iter().filter(|(_, at)| *at <= now).collect();
        if breached || !steps.is_empty() {
            self.fire(place, &steps, Why::Due, breached, now, gathered, effects);
        }
        if closed {
            self.ring_desk(place, now, gathered, effects);
        }
        if call {
            self.open[place].incident.life.climb.desk_calls = true;
            let body = json!({ "call": "arrival is not proven" });
            let key = format!("confirm_arrival:{}", now.0);
            self.say(place, now, &key, "call_wanted", &body, Some(CONFIRM_ARRIVAL), effects);
        }
        if untaken {
            if let Some(handover) = &mut self.open[place].incident.life.climb.handover {
                handover.desk_told = true;
            }
            let handover = self.open[place].incident.life.climb.handover.clone();
            let body = json!({ "not_accepted": true, "handover": handover });
            let at = handover.map_or(0, |handover| handover.at.0);
            self.say(
                place,
                now,
                &format!("not_accepted:{at}"),
                "not_accepted",
                &body,
                Some(HANDOVER),
                effects,
            );
        }
    }

    /// Nobody has the board open: the desk is rung, and the next rung goes at once; once for each incident. A P2 has no
    /// next one by the rules: its leader hears of it, or nobody would know before the morning.
    fn ring_desk(
        &mut self,
        place: usize,
        now: Timestamp,
        gathered: &mut Gathered,
        effects: &mut Vec<Effect>,
    ) {
        self.open[place].incident.life.climb.board_closed = true;
        let next = self.next_rung(place, None);
        self.fire(place, next.as_slice(), Why::BoardClosed, false, now, gathered, effects);
    }

    /// The rung that would come next: behind one of which a message failed, or on the way to a crew that goes.
    fn next_rung(&self, place: usize, failed: Option<usize>) -> Option<(usize, Timestamp)> {
        let incident = &self.open[place].incident;
        let ladder = self.ladder(incident)?;
        let milestones = Milestones::of(incident, &self.policy)?;
        let climb = &incident.life.climb;
        let until = match failed {
            Some(step) if step < ladder.rungs.len() => ladder.rungs[step].until,
            // Of a table that was longer: as where nobody is at the board.
            _ if milestones.acknowledged.is_none() => Until::Acknowledged,
            _ => Until::Departed,
        };
        let failed = failed.filter(|step| *step < ladder.rungs.len());
        let waits = |(step, rung): (usize, &Rung)| {
            let behind = failed.is_none_or(|failed| step > failed) && rung.until == until;
            let first =
                milestones.first(ladder, step).filter(|_| behind && climb.told_at(step, rung).is_none());
            first.map(|at| (step, at))
        };
        ladder.rungs.iter().enumerate().filter_map(waits).min_by_key(|(step, at)| (*at, *step))
    }

    /// What became of a message that named an incident: the first that was accepted makes it told; one that was not
    /// sends the next rung at once. `step`: that of the message; of a list, on which the incident stood when it was made.
    pub(super) fn delivered(
        &mut self,
        now: Timestamp,
        id: &str,
        step: u32,
        accepted: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(place) = self.ids.get(id).copied() else { return };
        let life = &mut self.open[place].incident.life;
        if accepted {
            if life.told_at.is_none() {
                life.told_at = Some(now);
                effects.push(Effect::Shown(Box::new(self.open[place].incident.clone())));
            }
            return;
        }
        if self.replaying || life.climb.jumped.contains(&step) {
            return;
        }
        let Some(next) = self.next_rung(place, Some(step as usize)) else { return };
        self.open[place].incident.life.climb.jumped.push(step);
        let mut gathered = Gathered::new();
        self.fire(place, &[next], Why::DeliveryFailed, false, now, &mut gathered, effects);
        self.schedule(place, now);
        // A list that fails sends on all that it names, in one moment.
        self.tell_gathered(gathered, Some(id), now, effects);
    }

    /// Tells rungs of one incident: several that became due together are one telling, the highest first.
    #[expect(clippy::too_many_arguments, reason = "a telling is made of this much")]
    fn fire(
        &mut self,
        place: usize,
        steps: &[(usize, Timestamp)],
        why: Why,
        breached: bool,
        now: Timestamp,
        gathered: &mut Gathered,
        effects: &mut Vec<Effect>,
    ) {
        let incident = &self.open[place].incident;
        let (family, ladder) = (incident.family, self.ladder(incident).cloned().unwrap_or_default());
        let highest = steps.iter().copied().max_by_key(|(step, _)| *step);
        let mut to =
            if why == Why::BoardClosed { to_desk(incident, steps.is_empty()) } else { Telling::default() };
        let breach = ladder.breach().filter(|_| breached && incident.severity == Severity::P1);
        // Where nobody climbs, the desk alone hears of a breach.
        if breached && incident.severity == Severity::P1 && breach.is_none() {
            to.and(&[Whom::Desk]);
        }
        let numbers = breach.into_iter().chain(steps.iter().rev().map(|(step, _)| *step));
        for rung in numbers.filter_map(|step| ladder.rungs.get(step)) {
            to.and(&rung.to);
        }
        if steps.iter().any(|(step, _)| *step == 0) && incident.severity == Severity::P1 {
            to.crews.extend(incident.life.relieved.as_deref().map(Arc::from));
            if incident.life.climb.called_at.is_none() {
                // It was not told as an opening: whoever was to hear of that hears of this.
                let opening = self.opening(incident, now);
                to.and(&opening.whom);
            }
        }
        to.step = highest.map_or(0, |(step, _)| step).max(breach.unwrap_or(0)) as u32;
        to.again = steps.iter().any(|(_, at)| *at < self.calling.live_since);
        for (step, _) in steps {
            // One that repeats keeps its own times when it is told before them.
            let early = why != Why::Due && ladder.rungs.get(*step).is_some_and(|rung| rung.every.is_some());
            if !early {
                let which = ladder.rungs.get(*step).filter(|_| family != Family::System).map(Which::of);
                self.open[place].incident.life.climb.tell(*step, which, now);
            }
        }
        let incident = &self.open[place].incident;
        let mut to = self.made_for(incident, to);
        let p1 = incident.severity == Severity::P1;
        let word = match breached {
            true if p1 => Some(BREACHED),
            // The breach of a P2 is counted; a rung that falls on it is told.
            true => (!steps.is_empty()).then_some(ESCALATED),
            false => Some(ESCALATED),
        };
        let word = word.filter(|_| !to.is_empty());
        // What is not real makes no crowd and stands in no list.
        let alone = to.urgent || incident.life.drill;
        to.grouped = word.is_some() && self.calling.on && !alone && self.crowds(now);
        if let (true, Some(word)) = (to.grouped, word) {
            let zone = self.open[place].incident.zone_in(&self.register).clone();
            gather(gathered, (zone, to.step, word, to.crews.clone()), &to, place);
            if !breached {
                return;
            }
        }
        let incident = &self.open[place].incident;
        let at = highest.map_or(incident.due_at, |(_, at)| at);
        let steps: Vec<usize> = steps.iter().map(|(step, _)| *step).collect();
        let mut body = json!({
            "reason": why.name(), "step": to.step, "steps": steps, "whom": to.whom, "rung_due_at": at.to_rfc3339(),
        });
        let (key, kind) = if breached {
            body["due_at"] = json!(incident.due_at.to_rfc3339());
            body["crew"] = json!(incident.life.crew);
            (format!("breached:{}", incident.severity.name()), "breached")
        } else {
            let name = match why {
                Why::Due => "rung",
                // The P1 that it may become is another word, also when both have no rung left.
                Why::BoardClosed if !p1 => "board_closed:P2",
                Why::BoardClosed | Why::DeliveryFailed => why.name(),
            };
            (format!("{name}:{}:{}", to.step, at.0), "rung")
        };
        let told = word.filter(|_| !to.grouped);
        let event = event_of(incident, now, &key, kind, &body);
        effects.push(Effect::Moved { incident: Box::new(incident.clone()), event, told, to });
    }
}

fn gather(gathered: &mut Gathered, key: Together, to: &Telling, place: usize) {
    let (all, places) = gathered.entry(key).or_insert_with(|| (to.clone(), Vec::new()));
    all.and(&to.whom);
    all.again |= to.again;
    places.push(place);
}

/// Whom it rings that nobody is at the board: the desk, and where no rung is left of a P2 its leader; of a dark lamp the
/// ladder ends at the desk.
fn to_desk(incident: &Incident, last: bool) -> Telling {
    let mut to = Telling { loud: true, ..Telling::to(&[Whom::Desk]) };
    if last && incident.severity < Severity::P1 && incident.evidence.kind != Kind::LampOut {
        to.and(&[Whom::Leader]);
    }
    to
}

/// An event of an incident.
pub(super) fn event_of(
    incident: &Incident,
    now: Timestamp,
    key: &str,
    kind: &'static str,
    body: &serde_json::Value,
) -> Event {
    let id = incident.id.clone();
    Event { key: format!("{id}:{key}"), incident: id, at: now, kind, body: body.to_string() }
}

/// True when somebody is to stand there, nobody has, and that was not recorded yet.
pub(super) fn awaits_somebody(open: &Open) -> bool {
    let life = &open.incident.life;
    let waits = life.arrived.is_none() && life.breached_at.is_none();
    !open.over && waits && open.incident.due().is_some()
}
