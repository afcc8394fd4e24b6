//! Decryption as a stream: EnvelopedData and AuthEnvelopedData, pulled through a `Read`.

use std::io::{self, Read};

use super::content_cipher::{self, ContentCipher, Parameters};
use super::recipient::{self, Candidate, DecryptionKey};
use super::verify::Weakness;
use crate::algorithm::Cipher;
use crate::ber::BerReader;
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};
use crate::message::limits::Limits;

const CHUNK: usize = 64 * 1024;
/// Bytes of ciphertext that show which of several content keys is the right one.
const SAMPLE: usize = 64;

/// The plaintext of an encrypted message.
///
/// Padding and tag are checked at the end: what was read is to be trusted only when the stream has
/// ended without an error. Every fault of the ciphertext is [`Error::DecryptionFailed`].
pub(crate) struct Decryptor<'b, R> {
    ber: &'b mut BerReader<R>,
    crypter: ContentCipher,
    cipher: Cipher,
    /// The place of the key of ours that gave the content key.
    key: usize,
    /// The recipients that the message names, if none of them is ours.
    others: Option<Vec<String>>,
    tag: TagPlace,
    /// Ciphertext that was read and not decrypted yet: the first bytes, later the last ones, which may be the tag.
    held: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed,
    /// The structure has authenticated attributes. That is no part of the plaintext, so it may be said.
    HasAttributes,
}

/// Where the authentication tag is to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TagPlace {
    /// A cipher without one.
    None,
    /// At the end of the ciphertext, so many bytes: GCM inside EnvelopedData, which is wrong but
    /// sent by real products.
    Trailing(usize),
    /// In its own element, so many bytes: AuthEnvelopedData.
    Element(usize),
}

impl TagPlace {
    fn of(parameters: &Parameters, authenticated: bool) -> Result<Self> {
        match (parameters.cipher.is_authenticated(), authenticated) {
            (true, true) => Ok(TagPlace::Element(parameters.tag_len)),
            (true, false) => Ok(TagPlace::Trailing(parameters.tag_len)),
            (false, false) => Ok(TagPlace::None),
            (false, true) => Err(Error::unsupported("AuthEnvelopedData with a cipher that has no tag")),
        }
    }
}

impl<'b, R: Read> Decryptor<'b, R> {
    /// Goes on behind the content type of a ContentInfo. `authenticated` tells AuthEnvelopedData.
    pub(crate) fn open(
        ber: &'b mut BerReader<R>,
        authenticated: bool,
        keys: &[DecryptionKey],
        accept_weak: bool,
        limits: &Limits,
    ) -> Result<Self> {
        let data = ber.expect(der::SEQUENCE, "EnvelopedData")?;
        ber.enter(data)?;
        let version = ber.expect(der::INTEGER, "version")?;
        ber.skip(version)?;
        if let Some(originator) = ber.optional(der::context(0))? {
            ber.skip(originator)?;
        }
        let infos = recipient_infos(ber, limits)?;
        let info = ber.expect(der::SEQUENCE, "EncryptedContentInfo")?;
        ber.enter(info)?;
        let kind = ber.expect(der::OID, "contentType")?;
        ber.skip(kind)?;
        let algorithm = ber.expect(der::SEQUENCE, "contentEncryptionAlgorithm")?;
        let algorithm = ber.collect(algorithm)?;
        let parameters = Parameters::parse(&Element::parse(&algorithm)?)?;
        let tag = TagPlace::of(&parameters, authenticated)?;
        if let (false, Some(weakness)) = (accept_weak, Weakness::of_cipher(parameters.cipher)) {
            return Err(Error::WeakEncryption(weakness));
        }
        let content = match ber.next()? {
            Some(header) if matches!(header.tag, 0x80 | 0xa0) => header,
            _ => return Err(Error::malformed("EncryptedContentInfo", "there is no encrypted content")),
        };
        ber.begin_octets(content)?;

        let Parameters { cipher, iv, .. } = &parameters;
        cipher.check_available()?;
        let found = recipient::content_keys(&infos, keys, cipher.key_len())?;
        let mut held = Vec::new();
        if found.candidates.len() > 1 {
            held = sample(ber).map_err(|error| failure(found.others.as_ref(), uniform(error)))?;
        }
        let chosen = choose(&parameters, found.candidates, &held)?;
        Ok(Decryptor {
            ber,
            crypter: ContentCipher::decrypting(*cipher, &chosen.content_key, iv)?,
            cipher: *cipher,
            key: chosen.key,
            others: found.others,
            tag,
            held,
            ready: Vec::new(),
            at: 0,
            state: State::Open,
        })
    }

    /// The cipher of the content.
    pub(crate) fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The place among our keys of the one that gave the content key.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// The error of a failed decryption: if the message names none of our certificates, it says which it names.
    pub(crate) fn failure(&self, error: Error) -> Error {
        failure(self.others.as_ref(), error)
    }

    /// Decrypts what is at hand into `out`, which has room for more than what is held and two blocks.
    fn decrypt_into(&mut self, out: &mut [u8]) -> Result<usize> {
        let tag_len = match self.tag {
            TagPlace::Trailing(len) => len,
            _ => 0,
        };
        let chunk = self.ber.octets().map_err(uniform)?;
        if chunk.is_empty() && self.held.len() <= tag_len {
            return self.finish_into(out);
        }
        let room = out.len() - self.held.len() - 2 * self.cipher.block_len();
        let count = chunk.len().min(room);
        let feed = (self.held.len() + count).saturating_sub(tag_len);
        let from_held = feed.min(self.held.len());
        let from_chunk = feed - from_held;
        let mut made = 0;
        if from_held > 0 {
            made = self.crypter.update(&self.held[..from_held], out).during("decrypt")?;
            self.held.drain(..from_held);
        }
        if from_chunk > 0 {
            made += self.crypter.update(&chunk[..from_chunk], &mut out[made..]).during("decrypt")?;
        }
        self.held.extend_from_slice(&chunk[from_chunk..count]);
        self.ber.consume_octets(count);
        Ok(made)
    }

