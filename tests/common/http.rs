//! Questions to the HTTP interface, and a stub that takes webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest answer.
const ANSWER: Duration = Duration::from_secs(20);

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// Status and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// The body as JSON; the test fails when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|e| panic!("{e} in answer {}: {}", self.status, self.text))
    }

    /// The word of a fault: `{"error":{"code":…}}`.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("").to_owned()
    }
}

/// GET; `Err` when nobody answers.
pub fn try_get(url: &str, token: Option<&str>) -> Result<Answer, ureq::Error> {
    let mut request = agent().get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call()?;
    let text = answer.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok(Answer { status: answer.status().as_u16(), text })
}

/// POST; `Err` when nobody answers.
pub fn try_post(url: &str, token: Option<&str>, body: &[u8]) -> Result<Answer, ureq::Error> {
    with_body(agent().post(url), token, body)
}

/// PUT; `Err` when nobody answers.
pub fn try_put(url: &str, token: Option<&str>, body: &[u8]) -> Result<Answer, ureq::Error> {
    with_body(agent().put(url), token, body)
}

type WithBody = ureq::RequestBuilder<ureq::typestate::WithBody>;

fn with_body(request: WithBody, token: Option<&str>, body: &[u8]) -> Result<Answer, ureq::Error> {
    let mut request = request.header("Content-Type", "application/json");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.send(body)?;
    let text = answer.body_mut().read_to_string()?;
    Ok(Answer { status: answer.status().as_u16(), text })
}

/// One webhook as it came.
#[derive(Clone, Debug)]
pub struct Hook {
    pub at: Instant,
    pub signature: String,
    pub body: Vec<u8>,
}

impl Hook {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that takes every webhook and answers 200.
pub struct WebhookStub {
    pub port: u16,
    hooks: Arc<Mutex<Vec<Hook>>>,
    ending: Arc<AtomicBool>,
}

impl WebhookStub {
    pub fn start() -> Self {
        Self::start_on(super::free_port())
    }

    pub fn start_on(port: u16) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (hooks, ending) = (Arc::<Mutex<Vec<Hook>>>::default(), Arc::new(AtomicBool::new(false)));
        let (taken, end) = (hooks.clone(), ending.clone());
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let taken = taken.clone();
                std::thread::spawn(move || serve(stream, &taken));
            }
        });
        Self { port, hooks, ending }
    }

    pub fn hooks(&self) -> Vec<Hook> {
        self.hooks.lock().unwrap().clone()
    }

    /// Webhooks of incidents that opened.
    pub fn opened(&self) -> Vec<Hook> {
        let mut hooks = self.hooks();
        hooks.retain(|hook| hook.json()["event"] == "incident.opened");
        hooks
    }

    /// The section of the configuration that tells incidents here.
    pub fn channel(&self, secret_file: &str) -> String {
        format!(
            "[[channel]]\nid = \"stub\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook\"\n\
             secret_file = \"{secret_file}\"\n",
            self.port
        )
    }
}

impl Drop for WebhookStub {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(stream: TcpStream, hooks: &Mutex<Vec<Hook>>) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut signature, mut line) = (0, String::new(), String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "x-lampguard-signature" => value.trim().clone_into(&mut signature),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let at = Instant::now();
        hooks.lock().unwrap().push(Hook { at, signature, body });
        if writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
