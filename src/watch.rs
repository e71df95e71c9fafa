//! What we stand on, told to the rules: brokers, databases, the disk of the journal, the incident store, channels,
//! the clock.
//!
//! Silence of posts counts only while their source is connected, and what fails for a minute is a P1 of its own
//! (policy.md 2, `system`). The state is that of the metrics, so that both never differ.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lampguard_model::{Millis, Timestamp};
use prometheus::Registry;
use tokio::sync::watch;

use crate::serve::Instance;

/// How often it is looked at. A word that finds the queue of the rules full is said again then.
const EVERY: Duration = Duration::from_secs(2);

/// A clock that is moved by more than this against the time that went by has stepped.
const STEP_MAX: Millis = Millis::seconds(60);
/// After a step the clock is called bad for so long: long enough to be told of (policy.md 2, `system`: 60 s).
const STEP_HELD: Duration = Duration::from_secs(120);
/// Over so long it is counted how many sensors disagree with the clock.
const SHARE_OVER: Duration = Duration::from_secs(60);
/// Fewer readings than this say nothing about the clock.
const SHARE_OF_MIN: u64 = 50;

/// Whether this machine's clock can be believed: it did not step, and most sensors do not stand ahead of it. One that
/// runs slow is seen by readings more than 5 min ahead of it; one that runs ahead makes readings late, as a backlog does, and
/// cannot be told from one here (`doctor` asks NTP).
#[derive(Debug, Default)]
struct ClockWatch {
    last: Option<(Instant, Timestamp)>,
    stepped: Option<Instant>,
    /// Stored readings, and those of them that stand ahead of the clock, at the looks of the last minute.
    counts: VecDeque<(Instant, u64, u64)>,
}

impl ClockWatch {
    fn is_good(&mut self, now: Instant, wall: Timestamp, stored: u64, ahead: u64) -> bool {
        if let Some((then, was)) = self.last.replace((now, wall)) {
            let passed = Millis(i64::try_from(now.duration_since(then).as_millis()).unwrap_or(i64::MAX));
            if (wall.since(was).0 - passed.0).abs() > STEP_MAX.0 {
                self.stepped = Some(now);
            }
        }
        let held = self.stepped.is_some_and(|at| now.duration_since(at) < STEP_HELD);
        self.counts.push_back((now, stored, ahead));
        while self.counts.front().is_some_and(|(at, ..)| now.duration_since(*at) > SHARE_OVER) {
            self.counts.pop_front();
        }
        let (_, stored_then, ahead_then) = self.counts.front().copied().unwrap_or((now, stored, ahead));
        let (stored, ahead) = (stored - stored_then.min(stored), ahead - ahead_then.min(ahead));
        let outvoted = stored >= SHARE_OF_MIN && ahead * 2 > stored;
        !held && !outvoted
    }
}

/// Tells the rules what changed, until `ending`.
pub(crate) async fn run(instance: Arc<Instance>, mut ending: watch::Receiver<bool>) {
    let mut told: BTreeMap<String, (bool, String)> = BTreeMap::new();
    let mut clock = ClockWatch::default();
    let mut looks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = ending.changed() => return,
        }
        let of_clock = {
            let ahead = counter(&instance.registry, "lampguard_ingester_clock_ahead_total");
            let stored = counter(&instance.registry, "lampguard_ingester_stored_total");
            clock.is_good(Instant::now(), (instance.clock)(), stored, ahead)
        };
        let plain = parts(&instance).into_iter().chain([("clock".to_owned(), of_clock)]);
        let plain = plain.map(|(part, good)| (part, good, String::new()));
        let mut plain: Vec<_> = plain.collect();
        // Asked on every node, also where nobody is told by it: the others hear of them, `/metrics` has them.
        let watched = instance.watchers.parts();
        if let Some(nodes) = &instance.nodes {
            let all = plain.iter().chain(&watched);
            let bad = all.filter(|(_, good, _)| !good).map(|(part, ..)| part.as_str());
            nodes.set_faults(bad, has_source(&instance, &plain));
            let others = nodes.parts();
            if !nodes.owners.judges_here() {
                // Nobody is told by this node: the others hear its faults, and tell.
                continue;
            }
            plain.extend(others);
        }
        for (part, good, because) in plain.into_iter().chain(watched) {
            if !good && instance.alerting.is_dismissed(&part) {
                instance.watchers.dismiss(&part);
            }
            let word = (good, because);
            if told.get(&part) != Some(&word) && instance.alerting.system(&part, word.0, &word.1) {
                told.insert(part, word);
            }
        }
    }
}

