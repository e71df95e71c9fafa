//! Payload shapes as data: a `[[profile]]` says where in a JSON payload which quantity stands.
//!
//! Values are `raw × scale + offset` in exact decimal arithmetic. Adding a shape needs no code.

use std::collections::BTreeMap;

use jiff::civil;
use jiff::tz::TimeZone;
use lampguard_model::units::Decimal;
use lampguard_model::wire::{self, Mended, Refusal, Value};
use lampguard_model::{Field, Flags, Marks, Reading, Timestamp, register};
use serde::Deserialize;
use serde_json::Value as Json;

/// The profiles that are always there.
const BUILTIN: &str = include_str!("../profiles/builtin.toml");

/// Name of the canonical payload, which has its own decoder.
pub const CANONICAL: &str = "lampguard";

/// One `[[profile]]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Name that a mapping refers to.
    pub name: String,
    /// How the bytes are read; `json` so far.
    pub decoder: String,
    /// Finest step of a field, in its unit, where the sensor is coarse: `{ supply_v = 1 }`. For those who read the
    /// profile: the engine goes by the digits that a sensor has sent.
    #[serde(default)]
    pub resolution: BTreeMap<String, f64>,
    /// Where the device's name stands.
    pub device: DeviceFrom,
    /// JSON pointer to an array of readings, for payloads that carry several.
    pub each: Option<String>,
    /// Which value goes into which field.
    pub fields: Vec<FieldFrom>,
    /// Which bits or values are the device's flags.
    #[serde(default)]
    pub flags: Vec<FlagFrom>,
    /// Where the device's time stands; absent means receipt.
    pub time: Option<TimeFrom>,
    /// Reporting period of such devices, seconds.
    pub period_s: Option<u32>,
    /// True when unchanged values are left out of a payload.
    #[serde(default)]
    pub partial: bool,
}

/// Where the device's name stands: a topic level (`topic:2`, counted from 0) or a JSON pointer.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum DeviceFrom {
    /// `topic:N`.
    Topic {
        /// The level.
        from: String,
    },
    /// A JSON pointer.
    Path {
        /// RFC 6901.
        path: String,
    },
}

/// One value of a payload and the field it goes into.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFrom {
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// Canonical field.
    pub to: String,
    /// Factor; 1 when absent.
    pub scale: Option<f64>,
    /// Added after scaling; 0 when absent.
    pub offset: Option<f64>,
}

/// One flag of a payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagFrom {
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// Bit of a whole number; without it any value but `false`, 0, `""` and `null` sets the flag.
    pub bit: Option<u8>,
    /// Canonical flag.
    pub to: String,
}

/// The device's time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeFrom {
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// `number` (seconds to nanoseconds by size), `rfc3339`, or a strptime pattern.
    pub format: String,
    /// Zone of times that carry none; needed by patterns.
    pub zone: Option<String>,
}

/// A fault of a profile, for `config check`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile}: {reason}")]
pub struct ProfileFault {
    /// Name of the profile.
    pub profile: String,
    /// What is wrong, with the value and the way out.
    pub reason: String,
}

/// A profile ready to decode.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    device: Device,
    each: Option<String>,
    fields: Vec<(String, Field, Decimal, Decimal)>,
    flags: Vec<(String, Option<u8>, Flags)>,
    time: Option<(String, TimeFormat)>,
    partial: bool,
    period_s: Option<u32>,
}

#[derive(Clone, Debug)]
enum Device {
    Topic(usize),
    Path(String),
}

