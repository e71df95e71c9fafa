//! Refused payloads: kept whole, read again, counted once.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lampguard_ingester::accounts::Statement;
use lampguard_ingester::config::{JournalConfig, QuarantineConfig};
use lampguard_ingester::intake::{Fate, Mapping, Tally};
use lampguard_ingester::profile::Profiles;
use lampguard_ingester::quarantine::{Payload, Quarantine};
use lampguard_ingester::source::http::submit;
use lampguard_ingester::{Ingester, Opened};
use lampguard_journal::FrameBuf;
use lampguard_model::record::{self, QUARANTINED_PAYLOAD_MAX, Record, Source};
use lampguard_model::{Cause, Marks, Register, Timestamp};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp(1_795_435_200_000);
const TOPIC: &str = "lamp/z1/P1/reading";

struct Site {
    home: tempfile::TempDir,
    ingester: Ingester,
    registry: prometheus::Registry,
    runtime: Runtime,
    /// What the judge was handed.
    judged: Arc<Mutex<Vec<Arc<FrameBuf>>>>,
}

impl Site {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let journal = JournalConfig { min_free_bytes: 0, ..JournalConfig::default() };
        let opened = Opened::open(home.path(), &journal, &QuarantineConfig::default(), &[]).unwrap();
        let registry = prometheus::Registry::new();
        let register = Arc::new(Register::default());
        let judged = Arc::new(Mutex::new(Vec::new()));
        let seen = judged.clone();
        let judge = Box::new(move |frame| seen.lock().unwrap().push(frame));
        let ingester = opened.start(register.into(), judge, Arc::new(|| NOW), &registry).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { home, ingester, registry, runtime, judged }
    }

    fn submit(&self, source: Source, mappings: Vec<Mapping>, payload: &[u8], fate: Fate) -> Tally {
        let (inlet, payload) = (self.ingester.inlet(), Bytes::copy_from_slice(payload));
        self.runtime.block_on(submit(&inlet, source, mappings, TOPIC, payload, fate, NOW)).unwrap()
    }

    fn quarantine(&self) -> Quarantine {
        Quarantine::open(self.home.path(), QuarantineConfig::default().max_bytes).unwrap()
    }

    fn rows(&self, count: usize) -> Vec<Payload> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let rows = self.quarantine().list(0, 100, None).unwrap();
            if rows.len() == count {
                return rows;
            }
            assert!(Instant::now() < until, "{} rows instead of {count}", rows.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `quarantine retry` does with one row.
    fn retry(&self, row: &Payload) -> bool {
        let fate = Fate::Again { reason: row.refusal(), came_at: row.received_at };
        let tally = self.submit(Source::Retry, Mapping::canonical(), &row.payload, fate);
        self.quarantine().conclude(row.id, &tally, NOW).unwrap()
    }

    fn books(&self) -> Statement {
        let statement = self.ingester.accounts().statement();
        assert!(statement.balanced() && statement.pending == 0, "{statement:?}");
        statement
    }

    /// Every counter of refused payloads and of duplicates.
    fn counters(&self) -> Vec<f64> {
        let families = self.registry.gather();
        let wanted = ["lampguard_ingester_quarantined_total", "lampguard_ingester_duplicate_total"];
        let families = families.iter().filter(|family| wanted.contains(&family.name()));
        families
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value())
            .collect()
    }
}

