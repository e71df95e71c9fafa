//! One MQTT connection, kept up, with every message held until the broker acknowledges it.
//!
//! One task does it all: it polls rumqttc's client (`client.rs`), and while that waits for the network it gives it new messages. The
//! future of `poll` is never dropped before its end, because a request that it holds would be lost. Each
//! connection gets a fresh client and a clean session: rumqttc forgets what was unacknowledged when the broker
//! answers "no session", so the messages are held here and sent again in their order. What the broker took
//! twice, (device, boot, seq) tells apart.
//!
//! Measured with 5,000 links that only ping: 21 KB of memory each (22.6 KB before the trimming in `client::open`). 2.7 KB
//! are this task; most of the rest are two buffers and a table of QoS 2 ids, 8 KB each, that rumqttc 0.25.1 makes for
//! every client and has no option for. 20,000 links take 0.4 GB, so it stays; the same session by hand on its
//! codec would take a fifth.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::client::{self, Client, Connection, Fault, Happened};
use crate::mailbox::Mailbox;
use crate::pace::Pace;
use crate::simulation::Message;

/// What all connections of a run share.
pub(crate) struct Habits {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// MQTT 5; else 3.1.1.
    pub(crate) mqtt5: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive: Duration,
    /// Unacknowledged messages of one connection.
    pub(crate) window: u16,
    /// Links are logged one by one; false where there are thousands.
    pub(crate) log_each: bool,
    pub(crate) pace: Pace,
    pub(crate) tally: Tally,
    /// Where a refused login is told. Each connection tells it once at most.
    pub(crate) refuse: mpsc::UnboundedSender<String>,
}

/// Counters that all connections share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) link_failures: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connected: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) struct Link {
    habits: Arc<Habits>,
    client_id: String,
    /// Status topics that are told `online` at each connect; the first one's `offline` is the will.
    hello: Box<[String]>,
    greeted: usize,
    mailbox: Arc<Mailbox>,
    held: Held,
    /// True once the broker has ever accepted this connection.
    accepted: bool,
    /// True once this link carried something.
    carried: bool,
}

/// Messages the broker has not acknowledged.
#[derive(Default)]
struct Held {
    messages: BTreeMap<u64, Message>,
    next: u64,
    /// Left over from the link before, to be sent again.
    again: VecDeque<u64>,
    /// Given to the client, its packet id not known yet; `None` is a status of our own.
    unnumbered: VecDeque<Option<u64>>,
    numbered: HashMap<u16, Option<u64>>,
}

enum Ended {
    /// Everything is acknowledged and no more will come.
    Done,
    /// The link broke; try again.
    Lost(String),
    /// The broker says no; do not try again.
    Refused,
}

impl Link {
    pub(crate) fn new(
        habits: Arc<Habits>,
        client_id: String,
        hello: Vec<String>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let (hello, held) = (hello.into_boxed_slice(), Held::default());
        Self { habits, client_id, hello, greeted: 0, mailbox, held, accepted: false, carried: false }
    }

