//! Step 6: whom an effect reaches, by which channels, and what became of the message.
//!
//! ```text
//! effect's Telling ─rota─► people ─┬─ each by all his channels (P1), or by those that do not ring (else)
//!                                  └─ in a flood: into his list (`Crowd`), at most ten messages in ten minutes
//! ```
//! Where the configuration names nobody, each telling goes once to every channel, as the desk's. A duty that nobody has
//! is told to the desk, with a line that says so.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use lampguard_model::{Timestamp, UNREGISTERED};
use tracing::info;

use super::Story;
use crate::engine::{Engine, Input};
use crate::incident::{Event, Incident, Severity};
use crate::ladder::{Telling, crew_named};
use crate::life::is_over;
use crate::notice::{Address, BREACHED, ESCALATED, Notice, OPENED};
use crate::notify::{AlarmWatch, ChannelKind, Desk, Job};
use crate::rota::{Person, Rota, Whom, is_reachable};
use crate::store::{Delivery, Outcome, Write};
use crate::writer::Ticket;

/// True for a channel that makes a telephone ring.
fn rings(kind: &ChannelKind) -> bool {
    match kind {
        ChannelKind::Sms(_) | ChannelKind::Voice(_) => true,
        ChannelKind::Console
        | ChannelKind::Sink(_)
        | ChannelKind::Webhook(_)
        | ChannelKind::DingTalk { .. }
        | ChannelKind::WeCom(_)
        | ChannelKind::Feishu(_)
        | ChannelKind::Smtp(_)
        | ChannelKind::Alertmanager(_) => false,
    }
}

/// Whom a telling reaches, and which duties nobody has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    people: Vec<Arc<Person>>,
    missing: Vec<String>,
}

impl Reached {
    fn add(&mut self, person: &Arc<Person>) {
        if !self.people.iter().any(|known| known.name == person.name) {
            self.people.push(person.clone());
        }
    }

    fn all(&mut self, people: &[Arc<Person>], duty: impl FnOnce() -> String) {
        if people.is_empty() {
            self.missing.push(duty());
        }
        people.iter().for_each(|person| self.add(person));
    }
}

/// The desk where nobody is named: every channel.
fn nobody() -> Arc<Person> {
    Arc::new(Person { name: Arc::from("desk"), phone: None, channels: Vec::new() })
}

/// Who is meant, at that moment.
fn reach(rota: &Rota, to: &Telling, zone: &str, crew: Option<&str>, now: Timestamp) -> Reached {
    let mut reached = Reached::default();
    if !rota.names_people() {
        reached.people.push(nobody());
        return reached;
    }
    let own = crew.and_then(|name| crew_named(rota, name));
    for whom in &to.whom {
        let people = match whom {
            // What we stand on belongs to no zone: every leader hears of it.
            Whom::Leader if zone.is_empty() => {
                rota.zones.keys().flat_map(|zone| rota.people(*whom, zone, None, now)).collect()
            }
            _ => rota.people(*whom, zone, own.map(|crew| &*crew.id), now),
        };
        reached.all(&people, || whom.name().to_owned());
    }
    for name in &to.crews {
        let first = crew_named(rota, name)
            .and_then(|crew| crew.members.iter().find(|one| is_reachable(one)).cloned());
        reached.all(first.as_slice(), || name.to_string());
    }
    if to.everybody {
        let duty = rota.on_duty_now(zone, now);
        let crews = own.into_iter().chain(&duty.crew).chain(&duty.backup).chain(&duty.reinforcement);
        let people = crews.flat_map(|crew| &crew.members).filter(|one| is_reachable(one));
        people.chain(&duty.leader).chain(&duty.leaders).for_each(|person| reached.add(person));
    }
    if !reached.missing.is_empty() || reached.people.is_empty() {
        reached.add(&rota.desk.clone().unwrap_or_else(nobody));
    }
    reached
}

impl Story {
    pub(super) fn open(&mut self, incident: Incident, event: Event, to: Option<&Telling>, replayed: bool) {
        info!(
            incident = %incident.id, post_id = %incident.post_id, zone = %incident.zone,
            kind = incident.evidence.kind.name(), severity = incident.severity.name(),
            due_at = %incident.due_at, replayed, "incident opened"
        );
        self.put(&incident, &event);
        let (register, site) = (self.register.clone(), self.site.clone());
        let post = incident.post_in(&register).map(|post| &**post);
        let make = |to: Address<'_>| Notice::opened(&incident, post, &site, to);
        let notices = to.map(|to| self.announce(&incident, to, make)).unwrap_or_default();
        let watch = (!replayed).then(|| AlarmWatch::new(incident.opened_at));
        let ticket = self.tell(&notices, replayed, watch.as_ref());
        self.writes.push(Write::Open(Box::new(incident), event, notices), ticket.clone());
        self.durable(ticket);
    }

