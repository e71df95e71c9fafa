//! What people do, on a post that goes on reporting.

use super::*;
use crate::engine::moves::Belongs;
use crate::engine::place::Subject;
use crate::incident::Signal;
use crate::life::tests::{crew, desk};
use crate::life::{Extent, Method, Outcome, Stage, Verb};
use crate::{Kind, Severity};

pub(super) fn lit(at: Timestamp, ma: f64) -> StoredReading<'static> {
    with(leak(at, ma), Field::SupplyV, 230.0)
}

pub(super) fn dark(at: Timestamp) -> StoredReading<'static> {
    with(leak(at, 0.0), Field::SupplyV, 0.0)
}

/// P1 is critical since minute 5.
pub(super) fn raised() -> (City, String) {
    let mut city = City::new();
    city.read(&lit(T, 40.0));
    city.read(&lit(minutes(5), 40.0));
    let id = city.the_incident().id.to_string();
    (city, id)
}

fn made_safe(city: &mut City, id: &str, method: Method) {
    city.moved(minutes(15), id, crew(Verb::Arrive, "arrive"));
    let mut m = crew(Verb::MakeSafe, "safe");
    (m.body.method, m.body.extent) = (Some(method), Some(Extent::Feeder));
    city.moved(minutes(16), id, m);
}

#[test]
fn a_life_goes_from_open_to_closed_and_everybody_is_told() {
    let (mut city, id) = raised();
    city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    city.moved(minutes(7), &id, crew(Verb::Depart, "1"));
    city.moved(minutes(20), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(21), &id, crew(Verb::MakeSafe, "1"));
    city.moved(minutes(40), &id, crew(Verb::Repair, "1"));
    for minute in [45, 60] {
        city.read(&lit(minutes(minute), 1.0));
    }
    let early = city.act(minutes(61), &id, other(Verb::Verify, "1")).unwrap_err().to_string();
    assert!(early.contains("over 15 min"), "{early}");
    city.read(&lit(minutes(75), 1.0));
    city.moved(minutes(76), &id, other(Verb::Verify, "1"));
    let closed = city.moved(minutes(77), &id, desk(Verb::Close, "1"));
    assert_eq!((closed.life.state, closed.due_at), (Stage::Closed, minutes(35)));
    assert!(!closed.life.is_breached(closed.due_at, minutes(999)));
    let words = ["acknowledged", "departed", "arrived", "made_safe", "repaired", "verified", "closed"];
    assert_eq!(city.told(), words.map(|word| format!("incident.{word}")));
    assert_eq!(city.engine.open_incidents().count(), 0);
    assert_eq!(city.engine.post_state("P1", minutes(78)).state, crate::State::Normal);
    let noted = city.moved(minutes(80), &id, desk(Verb::Note, "later"));
    assert_eq!(noted.life.state, Stage::Closed, "annotated, and nothing else");
    assert!(city.act(minutes(81), &id, crew(Verb::Repair, "2")).is_err());
}

#[test]
fn situation_s16_before_arrival_a_fault_that_returns_at_dusk_is_the_same_incident() {
    let (mut city, id) = raised();
    city.moved(minutes(6), &id, crew(Verb::Depart, "1"));
    city.read(&dark(minutes(10)));
    city.read(&lit(minutes(15), 45.0));
    city.read(&lit(minutes(20), 45.0));
    assert_eq!(city.the_incident().signal, Signal::Active);
    assert_eq!(city.opened().len(), 1);
}

#[test]
fn peer_p17_after_made_safe_a_fault_that_returns_is_a_new_linked_incident_with_its_own_deadline() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Isolated);
    city.read(&dark(minutes(17)));
    city.keep_dry(minutes(55));
    for minute in [60, 65] {
        city.read(&lit(minutes(minute), 45.0));
    }
    let opened = city.opened();
    assert_eq!(opened.len(), 2);
    let (new, due) = (opened[1].id.to_string(), opened[1].due_at);
    assert_eq!(
        (opened[1].life.follows[0].as_ref(), due),
        (id.as_str(), opened[1].opened_at + Millis::minutes(30))
    );
    assert_ne!(new, id);
    city.moved(minutes(70), &id, crew(Verb::Repair, "1"));
    city.moved(minutes(71), &id, desk(Verb::Verify, "1"));
    let mut restore = crew(Verb::Note, "c");
    restore.body.clear = true;
    assert!(city.act(minutes(72), &id, desk(Verb::Close, "1")).unwrap_err().to_string().contains(&new));
    // The new one is in the same extent: no power before its crew is clear.
    let held = city.act(minutes(73), &id, crew(Verb::Restore, "1")).unwrap_err().to_string();
    assert!(held.contains(&new), "{held}");
    city.moved(minutes(74), &new, crew(Verb::Arrive, "2"));
    city.moved(minutes(75), &new, restore);
    city.moved(minutes(76), &id, crew(Verb::Restore, "2"));
}

