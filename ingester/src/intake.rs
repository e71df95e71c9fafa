//! What the sources hand over, and how they hear back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lampguard_model::Timestamp;
use lampguard_model::record::Source;
use lampguard_model::wire::{self, Refusal};
use tokio::sync::{Notify, mpsc, watch};

use crate::metrics::Metrics;
use crate::profile::Profile;

/// Chunks that may wait for the intake. Sources of which the broker is one never wait: it keeps what does
/// not fit and comes back with it.
pub const QUEUE_CHUNKS: usize = 1024;
/// Bytes of messages that are held in memory and not acknowledged yet, over all sources.
pub const HELD_BYTES_MAX: usize = 64 << 20;
/// Of those, bytes that may be on their way to the intake while the journal is stopped: it judges them and lets go
/// what goes beyond the limit, so sources read on although memory is full of what waits for the disk.
pub const ON_THE_WAY_MAX: usize = 16 << 20;
/// What a chunk takes beside its messages: its place in the queues, its frame with the totals, its settlement.
const CHUNK_COST: usize = 1024;

/// A commit that takes longer counts as a journal that takes nothing. A shared disk may well need a second.
const DISK_PATIENCE: Duration = Duration::from_secs(3);

/// Something that messages come from and acknowledgements go to.
pub trait Origin: Send + Sync {
    /// Which kind of source it is.
    fn source(&self) -> Source;

    /// Which topics are read by which profile; the first that fits wins.
    fn mappings(&self) -> &[Mapping];

    /// True when the retain bit means what MQTT says (from a broker), false when a sensor set it itself.
    fn retain_counts(&self) -> bool;

    /// Whether its readings are judged by this instance; the others are stored with a mark and judged elsewhere.
    fn judges(&self) -> bool {
        true
    }

    /// Which of several of its kind; empty where there is one alone.
    fn id(&self) -> &str {
        ""
    }

    /// Number of the connection at whose beginning the other side had forgotten us, the last time that it had: what was
    /// told before may have been told anew meanwhile, unheard. 0: never.
    fn forgotten_at(&self) -> u64 {
        0
    }

    /// Everything of this chunk is durable (or was there already): acknowledge these messages, in order.
    fn settle(&self, settled: Settled);

    /// Messages of this chunk will not be kept and must not be acknowledged; their sender has to send again.
    fn shed(&self, epoch: u64);
}

/// What became of a chunk.
#[derive(Debug, Default)]
pub struct Settled {
    /// Connection number the messages came on.
    pub epoch: u64,
    /// Tokens of the messages to acknowledge, in order of arrival.
    pub tokens: Vec<u32>,
    /// Outcomes, for sources that tell them to their sender.
    pub tally: Tally,
}

/// Outcomes of one chunk's readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New and durable.
    pub stored: u64,
    /// Already there.
    pub duplicate: u64,
    /// Place in the batch and reason word of each refused one.
    pub quarantined: Vec<(usize, &'static str)>,
}

/// A topic filter and how payloads on it are read.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// MQTT filter.
    pub filter: String,
    /// `None` is the canonical decoder.
    pub profile: Option<Arc<Profile>>,
}

impl Mapping {
    /// The three canonical topics.
    pub fn canonical() -> Vec<Self> {
        wire::CANONICAL_FILTERS
            .iter()
            .map(|filter| Self { filter: (*filter).to_owned(), profile: None })
            .collect()
    }
}

/// How payloads on a topic are read, by the first mapping that fits: `None` when none does, `Some(None)` by the
/// canonical decoder.
pub(crate) fn profile_of<'m>(mappings: &'m [Mapping], topic: &str) -> Option<Option<&'m Profile>> {
    let mapping = mappings.iter().find(|mapping| wire::filter_matches(&mapping.filter, topic))?;
    Some(mapping.profile.as_deref())
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// How its origin knows it again; `None` when nobody waits for an acknowledgement (QoS 0).
    pub token: Option<u32>,
    /// The retain bit.
    pub retain: bool,
    /// Its sender speaks for the device of its topic alone.
    pub alone: bool,
    /// What to do with it.
    pub fate: Fate,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Read it.
    #[default]
    Read,
    /// Quarantine it unread: it is larger than the packet limit, and its payload here only its beginning.
    TooLarge {
        /// Bytes of the whole payload.
        bytes: u32,
        /// First bytes of the SHA-256 of the whole payload.
        hash: [u8; 8],
    },
    /// Read it again out of quarantine.
    Again {
        /// What it lay there for.
        reason: Refusal,
        /// When it first came.
        came_at: Timestamp,
    },
    /// Count it as refused: its sender may not publish there.
    Denied,
    /// Take its records: another node received them for us.
    Forwarded,
}

impl Fate {
    /// True for what is read again, having lain in quarantine for this reason.
    pub(crate) fn is_again(self, reason: Refusal) -> bool {
        matches!(self, Self::Again { reason: own, .. } if own == reason)
    }
}

impl Message {
    /// Bytes it takes while it is held.
    pub fn cost(&self) -> usize {
        self.topic.len() + self.payload.len() + 96
    }
}

/// Bytes that a chunk of these messages takes until it is settled.
pub(crate) fn cost_of(messages: &[Message]) -> usize {
    CHUNK_COST + messages.iter().map(Message::cost).sum::<usize>()
}

/// Messages of one origin that arrived together.
pub struct Chunk {
    /// Where they came from.
    pub origin: Arc<dyn Origin>,
    /// Number of the connection they came on.
    pub epoch: u64,
    /// When they were read from the socket.
    pub received_at: Timestamp,
    /// Feeds only the judge: a second copy of what the journal cannot take now.
    pub judge_only: bool,
    /// The messages, in order of arrival.
    pub messages: Vec<Message>,
    /// Bytes counted for this chunk at the gate.
    pub held: Held,
}

