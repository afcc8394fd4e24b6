//! Whether what arrives is a receipt, seen from its head and its first bytes: a receipt is held to other rules than a message,
//! and is none for staging.

use crate::coding::Coding;
use crate::receipt_form::{SEEN, is_report, opaque_report, signs_report};
use crate::request::RequestHead;
use crate::streaming::Arriving;
use model::Result;
use std::io::{Cursor, Read};

/// Whether it is a receipt. One that is encrypted or compressed cannot be told from a message here. Of a sender that is not
/// known nothing is awaited: its head alone counts.
///
/// # Errors
/// The connection broke.
pub(super) async fn seems_receipt(
    head: &RequestHead,
    coding: Coding,
    arriving: &mut Arriving,
    is_known: bool,
) -> Result<bool> {
    if is_report(&head.headers, head.mdn.wanted) {
        return Ok(true);
    }
    // A receipt asks for none (RFC 4130, 7.2): no more is seen of what does before its turn.
    if head.mdn.wanted || !is_known {
        return Ok(false);
    }
    // Nothing is held for it yet: its connection may go for another one.
    let _waits = arriving.waits();
    holds_receipt(head, coding, arriving, SEEN).await
}

/// Whether a message that asks for a receipt is one: some partners copy the fields of ours onto it. No more than its first
/// piece is awaited, as for any message.
///
/// # Errors
/// The connection broke.
pub(super) async fn asks_but_is_receipt(
    head: &RequestHead,
    coding: Coding,
    arriving: &mut Arriving,
) -> Result<bool> {
    Ok(head.mdn.wanted && holds_receipt(head, coding, arriving, 1).await?)
}

/// Whether what is signed is a receipt, by about so many of its first bytes.
async fn holds_receipt(
    head: &RequestHead,
    coding: Coding,
    arriving: &mut Arriving,
    wanted: usize,
) -> Result<bool> {
    let strict = head.mdn.wanted;
    let Some(media) = head.headers.content_type() else { return Ok(false) };
    match media.essence() {
        "multipart/signed" => {
            let seen = plain(coding, &arriving.peek(wanted).await?);
            let boundary = media.parameter("boundary").unwrap_or_default();
            Ok(signs_report(&seen, &boundary, strict))
        }
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
            let seen = plain(coding, &arriving.peek(wanted).await?);
            Ok(opaque_report(&seen, strict))
        }
        _ => Ok(false),
    }
}

/// The beginning without its content coding, as far as it can be read.
fn plain(coding: Coding, seen: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // It ends in the middle, where a coding says so.
    let read = coding.decoder(Cursor::new(seen.to_vec()), 4 * SEEN as u64).read_to_end(&mut plain);
    if let Err(error) = read {
        tracing::trace!(%error, "the beginning of a message was decoded as far as it has come");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt_form::DATA;
    use base64::Engine as _;

    #[test]
    fn a_signed_report_is_told_by_its_first_part() {
        let report =
            "Content-Type: multipart/report; report-type=disposition-notification;\r\n boundary=x\r\n\r\n--x";
        for (seen, expected) in [
            (format!("--b\r\n{report}"), true),
            (format!("\r\npreamble\r\n--b  \n{report}"), true),
            (
                "--b\r\nContent-Transfer-Encoding: 7bit\r\nCONTENT-TYPE:\tMultipart/Report\r\n\r\n".into(),
                true,
            ),
            ("--b\r\nContent-Type: application/edi-x12\r\n\r\nmultipart/report".into(), false),
            ("--b\r\nContent-Type: multi".into(), false),
            ("--b".into(), false),
            (format!("--other\r\n{report}"), false),
            (String::new(), false),
        ] {
            assert_eq!(signs_report(seen.as_bytes(), "b", false), expected, "{seen}");
        }
        assert!(!signs_report(format!("--\r\n{report}").as_bytes(), "", false));
    }

    /// The beginning of a SignedData: in one octet string, or in pieces of unknown length.
    fn opaque(entity: &[u8], in_pieces: bool) -> Vec<u8> {
        let string = |bytes: &[u8]| {
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            [&[0x04, 0x82][..], &length, bytes].concat()
        };
        let content = if in_pieces {
            let (one, two) = entity.split_at(entity.len() / 2);
            [&[0xa0, 0x80, 0x24, 0x80][..], &string(one), &string(two), &[0; 4]].concat()
        } else {
            [&[0xa0, 0x80][..], &string(entity), &[0; 2]].concat()
        };
        [&[0x30, 0x80][..], DATA, &content].concat()
    }

    #[test]
    fn an_opaque_report_is_told_by_the_entity_that_is_signed() {
        let report = "Content-Type: multipart/report; report-type=disposition-notification\r\n\r\n--x";
        let other = "Content-Type: multipart/report; report-type=delivery-status\r\n\r\n--x";
        let file = "Content-Type: text/plain\r\n\r\nContent-Type: multipart/report\r\n\r\n";
        for in_pieces in [false, true] {
            for (entity, loosely, strictly) in
                [(report, true, true), (other, true, false), (file, false, false), ("", false, false)]
            {
                let seen = opaque(entity.as_bytes(), in_pieces);
                let lines = base64::engine::general_purpose::STANDARD.encode(&seen);
                let lines: Vec<String> =
                    lines.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
                for seen in [&seen[..], lines.join("\r\n").as_bytes()] {
                    assert_eq!(opaque_report(seen, false), loosely, "{in_pieces}: {entity}");
                    assert_eq!(opaque_report(seen, true), strictly, "{in_pieces}: {entity}");
                    // It may end anywhere.
                    for end in 0..seen.len() {
                        assert!(!opaque_report(&seen[..end], true) || strictly, "{in_pieces}: {entity}");
                    }
                }
            }
        }
        // A length that is too much.
        assert!(!opaque_report(
            &[&[0x30][..], DATA, &[0xa0, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]].concat(),
            false
        ));
        assert!(!opaque_report(&[&[0x30][..], DATA, &[0xa0, 0x80, 0x04, 0x88], &[0xff; 8]].concat(), false));
    }

    #[test]
    fn what_is_coded_is_read_as_far_as_it_has_come() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write as _;
        let mut coder = GzEncoder::new(Vec::new(), Compression::default());
        coder.write_all(b"--b\r\nContent-Type: multipart/report\r\n\r\n").unwrap();
        coder.flush().unwrap();
        let begun = coder.get_ref().clone();
        assert!(signs_report(&plain(Coding::Gzip, &begun), "b", false));
        assert_eq!(plain(Coding::Identity, b"abc"), b"abc");
    }
}
