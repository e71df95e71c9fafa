//! The packets between a broker and us, in MQTT 3.1.1 and in MQTT 5: the one place of the consumer that knows of two
//! versions.
//!
//! CONNECT, SUBSCRIBE and the properties of CONNACK and DISCONNECT are rumqttc's codecs. PUBLISH is read here, because
//! an error of the codec (a topic that is no UTF-8, a property that it does not know) ends the connection before
//! anybody has seen the packet's number: a kept session would bring it back for ever. PUBACK, PINGREQ and DISCONNECT
//! are the same bytes in both versions.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};

use super::wire::WireError;

/// Texts of a broker are cut to so many characters before they are logged.
const TEXT_MAX: usize = 200;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

impl Version {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        }
    }

    /// The byte of CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V5 => 5,
        }
    }
}

/// What CONNECT says.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    /// The session's name.
    pub client_id: &'a str,
    /// User name and password.
    pub login: Option<(&'a str, &'a str)>,
    /// Forget what was kept under this name.
    pub clean: bool,
    /// MQTT 5: seconds that the session outlives the connection; 3.1.1 knows only for ever and not at all (`clean`).
    pub expiry_s: u32,
    /// Seconds without a packet after which the broker gives us up.
    pub keep_alive_s: u16,
    /// MQTT 5: messages that the broker may send before it has an acknowledgement.
    pub window: u16,
    /// MQTT 5: bytes of the longest packet that we may be sent at all.
    pub packet_max: u32,
}

/// What CONNACK says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that is spoken.
    pub version: Version,
    /// The broker has kept our session.
    pub session_present: bool,
    /// Seconds that the session is kept; as asked for where the broker says nothing.
    pub expiry_s: u32,
    /// Seconds between packets, at most.
    pub keep_alive_s: u16,
    /// The highest QoS that it grants.
    pub qos_max: u8,
    /// Publishes that we may have on the way to it; `None` where it does not say.
    pub receive_max: Option<u16>,
    /// Bytes of the longest packet that it takes from us; `None` where it does not say.
    pub packet_max: Option<u32>,
    /// It keeps retained messages.
    pub retains: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Topic; what is no UTF-8 in it is replaced, so that it fits no mapping and is quarantined.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Packet id; `None` at QoS 0.
    pub pkid: Option<u16>,
    /// The retain bit.
    pub retain: bool,
}

/// What a broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Answer to CONNECT, granted.
    Welcome(Welcome),
    /// A message.
    Publish(Publish),
    /// Answer to SUBSCRIBE: for each filter the QoS, or the code of its refusal (0x80 and above).
    Subscribed(Vec<u8>),
    /// Answer to UNSUBSCRIBE, whatever it says.
    Unsubscribed,
    /// Our own publish is taken (below 0x80) or refused.
    Acked(u16, u8),
    /// Answer to a ping.
    Pong,
    /// The broker ends the connection, and why.
    Bye(String),
}

/// Length of the whole packet at the beginning of these bytes; `None` while not even that is known.
///
/// # Errors
/// Longer than `packet_max`, or no packet: the connection has to end.
pub fn frame(bytes: &[u8], packet_max: usize) -> Result<Option<(usize, usize)>, WireError> {
    let mut rest = 0usize;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        rest |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if rest > packet_max {
                return Err(WireError::TooLarge(rest));
            }
            return Ok(Some((2 + place, 2 + place + rest)));
        }
    }
    if bytes.len() > 4 { Err(WireError::Malformed("a length of more than four bytes")) } else { Ok(None) }
}

