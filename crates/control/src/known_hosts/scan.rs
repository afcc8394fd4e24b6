//! Asking a server for its host keys, so that a person can compare their fingerprints.

use crate::suspensions::find_among;
use crate::{Caller, Control};
use engine::Trial;
use model::definition::Endpoint;
use model::{Error, ErrorKind, OfferedHostKey, Permission, Result, SuspensionKind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whom to ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanHostKeys {
    /// The server of an endpoint, reached as the endpoint says (proxy, jump host).
    Endpoint(String),
    /// A host with its port, such as `sftp.acme.example`, `sftp.acme.example:2222` or `[2001:db8::1]:2222`.
    Host(String),
}

/// What a server showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ScannedHost {
    /// The host, as lines of the list name it.
    pub host: String,
    /// Its keys, one of each type, with how they stand in the list.
    pub keys: Vec<OfferedHostKey>,
}

const OPERATION: &str = "ask a server for its host keys";

impl Control {
    /// Asks a server for its host keys. Nobody logs in, and nothing is trusted by it: a man in the middle could
    /// show keys of their own. The connections are on record.
    ///
    /// # Errors
    /// The caller may not change definitions; the endpoint is not defined; the host cannot be read; the server does not
    /// answer, or has no host keys.
    pub async fn scan_host_keys(
        &self,
        caller: &Caller,
        trial: &Trial,
        request: &ScanHostKeys,
    ) -> Result<ScannedHost> {
        caller.require(Permission::ChangeDefinitions)?;
        let (spec, format) = self.host_key_format(OPERATION)?;
        let endpoint = match request {
            ScanHostKeys::Endpoint(name) => {
                let definitions = trial.definitions();
                let names = definitions.endpoints.keys().map(String::as_str);
                find_among(OPERATION, SuspensionKind::Endpoint, name, names)?;
                definitions.endpoints.get(name).cloned()
            }
            ScanHostKeys::Host(host) => {
                let (host, port) = read_host(host)?;
                let endpoint = Endpoint::bare("known-host-scan", &format.url(&host, port), spec)?;
                Some(Arc::new(endpoint))
            }
        };
        let endpoint = endpoint.ok_or_else(|| Error::permanent(ErrorKind::NotFound, OPERATION))?;
        let keys = trial.shown_host_keys(&endpoint).await?;
        let host = keys.first().map(OfferedHostKey::listed_host).unwrap_or_default();
        Ok(ScannedHost { host, keys })
    }
}

fn invalid(host: &str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
        .with("host", host)
        .advice("write a name or an address, with another port than 22 as name:2222 or [2001:db8::1]:2222")
}

/// A host and its port.
fn read_host(text: &str) -> Result<(String, u16)> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, 22),
        Some((host, port)) => (host, number(port.strip_prefix(':'), text)?),
        // More than one colon is an address of IPv6 without a port.
        None if text.matches(':').count() == 1 => {
            let (host, port) = text.split_once(':').ok_or_else(|| invalid(text))?;
            (host, number(Some(port), text)?)
        }
        None => (text, 22),
    };
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':') || !c.is_ascii();
    if host.is_empty() || !host.chars().all(is_good) {
        return Err(invalid(text));
    }
    Ok((host.to_owned(), port))
}

fn number(port: Option<&str>, text: &str) -> Result<u16> {
    let port = port.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    port.ok_or_else(|| invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_as_people_write_it() {
        for (text, host, port) in [
            (" sftp.acme.example ", "sftp.acme.example", 22),
            ("sftp.acme.example:2222", "sftp.acme.example", 2222),
            ("172.22.52.130", "172.22.52.130", 22),
            ("2001:db8::1", "2001:db8::1", 22),
            ("[2001:db8::1]", "2001:db8::1", 22),
            ("[2001:db8::1]:2222", "2001:db8::1", 2222),
        ] {
            assert_eq!(read_host(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in ["", ":22", "a b", "a:", "a:0", "a:70000", "[::1]x", "user@host", "a/b", "sftp://a"] {
            assert_eq!(read_host(text).unwrap_err().kind(), ErrorKind::ConfigInvalid, "{text}");
        }
    }
}
