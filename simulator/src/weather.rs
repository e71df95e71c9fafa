//! Rain over four zones, and how wet the posts are.
//!
//! Time here is minutes of weather since the start of the simulation; speed is applied outside.

use lampguard_model::Warning;

use crate::chance::Chance;
use crate::city::ZONES;
use crate::scenario::{Scenario, Storm};

/// The sky over one zone in one minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sky {
    /// Rain, mm per hour, in tenths.
    pub rain_mm_h: f64,
    /// Official warning in force.
    pub warning: Warning,
}

/// The rain of a scenario: any minute, any zone.
#[derive(Clone, Debug)]
pub struct Weather {
    storms: Vec<Storm>,
    zone_delay_min: f64,
    chance: Chance,
}

impl Weather {
    /// The weather of a scenario; the seed moves its gusts.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            storms: scenario.storm.clone(),
            zone_delay_min: scenario.zone_delay_min,
            chance: Chance::new(seed).of(0x7261_696e),
        }
    }

    /// The sky over a zone (0 to 3) in a minute of weather.
    pub fn sky(&self, zone: usize, minute: i64) -> Sky {
        let at = minute as f64 - self.zone_delay_min * zone as f64;
        let mut sky = Sky { rain_mm_h: 0.0, warning: Warning::None };
        for storm in &self.storms {
            let (since, left) = (at - storm.after_min, storm.after_min + storm.hours * 60.0 - at);
            if since >= -storm.warning_lead_min && left > 0.0 {
                sky.warning = sky.warning.max(storm.warning);
            }
            if since >= 0.0 && left > 0.0 {
                let ramp = storm.ramp_min.max(1.0);
                let share = (since / ramp).min(left / ramp).clamp(0.0, 1.0);
                sky.rain_mm_h = sky.rain_mm_h.max(storm.rain_mm_h * share);
            }
        }
        // Gusts of five minutes, each zone its own.
        let gust = self.chance.of(zone as u64).between((minute / 5) as u64, 0.85, 1.15);
        sky.rain_mm_h = (sky.rain_mm_h * gust * 10.0).round() / 10.0;
        sky
    }
}

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

type Levels = [[f64; SOAKS.len()]; ZONES.len()];

/// How wet the posts are, 0 (dry) to 1 (soaked), minute by minute; moves forward only.
///
/// `m' = rain/3mm * (1-m)/3h - m/10h` (domain reference section 17.3), solved exactly over each minute.
#[derive(Clone, Debug)]
pub struct Moisture {
    minute: i64,
    from: Levels,
    to: Levels,
    skies: [Sky; ZONES.len()],
    part: f64,
}

impl Moisture {
    /// Everything dry, at minute 0.
    pub fn new(weather: &Weather) -> Self {
        let mut moisture = Self {
            minute: 0,
            from: Levels::default(),
            to: Levels::default(),
            skies: std::array::from_fn(|zone| weather.sky(zone, 0)),
            part: 0.0,
        };
        moisture.wet_for_a_minute();
        moisture
    }

    /// Moves to a point in time, in minutes of weather; an earlier one leaves everything as it is.
    pub fn advance(&mut self, weather: &Weather, minutes: f64) {
        while self.minute < minutes.floor() as i64 {
            self.minute += 1;
            self.from = self.to;
            self.skies = std::array::from_fn(|zone| weather.sky(zone, self.minute));
            self.wet_for_a_minute();
        }
        self.part = (minutes - self.minute as f64).clamp(0.0, 1.0);
    }

    fn wet_for_a_minute(&mut self) {
        for (zone, sky) in self.skies.iter().enumerate() {
            for (soak, kind) in SOAKS.iter().enumerate() {
                let wets = sky.rain_mm_h / 3.0 / 3.0 * kind.wets / 60.0;
                let dries = kind.dries / 10.0 / 60.0;
                let level = wets / (wets + dries);
                self.to[zone][soak] = level + (self.from[zone][soak] - level) * (-(wets + dries)).exp();
            }
        }
    }

    /// Moisture of posts of one soak in one zone, now.
    pub fn at(&self, zone: usize, soak: u8) -> f64 {
        let (from, to) = (self.from[zone][usize::from(soak)], self.to[zone][usize::from(soak)]);
        from + (to - from) * self.part
    }

    /// The sky over a zone, now.
    pub fn sky(&self, zone: usize) -> Sky {
        self.skies[zone]
    }

    /// The simulator's own word on whether the ground at such a post is wet: it rains, or moisture is 0.1 and
    /// more (after strong rain some 20 hours; a choice).
    pub fn wet(&self, zone: usize, soak: u8) -> bool {
        self.skies[zone].rain_mm_h > 0.0 || self.at(zone, soak) >= 0.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Weather {
        Weather::new(&Scenario::shipped("demo").unwrap(), 1)
    }

    #[test]
    fn it_is_dry_then_warned_then_it_rains_zone_after_zone_and_ends() {
        let weather = demo();
        let rain = |zone, minute| weather.sky(zone, minute).rain_mm_h;
        assert_eq!(rain(0, 5), 0.0);
        assert_eq!(weather.sky(0, 7).warning, Warning::Yellow);
        assert!(rain(0, 20) > 9.0 && rain(0, 20) < 14.0);
        assert_eq!(rain(3, 50), 0.0);
        assert!(rain(3, 62) > 5.0);
        assert_eq!(rain(0, 11 + 9 * 60), 0.0);
        assert_eq!(weather.sky(0, 900).warning, Warning::None);
    }

    #[test]
    fn posts_soak_in_rain_and_dry_after_it_low_lying_ones_last() {
        let weather = demo();
        let mut moisture = Moisture::new(&weather);
        moisture.advance(&weather, 10.0);
        assert_eq!(moisture.at(0, SOAK_ORDINARY), 0.0);
        moisture.advance(&weather, 400.5);
        let soaked = moisture.at(0, SOAK_ORDINARY);
        assert!(soaked > 0.9 && moisture.at(0, SOAK_SLOWEST) < soaked);
        moisture.advance(&weather, 551.0 + 600.0);
        let dried = moisture.at(0, SOAK_ORDINARY);
        assert!((dried - soaked * (-1.0f64).exp()).abs() < 0.05, "{soaked} {dried}");
        assert!(moisture.at(0, SOAK_LOW_LYING) > 0.6);
        assert!(moisture.wet(0, SOAK_ORDINARY));
    }

    #[test]
    fn moisture_does_not_depend_on_the_steps_it_was_moved_in() {
        let weather = demo();
        let (mut fine, mut coarse) = (Moisture::new(&weather), Moisture::new(&weather));
        (1..=3000).for_each(|n| fine.advance(&weather, f64::from(n) / 10.0));
        coarse.advance(&weather, 300.0);
        assert_eq!(fine.at(2, 3).to_bits(), coarse.at(2, 3).to_bits());
    }
}
