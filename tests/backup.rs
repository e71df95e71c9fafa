//! `backup` and `restore`, by the built program, while readings come in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::process::texts;
use common::{
    Ending, Lampguard, Mqtt, Program, Site, Victoria, http, now_ms, program, reading, seconds, wait_until,
};
use serde_json::{Value, json};

/// Readings a second of the stream.
const RATE: u64 = 3000;

/// Publishes one reading after the other until it is told to end.
struct Stream {
    /// Numbers below this one were acknowledged.
    acked: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

/// The same bytes whenever it is sent: its time is part of what makes it a duplicate.
fn reading_of(start: i64, number: u64) -> (String, String) {
    let (post, ts) = (number % 38 + 1, start + i64::try_from(number).unwrap());
    let payload =
        format!(r#"{{"ts":{ts},"boot":7,"seq":{number},"leakage_ma":1.5,"shell_v":0.2,"supply_v":228.0}}"#);
    (format!("lamp/z1/P{post:03}/reading"), payload)
}

impl Stream {
    fn start(port: u16, start: i64) -> Self {
        let (acked, end) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (its_acked, its_end) = (acked.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Mqtt::connect(port, "gateway");
            let (began, mut number, mut slowest) = (Instant::now(), 0, Duration::ZERO);
            let mut sent = VecDeque::new();
            while !its_end.load(Ordering::Relaxed) {
                let (topic, payload) = reading_of(start, number);
                client.publish(&topic, payload.as_bytes(), number);
                number += 1;
                if number % 50 == 0 {
                    sent.push_back((number, Instant::now()));
                    let noted = client.note_acks(0, Duration::from_millis(1));
                    assert_ne!(noted, Err(Ending::Closed));
                    // They come in the order of sending.
                    let acked = number - client.unacked() as u64;
                    its_acked.store(acked, Ordering::Relaxed);
                    while let Some((_, at)) = sent.pop_front_if(|(waits, _)| *waits <= acked) {
                        slowest = slowest.max(at.elapsed());
                    }
                }
                let due = Duration::from_micros(number * 1_000_000 / RATE);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            assert!(client.wait_for_acks(seconds(20)));
            its_acked.store(number, Ordering::Relaxed);
            (number, slowest)
        });
        Self { acked, end, thread }
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// How many there were, and the longest wait for one of their acknowledgements, every fiftieth looked at.
    fn end(self) -> (u64, Duration) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What has to be the same of each incident, whatever became of the process.
fn facts(lampguard: &Lampguard) -> Vec<Value> {
    let mut cases = lampguard.items("/api/v1/incidents?state=all");
    cases.sort_by_key(|case| case["id"].to_string());
    let kept = ["id", "kind", "severity", "post_id", "opened_at", "due_at", "state", "evidence"];
    cases.iter().map(|case| kept.iter().map(|key| case[*key].clone()).collect()).collect()
}

fn good(output: &std::process::Output) -> String {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out
}

/// Exit code and message of what has to fail.
fn refused(output: &std::process::Output) -> (Option<i32>, String) {
    let (out, err) = texts(output);
    assert!(!output.status.success(), "it went through: {out}");
    (output.status.code(), err)
}

fn words(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Two posts are dangerous, and somebody acts on one of them.
fn two_incidents(site: &Site, lampguard: &Lampguard) {
    let mut sensor = Mqtt::connect(site.listener, "danger");
    for post in ["P039", "P040"] {
        for seq in 1..=3 {
            sensor.publish_and_wait(
                &format!("lamp/z2/{post}/reading"),
                reading(9, seq, 90.0 + seq as f64).as_bytes(),
            );
        }
    }
    wait_until("two incidents", seconds(20), || facts(lampguard).len() == 2);
    let duty = site.token("duty", &[]);
    let id = lampguard.items("/api/v1/incidents")[0]["id"].as_str().unwrap().to_owned();
    let moved = http::try_post(
        &format!("{}/api/v1/incidents/{id}/acknowledge", lampguard.url),
        Some(&duty),
        json!({ "key": "1", "at": null }).to_string().as_bytes(),
    );
    assert_eq!(moved.unwrap().status, 200);
}

/// The database holds that many readings of the stream, each once.
fn each_row_once(victoria: &Victoria, count: u64) {
    let ours = || {
        let rows = victoria.rows();
        rows.into_iter().filter(|((_, boot, _), _)| *boot == 7).collect::<Vec<_>>()
    };
    wait_until("the database to have every row", seconds(90), || ours().len() as u64 >= count);
    let twice: Vec<_> = ours().into_iter().filter(|(_, times)| *times != 1).collect();
    assert_eq!((ours().len() as u64, twice), (count, Vec::new()));
}

#[test]
fn a_backup_under_load_holds_every_reading_acknowledged_before_it_and_the_same_incidents_and_deadlines() {
    let victoria = Victoria::start();
    let with_database = |site: Site| match &victoria {
        Some(victoria) => site.with_database(victoria.port),
        None => site,
    };
    let old = with_database(Site::new());
    let lampguard = old.start();
    two_incidents(&old, &lampguard);
    let known = facts(&lampguard);

    let start = now_ms();
    let stream = Stream::start(old.listener, start);
    wait_until("the stream to flow", seconds(30), || stream.acked() > 4000);
    let (before, out) = (stream.acked(), old.path("backup"));
    let told = good(&old.run(&["backup", "--out", &words(&out)]));
    let during = stream.acked() - before;
    wait_until("the stream to go on", seconds(30), || stream.acked() > before + during + 1000);
    let (count, slowest) = stream.end();
    assert!(during > 0, "nothing came in while the backup was made");
    assert!(told.contains("readings acknowledged up to"), "{told}");
    println!(
        "backup beside {RATE}/s: {during} acknowledged meanwhile, longest wait for an acknowledgement {slowest:?}"
    );
    assert!(slowest < seconds(5), "acknowledgements waited {slowest:?}");
    drop(lampguard);

    let new = with_database(Site::new());
    good(&new.run(&["restore", &words(&out)]));
    let lampguard = new.start();
    assert_eq!(facts(&lampguard), known, "incidents, states and deadlines");
    let books = lampguard.balanced();
    let stored = books["stored"].as_u64().unwrap() - 6;
    assert!(stored >= before, "{before} were acknowledged before the backup, {stored} are there: {books}");
    good(&new.run(&["audit", "verify"]));

    // Everybody sends all of it again: what is there is known, what is not comes in. Nothing is there twice.
    let mut sensor = Mqtt::connect(new.listener, "gateway");
    for number in 0..count {
        let (topic, payload) = reading_of(start, number);
        sensor.publish(&topic, payload.as_bytes(), number);
        sensor.note_acks(400, seconds(20)).unwrap();
    }
    assert!(sensor.wait_for_acks(seconds(20)));
    let books = lampguard.balanced();
    assert_eq!(
        (books["stored"].as_u64(), books["duplicate"].as_u64()),
        (Some(count + 6), Some(stored)),
        "{books}"
    );
    wait_until("the history to have every row once", seconds(60), || {
        let rows = |post: u64| lampguard.history(&format!("P{post:03}"), "supply_v").len() as u64;
        (1..=38).map(rows).sum::<u64>() == count
    });
    if let Some(victoria) = victoria {
        each_row_once(&victoria, count);
    }
}

#[test]
fn a_first_evening_without_a_reading_is_backed_up_whole_wherever_its_folders_lie() {
    let old = Site::new();
    old.start().stop();
    // The months were moved to a larger disk.
    let (history, moved) = (old.data().join("history"), old.path("history-moved"));
    std::fs::rename(&history, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &history).unwrap();
    let lampguard = old.start();
    let duty = old.token("duty", &[]);
    let told = json!({ "key": "1", "what": "shock", "post_id": "P001", "caller": "a caller" });
    let answer = http::try_post(
        &format!("{}/api/v1/incidents", lampguard.url),
        Some(&duty),
        told.to_string().as_bytes(),
    );
    let answer = answer.unwrap();
    assert!([200, 201].contains(&answer.status), "{}", answer.text);
    let known = facts(&lampguard);
    assert_eq!(known.len(), 1);
    let inside = std::fs::read_dir(old.data().join("journal")).unwrap().flatten();
    assert_eq!(inside.map(|entry| entry.path()).collect::<Vec<_>>(), [] as [std::path::PathBuf; 0]);
    let out = old.path("backup");
    good(&old.run(&["backup", "--out", &words(&out)]));
    assert!(out.join("data/history/history.db").is_file(), "what lies behind the link");
    assert!(!old.path("backup.unfinished").exists());
    lampguard.stop();

    let new = Site::new();
    good(&new.run(&["restore", &words(&out)]));
    let lampguard = new.start();
    assert_eq!(facts(&lampguard), known);
    let again = http::try_get(&format!("{}/api/v1/incidents", lampguard.url), Some(&duty)).unwrap();
    assert_eq!(again.status, 200, "its accounts are those of before");
}

#[test]
fn a_restored_instance_says_so_until_people_end_it_and_confirms_no_isolation_of_before() {
    let impatient = || {
        let site = Site::new().with("[policy]\nfile = \"policy.toml\"\n");
        site.write("policy.toml", "[system]\nfailing_for = \"1 s\"\n");
        site
    };
    let old = impatient();
    let lampguard = old.start();
    two_incidents(&old, &lampguard);
    let id = lampguard.items("/api/v1/incidents")[0]["id"].as_str().unwrap().to_owned();
    let act = |lampguard: &Lampguard, token: &str, id: &str, verb: &str, more: Value| {
        let mut body = json!({ "key": verb, "on_behalf_of": "c2", "method": "isolated", "breaker": "Q1",
            "extent": "post", "cause": "x", "parts": "-", "reason": "called" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let url = format!("{}/api/v1/incidents/{id}/{verb}", lampguard.url);
        let answer = http::try_post(&url, Some(token), body.to_string().as_bytes()).unwrap();
        assert!([200, 202].contains(&answer.status), "{verb}: {}", answer.text);
        answer.json()
    };
    let duty = old.token_named("duty", "shen", &[]);
    act(&lampguard, &duty, &id, "arrive", json!({}));
    act(&lampguard, &duty, &id, "make_safe", json!({}));
    let safety = |lampguard: &Lampguard| lampguard.json(&format!("/api/v1/incidents/{id}"))["safety"].clone();
    assert_eq!(safety(&lampguard), "已断电");
    let out = old.path("backup");
    good(&old.run(&["backup", "--out", &words(&out)]));
    assert!(!old.data().join("restored").exists());
    lampguard.stop();

    let new = impatient();
    let told = good(&new.run(&["restore", &words(&out)]));
    for wanted in ["isolations", "open again", "taken back"] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let lampguard = new.start();
    assert_eq!(safety(&lampguard), "未确认断电，视为带电");
    let told = lampguard.items("/api/v1/notices?limit=1000");
    let doubts = |item: &&Value| item["incident_id"] == id.as_str() && item["event"] == "incident.repeated";
    assert!(told.iter().any(|item| doubts(&item)), "{told:?}");
    let notice = |lampguard: &Lampguard| {
        let mut all = lampguard.items("/api/v1/incidents?state=all");
        all.retain(|case| {
            case["kind"] == "system"
                && case["place"].as_str().is_some_and(|place| place.starts_with("restored:"))
        });
        all
    };
    wait_until("the notice", seconds(30), || !notice(&lampguard).is_empty());
    assert!(notice(&lampguard)[0]["notes"].to_string().contains("数据恢复至"), "{:?}", notice(&lampguard));
    lampguard.stop();
    // Another start neither forgets it nor tells it twice, and what somebody confirmed holds.
    let lampguard = new.start();
    assert_eq!(safety(&lampguard), "未确认断电，视为带电");
    act(&lampguard, &duty, &id, "make_safe", json!({ "key": "confirmed" }));
    assert_eq!(safety(&lampguard), "已断电");
    let system = notice(&lampguard);
    assert_eq!(system.len(), 1, "{system:?}");
    let system = system[0]["id"].as_str().unwrap().to_owned();
    let asked = act(&lampguard, &duty, &system, "void", json!({ "on_behalf_of": null }));
    let second = new.token_named("duty", "lin", &[]);
    let agreed = json!({ "on_behalf_of": null, "second": asked["pending_id"] });
    act(&lampguard, &second, &system, "void", agreed);
    wait_until("the file to go", seconds(20), || !new.data().join("restored").exists());
    lampguard.stop();
    let lampguard = new.start();
    assert_eq!(safety(&lampguard), "已断电");
    std::thread::sleep(seconds(4));
    assert_eq!(notice(&lampguard).len(), 1, "it is told no more");
}

#[test]
fn what_is_damaged_is_backed_up_all_the_same_and_told() {
    let site = Site::new();
    for run in 0..3 {
        let lampguard = site.start();
        if run == 0 {
            two_incidents(&site, &lampguard);
        }
        let mut sensor = Mqtt::connect(site.listener, "P001");
        for seq in 1..=5 {
            sensor.publish_and_wait("lamp/z1/P001/reading", reading(run + 1, seq, 1.0).as_bytes());
        }
        lampguard.stop();
    }
    let journal = site.data().join("journal");
    let mut segments: Vec<_> =
        std::fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "lgj"));
    segments.sort();
    let rows = rusqlite::Connection::open(site.data().join("incidents.db")).unwrap();
    let bytes = std::fs::read(&segments[0]).unwrap();
    for (case, wanted) in
        [("chain", "audit_fault"), ("frame", "journal_damaged_bytes"), ("segment", "missing")]
    {
        match case {
            "chain" => rows
                .execute_batch(
                    "DROP TRIGGER event_is_never_changed; UPDATE event SET kind = 'x' WHERE seq = 2;",
                )
                .unwrap(),
            // Between two whole frames.
            "frame" => {
                let mut flipped = bytes.clone();
                flipped[bytes.len() / 2] ^= 1;
                std::fs::write(&segments[0], flipped).unwrap();
            }
            _ => {
                std::fs::write(&segments[0], &bytes).unwrap();
                assert!(segments.len() > 2, "{segments:?}");
                std::fs::remove_file(&segments[1]).unwrap();
            }
        }
        let out = site.path(case);
        let (code, text) = refused(&site.run(&["backup", "--out", &words(&out)]));
        assert!(code == Some(1) && text.contains(&words(&out)) && text.contains("damaged"), "{case}: {text}");
        let manifest: Value =
            serde_json::from_str(&std::fs::read_to_string(out.join("backup.json")).unwrap()).unwrap();
        assert!(manifest["audit_fault"].as_str().unwrap().contains("row 2"), "{manifest}");
        match wanted {
            "journal_damaged_bytes" => assert!(manifest[wanted].as_u64().unwrap() > 0, "{manifest}"),
            "missing" => assert!(manifest["journal_missing_records"].as_u64().unwrap() > 0, "{manifest}"),
            _ => assert_eq!(manifest["journal_missing_records"], 0, "{manifest}"),
        }
        let told = good(&site.run(&[
            "restore",
            &words(&out),
            "--into",
            &words(&site.path(&format!("{case}-into"))),
        ]));
        assert!(told.contains("DAMAGED"), "{told}");
    }
}

#[test]
fn a_backup_that_is_killed_at_any_moment_is_whole_or_no_backup() {
    let site = Site::new();
    let lampguard = site.start();
    let stream = Stream::start(site.listener, now_ms());
    wait_until("something to back up", seconds(30), || stream.acked() > 3000);
    let began = Instant::now();
    good(&site.run(&["backup", "--out", &words(&site.path("first"))]));
    let took = began.elapsed();
    let (mut whole, mut none) = (0, 0);
    for round in 0..12u32 {
        let out = site.path(&format!("killed-{round}"));
        let unfinished = site.path(&format!("killed-{round}.unfinished"));
        let mut command = program();
        command.args(["--config", &words(&site.path("lampguard.toml")), "backup", "--out", &words(&out)]);
        let mut backup = Program::start("lampguard backup", command);
        std::thread::sleep(took * round / 3);
        if backup.is_alive() {
            backup.kill();
        }
        let into = site.path(&format!("into-{round}"));
        let restore = |from: &Path| site.run(&["restore", &words(from), "--into", &words(&into)]);
        if out.exists() {
            good(&restore(&out));
            whole += 1;
        } else {
            assert!(refused(&restore(&out)).1.contains("no whole backup"));
            if unfinished.exists() && !unfinished.join("backup.json").exists() {
                assert!(refused(&restore(&unfinished)).1.contains("no whole backup"));
            }
            // What was left behind is in nobody's way.
            good(&site.run(&["backup", "--out", &words(&out)]));
            good(&restore(&out));
            assert!(!unfinished.exists());
            none += 1;
        }
    }
    assert!(none > 0, "every kill came too late");
    println!("{whole} whole, {none} broken off of 12; one takes {took:?}");
    stream.end();
    lampguard.balanced();
}

#[test]
fn a_restore_overwrites_nothing_and_takes_neither_a_newer_format_nor_a_changed_file() {
    let site = Site::new();
    assert!(
        refused(&site.run(&["backup", "--out", &words(&site.path("none"))])).1.contains("nothing to back up")
    );
    let lampguard = site.start();
    let mut sensor = Mqtt::connect(site.listener, "P001");
    sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, 1, 1.0).as_bytes());
    let out = site.path("backup");
    good(&site.run(&["backup", "--out", &words(&out)]));
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode(&out), mode(&out.join("data/links.key")), mode(&out.join("data/accounts.db"))),
        (0o700, 0o600, 0o600)
    );
    for name in ["lampguard.toml", "posts.csv"] {
        assert!(out.join("config").join(name).is_file(), "{name}");
    }

    let (code, text) = refused(&site.run(&["backup", "--out", &words(&out)]));
    assert!(code == Some(1) && text.contains("is there already"), "{text}");
    let (code, text) = refused(&site.run(&["backup", "--out", &words(&site.data().join("x"))]));
    assert!(code == Some(2) && text.contains("inside the data directory"), "{text}");
    let (_, text) = refused(&site.run(&["restore", &words(&out)]));
    assert!(text.contains("in use by process"), "{text}");
    lampguard.stop();
    let (_, text) = refused(&site.run(&["restore", &words(&out)]));
    assert!(text.contains("is not empty"), "{text}");
    let still = site.path("still");
    good(&site.run(&["backup", "--out", &words(&still)]));
    assert_eq!(site.start().stored(), 1, "a backup without an instance is in nobody's way");
    good(&site.run(&["restore", &words(&still), "--into", &words(&site.path("still-into"))]));

    let into = site.path("into");
    let restore = || site.run(&["restore", &words(&out), "--into", &words(&into)]);
    let manifest = std::fs::read_to_string(out.join("backup.json")).unwrap();
    let changes = [
        ("\"backup\": 1", "\"backup\": 2", "use the newer lampguard"),
        ("\"format\": 2", "\"format\": 99", "use the newer lampguard"),
        ("\"data/format\"", "\"data/../../x\"", "no file of a backup"),
        ("\"data/format\"", "\"data/other\"", "nothing was restored"),
    ];
    for (from, to, wanted) in changes {
        assert!(manifest.contains(from), "{from}");
        std::fs::write(out.join("backup.json"), manifest.replace(from, to)).unwrap();
        let (_, text) = refused(&restore());
        assert!(text.contains(wanted), "{to}: {text}");
        assert!(!into.exists(), "{to}");
    }
    std::fs::write(out.join("backup.json"), &manifest).unwrap();
    let incidents = out.join("data/incidents.db");
    let bytes = std::fs::read(&incidents).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&incidents, flipped).unwrap();
    assert!(refused(&restore()).1.contains("is not what was backed up"));
    assert!(!into.exists());
    std::fs::write(&incidents, bytes).unwrap();
    good(&restore());

    // A restore that was broken off is not taken for a data directory.
    std::fs::write(into.join("restoring"), "").unwrap();
    let half = Site::new().with_data(&into);
    let mut process = half.spawn();
    let status = process.wait(seconds(30)).expect("it ends");
    assert!(
        !status.success() && process.stderr().contains("a restore was broken off"),
        "{}",
        process.stderr()
    );
}
