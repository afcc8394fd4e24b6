//! Messages about certificates: the XML document, a zero byte, and the part with the certificates.

use model::Timestamp;
use transport_as2::exchange::{ExchangePart, Said, read};

/// More than the longest text that is quoted, with the words around it.
const LONGEST_REFUSAL: usize = 4200;

/// Reads one input.
pub fn run(data: &[u8]) {
    let mut pieces = data.splitn(2, |byte| *byte == 0);
    let mut part = |content_id: &str, is_document| {
        let bytes = pieces.next().unwrap_or_default().to_vec();
        ExchangePart { is_document, content_id: content_id.to_owned(), bytes }
    };
    let parts = [part("document", true), part("certificates", false)];
    // No certificate has expired by then.
    match read(&parts, "fuzz", Timestamp::UNIX_EPOCH) {
        Ok(Said::Request { certificates, .. }) => {
            for one in certificates {
                assert!(one.pem.starts_with("-----BEGIN CERTIFICATE-----"), "{one:?}");
                assert!(!one.usages.is_empty() && !one.subject.contains(char::is_control), "{one:?}");
            }
        }
        Ok(Said::Response { answers, .. }) => assert!(!answers.is_empty()),
        Err(refusal) => {
            assert!(refusal.0.len() <= LONGEST_REFUSAL, "{} bytes", refusal.0.len());
            assert!(!refusal.0.contains(char::is_control), "{refusal:?}");
        }
    }
}
