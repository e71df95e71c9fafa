//! What a sensor is told, in the version it speaks.
//!
//! MQTT 3.1.1 has few words: where it has none, the connection just ends.

use super::packet::{CONTROL_MAX, Filter, PacketError, Version};

/// Unacknowledged messages of one connection; beyond that it is not read until some are durable. Told to MQTT 5 as its
/// receive maximum.
pub(crate) const IN_FLIGHT_MAX: u16 = 16_384;
/// Topic aliases of one connection, numbered from 1.
pub(crate) const ALIASES_MAX: u16 = 64;
/// Filters of one SUBSCRIBE or UNSUBSCRIBE.
pub(crate) const FILTERS_MAX: usize = 100;
/// Who takes no packets of this length, bytes, can't be answered.
pub(crate) const ANSWER_MAX: u32 = 128;

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Version,
    ClientId,
    BadLogin,
    /// The name of the login is not the certificate's, or the certificate opens nothing.
    NotAuthorised,
    Busy,
    TooLong,
    Malformed,
    Protocol,
    /// A login of several steps.
    Steps,
}

impl Refusal {
    /// As `lampguard_listener_refused_total` counts it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::ClientId => "client_id",
            Self::BadLogin | Self::Steps => "login",
            Self::NotAuthorised => "certificate",
            Self::Busy => "busy",
            Self::TooLong => "packet_too_long",
            Self::Malformed | Self::Protocol => "malformed",
        }
    }

    /// Code of 3.1.1, where it has one, and of 5.
    fn codes(self) -> (Option<u8>, u8) {
        match self {
            Self::Version => (Some(1), 0x84),
            Self::ClientId => (Some(2), 0x85),
            Self::BadLogin => (Some(4), 0x86),
            Self::NotAuthorised => (Some(5), 0x87),
            Self::Busy => (Some(3), 0x89),
            Self::TooLong => (None, 0x95),
            Self::Malformed => (None, 0x81),
            Self::Protocol => (None, 0x82),
            Self::Steps => (None, 0x8c),
        }
    }
}

impl From<&PacketError> for Refusal {
    fn from(error: &PacketError) -> Self {
        match error {
            PacketError::TooLong(_) => Self::TooLong,
            PacketError::Version(_) => Self::Version,
            PacketError::Malformed(_) | PacketError::Codec(_) => Self::Malformed,
            PacketError::Protocol(_) | PacketError::Topic | PacketError::Alias => Self::Protocol,
        }
    }
}

/// Why a connection ends though the sensor did not say goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The other side closed it, or the socket failed.
    Closed,
    /// It said goodbye and wants its will published.
    WillAsked,
    /// What was let go while the journal was stopped has to be sent again: on a new connection.
    JournalStopped,
    IntakeEnded,
    TakenOver,
    Silent,
    Malformed,
    Protocol,
    TooLong,
    Topic,
    NotAuthorised,
    InFlight,
    Alias,
    TooManyFilters,
    AliasBytes,
    /// No memory for its long packet was free in time.
    Crowded,
    /// Its long packet had memory and was not whole in time.
    Slow,
}

impl Lost {
    /// Reason code of the DISCONNECT that tells it.
    pub(crate) fn code(self) -> Option<u8> {
        Some(match self {
            Self::Closed | Self::WillAsked => return None,
            Self::JournalStopped | Self::Crowded => 0x89,
            Self::IntakeEnded => 0x8b,
            Self::TakenOver => 0x8e,
            Self::Silent => 0x8d,
            Self::Malformed => 0x81,
            Self::Protocol => 0x82,
            Self::TooLong => 0x95,
            Self::Topic => 0x90,
            Self::NotAuthorised => 0x87,
            Self::InFlight => 0x93,
            Self::Alias => 0x94,
            Self::TooManyFilters | Self::AliasBytes | Self::Slow => 0x97,
        })
    }

    /// As `lampguard_listener_refused_total` counts it, where the sensor is to blame for its packets.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::TooLong => Some("packet_too_long"),
            Self::Malformed | Self::Protocol | Self::InFlight | Self::Alias => Some("malformed"),
            Self::TooManyFilters | Self::AliasBytes => Some("malformed"),
            Self::Crowded => Some("busy"),
            Self::Slow => Some("slow"),
            _ => None,
        }
    }
}

impl From<&PacketError> for Lost {
    fn from(error: &PacketError) -> Self {
        match error {
            PacketError::TooLong(_) => Self::TooLong,
            PacketError::Malformed(_) | PacketError::Codec(_) => Self::Malformed,
            PacketError::Protocol(_) | PacketError::Version(_) => Self::Protocol,
            PacketError::Topic => Self::Topic,
            PacketError::Alias => Self::Alias,
        }
    }
}

