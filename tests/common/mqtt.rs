//! An MQTT client of few words, 3.1.1 and 5, on std alone. It keeps its own list of what was acknowledged to it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A wait for an answer that has to come.
const ANSWER: Duration = Duration::from_secs(15);

/// Anything that bytes go through: TCP, or TLS over it.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One packet: its first byte and what follows its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    fn pkid(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }
}

/// Why no packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing came in that time.
    Quiet,
    /// The other side closed the connection.
    Closed,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    pub client_id: &'a str,
    pub level: u8,
    pub keep_alive_s: u16,
    pub login: Option<(&'a str, &'a str)>,
    /// Properties of MQTT 5, without their length.
    pub properties: &'a [u8],
}

impl<'a> Hello<'a> {
    pub fn new(client_id: &'a str) -> Self {
        Self { client_id, level: 4, keep_alive_s: 60, login: None, properties: &[] }
    }

    /// The same in MQTT 5.
    pub fn five(client_id: &'a str) -> Self {
        Self { level: 5, ..Self::new(client_id) }
    }

    pub fn login(mut self, user: &'a str, password: &'a str) -> Self {
        self.login = Some((user, password));
        self
    }

    /// The bytes of this CONNECT.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = text("MQTT");
        let flags = if self.login.is_some() { 0xc2 } else { 0x02 };
        body.extend([self.level, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.level == 5 {
            body.push(self.properties.len() as u8);
            body.extend(self.properties);
        }
        body.extend(text(self.client_id));
        if let Some((user, password)) = self.login {
            body.extend(text(user));
            body.extend(text(password));
        }
        packet(0x10, &body)
    }
}

fn text(word: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(word.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(word.as_bytes());
    bytes
}

/// A packet from its first byte and the rest.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// The bytes of a PUBLISH.
pub fn publish(topic: &str, payload: &[u8], qos: u8, pkid: u16, dup: bool) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(pkid.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1 | u8::from(dup) << 3, &body)
}

/// The bytes of a PUBLISH of MQTT 5.
pub fn publish_five(topic: &str, payload: &[u8], qos: u8, pkid: u16, properties: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(pkid.to_be_bytes());
    }
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend(properties);
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// A connection.
pub struct Mqtt {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
    next_pkid: u16,
    /// Packet ids that wait for PUBACK, and what the caller calls their messages.
    waiting: BTreeMap<u16, u64>,
    /// Messages acknowledged to us, by the caller's numbers, in order of acknowledgement.
    pub acked: Vec<u64>,
}

impl Mqtt {
    /// Opens the connection and nothing more.
    pub fn silent(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        stream.set_write_timeout(Some(ANSWER)).unwrap();
        Self::over(stream)
    }

    /// Speaks over a connection that is open; its reads must time out by themselves.
    pub fn over(wire: impl Wire + 'static) -> Self {
        Self {
            wire: Box::new(wire),
            buffer: Vec::new(),
            next_pkid: 1,
            waiting: BTreeMap::new(),
            acked: Vec::new(),
        }
    }

    /// Connects; the test fails unless it is accepted.
    pub fn connect(port: u16, client_id: &str) -> Self {
        let mut client = Self::silent(port);
        assert_eq!(client.greet(&Hello::new(client_id)), Ok(0), "CONNECT of {client_id}");
        client
    }

    /// Sends CONNECT; the code of the CONNACK.
    pub fn greet(&mut self, hello: &Hello<'_>) -> Result<u8, Ending> {
        self.send(&hello.bytes());
        let answer = self.next(ANSWER)?;
        assert!(answer.first == 0x20 && (answer.body.len() == 2) == (hello.level < 5), "{answer:?}");
        Ok(answer.body[1])
    }