/// Reads one whole packet; `header` is where its body begins.
///
/// # Errors
/// Nothing that a broker may send, or a refusal: the connection has to end.
pub fn read(version: Version, mut whole: BytesMut, header: usize) -> Result<Packet, WireError> {
    let first = whole.first().copied().unwrap_or(0);
    match first >> 4 {
        2 => read_connack(version, whole, header),
        3 => {
            let body = whole.split_off(header).freeze();
            read_publish(version, first, body)
        }
        4 => {
            let body = &whole[header..];
            let pkid = body.get(..2).ok_or(WireError::Malformed("PUBACK without a number"))?;
            let code = body.get(2).copied().unwrap_or(0);
            Ok(Packet::Acked(u16::from_be_bytes([pkid[0], pkid[1]]), code))
        }
        9 => read_suback(version, &whole[header..]),
        11 => Ok(Packet::Unsubscribed),
        13 => Ok(Packet::Pong),
        14 => Ok(Packet::Bye(read_disconnect(whole, header))),
        _ => Err(WireError::Malformed("a packet that no broker sends to a subscriber")),
    }
}

fn read_connack(version: Version, mut whole: BytesMut, header: usize) -> Result<Packet, WireError> {
    let body = &whole[header..];
    let (Some(flags), Some(code)) = (body.first().copied(), body.get(1).copied()) else {
        return Err(WireError::Malformed("CONNACK without a code"));
    };
    // A broker that knows no MQTT 5 answers in its own version: two bytes.
    if version == Version::V5 && body.len() == 2 {
        return Err(match code {
            0 | 1 => WireError::Version(version),
            code => WireError::Refused(refusal_of_v4(code)),
        });
    }
    match (version, code) {
        (_, 0) => {}
        (Version::V4, 1) | (Version::V5, 0x84) => return Err(WireError::Version(version)),
        (Version::V4, code) => return Err(WireError::Refused(refusal_of_v4(code))),
        (Version::V5, code) => {
            let said = match v5::Packet::read(&mut whole, None) {
                Ok(v5::Packet::ConnAck(ack)) => ack.properties.and_then(|said| said.reason_string),
                _ => None,
            };
            return Err(WireError::Refused(with_text(code, said.as_deref())));
        }
    }
    let mut welcome = Welcome {
        version,
        session_present: flags & 1 == 1,
        expiry_s: u32::MAX,
        keep_alive_s: u16::MAX,
        qos_max: 2,
        receive_max: None,
        packet_max: None,
        retains: true,
    };
    if version == Version::V5
        && let Ok(v5::Packet::ConnAck(ack)) = v5::Packet::read(&mut whole, None)
        && let Some(said) = ack.properties
    {
        welcome.expiry_s = said.session_expiry_interval.unwrap_or(u32::MAX);
        welcome.keep_alive_s = said.server_keep_alive.filter(|limit| *limit > 0).unwrap_or(u16::MAX);
        welcome.qos_max = said.max_qos.unwrap_or(2);
        welcome.receive_max = Some(said.receive_max.unwrap_or(u16::MAX));
        welcome.packet_max = said.max_packet_size;
        welcome.retains = said.retain_available != Some(0);
    }
    Ok(Packet::Welcome(welcome))
}

fn refusal_of_v4(code: u8) -> String {
    match code {
        2 => "it does not take our client id".to_owned(),
        3 => "it is not available now".to_owned(),
        4 => "wrong user name or password".to_owned(),
        5 => "not authorised: user name, password, or its access list".to_owned(),
        code => format!("code {code}"),
    }
}

fn read_publish(version: Version, first: u8, mut body: Bytes) -> Result<Packet, WireError> {
    const SHORT: WireError = WireError::Malformed("PUBLISH ends too early");
    if body.len() < 2 {
        return Err(SHORT);
    }
    let length = usize::from(body.get_u16());
    if body.len() < length {
        return Err(SHORT);
    }
    let topic = String::from_utf8_lossy(&body.split_to(length)).into_owned();
    let pkid = match (first >> 1) & 3 {
        0 => None,
        1 if body.len() >= 2 => Some(body.get_u16()),
        1 => return Err(SHORT),
        _ => return Err(WireError::Malformed("PUBLISH of a QoS that was not asked for")),
    };
    if version == Version::V5 {
        let skip = properties(&body)?;
        body.advance(skip);
    }
    Ok(Packet::Publish(Publish { topic, payload: body, pkid, retain: first & 1 == 1 }))
}

