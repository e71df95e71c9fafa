//! The follower against a stub database: every class of answer, restarts, and what must not be lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lampguard_model::{Marks, Millis, Timestamp, record};

use super::stored_cursor;
use super::stub::{
    Bench, Database, Reply, Request, Stub, all, config, parse, reading, spoiled, spoiled_at, status, until,
};
use crate::config::Auth;

#[test]
fn every_row_arrives_compressed_and_is_what_the_sensor_sent() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    let mut config = config(&stub.url());
    (config.org, config.bucket) = ("the office".to_owned(), "lamps&more".to_owned());
    bench.readings(2500);
    bench.commit(1, |_, frame| {
        frame.push(record::WEATHER, |out| {
            record::encode_weather(super::stub::now(), "all", br#"{"rain_mm_h":3}"#, out);
        });
    });
    bench.commit(1, |_, frame| frame.push(record::STATUS, |out| out.push(0)));
    let running = bench.follow(&config);
    until("all rows", || database.seqs().len() == 2500);
    until("no lag", || running.status().lag_records == 0);
    assert_eq!(database.seqs(), all(2500));
    until("up", || running.status().up);
    until("the gauges", || (bench.metrics.lag.get(), bench.metrics.up.get()) == (0, 1));
    assert_eq!(bench.metrics.written.get(), 2501);
    assert_eq!(bench.metrics.resent.get(), 0);
    let writes = stub.writes();
    let query = "bucket=lamps%26more&org=the+office&precision=ms";
    assert!(writes.iter().all(|w| w.path == "/api/v2/write" && w.query == query));
    assert!(writes.iter().all(|w| !w.headers.contains_key("authorization")));
    let rows: Vec<_> = writes.iter().flat_map(Request::rows).collect();
    let weather: Vec<_> = rows.iter().filter(|row| row.starts_with("weather,")).collect();
    assert_eq!(weather.len(), 1);
    for row in rows.iter().filter(|row| row.starts_with("lamp,")) {
        let line = parse(row).unwrap();
        let sent = reading(line.fields["seq"] as u64);
        assert_eq!(line.tags["post"], sent.post);
        assert_eq!((line.fields["leakage_ma"], line.fields["supply"]), (0.82, 1.0));
        assert_eq!(line.fields["shell_v"], (sent.seq.unwrap() % 1000) as f64 / 1000.0);
    }
    running.stop();
}

#[test]
fn under_load_a_request_carries_a_whole_batch() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    bench.readings(23_000);
    let running = bench.follow(&config(&stub.url()));
    until("all rows", || database.seqs().len() == 23_000);
    let sizes: Vec<_> = stub.writes().iter().map(|w| w.rows().len()).collect();
    assert_eq!(sizes, [5000, 5000, 5000, 5000, 3000]);
    running.stop();
}

#[test]
fn a_server_that_never_answers_is_given_up_and_tried_again() {
    for auth in [Auth::None, Auth::Bearer] {
        let (stub, database) = spoiled(1, |_, _| Reply::Silence);
        let mut bench = Bench::new();
        let mut config = config(&stub.url());
        config.timeout_s = 1;
        config.auth = Some(auth);
        config.token_file = Some(bench.token_file("t0ken"));
        bench.readings(300);
        let running = bench.follow(&config);
        until("all rows", || database.seqs().len() == 300);
        until("no lag", || running.status().lag_records == 0);
        let text = running.status().last_error.unwrap();
        assert!(text.contains("time"), "{text}");
        let writes = stub.writes();
        let waited = writes[1].at.duration_since(writes[0].at);
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        running.stop();
    }
}

