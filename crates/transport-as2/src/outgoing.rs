//! From a payload to an AS2 message: the same inputs give the same bytes, so that a second attempt
//! repeats the first (RFC 4130, 5 and 6; RFC 8551, 3).

pub(crate) mod pgp;
pub(crate) mod signed;

use crate::agreement::{
    Agreement, As2Id, Cipher, Compression, DigestName, KeyTransport, MdnRequest, Order, RsaSignature,
    SignatureForm,
};
use crate::file_names;
use crate::header_options::SubjectValues;
use crate::names::write_name;
use crate::related;
use crate::spool::Spooled;
use crate::streaming::made_ahead;
use model::{Error, ErrorKind, RemotePath, Result, Timestamp};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use signed::Covers;
use smime::{
    Digest, EncryptedContentKey, Entity, Headers, Measured, MicReader, MicSlot, NameStyle, OnSignature,
    Payload, Signature, Signing,
};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::OnceCell;

/// The version of how a message is made of its note and its payload. Each change of this crate or of `smime` that gives other
/// bytes for the same note must raise it. Bytes of two versions are never sent under one Message-ID: the partner would take them
/// for one message, may join them to one (restart), and with AES-GCM they are two plaintexts under one key and nonce. What
/// becomes of a message that another version began is decided where its note is read (`prepared`).
pub(crate) const RECIPE: u32 = 1;

/// Our key with its certificate.
#[derive(Clone)]
pub struct OwnKey {
    /// The private key.
    pub key: PKey<Private>,
    /// Its certificate.
    pub certificate: X509,
}

/// What is drawn once for a message and kept for its retries.
#[derive(Clone, Debug)]
pub struct MessageSeed {
    /// With its angle brackets.
    pub message_id: String,
    /// Boundary of the multipart, random.
    pub boundary: String,
    /// The Date header and the signing time.
    pub date: Timestamp,
    /// Content key, encrypted for the partner; none when the message is not encrypted.
    pub content_key: Option<EncryptedContentKey>,
}

/// What is made once for a message and repeated whenever it is sent again, where making it anew would give other bytes.
#[derive(Clone, Default)]
pub struct MadeOnce {
    /// Noted: nothing else is repeated.
    signature: Arc<Mutex<Option<Signature>>>,
    note: Option<OnSignature>,
    pub(crate) spool: Arc<OnceCell<Spooled>>,
}

impl MadeOnce {
    /// What an earlier attempt made, and what notes a new signature, durably, before its first byte leaves; its error ends
    /// the message there.
    pub(crate) fn new(earlier: Option<Signature>, note: OnSignature) -> Self {
        Self { signature: Arc::new(Mutex::new(earlier)), note: Some(note), ..Self::default() }
    }

    /// The signature that was made and noted. One that is being noted is not waited for.
    fn signature(&self) -> Option<Signature> {
        match self.signature.try_lock() {
            Ok(noted) => noted.clone(),
            Err(TryLockError::Poisoned(noted)) => noted.into_inner().clone(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The same, of a message that was made: another copy may be noting its signature at this moment. It blocks until then.
    pub(crate) fn noted_signature(&self) -> Option<Signature> {
        let made = self.signature.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.or_else(|| self.spool.get()?.signature.clone())
    }

    /// The keys that a message in staging was made with, by PGP/MIME.
    pub(crate) fn sent_with(&self) -> Vec<(&'static str, String)> {
        self.spool.get().map(|spooled| spooled.pgp_names.sent_with()).unwrap_or_default()
    }

    fn on_signature(&self) -> OnSignature {
        let Self { signature, note, .. } = self.clone();
        Arc::new(move |made: &Signature| {
            // Held while it is noted: after a 401 the message is sent again, while the refused copy may still be made for
            // a moment, and two signatures must not leave.
            let mut noted = signature.lock().unwrap_or_else(PoisonError::into_inner);
            match &*noted {
                Some(earlier) if earlier == made => return Ok(()),
                Some(_) => {
                    return Err(io::Error::other(Error::transient(
                        ErrorKind::Busy,
                        "sign a message whose refused copy was signed at the same moment",
                    )));
                }
                None => {}
            }
            if let Some(note) = &note {
                note(made)?;
            }
            *noted = Some(made.clone());
            Ok(())
        })
    }
}

/// Everything a message is made of but its payload.
pub struct Envelope<'a> {
    /// Our AS2 name.
    pub from: &'a As2Id,
    /// The partner's AS2 name.
    pub to: &'a As2Id,
    /// What was agreed with the partner.
    pub agreement: &'a Agreement,
    /// Our key; needed only to sign.
    pub own: Option<&'a OwnKey>,
    /// What is the same for all attempts.
    pub seed: &'a MessageSeed,
    /// What was made of it once, and is repeated.
    pub made_once: MadeOnce,
    /// The payload's media type.
    pub media_type: &'a str,
    /// The payload's file name: its last part is sent.
    pub file_name: &'a RemotePath,
}

impl Envelope<'_> {
    /// Whether the payload is several files (RFC 6362).
    pub(crate) fn has_attachments(&self) -> bool {
        related::is_related(self.media_type)
    }

    /// Which bytes its MIC covers, and its signature if it has one.
    pub(crate) fn covers(&self) -> Covers {
        match self.agreement.is_protected_by_pgp() {
            true => pgp::covers(self),
            false => signed::covers(self),
        }
    }

    /// The name of its cipher; `None` of a message that is not encrypted.
    pub(crate) fn cipher_name(&self) -> Option<&'static str> {
        let agreement = self.agreement;
        match agreement.is_protected_by_pgp() {
            true => pgp::cipher_name(agreement),
            false => agreement.encrypts_by_smime().then(|| cipher(agreement.cipher).name()),
        }
    }
}

