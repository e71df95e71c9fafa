//! The borders of the rule.

use lampguard_model::{Millis, Register, Timestamp};

use super::facts::{Class, Exposure, Family, Going, Hazard, Message, Spot, Told};
use super::figures::Scores;
use super::reporting::Reporting;
use super::rule::{Ground, Verdict, score};

/// The moment of danger in these tests.
const T: Timestamp = Timestamp(1_795_435_200_000);
/// The window is 60 min before and twice this after.
const PERIOD: Millis = Millis::minutes(5);

fn hazard(post: &str) -> Hazard {
    Hazard {
        spot: Spot::post(post),
        kind: "electric".to_owned(),
        cause: "wet_joint".to_owned(),
        class: Class::Dangerous,
        starts_at: T - Millis::minutes(90),
        dangerous_at: Some(T),
        ends_at: Some(T + Millis::hours(6)),
        period: PERIOD,
        sensor: "ok".to_owned(),
        observable: true,
    }
}

fn marginal(post: &str) -> Hazard {
    Hazard { class: Class::Marginal, dangerous_at: None, ..hazard(post) }
}

fn told(id: &str, kind: &str, post: &str, at: Timestamp) -> Told {
    Told {
        id: id.to_owned(),
        kind: kind.to_owned(),
        family: Family::of(kind),
        posts: Some(post).filter(|post| !post.is_empty()).map(str::to_owned).into_iter().collect(),
        feeder: None,
        zone: None,
        place: None,
        p1_at: Some(at),
        first_notice_at: Some(at),
        p1_notice_at: Some(at),
        voided: false,
        going: Going::default(),
    }
}

fn leak(post: &str, at: Timestamp) -> Told {
    told(&format!("LG-{post}-{}", at.0), "leak_critical", post, at)
}

fn plain(hazards: &[Hazard], told: &[Told]) -> Scores {
    score(hazards, told, None, None, None)
}

fn verdict(hazard: &Hazard, told: &[Told]) -> Verdict {
    plain(std::slice::from_ref(hazard), told).graded[0].verdict
}

#[test]
fn the_window_is_closed_at_60_minutes_before_and_two_periods_after_to_the_millisecond() {
    let ms = Millis(1);
    let (opens, closes) = (T - Millis::minutes(60), T + Millis::minutes(10));
    for (at, expected) in [
        (opens - ms, Verdict::Missed),
        (opens, Verdict::Found),
        (opens + ms, Verdict::Found),
        (closes - ms, Verdict::Found),
        (closes, Verdict::Found),
        (closes + ms, Verdict::Late),
        (T + Millis::hours(6) - ms, Verdict::Late),
        (T + Millis::hours(6), Verdict::Missed),
    ] {
        assert_eq!(verdict(&hazard("P1"), &[leak("P1", at)]), expected, "told at {at}");
    }
    assert_eq!(verdict(&hazard("P1"), &[]), Verdict::Missed);
    let lasting = Hazard { ends_at: None, ..hazard("P1") };
    assert_eq!(verdict(&lasting, &[leak("P1", T + Millis::hours(999))]), Verdict::Late);
    let short = Hazard { ends_at: Some(T + Millis::minutes(1)), ..hazard("P1") };
    assert_eq!(verdict(&short, &[leak("P1", closes)]), Verdict::Found, "two periods, though it has ended");
}

#[test]
fn what_was_told_too_early_or_voided_is_missed_and_says_so() {
    let early = plain(&[hazard("P1")], &[leak("P1", T - Millis::minutes(61))]);
    assert_eq!((early.all.missed, early.all.missed_told_early, early.all.found), (1, 1, 0));
    assert_eq!(early.graded[0].early_at, Some(T - Millis::minutes(61)));
    let void = Told { voided: true, ..leak("P1", T) };
    let voided = plain(&[hazard("P1")], std::slice::from_ref(&void));
    assert_eq!((voided.all.missed, voided.all.missed_voided), (1, 1));
    assert_eq!(voided.graded[0].voided_at, Some(T));
    assert_eq!(voided.p1.false_p1, 0, "there was a reason");
    // The next one after a void counts.
    let again = plain(&[hazard("P1")], &[void, leak("P1", T + Millis::minutes(3))]);
    assert_eq!((again.all.found, again.all.missed_voided), (1, 0));
    assert_eq!(again.graded[0].delay(), Some(Millis::minutes(3)));
}

