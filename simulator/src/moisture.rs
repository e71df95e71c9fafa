//! How wet the posts are.
//!
//! `m' = rain/wetting_mm * (1-m)/wetting_h - m/drying_h` (domain reference section 17.3), solved exactly over each
//! minute of weather.

use crate::city::City;
use crate::params::Ground;
use crate::weather::{Sky, Weather};

/// How fast a kind of post takes water and gives it back, against an ordinary one.
struct Soak {
    wets: f64,
    dries: f64,
}

/// Kinds of posts by how they soak. Joints and hand-holes soak slower than the surface (0.5 to 6 h, domain
/// reference section 17.1); low-lying stretches take more and keep it.
const SOAKS: [Soak; 6] = [
    Soak { wets: 1.0, dries: 1.0 },
    Soak { wets: 0.7, dries: 1.0 },
    Soak { wets: 0.5, dries: 1.0 },
    Soak { wets: 0.35, dries: 0.9 },
    Soak { wets: 0.25, dries: 0.8 },
    Soak { wets: 1.4, dries: 0.4 },
];

/// Soak of an ordinary post; the numbers after it are ever slower ones.
pub const SOAK_ORDINARY: u8 = 0;
/// The slowest soak.
pub const SOAK_SLOWEST: u8 = 4;
/// Soak of a low-lying post.
pub const SOAK_LOW_LYING: u8 = 5;

type Levels = [f64; SOAKS.len()];

/// Moisture of every patch, 0 (dry) to 1 (soaked), minute by minute; moves forward only.
#[derive(Clone, Debug)]
pub struct Moisture {
    minute: i64,
    from: Vec<Levels>,
    to: Vec<Levels>,
    skies: Vec<Sky>,
    part: f64,
    ground: Ground,
}

impl Moisture {
    /// Everything dry, at minute 0.
    pub fn new(weather: &Weather, city: &City) -> Self {
        let patches = city.patches().len();
        let mut moisture = Self {
            minute: 0,
            from: vec![Levels::default(); patches],
            to: vec![Levels::default(); patches],
            skies: city.patches().iter().map(|patch| weather.over(patch, 0)).collect(),
            part: 0.0,
            ground: city.params().ground.clone(),
        };
        moisture.wet_for_a_minute();
        moisture
    }

    /// Moves to a point in time, in minutes of weather; an earlier one leaves everything as it is.
    pub fn advance(&mut self, weather: &Weather, city: &City, minutes: f64) {
        while self.minute < minutes.floor() as i64 {
            self.minute += 1;
            self.from.copy_from_slice(&self.to);
            for (sky, patch) in self.skies.iter_mut().zip(city.patches()) {
                *sky = weather.over(patch, self.minute);
            }
            self.wet_for_a_minute();
        }
        self.part = (minutes - self.minute as f64).clamp(0.0, 1.0);
    }

    fn wet_for_a_minute(&mut self) {
        let Ground { wetting_mm, wetting_h, drying_h, .. } = self.ground;
        for ((sky, from), to) in self.skies.iter().zip(&self.from).zip(&mut self.to) {
            for ((kind, from), to) in SOAKS.iter().zip(from).zip(to) {
                let wets = sky.water_mm_h() / wetting_mm / wetting_h * kind.wets / 60.0;
                let dries = kind.dries / drying_h / 60.0;
                let level = wets / (wets + dries);
                // Dry ground without rain stays so: most minutes of most months.
                *to = if *from == 0.0 && wets == 0.0 {
                    0.0
                } else {
                    level + (*from - level) * (-(wets + dries)).exp()
                };
            }
        }
    }

    /// Moisture of posts of one soak on one patch, now.
    pub fn at(&self, patch: u16, soak: u8) -> f64 {
        let (from, to) = (
            self.from[usize::from(patch)][usize::from(soak)],
            self.to[usize::from(patch)][usize::from(soak)],
        );
        from + (to - from) * self.part
    }

    /// The sky over a patch, now.
    pub fn sky(&self, patch: u16) -> &Sky {
        &self.skies[usize::from(patch)]
    }

    /// The simulator's own word on whether the ground at such a post is wet: water comes down, or moisture is
    /// 0.1 and more (after strong rain some 20 hours; a choice).
    pub fn wet(&self, patch: u16, soak: u8) -> bool {
        self.sky(patch).water_mm_h() > 0.0 || self.at(patch, soak) >= 0.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn demo() -> (Weather, City) {
        let scenario = Scenario::shipped("demo").unwrap();
        (Weather::new(&scenario, 1), City::new(1000, 1, &scenario).unwrap())
    }

    #[test]
    fn posts_soak_in_rain_and_dry_after_it_low_lying_ones_last() {
        let (weather, city) = demo();
        let mut moisture = Moisture::new(&weather, &city);
        moisture.advance(&weather, &city, 10.0);
        assert_eq!(moisture.at(0, SOAK_ORDINARY), 0.0);
        moisture.advance(&weather, &city, 400.5);
        let soaked = moisture.at(0, SOAK_ORDINARY);
        assert!(soaked > 0.9 && moisture.at(0, SOAK_SLOWEST) < soaked);
        moisture.advance(&weather, &city, 551.0 + 600.0);
        let dried = moisture.at(0, SOAK_ORDINARY);
        assert!((dried - soaked * (-1.0f64).exp()).abs() < 0.05, "{soaked} {dried}");
        assert!(moisture.at(0, SOAK_LOW_LYING) > 0.6);
        assert!(moisture.wet(0, SOAK_ORDINARY));
    }

    #[test]
    fn moisture_does_not_depend_on_the_steps_it_was_moved_in() {
        let (weather, city) = demo();
        let (mut fine, mut coarse) = (Moisture::new(&weather, &city), Moisture::new(&weather, &city));
        (1..=3000).for_each(|n| fine.advance(&weather, &city, f64::from(n) / 10.0));
        coarse.advance(&weather, &city, 300.0);
        assert_eq!(fine.at(2, 3).to_bits(), coarse.at(2, 3).to_bits());
    }
}
