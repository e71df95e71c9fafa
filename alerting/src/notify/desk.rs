//! The way of a notice through its channel. The one owner of its clock, thread and workers.
//!
//! ```text
//! 1  tell            into the channel's queue, without waiting; no room: it stays in the outbox
//! 2  take in         into the line; urgent first, order per incident and person (line.rs)
//! 3  send out        a token of the bucket, a free worker; who waited shares the message (letter.rs)
//! 4  worker          waits for the commit at most 150 ms, then one exchange of at most 10 s (errand.rs)
//! 5  settle          sent, tried again, or failed; to the store, to the metrics, to who hears (the ladder)
//! 6  ask             where the provider can say so: did it arrive?
//! 7  pick up         what was left in the outbox, each 5 s while there is some
//! ```
//! Limits: [`FLIGHT`] after which a worker is given up and replaced, at most [`LOST_MAX`] of them; [`RECENT_MAX`] accepted
//! ids are remembered; those of what follows an attempt stand in `desk/outcome.rs`.
#![expect(clippy::disallowed_methods, reason = "waiting for channels and retries needs a running clock")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lampguard_model::Millis;
use tracing::{error, info, warn};

use super::alertmanager::{RENEW_EVERY, RENEWED_MAX};
use super::bucket::Bucket;
use super::channel::{Channel, ChannelKind};
use super::errand::{Errand, Outcome as Done, Sender};
use super::fault::{Fault, SendError};
use super::line::{Line, Sharing};
use super::{COMMIT_WAIT, Job, QUEUE_MAX, Surroundings};
use crate::store::{OUTCOME_WORDS, Reads};
use crate::writer::{Ticket, until};

mod outcome;

use outcome::RETRY_MAX;
#[cfg(test)]
pub(super) use outcome::pause;

/// The outbox is looked through this often while something was left there.
const PICK_UP_EVERY: Duration = Duration::from_secs(5);
/// Ids of notices that were accepted and may not be in the outbox as sent yet.
const RECENT_MAX: usize = 4096;
/// A worker that is away for longer is given up: the wait for a commit, an exchange, and some.
const FLIGHT: Duration = Duration::from_secs(12);
/// Workers that were given up and have not come back; then no more are made.
const LOST_MAX: usize = 8;
/// Waiting longer than this for the rate is told to who hears, so that the next rung goes.
const LATE: Duration = Duration::from_secs(10);

/// The running side of one channel.
#[derive(Debug)]
pub struct Desk {
    channel: Channel,
    queue: Option<SyncSender<In>>,
    left_behind: Arc<LeftBehind>,
    metrics: crate::metrics::Metrics,
    thread: Option<JoinHandle<()>>,
}

/// Something of this channel waits in the outbox only, or will as soon as its commit is there.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    some: AtomicBool,
    /// Commits of what was left that are not there yet: the newest [`QUEUE_MAX`], for they come in their order.
    commits: Mutex<VecDeque<Ticket>>,
}

impl LeftBehind {
    pub(super) fn add(&self, ticket: &Ticket) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if !ticket.wait(Duration::ZERO) {
            commits.push_back(ticket.clone());
        }
        if commits.len() > QUEUE_MAX {
            commits.pop_front();
        }
        self.some.store(true, Ordering::Release);
    }

    pub(super) fn is_some(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// The outbox is read next: nothing is left, but for what it may not show yet.
    pub(super) fn read_next(&self) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.retain(|commit| !commit.wait(Duration::ZERO));
        self.some.store(!commits.is_empty(), Ordering::Release);
    }
}

/// What comes to a channel's thread.
#[derive(Debug)]
enum In {
    Tell(Job),
    Back(u64, Done),
    Stop,
}

impl Desk {
    /// Starts the channel's thread. It first picks up what an earlier run left unsent.
    ///
    /// # Errors
    /// The system has no thread to give: stop.
    pub fn start(channel: Channel, around: Surroundings) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        let left_behind = Arc::new(LeftBehind::default());
        left_behind.add(&Ticket::done());
        let metrics = around.metrics.clone();
        // A counter that was never raised is absent from /metrics, and an alert on it misses the first failure.
        for word in OUTCOME_WORDS {
            metrics.notices.with_label_values(&[&*channel.id, word]);
        }
        let (back, left) = (queue.clone(), left_behind.clone());
        let own = channel.clone();
        let name = format!("tell-{}", channel.id);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || Work::new(own, around, inbox, back, left).run())?;
        Ok(Self { channel, queue: Some(queue), left_behind, metrics, thread: Some(thread) })
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Hands a notice over without waiting; when the queue is full it stays in the outbox.
    pub fn tell(&self, job: Job) {
        let Some(queue) = &self.queue else { return };
        let ticket = job.ticket.clone();
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(In::Tell(job)) {
            self.left_behind.add(&ticket);
            self.metrics.queue_full.with_label_values(&[&self.channel.id]).inc();
        }
    }

    /// Takes no more notices; what is not sent by then stays in the outbox.
    pub fn begin_stop(&mut self) {
        // The thread never waits for anything but its queue, so there is room soon.
        let _ = self.queue.take().map(|queue| queue.send(In::Stop));
    }

    /// Waits for the thread until `deadline`. A channel that hangs longer is left to end with the process;
    /// its notice goes out again after the restart.
    pub fn end_stop(&mut self, deadline: Instant) {
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            warn!(channel = %self.channel.id, "channel hangs at shutdown, its notices stay in the outbox");
        } else if thread.join().is_err() {
            error!(channel = %self.channel.id, "the channel's thread ended badly");
        }
    }
}

