//! `backup`, beside a running instance: whole, or not there at all.
//!
//! ```text
//!  1 pin        every segment of the journal is opened: what the instance trims from now on stays readable to us
//!  2 databases  history.db, then its months, then the others: each by SQLite's own backup, one snapshot
//!  3 files      cursors, keys, policies, books
//!  4 journal    its segments up to where they reach now: this is the backup's moment
//!  5 check      the journal is read back, the hash chain too; then backup.json with the sum of every file
//!  6 name       OUT.unfinished becomes OUT
//! ```
//! The order is the point. Whoever follows the journal has its cursor in its own database (2, 3), and the journal is copied behind
//! it (4), so what a cursor has not seen yet is in the copy and is replayed by the next start: rows twice are told
//! apart by their numbers, incidents have ids that follow from what opened them. A month file newer than
//! history.db is what a crash leaves behind too: its chunks are written again under the same keys.
//! What people did after their database was copied is not in it.

mod copy;
mod restore;
mod restored;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_ingester::accounts::Totals;
use lampguard_journal::{Disk, RealDisk, SegmentInfo};
use lampguard_model::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub(crate) use restore::{MARK, restore};
pub(crate) use restored::Restored;

use crate::config::{self, Config};
use crate::{clock, data_dir, tools};

/// Of `backup.json`; raised whenever an older version could not restore what this one writes.
const BACKUP_FORMAT: u32 = 1;
/// Written last; without it nothing is a backup.
const MANIFEST: &str = "backup.json";
/// Locked while a backup is made, so that another one knows what was left behind.
const UNFINISHED: &str = "unfinished";
/// Of a running instance, and of it alone.
const PASSING: [&str; 2] = ["lock", "local.json"];
/// Ends of names that are written beside a file and replace it, or belong to an open database.
const PASSING_ENDS: [&str; 5] = ["-wal", "-shm", "-journal", ".new", ".tmp"];

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    backup: u32,
    /// Of the data directory.
    format: u32,
    lampguard: String,
    /// Readings acknowledged up to then are in it (RFC 3339).
    moment: String,
    /// Number behind the newest record of the journal.
    records: u64,
    stored: u64,
    /// `number:hash` of the newest row of the chain; none before the first start.
    audit_head: Option<String>,
    /// Why the chain of the incident store does not hold; it was so before it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit_fault: Option<String>,
    /// Bytes of segments of the journal in which records are missing that belong to no whole frame.
    #[serde(default)]
    journal_damaged_bytes: u64,
    /// Records missing between those that are there.
    #[serde(default)]
    journal_missing_records: u64,
    files: Vec<Sum>,
}

