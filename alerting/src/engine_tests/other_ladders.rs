//! The office changes its ladders while incidents climb them.

use super::ladder::{UP, at, rungs, watch};
use super::moves::raised;
use super::*;
use crate::ladder::{EscalationConfig, Ladders};
use crate::rota::Whom::{BackupCrew, Crew, Desk, Head, Neighbour, Second, Supervisor};

/// The table of the rules, with other minutes for what they write at 3 and 10, and the head every `head` minutes.
fn table(three: u32, ten: u32, head: u32) -> Ladders {
    table_and(three, ten, head, "")
}

/// The same and one more step.
fn table_and(three: u32, ten: u32, head: u32, more: &str) -> Ladders {
    let text = format!(
        "severity = \"P1\"\nsteps = [\n{{ after_min = 0, to = \"crew\" }}, {{ after_min = 0, to = \"desk\" }},\n\
         {{ after_min = 0, to = \"leader\" }}, {{ after_min = {three}, to = \"crew\" }},\n\
         {{ after_min = {three}, to = \"second\" }}, {{ after_min = 6, to = \"backup_crew\" }},\n\
         {{ after_min = 6, to = \"leader\" }}, {{ after_min = {ten}, to = \"supervisor\" }},\n\
         {{ after_min = {ten}, to = \"neighbour\" }},\n\
         {{ after_min = 5, from = \"acknowledged\", to = \"crew\" }},\n\
         {{ after_min = 10, from = \"acknowledged\", to = \"backup_crew\" }},\n\
         {{ after_min = 15, until = \"arrived\", to = \"backup_crew\" }},\n\
         {{ after_min = 30, every_min = {head}, until = \"arrived\", to = \"head\" }},\n\
         {{ after_min = 30, every_min = {head}, until = \"arrived\", to = \"desk\" }},\n\
         {{ after_min = 30, every_min = {head}, until = \"arrived\", to = \"crew\" }},\n\
         {{ after_min = 10, from = \"arrived\", to = \"crew\" }},\n\
         {{ after_min = 15, every_min = 10, from = \"arrived\", to = \"desk\" }},\n\
         {{ after_min = 15, every_min = 10, from = \"arrived\", to = \"leader\" }}{more}]\n"
    );
    let config: EscalationConfig = toml::from_str(&text).unwrap();
    Ladders::build(&[config], &["z1"]).unwrap()
}

#[test]
fn further_rungs_follow_the_new_table_what_was_told_stays_told_and_no_deadline_moves() {
    let (mut city, _) = raised();
    watch(&mut city, minutes(5), 420);
    let due_at = |city: &City| city.engine.open_incidents().next().unwrap().due_at;
    assert_eq!(rungs(&city, minutes(5)).iter().map(|rung| rung.0).collect::<Vec<_>>(), [180, 360]);
    city.effects.clear();
    city.engine.set_ladders(table(2, 9, 5));
    watch(&mut city, at(12, 1), 1800);
    assert_eq!(
        rungs(&city, minutes(5)),
        [
            // New in the table, and its time is past: at once.
            (421, 1, UP, vec![Crew, Second]),
            // That of 6 min stands in both tables: it was told.
            (540, 3, UP, vec![Supervisor, Neighbour]),
            (900, 6, UP, vec![BackupCrew]),
            (1801, 7, "incident.breached", vec![Head, Desk, Crew]),
            (2101, 7, UP, vec![Head, Desk, Crew]),
        ]
    );
    assert_eq!(due_at(&city), minutes(35));
    // Back to the rules: nothing of it was forgotten.
    city.effects.clear();
    city.engine.set_ladders(Ladders::default());
    watch(&mut city, at(42, 2), 300);
    let told: Vec<(i64, u32)> = rungs(&city, minutes(5)).iter().map(|(s, step, ..)| (*s, *step)).collect();
    assert_eq!(told, [(2222, 3), (2401, 7)], "the rung of 10 min had never been told by its own minute");
}

#[test]
fn a_rung_that_tells_one_more_person_is_told_again_and_one_that_tells_fewer_is_not() {
    let (mut city, _) = raised();
    watch(&mut city, minutes(5), 200);
    city.effects.clear();
    city.engine.set_ladders(table_and(3, 10, 10, ", { after_min = 3, to = \"neighbour\" }"));
    watch(&mut city, at(8, 21), 30);
    assert_eq!(rungs(&city, minutes(5)), [(201, 1, UP, vec![Crew, Second, Neighbour])]);
    city.effects.clear();
    city.engine.set_ladders(table(3, 10, 10));
    watch(&mut city, at(8, 52), 30);
    assert_eq!(rungs(&city, minutes(5)), [], "who is left was told already");
}

#[test]
fn a_message_of_a_longer_table_that_fails_sends_the_next_rung_of_this_one() {
    let (mut city, id) = raised();
    watch(&mut city, minutes(5), 700);
    city.engine.set_ladders(table(2, 9, 5));
    watch(&mut city, at(16, 41), 5);
    city.effects.clear();
    city.engine.delivered(at(16, 50), &id, 40, false, &mut city.effects);
    assert_eq!(rungs(&city, minutes(5)).len(), 0, "all that wait for an acknowledge were told");
    let (mut city, id) = raised();
    city.engine.delivered(minutes(6), &id, 40, false, &mut city.effects);
    assert_eq!(rungs(&city, minutes(5)), [(60, 1, UP, vec![Crew, Second])]);
}
