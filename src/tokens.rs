//! API tokens: random, shown once, kept as hashes. Made beside a running instance and valid at once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// What a token's owner may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Look, without phone numbers.
    Viewer,
    /// Night duty: readings, weather, all moves, planned work.
    Duty,
    /// A repair crew of one zone: its moves there, readings.
    Crew,
    /// Look, send readings and weather, read the quarantine again.
    Engineer,
    /// Everything.
    Admin,
}

const ROLES: [(Role, &str); 5] = [
    (Role::Viewer, "viewer"),
    (Role::Duty, "duty"),
    (Role::Crew, "crew"),
    (Role::Engineer, "engineer"),
    (Role::Admin, "admin"),
];

impl Role {
    pub(crate) fn name(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("viewer", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }
}

/// Whom a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) zone: Option<String>,
}

impl Identity {
    /// Phone numbers are for the office, and for a crew in its own zone.
    pub(crate) fn sees_phones_of(&self, zone: &str) -> bool {
        match self.role {
            Role::Viewer => false,
            Role::Crew => self.zone.as_deref() == Some(zone),
            Role::Duty | Role::Engineer | Role::Admin => true,
        }
    }
}

const SCHEMA: &str = "
CREATE TABLE token (
    hash BLOB PRIMARY KEY,          -- SHA-256 of the token
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    zone TEXT,
    created_at INTEGER NOT NULL     -- ms UTC
) STRICT;
PRAGMA user_version = 1;
";

/// The tokens of one data directory.
pub(crate) struct Tokens {
    connection: Mutex<Connection>,
    /// The running instance's own token; never on disk as a hash, gone with the process.
    local: Option<[u8; 32]>,
}

impl Tokens {
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let path: PathBuf = data_dir.join("accounts.db");
        let doing = || format!("opening tokens {}", path.display());
        let connection = Connection::open(&path).with_context(doing)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL").with_context(doing)?;
        match connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            .with_context(doing)?
        {
            0 => connection.execute_batch(&format!("BEGIN;{SCHEMA}COMMIT;")).with_context(doing)?,
            1 => {}
            found => bail!(
                "{}: format {found}, this version reads up to 1; use the newer lampguard",
                path.display()
            ),
        }
        Ok(Self { connection: Mutex::new(connection), local: None })
    }

    /// Makes the token by which local commands talk to this process.
    pub(crate) fn make_local(&mut self) -> String {
        let token = random_token();
        self.local = Some(hash(&token));
        token
    }

    /// Makes a token and returns it; it cannot be shown again.
    pub(crate) fn create(&self, role: Role, name: &str, zone: Option<&str>, now_ms: i64) -> Result<String> {
        if role == Role::Crew && zone.is_none() {
            bail!("a crew's token needs its zone: --zone Z");
        }
        let token = random_token();
        let values = params![hash(&token), role.name(), name, zone, now_ms];
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection
            .execute("INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5)", values)
            .context("keeping the token")?;
        Ok(token)
    }

    /// Whom a token stands for.
    pub(crate) fn check(&self, token: &str) -> Option<Identity> {
        let hash = hash(token);
        if self.local == Some(hash) {
            return Some(Identity { role: Role::Admin, name: "local".to_owned(), zone: None });
        }
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT role, name, zone FROM token WHERE hash = ?1";
        let found = connection.prepare_cached(sql).and_then(|mut statement| {
            statement
                .query_row([hash], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        });
        let (role, name, zone) = found.ok().flatten()?;
        Some(Identity { role: Role::from_name(&role)?, name, zone })
    }
}

/// 160 random bits as 40 hex digits.
fn random_token() -> String {
    let bytes: [u8; 20] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_made_beside_a_running_instance_is_valid_at_once() {
        let home = tempfile::tempdir().unwrap();
        let running = Tokens::open(home.path()).unwrap();
        let beside = Tokens::open(home.path()).unwrap();
        let token = beside.create(Role::Crew, "一班", Some("z1"), 0).unwrap();
        assert_eq!(token.len(), 40);
        let who = running.check(&token).unwrap();
        assert_eq!((who.role, who.name.as_str(), who.zone.as_deref()), (Role::Crew, "一班", Some("z1")));
        assert_eq!(running.check("0000"), None);
        assert!(beside.create(Role::Crew, "x", None, 0).is_err());
    }

    #[test]
    fn the_local_token_dies_with_its_process() {
        let home = tempfile::tempdir().unwrap();
        let mut running = Tokens::open(home.path()).unwrap();
        let token = running.make_local();
        assert_eq!(running.check(&token).unwrap().role, Role::Admin);
        assert_eq!(Tokens::open(home.path()).unwrap().check(&token), None);
    }
}
