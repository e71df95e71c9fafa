//! What people do: acknowledge, drive, work, forget, tap twice, ask the desk to write it down.

use std::collections::BTreeMap;
use std::sync::Arc;

use lampguard_alerting::life::{
    Actor, Channel as Way, Extent, HandReading, Method, Move, MoveBody, Position, Stage, Verb, is_over,
};
use lampguard_alerting::notice::Notice;
use lampguard_alerting::{Family, Incident, Input, MoveRequest, Severity};
use lampguard_model::{Millis, Register};

use super::breakers::Order;
use super::office::{DESK, Office, Role};
use super::people::{Spot, between, hears, travel};
use super::world::{Event, Night};
use crate::bench::random::Random;

/// A move that was refused is tried again so often.
const TRIES_MAX: u32 = 6;
/// And so much later.
const AGAIN: Millis = Millis::minutes(10);
/// The desk leaves its place in so many of its half hours.
const AWAY: f64 = 0.08;

/// Somebody above, or the desk, called by voice.
const CALLED: &str = "call";

/// Who drives together.
#[derive(Clone, Debug)]
pub(super) struct Crew {
    pub(super) spot: Spot,
    /// What they are with.
    pub(super) with: Option<Arc<str>>,
    /// For what they have set out.
    pub(super) set_out: Option<Arc<str>>,
    /// What they have heard of, the oldest first.
    pub(super) known: Vec<Arc<str>>,
}

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) person: Arc<str>,
    pub(super) incident: Arc<str>,
    pub(super) verb: Verb,
    /// For how often this is.
    pub(super) tries: u32,
}

impl Crew {
    /// Every crew, each in the middle of its zone.
    pub(super) fn all(office: &Office, register: &Register) -> BTreeMap<Arc<str>, Self> {
        let middle = |zone: &str| {
            let (mut sum, mut count) = ((0.0, 0.0), 0.0);
            for post in register.posts().iter().filter(|post| *post.zone == *zone) {
                sum = (sum.0 + post.lon, sum.1 + post.lat);
                count += 1.0;
            }
            (sum.0 / f64::max(count, 1.0), sum.1 / f64::max(count, 1.0))
        };
        let of = |id: &Arc<str>| {
            let zone = id.rsplit_once('-').map_or("", |(zone, _)| zone);
            (id.clone(), Self { spot: middle(zone), with: None, set_out: None, known: Vec::new() })
        };
        office.rota.crews.keys().map(of).collect()
    }

    /// It is with nothing any more.
    pub(super) fn free(&mut self) {
        self.set_out = None;
        if let Some(id) = self.with.take() {
            self.known.retain(|known| *known != id);
        }
    }
}

fn of_span(random: &mut Random, [from_s, to_s]: [f64; 2]) -> Millis {
    between(random, from_s, to_s)
}

impl Night {
    /// The desk is away for four minutes in some half hours.
    pub(super) fn desk_is_away(&self) -> bool {
        let half = Millis::minutes(30).0;
        let (slot, inside) = (self.now.0.div_euclid(half), self.now.0.rem_euclid(half));
        let drawn = Random(self.seed ^ slot.unsigned_abs().rotate_left(17)).share();
        drawn < AWAY && inside < Millis::minutes(4).0
    }

    /// A message is on somebody's telephone.
    pub(super) fn reaches(&mut self, notice: &Notice, rings: bool, incidents: Vec<Arc<str>>) {
        let Some((person, role)) = self.office.roles.get_key_value(&*notice.to) else { return };
        let (person, role) = (person.clone(), role.clone());
        let active = if role == Role::Desk { Some(self.now) } else { self.active.get(&person).copied() };
        if let Some(at) = hears(&mut self.random, self.seed, &person, rings, active, self.now) {
            // Who reads a list reads what stands on its lines too.
            for (id, word) in
                notice.listed_words().filter(|(id, _)| incidents.iter().any(|one| **one == **id))
            {
                let (person, incidents) = (person.clone(), vec![Arc::from(id)]);
                self.at(at, Event::Heard { person, incidents, word: word.to_owned() });
            }
            self.at(at, Event::Heard { person, incidents, word: notice.event.clone() });
        }
    }

    /// Somebody takes notice.
    pub(super) fn heard(&mut self, person: &Arc<str>, incidents: &[Arc<str>], word: &str) {
        let Some(role) = self.office.roles.get(person).cloned() else { return };
        self.active.insert(person.clone(), self.now);
        match role {
            Role::Crew(crew) => {
                self.remind(&crew, person, incidents, word);
                self.take_next(&crew, person);
            }
            Role::Desk => incidents.iter().for_each(|id| self.desk_hears(id, word)),
            Role::Above => incidents.iter().for_each(|id| self.call_crew(id)),
        }
    }

