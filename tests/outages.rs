//! What surrounds us fails: the broker, the database, the disk. Nothing acknowledged is lost, nothing counts
//! twice, alarms wait for nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::disk::SmallDisk;
use common::{Ending, Lampguard, Mosquitto, Mqtt, Site, Victoria, WebhookStub, reading, seconds, wait_until};
use serde_json::json;

/// A publisher that sends again, over as many connections as it takes, until everything is acknowledged.
struct Sender {
    port: u16,
    client: Mqtt,
    acked: Vec<bool>,
    connections: u32,
}

impl Sender {
    fn new(port: u16) -> Self {
        let client = Mqtt::connect(port, "sender");
        Self { port, client, acked: Vec::new(), connections: 1 }
    }

    /// Sends readings number `from` to `to`, spread over the posts, about `per_second` of them.
    fn send(&mut self, from: u64, to: u64, per_second: u64) {
        let started = Instant::now();
        self.acked.resize(to as usize, false);
        for number in from..to {
            self.publish(number);
            let due = Duration::from_micros((number - from) * 1_000_000 / per_second);
            while started.elapsed() < due {
                self.note(Duration::from_millis(2));
            }
        }
        let until = Instant::now() + seconds(40);
        while !self.acked.iter().all(|acked| *acked) {
            assert!(Instant::now() < until, "the broker does not acknowledge");
            self.note(Duration::from_millis(50));
        }
    }

    fn publish(&mut self, number: u64) {
        let post = number % 40 + 1;
        let topic = format!("lamp/z1/P{post:03}/reading");
        self.client.publish(&topic, reading_of(number).as_bytes(), number);
    }

    fn note(&mut self, patience: Duration) {
        let outcome = self.client.note_acks(0, patience);
        for number in std::mem::take(&mut self.client.acked) {
            self.acked[number as usize] = true;
        }
        if outcome != Err(Ending::Closed) {
            return;
        }
        let port = self.port;
        wait_until("the broker to be back", seconds(30), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        self.client = Mqtt::connect(port, "sender");
        self.connections += 1;
        let open: Vec<u64> =
            (0..self.acked.len() as u64).filter(|number| !self.acked[*number as usize]).collect();
        open.into_iter().for_each(|number| self.publish(number));
    }
}

/// The same reading whenever it is sent: its time is part of what makes it a duplicate.
fn reading_of(number: u64) -> String {
    format!(r#"{{"boot":7,"seq":{number},"leakage_ma":1.5,"supply_v":228.0}}"#)
}

#[test]
fn fault_a_broker_that_restarts_in_mid_stream_costs_no_reading() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = Site::new().with_broker(mosquitto.port, "");
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let port = mosquitto.port;
    let sending = std::thread::spawn(move || {
        let mut sender = Sender::new(port);
        sender.send(0, 4000, 1000);
        sender.connections
    });
    wait_until("the stream to flow", seconds(20), || lampguard.stored() > 500);
    mosquitto.stop();
    assert!(lampguard.stored() < 4000, "the restart came too late to hit the stream");
    mosquitto.start_again();
    let connections = sending.join().unwrap();
    assert!(connections >= 2, "the sender never saw the restart");
    wait_until("every reading", seconds(60), || lampguard.stored() >= 4000);
    let books = lampguard.balanced();
    assert_eq!(books["stored"], 4000, "{books}");
    assert!(lampguard.metric("lampguard_broker_reconnect_total") >= 1.0);
    let losses = books["possible_loss"].as_array().unwrap();
    assert!(losses.iter().all(|loss| loss["source"] != "broker:main"), "{losses:?}");
}

#[test]
fn a_broker_that_stays_away_is_one_fault_of_the_system_and_normal_again_when_it_is_back() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let site = Site::new().with_broker(mosquitto.port, "").with("[policy]\nfile = \"policy.toml\"\n");
    site.write("policy.toml", "[system]\nfailing_for = \"3 s\"\ngood_for = \"3 s\"\n");
    let lampguard = site.start();
    lampguard.wait_for_broker();
    assert!(lampguard.items("/api/v1/incidents").is_empty());
    mosquitto.stop();
    let faults = || lampguard.items("/api/v1/incidents?kind=system");
    wait_until("the fault", seconds(30), || faults().len() == 1);
    let fault = &faults()[0];
    assert_eq!((&fault["severity"], &fault["scope"]), (&json!("P1"), &json!("system")), "{fault:#}");
    assert_eq!((&fault["place"], &fault["due_at"]), (&json!("broker:main"), &json!(null)), "{fault:#}");
    assert_eq!(fault["signal"], "active");
    mosquitto.start_again();
    wait_until("a normal signal", seconds(60), || faults().iter().all(|fault| fault["signal"] == "normal"));
    assert_eq!(faults().len(), 1, "nothing closes by itself");
}

