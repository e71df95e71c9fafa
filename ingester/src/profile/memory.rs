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

/// Edge nodes whose aliases are known at a time; for a further one the node heard longest ago is forgotten, and its data
/// by alias is quarantined.
pub const NODES_MAX: usize = 4096;
/// Aliases of one edge node and its devices; further ones are not learned.
pub const NODE_ALIASES_MAX: usize = 10_000;
/// Aliases of all edge nodes together, some 40 bytes each; beyond it as with nodes.
pub const ALIASES_MAX: usize = 500_000;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Place among the profile's fields, or behind them among its flags; `None` for what no field is named for.
    pub(super) slot: Option<u16>,
    /// Sparkplug's number of its type.
    pub(super) datatype: u32,
}

/// What an alias stands for, and by the birth of which time.
#[derive(Clone, Copy, Debug)]
struct Known {
    meaning: Meaning,
    told_at: Timestamp,
}

/// What the birth of an edge node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Birth {
    /// Its time, unless that cannot be.
    pub(super) at: Option<Timestamp>,
    /// Number of its session.
    pub(super) bd_seq: Option<u64>,
    /// Alias by which that number may be told later.
    pub(super) bd_alias: Option<u64>,
}

/// What is kept of one edge node.
#[derive(Debug, Default)]
pub(super) struct Node {
    aliases: HashMap<u64, Known, FixedState>,
    /// Its last birth, once it came.
    pub(super) birth: Birth,
    /// Its last running number, 0 to 255, and when it came.
    seq: Option<(u8, Timestamp)>,
    heard_at: Timestamp,
}

/// All that decoders keep between messages.
#[derive(Debug, Default)]
pub struct Memory {
    nodes: HashMap<Key, Node, FixedState>,
    /// Of each origin that has forgotten us, the connection at which that was found; as many as there are brokers.
    forgotten: HashMap<u64, u64, FixedState>,
    /// Aliases of all nodes.
    aliases: usize,
    /// Running numbers that were left out by the message at hand.
    gap: Gap,
    /// Nodes that were pushed out, and aliases that found no room.
    lost: u64,
}

/// Which node, from where: two brokers may have one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    origin: u64,
    /// Of its profile too: two profiles name other fields.
    name: u64,
}

impl Key {
    pub(super) fn new(origin: u64, profile: &str, group: &str, node: &str) -> Self {
        Self { origin, name: FixedState::default().hash_one((profile, group, node)) }
    }
}

/// What stands for a source of that name.
pub fn origin_of(id: &str) -> u64 {
    FixedState::default().hash_one(id)
}

impl Memory {
    /// Running numbers that were missing before the message that was decoded last.
    pub fn take_gap(&mut self) -> Option<Gap> {
        let gap = std::mem::take(&mut self.gap);
        (gap.missing > 0).then_some(gap)
    }

    /// Edge nodes and aliases that are known, and how often something found no room.
    pub fn size(&self) -> (usize, usize, u64) {
        (self.nodes.len(), self.aliases, self.lost)
    }

    /// A message of this connection has come; at connection `forgotten_at` the other side had forgotten us. A birth that
    /// came meanwhile is missed, so the first message from then on finds no alias of that origin.
    pub(crate) fn session(&mut self, origin: u64, forgotten_at: u64, connection: u64) {
        let known = self.forgotten.get(&origin).copied().unwrap_or(0);
        if forgotten_at <= known || connection < forgotten_at {
            return;
        }
        self.forgotten.insert(origin, forgotten_at);
        self.nodes.retain(|key, _| key.origin != origin);
        self.aliases = self.nodes.values().map(|node| node.aliases.len()).sum();
    }

    /// For what comes out of quarantine nobody knows any more from where it came: the only node of that name, where
    /// there is one.
    pub(super) fn only(&self, key: Key) -> Key {
        let mut named = self.nodes.keys().filter(|known| known.name == key.name);
        match (named.next(), named.next()) {
            (Some(only), None) => *only,
            _ => key,
        }
    }

