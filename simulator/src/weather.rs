//! The sky over every patch of ground: fronts that cross the zones, storm cells that wander, melting snow.
//!
//! Time here is minutes of weather since the start of the simulation; speed is applied outside. What the office
//! is told of it is another matter (`feed.rs`), and how wet the posts get stands in `moisture.rs`.

use lampguard_model::Warning;

use crate::chance::Chance;
use crate::city::Patch;
use crate::scenario::{Cells, Climate, Scenario, Storm, Water};
use crate::street::{ZONES, km_from_middle};

/// The sky over one place in one minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sky {
    /// Rain that a gauge sees, mm per hour, in tenths.
    pub rain_mm_h: f64,
    /// Water that no gauge sees (melt, washing), mm per hour.
    pub unseen_mm_h: f64,
    /// Official warning in force.
    pub warning: Warning,
}

impl Sky {
    /// Everything that wets a post, mm per hour.
    pub fn water_mm_h(&self) -> f64 {
        self.rain_mm_h + self.unseen_mm_h
    }
}

/// One storm cell: a round rain that moves along a straight line.
#[derive(Clone, Copy, Debug)]
struct Cell {
    from_min: f64,
    until_min: f64,
    /// Place at `from_min`, km from the middle of the city.
    x_km: f64,
    y_km: f64,
    /// Km a minute.
    east: f64,
    north: f64,
    radius_km: f64,
    rain_mm_h: f64,
    warning: Warning,
}

/// The weather of a scenario: any minute, any place.
#[derive(Clone, Debug)]
pub struct Weather {
    storms: Vec<Storm>,
    cells: Vec<Cell>,
    zone_delay_min: f64,
    chance: Chance,
}

