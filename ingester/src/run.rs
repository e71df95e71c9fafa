//! The way of one reading, from a source's hands to the journal and the judge.
//!
//! ```text
//!  1 chunk    = inlet.recv()                     // messages of one source, not acknowledged yet
//!  2 readings = decode(message)                  // else quarantine(reason): its bytes are kept
//!  3 place    = place(device)                    // the register decides; unknown devices are taken too
//!  4 decision = admission.admit(reading, place)  // fresh | duplicate | stale retained; marks what is odd
//!  5 frame.push(reading)                         // up to FRAME_BYTES, or as soon as no more chunks wait
//!  6 judge(frame)                                // before the disk: alarms wait for nobody
//!  7 commit(frame)                               // one fdatasync for all frames that wait
//!  8 origin.settle(tokens)                       // only now does the sender forget it
//! ```
//! Steps 2 to 6 run on the thread `intake`, 7 and 8 on the thread `commit` (`commit.rs`): a slow disk holds
//! up acknowledgements, never alarms. Duplicates pass through 7 as well, so they are acknowledged only after
//! the commit that carries their first copy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lampguard_journal::{FrameBuf, Recovery};
use lampguard_model::record::{self, Quarantined, Source, StoredReading};
use lampguard_model::time::CLOCK_AHEAD_MAX;
use lampguard_model::wire::{self, Refusal, Topic};
use lampguard_model::{Current, Marks, PostKind, Reading, Register, Timestamp, UNREGISTERED, register};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::accounts::{Accounts, Refused, Totals};
use crate::admit::{Admission, Decision, Place, mark_time};
use crate::commit::{Settlement, Unit};
use crate::intake::{Chunk, Fate, Gate, Input, Message, Settled, Tally, profile_of};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::profile;
use crate::proof::Proofs;

mod apart;
pub mod forwarded;

use apart::{ALL_ZONES, came_at, date_again};

/// A frame is closed when its records reach this size; a flipped byte on disk costs one frame.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Room for readings of one message that is kept between messages.
const DECODED_KEPT: usize = 256;
/// Frames in one unit of work for the committer.
const UNIT_FRAMES: usize = 8;
/// Under load messages gather for so long before the next are taken. Every message by itself wakes the judge, the
/// committer, the disk and each follower: at 1,000 messages a second that costs more than half of the processor time
/// (`lampguard bench paced`). The first message after a pause waits for nothing.
const GATHER: Duration = Duration::from_millis(4);

/// Called with every closed frame before it is on disk. Must not wait for disks or networks.
pub type Judge = Box<dyn FnMut(Arc<FrameBuf>) + Send>;
/// Whether another node owns a post: zone and feeder by the register, and the zone that the topic of a device names that
/// nobody registered.
pub type Foreign = Arc<dyn Fn(&str, &str, Option<&str>) -> bool + Send + Sync>;
/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the intake needs.
pub struct Setup {
    /// The register of posts. It may be replaced: each chunk is placed by the one that holds when it is taken.
    pub register: Current<Register>,
    /// Who judges; also fed with readings that the journal cannot take now.
    pub judge: Judge,
    /// Tells the time.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Metrics,
    /// The books.
    pub accounts: Arc<Accounts>,
    /// Known possible losses.
    pub losses: Arc<LossBook>,
    /// The gate.
    pub gate: Arc<Gate>,
    /// How proofs are known; without it there are none.
    pub proofs: Option<Proofs>,
    /// Which posts other nodes own; without it there are no others.
    pub foreign: Option<Foreign>,
}

/// The thread `intake`.
pub(crate) struct Intake {
    setup: Setup,
    /// The register by which the chunk at hand is placed.
    register: Arc<Register>,
    admission: Admission,
    pub(crate) totals: Totals,
    next_seq: u64,
    frame: FrameBuf,
    pub(crate) unit: Unit,
    decoded: Vec<Result<Reading, Refusal>>,
    /// What decoders keep between messages.
    memory: profile::Memory,
    /// Its size when metrics told it last.
    memory_told: (usize, usize, u64),
    /// While set, readings go to the judge and nowhere else.
    judge_only: bool,
}

/// Waits when the hand-over before the last one was less than twice [`GATHER`] ago.
fn let_gather(before: Option<Instant>) {
    if before.is_some_and(|before| before.elapsed() < GATHER * 2) {
        std::thread::sleep(GATHER);
    }
}

