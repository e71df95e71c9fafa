//! Embedded time series: one post's past, the latest reading of all, minute roll-ups per zone.
//!
//! A follower of the journal. Rows wait in memory for at most a minute, then in parts in the main database, then
//! in compressed chunks in one file per UTC month, which is deleted whole when it is too old. The journal is
//! the durable copy of what waits; the cursor says from where, and moves in the same transaction as the data.
//!
//! | file | what it holds |
//! |---|---|
//! | [`run()`] | the follower's loop: the story from top to bottom |
//! | `history` | the writing side: take in, flush, delete |
//! | `plan` | what one flush writes: parts, and the chunks of full buckets |
//! | `store`, `part` | main database; rows that wait for their chunk |
//! | `months`, [`chunk`] | month files; the columns of a chunk |
//! | `view` | the reading side: rows and roll-ups for pages and answers |
//! | [`Latest`] | the newest reading of each post, fed live |
//!
//! Not here on purpose: `by` and `device` of old rows (the journal and the incident have them), readings of
//! untracked devices (counted), weather and status.

pub mod chunk;
mod error;
mod history;
mod latest;
mod metrics;
mod month;
mod months;
mod part;
mod plan;
mod rollup;
mod row;
mod run;
mod store;
#[cfg(test)]
mod support;
mod view;

pub use error::HistoryError;
pub use history::{History, Options};
pub use latest::{Latest, LatestReading};
pub use metrics::Metrics;
pub use month::Month;
pub use rollup::Rollup;
pub use row::Row;
pub use run::{Clock, run};
pub use view::{Answer, Gap, HistoryView, LIMIT_MAX};
