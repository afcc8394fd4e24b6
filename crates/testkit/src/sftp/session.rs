//! One SFTP session: requests carried out on this machine's disk, one after the other.

mod request;

use super::attributes::Attributes;
use super::switches::{Op, ReportedIn, Switch, Switches};
use super::wire::{self, Fields, Packet};
use request::Request;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};

/// Names in one answer to READDIR: few, so that a listing comes in several.
const PAGE: usize = 20;

/// Most data in one answer to READ.
const DATA_LIMIT: u32 = 256 * 1024;

const EOF: u32 = 1;
const FAILURE: u32 = 4;

/// Serves a channel until it ends.
pub(super) async fn serve(
    mut channel: impl AsyncRead + AsyncWrite + Unpin,
    switches: Arc<Switches>,
) -> io::Result<()> {
    let mut session = Session { switches, open: HashMap::new(), next: 0 };
    while let Some(packet) = wire::read(&mut channel).await? {
        match session.answer(&packet)? {
            Turn::Answer(answer) => wire::write(&mut channel, &answer).await?,
            Turn::End => return Ok(()),
            Turn::Silence => std::future::pending::<()>().await,
        }
    }
    Ok(())
}

/// What follows a request.
enum Turn {
    Answer(Packet),
    /// The connection ends.
    End,
    /// Nothing, for good.
    Silence,
}

/// What a handle stands for.
enum Opened {
    File { file: File, path: PathBuf, written: bool, read: bool },
    Directory { path: PathBuf, left: Vec<PathBuf> },
}

impl Opened {
    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Directory { path, .. } => path,
        }
    }
}

struct Session {
    switches: Arc<Switches>,
    open: HashMap<Vec<u8>, Opened>,
    next: u64,
}

/// Why a request is answered with a status: its code and words.
struct Refused(u32, String);

type Answer = Result<Packet, Refused>;

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => 2,
            io::ErrorKind::PermissionDenied => 3,
            _ => FAILURE,
        };
        Self(code, error.to_string())
    }
}

fn set_time(path: &Path, modified: SystemTime) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_modified(modified)
}

fn status(id: u32, code: u32, words: &str) -> Packet {
    Packet::new(101).u32(id).u32(code).string(words.as_bytes()).string(b"")
}

impl Session {
    /// What follows a packet.
    fn answer(&mut self, packet: &[u8]) -> io::Result<Turn> {
        let mut fields = Fields(packet);
        let kind = fields.u8()?;
        if kind == 1 {
            return self.greet().map(Turn::Answer);
        }
        let mut request = self.read(kind, fields)?;
        let (id, op) = (request.id, request.op);
        self.switches.saw(op, &request.path);
        if !self.is_within_limits(packet, &request)? {
            return Ok(Turn::End);
        }
        if let Some(turn) = self.unanswered(&request, &Switch::CutBefore(op), &Switch::SilentBefore(op)) {
            return Ok(turn);
        }
        let refused = self.set(&request, |switch| match switch {
            Switch::Status(of, code, words) if *of == op => Some((*code, *words)),
            _ => None,
        });
        if let Some((code, words)) = refused {
            return Ok(Turn::Answer(status(id, code, words)));
        }
        let answer = self.carry_out(&mut request);
        if let Some(turn) = self.unanswered(&request, &Switch::CutAfter(op), &Switch::SilentAfter(op)) {
            return Ok(turn);
        }
        let after = self.set(&request, |switch| match switch {
            Switch::StatusAfter(of, code, words) if *of == op => Some((*code, *words)),
            _ => None,
        });
        Ok(Turn::Answer(match (after, answer) {
            (Some((code, words)), _) => status(id, code, words),
            (None, Ok(answer)) => answer,
            (None, Err(Refused(2, words))) => {
                let missing = self.set(&request, |switch| match switch {
                    Switch::MissingIs(code, words) => Some((*code, *words)),
                    _ => None,
                });
                let (code, words) = missing.unwrap_or((2, &words));
                status(id, code, words)
            }
            (None, Err(Refused(code, words))) => status(id, code, &words),
        }))
    }

