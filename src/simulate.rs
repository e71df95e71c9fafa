//! `simulate`: the city against a broker, or into a recording.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_model::Millis;
use lampguard_simulator::{City, Run, Scenario, Simulation, publish, recording};

use crate::cli::Simulate;
use crate::{UsageError, clock, serve};

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
    let scenario = scenario(&asked.scenario)?;
    let city = Arc::new(City::new(asked.posts, asked.seed, &scenario)?);
    if let Some(path) = &asked.posts_out {
        std::fs::write(path, city.register_csv())
            .with_context(|| format!("writing register {}", path.display()))?;
        eprintln!("register of {} posts in {}", asked.posts, path.display());
    }
    let start = clock::now();
    let run = Run { seed: asked.seed, speed: asked.speed, boot: boot(), start };
    let mut simulation = Simulation::new(city, scenario, run)?;
    let until = start + Millis::seconds(asked.duration.and_then(|s| i64::try_from(s).ok()).unwrap_or(86_400));
    if let Some(path) = &asked.truth {
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
    publish_to(url, asked, simulation)
}

fn create(path: &Path, what: &str) -> Result<BufWriter<std::fs::File>> {
    let file = std::fs::File::create(path).with_context(|| format!("making {what} {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn publish_to(url: &str, asked: &Simulate, simulation: Simulation) -> Result<()> {
    let mut options = publish::Options::new(url)?;
    options.gateways = asked.gateways;
    options.username.clone_from(&asked.username);
    if let Some(file) = &asked.password_file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("reading password {}", file.display()))?;
        options.password = text.lines().next().map(str::to_owned);
    }
    let duration = asked.duration.map(Duration::from_secs);
    serve::runtime()?.block_on(async {
        let shutdown = async move {
            match duration {
                Some(duration) => tokio::select! {
                    () = tokio::time::sleep(duration) => {}
                    () = serve::wait_for_the_end() => {}
                },
                None => serve::wait_for_the_end().await,
            }
        };
        let terminal = std::io::stderr().is_terminal();
        let mut told = Instant::now();
        let progress = move |report: &publish::Report| {
            if terminal && told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                eprint!(
                    "\rsent {}  acknowledged {}  connected {}",
                    report.sent, report.acknowledged, report.connected
                );
            }
        };
        let report = publish::run(options, simulation, clock::now, progress, shutdown).await?;
        eprintln!(
            "{}sent {}  acknowledged {}  repeated {}  unacknowledged {}",
            if terminal { "\r" } else { "" },
            report.sent,
            report.acknowledged,
            report.repeated,
            report.unacknowledged()
        );
        Ok(())
    })
}
