//! Columns, lamps, supply, growth from storm to storm, units.

use super::*;
use crate::incident::{Kind, Severity, Signal};

fn tilted(at: Timestamp, degrees: f64) -> StoredReading<'static> {
    with(with(reading(at), Field::SupplyV, 229.0), Field::TiltDeg, degrees)
}

#[test]
fn tilt_impact_and_door_are_graded_as_the_table_says() {
    let usual = |city: &mut City| (0..3).for_each(|n| city.read(&tilted(minutes(-15 + 5 * n), 0.4)));
    type Case = (f64, bool, f64, Option<Severity>);
    let cases: [Case; 6] = [
        (5.3, false, 229.0, None),
        (5.4, false, 229.0, Some(Severity::P2)),
        (15.4, false, 229.0, Some(Severity::P1)),
        (0.4, true, 229.0, Some(Severity::P2)),
        (5.4, true, 229.0, Some(Severity::P1)),
        (0.4, true, 0.0, Some(Severity::P1)),
    ];
    for (degrees, impact, supply, severity) in cases {
        let mut city = City::new();
        usual(&mut city);
        let r = with(tilted(T, degrees), Field::Impact, f64::from(u8::from(impact)));
        city.read(&with(r, Field::SupplyV, supply));
        let found = city.opened_of(Family::Column);
        assert_eq!(found.first().map(|i| i.severity), severity, "{degrees}° {impact} {supply} V");
        if severity == Some(Severity::P2) {
            assert_eq!(found[0].due_at, T + Millis::hours(2));
            assert!(told_at_opening(&city));
        }
    }
}

#[test]
fn a_lean_that_grows_becomes_a_p1_and_is_normal_when_it_has_been_straight_for_ten_minutes() {
    let mut city = City::new();
    for (minute, degrees) in [(-5, 0.4), (0, 8.0), (5, 20.0), (10, 0.5), (15, 0.5), (19, 0.5)] {
        city.read(&tilted(minutes(minute), degrees));
    }
    let incident = city.the(Family::Column);
    assert_eq!((incident.severity, incident.p1_at), (Severity::P1, Some(minutes(5))));
    assert_eq!(incident.signal, Signal::Active);
    city.read(&tilted(minutes(20), 0.5));
    assert_eq!(city.the(Family::Column).signal, Signal::Normal);
}

#[test]
fn a_door_that_stands_open_for_two_minutes_is_a_p2_and_at_a_low_lying_or_wet_post_a_p1() {
    for (post, severity) in [("P1", Severity::P2), ("P2", Severity::P1)] {
        let mut city = City::new();
        let mut r = with(with(reading(T), Field::SupplyV, 229.0), Field::DoorOpen, 1.0);
        (r.post, r.device) = (post, post);
        city.read(&r);
        city.tick(T + Millis::seconds(119));
        assert!(city.opened_of(Family::Column).is_empty());
        city.tick(minutes(2));
        assert_eq!(city.the(Family::Column).severity, severity, "{post}");
    }
    let mut city = City::new();
    city.read(&with(with(reading(T), Field::SupplyV, 0.0), Field::DoorOpen, 1.0));
    city.pass(T, 8);
    assert!(city.opened_of(Family::Column).is_empty(), "not energised");
}

#[test]
fn supply_out_of_bounds_for_half_an_hour_is_on_the_daily_list() {
    for (volts, raised) in [(179.9, true), (180.0, false), (250.0, false), (250.1, true), (0.0, false)] {
        let mut city = City::new();
        for n in 0..=6 {
            assert!(city.opened_of(Family::Supply).is_empty(), "{volts} V after {} min", 5 * n);
            city.read(&with(leak(minutes(5 * n), 0.8), Field::SupplyV, volts));
        }
        assert_eq!(city.opened_of(Family::Supply).len(), usize::from(raised), "{volts} V");
        if raised {
            assert_eq!(city.the(Family::Supply).severity, Severity::P4);
            for n in 7..=13 {
                city.read(&with(leak(minutes(5 * n), 0.8), Field::SupplyV, 229.0));
            }
            assert_eq!(city.the(Family::Supply).signal, Signal::Normal);
        }
    }
}

