//! Step 3 for what is no reading: a proof that we sent ourselves.

use lampguard_model::Reading;
use lampguard_model::record::{self, StoredReading};

use super::{Context, Intake};
use crate::intake::{Fate, Message};
use crate::proof::PREFIX;

impl Intake {
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
