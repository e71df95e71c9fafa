//! Who goes, and who else has to know: busy crews, changes of shift, feeders with many dangers, crews that stand in an
//! extent that is live again (`policy.md` 5).

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_model::Timestamp;
use serde_json::json;

use super::isolation::is_covering;
use super::ladder::event_of;
use super::{Effect, Engine};
use crate::incident::{Family, Incident, Severity};
use crate::ladder::{Handover, Telling, crew_named};
use crate::life::{Life, Method, Stage, Verb, is_over, takes_evidence};
use crate::notice::{HANDOVER, HELP, ISOLATION_OFFERED};
use crate::rota::{Crew, OnDuty, Rota, Whom};

/// At a change of shift more than so many incidents of a zone go in a list.
const HANDOVERS_MAX: usize = 3;

/// Dangers on one feeder.
#[derive(Debug, Default)]
pub(super) struct OnFeeder {
    count: u32,
    offered: bool,
}

/// A crew is busy with it: on its way, there, or guarding.
fn is_busy(life: &Life) -> bool {
    let guarding = || life.safe.as_ref().is_some_and(|safe| safe.method == Method::Guarded);
    match life.state {
        Stage::Departed | Stage::Arrived => life.clear.is_none(),
        Stage::MadeSafe => guarding() && life.clear.is_none(),
        _ => false,
    }
}

impl Engine {
    /// Another rota is in force from now on.
    pub fn set_rota(&mut self, rota: Arc<Rota>) {
        self.calling.rota = rota;
        self.calling.shift_at = Timestamp(i64::MIN);
    }

    /// Changes of shift for tests.
    #[cfg(test)]
    pub(crate) fn set_shifts(&mut self, shifts: super::Shifts) {
        (self.calling.shifts, self.calling.shift_at) = (Some(shifts), Timestamp(i64::MIN));
    }

    pub(super) fn on_duty(&self, zone: &str, at: Timestamp) -> OnDuty {
        #[cfg(test)]
        if let Some(shifts) = &self.calling.shifts {
            return shifts(zone, at);
        }
        self.calling.rota.on_duty_now(zone, at)
    }

    /// Since when the crew on duty in a zone is.
    fn turn_began(&self, zone: &str, now: Timestamp) -> Timestamp {
        #[cfg(test)]
        if self.calling.shifts.is_some() {
            return Timestamp(i64::MIN);
        }
        self.calling.rota.turn_began(zone, now)
    }

    /// When somebody else comes on duty in a zone.
    fn shift_ends(&self, zone: &str, now: Timestamp) -> Option<Timestamp> {
        #[cfg(test)]
        if let Some(shifts) = &self.calling.shifts {
            return shifts(zone, now).until;
        }
        self.calling.rota.on_duty(zone, now).until
    }

    /// Who is on duty, and how people are reached.
    pub fn rota(&self) -> &Arc<Rota> {
        &self.calling.rota
    }

    pub(super) fn note_busy(&mut self, place: usize) {
        let open = &self.open[place];
        if !open.over && is_busy(&open.incident.life) && !open.incident.life.drill {
            self.calling.busy.insert(place);
        } else {
            self.calling.busy.remove(&place);
        }
    }

    /// Counts the P1 of a feeder that nobody has made safe.
    pub(super) fn note_feeder(&mut self, place: usize) {
        let open = &self.open[place];
        let incident = &open.incident;
        let counts = !open.over
            && incident.severity == Severity::P1
            && !incident.feeder.is_empty()
            && takes_evidence(incident.life.state)
            && !incident.life.drill;
        if counts == open.on_feeder {
            return;
        }
        let (feeder, offered) = (incident.feeder.clone(), incident.life.climb.isolation_offered);
        self.open[place].on_feeder = counts;
        let known = self.calling.feeders.entry(feeder.clone()).or_default();
        if !counts {
            known.count = known.count.saturating_sub(1);
            if known.count == 0 {
                self.calling.feeders.remove(&feeder);
            }
            return;
        }
        known.count += 1;
        known.offered |= offered;
        if known.count >= self.policy.isolation.offer_from && !known.offered && self.calling.on {
            known.offered = true;
            self.calling.offers.push(place);
        }
    }

