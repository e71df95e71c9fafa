//! Another register, other timetables, another policy, other people, other ladders while it runs: all of them between two readings.

use std::sync::Arc;

use lampguard_model::Register;
use serde_json::Value;
use tracing::info;

use super::act::{ActError, Order, Reply};
use super::{Alerting, Engine, InForce, Input, Policies, Story, Ticket, Write};
use crate::incident::Event;
use crate::ladder::Ladders;
use crate::lighting::Lighting;
use crate::rota::Rota;

/// What holds from now on. Whoever makes it has checked all of it.
#[derive(Debug)]
pub struct Reload {
    /// The register of posts.
    pub register: Arc<Register>,
    /// Timetables of lighting, made for that register.
    pub lighting: Arc<Lighting>,
    /// The rules' numbers, by date.
    pub policy: Policies,
    /// Who is on duty, by the configuration. What the office changed while it ran stays.
    pub rota: Rota,
    /// Who is told when nobody comes.
    pub ladders: Ladders,
    /// What changed, as it stands in the hash chain: kind of event and body.
    pub changes: Vec<(&'static str, Value)>,
}

impl Alerting {
    /// Goes on by another register, timetables, policy and ladders. When it returns, the next reading is judged by them.
    /// True when what changed is on disk; else the disk gets it as soon as it takes something.
    ///
    /// # Errors
    /// [`ActError::Refused`] never; [`ActError::Ended`]: what held before holds on.
    pub fn reload(&self, reload: Reload) -> Result<bool, ActError> {
        self.order(Order::Reload(Box::new(reload))).map(|(_, durable)| durable)
    }
}

impl Story {
    pub(super) fn reload(&mut self, engine: &mut Engine, reload: &Reload) -> Reply {
        let now = (self.clock)();
        self.register = reload.register.clone();
        self.policy = InForce::new(reload.policy.clone());
        self.policy.change(now);
        self.site.links.follow(&reload.rota);
        self.duty.replace(reload.rota.clone());
        // Lighting first: the register's step asks it whose supply is expected.
        engine.step(now, Input::Lighting(&reload.lighting), &mut self.effects);
        engine.step(now, Input::Register(&reload.register), &mut self.effects);
        engine.step(now, Input::Policy(&self.policy.version().policy), &mut self.effects);
        engine.set_ladders(reload.ladders.clone());
        self.handle(false);
        self.count_open();
        let event = |(place, (kind, body)): (usize, &(&'static str, Value))| Event {
            key: format!("{kind}:{}:{place}", now.0),
            incident: Arc::from(""),
            at: now,
            kind,
            body: body.to_string(),
        };
        let events: Vec<Event> = reload.changes.iter().enumerate().map(event).collect();
        info!(
            posts = reload.register.posts().len(),
            policy_hash = %engine.policy_hash(),
            "the rules go on by what was read again"
        );
        let ticket = if events.is_empty() { Ticket::done() } else { Ticket::default() };
        if !events.is_empty() {
            self.writes.push(Write::Events(events), ticket.clone());
        }
        Reply::kept(ticket)
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
