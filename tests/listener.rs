//! The built-in MQTT listener, end to end: a client of our own against the built program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::mqtt::{self, Ending, Hello, Mqtt};
use common::process::texts;
use common::{Lampguard, Site, reading, seconds, wait_until};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const TOPIC: &str = "lamp/z1/P001/reading";

/// Values of one field in the history of P001, once as many rows are there.
fn leakages(lampguard: &Lampguard, rows: usize) -> Vec<f64> {
    wait_until("the rows of the history", seconds(10), || {
        lampguard.history("P001", "leakage_ma").len() >= rows
    });
    let rows = lampguard.history("P001", "leakage_ma");
    rows.iter().map(|row: &Value| row[1].as_f64().unwrap()).collect()
}

/// Running numbers of a post by its history, where `energy_kwh` carries them.
fn numbers_of(lampguard: &Lampguard, post: &str) -> BTreeSet<u64> {
    let (mut numbers, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let answer = lampguard.json(&format!("/api/v1/posts/{post}/history?fields=energy_kwh{cursor}"));
        let rows = answer["rows"].as_array().unwrap();
        numbers.extend(rows.iter().map(|row| row[1].as_f64().unwrap() as u64));
        match answer["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return numbers,
        }
    }
}

#[test]
fn peer_p1_a_reading_acknowledged_right_before_kill_9_is_there_after_the_restart() {
    let site = Site::new();
    let mut lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    for seq in 1..=5u32 {
        sensor.publish_and_wait(TOPIC, reading(1, u64::from(seq), f64::from(seq)).as_bytes());
        // Nothing lies between the PUBACK and the kill.
        lampguard.process.kill();
        lampguard = site.start();
        assert_eq!(lampguard.stored(), u64::from(seq));
        sensor = Mqtt::connect(site.listener, "P001");
    }
    assert_eq!(leakages(&lampguard, 5), [1.0, 2.0, 3.0, 4.0, 5.0]);
    lampguard.balanced();
}

#[test]
fn qos_0_1_and_2_are_stored_each_with_its_own_answers() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    sensor.publish_and_forget(TOPIC, reading(1, 1, 1.0).as_bytes());
    sensor.publish_and_wait(TOPIC, reading(1, 2, 2.0).as_bytes());
    sensor.send(&mqtt::publish(TOPIC, reading(1, 3, 3.0).as_bytes(), 2, 77, false));
    sensor.expect(0x50, 77);
    assert_eq!(lampguard.stored(), 3, "PUBREC comes after the disk");
    sensor.send(&mqtt::packet(0x62, &77u16.to_be_bytes()));
    sensor.expect(0x70, 77);
    assert_eq!(lampguard.metric("lampguard_ingester_qos0_total{source=\"listener\"}"), 1.0);
    sensor.send(&mqtt::packet(0xc0, &[]));
    assert_eq!(sensor.next(seconds(5)).unwrap().first, 0xd0, "PINGRESP");
    assert_eq!(leakages(&lampguard, 3), [1.0, 2.0, 3.0]);
    lampguard.balanced();
}

#[test]
fn a_qos_2_message_sent_again_before_its_pubrel_is_stored_once() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    // Without ts, seq and boot nothing but the protocol can tell that it is the same message.
    let payload = br#"{"leakage_ma":3.5}"#;
    sensor.send(&mqtt::publish(TOPIC, payload, 2, 9, false));
    sensor.expect(0x50, 9);
    sensor.send(&mqtt::publish(TOPIC, payload, 2, 9, true));
    sensor.expect(0x50, 9);
    sensor.send(&mqtt::packet(0x62, &9u16.to_be_bytes()));
    sensor.expect(0x70, 9);
    assert_eq!(lampguard.balanced()["stored"], 1);
    // After PUBREL the same packet id is a new message.
    sensor.send(&mqtt::publish(TOPIC, payload, 2, 9, false));
    sensor.expect(0x50, 9);
    assert_eq!(lampguard.balanced()["stored"], 2);
}

#[test]
fn a_reading_sent_again_on_a_new_connection_is_acknowledged_and_counted_as_duplicate() {
    let site = Site::new();
    let lampguard = site.start();
    let payload = reading(1, 1, 1.0);
    for _ in 0..3 {
        Mqtt::connect(site.listener, "P001").publish_and_wait(TOPIC, payload.as_bytes());
    }
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["duplicate"]), (&1.into(), &2.into()), "{books}");
}

#[test]
fn subscribe_gets_the_standard_refusal_for_every_filter() {
    let site = Site::new();
    let _lampguard = site.start();
    let mut client = Mqtt::connect(site.listener, "spy");
    let mut body = vec![0, 5];
    for filter in ["#", "lamp/#"] {
        body.extend([0, filter.len() as u8]);
        body.extend(filter.bytes());
        body.push(1);
    }
    client.send(&mqtt::packet(0x82, &body));
    let answer = client.next(seconds(5)).unwrap();
    assert_eq!((answer.first, answer.body), (0x90, vec![0, 5, 0x80, 0x80]));
    client.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
}

