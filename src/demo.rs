//! `demo`: everything in one process, with a simulated city and nothing installed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lampguard_ingester::config::ListenerConfig;
use lampguard_model::record::{self, StoredReading};
use lampguard_model::{Millis, Register, Timestamp, wire};
use lampguard_simulator::{City, Run, Simulation, ZONES, publish};

use crate::cli::Demo;
use crate::config::{Config, Crew, History, Posts, Site, Web, Zone};
use crate::tokens::Role;
use crate::{clock, config, serve, simulate};

/// The city's past that is there from the start: a day, a reading every five minutes.
const PAST: Millis = Millis::hours(24);
const PAST_STEP_S: u32 = 300;
/// Rows that the past may have; a larger city starts with a shorter past, so that the demo starts in seconds.
const PAST_ROWS: i64 = 400_000;

pub(crate) fn run(demo: &Demo) -> Result<()> {
    let fresh = demo.data.is_none();
    let data = match &demo.data {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("lampguard-demo-{}", std::process::id())),
    };
    let outcome = serve::runtime()?.block_on(live(demo, &data));
    if fresh {
        // Best effort: a temporary folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&data);
    }
    outcome
}

async fn live(demo: &Demo, data: &Path) -> Result<()> {
    let control = demo.control_port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let scenario = match &demo.scenario {
        Some(file) => simulate::scenario(&file.to_string_lossy())?,
        None => simulate::scenario("demo")?,
    };
    let params = simulate::params(demo.params.as_deref(), None, demo.seed)?;
    let city = Arc::new(City::with_params(demo.posts, demo.seed, &scenario, &params)?);
    std::fs::create_dir_all(data).with_context(|| format!("making data directory {}", data.display()))?;
    let register = data.join("posts.csv");
    std::fs::write(&register, city.register_csv())
        .with_context(|| format!("writing {}", register.display()))?;

    let start = clock::now();
    let run = Run { seed: demo.seed, speed: demo.speed, boot: simulate::boot(), start };
    let simulation = Simulation::new(city, scenario, run)?;
    let rows = fill_history(&simulation, &register, &data.join("history"), demo.posts, start)?;

    let (control, orders) = simulate::control(control, &simulation).await?;
    let mut config = configuration(data, register, web_address(demo));
    if let Some(file) = &demo.policy {
        config.policies = config::policy::read(file)?;
    }
    let running = serve::start(config).await?;
    let token = running.instance.accounts.create_token(Role::Viewer, "demo", None, false, start)?;
    let login = running.instance.accounts.first_user(start)?;
    introduce(demo, &running, (login.as_deref(), &token), rows, control);

    let address = running.listener.context("the demo's listener did not start")?;
    let options = publish::Options::new(&format!("mqtt://{address}"))?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let publishing = tokio::spawn(async move {
        let shutdown = async { drop(ended.await) };
        publish::run(options, simulation, orders, clock::now, |_| {}, shutdown).await
    });
    match demo.duration {
        Some(seconds) => tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = serve::wait_for_the_end() => {}
        },
        None => serve::wait_for_the_end().await,
    }
    let _ = end.send(());
    let report = tokio::time::timeout(Duration::from_secs(4), publishing).await;
    let books = running.instance.ingester.get().map(|handles| handles.accounts.statement());
    running.stop().await;
    if let (Ok(Ok(Ok(report))), Some(books)) = (report, books) {
        println!(
            "\nThe city sent {} messages, {} were acknowledged. Received {}, stored {}, balanced: {}.",
            report.sent,
            report.acknowledged,
            books.received,
            books.settled.stored,
            books.balanced()
        );
    }
    Ok(())
}

/// Port 8080 if it is free, else any; a port that was asked for is taken or refused.
fn web_address(demo: &Demo) -> SocketAddr {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    match demo.port {
        Some(port) => loopback(port),
        None if std::net::TcpListener::bind(loopback(8080)).is_ok() => loopback(8080),
        None => loopback(0),
    }
}

