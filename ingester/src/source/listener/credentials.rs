//! Who may log in to the listener, and where they may publish.
//!
//! One line each: `user:secret:topic filter`. The secret is the SHA-256 (64 hex digits) of a random token of
//! 128 bits or more, or an argon2 hash (`$argon2id$…`, at most 64 MiB) of a chosen password, or one of two words for the certificate of
//! that name: `certificate` (it opens this line, no password does) and `revoked` (nothing does). Without a filter the
//! user speaks for its own post only: it publishes below `lamp/+/USER/#`, and its payloads name no other device. Lines
//! that begin with `#` are comments.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use lampguard_model::wire;
use sha2::{Digest, Sha256};

/// Passwords whose argon2 check passed, kept so that a reconnecting herd does not pay for it again.
const VERIFIED_MAX: usize = 10_000;
/// A file that changed and cannot be read is tried again so often, when somebody logs in.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Most memory that a hash of the file may ask for, KiB: two such checks run at a time.
const MEMORY_MAX_KIB: u32 = 64 << 10;
/// Room for one check, in argon2's blocks of 1 KiB: more than 32 MiB, of which only what the hash needs is ever touched.
/// glibc maps so large a piece by itself and gives it back whole; a smaller one stays with each thread that ever checked a
/// password. `src/accounts/password.rs` does the same: crates that never name one another each have their few lines.
const PIECE: usize = (33 << 20) / Block::SIZE;

#[derive(Debug, Clone)]
enum Secret {
    Token([u8; 32]),
    Password(String),
    /// Only by its certificate.
    Certificate,
    /// Neither by a certificate nor by a password.
    Revoked,
}

#[derive(Debug)]
struct User {
    secret: Secret,
    scope: Scope,
}

/// What a user may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Where it may publish.
    pub filter: String,
    /// It has no filter of its own: its payloads name no device but the one of their topic.
    pub alone: bool,
}

impl Scope {
    /// That of a sensor which speaks for its own post.
    pub(crate) fn own(name: &str) -> Self {
        Self { filter: format!("lamp/+/{name}/#"), alone: true }
    }
}

/// What is known of a login without argon2.
#[derive(Debug)]
pub(crate) enum Looked {
    Right(Scope),
    Wrong,
    /// A chosen password that was not right before: its hash, and what it opens.
    Unverified(String, Scope),
}

/// A credentials file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not readable.
    #[error("reading credentials {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lines that are none.
    #[error("credentials {}: {}", path.display(), faults.join("; "))]
    Lines {
        /// The file.
        path: PathBuf,
        /// Every fault with its line.
        faults: Vec<String>,
    },
}

/// The users of a listener. Read again when the file changes.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    /// And when the file was written from which they were read.
    users: RwLock<(Option<SystemTime>, HashMap<String, User>)>,
    /// When a file was written that could not be read, and when that was tried last.
    unread: Mutex<Option<(Option<SystemTime>, Instant)>>,
    verified: Mutex<HashMap<[u8; 32], ()>>,
}

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    /// [`CredentialsError`] with every bad line at once.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let users = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            users: RwLock::new((modified(path), users)),
            unread: Mutex::default(),
            verified: Mutex::default(),
        })
    }

    /// What a user whose secret is right may say. May take some 20 ms for a chosen password.
    pub fn check(&self, user: &str, secret: &[u8]) -> Option<Scope> {
        match self.look(user, secret) {
            Looked::Right(scope) => Some(scope),
            Looked::Wrong => None,
            Looked::Unverified(hash, scope) => self.check_password(&hash, secret).then_some(scope),
        }
    }

    /// What can be said without argon2: of tokens all, of chosen passwords that they were right before.
    pub(crate) fn look(&self, user: &str, secret: &[u8]) -> Looked {
        self.refresh();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let Some(User { secret: known, scope }) = users.1.get(user) else {
            return Looked::Wrong;
        };
        match known {
            Secret::Token(hash) if same(hash, &Sha256::digest(secret)) => Looked::Right(scope.clone()),
            Secret::Password(hash) if self.is_verified(&key(hash, secret)) => Looked::Right(scope.clone()),
            Secret::Password(hash) => Looked::Unverified(hash.clone(), scope.clone()),
            Secret::Token(_) | Secret::Certificate | Secret::Revoked => Looked::Wrong,
        }
    }

    fn is_verified(&self, key: &[u8; 32]) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// What the owner of a certificate may say: that of its line, or without one that of its own post.
    pub(crate) fn certified(&self, name: &str) -> Option<Scope> {
        self.refresh();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        match users.1.get(name) {
            Some(User { secret: Secret::Revoked, .. }) => None,
            Some(user) => Some(user.scope.clone()),
            None => Some(Scope::own(name)),
        }
    }

    fn check_password(&self, hash: &str, password: &[u8]) -> bool {
        let key = key(hash, password);
        // Another connection may have asked the same while this one waited for its turn.
        if self.is_verified(&key) {
            return true;
        }
        let right = verify(password, hash);
        if right {
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
            verified.insert(key, ());
        }
        right
    }

    /// What could not be read is tried again after a pause: that somebody mended its rights changes no time of the file.
    fn refresh(&self) {
        let now = modified(&self.path);
        let is_known = || self.users.read().unwrap_or_else(PoisonError::into_inner).0 == now;
        if is_known() {
            return;
        }
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = unread.filter(|(file, _)| *file == now).map(|(_, at)| at);
        // Another connection may have read it while this one waited for its turn.
        if is_known() || tried.is_some_and(|at| at.elapsed() < TRY_AGAIN) {
            return;
        }
        match read(&self.path) {
            Ok(users) => {
                tracing::info!(users = users.len(), "credentials read again");
                *self.users.write().unwrap_or_else(PoisonError::into_inner) = (now, users);
                *unread = None;
            }
            Err(e) => {
                if tried.is_none() {
                    tracing::error!(error = %e, "credentials changed and are not readable: the old ones hold");
                }
                *unread = Some((now, Instant::now()));
            }
        }
    }
}

