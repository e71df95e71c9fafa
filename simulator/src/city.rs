//! A city of lamp posts, made from a seed: where they stand, how they are insulated, what measures them.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::chance::Chance;
use crate::names::{LANDMARKS, LOW_LANDMARKS, ROADS};
use crate::physics::{Danger, Insulation};
use crate::post::SensorModel;
use crate::scenario::{Scenario, ScenarioError};
use crate::weather::{SOAK_LOW_LYING, SOAK_ORDINARY, SOAK_SLOWEST};

/// Most posts of one city; about 80 MB of memory, and 140 MB more while its register file is made (measured).
pub const POSTS_MAX: u32 = 1_000_000;

/// One responsibility zone (责任区).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zone {
    /// Identity, as in topics.
    pub id: &'static str,
    /// Name, as people say it.
    pub name: &'static str,
    /// Its share of the city's posts.
    share: f64,
    /// Middle, longitude and latitude, WGS-84 degrees.
    middle: (f64, f64),
    /// Administrative division code, the head of each part code (部件编码).
    division: &'static str,
}

const fn zone(
    id: &'static str,
    name: &'static str,
    share: f64,
    middle: (f64, f64),
    division: &'static str,
) -> Zone {
    Zone { id, name, share, middle, division }
}

/// The four zones, in the order in which rain reaches them: around 113.24 E, 35.22 N, as Jiaozuo is.
pub const ZONES: [Zone; 4] = [
    zone("z1", "解放责任区", 0.30, (113.215, 35.235), "410802"),
    zone("z2", "山阳责任区", 0.28, (113.265, 35.235), "410811"),
    zone("z3", "中站责任区", 0.22, (113.215, 35.205), "410803"),
    zone("z4", "马村责任区", 0.20, (113.265, 35.205), "410804"),
];

/// How good a post is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing wrong.
    Healthy,
    /// Old insulation on a good earth: up to some 12 mA in rain, never dangerous here.
    Aged,
    /// A joint that becomes live when it is wet.
    Hazard,
}

/// One lamp post.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Place in [`ZONES`].
    pub zone: u8,
    /// Road of its zone, counted from 0.
    pub road: u32,
    /// Number painted on it, counted along its road from 1.
    pub number: u32,
    /// Landmark a crew can find.
    pub landmark: &'static str,
    /// Feeder of its zone, counted from 0; about 40 posts each.
    pub feeder: u32,
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// Lamps on it, 1 or 2.
    pub lamps: u8,
    /// Rated power of one lamp, watts.
    pub lamp_w: u16,
    /// Stands where water stays.
    pub low_lying: bool,
    /// Year it was put up.
    pub installed: u16,
    /// How good it is.
    pub class: Class,
    /// Its insulation and earth.
    pub insulation: Insulation,
    /// How it soaks, a place in the table of `weather.rs`.
    pub soak: u8,
    /// What measures it.
    pub sensor: SensorModel,
    /// True when the sensor raises its own flags (half of them do).
    pub has_flags: bool,
}

/// Why a city could not be made. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum CityError {
    /// Too few or too many posts.
    #[error("a city of {0} posts cannot be made, the range is 1 to {POSTS_MAX}")]
    Posts(u32),
    /// The scenario is out of range.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// A city: posts in the order of zones and roads. The same seed gives the same city.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    posts: Vec<Post>,
    seed: u64,
    period_s: u32,
}

/// Posts on one feeder.
const FEEDER_POSTS: u32 = 40;
/// Posts on one road, if the zone has them.
const ROAD_POSTS: u32 = 160;
/// Distance between two posts, metres.
const SPACING_M: f64 = 32.0;
/// Degrees of latitude in a metre, and of longitude at 35.22 N.
const DEGREES_PER_M: (f64, f64) = (1.0 / 90_940.0, 1.0 / 111_320.0);
/// Share of aged posts, of poor earths, and of stretches that lie low (the first: domain reference 17.3).
const AGED: f64 = 0.05;
const POOR_EARTH: f64 = 0.06;
const LOW_STRETCH: f64 = 0.04;
/// Posts that share a stretch: low-lying or not, near one landmark.
const STRETCH_POSTS: u32 = 12;

