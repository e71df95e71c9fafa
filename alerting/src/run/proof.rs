//! A proof on its way through the thread of the rules: raised by an engine of its own, kept in the outbox, told to the
//! sink.

use std::sync::Arc;

use lampguard_model::record::StoredReading;
use tracing::warn;

use super::{Channel, Desk, Instant, Notice, Story, Surroundings, Ticket, Write};
use crate::notice::Address;
use crate::notify::{AlarmWatch, ChannelKind, Job, Sink};
use crate::proof::{ProofSetup, Reached, judge};

/// Id of the sink among the channels. A channel of that name is refused by the configuration.
pub const SINK: &str = "proof";

/// What of proofs runs.
pub(super) struct Proving {
    setup: ProofSetup,
    pub(super) desk: Desk,
}

impl Proving {
    pub(super) fn start(setup: &ProofSetup, around: Surroundings) -> std::io::Result<Self> {
        let reached = setup.reached.clone();
        let told = move |notice: &Notice| {
            let post = notice.body.pointer("/proof/post_id").and_then(|post| post.as_str());
            let number = notice.body.pointer("/proof/number").and_then(serde_json::Value::as_u64);
            if let (Some(post), Some(number)) = (post, number) {
                reached(Reached::Told, post, number);
            }
        };
        let kind = ChannelKind::Sink(Sink(Arc::new(told)));
        let channel = Channel { to: SINK.to_owned(), ..Channel::new(SINK, kind) };
        Ok(Self { setup: setup.clone(), desk: Desk::start(channel, around)? })
    }
}

impl Story {
    /// Live only: a proof of before a restart proves nothing any more.
    pub(super) fn prove(&mut self, reading: &StoredReading<'_>) {
        let (Some(proving), Some(number)) = (&self.aside.proving, reading.seq) else { return };
        let version = self.policy.version();
        let Some(incident) = judge(&version.policy, &proving.setup.register, reading) else {
            warn!(post_id = reading.post, policy_hash = %version.hash, "the rules raised nothing for a known leak");
            return;
        };
        (proving.setup.reached)(Reached::Raised, reading.post, number);
        let to = Address { channel: SINK, to: SINK, phone: None };
        let notice = Arc::new(Notice::proof(&incident, number, &self.site, to));
        let ticket = Ticket::default();
        let watch: Option<Arc<AlarmWatch>> = None;
        let handed_at = Instant::now();
        proving.desk.tell(Job {
            notice: notice.clone(),
            attempt: 1,
            ticket: ticket.clone(),
            watch,
            handed_at,
        });
        self.writes.push(Write::Notices(vec![notice]), ticket);
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
