use proptest::prelude::*;

use super::*;

/// Everything that happened, without the time at which it was decided.
fn outcome(readings: &[StoredReading<'static>]) -> Vec<(String, Vec<Kind>)> {
    let mut city = City::new();
    for r in readings {
        city.read(r);
    }
    let mut found: Vec<_> = city
        .engine
        .open_incidents()
        .filter(|i| i.family == Family::Electric)
        .map(|i| {
            let mut kinds = i.kinds.clone();
            kinds.sort();
            (i.id.to_string(), kinds)
        })
        .collect();
    found.sort();
    found
}

/// Five samples of one post within half an hour, delivered at nearly the same moment.
fn samples(above: [usize; 2], shell_too: bool) -> Vec<StoredReading<'static>> {
    let make = |n: usize| {
        let ma = if above.contains(&n) { 45.0 } else { 1.0 };
        let mut r = leak(minutes(n as i64), ma);
        if shell_too {
            r = with(r, Field::ShellV, if above.contains(&n) { 90.0 } else { 0.2 });
        }
        r.received_at = minutes(5) + Millis(n as i64);
        r
    };
    (0..5).map(make).collect()
}

proptest! {
    #[test]
    fn any_order_of_near_simultaneous_delivery_with_duplicates_gives_the_same_incident(
        first in 0usize..5, second in 0usize..5, shell_too in any::<bool>(),
        order in Just((0..5usize).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec((0usize..5, 0usize..10), 0..6),
    ) {
        prop_assume!(first < second);
        let samples = samples([first, second], shell_too);
        let straight = outcome(&samples);
        let mut delivered: Vec<_> = order.iter().map(|n| samples[*n].clone()).collect();
        for (which, place) in again {
            let copy = samples[which].clone();
            delivered.insert(place.min(delivered.len()), copy);
        }
        prop_assert_eq!(straight.len(), 1);
        prop_assert_eq!(outcome(&delivered), straight);
    }

    #[test]
    fn a_replay_gives_the_same_incidents_and_writes_nothing_twice(
        values in proptest::collection::vec((0u8..4, 0i64..600), 1..80),
    ) {
        let mut at = T;
        let readings: Vec<_> = values.iter().map(|(level, gap)| {
            at = at + Millis::seconds(*gap);
            let ma = [0.5, 16.0, 29.0, 44.0][usize::from(*level)];
            with(leak(at, ma), Field::SupplyV, if *gap % 7 == 0 { 0.0 } else { 230.0 })
        }).collect();
        let mut live = City::new();
        for r in &readings { live.read(r); }
        let mut replay = City::new();
        for r in &readings { replay.read(r); }
        let keys = |city: &City| -> Vec<String> {
            city.effects.iter().filter_map(|e| match e {
                Effect::Open { event, .. } | Effect::Changed { event, .. } | Effect::Escalated { event, .. } => Some(event.key.clone()),
                _ => None,
            }).collect()
        };
        prop_assert_eq!(keys(&live), keys(&replay));
        let unique: std::collections::HashSet<String> = keys(&live).into_iter().collect();
        prop_assert_eq!(unique.len(), keys(&live).len());
        // After a restart the incidents are known: the same readings open none.
        let mut restarted = City::new();
        for incident in live.engine.open_incidents() {
            restarted.engine.seed(incident.clone());
        }
        for r in &readings { restarted.read(r); }
        prop_assert_eq!(restarted.opened().len(), 0);
        let known: Vec<_> = live.engine.open_incidents().map(|i| (i.id.clone(), i.due_at, i.kinds.clone())).collect();
        let after: Vec<_> = restarted.engine.open_incidents().map(|i| (i.id.clone(), i.due_at, i.kinds.clone())).collect();
        prop_assert_eq!(known, after);
    }
}

#[test]
fn a_signal_that_changes_to_the_same_again_for_one_moment_writes_an_event_for_each() {
    let mut city = City::new();
    let mut at = T;
    for (level, gap) in [(1, 0), (1, 208), (1, 101), (1, 473), (1, 118), (0, 91), (3, 0), (0, 420), (0, 30)] {
        at = at + Millis::seconds(gap);
        let volts = if gap % 7 == 0 { 0.0 } else { 230.0 };
        city.read(&with(leak(at, [0.5, 16.0, 29.0, 44.0][level]), Field::SupplyV, volts));
    }
    let keys = city.effects.iter().filter_map(|effect| match effect {
        Effect::Changed { event, .. } if event.kind == "signal" => Some(event.key.as_str()),
        _ => None,
    });
    let keys: Vec<&str> = keys.collect();
    let unique: std::collections::HashSet<_> = keys.iter().collect();
    assert!(keys.len() >= 3 && unique.len() == keys.len(), "{keys:#?}");
}

#[test]
fn all_criticals_in_any_order_are_one_incident() {
    let samples: Vec<_> = (0..5).map(|n| leak(minutes(n), 45.0)).collect();
    for rotation in 0..5 {
        let mut order = samples.clone();
        order.rotate_left(rotation);
        order.reverse();
        for r in &mut order {
            r.received_at = minutes(5);
        }
        assert_eq!(outcome(&order).len(), 1);
    }
}
