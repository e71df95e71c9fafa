//! The last five valid samples of one quantity at one post, packed.
//!
//! ```text
//! word   41 bits  measured time, ms since 2020-01-01 UTC (until 2089)
//!        23 bits  value, thousandths of the unit (up to 8,388: the widest range is 5,000 mA)
//! tag    27 bits  fold of the admission key: the same delivery counts once
//!         5 bits  see [`Bits`]
//! ```

use lampguard_model::Timestamp;
use lampguard_model::time::EARLIEST;

/// Samples kept per quantity: `policy.md` 2 looks at the last five.
pub(crate) const KEPT: usize = 5;

const VALUE_BITS: u32 = 23;
const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
const TIME_MAX: u64 = (1 << 41) - 1;

/// What is known about a sample besides its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(u32);

impl Bits {
    /// Taken while the post had supply.
    pub(crate) const POWERED: Self = Self(1);
    /// The device's own flag for this quantity was up.
    pub(crate) const FLAGGED: Self = Self(2);
    /// Typed in by a person.
    pub(crate) const MANUAL: Self = Self(4);
    /// Its time is the time of receipt.
    pub(crate) const RECEIPT: Self = Self(8);
    /// Found live by a person: above every limit whatever the number says.
    pub(crate) const LIVE: Self = Self(16);

    /// Adds `bits` when `wanted`.
    pub(crate) fn with(self, bits: Self, wanted: bool) -> Self {
        Self(if wanted { self.0 | bits.0 } else { self.0 })
    }
}

/// One valid sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    high: u32,
    low: u32,
    tag: u32,
}

impl Sample {
    /// Packs a sample; times before 2020 and values outside 0 to 8,388 units are held at the border.
    pub(crate) fn new(at: Timestamp, thousandths: i64, identity: u64, bits: Bits) -> Self {
        let time = u64::try_from(at.0 - EARLIEST.0).unwrap_or(0).min(TIME_MAX);
        let value = u64::try_from(thousandths).unwrap_or(0).min(VALUE_MAX);
        let word = time << VALUE_BITS | value;
        let fold = (identity ^ identity >> 32) as u32;
        Self { high: (word >> 32) as u32, low: word as u32, tag: fold & !31 | bits.0 }
    }

    fn word(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// When it was measured, as far as it is believed.
    pub(crate) fn at(self) -> Timestamp {
        Timestamp((self.word() >> VALUE_BITS) as i64 + EARLIEST.0)
    }

    /// The value in thousandths of its unit.
    pub(crate) fn value(self) -> i64 {
        (self.word() & VALUE_MAX) as i64
    }

    /// Fold of the admission key.
    pub(crate) fn key(self) -> u32 {
        self.tag >> 5
    }

    /// True when every one of `bits` is set.
    pub(crate) fn has(self, bits: Bits) -> bool {
        self.tag & bits.0 == bits.0
    }

    /// At or above `limit` thousandths, or found live by hand.
    pub(crate) fn is_above(self, limit: i64) -> bool {
        self.has(Bits::LIVE) || self.value() >= limit
    }

    /// The same sample with `bits` taken away.
    pub(crate) fn without(self, bits: Bits) -> Self {
        Self { tag: self.tag & !bits.0, ..self }
    }

    /// The same delivery again: same key, and the same time unless both times are only those of receipt.
    fn is_copy_of(self, other: Self) -> bool {
        let both_at_receipt = self.has(Bits::RECEIPT) && other.has(Bits::RECEIPT);
        self.key() == other.key() && (both_at_receipt || self.at() == other.at())
    }
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It stands at this place, 0 being the oldest.
    At(usize),
    /// It was there already.
    Duplicate,
    /// Five newer ones are there.
    TooOld,
}

/// The last [`KEPT`] samples by measured time, oldest first. Of two at one moment the higher value is the newer
/// one: neither order of arrival nor a name (the key is a hash over it) decides what is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    /// Empty places hold the default; no sample does, since its time lies behind 2020.
    samples: [Sample; KEPT],
}

