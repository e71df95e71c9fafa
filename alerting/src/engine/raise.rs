//! A finding becomes an incident, or attaches to one. Severity only rises.

use std::sync::Arc;

use lampguard_model::{Flags, Millis, StoredReading, Timestamp, UNREGISTERED};
use serde_json::json;

use super::ladder::event_of;
use super::moves::{Belongs, REPEATED, after};
use super::place::Subject;
use super::{Effect, Engine, Open, SIGNALS_KEPT, UNREGISTERED_MAX};
use crate::incident::{
    COLLAPSED, Event, Evidence, Family, Incident, Kind, NO_DUE, NOTE_SIMULATED, Severity, Signal, about,
    incident_id,
};
use crate::life::{Life, Stage, takes_evidence};
use crate::slot::{Fact, Slot};
use crate::wet::Because;

pub(super) const NOTE_LATE: &str = "历史超限, 待核实";
pub(super) const NOTE_CLOCK: &str = "设备时钟有误, 按接收时间判定";
pub(super) const NOTE_SINGLE: &str = "单次读数";
pub(super) const NOTE_MANUAL: &str = "人工检测";
pub(super) const NOTE_PE: &str = "按带电处理，可能断PE";
pub(super) const NOTE_UNREGISTERED: &str = "未登记设备";
const NOTE_WEATHER: &str = "天气未知, 按潮湿限值";
pub(super) const NOTE_CHATTERING: &str = "时有时无 (chattering)";
const NOTE_STUCK: &str = "读数不变 (stuck)";
const NOTE_UNIT: &str = "单位可疑 (unit suspect)";
/// Prefix of the notes that name crews of planned work in the midst of it.
const NOTE_INSIDE: &str = "其中有检修 (planned work inside): ";

/// Devices that one note, or the collapsed incident, names; the rest are only in the journal.
pub(super) const NAMED_MAX: usize = 20;
/// Posts that an incident about several names; the rest stand in the event log.
const MEMBERS_MAX: usize = 1000;

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
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    pub(super) family: Family,
    pub(super) severity: Severity,
    /// Time to the deadline; `None`: it has none.
    pub(super) due: Option<Millis>,
    pub(super) evidence: Evidence,
    pub(super) notes: Vec<String>,
    /// Zone that the topic of a device without a slot named.
    pub(super) hint: Option<Arc<str>>,
    /// Posts that it names.
    pub(super) members: Vec<Arc<str>>,
    /// Which sample, and when: names the incident.
    pub(super) key: u32,
    pub(super) key_at: Option<Timestamp>,
    /// People are told of its opening, as far as its severity calls for it.
    pub(super) told: bool,
}

impl Finding {
    /// With another severity than the kind's usual one.
    pub(super) fn with(mut self, severity: Severity, policy: &crate::policy::Policy) -> Self {
        self.severity = severity;
        self.due = self.evidence.kind.due(severity, policy);
        self
    }

    /// With a value and the limit that it reached, thousandths.
    pub(super) fn value(mut self, field: &str, value: Option<i64>, limit: i64) -> Self {
        field.clone_into(&mut self.evidence.field);
        (self.evidence.thousandths, self.evidence.limit) = (value, limit);
        self
    }