#[test]
fn an_incident_that_rose_to_p1_counts_from_then_and_one_that_never_did_or_was_never_told_does_not() {
    // It rises in time, and the first notice that says so is late.
    let (rises, told_at) = (Some(T + Millis::minutes(2)), Some(T + Millis::minutes(11)));
    let mut rose = Told { p1_at: rises, p1_notice_at: told_at, ..leak("P1", T) };
    assert_eq!(verdict(&hazard("P1"), std::slice::from_ref(&rose)), Verdict::Late);
    rose.p1_notice_at = None;
    let scores = plain(&[hazard("P1")], std::slice::from_ref(&rose));
    assert_eq!((scores.all.missed, scores.p1.incidents), (1, 0), "that it rose tells nobody");
    rose.p1_notice_at = Some(T + Millis::minutes(10));
    let scores = plain(&[hazard("P1")], std::slice::from_ref(&rose));
    assert_eq!(scores.graded[0].told_at, Some(T + Millis::minutes(10)));
    rose.p1_at = None;
    assert_eq!(verdict(&hazard("P1"), std::slice::from_ref(&rose)), Verdict::Missed);
    let untold = Told { first_notice_at: None, p1_notice_at: None, ..leak("P1", T) };
    let scores = plain(&[hazard("P1")], &[untold]);
    assert_eq!((scores.all.missed, scores.p1.incidents, scores.p1.judged), (1, 0, 0));
}

#[test]
fn an_incident_counts_for_each_post_it_names() {
    let mut many = told("LG-1", "critical_then_silent", "P1", T);
    many.posts.extend(["P2".to_owned(), "P9".to_owned()]);
    let scores = plain(&[hazard("P1"), hazard("P2"), hazard("P3"), marginal("P4")], &[many]);
    assert_eq!((scores.all.found, scores.all.missed), (2, 1));
    let grounds: Vec<_> = scores.alarms.iter().map(|alarm| (alarm.spot.as_str(), alarm.ground)).collect();
    assert_eq!(grounds, [("P1", Ground::Hazard), ("P2", Ground::Hazard), ("P9", Ground::Nothing)]);
    assert_eq!((scores.p1.incidents, scores.p1.judged, scores.p1.false_p1), (1, 3, 1));
}

#[test]
fn the_first_of_several_tellings_counts_and_an_incident_given_twice_counts_once() {
    let first = leak("P1", T + Millis::seconds(30));
    let later = leak("P1", T + Millis::seconds(90));
    let scores = plain(&[hazard("P1")], &[later.clone(), first.clone(), first.clone(), later]);
    assert_eq!(scores.graded[0].incident.as_deref(), Some(first.id.as_str()));
    assert_eq!((scores.p1.incidents, scores.p1.judged), (2, 2));
    // A late one does not hide one in time, and one in time is no worse for a later one.
    let late = leak("P1", T + Millis::hours(1));
    assert_eq!(verdict(&hazard("P1"), &[late, first]), Verdict::Found);
}

#[test]
fn only_dangerous_truths_with_a_moment_have_to_be_found() {
    let unclear = Hazard { dangerous_at: None, ..hazard("P2") };
    let leaking = Hazard { class: Class::Marginal, ..hazard("P3") };
    let scores = plain(&[hazard("P1"), unclear, leaking, marginal("P4")], &[]);
    assert_eq!((scores.truths, scores.marginal, scores.never_dangerous, scores.all.hazards), (4, 2, 1, 1));
}

#[test]
fn a_p1_without_a_truth_there_and_then_is_false_and_on_a_marginal_post_counts_apart() {
    let (ms, begin, end) = (Millis(1), T - Millis::minutes(150), T + Millis::hours(6) + Millis::minutes(10));
    for (at, ground) in [
        (begin - ms, Ground::Nothing),
        (begin, Ground::Marginal),
        (end, Ground::Marginal),
        (end + ms, Ground::Nothing),
    ] {
        let scores = plain(&[marginal("P1")], &[leak("P1", at)]);
        assert_eq!(scores.alarms[0].ground, ground, "told at {at}");
    }
    let both = plain(&[marginal("P1"), hazard("P1")], &[leak("P1", T), leak("P7", T)]);
    assert_eq!((both.p1.on_hazard, both.p1.on_marginal, both.p1.false_p1), (1, 0, 1));
    let void = Told { voided: true, ..leak("P7", T) };
    assert_eq!(plain(&[], &[void]).p1.false_p1, 1, "people were sent, whoever voided it afterwards");
}

