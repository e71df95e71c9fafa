//! SenML (RFC 8428) in JSON and CBOR.
//!
//! A pack is a list of records. Base fields hold for the records behind them; each record then says name, unit,
//! time, value. The name is `bn` + `n`: its end is the quantity, as a field's path says it, what stands before is the
//! device. Records of one device at one time are one reading.

use std::borrow::Cow;
use std::collections::HashMap;

use ciborium_ll::Header;
use foldhash::fast::FixedState;
use lampguard_model::units::{Decimal, to_f64};
use lampguard_model::wire::{self, Mended, Refusal};
use lampguard_model::{Marks, Reading, Timestamp, register};
use serde_json::Value as Json;

use super::cbor::{Cbor, Item};
use super::slot::{Raw, Took};
use super::{Device, Profile, Work, finish};

/// Records of one pack; what goes beyond is refused.
pub const RECORDS_MAX: usize = 10_000;
/// Bytes of a name, base and own together; longer ones name nothing that we know.
pub const NAME_MAX: usize = 256;
/// Levels in CBOR; a pack has three.
pub const CBOR_NESTING_MAX: usize = 16;
/// Tag 55799 before a payload: it is CBOR, and nothing else is said (RFC 8949 section 3.4.6).
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// The version that a pack without `bver` has, and the highest that is read (RFC 8428 section 4.4).
const VERSION: f64 = 10.0;
/// Times below are seconds from now, others since 1970 (RFC 8428 section 4.5.3).
const RELATIVE: f64 = 268_435_456.0;
/// Readings that further readings of the same moment are looked for among by walking.
const NEAR: usize = 4;

/// One record as it stands.
#[derive(Debug, Default)]
struct Record<'p> {
    base_name: Option<Cow<'p, str>>,
    base_time: Option<f64>,
    base_unit: Option<Cow<'p, str>>,
    base_value: Option<Decimal>,
    version: Option<f64>,
    name: Option<Cow<'p, str>>,
    unit: Option<Cow<'p, str>>,
    time: Option<f64>,
    value: Option<Item<'p>>,
    /// A key that ends in `_` has to be understood (RFC 8428 section 4.4).
    must: bool,
    /// A label of its own is of the wrong type.
    broken: bool,
    /// A base label is: what it would have said holds for the records behind it as well.
    broken_base: bool,
}

/// A record's value belongs to one device at one time.
type Group = (Option<Box<str>>, Option<Timestamp>);

struct Pack<'a, 'm, 't> {
    profile: &'a Profile,
    work: &'a mut Work<'m, 't>,
    base_name: String,
    base_time: Option<f64>,
    base_unit: Option<String>,
    base_value: Option<Decimal>,
    name: String,
    groups: Vec<(Group, Reading)>,
    by_group: HashMap<Group, usize, FixedState>,
    records: usize,
    too_many: bool,
    long_name: bool,
    /// A base label could not be read: nobody knows of which device and time the rest is.
    ended: bool,
    /// Records that were refused alone.
    refused: Vec<Refusal>,
}