#[test]
fn too_many_requests_waits_as_long_as_the_server_says() {
    let (stub, database) =
        spoiled(1, |_, _| Reply::Status(429, "Retry-After: 2\r\n", "slow down".to_owned()));
    let mut bench = Bench::new();
    let mut config = config(&stub.url());
    (config.auth, config.token_file) = (Some(Auth::Bearer), Some(bench.token_file("t0ken")));
    bench.readings(300);
    let running = bench.follow(&config);
    until("all rows", || database.seqs().len() == 300);
    let writes = stub.writes();
    let waited = writes[1].at.duration_since(writes[0].at);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert_eq!(writes[1].headers["authorization"], "Bearer t0ken");
    running.stop();
}

#[test]
fn an_overloaded_or_failing_server_loses_nothing() {
    let (stub, database) = spoiled(3, |turn, _| status([503, 500, 429][turn]));
    let mut bench = Bench::new();
    bench.readings(700);
    let running = bench.follow(&config(&stub.url()));
    until("the fault", || running.status().last_error.is_some());
    until("all rows", || database.seqs() == all(700));
    until("up again", || running.status().up);
    assert_eq!(bench.metrics.written.get(), 700);
    let writes = stub.writes();
    let waited = writes[1].at.duration_since(writes[0].at);
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
    running.stop();
}

#[test]
fn a_connection_reset_half_way_loses_no_row() {
    // One is broken off in its body, one is taken and its answer lost, one is read and thrown away.
    let kept = Database::default();
    let first = kept.clone();
    let (stub, database) = spoiled(2, move |turn, request| {
        if turn == 0 {
            first.take(request);
        }
        Reply::Reset
    });
    stub.cut.store(1, Ordering::SeqCst);
    let mut bench = Bench::new();
    bench.readings(6000);
    let running = bench.follow(&config(&stub.url()));
    until("all rows", || database.seqs() == all(6000));
    until("no lag", || running.status().lag_records == 0);
    assert_eq!((stub.cut.load(Ordering::SeqCst), kept.seqs().len()), (0, 5000));
    assert_eq!(bench.metrics.written.get(), 6000);
    running.stop();
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_stays_smaller() {
    let kept = Database::default();
    let database = kept.clone();
    let stub = Stub::start(move |request| {
        if request.is_write() && request.rows().len() > 1000 {
            return status(413);
        }
        kept.answer(request)
    });
    let mut bench = Bench::new();
    bench.readings(5000);
    let running = bench.follow(&config(&stub.url()));
    until("all rows", || database.seqs() == all(5000));
    bench.readings(5000);
    until("all rows", || database.seqs() == all(10_000));
    let refused = stub.writes().iter().filter(|w| w.rows().len() > 1000).count();
    assert!(refused <= 4 + 3, "{refused} requests too large");
    assert_eq!(bench.rejected("refused"), 0);
    running.stop();
}

/// Answers 400 to every body that holds one of these rows.
fn picky(bad: &'static [u64]) -> (Stub, Database) {
    let kept = Database::default();
    let database = kept.clone();
    let stub = Stub::start(move |request| {
        let is_bad = |row: &String| bad.iter().any(|seq| row.contains(&format!("seq={seq},")));
        if request.is_write() && request.rows().iter().any(is_bad) {
            return Reply::Status(400, "", "unable to parse something".to_owned());
        }
        kept.answer(request)
    });
    (stub, database)
}

#[test]
fn peer_p4_a_bad_line_in_a_batch_of_5000_does_not_hold_up_the_other_4999() {
    let (stub, database) = picky(&[3217]);
    let mut bench = Bench::new();
    bench.readings(5000);
    let running = bench.follow(&config(&stub.url()));
    let good: Vec<_> = all(5000).into_iter().filter(|seq| *seq != 3217).collect();
    until("4,999 rows", || database.seqs() == good);
    until("no lag", || running.status().lag_records == 0);
    assert_eq!(bench.rejected("refused"), 1);
    assert_eq!(bench.metrics.written.get(), 4999);
    let requests = stub.writes().len();
    assert!(requests <= 30, "{requests} requests");
    let kept = std::fs::read_to_string(bench.home.path().join("tsdb-main-rejected.jsonl")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["seq"], 3217);
    assert!(kept["row"].as_str().unwrap().contains("seq=3217,"));
    assert!(kept["answer"].as_str().unwrap().starts_with("400 unable"));
    // Sending the window again neither sends nor counts it again.
    database.restart_and_forget(Duration::from_secs(60));
    until("all again", || database.seqs() == good && bench.metrics.resent.get() == 4999);
    assert_eq!(bench.rejected("refused"), 1);
    running.stop();
}

#[test]
fn a_server_that_refuses_everything_is_a_wrong_address_and_costs_no_row() {
    let open = Arc::new(AtomicUsize::new(0));
    let (gate, kept) = (open.clone(), Database::default());
    let database = kept.clone();
    let stub = Stub::start(move |request| {
        if request.is_write() && gate.load(Ordering::SeqCst) == 0 {
            return Reply::Status(400, "", "unsupported path".to_owned());
        }
        kept.answer(request)
    });
    let mut bench = Bench::new();
    bench.readings(2000);
    let running = bench.follow(&config(&stub.url()));
    until("the fault", || running.status().last_error.is_some());
    assert!(!running.status().up);
    assert_eq!(bench.rejected("refused"), 0);
    open.store(1, Ordering::SeqCst);
    until("all rows", || database.seqs() == all(2000));
    assert_eq!(bench.rejected("refused"), 0);
    running.stop();
}

#[test]
fn a_database_that_forgets_the_last_seconds_and_restarts_gets_everything_again() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    let running = bench.follow(&config(&stub.url()));
    for _ in 0..4 {
        bench.readings(1500);
        std::thread::sleep(Duration::from_millis(200));
    }
    until("all rows", || database.seqs() == all(6000));
    // Killed and back between two probes, without one failed request.
    database.restart_and_forget(Duration::from_secs(5));
    assert!(database.seqs().is_empty());
    until("all rows again", || database.seqs() == all(6000));
    until("the count", || bench.metrics.resent.get() == 6000);
    assert_eq!(stored_cursor(bench.home.path(), "main"), 0);
    running.stop();
}

