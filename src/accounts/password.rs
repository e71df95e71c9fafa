//! Passwords: their rules, their hashes, and how many are checked at once.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::RngExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::same;

/// Shortest password, in characters.
pub(crate) const LENGTH_MIN: usize = 10;
/// Longest password, in bytes: hashing more would be somebody else's work at our cost.
pub(crate) const LENGTH_MAX: usize = 256;
/// Most memory that a stored hash may ask for, KiB.
const MEMORY_MAX: u32 = 32 << 10;
/// Checks of one kind that may wait; more are told to come again.
const WAITING_MAX: usize = 32;
/// Longest wait for a check.
const PATIENCE: Duration = Duration::from_secs(10);

/// A password that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Weak {
    #[error("the password is shorter than {LENGTH_MIN} characters; take a longer one, such as four words")]
    Short,
    #[error("the password is longer than {LENGTH_MAX} bytes")]
    Long,
    #[error("the password is the name or holds little else; take one that nobody guesses from the name")]
    Name,
    #[error("the password repeats one character")]
    Repeats,
}

/// The rules: length, not the name. No rule about kinds of characters: it only makes people write them down.
pub(crate) fn check_rules(name: &str, password: &str) -> Result<(), Weak> {
    let (name, lower) = (name.trim().to_lowercase(), password.trim().to_lowercase());
    if password.chars().count() < LENGTH_MIN {
        return Err(Weak::Short);
    }
    if password.len() > LENGTH_MAX {
        return Err(Weak::Long);
    }
    if !name.is_empty() && lower.replace(&name, "").chars().count() < 4 {
        return Err(Weak::Name);
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return Err(Weak::Repeats);
    }
    Ok(())
}

/// Memory of one check, argon2's blocks of 1 KiB. It is asked for in a piece of more than 32 MiB, of which only what
/// argon2 needs (19 MiB) is ever touched: glibc maps so large a piece by itself and gives it back whole. A smaller one
/// would stay with each thread that ever checked a password.
const PIECE: usize = (33 << 20) / Block::SIZE;

/// argon2id of a password, as its parameters say.
fn digest(argon2: &Argon2<'_>, password: &str, salt: &[u8], output: &mut [u8]) -> Result<(), argon2::Error> {
    let mut memory = Vec::with_capacity(PIECE);
    memory.resize(argon2.params().block_count(), Block::default());
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, memory)
}

/// argon2id with the crate's parameters (19 MiB, 2 passes) and a random salt. Takes some 20 ms.
pub(crate) fn hash(password: &str) -> Result<String> {
    let (salt, mut output): ([u8; 16], _) = (rand::random(), [0; Params::DEFAULT_OUTPUT_LEN]);
    digest(&Argon2::default(), password, &salt, &mut output)
        .map_err(|e| anyhow!("hashing the password: {e}"))?;
    let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}"))
}

/// The digest of a password under a stored hash, and the one that stands there; none: it is no hash of ours.
fn digests(password: &str, hash: &str) -> Option<([u8; Params::DEFAULT_OUTPUT_LEN], Vec<u8>)> {
    let parsed = PasswordHash::new(hash).ok()?;
    let (salt, right) = (parsed.salt?, parsed.hash?);
    let params = Params::try_from(&parsed).ok().filter(|params| params.m_cost() <= MEMORY_MAX)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    digest(&argon2, password, salt.as_ref(), &mut output).ok()?;
    Some((output, right.as_bytes().to_vec()))
}

/// Nobody's password: checked where there is no such user, so that the time says nothing.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash(&random()).unwrap_or_default());

/// True when the password is that of the hash; without one as much work is done, and it is false.
pub(crate) fn verify(password: &str, hash: Option<&str>) -> bool {
    // Made at the first check of anybody, so that no name pays for it alone.
    let nobody = NOBODY.as_str();
    let text = hash.unwrap_or(nobody);
    let right = digests(password, text).is_some_and(|(output, right)| same(&output, &right));
    right && hash.is_some()
}

/// 20 characters that are not mistaken for one another, about 100 bits; in groups, to be typed from paper.
pub(crate) fn random() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let group = |_| (0..5).map(|_| char::from(LETTERS[random.random_range(0..32)])).collect::<String>();
    (0..4).map(group).collect::<Vec<_>>().join("-")
}

/// Too many wait for a check. Come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins at once: try again in a few seconds")]
pub(crate) struct Busy;

