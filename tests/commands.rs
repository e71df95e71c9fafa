//! The command line: what is wrong is named with its value and the way out; exit codes are those of the
//! contract: 0 done, 1 failed, 2 wrong use or wrong configuration.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::process::{finish, program, run, texts};
use common::site::{HEADER, register};
use common::{Mosquitto, Mqtt, Site, Victoria, free_port, reading, seconds};

/// Exit code, standard output and standard error of a command in a folder.
fn told(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(dir, arguments, seconds(60));
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn on(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = site.run(arguments);
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

#[test]
fn wrong_use_ends_with_2_and_help_with_0() {
    let home = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 9] = [
        &[],
        &["fly"],
        &["serve", "--speed", "3"],
        &["demo", "--posts", "0"],
        &["demo", "--posts", "many"],
        &["simulate"],
        &["token", "create", "--role", "king", "--name", "x"],
        &["healthcheck", "--url", "http://127.0.0.1:1"],
        &["bench", "nothing"],
    ];
    for arguments in wrong {
        let (code, out, err) = told(home.path(), arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(out.is_empty() && !err.is_empty(), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let (code, out, _) = told(home.path(), &arguments);
        assert!(code == Some(0) && out.contains("lampguard"), "{arguments:?}: {out}");
    }
}

#[test]
fn without_a_configuration_the_way_to_one_is_told() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["serve"][..], &["doctor"], &["quarantine", "list"]] {
        let (code, _, err) = told(home.path(), arguments);
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {code:?}");
        assert!(err.contains("lampguard config print"), "{arguments:?}: {err}");
    }
    let (code, _, err) = told(home.path(), &["--config", "gone.toml", "serve"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("gone.toml"), "{err}");
}

#[test]
fn config_check_names_eight_different_faults_at_once_each_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        "[site]",
        "time_zone = \"Mars/Base\"",
        "colour = \"red\"",
        "[posts]",
        "file = \"missing.csv\"",
        "[listener]",
        "bind = \"0.0.0.0:1883\"",
        "max_connections = 0",
        "[journal]",
        "max_bytes = 1000",
        "[[zone]]",
        "id = \"z1\"",
        "name = \"Zone 1\"",
        "crew = \"nobody\"",
        "[[channel]]",
        "id = \"fax\"",
        "kind = \"fax\"",
        "[web]",
        "bind = \"0.0.0.0:8080\"",
    ];
    std::fs::write(home.path().join("bad.toml"), lines.join("\n")).unwrap();
    let (code, out, err) = told(home.path(), &["config", "check", "bad.toml"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    let faults = [
        (2, "time_zone"),
        (3, "colour"),
        (5, "missing.csv"),
        (7, "credentials_file"),
        (8, "max_connections"),
        (10, "journal.max_bytes"),
        (14, "nobody"),
        (17, "fax"),
        (19, "web.bind"),
    ];
    for (line, word) in faults {
        let named = err.lines().any(|told| told.contains(&format!("line {line}:")) && told.contains(word));
        assert!(named, "line {line} ({word}) is not named:\n{err}");
    }
    assert!(err.contains("bad.toml"), "{err}");
    std::fs::write(home.path().join("torn.toml"), "[site]\nname = \"x\"\n[posts\nfile = 1\n").unwrap();
    let (code, _, err) = told(home.path(), &["config", "check", "torn.toml"]);
    assert!(code == Some(2) && err.contains("line 3"), "{err}");
}

#[test]
fn the_printed_sample_checks_and_serves_with_its_ports_changed() {
    let home = tempfile::tempdir().unwrap();
    let (code, sample, _) = told(home.path(), &["config", "print"]);
    assert_eq!(code, Some(0));
    let (web, listener) = (free_port(), free_port());
    let sample = sample
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{web}"))
        .replace("bind = \"127.0.0.1:1883\"", &format!("bind = \"127.0.0.1:{listener}\""))
        .replace("127.0.0.1:1884", &format!("127.0.0.1:{}", free_port()))
        .replace("127.0.0.1:8428", &format!("127.0.0.1:{}", free_port()));
    std::fs::write(home.path().join("lampguard.toml"), sample).unwrap();
    std::fs::write(
        home.path().join("posts.csv"),
        format!("{HEADER}\nP1,,z1,r,1,,F1,C1,113,35,1,100,false,,\n"),
    )
    .unwrap();
    let (code, out, err) = told(home.path(), &["config", "check", "lampguard.toml"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("good; 1 posts"), "{out}");
    // Neither its broker nor its database is there; it is ready all the same.
    let mut command = program();
    command.current_dir(home.path()).arg("serve");
    let mut serving = common::Program::start("lampguard serve", command);
    common::wait_until("the sample to be ready", seconds(20), || {
        assert!(serving.is_alive(), "{}", serving.stderr());
        serving.stderr().contains(" ready ")
    });
    assert_eq!(told(home.path(), &["healthcheck"]).0, Some(0));
    Mqtt::connect(listener, "P1").publish_and_wait("lamp/z1/P1/reading", reading(1, 1, 1.0).as_bytes());
    let (status, took) = serving.terminate(seconds(10));
    assert!(status.success() && took < seconds(5), "{status} after {took:?}");
}

#[test]
fn a_register_is_checked_and_every_fault_named_by_its_line() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("good.csv"), format!("\u{feff}{}", register())).unwrap();
    let (code, out, err) = told(home.path(), &["posts", "check", "good.csv"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("good; 40 posts") && out.contains("z2: 20"), "{out}");
    let bad = format!(
        "{HEADER}\nP1,,z1,r,1,,F1,C1,113,35,1,100,false,,\nP1,,z1,r,2,,F1,C1,113,35,1,100,false,,\n\
         P 3,,z1,r,3,,F1,C1,113,35,1,100,false,,\nP4,,z1,r,4,,F1,C1,east,35,1,100,false,,\n"
    );
    std::fs::write(home.path().join("bad.csv"), bad).unwrap();
    let (code, _, err) = told(home.path(), &["posts", "check", "bad.csv"]);
    assert_eq!(code, Some(2), "{err}");
    for line in ["line 3", "line 4", "line 5"] {
        assert!(err.contains(line), "{line} is not named:\n{err}");
    }
    let (code, _, err) = told(home.path(), &["posts", "check", "gone.csv"]);
    assert!(code == Some(1) && err.contains("gone.csv"), "{err}");
}

#[test]
fn a_second_instance_on_one_data_directory_is_refused_and_told_the_first_ones_pid() {
    let site = Site::new();
    let lampguard = site.start();
    let toml = site.toml();
    let other = toml
        .replace(&format!(":{}\"", site.web), &format!(":{}\"", free_port()))
        .replace(&format!(":{}\"", site.listener), &format!(":{}\"", free_port()));
    site.write("other.toml", &other);
    let (code, _, err) = told(site.dir(), &["--config", "other.toml", "serve"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&format!("in use by process {}", lampguard.process.pid())), "{err}");
    assert!(lampguard.is_ready());
    // The refused one has not spoilt what belongs to the first.
    assert_eq!(on(&site, &["healthcheck"]).0, Some(0));
}

#[test]
fn fault_u2_a_data_directory_of_a_newer_version_is_refused_and_left_alone() {
    let site = Site::new();
    std::fs::create_dir_all(site.data()).unwrap();
    std::fs::write(site.data().join("format"), "99\n").unwrap();
    let (code, _, err) = on(&site, &["serve"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("format 99") && err.contains("newer"), "{err}");
    assert_eq!(std::fs::read_to_string(site.data().join("format")).unwrap(), "99\n");
    let mut names: Vec<String> = std::fs::read_dir(site.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["format", "lock"], "a refused directory was written to");
}

#[test]
fn a_data_directory_is_closed_to_others_whichever_command_makes_it() {
    for command in [&["token", "create", "--role", "viewer", "--name", "wall"][..], &["doctor"]] {
        let site = Site::new();
        on(&site, command);
        let mode = std::fs::metadata(site.data()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{command:?}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_key_that_chooses_another() {
    for (key, section) in [("web", "[web] bind"), ("listener", "[listener] bind")] {
        let site = Site::new();
        let port = if key == "web" { site.web } else { site.listener };
        let _holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (code, _, err) = on(&site, &["serve"]);
        assert_eq!(code, Some(1), "{key}: {err}");
        assert!(err.contains(&format!("127.0.0.1:{port}")) && err.contains(section), "{key}: {err}");
    }
}

#[test]
fn healthcheck_says_by_its_exit_code_whether_the_instance_is_ready() {
    let site = Site::new();
    assert_eq!(on(&site, &["healthcheck"]).0, Some(1), "nothing runs");
    let lampguard = site.start();
    let (code, out, err) = on(&site, &["healthcheck"]);
    assert!(code == Some(0) && out.contains("\"ready\":true"), "{out}{err}");
    let (url, token) = (lampguard.url.clone(), lampguard.token.clone());
    let (code, _, err) = told(site.dir(), &["healthcheck", "--url", &url, "--token", &token]);
    assert_eq!(code, Some(0), "{err}");
    lampguard.stop();
    let (code, _, err) = on(&site, &["healthcheck"]);
    assert!(code == Some(1) && err.contains("is the instance running?"), "{err}");
}

#[test]
fn the_journal_is_inspected_beside_a_running_instance() {
    let site = Site::new();
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    for seq in 1..=25 {
        sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, 1.0).as_bytes());
    }
    sensor.publish_and_wait("lamp/z1/P001/reading", b"nonsense");
    let dir = site.data().join("journal");
    let (code, out, err) = told(site.dir(), &["journal", "inspect", dir.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("readings 25") && out.contains("quarantined 1"), "{out}");
    assert!(out.contains("stored 25") && out.contains("damaged 0 bytes"), "{out}");
    sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, 26, 1.0).as_bytes());
    assert_eq!(lampguard.stored(), 26);
    let (code, _, err) = told(site.dir(), &["journal", "inspect", site.dir().to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("DATA_DIR/journal"), "{err}");
}

#[test]
fn a_token_is_the_last_word_of_stdout_and_valid_at_once() {
    let site = Site::new();
    let lampguard = site.start();
    let (code, out, _) = on(&site, &["token", "create", "--role", "viewer", "--name", "wall screen"]);
    let token = out.split_whitespace().last().unwrap();
    assert_eq!((code, token.len()), (Some(0), 40), "{out}");
    let answer = common::http::try_get(&format!("{}/api/v1/accounting", lampguard.url), Some(token)).unwrap();
    assert_eq!(answer.status, 200);
    for (arguments, word) in [
        (&["token", "create", "--role", "crew", "--name", "x"][..], "--zone"),
        (&["token", "create", "--role", "crew", "--name", "x", "--zone", "z9"], "z9"),
    ] {
        let (code, out, err) = on(&site, arguments);
        assert!(code == Some(2) && out.is_empty() && err.contains(word), "{arguments:?}: {err}");
    }
    // What is kept cannot be turned back into a token.
    let database = std::fs::read(site.data().join("accounts.db")).unwrap();
    assert!(!database.windows(40).any(|part| part == token.as_bytes()));
}

#[test]
fn audit_verify_finds_a_single_changed_byte() {
    let site = Site::new();
    let (code, _, err) = on(&site, &["audit", "verify"]);
    assert!(code == Some(1) && err.contains("incidents.db"), "{err}");
    let lampguard = site.start();
    for seq in 1..=2 {
        Mqtt::connect(site.listener, "P001")
            .publish_and_wait("lamp/z1/P001/reading", reading(1, seq, 80.0).as_bytes());
    }
    common::wait_until("the incident", seconds(5), || lampguard.items("/api/v1/incidents").len() == 1);
    common::wait_until("its record", seconds(5), || {
        on(&site, &["audit", "verify"]).1.contains("the chain is whole")
    });
    lampguard.stop();
    let (code, out, err) = on(&site, &["audit", "verify"]);
    assert_eq!(code, Some(0), "{err}");
    let events: u64 =
        out.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert!(events >= 2, "{out}");

    let connection = rusqlite::Connection::open(site.data().join("incidents.db")).unwrap();
    // Somebody who has the file can also take away what guards it.
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .unwrap();
    for trigger in triggers {
        connection.execute(&format!("DROP TRIGGER {trigger}"), []).unwrap();
    }
    let changed = connection.execute(
        "UPDATE event SET body = replace(body, '80', '90') WHERE rowid = (SELECT min(rowid) FROM event WHERE body LIKE '%80%')",
        [],
    );
    assert_eq!(changed.unwrap(), 1, "no event was changed");
    drop(connection);
    let (code, out, err) = on(&site, &["audit", "verify"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
}

#[test]
fn doctor_finds_the_default_queue_of_a_bare_mosquitto_and_passes_the_shipped_settings() {
    let Some(bare) = Mosquitto::start_bare() else {
        return;
    };
    // In MQTT 5 the window is the one that we ask for, whatever this broker's own setting says.
    let (_, out, _) = on(&Site::new().with_broker(bare.port, ""), &["doctor"]);
    assert!(out.contains("MQTT 5") && out.contains("at least 200 messages in flight"), "{out}");
    let site = Site::new().with_broker(bare.port, "protocol = \"3.1.1\"\n");
    let (code, out, _) = on(&site, &["doctor"]);
    assert_eq!(code, Some(1), "{out}");
    let bad: Vec<&str> =
        out.lines().filter(|line| line.starts_with("BAD") && line.contains("broker main")).collect();
    assert!(
        bad.iter().any(|line| line.contains("of 1500 messages") && line.contains("max_queued_messages")),
        "{out}"
    );
    assert!(
        out.lines().any(|line| line.starts_with("WARN") && line.contains("max_inflight_messages")),
        "{out}"
    );

    let shipped = Mosquitto::start().unwrap();
    let site = Site::new().with_broker(shipped.port, "");
    let (_, out, _) = on(&site, &["doctor"]);
    let broker: Vec<&str> = out.lines().filter(|line| line.contains("broker main")).collect();
    assert!(broker.iter().any(|line| line.contains("keeps at least 1500 messages")), "{out}");
    // Whether it survives a restart is read from this machine's own file, which is not the one we started.
    assert!(broker.iter().all(|line| !line.starts_with("BAD") || line.contains("/etc/mosquitto")), "{out}");
    // It leaves nothing behind: a second look finds the same.
    let (_, again, _) = on(&site, &["doctor"]);
    assert!(again.contains("keeps at least 1500 messages"), "{again}");
}

#[test]
fn doctor_finds_a_clock_that_was_set_back_behind_what_is_stored() {
    let site = Site::new();
    let journal = site.data().join("journal");
    std::fs::create_dir_all(&journal).unwrap();
    let segment = std::fs::File::create(journal.join("later")).unwrap();
    segment.set_modified(std::time::SystemTime::now() + seconds(3600)).unwrap();
    let (code, out, _) = on(&site, &["doctor"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.lines()
            .any(|line| line.starts_with("BAD") && line.contains("clock") && line.contains("set back")),
        "{out}"
    );
}

#[test]
fn doctor_finds_a_database_that_would_count_rows_twice() {
    let Some(without) = Victoria::start_without_dedup() else {
        return;
    };
    let (code, out, _) = on(&Site::new().with_database(without.port), &["doctor"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.lines().any(|line| line.starts_with("BAD") && line.contains("dedup.minScrapeInterval")),
        "{out}"
    );
    let with = Victoria::start().unwrap();
    let (code, out, err) = on(&Site::new().with_database(with.port), &["doctor"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.lines().any(|line| line.starts_with("ok") && line.contains("count once")), "{out}");
}

#[test]
fn doctor_names_a_broker_and_a_database_that_are_not_there() {
    let site = Site::new().with_broker(free_port(), "").with_database(free_port());
    let (code, out, err) = on(&site, &["doctor"]);
    assert_eq!(code, Some(1), "{out}{err}");
    for about in ["broker main", "tsdb main"] {
        let named = out
            .lines()
            .any(|line| line.starts_with("BAD") && line.contains(about) && line.contains("not reached"));
        assert!(named, "{about} is not named:\n{out}");
    }
}

#[test]
fn output_into_a_pipe_that_was_closed_is_no_crash() {
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("'{}' config print | head -n 1", env!("CARGO_BIN_EXE_lampguard")));
    let output = finish("config print into head", command, seconds(20));
    let (out, err) = texts(&output);
    assert!(output.status.success() && out.lines().count() == 1 && err.is_empty(), "{err}");
}

#[test]
fn a_cursor_is_forgotten_once_nothing_follows_by_it_and_what_is_there_is_named() {
    let site = Site::new().with_database(free_port());
    let lampguard = site.start();
    let body = r#"{"device":"P001","boot":1,"seq":1,"leakage_ma":1}"#;
    assert_eq!(lampguard.post("/api/v1/readings", body).status, 200);
    let cursor = site.data().join("tsdb-gone.cursor");
    std::fs::write(site.data().join("tsdb-main.cursor"), "0\n").unwrap();
    std::fs::write(&cursor, "5\n").unwrap();
    std::fs::write(site.data().join("forward-west.cursor"), "5\n").unwrap();
    std::fs::write(site.data().join("forward-west.weather"), "").unwrap();
    let forget = |site: &Site, id: &str| {
        let output = site.run(&["journal", "forget", id]);
        let (out, err) = texts(&output);
        (output.status.code(), format!("{out}{err}"))
    };
    let follows = || lampguard.get("/metrics").text.contains("pending_readings{follower=\"tsdb:main\"}");
    common::wait_until("the instance to say who follows its journal", seconds(20), follows);
    let (code, said) = forget(&site, "nowhere");
    assert!(code == Some(2) && said.contains("there are: forward:west, tsdb:gone, tsdb:main"), "{said}");
    let (code, said) = forget(&site, "main");
    assert!(code == Some(2) && said.contains("[[tsdb]] main"), "{said}");
    // Taken out of the configuration, and the instance runs on with the old one.
    let without = Site::new().with_data(site.data());
    let (code, said) = forget(&without, "tsdb:main");
    assert!(code == Some(1) && said.contains("running instance still follows tsdb:main"), "{said}");
    assert!(site.data().join("tsdb-main.cursor").exists());
    let (code, said) = forget(&site, "gone");
    assert!(code == Some(0) && said.contains("tsdb:gone: forgotten") && !cursor.exists(), "{said}");
    let (code, said) = forget(&site, "forward:west");
    assert!(code == Some(0) && !site.data().join("forward-west.weather").exists(), "{said}");
    lampguard.stop();
    let (code, said) = forget(&without, "tsdb:main");
    assert!(code == Some(0) && !site.data().join("tsdb-main.cursor").exists(), "{said}");
}
