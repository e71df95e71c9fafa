//! A proof for each zone: a known leak goes in by the real port as a sensor's would, and has to come out at a sink in
//! time. What does not is a fault of the system that says how far it came.
//!
//! ```text
//! 1 connect   a connection of its own to the listener or broker, with a real login
//! 2 publish   PUBLISH of QoS 1 on lamp/ZONE/PROOF-ZONE/reading, PUBACK
//! 3 arrive    the intake takes it, known by its number (ingester/src/proof.rs)
//! 4 judge     the rules raise a P1, in an engine of its own (alerting/src/proof.rs)
//! 5 tell      outbox, a channel's thread, the sink
//! 6 keep      acknowledged, so it is in the journal
//! ```

mod mqtt;
mod round;

pub(crate) use round::inside;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lampguard_alerting::{ProofSetup, Reached};
use lampguard_ingester::proof::{PREFIX, ProofKey, Proofs};
use lampguard_ingester::source::broker::wire::Remote;
use lampguard_model::{Register, Timestamp};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::Watching;

/// Zone of the proof that the heartbeat sends inside; its post is in no register.
pub(crate) const INSIDE: &str = "inside";

/// `[proof]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProofConfig {
    /// Seconds between two proofs of a zone.
    pub(crate) every_s: u64,
    /// It has to come out within so many seconds.
    pub(crate) within_s: u64,
    /// Zones; empty: all.
    pub(crate) zones: Vec<String>,
    /// By which ways, `listener` or `broker:ID`; empty: all there are.
    pub(crate) via: Vec<String>,
    /// Login at the listener.
    pub(crate) username: Option<String>,
    /// File with its token or password.
    pub(crate) password_file: Option<PathBuf>,
    /// File of the key; shared by instances that read from one broker.
    pub(crate) key_file: Option<PathBuf>,
}

impl Default for ProofConfig {
    fn default() -> Self {
        Self {
            every_s: 300,
            within_s: 10,
            zones: Vec::new(),
            via: Vec::new(),
            username: None,
            password_file: None,
            key_file: None,
        }
    }
}

/// How far a proof has to come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The port lets us in.
    Connect,
    /// It takes what we publish.
    Publish,
    /// It comes in at the intake.
    Arrive,
    /// The rules raise it.
    Judge,
    /// It comes out at the sink.
    Tell,
    /// It is acknowledged, so it is on disk.
    Keep,
}

impl Step {
    /// The word in metrics and texts.
    pub(crate) fn name(self) -> &'static str {
        ["connect", "publish", "arrive", "judge", "tell", "keep"][self as usize]
    }
}

/// A proof did not come out.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    /// Where it stopped.
    pub(crate) step: Step,
    /// In words.
    pub(crate) because: String,
}

/// The last proof of a zone.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// When it was sent.
    pub(crate) at: Timestamp,
    /// How long it took to the sink, milliseconds; or why it did not come out.
    pub(crate) outcome: Result<u64, Failed>,
}

/// A proof on its way.
struct Awaited {
    arrived: bool,
    raised: bool,
    told: Option<oneshot::Sender<()>>,
}

/// What is on its way, and how the last ones went.
pub(crate) struct Watch {
    key: ProofKey,
    /// By device and number; each leaves at the end of its round.
    awaited: Mutex<HashMap<(String, u64), Awaited>>,
    /// By zone and way.
    verdicts: Mutex<BTreeMap<String, BTreeMap<String, Verdict>>>,
    metrics: Watching,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proof post of a zone.
pub(crate) fn post_of(zone: &str) -> String {
    format!("{PREFIX}{zone}")
}

impl Watch {
    /// Makes the key ready and checks that no real post has a name of ours; `None` when neither proofs nor the heartbeat
    /// are configured.
    pub(crate) fn open(config: &Config, register: &Register, metrics: Watching) -> Result<Option<Arc<Self>>> {
        if config.proof.is_none() && config.heartbeat.is_none() {
            return Ok(None);
        }
        for zone in config.zones.iter().map(|zone| zone.id.as_str()).chain([INSIDE]) {
            let post = post_of(zone);
            if register.by_post(&post).is_some() || register.by_device(&post).is_some() {
                let text = format!(
                    "the register names {post}, which is kept for proofs; give that post another name"
                );
                return Err(anyhow!(crate::UsageError(text)));
            }
        }
        let own = config.site.data_dir.join("proof.key");
        let file = config.proof.as_ref().and_then(|proof| proof.key_file.clone()).unwrap_or(own);
        let key = ProofKey::load_or_make(&file)?;
        let (awaited, verdicts) = (Mutex::default(), Mutex::default());
        Ok(Some(Arc::new(Self { key, awaited, verdicts, metrics })))
    }

