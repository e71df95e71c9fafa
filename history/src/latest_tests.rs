//! Latest readings: who wins, what partial frames change, what survives.

use lampguard_model::Fields;

use super::*;
use crate::support::{NOON, reading};

fn partial(at: i64, field: Field, value: i64) -> StoredReading<'static> {
    let mut fields = Fields::default();
    fields.set(field, value);
    StoredReading { marks: Marks::PARTIAL, fields, ..reading("P1", at, 0) }
}

#[test]
fn a_later_measured_reading_wins_whatever_the_order_of_arrival() {
    let latest = Latest::new(10);
    assert!(latest.is_empty());
    assert!(latest.observe(&reading("P1", NOON, 1)));
    assert!(!latest.observe(&reading("P1", NOON - 1, 2)));
    assert!(!latest.observe(&reading("P1", NOON, 1)), "seen before");
    assert_eq!(latest.get("P1").unwrap().row.fields.get(Field::LeakageMa), Some(1));
    assert!(latest.observe(&reading("P1", NOON + 1, 3)));
    let found = latest.get("P1").unwrap();
    assert_eq!((found.value(Field::LeakageMa), &*found.zone), (Some((3, Timestamp(NOON + 1))), "z1"));
    assert_eq!((latest.len(), latest.get("P2")), (1, None));
}

#[test]
fn a_broken_clock_does_not_freeze_a_post() {
    let latest = Latest::new(10);
    let wrong =
        StoredReading { marks: Marks::CLOCK, ts: Some(Timestamp(NOON * 2)), ..reading("P1", NOON, 1) };
    assert!(latest.observe(&wrong));
    assert!(latest.observe(&reading("P1", NOON + 30_000, 2)), "receipt time stood in");
}

#[test]
fn a_partial_frame_keeps_what_it_does_not_carry_with_its_old_time() {
    let latest = Latest::new(10);
    latest.observe(&reading("P1", NOON, 800));
    assert!(latest.observe(&partial(NOON + 10, Field::ShellV, 5_000)));
    assert!(latest.observe(&partial(NOON + 20, Field::TemperatureC, 9_000)));
    let check = |found: &LatestReading| {
        assert_eq!(found.value(Field::LeakageMa), Some((800, Timestamp(NOON))));
        assert_eq!(found.value(Field::ShellV), Some((5_000, Timestamp(NOON + 10))));
        assert_eq!(found.value(Field::TemperatureC), Some((9_000, Timestamp(NOON + 20))));
        assert_eq!(found.value(Field::LampA), None);
    };
    let found = latest.get("P1").unwrap();
    check(&found);
    let (record, aged) = latest.saved("P1").unwrap();
    let loaded = Latest::new(10);
    assert!(loaded.load(&record, &aged));
    assert_eq!(loaded.get("P1"), Some(found));
    check(&loaded.get("P1").unwrap());

    latest.observe(&partial(NOON + 30, Field::LeakageMa, 900));
    assert_eq!(latest.get("P1").unwrap().value(Field::LeakageMa), Some((900, Timestamp(NOON + 30))));
    latest.observe(&reading("P1", NOON + 40, 700));
    let whole = latest.get("P1").unwrap();
    assert_eq!((whole.value(Field::ShellV), whole.aged.len()), (None, 0), "a whole frame says all there is");
}

#[test]
fn the_table_is_bounded_and_says_what_it_refused() {
    let latest = Latest::new(2);
    let names = ["P1", "P2", "P3", "P4"];
    for name in names {
        latest.observe(&reading(name, NOON, 1));
    }
    assert_eq!((latest.len(), latest.refused()), (2, 2));
    assert!(latest.observe(&reading("P1", NOON + 1, 1)), "known posts go on");
    latest.remove("P1");
    assert!(latest.observe(&reading("P3", NOON, 1)));
    let posts: Vec<Box<str>> = latest.snapshot().into_iter().map(|one| one.post).collect();
    assert_eq!(posts, ["P2".into(), "P3".into()]);
    latest.set_limit(3);
    assert!(latest.observe(&reading("P4", NOON, 1)), "a register with more posts");
    let untracked = StoredReading { marks: Marks::UNTRACKED, ..reading("P2", NOON + 9, 1) };
    assert!(!latest.observe(&untracked));
}

#[test]
fn unregistered_devices_make_room_when_they_fall_silent() {
    let latest = Latest::new(10);
    let stranger = |name, at| StoredReading { zone: UNREGISTERED, ..reading(name, at, 1) };
    latest.observe(&stranger("X1", NOON));
    latest.observe(&stranger("X2", NOON + 500));
    latest.observe(&reading("P1", NOON, 1));
    assert_eq!(latest.forget_unregistered(Timestamp(NOON + 300)), ["X1".into()]);
    assert_eq!(latest.len(), 2);
}

#[test]
fn damaged_saved_bytes_are_refused() {
    let latest = Latest::new(10);
    assert!(!latest.load(b"nothing", b""));
    let (record, _) = {
        latest.observe(&reading("P1", NOON, 1));
        latest.saved("P1").unwrap()
    };
    assert!(latest.load(&record, b"odd length"));
}
