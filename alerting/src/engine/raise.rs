//! A confirmed signal becomes an incident, attaches to one, and is followed.

use std::sync::Arc;

use lampguard_model::{Field, Flags, Millis, Quantity, StoredReading, Timestamp, UNREGISTERED};
use serde_json::json;

use super::moves::{Belongs, after};
use super::{Effect, Engine, Open, Owner, UNREGISTERED_MAX, admission_key, sample_of};
use crate::confirm::{Confirmed, Rule};
use crate::incident::{COLLAPSED, Event, Evidence, Incident, KINDS, Kind, Signal, incident_id};
use crate::policy::Policy;
use crate::sample::{Bits, Sample};
use crate::slot::{Fact, Slot, is_powered};
use crate::wet::Because;

pub(super) const NOTE_LATE: &str = "历史超限, 待核实";
pub(super) const NOTE_CLOCK: &str = "设备时钟有误, 按接收时间判定";
const NOTE_SINGLE: &str = "单次读数";
const NOTE_MANUAL: &str = "人工检测";
const NOTE_PE: &str = "按带电处理，可能断PE";
const NOTE_UNREGISTERED: &str = "未登记设备";
const NOTE_WEATHER: &str = "天气未知, 按潮湿限值";
const NOTE_SIMULATED: &str = "模拟数据";
const NOTE_CHATTERING: &str = "时有时无 (chattering)";
/// Prefix of the notes that name devices in the collapsed incident.
const NOTE_DEVICE: &str = "设备 ";

/// Devices that the collapsed incident names; the rest are only in the journal.
pub(super) const NAMED_MAX: usize = 20;
/// PE suspected (`policy.md` 2): shell at or above this …
const PE_SHELL: i64 = 50_000;
/// … with leakage below this, thousandths.
const PE_LEAK: i64 = 3_000;
/// Signal normal: calm for this long …
const CALM: Millis = Millis::minutes(10);
/// … and for this many samples.
const CALM_SAMPLES: usize = 3;
/// Crossings of the limit within the five samples kept that are noted as chattering.
const CROSSINGS: usize = 3;

/// The limit of a kind, thousandths.
pub(super) fn critical(policy: &Policy, kind: Kind, wet: bool) -> i64 {
    let pick = |dry, wet_limit| if wet { wet_limit } else { dry };
    match kind {
        Kind::ShellCritical => {
            let limits = policy.shell_critical;
            pick(limits.dry.thousandths(), limits.wet.thousandths())
        }
        Kind::LeakCritical => {
            let limits = policy.leak_critical;
            pick(limits.dry.thousandths(), limits.wet.thousandths())
        }
        Kind::Reported => i64::MAX,
    }
}

/// What must be said about the reading itself.
pub(super) fn notes_of_reading(reading: &StoredReading<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if reading.flags.has(Flags::SIMULATED) {
        notes.push(NOTE_SIMULATED.to_owned());
    }
    if let (lampguard_model::Cause::Manual, Some(by)) = (reading.cause, reading.by) {
        notes.push(format!("检测人 {by}"));
    }
    notes
}

/// Everything an incident needs, gathered before it is known whether it opens or attaches.
struct Finding {
    name: Arc<str>,
    slot: Option<usize>,
    evidence: Evidence,
    notes: Vec<String>,
    id: Arc<str>,
    follows: Vec<Arc<str>>,
}

