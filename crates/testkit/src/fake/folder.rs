//! A folder that lies, fails, or lets something happen in between; the rest it leaves to another one.

mod upload;

use super::Fault;
use super::lent::locked;
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{ErrorKind, Probe, RemotePath, Result, Retry, Timestamp};
use openssl::hash::{MessageDigest, hash};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use transport::Watch;
use transport::folder::{
    ChecksumKind, Entry, FileReader, Folder, FolderCapabilities, Published, ServerChecksum, Upload,
};
use upload::ScriptedUpload;

/// What can be done with a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// `list`
    List,
    /// `stat`
    Stat,
    /// `read`
    Read,
    /// `try_open`
    TryOpen,
    /// `begin_write`
    BeginWrite,
    /// `resume_write`
    ResumeWrite,
    /// `append`
    Append,
    /// `publish`
    Publish,
    /// `rename`
    Rename,
    /// `set_modified`
    SetModified,
    /// `checksum`
    Checksum,
    /// `remove`
    Remove,
    /// `make_directory`
    MakeDirectory,
    /// `sync_directory`
    SyncDirectory,
    /// `write` of an upload
    Write,
    /// `finish` of an upload
    Finish,
}

/// How a publication ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishAnswer {
    /// It is not done, and the name is said to be taken.
    Exists,
    /// It is done, but the answer is lost.
    UnknownDone,
    /// It is not done, and nobody tells.
    UnknownNotDone,
}

enum Step {
    Before(Act, Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>),
    Fail(Act, Fault),
    Lose(Act, Fault),
    Publish(PublishAnswer),
    Short,
    SaidShort,
}

/// The two ways in which a place tells of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// In the listing of its directory.
    Listing,
    /// When it is asked about the path.
    Look,
}

type Telling = Box<dyn Fn(&mut Entry) + Send + Sync>;

/// What a place always does.
#[derive(Default)]
struct Habits {
    tellings: Vec<(Way, Arc<Telling>)>,
    refuses_looks: Option<Fault>,
    gives_once: bool,
    refuses_renames: bool,
    computes: Option<ChecksumKind>,
    connections: Option<Arc<Semaphore>>,
}

/// A folder under a script. Steps wait for the first call they are meant for, each serves once.
pub struct ScriptedFolder {
    inner: Arc<dyn Folder>,
    itself: Weak<Self>,
    steps: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<(Act, RemotePath)>>,
    habits: Mutex<Habits>,
}

