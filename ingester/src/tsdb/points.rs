//! Points: rows that are no readings, as lines, and those of them that wait for one database. Pure.
//!
//! They are facts worked out from what is kept elsewhere: outside the journal, outside the books of readings. What a
//! database does not take while it is down is kept here up to a limit, the newest first; older ones are given up and
//! counted. A restart of ours loses what waits.

use std::collections::VecDeque;

use lampguard_model::series::Measurement;
use lampguard_model::{Millis, Timestamp};

use super::line::{Fields, put_tag, put_thousandths};

/// Bytes of lines that wait for one database, those that it may still lose included. 4 zones and 20 incidents make some
/// 5 KiB in 30 s, the worst that is written 350 KiB: twelve hours, and twelve minutes.
pub const POINTS_BYTES_MAX: usize = 8 << 20;
/// Lines that are put together into one request.
const BATCH_BYTES: usize = 64 << 10;

/// Rows in line protocol, made once for all databases.
#[derive(Clone, Debug, Default)]
pub struct Points {
    text: Vec<u8>,
    rows: u64,
    bad: u64,
}

impl Points {
    /// Appends one row: tags in the order of the table, empty ones left out; fields in thousandths, unknown ones left
    /// out. False when nothing is left to say, or a name cannot be carried; the latter is counted.
    pub fn push(
        &mut self,
        of: &Measurement,
        at: Timestamp,
        tags: &[(&str, &str)],
        fields: &[(&str, Option<i64>)],
    ) -> bool {
        debug_assert!(tags.iter().all(|(name, _)| of.has_tag(name)), "{}: {tags:?}", of.name);
        debug_assert!(fields.iter().all(|(name, _)| of.field(name).is_some()), "{}: {fields:?}", of.name);
        let start = self.text.len();
        self.text.extend_from_slice(of.name.as_bytes());
        let said = tags.iter().filter(|(_, value)| !value.is_empty());
        let named = said.map(|(name, value)| put_tag(&mut self.text, name, value)).all(|put| put.is_ok());
        let mut row = Fields::new(&mut self.text);
        for (name, value) in fields {
            if let Some(value) = value {
                row.name(name);
                put_thousandths(row.out, *value);
            }
        }
        let told = row.finish(at);
        if !named || !told {
            self.text.truncate(start);
            self.bad += u64::from(!named);
            return false;
        }
        self.rows += 1;
        true
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that were left out because of a name.
    pub fn bad_names(&self) -> u64 {
        self.bad
    }

    /// The lines.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// A whole number as a field's value.
pub fn whole(number: u64) -> Option<i64> {
    i64::try_from(number).ok()?.checked_mul(1000)
}

/// Lines that go together.
#[derive(Debug)]
struct Batch {
    number: u64,
    text: Vec<u8>,
    rows: u64,
    /// The database had it once.
    again: bool,
}

/// What waits for one database, and what it may still lose.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiting: VecDeque<Batch>,
    /// Accepted, with the moment.
    sent: VecDeque<(Timestamp, Batch)>,
    bytes: usize,
    next: u64,
}

impl Waiting {
    /// Puts lines behind the others. Returns how many rows were given up for them.
    pub(super) fn put(&mut self, text: &[u8], rows: u64) -> u64 {
        self.bytes += text.len();
        let behind = self.waiting.len() > 1;
        match self.waiting.back_mut() {
            // The first one may be under way.
            Some(last) if behind && !last.again && last.text.len() + text.len() <= BATCH_BYTES => {
                last.text.extend_from_slice(text);
                last.rows += rows;
            }
            _ => {
                let batch = Batch { number: self.next, text: text.to_vec(), rows, again: false };
                self.waiting.push_back(batch);
                self.next += 1;
            }
        }
        self.make_room()
    }

    fn make_room(&mut self) -> u64 {
        let mut given_up = 0;
        while self.bytes > POINTS_BYTES_MAX {
            let oldest = match self.sent.pop_front() {
                Some((_, sent)) => sent,
                None => match self.waiting.pop_front() {
                    Some(batch) => batch,
                    None => break,
                },
            };
            self.bytes -= oldest.text.len();
            // What the database had once is most likely still there.
            given_up += if oldest.again { 0 } else { oldest.rows };
        }
        given_up
    }

    /// The oldest lines that wait, with their number.
    pub(super) fn first(&self) -> Option<(u64, &[u8])> {
        self.waiting.front().map(|batch| (batch.number, &*batch.text))
    }

    fn take(&mut self, number: u64) -> Option<Batch> {
        let first = self.waiting.front()?;
        if first.number == number { self.waiting.pop_front() } else { None }
    }

    /// The database took them. Returns how many rows it took for the first time.
    pub(super) fn accepted(&mut self, number: u64, now: Timestamp) -> u64 {
        // Gone meanwhile, to make room: they were counted as given up.
        let Some(mut batch) = self.take(number) else { return 0 };
        let rows = if batch.again { 0 } else { batch.rows };
        batch.again = true;
        self.sent.push_back((now, batch));
        rows
    }

    /// The database refused them: halves stand in their place, a single row is given up. Returns how many were.
    pub(super) fn refused(&mut self, number: u64) -> u64 {
        let Some(batch) = self.take(number) else { return 0 };
        let middle = batch.text.len() / 2;
        let end = batch.text[middle..].iter().position(|byte| *byte == b'\n').map(|at| middle + at + 1);
        let end = match end {
            Some(end) if end < batch.text.len() => Some(end),
            // The last row is the longer half: cut before it.
            _ => batch.text[..middle].iter().rposition(|byte| *byte == b'\n').map(|at| at + 1),
        };
        let Some(end) = end else {
            self.bytes -= batch.text.len();
            return if batch.again { 0 } else { batch.rows };
        };
        let (first, second) = batch.text.split_at(end);
        for text in [second, first] {
            let rows = text.iter().filter(|byte| **byte == b'\n').count() as u64;
            let half = Batch { number: self.next, text: text.to_vec(), rows, again: batch.again };
            self.waiting.push_front(half);
            self.next += 1;
        }
        0
    }

    /// It is another process, or may be one: what it may have lost is sent again.
    pub(super) fn again(&mut self) {
        while let Some((_, batch)) = self.sent.pop_back() {
            self.waiting.push_front(batch);
        }
    }

    /// What was accepted before `now - hold` is safe by now.
    pub(super) fn forget(&mut self, now: Timestamp, hold: Millis) {
        while self.sent.front().is_some_and(|(at, _)| now.since(*at) > hold || *at > now) {
            if let Some((_, batch)) = self.sent.pop_front() {
                self.bytes -= batch.text.len();
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes - self.sent.iter().map(|(_, batch)| batch.text.len()).sum::<usize>()
    }
}

#[cfg(test)]
#[path = "points_tests.rs"]
mod tests;
