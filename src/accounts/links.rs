//! The key file of crew links, and which links were taken back.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use lampguard_alerting::links::{Claims, Keys, LinkError};
use lampguard_model::{Millis, Timestamp};
use rusqlite::{OptionalExtension, params};
use tracing::{error, info, warn};

use super::Accounts;
use crate::UsageError;

/// Revocations that are older count for no link that could still be good.
const REVOKED_FOR: Millis = Millis::hours(24 * 4);

/// Keys of crew links: one file, read again when it changes.
pub(crate) struct LinkKeys {
    path: PathBuf,
    kept: Mutex<(Option<SystemTime>, Keys)>,
}

impl LinkKeys {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("links.key"), kept: Mutex::default() }
    }

    /// Makes the first key where there is none. An instance that starts has one.
    pub(crate) fn ensure(&self, now: Timestamp) -> Result<()> {
        if !self.path.exists() {
            return self.rotate(now);
        }
        let keys = self.read()?;
        if keys.is_empty() {
            return self.rotate(now);
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = (self.modified(), keys);
        Ok(())
    }

    /// Signs with a new key from now on; links that are out stay good until they expire.
    pub(crate) fn rotate(&self, now: Timestamp) -> Result<()> {
        let mut keys = if self.path.exists() { self.read()? } else { Keys::default() };
        if !keys.rotate(rand::random(), now) {
            bail!(UsageError(format!(
                "{} holds {} keys whose links are still good; rotate again when two days have passed",
                self.path.display(),
                keys.len()
            )));
        }
        self.write(&keys)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = (self.modified(), keys);
        Ok(())
    }

    /// Forgets every key: no link that is out opens anything any more.
    pub(crate) fn replace(&self, now: Timestamp) -> Result<()> {
        let mut keys = Keys::default();
        keys.rotate(rand::random(), now);
        self.write(&keys)
    }

    fn write(&self, keys: &Keys) -> Result<()> {
        let doing = || format!("writing the keys of crew links to {}", self.path.display());
        let new = self.path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).with_context(doing)?;
        file.write_all(keys.to_text().as_bytes()).and_then(|()| file.sync_all()).with_context(doing)?;
        std::fs::rename(&new, &self.path).with_context(doing)
    }

    fn read(&self) -> Result<Keys> {
        let doing = || format!("reading the keys of crew links from {}", self.path.display());
        let text = std::fs::read_to_string(&self.path).with_context(doing)?;
        Keys::from_text(&text).with_context(doing)
    }

    fn modified(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok()
    }

    fn with<T>(&self, work: impl FnOnce(&Keys) -> T) -> T {
        let modified = self.modified();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if modified.is_some() && kept.0 != modified {
            match self.read() {
                Ok(keys) => {
                    info!(keys = keys.len(), "keys of crew links read again");
                    kept.1 = keys;
                }
                Err(e) => error!(error = format!("{e:#}"), "keys of crew links changed: the old ones hold"),
            }
            kept.0 = modified;
        }
        work(&kept.1)
    }

    /// The token of a link; none, with a warning, when it cannot be made.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        match self.with(|keys| keys.sign(claims)) {
            Ok(token) => Some(token),
            Err(e) => {
                warn!(error = %e, "a notice goes out without a crew link");
                None
            }
        }
    }

    /// What a token says, if it is ours, whole, and not expired.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Claims, LinkError> {
        self.with(|keys| keys.check(token, now))
    }
}

/// Id of the crew, out of (id, name), that has this id or name.
pub(crate) fn crew_id<'c>(
    mut crews: impl Iterator<Item = (&'c str, &'c str)> + Clone,
    named: &str,
) -> Option<&'c str> {
    let by_id = crews.clone().find(|(id, _)| *id == named);
    by_id.or_else(|| crews.find(|(_, name)| *name == named)).map(|(id, _)| id)
}

impl Accounts {
    /// What a link says, if it opens something: ours, whole, not expired, not taken back. A store that cannot be read
    /// takes nothing back: a crew at a live post comes first.
    pub(crate) fn check_link(&self, token: &str, now: Timestamp) -> Result<Claims, LinkError> {
        let claims = self.links.check(token, now)?;
        match self.is_revoked(&claims) {
            Ok(true) => Err(LinkError::Revoked),
            Ok(false) => Ok(claims),
            Err(e) => {
                error!(error = %e, "revoked crew links cannot be read: none counts as revoked");
                Ok(claims)
            }
        }
    }

