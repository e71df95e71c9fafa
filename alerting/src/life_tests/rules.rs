//! One test for each line of `policy.md` 4 that a life decides alone.

use super::*;

fn reason_of(refused: Result<Applied, Refused>) -> String {
    match refused {
        Err(refused) => refused.to_string(),
        Ok(applied) => panic!("was made: {:?}", applied.life),
    }
}

fn isolated(extent: Extent) -> Move {
    let mut m = crew(Verb::MakeSafe, "safe");
    (m.body.method, m.body.extent) = (Some(Method::Isolated), Some(extent));
    m
}

#[test]
fn arriving_before_acknowledging_is_allowed_and_implies_it() {
    let life = done(&Life::default(), &facts(), minutes(4), &crew(Verb::Arrive, "a"));
    assert_eq!(life.state, Stage::Arrived);
    let mark = life.acknowledged.unwrap();
    assert_eq!((mark.by.as_str(), mark.at), ("Crew 1", minutes(4)));
    assert_eq!(life.crew.as_deref(), Some("Crew 1"));
}

#[test]
fn situation_s44_the_second_crew_is_told_who_was_first() {
    let life = done(&Life::default(), &facts(), minutes(1), &crew(Verb::Acknowledge, "a"));
    let mut second = crew(Verb::Acknowledge, "b");
    second.actor.name = "Crew 2".to_owned();
    let reason = reason_of(apply(&life, &facts(), minutes(2), &second));
    assert_eq!(reason, "acknowledge: somebody has it already: Crew 1 (state acknowledged)");
    let life = done(&life, &facts(), minutes(3), &crew(Verb::Arrive, "c"));
    let reason = reason_of(apply(&life, &facts(), minutes(4), &crew(Verb::Arrive, "d")));
    assert!(reason.contains("arrived already: Crew 1"), "{reason}");
    assert_eq!(life.arrived_at(), Some(minutes(3)));
}

#[test]
fn situation_s45_a_claimed_time_counts_when_recent_not_before_the_telling_and_the_clock_is_right() {
    let second = Millis::seconds(1);
    let claim = |at, sent_at| {
        let mut m = crew(Verb::Arrive, "a");
        (m.body.at, m.body.sent_at) = (Some(at), sent_at);
        let life = done(&Life::default(), &facts(), minutes(35), &m);
        let arrival = life.arrived.unwrap();
        assert_eq!((arrival.mark.claimed_at, arrival.mark.received_at), (Some(at), minutes(35)));
        arrival.mark.at
    };
    let now = minutes(35);
    assert_eq!(claim(minutes(26), Some(now)), minutes(26), "nine minutes late, from an underpass");
    assert_eq!(claim(minutes(20), Some(now + Millis::minutes(2))), minutes(20), "15 min, 2 min: the borders");
    assert_eq!(claim(minutes(20) - second, Some(now)), now, "longer ago than 15 min");
    assert_eq!(claim(minutes(26), Some(now - Millis::minutes(2) - second)), now, "the phone's clock is off");
    assert_eq!(claim(minutes(26), None), now, "no clock of a phone");
    assert_eq!(claim(now + second, Some(now)), now, "not in the future");
    let mut m = crew(Verb::Arrive, "a");
    (m.body.at, m.body.sent_at) = (Some(T - second), Some(minutes(10)));
    let early = done(&Life::default(), &facts(), minutes(10), &m).arrived_at();
    assert_eq!(early, Some(minutes(10)), "not before the crew was told");
}

