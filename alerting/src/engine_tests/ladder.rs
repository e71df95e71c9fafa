//! The ladder on a clock of seconds: each row of the table, and what goes around it.

use super::moves::{lit, raised};
use super::*;
use crate::incident::Severity;
use crate::ladder::{EscalationConfig, Ladders, Telling};
use crate::life::tests::{crew, desk};
use crate::life::{Method, Stage, Verb};
use crate::rota::{self, Rota, Whom, ZoneDuty};
use Whom::{BackupCrew, Crew, Desk, Head, Leader, Neighbour, Second, Supervisor};

/// Seconds after `from`, rung, event word and whom of every telling by a ladder.
pub(super) fn rungs(city: &City, from: Timestamp) -> Vec<(i64, u32, &'static str, Vec<Whom>)> {
    let of = |effect: &Effect| match effect {
        Effect::Moved { event, told: Some(word), to, .. } if matches!(event.kind, "rung" | "breached") => {
            Some((event.at.since(from).as_seconds(), to.step, *word, to.whom.clone()))
        }
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

/// Seconds pass, with somebody at the board.
pub(super) fn watch(city: &mut City, from: Timestamp, seconds: i64) {
    for second in 0..=seconds {
        let now = from + Millis::seconds(second);
        city.engine.step(now, Input::Presence, &mut city.effects);
        if second % 1800 == 0 {
            city.keep_dry(now);
        }
        city.tick(now);
    }
}

pub(super) fn at(minute: i64, second: i64) -> Timestamp {
    minutes(minute) + Millis::seconds(second)
}

/// P1 is critical since minute 5, and somebody is at the board up to that second.
pub(super) fn raised_until(minute: i64, second: i64) -> (City, String) {
    let (mut city, id) = raised();
    watch(&mut city, minutes(5), at(minute, second).since(minutes(5)).as_seconds() - 1);
    city.effects.clear();
    (city, id)
}

pub(super) const UP: &str = "incident.escalated";
const LATE: &str = "incident.breached";

#[test]
fn a_p1_that_nobody_answers_is_told_on_at_3_6_10_15_and_30_minutes_and_then_every_ten() {
    let (mut city, _) = raised();
    watch(&mut city, minutes(5), 3400);
    let expected = [
        (180, 1, UP, vec![Crew, Second]),
        (360, 2, UP, vec![BackupCrew, Leader]),
        (600, 3, UP, vec![Supervisor, Neighbour]),
        (900, 6, UP, vec![BackupCrew]),
        // The last millisecond of the deadline is still in time.
        (1801, 7, LATE, vec![Head, Desk, Crew]),
        (2401, 7, UP, vec![Head, Desk, Crew]),
        (3001, 7, UP, vec![Head, Desk, Crew]),
    ];
    assert_eq!(rungs(&city, minutes(5)), expected);
    let opening = city.effects.iter().find_map(|effect| match effect {
        Effect::Open { to, told: true, .. } => Some(to.clone()),
        _ => None,
    });
    assert_eq!(opening, Some(Telling::to(&[Crew, Desk, Leader])));
    assert_eq!(city.the_incident().life.breached_at, Some(at(35, 1)));
}

#[test]
fn an_acknowledged_p1_that_nobody_drives_to_is_told_on_after_5_and_10_minutes() {
    let (mut city, id) = raised_until(7, 0);
    city.moved(at(7, 0), &id, crew(Verb::Acknowledge, "1"));
    watch(&mut city, minutes(7), 799);
    assert_eq!(
        rungs(&city, minutes(7)),
        [(300, 4, UP, vec![Crew]), (600, 5, UP, vec![BackupCrew]), (780, 6, UP, vec![BackupCrew])]
    );
}

#[test]
fn a_crew_that_stands_there_and_makes_nothing_safe_is_called_after_10_minutes_and_others_after_15() {
    let (mut city, id) = raised_until(7, 0);
    let mut there = crew(Verb::Arrive, "1");
    there.body.post = Some("P1".to_owned());
    city.moved(minutes(7), &id, there);
    watch(&mut city, minutes(7), 2200);
    let others = vec![Desk, Leader];
    let expected = [
        (600, 8, UP, vec![Crew]),
        (900, 9, UP, others.clone()),
        (1500, 9, UP, others.clone()),
        (2100, 9, UP, others),
    ];
    assert_eq!(rungs(&city, minutes(7)), expected);
    city.effects.clear();
    city.moved(minutes(44), &id, crew(Verb::MakeSafe, "1"));
    watch(&mut city, minutes(45), 3600);
    assert!(rungs(&city, T).is_empty(), "made safe: nobody is called any more");
}

#[test]
fn the_crew_stops_rungs_and_the_desks_own_word_stops_its_tone_alone() {
    for (m, stops) in [
        (crew(Verb::Acknowledge, "1"), true),
        (desk(Verb::Acknowledge, "1"), false),
        (
            Move {
                body: crate::life::MoveBody {
                    on_behalf_of: Some("Crew 1".to_owned()),
                    ..desk(Verb::Acknowledge, "1").body
                },
                ..desk(Verb::Acknowledge, "1")
            },
            true,
        ),
    ] {
        let (mut city, id) = raised_until(6, 0);
        let after = city.moved(minutes(6), &id, m.clone());
        assert_eq!(after.life.state, Stage::Acknowledged);
        watch(&mut city, minutes(6), 200);
        assert_eq!(rungs(&city, minutes(5)).is_empty(), stops, "{m:?}");
        // A crew can still take what only the desk has seen, and only once.
        let again = city.act(
            minutes(10),
            &id,
            Move {
                actor: crate::life::Actor { name: "Crew 2".to_owned(), desk: false },
                ..crew(Verb::Acknowledge, "2")
            },
        );
        assert_eq!(again.is_ok(), !stops, "{m:?}");
        city.effects.clear();
        watch(&mut city, minutes(10), 290);
        let asks = rungs(&city, T).iter().any(|(_, step, ..)| *step <= 3);
        assert!(!asks, "it is taken now");
    }
}

#[test]
fn when_a_p2_becomes_a_p1_the_ladder_starts_anew_and_an_earlier_acknowledge_stops_nothing() {
    let mut city = City::new();
    (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
    assert_eq!(city.the_incident().severity, Severity::P2);
    let id = city.the_incident().id.to_string();
    watch(&mut city, minutes(2), 120);
    city.moved(minutes(4), &id, crew(Verb::Acknowledge, "1"));
    city.moved(minutes(4), &id, crew(Verb::Depart, "1"));
    watch(&mut city, minutes(4), 960);
    assert!(rungs(&city, T).is_empty(), "a warning is told once");
    (0..2).for_each(|n| city.read(&shell(minutes(20) + Millis(n), 60.0)));
    assert_eq!(
        (city.the_incident().severity, city.the_incident().p1_at),
        (Severity::P1, Some(at(20, 0) + Millis(1)))
    );
    let p1 = city.the_incident().p1_at.unwrap();
    watch(&mut city, p1, 400);
    assert_eq!(rungs(&city, p1), [(180, 1, UP, vec![Crew, Second]), (360, 2, UP, vec![BackupCrew, Leader])]);
    // They are on their way, and say that they know what it is now.
    let taken = city.moved(minutes(27), &id, crew(Verb::Acknowledge, "2"));
    assert_eq!(taken.life.state, Stage::Departed, "that it was on its way stays");
    city.effects.clear();
    watch(&mut city, minutes(27), 280);
    assert!(rungs(&city, p1).is_empty(), "no word of 10 minutes");
    // The deadline of the P2 stands, and is told of when it passes.
    watch(&mut city, minutes(32), 60);
    assert_eq!(rungs(&city, minutes(32)), [(1, 7, LATE, vec![Head, Desk, Crew])]);
}

#[test]
fn an_earlier_arrival_at_a_p2_counts_only_while_the_crew_is_there() {
    for gone in [false, true] {
        let mut city = City::new();
        (0..3).for_each(|n| city.read(&shell(minutes(n), 13.0)));
        let id = city.the_incident().id.to_string();
        city.moved(minutes(5), &id, crew(Verb::Arrive, "1"));
        if gone {
            let mut away = crew(Verb::Note, "2");
            away.body.clear = true;
            city.moved(minutes(6), &id, away);
        }
        (0..2).for_each(|n| city.read(&shell(minutes(7) + Millis(n), 60.0)));
        let p1 = city.the_incident().p1_at.unwrap();
        city.effects.clear();
        watch(&mut city, p1, 650);
        let steps: Vec<u32> = rungs(&city, p1).iter().map(|(_, step, ..)| *step).collect();
        assert_eq!(steps, if gone { vec![1, 2, 3] } else { vec![8] }, "gone: {gone}");
    }
}

#[test]
fn situation_s41_rungs_that_became_due_while_down_are_one_telling_marked_as_a_repeat_the_highest_first() {
    let (city, _) = raised();
    let incident = city.the_incident().clone();
    let mut after = City::without_weather();
    after.engine.seed(incident);
    after.tick(minutes(36));
    let told = rungs(&after, minutes(5));
    let all = vec![Head, Desk, Crew, BackupCrew, Supervisor, Neighbour, Leader, Second];
    assert_eq!(told, [(1860, 7, LATE, all)], "one telling, and it says that the deadline has passed");
    let again = after.effects.iter().any(|effect| matches!(effect, Effect::Moved { to, .. } if to.again));
    assert!(again, "it may have been told before");
    let kept = after.engine.open_incidents().find(|i| i.family == Family::Electric).unwrap().clone();
    assert_eq!(kept.due_at, minutes(35));
    // Stored with its telling, a second restart says nothing of them.
    let mut third = City::without_weather();
    third.engine.seed(kept);
    third.tick(minutes(40));
    assert!(rungs(&third, T).is_empty());
    watch(&mut third, minutes(40), 301);
    assert_eq!(rungs(&third, minutes(5)).len(), 1, "the next one comes at its own time");
}

#[test]
fn a_replayed_danger_where_a_crew_stands_is_told_at_once_for_its_opening_comes_with_no_rung() {
    for arrived in [true, false] {
        let mut city = City::new();
        (0..3).for_each(|n| city.read(&lit(minutes(8 * n), 12.0)));
        let id = city.the_incident().id.to_string();
        if arrived {
            city.moved(minutes(17), &id, crew(Verb::Arrive, "1"));
        }
        city.engine.replaying(true);
        city.effects.clear();
        (0..2).for_each(|n| city.read(&lit(minutes(18 + n), 45.0)));
        city.engine.join_rungs(minutes(60), &mut city.effects);
        let told = city.escalated().iter().map(|(_, told)| *told).collect::<Vec<_>>();
        assert_eq!(told, [arrived]);
        city.engine.replaying(false);
        city.tick(minutes(60));
        let rungs = rungs(&city, minutes(19));
        let whom = &rungs[0].3;
        assert_eq!(rungs.len(), 1, "{rungs:?}");
        assert!(arrived || [Crew, Desk, Leader].iter().all(|one| whom.contains(one)), "{whom:?}");
    }
}

#[test]
fn peer_p15_acknowledged_and_forgotten_is_told_on_and_a_source_that_sends_again_unmakes_no_word() {
    let (mut city, id) = raised_until(6, 0);
    city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    for n in 0..4 {
        city.read(&lit(at(6, 40 + n), 45.0));
    }
    let state = city.engine.open_incidents().next().unwrap().life.state;
    assert_eq!(state, Stage::Acknowledged);
    watch(&mut city, at(6, 50), 550);
    assert_eq!(rungs(&city, minutes(6)), [(300, 4, UP, vec![Crew]), (600, 5, UP, vec![BackupCrew])]);
}

#[test]
fn situation_s55_a_message_that_fails_sends_the_next_rung_at_once_and_only_once() {
    let (mut city, id) = raised();
    let fail = |city: &mut City, second: i64, step: u32| {
        let now = at(5, second);
        let input = Input::Delivery { incident: &id, step, accepted: false };
        city.engine.step(now, input, &mut city.effects);
    };
    fail(&mut city, 2, 0);
    fail(&mut city, 3, 0);
    assert_eq!(rungs(&city, minutes(5)), [(2, 1, UP, vec![Crew, Second])], "by two channels, one jump");
    fail(&mut city, 4, 1);
    fail(&mut city, 5, 2);
    fail(&mut city, 6, 3);
    let steps: Vec<(i64, u32)> = rungs(&city, minutes(5)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(steps, [(2, 1), (4, 2), (5, 3)]);
    watch(&mut city, at(5, 10), 1000);
    let steps: Vec<(i64, u32)> = rungs(&city, minutes(5)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(steps[3..], [(900, 6)], "what went early does not come again");
    fail(&mut city, 920, 6);
    watch(&mut city, at(22, 0), 900);
    let steps: Vec<(i64, u32)> = rungs(&city, minutes(5)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(steps[4..], [(920, 7), (1801, 7)], "one that repeats keeps its own time");
}

#[test]
fn with_nobody_at_the_board_for_a_minute_the_desk_is_rung_and_the_next_rung_goes_once() {
    let (mut city, _) = raised();
    watch(&mut city, minutes(5), 100);
    assert!(rungs(&city, T).is_empty());
    for second in 101..=200 {
        city.tick(at(5, second));
    }
    assert_eq!(rungs(&city, minutes(5)), [(160, 1, UP, vec![Desk, Crew, Second])]);
    for second in 201..=400 {
        city.tick(at(5, second));
    }
    assert_eq!(rungs(&city, minutes(5))[1..], [(360, 2, UP, vec![BackupCrew, Leader])], "once");
}

/// Zones z1 and z2 with crews A and B, each the other's back-up and neighbour.
pub(super) fn two_crews() -> Rota {
    let crew = |id: &str| {
        let id: Arc<str> = Arc::from(id);
        (id.clone(), Arc::new(rota::Crew { id, name: String::new(), ..rota::Crew::default() }))
    };
    let zone = |crew: &str, backup: &str, neighbour: &str| ZoneDuty {
        crew: Arc::from(crew),
        backup_crew: Some(Arc::from(backup)),
        neighbour: Some(Arc::from(neighbour)),
        ..ZoneDuty::default()
    };
    Rota {
        crews: ["A", "B"].map(crew).into_iter().collect(),
        zones: [("z1", zone("A", "B", "z2")), ("z2", zone("B", "A", "z1"))]
            .map(|(id, zone)| (Arc::from(id), zone))
            .into_iter()
            .collect(),
        ..Rota::default()
    }
}

fn by(name: &str, verb: Verb, key: &str) -> Move {
    Move { actor: crate::life::Actor { name: name.to_owned(), desk: false }, ..crew(verb, key) }
}

fn last_opening(city: &City) -> Telling {
    let last = city.effects.iter().rev().find_map(|effect| match effect {
        Effect::Open { to, .. } => Some(to.clone()),
        _ => None,
    });
    last.unwrap()
}

#[test]
fn the_next_p1_of_a_busy_crew_goes_to_the_back_up_too_and_further_when_that_is_busy() {
    let shell_of = |city: &mut City, n: usize, from: i64| {
        (0..2).for_each(|k| city.read(&at_post(shell(minutes(from) + Millis(k), 60.0), n)));
        city.opened().last().unwrap().id.to_string()
    };
    let mut city = City::street(6);
    city.engine.set_rota(Arc::new(two_crews()));
    let first = shell_of(&mut city, 0, 1);
    city.moved(minutes(2), &first, by("A", Verb::Acknowledge, "1"));
    shell_of(&mut city, 1, 3);
    assert_eq!(last_opening(&city).whom, [Crew, Desk, Leader], "it has it, and does not drive yet");
    city.moved(minutes(4), &first, by("A", Verb::Depart, "2"));
    let third = shell_of(&mut city, 2, 5);
    assert_eq!(last_opening(&city).whom, [Crew, Desk, Leader, BackupCrew]);
    city.moved(minutes(6), &third, by("B", Verb::Depart, "1"));
    shell_of(&mut city, 3, 7);
    assert_eq!(last_opening(&city).whom, [Crew, Desk, Leader, BackupCrew, Neighbour]);
    // Behind a barrier nobody has to stay; who guards does.
    for (method, busy) in [(Method::Guarded, true), (Method::Barrier, false)] {
        city.moved(minutes(8), &first, by("A", Verb::Arrive, method_key(method)));
        let mut safe = by("A", Verb::MakeSafe, method_key(method));
        safe.body.method = Some(method);
        city.moved(minutes(9), &first, safe);
        let n = if busy { 4 } else { 5 };
        shell_of(&mut city, n, 10);
        assert_eq!(last_opening(&city).whom.contains(&BackupCrew), busy, "{method:?}");
        if busy {
            let mut clear = by("A", Verb::Note, "clear");
            clear.body.clear = true;
            city.moved(minutes(11), &first, clear);
        }
    }
}

fn method_key(method: Method) -> &'static str {
    if method == Method::Guarded { "guarded" } else { "barrier" }
}

#[test]
fn a_crew_that_hands_back_what_is_not_safe_is_refused_and_the_back_up_is_told_at_once() {
    let (mut city, id) = raised_until(6, 0);
    city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
    for n in 0..3 {
        let refused = city.act(at(6, 30), &id, crew(Verb::Return, &format!("r{n}"))).unwrap_err().to_string();
        assert!(refused.contains("reassign"), "{refused}");
    }
    assert_eq!(rungs(&city, at(6, 30)), [(0, 0, UP, vec![BackupCrew, Desk])], "told once");
    assert_eq!(city.engine.open_incidents().next().unwrap().due_at, minutes(35), "the deadline stands");
    // Another crew gets it, with all the time to answer.
    city.effects.clear();
    city.moved(at(6, 50), &id, desk(Verb::Reassign, "1"));
    watch(&mut city, at(6, 50), 400);
    assert_eq!(city.told(), ["incident.reassigned"]);
    let withdrawn = city.effects.iter().find_map(|effect| match effect {
        Effect::Moved { told: Some("incident.reassigned"), to, .. } => Some(to.crews.clone()),
        _ => None,
    });
    assert_eq!(withdrawn.unwrap(), [Arc::from("Crew 1")], "the one that had it hears that it is not theirs");
    let told: Vec<(i64, u32)> = rungs(&city, at(6, 50)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(0, 0), (180, 1), (360, 2)]);
}

#[test]
fn three_p1_on_one_feeder_offer_the_desk_once_to_have_it_switched_off() {
    let mut city = City::street(6);
    let mut ids = Vec::new();
    for n in 0..4 {
        (0..2).for_each(|k| city.read(&at_post(leak(minutes(n as i64 + 1) + Millis(k), 40.0), n)));
        ids.push(city.opened().last().unwrap().id.to_string());
        city.tick(minutes(n as i64 + 1) + Millis::seconds(2));
        let offered = city.told().iter().filter(|word| **word == "incident.isolation_offered").count();
        assert_eq!(offered, usize::from(n >= 2), "{n}");
    }
    let offer = city.effects.iter().find_map(|effect| match effect {
        Effect::Moved { told: Some("incident.isolation_offered"), to, event, .. } => {
            Some((to.clone(), event.clone()))
        }
        _ => None,
    });
    let (to, event) = offer.unwrap();
    assert_eq!((to.whom, event.kind), (vec![Desk], "isolation_offered"));
    assert!(event.body.contains("\"p1\":3") && event.body.contains("FS"), "{}", event.body);
    // Who was asked, which breaker, and the answer are recorded.
    city.moved(minutes(6), &ids[0], desk(Verb::RequestIsolation, "1"));
    let mut answer = desk(Verb::RequestIsolation, "2");
    answer.body.answer = Some("done".to_owned());
    let asked = city.moved(minutes(7), &ids[0], answer).life.isolation;
    assert_eq!((asked.len(), asked[0].to.as_str(), asked[0].breaker.as_str()), (1, "Crew 2", "QF3"));
    assert_eq!(asked[0].answer.as_deref(), Some("done"));
    // A restart offers it no second time, in whatever order it counts them; where the one with which it was offered is safe
    // by then, as a repeat.
    let open: Vec<Incident> = city.engine.open_incidents().cloned().collect();
    let offers = |order: [usize; 4], safe: bool| {
        let mut after = City::without_weather();
        for n in order {
            let mut incident = open[n].clone();
            if safe && incident.life.climb.isolation_offered {
                incident.life.state = Stage::MadeSafe;
            }
            after.engine.seed(incident);
        }
        after.tick(minutes(8));
        let again = after.effects.iter().filter_map(|effect| match effect {
            Effect::Moved { told: Some("incident.isolation_offered"), to, .. } => Some(to.again),
            _ => None,
        });
        again.collect::<Vec<_>>()
    };
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2], [3, 0, 1, 2]] {
        assert!(offers(order, false).is_empty(), "{order:?}");
    }
    assert_eq!(offers([0, 1, 3, 2], true), [true]);
}

#[test]
fn situation_s49_a_p1_of_planned_work_goes_to_its_crew_and_the_desk_and_unanswered_the_ordinary_way() {
    for answered in [true, false] {
        let mut city = planned::at_work();
        (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
        let opened = city.the_incident().opened_at;
        let to = last_opening(&city);
        assert_eq!((to.whom, to.crews.len()), (vec![Desk], 1));
        if answered {
            let id = city.the_incident().id.to_string();
            city.moved(minutes(6), &id, crew(Verb::Acknowledge, "1"));
            city.moved(minutes(6), &id, crew(Verb::Depart, "1"));
        }
        watch(&mut city, opened, 899);
        let expected = [(600, 0, UP, vec![Crew, Desk, Leader]), (780, 1, UP, vec![Crew, Second])];
        assert_eq!(rungs(&city, opened), if answered { vec![] } else { expected.to_vec() });
    }
}

#[test]
fn situation_s45_the_desk_is_asked_to_call_five_minutes_after_an_arrival_that_is_not_proven() {
    let call = |city: &City| {
        city.effects
            .iter()
            .filter(|e| matches!(e, Effect::Moved { event, .. } if event.kind == "call_wanted"))
            .count()
    };
    for (confirmed, calls) in [(false, 1), (true, 0)] {
        let (mut city, id) = raised();
        city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
        if confirmed {
            city.moved(minutes(11), &id, desk(Verb::ConfirmArrival, "1"));
        }
        watch(&mut city, minutes(11), 239);
        assert_eq!(call(&city), 0);
        watch(&mut city, minutes(15), 60);
        assert_eq!(call(&city), calls, "confirmed: {confirmed}");
    }
    // "They are not there": the clock goes on, and a second word is called about too.
    let (mut city, id) = raised();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    watch(&mut city, minutes(15), 1);
    let mut no = desk(Verb::ConfirmArrival, "1");
    no.body.answer = Some("no".to_owned());
    city.moved(minutes(16), &id, no);
    city.moved(minutes(17), &id, crew(Verb::Arrive, "2"));
    watch(&mut city, minutes(22), 1);
    assert_eq!(call(&city), 2);
}

#[test]
fn a_part_of_the_system_is_the_desks_at_once_the_leaders_after_5_and_the_heads_after_15_minutes() {
    let mut city = City::new();
    let broken = |city: &mut City, second: i64, good: bool| {
        let input = Input::System { part: "database", good, because: "" };
        city.engine.step(T + Millis::seconds(second), input, &mut city.effects);
    };
    broken(&mut city, 0, false);
    watch(&mut city, T, 1300);
    assert_eq!(last_opening(&city).whom, [Desk]);
    assert_eq!(rungs(&city, minutes(1)), [(300, 1, UP, vec![Leader]), (900, 2, UP, vec![Head])]);
    // It works again: nobody is called about what is over.
    let mut city = City::new();
    broken(&mut city, 0, false);
    watch(&mut city, T, 100);
    broken(&mut city, 101, true);
    watch(&mut city, at(2, 0), 1300);
    assert!(rungs(&city, T).is_empty());
    // The desk looks after it: there is no crew that could.
    let mut city = City::new();
    broken(&mut city, 0, false);
    watch(&mut city, T, 100);
    let id = city.engine.open_incidents().find(|i| i.family == Family::System).unwrap().id.to_string();
    city.moved(at(1, 50), &id, desk(Verb::Acknowledge, "1"));
    watch(&mut city, at(2, 0), 1300);
    assert!(rungs(&city, T).is_empty());
}

#[test]
fn shelving_stops_no_rung_and_the_end_of_an_incident_stops_all() {
    let (mut city, id) = raised();
    let mut shelf = desk(Verb::Shelve, "1");
    let asked = city.act(minutes(6), &id, shelf.clone()).unwrap();
    let crate::life::Outcome::Second(second) = asked.outcome else { panic!("one person shelved a P1") };
    (shelf.actor.name, shelf.body.second, shelf.body.key) =
        ("Leader".to_owned(), Some(second), "2".to_owned());
    assert!(city.moved(minutes(7), &id, shelf).life.is_shelved(minutes(8)));
    watch(&mut city, minutes(7), 240);
    assert_eq!(rungs(&city, minutes(5)).len(), 2, "3 and 6 minutes");
    let mut void = desk(Verb::Void, "1");
    let asked = city.act(minutes(12), &id, void.clone()).unwrap();
    let crate::life::Outcome::Second(second) = asked.outcome else { panic!("one person voided a P1") };
    (void.actor.name, void.body.second, void.body.key) = ("Leader".to_owned(), Some(second), "2".to_owned());
    city.moved(minutes(13), &id, void);
    city.effects.clear();
    watch(&mut city, minutes(13), 3600);
    assert!(rungs(&city, T).is_empty());
}

#[test]
fn a_drill_reaches_crews_and_the_desk_and_nobody_above_them() {
    let mut city = City::new();
    let request = planned::drill();
    city.engine.step(minutes(1), Input::Told(&request), &mut city.effects);
    watch(&mut city, minutes(1), 3600);
    let reached: std::collections::BTreeSet<Whom> =
        rungs(&city, T).into_iter().flat_map(|(.., whom)| whom).chain(last_opening(&city).whom).collect();
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), [Crew, Second, BackupCrew, Desk]);
}

#[test]
fn help_rings_everybody_of_the_zone_and_the_desk_whatever_goes_on() {
    let (mut city, id) = raised();
    city.moved(minutes(6), &id, crew(Verb::Help, "1"));
    let to = city.effects.iter().find_map(|effect| match effect {
        Effect::Moved { told: Some("incident.help"), to, .. } => Some(to.clone()),
        _ => None,
    });
    let to = to.unwrap();
    assert!(to.everybody && to.urgent && !to.grouped && to.whom == [Desk]);
}

#[test]
fn a_clock_that_goes_back_a_day_repeats_no_rung_and_leaves_none_out() {
    let (mut city, _) = raised();
    watch(&mut city, minutes(5), 200);
    watch(&mut city, minutes(5) - Millis::hours(24), 120);
    assert_eq!(rungs(&city, minutes(5)).len(), 1, "nothing is due there");
    watch(&mut city, minutes(9), 200);
    let steps: Vec<(i64, u32)> = rungs(&city, minutes(5)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(steps, [(180, 1), (360, 2)]);
}

#[test]
fn an_offices_own_ladder_is_climbed_in_its_zones_and_the_rules_own_elsewhere() {
    let text = "severity = \"P1\"\nzones = [\"z1\"]\nsteps = [\n{ after_min = 0, to = \"crew\" },\n\
        { after_min = 0, to = \"desk\" },\n{ after_min = 2, to = \"leader\" },\n\
        { after_min = 20, every_min = 5, until = \"arrived\", to = \"head\" }]\ni_accept = \"few people\"\n";
    let config: EscalationConfig = toml::from_str(text).unwrap();
    for (zone, own) in [("z1", true), ("z2", false)] {
        let config = EscalationConfig { zones: vec![zone.to_owned()], ..config.clone() };
        let mut city = City::new();
        city.engine.set_ladders(Ladders::build(&[config], &["z1", "z2"]).unwrap());
        (0..2).for_each(|n| city.read(&shell(minutes(5) + Millis(n), 60.0)));
        let opened = city.the_incident().opened_at;
        watch(&mut city, opened, 1510);
        let steps: Vec<(i64, u32)> = rungs(&city, opened).iter().map(|(s, step, ..)| (*s, *step)).collect();
        let expected = if own {
            vec![(120, 1), (1200, 2), (1500, 2)]
        } else {
            vec![(180, 1), (360, 2), (600, 3), (900, 6)]
        };
        assert_eq!(steps, expected);
    }
}
