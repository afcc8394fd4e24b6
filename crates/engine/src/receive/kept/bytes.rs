//! The bytes of one message: earlier segments, which are read, and the last one, which is written.

use crate::receive::kept::progress::Progress;
use model::{Error, ErrorKind, Result};
use staging::Segment;
use std::sync::Arc;
use tokio::sync::watch;
use transport::PartialBytes;

/// A segment that is only read.
pub(super) struct Earlier {
    pub(super) segment: Segment,
    /// The place of its first byte in the message.
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Earlier {
    pub(super) const fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What is held of a message, open.
pub(super) struct OpenBytes {
    earlier: Vec<Earlier>,
    segment: Arc<Segment>,
    /// The place of the segment's first byte in the message.
    start: u64,
    progress: Arc<Progress>,
    taken_over: watch::Receiver<bool>,
}

impl OpenBytes {
    pub(super) fn new(
        earlier: Vec<Earlier>,
        segment: Arc<Segment>,
        start: u64,
        progress: Arc<Progress>,
        taken_over: watch::Receiver<bool>,
    ) -> Self {
        Self { earlier, segment, start, progress, taken_over }
    }
}

impl OpenBytes {
    /// A message that somebody else has taken over is neither read on nor written.
    fn check_held(&self) -> Result<()> {
        match *self.taken_over.borrow() {
            false => Ok(()),
            true => Err(Error::transient(ErrorKind::Throttled, "keep a message")
                .advice("this connection is given up: the sender goes on over another one")),
        }
    }
}

impl PartialBytes for OpenBytes {
    fn length(&self) -> u64 {
        self.start + self.progress.written()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.check_held()?;
        let (segment, from, length) = match self.earlier.iter().find(|part| offset < part.end()) {
            Some(part) => (&part.segment, offset - part.start, part.length),
            None => (&*self.segment, offset - self.start, self.progress.written()),
        };
        let left = usize::try_from(length.saturating_sub(from)).unwrap_or(usize::MAX);
        let most = left.min(into.len());
        if most == 0 {
            return Ok(0);
        }
        match segment.read(&mut into[..most], from)? {
            0 => Err(Error::transient(ErrorKind::IntegrityFailed, "read what is held of a message")
                .with("offset", offset)
                .advice("a file in staging was cut")),
            read => Ok(read),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_held()?;
        self.segment.write(bytes, self.progress.written())?;
        self.progress.wrote(bytes.len() as u64);
        Ok(())
    }

    fn finish(&mut self) {
        self.progress.finish();
    }

    fn broke_off(&mut self) {
        self.progress.break_off();
    }
}

impl Drop for OpenBytes {
    fn drop(&mut self) {
        self.progress.end();
    }
}
