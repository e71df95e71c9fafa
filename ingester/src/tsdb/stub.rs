//! For tests: a small HTTP server that plays a database, a reader of line protocol that shares nothing with
//! the encoder, and a journal to follow.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lampguard_journal::{FrameBuf, Options, RealDisk, Tail, Writer};
use lampguard_model::record::{self, Source, StoredReading};
use lampguard_model::{Field, Fields, Timestamp};
use prometheus::Registry;

use super::{Running, start, stored_cursor};
use crate::config::TsdbConfig;
use crate::metrics::{Metrics, TsdbMetrics};
use crate::run::Clock;

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

pub(super) fn clock() -> Clock {
    Arc::new(now)
}

/// Waits until it is so, or fails.
pub(super) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "waited 30 s for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) at: Instant,
}

impl Request {
    /// The rows of a compressed body.
    pub(super) fn rows(&self) -> Vec<String> {
        assert_eq!(self.headers["content-encoding"], "gzip");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(super) fn is_write(&self) -> bool {
        self.method == "POST"
    }
}

pub(super) enum Reply {
    Status(u16, &'static str, String),
    Silence,
    Reset,
}

pub(super) fn status(status: u16) -> Reply {
    Reply::Status(status, "", String::new())
}

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A server on a free port of this machine.
pub(super) struct Stub {
    pub(super) addr: SocketAddr,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    seen: Arc<Mutex<Vec<Request>>>,
    /// So many next writes are broken off in the middle of their body.
    pub(super) cut: Arc<AtomicUsize>,
}

impl Stub {
    pub(super) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(0, handler)
    }

    pub(super) fn start_at(port: u16, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let stub = Self {
            addr: listener.local_addr().unwrap(),
            stopped: Arc::default(),
            open: Arc::default(),
            seen: Arc::default(),
            cut: Arc::default(),
        };
        let handler: Handler = Arc::new(handler);
        let (stopped, open, seen) = (stub.stopped.clone(), stub.open.clone(), stub.seen.clone());
        let cut = stub.cut.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (handler, seen, stopped) = (handler.clone(), seen.clone(), stopped.clone());
                let cut = cut.clone();
                std::thread::spawn(move || serve(&stream, &handler, &seen, &stopped, &cut));
            }
        });
        stub
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every write so far.
    pub(super) fn writes(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|r| r.is_write()).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Breaks every open connection, as a process that ends does.
    pub(super) fn break_connections(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.break_connections();
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(
    stream: &TcpStream,
    handler: &Handler,
    seen: &Mutex<Vec<Request>>,
    stopped: &AtomicBool,
    cut: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader, cut) {
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        match reply {
            Reply::Status(status, header, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} Told\r\nContent-Length: {length}\r\n{header}\r\n");
                let head =
                    if status == 204 { format!("HTTP/1.1 204 No Content\r\n{header}\r\n") } else { head };
                if writer.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Silence => {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return;
            }
            Reply::Reset => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>, cut: &AtomicUsize) -> Option<Request> {
    let mut line = String::new();
    let mut next = || {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let header = next()?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let less = |left: usize| left.checked_sub(1);
    if method == "POST" && cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
        let _ = reader.read_exact(&mut vec![0; length / 2]);
        let _ = reader.get_ref().shutdown(std::net::Shutdown::Both);
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        at: Instant::now(),
    })
}

/// A row as a reader of line protocol understands it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) measurement: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) fields: BTreeMap<String, f64>,
    pub(super) ts: i64,
}

/// Cuts at a character that is not escaped.
fn cut(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = parts.last_mut().unwrap();
        if c == '\\' {
            last.push(c);
            last.extend(chars.next());
        } else if c == at {
            parts.push(String::new());
        } else {
            last.push(c);
        }
    }
    parts
}

fn plain(text: &str) -> String {
    text.replace("\\,", ",").replace("\\ ", " ").replace("\\=", "=")
}

/// Reads one row; `None` when it is not line protocol as InfluxDB documents it.
pub(super) fn parse(row: &str) -> Option<Line> {
    let [head, fields, ts] = cut(row, ' ').try_into().ok()?;
    let pair = |text: &String| {
        let [name, value] = cut(text, '=').try_into().ok()?;
        (!name.is_empty() && !value.is_empty()).then(|| (plain(&name), plain(&value)))
    };
    let mut head = cut(&head, ',').into_iter();
    let measurement = plain(&head.next()?);
    let tags: Option<BTreeMap<_, _>> = head.map(|tag| pair(&tag)).collect();
    let mut numbers = BTreeMap::new();
    for field in cut(&fields, ',') {
        let (name, value) = pair(&field)?;
        let strict = value.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        if !strict || numbers.insert(name, value.parse().ok()?).is_some() {
            return None;
        }
    }
    Some(Line { measurement, tags: tags?, fields: numbers, ts: ts.parse().ok()? })
}

/// A database that keeps rows by (tags, time) and can forget them.
#[derive(Clone, Default)]
pub(super) struct Database {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    started: i64,
    rows: BTreeMap<(String, i64), (Line, Instant)>,
}

impl Database {
    pub(super) fn take(&self, request: &Request) -> Reply {
        let mut inner = self.inner.lock().unwrap();
        for row in request.rows() {
            let line = parse(&row).unwrap_or_else(|| panic!("not line protocol: {row}"));
            let key = (format!("{}{:?}", line.measurement, line.tags), line.ts);
            inner.rows.insert(key, (line, Instant::now()));
        }
        status(204)
    }

