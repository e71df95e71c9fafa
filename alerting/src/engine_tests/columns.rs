//! Columns that lean again, and columns that were set anew.

use super::moves::lit;
use super::returns::{leaning, safe};
use super::*;
use crate::incident::Signal;
use crate::life::tests::crew;
use crate::life::{Extent, Method, Verb};

#[test]
fn a_column_that_leans_again_where_a_crew_stands_is_told_once_and_not_at_each_reading() {
    let tilted = |minute: i64, degrees: f64| with(lit(minutes(minute), 0.1), Field::TiltDeg, degrees);
    let mut city = City::new();
    [0, 1, 2].into_iter().for_each(|minute| city.read(&tilted(minute, 1.0)));
    city.read(&tilted(5, 30.0));
    let id = city.the(Family::Column).id.to_string();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    [11, 16, 21, 26].into_iter().for_each(|minute| city.read(&tilted(minute, 1.0)));
    assert_eq!(city.the(Family::Column).signal, Signal::Normal);
    city.effects.clear();
    (30..40).for_each(|minute| city.read(&tilted(minute, 30.0)));
    assert_eq!(city.told(), ["incident.repeated"]);
    // And once more when it was upright in between.
    (40..=55).step_by(5).for_each(|minute| city.read(&tilted(minute, 1.0)));
    (56..60).for_each(|minute| city.read(&tilted(minute, 30.0)));
    assert_eq!(city.told().len(), 2);
}

#[test]
fn a_column_that_was_set_anew_stands_as_usual_also_after_a_restart() {
    let (mut city, id) = leaning();
    let memory = |city: &City| {
        let of = |effect: &Effect| match effect {
            Effect::Remember(memory) => Some(memory.clone()),
            _ => None,
        };
        city.effects.iter().rev().find_map(of).unwrap()
    };
    // The new column has another sensor: 9 degrees are its usual tilt.
    let anew = |city: &mut City| {
        for minute in [25, 30, 35, 40] {
            city.read(&with(lit(minutes(minute), 0.1), Field::TiltDeg, 9.0));
        }
    };
    let (before, incident) = (memory(&city), city.the(Family::Column).clone());
    anew(&mut city);
    assert_eq!((city.opened_of(Family::Column).len(), city.the(Family::Column).signal), (1, Signal::Normal));
    city.moved(minutes(41), &id, other(Verb::Verify, "1"));
    // And from there it leans again.
    city.read(&with(lit(minutes(45), 0.1), Field::TiltDeg, 25.0));
    assert_eq!(city.opened_of(Family::Column).len(), 2);
    // A restart right after the repair: what a replay brings was the old column.
    let mut after = City::new();
    after.engine.remember(&before);
    after.engine.seed(incident);
    after.engine.replaying(true);
    after.read(&with(reading(minutes(15)), Field::TiltDeg, 30.0));
    after.engine.replaying(false);
    anew(&mut after);
    let signals: Vec<Signal> = after.engine.open_incidents().map(|incident| incident.signal).collect();
    assert_eq!((after.opened_of(Family::Column).len(), signals), (0, vec![Signal::Normal]));
    after.read(&with(lit(minutes(45), 0.1), Field::TiltDeg, 25.0));
    assert_eq!(after.opened_of(Family::Column).len(), 1);
}

#[test]
fn a_column_that_was_repaired_twice_and_stands_the_same_is_no_p1_for_ever() {
    let (mut city, _) = leaning();
    city.read(&with(lit(minutes(25), 0.1), Field::TiltDeg, 30.0));
    let id = city.opened_of(Family::Column)[1].id.to_string();
    city.moved(minutes(30), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(31), &id, safe(Method::Guarded, Extent::Post));
    city.moved(minutes(32), &id, crew(Verb::Repair, "1"));
    for minute in [35, 40, 45, 50] {
        city.read(&with(lit(minutes(minute), 0.1), Field::TiltDeg, 30.0));
    }
    assert_eq!(city.opened_of(Family::Column).len(), 2);
    city.moved(minutes(51), &id, other(Verb::Verify, "1"));
}
