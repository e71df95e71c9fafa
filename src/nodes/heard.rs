//! What this node heard of the others: when, and what they say is wrong with them.
//!
//! Two parts of the system for each, because they mean two things. `node:ID` is the way of readings: while nothing is heard of
//! a node from which readings came, or none of its sources is connected, silence of posts says nothing. `peer:ID` is all
//! else: what it says is wrong with it, and the silence of a node that sends us no readings.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::turn::BEAT;

/// A node that was not heard for so long is told of: three signs of life that stayed away.
pub(crate) const SILENT: Duration = Duration::from_secs(3 * BEAT.as_secs());
/// Longest text of faults that another node says; the rest is cut.
const FAULTS_MAX: usize = 256;
/// A node's word for: none of my sources is connected.
pub(crate) const NO_SOURCE: &str = "sources";
/// A node's word for: the readings of this one go to its standby.
pub(crate) const TAKEN_OVER: &str = "taken_over:";

/// A part of the system: its name, whether it is good, and why not.
pub(crate) type Part = (String, bool, String);

#[derive(Clone, Debug, Default)]
struct Word {
    at: Option<Duration>,
    faults: String,
    /// Readings came from it, in this process or one before.
    receives: bool,
    /// That is written down, or under way.
    noted: bool,
}

impl Word {
    fn says(&self, fault: &str) -> bool {
        self.faults.split(' ').any(|said| said == fault)
    }
}

/// One entry for each node, by its place.
#[derive(Debug)]
pub(crate) struct Heard {
    began: Duration,
    words: Mutex<Vec<Word>>,
}

impl Heard {
    pub(crate) fn new(nodes: usize, began: Duration) -> Self {
        Self { began, words: Mutex::new(vec![Word::default(); nodes]) }
    }

    fn words(&self) -> MutexGuard<'_, Vec<Word>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node sent something.
    pub(crate) fn note(&self, node: usize, faults: &str, now: Duration) {
        if let Some(word) = self.words().get_mut(node) {
            word.at = Some(now);
            faults[..faults.floor_char_boundary(FAULTS_MAX)].clone_into(&mut word.faults);
        }
    }

    /// Readings came from a node. True when that has to be written down.
    pub(crate) fn note_readings(&self, node: usize) -> bool {
        let mut words = self.words();
        words.get_mut(node).is_some_and(|word| {
            word.receives = true;
            !std::mem::replace(&mut word.noted, true)
        })
    }

    /// It could not be written down: the next readings try again. That they came holds all the same, for its silence.
    pub(crate) fn is_not_noted(&self, node: usize) {
        if let Some(word) = self.words().get_mut(node) {
            word.noted = false;
        }
    }

    /// Nodes from which readings came.
    pub(crate) fn receivers(&self) -> Vec<usize> {
        let words = self.words();
        words.iter().enumerate().filter(|(_, word)| word.receives).map(|(node, _)| node).collect()
    }

    fn is_silent(&self, word: &Word, now: Duration) -> bool {
        now.saturating_sub(word.at.unwrap_or(self.began)) >= SILENT
    }

    /// It was heard lately.
    pub(crate) fn lives(&self, node: usize, now: Duration) -> bool {
        self.words().get(node).is_some_and(|word| word.at.is_some() && !self.is_silent(word, now))
    }

    /// The first node that was heard lately and says this.
    pub(crate) fn who_says(&self, fault: &str, now: Duration) -> Option<usize> {
        let words = self.words();
        words.iter().position(|word| word.at.is_some() && !self.is_silent(word, now) && word.says(fault))
    }

