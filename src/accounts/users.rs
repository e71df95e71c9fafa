//! Named users.

use anyhow::{Context, Result, bail};
use lampguard_model::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::{Accounts, password};
use crate::UsageError;
use crate::tokens::Role;

/// Longest name of a user, in characters.
const NAME_MAX: usize = 64;
/// Users at most.
const USERS_MAX: i64 = 1000;
/// Name of the user that the first start makes.
pub(crate) const FIRST: &str = "admin";

/// One line of `user list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) zone: Option<String>,
    pub(crate) active: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) last_login: Option<Timestamp>,
}

/// What a sign-in needs to know.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) hash: String,
    pub(super) active: bool,
    pub(super) epoch: i64,
}

fn user_of(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        name: row.get(0)?,
        role: Role::from_name(&row.get::<_, String>(1)?).unwrap_or(Role::Viewer),
        zone: row.get(2)?,
        active: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        last_login: row.get::<_, Option<i64>>(5)?.map(Timestamp),
    })
}

fn check_name(name: &str) -> Result<&str> {
    let trimmed = name.trim();
    if trimmed.is_empty() || trimmed.chars().count() > NAME_MAX || trimmed.chars().any(char::is_control) {
        bail!(UsageError(format!("{name:?} is no name of a user: 1 to {NAME_MAX} characters on one line")));
    }
    Ok(trimmed)
}

fn check_scope(role: Role, zone: Option<&str>) -> Result<()> {
    if role == Role::Crew && zone.is_none() {
        bail!(UsageError("a crew works in its own zone: --zone Z".to_owned()));
    }
    if role == Role::Node {
        bail!(UsageError("a node signs in nowhere: lampguard token create --role node".to_owned()));
    }
    Ok(())
}

