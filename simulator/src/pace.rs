//! When connections are made, and when they are made again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// First wait after a broken link; it doubles up to the last.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
const BACK_OFF_LAST: Duration = Duration::from_secs(30);
/// A herd comes back at the next multiple of this, counted from the start: all of it in one instant, also when
/// its links broke one after the other, and again at the next one if the broker was not there.
const HERD_EVERY: Duration = Duration::from_secs(5);

/// The pace that all connections of a run share.
pub(crate) struct Pace {
    started: Instant,
    /// Between two connects; zero: no pacing.
    gap: Duration,
    /// The next free place in the row.
    next: Mutex<Instant>,
    herd: bool,
}

impl Pace {
    /// At most this many connects a second; 0 means as many as there are.
    pub(crate) fn new(connects_per_s: u32, herd: bool) -> Self {
        let started = Instant::now();
        let gap = Duration::from_secs(1).checked_div(connects_per_s).unwrap_or_default();
        Self { started, gap, next: Mutex::new(started), herd }
    }

    /// Waits for one's place in the row of those who connect.
    pub(crate) async fn turn(&self) {
        if !self.gap.is_zero() {
            sleep_until(self.place(Instant::now())).await;
        }
    }

    fn place(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (*next).max(now);
        *next = place + self.gap;
        place
    }

    /// Waits after a link broke, or could not be made so many times in a row.
    pub(crate) async fn again(&self, failures: u32) {
        if self.herd {
            sleep_until(self.gathering(Instant::now())).await;
        } else {
            sleep(back_off(failures, rand::random())).await;
            self.turn().await;
        }
    }

    fn gathering(&self, now: Instant) -> Instant {
        let times = now.duration_since(self.started).as_millis() / HERD_EVERY.as_millis() + 1;
        self.started + HERD_EVERY * u32::try_from(times).unwrap_or(u32::MAX)
    }
}

/// Wait before the next try: doubling, at most 30 s, spread over its upper half so that connections do not
/// come back together. `spread` is 0 to 1.
fn back_off(failures: u32, spread: f64) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACK_OFF_LAST);
    doubled.mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_30_seconds_and_is_spread() {
        assert_eq!(back_off(0, 1.0), Duration::from_millis(250));
        assert_eq!(back_off(3, 1.0), Duration::from_secs(2));
        assert_eq!(back_off(60, 1.0), Duration::from_secs(30));
        assert_eq!(back_off(60, 0.0), Duration::from_secs(15));
    }

    #[test]
    fn connects_stand_in_a_row_and_a_late_one_makes_nobody_catch_up() {
        let pace = Pace::new(500, false);
        let at = |ms: u64| pace.started + Duration::from_millis(ms);
        let places: Vec<Instant> = (0..3).map(|_| pace.place(at(0))).collect();
        assert_eq!(places, [at(0), at(2), at(4)]);
        assert_eq!((pace.place(at(1000)), pace.place(at(1000))), (at(1000), at(1002)));
    }

    #[test]
    fn a_herd_comes_back_in_one_instant() {
        let pace = Pace::new(500, true);
        let at = |ms: u64| pace.started + Duration::from_millis(ms);
        assert_eq!((pace.gathering(at(5001)), pace.gathering(at(9999))), (at(10_000), at(10_000)));
        assert_eq!(pace.gathering(at(10_000)), at(15_000));
    }
}
