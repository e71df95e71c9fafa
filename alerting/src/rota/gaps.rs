//! Hours in which nobody would go.

use std::sync::Arc;

use jiff::civil::Time;
use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Rota, is_reachable};

/// Why an hour is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No crew is on duty.
    NoCrew,
    /// A crew is on duty, and none of its members has a channel.
    NobodyReachable,
}

/// From when to when nobody of a zone can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Zone.
    pub zone: Arc<str>,
    /// Begins.
    pub from: Timestamp,
    /// Is over, or the end of what was looked at.
    pub to: Timestamp,
    /// Why.
    pub why: Why,
    /// The crew that nobody can reach.
    pub crew: Option<Arc<str>>,
}

/// When a day begins for the office that has no shifts.
const MORNING: Time = Time::constant(8, 0, 0, 0);

impl Rota {
    /// The newest moment by `at` at which the first shift of a day began.
    pub(crate) fn day_began(&self, at: Timestamp) -> Option<Timestamp> {
        let (calendar, shifts) = (&self.weekly.calendar, &self.weekly.shifts);
        let first = shifts.iter().map(|shift| shift.from).min().unwrap_or(MORNING);
        let today = calendar.day(at)?;
        let days = [Some(today), today.yesterday().ok()];
        days.into_iter().flatten().filter_map(|day| calendar.moment(day, first)).find(|began| *began <= at)
    }

    /// Gaps of the next `days` days, by zone and time. Where the configuration names no people at all everything is
    /// told to the desk by every channel, and a crew without members is no gap.
    pub fn gaps(&self, from: Timestamp, days: u32) -> Vec<Gap> {
        let to = from + Millis::hours(24 * i64::from(days));
        let mut gaps: Vec<Gap> = Vec::new();
        for zone in self.zones.keys() {
            for span in self.spans(zone, from, to) {
                let Some((why, crew)) = self.why(span.duty.crew.as_ref()) else { continue };
                match gaps.last_mut() {
                    Some(last)
                        if last.zone == *zone
                            && last.to == span.from
                            && last.why == why
                            && last.crew == crew =>
                    {
                        last.to = span.to;
                    }
                    _ => gaps.push(Gap { zone: zone.clone(), from: span.from, to: span.to, why, crew }),
                }
            }
        }
        gaps
    }

    fn why(&self, crew: Option<&Arc<str>>) -> Option<(Why, Option<Arc<str>>)> {
        let Some(crew) = crew.and_then(|id| self.crews.get(id)) else { return Some((Why::NoCrew, None)) };
        let reached = crew.members.iter().any(|member| is_reachable(member));
        (!reached && self.names_people()).then(|| (Why::NobodyReachable, Some(crew.id.clone())))
    }
}
