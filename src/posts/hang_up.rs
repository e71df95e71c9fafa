//! Has the running instance read its files again, and says what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::UsageError;
use crate::cli::Target;
use crate::config::Config;
use crate::tools::{Asker, print};

/// Longest wait for an instance that reads a register of a million posts.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn reload(file: Option<&Path>, config: Option<&Config>) -> Result<()> {
    let Some(config) = config else {
        bail!(UsageError("--reload needs the configuration of the running instance".to_owned()))
    };
    let none = Target { url: None, token: None };
    let asker = Asker::new(file, &none, Some(Duration::from_secs(10)))
        .context("the register is written; no instance took it, the next start does")?;
    let before =
        counts(&asker).context("the register is written; no instance took it, the next start does")?;
    let lock = config.site.data_dir.join("lock");
    let pid = std::fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.with_context(|| format!("{} names no process", lock.display()))?;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)
        .with_context(|| format!("sending SIGHUP to process {}", pid.as_raw_nonzero()))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
        let now = counts(&asker)?;
        if now.1 > before.1 {
            bail!("the running instance refuses it and goes on by what it had: its log says why");
        }
        if now.0 > before.0 {
            return print("the running instance goes on by it\n");
        }
    }
    bail!("the running instance has not answered within {} s: its log says more", PATIENCE.as_secs())
}

/// Reloads that were followed, and those that were refused.
fn counts(asker: &Asker) -> Result<(f64, f64)> {
    let (status, mut body) = asker.get("/metrics")?;
    let text = body.read_to_string().context("reading the answer")?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.with_context(|| format!("the instance answered {status} without {name}"))
    };
    Ok((of("lampguard_reload_done_total ")?, of("lampguard_reload_failed_total ")?))
}
