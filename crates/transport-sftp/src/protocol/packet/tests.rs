use super::*;
use proptest::prelude::*;

fn data(id: u32, bytes: &[u8]) -> Bytes {
    Request::new(DATA, id, bytes.len() + 4).string(bytes).finish()
}

#[test]
fn a_request_is_laid_out_as_the_draft_says() {
    let packet = Request::new(OPEN, 7, 32).string(b"caf\xe9").u32(OPEN_READ).no_attributes().finish();
    assert_eq!(&packet[..], b"\0\0\0\x15\x03\0\0\0\x07\0\0\0\x04caf\xe9\0\0\0\x01\0\0\0\0");
}

#[test]
fn names_keep_their_bytes() {
    let body = Request::new(NAME, 1, 64)
        .u32(1)
        .string(b"caf\xe9")
        .string(b"-rw-r--r-- 1 a a 5 Jan 1 caf\xe9")
        .u32(ATTR_SIZE | ATTR_OWNER | ATTR_PERMISSIONS | ATTR_TIMES | ATTR_EXTENDED)
        .u64(5)
        .u32(1)
        .u32(2)
        .u32(0o100_644)
        .u32(3)
        .u32(4)
        .u32(1)
        .string(b"x")
        .string(b"y")
        .finish();
    let names = names(body.slice(9..)).unwrap();
    assert_eq!(&names[0].name[..], b"caf\xe9");
    let expected =
        Attributes { size: Some(5), owner: Some((1, 2)), permissions: Some(0o100_644), modified: Some(4) };
    assert_eq!(names[0].attributes, expected);
}

#[test]
fn what_is_no_sftp_is_refused() {
    for wrong in [&b"Welcome to the server\n"[..], b"\0\0\0\0\x65\0\0\0\x01", b"\0\0\0\x06\x67\0\0\0\x01\0"] {
        let mut assembler = Assembler::default();
        assembler.push(Bytes::copy_from_slice(wrong));
        assert!(assembler.next().is_err(), "{wrong:?}");
    }
    assert!(names(Bytes::from_static(b"\xff\xff\xff\xff")).is_err());
}

proptest! {
    #[test]
    fn answers_come_out_whole_however_they_were_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
        cuts in proptest::collection::vec(1_usize..200, 1..50),
    ) {
        let mut wire = Vec::new();
        for (id, payload) in payloads.iter().enumerate() {
            wire.extend_from_slice(&data(id as u32, payload));
        }
        let mut assembler = Assembler::default();
        let mut seen = Vec::new();
        let mut rest = Bytes::from(wire);
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let cut = cuts.next().unwrap().min(rest.len());
            assembler.push(rest.split_to(cut));
            while let Some(answer) = assembler.next().unwrap() {
                prop_assert_eq!(answer.id as usize, seen.len());
                seen.push(answer.flat().to_vec());
            }
        }
        prop_assert_eq!(seen, payloads);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let mut assembler = Assembler::default();
        assembler.push(bytes.clone());
        while let Ok(Some(answer)) = assembler.next() {
            let _ = names(answer.flat());
        }
        let _ = names(bytes.clone());
        let _ = attributes(bytes);
    }
}
