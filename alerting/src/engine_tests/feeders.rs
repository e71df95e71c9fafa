//! What a whole feeder says.

use super::*;
use crate::incident::{Kind, Severity, Signal};
use crate::life::Verb;
use crate::life::tests::crew;

/// A street whose posts have said `volts` at their shells for a while.
fn street(posts: usize, volts: f64) -> City {
    let mut city = City::street(posts);
    for round in 0..3 {
        for n in 0..posts {
            city.read(&at_post(volts_at(minutes(-20 + 5 * round), volts, 229.0), n));
        }
    }
    city
}

fn volts_at(at: Timestamp, volts: f64, supply: f64) -> StoredReading<'static> {
    with(shell(at, volts), Field::SupplyV, supply)
}

fn cabinet(at: Timestamp, ma: f64) -> StoredReading<'static> {
    let mut r = with(leak(at, ma), Field::SupplyV, 230.0);
    (r.post, r.device, r.feeder) = ("CS", "CS", "FS");
    r
}

#[test]
fn situation_s19_three_lifted_shells_on_one_feeder_are_one_broken_neutral_with_first_out() {
    let mut city = street(8, 0.4);
    for n in 0..2 {
        city.read(&at_post(volts_at(T - Millis::seconds(60 - n as i64), 45.0, 229.0), n));
    }
    for n in 0..2 {
        city.read(&at_post(volts_at(T + Millis::seconds(n as i64), 45.0, 229.0), n));
    }
    assert!(city.opened_of(Family::Neutral).is_empty(), "two");
    city.read(&at_post(volts_at(T + Millis::seconds(2), 45.0, 229.0), 2));
    let incident = city.the(Family::Neutral);
    assert_eq!((incident.severity, incident.scope.name(), &*incident.feeder), (Severity::P1, "feeder", "FS"));
    assert_eq!(incident.opened_at, T + Millis::seconds(2));
    assert_eq!(incident.due_at, minutes(30), "that of its first post, which was a P1 already");
    assert_eq!(incident.members.iter().map(|m| &**m).collect::<Vec<_>>(), ["S0", "S1", "S2"]);
    assert!(incident.notes.iter().any(|note| note.ends_with("S0") && note.contains("first out")));
    for n in 3..8 {
        city.read(&at_post(volts_at(T + Millis::seconds(n as i64), 45.0, 229.0), n));
    }
    assert_eq!(city.the(Family::Neutral).members.len(), 8);
}

#[test]
fn situation_s56_lightning_that_lifts_a_whole_feeder_for_one_sample_is_no_broken_neutral() {
    let mut city = street(8, 0.4);
    for n in 0..8 {
        city.read(&at_post(volts_at(T + Millis::seconds(30 * n as i64), 90.0, 229.0), n));
    }
    for n in 0..8 {
        city.read(&at_post(volts_at(minutes(5) + Millis::seconds(30 * n as i64), 0.4, 229.0), n));
    }
    assert!(city.opened_of(Family::Neutral).is_empty());
    assert!(city.opened().is_empty());
}

#[test]
fn twelve_volts_have_to_be_six_above_the_posts_own_dry_median_and_fresh() {
    let mut city = street(4, 8.0);
    for n in 0..4 {
        city.read(&at_post(volts_at(T, 13.9, 229.0), n));
    }
    assert!(city.opened_of(Family::Neutral).is_empty());
    let mut city = street(4, 0.4);
    for n in 0..3 {
        city.read(&at_post(volts_at(minutes(4 * n), 20.0, 229.0), n as usize));
    }
    assert!(city.opened_of(Family::Neutral).is_empty(), "the first is older than a period and a minute");
}

#[test]
fn a_post_above_250_beside_one_below_180_is_a_broken_neutral_and_all_low_is_a_brown_out() {
    let mut city = street(4, 0.4);
    for n in 0..4 {
        city.read(&at_post(volts_at(T, 0.4, 160.0), n));
    }
    assert!(city.opened_of(Family::Neutral).is_empty(), "a brown-out");
    city.read(&at_post(volts_at(minutes(1), 0.4, 251.0), 3));
    let incident = city.the(Family::Neutral);
    assert_eq!((&*incident.evidence.field, incident.evidence.thousandths), ("supply_v", Some(251_000)));
    assert_eq!(incident.evidence.unit(), "V");
}

