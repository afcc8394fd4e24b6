use super::*;
use model::Retry;
use proptest::prelude::*;
use std::io;

fn step(from: &str, to: &str, invalid: &'static str) -> ConvertCharset {
    ConvertCharset {
        from: Charset::named(from).unwrap(),
        to: Charset::named(to).unwrap(),
        replaces: invalid == "replace",
    }
}

/// Gives one piece after the other, however large the buffer.
struct Pieces<'a>(Vec<&'a [u8]>);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(first) = self.0.first_mut() {
            if first.is_empty() {
                self.0.remove(0);
                continue;
            }
            return first.read(into);
        }
        Ok(0)
    }
}

/// What a step makes of bytes that come in pieces of this length.
fn made(step: &ConvertCharset, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, u64)> {
    let mut output = Vec::new();
    let pieces = bytes.chunks(piece.max(1)).collect();
    let replaced = step.convert(&mut Pieces(pieces), &mut output, 4096)?;
    Ok((output, replaced))
}

/// The same for every place at which the bytes can be cut.
fn converted(step: &ConvertCharset, bytes: &[u8]) -> (Vec<u8>, u64) {
    let whole = made(step, bytes, usize::MAX).unwrap();
    for piece in 1..=bytes.len().min(9) {
        assert_eq!(made(step, bytes, piece).unwrap(), whole, "in pieces of {piece}");
    }
    whole
}

const TEXT: &str = "UNA:+.? '\r\nGrüße, 10 €, Ελλάδα, 日本語 and 𝄞\n";

#[test]
fn text_passes_between_sets_wherever_it_is_cut() {
    let utf8 = |text: &str| (text.as_bytes().to_vec(), 0);
    assert_eq!(converted(&step("ISO-8859-1", "UTF-8", "fail"), b"Caf\xe9 \x80"), utf8("Café \u{80}"));
    assert_eq!(converted(&step("windows-1252", "UTF-8", "fail"), b"10 \x80"), utf8("10 €"));
    assert_eq!(converted(&step("UTF-8", "ISO-8859-15", "fail"), "10 €".as_bytes()).0, b"10 \xa4");
    assert_eq!(converted(&step("Shift_JIS", "UTF-8", "fail"), b"\x93\xfa\x96\x7b"), utf8("日本"));
    // A set with states: what begins a state, and the end of the text in the first one.
    let iso2022 = b"a\x1b$BF|K\\\x1b(Bb";
    assert_eq!(converted(&step("ISO-2022-JP", "UTF-8", "fail"), iso2022), utf8("a日本b"));
    assert_eq!(converted(&step("UTF-8", "ISO-2022-JP", "fail"), "日本".as_bytes()).0, b"\x1b$BF|K\\\x1b(B");
    for via in ["UTF-8", "UTF-16", "UTF-16BE", "UTF-16LE", "GB18030"] {
        let (bytes, _) = converted(&step("UTF-8", via, "fail"), TEXT.as_bytes());
        assert_eq!(converted(&step(via, "UTF-8", "fail"), &bytes), utf8(TEXT), "{via}");
    }
    for set in ["UTF-8", "UTF-16", "ISO-8859-1", "IBM037", "Shift_JIS"] {
        let (bytes, _) = converted(&step(set, "UTF-8", "fail"), b"");
        assert!(bytes.is_empty(), "{set}");
    }
}

#[test]
fn byte_order_marks_are_no_part_of_the_text() {
    let utf8 = |bytes: &[u8], from: &str| converted(&step(from, "UTF-8", "fail"), bytes).0;
    assert_eq!(utf8(b"\xef\xbb\xbfa\xef\xbb\xbfb", "UTF-8"), b"a\xef\xbb\xbfb");
    assert_eq!(utf8(b"\xfe\xff\0a", "UTF-16"), b"a");
    assert_eq!(utf8(b"\xff\xfea\0", "UTF-16"), b"a");
    assert_eq!(utf8(b"\0a\0b", "UTF-16"), b"ab");
    assert_eq!(utf8(b"\xff\xfea\0", "UTF-16LE"), b"a");
    assert_eq!(utf8(b"\x84\x31\x95\x33a", "GB18030"), b"a");
    // No mark in a set of single bytes.
    assert_eq!(utf8(b"\xef\xbb\xbf", "ISO-8859-1"), "ï»¿".as_bytes());
    let to = |to: &str| converted(&step("UTF-8", to, "fail"), b"a").0;
    assert_eq!(to("UTF-8"), b"a");
    assert_eq!(to("UTF-16"), b"\xfe\xff\0a");
    assert_eq!(to("UTF-16LE"), b"a\0");
    assert_eq!(to("UTF-16BE"), b"\0a");
}

#[test]
fn bytes_that_are_not_valid_are_named_with_their_place() {
    let refused = |from: &str, bytes: &[u8]| {
        let whole = made(&step(from, "UTF-8", "fail"), bytes, usize::MAX).unwrap_err();
        for piece in 1..=bytes.len() {
            let cut = made(&step(from, "UTF-8", "fail"), bytes, piece).unwrap_err();
            assert_eq!(cut.chain(), whole.chain(), "in pieces of {piece}");
        }
        assert_eq!(whole.retry(), Retry::Permanent);
        whole.chain()
    };
    let error = refused(
        "UTF-8",
        "äb\nGr\u{fc}".as_bytes().iter().copied().chain(*b"\xe9 x").collect::<Vec<_>>().as_slice(),
    );
    assert!(error.contains("from UTF-8, to UTF-8, line 2, column 4, offset 8, bytes e9"), "{error}");
    assert!(error.contains("these bytes are not valid UTF-8: correct `from`"), "{error}");
    // Cut off at its end.
    assert!(
        refused("UTF-8", b"a\xe2\x82").contains("offset 1, bytes e2 82"),
        "{}",
        refused("UTF-8", b"a\xe2\x82")
    );
    assert!(
        refused("UTF-16LE", b"a\0\0\xd8b\0").contains("offset 2, bytes 00 d8"),
        "{}",
        refused("UTF-16LE", b"a\0\0\xd8b\0")
    );
    assert!(refused("UTF-16", b"a").contains("offset 0, bytes 61"), "{}", refused("UTF-16", b"a"));
    assert!(refused("US-ASCII", b"ab\x80").contains("column 3, offset 2, bytes 80"));
}