    /// Named by that moment, which is also when it was measured.
    pub(super) fn at(mut self, at: Timestamp) -> Self {
        (self.evidence.measured_at, self.key_at) = (at, Some(at));
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl Engine {
    /// A finding about `subject` with what is usual for its kind.
    pub(super) fn finding(&self, subject: Subject, kind: Kind, now: Timestamp) -> Finding {
        let because = match &subject {
            Subject::Post(slot) => self.wet_because(*slot, now),
            Subject::Feeder(feeder) => self.zone_wet(self.feeders[*feeder].zone),
            Subject::Zone(zone) => self.zone_wet(*zone),
            _ => None,
        };
        let mut notes = Vec::new();
        if let Subject::Post(slot) = &subject {
            self.usual_notes(*slot, because, &mut notes);
        }
        let evidence = Evidence {
            kind,
            field: String::new(),
            thousandths: None,
            limit: 0,
            wet: because.is_some(),
            wet_because: because.map_or("", Because::name).to_owned(),
            policy_hash: self.policy_hash.clone(),
            measured_at: now,
            received_at: now,
            rule: kind.name().to_owned(),
        };
        Finding {
            subject,
            family: kind.family(),
            severity: kind.severity(),
            due: kind.due(kind.severity(), &self.policy),
            evidence,
            notes,
            hint: None,
            members: Vec::new(),
            key: 0,
            key_at: Some(now),
            told: true,
        }
    }

    /// What must be said of a post whatever was found.
    pub(super) fn usual_notes(&self, slot: usize, because: Option<Because>, notes: &mut Vec<String>) {
        let s = &self.slots[slot];
        for (said, note) in [
            (s.is(Fact::Simulated), NOTE_SIMULATED),
            (s.is(Fact::Unregistered), NOTE_UNREGISTERED),
            (because == Some(Because::Unknown), NOTE_WEATHER),
            (s.is(Fact::Stuck), NOTE_STUCK),
            (s.is(Fact::UnitSuspect), NOTE_UNIT),
        ] {
            if said && !notes.iter().any(|known| known == note) {
                notes.push(note.to_owned());
            }
        }
    }

    /// Opens an incident, or attaches to the one that takes evidence. Returns its place; `None` when it was part
    /// of an incident that is over, and only a replay brings it again.
    pub(super) fn put(
        &mut self,
        mut finding: Finding,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Option<usize> {
        self.mark_simulated(&mut finding);
        let (severity, measured_at) = (finding.severity, finding.evidence.measured_at);
        match self.goes_to(&finding.subject, finding.family, severity, measured_at, now) {
            Belongs::To(place) => {
                self.attach(place, finding, now, effects);
                Some(place)
            }
            Belongs::New(follows) => Some(self.open(finding, follows, now, effects)),
            Belongs::Ended => None,
        }
    }

    /// Says of a feeder or a zone that what shows there came from simulated sensors. For people: no rule asks.
    pub(super) fn mark_simulated(&self, finding: &mut Finding) {
        let is = |slot: &Slot| slot.is(Fact::Simulated);
        let named = |name: &Arc<str>| self.places.get(name).is_some_and(|at| is(&self.slots[*at as usize]));
        let simulated = match finding.subject {
            // No post of a cabinet's finding is named: its own sensor says it.
            Subject::Feeder(feeder) if finding.members.is_empty() => {
                let cabinets = self.cabinets.keys().map(|slot| &self.slots[*slot]);
                cabinets.filter(|slot| slot.feeder() == Some(feeder)).any(is)
            }
            Subject::Feeder(_) => finding.members.iter().any(named),
            // One simulated post makes no zone of real ones a simulated one.
            Subject::Zone(zone) => {
                let of_zone = |(at, slot): &(usize, &Slot)| {
                    usize::from(slot.zone) == zone && self.is_counted(*at) && slot.heard_at().is_some()
                };
                let mut heard = self.slots.iter().enumerate().filter(of_zone).peekable();
                heard.peek().is_some() && heard.all(|(_, slot)| is(slot))
            }
            _ => false,
        };
        if simulated && !finding.notes.iter().any(|note| note == NOTE_SIMULATED) {
            finding.notes.push(NOTE_SIMULATED.to_owned());
        }
    }

    /// What an incident of a subject is about, in one word for each subject: part of its id.
    pub(super) fn about(&self, subject: &Subject) -> String {
        let [post_id, feeder, zone, _, place] = self.whereabouts(subject);
        about(subject.scope(), &post_id, &feeder, &zone, &place)
    }

    /// Name, feeder, zone, road and place of what an incident is about.
    pub(super) fn whereabouts(&self, subject: &Subject) -> [Arc<str>; 5] {
        let none = || Arc::from("");
        match subject {
            Subject::Post(slot) => match self.owners[*slot].post() {
                Some(post) => {
                    let (name, feeder) = (post.post_id.clone(), post.feeder.clone());
                    [name, feeder, post.zone.clone(), post.road.clone(), none()]
                }
                None => [self.owners[*slot].name().clone(), none(), Arc::from(UNREGISTERED), none(), none()],
            },
            Subject::Untracked(name) => [name.clone(), none(), Arc::from(UNREGISTERED), none(), none()],
            Subject::Collapsed => [Arc::from(COLLAPSED), none(), Arc::from(UNREGISTERED), none(), none()],
            Subject::Feeder(feeder) => {
                let feeder = &self.feeders[*feeder];
                let road = feeder.members.first().and_then(|slot| self.owners[*slot as usize].post());
                let road = road.map_or_else(none, |post| post.road.clone());
                [none(), feeder.name.clone(), self.zones[feeder.zone].name.clone(), road, none()]
            }
            Subject::Zone(zone) => [none(), none(), self.zones[*zone].name.clone(), none(), none()],
            Subject::Place(place, zone) => [none(), none(), zone.clone(), none(), place.clone()],
            Subject::System(part) => [none(), none(), none(), none(), part.clone()],
        }
    }

    pub(super) fn open(
        &mut self,
        mut finding: Finding,
        follows: Vec<Arc<str>>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let [post_id, feeder, zone, road, place] = self.whereabouts(&finding.subject);
        let stranger = *zone == *UNREGISTERED;
        if stranger && finding.subject != Subject::Collapsed {
            if self.strangers_open >= UNREGISTERED_MAX {
                return self.collapse(finding, &post_id, now, effects);
            }
            self.strangers_open += 1;
        }
        let about = about(finding.subject.scope(), &post_id, &feeder, &zone, &place);
        finding.members.truncate(MEMBERS_MAX);
        let id = incident_id(finding.family, &about, finding.key, finding.key_at);
        let mut life = self.new_life(&post_id, follows, now);
        life.hint = life.hint.or(finding.hint.take());
        let (id, subject, told) = (after(id, &life.follows), finding.subject.clone(), finding.told);
        let incident = incident_of(id, finding, [post_id, feeder, zone, road, place], life, now);
        self.begin(incident, &subject, told, effects)
    }

    /// Puts a new incident among the open ones, and tells of it.
    pub(super) fn begin(
        &mut self,
        mut incident: Incident,
        subject: &Subject,
        told: bool,
        effects: &mut Vec<Effect>,
    ) -> usize {
        if incident.life.job.is_none() {
            incident.life.job = self.job_among(&incident).map(|job| job.crew.clone());
        }
        if incident.life.job.is_none() {
            let inside = self.crews_inside(&incident).into_iter();
            incident.notes.extend(inside.map(|crew| format!("{NOTE_INSIDE}{crew}")));
        }
        assert!(incident.due_at > incident.opened_at, "a deadline lies behind its start");
        let event = Event {
            key: format!("{}:opened", incident.id),
            incident: incident.id.clone(),
            at: incident.opened_at,
            kind: "opened",
            body: json!({"severity": incident.severity.name(), "due_at": incident.due().map(Timestamp::to_rfc3339),
                "evidence": body_of(&incident.evidence), "members": incident.members, "notes": incident.notes})
            .to_string(),
        };
        let (told, family, drill) = (told && incident.is_told(), incident.family, incident.life.drill);
        let now = incident.opened_at;
        self.note_raised(&incident, now);
        let to = self.begin_ladder(&mut incident, told, now);
        effects.push(Effect::Open { incident: Box::new(incident.clone()), event, told, to });
        let place = self.keep(Open::new(incident, subject.clone()));
        self.schedule(place, now);
        // What is not real takes no evidence.
        if !drill {
            self.take(subject, family, place);
        }
        place
    }

    /// More evidence: of a kind that is new on the incident, or graver than what it has.
    pub(super) fn attach(
        &mut self,
        place: usize,
        finding: Finding,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_collapsed(place) {
            return;
        }
        let hint = self.hint_of(&finding.subject).or(finding.hint.clone());
        let incident = &self.open[place].incident;
        let (kind, severity, wanted) = (finding.evidence.kind, finding.severity, finding.told);
        let (new, graver) = (!incident.kinds.contains(&kind), severity > incident.severity);
        self.add_members(place, &finding.members, now, effects);
        if !new && !graver {
            if severity == Severity::P1 && self.shows_again(place, now) {
                self.set_signal(place, Signal::Active, now, finding.evidence.measured_at, effects);
                self.on_evidence(place, now, (kind, severity), effects);
            }
            return self.doubt_repair(place, &finding, now, effects);
        }
        let open = &mut self.open[place];
        (open.calm_from, open.clear_since) = (None, None);
        let incident = &mut open.incident;
        incident.life.on_evidence();
        incident.life.hint = hint.or(incident.life.hint.take());
        if new {
            incident.kinds.push(kind);
        }
        for note in finding.notes {
            if !incident.notes.contains(&note) {
                incident.notes.push(note);
            }
        }
        let measured_at = finding.evidence.measured_at;
        // A shell that is live is due in half an hour, also where a leak that is due in a day was known.
        let due_at = finding.due.map_or(NO_DUE, |due| now + due);
        let same = severity == incident.severity && takes_evidence(incident.life.state);
        if same && due_at < incident.due_at {
            incident.due_at = due_at;
            let body = json!({"due_at": due_at.to_rfc3339(), "evidence": body_of(&finding.evidence)});
            incident.evidence = finding.evidence;
            // A crew on the spot is told below, with every other danger that shows there.
            let wanted = wanted && incident.life.state != Stage::Arrived;
            let told = (wanted && incident.is_told_at(now)).then_some(REPEATED);
            self.say(place, now, &format!("evidence:{}", kind.name()), "evidence", &body, told, effects);
        } else if graver {
            self.become_graver(place, finding.evidence, (severity, due_at), wanted, now, effects);
        } else {
            let event = Event {
                key: format!("{}:evidence:{}", incident.id, kind.name()),
                incident: incident.id.clone(),
                at: now,
                kind: "evidence",
                body: body_of(&finding.evidence).to_string(),
            };
            effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
        }
        self.set_signal(place, Signal::Active, now, measured_at, effects);
        self.on_evidence(place, now, (kind, severity), effects);
        self.schedule(place, now);
    }

    /// Severity rises: the deadline is the earlier of the two, the graver evidence is shown, and people are told.
    fn become_graver(
        &mut self,
        place: usize,
        evidence: Evidence,
        (severity, due_at): (Severity, Timestamp),
        wanted: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let mut incident = self.open[place].incident.clone();
        let raised = incident.severity >= Severity::P2;
        incident.due_at = incident.due_at.min(due_at);
        incident.severity = severity;
        incident.p1_at = (severity == Severity::P1).then_some(now);
        incident.life.breached_at = None;
        if severity == Severity::P1 {
            incident.life.on_p1(self.is_relieved(&incident, now));
        }
        let body = json!({"severity": severity.name(), "due_at": incident.due().map(Timestamp::to_rfc3339),
            "evidence": body_of(&evidence)});
        incident.evidence = evidence;
        let key = format!("escalated:{}", severity.name());
        let event = event_of(&incident, now, &key, "escalated", &body);
        // Since now, not since it opened: a P3 of yesterday that is due in half an hour is news.
        let called = severity == Severity::P1 || (wanted && severity == Severity::P2);
        let told = called && incident.is_told_at(now);
        if !raised {
            self.note_raised(&incident, now);
        }
        let to = self.begin_ladder(&mut incident, told, now);
        self.open[place].incident = incident.clone();
        effects.push(Effect::Escalated { incident: Box::new(incident), event, told, to });
    }

    /// The same again after a repair, perhaps without a number: nothing else says that it still shows. The desk that
    /// overrode it knew of that.
    fn doubt_repair(&mut self, place: usize, finding: &Finding, now: Timestamp, effects: &mut Vec<Effect>) {
        let life = &self.open[place].incident.life;
        let waits = matches!(life.state, Stage::Repaired | Stage::Verifying) && !life.is_overridden();
        let (kind, at) = (finding.evidence.kind, finding.evidence.measured_at);
        if waits && life.repaired.as_ref().is_some_and(|repair| at > repair.mark.at) {
            // What a person told is told with his words.
            let told = (kind != Kind::Reported).then_some(REPEATED);
            self.verify_anew(place, at, now, told, effects);
        }
    }

    /// Names more posts on an incident.
    pub(super) fn add_members(
        &mut self,
        place: usize,
        members: &[Arc<str>],
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let incident = &mut self.open[place].incident;
        let new: Vec<Arc<str>> =
            members.iter().filter(|name| !incident.members.contains(name)).cloned().collect();
        let room = MEMBERS_MAX.saturating_sub(incident.members.len());
        let new = &new[..new.len().min(room)];
        if new.is_empty() {
            return;
        }
        incident.members.extend_from_slice(new);
        let event = Event {
            key: format!("{}:members:{}", incident.id, incident.members.len()),
            incident: incident.id.clone(),
            at: now,
            kind: "members",
            body: json!({ "members": new }).to_string(),
        };
        effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
        // It may have grown beyond the planned work that it was within.
        if self.open[place].incident.life.job.is_some() {
            self.leave_job(place, "beyond_maintenance", now, effects);
        }
    }

    /// Writes on both incidents that they belong together (policy.md 4, merge). The parent gets the highest
    /// severity and the earliest deadline of the two, and never passes its members (`life::apply`).
    pub(super) fn link(&mut self, parent: usize, member: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let [of_parent, of_member] = [parent, member].map(|place| self.open[place].incident.clone());
        if of_parent.links.contains(&of_member.id) {
            return;
        }
        for (place, other) in [(parent, &of_member), (member, &of_parent)] {
            let relieved = self.is_relieved(&self.open[place].incident, now);
            let incident = &mut self.open[place].incident;
            incident.links.push(other.id.clone());
            if place == member {
                // Entries of lists are nobody's work: a parent does not wait for them.
                incident.life.parent = incident.due().map(|_| other.id.clone());
            } else {
                incident.due_at = incident.due_at.min(of_member.due_at).max(incident.opened_at + Millis(1));
                if of_member.severity > incident.severity {
                    (incident.severity, incident.p1_at) =
                        (of_member.severity, of_member.p1_at.and(Some(now)));
                    incident.life.breached_at = None;
                    if of_member.severity == Severity::P1 {
                        incident.life.on_p1(relieved);
                    }
                }
            }
            let event = Event {
                key: format!("{}:linked:{}", incident.id, other.id),
                incident: incident.id.clone(),
                at: now,
                kind: "linked",
                body: json!({"incident": other.id, "due_at": incident.due().map(Timestamp::to_rfc3339)})
                    .to_string(),
            };
            effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
            self.schedule(place, now);
        }
    }

    pub(super) fn note(&mut self, place: usize, note: &str, now: Timestamp, effects: &mut Vec<Effect>) {
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

    pub(super) fn set_signal(
        &mut self,
        place: usize,
        signal: Signal,
        now: Timestamp,
        because_of: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        // A replay brings quiet from before somebody stood there: it says nothing of what came after.
        let since = self.open[place].incident.life.stands_since();
        let old = since.is_some_and(|at| self.was_before(at, now));
        let Open { incident, signal_at, signals, .. } = &mut self.open[place];
        if incident.signal == signal {
            return;
        }
        (incident.signal, *signal_at) = (signal, now);
        match signal {
            Signal::Active => incident.life.on_evidence(),
            Signal::Normal | Signal::Unpowered if old => {}
            Signal::Normal | Signal::Unpowered => incident.life.on_quiet(now),
            Signal::Silent => {}
        }
        let again = signals.iter().filter(|known| **known == (signal, because_of)).count();
        let again = if again == 0 { String::new() } else { format!(":{again}") };
        signals.push_back((signal, because_of));
        if signals.len() > SIGNALS_KEPT {
            signals.pop_front();
        }
        let event = Event {
            key: format!("{}:signal:{}:{}{again}", incident.id, signal.name(), because_of.0),
            incident: incident.id.clone(),
            at: now,
            kind: "signal",
            body: json!({"signal": signal.name(), "measured_at": because_of.to_rfc3339()}).to_string(),
        };
        let system = incident.family == Family::System;
        effects.push(Effect::Changed { incident: Box::new(incident.clone()), event });
        if system {
            self.schedule(place, now);
        }
    }
}

/// The incident that a finding opens now.
pub(super) fn incident_of(
    id: Arc<str>,
    finding: Finding,
    [post_id, feeder, zone, road, place]: [Arc<str>; 5],
    life: Life,
    now: Timestamp,
) -> Incident {
    Incident {
        id,
        life,
        family: finding.family,
        severity: finding.severity,
        scope: finding.subject.scope(),
        post_id,
        feeder,
        zone,
        road,
        place,
        opened_at: now,
        due_at: finding.due.map_or(NO_DUE, |due| now + due),
        p1_at: (finding.severity == Severity::P1).then_some(now),
        members: finding.members,
        links: Vec::new(),
        signal: Signal::Active,
        notes: finding.notes,
        kinds: vec![finding.evidence.kind],
        evidence: finding.evidence,
    }
}

fn body_of(evidence: &Evidence) -> serde_json::Value {
    serde_json::to_value(evidence).unwrap_or_default()
}
