//! Names as a server writes them: bytes, in an encoding that the endpoint tells where it is not UTF-8.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};

/// The encoding of a server's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Names {
    /// `None` takes names as they are.
    encoding: Option<&'static Encoding>,
}

impl Names {
    /// By a name of the encoding (WHATWG), such as `ISO-8859-1`.
    ///
    /// # Errors
    /// It is not known, or cannot stand in commands.
    pub(crate) fn of(label: &str) -> Result<Self, String> {
        match Encoding::for_label(label.as_bytes()) {
            Some(encoding) if encoding == UTF_8 => Ok(Self::default()),
            Some(encoding) if [UTF_16BE, UTF_16LE, REPLACEMENT].contains(&encoding) => {
                Err(format!("is '{label}', which FTP cannot carry in a command"))
            }
            Some(encoding) => Ok(Self { encoding: Some(encoding) }),
            None => Err(format!(
                "is '{label}', which is no known encoding; write one such as \"UTF-8\", \"ISO-8859-1\" or \"windows-1252\""
            )),
        }
    }

    /// Whether names are taken as they are.
    pub(crate) fn are_plain(self) -> bool {
        self.encoding.is_none()
    }

    /// A name of the server, in UTF-8. One that is not of the encoding stays as it is. `None` where the name that is read
    /// would not lead back to the file.
    pub(crate) fn read(self, name: &[u8]) -> Option<Vec<u8>> {
        let Some(encoding) = self.encoding else { return Some(name.to_vec()) };
        let (text, has_errors) = encoding.decode_without_bom_handling(name);
        let read = if has_errors { name.to_vec() } else { text.into_owned().into_bytes() };
        (self.write(&read).as_deref() == Some(name)).then_some(read)
    }

    /// A name for the server; `None` where its encoding lacks a character.
    pub(crate) fn write(self, name: &[u8]) -> Option<Vec<u8>> {
        let (Some(encoding), Ok(text)) = (self.encoding, std::str::from_utf8(name)) else {
            return Some(name.to_vec());
        };
        let (bytes, _, lacks) = encoding.encode(text);
        (!lacks).then(|| bytes.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_files() {
        let latin = Names::of("iso-8859-1").unwrap();
        assert_eq!(latin.read(b"caf\xe9").unwrap(), "café".as_bytes());
        assert_eq!(latin.write("café".as_bytes()).unwrap(), b"caf\xe9");
        assert_eq!(latin.write("日本".as_bytes()), None);
        for byte in 0..=255 {
            let read = latin.read(&[byte]).unwrap();
            assert_eq!(latin.write(&read).unwrap(), [byte], "{byte}");
        }
        let japanese = Names::of("Shift_JIS").unwrap();
        assert_eq!(japanese.read(b"\x93\xfa\x96\x7b").unwrap(), "日本".as_bytes());
        // No Shift_JIS: it stays as it is.
        assert_eq!(japanese.read(b"\xff\xfe").unwrap(), b"\xff\xfe");
        // No Shift_JIS, and UTF-8: it would be written otherwise.
        assert_eq!(japanese.read(b"\xc3\xbf\xe9").is_some(), japanese.write(b"\xc3\xbf\xe9").is_some());
        assert_eq!(Names::default().read(b"caf\xe9").unwrap(), b"caf\xe9");
    }

    #[test]
    fn only_what_commands_can_carry_is_taken() {
        assert!(Names::of("UTF-8").unwrap().are_plain());
        assert!(
            Names::of("utf-16").is_err() && Names::of("hz-gb-2312").is_err() && Names::of("klingon").is_err()
        );
    }
}
