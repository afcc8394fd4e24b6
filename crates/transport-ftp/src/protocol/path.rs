//! Paths as a command carries them.

use super::names::Names;
use model::RemotePath;

/// Why a path cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsendable {
    /// It holds CR, LF or NUL, which end a command.
    LineBreak,
    /// It holds the byte 255. RFC 959 carries commands over Telnet, where it is doubled: ProFTPD reads it so, vsftpd does
    /// not, and nothing tells which. A file would get another name than its own.
    Telnet,
    /// The server's encoding lacks one of its characters.
    Encoding,
}

impl Unsendable {
    /// What a person can do.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::LineBreak => {
                "the name contains a line break or NUL, which FTP cannot carry; rename the file"
            }
            Self::Telnet => {
                "the name contains the byte 255, which FTP servers read differently; rename the file"
            }
            Self::Encoding => {
                "the encoding of the endpoint's names lacks a character of this name; rename the file, or change encoding"
            }
        }
    }
}

/// A path as the argument of a command; what precedes a relative path is where the login starts, so that none begins
/// with `-` or a space.
///
/// # Errors
/// FTP cannot carry it.
pub(crate) fn argument(start: &RemotePath, path: &RemotePath, names: Names) -> Result<Vec<u8>, Unsendable> {
    let whole = start.join(path);
    let whole = if whole.is_empty() { RemotePath::from(".") } else { whole };
    let bytes = names.write(whole.as_bytes()).ok_or(Unsendable::Encoding)?;
    for byte in &bytes {
        match byte {
            b'\r' | b'\n' | 0 => return Err(Unsendable::LineBreak),
            255 => return Err(Unsendable::Telnet),
            _ => {}
        }
    }
    Ok(bytes)
}

/// The path in an answer to PWD or MKD: between quotes, a quote in it doubled (RFC 959, appendix II).
pub(crate) fn quoted(text: &[u8]) -> Option<RemotePath> {
    let begin = text.iter().position(|byte| *byte == b'"')? + 1;
    let (mut path, mut at) = (Vec::new(), begin);
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'"', Some(b'"')) => {
                path.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some(RemotePath::from_bytes(path)),
            (byte, _) => {
                path.push(*byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_where_the_login_does() {
        let start = RemotePath::from("/home/acme");
        assert_eq!(argument(&start, &"-rf".into(), Names::default()).unwrap(), b"/home/acme/-rf");
        assert_eq!(argument(&start, &"/abs".into(), Names::default()).unwrap(), b"/abs");
        assert_eq!(argument(&start, &"".into(), Names::default()).unwrap(), b"/home/acme");
        assert_eq!(argument(&"".into(), &"".into(), Names::default()).unwrap(), b".");
        assert_eq!(
            argument(&start, &RemotePath::from_bytes(*b"\xe9"), Names::default()).unwrap(),
            b"/home/acme/\xe9"
        );
    }

    #[test]
    fn what_would_end_a_command_is_refused() {
        for name in ["a\nDELE b", "a\r", "a\0b"] {
            assert_eq!(
                argument(&"/".into(), &name.into(), Names::default()),
                Err(Unsendable::LineBreak),
                "{name:?}"
            );
        }
        let telnet = argument(&"/".into(), &RemotePath::from_bytes(*b"a\xffb"), Names::default());
        assert_eq!(telnet, Err(Unsendable::Telnet));
        let latin = Names::of("ISO-8859-1").unwrap();
        let write = |path: &str| argument(&"/".into(), &path.into(), latin);
        assert_eq!(write("café"), Ok(b"/caf\xe9".to_vec()));
        assert_eq!(write("日本"), Err(Unsendable::Encoding));
        assert_eq!(write("ÿ"), Err(Unsendable::Telnet));
    }

    #[test]
    fn quotes_are_read() {
        assert_eq!(quoted(b"\"/home/a\"\"b\" is the current directory"), Some("/home/a\"b".into()));
        assert_eq!(quoted(b"no quotes"), None);
        assert_eq!(quoted(b"\"not closed"), None);
    }
}
