//! What is done with a message by its transfer id, its `Content-Range` and what is held of it
//! (draft-harding-as2-restart-06, 3.3).

use crate::content_range::{ContentRange, transfer_id};
use crate::kept_terms::KeptTerms;
use crate::request::RequestHead;
use crate::streaming::{BodyReader, GoesOn};
use transport::{HeldMessage, StoredReply};

/// How a message is taken.
pub(super) enum Plan {
    /// It is read; what is kept of it goes with what arrives.
    Read,
    /// It was answered, and this is its last byte.
    LastByte {
        /// The byte, as it was.
        byte: Option<u8>,
    },
    /// It is not taken: this is the answer.
    Refused(StoredReply),
}

/// What a reader of a message reads.
pub(super) enum Opened {
    /// The message as it arrives, kept or not.
    Reader(BodyReader),
    /// It is not read: this is the answer.
    Refused(StoredReply),
}

/// What the header says of the bytes that come.
pub(super) fn said(head: &RequestHead, length: Option<u64>) -> Said {
    Said {
        etag: head.headers.get("ETag").and_then(transfer_id),
        range: head.headers.get("Content-Range").map(ContentRange::parse),
        length,
    }
}

/// Whether a message goes on: what arrives is not its beginning.
pub(super) fn goes_on(head: &RequestHead) -> bool {
    said(head, None).goes_on()
}

/// The first byte that came over the last connection of a message that went on.
pub(super) fn went_on_at(head: &RequestHead) -> Option<u64> {
    let first = said(head, None).range?.ok()?.first;
    (first > 0).then_some(first)
}

/// The bytes of the whole message, as far as its header says them.
pub(super) fn total(head: &RequestHead, length: Option<u64>) -> Option<u64> {
    said(head, length).total()
}

/// What a POST says of the bytes that it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    /// Its transfer id.
    pub(super) etag: Option<String>,
    /// Its `Content-Range`, or what is wrong with it.
    pub(super) range: Option<Result<ContentRange, String>>,
    /// Its `Content-Length`.
    pub(super) length: Option<u64>,
}

impl Said {
    /// The bytes of the whole message, as far as the header says them.
    pub(super) fn total(&self) -> Option<u64> {
        match &self.range {
            Some(Ok(range)) => Some(range.total),
            Some(Err(_)) | None => self.length,
        }
    }

    /// Whether it goes on where an earlier one broke off.
    pub(super) fn goes_on(&self) -> bool {
        matches!(&self.range, Some(Ok(range)) if range.first > 0)
    }

    /// Whether what is held is asked for: of messages that are kept alone.
    pub(super) fn may_be_kept(&self, terms: KeptTerms) -> bool {
        self.etag.is_some() && (terms.cover(self.total()) || terms.accept && self.goes_on())
    }
}

/// What is done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// It is read, and not kept.
    Whole,
    /// It is read and kept from its first byte on; what was held is overwritten.
    Keep,
    /// It goes on.
    GoOn(GoesOn),
    /// It was answered: the last byte comes again for the sake of the answer.
    LastByte {
        /// The last byte, as it was.
        byte: Option<u8>,
    },
}

/// A range that is not valid. The answer says how many bytes are held, from which the sender may go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct InvalidRange {
    /// Bytes that are held of this message.
    pub(super) held: u64,
    /// Why, for the sender.
    pub(super) reason: String,
}

impl InvalidRange {
    pub(super) fn new(held: u64, reason: impl Into<String>) -> Self {
        Self { held, reason: reason.into() }
    }
}

