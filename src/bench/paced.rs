//! `bench paced`: how long an acknowledgement takes at a fixed rate, and how long from reading to webhook.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::Path;
use super::burst::is_there;
use super::load::ALARM_ROUNDS;
use super::machine::DiskWatch;
use super::measure::{Load, PATIENCE, Sample, Shape, Stage, Tools, Wanted, disk_row, memory_row};
use super::row::{Report, Row, quantile};
use super::stub;

/// An alarm that has not come by then is counted as missing.
const ALARM_PATIENCE: Duration = Duration::from_secs(10);

/// Options of `bench paced`.
#[derive(Debug, Args)]
pub(super) struct Paced {
    /// Readings a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Posts they come from.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    posts: u64,
    /// Posts that become dangerous, each once, spread over the run.
    #[arg(long, default_value_t = 100)]
    alarms: u64,
    /// Which way in; through a broker the acknowledgement is the broker's own.
    #[arg(long, value_enum, default_value = "listener")]
    path: Path,
    /// Connections of the load.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    connections: u64,
    /// Data directory in memory.
    #[arg(long)]
    tmpfs: bool,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs each path that is asked for.
pub(super) fn run(options: &Paced) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let tools = Tools::find(options.tmpfs)?;
    if options.alarms > 0 && options.rate * options.seconds / options.posts < ALARM_ROUNDS {
        bail!(
            "--rate {} x --seconds {} gives each of {} posts less than {ALARM_ROUNDS} readings: too few for alarms; \
             take fewer --posts, more --seconds, or --alarms 0",
            options.rate,
            options.seconds,
            options.posts
        );
    }
    if options.path.has(Path::Listener) {
        report.row(&measure(options, &tools, Path::Listener)?)?;
    }
    if options.path.has(Path::Broker) && is_there(&tools, &mut report)? {
        report.row(&measure(options, &tools, Path::Broker)?)?;
    }
    Ok(())
}

fn measure(options: &Paced, tools: &Tools, path: Path) -> Result<Row> {
    let (webhook, told) = webhook()?;
    let broker = path == Path::Broker;
    let wanted = Wanted { lampguard: true, broker, webhook: Some(webhook), ..Wanted::default() };
    let mut stage = Stage::set(tools, options.posts, wanted)?;
    let readings = options.rate * options.seconds;
    let shape = Shape {
        readings,
        posts: options.posts,
        boot: 2,
        window: 4000,
        connections: options.connections,
        rate: options.rate as f64,
        alarms: options.alarms.min(options.posts),
        both: false,
        mqtt5: false,
    };
    let warm = stage.warm_up(&shape)?;
    let disk = disk_row(&stage.site.dir)?;
    let mut load = Load::prepare(&stage.site, stage.mqtt_port(), &shape)?;
    let from = Sample::take(&stage)?;
    let watch = DiskWatch::start(&stage.site.dir)?;
    load.go()?;
    let found = load.result()?;
    let meanwhile = watch.row()?;
    stage.wait_for_stored(warm + readings)?;
    let done = Sample::take(&stage)?;
    let found = load.finish(Some(found))?;
    let alarms = alarm_row(&found.alarms, &told);
    stage.lampguard()?.wait_for_followers(PATIENCE)?;
    let end = Sample::take(&stage)?;
    stage.check_books(warm + readings)?;
    Ok(Row::of("paced")
        .text("row", if broker { "lampguard-broker" } else { "lampguard-listener" })
        .text("data", tools.disk())
        .number("rate", options.rate as f64)
        .number("seconds", options.seconds as f64)
        .number("posts", options.posts as f64)
        .number("readings", readings as f64)
        .number("send_s", found.send_s)
        .with(found.row())
        .with(alarms)
        .with(from.cpu_row(&done, &end, readings))
        .with(from.services_row(&end, &stage, readings))
        .with(memory_row(stage.lampguard()?.process.pid())?)
        .with(disk)
        .with(meanwhile)
        .with(from.machine_row(&end, found.cpu_s)?))
}

/// When the first `incident.opened` of each post came in, milliseconds UTC.
type Told = Arc<Mutex<HashMap<String, f64>>>;

fn webhook() -> Result<(u16, Told)> {
    let told = Told::default();
    let kept = told.clone();
    let port = stub::start(move |request| {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0;
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        if let (Some("incident.opened"), Some(post)) =
            (body["event"].as_str(), body["incident"]["post_id"].as_str())
        {
            kept.lock().unwrap_or_else(PoisonError::into_inner).entry(post.to_owned()).or_insert(at);
        }
        ("200 OK", "{}")
    })?;
    Ok((port, told))
}

/// From the scheduled time of the reading that confirms the danger to the webhook.
fn alarm_row(expected: &[(String, f64)], told: &Told) -> Row {
    let until = Instant::now() + ALARM_PATIENCE;
    let took = loop {
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let took: Vec<f64> = expected.iter().filter_map(|(post, due)| Some(told.get(post)? - due)).collect();
        drop(told);
        if took.len() == expected.len() || Instant::now() > until {
            break took;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut took = took;
    took.sort_by(f64::total_cmp);
    Row::default()
        .number("alarms", expected.len() as f64)
        .number("told", took.len() as f64)
        .number("alarm_p50_ms", quantile(&took, 0.5))
        .number("alarm_p99_ms", quantile(&took, 0.99))
        .number("alarm_max_ms", took.last().copied().unwrap_or(f64::NAN))
}
