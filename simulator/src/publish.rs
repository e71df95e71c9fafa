//! Publishing over real MQTT: a few gateways carry the messages of the whole city at QoS 1.
//!
//! The timetable is open-loop: a broker that is slow or away changes when messages arrive, never what was
//! measured or when. A gateway holds at most [`INBOX`] waiting and [`WINDOW`] unacknowledged messages; when
//! both are full the city waits (its clock goes on, nothing is dropped) and catches up afterwards.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lampguard_model::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::city::ZONES;
use crate::gateway::Gateway;
use crate::simulation::{Counts, Message, Simulation, Source};

/// Unacknowledged messages of one gateway.
pub const WINDOW: usize = 100;
/// Messages that wait in one gateway, for instance while its link is down.
pub const INBOX: usize = 1024;
/// Most gateways.
pub const GATEWAYS_MAX: u16 = 1000;
/// The city is asked for due messages this often.
const TICK: Duration = Duration::from_millis(20);
/// How long a stop waits for outstanding acknowledgements.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// Where and how to publish.
#[derive(Clone)]
pub struct Options {
    /// Host of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
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
            username: None,
            password: None,
            gateways: 16,
            client_prefix: "lampguard-sim".to_owned(),
            status: false,
        })
    }

    fn check(&self) -> Result<(), PublishError> {
        if !(1..=GATEWAYS_MAX).contains(&self.gateways) {
            return Err(PublishError::Gateways(self.gateways));
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
    /// Messages handed to gateways.
    pub handed: u64,
    /// Messages given to a connection, each once however often it was repeated.
    pub sent: u64,
    /// Messages the broker acknowledged.
    pub acknowledged: u64,
    /// Messages sent again after a broken link.
    pub repeated: u64,
    /// Links that broke or could not be made.
    pub link_failures: u64,
    /// Gateways that are connected.
    pub connected: u64,
    /// How far the timetable is behind the clock, ms; more than some 20 means that the broker is too slow.
    pub behind_ms: i64,
}

impl Report {
    /// Messages not acknowledged: on their way, or left over after a stop.
    pub fn unacknowledged(&self) -> u64 {
        self.handed.saturating_sub(self.acknowledged)
    }
}

/// Counters that all gateways share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) link_failures: AtomicU64,
    pub(crate) connected: AtomicU64,
}

/// Publishes a simulation until `shutdown`, then waits up to 3 s for outstanding acknowledgements.
///
/// `clock` gives the time, `progress` is called about once a second.
///
/// # Errors
/// [`PublishError`] when the options are wrong or the broker refuses the login. A broker that is away is no
/// error: gateways try again, at most 30 s apart.
pub async fn run(
    options: Options,
    mut simulation: Simulation,
    clock: impl Fn() -> Timestamp,
    mut progress: impl FnMut(&Report),
    shutdown: impl Future<Output = ()>,
) -> Result<Report, PublishError> {
    options.check()?;
    let mut fleet = Fleet::start(&options, &simulation);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut report = Report::default();
    if options.status {
        let statuses: Vec<Message> = simulation.statuses().collect();
        if let Go::Stop = fleet.hand(statuses, &mut report, shutdown.as_mut()).await? {
            return Ok(fleet.stop(report).await);
        }
    }
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_at = clock();
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            refused = fleet.refused.recv() => return Err(fleet.refusal(refused)),
            _ = tick.tick() => {}
        }
        let now = clock();
        let messages = simulation.advance(now);
        report.counts = simulation.counts();
        report.behind_ms = now.since(simulation.next_due()).0.max(0);
        if let Go::Stop = fleet.hand(messages, &mut report, shutdown.as_mut()).await? {
            break;
        }
        if (now.since(told_at).0).unsigned_abs() >= 1000 {
            told_at = now;
            fleet.read(&mut report);
            progress(&report);
        }
    }
    Ok(fleet.stop(report).await)
}

enum Go {
    On,
    Stop,
}

/// The gateways and the ways to them.
struct Fleet {
    host: String,
    port: u16,
    inboxes: Vec<mpsc::Sender<Message>>,
    tasks: JoinSet<()>,
    tally: Arc<Tally>,
    refused: mpsc::UnboundedReceiver<String>,
}

impl Fleet {
    fn start(options: &Options, simulation: &Simulation) -> Self {
        let tally = Arc::new(Tally::default());
        let (refuse, refused) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut inboxes = Vec::new();
        let posts = simulation.city().posts();
        for number in 0..options.gateways {
            let (sender, inbox) = mpsc::channel(INBOX);
            let zone = posts.get(usize::from(number)).map_or(0, |post| usize::from(post.zone));
            let gateway = Gateway::new(options, number, ZONES[zone].id, tally.clone(), refuse.clone());
            tasks.spawn(gateway.run(inbox));
            inboxes.push(sender);
        }
        let (host, port) = (options.host.clone(), options.port);
        Self { host, port, inboxes, tasks, tally, refused }
    }

    /// Hands messages to the gateways of their posts; waits where one is full.
    async fn hand(
        &mut self,
        messages: Vec<Message>,
        report: &mut Report,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Go, PublishError> {
        for message in messages {
            let number = match message.source {
                Source::Post(place) => place as usize,
                Source::Weather(zone) => usize::from(zone),
            };
            let inbox = &self.inboxes[number % self.inboxes.len()];
            tokio::select! {
                biased;
                sent = inbox.send(message) => report.handed += u64::from(sent.is_ok()),
                () = shutdown.as_mut() => return Ok(Go::Stop),
                refused = self.refused.recv() => return Err(self.refusal(refused)),
            }
        }
        Ok(Go::On)
    }

    fn refusal(&self, reason: Option<String>) -> PublishError {
        PublishError::Refused {
            host: self.host.clone(),
            port: self.port,
            reason: reason.unwrap_or_else(|| "no reason given".to_owned()),
        }
    }

    fn read(&self, report: &mut Report) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        report.sent = of(&self.tally.sent);
        report.acknowledged = of(&self.tally.acknowledged);
        report.repeated = of(&self.tally.repeated);
        report.link_failures = of(&self.tally.link_failures);
        report.connected = of(&self.tally.connected);
    }

    /// Closes the inboxes: each gateway ends when everything it holds is acknowledged, or is cut off.
    async fn stop(mut self, mut report: Report) -> Report {
        self.inboxes.clear();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_WAIT, drained).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.read(&mut report);
        report
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
    }
}