impl Intake {
    pub(crate) fn new(setup: Setup, admission: Admission, recovery: &Recovery) -> Self {
        let totals = Totals::decode(&recovery.meta).unwrap_or_default();
        let frame = FrameBuf::new(recovery.next_seq);
        let unit = Unit::new(totals.clone());
        let next_seq = recovery.next_seq;
        let register = setup.register.get();
        Self {
            setup,
            register,
            admission,
            totals,
            next_seq,
            frame,
            unit,
            decoded: Vec::new(),
            memory: profile::Memory::default(),
            memory_told: (0, 0, 0),
            judge_only: false,
        }
    }

    /// Works until the inlet is closed.
    pub(crate) fn run(mut self, mut inlet: mpsc::Receiver<Input>, commit: &std::sync::mpsc::Sender<Unit>) {
        let mut next = inlet.blocking_recv();
        let mut handed_over = None;
        while let Some(Input::Chunk(chunk)) = next {
            self.take(chunk);
            next = if self.unit.frames.len() < UNIT_FRAMES { inlet.try_recv().ok() } else { None };
            if next.is_none() {
                let full = self.unit.frames.len() >= UNIT_FRAMES;
                self.close_frame();
                if !self.is_idle() {
                    self.hand_over(commit);
                }
                if !full {
                    let_gather(handed_over.replace(Instant::now()));
                }
                next = inlet.blocking_recv();
            }
        }
        // What still waits in the queue was not acknowledged; its senders keep it.
        self.hand_over(commit);
    }

    /// True when the unit is no work for the committer: nothing was received, or the journal is stopped and
    /// everything was let go. Its counts then wait here for the next one; the committer, which repeats its last
    /// commit, would let such units pile up for as long as the disk is full.
    fn is_idle(&self) -> bool {
        let counts_alone = self.unit.frames.is_empty() && self.unit.settlements.is_empty();
        counts_alone && (self.unit.readings == 0 || self.setup.gate.is_stopped())
    }

    /// Everything taken so far goes to the committer.
    fn hand_over(&mut self, commit: &std::sync::mpsc::Sender<Unit>) {
        self.close_frame();
        let unit = std::mem::replace(&mut self.unit, Unit::new(self.totals.clone()));
        // The committer ends after the intake, unless the process gives up.
        let _ = commit.send(unit);
    }

    /// Takes the register that holds now, if it is another one.
    fn look_at_register(&mut self) {
        let register = self.setup.register.get();
        if !Arc::ptr_eq(&register, &self.register) {
            self.admission.recount(|device| register.named(device).is_some());
            self.register = register;
        }
    }

    /// Steps 2 to 5 for every message of a chunk.
    fn take(&mut self, chunk: Chunk) {
        let Chunk { origin, epoch, received_at, judge_only, messages, mut held } = chunk;
        held.arrive();
        self.look_at_register();
        let shed = judge_only || (self.setup.gate.is_stopped() && self.setup.gate.is_full());
        if shed != self.judge_only {
            self.close_frame();
            self.judge_only = shed;
        }
        let mut context = Context {
            source: origin.source(),
            received_at,
            retain_counts: origin.retain_counts(),
            judges: origin.judges(),
            origin: profile::origin_of(origin.id()),
            readings: 0,
            tally: Tally::default(),
        };
        if !judge_only {
            self.memory.session(context.origin, origin.forgotten_at(), epoch);
        }
        let before = self.totals.clone();
        let mut tokens = Vec::with_capacity(messages.len());
        for message in &messages {
            self.take_message(message, profile_of(origin.mappings(), &message.topic), &mut context);
            tokens.extend(message.token);
        }
        if let Some(Fate::Again { reason, .. }) = messages.first().map(|message| message.fate) {
            if shed {
                // Judged, not kept: it stays where it is.
                self.totals.clone_from(&before);
                if !judge_only {
                    origin.shed(epoch);
                }
                return;
            }
            self.release(reason, &before, &mut context);
        }
        let (name, readings) = (context.source.name(), context.readings);
        let metrics = &self.setup.metrics;
        metrics.qos0.with_label_values(&[name]).inc_by((messages.len() - tokens.len()) as u64);
        if shed {
            metrics.judge_only.with_label_values(&[name]).inc_by(readings);
        }
        if judge_only {
            return;
        }
        metrics.received.with_label_values(&[name]).inc_by(readings);
        self.setup.accounts.receive(context.source, readings);
        self.unit.readings += readings;
        if shed {
            self.refuse(Refused::JournalStopped, readings);
            origin.shed(epoch);
        } else {
            let settled = Settled { epoch, tokens, tally: context.tally };
            self.unit.settlements.push(Settlement { origin, settled, _held: held });
        }
        self.unit.totals.clone_from(&self.totals);
    }