impl Manifest {
    /// What is wrong with the data that were copied; nothing of it came from copying.
    fn damage(&self) -> Option<String> {
        let chain =
            self.audit_fault.iter().map(|fault| format!("the chain of incidents.db is broken: {fault}"));
        let (records, bytes) = (self.journal_missing_records, self.journal_damaged_bytes);
        let journal = (records > 0).then(|| {
            format!("the journal lacks {records} record(s), {bytes} damaged bytes (journal_damaged_bytes)")
        });
        let all: Vec<String> = chain.chain(journal).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// One file: where it lies in the backup, its size, what it holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sum {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Copies the data directory of this configuration, and the configuration, into a new folder.
pub(crate) fn backup(file: Option<&Path>, out: &Path) -> Result<()> {
    let file = config::find(file)?;
    let config = config::load(&file)?;
    let dir = &config.site.data_dir;
    let format = data_dir::format_of(dir)?;
    let Some(format) = format else {
        bail!(
            "data directory {} is empty: no instance ran on it, there is nothing to back up",
            dir.display()
        );
    };
    let unfinished = Unfinished::begin(out, dir)?;
    let pinned = pin(&dir.join("journal"))?;
    let files = files_of(dir, &unfinished.path)?;
    let pinned_bytes = pinned.values().filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>();
    check_space(&config, &unfinished.path, files.iter().map(|(_, bytes)| bytes).sum::<u64>() + pinned_bytes)?;

    let mut copy = copy::Copy::new(&unfinished.path);
    for (name, _) in &files {
        copy.take(&dir.join(name), &Path::new("data").join(name))?;
    }
    let moment = clock::now();
    // Also where no reading has come yet: what is read back below has to be there.
    copy::make_folders(&unfinished.path.join("data/journal/segment"))?;
    copy_journal(&mut copy, &dir.join("journal"), pinned)?;
    for (name, path) in [
        ("lampguard.toml", Some(&file)),
        ("posts.csv", Some(&config.posts.file)),
        ("policy.toml", config.policy.file.as_ref()),
    ] {
        if let Some(path) = path {
            copy.take(path, &Path::new("config").join(name))?;
        }
    }
    let manifest = check(&unfinished.path, &dir.join("journal"), format, moment, copy.finish()?)?;
    unfinished.name(out, &manifest)?;
    let bytes = manifest.files.iter().map(|entry| entry.bytes).sum::<u64>();
    tools::print(&format!(
        "{}: {} file(s), {} MiB, readings acknowledged up to {} ({} stored)\n",
        out.display(),
        manifest.files.len(),
        bytes >> 20,
        manifest.moment,
        manifest.stored
    ))?;
    // A backup of what is damaged is better than none; whoever waits for a good one has to hear it.
    match manifest.damage() {
        Some(damage) => bail!(
            "the backup {} is there and can be restored, and what it was made of is damaged: {damage}; keep the backups \
             of before, and see `lampguard audit verify` and `lampguard journal inspect`",
            out.display()
        ),
        None => Ok(()),
    }
}

/// The folder in which a backup grows, before it has its name.
struct Unfinished {
    path: PathBuf,
    _lock: File,
}

impl Unfinished {
    fn begin(out: &Path, data: &Path) -> Result<Self> {
        let doing = || format!("making a backup in {}", out.display());
        if fs::read_dir(out).is_ok_and(|mut inside| inside.next().is_some()) || out.is_file() {
            bail!("{} is there already: name a new folder, one for each backup", out.display());
        }
        let (Some(parent), Some(name)) = (parent(out), out.file_name()) else {
            bail!(crate::UsageError(format!("{} is no name of a new folder", out.display())));
        };
        fs::create_dir_all(&parent).with_context(doing)?;
        let real = |path: &Path| path.canonicalize().with_context(doing);
        if real(&parent)?.starts_with(real(data)?) {
            bail!(crate::UsageError(format!(
                "{} lies inside the data directory {}: name a folder elsewhere, best on another disk",
                out.display(),
                data.display()
            )));
        }
        let path = parent.join(format!("{}.{UNFINISHED}", name.to_string_lossy()));
        if path.exists() {
            remove_left(&path)?;
        }
        data_dir::make(&path)?;
        let lock = File::create(path.join(UNFINISHED)).with_context(doing)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).with_context(doing)?;
        Ok(Self { path, _lock: lock })
    }

    /// Everything is durable before the name is there.
    fn name(&self, out: &Path, manifest: &Manifest) -> Result<()> {
        let doing = || format!("finishing the backup {}", out.display());
        let text = serde_json::to_string_pretty(manifest)? + "\n";
        data_dir::write_private(&self.path.join(MANIFEST), &text)?;
        File::open(self.path.join(MANIFEST)).and_then(|file| file.sync_all()).with_context(doing)?;
        fs::remove_file(self.path.join(UNFINISHED)).with_context(doing)?;
        sync_dir(&self.path)?;
        fs::rename(&self.path, out).with_context(doing)?;
        sync_dir(&parent(out).unwrap_or_default())
    }
}

/// A try that was broken off is removed; one that is under way, and what is not ours, is left alone.
fn remove_left(path: &Path) -> Result<()> {
    let Ok(lock) = File::open(path.join(UNFINISHED)) else {
        bail!("{} is there and was not left by a backup: move it away", path.display());
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another backup is writing {}: wait for it, or name another folder", path.display());
    }
    fs::remove_dir_all(path).with_context(|| format!("removing {}, which was broken off", path.display()))
}

fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("syncing {}", dir.display()))
}

/// Every segment that is there, open: a file that was opened can be read though it is removed.
fn pin(journal: &Path) -> Result<BTreeMap<PathBuf, File>> {
    let mut pinned = BTreeMap::new();
    for name in segments(journal)? {
        match File::open(journal.join(&name)) {
            Ok(file) => drop(pinned.insert(name, file)),
            // Trimmed between the two looks: every follower was past it.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("opening {}", journal.join(name).display())),
        }
    }
    Ok(pinned)
}

