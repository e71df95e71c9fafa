//! Readings come in and none is lost: sources, decoding, admission, journal, acknowledgement, and the
//! follower that writes to the time-series database.
//!
//! The way of one reading stands in [`run`], as a list of steps. Everything else is one step of it.

pub mod accounts;
pub mod admit;
mod commit;
pub mod config;
mod ingester;
pub mod intake;
pub mod loss;
pub mod metrics;
pub mod offline;
pub mod profile;
pub mod proof;
pub mod quarantine;
pub mod run;
pub mod source;
pub mod tsdb;

pub use ingester::{Ingester, IngesterError, Opened};
pub use offline::Offline;
