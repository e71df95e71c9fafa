//! Claimed times, and whether an arrival is proven (`policy.md` 4).

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::order::{MoveBody, Position};
use super::{Arrival, Life, Stage};
use crate::policy;

/// Mean radius of the earth, metres.
const EARTH_M: f64 = 6_371_000.0;

/// Arrivals remembered between the first and the newest one; beyond, the oldest is forgotten. The record has them all.
const BETWEEN_MAX: usize = 20;

/// The times of one move: what counts, what was claimed, when we had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Counts for the deadline.
    pub at: Timestamp,
    /// What they said, if they said something.
    pub claimed_at: Option<Timestamp>,
    /// Receipt.
    pub received_at: Timestamp,
}

impl Times {
    /// A claim counts when it lies at most `claimed_max` before receipt, not before the crew was told, and
    /// the phone's clock is within `clock_within`; else receipt counts. Both are kept.
    pub fn of(body: &MoveBody, arrival: &policy::Arrival, told_at: Timestamp, now: Timestamp) -> Self {
        let off = |sent: Timestamp| now.since(sent).0.abs();
        let clock_is_right = body.sent_at.is_some_and(|sent| off(sent) <= arrival.clock_within.0);
        let recent = |at: Timestamp| at <= now && now.since(at) <= arrival.claimed_max;
        let believed = |at: &Timestamp| recent(*at) && *at >= told_at && clock_is_right;
        let at = body.at.filter(believed).unwrap_or(now);
        Self { at, claimed_at: body.at, received_at: now }
    }
}

/// Why an arrival is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The phone was within 300 m of the post by the register.
    Position,
    /// The QR code of the post, or its number, typed.
    Post,
    /// Nothing: the clock stops, the desk is told and calls.
    Unproven,
}

impl Proof {
    /// `proven` or `unproven`.
    pub fn name(self) -> &'static str {
        if self == Self::Unproven { "unproven" } else { "proven" }
    }
}

/// Looks for a proof in the body. The distance comes with it when there was a position.
pub(super) fn prove(
    body: &MoveBody,
    arrival: &policy::Arrival,
    place: Option<(f64, f64)>,
    names: &[String],
) -> (Proof, Option<u32>) {
    let within = arrival.within.0 as f64 / 1000.0;
    let distance = place.zip(body.position).map(|(place, position)| distance_m(place, position));
    let whole = distance.map(|metres| metres.round().min(f64::from(u32::MAX)) as u32);
    let sure = body.position.is_some_and(|p| p.accuracy_m.is_none_or(|metres| metres <= within));
    let typed = body.post.as_deref().map(str::trim).filter(|typed| !typed.is_empty());
    let proof = if typed.is_some_and(|typed| names.iter().any(|name| name == typed)) {
        Proof::Post
    } else if sure && distance.is_some_and(|metres| metres <= within) {
        Proof::Position
    } else {
        Proof::Unproven
    };
    (proof, whole)
}

impl Life {
    /// The newest arrival: of the crew that stands there, or stood there last.
    pub fn present_arrival(&self) -> Option<&Arrival> {
        self.there.as_ref().or(self.arrived.as_ref())
    }

    pub(super) fn present_arrival_mut(&mut self) -> Option<&mut Arrival> {
        self.there.as_mut().or(self.arrived.as_mut())
    }

    /// Who comes after the first has gone, or was found not to be there, has rungs of its own; the first stays the one that
    /// counts.
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Timestamp) {
        self.climb.desk_calls = false;
        // From arrived to arrived: somebody was clear of it and is back.
        if (self.arrived.is_some() || !self.denied.is_empty()) && self.state != Stage::Arrived {
            self.climb.there_at = Some(now);
        }
        match &self.arrived {
            Some(_) => self.between.extend(self.there.replace(arrival)),
            None => self.arrived = Some(arrival),
        }
        if self.between.len() > BETWEEN_MAX {
            self.between.remove(0);
        }
    }

    /// The newest arrival was none; those before it stay.
    pub(super) fn deny_arrival(&mut self) {
        let denied = self.there.take().or_else(|| self.arrived.take());
        self.there = self.between.pop();
        self.denied.extend(denied);
        (self.climb.desk_calls, self.climb.there_at) = (false, None);
    }
}

/// Great-circle distance; not a number when a coordinate is none, which proves nothing.
fn distance_m((lon, lat): (f64, f64), to: Position) -> f64 {
    let [a, b] = [lat, to.lat].map(f64::to_radians);
    let (dlat, dlon) = ((b - a) / 2.0, (to.lon - lon).to_radians() / 2.0);
    let h = dlat.sin().powi(2) + a.cos() * b.cos() * dlon.sin().powi(2);
    2.0 * EARTH_M * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prove(body: &MoveBody, place: Option<(f64, f64)>, names: &[String]) -> (Proof, Option<u32>) {
        super::prove(body, &policy::Arrival::default(), place, names)
    }

    #[test]
    fn three_hundred_metres_are_measured_on_the_ground_and_a_vague_phone_proves_nothing() {
        let post = Some((113.62, 34.75));
        let at = |metres: f64, accuracy_m| MoveBody {
            position: Some(Position { lon: 113.62, lat: 34.75 + metres / 111_195.0, accuracy_m }),
            ..MoveBody::default()
        };
        assert_eq!(prove(&at(299.0, None), post, &[]), (Proof::Position, Some(299)));
        assert_eq!(prove(&at(302.0, None), post, &[]).0, Proof::Unproven);
        assert_eq!(prove(&at(10.0, Some(2000.0)), post, &[]).0, Proof::Unproven);
        assert_eq!(prove(&at(10.0, Some(20.0)), None, &[]), (Proof::Unproven, None));
        let nowhere = MoveBody {
            position: Some(Position { lon: f64::NAN, lat: 0.0, accuracy_m: None }),
            ..MoveBody::default()
        };
        assert_eq!(prove(&nowhere, post, &[]).0, Proof::Unproven);
    }
}
