//! Flushes, restarts, crashes, late and repeated rows.

use lampguard_model::{StoredReading, record};
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::Row;
use crate::support::{DAY, NOON, apply, break_writes, count, encoded, mend, open, reading, rows};

const NOW: Timestamp = Timestamp(NOON);

/// `count` readings of one post, 30 s apart from noon on, under sequences from `first` on.
fn fill(history: &mut History, post: &str, first: u64, count: u64) -> Vec<Row> {
    let readings = (0..count).map(|n| {
        let at = NOON + (first + n).cast_signed() * 30_000;
        let one = reading(post, at, ((first + n) % 50 * 10).cast_signed());
        apply(history, first + n, &one);
        Row::from(&one)
    });
    readings.collect()
}

#[test]
fn a_restart_loses_nothing_durable_and_the_cursor_matches() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    assert!(history.is_new() && history.cursor() == 0);
    let kept = fill(&mut history, "P1", 0, 1000);
    history.flush(NOW).unwrap();
    assert_eq!((history.cursor(), history.pending_rows()), (1000, 0));
    fill(&mut history, "P1", 1000, 7);
    assert_eq!(rows(&history, "P1", 0, i64::MAX).len(), 1007, "what waits is visible");
    let latest = history.latest().get("P1");
    drop(history);

    let mut history = open(dir.path());
    assert_eq!((history.cursor(), history.next_seq(), history.is_new()), (1000, 1000, false));
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    assert_eq!(history.latest().get("P1").unwrap().row, kept[999]);
    fill(&mut history, "P1", 1000, 7);
    assert_eq!(history.latest().get("P1"), latest);
}

#[test]
fn a_replay_below_the_cursor_counts_nothing_twice() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let kept = fill(&mut history, "P1", 0, 500);
    fill(&mut history, "P1", 0, 500);
    history.flush(NOW).unwrap();
    fill(&mut history, "P1", 0, 500);
    drop(history);
    let mut history = open(dir.path());
    fill(&mut history, "P1", 0, 500);
    history.flush(NOW).unwrap();
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    let minutes = history.view().rollups("z1", Timestamp(0), Timestamp(i64::MAX)).unwrap();
    assert_eq!(minutes.iter().map(|(_, minute)| minute.readings).sum::<u64>(), 500);
}

#[test]
fn a_crash_between_month_file_and_main_commit_repeats_and_doubles_nothing() {
    let dir = tempdir().unwrap();
    let month = dir.path().join("history-2026-11.db");
    let mut history = open(dir.path());
    let first = fill(&mut history, "P1", 0, 200);
    history.flush(NOW).unwrap();
    let mut kept = fill(&mut history, "P1", 200, 800);
    kept.splice(0..0, first);
    history.flush_first_step_only();
    let chunks = count(&month, "SELECT count(*) FROM chunk");
    assert!(chunks >= 2);
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept, "seen in memory and in chunks, told once");
    drop(history);

    let mut history = open(dir.path());
    assert_eq!(history.cursor(), 200);
    // The second try flushes at other moments than the first.
    for from in (200..1000).step_by(80) {
        fill(&mut history, "P1", from, 80);
        history.flush(NOW).unwrap();
        assert!(rows(&history, "P1", 0, i64::MAX).starts_with(&kept[..from as usize + 80]));
    }
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    assert_eq!(count(&month, "SELECT count(*) FROM chunk"), chunks, "the same chunks were written again");
    let in_parts = count(&dir.path().join("history.db"), "SELECT sum(rows) FROM open_part");
    let in_chunks = count(&month, "SELECT sum(rows) FROM chunk");
    assert_eq!(in_parts + in_chunks, 1000);
}

