//! How people are at night. Pure and seeded: the same night has the same people.

use lampguard_model::{Millis, Timestamp};

use crate::bench::random::Random;

/// Mean radius of the earth, metres.
const EARTH_M: f64 = 6_371_000.0;
/// Streets are longer than the straight line.
const DETOUR: f64 = 1.35;
/// A repair van in the city, lights and all, m/s (25 km/h).
const SPEED_M_S: f64 = 7.0;
/// Rain of so many mm/h halves the speed.
const RAIN_HALVES_MM_H: f64 = 20.0;
/// Getting out, finding the post.
const ON_FOOT: Millis = Millis::minutes(3);
/// A telephone is on or off for so long.
const PHONE_SLOT: Millis = Millis::minutes(90);
/// Share of the time in which a telephone is off or without signal.
const PHONE_OFF: f64 = 0.04;
/// Who had nothing to do for so long at night sleeps.
const SLEEPS_AFTER: Millis = Millis::minutes(40);
/// A call wakes a sleeper.
const WAKES: f64 = 0.8;
/// Somebody who is awake reads a message soon.
const READS: f64 = 0.8;

/// A place on the map, degrees.
pub(super) type Spot = (f64, f64);

/// Straight line between two places, metres.
pub(super) fn distance_m((lon, lat): Spot, (to_lon, to_lat): Spot) -> f64 {
    let [a, b] = [lat, to_lat].map(f64::to_radians);
    let (dlat, dlon) = ((b - a) / 2.0, (to_lon - lon).to_radians() / 2.0);
    let h = dlat.sin().powi(2) + a.cos() * b.cos() * dlon.sin().powi(2);
    2.0 * EARTH_M * h.sqrt().min(1.0).asin()
}

/// How long the way takes in that rain.
pub(super) fn travel(from: Spot, to: Spot, rain_mm_h: f64) -> Millis {
    let speed = SPEED_M_S / (1.0 + rain_mm_h.max(0.0) / RAIN_HALVES_MM_H);
    let metres = distance_m(from, to) * DETOUR;
    Millis((metres / speed * 1000.0) as i64) + ON_FOOT
}

/// A whole number of milliseconds between two numbers of seconds.
pub(super) fn between(random: &mut Random, from_s: f64, to_s: f64) -> Millis {
    Millis(((from_s + (to_s - from_s) * random.share()) * 1000.0) as i64)
}

/// Between 22 and 6 o'clock in a city eight hours east.
fn is_night(at: Timestamp) -> bool {
    let hour = (at.0.div_euclid(3_600_000) + 8).rem_euclid(24);
    !(6..22).contains(&hour)
}

/// Until when somebody's telephone is off, if it is.
pub(super) fn phone_off_until(seed: u64, person: &str, at: Timestamp) -> Option<Timestamp> {
    let slot = at.0.div_euclid(PHONE_SLOT.0);
    let of =
        person.bytes().fold(seed ^ slot.unsigned_abs(), |sum, byte| sum.rotate_left(9) ^ u64::from(byte));
    (Random(of).share() < PHONE_OFF).then(|| Timestamp((slot + 1) * PHONE_SLOT.0))
}

/// When somebody takes notice of a message that reached his telephone at `at`; none: not of this one.
pub(super) fn hears(
    random: &mut Random,
    seed: u64,
    person: &str,
    rings: bool,
    active_at: Option<Timestamp>,
    at: Timestamp,
) -> Option<Timestamp> {
    let pause = between(random, 4.0, if rings { 25.0 } else { 90.0 });
    if let Some(on_again) = phone_off_until(seed, person, at) {
        // A call is lost, a message is there when the telephone is on again.
        return (!rings).then(|| on_again + pause);
    }
    let sleeps = is_night(at) && active_at.is_none_or(|active| at.since(active) > SLEEPS_AFTER);
    let chance = match (sleeps, rings) {
        (true, true) => WAKES,
        (true, false) => 0.0,
        (false, true) => 0.93,
        (false, false) => READS,
    };
    (random.share() < chance).then(|| at + pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_760_155_200_000);

    #[test]
    fn rain_slows_the_way_and_distance_makes_it_longer() {
        let (here, near, far) = ((113.20, 35.20), (113.21, 35.20), (113.25, 35.20));
        assert!((900.0..920.0).contains(&distance_m(here, near)));
        assert_eq!(travel(here, here, 50.0), ON_FOOT);
        assert!(travel(here, near, 0.0) < travel(here, far, 0.0));
        let [dry, wet] = [0.0, 20.0].map(|rain| travel(here, far, rain).0 - ON_FOOT.0);
        assert!((wet - 2 * dry).abs() <= 2, "{dry:?} {wet:?}");
    }

    #[test]
    fn a_message_wakes_nobody_a_call_wakes_most_and_a_telephone_that_is_off_gets_it_later() {
        let on = (0..).map(|slot| NOON + Millis(PHONE_SLOT.0 * slot));
        let night = on.clone().find(|at| is_night(*at) && phone_off_until(1, "Ann", *at).is_none()).unwrap();
        let heard = |rings, active, at: Timestamp| {
            let mut random = Random(7);
            (0..1000).filter(|_| hears(&mut random, 1, "Ann", rings, active, at).is_some()).count()
        };
        assert_eq!(heard(false, None, night), 0);
        assert!((750..850).contains(&heard(true, None, night)));
        assert!(heard(false, Some(night), night) > 750, "awake");
        let off = on.clone().find(|at| phone_off_until(1, "Ann", *at).is_some()).unwrap();
        let until = phone_off_until(1, "Ann", off).unwrap();
        assert_eq!(heard(true, Some(off), off), 0, "a call is lost");
        assert!(hears(&mut Random(7), 1, "Ann", false, Some(off), off).unwrap() > until);
        let share = on.take(10_000).filter(|at| phone_off_until(3, "Bo", *at).is_some()).count();
        assert!((300..500).contains(&share), "{share} of 10,000");
    }
}
