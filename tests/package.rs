//! The Debian package: what is in it, its unit, and what `serve` says to systemd. `tests/debian-root` installs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::process::{finish, run, texts};
use common::servers::installed;
use common::{Program, Site, program, seconds};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Asks systemd how exposed a unit is; it fails above 2.0.
fn exposure(unit: &Path) -> Option<Output> {
    let program = installed("systemd-analyze")?;
    let mut command = Command::new(program);
    command.args(["--no-pager", "security", "--offline=true", "--threshold=20"]).arg(unit);
    Some(finish("systemd-analyze", command, seconds(30)))
}

#[test]
fn the_unit_is_exposed_by_two_at_most() {
    let Some(output) = exposure(&deploy("debian/lampguard.service")) else { return };
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    println!("{}", out.trim().lines().last().unwrap());
    // It looks: the same unit without its filter of system calls and its empty set of capabilities is found.
    let home = tempfile::tempdir().unwrap();
    let open = home.path().join("lampguard.service");
    let unit = text("debian/lampguard.service");
    let weak = ["SystemCallFilter", "CapabilityBoundingSet", "Protect", "Restrict"];
    let lines = unit.lines().filter(|line| !weak.iter().any(|key| line.starts_with(key)));
    std::fs::write(&open, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(!exposure(&open).unwrap().status.success());
}

#[test]
fn the_unit_never_gives_up_and_writes_nowhere_but_in_its_state_directory() {
    let unit = text("debian/lampguard.service");
    for line in [
        "Restart=always",
        "StartLimitIntervalSec=0",
        "Type=notify",
        "WatchdogSec=30",
        "LimitNOFILE=65536",
        "OOMScoreAdjust=-500",
        "User=lampguard",
        "StateDirectory=lampguard",
        "ReadWritePaths=/var/lib/lampguard",
        "ProtectSystem=strict",
        "UMask=0077",
    ] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
    // A start that a condition holds back is a good one for systemd, and is not tried again.
    let held = unit.lines().find(|line| line.starts_with("Condition") || line.starts_with("Assert"));
    assert_eq!(held, None);
}

#[test]
fn serve_tells_its_supervisor_that_it_is_ready_that_it_lives_and_that_it_ends() {
    let site = Site::new();
    site.configure();
    let place = site.path("notify");
    let supervisor = UnixDatagram::bind(&place).unwrap();
    supervisor.set_read_timeout(Some(seconds(30))).unwrap();
    let hear = || {
        let mut word = [0; 64];
        let length = supervisor.recv(&mut word).expect("a word within 30 s");
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    let mut command = program();
    command.arg("--config").arg(site.path("lampguard.toml")).arg("serve");
    command.env("NOTIFY_SOCKET", &place).env("WATCHDOG_USEC", "4500000");
    let mut process = Program::start("lampguard serve", command);
    // A slow machine asks for more time before.
    let first = std::iter::repeat_with(hear).find(|word| !word.starts_with("EXTEND_TIMEOUT_USEC="));
    assert_eq!(first.as_deref(), Some("READY=1"));
    let began = Instant::now();
    let lives: Vec<String> = (0..4).map(|_| hear()).collect();
    assert_eq!(lives, ["WATCHDOG=1"; 4]);
    assert!(began.elapsed() < Duration::from_millis(9000), "four words took {:?}", began.elapsed());
    assert!(process.terminate(seconds(10)).0.success());
    let last = std::iter::repeat_with(hear).find(|word| word != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn the_package_s_configuration_is_good_with_its_example_register() {
    let home = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("debian/lampguard.toml", "lampguard.toml"),
        ("debian/posts.csv", "posts.csv"),
        ("policy.toml", "policy.toml"),
    ] {
        std::fs::copy(deploy(from), home.path().join(to)).unwrap();
    }
    let output = run(home.path(), &["config", "check", "lampguard.toml"], seconds(30));
    let (out, err) = texts(&output);
    assert!(output.status.success() && out.contains("4 posts in 1 zone(s)"), "{out}{err}");
    // What is a comment in it is good too, as far as it can be without the files that it names.
    let whole: String = text("debian/lampguard.toml")
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let whole = whole.replace("channels = [\"phone\"]", "channels = [\"console\"]");
    std::fs::write(home.path().join("lampguard.toml"), whole).unwrap();
    let output = run(home.path(), &["config", "check", "lampguard.toml"], seconds(30));
    let (_, err) = texts(&output);
    let other = err.lines().skip(1).filter(|line| !line.contains("certs/"));
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&str>::new(), "{err}");
}

/// Settings of a Mosquitto file that are not about one machine: name and value.
fn settings(name: &str) -> BTreeMap<String, String> {
    let ours = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        let kept = ["max_", "persistence", "autosave", "queue_"].iter().any(|start| key.starts_with(start));
        (kept && key != "persistence_location").then(|| (key.to_owned(), value.trim().to_owned()))
    };
    text(name).lines().filter_map(ours).collect()
}

#[test]
fn both_files_for_mosquitto_keep_as_much_and_take_packets_below_our_own_limit() {
    let (open, secure) = (settings("mosquitto.conf"), settings("mosquitto-tls.conf"));
    assert_eq!(open, secure);
    assert!(open.len() >= 8, "{open:?}");
    let limit: usize = open["max_packet_size"].parse().unwrap();
    assert!(limit < 1 << 20, "{limit}");
    let secure = text("mosquitto-tls.conf");
    for line in ["require_certificate true", "use_identity_as_username true", "allow_anonymous false"] {
        assert!(secure.lines().any(|known| known == line), "{line}");
    }
}

/// The settings of a HOCON file, each under its whole name, comments left out: as much of HOCON as emqx.hocon uses.
fn hocon(text: &str) -> BTreeMap<String, String> {
    let (mut folders, mut found) = (Vec::<&str>::new(), BTreeMap::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_suffix('{') {
            folders.push(name.trim());
        } else if line == "}" {
            folders.pop().expect("a brace that was opened");
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
            let name = folders.iter().copied().chain([key.trim()]).collect::<Vec<_>>().join(".");
            assert_eq!(found.insert(name, value.trim().trim_matches('"').to_owned()), None, "twice: {line}");
        }
    }
    assert!(folders.is_empty(), "{folders:?}");
    found
}

#[test]
fn at_emqx_a_name_is_that_of_the_certificate_and_no_listener_is_open_without_one() {
    let found = hocon(&text("emqx.hocon"));
    for (key, value) in [
        ("mqtt.peer_cert_as_username", "cn"),
        ("listeners.tcp.default.enable", "false"),
        ("listeners.ws.default.enable", "false"),
        ("listeners.wss.default.enable", "false"),
        ("listeners.ssl.default.ssl_options.verify", "verify_peer"),
        ("listeners.ssl.default.ssl_options.fail_if_no_peer_cert", "true"),
        ("authorization.no_match", "deny"),
        // `disconnect` answers a SUBSCRIBE of which one filter is denied by the end of the connection.
        ("authorization.deny_action", "ignore"),
    ] {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key}");
    }
    let rights = text("emqx-acl.conf");
    let rights: Vec<&str> =
        rights.lines().filter(|line| !line.is_empty() && !line.starts_with("%%")).collect();
    assert_eq!(rights.last(), Some(&"{deny, all}."));
    // doctor asks for both in one SUBSCRIBE.
    for topic in ["\"$SYS/broker/version\"", "\"$SYS/brokers/+/version\""] {
        assert!(rights.iter().any(|line| line.contains(topic)), "{topic}");
    }
    let to_all: Vec<_> = rights.iter().filter(|line| line.starts_with("{allow, all")).collect();
    assert!(!to_all.is_empty() && to_all.iter().all(|line| line.contains("${username}")), "{to_all:?}");
}

