use super::*;
use proptest::prelude::*;

/// A part: its field's name, and its content.
type Part = (String, Vec<u8>);

/// The parts of a form that arrives in pieces of so many bytes.
fn read(form: &[u8], piece: usize) -> Result<Vec<Part>> {
    let mut reader = FormData::new("b")?;
    let mut parts: Vec<Part> = Vec::new();
    let mut pieces = Vec::new();
    for bytes in form.chunks(piece.max(1)) {
        pieces.extend(reader.push(bytes)?);
    }
    pieces.extend(reader.finish()?);
    let mut open = false;
    for piece in pieces {
        match piece {
            FormPiece::Begins(headers) => {
                assert!(!open);
                open = true;
                parts.push((headers.form_field().unwrap_or_default(), Vec::new()));
            }
            FormPiece::Content(bytes) => {
                assert!(open && !bytes.is_empty());
                parts.last_mut().unwrap().1.extend(bytes);
            }
            FormPiece::Ends => {
                assert!(open);
                open = false;
            }
        }
    }
    assert!(!open);
    Ok(parts)
}

fn written(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in parts {
        form.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
        );
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--b--\r\n");
    form
}

#[test]
fn a_form_is_read_however_it_is_cut() {
    let form = written(&[
        ("from", b"123456789"),
        ("empty", b""),
        ("input-data", b"ISA\r\n--bb\r\n--b-\r\n\r\n--\n--b x\r\n"),
    ]);
    for piece in 1..form.len() {
        let parts = read(&form, piece).unwrap();
        assert_eq!(
            parts,
            [
                ("from".into(), b"123456789".to_vec()),
                ("empty".into(), Vec::new()),
                ("input-data".into(), b"ISA\r\n--bb\r\n--b-\r\n\r\n--\n--b x\r\n".to_vec()),
            ],
            "{piece}"
        );
    }
}

#[test]
fn odd_forms_are_read() {
    for (form, expected) in [
        // Bare line ends, padding, a preamble, an epilogue, no line end at the end.
        (&b"pre\n--b \nContent-Disposition: form-data; name=a\n\nx\n--b--\nafter"[..], &b"x"[..]),
        (&b"--b\t\r\ncontent-disposition: FORM-DATA; NAME=\"a\"\r\n\r\nx\r\n--b--"[..], &b"x"[..]),
        (&b"\r\n--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nx\r\n--b-- \r\n"[..], &b"x"[..]),
        // A boundary right behind the headers.
        (&b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b--\r\n"[..], &b""[..]),
    ] {
        for piece in [1, 3, form.len()] {
            let parts = read(form, piece).unwrap();
            assert_eq!(parts, [("a".to_owned(), expected.to_vec())], "{}", String::from_utf8_lossy(form));
        }
    }
    let mut reader = FormData::new("b").unwrap();
    reader.push(b"--b\r\n\r\nx\r\n--b").unwrap();
    assert!(!reader.is_over());
    reader.push(b"--\r\nafter").unwrap();
    assert!(reader.is_over() && reader.buffer.is_empty());
    // A part without headers has no name.
    assert_eq!(read(b"--b\r\n\r\nx\r\n--b--", 2).unwrap(), [(String::new(), b"x".to_vec())]);
}

#[test]
fn what_is_no_form_is_refused_in_bounded_memory() {
    for form in [
        &b""[..],
        b"--b",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b\r\n",
    ] {
        assert!(read(form, 4).is_err(), "{}", String::from_utf8_lossy(form));
    }
    assert!(FormData::new("").is_err() && FormData::new(&"b".repeat(257)).is_err());
    // No boundary, headers and parts without end.
    let feed = |bytes: &[u8]| {
        let mut reader = FormData::new("b").unwrap();
        (0..10_000).find_map(|_| {
            let result = reader.push(bytes);
            assert!(reader.buffer.len() < 2 * HEADER_BYTES + bytes.len());
            result.err()
        })
    };
    assert!(feed(&[b'x'; 1000]).is_some());
    assert!(feed(b"--b\r\nX-A: 1\r\n").is_some());
    assert!(feed(b"--b\r\n\r\nx\r\n").is_some());
}

#[test]
fn a_field_has_a_name_and_perhaps_the_name_of_a_file() {
    let headers = Headers::new()
        .with("Content-Disposition", r#"form-data; name="input-data"; filename="c:\edi\po.x12""#)
        .unwrap();
    assert_eq!(headers.form_field().as_deref(), Some("input-data"));
    assert!(headers.form_file_name().is_some_and(|name| name.ends_with(b"po.x12")));
    assert_eq!(Headers::new().form_field(), None);
}

proptest! {
    #[test]
    fn any_content_comes_back(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5), piece in 1_usize..60,
    ) {
        prop_assume!(contents.iter().all(|content| !content.windows(3).any(|window| window == b"--b")));
        let parts: Vec<(&str, &[u8])> = contents.iter().map(|content| ("a", content.as_slice())).collect();
        let form = written(&parts);
        let read = read(&form, piece).unwrap();
        let read: Vec<Vec<u8>> = read.into_iter().map(|(_, content)| content).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn no_bytes_panic_and_cuts_change_nothing(
        form in "(--b|--|-|\r\n|\n|\r| |x|A: 1|Content-Disposition: form-data; name=a){0,40}", piece in 1_usize..20,
    ) {
        let whole = read(form.as_bytes(), usize::MAX).ok();
        prop_assert_eq!(read(form.as_bytes(), piece).ok(), whole);
    }
}
