//! `bench profiles`: what it costs to read each payload shape, beside the canonical one, in this process on one thread.
//!
//! The payloads are the frozen ones of `ingester/tests/data`, the same bytes again and again: what is measured is
//! decoding alone, without register, journal, rules.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use lampguard_ingester::profile::{self, Arrived, CANONICAL, Memory, Profiles};
use lampguard_model::Timestamp;

use super::machine;
use super::process::Cpu;
use super::row::{Report, Row, median};

/// Time of receipt of every message.
const RECEIVED: Timestamp = Timestamp(1_795_435_260_000);

/// Options of `bench profiles`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Readings of each shape in each round.
    #[arg(long, default_value_t = 1_000_000)]
    readings: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only this profile, beside the canonical one.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

macro_rules! payload {
    ($profile:literal, $file:literal, $topic:literal) => {
        Shape {
            profile: $profile,
            file: $file,
            topic: $topic,
            payload: include_bytes!(concat!("../../ingester/tests/data/", $file)),
        }
    };
}

struct Shape {
    profile: &'static str,
    file: &'static str,
    topic: &'static str,
    payload: &'static [u8],
}

/// One payload for each shipped profile, two where a format has two forms. The canonical one comes first.
const SHAPES: [Shape; 17] = [
    payload!("lampguard", "canonical_single.json", "lamp/z1/Z1-000001/reading"),
    payload!("tasmota", "tasmota_sensor.json", "tele/lamp-17/SENSOR"),
    payload!("shelly-em1", "shelly_em1_full.json", "shelly-1/events/rpc"),
    payload!("cn-tenths", "cn_tenths.json", "street/1/report"),
    payload!("leakage-box", "leakage_box.json", "device_report"),
    payload!("edge-logger", "edge_logger.json", "device/power/up/E1"),
    payload!("senml", "senml_multiple.json", "senml/up"),
    payload!("senml", "senml_multiple.cbor", "senml/up"),
    payload!("sparkplug", "sparkplug_dbirth.bin", "spBv1.0/G/DBIRTH/N1/P17"),
    payload!("sparkplug", "sparkplug_ddata.bin", "spBv1.0/G/DDATA/N1/P17"),
    payload!("chirpstack-v4", "chirpstack_v4.json", "application/1/device/e/event/up"),
    payload!("ttn-v3", "ttn_v3.json", "v3/a@t/devices/d/up"),
    payload!("milesight", "milesight_em300.json", "application/1/device/e/event/up"),
    payload!("dragino", "dragino_lwl03a.json", "v3/a@t/devices/d/up"),
    payload!("tuya", "tuya_breaker.json", "tuya/status"),
    payload!("esphome", "esphome_voltage.txt", "lamp-17/sensor/voltage/state"),
    payload!("pzem-004t", "pzem_answer.bin", "box-3/up"),
];

/// Prints one row for each shape.
pub(super) fn run(options: &Options) -> Result<()> {
    if options.readings == 0 || options.rounds == 0 {
        bail!("--readings {} and --rounds {}: both have to be above 0", options.readings, options.rounds);
    }
    let profiles = Profiles::load(&[]).map_err(|faults| anyhow::anyhow!("{}", faults[0]))?;
    if let Some(name) =
        options.profile.as_ref().filter(|name| !SHAPES.iter().any(|shape| shape.profile == *name))
    {
        bail!("no payload of a profile {name:?} is measured here");
    }
    let mut report = Report::open(options.json.as_deref())?;
    let before = machine::Moment::now()?;
    let mut memory = Memory::default();
    let mut canonical = None;
    for shape in &SHAPES {
        // A birth teaches the aliases of the data behind it, so Sparkplug's shapes go together.
        if options.profile.as_ref().is_some_and(|name| shape.profile != name && shape.profile != CANONICAL) {
            continue;
        }
        report.progress(format!("{} {}", shape.profile, shape.file));
        let mut cpu = Vec::new();
        let (mut wall, mut each) = (Vec::new(), 0);
        for _ in 0..options.rounds {
            let (cpu_s, wall_s, readings, of_one) = round(&profiles, shape, options.readings, &mut memory)?;
            cpu.push(cpu_s * 1e6 / readings as f64);
            wall.push(wall_s * 1e9 / readings as f64);
            each = of_one;
        }
        let cpu = median(&mut cpu);
        let base = *canonical.get_or_insert(cpu);
        report.row(
            &Row::of("profiles")
                .text("profile", shape.profile)
                .text("payload", shape.file)
                .number("payload_bytes", shape.payload.len() as f64)
                .number("readings_per_payload", each as f64)
                .number("cpu_s_per_million", cpu)
                .number("ns_per_reading", median(&mut wall))
                .number("times_canonical", cpu / base),
        )?;
    }
    let own = Cpu::of(std::process::id())?.total_s;
    report.row(&Row::of("profiles").text("row", "machine").with(before.row_since(own)?))
}

/// Processor seconds, seconds, readings, and readings of one payload.
fn round(
    profiles: &Profiles,
    shape: &Shape,
    readings: u64,
    memory: &mut Memory,
) -> Result<(f64, f64, u64, u64)> {
    let profile = profiles.get(shape.profile);
    let message = Arrived {
        topic: shape.topic,
        payload: shape.payload,
        received_at: RECEIVED,
        again: false,
        origin: 0,
    };
    let mut out = Vec::new();
    let (cpu, started) = (Cpu::of(std::process::id())?.total_s, Instant::now());
    let (mut done, mut each) = (0, 0);
    while done < readings {
        let decoded = profile::decode(profile, &message, memory, &mut out);
        decoded.with_context(|| format!("decoding {} by {}", shape.file, shape.profile))?;
        each = std::hint::black_box(&out).iter().flatten().count() as u64;
        if each == 0 {
            bail!("{} holds no reading by {}", shape.file, shape.profile);
        }
        done += each;
        out.clear();
    }
    let wall = started.elapsed().as_secs_f64();
    Ok((Cpu::of(std::process::id())?.total_s - cpu, wall, done, each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_measured_and_each_payload_holds_a_reading() {
        let profiles = Profiles::load(&[]).unwrap();
        let mut memory = Memory::default();
        assert_eq!(SHAPES[0].profile, CANONICAL, "the others are compared with it");
        for name in profiles.names() {
            assert!(SHAPES.iter().any(|shape| shape.profile == name), "{name} is not measured");
        }
        for shape in &SHAPES {
            let (_, _, readings, each) = round(&profiles, shape, 10, &mut memory).unwrap();
            assert!(readings >= 10 && each > 0, "{}", shape.file);
        }
    }
}
