//! What a request asks for, and of which path.

use super::{Opened, Session};
use crate::sftp::switches::Op;
use crate::sftp::wire::Fields;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A request as far as every kind of it is read alike.
pub(super) struct Request<'a> {
    pub(super) id: u32,
    pub(super) op: Op,
    pub(super) path: PathBuf,
    /// RENAME's new name.
    pub(super) to: Option<PathBuf>,
    pub(super) handle: &'a [u8],
    pub(super) rest: Fields<'a>,
}

impl Session {
    pub(super) fn read<'a>(&self, kind: u8, mut fields: Fields<'a>) -> io::Result<Request<'a>> {
        let id = fields.u32()?;
        let mut op = match kind {
            3 => Op::OpenRead,
            4 => Op::CloseRead,
            5 => Op::Read,
            6 => Op::Write,
            7 | 17 => Op::Stat,
            8 => Op::Fstat,
            9 | 10 => Op::Setstat,
            11 => Op::Opendir,
            12 => Op::Readdir,
            13 => Op::Remove,
            14 => Op::Mkdir,
            15 => Op::Rmdir,
            16 => Op::Realpath,
            18 => Op::Rename,
            _ => Op::Other,
        };
        if kind == 200 {
            op = match fields.string()? {
                b"posix-rename@openssh.com" => Op::PosixRename,
                b"fsync@openssh.com" => Op::Fsync,
                b"statvfs@openssh.com" => Op::Statvfs,
                b"limits@openssh.com" => Op::Limits,
                _ => Op::Other,
            };
        }
        if matches!(op, Op::Other | Op::Limits) {
            let (path, rest) = (self.switches.root.clone(), Fields(&[]));
            return Ok(Request { id, op, path, to: None, handle: b"", rest });
        }
        let first = fields.string()?;
        let by_handle = matches!(kind, 4 | 5 | 6 | 8 | 10 | 12) || op == Op::Fsync;
        if !by_handle {
            let path = self.resolve(first);
            let to = match op {
                Op::Rename | Op::PosixRename => Some(self.resolve(fields.string()?)),
                _ => None,
            };
            if op == Op::OpenRead && Fields(fields.0).u32()? & 2 != 0 {
                op = Op::OpenWrite;
            }
            return Ok(Request { id, op, path, to, handle: b"", rest: fields });
        }
        let opened = self.open.get(first);
        if op == Op::CloseRead && matches!(opened, Some(Opened::File { written: true, .. })) {
            op = Op::CloseWrite;
        }
        let path = opened.map_or_else(|| self.switches.root.clone(), |opened| opened.path().to_owned());
        Ok(Request { id, op, path, to: None, handle: first, rest: fields })
    }

    /// Where a path lies on the disk; none leads out of the served directory.
    pub(super) fn resolve(&self, path: &[u8]) -> PathBuf {
        let mut path = path.to_vec();
        if self.switches.greeting(|greeting| greeting.windows) {
            path.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
            let start = usize::from(path.first() == Some(&b'/'));
            if path[start..].starts_with(b"C:") {
                path.drain(..start + 2);
            }
        }
        let path = path.as_slice();
        let mut resolved = self.switches.root.clone();
        for part in Path::new(OsStr::from_bytes(path)).components() {
            match part {
                Component::Normal(name) => resolved.push(name),
                Component::ParentDir if resolved != self.switches.root => {
                    resolved.pop();
                }
                _ => {}
            }
        }
        resolved
    }
}
