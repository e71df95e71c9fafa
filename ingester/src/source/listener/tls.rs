//! TLS of the listener: its certificate, whose client certificates are believed, and both read again when their files
//! change. Sessions are not resumed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tracing::{error, info};

use super::ListenerError;

/// The files are looked at this often at most, when somebody connects.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Certificate, key and authority, read again when their files change.
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// Whose client certificates are believed, and whether one has to be shown.
    client_ca: Option<(PathBuf, bool)>,
    kept: Mutex<Kept>,
}

/// When each of the files was written last.
type State = Vec<Option<SystemTime>>;

struct Kept {
    acceptor: TlsAcceptor,
    /// The files as they were when they were read.
    read: State,
    /// The files as they were when it was told that they cannot be used.
    told: Option<State>,
    looked: Instant,
}

impl Tls {
    pub(super) fn load(
        cert: &Path,
        key: &Path,
        client_ca: Option<(PathBuf, bool)>,
    ) -> Result<Self, ListenerError> {
        let acceptor = acceptor(cert, key, client_ca.as_ref())?;
        let kept = Mutex::new(Kept { acceptor, read: State::new(), told: None, looked: Instant::now() });
        let tls = Self { cert: cert.to_owned(), key: key.to_owned(), client_ca, kept };
        tls.lock().read = tls.state();
        Ok(tls)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        let files = [&self.cert, &self.key].into_iter().chain(self.client_ca.iter().map(|(file, _)| file));
        files.map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok()).collect()
    }

    /// As the files are now; files that cannot be used change nothing.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut kept = self.lock();
        if kept.looked.elapsed() >= LOOK_AGAIN {
            kept.looked = Instant::now();
            self.look(&mut kept);
        }
        kept.acceptor.clone()
    }

    /// What could not be read is tried at every look: that somebody mended its rights changes no time of a file.
    fn look(&self, kept: &mut Kept) {
        let state = self.state();
        if kept.read == state {
            return;
        }
        match acceptor(&self.cert, &self.key, self.client_ca.as_ref()) {
            Ok(acceptor) => {
                info!(cert = %self.cert.display(), "certificate and authority of the listener read again");
                (kept.acceptor, kept.read, kept.told) = (acceptor, state, None);
            }
            Err(e) if kept.told.as_ref() != Some(&state) => {
                error!(error = %e, "the listener's certificate or authority changed: the old ones hold");
                kept.told = Some(state);
            }
            Err(_) => {}
        }
    }
}

/// `client_ca`: whose client certificates are believed, and whether one has to be shown.
fn acceptor(
    cert: &Path,
    key: &Path,
    client_ca: Option<&(PathBuf, bool)>,
) -> Result<TlsAcceptor, ListenerError> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| tls_error(key, e))?;
    let builder = match client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some((file, required)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| tls_error(file, e))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let optional = ClientCertVerifierBuilder::allow_unauthenticated;
            let verifier = if *required { verifier } else { optional(verifier) };
            let verifier = verifier.build().map_err(|e| tls_error(file, e))?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(|e| tls_error(cert, e))?;
    // Nobody resumes a session: whoever did would be let in by what was checked at its beginning, however long its
    // certificate has ended, and a ticket that nobody reads is unread bytes, at which the socket of a client that just
    // closes throws away what it has not sent yet. It costs a herd that comes back nothing: rustls kept 256 sessions.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ListenerError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    all.map_err(|e| tls_error(file, e))
}

fn tls_error(path: &Path, reason: impl std::fmt::Display) -> ListenerError {
    ListenerError::Tls { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as it looks when nothing but its content was mended.
    fn write_at(file: &Path, text: &str, at: SystemTime) {
        std::fs::write(file, text).unwrap();
        std::fs::File::options().write(true).open(file).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn a_renewed_certificate_that_could_not_be_read_at_one_look_is_read_at_a_later_one() {
        let home = tempfile::tempdir().unwrap();
        let (cert, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (old, new) = (made(), made());
        std::fs::write(&cert, old.cert.pem()).unwrap();
        std::fs::write(&key, old.signing_key.serialize_pem()).unwrap();
        let tls = Tls::load(&cert, &key, None).unwrap();
        let before = tls.acceptor().config().clone();
        let look = || {
            let mut kept = tls.lock();
            tls.look(&mut kept);
            (Arc::ptr_eq(kept.acceptor.config(), &before), kept.told.is_some())
        };
        assert_eq!(look(), (true, false));
        // Renewed, and for a moment of no use.
        let renewed = SystemTime::now() + Duration::from_secs(60);
        std::fs::write(&key, new.signing_key.serialize_pem()).unwrap();
        write_at(&cert, "", renewed);
        assert_eq!(look(), (true, true), "the old one holds, and it is told");
        write_at(&cert, &new.cert.pem(), renewed);
        assert_eq!(look(), (false, false));
    }
}
