//! From what the system answers to Waybill's errors.

use model::{Error, ErrorKind, RemotePath};
use rustix::io::Errno;

/// The system's answer as Waybill's error.
pub(crate) fn failed(operation: &'static str, path: &RemotePath, errno: Errno) -> Error {
    let error = match errno {
        Errno::XDEV => outside(path),
        Errno::LOOP => Error::permanent(ErrorKind::PermissionDenied, operation)
            .advice("it is a symbolic link or a special file; Waybill reads and writes regular files only"),
        Errno::NAMETOOLONG => Error::permanent(ErrorKind::Rejected, operation)
            .advice("the name is longer than the file system allows"),
        Errno::NOTDIR => {
            Error::permanent(ErrorKind::NotFound, operation).advice("a parent of it is not a directory")
        }
        Errno::ISDIR | Errno::NOTEMPTY => {
            Error::permanent(ErrorKind::Rejected, operation).advice("a directory has that name")
        }
        Errno::DQUOT | Errno::NOSPC => Error::transient(ErrorKind::StorageFull, operation),
        Errno::INVAL => Error::permanent(ErrorKind::Rejected, operation)
            .advice("the file system does not accept the name"),
        other => return Error::local_io(operation, other.into()).with("path", path),
    };
    error.with("path", path).caused_by(std::io::Error::from(errno))
}

/// That a path leads out of what the endpoint may reach.
pub(crate) fn outside(path: &RemotePath) -> Error {
    Error::permanent(ErrorKind::PermissionDenied, "reach a path outside the allowed directory")
        .with("path", path)
}
