//! A part of a received message on its way into staging. Most of a large part is written by a thread of its own, which
//! computes the payload's hash too, while the next bytes are decrypted and verified.

use crate::streaming::BETWEEN_THREADS;
use smime::threads::{Sink, WriteBehind};
use std::io::{self, Read, Write};
use std::thread::JoinHandle;
use transport::PartWriter;

/// Parts up to this length, in bytes, are written where they are read: a thread would cost more than it gains.
const BEHIND_FROM: u64 = 1024 * 1024;

/// Writes a part. Everything is in it once it was flushed.
pub(crate) struct StagingWriter(State);

enum State {
    /// By whoever reads the message.
    Here(Appender),
    /// By a thread.
    Behind(WriteBehind<Appender>),
    /// Nowhere: the thread could not be started, or not write. The part is gone.
    Failed,
}

impl StagingWriter {
    pub(crate) fn new(part: Box<dyn PartWriter>) -> Self {
        Self(State::Here(Appender(part)))
    }

    /// The part with everything that was written.
    ///
    /// # Errors
    /// The first write that failed.
    pub(crate) fn into_part(mut self) -> io::Result<Box<dyn PartWriter>> {
        self.flush()?;
        match self.0 {
            State::Here(Appender(part)) => Ok(part),
            State::Behind(_) | State::Failed => Err(failed()),
        }
    }

    /// How many bytes were flushed; none if the part is not flushed, or gone.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.0 {
            State::Here(Appender(part)) => Some(part.length()),
            State::Behind(_) | State::Failed => None,
        }
    }

    /// What was flushed, from the beginning.
    ///
    /// # Errors
    /// The part is not flushed, or gone.
    pub(crate) fn read_back(&self) -> io::Result<impl Read> {
        match &self.0 {
            State::Here(Appender(part)) => Ok(ReadBack::of(&**part)),
            State::Behind(_) | State::Failed => Err(failed()),
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("a part was not written to staging")
}

impl Write for StagingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_large = match &self.0 {
            State::Here(Appender(part)) => part.length().saturating_add(bytes.len() as u64) > BEHIND_FROM,
            State::Behind(_) | State::Failed => false,
        };
        if is_large && let State::Here(part) = std::mem::replace(&mut self.0, State::Failed) {
            self.0 = State::Behind(WriteBehind::new(part, BETWEEN_THREADS)?);
        }
        match &mut self.0 {
            State::Here(part) => part.write(bytes),
            State::Behind(behind) => behind.write(bytes),
            State::Failed => Err(failed()),
        }
    }

    /// Waits until everything is written.
    fn flush(&mut self) -> io::Result<()> {
        if let State::Behind(behind) = &mut self.0 {
            let finished = behind.finish();
            self.0 = State::Failed;
            self.0 = State::Here(finished?);
        }
        Ok(())
    }
}

struct Appender(Box<dyn PartWriter>);

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Appender {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        // Staging sees to it that the disk works meanwhile.
        Ok(None)
    }
}

/// A part's bytes from the beginning, out of staging.
pub(crate) struct ReadBack<'a> {
    part: &'a dyn PartWriter,
    at: u64,
}

impl<'a> ReadBack<'a> {
    pub(crate) const fn of(part: &'a dyn PartWriter) -> Self {
        Self { part, at: 0 }
    }
}

impl Read for ReadBack<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.part.read_at(out, self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The same of a part that nobody else uses meanwhile: it may go to another thread, which OpenPGP's reader asks for.
pub(crate) struct ReadAlone<'a> {
    part: &'a mut dyn PartWriter,
    at: u64,
}

impl<'a> ReadAlone<'a> {
    pub(crate) fn of(part: &'a mut dyn PartWriter) -> Self {
        Self { part, at: 0 }
    }
}

impl Read for ReadAlone<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.part.read_at(out, self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