#[test]
fn a_broken_neutral_is_normal_when_all_has_been_for_ten_minutes_and_its_members_are_linked() {
    let mut city = street(4, 0.4);
    for round in 0..2 {
        for n in 0..4 {
            city.read(&at_post(volts_at(minutes(5 * round), 45.0, 229.0), n));
        }
    }
    let parent = city.the(Family::Neutral).clone();
    assert_eq!(city.opened().len(), 4, "moves stay on each member's own id");
    assert_eq!(parent.links.len(), 4);
    assert!(
        city.engine
            .open_incidents()
            .filter(|i| i.family == Family::Electric)
            .all(|i| i.links == [parent.id.clone()] && i.life.parent.as_ref() == Some(&parent.id))
    );
    for round in 2..5 {
        assert_eq!(city.the(Family::Neutral).signal, Signal::Active);
        for n in 0..4 {
            city.read(&at_post(volts_at(minutes(5 * round), 0.4, 229.0), n));
        }
    }
    assert_eq!(city.the(Family::Neutral).signal, Signal::Normal);
}

#[test]
fn a_parent_takes_the_earliest_deadline_of_its_members() {
    let mut city = street(4, 0.4);
    city.read(&at_post(volts_at(minutes(0), 30.0, 229.0), 0));
    city.read(&at_post(volts_at(minutes(1), 30.0, 229.0), 0));
    let due_at = city.the_incident().due_at;
    for at in [minutes(3), minutes(4)] {
        (0..3).for_each(|n| city.read(&at_post(volts_at(at, 30.0, 229.0), n)));
    }
    assert_eq!(city.the(Family::Neutral).due_at, due_at);
}

#[test]
fn a_parent_waits_for_its_least_advanced_member() {
    let mut city = street(4, 0.4);
    for round in 0..2 {
        (0..4).for_each(|n| city.read(&at_post(volts_at(minutes(5 * round), 45.0, 229.0), n)));
    }
    let parent = city.the(Family::Neutral).id.to_string();
    let members: Vec<String> = city.opened().iter().map(|incident| incident.id.to_string()).collect();
    for (n, member) in members.iter().enumerate() {
        let refused = city.act(minutes(10), &parent, crew(Verb::Depart, &format!("k{n}"))).unwrap_err();
        assert!(refused.to_string().contains("member"), "{refused}");
        city.moved(minutes(10), member, crew(Verb::Depart, "k"));
    }
    city.moved(minutes(11), &parent, crew(Verb::Depart, "k"));
}

#[test]
fn what_simulated_sensors_say_of_a_feeder_is_marked_and_what_real_ones_say_is_not() {
    for simulated in [false, true] {
        let mark = |mut r: StoredReading<'static>| {
            if simulated {
                r.flags.add(Flags::SIMULATED);
            }
            r
        };
        let mut city = City::street(8);
        for round in 0..5 {
            for n in 0..8 {
                let volts = if round < 3 { 0.4 } else { 45.0 };
                city.read(&at_post(mark(volts_at(minutes(-20 + 5 * round), volts, 229.0)), n));
            }
        }
        for n in 0..5 {
            city.read(&at_post(mark(leak(minutes(1), 40.0)), n));
        }
        city.pass(minutes(1), 60);
        let marked = |kind| {
            let of = |i: &&Incident| i.evidence.kind == kind && i.scope.name() != "post";
            let found: Vec<&Incident> = city.engine.open_incidents().filter(of).collect();
            assert_eq!(found.len(), 1, "{kind:?}");
            found[0].notes.iter().any(|note| note == "模拟数据")
        };
        for kind in [Kind::NeutralBreak, Kind::FeederDark, Kind::Blind] {
            assert_eq!(marked(kind), simulated, "{kind:?}");
        }
    }
}

