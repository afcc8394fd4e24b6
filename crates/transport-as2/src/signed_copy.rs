//! A copy of signed content in staging, written while the content passes by: it is kept as evidence.

use crate::rejection::Rejection;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use transport::PartWriter;

/// A copy that is being written. Its clones write to the same part.
#[derive(Clone)]
pub(crate) struct SignedCopy(Arc<Mutex<Option<Box<dyn PartWriter>>>>);

impl fmt::Debug for SignedCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedCopy")
    }
}

impl SignedCopy {
    /// Writes to this part.
    pub(crate) fn new(part: Box<dyn PartWriter>) -> Self {
        Self(Arc::new(Mutex::new(Some(part))))
    }

    /// A writer that takes so many bytes at most.
    pub(crate) fn writer(&self, most: u64) -> CopyWriter {
        CopyWriter { copy: self.clone(), room: most, most }
    }

    /// What was written; none if that is more than so many bytes, or the part was taken before.
    ///
    /// # Errors
    /// Local errors.
    pub(crate) fn bytes(&self, most: usize) -> model::Result<Option<Vec<u8>>> {
        let copy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = copy.as_deref() else { return Ok(None) };
        let Some(length) = usize::try_from(part.length()).ok().filter(|length| *length <= most) else {
            return Ok(None);
        };
        let (mut bytes, mut filled) = (vec![0; length], 0);
        while filled < length {
            match part.read_at(&mut bytes[filled..], filled as u64)? {
                0 => return Ok(None),
                count => filled += count,
            }
        }
        Ok(Some(bytes))
    }

    /// How many bytes were written; none if the part was taken before.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(PartWriter::length)
    }

    /// What was written, from the beginning.
    pub(crate) fn reader(&self) -> CopyReader {
        CopyReader { copy: self.clone(), at: 0 }
    }

    /// The part with all that was written; none if it was taken before.
    pub(crate) fn into_part(self) -> Option<Box<dyn PartWriter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(part) => part.append(bytes).map_err(io::Error::other),
            None => Err(ended()),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(part) => part.read_at(into, offset).map_err(io::Error::other),
            None => Err(ended()),
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the copy of signed content has ended")
}

/// Reads a copy.
pub(crate) struct CopyReader {
    copy: SignedCopy,
    at: u64,
}

impl Read for CopyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.copy.read_at(into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Writes to a copy.
pub(crate) struct CopyWriter {
    copy: SignedCopy,
    room: u64,
    most: u64,
}

impl Write for CopyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.room.checked_sub(bytes.len() as u64) {
            Some(left) => self.room = left,
            None => return Err(Rejection::TooLarge { most: self.most }.of_content()),
        }
        self.copy.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
