//! An incident: what it is, what it is called, and how it is shown.

use std::sync::Arc;

use lampguard_model::Timestamp;
use lampguard_model::units::to_f64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::life::{Life, Place};

/// What raises an incident. More kinds of `policy.md` 2 come with later issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The shell carries a dangerous voltage.
    ShellCritical,
    /// A dangerous current leaks to earth.
    LeakCritical,
    /// Told by a person.
    Reported,
}

/// Every kind that sensors raise, in the order of their numbers.
pub const KINDS: [Kind; 2] = [Kind::ShellCritical, Kind::LeakCritical];

impl Kind {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShellCritical => "shell_critical",
            Self::LeakCritical => "leak_critical",
            Self::Reported => "reported",
        }
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.into_iter().chain([Self::Reported]).find(|kind| kind.name() == name)
    }

    /// Unit of its evidence.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ShellCritical => "V",
            Self::LeakCritical => "mA",
            Self::Reported => "",
        }
    }

    /// Its number, from 0.
    pub(crate) fn place(self) -> usize {
        self as usize
    }
}

/// One incident still taking evidence per post and family; both kinds of this version are electric.
pub const FAMILY: &str = "electric";
/// Severity of what sensors raise in this version.
pub const SEVERITY: &str = "P1";
/// Post id of the incident into which unregistered devices beyond the bound fall together.
pub const COLLAPSED: &str = lampguard_model::UNREGISTERED;

/// Whether the danger still shows. A fact beside the state: it never closes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// It shows, or nothing says that it does not.
    #[default]
    Active,
    /// At most 70 % of the limit for 3 powered valid samples and 10 min.
    Normal,
    /// The post has no supply: unpowered, not verified.
    Unpowered,
    /// No data.
    Silent,
}

impl Signal {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Normal => "normal",
            Self::Unpowered => "unpowered",
            Self::Silent => "silent",
        }
    }

    /// The signal of that word; anything else reads as active.
    pub fn from_name(name: &str) -> Self {
        let all = [Self::Active, Self::Normal, Self::Unpowered, Self::Silent];
        all.into_iter().find(|s| s.name() == name).unwrap_or_default()
    }
}

/// What opened an incident or was attached to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was raised.
    pub kind: Kind,
    /// Measured value in thousandths of the unit; `None` when a person found the post live without a number.
    pub thousandths: Option<i64>,
    /// The limit in force, thousandths.
    pub limit: i64,
    /// Wet limits were in force.
    pub wet: bool,
    /// Why: a word of [`crate::wet::Because`], empty when dry.
    pub wet_because: String,
    /// Fingerprint of the policy.
    pub policy_hash: Arc<str>,
    /// When it was measured, as far as it is believed.
    pub measured_at: Timestamp,
    /// When we had it.
    pub received_at: Timestamp,
    /// Name of the rule that confirmed it.
    pub rule: String,
}

/// One incident as engine, memory and store hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// `LG-` and twelve letters, from what opened it: a replay gives the same.
    pub id: Arc<str>,
    /// Post, or the unregistered device's own name, or [`COLLAPSED`].
    pub post_id: Arc<str>,
    /// Feeder by the register; empty for unregistered devices.
    pub feeder: Arc<str>,
    /// Zone by the register.
    pub zone: Arc<str>,
    /// Road by the register; empty for unregistered devices.
    pub road: Arc<str>,
    /// When it opened: receipt of the confirming sample, or the moment of the decision.
    pub opened_at: Timestamp,
    /// When a crew must stand there. A stored fact, never recomputed.
    pub due_at: Timestamp,
    /// Whether the danger still shows.
    pub signal: Signal,
    /// What people must know besides the numbers.
    pub notes: Vec<String>,
    /// What opened it.
    pub evidence: Evidence,
    /// Every kind attached so far, the opening one first.
    pub kinds: Vec<Kind>,
    /// What people did to it.
    pub life: Life,
}

/// One line of an incident's life, as it stands in the append-only table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Deterministic: a replay writes the same key and is ignored.
    pub key: String,
    /// Incident it belongs to; empty for notices without one.
    pub incident: Arc<str>,
    /// When it happened.
    pub at: Timestamp,
    /// `opened`, `evidence`, `signal`, `note`, `told`, the name of a move, `refused`.
    pub kind: &'static str,
    /// JSON.
    pub body: String,
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `count` letters of Crockford's base 32 (no I, L, O, U: ids are read out over the radio) from a hash of
/// `parts`.
pub(crate) fn short_hash(parts: &[&str], count: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 31)]);
    digest.iter().take(count).map(letter).collect()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The id of the incident that this sample opens. `at` is `None` when the sample's time is only that of
/// receipt, which differs between copies.
pub(crate) fn incident_id(post: &str, key: u32, at: Option<Timestamp>) -> Arc<str> {
    let at = at.map_or_else(String::new, |t| t.0.to_string());
    let hash = short_hash(&[FAMILY, post, &key.to_string(), &at], 12);
    Arc::from(format!("LG-{hash}"))
}

/// Evidence as the HTTP contract shows it.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceView {
    /// Measured value; null when a person found the post live without a number.
    pub value: Option<f64>,
    /// Unit of value and limit.
    pub unit: &'static str,
    /// Limit in force.
    pub limit: f64,
    /// Wet limits were in force.
    pub wet: bool,
    /// Why; null when dry.
    pub wet_because: Option<String>,
    /// Fingerprint of the policy.
    pub policy_hash: String,
    /// RFC 3339 UTC.
    pub measured_at: String,
    /// RFC 3339 UTC.
    pub received_at: String,
}

