//! Whether what was signed is one leaf, and whether its bytes can be read again where its signature does not match.

use super::limits::Limits;
use super::report::SignedContent;
use crate::error::Error;
use crate::mic::SignedLeaf;
use crate::mime::headers::Headers;
use crate::mime::transfer::TransferEncoding;

/// Whether an entity is a single leaf whose bytes are handed out as they are signed: no multipart, no
/// wrapping inside, no transfer encoding to take off.
pub fn is_one_plain_leaf(headers: &Headers) -> bool {
    let plain_bytes = matches!(
        headers.transfer_encoding(),
        Ok(None | Some(TransferEncoding::Binary | TransferEncoding::SevenBit | TransferEncoding::EightBit))
    );
    plain_bytes && is_one_leaf(headers)
}

/// The same, but for the transfer encoding.
fn is_one_leaf(headers: &Headers) -> bool {
    headers.content_type().is_none_or(|media| {
        !media.is_kind("multipart")
            && !matches!(media.essence(), "application/pkcs7-mime" | "application/x-pkcs7-mime")
    })
}

/// An error about changed content, with what of that content can be read again. `outermost` is what the signature covers if it is
/// the outermost one; of another one `plain_head` is the header section of the last leaf, if that is all it covers.
pub(super) fn with_signed_bytes(
    error: Error,
    outermost: Option<&SignedContent>,
    plain_head: Option<Vec<u8>>,
    limits: &Limits,
) -> Error {
    let (algorithm, mut signed) = match error {
        Error::IntegrityFailed { algorithm, signed: Some(signed) } => (algorithm, signed),
        other => return other,
    };
    signed.is_outermost = outermost.is_some();
    let (head, leaf) = match (outermost, plain_head) {
        (Some(covered), _) => (covered.head.clone(), leaf_of(covered, limits)),
        (None, Some(head)) => (head, SignedLeaf::AsSigned),
        (None, None) => (Vec::new(), SignedLeaf::Other),
    };
    signed.head = head;
    signed.leaf = leaf;
    Error::IntegrityFailed { algorithm, signed: Some(signed) }
}

fn leaf_of(covered: &SignedContent, limits: &Limits) -> SignedLeaf {
    if covered.is_leaf {
        return SignedLeaf::AsSigned;
    }
    match Headers::parse(&covered.head, limits) {
        Ok((headers, _)) if is_one_leaf(&headers) => SignedLeaf::Decoded,
        _ => SignedLeaf::Other,
    }
}
