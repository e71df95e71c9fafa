//! The rota of a running instance: changed by people, by warnings, and looked at for gaps.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError, RwLock};

use lampguard_model::{Millis, Timestamp, Warning};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{Alerting, Story, SyncSender, Work, Write};
use crate::incident::Event;
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::rota::{Changes, Gap, Rota, Why};
use crate::store::{Store, StoreError};
use crate::wet::Sky;
use crate::writer::Ticket;

/// A gap of the rota is told so many days ahead.
pub const GAP_DAYS: u32 = 7;
/// Gaps are looked for this often: they come nearer, and none begins by itself.
const LOOK_EVERY: Millis = Millis::minutes(5);
/// While there are gaps the log says so this often.
const TELL_EVERY: Millis = Millis::hours(24);
/// Gaps that the log and the record name at a time.
const TOLD_MAX: usize = 10;
/// Kind of the event that says what the desk was told of gaps.
const GAP: &str = "rota_gap";

/// Somebody changes duty by date and overrides: what is sent stands instead of what was there.
#[derive(Clone, Debug)]
pub struct RotaRequest {
    /// Who.
    pub by: Arc<str>,
    /// The version that they looked at; none: whatever there is.
    pub version: Option<u64>,
    /// Duty and overrides. Stamps and version are ours.
    pub changes: Changes,
}

/// The rota was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RotaError {
    /// It cannot be as it was sent. Mend it.
    #[error("the rota was not changed: {}", .0.join("; "))]
    Wrong(Vec<String>),
    /// Somebody else was faster. Look again and send it anew.
    #[error("the rota was not changed: it has version {now} now, and {sent} was looked at; read it again")]
    Version {
        /// Version looked at.
        sent: u64,
        /// Version that is there.
        now: u64,
    },
    /// Alerting has ended or has not begun. Try again.
    #[error("alerting does not run: send it again")]
    Ended,
}

/// What became of a change, and when it is durable.
pub(crate) type Reply = Result<Ticket, RotaError>;

impl Alerting {
    /// Who is on duty, as it stands now.
    pub fn rota(&self) -> Arc<Rota> {
        self.rota.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes duty by date and overrides; they hold at once. True when the change is on disk already, else the disk
    /// gets it as soon as it takes something.
    ///
    /// # Errors
    /// [`RotaError`]: nothing changed.
    pub fn set_rota(&self, request: RotaRequest) -> Result<bool, RotaError> {
        let (send, reply) = sync_channel(1);
        self.queue.send(Work::Rota(Box::new(request), send)).map_err(|_| RotaError::Ended)?;
        let ticket = reply.recv().map_err(|_| RotaError::Ended)??;
        Ok(ticket.wait(super::KEEP_WAIT))
    }
}

/// The rota as alerting's own thread has it.
pub(super) struct Duty {
    /// Shared with whoever asks.
    pub(super) rota: Arc<RwLock<Arc<Rota>>>,
    looked_at: Option<Timestamp>,
    told_at: Option<Timestamp>,
    /// When the desk was last told of gaps, and of which.
    desk: DeskKnows,
}

/// What the desk was told of gaps.
#[derive(Debug, Default)]
struct DeskKnows {
    at: Option<Timestamp>,
    gaps: Vec<Told>,
}

/// A gap that the desk was told of.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    zone: Arc<str>,
    from: Timestamp,
    to: Timestamp,
}

impl Told {
    fn of(gap: &Gap) -> Self {
        Self { zone: gap.zone.clone(), from: gap.from, to: gap.to }
    }

    /// As the record says it; none of a version that wrote it otherwise.
    fn read(gap: &Value) -> Option<Self> {
        let moment = |name: &str| gap.get(name)?.as_str().and_then(Timestamp::from_rfc3339);
        Some(Self { zone: Arc::from(gap.get("zone")?.as_str()?), from: moment("from")?, to: moment("to")? })
    }