/// Bytes of the properties at the beginning of `body`, their length included. None of them is of use here.
fn properties(body: &[u8]) -> Result<usize, WireError> {
    let mut length = 0usize;
    for (place, byte) in body.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let whole = place + 1 + length;
            return if whole <= body.len() {
                Ok(whole)
            } else {
                Err(WireError::Malformed("properties end too early"))
            };
        }
    }
    Err(WireError::Malformed("properties without a length"))
}

fn read_suback(version: Version, body: &[u8]) -> Result<Packet, WireError> {
    let mut codes = body.get(2..).ok_or(WireError::Malformed("SUBACK without a number"))?;
    if version == Version::V5 {
        codes = &codes[properties(codes)?..];
    }
    Ok(Packet::Subscribed(codes.to_vec()))
}

fn read_disconnect(mut whole: BytesMut, header: usize) -> String {
    let code = whole.get(header).copied().unwrap_or(0);
    let said = match v5::Packet::read(&mut whole, None) {
        Ok(v5::Packet::Disconnect(goodbye)) => goodbye.properties.and_then(|said| said.reason_string),
        _ => None,
    };
    with_text(code, said.as_deref())
}

/// A code of MQTT 5 in words, and what the broker said beside it.
fn with_text(code: u8, said: Option<&str>) -> String {
    let word = reason(code);
    match said.filter(|said| !said.is_empty()) {
        None => word.to_owned(),
        Some(said) => {
            let said: String = said.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect();
            format!("{word} ({said:?})")
        }
    }
}

/// A reason code of MQTT 5 in words.
pub fn reason(code: u8) -> &'static str {
    match code {
        0..=2 => "without a complaint",
        0x10 => "nobody subscribes to it",
        0x81 => "a malformed packet",
        0x82 => "an error of the protocol",
        0x84 => "it does not speak this version",
        0x85 => "it does not take our client id",
        0x86 => "wrong user name or password",
        0x87 => "not authorised: user name, password, or its access list",
        0x88 => "it is not available now",
        0x89 => "it is busy",
        0x8a => "we are banned",
        0x8b => "it shuts down",
        0x8d => "it heard nothing of us for too long",
        0x8e => "another connection took our client id: two instances with one client_id?",
        0x8f => "it does not take this topic filter",
        0x93 => "more messages were under way than agreed",
        0x95 => "the packet is too large for it",
        0x96 => "too many messages a second",
        0x97 => "a quota is used up",
        0x98 => "its operator ended the connection",
        0x9a => "it keeps no retained messages",
        0x9b => "it does not grant this QoS",
        0x9c | 0x9d => "it names another server: mend url",
        0x9e => "it knows no shared subscriptions",
        0x9f => "too many connections a second",
        0xa0 => "the connection has lasted as long as it may",
        0xa2 => "it knows no wildcards in filters",
        0x80.. => "no reason given",
        _ => "a code that nobody knows",
    }
}

/// CONNECT.
pub fn connect(version: Version, hello: &Hello<'_>, out: &mut BytesMut) -> Result<(), WireError> {
    const TOO_LONG: WireError = WireError::Malformed("our own CONNECT is too long");
    match version {
        Version::V4 => {
            let mut connect = v4::Connect::new(hello.client_id);
            (connect.keep_alive, connect.clean_session) = (hello.keep_alive_s, hello.clean);
            if let Some((user, password)) = hello.login {
                connect.set_login(user, password);
            }
            connect.write(out).map_err(|_| TOO_LONG)?;
        }
        Version::V5 => {
            let mut properties = v5::ConnectProperties::new();
            properties.session_expiry_interval = (!hello.clean).then_some(hello.expiry_s);
            properties.receive_maximum = Some(hello.window);
            properties.max_packet_size = Some(hello.packet_max);
            let connect = v5::Connect {
                keep_alive: hello.keep_alive_s,
                client_id: hello.client_id.to_owned(),
                clean_start: hello.clean,
                properties: Some(properties),
            };
            let login = hello.login.map(|(user, password)| v5::Login::new(user, password));
            connect.write(&None, &login, out).map_err(|_| TOO_LONG)?;
        }
    }
    Ok(())
}