    /// Whether a request is not to be answered.
    fn unanswered(&self, request: &Request<'_>, cut: &Switch, silent: &Switch) -> Option<Turn> {
        self.set(request, |switch| match switch {
            switch if switch == cut => Some(Turn::End),
            switch if switch == silent => Some(Turn::Silence),
            _ => None,
        })
    }

    fn greet(&self) -> io::Result<Packet> {
        let extensions = self.switches.greeting(|greeting| greeting.extensions.clone());
        let version = |name: &str| if name.starts_with("statvfs@") { b"2" } else { b"1" };
        Ok(extensions
            .iter()
            .fold(Packet::new(2).u32(3), |packet, name| packet.string(name.as_bytes()).string(version(name))))
    }

    /// Whether a request is within the limits that were told.
    fn is_within_limits(&self, packet: &[u8], request: &Request<'_>) -> io::Result<bool> {
        let [longest, read, write, handles] = self.switches.greeting(|greeting| greeting.limits);
        let within = |value: u64, limit: u64| limit == 0 || value <= limit;
        let mut rest = request.rest;
        Ok(within(packet.len() as u64, longest)
            && match request.op {
                Op::Read => {
                    rest.u64()?;
                    within(rest.u32()?.into(), read)
                }
                Op::Write => {
                    rest.u64()?;
                    within(rest.string()?.len() as u64, write)
                }
                Op::OpenRead | Op::OpenWrite | Op::Opendir => within(self.open.len() as u64 + 1, handles),
                _ => true,
            })
    }

    /// A switch for a request: by its path, or by the new name of a RENAME.
    fn set<T>(&self, request: &Request<'_>, pick: impl Fn(&Switch) -> Option<T>) -> Option<T> {
        let to = || request.to.as_ref().and_then(|to| self.switches.find(to, &pick));
        self.switches.find(&request.path, &pick).or_else(to)
    }

    fn carry_out(&mut self, request: &mut Request<'_>) -> Answer {
        let (id, path) = (request.id, request.path.clone());
        let done = || Ok(status(id, 0, "Success"));
        match request.op {
            Op::OpenRead | Op::OpenWrite => self.open(request),
            Op::CloseRead | Op::CloseWrite => self.close(request),
            Op::Read => self.give(request),
            Op::Write => {
                let (offset, data) = (request.rest.u64()?, request.rest.string()?);
                self.file(request)?.write_all_at(data, offset)?;
                done()
            }
            Op::Stat => {
                let found = fs::symlink_metadata(&path)?;
                Ok(self.attributes(id, &path, &found, ReportedIn::STAT))
            }
            Op::Fstat => {
                let found = self.file(request)?.metadata()?;
                Ok(self.attributes(id, &path, &found, ReportedIn::FSTAT))
            }
            Op::Setstat => {
                let flags = request.rest.u32()?;
                if flags & 2 != 0 {
                    let (user, group) = (request.rest.u32()?, request.rest.u32()?);
                    std::os::unix::fs::chown(&path, Some(user), Some(group))?;
                }
                if flags & 4 != 0 {
                    let mode = request.rest.u32()?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
                }
                if flags & 8 != 0 {
                    let (_, modified) = (request.rest.u32()?, request.rest.u32()?);
                    set_time(&path, UNIX_EPOCH + Duration::from_secs(u64::from(modified)))?;
                }
                done()
            }
            Op::Opendir => {
                let mut left: Vec<PathBuf> =
                    fs::read_dir(&path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
                left.retain(|entry| !self.switches.is_on(entry, &Switch::NotListed));
                left.sort();
                left.reverse();
                Ok(self.opened(id, Opened::Directory { path, left }))
            }
            Op::Readdir => self.page(request),
            Op::Remove => {
                fs::remove_file(&path)?;
                done()
            }
            Op::Mkdir => {
                fs::create_dir(&path)?;
                done()
            }
            Op::Rmdir => {
                fs::remove_dir(&path)?;
                done()
            }
            Op::Realpath => {
                let inside = path.strip_prefix(&self.switches.root).unwrap_or(&path);
                let mut name = [b"/", inside.as_os_str().as_bytes()].concat();
                if self.switches.greeting(|greeting| greeting.windows) {
                    name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'\\');
                    name.splice(..0, *b"C:");
                }
                Ok(Packet::new(104).u32(id).u32(1).string(&name).string(&name).u32(0))
            }
            Op::Rename | Op::PosixRename => {
                let to = request.to.clone().unwrap_or_default();
                let replaces = request.op == Op::PosixRename
                    || self
                        .set(request, |switch| (*switch == Switch::RenameReplaces).then_some(()))
                        .is_some();
                fs::symlink_metadata(&path)?;
                if !replaces && fs::symlink_metadata(&to).is_ok() {
                    return Err(Refused(FAILURE, "Failure".into()));
                }
                fs::rename(&path, &to)?;
                if self.set(request, |switch| (*switch == Switch::RenameTouches).then_some(())).is_some() {
                    set_time(&to, SystemTime::now())?;
                }
                done()
            }
            Op::Fsync => {
                self.file(request)?.sync_all()?;
                done()
            }
            Op::Statvfs => {
                let free = self.switches.greeting(|greeting| greeting.free);
                let numbers = [4096, 1, u64::MAX, free, free, 1000, 1000, 1000, 0, 0, 255];
                Ok(numbers.iter().fold(Packet::new(201).u32(id), |packet, number| packet.u64(*number)))
            }
            Op::Limits => {
                let limits = self.switches.greeting(|greeting| greeting.limits);
                Ok(limits.iter().fold(Packet::new(201).u32(id), |packet, limit| packet.u64(*limit)))
            }
            Op::Other => Err(Refused(8, "Operation unsupported".into())),
        }
    }

