//! MQTT frames by hand, 3.1.1 and 5: the bench's own side must cost little and share no code with what it measures.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A broker or listener on loopback answers at once; longer means that it hangs.
const GREETING: Duration = Duration::from_secs(5);

/// Connects with a clean session and waits for the answer; `five`: in MQTT 5.
pub(super) fn connect(address: &str, client_id: &str, five: bool) -> Result<TcpStream> {
    let doing = || format!("connecting to {address} as {client_id}");
    let mut stream = TcpStream::connect(address).with_context(doing)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING))?;
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', if five { 5 } else { 4 }, 2, 0, 0];
    if five {
        body.push(0);
    }
    put_text(&mut body, client_id);
    let mut frame = vec![0x10];
    put_length(&mut frame, body.len());
    frame.extend_from_slice(&body);
    stream.write_all(&frame).with_context(doing)?;
    let mut answer = vec![0; 2];
    stream.read_exact(&mut answer).with_context(doing)?;
    // Its length is one byte: a short list of properties.
    answer.resize(2 + usize::from(answer[1] & 127), 0);
    stream.read_exact(&mut answer[2..]).with_context(doing)?;
    if answer[0] != 0x20 || answer.get(3) != Some(&0) {
        bail!("{address} refused {client_id}: CONNACK {answer:02x?}");
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Appends a PUBLISH of QoS 1; `five`: with the empty properties of MQTT 5.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, pkid: u16, payload: &[u8], five: bool) {
    out.push(0x32);
    put_length(out, 2 + topic.len() + 2 + usize::from(five) + payload.len());
    put_text(out, topic);
    out.extend_from_slice(&pkid.to_be_bytes());
    if five {
        out.push(0);
    }
    out.extend_from_slice(payload);
}

/// A SUBSCRIBE of QoS 1 with packet id 1.
pub(super) fn subscribe(filter: &str) -> Vec<u8> {
    let mut frame = vec![0x82];
    put_length(&mut frame, 2 + 2 + filter.len() + 1);
    frame.extend_from_slice(&[0, 1]);
    put_text(&mut frame, filter);
    frame.push(1);
    frame
}

/// Appends a PUBACK.
pub(super) fn puback(out: &mut Vec<u8>, pkid: [u8; 2]) {
    out.extend_from_slice(&[0x40, 2, pkid[0], pkid[1]]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { low | 128 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// Bytes that have come in, cut into packets.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 1 << 18], filled: 0, at: 0 }
    }

    /// Reads once; false when the other side has closed.
    pub(super) fn fill(&mut self, stream: &mut TcpStream) -> std::io::Result<bool> {
        self.bytes.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.filled == self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let read = stream.read(&mut self.bytes[self.filled..])?;
        self.filled += read;
        Ok(read > 0)
    }

    /// The next whole packet: its first byte and its body.
    pub(super) fn next(&mut self) -> Option<(u8, &[u8])> {
        let rest = &self.bytes[self.at..self.filled];
        let first = *rest.first()?;
        let (mut length, mut head) = (0usize, 1);
        loop {
            let byte = *rest.get(head)?;
            length |= usize::from(byte & 127) << (7 * (head - 1));
            head += 1;
            if byte & 128 == 0 || head > 4 {
                break;
            }
        }
        let body = rest.get(head..head + length)?;
        self.at += head + length;
        Some((first, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_cut_out_of_a_stream_that_comes_in_pieces() {
        let mut frame = Vec::new();
        publish(&mut frame, "lamp/z1/P000001/reading", 513, &[b'x'; 200], false);
        let mut incoming = Incoming::new();
        for byte in &frame[..frame.len() - 1] {
            incoming.bytes[incoming.filled] = *byte;
            incoming.filled += 1;
            assert!(incoming.next().is_none());
        }
        incoming.bytes[incoming.filled] = frame[frame.len() - 1];
        incoming.filled += 1;
        let (first, body) = incoming.next().unwrap();
        assert_eq!((first, body.len(), &body[25..27]), (0x32, frame.len() - 3, &[2, 1][..]));
        assert!(incoming.next().is_none());
    }
}