    pub(super) fn escalate(
        &mut self,
        incident: Box<Incident>,
        event: Event,
        to: Option<&Telling>,
        replayed: bool,
    ) {
        info!(
            incident = %incident.id, post_id = %incident.post_id, zone = %incident.zone,
            kind = incident.evidence.kind.name(), severity = incident.severity.name(),
            due_at = %incident.due_at, replayed, "incident became graver"
        );
        self.put(&incident, &event);
        let (register, site) = (self.register.clone(), self.site.clone());
        let post = incident.post_in(&register).map(|post| &**post);
        let at = event.at;
        let make = |to: Address<'_>| Notice::escalated(&incident, at, post, &site, to);
        let notices = to.map(|to| self.announce(&incident, to, make)).unwrap_or_default();
        let watch = (!replayed).then(|| AlarmWatch::new(at));
        let ticket = self.tell(&notices, replayed, watch.as_ref());
        self.writes.push(Write::Escalate(incident, event, notices), ticket);
    }

    pub(super) fn moved(
        &mut self,
        incident: Box<Incident>,
        event: Event,
        told: Option<(&'static str, &Telling)>,
        replayed: bool,
    ) {
        let state = incident.life.state.name();
        info!(incident = %incident.id, event = event.kind, state, "incident moved");
        self.put(&incident, &event);
        let (register, site) = (self.register.clone(), self.site.clone());
        let post = incident.post_in(&register).map(|post| &**post);
        let tell = |(word, to): (&'static str, &Telling)| {
            let rung = matches!(event.kind, "rung" | "breached");
            self.announce(&incident, to, |address: Address<'_>| match rung {
                true => Notice::rung(&incident, &event, word, to.step, post, &site, address),
                false => Notice::moved(&incident, &event, word, post, &site, address),
            })
        };
        let notices = told.map(tell).unwrap_or_default();
        let again = replayed || told.is_some_and(|(_, to)| to.again);
        let ticket = self.tell(&notices, again, None);
        self.writes.push(Write::Moved(incident, event, notices), ticket.clone());
        self.durable(ticket);
    }

    /// Rungs of many incidents go into the lists of those whom they reach.
    pub(super) fn many(&mut self, incidents: Vec<Incident>, count: usize, to: &Telling, event: Event) {
        let mut people: Vec<Arc<Person>> = Vec::new();
        for incident in &incidents {
            self.list(incident, to);
            self.show(incident.clone());
            for person in self.reached(incident, to).people {
                if !people.iter().any(|known| known.name == person.name) {
                    people.push(person);
                }
            }
        }
        let beyond = count.saturating_sub(incidents.len());
        people.iter().for_each(|person| self.crowd.more(person, beyond));
        self.writes.push(Write::Many(incidents, event), Ticket::default());
    }

    /// The zone whose crew acts: that of the post, where one that nobody had registered has been.
    fn zone_of(&self, incident: &Incident) -> Arc<str> {
        let post = incident.post_in(&self.register).filter(|_| *incident.zone == *UNREGISTERED);
        post.map_or(&incident.zone, |post| &post.zone).clone()
    }

    fn reached(&self, incident: &Incident, to: &Telling) -> Reached {
        reach(&self.duty.now(), to, &self.zone_of(incident), incident.life.crew.as_deref(), (self.clock)())
    }

    fn list(&mut self, incident: &Incident, to: &Telling) {
        for person in self.reached(incident, to).people {
            self.crowd.add(&person, incident);
        }
    }

