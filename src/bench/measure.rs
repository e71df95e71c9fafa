//! One contest: who is running, what the load found, what it cost whom.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::machine::{self, Moment};
use super::process::{Cpu, Family, Process, memory_mib};
use super::row::Row;
use super::services::{Database, Lampguard, Mosquitto, find_mosquitto, find_victoria_metrics};
use super::site::{Place, Plan, Site, free_ports};

/// Readings before the clock starts: connections, caches and allocations are not what is measured.
pub(super) const WARM_UP: u64 = 2000;
/// Longest wait for anything that a contest waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Threads that come behind the acknowledgement and the judge.
const FOLLOWERS: [&str; 4] = ["history", "tsdb", "quarantine", "incident-store"];
/// Threads on the way of a reading; what is left over is the runtime of the sockets.
const WAY: [&str; 3] = ["intake", "commit", "alerting"];

/// What is there to measure with.
pub(super) struct Tools {
    pub(super) family: Family,
    pub(super) mosquitto: Result<PathBuf, &'static str>,
    pub(super) victoria_metrics: Result<PathBuf, &'static str>,
    pub(super) tmpfs: bool,
}

impl Tools {
    pub(super) fn find(tmpfs: bool) -> Result<Self> {
        Ok(Self {
            family: Family::new()?,
            mosquitto: find_mosquitto(),
            victoria_metrics: find_victoria_metrics(),
            tmpfs,
        })
    }

    /// The word for where data directories are.
    pub(super) fn disk(&self) -> &'static str {
        if self.tmpfs { "tmpfs" } else { "disk" }
    }
}

/// How a load is to be.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) readings: u64,
    pub(super) posts: u64,
    pub(super) boot: u32,
    pub(super) window: u64,
    pub(super) connections: u64,
    pub(super) rate: f64,
    pub(super) alarms: u64,
    pub(super) both: bool,
    /// In MQTT 5 instead of 3.1.1.
    pub(super) mqtt5: bool,
}

/// What a load found.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Found {
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) wall_s: f64,
    pub(super) send_s: f64,
    pub(super) payload_bytes: f64,
    ack_p50_ms: Option<f64>,
    ack_p99_ms: Option<f64>,
    ack_max_ms: Option<f64>,
    pub(super) alarms: Vec<(String, f64)>,
    pub(super) cpu_s: f64,
}

impl Found {
    /// How long acknowledgements took.
    pub(super) fn row(&self) -> Row {
        let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
        Row::default()
            .number("ack_p50_ms", of(self.ack_p50_ms))
            .number("ack_p99_ms", of(self.ack_p99_ms))
            .number("ack_max_ms", of(self.ack_max_ms))
            .number("payload_bytes", self.payload_bytes)
    }
}

/// A child that talks to us by lines.
pub(super) struct Talker {
    pub(super) process: Process,
    lines: BufReader<ChildStdout>,
}

impl Talker {
    /// Starts it and waits for its word `ready`.
    pub(super) fn start(site: &Site, name: &'static str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&site.family, name, command, &site.dir.join(format!("{name}.log")))?;
        let out = process.child().stdout.take().with_context(|| format!("{name} has no standard output"))?;
        let mut talker = Self { process, lines: BufReader::new(out) };
        let word = talker.line()?;
        if word != "ready" {
            bail!("{name} said {word:?} instead of ready");
        }
        Ok(talker)
    }

    /// Its next line.
    pub(super) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).context("listening to a child")?;
        if line.is_empty() {
            bail!("a child ended without a word; its log ends:\n{}", self.process.last_words());
        }
        Ok(line.trim().to_owned())
    }

    /// Lets it go on.
    pub(super) fn go(&mut self) -> Result<()> {
        let input = self.process.child().stdin.as_mut().context("a child has no standard input")?;
        input.write_all(b"go\n").and_then(|()| input.flush()).context("starting the load")
    }
}

/// A load that is connected and has not begun.
pub(super) struct Load(Talker);

