//! Several nodes (`[nodes]`): each post has one owner that judges it; who receives its readings passes them on.
//!
//! ```text
//!  owners.rs   who owns which post                          pure
//!  turn.rs     whom it is sent to now: owner or standby     pure
//!  heard.rs    which nodes were heard, and what they say    a table; pure
//!  links.rs    how it goes with those that are sent to      a table; pure
//!  batch.rs    what goes in one request                     pure
//!  way.rs      one request to another node
//!  forward.rs  thread `forward:ID`: a follower of the journal with its own cursor
//! ```
//! ```text
//!  receive ─► admit ─► mark `foreign` ─► journal ─fdatasync─► PUBACK           here
//!                                           └► forward:ID ─POST /api/v1/forward─► admit ─► judge ─► journal   its owner
//!                                                          ◄──────── 200 only after its fdatasync ───────┘
//! ```
//! The cursor moves only after that 200, so a kill anywhere sends again, and the owner knows what it has by identity.

mod batch;
mod forward;
mod heard;
mod links;
mod owners;
mod turn;
pub(crate) mod way;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_alerting::rota::Rota;
use lampguard_ingester::loss::replace_file;
use lampguard_ingester::run::Foreign;
use lampguard_ingester::{Ingester, Opened};
use lampguard_journal::Follower;
use lampguard_model::{Current, Register};
use prometheus::Registry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::nodes::{NodesSection, PeerSection};
use crate::config::{self, Config};
use crate::metrics::NodesMetrics;
pub(crate) use forward::Running;
use heard::{Heard, NO_SOURCE, Part, TAKEN_OVER};
use links::Links;
pub(crate) use owners::Owners;
#[cfg(test)]
pub(crate) use owners::tests::city;

/// Said with the silence of a node that this one stands by for.
const STANDING_IN: &str = "；该节点的断电、检修与未结工单在本节点未知，派人前请致电其班组 (isolations, planned work and open cases of that node \
     are not known here: call its crews before you send anybody)";

/// Header of every answer to what is forwarded: which run of the node it was. What a node judged and did not keep, its next
/// run does not know.
pub(crate) const RUN: &str = "x-lampguard-run";

/// Among whom this node is.
pub(crate) struct Nodes {
    /// Another one at each start.
    pub(crate) run: String,
    pub(crate) owners: Owners,
    pub(crate) config: NodesSection,
    heard: Heard,
    links: Links,
    began: Instant,
    metrics: NodesMetrics,
    /// What is wrong here, for the others.
    faults: Mutex<String>,
    hash: Mutex<Option<(Arc<Register>, String)>>,
    receivers: Mutex<Receivers>,
}

/// File with the nodes from which readings came.
struct Receivers {
    file: PathBuf,
    /// It was told that it cannot be written.
    told: bool,
}

impl Nodes {
    /// The nodes of a checked configuration.
    pub(crate) fn new(config: &NodesSection, metrics: NodesMetrics, dir: &Path) -> Self {
        let owners = Owners::of(config);
        let heard = Heard::new(config.peer.len(), Duration::ZERO);
        for node in forward::targets(&owners) {
            // From zero on, so that an alert on the first one can fire.
            metrics.forwarded.with_label_values(&[owners.id(node)]);
            metrics.lost.with_label_values(&[owners.id(node)]);
        }
        let file = dir.join("receivers");
        // Without the file they are known by the first readings that come.
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        for node in known.lines().filter_map(|id| owners.place(id)) {
            heard.note_readings(node);
        }
        let (faults, hash) = (Mutex::default(), Mutex::default());
        Self {
            run: format!("{:016x}", rand::random::<u64>()),
            owners,
            config: config.clone(),
            heard,
            links: Links::new(config.peer.len()),
            began: Instant::now(),
            metrics,
            faults,
            hash,
            receivers: Mutex::new(Receivers { file, told: false }),
        }
    }

