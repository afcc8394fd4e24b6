//! Fields of a header block in all their encodings, and what a disposition says.

use crate::support;
use smime::{ContentType, Headers, Mic};
use transport_as2::disposition::Disposition;

/// Reads one input.
pub fn run(data: &[u8]) {
    if let Ok((headers, _)) = Headers::parse(data, &support::limits()) {
        let _ = (headers.content_type(), headers.file_name(), headers.file_name_raw());
        let _ = headers.transfer_encoding();
        // What was read is written with the same bytes.
        let again = headers
            .fields()
            .iter()
            .try_fold(Headers::new(), |all, field| all.with(&field.name, &field.value));
        if let Ok(again) = again {
            assert_eq!(again.fields().len(), headers.fields().len());
        }
    }
    if let Some(media) = ContentType::parse(data) {
        let _ = media.parameter("boundary");
        assert!(ContentType::parse(media.to_string().as_bytes()).is_some(), "{media}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(disposition) = Disposition::parse(text) {
            let _ = disposition.to_string();
        }
        if let Some(mic) = Mic::parse(text) {
            assert_eq!(Mic::parse(&mic.to_string()).as_ref(), Some(&mic));
        }
    }
}
