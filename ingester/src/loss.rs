//! Possible losses outside our control: intervals and counts that are shown, never hidden.
//!
//! Kept in one small file that is replaced as a whole. Bounded: at the limit the two oldest entries of the
//! list become one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lampguard_model::record::Source;
use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::admit::Gap;

/// Entries kept.
pub const LOSSES_MAX: usize = 1000;
/// Gaps found within this time are one entry.
const JOIN: Millis = Millis::minutes(1);
/// Beside the book: when each broker was last known to keep our session.
const CONNECTED_FILE: &str = "last_connected.json";
/// That file is written this often while connected; a kill makes an interval longer by at most as much.
const CONNECTED_EVERY: Millis = Millis::minutes(1);

/// One interval in which readings may have been lost before they reached us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// First moment.
    pub from: Timestamp,
    /// Last moment.
    pub to: Timestamp,
    /// `broker:ID` for a lost session, `forward:ID` for what did not reach another node, else the kind of source.
    pub source: String,
    /// Readings missing by their running numbers; `null` when nobody can tell.
    pub count: Option<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    losses: Vec<Loss>,
    /// Raised at every change.
    version: u64,
    saved: u64,
}

/// When we were connected to each broker last.
#[derive(Debug, Default)]
struct Connected {
    now: BTreeMap<String, Timestamp>,
    saved: BTreeMap<String, Timestamp>,
}

/// The book of possible losses.
#[derive(Debug)]
pub struct LossBook {
    path: PathBuf,
    entries: Mutex<Entries>,
    connected: Mutex<Connected>,
}

impl LossBook {
    /// Opens the book; an unreadable one is put aside and a new one begun.
    pub fn open(path: &Path) -> Self {
        let losses = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                let aside = path.with_extension("damaged");
                tracing::warn!(path = %path.display(), aside = %aside.display(), error = %e, "book of losses is not readable");
                let _ = std::fs::rename(path, aside);
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let known = read_connected(&path.with_file_name(CONNECTED_FILE));
        Self {
            path: path.to_owned(),
            entries: Mutex::new(Entries { losses, version: 0, saved: 0 }),
            connected: Mutex::new(Connected { now: known.clone(), saved: known }),
        }
    }

    /// A book that nobody saves: for readings that came long ago.
    pub(crate) fn in_memory() -> Self {
        Self { path: PathBuf::new(), entries: Mutex::default(), connected: Mutex::default() }
    }

