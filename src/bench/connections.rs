//! `bench connections`: how many sensors can be connected at once, and what one costs on both sides.
//!
//! ```text
//!  1 server: our own `serve`, or a real Mosquitto         4 idle: nobody reports, only keep-alives go to and fro
//!  2 client: `simulate --clients posts`, one process      5 load: each post reports once in its period
//!  3 connect at a given pace, until all are up            6 end, and the books of our own server
//! ```
//! Memory of one connection is the growth of VmRSS over the connections that came meanwhile; what the kernel keeps
//! for its sockets is not in it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use ureq::Agent;

use super::machine::Moment;
use super::measure::Tools;
use super::process::{Cpu, Process, memory_mib};
use super::row::{Report, Row};
use super::services::{Accounting, LOOK, Lampguard, Mosquitto, agent, get, ourselves, wait_for};
use super::site::{Place, Plan, Site, free_ports};
use crate::limits;

/// Connecting is over when no connection came up for this long.
const STUCK: Duration = Duration::from_secs(15);
/// Between the planned end of connecting and the idle time, and again before the first report, seconds.
const SLACK_S: u64 = 2;
/// Shortest keep-alive, seconds: in a short run one and a half of a few seconds would cut late pings.
const KEEP_ALIVE_MIN_S: u64 = 10;
/// Longest end of the client: it waits 3 s for acknowledgements.
const END: Duration = Duration::from_secs(20);

/// Options of `bench connections`.
#[derive(Debug, Args)]
pub(super) struct Connections {
    /// Connections that are asked for.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Who is connected to.
    #[arg(long, value_enum, default_value_t = Against::Both)]
    against: Against,
    /// How long idle, and how long under load; also the keep-alive (10 at least), so that every connection pings
    /// once in each of the two.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Connects a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connects_per_s: u32,
    /// Scenario of the city, by file or name: its period is the load.
    #[arg(long, default_value = "autumn_rain")]
    scenario: String,
    /// Speak MQTT 5; without it 3.1.1.
    #[arg(long)]
    mqtt5: bool,
    /// Data directory in memory.
    #[arg(long)]
    tmpfs: bool,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Connections {
    fn keep_alive_s(&self) -> u64 {
        self.seconds.max(KEEP_ALIVE_MIN_S)
    }
}

/// Who is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The built-in listener.
    Listener,
    /// A real Mosquitto.
    Mosquitto,
    /// One after the other.
    Both,
}

/// Runs each side that is asked for.
pub(super) fn run(options: &Connections) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let tools = Tools::find(options.tmpfs)?;
    if options.against != Against::Mosquitto {
        report.row(&measure(options, &tools, None, &report)?)?;
    }
    if options.against != Against::Listener {
        match &tools.mosquitto {
            Ok(program) => report.row(&measure(options, &tools, Some(program), &report)?)?,
            Err(reason) => {
                report.row(&Row::of("connections").text("row", "mosquitto").text("left_out", reason))?;
            }
        }
    }
    Ok(())
}

/// What is connected to.
enum Server {
    Lampguard(Box<Lampguard>),
    Mosquitto(Mosquitto),
}

impl Server {
    fn process(&mut self) -> &mut Process {
        match self {
            Self::Lampguard(lampguard) => &mut lampguard.process,
            Self::Mosquitto(mosquitto) => &mut mosquitto.process,
        }
    }
}

fn measure(
    options: &Connections,
    tools: &Tools,
    mosquitto: Option<&PathBuf>,
    report: &Report,
) -> Result<Row> {
    let bound = limits::bound(u64::from(options.count));
    let count = u64::from(options.count).min(bound.connections());
    let site = Site::make(&tools.family, if tools.tmpfs { Place::Tmpfs } else { Place::Disk })?;
    std::fs::write(params(&site), ALL_MEASURED).context("writing the city's parameters")?;
    let [web, mqtt, control] = free_ports()?;
    let mut server = match mosquitto {
        Some(program) => Server::Mosquitto(Mosquitto::start(&site, program, mqtt)?),
        None => {
            let plan =
                Plan { posts: 1, web, listener: Some(mqtt), connections: Some(count), ..Plan::default() };
            site.configure(&plan)?;
            register(&site, options, count)?;
            Server::Lampguard(Box::new(Lampguard::start(&site, &plan)?))
        }
    };
    let from = Moment::now()?;
    let server_before = Usage::of(server.process())?;
    report.progress(format!("{count} connections at {} a second", options.connects_per_s));
    let mut client = Client::start(&site, options, count, mqtt, control)?;
    let (mut row, first, up) = client.connect(count, server.process())?;
    let limited = match (up.connections.up == count, count < u64::from(options.count)) {
        (true, false) => None,
        (true, true) => Some(bound.to_string()),
        (false, _) => Some(client.stuck(server.process())),
    };
    std::thread::sleep(Duration::from_secs(1));
    let memory = Usage::of(server.process())?.memory_row("server", &server_before, up.connections.up).with(
        Usage::of(&mut client.process)?.memory_row(
            "client",
            &first.usage,
            up.connections.up.saturating_sub(first.state.connections.up),
        ),
    );
    report.progress(format!("{} up, {} s idle", up.connections.up, options.seconds));
    row = row.with(memory).with(client.phase("idle", options.seconds, server.process())?);
    client.wait_for_reports()?;
    report.progress(format!("{} s of reports", options.seconds));
    row = row.with(client.phase("load", options.seconds, server.process())?);
    let ours = Usage::of(server.process())?.cpu_s + Usage::of(&mut client.process)?.cpu_s;
    row = row.with(peak_row("server", server.process())?).with(peak_row("client", &mut client.process)?);
    row = row.with(client.finish(&mut server)?);
    let name = if mosquitto.is_some() { "mosquitto" } else { "lampguard-listener" };
    let mut whole = Row::of("connections")
        .text("row", name)
        .text("data", tools.disk())
        .number("asked", f64::from(options.count))
        .number("connections", up.connections.up as f64)
        .text("mqtt", if options.mqtt5 { "5" } else { "3.1.1" })
        .number("keep_alive_s", options.keep_alive_s() as f64)
        .number("files_max", limits::raise_files(0) as f64);
    if let Some(reason) = limited {
        whole = whole.text("limited_by", reason);
    }
    Ok(whole.with(row).with(from.row_since(ours - server_before.cpu_s)?))
}

