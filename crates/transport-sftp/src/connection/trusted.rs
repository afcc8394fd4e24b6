//! Servers that are trusted by the list of all nodes, which people change while connections are open.

use super::{Ending, Remote};
use crate::protocol::fingerprint::fingerprint;
use crate::protocol::host_key::HostTrust;
use crate::protocol::known_hosts::KnownHosts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{HostKeyStanding, OfferedHostKey};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use transport::HostKeyList;

/// What the list said of a server when its key was accepted.
pub(super) struct Trusted {
    list: Arc<dyn HostKeyList>,
    host: String,
    port: u16,
    address: Option<IpAddr>,
    lines: Mutex<Arc<Vec<String>>>,
}

impl Trusted {
    /// Whether the list says of the server what it said then.
    fn still(&self) -> bool {
        let now = self.list.lines();
        let mut then = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&now, &then) {
            return true;
        }
        let same = self.said(&now) == self.said(&then);
        if same {
            *then = now;
        }
        same
    }

    /// The keys of the host, those that it must not have, and its authorities.
    fn said(&self, lines: &[String]) -> [Vec<Vec<u8>>; 3] {
        let hosts = KnownHosts::of(lines);
        let found = hosts.find(&self.host, self.port, self.address);
        [found.keys, found.revoked, found.authorities].map(|keys| {
            let mut keys: Vec<Vec<u8>> = keys.iter().map(|key| key.key.to_vec()).collect();
            keys.sort_unstable();
            keys
        })
    }
}

impl Ending {
    /// Whether the server would still be trusted by the list of all nodes, where that counted. What is running ends as it
    /// will; the next use makes a new connection.
    pub(super) fn is_still_trusted(&self) -> bool {
        self.trusted.as_ref().is_none_or(Trusted::still)
    }
}

impl Remote {
    /// Whom to trust on a connection that is made now.
    pub(super) fn trust(&self, address: Option<IpAddr>) -> (HostTrust, Option<Trusted>) {
        let settings = &self.settings;
        if !matches!(settings.trust, HostTrust::Listed(_)) {
            return (settings.trust.clone(), None);
        }
        let list = Arc::clone(&self.services.host_keys);
        let lines = list.lines();
        let trust = HostTrust::Listed(KnownHosts::of(&lines));
        let (host, port, lines) = (settings.host.clone(), settings.port, Mutex::new(lines));
        (trust, Some(Trusted { list, host, port, address, lines }))
    }

    /// A key as people decide about it.
    pub(super) fn offered(&self, key_type: &str, key: &[u8], standing: HostKeyStanding) -> OfferedHostKey {
        OfferedHostKey {
            host: self.settings.host.clone(),
            port: self.settings.port,
            key_type: key_type.to_owned(),
            fingerprint: fingerprint(key),
            key: BASE64.encode(key),
            standing,
            endpoint: self.settings.endpoint.clone(),
            at: self.services.clock.now(),
        }
    }

    /// Keeps a key that was not accepted, for a person to decide about; a revoked one is decided already.
    pub(super) async fn note_refused_key(&self, ending: &Ending) {
        let Some(shown) = ending.seen.refused() else { return };
        let Some(standing @ (HostKeyStanding::Unknown | HostKeyStanding::Changed)) = shown.standing else {
            return;
        };
        let offered = self.offered(&shown.key_type, &shown.key, standing);
        if let Err(error) = self.services.host_keys.offered(offered).await {
            let endpoint = &self.settings.endpoint;
            tracing::warn!(%endpoint, error = %error.chain(), "the host key that was refused is not kept for a decision; \
                `waybill known-host scan` shows it too");
        }
    }
}
