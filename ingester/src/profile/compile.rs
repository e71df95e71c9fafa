//! From a `[[profile]]` to a [`Profile`], with every fault at once.

use jiff::tz::TimeZone;
use lampguard_model::units::Decimal;
use lampguard_model::{Field, Flags};

use super::config::{DeviceFrom, FieldFrom, FlagFrom, FrameFrom, Paths, ProfileConfig, TimeFrom};
use super::frame::{self, Frame, Word};
use super::json::{List, Shape};
use super::slot::{FlagSlot, Slot, factor};
use super::time::TimeFormat;
use super::{CANONICAL, Decoder, Device, Profile};

/// Fields, flags and paths of one profile: a look at each of them is made for every reading.
pub const SLOTS_MAX: usize = 256;
/// Levels of a topic that can name a device: MQTT has no limit, people have.
const TOPIC_LEVEL_MAX: usize = 32;

/// The profile, unless something about it is wrong.
pub(super) fn compile(config: &ProfileConfig, reasons: &mut Vec<String>) -> Option<Profile> {
    let before = reasons.len();
    if config.name == CANONICAL {
        reasons.push("this name is kept for the canonical payload; choose another".to_owned());
    }
    if config.fields.is_empty() {
        reasons.push("no fields; name at least one".to_owned());
    }
    if config.fields.len() + config.flags.len() > SLOTS_MAX {
        let count = config.fields.len() + config.flags.len();
        reasons.push(format!("{count} fields and flags are over {SLOTS_MAX}; make two profiles of it"));
    }
    if config.period_s == Some(0) {
        reasons.push("period_s is 0; give seconds, or leave it out".to_owned());
    }
    for field in config.resolution.keys().filter(|field| Field::from_name(field).is_none()) {
        reasons.push(format!("resolution of {field:?}, which is no canonical field"));
    }
    let decoder = compile_decoder(config, reasons);
    let device = compile_device(config, reasons);
    let fields: Vec<_> =
        config.fields.iter().filter_map(|from| compile_field(config, from, reasons)).collect();
    let flags: Vec<_> = config.flags.iter().filter_map(|from| compile_flag(config, from, reasons)).collect();
    let time = config.time.as_ref().and_then(|from| compile_time(config, from, reasons));
    let seq = config.seq.as_ref().map(Paths::list).unwrap_or_default();
    seq.iter().for_each(|path| check_pointer(path, reasons));
    check_left_over(config, reasons);
    if reasons.len() > before {
        return None;
    }
    Some(Profile {
        name: config.name.clone(),
        decoder: decoder?,
        device: device?,
        fields,
        flags,
        time,
        seq,
        partial: config.partial,
        period_s: config.period_s,
    })
}

fn compile_decoder(config: &ProfileConfig, reasons: &mut Vec<String>) -> Option<Decoder> {
    match config.decoder.as_str() {
        "json" => Some(Decoder::Json(compile_shape(config, reasons))),
        "senml" => Some(Decoder::Senml),
        "sparkplug" => Some(Decoder::Sparkplug),
        "frame" => match &config.frame {
            Some(from) => compile_frame(from, reasons).map(Decoder::Frame),
            None => {
                reasons
                    .push("decoder frame needs frame = { encoding, path, crc, length, starts }".to_owned());
                None
            }
        },
        "value" => match config.quantity.as_deref().map(|from| (from, levels(from))) {
            Some((_, Some(levels))) if levels.len() == 1 => Some(Decoder::Value { level: levels[0] }),
            other => {
                let given = other.map_or("", |(from, _)| from);
                reasons.push(format!("quantity {given:?} is not topic:N; decoder value needs the level that says which quantity it is"));
                None
            }
        },
        other => {
            reasons
                .push(format!("decoder {other:?} is not known; json, senml, sparkplug, frame and value are"));
            None
        }
    }
}

/// Keys that the decoder would not look at: said, because who wrote them expects something of them.
fn check_left_over(config: &ProfileConfig, reasons: &mut Vec<String>) {
    let decoder = config.decoder.as_str();
    let has_json = matches!(decoder, "json" | "frame");
    let keys = [
        ("each", config.each.is_some(), decoder == "json"),
        ("base", !config.base.is_empty(), decoder == "json"),
        ("history", config.history.is_some(), decoder == "json"),
        ("list", config.list.is_some(), decoder == "json"),
        ("seq", config.seq.is_some(), decoder == "json"),
        ("time", config.time.is_some(), has_json),
        ("frame", config.frame.is_some(), decoder == "frame"),
        ("quantity", config.quantity.is_some(), decoder == "value"),
        ("flags", !config.flags.is_empty(), decoder != "value"),
    ];
    for (key, _, _) in keys.iter().filter(|(_, given, read)| *given && !read) {
        reasons.push(format!("decoder {decoder} does not look at {key}; leave it out"));
    }
    if config.each.is_some() && (config.list.is_some() || config.history.is_some()) {
        reasons.push("each stands beside neither list nor history".to_owned());
    }
}

