//! The small commands: checks, looks, and questions to a running instance.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_alerting::report;
use lampguard_ingester::accounts::Totals;
use lampguard_ingester::quarantine::Quarantine;
use lampguard_journal::RealDisk;
use lampguard_model::{Register, record};
use serde_json::{Value, json};

use crate::UsageError;
use crate::cli::{Record, Target};
use crate::config::{self, Config};
use crate::data_dir::Local;
use crate::serve;

/// Prints to stdout; a reader that has gone away (a closed pipe) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("writing to stdout"),
        _ => Ok(()),
    }
}

fn load(file: Option<&Path>) -> Result<Config> {
    Ok(config::load(&config::find(file)?)?)
}

pub(crate) fn check_config(file: &Path) -> Result<()> {
    let config = config::load(file)?;
    let register = serve::load_register(&config)?;
    let (posts, zones) = (register.posts().len(), config.zones.len());
    serve::load_lighting(&config, &register)?;
    let policy =
        config::policy::describe(&config.policies) + &config::policy::describe_ladders(&config.ladders);
    let people: String =
        config::people::warnings(&config).iter().map(|told| format!("warning: {told}\n")).collect();
    print(&format!("{}: good; {posts} posts in {zones} zone(s)\n{policy}{people}", file.display()))
}

pub(crate) fn check_posts(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("reading register {}", file.display()))?;
    let register = Register::parse(&bytes).map_err(|faults| serve::register_faults(file, &faults))?;
    let mut text = format!("{}: good; {} posts\n", file.display(), register.posts().len());
    for zone in register.zones() {
        let count = register.posts().iter().filter(|post| post.zone == *zone).count();
        text.push_str(&format!("  {zone}: {count}\n"));
    }
    print(&text)
}

pub(crate) fn inspect_journal(dir: &Path) -> Result<()> {
    let segments = lampguard_journal::inspect(&RealDisk, dir)?;
    if segments.is_empty() {
        bail!("{} holds no journal segment; name the directory DATA_DIR/journal", dir.display());
    }
    let time = |ms: Option<i64>| {
        ms.map_or_else(|| "damaged".to_owned(), |ms| lampguard_model::Timestamp(ms).to_rfc3339())
    };
    let mut totals = None;
    for segment in &segments {
        let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
        let records =
            segment.records.map_or_else(|| "none".to_owned(), |(first, end)| format!("{first}..{end}"));
        let kinds: Vec<String> =
            segment.kinds.iter().map(|(kind, count)| format!("{} {count}", kind_name(*kind))).collect();
        print(&format!(
            "{name}  {} bytes  made {}  last {}  frames {}  records {records}  [{}]  damaged {} bytes\n",
            segment.bytes,
            time(segment.created_at),
            time(segment.closed_at),
            segment.frames,
            kinds.join(", "),
            segment.damaged_bytes,
        ))?;
        totals = Totals::decode(&segment.meta).or(totals);
    }
    if let Some(totals) = totals {
        let reasons = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            counts.map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
        };
        print(&format!(
            "totals of the last frame: stored {}  duplicate {}  quarantined [{}]  refused [{}]\n",
            totals.stored,
            totals.duplicate,
            reasons(&mut totals.quarantined_by_reason()),
            reasons(&mut totals.refused_by_reason()),
        ))?;
    }
    Ok(())
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        record::READING => "readings",
        record::PROOF => "proofs",
        record::WEATHER | record::HEARD_WEATHER => "weather",
        record::STATUS => "status",
        record::QUARANTINED => "quarantined",
        _ => "unknown",
    }
}

pub(crate) fn verify_audit(file: Option<&Path>) -> Result<()> {
    let path = load(file)?.site.data_dir.join("incidents.db");
    if !path.exists() {
        bail!("{} is not there: no instance ran on this data directory", path.display());
    }
    let audit =
        lampguard_alerting::verify_file(&path).with_context(|| format!("checking {}", path.display()))?;
    let mut text = format!("{}: {} event(s), the chain is whole\n", path.display(), audit.events);
    for (kind, count) in &audit.kinds {
        text += &format!("  {kind:<24} {count}\n");
    }
    // Whoever can write the file can forge all of it: a head that was written down elsewhere shows it.
    text += &format!("head {}\n", audit.head);
    print(&text)
}

/// A month by zone and crew, out of the store itself: the instance need not run.
pub(crate) fn report(file: Option<&Path>, asked: &crate::cli::Report) -> Result<()> {
    let config = load(file)?;
    let dir = &config.site.data_dir;
    if !dir.join("incidents.db").exists() {
        bail!("{} holds no incidents.db: no instance ran on this data directory", dir.display());
    }
    let names = crate::api::reports::names(&config, Arc::new(config::people::rota(&config)));
    let month = report::month_of_dir(dir, &asked.month, &names, crate::clock::system()());
    let month = month.map_err(|error| match error {
        report::ReportError::Month(_) => anyhow::anyhow!(UsageError(error.to_string())),
        other => anyhow::anyhow!(other),
    })?;
    let chinese = match asked.lang {
        Some(lang) => lang == crate::cli::Lang::Zh,
        None => config.site.language.starts_with("zh"),
    };
    let text = match asked.json {
        true => format!("{}\n", serde_json::to_string_pretty(&month)?),
        false => report::month_csv(&month, chinese),
    };
    match &asked.out {
        None => print(&text),
        Some(out) => std::fs::write(out, text).with_context(|| format!("writing {}", out.display())),
    }
}