    /// A payload was read again out of quarantine. What it gave moves from quarantined to its new outcome;
    /// when it gave nothing, nothing happened.
    fn release(&mut self, reason: Refusal, before: &Totals, context: &mut Context) {
        let (stored, gave) = (context.tally.stored, context.tally.stored + context.tally.duplicate);
        if gave == 0 {
            self.totals.clone_from(before);
            context.readings = 0;
            return;
        }
        let whole = context.tally.quarantined.is_empty();
        let counted_alone = match reason {
            Refusal::NoMeasurement | Refusal::BadDevice | Refusal::BatchTooLong | Refusal::OtherDevice => {
                true
            }
            // Said of a whole payload too; one that gives something new was refused as a whole.
            Refusal::NotObject | Refusal::Format | Refusal::UnknownAlias | Refusal::Undated => {
                stored == 0 && !whole
            }
            _ => false,
        };
        if counted_alone {
            // What is refused again, and what came beside it, was counted when it came first.
            let repeated = u64::from(stored == 0 && whole);
            self.totals.quarantined = before.quarantined;
            self.totals.duplicate = before.duplicate + repeated;
            self.totals.release(reason, stored + repeated);
        } else {
            self.totals.release(reason, 1);
        }
        self.setup.metrics.duplicate.inc_by(self.totals.duplicate - before.duplicate);
        context.readings = self.totals.sum().saturating_sub(before.sum());
    }

