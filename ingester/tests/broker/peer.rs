//! The broker's side of the consumer's connections, and a consumer with its ingester.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lampguard_ingester::config::{JournalConfig, Protocol, QuarantineConfig};
use lampguard_ingester::intake::Mapping;
use lampguard_ingester::source::broker::wire::Remote;
use lampguard_ingester::source::broker::{Broker, Context, Options, WINDOW};
use lampguard_ingester::{Ingester, Opened};
use lampguard_journal::FrameBuf;
use lampguard_model::{Marks, Record, Register, Timestamp, record};

pub(crate) const BOTH: [Protocol; 2] = [Protocol::V4, Protocol::V5];

/// One connection of the consumer, seen from the broker; true where it speaks MQTT 5.
pub(crate) struct Peer(pub(crate) TcpStream, pub(crate) bool);

impl Peer {
    /// Takes the next connection and its CONNECT.
    pub(crate) fn connected(listener: &TcpListener) -> Self {
        let (peer, clean) = Self::greeted(listener);
        assert!(!clean, "clean_session is false");
        peer
    }

    /// Takes the next connection and its CONNECT; true where it asks for a clean session.
    pub(crate) fn greeted(listener: &TcpListener) -> (Self, bool) {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut peer = Self(stream, false);
        let (kind, body) = peer.packet().unwrap();
        assert_eq!(kind >> 4, 1, "CONNECT comes first");
        let clean = body[7] & 2 != 0;
        peer.1 = body[6] == 5;
        if peer.1 && !clean {
            // Length, session expiry of u32::MAX, receive maximum.
            assert_eq!(body[11..16], [17, 255, 255, 255, 255], "the session does not expire");
            assert_eq!(body[16..19], [33, (WINDOW >> 8) as u8, WINDOW as u8]);
        }
        (peer, clean)
    }

    /// Takes the next connection, which has to be a second subscription, and answers its SUBSCRIBE with this code.
    pub(crate) fn second(site: &Site, code: u8) -> Self {
        let (mut peer, clean) = Self::greeted(&site.listener);
        assert!(clean, "the second subscription keeps no session");
        let ack: &[u8] = if peer.1 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        peer.0.write_all(ack).unwrap();
        let (kind, body) = peer.packet().unwrap();
        assert_eq!(kind, 0x82);
        peer.suback(&body, code);
        peer
    }

    /// Takes the next connection: CONNECT, CONNACK with this session flag, SUBSCRIBE, SUBACK.
    pub(crate) fn accept(site: &Site, session_present: bool) -> Self {
        let mut peer = Self::connected(&site.listener);
        assert_eq!(peer.1, site.protocol == Protocol::V5, "the version of the configuration");
        peer.welcome(session_present);
        peer
    }

    /// CONNACK with this session flag, SUBSCRIBE, SUBACK.
    pub(crate) fn welcome(&mut self, session_present: bool) {
        let present = u8::from(session_present);
        let ack: &[u8] = if self.1 { &[0x20, 3, present, 0, 0] } else { &[0x20, 2, present, 0] };
        self.0.write_all(ack).unwrap();
        let (kind, body) = self.packet().unwrap();
        assert_eq!(kind, 0x82, "SUBSCRIBE follows every CONNACK");
        self.suback(&body, 1);
    }

    pub(crate) fn suback(&mut self, subscribe: &[u8], code: u8) {
        self.suback_of(subscribe, [code; 3]);
    }

    pub(crate) fn suback_of(&mut self, subscribe: &[u8], [first, second, third]: [u8; 3]) {
        let (high, low) = (subscribe[0], subscribe[1]);
        let ack: &[u8] = if self.1 {
            &[0x90, 6, high, low, 0, first, second, third]
        } else {
            &[0x90, 5, high, low, first, second, third]
        };
        self.0.write_all(ack).unwrap();
    }

    pub(crate) fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 1];
        self.0.read_exact(&mut head).ok()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let mut byte = [0; 1];
            self.0.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 127) << shift;
            shift += 7;
            if byte[0] & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    pub(crate) fn publish(&mut self, pkid: u16, seq: u64) {
        let payload = format!(r#"{{"seq":{seq},"boot":1,"leakage_ma":0.5}}"#);
        self.send(pkid, payload.as_bytes());
    }

    pub(crate) fn send(&mut self, pkid: u16, payload: &[u8]) {
        self.send_to("lamp/z1/P1/reading", pkid, payload);
    }

    pub(crate) fn send_to(&mut self, topic: &str, pkid: u16, payload: &[u8]) {
        self.send_as(0x32, topic, pkid, payload);
    }

    /// `first` holds QoS and the retain bit; without QoS the number is left out.
    pub(crate) fn send_as(&mut self, first: u8, topic: &str, pkid: u16, payload: &[u8]) {
        let mut body = vec![0, topic.len() as u8];
        body.extend_from_slice(topic.as_bytes());
        if first & 6 != 0 {
            body.extend_from_slice(&pkid.to_be_bytes());
        }
        if self.1 {
            // A property that no rule of ours needs: the payload is text.
            body.extend_from_slice(&[2, 1, 1]);
        }
        body.extend_from_slice(payload);
        let mut packet = vec![first];
        let mut rest = body.len();
        loop {
            let byte = (rest % 128) as u8;
            rest /= 128;
            packet.push(if rest > 0 { byte | 128 } else { byte });
            if rest == 0 {
                break;
            }
        }
        packet.extend_from_slice(&body);
        // The consumer may have cut the connection already: that is what some tests are about.
        let _ = self.0.write_all(&packet);
    }

    /// Packet ids of the next acknowledgements.
    pub(crate) fn acks(&mut self, count: usize) -> Vec<u16> {
        let mut acks = Vec::new();
        while acks.len() < count {
            let Some((kind, body)) = self.packet() else { break };
            match kind {
                0x40 => acks.push(u16::from_be_bytes([body[0], body[1]])),
                0xc0 => self.0.write_all(&[0xd0, 0]).unwrap(),
                other => panic!("unexpected packet {other:#x}"),
            }
        }
        acks
    }
}

