//! `lampguard profile test`: what a real payload turns into, and why.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_ingester::profile::{self, Arrived, Explained, LINES_MAX, Memory, Profile, Profiles};
use lampguard_model::wire::{self, Refusal};
use lampguard_model::{Reading, Timestamp};
use serde_json::json;

use crate::UsageError;
use crate::config;
use crate::tools::print;

/// What was asked for.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) payload: PathBuf,
    pub(crate) topic: String,
    pub(crate) explain: bool,
    pub(crate) birth: Option<PathBuf>,
}

pub(crate) fn run(file: Option<&Path>, asked: &Asked) -> Result<()> {
    let configured = match config::find(file) {
        Ok(found) => config::load(&found)?.profiles,
        Err(e) if file.is_some() => return Err(e),
        Err(_) => Vec::new(),
    };
    let profiles = Profiles::load(&configured).map_err(|faults| UsageError(faults[0].to_string()))?;
    let name = &asked.name;
    if !profiles.knows(name) {
        let known: Vec<&str> = profiles.names().collect();
        bail!(UsageError(format!("profile {name:?} is not known; known are {}", known.join(", "))));
    }
    let profile = profiles.get(name);
    let (bytes, received_at) = (read(&asked.payload)?, crate::clock::system()());
    let mut memory = Memory::default();
    if let Some(birth) = &asked.birth {
        teach(profile, &asked.topic, &read(birth)?, received_at, &mut memory)?;
    }
    let message = Arrived { topic: &asked.topic, payload: &bytes, received_at, again: false, origin: 0 };
    let (mut readings, mut trace) = (Vec::new(), Explained::default());
    let decoded = if asked.explain {
        let decoded = profile::explain(profile, &message, &mut memory, &mut readings, &mut trace);
        print(&values(&trace))?;
        decoded
    } else {
        profile::decode(profile, &message, &mut memory, &mut readings)
    };
    let mended =
        decoded.map_err(|refusal| anyhow::anyhow!("quarantined, reason {}: {refusal}", refusal.word()))?;
    for (index, reading) in readings.iter().enumerate() {
        print(&if asked.explain { said(index, reading) } else { format!("{}\n", line(index, reading)) })?;
    }
    if mended.any() {
        eprintln!("mended before reading: {mended:?}");
    }
    if readings.is_empty() {
        eprintln!("a message without readings by its nature: acknowledged, not counted");
    } else if readings.iter().all(Result::is_err) {
        bail!("no reading in it");
    }
    Ok(())
}

/// A payload out of a file, or out of standard input; any bytes.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("reading payload {}", path.display()))
}

/// Reads the birth that stands before data: on the same topic, with BIRTH where DATA stands.
fn teach(
    profile: Option<&Profile>,
    topic: &str,
    birth: &[u8],
    received_at: Timestamp,
    memory: &mut Memory,
) -> Result<()> {
    if !topic.contains("DATA/") {
        bail!(UsageError(format!(
            "--birth needs the topic of a data message, such as spBv1.0/G/DDATA/N/D; --topic is {topic}"
        )));
    }
    let topic = topic.replacen("DATA/", "BIRTH/", 1);
    let message = Arrived { topic: &topic, payload: birth, received_at, again: false, origin: 0 };
    let read = profile::decode(profile, &message, memory, &mut Vec::new());
    read.map(drop)
        .map_err(|refusal| anyhow::anyhow!("the birth is quarantined, reason {}: {refusal}", refusal.word()))
}

fn line(index: usize, reading: &Result<Reading, Refusal>) -> serde_json::Value {
    match reading {
        Ok(reading) => json!({
            "reading": wire::to_json(reading), "marks": reading.marks.names().collect::<Vec<_>>(),
            "unknown_keys": reading.unknown_keys,
        }),
        Err(refusal) => json!({ "quarantined": refusal.word(), "why": refusal.to_string(), "index": index }),
    }
}

/// Every value of the payload, one a line: what was taken first, then what was left.
fn values(trace: &Explained) -> String {
    let mut text = String::new();
    for (title, taken) in [("taken", true), ("left", false)] {
        let lines: Vec<_> = trace.lines.iter().filter(|line| line.taken == taken).collect();
        text += &format!("{title}: {}\n", lines.len());
        for line in lines {
            text += &format!("  {:<36} {:<28} {}\n", line.place, line.raw, line.what);
        }
    }
    if trace.left_off > 0 {
        text += &format!("{} more are not shown: {LINES_MAX} are the limit\n", trace.left_off);
    }
    text
}

fn said(index: usize, reading: &Result<Reading, Refusal>) -> String {
    let reading = match reading {
        Ok(reading) => reading,
        Err(refusal) => {
            return format!("reading {index}: quarantined, reason {}: {refusal}\n", refusal.word());
        }
    };
    let device = reading.device.as_deref().unwrap_or("the one of the topic");
    let time = reading.ts.map_or_else(|| "its receipt".to_owned(), Timestamp::to_rfc3339);
    let mut text = format!("reading {index}: device {device}, time {time}, cause {}", reading.cause.name());
    for (title, words) in [
        ("flags", reading.flags.names().collect::<Vec<_>>()),
        ("marks", reading.marks.names().collect::<Vec<_>>()),
    ] {
        if !words.is_empty() {
            text += &format!(", {title} {}", words.join(" "));
        }
    }
    text + "\n"
}
