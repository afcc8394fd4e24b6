//! The metrics of a listen address.

use super::open_connections::Connections;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

/// The metrics of one listen address since it was bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerNumbers {
    /// Its name.
    pub listener: String,
    /// Its address.
    pub address: SocketAddr,
    /// Accepted connections, including refused ones.
    pub accepted: u64,
    /// Open connections.
    pub open: u64,
    /// Connections refused because their client had too many, and proxies' connections closed after a 429 for that
    /// reason.
    pub refused_client: u64,
    /// Connections refused because the address had too many.
    pub refused_listener: u64,
    /// Idle connections closed to make room.
    pub closed_for_others: u64,
    /// Bytes read, including handshakes.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that were answered with a status from 400 on.
    pub requests_refused: u64,
}

impl ListenerNumbers {
    pub(super) fn of(name: &str, address: SocketAddr, connections: &Connections) -> Self {
        let counts = &connections.counts;
        Self {
            listener: name.to_owned(),
            address,
            accepted: counts.accepted.load(Ordering::Relaxed),
            open: connections.open() as u64,
            refused_client: counts.refused_client.load(Ordering::Relaxed),
            refused_listener: counts.refused_listener.load(Ordering::Relaxed),
            closed_for_others: counts.closed_for_others.load(Ordering::Relaxed),
            bytes_in: counts.bytes.bytes_in.load(Ordering::Relaxed),
            bytes_out: counts.bytes.bytes_out.load(Ordering::Relaxed),
            requests: counts.requests.load(Ordering::Relaxed),
            requests_refused: counts.requests_refused.load(Ordering::Relaxed),
        }
    }
}
