//! Which publishers can talk to what: a table over publisher, version, QoS and TLS, shown in docs/interop.md.
//!
//! A row is a publisher in one version, a column a QoS with or without TLS. Each cell sends readings of its own and
//! asks the running instance how many were stored. Another place to publish to (a broker that lampguard reads from) is
//! one more [`Place`]; another publisher one more entry of [`PUBLISHERS`].

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::certs::Authority;
use common::servers::find;
use common::{Lampguard, Mosquitto, Site, everything_is_asked_for, free_port, reading, seconds};

/// Readings of one cell.
const COUNT: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "lamp/z1/P001/reading";

/// Where is published to.
struct Place {
    name: &'static str,
    /// Port without TLS.
    plain: Option<u16>,
    /// Port that speaks TLS, and the file of who signed its certificate.
    tls: Option<(u16, PathBuf)>,
    /// Tries that a cell of QoS 0 has: where another broker stands between, nothing is promised. Mosquitto by TLS 1.3 lost
    /// all five of a paho that closed at once, in 1 of 10 runs under load.
    tries: u32,
}

/// One cell.
struct Cell<'a> {
    place: &'a Place,
    /// 4 is 3.1.1.
    version: u8,
    qos: u8,
    tls: bool,
}

impl Cell<'_> {
    /// Zero where there is none: such a cell is not filled.
    fn port(&self) -> u16 {
        let port = if self.tls { self.place.tls.as_ref().map(|(port, _)| *port) } else { self.place.plain };
        port.unwrap_or(0)
    }

    fn authority(&self) -> Option<&Path> {
        self.place.tls.as_ref().filter(|_| self.tls).map(|(_, file)| file.as_path())
    }
}

/// Sends these payloads and returns when they are acknowledged; `Err` says why not.
type Publish = fn(&Cell<'_>, &[String]) -> Result<(), String>;

struct Publisher {
    name: &'static str,
    /// What is missing on this machine, with the package that has it.
    missing: fn() -> Option<&'static str>,
    /// Why it can't do TLS, if so.
    no_tls: Option<&'static str>,
    publish: Publish,
}

const PUBLISHERS: [Publisher; 5] = [
    Publisher { name: "paho (Python)", missing: paho_missing, no_tls: None, publish: paho },
    Publisher { name: "mosquitto_pub", missing: mosquitto_missing, no_tls: None, publish: mosquitto_pub },
    Publisher {
        name: "rumqttc (Rust)",
        missing: || None,
        no_tls: Some("built without TLS"),
        publish: rumqttc,
    },
    Publisher { name: "rumqttc-next (Rust)", missing: || None, no_tls: None, publish: rumqttc_next },
    Publisher { name: "mqtt.js (Node)", missing: node_missing, no_tls: None, publish: mqtt_js },
];

/// Fills the table of one place; rows as docs/interop.md has them.
fn table(place: &Place, lampguard: &Lampguard) -> Vec<String> {
    let (mut rows, mut boot) = (Vec::new(), 1);
    for publisher in &PUBLISHERS {
        if let Some(package) = (publisher.missing)() {
            assert!(!everything_is_asked_for(), "{} needs {package} and LAMPGUARD_TESTS=all", publisher.name);
            let _ = writeln!(
                std::io::stderr(),
                "left out: {} needs {package} (tests/run installs it)",
                publisher.name
            );
            continue;
        }
        for (version, word) in [(4, "3.1.1"), (5, "5")] {
            let mut row = format!("| {} | {} | {word} |", place.name, publisher.name);
            for (tls, qos) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1), (true, 2)] {
                boot += 1;
                let cell = Cell { place, version, qos, tls };
                let found = match (tls, publisher.no_tls, cell.port()) {
                    (true, _, 0) => "no TLS here".to_owned(),
                    (false, _, 0) => "TLS only".to_owned(),
                    (true, Some(reason), _) => reason.to_owned(),
                    _ => fill(&cell, publisher.publish, lampguard, boot),
                };
                row += &format!(" {found} |");
            }
            println!("{row}");
            rows.push(row);
        }
    }
    rows
}

/// One cell: `pass`, or the reason.
fn fill(cell: &Cell<'_>, publish: Publish, lampguard: &Lampguard, boot: u32) -> String {
    let before = lampguard.stored();
    let payloads: Vec<String> = (1..=COUNT as u64).map(|seq| reading(boot, seq, 1.0)).collect();
    for tried in 1..=if cell.qos == 0 { cell.place.tries } else { 1 } {
        if let Err(reason) = publish(cell, &payloads) {
            return reason.lines().last().unwrap_or("failed").replace('|', "/");
        }
        let until = Instant::now() + PATIENCE;
        while lampguard.stored() < before + COUNT as u64 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        if lampguard.stored() == before + COUNT as u64 {
            break;
        }
        println!("QoS 0, TLS {}: {} stored at try {tried}", cell.tls, lampguard.stored() - before);
    }
    match lampguard.stored() - before {
        5 => "pass".to_owned(),
        stored => format!("{stored} of {COUNT} stored"),
    }
}

