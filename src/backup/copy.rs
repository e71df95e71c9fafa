//! One file after the other: read, written, synced, summed up.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use super::{Sum, sync_dir};

/// Bytes read and written at a time.
const PIECE: usize = 1 << 20;
/// Synced after so many bytes, so that the disk's queue stays short for the journal of the running instance.
const SYNC_EVERY: u64 = 16 << 20;
/// Longest wait for a database that somebody else locks.
const BUSY: Duration = Duration::from_secs(30);

/// Copies into one folder and writes down what it copied.
pub(super) struct Copy {
    to: PathBuf,
    files: Vec<Sum>,
    shows: bool,
}

impl Copy {
    pub(super) fn new(to: &Path) -> Self {
        Self { to: to.to_owned(), files: Vec::new(), shows: std::io::stderr().is_terminal() }
    }

    /// A database by SQLite's backup, anything else as it is now. What went away meanwhile is left out.
    pub(super) fn take(&mut self, from: &Path, name: &Path) -> Result<()> {
        if from.extension().is_some_and(|end| end == "db") {
            return self.database(from, name);
        }
        match File::open(from) {
            Ok(file) => self.stream(file, name),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).with_context(|| format!("opening {}", from.display())),
        }
    }

    /// What a reader gives, up to its end.
    pub(super) fn stream(&mut self, from: impl Read, name: &Path) -> Result<()> {
        self.show(name);
        let target = self.place(name)?;
        let (bytes, sha256) = stream(from, &target)?;
        self.files.push(Sum { path: name.to_string_lossy().into_owned(), bytes, sha256 });
        Ok(())
    }

    /// One step for all pages is one snapshot: whoever writes is neither stopped nor makes it begin anew.
    fn database(&mut self, from: &Path, name: &Path) -> Result<()> {
        let doing = || format!("backing up {}", from.display());
        if !from.exists() {
            return Ok(());
        }
        self.show(name);
        let target = self.place(name)?;
        // Made before SQLite opens it, for its mode.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).with_context(doing)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(from, flags).with_context(doing)?;
        source.busy_timeout(BUSY).with_context(doing)?;
        let mut copy = Connection::open(&target).with_context(doing)?;
        // Synced below as a whole.
        copy.pragma_update(None, "synchronous", "OFF").with_context(doing)?;
        match Backup::new(&source, &mut copy).and_then(|backup| backup.step(-1)).with_context(doing)? {
            StepResult::Done => {}
            _ => bail!("{}: locked by somebody else for {} s; try again", from.display(), BUSY.as_secs()),
        }
        // One file, without a log beside it.
        copy.pragma_update(None, "journal_mode", "DELETE").with_context(doing)?;
        copy.close().map_err(|(_, e)| e).with_context(doing)?;
        let file = File::open(&target).with_context(doing)?;
        file.sync_all().with_context(doing)?;
        let (bytes, sha256) = sum(file).with_context(doing)?;
        self.files.push(Sum { path: name.to_string_lossy().into_owned(), bytes, sha256 });
        Ok(())
    }

    fn place(&self, name: &Path) -> Result<PathBuf> {
        let target = self.to.join(name);
        make_folders(&target)?;
        Ok(target)
    }

    fn show(&self, name: &Path) {
        if self.shows {
            eprint!("\r\u{1b}[K{}", name.display());
        }
    }

    /// Syncs the folders; what was copied.
    pub(super) fn finish(self) -> Result<Vec<Sum>> {
        if self.shows {
            eprint!("\r\u{1b}[K");
        }
        sync_folders(&self.to, &self.files)?;
        Ok(self.files)
    }
}

/// The folders above a file, which others may not look into.
pub(super) fn make_folders(file: &Path) -> Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    crate::data_dir::make(folder)
}

/// Every folder that holds one of these files, and the one above all.
pub(super) fn sync_folders(top: &Path, files: &[Sum]) -> Result<()> {
    let mut folders: Vec<PathBuf> = files.iter().flat_map(|entry| above(top, &entry.path)).collect();
    folders.sort();
    folders.dedup();
    folders.iter().try_for_each(|folder| sync_dir(folder))
}

fn above(top: &Path, path: &str) -> Vec<PathBuf> {
    Path::new(path).ancestors().skip(1).map(|folder| top.join(folder)).collect()
}

/// Writes a new file that only its owner reads; returns its size and sum.
pub(super) fn stream(mut from: impl Read, target: &Path) -> Result<(u64, String)> {
    let doing = || format!("writing {}", target.display());
    let mut to =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).with_context(doing)?;
    let (mut hash, mut bytes, mut unsynced, mut piece) = (Sha256::new(), 0u64, 0u64, vec![0; PIECE]);
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => {
                return Err(e).with_context(|| format!("reading what {} is a copy of", target.display()));
            }
        };
        hash.update(&piece[..length]);
        to.write_all(&piece[..length]).with_context(doing)?;
        (bytes, unsynced) = (bytes + length as u64, unsynced + length as u64);
        if unsynced >= SYNC_EVERY {
            to.sync_data().with_context(doing)?;
            unsynced = 0;
        }
    }
    to.sync_all().with_context(doing)?;
    Ok((bytes, hex(&hash.finalize())))
}

/// Size and sum of a file.
pub(super) fn sum(mut file: impl Read) -> std::io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0u64, vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((bytes, hex(&hash.finalize()))),
            length => {
                hash.update(&piece[..length]);
                bytes += length as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives files and folders to the owner of `like`; for root, who puts back what a service has to write.
pub(super) fn give_to_owner_of(like: &Path, top: &Path, files: &[Sum]) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(like).with_context(|| format!("looking at {}", like.display()))?;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let mut paths: Vec<PathBuf> = files.iter().map(|entry| top.join(&entry.path)).collect();
    paths.extend(files.iter().flat_map(|entry| above(top, &entry.path)));
    for path in paths {
        std::os::unix::fs::chown(&path, Some(meta.uid()), Some(meta.gid()))
            .with_context(|| format!("giving {} to the owner of {}", path.display(), like.display()))?;
    }
    Ok(())
}
