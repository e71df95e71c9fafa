//! Canonical payload and topic grammar.
//!
//! The decoder is strict first and lenient in one second pass: bare `NaN`, `Infinity` and leading zeros,
//! which cheap firmware prints, are mended and counted. A field that cannot be read is dropped and marked;
//! the rest of the reading lives, because the next field may be the one that saves somebody.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::field::Field;
use crate::mend::mend;
use crate::reading::{Cause, Flags, Marks, Reading};
use crate::register::is_identifier;
use crate::time::Timestamp;
use crate::units::Decimal;

pub use crate::canonical::{field_json, to_json};
pub use crate::topic::{CANONICAL_FILTERS, Topic, filter_matches, is_filter, parse_topic};

/// Readings that one message may carry; the rest of a longer batch is refused with reason `batch_too_long`.
pub const BATCH_MAX: usize = 10_000;

/// Why one reading, or a whole payload, is refused. Quarantine it and acknowledge: sending it again cannot
/// mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Nothing in it.
    #[error("payload is empty")]
    Empty,
    /// Not UTF-8.
    #[error("payload is not UTF-8")]
    Utf8,
    /// Not JSON, also after mending.
    #[error("payload is not JSON")]
    Json,
    /// Nested deeper than 128 levels.
    #[error("payload is nested deeper than 128 levels")]
    Nesting,
    /// JSON, but neither an object nor an array of objects.
    #[error("payload is neither an object nor an array of objects")]
    NotObject,
    /// No field that we know holds a value.
    #[error("no measurement in the reading")]
    NoMeasurement,
    /// `device` or `post_id` is not 1 to 64 of `A-Z a-z 0-9 . _ : -`, or nobody named one.
    #[error("device is missing or not 1 to 64 of A-Z a-z 0-9 . _ : -")]
    BadDevice,
    /// More than [`BATCH_MAX`] readings in one message.
    #[error("more than {BATCH_MAX} readings in one message")]
    BatchTooLong,
    /// Larger than the packet limit.
    #[error("larger than the packet limit")]
    TooLarge,
    /// The topic fits no mapping.
    #[error("the topic fits no mapping")]
    Topic,
    /// A weather message that cannot be believed, or one for a zone that the register does not know.
    #[error("not a weather message of a known zone")]
    Weather,
    /// The payload names a device that its sender may not speak for.
    #[error("its sender speaks for one device, and the payload names another")]
    OtherDevice,
    /// Not the binary form that its profile reads: SenML in CBOR, a Sparkplug payload, a frame of bytes.
    #[error("payload is not what the profile's decoder reads")]
    Format,
    /// The check sum of a frame is wrong: bits fell over on the way.
    #[error("the frame's check sum is wrong")]
    Checksum,
    /// A Sparkplug metric by a number whose name was not heard since the last birth or our last start.
    #[error(
        "a metric comes by an alias that no birth has told since our start; ask the edge node for a rebirth"
    )]
    UnknownAlias,
    /// A version, or something that must be understood, that no decoder here knows.
    #[error("a version or a must-understand key that the decoder does not know")]
    Unsupported,
    /// Kept in the device and sent later, without saying when it was measured.
    #[error("kept data without a time: nobody can tell when it was measured")]
    Undated,
}

/// Every refusal, in the order of the places they have in the journal's totals: only append.
pub const REFUSALS: [Refusal; 17] = [
    Refusal::Empty,
    Refusal::Utf8,
    Refusal::Json,
    Refusal::Nesting,
    Refusal::NotObject,
    Refusal::NoMeasurement,
    Refusal::BadDevice,
    Refusal::BatchTooLong,
    Refusal::TooLarge,
    Refusal::Topic,
    Refusal::Weather,
    Refusal::OtherDevice,
    Refusal::Format,
    Refusal::Checksum,
    Refusal::UnknownAlias,
    Refusal::Unsupported,
    Refusal::Undated,
];

