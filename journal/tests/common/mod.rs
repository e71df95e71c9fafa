//! A disk in memory that fails when told to, and forgets at a power cut what was not synced.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lampguard_journal::{Disk, DiskFile};

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails and does nothing.
    Eio,
    /// No space left: the operation fails and does nothing.
    NoSpace,
    /// A write puts down half of its bytes and fails.
    ShortWrite,
    /// A sync fails and the pages are dropped, as Linux does.
    SyncDropsPages,
    /// The machine loses power: this and every later operation fails.
    Crash,
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    written: Vec<u8>,
    /// The directory entry is durable.
    entered: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Content>,
    operations: u64,
    plan: BTreeMap<u64, Fault>,
    hits: u64,
    crashed: bool,
    free: u64,
    /// Bytes of the whole disk: what files do not use is free.
    size: Option<u64>,
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|content| content.written.len() as u64).sum()
    }
}

/// See the module.
#[derive(Clone)]
pub struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    pub fn new(plan: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let state = State { plan: plan.into_iter().collect(), free: u64::MAX, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    pub fn hits(&self) -> u64 {
        self.0.lock().unwrap().hits
    }

    pub fn crashed(&self) -> bool {
        self.0.lock().unwrap().crashed
    }

    pub fn set_free(&self, bytes: u64) {
        self.0.lock().unwrap().free = bytes;
    }

    /// From now on the disk has so many bytes, and every file takes from them.
    pub fn set_size(&self, bytes: u64) {
        self.0.lock().unwrap().size = Some(bytes);
    }

    pub fn used(&self) -> u64 {
        self.0.lock().unwrap().used()
    }

    /// What is found after a power cut: synced bytes, and of the rest a prefix whose length `keep` picks.
    pub fn after_power_cut(&self, mut keep: impl FnMut(usize) -> usize) -> Self {
        let state = self.0.lock().unwrap();
        let mut files = BTreeMap::new();
        for (path, content) in state.files.iter().filter(|(_, content)| content.entered) {
            let extra = content.written.len().saturating_sub(content.synced.len());
            let mut bytes = content.synced.clone();
            bytes.extend_from_slice(&content.written[content.synced.len()..][..keep(extra).min(extra)]);
            files.insert(path.clone(), Content { synced: bytes.clone(), written: bytes, entered: true });
        }
        Self(Arc::new(Mutex::new(State { files, free: u64::MAX, ..State::default() })))
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        self.0.lock().unwrap().files[path].written.clone()
    }

    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { synced: bytes.clone(), written: bytes, entered: true };
        self.0.lock().unwrap().files.insert(path.to_owned(), content);
    }

    fn step(&self) -> io::Result<Option<Fault>> {
        let mut state = self.0.lock().unwrap();
        if state.crashed {
            return Err(io::Error::other("power is off"));
        }
        state.operations += 1;
        let operation = state.operations;
        let fault = state.plan.get(&operation).copied();
        state.hits += u64::from(fault.is_some());
        match fault {
            Some(Fault::Eio) => Err(io::Error::other("input/output error")),
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Crash) => {
                state.crashed = true;
                Err(io::Error::other("power is off"))
            }
            other => Ok(other),
        }
    }
}

struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
}

impl Disk for FaultDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let inside = state.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        let mut state = self.0.lock().unwrap();
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(path.to_owned(), Content::default());
        Ok(Box::new(FaultFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if !self.0.lock().unwrap().files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(FaultFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.0.lock().unwrap().files.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.step()?.is_some() {
            return Err(io::Error::other("input/output error"));
        }
        let mut state = self.0.lock().unwrap();
        for (_, content) in state.files.iter_mut().filter(|(path, _)| path.parent() == Some(dir)) {
            content.entered = true;
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.0.lock().unwrap();
        Ok(state.size.map_or(state.free, |size| size.saturating_sub(state.used())))
    }
}

impl FaultFile {
    fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut state = self.disk.0.lock().unwrap();
        state.files.get_mut(&self.path).map(change).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for FaultFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.step()? {
            Some(Fault::ShortWrite) => {
                self.with(|content| content.written.extend_from_slice(&bytes[..bytes.len() / 2]))?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(_) => Err(io::Error::other("input/output error")),
            None => self.with(|content| content.written.extend_from_slice(bytes)),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.disk.step()? {
            Some(Fault::SyncDropsPages) => {
                // Later syncs of this file would report success without these bytes.
                self.with(|content| content.written = content.synced.clone())?;
                Err(io::Error::other("input/output error"))
            }
            Some(_) => Err(io::Error::other("input/output error")),
            None => self.with(|content| content.synced = content.written.clone()),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|content| {
            let rest = content.written.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buf.len());
            buf[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|content| content.written.len() as u64)
    }
}
