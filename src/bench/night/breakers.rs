//! Feeders that crews make dead, and breakers that somebody closes under them.

use std::sync::Arc;

use lampguard_alerting::life::{Method, Verb};
use lampguard_alerting::{Family, Incident, Severity};
use lampguard_model::{Field, PostKind, StoredReading};

use super::log::Isolation;
use super::people::between;
use super::world::{Event, Night};
use crate::bench::random::Random;

/// So many crews open the breaker, where there is one; the others guard or put up a barrier.
const ISOLATES: f64 = 0.35;
/// Somebody closes the breaker of so many isolations without asking.
const CLOSED: f64 = 0.5;
/// A supply above it is voltage where there must be none (`policy.md` 2, reenergised).
const LIVE_MV: i64 = 50_000;

/// What people do to the city.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// A post is mended.
    Repair(Arc<str>),
    /// The breaker of a feeder opens.
    Open(Arc<str>),
    /// It is closed.
    Close(Arc<str>),
}

impl Night {
    /// Whether the crew of an incident makes its feeder dead; the same whenever it is asked.
    pub(super) fn isolates(&self, incident: &Incident) -> bool {
        let electric = matches!(incident.family, Family::Electric | Family::Neutral | Family::FeederLeak);
        let has_breaker = !incident.feeder.is_empty() && incident.severity == Severity::P1 && electric;
        let drawn = Random(self.seed ^ incident.opened_at.0.unsigned_abs().rotate_left(23)).share();
        has_breaker && drawn < ISOLATES
    }

    /// A crew stands there: the breaker is the first thing that it goes to.
    pub(super) fn opens_breaker(&mut self, incident: &Incident) {
        if self.isolates(incident) || incident.family == Family::Reenergised {
            self.orders.push(Order::Open(incident.feeder.clone()));
        }
    }

    /// It is safe: by a breaker, it is written down, and somebody may close it again.
    pub(super) fn is_dead(&mut self, incident: &Incident) {
        let id = &incident.id;
        if incident.family == Family::Reenergised {
            // They opened it again: what was isolated there is dead once more.
            for isolation in self.log.isolations.iter_mut().filter(|one| one.feeder == incident.feeder) {
                isolation.closed_at = None;
            }
        }
        let safe = self.board.get(id).and_then(|now| now.life.safe.clone());
        if !safe.is_some_and(|safe| safe.method == Method::Isolated) {
            return;
        }
        let (incident_id, feeder) = (id.clone(), incident.feeder.clone());
        self.log.isolations.push(Isolation {
            incident: incident_id,
            feeder,
            from: self.now,
            until: None,
            closed_at: None,
            live: None,
        });
        if self.random.share() < CLOSED {
            let at = self.now + between(&mut self.random, 120.0, 2400.0);
            self.at(at, Event::Closes(id.clone()));
        }
    }

    /// Somebody closes the breaker of an isolation that is still in force.
    pub(super) fn closes(&mut self, incident: &Arc<str>) {
        let now = self.now;
        let of = |one: &&mut Isolation| one.incident == *incident && one.until.is_none();
        if let Some(isolation) = self.log.isolations.iter_mut().find(of) {
            isolation.closed_at = Some(now);
            self.orders.push(Order::Close(isolation.feeder.clone()));
        }
    }

    /// Power is given back by the rules.
    pub(super) fn gives_back(&mut self, incident: &Incident) {
        let mine = |one: &&mut Isolation| one.incident == incident.id && one.until.is_none();
        if let Some(isolation) = self.log.isolations.iter_mut().find(mine) {
            isolation.until = Some(self.now);
        }
        let others =
            self.log.isolations.iter().any(|one| one.feeder == incident.feeder && one.until.is_none());
        if !others {
            self.orders.push(Order::Close(incident.feeder.clone()));
        }
    }

    /// Voltage on a feeder that is isolated, measured since somebody closed its breaker: the rules have to say so.
    pub(super) fn look_for_voltage(&mut self, reading: &StoredReading<'_>) {
        if self.log.isolations.is_empty()
            || reading.fields.get(Field::SupplyV).is_none_or(|supply| supply <= LIVE_MV)
        {
            return;
        }
        // The sensor of a cabinet measures before the breaker.
        if self.register.by_post(reading.post).is_none_or(|post| post.kind != PostKind::Post) {
            return;
        }
        let measured_at = reading.ts.unwrap_or(reading.received_at);
        for one in self.log.isolations.iter_mut().filter(|one| *one.feeder == *reading.feeder) {
            let closed = one.closed_at.is_some_and(|at| measured_at > at);
            if closed && one.until.is_none() && one.live.is_none() {
                one.live = Some((Arc::from(reading.post), reading.received_at));
            }
        }
    }

    /// The desk asks for a feeder to be switched off, and writes down what it was answered. The breaker of the power
    /// company stays as it is: crews wait for no answer.
    pub(super) fn asks_power_company(&mut self, id: &Arc<str>, tries: u32) {
        let answered = self.board.get(id).is_some_and(|incident| {
            incident.life.isolation.last().is_some_and(|asked| asked.answer.is_some())
        });
        if answered {
            self.log.answered += 1;
            return;
        }
        self.log.asked += 1;
        let desk = Arc::from(super::office::DESK);
        self.does_again(&desk, id, Verb::RequestIsolation, tries + 1, [300.0, 1200.0]);
    }
}
