//! Names of certificates as text (RFC 4514).

use crate::PeerText;

/// A distinguished name as text: the last attribute first, special characters escaped (RFC 4514, 2). `attributes` are types,
/// such as `CN`, and values, in the certificate's order.
#[must_use]
pub fn distinguished_name<'a>(
    attributes: impl IntoIterator<Item = (&'a str, Vec<u8>), IntoIter: DoubleEndedIterator>,
) -> PeerText {
    let mut text = Vec::new();
    for (kind, value) in attributes.into_iter().rev() {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(kind.as_bytes());
        text.push(b'=');
        for byte in value {
            if b",+\"\\<>;".contains(&byte) {
                text.push(b'\\');
            }
            text.push(byte);
        }
    }
    PeerText::new(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attribute_comes_first_and_marks_are_escaped() {
        let name = [("C", b"CH".to_vec()), ("O", b"Globex, Inc".to_vec()), ("CN", b"a+b".to_vec())];
        assert_eq!(distinguished_name(name).as_str(), "CN=a\\+b,O=Globex\\, Inc,C=CH");
        assert_eq!(distinguished_name([]).as_str(), "");
    }
}
