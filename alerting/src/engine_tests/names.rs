//! Posts that have another name, another feeder or another sensor by another register.

use super::enrol::{OF_P1, OF_P2, OF_P3, danger_of, lines, placed, with_p1};
use super::restart::restarted;
use super::*;
use crate::incident::{Kind, Signal};
use crate::life::tests::crew;
use crate::life::{Method, Verb};
use crate::slot::Fact;

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

const P1_BY_D1: &str =
    "P1,D1,z1,人民路,3,塔南路口,F1,C1,113.2,35.2,2,150,false,2019-05,BJ-1,post,all,true,M1,300";

/// A city whose P1 has the sensor D1, and what is to become of it.
fn with_sensor() -> City {
    let mut city = City::new();
    city.enrol(minutes(-4), &with_p1(&[P1_BY_D1]));
    city
}

impl City {
    /// What D1 says, placed by the register that holds.
    fn hear_d1(&mut self, r: StoredReading<'static>) {
        let register = self.engine.register.clone();
        self.read(&placed(&StoredReading { device: "D1", ..r }, &register));
    }

    /// The engine after a restart by the register that holds: what the store has of it.
    fn after_restart(&self) -> Self {
        let register = self.engine.register.clone();
        let engine = Engine::new(Policy::default(), register, Sky::default());
        let mut after = restarted(self, Self { engine, effects: Vec::new() });
        after.keep_dry(T - Millis::minutes(5));
        after
    }
}

/// P1 by another name, and none at all.
fn renamed_and_struck() -> [Arc<Register>; 2] {
    [with_p1(&[&P1_BY_D1.replacen("P1", "Q1", 1)]), with_p1(&[])]
}

#[test]
fn a_post_that_is_struck_or_renamed_keeps_its_incident_and_the_words_of_its_sensor() {
    for register in renamed_and_struck() {
        let mut city = with_sensor();
        for minute in [0, 5] {
            city.hear_d1(lit_shell(minutes(minute), 40.0));
        }
        let id = city.the_incident().id.clone();
        city.enrol(minutes(6), &register);
        for minute in [10, 15, 20] {
            city.hear_d1(lit_shell(minutes(minute), 40.0));
            city.tick(minutes(minute));
        }
        city.pass(minutes(20), 8);
        assert_eq!((&city.the_incident().id, city.the_incident().signal), (&id, Signal::Active));
        assert_eq!(city.engine.strangers(), usize::from(register.named("D1").is_none()));
        // Power it off: the crew of that incident hears that it is dead, and not that it is silent.
        city.hear_d1(with(shell(minutes(30), 0.0), Field::SupplyV, 0.0));
        assert_eq!(city.the_incident().signal, Signal::Unpowered);
        // And the same after a restart, with a replay of what was placed by the register of before.
        let mut after = city.after_restart();
        after.engine.replaying(true);
        for minute in [0, 5] {
            let r = StoredReading { device: "D1", ..lit_shell(minutes(minute), 40.0) };
            after.read(&placed(&r, &with_p1(&[P1_BY_D1])));
        }
        for minute in [10, 15, 20] {
            after.hear_d1(lit_shell(minutes(minute), 40.0));
        }
        after.engine.replaying(false);
        for minute in [31, 36] {
            after.hear_d1(lit_shell(minutes(minute), 41.0));
        }
        assert!(after.opened().is_empty(), "{:#?}", after.opened());
        let open = after.engine.open_incidents().next().unwrap();
        assert_eq!((&open.id, open.signal), (&id, Signal::Active));
    }
}

#[test]
fn a_danger_that_waits_to_be_confirmed_is_confirmed_by_the_sensor_of_a_post_that_was_struck_or_renamed() {
    for register in renamed_and_struck() {
        let mut city = with_sensor();
        city.hear_d1(lit_shell(minutes(0), 40.0));
        city.enrol(minutes(1), &register);
        city.hear_d1(lit_shell(minutes(5), 41.0));
        assert_eq!(city.the_incident().kinds, [Kind::ShellCritical]);
        // One that talks on has not fallen silent.
        let mut city = with_sensor();
        city.hear_d1(lit_shell(minutes(0), 40.0));
        city.enrol(minutes(1), &register);
        for minute in [5, 10, 15] {
            city.hear_d1(lit_shell(minutes(minute), 0.1));
            city.tick(minutes(minute));
        }
        assert!(city.opened().is_empty(), "{:#?}", city.opened());
    }
}

