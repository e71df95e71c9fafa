use super::*;
use crate::incident::{Kind, Signal};

#[test]
fn situation_s1_a_healthy_wet_post_raises_nothing_all_night() {
    let mut city = City::without_weather();
    for n in 0..144 {
        city.read(&leak(minutes(5 * n), 3.4));
    }
    assert!(city.opened().is_empty());
}

#[test]
fn situation_s2_two_critical_samples_open_one_incident_at_the_second() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    assert!(city.opened().is_empty());
    city.read(&leak(minutes(5), 41.0));
    city.read(&leak(minutes(10), 42.0));
    let incident = city.the_incident();
    assert_eq!((incident.opened_at, incident.due_at), (minutes(5), minutes(35)));
    let e = &incident.evidence;
    assert_eq!((e.kind, e.thousandths, e.limit, e.wet), (Kind::LeakCritical, Some(41_000), 30_000, false));
    assert_eq!((&*incident.zone, &*incident.road), ("z1", "人民路"));
}

#[test]
fn situation_s3_a_single_saturated_sample_raises_nothing() {
    let mut city = City::new();
    let mut r = reading(T);
    r.marks.add(Marks::SATURATED);
    city.read(&r);
    city.read(&leak(minutes(5), 0.8));
    city.read(&leak(minutes(10), 0.8));
    assert!(city.opened().is_empty());
}

#[test]
fn situation_s5_the_devices_own_flag_confirms_one_sample_of_its_own_quantity() {
    let mut city = City::new();
    let mut r = leak(T, 35.0);
    r.flags = Flags::SHELL_ALARM;
    city.read(&r);
    assert_eq!(
        city.the_incident().kinds,
        [Kind::FlagOnly],
        "the flag of the other quantity confirms no leak"
    );
    let mut city = City::new();
    let mut r = leak(minutes(60), 35.0);
    r.flags = Flags::LEAK_ALARM;
    city.keep_dry(minutes(59));
    city.read(&r);
    assert_eq!(city.the_incident().evidence.rule, "device_flag");
}

#[test]
fn situation_s6_the_limit_itself_raises_and_just_below_does_not() {
    let cases = [(29.99, 25.0, 0), (30.0, 25.0, 1), (0.0, 24.999, 0), (0.0, 25.0, 1)];
    for (ma, volts, expected) in cases {
        let mut city = City::new();
        for n in 0..3 {
            let volts = if ma > 0.0 { 0.0 } else { volts };
            city.read(&with(leak(minutes(5 * n), ma), Field::ShellV, volts));
        }
        let p1 = city.engine.open_incidents().filter(|incident| incident.p1_at.is_some());
        assert_eq!(p1.count(), expected, "{ma} mA {volts} V");
    }
    for (ma, signal) in [(21.0, Signal::Normal), (21.001, Signal::Active)] {
        let mut city = City::new();
        city.read(&leak(T, 30.0));
        city.read(&leak(minutes(5), 30.0));
        for n in 2..6 {
            city.read(&leak(minutes(5 * n), ma));
        }
        assert_eq!(city.the_incident().signal, signal, "{ma} mA");
    }
}

#[test]
fn situation_s7_oscillating_around_the_limit_is_one_incident_marked_chattering() {
    let mut city = City::new();
    for n in 0..60 {
        let ma = if n % 2 == 0 { 29.0 } else { 31.0 };
        city.read(&leak(minutes(n), ma));
    }
    let incident = city.the_incident();
    assert!(incident.notes.iter().any(|note| note.contains("chattering")));
    assert_eq!(incident.signal, Signal::Active);
}

#[test]
fn situation_s8_s9_a_delivery_that_comes_twice_counts_once() {
    let mut city = City::new();
    let r = leak(T, 40.0);
    city.read(&r);
    let mut again = r.clone();
    again.received_at = T + Millis::seconds(90);
    city.read(&again);
    city.read(&again);
    assert!(city.opened().is_empty(), "one sample is not two");
    city.read(&leak(minutes(5), 40.0));
    city.read(&again);
    assert_eq!(city.opened().len(), 1);
}

#[test]
fn situation_s26_a_phantom_voltage_is_a_p1_with_the_note_on_the_broken_conductor() {
    let mut city = City::new();
    for n in 0..2 {
        city.read(&with(shell(minutes(5 * n), 115.0), Field::LeakageMa, 0.2));
    }
    let incident = city.the_incident();
    assert_eq!(incident.evidence.kind, Kind::ShellCritical);
    assert_eq!(incident.notes, ["按带电处理，可能断PE"]);
    assert_eq!(incident.due_at, incident.opened_at + Millis::minutes(30));
    let mut city = City::new();
    for n in 0..2 {
        city.read(&shell(minutes(5 * n), 115.0));
    }
    assert!(city.the_incident().notes.is_empty(), "without a leak value nothing is suspected");
}

