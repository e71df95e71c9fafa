//! Coordinates of Chinese maps: GCJ-02 (Amap, Tencent), BD-09 (Baidu), and WGS-84, which the register keeps.
//!
//! GCJ-02 shifts a place by 100 to 700 m, BD-09 shifts it by some hundred metres more. Both are published as formulas with
//! fixed constants, forwards only; the way back is looked for step by step. Outside the rectangle of [`is_shifted`] all three
//! are the same. The rectangle is coarse, as the formula's own: Hong Kong, Taiwan and strips of the neighbours lie in it.

use std::f64::consts::PI;

/// Semi-major axis of the formula's ellipsoid (Krassovsky 1940), metres.
const AXIS: f64 = 6_378_245.0;
/// First eccentricity squared of that ellipsoid.
const ECCENTRICITY: f64 = 0.006_693_421_622_965_943;
/// What BD-09 takes a degree for.
const BAIDU: f64 = PI * 3000.0 / 180.0;
/// A degree of latitude, metres; of longitude at the equator.
const DEGREE_M: f64 = 111_320.0;
/// The way back ends when a step is shorter, degrees: about a millimetre.
const CLOSE: f64 = 1e-8;
/// Steps of the way back. Each is some hundred times shorter than the one before; three are enough, at the edge of the
/// rectangle none are.
const STEPS_MAX: usize = 12;

/// What a pair of longitude and latitude means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crs {
    /// As GPS and CGCS2000 (Tianditu) have it; the register keeps it.
    #[default]
    Wgs84,
    /// Amap, Tencent, and most Chinese maps.
    Gcj02,
    /// Baidu.
    Bd09,
}

impl Crs {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wgs84, Self::Gcj02, Self::Bd09];

    /// `wgs84`, `gcj02`, `bd09`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wgs84 => "wgs84",
            Self::Gcj02 => "gcj02",
            Self::Bd09 => "bd09",
        }
    }

    /// Longitude and latitude in this system of a place in WGS-84.
    pub fn from_wgs84(self, (lon, lat): (f64, f64)) -> (f64, f64) {
        if !is_shifted(lon, lat) {
            return (lon, lat);
        }
        match self {
            Self::Wgs84 => (lon, lat),
            Self::Gcj02 => gcj02(lon, lat),
            Self::Bd09 => {
                let (lon, lat) = gcj02(lon, lat);
                bd09(lon, lat)
            }
        }
    }

    /// The place in WGS-84 that has this longitude and latitude in this system; the way there again ends less than a
    /// decimetre from where it began.
    pub fn to_wgs84(self, (lon, lat): (f64, f64)) -> (f64, f64) {
        if self == Self::Wgs84 || !is_shifted(lon, lat) {
            return (lon, lat);
        }
        let (mut x, mut y) = (lon, lat);
        for _ in 0..STEPS_MAX {
            let there = self.from_wgs84((x, y));
            let (dx, dy) = (there.0 - lon, there.1 - lat);
            (x, y) = (x - dx, y - dy);
            if dx.abs() < CLOSE && dy.abs() < CLOSE {
                break;
            }
        }
        (x, y)
    }
}

/// True where the Chinese systems differ from WGS-84, by the rectangle that their formulas come with.
pub fn is_shifted(lon: f64, lat: f64) -> bool {
    (72.004..=137.8347).contains(&lon) && (0.8293..=55.8271).contains(&lat)
}

/// Metres between two places that are near to one another, longitude before latitude.
pub fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
    let shrink = ((a.1 + b.1) / 2.0).to_radians().cos();
    let turn = (a.0 - b.0 + 540.0).rem_euclid(360.0) - 180.0;
    (turn * shrink).hypot(a.1 - b.1) * DEGREE_M
}

fn gcj02(lon: f64, lat: f64) -> (f64, f64) {
    let (x, y) = (lon - 105.0, lat - 35.0);
    let wave = |at: f64, strong: f64, by: f64| strong * (at * PI / by).sin();
    let common = wave(x, 20.0, 1.0 / 6.0) + wave(x, 20.0, 0.5);
    let along_lat =
        common + wave(y, 20.0, 1.0) + wave(y, 40.0, 3.0) + wave(y, 160.0, 12.0) + wave(y, 320.0, 30.0);
    let along_lon =
        common + wave(x, 20.0, 1.0) + wave(x, 40.0, 3.0) + wave(x, 150.0, 12.0) + wave(x, 300.0, 30.0);
    let root = x.abs().sqrt();
    let north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + along_lat * 2.0 / 3.0;
    let east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + along_lon * 2.0 / 3.0;
    let sin = lat.to_radians().sin();
    let shape = 1.0 - ECCENTRICITY * sin * sin;
    let meridian = AXIS * (1.0 - ECCENTRICITY) / (shape * shape.sqrt());
    let parallel = AXIS / shape.sqrt() * lat.to_radians().cos();
    (lon + (east / parallel).to_degrees(), lat + (north / meridian).to_degrees())
}

