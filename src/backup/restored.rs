//! That a data directory was put back from a backup: known by a file in it, told at every start until people end it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::data_dir::Staged;

/// In the data directory, from the restore until people have ended the incident.
pub(super) const FILE: &str = "restored";

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Everything up to then is in the backup (RFC 3339).
    moment: String,
    /// When it was put back (RFC 3339).
    restored_at: String,
}

/// A data directory that came from a backup.
#[derive(Debug)]
pub(crate) struct Restored {
    file: PathBuf,
    moment: Timestamp,
    /// The moment, as the name of the part has it: what a second backup brings back is an incident of its own, also when it
    /// holds the open one of the first.
    of: String,
    because: String,
    /// People have ended its incident.
    over: AtomicBool,
}

/// Leaves the file that the next start finds.
pub(super) fn leave_word(dir: &Path, moment: &str, now: Timestamp) -> Result<()> {
    let note = Note { moment: moment.to_owned(), restored_at: now.to_rfc3339() };
    Staged::write(&dir.join(FILE), &(serde_json::to_string(&note)? + "\n"), 0o600)?.replace()
}

impl Restored {
    /// What a restore left; none in a directory of its own, or when people have ended it. One that cannot be read counts
    /// as of now: better one question too many.
    pub(crate) fn find(dir: &Path, time_zone: &str, now: Timestamp) -> Option<Self> {
        let file = dir.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => e.to_string(),
        };
        let note = serde_json::from_str::<Note>(&text).ok();
        let said = note.and_then(|note| Timestamp::from_rfc3339(&note.moment));
        if said.is_none() {
            warn!(file = %file.display(), "it does not say of which moment the backup is: taken as of now");
        }
        let moment = said.unwrap_or(now);
        warn!(%moment, "the data were put back from a backup, what happened after it is not among them");
        let local = local(moment, time_zone).unwrap_or_else(|| moment.to_rfc3339());
        let because = format!(
            "数据恢复至 {local}: 逐一电话核实断电和未结险情 (data are those of a backup of {local}: confirm by phone \
             every isolation and every open incident)"
        );
        Some(Self { file, moment, of: local.replace(' ', "T"), because, over: AtomicBool::new(false) })
    }

    pub(crate) fn moment(&self) -> Timestamp {
        self.moment
    }

    /// A part of the system: bad until people end its incident.
    pub(crate) fn part(&self) -> (String, bool, String) {
        let over = self.over.load(Ordering::Relaxed);
        (format!("restored:{}", self.of), over, if over { String::new() } else { self.because.clone() })
    }

    /// People have ended the incident of this part while it was bad.
    pub(crate) fn dismiss(&self, part: &str) {
        if part == self.part().0 {
            self.end();
        }
    }

    /// People have ended it: no later start tells it again. Tried again when the file cannot be removed.
    fn end(&self) {
        match std::fs::remove_file(&self.file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                warn!(file = %self.file.display(), error = %e, "cannot be removed: the next start tells it again");
            }
            _ => self.over.store(true, Ordering::Relaxed),
        }
    }
}

/// As people read it on the spot.
fn local(at: Timestamp, time_zone: &str) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?.in_tz(time_zone).ok()?;
    Some(at.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn what_a_restore_left_is_told_until_people_end_it() {
        let home = tempfile::tempdir().unwrap();
        let find = || Restored::find(home.path(), "Asia/Shanghai", NOW);
        assert!(find().is_none());
        leave_word(home.path(), "2026-11-23T02:30:00.000Z", NOW).unwrap();
        let restored = find().unwrap();
        assert_eq!(restored.moment(), Timestamp::from_rfc3339("2026-11-23T02:30:00Z").unwrap());
        let (part, good, because) = restored.part();
        assert!(
            part == "restored:2026-11-23T10:30"
                && !good
                && because.contains("2026-11-23 10:30")
                && because.contains("逐一电话核实")
        );
        restored.dismiss("restored:2026-11-20T10:30");
        assert!(!restored.part().1, "another backup's");
        restored.dismiss(&part);
        assert!(restored.part().1 && find().is_none());
    }

    #[test]
    fn a_file_that_says_no_moment_counts_as_of_now() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FILE), "{").unwrap();
        assert_eq!(Restored::find(home.path(), "Asia/Shanghai", NOW).unwrap().moment(), NOW);
    }
}
