//! `bench burst`: how much goes in, and what a million readings cost.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use super::Path;
use super::measure::{Load, PATIENCE, Sample, Shape, Stage, Talker, Tools, Wanted, disk_row, memory_row};
use super::peer::Peer;
use super::process::Cpu;
use super::row::{Report, Row, median, medians};
use super::services::metric;

/// Options of `bench burst`.
#[derive(Debug, Args)]
pub(super) struct Burst {
    /// Readings in one round.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1000..=50_000_000))]
    readings: u64,
    /// Posts they come from.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    posts: u64,
    /// Which way in.
    #[arg(long, value_enum, default_value = "both")]
    path: Path,
    /// Data directories in memory (/dev/shm): what the disk costs is the difference.
    #[arg(long)]
    tmpfs: bool,
    /// Rounds; every contestant runs in each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Unacknowledged messages of the load.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    window: u64,
    /// Connections of the load.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    connections: u64,
    /// The load speaks MQTT 5 instead of 3.1.1.
    #[arg(long)]
    mqtt5: bool,
    /// Also write to a real VictoriaMetrics (the comparison with a peer always does).
    #[arg(long)]
    database: bool,
    /// A peer to run against, called as `python3 FILE MQTT_PORT DATABASE_PORT batch`; PY names the python.
    #[arg(long, value_name = "FILE")]
    peer_script: Option<PathBuf>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs every contestant in each round, interleaved, and prints rows, medians and ratios.
pub(super) fn run(options: &Burst) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let tools = Tools::find(options.tmpfs)?;
    let broker = options.path.has(Path::Broker) && is_there(&tools, &mut report)?;
    let peer = match options.peer_script.as_deref().filter(|_| broker).map(Peer::find) {
        Some(Ok(peer)) => Some(peer),
        Some(Err(reason)) => {
            report.row(
                &Row::of("burst").text("row", "peer").text("note", format!("peer not present: {reason:#}")),
            )?;
            None
        }
        None => None,
    };
    if let (Err(note), true) = (&tools.victoria_metrics, options.database || peer.is_some()) {
        report.row(&Row::of("burst").text("row", "victoria-metrics").text("note", note))?;
    }
    let (mut listener, mut ours, mut raw, mut peers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let mut print = |rows: &mut Vec<Row>, row: Row| -> Result<()> {
            let row = Row::of("burst").number("round", round as f64).with(row);
            report.row(&row)?;
            rows.push(row);
            Ok(())
        };
        if options.path.has(Path::Listener) {
            print(&mut listener, lampguard(options, &tools, Path::Listener, false)?)?;
        }
        if broker {
            print(&mut ours, lampguard(options, &tools, Path::Broker, peer.is_some())?)?;
            if let Some(peer) = &peer {
                print(&mut peers, peer.measure(&tools, &shape(options, true))?)?;
            }
            print(&mut raw, raw_consumer(options, &tools, peer.is_some())?)?;
        }
    }
    for rows in [&listener, &ours, &peers, &raw] {
        if let Some(row) = medians(rows) {
            report.row(&row)?;
        }
    }
    if let Some(row) = ratio(&ours, &peers) {
        report.row(&row)?;
    }
    Ok(())
}

/// Whether the broker path can be measured; says so if not.
pub(super) fn is_there(tools: &Tools, report: &mut Report) -> Result<bool> {
    if let Err(note) = &tools.mosquitto {
        report.row(&Row::default().text("row", "mosquitto").text("note", note))?;
    }
    Ok(tools.mosquitto.is_ok())
}

fn shape(options: &Burst, both: bool) -> Shape {
    Shape {
        readings: options.readings,
        posts: options.posts,
        boot: 2,
        window: options.window,
        connections: options.connections,
        rate: 0.0,
        alarms: 0,
        both,
        mqtt5: options.mqtt5,
    }
}

