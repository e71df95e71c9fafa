//! Admission: duplicates, clocks, free milliseconds, gaps, bounds.

use lampguard_model::Field;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_795_435_200_000);

fn place(admission: &mut Admission) -> Place {
    Place { post: None, device: admission.track("P1") }
}

fn reading(boot: u32, seq: u64, leakage: i64) -> Reading {
    let mut reading = Reading { boot: Some(boot), seq: Some(seq), ts: Some(NOW), ..Reading::default() };
    reading.put(Field::LeakageMa, leakage);
    reading
}

fn admit(admission: &mut Admission, mut reading: Reading, received_at: Timestamp) -> (Decision, Reading) {
    let place = place(admission);
    let decision = admission.admit(&mut reading, &place, "P1", false, received_at);
    (decision, reading)
}

fn stored(decision: Decision) -> Timestamp {
    match decision {
        Decision::Fresh { stored_ts, .. } => stored_ts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn situation_s8_the_same_reading_again_is_a_duplicate_for_a_day() {
    let mut admission = Admission::default();
    assert!(matches!(admit(&mut admission, reading(1, 1, 5), NOW).0, Decision::Fresh { .. }));
    for hours in [0, 5, 13, 23] {
        let later = NOW + Millis::hours(hours);
        assert_eq!(admit(&mut admission, reading(1, 1, 5), later).0, Decision::Duplicate, "after {hours} h");
        admit(&mut admission, reading(1, 100 + hours as u64, 5), later);
    }
}

#[test]
fn equal_numbers_with_other_content_are_stored_and_marked() {
    let mut admission = Admission::default();
    admit(&mut admission, reading(1, 1, 5), NOW);
    let (decision, marked) = admit(&mut admission, reading(1, 1, 6), NOW);
    assert!(matches!(decision, Decision::Fresh { .. }) && marked.marks.has(Marks::SEQ_REUSED));
    let (decision, _) = admit(&mut admission, reading(1, 1, 6), NOW);
    assert_eq!(decision, Decision::Duplicate);
}

#[test]
fn fault_s18_a_restarted_sensor_is_not_a_duplicate_of_itself() {
    let mut admission = Admission::default();
    admit(&mut admission, reading(1, 1, 5), NOW);
    let (decision, reading) = admit(&mut admission, reading(2, 1, 5), NOW);
    assert!(matches!(decision, Decision::Fresh { .. }) && !reading.marks.has(Marks::SEQ_REUSED));
}

#[test]
fn fault_s10_two_values_of_one_millisecond_are_both_kept() {
    let mut admission = Admission::default();
    let times: Vec<i64> = (0..5).map(|n| stored(admit(&mut admission, reading(1, n, 5), NOW).0).0).collect();
    assert_eq!(times, [NOW.0, NOW.0 + 1, NOW.0 + 2, NOW.0 + 3, NOW.0 + 4]);
}

#[test]
fn situation_s13_a_clock_that_cannot_be_right_gives_way_to_receipt() {
    let mut admission = Admission::default();
    for (n, ts) in [0, NOW.0 + 86_400_000, NOW.0 + 300_001, -5].into_iter().enumerate() {
        let odd = Reading { ts: Some(Timestamp(ts)), ..reading(1, n as u64, 5) };
        let (decision, marked) = admit(&mut admission, odd, NOW);
        assert!(marked.marks.has(Marks::CLOCK), "{ts}");
        assert!(stored(decision).since(NOW).0 < 10);
    }
    let ahead = Reading { ts: Some(NOW + Millis::minutes(5)), ..reading(1, 9, 5) };
    assert!(!admit(&mut admission, ahead, NOW).1.marks.has(Marks::CLOCK));
}

#[test]
fn what_is_older_than_two_periods_and_ten_minutes_is_late() {
    let mut admission = Admission::default();
    let old = Reading { ts: Some(NOW - Millis::minutes(10)), ..reading(1, 1, 5) };
    assert!(!admit(&mut admission, old, NOW).1.marks.has(Marks::LATE));
    let old = Reading { ts: Some(NOW - Millis::minutes(11)), ..reading(1, 2, 5) };
    assert!(admit(&mut admission, old, NOW).1.marks.has(Marks::LATE));
}

#[test]
fn situation_s31_a_retained_reading_counts_only_while_it_is_fresh() {
    let mut admission = Admission::default();
    let place = place(&mut admission);
    let mut try_at = |ts| {
        let mut retained = Reading { ts, ..reading(1, 1, 5) };
        admission.admit(&mut retained, &place, "P1", true, NOW)
    };
    assert_eq!(try_at(Some(NOW - Millis::minutes(11))), Decision::StaleRetained);
    assert_eq!(try_at(None), Decision::StaleRetained);
    assert!(matches!(try_at(Some(NOW - Millis::minutes(9))), Decision::Fresh { .. }));
}

#[test]
fn without_time_and_numbers_every_delivery_counts_and_is_marked() {
    let mut admission = Admission::default();
    for _ in 0..2 {
        let bare = Reading { ts: None, seq: None, ..reading(1, 1, 5) };
        let (decision, marked) = admit(&mut admission, bare, NOW);
        assert!(matches!(decision, Decision::Fresh { .. }) && marked.marks.has(Marks::NO_IDENTITY));
    }
}

#[test]
fn fault_b9_peer_p7_missing_numbers_are_found_and_late_ones_fill_the_gap() {
    let mut admission = Admission::default();
    let place = place(&mut admission);
    let mut see = |boot, seq| admission.gap(&place, &reading(boot, seq, 5), NOW);
    assert_eq!(see(1, 10).missing, 0);
    assert_eq!(see(1, 11).missing, 0);
    assert_eq!(see(1, 15).missing, 3);
    assert!(see(1, 13).filled && !see(1, 13).filled && !see(1, 15).filled);
    assert_eq!(see(1, 515).missing, 499);
    assert!(!see(1, 16).filled, "too far back to tell");
    assert_eq!(see(2, 0).missing, 0, "a new boot begins anew");
}

#[test]
fn one_broken_number_is_no_gap_of_its_size() {
    let mut admission = Admission::default();
    let place = place(&mut admission);
    let mut see = |seq| admission.gap(&place, &reading(1, seq, 5), NOW).missing;
    assert_eq!((see(10), see(9_000_000_000_000_000_000)), (0, 0));
    assert_eq!((see(12), see(15)), (0, 2));
}

#[test]
fn fault_f5_a_million_invented_names_do_not_exhaust_memory() {
    let mut admission = Admission::with_limit(200_000);
    for n in 0..1_000_000u64 {
        let name = format!("ghost-{n}");
        let place = Place { post: None, device: admission.track(&name) };
        admission.admit(&mut reading(1, n, 5), &place, &name, false, NOW);
    }
    assert_eq!(admission.devices.len(), UNREGISTERED_TRACKED_MAX);
    assert!(admission.identities() <= 200_000, "{}", admission.identities());
}

#[test]
fn devices_that_a_new_register_knows_give_their_room_to_other_strangers() {
    let mut admission = Admission::default();
    let name = |n: usize| format!("D-{n}");
    for n in 0..UNREGISTERED_TRACKED_MAX {
        assert!(admission.track(&name(n)).is_some());
    }
    assert!(admission.track("D-new").is_none(), "no room");
    admission.recount(|device| device == "D-7");
    assert!(admission.track("D-new").is_some());
    assert!(admission.track("D-newer").is_none());
    // It leaves the register again: it is known, and takes room.
    admission.recount(|_| false);
    assert!(admission.track("D-7").is_some() && admission.track("D-newer").is_none());
}

#[test]
fn what_is_in_the_journal_is_known_after_a_restart() {
    let mut before = Admission::default();
    let mut kept = reading(3, 7, 5);
    let place_before = place(&mut before);
    let Decision::Fresh { stored_ts, identity } = before.admit(&mut kept, &place_before, "P1", false, NOW)
    else {
        panic!("not fresh")
    };
    let stored =
        StoredReading { identity, stored_ts, zone: "unregistered", ..StoredReading::said(&kept, "P1", NOW) };
    let mut after = Admission::default();
    let place_after = place(&mut after);
    after.learn(&place_after, &stored);
    assert_eq!(after.admit(&mut reading(3, 7, 5), &place_after, "P1", false, NOW), Decision::Duplicate);
    assert_eq!(after.gap(&place_after, &reading(3, 10, 5), NOW).missing, 2);
}

proptest! {
    #[test]
    fn times_under_which_readings_are_kept_are_unique(times in proptest::collection::vec(0i64..40, 1..200)) {
        let mut admission = Admission::default();
        let mut kept = std::collections::HashSet::new();
        for (n, offset) in times.into_iter().enumerate() {
            let reading = Reading { ts: Some(NOW - Millis(offset)), ..reading(1, n as u64, 5) };
            let (decision, _) = admit(&mut admission, reading, NOW);
            prop_assert!(kept.insert(stored(decision)), "twice");
        }
    }
}

#[test]
fn a_batch_of_one_frozen_time_is_kept_under_ten_thousand_times_without_a_long_search() {
    let mut admission = Admission::default();
    let place = place(&mut admission);
    let mut kept = std::collections::HashSet::new();
    for seq in 0..10_000 {
        let mut reading = reading(1, seq, 5);
        kept.insert(stored(admission.admit(&mut reading, &place, "P1", false, NOW)));
    }
    assert_eq!(kept.len(), 10_000);
}