impl Weather {
    /// The weather of a scenario; the seed moves its gusts and cells and draws its climate.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let chance = Chance::new(seed).of(0x7261_696e);
        let mut weather = Self {
            storms: scenario.storm.clone(),
            cells: Vec::new(),
            zone_delay_min: scenario.zone_delay_min,
            chance,
        };
        for (nth, cells) in scenario.cells.iter().enumerate() {
            weather.add_cells(cells, chance.of(nth as u64 + 10));
        }
        if let Some(climate) = &scenario.climate {
            weather.draw(climate, chance.of(1));
        }
        weather
    }

    /// Half-days with drizzle, fronts or cells; the others are dry.
    fn draw(&mut self, climate: &Climate, chance: Chance) {
        for half in 0..(climate.days * 2.0).ceil() as u64 {
            let chance = chance.of(half);
            if chance.unit(0) >= climate.wet {
                continue;
            }
            let after_min = half as f64 * 720.0 + chance.between(1, 0.0, 500.0);
            let kind = chance.unit(2);
            if kind < 0.5 {
                self.storms.push(Storm {
                    hours: chance.between(3, 1.0, 8.0),
                    rain_mm_h: chance.between(4, 0.2, 1.2),
                    ..front(after_min)
                });
            } else if kind < 0.83 {
                let rain_mm_h = climate.front_mm_h * chance.between(4, 0.2, 1.0);
                let hours = chance.between(3, 2.0, 10.0);
                // The office warns of 50 mm in 12 h, late or early (domain reference section 17.1).
                let heavy = rain_mm_h * hours.min(12.0) >= 50.0;
                self.storms.push(Storm {
                    hours,
                    rain_mm_h,
                    warning: if heavy { Warning::Blue } else { Warning::None },
                    warning_lead_min: chance.between(5, 0.0, 180.0),
                    ..front(after_min)
                });
            } else {
                let cells = Cells {
                    after_min,
                    hours: chance.between(3, 2.0, 6.0),
                    count: 1 + chance.below(6, 6) as u32,
                    rain_mm_h: climate.front_mm_h * 2.0,
                    radius_km: chance.between(7, 0.8, 3.0),
                    speed_km_h: chance.between(8, 5.0, 40.0),
                    warning: Warning::None,
                };
                self.add_cells(&cells, chance.of(9));
            }
        }
    }

    fn add_cells(&mut self, cells: &Cells, chance: Chance) {
        // All move the same way, as one wind drives them; each enters the city somewhere.
        let heading = chance.between(0, 0.0, std::f64::consts::TAU);
        let speed = cells.speed_km_h / 60.0;
        for nth in 0..u64::from(cells.count) {
            let chance = chance.of(nth);
            let from_min = cells.after_min + chance.between(1, 0.0, cells.hours * 60.0 * 0.7);
            let until_min =
                (from_min + chance.between(2, 40.0, 150.0)).min(cells.after_min + cells.hours * 60.0);
            // It passes some point of the city in the middle of its life.
            let (x_km, y_km) = (chance.between(3, -4.0, 4.0), chance.between(4, -3.0, 3.0));
            let (east, north) = (heading.cos() * speed, heading.sin() * speed);
            let half = (until_min - from_min) / 2.0;
            self.cells.push(Cell {
                from_min,
                until_min,
                x_km: x_km - east * half,
                y_km: y_km - north * half,
                east,
                north,
                radius_km: cells.radius_km * chance.between(5, 0.7, 1.3),
                rain_mm_h: cells.rain_mm_h * chance.between(6, 0.5, 1.0),
                warning: cells.warning,
            });
        }
    }

    /// Adds a rain while the simulation runs; those that are long over make room.
    pub(crate) fn add(&mut self, storm: Storm) {
        self.storms.push(storm);
    }

    /// Ends every rain that was added with [`Weather::add`], at a minute; `scenario` ones stay.
    pub(crate) fn end_added(&mut self, scenario: usize, minute: f64) {
        for storm in &mut self.storms[scenario..] {
            // Added rains are of one zone, and begin earlier by what that zone's fronts come later.
            let delay = self.zone_delay_min * f64::from(storm.zone.unwrap_or(1) - 1);
            let hours = ((minute - delay - storm.after_min) / 60.0).max(0.0);
            storm.hours = storm.hours.min(hours);
        }
    }

    /// Rains that came with the scenario and its climate.
    pub(crate) fn storms(&self) -> usize {
        self.storms.len()
    }

    /// The sky over the gauge of a zone (0 to 3): the middle of the zone.
    pub fn over_zone(&self, zone: usize, minute: i64) -> Sky {
        let (lon, lat) = ZONES[zone].middle;
        let (x_km, y_km) = km_from_middle(lon, lat);
        self.over(&Patch { zone: zone as u8, x_km, y_km }, minute)
    }

    /// The sky over a patch of ground in a minute of weather.
    pub fn over(&self, patch: &Patch, minute: i64) -> Sky {
        let zone = usize::from(patch.zone);
        let at = minute as f64 - self.zone_delay_min * zone as f64;
        let mut sky = Sky { rain_mm_h: 0.0, unseen_mm_h: 0.0, warning: Warning::None };
        for storm in &self.storms {
            if storm.zone.is_some_and(|only| usize::from(only) != zone + 1) {
                continue;
            }
            let (since, left) = (at - storm.after_min, storm.after_min + storm.hours * 60.0 - at);
            if since >= -storm.warning_lead_min && left > 0.0 {
                sky.warning = sky.warning.max(storm.warning);
            }
            if since >= 0.0 && left > 0.0 {
                let ramp = storm.ramp_min.max(1.0);
                let share = (since / ramp).min(left / ramp).clamp(0.0, 1.0);
                let water = match storm.water {
                    Water::Rain => &mut sky.rain_mm_h,
                    Water::Melt | Water::Washing => &mut sky.unseen_mm_h,
                };
                *water = water.max(storm.rain_mm_h * share);
            }
        }
        self.add_rain_of_cells(patch, minute as f64, &mut sky);
        // Gusts of five minutes, each zone its own.
        let gust = self.chance.of(zone as u64).between((minute / 5) as u64, 0.85, 1.15);
        sky.rain_mm_h = (sky.rain_mm_h * gust * 10.0).round() / 10.0;
        sky
    }

    fn add_rain_of_cells(&self, patch: &Patch, minute: f64, sky: &mut Sky) {
        for cell in &self.cells {
            if !(cell.from_min..cell.until_min).contains(&minute) {
                continue;
            }
            let since = minute - cell.from_min;
            let away = (patch.x_km - cell.x_km - cell.east * since)
                .hypot(patch.y_km - cell.y_km - cell.north * since);
            // Full in the middle, a tenth at the radius.
            let share = (-2.3 * (away / cell.radius_km).powi(2)).exp();
            if share > 0.01 {
                sky.rain_mm_h = sky.rain_mm_h.max(cell.rain_mm_h * share);
            }
            sky.warning = sky.warning.max(cell.warning);
        }
    }
}

