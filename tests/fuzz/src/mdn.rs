//! A receipt: header block, empty line, body.

use crate::support;
use smime::Headers;
use std::time::SystemTime;
use transport_as2::mdn::{self, Trust};

/// Reads one input.
pub fn run(data: &[u8]) {
    let Ok((headers, body)) = Headers::parse(data, &support::limits()) else { return };
    let certificates: Vec<_> = support::KEYS.iter().map(|key| key.certificate.clone()).collect();
    let now = SystemTime::now();
    let trust = Trust { certificates: &certificates, pgp: &[], now, accept_expired: false, legacy: true };
    if let Ok(read) = mdn::read(&headers, body, trust) {
        let _ = read.mdn.disposition.to_string();
    }
}