    /// A crew hears of incidents; what it forgot to tap it taps now.
    fn remind(&mut self, crew: &Arc<str>, person: &Arc<str>, incidents: &[Arc<str>], word: &str) {
        for id in incidents {
            if self.hears_of_handover(crew, person, id, word == CALLED) {
                continue;
            }
            let Some(team) = self.crews.get_mut(crew) else { return };
            if !team.known.contains(id) {
                team.known.push(id.clone());
            }
            let with_it = team.with.as_ref() == Some(id);
            let (stage, taken) = self
                .board
                .get(id)
                .map_or((None, true), |incident| (Some(incident.life.state), incident.life.taken.is_some()));
            let on_the_way = matches!(stage, Some(Stage::Acknowledged | Stage::Departed));
            if with_it && on_the_way && !taken {
                // It has become a P1 since: they say once more that they have it.
                self.does(person, id, Verb::Acknowledge, [10.0, 60.0]);
            } else if with_it && stage == Some(Stage::Acknowledged) && self.random.share() < 0.6 {
                self.does(person, id, Verb::Depart, [5.0, 40.0]);
            }
        }
    }

    /// A free crew that is on duty takes the oldest P1 that it knows and nobody has; where there is none, the oldest of
    /// those warnings for which somebody has to come within half an hour too.
    pub(super) fn take_next(&mut self, crew: &Arc<str>, person: &Arc<str>) {
        let (board, works) = (&self.board, self.office.works(crew, self.now));
        let is_p1 = |id: &Arc<str>| board.get(id).is_some_and(|one| one.severity == Severity::P1);
        let waits = |id: &Arc<str>| {
            board.get(id).is_some_and(|incident| {
                let life = &incident.life;
                let free = life.taken.is_none() && life.arrived.is_none() && !is_over(life.state);
                let warned = incident.is_told() && incident.family == Family::Electric;
                free && (warned || incident.severity == Severity::P1) && incident.family != Family::System
            })
        };
        let free = |team: &&mut Crew| works && team.with.is_none();
        let Some(team) = self.crews.get_mut(crew).filter(free) else { return };
        team.known.retain(waits);
        let first = team.known.iter().find(|id| is_p1(id)).or(team.known.first());
        let Some(id) = first.cloned() else { return };
        team.with = Some(id.clone());
        self.does(person, &id, Verb::Acknowledge, [10.0, 75.0]);
    }

    /// The desk hears: what the system needs it looks after, and it calls crews whose arrival is not proven.
    fn desk_hears(&mut self, id: &Arc<str>, word: &str) {
        let Some(incident) = self.board.get(id) else { return };
        let desk: Arc<str> = Arc::from(DESK);
        if incident.family == Family::System && incident.life.acknowledged.is_none() {
            self.does(&desk, id, Verb::Acknowledge, [20.0, 120.0]);
        } else if word == "incident.handover" {
            self.call_relief(id);
        } else if word == "incident.isolation_offered" {
            self.does(&desk, id, Verb::RequestIsolation, [60.0, 240.0]);
        } else if word == "incident.confirm_arrival" {
            self.does(&desk, id, Verb::ConfirmArrival, [30.0, 120.0]);
        } else if matches!(word, "incident.escalated" | "incident.breached") {
            self.call_crew(id);
        }
    }

    /// Somebody above calls the crew of a zone, or its back-up, by voice: they may wake.
    fn call_crew(&mut self, id: &Arc<str>) {
        let Some(incident) = self.board.get(id) else { return };
        if incident.life.taken.is_some() || incident.severity < Severity::P1 {
            return;
        }
        if self.office.rota.zones.contains_key(&incident.zone) {
            let backup = format!("{}-B", incident.zone);
            [self.office.on_duty(&incident.zone, self.now), backup]
                .iter()
                .for_each(|crew| self.call(crew, id));
        }
    }

    /// Nobody has taken over: the desk calls the crew that is on duty now.
    fn call_relief(&mut self, id: &Arc<str>) {
        let zone = self.board.get(id).map(|incident| incident.zone.clone());
        if let Some(zone) = zone.filter(|zone| self.office.rota.zones.contains_key(zone)) {
            let crew = self.office.on_duty(&zone, self.now);
            self.call(&crew, id);
        }
    }

