//! Writes that wait for the incident store, and the order in which they go.
//!
//! ```text
//! 1  incidents, what people did, notices, weather    as they came
//! 2  what is remembered of posts                     the newest of each post; few at a time beside 1
//! 3  a cursor                                        behind everything that came before it
//! ```
//! At dusk and at dawn every post has something to be remembered. That may take its time: an incident does not
//! wait for it, and it takes nobody's place. A cursor that overtook it would let a restart forget it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::store::Write;
use crate::writer::Ticket;

/// Writes that may wait in memory, those about posts left aside.
pub const PENDING_MAX: usize = 65_536;
/// Posts of which something may wait to be remembered, a few hundred bytes each; of further ones nothing is.
pub const MEMORIES_MAX: usize = 131_072;
/// Writes per transaction.
pub(crate) const GROUP_MAX: usize = 256;
/// So many of them are about posts when others wait.
const MEMORIES_BESIDE: usize = 32;

/// One write that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The order in which they came.
    number: u64,
    pub(crate) write: Write,
    pub(crate) ticket: Ticket,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: VecDeque<Waiting>,
    /// The newest of each post …
    memories: HashMap<Arc<str>, Waiting, RandomState>,
    /// … by the number of the oldest that it stands for.
    posts: BTreeMap<u64, Arc<str>>,
    /// The oldest cursor, and the newest.
    cursors: VecDeque<Waiting>,
    count: u64,
}

impl Pending {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.memories.len() + self.cursors.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more waits; false when it was dropped instead.
    pub(crate) fn push(&mut self, write: Write, ticket: Ticket) -> bool {
        self.count += 1;
        let waiting = Waiting { number: self.count, write, ticket };
        match &waiting.write {
            Write::Remember(memory) => {
                let post = memory.post.clone();
                if let Some(known) = self.memories.get_mut(&post) {
                    (known.write, known.ticket) = (waiting.write, waiting.ticket);
                } else if self.memories.len() < MEMORIES_MAX {
                    self.posts.insert(waiting.number, post.clone());
                    self.memories.insert(post, waiting);
                } else {
                    return false;
                }
            }
            Write::Cursor { .. } => {
                // The oldest one stays, or newer ones would hold it up for ever.
                self.cursors.truncate(1);
                self.cursors.push_back(waiting);
            }
            write if self.queue.len() >= PENDING_MAX && write.is_expendable() => return false,
            _ => self.queue.push_back(waiting),
        }
        true
    }

    /// The next transaction; empty when nothing waits.
    pub(crate) fn take(&mut self) -> Vec<Waiting> {
        let count = self.queue.len().min(GROUP_MAX);
        let mut group: Vec<Waiting> = self.queue.drain(..count).collect();
        let room = if count == 0 { GROUP_MAX } else { MEMORIES_BESIDE.min(GROUP_MAX - count) };
        for _ in 0..room {
            let Some((_, post)) = self.posts.pop_first() else { break };
            group.extend(self.memories.remove(&post));
        }
        let queued = self.queue.front().map_or(u64::MAX, |waiting| waiting.number);
        let remembered = self.posts.first_key_value().map_or(u64::MAX, |(number, _)| *number);
        let before = queued.min(remembered);
        while self.cursors.front().is_some_and(|cursor| cursor.number < before) {
            group.extend(self.cursors.pop_front());
        }
        group
    }

