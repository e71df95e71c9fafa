//! One connection to a broker: TCP or TLS, one of two versions of MQTT, a buffer each way.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use lampguard_model::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::packet::{self, Hello, Packet, Version, Welcome};
use super::tls::{self, TlsFault, TlsFiles};
use crate::source::listener::certificate::end_of_all;

/// TCP, TLS and CONNACK together take at most this long.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A write that the broker does not take within this time means the connection is dead.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// SUBSCRIBE is answered within this time, where something waits for the answer.
pub const SUBSCRIBE_PATIENCE: Duration = CONNECT_PATIENCE;
/// Bytes that are asked for with one read.
const READ_BYTES: usize = 32 * 1024;
/// A buffer with less room than this is replaced. Not at every read: a payload keeps the buffer alive that it came in.
const ROOM_MIN: usize = 2 * 1024;

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Name or address; the broker's certificate has to be for it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, with these files.
    pub tls: Option<TlsFiles>,
}

/// Why a connection ends, or never began. All but `Version` and `TooLarge`: retry after a pause.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The name is not known, nobody listens, or the network is away.
    #[error("connecting to {0}: {1}")]
    Connect(String, io::Error),
    /// A file of its TLS cannot be used.
    #[error(transparent)]
    Files(#[from] TlsFault),
    /// The handshake failed, in words with the cure.
    #[error("TLS with {0}: {1}")]
    Tls(String, String),
    /// Nobody answered in time.
    #[error("no answer of {0} within {1} s: TCP, TLS and CONNECT together")]
    Silent(String, u64),
    /// The broker does not speak this version: try the other.
    #[error("the broker does not speak MQTT {}; cure: protocol = \"auto\", or the other version", .0.name())]
    Version(Version),
    /// CONNECT was refused.
    #[error("the broker refuses our connection: {0}")]
    Refused(String),
    /// SUBSCRIBE was refused, all filters of it.
    #[error("the broker refuses our subscription: {0}; check its access list")]
    Denied(&'static str),
    /// SUBSCRIBE was not answered.
    #[error("the broker did not answer our SUBSCRIBE within {} s", SUBSCRIBE_PATIENCE.as_secs())]
    Ungranted,
    /// It was closed without a word before CONNACK.
    #[error("the broker closed the connection before it answered CONNECT{0}")]
    Unanswered(&'static str),
    /// It was closed without a word.
    #[error("the broker closed the connection")]
    Closed,
    /// The broker said why it ends the connection.
    #[error("the broker ended the connection: {0}")]
    Bye(String),
    /// Reading or writing failed.
    #[error("reading or writing: {0}")]
    Io(io::Error),
    /// The broker takes nothing.
    #[error("the broker took nothing for {} s", WRITE_PATIENCE.as_secs())]
    Stuck,
    /// No answer to the last ping.
    #[error("the broker did not answer our last ping")]
    Deaf,
    /// Longer than what is let in now, bytes.
    #[error("packet of {0} bytes is over the limit")]
    TooLarge(usize),
    /// Nothing that MQTT knows.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that was let in.
pub struct Wire {
    stream: Box<dyn Stream>,
    inbox: BytesMut,
    /// What is written with the next [`Wire::flush`].
    pub outbox: BytesMut,
    /// The version that is spoken.
    pub version: Version,
    packet_max: usize,
}

impl Wire {
    /// TCP, TLS, CONNECT, CONNACK. Packets longer than `packet_max` will be an error.
    ///
    /// # Errors
    /// See [`WireError`].
    pub async fn open(
        remote: &Remote,
        version: Version,
        hello: &Hello<'_>,
        packet_max: usize,
    ) -> Result<(Self, Welcome), WireError> {
        let opened = timeout(CONNECT_PATIENCE, open(remote, version, hello, packet_max)).await;
        opened.unwrap_or_else(|_| Err(WireError::Silent(address(remote), CONNECT_PATIENCE.as_secs())))
    }

    /// Waits until a whole packet is there. Nothing is lost when it is dropped while it waits.
    ///
    /// # Errors
    /// The connection has ended, or has to.
    pub async fn ready(&mut self) -> Result<(), WireError> {
        while !self.has_packet()? {
            if self.inbox.capacity() - self.inbox.len() < ROOM_MIN {
                self.inbox.reserve(READ_BYTES);
            }
            if self.stream.read_buf(&mut self.inbox).await.map_err(WireError::Io)? == 0 {
                return Err(WireError::Closed);
            }
        }
        Ok(())
    }

    fn has_packet(&self) -> Result<bool, WireError> {
        let frame = packet::frame(&self.inbox, self.packet_max)?;
        Ok(frame.is_some_and(|(_, end)| end <= self.inbox.len()))
    }

    /// Takes the next packet, if it is there as a whole.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn take(&mut self) -> Result<Option<Packet>, WireError> {
        let Some((header, end)) = packet::frame(&self.inbox, self.packet_max)? else { return Ok(None) };
        if end > self.inbox.len() {
            return Ok(None);
        }
        packet::read(self.version, self.inbox.split_to(end), header).map(Some)
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// The connection has ended, or has to.
    pub async fn next(&mut self) -> Result<Packet, WireError> {
        loop {
            self.ready().await?;
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
        }
    }

    /// Puts a SUBSCRIBE into the outbox.
    ///
    /// # Errors
    /// It would be too long.
    pub fn subscribe(&mut self, filters: &[String], qos: u8) -> Result<(), WireError> {
        packet::subscribe(self.version, filters, qos, &mut self.outbox)
    }

    /// Puts an UNSUBSCRIBE into the outbox.
    ///
    /// # Errors
    /// It would be too long.
    pub fn unsubscribe(&mut self, filters: &[String]) -> Result<(), WireError> {
        packet::unsubscribe(self.version, filters, &mut self.outbox)
    }

    /// Writes what stands in the outbox.
    ///
    /// # Errors
    /// The connection has ended, or the broker takes nothing.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        let written = timeout(WRITE_PATIENCE, async {
            self.stream.write_all(&self.outbox).await?;
            self.stream.flush().await
        });
        let outcome = written.await;
        self.outbox.clear();
        match outcome {
            Ok(written) => written.map_err(WireError::Io),
            Err(_) => Err(WireError::Stuck),
        }
    }
}

