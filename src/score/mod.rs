//! `score`: compares what was true with what people were told (`design.md` 6, Score).
//!
//! ```text
//! 1 facts    what is compared: hazards, incidents as told, messages; plain data
//! 2 rule     which telling finds which hazard, which P1 had no reason
//! 3 figures  counts, shares, delays, messages per person, arrivals
//! ```
//!
//! [`score()`] is pure: whoever has hazards and incidents in memory asks it directly.

mod facts;
mod figures;
mod rule;
#[cfg(test)]
mod rule_tests;

pub(crate) use facts::{Class, Exposure, Family, Going, Hazard, Message, Spot, Told};
pub(crate) use figures::{Arrivals, Delay, Group, Messages, P1s, Scores};
pub(crate) use rule::{Alarm, Graded, Ground, Verdict, score};
