//! Line protocol: one row for each reading and each weather message.
//!
//! Strict, because a database may answer 204 to a row it throws away (VictoriaMetrics does so for malformed
//! rows and for times outside its retention). Only finite decimal numbers, only what was measured, no name
//! that needs more than the three escapes, no time the database would drop.
//!
//! ```text
//! lamp,post=Z1-000001,zone=z1,feeder=F1 leakage_ma=0.82,shell_v=0.4,supply=1,seq=18231,boot=7 1760710920123
//! cabinet,post=B1-001,zone=z1,feeder=F1 leakage_ma=92.4,supply_v=231.2,seq=2,boot=7 1760710920676
//! weather,zone=all rain_mm_h=12.5,warning=2,wet=1 1760710920123
//! ```
//! Whether a reading is of a post or of a cabinet is marked when it is admitted, as post, zone and feeder are: a row that is sent
//! again is the same row, whatever the register says by then.
//!
//! Tags are frozen: InfluxDB 3 cannot change those of a table. What stands in which row is the table
//! [`lampguard_model::series`]; a test holds these rows to it. Yes/no fields are 0/1. Numbers carry no `i`: every field is
//! a float for ever.

use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Decimal, Marks, Millis, Timestamp, WeatherReport, series};

/// Databases drop what lies further ahead (VictoriaMetrics: two days).
const AHEAD_MAX: Millis = Millis::hours(48);
/// Kept from both ends of the accepted times: the row travels, and the database's clock is not ours.
const MARGIN: Millis = Millis::hours(1);

/// The times a database takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    oldest: Timestamp,
    newest: Timestamp,
}

impl Limits {
    /// What a database with this retention takes at `now`.
    pub(crate) fn at(now: Timestamp, retention_days: u32) -> Self {
        Self {
            oldest: now - Millis::hours(24 * i64::from(retention_days)) + MARGIN,
            newest: now + AHEAD_MAX - MARGIN,
        }
    }
}

/// Why a record gives no row. The record stays in journal and history; it is counted by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// Before the retention of the database.
    TooOld,
    /// Further ahead than any database takes.
    TooNew,
    /// Beyond the number of unregistered devices that get a series.
    Untracked,
    /// No number in it.
    Empty,
    /// A name that line protocol cannot carry without doubt.
    BadName,
    /// Written by a newer version, or damaged.
    Unreadable,
}

impl Skipped {
    /// Every reason.
    pub(crate) const ALL: [Self; 6] =
        [Self::TooOld, Self::TooNew, Self::Untracked, Self::Empty, Self::BadName, Self::Unreadable];