#[test]
fn a_sensor_that_goes_to_a_post_that_was_there_takes_no_incident_of_the_struck_one_along() {
    let mut city = with_sensor();
    for minute in [0, 5] {
        city.hear_d1(lit_shell(minutes(minute), 40.0));
    }
    let id = city.the_incident().id.clone();
    city.enrol(minutes(6), &lines(&[OF_P2.replacen("P2,,", "P2,D1,", 1), OF_P3.to_owned()]));
    for minute in [10, 15] {
        city.hear_d1(lit_shell(minutes(minute), 40.0));
    }
    let of: Vec<(&str, bool)> = city.opened().iter().map(|i| (&*i.post_id, i.id == id)).collect();
    assert_eq!(of, [("P1", true), ("P2", false)]);
}

#[test]
fn a_post_that_ended_under_its_old_name_is_remembered_under_its_new_one() {
    let mut city = with_sensor();
    for minute in [0, 5] {
        city.hear_d1(lit_shell(minutes(minute), 40.0));
    }
    let id = city.the_incident().id.clone();
    let mut m = crate::life::tests::desk(Verb::Void, "v");
    if let crate::life::Outcome::Second(pending) = city.act(minutes(6), &id, m.clone()).unwrap().outcome {
        (m.actor.name, m.body.second) = ("Second".to_owned(), Some(pending));
        city.moved(minutes(7), &id, m);
    }
    city.enrol(minutes(8), &renamed_and_struck()[0]);
    for minute in [10, 15] {
        city.hear_d1(lit_shell(minutes(minute), 40.0));
    }
    let again = city.opened()[1];
    assert_eq!((&*again.post_id, &again.life.follows), ("Q1", &vec![id]));
}

#[test]
fn a_slot_that_was_taken_over_raises_nothing_a_second_time_in_rain_or_by_another_policy() {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&stranger(leak(minutes(minute), 20.0), "D-1"));
    }
    city.read(&leak(minutes(4), 0.5));
    city.enrol(minutes(6), &with_p1(&[&OF_P1.replacen("P1,,", "P1,D-1,", 1)]));
    let wet = WeatherReport { wet: Some(true), ..dry() };
    city.weather(minutes(7), "all", &wet);
    city.weather(minutes(7), UNREGISTERED, &wet);
    let mut policy = Policy::default();
    policy.leak_critical.dry = lampguard_model::Milliamps::whole(15);
    city.enact(minutes(8), &policy);
    assert_eq!(city.opened().len(), 1, "{:#?}", city.opened());
}

fn rain() -> WeatherReport {
    WeatherReport { rain_mm_h: Some(5.0), ..WeatherReport::default() }
}

/// A stranger's fault of a rainy night is closed at minute 14, and is P9's from `enrolled` on.
fn rain_fault_of_a_stranger(enrolled: i64) -> City {
    let mut city = City::new();
    let register = with_p1(&[OF_P1, "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300"]);
    city.weather(minutes(-1), "all", &rain());
    danger_of(&mut city, "D-1", 0);
    let id = city.the_incident().id.to_string();
    let desk = |verb| crate::life::tests::desk(verb, "1");
    let mut repair = crew(Verb::Repair, "1");
    repair.body.cause = Some("wet junction".to_owned());
    let moves =
        [crew(Verb::Arrive, "1"), crew(Verb::MakeSafe, "1"), repair, desk(Verb::Verify), desk(Verb::Close)];
    for (minute, m) in (10..).zip(moves) {
        if minute == enrolled {
            city.enrol(minutes(minute), &register);
        }
        city.moved(minutes(minute), &id, m);
    }
    if enrolled > 14 {
        city.enrol(minutes(enrolled), &register);
    }
    city
}