fn lampguard(options: &Burst, tools: &Tools, path: Path, with_peer: bool) -> Result<Row> {
    let database = options.database || with_peer;
    // Without a real database the peer's counterpart is the same stub that the peer writes to.
    let stub = match &tools.victoria_metrics {
        Err(_) if database => Some(super::stub::database()?.0),
        _ => None,
    };
    let broker = path == Path::Broker;
    let wanted = Wanted { lampguard: true, broker, database, stub, ..Wanted::default() };
    let mut stage = Stage::set(tools, options.posts, wanted)?;
    let shape = shape(options, with_peer);
    let warm = stage.warm_up(&shape)?;
    let disk = disk_row(&stage.site.dir)?;
    let mut load = Load::prepare(&stage.site, stage.mqtt_port(), &shape)?;
    let from = Sample::take(&stage)?;
    load.go()?;
    // A broker acknowledges by itself, so there the books tell when the last one is durable.
    let early = if broker { None } else { Some(load.result()?) };
    if broker {
        stage.wait_for_stored(warm + options.readings)?;
    }
    let done = Sample::take(&stage)?;
    let found = load.finish(early)?;
    stage.lampguard()?.wait_for_followers(PATIENCE)?;
    let end = Sample::take(&stage)?;
    stage.check_books(warm + options.readings)?;
    let wall_s = if broker { from.seconds_to(&done) } else { found.wall_s };
    Ok(Row::default()
        .text("row", if broker { "lampguard-broker" } else { "lampguard-listener" })
        .text("mqtt", if options.mqtt5 { "5" } else { "3.1.1" })
        .text("data", tools.disk())
        .text("database", database_word(&stage))
        .number("readings", options.readings as f64)
        .number("posts", options.posts as f64)
        .number("stored", options.readings as f64)
        .number("wall_s", wall_s)
        .number("rate_per_s", options.readings as f64 / wall_s)
        .with(from.cpu_row(&done, &end, options.readings))
        .with(from.services_row(&end, &stage, options.readings))
        .number("history_waiting", history_waiting(&mut stage)?)
        .with(memory_row(stage.lampguard()?.process.pid())?)
        .with(found.row())
        .with(disk)
        .with(from.machine_row(&end, found.cpu_s)?))
}

/// Readings that the history still holds in memory; it writes at least once a minute, and what these cost
/// is not in its figure.
fn history_waiting(stage: &mut Stage) -> Result<f64> {
    Ok(metric(&stage.lampguard()?.metrics()?, "lampguard_history_pending_rows").unwrap_or(0.0))
}

/// The word for what the readings are written to besides journal and history.
pub(super) fn database_word(stage: &Stage) -> &'static str {
    match (&stage.database, stage.plan.database) {
        (Some(_), _) => "victoria-metrics",
        (None, Some(_)) => "stub",
        (None, None) => "none",
    }
}

/// A consumer that only acknowledges: what the broker path costs anybody.
fn raw_consumer(options: &Burst, tools: &Tools, with_peer: bool) -> Result<Row> {
    let stage = Stage::set(tools, options.posts, Wanted { broker: true, ..Wanted::default() })?;
    let mut command = Command::new(std::env::current_exe().context("finding our own program")?);
    command.args(["bench", "sink", "--from", &format!("127.0.0.1:{}", stage.mqtt_port())]);
    let mut sink =
        Talker::start(&stage.site, "sink", command.args(["--expect", &options.readings.to_string()]))?;
    let mut load = Load::prepare(&stage.site, stage.mqtt_port(), &shape(options, with_peer))?;
    let (from, before) = (Sample::take(&stage)?, Cpu::of(sink.process.pid())?);
    load.go()?;
    sink.line()?;
    let done = Sample::take(&stage)?;
    let used_s = Cpu::of(sink.process.pid())?.total_s - before.total_s;
    let found = load.finish(None)?;
    let end = Sample::take(&stage)?;
    let wall_s = from.seconds_to(&done);
    Ok(Row::default()
        .text("row", "raw-consumer")
        .number("readings", options.readings as f64)
        .number("posts", options.posts as f64)
        .number("wall_s", wall_s)
        .number("rate_per_s", options.readings as f64 / wall_s)
        .number("cpu_s_per_M", used_s / options.readings as f64 * 1e6)
        .with(from.services_row(&end, &stage, options.readings))
        .with(found.row())
        .with(from.machine_row(&end, found.cpu_s + used_s)?))
}

/// The peer's processor time in ours, pair by pair: against all we do, against what the peer does too (way
/// and database, without our embedded history), and against the way alone.
fn ratio(ours: &[Row], peers: &[Row]) -> Option<Row> {
    let mut row = Row::of("burst").text("row", "ratio").text("of", "peer cpu_s_per_M / lampguard");
    for (name, keys) in [
        ("all", &["cpu_s_per_M"][..]),
        ("way_and_database", &["way_cpu_s_per_M", "tsdb"]),
        ("way", &["way_cpu_s_per_M"]),
    ] {
        let pairs = ours.iter().zip(peers);
        let mut ratios: Vec<f64> = pairs
            .filter_map(|(ours, peer)| {
                let cost: f64 = keys.iter().filter_map(|key| ours.get(key)).sum();
                Some(peer.get("cpu_s_per_M")? / cost)
            })
            .collect();
        let middle = median(&mut ratios);
        let range = format!("{:.2}..{:.2}", ratios.first()?, ratios.last()?);
        row = row.number(name, middle).text(&format!("{name}_range"), range);
    }
    Some(row)
}
