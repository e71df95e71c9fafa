//! The way ahead, against a node whose disk is full and whose link fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use lampguard_ingester::run::forwarded::records;
use lampguard_journal::{FrameBuf, Options, RealDisk, Writer};
use lampguard_model::Marks;
use lampguard_model::record::{self, Record, StoredReading};
use prometheus::Registry;

use super::*;
use crate::config::nodes::NodesSection;
use crate::metrics::NodesMetrics;
use crate::nodes::city;

const NOW: Timestamp = Timestamp(1_795_435_200_000);
const STOPPED: &str = r#"{"error":{"code":"journal_stopped","message":"m"}}"#;

/// A journal with a reading in each frame, for the node `a`.
struct Journal(Writer, u64);

impl Journal {
    fn add(&mut self) {
        let mut marks = Marks::default();
        marks.add(Marks::FOREIGN);
        let reading = StoredReading { zone: "z1", identity: self.1, marks, ..StoredReading::at("P1", NOW) };
        let mut frame = FrameBuf::new(self.1);
        frame.push(record::READING, |out| record::encode_reading(&reading, out));
        self.0.commit(&[frame], NOW.0).unwrap();
        self.1 += 1;
    }
}

/// The identities in the body of the next request, which is answered so by this run of the node.
fn answer(listener: &TcpListener, run: &str, status: &str) -> Vec<u64> {
    listener.set_nonblocking(true).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let (mut stream, _): (TcpStream, _) = loop {
        match listener.accept() {
            Ok(accepted) => break accepted,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => panic!("no request came: {e}"),
        }
    };
    stream.set_nonblocking(false).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let length = STOPPED.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-Lampguard-Run: {run}\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n{STOPPED}").unwrap();
    let identity = |(kind, bytes): (u8, &[u8])| match record::decode(kind, bytes) {
        Ok(Record::Reading(reading)) => reading.identity,
        other => panic!("{other:?}"),
    };
    records(&body).map(|record| identity(record.unwrap())).collect()
}

fn worker(config: &NodesSection, dir: &Path, journal: &Journal) -> Worker {
    let nodes = Nodes::new(config, NodesMetrics::register(&Registry::new()).unwrap(), dir);
    Worker {
        turn: Turn::new(None, Duration::ZERO),
        owner: way_to(config, "a").unwrap(),
        standby: None,
        target: nodes.owners.place("a").unwrap(),
        missed: Weather::default(),
        weather_file: weather_path(dir, "a"),
        weather_saved: true,
        cursor_file: cursor_path(dir, "a"),
        journal_dir: dir.join("journal"),
        register: Arc::new(Register::default()).into(),
        owners: String::new(),
        losses: Arc::new(LossBook::open(&dir.join("losses.json"))),
        unreadable_since: None,
        follower: journal.0.tail().follow("forward:a", 0),
        reader: None,
        batch: Batch::at(0),
        ahead: None,
        cursor: 0,
        saved: 0,
        save_at: Instant::now(),
        told: false,
        taken_over: false,
        clock: Arc::new(|| NOW),
        stop: Arc::default(),
        nodes: Arc::new(nodes),
    }
}

/// An owner `a` behind a listener of ours, and the list of nodes that names it.
fn owner(home: &Path) -> (TcpListener, NodesSection) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let token_file = home.join("a.token");
    std::fs::write(&token_file, "token\n").unwrap();
    let mut config = city("in");
    let owner = config.peer.iter_mut().find(|peer| peer.id == "a").unwrap();
    owner.url = Some(format!("http://{}", listener.local_addr().unwrap()));
    owner.token_file = Some(token_file);
    (listener, config)
}

#[test]
fn an_owner_that_is_restarted_with_its_disk_full_is_sent_again_what_it_has_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let (listener, config) = owner(home.path());
    let dir = home.path().join("journal");
    let mut journal = Journal(Writer::open(Arc::new(RealDisk), &dir, Options::default(), 0).unwrap().0, 0);
    let mut worker = worker(&config, home.path(), &journal);
    let mut ask = |run: &'static str, step: &mut dyn FnMut(&mut Worker)| {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| answer(&listener, run, "503 Service Unavailable"));
            step(&mut worker);
            asked.join().unwrap()
        })
    };
    let ahead = |worker: &mut Worker| worker.go_ahead(To::Owner, TICK);
    journal.add();
    let sent = ask("1", &mut |worker| {
        worker.read();
        worker.send(To::Owner);
    });
    assert_eq!(sent, [0], "the batch that waits");
    for number in 1..=2 {
        journal.add();
        assert_eq!(ask("1", &mut &ahead), [number]);
    }
    // Seen by a sign of life first.
    assert!(ask("2", &mut Worker::beat).is_empty());
    assert_eq!(ask("2", &mut &ahead), [0, 1, 2], "the first samples too");
    journal.add();
    assert_eq!(ask("2", &mut &ahead), [3]);
    // Seen by what goes ahead.
    journal.add();
    assert_eq!(ask("3", &mut &ahead), [4]);
    assert_eq!(ask("3", &mut &ahead), [0, 1, 2, 3, 4]);
    assert!(ask("3", &mut Worker::beat).is_empty());
    journal.add();
    assert_eq!(ask("3", &mut &ahead), [5], "a run that is known is sent nothing twice");
    assert_eq!((worker.cursor, worker.batch.next), (0, 1), "all of it waits to be kept");
}

#[test]
fn a_request_that_fails_on_the_way_ahead_goes_again_and_nothing_that_was_judged_before_it() {
    let home = tempfile::tempdir().unwrap();
    let (listener, config) = owner(home.path());
    let dir = home.path().join("journal");
    let mut journal = Journal(Writer::open(Arc::new(RealDisk), &dir, Options::default(), 0).unwrap().0, 0);
    let mut worker = worker(&config, home.path(), &journal);
    let mut ask = |status: &'static str, step: &mut dyn FnMut(&mut Worker)| {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| answer(&listener, "1", status));
            step(&mut worker);
            asked.join().unwrap()
        })
    };
    journal.add();
    let stopped = "503 Service Unavailable";
    let sent = ask(stopped, &mut |worker| {
        worker.read();
        worker.send(To::Owner);
    });
    assert_eq!(sent, [0], "the batch that waits");
    let mut ahead = |journal: &mut Journal, status| {
        journal.add();
        ask(status, &mut |worker| worker.go_ahead(To::Owner, TICK))
    };
    assert_eq!(ahead(&mut journal, stopped), [1]);
    assert_eq!(ahead(&mut journal, "500 Internal Server Error"), [2], "nobody knows what it judged of it");
    assert_eq!(ahead(&mut journal, stopped), [2]);
    assert_eq!(ahead(&mut journal, stopped), [3, 4]);
    assert_eq!((worker.cursor, worker.batch.next), (0, 1), "all of it waits to be kept");
}