#[test]
fn false_p1s_are_given_per_1000_post_nights_when_it_is_known_how_much_was_watched() {
    let alarms = [leak("P7", T), leak("P8", T), leak("P1", T)];
    let exposure = Some(Exposure { posts: 400, nights: 2.5 });
    let scores = score(&[marginal("P1")], &alarms, None, exposure, None);
    assert_eq!((scores.p1.false_per_1000, scores.p1.marginal_per_1000), (Some(2.0), Some(1.0)));
    assert_eq!(plain(&[], &alarms).p1.false_per_1000, None);
    let nothing = score(&[], &alarms, None, Some(Exposure { posts: 0, nights: 1.0 }), None);
    assert_eq!(nothing.p1.false_per_1000, None, "nothing watched gives no rate");
}

#[test]
fn a_broken_neutral_is_found_by_its_own_incident_on_that_feeder_or_by_an_electric_one_on_the_post() {
    let mut neutral = Hazard { kind: "neutral".to_owned(), ..hazard("P1") };
    neutral.spot.feeder = Some("F1".to_owned());
    let on = |kind: &str, post: &str, feeder: &str| Told {
        feeder: Some(feeder.to_owned()),
        ..told("LG-1", kind, post, T)
    };
    assert_eq!(verdict(&neutral, &[on("neutral_break", "", "F1")]), Verdict::Found);
    assert_eq!(verdict(&neutral, &[on("neutral_break", "", "F2")]), Verdict::Missed);
    assert_eq!(verdict(&neutral, &[on("shell_critical", "P1", "F1")]), Verdict::Found);
    assert_eq!(verdict(&neutral, &[on("shell_critical", "P2", "F1")]), Verdict::Missed);
    // A leaking joint is not found by it, though the post is named.
    assert_eq!(verdict(&hazard("P1"), &[on("neutral_break", "P1", "F1")]), Verdict::Missed);
    // Posts that it names are no false alarms, though only one has its own line of truth.
    let scores = plain(&[neutral], &[on("neutral_break", "P5", "F1")]);
    assert_eq!((scores.all.found, scores.p1.false_p1), (1, 0));
    // Truth of the whole feeder.
    let whole = Spot { feeder: Some("F1".to_owned()), ..Spot::default() };
    let whole = Hazard { spot: whole, kind: "neutral".to_owned(), ..hazard("") };
    let scores = plain(&[whole], &[on("neutral_break", "", "F1"), on("shell_critical", "P2", "F1")]);
    assert_eq!((scores.all.found, scores.p1.on_hazard, scores.p1.false_p1), (1, 2, 0));
}

#[test]
fn a_patrol_finds_what_nobody_can_see_and_only_the_posts_it_names() {
    let blind = Hazard { sensor: "failed:silent".to_owned(), observable: false, ..hazard("P1") };
    assert_eq!(verdict(&blind, &[told("LG-1", "feeder_dark", "P1", T)]), Verdict::Found);
    assert_eq!(verdict(&blind, &[told("LG-1", "feeder_dark", "P2", T)]), Verdict::Missed);
    let seen = plain(&[hazard("P1")], &[told("LG-1", "feeder_dark", "P1", T)]);
    assert_eq!(seen.all.missed, 1, "its sensor could tell");
    assert_eq!((seen.p1.judged, seen.p1.not_judged.get("feeder_dark"), seen.p1.unjudged()), (0, Some(&1), 1));
    // A sensor that reports wrong values is no want of data, nor is one that was seen working.
    for (sensor, observable) in [("failed:frozen", false), ("failed:open_ct", false), ("failed:silent", true)]
    {
        let sent = Hazard { sensor: sensor.to_owned(), observable, ..hazard("P1") };
        assert_eq!(verdict(&sent, &[told("LG-1", "feeder_dark", "P1", T)]), Verdict::Missed, "{sensor}");
    }
    // Other families find nothing.
    for kind in ["lamp_out", "system", "column", "reenergised", "feeder_step", "weather"] {
        assert_eq!(verdict(&hazard("P1"), &[told("LG-1", kind, "P1", T)]), Verdict::Missed, "{kind}");
    }
}

/// Two posts on F1 that report each minute from an hour before T on, until so many minutes after it.
fn heard_until(minutes: i64) -> Reporting {
    let mut csv = lampguard_model::register::header();
    for n in 1..=2 {
        csv += &format!("\nQ{n},D{n},z1,r,{n},,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M,60");
    }
    let mut reporting = Reporting::of(&Register::parse(csv.as_bytes()).unwrap());
    for minute in -60..=minutes {
        reporting.saw("Q1", T + Millis::minutes(minute));
        reporting.saw("Q2", T + Millis::minutes(minute));
    }
    reporting
}