/// The clock of every test stands still.
pub(crate) const NOW: Timestamp = Timestamp(1_795_435_200_000);

pub(crate) struct Site {
    pub(crate) listener: TcpListener,
    pub(crate) protocol: Protocol,
    /// Of each reading in the frames for the judge, whether it is marked as judged elsewhere.
    pub(crate) judged: Arc<Mutex<Vec<bool>>>,
    pub(crate) ingester: Ingester,
    pub(crate) broker: Broker,
}

pub(crate) fn start(home: &Path, now: Timestamp, protocol: Protocol, judge: bool, disk_full: bool) -> Site {
    start_with(home, now, protocol, (judge, disk_full), (None, None))
}

/// `more`: a mapping beside the canonical ones; `group`: that of a shared subscription.
pub(crate) fn start_with(
    home: &Path,
    now: Timestamp,
    protocol: Protocol,
    (judge, disk_full): (bool, bool),
    (more, group): (Option<Mapping>, Option<&str>),
) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let min_free_bytes = if disk_full { u64::MAX / 2 } else { 0 };
    let journal = JournalConfig { min_free_bytes, ..JournalConfig::default() };
    let opened = Opened::open(home, &journal, &QuarantineConfig::default(), &[]).unwrap();
    let clock: lampguard_ingester::run::Clock = Arc::new(move || now);
    let registry = prometheus::Registry::new();
    let register = Arc::new(Register::default());
    let judged = Arc::new(Mutex::new(Vec::new()));
    let marks = judged.clone();
    let judging = Box::new(move |frame: Arc<FrameBuf>| {
        for (_, kind, bytes) in frame.records() {
            if let Ok(Record::Reading(reading)) = record::decode(kind, bytes) {
                marks.lock().unwrap().push(reading.marks.has(Marks::NOT_JUDGED));
            }
        }
    });
    let ingester = opened.start(register.into(), judging, clock.clone(), &registry).unwrap();
    let mut mappings = Mapping::canonical();
    mappings.extend(more);
    let options = Options {
        id: "test".to_owned(),
        remote: Remote {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: None,
        },
        protocol,
        client_id: "consumer".to_owned(),
        filters_file: Some(home.join("broker-test.filters")),
        credentials: None,
        shared_group: group.map(str::to_owned),
        mappings,
        judge,
    };
    let context =
        Context { inlet: ingester.inlet(), metrics: ingester.metrics(), clock, losses: ingester.losses() };
    let broker = Broker::start(options, context);
    Site { listener, protocol, judged, ingester, broker }
}

pub(crate) fn stored(site: &Site) -> u64 {
    site.ingester.accounts().statement().settled.stored
}

pub(crate) fn wait_for(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the broker's side on this thread while the consumer lives on a runtime of its own; once for each version.
pub(crate) fn with_site(test: impl Fn(&Site)) {
    for protocol in BOTH {
        let home = tempfile::tempdir().unwrap();
        with_site_in(home.path(), NOW, protocol, &test);
    }
}

pub(crate) fn with_site_in(home: &Path, now: Timestamp, protocol: Protocol, test: impl FnOnce(&Site)) {
    with_site_of(home, now, protocol, true, test);
}

pub(crate) fn with_site_of(
    home: &Path,
    now: Timestamp,
    protocol: Protocol,
    judge: bool,
    test: impl FnOnce(&Site),
) {
    run(|| start(home, now, protocol, judge, false), test);
}

/// A site whose journal takes nothing: its disk counts as full from the first commit on.
pub(crate) fn with_full_disk(test: impl Fn(&Site)) {
    for protocol in BOTH {
        let home = tempfile::tempdir().unwrap();
        run(|| start(home.path(), NOW, protocol, true, true), &test);
    }
}

pub(crate) fn run(start: impl FnOnce() -> Site, test: impl FnOnce(&Site)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let site = runtime.block_on(async { start() });
    test(&site);
    let Site { ingester, broker, .. } = site;
    ingester.stop(Duration::from_secs(2));
    runtime.block_on(broker.stop());
}
