//! Does a broker keep what it is given? Its settings cannot be asked for, so they are tried.
//!
//! A session of our own on a topic of our own: messages are left unacknowledged to see the in-flight window,
//! and sent while the session is offline to see the queue. The session is removed afterwards. What MQTT 5 lets a broker
//! say of itself is read from its CONNACK, and its version from `$SYS`, where we may read that.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use lampguard_ingester::config::{BrokerConfig, Protocol};
use lampguard_ingester::source::broker::packet::{self, Hello, Packet, Version, Welcome};
use lampguard_ingester::source::broker::wire::{Remote, Wire, WireError};
use lampguard_ingester::source::broker::{Dialect, EXPIRY_MIN_S, EXPIRY_S, PACKET_MAX, WINDOW};
use tokio::time::timeout;

use super::{Findings, Grade};
use crate::brokers;

/// Messages sent to an offline session: more than Mosquitto's default queue of 1,000.
const QUEUED: usize = 1500;
/// Messages left unacknowledged: more than Mosquitto's default window of 20.
const IN_FLIGHT: usize = 200;
/// Publishes on their way to the broker at once; one that says less is obeyed.
const ON_THE_WAY: usize = 100;
/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(2);
/// An answer takes at most this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Some brokers (NATS) send what was not acknowledged again only after a time-out of their own, usually 30 s.
const LATE: Duration = Duration::from_secs(40);
/// Where Mosquitto and EMQX say who they are.
const VERSION_TOPICS: [&str; 2] = ["$SYS/broker/version", "$SYS/brokers/+/version"];

pub(super) async fn check(config: &BrokerConfig, findings: &mut Findings) {
    let about = format!("broker {}", config.id);
    match probe(config).await {
        Err(reason) => findings.add(Grade::Bad, &about, reason),
        Ok(seen) => {
            let tls = if config.url.starts_with("mqtts://") { ", TLS" } else { "" };
            let text = format!("answers at {}: MQTT {}{tls}", config.url, seen.welcome.version.name());
            findings.add(Grade::Good, &about, text);
            judge_words(&about, config, &seen, findings);
            judge(&about, &seen, findings);
        }
    }
    if let Some(text) = persistence(config) {
        findings.add(text.0, &about, text.1);
    }
    if config.shared_group.is_some() && config.judge {
        findings.add(Grade::Warn, &about, brokers::UNSURE);
    }
}

/// What the trial showed.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    welcome: Welcome,
    session_kept: bool,
    in_flight: usize,
    queued: usize,
    /// What was not acknowledged came again only after so long.
    late: Option<Duration>,
    /// The trial's subscription was granted this QoS.
    granted: u8,
    /// What it says of itself.
    software: Option<String>,
    /// A shared subscription: `None` when the configuration asks for none, else whether it works, or why not.
    shared: Option<Result<(), String>>,
}

/// What the broker says of itself.
fn judge_words(about: &str, config: &BrokerConfig, seen: &Seen, findings: &mut Findings) {
    let welcome = &seen.welcome;
    match &seen.software {
        Some(software) => findings.add(Grade::Good, about, format!("says that it is {software}")),
        None => findings.add(
            Grade::Unknown,
            about,
            "does not say what it is: $SYS is not ours to read; check its version by hand (docs/brokers.md)",
        ),
    }
    if welcome.version == Version::V4 && config.protocol == Protocol::Auto {
        let text = "speaks MQTT 3.1.1 and not 5: its own window holds, not ours, and it gives no reasons; \
                    cure, where it has MQTT 5: switch it on";
        findings.add(Grade::Unknown, about, text);
    }
    if welcome.expiry_s < EXPIRY_MIN_S {
        let text = format!(
            "keeps our session for {} s and no longer: what comes while we are away longer is lost; \
             cure: a session expiry of at least {EXPIRY_MIN_S} s for our user",
            welcome.expiry_s
        );
        findings.add(Grade::Bad, about, text);
    }
    if welcome.qos_max == 0 || seen.granted == 0 {
        let text = "grants QoS 0 alone: nothing that it sends is promised; cure: QoS 1 for our user";
        findings.add(Grade::Bad, about, text);
    }
    if let Some(largest) = welcome.packet_max.filter(|largest| *largest as usize > PACKET_MAX) {
        let text = format!(
            "takes packets of {largest} bytes, we of {PACKET_MAX}: a longer one costs a reconnect and is quarantined; \
             cure: a packet limit of at most {PACKET_MAX} at the broker (our examples have it)"
        );
        findings.add(Grade::Warn, about, text);
    }
    if !welcome.retains {
        let text = "keeps no retained messages: whether a device is online is not known after a restart of ours; \
                    cure: allow retained messages";
        findings.add(Grade::Warn, about, text);
    }
    match &seen.shared {
        None => {}
        Some(Ok(())) => findings.add(Grade::Good, about, "knows shared subscriptions"),
        Some(Err(why)) => {
            let text =
                format!("{why}; cure: allow it for our user, or take shared_group out (docs/brokers.md)");
            findings.add(Grade::Bad, about, text);
        }
    }
    if let Some(late) = seen.late {
        let text = format!(
            "sends what we had not acknowledged again only after {} s: a reading may wait so long after a cut; \
             cure: a shorter time (NATS: mqtt.ack_wait)",
            late.as_secs()
        );
        findings.add(Grade::Warn, about, text);
    }
}

