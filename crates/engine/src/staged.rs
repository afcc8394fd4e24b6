//! Staged bytes: naming and removing them.

use model::{Content, Error, ErrorKind, PayloadId, PayloadRecord, Result};
use staging::{StagedPayload, Staging};

/// What staging has of a payload.
///
/// # Errors
/// `Unsupported`: the payload was streamed, so nothing of it is staged.
pub(crate) fn staged(payload: &PayloadRecord) -> Result<StagedPayload> {
    match payload.content {
        Content::Staged(sha256) => Ok(StagedPayload { id: payload.id, length: payload.length, sha256 }),
        Content::Streamed(_) => {
            Err(Error::permanent(ErrorKind::Unsupported, "read the staged bytes of a file")
                .with("file", &payload.file_name)
                .advice("the file was streamed, and Waybill keeps no copy: put it at its source again"))
        }
    }
}

/// Removes staged bytes. A failure does not stop the others; the first error is returned.
pub(crate) fn remove_all(staging: &Staging, payloads: impl IntoIterator<Item = PayloadId>) -> Result<()> {
    payloads.into_iter().map(|payload| staging.remove(payload)).fold(Ok(()), Result::and)
}

/// Removes staged bytes that certainly have no row in the database.
pub(crate) async fn discard(staging: &Staging, payloads: Vec<PayloadId>) {
    let staging = staging.clone();
    let removed = blocking("remove staged bytes", move || remove_all(&staging, payloads)).await;
    if let Err(error) = removed {
        tracing::warn!(error = %error.chain(), "staged bytes that are no longer needed were not removed; the sweep moves them to quarantine");
    }
}

/// Runs disk work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, what).caused_by(error))?
}
