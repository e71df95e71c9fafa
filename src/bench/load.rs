//! `bench load` (hidden): sends readings at QoS 1 from a process of its own and times the acknowledgements.
//!
//! A burst's frames are made before the clock starts; a paced load makes each frame when it is due, and its
//! latency counts from when it *should* have gone out, so that a stall hides nothing.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::mqtt::{self, Incoming};
use super::payload::{self, Danger, Reading};
use super::process::Cpu;
use super::row::quantile;

/// Packet ids go from 1 to this.
const PKIDS: u64 = 65_535;
/// Unacknowledged messages of one connection; below the number of packet ids.
const WINDOW_MAX: u64 = 60_000;
/// Messages in one write at most.
const GATHER: u64 = 128;
/// Readings of each post that a run with alarms needs: a quiet one, and two that are dangerous.
pub(super) const ALARM_ROUNDS: u64 = 3;
/// Between the times of two readings of one post in a burst, milliseconds.
const SPACING_MS: i64 = 100;

/// Sends readings.
#[derive(Clone, Debug, Args)]
pub(super) struct Load {
    /// host:port of a listener or broker.
    #[arg(long)]
    pub(super) to: String,
    #[arg(long)]
    pub(super) readings: u64,
    #[arg(long)]
    pub(super) posts: u64,
    /// Restart number in the payloads; another one makes other readings.
    #[arg(long, default_value_t = 1)]
    pub(super) boot: u32,
    /// Unacknowledged messages over all connections.
    #[arg(long, default_value_t = 4000)]
    pub(super) window: u64,
    #[arg(long, default_value_t = 4)]
    pub(super) connections: u64,
    /// Readings a second by a fixed schedule; 0: as fast as the window lets.
    #[arg(long, default_value_t = 0.0)]
    pub(super) rate: f64,
    /// So many posts become dangerous once; for a paced load.
    #[arg(long, default_value_t = 0)]
    pub(super) alarms: u64,
    /// Payloads that the Python script of shared/peers-bench understands too.
    #[arg(long)]
    pub(super) both: bool,
    /// In MQTT 5 instead of 3.1.1.
    #[arg(long)]
    pub(super) mqtt5: bool,
    /// Ends with an error when acknowledgements stay out so long.
    #[arg(long, default_value_t = 300)]
    pub(super) patience_s: u64,
}

/// What one connection found.
struct Outcome {
    sent: u64,
    latencies_ms: Vec<f64>,
    sent_after_s: f64,
    alarms: Vec<(String, f64)>,
}

/// Prepares, says `ready`, waits for a line on standard input, sends, and prints one JSON line.
pub(super) fn run(options: &Load) -> Result<()> {
    if options.posts == 0 || options.connections == 0 || options.connections > options.posts {
        bail!(
            "--posts {} and --connections {}: at least one of each, and a post a connection",
            options.posts,
            options.connections
        );
    }
    let mut lanes = Vec::new();
    for number in 0..options.connections {
        lanes.push(Lane::prepare(options, number)?);
    }
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).context("waiting for the start")?;
    let start = Start { at: Instant::now(), wall_ms: wall_ms() };
    let threads: Vec<_> =
        lanes.into_iter().map(|lane| std::thread::spawn(move || lane.send(start))).collect();
    let mut outcomes = Vec::new();
    for thread in threads {
        outcomes.push(thread.join().map_err(|_| anyhow!("a sending thread ended in panic"))??);
    }
    let wall_s = start.at.elapsed().as_secs_f64();
    let mut latencies: Vec<f64> =
        outcomes.iter().flat_map(|outcome| outcome.latencies_ms.iter().copied()).collect();
    latencies.sort_by(f64::total_cmp);
    let alarms: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.alarms.iter()).collect();
    let longest = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
    let line = json!({
        "sent": outcomes.iter().map(|outcome| outcome.sent).sum::<u64>(),
        "acked": latencies.len(),
        "wall_s": wall_s,
        "send_s": longest(|outcome| outcome.sent_after_s),
        "payload_bytes": example(options).len(),
        "ack_p50_ms": quantile(&latencies, 0.5),
        "ack_p99_ms": quantile(&latencies, 0.99),
        "ack_max_ms": latencies.last().copied().unwrap_or(f64::NAN),
        "alarms": alarms,
        "cpu_s": Cpu::of(std::process::id())?.total_s,
    });
    println!("{line}");
    Ok(())
}

fn wall_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    wall_ms: f64,
}

fn example(options: &Load) -> String {
    let mut text = String::new();
    let number = options.readings / 2;
    payload::write(&mut text, reading(options, number, wall_ms() as i64), options.both);
    text
}

