use lampguard_model::Timestamp;

use super::*;
use crate::policy::Flood;
use crate::rota::Person;
use crate::testkit::{T, incident};

fn parse(text: &str) -> EscalationConfig {
    toml::from_str(text).unwrap()
}

fn faults(texts: &[&str]) -> Vec<String> {
    let configs: Vec<EscalationConfig> = texts.iter().map(|text| parse(text)).collect();
    let faults = Ladders::build(&configs, &["z1"]).unwrap_err();
    faults.into_iter().map(|fault| format!("{} {}: {}", fault.place, fault.key, fault.reason)).collect()
}

const GOOD: &str = "severity = \"P1\"\nsteps = [{ after_min = 0, to = \"crew\" }, { after_min = 0, to = \"desk\" },\n\
    { after_min = 20, every_min = 10, until = \"arrived\", to = \"head\" }]\ni_accept = \"a small office\"";

#[test]
fn steps_of_one_moment_are_one_rung_and_the_opening_is_the_first() {
    let ladders = Ladders::build(&[parse(GOOD)], &["z1"]).unwrap();
    let ladder = ladders.of(&incident(1), &Register::default()).unwrap();
    assert_eq!(ladder.rungs.len(), 2);
    assert_eq!(ladder.rungs[0].to, [Whom::Crew, Whom::Desk]);
    assert_eq!((ladder.rungs[1].every, ladder.breach()), (Some(Millis::minutes(10)), Some(1)));
}

#[test]
fn faults_of_ladders_are_told_at_once_with_their_key_and_the_way_out() {
    let told = faults(&[
        "severity = \"P9\"\nsteps = []",
        "severity = \"P1\"\nzones = [\"z7\"]\nsteps = [{ after_min = 5, to = \"crew\" }]",
        "severity = \"P1\"\nsteps = [{ after_min = 0, to = \"leader\" }, { after_min = 0, to = \"leader\" },\n\
         { after_min = 9, every_min = 0, from = \"arrived\", until = \"departed\", to = \"head\" },\n\
         { after_min = 9999, to = \"head\" }]",
        GOOD,
        GOOD,
    ]);
    for part in [
        "0 severity: \"P9\" has no ladder",
        "1 zones: there is no [[zone]] with id \"z7\"",
        "1 steps: nobody is told at once",
        "2 steps[1].to: is told there already",
        "2 steps[2].until: comes before what it counts from",
        "2 steps[2].every_min: is 0",
        "2 steps[3].after_min: is 9999, more than a day",
        "2 steps: the crew is not told at once",
        "2 steps: the desk is not told at once",
        "2 steps: nobody is told when no crew arrives",
        "4 severity: P1 has a ladder there already",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part} is not told:\n{}", told.join("\n"));
    }
    let unknown =
        toml::from_str::<EscalationConfig>("severity = \"P1\"\nsteps = [{ after_min = 0, to = \"mayor\" }]");
    assert!(unknown.unwrap_err().to_string().contains("supervisor"), "the words that there are");
}

