//! MQTT 5 from sensors: the bodies of whole packets.
//!
//! Own code, because no kept codec is both strict and bounded: rumqttc's refuses the ordinary DISCONNECT of two bytes,
//! takes a reason without properties for half a packet and throws it away, reads properties beyond their length into
//! the payload, and makes 50 bytes of memory out of each user property of five; the others bring twenty crates.
//!
//! 1. Nothing is read beyond its length; what is left over at the end is a fault.
//! 2. Properties are walked, not collected: user properties, content types and the like are checked and left where they
//!    are. Only those with a meaning here are kept.
//! 3. A body is whole when it comes here: nothing waits for more.

use bytes::{Buf, Bytes};
use lampguard_model::wire;

use super::packet::{CONTROL_MAX, Connect, Filter, Packet, PacketError, Publish, Version, is_topic};

type Result<T> = std::result::Result<T, PacketError>;

const SHORT: PacketError = PacketError::Malformed("ends too early");

/// Properties by their numbers, as bits.
const fn set(numbers: &[u8]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < numbers.len() {
        bits |= 1 << numbers[at];
        at += 1;
    }
    bits
}

const OF_CONNECT: u64 = set(&[17, 21, 22, 23, 25, 33, 34, 38, 39]);
const OF_WILL: u64 = set(&[1, 2, 3, 8, 9, 24, 38]);
const OF_PUBLISH: u64 = set(&[1, 2, 3, 8, 9, 35, 38]);
const OF_PUBREL: u64 = set(&[31, 38]);
const OF_SUBSCRIBE: u64 = set(&[11, 38]);
const OF_UNSUBSCRIBE: u64 = set(&[38]);
const OF_DISCONNECT: u64 = set(&[17, 31, 38]);
/// The one that may come more than once.
const USER_PROPERTY: u8 = 38;

/// Properties that mean something here.
#[derive(Debug, Default)]
struct Properties {
    alias: Option<u16>,
    max_packet: Option<u32>,
    steps: bool,
}

/// Reads a body under its first byte.
pub(super) fn read(first: u8, body: Bytes) -> Result<Packet> {
    let mut fields = Fields(body);
    let packet = match first {
        0x10 => Packet::Connect(Box::new(connect(&mut fields)?)),
        0x30..=0x3f => return publish(first, fields).map(Packet::Publish),
        0x62 => Packet::PubRel(release(&mut fields)?),
        0x82 => subscribe(&mut fields)?,
        0xa2 => unsubscribe(&mut fields)?,
        0xc0 => Packet::Ping,
        0xe0 => disconnect(&mut fields)?,
        0x40 | 0x50 | 0x70 => return Err(PacketError::Protocol("an acknowledgement of nothing")),
        0xf0 => return Err(PacketError::Protocol("a login of several steps")),
        0x20 | 0x90 | 0xb0 | 0xd0 => return Err(PacketError::Protocol("a packet that only a server sends")),
        _ => return Err(PacketError::Malformed("first byte")),
    };
    if fields.0.has_remaining() { Err(PacketError::Malformed("bytes behind the end")) } else { Ok(packet) }
}

fn connect(fields: &mut Fields) -> Result<Connect> {
    if fields.binary()?.as_ref() != b"MQTT" || fields.byte()? != 5 {
        return Err(PacketError::Malformed("protocol name"));
    }
    let flags = fields.byte()?;
    let (has_will, will_qos, will_retain) = (flags & 4 != 0, flags >> 3 & 3, flags & 0x20 != 0);
    if flags & 1 != 0 || will_qos == 3 || !has_will && (will_qos != 0 || will_retain) {
        return Err(PacketError::Malformed("connect flags"));
    }
    let keep_alive_s = fields.word()?;
    let properties = fields.properties(OF_CONNECT)?;
    let client_id = fields.text()?;
    let will = if has_will {
        fields.properties(OF_WILL)?;
        let topic = fields.text()?;
        if !is_topic(&topic) {
            return Err(PacketError::Topic);
        }
        // Copied: it is kept as long as the connection, and would keep the buffer that it came in.
        Some((topic, Bytes::copy_from_slice(&fields.binary()?)))
    } else {
        None
    };
    let user = if flags & 0x80 != 0 { Some(fields.text()?) } else { None };
    let password = if flags & 0x40 != 0 { fields.binary()?.to_vec() } else { Vec::new() };
    Ok(Connect {
        version: Version::V5,
        client_id,
        clean: flags & 2 != 0,
        keep_alive_s,
        login: user.map(|user| (user, password)),
        will,
        steps: properties.steps,
        max_packet: properties.max_packet,
    })
}

fn publish(first: u8, mut fields: Fields) -> Result<Publish> {
    let (qos, retain) = (first >> 1 & 3, first & 1 != 0);
    if qos == 3 {
        return Err(PacketError::Malformed("QoS 3"));
    }
    let topic = fields.text()?;
    let pkid = if qos == 0 { 0 } else { fields.pkid()? };
    let alias = fields.properties(OF_PUBLISH)?.alias;
    if topic.is_empty() && alias.is_none() || !topic.is_empty() && !is_topic(&topic) {
        return Err(PacketError::Topic);
    }
    Ok(Publish { topic, alias, payload: fields.0, qos, pkid, retain })
}

