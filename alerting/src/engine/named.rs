//! Whom the names in a move mean, by the rota: whose word it is, who is called, and whether repairer and verifier are of
//! one crew.

use lampguard_model::Timestamp;

use super::Engine;
use crate::incident::Incident;
use crate::ladder::crew_named;
use crate::life::{Facts, Move, Verb, is_crews_word, is_same_person};
use crate::rota::{Crew, Rota};

/// A name means a crew as a whole: nobody knows which of its people.
fn is_whole(crew: &Crew, name: &str) -> bool {
    is_same_person(&crew.id, name) || is_same_person(&crew.name, name)
}

/// A name means a crew, or one of its people.
fn is_of(crew: &Crew, name: &str) -> bool {
    is_whole(crew, name) || crew.members.iter().any(|one| is_same_person(&one.name, name))
}

/// One of two names is that of a crew as a whole, and the other one belongs to it.
fn may_be_one(rota: &Rota, one: &str, other: &str) -> bool {
    rota.crews
        .values()
        .any(|crew| (is_whole(crew, one) || is_whole(crew, other)) && is_of(crew, one) && is_of(crew, other))
}

impl Engine {
    /// Puts what the rota says of the names in a move into its facts.
    pub(super) fn know_names(&self, facts: &mut Facts, incident: &Incident, m: &Move, now: Timestamp) {
        let (rota, life) = (&self.calling.rota, &incident.life);
        let of = m.body.on_behalf_of.as_deref();
        facts.stranger = of.and_then(|of| self.stranger(incident, m.verb, of, now));
        let to = m.body.to.as_deref().filter(|_| m.verb == Verb::Reassign);
        facts.no_crew = to.and_then(|to| self.no_crew(to));
        let next = life.climb.handover.as_ref().and_then(|handover| rota.crews.get(&handover.to));
        facts.is_next = next.is_some_and(|crew| is_of(crew, m.by()));
        let repairer = life.repaired.as_ref().map(|repair| &*repair.mark.by);
        let own = |by: &str| [m.by(), &m.actor.name].into_iter().any(|name| may_be_one(rota, by, name));
        facts.own_repair = repairer.is_some_and(own);
    }

    /// Why the desk cannot act on behalf of that name, where the rota names people: nobody has it, or nobody whose word this
    /// is. The desk, a leader or the head drive nowhere.
    fn stranger(&self, incident: &Incident, verb: Verb, name: &str, now: Timestamp) -> Option<String> {
        let (rota, name) = (&self.calling.rota, name.trim());
        let counts = crew_named(rota, name).is_some() || !is_crews_word(verb) && rota.person(name).is_some();
        if !rota.names_people() || counts {
            return None;
        }
        let what = if is_crews_word(verb) { "nobody of one" } else { "nobody of the rota" };
        let names = self.names_of_crew(incident, now);
        let names = if names.is_empty() { self.crew_list() } else { names.join(", ") };
        Some(format!("on_behalf_of {name:?} is no crew and {what}: say one of {names}"))
    }

    /// Why nobody is called by that name, where the rota names people: no crew has it, nor anybody of one.
    fn no_crew(&self, name: &str) -> Option<String> {
        let (rota, name) = (&self.calling.rota, name.trim());
        let unknown = rota.names_people() && crew_named(rota, name).is_none();
        unknown.then(|| format!("to {name:?} is no crew and nobody of one: say one of {}", self.crew_list()))
    }

    /// `A (一班), B (二班)`.
    fn crew_list(&self) -> String {
        let crews = self.calling.rota.crews.values().map(|crew| format!("{} ({})", crew.id, crew.name));
        crews.collect::<Vec<_>>().join(", ")
    }

    /// Says of an incident that was first made safe for which crew it counts, as the reports do: the one that has it, however
    /// it was written down; where the rota names nobody, the one on duty in its zone. And whether it was in time.
    pub(super) fn name_way(&self, incident: &mut Incident, now: Timestamp) {
        let Some(mut passed) = incident.life.passed.take() else { return };
        let own =
            incident.life.crew.as_deref().and_then(|name| crew_named(&self.calling.rota, name)).cloned();
        let on_duty = || self.on_duty(incident.zone_in(&self.register), now).crew;
        let crew = own.or_else(|| on_duty().filter(|crew| crew.members.is_empty()));
        passed.crew = crew.map(|crew| crew.id.clone());
        passed.breached = passed.arrived_at.is_some_and(|at| at > incident.due_at);
        incident.life.passed = Some(passed);
    }

    /// Members of the crew that has an incident and of the one on duty there: whom the desk can act for.
    pub fn names_of_crew(&self, incident: &Incident, now: Timestamp) -> Vec<String> {
        let own =
            incident.life.crew.as_deref().and_then(|name| crew_named(&self.calling.rota, name)).cloned();
        let mut crews: Vec<_> = own.into_iter().collect();
        let on_duty = self.on_duty(incident.zone_in(&self.register), now).crew;
        crews.extend(on_duty.filter(|crew| crews.iter().all(|own| own.id != crew.id)));
        crews.iter().flat_map(|crew| &crew.members).map(|one| one.name.to_string()).collect()
    }
}
