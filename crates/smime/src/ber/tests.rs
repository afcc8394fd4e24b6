use std::io::Read;

use proptest::prelude::*;

use super::*;

/// Hands out at most `step` bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(self.0.len()).min(out.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn stream(bytes: &[u8], step: usize) -> Result<Vec<u8>> {
    let mut reader = BerReader::new(Dribble(bytes, step), 16, 1 << 20);
    let header = reader.next()?.ok_or_else(|| Error::ended(PLACE))?;
    reader.begin_octets(header)?;
    let mut all = Vec::new();
    loop {
        let chunk = reader.octets()?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(chunk);
        let count = chunk.len();
        reader.consume_octets(count);
    }
}

/// Any shape of OCTET STRING around the given segments.
fn octet_string() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let leaf =
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (der::octet_string(&bytes), bytes));
    leaf.prop_recursive(5, 64, 5, |inner| {
        (proptest::collection::vec(inner, 0..5), any::<bool>()).prop_map(|(parts, indefinite)| {
            let encoded: Vec<u8> = parts.iter().flat_map(|part| part.0.clone()).collect();
            let plain: Vec<u8> = parts.iter().flat_map(|part| part.1.clone()).collect();
            let whole = if indefinite {
                [&[0x24, 0x80][..], &encoded, &[0, 0]].concat()
            } else {
                der::element(0x24, &[&encoded])
            };
            (whole, plain)
        })
    })
}

proptest! {
    #[test]
    fn octet_strings_of_any_shape_and_split((encoded, plain) in octet_string(), step in 1usize..40) {
        prop_assert_eq!(&stream(&encoded, step).unwrap(), &plain);
        // Collected, it is what was received.
        let mut reader = BerReader::new(Dribble(&encoded, step), 16, 1 << 20);
        let header = reader.next().unwrap().unwrap();
        let collected = reader.collect(header).unwrap();
        prop_assert_eq!(&collected, &encoded);
        let joined = der::Element::parse(&collected).unwrap().octets().unwrap().into_owned();
        prop_assert_eq!(&joined, &plain);
    }

    #[test]
    fn cut_anywhere_is_an_error((encoded, _) in octet_string(), at in any::<prop::sample::Index>()) {
        let cut = at.index(encoded.len());
        prop_assert!(stream(&encoded[..cut], 7).is_err());
    }

    #[test]
    fn garbage_neither_panics_nor_grows(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = stream(&bytes, 5);
        let mut reader = BerReader::new(&bytes[..], 16, 100);
        while let Ok(Some(header)) = reader.next() {
            match reader.collect(header) {
                Ok(element) => prop_assert!(element.len() <= 100 + LONGEST_HEADER),
                Err(_) => break,
            }
        }
        let _ = der::Element::parse(&bytes).and_then(|element| element.octets().map(|_| ()));
    }
}

#[test]
fn giant_claims_meet_the_cap_or_the_end() {
    let claim = b"\x30\x88\x00\xff\xff\xff\xff\xff\xff\xffxx";
    let mut reader = BerReader::new(&claim[..], 16, 1000);
    let header = reader.next().unwrap().unwrap();
    assert!(matches!(reader.collect(header), Err(Error::LimitExceeded { .. })));
    assert!(stream(b"\x04\x85\xff\xff\xff\xff\xffabc", 3).is_err());
}

#[test]
fn deep_nesting_meets_the_cap() {
    let deep = [0x24, 0x80].repeat(100_000);
    assert!(matches!(stream(&deep, 4096), Err(Error::LimitExceeded { .. })));
}

#[test]
fn a_child_may_not_outgrow_its_parent() {
    let mut reader = BerReader::new(&b"\x30\x03\x04\x05abcde"[..], 16, 1000);
    let header = reader.next().unwrap().unwrap();
    reader.enter(header).unwrap();
    assert!(matches!(reader.next(), Err(Error::Malformed { .. })));
}