/// A rain without any strength, to be filled in.
pub(crate) fn front(after_min: f64) -> Storm {
    Storm {
        after_min,
        ramp_min: 20.0,
        hours: 1.0,
        rain_mm_h: 0.0,
        warning: Warning::None,
        warning_lead_min: 0.0,
        water: Water::Rain,
        zone: None,
    }
}

pub use crate::moisture::{SOAK_LOW_LYING, SOAK_ORDINARY, SOAK_SLOWEST};

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Weather {
        Weather::new(&Scenario::shipped("demo").unwrap(), 1)
    }

    #[test]
    fn it_is_dry_then_warned_then_it_rains_zone_after_zone_and_ends() {
        let weather = demo();
        let rain = |zone, minute| weather.over_zone(zone, minute).rain_mm_h;
        assert_eq!(rain(0, 5), 0.0);
        assert_eq!(weather.over_zone(0, 7).warning, Warning::Yellow);
        assert!(rain(0, 20) > 9.0 && rain(0, 20) < 14.0);
        assert_eq!(rain(3, 50), 0.0);
        assert!(rain(3, 62) > 5.0);
        assert_eq!(rain(0, 11 + 9 * 60), 0.0);
        assert_eq!(weather.over_zone(0, 900).warning, Warning::None);
    }

    #[test]
    fn a_storm_cell_wets_one_part_of_the_city_and_moves_on() {
        let mut scenario = Scenario::empty("cells");
        scenario.cells.push(Cells {
            after_min: 0.0,
            hours: 3.0,
            count: 3,
            rain_mm_h: 40.0,
            radius_km: 1.0,
            speed_km_h: 12.0,
            warning: Warning::None,
        });
        for seed in 0..20 {
            let weather = Weather::new(&scenario, seed);
            let mut reached = [false; 16];
            let mut all_at_once = 0;
            for minute in 0..180 {
                let wet: Vec<bool> = (0..16)
                    .map(|n| {
                        let (x_km, y_km) = (f64::from(n % 4) * 2.0 - 3.0, f64::from(n / 4) * 2.0 - 3.0);
                        weather.over(&Patch { zone: 0, x_km, y_km }, minute).rain_mm_h > 2.0
                    })
                    .collect();
                all_at_once += usize::from(wet.iter().all(|wet| *wet));
                reached.iter_mut().zip(wet).for_each(|(reached, wet)| *reached |= wet);
            }
            let reached = reached.iter().filter(|reached| **reached).count();
            assert!((1..16).contains(&reached) && all_at_once == 0, "seed {seed}: {reached}");
        }
    }

    #[test]
    fn a_climate_has_dry_spells_and_wet_ones_and_another_seed_has_others() {
        let mut scenario = Scenario::empty("climate");
        scenario.climate = Some(Climate { wet: 0.3, front_mm_h: 10.0, days: 30.0 });
        let hours = |seed| {
            let weather = Weather::new(&scenario, seed);
            (0..720).map(|hour| weather.over_zone(1, hour * 60).rain_mm_h > 0.0).collect::<Vec<_>>()
        };
        let wet = hours(1).into_iter().filter(|wet| *wet).count();
        assert!((20..300).contains(&wet), "{wet} of 720 hours");
        assert_eq!(hours(1), hours(1));
        assert_ne!(hours(1), hours(2));
    }

    #[test]
    fn no_gauge_sees_melting_snow() {
        let mut scenario = Scenario::empty("melt");
        scenario.storm.push(Storm { water: Water::Melt, rain_mm_h: 2.0, hours: 5.0, ..front(0.0) });
        let sky = Weather::new(&scenario, 1).over_zone(0, 60);
        assert_eq!((sky.rain_mm_h, sky.water_mm_h()), (0.0, 2.0));
    }
}