/// SUBSCRIBE with packet id 1: there is one at a time.
pub fn subscribe(version: Version, filters: &[String], qos: u8, out: &mut BytesMut) -> Result<(), WireError> {
    const TOO_LONG: WireError =
        WireError::Malformed("our own SUBSCRIBE is too long: fewer or shorter mappings");
    let written = match version {
        Version::V4 => {
            let qos = mqttbytes::qos(qos).map_err(|_| TOO_LONG)?;
            let filters = filters.iter().map(|filter| v4::SubscribeFilter::new(filter.clone(), qos));
            let subscribe = v4::Subscribe { pkid: 1, filters: filters.collect() };
            subscribe.write(out).is_ok()
        }
        Version::V5 => {
            let qos = mqttbytes5::qos(qos).ok_or(TOO_LONG)?;
            let filters = filters.iter().map(|filter| v5::Filter::new(filter.clone(), qos));
            let subscribe = v5::Subscribe { pkid: 1, filters: filters.collect(), properties: None };
            subscribe.write(out).is_ok()
        }
    };
    if written { Ok(()) } else { Err(TOO_LONG) }
}

/// UNSUBSCRIBE with packet id 2.
pub fn unsubscribe(version: Version, filters: &[String], out: &mut BytesMut) -> Result<(), WireError> {
    let filters = filters.to_vec();
    let taken = match version {
        Version::V4 => v4::Unsubscribe { pkid: 2, topics: filters }.write(out).is_ok(),
        Version::V5 => v5::Unsubscribe { pkid: 2, filters, properties: None }.write(out).is_ok(),
    };
    if taken { Ok(()) } else { Err(WireError::Malformed("our own UNSUBSCRIBE is too long")) }
}

/// PUBLISH with QoS 1, for trials.
pub fn publish(
    version: Version,
    topic: &str,
    payload: &[u8],
    pkid: u16,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let mut publish = v4::Publish::new(topic, mqttbytes::QoS::AtLeastOnce, payload);
    publish.pkid = pkid;
    let taken = match version {
        Version::V4 => publish.write(out).is_ok(),
        Version::V5 => {
            let mut publish = v5::Publish::new(topic, mqttbytes5::QoS::AtLeastOnce, payload.to_vec(), None);
            publish.pkid = pkid;
            publish.write(out).is_ok()
        }
    };
    if taken { Ok(()) } else { Err(WireError::Malformed("our own PUBLISH is too long")) }
}

