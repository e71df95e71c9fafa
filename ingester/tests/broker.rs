//! The broker consumer against a broker that misbehaves on purpose: it cuts mid-burst, forgets sessions,
//! renumbers, sends packets over the limit, and closes while acknowledgements are still on their way.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lampguard_ingester::config::{JournalConfig, QuarantineConfig};
use lampguard_ingester::intake::Mapping;
use lampguard_ingester::source::broker::{Broker, Context, Options};
use lampguard_ingester::{Ingester, Opened};
use lampguard_model::{Millis, Register, Timestamp};

/// One connection of the consumer, seen from the broker.
struct Peer(TcpStream);

impl Peer {
    /// Takes the next connection: CONNECT, CONNACK with this session flag, SUBSCRIBE, SUBACK.
    fn accept(listener: &TcpListener, session_present: bool) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut peer = Self(stream);
        let (kind, body) = peer.packet().unwrap();
        assert_eq!(kind >> 4, 1, "CONNECT comes first");
        assert_eq!(body[7] & 2, 0, "clean_session is false");
        peer.0.write_all(&[0x20, 2, u8::from(session_present), 0]).unwrap();
        let (kind, body) = peer.packet().unwrap();
        assert_eq!(kind, 0x82, "SUBSCRIBE follows every CONNACK");
        peer.0.write_all(&[0x90, 5, body[0], body[1], 1, 1, 1]).unwrap();
        peer
    }

    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
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

    fn publish(&mut self, pkid: u16, seq: u64) {
        let payload = format!(r#"{{"seq":{seq},"boot":1,"leakage_ma":0.5}}"#);
        self.send(pkid, payload.as_bytes());
    }

    fn send(&mut self, pkid: u16, payload: &[u8]) {
        self.send_to("lamp/z1/P1/reading", pkid, payload);
    }

    fn send_to(&mut self, topic: &str, pkid: u16, payload: &[u8]) {
        let mut body = vec![0, topic.len() as u8];
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&pkid.to_be_bytes());
        body.extend_from_slice(payload);
        let mut packet = vec![0x32];
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
    fn acks(&mut self, count: usize) -> Vec<u16> {
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
const NOW: Timestamp = Timestamp(1_795_435_200_000);

struct Site {
    listener: TcpListener,
    ingester: Ingester,
    broker: Broker,
}

fn start(home: &Path, now: Timestamp) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let journal = JournalConfig { min_free_bytes: 0, ..JournalConfig::default() };
    let opened = Opened::open(home, &journal, &QuarantineConfig::default(), &[]).unwrap();
    let clock: lampguard_ingester::run::Clock = Arc::new(move || now);
    let registry = prometheus::Registry::new();
    let register = Arc::new(Register::default());
    let ingester = opened.start(register.into(), Box::new(|_| {}), clock.clone(), &registry).unwrap();
    let options = Options {
        id: "test".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        client_id: "consumer".to_owned(),
        credentials: None,
        shared_group: None,
        mappings: Mapping::canonical(),
    };
    let context =
        Context { inlet: ingester.inlet(), metrics: ingester.metrics(), clock, losses: ingester.losses() };
    let broker = Broker::start(options, context);
    Site { listener, ingester, broker }
}

fn stored(site: &Site) -> u64 {
    site.ingester.accounts().statement().settled.stored
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the broker's side on this thread while the consumer lives on a runtime of its own.
fn with_site(test: impl FnOnce(&Site)) {
    let home = tempfile::tempdir().unwrap();
    with_site_in(home.path(), NOW, test);
}

fn with_site_in(home: &Path, now: Timestamp, test: impl FnOnce(&Site)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let site = runtime.block_on(async { start(home, now) });
    test(&site);
    let Site { ingester, broker, .. } = site;
    ingester.stop(Duration::from_secs(2));
    runtime.block_on(broker.stop());
}

#[test]
fn acknowledgements_leave_in_the_order_of_arrival_and_after_the_commit() {
    with_site(|site| {
        let mut peer = Peer::accept(&site.listener, false);
        for pkid in 1..=500 {
            peer.publish(pkid, u64::from(pkid));
        }
        assert_eq!(peer.acks(500), (1..=500).collect::<Vec<u16>>());
        assert_eq!(stored(site), 500);
    });
}

#[test]
fn peer_p5_no_acknowledgement_of_an_old_connection_leaves_on_the_new_one() {
    for session_present in [true, false] {
        with_site(|site| {
            // A burst, and the connection goes while its acknowledgements are under way.
            let mut peer = Peer::accept(&site.listener, false);
            for pkid in 1..=300 {
                peer.publish(pkid, u64::from(pkid));
            }
            drop(peer);
            // The new connection gives the same packet ids to other readings, as a broker may.
            let mut peer = Peer::accept(&site.listener, session_present);
            peer.0.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            assert_eq!(
                peer.acks(1),
                Vec::<u16>::new(),
                "nothing was sent yet, so nothing may be acknowledged"
            );
            peer.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for pkid in 1..=300u16 {
                peer.publish(pkid, 1000 + u64::from(pkid));
            }
            assert_eq!(peer.acks(300), (1..=300).collect::<Vec<u16>>());
            let losses = site.ingester.losses().list();
            assert_eq!(
                losses.iter().filter(|loss| loss.source == "broker:test").count(),
                usize::from(!session_present)
            );
        });
    }
}

#[test]
fn a_session_that_is_lost_while_we_are_away_is_booked_from_the_last_time_we_were_connected() {
    let home = tempfile::tempdir().unwrap();
    let back = NOW + Millis::hours(3);
    let lost = |site: &Site| {
        let losses = site.ingester.losses().list();
        losses.iter().map(|loss| (loss.source.clone(), loss.from, loss.to, loss.count)).collect::<Vec<_>>()
    };
    with_site_in(home.path(), NOW, |site| {
        // The first try fails: a broker that never knew us has lost nothing.
        drop(site.listener.accept().unwrap());
        let _peer = Peer::accept(&site.listener, false);
        assert_eq!(lost(site), []);
    });
    with_site_in(home.path(), back, |site| {
        let _peer = Peer::accept(&site.listener, false);
        assert_eq!(lost(site), [("broker:test".to_owned(), NOW, back, None)]);
    });
    with_site_in(home.path(), back + Millis::hours(1), |site| {
        let _peer = Peer::accept(&site.listener, true);
        assert_eq!(lost(site).len(), 1, "the session was kept");
    });
}

#[test]
fn a_broker_that_cuts_every_burst_and_sends_again_loses_nothing_and_doubles_nothing() {
    with_site(|site| {
        let mut unacknowledged: BTreeSet<u64> = (0..2000).collect();
        for round in 0..200 {
            let mut peer = Peer::accept(&site.listener, true);
            peer.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let batch: Vec<u64> = unacknowledged.iter().copied().take(400).collect();
            if batch.is_empty() {
                break;
            }
            for (place, seq) in batch.iter().enumerate() {
                peer.publish(place as u16 + 1, *seq);
            }
            // Cut after a part of the acknowledgements, another part every time.
            for pkid in peer.acks(37 + round * 61 % 300) {
                unacknowledged.remove(&batch[usize::from(pkid) - 1]);
            }
        }
        assert!(unacknowledged.is_empty(), "{} never acknowledged", unacknowledged.len());
        wait_for("the books to balance", || {
            let statement = site.ingester.accounts().statement();
            statement.pending == 0 && statement.balanced()
        });
        assert_eq!(stored(site), 2000);
    });
}

#[test]
fn peer_p5_a_poison_packet_is_let_in_once_quarantined_and_acknowledged() {
    with_site(|site| {
        let poison = vec![b'x'; 2 << 20];
        let mut peer = Peer::accept(&site.listener, false);
        peer.send(1, &poison);
        // Too long for this connection; the session brings it back on the next one.
        let mut peer = Peer::accept(&site.listener, true);
        peer.send(1, &poison);
        peer.publish(2, 7);
        assert_eq!(peer.acks(2), [1, 2]);
        let settled = site.ingester.accounts().statement().settled;
        assert_eq!(settled.quarantined_by_reason().collect::<Vec<_>>(), [("too_large", 1)]);
        assert_eq!(settled.stored, 1);
    });
}

#[test]
fn a_refused_subscription_is_not_up() {
    with_site(|site| {
        let (mut stream, _) = site.listener.accept().unwrap();
        let mut rest = [0; 256];
        let _ = stream.read(&mut rest).unwrap();
        stream.write_all(&[0x20, 2, 0, 0]).unwrap();
        let read = stream.read(&mut rest).unwrap();
        assert_eq!(rest[0], 0x82, "{read} bytes");
        stream.write_all(&[0x90, 5, rest[2], rest[3], 0x80, 0x80, 0x80]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!site.broker.is_up());
    });
}

#[test]
fn a_weather_message_of_a_megabyte_is_quarantined_and_harms_nothing() {
    with_site(|site| {
        let mut peer = Peer::accept(&site.listener, false);
        peer.publish(1, 1);
        let long = format!(r#"{{"rain_mm_h":1,"x":"{}"}}"#, "y".repeat((1 << 20) - 200));
        peer.send_to("weather/z1/rain", 2, long.as_bytes());
        peer.publish(3, 2);
        assert_eq!(peer.acks(3), [1, 2, 3]);
        let settled = site.ingester.accounts().statement().settled;
        assert_eq!(settled.quarantined_by_reason().collect::<Vec<_>>(), [("too_large", 1)]);
        assert_eq!(settled.stored, 2);
    });
}