    /// A message of that node has come.
    pub(super) fn hear(&mut self, key: Key, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.heard_at = now;
        }
    }

    pub(super) fn node(&self, key: Key) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// A birth of the node itself: what it was known by before no longer holds. What its devices told behind it does,
    /// though it came first: between topics no broker keeps an order. False for the birth that is known, told again (a
    /// second subscription, what a broker keeps), and for one from before it: they end and begin nothing.
    pub(super) fn born(&mut self, key: Key, birth: Birth, now: Timestamp) -> bool {
        let node = self.room_for(key, now);
        let known = std::mem::replace(&mut node.birth, birth);
        if let (Some(at), Some(before)) = (birth.at, known.at)
            && at <= before
        {
            node.birth = known;
            return false;
        }
        let count = node.aliases.len();
        node.aliases.retain(|_, known| birth.at.is_some_and(|at| known.told_at >= at));
        node.seq = None;
        let gone = count - node.aliases.len();
        self.aliases -= gone;
        true
    }

    /// True for a birth from before the one that its node is known by: its numbers may mean other things now.
    pub(super) fn is_outdated(&self, key: Key, at: Option<Timestamp>) -> bool {
        let known = self.nodes.get(&key).and_then(|node| node.birth.at);
        known.is_some_and(|known| at.is_some_and(|at| at < known))
    }

    /// What an alias stands for from now on, by a birth of that time.
    pub(super) fn learn(
        &mut self,
        key: Key,
        alias: u64,
        meaning: Meaning,
        told_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        if self.is_outdated(key, told_at) {
            return;
        }
        let known = Known { meaning, told_at: told_at.unwrap_or_default() };
        let node = self.room_for(key, now);
        if let Some(before) = node.aliases.get_mut(&alias) {
            if told_at.is_none() || before.told_at <= known.told_at {
                *before = known;
            }
            return;
        }
        let full = node.aliases.len() >= NODE_ALIASES_MAX;
        while !full && self.aliases >= ALIASES_MAX && self.push_out(key, |node| !node.aliases.is_empty()) {}
        if full || self.aliases >= ALIASES_MAX {
            self.lost += 1;
            return;
        }
        self.room_for(key, now).aliases.insert(alias, known);
        self.aliases += 1;
    }

    /// The node; for a new one the node heard longest ago goes, when there is no room.
    fn room_for(&mut self, key: Key, now: Timestamp) -> &mut Node {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&key) {
            self.push_out(key, |_| true);
        }
        self.nodes.entry(key).or_insert_with(|| Node { heard_at: now, ..Node::default() })
    }

    /// Forgets the node heard longest ago, of those that `may` go and are not `key`; false when there is none.
    fn push_out(&mut self, key: Key, may: impl Fn(&Node) -> bool) -> bool {
        let others = self.nodes.iter().filter(|(other, node)| **other != key && may(node));
        let Some(oldest) = others.min_by_key(|(other, node)| (node.heard_at, **other)).map(|(key, _)| *key)
        else {
            return false;
        };
        self.forget(oldest);
        self.lost += 1;
        true
    }

    /// The node's session has ended.
    pub(super) fn forget(&mut self, key: Key) {
        if let Some(node) = self.nodes.remove(&key) {
            self.aliases -= node.aliases.len();
        }
    }

    /// The node's running number, 0 to 255 and round again. Numbers that lie behind are repeats.
    pub(super) fn count(&mut self, key: Key, seq: u8, now: Timestamp) {
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
        self.aliases.get(&alias).map(|known| known.meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Meaning = Meaning { slot: Some(0), datatype: 9 };

    fn key(node: u64) -> Key {
        Key { origin: 0, name: node }
    }

    fn at(ms: i64) -> Birth {
        Birth { at: Some(Timestamp(ms)), ..Birth::default() }
    }

    fn knows(memory: &Memory, node: u64, alias: u64) -> bool {
        memory.node(key(node)).is_some_and(|node| node.meaning(alias).is_some())
    }

    #[test]
    fn a_flood_of_births_pushes_out_the_nodes_heard_longest_ago_and_no_more_than_its_share() {
        let mut memory = Memory::default();
        for node in 0..NODES_MAX as u64 {
            memory.born(key(node), at(1), Timestamp(node as i64));
        }
        memory.hear(key(0), Timestamp(1_000_000));
        for made_up in 0..10 {
            memory.born(key(1_000_000 + made_up), at(1), Timestamp(2_000_000));
        }
        assert_eq!(memory.size(), (NODES_MAX, 0, 10));
        assert!(
            memory.node(key(0)).is_some() && memory.node(key(1)).is_none() && memory.node(key(11)).is_some()
        );
        let now = Timestamp(3_000_000);
        let fill = |memory: &mut Memory, node| {
            (0..NODE_ALIASES_MAX as u64 + 5)
                .for_each(|alias| memory.learn(key(node), alias, SOME, Some(Timestamp(1)), now));
            memory.hear(key(node), now + lampguard_model::Millis(node as i64));
        };
        fill(&mut memory, 0);
        assert_eq!(memory.size(), (NODES_MAX, NODE_ALIASES_MAX, 15));
        (20..80).for_each(|node| fill(&mut memory, node));
        assert_eq!(memory.size().1, ALIASES_MAX);
        assert!(
            memory.node(key(0)).is_none() && memory.node(key(79)).is_some(),
            "the one with aliases heard longest ago went"
        );
        // A known alias is told anew although there is no room for another.
        memory.learn(key(79), 3, Meaning { slot: None, datatype: 1 }, Some(Timestamp(2)), now);
        assert_eq!(memory.node(key(79)).unwrap().meaning(3), Some(Meaning { slot: None, datatype: 1 }));
        (0..80).for_each(|node| memory.forget(key(node)));
        assert_eq!(memory.size().1, 0);
    }

    #[test]
    fn a_birth_forgets_only_what_was_told_before_it_and_an_older_one_nothing() {
        let mut memory = Memory::default();
        let now = Timestamp(9_000);
        let learn =
            |memory: &mut Memory, alias, ms| memory.learn(key(1), alias, SOME, Some(Timestamp(ms)), now);
        learn(&mut memory, 1, 900);
        // A device's birth overtakes that of its node.
        learn(&mut memory, 2, 1_001);
        assert!(memory.born(key(1), at(1_000), now));
        assert!(!knows(&memory, 1, 1) && knows(&memory, 1, 2));
        memory.count(key(1), 5, now);
        assert!(
            !memory.born(key(1), at(1_000), now) && !memory.born(key(1), at(500), now),
            "again, and an old one"
        );
        assert!(knows(&memory, 1, 2));
        memory.count(key(1), 7, now);
        assert_eq!(memory.take_gap().map(|gap| gap.missing), Some(1), "its numbers go on");
        learn(&mut memory, 3, 400);
        assert!(!knows(&memory, 1, 3), "a device's birth of an older session teaches nothing");
        let other = Meaning { slot: None, datatype: 1 };
        memory.learn(key(1), 2, other, Some(Timestamp(1_000)), now);
        assert_eq!(memory.node(key(1)).unwrap().meaning(2), Some(SOME), "nor an older birth of the device");
        assert!(memory.born(key(1), Birth::default(), now), "a birth whose time cannot be: nothing is kept");
        assert_eq!(memory.size(), (1, 0, 0));
    }

    #[test]
    fn running_numbers_go_round_and_repeats_are_no_gap() {
        let mut memory = Memory::default();
        memory.born(key(1), Birth::default(), Timestamp(0));
        let mut missing = |seq, ms| {
            memory.count(key(1), seq, Timestamp(ms));
            memory.take_gap().map(|gap| (gap.missing, gap.since.0))
        };
        let told: Vec<_> =
            [(0, 1), (1, 2), (4, 3), (4, 4), (3, 5), (255, 6), (0, 7)].map(|(s, t)| missing(s, t)).into();
        // 255 after 4 lies behind: a repeat of the round before.
        assert_eq!(told, [None, None, Some((2, 2)), None, None, None, None]);
        assert_eq!(missing(6, 8), Some((1, 3)));
    }

    #[test]
    fn two_brokers_share_no_alias_and_a_lost_session_empties_its_own_alone() {
        let (mut memory, now) = (Memory::default(), Timestamp(9_000));
        let [a, b] = ["a", "b"].map(|id| Key::new(origin_of(id), "sparkplug", "G", "N1"));
        memory.learn(a, 1, SOME, Some(Timestamp(1)), now);
        assert!(memory.node(b).is_none());
        assert_eq!(
            memory.only(Key::new(7, "sparkplug", "G", "N1")),
            a,
            "out of quarantine: there is one alone"
        );
        memory.learn(b, 1, SOME, Some(Timestamp(1)), now);
        memory.learn(b, 2, SOME, Some(Timestamp(1)), now);
        let unknown = Key::new(7, "sparkplug", "G", "N1");
        assert_eq!(memory.only(unknown), unknown, "nobody can tell which");
        // What was read before the session was lost may still be on its way.
        memory.session(b.origin, 5, 4);
        assert_eq!(memory.size(), (2, 3, 0));
        memory.session(b.origin, 5, 5);
        assert!(memory.node(a).is_some() && memory.node(b).is_none());
        assert_eq!(memory.size(), (1, 1, 0));
        memory.learn(b, 1, SOME, Some(Timestamp(1)), now);
        memory.session(b.origin, 5, 5);
        memory.session(b.origin, 5, 6);
        assert!(memory.node(b).is_some(), "forgotten once");
    }
}