/// Packs a stub in place of the program: the packing is looked at, and a debug build takes half a minute to compress.
fn build(home: &Path, arguments: &[&str]) -> Output {
    let stub = home.join("stub");
    let help = "Commands:\\n  serve   x\\n  help    y\\n\\nOptions:\\n";
    std::fs::write(&stub, format!("#!/bin/sh\n# GLIBC_2.34 GLIBC_2.4\nprintf '{help}'\n")).unwrap();
    std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(deploy("debian/build"));
    command.arg("--binary").arg(&stub).arg("--out").arg(home).args(arguments);
    finish("deploy/debian/build", command, seconds(120))
}

/// What dpkg-deb says.
fn ask(arguments: &[&str]) -> String {
    let mut command = Command::new("dpkg-deb");
    command.args(arguments);
    texts(&finish("dpkg-deb", command, seconds(60))).0
}

#[test]
fn the_package_holds_program_unit_configuration_and_papers_and_calls_conffiles_so() {
    if installed("dpkg-deb").is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let output = build(home.path(), &["--version", "1.2.3~rc1"]);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    let package = out.trim();
    let listed = ask(&["-c", package]);
    let modes: BTreeMap<&str, (&str, &str)> = listed
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[5].trim_start_matches('.'), (words[0], words[1]))
        })
        .collect();
    for (path, mode) in [
        ("/usr/bin/lampguard", "-rwxr-xr-x"),
        ("/lib/systemd/system/lampguard.service", "-rw-r--r--"),
        ("/usr/lib/sysusers.d/lampguard.conf", "-rw-r--r--"),
        ("/usr/lib/tmpfiles.d/lampguard.conf", "-rw-r--r--"),
        ("/etc/lampguard/", "drwxr-x---"),
        ("/etc/lampguard/lampguard.toml", "-rw-r-----"),
        ("/etc/lampguard/policy.toml", "-rw-r-----"),
        ("/usr/share/doc/lampguard/README.Debian", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/copyright", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/changelog.gz", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/commands.txt", "-rw-r--r--"),
        ("/usr/share/man/man1/lampguard.1.gz", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/docs/book/zh/1-install.md", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/examples/posts.csv", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/examples/rota.example.toml", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/examples/mosquitto-tls.conf", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/examples/mosquitto.acl", "-rw-r--r--"),
        ("/usr/share/doc/lampguard/examples/victoria-metrics.default", "-rw-r--r--"),
    ] {
        assert_eq!(modes.get(path), Some(&(mode, "root/root")), "{path}\n{listed}");
    }
    let foreign =
        modes.keys().filter(|path| path.starts_with("/etc/") && !path.starts_with("/etc/lampguard"));
    assert_eq!(
        foreign.copied().filter(|path| *path != "/etc/").count(),
        0,
        "another package's configuration"
    );
    let fields = ask(&["-f", package]);
    assert!(fields.contains("Version: 1.2.3~rc1") && fields.contains("libc6 (>= 2.34)"), "{fields}");
    assert_eq!(
        ask(&["-I", package, "conffiles"]),
        "/etc/lampguard/lampguard.toml\n/etc/lampguard/policy.toml\n"
    );
}

#[test]
fn the_configuration_is_checked_as_the_user_who_reads_it_and_a_failed_restart_leaves_the_package_whole() {
    let as_service = "runuser -u lampguard -- ";
    for (name, checks) in [("debian/postinst", 2), ("debian/README.Debian", 1)] {
        let text = text(name);
        let found: Vec<&str> = text.lines().filter(|line| line.contains("lampguard config check")).collect();
        assert_eq!(found.len(), checks, "{name}: {found:?}");
        assert!(found.iter().all(|line| line.contains(as_service)), "{name}: {found:?}");
    }
    let postinst = text("debian/postinst");
    let restart = postinst.lines().find(|line| line.contains("systemctl try-restart")).unwrap();
    assert!(restart.ends_with("||"), "{restart}");
}

/// What postinst asks systemctl for at an upgrade, beside a service in this state.
fn asked_at_an_upgrade(state: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let asked = home.path().join("asked");
    let is_active = format!("[ $1 = is-active ] || exit 0\necho {state}\n[ {state} = active ]");
    for (name, does) in [
        ("systemctl", format!("echo \"$@\" >>{}\n{is_active}", asked.display())),
        ("systemd-sysusers", String::new()),
        ("systemd-tmpfiles", String::new()),
        ("dpkg-statoverride", String::new()),
        ("runuser", String::new()),
    ] {
        let path = home.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = text("debian/postinst").replace("/run/systemd/system", home.path().to_str().unwrap());
    let path = format!("{}:{}", home.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "postinst", "configure", "0.1.0"]).env("PATH", path);
    let output = finish("postinst", command, seconds(30));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{state}: {out}{err}");
    std::fs::read_to_string(asked).unwrap()
}

#[test]
fn an_upgrade_restarts_a_service_that_runs_or_is_still_starting_and_no_other() {
    for (state, restarts) in [("active", true), ("activating", true), ("inactive", false), ("failed", false)]
    {
        let asked = asked_at_an_upgrade(state);
        assert_eq!(asked.contains("try-restart lampguard.service"), restarts, "{state}: {asked}");
    }
}

#[test]
fn wrong_words_end_the_packing_with_2() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (&["--version", "x1"][..], "is not one of Debian's"),
        (&["--colour", "red"][..], "is not known"),
        (&["--version"][..], "needs a value"),
    ] {
        let output = build(home.path(), arguments);
        let (_, err) = texts(&output);
        assert!(output.status.code() == Some(2) && err.contains(wanted), "{arguments:?}: {err}");
    }
}
