//! Pauses between tries, and payloads over the limit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;

use lampguard_model::Timestamp;
use prometheus::Registry;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::session::CHUNK_BYTES;
use super::*;
use crate::intake::{Gate, HELD_BYTES_MAX, Input, QUEUE_CHUNKS};

/// A consumer whose chunks nobody takes but the test, and the broker's end of its connection.
struct Site {
    chunks: mpsc::Receiver<Input>,
    gate: Arc<Gate>,
    metrics: Metrics,
    listener: TcpListener,
    peer: TcpStream,
    _broker: Broker,
    _runtime: Runtime,
}

impl Site {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = Metrics::register(&Registry::new());
        let gate = Gate::new(metrics.clone());
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let options = Options {
            id: "test".to_owned(),
            remote: Remote {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                tls: None,
            },
            protocol: Protocol::V4,
            client_id: "consumer".to_owned(),
            filters_file: None,
            credentials: None,
            shared_group: None,
            mappings: Mapping::canonical(),
            judge: true,
        };
        let context = Context {
            inlet: Inlet { sender, gate: gate.clone() },
            metrics: metrics.clone(),
            clock: Arc::new(|| Timestamp(1_795_435_200_000)),
            losses: Arc::new(LossBook::in_memory()),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = runtime.block_on(async { Broker::start(options, context) });
        let peer = accept(&listener, 1);
        Self { chunks, gate, metrics, listener, peer, _broker: broker, _runtime: runtime }
    }
}

/// Takes the next connection and grants its subscriptions this QoS.
fn accept(listener: &TcpListener, qos: u8) -> TcpStream {
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = [0; 512];
    assert!(peer.read(&mut rest).unwrap() > 0, "CONNECT");
    peer.write_all(&[0x20, 2, 0, 0]).unwrap();
    assert!(peer.read(&mut rest).unwrap() > 0, "SUBSCRIBE");
    peer.write_all(&[0x90, 5, rest[2], rest[3], qos, qos, qos]).unwrap();
    peer
}

/// The filters of the next SUBSCRIBE, which is answered with these codes.
fn asked(peer: &mut TcpStream, codes: &[u8]) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < until, "nothing is asked for");
        let mut header = [0; 2];
        peer.read_exact(&mut header).unwrap();
        let mut rest = vec![0; usize::from(header[1])];
        peer.read_exact(&mut rest).unwrap();
        match header[0] {
            0xc0 => peer.write_all(&[0xd0, 0]).unwrap(),
            0x82 => {
                peer.write_all(&[0x90, 2 + codes.len() as u8, rest[0], rest[1]]).unwrap();
                peer.write_all(codes).unwrap();
                let (mut filters, mut rest) = (Vec::new(), &rest[2..]);
                while let [_, length, behind @ ..] = rest {
                    let (filter, behind) = behind.split_at(usize::from(*length));
                    filters.push(String::from_utf8(filter.to_vec()).unwrap());
                    rest = &behind[1..];
                }
                return filters;
            }
            other => panic!("packet {other:x}"),
        }
    }
}

