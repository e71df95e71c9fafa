//! Posts that have another name, another feeder or another sensor by another register.

use super::enrol::{OF_P1, danger_of, with_p1};
use super::*;
use crate::incident::Kind;
use crate::life::tests::crew;
use crate::life::{Method, Verb};

/// P1 is in danger, and its crew has made the whole feeder F1 dead.
fn dead_feeder() -> (City, String) {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&lit_shell(minutes(minute), 40.0));
    }
    let id = city.the_incident().id.to_string();
    city.moved(minutes(6), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(7), &id, isolated(crate::life::Extent::Feeder));
    assert_eq!(city.the_incident().life.safety(), crate::life::DEAD);
    (city, id)
}

fn isolated(extent: crate::life::Extent) -> Move {
    let mut m = crew(Verb::MakeSafe, "1");
    (m.body.method, m.body.extent) = (Some(Method::Isolated), Some(extent));
    m
}

fn lit_shell(at: Timestamp, volts: f64) -> StoredReading<'static> {
    with(shell(at, volts), Field::SupplyV, 229.0)
}

#[test]
fn a_post_that_moves_away_from_the_feeder_made_dead_for_it_is_still_inside_and_its_voltage_is_told() {
    let (mut city, _) = dead_feeder();
    city.enrol(minutes(8), &with_p1(&[&OF_P1.replace("F1", "F2")]));
    city.read(&StoredReading { feeder: "F2", ..lit_shell(minutes(10), 0.1) });
    assert_eq!(city.of_kind(Kind::Reenergised).len(), 1);
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
    let slot = city.engine.slot("P2").unwrap();
    assert!(city.engine.is_isolated(slot), "and the others on F1 are");
}

#[test]
fn a_post_that_is_struck_behind_the_feeder_made_dead_for_it_is_still_inside_and_its_voltage_is_told() {
    let (mut city, _) = dead_feeder();
    city.enrol(minutes(8), &with_p1(&[]));
    city.read(&stranger(lit_shell(minutes(10), 0.1), "P1"));
    assert_eq!(city.of_kind(Kind::Reenergised).len(), 1);
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
}

#[test]
fn power_comes_back_only_when_crews_are_clear_whose_post_had_another_name_or_another_feeder() {
    // P1's crew made F1 dead. Somebody stands at what was a stranger, and is P9 on F1 now.
    let (mut city, id) = dead_feeder();
    danger_of(&mut city, "D-1", 8);
    let other = city.opened()[1].id.to_string();
    city.moved(minutes(14), &other, crew(Verb::Arrive, "2"));
    let line = "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    let mut clear = crew(Verb::Note, "clear");
    clear.body.clear = true;
    city.moved(minutes(15), &id, clear.clone());
    city.enrol(minutes(16), &with_p1(&[OF_P1, line]));
    let refused = city.act(minutes(17), &id, crew(Verb::Restore, "1")).unwrap_err().to_string();
    assert!(refused.contains(&other), "{refused}");
    // And one that opened on F2, whose post hangs on F1 by now.
    let mut away = City::new();
    away.enrol(minutes(-1), &with_p1(&[&OF_P1.replace("F1", "F2")]));
    for minute in [0, 5] {
        away.read(&StoredReading { feeder: "F2", ..lit_shell(minutes(minute), 40.0) });
        away.read(&StoredReading { post: "P2", device: "P2", ..lit_shell(minutes(minute), 40.0) });
    }
    let [moved, stays] = ["P1", "P2"].map(|post| {
        let of_post =
            |incident: &&Incident| *incident.post_id == *post && incident.family == Family::Electric;
        away.engine.open_incidents().find(of_post).unwrap().id.to_string()
    });
    away.moved(minutes(6), &moved, crew(Verb::Arrive, "1"));
    away.moved(minutes(6), &stays, crew(Verb::Arrive, "2"));
    away.moved(minutes(7), &stays, isolated(crate::life::Extent::Feeder));
    away.moved(minutes(8), &stays, clear);
    away.enrol(minutes(9), &with_p1(&[OF_P1]));
    let refused = away.act(minutes(10), &stays, crew(Verb::Restore, "1")).unwrap_err().to_string();
    assert!(refused.contains(&moved), "{refused}");
}
