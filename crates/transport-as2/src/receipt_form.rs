//! Whether what is signed is a receipt, by the fields at its beginning.

use crate::report_types::report_type;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use smime::{Headers, Limits};

/// Bytes in which the fields of a signed part are looked for.
pub(crate) const SEEN: usize = 16 * 1024;

/// Whether a whole body is a receipt and nothing else, as nearly all partners send it: plain or signed.
pub(crate) fn is_plain_receipt(headers: &Headers, body: &[u8]) -> bool {
    let Some(media) = headers.content_type() else { return false };
    match media.essence() {
        "multipart/report" => true,
        "multipart/signed" => signs_report(body, &media.parameter("boundary").unwrap_or_default(), false),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
            opaque_report(&body[..body.len().min(SEEN)], false)
        }
        _ => false,
    }
}

/// Whether a multipart is a receipt: one report among others has another type, which it must say.
pub(crate) fn is_receipt(headers: &Headers) -> bool {
    headers.content_type().is_some_and(|media| {
        let kind = media.parameter("report-type").unwrap_or_default();
        media.essence() == "multipart/report" && (kind.is_empty() || is_receipt_type(&kind))
    })
}

/// Whether a report of this type is a receipt: an MDN, or one of GISB's.
fn is_receipt_type(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("disposition-notification") || report_type(&[], kind.trim()).is_some()
}

/// Whether a part is what a receipt says to a program, by its media type: some products send it without the report around.
pub(crate) fn is_notification(essence: &str) -> bool {
    essence == "message/disposition-notification"
}

/// Whether a part is protected by itself, by its media type.
pub(crate) fn is_protected(essence: &str) -> bool {
    let by_smime = matches!(essence, "application/pkcs7-mime" | "application/x-pkcs7-mime");
    // The second one is OpenPGP's (RFC 3156, 4).
    by_smime || matches!(essence, "multipart/signed" | "multipart/encrypted")
}

/// Whether these are the fields of a report; strictly, of one that says that it is a receipt.
pub(crate) fn is_report(fields: &Headers, strict: bool) -> bool {
    fields.content_type().is_some_and(|media| {
        let kind = media.parameter("report-type").unwrap_or_default();
        media.essence() == "multipart/report" && (!strict || is_receipt_type(&kind))
    })
}

/// Whether the first part of a signed message is a report.
pub(crate) fn signs_report(seen: &[u8], boundary: &str, strict: bool) -> bool {
    let delimiter = format!("--{boundary}");
    let Some(at) = position(seen, delimiter.as_bytes()).filter(|_| !boundary.is_empty()) else {
        return false;
    };
    let after = &seen[at + delimiter.len()..];
    let Some(end) = after.iter().position(|byte| *byte == b'\n') else { return false };
    begins_report(&after[end + 1..], strict)
}

/// Whether an entity begins as a report. Fields that do not end here are read as far as they have come.
fn begins_report(entity: &[u8], strict: bool) -> bool {
    Headers::parse(entity, &Limits::default()).is_ok_and(|(fields, _)| is_report(&fields, strict))
}

/// The object identifier of what a SignedData holds (id-data; RFC 5652, 4), as it is written before it.
pub(crate) const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// Whether the entity inside an opaque signature is a report. Encrypted and compressed content is none, as it stands.
pub(crate) fn opaque_report(seen: &[u8], strict: bool) -> bool {
    let binary = if seen.first() == Some(&0x30) { seen.to_vec() } else { from_base64(seen) };
    position(&binary, DATA)
        .and_then(|at| encapsulated(&binary[at + DATA.len()..]))
        .is_some_and(|entity| begins_report(&entity, strict))
}

/// What is encapsulated behind its object identifier, as far as it has come: `[0]` with an octet string, which may be in
/// pieces.
fn encapsulated(bytes: &[u8]) -> Option<Vec<u8>> {
    let (0xa0, _, rest) = element(bytes)? else { return None };
    let (mut tag, mut length, mut rest) = element(rest)?;
    if tag == 0x24 {
        (tag, length, rest) = element(rest)?;
    }
    let mut content = Vec::new();
    while tag == 0x04 {
        content.extend_from_slice(&rest[..length.min(rest.len())]);
        let Some(next) = rest.get(length..).and_then(element) else { break };
        (tag, length, rest) = next;
    }
    Some(content)
}

/// The tag and the length of an element, and what follows them. A length that is not stated is 0.
fn element(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *first < 0x80 {
        return Some((*tag, usize::from(*first), rest));
    }
    let count = usize::from(*first & 0x7f);
    if count > 8 {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(count)?;
    let length = digits.iter().fold(0_u64, |length, digit| (length << 8) | u64::from(*digit));
    Some((*tag, usize::try_from(length).ok()?, rest))
}

/// The beginning of what is in base64, as far as whole groups have come.
fn from_base64(seen: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = seen.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+/".contains(byte));
    text.truncate(end.unwrap_or(text.len()) / 4 * 4);
    BASE64.decode(text).unwrap_or_default()
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
}
