//! How long somebody waits who guessed wrong. Pure: told the time.
//!
//! The rule, in words for the office (docs/accounts.md says the same):
//! 1. Wrong tries are counted per name and per address. The first five cost nothing; after that one waits 1 s, 2 s,
//!    4 s and so on, at most 15 min. Tries within the wait are not looked at and do not make it longer.
//! 2. From an address from which that user signed in within the last 30 days, or by a browser that still sends the
//!    cookie of such a sign-in (over or not), neither count applies: there the wait follows the wrong tries for this
//!    name at this address or by this cookie alone, starts after ten, and is at most 30 s. A stranger elsewhere keeps
//!    nobody out there. He does keep out who comes from a new address by a new browser, for as long as he goes on: the
//!    office signs in at its own desk, or an administrator lets the user in from there.
//! 3. A right password ends the counts of its name and address. Fifteen minutes without a wrong try do it too.
//! 4. Sessions that are signed in, tokens and crew links are not touched by any wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use lampguard_model::{Millis, Timestamp};

/// Names, addresses, pairs that are remembered; beyond, those with the fewest and oldest tries go.
pub(crate) const TABLE_MAX: usize = 10_000;
/// Tries that cost nothing.
const FREE: u32 = 5;
/// The same from an address that is known.
const FREE_KNOWN: u32 = 10;
/// Longest wait, and how long a count is remembered.
const WAIT_MAX: Millis = Millis::minutes(15);
/// Longest wait at an address that is known.
const WAIT_MAX_KNOWN: Millis = Millis::seconds(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tries {
    count: u32,
    last: Timestamp,
}

impl Tries {
    fn until(self, free: u32, most: Millis) -> Timestamp {
        let Some(over) = self.count.checked_sub(free) else { return self.last };
        self.last + Millis((1000_i64 << over.min(20)).min(most.0))
    }
}

/// Wrong tries by what is guessed at and from where.
#[derive(Debug)]
struct Table<K>(HashMap<K, Tries>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    fn wait(&self, key: &K, now: Timestamp, free: u32, most: Millis) -> Millis {
        let Some(tries) = self.0.get(key) else { return Millis(0) };
        // A clock that went back keeps nobody out for longer than the wait itself.
        Millis(tries.until(free, most).since(now).0.clamp(0, most.0))
    }

    fn count(&mut self, key: K, now: Timestamp) {
        let forget = |tries: &Tries| now.since(tries.last) > WAIT_MAX || tries.last.since(now) > WAIT_MAX;
        if self.0.get(&key).is_some_and(forget) {
            self.0.remove(&key);
        }
        if self.0.len() >= TABLE_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, tries| !forget(tries));
            if self.0.len() >= TABLE_MAX {
                let least = self.0.iter().min_by_key(|(_, tries)| (tries.count, tries.last));
                if let Some(least) = least.map(|(key, _)| key.clone()) {
                    self.0.remove(&least);
                }
            }
        }
        let tries = self.0.entry(key).or_insert(Tries { count: 0, last: now });
        *tries = Tries { count: tries.count.saturating_add(1), last: now };
    }
}

/// Who guesses: the name as it was written, and where from. IPv6 counts by its /64: one line has that many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guess {
    name: String,
    address: IpAddr,
}

impl Guess {
    pub(crate) fn new(name: &str, address: IpAddr) -> Self {
        let name = name.trim().to_lowercase().chars().take(64).collect();
        Self { name, address: line_of(address) }
    }
}

/// The line that an address belongs to.
pub(crate) fn line_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// By what a user is known who signed in before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// The line from which.
    Line(IpAddr),
    /// The browser, by the hash of its cookie.
    Browser([u8; 32]),
}

/// Everybody who guessed wrong lately.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    names: Table<String>,
    addresses: Table<IpAddr>,
    pairs: Table<(String, Known)>,
}

impl Lockout {
    /// How long this try has to wait; zero: it is looked at.
    pub(crate) fn wait(&self, guess: &Guess, known: Option<&Known>, now: Timestamp) -> Millis {
        if let Some(known) = known {
            let pair = (guess.name.clone(), known.clone());
            return self.pairs.wait(&pair, now, FREE_KNOWN, WAIT_MAX_KNOWN);
        }
        let by_name = self.names.wait(&guess.name, now, FREE, WAIT_MAX);
        by_name.max(self.addresses.wait(&guess.address, now, FREE, WAIT_MAX))
    }

    /// A wrong try that was looked at.
    pub(crate) fn wrong(&mut self, guess: &Guess, known: Option<&Known>, now: Timestamp) {
        if let Some(known) = known {
            self.pairs.count((guess.name.clone(), known.clone()), now);
        } else {
            self.names.count(guess.name.clone(), now);
            self.addresses.count(guess.address, now);
        }
    }

