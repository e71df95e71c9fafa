//! How it goes with the nodes that are sent to: why one does not take it, and whether it has other lists than ours.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::heard::Part;
use super::way::{Answer, Cause};

#[derive(Clone, Debug, Default)]
struct Link {
    /// Why it took nothing the last time.
    cause: Option<Cause>,
    /// Our own journal is not readable: nothing goes there.
    unreadable: bool,
    /// Its register, its list of owners, are others than ours.
    register: bool,
    owners: bool,
}

/// One entry for each node, by its place.
#[derive(Debug)]
pub(crate) struct Links(Mutex<Vec<Link>>);

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        Self(Mutex::new(vec![Link::default(); nodes]))
    }

    fn links(&self) -> MutexGuard<'_, Vec<Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, node: usize, change: impl FnOnce(&mut Link)) {
        self.links().get_mut(node).map(change);
    }

    /// It answered; our own lists have these hashes. An older version says nothing of its owners.
    pub(crate) fn answered(&self, node: usize, answer: &Answer, register: &str, owners: &str) {
        self.with(node, |link| {
            link.cause = None;
            link.register = answer.register != register;
            link.owners = !answer.owners.is_empty() && answer.owners != owners;
        });
    }

    pub(crate) fn failed(&self, node: usize, cause: Cause) {
        self.with(node, |link| link.cause = Some(cause));
    }

    pub(crate) fn set_unreadable(&self, node: usize, unreadable: bool) {
        self.with(node, |link| link.unreadable = unreadable);
    }

    /// The parts of a node that is sent to; `up` when it takes what it is sent.
    pub(crate) fn parts(&self, node: usize, id: &str, up: bool) -> [Part; 2] {
        let link = self.links().get(node).cloned().unwrap_or_default();
        let because = match (up, link.unreadable, link.cause) {
            (true, ..) => String::new(),
            (false, true, _) => {
                "本机流水不可读，未转送 (our own journal is not readable, nothing is forwarded)".to_owned()
            }
            (false, false, cause) => cause.unwrap_or(Cause::Silent).words().to_owned(),
        };
        let differs = match (link.register, link.owners) {
            (false, false) => "",
            (true, false) => {
                "台账与该节点不一致 (its register is another one than ours: give all nodes the same posts.csv)"
            }
            (_, true) => {
                "节点归属表与该节点不一致，可能有灯杆无人判定 (its list of owners is another one than ours: a post may be nobody's or two \
                 nodes'; write the same [[nodes.peer]] on all)"
            }
        };
        [
            (format!("forward:{id}"), up, because),
            (format!("register:{id}"), differs.is_empty(), differs.to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_goes_there_and_that_lists_differ_are_said_and_end_with_the_next_good_answer() {
        let links = Links::new(2);
        let answer = |register: &str, owners: &str| Answer {
            register: register.to_owned(),
            owners: owners.to_owned(),
            ..Answer::default()
        };
        let bad = |up: bool| -> String {
            let parts = links.parts(1, "east", up);
            parts
                .into_iter()
                .filter(|(_, good, _)| !good)
                .map(|(part, _, because)| format!("{part} {because};"))
                .collect()
        };
        links.answered(1, &answer("r", "o"), "r", "o");
        assert_eq!(bad(true), "");
        links.failed(1, Cause::Refused);
        assert!(bad(false).contains("forward:east") && bad(false).contains("token"), "{}", bad(false));
        links.set_unreadable(1, true);
        assert!(bad(false).contains("not readable"));
        links.set_unreadable(1, false);
        links.answered(1, &answer("r", "other"), "r", "o");
        assert!(bad(true).starts_with("register:east") && bad(true).contains("owners"), "{}", bad(true));
        links.answered(1, &answer("other", "o"), "r", "o");
        assert!(bad(true).contains("posts.csv"));
        links.answered(1, &answer("r", ""), "r", "o");
        assert_eq!(bad(true), "", "an older version");
    }
}