/// By which a password that was right is known again.
fn key(hash: &str, password: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(hash.as_bytes());
    digest.update([0]);
    digest.update(password);
    digest.finalize().into()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn read(path: &Path) -> Result<HashMap<String, User>, CredentialsError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| CredentialsError::Read { path: path.to_owned(), source })?;
    let (mut users, mut faults) = (HashMap::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line) {
            Ok((name, user)) => {
                if users.insert(name.clone(), user).is_some() {
                    faults.push(format!("line {}: user {name} is there twice", number + 1));
                }
            }
            Err(reason) => faults.push(format!("line {}: {reason}", number + 1)),
        }
    }
    if faults.is_empty() { Ok(users) } else { Err(CredentialsError::Lines { path: path.to_owned(), faults }) }
}

fn parse(line: &str) -> Result<(String, User), String> {
    let mut parts = line.splitn(3, ':');
    let (name, secret) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if name.is_empty() || name.contains(['+', '#', '/']) {
        return Err("the user name is empty or has + # / in it".to_owned());
    }
    let filter = parts.next().map(str::trim).filter(|filter| !filter.is_empty());
    let scope = match filter {
        Some(filter) => Scope { filter: filter.to_owned(), alone: false },
        None => Scope::own(name),
    };
    if !wire::is_filter(&scope.filter) {
        return Err(format!("{:?} is no topic filter", scope.filter));
    }
    let secret = if secret == "certificate" {
        Secret::Certificate
    } else if secret == "revoked" {
        Secret::Revoked
    } else if secret.starts_with("$argon2") {
        readable(secret).map_err(|reason| format!("the argon2 hash of {name} is not readable: {reason}"))?;
        Secret::Password(secret.to_owned())
    } else {
        Secret::Token(hex32(secret).ok_or_else(|| {
            format!(
                "the secret of {name} is neither 64 hex digits (SHA-256 of its token) nor an argon2 hash, nor the \
                 word certificate or revoked"
            )
        })?)
    };
    Ok((name.to_owned(), User { secret, scope }))
}

/// What a check under this hash needs.
fn readable(hash: &str) -> Result<(Argon2<'static>, PasswordHash), String> {
    let parsed = PasswordHash::new(hash).map_err(|e| e.to_string())?;
    let params = Params::try_from(&parsed).map_err(|e| e.to_string())?;
    if params.m_cost() > MEMORY_MAX_KIB {
        let m = params.m_cost();
        return Err(format!("m={m} is over {MEMORY_MAX_KIB} KiB; make it with m=19456,t=2,p=1"));
    }
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|e| e.to_string())?;
    let version = parsed.version.map_or(Ok(Version::default()), Version::try_from);
    let version = version.map_err(|e| e.to_string())?;
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Err("salt or digest is missing".to_owned());
    }
    Ok((Argon2::new(algorithm, version, params), parsed))
}

