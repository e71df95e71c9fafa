//! Hazards that people tell, planned work, drills.

use super::*;
use crate::engine::{Job, JobRequest, JobScope, TellRequest};
use crate::incident::{Kind, Signal};
use crate::life::tests::{crew, desk};
use crate::life::{Actor, Channel, HandReading, Outcome, Place, Stage, Verb, What};

/// Planned work ends by itself after this.
const JOB_MAX: Millis = Millis::hours(2);

fn request(what: What, key: &str) -> TellRequest {
    TellRequest {
        actor: Actor { name: "Desk".to_owned(), desk: true },
        key: key.to_owned(),
        what,
        post_id: Some("P1".to_owned()),
        place: None,
        caller: Some("138****0000".to_owned()),
        at: None,
        channel: Channel::Phone,
        severity: None,
        drill: false,
        stored: None,
    }
}

fn tell(city: &mut City, at: Timestamp, request: &TellRequest) -> Result<Answer, Refused> {
    city.engine.step(at, Input::Told(request), &mut city.effects);
    city.answer()
}

fn maintain(city: &mut City, at: Timestamp, request: &JobRequest) -> Result<(Job, bool), Refused> {
    city.engine.step(at, Input::Maintenance(request), &mut city.effects);
    let found = city.effects.iter().rev().find_map(|effect| match effect {
        Effect::JobAnswered(answer) => Some((**answer).clone()),
        _ => None,
    });
    found.unwrap()
}

fn job(scope: JobScope, key: &str) -> JobRequest {
    JobRequest {
        actor: Actor { name: "Desk".to_owned(), desk: true },
        key: key.to_owned(),
        scope,
        crew: "Meter crew".to_owned(),
        reason: "meter test".to_owned(),
        until: None,
    }
}

/// Planned work at P1 since the first minute.
pub(super) fn at_work() -> City {
    let mut city = City::new();
    maintain(&mut city, minutes(1), &job(JobScope::PostId("P1".to_owned()), "1")).unwrap();
    city
}

/// A shock that nobody felt.
pub(super) fn drill() -> TellRequest {
    TellRequest { drill: true, ..request(What::Shock, "drill") }
}

fn live(city: &mut City, from: i64) {
    for minute in [from, from + 5] {
        city.read(&with(leak(minutes(minute), 60.0), Field::SupplyV, 230.0));
    }
}

#[test]
fn situation_s52_a_call_that_a_post_shocks_people_is_a_p1_on_the_same_clock() {
    let mut city = City::new();
    let answer = tell(&mut city, T, &request(What::Shock, "1")).unwrap();
    let incident = &answer.incident;
    assert_eq!((incident.severity.name(), incident.due_at), ("P1", minutes(30)));
    assert_eq!((incident.evidence.kind, &*incident.zone, &*incident.feeder), (Kind::Reported, "z1", "F1"));
    assert_eq!(city.opened().len(), 1);
    let again = tell(&mut city, minutes(1), &request(What::Shock, "1")).unwrap();
    assert_eq!((again.outcome, again.incident.id), (Outcome::Again, answer.incident.id.clone()));
    // Its sensor says that all is well: people alone call it over.
    for minute in [5, 10, 15, 20] {
        city.read(&with(leak(minutes(minute), 0.1), Field::SupplyV, 230.0));
    }
    assert_eq!(city.the_incident().signal, Signal::Active);
    // And what the sensor finds belongs to it.
    live(&mut city, 25);
    assert_eq!(city.the_incident().kinds, [Kind::Reported, Kind::LeakCritical]);
}

#[test]
fn a_call_about_a_post_that_is_raised_attaches_and_is_told() {
    let mut city = City::new();
    live(&mut city, 0);
    let answer = tell(&mut city, minutes(6), &request(What::Live, "1")).unwrap();
    assert_eq!(city.opened().len(), 1);
    assert_eq!(answer.incident.kinds, [Kind::LeakCritical, Kind::Reported]);
    assert!(answer.incident.notes.iter().any(|note| note.contains("测电笔带电")));
    assert_eq!(city.told(), ["incident.repeated"]);
    let again = tell(&mut city, minutes(7), &request(What::Live, "1")).unwrap();
    assert_eq!((again.outcome, city.told().len()), (Outcome::Again, 1));
}

