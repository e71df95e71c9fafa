//! What the journal keeps: one record for each thing that arrived, in the binary form every follower reads.
//!
//! ```text
//! reading      identity u64 · received_at i64 · stored_ts i64 · marks u32 · flags u16 · cause u8 · source u8
//!              presence u8 (1 ts, 2 seq, 4 boot, 8 by, 16 period, 32 hint) · [ts i64] [seq varint] [boot varint]
//!              post · device (empty: same as post) · zone · feeder · [by]      each: length u8, bytes
//!              mask varint · one zigzag varint of thousandths per set bit, lowest field first
//!              [period in seconds varint] · [hint: length u8, bytes]
//! weather      received_at i64 · zone: length u8, bytes · JSON of the report
//! status       received_at i64 · device: length u8, bytes · online u8
//! quarantined  received_at i64 · source u8 · reason: length u8, bytes · topic: length u16, bytes
//!              full length u32 · hash [u8; 8] · payload (whole, or the first 64 KiB of one over the packet limit)
//! proof        as reading
//! heard        weather that another node was told and passed on: as weather
//! ```
//! Fixed numbers are little-endian. The kind byte travels beside the record, in the journal's own frame.

use crate::field::{FIELD_COUNT, Field, Fields};
use crate::reading::{Cause, Flags, Marks, Reading};
use crate::time::Timestamp;

/// Kind byte of a reading.
pub const READING: u8 = 1;
/// Kind byte of a weather message.
pub const WEATHER: u8 = 2;
/// Kind byte of a status message.
pub const STATUS: u8 = 3;
/// Kind byte of a refused payload.
pub const QUARANTINED: u8 = 4;
/// Kind byte of a proof: a known leak that we sent ourselves by the real way. It looks like a reading and is none: who
/// follows the journal for readings never sees it.
pub const PROOF: u8 = 5;
/// Kind byte of a weather message that another node passed on. It is weather like any; the kind says that it is not to be
/// passed on again.
pub const HEARD_WEATHER: u8 = 6;

/// Longest payload that a source takes; so much of a refused one is kept.
pub const QUARANTINED_PAYLOAD_MAX: usize = 4 << 20;
/// Longest topic that is kept of a refused payload, bytes.
pub const QUARANTINED_TOPIC_MAX: usize = 512;
/// Ends what was cut.
const CUT: &str = "…";
/// How many bytes are kept of a payload over the packet limit.
pub const OVERSIZE_KEPT: usize = 64 * 1024;

/// Where a reading came in. The number is its place on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// From a broker.
    Broker = 0,
    /// By the built-in listener.
    Listener = 1,
    /// By HTTP.
    Http = 2,
    /// From quarantine, read again.
    Retry = 3,
    /// From another node, which received it for us.
    Node = 4,
}

/// Every source in the order of its number.
pub const SOURCES: [Source; 5] =
    [Source::Broker, Source::Listener, Source::Http, Source::Retry, Source::Node];

impl Source {
    /// The word used as metric label.
    pub fn name(self) -> &'static str {
        ["broker", "listener", "http", "retry", "node"][self as usize]
    }

    fn from_number(number: u8) -> Self {
        SOURCES.get(usize::from(number)).copied().unwrap_or(Self::Broker)
    }
}

/// A placed and admitted reading, as the journal keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReading<'a> {
    /// Fingerprint of (device, key, content): what makes a duplicate a duplicate.
    pub identity: u64,
    /// When we got it.
    pub received_at: Timestamp,
    /// Time under which history and database keep it; unique per post.
    pub stored_ts: Timestamp,
    /// The sensor's own word on the time, plausible or not.
    pub ts: Option<Timestamp>,
    /// Running number of the device.
    pub seq: Option<u64>,
    /// Number of the device's restarts.
    pub boot: Option<u32>,
    /// Why it was sent.
    pub cause: Cause,
    /// The device's flags.
    pub flags: Flags,
    /// What we noticed.
    pub marks: Marks,
    /// Where it came in.
    pub source: Source,
    /// Post id; the device's own name when nobody registered it.
    pub post: &'a str,
    /// Device id.
    pub device: &'a str,
    /// Zone by the register.
    pub zone: &'a str,
    /// Feeder by the register; empty for unregistered devices.
    pub feeder: &'a str,
    /// Who typed it in.
    pub by: Option<&'a str>,
    /// Zone that the topic names, of a device that nobody registered: a hint at whom to send.
    pub hint: Option<&'a str>,
    /// Reporting period of such devices by the profile that read it, seconds.
    pub period_s: Option<u32>,
    /// The values.
    pub fields: Fields,
}

