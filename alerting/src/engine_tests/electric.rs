//! What may kill at one post, row by row of the table.

use super::*;
use crate::incident::{Kind, Severity, Signal};
use crate::life::Verb;
use crate::life::tests::crew;

fn flagged(at: Timestamp, flag: Flags, ma: Option<f64>) -> StoredReading<'static> {
    let mut r = ma.map_or_else(|| with(reading(at), Field::SupplyV, 229.0), |ma| leak(at, ma));
    r.flags = flag;
    r
}

fn saturated(at: Timestamp) -> StoredReading<'static> {
    let mut r = with(reading(at), Field::SupplyV, 229.0);
    r.marks.add(Marks::SATURATED);
    r
}

fn immersed(at: Timestamp, ma: f64) -> StoredReading<'static> {
    with(leak(at, ma), Field::Immersed, 1.0)
}

#[test]
fn situation_s4_saturated_twice_in_a_row_is_a_p1_with_the_value_unknown() {
    let mut city = City::new();
    city.read(&saturated(T));
    assert!(city.opened().is_empty(), "one");
    city.read(&saturated(minutes(5)));
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.evidence.thousandths), (Kind::SatLeak, None));
    assert_eq!(incident.severity, Severity::P1);
    assert!(incident.notes.iter().any(|note| note.contains("value unknown")));
    for n in 2..20 {
        city.read(&with(leak(minutes(5 * n), 0.5), Field::SupplyV, 229.0));
    }
    assert_ne!(city.the_incident().signal, Signal::Normal, "people only");
}

#[test]
fn one_saturated_sample_is_enough_with_the_shell_at_its_limit_or_with_the_flag_and_a_value_between_breaks_the_row()
 {
    let mut city = City::new();
    city.read(&with(saturated(T), Field::ShellV, 25.0));
    assert!(city.the_incident().kinds.contains(&Kind::SatLeak));
    let mut city = City::new();
    let mut r = saturated(T);
    r.flags = Flags::LEAK_ALARM;
    city.read(&r);
    assert_eq!(city.the_incident().kinds, [Kind::SatLeak]);
    let mut city = City::new();
    for n in 0..6 {
        let at = minutes(5 * n);
        city.read(&if n % 2 == 0 { saturated(at) } else { leak(at, 0.8) });
    }
    assert!(city.opened().is_empty());
}

#[test]
fn water_with_six_milliamperes_or_six_volts_is_a_p1_on_one_sample() {
    for (ma, volts, raised) in [(5.99, 0.0, false), (6.0, 0.0, true), (0.0, 5.99, false), (0.0, 6.0, true)] {
        let mut city = City::new();
        city.read(&with(immersed(T, ma), Field::ShellV, volts));
        let found = city.engine.open_incidents().any(|i| i.kinds.contains(&Kind::ImmersedLeak));
        assert_eq!(found, raised, "{ma} mA {volts} V");
    }
}

#[test]
fn immersed_leak_is_normal_after_thirty_clear_minutes_without_water() {
    let mut city = City::new();
    city.read(&immersed(T, 7.0));
    assert_eq!(city.the_incident().evidence.limit, 6_000);
    for n in 1..=6 {
        city.read(&with(leak(minutes(5 * n), 1.0), Field::Immersed, 0.0));
    }
    assert_eq!(city.the_incident().signal, Signal::Active);
    city.read(&with(leak(minutes(35), 1.0), Field::Immersed, 0.0));
    assert_eq!(city.the_incident().signal, Signal::Normal);
}

#[test]
fn situation_s25_water_and_then_silence_is_a_p1() {
    let mut city = City::new();
    city.read(&immersed(T, 0.5));
    city.pass(T, 10);
    assert!(city.opened().is_empty());
    city.pass(minutes(10), 1);
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::SensorDrowned, Severity::P1));
    assert_eq!(incident.due_at, minutes(41));
    for n in 0..9 {
        city.read(&with(leak(minutes(15 + 5 * n), 0.5), Field::Immersed, 0.0));
    }
    assert_ne!(city.the_incident().signal, Signal::Normal, "people only");
}

