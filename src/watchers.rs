//! Those who watch the watcher, together: proofs, the heartbeat, tests of people, and what is told to the rules.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use lampguard_alerting::{Secret, TestSetup};
use lampguard_model::{Register, Timestamp};
use prometheus::Registry;
use tokio::sync::watch;

use crate::backup::Restored;
use crate::certificates::{self, Certificates};
use crate::clock;
use crate::config::Config;
use crate::heartbeat::{self, Pulse};
use crate::metrics::Watching;
use crate::nodes;
use crate::proof;
use crate::serve::Instance;
use crate::test_dispatch;

/// What an instance has of them.
pub(crate) struct Watchers {
    /// Proofs that are on their way, and how the last ones went; none where none are sent.
    pub(crate) proofs: Option<Arc<proof::Watch>>,
    /// How people are tested; none where nobody is.
    pub(crate) tests: Option<TestSetup>,
    /// How the last heartbeat went.
    pub(crate) pulse: Pulse,
    pub(crate) metrics: Watching,
    /// The data came from a backup, and nobody has ended that notice.
    restored: Option<Restored>,
    pub(crate) certificates: Certificates,
}

impl Watchers {
    pub(crate) fn open(
        config: &Config,
        dir: &Path,
        register: &Register,
        registry: &Registry,
    ) -> Result<Self> {
        let metrics = Watching::register(registry, config.proof.is_some(), config.heartbeat.is_some())?;
        let proofs = proof::Watch::open(config, register, metrics.clone())?;
        let tests = if nodes::is_silent(config) { None } else { test_dispatch::setup(config, dir)? };
        let restored = Restored::find(dir, &config.site.time_zone, clock::now());
        let certificates = Certificates::of(config, dir, metrics.certificate_ends.clone());
        Ok(Self { proofs, tests, pulse: Pulse::default(), metrics, restored, certificates })
    }

    /// The backup's moment, where the data came from one.
    pub(crate) fn restored_moment(&self) -> Option<Timestamp> {
        self.restored.as_ref().map(Restored::moment)
    }

    /// A part's incident was ended by people while the part was bad.
    pub(crate) fn dismiss(&self, part: &str) {
        if let Some(restored) = &self.restored {
            restored.dismiss(part);
        }
        self.certificates.dismiss(part);
    }

    /// Signs the links by which people confirm a test.
    pub(crate) fn test_links(&self) -> Option<&Secret> {
        self.tests.as_ref().map(|tests| &tests.key)
    }

    /// Parts of the system, each with what is wrong with it.
    pub(crate) fn parts(&self) -> Vec<(String, bool, String)> {
        let proofs = self.proofs.iter().flat_map(|proofs| proofs.parts());
        let of_data = self.restored.as_ref().map(Restored::part);
        let certificates = self.certificates.parts(clock::now());
        proofs.chain(self.pulse.part()).chain(of_data).chain(certificates).collect()
    }
}

/// Starts all of them; they end with `ending`.
pub(crate) fn start(
    instance: &Arc<Instance>,
    listener: Option<SocketAddr>,
    ending: &watch::Receiver<bool>,
) -> Result<()> {
    proof::start(instance, listener, ending)?;
    tokio::spawn(heartbeat::run(instance.clone(), ending.clone()));
    tokio::spawn(crate::watch::run(instance.clone(), ending.clone()));
    certificates::ask_brokers(instance, ending);
    Ok(())
}
