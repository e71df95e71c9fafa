//! Consumer of one MQTT broker: persistent session, manual acknowledgements.
//!
//! One task owns the connection and waits for nothing else. Publishes go to the intake by a queue that it
//! never waits for; acknowledgements come back from the committer and are written many at a time.
//!
//! rumqttc 0.25.1 connects, frames and keeps the session's state. Its `poll()` writes and flushes every
//! acknowledgement alone, which costs more than all else on this path together; so after the CONNACK this
//! task calls the same public parts that `poll()` is made of: `readb`, `handle_outgoing_packet`, `write`,
//! and one `flush` for all. Traps that remain and are stepped around here:
//! - It never subscribes again by itself: we do, on every CONNACK.
//! - After an error, packets read before would surface behind the next CONNACK: they are thrown away, the
//!   broker sends them again.
//! - An acknowledgement of an old connection would acknowledge somebody else's message: acks carry the number
//!   of their connection (*epoch*), and old ones are dropped.
//! - An answer to a ping that was not read counts as a broker that is dead; while memory is full nothing is read.
//! - A packet over the size limit is an error, and a persistent session brings it back for ever: one
//!   reconnect with a limit that lets it in, then it goes to quarantine.

mod second;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lampguard_model::Timestamp;
use lampguard_model::record::{OVERSIZE_KEPT, Source};
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::{
    ConnectionError, Event, EventLoop, MqttOptions, Packet, PingReq, PubAck, Publish, QoS, Request,
    StateError, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use crate::intake::{Chunk, Fate, Inlet, Mapping, Message, Origin, Settled, cost_of};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::run::Clock;

/// Longest packet in ordinary times, bytes.
pub const PACKET_MAX: usize = 1024 * 1024;
/// Longest packet that is let in once, to get it out of the way.
pub const OVERSIZE_MAX: usize = 16 * 1024 * 1024;
/// Longest pause between tries to connect.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Messages unacknowledged, journal healthy, and no ack written for this long: cut and connect again.
const WATCHDOG: Duration = Duration::from_secs(10);
/// Tests that let it pass do not wait for long.
const KEEP_ALIVE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// A write that the broker does not take within this time means the connection is dead.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Acknowledgements that are written with one flush.
const ACKS_MAX: usize = 4096;
/// Messages that one chunk gathers.
const CHUNK: usize = 512;
/// Bytes that one chunk gathers; the last read may bring some packets more.
const CHUNK_BYTES: usize = 1 << 20;
/// Under load packets gather this long between reads: fewer, fuller reads cost half the CPU.
const GATHER: Duration = Duration::from_millis(4);
/// Messages within a gather window that count as load.
const LOAD: usize = 8;
/// How to reach one broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Short name.
    pub id: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Fixed client id: the broker keeps our session under it.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// Group of a shared subscription.
    pub shared_group: Option<String>,
    /// Topics and how they are read.
    pub mappings: Vec<Mapping>,
}

/// What the consumer needs besides.
#[derive(Clone)]
pub struct Context {
    /// The way into the intake.
    pub inlet: Inlet,
    /// Metrics.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
    /// Where lost sessions are written down.
    pub losses: Arc<LossBook>,
}

/// What the task, the committer and the intake share.
struct Link {
    options: Options,
    context: Context,
    /// Settled chunks on their way back. Bounded by the broker's in-flight window.
    acks: mpsc::UnboundedSender<Settled>,
    shed: AtomicBool,
    up: AtomicBool,
}

/// A running consumer.
pub struct Broker {
    link: Arc<Link>,
    task: JoinHandle<()>,
    deaf: JoinHandle<()>,
    end: watch::Sender<bool>,
}

impl Broker {
    /// Connects and keeps connected until [`Broker::stop`].
    pub fn start(options: Options, context: Context) -> Self {
        let (acks, settled) = mpsc::unbounded_channel();
        let (shed, up) = (AtomicBool::new(false), AtomicBool::new(false));
        let link = Arc::new(Link { options, context, acks, shed, up });
        let (end, ending) = watch::channel(false);
        let task = tokio::spawn(Session::new(link.clone(), settled).run(ending));
        let deaf = tokio::spawn(second::listen_while_stopped(link.clone()));
        Self { link, task, deaf, end }
    }

    /// True while connected and subscribed.
    pub fn is_up(&self) -> bool {
        self.link.up.load(Ordering::Acquire)
    }

    /// The broker's short name.
    pub fn id(&self) -> &str {
        &self.link.options.id
    }

