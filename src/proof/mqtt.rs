//! One publish as a sensor makes it: connect, log in, PUBLISH with QoS 1, wait for PUBACK, say goodbye. A connection of
//! its own each time, so that the way in and the login are proven too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use lampguard_ingester::source::broker::tls::TlsFiles;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Disconnect, Packet, Publish};
use rumqttc::mqttbytes::{Error, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

/// Longest answer.
const PACKET_MAX: usize = 16 * 1024;

/// Where to, and as whom.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<(String, String)>,
    pub(super) tls: Secure,
}

/// How the way there is secured.
#[derive(Clone)]
pub(super) enum Secure {
    Plain,
    /// Our own listener, by the certificate in this file; read at every connection, because it is renewed while we run.
    Own(PathBuf),
    /// A broker, by the files of its `[[broker]]`; read at every connection, as the consumer does.
    Broker(TlsFiles),
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that was let in.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
}

impl Client {
    /// Connects and logs in.
    pub(super) async fn connect(port: &Port, client_id: &str) -> Result<Self> {
        let doing = || format!("connecting to {}:{}", port.host, port.port);
        let stream = TcpStream::connect((&*port.host, port.port)).await.with_context(doing)?;
        stream.set_nodelay(true)?;
        let secured = match &port.tls {
            Secure::Plain => None,
            Secure::Own(file) => {
                let name = ServerName::try_from("lampguard").context("naming the listener")?;
                Some((name, own_listener(file).with_context(doing)?))
            }
            Secure::Broker(files) => {
                let name = ServerName::try_from(port.host.clone()).context("naming the broker")?;
                Some((name, files.config().with_context(doing)?))
            }
        };
        let stream: Box<dyn Stream> = match secured {
            None => Box::new(stream),
            Some((name, config)) => {
                Box::new(TlsConnector::from(config).connect(name, stream).await.with_context(doing)?)
            }
        };
        let mut client = Self { stream, buffer: BytesMut::new() };
        let mut connect = Connect::new(client_id);
        connect.keep_alive = 30;
        connect.clean_session = true;
        if let Some((user, password)) = &port.login {
            connect.set_login(user.as_str(), password.as_str());
        }
        client.send(|out| connect.write(out)).await.with_context(doing)?;
        match client.receive().await.with_context(doing)? {
            Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => Ok(client),
            Packet::ConnAck(answer) => bail!("{} refused the login: {:?}", doing(), answer.code),
            other => bail!("{} answered {other:?} instead of CONNACK", doing()),
        }
    }

    /// Publishes and waits for the acknowledgement.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = 1;
        self.send(|out| publish.write(out)).await.context("publishing")?;
        loop {
            if let Packet::PubAck(ack) = self.receive().await.context("waiting for PUBACK")?
                && ack.pkid == 1
            {
                break;
            }
        }
        // What is acknowledged stays so, whether the goodbye arrives or not.
        let _ = self.send(|out| Disconnect.write(out)).await;
        Ok(())
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<usize, Error>) -> Result<()> {
        let mut out = BytesMut::new();
        write(&mut out)?;
        self.stream.write_all(&out).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<Packet> {
        loop {
            match Packet::read(&mut self.buffer, PACKET_MAX) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the other side closed the connection");
            }
        }
    }
}

/// Takes exactly the certificate of our own listener's file: whoever holds its key is the listener, whatever name and
/// authority stand in it.
#[derive(Debug)]
struct Own {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        if shown.as_ref() == self.certificate.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(tokio_rustls::rustls::Error::General(
            "the listener shows another certificate than its file".to_owned(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS to our own listener.
fn own_listener(file: &Path) -> Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_file(file)
        .map_err(|error| anyhow::anyhow!("reading certificate {}: {error}", file.display()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Own { certificate, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
