//! The data directory: one instance at a time, a format version, the local token.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use ureq::tls::TlsConfig;

/// Raised whenever an older version could not read what this one writes.
pub(crate) const FORMAT: u32 = 2;

/// A data directory that this process alone writes. The lock goes with the process, also by kill -9.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and locks it for an instance.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        make(path)?;
        let held = Self::hold(path)?;
        if path.join(crate::backup::MARK).exists() {
            bail!(
                "data directory {} holds half of a backup: a restore was broken off; empty it and restore again",
                path.display()
            );
        }
        if format_of(path)? != Some(FORMAT) {
            // Format 2 has longer frames in the journal, which format 1 takes for damage.
            lampguard_ingester::loss::replace_file(&path.join("format"), format!("{FORMAT}\n").as_bytes())
                .with_context(|| format!("writing {}", path.join("format").display()))?;
        }
        Ok(held)
    }

    /// Locks a directory that is there, whatever it holds.
    pub(crate) fn hold(path: &Path) -> Result<Self> {
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("opening {}: is the data directory writable?", lock_path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            bail!(
                "data directory {} is in use by process {}; stop that instance, or name another [site] data_dir",
                path.display(),
                pid.trim()
            );
        }
        lock.seek(SeekFrom::Start(0))?;
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what local commands need to talk to this instance: its address and a token that dies with it.
    pub(crate) fn announce(&self, url: &str, token: &str) -> Result<()> {
        let text = serde_json::json!({ "url": url, "token": token }).to_string();
        write_private(&self.path.join("local.json"), &text)
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let _ = std::fs::remove_file(path);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(doing)?;
    file.write_all(text.as_bytes()).with_context(doing)
}

/// A file that is durable under a name beside its own, and takes that one's place when it is told to.
#[derive(Debug)]
pub(crate) struct Staged {
    beside: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Owner, group and mode are those of the file that it replaces: a service that could read that one reads this one
    /// too. Without one it is ours and has `mode`.
    pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<Self> {
        let doing = || format!("writing {}", path.display());
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let staged = Self { beside: beside.into(), path: path.to_owned() };
        let old = match std::fs::metadata(path) {
            Ok(old) => Some(old),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(doing),
        };
        // What was broken off earlier.
        let _ = std::fs::remove_file(&staged.beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged.beside)
            .with_context(doing)?;
        file.write_all(text.as_bytes()).with_context(doing)?;
        if let Some(old) = &old {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())).with_context(|| {
                let (path, uid, gid) = (path.display(), old.uid(), old.gid());
                format!(
                    "giving the new {path} to the owner {uid} and group {gid} of the old one: do it as root"
                )
            })?;
        }
        let mode = old.map_or(mode, |old| old.permissions().mode() & 0o777);
        file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(doing)?;
        file.sync_all().with_context(doing)?;
        Ok(staged)
    }

    /// From here on its name is the new file's.
    pub(crate) fn replace(&self) -> Result<()> {
        std::fs::rename(&self.beside, &self.path).with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Drop for Staged {
    /// What took its place is there no longer under this name; what did not is left to nobody.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.beside);
    }
}

/// Makes a data directory that others may not look into; one that is there keeps its mode.
pub(crate) fn make(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("making data directory {}", path.display()))
}

/// The format of a data directory, none of one that is new; refuses what a newer version made.
pub(crate) fn format_of(dir: &Path) -> Result<Option<u32>> {
    let path = dir.join("format");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    let found: u32 =
        text.trim().parse().with_context(|| format!("{} is no format number", path.display()))?;
    if found > FORMAT {
        bail!(
            "data directory {} has format {found}, this version reads up to {FORMAT}; use the newer lampguard",
            dir.display()
        );
    }
    Ok(Some(found))
}

/// How to reach the running instance of a data directory.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Local {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Local {
    /// Reads what the running instance wrote.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("local.json");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "reading {}: is an instance running on this data directory? Or give --url and --token",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Asks it: by no proxy, and whatever name its certificate is for. It is on this machine, and its token dies with it.
    pub(crate) fn agent(timeout: Option<Duration>) -> ureq::Agent {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(timeout)
            .proxy(None)
            .tls_config(TlsConfig::builder().disable_verification(true).build());
        config.http_status_as_error(false).build().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_b16_a_second_instance_is_refused_and_told_by_whom() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        let first = DataDir::lock(&dir).unwrap();
        let refused = DataDir::lock(&dir).err().unwrap().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        DataDir::lock(&dir).unwrap();
    }

    #[test]
    fn an_older_format_is_raised_and_one_that_cannot_be_read_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let format = home.path().join("format");
        std::fs::write(&format, "1\n").unwrap();
        drop(DataDir::lock(home.path()).unwrap());
        assert_eq!(std::fs::read_to_string(&format).unwrap(), format!("{FORMAT}\n"));
        std::fs::write(&format, [0xff, 0xfe]).unwrap();
        let refused = format!("{:#}", DataDir::lock(home.path()).err().unwrap());
        assert!(refused.contains("reading") && refused.contains("format"), "{refused}");
        assert_eq!(std::fs::read(&format).unwrap(), [0xff, 0xfe]);
    }

    #[test]
    fn fault_u2_a_newer_format_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("format"), "99\n").unwrap();
        let refused = DataDir::lock(home.path()).err().unwrap().to_string();
        assert!(refused.contains("format 99") && refused.contains("newer"), "{refused}");
        assert_eq!(std::fs::read_to_string(home.path().join("format")).unwrap(), "99\n");
    }
}