impl Engine {
    /// Believed: opens the post's incident, or attaches to the one that is open.
    pub(super) fn raise(
        &mut self,
        slot: usize,
        kind: Kind,
        confirmed: &Confirmed,
        now: Timestamp,
        mut notes: Vec<String>,
        effects: &mut Vec<Effect>,
    ) {
        let s = &self.slots[slot];
        let follows = match self.belongs(self.owners[slot].name(), s.incident(), now) {
            Belongs::Ended => return,
            Belongs::To(place) => {
                let incident = &self.open[place].incident;
                if incident.kinds.contains(&kind) || *incident.post_id == *COLLAPSED {
                    return;
                }
                None
            }
            Belongs::New(follows) => Some(follows),
        };
        let (limit, because) = self.limit(slot, kind, now);
        self.add_notes(s, kind, confirmed, because, &mut notes);
        // Receipt is kept to the second; what was confirmed by the reading at hand came now.
        let earlier = |at: &Timestamp| now.since(*at) >= Millis::seconds(1) && confirmed.rule != Rule::Manual;
        let heard = s.heard_at().filter(earlier);
        let name = self.owners[slot].name().clone();
        let opening = confirmed.opening;
        let own_time = (!opening.has(Bits::RECEIPT)).then(|| opening.at());
        let finding = Finding {
            id: after(incident_id(&name, opening.key(), own_time), follows.as_deref().unwrap_or_default()),
            name,
            slot: Some(slot),
            follows: follows.clone().unwrap_or_default(),
            evidence: self.evidence(kind, confirmed, limit, because, confirmed.shown, heard.unwrap_or(now)),
            notes,
        };
        match s.incident().filter(|_| follows.is_none()) {
            Some(place) => self.attach(place, finding, now, effects),
            None => self.open(finding, now, effects),
        }
    }

    fn evidence(
        &self,
        kind: Kind,
        confirmed: &Confirmed,
        limit: i64,
        because: Option<Because>,
        shown: Sample,
        received_at: Timestamp,
    ) -> Evidence {
        let number = !shown.has(Bits::LIVE) || shown.value() > 0;
        Evidence {
            kind,
            thousandths: number.then(|| shown.value()),
            limit,
            wet: because.is_some(),
            wet_because: because.map_or("", Because::name).to_owned(),
            policy_hash: self.policy_hash.clone(),
            measured_at: shown.at(),
            received_at,
            rule: confirmed.rule.name().to_owned(),
        }
    }

    fn add_notes(
        &self,
        s: &Slot,
        kind: Kind,
        confirmed: &Confirmed,
        because: Option<Because>,
        notes: &mut Vec<String>,
    ) {
        let leak = s.ring(Kind::LeakCritical).newest();
        let near = |leak: &Sample| {
            let apart = leak.at().since(confirmed.shown.at()).0.abs();
            apart <= s.period().0 + 60_000
        };
        let no_current = leak.filter(near).is_some_and(|leak| leak.value() < PE_LEAK);
        let pe = kind == Kind::ShellCritical && confirmed.shown.value() >= PE_SHELL && no_current;
        // What is judged again, or late, brings no reading along that could say so.
        let simulated = s.is(Fact::Simulated) && !notes.iter().any(|note| note == NOTE_SIMULATED);
        for (said, note) in [
            (simulated, NOTE_SIMULATED),
            (confirmed.rule == Rule::SingleSample, NOTE_SINGLE),
            (confirmed.rule == Rule::Manual, NOTE_MANUAL),
            (pe, NOTE_PE),
            (s.is(Fact::Unregistered), NOTE_UNREGISTERED),
            (because == Some(Because::Unknown), NOTE_WEATHER),
        ] {
            if said {
                notes.push(note.to_owned());
            }
        }
    }