impl Refusal {
    /// The word used as metric label and in the quarantine.
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Utf8 => "utf8",
            Self::Json => "json",
            Self::Nesting => "nesting",
            Self::NotObject => "not_object",
            Self::NoMeasurement => "no_measurement",
            Self::BadDevice => "bad_device",
            Self::BatchTooLong => "batch_too_long",
            Self::TooLarge => "too_large",
            Self::Topic => "topic",
            Self::Weather => "weather",
            Self::OtherDevice => "other_device",
            Self::Format => "format",
            Self::Checksum => "checksum",
            Self::UnknownAlias => "unknown_alias",
            Self::Unsupported => "unsupported",
            Self::Undated => "undated",
        }
    }
}

/// What the second pass mended in a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Bare `NaN` or `-Infinity` became `null`, `Infinity` a number beyond every range.
    pub not_a_number: bool,
    /// Leading zeros were cut: `00000123` became `123`.
    pub leading_zero: bool,
}

impl Mended {
    /// True when anything was mended.
    pub fn any(self) -> bool {
        self.not_a_number || self.leading_zero
    }
}

/// Reads a canonical payload: one object, or an array of them. Appends one entry per reading to `out`.
///
/// # Errors
/// [`Refusal`] when the payload as a whole holds no readings; `out` is then as it was.
pub fn decode(payload: &[u8], out: &mut Vec<Result<Reading, Refusal>>) -> Result<Mended, Refusal> {
    let start = out.len();
    match decode_strict(payload, out) {
        Ok(()) => return Ok(Mended::default()),
        Err(e) => {
            out.truncate(start);
            if !e.is_syntax() {
                return Err(refusal_of(payload, &e));
            }
            if is_nesting(&e) {
                return Err(Refusal::Nesting);
            }
        }
    }
    let (mended_bytes, mended) = mend(payload);
    if !mended.any() {
        return Err(plain_refusal(payload));
    }
    if decode_strict(&mended_bytes, out).is_err() {
        out.truncate(start);
        return Err(Refusal::Json);
    }
    for reading in out[start..].iter_mut().flatten() {
        reading.marks.add(Marks::MENDED);
    }
    Ok(mended)
}

fn is_nesting(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("recursion limit")
}

fn refusal_of(payload: &[u8], error: &serde_json::Error) -> Refusal {
    if error.is_data() { Refusal::NotObject } else { plain_refusal(payload) }
}

fn plain_refusal(payload: &[u8]) -> Refusal {
    if payload.iter().all(u8::is_ascii_whitespace) {
        Refusal::Empty
    } else if std::str::from_utf8(payload).is_err() {
        Refusal::Utf8
    } else {
        Refusal::Json
    }
}

fn decode_strict(payload: &[u8], out: &mut Vec<Result<Reading, Refusal>>) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    deserializer.deserialize_any(PayloadVisitor(out))?;
    deserializer.end()
}

/// A payload: an object, or an array of objects.
struct PayloadVisitor<'o>(&'o mut Vec<Result<Reading, Refusal>>);

impl<'de> Visitor<'de> for PayloadVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading or an array of readings")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let reading = ReadingVisitor.visit_map(map)?;
        self.0.push(reading);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let start = self.0.len();
        loop {
            if self.0.len() - start >= BATCH_MAX {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
                // One refusal for all that is too much: a list of them would only cost memory.
                self.0.push(Err(Refusal::BatchTooLong));
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            match seq.next_element_seed(ReadingSeed)? {
                Some(reading) => self.0.push(reading),
                None => return Ok(()),
            }
        }
    }
}

struct ReadingSeed;

impl<'de> DeserializeSeed<'de> for ReadingSeed {
    type Value = Result<Reading, Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(ReadingVisitor)
    }
}

/// One element: an object is a reading, anything else is refused alone.
struct ReadingVisitor;

macro_rules! not_an_object {
    ($($name:ident($ty:ty)),+) => {
        $(fn $name<E>(self, _: $ty) -> Result<Self::Value, E> {
            Ok(Err(Refusal::NotObject))
        })+
    };
}

impl<'de> Visitor<'de> for ReadingVisitor {
    type Value = Result<Reading, Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut reading = Reading::default();
        let mut bad_device = false;
        while let Some(Key(key)) = map.next_key()? {
            let Scalar(value) = map.next_value()?;
            bad_device |= take(&mut reading, &key, &value).is_err();
        }
        Ok(finish(reading, bad_device))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Refusal::NotObject))
    }

    not_an_object!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(Refusal::NotObject))
    }
}