#[test]
fn an_arrival_is_proven_by_position_code_or_number_and_else_unproven_until_the_desk_has_called() {
    let proof = |edit: fn(&mut MoveBody)| {
        let mut m = crew(Verb::Arrive, "a");
        edit(&mut m.body);
        done(&Life::default(), &facts(), minutes(9), &m).arrived.unwrap().proof
    };
    assert_eq!(proof(|_| ()), Proof::Unproven);
    let near = |body: &mut MoveBody| {
        body.position = Some(Position { lon: 113.621, lat: 34.751, accuracy_m: Some(15.0) });
    };
    let far = |body: &mut MoveBody| {
        body.position = Some(Position { lon: 113.63, lat: 34.75, accuracy_m: None });
    };
    assert_eq!((proof(near), proof(far)), (Proof::Position, Proof::Unproven));
    assert_eq!(proof(|body| body.post = Some(" BJ-1 ".to_owned())), Proof::Post);
    assert_eq!(proof(|body| body.post = Some("P2".to_owned())), Proof::Unproven);

    let life = done(&Life::default(), &facts(), minutes(9), &crew(Verb::Arrive, "a"));
    let sure = done(&life, &facts(), minutes(14), &desk(Verb::ConfirmArrival, "c"));
    let confirmed = sure.arrived.unwrap().confirmed.unwrap();
    assert_eq!((confirmed.by.as_str(), sure.state), ("Desk", Stage::Arrived));
    let mut no = desk(Verb::ConfirmArrival, "n");
    no.body.answer = Some("no".to_owned());
    let gone = done(&life, &facts(), minutes(14), &no);
    assert_eq!((gone.state, gone.arrived_at(), gone.denied.len()), (Stage::Departed, None, 1));
    let safe = done(&life, &facts(), minutes(10), &crew(Verb::MakeSafe, "m"));
    assert!(reason_of(apply(&safe, &facts(), minutes(14), &no)).contains("more has happened"));
}

fn denied(key: &str) -> Move {
    let mut no = desk(Verb::ConfirmArrival, key);
    no.body.answer = Some("no".to_owned());
    no
}

#[test]
fn a_second_crew_that_was_not_there_takes_nothing_from_the_first_that_was() {
    let mut proven = crew(Verb::Arrive, "a");
    proven.body.post = Some("P1".to_owned());
    let first = done(&Life::default(), &facts(), minutes(10), &proven);
    let handed = done(&first, &facts(), minutes(12), &desk(Verb::Reassign, "r"));
    let mut claims = crew(Verb::Arrive, "b");
    claims.actor.name = "Crew 2".to_owned();
    let second = done(&handed, &facts(), minutes(20), &claims);
    assert_eq!(
        second.present_arrival().map(|a| (a.mark.by.as_str(), a.proof)),
        Some(("Crew 2", Proof::Unproven))
    );
    let sure = done(&second, &facts(), minutes(24), &desk(Verb::ConfirmArrival, "y"));
    assert!(sure.present_arrival().unwrap().confirmed.is_some() && sure.arrived.unwrap().confirmed.is_none());
    let gone = done(&second, &facts(), minutes(25), &denied("n"));
    assert_eq!((gone.state, gone.arrived_at()), (Stage::Departed, Some(minutes(10))));
    assert_eq!((gone.denied[0].mark.by.as_str(), gone.denied.len()), ("Crew 2", 1));
    assert!(!gone.is_breached(minutes(30), minutes(90)), "the first was in time");
}

/// Crew `n` has it from the desk and says that it stands there.
fn another(life: &Life, n: i64) -> Life {
    let key = n.to_string();
    let handed = done(life, &facts(), minutes(10 * n - 1), &desk(Verb::Reassign, &key));
    let mut claims = crew(Verb::Arrive, &key);
    claims.actor.name = format!("Crew {n}");
    done(&handed, &facts(), minutes(10 * n), &claims)
}

#[test]
fn a_third_crew_that_was_not_there_takes_nothing_from_the_second_that_was() {
    let mut life = done(&Life::default(), &facts(), minutes(10), &crew(Verb::Arrive, "1"));
    for n in 2..=4 {
        life = another(&life, n);
    }
    let there = |life: &Life| life.present_arrival().map(|arrival| arrival.mark.by.clone());
    let kept = serde_json::to_string(&life).unwrap();
    life = serde_json::from_str(&kept).unwrap();
    for (by, left) in [("Crew 4", Some("Crew 3")), ("Crew 3", Some("Crew 2")), ("Crew 2", Some("Crew 1"))] {
        assert_eq!(there(&life).as_deref(), Some(by));
        life = done(&life, &facts(), minutes(50), &denied(by));
        assert_eq!((life.state, there(&life).as_deref()), (Stage::Departed, left));
        assert_eq!(life.denied.last().unwrap().mark.by, by);
        life.state = Stage::Arrived;
    }
    life = done(&life, &facts(), minutes(50), &denied("first"));
    assert_eq!((there(&life), life.denied.len()), (None, 4));
}