/// What docs/interop.md says has to be what was found.
fn compare(rows: &[String]) {
    let doc = include_str!("../docs/interop.md");
    let other: Vec<&String> = rows.iter().filter(|row| !doc.lines().any(|line| line == **row)).collect();
    assert!(other.is_empty(), "docs/interop.md says something else than this run:\n{other:#?}");
    assert!(!rows.is_empty());
}

#[test]
fn publishers_in_common_use_reach_the_built_in_listener_in_every_version_qos_and_with_tls() {
    let office = Authority::new("office");
    let site = Site::new();
    let lampguard = site.start();
    // One listener speaks either plain or TLS: a second instance is the TLS port.
    let secure = Site::new().with_listener("tls_cert = \"server.pem\"\ntls_key = \"server.key\"");
    let server = office.server();
    secure.write("server.pem", &server.pem());
    secure.write("server.key", &server.key_pem());
    let authority = secure.write("office.pem", &office.pem());
    let secured = secure.start();
    let plain = Place { name: "listener", plain: Some(site.listener), tls: None, tries: 1 };
    let tls = Place { name: "listener", plain: None, tls: Some((secure.listener, authority)), tries: 1 };
    let (plain, tls) = (table(&plain, &lampguard), table(&tls, &secured));
    // Plain cells of the one, TLS cells of the other.
    let cells = |row: &str| row.split('|').map(str::to_owned).collect::<Vec<String>>();
    let rows = plain.iter().zip(&tls).map(|(plain, tls)| {
        let (mut whole, tls) = (cells(plain), cells(tls));
        whole.splice(7..10, tls[7..10].iter().cloned());
        whole.join("|")
    });
    let rows: Vec<String> = rows.collect();
    rows.iter().for_each(|row| println!("{row}"));
    compare(&rows);
    lampguard.balanced();
    secured.balanced();
}

#[test]
fn publishers_in_common_use_reach_us_through_mosquitto() {
    let office = Authority::new("office");
    let server = office.server();
    let secure = free_port();
    let settings = |home: &Path, port: u16| {
        for (file, text) in
            [("ca.pem", office.pem()), ("cert.pem", server.pem()), ("key.pem", server.key_pem())]
        {
            std::fs::write(home.join(file), text).unwrap();
        }
        let home = home.display();
        format!(
            "allow_anonymous true\nlistener {port} 127.0.0.1\nlistener {secure} 127.0.0.1\n\
             cafile {home}/ca.pem\ncertfile {home}/cert.pem\nkeyfile {home}/key.pem\n"
        )
    };
    let Some(broker) = Mosquitto::start_with(settings) else {
        return;
    };
    let site = Site::new().with_broker(broker.port, "");
    let authority = site.write("office.pem", &office.pem());
    let lampguard = site.start();
    lampguard.wait_for_broker();
    let place =
        Place { name: "Mosquitto", plain: Some(broker.port), tls: Some((secure, authority)), tries: 3 };
    compare(&table(&place, &lampguard));
    lampguard.balanced();
}

