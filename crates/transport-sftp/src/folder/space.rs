//! Whether there is room for a large file, asked before its first byte is sent.

use super::Lease;
use crate::protocol::fault::Fault;
use model::{Error, ErrorKind, RemotePath, Result};

/// From this size on the server is asked: below it, asking would take longer than the write that fails.
const LARGE: u64 = 4 * 1024 * 1024;

/// Checks that the file system has room for a file of this length, where the server tells (`statvfs@openssh.com`).
///
/// # Errors
/// `StorageFull`, transient, as a write without room: others may make room. The server did not answer.
pub(super) async fn check(lease: &Lease, path: &RemotePath, length: Option<u64>) -> Result<()> {
    const OPERATION: &str = "begin a file: there is no room for it";
    let Some(length) = length.filter(|length| *length >= LARGE) else { return Ok(()) };
    if !lease.client().abilities().statvfs {
        return Ok(());
    }
    let directory = path.parent().unwrap_or_default();
    match lease.client().free_bytes(&directory).await {
        Ok(Some(free)) if free < length => Err(Error::transient(ErrorKind::StorageFull, OPERATION)
            .with("host", &lease.target().host)
            .with("path", path)
            .with("bytes", length)
            .with("free bytes", free)
            .on_connection(lease.target().connection)
            .advice("the destination's disk is full; nothing was sent. It is tried again later; ask the server's operator to make room")),
        Ok(_) | Err(Fault::Refused(_) | Fault::Malformed(_)) => Ok(()),
        Err(fault) => Err(fault.error("ask for the free space of a file system", lease.target(), Some(&directory))),
    }
}