    /// Publishes what comes in until the mailbox is closed and everything is acknowledged.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        let mut wait = None;
        loop {
            let habits = self.habits.clone();
            let turn = async {
                match wait {
                    None => habits.pace.turn().await,
                    Some(failures) => habits.pace.again(failures).await,
                }
            };
            tokio::select! {
                () = turn => {}
                () = self.nothing_to_do() => return,
            }
            let reason = match self.session().await {
                Ended::Done | Ended::Refused => return,
                Ended::Lost(reason) => reason,
            };
            count(&self.habits.tally.link_failures);
            // A link that carried something begins again with the shortest wait.
            failures = if self.carried { 0 } else { failures + 1 };
            wait = Some(failures);
            if self.habits.log_each && failures <= 1 {
                warn!(client = %self.client_id, reason, "link lost");
            } else {
                debug!(client = %self.client_id, reason, "link lost");
            }
        }
    }

    /// Waits until the mailbox is closed while nothing is held: then there is no reason to connect.
    async fn nothing_to_do(&self) {
        while !(self.mailbox.is_done() && self.held.is_empty()) {
            self.mailbox.filled().await;
        }
    }

    /// One connection from beginning to end.
    async fn session(&mut self) -> Ended {
        let (client, mut connection) = client::open(&self.habits, &self.client_id, self.hello.first());
        self.carried = false;
        match connection.poll().await {
            Ok(Happened::Connected) => {}
            Ok(event) => return Ended::Lost(format!("{event:?} before CONNACK")),
            Err(Fault::Refused(reason)) if !self.accepted => {
                // The receiver is gone only when the run has ended already.
                let _ = self.habits.refuse.send(reason);
                return Ended::Refused;
            }
            Err(Fault::Refused(reason) | Fault::Lost(reason)) => return Ended::Lost(reason),
        }
        self.accepted = true;
        let _connected = Connected::new(self.habits.clone());
        if self.habits.log_each {
            info!(client = %self.client_id, "link up");
        }
        self.greeted = 0;
        self.held.begin_again();
        match self.carry(&client, &mut connection).await {
            Ok(()) => Ended::Done,
            Err(reason) => {
                // Acknowledgements that were read before the link broke still count.
                connection.left().into_iter().for_each(|event| self.take(event));
                Ended::Lost(reason)
            }
        }
    }

    /// Carries messages until everything is acknowledged and no more will come; else says why the link broke.
    async fn carry(&mut self, client: &Client, connection: &mut Connection) -> Result<(), String> {
        let mut leaving = false;
        loop {
            self.give(client, &mut leaving)?;
            let mailbox = self.mailbox.clone();
            let event = {
                let mut polled = pin!(connection.poll());
                loop {
                    tokio::select! {
                        event = &mut polled => break event,
                        () = mailbox.filled(), if self.has_room() => self.give(client, &mut leaving)?,
                    }
                }
            };
            let event = event.map_err(|(Fault::Refused(reason) | Fault::Lost(reason))| reason)?;
            if leaving && event == Happened::Left {
                return Ok(());
            }
            self.take(event);
        }
    }

    fn has_room(&self) -> bool {
        self.held.in_flight() < usize::from(self.habits.window)
    }

    /// Gives the client what fits into the window: first our own statuses, then what has to be repeated, then
    /// what is new; and the goodbye, which keeps the will unsaid, when nothing is left to do.
    fn give(&mut self, client: &Client, leaving: &mut bool) -> Result<(), String> {
        while self.has_room() {
            if let Some(topic) = self.hello.get(self.greeted) {
                self.greeted += 1;
                self.held.unnumbered.push_back(None);
                client.publish(topic, true, b"online")?;
            } else if let Some(order) = self.held.again.pop_front() {
                count(&self.habits.tally.repeated);
                self.held.give(client, order)?;
            } else if let Some(message) = self.mailbox.pop() {
                count(&self.habits.tally.sent);
                let order = self.held.hold(message);
                self.held.give(client, order)?;
            } else {
                break;
            }
        }
        if !*leaving && self.held.is_empty() && self.mailbox.is_done() {
            *leaving = true;
            client.disconnect()?;
        }
        Ok(())
    }

    fn take(&mut self, event: Happened) {
        match event {
            Happened::Published(id) => self.held.number(id),
            Happened::Acknowledged(id) => {
                self.carried = true;
                if self.held.acknowledge(id) {
                    count(&self.habits.tally.acknowledged);
                }
            }
            Happened::Connected | Happened::Left | Happened::Other => {}
        }
    }
}

impl Held {
    /// True when nothing waits for the broker, our own statuses included.
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.in_flight() == 0
    }

    /// Publishes given to the client on this link and not acknowledged.
    fn in_flight(&self) -> usize {
        self.unnumbered.len() + self.numbered.len()
    }

    /// A new link: nothing of it is under way, and all that is held has to be sent again.
    fn begin_again(&mut self) {
        self.unnumbered.clear();
        self.numbered.clear();
        self.again = self.messages.keys().copied().collect();
    }

    fn hold(&mut self, message: Message) -> u64 {
        let order = self.next;
        self.next += 1;
        self.messages.insert(order, message);
        order
    }

    fn give(&mut self, client: &Client, order: u64) -> Result<(), String> {
        let Some(message) = self.messages.get(&order) else {
            return Ok(());
        };
        self.unnumbered.push_back(Some(order));
        client.publish(&message.topic, message.retain, &message.payload)
    }

    /// The client numbers publishes in the order in which it was given them.
    fn number(&mut self, id: u16) {
        if let Some(order) = self.unnumbered.pop_front() {
            self.numbered.insert(id, order);
        }
    }

    /// True when the acknowledgement settled a message.
    fn acknowledge(&mut self, id: u16) -> bool {
        let order = self.numbered.remove(&id).flatten();
        order.is_some_and(|order| self.messages.remove(&order).is_some())
    }
}

/// Counts a connection while it lives.
struct Connected(Arc<Habits>);

impl Connected {
    fn new(habits: Arc<Habits>) -> Self {
        count(&habits.tally.connects);
        count(&habits.tally.connected);
        Self(habits)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.tally.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_settles_its_message_once() {
        let mut held = Held { unnumbered: VecDeque::from([None, Some(0)]), ..Held::default() };
        held.number(1);
        held.number(2);
        assert!(!held.acknowledge(1) && !held.acknowledge(9));
        assert_eq!(held.numbered.get(&2), Some(&Some(0)));
    }
}
