//! SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02): requests written, answers cut out of the
//! channel's bytes. Names and handles are bytes, as the protocol has them.
//!
//! File data is never copied here: an answer's data stays in the pieces that the SSH layer decrypted.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;

pub(crate) const INIT: u8 = 1;
pub(crate) const VERSION: u8 = 2;
pub(crate) const OPEN: u8 = 3;
pub(crate) const CLOSE: u8 = 4;
pub(crate) const READ: u8 = 5;
pub(crate) const WRITE: u8 = 6;
pub(crate) const LSTAT: u8 = 7;
pub(crate) const FSTAT: u8 = 8;
pub(crate) const SETSTAT: u8 = 9;
pub(crate) const FSETSTAT: u8 = 10;
pub(crate) const OPENDIR: u8 = 11;
pub(crate) const READDIR: u8 = 12;
pub(crate) const REMOVE: u8 = 13;
pub(crate) const MKDIR: u8 = 14;
pub(crate) const REALPATH: u8 = 16;
pub(crate) const RENAME: u8 = 18;
pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED: u8 = 200;
pub(crate) const EXTENDED_REPLY: u8 = 201;

pub(crate) const OPEN_READ: u32 = 0x01;
pub(crate) const OPEN_WRITE: u32 = 0x02;
pub(crate) const OPEN_APPEND: u32 = 0x04;
pub(crate) const OPEN_CREATE: u32 = 0x08;
pub(crate) const OPEN_TRUNCATE: u32 = 0x10;
pub(crate) const OPEN_EXCLUSIVE: u32 = 0x20;

const ATTR_SIZE: u32 = 0x0000_0001;
const ATTR_OWNER: u32 = 0x0000_0002;
const ATTR_PERMISSIONS: u32 = 0x0000_0004;
const ATTR_TIMES: u32 = 0x0000_0008;
/// Flags of version 4, which servers send in version 3 too: when it was made, when it was changed.
const ATTR_LATER_CREATED: u32 = 0x0000_0010;
const ATTR_LATER_MODIFIED: u32 = 0x0000_0020;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// Largest packet taken from a server: what OpenSSH itself sends at most, and some air. A length above
/// it is no SFTP (a login script that prints text gives such lengths).
pub(crate) const PACKET_LIMIT: usize = 256 * 1024 + 4096;

/// Bytes of a READ request's answer that are not data, and of a WRITE request's that are not: length,
/// type, id, handle (256 at most), offset, length. Kept free in the server's packet limit.
pub(crate) const OVERHEAD: usize = 512;

/// The server's bytes are no SFTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed SFTP packet: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// A request being written.
pub(crate) struct Request(BytesMut);

impl Request {
    /// Begins a packet. `id` is the protocol version for [`INIT`].
    pub(crate) fn new(kind: u8, id: u32, room: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(9 + room);
        bytes.put_u32(0);
        bytes.put_u8(kind);
        bytes.put_u32(id);
        Self(bytes)
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    pub(crate) fn string(mut self, bytes: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.put_slice(bytes);
        self
    }

    /// Attributes that say nothing.
    pub(crate) fn no_attributes(self) -> Self {
        self.u32(0)
    }

    /// Attributes that set the permission bits.
    pub(crate) fn permissions(self, mode: u32) -> Self {
        self.u32(ATTR_PERMISSIONS).u32(mode)
    }

    /// Attributes that set user and group.
    pub(crate) fn owner(self, (user, group): (u32, u32)) -> Self {
        self.u32(ATTR_OWNER).u32(user).u32(group)
    }

    /// Attributes that set both times, of the last reading and the last change, in seconds since 1970.
    pub(crate) fn times(self, seconds: u32) -> Self {
        self.u32(ATTR_TIMES).u32(seconds).u32(seconds)
    }

    /// The packet with its length filled in.
    pub(crate) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.freeze()
    }
}

/// One answer: its type, the request it answers, and the rest. For [`DATA`] the rest is the data alone,
/// its length taken off and checked.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) body: Vec<Bytes>,
}

impl Response {
    /// The body as one piece, copied when it came in several.
    pub(crate) fn flat(mut self) -> Bytes {
        if self.body.len() == 1 { self.body.swap_remove(0) } else { self.body.concat().into() }
    }

    /// Bytes in the body.
    pub(crate) fn len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}

/// Cuts answers out of the channel's bytes.
#[derive(Default)]
pub(crate) struct Assembler {
    held: VecDeque<Bytes>,
    length: usize,
}