#[derive(Clone, Debug)]
enum TimeFormat {
    Number,
    Rfc3339,
    Pattern(String, TimeZone),
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
            let profile = compile(config, &mut reasons);
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

fn compile(config: &ProfileConfig, reasons: &mut Vec<String>) -> Option<Profile> {
    let before = reasons.len();
    if config.name == CANONICAL {
        reasons.push("this name is kept for the canonical payload; choose another".to_owned());
    }
    if config.decoder != "json" {
        reasons.push(format!("decoder {:?} is not known; json is", config.decoder));
    }
    if config.fields.is_empty() {
        reasons.push("no fields; name at least one".to_owned());
    }
    if config.period_s == Some(0) {
        reasons.push("period_s is 0; give seconds, or leave it out".to_owned());
    }
    for field in config.resolution.keys().filter(|field| Field::from_name(field).is_none()) {
        reasons.push(format!("resolution of {field:?}, which is no canonical field"));
    }
    if let Some(path) = &config.each {
        check_pointer(path, reasons);
    }
    let device = compile_device(&config.device, reasons);
    let fields: Vec<_> = config.fields.iter().filter_map(|from| compile_field(from, reasons)).collect();
    let mut flags = Vec::new();
    for from in &config.flags {
        check_pointer(&from.path, reasons);
        match Flags::from_name(&from.to) {
            Some(flag) if from.bit.is_none_or(|bit| bit < 64) => {
                flags.push((from.path.clone(), from.bit, flag))
            }
            Some(_) => reasons.push(format!("flag {}: bit is above 63", from.to)),
            None => reasons.push(format!("flag {:?} is not known", from.to)),
        }
    }
    let time = config.time.as_ref().and_then(|from| compile_time(from, reasons));
    if reasons.len() > before {
        return None;
    }
    let (name, each) = (config.name.clone(), config.each.clone());
    let (partial, period_s) = (config.partial, config.period_s);
    Some(Profile { name, device: device?, each, fields, flags, time, partial, period_s })
}

fn check_pointer(path: &str, reasons: &mut Vec<String>) {
    if !path.starts_with('/') {
        reasons.push(format!("path {path:?} is no JSON pointer; it begins with /"));
    }
}

fn compile_device(from: &DeviceFrom, reasons: &mut Vec<String>) -> Option<Device> {
    match from {
        DeviceFrom::Path { path } => {
            check_pointer(path, reasons);
            Some(Device::Path(path.clone()))
        }
        DeviceFrom::Topic { from } => {
            let level = from.strip_prefix("topic:").and_then(|level| level.parse().ok());
            if level.is_none() {
                reasons.push(format!("device from {from:?} is not topic:N, N counted from 0"));
            }
            level.map(Device::Topic)
        }
    }
}

fn compile_field(from: &FieldFrom, reasons: &mut Vec<String>) -> Option<(String, Field, Decimal, Decimal)> {
    check_pointer(&from.path, reasons);
    let Some(field) = Field::from_name(&from.to) else {
        reasons.push(format!("to {:?} is no canonical field", from.to));
        return None;
    };
    let number = |value: Option<f64>, absent| value.map_or(Some(absent), Decimal::from_f64);
    match (number(from.scale, Decimal::ONE), number(from.offset, Decimal::ZERO)) {
        (Some(scale), Some(offset)) if from.scale != Some(0.0) => {
            Some((from.path.clone(), field, scale, offset))
        }
        _ => {
            reasons.push(format!("{}: scale and offset must be numbers, scale not 0", from.to));
            None
        }
    }
}

fn compile_time(from: &TimeFrom, reasons: &mut Vec<String>) -> Option<(String, TimeFormat)> {
    check_pointer(&from.path, reasons);
    let format = match (from.format.as_str(), &from.zone) {
        ("number", _) => TimeFormat::Number,
        ("rfc3339", _) => TimeFormat::Rfc3339,
        (pattern, Some(zone)) => match TimeZone::get(zone) {
            Ok(zone) => TimeFormat::Pattern(pattern.to_owned(), zone),
            Err(_) => {
                reasons.push(format!("time zone {zone:?} is not known; use a name such as Asia/Shanghai"));
                return None;
            }
        },
        (pattern, None) if pattern.contains("%z") || pattern.contains("%:z") => {
            TimeFormat::Pattern(pattern.to_owned(), TimeZone::UTC)
        }
        (pattern, None) => {
            reasons.push(format!("time format {pattern:?} needs a zone: the server's is never taken"));
            return None;
        }
    };
    Some((from.path.clone(), format))
}

/// Reads a payload by the canonical decoder or by a profile. Appends one entry per reading to `out`.
///
/// # Errors
/// [`Refusal`] when the payload as a whole holds no readings.
pub fn decode(
    profile: Option<&Profile>,
    topic: &str,
    payload: &[u8],
    out: &mut Vec<Result<Reading, Refusal>>,
) -> Result<Mended, Refusal> {
    match profile {
        None => wire::decode(payload, out),
        Some(profile) => profile.decode(topic, payload, out),
    }
}

impl Profile {
    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let (json, mended) = wire::parse_json(payload)?;
        let start = out.len();
        match self.each.as_deref() {
            None => out.push(self.reading(topic, &json, &json)),
            Some(path) => match json.pointer(path).and_then(Json::as_array) {
                Some(items) => {
                    let readings =
                        items.iter().take(wire::BATCH_MAX).map(|item| self.reading(topic, &json, item));
                    out.extend(readings);
                    out.extend(items.get(wire::BATCH_MAX).map(|_| Err(Refusal::BatchTooLong)));
                }
                None => return Err(Refusal::NoMeasurement),
            },
        }
        if mended.any() {
            out[start..].iter_mut().flatten().for_each(|reading| reading.marks.add(Marks::MENDED));
        }
        Ok(mended)
    }

