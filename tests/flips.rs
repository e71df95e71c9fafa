//! Every bit of every packet type turned over once, every byte replaced by extremes, every packet cut at every place, all
//! against the real listener: it never closes, never panics, never takes memory beyond its limits, and whoever behaves goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use common::mqtt::{Hello, packet, publish, publish_five};
use common::{Lampguard, Mqtt, Site, reading, seconds, wait_until};

const TOPIC: &str = "lamp/z1/P001/reading";
/// What a connection that misbehaves may cost: its buffers.
const MEMORY_MAX_MIB: f64 = 48.0;

/// One packet of each type, also of those that only a server sends.
fn specimens(five: bool) -> Vec<(&'static str, Vec<u8>)> {
    let none: &[u8] = if five { &[0] } else { &[] };
    let with = |parts: &[&[u8]]| parts.concat();
    let hello = if five { Hello::five("f").login("u", "p") } else { Hello::new("f").login("u", "p") };
    let payload = b"{\"leakage_ma\":1}";
    let publish = |qos: u8| match five {
        true => publish_five("lamp/z1/P2/reading", payload, qos, 7, &[35, 0, 1, 38, 0, 1, b'k', 0, 1, b'v']),
        false => publish("lamp/z1/P2/reading", payload, qos, 7, false),
    };
    let mut all = vec![
        ("CONNECT", hello.bytes()),
        ("CONNACK", packet(0x20, &with(&[&[0, 0], none]))),
        ("PUBLISH 0", publish(0)),
        ("PUBLISH 1", publish(1)),
        ("PUBLISH 2", publish(2)),
        ("PUBACK", packet(0x40, &[0, 7])),
        ("PUBREC", packet(0x50, &[0, 7])),
        ("PUBREL", packet(0x62, &[0, 7])),
        ("PUBCOMP", packet(0x70, &[0, 7])),
        ("SUBSCRIBE", packet(0x82, &with(&[&[0, 9], none, &[0, 3, b'a', b'/', b'#', 1]]))),
        ("SUBACK", packet(0x90, &with(&[&[0, 9], none, &[0]]))),
        ("UNSUBSCRIBE", packet(0xa2, &with(&[&[0, 9], none, &[0, 3, b'a', b'/', b'#']]))),
        ("UNSUBACK", packet(0xb0, &with(&[&[0, 9], none]))),
        ("PINGREQ", packet(0xc0, &[])),
        ("PINGRESP", packet(0xd0, &[])),
        ("DISCONNECT", packet(0xe0, if five { &[4, 5, 17, 0, 0, 0, 0] } else { &[] })),
    ];
    if five {
        all.push(("AUTH", packet(0xf0, &[0x18, 0])));
    }
    all
}

/// Opens a connection, says hello unless the packet is one, sends it and closes.
fn send(port: u16, hello: Option<&[u8]>, bytes: &[u8]) {
    let mut wire = TcpStream::connect(("127.0.0.1", port)).unwrap();
    wire.set_read_timeout(Some(seconds(10))).unwrap();
    if let Some(hello) = hello {
        wire.write_all(hello).unwrap();
        wire.read_exact(&mut [0; 4]).unwrap();
    }
    let _ = wire.write_all(bytes);
    let _ = wire.shutdown(Shutdown::Write);
}

/// Peak of its memory, MiB.
fn peak_mib(lampguard: &Lampguard) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lampguard.process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn every_bit_of_every_packet_turned_over_closes_its_own_connection_at_most() {
    let site = Site::new().with_listener("max_packet_bytes = 65536");
    let mut lampguard = site.start();
    let mut good = Mqtt::connect(site.listener, "good");
    good.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    let before = peak_mib(&lampguard);
    let (mut flips, mut seq) = (0u64, 1);
    for five in [false, true] {
        let hello = if five { Hello::five("f").bytes() } else { Hello::new("f").bytes() };
        for (name, bytes) in specimens(five) {
            let hello = (name != "CONNECT").then_some(&hello[..]);
            let mut of_this = 0;
            for place in 0..bytes.len() {
                let turned = (0..8).map(|bit| bytes[place] ^ 1 << bit).chain([0, 0x7f, 0x80, 0xff]);
                for byte in turned {
                    let mut whole = bytes.clone();
                    whole[place] = byte;
                    send(site.listener, hello, &whole);
                    of_this += 1;
                }
                send(site.listener, hello, &bytes[..place]);
                of_this += 1;
            }
            flips += of_this;
            seq += 1;
            good.publish_and_wait(TOPIC, reading(1, seq, 1.0).as_bytes());
            println!("MQTT {} {name}: {of_this} inputs", if five { "5" } else { "3.1.1" });
        }
    }
    println!("{flips} inputs, peak of memory {before:.1} MiB before, {:.1} MiB after", peak_mib(&lampguard));
    assert!(flips > 4000, "only {flips}");
    wait_until("all of them to be closed", seconds(30), || {
        lampguard.metric("lampguard_listener_connections") == 1.0
    });
    assert!(lampguard.process.is_alive());
    assert!(!lampguard.process.stderr().contains("panicked"), "{}", lampguard.process.stderr());
    assert!(peak_mib(&lampguard) - before < MEMORY_MAX_MIB, "{} MiB", peak_mib(&lampguard));
    lampguard.balanced();
}

