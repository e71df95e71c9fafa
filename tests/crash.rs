//! Nothing acknowledged is lost: the short form of `lampguard bench crash`, by both ways in. It sends readings,
//! kills lampguard with -9 at random moments, restarts broker and database, and compares sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::process::{run, texts};
use common::seconds;
use common::servers::installed;

fn crash(path: &str) {
    let home = tempfile::tempdir().unwrap();
    let output = run(
        home.path(),
        &["bench", "crash", "--short", "--path", path],
        seconds(180),
    );
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("PASS"), "no PASS:\n{out}\n{err}");
    println!("{out}");
}

#[test]
fn fault_kill_9_at_random_moments_loses_nothing_that_the_listener_acknowledged() {
    if installed("victoria-metrics").is_none() || installed("python3").is_none() {
        return;
    }
    crash("listener");
}

#[test]
fn fault_kill_9_at_random_moments_loses_nothing_that_the_broker_took() {
    let all = ["mosquitto", "victoria-metrics", "python3"];
    if all.iter().any(|name| installed(name).is_none()) {
        return;
    }
    crash("broker");
}
