//! One sensor's connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use lampguard_model::record::Source;
use lampguard_model::wire;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::answer::{self, ALIASES_MAX, FILTERS_MAX, IN_FLIGHT_MAX, Lost, NOT_AUTHORISED};
use super::credentials::Scope;
use super::greeting::greet;
use super::linger::{GOODBYE, LAST_WORD, linger};
use super::packet::{self, Connect, Packet, Publish, Version};
use super::refusals::TOPIC_SHOWN;
use super::share::{self, Share};
use super::{GREETING, Place, websocket};
use crate::intake::{Chunk, Fate, Mapping, Message, Origin, Settled, cost_of};

/// A peer that takes no acknowledgement for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A connection without keep-alive and without a word for a day is gone.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages, and their bytes, that one chunk gathers; the last one may bring more.
const CHUNK: usize = 512;
pub(super) const CHUNK_BYTES: usize = 128 * 1024;
/// Topic names that stand behind aliases, bytes of one connection.
const ALIAS_BYTES_MAX: usize = 16 * 1024;
/// An idle connection keeps no larger buffer than this.
const IDLE_BUFFER: usize = 4096;
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
    /// The instance ends; the will is void as well.
    Ours,
    /// Anything else: its will counts.
    Lost(Lost),
}

impl End {
    /// What MQTT 5 is told before the connection closes.
    fn code(self) -> Option<u8> {
        match self {
            Self::Goodbye => None,
            Self::Ours => Some(answer::SHUTTING_DOWN),
            Self::Lost(lost) => lost.code(),
        }
    }
}

/// Topics behind numbers, of one connection.
#[derive(Default)]
struct Aliases {
    names: HashMap<u16, String>,
    bytes: usize,
}

impl Aliases {
    /// The topic of a message, whose number it may learn.
    fn resolve(&mut self, alias: u16, topic: String) -> Result<String, Lost> {
        if alias > ALIASES_MAX {
            return Err(Lost::Alias);
        }
        if topic.is_empty() {
            return self.names.get(&alias).cloned().ok_or(Lost::Protocol);
        }
        self.bytes += topic.len();
        if let Some(earlier) = self.names.insert(alias, topic.clone()) {
            self.bytes -= earlier.len();
        }
        if self.bytes > ALIAS_BYTES_MAX { Err(Lost::AliasBytes) } else { Ok(topic) }
    }
}

struct Session<S> {
    stream: S,
    place: Place,
    version: Version,
    peer: Arc<Peer>,
    scope: Option<Scope>,
    buffer: BytesMut,
    share: Share,
    out: Vec<u8>,
    chunk: Vec<Message>,
    chunk_bytes: usize,
    /// QoS 2 packet ids between PUBLISH and PUBREL; true once the message is durable.
    unreleased: HashMap<u16, bool>,
    /// Messages whose exchange is not over: QoS 1 to PUBACK, QoS 2 to PUBCOMP.
    open: usize,
    aliases: Option<Box<Aliases>>,
    silence: Duration,
}

/// Serves one connection to its end.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, mut place: Place) {
    let mut buffer = BytesMut::with_capacity(IDLE_BUFFER);
    let greeting = timeout(GREETING, greet(&mut stream, &mut buffer, &mut place)).await;
    let Ok(Some((connect, scope))) = greeting else {
        return;
    };
    let name = place.session_name(&connect);
    let taken_over = Arc::new(Notify::new());
    take_over(&mut place.clients(), &name, (place.id, &taken_over));
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
    let mut session = Session {
        stream,
        place,
        version: connect.version,
        peer,
        scope,
        buffer,
        share: Share::None,
        out: Vec::new(),
        chunk: Vec::new(),
        chunk_bytes: 0,
        unreleased: HashMap::new(),
        open: 0,
        aliases: None,
        silence,
    };
    let will = connect.will;
    let end = session.serve(waiting, &taken_over).await;
    debug!(client = %connect.client_id, ?end, "sensor connection ended");
    session.place.forget(&name);
    if let (End::Lost(_), Some((topic, payload))) = (end, will) {
        session.push(Publish { topic, alias: None, payload, qos: 0, pkid: 0, retain: false });
        // Nobody is left to be told when nobody takes it.
        let _ = session.hand_over().await;
    }
    session.say_last_word(end).await;
}

/// Connections by the name of their client: number, and how it is told that it is taken over.
pub(super) type Clients = HashMap<String, (u64, Arc<Notify>)>;

/// Of two connections of one client the one that came later stays, whichever of them is quicker from its greeting to here.
fn take_over(clients: &mut Clients, name: &str, (id, taken_over): (u64, &Arc<Notify>)) {
    if clients.get(name).is_some_and(|(other, _)| *other > id) {
        return taken_over.notify_one();
    }
    if let Some((_, earlier)) = clients.insert(name.to_owned(), (id, taken_over.clone())) {
        earlier.notify_one();
    }
}

