//! Why a post did or did not raise: what the rules know of it at a moment, and what is missing. Changes nothing.

use lampguard_model::units::to_f64;
use lampguard_model::{Millis, Timestamp, UNREGISTERED};
use serde::{Deserialize, Serialize};

use super::Engine;
use crate::confirm::{Question, checks};
use crate::incident::Incident;
use crate::kind::{SAMPLED, Sampled};
use crate::sample::{Bits, Sample};
use crate::slot::{Fact, Slot};
use crate::wet::{ALL, Weather};

/// What is known of a post at a moment, and what the rules make of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The post, or the device that nobody registered.
    pub post_id: String,
    /// The moment, RFC 3339 UTC.
    pub at: String,
    /// Where it comes from: `live`, or what was replayed and since when.
    pub source: String,
    /// Zone; `unregistered` when nobody knows it.
    pub zone: String,
    /// Feeder; may be empty.
    pub feeder: String,
    /// What it is: `post`, `cabinet`, `unmonitored`, `unregistered`, `unknown` (neither register nor data).
    pub what: String,
    /// State on the board.
    pub state: String,
    /// Why it has that state.
    pub why: String,
    /// Fingerprint of the policy in force.
    pub policy_hash: String,
    /// Wet or dry.
    pub wet: Wetness,
    /// With or without supply.
    pub supply: Supply,
    /// Learned or configured period, seconds.
    pub period_s: i64,
    /// Receipt of the newest data.
    pub heard_at: Option<String>,
    /// Silent after so many seconds without data.
    pub silent_after_s: i64,
    /// Each quantity with its limits, samples and rules.
    pub quantities: Vec<Quantified>,
    /// Its incident that takes evidence, if there is one.
    pub incident: Option<Raised>,
}

/// Wet or dry, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wetness {
    /// Wet limits are in force.
    pub wet: bool,
    /// A word of [`crate::wet::Because`]; empty when dry.
    pub because: String,
    /// The post lies low: it dries later.
    pub low_lying: bool,
    /// Last moment with water at the post itself.
    pub immersed_at: Option<String>,
    /// Newest weather message of its zone or of all.
    pub weather_at: Option<String>,
    /// Official warning of its zone or of all; empty when none.
    pub warning: String,
    /// When it will be dry if nothing else happens; `None` while it is dry, wet now, or the weather unknown.
    pub dries_at: Option<String>,
}

/// With or without supply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Supply {
    /// Its newest sample was taken with supply.
    pub powered: bool,
    /// Supply is due by the timetable; `None` when nobody knows one.
    pub expected: Option<bool>,
    /// Where that comes from, in words.
    pub timetable: String,
}

/// One quantity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantified {
    /// Field: `leakage_ma`.
    pub field: String,
    /// Kind that it can raise.
    pub kind: String,
    /// Unit.
    pub unit: String,
    /// The critical limit in force.
    pub limit: f64,
    /// The same while dry.
    pub limit_dry: f64,
    /// The same while wet.
    pub limit_wet: f64,
    /// The warning limit in force.
    pub warning: f64,
    /// The last valid samples, oldest first.
    pub samples: Vec<Seen>,
    /// The newest one is too old to be judged again when limits change.
    pub stale: bool,
    /// What would believe it, and what is missing.
    pub rules: Vec<Checked>,
    /// The rule that believes it now; `None` when none does.
    pub confirmed_by: Option<String>,
    /// It is evidence of the open incident.
    pub raised: bool,
}

/// One sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was measured, as far as it is believed.
    pub measured_at: String,
    /// Value; `None` when a person found it live without a number.
    pub value: Option<f64>,
    /// At or above the limit in force.
    pub above: bool,
    /// Taken with supply.
    pub powered: bool,
    /// The device's own flag was up.
    pub flagged: bool,
    /// Typed in by a person.
    pub manual: bool,
    /// Its time is that of receipt.
    pub at_receipt: bool,
}

/// One rule of confirming.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Its word.
    pub rule: String,
    /// It holds.
    pub holds: bool,
    /// What it has and what is missing, in English.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
}

/// The incident that takes evidence of the post.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    /// Id.
    pub id: String,
    /// Kinds that it has evidence of.
    pub kinds: Vec<String>,
    /// Signal.
    pub signal: String,
    /// State of its life.
    pub state: String,
    /// Opened.
    pub opened_at: String,
    /// A crew must stand there.
    pub due_at: String,
    /// Rule that believed it.
    pub rule: String,
    /// Fingerprint of the policy that opened it.
    pub policy_hash: String,
}

