//! The moving end of the journal: what is durable, and which follower still needs what.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    first: u64,
    end: u64,
    closed: bool,
    followers: BTreeMap<String, Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    /// Durable on the follower's side; nothing from here on is trimmed.
    cursor: u64,
    /// Taken by the follower, durable or not.
    position: u64,
    max_lag_bytes: Option<u64>,
}

/// Shared knowledge of how far the journal is durable and how far each follower has come.
///
/// The writer moves the end; followers wait for it and say from which record on they still need the journal.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    inner: Arc<(Mutex<State>, Condvar)>,
}

impl Tail {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sequence number of the oldest record that is still kept.
    pub fn first(&self) -> u64 {
        self.state().first
    }

    /// First sequence number that is not durable yet.
    pub fn end(&self) -> u64 {
        self.state().end
    }

    /// Waits until records from `seq` on are durable, the time is over, or the journal is closed.
    /// Returns the end, which may still be `seq`.
    pub fn wait_past(&self, seq: u64, timeout: Duration) -> u64 {
        let waiting = |state: &mut State| state.end <= seq && !state.closed;
        let waited = self.inner.1.wait_timeout_while(self.state(), timeout, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.end
    }

    /// True when no more records will come.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Says that no more records will come and wakes every follower.
    pub fn close(&self) {
        self.state().closed = true;
        self.inner.1.notify_all();
    }

    /// Moves the end after a durable commit.
    pub fn advance(&self, end: u64) {
        self.state().end = end;
        self.inner.1.notify_all();
    }

    /// Moves the start after old segments went.
    pub fn set_first(&self, first: u64) {
        self.state().first = first;
    }

    /// Registers a follower whose durable cursor stands at `cursor`: nothing from there on is trimmed.
    pub fn follow(&self, name: &str, cursor: u64) -> Follower {
        self.hold(name, cursor, None)
    }

    /// Like [`Tail::follow`], for a follower that is cut off, with a gap, when it is behind by more bytes.
    pub fn follow_bounded(&self, name: &str, cursor: u64, max_lag_bytes: u64) -> Follower {
        self.hold(name, cursor, Some(max_lag_bytes))
    }

    fn hold(&self, name: &str, cursor: u64, max_lag_bytes: Option<u64>) -> Follower {
        self.state().followers.insert(name.to_owned(), Hold { cursor, position: cursor, max_lag_bytes });
        Follower { tail: self.clone(), name: name.to_owned() }
    }

    pub(crate) fn bounded_followers(&self) -> Vec<(String, u64, u64)> {
        let state = self.state();
        let bounded =
            state.followers.iter().filter_map(|(name, hold)| Some((name, hold.cursor, hold.max_lag_bytes?)));
        bounded.map(|(name, cursor, bound)| (name.clone(), cursor, bound)).collect()
    }

    pub(crate) fn cut_off(&self, name: &str, cursor: u64) {
        if let Some(hold) = self.state().followers.get_mut(name) {
            hold.cursor = hold.cursor.max(cursor);
            hold.position = hold.position.max(cursor);
        }
    }

    /// Every follower with its durable cursor.
    pub fn followers(&self) -> BTreeMap<String, u64> {
        self.state().followers.iter().map(|(name, hold)| (name.clone(), hold.cursor)).collect()
    }

    /// Every follower with the number of records it has still to take.
    pub fn pending(&self) -> BTreeMap<String, u64> {
        let state = self.state();
        let pending = state
            .followers
            .iter()
            .map(|(name, hold)| (name.clone(), state.end.saturating_sub(hold.position)));
        pending.collect()
    }

    /// The lowest cursor of all followers; the end when nobody follows.
    pub fn floor(&self) -> u64 {
        let state = self.state();
        state.followers.values().map(|hold| hold.cursor).min().unwrap_or(state.end)
    }
}

/// One follower's hold on the journal.
#[derive(Clone, Debug)]
pub struct Follower {
    tail: Tail,
    name: String,
}

impl Follower {
    /// Says that everything before `cursor` is durable on the follower's side and may go. Never moves back.
    pub fn keep_from(&self, cursor: u64) {
        self.tail.cut_off(&self.name, cursor);
    }

    /// Says how far the follower has taken records, durable or not; for its lag, not for trimming.
    pub fn report(&self, position: u64) {
        if let Some(hold) = self.tail.state().followers.get_mut(&self.name) {
            hold.position = position;
        }
    }

    /// The shared end of the journal.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The follower's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