    fn attributes(&self, id: u32, path: &Path, found: &Metadata, place: ReportedIn) -> Packet {
        Attributes::of(&self.switches, path, found, place).write(Packet::new(105).u32(id))
    }

    fn opened(&mut self, id: u32, opened: Opened) -> Packet {
        self.next += 1;
        let handle = format!("handle {}", self.next).into_bytes();
        let packet = Packet::new(102).u32(id).string(&handle);
        self.open.insert(handle, opened);
        packet
    }

    fn file(&self, request: &Request<'_>) -> Result<&File, Refused> {
        match self.open.get(request.handle) {
            Some(Opened::File { file, .. }) => Ok(file),
            _ => Err(Refused(FAILURE, "Invalid handle".into())),
        }
    }

    fn open(&mut self, request: &mut Request<'_>) -> Answer {
        let (flags, path) = (request.rest.u32()?, request.path.clone());
        let attributes = request.rest.u32()?;
        let mode = if attributes == 4 { request.rest.u32()? } else { 0o644 };
        let written = request.op == Op::OpenWrite;
        let mut options = OpenOptions::new();
        options.read(flags & 1 != 0).write(written).mode(mode & 0o7777);
        options.create(flags & 8 != 0).truncate(flags & 16 != 0).create_new(flags & 32 != 0);
        let file = options.open(&path)?;
        if !written && self.switches.is_on(&path, &Switch::GoneWhenOpened) {
            fs::remove_file(&path)?;
        }
        Ok(self.opened(request.id, Opened::File { file, path, written, read: false }))
    }

    fn close(&mut self, request: &Request<'_>) -> Answer {
        let path = &request.path;
        match self.open.remove(request.handle) {
            Some(Opened::File { written: true, .. }) => {
                let moved = self.switches.find(path, |switch| match switch {
                    Switch::MovedWhenWritten(to) => Some(to.as_bytes().to_vec()),
                    _ => None,
                });
                if let Some(to) = moved {
                    let to = self.resolve(&to);
                    fs::create_dir_all(to.parent().unwrap_or(&to))?;
                    fs::rename(path, to)?;
                } else if self.switches.is_on(path, &Switch::GoneWhenWritten) {
                    fs::remove_file(path)?;
                }
            }
            Some(Opened::File { read: true, .. }) if self.switches.is_on(path, &Switch::GoneAfterReading) => {
                fs::remove_file(path)?;
            }
            Some(_) => {}
            None => return Err(Refused(FAILURE, "Invalid handle".into())),
        }
        Ok(status(request.id, 0, "Success"))
    }

