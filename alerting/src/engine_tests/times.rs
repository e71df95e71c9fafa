use super::*;

fn late(measured: Timestamp, received: Timestamp, ma: f64) -> StoredReading<'static> {
    let mut r = leak(measured, ma);
    r.received_at = received;
    r
}

fn reviews(city: &City) -> usize {
    city.effects.iter().filter(|e| matches!(e, Effect::Review { .. })).count()
}

#[test]
fn situation_s13_a_wrong_clock_is_judged_at_receipt() {
    let mut city = City::new();
    for n in 0..2 {
        let mut r = leak(minutes(5 * n), 40.0);
        r.ts = Some(r.received_at + Millis::hours(24));
        r.marks.add(Marks::CLOCK);
        city.read(&r);
    }
    let incident = city.the_incident();
    assert_eq!(incident.evidence.measured_at, minutes(5));
    assert!(incident.notes.iter().any(|note| note.contains("时钟")));
}

#[test]
fn situation_s13_a_clock_that_goes_back_eight_hours_is_deaf_for_two_periods_at_most() {
    let mut city = City::new();
    city.read(&leak(T, 1.0));
    let mut opened_after = None;
    for n in 1..8 {
        let now = minutes(5 * n);
        city.read(&late(now - Millis::hours(8), now, 40.0));
        if !city.opened().is_empty() {
            opened_after.get_or_insert(5 * n);
        }
    }
    assert_eq!(opened_after, Some(20));
    assert_eq!(city.the_incident().evidence.measured_at, minutes(20));
}

#[test]
fn situation_s10_s12_a_backlog_with_a_cleared_critical_is_reviewed_and_not_raised_in_any_order() {
    let values = [1.0, 2.0, 45.0, 46.0, 2.0, 1.0, 1.0, 1.0];
    for newest_first in [false, true] {
        let mut city = City::new();
        city.read(&leak(minutes(-70), 1.0));
        let mut places: Vec<usize> = (0..values.len()).collect();
        if newest_first {
            places.reverse();
        }
        for (n, place) in places.into_iter().enumerate() {
            let measured = minutes(-60 + 5 * place as i64);
            city.read(&late(measured, T + Millis::seconds(n as i64), values[place]));
        }
        city.pass(T, 2);
        assert!(city.opened().is_empty(), "newest first: {newest_first}");
        assert!(reviews(&city) <= 2);
    }
}

#[test]
fn situation_s11_a_backlog_that_ends_critical_opens_now_with_its_own_time() {
    let mut city = City::new();
    city.read(&leak(minutes(-120), 1.0));
    for n in 0..6 {
        let ma = if n >= 4 { 50.0 } else { 1.0 };
        city.read(&late(minutes(-60 + 5 * n), T + Millis::seconds(n), ma));
    }
    assert!(city.opened().is_empty(), "the rest of the backlog has ten seconds to speak");
    city.tick(T + Millis::seconds(16));
    let incident = city.the_incident();
    assert_eq!(incident.opened_at, T + Millis::seconds(16));
    assert_eq!(incident.due_at, incident.opened_at + Millis::minutes(30));
    assert_eq!(incident.evidence.measured_at, minutes(-35));
    assert_eq!(incident.notes, ["历史超限, 待核实"]);
}

#[test]
fn peer_p10_a_backfill_behind_newer_samples_never_touches_the_live_state() {
    let mut city = City::new();
    city.read(&leak(T, 1.0));
    for n in 0..3 {
        let mut r = late(minutes(-60 + n), minutes(30 + n), 90.0);
        r.cause = Cause::Backfill;
        city.read(&r);
    }
    city.pass(minutes(33), 2);
    assert!(city.opened().is_empty());
    assert_eq!(reviews(&city), 3);
}

#[test]
fn situation_s31_a_retained_critical_never_raises() {
    let mut city = City::new();
    for n in 0..4 {
        let mut r = leak(minutes(n), 90.0);
        r.marks.add(Marks::RETAINED);
        city.read(&r);
    }
    assert!(city.opened().is_empty());
}

#[test]
fn a_device_without_clock_and_numbers_is_believed_at_its_second_reading() {
    let mut city = City::new();
    for n in 0..2 {
        let mut r = leak(minutes(5 * n), 40.0);
        (r.ts, r.identity) = (None, 4711);
        r.marks.add(Marks::NO_IDENTITY);
        city.read(&r);
    }
    assert_eq!(city.opened().len(), 1, "equal content is not a duplicate here");
}