fn segments(journal: &Path) -> Result<Vec<PathBuf>> {
    let files = RealDisk.list(journal).with_context(|| format!("listing {}", journal.display()))?;
    Ok(files.into_iter().filter(|name| name.ends_with(".lgj")).map(PathBuf::from).collect())
}

/// Files of the data directory but the journal, in the order in which they are copied, with their sizes. Symbolic links are
/// followed: what somebody moved to another disk belongs to it.
fn files_of(dir: &Path, out: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (mut found, mut folders, mut seen) = (Vec::new(), vec![PathBuf::new()], BTreeSet::new());
    let real = |path: &Path| path.canonicalize().with_context(|| format!("listing {}", path.display()));
    let out = real(out)?;
    while let Some(folder) = folders.pop() {
        let place = dir.join(&folder);
        let is_at = real(&place)?;
        if out.starts_with(&is_at) {
            bail!(
                "{} leads by a symbolic link to {}, and the new backup lies below it: name a folder elsewhere",
                place.display(),
                is_at.display()
            );
        }
        if !seen.insert(is_at) {
            bail!(
                "{} leads by a symbolic link to a folder that is in the backup already: mend the link",
                place.display()
            );
        }
        let entries = fs::read_dir(&place).with_context(|| format!("listing {}", place.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", place.display()))?;
            let name = folder.join(entry.file_name());
            // `lost+found` is the file system's, at the top of each disk; root alone may look into it.
            if name == Path::new("journal") || entry.file_name() == "lost+found" {
                continue;
            }
            match look(&dir.join(&name))? {
                Some(meta) if meta.is_dir() => folders.push(name),
                _ if is_passing(&name) => {}
                Some(meta) if meta.is_file() => found.push((name, meta.len())),
                Some(_) => bail!(
                    "{} is neither a file nor a folder and is not ours: move it out of the data directory",
                    dir.join(&name).display()
                ),
                None => {}
            }
        }
    }
    found.sort_by_cached_key(|(name, _)| (rank(name), name.clone()));
    Ok(found)
}

/// What lies there, also behind a symbolic link; none when it went away since it was listed.
fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(_) if fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e).with_context(|| {
            format!("looking at {}: where it is a symbolic link, mend it or take it away", path.display())
        }),
    }
}

fn is_passing(name: &Path) -> bool {
    let text = name.to_string_lossy();
    PASSING.contains(&text.as_ref()) || PASSING_ENDS.iter().any(|end| text.ends_with(end))
}

/// history.db goes before its months: chunks leave it for them, and never come back.
fn rank(name: &Path) -> u8 {
    match (name == Path::new("history/history.db"), name.extension().is_some_and(|end| end == "db")) {
        (true, _) => 0,
        (_, true) => 1,
        _ => 2,
    }
}

/// Room for the copy, and what the journal needs to go on where both share a disk.
fn check_space(config: &Config, out: &Path, bytes: u64) -> Result<()> {
    let free = RealDisk
        .free_bytes(out)
        .with_context(|| format!("asking for the free space of {}", out.display()))?;
    let spare = config.journal.min_free_bytes;
    if free < bytes.saturating_add(spare) {
        bail!(
            "{} has {} MiB free, the backup takes {} MiB and {} MiB stay free (journal.min_free_bytes): make room, or \
             name a folder on another disk",
            out.display(),
            free >> 20,
            bytes >> 20,
            spare >> 20
        );
    }
    Ok(())
}

fn copy_journal(copy: &mut copy::Copy, journal: &Path, mut pinned: BTreeMap<PathBuf, File>) -> Result<()> {
    for name in segments(journal)? {
        let path = journal.join(&name);
        if let Entry::Vacant(place) = pinned.entry(name) {
            let trimmed = "the journal is trimmed faster than it is copied; try again";
            let file = File::open(&path).with_context(|| format!("opening {}: {trimmed}", path.display()))?;
            place.insert(file);
        }
    }
    // Sizes first: what is appended while the first ones are copied belongs to the next backup.
    let sized: Vec<_> = pinned
        .into_iter()
        .map(|(name, file)| Ok((name, file.metadata()?.len(), file)))
        .collect::<std::io::Result<_>>()?;
    for (name, bytes, file) in sized {
        copy.stream(file.take(bytes), &Path::new("data/journal").join(name))?;
    }
    Ok(())
}

