//! `accounts.db` on disk. Format 1 held tokens alone; format 2 has users, sessions and revoked crew links.
//!
//! No secret is in it as it was given: tokens and cookies stand as SHA-256 (they are random, 160 and 256 bits),
//! passwords as argon2id.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, TransactionBehavior};

/// What this version writes.
pub(super) const FORMAT: i64 = 2;

const FORMAT_1: &str = "
CREATE TABLE token (
    hash BLOB PRIMARY KEY,          -- SHA-256 of the token
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    zone TEXT,
    created_at INTEGER NOT NULL     -- ms UTC
) STRICT;
";

const FORMAT_2: &str = "
ALTER TABLE token ADD COLUMN kiosk INTEGER NOT NULL DEFAULT 0;  -- 1: for a wall, by GET /kiosk/TOKEN
CREATE TABLE user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    zone TEXT,                      -- none: every zone
    password TEXT NOT NULL,         -- argon2id, as $argon2id$...
    active INTEGER NOT NULL,        -- 0: locked
    epoch INTEGER NOT NULL,         -- one more with each change of password, role, zone, lock: older sessions are void
    created_at INTEGER NOT NULL,    -- ms UTC, like all times here
    last_login INTEGER
) STRICT;
CREATE TABLE session (
    hash BLOB PRIMARY KEY,          -- SHA-256 of the cookie
    user TEXT NOT NULL,
    epoch INTEGER NOT NULL,         -- of the user when it was made
    address TEXT NOT NULL,          -- where from; remembered for lock-outs after it has ended
    made_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,       -- within 5 min
    ended_at INTEGER                -- signed out
) STRICT;
CREATE INDEX session_by_user ON session (user, address);
CREATE TABLE revoked_link (
    incident TEXT NOT NULL,         -- empty: every incident
    who TEXT NOT NULL,              -- crew; empty: everybody
    at INTEGER NOT NULL,            -- links made up to then are void
    PRIMARY KEY (incident, who)
) STRICT;
";

/// Opens `accounts.db`, makes it, or brings it up.
///
/// # Errors
/// A newer format is refused and left alone.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let doing = || format!("opening accounts {}", path.display());
    let is_new = !path.exists();
    let mut connection = Connection::open(path).with_context(doing)?;
    if is_new {
        // Before anything is in it; its -wal and -shm take over the mode.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(doing)?;
    }
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL").with_context(doing)?;
    // A revoked link and a locked user stay so after a power cut.
    connection.pragma_update(None, "synchronous", "FULL").with_context(doing)?;
    // Asked first without a lock: the usual case writes nothing.
    if format_of(&connection).with_context(doing)? == FORMAT {
        return Ok(connection);
    }
    let bringing_up = || format!("bringing {} to format {FORMAT}", path.display());
    // Another process may do the same: who comes second finds it done.
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).with_context(doing)?;
    match format_of(&step).with_context(doing)? {
        0 => step.execute_batch(&format!("{FORMAT_1}{FORMAT_2}")).with_context(bringing_up)?,
        1 => step.execute_batch(FORMAT_2).with_context(bringing_up)?,
        FORMAT => {}
        found => bail!(
            "{}: format {found}, this version reads up to {FORMAT}; use the newer lampguard",
            path.display()
        ),
    }
    step.pragma_update(None, "user_version", FORMAT).with_context(bringing_up)?;
    step.commit().with_context(bringing_up)?;
    Ok(connection)
}

fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_u1_accounts_of_format_1_are_brought_up_with_their_tokens() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("accounts.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&format!("{FORMAT_1} PRAGMA user_version = 1;")).unwrap();
        let sql = "INSERT INTO token VALUES (?1, 'duty', 'desk', NULL, 7)";
        old.execute(sql, [crate::accounts::hash("an old token")]).unwrap();
        drop(old);
        for _ in 0..2 {
            let new = open(&path).unwrap();
            assert_eq!(format_of(&new).unwrap(), FORMAT);
            let token = new.query_row("SELECT role, name, kiosk FROM token", [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            });
            assert_eq!(token.unwrap(), ("duty".to_owned(), "desk".to_owned(), 0));
            let users: i64 = new.query_row("SELECT count(*) FROM user", [], |row| row.get(0)).unwrap();
            assert_eq!(users, 0);
            let accounts = crate::accounts::Accounts::open(home.path()).unwrap();
            let who = accounts.token("an old token").unwrap();
            assert_eq!((who.role, who.name.as_str()), (crate::tokens::Role::Duty, "desk"));
        }
    }

    #[test]
    fn fault_u2_accounts_of_a_newer_format_are_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("accounts.db");
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99;").unwrap();
        let refused = open(&path).unwrap_err().to_string();
        assert!(refused.contains("format 99") && refused.contains("newer"), "{refused}");
        assert_eq!(format_of(&Connection::open(&path).unwrap()).unwrap(), 99);
    }
}