    fn reading(&self, topic: &str, whole: &Json, item: &Json) -> Result<Reading, Refusal> {
        if !item.is_object() {
            return Err(Refusal::NotObject);
        }
        let mut reading = Reading { period_s: self.period_s, ..Reading::default() };
        let look = |path: &str| item.pointer(path).or_else(|| whole.pointer(path));
        let device = match &self.device {
            Device::Topic(level) => topic.split('/').nth(*level).map(str::to_owned),
            Device::Path(path) => look(path).and_then(|value| match value {
                Json::String(text) => Some(text.trim().to_owned()),
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            }),
        };
        let bad_device = !device.as_deref().is_some_and(register::is_identifier);
        reading.device = device.map(String::into_boxed_str);
        for (path, field, scale, offset) in &self.fields {
            if let Some(value) = look(path) {
                put(&mut reading, *field, value, *scale, *offset);
            }
        }
        for (path, bit, flag) in &self.flags {
            if look(path).is_some_and(|value| is_set(value, *bit)) {
                reading.flags.add(*flag);
            }
        }
        if let Some((path, format)) = &self.time
            && let Some(value) = look(path)
        {
            match format.read(value) {
                Some(ts) => reading.ts = Some(ts),
                None => reading.marks.add(Marks::CLOCK),
            }
        }
        if self.partial {
            reading.marks.add(Marks::PARTIAL);
        }
        wire::finish(reading, bad_device)
    }
}

/// All ones of a 16-bit or 32-bit word: what a transformer prints that is driven over its range.
const ALL_ONES: [i64; 2] = [65_535_000, 4_294_967_295_000];

fn put(reading: &mut Reading, field: Field, value: &Json, scale: Decimal, offset: Decimal) {
    let raw = match value {
        Json::Null => return,
        Json::Bool(_) if field.info().boolean => {
            match wire::thousandths_of(field, &Value::Bool(value.as_bool() == Some(true))) {
                Ok(Some(thousandths)) => reading.put(field, thousandths),
                _ => reading.marks.add(Marks::BAD_FIELD),
            }
            return;
        }
        Json::Number(number) => Decimal::parse(&number.to_string()),
        Json::String(text) => {
            if wire::is_absent(text) {
                return;
            }
            Decimal::parse(text)
        }
        _ => None,
    };
    let Some(raw) = raw else {
        reading.marks.add(Marks::BAD_FIELD);
        return;
    };
    if field == Field::LeakageMa && raw.thousandths().is_some_and(|raw| ALL_ONES.contains(&raw)) {
        reading.put(field, i64::MAX);
        return;
    }
    match raw.scaled_thousandths(scale, offset) {
        Some(thousandths) => reading.put(field, thousandths),
        None => reading.marks.add(Marks::OUT_OF_RANGE),
    }
}

fn is_set(value: &Json, bit: Option<u8>) -> bool {
    match (value, bit) {
        (Json::Number(number), Some(bit)) => number.as_u64().is_some_and(|word| word >> bit & 1 == 1),
        (_, Some(_)) | (Json::Null, None) => false,
        (Json::Bool(yes), None) => *yes,
        (Json::Number(number), None) => number.as_f64() != Some(0.0),
        (Json::String(text), None) => !matches!(text.as_str(), "" | "0" | "false" | "off"),
        _ => true,
    }
}

impl TimeFormat {
    fn read(&self, value: &Json) -> Option<Timestamp> {
        match (self, value) {
            (Self::Number, Json::Number(number)) => number_time(number.as_f64()?),
            (Self::Number, Json::String(text)) => number_time(text.trim().parse().ok()?),
            (Self::Rfc3339, Json::String(text)) => Timestamp::from_rfc3339(text),
            (Self::Pattern(pattern, zone), Json::String(text)) => {
                if let Ok(time) = jiff::Timestamp::strptime(pattern, text) {
                    return Some(Timestamp(time.as_millisecond()));
                }
                let local = civil::DateTime::strptime(pattern, text).ok()?;
                let time = zone.to_timestamp(local).ok()?;
                Some(Timestamp(time.as_millisecond()))
            }
            _ => None,
        }
    }
}

/// A number of seconds may carry decimals (Shelly's `ts`); larger units come whole.
fn number_time(number: f64) -> Option<Timestamp> {
    if !number.is_finite() || number.abs() > 9.0e18 {
        return None;
    }
    Some(if number.abs() < 1.0e11 {
        Timestamp((number * 1000.0).round() as i64)
    } else {
        Timestamp::from_number(number as i64)
    })
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