#[test]
fn a_hazard_at_a_place_goes_to_the_zone_of_the_nearest_post_and_is_verified_by_hand() {
    let mut city = City::new();
    let mut r = request(What::Live, "1");
    r.post_id = None;
    r.place = Some(Place { lon: 113.2, lat: 35.2, text: "railing at the underpass".to_owned() });
    let incident = tell(&mut city, T, &r).unwrap().incident;
    assert_eq!((&*incident.zone, incident.post_id.is_empty()), ("z1", true));
    let id = incident.id.to_string();
    let mut arrive = crew(Verb::Arrive, "1");
    arrive.body.position = Some(crate::life::Position { lon: 113.201, lat: 35.2, accuracy_m: None });
    let arrived = city.moved(minutes(9), &id, arrive);
    assert_eq!(arrived.life.arrived.unwrap().proof.name(), "proven");
    city.moved(minutes(10), &id, crew(Verb::MakeSafe, "1"));
    city.moved(minutes(20), &id, crew(Verb::Repair, "1"));
    let mut verify = crew(Verb::Verify, "1");
    verify.actor.name = "Crew 2".to_owned();
    let refused = city.act(minutes(21), &id, verify.clone()).unwrap_err().to_string();
    assert!(refused.contains("own reading"), "{refused}");
    verify.body.reading = Some(HandReading {
        check: Some("ok".to_owned()),
        supply: Some("on".to_owned()),
        ..HandReading::default()
    });
    city.moved(minutes(22), &id, verify);
    assert_eq!(city.moved(minutes(23), &id, desk(Verb::Close, "1")).life.state, Stage::Closed);
}

#[test]
fn a_replay_of_what_came_before_planned_work_does_not_end_it() {
    let mut city = City::new();
    let job = Job {
        id: "M-1".to_owned(),
        scope: JobScope::PostId("P1".to_owned()),
        crew: "Crew 1".to_owned(),
        reason: "new lamp".to_owned(),
        by: "Desk".to_owned(),
        from: minutes(40),
        until: minutes(160),
        keys: Vec::new(),
    };
    city.engine.seed_job(job.clone());
    city.engine.replaying(true);
    city.read(&leak(minutes(0), 1.0));
    city.engine.replaying(false);
    city.tick(minutes(41));
    assert_eq!(city.engine.jobs(), [job]);
}

#[test]
fn the_desk_chooses_how_urgent_another_hazard_is_and_a_shock_is_p1_always() {
    let mut city = City::new();
    let other = tell(&mut city, T, &request(What::Other, "1")).unwrap().incident;
    assert_eq!((other.severity.name(), other.due_at), ("P2", T + Millis::hours(24)));
    live(&mut city, 0);
    assert_eq!(city.opened().len(), 1, "an other hazard takes no electric evidence");
    let mut r = request(What::Other, "2");
    r.severity = Some("P1".to_owned());
    assert_eq!(tell(&mut city, minutes(9), &r).unwrap().incident.due_at, minutes(39));
    let wrong = |edit: fn(&mut TellRequest), city: &mut City| {
        let mut r = request(What::Shock, "w");
        edit(&mut r);
        tell(city, minutes(10), &r).unwrap_err().to_string()
    };
    assert!(wrong(|r| r.severity = Some("P3".to_owned()), &mut city).contains("shock is P1"));
    assert!(wrong(|r| r.post_id = None, &mut city).contains("either post_id or place"));
    assert!(wrong(|r| r.post_id = Some("P9".to_owned()), &mut city).contains("not in the register"));
    assert!(wrong(|r| r.key = String::new(), &mut city).contains("key"));
    assert!(wrong(|r| r.caller = Some("1".repeat(2001)), &mut city).contains("caller has 2001 bytes"));
    let nowhere = |r: &mut TellRequest| {
        (r.post_id, r.place) = (None, Some(Place { lon: 500.0, lat: 0.0, text: "x".to_owned() }));
    };
    assert!(wrong(nowhere, &mut city).contains("degrees"));
}

#[test]
fn a_drill_is_marked_and_takes_nothing_from_the_real_thing() {
    let mut city = City::new();
    let mut r = request(What::Shock, "1");
    r.drill = true;
    let drill = tell(&mut city, T, &r).unwrap().incident;
    assert!(drill.life.drill);
    live(&mut city, 0);
    let opened = city.opened();
    assert_eq!(opened.len(), 2);
    assert!(!opened[1].life.drill && opened[1].life.follows.is_empty());
    // One person may end a drill, and it links nothing.
    city.moved(minutes(6), &drill.id, desk(Verb::Void, "1"));
    assert_eq!(city.engine.open_incidents().count(), 1);
    assert!(city.engine.people.last.is_empty());
}