/// Waits until the database holds numbers 0 to `count` of boot 7, each once.
fn wait_for_rows(victoria: &Victoria, count: u64) {
    wait_until(&format!("{count} rows in the database"), seconds(90), || {
        std::thread::sleep(Duration::from_millis(300));
        victoria.rows().len() as u64 >= count
    });
    let rows = victoria.rows();
    assert_eq!(rows.len() as u64, count);
    for number in 0..count {
        let key = (format!("P{:03}", number % 40 + 1), 7, number);
        assert_eq!(rows.get(&key), Some(&1), "{key:?}");
    }
}

/// Sends through the listener, where the PUBACK is our own.
fn send_to_listener(site: &Site, from: u64, to: u64) {
    let mut client = Mqtt::connect(site.listener, "gateway");
    for number in from..to {
        let post = number % 40 + 1;
        client.publish(&format!("lamp/z1/P{post:03}/reading"), reading_of(number).as_bytes(), number);
        client.note_acks(200, seconds(10)).unwrap();
    }
    assert!(client.wait_for_acks(seconds(10)));
}

#[test]
fn situation_s42_a_database_that_was_down_gets_every_row_once() {
    let Some(mut victoria) = Victoria::start() else {
        return;
    };
    let site = Site::new().with_database(victoria.port);
    let lampguard = site.start();
    send_to_listener(&site, 0, 500);
    wait_for_rows(&victoria, 500);
    let (status, _) = victoria.process.terminate(seconds(30));
    assert!(status.success(), "{status}");
    // Acknowledgements, history and alarms go on without it.
    send_to_listener(&site, 500, 1500);
    assert_eq!(lampguard.stored(), 1500);
    wait_until("the outage to be seen", seconds(20), || lampguard.metric("lampguard_tsdb_lag_seconds") > 0.0);
    wait_until("the history to have the rows", seconds(10), || {
        lampguard.history("P001", "supply_v").len() == 38
    });
    victoria.start_again();
    wait_for_rows(&victoria, 1500);
    wait_until("the lag to be gone", seconds(20), || lampguard.metric("lampguard_tsdb_lag_seconds") == 0.0);
    lampguard.balanced();
}

#[test]
fn rows_that_a_killed_database_forgot_are_sent_again_and_count_once() {
    let Some(mut victoria) = Victoria::start() else {
        return;
    };
    let started = Instant::now();
    let site = Site::new().with_database(victoria.port);
    let lampguard = site.start();
    send_to_listener(&site, 0, 2000);
    wait_until("the database to accept them", seconds(20), || {
        lampguard.metric("lampguard_tsdb_written_total") >= 2000.0
    });
    // A database tells its lives apart by the second in which it started.
    std::thread::sleep(seconds(2).saturating_sub(started.elapsed()));
    // It answered 204 and has not written everything to disk.
    victoria.process.kill();
    victoria.start_again();
    wait_until("the rows to be sent again", seconds(60), || {
        lampguard.metric("lampguard_tsdb_resent_total") >= 2000.0
    });
    wait_for_rows(&victoria, 2000);
    lampguard.balanced();
}

/// Dangerous readings of one post, and how long the webhook took after the last of them.
fn alarm(stub: &WebhookStub, post: &str, mut send: impl FnMut(&str, &[u8])) -> Duration {
    let topic = format!("lamp/z1/{post}/reading");
    send(&topic, reading(9, 1, 80.0).as_bytes());
    std::thread::sleep(Duration::from_millis(5));
    send(&topic, reading(9, 2, 81.0).as_bytes());
    let sent = Instant::now();
    let told = |stub: &WebhookStub| {
        let mut hooks = stub.opened().into_iter();
        hooks.find(|hook| hook.json()["incident"]["post_id"] == post)
    };
    wait_until(&format!("the alarm of {post}"), seconds(15), || told(stub).is_some());
    told(stub).unwrap().at.saturating_duration_since(sent)
}

/// Fills the disk and proves that acknowledgements stop; returns the sensor that waits for one.
fn stop_journal(site: &Site, lampguard: &Lampguard, disk: &SmallDisk) -> Mqtt {
    let mut sensor = Mqtt::connect(site.listener, "P001");
    sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, 1, 1.0).as_bytes());
    disk.fill();
    // What the open segment still has room for may be acknowledged: it is on the disk.
    let mut seq = 2;
    wait_until("acknowledgements to stop", seconds(30), || {
        sensor.publish("lamp/z1/P001/reading", reading(1, seq, 1.0).as_bytes(), seq);
        seq += 1;
        let _ = sensor.note_acks(0, Duration::from_millis(700));
        sensor.unacked() > 0 && !lampguard.is_ready()
    });
    assert_eq!(lampguard.get("/readyz").status, 503);
    assert_eq!(lampguard.metric("lampguard_journal_stopped"), 1.0);
    sensor
}

