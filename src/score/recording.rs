//! Reads from a recording what a comparison needs: how much was watched, and how it rained.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Result, bail};
use lampguard_model::wire::{Topic, parse_topic};
use lampguard_model::{PostKind, Register, Timestamp};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lines::{self, Time};
use super::reporting::Reporting;
use crate::UsageError;

/// Devices at most.
pub(super) const DEVICES_MAX: usize = 1_000_000;
const WAY_OUT: &str = "a line of `lampguard record` or `simulate --out` is expected";
/// Changes of rain that are kept; more are left out of the picture.
const RAIN_MAX: usize = 200_000;

/// The mark of simulated readings, as flag and as key.
const SIMULATED: &str = "simulated";

/// What a recording says.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// Posts (by the register, else devices) that reported.
    pub(super) posts: u64,
    /// First and last moment of receipt.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Who was heard when, if the register is known.
    pub(super) reporting: Option<Reporting>,
    /// It comes out of a simulated city, at least in part.
    pub(super) simulated: bool,
    /// Frames that `record` could not keep up with.
    pub(super) missed_frames: u64,
    /// mm per hour by zone, as messages came; of a run of equal ones the first and the last.
    pub(super) rain: BTreeMap<String, Vec<(Timestamp, f64)>>,
}

#[derive(Deserialize)]
struct Line {
    received_at: Option<Time>,
    /// `record` writes it alone.
    missed_frames: Option<u64>,
    topic: Option<String>,
    payload: Option<Payload>,
}

/// The few keys of a payload that matter; readings come by the million, so the rest is skipped unread.
#[derive(Default)]
struct Payload {
    devices: Vec<String>,
    simulated: bool,
    rain_mm_h: Option<f64>,
}

/// Reads a whole recording.
pub(super) fn read(path: &Path, register: Option<&Register>) -> Result<Recording> {
    let (mut out, mut devices, mut steps) = (Recording::default(), HashSet::new(), 0);
    out.reporting = register.map(Reporting::of);
    let progress = std::io::stderr().is_terminal();
    let mut count = 0u64;
    lines::each(path, "recording", |at, line| {
        count += 1;
        if progress && count.is_multiple_of(200_000) {
            eprint!("\r{count} line(s) of {}", path.display());
        }
        let line: Line = serde_json::from_slice(line).map_err(|e| at.fault(lines::reason(&e), WAY_OUT))?;
        if let Some(frames) = line.missed_frames {
            out.missed_frames += frames;
            return Ok(());
        }
        let Some(Time(when)) = line.received_at else {
            bail!(at.fault("missing field `received_at`", WAY_OUT));
        };
        let (first, last) = out.span.unwrap_or((when, when));
        out.span = Some((first.min(when), last.max(when)));
        let (Some(topic), Some(payload)) = (line.topic, line.payload) else { return Ok(()) };
        out.simulated |= payload.simulated;
        let named = match parse_topic(&topic) {
            Some(Topic::Weather { zone }) => {
                if let Some(rate) = payload.rain_mm_h.filter(|rate| rate.is_finite() && *rate >= 0.0)
                    && steps < RAIN_MAX
                {
                    steps += usize::from(step(out.rain.entry(zone.to_owned()).or_default(), when, rate));
                }
                return Ok(());
            }
            Some(Topic::Status { .. }) => return Ok(()),
            Some(Topic::Reading { device, .. }) => Some(device),
            None => device_of(&topic),
        };
        let own = named.filter(|_| payload.devices.is_empty());
        for device in payload.devices.iter().map(String::as_str).chain(own) {
            let post = register.and_then(|register| register.by_device(device));
            if post.is_some_and(|post| post.kind == PostKind::Feeder) {
                // A cabinet is no post.
                continue;
            }
            let post = post.map_or(device, |post| &post.post_id);
            if let Some(reporting) = &mut out.reporting {
                reporting.saw(post, when);
            }
            if !devices.contains(post) {
                devices.insert(post.to_owned());
            }
        }
        if devices.len() > DEVICES_MAX {
            bail!(UsageError(format!(
                "{}: more than {DEVICES_MAX} devices; score it in parts, a zone at a time",
                path.display()
            )));
        }
        Ok(())
    })?;
    if progress && count >= 200_000 {
        eprintln!();
    }
    out.posts = devices.len() as u64;
    for rates in out.rain.values_mut() {
        rates.sort_by_key(|(at, _)| *at);
    }
    Ok(out)
}

/// The device in the topics of makers that name it there: `tele/<device>/SENSOR`, `<device>/events/rpc`.
fn device_of(topic: &str) -> Option<&str> {
    let tasmota = topic.strip_prefix("tele/").and_then(|rest| rest.strip_suffix("/SENSOR"));
    tasmota.or_else(|| topic.strip_suffix("/events/rpc")).filter(|device| !device.contains('/'))
}