#[test]
fn a_reading_without_identity_that_is_judged_alone_twice_and_then_stored_confirms_nothing() {
    let mut city = City::new();
    for n in 1..=3 {
        // Of another node: measured when that got it, and received here as often as it is sent.
        let mut r = leak(T, 40.0);
        (r.received_at, r.identity) = (minutes(n), 4711);
        r.marks.add(Marks::NO_IDENTITY);
        city.read(&r);
    }
    assert!(city.opened().is_empty());
    let mut r = leak(minutes(4), 40.0);
    (r.received_at, r.identity) = (minutes(5), 4711);
    r.marks.add(Marks::NO_IDENTITY);
    city.read(&r);
    assert_eq!(city.opened().len(), 1, "another one does");
}

#[test]
fn a_clock_step_of_our_own_moves_no_deadline_and_fires_nothing_twice() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    city.read(&leak(minutes(5), 40.0));
    let due_at = city.the_incident().due_at;
    for minute in [6, -54, -53, 8, 9] {
        city.tick(minutes(minute));
    }
    assert_eq!(city.the_incident().due_at, due_at);
    assert!(city.changes().is_empty());
}

#[test]
fn a_clock_of_our_own_that_goes_back_makes_no_post_deaf() {
    for back in [Millis::minutes(11), Millis::hours(1), Millis::hours(24)] {
        let mut city = City::new();
        for minute in [0, 5, 10] {
            city.read(&leak(minutes(minute), 1.0));
        }
        city.keep_dry(minutes(11) - back);
        for minute in [15, 20] {
            city.read(&leak(minutes(minute) - back, 90.0));
        }
        assert_eq!(
            city.the_incident().opened_at,
            minutes(20) - back,
            "back by {} min",
            back.as_seconds() / 60
        );
        // And forward again.
        city.read(&leak(minutes(25), 1.0));
        assert_eq!(city.opened().len(), 1);
    }
}

#[test]
fn a_clock_of_our_own_that_goes_back_delays_no_word_of_a_lone_critical_that_fell_silent() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    city.tick(minutes(1) - Millis::hours(1));
    city.pass(minutes(1) - Millis::hours(1), 8);
    assert_eq!(city.the_incident().evidence.kind, Kind::CriticalThenSilent);
}

#[test]
fn situation_s13_a_clock_that_is_always_behind_hides_no_flag_and_no_warning() {
    for behind in [Millis::minutes(15), Millis::hours(8)] {
        let mut city = City::new();
        for n in 0..8 {
            let now = minutes(5 * n) + Millis::seconds(n % 3);
            let mut r = late(now - behind, now, if n < 4 { 1.0 } else { 12.0 });
            if n == 3 {
                r = with(reading(now - behind), Field::SupplyV, 229.0);
                (r.received_at, r.flags) = (now, Flags::LEAK_ALARM);
            }
            city.read(&r);
            if n == 3 {
                let incident = city.the_incident();
                assert_eq!((incident.evidence.kind, incident.opened_at), (Kind::FlagOnly, now));
                assert_eq!(incident.evidence.measured_at, now, "by our clock");
            }
        }
        let kinds = &city.the_incident().kinds;
        assert!(kinds.contains(&Kind::LeakWarning), "{kinds:?}");
    }
    // A backlog comes faster than it was measured.
    let mut city = City::new();
    for n in 0..4 {
        let mut r = with(reading(minutes(5 * n - 60)), Field::SupplyV, 229.0);
        (r.received_at, r.flags) = (T + Millis::seconds(61 * n), Flags::LEAK_ALARM);
        city.read(&r);
    }
    assert!(city.opened().is_empty());
}

/// What a post that is dead in daylight says.
fn dead(measured: Timestamp, received: Timestamp) -> StoredReading<'static> {
    with(late(measured, received, 0.0), Field::SupplyV, 0.0)
}

#[test]
fn a_dead_post_in_daylight_does_not_call_the_night_behind_it_harmless() {
    // The live state comes first, then a night with danger until the switch-off and a dead day behind it.
    for newest_first in [false, true] {
        let mut city = City::new();
        city.read(&leak(minutes(-800), 1.0));
        city.keep_dry(T - Millis::minutes(1));
        city.read(&dead(T, T));
        let mut backlog: Vec<(i64, f64)> = vec![(-160, 1.0), (-155, 40.0), (-150, 41.0)];
        backlog.extend((1..20).map(|n| (-150 + 5 * n, -1.0)));
        if newest_first {
            backlog.reverse();
        }
        for (n, (minute, ma)) in backlog.into_iter().enumerate() {
            let (at, now) = (minutes(minute), T + Millis(100 * (n as i64 + 1)));
            city.read(&if ma < 0.0 { dead(at, now) } else { late(at, now, ma) });
        }
        assert!(city.opened().is_empty(), "the rest of the backlog has ten seconds to speak");
        city.pass(T, 2);
        let incident = city.the_incident();
        assert_eq!(incident.severity, crate::incident::Severity::P1);
        assert_eq!(incident.evidence.measured_at, minutes(-150), "newest first: {newest_first}");
        assert!(incident.notes.iter().any(|note| note.contains("历史超限")), "{:?}", incident.notes);
        assert_eq!(incident.due_at, incident.opened_at + Millis::minutes(30));
        assert_eq!(reviews(&city), 0);
    }
}

