//! What is told to the rules from outside, and what stands in the record and belongs to no incident: another policy,
//! another rota, tests of people.

use std::sync::Arc;

use lampguard_model::Timestamp;
use serde_json::{Value, json};

use super::proof::Proving;
use super::tests_of_people::Testing;
use super::{Alerting, Setup, Store, StoreError, Story, Surroundings, Ticket, Work, Write};
use crate::incident::{Event, short_hash};
use crate::policy::Version;
use crate::store::Reads;

impl Alerting {
    /// A part of the system works, or does not, and why (see [`crate::Input::System`]). False when the queue is full or closed:
    /// say it again.
    pub fn system(&self, part: &str, good: bool, because: &str) -> bool {
        self.queue.try_send(Work::System(Arc::from(part), good, Arc::from(because))).is_ok()
    }

    /// True when the store takes a write within `patience`.
    pub fn keeps(&self, patience: std::time::Duration) -> bool {
        let ticket = Ticket::default();
        self.writes.push(Write::Alive((self.clock)()), ticket.clone());
        ticket.wait(patience)
    }

    /// Puts something into the record that belongs to no incident: another rota, other accounts. `body` holds who did
    /// it, and no secret.
    pub fn note(&self, kind: &'static str, body: &Value) {
        self.writes.push(Write::Events(vec![event(kind, (self.clock)(), body)]), Ticket::default());
    }
}

/// An event without an incident. Two of one kind and text in one millisecond are one.
pub(crate) fn event(kind: &'static str, at: Timestamp, body: &Value) -> Event {
    let body = body.to_string();
    let key = format!("{kind}:{}:{}", at.0, short_hash(&[&body], 8));
    Event { key, incident: Arc::from(""), at, kind, body }
}

/// Fingerprint of the policy that the record last names. A store that cannot be read says none: then it is named once
/// more.
fn policy_of(reads: &Reads<'_>) -> Option<String> {
    let body = reads.newest_of("policy").ok().flatten()?;
    body.get("policy_hash")?.as_str().map(str::to_owned)
}

/// What goes beside the way of an incident.
pub(super) struct Aside {
    /// None in a replay, and where no proofs are sent.
    pub(super) proving: Option<Proving>,
    pub(super) testing: Option<Testing>,
    /// Fingerprint of the policy that the record last names.
    noted_policy: Option<String>,
}

impl Aside {
    pub(super) fn take_back(setup: &Setup, store: &Store) -> Result<Self, StoreError> {
        let (reads, now) = (store.reads(), (setup.clock)());
        let testing = setup.tests.as_ref().map(|tests| Testing::take_back(tests.clone(), &reads, now));
        Ok(Self { proving: None, testing: testing.transpose()?, noted_policy: policy_of(&reads) })
    }
}

impl Story {
    /// The replay is over.
    pub(super) fn go_live(&mut self, setup: &Setup, around: Surroundings) -> std::io::Result<()> {
        self.aside.proving = setup.proof.as_ref().map(|proof| Proving::start(proof, around)).transpose()?;
        let now = (self.clock)();
        self.note_policy(setup.policy.at(now), now);
        Ok(())
    }

    /// Each tick.
    pub(super) fn look_aside(&mut self, now: Timestamp) {
        if self.aside.noted_policy.as_deref() != Some(&*self.policy.version().hash) {
            self.note_policy(&self.policy.version().clone(), now);
        }
        self.look_at_tests(now);
    }

    /// Another policy than the last one in the record is in force: it decides over people, so it stands there.
    fn note_policy(&mut self, version: &Version, now: Timestamp) {
        if self.aside.noted_policy.as_deref() == Some(&*version.hash) {
            return;
        }
        let (hash, reason) = (&version.hash, &version.reason);
        let body = json!({ "policy_hash": hash, "reason": reason, "before": self.aside.noted_policy });
        self.aside.noted_policy = Some(version.hash.to_string());
        self.writes.push(Write::Events(vec![event("policy", now, &body)]), Ticket::default());
    }
}
