//! `restore`: a backup into an empty data directory, checked before anything is written.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::copy::{give_to_owner_of, make_folders, stream, sum, sync_folders};
use super::restored::{self, leave_word};
use super::{BACKUP_FORMAT, MANIFEST, Manifest, Sum, is_below, sync_dir};
use crate::data_dir::{self, DataDir, FORMAT};
use crate::{clock, config, tools};

/// In a data directory that is being filled: no instance starts on half of one.
pub(crate) const MARK: &str = "restoring";
/// What an empty data directory may hold.
const NOTHING: [&str; 2] = ["lock", "lost+found"];

/// What was done after the moment is lost, and only people know it.
const AFTERWARDS: &str = "
What happened after that moment is not in it. The next start tells the desk so (P1, part `restored:MOMENT`), until somebody ends it:
  isolations   nobody knows whether they hold: each prints 未确认断电 until it is made safe again (make_safe)
  incidents    closed after the moment: open again. Call who had them, then record what they say (on_behalf_of)
  deadlines    rungs and breaches that passed meanwhile fire at the start, in lists, at most 10 messages a person in 10 min
  tokens       and users and links taken back after the moment are good again: revoke them once more
  rota         changes of duty after the moment are lost: lampguard plan
";

/// Puts a backup into `into`, or into the data directory of the configuration.
pub(crate) fn restore(file: Option<&Path>, from: &Path, into: Option<&Path>) -> Result<()> {
    let into = match into {
        Some(into) => into.to_owned(),
        None => config::load(&config::find(file)?)?.site.data_dir,
    };
    let manifest = read(from)?;
    let damage = manifest.damage().map(|damage| format!("DAMAGED when it was backed up: {damage}\n"));
    let files = verified(from, manifest.files)?;
    data_dir::make(&into)?;
    let held = DataDir::hold(&into)?;
    refuse_what_is_there(&into)?;
    data_dir::write_private(&into.join(MARK), &format!("from {}\n", from.display()))?;
    sync_dir(&into)?;
    for entry in &files {
        let (source, target) = (from.join("data").join(&entry.path), into.join(&entry.path));
        let doing = || format!("opening {}", source.display());
        make_folders(&target)?;
        let (_, sha256) = stream(File::open(&source).with_context(doing)?, &target)?;
        if sha256 != entry.sha256 {
            bail!("{} changed while it was copied: empty {} and try again", source.display(), into.display());
        }
    }
    leave_word(&into, &manifest.moment, clock::now())?;
    let word = Sum { path: restored::FILE.to_owned(), bytes: 0, sha256: String::new() };
    give_to_owner_of(&into, &into, &files)?;
    give_to_owner_of(&into, &into, &[word])?;
    sync_folders(&into, &files)?;
    fs::remove_file(into.join(MARK)).with_context(|| format!("finishing {}", into.display()))?;
    sync_dir(&into)?;
    // The lock belongs to the next instance, which is another user than root.
    drop(held);
    fs::remove_file(into.join("lock")).with_context(|| format!("finishing {}", into.display()))?;
    tools::print(&format!(
        "{}: {} file(s) of lampguard {}, readings acknowledged up to {} ({} stored). \
         Never let the old instance run beside this one: both would read as the same client. \
         Configuration and register of then: {}\n{}{AFTERWARDS}",
        into.display(),
        files.len(),
        manifest.lampguard,
        manifest.moment,
        manifest.stored,
        from.join("config").display(),
        damage.unwrap_or_default()
    ))
}

fn read(from: &Path) -> Result<Manifest> {
    let path = from.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("{} is no whole backup: its {MANIFEST} cannot be read, which is written last", from.display())
    })?;
    let doing = || format!("reading {}", path.display());
    let value: serde_json::Value = serde_json::from_str(&text).with_context(doing)?;
    // Asked first: what a newer version writes may not fit our list.
    for (key, known) in [("backup", BACKUP_FORMAT), ("format", FORMAT)] {
        let found =
            value[key].as_u64().with_context(|| format!("{}: no number under {key}", path.display()))?;
        if found > u64::from(known) {
            bail!(
                "{}: {key} {found}, this version reads up to {known}; use the newer lampguard ({})",
                path.display(),
                value["lampguard"].as_str().unwrap_or("unknown")
            );
        }
    }
    serde_json::from_value(value).with_context(doing)
}

/// The files of the data directory, by names below it, each as it was written.
fn verified(from: &Path, files: Vec<Sum>) -> Result<Vec<Sum>> {
    let mut good = Vec::new();
    for mut entry in files {
        if !is_below(&entry.path) {
            bail!("{MANIFEST} names {:?}, which is no file of a backup: nothing was restored", entry.path);
        }
        let path = from.join(&entry.path);
        let found = File::open(&path).and_then(sum);
        let found = found.with_context(|| format!("reading {}: nothing was restored", path.display()))?;
        if found != (entry.bytes, entry.sha256.clone()) {
            bail!("{} is not what was backed up: nothing was restored; take another backup", path.display());
        }
        if let Some(name) = entry.path.strip_prefix("data/") {
            entry.path = name.to_owned();
            good.push(entry);
        }
    }
    if !good.iter().any(|entry| entry.path == "format") {
        bail!("{} holds no data directory: nothing was restored", from.display());
    }
    Ok(good)
}

fn refuse_what_is_there(into: &Path) -> Result<()> {
    let entries = fs::read_dir(into).with_context(|| format!("listing {}", into.display()))?;
    for entry in entries {
        let name = entry.with_context(|| format!("listing {}", into.display()))?.file_name();
        if !NOTHING.iter().any(|known| name == *known) {
            bail!(
                "data directory {} is not empty ({} is there): move it away first; a restore overwrites nothing",
                into.display(),
                name.to_string_lossy()
            );
        }
    }
    Ok(())
}
