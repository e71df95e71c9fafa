//! Another policy comes into force, or other timetables of lighting.

use std::sync::Arc;

use lampguard_model::Timestamp;

use super::{Effect, Engine};
use crate::lighting::Lighting;
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
        self.calling.ladders.set_policy(&policy.system);
        self.schedule_all();
        self.refresh_wet(now, effects);
        for slot in 0..self.slots.len() {
            self.judge_again(slot, now, effects);
        }
        self.look_anew(now);
    }

    /// From now on these timetables hold. Whose silence counts, and whose lamp should burn, may be another now.
    pub(super) fn light_by(&mut self, now: Timestamp, lighting: &Arc<Lighting>) {
        self.set_lighting(lighting.clone());
        self.look_anew(now);
    }

    /// What posts and zones were to be looked at for may be nearer by what holds now.
    fn look_anew(&mut self, now: Timestamp) {
        (0..self.slots.len()).for_each(|slot| self.wake(slot, now));
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
