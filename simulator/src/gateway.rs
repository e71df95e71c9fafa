//! One gateway: one MQTT connection, kept up, with every message held until the broker acknowledges it.
//!
//! One task polls and never waits; this one publishes. Each connection gets a fresh client and a clean session:
//! rumqttc forgets what was unacknowledged when the broker answers "no session", so the messages are held here
//! and sent again in their order. What the broker took twice, (device, boot, seq) tells apart.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing,
    Packet, QoS,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::publish::{Options, Tally, WINDOW};
use crate::simulation::Message;

/// First wait after a broken link; it doubles up to the last.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
const BACK_OFF_LAST: Duration = Duration::from_secs(30);

/// Requests that one client can hold: every unacknowledged message, the gateway's own status, and DISCONNECT.
/// So `try_publish` never finds it full.
const REQUESTS: usize = WINDOW + 8;

pub(crate) struct Gateway {
    options: MqttOptions,
    client_id: String,
    status_topic: Option<String>,
    tally: Arc<Tally>,
    refuse: mpsc::UnboundedSender<String>,
    held: Held,
    /// True once the broker has ever accepted this gateway.
    accepted: bool,
}

/// Messages the broker has not acknowledged.
#[derive(Default)]
struct Held {
    messages: BTreeMap<u64, Message>,
    next: u64,
    /// Given to the client, its packet id not known yet; `None` is the gateway's own status.
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

enum Seen {
    Event(Event),
    Lost(ConnectionError),
}

impl Gateway {
    pub(crate) fn new(
        options: &Options,
        number: u16,
        zone: &str,
        tally: Arc<Tally>,
        refuse: mpsc::UnboundedSender<String>,
    ) -> Self {
        let client_id = format!("{}-{number:03}", options.client_prefix);
        let mut mqtt = MqttOptions::new(&client_id, &options.host, options.port);
        mqtt.set_keep_alive(Duration::from_secs(30));
        mqtt.set_clean_session(true);
        mqtt.set_inflight(WINDOW as u16);
        if let Some(username) = &options.username {
            mqtt.set_credentials(username, options.password.as_deref().unwrap_or(""));
        }
        let status_topic = options.status.then(|| format!("lamp/{zone}/{client_id}/status"));
        if let Some(topic) = &status_topic {
            mqtt.set_last_will(LastWill::new(topic, "offline", QoS::AtLeastOnce, true));
        }
        Self { options: mqtt, client_id, status_topic, tally, refuse, held: Held::default(), accepted: false }
    }

    /// Publishes what comes in until the inbox closes and everything is acknowledged.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut failures = 0;
        loop {
            let before = self.tally_acknowledged();
            match self.session(&mut inbox).await {
                Ended::Done | Ended::Refused => return,
                Ended::Lost(reason) => {
                    // A link that carried something begins again with the shortest wait.
                    failures = if self.tally_acknowledged() > before { 0 } else { failures + 1 };
                    if failures <= 1 {
                        warn!(client = %self.client_id, reason, "link lost");
                    }
                    self.tally.link_failures.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(back_off(failures, rand::random())).await;
                }
            }
        }
    }

    fn tally_acknowledged(&self) -> u64 {
        self.held.next - self.held.messages.len() as u64
    }

