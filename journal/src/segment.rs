//! Segment files: names, headers, and what `journal inspect` tells of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::JournalError;
use crate::disk::{Disk, DiskFile};
use crate::reader::Scan;

/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"LGJOURN1";
const VERSION: u32 = 1;

/// A segment's name: the number of its first record, and which try it was. Sorts in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) first_seq: u64,
    pub(crate) attempt: u32,
}

impl Name {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first_seq, attempt) = text.strip_suffix(".lgj")?.split_once('-')?;
        Some(Self { first_seq: first_seq.parse().ok()?, attempt: attempt.parse().ok()? })
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{}.lgj", self.first_seq, self.attempt))
    }
}

/// Every segment of a journal, in reading order.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Name>, JournalError> {
    let files = disk.list(dir).map_err(JournalError::new("listing", dir))?;
    let mut names: Vec<Name> = files.iter().filter_map(|file| Name::parse(file)).collect();
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn header(first_seq: u64, created_at: i64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&first_seq.to_le_bytes());
    bytes[24..32].copy_from_slice(&created_at.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// When the segment was made, if its header is whole.
pub(crate) fn created_at(file: &dyn DiskFile) -> Option<i64> {
    let mut bytes = [0; HEADER];
    let read = file.read_at(0, &mut bytes).ok()?;
    let sound = read == HEADER
        && &bytes[..8] == MAGIC
        && bytes[8..12] == VERSION.to_le_bytes()
        && bytes[12..16] == crc32c::crc32c(&bytes[16..]).to_le_bytes();
    sound.then(|| {
        i64::from_le_bytes([
            bytes[24], bytes[25], bytes[26], bytes[27], bytes[28], bytes[29], bytes[30], bytes[31],
        ])
    })
}

/// What stands in one segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentInfo {
    /// File.
    pub path: PathBuf,
    /// Bytes in all.
    pub bytes: u64,
    /// When it was made, milliseconds UTC; `None` when its header is damaged.
    pub created_at: Option<i64>,
    /// Number of its first record and the number behind its last.
    pub records: Option<(u64, u64)>,
    /// Whole frames.
    pub frames: u64,
    /// Records by kind byte.
    pub kinds: BTreeMap<u8, u64>,
    /// Bytes that belong to no whole frame.
    pub damaged_bytes: u64,
    /// Records that are missing inside it: what was damaged had been whole once. What is torn at its end never was.
    pub missing: u64,
    /// When the last frame was closed, milliseconds UTC.
    pub closed_at: Option<i64>,
    /// Meta of the last frame.
    pub meta: Vec<u8>,
}

/// Reads every segment of a journal, also beside a running instance.
///
/// # Errors
/// [`JournalError`] when the directory or a file cannot be read; damage inside a file is told, not an error.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentInfo>, JournalError> {
    list(disk, dir)?.into_iter().map(|name| inspect_one(disk, &name.path(dir), name.first_seq)).collect()
}

fn inspect_one(disk: &dyn Disk, path: &Path, first_seq: u64) -> Result<SegmentInfo, JournalError> {
    let file = disk.open(path).map_err(JournalError::new("opening", path))?;
    let mut info =
        SegmentInfo { path: path.to_owned(), created_at: created_at(&*file), ..SegmentInfo::default() };
    let (mut scan, mut expected) = (Scan::new(file), first_seq);
    while let Some(frame) = scan.next_whole().map_err(JournalError::new("reading", path))? {
        let first = info.records.map_or(frame.first_seq, |(first, _)| first);
        info.records = Some((first, frame.end_seq()));
        info.missing += frame.first_seq.saturating_sub(expected);
        expected = frame.end_seq();
        info.frames += 1;
        info.closed_at = Some(frame.closed_at);
        info.meta = frame.meta.to_vec();
        for (_, kind, _) in frame.records() {
            *info.kinds.entry(kind).or_default() += 1;
        }
    }
    info.bytes = scan.offset();
    info.damaged_bytes = scan.skipped();
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_in_reading_order_and_other_files_are_left_alone() {
        let mut names: Vec<Name> =
            ["00000000000000000100-1.lgj", "00000000000000000009-0.lgj", "00000000000000000100-0.lgj"]
                .iter()
                .filter_map(|text| Name::parse(text))
                .collect();
        names.sort_unstable();
        let order: Vec<(u64, u32)> = names.iter().map(|name| (name.first_seq, name.attempt)).collect();
        assert_eq!(order, [(9, 0), (100, 0), (100, 1)]);
        assert_eq!(Name::parse("lock"), None);
        assert_eq!(Name::parse("x-0.lgj"), None);
    }
}
