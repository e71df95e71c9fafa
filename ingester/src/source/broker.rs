//! Consumer of one MQTT broker: persistent session, manual acknowledgements.
//!
//! One task owns `poll()` and waits for nothing else. Publishes go to the intake by a queue that it never
//! waits for; acknowledgements come from the committer by rumqttc's own queue, which is larger than any
//! in-flight window and so never full.
//!
//! Traps that this file exists to step around (rumqttc 0.25.1, see also ARCHITECTURE.md):
//! - It never subscribes again by itself: we do, on every CONNACK.
//! - After an error, packets read before may surface behind the next CONNACK: they are thrown away, the
//!   broker sends them again.
//! - An acknowledgement of an old connection would acknowledge somebody else's message: acks carry the number
//!   of their connection (*epoch*), and old ones are dropped.
//! - A packet over the size limit is an error, and a persistent session brings it back for ever: one
//!   reconnect with a limit that lets it in, then it goes to quarantine.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lampguard_model::Timestamp;
use lampguard_model::record::Source;
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, Publish, QoS, StateError,
    SubscribeFilter, SubscribeReasonCode,
};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::intake::{Chunk, Fate, HELD_BYTES_MAX, Inlet, Mapping, Message, Origin, Settled};
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
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Every packet id may wait for its ack at once, and a few requests of our own.
const REQUESTS: usize = 65_535 + 16;
/// Under load packets gather this long between reads: fewer, fuller reads cost half the CPU.
const GATHER: Duration = Duration::from_millis(2);
/// Messages within a gather window that count as load.
const LOAD: usize = 8;
/// rumqttc hands out at most this many packets a turn; fewer mean the socket is empty.
const TURN: usize = 9;

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

/// State shared between the polling task, the committer and the supervisor.
struct Link {
    options: Options,
    context: Context,
    /// The number of the connection, and the client that acks go to. One lock, so that no ack of an old
    /// connection can slip in behind the change of epoch.
    current: Mutex<(u64, Option<AsyncClient>)>,
    received: AtomicU64,
    acked: AtomicU64,
    shed: AtomicBool,
    up: AtomicBool,
}

/// A running consumer.
pub struct Broker {
    link: Arc<Link>,
    supervisor: JoinHandle<()>,
    deaf: JoinHandle<()>,
}

impl Broker {
    /// Connects and keeps connected until [`Broker::stop`].
    pub fn start(options: Options, context: Context) -> Self {
        let link = Arc::new(Link {
            options,
            context,
            current: Mutex::new((0, None)),
            received: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            shed: AtomicBool::new(false),
            up: AtomicBool::new(false),
        });
        let supervisor = tokio::spawn(supervise(link.clone()));
        let deaf = tokio::spawn(listen_while_stopped(link.clone()));
        Self {
            link,
            supervisor,
            deaf,
        }
    }

    /// True while connected and subscribed.
    pub fn is_up(&self) -> bool {
        self.link.up.load(Ordering::Acquire)
    }

    /// The broker's short name.
    pub fn id(&self) -> &str {
        &self.link.options.id
    }

    /// Sends the acks that wait, says goodbye and ends. The session stays with the broker.
    pub async fn stop(self) {
        let client = self.link.lock().1.take();
        if let Some(client) = client {
            let _ = client.try_disconnect();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.supervisor.abort();
        self.deaf.abort();
    }
}

impl Link {
    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Option<AsyncClient>)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection number: acks of the old one are void from here on.
    fn next_epoch(&self) -> u64 {
        let mut current = self.lock();
        current.0 += 1;
        self.received.store(0, Ordering::Release);
        self.acked.store(0, Ordering::Release);
        current.0
    }

    fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        self.context
            .metrics
            .broker_up
            .with_label_values(&[&self.options.id])
            .set(i64::from(up));
    }

    fn mqtt_options(&self, client_id: &str, clean: bool) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, &self.options.host, self.options.port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(clean)
            .set_manual_acks(!clean);
        options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
        if let Some((user, password)) = &self.options.credentials {
            options.set_credentials(user, password);
        }
        options
    }

    fn filters(&self, qos: QoS) -> Vec<SubscribeFilter> {
        let prefix = self
            .options
            .shared_group
            .as_ref()
            .map_or(String::new(), |group| format!("$share/{group}/"));
        let filters = self
            .options
            .mappings
            .iter()
            .map(|mapping| format!("{prefix}{}", mapping.filter));
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
        let current = self.lock();
        let (epoch, Some(client)) = (current.0, current.1.as_ref()) else {
            return;
        };
        if settled.epoch != epoch {
            self.context.metrics.stale_ack.inc_by(settled.tokens.len() as u64);
            return;
        }
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        for token in settled.tokens {
            publish.pkid = token as u16;
            // The queue holds one ack for every packet id; if it fails the connection is gone anyway.
            let _ = client.try_ack(&publish);
        }
    }

    fn shed(&self, _epoch: u64) {
        self.shed.store(true, Ordering::Release);
    }
}

/// Starts the polling task, and starts it anew when acks do not move or messages were shed.
async fn supervise(link: Arc<Link>) {
    loop {
        let options = link.mqtt_options(&link.options.client_id, false);
        let (client, eventloop) = AsyncClient::new(options, REQUESTS);
        link.lock().1 = Some(client.clone());
        let polling = tokio::spawn(Poll::new(link.clone(), client, eventloop).run());
        let mut watch = Watch {
            acked: 0,
            since: Instant::now(),
        };
        let why = loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(why) = watch.look(&link) {
                break why;
            }
        };
        link.next_epoch();
        link.lock().1 = None;
        link.set_up(false);
        polling.abort();
        warn!(broker = %link.options.id, why, "connection cut, the broker will send again what was not acknowledged");
    }
}

struct Watch {
    acked: u64,
    since: Instant,
}

impl Watch {
    /// Why the connection should be cut now, if it should.
    fn look(&mut self, link: &Link) -> Option<&'static str> {
        let gate = &link.context.inlet.gate;
        let (received, acked) = (
            link.received.load(Ordering::Acquire),
            link.acked.load(Ordering::Acquire),
        );
        if gate.is_stopped() || received <= acked || acked != self.acked {
            (self.acked, self.since) = (acked, Instant::now());
        }
        if !gate.is_stopped() && link.shed.swap(false, Ordering::AcqRel) {
            return Some("messages were let go while the journal was stopped");
        }
        if self.since.elapsed() < WATCHDOG {
            return None;
        }
        link.context.metrics.broker_watchdog.inc();
        Some("acknowledgements do not move")
    }
}

/// The task that owns `poll()`.
struct Poll {
    link: Arc<Link>,
    client: AsyncClient,
    eventloop: EventLoop,
    epoch: u64,
    chunk: Vec<Message>,
    chunk_bytes: usize,
    received_at: Timestamp,
    /// Chunks that did not fit into the intake's queue; they wait here, the task does not.
    backlog: std::collections::VecDeque<Chunk>,
    backlog_bytes: usize,
    turn: usize,
    recent: usize,
    failures: u32,
    lost_since: Option<Timestamp>,
}

impl Poll {
    fn new(link: Arc<Link>, client: AsyncClient, eventloop: EventLoop) -> Self {
        Self {
            link,
            client,
            eventloop,
            epoch: 0,
            chunk: Vec::new(),
            chunk_bytes: 0,
            received_at: Timestamp::default(),
            backlog: std::collections::VecDeque::new(),
            backlog_bytes: 0,
            turn: 0,
            recent: 0,
            failures: 0,
            lost_since: None,
        }
    }

