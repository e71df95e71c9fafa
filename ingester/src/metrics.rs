//! Metric names of the ingester. Labels come from closed sets, never from posts.

use lampguard_model::record::SOURCES;
use lampguard_model::wire::REFUSALS;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::accounts::REFUSED_WORDS;

/// Every metric of the ingester, made once and shared by clones.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) received: IntCounterVec,
    pub(crate) stored: IntCounter,
    pub(crate) duplicate: IntCounter,
    pub(crate) quarantined: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) mended: IntCounterVec,
    pub(crate) gap: IntCounter,
    pub(crate) gap_filled: IntCounter,
    pub(crate) marked: IntCounterVec,
    pub(crate) unknown_keys: IntCounter,
    pub(crate) decoder_nodes: IntGauge,
    pub(crate) decoder_aliases: IntGauge,
    pub(crate) decoder_lost: IntCounter,
    pub(crate) clock_ahead: IntCounter,
    pub(crate) judge_only: IntCounterVec,
    pub(crate) qos0: IntCounterVec,
    pub(crate) held_bytes: IntGauge,
    pub(crate) journal_stopped: IntGauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) journal_bytes: IntGauge,
    pub(crate) pending_readings: IntGaugeVec,
    pub(crate) dedup_window: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) connection_refused: IntCounterVec,
    pub(crate) listener_unclosed: IntCounter,
    pub(crate) broker_up: IntGaugeVec,
    pub(crate) broker_subscribed: IntGaugeVec,
    pub(crate) broker_protocol: IntGaugeVec,
    pub(crate) broker_unacknowledged: IntGaugeVec,
    pub(crate) broker_reconnect: IntCounterVec,
    pub(crate) broker_watchdog: IntCounter,
    pub(crate) stale_ack: IntCounter,
    /// Those of the databases' followers.
    pub tsdb: TsdbMetrics,
}

/// Metrics of the time-series database's follower.
#[derive(Clone, Debug)]
pub struct TsdbMetrics {
    pub(crate) written: IntCounter,
    pub(crate) resent: IntCounter,
    pub(crate) rejected: IntCounterVec,
    pub(crate) lag: IntGauge,
    /// Whether the databases answer; take it out where there is none.
    pub up: IntGauge,
    pub(crate) gap: IntCounter,
    pub(crate) points_written: IntCounter,
    pub(crate) points_dropped: IntCounterVec,
    pub(crate) points_waiting: IntGaugeVec,
    pub(crate) worst: crate::tsdb::Worst,
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("metric names and help texts are constants");
    registry.register(Box::new(metric.clone())).expect("each metric is registered once");
    metric
}

