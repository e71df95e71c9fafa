//! TLS of a socket of ours, the listener's or that of the pages: its certificate, whose client certificates are believed,
//! and both read again when their files change.
//!
//! Files that cannot be used change nothing: what was read before is served on, and [`Served`] says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lampguard_model::Timestamp;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tracing::{error, info};

use super::broker::tls::{TlsFault, certificates, fault};
use super::listener::certificate::end_of_all;

/// The files are looked at this often at most, when somebody connects.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The key of the file that says whose client certificates are believed.
pub const CLIENT_CA: &str = "client_ca";

/// Files of a socket of ours.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// Their section of the configuration, for those who mend them.
    pub section: &'static str,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whose client certificates are believed, and whether one has to be shown.
    pub client_ca: Option<(PathBuf, bool)>,
    /// What this socket wants otherwise than rustls has it.
    pub adapt: fn(&mut ServerConfig),
}

/// What stands in the files, fit to be served.
#[derive(Debug)]
pub struct Loaded {
    config: Arc<ServerConfig>,
    /// When the first certificate of the chain ends.
    pub ends: Option<Timestamp>,
    /// The same of those who sign client certificates.
    pub client_ca_ends: Option<Timestamp>,
}

impl ServerFiles {
    /// Reads the files as they are served.
    ///
    /// # Errors
    /// One of them is missing, holds no PEM, or does not fit the other: retry once it is mended.
    pub fn load(&self) -> Result<Loaded, TlsFault> {
        let chain = certificates("tls_cert", &self.cert)?;
        let ends = end_of_all(&chain);
        let private = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|e| fault("tls_key", &self.key, format!("no private key in PEM: {e}")))?;
        let mut client_ca_ends = None;
        let builder = match &self.client_ca {
            None => ServerConfig::builder().with_no_client_auth(),
            Some((file, required)) => {
                let unfit = |e: String| fault(CLIENT_CA, file, e);
                let (all, mut roots) = (certificates(CLIENT_CA, file)?, RootCertStore::empty());
                client_ca_ends = end_of_all(&all);
                for certificate in all {
                    roots.add(certificate).map_err(|e| unfit(e.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                let optional = ClientCertVerifierBuilder::allow_unauthenticated;
                let verifier = if *required { verifier } else { optional(verifier) };
                let verifier = verifier.build().map_err(|e| unfit(e.to_string()))?;
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let unfit =
            |e| fault("tls_key", &self.key, format!("does not fit tls_cert {}: {e}", self.cert.display()));
        let mut config = builder.with_single_cert(chain, private).map_err(unfit)?;
        (self.adapt)(&mut config);
        Ok(Loaded { config: Arc::new(config), ends, client_ca_ends })
    }

    fn state(&self) -> State {
        let files = [&self.cert, &self.key].into_iter().chain(self.client_ca.iter().map(|(file, _)| file));
        files.map(|file| written(file)).collect()
    }
}

/// When each of the files was written last.
type State = Vec<Option<SystemTime>>;

fn written(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

/// Certificate, key and authority, read again when their files change.
pub struct ServerTls {
    files: ServerFiles,
    kept: Mutex<Kept>,
}

struct Kept {
    loaded: Loaded,
    /// The files as they were when they were read.
    read: State,
    /// The files as they were when it was told that they cannot be used, and why.
    unused: Option<(State, TlsFault)>,
    looked: Instant,
}

/// What is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// When the certificate ends that is shown; `None` where that cannot be read in it.
    pub ends: Option<Timestamp>,
    /// The same of those who sign client certificates.
    pub client_ca_ends: Option<Timestamp>,
    /// The files are others now, and why they cannot be used.
    pub unused: Option<TlsFault>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// As [`ServerFiles::load`].
    pub fn load(files: ServerFiles) -> Result<Self, TlsFault> {
        // Before they are read: what changes meanwhile is read again.
        let read = files.state();
        let kept = Kept { loaded: files.load()?, read, unused: None, looked: Instant::now() };
        Ok(Self { files, kept: Mutex::new(kept) })
    }

    /// The files that it was made of.
    pub fn files(&self) -> &ServerFiles {
        &self.files
    }

    /// As the files are now; files that cannot be used change nothing.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut kept = self.lock();
        if kept.looked.elapsed() >= LOOK_AGAIN {
            self.look(&mut kept);
        }
        kept.loaded.config.clone().into()
    }

    /// Looks at the files, whether somebody connects or not, and says what is served.
    pub fn served(&self) -> Served {
        let mut kept = self.lock();
        self.look(&mut kept);
        Served {
            ends: kept.loaded.ends,
            client_ca_ends: kept.loaded.client_ca_ends,
            unused: kept.unused.as_ref().map(|(_, fault)| fault.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What could not be used is tried at every look: that somebody mended its rights changes no time of a file.
    fn look(&self, kept: &mut Kept) {
        kept.looked = Instant::now();
        let state = self.files.state();
        if kept.read == state {
            // Also after the old files were put back.
            kept.unused = None;
            return;
        }
        let section = self.files.section;
        match self.files.load() {
            Ok(loaded) => {
                info!(section, cert = %self.files.cert.display(), "certificate and authority read again");
                (kept.loaded, kept.read, kept.unused) = (loaded, state, None);
            }
            Err(e) => {
                if kept.unused.as_ref().is_none_or(|(told, _)| *told != state) {
                    error!(section, error = %e, "the certificate or authority changed: the old one holds");
                }
                kept.unused = Some((state, e));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as it looks when nothing but its content was mended.
    fn write_at(file: &Path, text: &str, at: SystemTime) {
        std::fs::write(file, text).unwrap();
        std::fs::File::options().write(true).open(file).unwrap().set_modified(at).unwrap();
    }

    /// A certificate that ends with that year, and its key.
    fn made(year: i32) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn served(home: &Path, (cert, key): &(String, String)) -> ServerTls {
        let (cert_file, key_file) = (home.join("cert.pem"), home.join("key.pem"));
        std::fs::write(&cert_file, cert).unwrap();
        std::fs::write(&key_file, key).unwrap();
        let files =
            ServerFiles { section: "[web]", cert: cert_file, key: key_file, client_ca: None, adapt: |_| {} };
        ServerTls::load(files).unwrap()
    }

    fn year(served: &Served) -> String {
        served.ends.unwrap().to_rfc3339()[..4].to_owned()
    }

    #[test]
    fn a_renewed_certificate_that_could_not_be_read_at_one_look_is_read_at_a_later_one() {
        let home = tempfile::tempdir().unwrap();
        let tls = served(home.path(), &made(2030));
        let new = made(2040);
        let look = || (year(&tls.served()), tls.served().unused.is_some());
        assert_eq!(look(), ("2030".to_owned(), false));
        // Renewed, and for a moment of no use.
        let renewed = SystemTime::now() + Duration::from_secs(60);
        std::fs::write(&tls.files.key, &new.1).unwrap();
        write_at(&tls.files.cert, "", renewed);
        assert_eq!(look(), ("2030".to_owned(), true), "the old one holds, and it is told");
        write_at(&tls.files.cert, &new.0, renewed);
        assert_eq!(look(), ("2040".to_owned(), false));
    }

    #[test]
    fn a_new_certificate_without_its_key_is_not_what_is_served_and_says_so() {
        let home = tempfile::tempdir().unwrap();
        let tls = served(home.path(), &made(2030));
        let (old_cert, new) = (std::fs::read_to_string(&tls.files.cert).unwrap(), made(2040));
        let before = tls.files.state()[0].unwrap();
        let config = tls.acceptor().config().clone();
        write_at(&tls.files.cert, &new.0, before + Duration::from_secs(60));
        let now = tls.served();
        assert_eq!(year(&now), "2030", "not what stands in the file");
        let why = now.unused.unwrap().to_string();
        assert!(why.contains("tls_key") && why.contains("does not fit tls_cert"), "{why}");
        assert!(Arc::ptr_eq(tls.acceptor().config(), &config));
        // The old one put back is no fault any more.
        write_at(&tls.files.cert, &old_cert, before);
        assert_eq!(tls.served().unused, None);
    }
}