fn configuration(data: &Path, register: PathBuf, web: SocketAddr) -> Config {
    let zones = ZONES.iter().enumerate();
    Config {
        site: Site { name: "演示城市".to_owned(), data_dir: data.to_owned(), ..Site::default() },
        posts: Posts { file: register },
        listener: Some(ListenerConfig::on(SocketAddr::from(([127, 0, 0, 1], 0)))),
        history: History::default(),
        zones: zones
            .clone()
            .map(|(n, zone)| Zone {
                id: zone.id.to_owned(),
                name: zone.name.to_owned(),
                crew: format!("c{}", n + 1),
                ..Zone::default()
            })
            .collect(),
        crews: zones
            .map(|(n, _)| Crew {
                id: format!("c{}", n + 1),
                name: format!("抢修{}班", n + 1),
                ..Crew::default()
            })
            .collect(),
        web: Web { bind: web, ..Web::default() },
        ..Config::default()
    }
}

/// Gives the city a past, straight into the history: it is no reading that anybody received.
fn fill_history(
    simulation: &Simulation,
    register: &Path,
    dir: &Path,
    posts: u32,
    now: Timestamp,
) -> Result<u64> {
    let register =
        Register::parse(&std::fs::read(register)?).map_err(|faults| anyhow::anyhow!("{}", faults[0]))?;
    let metrics = lampguard_history::Metrics::register(&prometheus::Registry::new())?;
    let options =
        lampguard_history::Options { posts_max: posts as usize, ..lampguard_history::Options::default() };
    let mut history =
        lampguard_history::History::open(dir, options, metrics).context("opening the history")?;
    if !history.is_new() {
        return Ok(0);
    }
    let step = i64::from(PAST_STEP_S);
    let length = (PAST_ROWS / i64::from(posts) * step).clamp(step, PAST.as_seconds());
    eprintln!("filling the history with the last {} h of {posts} posts …", length / 3600);
    let (mut rows, mut bytes, mut readings) = (0u64, Vec::new(), Vec::new());
    // The past takes the numbers from 0 on; the journal, which is new, begins behind them.
    for message in simulation.past(now - Millis::seconds(length), now, PAST_STEP_S)? {
        let Some(wire::Topic::Reading { device, .. }) = wire::parse_topic(&message.topic) else {
            continue;
        };
        let Some(post) = register.by_device(device) else {
            continue;
        };
        readings.clear();
        if wire::decode(message.payload.as_ref(), &mut readings).is_err() {
            continue;
        }
        for reading in readings.drain(..).flatten() {
            let stored = StoredReading {
                identity: rows,
                stored_ts: message.at,
                device,
                zone: &post.zone,
                feeder: &post.feeder,
                ..StoredReading::said(&reading, &post.post_id, message.at)
            };
            bytes.clear();
            record::encode_reading(&stored, &mut bytes);
            history.apply(rows, record::READING, &bytes);
            rows += 1;
            if history.flush_due(message.at) {
                history.flush(message.at)?;
            }
        }
    }
    history.flush(now)?;
    Ok(rows)
}

fn introduce(
    demo: &Demo,
    running: &serve::Running,
    (login, token): (Option<&str>, &str),
    rows: u64,
    control: Option<SocketAddr>,
) {
    let web = running.web;
    let login = login.map_or_else(
        || "as before".to_owned(),
        |password| format!("admin   password {password}   (shown this once)"),
    );
    let control = control.map_or_else(String::new, |control| {
        format!("do something to it:  curl -s http://{control}/   (lists rain, leak, storm, cut, …)\n")
    });
    println!(
        "\n\
         lampguard demo: {} simulated posts in four zones, 16 gateways, rain in a moment   模拟数据 SIM\n\
         \n\
         address   http://{web}/\n\
         login     {login}\n\
         token     {token}   (viewer; shown this once)\n\
         history   {rows} readings from before the start\n\
         \n\
         open incidents:   curl -s -H 'Authorization: Bearer {token}' http://{web}/api/v1/incidents\n\
         where all went:   curl -s -H 'Authorization: Bearer {token}' http://{web}/api/v1/accounting\n\
         {control}\
         end it:           Ctrl-C\n\
         \n\
         The first incident shows below within a minute. 险情将在一分钟内显示在下方。\n",
        demo.posts
    );
}
