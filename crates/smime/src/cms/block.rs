//! Signatures apart from what they sign: a SignedData without content, as evidence keeps it.

use crate::algorithm::oid;
use crate::der;

/// A SignedData that was read, without its content. The elements are those that were received, byte for byte; `beside` are
/// the certificates and revocation lists that came along, each empty if there is none.
pub(crate) fn without_content(
    version: &[u8],
    digest_algorithms: &[u8],
    content_type: &[u8],
    beside: [&[u8]; 2],
    signer_infos: &[u8],
) -> Vec<u8> {
    let encapsulated = der::sequence(&[content_type]);
    let mut fields = vec![version, digest_algorithms, &encapsulated];
    fields.extend(beside);
    fields.push(signer_infos);
    let data = der::sequence(&fields);
    der::sequence(&[&der::oid(oid::SIGNED_DATA), &der::element(der::context(0), &[&data])])
}