#[test]
fn one_critical_sample_and_then_nothing_powered_is_a_p1() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    city.tick(minutes(7));
    assert!(city.opened().is_empty(), "one and a half periods of five minutes");
    city.tick(minutes(8));
    let incident = city.the_incident();
    assert_eq!(
        (incident.evidence.kind, incident.evidence.thousandths),
        (Kind::CriticalThenSilent, Some(40_000))
    );
    assert_eq!((incident.opened_at, incident.severity), (minutes(8), Severity::P1));
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    city.read(&shell(minutes(5), 0.2));
    city.pass(minutes(5), 5);
    assert!(city.opened().is_empty(), "something valid and powered came");
}

#[test]
fn a_shell_critical_alone_with_a_calm_leak_beside_it_is_followed_by_silence_too() {
    let broken_pe = |at: Timestamp| with(shell(at, 230.0), Field::LeakageMa, 0.8);
    let mut city = City::new();
    city.read(&broken_pe(T));
    city.tick(minutes(7));
    assert!(city.opened().is_empty());
    city.tick(minutes(8));
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::CriticalThenSilent, Severity::P1));
    assert_eq!((&*incident.evidence.field, incident.evidence.thousandths), ("shell_v", Some(230_000)));
    let mut city = City::new();
    city.read(&broken_pe(T));
    city.read(&shell(minutes(5), 0.2));
    assert!(city.engine.watches.is_empty(), "what came ends it");
    city.pass(minutes(5), 5);
    assert!(city.opened().is_empty());
}

#[test]
fn only_what_was_measured_after_a_lone_critical_says_that_no_silence_followed_it() {
    for before in [-20, -8] {
        let mut city = City::new();
        city.read(&leak(T, 40.0));
        let mut backlog = leak(minutes(before), 0.8);
        backlog.received_at = minutes(1);
        city.read(&backlog);
        city.pass(minutes(1), 8);
        assert_eq!(city.the_incident().evidence.kind, Kind::CriticalThenSilent, "{before}");
    }
    // In the other order nothing is silent.
    let mut city = City::new();
    city.read(&leak(minutes(1), 0.8));
    let mut behind = leak(T, 40.0);
    behind.received_at = minutes(2);
    city.read(&behind);
    city.pass(minutes(2), 12);
    assert!(city.opened().is_empty());
}

#[test]
fn a_single_critical_before_switch_off_is_a_p2_and_judged_again_after_switch_on() {
    let mut city = City::new();
    city.read(&with(leak(T, 40.0), Field::SupplyV, 229.0));
    city.read(&with(leak(minutes(1), 0.0), Field::SupplyV, 0.0));
    city.pass(minutes(1), 9);
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::CriticalThenSilent, Severity::P2));
    assert_eq!(incident.due_at, incident.opened_at + Millis::hours(24));
    assert!(incident.notes.iter().any(|note| note.contains("before switch-off")));
    let id = incident.id.clone();
    city.read(&with(leak(minutes(20), 41.0), Field::SupplyV, 229.0));
    let incident = city.the_incident();
    assert_eq!((&incident.id, incident.severity), (&id, Severity::P1));
    assert_eq!((incident.p1_at, incident.due_at), (Some(minutes(20)), minutes(50)));
    assert_eq!(city.escalated().len(), 1);
    assert!(city.escalated()[0].1, "told again");
}

#[test]
fn five_critical_then_silent_on_one_feeder_are_one_incident_that_names_them() {
    for (count, incidents) in [(4, 4), (5, 1)] {
        let mut city = City::street(8);
        for n in 0..8 {
            city.read(&at_post(leak(T - Millis::minutes(5), 0.8), n));
        }
        for n in 0..count {
            city.read(&at_post(leak(T + Millis::seconds(n as i64), 40.0), n));
        }
        city.pass(T, 9);
        assert_eq!(city.opened().len(), incidents, "{count}");
        if incidents == 1 {
            let incident = city.the_incident();
            assert_eq!((incident.scope.name(), incident.members.len()), ("feeder", 5));
        }
    }
}