    /// Time of this process.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// For the intake; nothing where there is no other node: then each source says itself whether it is judged here.
    pub(crate) fn foreign(&self) -> Option<Foreign> {
        self.owners.others().next()?;
        let owners = self.owners.clone();
        Some(Arc::new(move |zone, feeder, hint| owners.is_foreign(zone, feeder, hint)))
    }

    /// Another node sent something, if only a sign of life.
    pub(crate) fn heard(&self, node: usize, faults: &str) {
        self.heard.note(node, faults, self.now());
    }

    /// Another node sent readings: from now on, and behind a restart, its silence is that of a source.
    pub(crate) fn heard_readings(self: &Arc<Self>, node: usize) {
        if !self.heard.note_readings(node) {
            return;
        }
        // Away from the sockets' threads: a disk may hang. One for each node at most.
        let nodes = self.clone();
        let thread = std::thread::Builder::new().name("nodes:receivers".to_owned());
        if let Err(error) = thread.spawn(move || nodes.write_receivers(node)) {
            warn!(%error, "starting a thread that notes from which nodes readings come; the next readings try again");
            self.heard.is_not_noted(node);
        }
    }

    fn write_receivers(&self, node: usize) {
        // Held while the list is read too: whoever writes last knows of all.
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<&str> = self.heard.receivers().into_iter().map(|node| self.owners.id(node)).collect();
        let written = replace_file(&receivers.file, (ids.join("\n") + "\n").as_bytes());
        let was_told = std::mem::replace(&mut receivers.told, written.is_err());
        if let Err(error) = written {
            self.heard.is_not_noted(node);
            if !was_told {
                let file = receivers.file.display();
                warn!(%file, %error, "nodes from which readings come are not noted; the next readings try again");
            }
        }
    }

