//! The BER of a CMS message; the first byte says of which kind it is announced to be.

use crate::support;
use smime::Headers;

const KINDS: [&str; 4] = ["enveloped-data", "authEnveloped-data", "signed-data", "compressed-data"];

/// Reads one input.
pub fn run(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let media = format!("application/pkcs7-mime; smime-type={kind}");
    support::read(&Headers::new().with("Content-Type", media).expect("a media type"), body);
}
