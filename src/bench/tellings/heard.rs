//! What people of the flood have heard, by a message of its own or on a line of a list: the same word may come either way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lampguard_alerting::notice::ISOLATION_OFFERED;
use serde_json::Value;

use super::flood::WORDS;

/// That it is a danger: rungs say it again and again.
const DANGER: &str = "danger";

/// What the offer to switch off is about, whichever incident of the feeder it stands at.
const FEEDER: &str = "the feeder";

/// One word on an incident to one person by one channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    to: String,
    channel: String,
    incident: String,
    word: String,
}

impl Word {
    fn text(&self) -> String {
        format!("{} of {} to {} by {}", self.word, self.incident, self.to, self.channel)
    }
}

/// How it came: by which process of the round, and at which attempt.
pub(super) type Came = (u64, u64);
/// Everything that came, in its order.
pub(super) type Heard = BTreeMap<Word, Vec<Came>>;

/// Notes what one message says. What people do day by day stands on the board in a flood, and that nobody is named for a
/// duty stands in a message without a word of its own.
pub(super) fn note(heard: &mut Heard, channel: &str, body: &Value, start: u64) {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let attempt = body.pointer("/notice/attempt").and_then(Value::as_u64).unwrap_or_default();
    let mut says = |incident: &str, word: &str| {
        let (to, channel) = (text("/notice/to").to_owned(), channel.to_owned());
        let incident = if word == ISOLATION_OFFERED { FEEDER } else { incident };
        let word = Word { to, channel, incident: incident.to_owned(), word: word.to_owned() };
        heard.entry(word).or_default().push((start, attempt));
    };
    if text("/event") != "digest" {
        let word = match text("/event") {
            "incident.opened" if text("/incident/kind") == "reenergised" => "incident.opened",
            "incident.opened" | "incident.escalated" | "incident.breached" | "incident.repeated" => DANGER,
            word => word,
        };
        if !text("/incident/id").is_empty() && (word == DANGER || WORDS.contains(&word)) {
            says(text("/incident/id"), word);
        }
        return;
    }
    for id in body["incidents"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        says(id, DANGER);
        let words = body["words"][id].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.filter(|word| WORDS.contains(word)).for_each(|word| says(id, word));
    }
}

/// Words that nobody has heard without a kill, though the flood is made to have them.
pub(super) fn missing(heard: &Heard) -> Vec<&'static str> {
    WORDS.into_iter().filter(|word| !heard.keys().any(|known| known.word == *word)).collect()
}

/// What the store of a process that died has events of: incident and kind.
pub(super) fn events(dir: &Path) -> BTreeSet<(String, String)> {
    let read = || -> rusqlite::Result<BTreeSet<(String, String)>> {
        let conn = rusqlite::Connection::open(dir.join("alerting").join(lampguard_alerting::store::FILE))?;
        let mut query = conn.prepare(
            "SELECT DISTINCT CASE kind WHEN 'isolation_offered' THEN ?1 ELSE incident END, kind FROM event",
        )?;
        let rows = query.query_map([FEEDER], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    // A process that died before it had a store has no events.
    read().unwrap_or_default()
}

/// Kinds of the events that say a word.
fn kinds(word: &str) -> &'static [&'static str] {
    match word {
        "incident.voided" => &["void"],
        "incident.reassigned" => &["reassign"],
        "incident.returned" => &["return"],
        "incident.restored" => &["restore"],
        "incident.help" => &["help"],
        "incident.confirm_arrival" => &["call_wanted"],
        "incident.isolation_offered" => &["isolation_offered"],
        "incident.handover" => &["shift_changed", "not_accepted"],
        _ => &["opened"],
    }
}

/// What one round shows: faults, repeats that are marked, and those of senders that had no answer. `left`: the events of
/// each process that died, in their order.
pub(super) fn judge(
    wanted: &Heard,
    heard: &Heard,
    left: &[BTreeSet<(String, String)>],
) -> (Vec<String>, usize, usize) {
    let (mut faults, mut repeats, mut resent) = (Vec::new(), 0, 0);
    for (word, once) in wanted {
        let Some(came) = heard.get(word) else {
            faults.push(format!("{} never came", word.text()));
            continue;
        };
        let first = came.iter().map(|(start, _)| *start).min().unwrap_or_default();
        // What comes more than once anyway, as a danger does at each rung, says nothing by coming again.
        let again = came.iter().filter(|(start, _)| word.word != DANGER && once.len() == 1 && *start > first);
        for (start, attempt) in again {
            let kept = |kind: &&str| {
                let event = (word.incident.clone(), (*kind).to_owned());
                left.get(*start as usize - 1).is_some_and(|left| left.contains(&event))
            };
            match attempt {
                2.. => repeats += 1,
                _ if !kinds(&word.word).iter().any(kept) => resent += 1,
                _ => faults.push(format!("{} came again from process {start} unmarked", word.text())),
            }
        }
    }
    (faults, repeats, resent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(event: &str, id: &str, attempt: u64) -> Value {
        json!({"event": event, "incident": {"id": id}, "notice": {"to": "Desk", "attempt": attempt}})
    }

    fn list(id: &str, words: &[&str], attempt: u64) -> Value {
        json!({"event": "digest", "incidents": [id], "words": {id: words}, "notice": {"to": "Desk", "attempt": attempt}})
    }

    #[test]
    fn a_word_may_come_by_a_message_or_by_a_list_and_one_that_is_missing_or_unmarked_is_a_fault() {
        let of = |all: &[(u64, Value)]| {
            let mut heard = Heard::new();
            all.iter().for_each(|(start, body)| note(&mut heard, "a", body, *start));
            heard
        };
        let wanted = of(&[(0, message("incident.opened", "I", 1)), (0, message("incident.voided", "I", 1))]);
        assert_eq!(wanted.len(), 2);
        let known = BTreeSet::from([("I".to_owned(), "void".to_owned())]);
        let by_list = of(&[(1, list("I", &["incident.voided"], 2))]);
        assert!(judge(&wanted, &by_list, std::slice::from_ref(&known)).0.is_empty());
        let (faults, ..) = judge(&wanted, &of(&[(0, list("I", &[], 1))]), &[]);
        assert!(faults.len() == 1 && faults[0].contains("voided of I to Desk by a never came"), "{faults:?}");
        let twice = |attempt| {
            of(&[(0, list("I", &["incident.voided"], 1)), (1, list("I", &["incident.voided"], attempt))])
        };
        assert_eq!(judge(&wanted, &twice(2), std::slice::from_ref(&known)), (Vec::new(), 1, 0));
        assert_eq!(judge(&wanted, &twice(1), std::slice::from_ref(&known)).0.len(), 1);
        assert_eq!(
            judge(&wanted, &twice(1), &[BTreeSet::new()]),
            (Vec::new(), 0, 1),
            "its sender had no answer"
        );
        assert!(
            missing(&wanted).contains(&"incident.help") && !missing(&wanted).contains(&"incident.voided")
        );
    }
}
