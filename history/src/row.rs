//! One kept reading of one post.

use lampguard_model::record::Source;
use lampguard_model::{Cause, Fields, Flags, Marks, StoredReading, Timestamp};

/// One reading as history keeps it: everything that changes from reading to reading. Post, device, zone and
/// feeder are the register's business, and who typed a manual reading in stands in the journal and the
/// incident, so none of them is repeated in each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Time under which it is kept; unique per post as long as admission sees both readings.
    pub stored_ts: Timestamp,
    /// When we got it.
    pub received_at: Timestamp,
    /// The sensor's own word on the time, plausible or not.
    pub ts: Option<Timestamp>,
    /// Running number of the device.
    pub seq: Option<u64>,
    /// Number of the device's restarts.
    pub boot: Option<u32>,
    /// What we noticed.
    pub marks: Marks,
    /// The device's own flags.
    pub flags: Flags,
    /// Why it was sent.
    pub cause: Cause,
    /// Where it came in.
    pub source: Source,
    /// The values, thousandths of each field's unit.
    pub fields: Fields,
}

impl Row {
    /// When it was measured, as far as we believe it: the sensor's word, or receipt when its clock is broken.
    pub fn measured_at(&self) -> Timestamp {
        match self.ts {
            Some(ts) if !self.marks.has(Marks::CLOCK) => ts,
            _ => self.received_at,
        }
    }
}

impl From<&StoredReading<'_>> for Row {
    fn from(reading: &StoredReading<'_>) -> Self {
        Self {
            stored_ts: reading.stored_ts,
            received_at: reading.received_at,
            ts: reading.ts,
            seq: reading.seq,
            boot: reading.boot,
            marks: reading.marks,
            flags: reading.flags,
            cause: reading.cause,
            source: reading.source,
            fields: reading.fields.clone(),
        }
    }
}