    /// The disk did not take them: they wait again, each at its old place.
    pub(crate) fn put_back(&mut self, group: Vec<Waiting>) {
        for mut waiting in group.into_iter().rev() {
            match &waiting.write {
                Write::Remember(memory) => {
                    let post = memory.post.clone();
                    let number = waiting.number;
                    if let Some(newer) = self.memories.remove(&post) {
                        self.posts.remove(&newer.number);
                        (waiting.write, waiting.ticket) = (newer.write, newer.ticket);
                    }
                    self.posts.insert(number, post.clone());
                    self.memories.insert(post, waiting);
                }
                Write::Cursor { .. } => {
                    self.cursors.push_front(waiting);
                    while self.cursors.len() > 2 {
                        self.cursors.remove(1);
                    }
                }
                _ => self.queue.push_front(waiting),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Habits, Memory};
    use crate::testkit::{event, incident};

    fn memory(post: usize, lit_s: u16) -> Write {
        let post = Arc::from(format!("P{post}"));
        Write::Remember(Memory { post, period_s: [0, lit_s], immersed_at: None, habits: Habits::default() })
    }

    fn open(n: usize) -> Write {
        let incident = incident(n);
        let event = event(&incident, "opened");
        Write::Open(Box::new(incident), event, Vec::new())
    }

    fn cursor(seq: u64) -> Write {
        Write::Cursor { seq, sky: String::new() }
    }

    fn pending(writes: impl IntoIterator<Item = Write>) -> Pending {
        let mut pending = Pending::default();
        writes.into_iter().for_each(|write| assert!(pending.push(write, Ticket::default())));
        pending
    }

    /// `O` an incident, `M` and its period a memory, `C` and its place a cursor.
    fn words(group: &[Waiting]) -> Vec<String> {
        let word = |waiting: &Waiting| match &waiting.write {
            Write::Remember(memory) => format!("M{}", memory.period_s[1]),
            Write::Cursor { seq, .. } => format!("C{seq}"),
            _ => "O".to_owned(),
        };
        group.iter().map(word).collect()
    }

    #[test]
    fn an_incident_goes_before_what_is_remembered_of_a_whole_city() {
        let mut pending = pending((0..100_000).map(|post| memory(post, 1)).chain([open(1)]));
        let group = pending.take();
        assert_eq!((words(&group)[0].as_str(), group.len()), ("O", 1 + MEMORIES_BESIDE));
        assert_eq!(pending.take().len(), GROUP_MAX, "alone they fill a transaction");
    }

    #[test]
    fn of_each_post_only_the_newest_waits_and_no_incident_is_dropped_for_posts() {
        let flicker = (0..30).flat_map(|round| (0..10_000).map(move |post| memory(post, round)));
        let mut pending = pending(flicker);
        assert_eq!(pending.len(), 10_000);
        assert_eq!(words(&pending.take())[0], "M29");
        for post in 10_000..MEMORIES_MAX + GROUP_MAX {
            assert!(pending.push(memory(post, 1), Ticket::default()));
        }
        assert!(!pending.push(memory(MEMORIES_MAX + GROUP_MAX, 1), Ticket::default()), "the limit");
        let weather = || Write::Weather(Arc::from("z1"), Box::default());
        assert!(pending.push(weather(), Ticket::default()), "a full list of posts is nobody else's limit");
        while pending.queue.len() < PENDING_MAX {
            pending.push(weather(), Ticket::default());
        }
        assert!(!pending.push(weather(), Ticket::default()));
        assert!(pending.push(open(1), Ticket::default()), "incidents are always kept");
    }

    #[test]
    fn a_cursor_goes_behind_everything_that_came_before_it_and_newer_ones_do_not_hold_it_up() {
        let posts = GROUP_MAX + 1;
        let mut pending =
            pending((0..posts).map(|post| memory(post, 1)).chain([cursor(1), memory(posts, 2)]));
        for seq in 2..=4 {
            pending.push(cursor(seq), Ticket::default());
        }
        assert_eq!(pending.len(), posts + 3, "the oldest cursor and the newest");
        // Newer words on posts that wait do not make them wait longer.
        pending.push(memory(posts - 1, 3), Ticket::default());
        assert!(!words(&pending.take()).iter().any(|word| word.starts_with('C')));
        assert_eq!(words(&pending.take()), ["M3", "M2", "C1", "C4"]);
        assert!(pending.is_empty());
    }

    #[test]
    fn what_the_disk_refused_waits_at_its_old_place_and_a_newer_word_on_a_post_stays_the_newer_one() {
        let mut pending = pending([memory(1, 1), open(1), memory(2, 1), cursor(1)]);
        let group = pending.take();
        assert_eq!(words(&group), ["O", "M1", "M1", "C1"]);
        for write in [memory(1, 7), open(2), cursor(2), cursor(3)] {
            pending.push(write, Ticket::default());
        }
        pending.put_back(group);
        assert_eq!((pending.len(), pending.posts.len()), (6, 2));
        let group = pending.take();
        assert_eq!(words(&group), ["O", "O", "M7", "M1", "C1", "C3"]);
        let ids = group.iter().filter_map(|waiting| match &waiting.write {
            Write::Open(incident, ..) => Some(incident.id.clone()),
            _ => None,
        });
        assert_eq!(ids.collect::<Vec<_>>(), [incident(1).id, incident(2).id], "as they came");
    }
}
