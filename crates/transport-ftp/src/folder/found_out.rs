//! How a transfer ended whose answer was lost: many servers and firewalls drop the control connection during a long
//! transfer, after which the file is whole all the same.

use super::Lease;
use super::stat::{Looked, look};
use crate::connection::Remote;
use crate::error::Fault;
use model::RemotePath;
use net::Pool;
use std::time::Duration;
use transport::folder::Entry;

/// Looks before the transfer counts as failed: a server may still be writing what it has received.
const LOOKS: u32 = 3;

const BETWEEN: Duration = Duration::from_secs(1);

/// A further connection, where it shows that the file has the size that was transferred. `replaced` is the file that had
/// the name before an upload: some servers keep it until the new one is whole, and it may have the same size.
///
/// # Errors
/// The fault itself: the server refused the transfer, the file has another size or is the one that was to be replaced, or
/// it cannot be looked at.
pub(super) async fn found_out(
    pool: &Pool<Remote>,
    path: &RemotePath,
    transferred: u64,
    replaced: Option<&Entry>,
    fault: Fault,
) -> Result<Lease, Fault> {
    if !fault.is_unanswered() {
        return Err(fault);
    }
    for number in 0..LOOKS {
        if number > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        let Ok(lease) = pool.take().await else { return Err(fault) };
        match look(&lease, path).await {
            // The server may still put the new one in its place.
            Ok(Looked::Found(entry)) if replaced.is_some_and(|replaced| replaced.looks_like(&entry)) => {}
            Ok(Looked::Found(entry)) if entry.size == Some(transferred) => {
                tracing::warn!(host = %lease.target().host, %path, size = transferred, "the server did not confirm a transfer; the file there has the size that was transferred");
                return Ok(lease);
            }
            Ok(Looked::Found(entry)) if entry.size.is_some_and(|size| size < transferred) => {}
            _ => return Err(fault),
        }
    }
    Err(fault)
}
