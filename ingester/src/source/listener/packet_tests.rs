use rumqttc::v5::mqttbytes::v5 as other;

use super::*;

/// Mutated packets that are read in each version; `LAMPGUARD_FUZZ` asks for more.
const EXECUTIONS: u64 = 200_000;
const MAX: usize = 64 * 1024;

fn text(word: &str) -> Vec<u8> {
    [&(word.len() as u16).to_be_bytes()[..], word.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128 * 128);
    let length = body.len();
    let head = if length < 128 { vec![length as u8] } else { vec![length as u8 | 0x80, (length >> 7) as u8] };
    [&[first][..], &head, body].concat()
}

/// One of each that a sensor sends, in the body that both versions share, with `properties` where MQTT 5 has them.
fn specimens(version: Version) -> Vec<Vec<u8>> {
    let (level, none, some): (u8, &[u8], &[u8]) = match version {
        Version::V311 => (4, &[], &[]),
        Version::V5 => (5, &[0], &[9, 38, 0, 1, b'k', 0, 3, b'v', b'a', b'l']),
    };
    let connect = |flags: u8, properties: &[u8], rest: &[&str]| {
        let rest: Vec<u8> = rest.iter().flat_map(|word| text(word)).collect();
        packet(0x10, &[&text("MQTT")[..], &[level, flags, 0, 60], properties, &rest].concat())
    };
    let publish = |first: u8, pkid: &[u8], properties: &[u8]| {
        packet(first, &[&text("lamp/z1/P001/reading")[..], pkid, properties, b"{\"leakage_ma\":1}"].concat())
    };
    let will =
        [&connect(6, none, &["P001"])[2..], none, &text("lamp/z1/P001/status"), &text("offline")].concat();
    let mut all = vec![
        connect(2, none, &["P001"]),
        connect(0xc2, some, &["P001", "user", "password"]),
        packet(0x10, &will),
        publish(0x30, &[], none),
        publish(0x31, &[], some),
        publish(0x32, &[0, 7], none),
        publish(0x3c, &[1, 0], some),
        packet(0x62, &[0, 7]),
        packet(0x82, &[&[0, 9], none, &text("lamp/+/+/reading"), &[1], &text("#"), &[0]].concat()),
        packet(0xa2, &[&[0, 9], none, &text("#")].concat()),
        vec![0xc0, 0],
        vec![0xe0, 0],
    ];
    if version == Version::V5 {
        all.extend([
            connect(2, &[11, 17, 0, 0, 0, 9, 33, 0, 20, 34, 0, 5], &[""]),
            publish(0x32, &[0, 8], &[3, 35, 0, 2]),
            publish(0x30, &[], &[12, 1, 1, 2, 0, 0, 0, 9, 3, 0, 2, b'c', b't']),
            packet(0x62, &[0, 7, 0x92, 0]),
            vec![0xe0, 1, 4],
            packet(0xe0, &[0, 5, 17, 0, 0, 0, 0]),
        ]);
    }
    all
}

fn read_all(bytes: &[u8], version: Version) -> Result<Option<Packet>, PacketError> {
    read(&mut BytesMut::from(bytes), version, MAX)
}

#[test]
fn every_packet_that_a_sensor_sends_is_read_in_both_versions() {
    for version in [Version::V311, Version::V5] {
        for bytes in specimens(version) {
            let mut buffer = BytesMut::from(&[&bytes[..], b"next"].concat()[..]);
            let packet = read(&mut buffer, version, MAX);
            assert!(matches!(packet, Ok(Some(_))), "{version:?} {bytes:02x?}: {packet:?}");
            assert_eq!(&buffer[..], b"next", "{version:?} {bytes:02x?}");
            for length in 0..bytes.len() {
                let part = read_all(&bytes[..length], version);
                assert!(matches!(part, Ok(None)), "{version:?} {length} of {bytes:02x?}: {part:?}");
            }
        }
    }
}

#[test]
fn the_short_forms_of_mqtt_5_are_whole_packets() {
    let goodbye = |bytes: &[u8]| match read_all(bytes, Version::V5) {
        Ok(Some(Packet::Disconnect { will })) => will,
        other => panic!("{bytes:02x?}: {other:?}"),
    };
    assert!(!goodbye(&[0xe0, 0]) && !goodbye(&[0xe0, 1, 0]) && !goodbye(&[0xe0, 2, 0, 0]));
    assert!(goodbye(&[0xe0, 1, 4]), "with its will");
    for release in [&[0x62, 2, 1, 2][..], &[0x62, 3, 1, 2, 0], &[0x62, 4, 1, 2, 0, 0]] {
        assert!(matches!(read_all(release, Version::V5), Ok(Some(Packet::PubRel(0x102)))), "{release:02x?}");
    }
}

#[test]
fn properties_stay_within_their_length_come_once_and_belong_to_their_packet() {
    let publish = |properties: &[u8]| {
        read_all(&packet(0x30, &[&text("a")[..], properties, b"{}"].concat()), Version::V5)
    };
    let Ok(Some(Packet::Publish(taken))) = publish(&[3, 35, 0, 9]) else { panic!("an alias") };
    assert_eq!((taken.alias, &taken.payload[..]), (Some(9), &b"{}"[..]));
    let malformed: [&[u8]; 6] = [
        &[1, 35],                  // cut
        &[2, 3, 0],                // a text that would go on in the payload
        &[5, 17, 0, 0, 0, 1],      // belongs to CONNECT
        &[2, 99, 0],               // unknown
        &[200, 1],                 // longer than the packet
        &[5, 3, 0, 2, 0xff, 0xfe], // not UTF-8
    ];
    for properties in malformed {
        let read = publish(properties);
        assert!(matches!(read, Err(PacketError::Malformed(_))), "{properties:02x?}: {read:?}");
    }
    assert!(matches!(publish(&[6, 35, 0, 1, 35, 0, 2]), Err(PacketError::Protocol("a property twice"))));
    assert!(matches!(publish(&[2, 1, 2]), Err(PacketError::Protocol("neither 0 nor 1"))));
    assert!(matches!(publish(&[3, 35, 0, 0]), Err(PacketError::Alias)));
    let many = [&[0xff, 0xff, 1][..], &[38, 0, 0, 0, 0].repeat(6553), &[38, 0, 0]].concat();
    let mut long = vec![0x30, 0x87, 0x80, 2];
    long.extend([&text("a")[..], &many, &[0; 8]].concat());
    assert!(matches!(read_all(&long, Version::V5), Err(PacketError::TooLong(32767))));
}

