//! An HTTP server of few words on a free loopback port: stands for a webhook's receiver or a database.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// Largest body that is read; more ends the connection.
const BODY_MAX: usize = 64 << 20;

/// What was asked.
pub(super) struct Request<'a> {
    /// First line: method, path, version.
    pub(super) line: &'a str,
    /// True when the body is compressed.
    pub(super) gzip: bool,
    pub(super) body: &'a [u8],
}

/// Answers with a status line's code and a body.
type Answer = dyn Fn(&Request<'_>) -> (&'static str, &'static str) + Send + Sync;

/// Serves until the process ends; returns the port.
pub(super) fn start(
    answer: impl Fn(&Request<'_>) -> (&'static str, &'static str) + Send + Sync + 'static,
) -> Result<u16> {
    let socket = TcpListener::bind(("127.0.0.1", 0)).context("opening a stub server on loopback")?;
    let port = socket.local_addr()?.port();
    let answer: Arc<Answer> = Arc::new(answer);
    std::thread::Builder::new().name("bench-stub".to_owned()).spawn(move || {
        for stream in socket.incoming().filter_map(Result::ok) {
            let answer = answer.clone();
            // A connection that breaks is its client's affair.
            std::thread::spawn(move || serve(stream, &*answer));
        }
    })?;
    Ok(port)
}

fn serve(stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut out) = (BufReader::new(stream.try_clone()?), stream);
    let (mut line, mut header, mut body) = (String::new(), String::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut length, mut chunked, mut gzip) = (0usize, false, false);
        loop {
            header.clear();
            reader.read_line(&mut header)?;
            let text = header.trim().to_ascii_lowercase();
            match text.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(("content-encoding", "gzip")) => gzip = true,
                Some(_) => {}
                None => break,
            }
        }
        if chunked {
            read_chunks(&mut reader, &mut body)?;
        } else {
            body.resize(length.min(BODY_MAX), 0);
            reader.read_exact(&mut body)?;
        }
        let request = Request { line: line.trim_end(), gzip, body: &body };
        let (status, text) = answer(&request);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        out.write_all(head.as_bytes())?;
    }
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> std::io::Result<()> {
    body.clear();
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let start = body.len();
        if start + length > BODY_MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        body.resize(start + length, 0);
        reader.read_exact(&mut body[start..])?;
        line.clear();
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// A database that takes everything with 204 and counts the lines it could read.
pub(super) fn database() -> Result<(u16, Arc<AtomicU64>)> {
    let lines = Arc::new(AtomicU64::new(0));
    let counted = lines.clone();
    let port = start(move |request| {
        if request.line.starts_with("GET /metrics") {
            return ("200 OK", "process_start_time_seconds 1\n");
        }
        if request.line.contains("/write") && !request.gzip {
            let ends = request.body.iter().filter(|byte| **byte == b'\n').count() as u64;
            let open = !request.body.is_empty() && !request.body.ends_with(b"\n");
            counted.fetch_add(ends + u64::from(open), Ordering::Relaxed);
        }
        ("204 No Content", "")
    })?;
    Ok((port, lines))
}
