//! The two states of every file and directory: as seen, and as on the medium.

use super::Choose;
use staging::Stat;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The root's number.
const ROOT: usize = 0;

#[derive(Clone)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    handles: u64,
    pub(super) now_micros: i64,
}

#[derive(Clone)]
struct Node {
    body: Body,
    changed_micros: i64,
}

#[derive(Clone)]
enum Body {
    File { seen: Vec<u8>, stored: Vec<u8>, lock: Option<u64> },
    Dir { seen: Names, stored: Names, unsynced: Vec<Change> },
}

type Names = BTreeMap<OsString, usize>;

/// A name that now means this node, or nothing.
type Change = (OsString, Option<usize>);

impl Tree {
    pub(super) fn new() -> Self {
        let mut tree = Self { nodes: Vec::new(), handles: 0, now_micros: 0 };
        tree.add(true);
        tree
    }

    fn add(&mut self, dir: bool) -> usize {
        let body = if dir {
            Body::Dir { seen: Names::new(), stored: Names::new(), unsynced: Vec::new() }
        } else {
            Body::File { seen: Vec::new(), stored: Vec::new(), lock: None }
        };
        self.nodes.push(Node { body, changed_micros: self.now_micros });
        self.nodes.len() - 1
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Body::Dir { seen, .. } = &self.nodes[at].body else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<usize> {
        let node = self.find(path)?;
        match self.nodes[node].body {
            Body::File { .. } => Ok(node),
            Body::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, dir: bool) -> io::Result<usize> {
        let (parent, name) = self.place(path)?;
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.add(dir);
        self.change(parent, name, Some(node));
        Ok(node)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find_file(from)?;
        let (parent, name) = self.place(to)?;
        if self.find(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(parent, name, Some(node));
        self.nodes[node].changed_micros = self.now_micros;
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find_file(path)?;
        let (parent, name) = self.place(path)?;
        self.change(parent, name, None);
        self.nodes[node].changed_micros = self.now_micros;
        Ok(())
    }

    /// The directory that holds a name, and the name.
    fn place(&self, path: &Path) -> io::Result<(usize, OsString)> {
        let name = path.file_name().map(OsStr::to_owned).ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        match self.nodes[parent].body {
            Body::Dir { .. } => Ok((parent, name)),
            Body::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn change(&mut self, parent: usize, name: OsString, to: Option<usize>) {
        if let Body::Dir { seen, unsynced, .. } = &mut self.nodes[parent].body {
            apply(seen, &name, to);
            unsynced.push((name, to));
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path, skip: bool) -> io::Result<()> {
        let node = self.find(path)?;
        let Body::Dir { seen, stored, unsynced } = &mut self.nodes[node].body else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        if !skip {
            stored.clone_from(seen);
            unsynced.clear();
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        match &self.nodes[self.find(path)?].body {
            Body::Dir { seen, .. } => Ok(seen.keys().cloned().collect()),
            Body::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn stat(&self, node: usize) -> Stat {
        let length = self.stat_length(node);
        let is_dir = matches!(self.nodes[node].body, Body::Dir { .. });
        let names = self.nodes.iter().filter_map(|other| match &other.body {
            Body::Dir { seen, .. } => Some(seen.values().filter(|named| **named == node).count() as u64),
            Body::File { .. } => None,
        });
        // Counting names takes a walk over all directories; it is asked of files only.
        let links = if is_dir { 2 } else { names.sum() };
        let changed_micros = self.nodes[node].changed_micros;
        Stat { length, changed_micros, device: 1, inode: node as u64, links, is_dir }
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let mut named = BTreeSet::new();
        for node in &self.nodes {
            if let Body::Dir { seen, .. } = &node.body {
                named.extend(seen.values().copied());
            }
        }
        named.into_iter().map(|node| self.stat_length(node)).sum()
    }

    fn stat_length(&self, node: usize) -> u64 {
        match &self.nodes[node].body {
            Body::File { seen, .. } => seen.len() as u64,
            Body::Dir { .. } => 0,
        }
    }

    pub(super) fn write(
        &mut self,
        node: usize,
        bytes: &[u8],
        offset: u64,
        capacity: Option<u64>,
    ) -> io::Result<usize> {
        let room = capacity.map_or(u64::MAX, |all| all.saturating_sub(self.used()));
        let now = self.now_micros;
        let Node { body: Body::File { seen, .. }, changed_micros } = &mut self.nodes[node] else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let longest = (seen.len() as u64).saturating_add(room);
        let most = usize::try_from(longest.saturating_sub(offset)).unwrap_or(usize::MAX);
        let written = bytes.len().min(most);
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if seen.len() < start + written {
            seen.resize(start + written, 0);
        }
        seen[start..start + written].copy_from_slice(&bytes[..written]);
        *changed_micros = now;
        Ok(written)
    }

    pub(super) fn read(&self, node: usize, buffer: &mut [u8], offset: u64) -> usize {
        let Body::File { seen, .. } = &self.nodes[node].body else { return 0 };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let n = buffer.len().min(seen.len() - start);
        buffer[..n].copy_from_slice(&seen[start..start + n]);
        n
    }

    pub(super) fn truncate(&mut self, node: usize, length: u64) {
        if let Body::File { seen, .. } = &mut self.nodes[node].body {
            seen.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        }
        self.nodes[node].changed_micros = self.now_micros;
    }

    pub(super) fn sync_file(&mut self, node: usize) {
        if let Body::File { seen, stored, .. } = &mut self.nodes[node].body {
            stored.clone_from(seen);
        }
    }

    pub(super) fn rot(&mut self, path: &Path, at: usize) -> io::Result<()> {
        let node = self.find_file(path)?;
        if let Body::File { seen, stored, .. } = &mut self.nodes[node].body {
            *seen.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? ^= 1;
            stored.clone_from(seen);
        }
        Ok(())
    }

    pub(super) fn try_lock(&mut self, node: usize, handle: u64) -> bool {
        match &mut self.nodes[node].body {
            Body::File { lock: Some(holder), .. } => *holder == handle,
            Body::File { lock, .. } => {
                *lock = Some(handle);
                true
            }
            Body::Dir { .. } => true,
        }
    }

    pub(super) fn unlock(&mut self, node: usize, handle: u64) {
        if let Body::File { lock, .. } = &mut self.nodes[node].body
            && *lock == Some(handle)
        {
            *lock = None;
        }
    }

    /// The power goes: what is seen afterwards is what was stored, and some of the rest.
    pub(super) fn forget(&mut self, choose: Choose<'_>) {
        for node in &mut self.nodes {
            match &mut node.body {
                Body::Dir { seen, stored, unsynced } => {
                    for (name, to) in unsynced.drain(..) {
                        if choose(2) == 1 {
                            apply(stored, &name, to);
                        }
                    }
                    seen.clone_from(stored);
                }
                Body::File { seen, stored, lock } => {
                    if seen != stored {
                        *seen = torn(seen, stored, choose);
                        stored.clone_from(seen);
                    }
                    *lock = None;
                }
            }
        }
    }
}

fn apply(names: &mut Names, name: &OsStr, to: Option<usize>) {
    match to {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

/// Content of which each sector is the stored one, the new one, or zeros.
fn torn(new: &[u8], stored: &[u8], choose: Choose<'_>) -> Vec<u8> {
    let span = new.len().abs_diff(stored.len());
    let moved = match choose(3) {
        0 => 0,
        1 => span,
        _ => choose(span + 1),
    };
    let length = if new.len() > stored.len() { stored.len() + moved } else { stored.len() - moved };
    let mut content = vec![0; length];
    for start in (0..length).step_by(SECTOR) {
        let end = (start + SECTOR).min(length);
        let part = |from: &[u8]| {
            let mut sector = vec![0; end - start];
            let there = from.get(start.min(from.len())..end.min(from.len())).unwrap_or_default();
            sector[..there.len()].copy_from_slice(there);
            sector
        };
        let (old, fresh) = (part(stored), part(new));
        if old == fresh {
            content[start..end].copy_from_slice(&old);
            continue;
        }
        match choose(3) {
            0 => content[start..end].copy_from_slice(&old),
            1 => content[start..end].copy_from_slice(&fresh),
            _ => {}
        }
    }
    content
}