fn address(remote: &Remote) -> String {
    format!("{}:{}", remote.host, remote.port)
}

async fn open(
    remote: &Remote,
    version: Version,
    hello: &Hello<'_>,
    packet_max: usize,
) -> Result<(Wire, Welcome), WireError> {
    let stream: Box<dyn Stream> = match &remote.tls {
        None => Box::new(dial(remote).await?),
        Some(files) => Box::new(secure(remote, files).await?),
    };
    let (inbox, mut outbox) = (BytesMut::new(), BytesMut::new());
    packet::connect(version, hello, &mut outbox)?;
    let mut wire = Wire { stream, inbox, outbox, version, packet_max };
    // In TLS 1.3 a broker refuses our certificate only now.
    let answer = match wire.flush().await {
        Ok(()) => wire.next().await,
        Err(e) => Err(e),
    };
    match answer {
        Ok(Packet::Welcome(welcome)) => Ok((wire, welcome)),
        Ok(_) => Err(WireError::Malformed("something else came before the CONNACK")),
        Err(WireError::Io(e)) => Err(of_handshake(remote, e, after_greeting(remote))),
        Err(WireError::Closed) => Err(WireError::Unanswered(after_greeting(remote))),
        Err(e) => Err(e),
    }
}

async fn dial(remote: &Remote) -> Result<TcpStream, WireError> {
    let failed = |e| WireError::Connect(address(remote), e);
    let stream = TcpStream::connect((&*remote.host, remote.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn secure(remote: &Remote, files: &TlsFiles) -> Result<TlsStream<TcpStream>, WireError> {
    let config = files.config()?;
    let stream = dial(remote).await?;
    let name = ServerName::try_from(remote.host.clone())
        .map_err(|_| tls_error(remote, "the host of url is no name that a certificate could hold"))?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    secured.map_err(|e| of_handshake(remote, e, NO_TLS))
}

/// When the certificate ends that a broker shows now: a handshake of its own, closed again before any CONNECT. An open
/// connection keeps the certificate of its beginning, whatever the broker has read since. `None` without TLS, or where
/// the end cannot be read.
///
/// # Errors
/// It is not reached, or its certificate is not taken: an ended one is not.
pub async fn shown_end(remote: &Remote) -> Result<Option<Timestamp>, WireError> {
    let Some(files) = &remote.tls else { return Ok(None) };
    let asked = timeout(CONNECT_PATIENCE, async {
        let mut stream = secure(remote, files).await?;
        let end = end_of_all(stream.get_ref().1.peer_certificates().unwrap_or_default());
        // A word of goodbye, for the broker's log; what comes of it is nothing to us.
        let _ = stream.shutdown().await;
        Ok(end)
    });
    asked.await.unwrap_or_else(|_| Err(WireError::Silent(address(remote), CONNECT_PATIENCE.as_secs())))
}

fn tls_error(remote: &Remote, why: &str) -> WireError {
    WireError::Tls(address(remote), why.to_owned())
}

/// What a close in the middle of the handshake may mean.
const NO_TLS: &str = "; it may speak no TLS on this port, or refuse our certificate; cure: the port of its TLS listener, \
                      and cert_file and key_file where it wants them";

/// What an error before CONNACK means; `closed` is what it may mean that the broker closes without a word.
fn of_handshake(remote: &Remote, e: io::Error, closed: &'static str) -> WireError {
    let explained = remote.tls.as_ref().and_then(|files| tls::explain(&e, &remote.host, files));
    match explained {
        Some(why) => WireError::Tls(address(remote), why),
        // The end may overtake the alert that gives its reason.
        None if matches!(
            e.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        ) =>
        {
            WireError::Unanswered(closed)
        }
        None => WireError::Connect(address(remote), e),
    }
}

/// What a close after CONNECT may mean.
fn after_greeting(remote: &Remote) -> &'static str {
    match &remote.tls {
        None => "; it may want TLS: mqtts:// in url and the port of its TLS listener",
        Some(TlsFiles { cert: None, .. }) => {
            "; it may want a certificate: cert_file and key_file, signed by the authority that it trusts"
        }
        Some(_) => {
            "; it may refuse our certificate: cert_file and key_file signed by the authority that it trusts"
        }
    }
}