#[test]
fn a_lone_late_critical_as_a_devices_last_word_is_a_p1_and_one_that_is_contradicted_a_review() {
    let mut city = City::new();
    city.read(&leak(minutes(-120), 1.0));
    city.read(&late(minutes(-60), T, 50.0));
    city.pass(T, 7);
    assert!(city.opened().is_empty(), "as long as a live one is watched");
    city.pass(minutes(7), 1);
    let incident = city.the_incident();
    assert_eq!(incident.evidence.kind, Kind::CriticalThenSilent);
    assert_eq!((incident.severity.name(), incident.due_at), ("P1", incident.opened_at + Millis::minutes(30)));
    assert!(incident.notes.iter().any(|note| note.contains("历史超限")));
    let mut city = City::new();
    city.read(&leak(minutes(-120), 1.0));
    city.read(&late(minutes(-60), T, 50.0));
    city.read(&leak(minutes(4), 1.0));
    city.pass(minutes(4), 12);
    assert!(city.opened().is_empty());
    assert_eq!(reviews(&city), 1);
    // Its post said afterwards that it was switched off.
    let mut city = City::new();
    city.read(&leak(minutes(-120), 1.0));
    city.read(&late(minutes(-60), T, 50.0));
    city.read(&dead(minutes(-55), T + Millis::seconds(1)));
    city.pass(T, 8);
    assert_eq!(city.the_incident().severity.name(), "P2");
}

/// Critical at 22:10 and 22:15 and not sent; calm with supply until 05:30, then dead in daylight.
fn a_calm_night() -> City {
    let mut city = City::new();
    let start = minutes(130);
    city.read(&with(leak(start - Millis::minutes(10), 1.0), Field::SupplyV, 229.0));
    for n in 0..85 {
        let at = start + Millis::minutes(20 + 5 * n);
        city.keep_dry(at);
        city.read(&with(leak(at, 1.0), Field::SupplyV, 229.0));
    }
    for n in 0..18 {
        let at = minutes(570) + Millis::minutes(5 * n);
        city.keep_dry(at);
        city.read(&dead(at, at));
    }
    city
}

fn flush(city: &mut City) {
    let now = minutes(660);
    for (n, minute) in [130, 135].into_iter().enumerate() {
        let mut r = with(late(minutes(minute), now + Millis::seconds(n as i64), 60.0), Field::SupplyV, 229.0);
        r.cause = Cause::Backfill;
        city.read(&r);
    }
    city.pass(now, 20);
}

#[test]
fn criticals_of_the_evening_that_a_calm_night_contradicted_are_reviewed_though_the_day_is_dead() {
    let mut city = a_calm_night();
    flush(&mut city);
    assert!(city.opened().is_empty(), "{:#?}", city.opened());
    assert_eq!(reviews(&city), 2);
    // Also after a restart.
    let of = |effect: &Effect| match effect {
        Effect::Remember(memory) => Some(memory.clone()),
        _ => None,
    };
    let memory = a_calm_night().effects.iter().rev().find_map(of).unwrap();
    let mut after = City::new();
    after.engine.remember(&memory);
    after.engine.replaying(true);
    for n in 10..18 {
        let at = minutes(570) + Millis::minutes(5 * n);
        after.keep_dry(at);
        after.read(&dead(at, at));
    }
    after.engine.replaying(false);
    flush(&mut after);
    assert_eq!((after.opened().len(), reviews(&after)), (0, 2));
}

#[test]
fn a_calm_night_of_one_quantity_speaks_for_nothing_of_the_other() {
    let mut city = a_calm_night();
    let now = minutes(660);
    for (n, minute) in [130, 135].into_iter().enumerate() {
        let mut r = with(shell(minutes(minute), 60.0), Field::SupplyV, 229.0);
        (r.cause, r.received_at) = (Cause::Backfill, now + Millis::seconds(n as i64));
        city.read(&r);
    }
    city.pass(now, 20);
    assert_eq!(city.the_incident().evidence.kind, Kind::ShellCritical);
}
