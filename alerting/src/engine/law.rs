//! Another policy comes into force.

use std::sync::Arc;

use lampguard_model::Timestamp;

use super::{Effect, Engine};
use crate::policy::Policy;

impl Engine {
    /// From now on this policy holds: the last fresh sample of every post is judged again by it, over its last
    /// three, and everything that waits for time is looked at anew. What is open stays as it was opened: with its
    /// own limits, fingerprint and deadline.
    pub(super) fn enact(&mut self, now: Timestamp, policy: &Policy, effects: &mut Vec<Effect>) {
        let hash = policy.hash();
        if *self.policy_hash == *hash {
            return;
        }
        self.sky.set_rules(policy.wet);
        let before = std::mem::replace(&mut self.policy, policy.clone()).period;
        self.policy_hash = Arc::from(hash);
        for (slot, owner) in self.slots.iter_mut().zip(&self.owners) {
            let told_s = owner.post().and_then(|post| post.period_s);
            slot.renew_periods(told_s, &before, &policy.period);
        }
        self.refresh_wet(now, effects);
        for slot in 0..self.slots.len() {
            self.judge_again(slot, now, effects);
            // What it was to be looked at for may be nearer by the new numbers.
            self.wake(slot, now);
        }
        for zone in self.zones.iter_mut().filter(|zone| zone.look_at < Timestamp(i64::MAX)) {
            zone.look_at = zone.look_at.min(now);
        }
        self.worse_at = self.worse_at.min(now);
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its fingerprint.
    pub fn policy_hash(&self) -> &Arc<str> {
        &self.policy_hash
    }
}
