//! Evidence below P1 after somebody verified: the verification is made anew.

use super::moves::{lit, raised};
use super::returns::{calm, leaning, safe};
use super::*;
use crate::life::{Extent, Method, Stage, Verb, tests::crew, tests::desk};

/// A P1 that was repaired at minute 12 and verified at minute 51.
fn verified() -> (City, String) {
    let (mut city, id) = raised();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(11), &id, safe(Method::Guarded, Extent::Post));
    city.moved(minutes(12), &id, crew(Verb::Repair, "1"));
    calm(&mut city, 15, 50);
    city.moved(minutes(51), &id, other(Verb::Verify, "1"));
    city.effects.clear();
    (city, id)
}

fn stage(city: &City, id: &str) -> Stage {
    city.engine.open_incidents().find(|incident| *incident.id == *id).unwrap().life.state
}

fn events(city: &City) -> Vec<&'static str> {
    let of = |effect: &Effect| match effect {
        Effect::Moved { event, .. } => Some(event.kind),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn a_sample_at_the_warning_limit_after_the_verification_takes_it_back_and_its_half_hour_begins_anew() {
    let (mut city, id) = verified();
    city.read(&lit(minutes(55), 11.0));
    assert_eq!(stage(&city, &id), Stage::Repaired);
    assert_eq!((events(&city), city.told()), (vec!["verify_again"], vec!["incident.repeated"]));
    city.read(&lit(minutes(56), 11.0));
    assert_eq!(events(&city), ["verify_again"], "once, while it waits to be verified");
    let refused = city.act(minutes(57), &id, desk(Verb::Close, "1")).unwrap_err().to_string();
    assert!(refused.contains("not verified yet"), "{refused}");
    calm(&mut city, 60, 85);
    let refused = city.act(minutes(86), &id, other(Verb::Verify, "2")).unwrap_err().to_string();
    assert!(refused.contains("over 25 min"), "{refused}");
    calm(&mut city, 90, 90);
    city.moved(minutes(91), &id, other(Verb::Verify, "3"));
    city.moved(minutes(92), &id, desk(Verb::Close, "2"));
}

#[test]
fn a_warning_of_another_quantity_takes_the_verification_back_too_and_is_told_once() {
    let (mut city, id) = verified();
    for minute in [53, 54, 55] {
        city.read(&shell(minutes(minute), 13.0));
    }
    assert_eq!(stage(&city, &id), Stage::Repaired);
    assert_eq!((events(&city), city.told().len()), (vec!["verify_again", "repeated"], 1));
}

#[test]
fn a_column_that_moves_by_less_than_a_danger_after_its_verification_is_verified_anew() {
    let (mut city, id) = leaning();
    for minute in [25, 30, 35] {
        city.read(&with(lit(minutes(minute), 0.1), Field::TiltDeg, 1.0));
    }
    city.moved(minutes(36), &id, other(Verb::Verify, "1"));
    city.read(&with(lit(minutes(40), 0.1), Field::TiltDeg, 8.0));
    assert_eq!(city.opened_of(Family::Column).len(), 1, "below P1");
    assert_eq!(stage(&city, &id), Stage::Repaired);
    for minute in [45, 50, 55] {
        city.read(&with(lit(minutes(minute), 0.1), Field::TiltDeg, 1.0));
    }
    city.moved(minutes(56), &id, other(Verb::Verify, "2"));
    city.moved(minutes(57), &id, desk(Verb::Close, "1"));
}

/// A hand test that found something doubtful, without a number.
fn suspect(at: Timestamp) -> StoredReading<'static> {
    let mut r = with(lit(at, 0.5), Field::Check, 1.0);
    (r.cause, r.by) = (Cause::Manual, Some("王师傅"));
    r
}

/// The device's own flag against a value far below the limit.
fn contradicted(at: Timestamp) -> StoredReading<'static> {
    let mut r = lit(at, 0.5);
    r.flags.add(Flags::LEAK_ALARM);
    r
}

#[test]
fn the_same_warning_again_without_a_number_takes_the_verification_back_every_time() {
    for warning in [suspect, contradicted] {
        let (mut city, id) = verified();
        city.read(&warning(minutes(52)));
        assert_eq!(stage(&city, &id), Stage::Repaired, "it is new on the incident");
        calm(&mut city, 55, 90);
        city.moved(minutes(91), &id, other(Verb::Verify, "2"));
        city.effects.clear();
        city.read(&warning(minutes(92)));
        assert_eq!(stage(&city, &id), Stage::Repaired);
        assert_eq!((events(&city), city.told()), (vec!["verify_again"], vec!["incident.repeated"]));
        calm(&mut city, 95, 105);
        city.read(&warning(minutes(110)));
        calm(&mut city, 115, 130);
        let refused = city.act(minutes(131), &id, other(Verb::Verify, "3")).unwrap_err().to_string();
        assert!(refused.contains("over 30 min are needed"), "its half hour begins anew: {refused}");
        calm(&mut city, 135, 145);
        city.moved(minutes(146), &id, other(Verb::Verify, "4"));
    }
}

#[test]
fn a_replay_of_warnings_from_before_the_verification_takes_nothing_back() {
    let (mut city, id) = verified();
    city.engine.replaying(true);
    city.read(&lit(minutes(20) + Millis(1), 11.0));
    city.read(&lit(minutes(51), 11.0));
    assert_eq!(stage(&city, &id), Stage::Verifying);
    city.read(&lit(minutes(52), 11.0));
    assert_eq!(stage(&city, &id), Stage::Repaired, "what came behind it does");
    let (mut city, id) = leaning();
    for minute in [25, 30, 35] {
        city.read(&with(lit(minutes(minute), 0.1), Field::TiltDeg, 1.0));
    }
    city.moved(minutes(36), &id, other(Verb::Verify, "1"));
    city.engine.replaying(true);
    city.read(&with(lit(minutes(36), 0.1), Field::TiltDeg, 8.0));
    assert_eq!(stage(&city, &id), Stage::Verifying, "a state is no other thing than a sample");
    city.read(&with(lit(minutes(37), 0.1), Field::TiltDeg, 8.0));
    assert_eq!(stage(&city, &id), Stage::Repaired);
}

#[test]
fn what_the_desk_overrode_takes_nothing_back_by_going_on() {
    let (mut city, id) = raised();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(11), &id, safe(Method::Guarded, Extent::Post));
    city.moved(minutes(12), &id, crew(Verb::Repair, "1"));
    for minute in [15, 20, 25] {
        city.read(&lit(minutes(minute), 11.0));
    }
    city.moved(minutes(26), &id, desk(Verb::Verify, "1"));
    city.read(&lit(minutes(30), 11.0));
    assert_eq!(stage(&city, &id), Stage::Verifying, "a standing leak that the desk knew of");
    city.read(&lit(minutes(35), 40.0));
    let refused = city.act(minutes(36), &id, desk(Verb::Close, "1")).unwrap_err().to_string();
    assert!(refused.contains("repair again"), "a danger is another thing: {refused}");
}