/// A broker is connected, or sensors connect by themselves.
fn has_source(instance: &Instance, parts: &[(String, bool, String)]) -> bool {
    let mut brokers = parts.iter().filter(|(part, ..)| part.starts_with("broker:")).peekable();
    instance.config.listener.is_some() || brokers.peek().is_none() || brokers.any(|(_, good, _)| *good)
}

/// Each part by name, and whether it works.
pub(crate) fn parts(instance: &Instance) -> Vec<(String, bool)> {
    let registry = &instance.registry;
    let of = |name: &str| gauges(registry, name);
    let brokers = of("lampguard_broker_up").into_iter().map(|(id, up)| (format!("broker:{id}"), up > 0.0));
    let granted = of("lampguard_broker_subscribed");
    let granted = granted.into_iter().map(|(id, all)| (format!("subscription:{id}"), all > 0.0));
    let databases = of("lampguard_tsdb_up").into_iter().map(|(_, up)| ("database".to_owned(), up > 0.0));
    let store = of("lampguard_alerting_store_failing");
    let store = store.into_iter().map(|(_, failing)| ("store".to_owned(), failing < 1.0));
    let channels =
        of("lampguard_alerting_channel_up").into_iter().map(|(id, up)| (format!("channel:{id}"), up > 0.0));
    let stopped = instance.ingester.get().is_some_and(|handles| handles.inlet.gate.is_stopped());
    let disk = ("disk".to_owned(), !stopped);
    brokers
        .chain(granted)
        .chain(databases)
        .chain(of_series(registry))
        .chain(store)
        .chain(channels)
        .chain([disk])
        .collect()
}

/// The thread that makes rows for the databases: without it walls stand still.
pub(crate) fn of_series(registry: &Registry) -> impl Iterator<Item = (String, bool)> {
    gauges(registry, "lampguard_series_up").into_iter().map(|(_, up)| ("series".to_owned(), up > 0.0))
}

/// A counter's value.
pub(crate) fn counter(registry: &Registry, name: &str) -> u64 {
    let families = registry.gather();
    let found = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    found.map(|metric| metric.get_counter().get_value() as u64).sum()
}

/// The values of a gauge, by its first label, or under `up` when it has none.
pub(crate) fn gauges(registry: &Registry, name: &str) -> Vec<(String, f64)> {
    let families = registry.gather();
    let found = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    found
        .map(|metric| {
            let label = metric.get_label().first().map_or("up", |label| label.value());
            (label.to_owned(), metric.get_gauge().get_value())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    /// Looks every two seconds for so long; the seconds at which the clock was bad.
    fn bad_at(
        seconds: u64,
        wall: impl Fn(i64) -> i64,
        stored: impl Fn(u64) -> u64,
        ahead: impl Fn(u64) -> u64,
    ) -> Vec<u64> {
        let (mut clock, start) = (ClockWatch::default(), Instant::now());
        let looks = (0..seconds).step_by(2).filter(|second| {
            let at = T + Millis::seconds(wall(*second as i64));
            !clock.is_good(start + Duration::from_secs(*second), at, stored(*second), ahead(*second))
        });
        looks.collect()
    }

    #[test]
    fn a_clock_that_steps_is_bad_for_two_minutes_and_one_that_is_slewed_is_good() {
        let stepped = bad_at(300, |second| if second < 100 { second } else { second - 3600 }, |n| n, |_| 0);
        assert_eq!((stepped.first(), stepped.last()), (Some(&100), Some(&218)));
        assert!(bad_at(300, |second| second + second / 100, |n| n, |_| 0).is_empty());
    }

    #[test]
    fn a_clock_that_most_sensors_stand_ahead_of_is_bad_and_a_few_wrong_sensors_say_nothing() {
        assert!(bad_at(300, |second| second, |n| n * 5, |n| n * 2).is_empty(), "two of five");
        assert!(bad_at(300, |second| second, |n| n / 4, |n| n / 4).is_empty(), "too few to tell");
        let behind = bad_at(300, |second| second, |n| n * 5, |n| if n < 100 { 0 } else { (n - 100) * 5 });
        assert!(behind.first().is_some_and(|second| (130..140).contains(second)), "{behind:?}");
        assert_eq!(behind.last(), Some(&298));
    }
}
