//! Message disposition notifications: writing them strictly, reading them leniently
//! (RFC 4130, 7; RFC 8098, 3; the signed form RFC 4130, 7.3).

use crate::disposition::Disposition;
use crate::material::hexadecimal;
use model::{Error, ErrorKind, Result, Retry};
use openssl::x509::X509;
use smime::{Digest, Entity, Headers, Keys, Limits, Mic, Part, PartReceiver, ReadOptions, Signing};
use std::io::{self, Cursor, Read, Write};
use std::time::SystemTime;

/// Largest MDN that is read or written, in bytes.
pub const LARGEST_MDN: usize = 1024 * 1024;

/// What a receipt says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mdn {
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
        let body = self.report(boundary);
        let essence =
            format!("multipart/report; report-type=disposition-notification; boundary=\"{boundary}\"");
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

    fn report(&self, boundary: &str) -> Vec<u8> {
        let line = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
        let recipient = line(&self.final_recipient);
        let mut report = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/disposition-notification\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             Reporting-UA: Waybill\r\nOriginal-Recipient: rfc822; {recipient}\r\nFinal-Recipient: rfc822; {recipient}\r\n",
            self.text.replace('\n', "\r\n"),
        );
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

/// A receipt that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadMdn {
    /// What it says.
    pub mdn: Mdn,
    /// Its signature, when it has one that one of the given certificates proves.
    pub signed: Option<Signature>,
}

/// A signature that was proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Its digest.
    pub digest: Digest,
    /// SHA-256 of the certificate that proved it, in hexadecimal.
    pub certificate: String,
}

/// Reads a receipt from an answer's headers and body. A signature must be proved by one of the
/// partner's certificates, which must be valid at `valid_at` where that is given.
///
/// # Errors
/// `TrustFailed` when a signature is not the partner's, `Permanent`; `Protocol` when there is no receipt
/// that can be read, `Ambiguous` as long as no disposition was seen: the partner may have the message.
pub fn read(
    headers: &Headers,
    body: &[u8],
    partner: &[X509],
    valid_at: Option<SystemTime>,
) -> Result<ReadMdn> {
    let mut parts = Collected { parts: Vec::new(), room: LARGEST_MDN };
    let options = ReadOptions { alternatives: false, valid_at, ..ReadOptions::default() };
    let keys = Keys { decrypt: &[], verify: partner };
    let report = smime::read_message(headers, body, keys, &options, &mut parts).map_err(|error| {
        let (kind, retry, advice) = match &error {
            smime::Error::CertificateExpired => (
                ErrorKind::TrustFailed,
                Retry::Permanent,
                "add the certificate that the partner signs with now, or go on with the old one \
                 (accept_expired = true)",
            ),
            smime::Error::SignatureInvalid
            | smime::Error::SignerUnknown { .. }
            | smime::Error::IntegrityFailed { .. } => (
                ErrorKind::TrustFailed,
                Retry::Permanent,
                "ask the partner which certificate signs its receipts, and add it to the partner's certificates",
            ),
            _ => (ErrorKind::Protocol, Retry::Ambiguous, NO_RECEIPT),
        };
        Error::new(kind, retry, "read the receipt (MDN)")
            .with("content_type", media_type(headers))
            .said(beginning(body))
            .advice(advice)
            .caused_by(error)
    })?;
    let signed = report
        .signed()
        .map(|proof| Signature { digest: proof.digest, certificate: hexadecimal(&proof.fingerprint) });
    let notification = parts
        .parts
        .iter()
        .find(|(essence, _)| essence.eq_ignore_ascii_case("message/disposition-notification"))
        .ok_or_else(|| {
            Error::ambiguous(ErrorKind::Protocol, "find a receipt (MDN) in the partner's answer")
                .with("content_type", media_type(headers))
                .said(beginning(body))
                .advice(NO_RECEIPT)
        })?;
    let text = parts
        .parts
        .iter()
        .find(|(essence, _)| essence.starts_with("text/"))
        .map(|(_, bytes)| String::from_utf8_lossy(bytes).trim().to_owned())
        .unwrap_or_default();
    Ok(ReadMdn { mdn: parse_fields(&notification.1, text)?, signed })
}

fn parse_fields(bytes: &[u8], text: String) -> Result<Mdn> {
    let (fields, _) = Headers::parse(bytes, &Limits::default()).map_err(|error| {
        Error::ambiguous(ErrorKind::Protocol, "read the receipt's fields")
            .said(beginning(bytes))
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
            .said(beginning(bytes))
            .advice(NO_RECEIPT)
    })?;
    let parsed = Disposition::parse(&disposition).ok_or_else(|| {
        Error::permanent(ErrorKind::Protocol, "understand the receipt's disposition")
            .said(&disposition)
            .advice("ask the partner what it means by that, and whether it has the message")
    })?;
    let recipient = field("Final-Recipient").or_else(|| field("Original-Recipient")).unwrap_or_default();
    Ok(Mdn {
        final_recipient: recipient
            .split_once(';')
            .map_or(recipient.as_str(), |(_, name)| name)
            .trim()
            .to_owned(),
        original_message_id: field("Original-Message-ID"),
        // A MIC beside an error says nothing: some partners send zeros.
        mic: field("Received-content-MIC").filter(|_| parsed.is_positive()),
        disposition: parsed,
        text,
    })
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
const NO_RECEIPT: &str =
    "the message goes out again; should this go on, ask the partner what its system answers";

fn media_type(headers: &Headers) -> String {
    headers.content_type().map_or_else(|| "none".to_owned(), |media| media.essence().to_owned())
}

/// As much of an answer as helps to recognise it.
fn beginning(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1024)]
}

fn fields(headers: &Headers) -> Vec<(String, String)> {
    headers
        .fields()
        .iter()
        .map(|field| (field.name.clone(), String::from_utf8_lossy(&field.value).into_owned()))
        .collect()
}

fn cannot_write(error: &smime::Error) -> Error {
    Error::permanent(ErrorKind::Internal, "write a receipt (MDN)").with("reason", error)
}

/// Keeps small parts in memory, up to a bound for all of them.
struct Collected {
    parts: Vec<(String, Vec<u8>)>,
    room: usize,
}

impl PartReceiver for Collected {
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
