//! A process dies between any two steps of a telling: twenty rounds of the endurance command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::process::{run, texts};
use common::seconds;

#[test]
fn a_kill_between_any_two_steps_of_a_telling_loses_none_and_marks_what_comes_again() {
    let home = tempfile::tempdir().unwrap();
    // Another one each day; it is printed, and takes the fault back.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = (now.as_secs() / 86_400).to_string();
    let arguments = ["bench", "tellings", "--rounds", "20", "--seed", &seed];
    let (out, err) = texts(&run(home.path(), &arguments, seconds(240)));
    assert!(out.contains("rounds=20") && out.contains(" faults=0"), "seed {seed}: {out}{err}");
    let number = |key: &str| {
        let value = out.split_whitespace().find_map(|word| word.strip_prefix(&format!("{key}=")[..]));
        value.and_then(|value| value.parse::<u64>().ok()).unwrap()
    };
    // Fifteen rounds of ten messages, and five floods of words by message or list.
    assert!(number("messages_wanted") > 150 + 5 * 100, "{out}");
    assert!(number("died") >= 10, "most of the kills came in time: {out}");
}
