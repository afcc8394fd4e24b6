//! Reading a file: GET, from an offset by Range (RFC 9110, 14).

use crate::connection::{Ask, Remote};
use crate::error;
use crate::protocol::answer::Slot;
use http::StatusCode;
use http::header::CONTENT_RANGE;
use model::{Error, ErrorKind, RemotePath, Result};
use net::http::CarriedBy;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use transport::folder::FileReader;

const OPERATION: &str = "read a file";

/// The bytes of a file, while the connection is theirs.
struct Reading {
    bytes: Pin<Box<dyn AsyncRead + Send>>,
    /// What comes before the offset, from a server that sends files from their beginning only.
    skip: u64,
    _slot: Slot,
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.skip > 0 {
            let mut passed = [0_u8; 8 * 1024];
            let most = usize::try_from(self.skip).unwrap_or(usize::MAX).min(passed.len());
            let mut passed = ReadBuf::new(&mut passed[..most]);
            ready!(self.bytes.as_mut().poll_read(context, &mut passed))?;
            match passed.filled().len() as u64 {
                0 => return Poll::Ready(Ok(())),
                read => self.skip -= read,
            }
        }
        self.bytes.as_mut().poll_read(context, into)
    }
}

/// Opens a file for reading from an offset. What the HTTP client buffers is within what the caller's lease covers
/// (`transport::folder::READER_BUFFERS`): a second lease, taken while the first is held, could wait without end.
///
/// # Errors
/// By status; `Protocol` if the server sends another part than was asked for.
pub(crate) async fn open(remote: &Arc<Remote>, path: &RemotePath, offset: u64) -> Result<FileReader> {
    let mut ask = Ask::new("GET", path);
    if offset > 0 {
        ask = ask.header("range", format!("bytes={offset}-"));
    }
    let slot = remote.download_slot().await?;
    let answer = remote.ask_with(OPERATION, ask, slot, CarriedBy::default()).await?;
    let connection = answer.connection;
    let skip = match answer.status {
        StatusCode::OK => offset,
        StatusCode::PARTIAL_CONTENT if offset > 0 => {
            let stated = answer.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let begin = stated.and_then(begin);
            if begin != Some(offset) {
                return Err(Error::transient(ErrorKind::Protocol, OPERATION)
                    .with("host", remote.settings.target())
                    .with("path", path)
                    .with("asked for bytes from", offset)
                    .with("answered", stated.unwrap_or("no Content-Range"))
                    .on_connection(connection)
                    .advice("the server sent another part of the file than Waybill asked for"));
            }
            0
        }
        // Nothing comes after the offset.
        StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
            drop(error::discard(answer).await);
            return Ok(FileReader { bytes: Box::new(tokio::io::empty()), file: None, connection });
        }
        _ => return Err(error::refused(OPERATION, &remote.settings.target(), path, answer).await),
    };
    let bytes = Box::pin(answer.body.into_reader());
    let reading = Reading { bytes, skip, _slot: answer.slot };
    Ok(FileReader { bytes: Box::new(reading), file: None, connection })
}

/// The first byte of `bytes 5-9/10`.
fn begin(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}
