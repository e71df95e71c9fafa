//! Numbers of the policy that few rules ask: each changes what happens.

use super::*;
use crate::incident::Kind;

/// The default with one thing changed.
fn with_policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

/// Measured at `at`, received at `now`.
fn late_leak(at: Timestamp, now: Timestamp) -> StoredReading<'static> {
    let mut r = leak(at, 40.0);
    r.received_at = now;
    r
}

/// Two criticals that were measured 12 and 11 min before they came.
fn backlog(policy: &Policy) -> City {
    let mut city = City::under(policy);
    city.read(&late_leak(minutes(0), minutes(12)));
    city.read(&late_leak(minutes(1), minutes(12)));
    city
}

#[test]
fn what_is_late_by_the_policy_waits_and_what_is_not_is_judged_at_once() {
    let mut city = backlog(&Policy::default());
    assert!(city.opened().is_empty(), "older than 10 min and 2 periods of 5 min: it waits for its backlog");
    city.tick(minutes(13));
    assert!(city.the_incident().notes.iter().any(|note| note.contains("历史超限")));
    let longer = with_policy(|p| p.samples.late_min = Millis::minutes(15));
    assert!(backlog(&longer).the_incident().notes.is_empty(), "late_min");
    let more = with_policy(|p| p.samples.late_periods = 3);
    assert!(backlog(&more).the_incident().notes.is_empty(), "late_periods");
}

#[test]
fn a_late_critical_is_due_when_the_policy_says() {
    let sooner = with_policy(|p| p.samples.historic_due = Millis::minutes(20));
    for (policy, due) in [(Policy::default(), 30), (sooner.clone(), 20)] {
        let mut city = backlog(&policy);
        city.tick(minutes(13));
        assert_eq!(city.the_incident().due_at, minutes(13 + due), "from the decision");
    }
    // One alone, with nothing behind it.
    let mut city = City::under(&sooner);
    city.read(&late_leak(minutes(0), minutes(12)));
    city.pass(minutes(12), 10);
    let incident = city.the_incident();
    assert_eq!(incident.evidence.kind, Kind::CriticalThenSilent);
    assert_eq!(incident.due_at.since(incident.opened_at), Millis::minutes(20));
}

#[test]
fn a_supply_is_a_supply_from_the_voltage_of_the_policy_on() {
    let lower = with_policy(|p| p.samples.powered_above = lampguard_model::Volts::whole(40));
    for (policy, opened) in [(Policy::default(), 1), (lower, 0)] {
        let mut city = City::under(&policy);
        city.read(&with(leak(minutes(0), 40.0), Field::SupplyV, 229.0));
        city.read(&with(leak(minutes(5), 1.0), Field::SupplyV, 45.0));
        city.pass(minutes(5), 20);
        assert_eq!(city.opened().len(), opened, "a sample at 45 V speaks against danger only with supply");
    }
}

/// A sample every quarter of an hour: three gaps of them.
fn quarter_hours(city: &mut City) {
    for n in 0..4 {
        let mut r = leak(minutes(15 * n), 1.0);
        r.cause = Cause::Periodic;
        city.keep_dry(r.received_at);
        city.read(&r);
    }
}

#[test]
fn the_gaps_tell_the_period_when_there_are_as_many_as_the_policy_asks_for() {
    let fewer = with_policy(|p| p.period.gaps_needed = 4);
    for (policy, opened) in [(Policy::default(), 0), (fewer, 1)] {
        let mut city = City::under(&policy);
        quarter_hours(&mut city);
        city.read(&leak(minutes(60), 40.0));
        assert_eq!(city.opened().len(), opened, "one sample is believed above 10 min");
    }
}

#[test]
fn no_period_is_shorter_than_the_policy_says() {
    let long =
        |p: &mut Policy| (p.period.shortest, p.period.unknown) = (Millis::minutes(11), Millis::minutes(11));
    for (policy, opened) in [(Policy::default(), 0), (with_policy(long), 1)] {
        let mut city = City::under(&policy);
        city.read(&leak(minutes(0), 40.0));
        assert_eq!(city.opened().len(), opened, "the register says 5 min");
    }
}

#[test]
fn a_device_whose_period_nobody_knows_has_that_of_the_policy() {
    let longer = with_policy(|p| p.period.unknown = Millis::minutes(11));
    for (policy, opened) in [(Policy::default(), 0), (longer, 1)] {
        let mut city = City::under(&policy);
        city.read(&stranger(leak(minutes(0), 40.0), "D-7"));
        assert_eq!(city.opened().len(), opened);
    }
}

/// The same values for four hours, told in whole volts and milliamperes.
fn standing(policy: &Policy, ma: f64, hours: i64) -> City {
    let mut city = City::under(policy);
    city.read(&with(leak(minutes(-5), 3.0), Field::SupplyV, 228.0));
    for n in 0..=12 * hours {
        city.keep_dry(minutes(5 * n));
        city.read(&with(leak(minutes(5 * n), ma), Field::SupplyV, 229.0));
    }
    city
}