/// Nine readings and something that is none.
fn batch(wrong: &str) -> Vec<u8> {
    let good = (1..10).map(|seq| format!(r#"{{"boot":1,"seq":{seq},"leakage_ma":1}}"#));
    let all: Vec<String> = good.chain([wrong.to_owned()]).collect();
    format!("[{}]", all.join(",")).into_bytes()
}

#[test]
fn a_long_payload_with_one_broken_byte_is_kept_whole() {
    let site = Site::new();
    let mut long = batch("{}");
    long.resize(180 << 10, b' ');
    long[100] = 0xff;
    let longest = vec![0xff; QUARANTINED_PAYLOAD_MAX];
    for payload in [&long, &longest] {
        let tally = site.submit(Source::Http, Mapping::canonical(), payload, Fate::Read);
        assert_eq!(tally.quarantined, [(0, "utf8")]);
    }
    let rows = site.rows(2);
    assert!(rows.iter().all(Payload::is_whole));
    assert!(rows[0].payload == long && rows[1].payload == longest);
}

#[test]
fn a_refused_reading_far_inside_a_long_batch_can_be_read_again() {
    let site = Site::new();
    let mut long = batch(&format!(r#"{{"pad":"{}"}}"#, "x".repeat(100 << 10)));
    long.resize(150 << 10, b' ');
    let tally = site.submit(Source::Broker, Mapping::canonical(), &long, Fate::Read);
    assert_eq!((tally.stored, tally.quarantined), (9, vec![(9, "no_measurement")]));
    assert!(site.rows(1)[0].payload == long);
}

#[test]
fn reading_again_counts_once_however_often_it_is_tried() {
    for wrong in ["{}", "1", r#"{"device":"no such name!","leakage_ma":1}"#] {
        let site = Site::new();
        // Nobody had mapped the topic: the payload counts as one.
        site.submit(Source::Broker, Vec::new(), &batch(wrong), Fate::Read);
        let row = site.rows(1).remove(0);
        assert_eq!(row.reason, "topic");
        let counted = site.counters();
        assert!(!site.retry(&row), "one reading is still refused");
        let first = site.books();
        assert_eq!((first.received, first.settled.stored, first.settled.duplicate), (10, 9, 0), "{wrong}");
        let reason = site.rows(1).remove(0).reason;
        assert_eq!(first.settled.quarantined_by_reason().collect::<Vec<_>>(), [(&*reason, 1)]);
        for _ in 0..3 {
            assert!(!site.retry(&site.rows(1)[0]));
            let again = site.books();
            assert_eq!((again.received, &again.settled), (first.received, &first.settled), "{wrong}");
        }
        assert_eq!(site.counters(), counted, "what was refused is counted when it comes: {wrong}");
    }
}

#[test]
fn a_payload_that_came_again_by_itself_ends_as_one_duplicate_each() {
    let site = Site::new();
    let payload = br#"{"boot":1,"seq":1,"leakage_ma":1}"#;
    site.submit(Source::Broker, Vec::new(), payload, Fate::Read);
    site.submit(Source::Broker, Mapping::canonical(), payload, Fate::Read);
    assert!(site.retry(&site.rows(1)[0]));
    let books = site.books();
    assert_eq!((books.received, books.settled.stored, books.settled.duplicate), (2, 1, 1));
    assert_eq!(books.settled.quarantined_by_reason().count(), 0);
    site.rows(0);
}

#[test]
fn what_is_read_again_without_a_time_of_its_own_is_dated_by_its_first_receipt() {
    let site = Site::new();
    let payload = br#"[{"leakage_ma":120},{"device":"A","leakage_ma":0.1,"ts":5}]"#;
    let came_at = Timestamp(NOW.0 - 7 * 86_400_000);
    let fate = Fate::Again { reason: lampguard_model::wire::Refusal::Topic, came_at };
    let tally = site.submit(Source::Retry, Mapping::canonical(), payload, fate);
    assert_eq!((tally.stored, tally.quarantined.len()), (2, 0));
    let mut seen = Vec::new();
    for frame in site.judged.lock().unwrap().iter() {
        for (_, kind, bytes) in frame.records() {
            if let Ok(Record::Reading(reading)) = record::decode(kind, bytes) {
                seen.push((
                    reading.measured_at(),
                    reading.stored_ts,
                    reading.cause,
                    reading.marks.has(Marks::LATE),
                ));
            }
        }
    }
    assert_eq!(seen, [(came_at, came_at, Cause::Backfill, true); 2], "not of this moment");
}

#[test]
fn what_decoders_keep_and_what_found_no_room_stand_in_the_metrics() {
    let site = Site::new();
    let profiles = Profiles::load(&[]).unwrap();
    let profile = profiles.get("sparkplug").cloned().map(Arc::new);
    // Metrics called x, by the aliases from `first` on: name, alias of two bytes, type.
    let birth = |first: u32| -> Bytes {
        let metric =
            |alias: u32| [0x12, 8, 0x0a, 1, b'x', 0x10, alias as u8 | 0x80, (alias >> 7) as u8, 0x20, 10];
        (first..first + 6000).flat_map(metric).collect::<Vec<u8>>().into()
    };
    let send = |device: &str, first| {
        let topic = format!("spBv1.0/G/DBIRTH/N/{device}");
        let (inlet, source) = (site.ingester.inlet(), Source::Broker);
        let mappings = vec![Mapping { filter: "#".to_owned(), profile: profile.clone() }];
        let sent = submit(&inlet, source, mappings, &topic, birth(first), Fate::Read, NOW);
        assert_eq!(site.runtime.block_on(sent).unwrap(), Tally::default());
    };
    let known = || {
        let value = |name: &str| {
            let families = site.registry.gather();
            let metric =
                families.iter().find(|family| family.name() == name).unwrap().get_metric()[0].clone();
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        ["nodes", "aliases", "lost_total"].map(|what| value(&format!("lampguard_ingester_decoder_{what}")))
    };
    send("A", 128);
    assert_eq!(known(), [1.0, 6000.0, 0.0]);
    send("B", 6128);
    assert_eq!(known(), [1.0, 10_000.0, 2000.0], "one node has room for so many");
}