/// The instance ends, and with it the connection.
pub(crate) const SHUTTING_DOWN: u8 = 0x8b;
/// An acknowledgement: this sensor may not publish there.
pub(crate) const NOT_AUTHORISED: u8 = 0x87;

/// Accepts; with MQTT 5 says what holds here. `assigned` is the client id that it gets for having none.
pub(crate) fn accept(version: Version, max_packet: usize, assigned: Option<&str>) -> Vec<u8> {
    if version == Version::V311 {
        return vec![0x20, 2, 0, 0];
    }
    // No session is kept: it expires with the connection.
    let mut properties = vec![17, 0, 0, 0, 0, 33];
    properties.extend(IN_FLIGHT_MAX.to_be_bytes());
    properties.push(39);
    properties.extend(u32::try_from(max_packet).unwrap_or(u32::MAX).to_be_bytes());
    properties.push(34);
    properties.extend(ALIASES_MAX.to_be_bytes());
    // Nothing can be subscribed to: neither with wildcards, nor with identifiers, nor shared.
    properties.extend([40, 0, 41, 0, 42, 0]);
    if let Some(name) = assigned {
        properties.push(18);
        properties.extend((name.len() as u16).to_be_bytes());
        properties.extend(name.bytes());
    }
    let mut packet = vec![0x20, 3 + properties.len() as u8, 0, 0, properties.len() as u8];
    packet.append(&mut properties);
    packet
}

/// Refuses; empty where the version has no word for it.
pub(crate) fn refuse(version: Version, refusal: Refusal) -> Vec<u8> {
    match (version, refusal.codes()) {
        (Version::V311, (None, _)) => Vec::new(),
        (Version::V311, (Some(code), _)) => vec![0x20, 2, 0, code],
        (Version::V5, (_, code)) => vec![0x20, 3, 0, code, 0],
    }
}

fn short(kind: u8, pkid: u16, out: &mut Vec<u8>) {
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[kind, 2, high, low]);
}

/// Durable. In MQTT 5 the short form means success.
pub(crate) fn puback(pkid: u16, out: &mut Vec<u8>) {
    short(0x40, pkid, out);
}

/// Durable, QoS 2.
pub(crate) fn pubrec(pkid: u16, out: &mut Vec<u8>) {
    short(0x50, pkid, out);
}

/// Not taken, MQTT 5 only: QoS 1 and 2 have different packets.
pub(crate) fn reject(qos: u8, pkid: u16, code: u8, out: &mut Vec<u8>) {
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[if qos == 1 { 0x40 } else { 0x50 }, 3, high, low, code]);
}

/// Done, QoS 2; MQTT 5 says when there was no such message.
pub(crate) fn pubcomp(version: Version, pkid: u16, known: bool, out: &mut Vec<u8>) {
    if known || version == Version::V311 {
        short(0x70, pkid, out);
    } else {
        let [high, low] = pkid.to_be_bytes();
        out.extend_from_slice(&[0x70, 3, high, low, 0x92]);
    }
}

/// Refuses every filter: nothing is handed out here.
pub(crate) fn suback(version: Version, pkid: u16, filters: &[Filter], out: &mut Vec<u8>) {
    let codes = filters.iter().map(|filter| match (version, filter) {
        (Version::V311, _) => 0x80,
        (Version::V5, Filter::Plain) => NOT_AUTHORISED,
        (Version::V5, Filter::Shared) => 0x9e,
        (Version::V5, Filter::Invalid) => 0x8f,
    });
    list(0x90, version, pkid, codes, out);
}

/// There was nothing to end.
pub(crate) fn unsuback(version: Version, pkid: u16, filters: usize, out: &mut Vec<u8>) {
    let count = if version == Version::V5 { filters } else { 0 };
    list(0xb0, version, pkid, std::iter::repeat_n(0x11, count), out);
}

/// At most [`FILTERS_MAX`] codes: the length is one byte.
fn list(kind: u8, version: Version, pkid: u16, codes: impl ExactSizeIterator<Item = u8>, out: &mut Vec<u8>) {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[kind, (2 + properties.len() + codes.len()) as u8, high, low]);
    out.extend_from_slice(properties);
    out.extend(codes);
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Goodbye from us, MQTT 5 only.
pub(crate) fn disconnect(code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 1, code]);
}

// The one-byte lengths above.
const _: () = assert!(
    FILTERS_MAX + 3 < 128 && FILTERS_MAX + 5 < ANSWER_MAX as usize && ANSWER_MAX < CONTROL_MAX as u32
);
