//! The socket of the HTTP interface: plain or TLS, with limits for those who connect and then do nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lampguard_ingester::source::server_tls::{ServerFiles, ServerTls};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;
use tokio_rustls::rustls::ServerConfig;
use tracing::{debug, warn};

use crate::accounts::line_of;
use crate::config;
use crate::metrics::Web;

/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// Of these, places that only this machine and the proxies of the configuration get: strangers who take all others keep
/// neither the desk's own screen nor `healthcheck` out.
const KEPT: usize = 64;
/// Connections of one line (IPv6: its /64); proxies that the configuration names have no limit of their own.
const PER_ADDRESS_MAX: usize = 256;
/// A TLS handshake that takes longer ends the connection.
const GREETING: Duration = Duration::from_secs(10);
/// Headers that take longer, and a connection that asks nothing for so long, end.
const HEADERS: Duration = Duration::from_secs(30);
/// Longest headers.
const HEADERS_MAX: usize = 32 << 10;
/// An answer of which nothing is taken for so long ends the connection.
const STALLED: Duration = Duration::from_secs(60);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// It speaks TLS with us ourselves.
    pub(crate) tls: bool,
}

/// The files of its TLS, if it has it.
pub(crate) fn tls_files(web: &config::Web) -> Option<ServerFiles> {
    let (cert, key) = web.tls_cert.clone().zip(web.tls_key.clone())?;
    let adapt = |config: &mut ServerConfig| config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(ServerFiles { section: "[web]", cert, key, client_ca: None, adapt })
}

/// What all connections share.
struct Shared {
    router: Router,
    tls: Option<Arc<ServerTls>>,
    proxies: Vec<IpAddr>,
    places: Arc<Semaphore>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    metrics: Web,
    ending: watch::Receiver<bool>,
}

/// Serves until told to end; then answers what is under way.
pub(super) async fn run(
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
    proxies: Vec<IpAddr>,
    router: Router,
    metrics: Web,
    mut ending: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        router,
        tls,
        proxies,
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        per_address: Mutex::default(),
        metrics,
        ending: ending.clone(),
    });
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => shared.greet(stream, peer),
                Err(e) => {
                    // Out of file descriptors, mostly: those who are connected go on.
                    warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = ended(&mut ending) => break,
        }
    }
    drop(socket);
    // Every place is free again when every connection has ended.
    drop(shared.places.acquire_many(CONNECTIONS_MAX as u32).await);
}

/// Returns when told to end.
async fn ended(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|ending| *ending).await);
}

/// One connection's place in the limits; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    counted: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
        let Some(address) = self.counted else { return };
        let mut per_address = self.shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        match per_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(per_address.remove(&address)),
        }
    }
}

impl Shared {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let is_proxy = self.proxies.contains(&address);
        // One connection is taken after the other: nobody else takes a place in between.
        if !is_proxy && !address.is_loopback() && self.places.available_permits() <= KEPT {
            return None;
        }
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let counted = (!is_proxy).then(|| line_of(address));
        if let Some(address) = counted {
            let mut per_address = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = per_address.entry(address).or_insert(0);
            if *mine >= PER_ADDRESS_MAX {
                return None;
            }
            *mine += 1;
        }
        self.metrics.connections.inc();
        Some(Place { shared: self.clone(), counted, _permit: permit })
    }

    fn greet(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let Some(place) = self.take(address) else {
            self.metrics.refused.inc();
            debug!(%address, "a connection over the limit was refused");
            return;
        };
        let _ = stream.set_nodelay(true);
        match self.tls.as_ref().map(|tls| tls.acceptor()) {
            None => drop(tokio::spawn(serve(stream, Peer { address, tls: false }, place))),
            Some(acceptor) => drop(tokio::spawn(async move {
                match tokio::time::timeout(GREETING, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => serve(stream, Peer { address, tls: true }, place).await,
                    Ok(Err(e)) => debug!(%address, error = %e, "no TLS handshake"),
                    Err(_) => debug!(%address, "the TLS handshake took too long"),
                }
            })),
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, peer: Peer, place: Place) {
    let router = TowerToHyperService::new(place.shared.router.clone());
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADERS_MAX);
    let connection = protocol.serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let mut ending = place.shared.ending.clone();
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = outcome {
        debug!(address = %peer.address, error = %e, "a connection ended");
    }
}

/// A stream whose peer takes what is written, or is left alone.
struct Patient<S> {
    inner: S,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(inner: S) -> Self {
        Self { inner, until: None }
    }

    /// `outcome` as it is; an error when nothing has moved for [`STALLED`].
    fn watch<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.until = None;
            return outcome;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(outcome, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.watch(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watch(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            router: Router::new(),
            tls: None,
            proxies: vec![IpAddr::from([10, 0, 0, 1])],
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            per_address: Mutex::default(),
            metrics: Web::register(&prometheus::Registry::new()).unwrap(),
            ending: watch::channel(false).1,
        })
    }

    fn take(shared: &Arc<Shared>, count: usize, address: impl Fn(u16) -> IpAddr) -> Vec<Place> {
        (0..count as u16).filter_map(|n| shared.take(address(n))).collect()
    }

    #[test]
    fn one_line_of_ipv6_has_the_places_of_one_address() {
        let shared = shared();
        let line = |net: u16| move |n: u16| IpAddr::from([0x2001, 0xdb8, 0, net, n, n, n, n]);
        let one = take(&shared, 300, line(1));
        assert_eq!(one.len(), PER_ADDRESS_MAX);
        assert_eq!(shared.metrics.connections.get(), PER_ADDRESS_MAX as i64);
        assert_eq!(take(&shared, 10, line(2)).len(), 10, "another line");
        drop(one);
        assert_eq!(shared.metrics.connections.get(), 0, "whoever left is counted no more");
        assert_eq!(take(&shared, 10, line(1)).len(), 10, "and given back");
        assert!(shared.per_address.lock().unwrap().is_empty());
    }

    #[test]
    fn strangers_from_everywhere_leave_places_for_this_machine_and_the_proxies() {
        let shared = shared();
        let strangers = take(&shared, 2000, |n| IpAddr::from([203, 0, (n >> 8) as u8, n as u8]));
        assert_eq!(strangers.len(), CONNECTIONS_MAX - KEPT);
        let own = take(&shared, KEPT / 2, |_| IpAddr::from([127, 0, 0, 1]));
        let proxied = take(&shared, KEPT, |_| IpAddr::from([10, 0, 0, 1]));
        assert_eq!((own.len(), proxied.len()), (KEPT / 2, KEPT / 2));
        drop(strangers);
        assert_eq!(take(&shared, 1, |_| IpAddr::from([203, 0, 113, 1])).len(), 1);
    }
}
