//! An incident's way, from the reading to the people. The one owner of clock and threads.
//!
//! ```text
//! start   1  open the store; take back open incidents, weather, what is remembered of posts
//!         2  follow the journal from the stored cursor; replay it up to its end, judged at times of receipt
//!         3  what replay finds that was never committed opens with its true times, and is told
//! live    4  take a batch from the queue (before it is durable), decode, engine.step(received_at, reading)
//!         5  each second: engine.step(now, tick); in between what people do: engine.step(now, move)
//!         6  each effect: memory, then the channels' queues, then the store's writer
//!         7  a channel waits for the commit at most 150 ms, then tells; the commit follows
//!         8  each minute: the cursor moves to where the journal stood 40 min ago
//! stop    9  judge what is queued, let channels finish, commit, close: under 2 s
//! ```
//! Whom an effect reaches stands in `dispatcher.rs`, questions in `ask.rs`. Limits: [`QUEUE_MAX`] batches wait to be
//! judged. When the queue is full [`Alerting::judge`] waits: receiving slows down, no alarm is skipped.
#![expect(clippy::disallowed_methods, reason = "ticks, telling and shutdown need a running clock")]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lampguard_journal::{Follower, FrameBuf, JournalError, Reader, Records, Tail};
use lampguard_model::{Marks, Millis, Record, Register, Timestamp, WeatherReport, record};
use prometheus::Registry;
use rusqlite::Connection;
use tracing::{debug, error, info, warn};

use crate::board::Board;
use crate::dispatcher::Dispatcher;
use crate::engine::{Effect, Engine, Input};
use crate::ladder::Ladders;
use crate::lighting::Lighting;
use crate::metrics::Metrics;
use crate::notice::{Notice, SiteText};
use crate::notify::{Channel, Clock, Desk, Surroundings};
use crate::policy::{InForce, Policies, PolicyError};
use crate::proof::ProofSetup;
use crate::rota::Rota;
use crate::store::{Delivery, Store, StoreError, Write, open_for_reading};
use crate::totals::{self, Base};
use crate::writer::{Ticket, Writer, Writes, until};

mod act;
mod cursor;
mod duty;
mod heard;
mod note;
mod proof;
mod reload;
mod telling;
mod tests_of_people;

pub use act::{ActError, Acted, KEEP_WAIT};
pub use duty::{GAP_DAYS, RotaError, RotaRequest};
pub use proof::SINK;
pub use reload::Reload;
pub use tests_of_people::{Confirm, TestSetup};

/// Batches that may wait to be judged.
pub const QUEUE_MAX: usize = 256;
/// The cursor stays this far behind: enough for 2 samples of the last 3 at any period up to 10 min, and for
/// two samples within 30 min (`policy.md` 2).
const REBUILD: Millis = Millis::minutes(40);
/// At the end of a replay time passes by this much: longer than a late critical waits for its backlog, plus
/// the minute between marks.
const SETTLE: Millis = Millis::seconds(75);
/// Time passes for the rules this often.
const TICK: Duration = Duration::from_secs(1);
/// Channels have this long to finish at shutdown.
const CHANNELS_END: Duration = Duration::from_millis(1200);
/// Name among the journal's followers.
const FOLLOWER: &str = "alerting";

/// What alerting is made of.
pub struct Setup {
    /// Directory of `incidents.db`; made when missing.
    pub dir: PathBuf,
    /// Directory of the journal.
    pub journal_dir: PathBuf,
    /// End of the journal.
    pub tail: Tail,
    /// The register of posts.
    pub register: Arc<Register>,
    /// The rules' numbers, by date.
    pub policy: Policies,
    /// Timetables of lighting; none where nobody knows some.
    pub lighting: Option<Arc<Lighting>>,
    /// Who is on duty, by the configuration.
    pub rota: Rota,
    /// How to tell.
    pub channels: Vec<Channel>,
    /// How proofs are judged and heard of; none where none are sent.
    pub proof: Option<ProofSetup>,
    /// How people on duty are tested; none: they are not.
    pub tests: Option<TestSetup>,
    /// When to tell the next one.
    pub ladders: Ladders,
    /// The directory was put back from a backup of this moment, and nobody has ended that notice yet.
    pub restored: Option<Timestamp>,
    /// Words for texts.
    pub site: SiteText,
    /// Wall clock.
    pub clock: Clock,
    /// Where the metrics go.
    pub registry: Registry,
}