    /// A right password.
    pub(crate) fn right(&mut self, guess: &Guess, known: Option<&Known>) {
        self.names.0.remove(&guess.name);
        self.addresses.0.remove(&guess.address);
        if let Some(known) = known {
            self.pairs.0.remove(&(guess.name.clone(), known.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn guess(name: &str, n: u32) -> Guess {
        Guess::new(name, IpAddr::V4(n.into()))
    }

    /// Guesses wrong as often as it is looked at within `span`.
    fn hammer(lockout: &mut Lockout, who: impl Fn(u32) -> Guess, from: Timestamp, span: Millis) -> u32 {
        let (mut looked_at, mut n) = (0, 0);
        let mut now = from;
        while now.since(from) < span {
            let guess = who(n);
            if lockout.wait(&guess, None, now) == Millis(0) {
                lockout.wrong(&guess, None, now);
                looked_at += 1;
            }
            n += 1;
            now = now + Millis(500);
        }
        looked_at
    }

    #[test]
    fn waits_grow_after_five_tries_up_to_fifteen_minutes() {
        let (mut lockout, guess) = (Lockout::default(), guess("desk", 1));
        let mut waits = Vec::new();
        let mut now = T;
        for _ in 0..18 {
            lockout.wrong(&guess, None, now);
            let wait = lockout.wait(&guess, None, now);
            waits.push(wait.as_seconds());
            now = now + wait;
        }
        assert_eq!(waits[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(waits[15..], [900, 900, 900]);
        assert_eq!(lockout.wait(&guess, None, now), Millis(0), "looked at again when the wait is over");
        assert_eq!(lockout.wait(&guess, None, T - Millis::hours(24)), WAIT_MAX, "a clock that went back");
    }

    #[test]
    fn a_stranger_who_hammers_a_day_is_looked_at_a_hundred_times_and_keeps_out_nobody_who_is_known() {
        let mut lockout = Lockout::default();
        let looked_at = hammer(&mut lockout, |n| guess("desk", n + 1000), T, Millis::hours(24));
        assert!(looked_at < 120, "{looked_at} guesses in a day from {} addresses", 24 * 7200);
        let now = T + Millis::hours(24);
        let office = guess("desk", 7);
        for known in [Known::Line(office.address), Known::Browser([7; 32])] {
            assert_eq!(lockout.wait(&office, Some(&known), now), Millis(0), "known by {known:?}");
        }
        // A new address and a new browser wait as he does, though not for longer than a quarter of an hour after him.
        assert!(lockout.wait(&office, None, now) > Millis(0));
        assert_eq!(lockout.wait(&office, None, now + WAIT_MAX), Millis(0));
        assert_eq!(lockout.wait(&guess("head", 7), None, now), Millis(0), "another name");
    }

    #[test]
    fn an_address_that_tries_many_names_waits_for_all_of_them() {
        let mut lockout = Lockout::default();
        let looked_at = hammer(&mut lockout, |n| guess(&format!("user{n}"), 9), T, Millis::hours(1));
        assert!(looked_at < 25, "{looked_at}");
        assert!(lockout.wait(&guess("anybody", 9), None, T + Millis::hours(1)) > Millis(0));
    }

    #[test]
    fn at_a_known_address_the_wait_is_half_a_minute_at_most() {
        let (mut lockout, guess) = (Lockout::default(), guess("desk", 1));
        let known = Some(&Known::Line(guess.address));
        for _ in 0..9 {
            lockout.wrong(&guess, known, T);
        }
        assert_eq!(lockout.wait(&guess, known, T), Millis(0));
        for _ in 0..500 {
            lockout.wrong(&guess, known, T);
        }
        assert_eq!(lockout.wait(&guess, known, T), WAIT_MAX_KNOWN);
        lockout.right(&guess, known);
        assert_eq!(lockout.wait(&guess, known, T), Millis(0));
    }

    #[test]
    fn tables_are_bounded_and_invented_names_do_not_wash_out_the_one_that_is_attacked() {
        let mut lockout = Lockout::default();
        for _ in 0..20 {
            lockout.wrong(&guess("desk", 1), None, T);
        }
        for n in 0..TABLE_MAX as u32 + 300 {
            lockout.wrong(&guess(&format!("user{n}"), n + 5), None, T + Millis(1));
        }
        assert!(lockout.names.0.len() <= TABLE_MAX && lockout.addresses.0.len() <= TABLE_MAX);
        assert_eq!(lockout.wait(&guess("desk", 2), None, T), WAIT_MAX);
        let later = T + Millis::minutes(16);
        lockout.wrong(&guess("late", 3), None, later);
        assert_eq!(lockout.names.0.len(), 1, "what is old is forgotten");
    }

    #[test]
    fn a_name_is_the_same_however_it_is_written_and_a_line_of_ipv6_is_one_address() {
        let v6 = |text: &str| Guess::new("a", text.parse().unwrap());
        assert_eq!(guess("Desk ", 1), guess("desk", 1));
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
        assert_eq!(v6("::ffff:10.0.0.1"), v6("10.0.0.1"));
    }
}
