//! Services that ring people, as small servers on 127.0.0.1: they check what the real ones check, and keep what they took.
//!
//! They share no code with what they check. Used by `tests/channels.rs` and, by path, by the tests of alerting.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses its part, and a test that cannot go on fails"
)]

pub mod alertmanager;
pub mod provider;
pub mod robots;
pub mod smtp;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A value of the query, unescaped.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        pairs(query).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Pairs of a query or a form, unescaped.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let split = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(key), unescape(value))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(split).collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut place) = (Vec::new(), 0);
    while place < bytes.len() {
        match bytes[place] {
            b'%' => {
                let hex = text.get(place + 1..place + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(hex.unwrap_or(b'?'));
                place += 3;
            }
            b'+' => {
                out.push(b' ');
                place += 1;
            }
            other => {
                out.push(other);
                place += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a server says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status, extra headers, body.
    Say(u16, String, Vec<u8>),
    /// Nothing for so long, then the connection ends.
    Hang(Duration),
    /// 200 with a body of so many bytes, one each so long.
    Drip(usize, Duration),
    /// The connection ends at once.
    Cut,
}

impl Answer {
    pub fn json(value: &serde_json::Value) -> Self {
        Self::Say(200, String::new(), value.to_string().into_bytes())
    }

    pub fn status(status: u16) -> Self {
        Self::Say(status, String::new(), Vec::new())
    }
}

/// A server.
#[derive(Clone)]
pub struct Emulator {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    faults: Arc<Mutex<VecDeque<Answer>>>,
}

impl Emulator {
    /// Answers each request with `judge`, unless a fault was ordered.
    pub fn start(judge: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let emulator = Self { port, seen: Arc::default(), faults: Arc::default() };
        let (own, judge) = (emulator.clone(), Arc::new(judge));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, judge) = (own.clone(), judge.clone());
                std::thread::spawn(move || own.serve(stream, &*judge));
            }
        });
        emulator
    }

    fn serve(&self, mut stream: TcpStream, judge: &(dyn Fn(&Request) -> Answer + Send + Sync)) {
        while let Some(request) = read(&mut stream) {
            let fault = self.faults.lock().unwrap().pop_front();
            let answer = fault.unwrap_or_else(|| judge(&request));
            self.seen.lock().unwrap().push(request);
            match answer {
                Answer::Say(status, headers, body) => {
                    let head =
                        format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                        return;
                    }
                }
                Answer::Hang(time) => {
                    std::thread::sleep(time);
                    return;
                }
                Answer::Drip(bytes, pause) => {
                    let head = format!("HTTP/1.1 200 X\r\nContent-Length: {bytes}\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes());
                    for _ in 0..bytes {
                        std::thread::sleep(pause);
                        if stream.write_all(b" ").is_err() {
                            return;
                        }
                    }
                }
                Answer::Cut => return,
            }
        }
    }

    /// The next requests are answered so, one each.
    pub fn order(&self, faults: impl IntoIterator<Item = Answer>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Everything that came, faults included.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut first = lines.first()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |line: &String| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines[1..].iter().filter_map(header).collect();
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
