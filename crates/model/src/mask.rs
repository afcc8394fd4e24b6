//! Masks: which file names a flow accepts.

use regex::bytes::{Regex as BytesRegex, RegexBuilder as BytesRegexBuilder};
use serde::{Deserialize, Serialize};

/// A mask as a person writes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MaskSpec {
    /// Masks of names that the flow accepts; an empty list means all names. `*` and `?`, or regular
    /// expressions if `is_regex`.
    pub include: Vec<String>,
    /// Masks of names that the flow never accepts, even if `include` matches them.
    pub exclude: Vec<String>,
    /// Whether both lists are regular expressions (over the whole name) instead of wildcards.
    pub is_regex: bool,
    /// Whether upper and lower case are the same in both lists.
    #[serde(default)]
    pub ignore_case: bool,
}

impl Default for MaskSpec {
    fn default() -> Self {
        Self { include: vec!["*.*".into()], exclude: Vec::new(), is_regex: false, ignore_case: false }
    }
}

/// A mask that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("mask {pattern:?}: {reason}")]
pub struct MaskError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A compiled mask, matched against the last part of a path.
///
/// Names are bytes. In a name that is UTF-8 `?` stands for one character, in any other for one byte.
/// `*.*` means every name, those without a dot included (document 004, table 29-7).
#[derive(Clone, Debug)]
pub struct Mask {
    spec: MaskSpec,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

#[derive(Clone, Debug)]
enum Pattern {
    Every,
    Expression { unicode: BytesRegex, bytes: BytesRegex },
}

/// What a mask is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The names of files.
    Names,
    /// Any text.
    Texts,
}

/// Longest compiled expression, in bytes: a mask is short, and a huge one is a mistake or an attack.
const COMPILED_LIMIT: usize = 1 << 20;

impl Mask {
    /// Compiles a mask.
    ///
    /// # Errors
    /// Names the pattern that cannot be read.
    pub fn new(spec: &MaskSpec) -> Result<Self, MaskError> {
        Self::compiled(spec, Of::Names)
    }

    /// Compiles a mask of texts, such as values in metadata: it may hold `/`, which no file name has.
    ///
    /// # Errors
    /// As [`Mask::new`].
    pub fn of_text(spec: &MaskSpec) -> Result<Self, MaskError> {
        Self::compiled(spec, Of::Texts)
    }

    fn compiled(spec: &MaskSpec, of: Of) -> Result<Self, MaskError> {
        let compile = |patterns: &[String]| -> Result<Vec<Pattern>, MaskError> {
            patterns.iter().map(|text| Pattern::new(text, spec, of)).collect()
        };
        Ok(Self { spec: spec.clone(), include: compile(&spec.include)?, exclude: compile(&spec.exclude)? })
    }

    /// The mask as written.
    #[must_use]
    pub const fn spec(&self) -> &MaskSpec {
        &self.spec
    }

    /// Whether a name is taken.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|p| p.matches(name));
        included && !self.exclude.iter().any(|p| p.matches(name))
    }
}

impl Pattern {
    fn new(text: &str, spec: &MaskSpec, of: Of) -> Result<Self, MaskError> {
        let is_regex = spec.is_regex;
        // Of names, both mean all, as people who know MS-DOS expect.
        if !is_regex && (text == "*" || (text == "*.*" && of == Of::Names)) {
            return Ok(Self::Every);
        }
        let error = |reason: String| MaskError { pattern: text.to_owned(), reason };
        if text.is_empty() {
            let every = match of {
                Of::Names => "is empty; write '*' for every name",
                Of::Texts => "is empty; write '*' for every value",
            };
            return Err(error(every.into()));
        }
        if !is_regex && of == Of::Names && text.contains('/') {
            return Err(error(
                "a mask is compared with the file name only; put the directory in the endpoint's URL".into(),
            ));
        }
        let expression = if is_regex { format!("^(?:{text})$") } else { wildcards(text) };
        let build = |unicode: bool| {
            BytesRegexBuilder::new(&expression)
                .unicode(unicode)
                .case_insensitive(spec.ignore_case)
                .dot_matches_new_line(true)
                .size_limit(COMPILED_LIMIT)
                .build()
                .map_err(|e| {
                    error(
                        e.to_string().lines().last().unwrap_or("not a regular expression").trim().to_owned(),
                    )
                })
        };
        let unicode = build(true)?;
        // A class such as \p{Lu} exists only over characters; such a mask never matches stray bytes.
        let bytes = build(false).unwrap_or_else(|_| unicode.clone());
        Ok(Self::Expression { unicode, bytes })
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Every => true,
            Self::Expression { unicode, bytes } => {
                if std::str::from_utf8(name).is_ok() {
                    unicode.is_match(name)
                } else {
                    bytes.is_match(name)
                }
            }
        }
    }
}

