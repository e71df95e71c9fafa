//! The configuration: one TOML file, environment over it, every fault told at once.
//!
//! `LAMPGUARD__SECTION__KEY` overrides a scalar. Paths are relative to the file. The commented sample that
//! `config print` shows is `deploy/lampguard.toml`; a test proves that it loads and names every key.

pub(crate) mod channel;
mod check;
pub(crate) mod nodes;
pub(crate) mod people;
pub(crate) mod policy;
mod tree;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use lampguard_alerting::lighting::LightingConfig;
use lampguard_alerting::safety::SafetyText;
use lampguard_alerting::{Ladders, Policies};
use lampguard_ingester::config::{BrokerConfig, JournalConfig, ListenerConfig, QuarantineConfig, TsdbConfig};
use lampguard_ingester::profile::ProfileConfig;
use serde::Deserialize;

use crate::heartbeat::HeartbeatConfig;
use crate::proof::ProofConfig;
use crate::test_dispatch::TestDispatchConfig;
pub(crate) use channel::Channel;
pub(crate) use people::{Crew, Zone};

/// The commented sample of every key.
pub(crate) const SAMPLE: &str = include_str!("../deploy/lampguard.toml");

/// Everything that can be configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) site: Site,
    /// What `safety_text_file` says; our own words without one.
    pub(crate) safety: Arc<SafetyText>,
    pub(crate) posts: Posts,
    pub(crate) listener: Option<ListenerConfig>,
    pub(crate) brokers: Vec<BrokerConfig>,
    pub(crate) profiles: Vec<ProfileConfig>,
    pub(crate) journal: JournalConfig,
    pub(crate) quarantine: QuarantineConfig,
    pub(crate) history: History,
    pub(crate) policy: PolicySection,
    /// What the policy file says; the defaults without one.
    pub(crate) policies: Policies,
    /// Without it lamps follow the sun, and supply what is measured.
    pub(crate) lighting: Option<LightingConfig>,
    pub(crate) tsdbs: Vec<TsdbConfig>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) crews: Vec<Crew>,
    pub(crate) shifts: Vec<people::ShiftSection>,
    pub(crate) duty: Vec<people::DutySection>,
    pub(crate) calendar: people::CalendarSection,
    pub(crate) desk: Option<people::Someone>,
    pub(crate) supervisor: Option<people::Someone>,
    pub(crate) head: Option<people::Someone>,
    pub(crate) channels: Vec<Channel>,
    /// Who is told when nobody comes: `[[escalation]]`, and the defaults of the rules.
    pub(crate) ladders: Ladders,
    pub(crate) web: Web,
    /// Without it no proofs are sent.
    pub(crate) proof: Option<ProofConfig>,
    /// Without it nobody outside hears of us.
    pub(crate) heartbeat: Option<HeartbeatConfig>,
    pub(crate) test_dispatch: TestDispatchConfig,
    /// Without it this node owns everything.
    pub(crate) nodes: Option<nodes::NodesSection>,
}

/// `[site]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) time_zone: String,
    pub(crate) language: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) safety_text_file: Option<PathBuf>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            name: "lampguard".to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
            language: "zh-CN".to_owned(),
            data_dir: PathBuf::from("data"),
            safety_text_file: None,
        }
    }
}

/// `[posts]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Posts {
    pub(crate) file: PathBuf,
}

/// `[history]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct History {
    pub(crate) keep_days: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { keep_days: 30 }
    }
}

/// `[policy]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicySection {
    pub(crate) file: Option<PathBuf>,
}

/// `[web]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Web {
    pub(crate) bind: SocketAddr,
    pub(crate) public_url: Option<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// Why the interface may be open to others without TLS of its own.
    pub(crate) i_accept: Option<String>,
    /// Proxies whose X-Forwarded-For is believed.
    pub(crate) proxies: Vec<IpAddr>,
}

impl Web {
    /// Browsers reach us by TLS, ours or that of a proxy.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls_cert.is_some() || self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Name of the cookie of somebody who signed in. `__Host-`: no other host of the domain can set it.
    pub(crate) fn session_cookie(&self) -> &'static str {
        if self.is_secure() { "__Host-lampguard" } else { "lampguard_session" }
    }

    /// Name of the cookie of a wall.
    pub(crate) fn kiosk_cookie(&self) -> &'static str {
        if self.is_secure() { "__Host-lampguard-kiosk" } else { "lampguard_kiosk" }
    }

    /// Where this machine itself reaches the interface that listens on `at`.
    pub(crate) fn own_url(&self, mut at: SocketAddr) -> String {
        if at.ip().is_unspecified() {
            at.set_ip(if at.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        format!("{}://{at}", if self.tls_cert.is_some() { "https" } else { "http" })
    }

    /// Where people reach it, without a slash at the end.
    pub(crate) fn root(&self) -> String {
        let public = self.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        public.unwrap_or_else(|| self.own_url(self.bind))
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            tls_cert: None,
            tls_key: None,
            i_accept: None,
            proxies: Vec::new(),
        }
    }
}

/// One fault of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `section.key`, as far as it is known.
    pub(crate) key: String,
    /// Line in the file, where it could be found.
    pub(crate) line: Option<usize>,
    /// What is wrong and the way out.
    pub(crate) reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}: {}", self.key, self.reason),
            None => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

/// A configuration that cannot be used: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("configuration {} has {} fault(s):\n{}", file.display(), faults.len(),
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct BadConfig {
    pub(crate) file: PathBuf,
    pub(crate) faults: Vec<Fault>,
}

/// The file that is meant: the one named, else the one in the working folder, else the system's.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = named {
        return Ok(file.to_owned());
    }
    let usual = [PathBuf::from("lampguard.toml"), PathBuf::from("/etc/lampguard/lampguard.toml")];
    match usual.iter().find(|file| file.is_file()) {
        Some(file) => Ok(file.clone()),
        None => bail!(
            "no configuration: neither ./lampguard.toml nor /etc/lampguard/lampguard.toml is there. \
             `lampguard config print > lampguard.toml` writes a commented sample, --config names another file"
        ),
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// [`BadConfig`] with every fault at once.
pub(crate) fn load(file: &Path) -> Result<Config, BadConfig> {
    let bad = |faults| BadConfig { file: file.to_owned(), faults };
    let (tree, text) = tree::read(file).map_err(|fault| bad(vec![fault]))?;
    let mut faults = Vec::new();
    let (mut config, escalations) = tree::sections(tree, &mut faults);
    check::make_absolute(&mut config, file.parent().unwrap_or(Path::new(".")));
    check::check(&config, &mut faults);
    config.ladders = check::ladders(&escalations, &config, &mut faults);
    if let Some(file) = &config.policy.file {
        match policy::read(file) {
            Ok(policies) => config.policies = policies,
            Err(bad) => faults.extend(bad.faults.iter().map(|fault| policy::of_file(file, fault))),
        }
    }
    if let Some(file) = &config.site.safety_text_file {
        config.safety = Arc::new(check::safety(file, &mut faults));
    }
    if faults.is_empty() {
        return Ok(config);
    }
    for fault in &mut faults {
        fault.line = fault.line.or_else(|| tree::line_of(&text, &fault.key));
    }
    Err(bad(faults))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
