//! Errors of the file layer in terms that an operator can act on.

use crate::disk::Space;
use model::{Error, ErrorKind};
use std::io;
use std::path::Path;

/// An error of the file layer, with the path it was about.
pub(crate) fn fault(operation: &'static str, path: &Path, source: io::Error) -> Error {
    let error = Error::local_io(operation, source).with("path", path.display());
    if error.kind() == ErrorKind::StorageFull {
        error.advice(
            "free space on the file system, or shorten the retention of flows; transfers then continue by \
            themselves",
        )
    } else {
        error
    }
}

/// Less room than the settings keep free.
pub(crate) fn too_full(root: &Path, space: Space, min_free: u64, wanted: u64) -> Error {
    let error = Error::transient(ErrorKind::StorageFull, "stage a payload")
        .with("directory", root.display())
        .with("free_bytes", space.free)
        .with("kept_free_bytes", min_free);
    let error = if wanted > 0 { error.with("wanted_bytes", wanted) } else { error };
    error.advice(
        "free space on the file system, or shorten the retention of flows; transfers then continue by \
        themselves",
    )
}