/// A place where records are missing between two segments: the one before it, how many.
fn holes(segments: &[SegmentInfo]) -> impl Iterator<Item = (&SegmentInfo, u64)> {
    let with_records = segments.iter().filter_map(|segment| Some((segment, segment.records?)));
    let behind = with_records.clone().skip(1);
    with_records
        .zip(behind)
        .map(|((segment, (_, end)), (_, (next, _)))| (segment, next.saturating_sub(end)))
        .filter(|(_, missing)| *missing > 0)
}

/// Bytes and records that the journal had lost before it was copied. A segment that was made and trimmed while we copied is
/// another thing: it was whole, and the next try has everything.
fn lost_before(segments: &[SegmentInfo], journal: &Path) -> Result<(u64, u64)> {
    let inside = segments.iter().filter(|segment| segment.missing > 0);
    let (mut bytes, mut records) = inside
        .fold((0, 0), |(bytes, records), segment| (bytes + segment.damaged_bytes, records + segment.missing));
    for (segment, missing) in holes(segments) {
        // The oldest goes first: were the hole the journal's own, the segment before it would be there still.
        let is_there = segment.path.file_name().is_some_and(|name| journal.join(name).exists());
        if segment.damaged_bytes == 0 && !is_there {
            bail!(
                "{missing} record(s) behind {} are missing: the journal is trimmed faster than it is copied; try again",
                segment.path.display()
            );
        }
        records += missing;
        if segment.missing == 0 {
            bytes += segment.damaged_bytes;
        }
    }
    Ok((bytes, records))
}

/// Reads the copy back: what cannot be read now is no backup. What was damaged before it was copied is told.
fn check(path: &Path, source: &Path, format: u32, moment: Timestamp, files: Vec<Sum>) -> Result<Manifest> {
    let journal = path.join("data/journal");
    let segments =
        lampguard_journal::inspect(&RealDisk, &journal).context("reading the copied journal back")?;
    let (journal_damaged_bytes, journal_missing_records) = lost_before(&segments, source)?;
    let records = segments.iter().filter_map(|segment| Some(segment.records?.1)).max().unwrap_or(0);
    let totals = segments.iter().rev().find_map(|segment| Totals::decode(&segment.meta));
    let incidents = path.join("data/incidents.db");
    let audit = incidents.exists().then(|| lampguard_alerting::verify_file(&incidents));
    let (audit_head, audit_fault) = match audit {
        None => (None, None),
        Some(Ok(audit)) => (Some(audit.head), None),
        Some(Err(fault)) => (None, Some(fault.to_string())),
    };
    Ok(Manifest {
        backup: BACKUP_FORMAT,
        format,
        lampguard: env!("CARGO_PKG_VERSION").to_owned(),
        moment: moment.to_rfc3339(),
        records,
        stored: totals.map_or(0, |totals| totals.stored),
        audit_head,
        audit_fault,
        journal_damaged_bytes,
        journal_missing_records,
        files,
    })
}

