//! The publisher against a tiny MQTT server: every message arrives, a cut link loses none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lampguard_model::Timestamp;
use lampguard_simulator::publish::{Options, PublishError, Report, run};
use lampguard_simulator::{City, Run, Scenario, Simulation};

/// What the server got: topic, payload, retain.
type Got = Arc<Mutex<Vec<(String, Vec<u8>, bool)>>>;

/// How the server behaves.
#[derive(Clone, Copy)]
struct Habits {
    connack: u8,
    /// Cuts each of this many first connections...
    cuts: usize,
    /// ...after this many publishes, the last ten of them unacknowledged.
    cut_after: usize,
}

const FRIENDLY: Habits = Habits { connack: 0, cuts: 0, cut_after: 0 };

fn server(habits: Habits) -> (u16, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Got::default();
    let (kept, connections) = (got.clone(), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (kept, connections) = (kept.clone(), connections.clone());
            thread::spawn(move || {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let cut_after = (number < habits.cuts).then_some(habits.cut_after);
                serve(&mut stream.unwrap(), habits.connack, cut_after, &kept);
            });
        }
    });
    (port, got)
}

/// One connection, until it ends, fails or is cut.
fn serve(stream: &mut TcpStream, connack: u8, cut_after: Option<usize>, got: &Got) -> Option<()> {
    let mut publishes = 0;
    loop {
        let (first, body) = packet(stream)?;
        match first >> 4 {
            1 => stream.write_all(&[0x20, 2, 0, connack]).ok()?,
            3 => {
                assert_eq!((first >> 1) & 3, 1, "QoS 1");
                let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
                let payload = body[4 + length..].to_vec();
                publishes += 1;
                got.lock().unwrap().push((topic, payload, first & 1 == 1));
                match cut_after {
                    Some(limit) if publishes >= limit => return None,
                    Some(limit) if publishes + 10 > limit => {}
                    _ => stream.write_all(&[0x40, 2, body[2 + length], body[3 + length]]).ok()?,
                }
            }
            12 => stream.write_all(&[0xd0, 0]).ok()?,
            14 => return Some(()),
            other => panic!("packet type {other}"),
        }
    }
}

fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut length, mut shift) = (0usize, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}

const START: Timestamp = Timestamp(1_760_710_920_000);

/// A small city.
fn simulation() -> Simulation {
    let scenario = Scenario::shipped("demo").unwrap();
    let city = Arc::new(City::new(200, 1, &scenario).unwrap());
    let run = Run { seed: 1, speed: None, boot: 1, start: START };
    Simulation::new(city, scenario, run).unwrap()
}

/// Publishes it for `seconds`; each look at its clock is 100 ms later than the one before.
async fn publish(port: u16, status: bool, seconds: u64) -> Result<Report, PublishError> {
    let mut options = Options::new(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    options.gateways = 4;
    options.status = status;
    let ticks = AtomicI64::new(0);
    let clock = || Timestamp(START.0 + ticks.fetch_add(100, Ordering::SeqCst));
    let end = tokio::time::sleep(Duration::from_secs(seconds));
    run(options, simulation(), clock, |_| {}, end).await
}

/// The first `count` messages of the same city, whoever carries them.
fn expected(count: u64) -> Vec<(String, Vec<u8>)> {
    let messages = simulation().advance(Timestamp(START.0 + 3_600_000));
    messages.into_iter().take(count as usize).map(|message| (message.topic, message.payload)).collect()
}

fn arrived(got: &Got) -> HashSet<(String, Vec<u8>)> {
    got.lock().unwrap().iter().map(|(topic, payload, _)| (topic.clone(), payload.clone())).collect()
}

#[tokio::test]
async fn every_message_arrives_and_is_acknowledged() {
    let (port, got) = server(FRIENDLY);
    let report = publish(port, false, 2).await.unwrap();
    assert!(report.counts.readings > 50 && report.counts.weather > 20);
    assert_eq!((report.sent, report.acknowledged), (report.handed, report.handed));
    assert_eq!(report.unacknowledged() + report.repeated + report.link_failures, 0);
    assert_eq!(got.lock().unwrap().len() as u64, report.sent);
    assert_eq!(arrived(&got), expected(report.handed).into_iter().collect());
}

#[tokio::test]
async fn a_cut_link_loses_nothing() {
    let (port, got) = server(Habits { cuts: 5, cut_after: 30, ..FRIENDLY });
    let report = publish(port, false, 4).await.unwrap();
    assert!(report.link_failures >= 4 && report.repeated >= 10, "{report:?}");
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    assert_eq!(arrived(&got), expected(report.handed).into_iter().collect());
}

#[tokio::test]
async fn statuses_are_retained_and_asked_for() {
    let (port, got) = server(FRIENDLY);
    let report = publish(port, true, 1).await.unwrap();
    assert_eq!(report.unacknowledged(), 0);
    let got = got.lock().unwrap();
    let online = got
        .iter()
        .filter(|(topic, payload, retain)| topic.ends_with("/status") && payload == b"online" && *retain);
    assert_eq!(online.count(), simulation().statuses().count() + 4, "every sensor and 4 gateways");
    assert!(got.iter().all(|(topic, _, retain)| *retain == topic.ends_with("/status")));
}

#[tokio::test]
async fn a_refused_login_ends_the_run_with_the_reason() {
    let (port, _) = server(Habits { connack: 5, ..FRIENDLY });
    let error = publish(port, false, 5).await.unwrap_err().to_string();
    assert!(error.contains("NotAuthorized") && error.contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_and_the_stop_is_in_time() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let whole = tokio::time::timeout(Duration::from_secs(8), publish(port, false, 1)).await;
    let report = whole.expect("ends 3 s after the stop at the latest").unwrap();
    assert!(report.handed > 0 && report.acknowledged == 0 && report.link_failures > 0);
    assert_eq!(report.unacknowledged(), report.handed);
}
