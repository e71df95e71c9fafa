//! Wet or dry (`policy.md` 1, *Wet*): what the weather of each zone says, kept small enough to store.
//!
//! Everything is computed from stored times, so a night of downtime changes no answer.

use std::collections::VecDeque;
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp, Warning, WeatherReport};
use serde::{Deserialize, Serialize};

use crate::policy::Wet;

const MINUTE: i64 = 60_000;

/// Why wet limits are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// An official warning is in force.
    Warning,
    /// At least 0.1 mm of rain in the last 3 h.
    Rain,
    /// The office's own switch.
    Manual,
    /// The post reports water.
    Immersed,
    /// It was wet at most 6 h ago (24 h where low-lying).
    Drying,
    /// Nobody has said anything for 60 min.
    Unknown,
}

impl Because {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Rain => "rain",
            Self::Manual => "manual",
            Self::Immersed => "immersed",
            Self::Drying => "drying",
            Self::Unknown => "unknown",
        }
    }
}

/// True while something that was wet at `last` has not dried by `now`.
pub(crate) fn is_drying(last: Timestamp, now: Timestamp, low_lying: bool, rules: &Wet) -> bool {
    now.since(last) <= if low_lying { rules.drying_low_lying } else { rules.drying }
}

/// The weather of one zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weather {
    /// Time of the newest message.
    pub newest_at: Option<Timestamp>,
    /// Warning in force.
    pub warning: Warning,
    warning_at: Option<Timestamp>,
    /// Rain rate, millionths of a millimetre per hour.
    rate_nm_h: i64,
    rate_at: Option<Timestamp>,
    /// Rain is added up to here.
    added_to: Option<Timestamp>,
    /// Rain of each minute that had some: minute since 1970, (10⁻⁶ mm/h) × ms. At most 3 h of them.
    rain: VecDeque<(i64, i64)>,
    manual_at: Option<Timestamp>,
    manual_until: Option<Timestamp>,
    /// The numbers in force: [`Sky::set_rules`].
    #[serde(skip)]
    rules: Wet,
    /// Last moment at which warning, rain or switch held.
    last_wet: Option<Timestamp>,
    /// The desk has been told that the weather is unknown.
    pub unknown_told: bool,
}

impl Weather {
    /// Takes one message in. A part that is older than what is known of that part changes nothing.
    pub fn apply(&mut self, report: &WeatherReport, received_at: Timestamp) {
        let at = report.at(received_at).min(received_at);
        self.advance(at);
        let newer = |known: Option<Timestamp>| known.is_none_or(|k| at >= k);
        if let Some(rate) = report.rain_mm_h.filter(|_| newer(self.rate_at)) {
            self.rate_nm_h = (rate * 1e6) as i64;
            self.rate_at = Some(at);
            self.added_to = self.added_to.max(Some(at));
        }
        if let Some(warning) = report.warning.filter(|_| newer(self.warning_at)) {
            self.warning = warning;
            self.warning_at = Some(at);
        }
        if let Some(wet) = report.wet.filter(|_| newer(self.manual_at)) {
            self.manual_at = Some(at);
            self.manual_until = wet.then(|| at + self.rules.switch_holds);
        }
        self.newest_at = self.newest_at.max(Some(at));
        self.advance(at);
    }

