//! Appending and committing frames; rotation, trimming and recovery.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::JournalError;
use crate::disk::{Disk, DiskFile};
use crate::frame::{BODY_MAX, FrameBuf, META_MAX};
use crate::reader::Scan;
use crate::segment::{self, Name};
use crate::tail::Tail;

/// Sizes and times of a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when it is this large, bytes.
    pub segment_bytes: u64,
    /// All segments together; at the limit commits are refused and nothing is acknowledged.
    pub max_bytes: u64,
    /// Space left for others on the disk, bytes; below it commits are refused.
    pub min_free_bytes: u64,
    /// Records are kept at least this long though every follower is past them (milliseconds): the window in
    /// which duplicates are known is rebuilt from them.
    pub keep_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            max_bytes: 8 << 30,
            min_free_bytes: 256 << 20,
            keep_ms: 24 * 3_600_000,
        }
    }
}

/// Why a commit did not happen. Keep the frames and commit them again; nothing of them may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A write or sync failed, also in a new segment.
    #[error("journal: {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is nearly full.
    #[error("journal: {free} bytes free on the disk, {limit} are to stay free (journal.min_free_bytes)")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that are to stay free.
        limit: u64,
    },
    /// The journal itself is full and a follower still needs its oldest segment.
    #[error("journal: {used} bytes used of {limit} (journal.max_bytes), follower {follower} is behind")]
    JournalFull {
        /// Bytes used.
        used: u64,
        /// Bytes allowed.
        limit: u64,
        /// Who holds the oldest segment.
        follower: String,
    },
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Number for the next record.
    pub next_seq: u64,
    /// Number of the oldest record that is kept.
    pub first_seq: u64,
    /// Meta of the last frame; empty for a new journal.
    pub meta: Vec<u8>,
    /// Bytes at the end of the last segment that belong to no whole frame.
    pub torn_bytes: u64,
    /// Segments found.
    pub segments: usize,
}

struct Closed {
    name: Name,
    end_seq: u64,
    bytes: u64,
    closed_at: i64,
    /// False when nothing whole is in it: a try that failed, or a torn tail alone.
    has_frames: bool,
}

struct Active {
    name: Name,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    end_seq: u64,
    bytes: u64,
    closed_at: i64,
}

/// The one writer of a journal.
pub struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    tail: Tail,
    closed: VecDeque<Closed>,
    active: Option<Active>,
    scratch: Vec<u8>,
}

/// Tries that one commit makes, each in a new segment, before it is given back.
const TRIES: u32 = 3;

