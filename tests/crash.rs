//! Nothing acknowledged is lost: a short form of `lampguard bench crash`, by both ways in. It sends readings,
//! kills lampguard with -9 at random moments, restarts broker and database, and compares sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::process::{run, texts};
use common::seconds;
use common::servers::installed;

/// Ten thousand readings in about ten seconds, with every fault that the long form has.
const SHORT: &str = "--readings 10000 --posts 400 --rate 1000 --kills 4 --broker-restarts 1 --db-down 5 --db-kill --settle 90";

fn crash(path: &str) {
    let home = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> =
        ["bench", "crash", "--path", path].into_iter().chain(SHORT.split(' ')).collect();
    let output = run(home.path(), &arguments, seconds(240));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("result=PASS"), "no PASS:\n{out}\n{err}");
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
