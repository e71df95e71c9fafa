//! rumqttc's two clients, for 3.1.1 and for 5, behind one: they share no type.

use std::collections::VecDeque;

use rumqttc::mqttbytes::v4;
use rumqttc::{ConnectReturnCode, Outgoing, QoS, v5};
use v5::mqttbytes::v5 as packets_five;

use crate::link::Habits;

/// TCP and CONNECT together; in a herd of 20,000 the last ones wait for seconds.
const CONNECT_WAIT_S: u64 = 20;
/// Requests of a client beyond its window: DISCONNECT, and room, so that `try_publish` never finds it full.
const REQUESTS_MORE: usize = 8;
/// Everything is published with it.
const QOS: QoS = QoS::AtLeastOnce;

/// Gives messages to a [`Connection`].
pub(crate) enum Client {
    Four(rumqttc::AsyncClient),
    Five(v5::AsyncClient),
}

/// One connection; dialled by its first `poll`.
pub(crate) enum Connection {
    Four(Box<rumqttc::EventLoop>),
    Five(Box<v5::EventLoop>),
}

/// What one `poll` brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// CONNACK.
    Connected,
    /// The next message, in the order given, got this packet id.
    Published(u16),
    /// PUBACK of this packet id.
    Acknowledged(u16),
    /// Our DISCONNECT is written.
    Left,
    /// Nothing that a link cares for.
    Other,
}

/// Why a connection ended, or never was.
pub(crate) enum Fault {
    /// The broker's own no to a login; asking again brings the same.
    Refused(String),
    /// Anything else.
    Lost(String),
}

/// A client with its connection, not dialled yet. The first topic of `hello` gets `offline` as a will.
pub(crate) fn open(habits: &Habits, client_id: &str, hello: Option<&String>) -> (Client, Connection) {
    let requests = usize::from(habits.window) + REQUESTS_MORE;
    let login = habits.username.as_ref().map(|name| (name, habits.password.as_deref().unwrap_or("")));
    if habits.mqtt5 {
        let mut mqtt = v5::MqttOptions::new(client_id, &habits.host, habits.port);
        mqtt.set_keep_alive(habits.keep_alive).set_clean_start(true);
        mqtt.set_outgoing_inflight_upper_limit(habits.window).set_connection_timeout(CONNECT_WAIT_S);
        let mut network = mqtt.network_options();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network);
        if let Some((name, password)) = login {
            mqtt.set_credentials(name, password);
        }
        if let Some(topic) = hello {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            mqtt.set_last_will(packets_five::LastWill::new(topic.as_str(), "offline", qos, true, None));
        }
        let (client, mut eventloop) = v5::AsyncClient::new(mqtt, requests);
        eventloop.state.events = VecDeque::new();
        return (Client::Five(client), Connection::Five(Box::new(eventloop)));
    }
    let mut mqtt = rumqttc::MqttOptions::new(client_id, &habits.host, habits.port);
    mqtt.set_keep_alive(habits.keep_alive).set_clean_session(true).set_inflight(habits.window);
    if let Some((name, password)) = login {
        mqtt.set_credentials(name, password);
    }
    if let Some(topic) = hello {
        mqtt.set_last_will(rumqttc::LastWill::new(topic, "offline", QOS, true));
    }
    let (client, mut eventloop) = rumqttc::AsyncClient::new(mqtt, requests);
    // Made with room for 100 events; it grows to what a link needs, which is a handful.
    eventloop.state.events = VecDeque::new();
    eventloop.network_options.set_connection_timeout(CONNECT_WAIT_S).set_tcp_nodelay(true);
    (Client::Four(client), Connection::Four(Box::new(eventloop)))
}

impl Client {
    pub(crate) fn publish(&self, topic: &str, retain: bool, payload: &[u8]) -> Result<(), String> {
        match self {
            Self::Four(client) => {
                client.try_publish(topic, QOS, retain, payload).map_err(|error| error.to_string())
            }
            Self::Five(client) => {
                let (qos, payload) = (v5::mqttbytes::QoS::AtLeastOnce, payload.to_vec());
                client.try_publish(topic, qos, retain, payload).map_err(|error| error.to_string())
            }
        }
    }

    pub(crate) fn disconnect(&self) -> Result<(), String> {
        match self {
            Self::Four(client) => client.try_disconnect().map_err(|error| error.to_string()),
            Self::Five(client) => client.try_disconnect().map_err(|error| error.to_string()),
        }
    }
}

impl Connection {
    /// Waits for the next event. Never drop this future before its end: a request that it holds would be lost.
    pub(crate) async fn poll(&mut self) -> Result<Happened, Fault> {
        match self {
            Self::Four(eventloop) => match eventloop.poll().await {
                Ok(event) => Ok(four(&event)),
                Err(rumqttc::ConnectionError::ConnectionRefused(code))
                    if code != ConnectReturnCode::ServiceUnavailable =>
                {
                    Err(Fault::Refused(format!("{code:?}")))
                }
                Err(error) => Err(Fault::Lost(error.to_string())),
            },
            Self::Five(eventloop) => match eventloop.poll().await {
                Ok(event) => five(&event).map_err(Fault::Lost),
                Err(v5::ConnectionError::ConnectionRefused(code)) if !passes(code) => {
                    Err(Fault::Refused(format!("{code:?}")))
                }
                Err(error) => Err(Fault::Lost(error.to_string())),
            },
        }
    }

    /// What was read before the connection broke and not polled yet.
    pub(crate) fn left(&mut self) -> Vec<Happened> {
        match self {
            Self::Four(eventloop) => eventloop.state.events.drain(..).map(|event| four(&event)).collect(),
            Self::Five(eventloop) => {
                eventloop.state.events.drain(..).filter_map(|event| five(&event).ok()).collect()
            }
        }
    }
}

/// Refusals that pass by themselves.
fn passes(code: packets_five::ConnectReturnCode) -> bool {
    use packets_five::ConnectReturnCode::{
        ConnectionRateExceeded, QuotaExceeded, ServerBusy, ServerUnavailable,
    };
    matches!(code, ServerUnavailable | ServerBusy | QuotaExceeded | ConnectionRateExceeded)
}

fn four(event: &rumqttc::Event) -> Happened {
    match event {
        rumqttc::Event::Incoming(v4::Packet::ConnAck(_)) => Happened::Connected,
        rumqttc::Event::Incoming(v4::Packet::PubAck(ack)) => Happened::Acknowledged(ack.pkid),
        rumqttc::Event::Outgoing(outgoing) => sent(outgoing),
        rumqttc::Event::Incoming(_) => Happened::Other,
    }
}

/// An acknowledgement that says no is no acknowledgement: the link ends, and the message is sent again.
fn five(event: &v5::Event) -> Result<Happened, String> {
    use packets_five::{Packet, PubAckReason};
    Ok(match event {
        v5::Event::Incoming(Packet::ConnAck(_)) => Happened::Connected,
        v5::Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Happened::Acknowledged(ack.pkid),
            reason => return Err(format!("the broker refused a message: {reason:?}")),
        },
        v5::Event::Outgoing(outgoing) => sent(outgoing),
        v5::Event::Incoming(_) => Happened::Other,
    })
}

fn sent(outgoing: &Outgoing) -> Happened {
    match outgoing {
        Outgoing::Publish(id) => Happened::Published(*id),
        Outgoing::Disconnect => Happened::Left,
        _ => Happened::Other,
    }
}