#[test]
fn a_signal_that_persists_behind_a_barrier_attaches_and_is_told_every_half_hour() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Barrier);
    for minute in [20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80] {
        city.keep_dry(minutes(minute));
        city.read(&lit(minutes(minute), 45.0));
    }
    assert_eq!(city.opened().len(), 1);
    let told = city.told();
    let again = told.iter().filter(|word| **word == "incident.repeated").count();
    assert_eq!(again, 2, "at 46 and 76: {told:?}");
}

#[test]
fn situation_s17_an_isolation_keeps_its_state_through_the_silence_it_makes() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Isolated);
    let mut is_isolated = |post: &str| {
        let slot = city.engine.slot(post).unwrap();
        city.engine.is_isolated(slot)
    };
    assert!(is_isolated("P2"), "the whole feeder");
    assert!(!is_isolated("P3"));
    city.pass(minutes(16), 60);
    let incident = city.the_incident();
    assert_eq!((incident.life.state, incident.life.safety()), (Stage::MadeSafe, "已断电"));
    assert_eq!(incident.signal, Signal::Silent);
}

#[test]
fn after_a_void_the_next_confirmed_critical_is_a_new_linked_p1() {
    let (mut city, id) = raised();
    let asked = city.act(minutes(6), &id, desk(Verb::Void, "1")).unwrap();
    let Outcome::Second(pending) = asked.outcome else { panic!("one person voided a P1 that shows") };
    let mut second = desk(Verb::Void, "2");
    (second.actor.name, second.body.second) = ("Leader".to_owned(), Some(pending));
    city.moved(minutes(7), &id, second);
    assert_eq!(city.engine.open_incidents().count(), 0);
    city.read(&lit(minutes(10), 40.0));
    let opened = city.opened();
    assert_eq!(opened.len(), 2);
    assert_ne!(opened[0].id, opened[1].id, "though the same samples confirm it");
    assert_eq!(*opened[1].life.follows[0], *id);
}

#[test]
fn a_replay_after_the_end_opens_nothing_a_second_time() {
    let (mut city, id) = raised();
    city.read(&lit(minutes(6), 1.0));
    city.read(&lit(minutes(11), 1.0));
    city.read(&lit(minutes(16), 1.0));
    assert_eq!(city.the_incident().signal, Signal::Normal);
    city.moved(minutes(20), &id, desk(Verb::Void, "1"));
    let mut after = City::new();
    after.engine.seed_last(&Arc::from("electric|P1"), &Arc::from(id.as_str()), minutes(20));
    after.engine.replaying(true);
    for r in [lit(T, 40.0), lit(minutes(5), 40.0), lit(minutes(10), 40.0)] {
        after.read(&r);
    }
    after.engine.replaying(false);
    assert!(after.opened().is_empty(), "{:?}", after.opened());
    after.read(&lit(minutes(21), 40.0));
    after.read(&lit(minutes(26), 40.0));
    assert_eq!(*after.the_incident().life.follows[0], *id);
}

#[test]
fn situation_s48_a_leak_six_days_after_closing_is_a_new_incident_linked_as_a_repeat() {
    for (days, linked) in [(6, true), (29, true), (31, false)] {
        let mut city = City::without_weather();
        city.engine.seed_last(&Arc::from("electric|P1"), &Arc::from("LG-OLD"), T - Millis::hours(24 * days));
        for minute in [0, 5] {
            city.read(&lit(minutes(minute), 40.0));
        }
        let follows: Vec<String> = city.the_incident().life.follows.iter().map(ToString::to_string).collect();
        assert_eq!(follows, if linked { vec!["LG-OLD"] } else { vec![] }, "{days} days");
    }
}

