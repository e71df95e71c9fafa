//! Changes of shift: who comes takes over what goes on, drives there and does the rest.

use std::sync::Arc;

use lampguard_alerting::Incident;
use lampguard_alerting::life::{Method, Stage, Verb, is_over};
use lampguard_model::Millis;

use super::crews::{Crew, Step};
use super::people::travel;
use super::world::{Event, Night};

/// Who forgets to say that he takes it over, until the desk asks.
const FORGETS: f64 = 0.15;

/// A crew is on its way to it, there, or guards it; the rest waits for its time.
fn binds(incident: &Incident) -> bool {
    let guarded = || incident.life.safe.as_ref().is_some_and(|safe| safe.method == Method::Guarded);
    match incident.life.state {
        Stage::Acknowledged | Stage::Departed | Stage::Arrived => true,
        Stage::MadeSafe => guarded(),
        _ => false,
    }
}

impl Night {
    /// Somebody hears of an incident that the shift before hands over to his crew. True: it is one.
    pub(super) fn hears_of_handover(
        &mut self,
        crew: &Arc<str>,
        person: &Arc<str>,
        id: &Arc<str>,
        asked: bool,
    ) -> bool {
        let Some(incident) = self.board.get(id).filter(|incident| !is_over(incident.life.state)) else {
            return false;
        };
        let waits = incident
            .life
            .climb
            .handover
            .as_ref()
            .is_some_and(|handover| *handover.to == **crew && handover.accepted_at.is_none());
        if !waits || !self.office.works(crew, self.now) {
            return false;
        }
        let free = !binds(incident) || self.crews.get(crew).is_some_and(|team| team.with.is_none());
        if free && (asked || self.random.share() >= FORGETS) {
            self.does(person, id, Verb::Accept, [45.0, 420.0]);
        }
        true
    }

    /// The next shift has it: whoever had it goes home.
    pub(super) fn takes_over(&mut self, crew: &Arc<str>, person: &Arc<str>, id: &Arc<str>) {
        for (other, team) in &mut self.crews {
            if other != crew && team.with.as_ref() == Some(id) {
                team.free();
            }
        }
        let bound = self.board.get(id).is_some_and(binds);
        if let Some(team) = self.crews.get_mut(crew).filter(|_| bound) {
            team.with = Some(id.clone());
            team.set_out = Some(id.clone());
        }
        self.reliefs.insert(id.clone(), person.clone());
    }

    /// What somebody was about to do when the next shift took it over, that one does: he has to get there first.
    pub(super) fn relieves(&mut self, step: &Step, incident: &Incident) -> bool {
        let goes_on =
            matches!(step.verb, Verb::Depart | Verb::Arrive | Verb::MakeSafe | Verb::Repair | Verb::Restore);
        let Some(next) = self.reliefs.get(&step.incident).filter(|_| goes_on).cloned() else { return false };
        let (Some(own), Some(crew)) =
            (self.office.crew_of(&step.person).cloned(), self.office.crew_of(&next).cloned())
        else {
            return false;
        };
        if own == crew {
            return false;
        }
        let mut way = Millis(0);
        if let (Some(team), Some(spot)) = (self.crews.get(&crew).cloned(), self.spot(incident))
            && step.verb != Verb::Depart
        {
            way = travel(team.spot, spot, self.rain_at(&incident.zone));
            self.crews.insert(crew, Crew { spot, ..team });
        }
        let at = self.now + way + Millis::seconds(5);
        self.at(at, Event::Act(Step { person: next, ..step.clone() }));
        true
    }
}