    /// Adds up rain and notes the last wet moment, up to `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.add_rain(now);
        let mut moments = [None, None, None];
        if self.warning != Warning::None {
            moments[0] = Some(now);
        }
        moments[1] = self.rain_until().map(|until| until.min(now));
        moments[2] = self.manual_until.map(|until| until.min(now));
        for moment in moments {
            self.last_wet = self.last_wet.max(moment);
        }
        let counts = self.rules.rain_within;
        let gone = |minute: i64| Timestamp((minute + 1) * MINUTE) + counts < now;
        while self.rain.front().is_some_and(|(minute, _)| gone(*minute)) {
            self.rain.pop_front();
        }
    }

    /// Spreads the held rate over the minutes since rain was last added.
    fn add_rain(&mut self, now: Timestamp) {
        let (Some(rate_at), Some(mut from)) = (self.rate_at, self.added_to) else {
            return;
        };
        let to = now.min(rate_at + self.rules.rate_holds);
        while from < to {
            let minute = from.0.div_euclid(MINUTE);
            let end = Timestamp((minute + 1) * MINUTE).min(to);
            let fell = self.rate_nm_h * end.since(from).0;
            match self.rain.back_mut() {
                _ if fell == 0 => {}
                Some((last, sum)) if *last == minute => *sum += fell,
                _ => self.rain.push_back((minute, fell)),
            }
            from = end;
        }
        self.added_to = Some(from.max(to));
    }

    /// Until when the rain that has fallen makes wet: 3 h after the last minute of the newest 0.1 mm.
    fn rain_until(&self) -> Option<Timestamp> {
        // In the unit of the sums, (10⁻⁶ mm/h) × ms: whole numbers, so that a tick each second adds up to exactly
        // what one step over an hour does.
        let enough = self.rules.rain.0 * 1000 * 3_600_000;
        let mut sum = 0;
        let newest = self.rain.iter().rev().find(|(_, fell)| {
            sum += fell;
            sum >= enough
        });
        newest.map(|(minute, _)| Timestamp((minute + 1) * MINUTE) + self.rules.rain_within)
    }

    /// Why it is wet at `now`, unknown weather left aside. Call [`Weather::advance`] first.
    pub fn because(&self, now: Timestamp, low_lying: bool) -> Option<Because> {
        let still = |until: Option<Timestamp>| until.is_some_and(|u| now <= u);
        if self.warning != Warning::None {
            Some(Because::Warning)
        } else if still(self.rain_until()) {
            Some(Because::Rain)
        } else if still(self.manual_until) {
            Some(Because::Manual)
        } else {
            let drying = self.last_wet.is_some_and(|last| is_drying(last, now, low_lying, &self.rules));
            drying.then_some(Because::Drying)
        }
    }

    /// When it dries if nothing else happens; `None` when it never was wet.
    pub(crate) fn dries_at(&self, low_lying: bool) -> Option<Timestamp> {
        let drying = if low_lying { self.rules.drying_low_lying } else { self.rules.drying };
        self.last_wet.map(|last| last + drying)
    }

    /// The next moment at which time alone may change what is known; `None` when only a message can. While
    /// rain is added up that is any moment. Drying is no change: it makes no limit stricter.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let held_until = self.rate_at.filter(|_| self.rate_nm_h > 0).map(|at| at + self.rules.rate_holds);
        if held_until.is_some_and(|until| self.added_to.is_none_or(|added| added < until)) {
            return Some(now);
        }
        self.newest_at.map(|at| at + self.rules.feed_age + Millis(1)).filter(|at| *at > now)
    }

    /// True when somebody spoke in the last 60 min.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.newest_at.is_some_and(|at| now.since(at) <= self.rules.feed_age)
    }
}

/// The zone name that stands for all of them.
pub const ALL: &str = "all";

/// The weather of every zone, and the one that was told for all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Zones", into = "Zones")]
pub struct Sky(Zones, Wet);

type Zones = Vec<(Arc<str>, Weather)>;

impl From<Zones> for Sky {
    fn from(zones: Zones) -> Self {
        Self(zones, Wet::default())
    }
}

impl From<Sky> for Zones {
    fn from(sky: Sky) -> Self {
        sky.0
    }
}

impl Sky {
    /// From now on these numbers hold. What has been summed up by the old ones stays.
    pub(crate) fn set_rules(&mut self, rules: Wet) {
        self.1 = rules;
        self.0.iter_mut().for_each(|(_, weather)| weather.rules = rules);
    }

    /// As the store keeps it.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "[]".to_owned())
    }

    /// The weather kept under that name, made when it is new.
    pub fn entry(&mut self, zone: &str) -> &mut Weather {
        let place = self.0.iter().position(|(name, _)| **name == *zone);
        let place = place.unwrap_or_else(|| {
            self.0.push((Arc::from(zone), Weather { rules: self.1, ..Weather::default() }));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// The weather kept under that name.
    pub fn get(&self, zone: &str) -> Option<&Weather> {
        self.0.iter().find(|(name, _)| **name == *zone).map(|(_, w)| w)
    }

    /// Every name with its weather.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Weather)> {
        self.0.iter().map(|(name, weather)| (name, weather))
    }

    /// Brings every zone up to `now`.
    pub fn advance(&mut self, now: Timestamp) {
        for (_, weather) in &mut self.0 {
            weather.advance(now);
        }
    }

    /// True when the zone's own weather or that for all zones is known.
    pub fn is_known(&self, zone: &str, now: Timestamp) -> bool {
        let known = |name| self.get(name).is_some_and(|w: &Weather| w.is_known(now));
        known(zone) || known(ALL)
    }

    /// Why it is wet in `zone` at `now`. The zone's own weather and that for all zones each suffice.
    pub fn because(&self, zone: &str, now: Timestamp, low_lying: bool) -> Option<Because> {
        let of = |name| self.get(name).and_then(|w: &Weather| w.because(now, low_lying));
        let unknown = || (!self.is_known(zone, now)).then_some(Because::Unknown);
        let said = [of(zone), of(ALL)];
        let now_wet = said.into_iter().flatten().find(|b| *b != Because::Drying);
        now_wet.or_else(unknown).or_else(|| said.into_iter().flatten().next())
    }
}

#[cfg(test)]
#[path = "wet_tests.rs"]
mod tests;
