//! Roles, whom a request comes from, and API tokens: random, shown once, kept as hashes. Made beside a running
//! instance and valid at once.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lampguard_model::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::UsageError;
use crate::accounts::{Accounts, hash, random_hex, same};

/// What somebody may do.
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
    /// Another node: hands over readings of posts that this one owns, and nothing else.
    Node,
}

const ROLES: [(Role, &str); 6] = [
    (Role::Viewer, "viewer"),
    (Role::Duty, "duty"),
    (Role::Crew, "crew"),
    (Role::Engineer, "engineer"),
    (Role::Admin, "admin"),
    (Role::Node, "node"),
];

impl Role {
    pub(crate) fn name(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("viewer", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }
}

/// By which way a request was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The running instance's own token.
    Local,
    /// `Authorization: Bearer`.
    Token,
    /// A cookie of somebody who signed in. A POST needs the CSRF token.
    Session,
    /// The cookie of a wall.
    Kiosk,
    /// A crew link: this incident and no other.
    CrewLink(Arc<str>),
}

/// Whom a request comes from. After admission every handler finds it in the extensions, whichever way it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) role: Role,
    /// Name of the user, the token, or the crew of a link: who acts.
    pub(crate) name: String,
    /// The only zone it acts in; none: every zone.
    pub(crate) zone: Option<String>,
    pub(crate) by: By,
}

impl Identity {
    /// Everybody sees every zone; a scope says where somebody acts.
    pub(crate) fn acts_in(&self, zone: &str) -> bool {
        self.zone.as_deref().is_none_or(|own| own == zone)
    }

    /// Phone numbers are for the office, and for a crew in its own zone.
    pub(crate) fn sees_phones_of(&self, zone: &str) -> bool {
        self.role != Role::Viewer && self.acts_in(zone)
    }
}

/// One line of `token list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenView {
    /// First 8 hex digits of its hash.
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) zone: Option<String>,
    pub(crate) kiosk: bool,
    pub(crate) created_at: Timestamp,
}

/// Hex digits of a hash that name a token.
const ID_LENGTH: usize = 8;

impl Accounts {
    /// Makes the token by which local commands talk to this process.
    pub(crate) fn make_local(&mut self) -> String {
        let token = random_hex::<20>();
        self.local = Some(hash(&token));
        token
    }

    /// Makes a token of 160 random bits and returns it; it cannot be shown again.
    pub(crate) fn create_token(
        &self,
        role: Role,
        name: &str,
        zone: Option<&str>,
        kiosk: bool,
        now: Timestamp,
    ) -> Result<String> {
        if role == Role::Crew && zone.is_none() {
            bail!(UsageError("a crew's token needs its zone: --zone Z".to_owned()));
        }
        if kiosk && role != Role::Viewer {
            bail!(UsageError(format!(
                "a wall only looks: --kiosk goes with --role viewer, not {}",
                role.name()
            )));
        }
        let token = random_hex::<20>();
        let sql =
            "INSERT INTO token (hash, role, name, zone, created_at, kiosk) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![hash(&token), role.name(), name, zone, now.0, kiosk];
        self.writer().execute(sql, values).context("keeping the token")?;
        Ok(token)
    }

    /// Whom a token stands for.
    pub(crate) fn token(&self, token: &str) -> Option<Identity> {
        let hash = hash(token);
        if self.local.is_some_and(|local| same(&local, &hash)) {
            return Some(Identity { role: Role::Admin, name: "local".to_owned(), zone: None, by: By::Local });
        }
        let (role, name, zone, kiosk) = self.stored_token(&hash)?;
        let by = if kiosk { By::Kiosk } else { By::Token };
        Some(Identity { role: Role::from_name(&role)?, name, zone, by })
    }

    /// Whom the cookie of a wall stands for.
    pub(crate) fn kiosk(&self, token: &str) -> Option<Identity> {
        self.token(token).filter(|who| who.by == By::Kiosk)
    }

    fn stored_token(&self, hash: &[u8; 32]) -> Option<(String, String, Option<String>, bool)> {
        let connection = self.reader();
        let sql = "SELECT role, name, zone, kiosk FROM token WHERE hash = ?1";
        let mut statement = connection.prepare_cached(sql).ok()?;
        let found = statement
            .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional();
        found.ok().flatten()
    }

    /// Every token, oldest first.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenView>> {
        let connection = self.reader();
        let sql = "SELECT substr(lower(hex(hash)), 1, ?1), role, name, zone, kiosk, created_at FROM token
                   ORDER BY created_at, hash";
        let mut statement = connection.prepare(sql).context("reading tokens")?;
        let rows = statement.query_map([ID_LENGTH as i64], |row| {
            Ok(TokenView {
                id: row.get(0)?,
                role: row.get(1)?,
                name: row.get(2)?,
                zone: row.get(3)?,
                kiosk: row.get(4)?,
                created_at: Timestamp(row.get(5)?),
            })
        });
        rows.and_then(Iterator::collect).context("reading tokens")
    }

    /// Makes a token void.
    pub(crate) fn remove_token(&self, id: &str) -> Result<()> {
        let sql = "DELETE FROM token WHERE substr(lower(hex(hash)), 1, ?1) = ?2";
        let removed =
            self.writer().execute(sql, params![ID_LENGTH as i64, id]).context("removing the token")?;
        if removed == 0 {
            bail!(UsageError(format!("there is no token {id:?}; `lampguard token list` shows them")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(0);

    #[test]
    fn a_token_made_beside_a_running_instance_is_valid_at_once_and_void_when_removed() {
        let home = tempfile::tempdir().unwrap();
        let running = Accounts::open(home.path()).unwrap();
        let beside = Accounts::open(home.path()).unwrap();
        let token = beside.create_token(Role::Crew, "一班", Some("z1"), false, T).unwrap();
        assert_eq!(token.len(), 40);
        let who = running.token(&token).unwrap();
        assert_eq!((who.role, who.name.as_str(), who.zone.as_deref()), (Role::Crew, "一班", Some("z1")));
        assert!(who.acts_in("z1") && !who.acts_in("z2") && !who.sees_phones_of("z2"));
        assert_eq!(running.token("0000"), None);
        assert_eq!(running.kiosk(&token), None);
        assert!(beside.create_token(Role::Crew, "x", None, false, T).is_err());
        let listed = beside.tokens().unwrap();
        assert_eq!((listed.len(), listed[0].name.as_str()), (1, "一班"));
        beside.remove_token(&listed[0].id).unwrap();
        assert_eq!(running.token(&token), None);
        assert!(beside.remove_token(&listed[0].id).is_err());
    }

    #[test]
    fn a_kiosk_token_only_looks() {
        let home = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(home.path()).unwrap();
        assert!(accounts.create_token(Role::Duty, "wall", None, true, T).is_err());
        let token = accounts.create_token(Role::Viewer, "wall", None, true, T).unwrap();
        let who = accounts.kiosk(&token).unwrap();
        assert_eq!((who.role, who.by), (Role::Viewer, By::Kiosk));
        assert!(!accounts.token(&token).unwrap().sees_phones_of("z1"));
    }

    #[test]
    fn the_local_token_dies_with_its_process() {
        let home = tempfile::tempdir().unwrap();
        let mut running = Accounts::open(home.path()).unwrap();
        let token = running.make_local();
        assert_eq!(running.token(&token).unwrap().role, Role::Admin);
        assert_eq!(Accounts::open(home.path()).unwrap().token(&token), None);
    }
}
