//! A connection per post, against a tiny MQTT server; and orders to a city that publishes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]
#![expect(clippy::disallowed_methods, reason = "waiting has a limit")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use common::{Broker, Connect, FRIENDLY, Habits};
use lampguard_model::Timestamp;
use lampguard_simulator::publish::{KEPT_PER_POST, Options, Order, POST_WINDOW, PerPost, Report, run};
use lampguard_simulator::{City, Command, CommandError, Params, Run, Scenario, Simulation};
use tokio::sync::{mpsc, oneshot};

const START: Timestamp = Timestamp(1_760_710_920_000);
const POSTS: u32 = 60;

fn simulation() -> Simulation {
    let scenario = Scenario::shipped("demo").unwrap();
    // Every post has a sensor and no cabinet has one: as many connections as posts.
    let params = Params::parse("[fleet]\nno_sensor = 0.0\ncabinet_sensors = 0.0\n").unwrap();
    let city = Arc::new(City::with_params(POSTS, 1, &scenario, &params).unwrap());
    let run = Run { seed: 1, speed: None, boot: 1, start: START };
    Simulation::new(city, scenario, run).unwrap()
}

/// Publishes the city until `end`; each look at its clock is `step_ms` later than the one before.
async fn publish(
    port: u16,
    per_post: PerPost,
    step_ms: i64,
    orders: Option<mpsc::Receiver<Order>>,
    end: impl Future<Output = ()>,
) -> Report {
    let mut options = Options::new(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    options.client_prefix = "sim".to_owned();
    options.per_post = Some(per_post);
    let ticks = AtomicI64::new(0);
    let clock = || Timestamp(START.0 + ticks.fetch_add(step_ms, Ordering::SeqCst));
    run(options, simulation(), orders, clock, |_| {}, end).await.unwrap()
}

async fn seconds(count: f64) {
    tokio::time::sleep(Duration::from_secs_f64(count)).await;
}

/// Waits until something is true, at most 15 s.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(15), "waited for {what}");
        seconds(0.01).await;
    }
}

const QUICK: PerPost = PerPost { connections: None, connects_per_s: 1000, herd: false, keep_alive_s: 60 };

/// Readings and weather of the first messages of the same city, whoever carries them.
fn expected(count: u64) -> HashSet<(String, Vec<u8>)> {
    let messages = simulation().advance(Timestamp(START.0 + 3_600_000));
    messages.into_iter().take(count as usize).map(|message| (message.topic, message.payload)).collect()
}

fn reports(broker: &Broker) -> HashSet<(String, Vec<u8>)> {
    broker.arrived().into_iter().filter(|(topic, _)| !topic.ends_with("/status")).collect()
}

#[tokio::test]
async fn every_post_is_a_client_of_its_own_with_keep_alive_will_and_status() {
    let broker = Broker::start(FRIENDLY);
    let report = publish(broker.port, QUICK, 100, None, seconds(2.0)).await;
    assert_eq!((report.connections, report.connects), (u64::from(POSTS), u64::from(POSTS)), "{report:?}");
    assert_eq!(report.unacknowledged() + report.dropped + report.link_failures, 0, "{report:?}");
    assert_eq!(reports(&broker), expected(report.handed));
    let connects: BTreeMap<String, Connect> =
        broker.connects().into_iter().map(|connect| (connect.client_id.clone(), connect)).collect();
    assert_eq!(connects.len(), POSTS as usize);
    let statuses: Vec<String> = simulation().statuses().map(|status| status.topic).collect();
    let publishes = broker.publishes();
    for status in &statuses {
        let connect = &connects[&format!("sim-{}", status.split('/').nth(2).unwrap())];
        assert_eq!(connect.will, Some((status.clone(), "offline".to_owned(), true, 1)));
        assert!(connect.clean && connect.keep_alive_s == 60);
        let online =
            publishes.iter().filter(|it| it.topic == *status && it.payload == b"online" && it.retain);
        assert_eq!(online.count(), 1, "{status}");
    }
    assert_eq!(broker.goodbyes(), POSTS as usize, "an orderly end leaves the wills unsaid");
}

#[tokio::test]
async fn connects_are_paced() {
    let broker = Broker::start(FRIENDLY);
    let slow = PerPost { connects_per_s: 30, ..QUICK };
    let report = publish(broker.port, slow, 100, None, seconds(4.0)).await;
    assert_eq!(report.connects, u64::from(POSTS));
    let times = broker.connects().into_iter().map(|connect| connect.at);
    let took = times.clone().max().unwrap() - times.min().unwrap();
    assert!(took > Duration::from_secs(1), "60 connects at 30 a second took {took:?}");
}

