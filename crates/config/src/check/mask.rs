//! The names that a source takes: masks that cannot be read, and those that say something else than was meant.

use crate::reader::Reader;
use crate::tree::join;
use model::metadata::is_key;
use model::{Mask, MaskSpec, MetadataConditions};
use std::collections::BTreeMap;

/// The names to take, as written and compiled. Each pattern that cannot be read is named at its place.
pub(super) fn mask(reader: &Reader<'_>) -> Option<(MaskSpec, Mask)> {
    let is_regex = reader.flag("mask_is_regex");
    let ignore_case = reader.flag("ignore_case");
    let mut whole = true;
    let mut patterns = |field: &str| -> Vec<String> {
        let mut patterns = Vec::new();
        for text in reader.list(field) {
            let one =
                MaskSpec { include: vec![text.value.clone()], exclude: Vec::new(), is_regex, ignore_case };
            match Mask::new(&one) {
                Ok(_) => {
                    if let Some(words) = doubt(field, &text.value, is_regex) {
                        reader.context.warning(text.place, &reader.key(field), words);
                    }
                    patterns.push(text.value);
                }
                Err(error) => {
                    whole = false;
                    reader.context.error(text.place, &reader.key(field), error.to_string());
                }
            }
        }
        patterns
    };
    let mut include = patterns("mask");
    let exclude = patterns("exclude");
    // The preset is a wildcard, and no regular expression; none at all means every name either way.
    if !reader.has("mask") && !is_regex {
        include = MaskSpec::default().include;
    }
    let is_every = |pattern: &String| !is_regex && matches!(pattern.as_str(), "*" | "*.*");
    let all_excluded = !exclude.is_empty()
        && (exclude.iter().any(is_every)
            || (!include.is_empty() && include.iter().all(|one| exclude.contains(one))));
    if all_excluded && whole {
        reader.warning(
            "exclude",
            "excludes every name that the mask matches: no file will ever be transferred",
        );
    }
    let spec = MaskSpec { include, exclude, is_regex, ignore_case };
    let mask = Mask::new(&spec).ok().filter(|_| whole)?;
    Some((spec, mask))
}

/// What metadata must say (`where`), by the same switches as the names. Each key and pattern that cannot be used is named at its
/// place.
pub(super) fn conditions(reader: &Reader<'_>) -> Option<MetadataConditions> {
    let (is_regex, ignore_case) = (reader.flag("mask_is_regex"), reader.flag("ignore_case"));
    let given = reader.lists_by_key(WHERE)?;
    if given.is_empty() && reader.has(WHERE) {
        reader.warning(WHERE, "has no effect: it names no key of the metadata");
    }
    let mut masks = BTreeMap::new();
    let mut whole = true;
    for (key, texts) in given {
        let path = join(&reader.key(WHERE), key);
        if !is_key(key) {
            let message = format!(
                "cannot have the key '{key}': keys of metadata have 1 to 64 of a-z, 0-9, '.', '-' and '_'"
            );
            reader.error(WHERE, message);
            whole = false;
            continue;
        }
        if texts.is_empty() {
            reader.error(WHERE, format!("has no mask for '{key}'; write '*' for every value"));
            whole = false;
            continue;
        }
        let mut include = Vec::new();
        for text in texts {
            let one =
                MaskSpec { include: vec![text.value.clone()], exclude: Vec::new(), is_regex, ignore_case };
            match Mask::of_text(&one) {
                Ok(_) => {
                    if let Some(words) = doubt(key, &text.value, is_regex) {
                        reader.context.warning(text.place, &path, words);
                    }
                    include.push(text.value);
                }
                Err(error) => {
                    whole = false;
                    reader.context.error(text.place, &path, error.to_string());
                }
            }
        }
        if let Ok(mask) = Mask::of_text(&MaskSpec { include, exclude: Vec::new(), is_regex, ignore_case }) {
            masks.insert(key.to_owned(), mask);
        }
    }
    whole.then(|| MetadataConditions::new(masks))
}

/// The field with conditions on metadata.
const WHERE: &str = "where";

