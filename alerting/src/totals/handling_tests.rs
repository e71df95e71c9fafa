use super::*;
use crate::engine::tests::mix;
use crate::life::tests::{crew, desk, done, facts, minutes};
use crate::life::{Passed, Verb};

/// Seconds of each stage; none where it was not gone through.
fn seconds(life: &Life) -> [Option<i64>; 6] {
    Handling::of(life).stages.map(|stage| (stage.count == 1).then(|| stage.time.as_seconds()))
}

fn way(verbs: &[(i64, Verb)]) -> Life {
    let mut life = Life { told_at: Some(minutes(0)), ..Life::default() };
    for (n, (minute, verb)) in verbs.iter().enumerate() {
        let key = format!("k{n}");
        let m = if *verb == Verb::Verify { desk(*verb, &key) } else { crew(*verb, &key) };
        life = done(&life, &facts(), minutes(*minute), &m);
    }
    life
}

#[test]
fn a_stage_lasts_from_the_move_before_it_and_counts_once_it_cannot_change_any_more() {
    use Verb::{Acknowledge, Arrive, Close, Depart, MakeSafe, Repair, Verify};
    let moves = [
        (2, Acknowledge),
        (5, Depart),
        (18, Arrive),
        (24, MakeSafe),
        // A barrier first, a guard later: the first one counts.
        (40, MakeSafe),
        (90, Repair),
        // Repaired anew: the last one counts, and what comes behind it.
        (100, Repair),
        (160, Verify),
        (170, Close),
    ];
    let first = [Some(120), Some(180), Some(780), Some(360)];
    for (done, _) in moves.iter().enumerate() {
        let mut wanted = [None; 6];
        if done >= 4 {
            wanted[..4].copy_from_slice(&first);
        }
        assert_eq!(seconds(&way(&moves[..done])), wanted, "{done} moves");
    }
    let [.., repaired, verified] = seconds(&way(&moves));
    assert_eq!((repaired, verified), (Some((100 - 24) * 60), Some(3600)));
    // The desk is told to go there at once: nobody acknowledged or departed by a move of its own.
    assert_eq!(seconds(&way(&[(9, Arrive), (12, MakeSafe)])), [Some(540), None, None, Some(180), None, None]);
    // Acknowledged before a message was accepted: nobody knows how long that took.
    let mut unheard = way(&[]);
    unheard.told_at = None;
    unheard = done(&unheard, &facts(), minutes(1), &crew(Arrive, "a"));
    unheard.told_at = Some(minutes(2));
    unheard = done(&unheard, &facts(), minutes(3), &crew(MakeSafe, "b"));
    assert_eq!(seconds(&unheard)[0], None);
}

#[test]
fn what_was_withdrawn_is_only_that_and_a_false_alarm_is_one_when_it_is_closed() {
    use Verb::{Arrive, Close, MakeSafe, Repair, Verify, Void};
    let quiet = crate::life::Facts { p1: false, ..facts() };
    let acknowledged = way(&[(2, Verb::Acknowledge), (3, Verb::Depart)]);
    let void = done(&acknowledged, &quiet, minutes(4), &desk(Void, "v"));
    assert_eq!(Handling::of(&void), Handling { voided: 1, ..Handling::default() });
    let mut repair = crew(Repair, "r");
    repair.body.cause = Some(FALSE.to_owned());
    let mut life = done(&way(&[(5, Arrive), (6, MakeSafe)]), &facts(), minutes(7), &repair);
    life.follows = vec![Arc::from("LG-OLD")];
    let told = |life: &Life| {
        let handling = Handling::of(life);
        (handling.repeats, handling.voided, handling.false_alarms)
    };
    assert_eq!(told(&life), (1, 0, 0), "somebody may still repair it");
    life = done(&life, &facts(), minutes(60), &desk(Verify, "d"));
    life = done(&life, &facts(), minutes(61), &desk(Close, "c"));
    assert_eq!(told(&life), (1, 0, 1));
    assert_eq!(told(&way(&[(5, Arrive)])), (0, 0, 0));
}

#[test]
fn the_way_of_an_incident_that_an_older_version_made_safe_is_told_by_its_marks_and_kept_from_then_on() {
    use Verb::{Acknowledge, Arrive, MakeSafe};
    let mut old = way(&[(2, Acknowledge), (5, Arrive), (9, MakeSafe)]);
    let wanted = seconds(&old);
    old.passed = None;
    let text = serde_json::to_string(&old).unwrap();
    assert!(!text.contains("\"passed\""), "{text}");
    let old: Life = serde_json::from_str(&text).unwrap();
    assert_eq!(seconds(&old), wanted);
    let again = done(&old, &facts(), minutes(50), &crew(MakeSafe, "again"));
    assert_eq!(seconds(&again), wanted, "and not by the later mark");
    let kept: Passed = again.passed.unwrap();
    assert_eq!((kept.made_safe_at, kept.crew), (minutes(9), None));
}

#[test]
fn further_counts_add_up_to_the_last_ones_whatever_came_in_between() {
    let seed = 21u64;
    let random = |dice: u64| {
        let mut of = Handling { repeats: dice & 1, voided: dice >> 1 & 1, ..Handling::default() };
        for (place, stage) in of.stages.iter_mut().enumerate() {
            *stage = Taken { count: dice >> (2 + place) & 1, time: Millis((dice >> 20 & 0xfff) as i64) };
        }
        let crew = OfCrew { arrived: dice >> 9 & 1, breached: dice >> 10 & 1 };
        of.crews.insert(Arc::from(["c1", "c2"][(dice >> 11) as usize % 2]), crew);
        of
    };
    let (mut sum, mut last) = (Handling::default(), Handling::default());
    for step in 0..200 {
        let before = last.clone();
        last += &random(mix(seed << 32 | step));
        let was = sum.clone();
        sum.further(&before, &last);
        assert_eq!(sum, last, "seed {seed}, step {step}");
        let pairs = || sum.stages.iter().zip(&was.stages);
        assert!(pairs().all(|(now, was)| now.count >= was.count && now.time >= was.time));
        // A count that is less than before takes nothing back.
        sum.further(&last, &Handling::default());
        assert_eq!(sum, last);
    }
}