#[test]
fn values_that_stand_still_are_stuck_where_the_supply_is_told_as_finely_as_the_policy_asks() {
    let coarser = with_policy(|p| p.stuck.supply_step = lampguard_model::Volts::whole(1));
    for (policy, opened) in [(Policy::default(), 0), (coarser, 1)] {
        assert_eq!(standing(&policy, 2.0, 4).opened_of(Family::Comms).len(), opened, "whole volts");
    }
}

#[test]
fn a_leakage_of_exactly_zero_is_an_open_transformer_where_it_is_told_as_finely_as_the_policy_asks() {
    let coarser = with_policy(|p| p.open_ct.leak_step = lampguard_model::Milliamps::whole(1));
    for (policy, opened) in [(Policy::default(), 0), (coarser, 1)] {
        assert_eq!(standing(&policy, 0.0, 7).opened_of(Family::Comms).len(), opened, "whole milliamperes");
    }
}

#[test]
fn units_are_compared_as_often_as_the_policy_says() {
    let sooner = with_policy(|p| p.unit_suspect.median_over = Millis::hours(6));
    for (policy, told) in [(Policy::default(), 0), (sooner, 1)] {
        let mut city = City::street(12);
        city.enact(minutes(-4), &policy);
        for n in 0..=12 * 7 {
            city.keep_dry(minutes(5 * n));
            for post in 0..12 {
                let ma = if post == 0 { 0.35 } else { 3.5 };
                let r = with(leak(minutes(5 * n), ma), Field::SupplyV, 229.0 + (n % 9) as f64 / 10.0);
                city.read(&at_post(r, post));
            }
        }
        let found = city.opened_of(Family::Comms);
        assert_eq!(found.len(), told, "after 7 h: {found:#?}");
        assert!(city.engine.next_due() > minutes(35 * 12), "the clock of a back-test goes on");
    }
}

#[test]
fn a_pen_band_is_live_from_the_band_of_the_policy_on() {
    let higher = with_policy(|p| p.hand_test.live_band = lampguard_model::Volts::whole(36));
    for (policy, opened) in [(Policy::default(), 1), (higher, 0)] {
        let mut city = City::under(&policy);
        let mut r = with(reading(T), Field::PenBandV, 12.0);
        (r.cause, r.by) = (Cause::Manual, Some("王师傅"));
        city.read(&r);
        assert_eq!(city.opened().len(), opened);
    }
}

#[test]
fn as_many_storms_as_the_policy_says_are_a_trend() {
    let two = with_policy(|p| p.trend.peaks = 2);
    for (policy, opened) in [(Policy::default(), 0), (two, 1)] {
        let city = sensors::storms(City::under(&policy), &[2.4, 3.2]);
        assert_eq!(city.opened_of(Family::Trend).len(), opened);
    }
}

#[test]
fn a_policy_that_comes_into_force_makes_another_period_of_the_gaps_that_are_known() {
    let mut city = City::new();
    quarter_hours(&mut city);
    let period = |city: &City, at: i64| city.engine.explain("P1", minutes(at)).period_s;
    assert_eq!(period(&city, 46), 300);
    city.enact(minutes(47), &with_policy(|p| p.period.gaps_needed = 3));
    assert_eq!(period(&city, 47), 900, "three gaps are enough now");
    let long =
        |p: &mut Policy| (p.period.shortest, p.period.unknown) = (Millis::minutes(20), Millis::minutes(20));
    city.enact(minutes(48), &with_policy(long));
    assert_eq!(period(&city, 48), 1200, "learned ones are never shorter either");
}

#[test]
fn a_device_nobody_knows_takes_the_period_of_the_policy_that_comes_into_force() {
    let mut city = City::new();
    city.read(&stranger(leak(minutes(0), 1.0), "D-7"));
    city.enact(minutes(1), &with_policy(|p| p.period.unknown = Millis::minutes(11)));
    assert_eq!(city.engine.explain("D-7", minutes(1)).period_s, 660);
}

#[test]
fn silence_that_is_shorter_by_a_new_policy_is_found_by_its_own_time_and_not_by_the_old_one() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 1.0));
    let sooner = |p: &mut Policy| {
        (p.offline.silent_min, p.offline.dry_periods, p.offline.wet_periods) = (Millis::minutes(5), 1, 1);
    };
    city.enact(minutes(1), &with_policy(sooner));
    city.pass(minutes(1), 6);
    assert_eq!(city.the(Family::Comms).opened_at, minutes(6), "the first tick behind 5 min");
    let mut city = City::under(&with_policy(sooner));
    city.read(&leak(minutes(0), 1.0));
    city.pass(minutes(0), 7);
    assert_eq!(city.the(Family::Comms).opened_at, minutes(6));
}
