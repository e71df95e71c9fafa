//! Rows that wait for their chunk: in memory until the next flush, then in parts in the main database.
//!
//! ```text
//! part   crc32c u32 (of all that follows) · run run …           the rows of one bucket of posts, one flush
//! run    post: length u8, bytes · rows varint · length varint · entries
//! entry  journal sequence varint · length varint · the journal's own record of a reading
//! ```
//!
//! Invariants
//! - A run holds the rows of one post in ascending journal sequence; parts of a bucket follow one another.
//! - An entry's record was decodable when it was taken in.
//!
//! Why buckets (by arithmetic): one part per post and flush would dirty a page of its own for each of 3,000 posts,
//! 12 MB a minute for 0.8 MB of rows; with 256 buckets the parts of a flush lie side by side.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use lampguard_model::record::put_varint;
use lampguard_model::{StoredReading, Timestamp};

use crate::chunk::Input;
use crate::rollup::Rollups;

/// Number of buckets; on disk, never change it.
pub(crate) const BUCKETS: usize = 256;

/// The bucket of a post.
pub(crate) fn bucket_of(post: &str) -> u8 {
    (crc32c::crc32c(post.as_bytes()) % BUCKETS as u32) as u8
}

/// The rows of one post that are in memory.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) rows: u32,
    pub(crate) first_seq: u64,
    pub(crate) t_min: Timestamp,
    pub(crate) t_max: Timestamp,
    pub(crate) entries: Vec<u8>,
}

impl Run {
    pub(crate) fn new(seq: u64, stored_ts: Timestamp) -> Self {
        Self { rows: 0, first_seq: seq, t_min: stored_ts, t_max: stored_ts, entries: Vec::new() }
    }

    pub(crate) fn push(&mut self, seq: u64, stored_ts: Timestamp, record: &[u8]) {
        self.rows += 1;
        self.t_min = self.t_min.min(stored_ts);
        self.t_max = self.t_max.max(stored_ts);
        put_varint(&mut self.entries, seq);
        put_varint(&mut self.entries, record.len() as u64);
        self.entries.extend_from_slice(record);
    }
}

/// What was taken in between two flushes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Durable cursor on which it builds; `None` for the very first batch.
    pub(crate) base: Option<u64>,
    /// Cursor after it.
    pub(crate) end: u64,
    pub(crate) rows: usize,
    pub(crate) posts: HashMap<Box<str>, Run, RandomState>,
    pub(crate) rollups: Rollups,
    /// Journal sequences that never came: from, until before.
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Batch {
    pub(crate) fn starting_at(base: Option<u64>) -> Self {
        Self { base, end: base.unwrap_or(0), ..Self::default() }
    }

    /// True when there is nothing to write, not even a cursor that moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.base.unwrap_or(0) == self.end && self.gaps.is_empty()
    }

    pub(crate) fn push(&mut self, seq: u64, reading: &StoredReading<'_>, record: &[u8]) {
        if !self.posts.contains_key(reading.post) {
            self.posts.insert(reading.post.into(), Run::new(seq, reading.stored_ts));
        }
        if let Some(run) = self.posts.get_mut(reading.post) {
            run.push(seq, reading.stored_ts, record);
        }
        self.rollups.add(reading);
        self.rows += 1;
    }
}

/// Starts a part; runs follow by [`put_run`], the checksum by [`finish`].
pub(crate) fn start() -> Vec<u8> {
    vec![0; 4]
}

/// Appends one run.
pub(crate) fn put_run(out: &mut Vec<u8>, post: &str, rows: u32, entries: &[u8]) {
    out.push(post.len() as u8);
    out.extend_from_slice(post.as_bytes());
    put_varint(out, u64::from(rows));
    put_varint(out, entries.len() as u64);
    out.extend_from_slice(entries);
}

/// Puts the checksum in front.
pub(crate) fn finish(part: &mut [u8]) {
    let crc = crc32c::crc32c(&part[4..]);
    part[..4].copy_from_slice(&crc.to_le_bytes());
}

/// The runs of a part: post, rows, entries. `None` when it is damaged.
pub(crate) fn runs(part: &[u8]) -> Option<Vec<(&str, u32, &[u8])>> {
    let (crc, body) = part.split_first_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut input = Input { rest: body };
    let mut runs = Vec::new();
    while !input.rest.is_empty() {
        let length = usize::from(input.u8()?);
        let post = std::str::from_utf8(input.take(length)?).ok()?;
        let rows = u32::try_from(input.varint()?).ok()?;
        let length = usize::try_from(input.varint()?).ok()?;
        runs.push((post, rows, input.take(length)?));
    }
    Some(runs)
}

/// The entries of a run: journal sequence and record; ends early at bytes that are no entry.
pub(crate) fn entries(run: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut input = Input { rest: run };
    std::iter::from_fn(move || {
        let seq = input.varint()?;
        let length = usize::try_from(input.varint()?).ok()?;
        Some((seq, input.take(length)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_back_and_every_flipped_bit_is_noticed() {
        let mut run = Run::new(7, Timestamp(5));
        run.push(7, Timestamp(5), b"one");
        run.push(9, Timestamp(3), b"");
        assert_eq!((run.t_min, run.t_max, run.rows), (Timestamp(3), Timestamp(5), 2));
        let mut part = start();
        put_run(&mut part, "P1", run.rows, &run.entries);
        put_run(&mut part, "P2", 0, &[]);
        finish(&mut part);
        let read = runs(&part).unwrap();
        assert_eq!(read, [("P1", 2, &run.entries[..]), ("P2", 0, &[][..])]);
        assert_eq!(entries(read[0].2).collect::<Vec<_>>(), [(7, &b"one"[..]), (9, &b""[..])]);
        for at in 0..part.len() {
            let mut flipped = part.clone();
            flipped[at] ^= 4;
            assert!(runs(&flipped).is_none(), "byte {at}");
            assert!(runs(&part[..at]).is_none(), "cut at {at}");
        }
    }
}
