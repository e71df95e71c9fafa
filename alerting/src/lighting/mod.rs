//! When feeders are energised and lamps are due: timetables, the sun, plans. Pure; the time is handed in.
//!
//! | file | what it holds |
//! |---|---|
//! | `sun.rs` | sunrise and sunset at a place |
//! | `config.rs` | `[lighting]` as it is written |
//! | `build.rs` | from there to what is asked, with every fault |
//! | `clock.rs` | the same with a memory, for whoever asks at each reading |
//! | `rate.rs` | how many of the lamps that are due burn (亮灯率) |
//!
//! Local times are those of `[site] time_zone`. A night belongs to the date of its evening. An hour that a zone
//! leaves out or has twice moves a switching by that hour at most, and nothing panics: where the sun does not
//! set nothing is due by the sun, where it does not rise everything is.

mod build;
mod clock;
mod config;
mod rate;
mod sun;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use lampguard_model::{Millis, Post, Timestamp};

pub use build::LightingFault;
pub use clock::LampClock;
pub use config::{DimConfig, LightingConfig, PlanConfig, TimetableConfig};
pub use rate::{Exempt, Rates, Seen, Tally, lit_of, rates, rates_of};
pub use sun::{Day, day_near, noon_near};

/// A whole lamp, thousandths of rated power.
pub const FULL: u32 = 1000;
/// Nights in a row that are looked back over for the moment at which one stretch of light began.
const CHAIN_MAX: usize = 200;

/// When something is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    /// At this local time.
    Clock(Time),
    /// So long after sunset.
    Sunset(Millis),
    /// So long after sunrise.
    Sunrise(Millis),
}

impl Switch {
    /// Where it lies in the day, roughly: decides whether off comes in the same day as on.
    fn minute(self) -> i64 {
        match self {
            Self::Clock(time) => i64::from(time.hour()) * 60 + i64::from(time.minute()),
            Self::Sunrise(_) => 6 * 60,
            Self::Sunset(_) => 18 * 60,
        }
    }
}

/// On and off, and for whom.
#[derive(Clone, Debug)]
struct Timetable {
    feeders: Vec<Arc<str>>,
    plans: Vec<String>,
    on: Switch,
    off: Switch,
    /// Month and day of the first and the last evening.
    season: Option<[(i8, i8); 2]>,
}

impl Timetable {
    fn is_for(&self, feeder: &str, plan: &str) -> bool {
        self.feeders.iter().any(|known| **known == *feeder) || self.plans.iter().any(|known| known == plan)
    }

    fn holds_on(&self, date: Date) -> bool {
        self.season.is_none_or(|[from, to]| {
            let day = (date.month(), date.day());
            if from <= to { (from..=to).contains(&day) } else { day >= from || day <= to }
        })
    }
}

/// What the lamps of a post do while its feeder is on.
#[derive(Clone, Debug)]
struct Plan {
    name: String,
    /// Spans of local time and thousandths of rated power; outside of them full.
    spans: Vec<(Time, Time, u32)>,
}

/// A feeder: where it is, and the plans on it.
#[derive(Clone, Debug, Default)]
struct Feeder {
    place: Option<Place>,
    plans: Vec<String>,
}

/// When feeders are energised and lamps are due.
#[derive(Clone, Debug)]
pub struct Lighting {
    zone: TimeZone,
    /// `[lighting]` is there: supply follows it. Without it only lamps follow the sun.
    configured: bool,
    always_on: Vec<Arc<str>>,
    timetables: Vec<Timetable>,
    by_sun: [Switch; 2],
    plans: Vec<Plan>,
    feeders: HashMap<Arc<str>, Feeder, RandomState>,
    /// The middle of all posts, for those whose place the register does not know.
    middle: Option<Place>,
}

/// A stretch of light: from switching on to switching off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Switched on.
    pub from: Timestamp,
    /// Switched off.
    pub until: Timestamp,
}

/// What the timetable says of a feeder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Supply is due now.
    pub on: bool,
    /// Since when it is as it is; far back when it always is.
    pub since: Timestamp,
    /// The next switching; `None` when none is near.
    pub until: Option<Timestamp>,
}

/// What the timetable says of the lamps of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LampsExpected {
    /// Thousandths of rated power; 0 is dark.
    pub power: u32,
    /// The next moment at which it may be another; `None` when none is near.
    pub until: Option<Timestamp>,
}

/// Where a switching by the sun happens.
#[derive(Clone, Copy, Debug)]
struct Place {
    lon: f64,
    lat: f64,
}

