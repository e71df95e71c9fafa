//! A small disk that can be filled: a tmpfs of its own, or, where mounting is not permitted, a part of
//! `/dev/shm` that `journal.min_free_bytes` makes small.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Size of the disk.
const BYTES: u64 = 48 << 20;
/// What has to stay free on a disk of our own.
const MIN_FREE: u64 = 1 << 20;

/// A disk that can be filled and emptied.
pub struct SmallDisk {
    folder: TempDir,
    mounted: bool,
    /// For `journal.min_free_bytes`.
    pub min_free_bytes: u64,
}

impl SmallDisk {
    pub fn make() -> Self {
        let base =
            if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(base).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={BYTES},mode=700"), "lampguard-test"])
            .arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        let min_free_bytes = if mounted { MIN_FREE } else { free(folder.path()) - BYTES / 2 };
        println!("a small disk: {}", if mounted { "its own tmpfs" } else { "by min_free_bytes" });
        Self { folder, mounted, min_free_bytes }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes ballast until no byte more goes in (or until less than `min_free_bytes` is left).
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        let part = vec![0x5a; 256 << 10];
        if self.mounted {
            for size in [part.len(), 4096, 1] {
                while file.write_all(&part[..size]).is_ok() {}
            }
            assert_eq!(free(self.path()), 0, "the disk is not full");
        } else {
            while free(self.path()) >= self.min_free_bytes {
                file.write_all(&part).unwrap();
            }
        }
    }

    /// Takes the ballast away.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
        assert!(free(self.path()) > self.min_free_bytes);
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg(self.path()).output();
        }
    }
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail * stat.f_frsize
}
