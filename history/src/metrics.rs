//! The numbers history tells about itself.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// Everything under `lampguard_history_`; closed names, no labels.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Readings taken in.
    pub rows: IntCounter,
    /// Records below the cursor that came again and were ignored.
    pub replayed: IntCounter,
    /// Readings of devices beyond the number that is tracked: in the journal, not here.
    pub untracked: IntCounter,
    /// Records of kind reading that could not be read.
    pub unreadable: IntCounter,
    /// Records that the journal could not deliver any more.
    pub gap: IntCounter,
    /// Damaged chunks and parts met.
    pub damaged: IntCounter,
    /// Chunks written.
    pub chunks: IntCounter,
    /// Rows of the chunks written.
    pub chunk_rows: IntCounter,
    /// Bytes of the chunks written.
    pub chunk_bytes: IntCounter,
    /// Flushes that failed.
    pub flush_failed: IntCounter,
    /// How long a flush took, by the clock that was passed in.
    pub flush_seconds: Histogram,
    /// Rows in memory that wait for a flush.
    pub pending_rows: IntGauge,
    /// Posts with a latest reading.
    pub latest_posts: IntGauge,
    /// Readings of new posts refused because the table of latest readings was full.
    pub latest_refused: IntGauge,
    /// Bytes of all history files, as of the last hourly look.
    pub disk_bytes: IntGauge,
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(format!("lampguard_history_{name}"), help).expect("the name is fixed and valid")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(format!("lampguard_history_{name}"), help).expect("the name is fixed and valid")
}

impl Default for Metrics {
    fn default() -> Self {
        let flush = HistogramOpts::new("lampguard_history_flush_seconds", "Duration of a flush.")
            .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        Self {
            rows: counter("rows_total", "Readings taken in."),
            replayed: counter("replayed_total", "Records below the cursor that came again."),
            untracked: counter("untracked_total", "Readings of untracked devices, not kept here."),
            unreadable: counter("unreadable_total", "Records of readings that could not be read."),
            gap: counter("gap_records_total", "Records the journal could not deliver any more."),
            damaged: counter("damaged_total", "Damaged chunks and parts met."),
            chunks: counter("chunks_total", "Chunks written."),
            chunk_rows: counter("chunk_rows_total", "Rows of the chunks written."),
            chunk_bytes: counter("chunk_bytes_total", "Bytes of the chunks written."),
            flush_failed: counter("flush_failed_total", "Flushes that failed."),
            flush_seconds: Histogram::with_opts(flush).expect("the name is fixed and valid"),
            pending_rows: gauge("pending_rows", "Rows in memory that wait for a flush."),
            latest_posts: gauge("latest_posts", "Posts with a latest reading."),
            latest_refused: gauge(
                "latest_refused_readings",
                "Readings refused by the full table of latest readings.",
            ),
            disk_bytes: gauge("disk_bytes", "Bytes of all history files."),
        }
    }
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::default();
        let m = &metrics;
        let counters = [
            &m.rows,
            &m.replayed,
            &m.untracked,
            &m.unreadable,
            &m.gap,
            &m.damaged,
            &m.chunks,
            &m.chunk_rows,
            &m.chunk_bytes,
            &m.flush_failed,
        ];
        for counter in counters {
            registry.register(Box::new(counter.clone()))?;
        }
        for gauge in [&m.pending_rows, &m.latest_posts, &m.latest_refused, &m.disk_bytes] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(m.flush_seconds.clone()))?;
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_once_under_its_part() {
        let registry = Registry::new();
        Metrics::register(&registry).unwrap();
        assert!(Metrics::register(&registry).is_err());
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(names.len(), 15);
        assert!(names.iter().all(|name| name.starts_with("lampguard_history_")));
    }
}