fn judge(about: &str, seen: &Seen, findings: &mut Findings) {
    if !seen.session_kept {
        let text = "forgets our session at once: what comes while we restart is lost; \
                    cure: allow persistent sessions for our user";
        return findings.add(Grade::Bad, about, text);
    }
    if seen.queued < QUEUED {
        let text = format!(
            "keeps {} of {QUEUED} messages for an offline session and drops the rest silently; \
             cure: max_queued_messages sized for the longest outage (our mosquitto.conf has it), EMQX: max_mqueue_len",
            seen.queued
        );
        findings.add(Grade::Bad, about, text);
    } else {
        findings.add(Grade::Good, about, format!("keeps at least {QUEUED} messages for an offline session"));
    }
    if seen.in_flight < IN_FLIGHT {
        let text = format!(
            "has {} messages in flight at most: with one disk sync per window that is the speed limit; \
             cure: max_inflight_messages 4096 (Mosquitto), max_inflight 4096 (EMQX)",
            seen.in_flight
        );
        findings.add(Grade::Warn, about, text);
    } else {
        findings.add(Grade::Good, about, format!("has at least {IN_FLIGHT} messages in flight"));
    }
}

/// Whom the trial connects as, and in which version.
struct Trial {
    remote: Remote,
    version: Version,
    login: Option<(String, String)>,
    id: String,
    topic: String,
}

impl Trial {
    /// Finds the version that the consumer would speak.
    async fn new(config: &BrokerConfig) -> Result<(Self, Welcome), String> {
        let remote = brokers::remote(config)?;
        let login = brokers::login(config).map_err(|e| format!("{e:#}"))?;
        let id = format!("lampguard-doctor-{:08x}", rand::random::<u32>());
        let topic = format!("lampguard/doctor/{id}");
        let mut dialect = Dialect::new(config.protocol);
        let mut trial = Self { remote, version: dialect.next(), login, id, topic };
        loop {
            match trial.open("", true).await {
                Ok((_, welcome)) => return Ok((trial, welcome)),
                Err(e) if dialect.failed(trial.version, &e) => trial.version = dialect.next(),
                Err(e) => return Err(not_reached(&e)),
            }
        }
    }

    async fn open(&self, suffix: &str, clean: bool) -> Result<(Wire, Welcome), WireError> {
        let id = format!("{}{suffix}", self.id);
        let login = self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        // The session is kept as long as that of the consumer; a clean one under the same name removes it.
        let hello = Hello {
            client_id: &id,
            login,
            clean,
            expiry_s: EXPIRY_S,
            keep_alive_s: 30,
            window: WINDOW,
            packet_max: PACKET_MAX as u32,
        };
        Wire::open(&self.remote, self.version, &hello, PACKET_MAX).await
    }
}

fn not_reached(e: &WireError) -> String {
    let cure = match e {
        WireError::Tls(..) | WireError::Files(_) | WireError::Version(_) | WireError::Unanswered(_) => "",
        _ => "; cure: start it, or mend url and login",
    };
    format!("is not reached: {e}{cure}")
}

async fn probe(config: &BrokerConfig) -> Result<Seen, String> {
    let (trial, _) = Trial::new(config).await?;
    let (mut subscriber, welcome) = trial.open("", false).await.map_err(|e| not_reached(&e))?;
    let granted = subscribe(&mut subscriber, std::slice::from_ref(&trial.topic), 1).await?;
    let granted = match granted.first() {
        Some(code) if *code >= 0x80 => {
            let why = packet::reason(*code);
            return Err(format!(
                "refuses the trial topic lampguard/doctor/# ({why}); allow it for our user, or check queue and window by hand"
            ));
        }
        code => code.copied().unwrap_or(0),
    };
    // Nobody reads the subscriber's socket while these are sent: they fill its window and then its queue.
    publish(&trial, IN_FLIGHT).await?;
    let in_flight = gather(&mut subscriber, IN_FLIGHT, false).await;
    drop(subscriber);
    publish(&trial, QUEUED - IN_FLIGHT).await?;
    let (mut subscriber, again) = trial.open("", false).await.map_err(|e| not_reached(&e))?;
    let began = Instant::now();
    let mut queued = gather(&mut subscriber, usize::MAX, true).await;
    let mut late = None;
    if queued < QUEUED && queued + in_flight >= QUEUED {
        if let Ok(Ok(())) = timeout(LATE, subscriber.ready()).await {
            late = Some(began.elapsed());
        }
        queued += gather(&mut subscriber, usize::MAX, true).await;
    }
    drop(subscriber);
    // A clean session under the same name removes what the trial left behind.
    let (mut last, _) = trial.open("", true).await.map_err(|e| not_reached(&e))?;
    let shared = match &config.shared_group {
        None => None,
        Some(group) => Some(share(&trial, &mut last, group).await),
    };
    let software = software(&mut last).await;
    Ok(Seen {
        welcome,
        session_kept: again.session_present,
        in_flight,
        queued,
        late,
        granted,
        software,
        shared,
    })
}

