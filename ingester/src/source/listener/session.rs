//! One sensor's connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use lampguard_model::record::Source;
use lampguard_model::wire;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::credentials::Scope;
use super::packet::{self, Answer, Connect, Packet, Publish};
use super::{GREETING, Place};
use crate::intake::{Chunk, Fate, Mapping, Message, Origin, Settled, cost_of};

/// Unacknowledged messages of one connection; beyond that it is not read until some are durable.
const IN_FLIGHT_MAX: usize = 16_384;
/// A peer that takes no acknowledgement for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A connection without keep-alive and without a word for a day is gone.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest CONNECT, bytes: names, a password and a will. Whoever has not logged in gets no more memory.
const CONNECT_MAX: usize = 16 * 1024;
/// An idle connection keeps no larger buffer than this.
const IDLE_BUFFER: usize = 4096;
const READ_BUFFER: usize = 64 * 1024;
/// Marks a token of QoS 2; the packet id stands in the lower bits.
const QOS2: u32 = 1 << 16;

/// The part of a connection that the intake and the committer know.
struct Peer {
    mappings: Arc<[Mapping]>,
    acks: mpsc::UnboundedSender<Vec<u32>>,
    in_flight: AtomicUsize,
    shed: AtomicBool,
}

impl Origin for Peer {
    fn source(&self) -> Source {
        Source::Listener
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn retain_counts(&self) -> bool {
        false
    }

    fn settle(&self, settled: Settled) {
        self.in_flight.fetch_sub(settled.tokens.len(), Ordering::AcqRel);
        // At most IN_FLIGHT_MAX tokens wait here, unless the journal is stopped; then none come.
        let _ = self.acks.send(settled.tokens);
    }

    fn shed(&self, _epoch: u64) {
        self.shed.store(true, Ordering::Release);
        // Wakes the session, in case the journal took readings again in this very moment.
        let _ = self.acks.send(Vec::new());
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The sensor said goodbye: its will is void.
    Goodbye,
    /// Anything else: its will counts.
    Lost(&'static str),
}

struct Session<S> {
    stream: S,
    place: Place,
    peer: Arc<Peer>,
    scope: Option<Scope>,
    buffer: BytesMut,
    out: Vec<u8>,
    chunk: Vec<Message>,
    /// QoS 2 packet ids between PUBLISH and PUBREL; true once the message is durable.
    unreleased: HashMap<u16, bool>,
    silence: Duration,
}

/// Serves one connection to its end.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, place: Place) {
    let mut buffer = BytesMut::with_capacity(IDLE_BUFFER);
    let greeting = timeout(GREETING, greet(&mut stream, &mut buffer, &place)).await;
    let Ok(Some((connect, scope))) = greeting else {
        return;
    };
    let taken_over = Arc::new(Notify::new());
    if let Some((_, earlier)) =
        place.clients().insert(connect.client_id.clone(), (place.id, taken_over.clone()))
    {
        earlier.notify_one();
    }
    let (acks, waiting) = mpsc::unbounded_channel();
    let peer = Arc::new(Peer {
        mappings: place.shared.mappings.clone(),
        acks,
        in_flight: AtomicUsize::new(0),
        shed: AtomicBool::new(false),
    });
    let silence = match connect.keep_alive_s {
        0 => SILENCE_MAX,
        seconds => Duration::from_millis(u64::from(seconds) * 1500),
    };
    let (out, chunk, unreleased) = (Vec::new(), Vec::new(), HashMap::new());
    let mut session = Session { stream, place, peer, scope, buffer, out, chunk, unreleased, silence };
    let end = session.serve(waiting, &taken_over).await;
    debug!(client = %connect.client_id, ?end, "sensor connection ended");
    session.place.forget(&connect.client_id);
    if let (End::Lost(_), Some((topic, payload))) = (end, connect.will) {
        session.push(Publish { topic, payload, qos: 0, pkid: 0, retain: false });
        session.hand_over().await;
    }
}

impl Place {
    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u64, Arc<Notify>)>> {
        self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, client_id: &str) {
        let mut clients = self.clients();
        if clients.get(client_id).is_some_and(|(id, _)| *id == self.id) {
            clients.remove(client_id);
        }
    }

    fn refused(&self, reason: &'static str) {
        self.shared.metrics.connection_refused.with_label_values(&[reason]).inc();
    }
}

/// CONNECT and its answer. `None` when the connection is not to go on.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    place: &Place,
) -> Option<(Connect, Option<Scope>)> {
    let connect = loop {
        match packet::read(buffer, place.shared.max_packet_bytes.min(CONNECT_MAX)) {
            Ok(Some(Packet::Connect(connect))) => break Ok(connect),
            Ok(None) if stream.read_buf(buffer).await.is_ok_and(|read| read > 0) => {}
            Err(packet::PacketError::TooLong(_)) => {
                place.refused("packet_too_long");
                return None;
            }
            Err(packet::PacketError::Version) => break Err((Answer::Version, "version")),
            _ => break Err((Answer::ClientId, "")),
        }
    };
    let answer = match connect {
        Err((answer, reason)) => Err((answer, reason)),
        Ok(connect) if connect.client_id.is_empty() && !connect.clean => Err((Answer::ClientId, "client_id")),
        Ok(mut connect) => {
            if connect.client_id.is_empty() {
                connect.client_id = format!("anonymous-{}", place.id);
            }
            match log_in(&connect, place).await {
                Ok(scope) => Ok((connect, scope)),
                Err(()) => Err((Answer::BadLogin, "login")),
            }
        }
    };
    match answer {
        Ok(greeted) => {
            stream.write_all(&packet::connack(Answer::Accepted)).await.ok()?;
            Some(greeted)
        }
        Err((answer, reason)) => {
            place.refused(if reason.is_empty() { "malformed" } else { reason });
            if !reason.is_empty() {
                let _ = stream.write_all(&packet::connack(answer)).await;
            }
            None
        }
    }
}