#[test]
fn evidence_where_a_crew_stands_is_told_again_and_ends_shelving() {
    let (mut city, id) = raised();
    let answer = city.act(minutes(6), &id, desk(Verb::Shelve, "1")).unwrap();
    let Outcome::Second(pending) = answer.outcome else { panic!("one person shelved a P1 that shows") };
    let mut second = desk(Verb::Shelve, "2");
    (second.actor.name, second.body.second) = ("Leader".to_owned(), Some(pending));
    assert!(city.moved(minutes(7), &id, second).life.is_shelved(minutes(8)));
    city.effects.clear();
    for minute in [9, 14] {
        city.read(&with(shell(minutes(minute), 60.0), Field::SupplyV, 230.0));
    }
    let shown = city.effects.iter().find_map(|effect| match effect {
        Effect::Changed { incident, .. } => Some(incident.life.is_shelved(minutes(15))),
        _ => None,
    });
    assert_eq!(shown, Some(false), "the list has it again at once");
    assert!(city.told().is_empty(), "nobody stands there yet");
    city.moved(minutes(15), &id, crew(Verb::Arrive, "1"));
    let place = city.engine.slots[0].incident().unwrap();
    city.engine.on_evidence(place, minutes(16), (Kind::ShellCritical, Severity::P1), &mut city.effects);
    assert_eq!(city.told(), ["incident.arrived", "incident.repeated"]);
}

#[test]
fn a_sample_above_the_limit_after_a_repair_needs_another_repair() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Guarded);
    city.moved(minutes(20), &id, crew(Verb::Repair, "1"));
    for (minute, ma) in [(25, 1.0), (40, 31.0), (45, 1.0), (60, 1.0), (80, 1.0)] {
        city.keep_dry(minutes(minute));
        city.read(&lit(minutes(minute), ma));
    }
    let refused = city.act(minutes(81), &id, other(Verb::Verify, "1")).unwrap_err().to_string();
    assert!(refused.contains("repair again"), "{refused}");
    city.moved(minutes(82), &id, crew(Verb::Repair, "2"));
    for minute in [85, 116] {
        city.keep_dry(minutes(minute));
        city.read(&lit(minutes(minute), 1.0));
    }
    city.moved(minutes(117), &id, other(Verb::Verify, "1"));
}

#[test]
fn a_warning_that_attaches_begins_the_half_hour_anew_and_unpowered_readings_count_for_nothing() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Guarded);
    city.moved(minutes(20), &id, crew(Verb::Repair, "1"));
    for minute in [25, 56] {
        city.keep_dry(minutes(minute));
        city.read(&dark(minutes(minute)));
    }
    let refused = city.act(minutes(57), &id, other(Verb::Verify, "1")).unwrap_err().to_string();
    assert!(refused.contains("0 powered"), "{refused}");
    city.read(&lit(minutes(58), 1.0));
    let place = city.engine.slots[0].incident().unwrap();
    city.engine.on_evidence(place, minutes(60), (Kind::LeakCritical, Severity::P1), &mut city.effects);
    city.read(&lit(minutes(90), 1.0));
    let refused = city.act(minutes(91), &id, other(Verb::Verify, "1")).unwrap_err().to_string();
    assert!(refused.contains("1 powered"), "{refused}");
}

#[test]
fn a_deadline_that_passes_with_nobody_there_is_recorded_once_and_told_of_a_p1_alone() {
    let (mut city, id) = raised();
    city.tick(minutes(35));
    assert!(city.told().is_empty(), "the deadline is 30 minutes after the second reading, not before");
    city.tick(minutes(35) + Millis(1));
    city.tick(minutes(50));
    assert_eq!(city.told(), ["incident.breached"]);
    assert_eq!(city.the_incident().life.breached_at, Some(minutes(35) + Millis(1)));
    // They come late; nothing is recorded a second time.
    city.moved(minutes(51), &id, crew(Verb::Arrive, "1"));
    city.tick(minutes(90));
    assert_eq!(city.told(), ["incident.breached", "incident.arrived"]);
    let (mut city, id) = raised();
    city.moved(minutes(20), &id, crew(Verb::Arrive, "1"));
    city.tick(minutes(90));
    assert_eq!(city.told(), ["incident.arrived"], "somebody stands there");
    let mut after = City::new();
    let breached = city.the_incident().clone();
    let life = crate::life::Life { arrived: None, breached_at: Some(minutes(36)), ..breached.life.clone() };
    after.engine.seed(Incident { life, ..breached });
    after.tick(minutes(91));
    assert!(after.told().is_empty(), "a restart records it no second time");
}