#[test]
fn the_recheck_of_a_fault_that_opened_at_a_stranger_is_asked_of_its_post_and_finished_there() {
    for enrolled in [13, 20] {
        let city = rain_fault_of_a_stranger(enrolled);
        let task = city.engine.rechecks()[0].clone();
        assert_eq!((&*task.post, &*task.zone), ("P9", "z1"), "registered at minute {enrolled}");
    }
    // Or it was registered while nothing ran.
    let city = rain_fault_of_a_stranger(20);
    let (register, task) = (city.engine.register.clone(), city.engine.rechecks()[0].clone());
    let old =
        crate::engine::Recheck { post: Arc::from("D-1"), zone: Arc::from(UNREGISTERED), ..task.clone() };
    for task in [task, old] {
        let engine = Engine::new(Policy::default(), register.clone(), Sky::default());
        let mut after = City { engine, effects: Vec::new() };
        after.engine.seed_recheck(task);
        after.keep_dry(minutes(60));
        for minute in [70, 75] {
            after.weather(minutes(minute), "z1", &rain());
        }
        assert!(after.engine.rechecks()[0].asked_at.is_some(), "{:?}", after.engine.rechecks());
        let mut r = with(reading(minutes(80)), Field::Check, 0.0);
        (r.post, r.device, r.cause) = ("P9", "D-1", Cause::Manual);
        after.read(&r);
        assert!(after.engine.rechecks().is_empty(), "{:?}", after.engine.rechecks());
    }
}

#[test]
fn what_was_wrong_with_a_sensor_ends_with_it_and_its_unconfirmed_danger_goes_where_it_hangs() {
    let mut city = with_sensor();
    city.read(&StoredReading { post: "P2", device: "P2", ..lit_shell(minutes(0), 0.4) });
    // D1 has its flag up for more than a day, is told in whole milliamperes, and leans.
    for hour in -26..=-1 {
        let at = T + Millis::hours(hour);
        let mut r = with(with(leak(at, 2.0), Field::SupplyV, 229.0), Field::TiltDeg, 20.0);
        r.flags.add(Flags::LEAK_ALARM);
        r.cause = Cause::Heartbeat;
        city.keep_dry(at);
        city.hear_d1(r);
    }
    let slot = city.engine.slot("P1").unwrap();
    assert!(city.engine.slots[slot].is(Fact::LeakFlagStuck));
    assert_eq!(city.engine.open_incidents().filter(|i| i.family == Family::Electric).count(), 1);
    city.keep_dry(minutes(0));
    city.hear_d1(lit_shell(minutes(1), 40.0));
    // The two had been mixed up.
    let [p1, p2] = [OF_P1.replacen("P1,,", "P1,P2,", 1), OF_P2.replacen("P2,,", "P2,D1,", 1)];
    city.enrol(minutes(2), &lines(&[p1, p2, OF_P3.to_owned()]));
    let noted = |incident: &Incident| incident.notes.iter().any(|note| note.contains("another sensor): P2"));
    assert!(city.engine.open_incidents().any(|incident| &*incident.post_id == "P1" && noted(incident)));
    assert!(!city.engine.slots[slot].is(Fact::LeakFlagStuck));
    // The new one hangs straight: no column fell. Its flag confirms a danger at once.
    let mut r = with(with(leak(minutes(3), 40.0), Field::SupplyV, 229.0), Field::TiltDeg, 0.5);
    r.flags.add(Flags::LEAK_ALARM);
    city.read(&StoredReading { device: "P2", ..r });
    assert!(city.opened_of(Family::Column).is_empty());
    let of_p1 = |incident: &&Incident| &*incident.post_id == "P1" && incident.family == Family::Electric;
    let incident = city.engine.open_incidents().find(of_p1).unwrap();
    assert!(incident.kinds.contains(&Kind::LeakCritical), "{:?}", incident.kinds);
    // D1 says nothing more: that is P2's silence after danger.
    city.pass(minutes(3), 20);
    let silent = |incident: &&Incident| incident.kinds.contains(&Kind::CriticalThenSilent);
    let posts: Vec<&str> = city.engine.open_incidents().filter(silent).map(|i| &*i.post_id).collect();
    assert_eq!(posts, ["P2"]);
}