impl City {
    /// A city of `posts` posts with the hazards and the reporting period of a scenario.
    ///
    /// # Errors
    /// [`CityError`] when a number is out of range.
    pub fn new(posts: u32, seed: u64, scenario: &Scenario) -> Result<Self, CityError> {
        if !(1..=POSTS_MAX).contains(&posts) {
            return Err(CityError::Posts(posts));
        }
        scenario.check()?;
        let chance = Chance::new(seed).of(0x6369_7479);
        let mut all = Vec::with_capacity(posts as usize);
        let (mut share, mut begin) = (0.0, 0);
        for (place, zone) in ZONES.iter().enumerate() {
            share += zone.share;
            let end = ((f64::from(posts) * share).round() as u32).clamp(begin, posts);
            let end = if place + 1 == ZONES.len() { posts } else { end };
            let street = Street::of(place, end - begin, chance.of(place as u64));
            all.extend((0..end - begin).map(|n| street.post(n, chance.of(u64::from(begin + n) + 100))));
            begin = end;
        }
        let mut city = Self { posts: all, seed, period_s: scenario.period_s };
        city.place_hazards(scenario.hazards(posts), chance.of(1));
        Ok(city)
    }

    /// Turns posts into hazards: zone by zone in turn, from the quickest to the slowest, so that a storm of
    /// any strength uncovers them one after the other.
    fn place_hazards(&mut self, count: u32, chance: Chance) {
        let mut taken = HashSet::new();
        let by_zone: Vec<Vec<usize>> = (0..ZONES.len())
            .map(|zone| (0..self.posts.len()).filter(|i| usize::from(self.posts[*i].zone) == zone).collect())
            .collect();
        let by_zone: Vec<&Vec<usize>> = by_zone.iter().filter(|posts| !posts.is_empty()).collect();
        for nth in 0..count as usize {
            let chance = chance.of(nth as u64);
            let mut zone = by_zone[nth % by_zone.len()];
            if zone.iter().all(|post| taken.contains(post)) {
                let Some(other) = by_zone.iter().find(|posts| posts.iter().any(|post| !taken.contains(post)))
                else {
                    return;
                };
                zone = other;
            }
            let start = chance.below(0, zone.len());
            let free = (0..zone.len()).map(|step| zone[(start + step) % zone.len()]);
            let Some(place) = free.into_iter().find(|post| !taken.contains(post)) else {
                continue;
            };
            taken.insert(place);
            let slowness = nth as f64 / f64::from(count.max(2) - 1);
            self.posts[place].make_hazard(slowness, nth, chance);
        }
    }

    /// Every post; a post's place here is its number in the simulation.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// The seed it was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Reporting period written into the register, seconds.
    pub fn period_s(&self) -> u32 {
        self.period_s
    }

    /// Places of the hazards.
    pub fn hazards(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.posts.len()).filter(|place| self.posts[*place].class == Class::Hazard)
    }

    /// Places of the posts that are dangerous or marginal when soaked.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        let soaked = |post: &Post| post.insulation.at(1.0).danger(true);
        (0..self.posts.len()).filter(move |place| soaked(&self.posts[*place]) > Danger::None)
    }

    /// Identity of a post and of its device: `P00001` and so on.
    pub fn post_id(place: usize) -> String {
        format!("P{:05}", place + 1)
    }

    /// Identity of a feeder: `F1-001`.
    pub fn feeder_id(post: &Post) -> String {
        format!("F{}-{:03}", post.zone + 1, post.feeder + 1)
    }

    /// The register of posts (台账) as a `posts.csv`.
    pub fn register_csv(&self) -> String {
        let mut csv = lampguard_model::register::header();
        csv.push('\n');
        for (place, post) in self.posts.iter().enumerate() {
            let zone = &ZONES[usize::from(post.zone)];
            // Writing into a String cannot fail.
            let _ = writeln!(
                csv,
                "{id},,{},{},{:03},{},{},C{}-{:02},{:.6},{:.6},{},{},{},{}-{:02},{}0203{:06},post,all,true,{},{}",
                zone.id,
                road_name(post),
                post.number,
                post.landmark,
                Self::feeder_id(post),
                post.zone + 1,
                post.feeder / 4 + 1,
                post.lon,
                post.lat,
                post.lamps,
                post.lamp_w,
                post.low_lying,
                post.installed,
                place % 12 + 1,
                zone.division,
                place,
                post.sensor.name(),
                self.period_s,
                id = Self::post_id(place),
            );
        }
        csv
    }
}

/// Name of a post's road; beyond eight roads in a zone they come in sections: 人民路2段.
pub fn road_name(post: &Post) -> String {
    let names = &ROADS[usize::from(post.zone) % ROADS.len()];
    let (section, name) = (post.road as usize / names.len(), names[post.road as usize % names.len()]);
    if section == 0 { name.to_owned() } else { format!("{name}{}段", section + 1) }
}