impl ScriptedFolder {
    /// Wraps a folder; without a script it is just that folder.
    #[must_use]
    pub fn new(inner: Arc<dyn Folder>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            inner,
            itself: Weak::clone(itself),
            steps: Mutex::default(),
            calls: Mutex::default(),
            habits: Mutex::default(),
        })
    }

    fn itself(&self) -> Weak<Self> {
        Weak::clone(&self.itself)
    }

    /// Lets something happen right before the next such act.
    pub fn before<F>(&self, act: Act, happens: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        locked(&self.steps).push_back(Step::Before(act, Box::new(move || Box::pin(happens()))));
    }

    /// Fails the next such act without doing it.
    pub fn fail(&self, act: Act, fault: Fault) {
        locked(&self.steps).push_back(Step::Fail(act, fault));
    }

    /// Does the next `rename`, `remove`, `make_directory` or `begin_write`, but loses its answer. A file that was begun
    /// lies there empty.
    pub fn lose_answer(&self, act: Act, fault: Fault) {
        locked(&self.steps).push_back(Step::Lose(act, fault));
    }

    /// Lets the next upload end a byte short, as on a disk that was full.
    pub fn finish_short(&self) {
        locked(&self.steps).push_back(Step::Short);
    }

    /// Says of the next upload that it is a byte short, though it is whole.
    pub fn say_short(&self) {
        locked(&self.steps).push_back(Step::SaidShort);
    }

    /// Always tells files otherwise than they are, in one of the two ways.
    pub fn tell(&self, way: Way, change: impl Fn(&mut Entry) + Send + Sync + 'static) {
        locked(&self.habits).tellings.push((way, Arc::new(Box::new(change))));
    }

    /// Every act needs one of so many connections, and keeps it for a while.
    pub fn limit_connections(&self, connections: usize) {
        locked(&self.habits).connections = Some(Arc::new(Semaphore::new(connections)));
    }

    /// Never tells of a path when it is asked.
    pub fn refuse_looks(&self, fault: Fault) {
        locked(&self.habits).refuses_looks = Some(fault);
    }

    /// Gives each file once: it goes when it is opened to be read.
    pub fn give_once(&self) {
        locked(&self.habits).gives_once = true;
    }

    /// Computes checksums of its files.
    pub fn compute(&self, kind: ChecksumKind) {
        locked(&self.habits).computes = Some(kind);
    }

    /// Never renames.
    pub fn refuse_renames(&self) {
        locked(&self.habits).refuses_renames = true;
    }

    fn tellings(&self, way: Way) -> Vec<Arc<Telling>> {
        let habits = locked(&self.habits);
        habits.tellings.iter().filter(|(of, _)| *of == way).map(|(_, telling)| Arc::clone(telling)).collect()
    }

    /// Answers the next publication like this.
    pub fn publish_answer(&self, answer: PublishAnswer) {
        locked(&self.steps).push_back(Step::Publish(answer));
    }

    /// The acts so far with their (first) paths.
    #[must_use]
    pub fn calls(&self) -> Vec<(Act, RemotePath)> {
        locked(&self.calls).clone()
    }

    /// How often an act was done.
    #[must_use]
    pub fn count(&self, act: Act) -> usize {
        locked(&self.calls).iter().filter(|(done, _)| *done == act).count()
    }

    async fn scripted(&self, act: Act, path: &RemotePath) -> Result<()> {
        locked(&self.calls).push((act, path.clone()));
        let connections = locked(&self.habits).connections.clone();
        if let Some(connections) = connections {
            let _in_use = connections.acquire().await;
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
        // What a step adds to the script is for the next call.
        let now = {
            let mut steps = locked(&self.steps);
            let mut now = Vec::new();
            let mut failed = false;
            let mut later = VecDeque::new();
            for step in steps.drain(..) {
                match &step {
                    Step::Before(at, _) if *at == act && !failed => now.push(step),
                    Step::Fail(at, _) if *at == act && !failed => {
                        failed = true;
                        now.push(step);
                    }
                    _ => later.push_back(step),
                }
            }
            *steps = later;
            now
        };
        for step in now {
            match step {
                Step::Before(_, happens) => happens().await,
                Step::Fail(_, fault) => return Err(fault.error("use a scripted folder")),
                Step::Publish(_) | Step::Lose(..) | Step::Short | Step::SaidShort => {}
            }
        }
        Ok(())
    }

    /// The answer that the caller gets of an act that was done.
    fn answered<T>(&self, act: Act, done: Result<T>) -> Result<T> {
        let mut steps = locked(&self.steps);
        let place = steps.iter().position(|step| matches!(step, Step::Lose(at, _) if *at == act));
        match place.and_then(|place| steps.remove(place)) {
            Some(Step::Lose(_, fault)) => done.and(Err(fault.error("read the answer of a scripted folder"))),
            _ => done,
        }
    }

    /// Takes the next step of a kind, if there is one.
    fn take_step(&self, is_wanted: impl Fn(&Step) -> bool) -> bool {
        let mut steps = locked(&self.steps);
        let place = steps.iter().position(is_wanted);
        place.and_then(|place| steps.remove(place)).is_some()
    }

    fn next_publish(&self) -> Option<PublishAnswer> {
        let mut steps = locked(&self.steps);
        let place = steps.iter().position(|step| matches!(step, Step::Publish(_)))?;
        match steps.remove(place) {
            Some(Step::Publish(answer)) => Some(answer),
            _ => None,
        }
    }
}