impl Assembler {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.held.push_back(bytes);
        }
    }

    /// The next whole answer, when it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Response>, Malformed> {
        let Some(head) = self.peek::<9>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if !(5..=PACKET_LIMIT).contains(&length) {
            return Err(Malformed("impossible length"));
        }
        if self.length < 4 + length {
            return Ok(None);
        }
        let kind = head[4];
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        self.skip(9);
        let mut rest = length - 5;
        if kind == DATA {
            let Some(size) = (rest >= 4).then(|| self.peek::<4>()).flatten() else {
                return Err(Malformed("data without a length"));
            };
            self.skip(4);
            rest -= 4;
            if u32::from_be_bytes(size) as usize != rest {
                return Err(Malformed("data of another length than it says"));
            }
        }
        Ok(Some(Response { kind, id, body: self.take(rest) }))
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if self.length < N {
            return None;
        }
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(self.held.iter().flatten()) {
            *to = *from;
        }
        Some(bytes)
    }

    fn skip(&mut self, count: usize) {
        drop(self.take(count));
    }

    fn take(&mut self, mut count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while count > 0 {
            let Some(mut first) = self.held.pop_front() else { break };
            if first.len() > count {
                taken.push(first.split_to(count));
                self.held.push_front(first);
                self.length -= count;
                break;
            }
            count -= first.len();
            self.length -= first.len();
            taken.push(first);
        }
        taken
    }
}

/// How the flags of version 4 are meant in an answer of version 3. WS_FTP sends a time of 64 bits for each; there are
/// devices that set a flag and send nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LaterFlags {
    WithTimes,
    Empty,
}

/// Reads the fields of an answer's body.
#[derive(Clone)]
pub(crate) struct Fields(Bytes);

impl Fields {
    pub(crate) fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.cut(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    pub(crate) fn string(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u32()? as usize;
        self.cut(length)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn cut(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length {
            return Err(Malformed("ends too early"));
        }
        Ok(self.0.split_to(length))
    }

    fn attributes(&mut self, later: LaterFlags) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & ATTR_SIZE != 0 {
            attributes.size = Some(self.u64()?);
        }
        if flags & ATTR_OWNER != 0 {
            attributes.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & ATTR_PERMISSIONS != 0 {
            attributes.permissions = Some(self.u32()?);
        }
        if flags & ATTR_TIMES != 0 {
            self.u32()?;
            attributes.modified = Some(self.u32()?);
        }
        if later == LaterFlags::WithTimes {
            if flags & ATTR_LATER_CREATED != 0 {
                self.u64()?;
            }
            if flags & ATTR_LATER_MODIFIED != 0 {
                let modified = self.u64()?;
                attributes.modified = attributes.modified.or(u32::try_from(modified).ok());
            }
        }
        if flags & ATTR_EXTENDED != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }
}

/// The attributes of a file.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) size: Option<u64>,
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
    /// Type and permission bits, as `st_mode` has them.
    pub(crate) permissions: Option<u32>,
    /// Seconds since 1970.
    pub(crate) modified: Option<u32>,
}

/// One name of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: Bytes,
    /// The line that `ls -l` would show; its first character tells the type where the attributes do not.
    pub(crate) line: Bytes,
    pub(crate) attributes: Attributes,
}

/// Reads a body in the one of both meanings of the later flags that ends where the body does.
fn read_to_its_end<T>(
    body: Bytes,
    read: impl Fn(&mut Fields, LaterFlags) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut first = None;
    for later in [LaterFlags::WithTimes, LaterFlags::Empty] {
        let mut fields = Fields::new(body.clone());
        let result = read(&mut fields, later);
        if result.is_ok() && fields.is_empty() {
            return result;
        }
        first = match first {
            Some(Ok(first)) => Some(Ok(first)),
            _ if result.is_ok() => Some(result),
            Some(earlier) => Some(earlier),
            None => Some(result),
        };
    }
    // Bytes after what was asked for say nothing, as before.
    first.unwrap_or(Err(Malformed("nothing to read")))
}

/// Reads the body of an [`ATTRS`] answer.
pub(crate) fn attributes(body: Bytes) -> Result<Attributes, Malformed> {
    read_to_its_end(body, Fields::attributes)
}

/// Reads the body of a [`NAME`] answer.
pub(crate) fn names(body: Bytes) -> Result<Vec<Named>, Malformed> {
    read_to_its_end(body, |fields, later| {
        let count = fields.u32()? as usize;
        // The count is the server's word: memory follows what really came.
        let mut names = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let name = fields.string()?;
            let line = fields.string()?;
            let attributes = fields.attributes(later)?;
            names.push(Named { name, line, attributes });
        }
        Ok(names)
    })
}

#[cfg(test)]
mod tests;