    fn finish_into(&mut self, out: &mut [u8]) -> Result<usize> {
        // EncryptedContentInfo.
        self.ber.leave().map_err(uniform)?;
        match self.tag {
            TagPlace::None => {}
            TagPlace::Trailing(len) => {
                if self.held.len() != len {
                    return Err(Error::DecryptionFailed);
                }
                self.crypter.set_tag(&self.held).map_err(|_| Error::DecryptionFailed)?;
            }
            TagPlace::Element(len) => {
                if self.ber.optional(der::context(1)).map_err(uniform)?.is_some() {
                    // They would have to be known before the first byte of content.
                    return Err(authenticated_attributes());
                }
                let mac = self.ber.expect(der::OCTET_STRING, "mac").map_err(uniform)?;
                let mac = self.ber.collect(mac).map_err(uniform)?;
                let mac = Element::parse(&mac).map_err(uniform)?;
                if mac.content.len() != len {
                    return Err(Error::DecryptionFailed);
                }
                self.crypter.set_tag(mac.content).map_err(|_| Error::DecryptionFailed)?;
            }
        }
        let made = self.crypter.finish(out).map_err(|_| Error::DecryptionFailed)?;
        // The data, its explicit tag, ContentInfo.
        for _ in 0..3 {
            self.ber.leave().map_err(uniform)?;
        }
        self.state = State::Ended;
        Ok(made)
    }
}

fn authenticated_attributes() -> Error {
    Error::unsupported("authenticated attributes")
}

/// Errors in the ciphertext must not be distinguishable; connection errors may be.
fn uniform(error: Error) -> Error {
    match error {
        Error::Io(_) => error,
        _ => Error::DecryptionFailed,
    }
}

/// A failure to decrypt a message that names none of our certificates says so, whatever failed: every key of ours was
/// tried, and whether one of them fitted must not show.
fn failure(others: Option<&Vec<String>>, error: Error) -> Error {
    match (others, error) {
        (Some(named), Error::DecryptionFailed | Error::Undecipherable { .. }) => {
            Error::NoRecipient { recipients: named.clone() }
        }
        (_, error) => error,
    }
}

/// The first bytes of the ciphertext.
fn sample<R: Read>(ber: &mut BerReader<R>) -> Result<Vec<u8>> {
    let mut first = Vec::new();
    while first.len() < SAMPLE {
        let chunk = ber.octets()?;
        if chunk.is_empty() {
            break;
        }
        let count = chunk.len().min(SAMPLE - first.len());
        first.extend_from_slice(&chunk[..count]);
        ber.consume_octets(count);
    }
    Ok(first)
}

/// The candidate whose plaintext begins with the most text, as a MIME header does.
///
/// The choice must not depend on which block had valid padding. If it did, an attacker could add a second recipient
/// whose key he knows, and see from our answer whether the block before it was valid. Here a valid block whose key he
/// does not know and an invalid one, whose key is random, both give garbage.
fn choose(parameters: &Parameters, candidates: Vec<Candidate>, first: &[u8]) -> Result<Candidate> {
    let Parameters { cipher, iv, .. } = parameters;
    let (mut best, mut most) = (0, 0);
    if candidates.len() > 1 {
        for (at, candidate) in candidates.iter().enumerate() {
            let plain = content_cipher::first_plaintext(*cipher, &candidate.content_key, iv, first)?;
            let is_text = |byte: &&u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
            let text = plain.iter().take_while(is_text).count();
            if text > most {
                (best, most) = (at, text);
            }
        }
    }
    candidates.into_iter().nth(best).ok_or(Error::DecryptionFailed)
}

fn recipient_infos<R: Read>(ber: &mut BerReader<R>, limits: &Limits) -> Result<Vec<Vec<u8>>> {
    let set = ber.expect(der::SET, "recipientInfos")?;
    ber.enter(set)?;
    let mut infos = Vec::new();
    let mut bytes = 0;
    while let Some(header) = ber.next()? {
        if infos.len() >= limits.recipients {
            return Err(Error::limit("recipients", limits.recipients as u64));
        }
        let info = ber.collect(header)?;
        bytes += info.len() as u64;
        if bytes > limits.element_bytes {
            return Err(Error::limit("recipients in bytes", limits.element_bytes));
        }
        infos.push(info);
    }
    ber.leave()?;
    Ok(infos)
}

impl<R: Read> Read for Decryptor<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.at < self.ready.len() {
                let count = out.len().min(self.ready.len() - self.at);
                out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
                self.at += count;
                return Ok(count);
            }
            match self.state {
                State::Open => {}
                State::Ended => return Ok(0),
                // Reading on after an error gives no further information.
                State::Failed => return Err(Error::DecryptionFailed.into()),
                State::HasAttributes => return Err(authenticated_attributes().into()),
            }
            let result = if out.len() >= 4096 {
                self.decrypt_into(out)
            } else {
                let mut ready = std::mem::take(&mut self.ready);
                ready.resize(CHUNK, 0);
                let result = self.decrypt_into(&mut ready);
                ready.truncate(*result.as_ref().unwrap_or(&0));
                self.ready = ready;
                self.at = 0;
                result.map(|_| 0)
            };
            match result {
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(error) => {
                    let has_attributes = matches!(error, Error::Unsupported(_));
                    self.state = if has_attributes { State::HasAttributes } else { State::Failed };
                    return Err(error.into());
                }
            }
        }
    }
}
