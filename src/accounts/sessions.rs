//! Signing in and out, and what a cookie stands for.
//!
//! The cookie is 256 random bits; its SHA-256 stands in `accounts.db`. The CSRF token of a session is an HMAC under the
//! cookie: whoever cannot read the cookie cannot make it, and nothing has to be kept for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use lampguard_model::{Millis, Timestamp};
use rusqlite::{OptionalExtension, params};
use sha2::Sha256;
use tracing::{info, warn};

use super::lockout::{Guess, Known, line_of};
use super::{Accounts, hash, lock, password, random_hex};
use crate::tokens::{By, Identity, Role};

/// A session that nobody used for so long is over: a duty board asks each few seconds and stays open a night.
pub(crate) const IDLE: Millis = Millis::hours(12);
/// No session is older.
pub(crate) const AGE_MAX: Millis = Millis::hours(24 * 7);
/// Use is written down at most this often.
const TOUCH: Millis = Millis::minutes(5);
/// An address from which a user signed in, and the browser, are known for so long.
pub(crate) const KNOWN_FOR: Millis = Millis::hours(24 * 30);
/// Sessions of one user, ended ones included; the oldest goes.
const PER_USER_MAX: i64 = 200;
/// Sessions that only memory holds, for want of a disk that takes them; the oldest goes.
const UNSAVED_MAX: usize = 100;

/// Not signed in. Show it, and let them try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("name or password is wrong")]
    Wrong,
    #[error("the user is locked")]
    Locked,
    #[error("too many wrong tries: wait {0} s")]
    Wait(i64),
    #[error(transparent)]
    Busy(#[from] password::Busy),
    #[error("the accounts cannot be read")]
    Unavailable,
}

/// A session as it is kept.
#[derive(Clone, Debug)]
struct Session {
    user: String,
    epoch: i64,
    made_at: Timestamp,
    seen_at: Timestamp,
}

impl Session {
    /// A clock that went back makes no session older.
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.seen_at) >= IDLE || now.since(self.made_at) >= AGE_MAX
    }
}

pub(super) type Unsaved = HashMap<[u8; 32], SessionInMemory>;

pub(super) struct SessionInMemory(Session);

