//! Sensors that show a certificate: it says who they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::certs::{Authority, Pair};
use common::mqtt::{Hello, publish_five};
use common::{Ending, Mqtt, Site, reading, seconds, wait_until};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

/// A site that believes certificates of `sensors`.
fn site(office: &Authority, sensors: &Authority, more: &str) -> Site {
    let keys = "tls_cert = \"server.pem\"\ntls_key = \"server.key\"\nclient_ca = \"sensors.pem\"\n";
    let site = Site::new().with_listener(&format!("{keys}{more}"));
    let server = office.server();
    site.write("server.pem", &server.pem());
    site.write("server.key", &server.key_pem());
    site.write("sensors.pem", &sensors.pem());
    site
}

fn connect(port: u16, office: &Authority, shown: Option<&Pair>) -> Mqtt {
    Mqtt::over(secured(port, config(office, shown, ALL_VERSIONS)))
}

fn secured(port: u16, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(config, name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    StreamOwned::new(session, stream)
}

fn config(
    office: &Authority,
    shown: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(office.der()).unwrap();
    let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = pair.shown();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// True when the handshake or the login ends it.
fn is_turned_away(mut client: Mqtt) -> bool {
    client.send(&Hello::five("x").bytes());
    client.next(seconds(15)) == Err(Ending::Closed)
}

#[test]
fn a_certificate_is_the_login_and_opens_its_own_post_only() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let site = site(&office, &sensors, "");
    let lampguard = site.start();
    let pair = sensors.client("P001");
    let mut old = connect(site.listener, &office, Some(&pair));
    assert_eq!(old.greet(&Hello::new("one")), Ok(0), "3.1.1 without a login");
    old.publish_and_wait("lamp/z1/P001/reading", reading(1, 1, 1.0).as_bytes());
    let mut sensor = connect(site.listener, &office, Some(&pair));
    assert_eq!(sensor.greet(&Hello::five("two").login("P001", "any")), Ok(0), "its own name may be said");
    sensor.send(&publish_five("lamp/z1/P002/reading", reading(1, 2, 99.0).as_bytes(), 1, 5, &[]));
    assert_eq!(sensor.next(seconds(5)).unwrap().body, [0, 5, 0x87], "another post's topic");
    let forged = reading(1, 3, 99.0).replacen('{', "{\"device\":\"P002\",", 1);
    sensor.send(&publish_five("lamp/z1/P001/reading", forged.as_bytes(), 1, 6, &[]));
    sensor.expect(0x40, 6);
    assert_eq!(lampguard.accounting()["quarantined"]["other_device"], 1, "another post in its payload");

    for (hello, code) in [(Hello::five("x"), 0x87), (Hello::new("x"), 5)] {
        let mut other = connect(site.listener, &office, Some(&pair));
        assert_eq!(other.greet(&hello.login("P002", "any")), Ok(code), "another name is said");
        assert!(other.is_closed_within(seconds(5)));
    }
    let books = lampguard.balanced();
    assert_eq!((&books["stored"], &books["refused"]["not_authorised"]), (&1.into(), &1.into()), "{books}");
}

#[test]
fn without_a_certificate_of_that_authority_in_date_and_with_a_name_nobody_gets_in() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let site = site(&office, &sensors, "");
    let lampguard = site.start();
    let strangers = Authority::new("sensors");
    let cases = [
        ("none", None),
        ("one of another authority of the same name", Some(strangers.client("P001"))),
        ("an expired one", Some(sensors.expired("P001"))),
        ("one for a topic filter", Some(sensors.client("+"))),
        ("one of another sensor's name with a level", Some(sensors.client("P001/#"))),
    ];
    for (case, pair) in &cases {
        assert!(is_turned_away(connect(site.listener, &office, pair.as_ref())), "{case}");
    }
    let refused =
        |reason: &str| lampguard.metric(&format!("lampguard_listener_refused_total{{reason=\"{reason}\"}}"));
    wait_until("all to be counted", seconds(5), || (refused("tls"), refused("certificate")) == (3.0, 2.0));
    let mut right = connect(site.listener, &office, Some(&sensors.client("P001")));
    assert_eq!(right.greet(&Hello::new("P001")), Ok(0));
}