/// Five of twelve posts were critical and fell silent: one incident.
fn five_silent() -> City {
    let mut city = City::street(12);
    for n in 0..12 {
        city.read(&at_post(leak(T - Millis::minutes(5), 0.8), n));
    }
    for n in 0..5 {
        city.read(&at_post(leak(T + Millis::seconds(n as i64), 40.0), n));
    }
    city.pass(T, 9);
    assert_eq!(city.the_incident().members.len(), 5);
    city
}

#[test]
fn a_post_that_falls_silent_behind_the_five_is_named_and_told() {
    let mut city = five_silent();
    assert!(city.told().is_empty());
    city.read(&at_post(leak(minutes(10), 40.0), 6));
    city.pass(minutes(10), 9);
    assert_eq!(city.the_incident().members.len(), 6);
    assert_eq!(city.told(), ["incident.repeated"], "who goes there hears of the sixth");
}

#[test]
fn a_group_that_was_made_safe_swallows_no_post_that_falls_silent_after_it() {
    let made_safe = |city: &mut City| {
        let id = city.the_incident().id.to_string();
        city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
        city.moved(minutes(11), &id, crew(Verb::MakeSafe, "1"));
        id
    };
    let mut city = five_silent();
    made_safe(&mut city);
    city.read(&at_post(leak(minutes(12), 40.0), 6));
    city.pass(minutes(12), 9);
    let opened = city.opened();
    assert_eq!(opened.len(), 2);
    assert_eq!((&*opened[1].post_id, opened[1].severity), ("S6", Severity::P1));
    // Five more are one incident that follows the first.
    let mut city = five_silent();
    let first = made_safe(&mut city);
    for n in 5..10 {
        city.read(&at_post(leak(minutes(12) + Millis::seconds(n as i64), 40.0), n));
    }
    city.pass(minutes(12), 9);
    let opened = city.opened();
    assert_eq!((opened.len(), opened[1].scope.name()), (2, "feeder"));
    assert_eq!(opened[1].life.follows, [Arc::from(first)]);
    assert_ne!(opened[1].id, opened[0].id);
}

#[test]
fn the_devices_flag_without_a_value_or_near_the_limit_is_a_p1_and_against_a_low_value_a_p2() {
    let cases = [
        (None, Severity::P1, "without value"),
        (Some(15.0), Severity::P1, "near limit"),
        (Some(14.99), Severity::P2, "contradicts value"),
    ];
    for (ma, severity, note) in cases {
        let mut city = City::new();
        city.read(&flagged(T, Flags::LEAK_ALARM, ma));
        let incident = city.the_incident();
        assert_eq!((incident.evidence.kind, incident.severity), (Kind::FlagOnly, severity), "{ma:?}");
        assert!(incident.notes.iter().any(|known| known.contains(note)), "{:?}", incident.notes);
    }
}

#[test]
fn a_flag_is_normal_again_when_it_has_been_gone_for_ten_minutes() {
    let mut city = City::new();
    city.read(&flagged(T, Flags::LEAK_ALARM, Some(16.0)));
    for (minute, signal) in [(5, Signal::Active), (10, Signal::Active), (15, Signal::Normal)] {
        city.read(&leak(minutes(minute), 1.0));
        assert_eq!(city.the_incident().signal, signal, "minute {minute}");
    }
}

