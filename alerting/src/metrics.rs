//! What Prometheus sees of alerting. Labels come from closed sets: zones, severities, channels.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Every metric of this crate.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open incidents by zone and severity.
    pub open_incidents: IntGaugeVec,
    /// Attempts to tell by channel and outcome: sent, retry, failed.
    pub notices: IntCounterVec,
    /// Receipt to hand-over to the first channel.
    pub alarm_seconds: Histogram,
    /// Readings judged.
    pub judged: IntCounter,
    /// Old criticals contradicted by newer samples.
    pub reviews: IntCounter,
    /// Records that could not be read.
    pub unreadable: IntCounter,
    /// Writes that wait for the store.
    pub store_pending: IntGauge,
    /// Writes dropped because too many waited, or because the store will never take them.
    pub store_dropped: IntCounter,
    /// 1 while the store refuses writes.
    pub store_failing: IntGauge,
    /// Notices that did not fit a channel's queue and wait in the outbox.
    pub queue_full: IntCounterVec,
    /// Tests of people: sent, confirmed, late, unconfirmed.
    pub tests: IntCounterVec,
    /// 1 while the last attempt of a channel was taken; a channel that was never tried has none.
    pub channel_up: IntGaugeVec,
}

impl Metrics {
    /// Makes every metric and registers it.
    ///
    /// # Errors
    /// A name that is registered already: one `Alerting` per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let put = |metric: Box<dyn Collector>| registry.register(metric);
        let alarm = HistogramOpts::new(
            "lampguard_alerting_alarm_seconds",
            "Receipt of the confirming reading to hand-over to the first channel",
        )
        .buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0]);
        let metrics = Self {
            open_incidents: IntGaugeVec::new(
                Opts::new("lampguard_alerting_open_incidents", "Incidents that are open"),
                &["zone", "severity"],
            )?,
            notices: IntCounterVec::new(
                Opts::new("lampguard_alerting_notice_total", "Attempts to tell people"),
                &["channel", "outcome"],
            )?,
            alarm_seconds: Histogram::with_opts(alarm)?,
            judged: IntCounter::new("lampguard_alerting_judged_total", "Readings judged, replay included")?,
            reviews: IntCounter::new(
                "lampguard_alerting_review_total",
                "Old criticals contradicted by newer samples",
            )?,
            unreadable: IntCounter::new(
                "lampguard_alerting_unreadable_total",
                "Records that could not be read",
            )?,
            store_pending: IntGauge::new(
                "lampguard_alerting_store_pending_writes",
                "Writes waiting for the store",
            )?,
            store_dropped: IntCounter::new(
                "lampguard_alerting_store_dropped_total",
                "Writes the store never got",
            )?,
            store_failing: IntGauge::new(
                "lampguard_alerting_store_failing",
                "1 while the store refuses writes",
            )?,
            queue_full: IntCounterVec::new(
                Opts::new("lampguard_alerting_queue_full_total", "Notices left in the outbox, queue full"),
                &["channel"],
            )?,
            tests: IntCounterVec::new(
                Opts::new(
                    "lampguard_alerting_test_dispatch_total",
                    "Tests of people on duty by what became of them",
                ),
                &["outcome"],
            )?,
            channel_up: IntGaugeVec::new(
                Opts::new("lampguard_alerting_channel_up", "1 while a channel takes what it is told"),
                &["channel"],
            )?,
        };
        put(Box::new(metrics.open_incidents.clone()))?;
        put(Box::new(metrics.notices.clone()))?;
        put(Box::new(metrics.alarm_seconds.clone()))?;
        put(Box::new(metrics.judged.clone()))?;
        put(Box::new(metrics.reviews.clone()))?;
        put(Box::new(metrics.unreadable.clone()))?;
        put(Box::new(metrics.store_pending.clone()))?;
        put(Box::new(metrics.store_dropped.clone()))?;
        put(Box::new(metrics.store_failing.clone()))?;
        put(Box::new(metrics.queue_full.clone()))?;
        put(Box::new(metrics.channel_up.clone()))?;
        put(Box::new(metrics.tests.clone()))?;
        Ok(metrics)
    }
}
