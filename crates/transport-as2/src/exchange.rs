//! Certificate Exchange Messaging (draft-meadors-certificate-exchange-14): a multipart/related whose root is an XML document
//! that says what is proposed or answered, beside the certificates (`application/pkcs7-mime; smime-type=certs-only`).
//!
//! [`document`] reads the XML, bounded and without entities; [`read`] reads a message; [`write`] makes one. What is written is
//! sent like a file that a person sends by hand, so signing, encryption, receipts and retries are those of every message.

mod document;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{ExchangePart, Refusal, Said, read};
pub(crate) use write::{request, response};

use crate::agreement::{Identity, NAME, Partner};
use crate::receipt_form::{is_notification, is_receipt};
use crate::receive::ReadPart;
use crate::related::CONTENT_ID;
use crate::reply_address::{ListenSpecs, reply_url};
use crate::streaming::stream_error;
use model::definition::Definitions;
use model::{
    CertificateExchangeFormat, Error, ErrorKind, ExchangeContent, ExchangeRequest, ExchangeResponse, Result,
};
use serde_json::Value;
use smime::ContentType;
use std::io::{self, Read};
use std::sync::Arc;
use transport::PartWriter;

/// The media type of the document.
pub(crate) const DOCUMENT: &str = "application/ediint-cert-exchange+xml";

/// The namespace of the document's elements.
pub(crate) const NAMESPACE: &str = "urn:ietf:params:xml:ns:ediintcertificateexchange";

/// The namespace of a certificate's issuer and serial number (XML Signature).
pub(crate) const SIGNATURE_NAMESPACE: &str = "http://www.w3.org/2000/09/xmldsig#";

/// Most bytes of one part.
const LARGEST_PART: u64 = 256 * 1024;

/// Whether a message is about certificates: one of its files is the document, and none a receipt. Beside a receipt it is refused
/// where the message is taken apart, so that the receipt is not lost.
pub(crate) fn is_exchange(parts: &[ReadPart]) -> bool {
    let is_of_receipt = |part: &ReadPart| {
        is_receipt(&part.headers) || is_notification(part.media_type.as_deref().unwrap_or_default())
    };
    parts.iter().any(|part| is_document(part.media_type.as_deref())) && !parts.iter().any(is_of_receipt)
}

/// Whether a file is the document, by its media type.
pub(crate) fn is_document(media_type: Option<&str>) -> bool {
    media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(DOCUMENT))
}

/// The parts of a message with their bytes. Blocks. The inner error is why the message is not taken.
///
/// # Errors
/// Ours: staging cannot be read.
pub(crate) fn parts_of(parts: &[ReadPart]) -> Result<Result<Vec<ExchangePart>, Refusal>> {
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        if part.writer.length() > LARGEST_PART {
            let reason = format!("a part of it has more than {LARGEST_PART} bytes");
            return Ok(Err(Refusal::malformed(reason)));
        }
        let mut bytes = Vec::new();
        let reading = Written { part: &*part.writer, at: 0 }.take(LARGEST_PART).read_to_end(&mut bytes);
        reading.map_err(stream_error)?;
        let own = part.metadata.get(CONTENT_ID).and_then(Value::as_str).unwrap_or_default();
        let media = part.headers.content_type();
        let kind = media.as_ref().map(ContentType::essence).unwrap_or_default().to_owned();
        found.push(ExchangePart {
            is_document: is_document(Some(&kind)),
            content_id: bare(own).to_owned(),
            bytes,
        });
    }
    Ok(Ok(found))
}

/// A Content-ID without its angle brackets and without `cid:`, with which some products refer to it.
pub(crate) fn bare(id: &str) -> &str {
    let id = id.trim();
    let id = id.strip_prefix("cid:").unwrap_or(id);
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id).trim()
}

/// The bytes of a part, from the beginning.
struct Written<'a> {
    part: &'a dyn PartWriter,
    at: u64,
}

impl Read for Written<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.part.read_at(out, self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// How messages about certificates are written, and where partners can answer them.
pub(crate) struct ExchangeFormat {
    /// The HTTP servers of `waybill.toml`.
    pub(crate) listen: Arc<ListenSpecs>,
}

impl CertificateExchangeFormat for ExchangeFormat {
    fn request(&self, definitions: &Definitions, asked: &ExchangeRequest<'_>) -> Result<ExchangeContent> {
        let identity = identity(definitions, asked.identity)?;
        check_signed(definitions, asked.partner)?;
        request(identity.as2_id.as_str(), asked)
    }

    fn response(&self, definitions: &Definitions, said: &ExchangeResponse<'_>) -> Result<ExchangeContent> {
        let identity = identity(definitions, &said.proposal.identity)?;
        check_signed(definitions, &said.proposal.partner)?;
        Ok(response(identity.as2_id.as_str(), said))
    }

    fn response_url(&self, definitions: &Definitions, partner: &str) -> Option<String> {
        response_url(&self.listen, definitions, partner)
    }
}

/// Where the partner sends receipts that come later is where it sends other messages as well.
fn response_url(listen: &ListenSpecs, definitions: &Definitions, partner: &str) -> Option<String> {
    let partner = Partner::of(definitions.partners.get(partner)?).ok()?;
    reply_url(listen, definitions, &partner.agreement.receipts, NAME).ok().flatten()
}

/// A message about certificates that is not signed proves nothing, and is refused; by S/MIME, as it is about such certificates.
fn check_signed(definitions: &Definitions, partner: &str) -> Result<()> {
    let found = definitions.partners.get(partner).map(|found| Partner::of(found)).transpose()?;
    if found.is_some_and(|found| found.agreement.signs_by_smime()) {
        return Ok(());
    }
    Err(Error::permanent(ErrorKind::ConfigInvalid, "write a message about certificates")
        .with("partner", partner)
        .advice(
            "messages to this partner are not signed by S/MIME: set its send.security to \"signed\" or \
             \"signed_encrypted\", and leave out send.packaging",
        ))
}

fn identity(definitions: &Definitions, name: &str) -> Result<Identity> {
    let found = definitions.identities.get(name).ok_or_else(|| {
        Error::permanent(ErrorKind::NotFound, "write a message about certificates")
            .with("identity", name)
            .advice("this identity is not defined any more")
    })?;
    Identity::of(found)
}
