//! Running work whose panic must not stop anything else.

use futures::FutureExt;
use model::{Error, ErrorKind, Result};
use std::panic::AssertUnwindSafe;

/// Runs work of a transport or of maintenance. A panic becomes an error of this operation.
pub(crate) async fn guarded<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(broke_down(operation)),
    }
}

/// The error of work that panicked.
pub(crate) fn broke_down(operation: &'static str) -> Error {
    Error::transient(ErrorKind::Internal, operation)
        .with("fault", "the code for it panicked")
        .advice("this is a bug in Waybill; the log shows where it is")
}