impl Ring {
    /// The samples, oldest first.
    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples[..self.count()]
    }

    fn count(&self) -> usize {
        let empty = |s: &Sample| s.high | s.low | s.tag == 0;
        self.samples.iter().position(empty).unwrap_or(KEPT)
    }

    /// The newest sample by measured time.
    pub(crate) fn newest(&self) -> Option<Sample> {
        self.samples().last().copied()
    }

    /// Puts a sample at its place in time, pushing out the oldest when full.
    pub(crate) fn insert(&mut self, sample: Sample) -> Inserted {
        if self.samples().iter().any(|known| known.is_copy_of(sample)) {
            return Inserted::Duplicate;
        }
        // Time stands before the value in a word; the bits before the key, which decides only between equals.
        let order = |s: &Sample| (s.word(), s.tag & 31, s.key());
        let place = self.samples().partition_point(|s| order(s) <= order(&sample));
        let count = self.count();
        if count < KEPT {
            self.samples.copy_within(place..count, place + 1);
            self.samples[place] = sample;
            return Inserted::At(place);
        }
        let Some(place) = place.checked_sub(1) else {
            return Inserted::TooOld;
        };
        self.samples.copy_within(1..=place, 0);
        self.samples[place] = sample;
        Inserted::At(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_435_200_000;

    fn sample(at: i64, value: i64, identity: u64) -> Sample {
        Sample::new(Timestamp(NOW + at), value, identity << 5, Bits::default())
    }

    #[test]
    fn a_sample_survives_its_packing() {
        let s = Sample::new(Timestamp(NOW), 4_999_999, 77 << 5, Bits::POWERED.with(Bits::LIVE, true));
        assert_eq!((s.at(), s.value(), s.key()), (Timestamp(NOW), 4_999_999, 77));
        assert!(s.has(Bits::POWERED) && s.has(Bits::LIVE) && !s.has(Bits::MANUAL));
        assert_eq!(size_of::<Sample>(), 12);
    }

    #[test]
    fn a_ring_keeps_the_newest_five_in_order_of_measurement() {
        let mut ring = Ring::default();
        for at in [5, 1, 4, 2, 3] {
            assert!(matches!(ring.insert(sample(at, at, at as u64)), Inserted::At(_)));
        }
        assert_eq!(ring.insert(sample(3, 3, 3)), Inserted::Duplicate);
        assert_eq!(ring.insert(sample(0, 0, 9)), Inserted::TooOld);
        assert_eq!(ring.insert(sample(6, 6, 6)), Inserted::At(4));
        let values: Vec<i64> = ring.samples().iter().map(|s| s.value()).collect();
        assert_eq!(values, [2, 3, 4, 5, 6]);
        assert_eq!(ring.insert(sample(3, 7, 8)), Inserted::At(1), "a second sample of that moment");
    }

    #[test]
    fn of_two_samples_at_one_moment_the_higher_is_the_newer_whatever_their_keys_and_order() {
        for (keys, values) in [([1, 2], [7, 9]), ([2, 1], [7, 9]), ([1, 2], [9, 7]), ([2, 1], [9, 7])] {
            let mut ring = Ring::default();
            for (key, value) in keys.into_iter().zip(values) {
                ring.insert(sample(0, value, key));
            }
            assert_eq!(ring.newest().map(Sample::value), Some(9), "{keys:?} {values:?}");
        }
    }

    #[test]
    fn a_copy_without_a_clock_counts_once_though_it_came_at_another_time() {
        let mut ring = Ring::default();
        let at_receipt = |at| Sample::new(Timestamp(NOW + at), 1, 9 << 5, Bits::RECEIPT);
        assert_eq!(ring.insert(at_receipt(0)), Inserted::At(0));
        assert_eq!(ring.insert(at_receipt(700)), Inserted::Duplicate);
        assert_eq!(ring.insert(sample(900, 1, 9)), Inserted::At(1), "same fold, other time");
    }
}
