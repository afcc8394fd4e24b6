//! An honest folder in memory.

use super::lent::locked;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{ConnectionId, Error, ErrorKind, Probe, RemotePath, Result, Timestamp};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use transport::folder::{
    Entry, EntryKind, FileReader, Folder, FolderCapabilities, NAME_LIMIT, Published, Upload, Written,
};

type Path = Vec<Vec<u8>>;

#[derive(Clone)]
enum Node {
    Directory,
    File { bytes: Arc<[u8]>, modified: Timestamp, version: u64 },
}

struct State {
    nodes: BTreeMap<Path, Node>,
    now: Timestamp,
    version: u64,
    capabilities: FolderCapabilities,
    renames: Renames,
}

/// Which renames are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renames {
    /// All.
    All,
    /// All, and the file is a new one then, with another time: a gateway to an object store, which copies.
    AsNew,
    /// Those that do not leave a directory at the top: each is a file system of its own.
    WithinBorders,
    /// None.
    Never,
}

/// A folder in memory. Its time goes on by a second with every write.
#[derive(Clone)]
pub struct MemoryFolder {
    state: Arc<Mutex<State>>,
}

impl Default for MemoryFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryFolder {
    /// An empty folder that can do everything.
    #[must_use]
    pub fn new() -> Self {
        let capabilities = FolderCapabilities { rename_no_replace: true, set_modified: true };
        Self::with_capabilities(capabilities)
    }

    /// An empty folder that can do this. Without `rename_no_replace` a rename replaces what is there.
    #[must_use]
    pub fn with_capabilities(capabilities: FolderCapabilities) -> Self {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        let nodes = BTreeMap::from([(Path::new(), Node::Directory)]);
        let state = State { nodes, now, version: 0, capabilities, renames: Renames::All };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes which renames are made.
    pub fn set_renames(&self, renames: Renames) {
        locked(&self.state).renames = renames;
    }

    /// Puts a file there, with the directories above it.
    pub fn put(&self, path: impl Into<RemotePath>, bytes: impl Into<Arc<[u8]>>) {
        let mut state = locked(&self.state);
        let path = parts(&path.into());
        for end in 0..path.len() {
            state.nodes.entry(path[..end].to_vec()).or_insert(Node::Directory);
        }
        state.write(path, bytes.into());
    }

    /// Puts another file in a file's place, with the same time.
    pub fn exchange(&self, path: impl Into<RemotePath>, content: impl Into<Arc<[u8]>>) {
        let mut state = locked(&self.state);
        state.version += 1;
        let next = state.version;
        if let Some(Node::File { bytes, version, .. }) = state.nodes.get_mut(&parts(&path.into())) {
            (*bytes, *version) = (content.into(), next);
        }
    }

    /// Puts other content into a file, of which nothing that is told changes.
    pub fn refill(&self, path: impl Into<RemotePath>, content: impl Into<Arc<[u8]>>) {
        let mut state = locked(&self.state);
        if let Some(Node::File { bytes, .. }) = state.nodes.get_mut(&parts(&path.into())) {
            *bytes = content.into();
        }
    }

    /// Copies a file with its time and version, as nothing but an unlucky moment would.
    pub fn duplicate(&self, from: impl Into<RemotePath>, to: impl Into<RemotePath>) {
        let mut state = locked(&self.state);
        if let Some(node) = state.nodes.get(&parts(&from.into())).cloned() {
            state.nodes.insert(parts(&to.into()), node);
        }
    }

    /// The bytes of a file.
    #[must_use]
    pub fn get(&self, path: impl Into<RemotePath>) -> Option<Arc<[u8]>> {
        match locked(&self.state).nodes.get(&parts(&path.into())) {
            Some(Node::File { bytes, .. }) => Some(Arc::clone(bytes)),
            _ => None,
        }
    }

    /// The paths of all files, in order, as text.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let state = locked(&self.state);
        let files = state.nodes.iter().filter(|(_, node)| matches!(node, Node::File { .. }));
        files.map(|(path, _)| RemotePath::from_bytes(path.join(&b'/')).to_text()).collect()
    }
}

