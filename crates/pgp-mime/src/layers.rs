//! The streams that an OpenPGP object is read from, and those inside its layers.
//!
//! The library keeps the packets around the content in memory, takes an end that comes too early for the end, and panics if it
//! is read again after an error. So all bytes that it reads are counted between two reads of content ([`Below::refill`]), an
//! early end becomes another error, and each layer says when it was read to its end, where it is proved.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pgp::composed::{MessageReader, PacketBodyReader};
use smime::Error;

use crate::error::limit;

/// Bytes that may be read, of all layers together, before the next bytes of content come.
const ROOM: u64 = 1024 * 1024;

/// What the streams of an object may do, and what became of them.
#[derive(Clone, Default)]
pub(crate) struct Below(Arc<State>);

struct State {
    /// How many bytes may still be read before content comes.
    room: AtomicU64,
    /// Layers that were not read to their end.
    unproved: AtomicUsize,
    /// Whether reading failed. The library must not be read again.
    broken: AtomicBool,
    /// The stream's own error. The library would make its own of it.
    fault: Mutex<Option<io::Error>>,
}

impl Default for State {
    fn default() -> Self {
        State {
            room: AtomicU64::new(ROOM),
            unproved: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }
}

impl Below {
    /// Content came, or a layer begins.
    pub(crate) fn refill(&self) {
        self.0.room.store(ROOM, Ordering::Relaxed);
    }

    pub(crate) fn broken(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Whether a layer was not read to its end, where it is proved.
    pub(crate) fn is_unproved(&self) -> bool {
        self.0.unproved.load(Ordering::Relaxed) > 0
    }

    /// The stream's own error, where that is behind another one.
    pub(crate) fn behind(&self, error: Error) -> Error {
        let fault = self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or(error, Error::from)
    }

    fn check_room(&self) -> io::Result<()> {
        match self.0.room.load(Ordering::Relaxed) {
            0 => Err(self.failed(limit("OpenPGP packets around the content, in bytes", ROOM).into())),
            _ => Ok(()),
        }
    }

    fn spend(&self, count: usize) {
        let room = self.0.room.load(Ordering::Relaxed);
        self.0.room.store(room.saturating_sub(count as u64), Ordering::Relaxed);
    }

    /// Keeps an error, and returns another one of no kind that the library takes for the end.
    fn failed(&self, error: io::Error) -> io::Error {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other("the stream below failed")
    }
}

/// The bytes of an object.
pub(crate) struct Source<'s> {
    inner: &'s mut (dyn BufRead + Send),
    below: Below,
}

impl<'s> Source<'s> {
    pub(crate) fn new(inner: &'s mut (dyn BufRead + Send), below: &Below) -> Self {
        Source { inner, below: below.clone() }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.below.check_room()?;
        // The library loses its state by any error, also by an interruption.
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(self.below.failed(error));
            }
        }
        let below = &self.below;
        self.inner.fill_buf().map_err(|error| below.failed(error))
    }

    fn consume(&mut self, count: usize) {
        self.below.spend(count);
        self.inner.consume(count);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

/// The bytes inside a layer: decrypted, or expanded. At their end, what is below the layer is read to its end as well.
pub(crate) struct Inside<'a, L> {
    layer: L,
    packet: PacketOf<'a, L>,
    below: Below,
    ended: bool,
}

/// The packet that a layer is.
type PacketOf<'a, L> = fn(&mut L) -> &mut PacketBodyReader<MessageReader<'a>>;

impl<'a, L: BufRead> Inside<'a, L> {
    pub(crate) fn new(layer: L, packet: PacketOf<'a, L>, below: &Below) -> Self {
        below.0.unproved.fetch_add(1, Ordering::Relaxed);
        Inside { layer, packet, below: below.clone(), ended: false }
    }

    fn advance(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.below.check_room()?;
        if self.layer.fill_buf()?.is_empty() {
            let packet = (self.packet)(&mut self.layer);
            io::copy(packet, &mut io::sink())?;
            io::copy(packet.get_mut(), &mut io::sink())?;
            self.ended = true;
            self.below.0.unproved.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<L> fmt::Debug for Inside<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inside")
    }
}

impl<L: BufRead> BufRead for Inside<'_, L> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.advance().map_err(no_end)?;
        if self.ended { Ok(&[]) } else { self.layer.fill_buf().map_err(no_end) }
    }

    fn consume(&mut self, count: usize) {
        self.below.spend(count);
        // At its end, the library's readers may not be asked to consume, even nothing.
        if count > 0 {
            self.layer.consume(count);
        }
    }
}

impl<L: BufRead> Read for Inside<'_, L> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

fn read_buffered(source: &mut impl BufRead, out: &mut [u8]) -> io::Result<usize> {
    let available = source.fill_buf()?;
    let count = available.len().min(out.len());
    out[..count].copy_from_slice(&available[..count]);
    source.consume(count);
    Ok(count)
}

/// A layer that is cut off has not ended.
fn no_end(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}