    fn call(&mut self, crew: &str, id: &Arc<str>) {
        let member: Arc<str> = Arc::from(format!("{crew}{}", 1 + self.random.below(2)));
        let at = self.now + between(&mut self.random, 20.0, 90.0);
        let active = self.active.get(&member).copied();
        if let Some(at) = hears(&mut self.random, self.seed, &member, true, active, at) {
            let incidents = vec![id.clone()];
            self.at(at, Event::Heard { person: member, incidents, word: CALLED.to_owned() });
        }
    }

    /// Plans an act.
    pub(super) fn does(&mut self, person: &Arc<str>, id: &Arc<str>, verb: Verb, span_s: [f64; 2]) {
        self.does_again(person, id, verb, 1, span_s);
    }

    /// The same for the given time.
    pub(super) fn does_again(
        &mut self,
        person: &Arc<str>,
        id: &Arc<str>,
        verb: Verb,
        tries: u32,
        span_s: [f64; 2],
    ) {
        let at = self.now + of_span(&mut self.random, span_s);
        let (person, incident) = (person.clone(), id.clone());
        self.at(at, Event::Act(Step { person, incident, verb, tries }));
    }

    /// Somebody does something, and what follows from it.
    pub(super) fn act(&mut self, step: Step) {
        let Some(incident) = self.board.get(&step.incident).cloned() else { return };
        if self.relieves(&step, &incident) {
            return;
        }
        self.active.insert(step.person.clone(), self.now);
        let made = self.make_move(&step, &incident, step.tries);
        if made == Some(true) && self.random.share() < 0.25 {
            // A second tap, the same once more.
            self.log.taps += 1;
            if self.make_move(&step, &incident, step.tries) != Some(false) {
                self.log.doubled.push(step.incident.clone());
            }
        }
        let crew = self.office.crew_of(&step.person).cloned();
        if made == Some(true) {
            self.goes_on(&step, &incident, crew.as_ref());
            return;
        }
        match (step.verb, crew) {
            // Somebody else was faster; another of the own crew was with what it is with.
            (Verb::Acknowledge, Some(crew)) => {
                if incident.life.crew.as_deref().and_then(|name| self.office.crew_of(name)) != Some(&crew) {
                    self.set_free(&crew, &step.person);
                }
            }
            (Verb::Depart | Verb::Accept | Verb::RequestIsolation, _) => {}
            (Verb::Arrive | Verb::MakeSafe, Some(crew)) if step.tries >= 2 => {
                self.set_free(&crew, &step.person);
            }
            _ if step.tries < TRIES_MAX => {
                let at = self.now + AGAIN;
                self.at(at, Event::Act(Step { tries: step.tries + 1, ..step }));
            }
            _ => self.log.given_up += 1,
        }
    }

    fn set_free(&mut self, crew: &Arc<str>, person: &Arc<str>) {
        if let Some(team) = self.crews.get_mut(crew) {
            team.free();
        }
        self.take_next(crew, person);
    }

    /// What comes behind a move that was made.
    fn goes_on(&mut self, step: &Step, incident: &Incident, crew: Option<&Arc<str>>) {
        let (person, id) = (&step.person, &step.incident);
        let desk: Arc<str> = Arc::from(DESK);
        match (step.verb, crew) {
            (Verb::Acknowledge, Some(crew)) => self.sets_out(crew, person, id, incident),
            (Verb::Arrive, Some(crew)) => {
                if let (Some(team), Some(spot)) = (self.crews.get(crew).cloned(), self.spot(incident)) {
                    self.crews.insert(crew.clone(), Crew { spot, ..team });
                }
                self.opens_breaker(incident);
                let slow = self.random.share() < 0.12;
                self.does(person, id, Verb::MakeSafe, if slow { [720.0, 1500.0] } else { [120.0, 560.0] });
            }
            (Verb::MakeSafe, Some(crew)) => {
                let guards = self.board.get(id).is_some_and(|now| {
                    now.life.safe.as_ref().is_some_and(|safe| safe.method == Method::Guarded)
                });
                self.is_dead(incident);
                // Whoever guards stays until it is repaired; a barrier and an open breaker stand alone.
                let span = if guards { [900.0, 2700.0] } else { [3600.0, 3.0 * 3600.0] };
                self.does(person, id, Verb::Repair, span);
                if !guards {
                    self.set_free(crew, person);
                }
            }
            (Verb::Repair, Some(crew)) => {
                if !incident.post_id.is_empty() {
                    self.orders.push(Order::Repair(incident.post_id.clone()));
                }
                if incident.life.isolation_in_force().is_some() {
                    self.does(person, id, Verb::Restore, [300.0, 1200.0]);
                }
                if self.crews.get(crew).is_some_and(|team| team.with.as_ref() == Some(id)) {
                    self.set_free(crew, person);
                }
                self.does(&desk, id, Verb::Verify, [2400.0, 4000.0]);
            }
            (Verb::Restore, _) => self.gives_back(incident),
            (Verb::Accept, Some(crew)) => self.takes_over(crew, person, id),
            (Verb::RequestIsolation, _) => self.asks_power_company(id, step.tries),
            (Verb::Verify, _) => self.does(&desk, id, Verb::Close, [30.0, 120.0]),
            _ => {}
        }
    }

