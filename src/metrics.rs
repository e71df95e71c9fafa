//! Metrics of the wiring itself; those of each part stand in its own `metrics.rs`.

use anyhow::Result;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What `/metrics` tells of SIGHUP: see `reload.rs`.
#[derive(Clone, Debug)]
pub(crate) struct Reloads {
    pub(crate) done: IntCounter,
    pub(crate) failed: IntCounter,
    pub(crate) failing: IntGauge,
}

impl Reloads {
    pub(crate) fn register(registry: &Registry) -> Result<Self> {
        let metrics = Self {
            done: IntCounter::new("lampguard_reload_done_total", "Times that SIGHUP was followed.")?,
            failed: IntCounter::new(
                "lampguard_reload_failed_total",
                "Times that what SIGHUP read had faults.",
            )?,
            failing: IntGauge::new(
                "lampguard_reload_failing",
                "1 while the files have faults and what held before holds on.",
            )?,
        };
        registry.register(Box::new(metrics.done.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.failing.clone()))?;
        Ok(metrics)
    }
}

/// Whether rows are made for the databases: see `series/mod.rs`. Registered only where there is one.
pub(crate) fn series_up(registry: &Registry) -> Result<IntGauge> {
    let help = "1 while rows of zones, incidents and our own metrics are made for the databases.";
    let gauge = IntGauge::new("lampguard_series_up", help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// What `/metrics` tells of the socket of pages and interface: see `api/server.rs`.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    pub(crate) connections: IntGauge,
    pub(crate) refused: IntCounter,
}

impl Web {
    pub(crate) fn register(registry: &Registry) -> Result<Self> {
        let refused = "Connections that were turned away: too many, or too many of one address.";
        let metrics = Self {
            connections: IntGauge::new(
                "lampguard_web_connections",
                "Open connections of pages and interface.",
            )?,
            refused: IntCounter::new("lampguard_web_refused_total", refused)?,
        };
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(metrics)
    }
}

/// What `/metrics` tells of other nodes.
#[derive(Clone, Debug)]
pub(crate) struct NodesMetrics {
    pub(crate) forwarded: IntCounterVec,
    pub(crate) lost: IntCounterVec,
    pub(crate) lag: IntGaugeVec,
    pub(crate) up: IntGaugeVec,
    pub(crate) taken_over: IntGaugeVec,
    pub(crate) heard: IntGaugeVec,
}

impl NodesMetrics {
    /// Registered only where there are other nodes.
    pub(crate) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["peer"]);
        let metrics = Self {
            forwarded: IntCounterVec::new(
                Opts::new(
                    "lampguard_nodes_forwarded_total",
                    "Readings that a node, or its standby, has taken from us.",
                ),
                &["peer"],
            )?,
            lost: IntCounterVec::new(
                Opts::new(
                    "lampguard_nodes_lost_total",
                    "Records that the journal lost before a node had them.",
                ),
                &["peer"],
            )?,
            lag: gauge(
                "lampguard_nodes_lag_seconds",
                "Age of the oldest reading that a node has still to get.",
            )?,
            up: gauge("lampguard_nodes_peer_up", "1 while a node takes what we send.")?,
            taken_over: gauge(
                "lampguard_nodes_taken_over",
                "1 while the readings of a node go to its standby.",
            )?,
            heard: gauge(
                "lampguard_nodes_heard",
                "1 while a node sends, and says that all is well with it.",
            )?,
        };
        registry.register(Box::new(metrics.forwarded.clone()))?;
        registry.register(Box::new(metrics.lost.clone()))?;
        for gauge in [&metrics.lag, &metrics.up, &metrics.taken_over, &metrics.heard] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }
}

/// Every metric of proofs, the heartbeat and certificates.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    /// Rounds by zone and outcome: `told`, or the step at which a proof failed.
    pub(crate) proofs: IntCounterVec,
    /// 1 while the last proof of a zone came out.
    pub(crate) proof_up: IntGaugeVec,
    /// Publishing to the sink.
    pub(crate) proof_seconds: Histogram,
    /// Heartbeats by outcome: sent, failed, withheld.
    pub(crate) heartbeats: IntCounterVec,
    /// 1 while the last heartbeat was taken.
    pub(crate) heartbeat_up: IntGauge,
    /// Until a certificate of ours or of a broker ends.
    pub(crate) certificate_ends: IntGaugeVec,
}

impl Watching {
    /// Makes the metrics. Those of a part that is not configured are not registered: a gauge that says 0 for want of
    /// a part would be a false alarm.
    pub(crate) fn register(registry: &Registry, proofs: bool, heartbeat: bool) -> Result<Self> {
        let seconds = HistogramOpts::new(
            "lampguard_proof_seconds",
            "From publishing a known leak to its coming out at the sink",
        )
        .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]);
        let metrics = Self {
            proofs: IntCounterVec::new(
                Opts::new("lampguard_proof_rounds_total", "Proofs by zone and how far they came"),
                &["zone", "outcome"],
            )?,
            proof_up: IntGaugeVec::new(
                Opts::new("lampguard_proof_up", "1 while the last proof of a zone came out in time"),
                &["zone"],
            )?,
            proof_seconds: Histogram::with_opts(seconds)?,
            heartbeats: IntCounterVec::new(
                Opts::new("lampguard_heartbeat_total", "Heartbeats: sent, failed, withheld"),
                &["outcome"],
            )?,
            heartbeat_up: IntGauge::new(
                "lampguard_heartbeat_up",
                "1 while the last heartbeat was sent and taken",
            )?,
            certificate_ends: IntGaugeVec::new(
                Opts::new(
                    "lampguard_certificate_ends_in_seconds",
                    "Until a certificate of ours or of a broker ends; 0 when it cannot be read, below when it has ended",
                ),
                &["certificate"],
            )?,
        };
        registry.register(Box::new(metrics.certificate_ends.clone()))?;
        if proofs {
            registry.register(Box::new(metrics.proofs.clone()))?;
            registry.register(Box::new(metrics.proof_up.clone()))?;
            registry.register(Box::new(metrics.proof_seconds.clone()))?;
        }
        if heartbeat {
            registry.register(Box::new(metrics.heartbeats.clone()))?;
            registry.register(Box::new(metrics.heartbeat_up.clone()))?;
        }
        Ok(metrics)
    }
}
