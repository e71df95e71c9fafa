//! One frame: the records of one batch, written and flipped-bit-checked as a unit.

/// Bytes of a frame's header; see the drawing in the crate's documentation.
pub(crate) const HEADER: usize = 40;
/// First four bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"LGf1";
/// Longest body (meta and records) a frame may have. The biggest single record is a refused payload of
/// 4 MiB with its topic of 64 KiB.
pub const BODY_MAX: usize = 5 << 20;
/// Longest meta blob: a few dozen counters.
pub(crate) const META_MAX: usize = 4096;

/// A frame in memory: filled by the writer's side, read by whoever is interested before it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameBuf {
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Wall-clock time at which the frame was closed, milliseconds UTC.
    pub closed_at: i64,
    /// Counters that travel with the records; opaque to the journal.
    pub meta: Vec<u8>,
    count: u32,
    records: Vec<u8>,
}

impl FrameBuf {
    /// An empty frame whose first record will have this number.
    pub fn new(first_seq: u64) -> Self {
        Self { first_seq, ..Self::default() }
    }

    /// Appends one record; `write` puts its bytes behind what is there.
    pub fn push(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.records.len();
        self.records.extend_from_slice(&[kind, 0, 0, 0, 0]);
        write(&mut self.records);
        let length = (self.records.len() - start - 5) as u32;
        self.records[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Sequence number behind the last record.
    pub fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    /// Bytes of all records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records in order.
    pub fn records(&self) -> Records<'_> {
        Records { seq: self.first_seq, rest: &self.records }
    }

    /// Appends the frame as it stands on disk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&((self.meta.len() + self.records.len()) as u32).to_le_bytes());
        out.extend_from_slice(&(self.meta.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.closed_at.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.meta);
        out.extend_from_slice(&self.records);
        let crc = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A frame read back from disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Number of records.
    pub count: u32,
    /// Wall-clock time at which the frame was closed, milliseconds UTC.
    pub closed_at: i64,
    /// Counters that travel with the records.
    pub meta: &'a [u8],
    records: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Sequence number behind the last record.
    pub fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    /// The records in order.
    pub fn records(&self) -> Records<'a> {
        Records { seq: self.first_seq, rest: self.records }
    }

    /// Bytes of the frame on disk.
    pub fn len(&self) -> usize {
        HEADER + self.meta.len() + self.records.len()
    }

    /// Frames are never empty on disk; here for the lint that goes with `len`.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Iterates over (sequence, kind, bytes).
#[derive(Clone, Debug)]
pub struct Records<'a> {
    seq: u64,
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_at_checked(5)?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (bytes, rest) = rest.split_at_checked(length)?;
        let item = (self.seq, head[0], bytes);
        self.rest = rest;
        self.seq += 1;
        Some(item)
    }
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A whole and sound frame.
    Frame(Frame<'a>),
    /// The start of a frame that needs this many bytes in all.
    Short(usize),
    /// No frame.
    Damaged,
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(header) = bytes.get(..HEADER) else {
        let so_far = bytes.len().min(4);
        return if bytes[..so_far] == MAGIC[..so_far] { Parsed::Short(HEADER) } else { Parsed::Damaged };
    };
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (body, meta) = (u32_at(8) as usize, u32_at(12) as usize);
    if header[..4] != MAGIC || body > BODY_MAX + META_MAX || meta > META_MAX.min(body) {
        return Parsed::Damaged;
    }
    let Some(whole) = bytes.get(..HEADER + body) else {
        return Parsed::Short(HEADER + body);
    };
    if crc32c::crc32c(&whole[8..]) != u32_at(4) {
        return Parsed::Damaged;
    }
    Parsed::Frame(view(whole))
}

/// The frame in bytes that `parse` has found whole and sound.
pub(crate) fn view(whole: &[u8]) -> Frame<'_> {
    let u32_at = |at: usize| u32::from_le_bytes([whole[at], whole[at + 1], whole[at + 2], whole[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let meta = u32_at(12) as usize;
    Frame {
        first_seq: u64_at(16),
        count: u32_at(32),
        closed_at: u64_at(24).cast_signed(),
        meta: &whole[HEADER..HEADER + meta],
        records: &whole[HEADER + meta..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> FrameBuf {
        let mut frame =
            FrameBuf { first_seq: 7, closed_at: 99, meta: b"totals".to_vec(), ..FrameBuf::default() };
        frame.push(1, |out| out.extend_from_slice(b"one"));
        frame.push(2, |_| {});
        frame
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        frame().encode(&mut bytes);
        let Parsed::Frame(read) = parse(&bytes) else { panic!("not read") };
        assert_eq!((read.first_seq, read.count, read.closed_at, read.meta), (7, 2, 99, &b"totals"[..]));
        let records: Vec<_> = read.records().collect();
        assert_eq!(records, [(7, 1, &b"one"[..]), (8, 2, &b""[..])]);
        assert_eq!(records, frame().records().collect::<Vec<_>>());
        assert_eq!(read.len(), bytes.len());
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_every_cut_is_short() {
        let mut bytes = Vec::new();
        frame().encode(&mut bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(!matches!(parse(&flipped), Parsed::Frame(_)), "byte {at} bit {bit}");
            }
            assert!(matches!(parse(&bytes[..at]), Parsed::Short(_)), "cut at {at}");
        }
    }
}
