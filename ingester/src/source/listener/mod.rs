//! The built-in MQTT listener: sensors publish, we acknowledge after the fsync.
//!
//! MQTT 3.1.1 and 5 on one port: CONNECT says which. CONNECT, PUBLISH with QoS 0, 1 and 2, PING, wills; SUBSCRIBE gets
//! the standard refusal. Sessions are not kept over connections (CONNACK says so): what was not acknowledged is sent
//! again by the sensor, and admission knows it.
//!
//! | file | what it holds |
//! |---|---|
//! | `session.rs` | one connection, from CONNECT to its end |
//! | `share.rs` | memory for long packets |
//! | `greeting.rs`, `linger.rs` | CONNECT and logins; how a connection is closed |
//! | `packet.rs`, `v5.rs` | what a sensor sends |
//! | `answer.rs` | what it is told |
//! | `refusals.rs` | who was refused, in the log |
//! | `credentials.rs`, `certificate.rs` | who it is, and what it may say; `../server_tls.rs` has our own certificate |
//! | `websocket.rs` | the same through HTTP |

mod answer;
pub mod certificate;
mod credentials;
mod greeting;
mod linger;
mod packet;
mod refusals;
mod session;
mod share;
mod v5;
mod websocket;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tracing::{debug, info, warn};

pub use certificate::ends_at;
pub use credentials::{Credentials, CredentialsError, Scope};

use self::refusals::Refusals;
use crate::config::ListenerConfig;
use crate::intake::{Inlet, Mapping};
use crate::metrics::Metrics;
use crate::run::Clock;
use crate::source::broker::tls::TlsFault;
use crate::source::server_tls::{ServerFiles, ServerTls};

/// A TLS handshake or a CONNECT that takes longer ends the connection.
const GREETING: Duration = Duration::from_secs(10);
/// Password checks at a time: each takes some 20 MB and 20 ms.
const PASSWORD_CHECKS: usize = 2;
/// Connections over the limits that are told so, at a time; further ones are just closed.
const TURNED_AWAY_MAX: usize = 64;

/// The listener could not start. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The address is taken or not ours.
    #[error("listening on {bind}; choose another [listener] bind or end what uses it")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key.
    #[error("[listener] {0}")]
    Tls(#[from] TlsFault),
}

/// The files of its TLS, if it has it.
pub fn tls_files(config: &ListenerConfig) -> Option<ServerFiles> {
    let (cert, key) = config.tls_cert.clone().zip(config.tls_key.clone())?;
    // Whoever shows none has to log in; where that is not asked for, it has to show one.
    let required = config.certificate_required || config.credentials_file.is_none();
    let client_ca = config.client_ca.clone().map(|file| (file, required));
    Some(ServerFiles { section: "[listener]", cert, key, client_ca, adapt: without_resumption })
}

/// Nobody resumes a session: whoever did would be let in by what was checked at its beginning, however long its
/// certificate has ended, and a ticket that nobody reads is unread bytes, at which the socket of a client that just
/// closes throws away what it has not sent yet. It costs a herd that comes back nothing: rustls kept 256 sessions.
fn without_resumption(config: &mut ServerConfig) {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) inlet: Inlet,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) mappings: Arc<[Mapping]>,
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) password_checks: Semaphore,
    turned_away: Arc<Semaphore>,
    /// Memory for long packets that are half there.
    half_sent: Arc<Semaphore>,
    pub(crate) max_packet_bytes: usize,
    /// Who holds which client id: a second connection of the same user with the same id ends the first.
    pub(crate) clients: Mutex<session::Clients>,
    pub(crate) ending: watch::Receiver<bool>,
    connections: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
    refusals: Refusals,
}

/// A running listener.
pub struct Listener {
    address: SocketAddr,
    websocket: Option<SocketAddr>,
    accepting: Vec<JoinHandle<()>>,
    tls: Option<Arc<ServerTls>>,
    end: watch::Sender<bool>,
    shared: Arc<Shared>,
}

