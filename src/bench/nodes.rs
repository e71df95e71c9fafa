//! `bench nodes`: two nodes share a subscription, a third owns every post; nothing is lost or doubled on the way.
//!
//! ```text
//!  start    Mosquitto, VictoriaMetrics behind the owner, three lampguards
//!  publish  oracle.py sends at a fixed rate; between its readings some posts of their own report danger
//!  kill -9  one of the two, at moments drawn from `--seed`; started again at once
//!  settle   until the owner has everything and its followers are through
//!  compare  oracle.py compares its file with the owner's database, by (post, boot, seq); one incident for each danger
//! ```

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::process::Family;
use super::publisher::{Orders, Publisher, Sum};
use super::random::Random;
use super::row::{Report, Row};
use super::services::{
    Accounting, Database, Lampguard, Mosquitto, find_mosquitto, find_victoria_metrics, ourselves,
};
use super::site::{Place, Plan, Site, find, free_ports};
use super::story::ORACLE;
use super::{mqtt, payload};

/// Posts that report danger, and how often each does: it is confirmed by the second.
const DANGEROUS: u64 = 20;
const REPORTS: u64 = 3;
/// How often a terminal is told how much is sent.
const SHOWN_EVERY: Duration = Duration::from_secs(2);
/// What is told first may be confirmed by what comes by the other node, a little later.
const QUIET: Duration = Duration::from_secs(3);