fn compile_shape(config: &ProfileConfig, reasons: &mut Vec<String>) -> Shape {
    let list = config.list.as_ref();
    let pointers = config.each.iter().chain(&config.base).chain(&config.history);
    pointers.chain(list.map(|list| &list.path)).for_each(|path| check_pointer(path, reasons));
    Shape {
        each: config.each.clone(),
        base: config.base.clone(),
        history: config.history.clone(),
        list: list.map(|list| List {
            path: list.path.clone(),
            key: list.key.clone(),
            value: list.value.clone(),
        }),
    }
}

fn compile_frame(from: &FrameFrom, reasons: &mut Vec<String>) -> Option<Frame> {
    let before = reasons.len();
    let paths = from.path.as_ref().map(Paths::list).unwrap_or_default();
    paths.iter().for_each(|path| check_pointer(path, reasons));
    let encoding = frame::Encoding::from_name(&from.encoding);
    if encoding.is_none() {
        reasons.push(format!("frame encoding {:?} is not known; raw, hex and base64 are", from.encoding));
    }
    if encoding == Some(frame::Encoding::Raw) && !paths.is_empty() {
        reasons.push("a raw frame is the payload itself; with path give encoding hex or base64".to_owned());
    }
    if from.crc.as_deref().is_some_and(|crc| crc != "modbus") {
        reasons
            .push(format!("frame crc {:?} is not known; modbus is", from.crc.as_deref().unwrap_or_default()));
    }
    if let Some(length) = from.length.filter(|length| !(1..=frame::FRAME_MAX).contains(length)) {
        reasons.push(format!("frame length {length} is not 1 to {}", frame::FRAME_MAX));
    }
    let starts = frame::starts(from.starts.as_deref().unwrap_or_default());
    if starts.is_none() {
        reasons.push("frame starts is no hexadecimal text (xx stands for any byte)".to_owned());
    }
    (reasons.len() == before).then_some(Frame {
        paths,
        encoding: encoding?,
        crc: from.crc.is_some(),
        length: from.length,
        starts: starts?,
    })
}

fn check_pointer(path: &str, reasons: &mut Vec<String>) {
    if !path.starts_with('/') {
        reasons.push(format!("path {path:?} is no JSON pointer; it begins with /"));
    }
}

/// `topic:3` and `topic:3+4`.
fn levels(from: &str) -> Option<Vec<usize>> {
    let levels = from.strip_prefix("topic:")?.split('+').map(|level| level.parse().ok());
    let levels: Option<Vec<usize>> = levels.collect();
    levels.filter(|levels| levels.iter().all(|level| *level < TOPIC_LEVEL_MAX))
}

fn compile_device(config: &ProfileConfig, reasons: &mut Vec<String>) -> Option<Device> {
    let has_json = matches!(config.decoder.as_str(), "json" | "frame");
    match &config.device {
        DeviceFrom::Path { path } if has_json => {
            let paths = path.list();
            paths.iter().for_each(|path| check_pointer(path, reasons));
            Some(Device::Path(paths))
        }
        DeviceFrom::Topic { from } if from == "name" && config.decoder == "senml" => Some(Device::Name),
        DeviceFrom::Topic { from } => {
            let levels = levels(from);
            if levels.is_none() {
                reasons.push(format!("device from {from:?} is not topic:N, N counted from 0"));
            }
            levels.map(Device::Topic)
        }
        DeviceFrom::Bytes { at, length } if config.decoder == "frame" && (1..=32).contains(length) => {
            Some(Device::Bytes(*at, *length))
        }
        DeviceFrom::Path { .. } | DeviceFrom::Bytes { .. } => {
            let decoder = &config.decoder;
            reasons.push(format!(
                "decoder {decoder} cannot take the device from there; give {{ from = \"topic:N\" }}"
            ));
            None
        }
    }
}

