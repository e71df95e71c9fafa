//! `journal forget ID`: drops the cursor of a follower whose database or node is gone.
//!
//! ```text
//!  1 find     which cursors are there: files of the data directory
//!  2 refuse   one that the configuration names, or that a running instance follows
//!  3 remove   the cursor and what stands beside it
//! ```
//! Rejected: forgetting what is still configured. A node would get everything that the journal holds a second time, and
//! knows only the last day of it by its identities.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::UsageError;
use crate::cli::Target;
use crate::config::{self, Config};
use crate::data_dir::DataDir;
use crate::nodes;
use crate::tools::{Asker, print};

/// Kind of follower, and the end of the file that goes with its cursor. Rows that a database refused are data: they stay.
const KINDS: [(&str, Option<&str>); 2] = [("tsdb", None), ("forward", Some(".weather"))];
/// The metric that names those who follow the journal of a running instance.
const FOLLOWED: &str = "lampguard_journal_pending_readings";
/// Longest wait for a running instance.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stored cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    /// As metrics name it: `tsdb:main`, `forward:east`.
    follower: String,
    file: PathBuf,
    beside: Option<PathBuf>,
}

pub(crate) fn forget(file: Option<&Path>, asked: &str) -> Result<()> {
    let config = config::load(&config::find(file)?)?;
    let dir = &config.site.data_dir;
    let cursor = choose(&cursors(dir)?, asked, dir)?;
    let follower = &cursor.follower;
    if let Some(key) = named_by(&config, follower) {
        bail!(UsageError(format!(
            "{follower} is followed by the configuration ({key}): take it out there and restart first; nothing was forgotten"
        )));
    }
    // Held to the end: nothing starts in between.
    let _lock = match DataDir::lock(dir) {
        Ok(lock) => Some(lock),
        Err(in_use) => {
            if is_followed(file, follower).context(in_use.to_string())? {
                bail!(
                    "the running instance still follows {follower}: restart it by the new configuration first; nothing was forgotten"
                );
            }
            None
        }
    };
    std::fs::remove_file(&cursor.file).with_context(|| format!("removing {}", cursor.file.display()))?;
    if let Some(beside) = &cursor.beside {
        match std::fs::remove_file(beside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", beside.display()));
            }
            _ => {}
        }
    }
    print(&format!(
        "{follower}: forgotten; under that name it would begin with what the journal holds then\n"
    ))
}

/// The cursors that stand in a data directory, by name.
fn cursors(dir: &Path) -> Result<Vec<Cursor>> {
    let doing = || format!("looking for cursors in {}", dir.display());
    let mut cursors = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(doing)? {
        let name = entry.with_context(doing)?.file_name().to_string_lossy().into_owned();
        for (kind, beside) in KINDS {
            let id = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".cursor"));
            if let Some(id) = id {
                let beside = beside.map(|end| dir.join(format!("{kind}-{id}{end}")));
                cursors.push(Cursor { follower: format!("{kind}:{id}"), file: dir.join(&name), beside });
            }
        }
    }
    cursors.sort_by(|one, other| one.follower.cmp(&other.follower));
    Ok(cursors)
}

/// The cursor that is meant, by its whole name or by the id alone where that is clear.
fn choose(cursors: &[Cursor], asked: &str, dir: &Path) -> Result<Cursor> {
    let is_meant = |cursor: &&Cursor| {
        let id = cursor.follower.split_once(':').map_or("", |(_, id)| id);
        cursor.follower == asked || id == asked
    };
    let mut found = cursors.iter().filter(is_meant);
    if let (Some(one), None) = (found.next(), found.next()) {
        return Ok(one.clone());
    }
    let names: Vec<&str> = cursors.iter().map(|cursor| cursor.follower.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    bail!(UsageError(format!("{asked:?} names no one cursor in {}; there are: {names}", dir.display())))
}

/// What of the configuration follows by this cursor.
fn named_by(config: &Config, follower: &str) -> Option<String> {
    let (kind, id) = follower.split_once(':')?;
    match kind {
        "tsdb" => config.tsdbs.iter().any(|database| database.id == id).then(|| format!("[[tsdb]] {id}")),
        _ => {
            let followed = nodes::followed(config.nodes.as_ref());
            followed.iter().any(|node| node == id).then(|| format!("[[nodes.peer]] {id}"))
        }
    }
}

/// The running instance follows by it.
fn is_followed(file: Option<&Path>, follower: &str) -> Result<bool> {
    let asker = Asker::new(file, &Target::default(), Some(PATIENCE))?;
    let (status, mut body) = asker.get("/metrics")?;
    let text = body.read_to_string().context("reading the metrics of the running instance")?;
    if status != 200 {
        bail!("the running instance answered {status} to /metrics");
    }
    let mut followed = text.lines().filter(|line| line.starts_with(FOLLOWED)).peekable();
    if followed.peek().is_none() {
        bail!("the running instance does not say yet who follows its journal: again in some seconds");
    }
    let label = format!("{FOLLOWED}{{follower=\"{follower}\"}}");
    Ok(followed.any(|line| line.starts_with(&label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_named_whole_or_by_an_id_that_only_one_has_and_the_rest_is_listed() {
        let home = tempfile::tempdir().unwrap();
        for name in [
            "tsdb-main.cursor",
            "forward-east.cursor",
            "forward-main.cursor",
            "tsdb-main-rejected.jsonl",
            "lock",
        ] {
            std::fs::write(home.path().join(name), "7\n").unwrap();
        }
        let there = cursors(home.path()).unwrap();
        let names: Vec<&str> = there.iter().map(|cursor| cursor.follower.as_str()).collect();
        assert_eq!(names, ["forward:east", "forward:main", "tsdb:main"]);
        let chosen = |asked: &str| choose(&there, asked, home.path()).map(|cursor| cursor.follower);
        assert_eq!(chosen("east").unwrap(), "forward:east");
        assert_eq!(chosen("tsdb:main").unwrap(), "tsdb:main");
        for asked in ["main", "west", "", "tsdb:east"] {
            let refused = chosen(asked).unwrap_err().to_string();
            assert!(refused.contains("there are: forward:east, forward:main, tsdb:main"), "{refused}");
        }
        assert_eq!(there[0].beside, Some(home.path().join("forward-east.weather")));
    }
}
