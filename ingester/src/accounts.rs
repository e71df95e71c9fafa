//! Where every reading went: received once, and one outcome each.
//!
//! Received is counted when a message is decoded; outcomes are counted where they are decided and become
//! *settled* when the frame that carries their totals is durable. So `balanced` compares two counts that were
//! made in different places.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lampguard_model::record::{SOURCES, Source};
use lampguard_model::wire::{REFUSALS, Refusal};

/// Why a reading was turned away. Its sender keeps it, but for the retained one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// A retained message that is not fresh: acknowledged, because it is state from long ago.
    RetainedStale = 0,
    /// The journal takes nothing and memory is full: judged, not acknowledged, its sender sends it again.
    JournalStopped = 1,
    /// The sender may not publish there.
    NotAuthorised = 2,
}

/// Words of [`Refused`], in its order.
pub(crate) const REFUSED_WORDS: [&str; 3] = ["retained_stale", "journal_stopped", "not_authorised"];

impl Refused {
    /// The word used as metric label.
    pub fn word(self) -> &'static str {
        REFUSED_WORDS[self as usize]
    }
}

/// Outcomes since the data directory was made, in readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Durable in the journal.
    pub stored: u64,
    /// Already there.
    pub duplicate: u64,
    /// Refused payloads whose bytes are kept, by [`Refusal`].
    pub quarantined: [u64; REFUSALS.len()],
    /// Turned away, by [`Refused`].
    pub refused: [u64; REFUSED_WORDS.len()],
}

impl Totals {
    /// Counts refused payloads.
    pub fn quarantine(&mut self, refusal: Refusal, count: u64) {
        self.quarantined[place_of(refusal)] += count;
    }

    /// Counts readings turned away.
    pub fn refuse(&mut self, refused: Refused, count: u64) {
        self.refused[refused as usize] += count;
    }

    /// Refused payloads were read after all: they are no longer quarantined.
    pub fn release(&mut self, refusal: Refusal, count: u64) {
        let quarantined = &mut self.quarantined[place_of(refusal)];
        *quarantined = quarantined.saturating_sub(count);
    }

    /// All outcomes together.
    pub fn sum(&self) -> u64 {
        self.stored + self.duplicate + self.quarantined.iter().sum::<u64>() + self.refused.iter().sum::<u64>()
    }

    /// (reason, count) of everything quarantined so far.
    pub fn quarantined_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.iter().map(|refusal| refusal.word()).zip(self.quarantined).filter(|(_, count)| *count > 0)
    }

    /// (reason, count) of everything refused so far.
    pub fn refused_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSED_WORDS.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }

    /// The totals as they ride in a frame: a version byte, then numbers of eight bytes each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1, REFUSALS.len() as u8, REFUSED_WORDS.len() as u8]);
        let counts = [self.stored, self.duplicate].into_iter().chain(self.quarantined).chain(self.refused);
        counts.for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }

    /// Reads totals back; `None` when they were written by a version that counts otherwise.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(3)?;
        let (refusals, refused) = (usize::from(head[1]), usize::from(head[2]));
        if head[0] != 1 || refusals > REFUSALS.len() || refused > REFUSED_WORDS.len() {
            return None;
        }
        let (counts, _) = rest.as_chunks::<8>();
        let mut counts = counts.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut totals = Self { stored: counts.next()?, duplicate: counts.next()?, ..Self::default() };
        for place in 0..refusals {
            totals.quarantined[place] = counts.next()?;
        }
        for place in 0..refused {
            totals.refused[place] = counts.next()?;
        }
        Some(totals)
    }
}

fn place_of(refusal: Refusal) -> usize {
    REFUSALS.iter().position(|known| *known == refusal).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Books {
    /// Received before this process started.
    carried: u64,
    received: [u64; SOURCES.len()],
    pending: u64,
    settled: Totals,
}

/// The books of this data directory.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<Books>);

/// The books at one moment.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Readings received since the data directory was made.
    pub received: u64,
    /// Outcomes that are durable.
    pub settled: Totals,
    /// Readings on their way to the disk.
    pub pending: u64,
}

impl Statement {
    /// True when every received reading has one outcome or is pending.
    pub fn balanced(&self) -> bool {
        self.received == self.settled.sum() + self.pending
    }
}

impl Accounts {
    /// Books that go on from the totals of the last durable frame: received restarts at their sum.
    pub fn carried_on(settled: Totals) -> Self {
        Self(Mutex::new(Books { carried: settled.sum(), settled, ..Books::default() }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts readings as received and pending.
    pub(crate) fn receive(&self, source: Source, readings: u64) {
        let mut books = self.books();
        books.received[source as usize] += readings;
        books.pending += readings;
    }

    /// Settles readings that were pending: `totals` are the outcomes up to and including them.
    pub(crate) fn settle(&self, readings: u64, totals: &Totals) {
        let mut books = self.books();
        books.pending -= readings.min(books.pending);
        books.settled.clone_from(totals);
    }

    /// The books as they stand.
    pub fn statement(&self) -> Statement {
        let books = self.books();
        let received = books.carried + books.received.iter().sum::<u64>();
        Statement { received, settled: books.settled.clone(), pending: books.pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_survive_their_frame() {
        let mut totals = Totals { stored: 7, duplicate: 2, ..Totals::default() };
        totals.quarantine(Refusal::Json, 3);
        totals.refuse(Refused::JournalStopped, 1);
        let mut bytes = Vec::new();
        totals.encode(&mut bytes);
        assert_eq!(Totals::decode(&bytes), Some(totals.clone()));
        assert_eq!(Totals::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Totals::decode(&[9, 0, 0]), None);
        assert_eq!(totals.sum(), 13);
        assert_eq!(totals.quarantined_by_reason().collect::<Vec<_>>(), [("json", 3)]);
    }

    #[test]
    fn books_balance_only_when_every_reading_has_its_outcome() {
        let accounts = Accounts::carried_on(Totals { stored: 10, ..Totals::default() });
        accounts.receive(Source::Broker, 3);
        assert!(accounts.statement().balanced());
        accounts.settle(3, &Totals { stored: 12, duplicate: 1, ..Totals::default() });
        assert!(accounts.statement().balanced());
        accounts.receive(Source::Http, 2);
        accounts.settle(2, &Totals { stored: 13, duplicate: 1, ..Totals::default() });
        assert!(!accounts.statement().balanced(), "one reading has no outcome");
    }
}
