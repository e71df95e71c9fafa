//! Metrics of the wiring itself; those of each part stand in its own `metrics.rs`.

use anyhow::Result;
use prometheus::{IntCounter, IntGauge, Registry};

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
