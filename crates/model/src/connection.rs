//! The records of a connection. Every socket that Waybill opens or accepts has one of opening and one of
//! closing.

use crate::{ConnectionId, NodeName, PeerText, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// An enumeration whose values have stable words, as in documents, the database and the API.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// Every value, in the order declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Stable name, as in the database and the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value of a stable name.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Who opened the connection.
    Direction {
        /// Waybill did.
        Outbound = "outbound",
        /// The peer did.
        Inbound = "inbound",
    }
}

words! {
    /// The protocol of a connection.
    Protocol {
        /// SSH file transfer.
        Sftp = "sftp",
        /// FTP control or data.
        Ftp = "ftp",
        /// HTTP or HTTPS.
        Http = "http",
        /// AS2 over HTTP or HTTPS.
        As2 = "as2",
        /// WebDAV over HTTP or HTTPS.
        Webdav = "webdav",
        /// Mail submission.
        Smtp = "smtp",
        /// Mail reading.
        Imap = "imap",
        /// Mail reading.
        Pop3 = "pop3",
        /// Messages to a syslog server.
        Syslog = "syslog",
    }
}

words! {
    /// What a connection is for.
    Purpose {
        /// Looking for offers and reading them.
        Poll = "poll",
        /// Delivering payloads.
        Deliver = "deliver",
        /// Receiving what a peer sends.
        Receive = "receive",
        /// A test that a person asked for.
        Test = "test",
        /// A page or API call.
        Console = "console",
        /// Sending a receipt.
        Receipt = "receipt",
        /// Sending audit seals out, or having them time-stamped.
        Audit = "audit",
        /// Listings and files of another connection (FTP), which tells what they are for.
        Data = "data",
    }
}

/// A connection that was established, or that failed after its socket was opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionOpened {
    /// This connection.
    pub id: ConnectionId,
    /// When the socket was opened.
    pub at: Timestamp,
    /// The node it belongs to.
    pub node: NodeName,
    /// Who opened it.
    pub direction: Direction,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// What it is for.
    pub purpose: Purpose,
    /// The endpoint it belongs to; none for console and unknown callers.
    pub endpoint: Option<String>,
    /// The host and port asked for, as configured (outbound) or as the Host header or SNI said (inbound).
    pub host: Option<PeerText>,
    /// The real address of the other side of the socket.
    pub remote: Option<SocketAddr>,
    /// Our side of the socket.
    pub local: Option<SocketAddr>,
    /// The proxy or SSH jump host it goes through, as `host:port`; then `remote` is that one's address.
    pub proxy: Option<String>,
    /// How it is protected.
    pub security: Security,
    /// Of a data connection (FTP): the connection over which it was agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ConnectionId>,
    /// Of a connection through an SSH jump host: the connection to the jump host, which carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<ConnectionId>,
}

/// How a connection is protected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Security {
    /// Not at all.
    None,
    /// By TLS.
    Tls {
        /// Such as `TLSv1.3`.
        version: String,
        /// Such as `TLS_AES_256_GCM_SHA384`.
        cipher: String,
        /// The peer's certificate. Boxed, because most connections have none.
        peer: Option<Box<Certificate>>,
    },
    /// By SSH.
    Ssh {
        /// The server's key type, such as `ssh-ed25519`.
        host_key_type: String,
        /// `SHA256:…` of the host key.
        host_key: String,
        /// Key exchange.
        kex: String,
        /// Cipher.
        cipher: String,
        /// MAC; empty with an AEAD cipher.
        mac: String,
        /// The server's identification line.
        server: PeerText,
    },
}

/// What is recorded of a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Subject, RFC 4514 text.
    pub subject: PeerText,
    /// Issuer, RFC 4514 text.
    pub issuer: PeerText,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 over the DER, hexadecimal.
    pub sha256: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

/// The end of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionClosed {
    /// The connection.
    pub id: ConnectionId,
    /// When it ended.
    pub at: Timestamp,
    /// Bytes read from the socket.
    pub bytes_in: u64,
    /// Bytes written to the socket.
    pub bytes_out: u64,
    /// How long it was up.
    pub duration: Duration,
    /// Requests (HTTP) or file operations (SFTP) carried.
    pub requests: u64,
    /// Why it ended.
    pub reason: PeerText,
    /// Whether the end was an error.
    pub failed: bool,
}

/// An attempt to connect that failed: the name was not found, egress rules refused the address, there was no
/// answer, or the proxy refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionFailed {
    /// The attempt. No other record has this id.
    pub id: ConnectionId,
    /// When the attempt began.
    pub at: Timestamp,
    /// The node it was made on.
    pub node: NodeName,
    /// What would have been spoken.
    pub protocol: Protocol,
    /// What it was for.
    pub purpose: Purpose,
    /// The endpoint it was for.
    pub endpoint: Option<String>,
    /// The host and port asked for, as `host:port`.
    pub host: PeerText,
    /// The last address tried, if the name was resolved.
    pub remote: Option<SocketAddr>,
    /// The proxy to go through, as `host:port`.
    pub proxy: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// What went wrong, with its causes.
    pub error: PeerText,
}

/// An address as it is shown and recorded: without a port where none is known, which is 0.
#[must_use]
pub fn address_text(address: SocketAddr) -> String {
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}