/// True when the password is that of the hash. Its memory is gone again afterwards, whichever thread asks.
fn verify(password: &[u8], hash: &str) -> bool {
    let Ok((argon2, parsed)) = readable(hash) else { return false };
    let (Some(salt), Some(right)) = (&parsed.salt, &parsed.hash) else { return false };
    let mut memory = Vec::with_capacity(PIECE.max(argon2.params().block_count()));
    memory.resize(argon2.params().block_count(), Block::default());
    let mut output = vec![0; right.as_bytes().len()];
    let made = argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut output, memory);
    made.is_ok() && same(&output, right.as_bytes())
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn sha(token: &str) -> String {
        Sha256::digest(token).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    #[test]
    fn a_token_opens_its_own_topics_and_a_wrong_one_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = format!("# sensors\nP1:{}\ngateway-1:{}:lamp/z1/+/#\n", sha("secret-1"), sha("secret-2"));
        std::fs::write(file.path(), lines).unwrap();
        let credentials = Credentials::load(file.path()).unwrap();
        let scope = |filter: &str, alone| Some(Scope { filter: filter.to_owned(), alone });
        assert_eq!(credentials.check("P1", b"secret-1"), scope("lamp/+/P1/#", true));
        assert_eq!(credentials.check("gateway-1", b"secret-2"), scope("lamp/z1/+/#", false));
        assert_eq!(credentials.check("P1", b"secret-2"), None);
        assert_eq!(credentials.check("P2", b"secret-1"), None);
    }

    /// Of "correct horse", made by OpenSSL's argon2.
    const HASHES: [&str; 3] = [
        "$argon2id$v=19$m=19456,t=2,p=1$bGFtcGd1YXJkLXNhbHQxNg$qBRhcJNgr35L+oMoVnwAMnyAz/AWSqCjuJ7TgmLEgJo",
        "$argon2i$v=19$m=19456,t=2,p=1$bGFtcGd1YXJkLXNhbHQxNg$ylbk92X9GoXDqPL1R9y6Uq5Vc6+XLyOHFu4HOKgN0+g",
        "$argon2d$v=19$m=19456,t=2,p=1$bGFtcGd1YXJkLXNhbHQxNg$EvncGf6LapVjYhEbP5bN3XjeVzvGrcs4CcARr5UzstU",
    ];

    #[test]
    fn a_chosen_password_opens_under_each_kind_of_argon2_and_a_greedy_hash_is_a_fault_of_the_file() {
        for hash in HASHES {
            assert!(verify(b"correct horse", hash), "{hash}");
            assert!(!verify(b"correct hors", hash) && !verify(b"", hash), "{hash}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("gateway:{}\n", HASHES[0])).unwrap();
        let credentials = Credentials::load(file.path()).unwrap();
        let scope = credentials.check("gateway", b"correct horse");
        assert_eq!(scope.map(|scope| scope.filter), Some("lamp/+/gateway/#".to_owned()));
        assert_eq!(credentials.check("gateway", b"wrong"), None);
        let greedy = HASHES[0].replace("m=19456", "m=4000000");
        std::fs::write(file.path(), format!("gateway:{greedy}\n")).unwrap();
        let fault = Credentials::load(file.path()).unwrap_err().to_string();
        assert!(fault.contains("line 1") && fault.contains("m=4000000 is over 65536 KiB"), "{fault}");
        let bare = HASHES[0].rsplit_once('$').unwrap().0;
        std::fs::write(file.path(), format!("gateway:{bare}\n")).unwrap();
        assert!(Credentials::load(file.path()).unwrap_err().to_string().contains("digest is missing"));
    }

    #[test]
    fn a_file_that_could_not_be_read_at_one_login_is_read_at_a_later_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write_at = |text: &str, at: SystemTime| {
            std::fs::write(file.path(), text).unwrap();
            file.as_file().set_modified(at).unwrap();
        };
        let now = SystemTime::now();
        write_at(&format!("P1:{}\n", sha("old")), now);
        let credentials = Credentials::load(file.path()).unwrap();
        write_at("P1", now + Duration::from_secs(60));
        assert!(credentials.check("P1", b"old").is_some(), "the old ones hold");
        write_at(&format!("P1:{}\n", sha("new")), now + Duration::from_secs(60));
        assert!(credentials.check("P1", b"new").is_none(), "a flood of logins does not read it every time");
        credentials.unread.lock().unwrap().as_mut().unwrap().1 -= TRY_AGAIN;
        assert!(credentials.check("P1", b"new").is_some() && credentials.check("P1", b"old").is_none());
        assert!(credentials.unread.lock().unwrap().is_none());
    }

    #[test]
    fn every_bad_line_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("a:b\n+:{0}\nc:{0}:x/#/y\nd:$argon2id$zz\n", sha("t"))).unwrap();
        let faults = Credentials::load(file.path()).unwrap_err().to_string();
        for line in ["line 1", "line 2", "line 3", "line 4"] {
            assert!(faults.contains(line), "{faults}");
        }
    }
}
