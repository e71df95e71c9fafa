//! The wiring: builds the parts, joins them, waits, and ends them in order.
//!
//! ```text
//!  lock data dir → bind web → register → history, databases: their cursors
//!    → journal recovered → followers registered → alerting replays and goes live
//!    → intake and committer → followers' threads → listener, brokers → "ready"
//! ```
//! While it runs SIGHUP has register, lighting and policy read again (`reload.rs`).
//!
//! Ending goes the other way round: sources stop reading, what was handed over becomes durable and is
//! acknowledged, followers take the rest, alerting commits.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use lampguard_alerting::lighting::Lighting;
use lampguard_alerting::{Alerting, ChannelKind, Ladders, Links, Policies, SiteText};
use lampguard_history::{History, HistoryView, Latest};
use lampguard_ingester::config::{MappingConfig, TsdbConfig};
use lampguard_ingester::intake::{Gate, Mapping};
use lampguard_ingester::profile::Profiles;
use lampguard_ingester::source::broker::{self, Broker};
use lampguard_ingester::source::listener::Listener;
use lampguard_ingester::source::server_tls::ServerTls;
use lampguard_ingester::{Ingester, Opened, tsdb};
use lampguard_journal::{Follower, FrameBuf};
use lampguard_model::record::{self, Record};
use lampguard_model::{Current, Marks, Register, register};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tracing::{info, warn};

use crate::accounts::Accounts;
use crate::api;
use crate::clock::{self, Clock};
use crate::config::{self, Config};
use crate::data_dir::DataDir;
use crate::device_moves::DeviceMoves;
use crate::metrics::Reloads;
use crate::nodes::{self, Nodes};
use crate::proof;
use crate::reload;
use crate::series;
use crate::supervisor::Supervisor;
use crate::watchers::{self, Watchers};

/// Frames and moves that a slow reader of the live stream may lag behind before it misses some.
const LIVE_FRAMES: usize = 512;
/// Longest wait for the journal at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the HTTP interface sees of a running instance.
pub(crate) struct Instance {
    /// As it was at the start: what SIGHUP replaces stands in `register`, `lighting`, `policies`, `ladders`.
    pub(crate) config: Config,
    pub(crate) register: Current<Register>,
    /// Which devices hung elsewhere, newest first.
    pub(crate) device_moves: Current<DeviceMoves>,
    pub(crate) ingester: OnceLock<Handles>,
    pub(crate) alerting: Arc<Alerting>,
    pub(crate) lighting: Current<Lighting>,
    pub(crate) policies: Current<Policies>,
    pub(crate) ladders: Current<Ladders>,
    pub(crate) reloads: Reloads,
    pub(crate) history: HistoryView,
    pub(crate) latest: Latest,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) watchers: Watchers,
    /// The other nodes, where there are some.
    pub(crate) nodes: Option<Arc<Nodes>>,
    pub(crate) looks: api::looks::Looks,
    pub(crate) outlines: api::maps::Outlines,
    /// What happens, as it happens, for `record`.
    pub(crate) live: broadcast::Sender<Live>,
}

/// Something that a recording holds.
#[derive(Clone, Debug)]
pub(crate) enum Live {
    /// A frame as it was closed.
    Frame(Arc<FrameBuf>),
    /// A move of a person, as its line.
    Move(Arc<str>),
}

/// What is there once the ingester runs.
pub(crate) struct Handles {
    pub(crate) inlet: lampguard_ingester::intake::Inlet,
    pub(crate) accounts: Arc<lampguard_ingester::accounts::Accounts>,
    pub(crate) losses: Arc<lampguard_ingester::loss::LossBook>,
}

impl Handles {
    fn of(ingester: &Ingester) -> Self {
        Self { inlet: ingester.inlet(), accounts: ingester.accounts(), losses: ingester.losses() }
    }
}

/// A running instance.
pub(crate) struct Running {
    pub(crate) instance: Arc<Instance>,
    pub(crate) web: SocketAddr,
    pub(crate) listener: Option<SocketAddr>,
    parts: Parts,
}

struct Parts {
    ingester: Ingester,
    listener: Option<Listener>,
    brokers: Vec<Broker>,
    tsdbs: Databases,
    forwarding: Option<nodes::Running>,
    history: JoinHandle<()>,
    web: tokio::task::JoinHandle<()>,
    end_web: watch::Sender<bool>,
    _dir: DataDir,
}

/// What writes into time-series databases.
struct Databases {
    /// Readings and weather, one for each database.
    rows: Vec<tsdb::Running>,
    /// All that is no reading, for all of them.
    points: Option<series::Running>,
}

