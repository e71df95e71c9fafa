use super::*;

/// The states each move is allowed in, written a second time and in another form than the table.
fn is_allowed(stage: Stage, verb: Verb) -> bool {
    use Stage::{Acknowledged, Arrived, Departed, MadeSafe, Open, Pending, Repaired, Returned, Verifying};
    let live = !is_over(stage);
    match verb {
        Verb::Help | Verb::Note => true,
        Verb::Acknowledge => stage == Open,
        Verb::Depart => matches!(stage, Open | Acknowledged),
        Verb::Arrive => matches!(stage, Open | Acknowledged | Departed),
        Verb::ConfirmArrival => live && stage.rank() >= Arrived.rank(),
        Verb::MakeSafe => live && stage.rank() >= Arrived.rank(),
        Verb::Restore => live && stage.rank() >= MadeSafe.rank(),
        Verb::Repair => live && stage.rank() >= MadeSafe.rank(),
        Verb::Verify => stage == Repaired,
        Verb::Close => stage == Verifying,
        Verb::Void => matches!(stage, Open | Acknowledged | Departed),
        Verb::Return | Verb::Pending => matches!(stage, MadeSafe | Repaired | Returned | Pending),
        Verb::Accept => live && stage != Open,
        Verb::Reassign | Verb::Shelve | Verb::RequestIsolation => live,
    }
}

/// By the desk; what only a crew can say it writes down.
fn written_down(verb: Verb, key: &str) -> Move {
    let mut m = desk(verb, key);
    m.body.on_behalf_of = is_said_for_a_crew(verb).then(|| "Crew 1".to_owned());
    m
}

#[test]
fn fault_h2_every_pair_of_state_and_move_is_allowed_or_refused_with_reason_and_state() {
    let (mut allowed, mut refused) = (0, 0);
    for stage in STAGES {
        for verb in VERBS {
            let mut life = life_in(stage);
            if verb == Verb::Restore && is_allowed(stage, verb) {
                // Restoring needs something to restore.
                let safe = life.safe.as_mut().unwrap();
                (safe.method, safe.extent) = (Method::Isolated, Some(Extent::Post));
            }
            let before = life.clone();
            let facts = Facts { signal: Signal::Normal, ..facts() };
            match apply(&life, &facts, minutes(200), &written_down(verb, "pair")) {
                Ok(applied) => {
                    assert!(is_allowed(stage, verb), "{verb:?} in {stage:?} was allowed");
                    assert_eq!(applied.outcome, Outcome::Done);
                    assert_eq!(cell(stage, verb), Cell::To(applied.life.state));
                    assert!(!applied.life.keys.is_empty());
                    allowed += 1;
                }
                Err(Refused::State { verb: named, state, reason }) => {
                    assert!(!is_allowed(stage, verb), "{verb:?} in {stage:?}: {reason}");
                    assert_eq!((named, state), (verb, stage));
                    assert!(reason.len() > 10 && !reason.contains("no such pair"), "{reason}");
                    refused += 1;
                }
                Err(other) => panic!("{verb:?} in {stage:?}: {other}"),
            }
            assert_eq!(life, before, "the life handed in is left alone");
        }
    }
    assert_eq!((allowed + refused, allowed), (STAGES.len() * VERBS.len(), 100), "refused {refused}");
}

#[test]
fn a_crew_that_was_recorded_clear_may_arrive_again_from_arrived_to_pending_and_is_clear_no_more() {
    let conditional = |stage: &Stage| matches!(cell(*stage, Verb::Arrive), Cell::IfClear(_));
    let stages: Vec<Stage> = STAGES.into_iter().filter(conditional).collect();
    use Stage::{Arrived, MadeSafe, Pending, Repaired, Returned, Verifying};
    assert_eq!(stages, [Arrived, MadeSafe, Repaired, Verifying, Returned, Pending]);
    for stage in stages {
        let mut note = crew(Verb::Note, "clear");
        note.body.clear = true;
        let clear = done(&life_in(stage), &facts(), minutes(200), &note);
        let back = done(&clear, &facts(), minutes(210), &crew(Verb::Arrive, "back"));
        assert_eq!((back.state, back.clear, back.arrived), (stage, None, clear.arrived));
    }
}

#[test]
fn words_of_states_and_moves_read_back_and_stand_once() {
    for stage in STAGES {
        assert_eq!(Stage::from_name(stage.name()), Some(stage));
        assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
    }
    for verb in VERBS {
        assert_eq!(Verb::from_name(verb.name()), Some(verb));
        assert_eq!(serde_json::to_value(verb).unwrap(), verb.name());
    }
    assert_eq!(Stage::from_name("half-open"), None);
}

#[test]
fn a_life_reads_back_from_its_json_and_an_empty_one_is_open() {
    for stage in STAGES {
        let life = life_in(stage);
        let json = serde_json::to_string(&life).unwrap();
        assert_eq!(serde_json::from_str::<Life>(&json).unwrap(), life);
    }
    assert_eq!(serde_json::from_str::<Life>("{}").unwrap(), Life::default());
}

#[test]
fn peer_p15_a_repeated_move_changes_nothing_and_a_refused_try_does_not_use_its_key_up() {
    for verb in VERBS {
        for stage in STAGES.into_iter().filter(|stage| is_allowed(*stage, verb)) {
            if verb == Verb::Restore {
                continue;
            }
            let facts = Facts { signal: Signal::Normal, ..facts() };
            let life = done(&life_in(stage), &facts, minutes(200), &written_down(verb, "once"));
            let again = apply(&life, &facts, minutes(205), &written_down(verb, "once")).unwrap();
            assert_eq!((again.outcome, &again.life), (Outcome::Again, &life), "{verb:?} in {stage:?}");
        }
    }
    let early = apply(&Life::default(), &facts(), T, &crew(Verb::MakeSafe, "k"));
    assert!(matches!(early, Err(Refused::State { .. })), "{early:?}");
    let life = life_in(Stage::Arrived);
    assert_eq!(done(&life, &facts(), minutes(9), &crew(Verb::MakeSafe, "k")).state, Stage::MadeSafe);
}
