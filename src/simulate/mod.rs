//! `simulate`: the city against a broker, or into a recording.

mod control;

use std::io::{BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_model::wire::CANONICAL_FILTERS;
use lampguard_model::{Millis, Timestamp};
use lampguard_simulator::publish::PerPost;
use lampguard_simulator::scenario::{SHIPPED, shipped_names, start_of};
use lampguard_simulator::{City, Params, Run, Scenario, Shape, Simulation, publish, recording};
use tokio::sync::mpsc;

use crate::cli::{Clients, Simulate};
use crate::{UsageError, clock, limits, serve};

/// A shipped scenario by its name, else a file.
pub(crate) fn scenario(name: &str) -> Result<Scenario> {
    if SHIPPED.iter().any(|(shipped, _)| *shipped == name) {
        return Ok(Scenario::shipped(name)?);
    }
    let text = std::fs::read_to_string(name)
        .with_context(|| format!("reading scenario {name}; shipped ones are {}", shipped_names()))?;
    Scenario::parse(&text).map_err(|e| UsageError(format!("scenario {name}: {e}")).into())
}

/// What a city is made of: the shipped example, changed by a file, moved by up to a share.
pub(crate) fn params(file: Option<&Path>, redraw: Option<f64>, seed: u64) -> Result<Params> {
    let params = match file {
        None => Params::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("reading parameters {}", file.display()))?;
            Params::parse(&text).map_err(|e| UsageError(format!("parameters {}: {e}", file.display())))?
        }
    };
    Ok(redraw.map_or(params.clone(), |share| params.redrawn(seed, share)))
}

/// A new number for each run, so that a simulated sensor's running numbers never repeat.
pub(crate) fn boot() -> u32 {
    u32::try_from(clock::now().0 / 1000 % i64::from(u32::MAX)).unwrap_or(0).max(2)
}

/// Number of the devices' restart in a recording: the same seed gives the same bytes.
const BOOT_RECORDED: u32 = 20_000;

pub(crate) fn run(asked: &Simulate) -> Result<()> {
    if asked.list {
        return list();
    }
    if let Some(name) = &asked.print {
        return print(name);
    }
    check(asked)?;
    let wanted = &asked.city;
    let scenario = scenario(&wanted.scenario)?;
    let params = params(wanted.params.as_deref(), wanted.redraw, wanted.seed)?;
    let city = Arc::new(City::with_params(wanted.posts, wanted.seed, &scenario, &params)?);
    if let Some(path) = &wanted.posts_out {
        std::fs::write(path, city.register_csv())
            .with_context(|| format!("writing register {}", path.display()))?;
        eprintln!("register of {} posts in {}", wanted.posts, path.display());
    }
    let (start, boot) = match (&asked.out, wanted.start.as_deref()) {
        (None, _) => (clock::now() + Millis::seconds(i64::from(asked.connections.start_in)), boot()),
        (Some(_), Some("now")) => (clock::now(), BOOT_RECORDED),
        (Some(_), Some(text)) => {
            let wrong = || {
                UsageError(format!(
                    "--start {text}: not RFC 3339 with an offset, from 2020 to 2088, as 2025-10-11T12:00:00+08:00"
                ))
            };
            (start_of(text).ok_or_else(wrong)?, BOOT_RECORDED)
        }
        (Some(_), None) => (scenario.starts()?, BOOT_RECORDED),
    };
    let usual_s = if asked.out.is_some() { (scenario.hours * 3600.0) as i64 } else { 86_400 };
    let run = Run { seed: wanted.seed, speed: wanted.speed, boot, start };
    let simulation = Simulation::new(city, scenario, run)?;
    let duration_s = wanted.duration.map_or(usual_s, |s| i64::try_from(s).unwrap_or(i64::MAX / 2000));
    let until = start + Millis::seconds(duration_s);
    if let Some(path) = &wanted.truth {
        let mut out = create(path, "truth")?;
        recording::write_truth(&mut out, &simulation.truth(until))?;
        out.flush().with_context(|| format!("writing truth {}", path.display()))?;
    }
    if let Some(path) = &asked.out {
        return record(simulation, until, path);
    }
    let Some(url) = asked.broker.as_deref() else { bail!("give --broker or --out") };
    if simulation.scenario().vendor_payloads {
        tell_mappings();
    }
    let options = options(url, asked)?;
    serve::runtime()?.block_on(publish_to(options, asked, simulation))
}

fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, _) in SHIPPED {
        let scenario = Scenario::shipped(name)?;
        writeln!(out, "{name:<22}{:>6} h  {}", scenario.hours, scenario.about)?;
    }
    Ok(())
}

fn print(name: &str) -> Result<()> {
    let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text);
    let text = shipped.or((name == "params").then_some(lampguard_simulator::params::SHIPPED));
    let text = text.ok_or_else(|| {
        UsageError(format!("nothing shipped is called {name:?}; there are params, {}", shipped_names()))
    })?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A recording, with its progress on a terminal.
fn record(mut simulation: Simulation, until: Timestamp, path: &Path) -> Result<()> {
    let mut out = create(path, "recording")?;
    let terminal = std::io::stderr().is_terminal();
    let (started, mut told) = (Instant::now(), Instant::now());
    let (from, posts) = (simulation.run().start, simulation.city().posts().len());
    let counts = recording::record(&mut simulation, until, &mut out, |counts, at| {
        if terminal && told.elapsed() >= Duration::from_millis(500) {
            told = Instant::now();
            eprint!("\r{at}  {} readings ", counts.readings);
        }
    })?;
    out.flush().with_context(|| format!("writing recording {}", path.display()))?;
    let days = until.since(from).0 as f64 / 86.4e6 * posts as f64;
    eprintln!(
        "{}{} readings, {} weather messages of {posts} posts in {}: {days:.0} post-days, {:.0} a second",
        if terminal { "\r" } else { "" },
        counts.readings,
        counts.weather,
        path.display(),
        days / started.elapsed().as_secs_f64()
    );
    let odd = [
        ("delivered twice", counts.duplicates),
        ("out of order", counts.out_of_order),
        ("false values", counts.false_values),
        ("broken payloads", counts.broken),
        ("held back", counts.held_back),
        ("lost", counts.lost),
        ("retained leftovers", counts.leftovers),
    ];
    let odd: Vec<String> =
        odd.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}")).collect();
    if !odd.is_empty() {
        eprintln!("{}", odd.join("  "));
    }
    Ok(())
}

/// Foreign payloads need mappings where they are received.
fn tell_mappings() {
    eprintln!(
        "this scenario speaks foreign payloads; the receiving instance needs, under its listener or broker:"
    );
    for (filter, profile) in
        CANONICAL_FILTERS.iter().map(|filter| (*filter, "lampguard")).chain(Shape::MAPPINGS)
    {
        eprintln!("[[listener.mapping]]\nfilter = \"{filter}\"\nprofile = \"{profile}\"");
    }
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
    if asked.out.is_none() && asked.city.start.is_some() {
        let text = "--start is for --out: a broker is told of the city as it is now";
        return Err(UsageError(text.to_owned()).into());
    }
    if asked.out.is_some() && (it.clients == Clients::Posts || it.mqtt5 || it.start_in > 0) {
        let text = "a recording has no connections: leave --clients, --mqtt5 and --start-in out";
        return Err(UsageError(text.to_owned()).into());
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
    options.mqtt5 = wanted.mqtt5;
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
    let posts = u32::try_from(simulation.city().posts().len()).unwrap_or(u32::MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_payloads_of_the_city_are_those_that_a_back_test_reads() {
        let read: Vec<(String, String)> = lampguard_ingester::Offline::mappings()
            .iter()
            .filter_map(|mapping| Some((mapping.filter.clone(), mapping.profile.as_ref()?.name().to_owned())))
            .collect();
        for (filter, profile) in Shape::MAPPINGS {
            assert!(read.contains(&(filter.to_owned(), profile.to_owned())), "{filter} {profile}: {read:?}");
        }
    }
}
