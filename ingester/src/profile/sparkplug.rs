//! Sparkplug B: births, data and deaths of edge nodes and their devices.
//!
//! ```text
//!  spBv1.0/GROUP/TYPE/NODE[/DEVICE]     TYPE: NBIRTH DBIRTH NDATA DDATA NDEATH DDEATH; others carry no readings
//!  Payload  1 timestamp  2 metrics …  3 seq  4 uuid  5 body
//!  Metric   1 name  2 alias  3 timestamp  4 datatype  5 is_historical  7 is_null
//!           10 int  11 long  12 float  13 double  14 boolean  15 string   (16 to 19: bytes, tables, templates)
//! ```
//! Source: Eclipse Sparkplug specification 3.0.0, sections 4 (topics), 5 (life), 6 (payloads).
//!
//! A birth tells all metrics by name and, mostly, an alias for each; data then comes by alias alone. An alias that no
//! birth has told since our start is quarantined (`unknown_alias`): nobody here asks for a rebirth, because this
//! consumer only listens. A birth that is told again, or is older than the known one, ends nothing. A death of the session
//! that was born last forgets its aliases; one that does not say so by its bdSeq (a will that overtakes a rebirth) does
//! nothing. Silence, not death, is what rules look at.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::FixedState;
use lampguard_model::units::Decimal;
use lampguard_model::wire::Refusal;
use lampguard_model::{Cause, Marks, Reading, Timestamp};

use super::memory::{Birth, Key, Meaning, Memory};
use super::protobuf::{Field, Message};
use super::slot::Raw;
use super::{Profile, Work, finish};

/// Metrics of one payload; what goes beyond is refused.
pub const METRICS_MAX: usize = 10_000;
/// What a Sparkplug-aware broker puts before the births that it keeps for late subscribers (section 10).
const CERTIFICATES: &str = "$sparkplug/certificates/";
/// A whole payload packed into another one (section 6.4.30 names the word, no packing is required).
const COMPRESSED: &str = "SPBV1.0_COMPRESSED";
/// Number of the session, in births and deaths.
const BD_SEQ: &str = "bdSeq";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Birth,
    Data,
    Death,
}

/// What a topic says.
struct Place<'m> {
    kind: Kind,
    group: &'m str,
    node: &'m str,
    device: Option<&'m str>,
    /// The topic without what a broker put before it.
    topic: &'m str,
    /// A broker has kept it.
    kept: bool,
}

/// One metric as it stands.
#[derive(Clone, Copy, Debug, Default)]
struct Metric<'p> {
    name: Option<&'p str>,
    alias: Option<u64>,
    timestamp: Option<u64>,
    datatype: u32,
    historical: bool,
    null: bool,
    value: Option<(u32, Field<'p>)>,
}

/// A value belongs to one time, and is told live or out of a store.
type Moment = (Option<u64>, bool);

impl<'p> Metric<'p> {
    fn read(bytes: &'p [u8]) -> Result<Self, Refusal> {
        let mut metric = Self::default();
        let mut message = Message(bytes);
        while let Some((number, field)) = message.next()? {
            match number {
                1 => metric.name = Some(field.text().ok_or(Refusal::Utf8)?).filter(|name| !name.is_empty()),
                2 => metric.alias = field.number(),
                3 => metric.timestamp = field.number(),
                4 => metric.datatype = field.number().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
                5 => metric.historical = field.number().is_some_and(|yes| yes != 0),
                7 => metric.null = field.number().is_some_and(|yes| yes != 0),
                10..=19 => metric.value = Some((number, field)),
                _ => {}
            }
        }
        Ok(metric)
    }

    /// The value as a plain whole number.
    fn whole(&self) -> Option<u64> {
        self.value.and_then(|(_, field)| field.number())
    }