#[test]
fn of_many_crews_that_came_one_after_the_other_the_first_and_the_newest_are_remembered() {
    let first = done(&Life::default(), &facts(), minutes(10), &crew(Verb::Arrive, "1"));
    let many = (2..60).fold(first.clone(), |life, n| another(&life, n));
    assert_eq!((many.arrived.clone(), many.between.len()), (first.arrived, 20));
    assert_eq!(many.between[19].mark.by, "Crew 58");
    let mut graver = many.clone();
    graver.on_p1(false);
    assert_eq!((graver.earlier.len(), graver.between.len(), graver.there), (21, 0, None));
    let mut gone = done(&many, &facts(), minutes(700), &desk(Verb::Reassign, "r"));
    gone.on_p1(false);
    assert_eq!((gone.earlier.len(), gone.between.len(), gone.arrived), (22, 0, None));
    assert_eq!(gone.earlier[21].mark.by, "Crew 59");
}

#[test]
fn the_promise_is_kept_when_somebody_arrived_by_the_deadline_and_nothing_edits_that() {
    let due = minutes(30);
    let at = |minute| done(&Life::default(), &facts(), minutes(minute), &crew(Verb::Arrive, "a"));
    assert!(!at(30).is_breached(due, minutes(90)));
    assert!(at(31).is_breached(due, minutes(90)));
    assert!(Life::default().is_breached(due, due + Millis(1)));
    assert!(!Life::default().is_breached(due, due));
    assert_eq!(at(10).remaining_s(due, minutes(90)), 20 * 60);
    let handed = done(&at(10), &facts(), minutes(12), &desk(Verb::Reassign, "r"));
    assert_eq!(handed.state, Stage::Open);
    let second = done(&handed, &facts(), minutes(60), &crew(Verb::Arrive, "b"));
    assert_eq!(second.arrived_at(), Some(minutes(10)), "the first one counts");
    assert!(!life_in(Stage::Void).is_breached(due, minutes(90)), "withdrawn before the deadline");
}

#[test]
fn only_an_isolation_in_force_prints_dead() {
    let life = life_in(Stage::Arrived);
    assert_eq!(life.safety(), "未确认断电，视为带电");
    for method in [Method::Guarded, Method::Barrier] {
        let mut m = crew(Verb::MakeSafe, "m");
        m.body.method = Some(method);
        assert_eq!(done(&life, &facts(), minutes(9), &m).safety(), "已围护, 未断电, 视为带电");
    }
    let dead = done(&life, &facts(), minutes(9), &isolated(Extent::Post));
    assert_eq!(dead.safety(), "已断电");
    let mut seen = dead.clone();
    seen.safe.as_mut().unwrap().reenergised_at = Some(minutes(12));
    assert_eq!(seen.safety(), "未确认断电，视为带电");
    let restored = done(&dead, &facts(), minutes(20), &crew(Verb::Restore, "r"));
    assert_eq!(restored.safety(), "未确认断电，视为带电");
}

#[test]
fn making_safe_names_method_breaker_and_extent_and_does_not_lose_an_isolation() {
    let life = life_in(Stage::Arrived);
    for (edit, word) in [
        ((|body| body.method = None) as fn(&mut MoveBody), "method"),
        (|body| body.breaker = None, "breaker"),
        (|body| body.extent = None, "extent"),
    ] {
        let mut m = isolated(Extent::Post);
        edit(&mut m.body);
        let refused = apply(&life, &facts(), minutes(9), &m);
        assert!(matches!(refused, Err(Refused::Body { .. })), "{refused:?}");
        assert!(reason_of(refused).contains(&format!("{word} is missing")));
    }
    let dead = done(&life, &facts(), minutes(9), &isolated(Extent::Feeder));
    let mut guarded = crew(Verb::MakeSafe, "g");
    guarded.body.method = Some(Method::Guarded);
    assert!(reason_of(apply(&dead, &facts(), minutes(10), &guarded)).contains("restore ends it"));
}