    /// Many dangers on one feeder: the desk is offered to have it switched off.
    /// `at_start`: what came before it was counted out of the store.
    pub(super) fn offer_isolation(&mut self, at_start: bool, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in std::mem::take(&mut self.calling.offers) {
            let open = &self.open[place];
            let feeder = open.incident.feeder.clone();
            let count = self.calling.feeders.get(&feeder).map_or(0, |known| known.count);
            // A start counts them one after the other, and may come later to the one with which it was offered.
            let was = |open: &super::Open| {
                let here = open.on_feeder && *open.incident.feeder == *feeder;
                here && open.incident.life.climb.isolation_offered
            };
            if open.over || count == 0 || self.open.iter().any(was) {
                continue;
            }
            self.open[place].incident.life.climb.isolation_offered = true;
            let body = json!({ "feeder": feeder, "p1": count, "body": { "note": format!("{feeder}: {count} × P1") } });
            let incident = &self.open[place].incident;
            // The one with which it was offered may be safe or over by now.
            let to = Telling { again: at_start, ..self.addressed(incident, ISOLATION_OFFERED) };
            let event =
                event_of(incident, now, &format!("isolation_offered:{}", now.0), "isolation_offered", &body);
            let (incident, told) = (Box::new(incident.clone()), Some(ISOLATION_OFFERED));
            effects.push(Effect::Moved { incident, event, told, to });
        }
    }

    /// Who is told that an incident opened, or became a P1.
    pub(super) fn opening(&self, incident: &Incident, now: Timestamp) -> Telling {
        let life = &incident.life;
        let first = self.calling.ladders.of(incident, &self.register).and_then(|ladder| ladder.rungs.first());
        let mut to = Telling::to(first.map_or(&[Whom::Crew, Whom::Desk], |rung| &rung.to));
        if incident.family == Family::System || incident.severity < Severity::P1 {
            return self.made_for(incident, to);
        }
        to.crews.extend(life.relieved.as_deref().map(Arc::from));
        if incident.evidence.kind == crate::incident::Kind::Reenergised {
            to.crews.extend(self.crews_in_extent(incident));
        } else if life.job.is_some() {
            to.whom = vec![Whom::Desk];
        } else {
            let (crew, backup) = self.busy(incident.zone_in(&self.register), now);
            if crew {
                to.and(&[Whom::BackupCrew]);
            }
            if crew && backup {
                to.and(&[Whom::Neighbour, Whom::Leader]);
            }
        }
        self.made_for(incident, to)
    }

    /// Who would be told of its opening.
    pub fn opening_of(&self, incident: &Incident, now: Timestamp) -> Telling {
        Telling { grouped: true, ..self.opening(incident, now) }
    }

    /// Whether the crew of a zone and its back-up have their hands full.
    fn busy(&self, zone: &str, now: Timestamp) -> (bool, bool) {
        if self.calling.busy.is_empty() {
            return (false, false);
        }
        let duty = self.on_duty(zone, now);
        let (mut crew, mut backup) = (false, false);
        for incident in self.calling.busy.iter().map(|place| &self.open[*place].incident) {
            let owner = incident.life.crew.as_deref().and_then(|name| crew_named(&self.calling.rota, name));
            match owner {
                Some(owner) => {
                    crew |= duty.crew.as_ref().is_some_and(|crew| crew.id == owner.id);
                    backup |= duty.backup.as_ref().is_some_and(|crew| crew.id == owner.id);
                }
                // Whoever it is, he is with what the zone's crew would be with.
                None => crew |= **incident.zone_in(&self.register) == *zone,
            }
        }
        (crew, backup)
    }

    /// The crew that has an incident is another one than that on duty there: it took it in another turn, or as a back-up.
    pub(super) fn is_relieved(&self, incident: &Incident, now: Timestamp) -> bool {
        let Some(name) = incident.life.crew.as_deref() else { return false };
        let owner = crew_named(&self.calling.rota, name);
        let duty = self.on_duty(incident.zone_in(&self.register), now).crew;
        // Somebody may be in several crews.
        let is_own = |crew: &Arc<Crew>| crew.members.iter().any(|one| *one.name == *name);
        owner.zip(duty).is_some_and(|(owner, duty)| owner.id != duty.id && !is_own(&duty))
    }