#[test]
fn who_comes_behind_the_deadline_is_late_everywhere_whenever_the_next_tick_comes() {
    use crate::totals::Totals;
    let breached = |city: &City| {
        let recorded = city.effects.iter().filter_map(|effect| match effect {
            Effect::Moved { event, incident, .. } => Some((event.kind, incident.life.breached_at.is_some())),
            _ => None,
        });
        recorded.filter(|(kind, _)| ["breached", "arrive", "void"].contains(kind)).collect::<Vec<_>>()
    };
    let due_at = minutes(35);
    for (verb, late) in [(Verb::Arrive, Millis(1)), (Verb::Arrive, Millis(700)), (Verb::Void, Millis(700))] {
        let (mut city, id) = raised();
        if verb == Verb::Void {
            // A danger that does not show needs no second person.
            (0..8).for_each(|n| city.read(&lit(minutes(10 + 2 * n), 1.0)));
        }
        city.tick(due_at);
        let life = city
            .moved(due_at + late, &id, if verb == Verb::Void { desk(verb, "1") } else { crew(verb, "1") })
            .life;
        assert!(life.is_breached(due_at, due_at + late), "{verb:?}");
        assert_eq!(life.breached_at, Some(due_at + late), "{verb:?}");
        assert_eq!(breached(&city), [("breached", true), (verb.name(), true)], "the breach stands before it");
        let totals = Totals::of(true, minutes(5), Some(minutes(5)), &life);
        assert_eq!((totals.breached, totals.arrived), (1, u64::from(verb == Verb::Arrive)));
        city.tick(minutes(40));
        let told = city.told().iter().filter(|word| **word == "incident.breached").count();
        assert_eq!((told, breached(&city).len()), (1, 2), "the next tick records it no second time");
    }
    // In time is in time: in the very millisecond, and by a time that is taken for the deadline.
    for claimed in [false, true] {
        let (mut city, id) = raised();
        city.tick(due_at);
        let mut m = crew(Verb::Arrive, "1");
        let now = if claimed { due_at + Millis(700) } else { due_at };
        (m.body.at, m.body.sent_at) = (claimed.then_some(minutes(34)), claimed.then_some(now));
        city.moved(now, &id, m);
        city.tick(minutes(40));
        assert_eq!(breached(&city), [("arrive", false)], "claimed {claimed}");
    }
}

#[test]
fn a_breach_of_a_warning_is_told_when_it_becomes_a_danger() {
    let (city, _) = raised();
    let mut warned = city.the_incident().clone();
    (warned.severity, warned.p1_at, warned.kinds) = (Severity::P2, None, vec![Kind::LeakWarning]);
    let mut after = City::new();
    after.engine.seed(warned);
    after.tick(minutes(40));
    assert!(after.told().is_empty(), "a warning's breach is counted");
    let breaches = |city: &City| {
        let moved = city.effects.iter().filter_map(|effect| match effect {
            Effect::Moved { event, .. } => Some(event.key.clone()),
            _ => None,
        });
        moved.filter(|key| key.contains(":breached:")).collect::<Vec<_>>()
    };
    assert_eq!(breaches(&after).len(), 1);
    (0..2).for_each(|n| after.read(&lit(minutes(41 + n), 60.0)));
    after.tick(minutes(50));
    assert_eq!(after.told(), ["incident.breached"]);
    let keys = breaches(&after);
    assert!(keys.len() == 2 && keys[0] != keys[1], "the store keeps both: {keys:?}");
}

#[test]
fn the_numbers_of_a_life_are_those_of_the_policy() {
    let policy = Policy {
        arrival: crate::policy::Arrival { within: crate::policy::Metres::whole(50), ..Default::default() },
        verify: crate::policy::Verify { readings: 1, over: Millis::minutes(0), ..Default::default() },
        ..Default::default()
    };
    let (mut city, id) = raised();
    city.engine.step(minutes(6), Input::Policy(&policy), &mut city.effects);
    let post = register().by_post("P1").unwrap().clone();
    let mut arrive = crew(Verb::Arrive, "1");
    // A thousandth of a degree of latitude is 111 m.
    arrive.body.position =
        Some(crate::life::Position { lon: post.lon, lat: post.lat + 0.001, accuracy_m: None });
    assert_eq!(city.moved(minutes(10), &id, arrive).life.arrived.unwrap().proof.name(), "unproven");
    let mut m = crew(Verb::MakeSafe, "1");
    m.body.method = Some(Method::Guarded);
    city.moved(minutes(11), &id, m);
    city.moved(minutes(20), &id, crew(Verb::Repair, "1"));
    city.keep_dry(minutes(25));
    city.read(&lit(minutes(25), 1.0));
    assert_eq!(city.moved(minutes(26), &id, desk(Verb::Verify, "1")).life.state, Stage::Verifying);
}

#[test]
fn situation_s36_an_incident_keeps_its_zone_when_the_register_moves_the_post() {
    let (mut city, id) = raised();
    let incident = city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    let moved = Incident { zone: Arc::from("z2"), ..incident };
    let mut after = City::new();
    after.engine.seed(moved);
    after.read(&lit(minutes(7), 50.0));
    let kept = after.engine.open_incidents().next().unwrap();
    assert_eq!((&*kept.zone, kept.life.crew.as_deref()), ("z2", Some("Crew 1")));
}

