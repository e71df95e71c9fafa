//! Who was reporting when: whether a patrol "no data from this feeder" had a reason.
//!
//! Of each post the spans are kept in which no gap is longer than its patience, so that weeks of readings take
//! little more room than the outages in them.

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_model::{Millis, PostKind, Register, Timestamp};

/// A post is silent after so long, or after two of its periods when they are longer.
const PATIENCE_MIN: Millis = Millis::minutes(10);
/// Period of a post whose register names none, seconds (`policy.md` 1).
const PERIOD_S: u32 = 300;
/// Posts that report more seldom say nothing of a feeder that has just gone dark, seconds.
const PERIOD_S_MAX: u32 = 1800;

/// When each post of a register was heard.
#[derive(Debug, Default)]
pub(crate) struct Reporting {
    places: HashMap<Arc<str>, usize>,
    posts: Vec<Heard>,
    feeders: HashMap<Arc<str>, Vec<usize>>,
    zones: HashMap<Arc<str>, Vec<usize>>,
}

#[derive(Debug)]
struct Heard {
    patience: Millis,
    /// First and last receipt of each span.
    spans: Vec<(Timestamp, Timestamp)>,
}

impl Heard {
    /// `None` before it was heard for the first time.
    fn is_silent(&self, at: Timestamp) -> Option<bool> {
        let begun = self.spans.partition_point(|(first, _)| *first <= at);
        let (_, last) = self.spans[..begun].last()?;
        Some(at.since(*last) > self.patience)
    }
}

impl Reporting {
    /// Nobody was heard yet.
    pub(crate) fn of(register: &Register) -> Self {
        let mut all = Self::default();
        for post in register.posts() {
            let period_s = post.period_s.unwrap_or(PERIOD_S);
            if post.kind != PostKind::Post || !post.monitored || period_s > PERIOD_S_MAX {
                continue;
            }
            let patience = PATIENCE_MIN.max(Millis::seconds(2 * i64::from(period_s)));
            let place = all.posts.len();
            all.posts.push(Heard { patience, spans: Vec::new() });
            all.places.insert(post.post_id.clone(), place);
            all.feeders.entry(post.feeder.clone()).or_default().push(place);
            all.zones.entry(post.zone.clone()).or_default().push(place);
        }
        all
    }

    /// A reading of a post came. Receipts that go back are taken for the newest one before them.
    pub(crate) fn saw(&mut self, post: &str, at: Timestamp) {
        let Some(heard) = self.places.get(post).map(|place| &mut self.posts[*place]) else { return };
        match heard.spans.last_mut() {
            Some((_, last)) if at.since(*last) <= heard.patience => *last = at.max(*last),
            _ => heard.spans.push((at, at)),
        }
    }

    /// True when at least half of the posts that had ever reported were silent; `None` when that cannot be said.
    pub(crate) fn was_dark(&self, feeder: Option<&str>, zone: Option<&str>, at: Timestamp) -> Option<bool> {
        let places = match (feeder, zone) {
            (Some(feeder), _) => self.feeders.get(feeder)?,
            (None, zone) => self.zones.get(zone?)?,
        };
        let (mut heard, mut silent) = (0usize, 0usize);
        for is_silent in places.iter().filter_map(|place| self.posts[*place].is_silent(at)) {
            heard += 1;
            silent += usize::from(is_silent);
        }
        (heard > 0).then_some(2 * silent >= heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn a_feeder_is_dark_when_half_of_its_posts_are_silent_for_ten_minutes_or_two_periods() {
        let mut csv = lampguard_model::register::header();
        for (n, period_s) in [60, 300, 900, 3600].into_iter().enumerate() {
            csv +=
                &format!("\nP{n},D{n},z1,r,{n},,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M,{period_s}");
        }
        let mut reporting = Reporting::of(&Register::parse(csv.as_bytes()).unwrap());
        let minutes = |n: i64| T + Millis::minutes(n);
        let dark = |reporting: &Reporting, n: i64| reporting.was_dark(Some("F1"), Some("z1"), minutes(n));
        assert_eq!(dark(&reporting, 0), None, "nobody was heard: nobody can say");
        for post in ["P0", "P1", "P2", "P3", "P9"] {
            (0..=20).for_each(|n| reporting.saw(post, minutes(n)));
        }
        // P2 has a patience of half an hour, P3 says nothing of its feeder, P9 is not known.
        assert_eq!([30, 31, 51].map(|n| dark(&reporting, n)), [Some(false), Some(true), Some(true)]);
        (60..=70).for_each(|n| reporting.saw("P1", minutes(n)));
        (55..=70).for_each(|n| reporting.saw("P2", minutes(n)));
        assert_eq!([51, 54, 65].map(|n| dark(&reporting, n)), [Some(true), Some(true), Some(false)]);
        assert_eq!(reporting.was_dark(None, Some("z1"), minutes(65)), Some(false));
        assert_eq!(reporting.was_dark(Some("F7"), None, minutes(65)), None);
        assert_eq!(reporting.was_dark(None, None, minutes(65)), None);
    }
}
