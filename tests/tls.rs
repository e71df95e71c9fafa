//! The socket of the HTTP interface: TLS, and those who connect and then do nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::http::{Browser, try_get};
use common::process::texts;
use common::{Program, Site, seconds, wait_until};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

fn certificate(site: &Site) -> Certificate<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    site.write("web.key", &made.signing_key.serialize_pem());
    site.write("web.pem", &made.cert.pem());
    Certificate::from_der(made.cert.der()).to_owned()
}

fn modified(site: &Site, name: &str) -> SystemTime {
    std::fs::metadata(site.path(name)).unwrap().modified().unwrap()
}

/// An agent that believes this certificate alone.
fn agent(root: &Certificate<'static>) -> ureq::Agent {
    let roots = RootCerts::Specific(Arc::new(vec![root.clone()]));
    ureq::Agent::config_builder()
        .timeout_global(Some(seconds(20)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .into()
}

/// Starts `serve` on a site that speaks TLS.
fn start(site: &Site) -> Program {
    let mut process = site.spawn();
    wait_until("lampguard to be ready", seconds(30), || {
        assert!(process.is_alive(), "{}", process.stderr());
        process.stderr().contains(" ready ")
    });
    process
}

#[test]
fn pages_speak_tls_with_secure_cookies_and_a_new_certificate_counts_without_a_restart() {
    let site = Site::new().with_web("tls_cert = \"web.pem\"\ntls_key = \"web.key\"");
    let first = certificate(&site);
    let mut process = start(&site);
    let root = format!("https://localhost:{}", site.web);
    let text = std::fs::read_to_string(site.data().join("first_login")).unwrap();
    let password = text.trim().split(' ').next_back().unwrap();
    let mut browser = Browser::with(&root, agent(&first));
    let entered = browser.sign_in("admin", password);
    assert_eq!(entered.status, 303, "{}", entered.text);
    let cookie = entered.header("set-cookie");
    assert!(cookie.starts_with("__Host-lampguard=") && cookie.contains("; Secure"), "{cookie}");
    assert!(entered.header("strict-transport-security").contains("max-age"), "{:?}", entered.headers);
    assert_eq!(browser.get("/").status, 200);
    let kiosk = site.token_named("viewer", "wall", &["--kiosk"]);
    let visit = browser.get(&format!("/kiosk/{kiosk}"));
    assert!(visit.header("set-cookie").starts_with("__Host-lampguard-kiosk="), "{:?}", visit.headers);
    // Local commands find their way, whatever name is on the certificate.
    let healthy = site.run(&["healthcheck"]);
    assert!(healthy.status.success(), "{}", texts(&healthy).1);
    let (doctor, _) = texts(&site.run(&["doctor"]));
    let instance = doctor.lines().find(|line| line.contains(" instance ")).unwrap_or_default();
    assert!(instance.starts_with("ok ") && instance.contains("ready at https://"), "{doctor}");
    let file = doctor.lines().next().unwrap_or_default();
    assert!(file.starts_with("ok   configuration ") && file.ends_with("/lampguard.toml"), "{doctor}");
    assert!(try_get(&format!("http://127.0.0.1:{}/healthz", site.web), None).is_err(), "no plain HTTP");
    // A certificate that cannot be used changes nothing; a good one is taken up.
    let key = std::fs::read_to_string(site.path("web.key")).unwrap();
    site.write("web.pem", "no certificate");
    wait_until("the bad certificate to be noticed", seconds(20), || {
        assert_eq!(Browser::with(&root, agent(&first)).get("/signin").status, 200);
        process.stderr().contains("the old one holds")
    });
    assert!(!process.stderr().contains(key.lines().nth(1).unwrap()), "the key shows in the log");
    // With the time that the files have had: one that was mended in place, or copied with its time.
    let times = ["web.pem", "web.key"].map(|name| (name, modified(&site, name)));
    let second = certificate(&site);
    for (name, time) in times {
        std::fs::File::options().write(true).open(site.path(name)).unwrap().set_modified(time).unwrap();
    }
    wait_until("the new certificate", seconds(20), || {
        agent(&second).get(format!("{root}/healthz")).call().is_ok()
    });
    assert!(agent(&first).get(format!("{root}/healthz")).call().is_err());
    let (status, took) = process.terminate(seconds(10));
    assert!(status.success() && took < seconds(5), "{status} {took:?}");
}

#[test]
fn a_handshake_that_never_comes_holds_its_place_for_ten_seconds() {
    let site = Site::new().with_web("tls_cert = \"web.pem\"\ntls_key = \"web.key\"");
    certificate(&site);
    let _process = start(&site);
    let started = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", site.web)).unwrap();
    silent.set_read_timeout(Some(seconds(20))).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!((8..18).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn headers_that_drip_and_idle_connections_end_and_others_are_served_meanwhile() {
    let site = Site::new();
    let lampguard = site.start();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", site.web)).unwrap();
        stream.set_read_timeout(Some(seconds(50))).unwrap();
        stream
    };
    let mut headers = connect();
    headers.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Drip: ").unwrap();
    let mut idle = connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut long = connect();
    let padding = "a".repeat(200 << 10);
    let _ = long.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {padding}\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer);
    let told = String::from_utf8_lossy(&answer).into_owned();
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{told}");
    let started = Instant::now();
    let dripping = std::thread::spawn({
        let mut headers = headers.try_clone().unwrap();
        move || {
            while headers.write_all(b"x").is_ok() && started.elapsed() < seconds(50) {
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    });
    let mut text = String::new();
    while started.elapsed() < seconds(20) {
        assert!(lampguard.is_ready(), "others are served");
        std::thread::sleep(Duration::from_millis(500));
    }
    let _ = headers.read_to_string(&mut text);
    assert!((20..45).contains(&started.elapsed().as_secs()), "headers: {:?}", started.elapsed());
    let mut served = String::new();
    let _ = idle.read_to_string(&mut served);
    assert!(served.contains("200 OK") && started.elapsed() < seconds(45), "idle: {:?}", started.elapsed());
    dripping.join().unwrap();
}

#[test]
fn one_address_holds_256_connections_and_gives_its_places_back() {
    let site = Site::new();
    let lampguard = site.start();
    let crowd: Vec<TcpStream> =
        (0..256).map(|_| TcpStream::connect(("127.0.0.1", site.web)).unwrap()).collect();
    let refused = || {
        let mut one = TcpStream::connect(("127.0.0.1", site.web)).unwrap();
        one.set_read_timeout(Some(seconds(5))).unwrap();
        let _ = one.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        one.read_to_string(&mut answer).is_err() || answer.is_empty()
    };
    wait_until("the crowd to be accepted", seconds(10), refused);
    drop(crowd);
    wait_until("places to be free again", seconds(10), || lampguard.is_ready());
}
