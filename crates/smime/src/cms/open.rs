//! Decryption as a stream: EnvelopedData and AuthEnvelopedData, pulled through a `Read`.

use std::io::{self, Read};

use openssl::symm::{Crypter, Mode};

use super::recipient::{self, DecryptionKey};
use crate::algorithm::Cipher;
use crate::ber::BerReader;
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};
use crate::message::limits::Limits;

const CHUNK: usize = 64 * 1024;
/// A shorter tag would be too easy to guess (RFC 5084 section 3.2 allows 12 to 16).
const SHORTEST_TAG: usize = 12;
const LONGEST_TAG: usize = 16;

/// The plaintext of an encrypted message.
///
/// Padding and tag are checked at the end: what was read is to be trusted only when the stream has
/// ended without an error. Every fault of the ciphertext is [`Error::DecryptionFailed`].
pub(crate) struct Decryptor<'b, R> {
    ber: &'b mut BerReader<R>,
    crypter: Crypter,
    cipher: Cipher,
    tag: TagPlace,
    /// The last bytes of the ciphertext, which may be the tag.
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

impl<'b, R: Read> Decryptor<'b, R> {
    /// Goes on behind the content type of a ContentInfo. `authenticated` tells AuthEnvelopedData.
    pub(crate) fn open(
        ber: &'b mut BerReader<R>,
        authenticated: bool,
        keys: &[DecryptionKey],
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
        let tag = match (parameters.cipher.is_authenticated(), authenticated) {
            (true, true) => TagPlace::Element(parameters.tag_len),
            (true, false) => TagPlace::Trailing(parameters.tag_len),
            (false, false) => TagPlace::None,
            (false, true) => {
                return Err(Error::unsupported("AuthEnvelopedData with a cipher that has no tag"));
            }
        };
        let content = match ber.next()? {
            Some(header) if matches!(header.tag, 0x80 | 0xa0) => header,
            _ => return Err(Error::malformed("EncryptedContentInfo", "there is no encrypted content")),
        };
        ber.begin_octets(content)?;

        let cipher = parameters.cipher;
        let key = recipient::content_key(&infos, keys, cipher.key_len())?;
        let crypter =
            Crypter::new(cipher.symm(), Mode::Decrypt, &key, Some(&parameters.iv)).during("decrypt")?;
        Ok(Decryptor {
            ber,
            crypter,
            cipher,
            tag,
            held: Vec::new(),
            ready: Vec::new(),
            at: 0,
            state: State::Open,
        })
    }

    /// The cipher of the content.
    pub(crate) fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Decrypts what is at hand into `out`, which has room for more than two blocks.
    fn decrypt_into(&mut self, out: &mut [u8]) -> Result<usize> {
        let chunk = self.ber.octets().map_err(uniform)?;
        if chunk.is_empty() {
            return self.finish_into(out);
        }
        let room = out.len() - LONGEST_TAG - 2 * self.cipher.block_len();
        let count = chunk.len().min(room);
        let tag_len = match self.tag {
            TagPlace::Trailing(len) => len,
            _ => 0,
        };
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
                    return Err(Error::unsupported("authenticated attributes"));
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
        let made = self.crypter.finalize(out).map_err(|_| Error::DecryptionFailed)?;
        // The data, its explicit tag, ContentInfo.
        for _ in 0..3 {
            self.ber.leave().map_err(uniform)?;
        }
        self.state = State::Ended;
        Ok(made)
    }
}

/// Errors in the ciphertext must not be distinguishable; connection errors may be.
fn uniform(error: Error) -> Error {
    match error {
        Error::Io(_) => error,
        _ => Error::DecryptionFailed,
    }
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

struct Parameters {
    cipher: Cipher,
    iv: Vec<u8>,
    tag_len: usize,
}

impl Parameters {
    fn parse(algorithm: &Element<'_>) -> Result<Parameters> {
        let mut fields = algorithm.children();
        let kind = fields.required("algorithm")?.content;
        let cipher = Cipher::from_oid(kind)
            .ok_or_else(|| Error::unsupported(format!("content encryption {}", der::dotted(kind))))?;
        let parameters = fields.required("parameters")?;
        let (iv, tag_len) = if cipher.is_authenticated() {
            // GCMParameters (RFC 5084 section 3.2): the length of the tag is 12 unless it is said.
            let mut fields = parameters.children();
            let nonce = fields.required("nonce")?.octets()?.into_owned();
            let tag_len = fields.next()?.map_or(Ok(12), |len| len.small_integer())? as usize;
            (nonce, tag_len)
        } else {
            (parameters.octets()?.into_owned(), SHORTEST_TAG)
        };
        if iv.len() != cipher.iv_len() || !(SHORTEST_TAG..=LONGEST_TAG).contains(&tag_len) {
            return Err(Error::unsupported(format!(
                "{} with an IV of {} and a tag of {tag_len} bytes",
                cipher.name(),
                iv.len()
            )));
        }
        Ok(Parameters { cipher, iv, tag_len })
    }
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
                    self.state = State::Failed;
                    return Err(error.into());
                }
            }
        }
    }
}