    /// The value, by its type: numbers of 8 to 32 bits share one field, signed ones as two's complement.
    fn raw(&self, datatype: u32) -> Raw<'p> {
        let whole = |number: i64| Raw::Number(Decimal::whole(number));
        match self.value {
            _ if self.null => Raw::Absent,
            None => Raw::Absent,
            Some((10, Field::Varint(bits))) => match datatype {
                1 => whole(i64::from(bits as i8)),
                2 => whole(i64::from(bits as i16)),
                3 => whole(i64::from(bits as i32)),
                5 => whole(i64::from(bits as u8)),
                6 => whole(i64::from(bits as u16)),
                _ => whole(i64::from(bits as u32)),
            },
            Some((11, Field::Varint(bits))) => match (datatype, i64::try_from(bits)) {
                // Some encoders put every whole number into the long one, narrow ones with their own sign bit.
                (1, _) => whole(i64::from(bits as i8)),
                (2, _) => whole(i64::from(bits as i16)),
                (3, _) => whole(i64::from(bits as i32)),
                (4, _) => whole(bits as i64),
                (_, Ok(number)) => whole(number),
                (_, Err(_)) => Decimal::parse(&bits.to_string()).map_or(Raw::Other, Raw::Number),
            },
            Some((12, Field::Fixed32(bytes))) => Raw::single(f32::from_le_bytes(bytes)),
            Some((13, Field::Fixed64(bytes))) => Raw::double(f64::from_le_bytes(bytes)),
            Some((14, Field::Varint(yes))) => Raw::Bool(yes != 0),
            Some((15, field)) => field.text().map_or(Raw::Other, Raw::Text),
            Some(_) => Raw::Other,
        }
    }
}

fn place(whole: &str) -> Option<Place<'_>> {
    let topic = whole.strip_prefix(CERTIFICATES).unwrap_or(whole);
    let mut levels = topic.split('/').skip(1);
    let (group, kind, node) = (levels.next()?, levels.next()?, levels.next()?);
    let device = levels.next();
    let kind = match (kind, device) {
        ("NBIRTH", None) | ("DBIRTH", Some(_)) => Kind::Birth,
        ("NDATA", None) | ("DDATA", Some(_)) => Kind::Data,
        ("NDEATH", None) | ("DDEATH", Some(_)) => Kind::Death,
        _ => return None,
    };
    Some(Place { kind, group, node, device, topic, kept: whole.len() != topic.len() })
}

/// Readings of one payload while they grow.
struct Growing {
    readings: Vec<(Moment, Reading)>,
    by_moment: HashMap<Moment, usize, FixedState>,
    unknown_alias: u32,
    unknown_names: u32,
    /// Metrics that are broken in themselves; they cost their neighbours nothing.
    broken: u32,
}

