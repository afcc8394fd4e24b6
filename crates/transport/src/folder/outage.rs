//! Waiting for a server that went away in the middle of a file: a restart, or a line that was down for seconds, is no reason to
//! transfer once more what has arrived.

use model::{ErrorKind, Result, Retry};
use std::time::Duration;

/// The waits before each new try, some 15 s in all.
const WAITS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Tries again for some seconds while the server cannot be reached. One that is silent is not asked again: its timeout was wait
/// enough.
///
/// # Errors
/// As the last try.
pub(super) async fn until_back<T, F>(mut tried: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for wait in WAITS {
        match tried().await {
            Err(error) if error.kind() == ErrorKind::Unreachable && error.retry() == Retry::Transient => {
                tokio::time::sleep(wait).await;
            }
            ended => return ended,
        }
    }
    tried().await
}
