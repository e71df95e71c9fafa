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
        .max_redirects(0)
        .max_redirects_will_error(false)
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

/// Status, headers and body of a page.
#[derive(Debug)]
pub struct PageAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl PageAnswer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A browser of few words: it keeps cookies and follows nothing by itself.
pub struct Browser {
    root: String,
    agent: ureq::Agent,
    pub cookies: Vec<(String, String)>,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

impl Browser {
    pub fn new(root: &str) -> Self {
        Self::with(root, agent())
    }

    pub fn with(root: &str, agent: ureq::Agent) -> Self {
        Self { root: root.to_owned(), agent, cookies: Vec::new(), headers: Vec::new() }
    }

    /// Adds a header to every request.
    pub fn saying(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn request(&mut self, method: &str, path: &str, kind: &str, body: &str) -> PageAnswer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.root));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("Cookie", cookies.join("; "));
        }
        let mut answer = if method == "POST" {
            let request = request.header("Content-Type", kind).body(body.to_owned()).unwrap();
            self.agent.run(request).unwrap()
        } else {
            self.agent.run(request.body(()).unwrap()).unwrap()
        };
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or("").to_owned();
        let headers: Vec<_> =
            answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        for (_, line) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let text = answer.body_mut().read_to_string().unwrap();
        PageAnswer { status: answer.status().as_u16(), headers, text }
    }

    pub fn get(&mut self, path: &str) -> PageAnswer {
        self.request("GET", path, "", "")
    }

    pub fn head(&mut self, path: &str) -> PageAnswer {
        self.request("HEAD", path, "", "")
    }

    pub fn form(&mut self, path: &str, body: &str) -> PageAnswer {
        self.request("POST", path, "application/x-www-form-urlencoded", body)
    }

    pub fn json(&mut self, path: &str, body: &str) -> PageAnswer {
        self.request("POST", path, "application/json", body)
    }

    pub fn sign_in(&mut self, name: &str, password: &str) -> PageAnswer {
        self.form("/signin", &format!("name={name}&password={}", password.replace(' ', "+")))
    }
}

/// GET; `Err` when nobody answers.
pub fn try_get(url: &str, token: Option<&str>) -> Result<Answer, ureq::Error> {
    let mut request = agent().get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call()?;
    // A picture is no text; nobody looks into it here.
    let bytes = answer.body_mut().with_config().limit(256 << 20).read_to_vec()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
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
