//! Reading frames back: for followers, for recovery, for `journal inspect`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::JournalError;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::frame::{self, Frame, Parsed};
use crate::segment::{self, HEADER, Name};

/// Bytes asked of the disk at a time.
const READ_SIZE: usize = 256 * 1024;

/// Walks over the whole frames of one segment and steps over damage.
pub(crate) struct Scan {
    file: Box<dyn DiskFile>,
    /// Offset in the file of `buf[0]`.
    base: u64,
    /// Place in `buf` where the next frame is looked for.
    at: usize,
    buf: Vec<u8>,
    skipped: u64,
}

impl Scan {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Self {
        let start = if segment::created_at(&*file).is_some() { HEADER as u64 } else { 0 };
        Self { file, base: start, at: 0, buf: Vec::new(), skipped: 0 }
    }

    /// Offset behind everything that was looked at.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.buf.len() as u64
    }

    /// Bytes that belong to no whole frame, those at the end included.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped + (self.buf.len() - self.at) as u64
    }

    /// The next whole frame, stepping over damage to the end of the file.
    pub(crate) fn next_whole(&mut self) -> io::Result<Option<Frame<'_>>> {
        let length = self.find(true)?;
        Ok(length.map(|length| self.take(length)))
    }

    /// Length of the next frame that is there in whole. Unless it is to go `to_the_end`, an unfinished frame
    /// at the end of the file is left for later.
    fn find(&mut self, to_the_end: bool) -> io::Result<Option<usize>> {
        loop {
            match frame::parse(&self.buf[self.at..]) {
                Parsed::Frame(frame) => return Ok(Some(frame.len())),
                Parsed::Short(needed) => {
                    if self.fill(needed)? {
                        continue;
                    }
                    if !to_the_end || self.at == self.buf.len() {
                        return Ok(None);
                    }
                    self.skip();
                }
                Parsed::Damaged => self.skip(),
            }
        }
    }

    /// The frame that `find` found; the scan goes on behind it.
    fn take(&mut self, length: usize) -> Frame<'_> {
        let at = self.at;
        self.at += length;
        frame::view(&self.buf[at..at + length])
    }

    /// Place in the file where the next frame is looked for.
    fn place(&self) -> u64 {
        self.base + self.at as u64
    }

    fn rewind(&mut self, place: u64) {
        (self.base, self.at) = (place, 0);
        self.buf.clear();
    }

    /// Goes on to the next place where a frame could begin.
    fn skip(&mut self) {
        let rest = &self.buf[self.at + 1..];
        let step = 1 + rest.iter().position(|byte| *byte == frame::MAGIC[0]).unwrap_or(rest.len());
        self.at += step;
        self.skipped += step as u64;
    }

    /// Reads until `needed` bytes from `at` on are there; false when the file has no more to give.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        if self.at > 0 {
            self.buf.drain(..self.at);
            self.base += self.at as u64;
            self.at = 0;
        }
        while self.buf.len() < needed {
            let have = self.buf.len();
            self.buf.resize(have + READ_SIZE, 0);
            let read = self.file.read_at(self.base + have as u64, &mut self.buf[have..]);
            self.buf.truncate(have + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What a reader could not deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records that are missing between the ones delivered: damaged, or trimmed before they were read.
    pub records: u64,
    /// Bytes stepped over because they belong to no whole frame.
    pub bytes: u64,
}

/// Reads the journal from a record on, while it is being written.
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Number of the next record to deliver.
    next: u64,
    current: Option<(Name, Scan)>,
    lost: Lost,
}

impl Reader {
    /// A reader on the machine's disk that begins at record `from`.
    ///
    /// # Errors
    /// [`JournalError`] when the directory cannot be listed.
    pub fn open(dir: &Path, from: u64) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(RealDisk), dir, from)
    }

    /// A reader on any disk.
    ///
    /// # Errors
    /// [`JournalError`] when the directory cannot be listed.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, from: u64) -> Result<Self, JournalError> {
        let mut reader = Self { disk, dir: dir.to_owned(), next: from, current: None, lost: Lost::default() };
        let names = segment::list(&*reader.disk, dir)?;
        let start = names.iter().rev().find(|name| name.first_seq <= from).or(names.first());
        if let Some(name) = start {
            reader.enter(*name)?;
        }
        Ok(reader)
    }

    /// Number of the next record to deliver.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// What was lost since the last time somebody asked.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// The next frame whose records lie before `end`; `None` when everything before `end` was delivered.
    ///
    /// The first frame may begin before the record asked for: skip what has a lower number.
    ///
    /// # Errors
    /// [`JournalError`] when a file cannot be read: try again later, nothing is lost by it.
    pub fn next(&mut self, end: u64) -> Result<Option<Frame<'_>>, JournalError> {
        while self.next < end {
            let Some((first, frame_end, length)) = self.find(end)? else {
                continue;
            };
            let Some((_, scan)) = self.current.as_mut() else {
                continue;
            };
            if frame_end <= self.next {
                scan.take(length);
                continue;
            }
            self.lost.records += first.saturating_sub(self.next);
            self.next = frame_end;
            return Ok(self.current.as_mut().map(|(_, scan)| scan.take(length)));
        }
        Ok(None)
    }

    /// Numbers and length of the next whole frame; `None` after a step to the next segment or over a loss.
    fn find(&mut self, end: u64) -> Result<Option<(u64, u64, usize)>, JournalError> {
        let Some((name, scan)) = self.current.as_mut() else {
            self.go_on(end)?;
            return Ok(None);
        };
        let failed = JournalError::new("reading", name.path(&self.dir));
        let (place, before) = (scan.place(), scan.skipped);
        let found = match scan.find(false) {
            // Everything before `end` is on disk: what is not whole now will never be.
            Ok(None) => scan.find(true),
            other => other,
        };
        let found = found.map_err(failed)?;
        self.lost.bytes += scan.skipped - before;
        let Some(length) = found else {
            // A frame behind `end` may be half written right now; the scan must not have passed it.
            scan.rewind(place);
            self.go_on(end)?;
            return Ok(None);
        };
        let frame = frame::view(&scan.buf[scan.at..scan.at + length]);
        Ok(Some((frame.first_seq, frame.end_seq(), length)))
    }

    /// The current segment has nothing more before `end`: on to the next one, or over the loss.
    fn go_on(&mut self, end: u64) -> Result<(), JournalError> {
        let current = self.current.as_ref().map(|(name, _)| *name);
        let names = segment::list(&*self.disk, &self.dir)?;
        match names.into_iter().find(|name| current.is_none_or(|current| *name > current)) {
            Some(name) => self.enter(name),
            None => {
                self.lost.records += end - self.next;
                self.next = end;
                Ok(())
            }
        }
    }

    fn enter(&mut self, name: Name) -> Result<(), JournalError> {
        let path = name.path(&self.dir);
        match self.disk.open(&path) {
            Ok(file) => self.current = Some((name, Scan::new(file))),
            // Trimmed between the listing and the opening: the next listing shows what is left.
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.current = None,
            Err(e) => return Err(JournalError::new("opening", path)(e)),
        }
        Ok(())
    }
}
