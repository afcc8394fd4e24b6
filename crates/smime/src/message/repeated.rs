//! A message whose body begins with its MIME headers once more.

use std::io::{BufRead, Cursor, Read};

use super::limits::Limits;
use crate::error::Result;
use crate::mime::headers;

/// Longest name of a header looked for, in bytes, with its colon.
const LONGEST_NAME: u64 = 40;

/// The body without MIME headers at its beginning. HTTP's headers are those of the message (RFC 4130 section 4.2), but
/// some senders post what OpenSSL writes for e-mail, which has them in front of its base64. Neither base64 nor BER
/// begins like a header: base64 has no colon, and in BER a tag or a length follows that no name contains.
pub(super) fn without_headers<'b>(
    body: &'b mut dyn BufRead,
    limits: &Limits,
) -> Result<Box<dyn BufRead + 'b>> {
    let mut begin = Vec::new();
    Read::take(&mut *body, LONGEST_NAME).read_until(b':', &mut begin)?;
    let name = begin.strip_suffix(b":").unwrap_or_default();
    let is_header = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let body = Cursor::new(begin).chain(body);
    if is_header {
        let (_, body) = headers::split(body, limits)?;
        return Ok(Box::new(body));
    }
    Ok(Box::new(body))
}
