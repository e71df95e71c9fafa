//! Odd readings and odd deliveries that strike one reading at a time, by rate. What lasts is an event.
//!
//! The list and its evidence: domain reference section 14.4.

use serde::Deserialize;

use crate::chance::Chance;

/// How often quirks happen. Rates are per reading, 0 to 0.1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// A single 6553.5 mA (all ones in tenths). Default 2e-5 (domain reference section 17.3).
    pub glitch: f64,
    /// A single leakage ten times too high (decimal slip). Default 4e-5 (same place).
    pub spike: f64,
    /// An energy counter that rolls over to a huge number, which no field takes. Default 1e-5 (a guess).
    pub rollover: f64,
    /// `NaN` where the leakage should be, as no JSON has it. Default 1e-5 (a guess).
    pub not_a_number: f64,
    /// A payload cut in the middle. Default 1e-5 (a guess).
    pub truncated: f64,
    /// A reading delivered twice. Default 1e-3 (a guess; at-least-once makes them certain).
    pub duplicate: f64,
    /// A reading delivered after the next one of its post. Default 2e-4 (a guess).
    pub out_of_order: f64,
    /// A single leakage of two billion (domain reference section 14.4). Default 5e-6 (a guess).
    pub huge: f64,
    /// A single leakage of -65509, a 16-bit word taken apart wrongly (same place). Default 5e-6 (a guess).
    pub negative: f64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            glitch: 2e-5,
            spike: 4e-5,
            rollover: 1e-5,
            not_a_number: 1e-5,
            truncated: 1e-5,
            duplicate: 1e-3,
            out_of_order: 2e-4,
            huge: 5e-6,
            negative: 5e-6,
        }
    }
}

impl Quirks {
    /// No quirks at all.
    pub const NONE: Self = Self {
        glitch: 0.0,
        spike: 0.0,
        rollover: 0.0,
        not_a_number: 0.0,
        truncated: 0.0,
        duplicate: 0.0,
        out_of_order: 0.0,
        huge: 0.0,
        negative: 0.0,
    };

    fn kinds(&self) -> [(&'static str, f64, Quirk); 9] {
        [
            ("quirks.glitch", self.glitch, Quirk::Glitch),
            ("quirks.spike", self.spike, Quirk::Spike),
            ("quirks.rollover", self.rollover, Quirk::Rollover),
            ("quirks.not_a_number", self.not_a_number, Quirk::NotANumber),
            ("quirks.truncated", self.truncated, Quirk::Truncated),
            ("quirks.duplicate", self.duplicate, Quirk::Duplicate),
            ("quirks.out_of_order", self.out_of_order, Quirk::OutOfOrder),
            ("quirks.huge", self.huge, Quirk::Huge),
            ("quirks.negative", self.negative, Quirk::Negative),
        ]
    }

    /// Every rate with its name, for checking.
    pub(crate) fn rates(&self) -> [(&'static str, f64); 9] {
        self.kinds().map(|(name, rate, _)| (name, rate))
    }

    /// The quirk that strikes the reading with this chance, if one does.
    pub(crate) fn draw(&self, chance: Chance) -> Option<Quirk> {
        let mut left = chance.unit(STREAM);
        for (_, rate, quirk) in self.kinds() {
            if left < rate {
                return Some(quirk);
            }
            left -= rate;
        }
        None
    }
}

/// The stream of chance that belongs to quirks.
const STREAM: u64 = 1000;

/// What can be wrong with one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// Leakage reads 6553.5 mA.
    Glitch,
    /// Leakage reads ten times too high.
    Spike,
    /// Energy reads 4,294,967,295 kWh.
    Rollover,
    /// Leakage reads `NaN`.
    NotANumber,
    /// The payload ends in the middle.
    Truncated,
    /// Delivered twice.
    Duplicate,
    /// Delivered after the next reading of its post.
    OutOfOrder,
    /// Leakage reads two billion.
    Huge,
    /// Leakage reads -65509.
    Negative,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_come_as_often_as_they_are_set() {
        let quirks = Quirks { glitch: 0.01, truncated: 0.02, ..Quirks::NONE };
        let draws: Vec<_> = (0..100_000).map(|n| quirks.draw(Chance::new(n))).collect();
        let count = |quirk| draws.iter().filter(|draw| **draw == Some(quirk)).count();
        assert!((900..1100).contains(&count(Quirk::Glitch)));
        assert!((1850..2150).contains(&count(Quirk::Truncated)));
        assert_eq!(count(Quirk::Duplicate), 0);
        assert!((0..1000).all(|n| Quirks::NONE.draw(Chance::new(n)).is_none()));
    }
}
