//! What this node heard of the others: when, and what they say is wrong with them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::turn::BEAT;

/// A node that was not heard for so long is told of: three signs of life that stayed away.
pub(crate) const SILENT: Duration = Duration::from_secs(3 * BEAT.as_secs());
/// Longest text of faults that another node says; the rest is cut.
const FAULTS_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
struct Word {
    at: Option<Duration>,
    faults: String,
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

    /// A node sent something.
    pub(crate) fn note(&self, node: usize, faults: &str, now: Duration) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = words.get_mut(node) {
            word.at = Some(now);
            faults[..faults.floor_char_boundary(FAULTS_MAX)].clone_into(&mut word.faults);
        }
    }

    /// What is wrong with a node.
    ///
    /// # Errors
    /// It was not heard for [`SILENT`], or says of itself what is wrong.
    pub(crate) fn of(&self, node: usize, now: Duration) -> Result<(), String> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let word = words.get(node).cloned().unwrap_or_default();
        let silent = now.saturating_sub(word.at.unwrap_or(self.began));
        if silent >= SILENT {
            // Without the seconds: each other text would be told anew.
            return Err("节点无应答 (nothing is heard of this node)".to_owned());
        }
        if word.faults.is_empty() {
            Ok(())
        } else {
            Err(format!("节点报告故障 (it says): {}", word.faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_missed_after_three_signs_of_life_and_its_own_words_are_passed_on() {
        let heard = Heard::new(2, Duration::ZERO);
        let at = Duration::from_secs;
        assert!(heard.of(1, at(14)).is_ok() && heard.of(1, at(15)).is_err());
        heard.note(1, "", at(20));
        assert!(heard.of(1, at(34)).is_ok() && heard.of(1, at(35)).is_err());
        heard.note(1, "broker:main", at(36));
        assert!(heard.of(1, at(37)).unwrap_err().contains("broker:main"));
        heard.note(1, &"é".repeat(400), at(38));
        heard.note(7, "", at(38));
    }
}