#[test]
fn situation_s49_during_planned_work_what_is_raised_names_its_crew_and_the_work_ends_by_itself() {
    let mut city = City::new();
    let (begun, new) =
        maintain(&mut city, T - Millis::minutes(1), &job(JobScope::Feeder("F1".to_owned()), "1")).unwrap();
    assert!(new && begun.until == T - Millis::minutes(1) + JOB_MAX);
    live(&mut city, 0);
    assert_eq!(city.the_incident().life.job.as_deref(), Some("Meter crew"));
    assert_eq!(city.the_incident().due_at, minutes(35), "the clock runs all the same");
    let ended =
        |city: &City| city.effects.iter().filter(|e| matches!(e, Effect::Job { ended: true, .. })).count();
    city.pass(minutes(5), 113);
    assert_eq!(ended(&city), 0);
    city.tick(minutes(119));
    assert_eq!((ended(&city), city.engine.jobs().len()), (1, 0), "the desk is told");
    city.pass(minutes(119), 5);
    assert_eq!(ended(&city), 1, "once");
}

#[test]
fn what_a_whole_feeder_says_is_of_planned_work_only_when_all_posts_it_names_lie_within() {
    let scopes = [
        (JobScope::Feeder("FS".to_owned()), Some("Meter crew"), false),
        (JobScope::Road("人民路".to_owned()), Some("Meter crew"), false),
        (JobScope::PostId("S1".to_owned()), None, true),
        (JobScope::PostId("S7".to_owned()), None, false),
    ];
    for (scope, crew, inside) in scopes {
        let mut city = City::street(8);
        for round in 0..3 {
            for n in 0..8 {
                city.read(&at_post(shell(minutes(-20 + 5 * round), 0.4), n));
            }
        }
        maintain(&mut city, minutes(-6), &job(scope.clone(), "1")).unwrap();
        for round in 0..2 {
            for n in 0..3 {
                city.read(&at_post(shell(minutes(-5 + 5 * round) + Millis(n as i64), 45.0), n));
            }
        }
        let neutral = city.the(Family::Neutral);
        assert_eq!(neutral.life.job.as_deref(), crew, "{scope:?}");
        let named = neutral.notes.iter().any(|note| note.ends_with(": Meter crew"));
        assert_eq!(named, inside, "who works at one of them stands in the danger: {:?}", neutral.notes);
    }
}

/// Posts S0 to S7 speak, then those of `silent` do no more, from minute 0 on.
fn silent_posts(city: &mut City, silent: std::ops::Range<usize>, from: i64, to: i64) {
    for minute in (from..to).step_by(5) {
        city.keep_dry(minutes(minute));
        for n in (0..8).filter(|n| minute < 0 || !silent.contains(n)) {
            let r = with(leak(minutes(minute) + Millis(n as i64), 0.3), Field::SupplyV, 229.0);
            city.read(&at_post(r, n));
        }
        city.pass(minutes(minute), 5);
    }
}

#[test]
fn a_feeder_that_grows_dark_beyond_the_planned_work_is_no_longer_of_it() {
    let text = |n: usize| {
        let road = if n < 6 { "人民路" } else { "平原路" };
        format!("\nS{n},,z1,{road},{n},,FS,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300")
    };
    let rows: String = (0..8).map(text).collect();
    let register = Register::parse(format!("{}{rows}", lampguard_model::register::header()).as_bytes());
    let engine = Engine::new(Policy::default(), Arc::new(register.unwrap()), Sky::default());
    let mut city = City { engine, effects: Vec::new() };
    silent_posts(&mut city, 0..6, -15, 0);
    maintain(&mut city, minutes(0), &job(JobScope::Road("人民路".to_owned()), "1")).unwrap();
    silent_posts(&mut city, 0..6, 0, 25);
    let dark = |city: &City| {
        let mut open = city.engine.open_incidents();
        open.find(|incident| incident.scope == crate::incident::Scope::Feeder).unwrap().clone()
    };
    assert_eq!(dark(&city).life.job.as_deref(), Some("Meter crew"), "all six lie on the road");
    city.effects.clear();
    silent_posts(&mut city, 0..8, 25, 50);
    assert_eq!((dark(&city).members.len(), dark(&city).life.job), (8, None), "S6 and S7 lie outside");
    let said =
        |effect: &Effect| matches!(effect, Effect::Moved { event, .. } if event.kind == "beyond_maintenance");
    assert_eq!(city.effects.iter().filter(|effect| said(effect)).count(), 1);
}

