//! What happens during `bench crash`: who is killed and restarted, and when.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;

use super::Path;
use super::crash::{Crash, row};
use super::publisher::{Orders, Publisher};
use super::random::Random;
use super::row::{Report, Row};
use super::services::{Database, Lampguard, Mosquitto, find_mosquitto, find_victoria_metrics, metric};
use super::site::{Plan, Site, find, free_ports};

/// The other program.
pub(super) const ORACLE: &str = include_str!("oracle.py");
/// A restarted database is noticed by the next probe, 5 s apart, at the latest; before that nobody knows that
/// rows have to be sent again, and a lag of 0 means nothing.
const NOTICED: Duration = Duration::from_secs(8);
/// Some gauges are set once a second: only what holds for longer is so.
const QUIET: Duration = Duration::from_millis(1500);
/// A database is up at least so long before it is killed: it has to have something to lose.
const UP_BEFORE_KILL: Duration = Duration::from_secs(1);
/// How long a service may take to end after SIGTERM.
const GOODBYE: Duration = Duration::from_secs(20);
/// A moment lies up to so many milliseconds behind the reading it is tied to.
const JITTER_MS: u64 = 100;

/// The programs that it takes.
pub(super) struct Programs {
    mosquitto: Option<PathBuf>,
    victoria_metrics: PathBuf,
    python: PathBuf,
}

impl Programs {
    /// Finds them, or says what to install.
    pub(super) fn find(path: Path) -> Result<Self> {
        let missing = |words: &'static str| anyhow!("{words}: bench crash cannot do without");
        Ok(Self {
            mosquitto: match path {
                Path::Listener => None,
                _ => Some(find_mosquitto().map_err(missing)?),
            },
            victoria_metrics: find_victoria_metrics().map_err(missing)?,
            python: find("PYTHON3", &["python3"])
                .context("python3 is not installed: apt-get install python3")?,
        })
    }
}

/// Something that happens once so many readings are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Kill,
    BrokerRestart,
    DatabaseDown,
    DatabaseKill,
}

/// How often each thing was really done.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) kills: u64,
    pub(super) broker_restarts: u64,
    pub(super) database_down_s: f64,
    pub(super) database_kills: u64,
}

impl Done {
    pub(super) fn row(&self) -> Row {
        Row::default()
            .number("kills", self.kills as f64)
            .number("broker_restarts", self.broker_restarts as f64)
            .number("database_down_s", self.database_down_s)
            .number("database_kills", self.database_kills as f64)
    }
}

/// Everything that runs, and what is still to happen.
pub(super) struct Story<'a> {
    options: &'a Crash,
    path: Path,
    site: &'a Site,
    programs: &'a Programs,
    report: &'a mut Report,
    plan: Plan,
    broker: Option<Mosquitto>,
    /// `None` while it is down.
    database: Option<Database>,
    database_since: Instant,
    pub(super) lampguard: Lampguard,
    pub(super) publisher: Publisher,
    events: VecDeque<(u64, Event)>,
    random: Random,
    started: Instant,
    /// Since when lampguard has been starting.
    starting: Option<Instant>,
    /// How long each restart took until it was ready, unless it was killed before.
    pub(super) ready_ms: Vec<f64>,
    pub(super) done: Done,
}

impl<'a> Story<'a> {
    /// Starts everybody, the publisher last.
    pub(super) fn begin(
        options: &'a Crash,
        path: Path,
        site: &'a Site,
        programs: &'a Programs,
        report: &'a mut Report,
    ) -> Result<Self> {
        let [web, mqtt, database] = free_ports()?;
        let plan = Plan {
            posts: options.posts,
            web,
            listener: programs.mosquitto.is_none().then_some(mqtt),
            broker: programs.mosquitto.is_some().then_some(mqtt),
            database: Some(database),
            webhook: None,
            ..Plan::default()
        };
        site.configure(&plan)?;
        let oracle = site.dir.join("oracle.py");
        std::fs::write(&oracle, ORACLE).with_context(|| format!("writing {}", oracle.display()))?;
        let broker =
            programs.mosquitto.as_ref().map(|program| Mosquitto::start(site, program, mqtt)).transpose()?;
        let database = Database::start(site, &programs.victoria_metrics, database)?;
        let lampguard = Lampguard::start(site, &plan)?;
        let orders = Orders {
            python: programs.python.clone(),
            oracle,
            port: mqtt,
            readings: options.readings,
            posts: options.posts,
            rate: options.rate,
            seed: options.seed,
        };
        let mut random = Random(options.seed);
        let events = draw(options, path, &mut random);
        report.progress(format_args!(
            "{} moments drawn, publishing {} readings",
            events.len(),
            options.readings
        ));
        Ok(Self {
            publisher: Publisher::start(site, &orders)?,
            options,
            path,
            site,
            programs,
            report,
            plan,
            broker,
            database: Some(database),
            database_since: Instant::now(),
            lampguard,
            events,
            random,
            started: Instant::now(),
            starting: None,
            ready_ms: Vec::new(),
            done: Done::default(),
        })
    }