/// The last look at a reading: does it name a possible device, is there anything in it?
///
/// # Errors
/// [`Refusal::BadDevice`] or [`Refusal::NoMeasurement`].
pub fn finish(reading: Reading, bad_device: bool) -> Result<Reading, Refusal> {
    if bad_device {
        Err(Refusal::BadDevice)
    } else if reading.is_usable() {
        Ok(reading)
    } else {
        Err(Refusal::NoMeasurement)
    }
}

struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(ScalarVisitor)?.0 {
            Value::Text(text) => Ok(Self(text)),
            _ => Ok(Self(Cow::Borrowed(""))),
        }
    }
}

/// A value as it stands in a payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`: not measured.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// An array of texts (flags); other elements are left out.
    Texts(Vec<Cow<'a, str>>),
    /// An object.
    Object,
}

struct Scalar<'de>(Value<'de>);

impl<'de> serde::Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

/// Elements of an array that are looked at; a flag list has six words.
const ARRAY_MAX: usize = 32;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Float(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Text(Cow::Borrowed(value))))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar(Value::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Scalar(value)) = seq.next_element()? {
            if let Value::Text(text) = value
                && texts.len() < ARRAY_MAX
            {
                texts.push(text);
            }
        }
        Ok(Scalar(Value::Texts(texts)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(Value::Object))
    }
}

/// A device name that cannot be one.
struct BadDevice;

fn take(reading: &mut Reading, key: &str, value: &Value<'_>) -> Result<(), BadDevice> {
    let field = match key {
        "ts" => {
            take_time(reading, value);
            return Ok(());
        }
        "seq" => {
            reading.seq = take_whole(reading, value).or(reading.seq);
            return Ok(());
        }
        "boot" => {
            let boot = take_whole(reading, value);
            reading.boot = boot.and_then(|boot| u32::try_from(boot).ok()).or(reading.boot);
            return Ok(());
        }
        "cause" => {
            match value {
                Value::Null => {}
                Value::Text(word) => match Cause::from_name(word) {
                    Some(cause) => reading.cause = cause,
                    None => reading.unknown_keys += 1,
                },
                _ => reading.marks.add(Marks::BAD_FIELD),
            }
            return Ok(());
        }
        "flags" => {
            take_flags(reading, value);
            return Ok(());
        }
        "by" => {
            if let Value::Text(text) = value {
                reading.by = Some(text.chars().filter(|c| !c.is_control()).take(64).collect());
            }
            return Ok(());
        }
        "device" | "post_id" => return take_device(reading, value),
        _ => Field::from_name(key),
    };
    match field {
        Some(field) => take_field(reading, field, value),
        None => reading.unknown_keys += 1,
    }
    Ok(())
}

fn take_device(reading: &mut Reading, value: &Value<'_>) -> Result<(), BadDevice> {
    let name = match value {
        Value::Null => return Ok(()),
        Value::Text(text) => Cow::Borrowed(text.trim()),
        Value::Int(number) => Cow::Owned(number.to_string()),
        _ => return Err(BadDevice),
    };
    if !is_identifier(&name) {
        return Err(BadDevice);
    }
    reading.device = Some(name.into());
    Ok(())
}

fn take_time(reading: &mut Reading, value: &Value<'_>) {
    let ts = match value {
        Value::Null => return,
        Value::Int(number) => Some(Timestamp::from_number(*number)),
        Value::Float(number) if number.is_finite() => Some(Timestamp::from_number(*number as i64)),
        Value::Text(text) if is_absent(text) => return,
        Value::Text(text) => match text.parse::<i64>() {
            Ok(number) => Some(Timestamp::from_number(number)),
            Err(_) => Timestamp::from_rfc3339(text),
        },
        _ => None,
    };
    match ts {
        Some(ts) => reading.ts = Some(ts),
        None => reading.marks.add(Marks::CLOCK),
    }
}

