//! Publishing over real MQTT at QoS 1: by a few gateways that carry the whole city, or by a connection per post.
//!
//! The timetable is open-loop: a broker that is slow or away changes when messages arrive, never what was
//! measured or when. A gateway holds at most [`INBOX`] waiting and [`WINDOW`] unacknowledged messages; when
//! both are full the city waits (its clock goes on, nothing is dropped) and catches up afterwards. A post's own
//! connection holds [`KEPT_PER_POST`] and [`POST_WINDOW`]; when both are full the oldest waiting message goes and
//! is counted ([`Report::dropped`]), and no other post notices.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use lampguard_model::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::control::{Command, CommandError};
use crate::fleet::Fleet;
use crate::simulation::{Counts, MESSAGES_MAX, Message, Simulation};
use crate::truth::Truth;

/// Unacknowledged messages of one gateway.
pub const WINDOW: usize = 100;
/// Messages that wait in one gateway, for instance while its link is down.
pub const INBOX: usize = 1024;
/// Most gateways.
pub const GATEWAYS_MAX: u16 = 1000;
/// Unacknowledged messages of a post's own connection.
pub const POST_WINDOW: u16 = 8;
/// Messages that wait in a post's own connection, for each post that it carries: a sensor's small memory. At a
/// period of five minutes that is more than an hour.
pub const KEPT_PER_POST: usize = 16;
/// Messages that wait beyond that in the connections of the first posts, which carry the rain gauges too: those
/// report every minute of weather, and rain that was not reported makes no post wet.
pub const KEPT_PER_GAUGE: usize = 256;
/// Fastest pace of connects that can be asked for.
pub const CONNECTS_PER_S_MAX: u32 = 100_000;
/// Shortest keep-alive of a post, seconds: brokers cut after one and a half.
pub const KEEP_ALIVE_MIN_S: u16 = 5;
/// The city is asked for due messages this often.
const TICK: Duration = Duration::from_millis(20);

/// Where and how to publish.
#[derive(Clone)]
pub struct Options {
    /// Host of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// MQTT 5; default 3.1.1.
    pub mqtt5: bool,
    /// Login, if the broker wants one.
    pub username: Option<String>,
    /// Password of that login; never printed.
    pub password: Option<String>,
    /// Gateway connections, 1 to [`GATEWAYS_MAX`]. Default 16.
    pub gateways: u16,
    /// Client ids are this, a dash and the gateway's number; 1 to 40 of `A-Z a-z 0-9 _ -`. Two simulators at one
    /// broker need two prefixes, else they throw each other out.
    pub client_prefix: String,
    /// Publish a retained `online` for every post at the start, and one per gateway with a will. Default off.
    pub status: bool,
    /// A connection per post instead of gateways; statuses and wills are then always on.
    pub per_post: Option<PerPost>,
}

/// How posts connect that have connections of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPost {
    /// Connections at most; posts share them evenly when there are fewer. `None`: one for each post.
    pub connections: Option<u32>,
    /// Connects a second at most, 1 to [`CONNECTS_PER_S_MAX`]; also after lost links.
    pub connects_per_s: u32,
    /// After a lost link all connect again in one instant, unpaced: a base station, or a feeder, comes back.
    pub herd: bool,
    /// Seconds between two pings, at least [`KEEP_ALIVE_MIN_S`]; modems are set to 60 to 300.
    pub keep_alive_s: u16,
}

impl PerPost {
    /// Connections that so many posts get.
    pub fn connections(&self, posts: usize) -> usize {
        self.connections.map_or(posts, |asked| posts.min(asked as usize)).max(1)
    }
}

impl Default for PerPost {
    fn default() -> Self {
        Self { connections: None, connects_per_s: 500, herd: false, keep_alive_s: 60 }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("gateways", &self.gateways)
            .field("client_prefix", &self.client_prefix)
            .field("status", &self.status)
            .field("per_post", &self.per_post)
            .finish()
    }
}

impl Options {
    /// Options for `mqtt://host:port` (port 1883 when left out), everything else by default.
    ///
    /// # Errors
    /// [`PublishError::Broker`] for any other form of address.
    pub fn new(broker: &str) -> Result<Self, PublishError> {
        let (host, port) = parse_broker(broker).ok_or_else(|| PublishError::Broker(broker.to_owned()))?;
        Ok(Self {
            host,
            port,
            mqtt5: false,
            username: None,
            password: None,
            gateways: 16,
            client_prefix: "lampguard-sim".to_owned(),
            status: false,
            per_post: None,
        })
    }

