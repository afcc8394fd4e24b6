//! Paths at a remote or local place, as bytes.

use crate::peer_text::needs_escape;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;

/// A path as the place itself names it: bytes, `/` between its parts. Servers send names that are no
/// UTF-8 (a Latin-1 listing), and a name that cannot be carried without loss cannot be deleted either.
///
/// The one text form, for database, URL and page, keeps UTF-8 as it is and writes `%`, control
/// characters, those that reorder a line, and stray bytes as `%XX`; [`RemotePath::from_text`] reads it back to the same bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// A path from the bytes of the place.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// A `%` that two hexadecimal digits do not follow.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            if *first != b'%' {
                bytes.push(*first);
                continue;
            }
            let byte = tail
                .get(..2)
                .and_then(|two| std::str::from_utf8(two).ok())
                .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|two| u8::from_str_radix(two, 16).ok())
                .ok_or_else(|| {
                    format!(
                        "path {text:?}: '%' must be followed by two hex digits (a '%' itself is written %25)"
                    )
                })?;
            bytes.push(byte);
            rest = &tail[2..];
        }
        Ok(Self(bytes))
    }

    /// The bytes, as the place knows them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The lossless text form.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '%' || needs_escape(character) {
                    let mut four = [0; 4];
                    for byte in character.encode_utf8(&mut four).bytes() {
                        let _ = write!(text, "%{byte:02X}");
                    }
                } else {
                    text.push(character);
                }
            }
            for byte in chunk.invalid() {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    }

    /// Whether the path starts at the root.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.0.first() == Some(&b'/')
    }

    /// Whether the path is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This path, then `/`, then `name`. An absolute `name` replaces the path, as a shell would.
    #[must_use]
    pub fn join(&self, name: &Self) -> Self {
        if name.is_absolute() || self.0.is_empty() {
            return name.clone();
        }
        if name.0.is_empty() {
            return self.clone();
        }
        let mut bytes = self.0.clone();
        if bytes.last() != Some(&b'/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(&name.0);
        Self(bytes)
    }

    /// The last part; empty for the root and for the empty path.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// All but the last part; `None` when there is only one, and for `/` itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/').filter(|_| self.0 != b"/")?;
        Some(Self(self.0[..slash.max(1)].to_vec()))
    }

    /// The same directory with another last part.
    #[must_use]
    pub fn with_file_name(&self, name: &[u8]) -> Self {
        match self.parent() {
            Some(parent) => parent.join(&Self::from_bytes(name)),
            None => Self::from_bytes(name),
        }
    }

    /// The parts, without empty ones and `.`.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
    }

    /// Whether any part is `..`, or the path holds a NUL: such a path could lead out of its directory.
    #[must_use]
    pub fn escapes(&self) -> bool {
        self.0.contains(&0) || self.parts().any(|part| part == b"..")
    }

    /// Whether `self` is `directory` or lies below it, compared part by part.
    #[must_use]
    pub fn is_within(&self, directory: &Self) -> bool {
        self.is_absolute() == directory.is_absolute() && {
            let mut parts = self.parts();
            directory.parts().all(|part| parts.next() == Some(part))
        }
    }
}

impl From<&str> for RemotePath {
    /// Takes the text as the path's bytes (no `%XX` is read).
    fn from(name: &str) -> Self {
        Self(name.as_bytes().to_vec())
    }
}

impl TryFrom<String> for RemotePath {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::from_text(&text)
    }
}

impl From<RemotePath> for String {
    fn from(path: RemotePath) -> Self {
        path.to_text()
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::RemotePath;
    use proptest::prelude::*;

    #[test]
    fn text_form_reads_well_and_loses_nothing() {
        assert_eq!(RemotePath::from_bytes(*b"in/caf\xe9.txt").to_text(), "in/caf%E9.txt");
        assert_eq!(RemotePath::from("in/café 100%.txt").to_text(), "in/café 100%25.txt");
        assert_eq!(RemotePath::from("a\nb").to_text(), "a%0Ab");
        // Shown as it is, it would read "exe.pdf".
        assert_eq!(RemotePath::from("\u{202e}fdp.exe").to_text(), "%E2%80%AEfdp.exe");
        assert!(RemotePath::from_text("100%").is_err());
        assert!(RemotePath::from_text("%+1").is_err());
    }

    #[test]
    fn joins_and_splits_like_a_shell() {
        let dir = RemotePath::from("/out");
        assert_eq!(dir.join(&"a/b".into()).to_text(), "/out/a/b");
        assert_eq!(dir.join(&"/abs".into()).to_text(), "/abs");
        assert_eq!(RemotePath::from("/a").parent(), Some("/".into()));
        assert_eq!(RemotePath::from("a").parent(), None);
        assert_eq!(RemotePath::from("/").parent(), None);
        assert_eq!(RemotePath::from("/in/a").with_file_name(b"b").to_text(), "/in/b");
        assert!(RemotePath::from("/in/sub/a").is_within(&"/in/".into()));
        assert!(!RemotePath::from("/inbox/a").is_within(&"/in".into()));
        assert!(RemotePath::from("a/../b").escapes());
        assert!(!RemotePath::from("a..b").escapes());
    }

    proptest! {
        #[test]
        fn text_round_trips_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let path = RemotePath::from_bytes(bytes.clone());
            let text = path.to_text();
            prop_assert!(!text.chars().any(char::is_control));
            let back = RemotePath::from_text(&text).unwrap();
            prop_assert_eq!(back.as_bytes(), &bytes[..]);
        }
    }
}