#[test]
fn a_late_row_is_found_in_its_month_and_in_its_place() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let mut kept = fill(&mut history, "P1", 0, 100);
    let late = reading("P1", NOON - 40 * DAY, 1);
    apply(&mut history, 100, &late);
    let inside = reading("P1", NOON + 45_000, 2);
    apply(&mut history, 101, &inside);
    let rest = fill(&mut history, "P1", 102, 600);
    kept.insert(2, Row::from(&inside));
    kept.insert(0, Row::from(&late));
    kept.extend(rest);
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    history.flush(NOW).unwrap();
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    assert_eq!(rows(&history, "P1", NOON - 41 * DAY, NOON), kept[..1]);
    assert!(dir.path().join("history-2026-10.db").exists(), "the late row lies in its own month");
    assert_eq!(count(&dir.path().join("history-2026-10.db"), "SELECT sum(rows) FROM chunk"), 1);
}

#[test]
fn a_month_file_goes_whole_when_its_last_day_is_too_old_and_one_at_a_time() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    for seq in 0..1750u64 {
        let at = NOON - 70 * DAY + seq.cast_signed() * (DAY / 25);
        apply(&mut history, seq, &reading("P1", at, 5));
    }
    history.flush(NOW).unwrap();
    let months = || months::list(dir.path()).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(months(), ["2026-09", "2026-10", "2026-11"]);
    let view = history.view();
    let oldest = || view.rows("P1", Timestamp(0), NOW, 1, None).unwrap().rows[0].stored_ts;
    assert_eq!(oldest(), Timestamp(NOON - 70 * DAY));
    history.retain(NOW).unwrap();
    assert_eq!(months(), ["2026-10", "2026-11"], "october ended less than 30 days before");
    assert!(oldest() >= Timestamp(1_790_812_800_000), "nothing of september is answered");
    history.retain(NOW).unwrap();
    assert_eq!(months(), ["2026-10", "2026-11"]);
    let minutes = view.rollups("z1", Timestamp(0), Timestamp(i64::MAX)).unwrap();
    assert!(minutes[0].0 >= Timestamp(NOON - 30 * DAY - 60_000));

    history.retain(Timestamp(NOON + 4000 * DAY)).unwrap();
    assert_eq!(months(), ["2026-11"], "a clock far ahead costs one file a call");
}

#[test]
fn untracked_devices_and_other_kinds_only_move_the_cursor() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let untracked = StoredReading { marks: Marks::UNTRACKED, ..reading("P9", NOON, 1) };
    apply(&mut history, 0, &untracked);
    history.apply(1, record::WEATHER, b"whatever");
    history.apply(2, record::READING, b"not a record");
    history.flush(NOW).unwrap();
    assert_eq!((history.cursor(), history.latest().len()), (3, 0));
    assert_eq!((history.metrics.untracked.get(), history.metrics.unreadable.get()), (1, 1));
    assert!(rows(&history, "P9", 0, i64::MAX).is_empty());
}

#[test]
fn a_leap_in_the_sequence_is_remembered_as_a_gap() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    apply(&mut history, 40, &reading("P1", NOON, 1));
    apply(&mut history, 50, &reading("P1", NOON + 1, 1));
    history.skip_to(60);
    history.flush(NOW).unwrap();
    let gaps = history.view().gaps().unwrap();
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from_seq, gap.to_seq, gap.noted_at)).collect();
    assert_eq!(gaps, [(41, 50, NOW), (51, 60, NOW)], "where a new history begins is no gap");
    assert_eq!(open(dir.path()).cursor(), 60);
}

#[test]
fn another_journal_is_read_from_its_start_and_what_is_kept_stays() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let old = fill(&mut history, "P1", 0, 500);
    history.rewind(0, NOW).unwrap();
    assert_eq!((history.cursor(), history.next_seq()), (0, 0));
    for seq in 0..500 {
        apply(&mut history, seq, &reading("P1", NOON + DAY + seq.cast_signed(), 1));
    }
    history.flush(NOW).unwrap();
    assert_eq!(rows(&history, "P1", 0, NOON + DAY), old);
    assert_eq!(rows(&history, "P1", 0, i64::MAX).len(), 1000);
}

