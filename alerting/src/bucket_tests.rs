//! The rate of a channel, in simulated time.
#![expect(clippy::disallowed_methods, reason = "an Instant has no other beginning")]

use super::*;

fn seconds(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

/// Sends whenever it may; the times.
fn greedy(rate: u32, urgent: bool, minutes: u64, every: Duration) -> Vec<Instant> {
    let start = Instant::now();
    let mut bucket = Bucket::new(Some(rate), 0, start);
    let (mut now, mut sent) = (start, Vec::new());
    while now < start + Duration::from_secs(minutes * 60) {
        while bucket.take(urgent, now) {
            sent.push(now);
        }
        now += every;
    }
    sent
}

#[test]
fn fault_n1_no_minute_has_more_than_the_rate_however_greedy_the_sender() {
    for rate in [1, 2, 3, 5, 18, 90, 600] {
        for every in [0.01, 0.37, 1.0, 7.1, 61.0] {
            let sent = greedy(rate, true, 40, seconds(every));
            for (place, first) in sent.iter().enumerate() {
                let minute = sent[place..].iter().take_while(|at| **at - *first < seconds(60.0));
                let count = minute.count();
                assert!(count <= rate as usize, "{count} in a minute at {rate}, looked at every {every} s");
            }
            assert!(sent.len() >= 20, "{rate} {every}: {}", sent.len());
        }
    }
}

#[test]
fn nobody_waits_longer_than_two_divided_by_the_rate() {
    let start = Instant::now();
    let mut bucket = Bucket::new(Some(18), 0, start);
    let at_once = std::iter::from_fn(|| bucket.take(true, start).then_some(())).count();
    assert_eq!(at_once, 9);
    let wait = bucket.ready_at(true, start) - start;
    assert!(wait <= seconds(6.7), "{wait:?}");
    assert!(bucket.take(true, start + wait) && !bucket.take(true, start + wait));
}

#[test]
fn the_last_third_is_kept_for_what_is_urgent() {
    let start = Instant::now();
    let mut bucket = Bucket::new(Some(18), 0, start);
    let ordinary = std::iter::from_fn(|| bucket.take(false, start).then_some(())).count();
    let urgent = std::iter::from_fn(|| bucket.take(true, start).then_some(())).count();
    assert_eq!((ordinary, urgent), (6, 3));
}

#[test]
fn what_the_run_before_sent_counts_and_a_hold_holds_everything() {
    let start = Instant::now();
    let mut bucket = Bucket::new(Some(18), 18, start);
    assert!(!bucket.take(true, start));
    let mut bucket = Bucket::new(Some(18), 0, start);
    bucket.hold(start + seconds(600.0));
    bucket.hold(start + seconds(60.0));
    assert!(!bucket.take(true, start + seconds(599.0)));
    assert_eq!(bucket.held_for(start), seconds(600.0));
    assert!(bucket.take(true, start + seconds(600.0)));
    let mut unlimited = Bucket::new(None, 0, start);
    assert!((0..10_000).all(|_| unlimited.take(false, start)));
}