    /// A reading of a device without a slot: believed on one sample.
    pub(super) fn judge_untracked(
        &mut self,
        now: Timestamp,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let zone = self.zone(reading.zone);
        let because = self.zones[usize::from(zone)].wet[0];
        for kind in KINDS {
            let limit = critical(&self.policy, kind, because.is_some());
            let key = admission_key(reading);
            let sample = sample_of(reading, kind, reading.measured_at(), is_powered(reading), key);
            let Some(shown) = sample.filter(|s| s.is_above(limit)) else {
                continue;
            };
            let confirmed = Confirmed { rule: Rule::SingleSample, opening: shown, shown };
            let own_time = (!shown.has(Bits::RECEIPT)).then(|| shown.at());
            let name: Arc<str> = Arc::from(reading.post);
            let follows = match self.belongs(&name, self.untracked.get(&name).copied(), now) {
                Belongs::Ended => continue,
                Belongs::To(place) if self.open[place].incident.kinds.contains(&kind) => continue,
                Belongs::To(_) => None,
                Belongs::New(follows) => Some(follows),
            };
            let mut notes = notes_of_reading(reading);
            notes.extend([NOTE_SINGLE.to_owned(), NOTE_UNREGISTERED.to_owned()]);
            let finding = Finding {
                name: name.clone(),
                slot: None,
                evidence: self.evidence(kind, &confirmed, limit, because, shown, now),
                notes,
                id: after(incident_id(&name, shown.key(), own_time), follows.as_deref().unwrap_or_default()),
                follows: follows.clone().unwrap_or_default(),
            };
            match self.untracked.get(&name).copied().filter(|_| follows.is_none()) {
                Some(place) => self.attach(place, finding, now, effects),
                None => self.open(finding, now, effects),
            }
        }
    }

    fn open(&mut self, finding: Finding, now: Timestamp, effects: &mut Vec<Effect>) {
        let owner = finding.slot.map(|slot| self.owners[slot].clone());
        let (feeder, zone, road) = match owner {
            Some(Owner::Registered(post)) => (post.feeder.clone(), post.zone.clone(), post.road.clone()),
            _ => (Arc::from(""), Arc::from(UNREGISTERED), Arc::from("")),
        };
        let stranger = *zone == *UNREGISTERED;
        if stranger && self.strangers_open >= UNREGISTERED_MAX {
            self.collapse(finding, now, effects);
            return;
        }
        self.strangers_open += usize::from(stranger);
        let slot = finding.slot;
        let life = self.new_life(&finding.name, finding.follows, now);
        let incident = Incident {
            id: finding.id,
            post_id: finding.name.clone(),
            feeder,
            zone,
            road,
            opened_at: now,
            due_at: now + self.policy.p1_due,
            signal: Signal::Active,
            notes: finding.notes,
            kinds: vec![finding.evidence.kind],
            evidence: finding.evidence,
            life,
        };
        let place = self.push_open(incident, slot, effects);
        match slot {
            Some(slot) => self.slots[slot].set_incident(place),
            None => _ = self.untracked.insert(finding.name, place),
        }
    }

    pub(super) fn push_open(
        &mut self,
        incident: Incident,
        slot: Option<usize>,
        effects: &mut Vec<Effect>,
    ) -> usize {
        assert!(incident.due_at > incident.opened_at, "a deadline lies behind its start");
        let event = Event {
            key: format!("{}:opened", incident.id),
            incident: incident.id.clone(),
            at: incident.opened_at,
            kind: "opened",
            body: json!({"due_at": incident.due_at.to_rfc3339(), "evidence": body_of(&incident.evidence), "notes": incident.notes})
                .to_string(),
        };
        effects.push(Effect::Open { incident: Box::new(incident.clone()), event });
        self.keep(Open::new(incident, slot))
    }

    /// Ten thousand unregistered devices have an incident each: from here on one stands for all, and names
    /// the first twenty.
    fn collapse(&mut self, finding: Finding, now: Timestamp, effects: &mut Vec<Effect>) {
        let device = format!("{NOTE_DEVICE}{}", finding.name);
        let slot = finding.slot;
        let place = match self.collapsed {
            Some(place) => {
                let notes = &self.open[place].incident.notes;
                let named = notes.iter().filter(|note| note.starts_with(NOTE_DEVICE)).count();
                if named < NAMED_MAX && !notes.contains(&device) {
                    self.note(place, &device, now, effects);
                }
                place
            }
            None => {
                let incident = Incident {
                    id: finding.id,
                    post_id: Arc::from(COLLAPSED),
                    feeder: Arc::from(""),
                    zone: Arc::from(UNREGISTERED),
                    road: Arc::from(""),
                    opened_at: now,
                    due_at: now + self.policy.p1_due,
                    signal: Signal::Active,
                    notes: vec![NOTE_UNREGISTERED.to_owned(), device],
                    kinds: vec![finding.evidence.kind],
                    evidence: finding.evidence,
                    life: self.new_life(COLLAPSED, finding.follows, now),
                };
                let place = self.push_open(incident, None, effects);
                self.collapsed = Some(place);
                place
            }
        };
        if let Some(slot) = slot {
            self.slots[slot].set_incident(place);
        }
    }

