//! ASN.1 in memory: a lenient BER reader over slices and a DER writer for the few structures
//! that CMS needs. Slices come from [`crate::ber`], which has bounded them already.

use std::borrow::Cow;

use crate::error::{Error, Result};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// The constructed bit of a tag byte.
pub(crate) const CONSTRUCTED: u8 = 0x20;

/// Nesting beyond this is refused: no certificate or signature comes near it.
const DEPTH: usize = 40;
const PLACE: &str = "ASN.1 element";

/// A context-specific constructed tag `[n]`.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One element of BER: tag byte, contents, and the bytes of the whole as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads one element; what follows it is ignored.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Element<'a>> {
        Elements::new(bytes).required("an element")
    }

    pub(crate) fn is_constructed(&self) -> bool {
        self.tag & CONSTRUCTED != 0
    }

    /// The elements inside.
    pub(crate) fn children(&self) -> Elements<'a> {
        Elements { rest: self.content }
    }

    pub(crate) fn expect(self, tag: u8, what: &str) -> Result<Element<'a>> {
        if self.tag == tag { Ok(self) } else { Err(Error::malformed(PLACE, format!("{what} expected"))) }
    }

    /// The bytes of a string type; segments of a constructed string are joined.
    pub(crate) fn octets(&self) -> Result<Cow<'a, [u8]>> {
        if !self.is_constructed() {
            return Ok(Cow::Borrowed(self.content));
        }
        let mut joined = Vec::new();
        self.join_into(&mut joined, 0)?;
        Ok(Cow::Owned(joined))
    }

    fn join_into(&self, joined: &mut Vec<u8>, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Error::limit("ASN.1 nesting", DEPTH as u64));
        }
        let mut children = self.children();
        while let Some(segment) = children.next()? {
            if segment.is_constructed() {
                segment.join_into(joined, depth + 1)?;
            } else {
                joined.extend_from_slice(segment.content);
            }
        }
        Ok(())
    }

    /// A small non-negative INTEGER.
    pub(crate) fn small_integer(&self) -> Result<u64> {
        if self.tag & 0x1f != INTEGER && self.tag & 0xc0 == 0 {
            return Err(Error::malformed(PLACE, "an INTEGER is expected"));
        }
        if self.content.is_empty() || self.content.len() > 8 || self.content[0] & 0x80 != 0 {
            return Err(Error::malformed(PLACE, "an INTEGER out of range"));
        }
        Ok(self.content.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// A cursor over consecutive elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Elements { rest }
    }

    /// The next element, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (element, used) = parse_at(self.rest, 0)?;
        self.rest = &self.rest[used..];
        Ok(Some(element))
    }

    pub(crate) fn required(&mut self, what: &str) -> Result<Element<'a>> {
        self.next()?.ok_or_else(|| Error::malformed(PLACE, format!("{what} is missing")))
    }

    /// The next element if it has this tag; else it stays.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>> {
        match self.rest.first() {
            Some(first) if *first == tag => self.next(),
            _ => Ok(None),
        }
    }
}

/// Parses a tag and a length: (tag byte, header length, content length or none if indefinite).
pub(crate) fn parse_header(bytes: &[u8]) -> Result<Option<(u8, usize, Option<u64>)>> {
    let Some(&tag) = bytes.first() else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        // CMS uses no tag number above 30.
        return Err(Error::malformed(PLACE, "a tag number that CMS does not use"));
    }
    let Some(&first) = bytes.get(1) else { return Ok(None) };
    match first {
        0x80 if tag & CONSTRUCTED == 0 => Err(Error::malformed(PLACE, "a primitive of indefinite length")),
        0x80 => Ok(Some((tag, 2, None))),
        0..0x80 => Ok(Some((tag, 2, Some(u64::from(first))))),
        _ => {
            let count = usize::from(first & 0x7f);
            if count > 8 {
                return Err(Error::malformed(PLACE, "a length of more than eight bytes"));
            }
            let Some(length) = bytes.get(2..2 + count) else { return Ok(None) };
            let length = length.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            Ok(Some((tag, 2 + count, Some(length))))
        }
    }
}

fn parse_at(bytes: &[u8], depth: usize) -> Result<(Element<'_>, usize)> {
    if depth > DEPTH {
        return Err(Error::limit("ASN.1 nesting", DEPTH as u64));
    }
    let (tag, header, length) = parse_header(bytes)?.ok_or_else(|| Error::ended(PLACE))?;
    let body = &bytes[header..];
    let (content, end) = match length {
        Some(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            (body.get(..length).ok_or_else(|| Error::ended(PLACE))?, length)
        }
        None => {
            let mut at = 0;
            loop {
                let rest = &body[at..];
                if rest.starts_with(&[0, 0]) {
                    break (&body[..at], at + 2);
                }
                at += parse_at(rest, depth + 1)?.1;
            }
        }
    };
    let used = header + end;
    Ok((Element { tag, content, raw: &bytes[..used] }, used))
}

/// Encodes a tag and a length.
pub(crate) fn header(tag: u8, length: u64) -> Vec<u8> {
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = (length.leading_zeros() / 8) as usize;
        out.push(0x80 | (8 - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out
}

/// Encodes an element around the joined parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = header(tag, length as u64);
    out.reserve(length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// A SET OF: DER wants its members sorted by their encodings (X.690 section 11.6).
pub(crate) fn set_of(tag: u8, mut members: Vec<Vec<u8>>) -> Vec<u8> {
    members.sort();
    let parts: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
    element(tag, &parts)
}

pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    element(OID, &[content])
}

pub(crate) fn integer(value: u8) -> Vec<u8> {
    // Values above 127 do not occur: versions and tag lengths only.
    vec![INTEGER, 1, value & 0x7f]
}

pub(crate) fn octet_string(content: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[content])
}

/// The dotted form of an object identifier, for messages.
pub(crate) fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut value = 0u64;
    for byte in oid.iter().take(64) {
        value = value.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (value / 40).min(2);
                arcs.extend([first, value - first * 40]);
            } else {
                arcs.push(value);
            }
            value = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indefinite_and_segmented_strings_are_joined() {
        // [0x24 80] 04 02 'ab' 24 80 04 01 'c' 00 00 00 00
        let bytes = b"\x24\x80\x04\x02ab\x24\x80\x04\x01c\x00\x00\x00\x00rest";
        let element = Element::parse(bytes).unwrap();
        assert_eq!(element.octets().unwrap().as_ref(), b"abc");
        assert_eq!(element.raw.len(), bytes.len() - 4);
    }

    #[test]
    fn claimed_lengths_beyond_the_bytes_are_refused() {
        assert!(Element::parse(b"\x04\x84\xff\xff\xff\xffx").is_err());
        assert!(Element::parse(b"\x04\x88\xff\xff\xff\xff\xff\xff\xff\xffx").is_err());
        assert!(Element::parse(&[0x30, 0x80].repeat(10_000)).is_err());
    }

    #[test]
    fn lengths_and_identifiers_are_written_by_the_book() {
        assert_eq!(header(0x30, 127), [0x30, 127]);
        assert_eq!(header(0x30, 128), [0x30, 0x81, 128]);
        assert_eq!(header(0x30, 65536), [0x30, 0x83, 1, 0, 0]);
        assert_eq!(dotted(crate::algorithm::oid::SIGNED_DATA), "1.2.840.113549.1.7.2");
    }
}
