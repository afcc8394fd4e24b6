//! What is drawn once for a delivery and kept in its notes, so that each attempt sends the same bytes
//! under the same Message-ID.

use crate::agreement::Agreement;
use crate::material::can_hold;
use crate::message_terms::MessageTerms;
use crate::names::new_message_id;
use crate::outgoing::{MessageSeed, OwnKey, RECIPE, cipher, key_transport};
use crate::spool;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result, Timestamp};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smime::{
    Cipher, DecryptionKey, EncryptedContentKey, Entity, Headers, KeyTransport, Keys, Part, PartReceiver,
    ReadOptions,
};
use std::collections::BTreeMap;
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
    /// How its bytes are made: the [`RECIPE`] of the version that drew it.
    recipe: u32,
    /// The content key, encrypted for ourselves: the database alone does not open the message.
    content_key: Option<String>,
    terms: MessageTerms,
    /// The URL that it names for its receipt; none where that comes in the answer.
    #[serde(default)]
    reply_url: Option<String>,
    #[serde(default)]
    answered: bool,
    /// The partner answered, and may have the message all the same.
    #[serde(default)]
    may_have: bool,
    /// Its receipt refused the message.
    #[serde(default)]
    refused: bool,
}

/// What became of the attempts before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Earlier {
    /// There was none.
    None,
    /// No receipt came: the partner may have the message.
    Open,
    /// The partner answered and did not prove that it has the message, or not all of the message was sent.
    Answered,
}

/// A message that is prepared for sending: what makes it this message, each time it is sent.
pub(crate) struct PreparedMessage {
    pub(crate) seed: MessageSeed,
    /// Under which terms it was drawn. Under other terms (a new certificate, another cipher) the bytes
    /// would differ, and a Message-ID is never used again for other content.
    pub(crate) terms: MessageTerms,
    /// The URL that it names for its receipt; none where that comes in the answer. It is none of the terms: what the partner
    /// may have is sent again with the URL that it had, whatever our address is by now.
    pub(crate) reply_url: Option<String>,
    /// The [`RECIPE`] of the version that drew it: another one than ours of a message in staging alone.
    recipe: u32,
    pub(crate) earlier: Earlier,
    /// Whether the partner may have it though it answered: its receipt neither proves nor refuses it.
    pub(crate) may_have: bool,
    /// Whether its last receipt refused it.
    pub(crate) refused: bool,
}