#[tokio::test]
async fn posts_on_cut_links_lose_nothing() {
    let broker = Broker::start(Habits { cuts: 30, cut_after: 2, ..FRIENDLY });
    // 50 s of the city in one of ours: a post reports every few seconds.
    let report = publish(broker.port, QUICK, 1000, None, seconds(3.0)).await;
    assert!(report.link_failures >= 20 && report.repeated > 0, "{report:?}");
    assert_eq!(report.unacknowledged() + report.dropped, 0, "{report:?}");
    assert_eq!(reports(&broker), expected(report.handed));
}

#[tokio::test]
async fn a_post_without_acknowledgements_delays_no_other_and_lets_its_oldest_readings_go_counted() {
    // Of the city only this one is not heard; it holds 8 in its window and 16 behind it.
    let broker = Broker::start(Habits { deaf_to: Some("/P00030/reading"), ..FRIENDLY });
    let report = publish(broker.port, QUICK, 60_000, None, seconds(4.0)).await;
    let kept = KEPT_PER_POST as u64 + u64::from(POST_WINDOW);
    assert_eq!(report.unacknowledged(), kept, "{report:?}");
    assert!(report.dropped > 0 && report.handed > 1000, "{report:?}");
    assert_eq!(report.acknowledged + kept + report.dropped, report.handed, "every message is in the books");
    let deaf = broker.publishes().iter().filter(|it| it.topic.ends_with("/P00030/reading")).count();
    assert_eq!(deaf, usize::from(POST_WINDOW), "and no more than the window is under way");
}

#[tokio::test]
async fn after_an_outage_posts_come_back_paced_or_as_a_herd() {
    let spread = async |herd: bool| {
        let broker = Broker::start(FRIENDLY);
        let pace = PerPost { connects_per_s: 20, herd, ..QUICK };
        let all = POSTS as usize;
        let mut took = Duration::ZERO;
        let end = async {
            until("all connections", || broker.connects().len() == all).await;
            broker.go_away();
            seconds(0.5).await;
            broker.come_back();
            until("all to be back", || broker.connects().len() == 2 * all).await;
            let back: Vec<Instant> = broker.connects()[all..].iter().map(|connect| connect.at).collect();
            took = *back.iter().max().unwrap() - *back.iter().min().unwrap();
        };
        let report = publish(broker.port, pace, 100, None, end).await;
        assert!(report.link_failures >= u64::from(POSTS), "{report:?}");
        assert_eq!(report.unacknowledged() + report.dropped, 0, "{report:?}");
        took
    };
    let (paced, herd) = tokio::join!(spread(false), spread(true));
    assert!(paced > Duration::from_millis(1500), "60 posts at 20 a second came back within {paced:?}");
    assert!(herd < paced / 2, "a herd came back within {herd:?}, the others within {paced:?}");
}

#[tokio::test]
async fn fewer_connections_are_shared_evenly() {
    let broker = Broker::start(FRIENDLY);
    let shared = PerPost { connections: Some(7), ..QUICK };
    let report = publish(broker.port, shared, 100, None, seconds(1.5)).await;
    assert_eq!((report.connections, report.connects, report.unacknowledged()), (7, 7, 0), "{report:?}");
    assert_eq!(reports(&broker), expected(report.handed));
    let online = broker.arrived().into_iter().filter(|(topic, _)| topic.ends_with("/status")).count();
    assert_eq!(online, POSTS as usize + 7, "60 posts and 7 connections are online");
    let wills: HashSet<String> =
        broker.connects().into_iter().filter_map(|connect| Some(connect.will?.0)).collect();
    assert_eq!(wills.len(), 7);
    assert!(wills.iter().all(|topic| topic.contains("/sim-00000")), "{wills:?}");
}

#[tokio::test]
async fn the_city_answers_orders_while_it_publishes() {
    let broker = Broker::start(FRIENDLY);
    let (give, orders) = mpsc::channel(4);
    let end = async {
        seconds(1.0).await;
        let (answer, state) = oneshot::channel();
        give.send(Order::State(answer)).await.unwrap();
        let state = state.await.unwrap();
        assert!(state.counts.readings > 0 && state.connected == u64::from(POSTS), "{state:?}");
        let (answer, truth) = oneshot::channel();
        give.send(Order::Truth(answer)).await.unwrap();
        assert!(truth.await.is_ok());
        let (answer, done) = oneshot::channel();
        let nowhere = Command::Drown { post_id: "nowhere".to_owned() };
        give.send(Order::Do(nowhere, answer)).await.unwrap();
        assert!(matches!(done.await.unwrap(), Err(CommandError::Unknown { .. })));
        drop(give);
        seconds(0.3).await;
    };
    let report = publish(broker.port, QUICK, 100, Some(orders), end).await;
    assert_eq!(report.unacknowledged() + report.dropped, 0, "{report:?}");
    assert_eq!(reports(&broker), expected(report.handed));
}