impl Place {
    /// The place of a post; an empty column reads as 0, and no lamp stands there.
    fn of(post: &Post) -> Option<Self> {
        let known = post.lon != 0.0 || post.lat != 0.0;
        known.then_some(Self { lon: post.lon, lat: post.lat })
    }

    /// The middle of some places.
    fn middle(places: impl Iterator<Item = Self>) -> Option<Self> {
        let (mut lon, mut lat, mut count) = (0.0, 0.0, 0.0);
        for place in places {
            (lon, lat, count) = (lon + place.lon, lat + place.lat, count + 1.0);
        }
        (count > 0.0).then(|| Self { lon: lon / count, lat: lat / count })
    }
}

impl Lighting {
    /// What the timetable of a feeder says at `now`; `None` without `[lighting]`, and for a feeder that the
    /// register does not know, or whose sun nobody knows: then measured supply alone decides (policy.md 1,
    /// Powered).
    pub fn supply_expected(&self, feeder: &str, now: Timestamp) -> Option<Expected> {
        if !self.configured {
            return None;
        }
        let always = Expected { on: true, since: Timestamp(i64::MIN), until: None };
        if self.always_on.iter().any(|known| **known == *feeder) {
            return Some(always);
        }
        let known = self.feeders.get(feeder)?;
        let place = known.place.or(self.middle);
        // Plans with timetables of their own hang on the same feeder: it is on while any of them is.
        let found = known.plans.iter().map(|plan| self.state(feeder, plan, place, now));
        found.collect::<Option<Vec<_>>>()?.into_iter().reduce(|a, b| match (a.on, b.on) {
            (true, false) => a,
            (false, true) => b,
            (true, true) => Expected { since: a.since.min(b.since), until: a.until.max(b.until), on: true },
            (false, false) => {
                Expected { since: a.since.max(b.since), until: a.until.min(b.until), on: false }
            }
        })
    }

    /// What the lamps of a post should do at `now`. `None` when nobody knows: they go by the sun, and the register
    /// names no place at all.
    pub fn lamps_expected(&self, post: &Post, now: Timestamp) -> Option<LampsExpected> {
        let by_feeder = || self.feeders.get(&post.feeder).and_then(|feeder| feeder.place);
        let place = Place::of(post).or_else(by_feeder).or(self.middle);
        let plan = plan_of(post);
        let stretches = self.lamp_stretches(&post.feeder, plan, place, now)?;
        let Some(lit) = stretches.iter().find(|s| (s.from..s.until).contains(&now)) else {
            let until = stretches.iter().map(|s| s.from).filter(|from| *from > now).min();
            return Some(LampsExpected { power: 0, until });
        };
        let known = self.plans.iter().find(|known| known.name == plan);
        let spans = known.map_or(&[][..], |known| &known.spans);
        let local = self.local(now)?;
        let power = spans.iter().find(|(from, to, _)| is_within(local.time(), *from, *to));
        let until = [Some(lit.until), self.next_span(spans, local.date(), now)].into_iter().flatten().min();
        Some(LampsExpected { power: power.map_or(FULL, |(.., power)| *power), until })
    }

    /// The next moment after `now`, today or tomorrow, at which a span of a plan begins or ends, or at which the
    /// clocks change.
    fn next_span(&self, spans: &[(Time, Time, u32)], today: Date, now: Timestamp) -> Option<Timestamp> {
        if spans.is_empty() {
            return None;
        }
        let days = [Some(today), today.tomorrow().ok()];
        let edges = spans.iter().flat_map(|(from, to, _)| [*from, *to]);
        let edges =
            edges.flat_map(|edge| days.into_iter().flatten().filter_map(move |day| self.at(edge, day)));
        let now_there = jiff::Timestamp::from_millisecond(now.0).ok()?;
        let change = self.zone.following(now_there).next();
        let change = change.map(|change| Timestamp(change.timestamp().as_millisecond()));
        edges.chain(change).filter(|edge| *edge > now).min()
    }

    /// Thousandths of rated power that each lamp of a post should burn with at `now`; 0 is dark. `None` when
    /// nobody knows.
    pub fn lamp_power(&self, post: &Post, now: Timestamp) -> Option<u32> {
        self.lamps_expected(post, now).map(|expected| expected.power)
    }

    /// True when the lamps of a post should burn at `now`; `None` when nobody knows.
    pub fn lamp_due(&self, post: &Post, now: Timestamp) -> Option<bool> {
        self.lamp_power(post, now).map(|power| power > 0)
    }

