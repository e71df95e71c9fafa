//! What people do, on its way through the one thread that owns the engine.

use std::sync::PoisonError;

use super::{Alerting, Arc, Engine, Input, Notice, Reload, Story, SyncSender, Ticket, Work, Write, lock};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lampguard_model::Timestamp;
use tracing::{info, warn};

use crate::engine::{Answer, Exemptions, Job, JobRequest, MoveRequest, Recheck, TellRequest};
use crate::incident::{Event, Incident, IncidentView};
use crate::life::{Move, Outcome, Refused, is_over};
use crate::store::Reads;

/// An answer waits for the disk at most this long: a full disk stops nobody who works.
pub const KEEP_WAIT: Duration = Duration::from_secs(1);

/// One thing that somebody does.
pub(crate) enum Order {
    Move(Box<MoveRequest>),
    Told(Box<TellRequest>),
    Job(JobRequest),
    Reload(Box<Reload>),
}

/// What became of it, as the engine says it.
pub(crate) enum Said {
    Incident(Box<Result<Answer, Refused>>),
    Job(Box<Result<(Job, bool), Refused>>),
}

/// What became of it, and when it is durable.
pub(crate) struct Reply {
    said: Option<Said>,
    ticket: Ticket,
}

impl Reply {
    /// Done, and durable with this ticket.
    pub(super) fn kept(ticket: Ticket) -> Self {
        Self { said: None, ticket }
    }
}

/// What somebody did was done.
#[derive(Clone, Debug)]
pub struct Acted<T> {
    /// What it concerns, as it is now.
    pub now: T,
    /// What became of it.
    pub outcome: Outcome,
    /// It is on disk. Else it is in memory, and the disk gets it as soon as it takes something.
    pub durable: bool,
}

/// What somebody wanted was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// Refused: nothing changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Alerting has ended or has not begun. Try again.
    #[error("alerting does not run: send it again")]
    Ended,
}

impl Alerting {
    /// Makes a move on an incident. A move of the same actor with the same key is answered and not made again.
    ///
    /// # Errors
    /// [`ActError::Refused`] with reason and present state; [`ActError::Ended`]: send it again.
    pub fn act(&self, id: &str, m: Move) -> Result<Acted<IncidentView>, ActError> {
        let (stored, told_at) = self.stored(id);
        let order = Order::Move(Box::new(MoveRequest { id: Arc::from(id), stored, told_at, m }));
        self.incident_order(order)
    }

    /// Takes a hazard that a person told: opens an incident, or attaches to the one of the post.
    ///
    /// # Errors
    /// As [`Alerting::act`].
    pub fn report(&self, mut request: TellRequest) -> Result<Acted<IncidentView>, ActError> {
        request.stored = self.stored(&request.id()).0;
        self.incident_order(Order::Told(Box::new(request)))
    }

    /// Planned work begins, goes on or ends. [`Outcome::Again`] when it went on already.
    ///
    /// # Errors
    /// As [`Alerting::act`].
    pub fn maintain(&self, request: JobRequest) -> Result<Acted<Job>, ActError> {
        let (said, durable) = self.order(Order::Job(request))?;
        match said {
            Some(Said::Job(said)) => {
                let (now, new) = (*said)?;
                let outcome = if new { Outcome::Done } else { Outcome::Again };
                Ok(Acted { now, outcome, durable })
            }
            _ => Err(ActError::Ended),
        }
    }

    /// Planned work that goes on.
    pub fn jobs(&self) -> Vec<Job> {
        lock(&self.engine).jobs().to_vec()
    }

    /// Members of the crew that has an incident and of the one on duty there: whom the desk can act for.
    pub fn names_of_crew(&self, incident: &Incident) -> Vec<String> {
        lock(&self.engine).names_of_crew(incident, (self.clock)())
    }