/// One line of the timeline as the HTTP contract shows it.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    /// RFC 3339 UTC.
    pub at: String,
    /// What happened.
    pub event: String,
    /// Details.
    pub body: serde_json::Value,
}

/// An incident as the HTTP contract and the webhook show it (`design.md` 7).
#[derive(Clone, Debug, Serialize)]
pub struct IncidentView {
    /// Id.
    pub id: String,
    /// Kind that opened it.
    pub kind: &'static str,
    /// P1 to P4.
    pub severity: &'static str,
    /// `post` or `place`.
    pub scope: &'static str,
    /// Post or device.
    pub post_id: String,
    /// Feeder.
    pub feeder: String,
    /// Zone.
    pub zone: String,
    /// Road.
    pub road: String,
    /// For hazards told by a person at a place.
    pub place: Option<Place>,
    /// RFC 3339 UTC.
    pub opened_at: String,
    /// RFC 3339 UTC.
    pub due_at: String,
    /// State of its life.
    pub state: &'static str,
    /// active, normal, unpowered, silent.
    pub signal: Signal,
    /// Notes.
    pub notes: Vec<String>,
    /// What opened it.
    pub evidence: EvidenceView,
    /// Crew that has it.
    pub crew: Option<String>,
    /// When the first crew arrived.
    pub arrived_at: Option<String>,
    /// proven or unproven.
    pub arrival: Option<&'static str>,
    /// Nobody arrived by the deadline.
    pub breached: bool,
    /// Seconds to the deadline, negative after it; they stop at the first arrival.
    pub remaining_s: i64,
    /// Whether the post may be touched: 已断电 only while an isolation is in force.
    pub safety: &'static str,
    /// Hidden from the desk's list until then.
    pub shelved_until: Option<String>,
    /// Crew of the planned work there, when there was one.
    pub maintenance: Option<String>,
    /// Not real.
    pub drill: bool,
    /// Members of a grouped incident; later.
    pub members: Vec<String>,
    /// Older incidents that it follows.
    pub links: Vec<String>,
    /// What people did, in full; only in the single view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<serde_json::Value>,
    /// Its life, oldest first; only in the single view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<EventView>>,
}

impl Incident {
    /// Since when it is P1: from its opening in this version.
    pub fn p1_at(&self) -> Option<Timestamp> {
        (self.severity() == SEVERITY).then_some(self.opened_at)
    }

    /// P1 to P4.
    pub fn severity(&self) -> &'static str {
        let told = self.life.told.as_ref().map(|told| told.severity.as_str());
        ["P2", "P3", "P4"].into_iter().find(|known| told == Some(*known)).unwrap_or(SEVERITY)
    }

    /// Where it is, when that is no post of ours.
    pub fn place(&self) -> Option<&Place> {
        self.life.told.as_ref().and_then(|told| told.place.as_ref())
    }

    /// How the outside sees it at `now`.
    pub fn view(&self, now: Timestamp) -> IncidentView {
        let (e, life) = (&self.evidence, &self.life);
        IncidentView {
            id: self.id.to_string(),
            kind: e.kind.name(),
            severity: self.severity(),
            scope: if self.place().is_some() { "place" } else { "post" },
            post_id: self.post_id.to_string(),
            feeder: self.feeder.to_string(),
            zone: self.zone.to_string(),
            road: self.road.to_string(),
            place: self.place().cloned(),
            opened_at: self.opened_at.to_rfc3339(),
            due_at: self.due_at.to_rfc3339(),
            state: life.state.name(),
            signal: self.signal,
            notes: self.notes.clone(),
            evidence: EvidenceView {
                value: e.thousandths.map(to_f64),
                unit: e.kind.unit(),
                limit: to_f64(e.limit),
                wet: e.wet,
                wet_because: e.wet.then(|| e.wet_because.clone()),
                policy_hash: e.policy_hash.to_string(),
                measured_at: e.measured_at.to_rfc3339(),
                received_at: e.received_at.to_rfc3339(),
            },
            crew: life.crew.clone(),
            arrived_at: life.arrived_at().map(Timestamp::to_rfc3339),
            arrival: life.arrived.as_ref().map(|arrival| arrival.proof.name()),
            breached: life.is_breached(self.due_at, now),
            remaining_s: life.remaining_s(self.due_at, now),
            safety: life.safety(),
            shelved_until: life
                .shelved
                .as_ref()
                .filter(|_| life.is_shelved(now))
                .map(|s| s.until.to_rfc3339()),
            maintenance: life.job.clone(),
            drill: life.drill,
            members: Vec::new(),
            links: life.follows.iter().map(ToString::to_string).collect(),
            life: None,
            timeline: None,
        }
    }
}

impl Event {
    /// How the outside sees it.
    pub fn view(&self) -> EventView {
        EventView {
            at: self.at.to_rfc3339(),
            event: self.kind.to_owned(),
            body: serde_json::from_str(&self.body).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_named_by_what_opened_it() {
        let at = Some(Timestamp(1_795_435_200_000));
        let id = incident_id("P1", 7, at);
        assert_eq!(id, incident_id("P1", 7, at));
        assert!(id.starts_with("LG-") && id.len() == 15, "{id}");
        for other in [incident_id("P2", 7, at), incident_id("P1", 8, at), incident_id("P1", 7, None)] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn words_of_kinds_and_signals_read_back() {
        for kind in KINDS {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(KINDS[kind.place()], kind);
        }
        assert_eq!(Signal::from_name("unpowered"), Signal::Unpowered);
        assert_eq!(Signal::from_name("nonsense"), Signal::Active);
    }
}
