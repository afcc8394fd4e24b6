//! Message disposition notifications: writing them strictly, reading them leniently
//! (RFC 4130, 7; RFC 8098, 3; the signed form RFC 4130, 7.3).

mod general_receipt;

pub(crate) use general_receipt::GeneralReceipt;

use crate::disposition::Disposition;
use crate::legacy;
use crate::material::hexadecimal;
use crate::pgp_message;
use crate::readable::readable;
use crate::report_types::{ReportType, report_type};
use general_receipt::general_type;
use model::{Error, ErrorKind, Result, Step};
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use smime::{Digest, Entity, Headers, Keys, Limits, Mic, Part, PartReceiver, ReadOptions, Signing, Weakness};
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

/// Largest MDN that is read or written, in bytes.
pub const LARGEST_MDN: usize = 1024 * 1024;

/// What a receipt says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mdn {
    /// The recipient that the message named.
    pub original_recipient: Option<String>,
    /// The receiver that is asked for, as an AS2 name.
    pub final_recipient: String,
    /// The Message-ID it answers, exactly as received.
    pub original_message_id: Option<String>,
    /// What happened.
    pub disposition: Disposition,
    /// The MIC of the content as received, `base64, algorithm`; never with an error.
    pub mic: Option<String>,
    /// The words of the first part.
    pub text: String,
}

/// A receipt as bytes: the MIME headers that become HTTP's, and the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdnMessage {
    /// Header fields, `Content-Type` among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Mdn {
    /// Writes the receipt, signed when `signing` is given. `boundary` must not occur in the texts.
    ///
    /// # Errors
    /// A text that breaks out of its line; a key that cannot sign.
    pub fn write(&self, boundary: &str, signing: Option<Signing>) -> Result<MdnMessage> {
        let essence =
            format!("multipart/report; report-type=disposition-notification; boundary=\"{boundary}\"");
        message(essence, self.report(boundary), signing)
    }

    fn report(&self, boundary: &str) -> Vec<u8> {
        let line = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
        let mut report = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/disposition-notification\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             Reporting-UA: Waybill\r\n",
            self.text.replace('\n', "\r\n"),
        );
        if let Some(original) = &self.original_recipient {
            // What the sender wrote, in a part that is 7bit, on one line (RFC 5322, 2.1.1).
            let original: String =
                line(original).chars().map(|c| if c.is_ascii() { c } else { '?' }).take(900).collect();
            report.push_str(&format!("Original-Recipient: {}\r\n", with_type(&original)));
        }
        report.push_str(&format!("Final-Recipient: {}\r\n", with_type(&line(&self.final_recipient))));
        if let Some(id) = &self.original_message_id {
            report.push_str(&format!("Original-Message-ID: {}\r\n", line(id)));
        }
        report.push_str(&format!("Disposition: {}\r\n", line(&self.disposition.to_string())));
        if let Some(mic) = &self.mic {
            report.push_str(&format!("Received-content-MIC: {}\r\n", line(mic)));
        }
        report.push_str(&format!("\r\n--{boundary}--\r\n"));
        report.into_bytes()
    }
}

/// A report of this media type as a whole receipt, signed when `signing` is given.
///
/// # Errors
/// A key that cannot sign.
pub(crate) fn message(essence: String, body: Vec<u8>, signing: Option<Signing>) -> Result<MdnMessage> {
    let headers = Headers::new().with("Content-Type", essence).map_err(|error| cannot_write(&error))?;
    let entity = Entity::new(headers, Cursor::new(body));
    match signing {
        None => {
            let (headers, body) = entity.into_parts();
            Ok(MdnMessage { headers: fields(&headers), body: body.into_inner() })
        }
        Some(signing) => {
            let (headers, mut signed) = entity.sign(signing).map_err(|e| cannot_write(&e))?.into_parts();
            let mut body = Vec::new();
            signed.read_to_end(&mut body).map_err(|e| cannot_write(&smime::Error::from(e)))?;
            Ok(MdnMessage { headers: fields(&headers), body })
        }
    }
}

/// A receipt that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadMdn {
    /// What it says.
    pub mdn: Mdn,
    /// Its signature.
    pub signature: SignatureState,
    /// The type of a generalized receipt whose words were agreed with the partner, and are not known where it is read.
    pub unknown_type: Option<String>,
}

/// The signature of a receipt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignatureState {
    /// There is none.
    None,
    /// One of the given certificates proves it.
    Proved(Signature),
    /// There is one, but it proves nothing. The receipt may still come from the partner.
    Unproved(Unproved),
}