/// Options of `bench nodes`.
#[derive(Debug, Args)]
pub(super) struct Nodes {
    /// Readings, the refusable ones included.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    readings: u64,
    /// Posts they come from.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    posts: u64,
    /// Readings a second.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    rate: u64,
    /// How often one of the two receiving nodes is killed with -9.
    #[arg(long, default_value_t = 1)]
    kills: u64,
    /// The same seed draws the same moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest wait, once everything is sent, until the owner has it, seconds.
    #[arg(long, default_value_t = 600)]
    settle: u64,
    /// Keep logs, lists and data in new folders below this one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Rows as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the oracle found in the owner's database.
#[derive(Debug, Deserialize)]
struct Compared {
    acknowledged: u64,
    in_database: u64,
    missing: u64,
    more_than_once: u64,
    unexpected: u64,
    examples: Value,
}

/// Who runs, and where.
struct Stage {
    owner: Lampguard,
    receivers: Vec<(Site, Lampguard)>,
    database: u16,
    broker: u16,
    python: PathBuf,
    publisher: Publisher,
    _services: (Mosquitto, Database),
}

/// Runs it; an error, and exit code 1, when anything is lost or doubled.
pub(super) fn run(options: &Nodes) -> Result<()> {
    let mut report = Report::open(options.json.as_deref())?;
    let family = Family::new()?;
    let place = options.keep.as_deref().map_or(Place::Disk, Place::Kept);
    let mut home = Site::make(&family, place)?;
    let sites = [Site::make(&family, place)?, Site::make(&family, place)?];
    let faults = endure(options, &home, sites, &mut report).unwrap_or_else(|e| vec![format!("{e:#}")]);
    let mut end = row("result").text("result", if faults.is_empty() { "PASS" } else { "FAIL" });
    if !faults.is_empty() {
        home.keep();
        end = end.text("why", faults.join("; ")).text("kept", home.dir.display());
    }
    report.row(&end)?;
    if faults.is_empty() { Ok(()) } else { bail!("bench nodes failed: {}", faults.join("; ")) }
}

fn row(name: &str) -> Row {
    Row::of("nodes").text("row", name)
}

/// The whole story; returns every fault found.
fn endure(options: &Nodes, home: &Site, sites: [Site; 2], report: &mut Report) -> Result<Vec<String>> {
    let mut stage = begin(options, home, sites)?;
    let kills = publish(options, &mut stage, report)?;
    let sum = stage.publisher.sum()?;
    report.row(
        &row("load").number("posts", options.posts as f64).number("kills", kills as f64).with(sum.row()),
    )?;
    let wanted = sum.good + DANGEROUS * REPORTS;
    let began = Instant::now();
    report.progress("everything is sent, waiting until the owner has it");
    let patience = Duration::from_secs(options.settle);
    let arrived =
        stage.owner.wait_until("every reading", patience, |it| Ok(it.accounting()?.stored >= wanted));
    std::thread::sleep(QUIET);
    stage.owner.wait_for_followers(patience)?;
    let books = stage.owner.accounting()?;
    let received: u64 =
        stage.receivers.iter().map(|(_, node)| node.accounting().map_or(0, |books| books.stored)).sum();
    let compared = compare(home, &stage)?;
    let incidents = incidents(&stage.owner)?;
    let stray: usize =
        stage.receivers.iter().map(|(_, node)| self::incidents(node).map_or(1, |found| found.len())).sum();
    report.row(
        &row("owner")
            .number("after_s", began.elapsed().as_secs_f64())
            .number("stored", books.stored as f64)
            .number("duplicate", books.duplicate as f64)
            .number("received_by_nodes", received as f64)
            .number("missing", compared.missing as f64)
            .number("more_than_once", compared.more_than_once as f64)
            .number("incidents", incidents.len() as f64),
    )?;
    let mut found = faults(options, &sum, &books, &compared, &incidents, kills);
    found.extend(arrived.err().map(|error| format!("{error:#}")));
    if stray > 0 {
        found.push(format!("{stray} incidents stand at nodes that judge nothing"));
    }
    Ok(found)
}

fn begin(options: &Nodes, home: &Site, sites: [Site; 2]) -> Result<Stage> {
    let missing = |words: &'static str| anyhow!("{words}: bench nodes cannot do without");
    let (mosquitto, victoria) =
        (find_mosquitto().map_err(missing)?, find_victoria_metrics().map_err(missing)?);
    let python =
        find("PYTHON3", &["python3"]).context("python3 is not installed: apt-get install python3")?;
    let [web, first, second, broker, database] = free_ports()?;
    let posts = options.posts + DANGEROUS;
    let zones: Vec<String> = (1..=payload::ZONES).map(|zone| format!("\"z{zone}\"")).collect();
    let list = |name: &str| {
        let token = if name == "owner" { "" } else { "token_file = \"owner.token\"\n" };
        format!(
            "[nodes]\nname = \"{name}\"\n[[nodes.peer]]\nid = \"owner\"\nurl = \"http://127.0.0.1:{web}\"\n{token}\
             zones = [{}]\n[[nodes.peer]]\nid = \"n1\"\n[[nodes.peer]]\nid = \"n2\"\n",
            zones.join(", ")
        )
    };
    let services = (Mosquitto::start(home, &mosquitto, broker)?, Database::start(home, &victoria, database)?);
    let plan = Plan { posts, web, database: Some(database), sections: list("owner"), ..Plan::default() };
    home.configure(&plan)?;
    let owner = Lampguard::start(home, &plan)?;
    let mut receivers = Vec::new();
    for ((site, name), web) in sites.into_iter().zip(["n1", "n2"]).zip([first, second]) {
        let plan = Plan {
            posts,
            web,
            broker: Some(broker),
            broker_keys: "shared_group = \"bench\"\njudge = false\n",
            sections: list(name),
            ..Plan::default()
        };
        site.configure(&plan)?;
        let token = token(home, name)?;
        std::fs::write(site.dir.join("owner.token"), token).context("writing a node's token")?;
        let lampguard = Lampguard::start(&site, &plan)?;
        receivers.push((site, lampguard));
    }
    let oracle = home.dir.join("oracle.py");
    std::fs::write(&oracle, ORACLE).with_context(|| format!("writing {}", oracle.display()))?;
    let orders = Orders {
        python: python.clone(),
        oracle,
        port: broker,
        readings: options.readings,
        posts: options.posts,
        rate: options.rate,
        seed: options.seed,
    };
    let publisher = Publisher::start(home, &orders)?;
    Ok(Stage { owner, receivers, database, broker, python, publisher, _services: services })
}

fn token(home: &Site, node: &str) -> Result<String> {
    let mut command = ourselves(home)?;
    let made =
        command.args(["token", "create", "--role", "node", "--name", node]).stdin(Stdio::null()).output();
    let made = made.context("running `lampguard token create`")?;
    let words = String::from_utf8_lossy(&made.stdout).into_owned();
    let token = words.split_whitespace().last().filter(|_| made.status.success());
    token
        .map(str::to_owned)
        .with_context(|| format!("token create: {}", String::from_utf8_lossy(&made.stderr)))
}

/// Until everything is sent; returns how often a node was killed.
fn publish(options: &Nodes, stage: &mut Stage, report: &mut Report) -> Result<u64> {
    let mut random = Random(options.seed);
    let share = |part: f64| (options.readings as f64 * part) as u64;
    let slot = 0.8 / options.kills.max(1) as f64;
    let mut moments: Vec<u64> =
        (0..options.kills).map(|kill| share(0.1 + slot * (kill as f64 + random.share()))).collect();
    moments.reverse();
    let mut dangers = 0;
    let mut kills = 0;
    let mut shown = Instant::now();
    let mut stream = mqtt::connect(&format!("127.0.0.1:{}", stage.broker), "bench-dangers", false)?;
    loop {
        let ended = stage.publisher.has_ended();
        let sent = if ended { u64::MAX } else { stage.publisher.sent() };
        if !ended && shown.elapsed() >= SHOWN_EVERY {
            shown = Instant::now();
            let share = sent * 100 / options.readings.max(1);
            report.progress(format!("{sent} of {} sent ({share} %), {kills} kill(s)", options.readings));
        }
        stage.owner.process.check()?;
        for (_, node) in &mut stage.receivers {
            node.process.check()?;
        }
        // Spread over the whole run, so that some fall beside a kill.
        while dangers < DANGEROUS * REPORTS
            && share((dangers + 1) as f64 / (DANGEROUS * REPORTS + 1) as f64) <= sent
        {
            tell_danger(&mut stream, options.posts, dangers)?;
            dangers += 1;
        }
        if moments.last().is_some_and(|at| *at <= sent) {
            moments.pop();
            let (site, node) = &mut stage.receivers[0];
            let pid = node.process.pid();
            node.kill_and_restart(site)?;
            kills += 1;
            report.row(
                &row("event")
                    .text("what", "kill -9")
                    .number("pid", f64::from(pid))
                    .number("sent", stage.publisher.sent() as f64),
            )?;
        }
        if ended && moments.is_empty() && dangers == DANGEROUS * REPORTS {
            return Ok(kills);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The next report of danger: of each post in turn. Waits for its acknowledgement.
fn tell_danger(stream: &mut TcpStream, posts: u64, number: u64) -> Result<()> {
    let (post, turn) = (posts + number % DANGEROUS, number / DANGEROUS + 1);
    let reading = format!(r#"{{"boot":9,"seq":{turn},"leakage_ma":{}.5,"supply_v":228}}"#, 60 + turn);
    let mut frame = Vec::new();
    mqtt::publish(&mut frame, &payload::topic(post), 1, reading.as_bytes(), false);
    stream.write_all(&frame).context("telling of a danger")?;
    let mut answer = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.read_exact(&mut answer).context("waiting for the broker's acknowledgement of a danger")
}

fn compare(home: &Site, stage: &Stage) -> Result<Compared> {
    let url = format!("http://127.0.0.1:{}", stage.database);
    let mut command = Command::new(&stage.python);
    command.arg("-u").arg(home.dir.join("oracle.py")).arg("check").arg("--dir").arg(&home.dir);
    let answer =
        command.args(["--database", &url]).stdin(Stdio::null()).output().context("running the oracle")?;
    let words = String::from_utf8_lossy(&answer.stdout);
    serde_json::from_str(words.trim())
        .with_context(|| format!("the oracle said {words:?} and {}", String::from_utf8_lossy(&answer.stderr)))
}

/// Posts of all incidents of leakage, each as often as it has one.
fn incidents(node: &Lampguard) -> Result<Vec<String>> {
    let (status, text) = node.page("/api/v1/incidents?state=all&kind=leak_critical&limit=1000")?;
    if status != 200 {
        bail!("the list of incidents answered {status}: {text}");
    }
    let list: Value = serde_json::from_str(&text).context("reading the list of incidents")?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(|item| item["post_id"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Every condition of a pass that does not hold.
fn faults(
    options: &Nodes,
    sum: &Sum,
    books: &Accounting,
    compared: &Compared,
    incidents: &[String],
    kills: u64,
) -> Vec<String> {
    let distinct: BTreeSet<&String> = incidents.iter().collect();
    let expected: BTreeSet<String> =
        (0..DANGEROUS).map(|number| payload::post_id(options.posts + number)).collect();
    let wanted = sum.good + DANGEROUS * REPORTS;
    let conditions = [
        (sum.is_whole(), format!("not every reading was sent and acknowledged: {sum:?}")),
        (
            compared.missing == 0 && compared.more_than_once == 0,
            format!("the sets differ: {}", compared.examples),
        ),
        (
            compared.acknowledged == sum.good && compared.in_database == wanted,
            format!(
                "{} acknowledged, {} in the database, {wanted} wanted",
                compared.acknowledged, compared.in_database
            ),
        ),
        // The dangers are no part of the oracle's list.
        (compared.unexpected == DANGEROUS * REPORTS, format!("unexpected rows: {}", compared.examples)),
        (books.balanced && books.pending == 0, format!("the owner's books do not balance: {books:?}")),
        (books.stored == wanted, format!("{wanted} readings were sent, the owner has {}", books.stored)),
        (
            incidents.len() == distinct.len() && distinct.into_iter().eq(expected.iter()),
            format!("{} posts were dangerous, incidents are {incidents:?}", expected.len()),
        ),
        (kills == options.kills, format!("{kills} kills of {}", options.kills)),
    ];
    conditions.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| words).collect()
}