/// Half a day of a cabinet at 20 mA, then these values, one a minute.
fn stepped(wet: bool, values: &[f64]) -> City {
    let mut city = street(6, 0.4);
    for n in 0..12 * 60 {
        if n % 30 == 0 {
            city.keep_dry(minutes(n));
        }
        if n % 5 == 0 {
            (0..6).for_each(|post| city.read(&at_post(volts_at(minutes(n), 0.4, 229.0), post)));
        }
        city.read(&cabinet(minutes(n), 20.0));
    }
    if wet {
        let warning = WeatherReport { warning: Some(lampguard_model::Warning::Blue), ..dry() };
        city.weather(minutes(12 * 60), "z1", &warning);
    }
    for (n, value) in values.iter().enumerate() {
        city.read(&cabinet(minutes(12 * 60 + n as i64), *value));
    }
    city
}

#[test]
fn situation_s20_a_step_of_the_cabinets_residual_current_is_seen_though_all_posts_are_normal() {
    let city = stepped(false, &[36.0, 36.0, 36.0]);
    assert!(city.opened_of(Family::FeederLeak).is_empty(), "29.9 mA by the root of the squares");
    let city = stepped(false, &[44.7]);
    assert!(city.opened_of(Family::FeederLeak).is_empty(), "one sample");
    let city = stepped(false, &[44.7, 44.7]);
    let incident = city.the(Family::FeederLeak);
    assert_eq!((incident.evidence.kind, incident.severity), (Kind::FeederStep, Severity::P2));
    assert_eq!(incident.evidence.thousandths, Some(39_976));
    assert_eq!(incident.due_at, incident.opened_at + Millis::hours(24));
    assert!(incident.notes.iter().any(|note| note.contains("50 mA")));
    assert!(city.opened().is_empty(), "no post");
}

#[test]
fn a_wet_step_of_fifty_and_two_and_a_half_times_the_zones_median_is_a_p1() {
    // One cabinet is its own median: the ratio cannot be reached alone.
    let city = stepped(true, &[80.0, 80.0]);
    assert_eq!(city.the(Family::FeederLeak).severity, Severity::P2);
    let city = stepped(false, &[80.0, 80.0]);
    assert_eq!(city.the(Family::FeederLeak).severity, Severity::P2, "dry");
}

#[test]
fn a_step_is_masked_while_a_phase_is_lost_and_normal_at_half_for_ten_minutes() {
    let mut city = stepped(false, &[]);
    let at = |n: i64| minutes(12 * 60 + n);
    for post in 0..2 {
        city.read(&at_post(volts_at(at(0), 0.2, 0.0), post));
    }
    city.read(&at_post(volts_at(at(0), 0.2, 229.0), 5));
    for n in 1..4 {
        city.read(&cabinet(at(n), 90.0));
    }
    assert!(city.opened_of(Family::FeederLeak).is_empty(), "masked");
    let mut city = stepped(false, &[44.7, 44.7]);
    for n in 2..=12 {
        assert_ne!(city.the(Family::FeederLeak).signal, Signal::Normal, "minute {n}");
        if n == 4 {
            (0..6).for_each(|post| city.read(&at_post(volts_at(at(4), 0.4, 229.0), post)));
        }
        city.read(&cabinet(at(n), 21.0));
    }
    assert_eq!(city.the(Family::FeederLeak).signal, Signal::Normal);
}

#[test]
fn a_feeder_step_that_shows_again_where_a_crew_stands_is_told_once_and_not_at_each_reading() {
    let mut city = stepped(true, &[]);
    // One cabinet is its own median: the ratio cannot be reached alone.
    city.engine.policy.feeder_step.p1_ratio = crate::policy::Factor(0);
    let start = 12 * 60 + 1;
    (start..start + 3).for_each(|minute| city.read(&cabinet(minutes(minute), 90.0)));
    let incident = city.the(Family::FeederLeak).clone();
    assert_eq!(incident.severity, Severity::P1);
    city.moved(minutes(start + 4), &incident.id, crew(Verb::Arrive, "1"));
    (start + 5..start + 40).for_each(|minute| city.read(&cabinet(minutes(minute), 20.0)));
    assert_eq!(city.the(Family::FeederLeak).signal, Signal::Normal);
    city.effects.clear();
    (start + 40..start + 50).for_each(|minute| city.read(&cabinet(minutes(minute), 90.0)));
    let again = city.told().iter().filter(|word| **word == "incident.repeated").count();
    assert_eq!(again, 1, "{:?}", city.told());
}
