//! `Content-Range` of a message (RFC 2616, 14.16; draft-harding-as2-restart-06, 3.3): which of its bytes a POST has.

/// A range of bytes, both ends included, and the bytes of the whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentRange {
    /// The first byte, from 0.
    pub first: u64,
    /// The last byte.
    pub last: u64,
    /// Bytes of the whole message.
    pub total: u64,
}

impl ContentRange {
    /// Reads the field's value: `bytes 65982464-307502442/307502443`. Only a range that ends with the last byte of a message whose
    /// length is given is one: nothing else says where a message ends.
    ///
    /// # Errors
    /// A sentence for the sender.
    pub fn parse(value: &[u8]) -> Result<Self, String> {
        let shown = || model::PeerText::new(value);
        let unreadable =
            || format!("Content-Range {:?} is not a range of bytes of a message", shown().as_str());
        let text = std::str::from_utf8(value).map_err(|_| unreadable())?.trim();
        let (unit, range) = text.split_once([' ', '\t', '=']).ok_or_else(unreadable)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(unreadable());
        }
        let (bounds, total) = range.split_once('/').ok_or_else(unreadable)?;
        let (first, last) = bounds.split_once('-').ok_or_else(unreadable)?;
        let number = |digits: &str| number(digits.trim()).ok_or_else(unreadable);
        let range = Self { first: number(first)?, last: number(last)?, total: number(total)? };
        if range.first > range.last {
            return Err(format!("Content-Range {:?} ends before it begins", shown().as_str()));
        }
        if range.last.checked_add(1) != Some(range.total) {
            return Err(format!(
                "Content-Range {:?} does not end with the last byte of the message",
                shown().as_str()
            ));
        }
        Ok(range)
    }

    /// The number of bytes of the range; never 0.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.total - self.first
    }
}

/// A number in decimal digits alone that fits.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The transfer id in an `ETag` (draft, 3.1): an entity tag that is not weak, with its quotes, in printable ASCII. `None` if it
/// is none.
#[must_use]
pub fn transfer_id(value: &[u8]) -> Option<String> {
    /// The most bytes of one.
    const LONGEST: usize = 1024;
    let text = std::str::from_utf8(value).ok()?.trim();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    (!inner.is_empty() && text.len() <= LONGEST && inner.bytes().all(fits)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_range_of_the_draft() {
        let range = ContentRange::parse(b"bytes 65982464-307502442/307502443").unwrap();
        assert_eq!(range, ContentRange { first: 65_982_464, last: 307_502_442, total: 307_502_443 });
        // The Content-Length that the draft has beside it (5.2).
        assert_eq!(range.length(), 241_519_979);
        assert_eq!(ContentRange::parse(b"bytes 0-1000/1001").unwrap().length(), 1001);
    }

    #[test]
    fn reads_other_spellings_and_nothing_that_is_no_range_of_a_whole() {
        let read = |value: &str| ContentRange::parse(value.as_bytes());
        let expected = ContentRange { first: 1, last: 9, total: 10 };
        for value in [" bytes 1-9/10 ", "Bytes 1-9/10", "bytes=1-9/10", "bytes 1 - 9 / 10"] {
            assert_eq!(read(value), Ok(expected), "{value}");
        }
        for value in [
            "",
            "bytes",
            "bytes 1-9",
            "1-9/10",
            "bytes 1-9/*",
            "bytes */10",
            "lines 1-9/10",
            "bytes 9-1/10",
            "bytes 1-8/10",
            "bytes 1-10/10",
            "bytes 0-0/0",
            "bytes -1-9/10",
            "bytes +1-9/10",
            "bytes 1-9/10/10",
            "bytes 1-9/10, 0-0/1",
            "bytes 0x1-9/10",
            "bytes 1--9/10",
            "bytes 0-18446744073709551615/18446744073709551616",
            "bytes 1-18446744073709551615/0",
            "bytes 99999999999999999999-9/10",
        ] {
            let reason = read(value).unwrap_err();
            assert!(reason.starts_with("Content-Range "), "{value}: {reason}");
        }
        assert!(ContentRange::parse(b"bytes \xff-9/10").is_err());
        // The largest that there is.
        let largest = format!("bytes 0-{}/{}", u64::MAX - 1, u64::MAX);
        assert_eq!(read(&largest).unwrap().length(), u64::MAX);
    }

    #[test]
    fn a_transfer_id_is_a_strong_entity_tag() {
        let id = |value: &str| transfer_id(value.as_bytes());
        let drafts = "\"ci1257348820455.829541_tharding_2k_te\"";
        assert_eq!(id(drafts).as_deref(), Some(drafts));
        assert_eq!(id(" \"a\" ").as_deref(), Some("\"a\""));
        for none in ["", "a", "W/\"a\"", "\"\"", "\"a", "\"a\"b\"", "\"a b\"", "\"", "*"] {
            assert_eq!(id(none), None, "{none}");
        }
        assert!(transfer_id(format!("\"{}\"", "x".repeat(2000)).as_bytes()).is_none());
        assert!(transfer_id(b"\"\xff\"").is_none() && id("\"\u{e9}\"").is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(first in any::<u64>(), more in 0_u64..1 << 40) {
            prop_assume!(first.checked_add(more).is_some_and(|last| last < u64::MAX));
            let (last, total) = (first + more, first + more + 1);
            let read = ContentRange::parse(format!("bytes {first}-{last}/{total}").as_bytes()).unwrap();
            prop_assert_eq!(read, ContentRange { first, last, total });
            prop_assert_eq!(read.length(), more + 1);
        }

        #[test]
        fn anything_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(range) = ContentRange::parse(&value) {
                prop_assert!(range.first <= range.last && range.last < range.total);
            }
            if let Some(id) = transfer_id(&value) {
                prop_assert!(id.starts_with('"') && id.ends_with('"') && id.len() > 2);
            }
        }

        #[test]
        fn digits_anywhere_are_read_or_refused(value in "bytes [0-9*]{0,22}-[0-9]{0,22}/[0-9*]{0,22}") {
            if let Ok(range) = ContentRange::parse(value.as_bytes()) {
                prop_assert!(range.length() > 0);
            }
        }
    }
}
