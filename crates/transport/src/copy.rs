//! Copying bytes from a source into staging.

use crate::folder::READER_BUFFERS;
use crate::{BufferBudget, PartWriter};
use model::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Size of each of the two buffers of a copy, in bytes: while one is hashed and written, the other is filled. The
/// bytes must still be in the processor's cache when they are hashed: with 512 KiB a copy took 50% more processor
/// time.
pub const COPY_BUFFER: usize = 128 * 1024;

/// The result of a copy.
pub struct Copied {
    /// The writer, to be committed.
    pub writer: Box<dyn PartWriter>,
    /// Bytes copied.
    pub bytes: u64,
    /// The error that ended the reader early, if any. The bytes read before it are in the writer; they may be
    /// the only copy.
    pub broken: Option<Error>,
}

/// Copies a reader to its end, or to its error, into a part. Reading and writing overlap; memory is two buffers of
/// [`COPY_BUFFER`] bytes and the reader's own [`READER_BUFFERS`], taken from the budget.
///
/// # Errors
/// The writer's own: `StorageFull` and so on. The reader's, classified by `read_error`, is [`Copied::broken`].
pub async fn copy_to_staging(
    mut reader: impl AsyncRead + Unpin,
    mut writer: Box<dyn PartWriter>,
    budget: &BufferBudget,
    read_error: impl FnOnce(std::io::Error) -> Error,
) -> Result<Copied> {
    let _lease = budget.take(2 * COPY_BUFFER + READER_BUFFERS).await;
    let mut filling = vec![0_u8; COPY_BUFFER];
    let mut spare = vec![0_u8; COPY_BUFFER];
    let mut bytes = 0_u64;
    let (mut filled, mut broken) = fill(&mut reader, &mut filling).await;
    while filled > 0 {
        bytes += filled as u64;
        let task = tokio::task::spawn_blocking(move || {
            let result = writer.append(&filling[..filled]);
            (writer, filling, result)
        });
        let (next, error) = match broken {
            None => fill(&mut reader, &mut spare).await,
            broken => (0, broken),
        };
        let (returned, written, result) = task.await.map_err(stopped)?;
        result?;
        writer = returned;
        (filled, broken) = (next, error);
        filling = std::mem::replace(&mut spare, written);
    }
    Ok(Copied { writer, bytes, broken: broken.map(read_error) })
}

/// Reads until the buffer is full or the stream ends. With an error it returns the number of bytes that were read
/// before it.
async fn fill(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> (usize, Option<std::io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]).await {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::transient(ErrorKind::Internal, "write to staging").caused_by(error)
}
