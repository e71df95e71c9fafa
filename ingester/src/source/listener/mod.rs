//! The built-in MQTT listener: sensors publish, we acknowledge after the fsync.
//!
//! MQTT 3.1.1. CONNECT, PUBLISH with QoS 0, 1 and 2, PING, wills; SUBSCRIBE gets the standard refusal.
//! Sessions are not kept over connections (CONNACK says so): what was not acknowledged is sent again by the
//! sensor, and admission knows it. MQTT 5 will come as a second set of packets behind `packet.rs`.

mod credentials;
mod packet;
mod session;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{debug, info, warn};

pub use credentials::{Credentials, CredentialsError, Scope};

use crate::config::ListenerConfig;
use crate::intake::{Inlet, Mapping};
use crate::metrics::Metrics;
use crate::run::Clock;

/// A TLS handshake or a CONNECT that takes longer ends the connection.
const GREETING: Duration = Duration::from_secs(10);
/// Password checks at a time: each takes some 20 MB and 20 ms.
const PASSWORD_CHECKS: usize = 2;

/// The listener could not start. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The address is taken or not ours.
    #[error("listening on {bind}: {source}; choose another [listener] bind or end what uses it")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key.
    #[error("TLS {}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) inlet: Inlet,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) mappings: Arc<[Mapping]>,
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) password_checks: Semaphore,
    pub(crate) max_packet_bytes: usize,
    /// Who holds which client id: a second connection with the same id ends the first.
    pub(crate) clients: Mutex<HashMap<String, (u64, Arc<Notify>)>>,
    pub(crate) ending: watch::Receiver<bool>,
    connections: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
}

/// A running listener.
pub struct Listener {
    address: SocketAddr,
    accepting: JoinHandle<()>,
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
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
            _ => None,
        };
        let bind = config.bind;
        let socket = TcpListener::bind(bind).await.map_err(|source| ListenerError::Bind { bind, source })?;
        let address = socket.local_addr().map_err(|source| ListenerError::Bind { bind, source })?;
        let (end, ending) = watch::channel(false);
        let shared = Arc::new(Shared {
            inlet,
            metrics,
            clock,
            mappings: mappings.into(),
            credentials,
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            max_packet_bytes: config.max_packet_bytes,
            clients: Mutex::default(),
            ending,
            connections: AtomicUsize::new(0),
            per_address: Mutex::default(),
            next_id: AtomicU64::new(0),
        });
        info!(%address, tls = tls.is_some(), login = config.credentials_file.is_some(), "listening for sensors");
        let limits = (config.max_connections, config.per_address);
        let accepting = tokio::spawn(accept(socket, tls, shared.clone(), limits));
        Ok(Self { address, accepting, end, shared })
    }

    /// The address that is really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing more; acknowledgements that are under way still go out.
    pub fn stop_reading(&self) {
        self.accepting.abort();
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

async fn accept(socket: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>, limits: (usize, usize)) {
    loop {
        match socket.accept().await {
            Ok((stream, address)) => {
                if let Some(place) = Place::take(&shared, address.ip(), limits) {
                    tokio::spawn(greet(stream, tls.clone(), place));
                }
            }
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
            return Some(Self { shared: shared.clone(), address, id });
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

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, place: Place) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => session::run(stream, place).await,
        // Boxed: otherwise every plain connection too keeps the 5 KB that TLS needs.
        Some(tls) => Box::pin(greet_tls(stream, tls, place)).await,
    }
}

/// In the connection's own task and with a time limit: a silent peer holds up nobody.
async fn greet_tls(stream: TcpStream, tls: TlsAcceptor, place: Place) {
    match tokio::time::timeout(GREETING, tls.accept(stream)).await {
        Ok(Ok(stream)) => session::run(stream, place).await,
        _ => place.shared.metrics.connection_refused.with_label_values(&["tls"]).inc(),
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ListenerError> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| ListenerError::Tls {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| failed(cert, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, &e))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|e| failed(cert, &e))?)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use lampguard_model::Timestamp;
    use prometheus::Registry;

    use super::*;
    use crate::intake::Gate;

    #[test]
    fn whoever_has_not_logged_in_gets_memory_for_a_connect_and_no_more() {
        let metrics = Metrics::register(&Registry::new());
        let (sender, _chunks) = tokio::sync::mpsc::channel(16);
        let inlet = Inlet { sender, gate: Gate::new(metrics.clone()) };
        let config = ListenerConfig::on(SocketAddr::from(([127, 0, 0, 1], 0)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let starting =
            Listener::start(&config, Vec::new(), inlet, metrics.clone(), Arc::new(|| Timestamp(0)));
        let listener = runtime.block_on(starting).unwrap();
        let connect = |will: usize| {
            let mut body = b"\0\x04MQTT\x04\x06\0\x3c\0\x02p1\0\x01t".to_vec();
            body.extend_from_slice(&(will as u16).to_be_bytes());
            body.resize(body.len() + will, b'x');
            let length = body.len();
            let mut packet = vec![0x10, length as u8 | 128, (length >> 7) as u8 | 128, (length >> 14) as u8];
            packet.extend_from_slice(&body);
            let mut stream = std::net::TcpStream::connect(listener.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let _ = stream.write_all(&packet);
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).map(|()| answer)
        };
        assert_eq!(connect(8000).unwrap(), [0x20, 2, 0, 0], "a will of 8 KB is ordinary");
        let started = Instant::now();
        assert!(connect(60_000).is_err());
        assert!(started.elapsed() < GREETING, "ended at once, not by the time limit");
        assert_eq!(metrics.connection_refused.with_label_values(&["packet_too_long"]).get(), 1);
    }
}