fn take_whole(reading: &mut Reading, value: &Value<'_>) -> Option<u64> {
    let number = match value {
        Value::Null => return None,
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Float(number) if number.fract() == 0.0 && (0.0..1.8e19).contains(number) => {
            Some(*number as u64)
        }
        Value::Text(text) if is_absent(text) => return None,
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    if number.is_none() {
        reading.marks.add(Marks::BAD_FIELD);
    }
    number
}

fn take_flags(reading: &mut Reading, value: &Value<'_>) {
    let mut take_word = |word: &str| match Flags::from_name(word) {
        Some(flag) => reading.flags.add(flag),
        None => reading.unknown_keys += 1,
    };
    match value {
        Value::Null => {}
        Value::Text(word) => take_word(word),
        Value::Texts(words) => words.iter().for_each(|word| take_word(word)),
        _ => reading.marks.add(Marks::BAD_FIELD),
    }
}

/// A text that stands for "not measured".
pub fn is_absent(text: &str) -> bool {
    matches!(text.trim(), "" | "--" | "-" | "null")
        || ["nan", "n/a"].iter().any(|w| text.trim().eq_ignore_ascii_case(w))
}

/// Puts one value into one field, leniently: numeric texts and words for yes and no are read, what cannot be
/// read is dropped and marked. Of a key that comes twice the larger value stays: the worse must not hide.
fn take_field(reading: &mut Reading, field: Field, value: &Value<'_>) {
    match thousandths_of(field, value) {
        Ok(None) => {}
        Ok(Some(new)) => match reading.fields.get(field) {
            Some(old) => {
                reading.marks.add(Marks::BAD_FIELD);
                reading.put(field, new.max(old));
            }
            None => reading.put(field, new),
        },
        Err(Unreadable) => reading.marks.add(Marks::BAD_FIELD),
    }
}

/// A value that a field cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The thousandths that a value means for a field; `Ok(None)` means not measured.
///
/// # Errors
/// [`Unreadable`] for what is no number, no yes and no no.
pub fn thousandths_of(field: Field, value: &Value<'_>) -> Result<Option<i64>, Unreadable> {
    /// Floats beyond this have lost their thousandths; no sensor measures so much.
    const FLOAT_MAX: f64 = 9.0e12;
    match value {
        Value::Null => Ok(None),
        Value::Bool(yes) if field.info().boolean => Ok(Some(i64::from(*yes) * 1000)),
        // Beyond 64 bits it is out of every range, and of leakage it is the worst there is.
        Value::Int(number) => Ok(Some(number.saturating_mul(1000))),
        Value::Float(number) if number.is_nan() => Ok(None),
        Value::Float(number) => Ok(Some((number.clamp(-FLOAT_MAX, FLOAT_MAX) * 1000.0).round() as i64)),
        Value::Text(text) if is_absent(text) => Ok(None),
        Value::Text(text) => match (field, text.trim()) {
            (Field::Check, "ok") => Ok(Some(0)),
            (Field::Check, "suspect") => Ok(Some(1000)),
            (Field::Check, "live") => Ok(Some(2000)),
            (_, "on" | "true" | "yes") if field.info().boolean => Ok(Some(1000)),
            (_, "off" | "false" | "no") if field.info().boolean => Ok(Some(0)),
            (_, "unknown") if field.info().boolean => Ok(None),
            (_, text) => Decimal::read(text).map(|number| Some(number.clamped())).ok_or(Unreadable),
        },
        _ => Err(Unreadable),
    }
}

/// Reads any JSON payload, mending it when strict reading fails.
///
/// # Errors
/// [`Refusal`] when it is no JSON, also after mending.
pub fn parse_json(payload: &[u8]) -> Result<(Json, Mended), Refusal> {
    match serde_json::from_slice(payload) {
        Ok(json) => Ok((json, Mended::default())),
        Err(e) if is_nesting(&e) => Err(Refusal::Nesting),
        Err(_) => {
            let (bytes, mended) = mend(payload);
            let json = serde_json::from_slice(&bytes).ok().filter(|_| mended.any());
            json.map(|json| (json, mended)).ok_or_else(|| plain_refusal(payload))
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