#[test]
fn situation_s27_a_great_leak_at_a_low_shell_voltage_raises() {
    let mut city = City::new();
    for n in 0..2 {
        city.read(&with(leak(minutes(5 * n), 543.0), Field::ShellV, 2.2));
    }
    assert_eq!(city.the_incident().evidence.kind, Kind::LeakCritical);
}

#[test]
fn situation_s56_lightning_on_eighty_posts_is_no_alarm() {
    let mut city = City::new();
    let names: Vec<&'static str> = (0..80).map(|n| &*Box::leak(format!("D{n}").into_boxed_str())).collect();
    for n in 0..4 {
        for name in &names {
            let ma = if n == 1 { 900.0 } else { 0.7 };
            city.read(&stranger(leak(minutes(5 * n), ma), name));
        }
    }
    assert!(city.opened().is_empty());
}

#[test]
fn situation_s57_a_loose_wire_for_three_nights_is_one_incident() {
    let mut city = City::new();
    let mut closed = false;
    for minute in (0..3 * 24 * 60).step_by(5) {
        if minute % 50 == 0 {
            city.keep_dry(minutes(minute));
        }
        let night = minute % (24 * 60) < 11 * 60;
        closed = !closed;
        let ma = if night && closed { 80.0 } else { 0.3 };
        let supply = if night { 228.0 } else { 0.0 };
        city.read(&with(leak(minutes(minute), ma), Field::SupplyV, supply));
    }
    assert_eq!(city.opened().len(), 1);
}

#[test]
fn the_second_kind_attaches_to_the_incident_of_the_first() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    city.read(&leak(minutes(5), 40.0));
    city.read(&with(leak(minutes(10), 40.0), Field::ShellV, 60.0));
    city.read(&with(leak(minutes(15), 40.0), Field::ShellV, 60.0));
    let incident = city.the_incident();
    assert_eq!(incident.kinds, [Kind::LeakCritical, Kind::ShellCritical]);
    assert_eq!(incident.evidence.kind, Kind::LeakCritical, "what opened it stays");
    assert_eq!(city.changes(), ["evidence shell_critical"]);
}

#[test]
fn a_sensor_that_reports_hourly_is_believed_at_once() {
    let mut city = City::new();
    let mut r = leak(T, 40.0);
    (r.post, r.device, r.zone) = ("P3", "P3", "z2");
    city.read(&r);
    assert_eq!(city.the_incident().notes, ["单次读数"]);
}

#[test]
fn a_learned_period_counts_more_than_the_register_and_lit_and_unlit_are_apart() {
    let mut city = City::new();
    for n in 0..7 {
        let r = with(leak(minutes(15 * n), 1.0), Field::SupplyV, 230.0);
        city.read(&r);
    }
    city.keep_dry(minutes(100));
    let learned = city.effects.iter().rev().find_map(|e| match e {
        Effect::Remember(memory) => Some(memory.clone()),
        _ => None,
    });
    assert_eq!(learned.as_ref().unwrap().period_s, [0, 900]);
    let unlit = with(leak(minutes(105), 40.0), Field::SupplyV, 0.0);
    city.read(&unlit);
    assert!(city.opened().is_empty(), "unlit still counts as 300 s");
    city.read(&with(leak(minutes(120), 40.0), Field::SupplyV, 230.0));
    assert_eq!(city.opened().len(), 1);
    let mut restarted = City::new();
    restarted.engine.remember(&learned.unwrap());
    restarted.read(&leak(minutes(130), 40.0));
    assert_eq!(restarted.the_incident().evidence.rule, "single_sample");
}

#[test]
fn supply_off_hides_no_value_at_or_above_a_limit() {
    let mut city = City::new();
    for n in 0..2 {
        city.read(&with(shell(minutes(5 * n), 30.0), Field::SupplyV, 0.0));
    }
    assert_eq!(city.opened().len(), 1);
}

#[test]
fn a_reading_without_a_quantity_is_no_sample_of_it() {
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    for n in 1..4 {
        city.read(&shell(minutes(n), 0.1));
    }
    city.read(&leak(minutes(5), 40.0));
    assert_eq!(city.opened().len(), 1, "three readings without leakage lie between, none of them counts");
}

#[test]
fn a_cabinet_sensor_raises_none_of_these_kinds() {
    let mut city = City::new();
    for n in 0..3 {
        let mut r = leak(minutes(n), 300.0);
        (r.post, r.device) = ("C1", "C1");
        city.read(&r);
    }
    assert!(city.opened().is_empty());
}
