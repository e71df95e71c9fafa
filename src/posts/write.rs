//! Replaces the register file as a whole; what was there stays beside it under a dated name.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_model::Timestamp;

/// Dated copies that are kept; the oldest go.
const COPIES_MAX: usize = 10;

/// Writes the text where `was` stands. Returns the dated copy of what was there.
pub(super) fn replace(
    file: &Path,
    was: Option<&[u8]>,
    text: &[u8],
    now: Timestamp,
) -> Result<Option<PathBuf>> {
    let found = match std::fs::read(file) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| format!("reading register {}", file.display())),
    };
    if found.as_deref() != was {
        bail!("{} was changed by somebody else meanwhile: nothing was written, look again", file.display());
    }
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?.to_string_lossy();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = folder.join(format!("{name}.new"));
    let doing = || format!("writing {}", temporary.display());
    let mut new =
        OpenOptions::new().write(true).create(true).truncate(true).open(&temporary).with_context(doing)?;
    new.write_all(text).with_context(doing)?;
    let mut copy = None;
    if let Ok(old) = std::fs::metadata(file) {
        new.set_permissions(old.permissions()).with_context(doing)?;
        // Root writes for the service; anybody else keeps what is its own.
        let _ = std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()));
        copy = Some(folder.join(format!("{name}{BEFORE}{}", stamp(now))));
    }
    new.sync_all().with_context(doing)?;
    if let Some(copy) = &copy {
        let doing = || format!("keeping {} as {}", file.display(), copy.display());
        std::fs::copy(file, copy).and_then(|_| File::open(copy)?.sync_all()).with_context(doing)?;
    }
    let doing = || format!("replacing {}", file.display());
    std::fs::rename(&temporary, file).with_context(doing)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(doing)?;
    remove_old(folder, &format!("{name}{BEFORE}"))?;
    Ok(copy)
}

const BEFORE: &str = ".before-";

/// `20261125T234500123Z`: sorts by time.
fn stamp(now: Timestamp) -> String {
    now.to_rfc3339().chars().filter(char::is_ascii_alphanumeric).collect()
}

fn remove_old(folder: &Path, beginning: &str) -> Result<()> {
    let doing = || format!("removing old copies in {}", folder.display());
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let name = entry.with_context(doing)?.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(beginning);
        if rest.is_some_and(|rest| rest.len() >= 15 && rest.ends_with('Z') && rest.starts_with("20")) {
            copies.push(name);
        }
    }
    copies.sort();
    let old = copies.len().saturating_sub(COPIES_MAX);
    copies.iter().take(old).try_for_each(|name| std::fs::remove_file(folder.join(name))).with_context(doing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn what_was_there_is_kept_ten_times_and_the_file_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("posts.csv");
        std::fs::write(home.path().join("posts.csv.before-the-flood"), "not ours").unwrap();
        assert_eq!(replace(&file, None, b"0", NOW).unwrap(), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        for n in 1..=12u8 {
            let at = NOW + lampguard_model::Millis::seconds(n.into());
            let kept = replace(&file, Some(&std::fs::read(&file).unwrap()), &[n], at).unwrap().unwrap();
            assert_ne!(std::fs::read(kept).unwrap(), [n]);
        }
        assert_eq!(std::fs::read(&file).unwrap(), [12]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        let names: Vec<String> = std::fs::read_dir(home.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 12, "the file, ten copies, and what is not ours: {names:?}");
        assert!(names.contains(&"posts.csv.before-the-flood".to_owned()));
        let oldest = names.iter().filter(|name| name.contains("-20")).min().unwrap();
        assert_eq!(std::fs::read(home.path().join(oldest)).unwrap(), [2]);
    }

    #[test]
    fn a_file_that_somebody_else_changed_meanwhile_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("posts.csv");
        std::fs::write(&file, "theirs").unwrap();
        for was in [None, Some(&b"as it was"[..])] {
            let refused = replace(&file, was, b"ours", NOW).unwrap_err().to_string();
            assert!(refused.contains("changed by somebody else"), "{refused}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
    }
}
