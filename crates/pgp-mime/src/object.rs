//! One OpenPGP object: decrypted, expanded and verified while its content streams.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use pgp::composed::{
    CompressedDataReader, DecryptionOptions, Edata, Esk, Message, MessageReader, PlainSessionKey,
    SignatureManyReader, SignaturePacket,
};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{
    ProtectedDataConfig, PublicKeyEncryptedSessionKey, SignatureType, SymEncryptedProtectedDataConfig,
};
use pgp::types::{DecryptionKey as _, EskType, Password, PkeskVersion, Seipdv1ReadMode};
use smime::{Digest, Error, Headers, Mic, Result, SignedContent, Weakness, Wrapping, drain};

use crate::cipher;
use crate::digests::{Digests, Tapped};
use crate::error::{OpenPgpContext as _, limit, malformed, of_stream};
use crate::keys::{OwnKey, hexadecimal};
use crate::layers::{Below, Inside, Source};
use crate::read::{CHUNK, Reader, is_pgp};
use crate::verify::{Demands, digest_by, digest_of, verify};

const PLACE: &str = "OpenPGP message";
/// Why encrypted data of tag 9 (RFC 9580 section 5.7) is weak.
const MALLEABLE: Weakness = Weakness::Named("OpenPGP's old encryption without a modification detection code");
/// Names of recipients in an error.
const MOST_SHOWN: usize = 10;
/// Keys of ours that are tried on the encrypted keys of one object: a message may repeat the name of our key, or leave it out.
const MOST_TRIED: usize = 64;

