//! What one client may take from everyone else.

use std::time::Duration;

/// Bounds on accepted connections. The size of a body is the handler's to bound.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Request line and headers together, in bytes; beyond it the answer is 431. Default 64 KiB, at
    /// least 8 KiB.
    pub header_bytes: usize,
    /// Header fields of a request; beyond it the answer is 431. Default 200.
    pub header_count: usize,
    /// For the first byte of a new connection, or of its PROXY header. Default 10 s.
    pub first_byte_timeout: Duration,
    /// For a request's head, from its first byte (or from the connection's beginning) to its last.
    /// Default 30 s.
    pub header_timeout: Duration,
    /// For a TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// For the next request on a connection that is kept. Default 75 s.
    pub idle_timeout: Duration,
    /// Longest silence while a body is received. Default 60 s.
    pub body_idle_timeout: Duration,
    /// Time that any body may take, and bytes for each second on top of it. Without this a byte now and
    /// then would hold a connection, and what its handler holds for it, for ever. Default 15 s and 4 KiB.
    pub body_grace: Duration,
    /// See there.
    pub body_bytes_per_second: u64,
    /// Longest time in which a client takes nothing of an answer that waits to be written. Default 60 s.
    pub write_timeout: Duration,
    /// Connections at once on each address. For one more, the connection that was idle longest is closed;
    /// where none is idle, the new one is. Default 1,024.
    pub connections: usize,
    /// The same of one client on each address: an IPv4 address, or the /64 network of an IPv6 one. Trusted
    /// proxies are not bounded by it, but each client's requests that they pass on are. Default 256.
    pub connections_per_client: usize,
    /// A connection is not closed for another one before it was idle for so long: whoever opens thousands in
    /// a second does not fill the record with them. Default 1 s.
    pub idle_before_closed: Duration,
    /// How often it is put on record that connections were refused or closed for others. Default 30 s.
    pub report_every: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_count: 200,
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(15),
            body_bytes_per_second: 4096,
            write_timeout: Duration::from_secs(60),
            connections: 1024,
            connections_per_client: 256,
            idle_before_closed: Duration::from_secs(1),
            report_every: Duration::from_secs(30),
        }
    }
}
