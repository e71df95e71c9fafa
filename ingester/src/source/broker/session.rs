//! The task that owns the connection to a broker.
//!
//! One task owns the connection and waits for nothing else. Publishes go to the intake by a queue that it
//! never waits for; acknowledgements come back from the committer and are written many at a time.
//!
//! The task owns the socket (TCP or TLS) and calls rumqttc's codecs itself (`packet.rs`). rumqttc's own event loop
//! writes and flushes every acknowledgement alone, which costs more than all else on this path together; it dials by
//! itself, and can be given no TLS stream without its own TLS, which has open advisories; and its clients for 3.1.1
//! and 5 share no type. One loop over one [`Wire`] serves both versions, with and without TLS. What is stepped around:
//! - A broker may forget subscriptions: we subscribe on every CONNACK.
//! - A filter that the broker refuses is asked for again and again: its access list may be mended, and nobody tells us.
//! - After an error, packets that were read before are thrown away; the broker sends them again.
//! - An acknowledgement of an old connection would acknowledge somebody else's message: acks carry the number
//!   of their connection (*epoch*), and old ones are dropped.
//! - An answer to a ping that was not read counts as a broker that is dead; while memory is full nothing is read.
//! - A packet over the size limit is an error, and a persistent session brings it back for ever: one
//!   reconnect with a limit that lets it in, then it goes to quarantine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lampguard_model::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::filters::Filters;
use super::packet::{self, Packet, Publish, Version, Welcome};
use super::wire::{Wire, WireError};
use super::{
    EXPIRY_MIN_S, KEEP_ALIVE, Link, OVERSIZE_MAX, PACKET_MAX, WATCHDOG, backoff, cut_oversize, keep_alive,
};
use crate::config::Protocol;
use crate::intake::{Chunk, Message, Settled, cost_of};

/// Acknowledgements that are written with one flush.
const ACKS_MAX: usize = 4096;
/// Messages that one chunk gathers.
const CHUNK: usize = 512;
/// Bytes that one chunk gathers; the last read may bring some packets more.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// Under load packets gather this long between reads: fewer, fuller reads cost half the CPU.
const GATHER: Duration = Duration::from_millis(4);
/// Messages within a gather window that count as load.
const LOAD: usize = 8;
/// Filters that the broker refused are asked for again so often, on the same connection.
const ASK_AGAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Why a connection ends.
enum Cut {
    /// The network, or the broker.
    Failed(WireError),
    /// Our own decision, in words.
    Ours(&'static str),
    /// The instance ends.
    Ending,
}

impl From<WireError> for Cut {
    fn from(e: WireError) -> Self {
        Self::Failed(e)
    }
}

/// Which version of MQTT is tried next.
#[derive(Debug)]
pub struct Dialect {
    wanted: Protocol,
    /// The broker said that it knows no MQTT 5: not asked again by this process.
    refused: bool,
    /// It closed the connection at a CONNECT of MQTT 5, as old ones do: one try with 3.1.1.
    closed: bool,
}

impl Dialect {
    /// As the configuration says.
    pub fn new(wanted: Protocol) -> Self {
        Self { wanted, refused: false, closed: false }
    }

    /// The version to try now.
    pub fn next(&self) -> Version {
        match self.wanted {
            Protocol::V4 => Version::V4,
            Protocol::Auto if self.refused || self.closed => Version::V4,
            Protocol::V5 | Protocol::Auto => Version::V5,
        }
    }

    /// A try with `version` failed; true when the other one is worth a try at once.
    pub fn failed(&mut self, version: Version, e: &WireError) -> bool {
        let (before, closed) = (self.next(), matches!(e, WireError::Unanswered(_)));
        let refused = matches!(e, WireError::Version(_));
        match version {
            Version::V5 => {
                self.refused |= refused;
                self.closed = closed;
            }
            Version::V4 => {
                self.refused &= !refused;
                self.closed = false;
            }
        }
        version == Version::V5 && before != self.next()
    }

