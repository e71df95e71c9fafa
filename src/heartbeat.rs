//! The dead man's switch: somebody outside hears of us every minute while everything works, and calls people when not.
//!
//! It is no timer. Before each beat a proof goes through intake, journal, rules, outbox and sink; brokers, the zones'
//! proofs, the store and the channels have to be good as well. One thing that is not, and the beat is withheld.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lampguard_alerting::{HiddenUrl, Web};
use lampguard_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::channel::read_secret;
use crate::proof;
use crate::serve::Instance;

/// Sources and followers need a moment to come up.
const FIRST: Duration = Duration::from_secs(5);
/// Every check has to be through within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// `[heartbeat]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HeartbeatConfig {
    /// Where to. Such addresses are secrets: whoever knows one can pretend that we live.
    pub(crate) url: Option<String>,
    /// File that holds it instead.
    pub(crate) url_file: Option<PathBuf>,
    /// `post` with what works as JSON, or `get`.
    pub(crate) method: Method,
    /// Seconds between two beats; 0 is the default of 60.
    pub(crate) every_s: Option<u64>,
    /// A host name may resolve to a private address.
    pub(crate) allow_private: bool,
}

/// How it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// With a body.
    #[default]
    Post,
    /// Without.
    Get,
}

impl HeartbeatConfig {
    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(self.every_s.unwrap_or(60))
    }

    fn address(&self) -> Result<String> {
        match (&self.url, &self.url_file) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(file)) => read_secret(file),
            (None, None) => bail!("[heartbeat] has neither url nor url_file"),
        }
    }
}

/// How the last beat went: `None` before the first.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<Result<(), String>>>);

impl Pulse {
    fn set(&self, outcome: Result<(), String>) -> Option<Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(outcome)
    }

    /// A part of the system.
    pub(crate) fn part(&self) -> Option<(String, bool, String)> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref()?;
        Some(("heartbeat".to_owned(), last.is_ok(), last.as_ref().err().cloned().unwrap_or_default()))
    }
}

/// What works: a word for each, and why not.
struct Works {
    checks: [(&'static str, Result<(), String>); 5],
    took: Option<Duration>,
}

impl Works {
    fn fault(&self) -> Option<String> {
        let bad = self
            .checks
            .iter()
            .filter_map(|(word, check)| check.as_ref().err().map(|why| format!("{word}: {why}")));
        let bad: Vec<String> = bad.collect();
        (!bad.is_empty()).then(|| bad.join("; "))
    }

    fn body(&self, instance: &Instance) -> Value {
        let works: serde_json::Map<String, Value> =
            self.checks.iter().map(|(word, check)| ((*word).to_owned(), json!(check.is_ok()))).collect();
        json!({
            "site": instance.config.site.name,
            "version": env!("CARGO_PKG_VERSION"),
            "at": (instance.clock)().to_rfc3339(),
            "works": works,
            "proof_ms": self.took.map(|took| took.as_millis() as u64),
        })
    }
}

/// Beats until `ending`.
pub(crate) async fn run(instance: Arc<Instance>, mut ending: watch::Receiver<bool>) {
    let (Some(config), Some(proofs)) = (instance.config.heartbeat.clone(), instance.watchers.proofs.clone())
    else {
        return;
    };
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = ending.changed() => return,
        }
        pause = config.every();
        let works = look(&instance, &proofs).await;
        let (word, outcome) = match works.fault() {
            Some(fault) => ("withheld", Err(format!("withheld, because not everything works: {fault}"))),
            None => {
                let (config, body, now) = (config.clone(), works.body(&instance), (instance.clock)());
                let sent = tokio::task::spawn_blocking(move || send(&config, &body, now)).await;
                match sent {
                    Ok(Ok(())) => ("sent", Ok(())),
                    Ok(Err(error)) => ("failed", Err(format!("{error:#}"))),
                    Err(error) => ("failed", Err(error.to_string())),
                }
            }
        };
        instance.watchers.metrics.heartbeats.with_label_values(&[word]).inc();
        instance.watchers.metrics.heartbeat_up.set(i64::from(outcome.is_ok()));
        let before = instance.watchers.pulse.set(outcome.clone());
        match (&outcome, before) {
            (Err(because), None | Some(Ok(()))) => warn!(because, "no heartbeat goes out"),
            (Ok(()), Some(Err(_))) => info!("the heartbeat goes out again"),
            _ => {}
        }
    }
}

/// Everything a danger needs on its way to people.
async fn look(instance: &Arc<Instance>, proofs: &proof::Watch) -> Works {
    let through = proof::inside(instance, proofs, PATIENCE).await;
    let step = |steps: &[proof::Step]| match &through {
        Err(failed) if steps.contains(&failed.step) => Err(failed.because.clone()),
        _ => Ok(()),
    };
    let keeper = instance.clone();
    let kept = tokio::task::spawn_blocking(move || keeper.alerting.keeps(PATIENCE)).await.unwrap_or(false);
    let store = if kept { Ok(()) } else { Err("the incident store takes nothing".to_owned()) };
    let judging = step(&[proof::Step::Arrive, proof::Step::Judge]);
    let journal = step(&[proof::Step::Publish, proof::Step::Keep]);
    let telling = step(&[proof::Step::Tell]).and_then(|()| channels(instance));
    let receiving = sources(instance, proofs);
    let checks = [
        ("receiving", receiving),
        ("journal", journal),
        ("judging", judging),
        ("store", store),
        ("telling", telling),
    ];
    Works { checks, took: through.ok() }
}

fn sources(instance: &Instance, proofs: &proof::Watch) -> Result<(), String> {
    let brokers = crate::watch::gauges(&instance.registry, "lampguard_broker_up");
    if let Some((id, _)) = brokers.iter().find(|(_, up)| *up < 1.0) {
        return Err(format!("broker {id} is away"));
    }
    match proofs.parts().into_iter().find(|(_, good, _)| !good) {
        Some((.., because)) => Err(because),
        None => Ok(()),
    }
}

/// At least one way to people took what it was last told; the console counts where there is nothing else.
fn channels(instance: &Instance) -> Result<(), String> {
    let up = crate::watch::gauges(&instance.registry, "lampguard_alerting_channel_up");
    let of_people = |id: &str| {
        instance.config.channels.iter().any(|channel| channel.id == id && channel.kind != "console")
    };
    let real: Vec<&(String, f64)> = up.iter().filter(|(id, _)| of_people(id)).collect();
    let tried = instance.config.channels.iter().filter(|channel| of_people(&channel.id)).count();
    // A channel that was never tried has no gauge, and is not held against it.
    if real.len() == tried && !real.is_empty() && real.iter().all(|(_, up)| *up < 1.0) {
        return Err("no channel takes what it is told".to_owned());
    }
    Ok(())
}

fn send(config: &HeartbeatConfig, body: &Value, now: Timestamp) -> Result<()> {
    let url = HiddenUrl::new(&config.address()?);
    let web = Web { url, allow_private: config.allow_private, ..Web::default() };
    let body = body.to_string();
    // What went wrong is told without the address: it is a secret.
    web.send((config.method == Method::Post).then_some(body.as_bytes()), now).context("sending the heartbeat")
}