#[test]
fn lengths_that_are_promised_and_lists_that_swell_take_no_memory() {
    let site = Site::new().with_listener("max_packet_bytes = 65536");
    let mut lampguard = site.start();
    let mut good = Mqtt::connect(site.listener, "good");
    good.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    let before = peak_mib(&lampguard);
    let (mut held, mut inputs) = (Vec::new(), 0);
    for n in 0..300 {
        let mut client = Mqtt::silent(site.listener);
        let id = format!("c{n}");
        assert_eq!(client.greet(&Hello::five(&id)), Ok(0));
        // 256 MiB: refused by the first bytes. 64 KiB: allowed, and waited for without memory for it.
        let promised: [&[u8]; 3] =
            [&[0x32, 0xff, 0xff, 0xff, 0x7f], &[0x32, 0xff, 0xff, 3, 0], &[0x82, 0xff, 0x7f, 0]];
        client.send(promised[n % 3]);
        held.push(client);
        inputs += 1;
    }
    let properties = [38, 0, 0, 0, 0].repeat(12_000);
    let filters = [0, 1, b'a', 0].repeat(15_000);
    for n in 0..200 {
        let mut client = Mqtt::silent(site.listener);
        assert_eq!(client.greet(&Hello::five(&format!("d{n}"))), Ok(0));
        let swelling = match n % 2 {
            0 => packet(0x30, &[&[0, 1, b'a', 0xe0, 0xd4, 3][..], &properties].concat()),
            _ => packet(0x82, &[&[0, 1, 0][..], &filters].concat()),
        };
        client.send(&swelling);
        assert!(client.is_closed_within(seconds(10)), "input {n} was taken");
        inputs += 1;
    }
    let after = peak_mib(&lampguard);
    println!("{inputs} inputs, peak of memory {before:.1} MiB before, {after:.1} MiB after");
    assert!(after - before < MEMORY_MAX_MIB, "{before} MiB before, {after} MiB after");
    good.publish_and_wait(TOPIC, reading(1, 2, 1.0).as_bytes());
    drop(held);
    assert!(lampguard.process.is_alive() && !lampguard.process.stderr().contains("panicked"));
}

#[test]
fn bodies_that_are_half_sent_take_no_more_memory_than_is_set_aside_for_all_of_them() {
    const CONNECTIONS: usize = 120;
    let site = Site::new();
    let mut lampguard = site.start();
    let mut good = Mqtt::connect(site.listener, "good");
    good.publish_and_wait(TOPIC, reading(1, 1, 1.0).as_bytes());
    let before = peak_mib(&lampguard);
    // Each sends all but the last byte of a megabyte, or as much of it as is taken.
    let body = packet(0x30, &[&[0, 1, b'a'][..], &vec![b' '; (1 << 20) - 100]].concat());
    let mut held = Vec::new();
    for n in 0..CONNECTIONS {
        let mut wire = TcpStream::connect(("127.0.0.1", site.listener)).unwrap();
        wire.write_all(&Hello::new(&format!("h{n}")).bytes()).unwrap();
        wire.read_exact(&mut [0; 4]).unwrap();
        wire.set_nonblocking(true).unwrap();
        held.push((wire, 0));
    }
    let until = std::time::Instant::now() + seconds(4);
    while std::time::Instant::now() < until {
        for (wire, sent) in &mut held {
            *sent += wire.write(&body[*sent..body.len() - 1]).unwrap_or(0);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let after = peak_mib(&lampguard);
    println!("{CONNECTIONS} halves, peak of memory {before:.1} MiB before, {after:.1} MiB after");
    // 32 MiB for all, and 64 KiB for each.
    assert!(after - before < MEMORY_MAX_MIB + 8.0, "{before} MiB before, {after} MiB after");
    good.publish_and_wait(TOPIC, reading(1, 2, 1.0).as_bytes());
    drop(held);
    let long = format!("{}{}", reading(1, 3, 1.0), " ".repeat(500_000));
    good.publish_and_wait(TOPIC, long.as_bytes());
    assert!(lampguard.process.is_alive());
}

#[test]
fn an_idle_connection_costs_the_same_in_both_versions() {
    const CONNECTIONS: usize = 1500;
    let kb = |five: bool| {
        let site = Site::new();
        let lampguard = site.start();
        let resident = || {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", lampguard.process.pid())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
        };
        let connect = |n: usize| {
            let id = format!("c{n}");
            let mut client = Mqtt::silent(site.listener);
            assert_eq!(client.greet(&if five { Hello::five(&id) } else { Hello::new(&id) }), Ok(0));
            client
        };
        // The first ones take what everybody shares.
        let mut held: Vec<Mqtt> = (0..100).map(connect).collect();
        let before = resident();
        held.extend((100..100 + CONNECTIONS).map(connect));
        let grown = resident() - before;
        assert_eq!(lampguard.metric("lampguard_listener_connections"), held.len() as f64);
        grown / CONNECTIONS as f64
    };
    let (old, new) = (kb(false), kb(true));
    println!("an idle connection: {old:.1} KB in 3.1.1, {new:.1} KB in 5");
    assert!(old < 20.0 && new < 20.0 && (new - old).abs() < 4.0, "{old} KB and {new} KB");
}
