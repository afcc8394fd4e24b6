//! Reading a committed payload on a blocking thread.

use crate::area::StagedPayload;
use crate::disk::DiskFile;
use model::{Error, ErrorKind, Result, Sha256};
use openssl::sha;
use std::io::{self, Read};
use std::ops::Range;

/// A range of a committed payload, read from front to back; each `read` is one system call. Errors that
/// say that the bytes are not the bytes they should be carry a [`model::Error`] inside.
pub struct PayloadFile {
    file: Box<dyn DiskFile>,
    payload: StagedPayload,
    at: u64,
    end: u64,
    hash: Option<sha::Sha256>,
}

impl PayloadFile {
    pub(crate) fn new(file: Box<dyn DiskFile>, payload: StagedPayload, range: Range<u64>) -> Result<Self> {
        let found = file.stat().map_err(|e| Error::local_io("open a staged payload", e))?.length;
        if found != payload.length {
            return Err(damaged(&payload).with("found_bytes", found));
        }
        file.expect_sequential();
        let end = range.end.min(payload.length);
        Ok(Self { file, payload, at: range.start.min(end), end, hash: None })
    }

    pub(crate) fn verified(mut self) -> Self {
        self.hash = Some(sha::Sha256::new());
        self
    }

    /// Bytes still to be read.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// Compares when the last byte was read; so whoever misses the error still lacks bytes.
    fn verify(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(hash) = &mut self.hash else { return Ok(()) };
        hash.update(bytes);
        if self.at < self.end {
            return Ok(());
        }
        let found = Sha256(hash.clone().finish());
        if found == self.payload.sha256 {
            return Ok(());
        }
        let error = damaged(&self.payload).with("sha256", self.payload.sha256).with("found_sha256", found);
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Read for PayloadFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining()).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 {
            let error = damaged(&self.payload).with("found_bytes", self.at);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.at += n as u64;
        self.verify(&buffer[..n])?;
        Ok(n)
    }
}

fn damaged(payload: &StagedPayload) -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "read a staged payload, because its content has changed")
        .with("payload", payload.id)
        .with("length", payload.length)
        .advice("check the staging disk; send the file again from its source")
}
