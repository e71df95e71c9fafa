//! Quirks of sensors and links: how often, and which one strikes a reading.
//!
//! A few of the domain reference's section 14.4. Issue 3 brings the rest: add a rate to [`Quirks`] and an arm
//! to [`Quirk`]; `simulation.rs` plays it out.

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
    /// A reading delivered twice. Default 1e-3 (a guess; at-least-once makes them certain).
    pub duplicate: f64,
    /// A reading delivered after the next one of its post. Default 2e-4 (a guess).
    pub out_of_order: f64,
    /// Share of healthy and aged posts that fall silent for good, at a moment of the first hour. Default
    /// 5e-4 (a guess). Never a hazard: critical-then-silent comes with issue 3.
    pub silent: f64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self { glitch: 2e-5, spike: 4e-5, duplicate: 1e-3, out_of_order: 2e-4, silent: 5e-4 }
    }
}

impl Quirks {
    /// No quirks at all.
    pub const NONE: Self = Self { glitch: 0.0, spike: 0.0, duplicate: 0.0, out_of_order: 0.0, silent: 0.0 };

    /// Every rate with its name, for checking.
    pub(crate) fn rates(&self) -> [(&'static str, f64); 5] {
        [
            ("quirks.glitch", self.glitch),
            ("quirks.spike", self.spike),
            ("quirks.duplicate", self.duplicate),
            ("quirks.out_of_order", self.out_of_order),
            ("quirks.silent", self.silent),
        ]
    }

    /// The quirk that strikes the reading with this chance, if one does.
    pub(crate) fn draw(&self, chance: Chance) -> Option<Quirk> {
        let mut left = chance.unit(STREAM);
        let kinds = [
            (self.glitch, Quirk::Glitch),
            (self.spike, Quirk::Spike),
            (self.duplicate, Quirk::Duplicate),
            (self.out_of_order, Quirk::OutOfOrder),
        ];
        for (rate, quirk) in kinds {
            if left < rate {
                return Some(quirk);
            }
            left -= rate;
        }
        None
    }

    /// When a post falls silent for good, milliseconds after the start; `None` for nearly all.
    pub(crate) fn silent_after_ms(&self, chance: Chance) -> Option<i64> {
        (chance.unit(STREAM + 1) < self.silent)
            .then(|| chance.between(STREAM + 2, 60_000.0, 3_600_000.0) as i64)
    }
}

/// Streams of chance from here on belong to quirks.
const STREAM: u64 = 1000;

/// What can be wrong with one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// Leakage reads 6553.5 mA.
    Glitch,
    /// Leakage reads ten times too high.
    Spike,
    /// Delivered twice.
    Duplicate,
    /// Delivered after the next reading of its post.
    OutOfOrder,
}

/// What an all-ones register reads in tenths of a milliampere.
pub(crate) const GLITCH_MA: f64 = 6553.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_come_as_often_as_they_are_set() {
        let quirks = Quirks { glitch: 0.01, spike: 0.02, ..Quirks::NONE };
        let draws: Vec<_> = (0..100_000).map(|n| quirks.draw(Chance::new(n))).collect();
        let count = |quirk| draws.iter().filter(|draw| **draw == Some(quirk)).count();
        assert!((900..1100).contains(&count(Quirk::Glitch)));
        assert!((1850..2150).contains(&count(Quirk::Spike)));
        assert_eq!(count(Quirk::Duplicate), 0);
        assert!((0..1000).all(|n| Quirks::NONE.draw(Chance::new(n)).is_none()));
    }
}