/// Runs by the configuration until SIGTERM or Ctrl-C.
pub(crate) fn serve(file: Option<&Path>) -> Result<()> {
    let file = config::find(file)?;
    let config = config::load(&file)?;
    runtime()?.block_on(async {
        let hangups = reload::hangups()?;
        let supervisor = Supervisor::of_environment();
        let running = supervisor.while_starting(start(config)).await?;
        first_login(&running.instance)?;
        supervisor.say("READY=1");
        info!(web = %running.web, "ready");
        tokio::select! {
            () = wait_for_the_end() => {}
            () = reload::follow(running.instance.clone(), file, hangups) => {}
            () = supervisor.feed(&running.instance.registry) => {}
        }
        supervisor.say("STOPPING=1");
        running.stop().await;
        Ok(())
    })
}

/// Where there is no user yet, `admin` is made. Its password goes to the terminal, once; without a terminal, where
/// what is printed is kept by others, into a file that only the owner reads.
fn first_login(instance: &Instance) -> Result<()> {
    let Some(password) = instance.accounts.first_user((instance.clock)())? else { return Ok(()) };
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        println!("\nFirst start: sign in as admin with password {password}   (shown this once 仅显示一次)\n");
        return Ok(());
    }
    let path = instance.config.site.data_dir.join("first_login");
    crate::data_dir::write_private(&path, &format!("admin {password}\n"))?;
    info!(file = %path.display(), "first start: user and password to sign in with stand in the file; remove it then");
    Ok(())
}

/// The runtime of sockets. Decisions, disks and databases have threads of their own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// Returns at SIGTERM or Ctrl-C.
pub(crate) async fn wait_for_the_end() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
    info!("ending");
}

/// Reads and checks the register against the zones of the configuration.
pub(crate) fn load_register(config: &Config) -> Result<Register> {
    let path = &config.posts.file;
    let bytes = std::fs::read(path).with_context(|| format!("reading register {}", path.display()))?;
    check_register(config, &bytes)
}

/// The register that these bytes hold, checked against the zones of the configuration.
pub(crate) fn check_register(config: &Config, bytes: &[u8]) -> Result<Register> {
    let path = &config.posts.file;
    let register = Register::parse(bytes).map_err(|faults| register_faults(path, &faults))?;
    let unknown: Vec<_> = register
        .zones()
        .iter()
        .filter(|zone| !config.zones.iter().any(|known| *known.id == ***zone))
        .map(|zone| &**zone)
        .collect();
    if let Some(nodes) = &config.nodes {
        nodes::check_register(nodes, &register)?;
    }
    if !unknown.is_empty() {
        bail!(crate::UsageError(format!(
            "register {} names zones without a [[zone]]: {}; nobody would be sent there",
            path.display(),
            unknown.join(", ")
        )));
    }
    Ok(register.with_zones(config.zones.iter().map(|zone| &*zone.id)))
}

/// Timetables by the configuration, checked against the register.
pub(crate) fn load_lighting(config: &Config, register: &Register) -> Result<Arc<Lighting>> {
    let zone = jiff::tz::TimeZone::get(&config.site.time_zone)
        .with_context(|| format!("[site] time_zone {:?}", config.site.time_zone))?;
    let built = Lighting::build(config.lighting.as_ref(), zone, register);
    built.map(Arc::new).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
        anyhow!(crate::UsageError(format!("[lighting] has {} fault(s):\n{}", faults.len(), lines.join("\n"))))
    })
}

/// Every fault of a register as one error of wrong configuration.
pub(crate) fn register_faults(path: &Path, faults: &[register::RegisterFault]) -> anyhow::Error {
    const SHOWN: usize = 50;
    let lines: Vec<String> = faults.iter().take(SHOWN).map(|fault| format!("  {fault}")).collect();
    let more =
        if faults.len() > SHOWN { format!("\n  and {} more", faults.len() - SHOWN) } else { String::new() };
    let count = faults.len();
    anyhow!(crate::UsageError(format!(
        "register {} has {count} fault(s):\n{}{more}",
        path.display(),
        lines.join("\n")
    )))
}

async fn open_web(bind: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let doing =
        || format!("opening the HTTP interface on {bind}: choose another [web] bind or end what uses it");
    let socket = TcpListener::bind(bind).await.with_context(doing)?;
    let own = socket.local_addr()?;
    Ok((socket, own))
}