fn reading(options: &Load, number: u64, ts_ms: i64) -> Reading {
    let (post, round) = (number % options.posts, number / options.posts);
    Reading { number, post, boot: options.boot, seq: round + 1, ts_ms, danger: danger(options, post, round) }
}

/// Every second alarming post says so itself by its flag; the others need a second reading above the limit.
fn danger(options: &Load, post: u64, round: u64) -> Danger {
    let rounds = options.readings / options.posts;
    if post >= options.alarms || rounds < ALARM_ROUNDS {
        return Danger::None;
    }
    // Spread over the whole run; the first round is quiet and behind the last there is a second reading.
    let first = 1 + post % (rounds - 2);
    match (post.is_multiple_of(2), round) {
        (true, round) if round == first => Danger::LeakWithFlag,
        (false, round) if round == first || round == first + 1 => Danger::Leak,
        _ => Danger::None,
    }
}

/// True for the reading by which a post's danger is confirmed.
fn confirms(options: &Load, number: u64) -> bool {
    let (post, round) = (number % options.posts, number / options.posts);
    match danger(options, post, round) {
        Danger::None => false,
        Danger::LeakWithFlag => true,
        Danger::Leak => round > 0 && danger(options, post, round - 1) == Danger::Leak,
    }
}

/// One connection and the readings of its posts.
struct Lane {
    options: Load,
    stream: TcpStream,
    number: u64,
    window: u64,
    /// Frames made before, and where each ends.
    frames: Vec<u8>,
    ends: Vec<usize>,
    shared: Arc<Shared>,
}

struct Shared {
    /// When the message with this packet id was sent or due, nanoseconds after the start.
    since: Vec<AtomicU64>,
    acked: AtomicU64,
    broken: AtomicBool,
}

impl Lane {
    fn prepare(options: &Load, number: u64) -> Result<Self> {
        let id = format!("lampguard-bench-{}-{}-{number}", std::process::id(), options.boot);
        let stream = mqtt::connect(&options.to, &id, options.mqtt5)?;
        let since = (0..=PKIDS).map(|_| AtomicU64::new(0)).collect();
        let shared = Shared { since, acked: AtomicU64::new(0), broken: AtomicBool::new(false) };
        let window = (options.window / options.connections).clamp(1, WINDOW_MAX);
        let mut lane = Self {
            options: options.clone(),
            stream,
            number,
            window: if options.rate > 0.0 { WINDOW_MAX } else { window },
            frames: Vec::new(),
            ends: Vec::new(),
            shared: Arc::new(shared),
        };
        if options.rate <= 0.0 {
            lane.make_frames();
        }
        Ok(lane)
    }

