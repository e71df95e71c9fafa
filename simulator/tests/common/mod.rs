//! A tiny MQTT server of the tests' own: it keeps what it gets, and can be unfriendly.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of this module")]
#![allow(clippy::disallowed_methods, reason = "a server outside notes when somebody connects")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// How the server behaves.
#[derive(Clone, Copy)]
pub struct Habits {
    pub connack: u8,
    /// Cuts each of this many first connections...
    pub cuts: usize,
    /// ...after this many publishes, the last ten of them unacknowledged.
    pub cut_after: usize,
    /// Acknowledges nothing on topics that contain this.
    pub deaf_to: Option<&'static str>,
}

pub const FRIENDLY: Habits = Habits { connack: 0, cuts: 0, cut_after: 0, deaf_to: None };

/// A CONNECT as it came.
#[derive(Clone, Debug)]
pub struct Connect {
    pub at: Instant,
    pub client_id: String,
    pub keep_alive_s: u16,
    pub clean: bool,
    /// Topic, payload, retain, QoS.
    pub will: Option<(String, String, bool, u8)>,
}

/// A PUBLISH of QoS 1 as it came.
#[derive(Clone, Debug)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
}

#[derive(Default)]
struct State {
    connects: Mutex<Vec<Connect>>,
    publishes: Mutex<Vec<Publish>>,
    streams: Mutex<Vec<TcpStream>>,
    goodbyes: AtomicUsize,
    away: AtomicBool,
}

/// A running server.
pub struct Broker {
    pub port: u16,
    state: Arc<State>,
}

impl Broker {
    pub fn start(habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let kept = state.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let state = kept.clone();
                thread::spawn(move || serve(stream, number, habits, &state));
            }
        });
        Self { port, state }
    }

    pub fn connects(&self) -> Vec<Connect> {
        self.state.connects.lock().unwrap().clone()
    }

    pub fn publishes(&self) -> Vec<Publish> {
        self.state.publishes.lock().unwrap().clone()
    }

    /// Topic and payload of everything that came, each once.
    pub fn arrived(&self) -> HashSet<(String, Vec<u8>)> {
        self.publishes().into_iter().map(|publish| (publish.topic, publish.payload)).collect()
    }

    /// Connections that said DISCONNECT.
    pub fn goodbyes(&self) -> usize {
        self.state.goodbyes.load(Ordering::SeqCst)
    }

    /// Breaks every link, and answers nobody until [`Broker::come_back`].
    pub fn go_away(&self) {
        self.state.away.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn come_back(&self) {
        self.state.away.store(false, Ordering::SeqCst);
    }
}

/// One connection, until it ends, fails or is cut.
fn serve(mut stream: TcpStream, number: usize, habits: Habits, state: &State) -> Option<()> {
    if state.away.load(Ordering::SeqCst) {
        return None;
    }
    state.streams.lock().unwrap().push(stream.try_clone().ok()?);
    let cut_after = (number < habits.cuts).then_some(habits.cut_after);
    let mut publishes = 0;
    loop {
        let (first, body) = packet(&mut stream)?;
        match first >> 4 {
            1 => {
                state.connects.lock().unwrap().push(connect(&body));
                stream.write_all(&[0x20, 2, 0, habits.connack]).ok()?;
            }
            3 => {
                assert_eq!((first >> 1) & 3, 1, "QoS 1");
                let (topic, rest) = text(&body);
                publishes += 1;
                let deaf = habits.deaf_to.is_some_and(|part| topic.contains(part));
                let (payload, retain) = (rest[2..].to_vec(), first & 1 == 1);
                state.publishes.lock().unwrap().push(Publish { topic, payload, retain });
                match cut_after {
                    Some(limit) if publishes >= limit => {
                        let _ = stream.shutdown(Shutdown::Both);
                        return None;
                    }
                    Some(limit) if publishes + 10 > limit => {}
                    _ if deaf => {}
                    _ => stream.write_all(&[0x40, 2, rest[0], rest[1]]).ok()?,
                }
            }
            12 => stream.write_all(&[0xd0, 0]).ok()?,
            14 => {
                state.goodbyes.fetch_add(1, Ordering::SeqCst);
                return Some(());
            }
            other => panic!("packet type {other}"),
        }
    }
}

/// A text with its length in front, and what follows it.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (String::from_utf8(bytes[2..2 + length].to_vec()).unwrap(), &bytes[2 + length..])
}

fn connect(body: &[u8]) -> Connect {
    let (protocol, rest) = text(body);
    assert_eq!((protocol.as_str(), rest[0]), ("MQTT", 4));
    let flags = rest[1];
    let keep_alive_s = u16::from_be_bytes([rest[2], rest[3]]);
    let (client_id, rest) = text(&rest[4..]);
    let will = (flags & 4 != 0).then(|| {
        let (topic, rest) = text(rest);
        (topic, text(rest).0, flags & 0x20 != 0, (flags >> 3) & 3)
    });
    Connect { at: Instant::now(), client_id, keep_alive_s, clean: flags & 2 != 0, will }
}

fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut length, mut shift) = (0usize, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}