/// PUBACK, without a complaint: the same bytes in both versions.
pub fn puback(pkid: u16, out: &mut BytesMut) {
    let [high, low] = pkid.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// PINGREQ.
pub const PING: [u8; 2] = [0xc0, 0];
/// DISCONNECT: the session stays.
pub const GOODBYE: [u8; 2] = [0xe0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> (BytesMut, usize) {
        let (header, end) = frame(bytes, 1 << 20).unwrap().unwrap();
        assert_eq!(end, bytes.len());
        (BytesMut::from(bytes), header)
    }

    fn packet(version: Version, bytes: &[u8]) -> Result<Packet, WireError> {
        let (bytes, header) = whole(bytes);
        read(version, bytes, header)
    }

    #[test]
    fn a_topic_that_is_no_text_and_unknown_properties_cost_no_connection() {
        // Topic "a\xffb", packet id 7, one property that nobody knows, payload "hi".
        let bytes = [0x33, 12, 0, 3, b'a', 0xff, b'b', 0, 7, 2, 0x7e, 9, b'h', b'i'];
        let Ok(Packet::Publish(publish)) = packet(Version::V5, &bytes) else { panic!("no PUBLISH") };
        assert_eq!(publish.topic, "a\u{fffd}b");
        assert_eq!((&publish.payload[..], publish.pkid, publish.retain), (&b"hi"[..], Some(7), true));
    }

    #[test]
    fn every_cut_of_every_packet_is_waited_for_or_refused_and_never_panics() {
        let packets: [&[u8]; 7] = [
            &[0x20, 2, 1, 0],
            &[0x20, 6, 0, 0, 3, 33, 0, 10],
            &[0x32, 9, 0, 1, b'a', 0, 1, 0, b'x', b'y', b'z'],
            &[0x90, 5, 0, 1, 0, 1, 0x87],
            &[0x40, 4, 0, 1, 0x87, 0],
            &[0xd0, 0],
            &[0xe0, 8, 0x8e, 6, 31, 0, 3, b'b', b'y', b'e'],
        ];
        for bytes in packets {
            for version in [Version::V4, Version::V5] {
                for place in 0..bytes.len() {
                    for value in 0..=255 {
                        let mut bytes = bytes.to_vec();
                        bytes[place] = value;
                        if let Ok(Some((header, end))) = frame(&bytes, 1 << 20)
                            && end <= bytes.len()
                        {
                            let _ = read(version, BytesMut::from(&bytes[..end]), header);
                        }
                        let short = &bytes[..place];
                        let _ = frame(short, 1 << 20);
                    }
                }
            }
        }
    }

    #[test]
    fn a_broker_that_knows_no_mqtt_5_is_told_from_one_that_refuses_us() {
        for bytes in [&[0x20, 2, 0, 1][..], &[0x20, 3, 0, 0x84, 0]] {
            assert!(matches!(packet(Version::V5, bytes), Err(WireError::Version(Version::V5))), "{bytes:?}");
        }
        for (version, bytes) in [
            (Version::V4, &[0x20, 2, 0, 4][..]),
            (Version::V5, &[0x20, 2, 0, 4]),
            (Version::V5, &[0x20, 9, 0, 0x86, 6, 31, 0, 3, b'b', b'a', b'd']),
        ] {
            let Err(WireError::Refused(why)) = packet(version, bytes) else { panic!("{bytes:?}") };
            assert!(why.starts_with("wrong user name or password"), "{why}");
        }
    }

    #[test]
    fn what_a_broker_grants_is_read_from_its_answer() {
        let bytes = [0x20, 16, 1, 0, 13, 17, 0, 0, 0, 60, 33, 0, 10, 36, 1, 19, 0, 30];
        let Ok(Packet::Welcome(welcome)) = packet(Version::V5, &bytes) else { panic!("no CONNACK") };
        assert_eq!((welcome.session_present, welcome.expiry_s, welcome.receive_max), (true, 60, Some(10)));
        assert_eq!((welcome.qos_max, welcome.keep_alive_s), (1, 30));
    }

    #[test]
    fn a_length_over_the_limit_is_told_before_anything_is_held() {
        assert!(matches!(frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], 100), Err(WireError::TooLarge(268_435_455))));
        assert!(matches!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff], 100), Err(WireError::Malformed(_))));
        assert!(matches!(frame(&[0x30, 0xff], 100), Ok(None)));
    }

    #[test]
    fn connect_names_window_and_expiry_in_mqtt_5_alone() {
        let hello = Hello {
            client_id: "c",
            login: Some(("u", "p")),
            clean: false,
            expiry_s: 7,
            keep_alive_s: 20,
            window: 4096,
            packet_max: 9,
        };
        let mut out = BytesMut::new();
        connect(Version::V5, &hello, &mut out).unwrap();
        let Ok(v5::Packet::Connect(connected, None, Some(login))) = v5::Packet::read(&mut out, None) else {
            panic!("no CONNECT")
        };
        let said = connected.properties.unwrap();
        assert_eq!((said.session_expiry_interval, said.receive_maximum), (Some(7), Some(4096)));
        assert_eq!((said.max_packet_size, login.username.as_str()), (Some(9), "u"));
        let mut out = BytesMut::new();
        connect(Version::V4, &hello, &mut out).unwrap();
        assert_eq!((out[8], out[9]), (4, 0b1100_0000));
    }
}