    /// Until everything is sent and acknowledged, and everything that was to happen has happened.
    pub(super) fn publish(&mut self) -> Result<()> {
        let mut down_until = None;
        while !self.publisher.has_ended() || !self.events.is_empty() || down_until.is_some() {
            std::thread::sleep(Duration::from_millis(5));
            self.look_after()?;
            if down_until.is_some_and(|until| Instant::now() >= until) {
                self.database_up()?;
                down_until = None;
            }
            let sent = if self.publisher.has_ended() { u64::MAX } else { self.publisher.sent() };
            let up = self.database.is_some() && self.database_since.elapsed() >= UP_BEFORE_KILL;
            let due = self
                .events
                .iter()
                .position(|(at, event)| *at <= sent && (up || *event != Event::DatabaseKill));
            let Some((_, event)) = due.and_then(|place| self.events.remove(place)) else {
                continue;
            };
            std::thread::sleep(Duration::from_millis(self.random.below(JITTER_MS)));
            match event {
                Event::Kill => self.kill()?,
                Event::BrokerRestart => self.restart_broker()?,
                Event::DatabaseDown => {
                    down_until = Some(Instant::now() + Duration::from_secs(self.options.db_down));
                    self.database_down()?;
                }
                Event::DatabaseKill => self.kill_database()?,
            }
        }
        Ok(())
    }

