//! Text as one word of a line: the one rule by which log lines, lists and errors quote.

use crate::peer_text::needs_escape;
use std::fmt::{self, Write};

/// Text on a line among other words; see [`quoted`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a str);

/// Shows a text so that a reader and a program see where it begins and ends. Text without spaces,
/// quotes, `=`, `,`, `;` and brackets stands as it is. Everything else, the empty text as well, stands in
/// double quotes, in which `\\` goes before a quote and a backslash. Characters that break or reorder a line
/// are written `\\u{…}`.
#[must_use]
pub const fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

fn stands_alone(character: char) -> bool {
    !character.is_whitespace()
        && !needs_escape(character)
        && !matches!(character, '"' | '=' | ',' | ';' | '(' | ')')
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(stands_alone) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                _ if needs_escape(character) => write!(f, "{}", character.escape_unicode())?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;
    use proptest::prelude::*;

    #[test]
    fn a_word_stands_as_it_is_and_everything_else_in_quotes() {
        for (text, shown) in [
            ("in/order-1.edi", "in/order-1.edi"),
            ("[::1]:4080", "[::1]:4080"),
            ("C:\\orders", "C:\\orders"),
            ("", "\"\""),
            ("a b.edi", "\"a b.edi\""),
            ("x flow=orders", "\"x flow=orders\""),
            ("x=y", "\"x=y\""),
            ("a, b", "\"a, b\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("C:\\my orders", "\"C:\\\\my orders\""),
            ("a\nflow=b", "\"a\\u{a}flow=b\""),
            ("\u{202e}fdp.exe", "\"\\u{202e}fdp.exe\""),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ] {
            assert_eq!(quoted(text).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn two_texts_are_never_shown_alike(a in "[ab =,\"\\\\\n]{0,6}", b in "[ab =,\"\\\\\n]{0,6}") {
            prop_assert_eq!(a == b, quoted(&a).to_string() == quoted(&b).to_string());
        }
    }
}