/// What the forms of a session carry.
pub(crate) fn csrf_of(cookie: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(cookie.as_bytes()) else { return String::new() };
    mac.update(b"lampguard form");
    mac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Accounts {
    /// Checks name and password, and makes a session: the value of its cookie, shown to nobody else. `sent` is the cookie
    /// that the browser still has of an earlier one.
    pub(crate) async fn sign_in(
        self: &Arc<Self>,
        name: &str,
        password: String,
        address: IpAddr,
        sent: Option<&str>,
        now: Timestamp,
    ) -> Result<String, SignInError> {
        let guess = Guess::new(name, address);
        let known_user = self.known_user(name).map_err(|_| SignInError::Unavailable)?;
        let line = line_of(address).to_string();
        let known = known_user.as_ref().and_then(|user| self.known_by(&user.name, &line, address, sent, now));
        let known = known.as_ref();
        let wait = || match lock(&self.lockout).wait(&guess, known, now) {
            Millis(..=0) => Ok(()),
            wait => Err(SignInError::Wait(wait.0.div_euclid(1000) + 1)),
        };
        wait()?;
        // One after the other, and each asks again: of a thousand at once few are looked at. Who is told to come again
        // has not been looked at, and counts for nothing.
        let turn = self.checks.turn(known.is_some()).await?;
        wait()?;
        lock(&self.lockout).wrong(&guess, known, now);
        if password.len() > password::LENGTH_MAX {
            return Err(SignInError::Wrong);
        }
        let hash_of_user = known_user.as_ref().map(|user| user.hash.clone());
        let right = turn.verify(password, hash_of_user).await?;
        let Some(user) = known_user.filter(|_| right) else {
            info!(%address, "a sign-in failed");
            return Err(SignInError::Wrong);
        };
        lock(&self.lockout).right(&guess, known);
        if !user.active {
            return Err(SignInError::Locked);
        }
        let cookie = random_hex::<32>();
        let session = Session { user: user.name.clone(), epoch: user.epoch, made_at: now, seen_at: now };
        let (accounts, key) = (self.clone(), hash(&cookie));
        let kept = tokio::task::spawn_blocking(move || accounts.keep(key, session, &line)).await;
        kept.map_err(|_| SignInError::Unavailable)?;
        info!(user = user.name, %address, "signed in");
        Ok(cookie)
    }

    /// By what this user is known: the line, else the browser.
    fn known_by(
        &self,
        user: &str,
        line: &str,
        address: IpAddr,
        sent: Option<&str>,
        now: Timestamp,
    ) -> Option<Known> {
        if self.is_known_address(user, line, now) {
            return Some(Known::Line(line_of(address)));
        }
        let key = hash(sent?);
        let sql = "SELECT 1 FROM session WHERE hash = ?1 AND user = ?2 AND made_at > ?3";
        let values = params![key, user, (now - KNOWN_FOR).0];
        let found = self.reader().query_row(sql, values, |_| Ok(())).optional();
        found.ok().flatten().map(|()| Known::Browser(key))
    }

    fn is_known_address(&self, user: &str, line: &str, now: Timestamp) -> bool {
        let sql = "SELECT 1 FROM session WHERE user = ?1 AND address = ?2 AND made_at > ?3 LIMIT 1";
        let values = params![user, line, (now - KNOWN_FOR).0];
        let connection = self.reader();
        let found = connection.query_row(sql, values, |_| Ok(())).optional();
        found.ok().flatten().is_some()
    }

    fn keep(&self, key: [u8; 32], session: Session, line: &str) {
        if let Err(e) = self.write_session(&key, &session, line) {
            warn!(error = %e, "a session is kept in memory only: the disk took it not");
            let mut unsaved = lock(&self.unsaved);
            if unsaved.len() >= UNSAVED_MAX
                && let Some(oldest) = unsaved.iter().min_by_key(|(_, s)| s.0.made_at).map(|(key, _)| *key)
            {
                unsaved.remove(&oldest);
            }
            unsaved.insert(key, SessionInMemory(session));
        }
    }

    fn write_session(&self, key: &[u8; 32], session: &Session, line: &str) -> rusqlite::Result<()> {
        let mut connection = self.writer();
        let step = connection.transaction()?;
        let (user, now) = (&session.user, session.made_at);
        step.execute("DELETE FROM session WHERE made_at <= ?1", [(now - KNOWN_FOR).0])?;
        let sql = "DELETE FROM session WHERE hash IN (SELECT hash FROM session WHERE user = ?1
                   ORDER BY made_at DESC LIMIT -1 OFFSET ?2)";
        step.execute(sql, params![user, PER_USER_MAX - 1])?;
        let sql = "INSERT INTO session (hash, user, epoch, address, made_at, seen_at)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
        step.execute(sql, params![key, user, session.epoch, line, now.0])?;
        step.execute("UPDATE user SET last_login = ?2 WHERE name = ?1", params![user, now.0])?;
        step.commit()
    }

    /// Whom a cookie stands for.
    pub(crate) fn session(self: &Arc<Self>, cookie: &str, now: Timestamp) -> Option<Identity> {
        let key = hash(cookie);
        let session =
            self.stored_session(&key).or_else(|| lock(&self.unsaved).get(&key).map(|s| s.0.clone()));
        let session = session.filter(|session| !session.is_over(now))?;
        let sql = "SELECT role, zone FROM user WHERE name = ?1 AND epoch = ?2 AND active = 1";
        let connection = self.reader();
        let mut statement = connection.prepare_cached(sql).ok()?;
        let found = statement.query_row(params![session.user, session.epoch], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        });
        let (role, zone) = found.optional().ok().flatten()?;
        if now.since(session.seen_at) >= TOUCH {
            self.touch(key, now);
        }
        Some(Identity { role: Role::from_name(&role)?, name: session.user, zone, by: By::Session })
    }

    fn stored_session(&self, key: &[u8; 32]) -> Option<Session> {
        let sql = "SELECT user, epoch, made_at, seen_at FROM session WHERE hash = ?1 AND ended_at IS NULL";
        let connection = self.reader();
        let mut statement = connection.prepare_cached(sql).ok()?;
        let found = statement.query_row([key], |row| {
            Ok(Session {
                user: row.get(0)?,
                epoch: row.get(1)?,
                made_at: Timestamp(row.get(2)?),
                seen_at: Timestamp(row.get(3)?),
            })
        });
        found.optional().ok().flatten()
    }

    /// Writes down that a session is in use, beside the sockets.
    fn touch(self: &Arc<Self>, key: [u8; 32], now: Timestamp) {
        if let Some(session) = lock(&self.unsaved).get_mut(&key) {
            session.0.seen_at = now;
            return;
        }
        let accounts = self.clone();
        let write = move || {
            let sql = "UPDATE session SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?2";
            // What the disk does not take now it takes at the next use.
            let _ = accounts.writer().execute(sql, params![key, now.0]);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    /// Ends a session. Its address stays known.
    pub(crate) fn sign_out(&self, cookie: &str, now: Timestamp) -> rusqlite::Result<()> {
        let key = hash(cookie);
        lock(&self.unsaved).remove(&key);
        let sql = "UPDATE session SET ended_at = ?2 WHERE hash = ?1 AND ended_at IS NULL";
        self.writer().execute(sql, params![key, now.0]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const RIGHT: &str = "rain on the river";

    fn office() -> (tempfile::TempDir, Arc<Accounts>) {
        let home = tempfile::tempdir().unwrap();
        let accounts = Arc::new(Accounts::open(home.path()).unwrap());
        accounts.add_user("desk", Role::Duty, None, RIGHT, T).unwrap();
        (home, accounts)
    }

    async fn try_in(
        accounts: &Arc<Accounts>,
        name: &str,
        password: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<String, SignInError> {
        accounts.sign_in(name, password.to_owned(), from, None, now).await
    }

    #[tokio::test]
    async fn a_cookie_stands_for_its_user_until_idle_old_or_signed_out() {
        let (_home, accounts) = office();
        let cookie = try_in(&accounts, "Desk", RIGHT, HERE, T).await.unwrap();
        assert_eq!(cookie.len(), 64);
        let who = accounts.session(&cookie, T).unwrap();
        assert_eq!((who.name.as_str(), who.role, who.by), ("desk", Role::Duty, By::Session));
        assert!(accounts.session(&cookie, T + IDLE - Millis(1)).is_some());
        // Used then: idle counts from there on. The write goes beside.
        while accounts.stored_session(&hash(&cookie)).unwrap().seen_at == T {
            tokio::task::yield_now().await;
        }
        assert!(accounts.session(&cookie, T + IDLE + Millis::hours(1)).is_some());
        assert!(accounts.session(&cookie, T + Millis::hours(48)).is_none(), "idle");
        let mut now = T;
        let other = try_in(&accounts, "desk", RIGHT, HERE, now).await.unwrap();
        while now.since(T) < AGE_MAX {
            assert!(accounts.session(&other, now).is_some(), "{now}");
            now = now + Millis::hours(1);
            accounts.touch(hash(&other), now);
            while accounts.stored_session(&hash(&other)).unwrap().seen_at != now {
                tokio::task::yield_now().await;
            }
        }
        assert!(accounts.session(&other, now).is_none(), "a week old");
        let third = try_in(&accounts, "desk", RIGHT, HERE, T).await.unwrap();
        accounts.sign_out(&third, T).unwrap();
        assert!(accounts.session(&third, T).is_none());
        assert!(accounts.session("", T).is_none() && accounts.session("0", T).is_none());
    }

    #[tokio::test]
    async fn a_change_beside_the_running_instance_ends_sessions_at_once() {
        let (home, accounts) = office();
        let beside = Accounts::open(home.path()).unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| beside.set_password("desk", "another in the rain").unwrap(),
            &|| beside.set_role("desk", Role::Duty, None).unwrap(),
            &|| beside.set_active("desk", false).unwrap(),
            &|| beside.remove_user("desk").unwrap(),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let password = if n == 0 { RIGHT } else { "another in the rain" };
            let cookie = try_in(&accounts, "desk", password, HERE, T).await.unwrap();
            assert!(accounts.session(&cookie, T).is_some());
            change();
            assert!(accounts.session(&cookie, T).is_none(), "change {n}");
            if n == 2 {
                assert_eq!(try_in(&accounts, "desk", password, HERE, T).await, Err(SignInError::Locked));
                assert_eq!(
                    try_in(&accounts, "desk", "guessed wrong", HERE, T).await,
                    Err(SignInError::Wrong)
                );
                beside.set_active("desk", true).unwrap();
            }
        }
        assert_eq!(try_in(&accounts, "desk", RIGHT, HERE, T).await, Err(SignInError::Wrong));
    }

    #[tokio::test]
    async fn a_stranger_who_guesses_waits_and_the_office_gets_in_from_its_own_address() {
        let (_home, accounts) = office();
        try_in(&accounts, "desk", RIGHT, HERE, T).await.unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..7 {
            outcomes.push(try_in(&accounts, "desk", "guessed wrong", AWAY, T).await);
        }
        assert_eq!(outcomes[..5], vec![Err(SignInError::Wrong); 5]);
        assert!(matches!(outcomes[5], Err(SignInError::Wait(1..=2))), "{outcomes:?}");
        // Also the right password is not looked at there, until the wait is over.
        assert!(matches!(try_in(&accounts, "desk", RIGHT, AWAY, T).await, Err(SignInError::Wait(_))));
        // A name that nobody has waits just as long: it tells nothing.
        let other: IpAddr = "198.51.100.4".parse().unwrap();
        for _ in 0..5 {
            assert_eq!(try_in(&accounts, "nobody", "x", other, T).await, Err(SignInError::Wrong));
        }
        assert!(matches!(try_in(&accounts, "nobody", "x", other, T).await, Err(SignInError::Wait(1..=2))));
        assert!(try_in(&accounts, "desk", RIGHT, HERE, T).await.is_ok(), "the office's own address");
        assert!(try_in(&accounts, "desk", RIGHT, AWAY, T + Millis::seconds(3)).await.is_ok());
    }

    #[tokio::test]
    async fn a_browser_that_signed_in_is_known_from_any_address_and_for_its_own_user_alone() {
        let (_home, accounts) = office();
        accounts.add_user("head", Role::Admin, None, RIGHT, T).unwrap();
        let cookie = try_in(&accounts, "desk", RIGHT, HERE, T).await.unwrap();
        accounts.sign_out(&cookie, T).unwrap();
        for name in ["desk", "head"] {
            for n in 0..7 {
                let _ = try_in(&accounts, name, "guessed wrong", IpAddr::from([198, 51, 100, n]), T).await;
            }
        }
        let from = |n| IpAddr::from([192, 0, 2, n]);
        let sent = Some(&*cookie);
        let waits = |outcome: Result<String, SignInError>| matches!(outcome, Err(SignInError::Wait(_)));
        assert!(waits(try_in(&accounts, "desk", RIGHT, from(1), T).await), "a new browser");
        assert!(
            waits(accounts.sign_in("desk", RIGHT.to_owned(), from(1), Some("0"), T).await),
            "none of ours"
        );
        assert!(waits(accounts.sign_in("head", RIGHT.to_owned(), from(1), sent, T).await), "another user's");
        // Guesses by the cookie are counted together, wherever they come from.
        for n in 0..10 {
            let wrong = accounts.sign_in("desk", "guessed wrong".to_owned(), from(n), sent, T).await;
            assert_eq!(wrong, Err(SignInError::Wrong));
        }
        assert!(waits(accounts.sign_in("desk", RIGHT.to_owned(), from(99), sent, T).await));
        let later = T + Millis::seconds(3);
        assert!(accounts.sign_in("desk", RIGHT.to_owned(), from(99), sent, later).await.is_ok());
        assert!(accounts.known_by("desk", "", from(7), sent, T + KNOWN_FOR - Millis(1)).is_some());
        assert!(accounts.known_by("desk", "", from(7), sent, T + KNOWN_FOR).is_none(), "a month later");
    }

    #[tokio::test]
    async fn who_was_told_to_come_again_was_not_looked_at_and_does_not_wait_for_it() {
        let (_home, accounts) = office();
        let mut turns = Vec::new();
        let held = accounts.checks.turn(false).await.unwrap();
        for _ in 0..60 {
            let accounts = accounts.clone();
            turns.push(tokio::spawn(async move { try_in(&accounts, "desk", "guess", AWAY, T).await }));
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(
            lock(&accounts.lockout).wait(&Guess::new("desk", AWAY), None, T),
            Millis(0),
            "nobody counts yet"
        );
        drop(held);
        let mut outcomes = Vec::new();
        for turn in turns {
            outcomes.push(turn.await.unwrap().unwrap_err());
        }
        let count = |wanted: fn(&SignInError) -> bool| outcomes.iter().filter(|e| wanted(e)).count();
        assert_eq!(count(|e| matches!(e, SignInError::Wrong)), 5, "{outcomes:?}");
        assert!(count(|e| matches!(e, SignInError::Busy(_))) > 20, "{outcomes:?}");
        assert!(count(|e| matches!(e, SignInError::Wait(1..=2))) > 20, "{outcomes:?}");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_keeps_nobody_from_signing_in() {
        let (home, accounts) = office();
        accounts.writer().pragma_update(None, "query_only", true).unwrap();
        let cookie = try_in(&accounts, "desk", RIGHT, HERE, T).await.unwrap();
        assert!(accounts.session(&cookie, T).is_some());
        assert!(accounts.session(&cookie, T + IDLE).is_none());
        Accounts::open(home.path()).unwrap().set_active("desk", false).unwrap();
        assert!(accounts.session(&cookie, T).is_none(), "and a lock still holds");
    }

    #[tokio::test]
    async fn sessions_of_one_user_are_bounded() {
        let (_home, accounts) = office();
        for n in 0..PER_USER_MAX + 20 {
            let session = Session { user: "desk".to_owned(), epoch: T.0, made_at: T + Millis(n), seen_at: T };
            accounts.write_session(&hash(&n.to_string()), &session, "10.0.0.7").unwrap();
        }
        let count: i64 =
            accounts.reader().query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
        assert_eq!(count, PER_USER_MAX);
        assert!(accounts.session("0", T).is_none() && accounts.session("219", T).is_some());
    }

    #[test]
    fn a_form_token_belongs_to_its_cookie() {
        assert_eq!(csrf_of("a").len(), 32);
        assert_ne!(csrf_of("a"), csrf_of("b"));
    }
}