/// The roads of one zone: a grid around its middle, lines west to east and south to north in turn.
struct Street {
    zone: usize,
    roads: u32,
    posts_per_road: u32,
    chance: Chance,
}

impl Street {
    fn of(zone: usize, posts: u32, chance: Chance) -> Self {
        let roads = posts.div_ceil(ROAD_POSTS).max(1);
        Self { zone, roads, posts_per_road: posts.div_ceil(roads).max(1), chance }
    }

    fn post(&self, nth: u32, chance: Chance) -> Post {
        let (road, along) = (nth / self.posts_per_road, nth % self.posts_per_road);
        let (lon, lat) = self.position(road, along, chance);
        let stretch = self.chance.of(u64::from(road)).of(u64::from(along / STRETCH_POSTS));
        let low_lying = stretch.unit(0) < LOW_STRETCH;
        let landmarks: &[&str] = if low_lying { &LOW_LANDMARKS } else { &LANDMARKS };
        let year = 2003 + self.chance.of(u64::from(road)).below(1, 20) as u16;
        let class = if chance.unit(0) < AGED { Class::Aged } else { Class::Healthy };
        Post {
            zone: self.zone as u8,
            road,
            number: along + 1,
            landmark: landmarks[stretch.below(1, landmarks.len())],
            feeder: nth / FEEDER_POSTS,
            lon,
            lat,
            lamps: 1 + u8::from(self.chance.of(u64::from(road)).unit(2) < 0.3),
            lamp_w: [60, 100, 150, 250][self.chance.of(u64::from(road)).below(3, 4)],
            low_lying,
            installed: if class == Class::Aged { year.min(2010) } else { year },
            class,
            insulation: insulation(class, chance),
            soak: if low_lying { SOAK_LOW_LYING } else { SOAK_ORDINARY },
            sensor: SensorModel::ALL[chance.below(1, SensorModel::ALL.len())],
            has_flags: chance.unit(2) < 0.5,
        }
    }

    fn position(&self, road: u32, along: u32, chance: Chance) -> (f64, f64) {
        let (lon, lat) = ZONES[self.zone].middle;
        // Roads stand 350 m apart, closer where the zone has very many; all stay within 0.15 degrees.
        let lines = f64::from(self.roads.div_ceil(2));
        let apart_m = (30_000.0 / lines).min(350.0);
        let aside_m = (f64::from(road / 2) - (lines - 1.0) / 2.0) * apart_m + chance.between(3, -1.0, 1.0);
        let along_m = (f64::from(along) - f64::from(self.posts_per_road - 1) / 2.0) * SPACING_M
            + chance.between(4, -2.0, 2.0);
        let (east_m, north_m) = if road.is_multiple_of(2) { (along_m, aside_m) } else { (aside_m, along_m) };
        (lon + east_m * DEGREES_PER_M.0, lat + north_m * DEGREES_PER_M.1)
    }
}

/// Insulation of a healthy or aged post: ranges of the domain reference, section 17.3.
fn insulation(class: Class, chance: Chance) -> Insulation {
    let good_earth = chance.between(10, 2.0, 10.0);
    let capacitive_ma = chance.between(11, 0.3, 1.5) as f32;
    if class == Class::Aged {
        // Held at 18 kΩ when soaked (12.8 mA), on a good earth: what goes beyond is counted as a hazard, so
        // that the share of dangerous posts is the one of the sources.
        let dry_ohm = chance.log_between(12, 0.5e6, 3e6);
        let k = chance.between(13, 2.0, 4.0).min((dry_ohm / 18e3).ln());
        return Insulation {
            dry_ohm: dry_ohm as f32,
            k: k as f32,
            earth_ohm: good_earth as f32,
            capacitive_ma,
        };
    }
    let poor = chance.unit(14) < POOR_EARTH;
    let earth_ohm = if poor { chance.log_between(15, 80.0, 3000.0) } else { good_earth };
    Insulation {
        dry_ohm: chance.log_between(12, 10e6, 300e6) as f32,
        k: chance.between(13, 2.0, 5.0) as f32,
        earth_ohm: earth_ohm as f32,
        capacitive_ma,
    }
}