    /// One connection from beginning to end.
    async fn session(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Ended {
        let (client, eventloop) = AsyncClient::new(self.options.clone(), REQUESTS);
        let (tell, mut seen) = mpsc::unbounded_channel();
        let _poller = Poller(tokio::spawn(poll(eventloop, tell)));
        if let Some(ended) = self.await_accept(&mut seen).await {
            return ended;
        }
        let _connected = Connected::new(self.tally.clone());
        info!(client = %self.client_id, "link up");
        if let Err(reason) = self.resend(&client) {
            return Ended::Lost(reason);
        }
        let mut open = true;
        while open || !self.held.is_empty() {
            tokio::select! {
                event = seen.recv() => match event {
                    Some(Seen::Event(event)) => self.take(&event),
                    Some(Seen::Lost(error)) => return Ended::Lost(error.to_string()),
                    None => return Ended::Lost("polling ended".to_owned()),
                },
                message = inbox.recv(), if open && self.held.messages.len() < WINDOW => match message {
                    Some(message) => if let Err(reason) = self.send(&client, message) {
                        return Ended::Lost(reason);
                    },
                    None => open = false,
                },
            }
        }
        // A clean goodbye keeps the will unsaid.
        if client.try_disconnect().is_ok() {
            while let Some(Seen::Event(event)) = seen.recv().await {
                if event == Event::Outgoing(Outgoing::Disconnect) {
                    break;
                }
            }
        }
        Ended::Done
    }

    /// Waits for the broker's answer to CONNECT; `None` when it accepts.
    async fn await_accept(&mut self, seen: &mut mpsc::UnboundedReceiver<Seen>) -> Option<Ended> {
        match seen.recv().await {
            Some(Seen::Event(Event::Incoming(Packet::ConnAck(_)))) => {
                self.accepted = true;
                None
            }
            Some(Seen::Lost(ConnectionError::ConnectionRefused(code)))
                if !self.accepted && code != ConnectReturnCode::ServiceUnavailable =>
            {
                // The receiver is gone only when the run has ended already.
                let _ = self.refuse.send(format!("{code:?}"));
                Some(Ended::Refused)
            }
            Some(Seen::Lost(error)) => Some(Ended::Lost(error.to_string())),
            other => Some(Ended::Lost(match other {
                Some(Seen::Event(event)) => format!("{event:?} before CONNACK"),
                _ => "polling ended".to_owned(),
            })),
        }
    }

    /// Sends again, in order, what the link before left unacknowledged.
    fn resend(&mut self, client: &AsyncClient) -> Result<(), String> {
        self.held.forget_numbers();
        if let Some(topic) = &self.status_topic {
            self.held.unnumbered.push_back(None);
            client.try_publish(topic, QoS::AtLeastOnce, true, "online").map_err(|error| error.to_string())?;
        }
        let orders: Vec<u64> = self.held.messages.keys().copied().collect();
        self.tally.repeated.fetch_add(orders.len() as u64, Ordering::Relaxed);
        orders.into_iter().try_for_each(|order| self.held.give(client, order))
    }

    fn send(&mut self, client: &AsyncClient, message: Message) -> Result<(), String> {
        let order = self.held.next;
        self.held.next += 1;
        self.held.messages.insert(order, message);
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
        self.held.give(client, order)
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(id)) => self.held.number(*id),
            Event::Incoming(Packet::PubAck(ack)) => {
                let done = u64::from(self.held.acknowledge(ack.pkid));
                self.tally.acknowledged.fetch_add(done, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Held {
    /// True when nothing waits for the broker, the gateway's own status included.
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.unnumbered.is_empty() && self.numbered.is_empty()
    }

    fn forget_numbers(&mut self) {
        self.unnumbered.clear();
        self.numbered.clear();
    }

    fn give(&mut self, client: &AsyncClient, order: u64) -> Result<(), String> {
        let Some(message) = self.messages.get(&order) else {
            return Ok(());
        };
        self.unnumbered.push_back(Some(order));
        client
            .try_publish(&message.topic, QoS::AtLeastOnce, message.retain, &*message.payload)
            .map_err(|error| error.to_string())
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

/// The only task that polls. It waits for nothing but the network: the channel has no limit of its own, but
/// never holds more than two events for each of [`REQUESTS`] and the pings.
async fn poll(mut eventloop: EventLoop, tell: mpsc::UnboundedSender<Seen>) {
    loop {
        let seen = match eventloop.poll().await {
            Ok(event) => Seen::Event(event),
            Err(error) => {
                // Acknowledgements that were read before the link broke still count.
                for event in eventloop.state.events.drain(..) {
                    let _ = tell.send(Seen::Event(event));
                }
                let _ = tell.send(Seen::Lost(error));
                return;
            }
        };
        if tell.send(seen).is_err() {
            return;
        }
    }
}

/// Ends the polling task together with its session.
struct Poller(JoinHandle<()>);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a gateway as connected while it lives.
struct Connected(Arc<Tally>);

impl Connected {
    fn new(tally: Arc<Tally>) -> Self {
        tally.connected.fetch_add(1, Ordering::Relaxed);
        Self(tally)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wait before the next try: doubling, at most 30 s, spread over its upper half so that gateways do not come
/// back together. `spread` is 0 to 1.
fn back_off(failures: u32, spread: f64) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACK_OFF_LAST);
    doubled.mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_30_seconds_and_is_spread() {
        assert_eq!(back_off(0, 1.0), Duration::from_millis(250));
        assert_eq!(back_off(3, 1.0), Duration::from_secs(2));
        assert_eq!(back_off(60, 1.0), Duration::from_secs(30));
        assert_eq!(back_off(60, 0.0), Duration::from_secs(15));
    }

    #[test]
    fn an_acknowledgement_settles_its_message_once() {
        let mut held = Held { unnumbered: VecDeque::from([None, Some(0)]), ..Held::default() };
        held.number(1);
        held.number(2);
        assert!(!held.acknowledge(1) && !held.acknowledge(9));
        assert_eq!(held.numbered.get(&2), Some(&Some(0)));
    }
}