#[test]
fn a_character_that_the_set_lacks_is_named_with_its_place() {
    let error = made(&step("UTF-8", "ISO-8859-1", "fail"), "Preis\n10 €".as_bytes(), 1).unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent);
    let error = error.chain();
    assert!(error.contains("line 2, column 4, character U+20AC €"), "{error}");
    assert!(error.contains("ISO-8859-1 does not have this character"), "{error}");
    let error = made(&step("UTF-8", "windows-1251", "fail"), "日".as_bytes(), 9).unwrap_err().chain();
    assert!(error.contains("U+65E5"), "{error}");
}

#[test]
fn what_cannot_be_converted_is_replaced_and_counted_where_that_is_asked_for() {
    let replaced = |from: &str, to: &str, bytes: &[u8]| converted(&step(from, to, "replace"), bytes);
    assert_eq!(replaced("UTF-8", "UTF-8", b"a\xe9b\xff"), ("a\u{fffd}b\u{fffd}".as_bytes().to_vec(), 2));
    assert_eq!(replaced("UTF-8", "ISO-8859-1", "1 €\u{e9} 日".as_bytes()), (b"1 ?\xe9 ?".to_vec(), 2));
    // Invalid, and without its usual substitute there.
    assert_eq!(replaced("UTF-8", "US-ASCII", b"a\xffb"), (b"a?b".to_vec(), 1));
    assert_eq!(replaced("UTF-8", "IBM037", "€".as_bytes()), (b"\x6f".to_vec(), 1));
    assert_eq!(replaced("UTF-8", "ISO-2022-JP", "日€本".as_bytes()).1, 1);
    let report = step("UTF-8", "US-ASCII", "replace").run(&mut "ä".as_bytes(), &mut Vec::new()).unwrap();
    assert_eq!(report.get("replaced"), Some(&Value::from(1)));
    let report = step("UTF-8", "US-ASCII", "replace").run(&mut "a".as_bytes(), &mut Vec::new()).unwrap();
    assert!(report.is_empty());
}

#[test]
fn errors_of_the_streams_keep_what_they_are() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::transient(ErrorKind::StorageFull, "write to staging")))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = step("UTF-8", "UTF-8", "fail").run(&mut &b"a"[..], &mut Full).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient));
}

#[test]
fn a_media_type_names_the_new_set_where_it_named_one() {
    assert_eq!(
        with_charset("text/plain; charset=ISO-8859-1; format=flowed", "UTF-8"),
        "text/plain; charset=UTF-8; format=flowed"
    );
    assert_eq!(with_charset("application/xml;CHARSET=\"x\"", "UTF-8"), "application/xml; charset=UTF-8");
    assert_eq!(with_charset("application/edi-x12", "UTF-8"), "application/edi-x12");
}

#[test]
fn the_step_says_what_it_does() {
    assert_eq!(step("latin1", "utf8", "fail").describe(), "convert_charset from ISO-8859-1 to UTF-8");
    assert!(step("latin1", "utf8", "replace").describe().ends_with(", replacing what cannot be converted"));
}

proptest! {
    /// Whatever text, wherever it is cut.
    #[test]
    fn any_text_passes_through_unicode(text in "\\PC{0,200}", piece in 1_usize..40) {
        let text = text.trim_start_matches('\u{feff}');
        for via in ["UTF-16", "UTF-16LE", "GB18030"] {
            let (there, _) = made(&step("UTF-8", via, "fail"), text.as_bytes(), piece).unwrap();
            let (back, _) = made(&step(via, "UTF-8", "fail"), &there, piece).unwrap();
            prop_assert_eq!(&back, text.as_bytes());
        }
    }

    /// Whatever bytes: they convert, or an error names bytes that stand at its offset.
    #[test]
    fn any_bytes_convert_or_name_what_does_not(bytes in proptest::collection::vec(any::<u8>(), 0..60), piece in 1_usize..9) {
        for from in ["UTF-8", "UTF-16", "Shift_JIS", "GB18030", "EUC-JP", "ISO-2022-JP", "Big5"] {
            let whole = made(&step(from, "UTF-8", "replace"), &bytes, usize::MAX).unwrap();
            prop_assert_eq!(&made(&step(from, "UTF-8", "replace"), &bytes, piece).unwrap(), &whole, "{}", from);
            if let Err(error) = made(&step(from, "UTF-8", "fail"), &bytes, piece) {
                let told = |key: &str| error.context().iter().find(|(name, _)| *name == key).unwrap().1.clone();
                let offset: usize = told("offset").parse().unwrap();
                let named: Vec<u8> = told("bytes").split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect();
                prop_assert_eq!(&bytes[offset..offset + named.len()], &named[..], "{}", from);
            }
        }
    }
}