    async fn run(mut self) {
        loop {
            if self.eventloop.state.events.is_empty() {
                self.end_of_turn().await;
            }
            match self.eventloop.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => self.take(publish),
                Ok(Event::Incoming(Packet::ConnAck(ack))) => self.connected(ack.session_present),
                Ok(Event::Incoming(Packet::SubAck(ack))) => self.subscribed(&ack.return_codes),
                Ok(Event::Outgoing(Outgoing::PubAck(_))) => {
                    self.link.acked.fetch_add(1, Ordering::AcqRel);
                }
                Ok(_) => {}
                Err(e) => self.failed(e).await,
            }
        }
    }

    /// The events of one turn are through: hand over what came, and under load let packets gather before the
    /// socket is read again. A turn that only wrote an acknowledgement brought nothing.
    async fn end_of_turn(&mut self) {
        let came = std::mem::take(&mut self.turn);
        if came == 0 {
            return;
        }
        self.hand_over();
        self.recent += came;
        if came < TURN {
            let load = std::mem::take(&mut self.recent) >= LOAD;
            if load {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn connected(&mut self, session_present: bool) {
        self.epoch = self.link.next_epoch();
        self.failures = 0;
        // Holds for the next connection; this one keeps the limit it was made with.
        self.eventloop
            .mqtt_options
            .set_max_packet_size(PACKET_MAX, PACKET_MAX);
        let now = (self.link.context.clock)();
        info!(broker = %self.link.options.id, session_present, "connected");
        if let Some(since) = self.lost_since.take()
            && !session_present
        {
            warn!(broker = %self.link.options.id, "the broker forgot our session: what it held for us may be lost");
            self.link
                .context
                .losses
                .session_lost(&self.link.options.id, since, now);
        }
        // Also with the session present: some brokers forget subscriptions, none minds hearing them again.
        let _ = self
            .client
            .try_subscribe_many(self.link.filters(QoS::AtLeastOnce));
    }

    fn subscribed(&self, codes: &[SubscribeReasonCode]) {
        let refused = codes
            .iter()
            .filter(|code| matches!(code, SubscribeReasonCode::Failure))
            .count();
        if refused > 0 {
            error!(broker = %self.link.options.id, refused, "the broker refuses our subscription: check its access list");
        }
        self.link.set_up(refused == 0);
    }

    fn take(&mut self, publish: Publish) {
        if self.chunk.is_empty() {
            self.received_at = (self.link.context.clock)();
        }
        self.turn += 1;
        let token = (publish.qos != QoS::AtMostOnce).then_some(u32::from(publish.pkid));
        if token.is_some() {
            self.link.received.fetch_add(1, Ordering::AcqRel);
        }
        let (payload, fate) = cut_oversize(publish.payload);
        let message = Message {
            topic: publish.topic,
            payload,
            token,
            retain: publish.retain,
            fate,
        };
        self.chunk_bytes += message.cost();
        self.chunk.push(message);
    }

    fn hand_over(&mut self) {
        if !self.chunk.is_empty() {
            let inlet = &self.link.context.inlet;
            let bytes = std::mem::take(&mut self.chunk_bytes);
            self.backlog_bytes += bytes;
            self.backlog.push_back(Chunk {
                origin: self.link.clone(),
                epoch: self.epoch,
                received_at: self.received_at,
                judge_only: false,
                messages: std::mem::take(&mut self.chunk),
                held: inlet.gate.hold(bytes),
            });
        }
        while let Some(chunk) = self.backlog.pop_front() {
            if let Err(chunk) = self.link.context.inlet.try_send(chunk) {
                self.backlog.push_front(chunk);
                break;
            }
        }
        if self.backlog.is_empty() {
            self.backlog_bytes = 0;
        }
        if self.backlog_bytes > HELD_BYTES_MAX {
            // Not acknowledged, so the broker sends them again once the connection is made anew.
            self.backlog.clear();
            self.link.shed(self.epoch);
        }
    }

    /// An error: old acks and left-over packets are void, then wait and let the next `poll()` connect.
    async fn failed(&mut self, e: ConnectionError) {
        self.link.next_epoch();
        // Acks queued before the change of epoch are still in the request queue; `clean` throws them out.
        self.eventloop.clean();
        self.eventloop.state.events.clear();
        self.chunk.clear();
        self.chunk_bytes = 0;
        self.turn = 0;
        self.backlog.clear();
        self.backlog_bytes = 0;
        if self.link.up.load(Ordering::Acquire) || self.failures == 0 {
            warn!(broker = %self.link.options.id, error = %e, "connection lost");
        }
        self.link.set_up(false);
        let now = (self.link.context.clock)();
        self.lost_since.get_or_insert(now);
        self.link
            .context
            .metrics
            .broker_reconnect
            .with_label_values(&[&self.link.options.id])
            .inc();
        if let ConnectionError::MqttState(StateError::Deserialization(
            CodecError::PayloadSizeLimitExceeded(size),
        )) = e
        {
            if size <= OVERSIZE_MAX {
                warn!(broker = %self.link.options.id, bytes = size, "oversize packet: letting it in once, for the quarantine");
                self.eventloop.mqtt_options.set_max_packet_size(size, PACKET_MAX);
                return;
            }
            error!(
                broker = %self.link.options.id, bytes = size, limit = OVERSIZE_MAX,
                "a packet too large to be taken blocks the session: set max_packet_size at the broker and remove it there"
            );
            self.failures = self.failures.max(4);
        }
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(backoff(self.failures, rand::random())).await;
    }
}

/// A payload over the ordinary limit is cut to what the quarantine keeps, and hashed before.
fn cut_oversize(payload: bytes::Bytes) -> (bytes::Bytes, Fate) {
    if payload.len() <= PACKET_MAX {
        return (payload, Fate::Read);
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&Sha256::digest(&payload)[..8]);
    let kept = bytes::Bytes::copy_from_slice(&payload[..lampguard_model::record::QUARANTINED_PAYLOAD_MAX]);
    (
        kept,
        Fate::TooLarge {
            bytes: payload.len() as u32,
            hash,
        },
    )
}

/// 0.25 s, 0.5 s, 1 s … 30 s, each spread over half to all of it by `dice`.
fn backoff(failures: u32, dice: u32) -> Duration {
    let full = Duration::from_millis(250)
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(BACKOFF_MAX);
    full / 2 + full.mul_f64(f64::from(dice) / f64::from(u32::MAX) / 2.0)
}

/// While the journal is stopped, a second subscription without promises keeps the judge hearing.
async fn listen_while_stopped(link: Arc<Link>) {
    let mut stopped = link.context.inlet.gate.watch();
    loop {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            return;
        }
        warn!(broker = %link.options.id, "second subscription opened, for the judge alone");
        let hearing = tokio::spawn(hear(link.clone()));
        let _ = stopped.wait_for(|stopped| !*stopped).await;
        hearing.abort();
        info!(broker = %link.options.id, "second subscription closed");
    }
}

async fn hear(link: Arc<Link>) {
    let client_id = format!("{}-judge-{:08x}", link.options.client_id, rand::random::<u32>());
    let (client, mut eventloop) = AsyncClient::new(link.mqtt_options(&client_id, true), 16);
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let _ = client.try_subscribe_many(link.filters(QoS::AtMostOnce));
            }
            // A retained message is state from before; the judge has heard it or must not.
            Ok(Event::Incoming(Packet::Publish(publish))) if !publish.retain => {
                let (payload, fate) = cut_oversize(publish.payload);
                let message = Message {
                    topic: publish.topic,
                    payload,
                    token: None,
                    retain: false,
                    fate,
                };
                let chunk = Chunk {
                    origin: link.clone(),
                    epoch: 0,
                    received_at: (link.context.clock)(),
                    judge_only: true,
                    messages: vec![message],
                    held: crate::intake::Held::default(),
                };
                // When even this queue is full the first subscription's copy is being judged already.
                let _ = link.context.inlet.try_send(chunk);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_p6_the_pause_between_tries_grows_to_thirty_seconds_and_no_further() {
        assert!(backoff(1, 0) >= Duration::from_millis(125));
        for failures in 1..100 {
            for dice in [0, u32::MAX / 2, u32::MAX] {
                assert!(backoff(failures, dice) <= BACKOFF_MAX, "{failures} {dice}");
            }
        }
        assert!(backoff(50, 0) >= Duration::from_secs(15));
        assert_ne!(backoff(5, 1), backoff(5, u32::MAX));
    }

    #[test]
    fn an_oversize_payload_keeps_its_hash_and_its_beginning() {
        let (kept, fate) = cut_oversize(bytes::Bytes::from(vec![7; PACKET_MAX + 1]));
        assert_eq!(kept.len(), 64 * 1024);
        assert!(matches!(fate, Fate::TooLarge { bytes, .. } if bytes as usize == PACKET_MAX + 1));
        assert_eq!(cut_oversize(bytes::Bytes::from_static(b"{}")).1, Fate::Read);
    }
}