impl Writer {
    /// Opens or makes a journal. `at_least` is the highest cursor of any follower: numbers below it were
    /// given out, even if the end of the last segment is damaged and does not show them any more.
    ///
    /// # Errors
    /// [`JournalError`] when the directory cannot be made or read.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        at_least: u64,
    ) -> Result<(Self, Recovery), JournalError> {
        disk.create_dir(dir).map_err(JournalError::new("making directory", dir))?;
        let names = segment::list(&*disk, dir)?;
        let mut recovery = Recovery { next_seq: at_least, segments: names.len(), ..Recovery::default() };
        let mut closed: VecDeque<Closed> = VecDeque::new();
        let mut last: Option<LastFrame> = None;
        let mut newer_created_at = None;
        for name in names.iter().rev() {
            let found = recover(&*disk, &name.path(dir), last.is_none(), &mut recovery)?;
            let closed_at = found.last.as_ref().map(|frame| frame.closed_at).or(newer_created_at);
            newer_created_at = Some(found.created_at);
            last = last.or(found.last);
            // Older ones are not looked into: they were followed by others because they were full.
            let has_frames = last.is_some();
            let end_seq = closed.front().map_or(u64::MAX, |newer| newer.name.first_seq);
            let closed_at = closed_at.unwrap_or(found.created_at);
            closed.push_front(Closed { name: *name, end_seq, bytes: found.bytes, closed_at, has_frames });
        }
        if let Some(frame) = last {
            recovery.next_seq = recovery.next_seq.max(frame.end_seq);
            recovery.meta = frame.meta;
        }
        if let Some(newest) = closed.back_mut() {
            newest.end_seq = recovery.next_seq;
        }
        recovery.first_seq = closed.front().map_or(recovery.next_seq, |oldest| oldest.name.first_seq);
        let tail = Tail::default();
        tail.set_first(recovery.first_seq);
        tail.advance(recovery.next_seq);
        let writer =
            Self { disk, dir: dir.to_owned(), options, tail, closed, active: None, scratch: Vec::new() };
        Ok((writer, recovery))
    }

    /// The shared end of this journal.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|closed| closed.bytes).sum::<u64>()
            + self.active.as_ref().map_or(0, |a| a.bytes)
    }

    /// Writes these frames and syncs them. When it returns `Ok`, they are durable.
    ///
    /// # Errors
    /// [`CommitError`]: nothing may be acknowledged; commit the same frames again later.
    ///
    /// # Panics
    /// When a frame is longer than [`BODY_MAX`] or its meta than 4 KiB: the caller closes frames before that.
    pub fn commit<F: Borrow<FrameBuf>>(&mut self, frames: &[F], now_ms: i64) -> Result<(), CommitError> {
        let (Some(first), Some(last)) = (frames.first().map(F::borrow), frames.last().map(F::borrow)) else {
            return Ok(());
        };
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        for frame in frames.iter().map(F::borrow) {
            assert!(
                frame.len() <= BODY_MAX && frame.meta.len() <= META_MAX,
                "a frame is closed before its limit"
            );
            frame.encode(&mut bytes);
        }
        let mut outcome = self.make_room(bytes.len() as u64, now_ms);
        if outcome.is_ok() {
            for _ in 0..TRIES {
                outcome = self.write(first.first_seq, last, &bytes, now_ms);
                if outcome.is_ok() {
                    self.tail.advance(last.end_seq());
                    break;
                }
                self.abandon();
            }
        }
        self.scratch = bytes;
        self.scratch.shrink_to(256 << 10);
        outcome
    }

    fn write(
        &mut self,
        first_seq: u64,
        last: &FrameBuf,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<(), CommitError> {
        if self.active.as_ref().is_some_and(|active| active.bytes >= self.options.segment_bytes) {
            self.close_active();
        }
        if self.active.is_none() {
            self.active = Some(self.create(first_seq, now_ms)?);
        }
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| CommitError::Io { what, path, source }
        };
        active.file.append(bytes).map_err(failed("writing", &active.path))?;
        active.file.sync().map_err(failed("syncing", &active.path))?;
        active.bytes += bytes.len() as u64;
        active.end_seq = last.end_seq();
        active.closed_at = last.closed_at;
        Ok(())
    }

    fn create(&self, first_seq: u64, now_ms: i64) -> Result<Active, CommitError> {
        let mut name = Name { first_seq, attempt: 0 };
        let (path, mut file) = loop {
            let path = name.path(&self.dir);
            match self.disk.create(&path) {
                Ok(file) => break (path, file),
                // Left behind by a failed try under the same number.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => name.attempt += 1,
                Err(source) => {
                    return Err(CommitError::Io { what: "making segment", path, source });
                }
            }
        };
        let made = file
            .append(&segment::header(first_seq, now_ms))
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(source) = made {
            // Best effort: an empty segment left behind does no harm, only its name is taken.
            let _ = self.disk.remove(&path);
            return Err(CommitError::Io { what: "making segment", path, source });
        }
        Ok(Active { name, path, file, end_seq: first_seq, bytes: segment::HEADER as u64, closed_at: now_ms })
    }

    /// Leaves the active segment alone for good after a failure.
    fn abandon(&mut self) {
        let Some(active) = self.active.take() else { return };
        if active.end_seq == active.name.first_seq && self.disk.remove(&active.path).is_ok() {
            return;
        }
        self.active = Some(active);
        self.close_active();
    }

    fn close_active(&mut self) {
        if let Some(active) = self.active.take() {
            let Active { name, end_seq, bytes, closed_at, .. } = active;
            let has_frames = end_seq > name.first_seq;
            self.closed.push_back(Closed { name, end_seq, bytes, closed_at, has_frames });
        }
    }

    /// Removes what nobody needs, and refuses when there is no room for `wanted` more bytes.
    fn make_room(&mut self, wanted: u64, now_ms: i64) -> Result<(), CommitError> {
        self.trim_for(wanted, now_ms);
        let used = self.bytes();
        if used + wanted > self.options.max_bytes {
            let followers = self.tail.followers();
            let slowest = followers.into_iter().min_by_key(|(_, cursor)| *cursor);
            let follower = slowest.map_or_else(|| "nobody".to_owned(), |(name, _)| name);
            return Err(CommitError::JournalFull { used, limit: self.options.max_bytes, follower });
        }
        let limit = self.options.min_free_bytes;
        match self.disk.free_bytes(&self.dir) {
            Ok(free) if free < limit.saturating_add(wanted) => Err(CommitError::DiskFull { free, limit }),
            // A file system that cannot tell its free space will say so when it is full.
            _ => Ok(()),
        }
    }

    /// Removes segments that every follower is past and that are old, or in the way: the journal is over its
    /// size, or the disk nearly full. A follower that is bounded and further behind than its bound is cut off.
    /// The segment with the newest frame stays: nothing else knows the totals.
    pub fn trim(&mut self, now_ms: i64) {
        self.trim_for(0, now_ms);
    }

    fn trim_for(&mut self, wanted: u64, now_ms: i64) {
        self.cut_off_followers();
        let mut used = self.bytes();
        // A file system that cannot tell its free space will say so when it is full.
        let mut free = self.disk.free_bytes(&self.dir).unwrap_or(u64::MAX);
        let free_min = self.options.min_free_bytes.saturating_add(wanted);
        // The last day stays where letting it go would not be enough: duplicates are known by it after a restart.
        let past = self.closed.iter().take_while(|closed| closed.end_seq <= self.tail.floor());
        let helps = free.saturating_add(past.map(|closed| closed.bytes).sum()) >= free_min;
        while let Some(oldest) = self.closed.front() {
            let old = now_ms - oldest.closed_at > self.options.keep_ms;
            let crowded =
                used + self.options.segment_bytes > self.options.max_bytes || (helps && free < free_min);
            if oldest.end_seq > self.tail.floor() || !(old || crowded) || self.is_newest(oldest) {
                return;
            }
            if self.disk.remove(&oldest.name.path(&self.dir)).is_err() {
                return;
            }
            used -= oldest.bytes;
            free = free.saturating_add(oldest.bytes);
            self.closed.pop_front();
            let active = self.active.as_ref().map(|active| active.name.first_seq);
            let first = self.closed.front().map(|next| next.name.first_seq).or(active);
            self.tail.set_first(first.unwrap_or_else(|| self.tail.end()));
        }
    }

    /// True when the newest frame is in this segment, the oldest of the closed ones.
    fn is_newest(&self, oldest: &Closed) -> bool {
        oldest.has_frames
            && self.active.is_none()
            && !self.closed.iter().skip(1).any(|newer| newer.has_frames)
    }

    /// Bytes of the segments that a follower with this cursor has still to read.
    fn lag_bytes(&self, cursor: u64) -> u64 {
        let closed = self.closed.iter().filter(|closed| closed.end_seq > cursor).map(|closed| closed.bytes);
        let active =
            self.active.as_ref().filter(|active| active.end_seq > cursor).map_or(0, |active| active.bytes);
        closed.sum::<u64>() + active
    }

    fn cut_off_followers(&self) {
        for (name, cursor, bound) in self.tail.bounded_followers() {
            let mut kept = cursor;
            for closed in &self.closed {
                if closed.end_seq > kept && self.lag_bytes(kept) > bound {
                    kept = closed.end_seq;
                }
            }
            if kept > cursor {
                self.tail.cut_off(&name, kept);
            }
        }
    }
}