    /// The broker let us in.
    pub fn connected(&mut self) {
        self.closed = false;
    }
}

/// The task that owns the connection.
pub(super) struct Session {
    link: Arc<Link>,
    settled: mpsc::UnboundedReceiver<Settled>,
    wire: Option<Wire>,
    dialect: Dialect,
    filters: Filters,
    /// Ended once the broker has granted what takes their place.
    unwanted: Vec<String>,
    /// Asked for and not answered yet: one SUBSCRIBE at a time.
    asked: Vec<String>,
    /// Refused, and when.
    refused: Option<(Vec<String>, Instant)>,
    /// On this connection some filter was granted.
    hears: bool,
    /// The refusal was told.
    refusal_told: bool,
    /// Longest packet that the next connection lets in.
    packet_max: usize,
    keep_alive: Duration,
    /// A ping was sent and not answered yet.
    await_pong: bool,
    /// Number of the connection; raised at every CONNACK and every end.
    epoch: u64,
    received: u64,
    acked: u64,
    /// When an acknowledgement was written last, or none was owed.
    progress: Instant,
    /// Chunks that did not fit into the intake's queue; they wait here, the task does not.
    backlog: VecDeque<Chunk>,
    /// Messages read and not handed over yet, and their bytes.
    gathered: Vec<Message>,
    gathered_bytes: usize,
    /// The socket was left unread since the last ping, for want of memory.
    paused: bool,
    /// Since when the broker has granted what we subscribe to.
    granted_at: Option<Instant>,
    failures: u32,
    lost_since: Option<Timestamp>,
}

impl Session {
    pub(super) fn new(link: Arc<Link>, settled: mpsc::UnboundedReceiver<Settled>) -> Self {
        // A session that was there before this process and is gone now may have held readings.
        let lost_since = link.context.losses.last_connected(&link.options.id);
        Self {
            wire: None,
            dialect: Dialect::new(link.options.protocol),
            filters: Filters::open(link.options.filters_file.clone()),
            unwanted: Vec::new(),
            asked: Vec::new(),
            refused: None,
            hears: false,
            refusal_told: false,
            packet_max: PACKET_MAX,
            keep_alive: KEEP_ALIVE,
            await_pong: false,
            link,
            settled,
            epoch: 0,
            received: 0,
            acked: 0,
            progress: Instant::now(),
            backlog: VecDeque::new(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            paused: false,
            granted_at: None,
            failures: 0,
            lost_since,
        }
    }

    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        loop {
            let cut = match self.connect().await {
                Ok(()) => self.serve(&mut ending).await.err(),
                Err(cut) => Some(cut),
            };
            // One that has lasted was of use, also without a message to acknowledge: what ends it is a new outage.
            if self.granted_at.take().is_some_and(|since| since.elapsed() >= KEEP_ALIVE) {
                self.failures = 0;
            }
            let pause = match cut {
                Some(Cut::Ending) | None => return self.say_goodbye().await,
                Some(Cut::Failed(e)) => self.failed(&e),
                Some(Cut::Ours(why)) => {
                    warn!(broker = %self.link.options.id, why, "connection cut; the broker sends again what was not acknowledged");
                    self.forget();
                    self.failures = self.failures.saturating_add(1);
                    backoff(self.failures, rand::random())
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return,
            }
        }
    }

    /// CONNECT, CONNACK, SUBSCRIBE.
    async fn connect(&mut self) -> Result<(), Cut> {
        let tried = self.dialect.next();
        let mut opened = self.open().await;
        if let Err(Cut::Failed(e)) = &opened
            && self.dialect.failed(tried, e)
        {
            if self.failures == 0 {
                info!(broker = %self.link.options.id, answer = %e, "no MQTT 5 here: trying 3.1.1");
            }
            opened = self.open().await;
            if let Err(Cut::Failed(e)) = &opened {
                self.dialect.failed(Version::V4, e);
            }
        }
        let welcome = opened?;
        self.dialect.connected();
        self.epoch += 1;
        (self.received, self.acked, self.progress) = (0, 0, Instant::now());
        // Holds for the next connection; this one keeps the limit it was made with.
        self.packet_max = PACKET_MAX;
        self.keep_alive = keep_alive(&welcome);
        self.await_pong = false;
        self.tell(&welcome);
        let (id, session_present) = (&self.link.options.id, welcome.session_present);
        let (losses, now) = (&self.link.context.losses, (self.link.context.clock)());
        if let Some(since) = self.lost_since.take()
            && !session_present
        {
            warn!(broker = %id, "the broker forgot our session: what it held for us may be lost");
            losses.session_lost(id, since.min(now), now);
            self.link.forgotten_at.store(self.epoch, Ordering::Release);
        }
        losses.connected(id, now);
        // Also with the session present: some brokers forget subscriptions, none minds hearing them again.
        let link = self.link.clone();
        let wanted = link.filters();
        self.unwanted = self.filters.ask(&wanted);
        if link.options.shared_group.is_some() {
            // Of a session from before the group: it would bring everything, beside our share.
            self.unwanted.extend(link.own_filters());
        }
        self.subscribe(wanted).await
    }

    async fn subscribe(&mut self, filters: Vec<String>) -> Result<(), Cut> {
        let wire = self.wire()?;
        wire.subscribe(&filters, 1)?;
        wire.flush().await?;
        self.asked = filters;
        Ok(())
    }

    async fn open(&mut self) -> Result<Welcome, Cut> {
        let options = &self.link.options;
        let hello = self.link.hello(&options.client_id, false);
        let (wire, welcome) =
            Wire::open(&options.remote, self.dialect.next(), &hello, self.packet_max).await?;
        self.wire = Some(wire);
        Ok(welcome)
    }

    fn wire(&mut self) -> Result<&mut Wire, Cut> {
        self.wire.as_mut().ok_or(Cut::Ours("no connection"))
    }

    /// What was agreed on, and what of it is not as it should be.
    fn tell(&self, welcome: &Welcome) {
        let id = &self.link.options.id;
        let (version, tls) = (welcome.version, self.link.options.remote.tls.is_some());
        let session_present = welcome.session_present;
        info!(broker = %id, session_present, mqtt = version.name(), tls, "connected");
        let protocol = self.link.context.metrics.broker_protocol.with_label_values(&[id]);
        protocol.set(i64::from(version.level()));
        if welcome.expiry_s < EXPIRY_MIN_S {
            warn!(broker = %id, session_s = welcome.expiry_s, "the broker keeps our session only so long: what comes while we are away longer is lost");
        }
        if welcome.qos_max == 0 {
            error!(broker = %id, "the broker grants QoS 0 alone: nothing that it sends is promised");
        }
    }

    /// Reads, acknowledges and pings until the connection ends. While memory is full it is not read: TCP holds the
    /// broker back, which for QoS 0 nothing else does.
    async fn serve(&mut self, ending: &mut watch::Receiver<bool>) -> Result<(), Cut> {
        let mut ping = tokio::time::interval_at(Instant::now() + self.keep_alive, self.keep_alive);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let gate = self.link.context.inlet.gate.clone();
        loop {
            self.hand_over();
            let room = gate.has_room();
            self.paused |= !room;
            let Some(wire) = self.wire.as_mut() else {
                return Err(Cut::Ours("no connection"));
            };
            tokio::select! {
                biased;
                _ = ping.tick() => self.ping().await?,
                _ = tick.tick() => self.watch().await?,
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return Err(Cut::Ending),
                ready = wire.ready(), if room && self.gathered.len() < CHUNK && self.gathered_bytes < CHUNK_BYTES => {
                    ready?;
                    self.take_packets().await?;
                }
                // Reached when the socket has no more, or enough was gathered.
                () = std::future::ready(()), if !self.gathered.is_empty() => self.end_of_reading().await?,
                settled = self.settled.recv() => match settled {
                    Some(settled) => self.acknowledge(settled).await?,
                    None => return Err(Cut::Ending),
                },
                () = gate.room(), if !room => {}
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Cut> {
        // Where nothing was read for want of memory, the last answer may lie in the socket.
        if self.await_pong && !std::mem::take(&mut self.paused) {
            return Err(Cut::Failed(WireError::Deaf));
        }
        (self.await_pong, self.paused) = (true, false);
        let wire = self.wire()?;
        wire.outbox.extend_from_slice(&packet::PING);
        Ok(wire.flush().await?)
    }

    /// Acknowledges what is durable, in order of arrival: this chunk and all that wait behind it, with one
    /// flush. What came on an old connection is not ours any more.
    async fn acknowledge(&mut self, first: Settled) -> Result<(), Cut> {
        let (mut next, mut tokens) = (Some(first), Vec::new());
        while let Some(settled) = next {
            if settled.epoch == self.epoch {
                tokens.extend(settled.tokens);
            } else {
                self.link.context.metrics.stale_ack.inc_by(settled.tokens.len() as u64);
            }
            next = if tokens.len() < ACKS_MAX { self.settled.try_recv().ok() } else { None };
        }
        let count = tokens.len() as u64;
        if count > 0 {
            let wire = self.wire()?;
            tokens.into_iter().for_each(|token| packet::puback(token as u16, &mut wire.outbox));
            wire.flush().await?;
        }
        self.acked += count;
        if count > 0 {
            // A connection that is of use; one that is only accepted and cut again is not.
            self.failures = 0;
        }
        self.progress = Instant::now();
        Ok(())
    }

    /// Gathers what is there as a whole.
    async fn take_packets(&mut self) -> Result<(), Cut> {
        while self.gathered.len() < CHUNK && self.gathered_bytes < CHUNK_BYTES {
            match self.wire()?.take()? {
                None => break,
                Some(Packet::Publish(publish)) => {
                    let message = self.message(publish);
                    self.gathered_bytes += message.cost();
                    self.gathered.push(message);
                }
                Some(Packet::Subscribed(codes)) => self.subscribed(&codes).await?,
                Some(Packet::Pong) => self.await_pong = false,
                Some(Packet::Bye(why)) => return Err(Cut::Failed(WireError::Bye(why))),
                Some(Packet::Welcome(_)) => {
                    return Err(Cut::Failed(WireError::Malformed("a second CONNACK")));
                }
                Some(Packet::Unsubscribed) => self.filters.only(&self.link.filters()),
                Some(Packet::Acked(..)) => {}
            }
        }
        Ok(())
    }

    /// What was gathered goes to the intake, what is durable is acknowledged, and under load packets gather
    /// a little before the socket is read again: fewer, fuller reads.
    async fn end_of_reading(&mut self) -> Result<(), Cut> {
        let messages = std::mem::take(&mut self.gathered);
        let load = messages.len() >= LOAD && messages.len() < CHUNK && self.gathered_bytes < CHUNK_BYTES;
        self.gathered_bytes = 0;
        let held = self.link.context.inlet.gate.hold(cost_of(&messages));
        let (origin, epoch, received_at) = (self.link.clone(), self.epoch, (self.link.context.clock)());
        self.backlog.push_back(Chunk { origin, epoch, received_at, judge_only: false, messages, held });
        self.hand_over();
        if let Ok(settled) = self.settled.try_recv() {
            self.acknowledge(settled).await?;
        }
        if load {
            tokio::time::sleep(GATHER).await;
        }
        Ok(())
    }

    fn message(&mut self, publish: Publish) -> Message {
        let token = publish.pkid.map(u32::from);
        if token.is_some() {
            if self.received == self.acked {
                self.progress = Instant::now();
            }
            self.received += 1;
        }
        let (payload, fate) = cut_oversize(publish.payload);
        Message { topic: publish.topic, payload, token, retain: publish.retain, alone: false, fate }
    }

    /// What nobody wants any more is ended when all is granted: a broker that refuses the new leaves us the old.
    async fn subscribed(&mut self, codes: &[u8]) -> Result<(), Cut> {
        let id = &self.link.options.id;
        let answered = std::mem::take(&mut self.asked).into_iter().zip(codes);
        let refused: Vec<String> =
            answered.filter(|(_, code)| **code >= 0x80).map(|(filter, _)| filter).collect();
        let granted = refused.is_empty();
        if let Some(code) = codes.iter().find(|code| **code >= 0x80) {
            if !std::mem::replace(&mut self.refusal_told, true) {
                let (why, filters) = (packet::reason(*code), refused.join(" "));
                error!(broker = %id, why, filters, "the broker refuses our subscription: check its access list; we go on asking");
            }
        } else if codes.contains(&0) {
            error!(broker = %id, "the broker grants QoS 0 to our subscription: nothing that it sends is promised");
        }
        if granted && std::mem::take(&mut self.refusal_told) {
            info!(broker = %id, "the broker grants our subscription now");
        }
        self.refused = (!granted).then(|| (refused, Instant::now()));
        self.granted_at = granted.then(Instant::now);
        // One filter that is refused does not make the others' posts unheard: their silence is silence.
        self.hears |= codes.iter().any(|code| *code < 0x80);
        self.link.set_up(self.hears);
        self.link.set_subscribed(granted);
        if !granted || self.unwanted.is_empty() {
            return Ok(());
        }
        let unwanted = std::mem::take(&mut self.unwanted);
        let wire = self.wire()?;
        wire.unsubscribe(&unwanted)?;
        Ok(wire.flush().await?)
    }

    fn hand_over(&mut self) {
        while let Some(chunk) = self.backlog.pop_front() {
            if let Err(chunk) = self.link.context.inlet.try_send(chunk) {
                self.backlog.push_front(chunk);
                break;
            }
        }
    }

    /// Notes that we are connected, and looks for reasons of our own to end the connection; once a second.
    async fn watch(&mut self) -> Result<(), Cut> {
        if let Some((filters, _)) = self.refused.take_if(|(_, at)| at.elapsed() >= ASK_AGAIN) {
            // Only these: what is granted would bring its retained messages once more.
            self.subscribe(filters).await?;
        }
        let (id, now) = (&self.link.options.id, (self.link.context.clock)());
        self.link.context.losses.connected(id, now);
        let waiting = self.received.saturating_sub(self.acked);
        self.link.context.metrics.broker_unacknowledged.with_label_values(&[id]).set(waiting as i64);
        let gate = &self.link.context.inlet.gate;
        if gate.is_stopped() || self.received <= self.acked {
            self.progress = Instant::now();
        }
        if !gate.is_stopped() && self.link.shed.swap(false, Ordering::AcqRel) {
            return Err(Cut::Ours("messages were let go while the journal was stopped"));
        }
        if self.progress.elapsed() >= WATCHDOG {
            self.link.context.metrics.broker_watchdog.inc();
            return Err(Cut::Ours("acknowledgements do not move"));
        }
        Ok(())
    }

    /// Voids everything of the connection that has ended.
    fn forget(&mut self) {
        self.epoch += 1;
        self.wire = None;
        (self.asked, self.refused, self.hears) = (Vec::new(), None, false);
        self.backlog.clear();
        self.gathered.clear();
        self.gathered_bytes = 0;
        self.link.set_up(false);
        self.link.context.metrics.broker_unacknowledged.with_label_values(&[&self.link.options.id]).set(0);
        // None when we were never connected: then there is no session to lose.
        self.lost_since = self.lost_since.or(self.link.context.losses.last_connected(&self.link.options.id));
        self.link.context.metrics.broker_reconnect.with_label_values(&[&self.link.options.id]).inc();
    }

    /// Tells of an error once, and how long to wait before the next try.
    fn failed(&mut self, e: &WireError) -> Duration {
        let id = self.link.options.id.clone();
        if self.failures == 0 {
            warn!(broker = %id, error = %e, "connection lost");
        }
        self.forget();
        self.failures = self.failures.saturating_add(1);
        if let WireError::TooLarge(size) = e {
            let size = *size;
            if size <= OVERSIZE_MAX {
                warn!(broker = %id, bytes = size, "oversize packet: letting it in once, for the quarantine");
                self.packet_max = size;
                return Duration::ZERO;
            }
            error!(
                broker = %id, bytes = size, limit = OVERSIZE_MAX,
                "a packet too large to be taken blocks the session: set max_packet_size at the broker and remove it there"
            );
            self.failures = self.failures.max(4);
        }
        backoff(self.failures, rand::random())
    }

    /// Writes the acknowledgements that are still on their way, and DISCONNECT.
    async fn say_goodbye(mut self) {
        while let Ok(Some(settled)) = timeout(Duration::from_millis(50), self.settled.recv()).await {
            if self.acknowledge(settled).await.is_err() {
                return self.link.set_up(false);
            }
        }
        // Without it the broker waits for our keep-alive before it believes that we are gone.
        if let Some(wire) = &mut self.wire {
            wire.outbox.extend_from_slice(&packet::GOODBYE);
            let _ = wire.flush().await;
        }
        self.link.set_up(false);
    }
}