    /// A second kind on the same post: evidence of the same incident.
    fn attach(&mut self, place: usize, finding: Finding, now: Timestamp, effects: &mut Vec<Effect>) {
        self.open[place].calm_from = None;
        let incident = &mut self.open[place].incident;
        incident.life.on_evidence();
        incident.kinds.push(finding.evidence.kind);
        for note in finding.notes {
            if !incident.notes.contains(&note) {
                incident.notes.push(note);
            }
        }
        let event = Event {
            key: format!("{}:evidence:{}", incident.id, finding.evidence.kind.name()),
            incident: incident.id.clone(),
            at: now,
            kind: "evidence",
            body: body_of(&finding.evidence).to_string(),
        };
        effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
        self.set_signal(place, Signal::Active, now, finding.evidence.measured_at, effects);
        self.on_evidence(place, now, finding.evidence.kind, effects);
    }

    fn note(&mut self, place: usize, note: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        let incident = &mut self.open[place].incident;
        if incident.notes.iter().any(|known| known == note) {
            return;
        }
        incident.notes.push(note.to_owned());
        let event = Event {
            key: format!("{}:note:{note}", incident.id),
            incident: incident.id.clone(),
            at: now,
            kind: "note",
            body: json!({ "note": note }).to_string(),
        };
        effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
    }

    fn set_signal(
        &mut self,
        place: usize,
        signal: Signal,
        now: Timestamp,
        because_of: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Open { incident, signal_at, .. } = &mut self.open[place];
        if incident.signal == signal {
            return;
        }
        (incident.signal, *signal_at) = (signal, now);
        match signal {
            Signal::Active => incident.life.on_evidence(),
            Signal::Normal | Signal::Unpowered => incident.life.on_quiet(now),
            Signal::Silent => {}
        }
        let event = Event {
            key: format!("{}:signal:{}:{}", incident.id, signal.name(), because_of.0),
            incident: incident.id.clone(),
            at: now,
            kind: "signal",
            body: json!({"signal": signal.name(), "measured_at": because_of.to_rfc3339()}).to_string(),
        };
        effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
    }

    /// What the newest samples say about an open incident. Normal is a fact on it and closes nothing.
    pub(super) fn follow_signal(
        &mut self,
        slot: usize,
        now: Timestamp,
        saturated: bool,
        effects: &mut Vec<Effect>,
    ) {
        let limits = KINDS.map(|kind| self.limit(slot, kind, now).0);
        let s = &self.slots[slot];
        let Some(place) = s.incident().filter(|place| self.open[*place].slot == Some(slot)) else {
            return;
        };
        let open = &mut self.open[place];
        // What a person told, people alone can call over.
        let people_only = open.incident.kinds.contains(&Kind::Reported);
        let (mut hot, mut dark, mut calm, mut chattering) = (saturated, false, !people_only, false);
        for kind in KINDS {
            let (at, limit) = (kind.place(), limits[kind.place()]);
            let samples = s.ring(kind).samples();
            open.calm_since[at] = calm_since(samples, limit, open.calm_since[at]);
            if saturated && open.calm_since[at].is_some() {
                open.calm_since[at] = Some(now);
            }
            let Some(newest) = samples.last() else {
                calm &= !open.incident.kinds.contains(&kind);
                continue;
            };
            hot |= newest.is_above(limit);
            if open.incident.kinds.contains(&kind) {
                dark |= !newest.has(Bits::POWERED);
                calm &= is_normal(samples, open.calm_since[at]);
                let crossings = samples.windows(2).filter(|w| w[0].is_above(limit) != w[1].is_above(limit));
                chattering |= crossings.count() >= CROSSINGS;
            }
        }
        let signal = match open.incident.signal {
            _ if hot => Signal::Active,
            _ if dark => Signal::Unpowered,
            _ if calm => Signal::Normal,
            Signal::Normal => Signal::Normal,
            _ => Signal::Active,
        };
        match signal {
            _ if hot => open.calm_from = None,
            Signal::Normal => _ = open.calm_from.get_or_insert(now),
            _ => {}
        }
        let newest_at = s.newest_at;
        self.set_signal(place, signal, now, newest_at, effects);
        if chattering {
            self.note(place, NOTE_CHATTERING, now, effects);
        }
    }