fn wildcards(text: &str) -> String {
    let mut expression = String::from("^");
    let mut four = [0; 4];
    for character in text.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut four))),
        }
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::{Mask, MaskSpec};
    use proptest::prelude::*;

    fn mask(include: &[&str], exclude: &[&str], is_regex: bool) -> Mask {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let ignore_case = false;
        Mask::new(&MaskSpec { include: own(include), exclude: own(exclude), is_regex, ignore_case }).unwrap()
    }

    #[test]
    fn case_is_ignored_when_asked_in_every_script() {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let mask = |include: &[&str], exclude: &[&str], is_regex| {
            let (include, exclude) = (own(include), own(exclude));
            Mask::new(&MaskSpec { include, exclude, is_regex, ignore_case: true }).unwrap()
        };
        let orders = mask(&["*.EDI", "Größe?.txt"], &["TEST*"], false);
        for (name, taken) in [
            ("a.edi", true),
            ("A.Edi", true),
            ("GRÖSSE1.TXT", false),
            ("GRÖßE1.TXT", true),
            ("test.edi", false),
        ] {
            assert_eq!(orders.matches(name.as_bytes()), taken, "{name}");
        }
        assert!(orders.matches(b"caf\xe9.EdI") && mask(&["ord[0-9]+"], &[], true).matches(b"ORD12"));
    }

    #[test]
    fn wildcards_match_the_whole_name() {
        let edi = mask(&["*.edi", "ORD??"], &["~*"], false);
        for (name, taken) in [
            ("a.edi", true),
            ("~a.edi", false),
            ("a.edi.tmp", false),
            ("ORD12", true),
            ("ORD1", false),
            ("ORDé1", true),
        ] {
            assert_eq!(edi.matches(name.as_bytes()), taken, "{name}");
        }
        assert!(mask(&["*.*"], &[], false).matches(b"no_dot"));
        assert!(mask(&["a+b"], &[], false).matches(b"a+b"));
    }

    #[test]
    fn a_mask_of_texts_may_hold_slashes() {
        let spec = MaskSpec { include: vec!["text/*".into()], ..MaskSpec::default() };
        assert!(Mask::new(&spec).unwrap_err().to_string().contains("directory"));
        let mask = Mask::of_text(&spec).unwrap();
        assert!(mask.matches(b"text/xml; charset=a/b") && !mask.matches(b"application/xml"));
        assert_eq!(mask.spec(), &spec);
        let empty = MaskSpec { include: vec![String::new()], ..MaskSpec::default() };
        assert!(Mask::of_text(&empty).unwrap_err().to_string().contains("every value"));
    }

    #[test]
    fn bytes_that_are_no_text_match_too() {
        assert!(mask(&["caf?.txt"], &[], false).matches(b"caf\xe9.txt"));
        assert!(mask(&["*.txt"], &[], false).matches(b"\xff\xfe.txt"));
    }

    #[test]
    fn expressions_are_anchored_and_refused_by_name() {
        assert!(!mask(&["[a-z]+"], &[], true).matches(b"abc1"));
        let spec =
            MaskSpec { include: vec!["(".into()], exclude: vec![], is_regex: true, ignore_case: false };
        assert!(Mask::new(&spec).unwrap_err().to_string().contains("\"(\""));
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_its_prefix_with_a_star(name in "[^/*?]{1,40}") {
            prop_assert!(mask(&[&name], &[], false).matches(name.as_bytes()));
            let cut = name.char_indices().nth(name.chars().count() / 2).map_or(0, |(at, _)| at);
            let prefix = format!("{}*", &name[..cut]);
            prop_assert!(mask(&[&prefix], &[], false).matches(name.as_bytes()));
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,60}", name in proptest::collection::vec(any::<u8>(), 0..60), is_regex: bool) {
            if let Ok(mask) = Mask::new(&MaskSpec { include: vec![pattern], exclude: vec![], is_regex, ignore_case: false }) {
                let _ = mask.matches(&name);
            }
        }
    }
}
