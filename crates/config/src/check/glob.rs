//! Whether two masks can take the same name.

use model::MaskSpec;

/// What can be said about two masks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overlap {
    /// No name fits both.
    No,
    /// Some name fits both.
    Yes,
    /// Regular expressions: it cannot be told by looking.
    Unknown,
}

/// Compares two masks.
pub(super) fn overlap(a: &MaskSpec, b: &MaskSpec) -> Overlap {
    if a == b {
        return Overlap::Yes;
    }
    if a.is_regex || b.is_regex {
        return Overlap::Unknown;
    }
    let excludes: Vec<Pattern> =
        [a, b].into_iter().flat_map(|spec| spec.exclude.iter().map(|text| Pattern::of(spec, text))).collect();
    let excluded = |pattern: &Pattern| excludes.iter().any(|exclude| exclude.covers(pattern));
    let meets = |x: &Pattern, y: &Pattern| x.intersects(y) && !excluded(x) && !excluded(y);
    let (a, b) = (patterns(a), patterns(b));
    if a.iter().any(|x| b.iter().any(|y| meets(x, y))) { Overlap::Yes } else { Overlap::No }
}

/// One pattern of a mask.
struct Pattern {
    letters: Vec<char>,
    ignore_case: bool,
}

impl Pattern {
    fn of(spec: &MaskSpec, text: &str) -> Self {
        Self { letters: letters(text), ignore_case: spec.ignore_case }
    }

    fn lower(&self) -> Vec<char> {
        self.letters.iter().flat_map(|letter| letter.to_lowercase()).collect()
    }

    /// Whether some name matches both.
    fn intersects(&self, other: &Self) -> bool {
        if self.ignore_case || other.ignore_case {
            intersect(&self.lower(), &other.lower())
        } else {
            intersect(&self.letters, &other.letters)
        }
    }

    /// Whether every name of `inner` matches this pattern.
    fn covers(&self, inner: &Self) -> bool {
        // A pattern with letters that does not ignore case leaves out some spelling of one that does.
        let has_case = || self.letters.iter().any(|letter| letter.is_lowercase() || letter.is_uppercase());
        if self.ignore_case {
            covers(&self.lower(), &inner.lower())
        } else {
            (!inner.ignore_case || !has_case()) && covers(&self.letters, &inner.letters)
        }
    }
}

fn patterns(spec: &MaskSpec) -> Vec<Pattern> {
    if spec.include.is_empty() {
        return vec![Pattern::of(spec, "*")];
    }
    spec.include.iter().map(|text| Pattern::of(spec, text)).collect()
}

/// `*.*` means every name, as in the mask itself.
fn letters(text: &str) -> Vec<char> {
    if text == "*.*" { vec!['*'] } else { text.chars().collect() }
}

/// Whether some name matches both patterns. Row by row over all pairs of ends, so that a long pattern
/// costs the product of the lengths and no more.
fn intersect(a: &[char], b: &[char]) -> bool {
    // meets[j]: whether a[i..] and b[j..] share a name, for the row i being filled from the end.
    let mut below: Vec<bool> = Vec::new();
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            row[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some('*'), _) if below[j] => true,
                (_, Some('*')) if row[j + 1] => true,
                (Some('*'), Some(_)) => row[j + 1],
                (Some(_), Some('*')) => below[j],
                (Some(x), Some(y)) => (x == y || *x == '?' || *y == '?') && below[j + 1],
                _ => false,
            };
        }
        below = row;
    }
    below.first().copied().unwrap_or(false)
}

/// Whether every name of `inner` matches `outer`: `inner` read as a name in which `*` stands for any text.
fn covers(outer: &[char], inner: &[char]) -> bool {
    let mut below: Vec<bool> = Vec::new();
    for i in (0..=outer.len()).rev() {
        let mut row = vec![false; inner.len() + 1];
        for j in (0..=inner.len()).rev() {
            row[j] = match (outer.get(i), inner.get(j)) {
                (None, None) => true,
                (Some('*'), None) => below[j],
                (Some('*'), Some(_)) => below[j] || row[j + 1],
                (Some('?'), Some(y)) => *y != '*' && below[j + 1],
                (Some(x), Some(y)) => x == y && below[j + 1],
                _ => false,
            };
        }
        below = row;
    }
    below.first().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::{Overlap, letters, overlap};
    use model::{Mask, MaskSpec};
    use proptest::prelude::*;

    fn spec(include: &[&str], exclude: &[&str]) -> MaskSpec {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        MaskSpec { include: own(include), exclude: own(exclude), is_regex: false, ignore_case: false }
    }

    #[test]
    fn masks_meet_or_do_not() {
        for (a, b, meet) in [
            (spec(&["*.edi"], &[]), spec(&["*.xml"], &[]), false),
            (spec(&["*.edi"], &[]), spec(&["ORD*"], &[]), true),
            (spec(&["*.*"], &[]), spec(&["a"], &[]), true),
            (spec(&["a?"], &[]), spec(&["?b"], &[]), true),
            (spec(&["a?"], &[]), spec(&["a"], &[]), false),
            (spec(&["*"], &["*.edi"]), spec(&["*.edi"], &[]), false),
            (spec(&["*"], &["x*.edi"]), spec(&["*.edi"], &[]), true),
            (spec(&[], &[]), spec(&["z"], &[]), true),
            (spec(&["a*b*c"], &[]), spec(&["a*c*b"], &[]), false),
        ] {
            assert_eq!(overlap(&a, &b), if meet { Overlap::Yes } else { Overlap::No }, "{a:?} {b:?}");
            assert_eq!(overlap(&a, &b), overlap(&b, &a));
        }
    }

    #[test]
    fn masks_that_ignore_case_meet_in_any_spelling() {
        let any_case =
            |include: &[&str], exclude: &[&str]| MaskSpec { ignore_case: true, ..spec(include, exclude) };
        for (a, b, meet) in [
            (any_case(&["*.EDI"], &[]), spec(&["*.edi"], &[]), true),
            (any_case(&["*.EDI"], &[]), spec(&["*.xml"], &[]), false),
            (any_case(&["*"], &["*.EDI"]), spec(&["*.edi"], &[]), false),
            (spec(&["*"], &["*.edi"]), any_case(&["*.edi"], &[]), true),
            (spec(&["*"], &["~*"]), any_case(&["~*"], &[]), false),
        ] {
            assert_eq!(overlap(&a, &b), if meet { Overlap::Yes } else { Overlap::No }, "{a:?} {b:?}");
            assert_eq!(overlap(&a, &b), overlap(&b, &a));
        }
    }

    proptest! {
        #[test]
        fn a_name_that_fits_both_is_an_overlap(a in "[ab?*]{1,6}", b in "[ab?*]{1,6}", out in "[ab?*]{1,6}", name in "[ab]{0,6}") {
            let (x, y) = (spec(&[&a], &[&out]), spec(&[&b], &[]));
            if Mask::new(&x).unwrap().matches(name.as_bytes()) && Mask::new(&y).unwrap().matches(name.as_bytes()) {
                prop_assert_eq!(overlap(&x, &y), Overlap::Yes);
            }
            if super::covers(&letters(&a), &letters(&b)) && Mask::new(&y).unwrap().matches(name.as_bytes()) {
                prop_assert!(Mask::new(&spec(&[&a], &[])).unwrap().matches(name.as_bytes()));
            }
        }
    }
}