    /// One that begins within it is no news: what goes on begins anew at each look.
    fn covers(&self, gap: &Gap) -> bool {
        self.zone == gap.zone && (self.from..self.to).contains(&gap.from)
    }

    fn touches(&self, gap: &Gap) -> bool {
        self.zone == gap.zone && gap.from < self.to && self.from < gap.to
    }
}

impl DeskKnows {
    /// As the record says it: a restart tells it no second time on one day.
    fn take_back(store: &Store) -> Result<Self, StoreError> {
        let Some(told) = store.reads().newest_of(GAP)? else { return Ok(Self::default()) };
        let at = told.get("told_at").and_then(Value::as_str).and_then(Timestamp::from_rfc3339);
        let gaps = told.get("gaps").and_then(Value::as_array).into_iter().flatten();
        Ok(Self { at, gaps: gaps.filter_map(Told::read).collect() })
    }

    /// Once a day while there are gaps, when its first shift begins; at once of one that begins within a day and that the
    /// desk has not heard of.
    fn is_due(&mut self, gaps: &[Gap], day: Option<Timestamp>, now: Timestamp) -> bool {
        self.gaps.retain(|told| gaps.iter().any(|gap| told.touches(gap)));
        let known = |gap: &Gap| self.gaps.iter().any(|told| told.covers(gap));
        let new = |gap: &Gap| gap.from < now + TELL_EVERY && !known(gap);
        let of_today = self.at.is_some_and(|at| day.is_none_or(|day| at >= day));
        !gaps.is_empty() && (!of_today || gaps.iter().any(new))
    }
}

impl Duty {
    /// By the configuration, with what was changed and the warnings that are in force.
    pub(super) fn take_back(mut rota: Rota, store: &Store, sky: &Sky) -> Result<Self, StoreError> {
        rota.changes = store.reads().rota()?;
        warn_of_misfits(&rota);
        for (zone, _) in sky.iter().filter(|(_, weather)| weather.warning != Warning::None) {
            rota.set_warning(zone, true);
        }
        let desk = DeskKnows::take_back(store)?;
        Ok(Self { rota: Arc::new(RwLock::new(Arc::new(rota))), looked_at: None, told_at: None, desk })
    }

    /// Another configuration; changes and warnings stay.
    pub(super) fn replace(&mut self, rota: Rota) {
        let before = self.now();
        let (changes, warned) = (before.changes.clone(), before.warned.clone());
        let after = Rota { changes, warned, ..rota };
        if after != *before {
            warn_of_misfits(&after);
            self.put(after);
            (self.looked_at, self.told_at) = (None, None);
        }
    }

    /// As it stands now.
    pub(super) fn now(&self) -> Arc<Rota> {
        self.rota.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&mut self, rota: Rota) {
        *self.rota.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rota);
    }

    /// A zone's weather was told.
    pub(super) fn heed(&mut self, zone: &str, warning: Warning) {
        let mut rota = Rota::clone(&self.now());
        if rota.set_warning(zone, warning != Warning::None) {
            info!(zone, ?warning, "official warning: reinforcement by the rota comes, or goes");
            self.put(rota);
        }
    }

    /// Counts the gaps of the next days, and says them once a day; those that the desk is to be told now.
    pub(super) fn look(&mut self, now: Timestamp, metrics: &Metrics) -> Vec<Gap> {
        let due =
            |at: Option<Timestamp>, every: Millis| at.is_none_or(|at| now.since(at) >= every || now < at);
        let rota = self.now();
        let day = rota.day_began(now);
        if !due(self.looked_at, LOOK_EVERY) && self.looked_at >= day {
            return Vec::new();
        }
        self.looked_at = Some(now);
        let gaps = rota.gaps(now, GAP_DAYS);
        for zone in rota.zones.keys() {
            let hours: i64 =
                gaps.iter().filter(|gap| gap.zone == *zone).map(|gap| gap.to.since(gap.from).0).sum();
            metrics.rota_gap_hours.with_label_values(&[&**zone]).set(hours as f64 / 3_600_000.0);
        }
        if !gaps.is_empty() && due(self.told_at, TELL_EVERY) {
            self.told_at = Some(now);
            tell(&gaps);
        }
        if !self.desk.is_due(&gaps, day, now) {
            return Vec::new();
        }
        self.desk = DeskKnows { at: Some(now), gaps: gaps.iter().map(Told::of).collect() };
        gaps
    }
}

