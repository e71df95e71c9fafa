//! What lies between a sensor and whoever reads it: concentrators, the broker, deliveries twice or late.

use std::collections::{BTreeMap, VecDeque};

use lampguard_model::Timestamp;

use crate::simulation::{Counts, Message};

/// Messages that wait somewhere on the way; beyond it the new one is lost and counted.
pub(crate) const HELD_MAX: usize = 1_000_000;

/// A concentrator sends what it kept in parcels of this many, this far apart (domain reference 14.3).
const PARCEL: usize = 30;
const PARCEL_MS: i64 = 5000;
/// First parcel after the link is back.
const FIRST_MS: i64 = 5000;
/// Clients that reconnect to a broker send what they kept at this rate together, messages a second (a guess).
const RUSH_PER_S: i64 = 2000;

/// Messages on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery {
    /// To be delivered at an instant, in order.
    due: BTreeMap<(Timestamp, u64), Message>,
    /// Kept in the concentrator of a feeder.
    in_concentrator: BTreeMap<u32, VecDeque<Message>>,
    /// Kept by the clients of a broker that is away.
    at_broker: VecDeque<Message>,
    taken: u64,
    held: usize,
}

impl Delivery {
    /// When the next delayed delivery is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The delivery that is due.
    pub(crate) fn take(&mut self) -> Option<Message> {
        let (_, message) = self.due.pop_first()?;
        self.held -= 1;
        Some(message)
    }

    fn has_room(&mut self, counts: &mut Counts) -> bool {
        if self.held >= HELD_MAX {
            counts.lost += 1;
            return false;
        }
        self.held += 1;
        true
    }

    /// Delivers a message later.
    pub(crate) fn delay(&mut self, mut message: Message, until: Timestamp, counts: &mut Counts) {
        if self.has_room(counts) {
            message.at = until;
            self.taken += 1;
            self.due.insert((until, self.taken), message);
        }
    }

    /// Keeps a message in the concentrator of a feeder.
    pub(crate) fn keep(&mut self, feeder: u32, message: Message, counts: &mut Counts) {
        if self.has_room(counts) {
            counts.held_back += 1;
            self.in_concentrator.entry(feeder).or_default().push_back(message);
        }
    }

    /// Keeps a message for a broker that is away.
    pub(crate) fn keep_for_broker(&mut self, message: Message, counts: &mut Counts) {
        if self.has_room(counts) {
            counts.held_back += 1;
            self.at_broker.push_back(message);
        }
    }

    /// The concentrator of a feeder has its link back.
    pub(crate) fn release(&mut self, feeder: u32, at: Timestamp, counts: &mut Counts) {
        let kept = self.in_concentrator.remove(&feeder).unwrap_or_default();
        self.held -= kept.len();
        for (nth, message) in kept.into_iter().enumerate() {
            let after = FIRST_MS + (nth / PARCEL) as i64 * PARCEL_MS;
            self.delay(message, Timestamp(at.0 + after), counts);
        }
    }

    /// The broker is back.
    pub(crate) fn release_broker(&mut self, at: Timestamp, counts: &mut Counts) {
        let kept = std::mem::take(&mut self.at_broker);
        self.held -= kept.len();
        for (nth, message) in kept.into_iter().enumerate() {
            self.delay(message, Timestamp(at.0 + 1 + nth as i64 * 1000 / RUSH_PER_S), counts);
        }
    }
}