    /// Crews that work where an incident shows, on its feeder or at its post: those of incidents and of planned work.
    fn crews_in_extent(&self, incident: &Incident) -> Vec<Arc<str>> {
        let inside = |other: &&Incident| {
            let same = !incident.feeder.is_empty() && other.feeder == incident.feeder;
            let own = !other.post_id.is_empty() && other.post_id == incident.post_id;
            (same || own || is_covering(other, incident)) && !other.life.drill
        };
        let at_incidents =
            self.open_incidents().filter(inside).flat_map(|other| [&other.life.crew, &other.life.job]);
        let at_work = self.jobs_in_extent(incident).map(|job| &job.crew);
        let mut crews: Vec<Arc<str>> = Vec::new();
        for crew in at_incidents.flatten().chain(at_work) {
            if !crews.iter().any(|known| **known == **crew) {
                crews.push(Arc::from(crew.as_str()));
            }
        }
        crews
    }

    /// Whom an event word reaches.
    pub(super) fn addressed(&self, incident: &Incident, word: &str) -> Telling {
        let mut to = match word {
            HELP => Telling { everybody: true, urgent: true, ..Telling::to(&[Whom::Desk]) },
            // Somebody may have his hands on it.
            "incident.restored" | "incident.switch_on_soon" => Telling {
                urgent: true,
                crews: self.crews_in_extent(incident),
                ..Telling::to(&[Whom::Crew, Whom::Desk])
            },
            // Its ladder calls the crew that gets it.
            "incident.reassigned" if takes_evidence(incident.life.state) => Telling::to(&[Whom::Desk]),
            "incident.repeated"
            | "incident.reassigned"
            | "incident.voided"
            | "incident.returned"
            | "incident.accepted" => Telling::to(&[Whom::Crew, Whom::Desk]),
            _ => Telling::to(&[Whom::Desk]),
        };
        if word == "incident.accepted"
            && let Some(handover) = &incident.life.climb.handover
        {
            to.crews.push(handover.from.clone());
        }
        self.made_for(incident, to)
    }

    /// Planned work has its own crew, what is not real its own circle, a flood its lists; power that is back waits for
    /// none.
    pub(super) fn made_for(&self, incident: &Incident, mut to: Telling) -> Telling {
        if let Some(job) = incident.life.job.as_ref().filter(|_| incident.family != Family::System) {
            to.crews.push(Arc::from(job.as_str()));
        }
        to.urgent |= incident.family == Family::Reenergised;
        to.grouped = self.is_flood() && !to.urgent && self.calling.on;
        if incident.life.drill {
            (to.everybody, to.grouped) = (false, false);
            return to.of_drill();
        }
        to
    }

    /// What people do day by day stands on the board; in a flood nobody gets a message of it.
    pub(super) fn is_worth_telling(&self, verb: Verb) -> bool {
        use Verb::{Help, Reassign, RequestIsolation, Restore, Return, Void};
        let urgent = matches!(verb, Help | Reassign | RequestIsolation | Restore | Return | Void);
        urgent || !self.is_flood() || !self.calling.on
    }

    /// A call for help did not reach somebody: those who can send others are called at once, once for each call.
    pub(super) fn help_refused(
        &mut self,
        now: Timestamp,
        id: &str,
        called_at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(place) = self.ids.get(id).copied() else { return };
        let climb = &mut self.open[place].incident.life.climb;
        // What goes out now is a call too, and younger than the one that was refused.
        if self.replaying || climb.help_passed_at.is_some_and(|at| (called_at..=now).contains(&at)) {
            return;
        }
        climb.help_passed_at = Some(now);
        let whom = [Whom::Desk, Whom::Leader, Whom::Supervisor, Whom::Neighbour];
        let incident = &self.open[place].incident;
        let to = self.made_for(incident, Telling { urgent: true, ..Telling::to(&whom) });
        let body = json!({ "reason": "delivery_failed", "step": 0, "whom": to.whom });
        let event = event_of(incident, now, &format!("help_refused:{}", called_at.0), "rung", &body);
        effects.push(Effect::Moved { incident: Box::new(incident.clone()), event, told: Some(HELP), to });
    }

    /// A crew wants to hand back what it has not made safe: refused, and the back-up is told at once.
    pub(super) fn back_up(&mut self, place: usize, by: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        let life = &mut self.open[place].incident.life;
        if !takes_evidence(life.state) || life.climb.refused_by.as_deref() == Some(by) {
            return;
        }
        life.climb.refused_by = Some(by.to_owned());
        let incident = &self.open[place].incident;
        let to = self.made_for(incident, Telling::to(&[Whom::BackupCrew, Whom::Desk]));
        let body = json!({ "reason": "refused", "by": by, "whom": to.whom });
        let event = event_of(incident, now, &format!("back_up:{}", now.0), "rung", &body);
        let told = Some(crate::notice::ESCALATED);
        effects.push(Effect::Moved { incident: Box::new(incident.clone()), event, told, to });
    }

