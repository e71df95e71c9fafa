//! What comes in and is no reading: the word of a device that it is there, and a proof that we sent ourselves. And
//! what stands around decoding: what decoders keep, and the running numbers that they miss.

use lampguard_model::record::{self, StoredReading, StoredStatus};
use lampguard_model::wire::{Mended, Refusal};
use lampguard_model::{Reading, register};

use super::{Context, Intake};
use crate::intake::{Fate, Message};
use crate::profile::{self, Arrived, Profile};
use crate::proof::PREFIX;

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
        let again = matches!(message.fate, Fate::Again(_));
        let (topic, payload, received_at) = (message.topic.as_str(), &*message.payload, context.received_at);
        let decoded =
            profile::decode(profile, &Arrived { topic, payload, received_at, again }, &mut self.memory, out);
        if let Some(gap) = self.memory.take_gap().filter(|_| !self.judge_only) {
            // Nobody knows how many readings each missing message of a gateway would have held: one at least.
            self.setup.metrics.gap.inc_by(gap.missing);
            self.setup.losses.gap(context.source, gap, received_at);
        }
        decoded
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
