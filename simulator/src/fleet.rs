//! The connections of a run, and the ways to them.
//!
//! Two kinds. A few gateways, each for many posts: what a full gateway does not take waits in the city. Or a
//! connection per post (or for a few posts), as sensors with a modem of their own have it: each keeps a few
//! messages, and when those are full the oldest goes and is counted, as in a sensor's small memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::city::ZONES;
use crate::link::{Habits, Link, Tally};
use crate::mailbox::Mailbox;
use crate::pace::Pace;
use crate::publish::{
    INBOX, KEPT_PER_GAUGE, KEPT_PER_POST, Options, POST_WINDOW, PublishError, Report, WINDOW,
};
use crate::simulation::{Message, Simulation, Source};

/// Keep-alive of a gateway: it talks all the time.
const GATEWAY_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a stop waits for outstanding acknowledgements.
const STOP_WAIT: Duration = Duration::from_secs(3);

pub(crate) struct Fleet {
    habits: Arc<Habits>,
    mailboxes: Vec<Arc<Mailbox>>,
    tasks: JoinSet<()>,
    /// Sensors that have connections.
    posts: usize,
    /// Which of them a sensor is, by its place in the city: posts without a sensor have no connection.
    turns: Vec<u32>,
    per_post: bool,
    outage: Outage,
}

/// The turn of each sensor among those that have a connection, by its place in the city.
fn turns_of(sensors: &[Source]) -> Vec<u32> {
    let place = |source: &Source| match source {
        Source::Post(place) => *place as usize,
        Source::Weather(_) => 0,
    };
    let mut turns = vec![0; sensors.iter().map(place).max().map_or(0, |last| last + 1)];
    for (turn, source) in sensors.iter().enumerate() {
        turns[place(source)] = turn as u32;
    }
    turns
}

/// Whether links are up, for telling the start and the end of an outage once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Starting,
    None,
    Lasting,
}

impl Fleet {
    /// Starts the connections. Logins that are refused come out of the receiver.
    pub(crate) async fn start(
        options: &Options,
        simulation: &Simulation,
    ) -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sensors, statuses): (Vec<Source>, Vec<String>) =
            simulation.statuses().map(|status| (status.source, status.topic)).unzip();
        let (refuse, refused) = mpsc::unbounded_channel();
        let posts = statuses.len();
        let per_post = options.per_post.as_ref();
        let count = match per_post {
            Some(asked) => asked.connections(posts),
            None => usize::from(options.gateways),
        };
        let habits = Arc::new(Habits {
            host: if per_post.is_some() { resolved(options).await } else { bracketed(&options.host) },
            port: options.port,
            mqtt5: options.mqtt5,
            username: options.username.clone(),
            password: options.password.clone(),
            keep_alive: per_post
                .map_or(GATEWAY_KEEP_ALIVE, |it| Duration::from_secs(u64::from(it.keep_alive_s))),
            window: if per_post.is_some() { POST_WINDOW } else { WINDOW as u16 },
            log_each: per_post.is_none(),
            pace: per_post.map_or_else(|| Pace::new(0, false), |it| Pace::new(it.connects_per_s, it.herd)),
            tally: Tally::default(),
            refuse,
        });
        let turns = turns_of(&sensors);
        let (mut mailboxes, mut tasks) = (Vec::with_capacity(count), JoinSet::new());
        for number in 0..count {
            let mine = if per_post.is_some() { share(number, count, posts) } else { 0..0 };
            let gauge = if number < ZONES.len() { KEPT_PER_GAUGE } else { 0 };
            let limit = if per_post.is_some() { mine.len() * KEPT_PER_POST + gauge } else { INBOX };
            let mailbox = Arc::new(Mailbox::new(limit));
            let (client_id, hello) = if per_post.is_some() {
                post_client(&options.client_prefix, number, &statuses[mine])
            } else {
                gateway_client(options, number, &statuses)
            };
            tasks.spawn(Link::new(habits.clone(), client_id, hello, mailbox.clone()).run());
            mailboxes.push(mailbox);
        }
        let per_post = per_post.is_some();
        let fleet = Self { habits, mailboxes, tasks, posts, turns, per_post, outage: Outage::Starting };
        (fleet, refused)
    }

    /// The connection that carries a sensor, as [`share`] laid them out.
    fn connection_of(&self, place: u32) -> usize {
        let turn = self.turns.get(place as usize).map_or(0, |turn| *turn as usize);
        turn * self.mailboxes.len() / self.posts.max(1)
    }

    fn mailbox(&self, source: Source) -> &Mailbox {
        let count = self.mailboxes.len();
        let number = match source {
            Source::Post(place) if self.per_post => self.connection_of(place),
            Source::Post(place) => place as usize % count,
            // Rain gauges stand at the first posts; see KEPT_PER_GAUGE.
            Source::Weather(zone) => usize::from(zone) % count,
        };
        &self.mailboxes[number.min(count - 1)]
    }

    /// Waits until a message can be handed over; `None` waits for ever.
    pub(crate) async fn room(&self, message: Option<&Message>) {
        match message {
            Some(_) if self.per_post => {}
            Some(message) => self.mailbox(message.source).room().await,
            None => std::future::pending().await,
        }
    }

    /// Hands messages over, in their order, up to the first one whose gateway is full.
    pub(crate) fn hand(&self, waiting: &mut VecDeque<Message>, report: &mut Report) {
        while let Some(message) = waiting.pop_front() {
            let mailbox = self.mailbox(message.source);
            if self.per_post {
                report.dropped += u64::from(mailbox.push_over(message));
            } else if let Err(message) = mailbox.push(message) {
                waiting.push_front(message);
                return;
            }
            report.handed += 1;
        }
    }

    /// Hands over the last messages of a run, waiting for room as long as a stop may take.
    pub(crate) async fn hand_last(&self, messages: Vec<Message>, report: &mut Report) {
        let mut waiting = VecDeque::from(messages);
        let all = async {
            while !waiting.is_empty() {
                self.room(waiting.front()).await;
                self.hand(&mut waiting, report);
            }
        };
        // A broker that is away keeps what it has: nobody can reach it.
        let _ = timeout(STOP_WAIT, all).await;
    }

    pub(crate) fn read(&self, report: &mut Report) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.habits.tally;
        report.sent = of(&tally.sent);
        report.acknowledged = of(&tally.acknowledged);
        report.repeated = of(&tally.repeated);
        report.link_failures = of(&tally.link_failures);
        report.connects = of(&tally.connects);
        report.connected = of(&tally.connected);
        report.connections = self.mailboxes.len() as u64;
    }

    /// Logs the start and the end of an outage of posts' links; gateways log theirs one by one.
    pub(crate) fn watch(&mut self, report: &Report) {
        let all = report.connected == report.connections;
        if !self.per_post || all == (self.outage == Outage::None) {
            return;
        }
        let Report { connected, connections, link_failures, dropped, .. } = *report;
        if all {
            info!(connections, link_failures, dropped, "every connection is up");
            self.outage = Outage::None;
        } else if self.outage == Outage::None {
            warn!(connected, connections, link_failures, "connections lost");
            self.outage = Outage::Lasting;
        }
    }

    pub(crate) fn refusal(&self, reason: Option<String>) -> PublishError {
        PublishError::Refused {
            host: self.habits.host.clone(),
            port: self.habits.port,
            reason: reason.unwrap_or_else(|| "no reason given".to_owned()),
        }
    }

    /// Closes the mailboxes: each connection ends when everything it holds is acknowledged, or is cut off.
    pub(crate) async fn stop(mut self, mut report: Report) -> Report {
        self.mailboxes.iter().for_each(|mailbox| mailbox.close());
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_WAIT, drained).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.read(&mut report);
        report
    }
}