fn sha256(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A site whose listener asks for logins: sensors P001, P002 and a gateway.
fn site_with_logins() -> Site {
    let site = Site::new().with_listener("credentials_file = \"sensors.txt\"");
    let lines = format!(
        "P001:{}\nP002:{}\ngateway:{}:lamp/z1/+/#\n",
        sha256("token-1"),
        sha256("token-2"),
        sha256("token-3")
    );
    site.write("sensors.txt", &lines);
    site
}

#[test]
fn only_who_is_in_the_credentials_file_may_connect() {
    let site = site_with_logins();
    let lampguard = site.start();
    let cases = [
        (Some(("P001", "token-1")), 0),
        (Some(("P001", "token-2")), 4),
        (Some(("nobody", "token-1")), 4),
        (None, 4),
    ];
    for (login, expected) in cases {
        let mut client = Mqtt::silent(site.listener);
        let mut hello = Hello::new("P001");
        hello.login = login;
        assert_eq!(client.greet(&hello), Ok(expected), "{login:?}");
        assert_eq!(client.is_closed_within(seconds(1)), expected != 0, "{login:?}");
    }
    assert_eq!(lampguard.metric("lampguard_listener_refused_total{reason=\"login\"}"), 3.0);
}

#[test]
fn a_sensor_that_publishes_for_another_post_is_cut_and_counted() {
    let site = site_with_logins();
    let lampguard = site.start();
    let mut gateway = Mqtt::silent(site.listener);
    assert_eq!(gateway.greet(&Hello::new("g").login("gateway", "token-3")), Ok(0));
    gateway.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());

    let mut sensor = Mqtt::silent(site.listener);
    assert_eq!(sensor.greet(&Hello::new("P002").login("P002", "token-2")), Ok(0));
    sensor.publish_and_wait("lamp/z1/P002/reading", reading(1, 1, 1.0).as_bytes());
    sensor.publish(TOPIC, reading(1, 2, 99.0).as_bytes(), 1);
    assert!(sensor.is_closed_within(seconds(5)), "the connection goes on");
    wait_until("the refusal to be counted", seconds(5), || {
        lampguard.accounting()["refused"]["not_authorised"] == 1
    });
    let books = lampguard.balanced();
    assert_eq!(books["stored"], 2, "{books}");
    assert_eq!(lampguard.metric("lampguard_ingester_refused_total{reason=\"not_authorised\"}"), 1.0);
    assert_eq!(leakages(&lampguard, 1), [1.0]);
}

#[test]
fn a_sensor_that_names_another_post_in_its_payload_reports_for_nobody() {
    let site = site_with_logins();
    let lampguard = site.start();
    let mut sensor = Mqtt::silent(site.listener);
    assert_eq!(sensor.greet(&Hello::new("P002").login("P002", "token-2")), Ok(0));
    let forged = reading(1, 1, 99.0).replacen('{', "{\"device\":\"P001\",", 1);
    sensor.publish_and_wait("lamp/z1/P002/reading", forged.as_bytes());
    let mut gateway = Mqtt::silent(site.listener);
    assert_eq!(gateway.greet(&Hello::new("g").login("gateway", "token-3")), Ok(0));
    gateway.publish_and_wait("lamp/z1/gateway/reading", forged.replace("99", "2").as_bytes());
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["quarantined"]["other_device"]), (&1.into(), &1.into()), "{books}");
    assert_eq!(leakages(&lampguard, 1), [2.0], "a gateway speaks for many");
    // Nor when somebody lets it be read again.
    let again = texts(&site.run(&["quarantine", "retry"]));
    assert!(again.0.contains("still refused: 1"), "{again:?}");
    assert_eq!(leakages(&lampguard, 1), [2.0]);
}

#[test]
fn a_sensor_speaks_tls_and_a_plain_one_is_turned_away() {
    let site = Site::new().with_listener("tls_cert = \"server.pem\"\ntls_key = \"server.key\"");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    site.write("server.pem", &made.cert.pem());
    site.write("server.key", &made.signing_key.serialize_pem());
    let lampguard = site.start();

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", site.listener)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut sensor = Mqtt::over(StreamOwned::new(session, stream));
    assert_eq!(sensor.greet(&Hello::new("P001")), Ok(0));
    for seq in 1..=20 {
        sensor.publish_and_wait(TOPIC, reading(1, seq, 1.0).as_bytes());
    }

    let mut plain = Mqtt::silent(site.listener);
    plain.send(&Hello::new("P002").bytes());
    assert!(plain.is_closed_within(seconds(12)), "a plain CONNECT holds a TLS place");
    assert_eq!(lampguard.metric("lampguard_listener_refused_total{reason=\"tls\"}"), 1.0);
    assert_eq!(lampguard.balanced()["stored"], 20);
}