fn warn_of_misfits(rota: &Rota) {
    for fault in rota.changes.faults(rota) {
        warn!(fault, "a change of the rota does not fit the configuration any more, and says nothing");
    }
}

fn tell(gaps: &[Gap]) {
    for gap in gaps.iter().take(TOLD_MAX) {
        let (from, to) = (gap.from, gap.to);
        match gap.why {
            Why::NoCrew => {
                warn!(zone = %gap.zone, %from, %to, "rota: no crew is on duty, alarms go to the desk alone")
            }
            Why::NobodyReachable => warn!(
                zone = %gap.zone, crew = gap.crew.as_deref(), %from, %to,
                "rota: no member of the crew on duty has a channel, alarms go to the desk alone"
            ),
        }
    }
    if gaps.len() > TOLD_MAX {
        warn!(gaps = gaps.len(), days = GAP_DAYS, "rota: there are more gaps, see GET /api/v1/rota");
    }
}

impl Story {
    /// Looks at the rota, and tells the desk of its gaps.
    pub(super) fn look_at_rota(&mut self, now: Timestamp) {
        let gaps = self.duty.look(now, &self.metrics);
        if gaps.is_empty() {
            return;
        }
        let of = |gap: &Gap| json!({ "zone": gap.zone, "from": gap.from.to_rfc3339(), "to": gap.to.to_rfc3339(), "why": gap.why });
        let named: Vec<Value> = gaps.iter().take(TOLD_MAX).map(of).collect();
        let body = json!({ "told_at": now.to_rfc3339(), "count": gaps.len(), "gaps": named });
        let event = super::note::event(GAP, now, &body);
        let site = self.site.clone();
        let notices = self.notices_for_desk(|to| Notice::rota_gaps(&gaps, &event.key, now, &site, to));
        let ticket = self.tell(&notices, false, None);
        self.writes.push(Write::Notices(notices), ticket.clone());
        self.writes.push(Write::Events(vec![event]), ticket);
    }

    /// One change by people, from the check to the store.
    pub(super) fn change_rota(&mut self, request: RotaRequest, reply: &SyncSender<Reply>) {
        let answer = self.changed_rota(request);
        // Whoever asked may have gone; what was done stays done.
        let _ = reply.send(answer);
    }

    fn changed_rota(&mut self, request: RotaRequest) -> Reply {
        let before = self.duty.now();
        let now = before.changes.version;
        if let Some(sent) = request.version.filter(|sent| *sent != now) {
            return Err(RotaError::Version { sent, now });
        }
        let faults = request.changes.faults(&before);
        if !faults.is_empty() {
            return Err(RotaError::Wrong(faults));
        }
        let at = (self.clock)();
        let changes = request.changes.stamped(&before.changes, at, &request.by);
        info!(by = %request.by, version = changes.version, overrides = changes.overrides.len(), "the rota was changed");
        let event = Event {
            key: format!("rota:{}", changes.version),
            incident: Arc::from(""),
            at,
            kind: "rota",
            body: changes.difference(&before.changes).to_string(),
        };
        self.duty.put(Rota { changes: changes.clone(), ..Rota::clone(&before) });
        (self.duty.looked_at, self.duty.told_at) = (None, None);
        let ticket = Ticket::default();
        self.writes.push(Write::Rota(Box::new(changes), event), ticket.clone());
        Ok(ticket)
    }
}

#[cfg(test)]
#[path = "duty_tests.rs"]
mod tests;
