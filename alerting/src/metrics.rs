//! What Prometheus sees of alerting. Labels come from closed sets: zones, severities, channels.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Every metric of this crate.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open incidents by zone and severity.
    pub open_incidents: IntGaugeVec,
    /// Attempts to tell by channel and outcome: sent, retry, failed; and what providers say later: delivered, undelivered.
    pub notices: IntCounterVec,
    /// Receipt to hand-over to the first channel.
    pub alarm_seconds: Histogram,
    /// Readings judged.
    pub judged: IntCounter,
    /// How often time has passed for the rules, about once a second: it stands still when their thread hangs.
    pub ticks: IntCounter,
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
    /// Messages that a channel accepted; one may carry several notices.
    pub messages: IntCounterVec,
    /// Failures by channel and kind.
    pub channel_faults: IntCounterVec,
    /// Tests of people: sent, confirmed, late, unconfirmed.
    pub tests: IntCounterVec,
    /// 1 while the last attempt of a channel was taken; a channel that was never tried has none.
    pub channel_up: IntGaugeVec,
    /// Loads of a page by somebody signed in on duty.
    pub presence: IntCounter,
    /// Hours of the next 7 days in which nobody of a zone can be sent.
    pub rota_gap_hours: GaugeVec,
}

fn alarm() -> HistogramOpts {
    let options = HistogramOpts::new(
        "lampguard_alerting_alarm_seconds",
        "Receipt of the confirming reading to hand-over to the first channel",
    );
    options.buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0])
}

fn presence() -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(
        "lampguard_alerting_presence_total",
        "Loads of a page by somebody signed in on duty: while there are none the desk is rung",
    )
}

impl Metrics {
    /// Makes every metric and registers it.
    ///
    /// # Errors
    /// A name that is registered already: one `Alerting` per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            open_incidents: IntGaugeVec::new(
                Opts::new("lampguard_alerting_open_incidents", "Incidents that are open"),
                &["zone", "severity"],
            )?,
            notices: counters(
                "lampguard_alerting_notice_total",
                "Attempts to tell people",
                &["channel", "outcome"],
            )?,
            alarm_seconds: Histogram::with_opts(alarm())?,
            judged: IntCounter::new("lampguard_alerting_judged_total", "Readings judged, replay included")?,
            ticks: IntCounter::new("lampguard_alerting_ticks_total", "Seconds that passed for the rules")?,
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
            queue_full: counters(
                "lampguard_alerting_queue_full_total",
                "Notices left in the outbox, queue full",
                &["channel"],
            )?,
            messages: counters(
                "lampguard_alerting_message_total",
                "Messages that channels accepted",
                &["channel"],
            )?,
            channel_faults: counters(
                "lampguard_alerting_channel_fault_total",
                "Failures of channels by kind",
                &["channel", "fault"],
            )?,
            tests: counters(
                "lampguard_alerting_test_dispatch_total",
                "Tests of people on duty by what became of them",
                &["outcome"],
            )?,
            channel_up: IntGaugeVec::new(
                Opts::new("lampguard_alerting_channel_up", "1 while a channel takes what it is told"),
                &["channel"],
            )?,
            presence: presence()?,
            rota_gap_hours: GaugeVec::new(
                Opts::new(
                    "lampguard_alerting_rota_gap_hours",
                    "Hours of the next 7 days without a crew to send",
                ),
                &["zone"],
            )?,
        };
        metrics.all().into_iter().try_for_each(|metric| registry.register(metric))?;
        Ok(metrics)
    }

    fn all(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.open_incidents.clone()),
            Box::new(self.notices.clone()),
            Box::new(self.alarm_seconds.clone()),
            Box::new(self.judged.clone()),
            Box::new(self.ticks.clone()),
            Box::new(self.reviews.clone()),
            Box::new(self.unreadable.clone()),
            Box::new(self.store_pending.clone()),
            Box::new(self.store_dropped.clone()),
            Box::new(self.store_failing.clone()),
            Box::new(self.queue_full.clone()),
            Box::new(self.messages.clone()),
            Box::new(self.channel_faults.clone()),
            Box::new(self.channel_up.clone()),
            Box::new(self.tests.clone()),
            Box::new(self.presence.clone()),
            Box::new(self.rota_gap_hours.clone()),
        ]
    }
}