/// A city in which every post has a sensor and no cabinet has one: as many connections as posts.
const ALL_MEASURED: &str = "[fleet]\nno_sensor = 0.0\ncabinet_sensors = 0.0\n";

fn params(site: &Site) -> PathBuf {
    site.dir.join("params.toml")
}

/// The register of the simulated city, in place of the bench's own.
fn register(site: &Site, options: &Connections, count: u64) -> Result<()> {
    let mut command = ourselves(site)?;
    command.args([
        "simulate",
        "--duration",
        "1",
        "--scenario",
        &options.scenario,
        "--posts",
        &count.to_string(),
    ]);
    command.arg("--params").arg(params(site));
    command.arg("--out").arg(site.dir.join("recording.jsonl"));
    command.arg("--posts-out").arg(site.dir.join("posts.csv"));
    let made = command.stdin(Stdio::null()).output().context("running `lampguard simulate --posts-out`")?;
    if made.status.success() {
        return Ok(());
    }
    bail!("`lampguard simulate --posts-out` failed: {}", String::from_utf8_lossy(&made.stderr))
}

/// What a process has used, at one moment.
#[derive(Clone, Copy, Debug)]
struct Usage {
    at: Instant,
    rss_kb: f64,
    cpu_s: f64,
}

impl Usage {
    fn of(process: &mut Process) -> Result<Self> {
        process.check()?;
        let (rss_mib, _) = memory_mib(process.pid())?;
        Ok(Self { at: Instant::now(), rss_kb: rss_mib * 1024.0, cpu_s: Cpu::of(process.pid())?.total_s })
    }

    /// Memory now, and what each of so many connections has added to it.
    fn memory_row(self, who: &str, before: &Self, connections: u64) -> Row {
        let grown = (self.rss_kb - before.rss_kb).max(0.0);
        Row::default()
            .number(&format!("{who}_kb_per_connection"), grown / connections.max(1) as f64)
            .number(&format!("{who}_rss_mib"), self.rss_kb / 1024.0)
    }

    /// Processor time since, and its share of one processor.
    fn cpu_row(self, phase: &str, who: &str, before: &Self) -> Row {
        let used = self.cpu_s - before.cpu_s;
        Row::default()
            .number(&format!("{phase}_{who}_cpu_s"), used)
            .number(&format!("{phase}_{who}_cpu_share"), used / (self.at - before.at).as_secs_f64())
    }
}

fn peak_row(who: &str, process: &mut Process) -> Result<Row> {
    process.check()?;
    let (now, peak) = memory_mib(process.pid())?;
    Ok(Row::default().number(&format!("{who}_loaded_rss_mib"), now).number(&format!("{who}_peak_mib"), peak))
}

/// The answer of `GET /state` of a simulated city, as far as it is needed here.
#[derive(Clone, Debug, Deserialize)]
struct State {
    connections: Links,
    counts: Counts,
    messages: Messages,
    behind_ms: i64,
}

