//! `simulate`: the city against a broker, or into a recording.

mod control;

use std::io::{BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_model::Millis;
use lampguard_simulator::publish::PerPost;
use lampguard_simulator::{City, Run, Scenario, Simulation, publish, recording};
use tokio::sync::mpsc;

use crate::cli::{Clients, Simulate};
use crate::{UsageError, clock, limits, serve};

/// A shipped scenario by its name, else a file.
pub(crate) fn scenario(name: &str) -> Result<Scenario> {
    let shipped: Vec<&str> = lampguard_simulator::scenario::SHIPPED.iter().map(|(name, _)| *name).collect();
    if shipped.contains(&name) {
        return Ok(Scenario::shipped(name)?);
    }
    let text = std::fs::read_to_string(name)
        .with_context(|| format!("reading scenario {name}; shipped ones are {}", shipped.join(", ")))?;
    Scenario::parse(&text).map_err(|e| UsageError(format!("scenario {name}: {e}")).into())
}

/// A new number for each run, so that a simulated sensor's running numbers never repeat.
pub(crate) fn boot() -> u32 {
    u32::try_from(clock::now().0 / 1000 % i64::from(u32::MAX)).unwrap_or(0).max(2)
}

pub(crate) fn run(asked: &Simulate) -> Result<()> {
    check(asked)?;
    let wanted = &asked.city;
    let scenario = scenario(&wanted.scenario)?;
    let city = Arc::new(City::new(wanted.posts, wanted.seed, &scenario)?);
    if let Some(path) = &wanted.posts_out {
        std::fs::write(path, city.register_csv())
            .with_context(|| format!("writing register {}", path.display()))?;
        eprintln!("register of {} posts in {}", wanted.posts, path.display());
    }
    let start = clock::now() + Millis::seconds(i64::from(asked.connections.start_in));
    let run = Run { seed: wanted.seed, speed: wanted.speed, boot: boot(), start };
    let mut simulation = Simulation::new(city, scenario, run)?;
    let duration_s = wanted.duration.and_then(|s| i64::try_from(s).ok()).unwrap_or(86_400);
    let until = start + Millis::seconds(duration_s);
    if let Some(path) = &wanted.truth {
        let mut out = create(path, "truth")?;
        recording::write_truth(&mut out, &simulation.truth(until))?;
        out.flush().with_context(|| format!("writing truth {}", path.display()))?;
    }
    if let Some(path) = &asked.out {
        let mut out = create(path, "recording")?;
        let terminal = std::io::stderr().is_terminal();
        let counts = recording::record(&mut simulation, until, &mut out, |counts, at| {
            if terminal {
                eprint!("\r{at}  {counts:?}");
            }
        })?;
        out.flush().with_context(|| format!("writing recording {}", path.display()))?;
        eprintln!("{}{counts:?} in {}", if terminal { "\r" } else { "" }, path.display());
        return Ok(());
    }
    let Some(url) = asked.broker.as_deref() else { bail!("give --broker or --out") };
    let options = options(url, asked)?;
    serve::runtime()?.block_on(publish_to(options, asked, simulation))
}

/// Refuses options that say nothing together.
fn check(asked: &Simulate) -> Result<()> {
    let it = &asked.connections;
    let of_posts =
        it.connections.is_some() || it.connects_per_s.is_some() || it.herd || it.keep_alive_s.is_some();
    if of_posts && it.clients != Clients::Posts {
        let text = "--connections, --connects-per-s, --herd and --keep-alive-s are for --clients posts";
        return Err(UsageError(text.to_owned()).into());
    }
    if it.gateways.is_some() && it.clients == Clients::Posts {
        return Err(UsageError("--gateways is for --clients gateways".to_owned()).into());
    }
    if asked.out.is_some() && (it.clients == Clients::Posts || it.start_in > 0) {
        return Err(
            UsageError("a recording has no connections: leave --clients and --start-in out".into()).into()
        );
    }
    asked.live.control.map_or(Ok(()), |address| Ok(control::check(address)?))
}

fn create(path: &Path, what: &str) -> Result<BufWriter<std::fs::File>> {
    let file = std::fs::File::create(path).with_context(|| format!("making {what} {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn options(url: &str, asked: &Simulate) -> Result<publish::Options> {
    let mut options = publish::Options::new(url)?;
    let wanted = &asked.connections;
    options.gateways = wanted.gateways.unwrap_or(options.gateways);
    if wanted.clients == Clients::Posts {
        let usual = PerPost::default();
        let per_post = PerPost {
            connections: wanted.connections,
            connects_per_s: wanted.connects_per_s.unwrap_or(usual.connects_per_s),
            herd: wanted.herd,
            keep_alive_s: wanted.keep_alive_s.unwrap_or(usual.keep_alive_s),
        };
        let connections = per_post.connections(asked.city.posts as usize) as u64;
        let bound = limits::bound(connections);
        if bound.connections() < connections {
            bail!(
                "{connections} connections: at most {} can be had, {bound}; or take --connections {0}",
                bound.connections()
            );
        }
        options.per_post = Some(per_post);
    }
    options.username.clone_from(&asked.username);
    if let Some(file) = &asked.password_file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("reading password {}", file.display()))?;
        options.password = text.lines().next().map(str::to_owned);
    }
    Ok(options)
}

/// Opens live control for a simulation where it is asked for: the address, and what the city has to obey.
pub(crate) async fn control(
    address: Option<SocketAddr>,
    simulation: &Simulation,
) -> Result<(Option<SocketAddr>, Option<mpsc::Receiver<publish::Order>>)> {
    let Some(address) = address else { return Ok((None, None)) };
    let scenario = simulation.scenario();
    let posts = u32::try_from(simulation.statuses().count()).unwrap_or(u32::MAX);
    let facts = control::Facts { posts, scenario: scenario.name.clone(), speed: scenario.speed };
    let (address, orders) = control::start(address, facts).await?;
    Ok((Some(address), Some(orders)))
}

async fn publish_to(options: publish::Options, asked: &Simulate, simulation: Simulation) -> Result<()> {
    let duration = asked.city.duration.map(Duration::from_secs);
    let shutdown = async move {
        match duration {
            Some(duration) => tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = serve::wait_for_the_end() => {}
            },
            None => serve::wait_for_the_end().await,
        }
    };
    let (address, orders) = control(asked.live.control, &simulation).await?;
    if let Some(address) = address {
        eprintln!("live control: curl -s http://{address}/");
    }
    let terminal = std::io::stderr().is_terminal();
    let mut told = Instant::now();
    let progress = move |report: &publish::Report| {
        if terminal && told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            eprint!(
                "\rsent {}  acknowledged {}  connected {} of {}  dropped {} ",
                report.sent, report.acknowledged, report.connected, report.connections, report.dropped
            );
        }
    };
    let report = publish::run(options, simulation, orders, clock::now, progress, shutdown).await?;
    eprintln!(
        "{}sent {}  acknowledged {}  repeated {}  unacknowledged {}  dropped {}",
        if terminal { "\r" } else { "" },
        report.sent,
        report.acknowledged,
        report.repeated,
        report.unacknowledged(),
        report.dropped
    );
    Ok(())
}
