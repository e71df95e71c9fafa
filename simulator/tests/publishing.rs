//! The publisher against a tiny MQTT server: every message arrives, a cut link loses none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::{Broker, FRIENDLY, Habits};
use lampguard_model::Timestamp;
use lampguard_simulator::publish::{Options, PublishError, Report, run};
use lampguard_simulator::{City, Run, Scenario, Simulation};

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
    run(options, simulation(), None, clock, |_| {}, end).await
}

/// The same city, in which the broker has an old critical reading of a post.
fn with_a_leftover() -> Simulation {
    let mut scenario = Scenario::shipped("demo").unwrap();
    scenario.event = Scenario::parse(
        "name = \"x\"\nhazards_per_1000 = 0.0\n[[event]]\ndo = \"retained\"\nafter_min = 0.1",
    )
    .unwrap()
    .event;
    let city = Arc::new(City::new(200, 1, &scenario).unwrap());
    Simulation::new(city, scenario, Run { seed: 1, speed: None, boot: 1, start: START }).unwrap()
}

/// The first `count` messages of the same city, whoever carries them.
fn expected(count: u64) -> Vec<(String, Vec<u8>)> {
    let messages = simulation().advance(Timestamp(START.0 + 3_600_000));
    messages.into_iter().take(count as usize).map(|message| (message.topic, message.payload)).collect()
}

#[tokio::test]
async fn every_message_arrives_and_is_acknowledged() {
    let broker = Broker::start(FRIENDLY);
    let report = publish(broker.port, false, 2).await.unwrap();
    assert!(report.counts.readings > 50 && report.counts.weather > 20);
    assert_eq!((report.sent, report.acknowledged), (report.handed, report.handed));
    assert_eq!(report.unacknowledged() + report.repeated + report.link_failures, 0);
    assert_eq!(broker.publishes().len() as u64, report.sent);
    assert_eq!(broker.arrived(), expected(report.handed).into_iter().collect());
}

#[tokio::test]
async fn a_cut_link_loses_nothing() {
    let broker = Broker::start(Habits { cuts: 5, cut_after: 30, ..FRIENDLY });
    let report = publish(broker.port, false, 4).await.unwrap();
    assert!(report.link_failures >= 4 && report.repeated >= 10, "{report:?}");
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    assert_eq!(broker.arrived(), expected(report.handed).into_iter().collect());
}

#[tokio::test]
async fn statuses_are_retained_and_asked_for() {
    let broker = Broker::start(FRIENDLY);
    let report = publish(broker.port, true, 1).await.unwrap();
    assert_eq!(report.unacknowledged(), 0);
    let got = broker.publishes();
    let online =
        got.iter().filter(|it| it.topic.ends_with("/status") && it.payload == b"online" && it.retain);
    assert_eq!(online.count(), simulation().statuses().count() + 4, "every sensor and 4 gateways");
    assert!(got.iter().all(|it| it.retain == it.topic.ends_with("/status")));
}

#[tokio::test]
async fn a_false_critical_reading_that_was_retained_is_taken_off_the_broker_at_the_end() {
    let broker = Broker::start(FRIENDLY);
    let options = Options::new(&format!("mqtt://127.0.0.1:{}", broker.port)).unwrap();
    let ticks = AtomicI64::new(0);
    let clock = || Timestamp(START.0 + ticks.fetch_add(100, Ordering::SeqCst));
    let end = tokio::time::sleep(Duration::from_secs(2));
    let report = run(options, with_a_leftover(), None, clock, |_| {}, end).await.unwrap();
    assert_eq!((report.counts.leftovers, report.unacknowledged()), (1, 0));
    let got = broker.publishes();
    let retained: Vec<_> = got.iter().filter(|it| it.retain).collect();
    assert_eq!(retained.len(), 2, "the leftover, and what clears it");
    assert!(retained[0].topic == retained[1].topic && !retained[0].payload.is_empty());
    assert!(retained[1].payload.is_empty(), "an empty retained message deletes what is kept");
}

#[tokio::test]
async fn a_refused_login_ends_the_run_with_the_reason() {
    let broker = Broker::start(Habits { connack: 5, ..FRIENDLY });
    let port = broker.port;
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
