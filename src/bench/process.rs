//! Child processes: started, watched, ended by their id, and what they cost.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::machine::TICKS;

/// Every child that runs, so that a signal to the bench ends them too.
#[derive(Clone, Debug, Default)]
pub(super) struct Family(Arc<Mutex<Members>>);

#[derive(Debug, Default)]
struct Members {
    pids: Vec<u32>,
    folders: Vec<PathBuf>,
}

impl Family {
    /// A family that dies with the bench, also by Ctrl-C or SIGTERM. (kill -9 of the bench leaves orphans:
    /// asking the kernel to prevent that needs unsafe code between fork and exec.)
    pub(super) fn new() -> Result<Self> {
        let family = Self::default();
        let watched = family.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = std::thread::Builder::new().name("bench-signals".to_owned());
        signals
            .spawn(move || {
                runtime.block_on(crate::serve::wait_for_the_end());
                watched.end_all();
                std::process::exit(130);
            })
            .context("starting the thread that waits for signals")?;
        Ok(family)
    }

    fn end_all(&self) {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in &members.pids {
            let _ = signal(*pid, Signal::KILL);
        }
        for folder in &members.folders {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// A folder to remove when the bench is ended by a signal.
    pub(super) fn owns(&self, folder: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).folders.push(folder.to_owned());
    }

    fn add(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pids.push(pid);
    }

    fn remove(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pids.retain(|known| *known != pid);
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let id =
        i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| anyhow!("{pid} is no process id"))?;
    kill_process(id, signal).with_context(|| format!("sending a signal to process {pid}"))
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    family: Family,
}

impl Process {
    /// Starts a child whose words go to the end of a log file. Standard output too, unless it is piped.
    pub(super) fn start(
        family: &Family,
        name: &'static str,
        command: &mut Command,
        log: &Path,
    ) -> Result<Self> {
        let doing = || format!("starting {name}, log {}", log.display());
        let file = File::options().create(true).append(true).open(log).with_context(doing)?;
        command.stderr(file.try_clone().with_context(doing)?);
        let child = command.spawn().with_context(|| format!("starting {name}: {command:?}"))?;
        family.add(child.id());
        Ok(Self { name, child, log: log.to_owned(), family: family.clone() })
    }

    /// Starts a child that says nothing to us: both outputs go to the log.
    pub(super) fn start_quiet(
        family: &Family,
        name: &'static str,
        command: &mut Command,
        log: &Path,
    ) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.with_context(|| format!("opening log {}", log.display()))?;
        Self::start(family, name, command.stdin(Stdio::null()).stdout(out), log)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails when the child has ended by itself, with its last words.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("looking after {}", self.name))? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended by itself ({status}); its log ends:\n{}", self.name, self.last_words())
            }
        }
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// kill -9, and gone when it returns: its locks and ports are free.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.family.remove(self.child.id());
    }

    /// SIGTERM, then at most `patience` for it to go. Returns how long it took.
    pub(super) fn terminate(&mut self, patience: Duration) -> Result<Duration> {
        let started = Instant::now();
        signal(self.child.id(), Signal::TERM)?;
        while started.elapsed() < patience {
            if self.child.try_wait().with_context(|| format!("waiting for {}", self.name))?.is_some() {
                return Ok(started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} was still there {} s after SIGTERM", self.name, patience.as_secs())
    }

    /// Waits for the child to end well.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            match self.child.try_wait().with_context(|| format!("waiting for {}", self.name))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} failed ({status}):\n{}", self.name, self.last_words()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        bail!("{} did not end within {} s:\n{}", self.name, patience.as_secs(), self.last_words())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processor time of a process, seconds: all of it, and by the name of the thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpu {
    pub(super) total_s: f64,
    threads: Vec<(String, f64)>,
}

impl Cpu {
    /// What a process has used up to now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let stat = format!("/proc/{pid}/stat");
        let total_s =
            stat_seconds(&std::fs::read_to_string(&stat).with_context(|| format!("reading {stat}"))?);
        let mut threads = Vec::new();
        let tasks =
            std::fs::read_dir(format!("/proc/{pid}/task")).context("reading the threads of a child")?;
        for task in tasks.filter_map(Result::ok) {
            // A thread may end between the two looks.
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let seconds = thread_seconds(&task.path());
            threads.push((name.trim().to_owned(), seconds));
        }
        Ok(Self { total_s, threads })
    }

    /// Seconds of all threads whose name begins so.
    pub(super) fn of_threads(&self, prefix: &str) -> f64 {
        self.threads.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, s)| s).sum()
    }
}

/// utime + stime of a line of /proc/…/stat.
fn stat_seconds(line: &str) -> f64 {
    // The name in parentheses may hold blanks.
    let rest = line.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |place: usize| rest.split_whitespace().nth(place).and_then(|word| word.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / TICKS
}

/// Nanoseconds where the kernel counts them, ticks of 10 ms else.
fn thread_seconds(task: &Path) -> f64 {
    let nanoseconds = std::fs::read_to_string(task.join("schedstat")).ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    match nanoseconds {
        Some(nanoseconds) if nanoseconds > 0.0 => nanoseconds / 1e9,
        _ => std::fs::read_to_string(task.join("stat")).map_or(0.0, |line| stat_seconds(&line)),
    }
}

/// Memory of a process, MiB: now, and at most so far.
pub(super) fn memory_mib(pid: u32) -> Result<(f64, f64)> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok((line("VmRSS:").unwrap_or(0.0) / 1024.0, line("VmHWM:").unwrap_or(0.0) / 1024.0))
}
