//! One chunk: the rows of one post and one month, column by column.
//!
//! ```text
//! chunk    crc32c u32 (of all that follows) · version u8 = 1 · rows varint · pco header
//!          mask varint (one bit per field that any row has)
//!          columns: stored_ts · received_at − stored_ts · ts − stored_ts · seq · boot · marks · flags ·
//!                   cause · source · one per set bit of the mask, lowest field first
//! column   tag u8 (bits 0–1 form, bit 7 not in every row) · [presence, one bit per row, lowest first] · numbers
//!            form 0  nothing: no row has it
//!            form 1  all equal: zigzag varint
//!            form 2  divisor varint · pco chunk meta and one pco page of i64 (each number divided by the divisor)
//! ```
//! Fixed numbers are little-endian. Differences wrap, so every 64-bit number survives.
//!
//! Invariants
//! - 1 to [`ROWS_MAX`] rows, in the order they were given (the writer sorts by `stored_ts`).
//! - The bytes of a chunk depend on its rows alone: writing it again after a crash writes the same.
//! - Nothing is decoded before the checksum is right, and memory follows the row count, not the bytes.
//!
//! The divisor is ours because sensors report in steps (0.1 V is 100 thousandths): over some hundred rows the exact
//! one is cheap to find, and pco is spared its search for a mode.

use lampguard_model::record::{SOURCES, Source, put_varint};
use lampguard_model::{Cause, Field, Fields, Flags, Marks, Timestamp, field};
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::row::Row;

/// Most rows in a chunk.
pub const ROWS_MAX: usize = 4096;

const VERSION: u8 = 1;
const NONE: u8 = 0;
const EQUAL: u8 = 1;
const NUMBERS: u8 = 2;
const SPARSE: u8 = 0x80;

/// Why a chunk cannot be read. Its rows are lost to this query; other chunks are not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are not those that were written.
    #[error("checksum does not fit its {0} bytes")]
    Checksum(usize),
    /// A newer version wrote it.
    #[error("format {found}, this program reads {VERSION}")]
    Version {
        /// Format number found.
        found: u8,
    },
    /// The checksum is right and the content is not: a fault of the writer.
    #[error("{0} is not readable")]
    Content(&'static str),
}

/// The numbers of one column, `None` where a row has none.
type Column = Vec<Option<i64>>;