#[test]
fn during_planned_work_what_is_below_p1_is_recorded_and_told_to_nobody() {
    let dark = |minute: i64| {
        let r = with(with(reading(minutes(minute)), Field::SupplyV, 229.0), Field::LampW, 1.0);
        with(r, Field::LeakageMa, 0.1)
    };
    let city_with = |work: bool| {
        let mut city = City::new();
        city.engine.set_timetable(Box::new(|_, _| Some(true)));
        if work {
            maintain(&mut city, T, &job(JobScope::PostId("P1".to_owned()), "1")).unwrap();
        }
        [0, 5, 10, 15].into_iter().for_each(|minute| city.read(&dark(minute)));
        assert_eq!(city.the(Family::Lamp).life.job.is_some(), work);
        city
    };
    assert!(told_at_opening(&city_with(false)));
    let mut city = city_with(true);
    assert!(!told_at_opening(&city), "the crew switched it off");
    // The road still has its telling: P2 is of the same road, and nobody works there.
    for minute in [5, 10, 15, 20] {
        let mut r = dark(minute);
        (r.post, r.device, r.identity) = ("P2", "P2", mix(minute as u64));
        city.read(&r);
    }
    assert!(told_at_opening(&city));
    [30, 31, 32].into_iter().for_each(|minute| city.read(&shell(minutes(minute), 13.0)));
    assert!(
        !told_at_opening(&city) && city.the_incident().severity.name() == "P2",
        "due in 30 min, and recorded"
    );
    let mut city = city_with(true);
    live(&mut city, 35);
    assert!(told_at_opening(&city) && city.the_incident().life.job.is_some(), "a P1 is told");
}

