//! The newest reading of every post, shared by the board, the pages and history.
//!
//! Fed live, before the disk, so that the board works with a full one; saved with each flush and loaded at
//! opening. Each post costs its encoded record and about 100 bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use lampguard_model::record::{self, Record, encode_reading, identity_of};
use lampguard_model::{Field, Marks, StoredReading, Timestamp, UNREGISTERED};

use crate::part::bucket_of;
use crate::row::Row;

/// Locks are held for one part of the posts at a time, so that a walk over all keeps nobody waiting.
const SHARDS: usize = 16;

/// The newest reading of one post.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestReading {
    /// Post id; the device's own name when nobody registered it.
    pub post: Box<str>,
    /// Device id.
    pub device: Box<str>,
    /// Zone by the register at the time of the reading.
    pub zone: Box<str>,
    /// Feeder by the register at the time of the reading; empty for unregistered devices.
    pub feeder: Box<str>,
    /// Who typed it in.
    pub by: Option<Box<str>>,
    /// Times, flags, marks and values.
    pub row: Row,
    /// Fields that the last frame did not carry, with the time at which they were measured.
    pub aged: Vec<(Field, Timestamp)>,
}

impl LatestReading {
    /// A value in thousandths and when it was measured.
    pub fn value(&self, field: Field) -> Option<(i64, Timestamp)> {
        let aged = self.aged.iter().find(|(aged, _)| *aged == field).map(|(_, time)| *time);
        Some((self.row.fields.get(field)?, aged.unwrap_or_else(|| self.row.measured_at())))
    }
}

#[derive(Debug)]
struct Entry {
    measured_at: Timestamp,
    received_at: Timestamp,
    /// The reading in the journal's own form, fields of partial frames merged in.
    record: Vec<u8>,
    aged: Vec<(Field, Timestamp)>,
}

type Shard = HashMap<Box<str>, Entry, RandomState>;

#[derive(Debug)]
struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    posts: AtomicUsize,
    limit: AtomicUsize,
    refused: AtomicU64,
}

/// Shared table of the newest readings; clones see the same table.
#[derive(Clone, Debug)]
pub struct Latest {
    inner: Arc<Inner>,
}