impl Reader<'_> {
    /// Reads an object, in armour or not, and the entity inside.
    pub(crate) fn object(&mut self, source: &mut (dyn BufRead + Send)) -> Result<()> {
        match self.opened(&mut *source) {
            Err(error) if !matches!(error, Error::Io(_)) => {
                // To its end, wherever it was found wrong: neither the answer nor its timing shows how far it was read. One
                // that does not end is given up.
                drain(&mut Read::take(&mut *source, self.options.limits.expanded_bytes))?;
                Err(error)
            }
            result => result,
        }
    }

    fn opened(&mut self, source: &mut (dyn BufRead + Send)) -> Result<()> {
        let below = Below::default();
        let opened = Message::from_reader(Source::new(source, &below)).within(PLACE);
        let (message, _) = opened.map_err(|error| below.behind(error))?;
        if message.is_encrypted() {
            self.encrypted(message, &below)
        } else {
            self.content(message, &below, false)
        }
    }

    fn encrypted(&mut self, message: Message<'_>, below: &Below) -> Result<()> {
        let outermost = !self.report.wrappings.contains(&Wrapping::Encrypted);
        self.wrapped(Wrapping::Encrypted)?;
        let Message::Encrypted { esk, mut edata, .. } = message else {
            return Err(malformed(PLACE, "it is not encrypted"));
        };
        // Without a detection code anybody can change what a recorded message decrypts to.
        let malleable = matches!(edata, Edata::SymEncryptedData { .. });
        if malleable && !self.options.accept_weak {
            return Err(Error::WeakEncryption(MALLEABLE));
        }
        let (place, session) = self.session_key(&esk)?;
        let algorithm = match (&session, &edata) {
            (PlainSessionKey::V3_4 { sym_alg, .. }, _) => Some(*sym_alg),
            (_, Edata::SymEncryptedProtectedData { reader } | Edata::GnupgAeadData { reader }) => {
                of_container(reader.config())
            }
            _ => None,
        };
        let weakness = algorithm.and_then(cipher::weakness);
        if let Some(weakness) = weakness.filter(|_| !self.options.accept_weak) {
            // The cipher is named inside the encrypted key: an answer of its own would tell that the key was opened.
            return Err(undecipherable(Error::WeakEncryption(weakness)));
        }
        if outermost {
            self.report.cipher = algorithm.map(cipher::name);
            self.report.weak_cipher = weakness.or(malleable.then_some(MALLEABLE));
            self.report.decrypted_with = Some(place);
        }
        let options =
            DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming);
        let options = if malleable { options.enable_legacy() } else { options };
        edata
            .decrypt_with_options(&session, options)
            .map_err(|error| undecipherable(below.behind(library(error))))?;
        below.refill();
        let message = Message::from_bytes(Inside::new(edata, Edata::get_mut, below))
            .map_err(|error| undecipherable(below.behind(library(error))))?;
        self.content(message, below, malleable)
    }

    /// The key of the content, and the place of our key that opens it.
    fn session_key(&self, keys: &[Esk]) -> Result<(usize, PlainSessionKey)> {
        let for_keys = keys.iter().filter_map(|key| match key {
            Esk::PublicKeyEncryptedSessionKey(key) => Some(key),
            Esk::SymKeyEncryptedSessionKey(_) => None,
        });
        let for_keys: Vec<_> = for_keys.take(self.options.limits.recipients).collect();
        let (mut is_named, mut tries) = (false, MOST_TRIED);
        for encrypted in &for_keys {
            for (place, own) in self.keys.decrypt.iter().enumerate() {
                if let Some(opened) = open(encrypted, own, &mut tries) {
                    is_named = true;
                    if let Some(session) = opened {
                        return Ok((place, session));
                    }
                }
            }
        }
        match is_named {
            true => Err(Error::DecryptionFailed),
            false => {
                let recipients = for_keys.iter().take(MOST_SHOWN).map(|key| recipient(key)).collect();
                Err(Error::NoRecipient { recipients })
            }
        }
    }

    /// The content: expanded, hashed, handed on, and verified.
    fn content(&mut self, mut message: Message<'_>, below: &Below, malleable: bool) -> Result<()> {
        let encrypted = self.report.wrappings.contains(&Wrapping::Encrypted);
        let veil = |error| if encrypted { undecipherable(error) } else { error };
        let mut expands = false;
        while message.literal_data_header().is_none() {
            self.deeper().map_err(veil)?;
            message = match message {
                // Inside another encryption, which is not proved yet.
                Message::Encrypted { .. } => return self.encrypted(message, below).map_err(veil),
                Message::Compressed { reader, .. } => {
                    expands = true;
                    expanded(reader, below).map_err(veil)?
                }
                _ => {
                    let what = "an OpenPGP signature around what is compressed or encrypted";
                    return Err(veil(Error::Unsupported(what.into())));
                }
            };
        }
        let is_signed = message.is_signed();
        if !is_signed && !encrypted {
            return Err(malformed(PLACE, "it is neither encrypted nor signed"));
        }
        if is_signed {
            self.wrapped(Wrapping::Signed).map_err(veil)?;
            // Each of them hashes all of the content.
            let most = self.options.limits.signers;
            if signatures(&message).len() > most {
                return Err(veil(limit("signatures of an OpenPGP message", most as u64)));
            }
        }
        let inner = self.inside(&mut message, below, expands, is_signed);
        let ends_early = || malformed(PLACE, "it ends too early");
        if below.is_broken() {
            return Err(veil(inner.err().unwrap_or_else(ends_early)));
        }
        // Whatever the plaintext is, and whatever the receiver says of it, the ciphertext is first read to its end, where it is
        // proved: no other answer may depend on a plaintext that somebody has changed.
        drain_message(&mut message, below, self.options.limits.expanded_bytes).map_err(veil)?;
        if below.is_unproved() {
            return Err(veil(ends_early()));
        }
        let (mics, covered) = match inner {
            Ok(inside) => inside,
            Err(error) if malleable => return Err(undecipherable(error)),
            Err(error) => return Err(error),
        };
        if is_signed {
            let proof = self.prove(&message)?;
            self.proved(proof, mics, covered);
        } else if self.report.signed.is_none() {
            self.report.mics = mics;
        }
        Ok(())
    }

    /// Hands on the entity that is the content, and returns its MICs, and what the outermost signature covers where that is the
    /// object's own.
    fn inside(
        &mut self,
        message: &mut Message<'_>,
        below: &Below,
        expands: bool,
        is_signed: bool,
    ) -> Result<(Vec<Mic>, Option<SignedContent>)> {
        let accepted = |digest: &Digest| self.options.accept_weak || Weakness::of_digest(*digest).is_none();
        let announced: Vec<Digest> = signatures(message).into_iter().flatten().filter(accepted).collect();
        let most = if expands { self.options.limits.expanded_bytes } else { u64::MAX };
        let bounded = Bounded { inner: message, below, left: most, most };
        let mut content = BufReader::with_capacity(CHUNK, bounded);
        let (headers, pushed_back) = Headers::read(&mut content, &self.options.limits)?;
        // What is signed inside has the MIC of that.
        let mut algorithms = Vec::new();
        if is_signed || !is_pgp(&headers) {
            // The signature's digest is the one of the MIC (RFC 4130 section 7.4.3); the one that was asked for comes next.
            algorithms.extend(announced);
            algorithms.extend(&self.options.mic);
        }
        let mut digests = Digests::new(&algorithms, false)?;
        digests.update(headers.raw())?;
        digests.update(headers.end())?;
        let inner = Cursor::new(pushed_back).chain(content);
        let mut body = BufReader::with_capacity(CHUNK, Tapped { inner, digests: &mut digests });
        let covered = if is_signed {
            self.signed_entity(&headers, body)?
        } else {
            self.entity(&headers, &mut body)?;
            drain(&mut body)?;
            drop(body);
            None
        };
        Ok((digests.mics()?, covered))
    }

    /// Verifies the signatures of an object that was read to its end: any of them will do.
    fn prove(&self, message: &Message<'_>) -> Result<crate::report::Proof> {
        let Message::Signed { reader, .. } = message else {
            return Err(malformed(PLACE, "it is not signed"));
        };
        let demands = Demands {
            valid_at: self.options.valid_at,
            accept_expired: self.options.accept_expired,
            accept_weak: self.options.accept_weak,
        };
        let mut result = Err(malformed(PLACE, "its signature is missing"));
        for index in 0..reader.num_signatures() {
            let (Some(hash), Some(signature)) = (reader.hash(index), reader.signature(index)) else {
                continue;
            };
            // Another one is over a key or a user, whose bytes somebody may send as the content.
            if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
                result = Err(malformed(PLACE, "its signature is not one over a document"));
                continue;
            }
            match verify(signature, hash, self.keys.verify, demands) {
                Ok(mut proof) => {
                    proof.signature = crate::sign::packet(signature)?;
                    return Ok(proof);
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// The key of the content as one of ours opens it: none if it is not for that key, `Some(None)` if it is and cannot be opened.
fn open(
    encrypted: &PublicKeyEncryptedSessionKey,
    own: &OwnKey,
    tries: &mut usize,
) -> Option<Option<PlainSessionKey>> {
    let kind = match encrypted.version() {
        PkeskVersion::V3 => EskType::V3_4,
        PkeskVersion::V6 => EskType::V6,
        PkeskVersion::Other(_) => return None,
    };
    let values = encrypted.values().ok()?;
    let none = Password::empty();
    let mut is_named = false;
    let primary = &own.key.primary_key;
    if encrypted.match_identity(primary.public_key()) {
        is_named = true;
        *tries = tries.checked_sub(1)?;
        if let Ok(Ok(session)) = primary.decrypt(&none, values, kind) {
            return Some(Some(session));
        }
    }
    for subkey in &own.key.secret_subkeys {
        if encrypted.match_identity(subkey.key.public_key()) {
            is_named = true;
            *tries = tries.checked_sub(1)?;
            if let Ok(Ok(session)) = subkey.key.decrypt(&none, values, kind) {
                return Some(Some(session));
            }
        }
    }
    is_named.then_some(None)
}

/// Whom an encrypted key is for.
fn recipient(key: &PublicKeyEncryptedSessionKey) -> String {
    match (key.id(), key.fingerprint()) {
        (Ok(id), _) => format!("the OpenPGP key with the id {}", hexadecimal(id.as_ref())),
        (_, Ok(Some(fingerprint))) => format!("the OpenPGP key {}", hexadecimal(fingerprint.as_bytes())),
        _ => "an OpenPGP key that is not named".to_owned(),
    }
}

fn of_container(config: &ProtectedDataConfig) -> Option<SymmetricKeyAlgorithm> {
    match config {
        ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V2 { sym_alg, .. }) => Some(*sym_alg),
        ProtectedDataConfig::GnupgAead(config) => Some(config.sym_alg),
        ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V1) => None,
    }
}

/// The error of a plaintext that may not be what was encrypted: to the peer, always the same. What fails below
/// stays what it is.
fn undecipherable(error: Error) -> Error {
    match error {
        Error::Io(_) | Error::DecryptionFailed | Error::Undecipherable { .. } => error,
        error => Error::Undecipherable { cause: Box::new(error) },
    }
}

fn library(error: pgp::errors::Error) -> Error {
    match Err::<(), _>(error).within(PLACE) {
        Err(error) => error,
        Ok(()) => Error::DecryptionFailed,
    }
}

/// The message in a compressed packet.
fn expanded<'a>(reader: CompressedDataReader<MessageReader<'a>>, below: &Below) -> Result<Message<'a>> {
    below.refill();
    let reader = reader.decompress().map_err(|error| below.behind(of_stream(error, PLACE)))?;
    let inside = Inside::new(reader, CompressedDataReader::get_mut, below);
    Message::from_bytes(inside).map_err(|error| below.behind(library(error)))
}

