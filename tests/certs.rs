//! `lampguard certs`: its files, as they are, let in whom they should.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use common::mqtt::{Hello, publish_five};
use common::process::{run, texts};
use common::{Ending, Mosquitto, Mqtt, Site, reading, seconds, wait_until};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn certs(dir: &Path, arguments: &str) -> Output {
    let all: Vec<&str> = ["certs"].into_iter().chain(arguments.split_whitespace()).collect();
    run(dir, &all, seconds(60))
}

fn good(output: &Output) -> String {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{out}{err}");
    out
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Connects as `name` of the folder `own`, believing the authority of the folder `office`, to `host`.
fn connect(port: u16, office: &Path, own: Option<(&Path, &str)>, host: &str) -> Result<Mqtt, Ending> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(office.join("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((dir, name)) => {
            let chain = CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    let server = ServerName::try_from(host.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::new(config), server).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut client = Mqtt::over(StreamOwned::new(session, stream));
    client.send(&Hello::five(own.map_or("x", |(_, name)| name)).bytes());
    let answer = client.next(seconds(15))?;
    assert_eq!((answer.first, answer.body[1]), (0x20, 0), "CONNACK of success");
    Ok(client)
}

#[test]
fn a_listener_with_these_files_takes_a_gateway_by_its_certificate_and_no_stranger() {
    let home = tempfile::tempdir().unwrap();
    let (office, strangers) = (home.path().join("office"), home.path().join("strangers"));
    good(&certs(home.path(), "--dir office --server lamps.example --client P001 --client gateway-1"));
    good(&certs(home.path(), "--dir strangers --client P001"));
    let files = format!(
        "tls_cert = \"{0}/server.pem\"\ntls_key = \"{0}/server.key\"\nclient_ca = \"{0}/ca.pem\"\n\
         credentials_file = \"who.txt\"\n",
        office.display()
    );
    let site = Site::new().with_listener(&files);
    // The line that the command prints.
    site.write("who.txt", "gateway-1:certificate:lamp/z1/+/#\n");
    let lampguard = site.start();
    let mut sensor = connect(site.listener, &office, Some((&office, "P001")), "localhost").unwrap();
    sensor.send(&publish_five("lamp/z1/P001/reading", reading(1, 1, 1.0).as_bytes(), 1, 5, &[]));
    sensor.expect(0x40, 5);
    sensor.send(&publish_five("lamp/z1/P002/reading", reading(1, 2, 1.0).as_bytes(), 1, 6, &[]));
    assert_eq!(sensor.next(seconds(5)).unwrap().body, [0, 6, 0x87], "another post's topic");
    for host in ["127.0.0.1", "lamps.example"] {
        let mut gateway = connect(site.listener, &office, Some((&office, "gateway-1")), host).unwrap();
        let seq = host.len() as u64;
        gateway.send(&publish_five("lamp/z1/P003/reading", reading(1, seq, 1.0).as_bytes(), 1, 7, &[]));
        gateway.expect(0x40, 7);
    }
    for (case, own, host) in [
        ("no certificate", None, "localhost"),
        ("one of another authority of the same name", Some((&*strangers, "P001")), "localhost"),
        ("a server's certificate", Some((&*office, "server")), "localhost"),
        ("a server of another name", Some((&*office, "P001")), "other.example"),
    ] {
        assert_eq!(connect(site.listener, &office, own, host).err(), Some(Ending::Closed), "{case}");
    }
    assert_eq!(lampguard.balanced()["stored"], 3);
    // The server's two years and the authority's ten.
    let ends_in = || lampguard.metric("lampguard_certificate_ends_in_seconds");
    wait_until("the ends to be looked at", seconds(20), || ends_in() > (700 + 3600) as f64 * 86_400.0);
}

#[test]
fn what_is_there_is_kept_until_renewal_is_asked_for_and_the_authority_always() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    let said = good(&certs(home.path(), "--server lamps.example --server 192.0.2.7 --client P001 --days 90"));
    for words in
        ["made authority", "made server", "192.0.2.7, localhost, 127.0.0.1", "made client", "client_ca = "]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Each has a port of its own, and who reads renewed files by himself is told from who does not.
    for words in
        ["bind = \"0.0.0.0:8884\"", "listener 8883", "lampguard reads them by itself", "its service reloaded"]
    {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    let names = ["ca.pem", "ca.key", "server.pem", "server.key", "P001.pem", "P001.key"];
    let all = || names.map(|name| read(&dir, name));
    let first = all();
    for name in names.iter().filter(|name| name.ends_with(".key")) {
        let mode = std::fs::metadata(dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let said = good(&certs(home.path(), "--client P001 --client P002"));
    assert!(
        said.contains("kept authority") && said.contains("kept server") && said.contains("kept client"),
        "{said}"
    );
    assert!(said.contains("made client") && dir.join("P002.pem").exists(), "{said}");
    assert_eq!(all(), first);
    // Whoever calls it sees of every certificate of the folder when it ends.
    let said = good(&certs(home.path(), ""));
    for name in ["P001", "P002"] {
        let line = said.lines().find(|line| line.starts_with("there client") && line.ends_with(name));
        assert!(line.is_some_and(|line| line.contains("valid until 20")), "{name}: {said}");
    }
    let output = certs(home.path(), "--server other.example");
    let (_, err) = texts(&output);
    assert!(output.status.code() == Some(1) && err.contains("--renew"), "{err}");
    assert_eq!(all(), first);

    good(&certs(home.path(), "--renew --client P001"));
    let second = all();
    assert_eq!(second[..4], first[..4], "authority and server");
    assert!(second[4] != first[4] && second[5] != first[5]);
    let said = good(&certs(home.path(), "--renew --server other.example"));
    let third = all();
    assert!(
        third[..2] == first[..2] && third[2] != first[2] && third[3] != first[3] && third[4..] == second[4..]
    );
    for name in ["other.example", "lamps.example", "192.0.2.7", "localhost"] {
        assert!(
            said.lines().any(|line| line.starts_with("renewed server") && line.contains(name)),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_renewed_pair_is_read_by_whoever_read_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    good(&certs(home.path(), "--client gateway-1"));
    let is_root = rustix::process::geteuid().is_root();
    for (name, mode) in [("server.key", 0o640), ("server.pem", 0o444)] {
        let path = dir.join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        if is_root {
            std::os::unix::fs::chown(&path, Some(65534), Some(65533)).unwrap();
        }
    }
    // What a try that was broken off left is in nobody's way.
    std::fs::write(dir.join("server.key.new"), "half").unwrap();
    let old = ["server.key", "server.pem"].map(|name| read(&dir, name));
    good(&certs(home.path(), "--renew"));
    assert_ne!(["server.key", "server.pem"].map(|name| read(&dir, name)), old);
    for (name, mode) in [("server.key", 0o640), ("server.pem", 0o444), ("gateway-1.key", 0o600)] {
        let meta = std::fs::metadata(dir.join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{name}");
        if is_root && name.starts_with("server") {
            assert_eq!((meta.uid(), meta.gid()), (65534, 65533), "{name}");
        }
    }
    // A certificate that cannot be written leaves the old pair as it was.
    let old = ["server.key", "server.pem"].map(|name| read(&dir, name));
    std::fs::create_dir_all(dir.join("server.pem.new/x")).unwrap();
    assert!(!certs(home.path(), "--renew").status.success());
    assert_eq!(["server.key", "server.pem"].map(|name| read(&dir, name)), old);
    assert!(!dir.join("server.key.new").exists());
}

/// Mosquitto by its snippet for the field, with the certificates of a folder and these rights.
fn in_the_field(office: &Path, rights: &Path) -> Option<Mosquitto> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto-tls.conf");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    Mosquitto::start_with(|home, port| {
        let line = |line: &str| {
            let place = |name: &str| office.join(name).display().to_string();
            match line.split_whitespace().next() {
                Some("listener") => format!("listener {port} 127.0.0.1\n"),
                Some("certfile") => format!("certfile {}\n", place("server.pem")),
                Some("keyfile") => format!("keyfile {}\n", place("server.key")),
                Some("cafile") => format!("cafile {}\n", place("ca.pem")),
                Some("acl_file") => format!("acl_file {}\n", rights.display()),
                Some("persistence") => format!("{line}\npersistence_location {}/\n", home.display()),
                _ => format!("{line}\n"),
            }
        };
        shipped.lines().map(line).collect()
    })
}

#[test]
fn a_stolen_certificate_writes_nothing_at_mosquitto_once_its_line_stands_in_the_acl() {
    let home = tempfile::tempdir().unwrap();
    let office = home.path().join("office");
    good(&certs(home.path(), "--dir office --client P007 --client P008"));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto.acl");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let rights = home.path().join("rights.acl");
    std::fs::write(&rights, &shipped).unwrap();
    let Some(mut mosquitto) = in_the_field(&office, &rights) else { return };
    let publish = |client: &mut Mqtt, post: &str, id: u16| {
        let topic = format!("lamp/z1/{post}/reading");
        client.send(&publish_five(&topic, reading(1, u64::from(id), 1.0).as_bytes(), 1, id, &[]));
        let answer = client.next(seconds(10)).unwrap();
        assert_eq!(answer.first, 0x40);
        answer.body.get(2).copied().unwrap_or(0)
    };
    let port = mosquitto.port;
    let enter = |name: &str| connect(port, &office, Some((&office, name)), "localhost").unwrap();
    // 0x10: taken, and nobody reads it.
    let taken = [0, 0x10];
    let (mut thief, mut other) = (enter("P007"), enter("P008"));
    assert!(
        taken.contains(&publish(&mut thief, "P007", 1)) && taken.contains(&publish(&mut other, "P008", 1))
    );
    assert_eq!(publish(&mut thief, "P008", 2), 0x87, "another sensor's topic");
    // The example, as it stands in the file.
    let example = shipped.replace("# user P007\n# topic deny", "user P007\ntopic deny");
    assert_ne!(example, shipped);
    std::fs::write(&rights, example).unwrap();
    mosquitto.process.hang_up();
    wait_until("the line to count on the open connection", seconds(20), || {
        publish(&mut thief, "P007", 3) == 0x87
    });
    assert_eq!(publish(&mut enter("P007"), "P007", 4), 0x87, "on a new one");
    assert!(taken.contains(&publish(&mut other, "P008", 5)), "the others write on");
}

#[test]
fn wrong_words_end_with_2_and_write_nothing() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        "--client lamp/#",
        "--client +",
        "--client ../x",
        "--client ca",
        "--server lamps.example:8883",
        "--server https://lamps.example",
        "--days 0",
        "--days 4000",
        "--days soon",
    ] {
        let output = certs(home.path(), arguments);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {err}");
        assert!(!home.path().join("certs").exists(), "{arguments}");
    }
    // An authority without its key signs nothing, and is not replaced.
    good(&certs(home.path(), ""));
    std::fs::remove_file(home.path().join("certs/ca.key")).unwrap();
    let output = certs(home.path(), "--client P001");
    let (_, err) = texts(&output);
    assert!(output.status.code() == Some(1) && err.contains("without the authority's key"), "{err}");
    assert!(!home.path().join("certs/P001.pem").exists());
}
