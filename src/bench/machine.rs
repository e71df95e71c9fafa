//! What else the machine did meanwhile: without it no figure of a shared machine means anything.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::row::{Row, quantile};

/// Ticks of the processor accounts in a second; fixed in Linux's interface to programs.
pub(super) const TICKS: f64 = 100.0;
/// Writes of the disk probe.
const PROBES: usize = 200;

/// Processor time of the whole machine up to now, seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    busy_s: f64,
    all_s: f64,
    steal_s: f64,
}

impl Moment {
    pub(super) fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let ticks: Vec<f64> = text
            .lines()
            .next()
            .unwrap_or("")
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0.0) / TICKS;
        let all_s = (0..8).map(at).sum::<f64>();
        Ok(Self { busy_s: all_s - at(3) - at(4) - at(7), all_s, steal_s: at(7) })
    }

    /// Load, and what others took of the processors since, when this bench's processes took `ours_s`.
    pub(super) fn row_since(self, ours_s: f64) -> Result<Row> {
        let now = Self::now()?;
        let all = (now.all_s - self.all_s).max(0.01);
        let others = (now.busy_s - self.busy_s - ours_s).max(0.0) / all;
        let load = std::fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
        let load: f64 = load.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Ok(Row::default()
            .number("load1", load)
            .number("others_share", others)
            .number("steal_share", (now.steal_s - self.steal_s) / all)
            .number("calib_ns", calibrate()))
    }
}

/// Nanoseconds of a thousand turns of a fixed loop: tells whether the processor was as fast as the last time.
fn calibrate() -> f64 {
    let started = Instant::now();
    let mut state = 1u64;
    for _ in 0..1_000_000 {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    started.elapsed().as_nanos() as f64 / 1000.0
}

/// What this disk takes for 4 KiB and a fdatasync, now.
pub(super) fn disk_row(dir: &Path) -> Result<Row> {
    let path = dir.join("probe");
    let doing = || format!("measuring the disk with {}", path.display());
    let mut file = OpenOptions::new().create(true).append(true).open(&path).with_context(doing)?;
    let block = [0x5a; 4096];
    let mut took = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let started = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).with_context(doing)?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path).with_context(doing)?;
    took.sort_by(f64::total_cmp);
    Ok(Row::default()
        .number("fdatasync_p50_ms", quantile(&took, 0.5))
        .number("fdatasync_p99_ms", quantile(&took, 0.99)))
}