/// What recovery learns from one segment.
struct Found {
    bytes: u64,
    created_at: i64,
    last: Option<LastFrame>,
}

struct LastFrame {
    end_seq: u64,
    closed_at: i64,
    meta: Vec<u8>,
}

/// Looks into one segment; reads all of it only when it may hold the last frame.
fn recover(
    disk: &dyn Disk,
    path: &Path,
    whole: bool,
    recovery: &mut Recovery,
) -> Result<Found, JournalError> {
    let mut file = disk.open(path).map_err(JournalError::new("opening", path))?;
    let created_at = segment::created_at(&*file).unwrap_or(0);
    let bytes = file.length().map_err(JournalError::new("reading", path))?;
    let mut found = Found { bytes, created_at, last: None };
    if whole {
        // What is found may be in the page cache alone, from a commit that a kill cut short. It is about to
        // be known as there already, and so acknowledged: it has to be on the disk.
        file.sync().map_err(JournalError::new("syncing", path))?;
        let mut scan = Scan::new(file);
        while let Some(frame) = scan.next_whole().map_err(JournalError::new("reading", path))? {
            let (end_seq, closed_at, meta) = (frame.end_seq(), frame.closed_at, frame.meta.to_vec());
            found.last = Some(LastFrame { end_seq, closed_at, meta });
        }
        recovery.torn_bytes += scan.skipped();
    }
    Ok(found)
}