/// Starts every part. Needs the runtime.
pub(crate) async fn start(config: Config) -> Result<Running> {
    let dir = DataDir::lock(&config.site.data_dir)?;
    let (socket, web) = open_web(config.web.bind).await?;
    let register = Arc::new(load_register(&config)?);
    let lighting = load_lighting(&config, &register)?;
    let clock = clock::system();
    let registry = Registry::new();
    let reloads = Reloads::register(&registry)?;
    let (accounts, local) = open_accounts(dir.path(), &clock)?;
    let tls = open_tls(&config.web)?;

    let history = open_history(&config, &dir, &register, &registry)?;
    let mut cursors = vec![history.cursor()];
    cursors.extend(config.tsdbs.iter().map(|database| tsdb::stored_cursor(dir.path(), &database.id)));
    cursors.extend(nodes::cursors(config.nodes.as_ref(), dir.path()));

    keep_policies(&config, dir.path())?;
    say_weak_ladders(&config);
    let watchers = Watchers::open(&config, dir.path(), &register, &registry)?;
    let opened = Opened::open(dir.path(), &config.journal, &config.quarantine, &cursors)?;
    let nodes = nodes::open(&config, &registry)?;
    let opened = opened.with_proofs(watchers.proofs.as_ref().map(proof::Watch::for_intake));
    let opened = opened.with_nodes(nodes.as_ref().and_then(|nodes| nodes.foreign()));
    let history_follower = opened.tail().follow("history", history.cursor());
    let tsdb_followers = follow_for_databases(&config, &opened, &cursors[1..]);
    let forward_followers = nodes::follow(config.nodes.as_ref(), dir.path(), &opened);
    let rules = (&nodes::judged(&config, &register), &lighting, &watchers);
    let alerting = start_alerting(&config, &dir, &opened, rules, &accounts, &clock, &registry)?;
    let ((live, _), gate) = (broadcast::channel(LIVE_FRAMES), Arc::<OnceLock<Arc<Gate>>>::default());
    let judge = judge(alerting.clone(), history.latest().clone(), live.clone(), gate.clone());
    let (view, latest) = (history.view(), history.latest().clone());
    let register = Current::from(register);
    let ingester = opened.start(register.clone(), judge, clock.clone(), &registry)?;
    let _ = gate.set(ingester.inlet().gate.clone());

    let history = follow_history(history, ingester.journal_dir(), history_follower, &clock)?;
    let forwarding =
        nodes::forward(nodes.as_ref(), (dir.path(), &register), &ingester, forward_followers, &clock)?;
    let tsdbs = start_databases(&config, &dir, &ingester, &registry, tsdb_followers, &clock)?;

    let instance = Arc::new(Instance {
        register,
        device_moves: Arc::new(DeviceMoves::default()).into(),
        ingester: OnceLock::from(Handles::of(&ingester)),
        alerting,
        lighting: lighting.into(),
        policies: Arc::new(config.policies.clone()).into(),
        ladders: Arc::new(config.ladders.clone()).into(),
        reloads,
        history: view,
        latest,
        accounts,
        registry,
        clock,
        watchers,
        nodes,
        looks: api::looks::Looks::default(),
        outlines: api::maps::Outlines::default(),
        live,
        config,
    });
    reload::since_last_start(&instance)?;
    dir.announce(&instance.config.web.own_url(web), &local)?;
    let (end_web, ending) = watch::channel(false);
    let watch_ending = ending.clone();
    let web_task = tokio::spawn(api::run(socket, tls, instance.clone(), ending));
    let (listener, brokers) = start_sources(&instance, &ingester, dir.path()).await?;
    let listener_address = listener.as_ref().map(Listener::address);
    // They end by themselves with the interface.
    watchers::start(&instance, listener_address, &watch_ending)?;
    let tsdbs = Databases { rows: tsdbs, points: series::start(&instance, &ingester)? };
    let parts =
        Parts { ingester, listener, brokers, tsdbs, forwarding, history, web: web_task, end_web, _dir: dir };
    Ok(Running { instance, web, listener: listener_address, parts })
}

