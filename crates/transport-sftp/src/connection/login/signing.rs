//! Our key's signature for a login with its certificate.

use russh::Signer;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};
use std::sync::Arc;

/// A private key that signs. The SSH library itself would sign with SHA-1 for a certificate of an RSA key.
pub(super) struct OurKey(pub(super) Arc<PrivateKey>);

/// Why nothing was signed.
#[derive(Debug)]
pub(super) struct NotSigned;

impl From<russh::SendError> for NotSigned {
    fn from(_: russh::SendError) -> Self {
        Self
    }
}

impl OurKey {
    fn signature(&self, hash: Option<HashAlg>, data: &[u8]) -> Option<Signature> {
        use russh::keys::signature::Signer as _;
        match self.0.key_data() {
            KeypairData::Rsa(key) => (key, hash).try_sign(data).ok(),
            _ => self.0.try_sign(data).ok(),
        }
    }
}

impl Signer for OurKey {
    type Error = NotSigned;

    /// The data, and after it the signature (RFC 4252, section 7).
    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        let signature = self.signature(hash, &data).ok_or(NotSigned)?;
        signature.encode_prefixed(&mut data).map_err(|_| NotSigned)?;
        Ok(data)
    }
}