impl Place {
    fn clients(&self) -> std::sync::MutexGuard<'_, Clients> {
        self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By which a second connection is known to be the same client: nobody ends the connection of another user.
    fn session_name(&self, connect: &Connect) -> String {
        let user = match (&self.identity, &connect.login) {
            (Some(name), _) => name.as_str(),
            (None, Some((user, _))) if self.shared.credentials.is_some() => user,
            _ => "",
        };
        format!("{user}\n{}", connect.client_id)
    }

    fn forget(&self, name: &str) {
        let mut clients = self.clients();
        if clients.get(name).is_some_and(|(id, _)| *id == self.id) {
            clients.remove(name);
        }
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.shared.metrics.connection_refused.with_label_values(&[reason]).inc();
        if let Some(left_out) = self.shared.refusals.line(Instant::now()) {
            warn!(address = %self.address, name = self.name(), reason, left_out, "a sensor is refused");
        }
    }

    fn denied(&self, topic: &str, may: &str) {
        if let Some(left_out) = self.shared.refusals.line(Instant::now()) {
            let topic: String = topic.chars().take(TOPIC_SHOWN).collect();
            let name = self.name();
            warn!(address = %self.address, name, topic, may, left_out, "a sensor is refused: it may not write there");
        }
    }

    /// Who it says it is, for the log: that of its certificate is proven, another one is not.
    fn name(&self) -> &str {
        self.identity.as_deref().unwrap_or(&self.said)
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
                let _ = self.hand_over().await;
                let _ = self.flush().await;
                return end;
            }
            if let Err(end) = self.hand_over().await {
                return end;
            }
            if self.flush().await.is_err() {
                return End::Lost(Lost::Closed);
            }
            let full = self.peer.in_flight.load(Ordering::Acquire) >= usize::from(IN_FLIGHT_MAX)
                && !*stopped.borrow();
            if self.buffer.is_empty() && self.buffer.capacity() > share::FREE {
                self.buffer = BytesMut::with_capacity(IDLE_BUFFER);
            }
            self.buffer.reserve(IDLE_BUFFER);
            let (packet, buffered) = (packet::length(&self.buffer), self.buffer.len());
            self.share.look(&self.place.shared.half_sent, buffered, packet);
            let limit = self.share.limit(packet);
            let until = self.share.deadline(deadline);
            let mut room = (&mut self.buffer).limit(limit.unwrap_or(0).saturating_sub(buffered));
            tokio::select! {
                read = self.stream.read_buf(&mut room), if !full && limit.is_some() => match read {
                    Ok(0) => return End::Lost(Lost::Closed),
                    Ok(_) => deadline = Instant::now() + self.silence,
                    Err(error) if websocket::is_too_long(&error) => {
                        self.blame(End::Lost(Lost::TooLong));
                        return End::Lost(Lost::TooLong);
                    }
                    Err(_) => return End::Lost(Lost::Closed),
                },
                () = self.share.granted() => deadline = Instant::now() + self.silence,
                // Never closed: a sender of it is our own.
                _ = acks.recv_many(&mut tokens, 64) => {
                    tokens.drain(..).flatten().for_each(|token| self.acknowledge(token));
                    if self.peer.shed.load(Ordering::Acquire) && !*stopped.borrow() {
                        return End::Lost(Lost::JournalStopped);
                    }
                }
                _ = stopped.changed() => {
                    // What was let go while the journal was stopped has to be sent again: on a new connection.
                    if !*stopped.borrow() && self.peer.shed.load(Ordering::Acquire) {
                        return End::Lost(Lost::JournalStopped);
                    }
                }
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return self.say_goodbye(acks).await,
                () = taken_over.notified() => return End::Lost(Lost::TakenOver),
                () = sleep_until(until) => {
                    let lost = self.share.late();
                    self.blame(End::Lost(lost));
                    return End::Lost(lost);
                }
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
        End::Ours
    }

    /// Tells MQTT 5 why the connection ends; 3.1.1 has no word for it. Either way the acknowledgements before it have to
    /// reach the sensor, so the connection is not just dropped, unless there is none any more.
    async fn say_last_word(&mut self, end: End) {
        if end == End::Lost(Lost::Closed) {
            return;
        }
        self.out.clear();
        if let (Version::V5, Some(code)) = (self.version, end.code()) {
            answer::disconnect(code, &mut self.out);
        }
        let patience = if end == End::Goodbye { GOODBYE } else { LAST_WORD };
        let told = matches!(timeout(LAST_WORD, self.stream.write_all(&self.out)).await, Ok(Ok(())));
        if told && !linger(&mut self.stream, patience).await {
            self.place.shared.metrics.listener_unclosed.inc();
        }
    }

