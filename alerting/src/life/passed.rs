//! The way of an incident until it was first made safe: what is counted of it stays as it was counted.

use std::sync::Arc;

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::Life;

/// When it was where on the way to being made safe, as that stood when it first was. Marks may change after that (it is
/// made safe again, becomes graver); counts of stages (`totals/handling.rs`) go by this and never fall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// A message that named it as what it is was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// Acknowledged, by the crew that had it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// Departed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departed_at: Option<Timestamp>,
    /// The arrival that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Timestamp>,
    /// First made safe.
    pub made_safe_at: Timestamp,
    /// Id of the crew that it counts for; none where its name is no crew's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<Arc<str>>,
    /// Nobody was there by the deadline.
    #[serde(default)]
    pub breached: bool,
}

impl Life {
    /// Its way, once it was made safe. Of an incident that an older version wrote: as its marks tell it now.
    pub(crate) fn way(&self) -> Option<Passed> {
        self.passed.clone().or_else(|| {
            self.safe.as_ref().map(|safe| Passed {
                told_at: self.told_at,
                acknowledged_at: self.acknowledged.as_ref().map(|mark| mark.at),
                departed_at: self.departed.as_ref().map(|mark| mark.at),
                arrived_at: self.arrived_at(),
                made_safe_at: safe.mark.at,
                crew: None,
                breached: false,
            })
        })
    }

    /// Keeps the way as it stands, once it was made safe: only the first time changes anything.
    pub(super) fn keep_way(&mut self) {
        self.passed = self.way();
    }
}
