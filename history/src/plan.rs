//! What one flush writes: new parts, and the chunks of those buckets that are full.
//!
//! A bucket is closed when at least half of its rows would go into chunks, so that the rows that stay are
//! rewritten at most about once for each row that goes.
//!
//! Invariants
//! - A chunk takes the next `chunk_rows` rows of its post in the order of the journal, never more or fewer (but
//!   split where a month ends). So its borders do not depend on when a flush happens, and a flush that is
//!   repeated after a crash writes the same chunks.
//! - Every row of a bucket that is closed ends in exactly one chunk, in the bucket's one new part, or, when it
//!   cannot be read, in `damaged`.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use lampguard_model::Timestamp;
use lampguard_model::record::{self, Record};

use crate::chunk;
use crate::error::HistoryError;
use crate::month::Month;
use crate::months::NewChunk;
use crate::part::{self, BUCKETS, Batch, Run, bucket_of};
use crate::row::Row;
use crate::store::{Main, StoredPart};

/// Fewest rows that close a chunk.
const CHUNK_ROWS: u32 = 240;
/// Buckets close at 240 to 359 rows, so that posts that began together do not all close in one flush.
const CHUNK_ROWS_SPREAD: u32 = 120;

/// Rows of a chunk of this bucket.
pub(crate) fn chunk_rows(bucket: u8) -> u32 {
    CHUNK_ROWS + u32::from(bucket) * 7 % CHUNK_ROWS_SPREAD
}

/// Waiting rows of each post, by bucket.
#[derive(Debug)]
pub(crate) struct OpenRows(Vec<HashMap<Box<str>, u32, RandomState>>);

impl Default for OpenRows {
    fn default() -> Self {
        Self(vec![HashMap::default(); BUCKETS])
    }
}

impl OpenRows {
    pub(crate) fn set(&mut self, post: &str, rows: u32) {
        let bucket = &mut self.0[usize::from(bucket_of(post))];
        if rows == 0 {
            bucket.remove(post);
        } else if let Some(known) = bucket.get_mut(post) {
            *known = rows;
        } else {
            bucket.insert(post.into(), rows);
        }
    }

    fn get(&self, post: &str) -> u32 {
        self.0[usize::from(bucket_of(post))].get(post).copied().unwrap_or(0)
    }

    /// True when at least half of the bucket's rows, `added` ones included, fill chunks.
    fn is_full(&self, bucket: u8, added: &[(&str, &Run)]) -> bool {
        let size = chunk_rows(bucket);
        let open = &self.0[usize::from(bucket)];
        let (mut rows, mut filling) = (0u64, 0u64);
        let mut count = |n: u32| {
            rows += u64::from(n);
            filling += u64::from(n - n % size);
        };
        for (post, run) in added {
            count(open.get(*post).copied().unwrap_or(0) + run.rows);
        }
        // Posts with waiting rows and none in this batch; `added` is sorted by post.
        let others =
            open.iter().filter(|(post, _)| added.binary_search_by(|(added, _)| (*added).cmp(post)).is_err());
        others.for_each(|(_, n)| count(*n));
        filling > 0 && filling * 2 >= rows
    }
}

/// A part to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewPart {
    pub(crate) bucket: u8,
    pub(crate) first_seq: u64,
    pub(crate) rows: u32,
    pub(crate) t_min: Timestamp,
    pub(crate) t_max: Timestamp,
    pub(crate) data: Vec<u8>,
}

/// Everything one flush writes besides the batch's own roll-ups and gaps.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Buckets whose stored parts go.
    pub(crate) emptied: Vec<u8>,
    pub(crate) parts: Vec<NewPart>,
    pub(crate) chunks: BTreeMap<Month, Vec<NewChunk>>,
    /// Waiting rows of every post that changes.
    pub(crate) open_rows: Vec<(Box<str>, u32)>,
    /// Parts that could not be read, with their bucket.
    pub(crate) damaged: Vec<(u8, StoredPart)>,
}

/// Works out what `batch` changes. Reads the parts of the buckets that are closed, writes nothing.
pub(crate) fn plan(batch: &Batch, open: &OpenRows, main: &Main) -> Result<Plan, HistoryError> {
    let mut buckets: BTreeMap<u8, Vec<(&str, &Run)>> = BTreeMap::new();
    for (post, run) in &batch.posts {
        buckets.entry(bucket_of(post)).or_default().push((post, run));
    }
    let mut plan = Plan::default();
    for (bucket, mut runs) in buckets {
        runs.sort_unstable_by_key(|(post, _)| *post);
        if open.is_full(bucket, &runs) {
            close(bucket, &runs, main.parts(bucket)?, &mut plan);
        } else {
            for (post, run) in &runs {
                plan.open_rows.push(((*post).into(), open.get(post) + run.rows));
            }
            plan.parts.push(new_part(bucket, &runs));
        }
    }
    Ok(plan)
}