#[test]
fn one_address_gets_no_more_connections_than_its_limit() {
    let site = Site::new().with_listener("per_address = 3");
    let lampguard = site.start();
    let mut held: Vec<Mqtt> = (0..3).map(|n| Mqtt::connect(site.listener, &format!("c{n}"))).collect();
    let mut fourth = Mqtt::silent(site.listener);
    fourth.send(&Hello::new("c3").bytes());
    assert!(fourth.is_closed_within(seconds(5)), "a fourth connection was served");
    let refused: f64 = lampguard.metric("lampguard_listener_refused_total");
    assert_eq!(refused, 1.0);
    held[0].publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    held.pop();
    wait_until("the place to be free again", seconds(5), || {
        Mqtt::silent(site.listener).greet(&Hello::new("c3")) == Ok(0)
    });
}

#[test]
fn a_sensor_that_is_silent_beyond_its_keep_alive_is_cut_and_its_will_is_taken() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = Mqtt::silent(site.listener);
    let mut hello = Hello::new("P001");
    hello.keep_alive_s = 1;
    assert_eq!(sensor.greet(&hello), Ok(0));
    let started = Instant::now();
    assert!(sensor.is_closed_within(seconds(6)), "a dead sensor holds its connection");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1300), "cut after {took:?}, keep-alive is 1 s");
    // A ping in time holds it.
    let mut sensor = Mqtt::silent(site.listener);
    assert_eq!(sensor.greet(&hello), Ok(0));
    for _ in 0..4 {
        assert_eq!(sensor.next(Duration::from_millis(700)), Err(Ending::Quiet));
        sensor.send(&mqtt::packet(0xc0, &[]));
        assert_eq!(sensor.next(seconds(2)).unwrap().first, 0xd0);
    }
    assert_eq!(lampguard.metric("lampguard_listener_connections"), 1.0);
}

#[test]
fn a_will_is_taken_as_a_reading_when_the_sensor_is_lost_and_not_after_a_goodbye() {
    let site = Site::new();
    let lampguard = site.start();
    for (seq, goodbye) in [(1, false), (2, true)] {
        let will = reading(1, seq, 2.5).replace("\"seq\"", "\"cause\":\"last_gasp\",\"seq\"");
        let mut body = vec![0, 4];
        body.extend(b"MQTT\x04\x06\x00\x3c\x00\x04P001");
        for part in [TOPIC, will.as_str()] {
            body.extend((part.len() as u16).to_be_bytes());
            body.extend(part.bytes());
        }
        let mut sensor = Mqtt::silent(site.listener);
        sensor.send(&mqtt::packet(0x10, &body));
        assert_eq!(sensor.next(seconds(5)).unwrap().body, [0, 0]);
        if goodbye {
            sensor.send(&mqtt::packet(0xe0, &[]));
            assert!(sensor.is_closed_within(seconds(5)));
        }
        drop(sensor);
        wait_until("the connection to end", seconds(5), || {
            lampguard.metric("lampguard_listener_connections") == 0.0
        });
    }
    lampguard.wait_for_stored(1, seconds(5));
}

#[test]
fn readings_behind_a_connect_whose_sender_is_gone_before_the_answer_are_taken() {
    use std::io::Write;
    let site = Site::new();
    let lampguard = site.start();
    for seq in 1..=60 {
        let hello = if seq % 2 == 0 { Hello::new("P001") } else { Hello::five("P001") };
        let payload = reading(1, seq, 1.0);
        let message = match hello.level {
            5 => mqtt::publish_five(TOPIC, payload.as_bytes(), 0, 0, &[]),
            _ => mqtt::publish(TOPIC, payload.as_bytes(), 0, 0, false),
        };
        let mut wire = TcpStream::connect(("127.0.0.1", site.listener)).unwrap();
        wire.write_all(&[hello.bytes(), message, vec![0xe0, 0]].concat()).unwrap();
        // Closed at once: the CONNACK finds nobody.
        drop(wire);
    }
    lampguard.wait_for_stored(60, seconds(10));
}

#[test]
fn silent_peers_and_half_a_connect_hold_no_place_and_hold_up_nobody() {
    let site = Site::new();
    let lampguard = site.start();
    let mut silent: Vec<Mqtt> = (0..20).map(|_| Mqtt::silent(site.listener)).collect();
    let mut half = Mqtt::silent(site.listener);
    half.send(&Hello::new("half").bytes()[..7]);
    let mut sensor = Mqtt::connect(site.listener, "P001");
    sensor.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    // Ten seconds for a CONNECT, written in the listener.
    assert!(half.is_closed_within(seconds(15)), "half a CONNECT holds its place");
    assert!(silent.iter_mut().all(|peer| peer.is_closed_within(seconds(3))), "a silent peer holds its place");
    sensor.publish_and_wait(TOPIC, reading(1, 2, 1.0).as_bytes());
    assert_eq!(lampguard.metric("lampguard_listener_connections"), 1.0);
}

