//! Giving files their names: without replacing, replacing, and across file systems.

use super::place::{self, Spot, os};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// Renames in one step, replacing nothing.
pub(super) fn rename_new(from: &Spot, to: &Spot) -> Result<(), Errno> {
    let (old, new) = (os(&from.name), os(&to.name));
    match rustix::fs::renameat_with(&from.directory, old, &to.directory, new, RenameFlags::NOREPLACE) {
        // The file system has no such rename (NFS): a second name, then away with the first.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_then_unlink(from, to),
        other => other,
    }
}

fn link_then_unlink(from: &Spot, to: &Spot) -> Result<(), Errno> {
    let (old, new) = (os(&from.name), os(&to.name));
    match rustix::fs::linkat(&from.directory, old, &to.directory, new, AtFlags::empty()) {
        Ok(()) => {}
        // Cut off between the two steps before: the name there is this very file.
        Err(Errno::EXIST) if same_file(from, to) => {}
        // No second names either (FAT over FUSE): looking first is all that is left; a file that
        // appears in between would be replaced.
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) => {
            return match place::stat_at(to) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => replace(from, to),
                Err(error) => Err(error),
            };
        }
        Err(error) => return Err(error),
    }
    match rustix::fs::unlinkat(&from.directory, old, AtFlags::empty()) {
        // Asked twice by the network, done the first time.
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Gives a file its name, replacing or not. Over NFS an answer can be lost and the request be repeated
/// by the kernel, which then says that there is no such file: the inode tells that it was done.
pub(super) fn give_name(from: &Spot, to: &Spot, overwrite: bool) -> Result<(), Errno> {
    let before = place::stat_at(from)?;
    match if overwrite { replace(from, to) } else { rename_new(from, to) } {
        Err(Errno::NOENT) => match place::stat_at(to) {
            Ok(there) if (there.st_dev, there.st_ino) == (before.st_dev, before.st_ino) => Ok(()),
            _ => Err(Errno::NOENT),
        },
        other => other,
    }
}

/// Whether an answer leaves open what was done: the network file system behind the name gave up.
pub(super) fn leaves_open(error: Errno) -> bool {
    matches!(error, Errno::IO | Errno::TIMEDOUT | Errno::STALE | Errno::HOSTDOWN | Errno::HOSTUNREACH)
}

fn same_file(from: &Spot, to: &Spot) -> bool {
    match (place::stat_at(from), place::stat_at(to)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Renames in one step; what has the name is replaced.
pub(super) fn replace(from: &Spot, to: &Spot) -> Result<(), Errno> {
    rustix::fs::renameat(&from.directory, os(&from.name), &to.directory, os(&to.name))
}

/// Makes both directories' entries durable.
pub(super) fn sync_both(from: &Spot, to: &Spot) -> Result<(), Errno> {
    // The new name first: were the old one gone alone, the file would be lost.
    place::sync_directory(&to.directory)?;
    let (from_stat, to_stat) = (rustix::fs::fstat(&from.directory)?, rustix::fs::fstat(&to.directory)?);
    if (from_stat.st_dev, from_stat.st_ino) == (to_stat.st_dev, to_stat.st_ino) {
        return Ok(());
    }
    place::sync_directory(&from.directory)
}

/// The most bytes of a name that the name of its copy keeps.
const COPY_NAME: usize = 240;

/// Moves to another file system: a durable copy with the same time, written under a temporary name, then away with the
/// original, unless that changed meanwhile.
pub(super) fn copy_over(from: &Spot, to: &Spot) -> Result<(), Errno> {
    // Found out before the bytes are copied: an earlier call may have been cut off after its copy was complete.
    match place::stat_at(to) {
        Ok(_) => return Err(Errno::EXIST),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let mut source = place::open_regular(from)?;
    let before = rustix::fs::fstat(&source)?;
    let directory = rustix::io::dup(&to.directory)?;
    let temporary = Spot { directory, name: copy_name(&to.name) };
    let copy = make_copy(&before, &temporary)?;
    let id = file_id(&rustix::fs::fstat(&copy)?);
    let written = fill_copy(&mut source, &before, copy).and_then(|()| {
        // Another node may have begun this copy anew, under the same name: only what was written here is complete.
        match place::stat_at(&temporary)? {
            there if file_id(&there) == id => rename_new(&temporary, to),
            _ => Err(Errno::BUSY),
        }
    });
    if let Err(error) = written {
        // What was left of the copy is of no use; the original is whole.
        if place::stat_at(&temporary).is_ok_and(|there| file_id(&there) == id) {
            let _ = rustix::fs::unlinkat(&temporary.directory, os(&temporary.name), AtFlags::empty());
        }
        return Err(error);
    }
    place::sync_directory(&to.directory)?;
    let now = place::stat_at(from)?;
    // The time of the last change too, which no program can set back: somebody may still be filling the file.
    let telling = |stat: &rustix::fs::Stat| {
        (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    let unchanged = telling(&now) == telling(&before);
    if !unchanged {
        // The copy is of a file that no longer lies there; the new one is taken another time.
        let _ = rustix::fs::unlinkat(&to.directory, os(&to.name), AtFlags::empty());
        return Err(Errno::BUSY);
    }
    rustix::fs::unlinkat(&from.directory, os(&from.name), AtFlags::empty())
}

/// The temporary name of a copy, by which polls tell that it is unfinished. The end of a long name tells files apart: it has
/// the offer's id.
fn copy_name(name: &[u8]) -> Vec<u8> {
    let mut start = name.len().saturating_sub(COPY_NAME);
    // Not within a character.
    while name.get(start).is_some_and(|byte| byte & 0xc0 == 0x80) {
        start += 1;
    }
    [b".", &name[start..], b".copying.a"].concat()
}

/// Makes the file of a copy anew, with the permissions of the original.
fn make_copy(stat: &rustix::fs::Stat, temporary: &Spot) -> Result<File, Errno> {
    match rustix::fs::unlinkat(&temporary.directory, os(&temporary.name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    Ok(rustix::fs::openat(&temporary.directory, os(&temporary.name), flags, mode)?.into())
}

/// Fills a copy and makes it durable.
fn fill_copy(source: &mut File, stat: &rustix::fs::Stat, mut copy: File) -> Result<(), Errno> {
    io::copy(source, &mut copy).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let modified = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::futimens(&copy, &Timestamps { last_access: modified, last_modification: modified })?;
    rustix::fs::fsync(&copy)
}

fn file_id(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn spot(directory: &TempDir, name: &str) -> Spot {
        Spot { directory: File::open(directory.path()).unwrap().into(), name: name.into() }
    }

    #[test]
    fn the_name_of_a_copy_keeps_the_end_of_a_long_name() {
        assert_eq!(copy_name(b".a.edi.0123456789ab.moving.a"), b"..a.edi.0123456789ab.moving.a.copying.a");
        let long = format!(".{}.0123456789ab.moving.a", "é".repeat(116));
        let name = copy_name(long.as_bytes());
        assert!(name.len() <= 255 && name.ends_with(b".0123456789ab.moving.a.copying.a"));
        assert!(std::str::from_utf8(&name).is_ok());
    }

    #[test]
    fn without_a_rename_that_replaces_nothing_a_second_name_does() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (from, to) = (spot(&directory, "from"), spot(&directory, "to"));
        fs::write(at("from"), "new").unwrap();
        fs::write(at("to"), "old").unwrap();
        assert_eq!(link_then_unlink(&from, &to), Err(Errno::EXIST));
        assert_eq!(
            (fs::read(at("from")).unwrap(), fs::read(at("to")).unwrap()),
            (b"new".into(), b"old".into())
        );
        fs::remove_file(at("to")).unwrap();
        // Cut off between the two steps, and called again.
        fs::hard_link(at("from"), at("to")).unwrap();
        assert_eq!(link_then_unlink(&from, &to), Ok(()));
        assert!(!at("from").exists());
        assert_eq!(fs::read(at("to")).unwrap(), b"new");
    }
}
