use super::*;
use crate::engine::UNREGISTERED_MAX;
use crate::engine::raise::NAMED_MAX;
use crate::incident::{COLLAPSED, Kind};

fn by_hand(at: Timestamp) -> StoredReading<'static> {
    let mut r = reading(at);
    r.cause = Cause::Manual;
    r.by = Some("王师傅");
    r
}

#[test]
fn a_hand_test_that_finds_a_live_post_raises_at_once() {
    type Case = (&'static [(Field, f64)], Option<i64>);
    let cases: [Case; 4] = [
        (&[(Field::Check, 2.0)], None),
        (&[(Field::PenBandV, 12.0)], Some(12_000)),
        (&[(Field::Check, 2.0), (Field::PenBandV, 110.0)], Some(110_000)),
        (&[(Field::ShellV, 40.0)], Some(40_000)),
    ];
    for (fields, value) in cases {
        let mut city = City::new();
        let r = fields.iter().fold(by_hand(T), |r, (f, v)| with(r, *f, *v));
        city.read(&r);
        let incident = city.the_incident();
        assert_eq!(
            (incident.evidence.kind, incident.evidence.thousandths),
            (Kind::ShellCritical, value),
            "{fields:?}"
        );
        assert_eq!(incident.evidence.rule, "manual");
        assert_eq!(incident.notes, ["检测人 王师傅", "人工检测"]);
    }
}

#[test]
fn a_post_without_a_sensor_does_not_fall_silent() {
    let mut city = City::new();
    city.read(&with(by_hand(T), Field::Check, 2.0));
    city.pass(T, 50);
    assert_eq!(city.the_incident().signal, crate::Signal::Active);
}

#[test]
fn a_hand_test_below_the_limits_raises_nothing_and_is_powered_only_when_written() {
    let mut city = City::new();
    for (n, fields) in
        [&[(Field::Check, 0.0)][..], &[(Field::PenBandV, 0.0)], &[(Field::ShellV, 3.0), (Field::Supply, 1.0)]]
            .iter()
            .enumerate()
    {
        let r = fields.iter().fold(by_hand(minutes(n as i64)), |r, (f, v)| with(r, *f, *v));
        city.read(&r);
    }
    assert!(city.opened().is_empty());
    let mut r = with(by_hand(T), Field::SupplyV, 230.0);
    assert!(!crate::slot::is_powered(&r, Policy::default().samples.powered_above));
    r.fields.set(Field::Supply, 1000);
    assert!(crate::slot::is_powered(&r, Policy::default().samples.powered_above));
}

#[test]
fn a_hand_test_told_late_still_raises() {
    let mut city = City::new();
    city.read(&leak(minutes(60), 1.0));
    city.keep_dry(minutes(60));
    let mut r = with(by_hand(T), Field::Check, 2.0);
    r.received_at = minutes(61);
    city.read(&r);
    assert_eq!(city.the_incident().opened_at, minutes(61));
}

#[test]
fn situation_s33_an_unregistered_device_is_judged_like_others() {
    let mut city = City::new();
    city.read(&stranger(leak(T, 40.0), "D-99"));
    assert!(city.opened().is_empty());
    city.read(&stranger(leak(minutes(5), 40.0), "D-99"));
    let incident = city.the_incident();
    assert_eq!((&*incident.post_id, &*incident.zone), ("D-99", UNREGISTERED));
    assert!(incident.notes.contains(&"未登记设备".to_owned()));
}

#[test]
fn the_newest_topic_of_an_unregistered_device_says_which_zone_hears_of_it_until_the_register_does() {
    let mut city = City::new();
    let known = register();
    for (minute, zone) in [(0, None), (5, Some("z2")), (10, Some("z1"))] {
        city.read(&StoredReading { hint: zone, ..stranger(leak(minutes(minute), 40.0), "D-99") });
    }
    // Opened by the second sample; what tells of nothing new moves no incident.
    let incident = city.the_incident();
    assert_eq!(&**incident.zone_in(&known), "z2");
    // A graver word comes from where it is now.
    city.read(&StoredReading {
        hint: Some("z1"),
        ..stranger(with(leak(minutes(15), 40.0), Field::ShellV, 90.0), "D-99")
    });
    city.read(&StoredReading {
        hint: Some("z1"),
        ..stranger(with(leak(minutes(20), 40.0), Field::ShellV, 90.0), "D-99")
    });
    let incident = city.the_incident();
    assert_eq!((&**incident.zone_in(&known), &*incident.zone), ("z1", UNREGISTERED));
    let planned = Register::default().with_zones(["z1"]);
    assert_eq!(
        &**incident.zone_in(&planned),
        "z1",
        "a zone of the configuration before its first post is registered"
    );
    let nowhere = Register::default();
    assert_eq!(&**incident.zone_in(&nowhere), UNREGISTERED, "no such zone");
}

#[test]
fn an_untracked_device_is_judged_on_one_sample_and_told_once() {
    let mut city = City::new();
    for n in 0..5 {
        let mut r = stranger(with(leak(minutes(n), 40.0), Field::ShellV, 90.0), "D-far");
        r.marks.add(Marks::UNTRACKED);
        city.read(&r);
    }
    let incident = city.the_incident();
    assert_eq!(incident.kinds, [Kind::ShellCritical, Kind::LeakCritical]);
    assert_eq!(city.engine.posts(), 0, "no memory is spent on it");
}

#[test]
fn a_million_invented_devices_end_in_one_incident_that_names_twenty() {
    let mut city = City::new();
    let extra = 50;
    for n in 0..UNREGISTERED_MAX + extra {
        let name = format!("X{n}");
        let mut r = leak(T, 90.0);
        (r.post, r.device, r.zone, r.feeder) = (&name, &name, UNREGISTERED, "");
        r.marks.add(Marks::UNTRACKED);
        city.engine.step(T, Input::Reading(&r), &mut city.effects);
    }
    let opened = city.opened();
    assert_eq!(opened.len(), UNREGISTERED_MAX + 1);
    assert_eq!(&*opened.last().unwrap().post_id, COLLAPSED);
    let collapsed = city.engine.open_incidents().last().unwrap();
    let named = collapsed.notes.iter().filter(|note| note.starts_with("设备 "));
    assert_eq!(named.count(), NAMED_MAX);
    let changed = city.effects.iter().filter(|e| matches!(e, Effect::Changed { .. }));
    assert_eq!(changed.count(), NAMED_MAX - 1);
}

#[test]
fn simulated_readings_are_judged_and_say_so() {
    let mut city = City::new();
    for n in 0..2 {
        let mut r = leak(minutes(n), 40.0);
        r.flags.add(Flags::SIMULATED);
        city.read(&r);
    }
    assert_eq!(city.the_incident().notes, ["模拟数据"]);
}