#[test]
fn fault_a_full_disk_stops_acknowledgements_and_no_alarm() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let (disk, stub) = (SmallDisk::make(), WebhookStub::start());
    let site = site_on(&disk, &stub).with_broker(mosquitto.port, "");
    let mut lampguard = site.start();
    lampguard.wait_for_broker();
    let mut sensor = stop_journal(&site, &lampguard, &disk);
    let sensor_sent = sensor.acked.len() + sensor.unacked();

    // More than the broker may have in flight: the first subscription is deaf from here on.
    let mut gateway = Mqtt::connect(mosquitto.port, "gateway");
    for number in 0..6000u64 {
        let topic = format!("lamp/z1/P{:03}/reading", number % 15 + 10);
        gateway.publish(&topic, reading(2, number, 1.0).as_bytes(), number);
        gateway.note_acks(1000, seconds(20)).unwrap();
    }
    assert!(gateway.wait_for_acks(seconds(20)));
    wait_until("the second subscription to hear", seconds(20), || {
        lampguard.metric("lampguard_ingester_judge_only_total{source=\"broker\"}") > 0.0
    });
    let by_listener = alarm(&stub, "P002", |topic, payload| sensor.publish(topic, payload, 999));
    let by_broker = alarm(&stub, "P003", |topic, payload| gateway.publish_and_wait(topic, payload));
    assert!(by_listener < seconds(2), "listener: told after {by_listener:?}");
    assert!(by_broker < seconds(2), "broker: told after {by_broker:?}");
    assert!(sensor.unacked() > 2, "something was acknowledged on a full disk");
    assert_eq!(lampguard.get("/readyz").status, 503);
    disk.empty();
    assert!(sensor.wait_for_acks(seconds(20)), "{} are not acknowledged", sensor.unacked());
    wait_until("everything to be stored", seconds(60), || {
        lampguard.stored() >= (sensor_sent + 6000 + 4) as u64
    });
    assert!(lampguard.process.is_alive() && lampguard.is_ready());
    check_after_the_disk_is_back(&site, lampguard, (sensor_sent + 6000 + 4) as u64, &stub);
}

#[test]
fn fault_a_full_disk_turns_http_readings_away_and_the_listener_goes_on_judging() {
    let (disk, stub) = (SmallDisk::make(), WebhookStub::start());
    let site = site_on(&disk, &stub);
    let lampguard = site.start();
    let mut sensor = stop_journal(&site, &lampguard, &disk);
    let took = alarm(&stub, "P002", |topic, payload| sensor.publish(topic, payload, 999));
    assert!(took < seconds(2), "told after {took:?}");
    let refused = lampguard.post("/api/v1/readings", "[{\"post_id\":\"P004\",\"leakage_ma\":1}]");
    assert_eq!((refused.status, refused.code().as_str()), (503, "journal_stopped"), "{}", refused.text);
    disk.empty();
    assert!(sensor.wait_for_acks(seconds(20)), "{} are not acknowledged", sensor.unacked());
    assert_eq!(lampguard.balanced()["stored"], sensor.acked.len());
    assert!(lampguard.is_ready());
    assert_eq!(lampguard.items("/api/v1/incidents").len(), 1);
}

/// A site whose data directory is on the small disk.
fn site_on(disk: &SmallDisk, stub: &WebhookStub) -> Site {
    let journal = format!("[journal]\nmax_bytes = 67108864\nmin_free_bytes = {}\n", disk.min_free_bytes);
    let site =
        Site::new().with_data(&disk.path().join("data")).with(&journal).with(&stub.channel("secret.txt"));
    site.write("secret.txt", "s3cret\n");
    site
}

/// Everything is there once, the incidents are kept, and a restart changes nothing.
fn check_after_the_disk_is_back(site: &Site, lampguard: Lampguard, sent: u64, stub: &WebhookStub) {
    let books = lampguard.balanced();
    let stored = books["stored"].as_u64().unwrap();
    assert_eq!(stored, sent, "{books}");
    let incidents = lampguard.items("/api/v1/incidents");
    assert_eq!(incidents.len(), 2, "{incidents:?}");
    lampguard.stop();
    let lampguard = site.start();
    let after = lampguard.items("/api/v1/incidents");
    for (before, after) in incidents.iter().zip(&after) {
        assert_eq!((&before["id"], &before["due_at"]), (&after["id"], &after["due_at"]));
    }
    assert_eq!(stub.opened().len(), 2, "an incident was told twice");
    assert_eq!(lampguard.balanced()["stored"], stored);
}