    /// Which lamps are left out of the lighting rate at `now`, or are dark for a reason.
    pub fn exemptions(&self, now: Timestamp) -> Exemptions {
        lock(&self.engine).exemptions(now)
    }

    /// Posts that people look at in the next rain, or in this one.
    pub fn rechecks(&self) -> Vec<Recheck> {
        lock(&self.engine).rechecks().to_vec()
    }

    fn incident_order(&self, order: Order) -> Result<Acted<IncidentView>, ActError> {
        let (said, durable) = self.order(order)?;
        match said {
            Some(Said::Incident(said)) => {
                let answer = (*said)?;
                let now = answer.incident.view((self.clock)());
                Ok(Acted { now, outcome: answer.outcome, durable })
            }
            _ => Err(ActError::Ended),
        }
    }

    pub(super) fn order(&self, order: Order) -> Result<(Option<Said>, bool), ActError> {
        let (send, reply): (SyncSender<Reply>, _) = sync_channel(1);
        self.queue.send(Work::People(order, send)).map_err(|_| ActError::Ended)?;
        let reply = reply.recv().map_err(|_| ActError::Ended)?;
        Ok((reply.said, reply.ticket.wait(KEEP_WAIT)))
    }

    /// The incident as the store has it when it is over, and when somebody was first told of it. A store that
    /// cannot be read holds up nobody: open incidents are in memory.
    fn stored(&self, id: &str) -> (Option<Box<Incident>>, Option<Timestamp>) {
        let shown = self.board.read().unwrap_or_else(PoisonError::into_inner).get(id);
        let open = shown.is_some_and(|(incident, _)| !is_over(incident.life.state));
        let conn = lock(&self.reads);
        let reads = Reads::new(&conn);
        let stored = if open { Ok(None) } else { reads.incident(id) };
        let told_at = reads.first_told_since(id, Timestamp(i64::MIN));
        if let Some(error) = stored.as_ref().err().or(told_at.as_ref().err()) {
            warn!(%error, incident = id, "the incident store cannot be read for a move");
        }
        (stored.ok().flatten().map(Box::new), told_at.ok().flatten())
    }
}

impl Story {
    /// One order, from the engine to the channels and the store.
    pub(super) fn obey(&mut self, engine: &mut Engine, order: &Order) -> Reply {
        self.reply = Some(Reply::kept(Ticket::done()));
        let input = match order {
            Order::Move(request) => Input::Move(request),
            Order::Told(request) => Input::Told(request),
            Order::Job(request) => Input::Maintenance(request),
            Order::Reload(reload) => return self.reload(engine, reload),
        };
        engine.step((self.clock)(), input, &mut self.effects);
        self.handle(false);
        self.reply.take().unwrap_or_else(|| Reply::kept(Ticket::done()))
    }

    pub(super) fn answered(&mut self, said: Said) {
        if let Some(reply) = &mut self.reply {
            reply.said = Some(said);
        }
    }

    /// The order at hand is durable when this is.
    pub(super) fn durable(&mut self, ticket: Ticket) {
        if let Some(reply) = &mut self.reply {
            reply.ticket = ticket;
        }
    }

    pub(super) fn recheck(
        &mut self,
        tasks: Vec<Recheck>,
        event: Event,
        notices: Vec<Arc<Notice>>,
        replayed: bool,
    ) {
        info!(event = event.kind, tasks = tasks.len(), "look again in the rain");
        let ticket = self.tell(&notices, replayed, None);
        self.writes.push(Write::Recheck(tasks, event, notices), ticket);
    }

    pub(super) fn job(&mut self, job: Box<Job>, event: Event, notices: Vec<Arc<Notice>>, replayed: bool) {
        info!(job = %job.id, event = event.kind, crew = job.crew, "planned work");
        let ticket = self.tell(&notices, replayed, None);
        let over = event.kind == "maintenance_ended";
        self.writes.push(Write::Job(job, over, event, notices), ticket.clone());
        self.durable(ticket);
    }
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