    /// Out of the depot, through the rain; some forget to tap that they left.
    fn sets_out(&mut self, crew: &Arc<str>, person: &Arc<str>, id: &Arc<str>, incident: &Incident) {
        if let Some(team) = self.crews.get_mut(crew) {
            if team.set_out.as_ref() == Some(id) {
                return;
            }
            team.set_out = Some(id.clone());
        }
        let getting_ready = match self.random.share() {
            slow if slow < 0.05 => [330.0, 660.0],
            _ => [40.0, 210.0],
        };
        let leaves = of_span(&mut self.random, getting_ready);
        if self.random.share() < 0.9 {
            let step = Step { person: person.clone(), incident: id.clone(), verb: Verb::Depart, tries: 1 };
            self.at(self.now + leaves, Event::Act(step));
        }
        let way = match (self.crews.get(crew), self.spot(incident)) {
            (Some(team), Some(spot)) => travel(team.spot, spot, self.rain_at(&incident.zone)),
            _ => Millis::minutes(10),
        };
        let step = Step { person: person.clone(), incident: id.clone(), verb: Verb::Arrive, tries: 1 };
        self.at(self.now + leaves + way, Event::Act(step));
    }

    /// Makes a move: by the own telephone, or by the desk's hand. True when it was made, false when it was known
    /// already, none when it was refused.
    fn make_move(&mut self, step: &Step, incident: &Incident, number: u32) -> Option<bool> {
        let by_desk = *step.person == *DESK;
        // Of the P1 that a warning has become it is another word.
        let since = incident.p1_at.map_or(0, |at| at.0);
        let key = format!("{}-{number}-{since}", step.verb.name());
        // The same way for a second tap.
        let drawn = Random(self.seed ^ incident.opened_at.0.unsigned_abs() ^ step.verb as u64).share();
        let calls_desk = !by_desk && drawn < 0.2;
        let mut body = MoveBody { key, ..MoveBody::default() };
        let mut actor = Actor { name: step.person.to_string(), desk: by_desk };
        if calls_desk {
            body.on_behalf_of = Some(step.person.to_string());
            body.channel = if drawn < 0.1 { Way::Phone } else { Way::Radio };
            actor = Actor { name: DESK.to_owned(), desk: true };
        }
        match step.verb {
            Verb::Arrive => {
                // One in eight forgets the place: not proven, the desk calls.
                if let Some((lon, lat)) = self.spot(incident).filter(|_| drawn < 0.875) {
                    body.position = Some(Position { lon, lat, accuracy_m: Some(15.0) });
                }
            }
            Verb::MakeSafe => {
                body.method = Some(if drawn < 0.5 { Method::Guarded } else { Method::Barrier });
                if self.isolates(incident) {
                    (body.method, body.extent) = (Some(Method::Isolated), Some(Extent::Feeder));
                    body.breaker = Some("QF1".to_owned());
                }
            }
            Verb::Repair => {
                (body.cause, body.parts) = (Some("insulation".to_owned()), Some("cable, clamp".to_owned()));
                body.reading = Some(HandReading { shell_v: Some(0.2), ..HandReading::default() });
            }
            Verb::RequestIsolation => {
                (body.to, body.breaker) = (Some("Power company".to_owned()), Some("QF1".to_owned()));
                let unanswered = incident.life.isolation.last().is_some_and(|asked| asked.answer.is_none());
                body.answer = unanswered.then(|| if drawn < 0.5 { "done" } else { "refused" }.to_owned());
            }
            Verb::Verify => body.reason = Some("looked at by the second crew".to_owned()),
            _ => {}
        }
        let m = Move { verb: step.verb, actor, body };
        let told_at = self.told_at.get(&step.incident).copied();
        let stored = is_over(incident.life.state).then(|| Box::new(incident.clone()));
        let request = MoveRequest { id: step.incident.clone(), stored, told_at, m };
        self.answer = None;
        self.log.moves += 1;
        self.step(Input::Move(&request));
        match self.answer.take() {
            Some(Ok(done)) => Some(done),
            Some(Err(_)) | None => {
                self.log.refused += 1;
                None
            }
        }
    }
}
