//! The local file system as a [`Folder`].

mod listing;
mod naming;
mod ownership;
mod place;
mod upload;
mod wake_up;

pub(crate) use place::root_of;
pub(crate) use wake_up::WakeUps;

use crate::error::failed;
use async_trait::async_trait;
use chrono::DateTime;
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, RemotePath, Result, Timestamp};
use ownership::Wanted;
use place::Spot;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use transport::folder::{Entry, EntryKind, FileReader, Folder, FolderCapabilities, Owner, Published, Upload};
use transport::{Probe, Watch};

/// Bytes a reader holds: what `tokio`'s file reads ahead.
const READ_BUFFER: usize = transport::folder::READER_BUFFERS;

/// A directory of this machine, and what else the allowed roots let it reach (archives).
#[derive(Clone)]
pub struct LocalFolder {
    place: Arc<Bounds>,
    /// What files that are written are given.
    wanted: Arc<Wanted>,
    /// `None` if nothing is watched.
    wake_ups: Option<Arc<WakeUps>>,
}

pub(crate) struct Bounds {
    base: RemotePath,
    roots: Vec<RemotePath>,
}

impl Bounds {
    fn spot(&self, path: &RemotePath) -> Result<Spot> {
        place::spot(&self.base, &self.roots, path)
    }
}

impl LocalFolder {
    /// A folder for an endpoint's directory (absolute), within the allowed roots. Opens nothing; a path
    /// outside the roots is refused when it is used.
    #[must_use]
    pub fn new(directory: RemotePath, roots: Vec<RemotePath>) -> Self {
        Self { place: Arc::new(Bounds { base: directory, roots }), wanted: Arc::default(), wake_ups: None }
    }

    /// The same, giving the files that it writes these permissions, as of `chmod`, and this owner; with `None` the umask
    /// and the user of the process decide.
    #[must_use]
    pub fn giving(self, permissions: Option<u32>, owner: Option<Owner>) -> Self {
        Self { wanted: Arc::new(Wanted { permissions, owner }), ..self }
    }

    /// The same, watching its directories when it is asked to.
    #[must_use]
    pub(crate) fn with_wake_ups(self, wake_ups: &Arc<WakeUps>) -> Self {
        Self { wake_ups: Some(Arc::clone(wake_ups)), ..self }
    }

    /// Runs file-system work where it may block.
    async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Bounds) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.place);
        blocking(move || act(&place)).await
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(stopped) => {
            Err(Error::ambiguous(ErrorKind::Internal, "finish file-system work").caused_by(stopped))
        }
    }
}

#[async_trait]
impl Folder for LocalFolder {
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        Some(self)
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        Ok(FolderCapabilities { rename_no_replace: true, set_modified: true })
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn identity(&self, directory: &RemotePath) -> Result<Option<String>> {
        // Without the device: its number may change with every mount, the inode of a file system's root does not.
        Ok(self.stat(directory).await?.version)
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let path = directory.clone();
        let opened = self.run(move |place| listing::open(&place.base, &place.roots, &path)).await?;
        Ok(listing::stream(opened, self.place.base.join(directory)).boxed())
    }

    async fn watch(&self, directory: &RemotePath) -> Result<Option<Box<dyn Watch>>> {
        let Some(wake_ups) = self.wake_ups.clone() else { return Ok(None) };
        let directory = directory.clone();
        let opened = self.run(move |place| {
            let whole = place.base.join(&directory);
            let anchor = place::anchor(&place.base, &place.roots, &directory)?;
            match place::open_directory(&anchor.directory, &anchor.parts, OFlags::PATH) {
                // The endpoint names one file: its directory is watched.
                Err(Errno::NOTDIR) if anchor.parts.len() == 1 => Ok(anchor.directory),
                opened => opened.map_err(|e| failed("open a directory to watch it", &whole, e)),
            }
        });
        wake_ups.watch(&opened.await?).map(Some)
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        let path = path.clone();
        self.run(move |place| {
            let whole = place.base.join(&path);
            let anchor = place::anchor(&place.base, &place.roots, &path)?;
            let stat = if anchor.parts.is_empty() {
                rustix::fs::fstat(&anchor.directory)
            } else {
                place::stat_at(&place.spot(&path)?)
            };
            Ok(entry(path, &stat.map_err(|e| failed("look at a path", &whole, e))?))
        })
        .await
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        let path = path.clone();
        let file = self
            .run(move |place| {
                let whole = place.base.join(&path);
                let mut file = place::open_regular(&place.spot(&path)?)
                    .map_err(|e| failed("open a file to read", &whole, e))?;
                let wrong = |e| Error::local_io("read a file", e).with("path", &whole).with("offset", offset);
                if offset > 0 {
                    file.seek(SeekFrom::Start(offset)).map_err(wrong)?;
                    return Ok((file, None));
                }
                let whole_file = file.try_clone().map_err(wrong)?;
                Ok((file, Some(whole_file)))
            })
            .await?;
        let (file, whole_file) = file;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(READ_BUFFER);
        Ok(FileReader { bytes: Box::new(file), file: whole_file, connection: None })
    }

