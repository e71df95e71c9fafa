//! The replay window: which records the database may still lose, and from where it is sent them again.
//!
//! A database that answers 204 has the rows in memory; VictoriaMetrics writes them to disk seconds later and
//! a kill in between loses them (measured: up to 8 s). So a record counts as safe only when the database
//! has been seen alive, in the same life, for the length of the window after it accepted it.
//!
//! Pure: the caller brings the time and what its probes saw.
//!
//! Invariants:
//! 1. The safe cursor moves only in [`Window::seen`], and only in the life in which the rows were accepted.
//! 2. Time counts only between two sightings with no failure in between, and at most [`STEP_MAX`] a
//!    sighting: a database that is down, or a clock that is stepped, makes nothing safe.

use std::collections::VecDeque;

use lampguard_model::{Millis, Timestamp};

/// Most time that one sighting adds. Three probes; more would trust a time in which nobody looked.
const STEP_MAX: Millis = Millis::seconds(15);

/// What tells one life of a database process from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it says it was started, milliseconds UTC.
    pub(crate) started_ms: Option<i64>,
    /// Number of the unbroken connection, where its own word is not enough.
    pub(crate) connection: u64,
}

/// What a sighting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the process that was there before, or the first one we see.
    Same,
    /// It was restarted: send everything again from the safe cursor on.
    Restarted,
}

/// Everything before `to` was accepted when the count of alive milliseconds stood at most at `alive`.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    to: u64,
    alive: i64,
}

/// The replay window of one database.
#[derive(Debug)]
pub(crate) struct Window {
    hold: Millis,
    safe: u64,
    life: Option<Life>,
    /// Milliseconds for which the database was seen alive.
    alive: i64,
    /// Last sighting; none since a failure.
    seen_at: Option<Timestamp>,
    /// Oldest first; one entry for a second, so a few more than the window has seconds.
    accepted: VecDeque<Accepted>,
}

impl Window {
    /// A window of this length whose safe cursor stands at `safe`.
    pub(crate) fn new(hold: Millis, safe: u64) -> Self {
        Self { hold, safe, life: None, alive: 0, seen_at: None, accepted: VecDeque::new() }
    }

    /// Records before this one cannot be lost by the database any more.
    pub(crate) fn safe(&self) -> u64 {
        self.safe
    }

    /// The database was seen alive.
    pub(crate) fn seen(&mut self, life: Life, now: Timestamp) -> Seen {
        let before = self.life.replace(life);
        let seen_at = self.seen_at.replace(now);
        if before.is_some_and(|before| before != life) {
            self.accepted.clear();
            return Seen::Restarted;
        }
        self.alive += seen_at.map_or(0, |seen_at| step(seen_at, now));
        while let Some(oldest) = self.accepted.front() {
            if oldest.alive + self.hold.0 > self.alive {
                break;
            }
            self.safe = self.safe.max(oldest.to);
            self.accepted.pop_front();
        }
        Seen::Same
    }

    /// The database does not answer: the window stands still.
    pub(crate) fn down(&mut self) {
        self.seen_at = None;
    }

    /// Everything before `to` has been accepted.
    pub(crate) fn accepted(&mut self, to: u64, now: Timestamp) {
        let since = self.seen_at.map_or(STEP_MAX.0, |seen_at| step(seen_at, now));
        // Whole seconds, rounded up: later is safe, and it bounds the entries.
        let alive = (self.alive + since + 999) / 1000 * 1000;
        match self.accepted.back_mut() {
            Some(last) if last.alive >= alive => last.to = last.to.max(to),
            _ => self.accepted.push_back(Accepted { to, alive }),
        }
    }

    /// Records before `first` are gone from the journal: they cannot be sent again anyway. Returns how many
    /// of them were not safe.
    pub(crate) fn cut(&mut self, first: u64) -> u64 {
        let lost = first.saturating_sub(self.safe);
        self.safe = self.safe.max(first);
        lost
    }
}

