use super::moves::raised;
use super::*;
use crate::engine::State;
use crate::incident::Signal;

#[test]
fn situation_s14_switching_off_at_dawn_is_unpowered_and_not_resolved() {
    let (mut city, _) = raised();
    city.read(&with(leak(minutes(10), 0.0), Field::SupplyV, 0.0));
    assert_eq!(city.the_incident().signal, Signal::Unpowered);
    assert_eq!(city.engine.post_state("P1", minutes(10)).state, State::Danger);
}

#[test]
fn situation_s15_zero_all_day_without_supply_is_never_normal() {
    let (mut city, _) = raised();
    for n in 2..140 {
        city.read(&with(leak(minutes(5 * n), 0.0), Field::SupplyV, 0.0));
    }
    assert_eq!(city.the_incident().signal, Signal::Unpowered);
    assert_eq!(city.changes(), ["signal unpowered"]);
}

#[test]
fn signal_normal_needs_three_powered_calm_samples_and_ten_minutes_and_closes_nothing() {
    let (mut city, _) = raised();
    let calm = |minute: i64| with(leak(minutes(minute), 20.0), Field::SupplyV, 230.0);
    for minute in [6, 7, 8] {
        city.read(&calm(minute));
    }
    assert_eq!(city.the_incident().signal, Signal::Active, "three samples, two minutes");
    city.read(&calm(16));
    assert_eq!(city.the_incident().signal, Signal::Normal);
    assert_eq!(city.engine.open_incidents().count(), 1);
    city.read(&with(leak(minutes(20), 25.0), Field::SupplyV, 230.0));
    assert_eq!(city.the_incident().signal, Signal::Normal, "between 70 % and the limit nothing changes");
    city.read(&with(leak(minutes(25), 31.0), Field::SupplyV, 230.0));
    assert_eq!(city.the_incident().signal, Signal::Active);
    assert_eq!(city.changes(), ["signal normal", "signal active"]);
}

#[test]
fn a_saturated_sample_breaks_the_calm() {
    let (mut city, _) = raised();
    let calm = |minute: i64| with(leak(minutes(minute), 1.0), Field::SupplyV, 230.0);
    city.read(&calm(10));
    city.read(&calm(15));
    let mut r = reading(minutes(19));
    r.marks.add(Marks::SATURATED);
    city.read(&r);
    city.read(&calm(20));
    city.read(&calm(25));
    assert_eq!(city.the_incident().signal, Signal::Active);
    city.read(&calm(30));
    assert_eq!(city.the_incident().signal, Signal::Normal);
}

#[test]
fn silence_shows_on_the_incident_and_is_not_normal() {
    let (mut city, _) = raised();
    city.pass(minutes(5), 15);
    assert_eq!(city.the_incident().signal, Signal::Active);
    city.pass(minutes(20), 2);
    assert_eq!(city.the_incident().signal, Signal::Silent);
    city.read(&with(leak(minutes(30), 1.0), Field::SupplyV, 230.0));
    assert_eq!(city.the_incident().signal, Signal::Active, "one good sample is not normal");
}

#[test]
fn a_hand_test_and_a_bare_sign_of_life_do_not_hide_a_silent_sensor() {
    let (mut city, _) = raised();
    city.pass(minutes(5), 10);
    let mut heartbeat = reading(minutes(15));
    heartbeat.cause = Cause::Heartbeat;
    city.read(&heartbeat);
    let mut by_hand = shell(minutes(18), 0.5);
    by_hand.cause = Cause::Manual;
    city.read(&by_hand);
    city.pass(minutes(18), 4);
    assert_eq!(city.the_incident().signal, Signal::Silent);
}

#[test]
fn peer_p12_our_own_downtime_is_not_the_posts_silence() {
    let (mut city, _) = raised();
    city.tick(minutes(6));
    city.tick(minutes(306));
    assert_eq!(city.the_incident().signal, Signal::Active);
    city.pass(minutes(306), 15 + 5);
    assert_eq!(city.the_incident().signal, Signal::Active);
    city.pass(minutes(326), 2);
    assert_eq!(city.the_incident().signal, Signal::Silent);
}

#[test]
fn a_post_is_never_green_by_silence() {
    let mut city = City::new();
    let state = |city: &City, minute: i64| city.engine.post_state("P1", minutes(minute)).state;
    assert_eq!(state(&city, 0), State::Unmonitored);
    city.read(&leak(T, 1.0));
    assert_eq!(state(&city, 0), State::Normal);
    city.read(&leak(minutes(5), 10.0));
    assert_eq!(state(&city, 5), State::Warning);
    city.read(&leak(minutes(10), 1.0));
    assert_eq!(state(&city, 25), State::Normal);
    assert_eq!(state(&city, 26), State::Silent);
    city.read(&with(leak(minutes(30), 1.0), Field::SupplyV, 0.0));
    assert_eq!(state(&city, 30), State::Unpowered);
    assert_eq!(city.engine.post_state("nobody", T).state, State::Unregistered);
    city.read(&leak(minutes(35), 44.0));
    let post = city.engine.post_state("P1", minutes(35));
    assert_eq!((post.state, &*post.why), (State::Danger, "leakage_ma 44 at or above 30"));
    assert!(city.opened().is_empty(), "not confirmed yet, but not green either");
}

#[test]
fn a_post_that_sends_no_leakage_value_for_a_day_is_unmonitored() {
    let mut city = City::new();
    city.read(&shell(T, 0.1));
    assert_eq!(city.engine.post_state("P1", T).state, State::Unmonitored);
}

#[test]
fn a_hand_test_without_supply_makes_no_danger_unpowered_and_one_person_voids_nothing_by_it() {
    use crate::life::Verb;
    use crate::life::tests::desk;
    let hand = |at: Timestamp, supply: Option<f64>| {
        let mut r = leak(at, 0.0);
        r = supply.map_or(r.clone(), |supply| with(r, Field::Supply, supply));
        r.cause = Cause::Manual;
        r
    };
    for supply in [None, Some(0.0)] {
        let mut city = City::new();
        for minute in [0, 5] {
            city.read(&with(leak(minutes(minute), 60.0), Field::SupplyV, 229.0));
        }
        city.read(&hand(minutes(6), supply));
        assert_eq!(city.the_incident().signal, Signal::Active, "{supply:?}");
        let id = city.the_incident().id.to_string();
        let answer = city.act(minutes(7), &id, desk(Verb::Void, "1")).unwrap();
        assert!(matches!(answer.outcome, crate::life::Outcome::Second(_)), "{:?}", answer.outcome);
        // Nor later, when its shell alone is told.
        city.read(&with(shell(minutes(10), 0.2), Field::SupplyV, 229.0));
        assert_eq!(city.the_incident().signal, Signal::Active, "{supply:?}");
    }
    // A hand test that finds voltage shows danger whatever it says of the supply.
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&with(leak(minutes(minute), 60.0), Field::SupplyV, 229.0));
    }
    city.read(&with(leak(minutes(10), 0.0), Field::SupplyV, 0.0));
    assert_eq!(city.the_incident().signal, Signal::Unpowered);
    let mut live = shell(minutes(11), 55.0);
    live.cause = Cause::Manual;
    city.read(&live);
    assert_eq!(city.the_incident().signal, Signal::Active);
}