impl State {
    fn write(&mut self, path: Path, bytes: Arc<[u8]>) {
        self.now += TimeDelta::seconds(1);
        self.version += 1;
        let node = Node::File { bytes, modified: self.now, version: self.version };
        self.nodes.insert(path, node);
    }

    fn entry(&self, path: RemotePath, node: &Node) -> Entry {
        match node {
            Node::Directory => Entry {
                path,
                kind: EntryKind::Directory,
                size: None,
                modified: None,
                version: None,
                changed: None,
            },
            Node::File { bytes, modified, version } => Entry {
                path,
                kind: EntryKind::File,
                size: Some(bytes.len() as u64),
                modified: Some(*modified),
                version: Some(version.to_string()),
                changed: None,
            },
        }
    }

    fn file(&self, path: &RemotePath) -> Result<Node> {
        match self.nodes.get(&parts(path)) {
            Some(node @ Node::File { .. }) => Ok(node.clone()),
            Some(Node::Directory) => Err(failed(ErrorKind::Rejected, path)),
            None => Err(failed(ErrorKind::NotFound, path)),
        }
    }

    fn parent_exists(&self, path: &RemotePath) -> Result<()> {
        let path_parts = parts(path);
        let parent = path_parts.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default();
        match self.nodes.get(&parent) {
            Some(Node::Directory) => Ok(()),
            _ => Err(failed(ErrorKind::NotFound, path)),
        }
    }

    fn rename(&mut self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let node = self.file(from)?;
        self.parent_exists(to)?;
        match self.renames {
            Renames::Never => return Err(failed(ErrorKind::Unsupported, to)),
            Renames::WithinBorders if from.parts().next() != to.parts().next() => {
                return Err(failed(ErrorKind::Rejected, to));
            }
            Renames::All | Renames::AsNew | Renames::WithinBorders => {}
        }
        self.nodes.remove(&parts(from));
        match node {
            Node::File { bytes, .. } if self.renames == Renames::AsNew => self.write(parts(to), bytes),
            node => drop(self.nodes.insert(parts(to), node)),
        }
        Ok(())
    }
}