#[test]
fn the_credentials_file_widens_a_certificate_revokes_it_and_lets_others_log_in() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let more = "credentials_file = \"who.txt\"\ncertificate_required = false";
    let site = site(&office, &sensors, more);
    let token: String = Sha256::digest("token").iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = format!("gateway:certificate:lamp/z1/+/#\nP009:revoked\nproof:{token}:lamp/+/+/reading\n");
    site.write("who.txt", &lines);
    let lampguard = site.start();
    let mut gateway = connect(site.listener, &office, Some(&sensors.client("gateway")));
    assert_eq!(gateway.greet(&Hello::new("g")), Ok(0));
    gateway.publish_and_wait("lamp/z1/P003/reading", reading(1, 1, 1.0).as_bytes());
    let mut revoked = connect(site.listener, &office, Some(&sensors.client("P009")));
    assert_eq!(revoked.greet(&Hello::five("x")), Ok(0x87));
    let mut unlisted = connect(site.listener, &office, Some(&sensors.client("P002")));
    assert_eq!(unlisted.greet(&Hello::five("x")), Ok(0), "no line: its own post");

    for (login, code) in [
        (Some(("proof", "token")), 0),
        (Some(("gateway", "certificate")), 0x86),
        (Some(("P009", "revoked")), 0x86),
        (None, 0x86),
    ] {
        let mut client = connect(site.listener, &office, None);
        assert_eq!(client.greet(&Hello { login, ..Hello::five("x") }), Ok(code), "{login:?}");
    }
    assert_eq!(lampguard.balanced()["stored"], 1);
}

#[test]
fn no_session_is_resumed_so_every_connection_shows_a_certificate_that_is_in_date() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let site = site(&office, &sensors, "");
    let _lampguard = site.start();
    for version in [&TLS12, &TLS13] {
        let config = config(&office, Some(&sensors.client("P001")), &[version]);
        for connection in 0..3 {
            let mut stream = secured(site.listener, config.clone());
            stream.sock.set_read_timeout(Some(seconds(15))).unwrap();
            stream.write_all(&Hello::new("x").bytes()).unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [0x20, 2, 0, 0]);
            let kind = stream.conn.handshake_kind();
            assert!(
                matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)),
                "{version:?}, connection {connection}: {kind:?}"
            );
            assert_eq!(stream.conn.tls13_tickets_received(), 0);
        }
    }
}

#[test]
fn whoever_is_turned_away_hears_why_though_it_has_sent_more() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let site = site(&office, &sensors, "");
    let _lampguard = site.start();
    let expired = sensors.expired("P001");
    let mut stream = secured(site.listener, config(&office, Some(&expired), &[&TLS13]));
    stream.sock.set_read_timeout(Some(seconds(15))).unwrap();
    // In TLS 1.3 the client is done before its certificate is looked at.
    let _ = stream.write_all(&Hello::new("x").bytes());
    let _ = stream.write_all(&[0; 200_000]);
    std::thread::sleep(Duration::from_millis(300));
    let refused = stream.read(&mut [0; 4]).unwrap_err().to_string();
    assert!(refused.contains("CertificateExpired"), "{refused}");
}

#[test]
fn a_new_certificate_and_authority_hold_without_a_restart_and_broken_files_change_nothing() {
    let (office, sensors) = (Authority::new("office"), Authority::new("sensors"));
    let site = site(&office, &sensors, "");
    let _lampguard = site.start();
    let old = sensors.client("P001");
    let mut in_before = connect(site.listener, &office, Some(&old));
    assert_eq!(in_before.greet(&Hello::new("before")), Ok(0));
    site.write("server.pem", "nothing");
    // The files are looked at every 5 s.
    std::thread::sleep(seconds(6));
    let mut still = connect(site.listener, &office, Some(&old));
    assert_eq!(still.greet(&Hello::new("still")), Ok(0));
    let (new_office, new_sensors) = (Authority::new("new office"), Authority::new("new sensors"));
    let server = new_office.server();
    site.write("server.key", &server.key_pem());
    site.write("server.pem", &server.pem());
    site.write("sensors.pem", &new_sensors.pem());
    std::thread::sleep(seconds(6));
    assert!(is_turned_away(connect(site.listener, &new_office, Some(&old))));
    let mut new = connect(site.listener, &new_office, Some(&new_sensors.client("P001")));
    assert_eq!(new.greet(&Hello::new("new")), Ok(0));
}