#[test]
fn a_flag_that_stays_up_for_a_day_through_normal_values_is_stuck_and_confirms_nothing() {
    let mut city = City::new();
    for n in 0..=(25 * 12) {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        city.read(&flagged(minutes(5 * n), Flags::LEAK_ALARM, Some(0.8)));
    }
    let incident = city.the_incident();
    assert_eq!(incident.severity, Severity::P2, "by itself it does not fall");
    assert!(incident.notes.iter().any(|note| note.contains("stuck flag")));
    city.read(&flagged(minutes(25 * 60 + 5), Flags::LEAK_ALARM, Some(40.0)));
    assert_eq!(city.the_incident().severity, Severity::P2, "one sample with a stuck flag is one sample");
    city.read(&flagged(minutes(25 * 60 + 10), Flags::LEAK_ALARM, Some(40.0)));
    assert_eq!(city.the_incident().severity, Severity::P1);
}

#[test]
fn what_was_a_list_entry_for_hours_is_told_when_it_becomes_a_p2_and_once_more_as_a_p1() {
    let mut city = City::new();
    let flagged_at = |city: &mut City, n: i64| {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        city.read(&flagged(minutes(5 * n), Flags::LEAK_ALARM, Some(0.8)));
    };
    (0..=300).for_each(|n| flagged_at(&mut city, n));
    let id = city.the_incident().id.to_string();
    city.moved(minutes(1501), &id, crate::life::tests::desk(Verb::Void, "1"));
    (301..=340).for_each(|n| flagged_at(&mut city, n));
    assert_eq!(city.opened().last().unwrap().severity, Severity::P3, "a stuck flag, and never told");
    for (minute, volts) in [(1701, 13.0), (1702, 13.0), (1703, 13.0), (1704, 40.0), (1705, 40.0)] {
        city.read(&shell(minutes(minute), volts));
    }
    let graver = city.escalated();
    let said: Vec<(Severity, bool)> =
        graver.iter().map(|(incident, told)| (incident.severity, *told)).collect();
    assert_eq!(said, [(Severity::P2, true), (Severity::P1, true)]);
    let (site, to) =
        (crate::testkit::site(), crate::notice::Address { channel: "c", to: "crew", phone: None });
    let notice = |incident: &Incident| crate::notice::Notice::escalated(incident, T, None, &site, to).id;
    assert_ne!(notice(graver[0].0), notice(graver[1].0), "or the second counts as told");
}

#[test]
fn three_samples_at_the_shell_warning_are_a_p2_due_in_thirty_minutes_and_told_at_once() {
    let mut city = City::new();
    for n in 0..2 {
        city.read(&shell(minutes(5 * n), 12.0));
    }
    assert!(city.opened().is_empty());
    city.read(&shell(minutes(10), 12.0));
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::ShellWarning, Severity::P2));
    assert_eq!(incident.due_at, minutes(40));
    assert!(told_at_opening(&city));
}

#[test]
fn a_leak_warning_needs_three_samples_over_fifteen_minutes_and_is_for_the_worklist() {
    let mut city = City::new();
    for n in 0..15 {
        city.read(&leak(minutes(n), 10.0));
    }
    assert!(city.opened().is_empty(), "fourteen minutes");
    city.read(&leak(minutes(15), 10.0));
    let incident = city.the_incident();
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::LeakWarning, Severity::P2));
    assert_eq!(incident.due_at, minutes(15) + Millis::hours(24));
    assert!(!told_at_opening(&city));
    let mut city = City::new();
    for n in 0..10 {
        city.read(&leak(minutes(5 * n), if n % 3 == 2 { 9.0 } else { 11.0 }));
    }
    assert!(city.opened().is_empty(), "never three in a row");
}