/// How much unacknowledged data is in memory, and whether the journal takes more.
#[derive(Debug)]
pub struct Gate {
    held: AtomicUsize,
    /// The part of `held` that the intake has not taken yet.
    on_the_way: AtomicUsize,
    stopped: watch::Sender<bool>,
    /// When the commit that is under way began: milliseconds since `made`, plus 1; 0 while there is none.
    commit_began: AtomicU64,
    made: Instant,
    freed: Notify,
    metrics: Metrics,
}

impl Gate {
    /// An open gate.
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            on_the_way: AtomicUsize::new(0),
            stopped: watch::Sender::new(false),
            commit_began: AtomicU64::new(0),
            made: Instant::now(),
            freed: Notify::new(),
            metrics,
        })
    }

    /// True while the journal takes nothing.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Wakes whenever the journal stops or takes readings again.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// True when no more bytes should be held.
    pub fn is_full(&self) -> bool {
        self.held.load(Ordering::Acquire) >= HELD_BYTES_MAX
    }

    /// True when a source may read on. While the journal is stopped what waits for the disk does not count:
    /// reading goes on for the judge's sake, as fast as the intake takes.
    pub fn has_room(&self) -> bool {
        if self.is_stopped() {
            self.on_the_way.load(Ordering::Acquire) < ON_THE_WAY_MAX
        } else {
            !self.is_full()
        }
    }

    /// Counts bytes as held until the returned value is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        self.on_the_way.fetch_add(bytes, Ordering::AcqRel);
        self.metrics.held_bytes.add(bytes as i64);
        Held { gate: Some(self.clone()), bytes, on_the_way: bytes }
    }

    /// Waits until a source may read on.
    pub async fn room(&self) {
        while !self.has_room() {
            // The time-out covers a notification that came between the check and the wait.
            let _ = tokio::time::timeout(Duration::from_millis(50), self.freed.notified()).await;
        }
    }

    /// The committer asks the disk for something, or has its answer.
    pub(crate) fn set_committing(&self, committing: bool) {
        let now = self.made.elapsed().as_millis() as u64 + 1;
        self.commit_began.store(if committing { now } else { 0 }, Ordering::Release);
    }

    /// A disk that neither works nor fails stops the journal as well; looked at by a thread of its own.
    pub(crate) fn look_for_hanging_disk(&self) {
        let began = self.commit_began.load(Ordering::Acquire);
        let waited =
            Duration::from_millis((self.made.elapsed().as_millis() as u64 + 1).saturating_sub(began));
        if began > 0 && waited > DISK_PATIENCE && !self.is_stopped() {
            tracing::error!(
                waited_s = waited.as_secs(),
                "the disk does not answer: acknowledgements wait, alarms go on"
            );
            self.set_stopped(true);
        }
    }

    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.stopped.send_replace(stopped);
        self.metrics.journal_stopped.set(i64::from(stopped));
        self.freed.notify_waiters();
    }
}

/// Bytes that are held; dropping it frees them.
#[derive(Debug, Default)]
pub struct Held {
    gate: Option<Arc<Gate>>,
    bytes: usize,
    on_the_way: usize,
}

impl Held {
    /// The intake has taken these bytes.
    pub(crate) fn arrive(&mut self) {
        if let Some(gate) = &self.gate {
            gate.on_the_way.fetch_sub(std::mem::take(&mut self.on_the_way), Ordering::AcqRel);
            if gate.is_stopped() {
                gate.freed.notify_waiters();
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.arrive();
        if let Some(gate) = &self.gate {
            gate.held.fetch_sub(self.bytes, Ordering::AcqRel);
            gate.metrics.held_bytes.sub(self.bytes as i64);
            gate.freed.notify_waiters();
        }
    }
}

/// The way into the intake.
#[derive(Clone)]
pub struct Inlet {
    pub(crate) sender: mpsc::Sender<Input>,
    /// The gate in front of it.
    pub gate: Arc<Gate>,
}

/// What the intake works on.
pub(crate) enum Input {
    Chunk(Chunk),
    /// Commit what is there and end.
    Close,
}

impl Inlet {
    /// Hands a chunk over; waits while the queue is full. False when the intake has ended.
    pub async fn send(&self, chunk: Chunk) -> bool {
        self.sender.send(Input::Chunk(chunk)).await.is_ok()
    }

    /// Hands a chunk over without waiting.
    ///
    /// # Errors
    /// The chunk, when the queue is full or the intake has ended.
    pub fn try_send(&self, chunk: Chunk) -> Result<(), Chunk> {
        self.sender.try_send(Input::Chunk(chunk)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(Input::Chunk(chunk))
            | mpsc::error::TrySendError::Closed(Input::Chunk(chunk)) => chunk,
            _ => unreachable!("only chunks are sent here"),
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn what_waits_for_the_disk_keeps_no_source_from_reading_while_the_journal_is_stopped() {
        let gate = Gate::new(Metrics::register(&Registry::new()));
        let mut waiting = gate.hold(HELD_BYTES_MAX);
        assert!(!gate.has_room());
        waiting.arrive();
        assert!(!gate.has_room(), "it is held until it is durable");
        gate.set_stopped(true);
        assert!(gate.has_room());
        let on_its_way = gate.hold(ON_THE_WAY_MAX);
        assert!(!gate.has_room(), "what the judge has not heard yet is bounded too");
        drop(on_its_way);
        assert!(gate.has_room());
        gate.set_stopped(false);
        drop(waiting);
        assert!(gate.has_room());
    }
}