/// A message ready to be sent.
pub struct Outgoing {
    /// HTTP header fields, without Host and Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body, a stream.
    pub body: Box<dyn Measured + Send>,
    /// The MIC that the receipt must show; there once the body was read to its end.
    pub mic: MicSlot,
    /// The payload's own header fields as they are sent, for the MICs that a partner may make by another
    /// rule.
    pub content_headers: Vec<u8>,
}

impl Outgoing {
    /// Length of the body, where it is known before the first byte: that of all messages but compressed ones.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.body.total_len()
    }
}

/// Payloads of so many bytes or more are made into messages by several threads. For shorter ones a thread costs more than it
/// gains.
const THREADS_FROM: u64 = 1024 * 1024;

/// Makes a message. The payload is read only when the body is, for a large one on a thread of its own.
///
/// # Errors
/// A media type or name that no header can carry; a key that cannot sign.
pub fn build(envelope: &Envelope<'_>, payload: Box<dyn Read + Send>, length: u64) -> Result<Outgoing> {
    let agreement = envelope.agreement;
    let digest = message_digest(envelope);
    let layers = layers(agreement);
    let headers = payload_headers(envelope)?;
    let content_headers =
        if layers.is_empty() { in_http(&headers)?.raw().to_vec() } else { headers.raw().to_vec() };
    let mut content: Box<dyn Measured + Send> = Box::new(Payload::new(payload, length));
    let by_threads = length >= THREADS_FROM;
    // The outermost layer has a thread of its own, what it is made around has another, and the payload, which is read and
    // compared with its hash, a third.
    let beside = layers.last().copied().filter(|_| by_threads && layers.len() > 1);
    if by_threads {
        content = made_ahead(content);
    }
    let mut mic = None;
    let mut entity = match layers.is_empty() {
        true => {
            let tapped = MicReader::new(content, digest).map_err(failed)?;
            mic = Some(tapped.slot());
            Entity::new(headers, Box::new(tapped) as Box<dyn Measured + Send>)
        }
        false => Entity::new(headers, content),
    };
    // What is signed gives the MIC (RFC 4130, 7.3.1); else the innermost entity does (RFC 5402, 4).
    if !layers.is_empty() && !agreement.send_security.signs() {
        mic = Some(entity.tap_mic(digest));
    }
    for layer in layers {
        if beside == Some(layer) {
            let (headers, body) = entity.into_parts();
            entity = Entity::new(headers, made_ahead(body));
        }
        entity = match layer {
            Layer::Compress => binary(entity.compress().map_err(failed)?)?,
            Layer::Encrypt => binary(entity.encrypt(content_key(envelope)?).map_err(failed)?)?,
            Layer::Sign if agreement.signature_form == SignatureForm::Opaque => {
                let signed = entity.sign_opaque(signing(envelope, digest)?).map_err(failed)?;
                mic = Some(signed.signed_mic());
                binary(signed)?
            }
            Layer::Sign => {
                let signed = entity.sign(signing(envelope, digest)?).map_err(failed)?;
                mic = Some(signed.signed_mic());
                boxed(signed)
            }
        };
    }
    let (headers, body) = entity.into_parts();
    let mic = mic.unwrap_or_default();
    Ok(Outgoing { headers: http_headers(envelope, &headers)?, body, mic, content_headers })
}