#[test]
fn after_a_restart_evidence_goes_to_the_incident_that_takes_it_in_whatever_order_they_are_read() {
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Isolated);
    city.read(&dark(minutes(17)));
    city.keep_dry(minutes(55));
    for minute in [60, 65] {
        city.read(&lit(minutes(minute), 45.0));
    }
    let mut open: Vec<Incident> = city.engine.open_incidents().cloned().collect();
    // The repaired one, the one that follows it, and that voltage is where it was cut off.
    assert_eq!(open.len(), 3);
    for _ in 0..2 {
        open.reverse();
        let mut after = City::new();
        open.iter().for_each(|incident| after.engine.seed(incident.clone()));
        after.keep_dry(minutes(64));
        after.engine.replaying(true);
        for r in [lit(minutes(60), 45.0), lit(minutes(65), 45.0), lit(minutes(70), 45.0)] {
            after.read(&r);
        }
        assert!(after.opened().is_empty());
        assert_eq!(after.engine.open_incidents().count(), 3);
    }
}

#[test]
fn an_unregistered_devices_incident_ends_and_its_place_is_free_again() {
    let mut city = City::new();
    for n in 0..2 {
        city.read(&stranger(leak(minutes(n), 40.0), "D-99"));
    }
    let mut r = stranger(leak(T, 90.0), "D-far");
    r.marks.add(Marks::UNTRACKED);
    city.read(&r);
    let ids: Vec<String> = city.engine.open_incidents().map(|i| i.id.to_string()).collect();
    assert_eq!((ids.len(), city.engine.strangers_open), (2, 2));
    for id in &ids {
        city.moved(minutes(3), id, crew(Verb::Arrive, "1"));
        city.moved(minutes(3), id, crew(Verb::MakeSafe, "1"));
        city.moved(minutes(4), id, crew(Verb::Repair, "1"));
        city.moved(minutes(5), id, desk(Verb::Verify, "1"));
        city.moved(minutes(6), id, desk(Verb::Close, "1"));
    }
    assert_eq!(city.engine.strangers_open, 0);
    r.received_at = minutes(7);
    city.read(&with(r, Field::LeakageMa, 91.0));
    assert_eq!(city.engine.open_incidents().count(), 1);
}

#[test]
fn situation_s51_a_clock_step_of_an_hour_moves_no_deadline_and_makes_no_move_twice() {
    let (mut city, id) = raised();
    let before = city.the_incident().due_at;
    city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    city.tick(minutes(6) - Millis::hours(1));
    let again = city.act(minutes(6) - Millis::hours(1), &id, crew(Verb::Acknowledge, "1")).unwrap();
    assert_eq!((again.outcome, again.incident.due_at), (Outcome::Again, before));
    let arrived = city.moved(minutes(7) - Millis::hours(1), &id, crew(Verb::Arrive, "1"));
    assert!(!arrived.life.is_breached(arrived.due_at, minutes(8)));
    city.tick(minutes(9));
    assert_eq!(city.told(), ["incident.acknowledged", "incident.arrived"]);
}

#[test]
fn a_clock_that_goes_back_a_day_hides_no_danger_that_comes_back() {
    let yesterday = minutes(20) - Millis::hours(24);
    let goes = |city: &City| city.engine.belongs(&Subject::Post(0), Family::Electric, yesterday);
    let (mut city, id) = raised();
    made_safe(&mut city, &id, Method::Guarded);
    city.read(&dark(minutes(17)));
    assert_eq!(goes(&city), Belongs::New(vec![Arc::from(id.as_str())]), "after made_safe");
    let (mut city, id) = raised();
    city.read(&dark(minutes(8)));
    city.moved(minutes(10), &id, desk(Verb::Void, "1"));
    assert_eq!(goes(&city), Belongs::New(vec![Arc::from(id.as_str())]), "after a void");
    city.engine.replaying(true);
    assert_eq!(goes(&city), Belongs::Ended);
}

#[test]
fn a_refused_try_is_recorded_with_its_reason_and_the_state() {
    let (mut city, id) = raised();
    city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    city.act(minutes(7), &id, other(Verb::Acknowledge, "1")).unwrap_err();
    let Some(Effect::Moved { event, told, .. }) = city.effects.iter().rev().nth(1) else {
        panic!("{:?}", city.effects.last());
    };
    assert_eq!((event.kind, *told), ("refused", None));
    assert!(event.body.contains("Crew 1") && event.body.contains("acknowledged"), "{}", event.body);
    assert!(matches!(city.act(minutes(7), "LG-NONE", crew(Verb::Help, "1")), Err(Refused::Unknown(_))));
}
