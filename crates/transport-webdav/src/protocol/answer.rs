//! An answer whose head has arrived.

use http::{HeaderMap, StatusCode};
use model::ConnectionId;
use net::http::Body;
use tokio::sync::OwnedSemaphorePermit;

/// The right to use a connection.
pub(crate) type Slot = OwnedSemaphorePermit;

/// The head of an answer, and its body to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) connection: Option<ConnectionId>,
    /// Given back when the body was read.
    pub(crate) slot: Slot,
}
