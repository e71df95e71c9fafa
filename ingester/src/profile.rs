//! Payload shapes as data: a `[[profile]]` says where in a payload which quantity stands.
//!
//! ```text
//!  config.rs   the [[profile]] as it stands in a file       compile.rs  every fault of it at once
//!  slot.rs     one value into one field: words, units, all ones, scale (exact decimals)
//!  json.rs     objects, batches, kept readings, lists       frame.rs    bytes: hex, base64, CRC16, words
//!  value.rs    one plain value a topic                      senml.rs    RFC 8428; cbor.rs reads its binary form
//!  sparkplug.rs  births, data, deaths; protobuf.rs reads    memory.rs   all that is kept between messages
//!  explain.rs  what became of each value
//! ```
//! Decoders are pure: the time of receipt is handed in, what they keep lives in [`Memory`], nothing panics on any
//! bytes, and what they allocate is bounded by the payload and the constants of these files.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;

use lampguard_model::wire::{self, Mended, Refusal};
use lampguard_model::{Marks, Reading, Timestamp, register};
use serde::Deserialize;
use serde_json::Value as Json;

mod cbor;
mod compile;
mod config;
mod explain;
mod frame;
mod json;
mod memory;
mod protobuf;
mod senml;
mod slot;
mod sparkplug;
mod time;
mod value;

use slot::{FlagSlot, Slot};
use time::TimeFormat;

pub use compile::SLOTS_MAX;
pub use config::{
    DeviceFrom, FieldFrom, FlagFrom, FrameFrom, ListFrom, Paths, ProfileConfig, ProfileFault, TimeFrom,
};
pub use explain::{Explained, LINES_MAX, Line};
pub use frame::FRAME_MAX;
pub use json::PAIRS_MAX;
pub use memory::{ALIASES_MAX, Memory, NODE_ALIASES_MAX, NODES_MAX, origin_of};
pub use senml::{CBOR_NESTING_MAX, NAME_MAX, RECORDS_MAX};
pub use sparkplug::METRICS_MAX;

/// The profiles that are always there.
const BUILTIN: &str = include_str!("../profiles/builtin.toml");

/// Name of the canonical payload, which has its own decoder.
pub const CANONICAL: &str = "lampguard";

/// A profile ready to decode.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    decoder: Decoder,
    device: Device,
    fields: Vec<Slot>,
    flags: Vec<FlagSlot>,
    time: Option<(Vec<String>, TimeFormat)>,
    seq: Vec<String>,
    partial: bool,
    period_s: Option<u32>,
}

/// How the bytes are read.
#[derive(Clone, Debug)]
enum Decoder {
    Json(json::Shape),
    Senml,
    Sparkplug,
    Frame(frame::Frame),
    /// One plain value; this level of the topic says of which quantity.
    Value {
        level: usize,
    },
}

#[derive(Clone, Debug)]
enum Device {
    /// Levels joined by colons.
    Topic(Vec<usize>),
    Path(Vec<String>),
    /// First byte and number of bytes in a frame.
    Bytes(usize, usize),
    /// What stands before the quantity in a SenML name.
    Name,
}

/// One message as a decoder sees it.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'m> {
    /// Topic.
    pub topic: &'m str,
    /// Payload.
    pub payload: &'m [u8],
    /// When it was received: what relative times count from.
    pub received_at: Timestamp,
    /// It comes out of quarantine: long after its neighbours, so running numbers say nothing.
    pub again: bool,
    /// From where, by [`origin_of`]: two brokers may each have an edge node of the same name.
    pub origin: u64,
}

/// One message under way, with a look over the decoder's shoulder.
struct Work<'m, 't> {
    message: &'m Arrived<'m>,
    trace: Option<&'t mut Explained>,
    /// Values of a JSON payload that somebody looked at, by their address; filled only with a trace.
    seen: HashSet<usize>,
}

impl Work<'_, '_> {
    fn saw(&mut self, value: &Json) {
        if self.trace.is_some() {
            self.seen.insert(std::ptr::from_ref(value) as usize);
        }
    }

    fn taken(&mut self, place: &dyn Display, raw: &dyn Display, what: &dyn Display) {
        if let Some(trace) = &mut self.trace {
            trace.line(true, place, raw, what);
        }
    }

    fn left(&mut self, place: &dyn Display, raw: &dyn Display, why: &dyn Display) {
        if let Some(trace) = &mut self.trace {
            trace.line(false, place, raw, why);
        }
    }

    fn taken_device(&mut self, place: &dyn Display, raw: &dyn Display, device: Option<&str>) {
        if let Some(device) = device {
            self.taken(place, raw, &format_args!("device {device}"));
        }
    }

    fn taken_flag(&mut self, place: &dyn Display, raw: &dyn Display, slot: &FlagSlot, set: bool) {
        if let Some(trace) = &mut self.trace {
            let (flag, set) = (slot.flag.names().collect::<String>(), if set { "set" } else { "not set" });
            let bit = slot.bit.map_or_else(String::new, |bit| format!(" bit {bit}"));
            trace.line(true, place, &format_args!("{raw}{bit}"), &format_args!("flag {flag} {set}"));
        }
    }

    /// The device's time as it was read, or that it was none.
    fn told_time(&mut self, place: &dyn Display, raw: &dyn Display, ts: Option<Timestamp>) {
        let Some(trace) = &mut self.trace else { return };
        match ts {
            Some(ts) => trace.line(true, place, raw, &format_args!("time {}", ts.to_rfc3339())),
            None => {
                let why = "not a time as the profile says; receipt stands in (mark clock)";
                trace.line(false, place, raw, &why);
            }
        }
    }
}