/// Why a pattern, though it can be read, hardly means what was meant, and what to write instead.
fn doubt(field: &str, pattern: &str, is_regex: bool) -> Option<String> {
    let trimmed = pattern.trim();
    if trimmed.len() != pattern.len() && !trimmed.is_empty() {
        return Some(format!(
            "{pattern:?} begins or ends with a space and matches only names that do so too; write {trimmed:?}"
        ));
    }
    if let Some(odd) = pattern.chars().find(|c| c.is_control() || is_unseen(*c)) {
        return Some(format!(
            "{pattern:?} contains the invisible character U+{:04X} and matches only names that contain it \
            too; remove it",
            u32::from(odd)
        ));
    }
    if is_regex {
        return None;
    }
    if pattern.len() > 1 && pattern.starts_with(['"', '\'']) && pattern.ends_with(['"', '\'']) {
        return Some(format!(
            "{pattern:?} contains quotes and matches only names with quotes; write it without them"
        ));
    }
    if let Some(pieces) = list_of(pattern) {
        let written: Vec<String> = pieces.iter().map(|piece| format!("{piece:?}")).collect();
        return Some(format!(
            "{pattern:?} is one mask and matches only names that contain the separator; write a list: \
            {field} = [{}]",
            written.join(", ")
        ));
    }
    if let Some((before, alternatives, after)) = braces(pattern) {
        let written: Vec<String> =
            alternatives.iter().map(|one| format!("{:?}", format!("{before}{one}{after}"))).collect();
        return Some(format!(
            "{pattern:?} matches only names with braces, which have no special meaning in a mask; write a \
            list: {field} = [{}]",
            written.join(", ")
        ));
    }
    is_like_regex(pattern).then(|| {
        format!(
            "{pattern:?} looks like a regular expression, but in a mask only * and ? have a special \
            meaning; set mask_is_regex = true, or write it with * and ?"
        )
    })
}

/// Characters that are pasted along unseen: spaces of other kinds, and those of no width.
fn is_unseen(character: char) -> bool {
    (character.is_whitespace() && character != ' ')
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' | '\u{00AD}')
}

/// The masks that were meant where several stand in one text: each piece has a wildcard or begins with a dot.
fn list_of(pattern: &str) -> Option<Vec<String>> {
    [',', ';', '|', ' '].into_iter().find_map(|separator| {
        let pieces: Vec<&str> =
            pattern.split(separator).map(str::trim).filter(|piece| !piece.is_empty()).collect();
        // A name may well hold spaces.
        let is_mask = |piece: &&str| match separator {
            ' ' => piece.starts_with("*."),
            _ => piece.contains(['*', '?']) || (piece.starts_with('.') && piece.len() > 1),
        };
        (pieces.len() > 1 && !pattern.contains('(') && pieces.iter().all(is_mask)).then(|| {
            let whole =
                |piece: &&str| if piece.starts_with('.') { format!("*{piece}") } else { (*piece).to_owned() };
            pieces.iter().map(whole).collect()
        })
    })
}

/// What stands before, in and after braces that hold alternatives.
fn braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    inside.contains(',').then(|| (before, inside.split(',').map(str::trim).collect(), after))
}

fn is_like_regex(pattern: &str) -> bool {
    let class = pattern.find('[').zip(pattern.find(']')).is_some_and(|(open, close)| open + 1 < close);
    pattern.starts_with('^')
        || (pattern.ends_with('$') && pattern.len() > 1)
        || pattern.contains('\\')
        || pattern.starts_with(".*")
        || pattern.contains(".+")
        || (pattern.contains('(') && pattern.contains('|'))
        || class
}

#[cfg(test)]
mod tests {
    use super::doubt;

    #[test]
    fn near_misses_are_told_with_what_to_write() {
        for (pattern, advice) in [
            ("*.edi,*.csv", "write a list: mask = [\"*.edi\", \"*.csv\"]"),
            ("*.edi;*.csv", "write a list: mask = [\"*.edi\", \"*.csv\"]"),
            ("*.edi, *.csv", "write a list: mask = [\"*.edi\", \"*.csv\"]"),
            ("*.edi|*.csv", "write a list"),
            ("*.edi *.csv", "write a list"),
            (".edi,.csv", "write a list: mask = [\"*.edi\", \"*.csv\"]"),
            ("*.edi ", "write \"*.edi\""),
            (" *.edi", "write \"*.edi\""),
            ("*.edi\t", "write \"*.edi\""),
            ("*.edi\u{a0}", "write \"*.edi\""),
            ("*\u{200b}.edi", "U+200B"),
            ("'*.edi'", "without them"),
            ("*.{edi,csv}", "write a list: mask = [\"*.edi\", \"*.csv\"]"),
            ("^ORD.*$", "mask_is_regex = true"),
            (".*\\.edi", "mask_is_regex = true"),
            (".*edi", "mask_is_regex = true"),
            ("ORD[0-9]*.edi", "mask_is_regex = true"),
            ("in\\*.edi", "mask_is_regex = true"),
            ("(a|b)*.edi", "mask_is_regex = true"),
            (".+", "mask_is_regex = true"),
        ] {
            let told = doubt("mask", pattern, false).unwrap_or_default();
            assert!(told.contains(advice), "{pattern:?}: {told}");
        }
        for fine in [
            "*",
            "*.*",
            "*.edi",
            "order.*",
            "a,b*.txt",
            "Report 2026*.pdf",
            "*-final (1).txt",
            "a;b",
            "~$*",
            "* final*.txt",
        ] {
            assert_eq!(doubt("mask", fine, false), None, "{fine:?}");
        }
        assert_eq!(doubt("mask", r"ORD[0-9]+\.edi", true), None);
        assert!(doubt("exclude", r"ORD[0-9]+\.edi ", true).is_some());
    }
}
