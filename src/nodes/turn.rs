//! Whom what belongs to a node is sent to, and when. Pure: decides by the time of this process and the last answers.
//!
//! ```text
//!           owner answers              owner silent for takeover_after, and there is a standby
//!  OWNER ──────────────► OWNER     OWNER ──────────────────────────────────────────────────► STANDBY
//!  STANDBY: batches go to the standby; the owner is asked every PROBE; its first answer leads back to OWNER
//! ```
//! Without a standby everything waits in the journal for as long as it takes.
//!
//! A node whose disk takes nothing judges what it is sent and keeps none of it. What waits stays where it is, and what came
//! behind it goes ahead, to be judged alone: alarms wait for nobody's disk.

use std::time::Duration;

/// An owner that has nothing to get hears of us so often.
pub(crate) const BEAT: Duration = Duration::from_secs(5);
/// An owner that does not answer is asked so often while its standby stands in.
const PROBE: Duration = Duration::from_secs(5);
/// First and longest wait after a failure.
const BACKOFF: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// Who is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Owner,
    Standby,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the batch there.
    Send(To),
    /// It judges and keeps nothing: send it what came behind the batch; for so long at most, then ask again.
    Ahead(To, Duration),
    /// Send nothing but a sign of life to the owner.
    Beat,
    /// Nothing for so long.
    Wait(Duration),
}

/// Tries after failures.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    failed: u32,
    not_before: Duration,
    /// The last one was answered: it judges and keeps nothing.
    stopped: bool,
}

impl Tries {
    fn fail(&mut self, now: Duration, stopped: bool) {
        let [first, longest] = BACKOFF;
        self.stopped = stopped;
        self.not_before = now + first.saturating_mul(1 << self.failed.min(8)).min(longest);
        self.failed = self.failed.saturating_add(1);
    }
}

/// The state of one owner, as a node sees it. Times are those since the start of the process.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    takeover_after: Option<Duration>,
    /// When the owner last answered; at first when we began to ask.
    answered: Duration,
    /// When it was last spoken to.
    spoken: Option<Duration>,
    owner: Tries,
    standby: Tries,
}

impl Turn {
    /// `takeover_after` is `None` where there is no standby.
    pub(crate) fn new(takeover_after: Option<Duration>, now: Duration) -> Self {
        Self {
            takeover_after,
            answered: now,
            spoken: None,
            owner: Tries::default(),
            standby: Tries::default(),
        }
    }

    /// The standby is sent what belongs to the owner.
    pub(crate) fn is_taken_over(&self, now: Duration) -> bool {
        self.owner.failed > 0
            && self.takeover_after.is_some_and(|after| now.saturating_sub(self.answered) >= after)
    }

    /// The owner answered when it was last asked.
    pub(crate) fn is_up(&self) -> bool {
        self.spoken.is_some() && self.owner.failed == 0
    }

    /// What to do at `now`, with a batch that waits or without.
    pub(crate) fn next(&self, now: Duration, has_batch: bool) -> Step {
        let taken_over = self.is_taken_over(now);
        let every = if taken_over { PROBE } else { BEAT };
        let beat_at = self.spoken.map_or(now, |spoken| spoken + every).max(self.owner.not_before);
        if taken_over && beat_at <= now {
            return Step::Beat;
        }
        if has_batch {
            let (to, tries) =
                if taken_over { (To::Standby, &self.standby) } else { (To::Owner, &self.owner) };
            if tries.not_before <= now {
                // It has judged the batch already: a sign of life tells as well whether its disk is back.
                return if tries.stopped && to == To::Owner { Step::Beat } else { Step::Send(to) };
            }
            let until = if taken_over { tries.not_before.min(beat_at) } else { tries.not_before };
            return if tries.stopped { Step::Ahead(to, until - now) } else { Step::Wait(until - now) };
        }
        if beat_at <= now { Step::Beat } else { Step::Wait(beat_at - now) }
    }

    /// It took what it was sent.
    pub(crate) fn took(&mut self, to: To, now: Duration) {
        match to {
            To::Owner => {
                (self.answered, self.spoken) = (now, Some(now));
                self.owner = Tries::default();
                self.standby = Tries::default();
            }
            To::Standby => self.standby = Tries::default(),
        }
    }