/// The posts of a connection: neighbours, and each connection one more or less than the others.
fn share(number: usize, count: usize, posts: usize) -> std::ops::Range<usize> {
    let first = |number: usize| (number * posts).div_ceil(count);
    first(number)..first(number + 1)
}

/// Client id and status topics of a connection for these posts. Alone on it, a post is named and has the will.
/// One will cannot speak for several posts: then the connection has a status of its own, as a gateway has.
fn post_client(prefix: &str, number: usize, statuses: &[String]) -> (String, Vec<String>) {
    if let [status] = statuses {
        return (format!("{prefix}-{}", part(status, 2)), vec![status.clone()]);
    }
    let client_id = format!("{prefix}-{number:06}");
    let zone = statuses.first().map_or("all", |status| part(status, 1));
    let own = format!("lamp/{zone}/{client_id}/status");
    (client_id, std::iter::once(own).chain(statuses.iter().cloned()).collect())
}

fn gateway_client(options: &Options, number: usize, statuses: &[String]) -> (String, Vec<String>) {
    let client_id = format!("{}-{number:03}", options.client_prefix);
    let zone = statuses.get(number).or(statuses.first()).map_or("all", |status| part(status, 1));
    let own = options.status.then(|| format!("lamp/{zone}/{client_id}/status"));
    (client_id, own.into_iter().collect())
}

/// A part of a topic, counted from 0.
fn part(topic: &str, number: usize) -> &str {
    topic.split('/').nth(number).unwrap_or("all")
}

/// The broker's address, asked for once: 20,000 connects that ask for a name one by one would be a load of their
/// own. When nobody knows the name now, each connect asks again.
async fn resolved(options: &Options) -> String {
    match tokio::net::lookup_host((options.host.as_str(), options.port)).await.map(|mut found| found.next()) {
        Ok(Some(address)) => bracketed(&address.ip().to_string()),
        _ => bracketed(&options.host),
    }
}

/// rumqttc puts `:port` behind it, which an IPv6 address needs brackets for.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_share_connections_evenly_and_a_message_goes_the_way_of_its_post() {
        for (count, posts) in [(1, 1), (3, 10), (7, 10), (10, 10), (999, 20_000)] {
            let mut next = 0;
            for number in 0..count {
                let mine = share(number, count, posts);
                assert_eq!(mine.start, next);
                assert!((posts / count..=posts.div_ceil(count)).contains(&mine.len()), "{number} of {count}");
                assert!(mine.clone().all(|place| place * count / posts == number), "{mine:?}");
                next = mine.end;
            }
            assert_eq!(next, posts);
        }
    }

    #[test]
    fn a_post_alone_has_the_will_and_posts_together_have_one_of_their_connection() {
        let statuses = ["lamp/z1/P00001/status".to_owned(), "lamp/z1/P00002/status".to_owned()];
        let alone = post_client("sim", 0, &statuses[..1]);
        assert_eq!(alone, ("sim-P00001".to_owned(), vec![statuses[0].clone()]));
        let (client_id, hello) = post_client("sim", 12, &statuses);
        assert_eq!((client_id.as_str(), hello[0].as_str()), ("sim-000012", "lamp/z1/sim-000012/status"));
        assert_eq!(hello[1..], statuses);
    }
}