    fn check(&self) -> Result<(), PublishError> {
        if !(1..=GATEWAYS_MAX).contains(&self.gateways) {
            return Err(PublishError::Gateways(self.gateways));
        }
        if let Some(PerPost { connections, connects_per_s, keep_alive_s, .. }) = self.per_post {
            if keep_alive_s < KEEP_ALIVE_MIN_S {
                return Err(PublishError::KeepAlive(keep_alive_s));
            }
            if connections == Some(0) {
                return Err(PublishError::Connections);
            }
            if !(1..=CONNECTS_PER_S_MAX).contains(&connects_per_s) {
                return Err(PublishError::ConnectsPerS(connects_per_s));
            }
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let prefix = &self.client_prefix;
        if prefix.is_empty() || prefix.len() > 40 || !prefix.bytes().all(allowed) {
            return Err(PublishError::ClientPrefix(prefix.clone()));
        }
        Ok(())
    }
}

/// `mqtt://host`, `mqtt://host:port`, `mqtt://[::1]:port`; a slash at the end is allowed.
fn parse_broker(broker: &str) -> Option<(String, u16)> {
    let rest = broker.strip_prefix("mqtt://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port: u16 = port.map_or(Some(1883), |port| port.parse().ok())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain) && port != 0).then(|| (host.to_owned(), port))
}

/// Why publishing could not go on. Stop and show it; links that break are mended without it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not an address of a broker.
    #[error("broker address {0:?} is not mqtt://host or mqtt://host:port")]
    Broker(String),
    /// Too few or too many gateways.
    #[error("{0} gateways, the range is 1 to {GATEWAYS_MAX}")]
    Gateways(u16),
    /// No connection.
    #[error("0 connections for posts, take 1 or more")]
    Connections,
    /// Connects a second.
    #[error("{0} connects a second, the range is 1 to {CONNECTS_PER_S_MAX}")]
    ConnectsPerS(u32),
    /// Too short a keep-alive.
    #[error("keep-alive of {0} s, the range is {KEEP_ALIVE_MIN_S} s to 65535 s")]
    KeepAlive(u16),
    /// A client id that brokers may refuse.
    #[error("client prefix {0:?} is not 1 to 40 of A-Z a-z 0-9 _ -")]
    ClientPrefix(String),
    /// The broker answered and said no.
    #[error("broker {host}:{port} refused the connection: {reason}; check username and password")]
    Refused {
        /// Host of the broker.
        host: String,
        /// Port of the broker.
        port: u16,
        /// The broker's word.
        reason: String,
    },
}

/// How publishing stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the city sent, by kind.
    pub counts: Counts,
    /// Messages handed to connections.
    pub handed: u64,
    /// Messages of them that a post's own connection let go, unsent, because its memory was full.
    pub dropped: u64,
    /// Messages given to a connection, each once however often it was repeated.
    pub sent: u64,
    /// Messages the broker acknowledged.
    pub acknowledged: u64,
    /// Messages sent again after a broken link.
    pub repeated: u64,
    /// Links that broke or could not be made.
    pub link_failures: u64,
    /// Connections that there are to be.
    pub connections: u64,
    /// Connections that are up.
    pub connected: u64,
    /// Times that a broker accepted a connection.
    pub connects: u64,
    /// How far the timetable is behind the clock, ms; more than some 20 means that the broker is too slow.
    pub behind_ms: i64,
}

impl Report {
    /// Messages not acknowledged: on their way, or left over after a stop.
    pub fn unacknowledged(&self) -> u64 {
        self.handed.saturating_sub(self.acknowledged + self.dropped)
    }
}

/// What may be asked of a running city; the answer comes back by the sender inside.
#[derive(Debug)]
pub enum Order {
    /// Do something to the city, now.
    Do(Command, oneshot::Sender<Result<String, CommandError>>),
    /// Tell how publishing stands.
    State(oneshot::Sender<Report>),
    /// Tell the true hazards from the start to now.
    Truth(oneshot::Sender<Vec<Truth>>),
}