impl Engine {
    /// What is known of a post or device at `now`, and what the rules make of it.
    pub fn explain(&self, post: &str, now: Timestamp) -> Explanation {
        let known = self.register.by_post(post).or_else(|| self.register.by_device(post));
        let name = known.map_or(post, |known| &*known.post_id);
        let place = self.places.get(name).map(|place| *place as usize);
        let state = self.post_state(name, now);
        let zone = known.map_or(UNREGISTERED, |known| &*known.zone);
        let low = known.is_some_and(|known| known.low_lying);
        let what = match (known, place) {
            (Some(known), _) if known.kind == lampguard_model::PostKind::Feeder => "cabinet",
            (Some(known), _) if !known.monitored => "unmonitored",
            (Some(_), _) => "post",
            (None, Some(_)) => "unregistered",
            (None, None) => "unknown",
        };
        let mut told = Explanation {
            post_id: name.to_owned(),
            at: now.to_rfc3339(),
            source: "live".to_owned(),
            zone: zone.to_owned(),
            feeder: known.map_or_else(String::new, |known| known.feeder.to_string()),
            what: what.to_owned(),
            state: word_of(state.state),
            why: state.why,
            policy_hash: self.policy_hash.to_string(),
            wet: self.wetness(zone, low, now),
            ..Explanation::default()
        };
        (told.wet.wet, told.wet.because) = (state.wet, state.wet_because);
        if let Some(slot) = place {
            self.explain_slot(slot, now, &mut told);
        }
        told
    }

    fn explain_slot(&self, slot: usize, now: Timestamp, told: &mut Explanation) {
        let s = &self.slots[slot];
        told.wet.immersed_at = s.immersed_at().map(Timestamp::to_rfc3339);
        told.supply.powered = s.is(Fact::Powered);
        if let Some(expected) = self.timetable_of(slot, now) {
            let since =
                (expected.since.0 > i64::MIN).then(|| format!("since {}", expected.since.to_rfc3339()));
            let until = expected.until.map(|until| format!("until {}", until.to_rfc3339()));
            told.supply.expected = Some(expected.on);
            told.supply.timetable = since.into_iter().chain(until).collect::<Vec<_>>().join(" ");
        }
        told.period_s = s.period().as_seconds();
        told.heard_at = s.heard_at().map(Timestamp::to_rfc3339);
        told.silent_after_s = self
            .silent_bound(slot, self.policy.offline.dry_periods, self.policy.offline.silent_min, now)
            .as_seconds();
        let incident = s.incident().map(|place| &self.open[place].incident);
        told.incident = incident.map(raised);
        told.quantities =
            SAMPLED.iter().map(|sampled| self.quantified(slot, s, *sampled, incident, now)).collect();
    }

    fn quantified(
        &self,
        slot: usize,
        s: &Slot,
        sampled: Sampled,
        incident: Option<&Incident>,
        now: Timestamp,
    ) -> Quantified {
        let (limit, because) = self.limit(slot, sampled, false, now);
        let of = |wet| self.limit_when(sampled, false, wet);
        let samples = s.ring(sampled).samples();
        let kind = sampled.critical();
        let question = Question {
            rules: &self.policy.confirm,
            samples,
            limit,
            period: s.period(),
            came: samples.len().checked_sub(1),
        };
        let fresh = Millis(i64::from(self.policy.samples.fresh_periods) * s.period().0);
        Quantified {
            field: sampled.field().name().to_owned(),
            kind: kind.name().to_owned(),
            unit: kind.unit().to_owned(),
            limit: to_f64(limit),
            limit_dry: to_f64(of(false)),
            limit_wet: to_f64(of(true)),
            warning: to_f64(self.limit_when(sampled, true, because.is_some())),
            stale: samples.last().is_some_and(|last| now.since(last.at()) > fresh),
            rules: checks(&question),
            confirmed_by: crate::confirm::confirm(&question).map(|by| by.rule.name().to_owned()),
            raised: incident.is_some_and(|incident| incident.kinds.contains(&kind)),
            samples: samples.iter().map(|sample| seen(*sample, limit)).collect(),
        }
    }

    fn wetness(&self, zone: &str, low_lying: bool, now: Timestamp) -> Wetness {
        let told: Vec<&Weather> = [zone, ALL].iter().filter_map(|name| self.sky.get(name)).collect();
        let warning =
            told.iter().map(|weather| weather.warning).find(|w| *w != lampguard_model::Warning::None);
        let dries_at = told.iter().filter_map(|weather| weather.dries_at(low_lying)).max();
        Wetness {
            low_lying,
            weather_at: told.iter().filter_map(|weather| weather.newest_at).max().map(Timestamp::to_rfc3339),
            warning: warning.map_or_else(String::new, word_of),
            dries_at: dries_at.filter(|at| *at > now).map(Timestamp::to_rfc3339),
            ..Wetness::default()
        }
    }
}

/// The word under which something is written everywhere.
fn word_of(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn seen(sample: Sample, limit: i64) -> Seen {
    let number = !sample.has(Bits::LIVE) || sample.value() > 0;
    Seen {
        measured_at: sample.at().to_rfc3339(),
        value: number.then(|| to_f64(sample.value())),
        above: sample.is_above(limit),
        powered: sample.has(Bits::POWERED),
        flagged: sample.has(Bits::FLAGGED),
        manual: sample.has(Bits::MANUAL),
        at_receipt: sample.has(Bits::RECEIPT),
    }
}

fn raised(incident: &Incident) -> Raised {
    Raised {
        id: incident.id.to_string(),
        kinds: incident.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        signal: incident.signal.name().to_owned(),
        state: incident.life.state.name().to_owned(),
        opened_at: incident.opened_at.to_rfc3339(),
        due_at: incident.due().map(Timestamp::to_rfc3339).unwrap_or_default(),
        rule: incident.evidence.rule.clone(),
        policy_hash: incident.evidence.policy_hash.to_string(),
    }
}