    /// What is wrong here goes with the next sign of life, and with it whom we cannot reach. Without a connected source
    /// the silence of our posts says nothing.
    pub(crate) fn set_faults<'p>(&self, parts: impl Iterator<Item = &'p str>, has_source: bool) {
        let ids = || forward::targets(&self.owners).map(|node| self.owners.id(node));
        let taken_over = ids().filter(|id| self.metrics.taken_over.with_label_values(&[id]).get() == 1);
        let links = self.links();
        let links = links.iter().filter(|(_, good, _)| !good).map(|(part, ..)| part.clone());
        let no_source = (!has_source).then(|| NO_SOURCE.to_owned());
        let faults: Vec<String> = no_source
            .into_iter()
            .chain(taken_over.map(|id| format!("{TAKEN_OVER}{id}")))
            .chain(parts.map(str::to_owned))
            .chain(links)
            .collect();
        let faults = faults.join(" ");
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn faults(&self) -> String {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The other nodes as parts of the system.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let now = self.now();
        let mut parts = Vec::new();
        for node in self.owners.others() {
            let id = self.owners.id(node);
            let of_node = self.heard.parts(node, id, now, self.aside(node));
            let good = of_node.iter().all(|(_, good, _)| *good);
            self.metrics.heard.with_label_values(&[id]).set(i64::from(good));
            parts.extend(of_node);
        }
        parts.extend(self.links());
        parts.extend((0..self.config.peer.len()).filter_map(|node| self.split(node, now)));
        parts
    }

    /// The ways to those that are sent to, as parts.
    fn links(&self) -> Vec<Part> {
        let of = |node: usize| {
            let id = self.owners.id(node);
            self.links.parts(node, id, self.metrics.up.with_label_values(&[id]).get() > 0)
        };
        forward::targets(&self.owners).flat_map(of).collect()
    }

    /// An owner lives, and its readings go to its standby all the same, because somebody does not reach it: both judge.
    /// Its standby knows, which hears its signs of life, and the owner itself.
    fn split(&self, node: usize, now: Duration) -> Option<Part> {
        let (id, own) = (self.owners.id(node), self.owners.own());
        let standby = self.config.peer.get(node)?.standby.as_deref()?;
        let stands_in = standby == self.config.name;
        if node != own && !stands_in {
            return None;
        }
        let said = self.heard.who_says(&format!("{TAKEN_OVER}{id}"), now).map(|node| self.owners.id(node));
        let ours = || node != own && self.metrics.taken_over.with_label_values(&[id]).get() == 1;
        let lost_it = said.or_else(|| ours().then_some(self.config.name.as_str()));
        let lost_it = lost_it.filter(|_| node == own || self.heard.lives(node, now));
        let because = lost_it.map_or_else(String::new, |by| {
            format!(
                "{id} 在线，{by} 却无法把读数交给它而转到 {standby}，两处都在判定 (split: owner {id} lives, {by} cannot hand it \
                 its readings, and both it and {standby} judge: mend the way or the token from {by} to {id}, or the disk of {id})"
            )
        });
        Some((format!("split:{id}"), because.is_empty(), because))
    }

    /// What people have to know of a silent node beside its silence.
    fn aside(&self, node: usize) -> &'static str {
        let peer = self.config.peer.get(node);
        if peer.is_some_and(|peer| peer.standby.as_deref() == Some(self.config.name.as_str())) {
            STANDING_IN
        } else {
            ""
        }
    }

    /// For `/readyz`: who is sent to, and how that goes.
    pub(crate) fn state(&self) -> Value {
        let nodes = forward::targets(&self.owners).map(|node| {
            let id = self.owners.id(node);
            let gauge = |gauge: &prometheus::IntGaugeVec| gauge.with_label_values(&[id]).get();
            let (up, lag_s) = (gauge(&self.metrics.up) > 0, gauge(&self.metrics.lag));
            let taken_over = gauge(&self.metrics.taken_over) > 0;
            let why: Vec<String> = self
                .links
                .parts(node, id, up)
                .into_iter()
                .chain(self.split(node, self.now()))
                .filter(|(_, good, _)| !good)
                .map(|(.., because)| because)
                .collect();
            (id.to_owned(), json!({ "up": up, "lag_s": lag_s, "taken_over": taken_over, "why": why }))
        });
        Value::Object(nodes.collect())
    }

    /// Eight bytes that tell registers apart by what the owners depend on: device, post, zone, feeder.
    pub(crate) fn register_hash(&self, register: &Arc<Register>) -> String {
        let mut known = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, hash)) = &*known
            && Arc::ptr_eq(of, register)
        {
            return hash.clone();
        }
        let hash = register_hash(register);
        *known = Some((register.clone(), hash.clone()));
        hash
    }
}

/// See [`Nodes::register_hash`]; the order of the lines does not matter.
pub(crate) fn register_hash(register: &Register) -> String {
    let line = |post: &Arc<lampguard_model::Post>| {
        format!("{}\t{}\t{}\t{}\n", post.post_id, post.device_id, post.zone, post.feeder)
    };
    let mut lines: Vec<String> = register.posts().iter().map(line).collect();
    lines.sort_unstable();
    short_hash(&lines.concat())
}