impl Post {
    /// A hazard: 40 to 160 kΩ, k 4.5 to 6.5 (domain reference section 17.3). `slowness` 0 is dangerous at a
    /// moisture of about 0.15 and soaks fast, 1 at about 0.5 and soaks slowly.
    fn make_hazard(&mut self, slowness: f64, nth: usize, chance: Chance) {
        let dry_ohm = 42e3 * (150e3f64 / 42e3).powf(slowness) * chance.between(1, 0.96, 1.04);
        let k = 6.4 - 1.8 * slowness + chance.between(2, -0.1, 0.1);
        // A poor earth every second time, but below 5 V while dry: otherwise it would show without rain.
        let earth_ohm = if nth % 2 == 1 {
            chance.log_between(3, 80.0, 3000.0).min(dry_ohm / 50.0)
        } else {
            chance.between(3, 2.0, 10.0)
        };
        self.class = Class::Hazard;
        self.insulation = Insulation {
            dry_ohm: dry_ohm as f32,
            k: k as f32,
            earth_ohm: earth_ohm as f32,
            capacitive_ma: chance.between(4, 0.3, 1.5) as f32,
        };
        self.soak = (slowness * f64::from(SOAK_SLOWEST)).round() as u8;
        self.has_flags = nth.is_multiple_of(2);
    }
}

#[cfg(test)]
mod tests {
    use lampguard_model::Register;

    use super::*;

    fn demo(posts: u32, seed: u64) -> City {
        City::new(posts, seed, &Scenario::shipped("demo").unwrap()).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_city_and_another_seed_another() {
        assert_eq!(demo(3200, 7), demo(3200, 7));
        assert_eq!(demo(3200, 7).register_csv(), demo(3200, 7).register_csv());
        assert_ne!(demo(3200, 7), demo(3200, 8));
    }

    #[test]
    fn the_register_is_one_that_lampguard_reads() {
        let city = demo(3200, 1);
        let register = Register::parse(city.register_csv().as_bytes()).unwrap();
        assert_eq!(register.posts().len(), 3200);
        assert_eq!(register.zones().len(), 4);
        let post = register.by_device("P00001").unwrap();
        assert_eq!((&*post.zone, &*post.road, post.period_s), ("z1", "人民路", Some(15)));
        assert!(register.posts().iter().any(|post| post.low_lying));
        for post in register.posts() {
            assert!((post.lon - 113.24).abs() < 0.1 && (post.lat - 35.22).abs() < 0.1);
        }
    }

    #[test]
    fn a_city_of_any_size_is_read_as_a_register() {
        for posts in [1, 2, 3, 5, 41, 1000, 50_000] {
            let city = demo(posts, 3);
            let register = Register::parse(city.register_csv().as_bytes()).unwrap();
            assert_eq!(register.posts().len(), posts as usize);
            assert!(city.hazards().count() >= 1);
        }
        let scenario = Scenario::shipped("demo").unwrap();
        assert!(City::new(0, 1, &scenario).is_err());
        let message = City::new(1_000_001, 1, &scenario).unwrap_err().to_string();
        assert_eq!(message, "a city of 1000001 posts cannot be made, the range is 1 to 1000000");
    }

    #[test]
    fn the_share_of_hazards_is_the_one_of_the_sources() {
        for seed in 0..20 {
            for posts in [3200, 10_000, 50_000] {
                let share = demo(posts, seed).hazards().count() as f64 / f64::from(posts);
                assert!((0.002..=0.0035).contains(&share), "seed {seed}: {share}");
            }
        }
    }

    #[test]
    fn healthy_posts_stay_below_6_ma_and_only_hazards_become_dangerous() {
        for seed in 0..20 {
            for post in demo(3200, seed).posts() {
                let soaked = post.insulation.at(1.0);
                match post.class {
                    Class::Healthy => assert!(soaked.leakage_ma < 6.0 && soaked.shell_v < 12.0),
                    Class::Aged => assert!(soaked.danger(true) < Danger::Dangerous),
                    Class::Hazard => {
                        assert_eq!(soaked.danger(true), Danger::Dangerous);
                        assert_eq!(post.insulation.at(0.0).danger(false), Danger::None);
                    }
                }
            }
        }
    }

    #[test]
    fn feeders_hold_about_forty_posts() {
        let city = demo(3200, 1);
        let mut sizes = std::collections::HashMap::new();
        for post in city.posts() {
            *sizes.entry(City::feeder_id(post)).or_insert(0) += 1;
        }
        assert!(sizes.values().all(|size| *size <= 40) && sizes.len() <= 84);
    }
}
