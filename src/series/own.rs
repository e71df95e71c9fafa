//! Our own main metrics as one row, for those who have a database and no Prometheus.

use std::time::Duration;

use lampguard_ingester::tsdb::{Points, whole};
use lampguard_model::Timestamp;
use lampguard_model::series::LAMPGUARD;
use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily};

use crate::serve::Instance;

/// Upper bound of a bucket of `lampguard_alerting_alarm_seconds`: what the office is promised.
const PROMISED_S: f64 = 0.25;
/// Ticks of a processor in `/proc/self/stat`: fixed for user space on Linux.
const TICKS_PER_S: i64 = 100;

/// Sums of counters, each under the name it has in the row.
const SUMS: [(&str, &str); 13] = [
    ("mended_total", "lampguard_ingester_mended_total"),
    ("gap_total", "lampguard_ingester_gap_total"),
    ("clock_ahead_total", "lampguard_ingester_clock_ahead_total"),
    ("tsdb_written_total", "lampguard_tsdb_written_total"),
    ("tsdb_rejected_total", "lampguard_tsdb_rejected_total"),
    ("points_dropped_total", "lampguard_tsdb_points_dropped_total"),
    ("judged_total", "lampguard_alerting_judged_total"),
    ("held_bytes", "lampguard_ingester_held_bytes"),
    ("connections", "lampguard_listener_connections"),
    ("open_incidents", "lampguard_alerting_open_incidents"),
    ("web_connections", "lampguard_web_connections"),
    ("web_refused_total", "lampguard_web_refused_total"),
    ("presence_total", "lampguard_alerting_presence_total"),
];

/// Highest values of gauges.
const HIGHEST: [(&str, &str); 7] = [
    ("journal_bytes", "lampguard_journal_bytes"),
    ("journal_stopped", "lampguard_journal_stopped"),
    ("journal_pending", "lampguard_journal_pending_readings"),
    ("tsdb_up", "lampguard_tsdb_up"),
    ("tsdb_lag_s", "lampguard_tsdb_lag_seconds"),
    ("store_pending", "lampguard_alerting_store_pending_writes"),
    ("store_failing", "lampguard_alerting_store_failing"),
];

/// How many gauges of a kind stand at 0.
const DOWN: [(&str, &str); 2] =
    [("brokers_down", "lampguard_broker_up"), ("channels_down", "lampguard_alerting_channel_up")];

/// What `/metrics` tells, gathered once.
struct Gathered(Vec<MetricFamily>);

impl Gathered {
    fn of(registry: &Registry) -> Self {
        Self(registry.gather())
    }

    fn metrics(&self, name: &str) -> impl Iterator<Item = &Metric> {
        self.0.iter().filter(move |family| family.name() == name).flat_map(|family| family.get_metric())
    }

    /// A metric is either a counter or a gauge; the other one reads 0.
    fn values(&self, name: &str) -> impl Iterator<Item = f64> {
        self.metrics(name).map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }

    fn sum(&self, name: &str) -> Option<i64> {
        thousandths(self.values(name).sum())
    }

    fn sum_where(&self, name: &str, label: &str, words: &[&str]) -> Option<i64> {
        let has = |metric: &&Metric| {
            metric.get_label().iter().any(|pair| pair.name() == label && words.contains(&pair.value()))
        };
        thousandths(self.metrics(name).filter(has).map(|metric| metric.get_counter().get_value()).sum())
    }

    fn highest(&self, name: &str) -> Option<i64> {
        thousandths(self.values(name).reduce(f64::max)?)
    }

    /// Count, sum, and what lies at most at `bound`.
    fn histogram(&self, name: &str, bound: f64) -> [Option<i64>; 3] {
        let (mut count, mut sum, mut within) = (0, 0.0, 0);
        for metric in self.metrics(name) {
            let histogram = metric.get_histogram();
            count += histogram.get_sample_count();
            sum += histogram.get_sample_sum();
            let bucket = histogram.get_bucket().iter().rev().find(|bucket| bucket.upper_bound() <= bound);
            within += bucket.map_or(0, |bucket| bucket.cumulative_count());
        }
        [whole(count), thousandths(sum), whole(within)]
    }
}

fn thousandths(value: f64) -> Option<i64> {
    // Counts and seconds: far below what a float tells apart.
    (value.is_finite() && value.abs() < 9e15).then(|| (value * 1000.0).round() as i64)
}