#[test]
fn a_flush_is_due_by_time_or_by_rows() {
    let dir = tempdir().unwrap();
    let options = Options { flush_rows: 10, ..Options::default() };
    let mut history = History::open(dir.path(), options, Metrics::default()).unwrap();
    assert!(!history.flush_due(NOW));
    fill(&mut history, "P1", 0, 1);
    assert!(!history.flush_due(NOW));
    assert!(!history.flush_due(NOW + Millis(59_999)));
    assert!(history.flush_due(NOW + Millis::seconds(60)));
    assert!(!history.flush_due(NOW - Millis::seconds(3600)), "a clock set back begins the wait anew");
    assert!(history.flush_due(NOW - Millis::seconds(3540)));
    fill(&mut history, "P1", 1, 9);
    assert!(history.flush_due(NOW - Millis::seconds(3600)));
    history.flush(NOW).unwrap();
    assert!(!history.flush_due(NOW + Millis::seconds(600)));
}

#[test]
fn a_failing_flush_keeps_everything_readable_and_the_next_one_counts_it_once() {
    let dir = tempdir().unwrap();
    let options = Options { rows_max: 450, ..Options::default() };
    let mut history = History::open(dir.path(), options, Metrics::default()).unwrap();
    let mut kept = fill(&mut history, "P1", 0, 100);
    history.flush(NOW).unwrap();
    break_writes(dir.path());
    kept.extend(fill(&mut history, "P1", 100, 300));
    assert!(history.flush(NOW).is_err());
    assert!(!history.is_full());
    kept.extend(fill(&mut history, "P1", 400, 150));
    assert!(history.flush(NOW).is_err());
    assert!(history.is_full());
    assert_eq!((history.cursor(), history.pending_rows()), (100, 450));
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    let readings = |history: &History| {
        let minutes = history.view().rollups("z1", Timestamp(0), Timestamp(i64::MAX)).unwrap();
        minutes.iter().map(|(_, minute)| minute.readings).sum::<u64>()
    };
    assert_eq!(readings(&history), 550);
    mend(dir.path());
    history.flush(NOW).unwrap();
    assert_eq!((history.cursor(), history.pending_rows(), readings(&history)), (550, 0, 550));
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    assert_eq!(history.metrics.flush_failed.get(), 2);
    drop(history);
    assert_eq!(rows(&open(dir.path()), "P1", 0, i64::MAX), kept);
}

#[test]
fn a_commit_that_went_through_behind_an_error_is_not_done_again() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    let kept = fill(&mut history, "P1", 0, 300);
    let batch = history.take_batch().unwrap();
    let plan = history.close_chunks(&batch).unwrap();
    history.main.commit(&batch, &plan, &history.latest, NOW).unwrap();
    history.broken = true;
    history.flush(NOW).unwrap();
    assert_eq!((history.cursor(), history.pending_rows()), (300, 0));
    assert_eq!(rows(&history, "P1", 0, i64::MAX), kept);
    let minutes = history.view().rollups("z1", Timestamp(0), Timestamp(i64::MAX)).unwrap();
    assert_eq!(minutes.iter().map(|(_, minute)| minute.readings).sum::<u64>(), 300);
}

#[test]
fn a_damaged_part_is_told_kept_and_costs_itself_alone() {
    let dir = tempdir().unwrap();
    let mut history = open(dir.path());
    fill(&mut history, "P1", 0, 50);
    history.flush(NOW).unwrap();
    fill(&mut history, "P1", 50, 50);
    history.flush(NOW).unwrap();
    let path = dir.path().join("history.db");
    let sql = rusqlite::Connection::open(&path).unwrap();
    let damage = "UPDATE open_part SET data = zeroblob(length(data)) WHERE first_seq = 0";
    assert_eq!(sql.execute(damage, []).unwrap(), 1);
    let answer = history.view().rows("P1", Timestamp(0), Timestamp(i64::MAX), 1000, None).unwrap();
    assert_eq!((answer.rows.len(), answer.damaged.len()), (50, 1));
    assert!(matches!(answer.damaged[0], HistoryError::DamagedPart { first_seq: 0, rows: 50, .. }));
    fill(&mut history, "P1", 100, 700);
    history.flush(NOW).unwrap();
    assert_eq!(rows(&history, "P1", 0, i64::MAX).len(), 750);
    assert_eq!(count(&path, "SELECT count(*) FROM damaged_part"), 1);
    assert_eq!(history.metrics.damaged.get(), 2, "met by a reader, then by the writer");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let sql = rusqlite::Connection::open(dir.path().join("history.db")).unwrap();
    sql.pragma_update(None, "user_version", 2).unwrap();
    let refused = History::open(dir.path(), Options::default(), Metrics::default()).unwrap_err();
    assert!(matches!(refused, HistoryError::Newer { found: 2, known: 1, .. }), "{refused}");
}