impl<'a> StoredReading<'a> {
    /// A reading of `post`, measured and received at `at` through the listener: no identity, number, value, zone or
    /// feeder.
    pub fn at(post: &'a str, at: Timestamp) -> Self {
        Self {
            identity: 0,
            received_at: at,
            stored_ts: at,
            ts: Some(at),
            seq: None,
            boot: None,
            cause: Cause::default(),
            flags: Flags::default(),
            marks: Marks::default(),
            source: Source::Listener,
            post,
            device: post,
            zone: "",
            feeder: "",
            by: None,
            hint: None,
            period_s: None,
            fields: Fields::default(),
        }
    }

    /// What the sensor of `post` said, received at `received_at`; the rest as in [`StoredReading::at`].
    pub fn said(reading: &'a Reading, post: &'a str, received_at: Timestamp) -> Self {
        Self {
            ts: reading.ts,
            seq: reading.seq,
            boot: reading.boot,
            cause: reading.cause,
            flags: reading.flags,
            marks: reading.marks,
            by: reading.by.as_deref(),
            period_s: reading.period_s,
            fields: reading.fields.clone(),
            ..Self::at(post, received_at)
        }
    }

    /// When it was measured, as far as we believe it: the sensor's word, or receipt when its clock is broken.
    pub fn measured_at(&self) -> Timestamp {
        match self.ts {
            Some(ts) if !self.marks.has(Marks::CLOCK) => ts,
            _ => self.received_at,
        }
    }
}

/// A status message (`online`, `offline`) of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStatus<'a> {
    /// When we got it.
    pub received_at: Timestamp,
    /// Device id.
    pub device: &'a str,
    /// True for `online`.
    pub online: bool,
}

/// A refused payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined<'a> {
    /// When we got it.
    pub received_at: Timestamp,
    /// Where it came in.
    pub source: Source,
    /// Why it was refused, one word of the closed list in `ingester`.
    pub reason: &'a str,
    /// Topic it came on.
    pub topic: &'a str,
    /// Length of the whole payload, bytes.
    pub full_length: u32,
    /// First eight bytes of the SHA-256 of the whole payload.
    pub hash: [u8; 8],
    /// The payload; of one over the packet limit its first 64 KiB.
    pub payload: &'a [u8],
}

/// One decoded record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// A reading.
    Reading(StoredReading<'a>),
    /// Weather: when we got it, zone, JSON of the report.
    Weather(Timestamp, &'a str, &'a [u8]),
    /// A status message.
    Status(StoredStatus<'a>),
    /// A refused payload.
    Quarantined(Quarantined<'a>),
    /// A proof.
    Proof(StoredReading<'a>),
}

/// A record that cannot be read: written by a newer version, or damaged beyond what the checksum saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("journal record of kind {kind} is not readable at byte {at}")]
pub struct BadRecord {
    /// Kind byte.
    pub kind: u8,
    /// Where reading stopped.
    pub at: usize,
}

/// Appends a reading to `out`.
pub fn encode_reading(reading: &StoredReading<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&reading.identity.to_le_bytes());
    out.extend_from_slice(&reading.received_at.0.to_le_bytes());
    out.extend_from_slice(&reading.stored_ts.0.to_le_bytes());
    out.extend_from_slice(&reading.marks.0.to_le_bytes());
    out.extend_from_slice(&reading.flags.0.to_le_bytes());
    out.extend_from_slice(&[reading.cause as u8, reading.source as u8]);
    let presence = u8::from(reading.ts.is_some())
        | u8::from(reading.seq.is_some()) << 1
        | u8::from(reading.boot.is_some()) << 2
        | u8::from(reading.by.is_some()) << 3
        | u8::from(reading.period_s.is_some()) << 4
        | u8::from(reading.hint.is_some()) << 5;
    out.push(presence);
    if let Some(ts) = reading.ts {
        out.extend_from_slice(&ts.0.to_le_bytes());
    }
    if let Some(seq) = reading.seq {
        put_varint(out, seq);
    }
    if let Some(boot) = reading.boot {
        put_varint(out, u64::from(boot));
    }
    put_text(out, reading.post);
    put_text(out, if reading.device == reading.post { "" } else { reading.device });
    put_text(out, reading.zone);
    put_text(out, reading.feeder);
    if let Some(by) = reading.by {
        put_text(out, by);
    }
    put_varint(out, u64::from(reading.fields.mask()));
    for (_, value) in reading.fields.iter() {
        put_varint(out, zigzag(value));
    }
    if let Some(period_s) = reading.period_s {
        put_varint(out, u64::from(period_s));
    }
    if let Some(hint) = reading.hint {
        put_text(out, hint);
    }
}

/// Appends a weather message to `out`.
pub fn encode_weather(received_at: Timestamp, zone: &str, report: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&received_at.0.to_le_bytes());
    put_text(out, zone);
    out.extend_from_slice(report);
}

/// Appends a status message to `out`.
pub fn encode_status(status: &StoredStatus<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&status.received_at.0.to_le_bytes());
    put_text(out, status.device);
    out.push(u8::from(status.online));
}

