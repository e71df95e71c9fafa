//! What chosen passwords cost the process. Alone in its binary: it measures memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Barrier};

use lampguard_ingester::source::listener::Credentials;

/// Of "correct horse", made by OpenSSL's argon2; 19 MiB a check.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGFtcGd1YXJkLXNhbHQxNg$qBRhcJNgr35L+oMoVnwAMnyAz/AWSqCjuJ7TgmLEgJo";

/// Memory in RAM, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn threads_that_checked_a_password_keep_none_of_its_memory() {
    const THREADS: usize = 8;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("gateway:{HASH}\n")).unwrap();
    let credentials = Arc::new(Credentials::load(file.path()).unwrap());
    assert!(credentials.check("gateway", b"correct horse").is_some());
    let before = resident();
    let (checked, end) = (Arc::new(Barrier::new(THREADS + 1)), Arc::new(Barrier::new(THREADS + 1)));
    let threads: Vec<_> = (0..THREADS)
        .map(|n| {
            let (credentials, checked, end) = (credentials.clone(), checked.clone(), end.clone());
            std::thread::spawn(move || {
                // A wrong one each time: what was right is remembered and costs nothing.
                for round in 0..3 {
                    let wrong = format!("wrong {n} {round}");
                    assert!(credentials.check("gateway", wrong.as_bytes()).is_none());
                }
                checked.wait();
                end.wait();
            })
        })
        .collect();
    checked.wait();
    let grown = resident().saturating_sub(before);
    end.wait();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(grown < 19 << 10, "{grown} KiB stay with {THREADS} threads: a check of 19456 KiB is kept");
}