#[async_trait]
impl Folder for ScriptedFolder {
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        Some(self)
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        self.inner.capabilities().await
    }

    fn check_path(&self, path: &RemotePath) -> Result<()> {
        self.inner.check_path(path)
    }

    async fn identity(&self, directory: &RemotePath) -> Result<Option<String>> {
        self.inner.identity(directory).await
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        self.scripted(Act::List, directory).await?;
        let tellings = self.tellings(Way::Listing);
        let listing = self.inner.list(directory).await?;
        Ok(listing.map_ok(move |entry| told(entry, &tellings)).boxed())
    }

    async fn watch(&self, directory: &RemotePath) -> Result<Option<Box<dyn Watch>>> {
        self.inner.watch(directory).await
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        self.scripted(Act::Stat, path).await?;
        if let Some(fault) = locked(&self.habits).refuses_looks {
            return Err(fault.error("look at a path of a scripted folder"));
        }
        let entry = self.inner.stat(path).await?;
        Ok(told(entry, &self.tellings(Way::Look)))
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn replaced_path(&self, temporary: &RemotePath, name: &RemotePath) -> Option<RemotePath> {
        self.inner.replaced_path(temporary, name)
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        self.scripted(Act::Read, path).await?;
        let reader = self.inner.read(path, offset).await?;
        if locked(&self.habits).gives_once {
            self.inner.remove(path).await?;
        }
        Ok(reader)
    }

    async fn try_open(&self, path: &RemotePath) -> Result<()> {
        self.scripted(Act::TryOpen, path).await?;
        self.inner.try_open(path).await
    }

    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        self.scripted(Act::BeginWrite, path).await?;
        let inner = self.inner.begin_write(path, length).await?;
        self.answered(Act::BeginWrite, Ok(()))?;
        let upload =
            ScriptedUpload { folder: self.itself(), inner, path: path.clone(), last: None, cut: false };
        Ok(Box::new(upload))
    }

    async fn resume_write(
        &self,
        path: &RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        self.scripted(Act::ResumeWrite, path).await?;
        let resumed = self.inner.resume_write(path, offset, length).await?;
        let scripted = |inner| ScriptedUpload {
            folder: self.itself(),
            inner,
            path: path.clone(),
            last: None,
            cut: false,
        };
        Ok(resumed.map(|inner| Box::new(scripted(inner)) as Box<dyn Upload>))
    }

    async fn append(&self, path: &RemotePath, end: u64) -> Result<Option<Box<dyn Upload>>> {
        self.scripted(Act::Append, path).await?;
        let begun = self.inner.append(path, end).await?;
        let scripted = |inner| ScriptedUpload {
            folder: self.itself(),
            inner,
            path: path.clone(),
            last: None,
            cut: false,
        };
        Ok(begun.map(|inner| Box::new(scripted(inner)) as Box<dyn Upload>))
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        self.scripted(Act::Publish, temporary).await?;
        match self.next_publish() {
            None => self.inner.publish(temporary, name, overwrite).await,
            Some(PublishAnswer::Exists) => Ok(Published::Exists),
            Some(PublishAnswer::UnknownNotDone) => Ok(Published::Unknown),
            Some(PublishAnswer::UnknownDone) => {
                self.inner.publish(temporary, name, overwrite).await.map(|_| Published::Unknown)
            }
        }
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        self.scripted(Act::Rename, from).await?;
        if locked(&self.habits).refuses_renames {
            let fault = Fault { kind: ErrorKind::Unsupported, retry: Retry::Permanent };
            return Err(fault.error("rename in a scripted folder"));
        }
        let done = self.inner.rename(from, to).await;
        self.answered(Act::Rename, done)
    }

    async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<()> {
        self.scripted(Act::SetModified, path).await?;
        self.inner.set_modified(path, modified).await
    }

    async fn checksum(&self, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        self.scripted(Act::Checksum, path).await?;
        let kind = locked(&self.habits).computes;
        let Some(kind) = kind else { return self.inner.checksum(path).await };
        let mut content = Vec::new();
        self.inner
            .read(path, 0)
            .await?
            .read_to_end(&mut content)
            .await
            .map_err(|error| model::Error::local_io("read a file of a scripted folder", error))?;
        let digest = match kind {
            ChecksumKind::Sha256 => MessageDigest::sha256(),
            ChecksumKind::Sha512 => MessageDigest::sha512(),
            ChecksumKind::Sha1 => MessageDigest::sha1(),
            ChecksumKind::Md5 => MessageDigest::md5(),
        };
        let value = hash(digest, &content)
            .map_err(|error| model::Error::local_io("hash a file of a scripted folder", error.into()))?;
        Ok(Some(ServerChecksum { kind, value: value.to_vec() }))
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        self.scripted(Act::Remove, path).await?;
        let done = self.inner.remove(path).await;
        self.answered(Act::Remove, done)
    }

    async fn release_lock(&self, path: &RemotePath, lock: &str) -> Result<()> {
        self.inner.release_lock(path, lock).await
    }

    async fn remove_version(&self, path: &RemotePath, version: Option<&str>) -> Result<bool> {
        self.scripted(Act::Remove, path).await?;
        let done = self.inner.remove_version(path, version).await;
        self.answered(Act::Remove, done)
    }

    async fn sync_directory(&self, directory: &RemotePath) -> Result<()> {
        self.scripted(Act::SyncDirectory, directory).await?;
        self.inner.sync_directory(directory).await
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        self.scripted(Act::MakeDirectory, path).await?;
        let done = self.inner.make_directory(path).await;
        self.answered(Act::MakeDirectory, done)
    }
}

fn told(mut entry: Entry, tellings: &[Arc<Telling>]) -> Entry {
    for telling in tellings {
        telling(&mut entry);
    }
    entry
}