/// Appends a refused payload to `out`; a topic over [`QUARANTINED_TOPIC_MAX`] is cut and ends with "…".
pub fn encode_quarantined(refused: &Quarantined<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&refused.received_at.0.to_le_bytes());
    out.push(refused.source as u8);
    put_text(out, refused.reason);
    let (topic, end) = match refused.topic {
        topic if topic.len() <= QUARANTINED_TOPIC_MAX => (topic, ""),
        topic => {
            let whole = (0..=QUARANTINED_TOPIC_MAX - CUT.len()).rev().find(|at| topic.is_char_boundary(*at));
            (&topic[..whole.unwrap_or(0)], CUT)
        }
    };
    out.extend_from_slice(&((topic.len() + end.len()) as u16).to_le_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(end.as_bytes());
    out.extend_from_slice(&refused.full_length.to_le_bytes());
    out.extend_from_slice(&refused.hash);
    out.extend_from_slice(&refused.payload[..refused.payload.len().min(QUARANTINED_PAYLOAD_MAX)]);
}

/// Reads one record.
///
/// # Errors
/// [`BadRecord`]: skip it and count it; the frame's checksum was right, so a newer version wrote it.
pub fn decode(kind: u8, bytes: &[u8]) -> Result<Record<'_>, BadRecord> {
    let mut cursor = Cursor { bytes, at: 0 };
    let record = match kind {
        READING => cursor.reading().map(Record::Reading),
        WEATHER | HEARD_WEATHER => cursor.weather(),
        STATUS => cursor.status(),
        QUARANTINED => cursor.quarantined(),
        PROOF => cursor.reading().map(Record::Proof),
        _ => None,
    };
    record.ok_or(BadRecord { kind, at: cursor.at })
}

/// The identity of an encoded reading, without decoding the rest.
pub fn identity_of(bytes: &[u8]) -> Option<u64> {
    Cursor { bytes, at: 0 }.u64()
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    fn rest(&mut self) -> &'a [u8] {
        let part = &self.bytes[self.at..];
        self.at = self.bytes.len();
        part
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.array().map(|bytes| Timestamp(i64::from_le_bytes(bytes)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn reading(&mut self) -> Option<StoredReading<'a>> {
        let (identity, received_at, stored_ts) = (self.u64()?, self.time()?, self.time()?);
        let marks = Marks(u32::from_le_bytes(self.array()?));
        let flags = Flags(u16::from_le_bytes(self.array()?));
        let (cause, source, presence) = (self.u8()?, self.u8()?, self.u8()?);
        let ts = if presence & 1 != 0 { Some(self.time()?) } else { None };
        let seq = if presence & 2 != 0 { Some(self.varint()?) } else { None };
        let boot = if presence & 4 != 0 { Some(u32::try_from(self.varint()?).ok()?) } else { None };
        let (post, device, zone, feeder) = (self.text()?, self.text()?, self.text()?, self.text()?);
        let by = if presence & 8 != 0 { Some(self.text()?) } else { None };
        let mask = self.varint()?;
        let mut fields = Fields::default();
        for number in 0..FIELD_COUNT as u8 {
            if mask & (1 << number) != 0 {
                fields.set(Field::from_number(number)?, unzigzag(self.varint()?));
            }
        }
        let period_s = if presence & 16 != 0 { Some(u32::try_from(self.varint()?).ok()?) } else { None };
        let hint = if presence & 32 != 0 { Some(self.text()?) } else { None };
        Some(StoredReading {
            identity,
            received_at,
            stored_ts,
            ts,
            seq,
            boot,
            cause: Cause::from_number(cause),
            flags,
            marks,
            source: Source::from_number(source),
            post,
            device: if device.is_empty() { post } else { device },
            zone,
            feeder,
            by,
            hint,
            period_s,
            fields,
        })
    }

    fn weather(&mut self) -> Option<Record<'a>> {
        Some(Record::Weather(self.time()?, self.text()?, self.rest()))
    }

    fn status(&mut self) -> Option<Record<'a>> {
        let (received_at, device) = (self.time()?, self.text()?);
        Some(Record::Status(StoredStatus { received_at, device, online: self.u8()? != 0 }))
    }

    fn quarantined(&mut self) -> Option<Record<'a>> {
        let (received_at, source, reason) = (self.time()?, self.u8()?, self.text()?);
        let topic_length = usize::from(u16::from_le_bytes(self.array()?));
        let topic = std::str::from_utf8(self.take(topic_length)?).ok()?;
        let full_length = u32::from_le_bytes(self.array()?);
        Some(Record::Quarantined(Quarantined {
            received_at,
            source: Source::from_number(source),
            reason,
            topic,
            full_length,
            hash: self.array()?,
            payload: self.rest(),
        }))
    }
}

