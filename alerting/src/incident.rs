//! An incident: what it is, what it is called, and how it is shown.

use std::sync::Arc;

use lampguard_model::units::to_f64;
use lampguard_model::{Field, Post, Register, Timestamp, UNREGISTERED};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use crate::kind::{FAMILIES, Family, KINDS, Kind, NO_DUE, Scope, Severity, TOLD_WITHIN};
use crate::life::{Life, is_over};
/// Post id of the incident into which unregistered devices beyond the bound fall together.
pub const COLLAPSED: &str = UNREGISTERED;

/// What stands in the notes of an incident that simulated readings opened or fed.
pub const NOTE_SIMULATED: &str = "模拟数据";

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
    /// Wire name of the measured field; empty where the value is not one.
    #[serde(default)]
    pub field: String,
    /// Measured value in thousandths of the unit; `None` when the value is unknown.
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

impl Evidence {
    /// Unit of value and limit.
    pub fn unit(&self) -> &'static str {
        Field::from_name(&self.field).map_or_else(|| self.kind.unit(), |field| field.info().unit)
    }
}

/// One incident as engine, memory and store hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// `LG-` and twelve letters, from what opened it: a replay gives the same.
    pub id: Arc<str>,
    /// Kinds of one family share it while it takes evidence.
    pub family: Family,
    /// How urgent. By itself it only rises.
    pub severity: Severity,
    /// What it is about.
    pub scope: Scope,
    /// Post, or the unregistered device's own name, or [`COLLAPSED`]; empty when it is about more than a post.
    pub post_id: Arc<str>,
    /// Feeder by the register; empty for unregistered devices, zones, places and the system.
    pub feeder: Arc<str>,
    /// Zone by the register; empty for the system.
    pub zone: Arc<str>,
    /// Road by the register; empty for unregistered devices.
    pub road: Arc<str>,
    /// The place that a person named, or the part of the system; empty otherwise.
    pub place: Arc<str>,
    /// When it opened: receipt of the confirming sample, or the moment of the decision.
    pub opened_at: Timestamp,
    /// When a crew must stand there; [`NO_DUE`] when nobody must. A stored fact, never recomputed; it becomes
    /// earlier when a P2 becomes a P1, never later.
    pub due_at: Timestamp,
    /// Since when it is P1.
    pub p1_at: Option<Timestamp>,
    /// Posts that it names, when it is about several.
    pub members: Vec<Arc<str>>,
    /// Incidents that belong together with it.
    pub links: Vec<Arc<str>>,
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
    /// `opened`, `evidence`, `escalated`, `members`, `linked`, `signal`, `note`, `told`, the name of a move, `refused`.
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

/// A post by its name; what is about more by all that says where it is.
pub(crate) fn about(scope: Scope, post_id: &str, feeder: &str, zone: &str, place: &str) -> String {
    match scope {
        Scope::Post => post_id.to_owned(),
        scope => format!("{}:{feeder}:{zone}:{place}", scope.name()),
    }
}

/// The id of the incident that a sample opens. `at` is `None` when the sample's time is only that of receipt,
/// which differs between copies.
pub(crate) fn incident_id(family: Family, about: &str, key: u32, at: Option<Timestamp>) -> Arc<str> {
    let at = at.map_or_else(String::new, |t| t.0.to_string());
    named(&[family.name(), about, &key.to_string(), &at])
}

/// The id of the incident that something else than a sample opens.
pub(crate) fn named(parts: &[&str]) -> Arc<str> {
    Arc::from(format!("LG-{}", short_hash(parts, 12)))
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
    /// Kind of its evidence: what opened it, or what made it a P1.
    pub kind: &'static str,
    /// P1 to P4.
    pub severity: &'static str,
    /// post, feeder, zone, place or system.
    pub scope: &'static str,
    /// Post or device; null when it is about more than a post.
    pub post_id: Option<String>,
    /// Feeder.
    pub feeder: String,
    /// Zone.
    pub zone: String,
    /// Zone that the topic of an unregistered device names; absent for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_hint: Option<Arc<str>>,
    /// Road.
    pub road: String,
    /// For hazards told by a person at a place (`lon`, `lat`, `text`), and parts of the system (their name).
    pub place: Option<serde_json::Value>,
    /// RFC 3339 UTC.
    pub opened_at: String,
    /// RFC 3339 UTC; null when nobody has to be there.
    pub due_at: Option<String>,
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
    /// Seconds to the deadline, negative after it; they stop at the first arrival; null without one.
    pub remaining_s: Option<i64>,
    /// Whether the post may be touched: 已断电 only while an isolation is in force.
    pub safety: &'static str,
    /// Hidden from the desk's list until then.
    pub shelved_until: Option<String>,
    /// A message that named it was accepted, first then; of a P1: as the P1 that it is.
    pub told_at: Option<String>,
    /// A P1 that no accepted message has named yet: red on the board.
    pub untold: bool,
    /// Crew of the planned work there, when there was one.
    pub maintenance: Option<String>,
    /// Not real.
    pub drill: bool,
    /// Its readings come from a simulated city.
    pub simulated: bool,
    /// Posts that it names, when it is about several.
    pub members: Vec<String>,
    /// Incidents that belong with it: older ones that it follows, and those it was put together with.
    pub links: Vec<String>,
    /// What people did, in full; only in the single view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<serde_json::Value>,
    /// Its life, oldest first; only in the single view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<EventView>>,
}

