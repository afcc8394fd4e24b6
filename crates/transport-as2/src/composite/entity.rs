//! A receipt that came inside other layers, as an entity of its own that any tool can verify: the signed bytes and the signature
//! as they were received, in a `multipart/signed` that is written here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use smime::{Headers, NameStyle, Report};

/// The columns of base64 in the signature part.
const LINE: usize = 64;

/// The entity of what the outermost signature of a message covers, by OpenPGP where that is around S/MIME; none if it has none,
/// or the signed bytes were not copied.
pub(crate) fn signed(
    (report, pgp): (&Report, Option<&pgp_mime::Report>),
    copied: Option<&[u8]>,
    unique: &str,
) -> Option<(Headers, Vec<u8>)> {
    let copied = copied?;
    let boundary = boundary(copied, unique);
    let Some(proof) = pgp.and_then(|pgp| pgp.signed.as_ref()) else {
        let (proof, content) = (report.signed()?, report.signed_content.as_ref()?);
        let media = format!(
            "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg={}; boundary=\"{boundary}\"",
            proof.digest.name(NameStyle::Rfc5751)
        );
        let headers = Headers::new().with("Content-Type", media).ok()?;
        let head = "Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n";
        return Some((headers, joined(&boundary, copied, head, &in_base64(&content.signature))));
    };
    let headers = pgp_mime::signed_headers(proof.digest, &boundary).ok()?;
    let head = "Content-Type: application/pgp-signature; name=signature.asc\r\n";
    let first = proof.signature.iter().find(|byte| !byte.is_ascii_whitespace());
    // A packet begins with this bit (RFC 9580, 4.2), armour with a dash.
    let body = match first.is_some_and(|byte| byte & 0x80 != 0) {
        true => {
            let head = format!("{head}Content-Transfer-Encoding: base64\r\n");
            joined(&boundary, copied, &head, &in_base64(&proof.signature))
        }
        false => joined(&boundary, copied, head, &proof.signature),
    };
    Some((headers, body))
}

/// One that does not occur in what it bounds.
fn boundary(copied: &[u8], unique: &str) -> String {
    let mut boundary = format!("----waybill-{}", plain(unique));
    while copied.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
        boundary.push('-');
    }
    boundary
}

/// The two parts: what was signed, and its signature behind these fields.
fn joined(boundary: &str, copied: &[u8], head: &str, signature: &[u8]) -> Vec<u8> {
    let between = format!("\r\n--{boundary}\r\n{head}\r\n");
    let (begin, end) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    [begin.as_bytes(), copied, between.as_bytes(), signature, end.as_bytes()].concat()
}

fn in_base64(signature: &[u8]) -> Vec<u8> {
    let text = BASE64.encode(signature);
    text.as_bytes().chunks(LINE).collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// What of an id may stand in a boundary.
fn plain(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect()
}
