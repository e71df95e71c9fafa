//! Consumer of one MQTT broker: persistent session, manual acknowledgements.
//!
//! Here: what it is told, and what it shares with intake and committer. The loop is `broker/session.rs`, the bytes are
//! `broker/packet.rs`, the socket `broker/wire.rs`, TLS `broker/tls.rs`, and `broker/second.rs` listens while the journal
//! takes nothing.

mod filters;
pub mod packet;
mod second;
mod session;
pub mod tls;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lampguard_model::record::{OVERSIZE_KEPT, Source};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::packet::{Hello, Welcome};
pub use self::session::Dialect;
use self::session::Session;
use self::wire::Remote;
use crate::config::Protocol;
use crate::intake::{Fate, Inlet, Mapping, Origin, Settled};
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
/// Messages that a broker may send before it has an acknowledgement, where it can be told (MQTT 5). More would make a
/// group commit no larger, and all of them may come twice after a cut.
pub const WINDOW: u16 = 4096;
/// The session outlives every connection, as in 3.1.1. A broker may grant less.
pub const EXPIRY_S: u32 = u32::MAX;
/// A session that the broker keeps for less than this is told as too short, seconds.
pub const EXPIRY_MIN_S: u32 = 24 * 3600;
/// How to reach one broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Short name.
    pub id: String,
    /// Where it is.
    pub remote: Remote,
    /// Which version of MQTT.
    pub protocol: Protocol,
    /// Fixed client id: the broker keeps our session under it.
    pub client_id: String,
    /// Where the filters are written down that the session may have, one a line.
    pub filters_file: Option<PathBuf>,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// Group of a shared subscription.
    pub shared_group: Option<String>,
    /// Topics and how they are read.
    pub mappings: Vec<Mapping>,
    /// Whether its readings are judged here; else they are stored, marked, and left to another instance.
    pub judge: bool,
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
    /// Connection at which the broker had forgotten our session, the last time; 0: it never did.
    forgotten_at: AtomicU64,
}

/// A running consumer.
pub struct Broker {
    link: Arc<Link>,
    task: JoinHandle<()>,
    deaf: Option<JoinHandle<()>>,
    end: watch::Sender<bool>,
}

impl Broker {
    /// Connects and keeps connected until [`Broker::stop`].
    pub fn start(options: Options, context: Context) -> Self {
        let (acks, settled) = mpsc::unbounded_channel();
        let (shed, up) = (AtomicBool::new(false), AtomicBool::new(false));
        let link = Arc::new(Link { options, context, acks, shed, up, forgotten_at: AtomicU64::new(0) });
        let (end, ending) = watch::channel(false);
        let task = tokio::spawn(Session::new(link.clone(), settled).run(ending));
        // Nothing of it is judged here: then nobody has to go on hearing.
        let deaf = link.options.judge.then(|| tokio::spawn(second::listen_while_stopped(link.clone())));
        Self { link, task, deaf, end }
    }

    /// True while connected and subscribed to something.
    pub fn is_up(&self) -> bool {
        self.link.up.load(Ordering::Acquire)
    }

    /// The broker's short name.
    pub fn id(&self) -> &str {
        &self.link.options.id
    }

    /// Sends the acknowledgements that wait, says goodbye and ends. The session stays with the broker.
    pub async fn stop(mut self) {
        self.deaf.iter().for_each(JoinHandle::abort);
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

    /// It stays as it was while there is no connection: that is another fault.
    fn set_subscribed(&self, all: bool) {
        self.context.metrics.broker_subscribed.with_label_values(&[&self.options.id]).set(i64::from(all));
    }

    fn hello<'a>(&'a self, client_id: &'a str, clean: bool) -> Hello<'a> {
        let login = self.options.credentials.as_ref();
        Hello {
            client_id,
            login: login.map(|(user, password)| (user.as_str(), password.as_str())),
            clean,
            expiry_s: EXPIRY_S,
            keep_alive_s: KEEP_ALIVE.as_secs() as u16,
            window: WINDOW,
            // Not PACKET_MAX: what is longer than this the broker throws away without a word.
            packet_max: OVERSIZE_MAX as u32,
        }
    }

    /// The filters as they stand in the configuration.
    fn own_filters(&self) -> Vec<String> {
        self.options.mappings.iter().map(|mapping| mapping.filter.clone()).collect()
    }

    /// The filters of the session: shared with the other members of the group.
    fn filters(&self) -> Vec<String> {
        match &self.options.shared_group {
            None => self.own_filters(),
            Some(group) => {
                self.own_filters().iter().map(|filter| format!("$share/{group}/{filter}")).collect()
            }
        }
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

    fn judges(&self) -> bool {
        self.options.judge
    }

    fn id(&self) -> &str {
        &self.options.id
    }

    fn forgotten_at(&self) -> u64 {
        self.forgotten_at.load(Ordering::Acquire)
    }

    fn settle(&self, settled: Settled) {
        // An error means that the consumer has ended; the broker sends again what is not acknowledged.
        let _ = self.acks.send(settled);
    }

    fn shed(&self, _epoch: u64) {
        self.shed.store(true, Ordering::Release);
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

/// How often we ping: our own keep-alive, or the broker's where that is shorter.
fn keep_alive(welcome: &Welcome) -> Duration {
    KEEP_ALIVE.min(Duration::from_secs(u64::from(welcome.keep_alive_s)))
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