impl PreparedMessage {
    /// Draws a new one.
    pub(crate) fn new(
        services: &Services,
        host: &str,
        agreement: &Agreement,
        recipients: &[X509],
        terms: MessageTerms,
    ) -> Result<Self> {
        let now: Timestamp = services.clock.now();
        let content_key = match recipients {
            [] => None,
            recipients => Some(
                EncryptedContentKey::generate(
                    cipher(agreement.cipher),
                    recipients,
                    key_transport(agreement.key_transport),
                )
                .map_err(|error| {
                    Error::permanent(ErrorKind::ConfigInvalid, "encrypt for the partner")
                        .advice("the certificates that messages are encrypted for must hold RSA or EC keys")
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
        let reply_url = agreement.receipts.reply_url().map(str::to_owned);
        Ok(Self {
            seed,
            terms,
            reply_url,
            recipe: RECIPE,
            earlier: Earlier::None,
            may_have: false,
            refused: false,
        })
    }

    /// Whether the partner may have it from an earlier attempt.
    pub(crate) fn is_open(&self) -> bool {
        self.earlier == Earlier::Open || self.may_have
    }

    /// The message of an earlier attempt, read with any of our keys; `None` before the first, and where another message takes its
    /// place: it was drawn under other terms, or cannot be repeated and the partner does not have it. `is_repeated` says that
    /// the partner may have it or has a part of it, by all notes (`partnership`).
    ///
    /// # Errors
    /// Permanent, where the partner may have a message that cannot be repeated: `ConfigInvalid` if none of our keys opens its
    /// content key, `Unsupported` if another version of Waybill began it. `Internal`: a note cannot be read.
    pub(crate) fn from_notes(
        notes: &BTreeMap<String, Value>,
        (terms, is_repeated): (&MessageTerms, bool),
        own: &[OwnKey],
    ) -> Result<Option<Self>> {
        let Some(note) = notes.get(NOTE) else { return Ok(None) };
        let note = Note::read(note)?;
        if note.terms != *terms {
            return Ok(None);
        }
        // The partner does not have it: another message may take its place.
        let may_be_replaced = !is_repeated || !note.is_open();
        if !note.has_same_bytes(notes)? {
            return if may_be_replaced { Ok(None) } else { Err(of_another_version(&note)) };
        }
        let content_key = match &note.content_key {
            None => None,
            Some(text) => match decrypt_key(text, own) {
                Ok(key) => Some(key),
                Err(_) if may_be_replaced => return Ok(None),
                Err(error) => return Err(unopened(&note.message_id, &error)),
            },
        };
        let date = chrono::DateTime::from_timestamp_micros(note.date_micros)
            .ok_or_else(|| unreadable("its date"))?;
        let seed = MessageSeed { message_id: note.message_id, boundary: note.boundary, date, content_key };
        let earlier = if note.answered { Earlier::Answered } else { Earlier::Open };
        let Note { terms, reply_url, recipe, may_have, refused, .. } = note;
        Ok(Some(Self { seed, terms, reply_url, recipe, earlier, may_have, refused }))
    }

    /// The note to keep, which any of our keys that can decrypt opens.
    pub(crate) fn to_note(&self, own: &[OwnKey]) -> Result<Value> {
        self.noted(own, self.earlier == Earlier::Answered)
    }

    /// The note to keep when a message that the partner does not have is sent again: it may have it then.
    pub(crate) fn to_open_note(&self, own: &[OwnKey]) -> Result<Value> {
        self.noted(own, false)
    }

    fn noted(&self, own: &[OwnKey], answered: bool) -> Result<Value> {
        let failed = |error: smime::Error| {
            Error::permanent(ErrorKind::Internal, "encrypt the content key for its note").caused_by(error)
        };
        let content_key = match &self.seed.content_key {
            None => None,
            Some(key) => Some(encrypt_key(key, &holders(own)?).map_err(failed)?),
        };
        serde_json::to_value(Note {
            message_id: self.seed.message_id.clone(),
            boundary: self.seed.boundary.clone(),
            date_micros: self.seed.date.timestamp_micros(),
            recipe: self.recipe,
            content_key,
            terms: self.terms.clone(),
            reply_url: self.reply_url.clone(),
            answered,
            may_have: answered && self.may_have,
            refused: answered && self.refused,
        })
        .map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write the note of a message").caused_by(error)
        })
    }
}

/// The message of an earlier attempt, as its note tells of it.
pub(crate) struct Noted {
    pub(crate) message_id: String,
    pub(crate) terms: MessageTerms,
    /// Whether the partner may have it, unless a receipt that came later refused it.
    pub(crate) is_open: bool,
    /// Whether the partner may have it though it answered.
    pub(crate) may_have: bool,
    /// Whether a receipt in the answer refused it.
    pub(crate) refused: bool,
}

impl Noted {
    /// The last one; `None` before the first, and where another message takes its place in any case.
    ///
    /// # Errors
    /// `Internal`, permanent: a note cannot be read.
    pub(crate) fn last(notes: &BTreeMap<String, Value>) -> Result<Option<Self>> {
        let Some(note) = notes.get(NOTE) else { return Ok(None) };
        let note = Note::read(note)?;
        // A part that the partner has of it is of no use: the rest would be bytes of another version.
        if !note.is_open() && !note.has_same_bytes(notes)? {
            return Ok(None);
        }
        let Note { message_id, terms, answered, may_have, refused, .. } = note;
        Ok(Some(Self { message_id, terms, is_open: !answered, may_have, refused }))
    }
}

impl Note {
    fn read(note: &Value) -> Result<Self> {
        Self::deserialize(note).map_err(|error| unreadable(&error.to_string()))
    }

    /// Whether the partner may have the whole message, by this note alone.
    fn is_open(&self) -> bool {
        !self.answered || self.may_have
    }

    /// Whether sending it again gives the bytes that were sent before: they are made as then, or all of them are in staging.
    fn has_same_bytes(&self, notes: &BTreeMap<String, Value>) -> Result<bool> {
        Ok(self.recipe == RECIPE || spool::is_kept(notes, &self.message_id)?)
    }
}

fn unreadable(reason: &str) -> Error {
    Error::permanent(ErrorKind::Internal, "read the note of an earlier attempt").with("reason", reason)
}

/// Whether a receipt in an answer has refused this message before, as its note says.
pub(crate) fn was_answered(note: Option<&Value>, message_id: &str) -> bool {
    let field = |name: &str| note.and_then(|note| note.get(name));
    field("message_id").and_then(Value::as_str) == Some(message_id)
        && field("answered").and_then(Value::as_bool) == Some(true)
}

/// Whether this is the last message that was drawn for the delivery: under other terms, another one takes its place.
pub(crate) fn is_current(note: Option<&Value>, message_id: &str) -> bool {
    let current = note.and_then(|note| note.get("message_id")?.as_str());
    current.is_none_or(|current| current == message_id)
}

/// Whether the last message that was drawn asks for a receipt that comes later.
pub(crate) fn asks_for_later(note: Option<&Value>) -> bool {
    note.and_then(|note| note.get("reply_url")).is_some_and(Value::is_string)
}

/// A boundary that no content holds by chance.
pub(crate) fn boundary(services: &Services) -> String {
    let mut random = [0_u8; 18];
    services.random.fill(&mut random);
    format!("----waybill-{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}

/// The certificates of ours that content keys are kept encrypted for: all that can be, as keys come and go while a message
/// waits.
fn holders(own: &[OwnKey]) -> Result<Vec<X509>> {
    let holders = own.iter().filter(|own| can_hold(own.key.id())).map(|own| own.certificate.clone());
    let holders: Vec<X509> = holders.collect();
    if holders.is_empty() {
        let error =
            Error::permanent(ErrorKind::ConfigInvalid, "keep the content key of a message for its retries");
        return Err(
            error.advice("add an RSA or EC key to the identity: the content key is kept encrypted for it")
        );
    }
    Ok(holders)
}

/// The error where none of our keys opens the content key of a message that the partner may have.
fn unopened(message_id: &str, error: &smime::Error) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "send a message again with the same bytes")
        .with("message_id", message_id)
        .with("reason", error)
        .advice(
            "its content key was kept encrypted for keys that the identity does not have any more: put one of them back \
            until the delivery has ended, or ask the partner whether it has the file, and send the transfer as a new one",
        )
}

/// The error where the partner may have a message of which this version of Waybill would send other bytes.
fn of_another_version(note: &Note) -> Error {
    Error::permanent(ErrorKind::Unsupported, "send a message again with the same bytes")
        .with("message_id", &note.message_id)
        .with("recipe", note.recipe)
        .with("recipe of this version", RECIPE)
        .advice(
            "another version of Waybill began the message, and this one would send other bytes under its Message-ID: let a \
            node with that version deliver it, or ask the partner whether it has the file, and send the transfer as a new one",
        )
}

/// Encrypts a content key for our own certificates.
fn encrypt_key(key: &EncryptedContentKey, holders: &[X509]) -> smime::Result<String> {
    // Not by the message's own cipher, which may be one that is read from legacy partners alone.
    let to_us = EncryptedContentKey::generate(Cipher::Aes256Cbc, holders, KeyTransport::Pkcs1v15)?;
    // With a header: content that begins without one is taken for the work of a wrong key.
    let headers = Headers::new().with("Content-Type", "application/octet-stream")?;
    let entity = Entity::new(headers, Cursor::new(key.to_bytes().to_vec()));
    let (_, mut body) = entity.encrypt(to_us)?.into_parts();
    let mut encrypted = Vec::new();
    body.read_to_end(&mut encrypted)?;
    Ok(BASE64.encode(encrypted))
}

fn decrypt_key(text: &str, own: &[OwnKey]) -> smime::Result<EncryptedContentKey> {
    let encrypted = BASE64.decode(text).map_err(|error| smime::Error::from(io::Error::other(error)))?;
    let ours: Vec<_> = own
        .iter()
        .map(|own| DecryptionKey { key: own.key.clone(), certificate: own.certificate.clone() })
        .collect();
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
mod tests;