    async fn begin_write(&self, path: &RemotePath, _length: Option<u64>) -> Result<Box<dyn Upload>> {
        let (path, wanted) = (path.clone(), Arc::clone(&self.wanted));
        self.run(move |place| {
            let spot = place.spot(&path)?;
            let upload = upload::LocalUpload::begin(spot, place.base.join(&path), wanted)?;
            Ok(Box::new(upload) as Box<dyn Upload>)
        })
        .await
    }

    async fn begin_new_write(
        &self,
        path: &RemotePath,
        _length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let (path, wanted) = (path.clone(), Arc::clone(&self.wanted));
        self.run(move |place| {
            let spot = place.spot(&path)?;
            let upload = upload::LocalUpload::begin_new(spot, place.base.join(&path), wanted)?;
            Ok(upload.map(|upload| Box::new(upload) as Box<dyn Upload>))
        })
        .await
    }

    async fn resume_write(
        &self,
        path: &RemotePath,
        offset: u64,
        _length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let (path, wanted) = (path.clone(), Arc::clone(&self.wanted));
        self.run(move |place| {
            let upload =
                upload::LocalUpload::resume(place.spot(&path)?, place.base.join(&path), wanted, offset)?;
            Ok(Some(Box::new(upload) as Box<dyn Upload>))
        })
        .await
    }

    async fn append(&self, path: &RemotePath, _end: u64) -> Result<Option<Box<dyn Upload>>> {
        let (path, wanted) = (path.clone(), Arc::clone(&self.wanted));
        self.run(move |place| {
            let upload = upload::LocalUpload::append(place.spot(&path)?, place.base.join(&path), wanted)?;
            Ok(Some(Box::new(upload) as Box<dyn Upload>))
        })
        .await
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        let (temporary, name) = (temporary.clone(), name.clone());
        self.run(move |place| {
            let whole = place.base.join(&name);
            let (from, to) = (place.spot(&temporary)?, place.spot(&name)?);
            match naming::give_name(&from, &to, overwrite) {
                Ok(()) => {}
                Err(Errno::EXIST) if !overwrite => return Ok(Published::Exists),
                Err(error) if naming::leaves_open(error) => {
                    tracing::warn!(path = %whole, %error, "not known whether a file was published");
                    return Ok(Published::Unknown);
                }
                Err(error) => return Err(failed("publish a file", &whole, error)),
            }
            match naming::sync_both(&from, &to) {
                Ok(()) => Ok(Published::Published),
                Err(error) => {
                    tracing::warn!(path = %whole, %error, "a directory was not synced after a file was published");
                    Ok(Published::Unknown)
                }
            }
        })
        .await
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run(move |place| {
            let whole = place.base.join(&to);
            let (from, to) = (place.spot(&from)?, place.spot(&to)?);
            let moved = match naming::rename_new(&from, &to) {
                Err(Errno::XDEV) => naming::copy_over(&from, &to),
                other => other,
            };
            moved.and_then(|()| naming::sync_both(&from, &to)).map_err(|e| failed("rename a file", &whole, e))
        })
        .await
    }

    async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<()> {
        let path = path.clone();
        self.run(move |place| {
            let whole = place.base.join(&path);
            let wrong = |e| Error::local_io("set the time of a file", e).with("path", &whole);
            let file = place::open_regular(&place.spot(&path)?)
                .map_err(|e| failed("open a file to set its time", &whole, e))?;
            file.set_modified(modified.into()).and_then(|()| file.sync_all()).map_err(wrong)
        })
        .await
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        let path = path.clone();
        self.run(move |place| {
            let whole = place.base.join(&path);
            let spot = place.spot(&path)?;
            // Synced: a file that came back after a power cut would be taken for a new one.
            rustix::fs::unlinkat(&spot.directory, place::os(&spot.name), AtFlags::empty())
                .and_then(|()| place::sync_directory(&spot.directory))
                .map_err(|e| failed("remove a file", &whole, e))
        })
        .await
    }

    async fn sync_directory(&self, directory: &RemotePath) -> Result<()> {
        let directory = directory.clone();
        self.run(move |place| {
            let whole = place.base.join(&directory);
            let anchor = place::anchor(&place.base, &place.roots, &directory)?;
            place::sync_directory_at(&anchor).map_err(|e| failed("sync a directory", &whole, e))
        })
        .await
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        let path = path.clone();
        self.run(move |place| {
            let whole = place.base.join(&path);
            let anchor = place::anchor_to_make(&place.base, &place.roots, &path)?;
            place::make_directories(&anchor).map_err(|e| failed("make a directory", &whole, e))
        })
        .await
    }
}

/// What the system tells of a file. Its inode is its version: another file that takes the name has
/// another one, a rename keeps it.
pub(crate) fn entry(path: RemotePath, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    };
    Entry {
        path,
        kind,
        size: u64::try_from(stat.st_size).ok(),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        version: Some(stat.st_ino.to_string()),
        // Set by the system alone: a program that fills a file and sets its time back cannot hide that it writes.
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// A time of the system's, cut to microseconds. The fields' types differ between architectures.
fn time(seconds: impl Into<i64>, nanos: impl TryInto<u32>) -> Option<Timestamp> {
    let nanos = nanos.try_into().ok()?;
    DateTime::from_timestamp(seconds.into(), nanos / 1_000 * 1_000)
}
