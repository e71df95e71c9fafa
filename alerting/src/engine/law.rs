//! Another policy comes into force.

use std::sync::Arc;

use lampguard_model::Timestamp;

use super::{Effect, Engine};
use crate::policy::Policy;

impl Engine {
    /// From now on this policy holds: the last fresh sample of every post is judged again by it, over its last
    /// three. What is open stays as it was opened: with its own limits, fingerprint and deadline.
    pub(super) fn enact(&mut self, now: Timestamp, policy: &Policy, effects: &mut Vec<Effect>) {
        let hash = policy.hash();
        if *self.policy_hash == *hash {
            return;
        }
        self.sky.set_rules(policy.wet);
        (self.policy, self.policy_hash) = (policy.clone(), Arc::from(hash));
        self.calling.ladders.set_policy(&policy.system);
        self.plan_all();
        self.refresh_wet(now, effects);
        for slot in 0..self.slots.len() {
            self.judge_again(slot, now, effects);
        }
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
