//! Finding a path below its root, so that no link leads out.
//!
//! Paths are resolved by the kernel (`openat2` with `RESOLVE_BENEATH`); where it cannot, part by part
//! without following any link. All functions block.

use crate::error::{failed, outside};
use model::{Error, ErrorKind, RemotePath, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Times a resolution is repeated that a rename beside it disturbed (`EAGAIN`).
const DISTURBED_LIMIT: usize = 32;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where a path is resolved from, and what is left to resolve.
pub(crate) struct Anchor {
    /// An open directory.
    pub(crate) directory: OwnedFd,
    /// The parts below it.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// A place for a file: its directory, open, and its name there.
pub(crate) struct Spot {
    /// The directory. Opened for naming only, not for reading.
    pub(crate) directory: OwnedFd,
    /// The last part.
    pub(crate) name: Vec<u8>,
}

/// The longest of the roots that a path lies below.
pub(crate) fn root_of<'a>(roots: &'a [RemotePath], path: &RemotePath) -> Option<&'a RemotePath> {
    roots.iter().filter(|root| path.is_within(root)).max_by_key(|root| root.parts().count())
}

/// Resolves against the endpoint's directory a path below it, and against the allowed root the rest:
/// a link in a polled directory cannot lead out of that directory, whatever else is allowed.
pub(crate) fn anchor(base: &RemotePath, roots: &[RemotePath], path: &RemotePath) -> Result<Anchor> {
    let whole = base.join(path);
    if whole.escapes() {
        return Err(outside(&whole));
    }
    let root = root_of(roots, &whole).ok_or_else(|| outside(&whole))?;
    let opened = rustix::fs::openat(CWD, os(root.as_bytes()), DIRECTORY, Mode::empty())
        .map_err(|e| failed("open an allowed root", root, e))?;
    let below_root = parts_below(root, &whole);
    if !whole.is_within(base) {
        return Ok(Anchor { directory: opened, parts: below_root });
    }
    let base_parts = parts_below(root, base);
    let below_base = parts_below(base, &whole);
    match open_directory(&opened, &base_parts, OFlags::PATH) {
        Ok(directory) => Ok(Anchor { directory, parts: below_base }),
        // The endpoint names one file: that alone is reached, from its directory.
        Err(Errno::NOTDIR) if below_base.is_empty() && !base_parts.is_empty() => {
            let (above, name) = base_parts.split_at(base_parts.len() - 1);
            let directory = open_directory(&opened, above, OFlags::PATH)
                .map_err(|e| failed("open the endpoint's directory", base, e))?;
            Ok(Anchor { directory, parts: name.to_vec() })
        }
        Err(error) => Err(failed("open the endpoint's directory", base, error)),
    }
}

/// Where directories are made from: the endpoint's directory, or the allowed root while that is missing.
pub(crate) fn anchor_to_make(base: &RemotePath, roots: &[RemotePath], path: &RemotePath) -> Result<Anchor> {
    let whole = base.join(path);
    match anchor(base, roots, &whole) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let root = root_of(roots, &whole).ok_or_else(|| outside(&whole))?;
            anchor(root, roots, &whole)
        }
        other => other,
    }
}

/// The directory and name of a file.
pub(crate) fn spot(base: &RemotePath, roots: &[RemotePath], path: &RemotePath) -> Result<Spot> {
    let mut anchor = anchor(base, roots, path)?;
    let name = anchor.parts.pop().ok_or_else(|| {
        Error::permanent(ErrorKind::Rejected, "use a directory as a file").with("path", base.join(path))
    })?;
    let directory = open_directory(&anchor.directory, &anchor.parts, OFlags::PATH)
        .map_err(|e| failed("open a directory", &base.join(path), e))?;
    Ok(Spot { directory, name })
}

/// Opens a directory below another one.
pub(crate) fn open_directory(below: &OwnedFd, parts: &[Vec<u8>], how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = how | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if parts.is_empty() {
        return rustix::fs::openat(below, ".", flags, Mode::empty());
    }
    let path = parts.join(&b'/');
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..DISTURBED_LIMIT {
        match rustix::fs::openat2(below, os(&path), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_part_by_part(below, parts, flags),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn open_part_by_part(below: &OwnedFd, parts: &[Vec<u8>], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut current = rustix::fs::openat(below, ".", DIRECTORY, Mode::empty())?;
    for (place, part) in parts.iter().enumerate() {
        let flags = if place + 1 == parts.len() { flags } else { DIRECTORY };
        current = rustix::fs::openat(&current, os(part), flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(current)
}

/// The entry of a name; a link is not followed.
pub(crate) fn stat_at(spot: &Spot) -> Result<Stat, Errno> {
    rustix::fs::statat(&spot.directory, os(&spot.name), AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a regular file to read. Anything else is never opened: a FIFO would wait, a device would act.
pub(crate) fn open_regular(spot: &Spot) -> Result<std::fs::File, Errno> {
    if FileType::from_raw_mode(stat_at(spot)?.st_mode) != FileType::RegularFile {
        return Err(Errno::LOOP);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&spot.directory, os(&spot.name), flags, Mode::empty())?;
    // It may have been exchanged since.
    if FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(Errno::LOOP);
    }
    Ok(opened.into())
}

/// Makes the entries of the directory that a path leads to durable, as [`sync_directory`] does.
pub(crate) fn sync_directory_at(anchor: &Anchor) -> Result<(), Errno> {
    match open_directory(&anchor.directory, &anchor.parts, OFlags::PATH) {
        Ok(directory) => sync_directory(&directory),
        // The endpoint names one file: its directory is meant.
        Err(Errno::NOTDIR) => sync_directory(&anchor.directory),
        Err(error) => Err(error),
    }
}

/// Makes a directory's entries durable. A directory that may be written but not read (a drop box)
/// cannot be synced; then the file system's own order has to do.
pub(crate) fn sync_directory(directory: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, ".", flags, Mode::empty()) {
        // Some network file systems have no such call: their server is durable by itself.
        Ok(readable) => match rustix::fs::fsync(&readable) {
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            other => other,
        },
        Err(Errno::ACCESS) => {
            tracing::warn!("a directory that may not be read cannot be synced");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Makes each missing directory of the anchor's parts.
pub(crate) fn make_directories(anchor: &Anchor) -> Result<(), Errno> {
    for end in 1..=anchor.parts.len() {
        let above = open_directory(&anchor.directory, &anchor.parts[..end - 1], OFlags::PATH)?;
        let name = &anchor.parts[end - 1];
        match rustix::fs::mkdirat(&above, os(name), Mode::from_raw_mode(0o777)) {
            Ok(()) => sync_directory(&above)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    open_directory(&anchor.directory, &anchor.parts, OFlags::PATH).map(drop)
}

/// The bytes as the system takes them.
pub(crate) fn os(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn parts_below(directory: &RemotePath, path: &RemotePath) -> Vec<Vec<u8>> {
    path.parts().skip(directory.parts().count()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn where_the_kernel_cannot_resolve_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("one/two")).unwrap();
        symlink("one", root.path().join("link")).unwrap();
        let below: OwnedFd = fs::File::open(root.path()).unwrap().into();
        let open = |path: &str| {
            let parts: Vec<_> = path.split('/').map(|part| part.as_bytes().to_vec()).collect();
            open_part_by_part(&below, &parts, DIRECTORY)
        };
        assert!(open("one/two").is_ok());
        assert!(open("one").is_ok());
        assert!(open("link/two").is_err());
        assert!(open("link").is_err());
        assert_eq!(open("one/three").err(), Some(Errno::NOENT));
    }
}