/// Every known profile by name.
#[derive(Clone, Debug, Default)]
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    /// The built-in profiles, and these of the configuration over them.
    ///
    /// # Errors
    /// Every fault of every profile at once.
    pub fn load(configured: &[ProfileConfig]) -> Result<Self, Vec<ProfileFault>> {
        let (mut profiles, mut faults) = (BTreeMap::new(), Vec::new());
        let mut names = Vec::new();
        for config in builtin().iter().chain(configured) {
            let mut reasons = Vec::new();
            let profile = compile::compile(config, &mut reasons);
            let fault = |reason| ProfileFault { profile: config.name.clone(), reason };
            faults.extend(reasons.into_iter().map(fault));
            if let Some(profile) = profile {
                profiles.insert(config.name.clone(), profile);
            }
        }
        for config in configured {
            if names.contains(&&config.name) {
                faults
                    .push(ProfileFault { profile: config.name.clone(), reason: "is there twice".to_owned() });
            }
            names.push(&config.name);
        }
        if faults.is_empty() { Ok(Self(profiles)) } else { Err(faults) }
    }

    /// The profile of that name; `None` also for the canonical one.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    /// True for every name a mapping may use.
    pub fn knows(&self, name: &str) -> bool {
        name == CANONICAL || self.0.contains_key(name)
    }

    /// Names of all profiles, the canonical one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(CANONICAL).chain(self.0.keys().map(String::as_str))
    }
}

#[derive(Deserialize)]
struct ProfileFile {
    profile: Vec<ProfileConfig>,
}

fn builtin() -> Vec<ProfileConfig> {
    toml::from_str::<ProfileFile>(BUILTIN).map(|file| file.profile).expect("the built-in profiles are tested")
}

/// Reads a payload by the canonical decoder or by a profile. Appends one entry per reading to `out`; none for a
/// message that carries no reading by its nature (a death, a birth without values of ours).
///
/// # Errors
/// [`Refusal`] when the payload as a whole holds no readings; `out` is then as it was.
pub fn decode(
    profile: Option<&Profile>,
    message: &Arrived<'_>,
    memory: &mut Memory,
    out: &mut Vec<Result<Reading, Refusal>>,
) -> Result<Mended, Refusal> {
    match profile {
        None => wire::decode(message.payload, out),
        Some(profile) => profile.decode(message, memory, None, out),
    }
}

/// As [`decode`], and tells of every value what became of it.
///
/// # Errors
/// As [`decode`].
pub fn explain(
    profile: Option<&Profile>,
    message: &Arrived<'_>,
    memory: &mut Memory,
    out: &mut Vec<Result<Reading, Refusal>>,
    trace: &mut Explained,
) -> Result<Mended, Refusal> {
    match profile {
        None => {
            let mended = wire::decode(message.payload, out)?;
            json::explain_canonical(message.payload, trace);
            Ok(mended)
        }
        Some(profile) => profile.decode(message, memory, Some(trace), out),
    }
}

impl Profile {
    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn decode(
        &self,
        message: &Arrived<'_>,
        memory: &mut Memory,
        trace: Option<&mut Explained>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let start = out.len();
        let mut work = Work { message, trace, seen: HashSet::new() };
        let mended = match &self.decoder {
            Decoder::Json(shape) => self.decode_json(shape, &mut work, out),
            Decoder::Senml => self.decode_senml(&mut work, out),
            Decoder::Sparkplug => self.decode_sparkplug(&mut work, memory, out).map(|()| Mended::default()),
            Decoder::Frame(frame) => self.decode_frame(frame, &mut work, out),
            Decoder::Value { level } => self.decode_value(*level, &mut work, out).map(|()| Mended::default()),
        };
        match mended {
            Ok(mended) => {
                if mended.any() {
                    out[start..].iter_mut().flatten().for_each(|reading| reading.marks.add(Marks::MENDED));
                }
                Ok(mended)
            }
            Err(refusal) => {
                out.truncate(start);
                Err(refusal)
            }
        }
    }

    /// A reading with what holds for all of this profile.
    fn blank(&self) -> Reading {
        let mut reading = Reading { period_s: self.period_s, ..Reading::default() };
        if self.partial {
            reading.marks.add(Marks::PARTIAL);
        }
        reading
    }

    /// The device by the topic, where the profile takes it from there.
    fn device_of_topic(&self, topic: &str) -> Option<String> {
        let Device::Topic(levels) = &self.device else { return None };
        let level = |level: &usize| topic.split('/').nth(*level);
        match levels.as_slice() {
            [one] => level(one).map(str::to_owned),
            several => {
                let parts: Option<Vec<&str>> = several.iter().map(level).collect();
                parts.map(|parts| parts.join(":"))
            }
        }
    }
}

/// The last look at a reading: its device, and whether there is anything in it.
fn finish(mut reading: Reading, device: Option<String>) -> Result<Reading, Refusal> {
    let bad = !device.as_deref().is_some_and(register::is_identifier);
    reading.device = device.map(String::into_boxed_str);
    wire::finish(reading, bad)
}

#[cfg(test)]
#[path = "profile/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "profile/fixture_tests.rs"]
mod fixture_tests;

#[cfg(test)]
#[path = "profile/fault_tests.rs"]
mod fault_tests;