/// Ids of notices that need no more attempts.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<Arc<str>>,
    known: HashSet<Arc<str>>,
}

impl Recent {
    fn put(&mut self, id: &Arc<str>) {
        if !self.known.insert(id.clone()) {
            return;
        }
        self.order.push_back(id.clone());
        if self.order.len() > RECENT_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
    }
}

type Parcel = (u64, Arc<Errand>);

/// One errand that is on its way.
struct Flight {
    number: u64,
    errand: Arc<Errand>,
    deadline: Instant,
    /// Nobody waits for it any more; its worker has not come back.
    lost: bool,
}

struct Work {
    channel: Channel,
    sender: Arc<Sender>,
    around: Surroundings,
    inbox: Receiver<In>,
    back: SyncSender<In>,
    parcels: SyncSender<Parcel>,
    taken: Arc<Mutex<Receiver<Parcel>>>,
    workers: usize,
    left_behind: Arc<LeftBehind>,
    line: Line,
    flights: Vec<Flight>,
    sent: u64,
    /// Errands with a time.
    later: Vec<(Instant, Errand)>,
    renew_at: Option<Instant>,
    recent: Recent,
    /// Kinds of failure that were told of a notice.
    faults: HashMap<Arc<str>, u16>,
    picked_up_at: Option<Instant>,
    looked_for_late_at: Instant,
    failing: bool,
    stopping: bool,
}

