//! The signature of a message by PGP/MIME with the key that verifies it, for its evidence. It is noted with the message, which
//! cannot be made again: by a later attempt our key may be another one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result};
use pgp_mime::{OwnKey, PartnerKey, SignatureSlot};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The signature of a message that is being made.
pub(crate) struct PgpSignature {
    pub(crate) slot: SignatureSlot,
    pub(crate) key: Arc<OwnKey>,
}

impl PgpSignature {
    /// As it is noted, once the message was made.
    ///
    /// # Errors
    /// `Internal`, permanent: the message was not signed, or the key cannot be encoded.
    pub(crate) fn made(&self) -> Result<NotedPgpSignature> {
        let signature = self.slot.get().ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "find the OpenPGP signature of a message that was made")
        })?;
        Ok(NotedPgpSignature { signature: BASE64.encode(signature), signer: armour(self.key.public())? })
    }
}

/// As it is noted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct NotedPgpSignature {
    /// In base64.
    signature: String,
    /// Our public key, in armour.
    signer: String,
}

impl NotedPgpSignature {
    /// The signature, and the key that verifies it.
    ///
    /// # Errors
    /// `Internal`, permanent: the note cannot be read.
    pub(crate) fn read(&self) -> Result<(Vec<u8>, PartnerKey)> {
        let unreadable = || Error::permanent(ErrorKind::Internal, "read the note of an OpenPGP signature");
        let signature = BASE64.decode(&self.signature).map_err(|error| unreadable().caused_by(error))?;
        let signer = PartnerKey::read(&self.signer).map_err(|error| unreadable().caused_by(error))?;
        Ok((signature, signer))
    }
}

/// A public key in armour.
///
/// # Errors
/// It cannot be encoded.
pub(crate) fn armour(key: &PartnerKey) -> Result<String> {
    key.to_armoured()
        .map_err(|error| Error::permanent(ErrorKind::Internal, "encode an OpenPGP key").caused_by(error))
}