    fn is_revoked(&self, claims: &Claims) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM revoked_link
                   WHERE incident IN ('', ?1) AND who IN ('', ?2) AND at >= ?3 LIMIT 1";
        let connection = self.reader();
        let mut statement = connection.prepare_cached(sql)?;
        let values = params![&*claims.incident, &*claims.who, claims.made_at().0];
        Ok(statement.query_row(values, |_| Ok(())).optional()?.is_some())
    }

    /// Takes back the links of an incident, of a crew, or of a crew for an incident, that were made up to now.
    pub(crate) fn revoke_links(
        &self,
        incident: Option<&str>,
        who: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let (incident, who) = (incident.unwrap_or_default(), who.unwrap_or_default());
        if incident.is_empty() && who.is_empty() {
            bail!(UsageError("name an incident, a crew, or both".to_owned()));
        }
        let mut connection = self.writer();
        let doing = "taking back crew links";
        let step = connection.transaction().context(doing)?;
        step.execute("DELETE FROM revoked_link WHERE at < ?1", [(now - REVOKED_FOR).0]).context(doing)?;
        let sql = "INSERT INTO revoked_link (incident, who, at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (incident, who) DO UPDATE SET at = max(at, excluded.at)";
        step.execute(sql, params![incident, who, now.0]).context(doing)?;
        step.commit().context(doing)?;
        info!(incident, who, "crew links were taken back");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use lampguard_alerting::links::LIFE_MAX;

    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn claims(incident: &str, who: &str, made_at: Timestamp) -> Claims {
        Claims { incident: Arc::from(incident), who: Arc::from(who), expires: made_at + LIFE_MAX }
    }

    #[test]
    fn keys_are_for_their_owner_alone_and_survive_a_restart_and_a_rotation_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let running = Accounts::open(home.path()).unwrap();
        assert_eq!(running.links.sign(&claims("LG-A", "c1", T)), None, "before the start");
        running.links.ensure(T).unwrap();
        let mode = std::fs::metadata(home.path().join("links.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = running.links.sign(&claims("LG-A", "c1", T)).unwrap();
        let beside = Accounts::open(home.path()).unwrap();
        beside.links.ensure(T).unwrap();
        assert!(beside.check_link(&token, T).is_ok());
        std::thread::sleep(std::time::Duration::from_millis(20));
        beside.links.rotate(T).unwrap();
        let new = running.links.sign(&claims("LG-A", "c1", T)).unwrap();
        assert_ne!(new, token, "the running instance signs with the new key");
        assert!(running.check_link(&token, T).is_ok() && beside.check_link(&new, T).is_ok());
        std::thread::sleep(std::time::Duration::from_millis(20));
        beside.links.replace(T).unwrap();
        assert_eq!(running.check_link(&token, T), Err(LinkError::Changed));
        std::fs::write(home.path().join("links.key"), "nonsense").unwrap();
        assert!(running.links.sign(&claims("LG-A", "c1", T)).is_some(), "the old ones hold");
        assert!(Accounts::open(home.path()).unwrap().links.ensure(T).is_err());
    }

    #[test]
    fn a_link_that_is_taken_back_opens_nothing_and_one_made_later_does() {
        let home = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(home.path()).unwrap();
        accounts.links.ensure(T).unwrap();
        let token = |incident: &str, who: &str, made_at| {
            accounts.links.sign(&claims(incident, who, made_at)).unwrap()
        };
        let (a1, a2, b1, b2) =
            (token("A", "1", T), token("A", "2", T), token("B", "1", T), token("B", "2", T));
        let now = T + Millis::minutes(1);
        let good = |token: &String| accounts.check_link(token, now).is_ok();
        Accounts::open(home.path()).unwrap().revoke_links(Some("A"), Some("1"), now).unwrap();
        assert_eq!([&a1, &a2, &b1, &b2].map(good), [false, true, true, true]);
        assert_eq!(accounts.check_link(&a1, now), Err(LinkError::Revoked));
        accounts.revoke_links(None, Some("2"), now).unwrap();
        assert_eq!([&a1, &a2, &b1, &b2].map(good), [false, false, true, false]);
        accounts.revoke_links(Some("B"), None, now).unwrap();
        assert_eq!([&a1, &a2, &b1, &b2].map(good), [false; 4]);
        let later = token("A", "1", now + Millis::seconds(1));
        assert!(accounts.check_link(&later, now + Millis::seconds(2)).is_ok(), "a new telling, a new link");
        assert!(accounts.revoke_links(None, None, now).is_err());
    }
}
