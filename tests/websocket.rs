//! MQTT over WebSocket at the built-in listener, by a client of our own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::mqtt::{Hello, Wire, packet, publish_five};
use common::{Mqtt, Site, free_port, reading, seconds};

const TOPIC: &str = "lamp/z1/P001/reading";

/// Frames over a connection, masked with zeros.
struct Frames {
    wire: TcpStream,
    came: Vec<u8>,
    /// Bytes of a frame at most; what is written is cut.
    cut: usize,
}

impl Frames {
    /// Asks for a WebSocket; the connection and the first line of the answer.
    fn ask(port: u16, headers: &str, cut: usize) -> (Self, String) {
        let mut wire = TcpStream::connect(("127.0.0.1", port)).unwrap();
        wire.set_read_timeout(Some(seconds(15))).unwrap();
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: lamps\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        wire.write_all(request.as_bytes()).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && wire.read(&mut byte).unwrap_or(0) > 0 {
            head.push(byte[0]);
        }
        wire.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        (Self { wire, came: Vec::new(), cut }, String::from_utf8(head).unwrap())
    }

    fn open(port: u16, cut: usize) -> Self {
        let (frames, answer) = Self::ask(port, "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", cut);
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.to_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        frames
    }

    fn frame(&mut self, first: u8, bytes: &[u8]) -> Result<()> {
        let mut frame = vec![first];
        match bytes.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(bytes);
        self.wire.write_all(&frame)
    }

    /// The next frame that came whole: its first byte and its contents.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, short) = (*self.came.first()?, *self.came.get(1)?);
        let (head, length) = match short {
            0..=125 => (2, usize::from(short)),
            126 => (4, usize::from(u16::from_be_bytes([*self.came.get(2)?, *self.came.get(3)?]))),
            _ => panic!("a frame of more than 64 KiB"),
        };
        let body = self.came.get(head..head + length)?.to_vec();
        self.came.drain(..head + length);
        Some((first, body))
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        for part in bytes.chunks(self.cut) {
            self.frame(0x82, part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.wire.flush()
    }
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match self.take() {
                Some((0x88, _)) => return Ok(0),
                Some((0x82, body)) => {
                    into[..body.len()].copy_from_slice(&body);
                    return Ok(body.len());
                }
                Some((0x8a, _)) => continue,
                Some((first, _)) => {
                    return Err(Error::new(ErrorKind::InvalidData, format!("frame {first:02x}")));
                }
                None => {}
            }
            let mut part = [0; 4096];
            match self.wire.read(&mut part)? {
                0 => return Ok(0),
                count => self.came.extend(&part[..count]),
            }
        }
    }
}

fn site() -> (Site, u16) {
    let port = free_port();
    (Site::new().with_listener(&format!("websocket_bind = \"127.0.0.1:{port}\"")), port)
}

#[test]
fn sensors_publish_over_websocket_in_both_versions_however_the_frames_are_cut() {
    let (site, port) = site();
    let lampguard = site.start();
    let mut seq = 0;
    for cut in [60_000, 1, 7] {
        let mut old = Mqtt::over(Frames::open(port, cut));
        assert_eq!(old.greet(&Hello::new("old")), Ok(0));
        let mut new = Mqtt::over(Frames::open(port, cut));
        assert_eq!(new.greet(&Hello::five("new")), Ok(0));
        seq += 2;
        old.publish_and_wait(TOPIC, reading(1, seq, 1.0).as_bytes());
        new.send(&publish_five(TOPIC, reading(1, seq + 1, 1.0).as_bytes(), 1, 9, &[]));
        new.expect(0x40, 9);
        assert_eq!(lampguard.stored(), seq, "PUBACK comes after the disk");
        // Two packets in one frame.
        let (one, two) = (reading(2, seq, 1.0), reading(2, seq + 1, 1.0));
        let both =
            [publish_five(TOPIC, one.as_bytes(), 0, 0, &[]), publish_five(TOPIC, two.as_bytes(), 1, 10, &[])];
        new.send(&both.concat());
        new.expect(0x40, 10);
        seq = lampguard.stored();
        new.send(&packet(0xe0, &[]));
        assert!(new.is_closed_within(seconds(5)));
    }
    lampguard.balanced();
}

#[test]
fn no_browser_no_other_protocol_no_text_and_no_large_frame_gets_in_and_others_go_on() {
    let (site, port) = site();
    let lampguard = site.start();
    let mut good = Mqtt::over(Frames::open(port, 60_000));
    assert_eq!(good.greet(&Hello::new("good")), Ok(0));
    for (headers, status) in [
        ("", "400"),
        ("Sec-WebSocket-Protocol: chat\r\n", "400"),
        ("Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://evil.example\r\n", "403"),
    ] {
        let (_, answer) = Frames::ask(port, headers, 1);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers:?}: {answer}");
    }
    let mut text = Frames::open(port, 100);
    text.frame(0x81, &Hello::new("text").bytes()).unwrap();
    let mut large = Frames::open(port, 100);
    // The first bytes promise 65 KiB.
    large.wire.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, b'x']).unwrap();
    let mut bare = Frames::open(port, 100);
    bare.wire.write_all(&[0x82, 2, 0xc0, 0]).unwrap();
    for (case, frames) in [("text", text), ("large", large), ("unmasked", bare)] {
        let mut wire: Box<dyn Wire> = Box::new(frames.wire.try_clone().unwrap());
        frames.wire.set_read_timeout(Some(seconds(5))).unwrap();
        let mut rest = Vec::new();
        let ended = wire.read_to_end(&mut rest);
        assert!(
            ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "{case} goes on"
        );
    }
    good.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    assert_eq!(lampguard.metric("lampguard_listener_refused_total{reason=\"websocket\"}"), 3.0);
    assert_eq!(lampguard.balanced()["stored"], 1);
}

#[test]
fn a_packet_over_the_longest_frame_is_told_beforehand_and_ends_with_its_reason() {
    let (site, port) = site();
    let lampguard = site.start();
    let mut sensor = Mqtt::over(Frames::open(port, usize::MAX));
    sensor.send(&Hello::five("sensor").bytes());
    let answer = sensor.next(seconds(15)).unwrap();
    let told = answer.body.windows(5).any(|part| part == [39, 0, 1, 0, 0]);
    assert!(told, "maximum packet size of 65,536: {answer:?}");
    sensor.send(&publish_five(TOPIC, reading(1, 1, 1.0).as_bytes(), 1, 1, &[]));
    sensor.expect(0x40, 1);
    sensor.send(&publish_five(TOPIC, &[b' '; 100_000], 1, 2, &[]));
    sensor.expect_goodbye(0x95);
    assert_eq!(lampguard.metric("lampguard_listener_refused_total{reason=\"packet_too_long\"}"), 1.0);
    // Over several frames it goes, as it does without a WebSocket.
    let mut gateway = Mqtt::over(Frames::open(port, 60_000));
    assert_eq!(gateway.greet(&Hello::new("gateway")), Ok(0));
    let long = format!("{}{}", reading(1, 2, 1.0), " ".repeat(100_000));
    gateway.publish_and_wait(TOPIC, long.as_bytes());
    assert_eq!(lampguard.balanced()["stored"], 2);
}
