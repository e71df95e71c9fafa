//! What comes in and is no reading: weather, the word of a device that it is there, and a proof that we sent ourselves. And
//! what stands around decoding: what decoders keep, and the running numbers that they miss.

use lampguard_model::record::{self, StoredReading, StoredStatus};
use lampguard_model::wire::{Mended, Refusal};
use lampguard_model::{Cause, Marks, Reading, Timestamp, WeatherReport, register};
use tracing::warn;

use super::{Context, Intake};
use crate::accounts::Refused;
use crate::admit::{Place, mark_time};
use crate::intake::{Fate, Message};
use crate::profile::{self, Arrived, Profile};
use crate::proof::PREFIX;

/// The zone of a weather message that stands for all of them.
pub(super) const ALL_ZONES: &str = "all";
/// Longest weather message; the contract's three keys need some 80 bytes.
const WEATHER_BYTES_MAX: usize = 4096;

/// When a message first came: now, unless it lay in quarantine since then.
pub(super) fn came_at(message: &Message, context: &Context) -> Timestamp {
    if let Fate::Again { came_at, .. } = message.fate { came_at } else { context.received_at }
}

/// What is read again out of quarantine and has no time that can be believed was measured when it first came: last
/// week's danger is not today's, and neither is last week's calm.
pub(super) fn date_again(message: &Message, reading: &mut Reading, place: &Place, now: Timestamp) {
    let Fate::Again { came_at, .. } = message.fate else { return };
    if reading.ts.is_none_or(|ts| !ts.plausible(came_at)) {
        reading.ts = Some(came_at);
        reading.marks.remove(Marks::CLOCK);
        if reading.cause != Cause::Manual {
            reading.cause = Cause::Backfill;
        }
    }
    mark_time(reading, place.period(reading), now);
}

impl Intake {
    pub(super) fn count_mended(&self, mended: Mended, readings: u64) {
        for (reason, was) in [("not_a_number", mended.not_a_number), ("leading_zero", mended.leading_zero)] {
            if was {
                self.setup.metrics.mended.with_label_values(&[reason]).inc_by(readings);
            }
        }
    }

    /// Step 2: the readings of a message.
    ///
    /// # Errors
    /// What the whole message is quarantined for.
    pub(super) fn decode(
        &mut self,
        profile: Option<&Profile>,
        message: &Message,
        context: &Context,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let again = matches!(message.fate, Fate::Again { .. });
        let (topic, payload, received_at) = (message.topic.as_str(), &*message.payload, context.received_at);
        let arrived =
            Arrived { topic, payload, received_at: came_at(message, context), again, origin: context.origin };
        let decoded = profile::decode(profile, &arrived, &mut self.memory, out);
        self.tell_memory();
        if let Some(gap) = self.memory.take_gap().filter(|_| !self.judge_only) {
            // Nobody knows how many readings each missing message of a gateway would have held: one at least.
            self.setup.metrics.gap.inc_by(gap.missing);
            self.setup.losses.gap(context.source, gap, received_at);
        }
        decoded
    }

    /// What decoders keep, as metrics; said once when something found no room.
    fn tell_memory(&mut self) {
        let size = self.memory.size();
        if size == self.memory_told {
            return;
        }
        let (nodes, aliases, lost) = size;
        let metrics = &self.setup.metrics;
        metrics.decoder_nodes.set(nodes as i64);
        metrics.decoder_aliases.set(aliases as i64);
        metrics.decoder_lost.inc_by(lost - self.memory_told.2);
        if self.memory_told.2 == 0 && lost > 0 {
            warn!(
                nodes,
                aliases,
                nodes_max = profile::NODES_MAX,
                node_aliases_max = profile::NODE_ALIASES_MAX,
                aliases_max = profile::ALIASES_MAX,
                "Sparkplug: births find no room; data by alias of the nodes heard longest ago is quarantined"
            );
        }
        self.memory_told = size;
    }

    pub(super) fn take_weather(&mut self, message: &Message, zone: &str, context: &mut Context) {
        if message.payload.len() > WEATHER_BYTES_MAX {
            return self.quarantine(message, 0, Refusal::TooLarge, context);
        }
        if matches!(message.fate, Fate::Again { .. }) {
            // Weather of then is nothing that holds now.
            return self.quarantine(message, 0, Refusal::Weather, context);
        }
        let known = zone == ALL_ZONES || self.register.has_zone(zone);
        let report = match WeatherReport::decode(&message.payload) {
            Ok(report) if known => report,
            _ => return self.quarantine(message, 0, Refusal::Weather, context),
        };
        let received_at = context.received_at;
        // What a broker kept says nothing of now: without a time of its own it would be new at each reconnect.
        if message.retain && context.retain_counts && !report.is_dated(received_at) {
            if !self.judge_only {
                context.readings += 1;
                self.refuse(Refused::RetainedStale, 1);
            }
            return;
        }
        self.frame
            .push(record::WEATHER, |out| record::encode_weather(received_at, zone, &message.payload, out));
        self.close_full_frame();
    }

    pub(super) fn take_status(&mut self, message: &Message, device: &str, context: &mut Context) {
        let online = match &*message.payload {
            b"online" => true,
            b"offline" => false,
            _ => return self.quarantine(message, 0, Refusal::NotObject, context),
        };
        if !register::is_identifier(device) {
            return self.quarantine(message, 0, Refusal::BadDevice, context);
        }
        let status = StoredStatus { received_at: context.received_at, device, online };
        self.frame.push(record::STATUS, |out| record::encode_status(&status, out));
        self.close_full_frame();
    }

    /// A proof goes on as a record of its own and is no reading: it is in no count.
    pub(super) fn take_proof(
        &mut self,
        message: &Message,
        reading: &Reading,
        device: &str,
        context: &Context,
    ) -> bool {
        let Some(proofs) = self.setup.proofs.as_ref().filter(|_| message.fate == Fate::Read) else {
            return false;
        };
        if !proofs.key.is_proof(device, reading) {
            return false;
        }
        (proofs.seen)(device, reading.seq.unwrap_or_default());
        let stored = StoredReading {
            source: context.source,
            zone: device.strip_prefix(PREFIX).unwrap_or(""),
            ..StoredReading::said(reading, device, context.received_at)
        };
        self.frame.push(record::PROOF, |out| record::encode_reading(&stored, out));
        self.close_full_frame();
        true
    }
}