impl Profile {
    pub(super) fn decode_senml(
        &self,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let payload = work.message.payload;
        let Some(first) = payload.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Err(Refusal::Empty);
        };
        let mut pack = Pack {
            profile: self,
            work,
            base_name: String::new(),
            base_time: None,
            base_unit: None,
            base_value: None,
            name: String::new(),
            groups: Vec::new(),
            by_group: HashMap::default(),
            records: 0,
            too_many: false,
            long_name: false,
            ended: false,
            refused: Vec::new(),
        };
        // A CBOR array begins with a byte from 0x80 on, which no JSON text does.
        let mended = if payload[0] >= 0x80 {
            pack.take_cbor(&mut Cbor::new(payload.strip_prefix(&SELF_DESCRIBED).unwrap_or(payload)))?;
            Mended::default()
        } else if matches!(first, b'[' | b'{') {
            let (json, mended) = wire::parse_json(payload)?;
            for record in json.as_array().ok_or(Refusal::NotObject)? {
                pack.take(&Record::of_json(record))?;
            }
            mended
        } else {
            return Err(Refusal::Format);
        };
        pack.end(out)?;
        Ok(mended)
    }

    /// The field or flag whose name a SenML name ends in, and what stands before it. The first `border` bytes of the
    /// name are the base name. Inside a name a quantity begins behind `:`, `/` or `.`; `_` and `-` stand in the names of
    /// quantities too, so they part nothing but the base name from the rest: `touch_voltage` is no supply voltage.
    fn quantity<'n>(&self, name: &'n str, border: usize) -> Option<(usize, &'n str)> {
        let slots =
            self.fields.iter().map(|slot| &slot.names).chain(self.flags.iter().map(|slot| &slot.names));
        let begins =
            |rest: &str| rest.is_empty() || rest.len() == border || rest.ends_with([':', '/', '.', '-', '_']);
        let found = slots.enumerate().flat_map(|(place, names)| {
            let rests = names.iter().filter_map(|own| name.strip_suffix(own.as_str()));
            rests.filter(|rest| begins(rest)).map(move |rest| (place, rest))
        });
        // The longest name that the end may be decides: a shorter one would be another quantity.
        let (place, rest) = found.min_by_key(|(_, rest)| rest.len())?;
        let at_border = rest.len() == border || rest.len() == border + 1;
        match rest.chars().next_back() {
            Some(':' | '/' | '.') => Some((place, &rest[..rest.len() - 1])),
            Some('-' | '_') if at_border => Some((place, &rest[..rest.len() - 1])),
            None => Some((place, rest)),
            Some(_) => (rest.len() == border).then_some((place, rest)),
        }
    }
}

impl<'p> Record<'p> {
    /// One record; `None` when it is no object.
    fn of_json(json: &'p Json) -> Option<Self> {
        let mut record = Self::default();
        for (key, value) in json.as_object()? {
            let text = value.as_str().map(Cow::Borrowed);
            let null = value.is_null();
            match key.as_str() {
                "bn" => record.base_name = told(text, null, &mut record.broken_base),
                "bt" => record.base_time = told(value.as_f64(), null, &mut record.broken_base),
                "bu" => record.base_unit = told(text, null, &mut record.broken_base),
                "bv" => record.base_value = told(decimal(value), null, &mut record.broken_base),
                "bver" => record.version = told(value.as_f64(), null, &mut record.broken_base),
                "n" => record.name = told(text, null, &mut record.broken),
                "u" => record.unit = told(text, null, &mut record.broken),
                "t" => record.time = told(value.as_f64(), null, &mut record.broken),
                "v" | "vb" | "vs" | "vd" => {
                    record.value = Some(match value {
                        Json::Null => Item::Null,
                        Json::Bool(yes) => Item::Bool(*yes),
                        Json::Number(_) => decimal(value).map_or(Item::Other, Item::Number),
                        Json::String(text) if key != "vd" => Item::Text(text),
                        _ => Item::Other,
                    });
                }
                other => record.must |= other.ends_with('_'),
            }
        }
        Some(record)
    }

    /// Labels: RFC 8428 section 6, table 4.
    fn of_cbor(cbor: &mut Cbor<'p>, length: Option<usize>) -> Result<Self, Refusal> {
        let mut record = Self::default();
        let mut left = length;
        while left != Some(0) {
            let header = cbor.pull()?;
            if left.is_none() && header == Header::Break {
                break;
            }
            left = left.map(|left| left - 1);
            let label = match header {
                Header::Positive(label) => i64::try_from(label).unwrap_or(i64::MAX),
                Header::Negative(label) => i64::try_from(label).map_or(i64::MIN, |label| -1 - label),
                other => {
                    match cbor.item_of(other, 2)? {
                        Item::Text(key) => record.must |= key.ends_with('_'),
                        // A key that is not UTF-8, or comes in pieces: it may be one that has to be understood.
                        _ => record.broken = true,
                    }
                    i64::MAX
                }
            };
            let item = cbor.item(2)?;
            let text = if let Item::Text(text) = item { Some(Cow::Borrowed(text)) } else { None };
            let number = if let Item::Number(number) = item { Some(number) } else { None };
            let null = matches!(item, Item::Null);
            match label {
                -1 => record.version = told(number.map(seconds), null, &mut record.broken_base),
                -2 => record.base_name = told(text, null, &mut record.broken_base),
                -3 => record.base_time = told(number.map(seconds), null, &mut record.broken_base),
                -4 => record.base_unit = told(text, null, &mut record.broken_base),
                -5 => record.base_value = told(number, null, &mut record.broken_base),
                0 => record.name = told(text, null, &mut record.broken),
                1 => record.unit = told(text, null, &mut record.broken),
                2..=4 => record.value = Some(item),
                6 => record.time = told(number.map(seconds), null, &mut record.broken),
                8 => record.value = Some(Item::Other),
                _ => {}
            }
        }
        Ok(record)
    }
}

