//! The operating system's files, by rustix.

use crate::disk::{Disk, DiskFile, Listing, Space, Stat};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Once;

/// The operating system's files.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

struct RealFile(File);

/// Symbolic links in the area are never ours, so never followed.
const OURS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);

fn open(path: &Path, flags: OFlags, mode: u32) -> io::Result<Box<dyn DiskFile>> {
    let file = fs::open(path, OURS | flags, Mode::from_raw_mode(mode))?;
    Ok(Box::new(RealFile(File::from(file))))
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(path, OFlags::RDWR, 0)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(path, OFlags::RDONLY, 0)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        Ok(fs::mkdir(path, Mode::from_raw_mode(mode))?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let directory = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(fs::fsync(directory)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Network file systems know no flags. A second name cannot replace anything either, and
            // whoever dies between the two steps leaves a name in partial/ that the sweep removes.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.link(from, to)?;
                self.unlink(from)
            }
            other => Ok(other?),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::linkat(CWD, from, CWD, to, AtFlags::empty())?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        Ok(fs::unlink(path)?)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::lstat(path)?))
    }

    fn list(&self, path: &Path) -> io::Result<Listing> {
        Ok(Box::new(std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()))))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = fs::statvfs(path)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.0, bytes, offset)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.0, buffer, offset)?)
    }

    /// `fdatasync` is enough: it writes what is needed to read the bytes back, the length included,
    /// and leaves out times alone.
    fn sync(&self) -> io::Result<()> {
        Ok(fs::fdatasync(&self.0)?)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        Ok(fs::ftruncate(&self.0, length)?)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&fs::fstat(&self.0)?))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn reflink(&self, source: &File) -> io::Result<Option<File>> {
        match fs::ioctl_ficlone(&self.0, source) {
            Ok(()) => self.0.try_clone().map(Some),
            // Each file system has its own way to say that it cannot, or not with this source.
            Err(
                error @ (Errno::NOTTY
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::XDEV
                | Errno::INVAL
                | Errno::PERM
                | Errno::TXTBSY
                | Errno::BADF
                | Errno::ISDIR),
            ) => {
                static SAID: Once = Once::new();
                SAID.call_once(|| {
                    tracing::debug!(%error, "staging cannot share the blocks of a local file, and copies such files");
                });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// There is `sync_file_range` for this, but not in safe form. Giving pages up starts writing the
    /// dirty ones and keeps them until they are written.
    fn start_writeback(&self, offset: u64, length: u64) {
        // A hint: when it is not taken, the sync takes longer.
        let _ = fs::fadvise(&self.0, offset, NonZeroU64::new(length), fs::Advice::DontNeed);
    }

    fn expect_sequential(&self) {
        let _ = fs::fadvise(&self.0, 0, None, fs::Advice::Sequential);
    }
}

fn stat_of(found: &fs::Stat) -> Stat {
    // The types of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)]
    Stat {
        length: u64::try_from(found.st_size).unwrap_or_default(),
        changed_micros: (found.st_ctime as i64)
            .saturating_mul(1_000_000)
            .saturating_add(found.st_ctime_nsec as i64 / 1000),
        device: found.st_dev as u64,
        inode: found.st_ino as u64,
        links: found.st_nlink as u64,
        is_dir: fs::FileType::from_raw_mode(found.st_mode).is_dir(),
    }
}
