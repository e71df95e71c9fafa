//! Debian's Chromium without a window, asked over its own debugging socket: what a page looks like, whether it is too
//! wide, and what its console says. Left out when it is not installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Program;
use super::servers::installed;
use super::{http, seconds, wait_until};

/// Longest wait for one answer of the browser.
const PATIENCE: Duration = Duration::from_secs(30);

/// One browser with one page.
pub struct Chromium {
    socket: TcpStream,
    next: u64,
    /// What came unasked.
    events: Vec<Value>,
    _process: Program,
    _home: TempDir,
}

/// A page as it was drawn.
pub struct Drawn {
    pub png: Vec<u8>,
    pub text: String,
    /// Wider than the window by so many pixels.
    pub overflow: i64,
    /// What scrolls or is cut though it should not.
    pub cut: Vec<String>,
    /// Errors and refused loads of the console.
    pub console: Vec<String>,
    /// Other origins that were asked for something.
    pub foreign: Vec<String>,
    /// From the first byte asked for to everything drawn.
    pub took: Duration,
}

impl Chromium {
    /// Starts it; `None` when it is not installed.
    pub fn start() -> Option<Self> {
        installed("chromium")?;
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--lang=zh-CN",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]);
        command.arg(format!("--user-data-dir={}", home.path().display())).arg("about:blank");
        let process = Program::start("chromium", command);
        let port_file = home.path().join("DevToolsActivePort");
        let port = || std::fs::read_to_string(&port_file).ok()?.lines().next()?.parse::<u16>().ok();
        wait_until("the browser to listen", seconds(30), || port().is_some());
        let port = port().unwrap();
        let pages = http::try_get(&format!("http://127.0.0.1:{port}/json"), None).unwrap().json();
        let page = pages.as_array().unwrap().iter().find(|page| page["type"] == "page").unwrap();
        let path = page["webSocketDebuggerUrl"].as_str().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
        let socket = connect(port, &path);
        let mut browser = Self { socket, next: 1, events: Vec::new(), _process: process, _home: home };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Sends these headers with each question.
    pub fn headers(&mut self, headers: &Value) {
        self.call("Network.setExtraHTTPHeaders", &json!({ "headers": headers }));
    }

    /// The size of the window.
    pub fn window(&mut self, width: u32, height: u32, phone: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Scripts of pages run, or do not.
    pub fn scripts(&mut self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !run }));
    }

    /// Runs a line in the page, past its own policy.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a page has come.
    pub fn wait_for_load(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            assert!(Instant::now() < until, "the page did not load within {PATIENCE:?}");
            self.read_one();
        }
    }

    /// Forgets what came unasked.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// Opens an address and draws it; `whole`: to its end, not the window alone.
    pub fn open(&mut self, url: &str, whole: bool) -> Drawn {
        self.forget();
        let started = Instant::now();
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait_for_load();
        let png = self.picture(whole);
        let took = started.elapsed();
        let text = self.evaluate("document.body.innerText").as_str().unwrap_or("").to_owned();
        let overflow =
            self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        let cut = self.evaluate(
            "[...document.querySelectorAll('button,a,b,span,summary,label,h1,h2,td')].filter(e => e.clientWidth && \
             !e.closest('.sr') && (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1) \
             && !e.closest('.scroll')).map(e => e.tagName + '.' + e.className + ': ' + e.innerText.slice(0, 40))",
        );
        let cut = cut.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
        let (mut console, mut foreign) = (Vec::new(), Vec::new());
        for event in &self.events {
            match event["method"].as_str().unwrap_or("") {
                "Log.entryAdded" if event["params"]["entry"]["level"] == "error" => {
                    console.push(event["params"]["entry"].to_string());
                }
                "Runtime.exceptionThrown" => console.push(event["params"].to_string()),
                "Runtime.consoleAPICalled" if event["params"]["type"] == "error" => {
                    console.push(event["params"].to_string());
                }
                "Network.requestWillBeSent" => {
                    let asked = event["params"]["request"]["url"].as_str().unwrap_or("");
                    if !asked.starts_with(&origin) && !asked.starts_with("data:") {
                        foreign.push(asked.to_owned());
                    }
                }
                _ => {}
            }
        }
        Drawn { png, text, overflow: overflow.as_i64().unwrap(), cut, console, foreign, took }
    }

    /// A picture of the page.
    pub fn picture(&mut self, whole: bool) -> Vec<u8> {
        let asked = json!({"format": "png", "captureBeyondViewport": whole, "optimizeForSpeed": false});
        let answer = self.call("Page.captureScreenshot", &asked);
        decode(answer["data"].as_str().unwrap())
    }

    /// One question to the browser, and its answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        send(&mut self.socket, text.as_bytes());
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "{method} had no answer within {PATIENCE:?}");
            let message = self.read();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn read_one(&mut self) {
        let message = self.read();
        self.events.push(message);
    }

    fn read(&mut self) -> Value {
        serde_json::from_slice(&receive(&mut self.socket)).unwrap()
    }
}

/// Writes a picture where somebody asked for it: `LAMPGUARD_PICTURES=FOLDER`.
pub fn keep(name: &str, png: &[u8]) {
    if let Some(folder) = std::env::var_os("LAMPGUARD_PICTURES") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }
}

/// Opens a WebSocket (RFC 6455): enough of it for one peer that we know.
fn connect(port: u16, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = "bGFtcGd1YXJkIHRlc3RzIQ==";
    write!(
        socket,
        "GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

/// One text frame; the mask of zeros is a mask.
fn send(socket: &mut TcpStream, text: &[u8]) {
    let mut frame = vec![0x81];
    match text.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text);
    socket.write_all(&frame).unwrap();
}

/// One message, whatever frames it comes in.
fn receive(socket: &mut TcpStream) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 2];
        socket.read_exact(&mut head).unwrap();
        let length = match head[1] & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                socket.read_exact(&mut bytes).unwrap();
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                socket.read_exact(&mut bytes).unwrap();
                u64::from_be_bytes(bytes)
            }
            length => u64::from(length),
        };
        let start = message.len();
        message.resize(start + length as usize, 0);
        socket.read_exact(&mut message[start..]).unwrap();
        // Control frames (ping) come between; this peer sends none that needs an answer.
        if head[0] & 0x0f >= 8 {
            message.truncate(start);
        } else if head[0] & 0x80 != 0 {
            return message;
        }
    }
}

/// Base 64.
fn decode(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 3 / 4), 0u32, 0);
    for six in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
