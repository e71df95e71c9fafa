//! Channels of the night: the program's own token bucket, and services that take their time, fail and are slow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lampguard_alerting::notice::Notice;
use lampguard_alerting::notify::Bucket;
use lampguard_model::{Millis, Timestamp};

use super::office::{CHAT, SMS, VOICE};
use super::people::between;
use crate::bench::random::Random;

/// A service that does not answer is given up after.
const TIMEOUT: Millis = Millis::seconds(10);
/// Pauses between attempts, first and longest.
const PAUSES: (Millis, Millis) = (Millis::seconds(1), Millis::seconds(60));
/// Notices that wait for one channel.
pub(super) const WAITING_MAX: usize = 100_000;

/// One attempt that goes on.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) notice: Arc<Notice>,
    pub(super) attempt: u32,
    pub(super) accepted: bool,
}

/// What follows from looking at a channel.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Attempts that end then.
    pub(super) ends: Vec<(Timestamp, Try)>,
    /// Look again then.
    pub(super) look_at: Option<Timestamp>,
}

/// One service and its queue.
pub(super) struct Channel {
    pub(super) id: String,
    bucket: Bucket,
    /// One moment on both clocks.
    base: (Instant, Timestamp),
    latency_s: (f64, f64),
    /// It answers nothing.
    down: Vec<(Timestamp, Timestamp)>,
    /// It takes a minute and more.
    slow: Vec<(Timestamp, Timestamp)>,
    waiting: VecDeque<(Arc<Notice>, u32, bool)>,
}

impl Channel {
    /// A channel of the office from `start` on. Faults are drawn: the robot is down for 20 min in each night, short
    /// messages are slow for two hours.
    pub(super) fn new(id: &str, start: Timestamp, nights: i64, random: &mut Random) -> Self {
        let (rate, latency_s) = match id {
            VOICE => (30, (4.0, 12.0)),
            SMS => (60, (2.0, 8.0)),
            _ => (18, (0.2, 1.5)),
        };
        let base = (Instant::now(), start);
        let mut spans = |of: &str, length: Millis| -> Vec<(Timestamp, Timestamp)> {
            let mut span = |night: i64| {
                let at = start + Millis::hours(24 * night) + between(random, 0.0, 82_000.0);
                (at, at + length)
            };
            if of == id { (0..nights.max(1)).map(&mut span).collect() } else { Vec::new() }
        };
        let (down, slow) = (spans(CHAT, Millis::minutes(20)), spans(SMS, Millis::hours(2)));
        let bucket = Bucket::new(Some(rate), 0, base.0);
        Self { id: id.to_owned(), bucket, base, latency_s, down, slow, waiting: VecDeque::new() }
    }

    fn instant(&self, at: Timestamp) -> Instant {
        let since = at.since(self.base.1).0.max(0);
        self.base.0 + Duration::from_millis(since.unsigned_abs())
    }

    fn timestamp(&self, at: Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.base.0);
        // Rounded up: a millisecond early there is no token yet.
        self.base.1 + Millis(since.as_micros().div_ceil(1000) as i64)
    }

    /// Takes a notice to send.
    pub(super) fn put(&mut self, notice: Arc<Notice>, attempt: u32, urgent: bool) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.waiting.push_back((notice, attempt, urgent));
        true
    }

    /// Sends what may be sent; what is urgent goes first.
    pub(super) fn pump(&mut self, now: Timestamp, random: &mut Random) -> Next {
        let mut next = Next::default();
        while !self.waiting.is_empty() {
            let first = self.waiting.iter().position(|(.., urgent)| *urgent).unwrap_or(0);
            let urgent = self.waiting[first].2;
            let instant = self.instant(now);
            if !self.bucket.take(urgent, instant) {
                let ready = self.bucket.ready_at(urgent, instant);
                next.look_at = Some(self.timestamp(ready).max(now + Millis(1)));
                return next;
            }
            let Some((notice, attempt, _)) = self.waiting.remove(first) else { break };
            let inside =
                |spans: &[(Timestamp, Timestamp)]| spans.iter().any(|(from, to)| (*from..*to).contains(&now));
            let accepted = !inside(&self.down);
            let takes = match (accepted, inside(&self.slow)) {
                (false, _) => TIMEOUT,
                (true, true) => between(random, 60.0, 240.0),
                (true, false) => between(random, self.latency_s.0, self.latency_s.1),
            };
            next.ends.push((now + takes, Try { notice, attempt, accepted }));
        }
        next
    }
}

/// How long after an attempt the next one comes.
pub(super) fn pause(attempt: u32) -> Millis {
    Millis((PAUSES.0.0 << attempt.saturating_sub(1).min(16)).min(PAUSES.1.0))
}
