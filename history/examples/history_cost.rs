//! What history costs: bytes and CPU per row, and how long a question about one post takes.
//!
//! `cargo run --release -p lampguard-history --example history_cost [POSTS [ROWS_EACH]]` prints figures; nothing is asserted.
//! Rows as in a city: 30 s apart with ±40 ms, six values as random walks in sensor steps, 8,640 of them (three days).

use std::error::Error;
use std::time::Instant;

use lampguard_history::{History, Metrics, Options};
use lampguard_model::record::{self, encode_reading};
use lampguard_model::{Field, Fields, StoredReading, Timestamp};

/// Noon of a day in November 2026, ms UTC.
const START: i64 = 1_795_435_200_000;

/// Field, start, step: thousandths.
const VALUES: [(Field, i64, i64); 6] = [
    (Field::LeakageMa, 820, 10),
    (Field::ShellV, 400, 100),
    (Field::SupplyV, 228_400, 100),
    (Field::LampA, 520, 10),
    (Field::LampW, 118_000, 500),
    (Field::TemperatureC, 14_200, 100),
];

/// CPU time of this process so far, seconds.
fn cpu_s() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let main_thread_ns: f64 = stat.split(' ').next().ok_or("empty schedstat")?.parse()?;
    Ok(main_thread_ns / 1e9)
}

/// A small generator, so that every run writes the same rows.
fn random(state: &mut u64) -> i64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40).cast_signed()
}

#[allow(clippy::disallowed_methods, reason = "a measurement asks the clock")]
fn main() -> Result<(), Box<dyn Error>> {
    let posts: u64 = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let rows_each: u64 = std::env::args().nth(2).map_or(Ok(8640), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let metrics = Metrics::default();
    let options = Options { posts_max: posts as usize, ..Options::default() };
    let mut history = History::open(dir.path(), options, metrics.clone())?;
    let mut walks: Vec<Vec<i64>> = (0..posts).map(|_| VALUES.map(|value| value.1).to_vec()).collect();
    let (mut state, mut seq) = (1, 0);
    let (mut cpu, mut slowest_ms) = (0.0, 0);
    for round in 0..rows_each {
        let records = round_of(round, &mut walks, &mut state);
        let (before, started) = (cpu_s()?, Instant::now());
        for record in &records {
            history.apply(seq, record::READING, record);
            seq += 1;
        }
        if round % 2 == 1 {
            history.flush(Timestamp(START))?;
            slowest_ms = slowest_ms.max(started.elapsed().as_millis());
        }
        cpu += cpu_s()? - before;
    }
    let rows = metrics.rows.get() as f64;
    println!("{rows} rows of {posts} posts: {:.2} us CPU per row, apply and flush", cpu * 1e6 / rows);
    println!("longest flush {slowest_ms} ms, {} chunks", metrics.chunks.get());
    let in_chunks = metrics.chunk_rows.get() as f64;
    println!(
        "{:.2} bytes per row in chunks; {} rows still wait",
        metrics.chunk_bytes.get() as f64 / in_chunks,
        rows - in_chunks
    );
    ask(&history, posts, rows_each)?;
    history.retain(Timestamp(START))?;
    println!("{:.2} bytes per row on disk, parts and logs included", metrics.disk_bytes.get() as f64 / rows);
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .filter(|line| line.starts_with("Vm") && line.contains("RSS") || line.starts_with("VmHWM"))
        .for_each(|line| println!("{line}"));
    Ok(())
}

/// How long questions about single posts take.
#[allow(clippy::disallowed_methods, reason = "a measurement asks the clock")]
fn ask(history: &History, posts: u64, rows_each: u64) -> Result<(), Box<dyn Error>> {
    let asked = posts.min(100);
    for (what, days) in [("last 24 h", 1), ("last three days", 3)] {
        let started = Instant::now();
        let from = Timestamp(START + rows_each.cast_signed() * 30_000 - days * 86_400_000);
        let mut found = 0;
        for post in 0..asked {
            let name = format!("Z1-{post:06}");
            found += history.view().rows(&name, from, Timestamp(i64::MAX), 10_000, None)?.rows.len();
        }
        let each = started.elapsed().as_secs_f64() * 1e3 / asked as f64;
        println!("one post, {what}: {each:.2} ms, {} rows", found as u64 / asked);
    }
    Ok(())
}

/// The records of all posts of one round.
fn round_of(round: u64, walks: &mut [Vec<i64>], state: &mut u64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for (post, walk) in walks.iter_mut().enumerate() {
        let at = START + round.cast_signed() * 30_000 + random(state) % 80;
        let mut fields = Fields::default();
        for (value, (field, least, step)) in walk.iter_mut().zip(VALUES) {
            *value = (*value + (random(state) % 3 - 1) * step).max(least / 2);
            fields.set(field, *value);
        }
        let name = format!("Z1-{post:06}");
        let mut bytes = Vec::new();
        encode_reading(&stored(&name, at, at + 20 + random(state) % 200, round, fields), &mut bytes);
        records.push(bytes);
    }
    records
}

fn stored(post: &str, at: i64, received: i64, seq: u64, fields: Fields) -> StoredReading<'_> {
    StoredReading {
        identity: seq.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        received_at: Timestamp(received),
        seq: Some(seq),
        boot: Some(7),
        zone: "z1",
        feeder: "F1-07",
        fields,
        ..StoredReading::at(post, Timestamp(at))
    }
}