impl Load {
    pub(super) fn prepare(site: &Site, to: u16, shape: &Shape) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("finding our own program")?);
        command.args(["bench", "load", "--to", &format!("127.0.0.1:{to}")]);
        let numbers = [
            ("--readings", shape.readings.to_string()),
            ("--posts", shape.posts.to_string()),
            ("--boot", shape.boot.to_string()),
            ("--window", shape.window.to_string()),
            ("--connections", shape.connections.min(shape.posts).to_string()),
            ("--rate", shape.rate.to_string()),
            ("--alarms", shape.alarms.to_string()),
        ];
        for (name, value) in &numbers {
            command.args([*name, value]);
        }
        if shape.both {
            command.arg("--both");
        }
        if shape.mqtt5 {
            command.arg("--mqtt5");
        }
        Ok(Self(Talker::start(site, "load", &mut command)?))
    }

    pub(super) fn go(&mut self) -> Result<()> {
        self.0.go()
    }

    /// Waits until every reading is acknowledged.
    pub(super) fn result(&mut self) -> Result<Found> {
        let line = self.0.line()?;
        let found: Found =
            serde_json::from_str(&line).with_context(|| format!("reading what the load found: {line}"))?;
        if found.acked != found.sent {
            bail!("{} readings were sent and {} acknowledged", found.sent, found.acked);
        }
        Ok(found)
    }

    /// Waits for its end, and for its result if that is not there yet.
    pub(super) fn finish(mut self, found: Option<Found>) -> Result<Found> {
        let found = match found {
            Some(found) => found,
            None => self.result()?,
        };
        self.0.process.wait(Duration::from_secs(10))?;
        Ok(found)
    }
}

/// Whatever a contest runs, on one site.
pub(super) struct Stage {
    pub(super) lampguard: Option<Lampguard>,
    pub(super) broker: Option<Mosquitto>,
    pub(super) database: Option<Database>,
    pub(super) plan: Plan,
    pub(super) site: Site,
}

impl Stage {
    /// Sets up a fresh site with the services that are asked for; `webhook` and `stub` are ports of stubs.
    pub(super) fn set(tools: &Tools, posts: u64, wanted: Wanted) -> Result<Self> {
        let place = if tools.tmpfs { Place::Tmpfs } else { Place::Disk };
        let site = Site::make(&tools.family, place)?;
        let [web, mqtt, database] = free_ports()?;
        let mut plan = Plan {
            posts,
            web,
            listener: (!wanted.broker).then_some(mqtt),
            broker: wanted.broker.then_some(mqtt),
            database: wanted.stub,
            webhook: wanted.webhook,
            people: wanted.people,
            ..Plan::default()
        };
        let broker = match &tools.mosquitto {
            Ok(program) if wanted.broker => Some(Mosquitto::start(&site, program, mqtt)?),
            _ => None,
        };
        let database = match &tools.victoria_metrics {
            Ok(program) if wanted.database => {
                plan.database = Some(database);
                Some(Database::start(&site, program, database)?)
            }
            _ => None,
        };
        site.configure(&plan)?;
        let lampguard = if wanted.lampguard { Some(Lampguard::start(&site, &plan)?) } else { None };
        Ok(Self { lampguard, broker, database, plan, site })
    }

    /// Where readings go.
    pub(super) fn mqtt_port(&self) -> u16 {
        self.plan.listener.or(self.plan.broker).unwrap_or_default()
    }

    /// Lampguard, which this contest was set up with.
    pub(super) fn lampguard(&mut self) -> Result<&mut Lampguard> {
        self.lampguard.as_mut().context("no lampguard runs in this contest")
    }

    /// Waits until lampguard's books say that so many readings are stored.
    pub(super) fn wait_for_stored(&mut self, stored: u64) -> Result<()> {
        self.lampguard()?.wait_until(&format!("{stored} stored readings"), PATIENCE, |it| {
            Ok(it.accounting()?.stored >= stored)
        })
    }

    /// Sends some readings that do not count, and waits until they are through.
    pub(super) fn warm_up(&mut self, shape: &Shape) -> Result<u64> {
        let shape = Shape { readings: WARM_UP, rate: 0.0, alarms: 0, boot: 1, ..shape.clone() };
        let mut load = Load::prepare(&self.site, self.mqtt_port(), &shape)?;
        load.go()?;
        load.finish(None)?;
        self.wait_for_stored(WARM_UP)?;
        self.lampguard()?.wait_for_followers(PATIENCE)?;
        Ok(WARM_UP)
    }

    /// The books must say exactly what was sent, else the run is worth nothing.
    pub(super) fn check_books(&mut self, stored: u64) -> Result<()> {
        let books = self.lampguard()?.accounting()?;
        if books.stored != stored || !books.balanced || books.pending != 0 {
            bail!("{stored} readings were sent, but the accounting says {books:?}");
        }
        Ok(())
    }
}

