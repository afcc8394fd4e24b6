//! `Content-Range` and `ETag` of messages that go on where they broke off.

use transport_as2::content_range::{ContentRange, transfer_id};

/// Reads one input.
pub fn run(data: &[u8]) {
    if let Ok(range) = ContentRange::parse(data) {
        assert!(range.first <= range.last && range.last < range.total && range.length() > 0, "{range:?}");
        // What was read is read again as it is written.
        let ContentRange { first, last, total } = range;
        let again = format!("bytes {first}-{last}/{total}");
        assert_eq!(ContentRange::parse(again.as_bytes()), Ok(range));
    }
    if let Some(id) = transfer_id(data) {
        assert_eq!(transfer_id(id.as_bytes()), Some(id));
    }
}