fn bd09(lon: f64, lat: f64) -> (f64, f64) {
    let length = lon.hypot(lat) + 0.000_02 * (lat * BAIDU).sin();
    let angle = lat.atan2(lon) + 0.000_003 * (lon * BAIDU).cos();
    (length * angle.cos() + 0.0065, length * angle.sin() + 0.006)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Published reference points: WGS-84 and GCJ-02, longitude before latitude (Shanghai, Shenzhen, Beijing, Beijing).
    const GCJ: [[(f64, f64); 2]; 4] = [
        [(121.527_210_6, 31.177_427_6), (121.531_541_859_215, 31.175_303_983_645_97)],
        [(113.912_316, 22.543_847), (113.917_176_480_836_3, 22.540_796_131_694_766)],
        [(116.377_817, 39.911_954), (116.384_047_224_556_57, 39.913_345_455_360_69)],
        [(116.404, 39.915), (116.410_244_499_169_38, 39.916_404_281_501_64)],
    ];

    #[test]
    fn published_points_are_met() {
        for [wgs, gcj] in GCJ {
            // Some publications use another axis: a centimetre.
            assert!(metres(Crs::Gcj02.from_wgs84(wgs), gcj) < 0.05, "{wgs:?}");
            assert!(metres(Crs::Gcj02.to_wgs84(gcj), wgs) < 0.1, "{wgs:?}");
            assert!((100.0..900.0).contains(&metres(wgs, gcj)), "not the identity");
        }
        // GCJ-02 to BD-09, as published.
        let (gcj, bd) = ((116.404, 39.915), (116.410_369_493_710_29, 39.921_336_993_510_22));
        assert!(metres(bd09(gcj.0, gcj.1), bd) < 0.001);
        // What Baidu's own service answered for the place in the description of its geoconv interface: to 3 and to 5.
        let wgs = (114.218_927_345_21, 29.575_429_778_924);
        let (gcj, bd) =
            ((114.224_305_284_288_19, 29.572_849_121_093_75), (114.230_751_954_676_3, 29.579_084_288_374_37));
        assert!(metres(Crs::Gcj02.from_wgs84(wgs), gcj) < 1.0);
        assert!(metres(Crs::Bd09.from_wgs84(wgs), bd) < 1.0);
        assert!(metres(Crs::Bd09.to_wgs84(bd), wgs) < 1.0);
    }

    #[test]
    fn outside_of_the_rectangle_nothing_moves() {
        for place in [(-104.99, 39.74), (2.35, 48.86), (151.2, -33.87), (139.7, 35.7), (0.0, 0.0)] {
            for crs in Crs::ALL {
                assert_eq!((crs.from_wgs84(place), crs.to_wgs84(place)), (place, place), "{crs:?}");
            }
        }
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        assert!((metres((113.0, 35.0), (113.0, 36.0)) - 111_320.0).abs() < 1.0);
        assert!((metres((113.0, 60.0), (114.0, 60.0)) - 55_660.0).abs() < 1.0);
        assert!(metres((179.999, 0.0), (-179.999, 0.0)) < 300.0, "over the date line");
    }

    proptest! {
        #[test]
        fn there_and_back_ends_within_a_decimetre(lon in 73.0..137.0f64, lat in 2.0..55.0f64) {
            for crs in Crs::ALL {
                let there = crs.from_wgs84((lon, lat));
                prop_assert!(metres(crs.to_wgs84(there), (lon, lat)) < 0.1, "{crs:?}");
                let back = crs.to_wgs84((lon, lat));
                prop_assert!(metres(crs.from_wgs84(back), (lon, lat)) < 0.1, "{crs:?}");
                prop_assert!(metres(there, (lon, lat)) < 3_000.0, "{crs:?}");
            }
        }

        #[test]
        fn no_place_of_the_globe_breaks_it(lon in -180.0..=180.0f64, lat in -90.0..=90.0f64) {
            for crs in Crs::ALL {
                for (x, y) in [crs.from_wgs84((lon, lat)), crs.to_wgs84((lon, lat))] {
                    prop_assert!(x.is_finite() && y.is_finite());
                    prop_assert!(metres((x, y), (lon, lat)) < 5_000.0, "{crs:?} {x} {y}");
                }
            }
        }
    }
}
