//! Geohash: a place as a short word of letters. Grafana's map reads it from a label, where numbers would be text.

/// Base 32 without a, i, l, o.
const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Longest word that is made: 12 letters are 4 cm.
pub const LENGTH_MAX: usize = 12;

/// The word of so many letters for a place in WGS-84 degrees; `None` when it is no place on earth. 7 letters are good
/// to 76 m, 8 to 19 m, 9 to 2.4 m.
pub fn encode(lon: f64, lat: f64, letters: usize) -> Option<String> {
    if !(-180.0..=180.0).contains(&lon) || !(-90.0..=90.0).contains(&lat) {
        return None;
    }
    let (mut east, mut north) = ((-180.0, 180.0), (-90.0, 90.0));
    let mut word = String::with_capacity(LENGTH_MAX);
    for place in 0..letters.min(LENGTH_MAX) {
        let mut letter = 0usize;
        for bit in 0..5 {
            // Halves of longitude and latitude in turn, longitude first.
            let (range, value) = match (place * 5 + bit) % 2 {
                0 => (&mut east, lon),
                _ => (&mut north, lat),
            };
            let middle = f64::midpoint(range.0, range.1);
            let upper = value >= middle;
            *if upper { &mut range.0 } else { &mut range.1 } = middle;
            letter = letter << 1 | usize::from(upper);
        }
        word.push(char::from(LETTERS[letter]));
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_places_have_their_published_words() {
        // Wikipedia's two, that of a common library, and the bounds.
        for (lon, lat, word) in [
            (-5.6, 42.6, "ezs42"),
            (10.407_44, 57.649_11, "u4pruydqqvj"),
            (112.5584, 37.8324, "ww8p1r4t8"),
            (0.0, 0.0, "s0000000"),
            (-180.0, -90.0, "00000000"),
            (180.0, 90.0, "zzzzzzzz"),
        ] {
            assert_eq!(encode(lon, lat, word.len()).as_deref(), Some(word), "{lon} {lat}");
        }
    }

    #[test]
    fn a_word_names_a_cell_that_holds_its_place_and_a_shorter_one_begins_it() {
        for step in 0..200 {
            let (lon, lat) = (-179.9 + 1.7 * f64::from(step), -89.3 + 0.87 * f64::from(step));
            let long = encode(lon, lat, 9).unwrap();
            assert_eq!(encode(lon, lat, 7).unwrap(), long[..7]);
            let (mut east, mut north) = ((-180.0, 180.0), (-90.0, 90.0));
            let bits = long.bytes().flat_map(|byte| {
                let letter = LETTERS.iter().position(|known| *known == byte).unwrap();
                (0..5).rev().map(move |bit| letter >> bit & 1 == 1)
            });
            for (place, upper) in bits.enumerate() {
                let range = if place % 2 == 0 { &mut east } else { &mut north };
                let middle = f64::midpoint(range.0, range.1);
                *if upper { &mut range.0 } else { &mut range.1 } = middle;
            }
            assert!((east.0..=east.1).contains(&lon) && (north.0..=north.1).contains(&lat), "{long}");
        }
    }

    #[test]
    fn what_is_no_place_on_earth_has_no_word() {
        for (lon, lat) in [(181.0, 0.0), (0.0, -90.5), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(encode(lon, lat, 8), None);
        }
        assert_eq!(encode(113.62, 34.75, 40).unwrap().len(), LENGTH_MAX);
    }
}
