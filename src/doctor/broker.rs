//! Does a broker keep what it is given? Its settings cannot be asked for, so they are tried.
//!
//! A session of our own on a topic of our own: messages are left unacknowledged to see the in-flight window,
//! and sent while the session is offline to see the queue. The session is removed afterwards.

use std::time::Duration;

use lampguard_ingester::config::BrokerConfig;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode};
use tokio::time::timeout;

use super::{Findings, Grade};
use crate::serve;

/// Messages sent to an offline session: more than Mosquitto's default queue of 1,000.
const QUEUED: usize = 1500;
/// Messages left unacknowledged: more than Mosquitto's default window of 20.
const IN_FLIGHT: usize = 200;
/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(2);

pub(super) async fn check(config: &BrokerConfig, findings: &mut Findings) {
    let about = format!("broker {}", config.id);
    match probe(config).await {
        Err(reason) => findings.add(Grade::Bad, &about, reason),
        Ok(seen) => {
            findings.add(Grade::Good, &about, format!("answers at {}", config.url));
            judge(&about, &seen, findings);
        }
    }
    if let Some(text) = persistence(config) {
        findings.add(text.0, &about, text.1);
    }
}

/// What the trial showed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    session_kept: bool,
    in_flight: usize,
    queued: usize,
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
             cure: max_queued_messages sized for the longest outage (deploy/mosquitto.conf)",
            seen.queued
        );
        findings.add(Grade::Bad, about, text);
    } else {
        findings.add(Grade::Good, about, format!("keeps at least {QUEUED} messages for an offline session"));
    }
    if seen.in_flight < IN_FLIGHT {
        let text = format!(
            "has {} messages in flight at most: with one disk sync per window that is the speed limit; \
             cure: max_inflight_messages 4096",
            seen.in_flight
        );
        findings.add(Grade::Warn, about, text);
    } else {
        findings.add(Grade::Good, about, format!("has at least {IN_FLIGHT} messages in flight"));
    }
}

fn client(config: &BrokerConfig, id: &str, clean: bool) -> Result<(AsyncClient, EventLoop), String> {
    let (host, port) = serve::broker_address(&config.url)?;
    let mut options = MqttOptions::new(id, host, port);
    options.set_clean_session(clean).set_manual_acks(true).set_keep_alive(Duration::from_secs(30));
    options.set_inflight(1000);
    if let (Some(user), Some(file)) = (&config.username, &config.password_file) {
        let text = std::fs::read_to_string(file).map_err(|e| format!("reading {}: {e}", file.display()))?;
        options.set_credentials(user, text.lines().next().unwrap_or(""));
    }
    Ok(AsyncClient::new(options, QUEUED + IN_FLIGHT + 16))
}

async fn probe(config: &BrokerConfig) -> Result<Seen, String> {
    let id = format!("lampguard-doctor-{:08x}", rand::random::<u32>());
    let topic = format!("lampguard/doctor/{id}");
    let mut seen = Seen::default();
    let (subscriber, mut events) = client(config, &id, false)?;
    connect(&mut events).await?;
    subscriber.try_subscribe(&topic, QoS::AtLeastOnce).map_err(|e| e.to_string())?;
    subscribed(&mut events).await?;
    // Nobody reads the subscriber's socket while these are sent: they fill its window and then its queue.
    publish(config, &id, &topic, IN_FLIGHT).await?;
    seen.in_flight = count(&mut events, IN_FLIGHT).await;
    drop((subscriber, events));
    publish(config, &id, &topic, QUEUED - IN_FLIGHT).await?;
    let (subscriber, mut events) = client(config, &id, false)?;
    seen.session_kept = connect(&mut events).await?;
    seen.queued = drain(&subscriber, &mut events).await;
    drop((subscriber, events));
    // A clean session under the same name removes what the trial left behind.
    let (_client, mut events) = client(config, &id, true)?;
    connect(&mut events).await?;
    Ok(seen)
}

/// Waits for the CONNACK; true when the session was there.
async fn connect(events: &mut EventLoop) -> Result<bool, String> {
    loop {
        match timeout(Duration::from_secs(5), events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(ack)))) => return Ok(ack.session_present),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => {
                return Err(format!("is not reached: {e}; cure: start it, or mend url and login"));
            }
            Err(_) => return Err("does not answer CONNECT within 5 s".to_owned()),
        }
    }
}

async fn subscribed(events: &mut EventLoop) -> Result<(), String> {
    loop {
        match timeout(Duration::from_secs(5), events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::SubAck(ack)))) => {
                let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
                let text = "refuses the trial topic lampguard/doctor/#; allow it for our user, or check queue and window by hand";
                return if refused { Err(text.to_owned()) } else { Ok(()) };
            }
            Ok(Ok(_)) => {}
            _ => return Err("does not answer SUBSCRIBE within 5 s".to_owned()),
        }
    }
}

async fn publish(config: &BrokerConfig, id: &str, topic: &str, count: usize) -> Result<(), String> {
    let (client, mut events) = client(config, &format!("{id}-pub"), true)?;
    connect(&mut events).await?;
    for _ in 0..count {
        client.try_publish(topic, QoS::AtLeastOnce, false, "trial").map_err(|e| e.to_string())?;
    }
    let mut left = count;
    while left > 0 {
        match timeout(Duration::from_secs(10), events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::PubAck(_)))) => left -= 1,
            Ok(Ok(_)) => {}
            _ => {
                return Err(format!("acknowledged only {} of {count} trial messages", count - left));
            }
        }
    }
    Ok(())
}

/// Messages that come without any being acknowledged: the window.
async fn count(events: &mut EventLoop, most: usize) -> usize {
    let mut seen = 0;
    while seen < most {
        match timeout(QUIET, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::Publish(_)))) => seen += 1,
            Ok(Ok(_)) => {}
            _ => break,
        }
    }
    seen
}

/// Messages that were kept, acknowledged as they come.
async fn drain(client: &AsyncClient, events: &mut EventLoop) -> usize {
    let mut seen = 0;
    loop {
        match timeout(QUIET, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                seen += 1;
                let _ = client.try_ack(&publish);
            }
            Ok(Ok(_)) => {}
            _ => return seen,
        }
    }
}

/// Persistence cannot be tried without a restart; where the broker's file is at hand, it is read.
fn persistence(config: &BrokerConfig) -> Option<(Grade, String)> {
    let (host, _) = serve::broker_address(&config.url).ok()?;
    let unknown = "whether it survives a restart cannot be seen from outside; check: persistence true, \
                   autosave_interval 30 to 60 (deploy/mosquitto.conf)";
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
                    cure: deploy/mosquitto.conf";
        (Grade::Bad, text.to_owned())
    })
}