pub(crate) fn list_quarantine(
    file: Option<&Path>,
    reason: Option<&str>,
    limit: usize,
    json: bool,
) -> Result<()> {
    let config = load(file)?;
    let quarantine = Quarantine::open(&config.site.data_dir, config.quarantine.max_bytes)?;
    let (mut from, mut shown) = (0, 0);
    while shown < limit {
        let payloads = quarantine.list(from, limit - shown, reason)?;
        let Some(last) = payloads.last() else { break };
        from = last.id + 1;
        shown += payloads.len();
        for payload in &payloads {
            if json {
                print(&format!("{}\n", serde_json::to_string(payload)?))?;
            } else {
                let at = payload.received_at.to_rfc3339();
                print(&format!(
                    "{at}  {:<14} {:<9} {}  {} bytes  {}\n",
                    payload.reason, payload.source, payload.topic, payload.full_length, payload.preview
                ))?;
            }
        }
    }
    if shown == 0 {
        eprintln!(
            "nothing is quarantined{}",
            reason.map_or_else(String::new, |reason| format!(" for reason {reason}"))
        );
    }
    Ok(())
}

/// Asks a running instance.
pub(crate) struct Asker {
    local: Local,
    agent: ureq::Agent,
}

impl Asker {
    pub(crate) fn new(file: Option<&Path>, target: &Target, timeout: Option<Duration>) -> Result<Self> {
        let local = match (&target.url, &target.token) {
            (Some(url), Some(token)) => {
                Local { url: url.trim_end_matches('/').to_owned(), token: token.clone() }
            }
            _ => Local::read(&load(file)?.site.data_dir)?,
        };
        if target.url.is_none() {
            return Ok(Self { local, agent: Local::agent(timeout) });
        }
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(timeout);
        Ok(Self { local, agent: config.http_status_as_error(false).build().into() })
    }

    pub(crate) fn get(&self, path: &str) -> Result<(u16, ureq::Body)> {
        let url = format!("{}{path}", self.local.url);
        let bearer = format!("Bearer {}", self.local.token);
        let response = self.agent.get(&url).header("Authorization", bearer).call();
        let response = response.with_context(|| format!("asking {url}: is the instance running?"))?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    fn post(&self, path: &str, body: &Value) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.local.url);
        let bearer = format!("Bearer {}", self.local.token);
        let request =
            self.agent.post(&url).header("Authorization", bearer).header("Content-Type", "application/json");
        let response = request
            .send(body.to_string())
            .with_context(|| format!("asking {url}: is the instance running?"))?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().read_to_string().context("reading the answer")?))
    }
}

pub(crate) fn retry_quarantine(file: Option<&Path>, reason: Option<&str>, target: &Target) -> Result<()> {
    let asker = Asker::new(file, target, None)?;
    let (status, body) = asker.post("/api/v1/quarantine/retry", &json!({ "reason": reason }))?;
    if status != 200 {
        bail!("the instance answered {status}: {body}");
    }
    let answer: Value = serde_json::from_str(&body).context("reading the answer")?;
    print(&format!("read after all: {}  still refused: {}\n", answer["released"], answer["left"]))
}

pub(crate) fn healthcheck(file: Option<&Path>, target: &Target) -> Result<()> {
    let (status, mut body) = Asker::new(file, target, Some(Duration::from_secs(10)))?.get("/readyz")?;
    let text = body.read_to_string().context("reading the answer")?;
    if status == 200 { print(&format!("{text}\n")) } else { bail!("not ready ({status}): {text}") }
}

pub(crate) fn record(file: Option<&Path>, record: &Record) -> Result<()> {
    let asker = Asker::new(file, &record.target, None)?;
    let (status, mut body) = asker.get("/api/v1/recording")?;
    if status != 200 {
        bail!("the instance answered {status}: {}", body.read_to_string().unwrap_or_default());
    }
    let doing = || format!("writing recording {}", record.out.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(&record.out).with_context(doing)?);
    let until = record.duration.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Lines may stay away for long; the end of the duration must not wait for the next one.
    let (sender, lines) = std::sync::mpsc::sync_channel::<std::io::Result<String>>(1024);
    std::thread::spawn(move || {
        for line in BufReader::new(body.into_reader()).lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut count, mut told) = (0u64, Instant::now());
    let progress = std::io::IsTerminal::is_terminal(&std::io::stderr());
    while until.is_none_or(|until| Instant::now() < until) {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                writeln!(out, "{}", line.context("reading from the instance")?).with_context(doing)?;
                count += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if told.elapsed() > Duration::from_secs(1) {
            out.flush().with_context(doing)?;
            told = Instant::now();
            if progress {
                eprint!("\r{count} line(s)");
            }
        }
    }
    out.flush().with_context(doing)?;
    eprintln!("{}{count} line(s) in {}", if progress { "\r" } else { "" }, record.out.display());
    Ok(())
}
