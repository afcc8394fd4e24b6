//! An SFTP version 3 client over one SSH channel: any number of requests at once, each answered by its
//! number.
//!
//! What goes back and forth beneath is in `exchange`.

use super::exchange::{self, Awaited, Shared, UNAWAITED, close_unawaited};
use super::fault::{Fault, Refusal, code};
use super::packet::{self, Attributes, Fields, Malformed, Named, Request, Response};
use bytes::Bytes;
use model::RemotePath;
use russh::Channel;
use russh::client::Msg;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Data that every SFTP server must take and give in one packet (section 3 of the draft).
const COMMON_DATA: u32 = 32 * 1024;

/// Data in one packet, however little a server says that it takes.
const SMALLEST_DATA: u32 = 1024;

/// What a server says that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) posix_rename: bool,
    pub(crate) fsync: bool,
    /// Whether it tells how much room a file system has.
    pub(crate) statvfs: bool,
    /// Whether RENAME is known to fail where the target exists, in one step.
    pub(crate) rename_refuses: bool,
    limits: bool,
    /// Most files and directories open at a time; `None` if the server does not say.
    pub(crate) open_handles: Option<usize>,
    /// Most data in one READ.
    pub(crate) read_size: u32,
    /// Most data in one WRITE.
    pub(crate) write_size: u32,
}

/// One SFTP session. Dropped, it closes its channel.
pub(crate) struct Client {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Bytes>,
    next: AtomicU32,
    abilities: Abilities,
    timeout: Option<Duration>,
    /// A place for each file and directory that may be open.
    handles: Arc<Semaphore>,
}

