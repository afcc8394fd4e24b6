//! Reading a committed payload from async code: blocks are read on blocking threads, one ahead of the
//! reader, so that the disk works while the network does.

use crate::read::PayloadFile;
use model::{Error, ErrorKind, Result};
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes read at once.
const BLOCK: u64 = 512 * 1024;

/// Bytes of buffers that a stream of a large payload holds, to be taken from the process's budget.
pub const STREAM_BUFFERS: usize = 2 * BLOCK as usize;

/// A range of a committed payload. Errors are those of [`PayloadFile`]; after one, it has ended.
pub struct PayloadStream {
    block: Vec<u8>,
    at: usize,
    next: Next,
}

/// The block after the one in hand, while there is one.
type Next = Option<JoinHandle<Block>>;

struct Block {
    file: PayloadFile,
    buffer: Vec<u8>,
    result: io::Result<()>,
}

impl PayloadStream {
    /// Opens the file and reads its first block in one go: all there is to do for a small payload.
    pub(crate) async fn open(open: impl FnOnce() -> Result<PayloadFile> + Send + 'static) -> Result<Self> {
        let read = || open().map(|file| read_block(file, Vec::new()));
        let first = spawn_blocking(read).await.map_err(|stopped| {
            Error::transient(ErrorKind::Internal, "read a staged payload").caused_by(stopped)
        })??;
        let mut stream = Self { block: Vec::new(), at: 0, next: None };
        stream.take(first).map_err(|e| match e.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::local_io("read a staged payload", error),
        })?;
        Ok(stream)
    }

    fn take(&mut self, read: Block) -> io::Result<()> {
        let spare = std::mem::replace(&mut self.block, read.buffer);
        self.at = 0;
        if read.result.is_err() {
            self.block.clear();
        } else if read.file.remaining() > 0 {
            self.next = Some(spawn_blocking(|| read_block(read.file, spare)));
        }
        read.result
    }
}

impl AsyncRead for PayloadStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        loop {
            let rest = &stream.block[stream.at..];
            if !rest.is_empty() {
                let n = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..n]);
                stream.at += n;
                return Poll::Ready(Ok(()));
            }
            let Some(reading) = &mut stream.next else { return Poll::Ready(Ok(())) };
            let read = ready!(Pin::new(reading).poll(context));
            stream.next = None;
            stream.take(read.map_err(io::Error::other)?)?;
        }
    }
}

fn read_block(mut file: PayloadFile, mut buffer: Vec<u8>) -> Block {
    buffer.clear();
    let want = file.remaining().min(BLOCK);
    buffer.reserve_exact(usize::try_from(want).unwrap_or_default());
    let result = loop {
        let left = want - buffer.len() as u64;
        if left == 0 {
            break Ok(());
        }
        match (&mut file).take(left).read_to_end(&mut buffer) {
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    Block { file, buffer, result }
}