impl Profile {
    pub(super) fn decode_sparkplug(
        &self,
        work: &mut Work<'_, '_>,
        memory: &mut Memory,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<(), Refusal> {
        let message = work.message;
        let Some(place) = place(message.topic) else {
            // Commands and the state of hosts pass by on the same tree.
            work.left(&"topic", &message.topic, &"left: no birth, data or death");
            return Ok(());
        };
        if message.payload.is_empty() {
            return Err(Refusal::Empty);
        }
        let now = message.received_at;
        let key = Key::new(message.origin, &self.name, place.group, place.node);
        let key = if message.again { memory.only(key) } else { key };
        let mut head = Head::read(message.payload)?;
        if !message.again {
            memory.hear(key, now);
        }
        match (place.kind, place.device) {
            (Kind::Death, None) => {
                let known = memory.node(key).map(|node| node.birth).unwrap_or_default();
                let told = head.bd_seq.or_else(|| bd_seq_by(known.bd_alias?, message.payload));
                let of_now = told.is_some() && known.bd_seq == told;
                if of_now && !message.again {
                    memory.forget(key);
                }
                let what = if of_now {
                    "death: the node's aliases are forgotten"
                } else {
                    "death of another session, or of nobody knows which: left"
                };
                work.taken(&"topic", &message.topic, &what);
                return Ok(());
            }
            (Kind::Death, Some(_)) => {
                let what = "death of a device: its silence is what counts";
                work.taken(&"topic", &message.topic, &what);
                count(memory, key, &head, work);
                return Ok(());
            }
            // One that lay in quarantine says nothing of what aliases mean now.
            (Kind::Birth, None) if !message.again => {
                let birth = Birth { at: head.time(now), bd_seq: head.bd_seq, bd_alias: head.bd_alias };
                if !memory.born(key, birth, now) {
                    head.seq = None;
                }
            }
            _ => {}
        }
        // What a broker keeps, and what is older than the session, begins no count.
        if place.kept || place.kind == Kind::Birth && memory.is_outdated(key, head.time(now)) {
            head.seq = None;
        }
        count(memory, key, &head, work);
        let growing = self.metrics(&place, key, &head, work, memory)?;
        self.end(&place, growing, &head, work, out)
    }

    fn metrics(
        &self,
        place: &Place<'_>,
        key: Key,
        head: &Head,
        work: &mut Work<'_, '_>,
        memory: &mut Memory,
    ) -> Result<Growing, Refusal> {
        let mut growing = Growing {
            readings: Vec::new(),
            by_moment: HashMap::default(),
            unknown_alias: 0,
            unknown_names: 0,
            broken: 0,
        };
        let mut message = Message(work.message.payload);
        let mut metrics = 0;
        while let Some((number, field)) = message.next()? {
            let (2, Field::Bytes(bytes)) = (number, field) else { continue };
            metrics += 1;
            if metrics > METRICS_MAX {
                break;
            }
            let Ok(metric) = Metric::read(bytes) else {
                growing.broken += 1;
                work.left(&"a metric", &format_args!("{} bytes", bytes.len()), &"left: broken (format)");
                continue;
            };
            let by_name = metric.name.map(|name| (self.slot_of(name), metric.datatype));
            if place.kind == Kind::Birth
                && !work.message.again
                && let (Some((slot, datatype)), Some(alias)) = (by_name, metric.alias)
            {
                let now = work.message.received_at;
                memory.learn(key, alias, Meaning { slot, datatype }, head.time(now), now);
            }
            let meaning = match (by_name, metric.alias) {
                (Some((slot, datatype)), _) => Some(Meaning { slot, datatype }),
                (None, Some(alias)) => memory.node(key).and_then(|node| node.meaning(alias)),
                (None, None) => Some(Meaning { slot: None, datatype: 0 }),
            };
            match meaning {
                Some(Meaning { slot: Some(slot), datatype }) => {
                    let datatype = if metric.datatype == 0 { datatype } else { metric.datatype };
                    self.put(usize::from(slot), &metric, datatype, head, &mut growing, work);
                }
                Some(_) => {
                    growing.unknown_names += u32::from(metric.name != Some(BD_SEQ));
                    let why = "left: the profile names no field for it";
                    work.left(&metric, &metric.raw(metric.datatype), &why);
                }
                None => {
                    growing.unknown_alias += 1;
                    let why = "left: no birth since our start told this alias (quarantined, unknown_alias)";
                    work.left(&metric, &metric.raw(metric.datatype), &why);
                }
            }
        }
        Ok(growing)
    }

    fn slot_of(&self, name: &str) -> Option<u16> {
        let names =
            self.fields.iter().map(|slot| &slot.names).chain(self.flags.iter().map(|slot| &slot.names));
        names
            .enumerate()
            .find(|(_, names)| names.iter().any(|own| own == name))
            .map(|(place, _)| place as u16)
    }

    fn put(
        &self,
        place: usize,
        metric: &Metric<'_>,
        datatype: u32,
        head: &Head,
        growing: &mut Growing,
        work: &mut Work<'_, '_>,
    ) {
        let moment = (metric.timestamp.or(head.timestamp), metric.historical);
        let last = growing.readings.len().wrapping_sub(1);
        let at = match growing.readings.last() {
            Some((known, _)) if *known == moment => last,
            _ => *growing.by_moment.entry(moment).or_insert_with(|| {
                growing.readings.push((moment, self.blank()));
                growing.readings.len() - 1
            }),
        };
        let reading = &mut growing.readings[at].1;
        let raw = metric.raw(datatype);
        let Some(slot) = self.fields.get(place) else {
            let Some(flag) = self.flags.get(place - self.fields.len()) else { return };
            let set = flag.is_set(raw);
            if set {
                reading.flags.add(flag.flag);
            }
            return work.taken_flag(metric, &raw, flag, set);
        };
        let took = slot.put(reading, raw, None);
        if let Some(trace) = &mut work.trace {
            trace.slot(metric, raw, slot, None, took);
        }
    }

    fn end(
        &self,
        place: &Place<'_>,
        growing: Growing,
        head: &Head,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<(), Refusal> {
        // What a node says of itself goes by the node's name where the profile names the device's level.
        let device = self.device_of_topic(place.topic).or_else(|| Some(place.node.to_owned()));
        let topic = work.message.topic;
        work.taken_device(&"topic", &topic, device.as_deref());
        let before = out.len();
        for ((timestamp, historical), mut reading) in growing.readings {
            reading.ts = timestamp.and_then(|ms| i64::try_from(ms).ok()).map(Timestamp);
            let received_at = work.message.received_at;
            if place.kind == Kind::Data {
                reading.marks.add(Marks::PARTIAL);
            }
            if historical {
                reading.cause = Cause::Backfill;
                // Neither may a broken clock make what was stored one of this moment.
                if reading.ts.is_none_or(|ts| !ts.plausible(received_at)) {
                    out.push(Err(Refusal::Undated));
                    continue;
                }
            }
            out.push(finish(reading, device.clone()));
        }
        if let Some(Ok(reading)) = out[before..].first_mut() {
            reading.unknown_keys += growing.unknown_names;
        }
        if growing.unknown_alias > 0 {
            out.push(Err(Refusal::UnknownAlias));
        }
        out.extend((0..growing.broken).map(|_| Err(Refusal::Format)));
        if head.metrics > METRICS_MAX {
            out.push(Err(Refusal::BatchTooLong));
        }
        match place.kind {
            // A birth announces; one without values of ours is no fault.
            Kind::Birth => {
                let nothing = |reading: &Result<_, _>| matches!(reading, Err(Refusal::NoMeasurement));
                if out[before..].iter().all(nothing) {
                    out.truncate(before);
                }
                Ok(())
            }
            _ if out.len() == before => Err(Refusal::NoMeasurement),
            _ => Ok(()),
        }
    }
}

/// What a payload says as a whole.
#[derive(Debug, Default)]
struct Head {
    timestamp: Option<u64>,
    seq: Option<u64>,
    bd_seq: Option<u64>,
    /// The alias that it has.
    bd_alias: Option<u64>,
    metrics: usize,
}

impl Head {
    fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let (mut head, mut message) = (Self::default(), Message(payload));
        while let Some((number, field)) = message.next()? {
            match (number, field) {
                (1, field) => head.timestamp = field.number(),
                (2, Field::Bytes(bytes)) => {
                    head.metrics += 1;
                    // It stands among the first metrics; looked for in all, because nothing says so.
                    if head.bd_seq.is_none()
                        && bytes.windows(BD_SEQ.len()).any(|part| part == BD_SEQ.as_bytes())
                    {
                        // A broken metric is refused where it is put, alone.
                        let metric = Metric::read(bytes).unwrap_or_default();
                        if metric.name == Some(BD_SEQ) {
                            (head.bd_seq, head.bd_alias) = (metric.whole(), metric.alias);
                        }
                    }
                }
                (3, field) => head.seq = field.number(),
                (4, field) if field.text() == Some(COMPRESSED) => return Err(Refusal::Unsupported),
                _ => {}
            }
        }
        Ok(head)
    }

    /// The node's word on when it was sent, unless that cannot be.
    fn time(&self, received_at: Timestamp) -> Option<Timestamp> {
        let at = Timestamp(i64::try_from(self.timestamp?).ok()?);
        at.plausible(received_at).then_some(at)
    }
}

/// The session's number, in a death that tells it by alias.
fn bd_seq_by(alias: u64, payload: &[u8]) -> Option<u64> {
    let mut message = Message(payload);
    while let Some((number, field)) = message.next().ok()? {
        let (2, Field::Bytes(bytes)) = (number, field) else { continue };
        if let Some(metric) = Metric::read(bytes).ok().filter(|metric| metric.alias == Some(alias)) {
            return metric.whole();
        }
    }
    None
}

/// Looks at the node's running number, unless the message comes out of quarantine.
fn count(memory: &mut Memory, key: Key, head: &Head, work: &Work<'_, '_>) {
    if let Some(seq) = head.seq.and_then(|seq| u8::try_from(seq).ok()).filter(|_| !work.message.again) {
        memory.count(key, seq, work.message.received_at);
    }
}

impl fmt::Display for Metric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.alias) {
            (Some(name), Some(alias)) => write!(f, "{name} (alias {alias})"),
            (Some(name), None) => f.write_str(name),
            (None, Some(alias)) => write!(f, "alias {alias}"),
            (None, None) => f.write_str("a metric without name and alias"),
        }
    }
}
