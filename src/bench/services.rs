//! lampguard, Mosquitto and VictoriaMetrics as children of the bench.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use ureq::Agent;

use super::process::Process;
use super::site::{Plan, Site, find};

/// Longest start of any child.
const START: Duration = Duration::from_secs(30);
/// Longest answer of any child.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks at something that will change soon.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// HTTP on loopback.
pub(super) fn agent() -> Agent {
    let config = Agent::config_builder();
    Agent::new_with_config(
        config.timeout_global(Some(ANSWER)).http_status_as_error(false).proxy(None).build(),
    )
}

/// Status and body of a GET.
pub(super) fn get(agent: &Agent, url: &str, token: Option<&str>) -> Result<(u16, String)> {
    let doing = || format!("asking {url}");
    let mut request = agent.get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().with_context(doing)?;
    let text = answer.body_mut().read_to_string().with_context(doing)?;
    Ok((answer.status().as_u16(), text))
}

/// Waits until an address answers 2xx.
pub(super) fn wait_for(agent: &Agent, url: &str, process: &mut Process) -> Result<()> {
    let until = Instant::now() + START;
    while Instant::now() < until {
        process.check()?;
        if get(agent, url, None).is_ok_and(|(status, _)| (200..300).contains(&status)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{url} did not answer within {} s; the log ends:\n{}", START.as_secs(), process.last_words())
}

/// The sum over all series of a metric; `None` when there is none.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    metric_where(text, name, |_| true)
}

/// The same over the series whose labels (`{a="b"}`, or nothing) are wanted.
fn metric_where(text: &str, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    let series = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    let series =
        series.filter(|(labels, _)| (labels.is_empty() || labels.starts_with('{')) && wanted(labels));
    let values: Vec<f64> = series.filter_map(|(_, value)| value.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// The answer of `GET /api/v1/accounting`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Accounting {
    pub(super) received: u64,
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    pub(super) quarantined: BTreeMap<String, u64>,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) pending: u64,
    pub(super) balanced: bool,
    #[serde(default)]
    pub(super) possible_loss: Vec<serde_json::Value>,
}

/// Our own `serve`.
#[derive(Debug)]
pub(super) struct Lampguard {
    pub(super) process: Process,
    agent: Agent,
    url: String,
    token: String,
}

impl Lampguard {
    /// Starts it on a configured site and waits until it is ready.
    pub(super) fn start(site: &Site, plan: &Plan) -> Result<Self> {
        let mut process = spawn(site)?;
        let (agent, url) = (agent(), format!("http://127.0.0.1:{}", plan.web));
        wait_for(&agent, &format!("{url}/readyz"), &mut process)?;
        let token = make_token(site)?;
        let mut running = Self { process, agent, url, token };
        if plan.broker.is_some() {
            running.wait_until("its subscription at the broker", START, |it| {
                Ok(metric(&it.metrics()?, "lampguard_broker_up") == Some(1.0))
            })?;
        }
        Ok(running)
    }

    /// kill -9, and a new process on the same data at once.
    pub(super) fn kill_and_restart(&mut self, site: &Site) -> Result<()> {
        self.process.check()?;
        self.process.kill();
        self.process = spawn(site)?;
        Ok(())
    }

    /// True once it answers that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        get(&self.agent, &format!("{}/readyz", self.url), None).is_ok_and(|(status, _)| status == 200)
    }

    pub(super) fn accounting(&self) -> Result<Accounting> {
        let (status, text) = get(&self.agent, &format!("{}/api/v1/accounting", self.url), Some(&self.token))?;
        if status != 200 {
            bail!("GET /api/v1/accounting answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("reading the accounting {text}"))
    }

    /// Asks for a page or a list, as a viewer.
    pub(super) fn page(&self, path: &str) -> Result<(u16, String)> {
        get(&self.agent, &format!("{}{path}", self.url), Some(&self.token))
    }

    pub(super) fn metrics(&self) -> Result<String> {
        Ok(get(&self.agent, &format!("{}/metrics", self.url), None)?.1)
    }

    /// Waits until the followers have taken everything: history, and the database if there is one.
    pub(super) fn wait_for_followers(&mut self, patience: Duration) -> Result<()> {
        // The gauges are set once a second: what they say now may be from before the load.
        std::thread::sleep(Duration::from_millis(1100));
        self.wait_until("its followers", patience, |it| Ok(it.waiting()? == 0.0))
    }

    /// What the followers have still to take, plus the seconds that the database is behind.
    pub(super) fn waiting(&self) -> Result<f64> {
        let text = self.metrics()?;
        // Alerting stays 40 minutes behind on purpose: its number is what it would replay, not a lag.
        let lagging = |labels: &str| !labels.contains("\"alerting\"");
        let readings = metric_where(&text, "lampguard_journal_pending_readings", lagging).unwrap_or(0.0);
        Ok(readings + metric(&text, "lampguard_tsdb_lag_seconds").unwrap_or(0.0))
    }

    /// Waits until something is true of it.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            self.process.check()?;
            let outcome = is_so(self);
            if matches!(outcome, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > until {
                let error = outcome.err().map_or_else(String::new, |e| format!(" ({e:#})"));
                bail!(
                    "lampguard: waited {} s for {what}{error}; its log ends:\n{}",
                    patience.as_secs(),
                    self.process.last_words()
                );
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn spawn(site: &Site) -> Result<Process> {
    let mut command = ourselves(site)?;
    Process::start_quiet(&site.family, "lampguard", command.arg("serve"), &site.dir.join("lampguard.log"))
}

/// This program with the site's configuration, and without what the environment would put over it.
pub(super) fn ourselves(site: &Site) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding our own program")?);
    let overrides = std::env::vars_os().map(|(name, _)| name);
    for name in overrides.filter(|name| name.to_string_lossy().starts_with("LAMPGUARD__")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(site.dir.join("lampguard.toml"));
    Ok(command)
}

fn make_token(site: &Site) -> Result<String> {
    let mut command = ourselves(site)?;
    let made = command.args(["token", "create", "--role", "viewer", "--name", "bench"]).stdin(Stdio::null());
    let made = made.output().context("running `lampguard token create`")?;
    let words = String::from_utf8_lossy(&made.stdout);
    let token = words.split_whitespace().last().filter(|_| made.status.success());
    token.map(str::to_owned).ok_or_else(|| {
        anyhow!(
            "`lampguard token create` failed ({}): {}",
            made.status,
            String::from_utf8_lossy(&made.stderr)
        )
    })
}

/// Where Mosquitto is, or what to do.
pub(super) fn find_mosquitto() -> Result<PathBuf, &'static str> {
    find("MOSQUITTO", &["mosquitto"]).ok_or("mosquitto is not installed: apt-get install mosquitto; left out")
}

/// Where VictoriaMetrics is, or what to do.
pub(super) fn find_victoria_metrics() -> Result<PathBuf, &'static str> {
    find("VICTORIA", &["victoria-metrics", "victoria-metrics-prod"])
        .ok_or("victoria-metrics is not installed: apt-get install victoria-metrics; left out")
}

/// A real Mosquitto.
#[derive(Debug)]
pub(super) struct Mosquitto {
    pub(super) process: Process,
}

impl Mosquitto {
    /// Starts it with the shipped settings; the same folder again continues its sessions.
    pub(super) fn start(site: &Site, program: &Path, port: u16) -> Result<Self> {
        let dir = site.dir.join("mosquitto");
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let file = dir.join("mosquitto.conf");
        let mut text = settings();
        let place = dir.display();
        text += &format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {place}/\n");
        text += "log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n";
        if rustix::process::geteuid().is_root() {
            // Otherwise it becomes the user mosquitto, who may not write here.
            text += "user root\n";
        }
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let mut command = Command::new(program);
        let command = command.arg("-c").arg(&file);
        let mut process =
            Process::start_quiet(&site.family, "mosquitto", command, &site.dir.join("mosquitto.log"))?;
        let until = Instant::now() + START;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            process.check()?;
            if Instant::now() > until {
                bail!("mosquitto did not listen on port {port} within {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process })
    }
}

/// The shipped settings without what belongs to one machine (addresses, users, files), else their like:
/// nothing queued is dropped, sessions are on disk every 30 s, the window is as large as the consumer's.
fn settings() -> String {
    let shipped = [Path::new("deploy"), Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"))];
    let shipped = shipped.iter().find_map(|dir| std::fs::read_to_string(dir.join("mosquitto.conf")).ok());
    let Some(shipped) = shipped else {
        return "persistence true\nautosave_interval 30\nmax_inflight_messages 4096\nmax_queued_messages 0\n\
                max_queued_bytes 0\nset_tcp_nodelay true\n"
            .to_owned();
    };
    const LOCAL: [&str; 23] = [
        "listener",
        "port",
        "bind_address",
        "protocol",
        "socket_domain",
        "persistence_location",
        "persistence_file",
        "log_dest",
        "log_type",
        "log_facility",
        "connection_messages",
        "user",
        "password_file",
        "acl_file",
        "allow_anonymous",
        "pid_file",
        "cafile",
        "capath",
        "certfile",
        "keyfile",
        "require_certificate",
        "include_dir",
        "per_listener_settings",
    ];
    let of_everybody = |line: &&str| {
        let key = line.split_whitespace().next().unwrap_or("#");
        !key.starts_with('#') && !LOCAL.contains(&key)
    };
    shipped.lines().filter(of_everybody).map(|line| format!("{line}\n")).collect()
}

/// A real VictoriaMetrics.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) process: Process,
    agent: Agent,
    url: String,
}

impl Database {
    /// Starts it; the same folder again continues its data.
    pub(super) fn start(site: &Site, program: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(format!("-storageDataPath={}", site.dir.join("victoria-metrics").display()));
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        command.args(["-retentionPeriod=13", "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s"]);
        command.arg("-loggerLevel=WARN");
        let log = site.dir.join("victoria-metrics.log");
        let mut process = Process::start_quiet(&site.family, "victoria-metrics", &mut command, &log)?;
        let (agent, url) = (agent(), format!("http://127.0.0.1:{port}"));
        wait_for(&agent, &format!("{url}/health"), &mut process)?;
        Ok(Self { process, agent, url })
    }

    /// Values taken in by the Influx protocol since it was started.
    pub(super) fn values(&self) -> Result<f64> {
        let (_, text) = get(&self.agent, &format!("{}/metrics", self.url), None)?;
        let line = text.lines().find(|line| line.starts_with("vm_rows_inserted_total{type=\"influx\"}"));
        Ok(line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_series_and_not_of_its_namesakes() {
        let text = "# HELP a_total x\na_total{source=\"b\"} 2\na_total{source=\"c\"} 3\na_total_more 7\n";
        assert_eq!(metric(text, "a_total"), Some(5.0));
        assert_eq!(metric(text, "b_total"), None);
    }
}
