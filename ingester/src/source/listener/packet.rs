//! What a sensor sends: whole packets out of a buffer, for both protocol versions.
//!
//! The one place that knows a protocol version on the way in: 3.1.1 is read by rumqttc's codec, 5 by `v5.rs`; both
//! fill the same [`Packet`]. `answer.rs` is the way out.
//!
//! 1. Limits come before memory: the length in the first bytes decides, before the rest is waited for.
//! 2. Everything but PUBLISH is short ([`CONTROL_MAX`]), so that no list in it can grow large.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::mqttbytes::{Error, Protocol};

use super::v5;

/// Longest packet that is no PUBLISH, bytes: names, a password and a will; filters; properties. Whoever has not
/// logged in gets no more memory.
pub(crate) const CONTROL_MAX: usize = 16 * 1024;
/// Longest topic, bytes: with aliases eight bytes on the wire are a whole topic in memory, and on disk once refused.
pub(crate) const TOPIC_MAX: usize = 512;
/// Longest client id, bytes: it is kept as long as the connection. The standard asks for 23.
const CLIENT_ID_MAX: usize = 256;

/// Which MQTT a connection speaks: its CONNECT says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// What a sensor sends.
#[derive(Debug)]
pub(crate) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    PubRel(u16),
    Subscribe {
        pkid: u16,
        filters: Vec<Filter>,
    },
    Unsubscribe {
        pkid: u16,
        filters: usize,
    },
    Ping,
    /// `will`: the sensor wants its will published all the same.
    Disconnect {
        will: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    /// User name and password.
    pub(crate) login: Option<(String, Vec<u8>)>,
    pub(crate) will: Option<(String, Bytes)>,
    /// It asks for a login of several steps, which we have not.
    pub(crate) steps: bool,
    /// Longest packet that it takes, bytes.
    pub(crate) max_packet: Option<u32>,
}

impl Connect {
    /// True for a client id that can be kept.
    pub(crate) fn names_itself(&self) -> bool {
        let may_be_empty = self.clean || self.version == Version::V5;
        self.client_id.len() <= CLIENT_ID_MAX && (may_be_empty || !self.client_id.is_empty())
    }
}

#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    /// A number that stands for the topic, or is to stand for it from now on.
    pub(crate) alias: Option<u16>,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) pkid: u16,
    pub(crate) retain: bool,
}

/// What a SUBSCRIBE asks for; refused in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Plain,
    Shared,
    Invalid,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("packet of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("protocol version {0} is neither 3.1.1 nor 5")]
    Version(u8),
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    #[error("malformed packet: {0}")]
    Codec(Error),
    /// The bytes are in order, and say what they may not.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("no topic name of 1 to {TOPIC_MAX} bytes without + # and 0")]
    Topic,
    #[error("topic alias 0")]
    Alias,
}

/// The first bytes of a packet.
struct Frame {
    first: u8,
    head: usize,
    body: usize,
}

impl Frame {
    /// `None` until enough of it is there.
    fn of(buffer: &[u8]) -> Result<Option<Self>, PacketError> {
        let Some((&first, rest)) = buffer.split_first() else {
            return Ok(None);
        };
        let mut body = 0;
        for (place, byte) in rest.iter().take(4).enumerate() {
            body |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(Some(Self { first, head: place + 2, body }));
            }
        }
        if rest.len() < 4 { Ok(None) } else { Err(PacketError::Malformed("length")) }
    }

    fn check(&self, max_bytes: usize) -> Result<(), PacketError> {
        let limit = if self.first >> 4 == 3 { max_bytes } else { max_bytes.min(CONTROL_MAX) };
        if self.body > limit { Err(PacketError::TooLong(self.body)) } else { Ok(()) }
    }
}

