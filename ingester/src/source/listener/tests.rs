//! The listener by its sockets, with the test in the intake's place.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use lampguard_model::Timestamp;
use prometheus::Registry;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;
use crate::intake::{Chunk, Gate, Input, QUEUE_CHUNKS, cost_of};

/// A listener whose chunks the test takes.
struct Site {
    chunks: mpsc::Receiver<Input>,
    metrics: Metrics,
    listener: Listener,
    _runtime: Runtime,
}

impl Site {
    fn new(config: &ListenerConfig) -> Self {
        let metrics = Metrics::register(&Registry::new());
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let inlet = Inlet { sender, gate: Gate::new(metrics.clone()) };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let starting = Listener::start(config, Vec::new(), inlet, metrics.clone(), Arc::new(|| Timestamp(0)));
        let listener = runtime.block_on(starting).unwrap();
        Self { chunks, metrics, listener, _runtime: runtime }
    }

    fn plain() -> Self {
        Self::new(&ListenerConfig::on(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listener.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// A connection that has got in, in MQTT 3.1.1 or 5.
    fn connected(&self, level: u8) -> TcpStream {
        let mut stream = self.dial();
        let mut hello = vec![0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 60];
        hello.extend_from_slice(if level == 5 { &[0, 0, 1, b'g'] } else { &[0, 2, b'g', b'h'] });
        stream.write_all(&hello).unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        stream.read_exact(&mut body).unwrap();
        assert_eq!((head[0], body[1]), (0x20, 0));
        stream
    }

    fn chunk(&mut self) -> Chunk {
        match self.chunks.blocking_recv() {
            Some(Input::Chunk(chunk)) => chunk,
            _ => panic!("the listener ended"),
        }
    }
}

#[test]
fn whoever_has_not_logged_in_gets_memory_for_a_connect_and_no_more() {
    let site = Site::plain();
    let connect = |will: usize| {
        let mut body = b"\0\x04MQTT\x04\x06\0\x3c\0\x02p1\0\x01t".to_vec();
        body.extend_from_slice(&(will as u16).to_be_bytes());
        body.resize(body.len() + will, b'x');
        let length = body.len();
        let mut packet = vec![0x10, length as u8 | 128, (length >> 7) as u8 | 128, (length >> 14) as u8];
        packet.extend_from_slice(&body);
        let mut stream = site.dial();
        let _ = stream.write_all(&packet);
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).map(|()| answer)
    };
    assert_eq!(connect(8000).unwrap(), [0x20, 2, 0, 0], "a will of 8 KB is ordinary");
    let started = Instant::now();
    assert!(connect(60_000).is_err());
    assert!(started.elapsed() < GREETING, "ended at once, not by the time limit");
    assert_eq!(site.metrics.connection_refused.with_label_values(&["packet_too_long"]).get(), 1);
}

#[test]
fn eight_bytes_that_stand_for_a_long_topic_swell_no_chunk() {
    const MESSAGES: usize = 4000;
    let mut site = Site::plain();
    let mut gateway = site.connected(5);
    let topic = [b't'; 500];
    // PUBLISH of 508 bytes that teaches alias 1, then such that only name it.
    let mut bytes = vec![0x30, 0xfc, 3, 1, 0xf4];
    bytes.extend_from_slice(&topic);
    bytes.extend_from_slice(&[3, 35, 0, 1, b'{', b'}']);
    assert_eq!(bytes.len() - 3, 0xfc - 128 + 3 * 128);
    for _ in 1..MESSAGES {
        bytes.extend_from_slice(&[0x30, 6, 0, 0, 3, 35, 0, 1]);
    }
    gateway.write_all(&bytes).unwrap();
    let (mut messages, mut largest) = (0, 0);
    while messages < MESSAGES {
        let chunk = site.chunk();
        assert!(chunk.messages.iter().all(|message| message.topic.as_bytes() == topic));
        messages += chunk.messages.len();
        largest = largest.max(cost_of(&chunk.messages));
    }
    assert!(largest < session::CHUNK_BYTES + 2048, "{largest} bytes in one chunk");
}

/// A PUBLISH of MQTT 5 with a payload of 200,000 bytes.
fn long_publish() -> Vec<u8> {
    let length = 200_004u32;
    let mut bytes = vec![0x30, length as u8 | 128, (length >> 7) as u8 | 128, (length >> 14) as u8];
    bytes.extend_from_slice(&[0, 1, b't', 0]);
    bytes.extend_from_slice(&b" ".repeat(200_000));
    bytes
}

/// The reason of the DISCONNECT that comes.
fn goodbye(stream: &mut TcpStream) -> u8 {
    let mut bytes = [0; 3];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[..2], [0xe0, 1]);
    bytes[2]
}

#[test]
fn a_long_packet_waits_for_memory_and_holds_it_for_a_limited_time() {
    let mut site = Site::plain();
    let stock = site.listener.shared.half_sent.clone();
    let (long, all) = (long_publish(), share::STOCK as u32);
    let taken = stock.clone().try_acquire_many_owned(all).unwrap();
    let mut crowded = site.connected(5);
    crowded.write_all(&long).unwrap();
    assert_eq!(goodbye(&mut crowded), 0x89, "no memory is free: come again");
    let mut waiting = site.connected(5);
    waiting.write_all(&long).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(taken);
    assert_eq!(site.chunk().messages[0].payload.len(), 200_000, "its turn has come");
    let mut slow = site.connected(5);
    slow.write_all(&long[..100_000]).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while stock.available_permits() == share::STOCK {
        assert!(Instant::now() < until, "half a packet of 200 KB counts nowhere");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(goodbye(&mut slow), 0x97, "it keeps others waiting");
    drop(slow);
    while stock.available_permits() < share::STOCK {
        assert!(Instant::now() < until, "the share was not given back");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(site.metrics.connection_refused.with_label_values(&["busy"]).get(), 1);
    assert_eq!(site.metrics.connection_refused.with_label_values(&["slow"]).get(), 1);
}

/// The code of the CONNACK for this login, in MQTT 3.1.1.
fn log_in(site: &Site, user: &str, password: &str) -> u8 {
    let mut body = b"\0\x04MQTT\x04\xc2\0\x3c".to_vec();
    for text in ["", user, password] {
        body.extend_from_slice(&[0, text.len() as u8]);
        body.extend_from_slice(text.as_bytes());
    }
    let mut stream = site.dial();
    stream.write_all(&[&[0x10, body.len() as u8], &body[..]].concat()).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer[3]
}

#[test]
fn a_flood_of_wrong_passwords_keeps_out_no_token_and_no_password_that_was_right_before() {
    // Of "correct horse", made by OpenSSL's argon2.
    let hash =
        "$argon2id$v=19$m=19456,t=2,p=1$bGFtcGd1YXJkLXNhbHQxNg$qBRhcJNgr35L+oMoVnwAMnyAz/AWSqCjuJ7TgmLEgJo";
    let token: String = Sha256::digest("token").iter().map(|byte| format!("{byte:02x}")).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("P001:{token}\ngateway:{hash}\n")).unwrap();
    let mut config = ListenerConfig::on(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.credentials_file = Some(file.path().to_owned());
    let site = Site::new(&config);
    assert_eq!(log_in(&site, "gateway", "correct horse"), 0);
    // As a flood does it: every turn is taken.
    let flood = site.listener.shared.password_checks.try_acquire_many(PASSWORD_CHECKS as u32).unwrap();
    let started = Instant::now();
    assert_eq!(log_in(&site, "P001", "token"), 0);
    assert_eq!(log_in(&site, "gateway", "correct horse"), 0);
    assert_eq!(log_in(&site, "P001", "wrong"), 4);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(log_in(&site, "gateway", "wrong"), 3, "who needs a check waits for its turn");
    drop(flood);
}

#[test]
fn answers_that_came_before_an_end_reach_the_sensor_in_both_versions() {
    let site = Site::plain();
    for (level, told) in [(4, &[0xd0, 0][..]), (5, &[0xd0, 0, 0xe0, 1, 0x81])] {
        let mut sensor = site.connected(level);
        // A ping, a packet that nobody knows, and more behind it that nobody will read.
        let bytes = [&[0xc0, 0, 0, 0][..], &[b' '; 60_000]].concat();
        sensor.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let mut answers = Vec::new();
        sensor.read_to_end(&mut answers).unwrap();
        assert_eq!(answers, told, "MQTT level {level}");
    }
}

#[test]
fn who_said_goodbye_and_takes_its_time_to_close_is_not_reset() {
    let site = Site::plain();
    let mut sensor = site.connected(4);
    sensor.write_all(&[0xe0, 0]).unwrap();
    std::thread::sleep(linger::LAST_WORD + Duration::from_millis(700));
    // As the last bytes of TLS are.
    sensor.write_all(&[0; 100]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(sensor.read(&mut [0; 8]).unwrap(), 0);
    sensor.write_all(&[0; 100]).unwrap();
    assert_eq!(site.metrics.listener_unclosed.get(), 0);
}

#[test]
fn a_sensor_whose_messages_nobody_takes_any_more_is_told_that_we_end() {
    let mut site = Site::plain();
    let mut sensor = site.connected(5);
    site.chunks.close();
    sensor.write_all(&[0x30, 6, 0, 1, b't', 0, b'{', b'}']).unwrap();
    assert_eq!(goodbye(&mut sensor), 0x8b);
}