#[test]
fn lengths_are_refused_before_the_rest_is_waited_for() {
    for version in [Version::V311, Version::V5] {
        // Five bytes that promise 256 MiB, and a SUBSCRIBE of 17 KiB.
        assert!(matches!(
            read_all(&[0x30, 0xff, 0xff, 0xff, 0x7f], version),
            Err(PacketError::TooLong(268_435_455))
        ));
        assert!(matches!(read_all(&[0x82, 0x80, 0x88, 1], version), Err(PacketError::TooLong(17_408))));
        assert!(matches!(
            read_all(&[0x30, 0x80, 0x80, 0x80, 0x80], version),
            Err(PacketError::Malformed("length"))
        ));
    }
    let early = [&[0x10, 0x80, 0x80, 0x10][..], &text("MQTT"), &[5]].concat();
    let refused = read_connect(&mut BytesMut::from(&early[..]));
    assert!(matches!(refused, Err((Some(Version::V5), PacketError::TooLong(_)))), "{refused:?}");
}

/// Small, and the same everywhere for one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    /// Changes a packet in one to four ways.
    fn mutate(&mut self, bytes: &mut Vec<u8>, all: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(8) {
                _ if bytes.is_empty() => bytes.push(self.roll() as u8),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.roll() as u8,
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => drop(bytes.remove(at)),
                4 => bytes.insert(at, self.roll() as u8),
                5 => bytes.truncate(at),
                6 => bytes.extend_from_slice(&all[self.below(all.len())]),
                // The length still fits, the rest is rubbish.
                _ => bytes.iter_mut().skip(2 + at).for_each(|byte| *byte = self.roll() as u8),
            }
        }
    }
}

/// Number from the environment.
fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_comes_is_read_or_refused_and_never_waits_for_what_is_there() {
    let (seed, executions) = (asked("LAMPGUARD_SEED", 6), asked("LAMPGUARD_FUZZ", EXECUTIONS));
    for version in [Version::V311, Version::V5] {
        let all = specimens(version);
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (mut read_in, mut refused, mut compared) = (0u64, 0u64, 0u64);
        for execution in 0..executions {
            let mut bytes = all[dice.below(all.len())].clone();
            dice.mutate(&mut bytes, &all);
            let case = format!("seed {seed} execution {execution} {version:?}: {bytes:02x?}");
            let _ = read_connect(&mut BytesMut::from(&bytes[..]));
            let mut buffer = BytesMut::from(&bytes[..]);
            loop {
                let before = buffer.clone();
                match read(&mut buffer, version, MAX) {
                    Ok(Some(packet)) => {
                        read_in += 1;
                        check(&packet, before.len() - buffer.len(), &case);
                        if version == Version::V5 {
                            compared += u64::from(agrees(&packet, before, &case));
                        }
                    }
                    Ok(None) => {
                        let frame = Frame::of(&buffer).unwrap();
                        let whole = frame.is_some_and(|frame| frame.head + frame.body <= buffer.len());
                        assert!(!whole, "waits for a packet that is there: {case}");
                        break;
                    }
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
        println!(
            "{version:?}: seed {seed}, {executions} mutated inputs, {read_in} packets read, {refused} refused, \
             {compared} compared with another codec"
        );
        assert!(read_in > executions / 10 && refused > executions / 10, "the inputs show nothing");
    }
}

/// What was read is no larger than what it was read from.
fn check(packet: &Packet, length: usize, case: &str) {
    let kept = match packet {
        Packet::Publish(publish) => publish.topic.len() + publish.payload.len(),
        Packet::Subscribe { filters, .. } => filters.len(),
        Packet::Unsubscribe { filters, .. } => *filters,
        Packet::Connect(connect) => {
            let login = connect.login.as_ref().map_or(0, |(user, password)| user.len() + password.len());
            let will = connect.will.as_ref().map_or(0, |(topic, payload)| topic.len() + payload.len());
            connect.client_id.len() + login + will
        }
        _ => 0,
    };
    assert!(kept < length, "{kept} bytes out of {length}: {case}");
}

/// rumqttc's codec reads the same message, where it is a message: it is laxer than ours, and must not see another one.
fn agrees(packet: &Packet, mut bytes: BytesMut, case: &str) -> bool {
    let Packet::Publish(ours) = packet else {
        return false;
    };
    let Ok(other::Packet::Publish(theirs)) = other::Packet::read(&mut bytes, None) else {
        panic!("another codec reads no message: {case}");
    };
    let (theirs, ours) = (
        (&theirs.topic[..], &theirs.payload[..], theirs.pkid, theirs.qos as u8, theirs.retain),
        (ours.topic.as_bytes(), &ours.payload[..], ours.pkid, ours.qos, ours.retain),
    );
    assert_eq!(ours, theirs, "{case}");
    true
}
