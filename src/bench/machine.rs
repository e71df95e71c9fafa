//! What else the machine did meanwhile: without it no figure of a shared machine means anything.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::row::{Row, quantile};

/// Ticks of the processor accounts in a second; fixed in Linux's interface to programs.
pub(super) const TICKS: f64 = 100.0;
/// Writes of the disk probe.
const PROBES: usize = 200;
/// Between two looks at the disk while something else runs.
const WATCH_EVERY: Duration = Duration::from_millis(50);

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
    let mut probe = Probe::open(dir)?;
    for _ in 0..PROBES {
        probe.measure()?;
    }
    Ok(probe.row("fdatasync"))
}

/// One file that is appended to and synced, again and again.
struct Probe {
    path: PathBuf,
    file: File,
    took_ms: Vec<f64>,
}

impl Probe {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("probe");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("making {} to measure the disk", path.display()))?;
        Ok(Self { path, file, took_ms: Vec::new() })
    }

    fn measure(&mut self) -> Result<()> {
        let started = Instant::now();
        let written = self.file.write_all(&[0x5a; 4096]).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("measuring the disk with {}", self.path.display()))?;
        self.took_ms.push(started.elapsed().as_secs_f64() * 1000.0);
        Ok(())
    }

    fn row(&mut self, name: &str) -> Row {
        self.took_ms.sort_by(f64::total_cmp);
        Row::default()
            .number(&format!("{name}_p50_ms"), quantile(&self.took_ms, 0.5))
            .number(&format!("{name}_p99_ms"), quantile(&self.took_ms, 0.99))
            .number(&format!("{name}_max_ms"), quantile(&self.took_ms, 1.0))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Measures the disk while something else runs: a shared disk stalls for everybody at once, and a latency
/// can only be judged beside what a bare fdatasync took in the same seconds.
pub(super) struct DiskWatch {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<Row>>,
}

impl DiskWatch {
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let mut probe = Probe::open(dir)?;
        let end = Arc::new(AtomicBool::new(false));
        let told = end.clone();
        let thread = std::thread::Builder::new().name("bench-disk".to_owned()).spawn(move || {
            while !told.load(Ordering::Acquire) {
                probe.measure()?;
                std::thread::sleep(WATCH_EVERY);
            }
            Ok(probe.row("fdatasync_meanwhile"))
        })?;
        Ok(Self { end, thread })
    }

    /// What it saw.
    pub(super) fn row(self) -> Result<Row> {
        self.end.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the thread that measures the disk ended in panic"))?
    }
}