    /// A node as parts of the system. `aside` stands behind the words for its silence.
    pub(crate) fn parts(&self, node: usize, id: &str, now: Duration, aside: &str) -> Vec<Part> {
        let word = self.words().get(node).cloned().unwrap_or_default();
        let silent = self.is_silent(&word, now);
        // Without the seconds: each other text would be told anew.
        let of_silence = || format!("节点无应答 (nothing is heard of this node){aside}");
        let of_faults = || match word.faults.as_str() {
            "" => String::new(),
            faults => format!("节点报告故障 (it says): {faults}"),
        };
        let peer = |good, because| (format!("peer:{id}"), good, because);
        if !word.receives {
            let because = if silent { of_silence() } else { of_faults() };
            return vec![peer(!silent && word.faults.is_empty(), because)];
        }
        let because = match (silent, word.says(NO_SOURCE)) {
            (true, _) => of_silence(),
            (false, true) => "该节点的数据来源均未连接 (none of its sources is connected)".to_owned(),
            (false, false) => String::new(),
        };
        let mut parts = vec![(format!("node:{id}"), because.is_empty(), because)];
        if !silent {
            // Of a node that is not heard nobody knows whether what it said holds on.
            parts.push(peer(word.faults.is_empty(), of_faults()));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The names of the bad parts of node 1.
    fn bad(heard: &Heard, seconds: u64) -> Vec<String> {
        let parts = heard.parts(1, "n", at(seconds), "");
        assert!(parts.iter().all(|(_, good, because)| *good == because.is_empty()), "{parts:?}");
        parts.into_iter().filter(|(_, good, _)| !good).map(|(name, ..)| name).collect()
    }

    #[test]
    fn a_node_is_missed_after_three_signs_of_life_and_its_own_words_are_passed_on() {
        let heard = Heard::new(2, Duration::ZERO);
        assert_eq!((bad(&heard, 14), bad(&heard, 15)), (vec![], vec!["peer:n".to_owned()]));
        heard.note(1, "", at(20));
        assert!(bad(&heard, 34).is_empty() && !bad(&heard, 35).is_empty());
        heard.note(1, "broker:main", at(36));
        assert!(heard.parts(1, "n", at(37), "")[0].2.contains("broker:main"));
        heard.note(1, &"é".repeat(400), at(38));
        heard.note(7, "", at(38));
    }

    #[test]
    fn what_a_node_says_is_wrong_with_it_stops_no_clock_of_silence_but_its_own_silence_does() {
        let heard = Heard::new(2, Duration::ZERO);
        assert!(heard.note_readings(1) && !heard.note_readings(1) && !heard.note_readings(9));
        assert_eq!(heard.receivers(), [1]);
        heard.note(1, "database forward:x", at(1));
        assert_eq!(bad(&heard, 2), ["peer:n"], "its database is no way of readings");
        heard.note(1, "broker:a sources", at(3));
        assert_eq!(bad(&heard, 4), ["node:n", "peer:n"], "it hears nobody");
        heard.note(1, "", at(5));
        assert!(bad(&heard, 6).is_empty());
        assert_eq!(bad(&heard, 20), ["node:n"]);
        // A living node from which nothing ever came says nothing about the way of readings.
        let other = Heard::new(2, Duration::ZERO);
        other.note(1, "", at(0));
        assert!(other.parts(1, "n", at(1), "").iter().all(|(name, ..)| name == "peer:n"));
    }

    #[test]
    fn the_silence_of_a_node_whose_standby_this_is_says_whom_to_call() {
        let heard = Heard::new(2, Duration::ZERO);
        assert!(heard.parts(1, "n", at(15), "; call its crews")[0].2.ends_with("; call its crews"));
    }

    #[test]
    fn who_says_something_is_asked_of_those_alone_that_were_heard_lately() {
        let heard = Heard::new(2, Duration::ZERO);
        heard.note(1, "disk taken_over:east", at(1));
        assert_eq!(heard.who_says("taken_over:east", at(2)), Some(1));
        assert_eq!(heard.who_says("taken_over:eas", at(2)), None);
        assert_eq!(heard.who_says("taken_over:east", at(20)), None);
        assert!(heard.lives(1, at(2)) && !heard.lives(1, at(20)) && !heard.lives(0, at(2)));
    }
}