impl Accounts {
    /// Makes a user.
    ///
    /// # Errors
    /// Name, password or zone that are not taken; a name that is there, however it is written.
    pub(crate) fn add_user(
        &self,
        name: &str,
        role: Role,
        zone: Option<&str>,
        password: &str,
        now: Timestamp,
    ) -> Result<()> {
        let name = check_name(name)?;
        check_scope(role, zone)?;
        password::check_rules(name, password).map_err(|weak| UsageError(weak.to_string()))?;
        let users = self.users()?;
        if let Some(user) = users.iter().find(|user| user.name.to_lowercase() == name.to_lowercase()) {
            bail!(UsageError(format!(
                "user {} is there already; `user password` changes its password",
                user.name
            )));
        }
        if users.len() as i64 >= USERS_MAX {
            bail!(UsageError(format!("there are {USERS_MAX} users already; remove some")));
        }
        let hash = password::hash(password)?;
        let values = params![name, role.name(), zone, hash, now.0];
        let sql = "INSERT INTO user (name, role, zone, password, active, epoch, created_at)
                   VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5)";
        // The first epoch is the moment: sessions of a removed user are none of its namesake.
        self.writer().execute(sql, values).with_context(|| format!("keeping user {name}"))?;
        Ok(())
    }

    /// Makes `admin` with a random password where there is no user at all, and returns the password.
    pub(crate) fn first_user(&self, now: Timestamp) -> Result<Option<String>> {
        if !self.users()?.is_empty() {
            return Ok(None);
        }
        let password = password::random();
        self.add_user(FIRST, Role::Admin, None, &password, now)?;
        Ok(Some(password))
    }

    /// Every user, by name.
    pub(crate) fn users(&self) -> Result<Vec<User>> {
        let connection = self.reader();
        let sql = "SELECT name, role, zone, active, created_at, last_login FROM user ORDER BY name";
        let mut statement = connection.prepare(sql).context("reading users")?;
        let users = statement.query_map([], user_of).and_then(Iterator::collect);
        users.context("reading users")
    }

    /// The user of that name, however it is written.
    pub(super) fn known_user(&self, name: &str) -> rusqlite::Result<Option<Known>> {
        let connection = self.reader();
        let sql = "SELECT name, password, active, epoch FROM user WHERE name = ?1 COLLATE NOCASE";
        let mut statement = connection.prepare_cached(sql)?;
        let known = |row: &Row<'_>| {
            Ok(Known { name: row.get(0)?, hash: row.get(1)?, active: row.get(2)?, epoch: row.get(3)? })
        };
        statement.query_row([name.trim()], known).optional()
    }

    /// Another password; every session of the user ends.
    pub(crate) fn set_password(&self, name: &str, password: &str) -> Result<()> {
        password::check_rules(name, password).map_err(|weak| UsageError(weak.to_string()))?;
        self.change(name, "password = ?2", &[&password::hash(password)?])
    }

    /// Locks a user, or lets it in again; every session of it ends.
    pub(crate) fn set_active(&self, name: &str, active: bool) -> Result<()> {
        self.change(name, "active = ?2", &[&active])
    }

    /// Another role or zone; every session of the user ends.
    pub(crate) fn set_role(&self, name: &str, role: Role, zone: Option<&str>) -> Result<()> {
        check_scope(role, zone)?;
        self.change(name, "role = ?2, zone = ?3", &[&role.name(), &zone])
    }

    fn change(&self, name: &str, what: &str, values: &[&dyn rusqlite::ToSql]) -> Result<()> {
        let sql = format!("UPDATE user SET {what}, epoch = epoch + 1 WHERE name = ?1 COLLATE NOCASE");
        let name = check_name(name)?;
        let mut all: Vec<&dyn rusqlite::ToSql> = vec![&name];
        all.extend(values);
        let changed = self.writer().execute(&sql, &*all);
        if changed.with_context(|| format!("changing user {name}"))? == 0 {
            bail!(UsageError(format!("there is no user {name:?}; `lampguard user list` shows them")));
        }
        Ok(())
    }

    /// Removes a user and its sessions.
    pub(crate) fn remove_user(&self, name: &str) -> Result<()> {
        // Raises the epoch first: sessions that only memory holds end too.
        self.change(name, "active = ?2", &[&false])?;
        let mut connection = self.writer();
        let doing = || format!("removing user {name}");
        let step = connection.transaction().with_context(doing)?;
        let sql = "DELETE FROM session WHERE user = ?1 COLLATE NOCASE";
        step.execute(sql, [name.trim()]).with_context(doing)?;
        step.execute("DELETE FROM user WHERE name = ?1 COLLATE NOCASE", [name.trim()]).with_context(doing)?;
        step.commit().with_context(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn users_are_made_listed_locked_changed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(home.path()).unwrap();
        accounts.add_user("值班一", Role::Duty, None, "rain on the river", T).unwrap();
        accounts.add_user("c1", Role::Crew, Some("z1"), "rain on the river", T).unwrap();
        let refused = |name: &str, role, zone, password: &str| {
            accounts.add_user(name, role, zone, password, T).unwrap_err().to_string()
        };
        assert!(refused("C1", Role::Duty, None, "rain on the river").contains("there already"));
        assert!(refused("c2", Role::Crew, None, "rain on the river").contains("--zone"));
        assert!(refused("c2", Role::Duty, None, "short").contains("10 characters"));
        assert!(refused("", Role::Duty, None, "rain on the river").contains("no name"));
        assert!(refused("a\nb", Role::Duty, None, "rain on the river").contains("no name"));
        accounts.set_active("C1", false).unwrap();
        accounts.set_role("值班一", Role::Engineer, Some("z2")).unwrap();
        let users = accounts.users().unwrap();
        let line = |user: &User| (user.name.clone(), user.role, user.zone.clone(), user.active);
        let expected = [
            ("c1".to_owned(), Role::Crew, Some("z1".to_owned()), false),
            ("值班一".to_owned(), Role::Engineer, Some("z2".to_owned()), true),
        ];
        assert_eq!(users.iter().map(line).collect::<Vec<_>>(), expected);
        assert_eq!((users[0].created_at, users[0].last_login), (T, None));
        assert!(accounts.set_active("nobody", true).unwrap_err().to_string().contains("no user"));
        accounts.remove_user("c1").unwrap();
        assert_eq!(accounts.users().unwrap().len(), 1);
    }

    #[test]
    fn the_first_user_is_made_once() {
        let home = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(home.path()).unwrap();
        let password = accounts.first_user(T).unwrap().unwrap();
        assert_eq!(accounts.first_user(T).unwrap(), None);
        let known = accounts.known_user("ADMIN").unwrap().unwrap();
        assert!(password::verify(&password, Some(&known.hash)) && known.active);
        assert!(!known.hash.contains(&password));
    }
}