#[test]
fn a_database_without_a_start_time_is_sent_the_window_again_when_its_connection_breaks() {
    let kept = Database::default();
    let database = kept.clone();
    let stub = Stub::start(move |request| match request.path.as_str() {
        "/metrics" => status(404),
        "/ping" => status(204),
        _ => kept.answer(request),
    });
    let mut bench = Bench::new();
    bench.readings(500);
    let running = bench.follow(&config(&stub.url()));
    until("all rows", || database.seqs() == all(500));
    // A quiet probe is no reason to send anything again.
    until("two probes", || stub.all().iter().filter(|r| r.path == "/ping").count() >= 2);
    assert_eq!(bench.metrics.resent.get(), 0);
    database.restart_and_forget(Duration::from_secs(60));
    stub.break_connections();
    until("all rows again", || database.seqs() == all(500));
    running.stop();
}

#[test]
fn our_own_restart_begins_at_the_safe_cursor_and_sends_the_window_again() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    bench.readings(1000);
    std::fs::write(bench.home.path().join("tsdb-main.cursor"), "400\n").unwrap();
    for round in 1..=2 {
        let running = bench.follow(&config(&stub.url()));
        until("the window", || bench.metrics.written.get() == 600 * round);
        running.stop();
    }
    assert_eq!(database.seqs(), (400..1000).collect::<Vec<_>>());
    assert_eq!(stored_cursor(bench.home.path(), "main"), 400);
    // A damaged cursor costs time, not rows.
    std::fs::write(bench.home.path().join("tsdb-main.cursor"), "4x").unwrap();
    let running = bench.follow(&config(&stub.url()));
    until("all rows", || database.seqs() == all(1000));
    running.stop();
}