fn release(fields: &mut Fields) -> Result<u16> {
    let pkid = fields.pkid()?;
    if fields.0.has_remaining() {
        fields.byte()?;
    }
    if fields.0.has_remaining() {
        fields.properties(OF_PUBREL)?;
    }
    Ok(pkid)
}

fn subscribe(fields: &mut Fields) -> Result<Packet> {
    let pkid = fields.pkid()?;
    fields.properties(OF_SUBSCRIBE)?;
    let mut filters = Vec::new();
    while fields.0.has_remaining() {
        let filter = fields.text()?;
        let options = fields.byte()?;
        if options & 0xc0 != 0 {
            return Err(PacketError::Malformed("subscription options"));
        }
        if options & 3 == 3 || options >> 4 & 3 == 3 {
            return Err(PacketError::Protocol("subscription options"));
        }
        filters.push(match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some(_) => Filter::Shared,
            None if wire::is_filter(&filter) => Filter::Plain,
            None => Filter::Invalid,
        });
    }
    if filters.is_empty() {
        Err(PacketError::Protocol("no filter"))
    } else {
        Ok(Packet::Subscribe { pkid, filters })
    }
}

fn unsubscribe(fields: &mut Fields) -> Result<Packet> {
    let pkid = fields.pkid()?;
    fields.properties(OF_UNSUBSCRIBE)?;
    let mut filters = 0;
    while fields.0.has_remaining() {
        fields.text()?;
        filters += 1;
    }
    if filters == 0 {
        Err(PacketError::Protocol("no filter"))
    } else {
        Ok(Packet::Unsubscribe { pkid, filters })
    }
}

/// Both the reason and the properties may be left out.
fn disconnect(fields: &mut Fields) -> Result<Packet> {
    let reason = if fields.0.has_remaining() { fields.byte()? } else { 0 };
    if fields.0.has_remaining() {
        fields.properties(OF_DISCONNECT)?;
    }
    Ok(Packet::Disconnect { will: reason != 0 })
}

/// What is left of a body.
struct Fields(Bytes);

impl Fields {
    fn byte(&mut self) -> Result<u8> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    fn word(&mut self) -> Result<u16> {
        self.0.try_get_u16().map_err(|_| SHORT)
    }

    fn long(&mut self) -> Result<u32> {
        self.0.try_get_u32().map_err(|_| SHORT)
    }

    fn pkid(&mut self) -> Result<u16> {
        match self.word()? {
            0 => Err(PacketError::Protocol("packet id 0")),
            pkid => Ok(pkid),
        }
    }

    /// A number of one to four bytes.
    fn number(&mut self) -> Result<usize> {
        let mut number = 0;
        for place in 0..4 {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(PacketError::Malformed("a number of more than four bytes"))
    }

    fn take(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.remaining() { Err(SHORT) } else { Ok(self.0.split_to(length)) }
    }

    fn binary(&mut self) -> Result<Bytes> {
        let length = usize::from(self.word()?);
        self.take(length)
    }

    fn text(&mut self) -> Result<String> {
        let bytes = self.binary()?;
        check_text(&bytes).map(str::to_owned)
    }

    fn skip_text(&mut self) -> Result<()> {
        let bytes = self.binary()?;
        check_text(&bytes).map(|_| ())
    }

    /// Walks the properties of one packet.
    fn properties(&mut self, allowed: u64) -> Result<Properties> {
        let length = self.number()?;
        if length > CONTROL_MAX {
            return Err(PacketError::TooLong(length));
        }
        let mut inside = Self(self.take(length)?);
        let (mut found, mut seen) = (Properties::default(), 0u64);
        while inside.0.has_remaining() {
            let number = inside.byte()?;
            let bit = 1u64.checked_shl(u32::from(number)).unwrap_or(0);
            if allowed & bit == 0 {
                return Err(PacketError::Malformed("a property that does not belong here"));
            }
            if number != USER_PROPERTY && seen & bit != 0 {
                return Err(PacketError::Protocol("a property twice"));
            }
            seen |= bit;
            inside.property(number, &mut found)?;
        }
        if seen & set(&[21, 22]) == set(&[22]) {
            return Err(PacketError::Protocol("authentication data without a method"));
        }
        Ok(found)
    }

    fn property(&mut self, number: u8, found: &mut Properties) -> Result<()> {
        match number {
            1 | 23 | 25 if self.byte()? > 1 => return Err(PacketError::Protocol("neither 0 nor 1")),
            1 | 23 | 25 => {}
            2 | 17 | 24 => drop(self.long()?),
            3 | 8 | 31 => self.skip_text()?,
            9 | 22 => drop(self.binary()?),
            11 if self.number()? == 0 => return Err(PacketError::Protocol("subscription identifier 0")),
            11 => {}
            21 => {
                self.skip_text()?;
                found.steps = true;
            }
            33 if self.word()? == 0 => return Err(PacketError::Protocol("receive maximum 0")),
            33 => {}
            34 => drop(self.word()?),
            35 => match self.word()? {
                0 => return Err(PacketError::Alias),
                alias => found.alias = Some(alias),
            },
            USER_PROPERTY => {
                self.skip_text()?;
                self.skip_text()?;
            }
            39 => match self.long()? {
                0 => return Err(PacketError::Protocol("maximum packet size 0")),
                bytes => found.max_packet = Some(bytes),
            },
            _ => return Err(PacketError::Malformed("a property that does not belong here")),
        }
        Ok(())
    }
}

fn check_text(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(PacketError::Malformed("a text that is not UTF-8")),
    }
}
