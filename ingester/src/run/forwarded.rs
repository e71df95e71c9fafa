//! Other nodes: whose posts these are, and what another node received for us.
//!
//! ```text
//! body     record record …            in the order of the other node's journal
//! record   kind u8 · length u32 · bytes, as in its journal (`model/src/record.rs`)
//! ```
//! What was forwarded is placed by our register and judged here, whoever its owner is by our own list: it is never passed
//! on again, so two nodes that do not agree cannot send it round in circles.

use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Marks, Reading, Timestamp, WeatherReport, register};
use tracing::warn;

use super::{ALL_ZONES, Context, Decision, Intake, Kept, Place, mark_time};
use crate::intake::Message;

/// What the first node noticed in the payload. The rest (time, place, identity) is looked at again here.
const KEPT: [Marks; 9] = [
    Marks::OUT_OF_RANGE,
    Marks::SATURATED,
    Marks::PARTIAL,
    Marks::RETAINED,
    Marks::MENDED,
    Marks::BAD_FIELD,
    Marks::ZONE_MISMATCH,
    Marks::NO_IDENTITY,
    Marks::OTHER_TOPIC,
];

/// Appends one record to a body.
pub fn put_record(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The records of a body; the last one is `None` when the body ends in the middle of one.
pub fn records(mut body: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        let (kind, rest) = body.split_first()?;
        let cut = rest.split_at_checked(4).and_then(|(length, rest)| {
            let length = u32::from_le_bytes(length.try_into().ok()?);
            rest.split_at_checked(usize::try_from(length).ok()?)
        });
        body = cut.map_or(&[], |(_, rest)| rest);
        Some(cut.map(|(bytes, _)| (*kind, bytes)))
    })
}

/// A message of weather with the time from which it holds: its own, else when the first node got it. So what waited, or
/// comes a second time, overrules nothing that was said since. `None` for what cannot be read.
fn dated(json: &[u8], came_at: Timestamp) -> Option<Vec<u8>> {
    let report = WeatherReport::decode(json).ok()?;
    let at = report.at(came_at).min(came_at);
    if report.ts.map(Timestamp::from_number) == Some(at) {
        return Some(json.to_vec());
    }
    let mut message: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
    message.insert("ts".to_owned(), at.0.into());
    serde_json::to_vec(&message).ok()
}

impl Intake {
    /// Says who judges a reading that came in here.
    pub(super) fn mark_judge(
        &self,
        reading: &mut Reading,
        place: &Place,
        hint: Option<(&str, &str)>,
        context: &Context,
    ) {
        let Some(foreign) = &self.setup.foreign else {
            if !context.judges {
                reading.marks.add(Marks::NOT_JUDGED);
            }
            return;
        };
        // Among several nodes the owner judges, by whichever source it comes.
        let (zone, feeder) = place.post.as_ref().map_or(("", ""), |post| (&*post.zone, &*post.feeder));
        if foreign(zone, feeder, hint.map(|(zone, _)| zone)) {
            reading.marks.add(Marks::NOT_JUDGED);
            reading.marks.add(Marks::FOREIGN);
        }
    }

    /// Steps 2 to 5 for what another node received.
    pub(super) fn take_forwarded(&mut self, message: &Message, context: &mut Context) {
        for part in records(&message.payload) {
            match part.map(|(kind, bytes)| (kind, record::decode(kind, bytes))) {
                Some((record::READING, Ok(Record::Reading(stored)))) => self.take_stored(&stored, context),
                Some((record::WEATHER, Ok(Record::Weather(came_at, zone, json)))) => {
                    self.take_heard_weather(came_at, zone, json, context);
                }
                // The sender's checksums were right, so it is a newer version: it keeps it until we know it.
                _ => {
                    warn!("another node sent a record that this version does not know");
                    context.tally.quarantined.push((0, "record"));
                    return;
                }
            }
        }
    }

    fn take_stored(&mut self, stored: &StoredReading<'_>, context: &mut Context) {
        if !register::is_identifier(stored.device) {
            context.tally.quarantined.push((0, "record"));
            return;
        }
        let mut marks = Marks::default();
        KEPT.into_iter().filter(|mark| stored.marks.has(*mark)).for_each(|mark| marks.add(mark));
        // Without a time that can be believed it was measured when the first node got it, not when we did.
        let ts = if stored.ts.is_none() || stored.marks.has(Marks::CLOCK) {
            Some(stored.received_at)
        } else {
            stored.ts
        };
        let mut reading = Reading {
            ts,
            seq: stored.seq,
            boot: stored.boot,
            cause: stored.cause,
            flags: stored.flags,
            marks,
            by: stored.by.map(Into::into),
            fields: stored.fields.clone(),
            period_s: stored.period_s,
            ..Reading::default()
        };
        context.readings += 1;
        let hint = stored.hint.map(|zone| (zone, stored.device));
        let place = self.place(stored.device, &mut reading, hint);
        let decision = if self.judge_only {
            // By its own identity: when it comes again to be stored it confirms nothing a second time.
            let period = place.period(&reading);
            let stored_ts = mark_time(&mut reading, period, context.received_at);
            Decision::Fresh { stored_ts, identity: stored.identity }
        } else {
            let (identity, received_at) = (stored.identity, context.received_at);
            self.admission.admit_as(identity, &mut reading, &place, stored.device, received_at)
        };
        self.settle(decision, (&reading, &place), (stored.device, stored.hint), context);
    }

    fn take_heard_weather(&mut self, came_at: Timestamp, zone: &str, json: &[u8], context: &Context) {
        let known = zone == ALL_ZONES || self.register.has_zone(zone);
        let Some(json) = dated(json, came_at).filter(|_| known) else { return };
        let received_at = context.received_at;
        self.frame.push(record::HEARD_WEATHER, |out| record::encode_weather(received_at, zone, &json, out));
        self.close_full_frame();
    }

    /// Counts what was decided about a reading, and keeps it when it is new.
    pub(super) fn settle(
        &mut self,
        decision: Decision,
        (reading, place): (&Reading, &Place),
        (device, hint): (&str, Option<&str>),
        context: &mut Context,
    ) {
        match decision {
            Decision::Duplicate => {
                self.totals.duplicate += 1;
                context.tally.duplicate += 1;
                if context.source != record::Source::Retry {
                    self.setup.metrics.duplicate.inc();
                }
            }
            Decision::StaleRetained => self.refuse(crate::accounts::Refused::RetainedStale, 1),
            Decision::Fresh { stored_ts, identity } => {
                self.keep(&Kept { reading, place, device, hint, stored_ts, identity }, context);
                context.tally.stored += 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
