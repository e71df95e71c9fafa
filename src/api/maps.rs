//! What Grafana's map loads from us: a plain tile, and the outlines of zones.
//!
//! Both are open, because Grafana's browser has no session here and a map must not be black on a wall without the internet.
//! The tile holds nothing. An outline is the hull of where a zone's posts stand, widened by some 30 m and rounded to some 10:
//! which streets a zone covers is no secret; names, states and readings of posts are not in it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lampguard_model::{PostKind, Register};
use serde_json::{Value, json};

use super::{ApiError, Shared};

/// 256 × 256, one grey.
const TILE: &[u8] = include_bytes!("tile.png");
/// Deepest zoom of a tile.
const ZOOM_MAX: u32 = 22;
/// By how much an outline is wider than its posts, degrees.
const MARGIN: f64 = 0.0003;
/// An outline is rounded to so many parts of a degree.
const ROUND: f64 = 10_000.0;

/// Another page's scripts may read the answer; it is kept by browsers for so long.
fn open(kept: &'static str, kind: &'static str) -> [(HeaderName, &'static str); 4] {
    [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, kept),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ]
}

/// `GET /tiles/{z}/{x}/{y}`, y with `.png`: the same grey everywhere, never a broken map.
pub(super) async fn tile(Path((z, x, y)): Path<(String, String, String)>) -> Result<Response, ApiError> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let place = y.strip_suffix(".png").and_then(|y| Some((number(&z)?, number(&x)?, number(y)?)));
    let inside = |(z, x, y): (u32, u32, u32)| z <= ZOOM_MAX && x < 1 << z && y < 1 << z;
    if !place.is_some_and(inside) {
        return Err(ApiError::not_found(format!(
            "tile {z}/{x}/{y} is none: z is 0 to {ZOOM_MAX}, x and y are 0 to 2^z - 1, and it ends in .png"
        )));
    }
    Ok((StatusCode::OK, open("public, max-age=604800", "image/png"), TILE).into_response())
}

/// The outlines as they were made last, and of which register.
#[derive(Default)]
pub(crate) struct Outlines(Mutex<Option<(Arc<Register>, Bytes)>>);

/// `GET /zones.geojson`
pub(super) async fn zones(State(instance): Shared) -> Response {
    let register = instance.register.get();
    // A register is turned into outlines once; whoever asks again gets the same bytes.
    let mut kept = instance.outlines.0.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = match &*kept {
        Some((of, bytes)) if Arc::ptr_eq(of, &register) => bytes.clone(),
        _ => {
            let names: Vec<(&str, &str)> =
                instance.config.zones.iter().map(|zone| (zone.id.as_str(), zone.name.as_str())).collect();
            let bytes = Bytes::from(outlines(&register, &names).to_string());
            *kept = Some((register, bytes.clone()));
            bytes
        }
    };
    drop(kept);
    (StatusCode::OK, open("public, max-age=300", "application/geo+json"), bytes).into_response()
}

/// One polygon for each zone that has posts.
fn outlines(register: &Register, names: &[(&str, &str)]) -> Value {
    let features: Vec<Value> = names
        .iter()
        .filter_map(|(id, name)| {
            let ring = ring(register, id);
            let geometry = json!({ "type": "Polygon", "coordinates": [ring] });
            let properties = json!({ "id": id, "name": name });
            (!ring.is_empty())
                .then(|| json!({ "type": "Feature", "properties": properties, "geometry": geometry }))
        })
        .collect();
    json!({ "type": "FeatureCollection", "features": features })
}

/// The hull of a zone's posts as a closed ring, against the clock; empty without posts.
fn ring(register: &Register, zone: &str) -> Vec<[f64; 2]> {
    let of_zone = register.posts().iter().filter(|post| &*post.zone == zone && post.kind == PostKind::Post);
    let corners = of_zone.flat_map(|post| {
        [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)].map(|(east, north)| {
            [post.lon + east * MARGIN, post.lat + north * MARGIN]
                .map(|degrees| (degrees * ROUND).round() as i64)
        })
    });
    let mut points: Vec<[i64; 2]> = corners.collect();
    points.sort_unstable();
    points.dedup();
    let mut hull = half(points.iter());
    hull.extend(half(points.iter().rev()));
    let mut ring: Vec<[f64; 2]> =
        hull.into_iter().map(|point| point.map(|part| part as f64 / ROUND)).collect();
    ring.extend(ring.first().copied());
    ring
}

/// One side of a hull, its last point left out: points in order, those left behind at which the way turns to the right.
fn half<'p>(points: impl Iterator<Item = &'p [i64; 2]>) -> Vec<[i64; 2]> {
    let mut side: Vec<[i64; 2]> = Vec::new();
    for point in points {
        while let [.., a, b] = side[..] {
            let turn = (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
            if turn > 0 {
                break;
            }
            side.pop();
        }
        side.push(*point);
    }
    side.pop();
    side
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(places: &[(f64, f64)]) -> Register {
        let header = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code\n";
        let lines: String = places
            .iter()
            .enumerate()
            .map(|(n, (lon, lat))| format!("P{n},,z1,road,{n},,F1,,{lon},{lat},1,100,0,2020-01-01,\n"))
            .collect();
        Register::parse(format!("{header}{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn an_outline_is_the_hull_of_the_posts_closed_wider_and_rounded() {
        let square = [(113.0, 34.0), (113.01, 34.0), (113.01, 34.01), (113.0, 34.01), (113.005, 34.005)];
        let found = ring(&register(&square), "z1");
        let corners = [
            [112.9997, 33.9997],
            [113.0103, 33.9997],
            [113.0103, 34.0103],
            [112.9997, 34.0103],
            [112.9997, 33.9997],
        ];
        assert_eq!(found, corners);
        // One post, or posts in a line, have an area too.
        assert_eq!(ring(&register(&[(113.0, 34.0)]), "z1").len(), 5);
        assert_eq!(ring(&register(&[(113.0, 34.0), (113.1, 34.0)]), "z1").len(), 5);
        assert!(ring(&register(&square), "z2").is_empty());
        let one = outlines(&register(&square), &[("z1", "东区"), ("z2", "西区")]);
        assert_eq!(one["features"].as_array().unwrap().len(), 1, "a zone without posts has no outline");
        assert_eq!(one["features"][0]["properties"], json!({ "id": "z1", "name": "东区" }));
    }

    #[test]
    fn the_tile_is_a_small_png() {
        assert!(TILE.starts_with(b"\x89PNG\r\n\x1a\n") && TILE.len() < 1024, "{} bytes", TILE.len());
        assert_eq!(&TILE[16..24], &[0, 0, 1, 0, 0, 0, 1, 0], "256 x 256");
    }
}