/// Eight bytes that tell lists of owners apart: who is there, what each owns, who stands by for it. The order does not matter.
pub(crate) fn owners_hash(config: &NodesSection) -> String {
    let line = |peer: &PeerSection| {
        let (mut zones, mut feeders) = (peer.zones.clone(), peer.feeders.clone());
        zones.sort_unstable();
        feeders.sort_unstable();
        format!("{}\t{zones:?}\t{feeders:?}\t{:?}\n", peer.id, peer.standby)
    };
    let mut lines: Vec<String> = config.peer.iter().map(line).collect();
    lines.sort_unstable();
    short_hash(&lines.concat())
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Feeders of the list that no post hangs on are a slip of the pen: their posts would have another owner than meant.
pub(crate) fn check_register(config: &NodesSection, register: &Register) -> Result<()> {
    let owners = Owners::of(config);
    let unknown = owners.unknown_feeders(register);
    if !unknown.is_empty() {
        bail!(crate::UsageError(format!(
            "[[nodes.peer]] feeders names {} and no post of the register hangs on it",
            unknown.join(", ")
        )));
    }
    Ok(())
}

/// The other nodes, where there are some.
pub(crate) fn open(config: &Config, registry: &Registry) -> Result<Option<Arc<Nodes>>> {
    let Some(nodes) = &config.nodes else { return Ok(None) };
    let nodes = Nodes::new(nodes, NodesMetrics::register(registry)?, &config.site.data_dir);
    let (name, judges) = (nodes.owners.id(nodes.owners.own()), nodes.owners.judges_here());
    info!(name, judges, "one of several nodes");
    Ok(Some(Arc::new(nodes)))
}

/// This node judges nothing.
pub(crate) fn is_silent(config: &Config) -> bool {
    config.nodes.as_ref().is_some_and(|nodes| !Owners::of(nodes).judges_here())
}

/// The register as the rules of this node see it.
pub(crate) fn judged(config: &Config, register: &Arc<Register>) -> Arc<Register> {
    match &config.nodes {
        Some(nodes) => Owners::of(nodes).judged(register),
        None => register.clone(),
    }
}

/// Whom the rules of this node tell: nobody, where they judge nothing.
pub(crate) fn rota(config: &Config) -> Rota {
    if is_silent(config) { Rota::default() } else { config::people::rota(config) }
}

/// Starts to send to the nodes that own what is received here.
pub(crate) fn forward(
    nodes: Option<&Arc<Nodes>>,
    (dir, register): (&Path, &Current<Register>),
    ingester: &Ingester,
    followers: Vec<Follower>,
    clock: &Clock,
) -> Result<Option<Running>> {
    let setup = |nodes: &Arc<Nodes>| forward::Setup {
        nodes: nodes.clone(),
        dir: dir.to_owned(),
        journal_dir: ingester.journal_dir().to_owned(),
        register: register.clone(),
        losses: ingester.losses(),
        followers,
        inlet: ingester.inlet(),
        clock: clock.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    nodes.map(setup).map(forward::start).transpose()
}

/// Durable cursors of the followers, for the journal's recovery.
pub(crate) fn cursors(config: Option<&NodesSection>, dir: &Path) -> Vec<u64> {
    let Some(config) = config else { return Vec::new() };
    let owners = Owners::of(config);
    forward::targets(&owners).map(|node| forward::stored_cursor(dir, owners.id(node))).collect()
}

/// Ids of the nodes that are sent to.
pub(crate) fn followed(config: Option<&NodesSection>) -> Vec<String> {
    let Some(config) = config else { return Vec::new() };
    let owners = Owners::of(config);
    forward::targets(&owners).map(|node| owners.id(node).to_owned()).collect()
}

/// Holds the journal for every node that is sent to, before anything is trimmed.
pub(crate) fn follow(config: Option<&NodesSection>, dir: &Path, opened: &Opened) -> Vec<Follower> {
    let Some(config) = config else { return Vec::new() };
    let owners = Owners::of(config);
    let follow = |node: usize| {
        let id = owners.id(node);
        // Without a bound: what has not reached its owner stays, and a full journal stops acknowledgements.
        opened.tail().follow(&format!("forward:{id}"), forward::stored_cursor(dir, id))
    };
    forward::targets(&owners).map(follow).collect()
}

/// The way to a node, by the configuration.
///
/// # Errors
/// A file is not readable.
pub(crate) fn way_to(config: &NodesSection, id: &str) -> Result<way::Way> {
    let peer = config.peer.iter().find(|peer| peer.id == id);
    let peer = peer.with_context(|| format!("[[nodes.peer]] has no {id:?}"))?;
    way::Way::to(peer)
}

#[cfg(test)]
mod tests;