/// The digests that the signatures of an object announce before its content; none where we do not know one.
fn signatures(message: &Message<'_>) -> Vec<Option<Digest>> {
    let Message::Signed { reader: SignatureManyReader::Init { packets, .. }, .. } = message else {
        return Vec::new();
    };
    let digest = |packet: &SignaturePacket| match packet {
        SignaturePacket::Ops { signature } => digest_by(signature.hash_algorithm()).ok(),
        SignaturePacket::Signature { signature } => digest_of(signature).ok(),
    };
    packets.iter().map(digest).collect()
}

/// Reads what is left, so that what proves it is reached.
fn drain_message(mut message: impl Read, below: &Below, most: u64) -> Result<()> {
    let (mut chunk, mut left) = (vec![0; CHUNK], most);
    loop {
        let count = message.read(&mut chunk).map_err(|error| below.behind(of_stream(error, PLACE)))?;
        if count == 0 {
            return Ok(());
        }
        below.refill();
        left = left.checked_sub(count as u64).ok_or_else(|| limit("unread content in bytes", most))?;
    }
}

/// The content of an object, of which at most so much may come out.
struct Bounded<'m, 'a> {
    inner: &'m mut Message<'a>,
    below: &'m Below,
    left: u64,
    most: u64,
}

impl Read for Bounded<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let below = self.below;
        if below.is_broken() {
            return Ok(0);
        }
        let count = self.inner.read(out).map_err(|error| {
            below.broken();
            io::Error::from(below.behind(of_stream(error, PLACE)))
        })?;
        if count > 0 {
            below.refill();
        }
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            below.broken();
            io::Error::from(limit("expanded content in bytes", self.most))
        })?;
        Ok(count)
    }
}