    pub(super) fn metrics(&self) -> Reply {
        let started = 1_700_000_000 + self.inner.lock().unwrap().started;
        Reply::Status(200, "", format!("x 1\nprocess_start_time_seconds {started}\n"))
    }

    /// Takes writes and tells its start time.
    pub(super) fn answer(&self, request: &Request) -> Reply {
        match request.path.as_str() {
            _ if request.is_write() => self.take(request),
            "/metrics" => self.metrics(),
            _ => status(404),
        }
    }

    /// Killed and started again: what came in the last seconds is gone.
    pub(super) fn restart_and_forget(&self, last: Duration) {
        let mut inner = self.inner.lock().unwrap();
        inner.started += 1;
        inner.rows.retain(|_, (_, at)| at.elapsed() > last);
    }

    /// A field of every row of a measurement, in order.
    pub(super) fn points(&self, measurement: &str, field: &str) -> Vec<u64> {
        let inner = self.inner.lock().unwrap();
        let lines = inner.rows.values().filter(|(line, _)| line.measurement == measurement);
        let mut values: Vec<_> = lines.map(|(line, _)| line.fields[field] as u64).collect();
        values.sort_unstable();
        values
    }

    /// `seq` of every lamp row that is there.
    pub(super) fn seqs(&self) -> Vec<u64> {
        let inner = self.inner.lock().unwrap();
        let lamps = inner.rows.values().filter(|(line, _)| line.measurement == "lamp");
        let mut seqs: Vec<_> = lamps.map(|(line, _)| line.fields["seq"] as u64).collect();
        seqs.sort_unstable();
        seqs
    }
}

pub(super) fn reading(seq: u64) -> StoredReading<'static> {
    let mut fields = Fields::default();
    fields.set(Field::LeakageMa, 820);
    fields.set(Field::ShellV, i64::try_from(seq % 1000).unwrap());
    fields.set(Field::Supply, 1000);
    let stored_ts = Timestamp(now().0 / 1000 * 1000 - 60_000 + i64::try_from(seq % 60_000).unwrap());
    StoredReading {
        identity: seq,
        received_at: now(),
        ts: None,
        seq: Some(seq),
        boot: Some(7),
        source: Source::Broker,
        device: "D",
        zone: "z1",
        feeder: "F1",
        fields,
        ..StoredReading::at(POSTS[seq as usize % POSTS.len()], stored_ts)
    }
}

const POSTS: [&str; 7] = ["P0", "P1", "P2", "P3", "P4", "P5", "P6"];

/// A journal, and a follower on it.
pub(super) struct Bench {
    pub(super) home: tempfile::TempDir,
    pub(super) writer: Writer,
    pub(super) next: u64,
    pub(super) metrics: TsdbMetrics,
}

impl Bench {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 256 << 10, min_free_bytes: 0, ..Options::default() };
        let dir = home.path().join("journal");
        let (writer, _) = Writer::open(Arc::new(RealDisk), &dir, options, 0).unwrap();
        Self { home, writer, next: 0, metrics: Metrics::register(&Registry::new()).tsdb }
    }

    pub(super) fn tail(&self) -> Tail {
        self.writer.tail().clone()
    }

    /// Commits any records.
    pub(super) fn commit(&mut self, count: u64, mut push: impl FnMut(u64, &mut FrameBuf)) {
        let mut frame = FrameBuf::new(self.next);
        for n in 0..count {
            push(self.next + n, &mut frame);
            if frame.len() > 60_000 || n + 1 == count {
                let next = FrameBuf::new(frame.end_seq());
                let mut full = std::mem::replace(&mut frame, next);
                full.closed_at = now().0;
                self.writer.commit(&[&full], now().0).unwrap();
            }
        }
        self.next += count;
    }

    /// Commits readings whose `seq` is the number of their record.
    pub(super) fn readings(&mut self, count: u64) {
        self.commit(count, |seq, frame| {
            frame.push(record::READING, |out| record::encode_reading(&reading(seq), out));
        });
    }

    pub(super) fn follow(&self, config: &TsdbConfig) -> Running {
        let cursor = stored_cursor(self.home.path(), &config.id);
        let follower = self.tail().follow_bounded(&config.id, cursor, config.max_lag_bytes);
        start(
            config.clone(),
            self.home.path(),
            &self.home.path().join("journal"),
            follower,
            Duration::from_secs(120),
            self.metrics.clone(),
            clock(),
        )
    }

    pub(super) fn rejected(&self, reason: &str) -> u64 {
        self.metrics.rejected.with_label_values(&[reason]).get()
    }

    pub(super) fn token_file(&self, token: &str) -> PathBuf {
        let path = self.home.path().join("token");
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path
    }
}

pub(super) fn config(url: &str) -> TsdbConfig {
    let mut config: TsdbConfig = toml::from_str(&format!("id = \"main\"\nurl = \"{url}\"")).unwrap();
    config.batch_ms = 100;
    config.timeout_s = 5;
    config
}

/// A database that does something else with the first writes.
pub(super) fn spoiled(
    times: usize,
    first: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> (Stub, Database) {
    spoiled_at(0, times, first)
}

pub(super) fn spoiled_at(
    port: u16,
    times: usize,
    first: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> (Stub, Database) {
    let database = Database::default();
    let (kept, count) = (database.clone(), AtomicUsize::new(0));
    let stub = Stub::start_at(port, move |request| {
        let turn = request.is_write().then(|| count.fetch_add(1, Ordering::SeqCst));
        match turn {
            Some(turn) if turn < times => first(turn, request),
            _ => kept.answer(request),
        }
    });
    (stub, database)
}

pub(super) fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}