    /// Stretches of light that may touch `now`, earliest first; `None` when nobody knows where the sun is.
    fn stretches(
        &self,
        feeder: &str,
        plan: &str,
        place: Option<Place>,
        now: Timestamp,
    ) -> Option<Vec<Stretch>> {
        let today = self.local(now)?.date();
        let days = [-2i64, -1, 0, 1].map(|days| today.checked_add(jiff::Span::new().days(days)));
        let nights = days.into_iter().flatten().map(|date| {
            let timetable = self.timetables.iter().find(|t| t.is_for(feeder, plan) && t.holds_on(date));
            self.night(timetable.map_or(self.by_sun, |t| [t.on, t.off]), date, place)
        });
        let nights = nights.collect::<Option<Vec<_>>>()?;
        Some(nights.into_iter().filter(|night| night.from < night.until).collect())
    }

    /// One night of a pair of switchings, by the date of its evening.
    fn night(&self, [on, off]: [Switch; 2], date: Date, place: Option<Place>) -> Option<Stretch> {
        let off_date = if off.minute() > on.minute() { date } else { date.tomorrow().ok()? };
        Some(Stretch { from: self.moment(on, date, place)?, until: self.moment(off, off_date, place)? })
    }

    fn moment(&self, switch: Switch, date: Date, place: Option<Place>) -> Option<Timestamp> {
        let (offset, is_set) = match switch {
            Switch::Clock(time) => return self.at(time, date),
            Switch::Sunset(offset) => (offset, true),
            Switch::Sunrise(offset) => (offset, false),
        };
        let place = place?;
        let near = self.at(Time::midnight(), date).map(|midnight| midnight + Millis::hours(12))?;
        let noon = noon_near(near, place.lon);
        let half_day = if is_set { Millis::hours(12) } else { Millis::hours(-12) };
        Some(match day_near(near, place.lon, place.lat) {
            Day::Usual { set, .. } if is_set => set + offset,
            Day::Usual { rise, .. } => rise + offset,
            // It never is dark: on and off fall together at midnight. It never is light: at noon.
            Day::AlwaysUp => noon + half_day,
            Day::AlwaysDown => noon,
        })
    }

    /// A local time of a day. An hour that is left out lies behind the gap, one that is there twice is the first.
    fn at(&self, time: Time, date: Date) -> Option<Timestamp> {
        let zoned = date.to_datetime(time).to_zoned_datetime(self.zone.clone()).ok()?;
        Some(Timestamp(zoned.timestamp().as_millisecond()))
    }

    /// [`Lighting::stretches`] of lamps: on a feeder that is always energised they have switches of their own, the
    /// sun's.
    fn lamp_stretches(
        &self,
        feeder: &str,
        plan: &str,
        place: Option<Place>,
        now: Timestamp,
    ) -> Option<Vec<Stretch>> {
        let always = self.always_on.iter().any(|known| **known == *feeder);
        let own = self.timetables.iter().any(|timetable| timetable.is_for(feeder, plan));
        let (feeder, plan) = if always && !own { ("", "") } else { (feeder, plan) };
        self.stretches(feeder, plan, place, now)
    }

    /// On or off, since when and until when.
    fn state(&self, feeder: &str, plan: &str, place: Option<Place>, now: Timestamp) -> Option<Expected> {
        let stretches = self.stretches(feeder, plan, place, now)?;
        let Some(stretch) = stretches.iter().find(|s| (s.from..s.until).contains(&now)) else {
            let ended = stretches.iter().map(|s| s.until).filter(|until| *until <= now).max();
            let until = stretches.iter().map(|s| s.from).filter(|from| *from > now).min();
            return Some(Expected { on: false, since: ended.unwrap_or(Timestamp(i64::MIN)), until });
        };
        let mut from = stretch.from;
        // A polar night is one stretch of many nights.
        for _ in 0..CHAIN_MAX {
            let before = self.stretches(feeder, plan, place, from - Millis(1))?;
            match before.iter().find(|s| s.from < from && s.until >= from) {
                Some(earlier) => from = earlier.from,
                None => break,
            }
        }
        Some(Expected { on: true, since: from, until: Some(stretch.until) })
    }

    fn local(&self, now: Timestamp) -> Option<jiff::civil::DateTime> {
        let at = jiff::Timestamp::from_millisecond(now.0).ok()?;
        Some(at.to_zoned_datetime(self.zone.clone()).datetime())
    }
}

/// The plan of a post; an empty column is `all`.
fn plan_of(post: &Post) -> &str {
    if post.plan.is_empty() { "all" } else { &post.plan }
}

/// True when a local time lies in a span, which may go over midnight.
fn is_within(time: Time, from: Time, to: Time) -> bool {
    if from <= to { (from..to).contains(&time) } else { time >= from || time < to }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
