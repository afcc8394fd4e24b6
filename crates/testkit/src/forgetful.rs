//! A disk in memory that forgets, as a real one does when the power goes.
//!
//! It keeps two states: what programs see, and what has reached the medium. Content reaches it by a
//! file's sync, names by the sync of their directory. After [`ForgetfulDisk::lose_power`] any subset
//! of the rest may have reached it too:
//! * of a file, each sector of 512 bytes is the old one, the new one, or zeros; the length lies
//!   anywhere between the old and the new;
//! * of a directory, each change of a name happened or did not. A rename is two changes, even between
//!   directories: harsher than a journal, and what a file system without one may do.
//!
//! Besides it can fail: at the nth call once or from there on, and when it is full. It can also be
//! careless, as code that forgets a sync would be, to show that a test notices.

mod tree;

use staging::{Disk, DiskFile, Listing, Space, Stat};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::Tree;

/// Chooses: of `n` ways, one from 0 to n - 1. Way 0 is always that something was forgotten.
pub type Choose<'a> = &'a mut dyn FnMut(usize) -> usize;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct ForgetfulDisk(Arc<Mutex<Machine>>);

#[derive(Clone)]
struct Machine {
    tree: Tree,
    calls: Vec<String>,
    fails: Option<Failure>,
    capacity: Option<u64>,
    skips_file_sync: bool,
    skips_dir_sync: bool,
}

#[derive(Clone, Copy)]
struct Failure {
    at_call: usize,
    kind: io::ErrorKind,
    from_there_on: bool,
}

impl Default for ForgetfulDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl ForgetfulDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Machine {
            tree: Tree::new(),
            calls: Vec::new(),
            fails: None,
            capacity: None,
            skips_file_sync: false,
            skips_dir_sync: false,
        })))
    }

    /// The disk as it may be found after the power went now. This one is left as it is, so that many
    /// outcomes of one history can be looked at; the new one has none of its faults.
    #[must_use]
    pub fn lose_power(&self, choose: Choose<'_>) -> Self {
        let mut tree = self.machine().tree.clone();
        tree.forget(choose);
        let found = Self::new();
        found.machine().tree = tree;
        found
    }

    /// Calls so far that change something or make it durable, oldest first: a word and its paths.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.machine().calls.clone()
    }

    /// The call after `more` others fails, and so does everything after it: the power goes there.
    pub fn fail_after(&self, more: usize) {
        self.plan(more, io::ErrorKind::Other, true);
    }

    /// The call after `more` others fails once, with this kind of error.
    pub fn fail_once_after(&self, more: usize, kind: io::ErrorKind) {
        self.plan(more, kind, false);
    }

    /// Bytes that all files together may have, or no limit. What does not fit is cut off, as on a
    /// real disk, and the next write fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine().capacity = bytes;
    }

    /// Makes the disk's clock show this, in microseconds since 1970.
    pub fn set_now(&self, micros: i64) {
        self.machine().tree.now_micros = micros;
    }

    /// Lets syncs of files succeed without doing anything.
    pub fn skip_file_sync(&self) {
        self.machine().skips_file_sync = true;
    }

    /// Lets syncs of directories succeed without doing anything.
    pub fn skip_dir_sync(&self) {
        self.machine().skips_dir_sync = true;
    }

    /// Changes one byte of a file's content, on the medium as well: the disk rots.
    ///
    /// # Errors
    /// There is no such file, or no such byte.
    pub fn rot(&self, path: &Path, at: usize) -> io::Result<()> {
        self.machine().tree.rot(path, at)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, more: usize, kind: io::ErrorKind, from_there_on: bool) {
        let mut machine = self.machine();
        let at_call = machine.calls.len() + more;
        machine.fails = Some(Failure { at_call, kind, from_there_on });
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut machine = self.machine();
        machine.check()?;
        let node = machine.tree.find_file(path)?;
        Ok(self.handle(node, path, &mut machine))
    }

    fn handle(&self, node: usize, path: &Path, machine: &mut Machine) -> Box<dyn DiskFile> {
        let handle = machine.tree.next_handle();
        Box::new(ForgetfulFile { disk: self.clone(), node, handle, path: path.to_owned() })
    }
}

impl Machine {
    /// Whether the power is gone.
    fn check(&self) -> io::Result<()> {
        match self.fails {
            Some(failure) if failure.from_there_on && self.calls.len() > failure.at_call => {
                Err(failure.kind.into())
            }
            _ => Ok(()),
        }
    }

    fn call(&mut self, what: &str, paths: &[&Path]) -> io::Result<()> {
        let place = self.calls.len();
        let mut call = what.to_owned();
        for path in paths {
            call.push(' ');
            call.push_str(&path.to_string_lossy());
        }
        self.calls.push(call);
        match self.fails {
            Some(failure) if place == failure.at_call => Err(failure.kind.into()),
            _ => self.check(),
        }
    }
}

impl Disk for ForgetfulDisk {
    fn create(&self, path: &Path, _mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut machine = self.machine();
        machine.call("create", &[path])?;
        let node = machine.tree.create(path, false)?;
        Ok(self.handle(node, path, &mut machine))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut machine = self.machine();
        machine.call("create_dir", &[path])?;
        machine.tree.create(path, true).map(drop)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.call("sync_dir", &[path])?;
        let skip = machine.skips_dir_sync;
        machine.tree.sync_dir(path, skip)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.call("rename_new", &[from, to])?;
        machine.tree.link(from, to)?;
        machine.tree.unlink(from)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.call("link", &[from, to])?;
        machine.tree.link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.call("unlink", &[path])?;
        machine.tree.unlink(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let machine = self.machine();
        machine.check()?;
        let node = machine.tree.find(path)?;
        Ok(machine.tree.stat(node))
    }

    fn list(&self, path: &Path) -> io::Result<Listing> {
        let machine = self.machine();
        machine.check()?;
        let names = machine.tree.list(path)?;
        Ok(Box::new(names.into_iter().map(Ok)))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let machine = self.machine();
        machine.check()?;
        let total = machine.capacity.unwrap_or(u64::MAX / 4);
        Ok(Space { free: total.saturating_sub(machine.tree.used()), total })
    }
}

struct ForgetfulFile {
    disk: ForgetfulDisk,
    node: usize,
    handle: u64,
    path: PathBuf,
}

impl DiskFile for ForgetfulFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut machine = self.disk.machine();
        machine.call("write", &[&self.path])?;
        let capacity = machine.capacity;
        machine.tree.write(self.node, bytes, offset, capacity)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let machine = self.disk.machine();
        machine.check()?;
        Ok(machine.tree.read(self.node, buffer, offset))
    }

    fn sync(&self) -> io::Result<()> {
        let mut machine = self.disk.machine();
        machine.call("sync", &[&self.path])?;
        if !machine.skips_file_sync {
            machine.tree.sync_file(self.node);
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut machine = self.disk.machine();
        machine.call("truncate", &[&self.path])?;
        machine.tree.truncate(self.node, length);
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        let machine = self.disk.machine();
        machine.check()?;
        Ok(machine.tree.stat(self.node))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut machine = self.disk.machine();
        machine.check()?;
        Ok(machine.tree.try_lock(self.node, self.handle))
    }
}

impl Drop for ForgetfulFile {
    fn drop(&mut self) {
        self.disk.machine().tree.unlock(self.node, self.handle);
    }
}

#[cfg(test)]
mod tests;
