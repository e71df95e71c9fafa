//! Real brokers: TLS with certificates on both sides, MQTT 5, several at once, shared subscriptions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::process::texts;
use common::servers::installed;
use common::{Lampguard, Mosquitto, Mqtt, Program, Site, WebhookStub, free_port, seconds, wait_until};
use lampguard_ingester::source::broker::packet::{Hello, Packet, Version};
use lampguard_ingester::source::broker::tls::TlsFiles;
use lampguard_ingester::source::broker::wire::{Remote, Wire, shown_end};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use serde_json::Value;

fn reading_of(boot: u32, number: u64) -> String {
    format!(r#"{{"boot":{boot},"seq":{number},"leakage_ma":1.5,"supply_v":228.0}}"#)
}

/// Publishes numbers `from` to `to` and waits for the acknowledgements.
fn publish(port: u16, boot: u32, from: u64, to: u64) {
    let mut client = Mqtt::connect(port, &format!("sender-{boot}-{from}"));
    for number in from..to {
        let topic = format!("lamp/z1/P{:03}/reading", number % 40 + 1);
        client.publish(&topic, reading_of(boot, number).as_bytes(), number);
        client.note_acks(100, seconds(10)).unwrap();
    }
    assert!(client.wait_for_acks(seconds(20)));
}

/// Losses of a session; gaps in the running numbers of one post are of this test's making.
fn sessions_lost(books: &Value) -> usize {
    let losses = books["possible_loss"].as_array().unwrap();
    losses.iter().filter(|loss| loss["source"].as_str().unwrap().starts_with("broker:")).count()
}

// ---- TLS

/// An authority of the test's own.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose names are both the same for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Certificate and key for a name; over since 2001 when `expired`.
    fn sign(&self, name: &str, expired: bool) -> (String, String) {
        self.sign_until(name, if expired { 2001 } else { 4096 })
    }

    /// One that ends with that year.
    fn sign_until(&self, name: &str, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Mosquitto with a plain listener, and one of TLS that wants certificates; its folder stays with it.
fn with_tls(ours: &Authority, name: &str, expired: bool) -> Option<(Mosquitto, u16)> {
    let (cert, key) = ours.sign(name, expired);
    let secure = free_port();
    let settings = |home: &Path, port: u16| {
        for (file, text) in [("ca.pem", &ours.1), ("cert.pem", &cert), ("key.pem", &key)] {
            std::fs::write(home.join(file), text).unwrap();
        }
        let home = home.display();
        format!(
            "allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 4096\nlistener {port} 127.0.0.1\nlistener {secure} 127.0.0.1\n\
             cafile {home}/ca.pem\ncertfile {home}/cert.pem\nkeyfile {home}/key.pem\nrequire_certificate true\n"
        )
    };
    Mosquitto::start_with(settings).map(|mosquitto| (mosquitto, secure))
}

/// A site whose broker is reached by TLS: whom it trusts, and whom it comes as.
fn secured(port: u16, trusted: &str, own: Option<(String, String)>) -> Site {
    let files = if own.is_some() { "cert_file = \"own.pem\"\nkey_file = \"own.key\"\n" } else { "" };
    let site = Site::new().with(&format!(
        "[[broker]]\nid = \"main\"\nurl = \"mqtts://localhost:{port}\"\nca_file = \"trusted.pem\"\n{files}"
    ));
    site.write("trusted.pem", trusted);
    if let Some((cert, key)) = own {
        site.write("own.pem", &cert);
        site.write("own.key", &key);
    }
    site
}

/// What doctor says of the broker.
fn doctor(site: &Site) -> String {
    let (out, _) = texts(&site.run(&["doctor"]));
    out.lines().filter(|line| line.contains("broker main")).collect::<Vec<_>>().join("\n")
}

#[test]
fn readings_come_by_tls_with_certificates_on_both_sides_and_each_that_does_not_fit_is_named() {
    let (ours, others) = (Authority::new(), Authority::new());
    let Some((good, secure)) = with_tls(&ours, "localhost", false) else { return };
    let site = secured(secure, &ours.1, Some(ours.sign("lampguard", false)));
    let lampguard = site.start();
    lampguard.wait_for_broker();
    publish(good.port, 1, 0, 300);
    lampguard.wait_for_stored(300, seconds(20));
    assert_eq!(lampguard.metric("lampguard_broker_protocol_level"), 5.0);
    assert!(lampguard.process.stderr().contains("tls=true"), "{}", lampguard.process.stderr());
    lampguard.stop();
    let said = doctor(&site);
    assert!(said.contains("MQTT 5, TLS") && !said.contains("BAD"), "{said}");

    let no_certificate = secured(secure, &ours.1, None);
    let wrong_own = secured(secure, &ours.1, Some(others.sign("lampguard", false)));
    let wrong_authority = secured(secure, &others.1, Some(ours.sign("lampguard", false)));
    let plain_port = secured(good.port, &ours.1, Some(ours.sign("lampguard", false)));
    for (site, words) in [
        (&no_certificate, &["cert_file and key_file"][..]),
        (&wrong_own, &["our certificate", "authority that"]),
        (&wrong_authority, &["the broker's certificate is not signed by ca_file", "trusted.pem"]),
        (&plain_port, &["may speak no TLS on this port"]),
    ] {
        let said = doctor(site);
        assert!(said.contains("BAD") && words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
    for (name, expired, words) in [
        ("localhost", true, "the broker's certificate has expired"),
        ("elsewhere", false, "the broker's certificate is not for localhost"),
    ] {
        let (_broker, secure) = with_tls(&ours, name, expired).unwrap();
        let said = doctor(&secured(secure, &ours.1, Some(ours.sign("lampguard", false))));
        assert!(said.contains("BAD") && said.contains(words), "{words}: {said}");
    }
}

#[test]
fn the_certificate_of_the_broker_itself_is_watched_and_a_reload_of_the_broker_makes_it_another() {
    let ours = Authority::new();
    let Some((mut mosquitto, secure)) = with_tls(&ours, "localhost", false) else { return };
    let site = secured(secure, &ours.1, Some(ours.sign("lampguard", false)));
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let name = "lampguard_certificate_ends_in_seconds{certificate=\"broker_server:main\"}";
    wait_until("the broker's certificate to be seen", seconds(20), || lampguard.metric(name) > 1e10);
    let (out, _) = texts(&site.run(&["doctor"]));
    let line = out.lines().find(|line| line.contains("the broker's own, shown at"));
    assert!(line.is_some_and(|line| line.starts_with("ok") && line.contains("4096-01-01")), "{out}");
    let path = |file: &str| Some(site.path(file));
    let tls = TlsFiles { ca: path("trusted.pem"), cert: path("own.pem"), key: path("own.key") };
    let remote = Remote { host: "localhost".to_owned(), port: secure, tls: Some(tls) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let year = || {
        let end = runtime.block_on(shown_end(&remote)).unwrap().unwrap();
        end.to_rfc3339()[..4].to_owned()
    };
    assert_eq!(year(), "4096");
    let (cert, key) = ours.sign_until("localhost", 3000);
    std::fs::write(mosquitto.home().join("cert.pem"), cert).unwrap();
    std::fs::write(mosquitto.home().join("key.pem"), key).unwrap();
    assert_eq!(year(), "4096", "new files alone are not read");
    mosquitto.process.hang_up();
    wait_until("the renewed one", seconds(20), || year() == "3000");
    assert!(lampguard.is_ready());
}

#[test]
fn faults_of_a_broker_in_the_configuration_are_told_before_the_start() {
    let authority = Authority::new();
    let (cert, _) = authority.sign("lampguard", false);
    let (_, other_key) = authority.sign("lampguard", false);
    for (keys, words) in [
        ("url = \"mqtts://h\"\nca_file = \"missing.pem\"\n", "broker[0].ca_file"),
        ("url = \"mqtts://h\"\nca_file = \"posts.csv\"\n", "no certificate in PEM"),
        ("url = \"mqtts://h\"\ncert_file = \"own.pem\"\n", "cert_file and key_file go together"),
        ("url = \"mqtts://h\"\ncert_file = \"own.pem\"\nkey_file = \"own.key\"\n", "does not fit cert_file"),
        ("url = \"mqtt://h\"\nca_file = \"own.pem\"\n", "is for TLS"),
        ("url = \"http://h\"\n", "neither mqtt:// nor mqtts://"),
        ("url = \"mqtt://h\"\nprotocol = \"4\"\n", "protocol"),
        ("url = \"mqtt://h\"\nshared_group = \"a/b\"\n", "broker[0].shared_group"),
    ] {
        let site = Site::new().with(&format!("[[broker]]\nid = \"main\"\n{keys}"));
        site.write("own.pem", &cert);
        site.write("own.key", &other_key);
        site.configure();
        let output = site.run(&["config", "check", site.path("lampguard.toml").to_str().unwrap()]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{keys}: {out}{err}");
        assert!(format!("{out}{err}").contains(words), "{keys}: {out}{err}");
    }
}

// ---- MQTT 5 and 3.1.1

/// Settings of a Mosquitto that keeps sessions, with a snapshot each second.
fn keeping(home: &Path, port: u16) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         autosave_interval 1\nmax_queued_messages 100000\nmax_inflight_messages 4096\n",
        home.display()
    )
}

#[test]
fn kill_9_of_broker_and_of_us_loses_nothing_and_doubles_nothing_in_either_version() {
    for (protocol, level) in [("auto", 5.0), ("5", 5.0), ("3.1.1", 4.0)] {
        let Some(mut mosquitto) = Mosquitto::start_with(keeping) else { return };
        let site = Site::new().with_broker(mosquitto.port, &format!("protocol = \"{protocol}\"\n"));
        let mut lampguard = site.start();
        lampguard.wait_for_broker();
        assert_eq!(lampguard.metric("lampguard_broker_protocol_level"), level, "{protocol}");
        let port = mosquitto.port;
        let sending = std::thread::spawn(move || publish(port, 1, 0, 3000));
        wait_until("the stream to flow", seconds(20), || lampguard.stored() > 100);
        lampguard.process.kill();
        sending.join().unwrap();
        // What was sent while we were away, and what we had not acknowledged.
        let lampguard = site.start();
        wait_until("every reading", seconds(60), || lampguard.stored() >= 3000);
        // The broker has saved all this by then; what it sends again is known.
        std::thread::sleep(seconds(3));
        mosquitto.process.kill();
        mosquitto.start_again();
        wait_until("the connection to be back", seconds(60), || {
            lampguard.metric("lampguard_broker_reconnect_total") >= 1.0
                && lampguard.metric("lampguard_broker_up") > 0.0
        });
        publish(port, 2, 0, 500);
        wait_until("the second part", seconds(60), || lampguard.stored() >= 3500);
        let books = lampguard.balanced();
        assert_eq!((&books["stored"], sessions_lost(&books)), (&3500.into(), 0), "{protocol}: {books}");
    }
}

#[test]
fn a_session_begun_in_3_1_1_goes_on_in_5_and_back() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let mut sent = 0;
    let home = Site::new();
    for protocol in ["3.1.1", "5", "3.1.1"] {
        let keys = format!("client_id = \"same\"\nprotocol = \"{protocol}\"\n");
        let site = Site::new().with_data(home.data()).with_broker(mosquitto.port, &keys);
        if sent > 0 {
            // While nobody is connected.
            publish(mosquitto.port, 1, sent, sent + 50);
            sent += 50;
        }
        let lampguard = site.start();
        lampguard.wait_for_broker();
        publish(mosquitto.port, 1, sent, sent + 50);
        sent += 50;
        lampguard.wait_for_stored(sent, seconds(20));
        assert_eq!(sessions_lost(&lampguard.balanced()), 0);
        lampguard.stop();
    }
}

#[test]
fn a_receive_maximum_bounds_what_a_broker_sends_before_it_is_acknowledged() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let remote = Remote { host: "127.0.0.1".to_owned(), port: mosquitto.port, tls: None };
    for (version, most) in [(Version::V5, 50), (Version::V4, 400)] {
        let port = mosquitto.port;
        let came = runtime.block_on(async {
            let hello = Hello {
                client_id: "window",
                login: None,
                clean: true,
                expiry_s: 0,
                keep_alive_s: 60,
                window: 50,
                packet_max: 1 << 20,
            };
            let (mut wire, welcome) = Wire::open(&remote, version, &hello, 1 << 20).await.unwrap();
            assert_eq!(welcome.version, version);
            wire.subscribe(&["lamp/#".to_owned()], 1).unwrap();
            wire.flush().await.unwrap();
            assert_eq!(wire.next().await.unwrap(), Packet::Subscribed(vec![1]));
            std::thread::spawn(move || publish(port, 1, 0, 400)).join().unwrap();
            let mut came = 0;
            while let Ok(packet) = tokio::time::timeout(Duration::from_secs(1), wire.next()).await {
                came += usize::from(matches!(packet.unwrap(), Packet::Publish(_)));
            }
            came
        });
        assert_eq!(came, most, "{version:?}");
    }
}

// ---- several at once

#[test]
fn of_two_brokers_one_goes_on_while_the_other_is_away() {
    let (Some(north), Some(mut south)) = (Mosquitto::start(), Mosquitto::start()) else { return };
    let broker =
        |id: &str, port: u16| format!("[[broker]]\nid = \"{id}\"\nurl = \"mqtt://127.0.0.1:{port}\"\n");
    let site = Site::new()
        .with(&broker("north", north.port))
        .with(&broker("south", south.port))
        .with("[policy]\nfile = \"policy.toml\"\n");
    site.write("policy.toml", "[system]\nfailing_for = \"3 s\"\ngood_for = \"3 s\"\n");
    let lampguard = site.start();
    let up = |id: &str| lampguard.metric(&format!("lampguard_broker_up{{broker=\"{id}\"}}")) > 0.0;
    wait_until("both", seconds(40), || up("north") && up("south"));
    let names = ["north", "south"]
        .map(|id| std::fs::read_to_string(site.data().join(format!("broker-{id}.client_id"))).unwrap());
    assert_ne!(names[0], names[1]);
    publish(north.port, 1, 0, 200);
    publish(south.port, 2, 0, 200);
    lampguard.wait_for_stored(400, seconds(20));
    // The same reading by both is one.
    publish(south.port, 1, 0, 200);
    wait_until("the copies", seconds(20), || lampguard.accounting()["duplicate"] == 200);

    south.stop();
    let faults = || lampguard.items("/api/v1/incidents");
    wait_until("the fault", seconds(30), || !faults().is_empty());
    let told: Vec<(String, String)> = faults()
        .iter()
        .map(|fault| (fault["kind"].as_str().unwrap().to_owned(), fault["place"].to_string()))
        .collect();
    assert_eq!(told, [("system".to_owned(), "\"broker:south\"".to_owned())]);
    assert!(up("north") && !up("south"));
    publish(north.port, 1, 200, 400);
    wait_until("the other's readings", seconds(20), || lampguard.stored() == 600);
    south.start_again();
    wait_until("the one that was away", seconds(60), || up("south"));
    publish(south.port, 2, 200, 300);
    lampguard.wait_for_stored(700, seconds(20));
    let books = lampguard.balanced();
    assert_eq!(sessions_lost(&books), 0, "{books}");
    let (out, _) = texts(&site.run(&["doctor"]));
    assert!(out.contains("broker north") && out.contains("broker south"), "{out}");
}

// ---- a shared subscription, stored and not judged

#[test]
fn two_instances_share_a_subscription_and_what_they_do_not_judge_raises_nothing_ever() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let stub = WebhookStub::start();
    let keys = "shared_group = \"stores\"\njudge = false\n";
    let sites = [1, 2].map(|_| {
        let site = Site::new().with_broker(mosquitto.port, keys).with(&stub.channel("secret.txt"));
        site.write("secret.txt", "s3cret\n");
        site
    });
    let mut instances: Vec<Lampguard> = sites.iter().map(Site::start).collect();
    instances.iter().for_each(Lampguard::wait_for_broker);
    let dangerous = |from: u64, to: u64| {
        let mut client = Mqtt::connect(mosquitto.port, "gateway");
        for number in from..to {
            let topic = format!("lamp/z1/P{:03}/reading", number % 5 + 1);
            client.publish(&topic, common::reading(1, number, 250.0).as_bytes(), number);
            client.note_acks(100, seconds(10)).unwrap();
        }
        assert!(client.wait_for_acks(seconds(20)));
    };
    let stored = |instances: &[Lampguard]| instances.iter().map(Lampguard::stored).collect::<Vec<_>>();
    dangerous(0, 600);
    wait_until("all of it, at one or the other", seconds(30), || {
        stored(&instances).iter().sum::<u64>() == 600
    });
    assert!(stored(&instances).iter().all(|count| *count > 100), "{:?}", stored(&instances));
    // One is killed: the replay of its journal judges them no more than it did.
    instances[0].process.kill();
    instances[0] = sites[0].start();
    instances[0].wait_for_broker();
    dangerous(600, 900);
    wait_until("the rest", seconds(30), || stored(&instances).iter().sum::<u64>() == 900);
    std::thread::sleep(seconds(2));
    for lampguard in &instances {
        lampguard.balanced();
        assert_eq!(lampguard.items("/api/v1/incidents?state=all"), [] as [Value; 0]);
    }
    assert!(instances[1].metric("lampguard_ingester_marked_total{mark=\"not_judged\"}") > 100.0);
    assert!(stub.opened().is_empty());
    let said = doctor(&sites[0]);
    assert!(said.contains("knows shared subscriptions"), "{said}");
}

// ---- NATS

/// NATS with its MQTT port, in a folder of its own.
fn spawn_nats(program: &Path, home: &Path, port: u16) -> Program {
    let mut command = Command::new(program);
    command.arg("-c").arg(home.join("nats.conf"));
    let mut process = Program::start("nats-server", command);
    wait_until("NATS to listen", seconds(30), || {
        assert!(process.is_alive(), "NATS ended at once:\n{}", process.stderr());
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    process
}

#[test]
fn nats_keeps_the_session_over_kill_9_of_itself_and_of_us_and_speaks_3_1_1() {
    let Some(program) = installed("nats-server") else { return };
    let (home, port, own) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let settings = format!(
        "server_name: lampguard\nlisten: 127.0.0.1:{own}\njetstream {{ store_dir: \"{}\" }}\n\
         mqtt {{ listen: \"127.0.0.1:{port}\", max_ack_pending: 4096, ack_wait: \"3s\" }}\n",
        home.path().join("js").display()
    );
    std::fs::write(home.path().join("nats.conf"), settings).unwrap();
    let mut nats = spawn_nats(&program, home.path(), port);
    let site = Site::new().with_broker(port, "");
    let mut lampguard = site.start();
    lampguard.wait_for_broker();
    assert_eq!(lampguard.metric("lampguard_broker_protocol_level"), 4.0);
    let sending = std::thread::spawn(move || publish(port, 1, 0, 2000));
    wait_until("the stream to flow", seconds(30), || lampguard.stored() > 50);
    lampguard.process.kill();
    sending.join().unwrap();
    let lampguard = site.start();
    wait_until("every reading", seconds(60), || lampguard.stored() >= 2000);
    nats.kill();
    let _nats = spawn_nats(&program, home.path(), port);
    wait_until("the connection to be back", seconds(60), || {
        lampguard.metric("lampguard_broker_reconnect_total") >= 1.0
            && lampguard.metric("lampguard_broker_up") > 0.0
    });
    publish(port, 2, 0, 200);
    wait_until("the second part", seconds(60), || lampguard.stored() >= 2200);
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], sessions_lost(&books)), (&2200.into(), 0), "{books}");
}