#[test]
fn an_oversize_packet_and_one_that_is_none_end_their_connection_alone() {
    let site = Site::new().with_listener("max_packet_bytes = 65536");
    let lampguard = site.start();
    let mut good = Mqtt::connect(site.listener, "P001");
    let mut large = Mqtt::connect(site.listener, "P002");
    large.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    large.send(&mqtt::publish(TOPIC, &vec![b' '; 70_000], 1, 9, false));
    assert!(large.is_closed_within(seconds(5)), "an oversize packet was read");
    let mut odd = Mqtt::connect(site.listener, "P003");
    odd.send(&[0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert!(odd.is_closed_within(seconds(5)), "a packet of no kind was read");
    let mut browser = Mqtt::silent(site.listener);
    browser
        .send(format!("GET / HTTP/1.1\r\nHost: lamps\r\nUser-Agent: {}\r\n\r\n", "x".repeat(200)).as_bytes());
    assert!(browser.is_closed_within(seconds(5)), "a browser was served");
    good.publish_and_wait(TOPIC, reading(1, 2, 1.0).as_bytes());
    let refused =
        |reason: &str| lampguard.metric(&format!("lampguard_listener_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("packet_too_long"), refused("malformed")), (1.0, 2.0));
    assert_eq!(lampguard.balanced()["stored"], 2);
}

#[test]
fn the_same_client_id_takes_over_and_nothing_acknowledged_is_lost() {
    let site = Site::new();
    let lampguard = site.start();
    let mut first = Mqtt::connect(site.listener, "P001");
    first.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    let mut second = Mqtt::connect(site.listener, "P001");
    assert!(first.is_closed_within(seconds(5)), "two connections share one client id");
    second.publish_and_wait(TOPIC, reading(1, 2, 1.0).as_bytes());
    assert_eq!(lampguard.balanced()["stored"], 2);
}

#[test]
fn another_protocol_version_is_told_so_in_words_that_it_knows() {
    let site = Site::new();
    let lampguard = site.start();
    for (level, code) in [(3, 1), (6, 0x84)] {
        let mut client = Mqtt::silent(site.listener);
        let mut hello = Hello::new("P001");
        hello.level = level;
        assert_eq!(client.greet(&hello), Ok(code), "level {level}");
        assert!(client.is_closed_within(seconds(5)));
    }
    assert_eq!(lampguard.metric("lampguard_listener_refused_total{reason=\"version\"}"), 2.0);
}

#[test]
fn sigterm_under_load_ends_in_under_5_seconds_and_keeps_every_acknowledged_reading() {
    let site = Site::new();
    let mut lampguard = site.start();
    let port = site.listener;
    let senders: Vec<_> = (1..=4u32)
        .map(|boot| {
            std::thread::spawn(move || {
                let mut sensor = Mqtt::connect(port, &format!("g{boot}"));
                for seq in 0.. {
                    let numbered = reading(boot, seq, 1.0)
                        .replace("\"supply_v\":228.0", &format!("\"energy_kwh\":{seq}"));
                    sensor.publish(&format!("lamp/z1/P{boot:03}/reading"), numbered.as_bytes(), seq);
                    if sensor.unacked() > 500 && sensor.note_acks(400, seconds(10)).is_err() {
                        break;
                    }
                }
                // Acknowledgements that were under way when it ended.
                let _ = sensor.note_acks(0, seconds(1));
                sensor.acked
            })
        })
        .collect();
    wait_until("the load to flow", seconds(20), || lampguard.stored() > 2000);
    let (status, took) = lampguard.process.terminate(seconds(10));
    assert!(status.success(), "{status}");
    assert!(took < seconds(5), "the end took {took:?}");
    let acked: Vec<Vec<u64>> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();

    let lampguard = site.start();
    let total: usize = acked.iter().map(Vec::len).sum();
    assert!(total > 2000, "only {total} were acknowledged: no load");
    let stored = lampguard.stored();
    assert!(stored >= total as u64, "{total} acknowledged, {stored} stored");
    for (numbers, boot) in acked.iter().zip(1u32..) {
        let known = numbers_of(&lampguard, &format!("P{boot:03}"));
        let lost: Vec<&u64> = numbers.iter().filter(|number| !known.contains(number)).collect();
        assert!(lost.is_empty(), "P{boot:03}: {} acknowledged readings are lost: {lost:?}", lost.len());
    }
    lampguard.balanced();
    lampguard.stop();
}
