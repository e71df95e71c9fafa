//! Each way in which a channel can fail, by the built program: the next rung goes at once by the channel that works, and the
//! board says which one does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod emulators;
#[path = "emulators/tls.rs"]
mod tls;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Lampguard, Mqtt, Site, now_ms, reading, seconds, wait_until};
use emulators::Answer;
use emulators::robots::{self, Robot};
use tls::Authority;

/// A site that tells by a robot at `url`, and on its standard output.
fn site(url: &str) -> Site {
    Site::new().with(&format!(
        "[[channel]]\nid = \"bad\"\nkind = \"wecom\"\nurl = \"{url}\"\nallow_private = true\n\
         [[channel]]\nid = \"good\"\nkind = \"console\"\n"
    ))
}

fn robot_that(answer: &Answer) -> Robot {
    let robot = robots::wecom("key", Arc::new(now_ms));
    robot.emulator.order(std::iter::repeat_n(answer.clone(), 50));
    robot
}

fn fault_of(lampguard: &Lampguard, fault: &str) -> f64 {
    lampguard.metric(&format!("lampguard_alerting_channel_fault_total{{channel=\"bad\",fault=\"{fault}\"}}"))
}

/// A danger on that site: `fault` is heard within `limit`, the next rung goes at once, and the board says so.
fn fails(name: &str, site: &Site, fault: &str, limit: Duration) {
    let lampguard = site.start();
    let viewer = site.token("viewer", &[]);
    let board = || common::http::try_get(&format!("{}/?lang=en", lampguard.url), Some(&viewer)).unwrap().text;
    assert!(!board().contains("channel:bad"), "{name}: nothing failed yet");
    let mut sensor = Mqtt::connect(site.listener, "P001");
    for seq in 1..=3 {
        sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, 80.0).as_bytes());
    }
    let began = Instant::now();
    let good = |event: &str| {
        let items = lampguard.items("/api/v1/notices");
        items.iter().any(|n| n["event"] == event && n["channel"] == "good" && n["outcome"] == "sent")
    };
    wait_until(&format!("{name}: the other channel"), seconds(5), || good("incident.opened"));
    wait_until(&format!("{name}: {fault}"), limit, || fault_of(&lampguard, fault) > 0.0);
    // Its own time is three minutes.
    wait_until(&format!("{name}: the next rung"), seconds(5), || good("incident.escalated"));
    assert!(began.elapsed() < limit + seconds(10), "{name}: {:?}", began.elapsed());
    let shown = board();
    assert!(shown.contains("failing: channel:bad"), "{name}: {shown}");
    assert_eq!(lampguard.metric("lampguard_alerting_channel_up{channel=\"good\"}"), 1.0, "{name}");
    lampguard.stop();
}

/// The same with a robot that answers so.
fn answers(name: &str, answer: &Answer, fault: &str, limit_s: u64) {
    let robot = robot_that(answer);
    fails(name, &site(&robot.emulator.url("/cgi-bin/webhook/send?key=key")), fault, seconds(limit_s));
    assert!(robot.messages().is_empty(), "{name}: it took nothing");
}

#[test]
fn situation_s55_what_a_channel_answers_wrong_sends_the_next_rung_at_once_and_stands_on_the_board() {
    let code = |code: i64| Answer::json(&serde_json::json!({"errcode": code, "errmsg": "no"}));
    for (name, answer, fault) in [
        ("5xx", Answer::status(502), "server"),
        ("429", Answer::status(429), "busy"),
        ("error in a 200", code(93_000), "code"),
        ("over the limit", Answer::Say(200, String::new(), vec![b'x'; 70_000]), "answer"),
        ("cut", Answer::Cut, "connect"),
    ] {
        answers(name, &answer, fault, 10);
    }
}

#[test]
fn fault_n2_a_channel_that_takes_its_time_is_given_up_after_ten_seconds_and_the_next_rung_goes() {
    let slow: Vec<_> = [
        ("nothing at all", Answer::Hang(seconds(60))),
        ("headers and then nothing", Answer::Drip(100, seconds(60))),
        ("a slow body", Answer::Drip(1000, Duration::from_millis(300))),
    ]
    .into_iter()
    .map(|(name, answer)| std::thread::spawn(move || answers(name, &answer, "timeout", 20)))
    .collect();
    slow.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn fault_n4_a_name_that_nobody_knows_and_a_certificate_that_nobody_signed_send_the_next_rung_at_once() {
    fails("DNS", &site("https://robot.nobody.invalid/send?key=key"), "dns", seconds(15));
    let (listener, config) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), Authority::new().server(&["localhost"]));
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = tokio_rustls::rustls::ServerConnection::new(config.clone()).unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        }
    });
    fails("TLS", &site(&format!("https://localhost:{port}/send?key=key")), "tls", seconds(15));
}
