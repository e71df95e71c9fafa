//! `bench floor`: what each step of a reading's way costs by itself, in this process and on one thread.
//!
//! Each figure is the median of several runs, the best beside it: on a shared machine the best is nearer to
//! what the code costs, the median to what one gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use bytes::BytesMut;
use clap::Args;
use lampguard_ingester::admit::{Admission, Decision, Place};
use lampguard_journal::{FrameBuf, Options, RealDisk, Writer};
use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Reading, Register, Timestamp, wire};
use rumqttc::mqttbytes::v4;

use super::machine;
use super::mqtt;
use super::payload::{self, Danger};
use super::process::{Cpu, Family};
use super::row::{Report, Row, median, quantile};
use super::site::{Place as Folder, Site};

/// Posts of the sample.
const POSTS: u64 = 3200;
/// Readings of the sample.
const SAMPLE: u64 = 32_000;
/// Runs of each measurement.
const RUNS: usize = 9;
/// As much as the intake puts into a frame.
const FRAME: usize = lampguard_ingester::run::FRAME_BYTES;
/// Commits of one frame each.
const COMMITS: usize = 200;

/// Options of `bench floor`.
#[derive(Debug, Args)]
pub(super) struct Floor {
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Prints one row for each step.
pub(super) fn run(options: &Floor) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let sample = Sample::make()?;
    let before = machine::Moment::now()?;
    report.row(&packets(&sample)?)?;
    report.row(&decoding(&sample)?)?;
    for row in admission(&sample)? {
        report.row(&row)?;
    }
    report.row(&encoding(&sample))?;
    report.row(&framing(&sample)?)?;
    report.row(&reading_back(&sample)?)?;
    let family = Family::new()?;
    for (name, folder) in [("disk", Folder::Disk), ("tmpfs", Folder::Tmpfs)] {
        match commits(&sample, &family, name, folder) {
            Ok(row) => report.row(&row)?,
            Err(e) => report.row(
                &Row::of("floor").text("row", "commit").text("data", name).text("note", format!("{e:#}")),
            )?,
        }
    }
    report.row(
        &Row::of("floor")
            .text("row", "machine")
            .with(before.row_since(Cpu::of(std::process::id())?.total_s)?),
    )
}

/// Readings in every form they take on their way.
struct Sample {
    register: Register,
    /// MQTT frames, one behind the other.
    packets: Vec<u8>,
    payloads: Vec<String>,
    readings: Vec<Reading>,
    places: Vec<Place>,
    now: Timestamp,
}

impl Sample {
    fn make() -> Result<Self> {
        let register = Register::parse(payload::register(POSTS).as_bytes())
            .map_err(|faults| anyhow!("the bench's own register has {} faults", faults.len()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = Timestamp(i64::try_from(now).unwrap_or(i64::MAX));
        let (mut packets, mut payloads, mut readings, mut out) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..SAMPLE {
            let (post, round) = (number % POSTS, number / POSTS);
            let ts_ms = now.0 - (SAMPLE / POSTS - round) as i64 * 1000;
            let reading =
                payload::Reading { number, post, boot: 1, seq: round + 1, ts_ms, danger: Danger::None };
            let mut text = String::new();
            payload::write(&mut text, reading, false);
            mqtt::publish(
                &mut packets,
                &payload::topic(post),
                (number % 65_535 + 1) as u16,
                text.as_bytes(),
                false,
            );
            wire::decode(text.as_bytes(), &mut out).context("decoding the bench's own payload")?;
            let decoded = out.pop().context("the bench's own payload holds no reading")?;
            readings.push(decoded.context("reading the bench's own payload")?);
            payloads.push(text);
        }
        let place = |post: u64| {
            let post = register.by_post(&payload::post_id(post)).cloned();
            Place { device: post.as_ref().map(|post| post.device_id.clone()), post }
        };
        let places = (0..POSTS).map(place).collect();
        Ok(Self { register, packets, payloads, readings, places, now })
    }

    fn place(&self, number: usize) -> &Place {
        &self.places[number % POSTS as usize]
    }

    fn stored(&self, number: usize) -> StoredReading<'_> {
        let (reading, post) = (&self.readings[number], self.place(number).post.as_deref());
        StoredReading {
            identity: number as u64,
            stored_ts: reading.ts.unwrap_or(self.now),
            zone: post.map_or("", |post| &post.zone),
            feeder: post.map_or("", |post| &post.feeder),
            ..StoredReading::said(reading, post.map_or("", |post| &post.post_id), self.now)
        }
    }

    /// The sample as frames of the journal.
    fn frames(&self) -> Vec<FrameBuf> {
        let (mut frames, mut frame) = (Vec::new(), FrameBuf::new(0));
        for number in 0..self.readings.len() {
            let stored = self.stored(number);
            frame.push(record::READING, |out| record::encode_reading(&stored, out));
            if frame.len() >= FRAME {
                let next = FrameBuf::new(frame.end_seq());
                frames.push(std::mem::replace(&mut frame, next));
            }
        }
        frames
    }
}

/// Runs something several times over the whole sample; nanoseconds per reading.
fn measure(step: &str, per_run: u64, mut work: impl FnMut() -> Result<()>) -> Result<Row> {
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        work()?;
        took.push(started.elapsed().as_nanos() as f64 / per_run as f64);
    }
    let middle = median(&mut took);
    Ok(Row::of("floor").text("row", step).number("ns_per_reading", middle).number("ns_best", took[0]))
}