/// Which services a contest needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) lampguard: bool,
    pub(super) broker: bool,
    /// A real VictoriaMetrics.
    pub(super) database: bool,
    /// Port of a stub database.
    pub(super) stub: Option<u16>,
    /// Port of a webhook's receiver.
    pub(super) webhook: Option<u16>,
    /// People whom it calls.
    pub(super) people: bool,
}

/// Processor time of everybody at one moment.
pub(super) struct Sample {
    at: Instant,
    machine: Moment,
    lampguard: Cpu,
    broker: Cpu,
    database: Cpu,
    bench: Cpu,
    /// Values that the database has taken.
    values: f64,
}

impl Sample {
    pub(super) fn take(stage: &Stage) -> Result<Self> {
        let of =
            |process: Option<&Process>| process.map_or(Ok(Cpu::default()), |process| Cpu::of(process.pid()));
        Ok(Self {
            at: Instant::now(),
            machine: Moment::now()?,
            lampguard: of(stage.lampguard.as_ref().map(|it| &it.process))?,
            broker: of(stage.broker.as_ref().map(|it| &it.process))?,
            database: of(stage.database.as_ref().map(|it| &it.process))?,
            bench: Cpu::of(std::process::id())?,
            values: stage.database.as_ref().map_or(Ok(0.0), Database::values)?,
        })
    }

    pub(super) fn seconds_to(&self, later: &Self) -> f64 {
        later.at.duration_since(self.at).as_secs_f64()
    }

    /// Load of the machine and what others took, when `more_s` went to children that are not in the samples.
    pub(super) fn machine_row(&self, end: &Self, more_s: f64) -> Result<Row> {
        let pairs = [
            (&self.lampguard, &end.lampguard),
            (&self.broker, &end.broker),
            (&self.database, &end.database),
            (&self.bench, &end.bench),
        ];
        let ours: f64 = pairs.iter().map(|(from, to)| to.total_s - from.total_s).sum();
        self.machine.row_since(ours + more_s)
    }

    /// Lampguard's processor seconds per million readings: all, the way to acknowledgement and judge, and
    /// each group of threads. `done` is when the last reading was durable, `end` when the followers were
    /// through. The runtime of the sockets counts up to `done`: later it only answers our own questions.
    pub(super) fn cpu_row(&self, done: &Self, end: &Self, readings: u64) -> Row {
        let per_million = |seconds: f64| seconds / readings as f64 * 1e6;
        let (from, to, done) = (&self.lampguard, &end.lampguard, &done.lampguard);
        let of = |prefix: &str, to: &Cpu| to.of_threads(prefix) - from.of_threads(prefix);
        let all_of = |names: &[&str], to: &Cpu| names.iter().map(|name| of(name, to)).sum::<f64>();
        let sockets = done.total_s - from.total_s - all_of(&WAY, done) - all_of(&FOLLOWERS, done);
        let way = sockets.max(0.0) + all_of(&WAY, to);
        let followers = all_of(&FOLLOWERS, to);
        let mut row = Row::default()
            .number("cpu_s_per_M", per_million(way + followers))
            .number("way_cpu_s_per_M", per_million(way))
            .number("sockets", per_million(sockets.max(0.0)));
        for name in WAY.iter().chain(&FOLLOWERS) {
            row = row.number(name, per_million(of(name, to)));
        }
        row
    }

    /// Processor seconds per million readings of the services around it.
    pub(super) fn services_row(&self, end: &Self, stage: &Stage, readings: u64) -> Row {
        let per_million = |from: &Cpu, to: &Cpu| (to.total_s - from.total_s) / readings as f64 * 1e6;
        let mut row = Row::default();
        if stage.broker.is_some() {
            row = row.number("broker_cpu_s_per_M", per_million(&self.broker, &end.broker));
        }
        if stage.database.is_some() {
            row = row.number("store_cpu_s_per_M", per_million(&self.database, &end.database));
            // A whole number: the store's own count has moved by exactly what was sent.
            row = row.number("values_per_reading", (end.values - self.values) / readings as f64);
        }
        row
    }
}

/// Memory of a process as a row.
pub(super) fn memory_row(pid: u32) -> Result<Row> {
    let (rss, peak) = memory_mib(pid)?;
    Ok(Row::default().number("rss_mib", rss).number("rss_peak_mib", peak))
}

/// The disk, measured now.
pub(super) fn disk_row(dir: &Path) -> Result<Row> {
    machine::disk_row(dir)
}
