//! SSH and SFTP themselves, without endpoints and files: what is sent, what comes back, and whom to trust.
//!
//! Reading order: `stream` and `identification` (the first bytes), `algorithms`, `handshake` with `host_key`, `certificate` and `known_hosts` (trust, with `fingerprint`), `key`
//! (who we are), `packet` (SFTP version 3), `exchange` (many requests on their way), `client` (requests and answers), `fault`.

pub(crate) mod algorithms;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod fault;
pub(crate) mod fingerprint;
pub(crate) mod handshake;
pub(crate) mod host_key;
pub(crate) mod identification;
pub(crate) mod key;
pub(crate) mod known_hosts;
pub(crate) mod packet;
pub(crate) mod stream;
