//! Who may do what: users, sessions, tokens, crew links. One file, `accounts.db`, read at each request.
//!
//! | file | what it holds |
//! |---|---|
//! | `format.rs` | the tables, and how older ones are brought up |
//! | `users.rs` | named users: made, locked, removed; the first one |
//! | `password.rs` | rules, argon2id, how many are checked at once |
//! | `lockout.rs` | how long somebody waits who guessed wrong, pure |
//! | `sessions.rs` | signing in and out, what a cookie stands for, its CSRF token |
//! | `links.rs` | keys and revocations of crew links (`alerting/src/links.rs` signs and checks) |
//! | `command.rs` | `lampguard user`, `token`, `link` |
//! | `../tokens.rs` | roles, [`Identity`](crate::tokens::Identity), API tokens |
//!
//! Invariants:
//! 1. No secret is kept or logged as it was given.
//! 2. What is taken away (a user locked, a password changed, a link revoked) counts from the next request on, also
//!    when another process took it away.
//! 3. A disk that takes nothing keeps nobody from signing in: such a session lives in memory until the end.
//! 4. Reading waits for no writer: each has a connection of its own, and writing happens beside the sockets.

mod command;
mod format;
mod links;
mod lockout;
pub(crate) mod password;
mod sessions;
mod users;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

pub(crate) use command::{link, token, user};
pub(crate) use links::{LinkKeys, crew_id};
pub(crate) use lockout::line_of;
pub(crate) use sessions::{KNOWN_FOR, SignInError, csrf_of};

/// Users, sessions, tokens and revoked links of one data directory.
pub(crate) struct Accounts {
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
    /// The running instance's own token; never on disk as a hash, gone with the process.
    pub(crate) local: Option<[u8; 32]>,
    checks: password::Checks,
    lockout: Mutex<lockout::Lockout>,
    /// Sessions that the disk did not take.
    unsaved: Mutex<sessions::Unsaved>,
    pub(crate) links: LinkKeys,
}

impl Accounts {
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let path: PathBuf = data_dir.join("accounts.db");
        Ok(Self {
            writer: Mutex::new(format::open(&path)?),
            reader: Mutex::new(format::open(&path)?),
            local: None,
            checks: password::Checks::default(),
            lockout: Mutex::default(),
            unsaved: Mutex::default(),
            links: LinkKeys::new(data_dir),
        })
    }

    pub(crate) fn reader(&self) -> MutexGuard<'_, Connection> {
        lock(&self.reader)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        lock(&self.writer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands on disk for a random secret.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// So many random bytes as lower-case hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> String {
    let bytes: [u8; N] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time where the difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
