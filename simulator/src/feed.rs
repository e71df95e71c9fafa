//! What the office is told of the weather: late, at times of the wrong zone, in some cities not at all.
//!
//! It is never the weather itself. An engine that leans on it is judged by what really fell.

use lampguard_model::Warning;

use crate::chance::Chance;
use crate::params::FeedParams;
use crate::scenario::{FeedKind, Scenario};
use crate::street::ZONES;
use crate::weather::Weather;

/// One city's feed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Feed {
    /// A message every so many minutes of weather.
    pub(crate) every_min: f64,
    /// It tells of the weather this many minutes ago.
    pub(crate) delay_min: f64,
    /// Which zone's gauge speaks for each zone.
    pub(crate) zones: [u8; ZONES.len()],
    /// Its last message, minutes of weather; infinite when it goes on, 0 when there never is one.
    pub(crate) ends_min: f64,
}

/// What a feed says of one zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// Rain, mm per hour.
    pub(crate) rain_mm_h: f64,
    /// Official warning.
    pub(crate) warning: Warning,
}

impl Feed {
    /// The feed of a scenario in a city.
    pub(crate) fn new(scenario: &Scenario, params: &FeedParams, chance: Chance) -> Self {
        let mut feed = Self {
            every_min: if scenario.feed == FeedKind::Good { 1.0 } else { params.every_min },
            delay_min: 0.0,
            zones: [0, 1, 2, 3],
            ends_min: f64::INFINITY,
        };
        match scenario.feed {
            FeedKind::Good => {}
            FeedKind::Dead => feed.ends_min = 0.0,
            FeedKind::Drawn => {
                feed.delay_min = chance.between(0, params.delay_min[0], params.delay_min[1]).round();
                if chance.unit(1) < params.wrong_zone {
                    let first = chance.below(2, ZONES.len());
                    feed.zones.swap(first, (first + 1 + chance.below(3, ZONES.len() - 1)) % ZONES.len());
                }
                let fate = chance.unit(4);
                if fate < params.dead {
                    feed.ends_min = 0.0;
                } else if fate < params.dead + params.dies {
                    feed.ends_min = scenario.hours * 60.0 * scenario.speed * chance.between(5, 0.2, 0.8);
                }
            }
        }
        feed
    }

    /// What it says of a zone at a minute of weather; `None` when it is silent.
    pub(crate) fn tells(&self, weather: &Weather, zone: usize, minute: f64) -> Option<Told> {
        if minute >= self.ends_min {
            return None;
        }
        let told = (minute - self.delay_min).floor().max(0.0) as i64;
        let sky = weather.over_zone(usize::from(self.zones[zone]), told);
        Some(Told { rain_mm_h: sky.rain_mm_h, warning: sky.warning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn a_fifth_of_cities_and_more_have_a_dead_feed_and_some_mix_up_zones() {
        let (mut scenario, params) = (Scenario::empty("feeds"), Params::default());
        scenario.feed = FeedKind::Drawn;
        let feeds: Vec<Feed> =
            (0..1000).map(|seed| Feed::new(&scenario, &params.feed, Chance::new(seed))).collect();
        let count = |holds: fn(&Feed) -> bool| feeds.iter().filter(|feed| holds(feed)).count();
        assert!(count(|feed| feed.ends_min == 0.0) >= 200);
        assert!((50..200).contains(&count(|feed| feed.ends_min > 0.0 && feed.ends_min.is_finite())));
        assert!((100..200).contains(&count(|feed| feed.zones != [0, 1, 2, 3])));
        assert!(feeds.iter().all(|feed| (0.0..=20.0).contains(&feed.delay_min)));
    }

    #[test]
    fn a_late_feed_tells_of_the_weather_before_and_a_dead_one_of_none() {
        let scenario = Scenario::shipped("demo").unwrap();
        let weather = Weather::new(&scenario, 1);
        let feed = Feed { every_min: 10.0, delay_min: 15.0, zones: [0, 1, 2, 3], ends_min: 60.0 };
        assert_eq!(feed.tells(&weather, 0, 20.0).unwrap().rain_mm_h, 0.0);
        assert_eq!(feed.tells(&weather, 0, 40.0).unwrap().rain_mm_h, weather.over_zone(0, 25).rain_mm_h);
        assert_eq!(feed.tells(&weather, 0, 60.0), None);
    }
}
