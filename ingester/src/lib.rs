//! Readings come in and none is lost: sources, decoding, admission, journal, acknowledgement, and the
//! follower that writes to the time-series database.
//!
//! The way of one reading stands in [`run`], as a list of steps. Everything else is one step of it.

pub mod accounts;
pub mod admit;
pub mod profile;