/// What happens to the history of a few posts.
#[derive(Clone, Debug)]
enum Step {
    /// Readings of a post: post, start in seconds before or after noon, step in seconds, how many.
    Readings(u8, i64, i64, u16),
    Flush,
    Restart,
    /// A crash after the chunks were written and before the main commit.
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![Just(0i64), -80_000i64..80_000, -4_000_000i64..0];
    prop_oneof![
        6 => (0u8..3, start, 1i64..100, 1u16..500).prop_map(|(p, s, d, n)| Step::Readings(p, s, d, n)),
        3 => Just(Step::Flush),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

const POSTS: [&str; 3] = ["P1", "P2", "P7"];

/// The journal as a plain list, and what history must answer.
#[derive(Default)]
struct Model {
    journal: Vec<(u8, StoredReading<'static>)>,
}

impl Model {
    fn rows(&self, post: u8, from: i64, to: i64) -> Vec<Row> {
        let own = self.journal.iter().filter(|(of, _)| *of == post).map(|(_, reading)| Row::from(reading));
        let mut rows: Vec<Row> = own.filter(|row| (from..to).contains(&row.stored_ts.0)).collect();
        rows.sort_by_key(|row| row.stored_ts);
        rows
    }

    fn push(&mut self, post: u8, at: i64, leakage: i64) {
        let taken = |at| self.journal.iter().any(|(of, one)| *of == post && one.stored_ts.0 == at);
        let free = (at..).find(|at| !taken(*at)).unwrap();
        self.journal.push((post, reading(POSTS[usize::from(post)], free, leakage)));
    }

    /// Gives history everything from its cursor on, as the follower does after a start.
    fn replay(&self, history: &mut History) {
        for (seq, (_, reading)) in self.journal.iter().enumerate().skip(history.next_seq() as usize) {
            history.apply(seq as u64, record::READING, &encoded(reading));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_mix_of_rows_flushes_restarts_and_crashes_answers_like_a_plain_list(
        steps in proptest::collection::vec(any_step(), 1..16),
    ) {
        let dir = tempdir().unwrap();
        let (mut history, mut model) = (open(dir.path()), Model::default());
        for step in steps {
            match step {
                Step::Readings(post, start, every, n) => {
                    for k in 0..i64::from(n) {
                        model.push(post, NOON + (start + k * every) * 1000, k % 700);
                    }
                }
                Step::Flush => history.flush(NOW).unwrap(),
                Step::Restart => {
                    drop(history);
                    history = open(dir.path());
                }
                Step::Crash => {
                    if history.pending_rows() > 0 {
                        history.flush_first_step_only();
                    }
                    drop(history);
                    history = open(dir.path());
                }
            }
            model.replay(&mut history);
            for (number, post) in POSTS.into_iter().enumerate() {
                let day = (NOON - DAY, NOON + 1);
                prop_assert_eq!(rows(&history, post, day.0, day.1), model.rows(number as u8, day.0, day.1));
            }
        }
        history.flush(NOW).unwrap();
        for (number, post) in POSTS.into_iter().enumerate() {
            prop_assert_eq!(rows(&history, post, 0, i64::MAX), model.rows(number as u8, 0, i64::MAX));
        }
        let counted = |zone| {
            let minutes = history.view().rollups(zone, Timestamp(0), Timestamp(i64::MAX)).unwrap();
            minutes.iter().map(|(_, minute)| minute.readings).sum::<u64>()
        };
        prop_assert_eq!((counted("z1") + counted("z2")) as usize, model.journal.len());
        prop_assert_eq!(history.cursor() as usize, model.journal.len());
    }
}
