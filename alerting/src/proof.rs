//! Proofs inside the rules: a known leak has to raise what it must, and come out at a sink.
//!
//! Live state is never touched: each proof is judged by an engine of its own, made for it from the policy in force and a
//! register of the proof posts, and thrown away behind it. What it shows is that the thread of the rules takes work, that
//! the rules raise a P1 for such a leak, that the store's writer commits and that a channel's thread tells. No incident
//! comes of it: nothing on the board, in lists, counts, the lighting rate or the record.

use std::sync::Arc;

use lampguard_model::Register;
use lampguard_model::record::StoredReading;

use crate::engine::{Effect, Engine, Input};
use crate::incident::{Incident, Kind, Severity};
use crate::policy::Policy;
use crate::wet::Sky;

/// How far a proof came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The rules raised it.
    Raised,
    /// It came out at the sink.
    Told,
}

/// Called with post and number as a proof goes on. Must not wait.
pub type OnProof = Arc<dyn Fn(Reached, &str, u64) + Send + Sync>;

/// What alerting needs for proofs.
#[derive(Clone)]
pub struct ProofSetup {
    /// The proof posts, one for each zone.
    pub register: Arc<Register>,
    /// Hears of them.
    pub reached: OnProof,
}

/// What the rules make of a proof: the P1 that they must raise, or nothing.
pub fn judge(policy: &Policy, register: &Arc<Register>, reading: &StoredReading<'_>) -> Option<Incident> {
    let mut engine = Engine::new(policy.clone(), register.clone(), Sky::default());
    let mut effects = Vec::new();
    engine.step(reading.received_at, Input::Reading(reading), &mut effects);
    effects.into_iter().find_map(|effect| match effect {
        Effect::Open { incident, told: true, .. } if is_what_it_must(&incident) => Some(*incident),
        _ => None,
    })
}

fn is_what_it_must(incident: &Incident) -> bool {
    incident.severity == Severity::P1 && incident.evidence.kind == Kind::LeakCritical
}

#[cfg(test)]
mod tests {
    use lampguard_model::{Field, Flags};

    use super::*;
    use crate::testkit::T;

    fn proof(leakage_ma: i64, flags: Flags) -> StoredReading<'static> {
        let mut reading = StoredReading::at("PROOF-z1", T);
        reading.fields.set(Field::LeakageMa, leakage_ma * 1000);
        reading.flags = flags;
        reading
    }

    #[test]
    fn a_known_leak_raises_a_p1_at_once_and_none_raises_nothing() {
        let (policy, register) = (Policy::default(), Arc::new(Register::default()));
        let raised = judge(&policy, &register, &proof(100, Flags::LEAK_ALARM)).unwrap();
        assert_eq!((raised.severity, &*raised.post_id), (Severity::P1, "PROOF-z1"));
        assert_eq!(judge(&policy, &register, &proof(0, Flags::default())), None);
        // Each is judged by itself: nothing is left of the one before.
        assert!(judge(&policy, &register, &proof(100, Flags::LEAK_ALARM)).is_some());
    }

    #[test]
    fn rules_that_raise_nothing_for_it_are_found_by_it() {
        let (mut policy, register) = (Policy::default(), Arc::new(Register::default()));
        policy.leak_critical.dry = lampguard_model::Milliamps::whole(900);
        policy.leak_critical.wet = lampguard_model::Milliamps::whole(900);
        assert_eq!(judge(&policy, &register, &proof(100, Flags::LEAK_ALARM)), None);
    }
}
