//! How often a sensor reports: the median of its last gaps.

use lampguard_model::Millis;

/// Gaps kept per state of supply (`policy.md` 1).
const GAPS: usize = 20;
/// Gaps needed before they are believed.
const GAPS_NEEDED: usize = 5;
/// No period is taken as shorter, seconds.
pub(crate) const PERIOD_S_MIN: u16 = 60;
/// Taken when neither gaps, register nor profile know better, seconds.
pub(crate) const PERIOD_S_DEFAULT: u16 = 300;

/// The last gaps between periodic samples, in whole seconds; a gap above 18 h counts as 18 h.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gaps {
    seconds: [u16; GAPS],
    count: u8,
}

impl Gaps {
    /// Adds the newest gap, rounded to seconds.
    pub(crate) fn push(&mut self, gap: Millis) {
        let seconds = u16::try_from((gap.0 + 500) / 1000).unwrap_or(u16::MAX);
        let count = usize::from(self.count);
        if count < GAPS {
            self.seconds[count] = seconds;
            self.count += 1;
        } else {
            self.seconds.copy_within(1.., 0);
            self.seconds[GAPS - 1] = seconds;
        }
    }

    /// The period they tell, seconds, never under 60; `None` while there are fewer than five.
    pub(crate) fn period_s(&self) -> Option<u16> {
        let count = usize::from(self.count);
        if count < GAPS_NEEDED {
            return None;
        }
        let mut sorted = self.seconds;
        let sorted = &mut sorted[..count];
        let (_, median, _) = sorted.select_nth_unstable(count / 2);
        Some((*median).max(PERIOD_S_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_gaps_tell_the_period_and_one_outage_does_not_change_it() {
        let mut gaps = Gaps::default();
        for _ in 0..4 {
            gaps.push(Millis(300_400));
        }
        assert_eq!(gaps.period_s(), None);
        gaps.push(Millis::hours(30));
        assert_eq!(gaps.period_s(), Some(300));
        for _ in 0..11 {
            gaps.push(Millis::minutes(15));
        }
        assert_eq!(gaps.period_s(), Some(900), "the last twenty decide");
        for _ in 0..20 {
            gaps.push(Millis::seconds(5));
        }
        assert_eq!(gaps.period_s(), Some(60), "never under a minute");
    }
}
