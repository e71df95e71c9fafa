//! The oracle's sending half as a child of the bench.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::process::Process;
use super::row::Row;
use super::site::Site;

/// What the publisher says at its end.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sum {
    readings: u64,
    pub(super) acknowledged: u64,
    pub(super) sent: u64,
    /// Readings that have to be in the database.
    pub(super) good: u64,
    /// Payloads that have to be quarantined.
    pub(super) refusable: u64,
    duplicates: u64,
    reconnects: u64,
    resent: u64,
    #[serde(default)]
    pub(super) done: bool,
    #[serde(default)]
    took_s: f64,
}

impl Sum {
    pub(super) fn row(&self) -> Row {
        Row::default()
            .number("acknowledged", self.acknowledged as f64)
            .number("good", self.good as f64)
            .number("refusable", self.refusable as f64)
            .number("duplicates", self.duplicates as f64)
            .number("reconnects", self.reconnects as f64)
            .number("resent", self.resent as f64)
            .number("took_s", self.took_s)
    }

    /// Whether every reading was sent and acknowledged.
    pub(super) fn is_whole(&self) -> bool {
        self.done && self.acknowledged == self.readings && self.sent == self.readings
    }
}

#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    ended: AtomicBool,
    last: Mutex<String>,
}

/// What the publisher is to do.
pub(super) struct Orders {
    pub(super) python: PathBuf,
    pub(super) oracle: PathBuf,
    pub(super) port: u16,
    pub(super) readings: u64,
    pub(super) posts: u64,
    pub(super) rate: u64,
    pub(super) seed: u64,
}

/// The running publisher.
pub(super) struct Publisher {
    process: Process,
    progress: Arc<Progress>,
}

impl Publisher {
    pub(super) fn start(site: &Site, orders: &Orders) -> Result<Self> {
        let mut command = Command::new(&orders.python);
        command.arg("-u").arg(&orders.oracle).arg("publish").arg("--dir").arg(&site.dir);
        let numbers = [
            ("--port", u64::from(orders.port)),
            ("--readings", orders.readings),
            ("--posts", orders.posts),
            ("--rate", orders.rate),
            ("--seed", orders.seed),
        ];
        for (name, value) in numbers {
            command.args([name, &value.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process =
            Process::start(&site.family, "publisher", &mut command, &site.dir.join("publisher.log"))?;
        let out = process.child().stdout.take().context("the publisher has no standard output")?;
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        std::thread::Builder::new().name("bench-publisher".to_owned()).spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let sent = serde_json::from_str::<serde_json::Value>(&line).ok();
                if let Some(sent) = sent.as_ref().and_then(|line| line["sent"].as_u64()) {
                    shared.sent.store(sent, Ordering::Release);
                }
                *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
            shared.ended.store(true, Ordering::Release);
        })?;
        Ok(Self { process, progress })
    }

    /// Readings that have gone out.
    pub(super) fn sent(&self) -> u64 {
        self.progress.sent.load(Ordering::Acquire)
    }

    /// Whether it has said its last word.
    pub(super) fn has_ended(&self) -> bool {
        self.progress.ended.load(Ordering::Acquire)
    }

    /// Its sum; an error when it failed.
    pub(super) fn sum(&mut self) -> Result<Sum> {
        self.process.wait(Duration::from_secs(5))?;
        let line = self.progress.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if line.is_empty() {
            bail!("the publisher said nothing; its log ends:\n{}", self.process.last_words());
        }
        serde_json::from_str(&line).with_context(|| format!("reading the publisher's sum: {line}"))
    }
}
