//! Crash-safe append-only log of byte records with named followers.
//!
//! Own code, because what it promises is what lampguard is for: a record is *durable* when the commit that
//! carries it has returned, and only then may anybody acknowledge it. The kept crates that were weighed
//! (fjall, redb, okaywal, yaque, SQLite) cost 3 to 10 times the CPU per record or do not sync; the figures
//! stand in ARCHITECTURE.md.
//!
//! ```text
//! journal/00000000000000000000-0.lgj      one segment: records from sequence 0 on
//! journal/00000000000000048213-0.lgj      the next one
//!
//! segment  "LGJOURN1" · version u32 · crc32c u32 of the rest · first_seq u64 · created_at i64      32 bytes
//!          frame frame frame …
//! frame    "LGf1" · crc32c u32 of all that follows · body_len u32 · meta_len u32
//!          first_seq u64 · closed_at i64 · count u32 · 0 u32                                        40 bytes
//!          body = meta (the caller's counters) · record record …
//! record   kind u8 · length u32 · bytes
//! ```
//! Numbers are little-endian. A commit writes one or more frames of at most 5 MiB and syncs once.
//!
//! Invariants:
//! 1. Records are numbered without gap from the first one on; a frame knows the number of its first record.
//! 2. Nothing is ever overwritten. After a failed write or sync the segment is left alone for good (a failed
//!    sync may have dropped the pages), and the same frames go to a new segment under the same numbers.
//!    A reader therefore skips records it has already seen.
//! 3. After a restart a new segment is begun; a torn tail is never written to.
//! 4. A damaged frame costs itself alone: readers look for the next frame that is whole, in any segment.
//! 5. The directory is synced after a segment is made, before the first commit in it returns.
//! 6. A segment goes only whole, only when every follower is past it, and only when it is older than the
//!    time to keep, the journal is over its size, or the disk nearly full. The one with the newest frame never goes:
//!    its meta is the only copy of the totals.

mod disk;
mod frame;
mod reader;
mod segment;
mod tail;
mod writer;

pub use disk::{Disk, DiskFile, RealDisk};
pub use frame::{BODY_MAX, Frame, FrameBuf, Records};
pub use reader::{Lost, Reader};
pub use segment::{SegmentInfo, inspect};
pub use tail::{Follower, Tail};
pub use writer::{CommitError, Options, Recovery, Writer};

use std::path::PathBuf;

/// The journal's files could not be read. Stop and show it: the directory is not usable.
#[derive(Debug, thiserror::Error)]
#[error("journal: {what} {}: {source}", path.display())]
pub struct JournalError {
    /// What was being done.
    pub what: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl JournalError {
    fn new(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self { what, path, source }
    }
}
