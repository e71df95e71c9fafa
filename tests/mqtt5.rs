//! MQTT 5 at the built-in listener: reasons, properties, aliases. What both versions share stands in `listener.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::mqtt::{Hello, Mqtt, Packet, packet, publish_five};
use common::{Ending, Site, reading, seconds, wait_until};
use sha2::{Digest, Sha256};

const TOPIC: &str = "lamp/z1/P001/reading";

fn five(port: u16, client_id: &str) -> Mqtt {
    let mut client = Mqtt::silent(port);
    assert_eq!(client.greet(&Hello::five(client_id)), Ok(0), "CONNECT of {client_id}");
    client
}

/// Properties of a CONNACK by their numbers.
fn properties(packet: &Packet) -> BTreeMap<u8, Vec<u8>> {
    assert_eq!(usize::from(packet.body[2]), packet.body.len() - 3, "{packet:?}");
    let (mut rest, mut found) = (&packet.body[3..], BTreeMap::new());
    while let Some((&number, value)) = rest.split_first() {
        let length = match number {
            40..=42 => 1,
            33 | 34 => 2,
            17 | 39 => 4,
            18 => 2 + usize::from(value[1]),
            other => panic!("property {other} in {packet:?}"),
        };
        assert!(found.insert(number, value[..length].to_vec()).is_none(), "{number} twice");
        rest = &value[length..];
    }
    found
}