    /// What the intake needs.
    pub(crate) fn for_intake(self: &Arc<Self>) -> Proofs {
        let watch = self.clone();
        let seen = move |device: &str, number| watch.note(device, number, |awaited| awaited.arrived = true);
        Proofs { key: self.key.clone(), seen: Arc::new(seen) }
    }

    /// What alerting needs.
    pub(crate) fn for_alerting(self: &Arc<Self>, config: &Config) -> Result<ProofSetup> {
        let zones = config.zones.iter().map(|zone| zone.id.as_str()).chain([INSIDE]);
        let line = |zone: &str| format!("{},,{zone},,1,,{PREFIX},,0,0,1,1,false,,\n", post_of(zone));
        let text: String = std::iter::once(format!("{}\n", lampguard_model::register::header()))
            .chain(zones.map(line))
            .collect();
        let register = Register::parse(text.as_bytes());
        let register = register.map_err(|faults| anyhow!("the register of proofs: {}", faults[0]))?;
        let watch = self.clone();
        let reached = move |reached: Reached, post: &str, number: u64| {
            watch.note(post, number, |awaited| match reached {
                Reached::Raised => awaited.raised = true,
                Reached::Told => {
                    if let Some(told) = awaited.told.take() {
                        // The round may have ended a moment ago.
                        let _ = told.send(());
                    }
                }
            });
        };
        Ok(ProofSetup { register: Arc::new(register), reached: Arc::new(reached) })
    }

    /// A proof of an earlier run, or of another instance, is awaited by nobody.
    fn note(&self, device: &str, number: u64, change: impl FnOnce(&mut Awaited)) {
        if let Some(awaited) = lock(&self.awaited).get_mut(&(device.to_owned(), number)) {
            change(awaited);
        }
    }

    /// The last proof of a zone: the worst of its ways.
    pub(crate) fn verdict(&self, zone: &str) -> Option<(String, Verdict)> {
        let verdicts = lock(&self.verdicts);
        let of_zone = verdicts.get(zone)?;
        let bad = of_zone.iter().find(|(_, verdict)| verdict.outcome.is_err());
        let slowest = || of_zone.iter().max_by_key(|(_, verdict)| verdict.outcome.as_ref().ok().copied());
        bad.or_else(slowest).map(|(way, verdict)| (way.clone(), verdict.clone()))
    }

    /// Parts of the system: each zone whose proof fails; all of them together when none comes out.
    pub(crate) fn parts(&self) -> Vec<(String, bool, String)> {
        let zones: Vec<String> = lock(&self.verdicts).keys().cloned().collect();
        let told: Vec<(String, String, Verdict)> = zones
            .into_iter()
            .filter_map(|zone| self.verdict(&zone).map(|(way, verdict)| (zone, way, verdict)))
            .collect();
        let all = told.len() > 1 && told.iter().all(|(.., verdict)| verdict.outcome.is_err());
        let words = |zone: &str, way: &str, failed: &Failed| {
            let (step, because) = (failed.step.name(), &failed.because);
            format!(
                "责任区 {zone} 自检失败, 环节 {step} (proof of zone {zone} by {way} failed at step {step}: {because})"
            )
        };
        let mut parts: Vec<(String, bool, String)> = told
            .iter()
            .map(|(zone, way, verdict)| match &verdict.outcome {
                Err(failed) if !all => (format!("proof:{zone}"), false, words(zone, way, failed)),
                _ => (format!("proof:{zone}"), true, String::new()),
            })
            .collect();
        if told.len() > 1 {
            let first = told.iter().find_map(|(zone, way, verdict)| {
                verdict.outcome.as_ref().err().map(|failed| words(zone, way, failed))
            });
            let because = first
                .filter(|_| all)
                .map_or_else(String::new, |first| format!("全部责任区 (all zones): {first}"));
            parts.push(("proof:all".to_owned(), !all, because));
        }
        parts
    }