    /// Notices of one telling of an incident; none when it goes into lists.
    fn announce(
        &mut self,
        incident: &Incident,
        to: &Telling,
        make: impl Fn(Address<'_>) -> Notice,
    ) -> Vec<Arc<Notice>> {
        if to.grouped {
            self.list(incident, to);
            return Vec::new();
        }
        let zone = self.zone_of(incident);
        self.notices(to, &zone, Some(incident), make)
    }

    /// What goes to the desk alone.
    pub(super) fn desk_notices(&mut self, make: impl Fn(Address<'_>) -> Notice) -> Vec<Arc<Notice>> {
        self.notices(&Telling::to(&[Whom::Desk]), "", None, make)
    }

    pub(super) fn notices(
        &mut self,
        to: &Telling,
        zone: &str,
        incident: Option<&Incident>,
        make: impl Fn(Address<'_>) -> Notice,
    ) -> Vec<Arc<Notice>> {
        if to.is_empty() {
            return Vec::new();
        }
        let now = (self.clock)();
        let crew = incident.and_then(|incident| incident.life.crew.as_deref());
        let loud = incident.is_some_and(|incident| incident.severity == Severity::P1);
        let reached = reach(&self.duty.now(), to, zone, crew, now);
        let desk = self.duty.now().desk.as_ref().map(|desk| desk.name.clone());
        let limits = self.policy.version().policy.flood;
        let mut notices = Vec::new();
        for person in &reached.people {
            // Who waits for a list gets the rungs of what is older in it too.
            if let Some(incident) = incident.filter(|_| to.step > 0 && !to.urgent)
                && self.crowd.waits(&person.name)
            {
                self.crowd.add(person, incident);
                continue;
            }
            self.crowd.sent(person, now, &limits);
            let at_desk = desk.as_ref().is_none_or(|desk| *desk == person.name);
            for address in self.addresses(person, loud) {
                let mut notice = make(address);
                if at_desk && !reached.missing.is_empty() {
                    notice.say_missing(&reached.missing, &self.site);
                }
                notices.push(Arc::new(notice));
            }
        }
        notices
    }

    /// How a person is reached: by all channels together when it is loud, else by those that do not ring, where there
    /// are some. Without channels of his own: by every one.
    fn addresses<'s>(&'s self, person: &'s Arc<Person>, loud: bool) -> Vec<Address<'s>> {
        let his = |desk: &&Desk| {
            let id = desk.channel().id.as_str();
            person.channels.is_empty() || person.channels.iter().any(|known| **known == *id)
        };
        let mut desks: Vec<&Desk> = self.desks.iter().filter(his).collect();
        if desks.is_empty() {
            desks = self.desks.iter().collect();
        }
        let quiet = desks.iter().any(|desk| !rings(&desk.channel().kind));
        desks.retain(|desk| loud || !quiet || !rings(&desk.channel().kind));
        let named = self.duty.now().names_people();
        let address = |desk: &'s Desk| {
            let channel = desk.channel();
            let to = if named { &*person.name } else { channel.to.as_str() };
            Address { channel: &channel.id, to, phone: person.phone.as_deref() }
        };
        desks.into_iter().map(address).collect()
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
        if !self.crowd.is_waiting() {
            return;
        }
        let now = (self.clock)();
        let limits = self.policy.version().policy.flood;
        let board = self.board.clone();
        let board = board.read().unwrap_or_else(PoisonError::into_inner);
        let open = |id: &str| board.look(id).is_some_and(|incident| !is_over(incident.life.state));
        let lists = self.crowd.due(now, &limits, open);
        let (register, site) = (self.register.clone(), self.site.clone());
        for list in lists {
            let incidents: Vec<&Incident> = list.incidents.iter().filter_map(|id| board.look(id)).collect();
            let lines: Vec<_> =
                incidents.iter().map(|i| (*i, i.post_in(&register).map(|post| &**post))).collect();
            let small = |channel: &str| {
                let is = |desk: &&Desk| *desk.channel().id == *channel;
                self.desks.iter().find(is).is_some_and(|desk| rings(&desk.channel().kind))
            };
            let make = |to: Address<'_>| {
                let mut notice = Notice::digest(&list, &lines, now, &site, to);
                if small(to.channel) {
                    notice.name_nobody();
                }
                Arc::new(notice)
            };
            let notices: Vec<Arc<Notice>> =
                self.addresses(&list.person, true).into_iter().map(make).collect();
            info!(to = %list.person.name, incidents = incidents.len(), more = list.more, "a list instead of messages");
            let ticket = self.tell(&notices, false, None);
            self.writes.push(Write::Notices(notices), ticket);
        }
    }

    /// After a start: what went into lists before and was named in none yet goes into them again.
    pub(super) fn take_up_lists(&mut self, engine: &Engine) {
        let now = (self.clock)();
        let waits = |i: &&Incident| i.life.climb.listed && i.life.told_at.is_none() && !is_over(i.life.state);
        let waiting: Vec<(Incident, Telling)> =
            engine.open_incidents().filter(waits).map(|i| (i.clone(), engine.opening_of(i, now))).collect();
        for (incident, to) in waiting {
            self.list(&incident, &to);
        }
    }

    /// What became of a message: an incident that it named is told, or its next rung goes at once.
    pub(super) fn delivered(&mut self, engine: &mut Engine, delivery: &Delivery) {
        let notice = &delivery.notice;
        let accepted = matches!(delivery.outcome, Outcome::Sent | Outcome::Delivered);
        let calls = matches!(&*notice.event, OPENED | ESCALATED | BREACHED) || notice.event == "digest";
        if !accepted && !calls {
            return;
        }
        let now = (self.clock)();
        let named: Vec<&str> = notice.incident.as_deref().into_iter().chain(notice.listed()).collect();
        for incident in named {
            let input = Input::Delivery { incident, step: notice.step, accepted };
            engine.step(now, input, &mut self.effects);
        }
        self.handle(false);
    }

    pub(super) fn count_open(&self) {
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts = board.count_by_zone();
        let mut zones: std::collections::BTreeSet<Arc<str>> = self.register.zones().iter().cloned().collect();
        zones.extend(counts.keys().map(|(zone, _)| zone.clone()));
        for zone in zones {
            for severity in [Severity::P1, Severity::P2, Severity::P3, Severity::P4] {
                let count = counts.remove(&(zone.clone(), severity)).unwrap_or(0);
                self.metrics.open_incidents.with_label_values(&[&*zone, severity.name()]).set(count);
            }
        }
    }
}

#[cfg(test)]
#[path = "telling_tests.rs"]
mod tests;
