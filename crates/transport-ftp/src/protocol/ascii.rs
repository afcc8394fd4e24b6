//! Line ends of `TYPE A`: on the way each line ends with CR LF (RFC 959, 3.1.1.1), here with LF, as on Unix.

/// From here to the network: LF becomes CR LF; a CR LF stays.
#[derive(Debug, Default)]
pub(crate) struct ToNetwork {
    after_return: bool,
}

impl ToNetwork {
    /// The next bytes, converted.
    pub(crate) fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 1);
        for byte in bytes {
            if *byte == b'\n' && !self.after_return {
                converted.push(b'\r');
            }
            converted.push(*byte);
            self.after_return = *byte == b'\r';
        }
        converted
    }
}

/// From the network to here: CR LF becomes LF; a CR before anything else stays.
#[derive(Debug, Default)]
pub(crate) struct FromNetwork {
    held_return: bool,
}

impl FromNetwork {
    /// The next bytes, converted. A CR at their end is held back.
    pub(crate) fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut converted = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held_return) && *byte != b'\n' {
                converted.push(b'\r');
            }
            match byte {
                b'\r' => self.held_return = true,
                byte => converted.push(*byte),
            }
        }
        converted
    }

    /// What was held back, at the end.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.held_return) { b"\r".to_vec() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn out(parts: &[&[u8]]) -> Vec<u8> {
        let mut to = ToNetwork::default();
        parts.iter().flat_map(|part| to.convert(part)).collect()
    }

    fn back(parts: &[&[u8]]) -> Vec<u8> {
        let mut from = FromNetwork::default();
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| from.convert(part)).collect();
        bytes.extend(from.end());
        bytes
    }

    #[test]
    fn line_ends_are_converted_across_parts() {
        assert_eq!(out(&[b"a\nb\r\nc\r", b"\nd\n"]), b"a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(back(&[b"a\r\nb\r", b"\nc\rd\r\r\n\r"]), b"a\nb\nc\rd\r\n\r");
    }

    proptest! {
        #[test]
        fn what_has_no_return_comes_back(bytes: Vec<u8>, cut in 0_usize..200) {
            let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\r').collect();
            let cut = cut.min(bytes.len());
            let sent = out(&[&bytes[..cut], &bytes[cut..]]);
            let cut = cut.min(sent.len());
            prop_assert_eq!(back(&[&sent[..cut], &sent[cut..]]), bytes);
        }
    }
}
