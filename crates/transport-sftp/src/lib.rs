//! SFTP: polling and delivering over SSH.
//!
//! The SSH layer is russh over a stream of the `net` room; SFTP version 3 is spoken here, with names as
//! bytes and many requests on their way. Reading order: `session` (connect, trust) and `login`, `client`
//! (requests and answers), `read`, `list` and `upload`, `folder` (the contract), `pool`.
//! Polling and safe writing themselves are the `transport` room's.
//!
//! An endpoint's directory, `sftp://host:port/dir`, is taken from where the login starts;
//! `sftp://host:port//dir` is absolute. Not here yet: host certificates, keyboard-interactive and host-based
//! logins, options for algorithms and compression, proxies.

mod client;
mod destination;
mod endpoint;
mod error;
mod exchange;
mod folder;
mod handshake;
mod host_key;
mod identification;
mod key;
mod known_hosts;
mod list;
mod login;
mod look;
mod options;
mod packet;
mod pool;
mod probe;
mod read;
mod session;
mod source;
mod stream;
mod upload;

pub use endpoint::SftpTransport;
pub use options::SPEC;