/// Asks for a subscription; the codes of its filters.
async fn subscribe(wire: &mut Wire, filters: &[String], qos: u8) -> Result<Vec<u8>, String> {
    wire.subscribe(filters, qos).map_err(|e| e.to_string())?;
    wire.flush().await.map_err(|e| e.to_string())?;
    loop {
        match timeout(PATIENCE, wire.next()).await {
            Ok(Ok(Packet::Subscribed(codes))) => return Ok(codes),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(format!("answers SUBSCRIBE with an end: {e}")),
            Err(_) => return Err("does not answer SUBSCRIBE within 5 s".to_owned()),
        }
    }
}

/// Tries a shared subscription. Some brokers grant it, take it for an ordinary topic, and send nothing.
async fn share(trial: &Trial, wire: &mut Wire, group: &str) -> Result<(), String> {
    let codes = subscribe(wire, &[format!("$share/{group}/{}", trial.topic)], 1).await?;
    if let Some(code) = codes.first().filter(|code| **code >= 0x80) {
        return Err(format!("refuses a shared subscription: {}", packet::reason(*code)));
    }
    publish(trial, 1).await?;
    match gather(wire, 1, true).await {
        0 => Err("grants a shared subscription and sends nothing by it".to_owned()),
        _ => Ok(()),
    }
}

/// What it says of itself, where we may read it.
async fn software(wire: &mut Wire) -> Option<String> {
    subscribe(wire, &VERSION_TOPICS.map(str::to_owned), 0).await.ok()?;
    loop {
        match timeout(QUIET, wire.next()).await.ok()?.ok()? {
            Packet::Publish(publish) if publish.topic.starts_with("$SYS/") => {
                let text = String::from_utf8_lossy(&publish.payload);
                return Some(text.chars().filter(|c| !c.is_control()).take(80).collect());
            }
            _ => {}
        }
    }
}

/// Publishes so many messages, each acknowledged.
async fn publish(trial: &Trial, count: usize) -> Result<(), String> {
    let (mut wire, welcome) = trial.open("-pub", true).await.map_err(|e| not_reached(&e))?;
    let window = welcome.receive_max.map_or(ON_THE_WAY, |most| ON_THE_WAY.min(usize::from(most)));
    let (mut sent, mut acked) = (0, 0);
    while acked < count {
        let mut out = BytesMut::new();
        while sent < count && sent - acked < window {
            sent += 1;
            packet::publish(wire.version, &trial.topic, b"trial", sent as u16, &mut out)
                .map_err(|e| e.to_string())?;
        }
        wire.outbox.unsplit(out);
        wire.flush().await.map_err(|e| e.to_string())?;
        match timeout(PATIENCE * 2, wire.next()).await {
            Ok(Ok(Packet::Acked(_, code))) if code < 0x80 => acked += 1,
            Ok(Ok(Packet::Acked(_, code))) => {
                return Err(format!(
                    "refuses our trial message: {}; allow lampguard/doctor/# for our user",
                    packet::reason(code)
                ));
            }
            Ok(Ok(_)) => {}
            _ => return Err(format!("acknowledged only {acked} of {count} trial messages")),
        }
    }
    Ok(())
}

/// Messages that come until it is quiet; without acknowledgements they show the window.
async fn gather(wire: &mut Wire, most: usize, acknowledge: bool) -> usize {
    let mut seen = 0;
    while seen < most {
        let Ok(Ok(packet)) = timeout(QUIET, wire.next()).await else { break };
        if let Packet::Publish(publish) = packet {
            seen += 1;
            if let Some(pkid) = publish.pkid.filter(|_| acknowledge) {
                packet::puback(pkid, &mut wire.outbox);
                if wire.flush().await.is_err() {
                    break;
                }
            }
        }
    }
    seen
}

/// Persistence cannot be tried without a restart; where the broker's file is at hand, it is read.
fn persistence(config: &BrokerConfig) -> Option<(Grade, String)> {
    let host = brokers::remote(config).ok()?.host;
    let unknown = "whether it survives a restart cannot be seen from outside; check: persistence true, \
                   autosave_interval 30 to 60 (our mosquitto.conf has it), EMQX: durable_sessions (our emqx.hocon)";
    if !matches!(host.as_str(), "127.0.0.1" | "localhost" | "::1") {
        return Some((Grade::Unknown, unknown.to_owned()));
    }
    let Ok(text) = std::fs::read_to_string("/etc/mosquitto/mosquitto.conf") else {
        return Some((Grade::Unknown, unknown.to_owned()));
    };
    let on = text.lines().any(|line| line.split_whitespace().eq(["persistence", "true"]));
    Some(if on {
        (
            Grade::Good,
            "persistence true in /etc/mosquitto/mosquitto.conf, if that is the broker meant".to_owned(),
        )
    } else {
        let text = "/etc/mosquitto/mosquitto.conf has no `persistence true`: a restart loses what it holds; \
                    cure: the lines of our mosquitto.conf";
        (Grade::Bad, text.to_owned())
    })
}
