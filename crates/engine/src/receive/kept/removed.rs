//! Segments that no message has any more.

use crate::staged::blocking;
use model::{PayloadId, Result};
use staging::Staging;

/// Removes segments that no message has any more.
pub(crate) async fn remove_segments(staging: &Staging, segments: Vec<PayloadId>) {
    if segments.is_empty() {
        return;
    }
    let staging = staging.clone();
    let removed = blocking("remove what was held of a message", move || {
        segments.into_iter().map(|segment| staging.remove_segment(segment)).fold(Ok(()), Result::and)
    });
    if let Err(error) = removed.await {
        tracing::warn!(error = %error.chain(), "what was held of a message was not removed; the sweep removes it");
    }
}