#[test]
fn power_comes_back_only_when_everybody_in_the_extent_is_done_or_clear() {
    let dead = done(&life_in(Stage::Arrived), &facts(), minutes(9), &isolated(Extent::Feeder));
    let busy = Facts { extent_open: vec!["LG-OTHER".to_owned()], ..facts() };
    let reason = reason_of(apply(&dead, &busy, minutes(20), &crew(Verb::Restore, "r")));
    assert!(reason.contains("LG-OTHER") && reason.contains("made_safe"), "{reason}");
    let restored = done(&dead, &facts(), minutes(20), &crew(Verb::Restore, "r"));
    assert!(restored.isolation_in_force().is_none());
    let twice = reason_of(apply(&restored, &facts(), minutes(21), &crew(Verb::Restore, "s")));
    assert!(twice.contains("no isolation is in force"), "{twice}");
    let mut clear = crew(Verb::Note, "c");
    clear.body.clear = true;
    assert!(done(&dead, &facts(), minutes(19), &clear).clear.is_some());
    assert!(reason_of(apply(&Life::default(), &facts(), minutes(19), &clear)).contains("no crew"));
}

#[test]
fn situation_s47_the_repairer_does_not_verify_and_nobody_closes_before_somebody_else_did() {
    let life = life_in(Stage::Repaired);
    let own = apply(&life, &facts(), minutes(140), &crew(Verb::Verify, "v"));
    assert!(matches!(own, Err(Refused::Person { .. })), "{own:?}");
    let mut shouted = crew(Verb::Verify, "v");
    shouted.actor.name = " CREW 1".to_owned();
    assert!(matches!(apply(&life, &facts(), minutes(140), &shouted), Err(Refused::Person { .. })));
    let mut by_the_desk_for_him = desk(Verb::Verify, "v");
    by_the_desk_for_him.body.on_behalf_of = Some("Crew 1".to_owned());
    assert!(matches!(
        apply(&life, &facts(), minutes(140), &by_the_desk_for_him),
        Err(Refused::Person { .. })
    ));
    assert!(reason_of(apply(&life, &facts(), minutes(140), &crew(Verb::Close, "c"))).contains("verif"));
    let mut other = crew(Verb::Verify, "v");
    (other.actor.name, other.body.reason) = ("Crew 2".to_owned(), None);
    let verified = done(&life, &facts(), minutes(140), &other);
    assert_eq!(
        (verified.state, verified.verified.as_ref().unwrap().on.as_str()),
        (Stage::Verifying, "readings")
    );
    assert_eq!(done(&verified, &facts(), minutes(141), &desk(Verb::Close, "c")).state, Stage::Closed);
}

#[test]
fn verifying_needs_two_calm_readings_over_half_an_hour_or_a_hand_test_or_the_desks_reason() {
    let life = life_in(Stage::Repaired);
    let mut m = crew(Verb::Verify, "v");
    m.actor.name = "Crew 2".to_owned();
    let calm = |count, minutes_apart| Facts {
        calm: Calm { count, first: T, last: minutes(minutes_apart) },
        ..facts()
    };
    for (facts, enough) in
        [(calm(2, 30), true), (calm(2, 29), false), (calm(1, 0), false), (calm(9, 31), true)]
    {
        let answer = apply(&life, &facts, minutes(140), &m);
        assert_eq!(answer.is_ok(), enough, "{:?}", facts.calm);
    }
    // A crew's reason overrides nothing; the desk's does, and stands in the record.
    assert!(m.body.reason.is_some());
    let by_desk = done(&life, &calm(0, 0), minutes(140), &desk(Verb::Verify, "d")).verified.unwrap();
    assert_eq!((by_desk.on.as_str(), by_desk.reason.as_deref()), ("override", Some("because")));
    let mut above = life.clone();
    above.above_at = Some(minutes(50));
    assert!(reason_of(apply(&above, &calm(9, 60), minutes(140), &m)).contains("repair again"));
    let again = done(&above, &facts(), minutes(150), &crew(Verb::Repair, "again"));
    assert_eq!(done(&again, &calm(2, 30), minutes(190), &m).state, Stage::Verifying);
}