    /// Nobody ends by himself; and how long does a restart take?
    fn look_after(&mut self) -> Result<()> {
        self.lampguard.process.check()?;
        if let Some(broker) = &mut self.broker {
            broker.process.check()?;
        }
        if let Some(database) = &mut self.database {
            database.process.check()?;
        }
        if let Some(since) = self.starting
            && self.lampguard.is_ready()
        {
            self.ready_ms.push(since.elapsed().as_secs_f64() * 1000.0);
            self.starting = None;
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let pid = self.lampguard.process.pid();
        self.lampguard.kill_and_restart(self.site)?;
        self.starting = Some(Instant::now());
        self.done.kills += 1;
        self.tell("kill -9", "lampguard", pid)
    }

    fn restart_broker(&mut self) -> Result<()> {
        let (Some(mut broker), Some(program), Some(port)) =
            (self.broker.take(), &self.programs.mosquitto, self.plan.broker)
        else {
            bail!("there is no broker to restart");
        };
        let pid = broker.process.pid();
        broker.process.terminate(GOODBYE)?;
        self.broker = Some(Mosquitto::start(self.site, program, port)?);
        self.done.broker_restarts += 1;
        self.tell("SIGTERM and start", "mosquitto", pid)
    }

    fn database_down(&mut self) -> Result<()> {
        let mut database = self.database.take().context("the database is down already")?;
        let pid = database.process.pid();
        database.process.terminate(GOODBYE)?;
        self.database_since = Instant::now();
        self.tell("SIGTERM", "victoria-metrics", pid)
    }

    fn database_up(&mut self) -> Result<()> {
        self.done.database_down_s += self.database_since.elapsed().as_secs_f64();
        self.start_database()?;
        let pid = self.database.as_ref().map_or(0, |database| database.process.pid());
        self.tell("start", "victoria-metrics", pid)
    }

    fn kill_database(&mut self) -> Result<()> {
        let mut database = self.database.take().context("the database is down")?;
        let pid = database.process.pid();
        database.process.kill();
        self.done.database_kills += 1;
        self.start_database()?;
        self.tell("kill -9 and start", "victoria-metrics", pid)
    }

    fn start_database(&mut self) -> Result<()> {
        let port = self.plan.database.unwrap_or_default();
        self.database = Some(Database::start(self.site, &self.programs.victoria_metrics, port)?);
        self.database_since = Instant::now();
        Ok(())
    }

    fn tell(&mut self, what: &str, whom: &str, pid: u32) -> Result<()> {
        let row = row("event", self.path)
            .text("what", what)
            .text("whom", whom)
            .number("pid", f64::from(pid))
            .number("at_s", self.started.elapsed().as_secs_f64())
            .number("sent", self.publisher.sent() as f64);
        self.report.row(&row)
    }

    /// Waits until the followers are through and the books have nothing pending; returns how long it took.
    pub(super) fn settle(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let (since, patience) = (self.database_since, Duration::from_secs(self.options.settle));
        self.report.progress("everything is sent, waiting until it is in the database");
        let mut quiet_since = None;
        self.lampguard.wait_until("a lag of 0 and nothing pending", patience, |it| {
            let up = metric(&it.metrics()?, "lampguard_tsdb_up") == Some(1.0);
            let quiet =
                up && since.elapsed() >= NOTICED && it.waiting()? == 0.0 && it.accounting()?.pending == 0;
            if !quiet {
                quiet_since = None;
                return Ok(false);
            }
            Ok(quiet_since.get_or_insert_with(Instant::now).elapsed() >= QUIET)
        })?;
        Ok(started.elapsed())
    }

    /// Ends everybody cleanly, so that what is kept can be looked at; returns how long lampguard took.
    pub(super) fn end(&mut self, patience: Duration) -> Result<Duration> {
        let took = self.lampguard.process.terminate(patience)?;
        if let Some(database) = &mut self.database {
            database.process.terminate(GOODBYE)?;
        }
        if let Some(broker) = &mut self.broker {
            broker.process.terminate(GOODBYE)?;
        }
        Ok(took)
    }

    /// Has the oracle compare its list with the database.
    pub(super) fn compare<T: DeserializeOwned>(&self) -> Result<T> {
        let url = format!("http://127.0.0.1:{}", self.plan.database.unwrap_or_default());
        let mut command = Command::new(&self.programs.python);
        command.arg("-u").arg(self.site.dir.join("oracle.py")).arg("check").arg("--dir").arg(&self.site.dir);
        let answer =
            command.args(["--database", &url]).stdin(Stdio::null()).output().context("running the oracle")?;
        let words = String::from_utf8_lossy(&answer.stdout);
        // It exits with 1 when the sets differ; the line then says how.
        serde_json::from_str(words.trim()).with_context(|| {
            format!("the oracle said {words:?} and {}", String::from_utf8_lossy(&answer.stderr))
        })
    }
}

/// The moments, in order of the readings they are tied to. Each kind has its part of the stream: kills all
/// over it, one in each of equal slots; the outage from a fifth on; the database's kill near the end.
fn draw(options: &Crash, path: Path, random: &mut Random) -> VecDeque<(u64, Event)> {
    let mut events = Vec::new();
    let mut put = |event, from: f64, to: f64| {
        let at = options.readings as f64 * (from + (to - from) * random.share());
        events.push((at as u64, event));
    };
    for kill in 0..options.kills {
        let slot = 0.95 / options.kills as f64;
        put(Event::Kill, 0.02 + slot * kill as f64, 0.02 + slot * (kill + 1) as f64);
    }
    let restarts = if path == Path::Broker { options.broker_restarts } else { 0 };
    for restart in 0..restarts {
        let slot = 0.8 / restarts as f64;
        put(Event::BrokerRestart, 0.1 + slot * restart as f64, 0.1 + slot * (restart + 1) as f64);
    }
    if options.db_down > 0 {
        put(Event::DatabaseDown, 0.2, 0.3);
    }
    if options.db_kill {
        put(Event::DatabaseKill, 0.8, 0.95);
    }
    events.sort_by_key(|(at, _)| *at);
    events.into()
}
