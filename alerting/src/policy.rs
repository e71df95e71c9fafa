//! The numbers of `policy.md` that this crate judges by, and their fingerprint.

use lampguard_model::{Milliamps, Millis, Quantity, Volts};
use sha2::{Digest, Sha256};

/// One limit in its two forms: while dry and while wet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<Q> {
    /// In force while the post is dry.
    pub dry: Q,
    /// In force while the post is wet, or while nobody knows.
    pub wet: Q,
}

/// The rules of alarm, as far as they are numbers. `Default` is `policy.md` section 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// shell_critical: at or above. 25 V is the long-contact limit for children (domain.md 10); 12 V is
    /// 12 mA through a wet body of 1 kΩ.
    pub shell_critical: Limits<Volts>,
    /// leak_critical: at or above. 30 mA is the grade of an additional-protection RCD (domain.md 10, 11).
    pub leak_critical: Limits<Milliamps>,
    /// shell_warning: at or above; here only for the colour of a post.
    pub shell_warning: Limits<Volts>,
    /// leak_warning: at or above; here only for the colour of a post.
    pub leak_warning: Limits<Milliamps>,
    /// Time from opening a P1 to a crew standing there: 30 min, the office's own promise.
    pub p1_due: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            shell_critical: Limits { dry: Volts::whole(25), wet: Volts::whole(12) },
            leak_critical: Limits { dry: Milliamps::whole(30), wet: Milliamps::whole(15) },
            shell_warning: Limits { dry: Volts::whole(12), wet: Volts::whole(6) },
            leak_warning: Limits { dry: Milliamps::whole(10), wet: Milliamps::whole(6) },
            p1_due: Millis::minutes(30),
        }
    }
}

/// Why a policy was refused. Stop: judging by it would be worse than not starting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A limit of zero or below raises on every sample.
    #[error("policy: {name} is {value}, it must be above 0")]
    NotPositive {
        /// Name of the limit.
        name: &'static str,
        /// What it was set to, with its unit.
        value: String,
    },
    /// Wet limits protect more than dry ones.
    #[error("policy: {name} is higher wet ({wet}) than dry ({dry})")]
    WetAboveDry {
        /// Name of the limit.
        name: &'static str,
        /// The dry limit, with its unit.
        dry: String,
        /// The wet limit, with its unit.
        wet: String,
    },
}

fn check_limits<Q: Quantity>(name: &'static str, limits: Limits<Q>) -> Result<(), PolicyError> {
    let text = |q: Q| format!("{} {}", lampguard_model::units::Thousandths(q.thousandths()), Q::UNIT);
    let (dry, wet) = (limits.dry, limits.wet);
    for value in [dry, wet] {
        if value.thousandths() <= 0 {
            return Err(PolicyError::NotPositive { name, value: text(value) });
        }
    }
    if wet.thousandths() > dry.thousandths() {
        return Err(PolicyError::WetAboveDry { name, dry: text(dry), wet: text(wet) });
    }
    Ok(())
}

impl Policy {
    /// Refuses numbers that cannot be meant.
    ///
    /// # Errors
    /// [`PolicyError`]: stop and show it.
    pub fn check(&self) -> Result<(), PolicyError> {
        check_limits("shell_critical", self.shell_critical)?;
        check_limits("leak_critical", self.leak_critical)?;
        check_limits("shell_warning", self.shell_warning)?;
        check_limits("leak_warning", self.leak_warning)?;
        if self.p1_due <= Millis(0) {
            return Err(PolicyError::NotPositive {
                name: "p1_due",
                value: format!("{} s", self.p1_due.as_seconds()),
            });
        }
        Ok(())
    }

    /// One line per rule, in a fixed order: what [`Policy::hash`] is taken over.
    pub fn canonical(&self) -> String {
        let mut text = String::from("lampguard policy 1\n");
        let mut line = |name: &str, dry: i64, wet: i64, unit: &str| {
            text.push_str(&format!("{name} dry={dry} wet={wet} unit=0.001{unit}\n"));
        };
        let volts = |l: Limits<Volts>| (l.dry.thousandths(), l.wet.thousandths());
        let amps = |l: Limits<Milliamps>| (l.dry.thousandths(), l.wet.thousandths());
        for (name, (dry, wet), unit) in [
            ("shell_critical", volts(self.shell_critical), "V"),
            ("leak_critical", amps(self.leak_critical), "mA"),
            ("shell_warning", volts(self.shell_warning), "V"),
            ("leak_warning", amps(self.leak_warning), "mA"),
        ] {
            line(name, dry, wet, unit);
        }
        text.push_str(&format!("p1_due_ms={}\n", self.p1_due.0));
        text
    }

    /// SHA-256 of [`Policy::canonical`] in hex; stands on every incident that was judged by it.
    pub fn hash(&self) -> String {
        crate::incident::hex(&Sha256::digest(self.canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_changes_with_every_number_and_with_nothing_else() {
        let policy = Policy::default();
        assert_eq!(policy.hash(), Policy::default().hash());
        assert_eq!(policy.hash().len(), 64);
        let mut other = policy.clone();
        other.leak_critical.wet = Milliamps::milli(14_999);
        assert_ne!(policy.hash(), other.hash());
    }

    #[test]
    fn a_zero_limit_and_a_wet_limit_above_the_dry_one_are_refused() {
        let mut policy = Policy::default();
        assert_eq!(policy.check(), Ok(()));
        policy.shell_critical.wet = Volts::whole(26);
        let text = policy.check().unwrap_err().to_string();
        assert_eq!(text, "policy: shell_critical is higher wet (26 V) than dry (25 V)");
        policy.shell_critical.wet = Volts::whole(0);
        assert!(policy.check().is_err());
    }
}