/// What whoever logs in may say; `None` where no login is asked for.
async fn log_in(connect: &Connect, place: &Place) -> Result<Option<Scope>, ()> {
    let Some(credentials) = place.shared.credentials.clone() else {
        return Ok(None);
    };
    let (user, password) = connect.login.clone().ok_or(())?;
    let turn = place.shared.password_checks.acquire().await.map_err(|_| ())?;
    let checked = tokio::task::spawn_blocking(move || credentials.check(&user, password.as_bytes())).await;
    // Whoever is wrong waits alone; the right ones behind it do not.
    drop(turn);
    match checked {
        Ok(Some(scope)) => Ok(Some(scope)),
        _ => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Err(())
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn serve(&mut self, mut acks: mpsc::UnboundedReceiver<Vec<u32>>, taken_over: &Notify) -> End {
        let mut stopped = self.place.shared.inlet.gate.watch();
        let mut ending = self.place.shared.ending.clone();
        let mut deadline = Instant::now() + self.silence;
        let mut tokens = Vec::new();
        loop {
            if let Err(end) = self.read_packets().await {
                self.hand_over().await;
                let _ = self.flush().await;
                return end;
            }
            self.hand_over().await;
            if self.flush().await.is_err() {
                return End::Lost("write");
            }
            let full = self.peer.in_flight.load(Ordering::Acquire) >= IN_FLIGHT_MAX && !*stopped.borrow();
            if self.buffer.is_empty() && self.buffer.capacity() > READ_BUFFER {
                self.buffer = BytesMut::with_capacity(IDLE_BUFFER);
            }
            self.buffer.reserve(IDLE_BUFFER);
            tokio::select! {
                read = self.stream.read_buf(&mut self.buffer), if !full => match read {
                    Ok(0) => return End::Lost("closed"),
                    Ok(_) => deadline = Instant::now() + self.silence,
                    Err(_) => return End::Lost("read"),
                },
                count = acks.recv_many(&mut tokens, 64) => {
                    if count == 0 {
                        return End::Lost("intake ended");
                    }
                    tokens.drain(..).flatten().for_each(|token| self.acknowledge(token));
                    if self.peer.shed.load(Ordering::Acquire) && !*stopped.borrow() {
                        return End::Lost("journal was stopped");
                    }
                }
                _ = stopped.changed() => {
                    // What was let go while the journal was stopped has to be sent again: on a new connection.
                    if !*stopped.borrow() && self.peer.shed.load(Ordering::Acquire) {
                        return End::Lost("journal was stopped");
                    }
                }
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return self.say_goodbye(acks).await,
                () = taken_over.notified() => return End::Lost("taken over"),
                () = sleep_until(deadline) => return End::Lost("silent"),
            }
        }
    }

    /// The instance ends: acknowledge what is still under way, for at most two seconds.
    async fn say_goodbye(&mut self, mut acks: mpsc::UnboundedReceiver<Vec<u32>>) -> End {
        let until = Instant::now() + Duration::from_secs(2);
        while self.peer.in_flight.load(Ordering::Acquire) > 0 || !acks.is_empty() {
            tokio::select! {
                tokens = acks.recv() => tokens.into_iter().flatten().for_each(|token| self.acknowledge(token)),
                () = sleep_until(until) => break,
            }
            if self.flush().await.is_err() {
                break;
            }
        }
        End::Goodbye
    }

    async fn read_packets(&mut self) -> Result<(), End> {
        loop {
            match packet::read(&mut self.buffer, self.place.shared.max_packet_bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(packet)) => self.take(packet)?,
                Err(e) => {
                    debug!(error = %e, "connection ended by a bad packet");
                    self.place.refused(match e {
                        packet::PacketError::TooLong(_) => "packet_too_long",
                        _ => "malformed",
                    });
                    return Err(End::Lost("bad packet"));
                }
            }
            if self.chunk.len() >= 512 {
                self.hand_over().await;
            }
        }
    }

    fn take(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => {
                if publish.topic.is_empty() || publish.topic.contains(['+', '#', '\0']) {
                    return Err(End::Lost("topic"));
                }
                if publish.qos == 2
                    && let Some(durable) = self.unreleased.get(&publish.pkid)
                {
                    if *durable {
                        packet::pubrec(publish.pkid, &mut self.out);
                    }
                    return Ok(());
                }
                if !self.push(publish) {
                    return Err(End::Lost("not authorised"));
                }
            }
            Packet::PubRel(pkid) => {
                self.unreleased.remove(&pkid);
                packet::pubcomp(pkid, &mut self.out);
            }
            Packet::Subscribe { pkid, filters } => packet::suback(pkid, filters, &mut self.out),
            Packet::Unsubscribe(pkid) => packet::unsuback(pkid, &mut self.out),
            Packet::Ping => packet::pingresp(&mut self.out),
            Packet::Disconnect => return Err(End::Goodbye),
            Packet::Connect(_) => return Err(End::Lost("second connect")),
        }
        Ok(())
    }

    /// Takes a message into the chunk; false when its sender may not publish there.
    fn push(&mut self, publish: Publish) -> bool {
        let scope = self.scope.as_ref();
        let allowed = scope.is_none_or(|scope| wire::filter_matches(&scope.filter, &publish.topic));
        let alone = scope.is_some_and(|scope| scope.alone);
        let token = match publish.qos {
            0 => None,
            1 => Some(u32::from(publish.pkid)),
            _ => {
                self.unreleased.insert(publish.pkid, false);
                Some(u32::from(publish.pkid) | QOS2)
            }
        };
        let (fate, token) = if allowed { (Fate::Read, token) } else { (Fate::Denied, None) };
        let Publish { topic, payload, retain, .. } = publish;
        self.chunk.push(Message { topic, payload, token, retain, alone, fate });
        allowed
    }

    async fn hand_over(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let inlet = &self.place.shared.inlet;
        inlet.gate.room().await;
        let messages = std::mem::take(&mut self.chunk);
        let promised = messages.iter().filter(|message| message.token.is_some()).count();
        self.peer.in_flight.fetch_add(promised, Ordering::AcqRel);
        let held = inlet.gate.hold(cost_of(&messages));
        let received_at = (self.place.shared.clock)();
        let origin = self.peer.clone();
        inlet.send(Chunk { origin, epoch: 0, received_at, judge_only: false, messages, held }).await;
    }

    fn acknowledge(&mut self, token: u32) {
        let pkid = token as u16;
        if token & QOS2 == 0 {
            packet::puback(pkid, &mut self.out);
        } else {
            if let Some(durable) = self.unreleased.get_mut(&pkid) {
                *durable = true;
            }
            packet::pubrec(pkid, &mut self.out);
        }
    }

    async fn flush(&mut self) -> Result<(), ()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_PATIENCE, async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        });
        let written = matches!(written.await, Ok(Ok(())));
        self.out.clear();
        self.out.shrink_to(IDLE_BUFFER);
        if written { Ok(()) } else { Err(()) }
    }
}