fn new_part(bucket: u8, runs: &[(&str, &Run)]) -> NewPart {
    let mut data = part::start();
    for (post, run) in runs {
        part::put_run(&mut data, post, run.rows, &run.entries);
    }
    part::finish(&mut data);
    let runs = runs.iter().map(|(_, run)| run);
    NewPart {
        bucket,
        first_seq: runs.clone().map(|run| run.first_seq).min().unwrap_or(0),
        rows: runs.clone().map(|run| run.rows).sum(),
        t_min: runs.clone().map(|run| run.t_min).min().unwrap_or_default(),
        t_max: runs.map(|run| run.t_max).max().unwrap_or_default(),
        data,
    }
}

/// Turns the rows of a bucket into chunks as far as they fill them.
fn close(bucket: u8, added: &[(&str, &Run)], stored: Vec<StoredPart>, plan: &mut Plan) {
    let mut posts: BTreeMap<&str, Vec<(u64, &[u8])>> = BTreeMap::new();
    let (sound, damaged): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|part| part::runs(&part.data).is_some());
    for part in &sound {
        for (post, _, entries) in part::runs(&part.data).unwrap_or_default() {
            posts.entry(post).or_default().extend(part::entries(entries));
        }
    }
    for (post, run) in added {
        posts.entry(post).or_default().extend(part::entries(&run.entries));
    }
    let mut carried: Vec<(&str, Run)> = Vec::new();
    // The order is that of the journal: parts follow one another, entries in a run too. No sorting by sequence:
    // rows of an earlier journal may wait here under the same numbers (`History::rewind`).
    for (post, entries) in posts {
        let (full, rest) =
            entries.as_slice().split_at(entries.len() - entries.len() % chunk_rows(bucket) as usize);
        for rows in full.chunks(chunk_rows(bucket) as usize) {
            close_chunk(bucket, post, rows, plan);
        }
        plan.open_rows.push((post.into(), rest.len() as u32));
        if let Some((first_seq, first)) = rest.first() {
            let mut run = Run::new(*first_seq, stored_ts(first));
            rest.iter().for_each(|(seq, record)| run.push(*seq, stored_ts(record), record));
            carried.push((post, run));
        }
    }
    if !carried.is_empty() {
        let runs: Vec<(&str, &Run)> = carried.iter().map(|(post, run)| (*post, run)).collect();
        plan.parts.push(new_part(bucket, &runs));
    }
    plan.emptied.push(bucket);
    plan.damaged.extend(damaged.into_iter().map(|part| (bucket, part)));
}

fn stored_ts(record: &[u8]) -> Timestamp {
    match record::decode(record::READING, record) {
        Ok(Record::Reading(reading)) => reading.stored_ts,
        _ => Timestamp::default(),
    }
}

/// Encodes the rows of one chunk, month by month.
fn close_chunk(bucket: u8, post: &str, entries: &[(u64, &[u8])], plan: &mut Plan) {
    let mut months: BTreeMap<Month, (u64, Vec<Row>)> = BTreeMap::new();
    for (seq, record) in entries {
        if let Ok(Record::Reading(reading)) = record::decode(record::READING, record) {
            let month = months.entry(Month::of(reading.stored_ts)).or_insert_with(|| (*seq, Vec::new()));
            month.1.push(Row::from(&reading));
        } else {
            let mut run = Run::new(*seq, Timestamp::default());
            run.push(*seq, Timestamp::default(), record);
            let part = new_part(bucket, &[(post, &run)]);
            plan.damaged.push((bucket, StoredPart { first_seq: *seq, rows: 1, data: part.data }));
        }
    }
    for (month, (first_seq, mut rows)) in months {
        rows.sort_by_key(|row| row.stored_ts);
        plan.chunks.entry(month).or_default().push(NewChunk {
            post: post.into(),
            t_min: rows[0].stored_ts,
            t_max: rows[rows.len() - 1].stored_ts,
            rows: rows.len() as u32,
            first_seq,
            data: chunk::encode(&rows),
        });
    }
}
