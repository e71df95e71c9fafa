//! The follower against a real journal.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use lampguard_journal::{FrameBuf, Options as JournalOptions, RealDisk, Writer};
use lampguard_model::record;
use tempfile::tempdir;

use super::*;
use crate::support::{NOON, break_writes, encoded, mend, open, reading, rows};
use crate::{HistoryView, LIMIT_MAX, Metrics, Options};

fn writer(dir: &Path, at_least: u64) -> Writer {
    let options = JournalOptions { min_free_bytes: 0, ..JournalOptions::default() };
    Writer::open(Arc::new(RealDisk), dir, options, at_least).unwrap().0
}

/// Commits `count` readings of P1 in frames of 100.
fn commit(writer: &mut Writer, count: u64) {
    let end = writer.tail().end() + count;
    while writer.tail().end() < end {
        let mut frame = FrameBuf::default();
        frame.first_seq = writer.tail().end();
        for seq in frame.first_seq..end.min(frame.first_seq + 100) {
            let one = reading("P1", NOON + seq.cast_signed() * 30_000, 7);
            frame.push(record::READING, |out| out.extend_from_slice(&encoded(&one)));
        }
        writer.commit(&[frame], NOON).unwrap();
    }
}

fn clock() -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(NOON));
    let hand = now.clone();
    (now, Arc::new(move || Timestamp(hand.load(Ordering::Relaxed))))
}

/// Waits until the view shows `count` rows of P1.
#[allow(clippy::disallowed_methods, reason = "a test waits for a thread against a deadline")]
fn wait_for(view: &HistoryView, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = view.rows("P1", Timestamp(0), Timestamp(i64::MAX), LIMIT_MAX, None).unwrap().rows.len();
        if found == count {
            return;
        }
        assert!(Instant::now() < deadline, "{found} of {count} rows");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_follower_reads_everything_flushes_at_closing_and_lets_the_journal_go() {
    let dir = tempdir().unwrap();
    let (journal_dir, history_dir) = (dir.path().join("journal"), dir.path().join("history"));
    let mut journal = writer(&journal_dir, 0);
    commit(&mut journal, 250);
    for (round, before) in [(0, 250), (1, 550)] {
        let history = open(&history_dir);
        let view = history.view();
        let (_, clock) = clock();
        let follower = journal.tail().follow("history", history.cursor());
        let (path, tail) = (journal_dir.clone(), journal.tail().clone());
        let thread = std::thread::spawn(move || run(history, path, follower, clock));
        wait_for(&view, before);
        if round == 0 {
            commit(&mut journal, 300);
            wait_for(&view, 550);
        }
        tail.close();
        thread.join().unwrap();
        assert_eq!(tail.followers()["history"], 550);
        drop(journal);
        journal = writer(&journal_dir, 550);
    }
    assert_eq!(rows(&open(&history_dir), "P1", 0, i64::MAX).len(), 550);
}

#[test]
fn the_cursor_moves_only_when_a_flush_is_due() {
    let dir = tempdir().unwrap();
    let (journal_dir, history_dir) = (dir.path().join("journal"), dir.path().join("history"));
    let mut journal = writer(&journal_dir, 0);
    commit(&mut journal, 10);
    let history = open(&history_dir);
    let view = history.view();
    let (now, clock) = clock();
    let follower = journal.tail().follow("history", 0);
    let (path, tail) = (journal_dir.clone(), journal.tail().clone());
    let thread = std::thread::spawn(move || run(history, path, follower, clock));
    wait_for(&view, 10);
    assert_eq!(tail.followers()["history"], 0, "what is in memory may be needed again");
    now.fetch_add(60_000, Ordering::Relaxed);
    let mut left = 2000;
    while tail.followers()["history"] != 10 {
        std::thread::sleep(Duration::from_millis(10));
        left -= 1;
        assert!(left > 0, "not flushed");
    }
    tail.close();
    thread.join().unwrap();
}

#[test]
fn a_journal_that_begins_behind_the_cursor_leaves_a_recorded_gap() {
    let dir = tempdir().unwrap();
    let (journal_dir, history_dir) = (dir.path().join("journal"), dir.path().join("history"));
    let mut history = open(&history_dir);
    crate::support::apply(&mut history, 0, &reading("P1", NOON - 5, 1));
    history.flush(Timestamp(NOON)).unwrap();
    let mut journal = writer(&journal_dir, 500);
    commit(&mut journal, 20);
    assert_eq!(journal.tail().first(), 500);
    let view = history.view();
    let follower = journal.tail().follow("history", history.cursor());
    let tail = journal.tail().clone();
    let thread = std::thread::spawn(move || run(history, journal_dir, follower, clock().1));
    wait_for(&view, 21);
    tail.close();
    thread.join().unwrap();
    let gaps = view.gaps().unwrap();
    assert_eq!((gaps.len(), gaps[0].from_seq, gaps[0].to_seq), (1, 1, 500));
}

#[test]
fn another_journal_that_ends_before_the_cursor_is_read_from_its_start() {
    let dir = tempdir().unwrap();
    let (journal_dir, history_dir) = (dir.path().join("journal"), dir.path().join("history"));
    let mut history = open(&history_dir);
    crate::support::apply(&mut history, 9000, &reading("P1", NOON - 5, 1));
    history.flush(Timestamp(NOON)).unwrap();
    let mut journal = writer(&journal_dir, 0);
    commit(&mut journal, 20);
    let view = history.view();
    let follower = journal.tail().follow("history", history.cursor());
    let tail = journal.tail().clone();
    let thread = std::thread::spawn(move || run(history, journal_dir, follower, clock().1));
    wait_for(&view, 21);
    tail.close();
    thread.join().unwrap();
    assert_eq!(tail.followers()["history"], 20);
}

#[test]
fn while_writing_fails_memory_is_bounded_and_afterwards_everything_is_there_once() {
    let dir = tempdir().unwrap();
    let (journal_dir, history_dir) = (dir.path().join("journal"), dir.path().join("history"));
    let mut journal = writer(&journal_dir, 0);
    let options = Options { flush_rows: 100, rows_max: 250, ..Options::default() };
    let metrics = Metrics::default();
    let history = History::open(&history_dir, options, metrics.clone()).unwrap();
    break_writes(&history_dir);
    commit(&mut journal, 1000);
    let view = history.view();
    let follower = journal.tail().follow("history", 0);
    let tail = journal.tail().clone();
    let thread = std::thread::spawn(move || run(history, journal_dir, follower, clock().1));
    // Frames hold 100 rows, and the one that passes the bound is taken in whole.
    wait_for(&view, 300);
    let failed = metrics.flush_failed.get();
    assert_eq!(tail.followers()["history"], 0, "the journal keeps everything");
    mend(&history_dir);
    wait_for(&view, 1000);
    tail.close();
    thread.join().unwrap();
    assert!(failed >= 1 && metrics.pending_rows.get() == 0);
    assert_eq!(tail.followers()["history"], 1000);
    assert_eq!(rows(&open(&history_dir), "P1", 0, i64::MAX).len(), 1000);
}
