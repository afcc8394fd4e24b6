//! Making a connection: a few at a time to one server, and again after a while if the server is busy.

use super::{Connections, Connector};
use model::{Error, ErrorKind, Result, Retry};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many connections to one server are being made at a time, from this node. OpenSSH refuses some from the tenth on that
/// is not logged in yet (`MaxStartups 10:30:100`), for all clients together.
const AT_ONCE: usize = 4;

/// A connection that waited so long for its turn is made all the same: a server that answers nobody must not keep one
/// account's operations waiting for all others.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// The wait before the first repetition where the server says that it has too many connections; it doubles each time.
const BUSY: Duration = Duration::from_secs(1);

/// The same where it was not reached, or broke off.
const UNREACHABLE: Duration = Duration::from_millis(250);

/// The turns of connections to one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Starting(Arc<Semaphore>);

impl Default for Starting {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Starting {
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// How long to wait before a connection is tried again for the `nth` time; `None` if it must not be.
fn pause(error: &Error, nth: u32) -> Option<Duration> {
    let first = match error.kind() {
        _ if error.retry() != Retry::Transient => return None,
        ErrorKind::Throttled | ErrorKind::Busy => BUSY,
        ErrorKind::Unreachable => UNREACHABLE,
        _ => return None,
    };
    Some(first.saturating_mul(1 << nth.min(4)))
}

/// A wait that is longer or shorter by up to a half, so that those who were refused together do not come together again.
fn spread(pause: Duration) -> Duration {
    let [random, ..] = RandomState::new().hash_one(pause).to_be_bytes();
    pause.mul_f64(0.5 + f64::from(random) / 256.0)
}

impl<C: Connector> Connections<C> {
    /// Makes a connection. While other connections exist it is tried once: they carry the load.
    ///
    /// # Errors
    /// The last attempt's.
    pub(super) async fn connect(&self, endpoint: &str) -> Result<C::Connection> {
        let mut nth = 0;
        loop {
            let error = {
                let turn = tokio::time::timeout(LONGEST_TURN, self.starting.0.acquire()).await;
                let made = self.connector.connect(self.purpose, endpoint).await;
                drop(turn);
                match made {
                    Ok(connection) => return Ok(connection),
                    Err(error) => error,
                }
            };
            let Some(pause) = pause(&error, nth).filter(|_| nth < self.limits.retries && self.size() == 0)
            else {
                return Err(error);
            };
            nth += 1;
            tracing::info!(%endpoint, error = %error.chain(), "a connection could not be opened; it is tried again at once");
            tokio::time::sleep(spread(pause)).await;
        }
    }
}
