//! What the tests of several files share: readings, records, and a plain model of history.

use std::path::Path;

use lampguard_model::record::{self, encode_reading};
use lampguard_model::{Field, Fields, StoredReading, Timestamp};

use crate::{History, Metrics, Options, Row};

/// 2026-11-23 12:00 UTC.
pub(crate) const NOON: i64 = 1_795_435_200_000;
pub(crate) const DAY: i64 = 86_400_000;

/// A reading of `post` stored at `at`, received 80 ms later.
pub(crate) fn reading(post: &str, at: i64, leakage: i64) -> StoredReading<'_> {
    let mut fields = Fields::default();
    fields.set(Field::LeakageMa, leakage);
    fields.set(Field::SupplyV, 228_000 + leakage % 1000 / 100 * 100);
    StoredReading {
        identity: at.cast_unsigned() ^ leakage.cast_unsigned(),
        received_at: Timestamp(at + 80),
        seq: Some(at.cast_unsigned() / 1000),
        boot: Some(1),
        zone: if post.ends_with('7') { "z2" } else { "z1" },
        feeder: "F1",
        fields,
        ..StoredReading::at(post, Timestamp(at))
    }
}

pub(crate) fn encoded(reading: &StoredReading<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_reading(reading, &mut bytes);
    bytes
}

pub(crate) fn open(dir: &Path) -> History {
    History::open(dir, Options::default(), Metrics::default()).unwrap()
}

pub(crate) fn apply(history: &mut History, seq: u64, reading: &StoredReading<'_>) {
    history.apply(seq, record::READING, &encoded(reading));
}

/// All rows of a post in `from..to`, without damage.
pub(crate) fn rows(history: &History, post: &str, from: i64, to: i64) -> Vec<Row> {
    let answer = history.view().rows(post, Timestamp(from), Timestamp(to), crate::LIMIT_MAX, None).unwrap();
    assert!(answer.damaged.is_empty(), "{:?}", answer.damaged);
    assert_eq!(answer.next, None);
    answer.rows
}

/// Number of rows that a query of a history file counts.
pub(crate) fn count(path: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Makes every flush fail until [`mend`].
pub(crate) fn break_writes(dir: &Path) {
    let sql = rusqlite::Connection::open(dir.join("history.db")).unwrap();
    let fail = "CREATE TRIGGER full BEFORE INSERT ON open_part BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    sql.execute_batch(fail).unwrap();
}

pub(crate) fn mend(dir: &Path) {
    let sql = rusqlite::Connection::open(dir.join("history.db")).unwrap();
    sql.execute_batch("DROP TRIGGER full").unwrap();
}
