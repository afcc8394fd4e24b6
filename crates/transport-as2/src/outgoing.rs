//! From a payload to an AS2 message: the same inputs give the same bytes, so that a second attempt
//! repeats the first (RFC 4130, 5 and 6; RFC 8551, 3).

use crate::agreement::{Agreement, As2Id, Cipher, DigestName, MdnRequest, SendSecurity};
use crate::names::write_name;
use model::{Error, ErrorKind, RemotePath, Result, Timestamp};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use smime::{
    Digest, EncryptedContentKey, Entity, Headers, Measured, MicReader, MicSlot, NameStyle, Payload, Signing,
};
use std::io::Read;
use std::time::{Duration, UNIX_EPOCH};

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
    /// The payload's media type.
    pub media_type: &'a str,
    /// The payload's file name: its last part is sent.
    pub file_name: &'a RemotePath,
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
    /// Length of the body, where it is known before the first byte: always, unless a key signs that is
    /// not RSA.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.body.total_len()
    }
}

/// Makes a message. The payload is read only when the body is.
///
/// # Errors
/// A media type or name that no header can carry; a key that cannot sign.
pub fn build(envelope: &Envelope<'_>, payload: Box<dyn Read + Send>, length: u64) -> Result<Outgoing> {
    let agreement = envelope.agreement;
    let security = agreement.send_security;
    let digest = digest(agreement.digest);
    let content: Box<dyn Measured + Send> = Box::new(Payload::new(payload, length));
    let headers = payload_headers(envelope)?;
    let content_headers = match security {
        SendSecurity::None => in_http(&headers)?.raw().to_vec(),
        _ => headers.raw().to_vec(),
    };
    let (headers, body, mic): (Headers, Box<dyn Measured + Send>, MicSlot) = match security.signs() {
        true => {
            let signed = Entity::new(headers, content).sign(signing(envelope, digest)?).map_err(failed)?;
            let mic = signed.signed_mic();
            let (headers, body) = signed.into_parts();
            (headers, Box::new(body), mic)
        }
        false if security.encrypts() => {
            let mut entity = Entity::new(headers, content);
            let mic = entity.tap_mic(digest);
            let (headers, body) = encrypt(entity, envelope)?;
            return Ok(Outgoing { headers: http_headers(envelope, &headers)?, body, mic, content_headers });
        }
        false => {
            let tapped = MicReader::new(content, digest).map_err(failed)?;
            let mic = tapped.slot();
            (headers, Box::new(tapped), mic)
        }
    };
    let (headers, body) =
        if security.encrypts() { encrypt(Entity::new(headers, body), envelope)? } else { (headers, body) };
    Ok(Outgoing { headers: http_headers(envelope, &headers)?, body, mic, content_headers })
}

fn encrypt(
    entity: Entity<Box<dyn Measured + Send>>,
    envelope: &Envelope<'_>,
) -> Result<(Headers, Box<dyn Measured + Send>)> {
    let key =
        envelope.seed.content_key.clone().ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "encrypt a message without a content key")
        })?;
    let (headers, body) = entity.encrypt(key).map_err(failed)?.into_parts();
    Ok((headers, Box::new(body)))
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
    Ok(signing)
}

fn payload_headers(envelope: &Envelope<'_>) -> Result<Headers> {
    let name = envelope.file_name.file_name();
    let mut headers = Headers::new().with("Content-Type", envelope.media_type).map_err(failed)?;
    if !name.is_empty() {
        let disposition = format!("attachment; {}", file_name_parameter(name));
        headers = headers.with("Content-Disposition", disposition).map_err(failed)?;
    }
    // Inside the message the encoding is said all the same: a peer that takes a missing one for 7bit
    // (MIME's default) would turn line ends before it computes the MIC.
    headers.with("Content-Transfer-Encoding", "binary").map_err(failed)
}

/// `filename=…`: plain, quoted, or as RFC 2231 says when it is not printable ASCII. Bytes that are no
/// UTF-8 go out as Latin-1, one byte a character, so that nothing is lost.
fn file_name_parameter(name: &[u8]) -> String {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(b);
    if name.iter().all(token) {
        return format!("filename={}", String::from_utf8_lossy(name));
    }
    if name.iter().all(|b| (0x20..0x7f).contains(b)) {
        let text = String::from_utf8_lossy(name).replace('\\', "\\\\").replace('"', "\\\"");
        return format!("filename=\"{text}\"");
    }
    let charset = if std::str::from_utf8(name).is_ok() { "UTF-8" } else { "ISO-8859-1" };
    let mut text = format!("filename*={charset}''");
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
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
    let digest = digest(envelope.agreement.digest).name(NameStyle::Rfc5751);
    let mut headers: Vec<(String, String)> = vec![
        // 1.1: compression is understood (RFC 4130, 6.1; RFC 5402).
        ("AS2-Version".into(), "1.1".into()),
        ("AS2-From".into(), write_name(envelope.from)),
        ("AS2-To".into(), write_name(envelope.to)),
        ("Message-ID".into(), envelope.seed.message_id.clone()),
        ("Date".into(), envelope.seed.date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("Subject".into(), "EDI".into()),
        ("MIME-Version".into(), "1.0".into()),
    ];
    headers.extend(
        in_http(entity)?
            .fields()
            .iter()
            .map(|field| (field.name.clone(), String::from_utf8_lossy(&field.value).into_owned())),
    );
    if envelope.agreement.mdn != MdnRequest::None {
        // The address is not used for a synchronous receipt; its presence asks for one (7.3).
        headers.push(("Disposition-Notification-To".into(), write_name(envelope.from)));
    }
    // The algorithm is named for unsigned receipts as well: many partners give no MIC without.
    let options = match envelope.agreement.mdn {
        MdnRequest::Signed => format!(
            "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, {digest}"
        ),
        MdnRequest::Unsigned => format!("signed-receipt-micalg=optional, {digest}"),
        MdnRequest::None => return Ok(headers),
    };
    headers.push(("Disposition-Notification-Options".into(), options));
    Ok(headers)
}

/// The digest that an agreement names.
#[must_use]
pub fn digest(name: DigestName) -> Digest {
    match name {
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
        Cipher::TripleDes => smime::Cipher::TripleDesCbc,
    }
}

fn failed(error: smime::Error) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "create an AS2 message").caused_by(error)
}

#[cfg(test)]
mod tests;