    /// Sends the acknowledgements that wait, says goodbye and ends. The session stays with the broker.
    pub async fn stop(mut self) {
        self.deaf.abort();
        self.end.send_replace(true);
        if timeout(Duration::from_secs(1), &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Link {
    fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        self.context.metrics.broker_up.with_label_values(&[&self.options.id]).set(i64::from(up));
    }

    fn mqtt_options(&self, client_id: &str, clean: bool) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, &self.options.host, self.options.port);
        options.set_keep_alive(KEEP_ALIVE).set_clean_session(clean).set_manual_acks(!clean);
        options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
        if let Some((user, password)) = &self.options.credentials {
            options.set_credentials(user, password);
        }
        options
    }

    fn filters(&self, qos: QoS) -> Vec<SubscribeFilter> {
        let prefix =
            self.options.shared_group.as_ref().map_or(String::new(), |group| format!("$share/{group}/"));
        let filters = self.options.mappings.iter().map(|mapping| format!("{prefix}{}", mapping.filter));
        filters.map(|filter| SubscribeFilter::new(filter, qos)).collect()
    }
}

impl Origin for Link {
    fn source(&self) -> Source {
        Source::Broker
    }

    fn mappings(&self) -> &[Mapping] {
        &self.options.mappings
    }

    fn retain_counts(&self) -> bool {
        true
    }

    fn settle(&self, settled: Settled) {
        // An error means that the consumer has ended; the broker sends again what is not acknowledged.
        let _ = self.acks.send(settled);
    }

    fn shed(&self, _epoch: u64) {
        self.shed.store(true, Ordering::Release);
    }
}

/// Why a connection ends.
enum Cut {
    /// rumqttc or the network.
    Failed(Box<ConnectionError>),
    /// Our own decision, in words.
    Ours(&'static str),
    /// The instance ends.
    Ending,
}

impl<E: Into<ConnectionError>> From<E> for Cut {
    fn from(e: E) -> Self {
        Self::Failed(Box::new(e.into()))
    }
}

/// The task that owns the connection.
struct Session {
    link: Arc<Link>,
    settled: mpsc::UnboundedReceiver<Settled>,
    eventloop: EventLoop,
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
    failures: u32,
    lost_since: Option<Timestamp>,
}

impl Session {
    fn new(link: Arc<Link>, settled: mpsc::UnboundedReceiver<Settled>) -> Self {
        let options = link.mqtt_options(&link.options.client_id, false);
        // A session that was there before this process and is gone now may have held readings.
        let lost_since = link.context.losses.last_connected(&link.options.id);
        Self {
            eventloop: EventLoop::new(options, 1),
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
            failures: 0,
            lost_since,
        }
    }

    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        loop {
            let cut = match self.connect().await {
                Ok(()) => self.serve(&mut ending).await.err(),
                Err(cut) => Some(cut),
            };
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
        let Event::Incoming(Packet::ConnAck(ack)) = self.eventloop.poll().await? else {
            return Err(Cut::Ours("something else came before the CONNACK"));
        };
        self.epoch += 1;
        (self.received, self.acked, self.progress) = (0, 0, Instant::now());
        // Holds for the next connection; this one keeps the limit it was made with.
        self.eventloop.mqtt_options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
        let (id, session_present) = (&self.link.options.id, ack.session_present);
        let (losses, now) = (&self.link.context.losses, (self.link.context.clock)());
        info!(broker = %id, session_present, "connected");
        if let Some(since) = self.lost_since.take()
            && !session_present
        {
            warn!(broker = %id, "the broker forgot our session: what it held for us may be lost");
            losses.session_lost(id, since.min(now), now);
        }
        losses.connected(id, now);
        // Also with the session present: some brokers forget subscriptions, none minds hearing them again.
        let subscribe = Subscribe::new_many(self.link.filters(QoS::AtLeastOnce));
        self.send([Request::Subscribe(subscribe)]).await
    }