#[test]
fn planned_work_is_renewed_ended_and_refused_where_it_cannot_be() {
    let mut city = City::new();
    let scope = || JobScope::Road("人民路".to_owned());
    maintain(&mut city, T, &job(scope(), "1")).unwrap();
    let (same, new) = maintain(&mut city, minutes(1), &job(scope(), "1")).unwrap();
    assert_eq!((same.until, new), (T + JOB_MAX, false), "a repeat changes nothing");
    let (renewed, new) = maintain(&mut city, minutes(90), &job(scope(), "2")).unwrap();
    assert_eq!((renewed.until, renewed.id.as_str(), new), (minutes(90) + JOB_MAX, same.id.as_str(), false));
    let mut end = job(scope(), "3");
    end.until = Some(minutes(100));
    maintain(&mut city, minutes(100), &end).unwrap();
    assert!(city.engine.jobs().is_empty());
    live(&mut city, 101);
    assert_eq!(city.the_incident().life.job, None);
    for (edit, word) in [
        ((|r| r.until = Some(T)) as fn(&mut JobRequest), "no such work"),
        (|r| r.until = Some(T + Millis::hours(99)), "2 h"),
        (|r| r.crew = " ".to_owned(), "crew"),
        (|r| r.scope = JobScope::PostId("P9".to_owned()), "no post"),
    ] {
        let mut r = job(scope(), "4");
        edit(&mut r);
        let refused = maintain(&mut city, minutes(120), &r).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn situation_s53_a_pen_reading_typed_in_raises_as_a_sensor_does() {
    let mut city = City::new();
    let mut r = shell(T, 40.0);
    r.cause = Cause::Manual;
    city.read(&r);
    assert_eq!(
        (city.the_incident().evidence.kind, city.the_incident().due_at),
        (Kind::ShellCritical, minutes(30))
    );
}

/// Raises P1 in the rain and brings it to its end by moves.
fn rain_fault(city: &mut City, cause: &str) {
    let rain = WeatherReport { rain_mm_h: Some(5.0), ..WeatherReport::default() };
    city.weather(T - Millis::minutes(1), "z1", &rain);
    live(city, 0);
    let id = city.the_incident().id.to_string();
    city.moved(minutes(10), &id, crew(Verb::Arrive, "1"));
    city.moved(minutes(11), &id, crew(Verb::MakeSafe, "1"));
    let mut repair = crew(Verb::Repair, "1");
    repair.body.cause = Some(cause.to_owned());
    city.moved(minutes(12), &id, repair);
    city.moved(minutes(13), &id, desk(Verb::Verify, "1"));
    city.moved(minutes(14), &id, desk(Verb::Close, "1"));
}

fn asked(city: &City) -> Vec<&'static str> {
    let of = |effect: &Effect| match effect {
        Effect::Recheck { event, .. } => Some(event.kind),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn a_rain_fault_is_looked_at_again_in_the_next_rain_and_goes_to_the_leader_after_six_hours() {
    let mut city = City::new();
    rain_fault(&mut city, "wet junction");
    assert_eq!(asked(&city), ["recheck_wanted"]);
    // Still the same rain, then dry for a day: nothing is due.
    city.pass(minutes(14), 10);
    let day = Millis::hours(24);
    for hour in 1..24 {
        city.keep_dry(T + Millis::hours(hour));
        city.weather(T + Millis::hours(hour), "z1", &dry());
    }
    assert_eq!(asked(&city).len(), 1);
    let rain = WeatherReport { rain_mm_h: Some(5.0), ..WeatherReport::default() };
    city.weather(T + day, "z1", &rain);
    city.weather(T + day + Millis::minutes(5), "z1", &rain);
    assert_eq!(asked(&city), ["recheck_wanted", "recheck_due"]);
    let task = city.engine.rechecks()[0].clone();
    city.pass(T + day, 364);
    assert_eq!(asked(&city).len(), 2);
    city.tick(T + day + Millis::minutes(365));
    assert_eq!(asked(&city)[2..], ["recheck_overdue"]);
    // A hand test finishes it; a restart in between forgets nothing.
    let mut after = City::new();
    after.engine.seed_recheck(task);
    let mut r = with(reading(T + day + Millis::hours(1)), Field::Check, 0.0);
    r.cause = Cause::Manual;
    after.read(&r);
    assert_eq!((asked(&after), after.engine.rechecks().len()), (vec!["recheck_done"], 0));
}

#[test]
fn a_dry_fault_and_a_false_alarm_leave_no_task_behind() {
    let mut city = City::new();
    rain_fault(&mut city, "false");
    assert!(asked(&city).is_empty());
    let mut city = City::new();
    live(&mut city, 0);
    let id = city.the_incident().id.to_string();
    for (verb, by_desk) in [
        (Verb::Arrive, false),
        (Verb::MakeSafe, false),
        (Verb::Repair, false),
        (Verb::Verify, true),
        (Verb::Close, true),
    ] {
        let m = if by_desk { desk(verb, "1") } else { crew(verb, "1") };
        city.moved(minutes(10), &id, m);
    }
    assert!(asked(&city).is_empty());
}

#[test]
fn a_hand_test_from_before_the_rain_that_a_replay_brings_again_finishes_no_task() {
    let task = crate::engine::Recheck {
        post: Arc::from("P1"),
        zone: Arc::from("z1"),
        incident: Arc::from("LG-OLD"),
        since: T,
        asked_at: Some(minutes(60)),
        overdue_at: None,
        done_at: None,
    };
    let mut city = City::new();
    city.engine.seed_recheck(task);
    let by_hand = |at: Timestamp| {
        let mut r = with(reading(at), Field::Check, 0.0);
        r.cause = Cause::Manual;
        r
    };
    city.engine.replaying(true);
    city.read(&by_hand(minutes(30)));
    city.engine.replaying(false);
    assert_eq!((asked(&city).len(), city.engine.rechecks().len()), (0, 1), "it was asked for later");
    city.read(&by_hand(minutes(70)));
    assert_eq!(asked(&city), ["recheck_done"]);
}

/// P1 has 13 V on its shell (a P2, due in 30 min) since minute 12 of planned work that began at `T`.
fn warned_at_work(scope: JobScope) -> City {
    let mut city = City::new();
    maintain(&mut city, T, &job(scope, "1")).unwrap();
    [10, 11, 12].into_iter().for_each(|minute| city.read(&shell(minutes(minute), 13.0)));
    assert_eq!((city.the_incident().severity.name(), told_at_opening(&city)), ("P2", false));
    city.effects.clear();
    city
}

fn ended_events(city: &City) -> Vec<(&'static str, Option<&'static str>)> {
    let of = |effect: &Effect| match effect {
        Effect::Moved { event, told, .. } if event.kind != "rung" => Some((event.kind, *told)),
        Effect::Job { event, .. } => Some((event.kind, None)),
        _ => None,
    };
    city.effects.iter().filter_map(of).collect()
}

#[test]
fn what_was_only_recorded_during_planned_work_is_told_when_the_work_ends_by_itself() {
    let mut city = warned_at_work(JobScope::Road("人民路".to_owned()));
    let id = city.engine.open_incidents().next().unwrap().id.clone();
    city.tick(T + JOB_MAX - Millis::seconds(1));
    assert!(!city.told().contains(&"incident.repeated"));
    city.effects.clear();
    assert!(city.engine.next_due() <= T + JOB_MAX, "a back-test looks then");
    city.tick(T + JOB_MAX);
    let both = [("maintenance_ended", Some("incident.repeated")), ("maintenance_ended", None)];
    assert_eq!(ended_events(&city), both, "told and stored before the work is over");
    assert!(city.effects.iter().any(|e| matches!(e, Effect::Moved { incident, .. } if incident.id == id)));
    assert!(city.engine.open_incidents().all(|incident| incident.life.job.is_none()));
    city.effects.clear();
    city.pass(T + JOB_MAX, 10);
    assert!(city.told().is_empty(), "once");
}

#[test]
fn what_was_only_recorded_during_planned_work_is_told_when_people_end_it_and_no_other_work_goes_on_there() {
    let end =
        |scope: JobScope, key: &str, at: i64| JobRequest { until: Some(minutes(at)), ..job(scope, key) };
    let (road, post) = (JobScope::Road("人民路".to_owned()), JobScope::PostId("P1".to_owned()));
    let mut city = warned_at_work(road.clone());
    maintain(&mut city, minutes(13), &job(post.clone(), "2")).unwrap();
    maintain(&mut city, minutes(14), &end(road, "3", 14)).unwrap();
    assert!(city.told().is_empty(), "another crew works there");
    assert!(city.engine.open_incidents().all(|incident| incident.life.job.is_some()));
    maintain(&mut city, minutes(15), &end(post, "4", 15)).unwrap();
    assert_eq!(city.told(), ["incident.repeated"]);
    // A P1 was told at once, and one at which somebody stands is known.
    for known in [true, false] {
        let mut city = warned_at_work(JobScope::PostId("P1".to_owned()));
        let id = city.engine.open_incidents().next().unwrap().id.to_string();
        if known {
            city.moved(minutes(13), &id, crew(Verb::Arrive, "1"));
        } else {
            [13, 14].into_iter().for_each(|minute| city.read(&shell(minutes(minute), 40.0)));
            assert!(city.escalated()[0].1);
        }
        city.effects.clear();
        maintain(&mut city, minutes(15), &end(JobScope::PostId("P1".to_owned()), "2", 15)).unwrap();
        assert_eq!(ended_events(&city), [("maintenance_ended", None); 2], "{known}");
    }
}

#[test]
fn what_was_only_recorded_during_planned_work_that_is_not_there_any_more_after_a_restart_is_told() {
    let before = warned_at_work(JobScope::PostId("P1".to_owned()));
    for goes_on in [true, false] {
        let mut city = City::new();
        if goes_on {
            city.engine.seed_job(before.engine.jobs()[0].clone());
        }
        city.engine.seed(before.engine.open_incidents().next().unwrap().clone());
        city.pass(minutes(13), 3);
        assert_eq!(city.told().len(), usize::from(!goes_on));
    }
}

#[test]
fn lamps_that_went_out_during_planned_work_are_told_once_per_road_when_it_ends() {
    let mut city = City::street(6);
    city.engine.set_timetable(Box::new(|_, _| Some(true)));
    maintain(&mut city, T, &job(JobScope::Feeder("FS".to_owned()), "1")).unwrap();
    for minute in [0, 5, 10, 15] {
        for n in 0..6 {
            let r = with(with(reading(minutes(minute)), Field::SupplyV, 229.0), Field::LampW, 1.0);
            city.read(&at_post(with(r, Field::LeakageMa, 0.1 + 0.01 * n as f64), n));
        }
    }
    assert_eq!(city.opened_of(Family::Lamp).len(), 6);
    let mut end = job(JobScope::Feeder("FS".to_owned()), "2");
    end.until = Some(minutes(16));
    maintain(&mut city, minutes(16), &end).unwrap();
    assert_eq!(city.told(), ["incident.repeated"]);
}