impl Listener {
    /// Binds and accepts until [`Listener::stop`].
    ///
    /// # Errors
    /// [`ListenerError`] names the file or address.
    pub async fn start(
        config: &ListenerConfig,
        mappings: Vec<Mapping>,
        inlet: Inlet,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, ListenerError> {
        let credentials =
            config.credentials_file.as_deref().map(Credentials::load).transpose()?.map(Arc::new);
        let tls = tls_files(config).map(ServerTls::load).transpose()?.map(Arc::new);
        let (socket, address) = bind(config.bind).await?;
        let websocket = match config.websocket_bind {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let (kept_tls, (end, ending)) = (tls.clone(), watch::channel(false));
        let shared = Arc::new(Shared {
            inlet,
            metrics,
            clock,
            mappings: mappings.into(),
            credentials,
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            half_sent: share::stock(),
            max_packet_bytes: config.max_packet_bytes,
            clients: Mutex::default(),
            ending,
            connections: AtomicUsize::new(0),
            per_address: Mutex::default(),
            next_id: AtomicU64::new(0),
            refusals: Refusals::default(),
        });
        info!(
            %address,
            websocket = websocket.as_ref().map(|(_, address)| address.to_string()),
            tls = tls.is_some(),
            certificates = config.client_ca.is_some(),
            login = config.credentials_file.is_some(),
            "listening for sensors"
        );
        let limits = (config.max_connections, config.per_address);
        let mut accepting = vec![tokio::spawn(accept(socket, tls.clone(), false, shared.clone(), limits))];
        let websocket = websocket.map(|(socket, address)| {
            accepting.push(tokio::spawn(accept(socket, tls, true, shared.clone(), limits)));
            address
        });
        Ok(Self { address, websocket, accepting, tls: kept_tls, end, shared })
    }

    /// The address that is really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, if it has it.
    pub fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.tls.as_ref()
    }

    /// The address that is really bound for WebSocket.
    pub fn websocket(&self) -> Option<SocketAddr> {
        self.websocket
    }

    /// Takes nothing more; acknowledgements that are under way still go out.
    pub fn stop_reading(&self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        self.end.send_replace(true);
    }

    /// Waits until the connections are closed, at most this long.
    pub async fn stop(self, patience: Duration) {
        self.stop_reading();
        let _ = tokio::time::timeout(patience, async {
            while self.shared.connections.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

async fn bind(bind: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenerError> {
    let failed = |source| ListenerError::Bind { bind, source };
    let socket = TcpListener::bind(bind).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

async fn accept(
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
    websocket: bool,
    shared: Arc<Shared>,
    limits: (usize, usize),
) {
    loop {
        match socket.accept().await {
            Ok((stream, address)) => match Place::take(&shared, address.ip(), limits) {
                Some(place) => drop(tokio::spawn(greet(
                    stream,
                    tls.as_ref().map(|tls| tls.acceptor()),
                    websocket,
                    place,
                ))),
                None if tls.is_none() && !websocket => {
                    if let Ok(turn) = shared.turned_away.clone().try_acquire_owned() {
                        tokio::spawn(async move {
                            greeting::turn_away(stream).await;
                            drop(turn);
                        });
                    }
                }
                None => {}
            },
            Err(e) => {
                // Out of file descriptors, mostly: those who are connected go on.
                warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection's place in the limits; given back when dropped.
pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: IpAddr,
    pub(crate) id: u64,
    /// The name in the client certificate that it has shown.
    pub(crate) identity: Option<String>,
    /// The name that the log shows: of its login, else its client id.
    pub(crate) said: Box<str>,
    /// Longest packet that it is told of, bytes.
    pub(crate) max_packet: usize,
}

impl Place {
    fn take(shared: &Arc<Shared>, address: IpAddr, (all, each): (usize, usize)) -> Option<Self> {
        let mut per_address = shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = per_address.get(&address).copied().unwrap_or(0);
        let reason = if shared.connections.load(Ordering::Acquire) >= all {
            "max_connections"
        } else if mine >= each {
            "per_address"
        } else {
            per_address.insert(address, mine + 1);
            shared.connections.fetch_add(1, Ordering::AcqRel);
            shared.metrics.connections.inc();
            let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
            let max_packet = shared.max_packet_bytes;
            let (shared, said) = (shared.clone(), Box::default());
            return Some(Self { shared, address, id, identity: None, said, max_packet });
        };
        shared.metrics.connection_refused.with_label_values(&[reason]).inc();
        debug!(%address, reason, "connection refused");
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_address = self.shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        match per_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                per_address.remove(&self.address);
            }
        }
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.shared.metrics.connections.dec();
    }
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, websocket: bool, place: Place) {
    let _ = stream.set_nodelay(true);
    // Boxed: otherwise every plain connection too keeps the 5 KB that TLS needs.
    match (tls, websocket) {
        (None, false) => session::run(stream, place).await,
        (None, true) => Box::pin(greet_websocket(stream, place)).await,
        (Some(tls), _) => Box::pin(greet_tls(stream, tls, websocket, place)).await,
    }
}

/// In the connection's own task and with a time limit: a silent peer holds up nobody.
async fn greet_tls(stream: TcpStream, tls: TlsAcceptor, websocket: bool, mut place: Place) {
    let accepting = tls.accept(stream).into_fallible();
    let mut stream = match tokio::time::timeout(GREETING, accepting).await {
        Ok(Ok(stream)) => stream,
        refused => {
            place.refused("tls");
            if let Ok(Err((error, mut stream))) = refused {
                debug!(address = %place.address, %error, "no TLS");
                // It has been told by an alert, and may have sent more behind its part of the handshake.
                linger::linger(&mut stream, linger::LAST_WORD).await;
            }
            return;
        }
    };
    if let Some([certificate, ..]) = stream.get_ref().1.peer_certificates() {
        place.identity = certificate::identity(certificate);
        if place.identity.is_none() {
            debug!(address = %place.address, "a client certificate without a name that can be used");
            place.refused("certificate");
            linger::linger(&mut stream, linger::LAST_WORD).await;
            return;
        }
    }
    if websocket {
        Box::pin(greet_websocket(stream, place)).await;
    } else {
        session::run(stream, place).await;
    }
}

async fn greet_websocket<S: AsyncRead + AsyncWrite + Unpin>(stream: S, mut place: Place) {
    place.max_packet = place.max_packet.min(websocket::FRAME_MAX);
    let browsers = place.shared.credentials.is_some();
    match tokio::time::timeout(GREETING, websocket::accept(stream, browsers)).await {
        Ok(Some(stream)) => session::run(stream, place).await,
        _ => place.refused("websocket"),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