#[test]
fn patrols_to_feeders_that_report_are_false_and_find_nothing() {
    let blind = Hazard { sensor: "failed:none".to_owned(), observable: false, ..hazard("P1") };
    let hazards = [blind];
    let patrols: Vec<Told> = (-3..=0)
        .map(|hour| Told {
            feeder: Some("F1".to_owned()),
            ..told(&format!("LG-{hour}"), "feeder_dark", "P1", T + Millis::minutes(60 * hour + 30))
        })
        .collect();
    let judged = |reporting: &Reporting| score(&hazards, &patrols, None, None, Some(reporting));
    // One patrol an hour along a feeder that reports all the while: once this bought every blind hazard.
    let bribe = judged(&heard_until(60));
    assert_eq!((bribe.all.found, bribe.all.missed), (0, 1));
    assert_eq!((bribe.p1.false_p1, bribe.p1.on_no_data, bribe.p1.unjudged()), (2, 0, 2));
    // Told before the danger along a dark feeder that reports again when it comes: nobody meets it.
    let (mut back, silent_from) = (heard_until(-45), T - Millis::minutes(1));
    (0..90).for_each(|n| back.saw("Q1", silent_from + Millis::minutes(n)));
    (0..90).for_each(|n| back.saw("Q2", silent_from + Millis::minutes(n)));
    let early = judged(&back);
    assert_eq!((early.all.found, early.p1.false_p1, early.p1.on_no_data), (0, 1, 1));
    // The feeder goes dark and stays so: the patrol is right, and finds.
    let right = judged(&heard_until(-45));
    assert_eq!((right.all.found, right.p1.false_p1, right.p1.on_no_data), (1, 0, 2));
    // Without a recording nobody can say: that is said beside the false ones.
    let unknown = plain(&hazards, &patrols);
    assert_eq!((unknown.p1.false_p1, unknown.p1.unjudged()), (0, 4));
}

#[test]
fn a_leaking_joint_excuses_the_step_of_its_feeder_and_no_p1_of_its_posts() {
    let spot = Spot { feeder: Some("F1".to_owned()), ..Spot::default() };
    let joint = Hazard { spot, kind: "feeder_leak".to_owned(), ..marginal("") };
    let of = |kind: &str, post: &str| Told {
        feeder: Some("F1".to_owned()),
        ..told(&format!("LG-{kind}"), kind, post, T)
    };
    let alarms = [of("feeder_step", ""), of("leak_critical", "P1"), of("critical_then_silent", "")];
    let scores = plain(&[joint], &alarms);
    assert_eq!((scores.p1.on_marginal, scores.p1.false_p1), (1, 2));
}

#[test]
fn a_step_of_a_feeder_is_no_false_alarm_where_a_joint_leaks() {
    let spot = Spot { feeder: Some("F1".to_owned()), ..Spot::default() };
    let joint = Hazard { spot, kind: "feeder_leak".to_owned(), ..marginal("") };
    let step = |feeder: &str| Told {
        feeder: Some(feeder.to_owned()),
        ..told(&format!("LG-{feeder}"), "feeder_step", "", T)
    };
    let scores = plain(&[joint], &[step("F1"), step("F2")]);
    assert_eq!((scores.p1.on_marginal, scores.p1.false_p1), (1, 1));
    assert_eq!(scores.all.hazards, 0);
}

#[test]
fn a_place_is_found_by_the_incident_at_that_place() {
    let spot = Spot { place: Some("北门 水坑".to_owned()), ..Spot::default() };
    let puddle = Hazard { spot, ..hazard("") };
    let reported = |place: &str| Told { place: Some(place.to_owned()), ..told("LG-1", "reported", "", T) };
    assert_eq!(verdict(&puddle, &[reported("北门 水坑")]), Verdict::Found);
    let elsewhere = plain(&[puddle], &[reported("南门")]);
    assert_eq!((elsewhere.all.missed, elsewhere.p1.false_p1), (1, 1));
}