/// Runs a publisher that takes its payloads line by line.
fn run(mut command: Command, payloads: &[String]) -> Result<(), String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let mut lines = payloads.join("\n");
    lines.push('\n');
    child.stdin.take().unwrap().write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
    let until = Instant::now() + PATIENCE;
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err("did not end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A script with its arguments: port, version, QoS, topic, file of the authority or nothing.
fn script(program: &Path, flag: &str, text: &str, cell: &Cell<'_>) -> Command {
    let mut command = Command::new(program);
    command.args([
        flag,
        text,
        &cell.port().to_string(),
        &cell.version.to_string(),
        &cell.qos.to_string(),
        TOPIC,
    ]);
    command.arg(cell.authority().unwrap_or(Path::new("")));
    command
}

/// A Python that has paho: Debian's own first, for there the package is.
fn python() -> Option<PathBuf> {
    let all = [Some(PathBuf::from("/usr/bin/python3")), find("python3")];
    all.into_iter().flatten().find(|python| {
        let found =
            Command::new(python).args(["-c", "import paho.mqtt.client"]).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

fn paho_missing() -> Option<&'static str> {
    if python().is_some() { None } else { Some("python3-paho-mqtt") }
}

fn paho(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    const TEXT: &str = r#"
import sys, paho.mqtt.client as mqtt
port, version, qos, topic, authority = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
old = () if not hasattr(mqtt, "CallbackAPIVersion") else (mqtt.CallbackAPIVersion.VERSION2,)
client = mqtt.Client(*old, client_id="paho", protocol=version)
if authority:
    client.tls_set(ca_certs=authority)
client.connect("localhost" if authority else "127.0.0.1", port, 20)
client.loop_start()
for line in sys.stdin:
    client.publish(topic, line.strip(), qos=qos).wait_for_publish()
client.disconnect()
client.loop_stop()
"#;
    run(script(&python().unwrap(), "-c", TEXT, cell), payloads)
}

fn mosquitto_missing() -> Option<&'static str> {
    if find("mosquitto_pub").is_some() { None } else { Some("mosquitto-clients") }
}

fn mosquitto_pub(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    let mut command = Command::new(find("mosquitto_pub").unwrap());
    let (port, qos) = (cell.port().to_string(), cell.qos.to_string());
    let version = if cell.version == 5 { "mqttv5" } else { "mqttv311" };
    command.args(["-h", "localhost", "-p", &port, "-V", version, "-q", &qos, "-t", TOPIC, "-l"]);
    if let Some(file) = cell.authority() {
        command.arg("--cafile").arg(file);
    }
    run(command, payloads)
}

/// Where Debian keeps modules.
const MODULES: &str = "/usr/share/nodejs:/usr/lib/nodejs";

fn node() -> Option<PathBuf> {
    find("node").filter(|node| {
        let mut command = Command::new(node);
        command.args(["-e", "require('mqtt')"]).env("NODE_PATH", MODULES).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn node_missing() -> Option<&'static str> {
    if node().is_some() { None } else { Some("node-mqtt") }
}

fn mqtt_js(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    const TEXT: &str = r#"
const mqtt = require('mqtt'), fs = require('fs');
const [port, version, qos, topic, authority] = process.argv.slice(1);
const lines = fs.readFileSync(0, 'utf8').trim().split('\n');
const client = mqtt.connect((authority ? 'mqtts' : 'mqtt') + '://localhost:' + port, {
  protocolVersion: Number(version), ca: authority ? fs.readFileSync(authority) : undefined, reconnectPeriod: 0 });
client.on('error', e => { console.error(e.message, e.code, e.syscall); process.exit(1); });
let left = lines.length;
client.on('connect', () => lines.forEach(line => client.publish(topic, line, { qos: Number(qos) }, e => {
  if (e) { console.error(e.message, e.code, e.syscall); process.exit(1); }
  if (--left === 0) client.end();
})));
"#;
    let mut command = script(&node().unwrap(), "-e", TEXT, cell);
    command.env("NODE_PATH", MODULES);
    run(command, payloads)
}

fn rumqttc(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    if cell.version == 5 { rumqttc_five(cell, payloads) } else { rumqttc_four(cell, payloads) }
}

fn rumqttc_four(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS};
    let (client, mut connection) = Client::new(MqttOptions::new("rumqttc", "127.0.0.1", cell.port()), 100);
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(cell.qos)];
    for payload in payloads {
        client.publish(TOPIC, qos, false, payload.as_bytes()).map_err(|e| e.to_string())?;
    }
    let mut left = payloads.len();
    for event in connection.iter() {
        match event.map_err(|e| e.to_string())? {
            Event::Outgoing(Outgoing::Publish(_)) if cell.qos == 0 => left -= 1,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
        if left == 0 {
            let _ = client.disconnect();
        }
    }
    Ok(())
}

fn rumqttc_five(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    use rumqttc::Outgoing;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, PubRecReason};
    use rumqttc::v5::{Client, Event, MqttOptions};
    let (client, mut connection) = Client::new(MqttOptions::new("rumqttc", "127.0.0.1", cell.port()), 100);
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(cell.qos)];
    for payload in payloads {
        client.publish(TOPIC, qos, false, payload.clone()).map_err(|e| e.to_string())?;
    }
    let mut left = payloads.len();
    for event in connection.iter() {
        match event.map_err(|e| e.to_string())? {
            Event::Outgoing(Outgoing::Publish(_)) if cell.qos == 0 => left -= 1,
            Event::Incoming(Packet::PubAck(ack)) if ack.reason == PubAckReason::Success => left -= 1,
            Event::Incoming(Packet::PubRec(rec)) if rec.reason != PubRecReason::Success => {
                return Err(format!("{:?}", rec.reason));
            }
            Event::Incoming(Packet::PubComp(_)) => left -= 1,
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
        if left == 0 {
            let _ = client.disconnect();
        }
    }
    Ok(())
}

/// Its maintained fork, which has TLS.
fn rumqttc_next(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    if cell.version == 5 { rumqttc_next_five(cell, payloads) } else { rumqttc_next_four(cell, payloads) }
}

/// How the fork reaches a cell's place, with whom to trust where it speaks TLS.
macro_rules! transport {
    ($rumqttc:ident, $cell:expr) => {
        match $cell.authority() {
            None => $rumqttc::Transport::Tcp,
            Some(file) => $rumqttc::Transport::Tls($rumqttc::TlsConfiguration::Simple {
                ca: std::fs::read(file).map_err(|e| e.to_string())?,
                alpn: None,
                client_auth: None,
            }),
        }
    };
}

fn rumqttc_next_four(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    use rumqttc_four::{Client, Event, MqttOptions, Outgoing, Packet, PublishOptions, QoS};
    let mut options = MqttOptions::new("rumqttc-next", ("localhost", cell.port()));
    options.set_transport(transport!(rumqttc_four, cell));
    let (client, mut connection) = Client::builder(options).capacity(100).build();
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(cell.qos)];
    for payload in payloads {
        client.publish(TOPIC, payload.clone(), PublishOptions::new(qos)).map_err(|e| e.to_string())?;
    }
    let mut left = payloads.len();
    for event in connection.iter() {
        match event.map_err(|e| e.to_string())? {
            Event::Outgoing(Outgoing::Publish(_)) if cell.qos == 0 => left -= 1,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
        if left == 0 {
            let _ = client.disconnect();
        }
    }
    Ok(())
}

fn rumqttc_next_five(cell: &Cell<'_>, payloads: &[String]) -> Result<(), String> {
    use rumqttc_five::mqttbytes::v5::{Packet, PubAckReason, PubRecReason};
    use rumqttc_five::{Client, Event, MqttOptions, Outgoing, PublishOptions, mqttbytes::QoS};
    let mut options = MqttOptions::new("rumqttc-next", ("localhost", cell.port()));
    options.set_transport(transport!(rumqttc_five, cell));
    let (client, mut connection) = Client::builder(options).capacity(100).build();
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(cell.qos)];
    for payload in payloads {
        client.publish(TOPIC, payload.clone(), PublishOptions::new(qos)).map_err(|e| e.to_string())?;
    }
    let mut left = payloads.len();
    for event in connection.iter() {
        match event.map_err(|e| e.to_string())? {
            Event::Outgoing(Outgoing::Publish(_)) if cell.qos == 0 => left -= 1,
            Event::Incoming(Packet::PubAck(ack)) if ack.reason == PubAckReason::Success => left -= 1,
            Event::Incoming(Packet::PubRec(rec)) if rec.reason != PubRecReason::Success => {
                return Err(format!("{:?}", rec.reason));
            }
            Event::Incoming(Packet::PubComp(_)) => left -= 1,
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
        if left == 0 {
            let _ = client.disconnect();
        }
    }
    Ok(())
}

#[test]
fn mqtt_js_reaches_the_listener_over_websocket_plain_and_with_tls() {
    let Some(node) = node() else {
        assert!(!everything_is_asked_for(), "mqtt.js is not installed and LAMPGUARD_TESTS=all");
        let _ = writeln!(std::io::stderr(), "left out: mqtt.js needs node-mqtt (tests/run installs it)");
        return;
    };
    const TEXT: &str = r#"
const mqtt = require('mqtt'), fs = require('fs');
const [url, version, topic, authority] = process.argv.slice(1);
const lines = fs.readFileSync(0, 'utf8').trim().split('\n');
const client = mqtt.connect(url, { protocolVersion: Number(version), reconnectPeriod: 0,
  wsOptions: authority ? { ca: fs.readFileSync(authority) } : {} });
client.on('error', e => { console.error(e.message, e.code, e.syscall); process.exit(1); });
let left = lines.length;
client.on('connect', () => lines.forEach(line => client.publish(topic, line, { qos: 1 }, e => {
  if (e) { console.error(e.message, e.code, e.syscall); process.exit(1); }
  if (--left === 0) client.end();
})));
"#;
    let office = Authority::new("office");
    for secure in [false, true] {
        let port = free_port();
        let tls = if secure { "\ntls_cert = \"server.pem\"\ntls_key = \"server.key\"" } else { "" };
        let site = Site::new().with_listener(&format!("websocket_bind = \"127.0.0.1:{port}\"{tls}"));
        let server = office.server();
        site.write("server.pem", &server.pem());
        site.write("server.key", &server.key_pem());
        let authority = site.write("office.pem", &office.pem());
        let lampguard = site.start();
        for (boot, version) in [(4, "4"), (5, "5")] {
            let url = format!("{}://localhost:{port}/mqtt", if secure { "wss" } else { "ws" });
            let mut command = Command::new(&node);
            command.args(["-e", TEXT, &url, version, TOPIC]).env("NODE_PATH", MODULES);
            command.arg(if secure { authority.as_path() } else { Path::new("") });
            let payloads: Vec<String> = (1..=5).map(|seq| reading(boot, seq, 1.0)).collect();
            assert_eq!(run(command, &payloads), Ok(()), "{url} version {version}");
        }
        lampguard.wait_for_stored(10, seconds(10));
    }
}
