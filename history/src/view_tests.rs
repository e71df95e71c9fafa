//! Pages, damage, roll-ups.

use tempfile::tempdir;

use super::*;
use crate::History;
use crate::support::{DAY, NOON, apply, open, reading};

const NOW: Timestamp = Timestamp(NOON);
const ALWAYS: (Timestamp, Timestamp) = (Timestamp(0), Timestamp(i64::MAX));

fn filled(dir: &Path, count: i64) -> History {
    let mut history = open(dir);
    for n in 0..count {
        apply(&mut history, n.cast_unsigned(), &reading("P1", NOON + n * 30_000, n % 90 * 10));
    }
    history
}

#[test]
fn a_damaged_chunk_names_post_and_month_and_the_others_still_answer() {
    let dir = tempdir().unwrap();
    let mut history = filled(dir.path(), 2000);
    history.flush(NOW).unwrap();
    let sql = rusqlite::Connection::open(dir.path().join("history-2026-11.db")).unwrap();
    let second = "first_seq = (SELECT first_seq FROM chunk ORDER BY first_seq LIMIT 1 OFFSET 1)";
    let (rows, data): (i64, Vec<u8>) = sql
        .query_row(&format!("SELECT rows, data FROM chunk WHERE {second}"), [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut flipped = data.clone();
    flipped[data.len() / 2] ^= 1;
    sql.execute(&format!("UPDATE chunk SET data = ?1 WHERE {second}"), [flipped]).unwrap();
    let answer = history.view().rows("P1", ALWAYS.0, ALWAYS.1, LIMIT_MAX, None).unwrap();
    assert_eq!(answer.rows.len() as i64, 2000 - rows);
    assert_eq!(answer.damaged.len(), 1);
    let text = answer.damaged[0].to_string();
    assert!(text.contains("post P1") && text.contains("month 2026-11"), "{text}");
}

#[test]
fn a_month_file_that_is_no_database_costs_itself_alone() {
    let dir = tempdir().unwrap();
    let mut history = filled(dir.path(), 1000);
    history.flush(NOW).unwrap();
    std::fs::write(dir.path().join("history-2026-10.db"), vec![7u8; 9000]).unwrap();
    let answer = history.view().rows("P1", ALWAYS.0, ALWAYS.1, LIMIT_MAX, None).unwrap();
    assert_eq!((answer.rows.len(), answer.damaged.len()), (1000, 1));
    assert!(answer.damaged[0].to_string().contains("history-2026-10.db"));
}

#[test]
fn pages_join_to_the_whole_and_a_page_reads_no_further_than_it_must() {
    let dir = tempdir().unwrap();
    let mut history = filled(dir.path(), 1500);
    history.flush(NOW).unwrap();
    for n in 1500..1600 {
        apply(&mut history, n, &reading("P1", NOON + n.cast_signed() * 30_000, 1));
    }
    apply(&mut history, 1600, &reading("P1", NOON + 15_000, 1));
    let view = history.view();
    let whole = view.rows("P1", ALWAYS.0, ALWAYS.1, LIMIT_MAX, None).unwrap();
    assert_eq!((whole.rows.len(), whole.next), (1601, None));
    for limit in [1, 7, 240, 1000, 1601, 5000] {
        let (mut joined, mut after) = (Vec::new(), None);
        loop {
            let page = view.rows("P1", ALWAYS.0, ALWAYS.1, limit, after).unwrap();
            assert!(page.rows.len() <= limit);
            joined.extend(page.rows);
            after = page.next;
            if after.is_none() || limit == 1 {
                break;
            }
        }
        assert_eq!(joined[..], whole.rows[..joined.len()], "limit {limit}");
        assert!(limit == 1 || joined.len() == 1601);
    }
    let hour = view.rows("P1", Timestamp(NOON + 30_000), Timestamp(NOON + 3_600_000), 1000, None).unwrap();
    assert_eq!(hour.rows.len(), 119, "from is in, to is not");
    assert!(view.rows("nobody", ALWAYS.0, ALWAYS.1, 10, None).unwrap().rows.is_empty());
}

#[test]
fn rows_that_share_a_millisecond_are_not_torn_apart_by_a_page() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    for (seq, leakage) in [(0, 1), (1, 2), (2, 3)] {
        apply(&mut history, seq, &reading("P1", NOON, leakage));
    }
    apply(&mut history, 3, &reading("P1", NOON + 1, 4));
    let view = history.view();
    let page = view.rows("P1", ALWAYS.0, ALWAYS.1, 2, None).unwrap();
    assert_eq!((page.rows.len(), page.next), (3, Some(NOW)));
    let next = view.rows("P1", ALWAYS.0, ALWAYS.1, 2, page.next).unwrap();
    assert_eq!((next.rows.len(), next.next), (1, None));
}

#[test]
fn roll_ups_are_the_same_before_and_after_flushes_and_zones_are_apart() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let put = |history: &mut History, seq: u64, post: &str, at: i64, leakage: i64| {
        apply(history, seq, &reading(post, NOON + at, leakage));
    };
    put(&mut history, 0, "P1", 1_000, 300);
    put(&mut history, 1, "P7", 2_000, 900);
    put(&mut history, 2, "P2", 59_999, 500);
    put(&mut history, 3, "P1", 60_000, 100);
    let view = history.view();
    let z1 = || view.rollups("z1", NOW, Timestamp(NOON + DAY)).unwrap();
    let before = z1();
    assert_eq!(before.len(), 2);
    let (start, first) = &before[0];
    assert_eq!((*start, first.readings, first.leakage_ma_max), (NOW, 2, Some(500)));
    assert_eq!((first.leakage_ma_sum, first.leakage_count, first.shell_v_max), (800, 2, None));
    history.flush(NOW).unwrap();
    assert_eq!(z1(), before);
    put(&mut history, 4, "P1", 30_000, 700);
    assert_eq!((z1()[0].1.readings, z1()[0].1.leakage_ma_max), (3, Some(700)));
    let mixed = z1();
    history.flush(NOW).unwrap();
    assert_eq!(z1(), mixed, "a late row is added to its own minute");
    assert_eq!(view.rollups("z2", NOW, Timestamp(NOON + DAY)).unwrap().len(), 1);
    assert!(view.rollups("z3", NOW, Timestamp(NOON + DAY)).unwrap().is_empty());
    assert_eq!(view.rollups("z1", Timestamp(NOON + 60_000), Timestamp(NOON + DAY)).unwrap().len(), 1);
}

