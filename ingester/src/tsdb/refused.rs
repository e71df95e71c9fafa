//! The rows that a database refused one by one: kept in a bounded file, and not sent again.
//!
//! `tsdb-ID-rejected.jsonl` holds one JSON object a line: `{"at":ms,"seq":n,"row":"…","answer":"400 …"}`. At
//! 64 MiB it becomes `tsdb-ID-rejected.1.jsonl` (in place of the one before) and a new one is begun.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use lampguard_model::Timestamp;

/// Length at which the file is rotated, bytes.
const FILE_MAX: u64 = 64 << 20;
/// Refused rows remembered; a longer list forgets its oldest, which would be refused and counted again.
const KNOWN_MAX: usize = 10_000;
/// Bytes of the answer that are kept for a row.
const ANSWER_MAX: usize = 500;

/// One refused row.
#[derive(serde::Serialize)]
pub(crate) struct Refused<'a> {
    /// When it was refused.
    pub(crate) at: Timestamp,
    /// Number of its record in the journal.
    pub(crate) seq: u64,
    /// The row.
    pub(crate) row: &'a str,
    /// What the database said.
    pub(crate) answer: &'a str,
}

/// The file, and the numbers of the rows in it that could come again.
pub(crate) struct RefusedRows {
    path: PathBuf,
    file_max: u64,
    known: BTreeSet<u64>,
}

impl RefusedRows {
    pub(crate) fn new(data_dir: &Path, id: &str) -> Self {
        Self {
            path: data_dir.join(format!("tsdb-{id}-rejected.jsonl")),
            file_max: FILE_MAX,
            known: BTreeSet::new(),
        }
    }

    /// True for a row that was refused before and is not to be sent again.
    pub(crate) fn knows(&self, seq: u64) -> bool {
        self.known.contains(&seq)
    }

    /// Forgets rows that will not be sent again anyway.
    pub(crate) fn forget_before(&mut self, seq: u64) {
        if self.known.first().is_some_and(|first| *first < seq) {
            self.known = self.known.split_off(&seq);
        }
    }

    /// Keeps rows, durable when it returns.
    ///
    /// # Errors
    /// What the disk said. The rows are still in journal and history; say so and go on.
    pub(crate) fn keep(&mut self, rows: &[Refused<'_>]) -> std::io::Result<()> {
        for row in rows {
            self.known.insert(row.seq);
            if self.known.len() > KNOWN_MAX {
                self.known.pop_first();
            }
        }
        let length = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        if length >= self.file_max {
            std::fs::rename(&self.path, self.path.with_extension("1.jsonl"))?;
        }
        let mut text = Vec::new();
        for row in rows {
            let answer = &row.answer[..row.answer.floor_char_boundary(ANSWER_MAX)];
            serde_json::to_writer(&mut text, &Refused { answer, ..*row })?;
            text.push(b'\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&text)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_refused_rows_is_bounded_and_known_rows_are_remembered() {
        let home = tempfile::tempdir().unwrap();
        let mut rows = RefusedRows::new(home.path(), "main");
        rows.file_max = 200;
        for seq in 0..20 {
            let row = Refused { at: Timestamp(5), seq, row: "lamp,post=a x=1 5", answer: &"é".repeat(600) };
            rows.keep(&[row]).unwrap();
        }
        assert!(rows.knows(19) && rows.knows(0) && !rows.knows(20));
        rows.forget_before(10);
        assert!(rows.knows(10) && !rows.knows(9));
        let names: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for name in names {
            let text = std::fs::read_to_string(home.path().join(name)).unwrap();
            assert!(text.len() < 1000 && text.contains("lamp,post=a"));
        }
    }
}