#[derive(Clone, Debug, Deserialize)]
struct Links {
    up: u64,
    failures: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Counts {
    readings: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Messages {
    acknowledged: u64,
    dropped: u64,
    unacknowledged: u64,
}

/// The city, before most of its connections are there.
struct First {
    state: State,
    usage: Usage,
}

/// The simulated city as a child.
struct Client {
    process: Process,
    agent: Agent,
    url: String,
    reports_at: Instant,
    log: PathBuf,
}

impl Client {
    fn start(site: &Site, options: &Connections, count: u64, mqtt: u16, control: u16) -> Result<Self> {
        let connecting_s = count.div_ceil(u64::from(options.connects_per_s)) + SLACK_S;
        let start_in = connecting_s + options.seconds + SLACK_S;
        let mut command = ourselves(site)?;
        command.args(["simulate", "--clients", "posts", "--scenario", &options.scenario]);
        command.arg("--params").arg(params(site));
        let numbers = [
            ("--broker", format!("mqtt://127.0.0.1:{mqtt}")),
            ("--posts", count.to_string()),
            ("--connects-per-s", options.connects_per_s.to_string()),
            ("--keep-alive-s", options.keep_alive_s().to_string()),
            ("--start-in", start_in.to_string()),
            ("--control", format!("127.0.0.1:{control}")),
        ];
        for (name, value) in &numbers {
            command.args([*name, value]);
        }
        if options.mqtt5 {
            command.arg("--mqtt5");
        }
        let log = site.dir.join("simulate.log");
        let mut process = Process::start_quiet(&site.family, "simulate", &mut command, &log)?;
        let reports_at = Instant::now() + Duration::from_secs(start_in);
        let (agent, url) = (agent(), format!("http://127.0.0.1:{control}"));
        wait_for(&agent, &format!("{url}/state"), &mut process)?;
        Ok(Self { process, agent, url, reports_at, log })
    }

    fn state(&mut self) -> Result<State> {
        self.process.check()?;
        let (status, text) = get(&self.agent, &format!("{}/state", self.url), None)?;
        if status != 200 {
            bail!("GET /state of the simulated city answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("reading the state {text}"))
    }

    /// Waits until all are connected, or no more come.
    fn connect(&mut self, count: u64, server: &mut Process) -> Result<(Row, First, State)> {
        let first = First { state: self.state()?, usage: Usage::of(&mut self.process)? };
        let server_before = Usage::of(server)?;
        let (mut up, mut progress) = (first.state.clone(), Instant::now());
        while up.connections.up < count && progress.elapsed() < STUCK {
            std::thread::sleep(LOOK);
            let now = self.state()?;
            if now.connections.up > up.connections.up {
                progress = Instant::now();
            }
            up = now;
        }
        let took = (progress - first.usage.at).as_secs_f64().max(0.001);
        let came = up.connections.up.saturating_sub(first.state.connections.up);
        let row = Row::default()
            .number("connect_s", took)
            .number("connects_per_s", came as f64 / took)
            .number("link_failures", up.connections.failures as f64)
            .with(Usage::of(server)?.cpu_row("connect", "server", &server_before))
            .with(Usage::of(&mut self.process)?.cpu_row("connect", "client", &first.usage));
        Ok((row, first, up))
    }

    /// Why no more connections come, as far as the logs tell.
    fn stuck(&self, server: &Process) -> String {
        let last = |text: &str| text.lines().last().unwrap_or("").trim().to_owned();
        let ours = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!(
            "no connection came up for {} s; client: {}; server: {}",
            STUCK.as_secs(),
            last(&ours),
            last(&server.last_words())
        )
    }

    /// Lets a time go by and tells what it cost.
    fn phase(&mut self, name: &str, seconds: u64, server: &mut Process) -> Result<Row> {
        let (server_before, before) = (Usage::of(server)?, Usage::of(&mut self.process)?);
        let acknowledged = self.state()?.messages.acknowledged;
        // Idle time that would run into the reports is cut short; the row says how long it was.
        let left = self.reports_at.saturating_duration_since(Instant::now());
        let wanted = Duration::from_secs(seconds);
        std::thread::sleep(if name == "idle" { wanted.min(left) } else { wanted });
        let (server_after, after) = (Usage::of(server)?, Usage::of(&mut self.process)?);
        let state = self.state()?;
        let took = (after.at - before.at).as_secs_f64();
        Ok(Row::default()
            .number(&format!("{name}_s"), took)
            .number(
                &format!("{name}_messages_per_s"),
                (state.messages.acknowledged - acknowledged) as f64 / took,
            )
            .with(server_after.cpu_row(name, "server", &server_before))
            .with(after.cpu_row(name, "client", &before)))
    }

    fn wait_for_reports(&mut self) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(30);
        std::thread::sleep(self.reports_at.saturating_duration_since(Instant::now()));
        while self.state()?.messages.acknowledged == 0 {
            if Instant::now() > patience {
                return Err(anyhow!("no message was acknowledged: {:?}", self.state()?));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends the city; our own server's books must balance.
    fn finish(mut self, server: &mut Server) -> Result<Row> {
        let last = self.state()?;
        self.process.terminate(END)?;
        let row = Row::default()
            .number("readings", last.counts.readings as f64)
            .number("acknowledged", last.messages.acknowledged as f64)
            .number("unacknowledged", last.messages.unacknowledged as f64)
            .number("dropped", last.messages.dropped as f64)
            .number("failures_in_all", last.connections.failures as f64)
            .number("behind_ms", last.behind_ms as f64);
        let Server::Lampguard(lampguard) = server else { return Ok(row) };
        lampguard.wait_until("its books to balance", END, |it| {
            let books = it.accounting()?;
            Ok(books.balanced && books.pending == 0)
        })?;
        let Accounting { received, stored, duplicate, refused, .. } = lampguard.accounting()?;
        Ok(row
            .number("received", received as f64)
            .number("stored", stored as f64)
            .number("duplicate", duplicate as f64)
            .number("refused", refused.values().sum::<u64>() as f64))
    }
}
