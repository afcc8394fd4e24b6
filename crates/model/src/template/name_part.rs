//! A value that somebody else gave, as part of a file name.

use super::FORBIDDEN;
use crate::peer_text::needs_escape;

/// The text without what could lead elsewhere, break a line or hide the file: separators, control characters and what Windows
/// does not allow are written as `_`; spaces and dots at both ends, and what is behind so many bytes, are left out.
pub(super) fn name_part(text: &str, longest: usize) -> String {
    let mut part = String::new();
    for character in text.trim_matches(is_cut).chars() {
        let is_plain = character != '/' && !needs_escape(character) && !FORBIDDEN.contains(&character);
        let character = if is_plain { character } else { '_' };
        if part.len() + character.len_utf8() > longest {
            break;
        }
        part.push(character);
    }
    part.truncate(part.trim_end_matches(is_cut).len());
    part
}

/// A dot at the beginning hides a file; Windows drops dots and spaces at the end.
fn is_cut(character: char) -> bool {
    character == '.' || character.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::name_part;

    const LONGEST: usize = 100;

    #[test]
    fn nothing_leads_elsewhere_or_breaks_a_line() {
        for (text, part) in [
            ("ORDERS 850", "ORDERS 850"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", ""),
            (" .hidden. ", "hidden"),
            ("C:\\in\\a.edi", "C__in_a.edi"),
            ("a\r\nb\0c\u{202e}d", "a__b_c_d"),
            ("Größe?", "Größe_"),
        ] {
            assert_eq!(name_part(text, LONGEST), part, "{text:?}");
        }
        let long = name_part(&"ü".repeat(300), LONGEST);
        assert_eq!((long.len(), long.chars().count()), (LONGEST, LONGEST / 2));
        assert_eq!(name_part(&format!("{}. x", "a".repeat(LONGEST - 1)), LONGEST), "a".repeat(LONGEST - 1));
    }
}