/// Decides what is done with a message of this key.
///
/// # Errors
/// The range is not valid.
pub(super) fn decide(
    said: &Said,
    terms: KeptTerms,
    held: Option<&HeldMessage>,
    message: &str,
) -> Result<Decision, InvalidRange> {
    // What is held under the transfer id of another message is none of this one's.
    let held = held.filter(|held| held.message == message);
    let length = held.map_or(0, |held| held.length);
    let begins = match said.etag.is_some() && terms.cover(said.total()) {
        true => Decision::Keep,
        false => Decision::Whole,
    };
    let range = match &said.range {
        // The sender starts over (3.3).
        None => return Ok(begins),
        Some(Err(reason)) => return Err(InvalidRange::new(length, reason.clone())),
        Some(Ok(range)) => *range,
    };
    if let Some(said) = said.length.filter(|said| *said != range.length()) {
        let reason =
            format!("the Content-Length is {said}, and the Content-Range has {} bytes", range.length());
        return Err(InvalidRange::new(length, reason));
    }
    if range.first == 0 {
        return Ok(begins);
    }
    let Some(held) = held else {
        let reason = "nothing is held of this message: send it from its first byte on";
        return Err(InvalidRange::new(0, reason));
    };
    if let Some(total) = held.total.filter(|total| *total != range.total) {
        let reason =
            format!("the message had {total} bytes before, and has {} now: send it whole", range.total);
        return Err(InvalidRange::new(0, reason));
    }
    if length > range.total {
        return Err(InvalidRange::new(
            0,
            format!("{length} bytes of the message are held, more than it has"),
        ));
    }
    if range.first > length {
        return Err(InvalidRange::new(
            length,
            format!("{length} bytes of the message are held: go on from there"),
        ));
    }
    if !held.answered {
        return Ok(Decision::GoOn(GoesOn { holder: held.holder, first: range.first, held: length }));
    }
    match range.length() {
        1 => Ok(Decision::LastByte { byte: held.last_byte }),
        _ => Err(InvalidRange::new(
            length,
            "the whole message was received: send its last byte for the answer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "the message";

    fn said(range: Option<&str>, length: Option<u64>) -> Said {
        let range = range.map(|range| ContentRange::parse(range.as_bytes()));
        Said { etag: Some("\"1\"".into()), range, length }
    }

    fn held(length: u64, total: Option<u64>) -> HeldMessage {
        HeldMessage { holder: 7, message: KEY.into(), length, last_byte: Some(9), total, answered: false }
    }

    fn all() -> KeptTerms {
        KeptTerms { smallest: 0, ..KeptTerms::default() }
    }

    fn asked(said: &Said, held: Option<&HeldMessage>) -> Result<Decision, u64> {
        decide(said, all(), held, KEY).map_err(|invalid| invalid.held)
    }

    #[test]
    fn a_message_goes_on_at_any_byte_that_is_held_or_at_the_next_one() {
        let drafts = said(Some("bytes 65982464-307502442/307502443"), Some(241_519_979));
        let goes_on = |first, held| Ok(Decision::GoOn(GoesOn { holder: 7, first, held }));
        let of = |length| held(length, Some(307_502_443));
        assert_eq!(asked(&drafts, Some(&of(65_982_464))), goes_on(65_982_464, 65_982_464));
        assert_eq!(asked(&drafts, Some(&of(65_982_465))), goes_on(65_982_464, 65_982_465));
        assert_eq!(asked(&drafts, Some(&held(65_982_464, None))), goes_on(65_982_464, 65_982_464));
        // Chunked, the length is not said.
        assert_eq!(asked(&said(Some("bytes 5-9/10"), None), Some(&held(5, Some(10)))), goes_on(5, 5));
        // All is held: the last byte comes again.
        assert_eq!(asked(&said(Some("bytes 9-9/10"), Some(1)), Some(&held(10, Some(10)))), goes_on(9, 10));
    }

    #[test]
    fn what_does_not_fit_what_is_held_is_not_valid() {
        for (range, length, of, expected) in [
            // Behind what is held; nothing is held.
            ("bytes 6-9/10", Some(4), Some(held(5, Some(10))), 5),
            ("bytes 6-9/10", Some(4), None, 0),
            // Another length than the range has.
            ("bytes 5-9/10", Some(6), Some(held(5, Some(10))), 5),
            ("bytes 0-9/10", Some(9), Some(held(5, Some(10))), 5),
            // Another message by its length: it starts over.
            ("bytes 5-10/11", Some(6), Some(held(5, Some(10))), 0),
            ("bytes 1-1/2", Some(1), Some(held(5, None)), 0),
            // No range.
            ("bytes 5-8/10", Some(4), Some(held(5, Some(10))), 5),
            ("bytes 9-5/10", Some(4), Some(held(5, Some(10))), 5),
            ("bytes 1-18446744073709551615/18446744073709551616", None, Some(held(5, Some(10))), 5),
        ] {
            assert_eq!(asked(&said(Some(range), length), of.as_ref()), Err(expected), "{range} of {of:?}");
        }
        let other = HeldMessage { message: "another".into(), ..held(5, Some(10)) };
        assert_eq!(asked(&said(Some("bytes 5-9/10"), Some(5)), Some(&other)), Err(0));
    }

    #[test]
    fn a_message_from_its_first_byte_on_starts_over_and_is_kept_where_that_is_agreed() {
        let of = held(5, Some(10));
        for begins in [said(None, Some(10)), said(Some("bytes 0-9/10"), Some(10)), said(None, None)] {
            assert_eq!(asked(&begins, Some(&of)), Ok(Decision::Keep), "{begins:?}");
        }
        // Without a transfer id, or below the smallest size, or of unknown size where there is a smallest one.
        let no_id = Said { etag: None, ..said(None, Some(10)) };
        assert_eq!(asked(&no_id, None), Ok(Decision::Whole));
        let large = KeptTerms { smallest: 11, ..all() };
        for small in [said(None, Some(10)), said(None, None), said(Some("bytes 0-9/10"), None)] {
            assert_eq!(decide(&small, large, None, KEY), Ok(Decision::Whole), "{small:?}");
            assert!(!small.may_be_kept(large));
        }
        assert!(said(Some("bytes 0-10/11"), None).may_be_kept(large) && !no_id.may_be_kept(all()));
        // What goes on is looked for whatever its size: the smallest one may have been changed.
        assert!(said(Some("bytes 5-9/10"), None).may_be_kept(large));
        let off = KeptTerms { accept: false, ..all() };
        assert_eq!(decide(&said(None, Some(10)), off, None, KEY), Ok(Decision::Whole));
        assert!(!said(Some("bytes 5-9/10"), None).may_be_kept(off));
    }

    #[test]
    fn of_an_answered_message_the_last_byte_alone_comes_again() {
        let answered = HeldMessage { answered: true, ..held(10, Some(10)) };
        let last = said(Some("bytes 9-9/10"), Some(1));
        assert_eq!(asked(&last, Some(&answered)), Ok(Decision::LastByte { byte: Some(9) }));
        assert_eq!(asked(&said(Some("bytes 5-9/10"), Some(5)), Some(&answered)), Err(10));
        assert_eq!(asked(&said(None, Some(10)), Some(&answered)), Ok(Decision::Keep));
    }

    proptest! {
        #[test]
        fn nothing_goes_on_behind_what_is_held(
            first in 0_u64..40, more in 0_u64..40, length in prop::option::of(0_u64..80), has in 0_u64..60,
            total in prop::option::of(0_u64..60), answered in any::<bool>(),
        ) {
            let last = first + more;
            let text = format!("bytes {first}-{last}/{}", last + 1);
            let held = HeldMessage { answered, ..held(has, total) };
            match decide(&said(Some(&text), length), all(), Some(&held), KEY) {
                Ok(Decision::GoOn(on)) => {
                    prop_assert!(on.first == first && on.held == has && first <= has && has <= last + 1);
                    prop_assert!(first > 0 && !answered && total.is_none_or(|total| total == last + 1));
                    prop_assert!(length.is_none_or(|length| length == more + 1));
                }
                Ok(Decision::LastByte { .. }) => prop_assert!(answered && more == 0 && first > 0),
                Ok(Decision::Keep) => prop_assert_eq!(first, 0),
                Ok(Decision::Whole) => prop_assert!(false, "it is kept"),
                Err(invalid) => prop_assert!(invalid.held == has || invalid.held == 0),
            }
        }
    }
}