#[test]
fn where_no_sensor_can_show_it_the_verifier_measures_with_power_on() {
    let life = life_in(Stage::Repaired);
    let facts = Facts { needs_hand_test: true, calm: Calm::default(), ..facts() };
    let verify = |reading: Option<HandReading>| {
        let mut m = crew(Verb::Verify, "v");
        (m.actor.name, m.body.reading) = ("Crew 2".to_owned(), reading);
        apply(&life, &facts, minutes(140), &m)
    };
    let good = HandReading {
        shell_v: Some(8.4),
        leakage_ma: Some(10.5),
        check: Some("ok".to_owned()),
        supply: Some("on".to_owned()),
        pen_band_v: None,
    };
    assert_eq!(verify(Some(good.clone())).unwrap().life.verified.unwrap().on, "by_hand");
    for (bad, word) in [
        (None, "own reading"),
        (Some(HandReading { supply: None, ..good.clone() }), "supply"),
        (Some(HandReading { shell_v: Some(8.5), ..good.clone() }), "70 %"),
        (Some(HandReading { leakage_ma: Some(f64::NAN), ..good.clone() }), "70 %"),
        (Some(HandReading { check: Some("suspect".to_owned()), ..good.clone() }), "check"),
        (Some(HandReading { pen_band_v: Some(12.0), ..good.clone() }), "live"),
        (Some(HandReading { supply: Some("on".to_owned()), ..HandReading::default() }), "none of"),
    ] {
        let reason = reason_of(verify(bad));
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn situation_s46_a_p1_whose_danger_shows_is_hidden_or_withdrawn_by_two_people_within_ten_minutes() {
    for verb in [Verb::Shelve, Verb::Void] {
        let first = apply(&Life::default(), &facts(), minutes(1), &desk(verb, "one")).unwrap();
        let Outcome::Second(id) = first.outcome else { panic!("{verb:?} was made by one person") };
        assert_eq!((first.life.state, first.life.is_shelved(minutes(2))), (Stage::Open, false));
        let repeat = apply(&first.life, &facts(), minutes(2), &desk(verb, "one")).unwrap();
        assert_eq!(repeat.outcome, Outcome::Second(id.clone()), "a repeat of the first call");
        let mut second = desk(verb, "two");
        second.body.second = Some(id.clone());
        let same = reason_of(apply(&first.life, &facts(), minutes(2), &second));
        assert!(same.contains("another account"), "{same}");
        second.actor.name = "Leader".to_owned();
        let late = reason_of(apply(&first.life, &facts(), minutes(11) + Millis(1), &second));
        assert!(late.contains("10 min"), "{late}");
        let life = done(&first.life, &facts(), minutes(11), &second);
        match verb {
            Verb::Void => assert_eq!(life.state, Stage::Void),
            _ => assert_eq!(life.shelved.unwrap().second.as_deref(), Some("Desk")),
        }
        // One person is enough when the danger does not show, or below P1.
        for facts in [Facts { signal: Signal::Normal, ..facts() }, Facts { p1: false, ..facts() }] {
            done(&Life::default(), &facts, minutes(1), &desk(verb, "one"));
        }
    }
}

#[test]
fn shelving_hides_for_eight_hours_at_most_ends_by_evidence_and_at_hand_over_and_stops_no_clock() {
    let quiet = Facts { signal: Signal::Normal, ..facts() };
    let mut m = desk(Verb::Shelve, "s");
    m.body.until = Some(T + crate::policy::TwoPeople::default().shelve_max + Millis::minutes(1) + Millis(1));
    assert!(reason_of(apply(&Life::default(), &quiet, minutes(1), &m)).contains("8 h"));
    m.body.until = Some(T);
    assert!(reason_of(apply(&Life::default(), &quiet, minutes(1), &m)).contains("not ahead"));
    m.body.until = None;
    let life = done(&Life::default(), &quiet, minutes(1), &m);
    let end = minutes(1) + crate::policy::TwoPeople::default().shelve_max;
    assert!(life.is_shelved(end - Millis(1)) && !life.is_shelved(end));
    assert!(life.is_breached(minutes(30), minutes(31)), "the clock goes on");
    let mut evidence = life.clone();
    evidence.on_evidence();
    assert!(!evidence.is_shelved(minutes(2)));
    let life = done(&life, &quiet, minutes(2), &crew(Verb::Acknowledge, "a"));
    assert!(!done(&life, &quiet, minutes(3), &crew(Verb::Accept, "b")).is_shelved(minutes(4)));
}

#[test]
fn returning_and_pending_come_after_made_safe_and_before_that_only_another_crew() {
    for stage in [Stage::Open, Stage::Acknowledged, Stage::Departed, Stage::Arrived] {
        let reason = reason_of(apply(&life_in(stage), &facts(), minutes(9), &crew(Verb::Return, "r")));
        assert!(reason.contains("reassign") && reason.contains(stage.name()), "{reason}");
        let reason = reason_of(apply(&life_in(stage), &facts(), minutes(9), &desk(Verb::Pending, "p")));
        assert!(reason.contains("make_safe"), "{reason}");
        let other = done(&life_in(stage), &facts(), minutes(9), &desk(Verb::Reassign, "x"));
        assert_eq!((other.state, other.crew.as_deref()), (Stage::Open, Some("Crew 2")));
        assert!(other.acknowledged.is_none(), "the new crew has not said that it comes");
    }
    let safe = life_in(Stage::MadeSafe);
    for (verb, edit, word) in [
        (Verb::Return, (|body| body.owner = None) as fn(&mut MoveBody), "owner"),
        (Verb::Return, |body| body.contact = None, "contact"),
        (Verb::Return, |body| body.follow_up_at = None, "follow_up_at"),
        (Verb::Pending, |body| body.reason = None, "reason"),
        (Verb::Pending, |body| body.review_at = Some(T), "review_at"),
    ] {
        let mut m = desk(verb, "k");
        edit(&mut m.body);
        assert!(reason_of(apply(&safe, &facts(), minutes(9), &m)).contains(word));
    }
}

#[test]
fn a_repair_names_cause_and_parts_and_a_false_alarm_goes_the_same_way() {
    let safe = life_in(Stage::MadeSafe);
    for edit in [(|body| body.cause = None) as fn(&mut MoveBody), |body| body.parts = Some(" ".to_owned())] {
        let mut m = crew(Verb::Repair, "k");
        edit(&mut m.body);
        assert!(matches!(apply(&safe, &facts(), minutes(9), &m), Err(Refused::Body { .. })));
    }
    let void = reason_of(apply(&life_in(Stage::Arrived), &facts(), minutes(9), &desk(Verb::Void, "v")));
    assert!(void.contains("cause \"false\""), "{void}");
    let mut m = crew(Verb::Repair, "k");
    m.body.cause = Some("false".to_owned());
    assert_eq!(done(&safe, &facts(), minutes(9), &m).repaired.unwrap().cause, "false");
}

#[test]
fn the_old_one_does_not_close_while_what_follows_it_is_open_or_its_isolation_in_force() {
    let life = life_in(Stage::Verifying);
    let linked = Facts { linked_open: vec!["LG-NEXT".to_owned()], ..facts() };
    assert!(reason_of(apply(&life, &linked, minutes(200), &desk(Verb::Close, "c"))).contains("LG-NEXT"));
    let mut isolated = life.clone();
    let safe = isolated.safe.as_mut().unwrap();
    (safe.method, safe.extent) = (Method::Isolated, Some(Extent::Feeder));
    assert!(reason_of(apply(&isolated, &facts(), minutes(200), &desk(Verb::Close, "c"))).contains("restore"));
}

#[test]
fn peer_p17_a_danger_seen_again_after_made_safe_is_a_new_incident_only_if_it_was_gone_in_between() {
    let safe = life_in(Stage::MadeSafe);
    assert!(!safe.needs_new(), "it persists: it attaches");
    let mut quiet = safe.clone();
    quiet.on_quiet(minutes(20));
    quiet.on_quiet(minutes(40));
    assert_eq!((quiet.needs_new(), quiet.quiet_at), (true, Some(minutes(20))));
    let mut arrived = life_in(Stage::Arrived);
    arrived.on_quiet(minutes(20));
    assert!(!arrived.needs_new(), "until made safe everything attaches");
    let dark = Facts { signal: Signal::Unpowered, ..facts() };
    let dead = done(&life_in(Stage::Arrived), &dark, minutes(9), &crew(Verb::MakeSafe, "m"));
    assert!(dead.needs_new(), "it was unpowered already");
    let silent = Facts { signal: Signal::Silent, ..facts() };
    let safe = done(&life_in(Stage::Arrived), &silent, minutes(9), &crew(Verb::MakeSafe, "m"));
    assert!(!safe.needs_new(), "silence is not quiet");
}

#[test]
fn while_a_danger_persists_behind_a_barrier_people_are_told_every_half_hour() {
    let mut life = life_in(Stage::MadeSafe);
    assert!(
        !life.is_reminder_due(Millis::minutes(30), minutes(31))
            && life.is_reminder_due(Millis::minutes(30), minutes(32))
    );
    life.reminded_at = Some(minutes(32));
    assert!(
        !life.is_reminder_due(Millis::minutes(30), minutes(61))
            && life.is_reminder_due(Millis::minutes(30), minutes(62))
    );
    assert!(life.is_reminder_due(Millis::minutes(30), minutes(-600)), "the clock went back");
    assert!(!life_in(Stage::Repaired).is_reminder_due(Millis::minutes(30), minutes(90)));
}

#[test]
fn a_parent_never_passes_its_least_advanced_live_member() {
    let members = [life_in(Stage::Arrived), life_in(Stage::Repaired), life_in(Stage::Closed)];
    let least = least_advanced(&members);
    assert_eq!(least, Some(Stage::Arrived));
    let parent = Facts { members: least, ..facts() };
    let life = done(&Life::default(), &parent, minutes(9), &crew(Verb::Arrive, "a"));
    let reason = reason_of(apply(&life, &parent, minutes(10), &crew(Verb::MakeSafe, "m")));
    assert!(reason.contains("member"), "{reason}");
}

#[test]
fn help_is_never_refused_and_a_closed_record_is_annotated_only() {
    for stage in STAGES {
        let life = life_in(stage);
        assert_eq!(done(&life, &facts(), minutes(9), &crew(Verb::Help, "h")).state, stage);
        assert_eq!(done(&life, &facts(), minutes(9), &crew(Verb::Note, "n")).state, stage);
    }
}

#[test]
fn what_a_crew_says_on_the_phone_is_recorded_by_the_desk_and_by_nobody_else() {
    let mut m = desk(Verb::Depart, "d");
    (m.body.on_behalf_of, m.body.channel) = (Some("Crew 1".to_owned()), Channel::Phone);
    let life = done(&Life::default(), &facts(), minutes(2), &m);
    let mark = life.departed.unwrap();
    assert_eq!((mark.by.as_str(), mark.recorded_by.as_deref()), ("Crew 1", Some("Desk")));
    assert_eq!((mark.channel, life.crew.as_deref()), (Channel::Phone, Some("Crew 1")));
    m.actor = Actor { name: "Crew 2".to_owned(), desk: false };
    assert!(matches!(apply(&Life::default(), &facts(), T, &m), Err(Refused::Person { .. })));
}

#[test]
fn an_isolation_that_is_asked_for_has_who_breaker_and_answer() {
    let asked = done(&life_in(Stage::Acknowledged), &facts(), minutes(2), &desk(Verb::RequestIsolation, "i"));
    assert_eq!((asked.isolation[0].to.as_str(), asked.isolation[0].answer.as_ref()), ("Crew 2", None));
    let mut answer = desk(Verb::RequestIsolation, "j");
    answer.body.answer = Some("open since 20:05".to_owned());
    let answered = done(&asked, &facts(), minutes(4), &answer);
    assert_eq!(answered.isolation.len(), 1);
    assert_eq!(answered.isolation[0].answered_at, Some(minutes(4)));
    assert_eq!(answered.safety(), TREAT_AS_LIVE, "an answer is no isolation made on the spot");
}

#[test]
fn bodies_have_limits_and_name_them() {
    let mut m = crew(Verb::Note, "");
    assert!(reason_of(apply(&Life::default(), &facts(), T, &m)).contains("key has 0 bytes"));
    m.body.key = "k".repeat(129);
    assert!(reason_of(apply(&Life::default(), &facts(), T, &m)).contains("129"));
    (m.body.key, m.body.note) = ("k".to_owned(), Some("x".repeat(2001)));
    assert!(reason_of(apply(&Life::default(), &facts(), T, &m)).contains("2000"));
    let body: Result<MoveBody, _> = serde_json::from_str("{\"key\":\"a\",\"at\":\"yesterday\"}");
    assert!(body.unwrap_err().to_string().contains("RFC 3339"));
    let body: MoveBody = serde_json::from_str(
        "{\"key\":\"a\",\"at\":1795435200000,\"sent_at\":\"2026-11-23T20:00:00+08:00\"}",
    )
    .unwrap();
    assert_eq!((body.at, body.sent_at), (Some(T), Some(T)));
    assert!(serde_json::to_string(&body).unwrap().contains("2026-11-23T12:00:00.000Z"));
}