fn packets(sample: &Sample) -> Result<Row> {
    let row = measure("packet-decode", SAMPLE, || {
        let mut buffer = BytesMut::from(&sample.packets[..]);
        let mut count = 0;
        while let Ok(packet) = v4::Packet::read(&mut buffer, 1 << 20) {
            std::hint::black_box(&packet);
            count += 1;
        }
        if count == SAMPLE { Ok(()) } else { Err(anyhow!("{count} of {SAMPLE} packets were read")) }
    })?;
    Ok(row.number("packet_bytes", sample.packets.len() as f64 / SAMPLE as f64))
}

fn decoding(sample: &Sample) -> Result<Row> {
    let mut out = Vec::with_capacity(1);
    let row = measure("json-decode", SAMPLE, || {
        for payload in &sample.payloads {
            wire::decode(payload.as_bytes(), &mut out).context("decoding")?;
            std::hint::black_box(&out);
            out.clear();
        }
        Ok(())
    })?;
    let bytes: usize = sample.payloads.iter().map(String::len).sum();
    Ok(row.number("payload_bytes", bytes as f64 / SAMPLE as f64))
}

/// Looking up the post, then admission of a reading that is new, and of one that was there.
fn admission(sample: &Sample) -> Result<[Row; 3]> {
    let names: Vec<String> = (0..POSTS).map(payload::post_id).collect();
    let place = measure("place", SAMPLE, || {
        for number in 0..SAMPLE as usize {
            std::hint::black_box(sample.register.by_device(&names[number % POSTS as usize]));
        }
        Ok(())
    })?;
    let mut readings = sample.readings.clone();
    let mut admission = Admission::default();
    let mut all = |admission: &mut Admission, wanted: fn(&Decision) -> bool| {
        for (number, reading) in readings.iter_mut().enumerate() {
            let place = sample.place(number);
            let device = place.device.as_deref().unwrap_or("");
            let decision = admission.admit(reading, place, device, false, sample.now);
            if !wanted(&decision) {
                return Err(anyhow!("reading {number} was decided to be {decision:?}"));
            }
        }
        Ok(())
    };
    let fresh = measure("admit-new", SAMPLE, || {
        admission = Admission::default();
        all(&mut admission, |decision| matches!(decision, Decision::Fresh { .. }))
    })?;
    let duplicate = measure("admit-duplicate", SAMPLE, || {
        all(&mut admission, |decision| *decision == Decision::Duplicate)
    })?;
    Ok([place, fresh, duplicate])
}

fn encoding(sample: &Sample) -> Row {
    let stored: Vec<StoredReading<'_>> =
        (0..sample.readings.len()).map(|number| sample.stored(number)).collect();
    let mut out = Vec::with_capacity(256 * SAMPLE as usize);
    let row = measure("record-encode", SAMPLE, || {
        out.clear();
        stored.iter().for_each(|stored| record::encode_reading(stored, &mut out));
        Ok(())
    });
    let row = row.unwrap_or_default();
    row.number("record_bytes", out.len() as f64 / SAMPLE as f64)
}

fn framing(sample: &Sample) -> Result<Row> {
    let frames = sample.frames();
    let readings: u64 = frames.iter().map(|frame| u64::from(frame.count())).sum();
    let mut out = Vec::new();
    let row = measure("frame-encode-crc", readings, || {
        out.clear();
        frames.iter().for_each(|frame| frame.encode(&mut out));
        Ok(())
    })?;
    Ok(row.number("frame_bytes", out.len() as f64 / frames.len() as f64))
}

fn reading_back(sample: &Sample) -> Result<Row> {
    let frames = sample.frames();
    let readings: u64 = frames.iter().map(|frame| u64::from(frame.count())).sum();
    measure("record-decode", readings, || {
        for (_, kind, bytes) in frames.iter().flat_map(FrameBuf::records) {
            match record::decode(kind, bytes) {
                Ok(Record::Reading(reading)) => drop(std::hint::black_box(reading)),
                other => return Err(anyhow!("a record came back as {other:?}")),
            }
        }
        Ok(())
    })
}

/// Frames of 64 KiB, each written and synced by itself: the slowest way to use the journal.
fn commits(sample: &Sample, family: &Family, name: &str, folder: Folder<'_>) -> Result<Row> {
    let site = Site::make(family, folder)?;
    let disk = machine::disk_row(&site.dir)?;
    let (mut writer, _) =
        Writer::open(Arc::new(RealDisk), Path::new(&site.dir.join("journal")), Options::default(), 0)
            .context("opening a journal")?;
    let frames = sample.frames();
    let (mut next, mut took, mut readings, mut bytes) = (0, Vec::new(), 0, 0);
    for number in 0..COMMITS {
        let mut frame = frames[number % frames.len()].clone();
        frame.first_seq = next;
        next = frame.end_seq();
        (readings, bytes) = (readings + u64::from(frame.count()), bytes + frame.len());
        let started = Instant::now();
        writer.commit(&[frame], sample.now.0).context("committing")?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    let wall_s = took.iter().sum::<f64>() / 1000.0;
    took.sort_by(f64::total_cmp);
    Ok(Row::of("floor")
        .text("row", "journal-commit")
        .text("data", name)
        .number("ns_per_reading", wall_s * 1e9 / readings as f64)
        .number("commit_p50_ms", quantile(&took, 0.5))
        .number("commit_p99_ms", quantile(&took, 0.99))
        .number("commit_max_ms", took.last().copied().unwrap_or(f64::NAN))
        .number("mb_per_s", bytes as f64 / wall_s / 1e6)
        .number("readings_per_s", readings as f64 / wall_s)
        .with(disk))
}