    /// This broker keeps our session, and we are connected.
    pub fn connected(&self, broker: &str, now: Timestamp) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        match connected.now.get_mut(broker) {
            Some(last) => *last = now,
            None => drop(connected.now.insert(broker.to_owned(), now)),
        }
    }

    /// When we were connected to this broker last, in this process or one before.
    pub fn last_connected(&self, broker: &str) -> Option<Timestamp> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).now.get(broker).copied()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every possible loss, oldest first.
    pub fn list(&self) -> Vec<Loss> {
        self.entries().losses.clone()
    }

    /// A broker had forgotten our session: what it queued for us is gone, nobody knows how much.
    pub fn session_lost(&self, broker: &str, from: Timestamp, to: Timestamp) {
        self.add(Loss { from, to, source: format!("broker:{broker}"), count: None });
    }

    /// Running numbers are missing, or a missing one came after all.
    pub fn gap(&self, source: Source, gap: Gap, seen_at: Timestamp) {
        let mut entries = self.entries();
        if gap.filled {
            let counted = |loss: &&mut Loss| loss.count.is_some_and(|count| count > 0);
            if let Some(loss) = entries.losses.iter_mut().rev().find(counted) {
                loss.count = loss.count.map(|count| count - 1);
            }
            entries.losses.retain(|loss| loss.count != Some(0));
            entries.version += 1;
            return;
        }
        let same = |loss: &&mut Loss| {
            loss.source == source.name() && loss.count.is_some() && seen_at.since(loss.to).0.abs() <= JOIN.0
        };
        if let Some(loss) = entries.losses.iter_mut().rev().take(8).find(same) {
            loss.from = loss.from.min(gap.since);
            loss.to = loss.to.max(seen_at);
            loss.count = loss.count.map(|count| count.saturating_add(gap.missing));
            entries.version += 1;
            return;
        }
        drop(entries);
        let (from, to) = (gap.since, seen_at);
        self.add(Loss { from, to, source: source.name().to_owned(), count: Some(gap.missing) });
    }

    /// Records that the journal lost on their way to another node, readings or not.
    pub fn not_forwarded(&self, node: &str, records: u64, now: Timestamp) {
        self.add(Loss { from: now, to: now, source: format!("forward:{node}"), count: Some(records) });
    }

    fn add(&self, loss: Loss) {
        let mut entries = self.entries();
        entries.losses.push(loss);
        if entries.losses.len() > LOSSES_MAX {
            let oldest = entries.losses.remove(0);
            let next = &mut entries.losses[0];
            next.from = next.from.min(oldest.from);
            next.count = next.count.zip(oldest.count).map(|(a, b)| a.saturating_add(b));
        }
        entries.version += 1;
    }

    /// Writes the book if it changed, and from time to time when we were connected. Called every few seconds.
    ///
    /// # Errors
    /// What the disk said; the book stays in memory and is written the next time.
    pub fn save(&self) -> std::io::Result<()> {
        self.save_losses()?;
        self.save_connected(CONNECTED_EVERY)
    }

    /// Writes everything that changed: at the end.
    ///
    /// # Errors
    /// What the disk said.
    pub fn save_all(&self) -> std::io::Result<()> {
        self.save_losses()?;
        self.save_connected(Millis(1))
    }

    fn save_connected(&self, every: Millis) -> std::io::Result<()> {
        let now = {
            let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
            let old = |(broker, now): (&String, &Timestamp)| {
                connected.saved.get(broker).is_none_or(|saved| now.since(*saved).0.abs() >= every.0)
            };
            if !connected.now.iter().any(old) {
                return Ok(());
            }
            connected.now.clone()
        };
        replace_file(&self.path.with_file_name(CONNECTED_FILE), &serde_json::to_vec(&now)?)?;
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).saved = now;
        Ok(())
    }

    fn save_losses(&self) -> std::io::Result<()> {
        let (version, losses) = {
            let entries = self.entries();
            if entries.version == entries.saved {
                return Ok(());
            }
            (entries.version, entries.losses.clone())
        };
        // Without the lock: the intake writes gaps into the book and must not wait for a disk.
        replace_file(&self.path, &serde_json::to_vec(&losses)?)?;
        self.entries().saved = version;
        Ok(())
    }
}

/// Without it a lost session is not noticed once; with a wrong one an interval would be wrong for good.
fn read_connected(path: &Path) -> BTreeMap<String, Timestamp> {
    let Ok(bytes) = std::fs::read(path) else {
        return BTreeMap::new();
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|e| {
        tracing::warn!(path = %path.display(), error = %e, "times of the last connections are not readable, begun anew");
        BTreeMap::new()
    })
}

/// Replaces a small file so that a crash leaves the old or the new one, never a part.
///
/// # Errors
/// What the disk said.
pub fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => std::fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn gaps_of_one_minute_are_one_entry_and_late_numbers_take_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("losses.json");
        let book = LossBook::open(&path);
        let gap = |missing| Gap { missing, filled: false, since: NOW };
        book.gap(Source::Broker, gap(3), NOW + Millis::seconds(5));
        book.gap(Source::Broker, gap(2), NOW + Millis::seconds(9));
        assert_eq!(book.list().len(), 1);
        assert_eq!(book.list()[0].count, Some(5));
        book.gap(Source::Broker, Gap { missing: 0, filled: true, since: NOW }, NOW);
        book.session_lost("main", NOW, NOW + Millis::minutes(2));
        book.save().unwrap();
        let again = LossBook::open(&path).list();
        assert_eq!(again.iter().map(|loss| loss.count).collect::<Vec<_>>(), [Some(4), None]);
        assert_eq!(again[1].source, "broker:main");
    }

    #[test]
    fn what_the_journal_lost_on_its_way_to_another_node_stands_in_the_book() {
        let book = LossBook::in_memory();
        book.not_forwarded("east", 3, NOW);
        let loss = Loss { from: NOW, to: NOW, source: "forward:east".to_owned(), count: Some(3) };
        assert_eq!(book.list(), [loss]);
    }

    #[test]
    fn the_book_is_bounded() {
        let home = tempfile::tempdir().unwrap();
        let book = LossBook::open(&home.path().join("losses.json"));
        for n in 0..1100 {
            book.gap(
                Source::Listener,
                Gap { missing: 1, filled: false, since: NOW },
                NOW + Millis::minutes(n * 5),
            );
        }
        let list = book.list();
        assert_eq!(list.len(), LOSSES_MAX);
        assert_eq!(list.iter().filter_map(|loss| loss.count).sum::<u64>(), 1100);
    }
}
