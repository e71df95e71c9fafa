//! A restart with another configuration or another register, end to end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::mqtt::Mqtt;
use common::site::register;
use common::{Site, reading, seconds, wait_until};

#[test]
fn peer_p9_another_configuration_keeps_what_the_journal_holds() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    let payloads: Vec<String> = (1..=51).map(|seq| reading(1, seq, 1.0)).collect();
    for payload in &payloads[..50] {
        sensor.publish_and_wait("lamp/z1/P001/reading", payload.as_bytes());
    }
    drop(lampguard);
    // Every setting that has to do with what is kept, and one that has not.
    let site = site.with(
        "[journal]\nmax_bytes = 300000000\nreplay_window_s = 60\n[history]\nkeep_days = 7\n\
         [quarantine]\nmax_bytes = 50000000",
    );
    let lampguard = site.start();
    assert_eq!(lampguard.stored(), 50);
    let mut sensor = Mqtt::connect(site.listener, "P001");
    for payload in &payloads[49..] {
        sensor.publish_and_wait("lamp/z1/P001/reading", payload.as_bytes());
    }
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["duplicate"]), (&51.into(), &1.into()), "{books}");
    wait_until("the history to hold them all", seconds(10), || {
        lampguard.history("P001", "leakage_ma").len() == 51
    });
}

#[test]
fn situation_s34_a_device_moved_to_another_post_leaves_the_history_with_the_post() {
    let site = Site::new();
    let with_device = |post: &str, device: &str, monitored: bool| {
        let plain = format!("{post},,");
        let mut text = String::new();
        for (place, line) in register().lines().enumerate() {
            let line = if line.starts_with(&plain) {
                line.replacen(",,", &format!(",{device},"), 1)
            } else {
                line.to_owned()
            };
            let own = place == 0 || monitored || !line.starts_with("P001,");
            let last = if place == 0 {
                "monitored"
            } else if own {
                "true"
            } else {
                "false"
            };
            text += &format!("{line},{last}\n");
        }
        text
    };
    site.write("posts.csv", &with_device("P001", "D-77", true));
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "D-77");
    sensor.publish_and_wait("lamp/z1/D-77/reading", reading(1, 1, 1.0).as_bytes());
    wait_until("its row", seconds(10), || lampguard.history("P001", "leakage_ma").len() == 1);
    drop(lampguard);

    site.write("posts.csv", &with_device("P002", "D-77", false));
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "D-77");
    sensor.publish_and_wait("lamp/z1/D-77/reading", reading(1, 2, 2.0).as_bytes());
    wait_until("the row of the other post", seconds(10), || {
        lampguard.history("P002", "leakage_ma").len() == 1
    });
    let of = |post: &str| lampguard.history(post, "leakage_ma")[0][1].as_f64().unwrap();
    assert_eq!((of("P001"), of("P002")), (1.0, 2.0));
    assert_eq!(lampguard.history("P001", "leakage_ma").len(), 1);
    let old = lampguard.json("/api/v1/posts/P001");
    assert_eq!(old["state"], "unmonitored", "{old}");
}
