//! What was sent, accepted and recorded in a night; the checks read nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lampguard_alerting::Incident;
use lampguard_alerting::incident::Event;
use lampguard_alerting::life::is_over;
use lampguard_alerting::notice::{DIGEST, Notice};
use lampguard_model::Timestamp;
use serde_json::Value;

use crate::score::Message;

/// One notice on its way that names an incident.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) event: String,
    pub(super) step: u32,
    pub(super) to: String,
    pub(super) channel: Arc<str>,
}

impl Sent {
    pub(super) fn is_list(&self) -> bool {
        self.event == DIGEST
    }
}

/// Rungs of one incident that were told together.
#[derive(Clone, Debug)]
pub(super) struct Rungs {
    pub(super) at: Timestamp,
    pub(super) steps: Vec<u64>,
    /// Their time had come; else a message had failed, the board was closed, a crew handed it back.
    pub(super) due: bool,
    /// They went into lists.
    pub(super) listed: bool,
}

/// What is known of one incident.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) sent: Vec<Sent>,
    pub(super) accepted: Vec<Timestamp>,
    pub(super) rungs: Vec<Rungs>,
    /// As a P1.
    pub(super) breaches: usize,
    /// When it was over for the first time.
    pub(super) over_at: Option<Timestamp>,
    /// Which person is named as its crew since when, and whether he has said that he has it.
    pub(super) crews: Vec<(Timestamp, Option<Arc<str>>, bool)>,
    /// Changes of shift: from, to.
    pub(super) handovers: Vec<(Timestamp, String, String)>,
    /// The next shift took it.
    pub(super) accepts: Vec<Timestamp>,
    /// The desk heard that nobody had.
    pub(super) not_accepted: Vec<Timestamp>,
    /// The desk was offered to have its feeder switched off.
    pub(super) offers: Vec<Timestamp>,
}

impl History {
    /// Who is named as its crew at a moment, and whether he has said that he has it.
    pub(super) fn crew_at(&self, at: Timestamp) -> (Option<&Arc<str>>, bool) {
        let known = self.crews.iter().rfind(|(since, ..)| *since <= at);
        known.map_or((None, false), |(_, crew, taken)| (crew.as_ref(), *taken))
    }
}

/// A feeder that a crew has made dead.
#[derive(Clone, Debug)]
pub(super) struct Isolation {
    pub(super) incident: Arc<str>,
    pub(super) feeder: Arc<str>,
    pub(super) from: Timestamp,
    /// Given back.
    pub(super) until: Option<Timestamp>,
    /// Somebody closed the breaker under it.
    pub(super) closed_at: Option<Timestamp>,
    /// The first reading with voltage since then: where, when.
    pub(super) live: Option<(Arc<str>, Timestamp)>,
}

/// One message as its reader counts it: voice and chat of one telling are one.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) message: Message,
    /// Outside of the cap.
    pub(super) urgent: bool,
}

/// Everything that is written down.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) incidents: BTreeMap<Arc<str>, History>,
    /// Attempts of each notice, by number: how often.
    pub(super) attempts: HashMap<(Arc<str>, u32), u32>,
    /// Notices by channel: sent, accepted, failed attempts.
    pub(super) channels: BTreeMap<Arc<str>, [u64; 3]>,
    /// When each telling was handed to its reader.
    pub(super) told: Vec<Counted>,
    pub(super) messages: Vec<Message>,
    pub(super) floods: Vec<(Timestamp, bool)>,
    /// Whether an incident was red ten minutes after it became a P1.
    pub(super) red: HashMap<Arc<str>, bool>,
    /// What no channel's queue took.
    pub(super) lost: usize,
    pub(super) moves: u64,
    pub(super) refused: u64,
    pub(super) taps: u64,
    /// Incidents on which a second tap counted as another move.
    pub(super) doubled: Vec<Arc<str>>,
    pub(super) given_up: u64,
    pub(super) isolations: Vec<Isolation>,
    /// Power companies that were asked, and that answered.
    pub(super) asked: u64,
    pub(super) answered: u64,
}

/// What people who are told of it would call one telling.
fn telling(notice: &Notice) -> String {
    let about = notice.incident.as_deref().unwrap_or("");
    format!("{about}|{}|{}|{}", notice.event, notice.step, notice.created_at.0)
}

impl Log {
    /// A notice is handed to its channel.
    pub(super) fn sent(&mut self, now: Timestamp, notice: &Notice, named: &[Arc<str>]) {
        self.channels.entry(notice.channel.clone()).or_default()[0] += 1;
        let one = Sent {
            at: now,
            event: notice.event.clone(),
            step: notice.step,
            to: notice.to.clone(),
            channel: notice.channel.clone(),
        };
        for id in named {
            self.incidents.entry(id.clone()).or_default().sent.push(one.clone());
        }
        let kind = notice.body.pointer("/incident/kind").and_then(Value::as_str);
        let urgent = kind == Some("reenergised")
            || matches!(&*notice.event, "incident.help" | "incident.restored" | "incident.switch_on_soon");
        let message = Message { to: notice.to.clone(), telling: telling(notice), at: now };
        self.told.push(Counted { message, urgent });
    }

    /// A channel tried.
    pub(super) fn tried(
        &mut self,
        now: Timestamp,
        notice: &Notice,
        named: &[Arc<str>],
        attempt: u32,
        accepted: bool,
    ) {
        *self.attempts.entry((notice.id.clone(), attempt)).or_default() += 1;
        let counts = self.channels.entry(notice.channel.clone()).or_default();
        counts[if accepted { 1 } else { 2 }] += 1;
        if accepted {
            for id in named {
                self.incidents.entry(id.clone()).or_default().accepted.push(now);
            }
            if !matches!(&*notice.event, "incident.help" | "incident.reenergised") {
                self.messages.push(Message { to: notice.to.clone(), telling: telling(notice), at: now });
            }
        }
    }

    /// Something happened to an incident.
    pub(super) fn event(&mut self, now: Timestamp, event: &Event, incident: &Incident) {
        let history = self.incidents.entry(incident.id.clone()).or_default();
        if is_over(incident.life.state) {
            history.over_at.get_or_insert(now);
        }
        let named = incident.life.crew.as_deref().map(Arc::from);
        let now_has = (named, incident.life.taken.is_some());
        if history.crews.last().is_none_or(|(_, crew, taken)| (crew, *taken) != (&now_has.0, now_has.1)) {
            history.crews.push((now, now_has.0, now_has.1));
        }
        match event.kind {
            "shift_changed" => {
                let handover = incident.life.climb.handover.as_ref();
                history.handovers.extend(handover.map(|one| (now, one.from.to_string(), one.to.to_string())));
            }
            "not_accepted" => history.not_accepted.push(now),
            "isolation_offered" => history.offers.push(now),
            "accept" => history.accepts.push(now),
            _ => {}
        }
        // That of a P2 counts for the P2.
        history.breaches += usize::from(event.kind == "breached" && event.key.ends_with("breached:P1"));
        if !matches!(event.kind, "rung" | "breached") {
            return;
        }
        let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
        let mut steps: Vec<u64> =
            body["steps"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        steps.extend(body["step"].as_u64());
        let due = body["reason"] == "due";
        history.rungs.push(Rungs { at: now, steps, due, listed: false });
    }

    /// A rung of an incident went into lists.
    pub(super) fn listed(&mut self, now: Timestamp, incident: &Incident, step: u32) {
        let history = self.incidents.entry(incident.id.clone()).or_default();
        history.rungs.push(Rungs { at: now, steps: vec![u64::from(step)], due: true, listed: true });
    }
}