impl Latest {
    /// An empty table for at most `limit` posts (registered ones and 10,000 unregistered devices).
    pub fn new(limit: usize) -> Self {
        let inner = Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            posts: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            refused: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on there is room for so many posts. What stands there stays.
    pub fn set_limit(&self, limit: usize) {
        self.inner.limit.store(limit, Ordering::Relaxed);
    }

    fn shard(&self, post: &str) -> MutexGuard<'_, Shard> {
        let shard = &self.inner.shards[usize::from(bucket_of(post)) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a reading in if it was measured later than what stands there (equal times: received later).
    ///
    /// A partial frame changes the fields it carries; the others keep value and time. Seeing a reading twice
    /// changes nothing. Returns false when it changed nothing: older, seen before, [`Marks::UNTRACKED`], or a
    /// new post beyond the limit, which is counted.
    pub fn observe(&self, reading: &StoredReading<'_>) -> bool {
        if reading.marks.has(Marks::UNTRACKED) {
            return false;
        }
        let measured_at = reading.measured_at();
        let mut shard = self.shard(reading.post);
        let Some(entry) = shard.get_mut(reading.post) else {
            return self.insert(&mut shard, reading);
        };
        let order = (measured_at, reading.received_at).cmp(&(entry.measured_at, entry.received_at));
        if order.is_lt() || (order.is_eq() && identity_of(&entry.record) == Some(reading.identity)) {
            return false;
        }
        if reading.marks.has(Marks::PARTIAL) {
            merge_partial(entry, reading);
        } else {
            entry.aged.clear();
            entry.record.clear();
            encode_reading(reading, &mut entry.record);
        }
        entry.measured_at = measured_at;
        entry.received_at = reading.received_at;
        true
    }

    fn insert(&self, shard: &mut Shard, reading: &StoredReading<'_>) -> bool {
        if self.inner.posts.fetch_add(1, Ordering::Relaxed) >= self.inner.limit.load(Ordering::Relaxed) {
            self.inner.posts.fetch_sub(1, Ordering::Relaxed);
            self.inner.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let mut bytes = Vec::with_capacity(160);
        encode_reading(reading, &mut bytes);
        let (measured_at, received_at) = (reading.measured_at(), reading.received_at);
        shard
            .insert(reading.post.into(), Entry { measured_at, received_at, record: bytes, aged: Vec::new() });
        true
    }

    /// The newest reading of a post.
    pub fn get(&self, post: &str) -> Option<LatestReading> {
        owned(self.shard(post).get(post)?)
    }

    /// Calls `each` for every post, in no particular order. A sixteenth of the posts is locked at a time, so
    /// `each` must not call back into this table.
    pub fn for_each(&self, mut each: impl FnMut(&LatestReading)) {
        for shard in &self.inner.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().filter_map(owned).for_each(|reading| each(&reading));
        }
    }

    /// A copy of everything, sorted by post.
    pub fn snapshot(&self) -> Vec<LatestReading> {
        let mut all = Vec::with_capacity(self.len());
        self.for_each(|reading| all.push(reading.clone()));
        all.sort_by(|a, b| a.post.cmp(&b.post));
        all
    }

    /// Number of posts.
    pub fn len(&self) -> usize {
        self.inner.posts.load(Ordering::Relaxed)
    }

    /// True without posts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Readings of new posts that were refused because the table was full.
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Forgets a post, for one that left the register.
    pub fn remove(&self, post: &str) {
        if self.shard(post).remove(post).is_some() {
            self.inner.posts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets unregistered devices that were last heard before `cutoff`; returns their names.
    pub(crate) fn forget_unregistered(&self, cutoff: Timestamp) -> Vec<Box<str>> {
        let mut gone = Vec::new();
        self.for_each(|latest| {
            if &*latest.zone == UNREGISTERED && latest.row.received_at < cutoff {
                gone.push(latest.post.clone());
            }
        });
        gone.iter().for_each(|post| self.remove(post));
        gone
    }

    /// The saved form of a post: its record, and what [`Latest::load`] needs to know about old fields.
    pub(crate) fn saved(&self, post: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let shard = self.shard(post);
        let entry = shard.get(post)?;
        let aged = entry.aged.iter().flat_map(|(field, time)| {
            let mut bytes = [*field as u8; 9];
            bytes[1..].copy_from_slice(&time.0.to_le_bytes());
            bytes
        });
        Some((entry.record.clone(), aged.collect()))
    }

    /// Puts a saved post back; false when it cannot be read.
    pub(crate) fn load(&self, record: &[u8], aged: &[u8]) -> bool {
        let Ok(Record::Reading(reading)) = record::decode(record::READING, record) else {
            return false;
        };
        self.observe(&reading);
        if let Some(entry) = self.shard(reading.post).get_mut(reading.post) {
            let (fields, _) = aged.as_chunks::<9>();
            let pair = |bytes: &[u8; 9]| {
                let time = bytes.last_chunk::<8>().map(|time| i64::from_le_bytes(*time))?;
                Some((Field::from_number(bytes[0])?, Timestamp(time)))
            };
            entry.aged = fields.iter().filter_map(pair).collect();
        }
        true
    }
}

/// Changes the fields that a partial frame carries; the others keep their value and their time.
fn merge_partial(entry: &mut Entry, reading: &StoredReading<'_>) {
    let Ok(Record::Reading(old)) = record::decode(record::READING, &entry.record) else {
        return;
    };
    let mut merged = reading.clone();
    for (field, value) in old.fields.iter() {
        if reading.fields.get(field).is_none() {
            merged.fields.set(field, value);
            if !entry.aged.iter().any(|(aged, _)| *aged == field) {
                entry.aged.push((field, entry.measured_at));
            }
        }
    }
    entry.aged.retain(|(field, _)| reading.fields.get(*field).is_none());
    let mut bytes = Vec::with_capacity(entry.record.capacity());
    encode_reading(&merged, &mut bytes);
    entry.record = bytes;
}

fn owned(entry: &Entry) -> Option<LatestReading> {
    let Ok(Record::Reading(reading)) = record::decode(record::READING, &entry.record) else {
        return None;
    };
    Some(LatestReading {
        row: Row::from(&reading),
        post: reading.post.into(),
        device: reading.device.into(),
        zone: reading.zone.into(),
        feeder: reading.feeder.into(),
        by: reading.by.map(Into::into),
        aged: entry.aged.clone(),
    })
}

#[cfg(test)]
#[path = "latest_tests.rs"]
mod tests;
