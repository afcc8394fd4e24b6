//! Text that a peer chose, made safe to store, log and show.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text from outside: at most [`PeerText::MAX`] bytes, control characters (NUL, line breaks, escape,
/// and the Unicode ones that reorder a line) escaped as `\u{…}`, bytes that are no UTF-8 as `\x..`.
/// The raw bytes stay where the evidence is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerText(String);

impl PeerText {
    /// Longest text kept, in bytes of its escaped form.
    pub const MAX: usize = 4096;

    /// Escapes and shortens.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        let mut text = String::with_capacity(raw.len().min(Self::MAX));
        for chunk in raw.utf8_chunks() {
            for character in chunk.valid().chars() {
                let start = text.len();
                if needs_escape(character) {
                    text.extend(character.escape_unicode());
                } else {
                    text.push(character);
                }
                if text.len() > Self::MAX - '…'.len_utf8() {
                    text.truncate(start);
                    text.push('…');
                    return Self(text);
                }
            }
            for byte in chunk.invalid() {
                if text.len() + 4 > Self::MAX - '…'.len_utf8() {
                    text.push('…');
                    return Self(text);
                }
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self(text)
    }

    /// The safe text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character would move the cursor, break or reorder a line, or not be seen.
pub(crate) fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

impl From<&str> for PeerText {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::PeerText;

    #[test]
    fn control_characters_and_foreign_bytes_are_escaped() {
        assert_eq!(PeerText::new(b"a\0b\r\n\x1b[1m").as_str(), "a\\u{0}b\\u{d}\\u{a}\\u{1b}[1m");
        assert_eq!(PeerText::new("caf\u{e9}".as_bytes()).as_str(), "café");
        assert_eq!(PeerText::new(b"caf\xe9").as_str(), "caf\\xe9");
        assert_eq!(PeerText::new("a\u{202e}b".as_bytes()).as_str(), "a\\u{202e}b");
    }

    #[test]
    fn long_text_is_cut_at_the_bound() {
        for raw in [vec![b'a'; 10_000], vec![0; 10_000], vec![0xff; 10_000], "é".repeat(5_000).into_bytes()]
        {
            let text = PeerText::new(&raw);
            assert!(text.as_str().len() <= PeerText::MAX);
            assert!(text.as_str().ends_with('…'));
        }
    }
}
