//! `[nodes]`: who owns which posts, and how nodes reach each other.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::check::Faults;

/// Nodes at most: each has a thread, a cursor and a line of every metric.
pub(crate) const NODES_MAX: usize = 16;
/// Longest wait for a silent owner, seconds.
const TAKEOVER_MAX: u64 = 3600;

/// `[nodes]`: the same list on every node, and which of them this one is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodesSection {
    /// Which node this is.
    pub(crate) name: String,
    /// Seconds without an answer after which a standby is sent what belongs to its node; 0 is the default of 60.
    pub(crate) takeover_after_s: u64,
    /// Every node, this one too.
    pub(crate) peer: Vec<PeerSection>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PeerSection {
    pub(crate) id: String,
    /// Where its HTTP interface is; a node that owns nothing needs none.
    pub(crate) url: Option<String>,
    /// Holds the token that it gave us.
    pub(crate) token_file: Option<PathBuf>,
    /// Who signed its certificate; the public authorities without it.
    pub(crate) ca_file: Option<PathBuf>,
    /// Zones that it owns.
    pub(crate) zones: Vec<String>,
    /// Feeders that it owns, whoever owns the rest of their zone.
    pub(crate) feeders: Vec<String>,
    /// Who is sent its readings while it does not answer.
    pub(crate) standby: Option<String>,
}

impl NodesSection {
    /// Seconds without an answer until the standby is sent what belongs to a node.
    pub(crate) fn takeover_after_s(&self) -> u64 {
        if self.takeover_after_s == 0 { 60 } else { self.takeover_after_s }
    }
}

impl PeerSection {
    /// It owns posts.
    pub(crate) fn owns(&self) -> bool {
        !self.zones.is_empty() || !self.feeders.is_empty()
    }
}

pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    let Some(nodes) = &config.nodes else { return };
    let peers = &nodes.peer;
    faults.unique("nodes.peer", peers.iter().map(|peer| peer.id.as_str()));
    if peers.len() > NODES_MAX {
        faults.add("nodes.peer", format!("{} nodes are over the limit of {NODES_MAX}", peers.len()));
    }
    if !peers.iter().any(|peer| peer.id == nodes.name) {
        let text =
            format!("{:?} is no id of a [[nodes.peer]]: the list names every node, this one too", nodes.name);
        faults.add("nodes.name", text);
    }
    if nodes.takeover_after_s > TAKEOVER_MAX {
        let text =
            format!("{} is over {TAKEOVER_MAX}: nobody would judge for so long", nodes.takeover_after_s);
        faults.add("nodes.takeover_after_s", text);
    }
    check_owners(config, nodes, faults);
    for (place, peer) in peers.iter().enumerate() {
        check_peer(&format!("nodes.peer[{place}]"), peer, nodes, faults);
    }
    let others = peers.len() > 1;
    for (place, broker) in config.brokers.iter().enumerate() {
        if others && broker.judge && broker.shared_group.is_some() {
            let text = "shared_group with judge = true and other nodes: each would see a part of a post's readings; \
                        write judge = false, the owner judges what is its own by whichever way it comes";
            faults.add(format!("broker[{place}].judge"), text);
        }
    }
    check_silent(config, nodes, faults);
}

/// A node that judges nothing has nobody to tell and nothing to prove.
fn check_silent(config: &Config, nodes: &NodesSection, faults: &mut Faults<'_>) {
    let judges = nodes.peer.iter().any(|peer| {
        (peer.id == nodes.name && peer.owns()) || peer.standby.as_deref() == Some(nodes.name.as_str())
    });
    if judges {
        return;
    }
    for (key, is_there) in [("proof", config.proof.is_some()), ("heartbeat", config.heartbeat.is_some())] {
        if is_there {
            faults
                .add(key, "this node judges nothing ([nodes]); its peers hear it. Take the section out here");
        }
    }
}

/// Every zone has one owner, every named feeder too.
fn check_owners(config: &Config, nodes: &NodesSection, faults: &mut Faults<'_>) {
    let (mut zones, mut feeders) = (HashMap::new(), HashMap::new());
    for (place, peer) in nodes.peer.iter().enumerate() {
        for zone in &peer.zones {
            let key = format!("nodes.peer[{place}].zones");
            if !config.zones.iter().any(|known| known.id == *zone) {
                faults.add(&key, format!("there is no [[zone]] with id {zone:?}"));
            }
            if let Some(other) = zones.insert(zone, &peer.id) {
                faults.add(&key, format!("{zone} is owned by {other} too; a zone has one owner"));
            }
        }
        for feeder in &peer.feeders {
            if let Some(other) = feeders.insert(feeder, &peer.id) {
                let text = format!("{feeder} is owned by {other} too; a feeder has one owner");
                faults.add(format!("nodes.peer[{place}].feeders"), text);
            }
        }
    }
    for zone in config.zones.iter().filter(|zone| !zones.contains_key(&zone.id)) {
        let text =
            format!("zone {} has no owner: nobody would judge it; put it into zones of a node", zone.id);
        faults.add("nodes.peer", text);
    }
}

fn check_peer(key: &str, peer: &PeerSection, nodes: &NodesSection, faults: &mut Faults<'_>) {
    let is_own = peer.id == nodes.name;
    let is_standby = nodes.peer.iter().any(|other| other.standby.as_deref() == Some(peer.id.as_str()));
    let is_sent_to = !is_own && (peer.owns() || is_standby);
    if is_sent_to && peer.url.is_none() {
        faults.add(format!("{key}.url"), "is missing: readings of its posts are sent there");
    }
    if is_sent_to && peer.token_file.is_none() {
        let text = format!(
            "is missing: over there `lampguard token create --role node --name {}` makes the token",
            nodes.name
        );
        faults.add(format!("{key}.token_file"), text);
    }
    faults.readable(&format!("{key}.token_file"), peer.token_file.as_deref().filter(|_| is_sent_to));
    faults.readable(&format!("{key}.ca_file"), peer.ca_file.as_deref().filter(|_| is_sent_to));
    if let Some(url) = &peer.url {
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if !host.is_some_and(|host| {
            !host.trim_end_matches('/').is_empty() && !host.contains(['?', '#', '@', ' '])
        }) {
            faults.add(format!("{key}.url"), format!("{url:?} is not http://host:port or https://host"));
        }
        if peer.ca_file.is_some() && url.starts_with("http://") {
            faults.add(format!("{key}.ca_file"), "is for TLS, and url begins with http://");
        }
    }
    match peer.standby.as_deref() {
        Some(standby) if standby == peer.id => {
            faults.add(format!("{key}.standby"), "is the node itself; name another one");
        }
        Some(standby) if !nodes.peer.iter().any(|other| other.id == standby) => {
            faults.add(format!("{key}.standby"), format!("{standby:?} is no id of a [[nodes.peer]]"));
        }
        Some(_) if !peer.owns() => {
            faults.add(
                format!("{key}.standby"),
                "stands for nothing: this node owns neither zones nor feeders",
            );
        }
        _ => {}
    }
}