/// A PUBLISH of QoS 0 whose payload has so many bytes.
fn publish(bytes: usize) -> Vec<u8> {
    let topic = b"lamp/z1/P1/reading";
    let mut rest = 2 + topic.len() + bytes;
    let mut packet = vec![0x30];
    while rest > 127 {
        packet.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    packet.extend_from_slice(&[rest as u8, 0, topic.len() as u8]);
    packet.extend_from_slice(topic);
    packet.resize(packet.len() + bytes, b' ');
    packet
}

#[test]
fn a_disk_that_is_slow_bounds_memory_and_costs_no_connection() {
    const PACKET: usize = 256 << 10;
    const PACKETS: usize = 480;
    let mut site = Site::new();
    let (mut pings, mut writing) = (site.peer.try_clone().unwrap(), site.peer.try_clone().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        let mut packet = publish(PACKET);
        // Pings are answered, but the answers stand behind the messages.
        packet.extend_from_slice(&[0xd0, 0]);
        for _ in 0..PACKETS {
            writing.write_all(&packet).unwrap();
            count.fetch_add(1, Ordering::AcqRel);
        }
    });
    let until = Instant::now() + Duration::from_secs(30);
    while !site.gate.is_full() {
        assert!(Instant::now() < until, "memory never filled");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Three keep-alives in which nothing is taken.
    let asked = Instant::now();
    let mut ping = [0; 2];
    while asked.elapsed() < KEEP_ALIVE * 3 {
        pings.read_exact(&mut ping).expect("the connection lives");
        assert_eq!(ping, [0xc0, 0]);
    }
    let most = HELD_BYTES_MAX + CHUNK_BYTES + 12 * PACKET;
    assert!(site.metrics.held_bytes.get() as usize <= most, "{} held", site.metrics.held_bytes.get());
    assert!(written.load(Ordering::Acquire) < PACKETS, "the broker was never held back");
    // Room again: everything comes, on the same connection.
    let mut messages = 0;
    while messages < PACKETS {
        match site.chunks.blocking_recv() {
            Some(Input::Chunk(chunk)) => messages += chunk.messages.len(),
            _ => panic!("the consumer ended"),
        }
    }
    writer.join().unwrap();
    assert_eq!(site.metrics.broker_reconnect.with_label_values(&["test"]).get(), 0);
}

#[test]
fn a_journal_that_is_stopped_with_memory_full_makes_no_alarm_deaf() {
    let mut site = Site::new();
    let mut waiting = site.gate.hold(HELD_BYTES_MAX);
    waiting.arrive();
    site.gate.set_stopped(true);
    let started = Instant::now();
    site.peer.write_all(&publish(40)).unwrap();
    assert!(matches!(site.chunks.blocking_recv(), Some(Input::Chunk(_))));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_second_subscription_that_answers_no_ping_is_opened_again() {
    let site = Site::new();
    site.gate.set_stopped(true);
    let mut second = accept(&site.listener, 0);
    let started = Instant::now();
    let mut pings = Vec::new();
    second.read_to_end(&mut pings).unwrap();
    assert_eq!(pings, [0xc0, 0], "one ping, and no answer to it");
    assert!(started.elapsed() < KEEP_ALIVE * 4, "{:?}", started.elapsed());
    let mut second = accept(&site.listener, 0);
    second.read_exact(&mut [0; 2]).unwrap();
}

#[test]
fn a_quiet_connection_that_lasted_begins_the_pauses_anew_and_one_that_is_only_granted_does_not() {
    let mut site = Site::new();
    // Nothing to acknowledge, ever: QoS 0, or a broker that is quiet.
    for _ in 0..6 {
        let until = Instant::now() + KEEP_ALIVE + Duration::from_millis(300);
        site.peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while Instant::now() < until {
            if site.peer.read(&mut [0; 2]).is_ok_and(|read| read > 0) {
                site.peer.write_all(&[0xd0, 0]).unwrap();
            }
        }
        let again = cut(&mut site);
        assert!(again < Duration::from_secs(2), "a new outage, its first pause: {again:?}");
    }
    // 0.5 s, 1 s, 2 s, 4 s, half of each at least.
    let pauses: Duration = (0..4).map(|_| cut(&mut site)).sum();
    assert!(pauses > Duration::from_secs(3), "{pauses:?}");
    assert_eq!(site.metrics.broker_reconnect.with_label_values(&["test"]).get(), 10);
}

#[test]
fn a_filter_that_the_broker_refuses_is_asked_for_again_on_the_same_connection_until_it_is_granted() {
    let site = Site::new();
    let up = |site: &Site| site.metrics.broker_up.with_label_values(&["test"]).get();
    let all_granted = |site: &Site| site.metrics.broker_subscribed.with_label_values(&["test"]).get();
    site.peer.shutdown(Shutdown::Both).unwrap();
    // The access list names two of the three.
    let (mut peer, _) = site.listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(peer.read(&mut [0; 512]).unwrap() > 0, "CONNECT");
    peer.write_all(&[0x20, 2, 0, 0]).unwrap();
    let all = asked(&mut peer, &[1, 0x80, 1]);
    assert_eq!(all.len(), 3, "{all:?}");
    for _ in 0..2 {
        assert_eq!(asked(&mut peer, &[0x80]), all[1..2], "what was granted is not asked for");
        assert_eq!(
            (up(&site), all_granted(&site)),
            (1, 0),
            "posts of the other two are heard, and can be silent"
        );
    }
    // Mended.
    assert_eq!(asked(&mut peer, &[1]), all[1..2]);
    let until = Instant::now() + Duration::from_secs(10);
    while all_granted(&site) == 0 {
        assert!(Instant::now() < until, "it stays refused");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Enough is enough: pings alone come now.
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let quiet = Instant::now();
    while quiet.elapsed() < KEEP_ALIVE * 3 {
        let mut ping = [0; 2];
        if peer.read_exact(&mut ping).is_ok() {
            assert_eq!(ping, [0xc0, 0]);
            peer.write_all(&[0xd0, 0]).unwrap();
        }
    }
    assert_eq!(site.metrics.broker_reconnect.with_label_values(&["test"]).get(), 1, "our own cut");
}

/// Ends the connection, takes the next one, and says how long that took.
fn cut(site: &mut Site) -> Duration {
    site.peer.shutdown(Shutdown::Both).unwrap();
    let started = Instant::now();
    site.peer = accept(&site.listener, 0);
    started.elapsed()
}

#[test]
fn peer_p6_the_pause_between_tries_grows_to_thirty_seconds_and_no_further() {
    assert!(backoff(1, 0) >= Duration::from_millis(125));
    for failures in 1..100 {
        for dice in [0, u32::MAX / 2, u32::MAX] {
            assert!(backoff(failures, dice) <= BACKOFF_MAX, "{failures} {dice}");
        }
    }
    assert!(backoff(50, 0) >= Duration::from_secs(15));
    assert_ne!(backoff(5, 1), backoff(5, u32::MAX));
}

#[test]
fn an_oversize_payload_keeps_its_hash_and_its_beginning() {
    let (kept, fate) = cut_oversize(bytes::Bytes::from(vec![7; PACKET_MAX + 1]));
    assert_eq!(kept.len(), 64 * 1024);
    assert!(matches!(fate, Fate::TooLarge { bytes, .. } if bytes as usize == PACKET_MAX + 1));
    assert_eq!(cut_oversize(bytes::Bytes::from_static(b"{}")).1, Fate::Read);
}