    /// Answers a READ.
    fn give(&mut self, request: &mut Request<'_>) -> Answer {
        let (offset, wanted) = (request.rest.u64()?, request.rest.u32()?);
        let path = &request.path;
        let short = self.switches.find(path, |switch| match switch {
            Switch::ShortReads(most) => Some(*most),
            _ => None,
        });
        let end = self.switches.find(path, |switch| match switch {
            Switch::EndsAt(end) => Some(*end),
            _ => None,
        });
        let left = end.map_or(u64::MAX, |end| end.saturating_sub(offset));
        let wanted = u64::from(wanted.min(DATA_LIMIT).min(short.unwrap_or(u32::MAX))).min(left);
        let Some(Opened::File { file, read, .. }) = self.open.get_mut(request.handle) else {
            return Err(Refused(FAILURE, "Invalid handle".into()));
        };
        *read = true;
        let is_empty = self.switches.find(path, |switch| match switch {
            Switch::EmptyFrom(from) if offset >= *from => Some(()),
            _ => None,
        });
        if is_empty.is_some() {
            return Ok(Packet::new(103).u32(request.id).string(b""));
        }
        let mut data = vec![0; usize::try_from(wanted).unwrap_or(0)];
        let given = file.read_at(&mut data, offset)?;
        let at_end = offset + given as u64 >= end.unwrap_or(u64::MAX).min(file.metadata()?.len());
        if at_end && self.switches.is_on(path, &Switch::GoneWhenRead) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        match given {
            0 if self.switches.is_on(path, &Switch::EndIsEmpty) => {
                Ok(Packet::new(103).u32(request.id).string(b""))
            }
            0 => {
                let end = self.switches.find(path, |switch| match switch {
                    Switch::EndIs(code, words) => Some((*code, *words)),
                    _ => None,
                });
                let (code, words) = end.unwrap_or((EOF, "End of file"));
                Err(Refused(code, words.into()))
            }
            given => Ok(Packet::new(103).u32(request.id).string(&data[..given])),
        }
    }

    /// Answers a READDIR.
    fn page(&mut self, request: &Request<'_>) -> Answer {
        let Some(Opened::Directory { left, .. }) = self.open.get_mut(request.handle) else {
            return Err(Refused(FAILURE, "Invalid handle".into()));
        };
        if self.switches.is_on(Path::new(""), &Switch::DotPages) {
            let names = Packet::new(104)
                .u32(request.id)
                .u32(1)
                .string(b".")
                .string(b"drwxr-xr-x 2 u g 0 Jan 1 2026 .");
            return Ok(names.u32(0));
        }
        let mut entries = Vec::new();
        while entries.len() < PAGE {
            let Some(path) = left.pop() else { break };
            // Gone since the directory was opened.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            entries.push((path, found));
        }
        if entries.is_empty() {
            return Err(Refused(EOF, "End of file".into()));
        }
        let mut packet = Packet::new(104).u32(request.id).u32(u32::try_from(entries.len()).unwrap_or(0));
        for (path, found) in entries {
            let name = self.switches.find(&path, |switch| match switch {
                Switch::ListedAs(name) => Some(name.as_bytes()),
                _ => None,
            });
            let name = name.or_else(|| path.file_name().map(OsStr::as_bytes)).unwrap_or_default();
            let told = Attributes::of(&self.switches, &path, &found, ReportedIn::LISTING);
            packet = packet.string(name).string(&told.line(&self.switches, &path, &found));
            packet = told.write(packet);
        }
        Ok(packet)
    }
}