impl Client {
    /// Greets the server on a channel whose subsystem was accepted. `ended` tells, when the channel is
    /// gone, what the SSH layer knows about why.
    pub(crate) async fn start(
        channel: Channel<Msg>,
        timeout: Option<Duration>,
        is_openssh: bool,
        ended: impl Fn() -> String + Send + 'static,
    ) -> Result<Self, Fault> {
        let (shared, sender) = exchange::start(channel, ended);
        let mut client = Self {
            shared,
            outgoing: sender,
            next: AtomicU32::new(1),
            abilities: Abilities { read_size: COMMON_DATA, write_size: COMMON_DATA, ..Abilities::default() },
            timeout,
            handles: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        client.greet(is_openssh).await?;
        Ok(client)
    }

    async fn greet(&mut self, is_openssh: bool) -> Result<(), Fault> {
        // The version takes the place of the request's number in this one packet, and in its answer.
        let answer = self.send_as(3, Request::new(packet::INIT, 3, 0)).await?.await?;
        if answer.kind != packet::VERSION {
            return Err(Malformed("no version").into());
        }
        let mut fields = Fields::new(answer.flat());
        while !fields.is_empty() {
            let (name, data) = (fields.string()?, fields.string()?);
            match (&name[..], &data[..]) {
                (b"posix-rename@openssh.com", b"1") => self.abilities.posix_rename = true,
                (b"fsync@openssh.com", b"1") => self.abilities.fsync = true,
                (b"statvfs@openssh.com", b"2") => self.abilities.statvfs = true,
                // Its own SFTP server, which renames by link(2): that fails where the name exists.
                (b"hardlink@openssh.com", b"1") => self.abilities.rename_refuses = is_openssh,
                (b"limits@openssh.com", b"1") => self.abilities.limits = true,
                _ => {}
            }
        }
        if self.abilities.limits {
            // A connection on which no answer comes is lost.
            let answer = self.ask(packet::EXTENDED, 32, |r| r.string(b"limits@openssh.com")).await?;
            if answer.kind == packet::EXTENDED_REPLY {
                self.limit(&mut Fields::new(answer.flat()));
            }
        }
        Ok(())
    }

    /// Keeps to what the server says in its answer to `limits@openssh.com`. 0, or an answer that ends early, says
    /// nothing; then what every server must take stands.
    fn limit(&mut self, fields: &mut Fields) {
        let mut next = || fields.u64().unwrap_or_default();
        let (whole, read, write, handles) = (next(), next(), next(), next());
        let most = packet::PACKET_LIMIT as u64;
        let room = if whole == 0 { most } else { whole.min(most) }.saturating_sub(packet::OVERHEAD as u64);
        let size = |said: u64| {
            let said = if said == 0 { COMMON_DATA.into() } else { said };
            u32::try_from(said.min(room)).unwrap_or(COMMON_DATA).max(SMALLEST_DATA)
        };
        self.abilities.read_size = size(read);
        self.abilities.write_size = size(write);
        self.abilities.open_handles = usize::try_from(handles).ok().filter(|handles| *handles > 0);
        if let Some(handles) = self.abilities.open_handles {
            self.handles = Arc::new(Semaphore::new(handles.min(Semaphore::MAX_PERMITS)));
        }
    }

    pub(crate) fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Why the connection is gone, when it is.
    pub(crate) fn lost(&self) -> Option<Arc<str>> {
        self.shared.lost()
    }

    /// Gives the connection up: all requests that wait for an answer end with this cause.
    pub(crate) fn lose(&self, why: &str) {
        self.shared.lose(why);
    }

    /// Sends a request; its answer is awaited apart, so that many can be on their way.
    pub(crate) async fn send(
        &self,
        kind: u8,
        room: usize,
        write: impl FnOnce(Request) -> Request,
    ) -> Result<Awaited, Fault> {
        let id = match self.next.fetch_add(1, Ordering::Relaxed) {
            UNAWAITED => self.next.fetch_add(1, Ordering::Relaxed),
            id => id,
        };
        self.send_as(id, write(Request::new(kind, id, room))).await
    }

    async fn send_as(&self, id: u32, request: Request) -> Result<Awaited, Fault> {
        let queue = async { self.outgoing.reserve().await.map_err(|_| self.gone()) };
        let place = match self.timeout {
            None => queue.await?,
            Some(timeout) => match tokio::time::timeout(timeout, queue).await {
                Ok(place) => place?,
                // The server takes nothing more: it will not take this either.
                Err(_) => return Err(self.silent(timeout)),
            },
        };
        let answer = self.shared.expect(id, self.timeout)?;
        place.send(request.finish());
        Ok(answer)
    }

    fn silent(&self, timeout: Duration) -> Fault {
        self.shared.silence(timeout)
    }

    fn gone(&self) -> Fault {
        Fault::Lost(self.lost().unwrap_or_else(|| "the connection is closed".into()))
    }

    async fn ask(
        &self,
        kind: u8,
        room: usize,
        write: impl FnOnce(Request) -> Request,
    ) -> Result<Response, Fault> {
        self.send(kind, room, write).await?.await
    }

    async fn ask_path(&self, kind: u8, path: &RemotePath) -> Result<Response, Fault> {
        let path = wire(path);
        self.ask(kind, path.len() + 4, |r| r.string(path)).await
    }

    /// Opens a file by the flags of [`packet`], giving a new one these permissions.
    pub(crate) async fn open(
        &self,
        path: &RemotePath,
        flags: u32,
        permissions: Option<u32>,
    ) -> Result<FileHandle, Fault> {
        let path = wire(path);
        let place = self.place_for_handle().await?;
        let answer = self
            .ask(packet::OPEN, path.len() + 16, |r| {
                let r = r.string(path).u32(flags);
                match permissions {
                    Some(mode) => r.permissions(mode),
                    None => r.no_attributes(),
                }
            })
            .await?;
        self.handle(answer, place)
    }

    /// Opens a directory for [`Client::read_directory`].
    pub(crate) async fn open_directory(&self, path: &RemotePath) -> Result<FileHandle, Fault> {
        let place = self.place_for_handle().await?;
        let answer = self.ask_path(packet::OPENDIR, path).await?;
        self.handle(answer, place)
    }

    /// Waits until one more file may be open, no longer than for an answer.
    async fn place_for_handle(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let place = Arc::clone(&self.handles).acquire_owned();
        let full = || Fault::TooManyOpen(self.abilities.open_handles.unwrap_or_default());
        match self.timeout {
            None => place.await.map_err(|_| full()),
            Some(timeout) => match tokio::time::timeout(timeout, place).await {
                Ok(Ok(place)) => Ok(place),
                Ok(Err(_)) | Err(_) => Err(full()),
            },
        }
    }

    fn handle(&self, answer: Response, place: OwnedSemaphorePermit) -> Result<FileHandle, Fault> {
        if answer.kind != packet::HANDLE {
            return Err(unexpected(answer));
        }
        let handle = Fields::new(answer.flat()).string()?;
        // The draft's bound; a longer one would not leave room for data in a packet.
        if handle.len() > 256 {
            return Err(Malformed("a handle longer than 256 bytes").into());
        }
        Ok(FileHandle { handle, outgoing: self.outgoing.downgrade(), open: true, _place: place })
    }

    /// Asks for the next names; `None` at the end.
    pub(crate) async fn read_directory(&self, handle: &FileHandle) -> Result<Awaited, Fault> {
        self.send(packet::READDIR, 260, |r| r.string(&handle.handle)).await
    }

    /// Asks for bytes.
    pub(crate) async fn read(&self, handle: &FileHandle, offset: u64, length: u32) -> Result<Awaited, Fault> {
        self.send(packet::READ, 280, |r| r.string(&handle.handle).u64(offset).u32(length)).await
    }

    /// Sends bytes.
    pub(crate) async fn write(
        &self,
        handle: &FileHandle,
        offset: u64,
        data: &[u8],
    ) -> Result<Awaited, Fault> {
        let room = handle.handle.len() + data.len() + 16;
        self.send(packet::WRITE, room, |r| r.string(&handle.handle).u64(offset).string(data)).await
    }

    /// Asks for the attributes of an open file.
    pub(crate) async fn stat_open(&self, handle: &FileHandle) -> Result<Awaited, Fault> {
        self.send(packet::FSTAT, 260, |r| r.string(&handle.handle)).await
    }

    /// Sets the permissions of an open file.
    pub(crate) async fn set_permissions(&self, handle: &FileHandle, mode: u32) -> Result<(), Fault> {
        ok(self.ask(packet::FSETSTAT, 280, |r| r.string(&handle.handle).permissions(mode)).await?)
    }

    /// Sets user and group of an open file.
    pub(crate) async fn set_owner(&self, handle: &FileHandle, owner: (u32, u32)) -> Result<(), Fault> {
        ok(self.ask(packet::FSETSTAT, 280, |r| r.string(&handle.handle).owner(owner)).await?)
    }

    /// Sets when a file was last changed, in seconds since 1970.
    pub(crate) async fn set_modified(&self, path: &RemotePath, seconds: u32) -> Result<(), Fault> {
        let path = wire(path);
        ok(self.ask(packet::SETSTAT, path.len() + 16, |r| r.string(path).times(seconds)).await?)
    }

    /// Makes the server bring an open file's bytes to its disk. Only where [`Abilities::fsync`].
    pub(crate) async fn send_sync(&self, handle: &FileHandle) -> Result<Awaited, Fault> {
        self.send(packet::EXTENDED, 300, |r| r.string(b"fsync@openssh.com").string(&handle.handle)).await
    }

    /// Closes a file; the answer can tell that its last bytes were not written.
    pub(crate) async fn close(&self, mut handle: FileHandle) -> Result<Awaited, Fault> {
        handle.open = false;
        self.send(packet::CLOSE, 260, |r| r.string(&handle.handle)).await
    }

    /// Requests the attributes of a path; symbolic links are not followed.
    pub(crate) async fn stat(&self, path: &RemotePath) -> Result<Attributes, Fault> {
        attributes(self.send_stat(path).await?.await?)
    }

    /// The same, its answer awaited apart.
    pub(crate) async fn send_stat(&self, path: &RemotePath) -> Result<Awaited, Fault> {
        let path = wire(path);
        self.send(packet::LSTAT, path.len() + 4, |r| r.string(path)).await
    }

    /// The name of a checksum and its bytes, of those that are named, the preferred one first
    /// (draft-ietf-secsh-filexfer-extensions, `check-file`). Servers that have it do not all say so when they greet.
    pub(crate) async fn check_file(
        &self,
        path: &RemotePath,
        algorithms: &[u8],
    ) -> Result<(Bytes, Bytes), Fault> {
        let path = wire(path);
        // From its beginning to its end, in one block.
        let write =
            |r: Request| r.string(b"check-file-name").string(path).string(algorithms).u64(0).u64(0).u32(0);
        let answer = self.ask(packet::EXTENDED, path.len() + algorithms.len() + 50, write).await?;
        if answer.kind != packet::EXTENDED_REPLY {
            return Err(unexpected(answer));
        }
        let mut fields = Fields::new(answer.flat());
        let first = fields.string()?;
        // The draft repeats the name of the request; not every server does.
        let algorithm = if first.starts_with(b"check-file") { fields.string()? } else { first };
        Ok((algorithm, fields.rest()))
    }

    /// Removes a file.
    pub(crate) async fn remove(&self, path: &RemotePath) -> Result<(), Fault> {
        ok(self.ask_path(packet::REMOVE, path).await?)
    }

    /// Makes a directory.
    pub(crate) async fn make_directory(&self, path: &RemotePath) -> Result<(), Fault> {
        let path = wire(path);
        ok(self.ask(packet::MKDIR, path.len() + 8, |r| r.string(path).no_attributes()).await?)
    }

    /// Renames; an existing target is an error (the draft's RENAME).
    pub(crate) async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Fault> {
        let (from, to) = (wire(from), wire(to));
        ok(self.ask(packet::RENAME, from.len() + to.len() + 8, |r| r.string(from).string(to)).await?)
    }

    /// Renames; an existing target is replaced in one step. Only where [`Abilities::posix_rename`].
    pub(crate) async fn replace(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Fault> {
        let (from, to) = (wire(from), wire(to));
        let write = |r: Request| r.string(b"posix-rename@openssh.com").string(from).string(to);
        ok(self.ask(packet::EXTENDED, from.len() + to.len() + 40, write).await?)
    }

    /// The bytes that this user may still write to the file system of a path; `None` if the server tells no numbers. Only
    /// where [`Abilities::statvfs`].
    pub(crate) async fn free_bytes(&self, path: &RemotePath) -> Result<Option<u64>, Fault> {
        let path = wire(path);
        let write = |r: Request| r.string(b"statvfs@openssh.com").string(path);
        let answer = self.ask(packet::EXTENDED, path.len() + 32, write).await?;
        if answer.kind != packet::EXTENDED_REPLY {
            return Err(unexpected(answer));
        }
        let mut fields = Fields::new(answer.flat());
        // As in statvfs(3): block size, fragment size, all blocks, free ones, those that are free for this user.
        let (block, fragment, all) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (_, free) = (fields.u64()?, fields.u64()?);
        let unit = if fragment == 0 { block } else { fragment };
        // File systems without a size of their own tell 0 for everything.
        Ok((unit > 0 && all > 0).then(|| free.saturating_mul(unit)))
    }

    /// The absolute path of a path.
    pub(crate) async fn absolute(&self, path: &RemotePath) -> Result<RemotePath, Fault> {
        let answer = self.ask_path(packet::REALPATH, path).await?;
        if answer.kind != packet::NAME {
            return Err(unexpected(answer));
        }
        match packet::names(answer.flat())?.into_iter().next() {
            Some(named) => Ok(RemotePath::from_bytes(named.name.to_vec())),
            None => Err(Malformed("no name").into()),
        }
    }
}

/// A path as it goes over the wire: the empty one is where the login starts.
fn wire(path: &RemotePath) -> &[u8] {
    if path.is_empty() { b"." } else { path.as_bytes() }
}

/// The server's no, or its yes where something else was asked for.
pub(crate) fn unexpected(answer: Response) -> Fault {
    if answer.kind != packet::STATUS {
        return Malformed("an answer of an unexpected type").into();
    }
    let mut fields = Fields::new(answer.flat());
    match fields.u32() {
        Ok(code::OK) => Malformed("'OK' without the requested data").into(),
        // Some servers leave the words out.
        Ok(code) => {
            Fault::Refused(Refusal { code, words: fields.string().unwrap_or_default(), missing: false })
        }
        Err(malformed) => malformed.into(),
    }
}

/// Whether the answer is 'OK'.
pub(crate) fn ok(answer: Response) -> Result<(), Fault> {
    let says_ok = answer.kind == packet::STATUS && answer.body.iter().flatten().take(4).eq(&[0, 0, 0, 0]);
    if says_ok { Ok(()) } else { Err(unexpected(answer)) }
}

/// Reads attributes.
pub(crate) fn attributes(answer: Response) -> Result<Attributes, Fault> {
    if answer.kind != packet::ATTRS {
        return Err(unexpected(answer));
    }
    Ok(packet::attributes(answer.flat())?)
}

/// Reads a page of names; `None` at the end of the directory.
pub(crate) fn page(answer: Response) -> Result<Option<Vec<Named>>, Fault> {
    if answer.kind == packet::NAME {
        // A page without names is how some servers say that there are no more.
        let names = packet::names(answer.flat())?;
        return Ok((!names.is_empty()).then_some(names));
    }
    match unexpected(answer) {
        fault if fault.is(code::EOF) => Ok(None),
        fault => Err(fault),
    }
}

/// An open file or directory at the server; closed when dropped.
pub(crate) struct FileHandle {
    handle: Bytes,
    outgoing: mpsc::WeakSender<Bytes>,
    open: bool,
    /// Given back when it is closed: the server carries out requests in their order.
    _place: OwnedSemaphorePermit,
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        if self.open
            && let Some(outgoing) = self.outgoing.upgrade()
        {
            close_unawaited(&outgoing, &self.handle);
        }
    }
}
