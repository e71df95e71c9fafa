//! The two roads to a database, logins, stopping.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::Sink;
use super::stub::{Bench, Database, Reply, Stub, all, config, spoiled, status, until};
use crate::config::{Api, Auth};

#[test]
fn other_roads_carry_the_same_rows() {
    let kept = Database::default();
    let database = kept.clone();
    let stub = Stub::start(move |request| match request.path.as_str() {
        "/metrics" => kept.metrics(),
        "/base/path/api/v2/write" | "/write" | "/base/path/write" => kept.take(request),
        _ if request.is_write() => status(404),
        _ => status(404),
    });
    let mut bench = Bench::new();
    let login = bench.token_file("user:pass");
    let cases = [
        ("v2", "/base/path", Api::V2, Auth::None),
        ("v2basic", "/base/path/", Api::V2, Auth::Basic),
        ("v1", "", Api::V1, Auth::None),
        ("v1base", "/base/path", Api::V1, Auth::Basic),
    ];
    for (round, (id, path, api, auth)) in (1..).zip(cases) {
        let mut config = config(&format!("{}{path}", stub.url()));
        config.id = id.to_owned();
        (config.api, config.auth) = (api, Some(auth));
        config.token_file = Some(login.clone());
        bench.readings(200);
        database.restart_and_forget(Duration::ZERO);
        let before = stub.writes().len();
        let running = bench.follow(&config);
        until(id, || database.seqs() == all(200 * round));
        running.stop();
        let writes = stub.writes().split_off(before);
        let (query, login) = (&writes[0].query, writes[0].headers.get("authorization"));
        let expected = match api {
            Api::V2 => "bucket=lampguard&org=lampguard&precision=ms",
            Api::V1 => "db=lampguard&precision=ms",
        };
        assert_eq!(query, expected);
        let basic = (auth == Auth::Basic).then_some("Basic dXNlcjpwYXNz");
        assert_eq!(login.map(String::as_str), basic, "{id}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Stub::start(|_| status(204));
    let target: &'static str = format!("Location: {}/api/v2/write\r\n", elsewhere.url()).leak();
    for auth in [Auth::None, Auth::Bearer] {
        let (stub, database) = spoiled(1, move |_, _| Reply::Status(307, target, String::new()));
        let mut bench = Bench::new();
        let mut config = config(&stub.url());
        (config.auth, config.token_file) = (Some(auth), Some(bench.token_file("t")));
        bench.readings(10);
        let running = bench.follow(&config);
        until("all rows", || database.seqs() == all(10));
        running.stop();
    }
    assert!(elsewhere.all().is_empty());
}

#[test]
fn stopping_does_not_wait_for_a_server_that_hangs() {
    for auth in [Auth::None, Auth::Bearer] {
        let (stub, _) = spoiled(9, |_, _| Reply::Silence);
        let mut bench = Bench::new();
        let mut config = config(&stub.url());
        (config.timeout_s, config.auth) = (60, Some(auth));
        config.token_file = Some(bench.token_file("t"));
        bench.readings(10);
        let running = bench.follow(&config);
        until("a write", || stub.writes().len() == 1);
        let began = Instant::now();
        running.stop();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(stub.writes().len(), 1);
    }
}

/// Everything that any thread of this test process logs.
fn log() -> Arc<Mutex<String>> {
    struct Kept(Arc<Mutex<String>>);
    impl tracing::Subscriber for Kept {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = self.0.lock().unwrap();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text.push_str(&format!("{}={value:?} ", field.name()));
            });
            text.push('\n');
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    static LOG: OnceLock<Arc<Mutex<String>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let text = Arc::new(Mutex::new(String::new()));
        let _ = tracing::subscriber::set_global_default(Kept(text.clone()));
        text
    })
    .clone()
}

#[test]
fn a_new_token_is_read_without_a_restart_and_no_token_is_ever_printed() {
    let log = log();
    for auth in [Auth::Token, Auth::Bearer] {
        let kept = Database::default();
        let database = kept.clone();
        let stub = Stub::start(move |request| {
            let login = request.headers.get("authorization").cloned().unwrap_or_default();
            if request.is_write() && !login.ends_with(" new-s3cret") {
                // As unkind as can be: it repeats what it was sent.
                return Reply::Status(401, "", format!("who is {login}?"));
            }
            kept.answer(request)
        });
        let mut bench = Bench::new();
        let mut config = config(&stub.url());
        config.auth = Some(auth);
        config.token_file = Some(bench.token_file("old-s3cret"));
        bench.readings(300);
        let running = bench.follow(&config);
        until("the fault", || running.status().last_error.is_some());
        let status = running.status();
        assert!(status.last_error.as_ref().unwrap().contains("401 who is"));
        let shown = format!("{status:?} {running:?} {config:?}");
        bench.token_file("new-s3cret");
        until("all rows", || database.seqs() == all(300));
        until("up", || running.status().up);
        assert!(!shown.contains("s3cret"), "{shown}");
        running.stop();
    }
    let text = log.lock().unwrap().clone();
    assert!(text.contains("database does not take rows"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    let outages = text.matches("401 who is").count();
    assert_eq!(outages, 2, "one outage, one line: {text}");
}

#[test]
fn a_missing_token_file_may_come_later() {
    let (stub, database) = spoiled(0, |_, _| status(204));
    let mut bench = Bench::new();
    let mut config = config(&stub.url());
    config.token_file = Some(bench.home.path().join("token"));
    assert!(Sink::check(&config).is_err());
    bench.readings(10);
    let running = bench.follow(&config);
    until("the fault", || running.status().last_error.is_some());
    bench.token_file("t0ken");
    until("all rows", || database.seqs() == all(10));
    assert_eq!(stub.writes()[0].headers["authorization"], "Token t0ken");
    running.stop();
}