impl Work {
    fn new(
        channel: Channel,
        around: Surroundings,
        inbox: Receiver<In>,
        back: SyncSender<In>,
        left_behind: Arc<LeftBehind>,
    ) -> Self {
        let now = Instant::now();
        let spent = {
            let conn = around.reads.lock().unwrap_or_else(PoisonError::into_inner);
            let minute = (around.clock)() - Millis::minutes(1);
            // A store that cannot be read holds up nobody; the bucket then begins full.
            Reads::new(&conn).messages_since(&channel.id, minute).unwrap_or(0)
        };
        let (parcels, taken) = sync_channel(LOST_MAX + channel.kind.workers());
        let renews = matches!(channel.kind, ChannelKind::Alertmanager(_));
        Self {
            sender: Arc::new(Sender::new(&channel)),
            line: Line::new(channel.kind.sharing(), Bucket::new(channel.rate(), spent, now)),
            channel,
            around,
            inbox,
            back,
            parcels,
            taken: Arc::new(Mutex::new(taken)),
            workers: 0,
            left_behind,
            flights: Vec::new(),
            sent: 0,
            later: Vec::new(),
            renew_at: renews.then_some(now + RENEW_EVERY),
            recent: Recent::default(),
            faults: HashMap::new(),
            picked_up_at: None,
            looked_for_late_at: now,
            failing: false,
            stopping: false,
        }
    }

    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.give_up_lost(now);
            self.send_out(now);
            if self.stopping && self.flights.iter().all(|flight| flight.lost) {
                return;
            }
            let patience = self.patience(now);
            match self.inbox.recv_timeout(patience) {
                Ok(In::Tell(job)) => self.take_in(job),
                Ok(In::Back(number, done)) => self.came_back(number, done),
                Ok(In::Stop) => self.stopping = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Also while news never ends: a flood holds up neither the outbox nor what is late.
            self.between();
        }
    }

    /// How long to wait for news before looking at what waits.
    fn patience(&mut self, now: Instant) -> Duration {
        let flights = self.flights.iter().filter(|flight| !flight.lost).map(|flight| flight.deadline).min();
        let mut times: Vec<Instant> = flights.into_iter().collect();
        if self.has_worker() && !self.stopping {
            times.extend(self.line.next_at(now));
            times.extend(self.later.iter().map(|(at, _)| *at).min());
        }
        times.extend(self.renew_at);
        if self.left_behind.is_some() && self.line.room() > 0 {
            times.push(self.picked_up_at.map_or(now, |at| at + PICK_UP_EVERY));
        }
        if self.line.jobs().next().is_some() {
            times.push(self.looked_for_late_at + Duration::from_secs(1));
        }
        times.into_iter().min().map_or(Duration::from_secs(60), |at| until(at, now))
    }

    fn has_worker(&self) -> bool {
        let lost = self.flights.iter().filter(|flight| flight.lost).count();
        self.flights.len() - lost < self.channel.kind.workers() && lost < LOST_MAX
    }

    /// Step 2.
    fn take_in(&mut self, job: Job) {
        let held = self.line.held_for(Instant::now());
        if held > Duration::from_secs(5) {
            self.hear_busy(&job, held, "the channel rests, it was too much for the other side");
        }
        let ticket = job.ticket.clone();
        if !self.line.push(job) {
            self.left_behind.add(&ticket);
            self.around.metrics.queue_full.with_label_values(&[&self.channel.id]).inc();
        }
    }

    /// Step 3.
    fn send_out(&mut self, now: Instant) {
        while self.has_worker() {
            let due = self.later.iter().position(|(at, _)| *at <= now);
            let errand = match due {
                Some(place) if !self.stopping => self.later.swap_remove(place).1,
                _ => {
                    let Some(mut jobs) = self.line.take(now) else { return };
                    let known = &self.recent.known;
                    let over: Vec<Job> = jobs.extract_if(.., |job| known.contains(&job.notice.id)).collect();
                    self.line.back(&over);
                    if jobs.is_empty() {
                        continue;
                    }
                    Errand::Tell(jobs)
                }
            };
            self.start(errand, now);
        }
    }

    fn start(&mut self, errand: Errand, now: Instant) {
        if self.workers < self.flights.len() + 1 && !self.make_worker() && self.workers == 0 {
            // No thread to be had, and none there: what it carries stays in the outbox.
            if let Errand::Tell(jobs) = &errand {
                self.line.back(jobs);
                jobs.iter().for_each(|job| self.left_behind.add(&job.ticket));
            }
            return;
        }
        self.sent += 1;
        let errand = Arc::new(errand);
        let flight =
            Flight { number: self.sent, errand: errand.clone(), deadline: now + FLIGHT, lost: false };
        self.flights.push(flight);
        // Its room is the number of errands that may be on the way.
        let _ = self.parcels.try_send((self.sent, errand));
    }

    fn make_worker(&mut self) -> bool {
        let (sender, taken, back) = (self.sender.clone(), self.taken.clone(), self.back.clone());
        let (around, phone) = (self.around.clone(), self.channel.phone.clone());
        let work = move || {
            loop {
                let parcel = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((number, errand)) = parcel else { return };
                let done = carry(&sender, &errand, phone.as_deref(), &around);
                drop(errand);
                if back.send(In::Back(number, done)).is_err() {
                    return;
                }
            }
        };
        let name = format!("tell-{}-{}", self.channel.id, self.workers + 1);
        let made = std::thread::Builder::new().name(name).spawn(work);
        match made {
            Ok(_) => self.workers += 1,
            Err(error) => error!(channel = %self.channel.id, %error, "no thread for telling"),
        }
        self.workers > 0
    }

    /// A worker that does not come back is replaced; what it carried is tried again.
    fn give_up_lost(&mut self, now: Instant) {
        let late = |flight: &Flight| !flight.lost && flight.deadline <= now;
        while let Some(place) = self.flights.iter().position(late) {
            self.flights[place].lost = true;
            let errand = self.flights[place].errand.clone();
            warn!(channel = %self.channel.id, "a worker hangs and is replaced");
            let text = format!("no whole answer within {} s", FLIGHT.as_secs());
            self.finish(&errand, errand.failed(SendError::new(Fault::Timeout, text)));
        }
    }

    fn came_back(&mut self, number: u64, done: Done) {
        let Some(place) = self.flights.iter().position(|flight| flight.number == number) else { return };
        let flight = self.flights.swap_remove(place);
        if flight.lost && !matches!(done, Done::Told(Ok(_))) {
            return;
        }
        self.finish(&flight.errand, done);
    }

    fn finish(&mut self, errand: &Errand, done: Done) {
        match (errand, done) {
            (Errand::Tell(jobs), Done::Told(Ok(sent))) => self.accepted(jobs, &sent),
            (Errand::Tell(jobs), Done::Told(Err(error))) => self.failed(jobs, &error),
            (Errand::Ask(question), Done::Asked(fate)) => self.asked(question, &fate),
            (Errand::Renew(_), Done::Renewed(result)) => self.look(result.err().as_ref()),
            _ => {}
        }
    }

    /// What has its own time: who waits too long, alerts to renew, the outbox.
    fn between(&mut self) {
        let now = Instant::now();
        if until(self.looked_for_late_at + Duration::from_secs(1), now).is_zero() {
            self.looked_for_late_at = now;
            let late = |job: &&Job| job.attempt == 1 && job.handed_at + LATE <= now;
            let late: Vec<Job> = self.line.jobs().filter(late).cloned().collect();
            for job in late {
                self.hear_busy(&job, LATE, "more to tell than the channel may send: it waits");
            }
        }
        if self.renew_at.is_some_and(|at| at <= now) && !self.stopping {
            self.renew_at = Some(now + RENEW_EVERY);
            let bodies = {
                let conn = self.around.reads.lock().unwrap_or_else(PoisonError::into_inner);
                Reads::new(&conn).open_bodies(&self.channel.id, RENEWED_MAX)
            };
            match bodies {
                Ok(bodies) if bodies.is_empty() => {}
                Ok(bodies) => self.later.push((now, Errand::Renew(bodies))),
                Err(error) => warn!(channel = %self.channel.id, %error, "open incidents cannot be read"),
            }
        }
        let due = |at: Instant| at + PICK_UP_EVERY <= now;
        if self.left_behind.is_some()
            && self.picked_up_at.is_none_or(due)
            && !self.stopping
            && self.line.room() > 0
        {
            self.pick_up(now);
        }
    }

    /// Step 7: takes from the outbox what memory does not hold. Notices are handed over before they are
    /// committed, so whatever the outbox shows and the queue does not was left behind, sent already, or waits here.
    fn pick_up(&mut self, now: Instant) {
        self.picked_up_at = Some(now);
        self.left_behind.read_next();
        let held = self.line.jobs().count() + self.in_flight().count();
        let at_most = self.line.room() + 1 + held;
        let rows = {
            let conn = self.around.reads.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = self.channel.kind.sharing() == Sharing::Channel;
            Reads::new(&conn).unsent(&self.channel.id, at_most, shared)
        };
        while let Ok(news) = self.inbox.try_recv() {
            match news {
                In::Tell(job) => self.take_in(job),
                In::Back(number, done) => self.came_back(number, done),
                In::Stop => self.stopping = true,
            }
        }
        let rows = rows.unwrap_or_else(|error| {
            warn!(channel = %self.channel.id, %error, "the outbox cannot be read, trying again");
            self.left_behind.add(&Ticket::done());
            Vec::new()
        });
        if rows.len() >= at_most {
            // There may be more than were asked for.
            self.left_behind.add(&Ticket::done());
        }
        let mut known: HashSet<Arc<str>> = self.line.jobs().map(|job| job.notice.id.clone()).collect();
        known.extend(self.in_flight().map(|job| job.notice.id.clone()));
        known.extend(self.recent.known.iter().cloned());
        let wall = (self.around.clock)();
        for (notice, attempts, next_at) in rows {
            if !known.insert(notice.id.clone()) {
                continue;
            }
            let pause = next_at.since(wall).0.clamp(0, RETRY_MAX.0).unsigned_abs();
            let job = Job {
                notice: Arc::new(notice),
                // It may have gone out just before the end of the last run.
                attempt: attempts.max(1) + 1,
                ticket: Ticket::done(),
                watch: None,
                handed_at: now,
            };
            if !self.line.push_retry(now + Duration::from_millis(pause), job) {
                self.left_behind.add(&Ticket::done());
                break;
            }
        }
    }

    fn in_flight(&self) -> impl Iterator<Item = &Job> {
        let jobs = |flight: &'_ Flight| match &*flight.errand {
            Errand::Tell(jobs) if !flight.lost => jobs.len(),
            _ => 0,
        };
        self.flights.iter().filter(move |flight| jobs(flight) > 0).flat_map(|flight| match &*flight.errand {
            Errand::Tell(jobs) => jobs.as_slice(),
            _ => &[],
        })
    }
}

/// Step 4, on a worker's thread.
fn carry(sender: &Sender, errand: &Errand, phone: Option<&str>, around: &Surroundings) -> Done {
    if let Errand::Tell(jobs) = errand {
        for job in jobs {
            if !job.ticket.wait(until(job.handed_at + COMMIT_WAIT, Instant::now())) {
                info!(notice = %job.notice.id, "telling before the incident store has it");
            }
        }
        for watch in jobs.iter().filter_map(|job| job.watch.as_ref()) {
            if !watch.told.swap(true, Ordering::Relaxed) {
                let waited = (around.clock)().since(watch.received_at).0.max(0) as f64 / 1000.0;
                around.metrics.alarm_seconds.observe(waited);
            }
        }
    }
    sender.run(errand, phone, (around.clock)())
}

#[cfg(test)]
#[path = "../notify_pick_up_tests.rs"]
mod tests;
