//! Names that a question may use: those of the table of measurements, and those of `/metrics` where it is scraped.

use lampguard_model::series;

/// What `/metrics` tells and our alert rules use, with the labels of each. `tests/dashboards.rs` holds them to the running
/// program.
pub const SCRAPED: [(&str, &[&str]); 23] = [
    ("up", &[]),
    ("process_start_time_seconds", &[]),
    ("lampguard_ingester_received_total", &["source"]),
    ("lampguard_ingester_stored_total", &[]),
    ("lampguard_ingester_held_bytes", &[]),
    ("lampguard_ingester_clock_ahead_total", &[]),
    ("lampguard_journal_stopped", &[]),
    ("lampguard_journal_pending_readings", &["follower"]),
    ("lampguard_tsdb_up", &[]),
    ("lampguard_tsdb_lag_seconds", &[]),
    ("lampguard_tsdb_rejected_total", &["reason"]),
    ("lampguard_series_up", &[]),
    ("lampguard_broker_up", &["broker"]),
    ("lampguard_alerting_notice_total", &["channel", "outcome"]),
    ("lampguard_alerting_channel_up", &["channel"]),
    ("lampguard_alerting_alarm_seconds_bucket", &["le"]),
    ("lampguard_alerting_store_failing", &[]),
    ("lampguard_alerting_rota_gap_hours", &["zone"]),
    ("lampguard_reload_failing", &[]),
    ("lampguard_proof_up", &["zone"]),
    ("lampguard_heartbeat_up", &[]),
    ("lampguard_certificate_ends_in_seconds", &["certificate"]),
    ("lampguard_nodes_peer_up", &["peer"]),
];

/// Labels that whoever scrapes adds.
const ADDED: [&str; 2] = ["job", "instance"];

/// Labels of a metric; none when there is no such metric. `lampguard_tsdb_up` and some others are both: a row that lampguard
/// writes and a name of `/metrics`; what is scraped has a `job`, what is written has none.
pub(super) fn labels(metric: &str) -> Option<Vec<&'static str>> {
    let ours = series::metric_names().find(|(name, ..)| name == metric);
    let written = ours.map(|(_, measurement, _)| measurement.tags.iter().map(|tag| tag.name).chain(ADDED));
    let scraped = SCRAPED.iter().find(|(name, _)| *name == metric);
    let scraped = scraped.map(|(_, labels)| labels.iter().copied().chain(ADDED));
    let known = written.is_some() || scraped.is_some();
    known.then(|| written.into_iter().flatten().chain(scraped.into_iter().flatten()).collect())
}

/// The measurement that a metric of VictoriaMetrics is of.
pub(super) fn measurement_of(metric: &str) -> Option<&'static str> {
    series::metric_names().find(|(name, ..)| name == metric).map(|(_, measurement, _)| measurement.name)
}