impl Incident {
    /// Since when it is P1.
    pub fn p1_at(&self) -> Option<Timestamp> {
        self.p1_at
    }

    /// Its deadline, if it has one.
    pub fn due(&self) -> Option<Timestamp> {
        (self.due_at < NO_DUE).then_some(self.due_at)
    }

    /// People are told at once: every P1, and what is due within two hours. The rest is worklist and report; where
    /// planned work goes on, everything below P1 is only recorded (`policy.md` 5).
    pub fn is_told(&self) -> bool {
        self.is_told_at(self.opened_at)
    }

    /// The same for what became graver at `at`.
    pub(crate) fn is_told_at(&self, at: Timestamp) -> bool {
        let soon = self.life.job.is_none() && self.due_at.since(at) <= TOLD_WITHIN;
        self.severity == Severity::P1 || soon
    }

    /// What it is about, in one word for each subject of a family (`Reads::last_ended` says it the same way).
    pub(crate) fn about(&self) -> String {
        about(self.scope, &self.post_id, &self.feeder, &self.zone, &self.place)
    }

    /// The post that it is about, as the register has it: that of the device, where it opened for one that nobody
    /// had registered yet; that of its sensor, where the post has another name by now.
    pub fn post_in<'r>(&self, register: &'r Register) -> Option<&'r Arc<Post>> {
        let own = match *self.zone == *UNREGISTERED {
            true => register.named(&self.post_id),
            false => register.by_post(&self.post_id),
        };
        own.or_else(|| register.named(self.life.device.as_ref().unwrap_or(&self.post_id)))
    }

    /// The zone whose crew acts on it: the one that it opened in, or of an unregistered device that of its post, once
    /// it has one, and until then the one that its topic names, where there is such a zone.
    pub fn zone_in<'r>(&'r self, register: &'r Register) -> &'r Arc<str> {
        if *self.zone != *UNREGISTERED {
            return &self.zone;
        }
        let hint = || self.life.hint.as_ref().filter(|zone| register.knows_zone(zone));
        self.post_in(register).map(|post| &post.zone).or_else(hint).unwrap_or(&self.zone)
    }

    /// Where it is, when that is a spot that a person told.
    pub fn told_place(&self) -> Option<&crate::life::Place> {
        self.life.told.as_ref().and_then(|told| told.place.as_ref())
    }

    /// The place as the outside sees it.
    fn place_json(&self) -> Option<serde_json::Value> {
        let told = self.told_place().and_then(|place| serde_json::to_value(place).ok());
        told.or_else(|| (!self.place.is_empty()).then(|| serde_json::Value::from(&*self.place)))
    }

    /// How the outside sees it at `now`.
    pub fn view(&self, now: Timestamp) -> IncidentView {
        let (e, life) = (&self.evidence, &self.life);
        IncidentView {
            id: self.id.to_string(),
            kind: e.kind.name(),
            severity: self.severity.name(),
            scope: self.scope.name(),
            post_id: (!self.post_id.is_empty()).then(|| self.post_id.to_string()),
            feeder: self.feeder.to_string(),
            zone: self.zone.to_string(),
            zone_hint: life.hint.clone(),
            road: self.road.to_string(),
            place: self.place_json(),
            opened_at: self.opened_at.to_rfc3339(),
            due_at: self.due().map(Timestamp::to_rfc3339),
            state: life.state.name(),
            signal: self.signal,
            notes: self.notes.clone(),
            evidence: EvidenceView {
                value: e.thousandths.map(to_f64),
                unit: e.unit(),
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
            breached: self.due().is_some_and(|due| life.is_breached(due, now)),
            remaining_s: self.due().map(|due| life.remaining_s(due, now)),
            safety: life.safety(),
            shelved_until: life
                .shelved
                .as_ref()
                .filter(|_| life.is_shelved(now))
                .map(|s| s.until.to_rfc3339()),
            told_at: life.told_at.map(Timestamp::to_rfc3339),
            untold: self.severity == Severity::P1 && life.told_at.is_none() && !is_over(life.state),
            maintenance: life.job.clone(),
            drill: life.drill,
            simulated: self.notes.iter().any(|note| note == NOTE_SIMULATED),
            members: self.members.iter().map(ToString::to_string).collect(),
            links: life.follows.iter().chain(&self.links).map(ToString::to_string).collect(),
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
        let id = incident_id(Family::Electric, "P1", 7, at);
        assert_eq!(id, incident_id(Family::Electric, "P1", 7, at));
        assert!(id.starts_with("LG-") && id.len() == 15, "{id}");
        let id_of = |about, key, at| incident_id(Family::Electric, about, key, at);
        let supply = incident_id(Family::Supply, "P1", 7, at);
        for other in [id_of("P2", 7, at), id_of("P1", 8, at), id_of("P1", 7, None), supply] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn words_of_signals_read_back() {
        assert_eq!(Signal::from_name("unpowered"), Signal::Unpowered);
        assert_eq!(Signal::from_name("nonsense"), Signal::Active);
    }
}
