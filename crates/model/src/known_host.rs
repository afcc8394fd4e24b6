//! Known hosts: the host keys of servers that every node trusts, as one list, and what reads a line of it.

use crate::connection::words;
use crate::definition::Endpoint;
use crate::{Actor, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A line of the list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownHost {
    /// Its id.
    pub id: Uuid,
    /// The line as OpenSSH's `known_hosts` has it, with single spaces and without its comment.
    pub line: String,
    /// The key's fingerprint, `SHA256:…`.
    pub fingerprint: String,
    /// What people wrote beside it.
    pub comment: Option<String>,
    /// Who added it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

impl KnownHost {
    /// What the line says: that the hosts have the key, that nobody has it, or that the key certifies them.
    #[must_use]
    pub fn mark(&self) -> KnownHostMark {
        KnownHostMark::of(&self.line).0
    }

    /// Names and addresses, separated by commas, or one hashed name.
    #[must_use]
    pub fn hosts(&self) -> &str {
        self.word(0)
    }

    /// Such as `ssh-ed25519`.
    #[must_use]
    pub fn key_type(&self) -> &str {
        self.word(1)
    }

    fn word(&self, at: usize) -> &str {
        KnownHostMark::of(&self.line).1.split(' ').nth(at).unwrap_or_default()
    }
}

words! {
    /// What a line of the list says of its key.
    KnownHostMark {
        /// The hosts may have it.
        Host = "host",
        /// It may have certified the keys of the hosts.
        Authority = "authority",
        /// The hosts must not have it any more.
        Revoked = "revoked",
    }
}

impl KnownHostMark {
    /// The mark that a line begins with, and the rest of the line.
    fn of(line: &str) -> (Self, &str) {
        match line.split_once(' ') {
            Some(("@cert-authority", rest)) => (Self::Authority, rest),
            Some(("@revoked", rest)) => (Self::Revoked, rest),
            _ => (Self::Host, line),
        }
    }

    const fn begins(self) -> &'static str {
        match self {
            Self::Host => "",
            Self::Authority => "@cert-authority ",
            Self::Revoked => "@revoked ",
        }
    }
}

/// A line as it was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KnownHostLine {
    /// What it says.
    pub mark: KnownHostMark,
    /// Names and addresses as they are written, or one hashed name.
    pub hosts: String,
    /// Those of the hosts that are names or addresses and no patterns, each with its port.
    pub names: Vec<(String, u16)>,
    /// Such as `ssh-ed25519`.
    pub key_type: String,
    /// The key in base64.
    pub key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What follows the key.
    pub comment: Option<String>,
}

impl KnownHostLine {
    /// The line without its comment, in one spelling.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{} {} {}", self.mark.begins(), self.hosts, self.key_type, self.key)
    }
}

words! {
    /// How a key that a server showed stands in the list.
    HostKeyStanding {
        /// It is on file for the host.
        Known = "known",
        /// No key of its type is on file for the host.
        Unknown = "unknown",
        /// Another key of its type is: the server has a new key, or it is another server.
        Changed = "changed",
        /// It is marked as revoked.
        Revoked = "revoked",
    }
}

/// A host key that a server showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OfferedHostKey {
    /// The host that was asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Such as `ssh-ed25519`.
    pub key_type: String,
    /// The key in base64.
    pub key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// How it stood in the list.
    pub standing: HostKeyStanding,
    /// The endpoint for which the connection was made.
    pub endpoint: String,
    /// When it was shown last.
    pub at: Timestamp,
}

impl OfferedHostKey {
    /// The host as the list has it: with its port in the way of OpenSSH where that is not 22.
    #[must_use]
    pub fn listed_host(&self) -> String {
        listed_host(&self.host, self.port)
    }

    /// The line that puts it on file.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} {}", self.listed_host(), self.key_type, self.key)
    }
}

/// A host and port as lines of the list have them: `host`, or `[host]:2222`.
#[must_use]
pub fn listed_host(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// What a transport knows of the list whose servers show host keys.
pub trait HostKeyFormat: Send + Sync {
    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(&self, line: &str) -> Result<KnownHostLine, String>;

    /// Which of these lines are about a host at a port, by their places.
    fn about(&self, lines: &[String], host: &str, port: u16) -> Vec<usize>;

    /// The host and port that an endpoint looks up in the list; `None` if it says by itself whom to trust.
    fn looks_up(&self, endpoint: &Endpoint) -> Option<(String, u16)>;

    /// The address of a server of which only host and port are known.
    fn url(&self, host: &str, port: u16) -> String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(line: &str) -> KnownHost {
        KnownHost {
            id: Uuid::nil(),
            line: line.into(),
            fingerprint: "SHA256:x".into(),
            comment: None,
            by: Actor::System,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_line_tells_its_mark_hosts_and_type() {
        for (line, mark) in [
            ("a,10.0.0.1 ssh-ed25519 AAAA", KnownHostMark::Host),
            ("@revoked a,10.0.0.1 ssh-ed25519 AAAA", KnownHostMark::Revoked),
            ("@cert-authority a,10.0.0.1 ssh-ed25519 AAAA", KnownHostMark::Authority),
        ] {
            let known = known(line);
            assert_eq!((known.mark(), known.hosts(), known.key_type()), (mark, "a,10.0.0.1", "ssh-ed25519"));
        }
    }

    #[test]
    fn only_ports_other_than_22_are_written() {
        assert_eq!(listed_host("sftp.acme.example", 22), "sftp.acme.example");
        assert_eq!(listed_host("fd00::1", 2222), "[fd00::1]:2222");
    }
}
