//! How often a sensor reports: the median of its last gaps.

use lampguard_model::Millis;

use crate::policy::Period;

/// Gaps kept per state of supply (`policy.md` 1).
const GAPS: usize = 20;

/// A length of the policy as periods are kept: whole seconds, rounded up, at most 18 h.
fn seconds(length: Millis) -> u16 {
    u16::try_from((length.0 + 999) / 1000).unwrap_or(u16::MAX)
}

impl Period {
    /// A period as it is told by register or profile, never under the shortest one, seconds.
    pub(crate) fn at_least(&self, period_s: u32) -> u16 {
        u16::try_from(period_s).unwrap_or(u16::MAX).max(seconds(self.shortest))
    }

    /// Taken when neither gaps, register nor profile know better, seconds.
    pub(crate) fn unknown_s(&self) -> u32 {
        u32::from(seconds(self.unknown))
    }
}

/// The last gaps between periodic samples, packed into twelve bits each; a gap above 18 h counts as 18 h.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gaps {
    packed: [u8; GAPS * 3 / 2],
    count: u8,
}

/// Three bits of exponent over nine of mantissa: whole seconds up to 511, then within 0.4 %. Rounded up, so
/// that what is longer than ten minutes stays longer.
fn pack(seconds: u16) -> u16 {
    let exponent = (16 - seconds.leading_zeros()).saturating_sub(9);
    let mantissa = (u32::from(seconds) + (1 << exponent) - 1) >> exponent;
    let (exponent, mantissa) = if mantissa > 511 { (exponent + 1, 256) } else { (exponent, mantissa) };
    if exponent > 7 { u16::MAX >> 4 } else { (exponent << 9 | mantissa) as u16 }
}

fn unpack(packed: u16) -> u16 {
    (packed & 511) << (packed >> 9)
}

impl Gaps {
    fn get(&self, place: usize) -> u16 {
        let at = place / 2 * 3;
        let low = u16::from(self.packed[at + 1]);
        unpack(if place.is_multiple_of(2) {
            u16::from(self.packed[at]) << 4 | low >> 4
        } else {
            (low & 15) << 8 | u16::from(self.packed[at + 2])
        })
    }

    fn set(&mut self, place: usize, seconds: u16) {
        let (at, packed) = (place / 2 * 3, pack(seconds));
        let low = self.packed[at + 1];
        if place.is_multiple_of(2) {
            self.packed[at] = (packed >> 4) as u8;
            self.packed[at + 1] = ((packed & 15) as u8) << 4 | low & 15;
        } else {
            self.packed[at + 1] = low & 240 | (packed >> 8) as u8;
            self.packed[at + 2] = packed as u8;
        }
    }

    /// Adds the newest gap.
    pub(crate) fn push(&mut self, gap: Millis) {
        let seconds = u16::try_from((gap.0 + 500) / 1000).unwrap_or(u16::MAX);
        let count = usize::from(self.count % GAPS as u8);
        // The median asks for no order: the oldest place is written over.
        self.set(count, seconds);
        self.count = if self.count < 2 * GAPS as u8 - 1 { self.count + 1 } else { GAPS as u8 };
    }

    /// The period they tell, seconds, never under the shortest one; `None` while there are too few.
    pub(crate) fn period_s(&self, rules: &Period) -> Option<u16> {
        let count = usize::from(self.count).min(GAPS);
        if count < rules.gaps_needed as usize {
            return None;
        }
        let mut sorted: [u16; GAPS] = std::array::from_fn(|place| self.get(place));
        let (_, median, _) = sorted[..count].select_nth_unstable(count / 2);
        Some((*median).max(seconds(rules.shortest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_kept_within_half_a_percent_and_none_becomes_shorter() {
        for seconds in 0..=u16::MAX {
            let kept = unpack(pack(seconds));
            assert!(kept >= seconds || seconds > 65_408, "{seconds} became {kept}");
            assert!(u32::from(kept.abs_diff(seconds)) * 200 <= u32::from(seconds), "{seconds} became {kept}");
        }
        let mut gaps = Gaps::default();
        (0..GAPS as u16).for_each(|n| gaps.set(usize::from(n), 300 + n));
        assert!((0..GAPS as u16).all(|n| gaps.get(usize::from(n)) == 300 + n));
    }

    #[test]
    fn five_gaps_tell_the_period_and_one_outage_does_not_change_it() {
        let (mut gaps, rules) = (Gaps::default(), Period::default());
        for _ in 0..4 {
            gaps.push(Millis(300_400));
        }
        assert_eq!(gaps.period_s(&rules), None);
        gaps.push(Millis::hours(30));
        assert_eq!(gaps.period_s(&rules), Some(300));
        for _ in 0..11 {
            gaps.push(Millis::minutes(15));
        }
        assert_eq!(gaps.period_s(&rules), Some(900), "the last twenty decide");
        for _ in 0..20 {
            gaps.push(Millis::seconds(5));
        }
        assert_eq!(gaps.period_s(&rules), Some(60), "never under a minute");
    }
}
