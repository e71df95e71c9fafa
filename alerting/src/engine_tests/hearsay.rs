//! Readings that came on the topic of another post: they may raise, and calm nothing.

use super::moves::raised;
use super::*;
use crate::engine::State;
use crate::incident::{Severity, Signal};
use crate::life::tests::{crew, desk};
use lampguard_model::Marks;

/// The same, told on the topic of another post; a millisecond later, so that it is another reading.
fn hearsay(mut r: StoredReading<'static>) -> StoredReading<'static> {
    r.marks.add(Marks::OTHER_TOPIC);
    r.identity ^= 0x5EED;
    r
}

fn calm(minute: i64) -> StoredReading<'static> {
    with(leak(minutes(minute), 1.0), Field::SupplyV, 230.0)
}

#[test]
fn what_another_posts_topic_says_makes_no_signal_normal_and_unpowered_neither() {
    let (mut city, _) = raised();
    (6..17).for_each(|minute| city.read(&hearsay(calm(minute))));
    city.read(&hearsay(with(leak(minutes(18), 0.0), Field::SupplyV, 0.0)));
    assert_eq!(city.the_incident().signal, Signal::Active);
    (19..41).for_each(|minute| city.read(&hearsay(calm(minute))));
    city.tick(minutes(41));
    assert_eq!(city.the_incident().signal, Signal::Silent, "the post itself says nothing");
    (42..56).for_each(|minute| city.read(&calm(minute)));
    assert_eq!(city.the_incident().signal, Signal::Normal, "its own readings do");
    // A danger shows by whomever it is told, and then the calm begins anew.
    city.read(&hearsay(leak(minutes(57), 60.0)));
    assert_eq!(city.the_incident().signal, Signal::Active);
    (58..62).for_each(|minute| city.read(&calm(minute)));
    assert_eq!(city.the_incident().signal, Signal::Active, "three samples, three minutes");
    (62..72).for_each(|minute| city.read(&calm(minute)));
    assert_eq!(city.the_incident().signal, Signal::Normal);
}

#[test]
fn it_raises_danger_and_confirms_what_the_post_said_and_says_that_it_did() {
    for first in [leak(T, 40.0), hearsay(leak(T, 40.0))] {
        let mut city = City::new();
        city.read(&first);
        assert!(city.opened().is_empty());
        city.read(&hearsay(leak(minutes(5), 40.0)));
        let incident = city.the_incident();
        assert_eq!((incident.evidence.kind, incident.severity), (Kind::LeakCritical, Severity::P1));
        assert!(incident.notes.iter().any(|note| note.contains("其他灯杆的主题")), "{:?}", incident.notes);
    }
    // What is calm pushes no danger out of the last three.
    let mut city = City::new();
    city.read(&leak(T, 40.0));
    (1..4).for_each(|minute| city.read(&hearsay(calm(minute))));
    city.read(&leak(minutes(4), 40.0));
    assert_eq!(city.the_incident().evidence.kind, Kind::LeakCritical);
    let mut flag = reading(T);
    flag.flags.add(Flags::SHELL_ALARM);
    let mut water = leak(T, 7.0);
    water.fields.set(Field::Immersed, 1000);
    for (r, kind) in [(flag, Kind::FlagOnly), (water, Kind::ImmersedLeak)] {
        let mut city = City::new();
        city.read(&hearsay(r));
        assert_eq!(city.the_incident().evidence.kind, kind);
        assert_eq!(city.the_incident().severity, Severity::P1);
    }
}

#[test]
fn it_ends_no_silence_of_a_post_a_feeder_or_a_zone() {
    let mut city = City::street(10);
    (0..4).for_each(|round| (0..10).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round)), n))));
    city.pass(T, 40);
    let signals = |city: &City| {
        let kinds = [Kind::FeederDark, Kind::Blind];
        kinds.map(|kind| city.engine.open_incidents().find(|i| i.evidence.kind == kind).map(|i| i.signal))
    };
    assert_eq!(signals(&city), [Some(Signal::Active); 2]);
    for minute in 41..60 {
        (0..10).for_each(|n| city.read(&hearsay(at_post(lit(minutes(minute)), n))));
        city.tick(minutes(minute));
    }
    assert_eq!(signals(&city), [Some(Signal::Active); 2]);
    assert_eq!(city.engine.post_state("S3", minutes(60)).state, State::Silent);
    for minute in 60..80 {
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        city.tick(minutes(minute));
    }
    assert_eq!(signals(&city), [Some(Signal::Normal); 2], "their own words do");
}

#[test]
fn it_proves_no_repair_and_sets_no_clock() {
    let (mut city, id) = raised();
    for (minute, verb) in [(10, Verb::Arrive), (11, Verb::MakeSafe), (12, Verb::Repair)] {
        city.moved(minutes(minute), &id, crew(verb, "1"));
    }
    (13..60).for_each(|minute| city.read(&hearsay(calm(minute))));
    let mut verify = desk(Verb::Verify, "1");
    (verify.body.reason, verify.actor.name) = (None, "Crew 2".to_owned());
    let refused = city.act(minutes(60), &id, verify.clone()).unwrap_err().to_string();
    assert!(refused.contains("0 powered"), "{refused}");
    city.read(&calm(61));
    city.read(&calm(95));
    verify.body.key = "2".to_owned();
    city.moved(minutes(96), &id, verify);
    // A time ahead of ours makes the post itself not old.
    let mut city = City::new();
    let mut ahead = leak(minutes(1), 40.0);
    ahead.ts = Some(minutes(1) + Millis::hours(20));
    city.read(&hearsay(ahead));
    city.read(&leak(minutes(2), 41.0));
    assert_eq!(city.the_incident().evidence.kind, Kind::LeakCritical);
}