    /// Sends bytes as they are; a connection that is closed already is no fault here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// The next packet.
    pub fn next(&mut self, patience: Duration) -> Result<Packet, Ending> {
        let until = Instant::now() + patience;
        loop {
            if let Some(packet) = self.take_packet() {
                return Ok(packet);
            }
            if Instant::now() > until {
                return Err(Ending::Quiet);
            }
            let mut part = [0; 16 * 1024];
            match self.wire.read(&mut part) {
                Ok(0) => return Err(Ending::Closed),
                Ok(count) => self.buffer.extend(&part[..count]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Err(Ending::Closed),
            }
        }
    }

    fn take_packet(&mut self) -> Option<Packet> {
        let (mut length, mut at) = (0usize, 1);
        loop {
            let digit = *self.buffer.get(at)?;
            length |= usize::from(digit & 0x7f) << (7 * (at - 1));
            at += 1;
            if digit & 0x80 == 0 {
                break;
            }
        }
        if self.buffer.len() < at + length {
            return None;
        }
        let packet = Packet { first: self.buffer[0], body: self.buffer[at..at + length].to_vec() };
        self.buffer.drain(..at + length);
        Some(packet)
    }

    /// Sends a QoS 1 message under the caller's number; its PUBACK is noted when packets are read.
    pub fn publish(&mut self, topic: &str, payload: &[u8], number: u64) {
        let pkid = self.free_pkid();
        self.waiting.insert(pkid, number);
        self.send(&publish(topic, payload, 1, pkid, false));
    }

    fn free_pkid(&mut self) -> u16 {
        while self.next_pkid == 0 || self.waiting.contains_key(&self.next_pkid) {
            self.next_pkid = self.next_pkid.wrapping_add(1);
        }
        let pkid = self.next_pkid;
        self.next_pkid = self.next_pkid.wrapping_add(1);
        pkid
    }

    /// Sends a QoS 1 message and waits for its PUBACK.
    pub fn publish_and_wait(&mut self, topic: &str, payload: &[u8]) {
        let number = self.acked.len() as u64;
        self.publish(topic, payload, number);
        assert!(self.wait_for_acks(ANSWER), "no PUBACK for {topic} within {ANSWER:?}");
    }

    /// Sends a QoS 0 message.
    pub fn publish_and_forget(&mut self, topic: &str, payload: &[u8]) {
        self.send(&publish(topic, payload, 0, 0, false));
    }

    /// Messages sent and not acknowledged yet.
    pub fn unacked(&self) -> usize {
        self.waiting.len()
    }

    /// Notes acknowledgements until there are at most `left` without, or until nothing comes for `quiet`.
    pub fn note_acks(&mut self, left: usize, quiet: Duration) -> Result<(), Ending> {
        while self.waiting.len() > left {
            let packet = self.next(quiet)?;
            if packet.first == 0x40
                && let Some(number) = self.waiting.remove(&packet.pkid())
            {
                self.acked.push(number);
            }
        }
        Ok(())
    }

    /// True when everything sent was acknowledged in time.
    pub fn wait_for_acks(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.waiting.is_empty() && Instant::now() < until {
            match self.note_acks(0, Duration::from_millis(100)) {
                Err(Ending::Closed) => break,
                _ => continue,
            }
        }
        self.waiting.is_empty()
    }

    /// The next packet has to be this short one: first byte and packet id.
    pub fn expect(&mut self, first: u8, pkid: u16) {
        let answer = self.next(ANSWER);
        let body = pkid.to_be_bytes().to_vec();
        assert_eq!(answer, Ok(Packet { first, body }));
    }

    /// The other side has to say DISCONNECT with this reason and close (MQTT 5).
    pub fn expect_goodbye(&mut self, reason: u8) {
        assert_eq!(self.next(ANSWER), Ok(Packet { first: 0xe0, body: vec![reason] }));
        assert!(self.is_closed_within(ANSWER), "the connection goes on after DISCONNECT {reason:02x}");
    }

    /// True when the other side ends the connection in time; packets before are thrown away.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.next(Duration::from_millis(50)) == Err(Ending::Closed) {
                return true;
            }
        }
        false
    }
}
