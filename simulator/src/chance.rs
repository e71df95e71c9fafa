//! Numbers that look random and depend only on what is asked.
//!
//! No generator with a state: the noise of a post at an instant is the same whether the city is run in small
//! steps, in large ones, or started in the middle. The mixing is splitmix64 (Steele, Lea, Flood 2014).

/// A key from which any number of streams is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6c61_6d70_6775_6172))
    }

    /// A key of its own for one part: a post, an instant.
    pub(crate) fn of(self, part: u64) -> Self {
        Self(mix(self.0 ^ mix(part)))
    }

    pub(crate) fn bits(self, stream: u64) -> u64 {
        mix(self.0.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Even in 0 (included) to 1 (not included).
    pub(crate) fn unit(self, stream: u64) -> f64 {
        (self.bits(stream) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn between(self, stream: u64, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit(stream)
    }

    /// Even over the logarithm: as many between 10 and 100 as between 100 and 1,000.
    pub(crate) fn log_between(self, stream: u64, low: f64, high: f64) -> f64 {
        self.between(stream, low.ln(), high.ln()).exp()
    }

    /// A place below `count`; 0 when `count` is 0.
    pub(crate) fn below(self, stream: u64, count: usize) -> usize {
        ((u128::from(self.bits(stream)) * count as u128) >> 64) as usize
    }

    /// Nearly normal: mean 0, deviation 1, never beyond 3.5 (four even numbers added up).
    pub(crate) fn noise(self, stream: u64) -> f64 {
        let bits = self.bits(stream);
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 1.732
    }
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_has_mean_zero_and_deviation_one() {
        let chance = Chance::new(1);
        let draws: Vec<f64> = (0..100_000).map(|n| chance.noise(n)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|d| d * d).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn a_place_is_below_its_count() {
        let chance = Chance::new(2);
        assert!((0..1000).all(|n| chance.below(n, 7) < 7));
        assert_eq!(chance.below(1, 0), 0);
    }
}