/// Encodes `rows` into one chunk.
///
/// # Panics
/// Without rows or with more than [`ROWS_MAX`]; the writer splits before.
pub fn encode(rows: &[Row]) -> Vec<u8> {
    assert!((1..=ROWS_MAX).contains(&rows.len()), "a chunk has 1 to {ROWS_MAX} rows");
    let mut out = vec![0, 0, 0, 0, VERSION];
    put_varint(&mut out, rows.len() as u64);
    let pco = FileCompressor::default();
    pco.write_header(&mut out).expect("writing to memory cannot fail");
    let mask = rows.iter().fold(0, |mask, row| mask | row.fields.mask());
    put_varint(&mut out, u64::from(mask));

    let mut numbers = Vec::with_capacity(rows.len());
    let mut put = |delta: bool, value: &dyn Fn(&Row) -> Option<i64>| {
        put_column(rows, delta, value, &pco, &mut numbers, &mut out);
    };
    put(true, &|row| Some(row.stored_ts.0));
    put(false, &|row| Some(row.received_at.0.wrapping_sub(row.stored_ts.0)));
    put(false, &|row| row.ts.map(|ts| ts.0.wrapping_sub(row.stored_ts.0)));
    put(true, &|row| row.seq.map(u64::cast_signed));
    put(false, &|row| row.boot.map(i64::from));
    put(false, &|row| Some(i64::from(row.marks.0)));
    put(false, &|row| Some(i64::from(row.flags.0)));
    put(false, &|row| Some(row.cause as i64));
    put(false, &|row| Some(row.source as i64));
    for field in fields_of(mask) {
        put(delta_pays(rows, field), &|row| row.fields.get(field));
    }
    let crc = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Decodes a chunk.
///
/// # Errors
/// [`ChunkError`]: name the chunk and go on with the others.
pub fn decode(bytes: &[u8]) -> Result<Vec<Row>, ChunkError> {
    let checked = bytes.split_first_chunk::<4>();
    let Some((crc, body)) = checked.filter(|(crc, body)| crc32c::crc32c(body) == u32::from_le_bytes(**crc))
    else {
        return Err(ChunkError::Checksum(bytes.len()));
    };
    debug_assert_eq!(crc.len(), 4);
    decode_body(body)
}

fn decode_body(body: &[u8]) -> Result<Vec<Row>, ChunkError> {
    let mut input = Input { rest: body };
    let version = input.u8().ok_or(ChunkError::Content("version"))?;
    if version != VERSION {
        return Err(ChunkError::Version { found: version });
    }
    let count = input.varint().and_then(|n| usize::try_from(n).ok());
    let count = count.filter(|n| (1..=ROWS_MAX).contains(n)).ok_or(ChunkError::Content("row count"))?;
    let (pco, rest) = FileDecompressor::new(input.rest).map_err(|_| ChunkError::Content("pco header"))?;
    input.rest = rest;
    let mask = input.varint().and_then(|mask| u32::try_from(mask).ok());
    let mask =
        mask.filter(|mask| mask >> field::FIELD_COUNT == 0).ok_or(ChunkError::Content("field mask"))?;

    let mut column = |name| take_column(&mut input, &pco, count).ok_or(ChunkError::Content(name));
    let stored_ts = column("stored_ts")?;
    let (received, ts, seq, boot) = (column("received_at")?, column("ts")?, column("seq")?, column("boot")?);
    let (marks, flags) = (column("marks")?, column("flags")?);
    let (cause, source) = (column("cause")?, column("source")?);
    let mut rows = Vec::with_capacity(count);
    for at in 0..count {
        let stored = stored_ts[at].ok_or(ChunkError::Content("stored_ts"))?;
        rows.push(Row {
            stored_ts: Timestamp(stored),
            received_at: Timestamp(stored.wrapping_add(received[at].unwrap_or(0))),
            ts: ts[at].map(|ts| Timestamp(stored.wrapping_add(ts))),
            seq: seq[at].map(i64::cast_unsigned),
            boot: boot[at].map(|boot| boot as u32),
            marks: Marks(marks[at].unwrap_or(0) as u32),
            flags: Flags(flags[at].unwrap_or(0) as u16),
            cause: Cause::from_number(cause[at].unwrap_or(0) as u8),
            source: source_of(source[at].unwrap_or(0)),
            fields: Fields::default(),
        });
    }
    for field in fields_of(mask) {
        for (row, value) in rows.iter_mut().zip(column(field.name())?) {
            if let Some(value) = value {
                row.fields.set(field, value);
            }
        }
    }
    Ok(rows)
}

fn fields_of(mask: u32) -> impl Iterator<Item = Field> {
    field::ALL.into_iter().filter(move |field| mask & (1 << *field as u8) != 0)
}

fn source_of(number: i64) -> Source {
    let known = usize::try_from(number).ok().and_then(|at| SOURCES.get(at));
    known.copied().unwrap_or(Source::Broker)
}

/// True when the differences from row to row need fewer bits than the values around their first.
fn delta_pays(rows: &[Row], field: Field) -> bool {
    let bits = |number: i64| u64::from(64 - number.unsigned_abs().leading_zeros());
    let mut values = rows.iter().filter_map(|row| row.fields.get(field));
    let Some(first) = values.next() else { return false };
    let (mut last, mut plain, mut delta) = (first, 0, 0);
    for value in values {
        plain += bits(value.wrapping_sub(first));
        delta += bits(value.wrapping_sub(last));
        last = value;
    }
    delta < plain
}

fn put_column(
    rows: &[Row],
    delta: bool,
    value: &dyn Fn(&Row) -> Option<i64>,
    pco: &FileCompressor,
    numbers: &mut Vec<i64>,
    out: &mut Vec<u8>,
) {
    numbers.clear();
    let tag_at = out.len();
    out.push(NONE);
    let mut presence = vec![0u8; rows.len().div_ceil(8)];
    for (at, row) in rows.iter().enumerate() {
        if let Some(number) = value(row) {
            presence[at / 8] |= 1 << (at % 8);
            numbers.push(number);
        }
    }
    let Some(&first) = numbers.first() else { return };
    if numbers.len() < rows.len() {
        out[tag_at] |= SPARSE;
        out.extend_from_slice(&presence);
    }
    if numbers.iter().all(|number| *number == first) {
        out[tag_at] |= EQUAL;
        put_varint(out, zigzag(first));
        return;
    }
    out[tag_at] |= NUMBERS;
    let divisor = common_divisor(numbers);
    put_varint(out, divisor.unsigned_abs());
    if divisor > 1 {
        numbers.iter_mut().for_each(|number| *number /= divisor);
    }
    let order = if delta { DeltaSpec::TryConsecutive(1) } else { DeltaSpec::NoOp };
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(order);
    let mut chunk = pco.chunk_compressor(numbers, &config).expect("the fixed configuration is valid");
    chunk.write_meta(&mut *out).expect("writing to memory cannot fail");
    chunk.write_page(0, &mut *out).expect("all numbers are in the one page");
}

/// pco's level. Measured with `examples/history_cost.rs 3200 900`: 4.18, 4.16, 4.19 bytes a row at levels 2, 4, 8; the
/// time does not differ by more than its noise.
const LEVEL: usize = 4;

/// The greatest number that divides every value, at least 1.
fn common_divisor(numbers: &[i64]) -> i64 {
    let mut divisor = 0u64;
    for number in numbers {
        let (mut a, mut b) = (divisor, number.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if divisor == 1 {
            break;
        }
    }
    i64::try_from(divisor).unwrap_or(1).max(1)
}

fn take_column(input: &mut Input<'_>, pco: &FileDecompressor, rows: usize) -> Option<Column> {
    let tag = input.u8()?;
    let presence = if tag & SPARSE != 0 { Some(input.take(rows.div_ceil(8))?) } else { None };
    let is_there = |at: usize| presence.is_none_or(|bits| bits[at / 8] & (1 << (at % 8)) != 0);
    let count = (0..rows).filter(|at| is_there(*at)).count();
    let numbers = match tag & !SPARSE {
        NONE => return Some(vec![None; rows]),
        EQUAL => vec![unzigzag(input.varint()?); count],
        NUMBERS => take_numbers(input, pco, count)?,
        _ => return None,
    };
    let mut numbers = numbers.into_iter();
    Some((0..rows).map(|at| if is_there(at) { numbers.next() } else { None }).collect())
}

fn take_numbers(input: &mut Input<'_>, pco: &FileDecompressor, count: usize) -> Option<Vec<i64>> {
    let divisor = i64::try_from(input.varint()?).ok()?;
    let (mut chunk, rest) = pco.chunk_decompressor::<i64, _>(input.rest).ok()?;
    let mut numbers = vec![0i64; count];
    let mut page = chunk.page_decompressor(rest, count).ok()?;
    page.read(&mut numbers).ok()?;
    input.rest = page.into_src();
    numbers.iter_mut().for_each(|number| *number = number.wrapping_mul(divisor));
    Some(numbers)
}

/// Reads plain bytes from the front; shared with the open parts.
pub(crate) struct Input<'a> {
    /// What is not read yet.
    pub(crate) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(part)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