    /// Reads, acknowledges and pings until the connection ends. While memory is full it is not read: TCP holds the
    /// broker back, which for QoS 0 nothing else does.
    async fn serve(&mut self, ending: &mut watch::Receiver<bool>) -> Result<(), Cut> {
        let mut ping = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let gate = self.link.context.inlet.gate.clone();
        loop {
            self.hand_over();
            let room = gate.has_room();
            self.paused |= !room;
            let Some(network) = self.eventloop.network.as_mut() else {
                return Err(Cut::Ours("no connection"));
            };
            tokio::select! {
                biased;
                _ = ping.tick() => self.ping().await?,
                _ = tick.tick() => self.watch()?,
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return Err(Cut::Ending),
                // Cancel-safe here: with manual acks `readb` waits for nothing after its first packet.
                read = network.readb(&mut self.eventloop.state),
                    if room && self.gathered.len() < CHUNK && self.gathered_bytes < CHUNK_BYTES => {
                    read?;
                    self.take_events()?;
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
        if std::mem::take(&mut self.paused) {
            // The last answer may lie in the socket, unread.
            self.eventloop.state.await_pingresp = false;
        }
        self.send([Request::PingReq(PingReq)]).await
    }

    /// Writes these requests with one flush.
    async fn send(&mut self, requests: impl IntoIterator<Item = Request>) -> Result<(), Cut> {
        let Some(network) = self.eventloop.network.as_mut() else {
            return Err(Cut::Ours("no connection"));
        };
        let state = &mut self.eventloop.state;
        let written = timeout(WRITE_PATIENCE, async {
            for request in requests {
                if let Some(packet) = state.handle_outgoing_packet(request)? {
                    network.write(packet).await?;
                }
            }
            network.flush().await
        });
        match written.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Cut::Failed(Box::new(ConnectionError::FlushTimeout))),
        }
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
        self.send(tokens.into_iter().map(|token| Request::PubAck(PubAck::new(token as u16)))).await?;
        self.acked += count;
        if count > 0 {
            // A connection that is of use; one that is only accepted and cut again is not.
            self.failures = 0;
        }
        self.progress = Instant::now();
        Ok(())
    }

    /// Gathers what one read brought.
    fn take_events(&mut self) -> Result<(), Cut> {
        while let Some(event) = self.eventloop.state.events.pop_front() {
            match event {
                Event::Incoming(Packet::Publish(publish)) => {
                    let message = self.message(publish);
                    self.gathered_bytes += message.cost();
                    self.gathered.push(message);
                }
                Event::Incoming(Packet::SubAck(ack)) => self.subscribed(&ack.return_codes),
                Event::Incoming(Packet::Disconnect) => return Err(Cut::Ours("the broker said goodbye")),
                _ => {}
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
        let token = (publish.qos != QoS::AtMostOnce).then_some(u32::from(publish.pkid));
        if token.is_some() {
            if self.received == self.acked {
                self.progress = Instant::now();
            }
            self.received += 1;
        }
        let (payload, fate) = cut_oversize(publish.payload);
        Message { topic: publish.topic, payload, token, retain: publish.retain, alone: false, fate }
    }

    fn subscribed(&self, codes: &[SubscribeReasonCode]) {
        let refused = codes.iter().filter(|code| matches!(code, SubscribeReasonCode::Failure)).count();
        if refused > 0 {
            error!(broker = %self.link.options.id, refused, "the broker refuses our subscription: check its access list");
        }
        self.link.set_up(refused == 0);
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
    fn watch(&mut self) -> Result<(), Cut> {
        let (id, now) = (&self.link.options.id, (self.link.context.clock)());
        self.link.context.losses.connected(id, now);
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
        self.eventloop.clean();
        self.eventloop.pending.clear();
        self.eventloop.state.events.clear();
        self.backlog.clear();
        self.gathered.clear();
        self.gathered_bytes = 0;
        self.link.set_up(false);
        // None when we were never connected: then there is no session to lose.
        self.lost_since = self.lost_since.or(self.link.context.losses.last_connected(&self.link.options.id));
        self.link.context.metrics.broker_reconnect.with_label_values(&[&self.link.options.id]).inc();
    }

    /// Tells of an error once, and how long to wait before the next try.
    fn failed(&mut self, e: &ConnectionError) -> Duration {
        if self.failures == 0 {
            warn!(broker = %self.link.options.id, error = %e, "connection lost");
        }
        self.forget();
        self.failures = self.failures.saturating_add(1);
        if let ConnectionError::MqttState(StateError::Deserialization(
            CodecError::PayloadSizeLimitExceeded(size),
        )) = e
        {
            let size = *size;
            if size <= OVERSIZE_MAX {
                warn!(broker = %self.link.options.id, bytes = size, "oversize packet: letting it in once, for the quarantine");
                self.eventloop.mqtt_options.set_max_packet_size(size, PACKET_MAX);
                return Duration::ZERO;
            }
            error!(
                broker = %self.link.options.id, bytes = size, limit = OVERSIZE_MAX,
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
        let _ = self.send([Request::Disconnect(rumqttc::Disconnect)]).await;
        self.link.set_up(false);
    }
}

/// A payload over the ordinary limit is cut to what the quarantine keeps, and hashed before.
fn cut_oversize(payload: bytes::Bytes) -> (bytes::Bytes, Fate) {
    if payload.len() <= PACKET_MAX {
        return (payload, Fate::Read);
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&Sha256::digest(&payload)[..8]);
    let kept = bytes::Bytes::copy_from_slice(&payload[..OVERSIZE_KEPT]);
    (kept, Fate::TooLarge { bytes: payload.len() as u32, hash })
}

/// 0.25 s, 0.5 s, 1 s … 30 s, each spread over half to all of it by `dice`.
fn backoff(failures: u32, dice: u32) -> Duration {
    let full =
        Duration::from_millis(250).saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX);
    full / 2 + full.mul_f64(f64::from(dice) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
#[path = "broker/tests.rs"]
mod tests;
