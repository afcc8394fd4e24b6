//! A whole message: header block, empty line, body.

use crate::support;
use smime::Headers;

/// Reads one input.
pub fn run(data: &[u8]) {
    if let Ok((headers, body)) = Headers::parse(data, &support::limits()) {
        support::read(&headers, body);
    }
}
