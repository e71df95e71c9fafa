//! How many messages a channel may send. Pure: it takes the time.
//!
//! A bucket of half the rate that fills up with the other half in a minute: never more than the rate in any
//! minute, and nobody waits longer than two divided by the rate (DingTalk, 18 a minute: 6.7 s). A plain window of
//! a minute would let 18 go at once and then hold the nineteenth for a minute.
//!
//! A third of the bucket is kept for what is urgent.

use std::time::{Duration, Instant};

const MINUTE: f64 = 60.0;

/// Tokens of one channel.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// None: no limit.
    size: Option<f64>,
    per_minute: f64,
    reserve: f64,
    tokens: f64,
    filled_at: Instant,
    /// Nothing goes before.
    held_until: Option<Instant>,
}

impl Bucket {
    /// For `rate` messages a minute, of which `spent` were sent in the minute before `now`.
    pub fn new(rate: Option<u32>, spent: usize, now: Instant) -> Self {
        let rate = rate.map(|rate| rate.max(1));
        let size = rate.map(|rate| f64::from(rate.div_ceil(2)));
        let per_minute = rate.map_or(0.0, |rate| f64::from((rate / 2).max(1)));
        let full = size.unwrap_or(0.0);
        Self {
            size,
            per_minute,
            reserve: (full / 3.0).floor(),
            tokens: (full - spent as f64).max(0.0),
            filled_at: now,
            held_until: None,
        }
    }

    fn fill(&mut self, now: Instant) {
        let Some(size) = self.size else { return };
        let waited = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + waited * self.per_minute / MINUTE).min(size);
        self.filled_at = self.filled_at.max(now);
    }

    fn needed(&self, urgent: bool) -> f64 {
        if urgent { 1.0 } else { 1.0 + self.reserve }
    }

    /// Takes a token. False: none for this.
    pub fn take(&mut self, urgent: bool, now: Instant) -> bool {
        if self.held_until.is_some_and(|until| now < until) {
            return false;
        }
        if self.size.is_none() {
            return true;
        }
        self.fill(now);
        // A hair less: sums of fractions never reach a whole number exactly.
        if self.tokens + 1e-6 < self.needed(urgent) {
            return false;
        }
        self.tokens = (self.tokens - 1.0).max(0.0);
        true
    }

    /// When a token will be there.
    pub fn ready_at(&mut self, urgent: bool, now: Instant) -> Instant {
        let held = self.held_until.unwrap_or(now).max(now);
        if self.size.is_none() {
            return held;
        }
        self.fill(now);
        let missing = (self.needed(urgent) - self.tokens).max(0.0);
        held.max(now + Duration::from_secs_f64(missing * MINUTE / self.per_minute))
    }

    /// Nothing goes before `until`: the other side said so.
    pub fn hold(&mut self, until: Instant) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    /// How long nothing goes yet.
    pub fn held_for(&self, now: Instant) -> Duration {
        self.held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// True when so little is left that what waits should share messages.
    pub fn is_low(&self) -> bool {
        self.size.is_some_and(|size| self.tokens < (size / 2.0).max(1.0 + self.reserve))
    }
}

#[cfg(test)]
#[path = "../bucket_tests.rs"]
mod tests;