/// Appends a number in 7-bit groups, lowest first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a text of at most 255 bytes; longer ones are cut at a character border.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = text.floor_char_boundary(255);
    out.push(length as u8);
    out.extend_from_slice(&text.as_bytes()[..length]);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(values: &[(u8, i64)]) -> StoredReading<'static> {
        let mut fields = Fields::default();
        for (number, value) in values {
            fields.set(Field::from_number(number % FIELD_COUNT as u8).unwrap(), *value);
        }
        StoredReading {
            identity: 0x0123_4567_89ab_cdef,
            received_at: Timestamp(1_795_435_200_000),
            stored_ts: Timestamp(1_795_435_199_000),
            ts: Some(Timestamp(1_795_435_199_000)),
            seq: Some(18_231),
            boot: Some(7),
            cause: Cause::Alarm,
            flags: Flags::LEAK_ALARM,
            marks: Marks::LATE,
            source: Source::Listener,
            post: "Z1-000001",
            device: "D-1",
            zone: "z1",
            feeder: "F1",
            by: None,
            hint: None,
            period_s: None,
            fields,
        }
    }

    proptest! {
        #[test]
        fn a_reading_survives_the_journal(
            values in proptest::collection::vec((any::<u8>(), any::<i64>()), 0..30),
            seq in proptest::option::of(any::<u64>()),
            boot in proptest::option::of(any::<u32>()),
            ts in proptest::option::of(any::<i64>()),
            period_s in proptest::option::of(any::<u32>()),
            hint in proptest::option::of("[a-z0-9]{1,64}"),
        ) {
            let hint = hint.as_deref();
            let reading = StoredReading { seq, boot, ts: ts.map(Timestamp), period_s, hint, ..sample(&values) };
            let mut bytes = Vec::new();
            encode_reading(&reading, &mut bytes);
            prop_assert_eq!(identity_of(&bytes), Some(reading.identity));
            prop_assert_eq!(decode(READING, &bytes), Ok(Record::Reading(reading)));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(kind in 0u8..7, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(kind, &bytes);
        }
    }

    #[test]
    fn every_kind_survives_and_every_cut_is_noticed() {
        let mut bytes = Vec::new();
        encode_reading(&sample(&[(0, 820), (1, 400), (2, 228_400)]), &mut bytes);
        assert!(bytes.len() < 80, "{} bytes for three fields", bytes.len());
        for cut in 0..bytes.len() {
            assert!(decode(READING, &bytes[..cut]).is_err(), "cut at {cut}");
        }
        let status = StoredStatus { received_at: Timestamp(5), device: "D-1", online: true };
        bytes.clear();
        encode_status(&status, &mut bytes);
        assert_eq!(decode(STATUS, &bytes), Ok(Record::Status(status)));
        let refused = Quarantined {
            received_at: Timestamp(5),
            source: Source::Broker,
            reason: "json",
            topic: "lamp/z1/P1/reading",
            full_length: 3,
            hash: [1; 8],
            payload: b"\xff\x00{",
        };
        bytes.clear();
        encode_quarantined(&refused, &mut bytes);
        assert_eq!(decode(QUARANTINED, &bytes), Ok(Record::Quarantined(refused.clone())));
        let long = "灯".repeat(20_000);
        bytes.clear();
        encode_quarantined(&Quarantined { topic: &long, ..refused }, &mut bytes);
        assert!(bytes.len() < QUARANTINED_TOPIC_MAX + 40, "{} bytes for one topic", bytes.len());
        let Ok(Record::Quarantined(kept)) = decode(QUARANTINED, &bytes) else { panic!("not readable") };
        assert_eq!((kept.topic, kept.payload), (format!("{}…", "灯".repeat(169)).as_str(), refused.payload));
        bytes.clear();
        encode_weather(Timestamp(9), "all", b"{}", &mut bytes);
        assert_eq!(decode(WEATHER, &bytes), Ok(Record::Weather(Timestamp(9), "all", &b"{}"[..])));
    }
}