#[test]
fn a_cabinet_raises_its_supply_and_none_of_the_kinds_of_posts() {
    let mut city = City::new();
    for n in 0..=40 {
        let mut r = with(with(leak(minutes(n), 300.0), Field::ShellV, 80.0), Field::SupplyV, 260.0);
        (r.post, r.device) = ("C1", "C1");
        city.read(&r);
    }
    let families: Vec<Family> = city.engine.open_incidents().map(|i| i.family).collect();
    assert_eq!(families, [Family::Supply]);
}

/// A city whose lamps should burn, or should not.
fn timed(burning: bool) -> City {
    let mut city = City::street(6);
    city.engine.set_timetable(Box::new(move |_, _| Some(burning)));
    city
}

fn lamp(at: Timestamp, watts: f64) -> StoredReading<'static> {
    with(with(reading(at), Field::SupplyV, 229.0), Field::LampW, watts)
}

#[test]
fn a_lamp_that_should_burn_and_is_dark_for_a_quarter_of_an_hour_is_told_once_per_road() {
    let mut city = timed(true);
    for minute in [0, 5, 10, 14] {
        (0..4).for_each(|n| city.read(&at_post(lamp(minutes(minute), if n == 3 { 20.0 } else { 19.9 }), n)));
    }
    assert!(city.opened_of(Family::Lamp).is_empty());
    (0..4).for_each(|n| city.read(&at_post(lamp(minutes(15), if n == 3 { 20.0 } else { 19.9 }), n)));
    let out = city.opened_of(Family::Lamp);
    assert_eq!(out.len(), 3, "20 % of 100 W is lit");
    assert!(out.iter().all(|i| i.severity == Severity::P2 && i.due_at == minutes(45)));
    let told = city.effects.iter().filter(|e| matches!(e, Effect::Open { told: true, .. })).count();
    assert_eq!(told, 1, "one road");
    (0..3).for_each(|n| city.read(&at_post(lamp(minutes(20), 98.0), n)));
    (0..3).for_each(|n| city.read(&at_post(lamp(minutes(35), 98.0), n)));
    assert!(city.engine.open_incidents().all(|i| i.signal == Signal::Normal));
}

#[test]
fn a_lamp_that_burns_by_day_is_on_the_daily_list_and_without_a_timetable_nothing_is_said() {
    let mut city = timed(false);
    for n in 0..=6 {
        city.read(&at_post(lamp(minutes(5 * n), 98.0), 0));
    }
    let incident = city.the(Family::Lamp);
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::DayBurn, Severity::P4));
    let mut city = City::street(2);
    for n in 0..=6 {
        city.read(&at_post(lamp(minutes(5 * n), 0.0), 0));
    }
    assert!(city.opened_of(Family::Lamp).is_empty());
}

#[test]
fn lamps_that_burnt_by_day_and_are_dark_by_night_are_told_once_per_road_too() {
    let mut city = City::street(3);
    city.engine.set_timetable(Box::new(|_, now| Some(now >= minutes(60))));
    for n in 0..=6 {
        (0..3).for_each(|post| city.read(&at_post(lamp(minutes(5 * n), 98.0), post)));
    }
    assert_eq!(city.opened_of(Family::Lamp).len(), 3, "on the daily list");
    for n in 12..=16 {
        (0..3).for_each(|post| city.read(&at_post(lamp(minutes(5 * n), 0.0), post)));
    }
    let told: Vec<bool> = city.escalated().iter().map(|(_, told)| *told).collect();
    assert_eq!((told.len(), told.iter().filter(|told| **told).count()), (3, 1), "one road");
}