    /// The metric label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Untracked => "untracked",
            Self::Empty => "empty",
            Self::BadName => "bad_name",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Appends the row of a record, and says when the record was received; `None` for kinds that have no row.
/// Nothing is appended unless it returns a time.
///
/// # Errors
/// [`Skipped`]: count it and go on.
pub(crate) fn encode(
    kind: u8,
    bytes: &[u8],
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<Option<Timestamp>, Skipped> {
    if !matches!(kind, record::READING | record::WEATHER | record::HEARD_WEATHER) {
        return Ok(None);
    }
    let start = out.len();
    let row = match record::decode(kind, bytes) {
        // Its owner writes it.
        Ok(Record::Reading(reading)) if reading.marks.has(Marks::FOREIGN) => return Ok(None),
        Ok(Record::Reading(reading)) => put_reading(&reading, limits, out).map(|()| reading.received_at),
        Ok(Record::Weather(at, zone, json)) => put_weather(at, zone, json, limits, out).map(|()| at),
        Ok(_) => return Ok(None),
        Err(_) => Err(Skipped::Unreadable),
    };
    if row.is_err() {
        out.truncate(start);
    }
    row.map(Some)
}

fn put_reading(reading: &StoredReading<'_>, limits: Limits, out: &mut Vec<u8>) -> Result<(), Skipped> {
    if reading.marks.has(Marks::UNTRACKED) {
        return Err(Skipped::Untracked);
    }
    let row_of = if reading.marks.has(Marks::CABINET) { series::CABINET } else { series::LAMP };
    out.extend_from_slice(row_of.name.as_bytes());
    put_tag(out, "post", reading.post)?;
    put_tag(out, "zone", reading.zone)?;
    if !reading.feeder.is_empty() {
        put_tag(out, "feeder", reading.feeder)?;
    }
    let mut row = Fields::new(out);
    for (field, value) in reading.fields.iter() {
        row.name(field.name());
        put_thousandths(row.out, value);
    }
    for (name, number) in [("seq", reading.seq), ("boot", reading.boot.map(u64::from))] {
        if let Some(number) = number {
            row.name(name);
            put_number(row.out, number);
        }
    }
    row.end(reading.stored_ts, limits)
}

fn put_weather(
    received_at: Timestamp,
    zone: &str,
    json: &[u8],
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), Skipped> {
    let report = WeatherReport::decode(json).map_err(|_| Skipped::Unreadable)?;
    out.extend_from_slice(series::WEATHER.name.as_bytes());
    put_tag(out, "zone", zone)?;
    let mut row = Fields::new(out);
    let rain = report.rain_mm_h.and_then(Decimal::from_f64);
    if let Some(rain) = rain.and_then(Decimal::thousandths) {
        row.name("rain_mm_h");
        put_thousandths(row.out, rain);
    }
    if let Some(warning) = report.warning {
        row.name("warning");
        put_number(row.out, warning as u64);
    }
    if let Some(wet) = report.wet {
        row.name("wet");
        put_number(row.out, u64::from(wet));
    }
    row.end(report.at(received_at), limits)
}

/// The fields of a row, behind its tags.
pub(super) struct Fields<'a> {
    pub(super) out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> Fields<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b' ' }
    }

    pub(super) fn name(&mut self, name: &str) {
        self.out.push(self.before);
        self.before = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
    }

    fn end(self, at: Timestamp, limits: Limits) -> Result<(), Skipped> {
        if self.before == b' ' {
            return Err(Skipped::Empty);
        }
        if at < limits.oldest || at.0 < 0 {
            return Err(Skipped::TooOld);
        }
        if at > limits.newest {
            return Err(Skipped::TooNew);
        }
        if self.finish(at) { Ok(()) } else { Err(Skipped::Empty) }
    }

    /// Ends the row; false when it has no field.
    pub(super) fn finish(self, at: Timestamp) -> bool {
        if self.before == b' ' {
            return false;
        }
        self.out.push(b' ');
        put_number(self.out, at.0.unsigned_abs());
        self.out.push(b'\n');
        true
    }
}

/// Appends `,name=value`. A backslash is refused: InfluxDB reads it as itself, VictoriaMetrics as an escape,
/// and at the end of a value it would eat the next separator.
pub(super) fn put_tag(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), Skipped> {
    if value.is_empty() || value.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(Skipped::BadName);
    }
    out.push(b',');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    for byte in value.bytes() {
        if matches!(byte, b',' | b' ' | b'=') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    Ok(())
}

/// Appends thousandths as the shortest decimal: 30100 is `30.1`.
pub(super) fn put_thousandths(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let size = value.unsigned_abs();
    put_number(out, size / 1000);
    let rest = (size % 1000) as u16;
    if rest == 0 {
        return;
    }
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// One row that waits to be accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Place behind its last byte in the text of all rows.
    end: usize,
    /// Number of its record in the journal.
    pub(crate) seq: u64,
    /// When its record was received.
    pub(crate) received_at: Timestamp,
}

/// The rows that wait, in the order of their records. Bounded by its owner: a batch and one frame.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    text: Vec<u8>,
    rows: Vec<Row>,
}

impl Rows {
    /// Appends the row of a record, if it has one.
    ///
    /// # Errors
    /// [`Skipped`]: count it and go on.
    pub(crate) fn push(&mut self, seq: u64, kind: u8, bytes: &[u8], limits: Limits) -> Result<(), Skipped> {
        if let Some(received_at) = encode(kind, bytes, limits, &mut self.text)? {
            let end = self.text.len();
            self.rows.push(Row { end, seq, received_at });
        }
        Ok(())
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One row.
    pub(crate) fn get(&self, index: usize) -> Option<&Row> {
        self.rows.get(index)
    }

    /// Text of the rows `from..to`.
    pub(crate) fn text(&self, from: usize, to: usize) -> &[u8] {
        let place = |index: usize| match index.checked_sub(1) {
            Some(before) => self.rows.get(before).map_or(self.text.len(), |row| row.end),
            None => 0,
        };
        &self.text[place(from)..place(to)]
    }

    /// How many of the rows `from..to` belong to records before `seq`.
    pub(crate) fn before(&self, from: usize, to: usize, seq: u64) -> usize {
        self.rows[from..to].partition_point(|row| row.seq < seq)
    }

    /// Removes the first `count` rows.
    pub(crate) fn drop_front(&mut self, count: usize) {
        let bytes = self.text(0, count).len();
        self.text.drain(..bytes);
        self.rows.drain(..count);
        for row in &mut self.rows {
            row.end -= bytes;
        }
    }

    /// Removes every row.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
