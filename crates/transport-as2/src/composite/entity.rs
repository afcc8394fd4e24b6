//! A receipt that came inside other layers, as an entity of its own that any tool can verify: the signed bytes and the signature
//! as they were received, in a `multipart/signed` that is written here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use smime::{Headers, NameStyle, Report};

/// The columns of base64 in the signature part.
const LINE: usize = 64;

/// The entity of what the outermost signature of a message covers; none if it has none, or the signed bytes were not copied.
pub(crate) fn signed(report: &Report, copied: Option<&[u8]>, unique: &str) -> Option<(Headers, Vec<u8>)> {
    let (proof, content) = (report.signed()?, report.signed_content.as_ref()?);
    let copied = copied?;
    let mut boundary = format!("----waybill-{}", plain(unique));
    // A boundary must not occur in what it bounds.
    while copied.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
        boundary.push('-');
    }
    let media = format!(
        "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg={}; boundary=\"{boundary}\"",
        proof.digest.name(NameStyle::Rfc5751)
    );
    let headers = Headers::new().with("Content-Type", media).ok()?;
    let mut body = format!("--{boundary}\r\n").into_bytes();
    body.extend_from_slice(copied);
    let signature = "Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    body.extend_from_slice(format!("\r\n--{boundary}\r\n{signature}").as_bytes());
    for line in BASE64.encode(&content.signature).as_bytes().chunks(LINE) {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Some((headers, body))
}

/// What of an id may stand in a boundary.
fn plain(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect()
}
