use proptest::prelude::*;

use super::*;

fn sha256(bytes: &[u8]) -> Vec<u8> {
    openssl::sha::sha256(bytes).to_vec()
}

fn canonical(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in bytes {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

proptest! {
    #[test]
    fn both_forms_at_any_split(
        bytes in proptest::collection::vec(prop::sample::select(b"\r\nab".to_vec()), 0..200),
        step in 1usize..20,
    ) {
        let mut digests = Digests::new(&[Digest::Sha256, Digest::Sha1], true).unwrap();
        for piece in bytes.chunks(step) {
            digests.update(piece).unwrap();
        }
        let finished = &digests.finish().unwrap()[0];
        prop_assert_eq!(&finished.exact, &sha256(&bytes));
        let other = finished.canonical.as_ref().unwrap_or(&finished.exact);
        prop_assert_eq!(other, &sha256(&canonical(&bytes)));
    }
}

#[test]
fn long_streams_have_the_same_digests_on_a_thread_of_their_own() {
    let line = [&[b'x'; 99][..], b"\n"].concat();
    for (times, canonical_wanted) in [(9_000, true), (40_000, true), (40_000, false)] {
        let mut digests = Digests::with_short(&[Digest::Sha256], &[Digest::Sha1], canonical_wanted).unwrap();
        digests.update(b"a\r\n").unwrap();
        digests.settle();
        let mut whole = b"a\r\n".to_vec();
        for _ in 0..times / 100 {
            let piece = line.repeat(100);
            digests.update(&piece).unwrap();
            whole.extend_from_slice(&piece);
        }
        let is_long = whole.len() > 1024 * 1024;
        let finished = digests.finish().unwrap();
        assert_eq!(finished.len(), if is_long { 1 } else { 2 }, "the further algorithm serves short streams");
        assert_eq!(finished[0].exact, sha256(&whole));
        let canonical = canonical_wanted.then(|| sha256(&canonical(&whole)));
        assert_eq!(finished[0].canonical, canonical);
    }
}

#[test]
fn text_form_goes_both_ways() {
    let mic = Mic { algorithm: Digest::Sha256, digest: sha256(b"x") };
    assert_eq!(Mic::parse(&mic.to_text(NameStyle::Rfc3851)), Some(mic.clone()));
    assert_eq!(Mic::parse(&format!(" {} ,SHA2_256 ", mic.base64())), Some(mic));
    assert_eq!(Mic::parse("nothing"), None);
}

#[test]
fn the_slot_is_filled_at_the_end() {
    let mut reader = MicReader::new(&b"abc"[..], Digest::Sha256).unwrap();
    let slot = reader.slot();
    reader.read_exact(&mut [0; 3]).unwrap();
    assert!(slot.get().is_none());
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(slot.get().unwrap().digest, sha256(b"abc"));
}