/// The table of `policy.md` 5, step by step; what is struck out of it, or told later, is weaker.
const TABLE: &str = "severity = \"P1\"
steps = [
{ after_min = 0, to = \"crew\" }, { after_min = 0, to = \"desk\" }, { after_min = 0, to = \"leader\" },
{ after_min = 3, to = \"crew\" }, { after_min = 3, to = \"second\" },
{ after_min = 6, to = \"backup_crew\" }, { after_min = 6, to = \"leader\" },
{ after_min = 10, to = \"supervisor\" }, { after_min = 10, to = \"neighbour\" },
{ after_min = 5, from = \"acknowledged\", to = \"crew\" },
{ after_min = 10, from = \"acknowledged\", to = \"backup_crew\" },
{ after_min = 15, until = \"arrived\", to = \"backup_crew\" },
{ after_min = 30, every_min = 10, until = \"arrived\", to = \"head\" },
{ after_min = 10, from = \"arrived\", to = \"crew\" },
{ after_min = 15, every_min = 10, from = \"arrived\", to = \"desk\" },
{ after_min = 15, every_min = 10, from = \"arrived\", to = \"leader\" }]
";

#[test]
fn a_ladder_weaker_than_the_table_of_the_rules_needs_a_reason_and_the_fault_says_what_is_weaker() {
    let of = |text: &str| Ladders::build(&[parse(text)], &["z1"]);
    assert_eq!(of(TABLE).unwrap().weak(), [], "the table itself");
    for (step, instead, words) in [
        (
            "{ after_min = 10, to = \"supervisor\" },",
            "",
            "after 10 min (from opened until acknowledged) it does not tell supervisor",
        ),
        // The opening does not count as the repeat of three minutes.
        (
            "{ after_min = 3, to = \"crew\" },",
            "",
            "after 3 min (from opened until acknowledged) it does not tell crew",
        ),
        ("{ after_min = 6, to = \"leader\" }", "{ after_min = 7, to = \"leader\" }", "after 6 min"),
        (
            "{ after_min = 15, until = \"arrived\",",
            "{ after_min = 15,",
            "after 15 min (from opened until arrived)",
        ),
        (
            "every_min = 10, until = \"arrived\"",
            "every_min = 11, until = \"arrived\"",
            "head again every 10 min",
        ),
        (
            "{ after_min = 10, from = \"arrived\", to = \"crew\" },",
            "",
            "(from arrived until made_safe) it does not tell crew",
        ),
    ] {
        let weak = TABLE.replace(step, instead);
        assert_ne!(weak, TABLE, "{step}");
        let told = faults(&[&weak]);
        assert_eq!(told.len(), 1, "{told:?}");
        let says = |part: &str| told[0].contains(part);
        assert!(
            says("0 steps: is weaker") && says(words) && says("i_accept = \"reason\""),
            "{words}: {told:?}"
        );
        assert_eq!(told[0].matches("it does not").count(), 1, "nothing else is weaker: {told:?}");
        let accepted = of(&format!("{weak}i_accept = \"order 3\"")).unwrap();
        assert_eq!((accepted.weak().len(), &*accepted.weak()[0].reason), (1, "order 3"));
        assert!(accepted.weak()[0].weaker[0].contains(words));
    }
    // Earlier, longer and oftener is stronger.
    let strong = TABLE
        .replace("after_min = 10, to = \"supervisor\"", "after_min = 8, every_min = 1, to = \"supervisor\"")
        .replace("after_min = 15, until = \"arrived\"", "after_min = 12, until = \"made_safe\"")
        .replace("after_min = 30, every_min = 10", "after_min = 20, every_min = 5");
    assert_eq!(of(&strong).unwrap().weak(), []);
    for (text, part) in [
        (format!("{TABLE}i_accept = \"why\""), "i_accept: accepts nothing"),
        (GOOD.replace("a small office", " "), "i_accept: is empty"),
    ] {
        assert!(faults(&[&text])[0].contains(part), "{text}");
    }
}

#[test]
fn the_default_is_the_table_of_the_rules() {
    let rows: Vec<(Since, i64, Option<i64>, Until)> = Ladder::p1()
        .rungs
        .iter()
        .map(|r| (r.since, r.after.as_seconds() / 60, r.every.map(|every| every.as_seconds() / 60), r.until))
        .collect();
    use Since::{Acknowledged, Arrived, Opened};
    let expected = [
        (Opened, 0, None, Until::Acknowledged),
        (Opened, 3, None, Until::Acknowledged),
        (Opened, 6, None, Until::Acknowledged),
        (Opened, 10, None, Until::Acknowledged),
        (Acknowledged, 5, None, Until::Departed),
        (Acknowledged, 10, None, Until::Departed),
        (Opened, 15, None, Until::Arrived),
        (Opened, 30, Some(10), Until::Arrived),
        (Arrived, 10, None, Until::MadeSafe),
        (Arrived, 15, Some(10), Until::MadeSafe),
    ];
    assert_eq!(rows, expected);
}

fn person(name: &str) -> Arc<Person> {
    Arc::new(Person { name: Arc::from(name), phone: None, channels: Vec::new() })
}

/// A list of twenty and five such lines fits into every chat.
const SHORT: fn(&str, &[Arc<str>]) -> usize = |_, _| 70;

fn later(seconds: i64) -> Timestamp {
    T + Millis::seconds(seconds)
}

/// Lists of one person over seconds, each with when it went.
fn lists(crowd: &mut Crowd, seconds: std::ops::Range<i64>) -> Vec<(i64, List)> {
    let limits = Flood::default();
    let mut found = Vec::new();
    for second in seconds {
        found.extend(
            crowd.due(later(second), &limits, |_| true, SHORT).into_iter().map(|list| (second, list)),
        );
    }
    found
}

#[test]
fn nobody_gets_more_than_ten_messages_in_ten_minutes_whoever_sent_them() {
    let (mut crowd, desk, limits) = (Crowd::default(), person("desk"), Flood::default());
    (0..10).for_each(|n| crowd.sent(&desk, true, later(n), &limits));
    for n in 0..3000 {
        crowd.add(&desk, &incident(n), Wording::default());
    }
    let lists = lists(&mut crowd, 10..3600);
    assert_eq!(lists[0].0, 600, "as soon as the first of his own messages is ten minutes old");
    let times: Vec<i64> = (0..10).chain(lists.iter().map(|(at, _)| *at)).collect();
    for at in &times {
        let within = times.iter().filter(|other| (*at..at + 600).contains(*other)).count();
        assert!(within <= 10, "{within} messages in ten minutes from second {at}");
    }
    assert!(lists.iter().all(|(_, list)| list.incidents.len() <= 20));
    assert!(lists.iter().all(|(_, list)| list.roads.len() <= 5));
}

#[test]
fn half_of_somebodys_messages_are_kept_for_lists() {
    let (mut crowd, desk, limits) = (Crowd::default(), person("desk"), Flood::default());
    for n in 0..5 {
        assert!(crowd.fits("desk", true, later(n), &limits), "{n}");
        crowd.sent(&desk, true, later(n), &limits);
    }
    assert!(!crowd.fits("desk", true, later(5), &limits));
    (0..300).for_each(|n| crowd.add(&desk, &incident(n), Wording::default()));
    let times: Vec<i64> = lists(&mut crowd, 5..590).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [5, 65, 125, 185, 245], "at once, and once a minute as long as there are some");
    assert!(crowd.fits("crew", true, later(5), &limits));
}

#[test]
fn the_most_dangerous_are_named_first_the_rest_is_counted_by_road_and_each_once() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    for n in 0..45 {
        let mut one = incident(n);
        one.evidence.thousandths = Some(12_000 + 1_000 * n as i64);
        one.road = Arc::from(if n % 3 == 0 { "平原路" } else { "人民路" });
        crowd.add(&crew, &one, Wording::default());
        // Another rung of the same is not another line.
        crowd.add(&crew, &one, Wording::default());
    }
    let lists = lists(&mut crowd, 0..600);
    let sizes: Vec<(i64, usize, usize)> =
        lists.iter().map(|(at, l)| (*at, l.incidents.len(), l.more)).collect();
    assert_eq!(sizes, [(0, 20, 25), (60, 20, 5), (120, 5, 0)]);
    assert_eq!(*lists[0].1.incidents[0], *"LG-TEST44");
    assert_eq!(lists[0].1.roads.iter().map(|(_, n)| *n).sum::<u32>(), 25);
    let mut named: Vec<&Arc<str>> = lists.iter().flat_map(|(_, list)| &list.incidents).collect();
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 45);
}

#[test]
fn what_was_named_to_somebody_stands_behind_what_was_not() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    (0..20).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    assert_eq!(lists(&mut crowd, 0..1).len(), 1);
    // Rungs of those, and a new one that is less dangerous than any of them.
    (0..20).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    let mut new = incident(99);
    new.evidence.thousandths = Some(12_500);
    crowd.add(&crew, &new, Wording::default());
    let next = lists(&mut crowd, 1..61);
    assert_eq!(*next[0].1.incidents[0], *"LG-TEST99");
}

#[test]
fn a_hundred_thousand_dangers_leave_a_thousand_waiting_and_a_count() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    (0..100_000).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    let lists = lists(&mut crowd, 0..1);
    assert_eq!((lists[0].1.incidents.len(), lists[0].1.more), (20, 99_980));
}

#[test]
fn what_is_over_is_not_named() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    (0..3).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    let lists = crowd.due(T, &Flood::default(), |id| id == "LG-TEST1", SHORT);
    assert_eq!(lists[0].incidents, [Arc::from("LG-TEST1")]);
    assert!(!crowd.is_waiting());
}

#[test]
fn words_that_call_nobody_stand_behind_the_dangers_of_a_list_push_none_out_and_have_their_own_limits() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    let aside = Wording { word: Some("incident.reassigned"), aside: true, again: false };
    (1000..1300).for_each(|n| crowd.add(&crew, &incident(n), aside));
    (0..30).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    // A danger that waits stays one, and says the word.
    crowd.add(&crew, &incident(7), aside);
    let over = Incident {
        life: crate::life::Life { state: crate::life::Stage::Void, ..Default::default() },
        ..incident(8)
    };
    crowd.add(&crew, &over, Wording { word: Some("incident.voided"), ..aside });
    let open = |id: &str| id != "LG-TEST8";
    let mut lists = Vec::new();
    for second in 0..1800 {
        lists.extend(crowd.due(later(second), &Flood::default(), open, SHORT));
    }
    let (dangers, words) = lists[0].incidents.split_at(20);
    assert!(dangers.iter().all(|id| id.len() <= "LG-TEST30".len()), "{dangers:?}");
    assert!(dangers.iter().all(|id| **id != *over.id), "what is over is none: {dangers:?}");
    assert_eq!((words, lists[0].more), (&*lists[0].aside, 9));
    assert_eq!(words.len(), 5);
    assert_eq!(lists[1].incidents.len(), 9 + 5);
    let named: Vec<&Arc<str>> = lists.iter().flat_map(|list| &list.incidents).collect();
    assert_eq!(named.len(), 29 + 100, "the newest hundred words, the rest is gone");
    assert_eq!(***named.last().unwrap(), *over.id, "that it is over is told though it is over");
    let said: Vec<&str> =
        lists.iter().flat_map(|list| list.words.values().flatten()).map(|word| &**word).collect();
    assert_eq!(said.iter().filter(|word| **word == "incident.voided").count(), 1);
    assert_eq!(said.len(), 101, "and one on the line of a danger");
    assert!(!crowd.is_waiting());
}

#[test]
fn what_became_a_p1_after_it_was_named_stands_before_what_was_not_named() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    let p2 = |n: usize| Incident { severity: Severity::P2, ..incident(n) };
    crowd.add(&crew, &p2(0), Wording::default());
    assert_eq!(lists(&mut crowd, 0..1)[0].1.incidents, [incident(0).id]);
    (1..=30).for_each(|n| crowd.add(&crew, &p2(n), Wording::default()));
    crowd.add(&crew, &incident(0), Wording::default());
    let list = lists(&mut crowd, 60..61).remove(0).1;
    assert_eq!((list.incidents[0].clone(), list.incidents.len()), (incident(0).id, 20));
    // As a P1 it was named, and so stands behind what was not.
    crowd.add(&crew, &incident(0), Wording::default());
    let list = lists(&mut crowd, 120..121).remove(0).1;
    assert_eq!(list.incidents.last(), Some(&incident(0).id));
}

#[test]
fn a_rung_is_known_by_what_it_says_and_one_of_an_older_version_by_its_place() {
    let (rules, now) = (Ladder::p1(), T);
    let mut climb: Climb =
        serde_json::from_str(&format!("{{\"told\":[{{\"step\":1,\"at\":{}}}]}}", T.0)).unwrap();
    assert_eq!(climb.told_at(1, &rules.rungs[1]), Some(T), "stored before rungs had names");
    climb.tell(2, Some(Which::of(&rules.rungs[2])), now);
    let kept: Climb = serde_json::from_str(&serde_json::to_string(&climb).unwrap()).unwrap();
    assert_eq!(kept, climb);
    // At its place another rung stands now, and it stands elsewhere.
    assert_eq!((kept.told_at(2, &rules.rungs[3]), kept.told_at(7, &rules.rungs[2])), (None, Some(T)));
    for step in 1..2000 {
        let other = Rung { after: Millis::minutes(step), ..rules.rungs[2].clone() };
        climb.tell(step as usize % 50, Some(Which::of(&other)), now);
    }
    climb.tell(0, None, now);
    assert!(climb.told.len() <= 200, "{}", climb.told.len());
    assert_eq!(climb.told_at(0, &rules.rungs[0]), Some(T));
}

#[test]
fn what_a_small_chat_would_cut_off_waits_for_the_next_list_and_words_keep_their_part() {
    let (mut crowd, crew) = (Crowd::default(), person("crew"));
    let aside = Wording { word: Some("incident.voided"), aside: true, again: false };
    (100..107).for_each(|n| crowd.add(&crew, &incident(n), aside));
    (0..30).for_each(|n| crowd.add(&crew, &incident(n), Wording::default()));
    let (mut named, mut sizes) = (Vec::new(), Vec::new());
    for minute in 0..5 {
        let bytes = |_: &str, _: &[Arc<str>]| 150;
        for list in crowd.due(later(60 * minute), &Flood::default(), |_| true, bytes) {
            sizes.push((list.incidents.len() - list.aside.len(), list.aside.len(), list.more));
            named.extend(list.incidents);
        }
    }
    // 1,800 bytes are twelve lines, a quarter of them for words.
    assert_eq!(sizes, [(9, 3, 21), (9, 3, 12), (11, 1, 1), (1, 0, 0)]);
    let once: std::collections::BTreeSet<_> = named.iter().collect();
    assert_eq!((named.len(), once.len()), (37, 37), "each is named, and once");
}