fn sha256(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn connack_says_what_holds_no_session_window_packet_size_aliases_and_the_name_it_gave() {
    let site = Site::new().with_listener("max_packet_bytes = 65536");
    let _lampguard = site.start();
    let mut client = Mqtt::silent(site.listener);
    // It asks for a session of an hour, 20 in flight, 5 aliases, and brings a user property.
    let asks = [&[17, 0, 0, 14, 16, 33, 0, 20, 34, 0, 5][..], &[38, 0, 1, b'k', 0, 1, b'v']].concat();
    client.send(&Hello { properties: &asks, ..Hello::five("") }.bytes());
    let answer = client.next(seconds(5)).unwrap();
    assert_eq!((answer.first, &answer.body[..2]), (0x20, &[0, 0][..]), "no session is present, and welcome");
    let told = properties(&answer);
    assert_eq!(told[&17], [0; 4], "the session ends with the connection");
    assert_eq!(told[&33], 16_384u16.to_be_bytes(), "receive maximum");
    assert_eq!(told[&39], 65_536u32.to_be_bytes(), "maximum packet size");
    assert_eq!(told[&34], 64u16.to_be_bytes(), "topic alias maximum");
    assert_eq!(
        (&told[&40], &told[&41], &told[&42]),
        (&vec![0], &vec![0], &vec![0]),
        "nothing to subscribe to"
    );
    assert!(told[&18][2..].starts_with(b"anonymous-"), "{told:?}");

    let mut named = Mqtt::silent(site.listener);
    named.send(&Hello::five("P001").bytes());
    assert!(!properties(&named.next(seconds(5)).unwrap()).contains_key(&18), "it has a name of its own");
}

#[test]
fn whoever_may_not_connect_hears_the_reason() {
    let site = Site::new().with_listener("credentials_file = \"sensors.txt\"");
    site.write("sensors.txt", &format!("P001:{}\n", sha256("token-1")));
    let lampguard = site.start();
    let long = "x".repeat(300);
    let hello =
        |client_id, properties| Hello { properties, ..Hello::five(client_id).login("P001", "token-1") };
    let cases = [
        (Hello::five("P001").login("P001", "wrong"), 0x86, "a wrong password"),
        (Hello::five("P001"), 0x86, "no login"),
        (hello(&long, &[]), 0x85, "a client id of 300 bytes"),
        (hello("P001", &[39, 0, 0, 0, 100]), 0x95, "takes no packet of 128 bytes"),
        (hello("P001", &[21, 0, 1, b'x']), 0x8c, "a login of several steps"),
        (hello("P001", &[35, 0, 1]), 0x81, "a property of PUBLISH"),
        (hello("P001", &[33, 0, 0]), 0x82, "a receive maximum of 0"),
        (hello("P001", &[]), 0, "all is right"),
    ];
    for (hello, code, case) in cases {
        let mut client = Mqtt::silent(site.listener);
        assert_eq!(client.greet(&hello), Ok(code), "{case}");
        assert_eq!(client.is_closed_within(seconds(1)), code != 0, "{case}");
    }
    let mut large = Mqtt::silent(site.listener);
    let beginning = [&[0x10, 0x80, 0x80, 2, 0, 4][..], b"MQTT", &[5, 2, 0, 60, 0]].concat();
    large.send(&beginning);
    assert_eq!(large.next(seconds(5)).unwrap().body, [0, 0x95, 0], "a CONNECT of 32 KiB");
    let refused =
        |reason: &str| lampguard.metric(&format!("lampguard_listener_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("login"), refused("client_id"), refused("packet_too_long")), (3.0, 1.0, 2.0));
    assert_eq!(refused("malformed"), 2.0);
}

#[test]
fn qos_0_1_and_2_are_acknowledged_after_the_disk_and_a_refused_payload_too() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = five(site.listener, "P001");
    sensor.send(&publish_five(TOPIC, reading(1, 1, 1.0).as_bytes(), 0, 0, &[]));
    // Content type, expiry, user property: heard and left aside.
    let extras = [&[3, 0, 2, b'c', b't', 2, 0, 0, 0, 1][..], &[38, 0, 1, b'k', 0, 1, b'v']].concat();
    sensor.send(&publish_five(TOPIC, reading(1, 2, 2.0).as_bytes(), 1, 7, &extras));
    sensor.expect(0x40, 7);
    assert_eq!(lampguard.stored(), 2, "PUBACK comes after the disk");
    sensor.send(&publish_five(TOPIC, b"rubbish", 1, 8, &[]));
    sensor.expect(0x40, 8);
    assert_eq!(lampguard.accounting()["quarantined"]["json"], 1, "kept, so it is a success");
    sensor.send(&publish_five(TOPIC, reading(1, 3, 3.0).as_bytes(), 2, 9, &[]));
    sensor.expect(0x50, 9);
    assert_eq!(lampguard.stored(), 3, "PUBREC comes after the disk");
    sensor.send(&packet(0x62, &[0, 9]));
    sensor.expect(0x70, 9);
    sensor.send(&packet(0x62, &[0, 9]));
    let again = sensor.next(seconds(5)).unwrap();
    assert_eq!((again.first, again.body), (0x70, vec![0, 9, 0x92]), "there is no such message any more");
    sensor.send(&packet(0xc0, &[]));
    assert_eq!(sensor.next(seconds(5)).unwrap().first, 0xd0, "PINGRESP");
    lampguard.balanced();
}

#[test]
fn a_reading_acknowledged_right_before_kill_9_is_there_after_the_restart() {
    let site = Site::new();
    let mut lampguard = site.start();
    for seq in 1..=3u16 {
        let mut sensor = five(site.listener, "P001");
        sensor.send(&publish_five(TOPIC, reading(1, u64::from(seq), 1.0).as_bytes(), 1, seq, &[]));
        sensor.expect(0x40, seq);
        // Nothing lies between the PUBACK and the kill.
        lampguard.process.kill();
        lampguard = site.start();
        assert_eq!(lampguard.stored(), u64::from(seq));
    }
}

#[test]
fn who_publishes_for_another_post_is_told_and_goes_on() {
    let site = Site::new().with_listener("credentials_file = \"sensors.txt\"");
    site.write("sensors.txt", &format!("P002:{}\n", sha256("token-2")));
    let lampguard = site.start();
    let mut sensor = Mqtt::silent(site.listener);
    assert_eq!(sensor.greet(&Hello::five("P002").login("P002", "token-2")), Ok(0));
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        sensor.send(&publish_five(TOPIC, reading(1, 1, 99.0).as_bytes(), qos, 5, &[]));
        let answer = sensor.next(seconds(5)).unwrap();
        assert_eq!((answer.first, answer.body), (first, vec![0, 5, 0x87]), "QoS {qos}");
    }
    sensor.send(&publish_five("lamp/z1/P002/reading", reading(1, 1, 1.0).as_bytes(), 1, 6, &[]));
    sensor.expect(0x40, 6);
    // QoS 0 has no answer that could say it.
    sensor.send(&publish_five(TOPIC, reading(1, 2, 99.0).as_bytes(), 0, 0, &[]));
    sensor.expect_goodbye(0x87);
    wait_until("three refusals", seconds(5), || lampguard.accounting()["refused"]["not_authorised"] == 3);
    assert_eq!(lampguard.balanced()["stored"], 1);
}

#[test]
fn a_number_stands_for_a_topic_on_its_connection_only() {
    let site = Site::new();
    let lampguard = site.start();
    let mut gateway = five(site.listener, "g");
    for (pkid, topic, alias) in [
        (1, "lamp/z1/P001/reading", 1),
        (2, "lamp/z1/P002/reading", 64),
        (3, "", 1),
        (4, "", 64),
        // The number gets another meaning.
        (5, "lamp/z1/P003/reading", 1),
        (6, "", 1),
    ] {
        let payload = reading(1, u64::from(pkid), 1.0);
        gateway.send(&publish_five(topic, payload.as_bytes(), 1, pkid, &[35, 0, alias]));
        gateway.expect(0x40, pkid);
    }
    let rows = |post: &str| lampguard.history(post, "leakage_ma").len();
    wait_until("two rows each", seconds(10), || ["P001", "P002", "P003"].iter().all(|post| rows(post) == 2));
    let unknown = |alias: &[u8]| publish_five("", b"{}", 1, 1, &[&[35][..], alias].concat());
    let mut other = five(site.listener, "other");
    other.send(&unknown(&[0, 1]));
    other.expect_goodbye(0x82);
    for alias in [[0, 0], [0, 65], [255, 255]] {
        let mut over = five(site.listener, "over");
        over.send(&publish_five(TOPIC, b"{}", 1, 1, &[&[35][..], &alias].concat()));
        over.expect_goodbye(0x94);
    }
    // Names behind numbers take 16 KiB and no more.
    let mut greedy = five(site.listener, "greedy");
    for alias in 1..=33u8 {
        let topic = format!("lamp/z1/{}/reading", "x".repeat(490));
        greedy.send(&publish_five(&topic, b"{}", 0, 0, &[35, 0, alias]));
    }
    greedy.expect_goodbye(0x97);
}

#[test]
fn the_reason_of_every_end_is_told_before_the_connection_closes() {
    let site = Site::new().with_listener("max_packet_bytes = 65536");
    let lampguard = site.start();
    let cases: [(&str, Vec<u8>, u8); 11] = [
        ("a topic of 513 bytes", publish_five(&"x".repeat(513), b"{}", 1, 1, &[]), 0x90),
        ("a packet too large", publish_five(TOPIC, &vec![b' '; 70_000], 1, 1, &[]), 0x95),
        ("a SUBSCRIBE of 20 KB", packet(0x82, &[0; 20_000]), 0x95),
        ("QoS 3", publish_five(TOPIC, b"{}", 3, 1, &[]), 0x81),
        ("a property that does not belong there", publish_five(TOPIC, b"{}", 1, 1, &[17, 0, 0, 0, 0]), 0x81),
        ("packet id 0", publish_five(TOPIC, b"{}", 1, 0, &[]), 0x82),
        ("a topic with a wildcard", publish_five("lamp/+/x", b"{}", 1, 1, &[]), 0x90),
        ("no topic", publish_five("", b"{}", 1, 1, &[]), 0x90),
        ("a second CONNECT", Hello::five("again").bytes(), 0x82),
        ("AUTH", packet(0xf0, &[]), 0x82),
        ("101 filters", packet(0xa2, &[&[0, 1, 0][..], &[0, 1, b'a'].repeat(101)].concat()), 0x97),
    ];
    for (case, bytes, reason) in cases {
        println!("{case}");
        let mut client = five(site.listener, case);
        client.send(&bytes);
        client.expect_goodbye(reason);
    }
    let mut first = five(site.listener, "P001");
    let _second = five(site.listener, "P001");
    first.expect_goodbye(0x8e);
    let mut silent = Mqtt::silent(site.listener);
    assert_eq!(silent.greet(&Hello { keep_alive_s: 1, ..Hello::five("silent") }), Ok(0));
    silent.expect_goodbye(0x8d);
    let mut held = five(site.listener, "held");
    drop(std::thread::spawn(move || lampguard.stop()));
    held.expect_goodbye(0x8b);
}

#[test]
fn a_sender_that_ignores_the_receive_maximum_is_cut() {
    let site = Site::new();
    let lampguard = site.start();
    let mut greedy = five(site.listener, "greedy");
    // QoS 2 without PUBREL: each stays open after its PUBREC.
    for start in (1..=16_385u16).step_by(500) {
        let burst = (start..(start + 500).min(16_386))
            .flat_map(|pkid| publish_five(TOPIC, reading(1, u64::from(pkid), 1.0).as_bytes(), 2, pkid, &[]));
        greedy.send(&burst.collect::<Vec<u8>>());
    }
    let mut last = None;
    while let Ok(packet) = greedy.next(seconds(20)) {
        last = Some(packet);
    }
    assert_eq!(last, Some(Packet { first: 0xe0, body: vec![0x93] }));
    wait_until("what was before it", seconds(20), || lampguard.stored() == 16_384);
}

#[test]
fn subscribe_hears_for_each_filter_why_not() {
    let site = Site::new();
    let _lampguard = site.start();
    let mut client = five(site.listener, "spy");
    let mut body = vec![0, 5, 0];
    for filter in ["lamp/#", "$share/g/lamp/#", "a/#/b"] {
        body.extend([0, filter.len() as u8]);
        body.extend(filter.bytes());
        body.push(1);
    }
    client.send(&packet(0x82, &body));
    let answer = client.next(seconds(5)).unwrap();
    assert_eq!((answer.first, answer.body), (0x90, vec![0, 5, 0, 0x87, 0x9e, 0x8f]));
    client.send(&packet(0xa2, &[0, 6, 0, 0, 1, b'a', 0, 1, b'b']));
    let answer = client.next(seconds(5)).unwrap();
    assert_eq!((answer.first, answer.body), (0xb0, vec![0, 6, 0, 0x11, 0x11]));
}

#[test]
fn a_will_counts_when_the_sensor_is_lost_or_asks_for_it_and_not_after_a_goodbye() {
    let site = Site::new();
    let lampguard = site.start();
    for (seq, goodbye) in [(1, &[0xe0, 1, 4][..]), (2, &[0xe0, 0]), (3, &[0xe0, 1, 0]), (4, &[])] {
        let will = reading(1, seq, 2.5);
        let mut body = b"\0\x04MQTT\x05\x06\x00\x3c\x00\x00\x04P001".to_vec();
        // A delay of an hour: the session ends with the connection, and with it the wait.
        body.extend([5, 24, 0, 0, 14, 16]);
        for part in [TOPIC, will.as_str()] {
            body.extend((part.len() as u16).to_be_bytes());
            body.extend(part.bytes());
        }
        let mut sensor = Mqtt::silent(site.listener);
        sensor.send(&packet(0x10, &body));
        assert_eq!(sensor.next(seconds(5)).unwrap().body[..2], [0, 0]);
        sensor.send(goodbye);
        if !goodbye.is_empty() {
            assert!(sensor.is_closed_within(seconds(5)));
        }
        drop(sensor);
        wait_until("the connection to end", seconds(5), || {
            lampguard.metric("lampguard_listener_connections") == 0.0
        });
    }
    lampguard.wait_for_stored(2, seconds(5));
}

#[test]
fn one_connection_too_many_is_told_to_come_later_in_its_own_version() {
    let site = Site::new().with_listener("per_address = 1");
    let _lampguard = site.start();
    let mut held = five(site.listener, "held");
    for (hello, code) in [(Hello::five("more"), 0x89), (Hello::new("more"), 3)] {
        let mut more = Mqtt::silent(site.listener);
        assert_eq!(more.greet(&hello), Ok(code));
        assert!(more.is_closed_within(seconds(5)));
    }
    assert_eq!(held.next(Duration::from_millis(100)), Err(Ending::Quiet), "the one that is in stays");
}

#[test]
fn nobody_ends_the_connection_of_another_user_by_its_client_id() {
    let site = Site::new().with_listener("credentials_file = \"sensors.txt\"");
    site.write("sensors.txt", &format!("P001:{}\nP002:{}\n", sha256("token-1"), sha256("token-2")));
    let _lampguard = site.start();
    let mut first = Mqtt::silent(site.listener);
    assert_eq!(first.greet(&Hello::five("sensor").login("P001", "token-1")), Ok(0));
    let mut other = Mqtt::silent(site.listener);
    assert_eq!(other.greet(&Hello::five("sensor").login("P002", "token-2")), Ok(0));
    assert_eq!(first.next(Duration::from_millis(300)), Err(Ending::Quiet));
    let mut same = Mqtt::silent(site.listener);
    assert_eq!(same.greet(&Hello::new("sensor").login("P001", "token-1")), Ok(0));
    first.expect_goodbye(0x8e);
}
