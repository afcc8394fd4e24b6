//! The server's identification line, found as OpenSSH's client finds it.
//!
//! A server may send other lines before it (RFC 4253, 4.2), empty ones among them. OpenSSH takes 1,024 lines of 8 KiB;
//! the SSH library takes 20 lines of 255 bytes, and none of one byte. So they are taken off here, and the library is
//! given what begins with the identification.

/// Most lines before the identification.
const LINES: usize = 1024;

/// Longest line, its end included.
const LINE: usize = 8 * 1024;

/// Longest identification, its end included (RFC 4253, 4.2).
const IDENTIFICATION: usize = 255;

/// Why no connection can be made with a server that sends this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoIdentification {
    /// Too many lines, or one that does not end.
    TooMuch,
    /// The identification is too long.
    TooLong,
    /// The identification is no text.
    NoText,
    /// The server speaks another version of SSH than 2.
    OtherVersion,
}

impl NoIdentification {
    /// What happened, for the endpoint's administrator.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::TooMuch => {
                "the server sent more than 1,024 lines, or a line of more than 8 KiB, and no SSH \
                identification: the server on this port is not an SSH server"
            }
            Self::TooLong => {
                "the server's identification is longer than the 255 bytes that SSH allows (RFC 4253, 4.2); ask its operator to shorten it"
            }
            Self::NoText => {
                "the server's identification contains bytes that are not text, which SSH does not allow \
                (RFC 4253, 4.2); ask its operator to correct it"
            }
            Self::OtherVersion => {
                "the server supports only an old version of SSH; ask its operator for version 2"
            }
        }
    }
}

/// Takes lines off until the identification comes.
#[derive(Default)]
pub(crate) struct Finder {
    line: Vec<u8>,
    lines: usize,
}

impl Finder {
    /// Takes the next bytes: tells how many of them it used, and the identification with its end when that is whole.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, Result<Option<Vec<u8>>, NoIdentification>) {
        let mut used = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            used += piece.len();
            if self.line.len() + piece.len() > LINE {
                return (used, Err(NoIdentification::TooMuch));
            }
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut self.line);
            if line.starts_with(b"SSH-") {
                return (used, identification(&line).map(Some));
            }
            self.lines += 1;
            if self.lines > LINES {
                return (used, Err(NoIdentification::TooMuch));
            }
        }
        (used, Ok(None))
    }
}

fn identification(line: &[u8]) -> Result<Vec<u8>, NoIdentification> {
    if line.len() > IDENTIFICATION {
        return Err(NoIdentification::TooLong);
    }
    if !line.starts_with(b"SSH-2.0-") && !line.starts_with(b"SSH-1.99-") {
        return Err(NoIdentification::OtherVersion);
    }
    if std::str::from_utf8(line).is_err() {
        return Err(NoIdentification::NoText);
    }
    Ok(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in bytes that come in pieces of a size, and what is left of them.
    fn found(bytes: &[u8], size: usize) -> (Result<Option<Vec<u8>>, NoIdentification>, usize) {
        let mut finder = Finder::default();
        let mut at = 0;
        while at < bytes.len() {
            let piece = &bytes[at..bytes.len().min(at + size)];
            let (used, found) = finder.take(piece);
            at += used;
            if found != Ok(None) {
                return (found, bytes.len() - at);
            }
            assert_eq!(used, piece.len());
        }
        (Ok(None), 0)
    }

    #[test]
    fn lines_before_the_identification_are_taken_off() {
        let id = b"SSH-2.0-OpenSSH_9.9 x\r\n";
        let long = [vec![b'x'; LINE - 1], b"\n".to_vec()].concat();
        for before in [
            b"".to_vec(),
            b"\n".to_vec(),
            b"\r\n".to_vec(),
            b"\n\n\n".to_vec(),
            b"caf\xe9 \0\r\n".to_vec(),
            b"not SSH-2.0-this\n".to_vec(),
            long.repeat(LINES),
        ] {
            let whole = [&before[..], id, b"\x14\n"].concat();
            for size in [if whole.len() < 1000 { 1 } else { 997 }, 4096, whole.len()] {
                let (got, left) = found(&whole, size);
                assert_eq!((got, left), (Ok(Some(id.to_vec())), 2), "{} bytes before", before.len());
            }
        }
        assert_eq!(found(b"SSH-1.99-x\n", 3).0, Ok(Some(b"SSH-1.99-x\n".to_vec())));
        assert_eq!(found(b"SSH-2.0-no end", 3).0, Ok(None));
    }

    #[test]
    fn what_never_ends_is_given_up() {
        assert_eq!(found(&vec![b'x'; LINE + 1], 100).0, Err(NoIdentification::TooMuch));
        assert_eq!(found(&b"x\n".repeat(LINES + 1), 100).0, Err(NoIdentification::TooMuch));
        let long = [b"SSH-2.0-", &[b'x'; 248][..], b"\n"].concat();
        assert_eq!(found(&long, 100).0, Err(NoIdentification::TooLong));
        assert_eq!(found(b"SSH-2.0-caf\xe9\n", 100).0, Err(NoIdentification::NoText));
        assert_eq!(found(b"SSH-1.5-old\n", 100).0, Err(NoIdentification::OtherVersion));
    }
}