/// What a message is wrapped in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Compress,
    Sign,
    Encrypt,
}

/// The layers that were agreed, from the payload outwards.
fn layers(agreement: &Agreement) -> Vec<Layer> {
    let mut layers = match agreement.order {
        Order::SignThenEncrypt => vec![Layer::Sign, Layer::Encrypt],
        Order::EncryptThenSign => vec![Layer::Encrypt, Layer::Sign],
    };
    let security = agreement.send_security;
    layers.retain(|layer| if *layer == Layer::Sign { security.signs() } else { security.encrypts() });
    match agreement.compress {
        Compression::No => {}
        Compression::BeforeSigning => layers.insert(0, Layer::Compress),
        Compression::AfterSigning => {
            let signed = layers.iter().position(|layer| *layer == Layer::Sign);
            layers.insert(signed.map_or(0, |at| at + 1), Layer::Compress);
        }
    }
    layers
}

fn boxed<B: Measured + Send + 'static>(entity: Entity<B>) -> Entity<Box<dyn Measured + Send>> {
    let (headers, body) = entity.into_parts();
    Entity::new(headers, Box::new(body))
}

/// An entity of bytes, which says so for the reason that [`payload_headers`] has.
fn binary<B: Measured + Send + 'static>(entity: Entity<B>) -> Result<Entity<Box<dyn Measured + Send>>> {
    let (headers, body) = entity.into_parts();
    let headers = headers.with("Content-Transfer-Encoding", "binary").map_err(failed)?;
    Ok(Entity::new(headers, Box::new(body)))
}

fn content_key(envelope: &Envelope<'_>) -> Result<EncryptedContentKey> {
    let key = envelope.seed.content_key.clone();
    key.ok_or_else(|| Error::permanent(ErrorKind::Internal, "encrypt a message without a content key"))
}

fn signing(envelope: &Envelope<'_>, digest: Digest) -> Result<Signing> {
    let own = envelope
        .own
        .ok_or_else(|| Error::permanent(ErrorKind::ConfigInvalid, "sign a message without a key"))?;
    let seconds = u64::try_from(envelope.seed.date.timestamp()).unwrap_or_default();
    let mut signing = Signing::new(
        own.key.clone(),
        own.certificate.clone(),
        UNIX_EPOCH + Duration::from_secs(seconds),
        &envelope.seed.boundary,
    );
    signing.digest = digest;
    signing.pss = envelope.agreement.rsa_signature == RsaSignature::Pss;
    if !signing.scheme().map_err(failed)?.repeats() {
        signing.made = envelope.made_once.signature();
        signing.on_signature = Some(envelope.made_once.on_signature());
    }
    Ok(signing)
}

/// The digest of the message: as agreed, where our key can sign by it.
fn message_digest(envelope: &Envelope<'_>) -> Digest {
    let wanted = digest(envelope.agreement.digest);
    match envelope.own {
        Some(own) if envelope.agreement.signs_by_smime() => Signing::digest_for(&own.key, wanted),
        _ => wanted,
    }
}

fn payload_headers(envelope: &Envelope<'_>) -> Result<Headers> {
    let name = envelope.file_name.file_name();
    let mut headers = Headers::new().with("Content-Type", envelope.media_type).map_err(failed)?;
    // Several files have their names at each of them.
    if !name.is_empty() && !envelope.has_attachments() {
        let disposition = file_names::attachment(name, envelope.agreement.headers.file_names);
        headers = headers.with("Content-Disposition", disposition).map_err(failed)?;
    }
    // Inside the message the encoding is said all the same: a peer that takes a missing one for 7bit
    // (MIME's default) would turn line ends before it computes the MIC.
    headers.with("Content-Transfer-Encoding", "binary").map_err(failed)
}

/// The fields of an entity that go into HTTP's headers: no Content-Transfer-Encoding there (RFC 4130,
/// 5.2.1).
fn in_http(entity: &Headers) -> Result<Headers> {
    entity
        .fields()
        .iter()
        .filter(|field| !field.name.eq_ignore_ascii_case("Content-Transfer-Encoding"))
        .try_fold(Headers::new(), |headers, field| headers.with(&field.name, &field.value))
        .map_err(failed)
}