#[test]
fn a_warning_that_becomes_critical_is_the_same_incident_with_the_earlier_deadline() {
    let mut city = City::new();
    for n in 0..4 {
        city.read(&leak(minutes(5 * n), 12.0));
    }
    let opened = city.the_incident().clone();
    assert_eq!((opened.severity, opened.p1_at), (Severity::P2, None));
    city.read(&leak(minutes(20), 35.0));
    city.read(&leak(minutes(25), 35.0));
    let incident = city.the_incident();
    assert_eq!((&incident.id, incident.severity), (&opened.id, Severity::P1));
    assert_eq!((incident.p1_at(), incident.due_at), (Some(minutes(25)), minutes(55)));
    assert_eq!(incident.kinds, [Kind::LeakWarning, Kind::LeakCritical]);
    assert_eq!(incident.evidence.kind, Kind::LeakCritical, "people see what is grave");
    let mut city = City::new();
    for n in 0..3 {
        city.read(&shell(minutes(5 * n), 13.0));
    }
    let due_at = city.the_incident().due_at;
    city.read(&shell(minutes(15), 30.0));
    city.read(&shell(minutes(20), 30.0));
    let incident = city.the_incident();
    assert_eq!((incident.severity, incident.due_at), (Severity::P1, due_at), "the earlier one stays");
}

#[test]
fn a_change_of_wet_judges_the_warnings_again_too() {
    let mut city = City::new();
    for n in 0..3 {
        city.read(&shell(minutes(5 * n), 7.0));
    }
    assert!(city.opened().is_empty());
    let warning = WeatherReport { warning: Some(lampguard_model::Warning::Blue), ..WeatherReport::default() };
    city.weather(minutes(12), "z1", &warning);
    assert_eq!(city.the_incident().kinds, [Kind::ShellWarning]);
}

#[test]
fn a_suspect_hand_test_is_a_p2_due_in_a_day() {
    let mut city = City::new();
    let mut r = with(reading(T), Field::Check, 1.0);
    (r.cause, r.by) = (Cause::Manual, Some("王师傅"));
    city.read(&r);
    let incident = city.the_incident();
    assert_eq!((incident.severity, incident.due_at), (Severity::P2, T + Millis::hours(24)));
    assert!(incident.notes.contains(&"检测人 王师傅".to_owned()));
}

#[test]
fn voltage_in_an_isolated_extent_is_a_p1_at_once_and_only_after_the_isolation() {
    use crate::engine::isolation::Extent;
    for extent in [Extent::Post(Arc::from("P1")), Extent::Feeder(Arc::from("F1"))] {
        let mut city = City::new();
        city.engine.isolate(extent.clone(), minutes(10));
        city.read(&with(shell(minutes(9), 0.1), Field::SupplyV, 229.0));
        city.read(&with(shell(minutes(11), 5.9), Field::SupplyV, 0.0));
        assert!(city.opened_of(Family::Reenergised).is_empty());
        city.read(&with(shell(minutes(12), 6.0), Field::SupplyV, 0.0));
        let incident = city.the(Family::Reenergised);
        assert_eq!((incident.severity, incident.due_at), (Severity::P1, minutes(42)));
        city.pass(minutes(12), 60);
        assert!(
            city.opened_of(Family::Comms).iter().all(|i| i.evidence.kind == Kind::Blind),
            "no silence in it"
        );
        city.engine.restore(&extent);
        city.read(&with(shell(minutes(73), 0.1), Field::SupplyV, 229.0));
        assert_eq!(city.opened_of(Family::Reenergised).len(), 1);
    }
}

#[test]
fn a_live_shell_beside_a_leak_that_was_due_in_a_day_is_due_in_half_an_hour_and_told() {
    let mut city = City::new();
    [0, 5, 10, 15, 20].into_iter().for_each(|minute| city.read(&leak(minutes(minute), 11.0)));
    let due = city.the_incident().due_at;
    assert_eq!((city.the_incident().severity.name(), due > minutes(20 + 60 * 20)), ("P2", true));
    [25, 30, 35].into_iter().for_each(|minute| city.read(&shell(minutes(minute), 13.0)));
    let incident = city.the_incident();
    assert_eq!((incident.severity.name(), incident.due_at), ("P2", minutes(65)));
    assert_eq!(incident.evidence.kind.name(), "shell_warning");
    assert_eq!(city.told(), ["incident.repeated"], "once");
}