fn step(from: Timestamp, to: Timestamp) -> i64 {
    to.since(from).0.clamp(0, STEP_MAX.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_795_435_200_000);
    const HOLD: i64 = 120;

    fn life(started: i64) -> Life {
        Life { started_ms: Some(started), connection: 0 }
    }

    fn at(seconds: i64) -> Timestamp {
        START + Millis::seconds(seconds)
    }

    /// A window that has accepted records up to 100 at second 0.
    fn window() -> Window {
        let mut window = Window::new(Millis::seconds(HOLD), 7);
        assert_eq!(window.seen(life(1), at(0)), Seen::Same);
        window.accepted(100, at(0));
        window
    }

    fn probe(window: &mut Window, seconds: std::ops::RangeInclusive<i64>) {
        for second in seconds.step_by(5) {
            assert_eq!(window.seen(life(1), at(second)), Seen::Same);
        }
    }

    #[test]
    fn a_record_is_safe_when_the_same_life_was_seen_for_the_whole_window() {
        let mut window = window();
        probe(&mut window, 5..=115);
        assert_eq!(window.safe(), 7);
        window.seen(life(1), at(HOLD));
        assert_eq!(window.safe(), 100);
    }

    #[test]
    fn what_was_accepted_between_two_probes_waits_its_own_time() {
        let mut window = window();
        window.accepted(200, at(4));
        probe(&mut window, 5..=120);
        assert_eq!(window.safe(), 100);
        window.seen(life(1), at(123));
        assert_eq!(window.safe(), 100);
        window.seen(life(1), at(124));
        assert_eq!(window.safe(), 200);
    }

    #[test]
    fn the_window_stands_still_while_the_database_is_down() {
        let mut window = window();
        probe(&mut window, 5..=60);
        window.down();
        // An hour later it is back, the same process: the hour proves nothing.
        probe(&mut window, 3660..=3715);
        assert_eq!(window.safe(), 7);
        probe(&mut window, 3720..=3720);
        assert_eq!(window.safe(), 100);
    }

    #[test]
    fn a_restart_between_two_probes_sends_everything_again_from_the_safe_cursor() {
        let mut window = window();
        probe(&mut window, 5..=120);
        window.accepted(300, at(121));
        assert_eq!(window.seen(life(2), at(125)), Seen::Restarted);
        assert_eq!(window.safe(), 100);
        // What the old life had accepted never becomes safe by the new life's time.
        for second in (130..=400).step_by(5) {
            assert_eq!(window.seen(life(2), at(second)), Seen::Same);
        }
        assert_eq!(window.safe(), 100);
        window.accepted(300, at(400));
        for second in (405..=520).step_by(5) {
            window.seen(life(2), at(second));
        }
        assert_eq!(window.safe(), 300);
    }

    #[test]
    fn a_clock_that_is_stepped_makes_nothing_safe() {
        let mut window = window();
        assert_eq!(window.seen(life(1), at(86_400)), Seen::Same);
        assert_eq!(window.safe(), 7);
        assert_eq!(window.seen(life(1), at(-86_400)), Seen::Same);
        assert_eq!(window.safe(), 7);
        probe(&mut window, -86_395..=-86_300);
        assert_eq!(window.safe(), 7);
        probe(&mut window, -86_295..=-86_295);
        assert_eq!(window.safe(), 100);
    }

    #[test]
    fn a_database_without_a_start_time_is_known_by_its_connection() {
        let on = |connection| Life { started_ms: None, connection };
        let mut window = Window::new(Millis::seconds(HOLD), 0);
        assert_eq!(window.seen(on(1), at(0)), Seen::Same);
        window.accepted(9, at(1));
        assert_eq!(window.seen(on(1), at(5)), Seen::Same);
        assert_eq!(window.seen(on(2), at(10)), Seen::Restarted);
        assert_eq!(window.safe(), 0);
    }

    #[test]
    fn the_entries_are_bounded_by_the_seconds_of_the_window() {
        let mut window = Window::new(Millis::seconds(HOLD), 0);
        let mut most = 0;
        for n in 0..100_000i64 {
            let now = START + Millis(n * 10);
            if n % 500 == 0 {
                window.seen(life(1), now);
            }
            window.accepted(n.unsigned_abs(), now);
            most = most.max(window.accepted.len());
        }
        assert!(most <= 130, "{most} entries");
        assert!(window.safe() > 87_000);
    }

    #[test]
    fn a_trimmed_journal_moves_the_safe_cursor_and_says_what_was_not_safe() {
        let mut window = window();
        assert_eq!(window.cut(50), 43);
        assert_eq!(window.safe(), 50);
        assert_eq!(window.cut(20), 0);
        assert_eq!(window.safe(), 50);
    }
}