fn http_headers(envelope: &Envelope<'_>, entity: &Headers) -> Result<Vec<(String, String)>> {
    let digest = message_digest(envelope).name(NameStyle::Rfc5751);
    let agreement = envelope.agreement;
    let said = &agreement.headers;
    let subject = SubjectValues {
        file_name: envelope.file_name,
        from: envelope.from.as_str(),
        to: envelope.to.as_str(),
        message_id: &envelope.seed.message_id,
    };
    // RFC 6362, 3: a message with attachments says so.
    let says_features = said.features || envelope.has_attachments();
    let mut headers: Vec<(String, String)> = vec![
        ("AS2-Version".into(), said.version(agreement.compress != Compression::No, says_features).into()),
        ("AS2-From".into(), write_name(envelope.from)),
        ("AS2-To".into(), write_name(envelope.to)),
        ("Message-ID".into(), envelope.seed.message_id.clone()),
        ("Subject".into(), said.subject(&subject)),
        ("MIME-Version".into(), "1.0".into()),
    ];
    headers.extend(said.fields(envelope.seed.date, says_features));
    headers.extend(
        in_http(entity)?
            .fields()
            .iter()
            .map(|field| (field.name.clone(), String::from_utf8_lossy(&field.value).into_owned())),
    );
    if envelope.agreement.mdn != MdnRequest::None && envelope.agreement.form.report_type.is_none() {
        // The address is not used; its presence asks for a receipt (7.3).
        let address = said.from.clone().unwrap_or_else(|| write_name(envelope.from));
        headers.push(("Disposition-Notification-To".into(), address));
    }
    // Never for a synchronous one.
    if envelope.agreement.mdn != MdnRequest::None
        && let Some(url) = envelope.agreement.receipts.reply_url()
    {
        headers.push(("Receipt-Delivery-Option".into(), url.to_owned()));
    }
    // The algorithm is named for unsigned receipts as well: many partners give no MIC without.
    let protocol = if agreement.is_pgp() { "pgp-signature" } else { "pkcs7-signature" };
    let options = match envelope.agreement.mdn {
        MdnRequest::Signed => {
            format!("signed-receipt-protocol=required, {protocol}; signed-receipt-micalg=optional, {digest}")
        }
        MdnRequest::Unsigned => format!("signed-receipt-micalg=optional, {digest}"),
        MdnRequest::None => return Ok(headers),
    };
    match &envelope.agreement.form.report_type {
        // A generalized receipt ("HTTP Transport for Secure EDI", 2.1.2).
        Some(kind) => {
            headers.push(("Receipt-Disposition-To".into(), write_name(envelope.from)));
            headers.push(("Receipt-Report-Type".into(), kind.clone()));
            if envelope.agreement.mdn == MdnRequest::Signed {
                headers.push(("Receipt-Security-Selection".into(), options));
            }
        }
        None => headers.push(("Disposition-Notification-Options".into(), options)),
    }
    Ok(headers)
}

/// The digest that an agreement names.
#[must_use]
pub fn digest(name: DigestName) -> Digest {
    match name {
        DigestName::Md5 => Digest::Md5,
        DigestName::Sha1 => Digest::Sha1,
        DigestName::Sha256 => Digest::Sha256,
        DigestName::Sha384 => Digest::Sha384,
        DigestName::Sha512 => Digest::Sha512,
    }
}

/// The cipher that an agreement names.
#[must_use]
pub fn cipher(name: Cipher) -> smime::Cipher {
    match name {
        Cipher::Aes128Cbc => smime::Cipher::Aes128Cbc,
        Cipher::Aes192Cbc => smime::Cipher::Aes192Cbc,
        Cipher::Aes256Cbc => smime::Cipher::Aes256Cbc,
        Cipher::Aes128Gcm => smime::Cipher::Aes128Gcm,
        Cipher::Aes192Gcm => smime::Cipher::Aes192Gcm,
        Cipher::Aes256Gcm => smime::Cipher::Aes256Gcm,
        Cipher::TripleDes => smime::Cipher::TripleDesCbc,
    }
}

/// The key transport that an agreement names.
#[must_use]
pub fn key_transport(name: KeyTransport) -> smime::KeyTransport {
    match name {
        KeyTransport::Pkcs1 => smime::KeyTransport::Pkcs1v15,
        KeyTransport::OaepSha1 => smime::KeyTransport::Oaep(Digest::Sha1),
        KeyTransport::OaepSha256 => smime::KeyTransport::Oaep(Digest::Sha256),
        KeyTransport::OaepSha384 => smime::KeyTransport::Oaep(Digest::Sha384),
        KeyTransport::OaepSha512 => smime::KeyTransport::Oaep(Digest::Sha512),
    }
}

fn failed(error: smime::Error) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "create an AS2 message").caused_by(error)
}

#[cfg(test)]
mod tests;
