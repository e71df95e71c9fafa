//! A peer beside us: the script most offices would write (`shared/peers-bench/peer_paho.py`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::burst::database_word;
use super::measure::{Load, PATIENCE, Sample, Shape, Stage, Tools, Wanted, memory_row};
use super::process::{Cpu, Process};
use super::row::Row;
use super::site::find;
use super::stub;

/// Values that the script writes for each reading.
const FIELDS: f64 = 4.0;

/// A script and the python that can run it.
pub(super) struct Peer {
    python: PathBuf,
    script: PathBuf,
}

impl Peer {
    /// Looks whether the script is there and its libraries too.
    pub(super) fn find(script: &Path) -> Result<Self> {
        if !script.is_file() {
            bail!("{} is not there", script.display());
        }
        let python = find("PY", &["python3"]).context("python3 is not installed")?;
        let test = Command::new(&python)
            .args(["-c", "import paho.mqtt.client, influxdb_client"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {}", python.display()))?;
        if !test.status.success() {
            let words = String::from_utf8_lossy(&test.stderr);
            bail!(
                "{} (named by PY): {}; pip install paho-mqtt influxdb-client",
                python.display(),
                words.lines().last().unwrap_or("")
            );
        }
        Ok(Self { python, script: script.to_owned() })
    }

    /// One round of the peer: the same broker, database and load as ours.
    pub(super) fn measure(&self, tools: &Tools, shape: &Shape) -> Result<Row> {
        let wanted = Wanted { broker: true, database: true, ..Wanted::default() };
        let mut stage = Stage::set(tools, shape.posts, wanted)?;
        let lines = match stage.plan.database {
            Some(_) => Arc::new(AtomicU64::new(0)),
            None => {
                let (port, lines) = stub::database()?;
                stage.plan.database = Some(port);
                lines
            }
        };
        let mut command = Command::new(&self.python);
        let ports = [stage.mqtt_port(), stage.plan.database.unwrap_or_default()];
        command.arg(&self.script).args(ports.map(|port| port.to_string())).arg("batch");
        let log = stage.site.dir.join("peer.log");
        let mut script = Process::start_quiet(&stage.site.family, "peer", &mut command, &log)?;
        let stored = |stage: &Stage| match &stage.database {
            Some(database) => Ok(database.values()? / FIELDS),
            None => Ok(lines.load(Ordering::Relaxed) as f64),
        };
        let before = wait_until_it_listens(&stage, shape, &mut script, stored)?;
        let mut load = Load::prepare(&stage.site, stage.mqtt_port(), shape)?;
        let (from, cpu) = (Sample::take(&stage)?, Cpu::of(script.pid())?);
        load.go()?;
        let until = Instant::now() + PATIENCE;
        while stored(&stage)? < before + shape.readings as f64 {
            script.check()?;
            if Instant::now() > until {
                bail!(
                    "the peer stored {} of {} within {PATIENCE:?}",
                    stored(&stage)? - before,
                    shape.readings
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let end = Sample::take(&stage)?;
        let used_s = Cpu::of(script.pid())?.total_s - cpu.total_s;
        let found = load.finish(None)?;
        let (readings, wall_s) = (shape.readings as f64, from.seconds_to(&end));
        Ok(Row::default()
            .text("row", "peer")
            .text("script", self.script.file_name().unwrap_or_default().to_string_lossy())
            .text("database", database_word(&stage))
            .number("readings", readings)
            .number("posts", shape.posts as f64)
            .number("stored", stored(&stage)? - before)
            .number("wall_s", wall_s)
            .number("rate_per_s", readings / wall_s)
            .number("cpu_s_per_M", used_s / readings * 1e6)
            .with(from.services_row(&end, &stage, shape.readings))
            .with(memory_row(script.pid())?)
            .number("payload_bytes", found.payload_bytes)
            .with(from.machine_row(&end, found.cpu_s + used_s)?))
    }
}

/// A script says nowhere that it is subscribed: some readings are sent until the first has arrived.
/// Returns how many are stored then.
fn wait_until_it_listens(
    stage: &Stage,
    shape: &Shape,
    script: &mut Process,
    stored: impl Fn(&Stage) -> Result<f64>,
) -> Result<f64> {
    let until = Instant::now() + Duration::from_secs(30);
    let mut boot = 100;
    loop {
        boot += 1;
        let some = Shape { readings: 500, boot, ..shape.clone() };
        let mut load = Load::prepare(&stage.site, stage.mqtt_port(), &some)?;
        load.go()?;
        load.finish(None)?;
        // It writes at least once a second.
        std::thread::sleep(Duration::from_millis(2500));
        script.check()?;
        let count = stored(stage)?;
        if count > 0.0 {
            return Ok(count);
        }
        if Instant::now() > until {
            bail!("the peer stored nothing within 30 s; its log ends:\n{}", script.last_words());
        }
    }
}