/// Publishes a simulation until `shutdown`, then takes its retained leftovers off the broker and waits up to 3 s for
/// outstanding acknowledgements.
///
/// The simulation has one owner, this task: `orders` come to it over a channel and are obeyed at the instant of
/// their receipt. `clock` gives the time, `progress` is called about once a second.
///
/// # Errors
/// [`PublishError`] when the options are wrong or the broker refuses the login. A broker that is away is no
/// error: connections try again, at most 30 s apart.
pub async fn run(
    options: Options,
    mut simulation: Simulation,
    mut orders: Option<mpsc::Receiver<Order>>,
    clock: impl Fn() -> Timestamp,
    mut progress: impl FnMut(&Report),
    shutdown: impl Future<Output = ()>,
) -> Result<Report, PublishError> {
    options.check()?;
    let (mut fleet, mut refused) = Fleet::start(&options, &simulation).await;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut report = Report::default();
    // A post with a connection of its own tells its status itself, at each connect.
    let told_here = options.status && options.per_post.is_none();
    let mut waiting: VecDeque<Message> =
        if told_here { simulation.statuses().collect() } else { VecDeque::new() };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_at = clock();
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            reason = refused.recv() => return Err(fleet.refusal(reason)),
            order = next_order(&mut orders) => {
                fleet.read(&mut report);
                report.counts = simulation.counts();
                obey(order, clock(), &mut simulation, &mut waiting, &report);
            }
            _ = tick.tick() => {
                let now = clock();
                if waiting.is_empty() {
                    waiting.extend(simulation.advance(now));
                    report.counts = simulation.counts();
                }
                report.behind_ms = now.since(simulation.next_due()).0.max(0);
                if now.since(told_at).0.unsigned_abs() >= 1000 {
                    told_at = now;
                    fleet.read(&mut report);
                    fleet.watch(&report);
                    progress(&report);
                }
            }
            () = fleet.room(waiting.front()) => fleet.hand(&mut waiting, &mut report),
        }
    }
    let last = simulation.clear_leftovers(clock());
    fleet.hand_last(last, &mut report).await;
    Ok(fleet.stop(report).await)
}

/// The next order; never, when nobody gives any.
async fn next_order(orders: &mut Option<mpsc::Receiver<Order>>) -> Order {
    if let Some(receiver) = orders {
        if let Some(order) = receiver.recv().await {
            return order;
        }
        *orders = None;
    }
    std::future::pending().await
}

/// Obeys one order. Whoever gave it may have gone meanwhile: then nobody hears the answer.
fn obey(
    order: Order,
    now: Timestamp,
    simulation: &mut Simulation,
    waiting: &mut VecDeque<Message>,
    report: &Report,
) {
    match order {
        Order::Do(command, answer) => {
            // What was due before the command was measured before it.
            if waiting.len() < MESSAGES_MAX {
                waiting.extend(simulation.advance(now));
            }
            let _ = answer.send(simulation.command(now, &command));
        }
        Order::State(answer) => drop(answer.send(*report)),
        Order::Truth(answer) => {
            // The city is run again from its start: not on the task that publishes.
            let city = simulation.clone();
            tokio::task::spawn_blocking(move || drop(answer.send(city.truth(now))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_addresses_are_read_and_others_refused() {
        let read = |text| Options::new(text).map(|options| (options.host, options.port)).ok();
        assert_eq!(read("mqtt://127.0.0.1:1884"), Some(("127.0.0.1".to_owned(), 1884)));
        assert_eq!(read("mqtt://broker.example/"), Some(("broker.example".to_owned(), 1883)));
        assert_eq!(read("mqtt://[::1]:1883"), Some(("::1".to_owned(), 1883)));
        for wrong in ["localhost:1883", "mqtts://a", "mqtt://", "mqtt://a:0", "mqtt://a:b", "mqtt://u:p@a:1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let mut options = Options::new("mqtt://a").unwrap();
        options.password = Some("secret".to_owned());
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn wrong_options_are_refused() {
        let with = |change: fn(&mut Options)| {
            let mut options = Options::new("mqtt://a").unwrap();
            change(&mut options);
            options.check().is_err()
        };
        assert!(with(|options| options.gateways = 0));
        assert!(with(|options| options.gateways = 1001));
        assert!(with(|options| options.client_prefix = "a/b".to_owned()));
        let posts = PerPost::default();
        assert!(with(
            |options| options.per_post = Some(PerPost { connections: Some(0), ..PerPost::default() })
        ));
        assert!(with(|options| options.per_post = Some(PerPost { connects_per_s: 0, ..PerPost::default() })));
        assert!(with(|options| options.per_post = Some(PerPost { keep_alive_s: 0, ..PerPost::default() })));
        assert!(!with(|options| options.per_post = Some(PerPost::default())));
        assert_eq!((posts.connections(0), posts.connections(7)), (1, 7));
    }
}