/// Alerting cannot start. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum AlertingError {
    /// The incident store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be replayed.
    #[error("alerting: replaying the journal: {0}")]
    Journal(#[from] JournalError),
    /// The policy cannot be meant.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// `[site] time_zone` is not a name of the IANA database.
    #[error("alerting: time zone {0:?} is not known")]
    TimeZone(String),
    /// Metrics of that name are registered already.
    #[error("alerting: registering metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No thread.
    #[error("alerting: starting a thread: {0}")]
    Thread(#[from] std::io::Error),
}

pub(crate) enum Work {
    Batch(Arc<FrameBuf>),
    People(act::Order, SyncSender<act::Reply>),
    System(Arc<str>, bool, Arc<str>),
    Test(tests_of_people::Ask, SyncSender<tests_of_people::Reply>),
    Delivered(Delivery),
    Present,
    Rota(Box<RotaRequest>, SyncSender<duty::Reply>),
    Stop,
}

/// The running part. Dropping it shuts it down.
pub struct Alerting {
    pub(crate) queue: SyncSender<Work>,
    pub(crate) engine: Arc<Mutex<Engine>>,
    pub(crate) board: Arc<RwLock<Board>>,
    /// Of whoever asks for a few rows. What looks at many has a connection of its own: [`Alerting::own_reads`].
    pub(crate) reads: Arc<Mutex<Connection>>,
    pub(crate) dir: PathBuf,
    pub(crate) clock: Clock,
    writes: Writes,
    pub(crate) rota: Arc<RwLock<Arc<Rota>>>,
    pub(crate) base: Base,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Locks, also after a thread that held it panicked: half a truth is better than no alarm.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alerting {
    /// Opens the store, replays the journal, and goes live.
    ///
    /// Start it before anything writes to the journal: what arrives during the replay would be judged twice
    /// (harmless) but told later.
    ///
    /// # Errors
    /// [`AlertingError`]: stop and show it.
    pub fn start(setup: Setup) -> Result<Self, AlertingError> {
        setup.policy.versions().iter().try_for_each(|version| version.policy.check())?;
        jiff::tz::TimeZone::get(&setup.site.time_zone)
            .map_err(|_| AlertingError::TimeZone(setup.site.time_zone.clone()))?;
        let metrics = Metrics::register(&setup.registry)?;
        let store = Store::open(&setup.dir)?;
        let reads = Arc::new(Mutex::new(open_for_reading(&setup.dir)?));
        let (mut engine, board, cursor) = take_back(&store, &setup)?;
        let base = totals::read_base(&setup.dir)?;
        let duty = duty::Duty::take_back(setup.rota.clone(), &store, engine.sky())?;
        let rota = duty.rota.clone();
        setup.site.links.follow(&setup.rota);
        let from = cursor.map_or(setup.tail.first(), |cursor| cursor.min(setup.tail.end()));
        let follower = setup.tail.follow(FOLLOWER, from);
        let aside = note::Aside::take_back(&setup, &store)?;
        let writer = Writer::start(store, follower.clone(), &metrics)?;
        let (queue, batches) = sync_channel(QUEUE_MAX);
        let heard = heard::Heard::default();
        let around = Surroundings {
            clock: setup.clock.clone(),
            writes: writer.writes(),
            reads: reads.clone(),
            metrics: metrics.clone(),
            hears: heard.hears(queue.clone()),
        };
        let start_desk = |channel: &Channel| Desk::start(channel.clone(), around.clone());
        let desks = setup.channels.iter().map(start_desk).collect::<Result<Vec<_>, _>>()?;
        let board = Arc::new(RwLock::new(board));
        let dispatcher = Dispatcher::new(setup.channels.iter().map(telling::route).collect());
        let mut story = Story {
            marks: VecDeque::from([(setup.clock.clone()(), from, engine.sky().json())]),
            saved: None,
            effects: Vec::new(),
            reply: None,
            writes: writer.writes(),
            desks,
            writer,
            board: board.clone(),
            metrics,
            register: setup.register.clone(),
            site: Arc::new(setup.site.clone()),
            clock: setup.clock.clone(),
            tail: setup.tail.clone(),
            policy: InForce::new(setup.policy.clone()),
            aside,
            follower,
            dispatcher,
            heard,
            duty,
        };
        let writes = story.writes.clone();
        engine.set_rota(story.duty.now());
        story.take_up_lists(&engine, &crate::store::Reads::new(&lock(&reads)))?;
        if let Some(moment) = setup.restored {
            engine.doubt_isolations(moment, (setup.clock)(), &mut story.effects);
            story.handle(true);
        }
        engine.replaying(true);
        story.replay(&mut engine, &setup.journal_dir, from, cursor.is_some())?;
        engine.replaying(false);
        story.go_live(&setup, around)?;
        story.count_open();
        let engine = Arc::new(Mutex::new(engine));
        let shared = engine.clone();
        let thread = std::thread::Builder::new()
            .name("alerting".to_owned())
            .spawn(move || story.live(&shared, &batches))?;
        let thread = Mutex::new(Some(thread));
        let (dir, clock) = (setup.dir, setup.clock);
        Ok(Self { queue, engine, board, reads, dir, clock, writes, rota, base, thread })
    }

    /// Hands over one batch to be judged, as soon as it is admitted. Waits only while [`QUEUE_MAX`] batches
    /// wait already (alarms come first: then receiving has to slow down).
    pub fn judge(&self, batch: Arc<FrameBuf>) {
        if self.queue.send(Work::Batch(batch)).is_err() {
            error!("alerting has ended, a batch was not judged; the next start's replay judges it");
        }
    }

    /// A duty session has the board open. While nobody says so for `watch.board_closed` the desk is rung of what is
    /// open. Lost when the queue is full: it is said again.
    pub fn presence(&self) {
        let _ = self.queue.try_send(Work::Present);
    }

    /// More is raised than people can take in: messages are grouped.
    pub fn is_flood(&self) -> bool {
        lock(&self.engine).is_flood()
    }

    /// People have ended the incident of a part of the system that is bad still.
    pub fn is_dismissed(&self, part: &str) -> bool {
        lock(&self.engine).is_dismissed(part)
    }

    /// Judges what is queued, lets the channels finish, commits and closes. Under 2 s unless the disk hangs.
    pub fn shutdown(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A closed queue means that the thread has ended already.
            let _ = self.queue.send(Work::Stop);
            if thread.join().is_err() {
                error!("the alerting thread ended badly");
            }
        }
    }
}

impl Drop for Alerting {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Start, step 1: what the store knows.
fn take_back(store: &Store, setup: &Setup) -> Result<(Engine, Board, Option<u64>), StoreError> {
    let reads = store.reads();
    let (newest, cursor) = (reads.weather()?, reads.cursor()?);
    let sky = match &cursor {
        // Replay begins 40 min back, and so does its weather; what the desk was told stays told.
        Some((_, sky)) => {
            let mut sky = sky.clone();
            for (zone, weather) in newest.iter() {
                sky.entry(zone).unknown_told = weather.unknown_told;
            }
            sky
        }
        None => newest,
    };
    let policy = InForce::new(setup.policy.clone()).version().policy.clone();
    let repeat_within = policy.repeat.within;
    let mut engine = Engine::new(policy, setup.register.clone(), sky);
    if let Some(lighting) = &setup.lighting {
        engine.set_lighting(lighting.clone());
    }
    engine.set_ladders(setup.ladders.clone());
    for memory in reads.memories()? {
        engine.remember(&memory);
    }
    let now = (setup.clock)();
    for (post, id, at) in reads.last_ended(now - repeat_within)? {
        engine.seed_last(&post, &id, at);
    }
    for job in reads.jobs()? {
        engine.seed_job(job);
    }
    for recheck in reads.rechecks()? {
        engine.seed_recheck(recheck);
    }
    let mut board = Board::default();
    for mut incident in reads.open_incidents()? {
        if incident.life.told_at.is_none() {
            let since = incident.p1_at.unwrap_or(incident.opened_at);
            incident.life.told_at = reads.first_told_since(&incident.id, since)?;
        }
        board.put(incident.clone(), None);
        engine.seed(incident);
    }
    board.begin_totals();
    Ok((engine, board, cursor.map(|(seq, _)| seq)))
}

struct Story {
    /// (when, where the journal stood, weather as JSON), oldest first: where the cursor may move to.
    marks: VecDeque<(Timestamp, u64, String)>,
    /// Cursor last handed to the store.
    saved: Option<u64>,
    effects: Vec<Effect>,
    /// What became of the order at hand.
    reply: Option<act::Reply>,
    writes: Writes,
    desks: Vec<Desk>,
    writer: Writer,
    board: Arc<RwLock<Board>>,
    metrics: Metrics,
    register: Arc<Register>,
    site: Arc<SiteText>,
    clock: Clock,
    tail: Tail,
    policy: InForce,
    aside: note::Aside,
    follower: Follower,
    /// Whom an effect reaches, and who gets lists instead of messages.
    dispatcher: Dispatcher,
    heard: heard::Heard,
    duty: duty::Duty,
}

impl Story {
    /// Start, steps 2 and 3. Without a stored cursor only the last 40 min count: older danger is for the
    /// history, not for a crew at night.
    fn replay(
        &mut self,
        engine: &mut Engine,
        dir: &std::path::Path,
        from: u64,
        has_cursor: bool,
    ) -> Result<(), AlertingError> {
        let end = self.tail.end();
        if from < end {
            let mut reader = Reader::open(dir, from)?;
            let horizon = (self.clock)() - REBUILD;
            self.marks.clear();
            while let Some(frame) = reader.next(end)? {
                let closed_at = Timestamp(frame.closed_at);
                if !has_cursor && closed_at < horizon {
                    continue;
                }
                self.mark(engine, closed_at, frame.first_seq.max(from));
                self.judge_records(engine, frame.records(), from);
                engine.join_rungs((self.clock)(), &mut self.effects);
                self.handle(true);
            }
            // What was waiting for time to pass has had it.
            if let Some((at, ..)) = self.marks.back() {
                let waited = (*at + SETTLE).min((self.clock)());
                engine.step(waited, Input::Tick, &mut self.effects);
                engine.join_rungs((self.clock)(), &mut self.effects);
                self.handle(true);
            }
            let lost = reader.take_lost();
            if lost != lampguard_journal::Lost::default() {
                warn!(
                    records = lost.records,
                    bytes = lost.bytes,
                    "part of the journal could not be replayed"
                );
            }
            info!(from, end, readings = self.metrics.judged.get(), "journal replayed for alerting");
        }
        if self.marks.is_empty() {
            self.marks.push_back(((self.clock)(), end, engine.sky().json()));
        }
        self.move_cursor((self.clock)());
        Ok(())
    }

    /// Steps 4 to 9.
    fn live(mut self, engine: &Mutex<Engine>, batches: &Receiver<Work>) {
        let mut next_tick = Instant::now();
        loop {
            match batches.recv_timeout(until(next_tick, Instant::now())) {
                Ok(Work::Batch(batch)) => {
                    self.judge_records(&mut lock(engine), batch.records(), 0);
                    self.handle(false);
                }
                Ok(Work::People(order, reply)) => {
                    let answer = self.obey(&mut lock(engine), &order);
                    // Whoever asked may have gone; what was done stays done.
                    let _ = reply.send(answer);
                }
                Ok(Work::System(part, good, because)) => {
                    let input = Input::System { part: &part, good, because: &because };
                    lock(engine).step((self.clock)(), input, &mut self.effects);
                    self.handle(false);
                }
                Ok(Work::Test(ask, reply)) => drop(reply.send(self.asked_of_test(ask))),
                Ok(Work::Delivered(delivery)) => self.delivered(&mut lock(engine), &delivery),
                Ok(Work::Present) => {
                    self.metrics.presence.inc();
                    lock(engine).step((self.clock)(), Input::Presence, &mut self.effects);
                    self.handle(false);
                }
                Ok(Work::Rota(request, reply)) => self.change_rota(*request, &reply),
                Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                for delivery in self.heard.take() {
                    self.delivered(&mut lock(engine), &delivery);
                }
                self.tick(&mut lock(engine));
                self.handle(false);
                self.send_lists();
                self.metrics.ticks.inc();
            }
        }
        self.stop();
    }

    fn judge_records(&mut self, engine: &mut Engine, records: Records<'_>, from: u64) {
        let mut judged = 0;
        for (seq, kind, bytes) in records {
            if seq < from || !is_judged(kind) {
                continue;
            }
            match record::decode(kind, bytes) {
                // Another instance judges it: here it is kept, live and in every replay.
                Ok(Record::Reading(reading)) if reading.marks.has(Marks::NOT_JUDGED) => {}
                Ok(Record::Reading(reading)) => {
                    judged += 1;
                    self.enact(engine, reading.received_at);
                    let input = Input::Reading(&reading);
                    engine.step(reading.received_at, input, &mut self.effects);
                }
                Ok(Record::Weather(received_at, zone, json)) => match WeatherReport::decode(json) {
                    Ok(report) => {
                        self.enact(engine, received_at);
                        let input = Input::Weather { zone, report: &report };
                        engine.step(received_at, input, &mut self.effects);
                    }
                    Err(error) => self.unreadable(&error),
                },
                Ok(Record::Proof(reading)) => self.prove(&reading),
                Ok(_) => {}
                Err(error) => self.unreadable(&error),
            }
        }
        self.metrics.judged.inc_by(judged);
    }

    /// Hands the engine the policy that has come into force by `now`.
    fn enact(&mut self, engine: &mut Engine, now: Timestamp) {
        if let Some(version) = self.policy.change(now) {
            info!(policy_hash = %version.hash, reason = %version.reason, "another policy is in force");
            engine.step(now, Input::Policy(&version.policy), &mut self.effects);
        }
    }

    fn unreadable(&self, error: &dyn std::error::Error) {
        self.metrics.unreadable.inc();
        debug!(%error, "a record cannot be judged");
    }

    fn tick(&mut self, engine: &mut Engine) {
        let now = (self.clock)();
        self.enact(engine, now);
        self.look_aside(now);
        let rota = self.duty.now();
        if !Arc::ptr_eq(engine.rota(), &rota) {
            engine.set_rota(rota);
        }
        engine.step(now, Input::Tick, &mut self.effects);
        self.look_at_rota(now);
        let end = self.tail.end();
        // Everything before it was judged before it was durable; the cursor stays behind for the replay alone.
        self.follower.report(end);
        self.mark(engine, now, end);
        self.move_cursor(now);
    }

    /// Step 6.
    fn handle(&mut self, replayed: bool) {
        let mut counts_changed = false;
        for mut effect in std::mem::take(&mut self.effects) {
            let notices = self.notices_of(&effect);
            self.dispatcher.keep_listed(&mut effect);
            match effect {
                Effect::Open { incident, event, .. } => {
                    counts_changed = true;
                    self.open(*incident, event, notices, replayed);
                }
                Effect::Escalated { incident, event, .. } => {
                    counts_changed = true;
                    self.escalate(incident, event, notices, replayed);
                }
                Effect::Moved { incident, event, told, to } => {
                    counts_changed = true;
                    let again = replayed || (told.is_some() && to.again);
                    self.moved(incident, event, notices, again);
                }
                Effect::Many { zone, word, to, incidents, count, event } => {
                    info!(%zone, word, count, step = to.step, "rungs of many incidents, in lists");
                    incidents.iter().for_each(|incident| self.show(incident.clone()));
                    self.writes.push(Write::Many(incidents, event), Ticket::default());
                }
                Effect::Flood { on, event } => {
                    warn!(on, "more is raised than people can take in: messages are grouped");
                    self.writes.push(Write::Many(Vec::new(), event), Ticket::default());
                }
                Effect::Shown(incident) => self.show(*incident),
                Effect::Answered(answer) => self.answered(act::Said::Incident(answer)),
                Effect::Job { job, event, .. } => self.job(job, event, notices, replayed),
                Effect::Recheck { tasks, event, .. } => self.recheck(tasks, event, notices, replayed),
                Effect::JobAnswered(answer) => self.answered(act::Said::Job(answer)),
                Effect::Changed { incident, event } => {
                    info!(incident = %incident.id, post_id = %incident.post_id, event = event.kind, "incident changed");
                    self.put(&incident, &event);
                    self.writes.push(Write::Change(incident, event), Ticket::default());
                }
                Effect::WeatherUnknown { since, zones } => {
                    warn!(?zones, %since, "weather unknown, wet limits in force");
                    let ticket = self.tell(&notices, replayed, None);
                    self.writes.push(Write::Notices(notices), ticket);
                }
                Effect::Weather { zone, weather } => {
                    self.duty.heed(&zone, weather.warning);
                    self.writes.push(Write::Weather(zone, weather), Ticket::default());
                }
                Effect::Remember(memory) => self.writes.push(Write::Remember(memory), Ticket::default()),
                Effect::Review { post, measured_at } => {
                    self.metrics.reviews.inc();
                    info!(post_id = %post, %measured_at, "old critical sample, contradicted by newer ones");
                }
            }
        }
        if counts_changed {
            self.count_open();
        }
    }

    /// Step 9.
    fn stop(mut self) {
        let deadline = Instant::now() + CHANNELS_END;
        let mut desks = std::mem::take(&mut self.desks);
        desks.extend(self.aside.proving.take().map(|proving| proving.desk));
        desks.iter_mut().for_each(Desk::begin_stop);
        desks.iter_mut().for_each(|desk| desk.end_stop(deadline));
        self.writer.stop();
        info!("alerting stopped");
    }
}

/// Kinds of records that the rules hear.
fn is_judged(kind: u8) -> bool {
    matches!(kind, record::READING | record::WEATHER | record::HEARD_WEATHER | record::PROOF)
}

#[cfg(test)]
#[path = "run_tests.rs"]
pub(crate) mod tests;