    /// The numbers of this connection's readings: a post stays with one connection, as behind a gateway.
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let (posts, connections, mine) = (self.options.posts, self.options.connections, self.number);
        (0..self.options.readings).filter(move |number| number % posts % connections == mine)
    }

    fn make_frames(&mut self) {
        let rounds = (self.options.readings / self.options.posts) as i64;
        let (now, mut text) = (wall_ms() as i64, String::new());
        for (place, number) in self.numbers().enumerate() {
            let age = (rounds - (number / self.options.posts) as i64) * SPACING_MS;
            let reading = reading(&self.options, number, now - age);
            payload::write(&mut text, reading, self.options.both);
            mqtt::publish(
                &mut self.frames,
                &payload::topic(reading.post),
                pkid(place as u64),
                text.as_bytes(),
                self.options.mqtt5,
            );
            self.ends.push(self.frames.len());
        }
    }

    fn send(mut self, start: Start) -> Result<Outcome> {
        let expected = self.numbers().count() as u64;
        let (stream, shared) = (self.stream.try_clone()?, self.shared.clone());
        let patience = Duration::from_secs(self.options.patience_s);
        let reader = std::thread::spawn(move || read_acks(stream, &shared, expected, start.at, patience));
        let (sent, alarms) = if self.options.rate > 0.0 {
            self.send_paced(start)?
        } else {
            (self.send_burst(start)?, Vec::new())
        };
        let sent_after_s = start.at.elapsed().as_secs_f64();
        let latencies_ms = reader.join().map_err(|_| anyhow!("a reading thread ended in panic"))??;
        // Goodbye, so that nobody takes this for a lost connection.
        let _ = self.stream.write_all(&[0xe0, 0]);
        let _ = self.stream.shutdown(Shutdown::Both);
        Ok(Outcome { sent, latencies_ms, sent_after_s, alarms })
    }

    fn send_burst(&mut self, start: Start) -> Result<u64> {
        let (total, mut sent) = (self.ends.len() as u64, 0);
        while sent < total {
            let open = sent - self.shared.acked.load(Ordering::Acquire);
            let count = self.window.saturating_sub(open).min(GATHER).min(total - sent);
            if count == 0 {
                self.pause()?;
                continue;
            }
            let now = start.at.elapsed().as_nanos() as u64;
            for place in sent..sent + count {
                self.shared.since[usize::from(pkid(place))].store(now, Ordering::Release);
            }
            let begin = if sent == 0 { 0 } else { self.ends[sent as usize - 1] };
            let end = self.ends[(sent + count) as usize - 1];
            self.stream.write_all(&self.frames[begin..end]).context("sending readings")?;
            sent += count;
        }
        Ok(sent)
    }

    fn send_paced(&mut self, start: Start) -> Result<(u64, Vec<(String, f64)>)> {
        let (mut sent, mut alarms, mut text, mut out) = (0, Vec::new(), String::new(), Vec::new());
        let numbers: Vec<u64> = self.numbers().collect();
        while let Some(number) = numbers.get(sent as usize) {
            let due_s = *number as f64 / self.options.rate;
            let wait = due_s - start.at.elapsed().as_secs_f64();
            if wait > 0.0 || sent - self.shared.acked.load(Ordering::Acquire) >= self.window {
                // What is due goes out together before anybody sleeps.
                self.stream.write_all(&out).context("sending readings")?;
                out.clear();
                std::thread::sleep(Duration::from_secs_f64(wait.clamp(0.0002, 0.005)));
                if self.shared.broken.load(Ordering::Acquire) {
                    bail!("the connection broke after {sent} readings");
                }
                continue;
            }
            let reading = reading(&self.options, *number, (start.wall_ms + due_s * 1000.0) as i64);
            payload::write(&mut text, reading, self.options.both);
            self.shared.since[usize::from(pkid(sent))].store((due_s * 1e9) as u64, Ordering::Release);
            mqtt::publish(
                &mut out,
                &payload::topic(reading.post),
                pkid(sent),
                text.as_bytes(),
                self.options.mqtt5,
            );
            if confirms(&self.options, *number) {
                alarms.push((payload::post_id(reading.post), start.wall_ms + due_s * 1000.0));
            }
            sent += 1;
        }
        self.stream.write_all(&out).context("sending readings")?;
        Ok((sent, alarms))
    }

    fn pause(&self) -> Result<()> {
        if self.shared.broken.load(Ordering::Acquire) {
            bail!("the connection broke with {} acknowledged", self.shared.acked.load(Ordering::Acquire));
        }
        std::thread::sleep(Duration::from_micros(200));
        Ok(())
    }
}

fn pkid(place: u64) -> u16 {
    (place % PKIDS + 1) as u16
}

/// Reads acknowledgements until all are there; returns how long each took, milliseconds.
fn read_acks(
    mut stream: TcpStream,
    shared: &Shared,
    expected: u64,
    start: Instant,
    patience: Duration,
) -> Result<Vec<f64>> {
    stream.set_read_timeout(Some(patience))?;
    let (mut incoming, mut latencies) = (Incoming::new(), Vec::with_capacity(expected as usize));
    while (latencies.len() as u64) < expected {
        match incoming.fill(&mut stream) {
            Ok(true) => {}
            outcome => {
                shared.broken.store(true, Ordering::Release);
                let got = latencies.len();
                outcome.with_context(|| format!("waiting for acknowledgements: {got} of {expected} came"))?;
                bail!("the other side closed the connection with {got} of {expected} acknowledged");
            }
        }
        let now = start.elapsed().as_nanos() as u64;
        while let Some((first, body)) = incoming.next() {
            if let (0x40, [high, low]) = (first, body) {
                let since =
                    shared.since[usize::from(u16::from_be_bytes([*high, *low]))].load(Ordering::Acquire);
                latencies.push(now.saturating_sub(since) as f64 / 1e6);
            }
        }
        shared.acked.store(latencies.len() as u64, Ordering::Release);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarming_post_is_confirmed_exactly_once() {
        let options = Load {
            to: String::new(),
            readings: 30_000,
            posts: 3200,
            boot: 1,
            window: 4000,
            connections: 4,
            rate: 1000.0,
            alarms: 100,
            both: false,
            mqtt5: false,
            patience_s: 1,
        };
        let mut posts: Vec<u64> = (0..options.readings)
            .filter(|number| confirms(&options, *number))
            .map(|number| number % 3200)
            .collect();
        posts.sort_unstable();
        assert_eq!(posts, (0..100).collect::<Vec<_>>());
    }
}
