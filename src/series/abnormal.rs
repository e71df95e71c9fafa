//! Posts that are not normal: the worst ones, and a last row of each that is not among them any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lampguard_alerting::State;
use lampguard_ingester::tsdb::{Points, whole};
use lampguard_model::series::{ABNORMAL, POST_STATES, number_of};
use lampguard_model::{Post, PostKind, Timestamp, geohash};

use super::is_foreign;
use crate::serve::Instance;

/// Posts that are written at a time, the worst ones; the rest is a count.
const POSTS_MAX: usize = 2000;
/// Posts whose colour is asked for at once: the alerting thread waits for no more.
const ASKED: usize = 128;
/// In between it has this long.
const BREATH: Duration = Duration::from_micros(20);
/// Good to 19 m: a post among its neighbours.
const LETTERS: usize = 8;

/// How many posts of a zone have which colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Colours {
    pub(super) danger: u64,
    pub(super) warning: u64,
    pub(super) silent: u64,
    pub(super) unpowered: u64,
    pub(super) unmonitored: u64,
}

impl Colours {
    fn add(&mut self, state: State) {
        match state {
            State::Danger => self.danger += 1,
            State::Warning => self.warning += 1,
            State::Silent => self.silent += 1,
            State::Unpowered => self.unpowered += 1,
            State::Unmonitored => self.unmonitored += 1,
            State::Normal | State::Unregistered => {}
        }
    }
}

/// By zone.
pub(super) type ColoursByZone = BTreeMap<Arc<str>, Colours>;

/// What is remembered between two looks: the posts that the last one wrote.
#[derive(Default)]
pub(super) struct Known {
    written: HashMap<Arc<str>, Arc<Post>>,
    left_out: u64,
}

impl Known {
    /// Posts that the last look left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// The number that stands for a state.
pub(super) fn number(state: State) -> u8 {
    let word = match state {
        State::Normal => "normal",
        State::Warning => "warning",
        State::Danger => "danger",
        State::Silent => "silent",
        State::Unpowered => "unpowered",
        State::Unmonitored => "unmonitored",
        State::Unregistered => "unregistered",
    };
    number_of(&POST_STATES, word).unwrap_or_default()
}

/// Which of them are written, the worst first. By day whole streets have no supply, and posts without a sensor are
/// many: they are counts.
fn rank(state: State) -> Option<u8> {
    match state {
        State::Danger => Some(0),
        State::Warning => Some(1),
        State::Silent => Some(2),
        State::Normal | State::Unpowered | State::Unmonitored | State::Unregistered => None,
    }
}

/// Writes the worst posts, and counts our own by zone. Of another node's posts it writes what it found while it stood in.
pub(super) fn look(
    instance: &Instance,
    known: &mut Known,
    now: Timestamp,
    points: &mut Points,
) -> ColoursByZone {
    let register = instance.register.get();
    let (mut colours, mut worst) = (ColoursByZone::new(), Vec::new());
    let mut states = HashMap::new();
    let mut asked = Vec::with_capacity(ASKED);
    for posts in register.posts().chunks(ASKED) {
        asked.clear();
        instance.alerting.post_states(posts.iter().map(|post| &*post.post_id), &mut asked);
        for (post, state) in posts.iter().zip(&asked).filter(|(post, _)| post.kind == PostKind::Post) {
            if !is_foreign(instance, &post.zone, &post.feeder) {
                colours.entry(post.zone.clone()).or_default().add(*state);
            }
            if let Some(rank) = rank(*state) {
                worst.push((rank, post.clone(), *state));
            } else if known.written.contains_key(&post.post_id) {
                states.insert(post.post_id.clone(), *state);
            }
        }
        std::thread::sleep(BREATH);
    }
    // Stable: posts of one rank stay in the order of the register, so that the same ones are written every time.
    worst.sort_by_key(|(rank, ..)| *rank);
    known.left_out = worst.len().saturating_sub(POSTS_MAX) as u64;
    worst.truncate(POSTS_MAX);
    for (_, post, state) in &worst {
        put(post, *state, now, points);
    }
    let written: HashMap<_, _> = worst.into_iter().map(|(_, post, _)| (post.post_id.clone(), post)).collect();
    for (id, post) in &known.written {
        // One that is only pushed out by worse ones gets no last row: it is not well again.
        let gone = register.by_post(id).is_none().then_some(State::Normal);
        if let Some(state) = states.get(id).copied().or(gone) {
            put(post, state, now, points);
        }
    }
    known.written = written;
    colours
}

fn put(post: &Post, state: State, now: Timestamp, points: &mut Points) {
    let place = geohash::encode(post.lon, post.lat, LETTERS).unwrap_or_default();
    let tags = [("post", &*post.post_id), ("zone", &*post.zone), ("road", &*post.road), ("geohash", &*place)];
    points.push(&ABNORMAL, now, &tags, &[("state", whole(u64::from(number(state))))]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_post_has_the_number_of_its_word() {
        let all = [
            State::Normal,
            State::Warning,
            State::Danger,
            State::Silent,
            State::Unpowered,
            State::Unmonitored,
            State::Unregistered,
        ];
        let word = |state| serde_json::to_value(state).unwrap().as_str().unwrap().to_owned();
        for state in all {
            assert_eq!(number_of(&POST_STATES, &word(state)), Some(number(state)), "{state:?}");
        }
        assert_eq!(all.len(), POST_STATES.len());
        assert!(rank(State::Danger) < rank(State::Warning) && rank(State::Warning) < rank(State::Silent));
    }
}