    /// When a shift ends, its open incidents stay with it until the next one takes them; both are told.
    pub(super) fn change_shifts(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.calling.shift_at || self.calling.rota.zones.is_empty() || !self.calling.on {
            return;
        }
        let rota = self.calling.rota.clone();
        let ends = rota.zones.keys().filter_map(|zone| self.shift_ends(zone, now));
        self.calling.shift_at = ends.filter(|at| *at > now).min().unwrap_or(Timestamp(i64::MAX));
        let began: HashMap<&str, Timestamp> =
            rota.zones.keys().map(|zone| (&**zone, self.turn_began(zone, now))).collect();
        let mut by_zone: std::collections::BTreeMap<Arc<str>, Vec<(usize, Handover)>> = Default::default();
        for place in 0..self.open.len() {
            let open = &self.open[place];
            let told = open.incident.severity == Severity::P1 || open.incident.is_told();
            let wanted = !open.over && told && !open.incident.life.drill;
            let zone = open.incident.zone_in(&self.register);
            let began = began.get(&**zone).copied().unwrap_or(now);
            if let Some(handover) = wanted.then(|| self.handed_over(&open.incident, began, now)).flatten() {
                by_zone.entry(zone.clone()).or_default().push((place, handover));
            }
        }
        for handovers in by_zone.into_values() {
            let many = handovers.len() > HANDOVERS_MAX;
            for (place, handover) in handovers {
                let crews = vec![handover.from.clone(), handover.to.clone()];
                let body = json!({ "handover": handover });
                let key = format!("shift_changed:{}:{}", handover.to, handover.at.0);
                self.open[place].incident.life.climb.handover = Some(handover);
                let incident = &self.open[place].incident;
                let mut to = self.made_for(incident, Telling { crews, handover: true, ..Telling::default() });
                to.grouped |= many;
                let event = event_of(incident, now, &key, "shift_changed", &body);
                let told = Some(HANDOVER);
                effects.push(Effect::Moved { incident: Box::new(incident.clone()), event, told, to });
                self.schedule(place, now);
            }
        }
    }

    /// The change of shift that an incident is in, when that is new: one for each turn, also of a crew that had it before.
    /// `began`: when the turn of the crew on duty did.
    fn handed_over(&self, incident: &Incident, began: Timestamp, now: Timestamp) -> Option<Handover> {
        let (life, zone) = (&incident.life, &**incident.zone_in(&self.register));
        if is_over(life.state) {
            return None;
        }
        let known = life.climb.handover.as_ref();
        let to = self.on_duty(zone, now).crew?.id.clone();
        let owner = life.crew.as_deref().and_then(|name| crew_named(&self.calling.rota, name));
        let had = life.taken.as_ref().map(|mark| mark.received_at);
        // What a crew had as a P2 that became a P1 without it is nobody's.
        let since = known.and_then(Handover::taken_at).max(had).filter(|_| life.crew.is_some());
        let (from, accepted_at) = match (owner, since) {
            (Some(owner), Some(since)) => {
                // The back-up or a neighbour that has it keeps it: no shift of this zone ends for them.
                let was_called = known.is_some_and(|known| [&known.from, &known.to].contains(&&owner.id));
                let was_on_duty = || self.on_duty(zone, since).crew.is_some_and(|crew| crew.id == owner.id);
                (was_called || was_on_duty()).then_some(())?;
                (owner.id.clone(), None)
            }
            // Nobody has it: the crew that was called last goes home, the next one is called.
            (_, None) => {
                let called_at = incident.p1_at.unwrap_or(incident.opened_at);
                let called = || self.on_duty(zone, called_at).crew.map(|crew| crew.id.clone());
                (known.map(|known| known.to.clone()).or_else(called)?, Some(now))
            }
            (None, Some(_)) => return None,
        };
        let told = |known: &Handover| known.to == to && known.at >= began;
        let new = from != to && !known.is_some_and(told);
        new.then_some(Handover { from, to, at: now, desk_told: false, accepted_at })
    }
}
