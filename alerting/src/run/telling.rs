//! Step 6: messages go to their channels, and what became of them. Whom an effect reaches, and by which channels,
//! stands in `dispatcher.rs`.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use lampguard_model::Millis;
use tracing::info;

use super::Story;
use crate::dispatcher::{Before, Dispatcher, Route, Scene};
use crate::engine::{Effect, Engine};
use crate::incident::{Event, Incident, Severity};
use crate::notice::{Address, Notice};
use crate::notify::{AlarmWatch, Channel, Job};
use crate::store::{Delivery, Outcome, Reads, StoreError, Write};
use crate::writer::Ticket;

/// Longer nothing waits for a list: twenty dangers a minute, ten minutes' worth of messages, and a thousand that wait.
const WAITS_MAX: Millis = Millis::hours(1);

/// A channel, as far as the dispatcher looks.
pub(super) fn route(channel: &Channel) -> Route {
    let rings = channel.kind.rings();
    Route { id: channel.id.clone(), to: channel.to.clone(), rings }
}

impl Story {
    pub(super) fn open(
        &mut self,
        incident: Incident,
        event: Event,
        notices: Vec<Arc<Notice>>,
        replayed: bool,
    ) {
        info!(
            incident = %incident.id, post_id = %incident.post_id, zone = %incident.zone,
            kind = incident.evidence.kind.name(), severity = incident.severity.name(),
            due_at = %incident.due_at, replayed, "incident opened"
        );
        self.put(&incident, &event);
        let watch = (!replayed).then(|| AlarmWatch::new(incident.opened_at));
        let ticket = self.tell(&notices, replayed, watch.as_ref());
        self.writes.push(Write::Open(Box::new(incident), event, notices), ticket.clone());
        self.durable(ticket);
    }

    pub(super) fn escalate(
        &mut self,
        incident: Box<Incident>,
        event: Event,
        notices: Vec<Arc<Notice>>,
        replayed: bool,
    ) {
        info!(
            incident = %incident.id, post_id = %incident.post_id, zone = %incident.zone,
            kind = incident.evidence.kind.name(), severity = incident.severity.name(),
            due_at = %incident.due_at, replayed, "incident became graver"
        );
        self.put(&incident, &event);
        let watch = (!replayed).then(|| AlarmWatch::new(event.at));
        let ticket = self.tell(&notices, replayed, watch.as_ref());
        self.writes.push(Write::Escalate(incident, event, notices), ticket);
    }

    pub(super) fn moved(
        &mut self,
        incident: Box<Incident>,
        event: Event,
        notices: Vec<Arc<Notice>>,
        again: bool,
    ) {
        let state = incident.life.state.name();
        info!(incident = %incident.id, event = event.kind, state, "incident moved");
        self.put(&incident, &event);
        let ticket = self.tell(&notices, again, None);
        self.writes.push(Write::Moved(incident, event, notices), ticket.clone());
        self.durable(ticket);
    }

    /// What is told of an effect.
    pub(super) fn notices_of(&mut self, effect: &Effect) -> Vec<Arc<Notice>> {
        self.with_scene(|dispatcher, scene| dispatcher.of(scene, effect))
    }

    /// To the desk alone.
    pub(super) fn notices_for_desk(&mut self, make: impl Fn(Address<'_>) -> Notice) -> Vec<Arc<Notice>> {
        self.with_scene(|dispatcher, scene| dispatcher.to_desk(scene, make))
    }

    fn with_scene<T>(&mut self, work: impl FnOnce(&mut Dispatcher, &Scene<'_>) -> T) -> T {
        let (rota, now) = (self.duty.now(), (self.clock)());
        let limits = self.policy.version().policy.flood;
        let (register, site) = (&*self.register, &*self.site);
        let scene = Scene { rota: &rota, register, site, limits: &limits, now };
        work(&mut self.dispatcher, &scene)
    }

    pub(super) fn put(&self, incident: &Incident, event: &Event) {
        let mut board = self.board.write().unwrap_or_else(PoisonError::into_inner);
        board.put(incident.clone(), Some(event));
    }

    pub(super) fn show(&self, incident: Incident) {
        self.board.write().unwrap_or_else(PoisonError::into_inner).put(incident, None);
    }

    /// Hands notices to their channels, before the store gets them: see `notify::Work::pick_up`. Those that
    /// a replay found may have been told before the crash, so they are marked as a repeat.
    pub(super) fn tell(
        &self,
        notices: &[Arc<Notice>],
        again: bool,
        watch: Option<&Arc<AlarmWatch>>,
    ) -> Ticket {
        let ticket = Ticket::default();
        for notice in notices {
            let Some(desk) = self.desks.iter().find(|desk| *desk.channel().id == *notice.channel) else {
                continue;
            };
            desk.tell(Job {
                notice: notice.clone(),
                attempt: if again { 2 } else { 1 },
                ticket: ticket.clone(),
                watch: watch.cloned(),
                handed_at: Instant::now(),
            });
        }
        ticket
    }

    /// Lists that are due go out.
    pub(super) fn send_lists(&mut self) {
        let board = self.board.clone();
        let board = board.read().unwrap_or_else(PoisonError::into_inner);
        let lists = self.with_scene(|dispatcher, scene| dispatcher.lists(scene, |id| board.look(id)));
        for (list, notices) in lists {
            let named = list.incidents.len();
            info!(to = %list.person.name, incidents = named, more = list.more, "a list instead of messages");
            let ticket = self.tell(&notices, list.again, None);
            self.writes.push(Write::Notices(notices), ticket);
        }
    }

    /// After a start: what nobody has heard of goes into lists.
    pub(super) fn take_up_lists(&mut self, engine: &Engine, reads: &Reads<'_>) -> Result<(), StoreError> {
        let now = (self.clock)();
        // However long nothing ran: what waits was listed shortly before the end.
        let from = reads.newest_event_at()?.unwrap_or(now).min(now) - WAITS_MAX;
        let mut listed = Vec::new();
        for one in reads.listed_since(from)? {
            let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
            let open = board.look(&one.incident).cloned();
            let incident = open.map_or_else(|| reads.incident(&one.incident), |open| Ok(Some(open)))?;
            listed.extend(incident.map(|incident| (one, incident)));
        }
        let messages = reads.messages_to_since(now - self.policy.version().policy.flood.window)?;
        let before = Before { from, named: reads.named_since(from)?, messages, listed };
        self.with_scene(|dispatcher, scene| dispatcher.take_up(scene, engine, before));
        Ok(())
    }

    /// What became of a message: an incident that it named is told, or its next rung goes at once.
    pub(super) fn delivered(&mut self, engine: &mut Engine, delivery: &Delivery) {
        let notice = &delivery.notice;
        let accepted = matches!(delivery.outcome, Outcome::Sent | Outcome::Delivered);
        let now = (self.clock)();
        for input in self.dispatcher.heard(notice, accepted) {
            engine.step(now, input, &mut self.effects);
        }
        self.handle(false);
    }

    pub(super) fn count_open(&self) {
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        let counts = board.count_by_zone();
        let mut zones: std::collections::BTreeSet<Arc<str>> = self.register.zones().iter().cloned().collect();
        zones.extend(counts.keys().map(|(zone, _)| zone.clone()));
        for zone in zones {
            for severity in [Severity::P1, Severity::P2, Severity::P3, Severity::P4] {
                let count = counts.get(&(zone.clone(), severity)).copied().unwrap_or(0);
                self.metrics.open_incidents.with_label_values(&[&*zone, severity.name()]).set(count);
            }
        }
    }
}

#[cfg(test)]
#[path = "telling_tests.rs"]
mod tests;
