//! Limits that protect the server from single clients.

use std::time::Duration;

/// Limits on accepted connections. The handler limits the size of a body.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// The size of request line and headers together, in bytes; a larger head is answered with 431. Default 64 KiB,
    /// at least 8 KiB.
    pub header_bytes: usize,
    /// The number of header fields of a request; more are answered with 431. Default 200.
    pub header_count: usize,
    /// The time until the first byte of a new connection, or of its PROXY header. Default 10 s.
    pub first_byte_timeout: Duration,
    /// The time for a request's head, from its first byte (or from the connection's beginning) to its last. Default
    /// 30 s.
    pub header_timeout: Duration,
    /// The time for a TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// The time until the next request on a kept connection. Default 75 s.
    pub idle_timeout: Duration,
    /// The longest silence while a body is received. Default 60 s.
    pub body_idle_timeout: Duration,
    /// The time that any body may take, and the number of bytes that extend it by a second. Without this, single
    /// bytes now and then would hold a connection and its handler's resources forever. Default 15 s and 4 KiB.
    pub body_grace: Duration,
    /// See `body_grace`.
    pub body_bytes_per_second: u64,
    /// The longest time in which a client reads nothing of an answer. Default 60 s.
    pub write_timeout: Duration,
    /// The number of open connections on each address. For a further one, the connection that has been idle longest
    /// is closed; if none is idle, the new one is refused. Default 1,024.
    pub connections: usize,
    /// The same for each client: an IPv4 address, or the /64 network of an IPv6 address. It does not apply to trusted
    /// proxies, but to each client whose requests they pass on. Default 256.
    pub connections_per_client: usize,
    /// A connection must be idle for this time before it is closed to make room, so that a client that opens
    /// thousands of connections a second does not fill the records. Default 1 s.
    pub idle_before_closed: Duration,
    /// How often refused connections, and connections closed to make room, are recorded. Default 30 s.
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
