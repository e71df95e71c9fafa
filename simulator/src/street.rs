//! Where posts stand: zones, roads, stretches, positions.

use crate::chance::Chance;
use crate::names::{LANDMARKS, LOW_LANDMARKS, ROADS};
use crate::params::Params;

/// One responsibility zone (责任区).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zone {
    /// Identity, as in topics.
    pub id: &'static str,
    /// Name, as people say it.
    pub name: &'static str,
    /// Its share of the city's posts.
    pub(crate) share: f64,
    /// Middle, longitude and latitude, WGS-84 degrees.
    pub(crate) middle: (f64, f64),
    /// Administrative division code, the head of each part code (部件编码).
    pub(crate) division: &'static str,
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

/// Middle of the city, longitude and latitude.
pub(crate) const MIDDLE: (f64, f64) = (113.24, 35.22);

/// Posts on one road, if the zone has them.
const ROAD_POSTS: u32 = 160;
/// Distance between two posts, metres.
const SPACING_M: f64 = 32.0;
/// Degrees of longitude at 35.22 N and of latitude in a metre.
const DEGREES_PER_M: (f64, f64) = (1.0 / 90_940.0, 1.0 / 111_320.0);
/// Posts that share a stretch: low-lying or not, near one landmark.
pub(crate) const STRETCH_POSTS: u32 = 12;

/// Where one post stands.
pub(crate) struct Spot {
    pub(crate) road: u32,
    pub(crate) number: u32,
    pub(crate) landmark: &'static str,
    pub(crate) lon: f64,
    pub(crate) lat: f64,
    pub(crate) lamps: u8,
    pub(crate) lamp_w: u16,
    pub(crate) low_lying: bool,
    pub(crate) installed: u16,
}

/// The roads of one zone: a grid around its middle, lines west to east and south to north in turn.
pub(crate) struct Streets<'a> {
    zone: usize,
    roads: u32,
    posts_per_road: u32,
    chance: Chance,
    params: &'a Params,
}

impl<'a> Streets<'a> {
    pub(crate) fn of(zone: usize, posts: u32, chance: Chance, params: &'a Params) -> Self {
        let roads = posts.div_ceil(ROAD_POSTS).max(1);
        Self { zone, roads, posts_per_road: posts.div_ceil(roads).max(1), chance, params }
    }

    pub(crate) fn spot(&self, nth: u32, chance: Chance) -> Spot {
        let (road, along) = (nth / self.posts_per_road, nth % self.posts_per_road);
        let (lon, lat) = self.position(road, along, chance);
        let of_road = self.chance.of(u64::from(road));
        let stretch = of_road.of(u64::from(along / STRETCH_POSTS));
        let low_lying = stretch.unit(0) < self.params.ground.low_stretch;
        let landmarks: &[&str] = if low_lying { &LOW_LANDMARKS } else { &LANDMARKS };
        Spot {
            road,
            number: along + 1,
            landmark: landmarks[stretch.below(1, landmarks.len())],
            lon,
            lat,
            lamps: 1 + u8::from(of_road.unit(2) < 0.3),
            lamp_w: [60, 100, 150, 250][of_road.below(3, 4)],
            low_lying,
            installed: 2003 + of_road.below(1, 20) as u16,
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

/// Kilometres east and north of the middle of the city.
pub(crate) fn km_from_middle(lon: f64, lat: f64) -> (f64, f64) {
    ((lon - MIDDLE.0) / DEGREES_PER_M.0 / 1000.0, (lat - MIDDLE.1) / DEGREES_PER_M.1 / 1000.0)
}

/// Name of a road; beyond eight roads in a zone they come in sections: 人民路2段.
pub(crate) fn road_name(zone: u8, road: u32) -> String {
    let names = &ROADS[usize::from(zone) % ROADS.len()];
    let (section, name) = (road as usize / names.len(), names[road as usize % names.len()]);
    if section == 0 { name.to_owned() } else { format!("{name}{}段", section + 1) }
}