/// A signature that was proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Its digest.
    pub digest: Digest,
    /// SHA-256 of the certificate that proved it, in hexadecimal.
    pub certificate: String,
    /// By OpenPGP: the fingerprint of the one in that key that proved it, the primary key or a subkey.
    pub component: Option<String>,
    /// What of it is too weak for today; empty unless that was allowed.
    pub weaknesses: Vec<Weakness>,
}

impl Signature {
    pub(crate) fn of_smime(proof: &smime::Proof) -> Self {
        Self {
            digest: proof.digest,
            certificate: hexadecimal(&proof.fingerprint),
            component: None,
            weaknesses: proof.weaknesses.clone(),
        }
    }

    /// One by OpenPGP: in place of a certificate, the fingerprint of its key.
    pub(crate) fn of_pgp(proof: &pgp_mime::Proof) -> Self {
        Self {
            digest: proof.digest,
            certificate: proof.fingerprint.clone(),
            component: Some(proof.component.clone()),
            weaknesses: proof.weaknesses.clone(),
        }
    }
}

/// Why a signature proves nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unproved {
    /// In words.
    pub reason: String,
    /// What a person can do about it.
    pub advice: &'static str,
    /// Whether the bytes are not the signed ones, instead of the signer being unknown.
    pub contradicts: bool,
    /// SHA-256 of the certificate in the receipt that made the signature, where it is not known here.
    pub carried: Option<String>,
}

impl Unproved {
    /// Of a fault of the signature alone; none for any other.
    pub(crate) fn of(error: &smime::Error) -> Option<Self> {
        use smime::Error as E;
        let advice = match error {
            E::CertificateExpired => {
                "add the certificate that the partner uses now, or allow expired ones (accept_expired = true)"
            }
            E::CertificateNotYetValid => {
                "the partner signs with a certificate that is not valid yet: check the clocks of both sides"
            }
            E::SignerUnknown { .. } => {
                "ask the partner which certificate signs its receipts, and add it to the partner's certificates"
            }
            E::SignatureInvalid => {
                "the signature names a known certificate, but was made with another key, or the receipt was \
                changed in transit: ask the partner whether it replaced its key but kept the certificate's \
                name and serial number"
            }
            E::IntegrityFailed { .. } => {
                "the receipt was changed after it was signed, in transit or by the partner's own system: \
                ask the partner to find out where; another certificate does not help"
            }
            E::WeakSignature(_) => legacy::ADVICE,
            E::DigestUnannounced { .. } | E::Unsupported(_) => {
                "Waybill does not support the form of the receipt's signature: ask the partner to sign with \
                SHA-256 and RSA"
            }
            _ => return None,
        };
        let contradicts = matches!(error, E::SignatureInvalid | E::IntegrityFailed { .. });
        let carried = match error {
            E::SignerUnknown { carried: Some(carried), .. } => Some(hexadecimal(&carried.fingerprint)),
            _ => None,
        };
        Some(Self { reason: error.to_string(), advice, contradicts, carried })
    }

    /// As an error, where a signature that proves something is needed.
    pub(crate) fn error(&self) -> Error {
        let error = Error::permanent(ErrorKind::TrustFailed, "trust the signature of the receipt (MDN)")
            .with("signature", &self.reason)
            .advice(self.advice)
            .at_step(Step::Signature)
            .as_judgement();
        match &self.carried {
            Some(sha256) => error.with(CARRIED, sha256),
            None => error,
        }
    }
}

/// The key under which an error names the certificate that came with a receipt and made its signature.
pub(crate) const CARRIED: &str = "certificate in the receipt";

/// How a receipt's signature is verified.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The partner's certificates, any of which may prove it.
    pub certificates: &'a [X509],
    /// The partner's OpenPGP keys, any of which may prove one by PGP/MIME.
    pub pgp: &'a [Arc<PartnerKey>],
    /// When they must be valid.
    pub now: SystemTime,
    /// They may have expired by then.
    pub accept_expired: bool,
    /// MD5, SHA-1 and short keys count.
    pub legacy: bool,
}

/// Reads a receipt from an answer's headers and body. One whose signature proves nothing is read all the
/// same, for what it says: see [`SignatureState`].
///
/// # Errors
/// `TrustFailed`, `Permanent`, when nothing but a signature that proves nothing can be read; `Protocol`
/// when there is no receipt that can be read, `Ambiguous` as long as no disposition was seen: the partner
/// may have the message.
pub fn read(headers: &Headers, body: &[u8], trust: Trust<'_>) -> Result<ReadMdn> {
    read_report(headers, body, trust, None, None)
}