    async fn read_packets(&mut self) -> Result<(), End> {
        loop {
            match packet::read(&mut self.buffer, self.version, self.place.shared.max_packet_bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(packet)) => self.take(packet).inspect_err(|end| self.blame(*end))?,
                Err(error) => {
                    debug!(%error, "connection ended by a bad packet");
                    let end = End::Lost(Lost::from(&error));
                    self.blame(end);
                    return Err(end);
                }
            }
            if self.chunk.len() >= CHUNK || self.chunk_bytes >= CHUNK_BYTES {
                self.hand_over().await?;
            }
        }
    }

    fn blame(&self, end: End) {
        if let End::Lost(lost) = end
            && let Some(word) = lost.word()
        {
            self.place.refused(word);
        }
    }

    fn take(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.take_publish(publish).map_err(End::Lost)?,
            Packet::PubRel(pkid) => {
                let known = self.unreleased.remove(&pkid).is_some();
                self.open -= usize::from(known);
                answer::pubcomp(self.version, pkid, known, &mut self.out);
            }
            Packet::Subscribe { pkid, filters } if filters.len() <= FILTERS_MAX => {
                answer::suback(self.version, pkid, &filters, &mut self.out);
            }
            Packet::Unsubscribe { pkid, filters } if filters <= FILTERS_MAX => {
                answer::unsuback(self.version, pkid, filters, &mut self.out);
            }
            Packet::Subscribe { .. } | Packet::Unsubscribe { .. } => {
                return Err(End::Lost(Lost::TooManyFilters));
            }
            Packet::Ping => answer::pingresp(&mut self.out),
            Packet::Disconnect { will: false } => return Err(End::Goodbye),
            Packet::Disconnect { will: true } => return Err(End::Lost(Lost::WillAsked)),
            Packet::Connect(_) => return Err(End::Lost(Lost::Protocol)),
        }
        Ok(())
    }

    fn take_publish(&mut self, mut publish: Publish) -> Result<(), Lost> {
        if let Some(alias) = publish.alias {
            let aliases = self.aliases.get_or_insert_default();
            publish.topic = aliases.resolve(alias, publish.topic)?;
        }
        let (qos, pkid) = (publish.qos, publish.pkid);
        if qos == 2
            && let Some(durable) = self.unreleased.get(&pkid)
        {
            if *durable {
                answer::pubrec(pkid, &mut self.out);
            }
            return Ok(());
        }
        if qos > 0 && self.version == Version::V5 && self.open >= usize::from(IN_FLIGHT_MAX) {
            return Err(Lost::InFlight);
        }
        match (self.push(publish), self.version) {
            (true, _) => Ok(()),
            (false, Version::V5) if qos > 0 => {
                answer::reject(qos, pkid, NOT_AUTHORISED, &mut self.out);
                Ok(())
            }
            // There is no acknowledgement that could say it.
            (false, _) => Err(Lost::NotAuthorised),
        }
    }

    /// Takes a message into the chunk; false when its sender may not publish there.
    fn push(&mut self, publish: Publish) -> bool {
        let scope = self.scope.as_ref();
        let allowed = scope.is_none_or(|scope| wire::filter_matches(&scope.filter, &publish.topic));
        let alone = scope.is_some_and(|scope| scope.alone);
        let token = match publish.qos {
            _ if !allowed => None,
            0 => None,
            1 => Some(u32::from(publish.pkid)),
            _ => {
                self.unreleased.insert(publish.pkid, false);
                Some(u32::from(publish.pkid) | QOS2)
            }
        };
        self.open += usize::from(token.is_some());
        let fate = if allowed { Fate::Read } else { Fate::Denied };
        let Publish { topic, payload, retain, .. } = publish;
        if let Some(scope) = scope.filter(|_| !allowed) {
            self.place.denied(&topic, &scope.filter);
        }
        let message = Message { topic, payload, token, retain, alone, fate };
        self.chunk_bytes += message.cost();
        self.chunk.push(message);
        allowed
    }

    /// What was gathered goes to the intake; ends when there is none any more.
    async fn hand_over(&mut self) -> Result<(), End> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let inlet = &self.place.shared.inlet;
        inlet.gate.room().await;
        let messages = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        let promised = messages.iter().filter(|message| message.token.is_some()).count();
        self.peer.in_flight.fetch_add(promised, Ordering::AcqRel);
        let held = inlet.gate.hold(cost_of(&messages));
        let received_at = (self.place.shared.clock)();
        let origin = self.peer.clone();
        let chunk = Chunk { origin, epoch: 0, received_at, judge_only: false, messages, held };
        if inlet.send(chunk).await { Ok(()) } else { Err(End::Lost(Lost::IntakeEnded)) }
    }

    fn acknowledge(&mut self, token: u32) {
        let pkid = token as u16;
        if token & QOS2 == 0 {
            self.open -= 1;
            answer::puback(pkid, &mut self.out);
        } else {
            if let Some(durable) = self.unreleased.get_mut(&pkid) {
                *durable = true;
            }
            answer::pubrec(pkid, &mut self.out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_two_connections_the_later_one_stays_also_when_it_is_here_first() {
        for order in [[1, 2], [2, 1]] {
            let told: [Arc<Notify>; 3] = std::array::from_fn(|_| Arc::new(Notify::new()));
            let mut clients = Clients::new();
            for id in order {
                take_over(&mut clients, "P001", (id, &told[id as usize]));
            }
            assert_eq!(clients["P001"].0, 2, "{order:?}");
            told[1].notified().await;
            let wait = Duration::from_millis(1);
            assert!(timeout(wait, told[2].notified()).await.is_err(), "{order:?}");
        }
    }
}