/// The CONNECT at the beginning of a connection; a fault comes with the version in which it is to be told, where
/// that is known.
pub(crate) fn read_connect(
    buffer: &mut BytesMut,
) -> Result<Option<Box<Connect>>, (Option<Version>, PacketError)> {
    let Some(frame) = Frame::of(buffer).map_err(|e| (None, e))? else {
        return Ok(None);
    };
    if frame.first != 0x10 {
        return Err((None, PacketError::Protocol("the first packet is no CONNECT")));
    }
    let version = version_of(buffer.get(frame.head..).unwrap_or_default());
    frame.check(CONTROL_MAX).map_err(|e| (version.and_then(Result::ok), e))?;
    let version = match version {
        None if buffer.len() < frame.head + frame.body => return Ok(None),
        None => return Err((None, PacketError::Malformed("protocol name"))),
        Some(Ok(version)) => version,
        // Whoever speaks a later version understands 5 best.
        Some(Err(level)) if level > 5 => return Err((Some(Version::V5), PacketError::Version(level))),
        Some(Err(level)) => return Err((Some(Version::V311), PacketError::Version(level))),
    };
    match read(buffer, version, CONTROL_MAX).map_err(|e| (Some(version), e))? {
        None => Ok(None),
        Some(Packet::Connect(connect)) => Ok(Some(connect)),
        Some(_) => Err((Some(version), PacketError::Protocol("the first packet is no CONNECT"))),
    }
}

/// By the first bytes of a CONNECT's body: the version, or the level that is none of ours; `None` while too little is
/// there.
fn version_of(body: &[u8]) -> Option<Result<Version, u8>> {
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let level = *body.get(2 + length)?;
    match (&body[2..2 + length], level) {
        (b"MQTT", 4) => Some(Ok(Version::V311)),
        (b"MQTT", 5) => Some(Ok(Version::V5)),
        (b"MQTT" | b"MQIsdp", level) => Some(Err(level)),
        _ => None,
    }
}

/// Bytes of the whole packet at the beginning of the buffer; 0 while that is not known.
pub(crate) fn length(buffer: &[u8]) -> usize {
    Frame::of(buffer).ok().flatten().map_or(0, |frame| frame.head + frame.body)
}

/// The next whole packet in the buffer, if there is one.
pub(crate) fn read(
    buffer: &mut BytesMut,
    version: Version,
    max_bytes: usize,
) -> Result<Option<Packet>, PacketError> {
    let Some(frame) = Frame::of(buffer)? else {
        return Ok(None);
    };
    frame.check(max_bytes)?;
    if buffer.len() < frame.head + frame.body {
        return Ok(None);
    }
    match version {
        Version::V311 => read_v311(buffer, frame.body),
        Version::V5 => {
            let mut packet = buffer.split_to(frame.head + frame.body).freeze();
            v5::read(frame.first, packet.split_off(frame.head))
        }
    }
    .map(Some)
}

fn read_v311(buffer: &mut BytesMut, body: usize) -> Result<Packet, PacketError> {
    let packet = v4::Packet::read(buffer, body).map_err(PacketError::Codec)?;
    Ok(match packet {
        // The codec lets other versions pass and then reads them wrongly.
        v4::Packet::Connect(connect) if connect.protocol != Protocol::V4 => {
            return Err(PacketError::Version(5));
        }
        v4::Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            version: Version::V311,
            client_id: connect.client_id,
            clean: connect.clean_session,
            keep_alive_s: connect.keep_alive,
            login: connect.login.map(|login| (login.username, login.password.into_bytes())),
            // Copied: it is kept as long as the connection, and would keep the buffer that it came in.
            will: connect.last_will.map(|will| (will.topic, Bytes::copy_from_slice(&will.message))),
            steps: false,
            max_packet: None,
        })),
        v4::Packet::Publish(publish) if !is_topic(&publish.topic) => return Err(PacketError::Topic),
        v4::Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic,
            alias: None,
            payload: publish.payload,
            qos: publish.qos as u8,
            pkid: publish.pkid,
            retain: publish.retain,
        }),
        v4::Packet::PubRel(release) => Packet::PubRel(release.pkid),
        v4::Packet::Subscribe(subscribe) => {
            Packet::Subscribe { pkid: subscribe.pkid, filters: vec![Filter::Plain; subscribe.filters.len()] }
        }
        v4::Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe { pkid: unsubscribe.pkid, filters: unsubscribe.topics.len() }
        }
        v4::Packet::PingReq => Packet::Ping,
        v4::Packet::Disconnect => Packet::Disconnect { will: false },
        _ => return Err(PacketError::Malformed("a packet that only a server sends")),
    })
}

/// True for a name that can be published to.
pub(crate) fn is_topic(topic: &str) -> bool {
    (1..=TOPIC_MAX).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