/// True for a path below the backup: a manifest is a text that somebody may have written.
fn is_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_database_of_the_history_goes_before_its_months_and_the_journal_is_not_among_files() {
        let home = tempfile::tempdir().unwrap();
        let names = [
            "history/history-2026-11.db",
            "history/history.db",
            "history/history.db-wal",
            "incidents.db",
            "tsdb-main.cursor",
            "tsdb-main.new",
            "lock",
            "local.json",
            "links.key",
            "journal/00000000000000000000-0.lgj",
            "policies/a.txt",
        ];
        for name in names {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        let found = files_of(home.path(), out.path()).unwrap();
        let found: Vec<_> = found.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        let wanted = [
            "history/history.db",
            "history/history-2026-11.db",
            "incidents.db",
            "links.key",
            "policies/a.txt",
            "tsdb-main.cursor",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_lies_behind_a_link_is_backed_up_and_a_link_that_leads_nowhere_is_no_whole_backup() {
        use std::os::unix::fs::symlink;
        let (home, disk, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = home.path().join("data");
        for folder in [&data, &disk.path().join("history"), &disk.path().join("journal")] {
            fs::create_dir(folder).unwrap();
        }
        for file in ["history/history.db", "journal/0.lgj", "links.key"] {
            fs::write(disk.path().join(file), "x").unwrap();
        }
        for name in ["history", "journal", "links.key"] {
            symlink(disk.path().join(name), data.join(name)).unwrap();
        }
        // At the top of a disk; root alone may look into it.
        let lost = disk.path().join("history/lost+found");
        fs::create_dir(&lost).unwrap();
        fs::write(lost.join("#1"), "x").unwrap();
        let found = || files_of(&data, out.path());
        let names: Vec<_> = found().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [Path::new("history/history.db"), Path::new("links.key")]);
        let (extra, socket) = (data.join("extra"), disk.path().join("socket"));
        let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (circle, away) = (data.join("extra"), home.path().join("away"));
        for (to, wanted) in [
            (&away, "mend it"),
            (&circle, "mend it"),
            (&data.join("history"), "in the backup already"),
            (&home.path().to_owned(), "in the backup already"),
            (&socket, "neither a file nor a folder"),
            (&out.path().to_owned(), "the new backup lies below it"),
        ] {
            symlink(to, &extra).unwrap();
            let refused = format!("{:#}", found().unwrap_err());
            assert!(refused.contains(wanted), "{}: {refused}", to.display());
            fs::remove_file(&extra).unwrap();
        }
        // What comes and goes is none of it: a lock beside a database may be gone again.
        symlink(&away, data.join("x.tmp")).unwrap();
        assert!(found().is_err(), "a link is no passing file");
    }

    #[test]
    fn a_hole_that_copying_made_is_refused_and_one_that_was_there_is_counted() {
        let home = tempfile::tempdir().unwrap();
        let segment = |name: &str, records, damaged_bytes, missing| SegmentInfo {
            path: PathBuf::from(name),
            records,
            damaged_bytes,
            missing,
            ..SegmentInfo::default()
        };
        let lost = |segments: &[SegmentInfo]| lost_before(segments, home.path());
        fs::write(home.path().join("there"), "x").unwrap();
        // Frames that stand in two segments, a torn end, a segment without any.
        let whole = [
            segment("gone", Some((0, 10)), 0, 0),
            segment("gone", Some((8, 20)), 7, 0),
            segment("gone", None, 0, 0),
            segment("gone", Some((20, 30)), 9, 0),
        ];
        assert_eq!(lost(&whole).unwrap(), (0, 0));
        let trimmed = [segment("gone", Some((0, 10)), 0, 0), segment("there", Some((15, 20)), 0, 0)];
        let refused = lost(&trimmed).unwrap_err().to_string();
        assert!(refused.contains("5 record(s)") && refused.contains("try again"), "{refused}");
        let missing = [segment("there", Some((0, 10)), 0, 0), segment("there", Some((15, 20)), 0, 0)];
        assert_eq!(lost(&missing).unwrap(), (0, 5));
        let damaged = [segment("gone", Some((0, 10)), 40, 2), segment("gone", Some((15, 20)), 3, 0)];
        assert_eq!(lost(&damaged).unwrap(), (40, 7));
    }

    #[test]
    fn a_path_that_leaves_the_backup_is_known() {
        for good in ["data/format", "data/history/history.db"] {
            assert!(is_below(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "data/../../x", "./x"] {
            assert!(!is_below(bad), "{bad}");
        }
    }

    #[test]
    fn a_left_try_is_removed_and_one_under_way_or_of_others_is_not() {
        let home = tempfile::tempdir().unwrap();
        let (data, out) = (home.path().join("data"), home.path().join("b"));
        fs::create_dir(&data).unwrap();
        let first = Unfinished::begin(&out, &data).unwrap();
        fs::write(first.path.join("half"), "x").unwrap();
        let second = Unfinished::begin(&out, &data).err().unwrap().to_string();
        assert!(second.contains("another backup"), "{second}");
        drop(first);
        let again = Unfinished::begin(&out, &data).unwrap();
        assert!(!again.path.join("half").exists());
        fs::remove_file(again.path.join(UNFINISHED)).unwrap();
        drop(again);
        let others = Unfinished::begin(&out, &data).err().unwrap().to_string();
        assert!(others.contains("not left by a backup"), "{others}");
        let inside = Unfinished::begin(&data.join("b"), &data).err().unwrap().to_string();
        assert!(inside.contains("inside the data directory"), "{inside}");
    }
}
