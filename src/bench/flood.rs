//! `bench flood`: every post becomes dangerous within seconds. How fast the board answers meanwhile, how many messages
//! each person gets, and whether each P1 is named in a message or red on the board.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::load::ALARM_ROUNDS;
use super::measure::{Load, Sample, Shape, Stage, Tools, Wanted, memory_row};
use super::row::{Report, Row, quantile};
use super::services::Lampguard;
use super::stub;

/// Between two looks at the board.
const LOOK: Duration = Duration::from_millis(500);
/// Incidents of one page of the list.
const PAGE: usize = 1000;
/// Within that time no person gets more than the rules' number of messages (`policy.md` 5, flood).
const WINDOW: Duration = Duration::from_secs(600);

/// Options of `bench flood`.
#[derive(Debug, Args)]
pub(super) struct Flood {
    /// Posts, every one of which becomes dangerous.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=200_000))]
    posts: u64,
    /// Readings a second; each post sends three.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    rate: u64,
    /// How long it is watched after the last reading.
    #[arg(long, default_value_t = 660, value_parser = clap::value_parser!(u64).range(10..=7200))]
    watch_s: u64,
    /// Data directory in memory.
    #[arg(long)]
    tmpfs: bool,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Moments of the messages to each person.
type Messages = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

/// Runs it once.
pub(super) fn run(options: &Flood) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let tools = Tools::find(options.tmpfs)?;
    let (port, messages) = receiver()?;
    let wanted = Wanted { lampguard: true, webhook: Some(port), people: true, ..Wanted::default() };
    let mut stage = Stage::set(&tools, options.posts, wanted)?;
    let shape = Shape {
        readings: options.posts * ALARM_ROUNDS,
        posts: options.posts,
        boot: 2,
        window: 4000,
        connections: 4,
        rate: options.rate as f64,
        alarms: options.posts,
        both: false,
        mqtt5: false,
    };
    stage.warm_up(&shape)?;
    let mut load = Load::prepare(&stage.site, stage.mqtt_port(), &shape)?;
    let from = Sample::take(&stage)?;
    let start = Instant::now();
    load.go()?;
    let sent = std::thread::spawn(move || load.finish(None).map(|found| (found, start.elapsed())));
    let mut pages = Vec::new();
    let mut ended: Option<Instant> = None;
    while ended.is_none_or(|at| at.elapsed() < Duration::from_secs(options.watch_s)) {
        let asked = Instant::now();
        let lampguard = stage.lampguard()?;
        let answer = lampguard.page("/");
        if answer.is_err() {
            // Where it has ended, its last words say more than a broken connection.
            std::thread::sleep(LOOK);
            lampguard.process.check()?;
        }
        let (status, text) = answer?;
        if status != 200 {
            bail!("GET / answered {status}: {}", text.chars().take(300).collect::<String>());
        }
        pages.push(asked.elapsed().as_secs_f64() * 1000.0);
        if ended.is_none() && sent.is_finished() {
            ended = Some(Instant::now());
            report.progress(format!(
                "every reading is acknowledged after {:.1} s",
                start.elapsed().as_secs_f64()
            ));
        }
        std::thread::sleep(LOOK);
    }
    let (found, sent_after) = match sent.join() {
        Ok(found) => found?,
        Err(_) => bail!("the thread that waits for the load ended in panic"),
    };
    let end = Sample::take(&stage)?;
    let told = messages.lock().unwrap_or_else(PoisonError::into_inner);
    report.row(
        &Row::of("flood")
            .text("data", tools.disk())
            .number("posts", options.posts as f64)
            .number("rate", options.rate as f64)
            .number("acknowledged_after_s", sent_after.as_secs_f64())
            .with(found.row())
            .with(page_row(pages))
            .with(message_row(&told, start))
            .with(incident_row(stage.lampguard()?, options.posts)?)
            .with(memory_row(stage.lampguard()?.process.pid())?)
            .with(from.machine_row(&end, found.cpu_s)?),
    )
}

fn receiver() -> Result<(u16, Messages)> {
    let messages = Messages::default();
    let kept = messages.clone();
    let port = stub::start(move |request| {
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let to = body["notice"]["to"].as_str().unwrap_or_default().to_owned();
        kept.lock().unwrap_or_else(PoisonError::into_inner).entry(to).or_default().push(Instant::now());
        ("200 OK", "{}")
    })?;
    Ok((port, messages))
}

fn page_row(mut pages: Vec<f64>) -> Row {
    pages.sort_by(f64::total_cmp);
    Row::default()
        .number("pages", pages.len() as f64)
        .number("page_p50_ms", quantile(&pages, 0.5))
        .number("page_p99_ms", quantile(&pages, 0.99))
        .number("page_max_ms", pages.last().copied().unwrap_or(f64::NAN))
}

/// The most messages that one person got in any ten minutes, and when the first of all came.
fn message_row(told: &BTreeMap<String, Vec<Instant>>, start: Instant) -> Row {
    let most = |at: &Vec<Instant>| {
        (0..at.len()).map(|n| at[n..].iter().take_while(|later| **later - at[n] < WINDOW).count()).max()
    };
    let first = told.values().flatten().min().map_or(f64::NAN, |at| (*at - start).as_secs_f64());
    Row::default()
        .number("first_message_s", first)
        .number("people", told.len() as f64)
        .number("messages", told.values().map(Vec::len).sum::<usize>() as f64)
        .number("messages_10_min_max", told.values().filter_map(most).max().unwrap_or(0) as f64)
}

/// Of each open P1: a message that named it was accepted, or it is red. Anything else fails the run.
fn incident_row(lampguard: &Lampguard, posts: u64) -> Result<Row> {
    let (mut open, mut told, mut red, mut after) = (0u64, 0u64, 0u64, String::new());
    loop {
        let (status, text) = lampguard.page(&format!("/api/v1/incidents?state=open&limit={PAGE}{after}"))?;
        let page: Value = serde_json::from_str(&text)
            .with_context(|| format!("reading the list of incidents, answer {status}"))?;
        for incident in page["items"].as_array().into_iter().flatten().filter(|one| one["severity"] == "P1") {
            open += 1;
            match (incident["told_at"].is_string(), incident["untold"] == true) {
                (true, _) => told += 1,
                (false, true) => red += 1,
                (false, false) => bail!("{} was told to nobody and is not red", incident["id"]),
            }
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&cursor={next}"),
            None => break,
        }
    }
    if open < posts {
        bail!("{posts} posts became dangerous, and {open} P1s are open");
    }
    Ok(Row::default().number("p1", open as f64).number("named", told as f64).number("red", red as f64))
}
