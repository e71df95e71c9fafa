//! The packets of a sensor's connection, read and written by rumqttc's codec for MQTT 3.1.1.
//!
//! The one place that knows a protocol version: MQTT 5 adds a second codec that fills the same [`Packet`].

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::mqttbytes::{Error, Protocol};

/// What a sensor sends.
#[derive(Debug)]
pub(crate) enum Packet {
    Connect(Connect),
    Publish(Publish),
    PubRel(u16),
    Subscribe { pkid: u16, filters: usize },
    Unsubscribe(u16),
    Ping,
    Disconnect,
}

#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) login: Option<(String, String)>,
    pub(crate) will: Option<(String, Bytes)>,
}

#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) pkid: u16,
    pub(crate) retain: bool,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("packet of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("protocol version is not 3.1.1")]
    Version,
    #[error("malformed packet: {0}")]
    Malformed(Error),
}

/// The next whole packet in the buffer, if there is one.
pub(crate) fn read(buffer: &mut BytesMut, max_bytes: usize) -> Result<Option<Packet>, PacketError> {
    let packet = match v4::Packet::read(buffer, max_bytes) {
        Ok(packet) => packet,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded(bytes)) => return Err(PacketError::TooLong(bytes)),
        Err(Error::InvalidProtocol | Error::InvalidProtocolLevel(_)) => return Err(PacketError::Version),
        Err(e) => return Err(PacketError::Malformed(e)),
    };
    Ok(Some(match packet {
        // The codec lets other versions pass and then reads them wrongly.
        v4::Packet::Connect(connect) if connect.protocol != Protocol::V4 => return Err(PacketError::Version),
        v4::Packet::Connect(connect) => Packet::Connect(Connect {
            client_id: connect.client_id,
            clean: connect.clean_session,
            keep_alive_s: connect.keep_alive,
            login: connect.login.map(|login| (login.username, login.password)),
            // Copied: it is kept as long as the connection, and would keep the buffer that it came in.
            will: connect.last_will.map(|will| (will.topic, Bytes::copy_from_slice(&will.message))),
        }),
        v4::Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos as u8,
            pkid: publish.pkid,
            retain: publish.retain,
        }),
        v4::Packet::PubRel(release) => Packet::PubRel(release.pkid),
        v4::Packet::Subscribe(subscribe) => {
            Packet::Subscribe { pkid: subscribe.pkid, filters: subscribe.filters.len() }
        }
        v4::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe(unsubscribe.pkid),
        v4::Packet::PingReq => Packet::Ping,
        v4::Packet::Disconnect => Packet::Disconnect,
        _ => return Err(PacketError::Malformed(Error::IncorrectPacketFormat)),
    }))
}

/// Answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted = 0,
    Version = 1,
    ClientId = 2,
    BadLogin = 4,
}

pub(crate) fn connack(answer: Answer) -> [u8; 4] {
    [0x20, 2, 0, answer as u8]
}

fn short(kind: u8, pkid: u16, out: &mut Vec<u8>) {
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[kind, 2, high, low]);
}

pub(crate) fn puback(pkid: u16, out: &mut Vec<u8>) {
    short(0x40, pkid, out);
}

pub(crate) fn pubrec(pkid: u16, out: &mut Vec<u8>) {
    short(0x50, pkid, out);
}

pub(crate) fn pubcomp(pkid: u16, out: &mut Vec<u8>) {
    short(0x70, pkid, out);
}

/// Refuses every filter (0x80): nothing is handed out here.
pub(crate) fn suback(pkid: u16, filters: usize, out: &mut Vec<u8>) {
    let filters = filters.min(100);
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[0x90, 2 + filters as u8, high, low]);
    out.extend(std::iter::repeat_n(0x80, filters));
}

pub(crate) fn unsuback(pkid: u16, out: &mut Vec<u8>) {
    short(0xb0, pkid, out);
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}