    fn conclude(&self, zone: &str, way: &str, at: Timestamp, outcome: Result<Duration, Failed>) {
        let word = outcome.as_ref().err().map_or("told", |failed| failed.step.name());
        self.metrics.proofs.with_label_values(&[zone, word]).inc();
        if let Ok(took) = &outcome {
            self.metrics.proof_seconds.observe(took.as_secs_f64());
        }
        let outcome = outcome.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let verdict = Verdict { at, outcome };
        lock(&self.verdicts).entry(zone.to_owned()).or_default().insert(way.to_owned(), verdict);
        let good = self.verdict(zone).is_some_and(|(_, verdict)| verdict.outcome.is_ok());
        self.metrics.proof_up.with_label_values(&[zone]).set(i64::from(good));
    }
}

/// A way in: its name, and where it is.
#[derive(Clone)]
struct Way {
    name: String,
    port: mqtt::Port,
}

/// The ways that are configured; `listener` is where ours listens.
fn ways(config: &Config, proof: &ProofConfig, listener: Option<std::net::SocketAddr>) -> Result<Vec<Way>> {
    let wanted = |name: &str| proof.via.is_empty() || proof.via.iter().any(|via| via == name);
    let mut ways = Vec::new();
    if let (Some(section), Some(address)) = (&config.listener, listener.filter(|_| wanted("listener"))) {
        let host = match address.ip() {
            ip if ip.is_unspecified() && ip.is_ipv6() => "::1".to_owned(),
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip => ip.to_string(),
        };
        let login = match (&proof.username, &proof.password_file) {
            (Some(user), Some(file)) => Some((user.clone(), crate::config::channel::read_secret(file)?)),
            _ => None,
        };
        let tls = match section.tls_cert.as_deref() {
            None => mqtt::Secure::Plain,
            Some(file) => mqtt::Secure::Own(file.to_owned()),
        };
        ways.push(Way {
            name: "listener".to_owned(),
            port: mqtt::Port { host, port: address.port(), login, tls },
        });
    }
    // A proof has to come out at the judge: where nothing is judged there is nothing to prove.
    for broker in
        config.brokers.iter().filter(|broker| broker.judge && wanted(&format!("broker:{}", broker.id)))
    {
        let Remote { host, port, tls } = crate::brokers::remote(broker).map_err(|reason| anyhow!(reason))?;
        let tls = tls.map_or(mqtt::Secure::Plain, mqtt::Secure::Broker);
        let login = crate::brokers::login(broker)?;
        ways.push(Way { name: format!("broker:{}", broker.id), port: mqtt::Port { host, port, login, tls } });
    }
    Ok(ways)
}

/// Starts the rounds of every zone; they end with `ending`.
pub(crate) fn start(
    instance: &Arc<crate::serve::Instance>,
    listener: Option<std::net::SocketAddr>,
    ending: &tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let (Some(proof), Some(watch)) = (&instance.config.proof, &instance.watchers.proofs) else {
        return Ok(());
    };
    let ways = ways(&instance.config, proof, listener).context("[proof]")?;
    let zones =
        instance.config.zones.iter().filter(|zone| proof.zones.is_empty() || proof.zones.contains(&zone.id));
    for (place, zone) in zones.enumerate() {
        for way in &ways {
            let round = round::Rounds {
                instance: instance.clone(),
                watch: watch.clone(),
                zone: zone.id.clone(),
                way: way.clone(),
                every: Duration::from_secs(proof.every_s),
                within: Duration::from_secs(proof.within_s),
            };
            tokio::spawn(round.run(place, ending.clone()));
        }
    }
    Ok(())
}