impl Metrics {
    /// Makes and registers every metric.
    #[expect(clippy::too_many_lines, reason = "one line a metric, and no decision among them")]
    pub fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| keep(registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| keep(registry, IntGauge::new(name, help));
        let counters = |name: &str, help: &str, label: &str| {
            keep(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let gauges = |name: &str, help: &str, label: &str| {
            keep(registry, IntGaugeVec::new(Opts::new(name, help), &[label]))
        };
        let buckets = vec![0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let commit =
            HistogramOpts::new("lampguard_journal_commit_seconds", "write and fdatasync of one commit");
        let metrics = Self {
            received: counters("lampguard_ingester_received_total", "readings received, by source", "source"),
            stored: counter("lampguard_ingester_stored_total", "readings durable in the journal"),
            duplicate: counter("lampguard_ingester_duplicate_total", "readings that were already there"),
            quarantined: counters(
                "lampguard_ingester_quarantined_total",
                "refused payloads kept, by reason",
                "reason",
            ),
            refused: counters(
                "lampguard_ingester_refused_total",
                "readings turned away, by reason",
                "reason",
            ),
            mended: counters(
                "lampguard_ingester_mended_total",
                "readings of payloads that were mended first, by reason",
                "reason",
            ),
            gap: counter(
                "lampguard_ingester_gap_total",
                "running numbers missing between readings of one device",
            ),
            gap_filled: counter(
                "lampguard_ingester_gap_filled_total",
                "missing running numbers that came after all",
            ),
            marked: counters("lampguard_ingester_marked_total", "readings with a mark, by mark", "mark"),
            clock_ahead: counter(
                "lampguard_ingester_clock_ahead_total",
                "readings whose time lies more than 5 min ahead of ours",
            ),
            unknown_keys: counter("lampguard_ingester_unknown_keys_total", "payload keys that nobody knows"),
            decoder_nodes: gauge(
                "lampguard_ingester_decoder_nodes",
                "Sparkplug edge nodes whose births are known",
            ),
            decoder_aliases: gauge(
                "lampguard_ingester_decoder_aliases",
                "aliases of Sparkplug metrics that are known",
            ),
            decoder_lost: counter(
                "lampguard_ingester_decoder_lost_total",
                "Sparkplug nodes pushed out and aliases not learned, for want of room",
            ),
            judge_only: counters(
                "lampguard_ingester_judge_only_total",
                "readings judged but not kept",
                "source",
            ),
            qos0: counters(
                "lampguard_ingester_qos0_total",
                "messages sent without a promise (QoS 0)",
                "source",
            ),
            held_bytes: gauge("lampguard_ingester_held_bytes", "bytes of messages not acknowledged yet"),
            journal_stopped: gauge("lampguard_journal_stopped", "1 while the journal takes nothing"),
            commit_seconds: keep(registry, Histogram::with_opts(commit.buckets(buckets))),
            journal_bytes: gauge("lampguard_journal_bytes", "bytes of all journal segments"),
            pending_readings: gauges(
                "lampguard_journal_pending_readings",
                "records a follower has still to take",
                "follower",
            ),
            dedup_window: gauge(
                "lampguard_ingester_duplicate_window_seconds",
                "how far back duplicates are known",
            ),
            connections: gauge("lampguard_listener_connections", "open sensor connections"),
            connection_refused: counters(
                "lampguard_listener_refused_total",
                "refused connections, by reason",
                "reason",
            ),
            listener_unclosed: counter(
                "lampguard_listener_unclosed_total",
                "connections that we ended and whose client did not close its side in time",
            ),
            broker_up: gauges(
                "lampguard_broker_up",
                "1 while connected and subscribed to something",
                "broker",
            ),
            broker_subscribed: gauges(
                "lampguard_broker_subscribed",
                "1 when the broker granted all that we asked to hear, at its last answer",
                "broker",
            ),
            broker_protocol: gauges(
                "lampguard_broker_protocol_level",
                "version of MQTT of the last connection: 4 is 3.1.1, 5 is 5",
                "broker",
            ),
            broker_unacknowledged: gauges(
                "lampguard_broker_unacknowledged_messages",
                "messages taken from the broker and not acknowledged yet",
                "broker",
            ),
            broker_reconnect: counters(
                "lampguard_broker_reconnect_total",
                "connections lost or failed",
                "broker",
            ),
            broker_watchdog: counter(
                "lampguard_broker_watchdog_total",
                "connections cut because acks did not move",
            ),
            stale_ack: counter("lampguard_broker_stale_ack_total", "acks of an old connection thrown away"),
            tsdb: TsdbMetrics {
                written: counter("lampguard_tsdb_written_total", "rows a database has accepted"),
                resent: counter(
                    "lampguard_tsdb_resent_total",
                    "rows sent again after a restart or an outage",
                ),
                rejected: counters(
                    "lampguard_tsdb_rejected_total",
                    "rows kept from a database, by reason",
                    "reason",
                ),
                lag: gauge("lampguard_tsdb_lag_seconds", "age of the oldest record not yet accepted"),
                up: gauge("lampguard_tsdb_up", "1 while the database answers"),
                gap: counter(
                    "lampguard_tsdb_gap_total",
                    "records a database will not get because it was too far behind",
                ),
                points_written: counter(
                    "lampguard_tsdb_points_written_total",
                    "rows of zones, incidents, abnormal posts and own metrics that a database has accepted",
                ),
                points_dropped: counters(
                    "lampguard_tsdb_points_dropped_total",
                    "such rows that were given up, by reason",
                    "reason",
                ),
                points_waiting: gauges(
                    "lampguard_tsdb_points_waiting_bytes",
                    "bytes of such rows that wait for a database",
                    "tsdb",
                ),
                worst: crate::tsdb::Worst::default(),
            },
        };
        metrics.start_at_zero();
        metrics
    }

    /// A counter that was never raised is absent from /metrics, and an alert on it can never fire.
    fn start_at_zero(&self) {
        for source in SOURCES {
            self.received.with_label_values(&[source.name()]);
        }
        for refusal in REFUSALS {
            self.quarantined.with_label_values(&[refusal.word()]);
        }
        for reason in REFUSED_WORDS {
            self.refused.with_label_values(&[reason]);
        }
        for reason in ["leading_zero", "not_a_number"] {
            self.mended.with_label_values(&[reason]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_closed_list_is_there_from_the_start() {
        let registry = Registry::new();
        let _metrics = Metrics::register(&registry);
        let families = registry.gather();
        let reasons = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            family.map_or(0, |family| family.get_metric().len())
        };
        assert_eq!(reasons("lampguard_ingester_refused_total"), REFUSED_WORDS.len());
        assert_eq!(reasons("lampguard_ingester_quarantined_total"), REFUSALS.len());
    }
}
