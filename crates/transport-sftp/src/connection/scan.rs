//! Asking a server for its host keys, as ssh-keyscan does: one key exchange for each type of key, and nothing after it.

use super::Remote;
use crate::protocol::algorithms;
use crate::protocol::handshake::Ended;
use crate::protocol::host_key::{HostTrust, Place};
use crate::protocol::known_hosts::KnownHosts;
use model::{HostKeyStanding, OfferedHostKey, Purpose, Result};
use russh::AlgorithmKind;
use russh::keys::Algorithm;

/// The types of keys, with the algorithms that sign with them.
const TYPES: [&[&str]; 5] = [
    &["ssh-ed25519"],
    &["ecdsa-sha2-nistp256"],
    &["ecdsa-sha2-nistp384"],
    &["ecdsa-sha2-nistp521"],
    &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
];

impl Remote {
    /// The server's keys, one of each type that it has. Nobody logs in.
    ///
    /// # Errors
    /// It cannot be reached, or is no SSH server.
    pub(crate) async fn host_keys(&self, endpoint: &str) -> Result<Vec<OfferedHostKey>> {
        let mut shown = Vec::new();
        for names in TYPES {
            let algorithms: Vec<_> = names.iter().filter_map(|name| algorithms::host_key(name)).collect();
            shown.extend(self.host_key(endpoint, &algorithms).await?);
        }
        Ok(shown)
    }

    /// The server's key of one type; `None` if it has none.
    async fn host_key(&self, endpoint: &str, of: &[Algorithm]) -> Result<Option<OfferedHostKey>> {
        let stream = self.reach(Purpose::Test, endpoint).await?;
        let record = stream.handle();
        let address = record.remote().filter(|_| record.proxy().is_none()).map(|remote| remote.ip());
        let (ending, shaken) = self.shake_hands(stream, (HostTrust::Nobody, address), Some(of)).await;
        if let Some(shown) = ending.seen.refused() {
            let settings = &self.settings;
            let place = Place { host: &settings.host, port: settings.port, address };
            let list = HostTrust::Listed(KnownHosts::of(&self.services.host_keys.lines()));
            let standing = list.standing(&place, &shown.key_type, &shown.key);
            let standing = standing.unwrap_or(HostKeyStanding::Unknown);
            return Ok(Some(self.offered(&shown.key_type, &shown.key, standing)));
        }
        let error = match shaken {
            Ok(Err(Ended::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. }))) => {
                ending.record.closing("the server has no host key of this type");
                return Ok(None);
            }
            Ok(Err(ended)) => self.not_completed(ended, &ending),
            Err(waited) => self.took_too_long(waited, &ending),
            // Nobody is trusted, so no session begins.
            Ok(Ok(_)) => return Ok(None),
        };
        ending.record.fail(error.chain());
        Err(ending.target.on_connection(error))
    }
}