/// The same, of a partner that has these types of generalized receipts besides GISB's: a report of any other type is no receipt.
/// What is no report and is posted as one of a type is read as that.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_of_types(
    headers: &Headers,
    body: &[u8],
    trust: Trust<'_>,
    types: &[ReportType],
    posted_as: Option<&str>,
) -> Result<ReadMdn> {
    read_report(headers, body, trust, Some(types), posted_as)
}

/// Reads a receipt: an MDN, or a generalized receipt of these types; `None`: of any type.
fn read_report(
    headers: &Headers,
    body: &[u8],
    trust: Trust<'_>,
    types: Option<&[ReportType]>,
    posted_as: Option<&str>,
) -> Result<ReadMdn> {
    let mut parts = Collected { parts: Vec::new(), room: LARGEST_MDN, general: general_type(headers) };
    let options = ReadOptions {
        alternatives: false,
        valid_at: Some(trust.now),
        accept_expired: trust.accept_expired,
        accept_weak: trust.legacy,
        once: true,
        ..ReadOptions::default()
    };
    let keys = Keys { decrypt: &[], verify: trust.certificates };
    let by_pgp = pgp_mime::is_pgp(headers);
    let report = match by_pgp {
        true => pgp_message::read_receipt(headers, body, trust.pgp, (keys, &options), &mut parts)
            .map(Signed::of_pgp),
        false => smime::read_message(headers, body, keys, &options, &mut parts).map(Signed::of_smime),
    };
    let found = |parts: &Collected| {
        parts
            .parts
            .iter()
            .position(|(essence, _)| essence.eq_ignore_ascii_case("message/disposition-notification"))
    };
    // A bounce (`delivery-status`), for example, must not acknowledge a message.
    let is_known = |kind: &str| types.is_none_or(|types| report_type(types, kind).is_some());
    let is_found = |parts: &Collected| {
        let is_general = parts.general.as_deref().is_some_and(is_known);
        found(parts).is_some() || is_general && !parts.parts.is_empty()
    };
    let signature = match report {
        Ok(Signed(signature)) => signature.map_or(SignatureState::None, SignatureState::Proved),
        Err(error) => match Unproved::of(&error) {
            Some(unproved) if is_found(&parts) => SignatureState::Unproved(unproved),
            Some(unproved) => return Err(unproved.error().said(readable(body)).caused_by(error)),
            None => {
                return Err(Error::ambiguous(ErrorKind::Protocol, "read the receipt (MDN)")
                    .with("content_type", media_type(headers))
                    .said(readable(body))
                    .advice(NO_RECEIPT)
                    .caused_by(error));
            }
        },
    };
    if found(&parts).is_none()
        && let Some(kind) = parts.general.as_deref().filter(|kind| is_known(kind)).or(posted_as)
    {
        let types = types.unwrap_or_default();
        let unknown_type = report_type(types, kind).is_none().then(|| kind.to_owned());
        let mdn = general_receipt::read(kind, &parts.parts, types)?;
        return Ok(ReadMdn { mdn, signature, unknown_type });
    }
    let Some(notification) = found(&parts).map(|at| &parts.parts[at].1) else {
        return Err(Error::ambiguous(ErrorKind::Protocol, "find a receipt (MDN) in the partner's answer")
            .with("content_type", media_type(headers))
            .said(readable(body))
            .advice(NO_RECEIPT));
    };
    let text = parts
        .parts
        .iter()
        .find(|(essence, _)| essence.starts_with("text/"))
        .map(|(_, bytes)| String::from_utf8_lossy(bytes).trim().to_owned())
        .unwrap_or_default();
    Ok(ReadMdn { mdn: parse_fields(notification, text)?, signature, unknown_type: None })
}

/// The signature of what was read, if there is one.
struct Signed(Option<Signature>);

impl Signed {
    fn of_smime(report: smime::Report) -> Self {
        Self(report.signed().map(Signature::of_smime))
    }

    fn of_pgp(report: pgp_mime::Report) -> Self {
        let pgp_mime::Report { signed, inner, .. } = report;
        Self(signed.as_ref().map(Signature::of_pgp).or(Self::of_smime(inner).0))
    }
}