/// What a label says. Null says nothing; anything that is neither of its type nor null makes its record a broken one.
fn told<T>(value: Option<T>, null: bool, broken: &mut bool) -> Option<T> {
    *broken |= value.is_none() && !null;
    value
}

fn decimal(value: &Json) -> Option<Decimal> {
    if let Raw::Number(number) = Raw::json(value) { Some(number) } else { None }
}

/// To the millisecond; what does not fit is no time.
fn seconds(number: Decimal) -> f64 {
    number.thousandths().map_or(f64::NAN, to_f64)
}

impl Pack<'_, '_, '_> {
    fn take_cbor(&mut self, cbor: &mut Cbor<'_>) -> Result<(), Refusal> {
        let Header::Array(length) = cbor.pull()? else {
            return Err(Refusal::NotObject);
        };
        let mut left = length;
        while left != Some(0) && !self.too_many {
            let record = match cbor.pull()? {
                Header::Break if left.is_none() => break,
                Header::Map(length) => Some(Record::of_cbor(cbor, length)?),
                other => {
                    cbor.item_of(other, 1)?;
                    None
                }
            };
            left = left.map(|left| left - 1);
            self.take(&record)?;
        }
        if cbor.is_at_end() || self.too_many { Ok(()) } else { Err(Refusal::Format) }
    }

    /// One record; `None` for what is no object, which costs itself alone.
    fn take(&mut self, record: &Option<Record<'_>>) -> Result<(), Refusal> {
        self.records += 1;
        self.too_many |= self.records > RECORDS_MAX;
        if self.too_many || self.ended {
            return Ok(());
        }
        let Some(record) = record else {
            self.refused.push(Refusal::NotObject);
            return Ok(());
        };
        if record.must || record.version.is_some_and(|version| version.is_nan() || version > VERSION) {
            return Err(Refusal::Unsupported);
        }
        if record.broken_base {
            self.ended = true;
            self.refused.push(Refusal::Format);
            self.work.left(&"pack", &"", &"left from here on: a base label is of the wrong type (format)");
            return Ok(());
        }
        if let Some(name) = &record.base_name {
            self.base_name.clear();
            self.base_name.push_str(cut(name));
            self.long_name = name.len() > NAME_MAX;
        }
        self.base_time = record.base_time.or(self.base_time);
        self.base_value = record.base_value.or(self.base_value);
        if let Some(unit) = &record.base_unit {
            self.base_unit = Some(cut(unit).to_owned());
        }
        if record.broken {
            self.refused.push(Refusal::Format);
            self.work.left(&"record", &"", &"left: a label of it is of the wrong type (format)");
            return Ok(());
        }
        let Some(value) = record.value else { return Ok(()) };
        let own = record.name.as_deref().unwrap_or_default();
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        name.push_str(&self.base_name);
        name.push_str(cut(own));
        let known = !self.long_name && name.len() <= NAME_MAX;
        let found = if known { self.profile.quantity(&name, self.base_name.len()) } else { None };
        match found {
            Some((place, rest)) => self.put(place, rest, &name, record, value),
            None => {
                self.work.left(&name, &shown(value), &"left: the profile names no field that it ends in");
                // Counted at the reading of the moment, when there is one.
                if let Some((_, reading)) = self.groups.last_mut() {
                    reading.unknown_keys += 1;
                }
            }
        }
        self.name = name;
        Ok(())
    }

    fn put(&mut self, place: usize, rest: &str, name: &str, record: &Record<'_>, value: Item<'_>) {
        let device = match &self.profile.device {
            Device::Name => (!rest.is_empty()).then(|| rest.replace('/', ":").into_boxed_str()),
            _ => self.profile.device_of_topic(self.work.message.topic).map(String::into_boxed_str),
        };
        let (ts, mark) = self.time(record.time);
        let reading = self.reading((device, ts), mark);
        let (reading, profile) = (&mut self.groups[reading].1, self.profile);
        let raw = match (value, self.base_value) {
            // A sum that does not fit has a part that lies beyond every range by itself.
            (Item::Number(number), Some(base)) => {
                let larger = if number.about().abs() > base.about().abs() { number } else { base };
                Raw::Number(base.plus(number).unwrap_or(larger))
            }
            (Item::Number(number), None) => Raw::Number(number),
            (Item::Bool(yes), _) => Raw::Bool(yes),
            (Item::Text(text), _) => Raw::Text(text),
            (Item::Null, _) => Raw::Absent,
            (Item::Other, _) => Raw::Other,
        };
        let Some(slot) = profile.fields.get(place) else {
            let flag = &profile.flags[place - profile.fields.len()];
            let set = flag.is_set(raw);
            if set {
                reading.flags.add(flag.flag);
            }
            return self.work.taken_flag(&name, &raw, flag, set);
        };
        let unit = record.unit.as_deref().or(self.base_unit.as_deref());
        // Without a unit nobody knows whether 0.035 is mA or A (RFC 8428 leaves it open).
        let took = if unit.is_none() && slot.unit.is_none() && !slot.field.info().unit.is_empty() {
            reading.marks.add(Marks::BAD_FIELD);
            Took::NoUnit
        } else {
            slot.put(reading, raw, unit)
        };
        if let Some(trace) = &mut self.work.trace {
            trace.slot(&name, raw, slot, unit, took);
        }
    }

    /// The reading of that device and time; a new one when there is none.
    fn reading(&mut self, group: Group, mark: Marks) -> usize {
        let near = self.groups.len().saturating_sub(NEAR);
        if let Some(place) = self.groups[near..].iter().rposition(|(known, _)| *known == group) {
            return near + place;
        }
        if let Some(place) = self.by_group.get(&group) {
            return *place;
        }
        let mut reading = self.profile.blank();
        reading.ts = group.1;
        reading.marks.add(mark);
        self.by_group.insert(group.clone(), self.groups.len());
        self.groups.push((group, reading));
        self.groups.len() - 1
    }

    /// The record's time: absolute, or counted from receipt.
    fn time(&self, own: Option<f64>) -> (Option<Timestamp>, Marks) {
        let seconds = self.base_time.unwrap_or(0.0) + own.unwrap_or(0.0);
        if seconds == 0.0 {
            return (None, Marks::default());
        }
        let ms = (seconds * 1000.0).round();
        if !ms.is_finite() || ms.abs() > 9.0e15 {
            return (None, Marks::CLOCK);
        }
        if seconds >= RELATIVE {
            return (Some(Timestamp(ms as i64)), Marks::default());
        }
        // Counted from receipt: sent again, it is another time, so nobody can tell a repeat.
        let received = self.work.message.received_at.0;
        (Some(Timestamp(received.saturating_add(ms as i64))), Marks::NO_IDENTITY)
    }

    fn end(self, out: &mut Vec<Result<Reading, Refusal>>) -> Result<(), Refusal> {
        if self.groups.is_empty() && !self.too_many {
            return Err(self.refused.first().copied().unwrap_or(Refusal::NoMeasurement));
        }
        for ((device, _), reading) in self.groups {
            let known = device.as_deref().filter(|device| register::is_identifier(device));
            self.work.taken_device(&"device", &known.unwrap_or_default(), known);
            out.push(finish(reading, device.map(String::from)));
        }
        out.extend(self.refused.into_iter().map(Err));
        if self.too_many {
            out.push(Err(Refusal::BatchTooLong));
        }
        Ok(())
    }
}

/// A text up to the longest name, at a character.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(NAME_MAX + 1);
    &text[..end]
}

fn shown(value: Item<'_>) -> String {
    match value {
        Item::Number(number) => number.to_string(),
        Item::Bool(yes) => yes.to_string(),
        Item::Text(text) => text.to_owned(),
        Item::Null => "null".to_owned(),
        Item::Other => "no plain value".to_owned(),
    }
}