/// Adds a rate; of a run of equal ones the first and the last are kept. Says whether the list has grown.
fn step(rates: &mut Vec<(Timestamp, f64)>, at: Timestamp, rate: f64) -> bool {
    let equal =
        |place: Option<&(Timestamp, f64)>| place.is_some_and(|(_, known)| known.to_bits() == rate.to_bits());
    let before = rates.len().checked_sub(2).and_then(|place| rates.get(place));
    if equal(before) && equal(rates.last()) {
        rates.pop();
        rates.push((at, rate));
        return false;
    }
    rates.push((at, rate));
    true
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        let mut payload = Payload::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                // A leakage box names itself one level deeper.
                "leakage" => {
                    let inner = map.next_value::<serde_json::Value>()?;
                    payload.devices.extend(inner["id"].as_str().map(str::to_owned));
                }
                "device" | "post_id" | "device_id" => {
                    let device = map.next_value::<serde_json::Value>()?;
                    if let (serde_json::Value::String(device), true) = (device, payload.devices.is_empty()) {
                        payload.devices.push(device);
                    }
                }
                // Ours is a flag; foreign payloads have a key of their own.
                "flags" => {
                    let flags = map.next_value::<serde_json::Value>()?;
                    let flags = flags.as_array().into_iter().flatten();
                    payload.simulated |= flags.into_iter().any(|flag| flag == SIMULATED);
                }
                SIMULATED => payload.simulated |= map.next_value::<serde_json::Value>()? == true,
                "rain_mm_h" => payload.rain_mm_h = map.next_value::<serde_json::Value>()?.as_f64(),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(payload)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Payload, A::Error> {
        let mut all = Payload::default();
        while let Some(one) = items.next_element::<Payload>()? {
            all.devices.extend(one.devices);
            all.simulated |= one.simulated;
        }
        Ok(all)
    }

    fn visit_str<E>(self, _: &str) -> Result<Payload, E> {
        Ok(Payload::default())
    }

    fn visit_unit<E>(self) -> Result<Payload, E> {
        Ok(Payload::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Payload, E> {
        Ok(Payload::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Payload, E> {
        Ok(Payload::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Payload, E> {
        Ok(Payload::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Payload, E> {
        Ok(Payload::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Recording> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), None)
    }

    #[test]
    fn a_recording_gives_posts_that_reported_its_span_and_the_rain_of_each_zone() {
        let text = r#"{"received_at":1000,"topic":"lamp/z1/P1/reading","payload":{"seq":1,"leakage_ma":0.5,"flags":["x"]}}
{"received_at":2000,"topic":"lamp/z1/P1/reading","payload":{"seq":2}}
{"received_at":2500,"topic":"lamp/z1/P9/status","payload":"online"}
{"received_at":3000,"topic":"gateway/7","payload":[{"post_id":"P2","seq":1},{"device":"P3"},{"device":7},4]}
{"received_at":3500,"topic":"weather/z1/rain","payload":{"rain_mm_h":2.5}}
{"received_at":3550,"topic":"weather/z1/rain","payload":{"rain_mm_h":2.5}}
{"received_at":3600,"topic":"weather/z1/rain","payload":{"rain_mm_h":2.5,"warning":"blue"}}
{"received_at":3700,"topic":"weather/all/rain","payload":{"warning":"red"}}
{"received_at":4000,"topic":"weather/z1/rain","payload":{"rain_mm_h":0}}
{"received_at":4100,"topic":"street/z1/report","payload":{"device_id":"CN1","leak_current":3}}
{"received_at":4200,"topic":"device_report","payload":{"leakage":{"id":"BOX1","param":{"I":1}}}}
{"received_at":4300,"topic":"tele/T1/SENSOR","payload":{"ENERGY":{}}}
{"received_at":4400,"topic":"S1/events/rpc","payload":{"params":{}}}
{"received_at":9000,"move":{"post_id":"P1","kind":"leak_critical","move":"arrive"}}
"#;
        let recording = of(text).unwrap();
        assert_eq!((recording.posts, recording.span), (7, Some((Timestamp(1000), Timestamp(9000)))));
        assert_eq!(
            recording.rain["z1"],
            [(Timestamp(3500), 2.5), (Timestamp(3600), 2.5), (Timestamp(4000), 0.0)]
        );
        assert_eq!(recording.rain.len(), 1);
        assert_eq!(of("").unwrap().span, None);
    }

    #[test]
    fn the_lines_that_record_writes_when_it_could_not_keep_up_are_read_and_counted() {
        let recording =
            of("{\"received_at\":1,\"topic\":\"t\"}\n{\"missed_frames\":3}\n{\"missed_frames\":4}\n");
        let recording = recording.unwrap();
        assert_eq!((recording.missed_frames, recording.span), (7, Some((Timestamp(1), Timestamp(1)))));
    }

    #[test]
    fn marks_of_simulation_are_noticed_in_our_form_and_in_those_of_makers() {
        let of = |payload: &str| {
            of(&format!("{{\"received_at\":1,\"topic\":\"device_report\",\"payload\":{payload}}}")).unwrap()
        };
        for payload in [r#"{"flags":["leak_alarm"]}"#, r#"{"simulated":false}"#, r#""simulated""#] {
            assert!(!of(payload).simulated, "{payload}");
        }
        for payload in
            [r#"{"flags":["x","simulated"]}"#, r#"{"simulated":true}"#, r#"[{},{"simulated":true}]"#]
        {
            assert!(of(payload).simulated, "{payload}");
        }
    }

    #[test]
    fn a_line_that_is_no_recording_is_named() {
        let fault =
            of("{\"received_at\":1,\"topic\":\"t\"}\n{\"post_id\":\"P1\"}\n").err().unwrap().to_string();
        assert!(fault.contains("line 2: missing field `received_at`") && fault.contains("record"), "{fault}");
    }
}