#[test]
fn readers_on_other_threads_miss_nothing_while_the_writer_flushes() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let view = history.view();
    let done = std::sync::atomic::AtomicU64::new(0);
    let (done, end) = (&done, 4000u64);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            loop {
                let before = done.load(std::sync::atomic::Ordering::Acquire);
                let answer = view.rows("P1", ALWAYS.0, ALWAYS.1, LIMIT_MAX, None).unwrap();
                assert!(answer.damaged.is_empty() && answer.rows.len() as u64 >= before);
                assert!(answer.rows.is_sorted_by(|a, b| a.stored_ts < b.stored_ts), "nothing twice");
                let minutes = view.rollups("z1", ALWAYS.0, ALWAYS.1).unwrap();
                let counted = minutes.iter().map(|(_, minute)| minute.readings).sum::<u64>();
                let after = done.load(std::sync::atomic::Ordering::Acquire);
                assert!(counted >= before && counted <= (after + 1).min(end), "{before} {counted} {after}");
                if before == end {
                    break;
                }
            }
        });
        for seq in 0..end {
            apply(&mut history, seq, &reading("P1", NOON + seq.cast_signed() * 1000, 1));
            done.store(seq + 1, std::sync::atomic::Ordering::Release);
            if seq % 97 == 0 {
                history.flush(NOW).unwrap();
            }
        }
        reader.join().unwrap();
    });
}