/// Storms of these heights, a dry day between them.
pub(super) fn storms(mut city: City, peaks: &[f64]) -> City {
    for (storm, peak) in peaks.iter().enumerate() {
        let start = storm as i64 * 48 * 60;
        for n in 0..24 {
            city.keep_dry(minutes(start + 30 * n));
            city.read(&leak(minutes(start + 30 * n), 1.0));
        }
        let begins = start + 12 * 60;
        let rain = WeatherReport { rain_mm_h: Some(4.0), ..WeatherReport::default() };
        city.weather(minutes(begins), "all", &rain);
        city.tick(minutes(begins + 30));
        for n in 0..6 {
            let height = if n == 2 { 400.0 } else { *peak };
            let ma = if n == 2 && *peak > 100.0 { *peak } else { height.min(*peak * 1.01) };
            city.read(&leak(minutes(begins + 31 + n), ma));
        }
        for n in 0..40 {
            city.keep_dry(minutes(begins + 40 + 30 * n));
            city.read(&leak(minutes(begins + 40 + 30 * n), 1.0));
        }
    }
    city
}

#[test]
fn three_storms_each_a_third_higher_and_the_last_above_three_are_a_trend() {
    for (peaks, raised) in [
        (&[1.8, 2.4, 3.2][..], true),
        (&[1.8, 2.4, 2.9], false),
        (&[2.4, 2.4, 3.2], false),
        (&[7.0], true),
        (&[5.9], false),
    ] {
        let city = storms(City::new(), peaks);
        let found = city.opened_of(Family::Trend);
        assert_eq!(found.len(), usize::from(raised), "{peaks:?}");
        if raised {
            assert_eq!((found[0].severity, found[0].due()), (Severity::P3, None));
            assert!(found[0].notes.iter().any(|note| note.contains("wet peaks")));
        }
    }
}

#[test]
fn situation_s28_amperes_for_milliamperes_are_told_and_never_rescaled() {
    let mut city = City::street(12);
    for n in 0..300i64 {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        for post in 0..12 {
            let ma = if post == 0 { 0.035 } else { 34.0 / 10.0 };
            let r = with(leak(minutes(5 * n), ma), Field::SupplyV, 229.0 + (n % 9) as f64 / 10.0);
            city.read(&at_post(r, post));
        }
    }
    let told: Vec<_> = city.opened_of(Family::Comms);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&*told[0].post_id, told[0].severity), ("S0", Severity::P4));
    assert!(told[0].notes.iter().any(|note| note.contains("unit suspect")));
    assert_eq!(told[0].evidence.thousandths, Some(30), "as it was sent, to a hundredth");
    assert!(city.opened().is_empty());
}

#[test]
fn situation_s29_tenths_and_thousandths_of_a_milliampere_are_judged_alike() {
    for ma in [30.1, 30.100] {
        let mut city = City::new();
        (0..2).for_each(|n| city.read(&leak(minutes(5 * n), ma)));
        assert_eq!(city.the_incident().evidence.thousandths, Some(30_100));
    }
}

#[test]
fn situation_s30_a_partial_frame_refreshes_no_leakage() {
    let mut city = City::new();
    city.read(&leak(T, 17.0));
    city.read(&leak(minutes(5), 17.0));
    for n in 2..6 {
        city.read(&shell(minutes(5 * n), 0.1));
    }
    let warning = WeatherReport { warning: Some(lampguard_model::Warning::Blue), ..dry() };
    city.weather(minutes(26), "z1", &warning);
    assert!(city.opened().is_empty(), "the leakage is stale");
}

#[test]
fn situation_s35_the_register_decides_whose_zone_a_post_is() {
    let mut city = City::new();
    for n in 0..2 {
        let mut r = leak(minutes(5 * n), 40.0);
        r.zone = "z2";
        r.marks.add(Marks::ZONE_MISMATCH);
        city.read(&r);
    }
    assert_eq!(&*city.the_incident().zone, "z1");
}
