//! What several tests need: an incident, a site, a clock that is set by hand, a tiny HTTP server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lampguard_model::{Millis, Timestamp};

use crate::incident::{Event, Evidence, Family, Incident, Kind, Scope, Severity, Signal};
use crate::notice::{Address, Notice, SiteText};
use crate::notify::{Channel, ChannelKind, Clock, Escape, HiddenUrl, Secret, Template, Web};

pub(crate) const T: Timestamp = Timestamp(1_795_435_200_000);
pub(crate) const SECRET: &[u8] = b"not in the repository";

pub(crate) fn incident(n: usize) -> Incident {
    let id: Arc<str> = Arc::from(format!("LG-TEST{n}"));
    Incident {
        family: Family::Electric,
        severity: Severity::P1,
        scope: Scope::Post,
        place: Arc::from(""),
        p1_at: Some(T + Millis(n as i64)),
        members: Vec::new(),
        links: Vec::new(),
        post_id: Arc::from(format!("P{n}")),
        feeder: Arc::from("F1"),
        zone: Arc::from("z1"),
        road: Arc::from("人民路"),
        opened_at: T + Millis(n as i64),
        due_at: T + Millis(n as i64) + Millis::minutes(30),
        signal: Signal::Active,
        notes: vec!["按带电处理，可能断PE".to_owned()],
        evidence: Evidence {
            kind: Kind::ShellCritical,
            field: "shell_v".to_owned(),
            thousandths: Some(115_000),
            limit: 12_000,
            wet: true,
            wet_because: "rain".to_owned(),
            policy_hash: Arc::from("abc"),
            measured_at: T,
            received_at: T + Millis(n as i64),
            rule: "two_of_three".to_owned(),
        },
        kinds: vec![Kind::ShellCritical],
        life: crate::life::Life::default(),
        id,
    }
}

pub(crate) fn event(incident: &Incident, what: &'static str) -> Event {
    Event {
        key: format!("{}:{what}", incident.id),
        incident: incident.id.clone(),
        at: incident.opened_at,
        kind: what,
        body: format!("{{\"what\":\"{what}\"}}"),
    }
}

pub(crate) fn site() -> SiteText {
    SiteText {
        name: "新乡路灯".to_owned(),
        language: "zh-CN".to_owned(),
        public_url: Some("http://desk.example".to_owned()),
        time_zone: "Asia/Shanghai".to_owned(),
        // In place of a signature: who acts.
        links: crate::links::Links::new(Arc::new(|claims| Some(claims.who.to_string()))),
        safety: Arc::default(),
    }
}

pub(crate) fn notice(incident: &Incident, channel: &str) -> Arc<Notice> {
    notice_to(incident, channel, "crew", None)
}

/// For one person.
pub(crate) fn notice_to(incident: &Incident, channel: &str, to: &str, phone: Option<&str>) -> Arc<Notice> {
    let to = Address { channel, to, phone };
    Arc::new(Notice::opened(incident, None, &site(), to))
}

/// A clock that stands until somebody moves it.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = self.0.clone();
        Arc::new(move || Timestamp(now.load(Ordering::SeqCst)))
    }
}

/// Waits until `done` says so; fails after ten seconds.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited 10 s for: {what}");
}

/// How the server answers one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// Takes the request, says nothing for this long, and closes the connection.
    Hang(Duration),
}

/// One request as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.len())
        };
        let line = self.head.lines().find(|line| of(line).is_some())?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A webhook receiver on 127.0.0.1.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Mutex<Receiver<Request>>,
}

impl Server {
    /// Answers by the script, then with 200.
    pub(crate) fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (send, requests) = channel();
        let script = Arc::new(Mutex::new(script.into_iter()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (send, script) = (send.clone(), script.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    while let Some(request) = read(&mut stream) {
                        let answer = script.lock().unwrap().next().unwrap_or(Answer::Status(200));
                        let _ = send.send(request);
                        match answer {
                            Answer::Hang(time) => {
                                std::thread::sleep(time);
                                return;
                            }
                            Answer::Status(code) => {
                                let head = format!(
                                    "HTTP/1.1 {code} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
                                );
                                if stream.write_all(head.as_bytes()).is_err() {
                                    return;
                                }
                            }
                        }
                    }
                });
            }
        });
        Self { url, requests: Mutex::new(requests) }
    }

    pub(crate) fn channel(&self, id: &str) -> Channel {
        let web =
            Web { url: HiddenUrl::new(&*self.url), secret: Secret::new(SECRET.to_vec()), ..Web::default() };
        Channel { to: "crew".to_owned(), ..Channel::new(id, ChannelKind::Webhook(web)) }
    }

    /// The same as a provider of SMS: `to` and `text` in its body.
    pub(crate) fn sms(&self, id: &str) -> Channel {
        let template = Template {
            web: Web { url: HiddenUrl::new(&*self.url), ..Web::default() },
            method: "POST".to_owned(),
            headers: Vec::new(),
            body: r#"{"to":"{{to}}","text":"{{text}}"}"#.to_owned(),
            escape: Escape::Json,
            success: None,
            permanent: Vec::new(),
            message_id: None,
            status_url: None,
            delivered: None,
            undelivered: None,
        };
        Channel { rate_per_min: Some(600), ..Channel::new(id, ChannelKind::Sms(Box::new(template))) }
    }

    /// The next request; fails after ten seconds.
    pub(crate) fn next(&self) -> Request {
        let requests = self.requests.lock().unwrap();
        requests.recv_timeout(Duration::from_secs(10)).expect("a request")
    }

    /// The next request within `time`.
    pub(crate) fn within(&self, time: Duration) -> Option<Request> {
        self.requests.lock().unwrap().recv_timeout(time).ok()
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut request = Request { head, body: Vec::new() };
    let length: usize = request.header("content-length").and_then(|v| v.parse().ok())?;
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// A life in which the post was isolated at `now`.
pub(crate) fn isolated(now: Timestamp) -> crate::life::Life {
    let mark = crate::life::Mark {
        by: "张三".to_owned(),
        recorded_by: None,
        channel: crate::life::Channel::Web,
        at: now,
        claimed_at: None,
        received_at: now,
        heard_through: None,
    };
    let safe = crate::life::Safe {
        mark,
        method: crate::life::Method::Isolated,
        breaker: Some("Q1".to_owned()),
        extent: None,
        covers: Vec::new(),
        restored: None,
        reenergised_at: None,
        doubted_at: None,
    };
    crate::life::Life { safe: Some(safe), ..crate::life::Life::default() }
}