/// Two checks at a time, each takes some 20 MB and 20 ms: one for who is known to have signed in before, one for all
/// others. A flood of strangers delays nobody at the office's own desk.
#[derive(Debug)]
pub(crate) struct Checks {
    known: Semaphore,
    strangers: Semaphore,
    waiting: [Semaphore; 2],
}

impl Default for Checks {
    fn default() -> Self {
        let one = || Semaphore::new(1);
        Self {
            known: one(),
            strangers: one(),
            waiting: [Semaphore::new(WAITING_MAX), Semaphore::new(WAITING_MAX)],
        }
    }
}

impl Checks {
    /// Waits for the turn to check one password.
    pub(crate) async fn turn(&self, known: bool) -> Result<Turn<'_>, Busy> {
        let _waits = self.waiting[usize::from(known)].try_acquire().map_err(|_| Busy)?;
        let turn = if known { &self.known } else { &self.strangers };
        let turn = tokio::time::timeout(PATIENCE, turn.acquire()).await.map_err(|_| Busy)?;
        turn.map(Turn).map_err(|_| Busy)
    }
}

/// While it is held nobody else of the same kind is checked.
#[derive(Debug)]
pub(crate) struct Turn<'c>(#[expect(dead_code, reason = "held")] SemaphorePermit<'c>);

impl Turn<'_> {
    /// [`verify`], beside the sockets.
    pub(crate) async fn verify(self, password: String, hash: Option<String>) -> Result<bool, Busy> {
        tokio::task::spawn_blocking(move || verify(&password, hash.as_deref())).await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_the_name() {
        assert_eq!(check_rules("desk", "short"), Err(Weak::Short));
        assert_eq!(check_rules("desk", "九个字的口令太短了"), Err(Weak::Short));
        assert_eq!(check_rules("desk", "雨夜抢修值班台的口令"), Ok(()));
        assert_eq!(check_rules("dispatcher", "DISPATCHER"), Err(Weak::Name));
        assert_eq!(check_rules("dispatcher", "dispatcher12"), Err(Weak::Name));
        assert_eq!(check_rules("desk", "desk lamp in the rain"), Ok(()));
        assert_eq!(check_rules("desk", "aaaaaaaaaaaa"), Err(Weak::Repeats));
        assert_eq!(check_rules("desk", &"ab".repeat(200)), Err(Weak::Long));
        assert_eq!(check_rules("admin", &random()), Ok(()));
        assert_ne!(random(), random());
    }

    #[test]
    fn a_hash_is_argon2id_salted_and_opens_for_its_password_alone() {
        let one = hash("correct horse").unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hash("correct horse").unwrap());
        assert!(verify("correct horse", Some(&one)));
        // The format is that of everybody, not ours: the crate's own check takes it too.
        let parsed = PasswordHash::new(&one).unwrap();
        assert!(
            argon2::PasswordVerifier::verify_password(&Argon2::default(), b"correct horse", &parsed).is_ok()
        );
        let greedy = one.replace("m=19456", "m=4000000");
        assert!(!verify("correct horse", Some(&greedy)));
        assert!(!verify("correct hors", Some(&one)) && !verify("correct horse", Some("no hash")));
        assert!(!verify("anything", None));
    }

    #[test]
    fn the_time_of_a_check_does_not_tell_whether_the_name_exists() {
        let known = hash("correct horse").unwrap();
        let fastest = |hash: Option<&str>| {
            let once = |_| {
                let started = std::time::Instant::now();
                assert!(!verify("a wrong password", hash));
                started.elapsed()
            };
            (0..7).map(once).min().unwrap()
        };
        fastest(None);
        let (there, not_there) = (fastest(Some(&known)), fastest(None));
        let ratio = there.as_secs_f64() / not_there.as_secs_f64();
        assert!((0.5..2.0).contains(&ratio), "{there:?} and {not_there:?}");
    }

    #[tokio::test]
    async fn a_flood_of_strangers_is_told_to_come_again_and_holds_up_no_known_address() {
        let checks = Checks::default();
        let held = checks.strangers.acquire().await.unwrap();
        let waiting = checks.waiting[0].try_acquire_many(WAITING_MAX as u32).unwrap();
        assert_eq!(checks.turn(false).await.err(), Some(Busy));
        let right = hash("correct horse").unwrap();
        let turn = checks.turn(true).await.unwrap();
        assert_eq!(turn.verify("correct horse".to_owned(), Some(right)).await, Ok(true));
        drop((held, waiting));
        assert_eq!(checks.turn(false).await.unwrap().verify("a".to_owned(), None).await, Ok(false));
    }
}