/// Keeps the numbers of every version under their fingerprint: what an incident of years ago was judged by.
pub(crate) fn keep_policies(config: &Config, dir: &Path) -> Result<()> {
    let folder = dir.join("policies");
    let doing = || format!("keeping the policy in {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(doing)?;
    for version in config.policies.versions() {
        let file = folder.join(format!("{}.txt", version.hash));
        if !file.exists() {
            std::fs::write(&file, version.policy.canonical()).with_context(doing)?;
        }
        for weak in &version.accepted {
            warn!(
                key = weak.key,
                value = weak.value,
                floor = weak.floor,
                reason = weak.reason,
                "the policy protects less than its floor, accepted"
            );
        }
    }
    Ok(())
}

/// Accounts, and the token by which local commands talk to this process.
fn open_accounts(dir: &Path, clock: &Clock) -> Result<(Arc<Accounts>, String)> {
    let mut accounts = Accounts::open(dir)?;
    let local = accounts.make_local();
    accounts.links.ensure(clock())?;
    Ok((Arc::new(accounts), local))
}

fn open_history(config: &Config, dir: &DataDir, register: &Register, registry: &Registry) -> Result<History> {
    let options = lampguard_history::Options {
        keep_days: config.history.keep_days,
        posts_max: register.posts().len() + lampguard_ingester::admit::UNREGISTERED_TRACKED_MAX,
        ..lampguard_history::Options::default()
    };
    let metrics = lampguard_history::Metrics::register(registry)?;
    History::open(&dir.path().join("history"), options, metrics).context("opening the history")
}

/// Holds the journal for every database from its stored cursor on, before anything is trimmed.
fn follow_for_databases(config: &Config, opened: &Opened, cursors: &[u64]) -> Vec<Follower> {
    // Half of the journal at most, or a dead database would stop acknowledgements before it is cut off.
    let bound = |database: &TsdbConfig| database.max_lag_bytes.min(config.journal.max_bytes / 2);
    let follow = |(database, cursor): (&TsdbConfig, &u64)| {
        opened.tail().follow_bounded(&format!("tsdb:{}", database.id), *cursor, bound(database))
    };
    config.tsdbs.iter().zip(cursors).map(follow).collect()
}

fn start_databases(
    config: &Config,
    dir: &DataDir,
    ingester: &Ingester,
    registry: &Registry,
    followers: Vec<Follower>,
    clock: &Clock,
) -> Result<Vec<tsdb::Running>> {
    if config.tsdbs.is_empty() {
        // A gauge that says 0 for want of a database would be a false alarm.
        registry.unregister(Box::new(ingester.metrics().tsdb.up))?;
    }
    let window = Duration::from_secs(config.journal.replay_window_s);
    let start = |(database, follower): (&TsdbConfig, Follower)| {
        let metrics = ingester.metrics().tsdb;
        tsdb::start(
            database.clone(),
            dir.path(),
            ingester.journal_dir(),
            follower,
            window,
            metrics,
            clock.clone(),
        )
    };
    Ok(config.tsdbs.iter().zip(followers).map(start).collect())
}

fn start_alerting(
    config: &Config,
    dir: &DataDir,
    opened: &Opened,
    (register, lighting, watchers): (&Arc<Register>, &Arc<Lighting>, &Watchers),
    accounts: &Arc<Accounts>,
    clock: &Clock,
    registry: &Registry,
) -> Result<Arc<Alerting>> {
    let channels = channels(config)?;
    let alerting = Alerting::start(lampguard_alerting::Setup {
        dir: dir.path().to_owned(),
        journal_dir: opened.journal_dir().to_owned(),
        tail: opened.tail().clone(),
        register: register.clone(),
        policy: config.policies.clone(),
        lighting: Some(lighting.clone()),
        rota: nodes::rota(config),
        channels,
        proof: watchers.proofs.as_ref().map(|proofs| proofs.for_alerting(config)).transpose()?,
        tests: watchers.tests.clone(),
        ladders: config.ladders.clone(),
        restored: watchers.restored_moment(),
        site: SiteText {
            name: config.site.name.clone(),
            language: config.site.language.clone(),
            public_url: config.web.public_url.clone(),
            time_zone: config.site.time_zone.clone(),
            links: links(accounts),
            safety: config.safety.clone(),
        },
        clock: clock.clone(),
        registry: registry.clone(),
    });
    Ok(Arc::new(alerting.context("starting the alarms")?))
}

fn follow_history(
    history: History,
    journal_dir: &Path,
    follower: Follower,
    clock: &Clock,
) -> std::io::Result<JoinHandle<()>> {
    let (dir, clock) = (journal_dir.to_owned(), clock.clone());
    let work = move || lampguard_history::run(history, dir, follower, clock);
    std::thread::Builder::new().name("history".to_owned()).spawn(work)
}

/// Own ladders that are weaker than the rules, with the reason that they have.
pub(crate) fn say_weak_ladders(config: &Config) {
    for weak in config.ladders.weak() {
        let (severity, weaker) = (weak.severity.name(), weak.weaker.join("; "));
        warn!(severity, zones = ?weak.zones, weaker, reason = weak.reason, "a ladder is weaker than the rules, accepted");
    }
}

/// Signed links for the crews' notices.
fn links(accounts: &Arc<Accounts>) -> Links {
    let accounts = accounts.clone();
    Links::new(Arc::new(move |claims| accounts.links.sign(claims)))
}

fn open_tls(web: &config::Web) -> Result<Option<Arc<ServerTls>>> {
    if let Some(reason) = &web.i_accept {
        warn!(bind = %web.bind, reason, "plain HTTP is open to others, accepted");
    }
    let tls = api::tls_files(web).map(ServerTls::load).transpose();
    Ok(tls.map_err(|e| anyhow!("[web] {e}"))?.map(Arc::new))
}

fn channels(config: &Config) -> Result<Vec<lampguard_alerting::Channel>> {
    if config.channels.is_empty() {
        return Ok(vec![lampguard_alerting::Channel::new("console", ChannelKind::Console)]);
    }
    config.channels.iter().map(config::Channel::build).collect()
}

/// Step 6 of the way of one reading: every closed frame, before it is on disk.
fn judge(
    alerting: Arc<Alerting>,
    latest: Latest,
    live: broadcast::Sender<Live>,
    gate: Arc<OnceLock<Arc<Gate>>>,
) -> lampguard_ingester::run::Judge {
    Box::new(move |frame| {
        alerting.judge(frame.clone());
        // Otherwise the history's follower brings the board up to date; while the disk takes nothing it cannot.
        if gate.get().is_some_and(|gate| gate.is_stopped()) {
            for (_, kind, bytes) in frame.records() {
                if let Ok(Record::Reading(reading)) = record::decode(kind, bytes)
                    && !reading.marks.has(Marks::FOREIGN)
                {
                    latest.observe(&reading);
                }
            }
        }
        if live.receiver_count() > 0 {
            // An error means that the last reader has just gone.
            let _ = live.send(Live::Frame(frame));
        }
    })
}

async fn start_sources(
    instance: &Instance,
    ingester: &Ingester,
    data_dir: &Path,
) -> Result<(Option<Listener>, Vec<Broker>)> {
    let config = &instance.config;
    let profiles = Profiles::load(&config.profiles).map_err(|faults| anyhow!("{}", faults[0]))?;
    let (metrics, clock) = (ingester.metrics(), instance.clock.clone());
    let listener = match &config.listener {
        None => None,
        Some(listener) => {
            let mappings = mappings(&listener.mapping, &profiles);
            Some(Listener::start(listener, mappings, ingester.inlet(), metrics.clone(), clock.clone()).await?)
        }
    };
    if let Some(tls) = listener.as_ref().and_then(Listener::tls) {
        instance.watchers.certificates.serve("listener", tls);
    }
    let mut brokers = Vec::new();
    for config in &config.brokers {
        let options = crate::brokers::options(config, &profiles, data_dir)?;
        let context = broker::Context {
            inlet: ingester.inlet(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            losses: ingester.losses(),
        };
        brokers.push(Broker::start(options, context));
    }
    if listener.is_none() && brokers.is_empty() {
        warn!("neither [listener] nor [[broker]]: readings come in by HTTP alone");
    }
    Ok((listener, brokers))
}

pub(crate) fn mappings(configured: &[MappingConfig], profiles: &Profiles) -> Vec<Mapping> {
    if configured.is_empty() {
        return Mapping::canonical();
    }
    let mapping = |config: &MappingConfig| Mapping {
        filter: config.filter.clone(),
        profile: profiles.get(&config.profile).cloned().map(Arc::new),
    };
    configured.iter().map(mapping).collect()
}

impl Running {
    /// Ends every part in order; under 5 seconds, and nothing acknowledged is lost.
    pub(crate) async fn stop(self) {
        let Parts { ingester, listener, brokers, tsdbs, forwarding, history, web, end_web, _dir } =
            self.parts;
        if let Some(listener) = &listener {
            listener.stop_reading();
        }
        // Makes durable what was handed over; the acknowledgements go into the sources' queues.
        let _ = tokio::task::spawn_blocking(move || ingester.stop(PATIENCE)).await;
        for broker in brokers {
            broker.stop().await;
        }
        if let Some(listener) = listener {
            listener.stop(Duration::from_millis(500)).await;
        }
        end_web.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_millis(500), web).await;
        let alerting = self.instance.alerting.clone();
        let _ = tokio::task::spawn_blocking(move || {
            // Side by side: each may wait almost two seconds for an answer that is under way.
            std::thread::scope(|scope| {
                if let Some(forwarding) = forwarding {
                    scope.spawn(move || forwarding.stop());
                }
                for database in tsdbs.rows {
                    scope.spawn(move || database.stop());
                }
                if let Some(points) = tsdbs.points {
                    scope.spawn(move || points.stop());
                }
            });
            alerting.shutdown();
            if history.join().is_err() {
                warn!("the history ended in panic");
            }
        })
        .await;
        info!("ended");
    }
}