/// Paths of a value, or its bytes in a frame.
#[allow(clippy::type_complexity, reason = "two halves of one answer")]
fn compile_where(
    config: &ProfileConfig,
    (to, path, at): (&str, Option<&Paths>, Option<usize>),
    (form, order): (Option<&str>, Option<&str>),
    reasons: &mut Vec<String>,
) -> Option<(Vec<String>, Option<(usize, Word)>)> {
    match (config.decoder.as_str(), path, at) {
        ("frame", None, Some(at)) => match Word::from_names(form.unwrap_or_default(), order) {
            Some(word) if at + word.width() <= frame::FRAME_MAX => Some((Vec::new(), Some((at, word)))),
            Some(_) => {
                reasons.push(format!(
                    "{to}: at = {at} is behind the longest frame of {} bytes",
                    frame::FRAME_MAX
                ));
                None
            }
            None => {
                reasons.push(format!(
                    "{to}: as is one of u8 i8 u16 i16 u32 i32 f32, order one of big little swapped"
                ));
                None
            }
        },
        ("frame", _, _) => {
            reasons.push(format!("{to}: a value of a frame stands at = BYTE, as = FORM"));
            None
        }
        (_, Some(path), None) if form.is_none() && order.is_none() => {
            let paths = path.list();
            if config.decoder == "json" {
                paths.iter().for_each(|path| check_pointer(path, reasons));
            }
            if paths.is_empty() || paths.iter().any(String::is_empty) {
                reasons.push(format!("{to}: path is empty"));
            }
            Some((paths, None))
        }
        _ => {
            reasons.push(format!("{to}: give a path; at, as and order are for the decoder frame"));
            None
        }
    }
}

fn compile_field(config: &ProfileConfig, from: &FieldFrom, reasons: &mut Vec<String>) -> Option<Slot> {
    let place = (from.to.as_str(), from.path.as_ref(), from.at);
    let found = compile_where(config, place, (from.form.as_deref(), from.order.as_deref()), reasons);
    let Some(field) = Field::from_name(&from.to) else {
        reasons.push(format!("to {:?} is no canonical field", from.to));
        return None;
    };
    if let Some(unit) = from.unit.as_deref().filter(|unit| factor(field, unit).is_none()) {
        reasons.push(format!("{}: unit {unit:?} is not one of {}", from.to, field.info().unit));
    }
    if from.needs_unit
        && (from.unit.is_some() || !matches!(config.decoder.as_str(), "json" | "senml" | "value"))
    {
        let why = "needs_unit is for payloads that name the unit (json, senml, value), and without unit";
        reasons.push(format!("{}: {why}", from.to));
    }
    if let Some(path) = &from.unit_at {
        check_pointer(path, reasons);
        if config.decoder != "json" {
            reasons.push(format!("{}: unit_at is for the decoder json", from.to));
        }
    }
    let number = |value: Option<f64>, absent| value.map_or(Some(absent), Decimal::from_f64);
    let words: Vec<_> = from
        .words
        .iter()
        .filter_map(|(word, value)| Some((word.clone(), Decimal::from_f64(*value)?)))
        .collect();
    match (number(from.scale, Decimal::ONE), number(from.offset, Decimal::ZERO), found) {
        (Some(scale), Some(offset), found) if from.scale != Some(0.0) && words.len() == from.words.len() => {
            let (names, place) = found?;
            let scaled = from.scale.is_some_and(|scale| scale != 1.0);
            let (unit, unit_at) = (from.unit.clone(), from.unit_at.clone());
            let needs_unit = from.needs_unit;
            Some(Slot { names, place, field, scale, offset, scaled, words, unit, unit_at, needs_unit })
        }
        _ => {
            reasons.push(format!("{}: scale, offset and words must be numbers, scale not 0", from.to));
            None
        }
    }
}

fn compile_flag(config: &ProfileConfig, from: &FlagFrom, reasons: &mut Vec<String>) -> Option<FlagSlot> {
    let place = (from.to.as_str(), from.path.as_ref(), from.at);
    let found = compile_where(config, place, (from.form.as_deref(), from.order.as_deref()), reasons);
    match Flags::from_name(&from.to) {
        Some(flag) if from.bit.is_none_or(|bit| bit < 64) => {
            let (names, place) = found?;
            let place = place.map(|(at, word)| (at, word.of_bits()));
            Some(FlagSlot { names, place, bit: from.bit, flag })
        }
        Some(_) => {
            reasons.push(format!("flag {}: bit is above 63", from.to));
            None
        }
        None => {
            reasons.push(format!("flag {:?} is not known", from.to));
            None
        }
    }
}

fn compile_time(
    config: &ProfileConfig,
    from: &TimeFrom,
    reasons: &mut Vec<String>,
) -> Option<(Vec<String>, TimeFormat)> {
    let paths = from.path.list();
    if config.decoder != "value" {
        paths.iter().for_each(|path| check_pointer(path, reasons));
    }
    let format = match (from.format.as_str(), &from.zone) {
        ("number", _) => TimeFormat::Number,
        ("rfc3339", _) => TimeFormat::Rfc3339,
        ("any", _) => TimeFormat::Any,
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
    Some((paths, format))
}