#[test]
fn observable_and_unobservable_hazards_are_counted_apart_and_delays_cover_late_ones() {
    let dark = |post: &str| Hazard { observable: false, ..hazard(post) };
    let hazards = [hazard("P1"), hazard("P2"), hazard("P3"), hazard("P4"), dark("P5"), dark("P6")];
    let after = |post: &str, seconds: i64| leak(post, T + Millis::seconds(seconds));
    let told = [after("P1", -20), after("P2", 30), after("P3", 60), after("P4", 3600), after("P6", 90)];
    let scores = plain(&hazards, &told);
    let counts = |group: &super::Group| (group.hazards, group.found, group.late, group.missed);
    assert_eq!(counts(&scores.all), (6, 4, 1, 1));
    assert_eq!(counts(&scores.observable), (4, 3, 1, 0));
    assert_eq!(counts(&scores.unobservable), (2, 1, 0, 1));
    assert_eq!(scores.observable.recall(), Some(0.75));
    let delay = scores.all.delay.unwrap();
    let seconds = [delay.min, delay.median, delay.p90, delay.max].map(Millis::as_seconds);
    assert_eq!((delay.count, seconds), (5, [-20, 60, 3600, 3600]));
    assert_eq!(scores.observable.delay.unwrap().median, Millis::seconds(45), "mean of the middle two");
    assert_eq!(plain(&[], &[]).all.recall(), None);
}

#[test]
fn messages_are_counted_per_person_over_ten_minutes_and_voice_and_chat_of_one_telling_are_one() {
    let message = |to: &str, telling: &str, seconds: i64| Message {
        to: to.to_owned(),
        telling: telling.to_owned(),
        at: T + Millis::seconds(seconds),
    };
    let sent = [
        message("desk", "a", 0),
        message("desk", "a", 2),
        message("desk", "b", 599),
        message("desk", "c", 600),
        message("crew-1", "a", 1),
    ];
    let messages = score(&[], &[], Some(&sent), None, None).messages.unwrap();
    assert_eq!((messages.count, messages.people, messages.max, messages.p99), (4, 2, 2, 2));
    assert_eq!(messages.busiest.as_deref(), Some("desk"));
    assert_eq!(plain(&[], &[]).messages, None);
    let none = score(&[], &[], Some(&[]), None, None).messages.unwrap();
    assert_eq!((none.count, none.max, none.p99), (0, 0, 0));
}

#[test]
fn late_arrivals_are_split_into_system_capacity_and_crew() {
    let minutes = |n| T + Millis::minutes(n);
    let gone = |post: &str, told_min: i64, crew: Option<&str>, arrived: Option<i64>| {
        let mut told = leak(post, minutes(told_min));
        told.going = Going {
            crew: crew.map(str::to_owned),
            due_at: Some(minutes(30)),
            arrived_at: arrived.map(minutes),
            made_safe_at: arrived.map(|at| minutes(at + 10)),
            breached: arrived.is_none_or(|at| at > 30),
            ..Going::default()
        };
        told
    };
    // Told as a warning and as a P1, who set out when, and came.
    let went = |post: &str, (warned, p1): (i64, i64), (crew, departed): (&str, i64), arrived: i64| {
        let mut told = gone(post, warned, Some(crew), Some(arrived));
        (told.p1_at, told.p1_notice_at) = (Some(minutes(p1)), Some(minutes(p1)));
        told.going.departed_at = Some(minutes(departed));
        told
    };
    let told = [
        gone("P1", 0, Some("A"), Some(30)),  // in time, and A is bound until 40
        gone("P2", 1, Some("A"), Some(45)),  // told in time, A was at P1: capacity
        gone("P3", 0, Some("B"), Some(35)),  // crew
        gone("P4", 8, Some("C"), Some(37)),  // 29 min after being told: system
        gone("P5", 20, Some("D"), Some(99)), // the hazard was told late: system
        gone("P6", 0, None, None),           // nobody came, no crew named
        // Told of both at once, E went to P8 first: capacity; F was told of a warning at 0, and of the P1 at 25: crew.
        went("P7", (0, 0), ("E", 16), 50),
        went("P8", (0, 0), ("E", 2), 12),
        went("P9", (0, 25), ("F", 40), 48),
        // The hazard was told late, its crew had all of its half hour from then: crew.
        Told {
            going: Going { due_at: Some(minutes(50)), ..gone("P10", 20, Some("G"), Some(99)).going },
            ..leak("P10", minutes(20))
        },
    ];
    let hazards = [hazard("P5"), hazard("P10")];
    let arrivals = plain(&hazards, &told).arrivals.unwrap();
    assert_eq!((arrivals.incidents, arrivals.arrived, arrivals.in_time, arrivals.late), (10, 9, 2, 8));
    let split = (arrivals.system, arrivals.capacity, arrivals.crew, arrivals.unknown);
    assert_eq!(split, (2, 2, 3, 1));
    let nobody = [leak("P5", T), gone("P6", 0, None, None)];
    assert_eq!(plain(&hazards, &nobody).arrivals, None, "no line says that somebody arrived");
}
