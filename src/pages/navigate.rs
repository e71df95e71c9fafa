//! The way to a place: links that open a map on a phone, each with the coordinates that this map means.
//!
//! | link | coordinates |
//! |---|---|
//! | `geo:`, the phone's own map (RFC 5870) | WGS-84 |
//! | Amap (高德) | GCJ-02, `coordinate=gaode` |
//! | Baidu (百度) | BD-09, `coord_type=bd09ll` |
//! | Apple | WGS-84 |
//!
//! Without conversion a crew stands 100 to 1,200 m from the post. Nothing is sent anywhere until somebody taps one; then
//! that map learns the place and its name, and not the page it came from.

use lampguard_model::{Crs, Post};
use maud::{Markup, html};

use super::fields::encoded;
use super::look::Look;
use super::words;

/// Longest name of a place in a link, in characters.
const NAME_MAX: usize = 40;

/// A place as phones know it; WGS-84, as the register has it.
pub(super) fn geo(lon: f64, lat: f64) -> String {
    format!("geo:{lat:.6},{lon:.6}")
}

/// Where a post stands; none where the register says nothing: nobody is sent into the sea at 0, 0.
pub(super) fn place_of(post: &Post) -> Option<(f64, f64)> {
    (post.lon != 0.0 || post.lat != 0.0).then_some((post.lon, post.lat))
}

/// One button for the phone's own map, and the maps that people have beside it.
pub(super) fn links(look: &Look, (lon, lat): (f64, f64), name: &str) -> Markup {
    html! {
        p {
            a.button.wide href=(geo(lon, lat)) { "◎ " (look.say(words::MAP)) }
            span.maps {
                @for (word, href) in maps((lon, lat), name) {
                    a.button rel="noreferrer" href=(href) { (look.say(word)) }
                }
            }
            span.coordinates { (look.say(words::COORDINATES)) " " (format!("{lat:.6}, {lon:.6}")) " (WGS-84)" }
        }
    }
}

fn maps(wgs84: (f64, f64), name: &str) -> [(words::Text, String); 3] {
    let name = encoded(&name.chars().take(NAME_MAX).collect::<String>().replace(',', " "));
    let (lon, lat) = Crs::Gcj02.from_wgs84(wgs84);
    let amap = format!(
        "https://uri.amap.com/navigation?to={lon:.6},{lat:.6},{name}&mode=car&src=lampguard&coordinate=gaode&callnative=1"
    );
    let (lon, lat) = Crs::Bd09.from_wgs84(wgs84);
    let baidu = format!(
        "https://api.map.baidu.com/marker?location={lat:.6},{lon:.6}&title={name}&content={name}&coord_type=bd09ll&output=html&src=lampguard"
    );
    let (lon, lat) = wgs84;
    let apple = format!("https://maps.apple.com/?daddr={lat:.6},{lon:.6}");
    [(words::AMAP, amap), (words::BAIDU, baidu), (words::APPLE_MAPS, apple)]
}

#[cfg(test)]
mod tests {
    use lampguard_model::coordinates::metres;

    use super::*;

    /// The pair of numbers behind a word of a link.
    fn pair(link: &str, behind: &str) -> (f64, f64) {
        let rest = link.split_once(behind).unwrap().1;
        let mut numbers = rest.split([',', '&']).map(|part| part.parse::<f64>());
        (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap())
    }

    #[test]
    fn each_map_gets_the_coordinates_that_it_means() {
        // In Beijing; GCJ-02 as published, BD-09 of it as published for this offset.
        let place = (116.404, 39.915);
        let [(_, amap), (_, baidu), (_, apple)] = maps(place, "人民路, 3号杆");
        assert!(metres(pair(&amap, "?to="), (116.410_244_5, 39.916_404_3)) < 1.0, "{amap}");
        assert!(
            amap.contains("coordinate=gaode") && amap.contains("%E4%BA%BA%E6%B0%91%E8%B7%AF%20%203"),
            "{amap}"
        );
        let (lat, lon) = pair(&baidu, "location=");
        assert!(
            metres(Crs::Bd09.to_wgs84((lon, lat)), place) < 1.0 && baidu.contains("coord_type=bd09ll"),
            "{baidu}"
        );
        assert!(metres((lon, lat), place) > 500.0, "{baidu}");
        assert_eq!(apple, "https://maps.apple.com/?daddr=39.915000,116.404000");
        assert_eq!(geo(place.0, place.1), "geo:39.915000,116.404000");
    }

    #[test]
    fn outside_of_china_every_map_gets_the_same_place() {
        let [(_, amap), (_, baidu), _] = maps((2.35, 48.86), "x");
        assert_eq!(pair(&amap, "?to="), (2.35, 48.86));
        assert_eq!(pair(&baidu, "location="), (48.86, 2.35));
    }

    #[test]
    fn a_name_is_cut_and_cannot_add_to_the_link() {
        let [(_, amap), (_, baidu), _] = maps((116.4, 39.9), &format!("a&b=\"<{}", "路".repeat(100)));
        assert!(amap.contains(",a%26b%3D%22%3C%E8%B7%AF") && amap.len() < 600, "{amap}");
        assert_eq!(baidu.matches('&').count(), 5, "{baidu}");
    }
}
