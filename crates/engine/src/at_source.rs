//! What is asked of a source about an offer that was read, and what its readers' errors mean.

use model::{Error, ErrorKind, RemotePath, Result, Retry};
use transport::{AfterRead, FoundOffer, Source};

/// Checks an offer at its source after it was read. If the connection breaks, asks once more over another connection.
pub(crate) async fn look_after(source: &dyn Source, found: &FoundOffer) -> Result<AfterRead> {
    match source.look_again(found).await {
        Err(error) if error.retry() != Retry::Permanent => {
            tracing::info!(flow = %found.identity.flow, path = %found.identity.path, error = %error.chain(), "a file could not be checked after it was read; checking once more");
            source.look_again(found).await
        }
        seen => seen,
    }
}

/// The error of a part's stream. A transport wraps its own [`Error`] in the I/O error if it knows more; any other
/// error is a broken stream, which is transient.
pub(crate) fn read_failed(path: &RemotePath, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::transient(ErrorKind::Unreachable, "read a file to its end")
            .with("path", path)
            .caused_by(error),
    }
}
