//! TLS to a broker: whom we trust, as whom we come, and what went wrong in words that name the cure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

/// Files of one broker's TLS. They are read at every connection, so that renewed ones need no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that may sign for the broker, PEM; without it the public ones.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {}: {reason}", path.display())]
pub struct TlsFault {
    /// The key of `[[broker]]`, or of a socket of ours.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is missing, holds no PEM, or does not fit the other: retry once it is mended.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsFault> {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        match &self.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in certificates("ca_file", path)? {
                    roots
                        .add(certificate)
                        .map_err(|e| fault("ca_file", path, format!("holds no authority: {e}")))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| fault("ca_file", self.ca.as_deref().unwrap_or(Path::new("")), e.to_string()))?
            .with_root_certificates(roots);
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates("cert_file", cert)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| fault("key_file", key, format!("no private key in PEM: {e}")))?;
                let unfit =
                    |e| fault("key_file", key, format!("does not fit cert_file {}: {e}", cert.display()));
                builder.with_client_auth_cert(chain, secret).map_err(unfit)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

pub(crate) fn fault(key: &'static str, path: &Path, reason: String) -> TlsFault {
    TlsFault { key, path: path.to_owned(), reason }
}

pub(crate) fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(fault(key, path, "holds no certificate in PEM".to_owned())),
        Ok(chain) => Ok(chain),
        Err(e) => Err(fault(key, path, format!("no certificate in PEM: {e}"))),
    }
}

/// What a failed handshake means, and its cure; `None` when it was not TLS that failed.
pub fn explain(error: &std::io::Error, host: &str, files: &TlsFiles) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match inner {
        Error::InvalidCertificate(fault) => explain_certificate(fault, host, files),
        Error::AlertReceived(alert) => explain_alert(*alert, files),
        Error::InvalidMessage(_) => {
            "the other side speaks no TLS; cure: mqtt:// in url, or the port of its TLS listener".to_owned()
        }
        other => format!("TLS failed: {other}"),
    })
}

fn explain_certificate(fault: &CertificateError, host: &str, files: &TlsFiles) -> String {
    let trusted = match &files.ca {
        Some(ca) => format!("ca_file {}", ca.display()),
        None => "a public authority".to_owned(),
    };
    match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "the broker's certificate is not signed by {trusted}; cure: the certificate of its authority as ca_file"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired; cure: renew it at the broker, or set this machine's clock"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet; cure: set this machine's clock".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the broker's certificate is not for {host}; cure: a name that stands in it as host of url, or a certificate with this name"
        ),
        other => format!("the broker's certificate is not taken: {other}"),
    }
}

fn explain_alert(alert: AlertDescription, files: &TlsFiles) -> String {
    let ours = match &files.cert {
        Some(cert) => format!("our certificate (cert_file {})", cert.display()),
        None => "a connection without a certificate".to_owned(),
    };
    match alert {
        AlertDescription::CertificateRequired => {
            format!(
                "the broker refuses {ours}: it wants one; cure: cert_file and key_file signed by its authority"
            )
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied
        | AlertDescription::UnsupportedCertificate => format!(
            "the broker refuses {ours}: its authority did not sign it; cure: cert_file and key_file signed by the authority that the broker trusts"
        ),
        AlertDescription::CertificateExpired | AlertDescription::CertificateRevoked => {
            format!("the broker refuses {ours}: it has expired or was revoked; cure: renew it")
        }
        AlertDescription::HandshakeFailure if files.cert.is_none() => {
            "the broker ends the handshake: it may want a certificate; cure: cert_file and key_file"
                .to_owned()
        }
        other => format!("the broker ends the TLS connection: {other:?}"),
    }
}
