//! What a step reads and writes.

use crate::crash;
use model::{Error, ErrorKind};
use staging::PayloadFile;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use transport::PartWriter;

/// Stops what reads beside it when it is dropped.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn new() -> (Self, Arc<AtomicBool>) {
        let stopped = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&stopped)), stopped)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A staged payload that a step reads. At its end its hash is compared.
pub(crate) struct StoppableInput {
    pub(crate) file: PayloadFile,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl Read for StoppableInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        crash::point("steps.reading");
        if self.stopped.load(Ordering::SeqCst) {
            let error = Error::transient(ErrorKind::ClaimLost, "go on with a step of a flow");
            return Err(io::Error::other(error));
        }
        self.file.read(into)
    }
}

/// A part in staging that a step writes.
pub(crate) struct StagedOutput(pub(crate) Box<dyn PartWriter>);

impl Write for StagedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