    /// It did not answer, or did not take it; `stopped` when it judged and kept nothing.
    pub(crate) fn failed(&mut self, to: To, now: Duration, stopped: bool) {
        match to {
            To::Owner => {
                self.spoken = Some(now);
                self.owner.fail(now, stopped);
            }
            To::Standby => self.standby.fail(now, stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Runs until `end`; whoever is away fails. The moments at which batches were taken, and by whom.
    fn run(turn: &mut Turn, end: f64, is_away: impl Fn(To, f64) -> bool) -> Vec<(f64, To)> {
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        while now < at(end) {
            let to = match turn.next(now, true) {
                Step::Wait(pause) => {
                    assert!(pause > Duration::ZERO && pause <= BACKOFF[1], "{pause:?}");
                    now += pause;
                    continue;
                }
                Step::Ahead(..) => unreachable!("nobody's disk is full"),
                Step::Beat => (To::Owner, false),
                Step::Send(to) => (to, true),
            };
            if is_away(to.0, now.as_secs_f64()) {
                turn.failed(to.0, now, false);
            } else {
                turn.took(to.0, now);
                if to.1 {
                    sent.push((now.as_secs_f64(), to.0));
                }
            }
            now += at(0.5);
        }
        sent
    }

    #[test]
    fn a_silent_owner_is_stood_in_for_after_its_time_and_gets_its_readings_back_when_it_answers() {
        let mut turn = Turn::new(Some(at(60.0)), Duration::ZERO);
        let sent = run(&mut turn, 300.0, |to, now| to == To::Owner && (30.0..200.0).contains(&now));
        let standby: Vec<f64> = sent.iter().filter(|(_, to)| *to == To::Standby).map(|(at, _)| *at).collect();
        let (first, last) = (standby[0], *standby.last().unwrap());
        assert!((89.0..96.0).contains(&first), "last answer at 29.5: {first}");
        assert!((199.0..206.0).contains(&last), "{last}");
        assert!(sent.iter().any(|(at, to)| *to == To::Owner && *at < 30.0));
        assert!(sent.iter().filter(|(at, _)| *at > last).all(|(_, to)| *to == To::Owner));
        assert!(turn.is_up() && !turn.is_taken_over(at(300.0)));
    }

    #[test]
    fn without_a_standby_everything_waits_and_tries_are_at_most_five_seconds_apart() {
        let mut turn = Turn::new(None, Duration::ZERO);
        let sent = run(&mut turn, 4000.0, |_, now| now < 3600.0);
        assert!(sent.first().is_some_and(|(at, to)| (3600.0..3606.0).contains(at) && *to == To::Owner));
        assert!(turn.is_up());
    }

    #[test]
    fn an_owner_that_was_never_reached_is_stood_in_for_too() {
        let mut turn = Turn::new(Some(at(60.0)), Duration::ZERO);
        let sent = run(&mut turn, 100.0, |to, _| to == To::Owner);
        assert!(sent.first().is_some_and(|(at, to)| (60.0..66.0).contains(at) && *to == To::Standby));
    }

    #[test]
    fn both_away_lose_nothing_and_the_owner_is_asked_all_along() {
        let mut turn = Turn::new(Some(at(60.0)), Duration::ZERO);
        assert_eq!(run(&mut turn, 500.0, |_, _| true), []);
        assert!(turn.is_taken_over(at(500.0)));
        turn.took(To::Owner, at(500.0));
        assert_eq!(turn.next(at(500.1), true), Step::Send(To::Owner));
    }

    #[test]
    fn a_node_whose_disk_is_full_is_sent_what_comes_behind_and_asked_whether_it_is_back() {
        let mut turn = Turn::new(None, Duration::ZERO);
        turn.failed(To::Owner, at(1.0), true);
        assert_eq!(turn.next(at(1.1), true), Step::Ahead(To::Owner, at(0.15)));
        assert_eq!(turn.next(at(1.3), true), Step::Beat);
        turn.failed(To::Owner, at(1.3), true);
        assert!(matches!(turn.next(at(1.3), true), Step::Ahead(To::Owner, _)));
        turn.failed(To::Owner, at(2.0), false);
        assert!(matches!(turn.next(at(2.0), true), Step::Wait(_)), "now it is not there at all");
        turn.failed(To::Owner, at(4.0), true);
        turn.took(To::Owner, at(5.0));
        assert_eq!(turn.next(at(5.0), true), Step::Send(To::Owner));
    }

    #[test]
    fn an_owner_whose_disk_is_full_is_stood_in_for_and_its_signs_of_life_end_nothing() {
        let mut turn = Turn::new(Some(at(60.0)), Duration::ZERO);
        let (mut now, mut standby) = (0.0, Vec::new());
        while now < 300.0 {
            match turn.next(at(now), true) {
                Step::Wait(_) => {}
                Step::Send(To::Standby) => {
                    standby.push(now);
                    turn.took(To::Standby, at(now));
                }
                // Whatever it is sent it answers 503.
                Step::Beat | Step::Send(To::Owner) => turn.failed(To::Owner, at(now), true),
                Step::Ahead(to, _) => assert!(to == To::Owner && now < 60.0),
            }
            now += 0.25;
        }
        assert!(standby.first().is_some_and(|at| (60.0..66.0).contains(at)), "{standby:?}");
        let longest = standby.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(longest < 1.0 && standby.last().is_some_and(|at| *at > 299.0), "{longest}");
    }

    #[test]
    fn an_owner_with_nothing_to_get_hears_of_us_every_five_seconds() {
        let mut turn = Turn::new(None, Duration::ZERO);
        assert_eq!(turn.next(at(1.0), false), Step::Beat);
        turn.took(To::Owner, at(1.0));
        assert_eq!(turn.next(at(2.0), false), Step::Wait(at(4.0)));
        assert_eq!(turn.next(at(6.0), false), Step::Beat);
    }
}