/// Writes the row.
pub(super) fn look(
    instance: &Instance,
    node: &str,
    (incidents_left_out, abnormal_left_out): (u64, u64),
    up: Duration,
    now: Timestamp,
    points: &mut Points,
) {
    let gathered = Gathered::of(&instance.registry);
    let mut fields: Vec<(&str, Option<i64>)> = Vec::with_capacity(LAMPGUARD.fields.len());
    fields.extend(SUMS.map(|(name, metric)| (name, gathered.sum(metric))));
    fields.extend(HIGHEST.map(|(name, metric)| (name, gathered.highest(metric))));
    let down = |metric: &str| whole(gathered.values(metric).filter(|up| *up < 1.0).count() as u64);
    fields.extend(DOWN.map(|(name, metric)| (name, down(metric))));
    fields.extend(books(instance));
    let [commits, commit_s, _] = gathered.histogram("lampguard_journal_commit_seconds", PROMISED_S);
    let [alarms, alarm_s, in_time] = gathered.histogram("lampguard_alerting_alarm_seconds", PROMISED_S);
    let notices = |words: &[&str]| gathered.sum_where("lampguard_alerting_notice_total", "outcome", words);
    let (cpu_s, memory) = process();
    fields.extend([
        ("commit_total", commits),
        ("commit_s_total", commit_s),
        ("alarm_total", alarms),
        ("alarm_s_total", alarm_s),
        ("alarm_le_250ms_total", in_time),
        ("notices_sent_total", notices(&["sent"])),
        ("notices_failed_total", notices(&["failed"])),
        ("incidents_left_out", whole(incidents_left_out)),
        ("abnormal_left_out", whole(abnormal_left_out)),
        ("cpu_s_total", cpu_s),
        ("memory_bytes", memory),
        ("uptime_s", whole(up.as_secs())),
    ]);
    points.push(&LAMPGUARD, now, &[("node", node)], &fields);
}

/// The books of readings, as `GET /api/v1/accounting` tells them: since the data directory was made.
fn books(instance: &Instance) -> Vec<(&'static str, Option<i64>)> {
    let Some(handles) = instance.ingester.get() else { return Vec::new() };
    let books = handles.accounts.statement();
    let sum = |counts: &[u64]| whole(counts.iter().sum());
    vec![
        ("received_total", whole(books.received)),
        ("stored_total", whole(books.settled.stored)),
        ("duplicate_total", whole(books.settled.duplicate)),
        ("quarantined_total", sum(&books.settled.quarantined)),
        ("refused_total", sum(&books.settled.refused)),
        ("pending", whole(books.pending)),
        ("balanced", whole(u64::from(books.balanced()))),
    ]
}

/// Processor seconds and bytes of memory of this process; nothing where `/proc` says nothing.
fn process() -> (Option<i64>, Option<i64>) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    let cpu_s = || {
        let stat = read("stat")?;
        // Behind the program's name, which may hold anything.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((user + system) * 1000 / TICKS_PER_S)
    };
    let memory = || {
        let status = read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        whole(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    (cpu_s(), memory())
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

    use super::*;

    #[test]
    fn sums_highest_values_and_histograms_are_read_from_the_registry() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "a"), &["outcome"]).unwrap();
        let gauge = IntGauge::new("b", "b").unwrap();
        let seconds = HistogramOpts::new("c_seconds", "c").buckets(vec![0.1, 0.25, 1.0]);
        let histogram = Histogram::with_opts(seconds).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.with_label_values(&["sent"]).inc_by(5);
        counter.with_label_values(&["failed"]).inc_by(2);
        gauge.set(-3);
        [0.05, 0.25, 0.7].into_iter().for_each(|seconds| histogram.observe(seconds));
        let gathered = Gathered::of(&registry);
        assert_eq!((gathered.sum("a_total"), gathered.sum("missing")), (Some(7000), Some(0)));
        assert_eq!(gathered.sum_where("a_total", "outcome", &["failed"]), Some(2000));
        assert_eq!((gathered.highest("b"), gathered.highest("missing")), (Some(-3000), None));
        assert_eq!(gathered.histogram("c_seconds", 0.25), [Some(3000), Some(1000), Some(2000)]);
    }

    #[test]
    fn this_process_has_used_some_processor_and_memory() {
        let (cpu_s, memory) = process();
        assert!(cpu_s.is_some_and(|cpu_s| cpu_s >= 0) && memory.is_some_and(|bytes| bytes > 1_000_000));
    }
}
