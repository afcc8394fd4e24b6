//! What is drawn once for a delivery and kept in its notes, so that each attempt sends the same bytes
//! under the same Message-ID.

use crate::agreement::Agreement;
use crate::names::new_message_id;
use crate::outgoing::{MessageSeed, OwnKey, cipher};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result, Timestamp};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smime::{
    DecryptionKey, EncryptedContentKey, Entity, Headers, KeyTransport, Keys, Part, PartReceiver, ReadOptions,
};
use std::io::{self, Cursor, Read, Write};
use transport::Services;

/// The key of the note.
pub(crate) const NOTE: &str = "as2";

/// The note as it is stored.
#[derive(Serialize, Deserialize)]
struct Note {
    message_id: String,
    boundary: String,
    date_micros: i64,
    /// The content key, encrypted for ourselves: the database alone does not open the message.
    content_key: Option<String>,
    terms: String,
    #[serde(default)]
    answered: bool,
}

/// What became of the attempts before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Earlier {
    /// There was none.
    None,
    /// No receipt came: the partner may have the message.
    Open,
    /// A receipt came, and did not prove that the partner has the message.
    Answered,
}

/// A message that is prepared for sending: what makes it this message, each time it is sent.
pub(crate) struct PreparedMessage {
    pub(crate) seed: MessageSeed,
    /// Under which terms it was drawn. Under other terms (a new certificate, another cipher) the bytes
    /// would differ, and a Message-ID is never used again for other content.
    terms: String,
    pub(crate) earlier: Earlier,
}

impl PreparedMessage {
    /// Draws a new one.
    pub(crate) fn new(
        services: &Services,
        host: &str,
        agreement: &Agreement,
        recipient: Option<&X509>,
        terms: String,
    ) -> Result<Self> {
        let now: Timestamp = services.clock.now();
        let content_key = match recipient {
            None => None,
            Some(recipient) => Some(
                EncryptedContentKey::generate(
                    cipher(agreement.cipher),
                    std::slice::from_ref(recipient),
                    KeyTransport::Pkcs1v15,
                )
                .map_err(|error| {
                    Error::permanent(ErrorKind::ConfigInvalid, "encrypt for the partner")
                        .advice("the partner's first certificate must hold an RSA key")
                        .caused_by(error)
                })?,
            ),
        };
        let seed = MessageSeed {
            message_id: new_message_id(services.random.uuid(now), host),
            boundary: boundary(services),
            date: now,
            content_key,
        };
        Ok(Self { seed, terms, earlier: Earlier::None })
    }

    /// Reads the note of an earlier attempt; `None` when it was drawn under other terms.
    pub(crate) fn from_note(note: &Value, terms: &str, own: &OwnKey) -> Result<Option<Self>> {
        let unreadable = |error: String| {
            Error::permanent(ErrorKind::Internal, "read the note of an earlier attempt").with("reason", error)
        };
        let note: Note = serde_json::from_value(note.clone()).map_err(|e| unreadable(e.to_string()))?;
        if note.terms != terms {
            return Ok(None);
        }
        let content_key = match &note.content_key {
            None => None,
            Some(text) => Some(decrypt_key(text, own).map_err(|e| unreadable(e.to_string()))?),
        };
        let date = chrono::DateTime::from_timestamp_micros(note.date_micros)
            .ok_or_else(|| unreadable("its date".into()))?;
        let seed = MessageSeed { message_id: note.message_id, boundary: note.boundary, date, content_key };
        let earlier = if note.answered { Earlier::Answered } else { Earlier::Open };
        Ok(Some(Self { seed, terms: note.terms, earlier }))
    }

    /// The note to keep.
    pub(crate) fn to_note(&self, own: &OwnKey) -> Result<Value> {
        let failed = |error: smime::Error| {
            Error::permanent(ErrorKind::Internal, "encrypt the content key for its note").caused_by(error)
        };
        let content_key =
            self.seed.content_key.as_ref().map(|key| encrypt_key(key, own)).transpose().map_err(failed)?;
        serde_json::to_value(Note {
            message_id: self.seed.message_id.clone(),
            boundary: self.seed.boundary.clone(),
            date_micros: self.seed.date.timestamp_micros(),
            content_key,
            terms: self.terms.clone(),
            answered: self.earlier == Earlier::Answered,
        })
        .map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write the note of a message").caused_by(error)
        })
    }
}

/// A boundary that no content holds by chance.
pub(crate) fn boundary(services: &Services) -> String {
    let mut random = [0_u8; 18];
    services.random.fill(&mut random);
    format!("----waybill-{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}

/// Encrypts a content key for our own certificate.
fn encrypt_key(key: &EncryptedContentKey, own: &OwnKey) -> smime::Result<String> {
    let to_us = EncryptedContentKey::generate(
        key.cipher(),
        std::slice::from_ref(&own.certificate),
        KeyTransport::Pkcs1v15,
    )?;
    // With a header: content that begins without one is taken for the work of a wrong key.
    let headers = Headers::new().with("Content-Type", "application/octet-stream")?;
    let entity = Entity::new(headers, Cursor::new(key.to_bytes().to_vec()));
    let (_, mut body) = entity.encrypt(to_us)?.into_parts();
    let mut encrypted = Vec::new();
    body.read_to_end(&mut encrypted)?;
    Ok(BASE64.encode(encrypted))
}

fn decrypt_key(text: &str, own: &OwnKey) -> smime::Result<EncryptedContentKey> {
    let encrypted = BASE64.decode(text).map_err(|error| smime::Error::from(io::Error::other(error)))?;
    let ours = [DecryptionKey { key: own.key.clone(), certificate: own.certificate.clone() }];
    let headers = Headers::new().with("Content-Type", "application/pkcs7-mime; smime-type=enveloped-data")?;
    let mut bytes = Vec::new();
    let keys = Keys { decrypt: &ours, verify: &[] };
    smime::read_message(&headers, &encrypted[..], keys, &ReadOptions::default(), &mut Only(&mut bytes))?;
    EncryptedContentKey::from_bytes(&bytes)
}

struct Only<'a>(&'a mut Vec<u8>);

impl PartReceiver for Only<'_> {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(&mut *self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Key;
    use smime::Cipher;

    #[test]
    fn a_content_key_that_was_kept_is_the_same_key() {
        let (us, partner) = (Key::new("ACME"), Key::new("GLOBEX"));
        let own = OwnKey { key: us.key, certificate: us.certificate };
        let stranger = OwnKey { key: partner.key, certificate: partner.certificate.clone() };
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Cbc, Cipher::TripleDesCbc] {
            let recipients = [partner.certificate.clone()];
            let key = EncryptedContentKey::generate(cipher, &recipients, KeyTransport::Pkcs1v15).unwrap();
            let kept = encrypt_key(&key, &own).unwrap();
            let read = decrypt_key(&kept, &own).unwrap();
            assert_eq!(*read.to_bytes(), *key.to_bytes());
            // The partner's key, or the database alone, does not open it.
            assert!(decrypt_key(&kept, &stranger).is_err());
        }
    }
}