#[async_trait]
impl Folder for MemoryFolder {
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        Some(self)
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        Ok(locked(&self.state).capabilities)
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let state = locked(&self.state);
        let parent = parts(directory);
        if !matches!(state.nodes.get(&parent), Some(Node::Directory)) {
            return Err(failed(ErrorKind::NotFound, directory));
        }
        let below = state.nodes.range(parent.clone()..).take_while(|(path, _)| path.starts_with(&parent));
        let entries: Vec<_> = below
            .filter(|(path, _)| path.len() == parent.len() + 1)
            .map(|(path, node)| {
                Ok(state.entry(RemotePath::from_bytes(path.last().cloned().unwrap_or_default()), node))
            })
            .collect();
        Ok(futures::stream::iter(entries).boxed())
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        let state = locked(&self.state);
        match state.nodes.get(&parts(path)) {
            Some(node) => Ok(state.entry(path.clone(), node)),
            None => Err(failed(ErrorKind::NotFound, path)),
        }
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        let Node::File { bytes, .. } = locked(&self.state).file(path)? else {
            return Err(failed(ErrorKind::Rejected, path));
        };
        let mut reader = Cursor::new(bytes);
        reader.set_position(offset);
        Ok(FileReader { bytes: Box::new(reader), file: None, connection: None })
    }

    async fn begin_write(&self, path: &RemotePath, _: Option<u64>) -> Result<Box<dyn Upload>> {
        let mut state = locked(&self.state);
        if path.file_name().len() > NAME_LIMIT {
            return Err(failed(ErrorKind::Rejected, path));
        }
        state.parent_exists(path)?;
        if let Some(Node::Directory) = state.nodes.get(&parts(path)) {
            return Err(failed(ErrorKind::Rejected, path));
        }
        state.write(parts(path), Arc::from([]));
        Ok(Box::new(MemoryUpload { folder: self.clone(), path: path.clone(), bytes: Vec::new() }))
    }

    async fn resume_write(
        &self,
        path: &RemotePath,
        offset: u64,
        _: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let Node::File { bytes, .. } = locked(&self.state).file(path)? else {
            return Err(failed(ErrorKind::Rejected, path));
        };
        let kept = usize::try_from(offset).ok().and_then(|offset| bytes.get(..offset));
        let bytes = kept.ok_or_else(|| failed(ErrorKind::Rejected, path))?.to_vec();
        Ok(Some(Box::new(MemoryUpload { folder: self.clone(), path: path.clone(), bytes })))
    }

    async fn append(&self, path: &RemotePath, _: u64) -> Result<Option<Box<dyn Upload>>> {
        let mut state = locked(&self.state);
        state.parent_exists(path)?;
        if !state.nodes.contains_key(&parts(path)) {
            state.write(parts(path), Arc::from([]));
        }
        state.file(path)?;
        Ok(Some(Box::new(MemoryAppend { folder: self.clone(), path: path.clone() })))
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        let mut state = locked(&self.state);
        state.file(temporary)?;
        match state.nodes.get(&parts(name)) {
            Some(Node::Directory) if overwrite => Err(failed(ErrorKind::Rejected, name)),
            Some(_) if !overwrite => Ok(Published::Exists),
            _ => state.rename(temporary, name).map(|()| Published::Published),
        }
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let mut state = locked(&self.state);
        state.file(from)?;
        if state.capabilities.rename_no_replace && state.nodes.contains_key(&parts(to)) {
            return Err(failed(ErrorKind::AlreadyExists, to));
        }
        state.rename(from, to)
    }

    async fn set_modified(&self, path: &RemotePath, at: Timestamp) -> Result<()> {
        let mut state = locked(&self.state);
        if !state.capabilities.set_modified {
            return Err(failed(ErrorKind::Unsupported, path));
        }
        state.file(path)?;
        if let Some(Node::File { modified, .. }) = state.nodes.get_mut(&parts(path)) {
            *modified = at;
        }
        Ok(())
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        let mut state = locked(&self.state);
        state.file(path)?;
        state.nodes.remove(&parts(path));
        Ok(())
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        let mut state = locked(&self.state);
        let path_parts = parts(path);
        for end in 1..=path_parts.len() {
            let node = state.nodes.entry(path_parts[..end].to_vec()).or_insert(Node::Directory);
            if !matches!(node, Node::Directory) {
                return Err(failed(ErrorKind::AlreadyExists, path));
            }
        }
        Ok(())
    }
}

struct MemoryUpload {
    folder: MemoryFolder,
    path: RemotePath,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for MemoryUpload {
    fn connection(&self) -> Option<ConnectionId> {
        None
    }

    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        locked(&self.folder.state).write(parts(&self.path), self.bytes.as_slice().into());
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        let length = self.bytes.len() as u64;
        locked(&self.folder.state).write(parts(&self.path), self.bytes.into());
        Ok(Written::there(length))
    }

    async fn abort(self: Box<Self>) {
        locked(&self.folder.state).nodes.remove(&parts(&self.path));
    }

    async fn suspend(self: Box<Self>) -> bool {
        locked(&self.folder.state).write(parts(&self.path), self.bytes.into());
        true
    }
}

/// Bytes being added to the end of a file, at once.
struct MemoryAppend {
    folder: MemoryFolder,
    path: RemotePath,
}

#[async_trait]
impl Upload for MemoryAppend {
    fn connection(&self) -> Option<ConnectionId> {
        None
    }

    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        let before = self.folder.get(self.path.clone()).unwrap_or_default();
        let grown = [&before[..], &bytes[..]].concat();
        locked(&self.folder.state).write(parts(&self.path), grown.into());
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        let there = self.folder.get(self.path.clone());
        Ok(Written::there(there.map_or(0, |bytes| bytes.len() as u64)))
    }

    async fn abort(self: Box<Self>) {}
}

fn parts(path: &RemotePath) -> Path {
    path.parts().map(<[u8]>::to_vec).collect()
}

fn failed(kind: ErrorKind, path: &RemotePath) -> Error {
    Error::permanent(kind, "use a path of a folder in memory").with("path", path)
}