    /// Steps 2 to 5 for one message, read by `profile`.
    pub(crate) fn take_message(
        &mut self,
        message: &Message,
        profile: Option<Option<&profile::Profile>>,
        context: &mut Context,
    ) {
        if message.payload.is_empty() && message.retain {
            // An empty retained message only clears what the broker kept.
            return;
        }
        match message.fate {
            Fate::Read | Fate::Again { .. } => {}
            Fate::Forwarded => return self.take_forwarded(message, context),
            Fate::TooLarge { .. } => return self.quarantine(message, 0, Refusal::TooLarge, context),
            Fate::Denied => {
                context.readings += 1;
                if !self.judge_only {
                    self.refuse(Refused::NotAuthorised, 1);
                }
                return;
            }
        }
        let Some(profile) = profile else {
            return self.quarantine(message, 0, Refusal::Topic, context);
        };
        let canonical = wire::parse_topic(&message.topic);
        match (profile, canonical) {
            (None, Some(Topic::Weather { zone })) => return self.take_weather(message, zone, context),
            (None, Some(Topic::Status { device, .. })) => return self.take_status(message, device, context),
            _ => {}
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        match self.decode(profile, message, context, &mut decoded) {
            Err(refusal) => self.quarantine(message, 0, refusal, context),
            Ok(mended) => {
                if context.source != Source::Retry {
                    self.count_mended(mended, decoded.iter().flatten().count() as u64);
                }
                let hint = match canonical {
                    Some(Topic::Reading { zone, device }) => Some((zone, device)),
                    _ => None,
                };
                let mut refused = None;
                for (index, reading) in decoded.drain(..).enumerate() {
                    let taken =
                        reading.and_then(|reading| self.take_reading(message, reading, hint, context));
                    if let Err(refusal) = taken {
                        refused = self.refuse_one(refusal, index, refused, context);
                    }
                }
                if let Some(refusal) = refused {
                    self.keep_payload(message, refusal, context);
                }
            }
        }
        decoded.clear();
        decoded.shrink_to(DECODED_KEPT);
        self.decoded = decoded;
    }

    /// Steps 3 to 5 for one reading.
    ///
    /// # Errors
    /// What it is quarantined for.
    fn take_reading(
        &mut self,
        message: &Message,
        mut reading: Reading,
        hint: Option<(&str, &str)>,
        context: &mut Context,
    ) -> Result<(), Refusal> {
        let named = reading.device.take();
        let device = match (named.as_deref(), hint) {
            (Some(device), _) => device,
            (None, Some((_, device))) => device,
            (None, None) => "",
        };
        if !register::is_identifier(device) {
            return Err(Refusal::BadDevice);
        }
        if self.take_proof(message, &reading, device, context) {
            return Ok(());
        }
        if named.is_some() && self.speaks_for_another(message, hint, device) {
            if message.alone || message.fate.is_again(Refusal::OtherDevice) {
                return Err(Refusal::OtherDevice);
            }
            reading.marks.add(Marks::OTHER_TOPIC);
        }
        context.readings += 1;
        let retained = message.retain && context.retain_counts;
        if self.judge_only && retained {
            // State from before; the judge has heard it, or must not.
            return Ok(());
        }
        let place = self.place(device, &mut reading, hint);
        self.mark_judge(&mut reading, &place, hint, context);
        let received_at = came_at(message, context);
        let decision = if self.judge_only {
            self.look_only(&mut reading, &place, device, received_at)
        } else {
            self.admission.admit(&mut reading, &place, device, retained, received_at)
        };
        date_again(message, &mut reading, &place, context.received_at);
        let hint = hint.map(|(zone, _)| zone).filter(|zone| register::is_identifier(zone));
        self.settle(decision, (&reading, &place), (device, hint), context);
        Ok(())
    }

    /// True when the payload names a registered post, and the topic is another one's. A login without a filter of its
    /// own may not; of the others nobody here knows whether it is a gateway that hangs on a post, and a danger that
    /// it reports has to be heard: the reading is taken and marked.
    fn speaks_for_another(&self, message: &Message, hint: Option<(&str, &str)>, device: &str) -> bool {
        let post_of = |name: &str| self.register.named(name);
        let own = message.alone || message.fate.is_again(Refusal::OtherDevice);
        let speaker = hint.map(|(_, name)| name).or_else(|| message.topic.split('/').nth(2));
        let Some(speaker) = speaker.filter(|speaker| *speaker != device) else {
            return false;
        };
        match (post_of(speaker), post_of(device)) {
            (Some(its), Some(named)) => its.post_id != named.post_id,
            (None, Some(_)) => own,
            // Unknown devices are judged like others, whoever tells of them.
            (_, None) => false,
        }
    }

    /// Where a device belongs, by the register.
    fn place(&mut self, device: &str, reading: &mut Reading, hint: Option<(&str, &str)>) -> Place {
        // A payload may name the post instead of its device.
        let Some(post) = self.register.named(device).cloned() else {
            reading.marks.add(Marks::UNREGISTERED);
            let device = self.admission.track(device);
            if device.is_none() {
                reading.marks.add(Marks::UNTRACKED);
            }
            return Place { post: None, device };
        };
        if hint.is_some_and(|(zone, _)| zone != &*post.zone) {
            reading.marks.add(Marks::ZONE_MISMATCH);
        }
        if post.kind == PostKind::Feeder {
            reading.marks.add(Marks::CABINET);
        }
        Place { device: Some(post.device_id.clone()), post: Some(post) }
    }

    /// Admission without remembering: a reading that is judged and not kept must not turn its own later copy
    /// into a duplicate.
    fn look_only(&mut self, reading: &mut Reading, place: &Place, device: &str, now: Timestamp) -> Decision {
        let stored_ts = mark_time(reading, place.period(reading), now);
        Decision::Fresh { stored_ts, identity: self.admission.identity(reading, device, now) }
    }

    /// Puts a reading into the frame.
    fn keep(&mut self, kept: &Kept<'_>, context: &Context) {
        let Kept { reading, place, device, hint, stored_ts, identity } = *kept;
        let post = place.post.as_deref();
        let stored = StoredReading {
            identity,
            stored_ts,
            source: context.source,
            device,
            zone: post.map_or(UNREGISTERED, |post| &post.zone),
            feeder: post.map_or("", |post| &post.feeder),
            hint: hint.filter(|_| post.is_none()),
            ..StoredReading::said(reading, post.map_or(device, |post| &post.post_id), context.received_at)
        };
        self.frame.push(record::READING, |out| record::encode_reading(&stored, out));
        if reading.unknown_keys > 0 {
            self.setup.metrics.unknown_keys.inc_by(u64::from(reading.unknown_keys));
        }
        if reading.ts.is_some_and(|ts| ts.since(context.received_at) > CLOCK_AHEAD_MAX) {
            self.setup.metrics.clock_ahead.inc();
        }
        for mark in reading.marks.names() {
            self.setup.metrics.marked.with_label_values(&[mark]).inc();
        }
        if self.judge_only {
            return self.close_full_frame();
        }
        self.totals.stored += 1;
        if reading.marks.has(Marks::FOREIGN) {
            // Here may be a part of what the post says; its owner has all of it.
            return self.close_full_frame();
        }
        let gap = self.admission.gap(place, reading, stored.measured_at());
        if gap.missing > 0 || gap.filled {
            self.setup.metrics.gap.inc_by(gap.missing);
            self.setup.metrics.gap_filled.inc_by(u64::from(gap.filled));
            self.setup.losses.gap(context.source, gap, stored.measured_at());
        }
        self.close_full_frame();
    }

    /// A payload that holds no reading: counted as one, its bytes are kept.
    fn quarantine(&mut self, message: &Message, index: usize, refusal: Refusal, context: &mut Context) {
        self.refuse_one(refusal, index, None, context);
        self.keep_payload(message, refusal, context);
    }

    fn refuse_one(
        &mut self,
        refusal: Refusal,
        index: usize,
        before: Option<Refusal>,
        context: &mut Context,
    ) -> Option<Refusal> {
        context.readings += 1;
        if !self.judge_only {
            self.totals.quarantine(refusal, 1);
            if context.source != Source::Retry {
                self.setup.metrics.quarantined.with_label_values(&[refusal.word()]).inc();
            }
            context.tally.quarantined.push((index, refusal.word()));
        }
        // A payload that spoke for others is read again as such, whatever else is wrong with it.
        if refusal == Refusal::OtherDevice { Some(refusal) } else { before.or(Some(refusal)) }
    }

    fn keep_payload(&mut self, message: &Message, refusal: Refusal, context: &Context) {
        // What is read again out of quarantine lies there already.
        if self.judge_only || context.source == Source::Retry {
            return;
        }
        let (full_length, hash) = match message.fate {
            Fate::TooLarge { bytes, hash } => (bytes, hash),
            _ => {
                let mut hash = [0; 8];
                hash.copy_from_slice(&Sha256::digest(&message.payload)[..8]);
                (message.payload.len() as u32, hash)
            }
        };
        let refused = Quarantined {
            received_at: context.received_at,
            source: context.source,
            reason: refusal.word(),
            topic: &message.topic,
            full_length,
            hash,
            payload: &message.payload,
        };
        self.frame.push(record::QUARANTINED, |out| record::encode_quarantined(&refused, out));
        self.close_full_frame();
    }

    fn refuse(&mut self, refused: Refused, readings: u64) {
        self.totals.refuse(refused, readings);
        self.setup.metrics.refused.with_label_values(&[refused.word()]).inc_by(readings);
    }

    fn close_full_frame(&mut self) {
        if self.frame.len() >= FRAME_BYTES {
            self.close_frame();
        }
    }

    /// Step 6, and the frame is ready for step 7.
    pub(crate) fn close_frame(&mut self) {
        if self.frame.is_empty() {
            return;
        }
        let next = if self.judge_only { self.next_seq } else { self.frame.end_seq() };
        let mut frame = std::mem::replace(&mut self.frame, FrameBuf::new(next));
        frame.closed_at = (self.setup.clock)().0;
        if self.judge_only {
            return (self.setup.judge)(Arc::new(frame));
        }
        self.totals.encode(&mut frame.meta);
        self.next_seq = next;
        let window = self.admission.window(Timestamp(frame.closed_at));
        self.setup.metrics.dedup_window.set(window.as_seconds());
        let frame = Arc::new(frame);
        (self.setup.judge)(frame.clone());
        self.unit.frames.push(frame);
    }
}

/// What holds for all messages of a chunk, and what became of them.
pub(crate) struct Context {
    pub(crate) source: Source,
    pub(crate) received_at: Timestamp,
    pub(crate) retain_counts: bool,
    pub(crate) judges: bool,
    /// Which of several sources, for what decoders keep.
    pub(crate) origin: u64,
    pub(crate) readings: u64,
    pub(crate) tally: Tally,
}

#[derive(Clone, Copy)]
struct Kept<'a> {
    reading: &'a Reading,
    place: &'a Place,
    device: &'a str,
    /// Zone in the topic.
    hint: Option<&'a str>,
    stored_ts: Timestamp,
    identity: u64,
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