fn parse_fields(bytes: &[u8], text: String) -> Result<Mdn> {
    let (fields, _) = Headers::parse(bytes, &Limits::default()).map_err(|error| {
        Error::ambiguous(ErrorKind::Protocol, "read the receipt's fields")
            .said(readable(bytes))
            .advice(NO_RECEIPT)
            .caused_by(error)
    })?;
    let field = |name: &str| {
        fields
            .get(name)
            .map(|value| String::from_utf8_lossy(value).trim().to_owned())
            .filter(|v| !v.is_empty())
    };
    let disposition = field("Disposition").ok_or_else(|| {
        Error::ambiguous(ErrorKind::Protocol, "find the disposition in the receipt (MDN)")
            .said(readable(bytes))
            .advice(NO_RECEIPT)
    })?;
    // RFC 8098, 3.2.7: the words of an error may stand in a field of their own.
    let words = ["Error", "Failure", "Warning"].iter().find_map(|name| {
        let modifier = disposition.to_ascii_lowercase();
        field(name).filter(|_| modifier.trim_end_matches([':', ' ']).ends_with(&name.to_ascii_lowercase()))
    });
    let disposition = match words {
        Some(words) => format!("{}: {words}", disposition.trim_end_matches([':', ' '])),
        None => disposition,
    };
    let parsed = Disposition::parse(&disposition).ok_or_else(|| {
        Error::permanent(ErrorKind::Protocol, "understand the receipt's disposition")
            .said(&disposition)
            .advice("ask the partner what this disposition means, and whether it has the message")
    })?;
    let original_recipient = field("Original-Recipient").map(|recipient| without_type(&recipient));
    let final_recipient = field("Final-Recipient").map(|recipient| without_type(&recipient));
    Ok(Mdn {
        final_recipient: final_recipient.or_else(|| original_recipient.clone()).unwrap_or_default(),
        original_recipient,
        original_message_id: field("Original-Message-ID"),
        // A MIC beside an error says nothing: some partners send zeros.
        mic: field("Received-content-MIC").filter(|_| parsed.is_positive()),
        disposition: parsed,
        text,
    })
}

/// A recipient as a receipt names it (RFC 8098, 3.2.3), with its address type.
fn with_type(recipient: &str) -> String {
    match recipient.split_once(';') {
        Some((kind, _))
            if !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            recipient.to_owned()
        }
        _ => format!("rfc822; {recipient}"),
    }
}

fn without_type(recipient: &str) -> String {
    recipient.split_once(';').map_or(recipient, |(_, name)| name).trim().to_owned()
}

/// Compares a receipt's MIC with ours: the digest exactly, the algorithm's name in any spelling.
/// A partner that leaves the name out is taken at the digest.
pub(crate) fn mic_matches(received: &str, ours: &Mic) -> bool {
    match Mic::parse(received) {
        Some(mic) => mic == *ours,
        None => received.split(',').next().is_some_and(|digest| digest.trim() == ours.base64()),
    }
}

/// What to do about an answer that is no receipt: a web server or a load balancer may have written it,
/// before or after the partner's own system took the message.
const NO_RECEIPT: &str = "it is unknown whether the partner has the message; a retry uses the same Message-ID, so that the partner can recognise it. If this happens again, ask the partner what its system answers";

fn media_type(headers: &Headers) -> String {
    headers.content_type().map_or_else(|| "none".to_owned(), |media| media.essence().to_owned())
}

pub(crate) fn fields(headers: &Headers) -> Vec<(String, String)> {
    headers
        .fields()
        .iter()
        .map(|field| (field.name.clone(), String::from_utf8_lossy(&field.value).into_owned()))
        .collect()
}

pub(crate) fn cannot_write(error: &smime::Error) -> Error {
    Error::permanent(ErrorKind::Internal, "write a receipt (MDN)").with("reason", error)
}

/// Keeps small parts in memory, up to a bound for all of them.
struct Collected {
    parts: Vec<(String, Vec<u8>)>,
    room: usize,
    /// The type of a generalized receipt.
    general: Option<String>,
}

impl PartReceiver for Collected {
    fn whole(&mut self, headers: &Headers) -> bool {
        if self.general.is_none() {
            self.general = general_type(headers);
        }
        false
    }

    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let essence = part.content_type().map_or_else(|| "text/plain".to_owned(), |t| t.essence().to_owned());
        self.parts.push((essence, Vec::new()));
        let Some((_, bytes)) = self.parts.last_mut() else { return Err(io::Error::other("no part")) };
        Ok(Box::new(Bounded { bytes, room: &mut self.room }))
    }
}

struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    room: &'a mut usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.room = self
            .room
            .checked_sub(bytes.len())
            .ok_or_else(|| io::Error::other("the receipt is larger than 1 MiB"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
