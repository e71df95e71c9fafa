//! The follower against the real VictoriaMetrics, where it is installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::stub::{Bench, config, reading, until};

const ROWS: u64 = 3000;

/// A VictoriaMetrics that is killed when the test is over, however it ends.
struct Victoria(Child);

impl Victoria {
    /// `None` when it is not installed.
    fn start(port: u16, data: &Path) -> Option<Self> {
        let child = Command::new("victoria-metrics")
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-storageDataPath={}", data.display()))
            .args(["-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s"])
            .args(["-retentionPeriod=13", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self(child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("victoria-metrics does not start: {error}"),
        }
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every sample of a metric: (labels, time) and its values.
fn export(port: u16, metric: &str) -> Option<BTreeMap<(String, i64), Vec<f64>>> {
    let root = format!("http://127.0.0.1:{port}");
    ureq::get(format!("{root}/internal/force_flush")).call().ok()?;
    let mut answer = ureq::get(format!("{root}/api/v1/export"))
        .query("match[]", metric)
        .query("reduce_mem_usage", "0")
        .call()
        .ok()?;
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().ok()?;
    let mut samples: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let series: serde_json::Value = serde_json::from_str(line).unwrap();
        let times = series["timestamps"].as_array().unwrap();
        for (time, value) in times.iter().zip(series["values"].as_array().unwrap()) {
            let key = (series["metric"].to_string(), time.as_i64().unwrap());
            samples.entry(key).or_default().push(value.as_f64().unwrap());
        }
    }
    Some(samples)
}

#[test]
fn victoria_metrics_killed_right_after_the_write_has_every_row_once_after_the_resend() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut bench = Bench::new();
    let data = bench.home.path().join("victoria");
    let Some(victoria) = Victoria::start(port, &data) else {
        println!("left out: victoria-metrics is not installed");
        return;
    };
    bench.readings(ROWS);
    let running = bench.follow(&config(&format!("http://127.0.0.1:{port}")));
    until("the write", || bench.metrics.written.get() == ROWS);
    victoria.kill();
    // It says its start time in whole seconds, and takes some to come up in real life, too.
    std::thread::sleep(Duration::from_millis(1200));
    let victoria = Victoria::start(port, &data).unwrap();
    until("the resend", || bench.metrics.resent.get() >= ROWS);
    until("all rows", || export(port, "lamp_seq").is_some_and(|samples| samples.len() as u64 == ROWS));
    let samples = export(port, "lamp_seq").unwrap();
    let mut seqs = Vec::new();
    for ((labels, time), values) in &samples {
        assert_eq!(values.len(), 1, "{labels} {time}: {values:?}");
        let sent = reading(values[0] as u64);
        assert!(labels.contains(&format!("\"post\":\"{}\"", sent.post)), "{labels}");
        seqs.push(values[0] as u64);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (0..ROWS).collect::<Vec<_>>());
    let leakage = export(port, "lamp_leakage_ma").unwrap();
    assert!(leakage.len() as u64 == ROWS && leakage.values().all(|values| values == &[0.82]));
    until("up", || running.status().up);
    running.stop();
    victoria.kill();
}
