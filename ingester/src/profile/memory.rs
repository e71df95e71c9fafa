//! All that decoders keep between messages: which alias stands for which metric of a Sparkplug edge node.
//!
//! It lives in the process alone. After a restart it is empty, on purpose: a birth that was missed meanwhile may have
//! given other meanings to the same numbers, and a value in the wrong field is worse than one that waits in
//! quarantine for the next birth.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use lampguard_model::Timestamp;

use crate::admit::Gap;

/// Edge nodes whose aliases are known at a time; those of further ones are not learned, their data is quarantined.
pub const NODES_MAX: usize = 4096;
/// Aliases of one edge node and its devices; further ones are not learned.
pub const NODE_ALIASES_MAX: usize = 10_000;
/// Aliases of all edge nodes together, some 32 bytes each.
pub const ALIASES_MAX: usize = 500_000;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Place among the profile's fields, or behind them among its flags; `None` for what no field is named for.
    pub(super) slot: Option<u16>,
    /// Sparkplug's number of its type.
    pub(super) datatype: u32,
}

/// What is kept of one edge node.
#[derive(Debug, Default)]
pub(super) struct Node {
    aliases: HashMap<u64, Meaning, FixedState>,
    /// Number of its session, by its birth.
    pub(super) bd_seq: Option<u64>,
    /// Its last running number, 0 to 255, and when it came.
    seq: Option<(u8, Timestamp)>,
}

/// All that decoders keep between messages.
#[derive(Debug, Default)]
pub struct Memory {
    /// By profile and node: two profiles name other fields.
    nodes: HashMap<u64, Node, FixedState>,
    /// Aliases of all nodes.
    aliases: usize,
    /// Running numbers that were left out by the message at hand.
    gap: Gap,
    /// Births whose aliases did not all find room.
    refused: u64,
}

/// Which node of which profile.
pub(super) fn key(profile: &str, group: &str, node: &str) -> u64 {
    FixedState::default().hash_one((profile, group, node))
}

impl Memory {
    /// Running numbers that were missing before the message that was decoded last.
    pub fn take_gap(&mut self) -> Option<Gap> {
        let gap = std::mem::take(&mut self.gap);
        (gap.missing > 0).then_some(gap)
    }

    /// Edge nodes and aliases that are known, and births that did not find room.
    pub fn size(&self) -> (usize, usize, u64) {
        (self.nodes.len(), self.aliases, self.refused)
    }

    pub(super) fn node(&self, key: u64) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// A birth of the node itself: nothing that was known of it holds any longer.
    pub(super) fn born(&mut self, key: u64, bd_seq: Option<u64>) {
        self.forget(key);
        if self.nodes.len() < NODES_MAX {
            self.nodes.insert(key, Node { bd_seq, ..Node::default() });
        } else {
            self.refused += 1;
        }
    }

    /// What an alias stands for from now on.
    pub(super) fn learn(&mut self, key: u64, alias: u64, meaning: Meaning) {
        let room = self.nodes.len() < NODES_MAX || self.nodes.contains_key(&key);
        if !room || self.aliases >= ALIASES_MAX {
            self.refused += 1;
            return;
        }
        let node = self.nodes.entry(key).or_default();
        if node.aliases.len() >= NODE_ALIASES_MAX && !node.aliases.contains_key(&alias) {
            self.refused += 1;
        } else if node.aliases.insert(alias, meaning).is_none() {
            self.aliases += 1;
        }
    }

    /// The node's session has ended.
    pub(super) fn forget(&mut self, key: u64) {
        if let Some(node) = self.nodes.remove(&key) {
            self.aliases -= node.aliases.len();
        }
    }

    /// The node's running number, 0 to 255 and round again. Numbers that lie behind are repeats.
    pub(super) fn count(&mut self, key: u64, seq: u8, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let Some((last, at)) = node.seq else {
            node.seq = Some((seq, now));
            return;
        };
        let step = seq.wrapping_sub(last);
        if (1..=128).contains(&step) {
            self.gap = Gap { missing: u64::from(step - 1), filled: false, since: at };
            node.seq = Some((seq, now));
        }
    }
}

impl Node {
    pub(super) fn meaning(&self, alias: u64) -> Option<Meaning> {
        self.aliases.get(&alias).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Meaning = Meaning { slot: Some(0), datatype: 9 };

    #[test]
    fn no_flood_of_births_takes_more_than_its_share() {
        let mut memory = Memory::default();
        for node in 0..NODES_MAX as u64 + 10 {
            memory.born(node, None);
        }
        assert_eq!(memory.size(), (NODES_MAX, 0, 10));
        for alias in 0..NODE_ALIASES_MAX as u64 + 5 {
            memory.learn(0, alias, SOME);
        }
        assert_eq!(memory.size(), (NODES_MAX, NODE_ALIASES_MAX, 15));
        memory.learn(0, 3, Meaning { slot: None, datatype: 1 });
        assert_eq!(memory.node(0).unwrap().meaning(3), Some(Meaning { slot: None, datatype: 1 }));
        for node in 1..60 {
            (0..NODE_ALIASES_MAX as u64).for_each(|alias| memory.learn(node, alias, SOME));
        }
        assert_eq!(memory.size().1, ALIASES_MAX);
        (0..60).for_each(|node| memory.forget(node));
        assert_eq!(memory.size().1, 0);
    }

    #[test]
    fn running_numbers_go_round_and_repeats_are_no_gap() {
        let mut memory = Memory::default();
        memory.born(1, None);
        let mut missing = |seq, ms| {
            memory.count(1, seq, Timestamp(ms));
            memory.take_gap().map(|gap| (gap.missing, gap.since.0))
        };
        let told: Vec<_> =
            [(0, 1), (1, 2), (4, 3), (4, 4), (3, 5), (255, 6), (0, 7)].map(|(s, t)| missing(s, t)).into();
        // 255 after 4 lies behind: a repeat of the round before.
        assert_eq!(told, [None, None, Some((2, 2)), None, None, None, None]);
        assert_eq!(missing(6, 8), Some((1, 3)));
    }
}
