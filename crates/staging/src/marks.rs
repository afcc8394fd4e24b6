//! How far a named part can be trusted after a crash.
//!
//! Beside the part lies a list of marks, each a length and the SHA-256 of that many bytes. Neither
//! file is synced before committing: after a power loss either may be torn, short or empty. A mark whose
//! hash agrees with what is there proves it; the longest such mark is where a resumed part goes on.

use crate::disk::DiskFile;
use openssl::sha::Sha256;
use std::io;

/// Bytes between two marks: what a kill can cost a part that is resumed.
pub(crate) const MARK_EVERY: u64 = 8 * 1024 * 1024;

/// Length, little-endian, and hash.
const MARK: usize = 8 + 32;

/// The marks of one part.
pub(crate) struct Marks {
    file: Box<dyn DiskFile>,
    count: u64,
    last: u64,
}

/// What was proved of a part.
pub(crate) struct Proved {
    pub(crate) marks: Marks,
    pub(crate) length: u64,
    pub(crate) hash: Sha256,
}

impl Marks {
    /// Reads a part from its beginning as far as marks prove it, and cuts both files there.
    pub(crate) fn prove(part: &dyn DiskFile, marks: Box<dyn DiskFile>) -> io::Result<Proved> {
        let there = part.stat()?.length;
        let mut proved =
            Proved { marks: Self { file: marks, count: 0, last: 0 }, length: 0, hash: Sha256::new() };
        let mut hash = Sha256::new();
        let mut buffer = vec![0_u8; 256 * 1024];
        while let Some((length, expected)) = proved.marks.get(proved.marks.count)? {
            if length <= proved.length || length > there {
                break;
            }
            hash_range(part, proved.length..length, &mut buffer, &mut hash)?;
            if hash.clone().finish() != expected {
                break;
            }
            proved.length = length;
            proved.hash = hash.clone();
            proved.marks.count += 1;
            proved.marks.last = length;
        }
        part.truncate(proved.length)?;
        proved.marks.file.truncate(proved.marks.count * MARK as u64)?;
        Ok(proved)
    }

    /// Marks a length, when it is `MARK_EVERY` past the last or when `now`.
    pub(crate) fn set(&mut self, length: u64, hash: &Sha256, now: bool) -> io::Result<()> {
        if length <= self.last || (!now && length - self.last < MARK_EVERY) {
            return Ok(());
        }
        let mut mark = [0_u8; MARK];
        mark[..8].copy_from_slice(&length.to_le_bytes());
        mark[8..].copy_from_slice(&hash.clone().finish());
        write_all(&*self.file, &mark, self.count * MARK as u64)?;
        self.count += 1;
        self.last = length;
        Ok(())
    }

    fn get(&self, place: u64) -> io::Result<Option<(u64, [u8; 32])>> {
        let mut length = [0_u8; 8];
        let mut hash = [0_u8; 32];
        let at = place * MARK as u64;
        let whole = read_full(&*self.file, &mut length, at)? == 8
            && read_full(&*self.file, &mut hash, at + 8)? == hash.len();
        Ok(whole.then_some((u64::from_le_bytes(length), hash)))
    }
}

/// Hashes a range of a file; a file that ends before is an error.
pub(crate) fn hash_range(
    file: &dyn DiskFile,
    range: std::ops::Range<u64>,
    buffer: &mut [u8],
    hash: &mut Sha256,
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let most = usize::try_from(range.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        match read_full(file, &mut buffer[..most], at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                hash.update(&buffer[..n]);
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all bytes at an offset.
pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
