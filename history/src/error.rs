//! What can go wrong with history.

use std::path::PathBuf;

use crate::chunk::ChunkError;
use crate::month::Month;

/// Why history could not do something. Readings are never lost by it: the journal keeps what is not durable
/// here. Alarms do not pass through history and go on.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A database refused (disk full, locked, damaged pages). *Retry*; at opening *stop* and show it.
    #[error("history: {doing} {}: {source}", path.display())]
    Database {
        /// What was being done.
        doing: &'static str,
        /// On which database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file system refused. *Retry*; at opening *stop* and show it.
    #[error("history: {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A newer lampguard wrote the file. *Stop*: run that version, or give this one another data directory.
    #[error("history: {} has format {found}, this program knows {known}", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Format number found.
        found: i64,
        /// Highest format number known.
        known: i64,
    },
    /// One chunk is damaged; the others of the post still answer. Show it; the rows also stand in the outside
    /// time-series database, if there is one.
    #[error(
        "history: chunk of post {post} in month {month} from record {first_seq} on ({rows} rows): {source}"
    )]
    DamagedChunk {
        /// The post.
        post: Box<str>,
        /// The month.
        month: Month,
        /// Journal number of its first row.
        first_seq: u64,
        /// How many rows it held.
        rows: u32,
        /// What is wrong.
        source: ChunkError,
    },
    /// Rows that waited for their chunk are damaged. Moved to table `damaged_part` when they are met at closing.
    #[error("history: {rows} waiting rows of bucket {bucket} from record {first_seq} on are damaged")]
    DamagedPart {
        /// Bucket of posts.
        bucket: u8,
        /// Journal number of the first row.
        first_seq: u64,
        /// How many rows it held.
        rows: u32,
    },
    /// A reader kept the write-ahead log from being carried over. *Retry*.
    #[error("history: the log of {} is in use and could not be made durable", path.display())]
    Busy {
        /// The database file.
        path: PathBuf,
    },
}