    /// Open incidents whose post has stopped talking while we were listening.
    pub(super) fn notice_silence(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.open.len() {
            if let Some((heard, after)) = self.silent_after(&self.open[place])
                && now > after
            {
                self.set_signal(place, Signal::Silent, now, heard, effects);
            }
        }
    }

    /// When the post of an incident was heard, and the last moment at which it is not silent yet; `None` when
    /// it cannot become silent.
    pub(super) fn silent_after(&self, open: &Open) -> Option<(Timestamp, Timestamp)> {
        let showing = !open.over && matches!(open.incident.signal, Signal::Active | Signal::Normal);
        let s = &self.slots[open.slot.filter(|_| showing)?];
        // A post without a sensor cannot fall silent. One that opened by its sensor before a restart can.
        let by_hand = open.incident.evidence.rule == Rule::Manual.name();
        if s.is(Fact::Unmonitored) || (s.heard_at().is_none() && by_hand) {
            return None;
        }
        let heard = s.heard_at().unwrap_or(self.running_since);
        let since = heard.max(self.running_since + s.period());
        Some((heard, since + s.silent_bound()))
    }
}

/// Since when samples have been calm without a break, as far as is known.
fn calm_since(samples: &[Sample], limit: i64, known: Option<Timestamp>) -> Option<Timestamp> {
    match samples.iter().rposition(|s| !s.is_calm(limit)) {
        Some(last) => samples.get(last + 1).map(|s| s.at()).max(known.filter(|_| last + 1 < samples.len())),
        None => known.or_else(|| samples.first().map(|s| s.at())),
    }
}

fn is_normal(samples: &[Sample], calm_since: Option<Timestamp>) -> bool {
    let (Some(since), Some(newest)) = (calm_since, samples.last()) else {
        return false;
    };
    let counted = samples.iter().filter(|s| s.at() >= since).count();
    counted >= CALM_SAMPLES && newest.at().since(since) >= CALM
}

fn body_of(evidence: &Evidence) -> serde_json::Value {
    serde_json::to_value(evidence).unwrap_or_default()
}

/// True when leakage or shell voltage of the newest samples is at or above the *warning* limits.
pub(super) fn is_warning(policy: &Policy, s: &Slot, wet: bool) -> Option<String> {
    let pick = |dry: i64, wet_limit: i64| if wet { wet_limit } else { dry };
    let (shell, leak) = (policy.shell_warning, policy.leak_warning);
    let limits = [
        pick(shell.dry.thousandths(), shell.wet.thousandths()),
        pick(leak.dry.thousandths(), leak.wet.thousandths()),
    ];
    KINDS.into_iter().find_map(|kind| {
        let (newest, limit) = (s.ring(kind).newest()?, limits[kind.place()]);
        newest.is_above(limit).then(|| above_text(kind, newest, limit))
    })
}

/// "leakage_ma 35 at or above 30".
pub(super) fn above_text(kind: Kind, sample: Sample, limit: i64) -> String {
    let field = match kind {
        Kind::ShellCritical => Field::ShellV,
        Kind::LeakCritical | Kind::Reported => Field::LeakageMa,
    };
    let number = lampguard_model::units::Thousandths;
    format!("{} {} at or above {}", field.name(), number(sample.value()), number(limit))
}