#[test]
fn the_safe_cursor_is_written_and_lets_the_journal_go() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    bench.readings(100);
    let config = config(&stub.url());
    let follower = bench.tail().follow_bounded("main", 0, config.max_lag_bytes);
    let dir = bench.home.path().to_owned();
    let (window, metrics) = (Duration::from_secs(3), bench.metrics.clone());
    let running =
        super::start(config, &dir, &dir.join("journal"), follower, window, metrics, super::stub::clock());
    until("all rows", || database.seqs() == all(100));
    assert_eq!((stored_cursor(&dir, "main"), bench.tail().floor()), (0, 0));
    until("the cursor", || stored_cursor(&dir, "main") == 100);
    until("the journal", || bench.tail().floor() == 100);
    running.stop();
}

#[test]
fn peer_p8_what_cannot_become_a_row_is_counted_once_and_holds_nothing_up() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    bench.commit(6, |seq, frame| {
        let mut reading = reading(seq);
        match seq {
            1 => reading.marks.add(Marks::UNTRACKED),
            2 => reading.stored_ts = Timestamp(1_577_836_800_000),
            3 => reading.stored_ts = reading.stored_ts + Millis::hours(100),
            _ => {}
        }
        let kind = if seq == 4 { 77 } else { record::READING };
        frame.push(kind, |out| record::encode_reading(&reading, out));
    });
    let running = bench.follow(&config(&stub.url()));
    until("the good rows", || database.seqs() == [0, 4, 5] || database.seqs() == [0, 5]);
    until("no lag", || running.status().lag_records == 0);
    database.restart_and_forget(Duration::from_secs(60));
    until("again", || bench.metrics.resent.get() == 2);
    for reason in ["untracked", "too_old", "too_new"] {
        assert_eq!(bench.rejected(reason), 1, "{reason}");
    }
    running.stop();
}

#[test]
fn what_the_journal_no_longer_holds_is_a_stated_gap() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    let mut config = config(&stub.url());
    config.max_lag_bytes = 1 << 20;
    std::fs::write(bench.home.path().join("tsdb-main.cursor"), "0").unwrap();
    let follower = bench.tail().follow_bounded("main", 0, config.max_lag_bytes);
    bench.readings(60_000);
    bench.writer.trim(super::stub::now().0 + 25 * 3_600_000);
    let first = bench.tail().first();
    assert!(first > 0 && bench.tail().floor() == first);
    drop(follower);
    let running = bench.follow(&config);
    until("the rest", || database.seqs() == (first..60_000).collect::<Vec<_>>());
    until("the gap", || bench.metrics.gap.get() == first);
    running.stop();
}

#[test]
fn a_database_that_is_down_holds_up_nothing_and_gets_all_when_it_comes() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let mut bench = Bench::new();
    let config = config(&format!("http://127.0.0.1:{port}"));
    bench.readings(12_000);
    let running = bench.follow(&config);
    until("the fault", || running.status().last_error.is_some());
    let doing = running.status();
    assert!(!doing.up && doing.lag_records == 12_000, "{doing:?}");
    until("a lag", || bench.metrics.lag.get() >= 2);
    assert_eq!(bench.metrics.up.get(), 0);
    assert_eq!(stored_cursor(bench.home.path(), "main"), 0);
    let (stub, database) = spoiled_at(port, 0, |_, _| status(204));
    until("all rows", || database.seqs() == all(12_000));
    until("up", || bench.metrics.up.get() == 1);
    assert_eq!(stub.writes().len(), 3);
    running.stop();
}

#[test]
fn several_databases_show_the_worst_of_them() {
    let worst = super::Worst::default();
    assert_eq!(worst.with("a", 0, true), (0, true));
    assert_eq!(worst.with("b", 70, false), (70, false));
    assert_eq!(worst.with("a", 3, true), (70, false));
    assert_eq!(worst.with("b", 0, true), (3, true));
}

#[test]
fn the_stub_tells_rows_apart() {
    let seqs: BTreeSet<_> = (0..6000).map(|seq| (reading(seq).post, reading(seq).stored_ts)).collect();
    assert!(seqs.len() >= 5999, "posts and times of the test readings collide");
}
